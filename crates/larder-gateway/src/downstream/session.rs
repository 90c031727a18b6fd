//! Session: one connection's life on the event loop that it was dealt to, from its arrival there until its
//! socket is closed, or reset. What it has in common over TLS and in the open, with HTTP/1.1 and with HTTP/2.

use std::{
    convert::Infallible,
    error::Error,
    future::Future,
    io, net,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::{
    counters::Counters,
    door::ConnectionPermit,
    ended::Ended,
    entrance::{Entered, EnteredStream, Entrance},
    http1::{self, FastPath, Http1Config, ReaderBody},
    http2,
    peer::Peer,
    tls,
};

/// A stream on its way to the loop that will serve it: it hears of its socket where it was made, so
/// elsewhere it is made anew.
pub(super) enum Accepted {
    Here(TcpStream),
    Elsewhere(io::Result<net::TcpStream>),
}

impl Accepted {
    fn arrive(self) -> io::Result<TcpStream> {
        match self {
            Accepted::Here(stream) => Ok(stream),
            Accepted::Elsewhere(stream) => TcpStream::from_std(stream?),
        }
    }
}

/// Counts a connection as open, and as one of its loop, until this is dropped.
pub(super) struct ConnectionGuard {
    connections: Arc<AtomicUsize>,
    /// Here, so that no task that waits keeps it twice.
    peer: Peer,
    /// Once it is cancelled, the door forgets the connection.
    ending: CancellationToken,
    _permit: ConnectionPermit,
}

impl ConnectionGuard {
    /// On the heap, so that a connection's task is no larger for it.
    pub(super) fn begin(
        connections: &Arc<AtomicUsize>,
        ending: &CancellationToken,
        peer: Peer,
        permit: ConnectionPermit,
    ) -> Box<ConnectionGuard> {
        connections.fetch_add(1, Ordering::Relaxed);
        let connections = Arc::clone(connections);
        Box::new(ConnectionGuard { connections, peer, ending: ending.clone(), _permit: permit })
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
        self.ending.cancel();
    }
}

/// What all connections share.
pub(super) struct Shared<H> {
    pub(super) http1: Http1Config,
    pub(super) hits: H,
}

/// A connection's whole life.
#[expect(
    clippy::manual_async_fn,
    reason = "an async function keeps its arguments twice, and thousands of these only wait"
)]
pub(super) fn live<H, S, B>(
    accepted: Accepted,
    guard: Box<ConnectionGuard>,
    shared: Arc<Shared<H>>,
    mut service: S,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send
where
    H: FastPath + Send + Sync + 'static,
    S: Service<Request<ReaderBody>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    async move {
        let mut stream = match accepted.arrive() {
            Ok(stream) => Resetting::new(stream, &shared.http1.counters),
            Err(error) => return tracing::warn!("cannot serve a connection: {error}"),
        };
        let io = &mut stream.stream;
        let Shared { http1: config, hits } = &*shared;
        // HTTP/1.1, unless the first bytes say otherwise.
        let (for_http1, stop_http1) = (&mut service, stop.clone());
        let serving =
            http1::serve_connection_with_hits(io, guard.peer, config, hits, for_http1, stop_http1);
        let ended = match serving.await {
            // On the heap, so that connections of HTTP/1.1 are no larger for it.
            Ended::Http2(read) => {
                let (peer, is_crowded) = (guard.peer, || hits.is_crowded());
                let serving = http2::serve_connection_beside(
                    io, read, peer, config, is_crowded, service, stop,
                );
                Box::pin(serving).await
            }
            ended => ended,
        };
        stream.is_whole = ended == Ended::Closed;
        drop(stream);
        drop(guard);
    }
}

