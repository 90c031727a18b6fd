//! HTTP/2 towards readers, by prior knowledge or, over TLS, by ALPN (RFC 9113 §3.2, §3.3): one connection
//! and its streams.
//!
//! The crate `h2` does the framing, and refuses what is malformed by itself. The streams of a
//! connection share its task: nothing is spawned, and dropping the connection drops them all.

mod corked;
mod exchange;

use std::{
    convert::Infallible,
    error::Error,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use h2::{RecvStream, server::SendResponse};
use http::{Request, Response};
use http_body::Body;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tower::Service;

use self::{corked::Corked, exchange::exchange};
use crate::{
    http1::{Ended, Http1Config, ReaderBody},
    timer::Timer,
};

/// Streams that a reader may have open at once; the number that RFC 9113 §6.5.2 names as the least
/// that does not hold a reader back.
const MAX_STREAMS: u32 = 100;
/// What a reader may send ahead on one stream, and on all of them, before anybody wants it.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// What one stream may have waiting for the socket.
const SEND_BUFFER: usize = 128 << 10;

/// Serves the streams of one connection until it ends. `read` is what was read off `io` already, as
/// [`Ended::Http2`] brings it.
///
/// For the service all is as with [`http1::serve_connection`](crate::http1::serve_connection), and
/// of the limits those that have a meaning here hold: for one stream rather than for the connection
/// where there is a choice. An answer that breaks off ends in a reset of its stream.
pub async fn serve_connection<IO, S, B>(
    io: &mut IO,
    read: Bytes,
    peer: SocketAddr,
    config: &Http1Config,
    service: S,
    stop: CancellationToken,
) -> Ended
where
    IO: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<ReaderBody>, Response = Response<B>, Error = Infallible> + Clone,
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(config.max_head_bytes).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER);
    let corked = Corked::new(read, io);
    let mut handshake = pin!(builder.handshake(corked.clone()));
    let shaking = poll_fn(|cx| {
        let shaken = handshake.as_mut().poll(cx).map_err(drop);
        match corked.poll_release(cx) {
            Poll::Ready(Err(_)) if shaken.is_pending() => Poll::Ready(Err(())),
            _ => shaken,
        }
    });
    let Ok(Ok(connection)) = timeout(config.head_timeout, shaking).await else {
        return Ended::Cut;
    };
    let begin = move |(request, respond)| exchange(request, respond, peer, config, service.clone());
    run(connection, &corked, begin, config, stop).await
}

async fn run<IO, X>(
    mut connection: h2::server::Connection<Corked<IO>, Bytes>,
    corked: &Corked<IO>,
    mut begin: impl FnMut((Request<RecvStream>, SendResponse<Bytes>)) -> X,
    config: &Http1Config,
    stop: CancellationToken,
) -> Ended
where
    IO: AsyncRead + AsyncWrite + Unpin,
    X: Future<Output = ()>,
{
    let mut exchanges = FuturesUnordered::new();
    let mut stopped = pin!(stop.cancelled());
    let mut is_stopping = false;
    let mut quiet = Timer::default();
    let mut turn = |cx: &mut Context<'_>| {
        if !is_stopping && stopped.as_mut().poll(cx).is_ready() {
            is_stopping = true;
            quiet.clear();
            connection.graceful_shutdown();
        }
        loop {
            match connection.poll_accept(cx) {
                Poll::Ready(Some(Ok(accepted))) => exchanges.push(begin(accepted)),
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!("an HTTP/2 connection ended: {error}");
                    let is_quiet = exchanges.is_empty();
                    return Poll::Ready(if is_quiet { Ended::Closed } else { Ended::Cut });
                }
                Poll::Ready(None) => return Poll::Ready(Ended::Closed),
                Poll::Pending => {}
            }
            // What these have to say is written when the connection is polled again, which they
            // bring about by waking it.
            match exchanges.poll_next_unpin(cx) {
                Poll::Ready(Some(())) => {}
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        if !exchanges.is_empty() {
            quiet.clear();
            return Poll::Pending;
        }
        loop {
            quiet.ensure(if is_stopping { config.linger_timeout } else { config.idle_timeout });
            match poll_passed(&mut quiet, cx) {
                Poll::Pending => return Poll::Pending,
                // Whoever does not answer the farewell is gone.
                Poll::Ready(()) if is_stopping => return Poll::Ready(Ended::Closed),
                Poll::Ready(()) => {
                    is_stopping = true;
                    connection.graceful_shutdown();
                    cx.waker().wake_by_ref();
                }
            }
        }
    };
    poll_fn(|cx| {
        let ended = turn(cx);
        match corked.poll_release(cx) {
            // h2 has not heard of it: to it, all was written.
            Poll::Ready(Err(error)) if ended.is_pending() => {
                tracing::debug!("an HTTP/2 connection ended: {error}");
                Poll::Ready(Ended::Cut)
            }
            Poll::Pending if ended.is_ready() => Poll::Ready(Ended::Cut),
            _ => ended,
        }
    })
    .await
}

fn poll_passed(timer: &mut Timer, cx: &mut Context<'_>) -> Poll<()> {
    let passed = timer.poll_passed(cx);
    if passed.is_ready() {
        timer.clear();
    }
    passed
}
