//! Server: a listener, its connections, and an orderly end.
//!
//! One listener for all event loops, and each new connection goes to the loop that has the fewest. A
//! listener for each loop (`SO_REUSEPORT`) saves the way from one loop to another, once in a
//! connection's life; but there the kernel deals connections out by a hash, and of a few dozen that
//! are kept for long, one core may get twice what another does.

use std::{
    convert::Infallible,
    error::Error,
    future::Future,
    io,
    net::{self, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use larder::http::policy::scheme::Scheme;
use rustix::net::listen;
#[cfg(any(target_os = "android", target_os = "linux"))]
use socket2::SockRef;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    runtime::Handle,
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::{
    counters::{Counters, Handshaken},
    door::{Door, Entrant, Place},
    http1::{self, Ended, FastPath, Http1Config, ReaderBody},
    http2,
    loops::Loops,
    tls::{self, Tls},
};

/// How many bytes of an answer may wait in the system's buffers beyond what is on its way. Without this bound a
/// reader that takes nothing holds megabytes there, and filling them is what others wait for; with less, a
/// connection on a long way may run dry.
const UNSENT_BYTES: u32 = 128 << 10;

/// Limits of a listener. Every field has a default.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// How many connections may be open. Where there are as many, the next one waits, and the oldest are
    /// closed once they are between two requests. Default 16384; each takes a file descriptor.
    pub max_connections: usize,
    /// How many of them one address may have, or with IPv6 one network of 64 bits; more are closed at once.
    /// A balancer in front needs as many as it keeps open. Default a quarter of `max_connections`, and no
    /// bound for 127.0.0.1 and ::1, where a proxy on the same machine connects from.
    pub max_connections_per_address: Option<usize>,
    /// For how long a connection is left alone that came, though its place is wanted: its first request may be
    /// on its way, over TLS after some round trips. Default 500 ms.
    pub welcome: Duration,
    /// How many connections may wait to be accepted. Default 1024, and no more than the system allows:
    /// the 128 that are usual turn a part of a crowd away, which comes back only a second later.
    pub backlog: u32,
    /// How long the answers under way may take once the server stops; where a reader does not go on, no longer
    /// than [`Http1Config::stalled_timeout`]. Default 10 s.
    pub grace: Duration,
    /// With a certificate and its key, readers come over TLS and not otherwise. Default none: they come
    /// in the open.
    pub tls: Option<Tls>,
    /// From the start of a connection to the end of its TLS handshake; slower ones are closed. Default
    /// 10 s: several round trips across the world, on a line that loses some of them. One under way takes
    /// 4 kB, and up to 64 KiB where its reader sends that much.
    pub handshake_timeout: Duration,
    /// What each connection may take.
    pub http1: Http1Config,
}

impl Default for ServerConfig {
    fn default() -> Self {
        ServerConfig {
            max_connections: 16_384,
            max_connections_per_address: None,
            welcome: Duration::from_millis(500),
            backlog: 1024,
            grace: Duration::from_secs(10),
            tls: None,
            handshake_timeout: Duration::from_secs(10),
            http1: Http1Config::default(),
        }
    }
}

/// A port that is taken but not yet served, so that a port in use is found before anything starts.
#[derive(Debug)]
pub struct Server {
    /// The system's own: on which event loop it will be is not known yet.
    listener: net::TcpListener,
    address: SocketAddr,
    config: ServerConfig,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Connections whose answers were not out when the grace was over. They were reset.
    pub cut: usize,
}

impl Server {
    /// Takes the port.
    ///
    /// # Errors
    ///
    /// What the system says: the port is in use, or not ours to have.
    pub fn bind(address: SocketAddr, config: ServerConfig) -> io::Result<Server> {
        let listener = net::TcpListener::bind(address)?;
        // Again, for a longer backlog than the standard library's.
        listen(&listener, i32::try_from(config.backlog).unwrap_or(i32::MAX))?;
        Server::with_listener(listener, config)
    }

    /// Takes a listener that is there already.
    ///
    /// # Errors
    ///
    /// If the system does not tell its address, or lets nobody wait for it.
    pub fn with_listener(listener: net::TcpListener, config: ServerConfig) -> io::Result<Server> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        // Connections have it from the listener.
        #[cfg(any(target_os = "android", target_os = "linux"))]
        if let Err(error) = SockRef::from(&listener).set_tcp_notsent_lowat(UNSENT_BYTES) {
            // More memory for those who are slow.
            tracing::debug!("cannot set TCP_NOTSENT_LOWAT: {error}");
        }
        Ok(Server { listener, address, config })
    }

    /// Where it listens; with the port that was chosen, if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is cancelled: then nobody is accepted any more, connections between
    /// requests end at once, answers under way get the grace, and what is left is reset. Each
    /// connection has a clone of the service and a task of its own, on the runtime that calls this.
    /// Dropping the future resets all connections.
    pub async fn serve<S, B>(self, service: S, stop: CancellationToken) -> Stopped
    where
        S: Service<Request<ReaderBody>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        self.serve_on_each(&[Handle::current()], (), service, stop).await
    }

    /// [`Server::serve`] on event loops of their own: the first accepts, all serve. `hits` is asked
    /// before the service: see [`serve_connection_with_hits`](http1::serve_connection_with_hits).
    pub fn serve_on<H, S, B>(
        self,
        loops: &Loops,
        hits: H,
        service: S,
        stop: CancellationToken,
    ) -> JoinHandle<Stopped>
    where
        H: FastPath + Clone + Send + Sync + 'static,
        S: Service<Request<ReaderBody>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let handles = loops.handles().to_vec();
        let first = handles[0].clone();
        first.spawn(async move { self.serve_on_each(&handles, hits, service, stop).await })
    }

    async fn serve_on_each<H, S, B>(
        self,
        handles: &[Handle],
        hits: H,
        service: S,
        stop: CancellationToken,
    ) -> Stopped
    where
        H: FastPath + Clone + Send + Sync + 'static,
        S: Service<Request<ReaderBody>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let Server { listener, config, .. } = self;
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!("cannot wait for connections: {error}");
                return Stopped { cut: 0 };
            }
        };
        let mut door = Door::new(listener, &config);
        let scheme = if config.tls.is_some() { Scheme::Https } else { config.http1.scheme };
        let http1 = Http1Config { scheme, ..config.http1 };
        let shared = Arc::new(Shared { http1, hits });
        let loops: Vec<_> = handles.iter().map(|handle| Loop::new(handle, &stop)).collect();
        let (here, _) = loops.split_first().expect("there is one at least");
        let mut connections = JoinSet::new();
        loop {
            let Entrant { stream, peer, place } = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(joined) = connections.join_next() => {
                    logged(joined);
                    while connections.try_join_next().is_some_and(logged) {}
                    continue;
                }
                entrant = door.next() => entrant,
            };
            let one = Loop::with_fewest(&loops);
            let stop = one.stop.child_token();
            door.entered(stop.clone());
            let stay = Stay::begin(&one.connections, &stop, place);
            let accepted = if std::ptr::eq(one, here) {
                Accepted::Here(stream)
            } else {
                Accepted::Elsewhere(stream.into_std())
            };
            let (shared, service) = (Arc::clone(&shared), service.clone());
            match &config.tls {
                None => connections
                    .spawn_on(live(accepted, peer, stay, shared, service, stop), &one.handle),
                Some(tls) => {
                    let handshake = Handshake { tls: tls.clone(), limit: config.handshake_timeout };
                    let connection =
                        live_encrypted(accepted, handshake, peer, stay, shared, service, stop);
                    connections.spawn_on(connection, &one.handle)
                }
            };
        }
        drop(door);
        let drained = timeout(config.grace, async {
            while let Some(joined) = connections.join_next().await {
                logged(joined);
            }
        });
        if drained.await.is_ok() {
            return Stopped { cut: 0 };
        }
        let cut = connections.len();
        connections.shutdown().await;
        Stopped { cut }
    }
}

