//! Http2: one connection of HTTP/2 to the origin, which several requests share, and the exchanges on it.
//!
//! The crate `h2` does the framing. hyper's client would bring interim answers (1xx) to nobody, and have two
//! tasks for each request. Here a request's upload and its answer are driven by whoever waits for the answer, as over HTTP/1.1: a
//! reader that does not read stops the origin by its stream's window, and dropping the exchange resets the stream. Only the
//! connection itself has a task. It ends when the pool and the last exchange have let go of it, or when the origin is silent.

mod exchange;

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::Bytes;
use h2::{Ping, PingPong, client::SendRequest};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(super) use self::exchange::{Receiving, Rejected};
use super::{
    config::UpstreamConfig,
    socket::{Notes, Socket},
};
use crate::timer::Timer;

/// How much of a request's content waits in memory for the origin to take it.
const SEND_BUFFER: usize = 32 << 10;

/// The largest window there is (RFC 9113 §6.9.1).
const LARGEST_WINDOW: u32 = (1 << 31) - 1;

/// A connection that nobody wants any more says so to the origin. It takes no longer than this.
const FAREWELL: Duration = Duration::from_secs(1);

/// A connection. Dropping the last of its owners (the pool, the exchanges) closes it in order.
pub(super) struct Connection {
    // Before the guard: without it h2 knows that nothing more will come.
    sender: SendRequest<Bytes>,
    state: Arc<State>,
    max_requests: usize,
    pub(super) address: Option<SocketAddr>,
    _end: DropGuard,
}

/// What the connection's own task looks at.
struct State {
    under_way: AtomicUsize,
    /// When the last request ended.
    idle_since: Mutex<Instant>,
}

/// The right to one request on a connection. Dropping it gives it back.
pub(super) struct Slot {
    connection: Arc<Connection>,
    /// Counts what the present user waits for.
    pub(super) timer: Timer,
}

impl Connection {
    /// Waits for the origin's SETTINGS: before that it is not known whether the origin speaks HTTP/2, nor how many
    /// requests it allows at once, and what is sent too many is refused. `silent` counts connections that are given up
    /// because nothing comes.
    pub(super) async fn open(
        socket: Socket,
        address: Option<SocketAddr>,
        config: &UpstreamConfig,
        silent: Arc<AtomicU64>,
    ) -> Result<Arc<Connection>, h2::Error> {
        let max_requests = config.max_requests_per_connection.max(1);
        let window = config.stream_window_bytes.clamp(1, LARGEST_WINDOW);
        // Room for all of them: a reader that does not read holds up no other.
        let all = u64::from(window).saturating_mul(max_requests as u64);
        let of_connection = u32::try_from(all).unwrap_or(LARGEST_WINDOW).min(LARGEST_WINDOW);
        let notes = socket.notes();
        let (sender, mut connection) = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(window)
            .initial_connection_window_size(of_connection)
            .max_header_list_size(u32::try_from(config.max_head_bytes).unwrap_or(u32::MAX))
            .max_send_buffer_size(SEND_BUFFER)
            .initial_max_send_streams(0)
            .handshake(socket)
            .await?;
        poll_fn(|cx| {
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
                let closed = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
                return Poll::Ready(ended.and(Err(closed_by(closed))));
            }
            match sender.current_max_send_streams() {
                0 => Poll::Pending,
                _ => Poll::Ready(Ok(())),
            }
        })
        .await?;
        let state =
            Arc::new(State { under_way: AtomicUsize::new(0), idle_since: Instant::now().into() });
        let end = CancellationToken::new();
        let pings = connection.ping_pong().expect("nobody else has taken it");
        let pulse = Pulse { pings, notes, every: config.ping_every, is_asked: false, silent };
        tokio::spawn(drive(connection, Arc::clone(&state), pulse, end.clone()));
        let _end = end.drop_guard();
        Ok(Arc::new(Connection { sender, state, max_requests, address, _end }))
    }

    /// Whether the origin takes more requests on it: it has neither closed it nor said that it will.
    pub(super) fn is_open(&self) -> bool {
        let ready = self.sender.clone().poll_ready(&mut Context::from_waker(Waker::noop()));
        !matches!(ready, Poll::Ready(Err(_)))
    }

    /// The right to one more request, if there may be one.
    pub(super) fn slot(self: &Arc<Self>) -> Option<Slot> {
        let max = self.max_requests.min(self.sender.current_max_send_streams());
        let one_more = |under_way: usize| (under_way < max).then_some(under_way + 1);
        self.state.under_way.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok()?;
        Some(Slot { connection: Arc::clone(self), timer: Timer::default() })
    }

    /// Since when no request is under way; nothing while one is.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let is_idle = self.state.under_way.load(Ordering::Acquire) == 0;
        is_idle.then(|| *self.state.idle_since.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn closed_by(error: std::io::Error) -> h2::Error {
    tracing::debug!("a connection of HTTP/2 ended before it began: {error}");
    h2::Error::from(h2::Reason::CONNECT_ERROR)
}

impl Drop for Slot {
    fn drop(&mut self) {
        let State { under_way, idle_since } = &*self.connection.state;
        // Before it counts as idle: whoever sees that sees since when.
        *idle_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        under_way.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Finds out that the origin is there no more, although no packet says so.
struct Pulse {
    pings: PingPong,
    notes: Arc<Notes>,
    every: Duration,
    is_asked: bool,
    silent: Arc<AtomicU64>,
}

impl Pulse {
    /// Ready when the origin has given no sign of life for too long.
    fn poll_lost(&mut self, timer: &mut Timer, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            // Its own answer is a sign of life like others. It is taken so that there can be another.
            if let Poll::Ready(Err(error)) = self.pings.poll_pong(cx) {
                tracing::debug!("a connection of HTTP/2 takes no more pings: {error}");
            }
            timer.ensure(self.every);
            ready!(timer.poll_passed(cx));
            timer.clear();
            if self.notes.take_heard() {
                self.is_asked = false;
            } else if self.is_asked {
                self.silent.fetch_add(1, Ordering::Relaxed);
                return Poll::Ready(());
            } else {
                self.is_asked = self.pings.send_ping(Ping::opaque()).is_ok();
                // The connection, which sends it, has had its turn.
                cx.waker().wake_by_ref();
            }
        }
    }
}

/// The connection's own task, to its end.
async fn drive(
    mut connection: h2::client::Connection<Socket, Bytes>,
    state: Arc<State>,
    mut pulse: Pulse,
    end: CancellationToken,
) {
    let (mut timer, mut farewell) = (Timer::default(), Timer::default());
    let mut ended = pin!(end.cancelled());
    let mut is_unwanted = false;
    poll_fn(|cx| {
        if !is_unwanted && ended.as_mut().poll(cx).is_ready() {
            is_unwanted = true;
            farewell.ensure(FAREWELL);
        }
        if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
            if let Err(error) = ended {
                tracing::debug!("a connection of HTTP/2 to an origin ended: {error}");
            }
            return Poll::Ready(());
        }
        if is_unwanted {
            return farewell.poll_passed(cx);
        }
        if state.under_way.load(Ordering::Acquire) == 0 {
            timer.clear();
            return Poll::Pending;
        }
        pulse.poll_lost(&mut timer, cx)
    })
    .await;
}
