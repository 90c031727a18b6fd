//! HTTP/2 towards readers, by prior knowledge or, over TLS, by ALPN (RFC 9113 §3.2, §3.3): one connection
//! and its streams.
//!
//! The crate `h2` does the framing, and refuses most of what is malformed by itself; what it lets pass,
//! and what it would take without end, `inspect` sees before it. The streams of a connection share its
//! task: nothing is spawned, and dropping the connection drops them all.

mod budget;
mod corked;
mod duplex;
mod exchange;
mod hpack;
mod inspect;
pub(crate) mod limits;
mod notes;
mod patience;
mod share;
mod websocket;

use std::{
    convert::Infallible,
    error::Error,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use h2::{Ping, RecvStream, server::SendResponse};
use http::{Request, Response, StatusCode};
use http_body::Body;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::Service;

use self::{
    corked::Corked,
    exchange::exchange,
    inspect::{Fault, Inspector, SLOW_HEAD},
    limits::{
        CONNECTION_WINDOW, MAX_GIVEN_UP, MAX_MISTAKES, MAX_STREAMS, REFUSED_HEAD_TIMES,
        SEND_BUFFER, STREAM_WINDOW,
    },
    notes::{Begun, Notes},
    patience::Patience,
};
use crate::{
    downstream::{
        counters::{Timeout, TooSlow},
        ended::Ended,
        http1::{Http1Config, ReaderBody, refusal::Refusal},
        pace::{ALONE, Pace},
        peer::Peer,
        span::Span,
    },
    timer::Timer,
};

/// Serves the streams of one connection until it ends. `read` is what was read off `io` already, as
/// [`Ended::Http2`] brings it.
///
/// For the service all is as with [`http1::serve_connection`](crate::downstream::http1::serve_connection), and
/// of the limits those that have a meaning here hold: for one stream rather than for the connection
/// where there is a choice. An answer that breaks off ends in a reset of its stream.
///
/// A reader that closes its side is answered what it has asked, while something moves every
/// [`Http1Config::half_closed_timeout`] at least.
pub async fn serve_connection<IO, S, B>(
    io: &mut IO,
    read: Bytes,
    peer: Peer,
    config: &Http1Config,
    service: S,
    stop: CancellationToken,
) -> Ended
where
    IO: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<ReaderBody>, Response = Response<B>, Error = Infallible> + Clone,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    serve_connection_beside(io, read, peer, config, || false, service, stop).await
}