/// An event loop, seen from where connections are accepted.
struct Loop {
    handle: Handle,
    /// How many connections it has.
    connections: Arc<AtomicUsize>,
    /// Of its own, so that its connections meet no other loop's where they wait for it.
    stop: CancellationToken,
}

impl Loop {
    fn new(handle: &Handle, stop: &CancellationToken) -> Loop {
        Loop { handle: handle.clone(), connections: Arc::default(), stop: stop.child_token() }
    }

    fn with_fewest(loops: &[Loop]) -> &Loop {
        let fewest = loops.iter().min_by_key(|one| one.connections.load(Ordering::Relaxed));
        fewest.expect("there is one at least")
    }
}

/// A stream on its way to the loop that will serve it: it hears of its socket where it was made, so
/// elsewhere it is made anew.
enum Accepted {
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

/// A connection's time here: among those there may be, and among those of its loop. Dropping it ends both.
struct Stay {
    connections: Arc<AtomicUsize>,
    /// Once it is cancelled, the door forgets the connection.
    ending: CancellationToken,
    _place: Place,
}

impl Stay {
    /// On the heap, so that a connection's task is no larger for it.
    fn begin(
        connections: &Arc<AtomicUsize>,
        ending: &CancellationToken,
        place: Place,
    ) -> Box<Stay> {
        connections.fetch_add(1, Ordering::Relaxed);
        let connections = Arc::clone(connections);
        Box::new(Stay { connections, ending: ending.clone(), _place: place })
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
        self.ending.cancel();
    }
}

/// What all connections share.
struct Shared<H> {
    http1: Http1Config,
    hits: H,
}

/// A connection's whole life.
#[expect(
    clippy::manual_async_fn,
    reason = "an async function keeps its arguments twice, and thousands of these only wait"
)]
fn live<H, S, B>(
    accepted: Accepted,
    peer: SocketAddr,
    stay: Box<Stay>,
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
            http1::serve_connection_with_hits(io, peer, config, hits, for_http1, stop_http1);
        let ended = match serving.await {
            // On the heap, so that connections of HTTP/1.1 are no larger for it.
            Ended::Http2(read) => {
                let is_crowded = || hits.is_crowded();
                let serving = http2::serve_connection_beside(
                    io, read, peer, config, is_crowded, service, stop,
                );
                Box::pin(serving).await
            }
            ended => ended,
        };
        stream.is_whole = ended == Ended::Closed;
        drop(stream);
        drop(stay);
    }
}