/// The whole life of a connection that begins with an entrance. Larger, and of its own, so that others are no larger for
/// it.
pub(super) async fn live_behind<H, S, B>(
    entrance: Arc<Entrance>,
    accepted: Accepted,
    guard: Box<ConnectionGuard>,
    shared: Arc<Shared<H>>,
    service: S,
    stop: CancellationToken,
) where
    H: FastPath + Send + Sync + 'static,
    S: Service<Request<ReaderBody>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let stream = match accepted.arrive() {
        Ok(stream) => stream,
        Err(error) => return tracing::warn!("cannot serve a connection: {error}"),
    };
    let Shared { http1: config, hits } = &*shared;
    // Nothing was said yet that a reset would have to call back: closed in order, what TLS says of an
    // error arrives. On the heap, so that what comes after it is no larger for it.
    let entering = Box::pin(entrance.enter(stream, guard.peer, config));
    let Some(Some(entered)) = stop.run_until_cancelled(entering).await else { return };
    drop(entrance);
    let Entered { stream, peer, config: own } = entered;
    let config = own.as_deref().unwrap_or(config);
    let is_crowded = || hits.is_crowded();
    // What is served below is on the heap, so that one kind of connection is no larger for the other.
    match stream {
        EnteredStream::Open(stream) => {
            let mut stream = Resetting::new(stream, &config.counters);
            let io = &mut stream.stream;
            let (service_of_http1, stop_http1) = (service.clone(), stop.clone());
            let serving = http1::serve_connection_with_hits(
                io,
                peer,
                config,
                hits,
                service_of_http1,
                stop_http1,
            );
            let ended = match Box::pin(serving).await {
                Ended::Http2(read) => {
                    let serving = http2::serve_connection_beside(
                        io, read, peer, config, is_crowded, service, stop,
                    );
                    Box::pin(serving).await
                }
                ended => ended,
            };
            stream.is_whole = ended == Ended::Closed;
        }
        EnteredStream::Encrypted(encrypted) => {
            let mut stream = Resetting::new(*encrypted, &config.counters);
            let io = &mut stream.stream;
            let ended = if tls::is_http2(io) {
                let read = Bytes::new();
                let serving = http2::serve_connection_beside(
                    io, read, peer, config, is_crowded, service, stop,
                );
                Box::pin(serving).await
            } else {
                // A reader that has not chosen HTTP/2 by now may not begin with it any more (RFC 9113 §3.3).
                http1::serve_connection_with_hits(io, peer, config, hits, service, stop).await
            };
            if ended == Ended::Closed {
                // What was cut gets no farewell, so that its reader does not take it for whole (RFC 8446 §6.1). HTTP/2
                // may have gone without one; said twice, it is sent once. A reader that does not take it is gone.
                timeout(config.linger_timeout, io.shutdown()).await.ok();
            }
            stream.is_whole = ended == Ended::Closed;
        }
    }
    drop(guard);
}

/// A stream that is reset when dropped, and counted as such, unless all that was said on it was said to its
/// end: an orderly close may be the end of a whole body to its reader.
struct Resetting<'a, IO: Socket> {
    stream: IO,
    is_whole: bool,
    counters: &'a Counters,
}

/// What bytes go through in the end.
trait Socket {
    fn socket(&self) -> &TcpStream;
}

impl Socket for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Socket for TlsStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

impl<'a, IO: Socket> Resetting<'a, IO> {
    fn new(stream: IO, counters: &'a Counters) -> Self {
        Resetting { stream, is_whole: false, counters }
    }
}

impl<IO: Socket> Drop for Resetting<'_, IO> {
    fn drop(&mut self) {
        if self.is_whole {
            return;
        }
        self.counters.reset.add();
        if let Err(error) = self.stream.socket().set_zero_linger() {
            tracing::debug!("cannot reset a connection: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::live;
    use crate::Gateway;

    fn bytes_of<A, B, C, D, E, T>(_: impl FnOnce(A, B, C, D, E) -> T) -> usize {
        size_of::<T>()
    }

    #[test]
    fn a_connection_is_small_while_it_waits() {
        let bytes = bytes_of(live::<Gateway, Gateway, larder::http::Body>);
        assert!(bytes <= 840, "{bytes}");
    }
}