/// The same beside others: where `is_crowded` says that they wait, a reader that has closed its side, and may
/// have left, is waited for no longer.
pub(crate) async fn serve_connection_beside<IO, S, B>(
    io: &mut IO,
    read: Bytes,
    peer: Peer,
    config: &Http1Config,
    is_crowded: impl Fn() -> bool,
    service: S,
    stop: CancellationToken,
) -> Ended
where
    IO: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<ReaderBody>, Response = Response<B>, Error = Infallible> + Clone,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(config.max_streams.min(MAX_STREAMS))
        // What is above max_head is refused in `exchange`, so that it is counted and has its line: h2 would answer it
        // unseen, and take one that is little more for an attack.
        .max_header_list_size(
            u32::try_from(config.max_head_bytes.saturating_mul(REFUSED_HEAD_TIMES))
                .unwrap_or(u32::MAX),
        )
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .enable_connect_protocol()
        .max_pending_accept_reset_streams(MAX_GIVEN_UP)
        .max_local_error_reset_streams(Some(MAX_MISTAKES));
    let notes = Arc::new(Notes::new(config.min_rate));
    let corked = Corked::new(read, io, Inspector::new(Arc::clone(&notes), config.max_head_bytes));
    let mut handshake = pin!(builder.handshake(corked.clone()));
    let (mut limit, mut pace) = (Timer::default(), Pace::new(config.min_rate));
    limit.ensure(config.head_timeout);
    let (mut stopped, mut is_stopping) = (pin!(stop.cancelled()), false);
    let shaken = poll_fn(|cx| {
        let shaken = handshake.as_mut().poll(cx).map(Result::ok);
        let released = corked.poll_release(cx);
        if shaken.is_ready() {
            return shaken;
        }
        if matches!(released, Poll::Ready(Err(_))) {
            return Poll::Ready(None);
        }
        if !is_stopping && stopped.as_mut().poll(cx).is_ready() {
            is_stopping = true;
            limit.shorten(config.head_timeout, config.linger_timeout.min(config.head_timeout));
        }
        // All of it is less than the rate brings in any time that counts.
        match ready!(limit.poll_passed_or(pace.wait(ALONE), cx)) {
            true => config.counters.too_slow(TooSlow::Head),
            false => config.counters.timed_out(Timeout::Head),
        }
        Poll::Ready(None)
    })
    .await;
    let Some(connection) = shaken else { return Ended::Cut };
    corked.keep_end();
    let watch = Watch { notes: Arc::clone(&notes), is_crowded, peer };
    let begin = move |(request, respond): (_, SendResponse<Bytes>)| {
        notes.accepted(respond.stream_id().as_u32());
        exchange(request, respond, peer, config, service.clone(), Arc::clone(&notes))
    };
    let Over { ended, is_told } = run(connection, &corked, begin, watch, config, &stop).await;
    if is_told {
        // Closed at once, it would be reset by what was not read, and the reader might lose what it was
        // told with that. What a reader goes on sending is read up to a bound, of bytes and of time.
        let mut left = CONNECTION_WINDOW as usize;
        let discarding = poll_fn(|cx| corked.poll_discard(&mut left, cx));
        timeout(config.linger_timeout, discarding).await.ok();
    }
    ended
}

/// What decides how long streams under way are gone on with.
struct Watch<C> {
    notes: Arc<Notes>,
    /// Whether others wait for what they hold.
    is_crowded: C,
    /// For the lines of requests that are refused unseen.
    peer: Peer,
}

impl<C> Watch<C> {
    /// Counts and logs what h2 has refused by itself: it tells nobody. `under_way`: how many streams are.
    fn tell_refused(&self, under_way: usize, config: &Http1Config) {
        let is_full = under_way >= config.max_streams.min(MAX_STREAMS) as usize;
        for Begun { is_too_large, .. } in self.notes.take_unaccepted() {
            let (status, why) = match (is_too_large, is_full) {
                (true, _) => {
                    let refusal = Refusal::HeadTooLarge;
                    (refusal.to_problem().status(), refusal.reason())
                }
                (false, true) => (StatusCode::SERVICE_UNAVAILABLE, TOO_MANY_STREAMS),
                (false, false) => (StatusCode::BAD_REQUEST, NO_REQUEST),
            };
            config.counters.refused(why);
            if let Some(log) = &config.access_log {
                log.refused(&self.peer, (status, 0), why);
            }
        }
    }

    /// The connection ends by one of those that are not accepted, or by another frame. Which, h2 does not tell.
    fn tell_broken(&self, config: &Http1Config) {
        config.counters.refused(BROKEN);
        for _ in self.notes.take_unaccepted() {
            if let Some(log) = &config.access_log {
                log.refused(&self.peer, (StatusCode::BAD_REQUEST, 0), BROKEN);
            }
        }
    }
}

const BROKEN: &str = "a connection broke the rules of HTTP/2";
const TOO_MANY_STREAMS: &str = "there are more streams at once than allowed";
const NO_REQUEST: &str = "a stream of HTTP/2 begins with no request";

struct Over {
    ended: Ended,
    /// The reader was told of an error, and may be sending still.
    is_told: bool,
}

impl From<Ended> for Over {
    fn from(ended: Ended) -> Self {
        Over { ended, is_told: false }
    }
}