/// How a connection becomes one of TLS.
struct Handshake {
    tls: Tls,
    limit: Duration,
}

/// The whole life of a connection over TLS. Larger, and of its own, so that others are no larger for it.
async fn live_encrypted<H, S, B>(
    accepted: Accepted,
    handshake: Handshake,
    peer: SocketAddr,
    stay: Box<Stay>,
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
    // Nothing was said yet that a reset would have to call back: closed in order, what TLS says of an
    // error arrives. On the heap, so that what comes after it is no larger for it.
    let accepting = Box::pin(timeout(handshake.limit, handshake.tls.accept(stream)));
    let Shared { http1: config, hits } = &*shared;
    let counters = &config.counters;
    let mut stream = match stop.run_until_cancelled(accepting).await {
        Some(Ok(Ok(stream))) => Resetting::new(stream, counters),
        Some(Ok(Err(error))) => {
            counters.handshaken(Handshaken::Failed);
            return tracing::debug!("a TLS handshake failed: {error}");
        }
        Some(Err(_)) => {
            counters.handshaken(Handshaken::TimedOut);
            return tracing::debug!("a TLS handshake took too long");
        }
        None => return,
    };
    counters.handshaken(Handshaken::Ok);
    let io = &mut stream.stream;
    let ended = if tls::is_http2(io) {
        // On the heap, as above.
        let (read, is_crowded) = (Bytes::new(), || hits.is_crowded());
        let serving =
            http2::serve_connection_beside(io, read, peer, config, is_crowded, service, stop);
        Box::pin(serving).await
    } else {
        // Who has not chosen HTTP/2 by now may not begin with it any more (RFC 9113 §3.3).
        http1::serve_connection_with_hits(io, peer, config, hits, service, stop).await
    };
    if ended == Ended::Closed {
        // What was cut gets no farewell, so that nobody takes it for whole (RFC 8446 §6.1). HTTP/2 may
        // have gone without one; said twice, it is sent once. A reader that does not take it is gone.
        timeout(config.linger_timeout, io.shutdown()).await.ok();
    }
    stream.is_whole = ended == Ended::Closed;
    drop(stream);
    drop(stay);
}

/// A connection's panic takes nobody else down, but it is a bug of the service.
fn logged(joined: Result<(), tokio::task::JoinError>) -> bool {
    if let Err(error) = joined
        && error.is_panic()
    {
        tracing::error!("a connection broke: {error}");
    }
    true
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

    fn bytes_of<A, B, C, D, E, F, T>(_: impl FnOnce(A, B, C, D, E, F) -> T) -> usize {
        size_of::<T>()
    }

    #[test]
    fn a_connection_is_small_while_it_waits() {
        let bytes = bytes_of(live::<Gateway, Gateway, larder::http::Body>);
        assert!(bytes <= 816, "{bytes}");
    }
}