async fn run<IO, X>(
    mut connection: h2::server::Connection<Corked<IO>, Bytes>,
    corked: &Corked<IO>,
    mut begin: impl FnMut((Request<RecvStream>, SendResponse<Bytes>)) -> X,
    watch: Watch<impl Fn() -> bool>,
    config: &Http1Config,
    stop: &CancellationToken,
) -> Over
where
    IO: AsyncRead + AsyncWrite + Unpin,
    X: Future<Output = ()>,
{
    let mut exchanges = FuturesUnordered::new();
    let mut stopped = pin!(stop.cancelled());
    let mut farewell = pin!(config.farewell.said());
    let (mut is_stopping, mut is_faulty) = (false, false);
    let (mut quiet, mut patience) = (Timer::default(), Patience::new(config));
    // Of what is left of the last answers.
    let mut pace = Pace::new(config.min_rate);
    let mut head = None;
    let (mut span, mut is_spent) = (Span::begin(config), false);
    let lent = Arc::clone(&watch.notes);
    let mut turn = |cx: &mut Context<'_>| {
        if !is_stopping && stopped.as_mut().poll(cx).is_ready() {
            is_stopping = true;
            quiet.clear();
            connection.graceful_shutdown();
        }
        if !is_spent && !is_stopping && farewell.as_mut().poll(cx).is_ready() {
            connection.graceful_shutdown();
            (span, is_spent) = (None, true);
        }
        loop {
            let polled = connection.poll_accept(cx);
            let ended = if exchanges.is_empty() { Ended::Closed } else { Ended::Cut };
            let has_accepted = match polled {
                Poll::Ready(Some(Ok(accepted))) => {
                    exchanges.push(begin(accepted));
                    let one_more = |span: &mut Box<Span>| span.one_more(Instant::now());
                    if let Some(why) = span.as_mut().and_then(one_more) {
                        // Streams that are on their way already are answered as well.
                        config.counters.retired(why);
                        connection.graceful_shutdown();
                        (span, is_spent) = (None, true);
                    }
                    true
                }
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!("an HTTP/2 connection ended: {error}");
                    let is_told = error.is_library();
                    if is_told {
                        watch.tell_broken(config);
                    }
                    return Poll::Ready(Over { ended, is_told });
                }
                Poll::Ready(None) if is_faulty => {
                    return Poll::Ready(Over { ended, is_told: true });
                }
                Poll::Ready(None) => return Poll::Ready(Ended::Closed.into()),
                Poll::Pending => {
                    // What comes after the farewell is nobody's, and with a fault h2 has not seen all. Where nothing can
                    // be written it may not have read all.
                    if is_stopping || corked.fault().is_some() {
                        watch.notes.take_unaccepted();
                    } else if !corked.is_blocked() {
                        watch.tell_refused(exchanges.len(), config);
                    }
                    false
                }
            };
            if let (false, Some(fault)) = (is_faulty, corked.fault()) {
                let Fault { reason, detail } = fault;
                tracing::debug!(%reason, "an HTTP/2 connection is ended: {detail}");
                config.counters.refused(detail);
                (is_faulty, is_stopping) = (true, true);
                quiet.clear();
                connection.abrupt_shutdown(reason);
                continue;
            }
            // What these have to say is written when the connection is polled again, which they
            // bring about by waking it.
            match exchanges.poll_next_unpin(cx) {
                Poll::Ready(Some(())) => {}
                // Those that came together are all accepted: nothing wakes us for the next of them.
                Poll::Ready(None) | Poll::Pending if has_accepted => {}
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        // Not before that: what is under way keeps all its time.
        is_stopping |= is_spent && exchanges.is_empty();
        if !is_faulty && poll_late_head(&mut head, corked, config, cx).is_ready() {
            corked.give_up(SLOW_HEAD);
            cx.waker().wake_by_ref();
        }
        // A reader that is told of a fault has nothing more to wait for.
        if !exchanges.is_empty() && !is_faulty {
            quiet.clear();
            pace.pause(ALONE);
            if corked.has_closed()
                && let Some(mut pings) = connection.ping_pong()
            {
                // To one that has left it is answered by a reset. One that only sends no more reads on.
                pings.send_ping(Ping::opaque()).ok();
                cx.waker().wake_by_ref();
            }
            let (streams, Watch { notes, is_crowded, .. }) = (exchanges.len(), &watch);
            return patience
                .poll_over(streams, is_stopping, notes, corked, is_crowded, cx)
                .map(|()| Ended::Cut.into());
        }
        // What was answered is written, and nothing more will be asked.
        if corked.has_closed() && !corked.is_blocked() && corked.poll_release(cx).is_ready() {
            return Poll::Ready(Ended::Closed.into());
        }
        let drained = corked.take_drained();
        if drained > 0 {
            // A slow reader of the last answers.
            quiet.clear();
            pace.moved(drained, config.min_rate, ALONE);
        }
        if !corked.is_blocked() {
            pace.pause(ALONE);
        }
        loop {
            let (is_to_end, is_blocked) = (is_stopping || corked.has_closed(), corked.is_blocked());
            quiet.ensure(match (is_to_end, is_blocked) {
                (false, false) => config.idle_timeout,
                (false, true) => config.write_timeout,
                (true, false) => config.linger_timeout,
                (true, true) => config.stalled_timeout,
            });
            let passed = match (is_to_end, is_blocked) {
                (_, false) => quiet.poll_passed(cx).map(|()| false),
                (false, true) => quiet.poll_passed_or(pace.wait(ALONE), cx),
                (true, true) => {
                    let until = pace.wait_little(config.min_rate, config.stalled_timeout);
                    quiet.poll_passed_or(until, cx)
                }
            };
            let is_slow = ready!(passed);
            quiet.clear();
            if is_blocked {
                match (is_stopping, is_slow) {
                    (true, _) => config.counters.timed_out(Timeout::Stalled),
                    (false, true) => config.counters.too_slow(TooSlow::Answer),
                    (false, false) => config.counters.timed_out(Timeout::Write),
                }
                return Poll::Ready(Ended::Cut.into());
            }
            if is_faulty {
                // A reader that does not answer the farewell is gone.
                return Poll::Ready(Ended::Cut.into());
            }
            if is_stopping {
                return Poll::Ready(Ended::Closed.into());
            }
            config.counters.timed_out(Timeout::Idle);
            is_stopping = true;
            connection.graceful_shutdown();
            cx.waker().wake_by_ref();
        }
    };
    poll_fn(|cx| {
        let ended = turn(cx);
        let released = corked.poll_release(cx);
        if !corked.is_blocked() {
            lent.settle();
        } else if ended.is_pending() && lent.poll_recalled(cx).is_ready() {
            return Poll::Ready(Ended::Cut.into());
        }
        match released {
            // h2 has not heard of it: to it, all was written.
            Poll::Ready(Err(error)) if ended.is_pending() => {
                tracing::debug!("an HTTP/2 connection ended: {error}");
                Poll::Ready(Ended::Cut.into())
            }
            Poll::Pending if ended.is_ready() => Poll::Ready(Ended::Cut.into()),
            _ => ended,
        }
    })
    .await
}

/// An unfinished header block: how long it may be on its way.
struct Head {
    limit: Timer,
    pace: Pace,
}

/// Ready when a header block has begun, and has been on its way for too long.
fn poll_late_head<IO>(
    head: &mut Option<Box<Head>>,
    corked: &Corked<IO>,
    config: &Http1Config,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let Some(bytes) = corked.take_head_bytes() else {
        *head = None;
        return Poll::Pending;
    };
    let Head { limit, pace } = &mut **head.get_or_insert_with(|| {
        Box::new(Head { limit: Timer::default(), pace: Pace::new(config.min_rate) })
    });
    limit.ensure(config.head_timeout);
    pace.moved(bytes, config.min_rate, ALONE);
    match ready!(limit.poll_passed_or(pace.wait(ALONE), cx)) {
        true => config.counters.too_slow(TooSlow::Head),
        false => config.counters.timed_out(Timeout::Head),
    }
    Poll::Ready(())
}
