//! Outgoing: a request's body on its way to the origin. It tells that it moves on, and may have to wait until
//! the origin asks for it, or until it has taken what went before.

use std::{
    collections::VecDeque,
    error::Error,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;

use crate::timer::Timer;

/// While the origin has not taken so much of what hyper holds, hyper is given no more: by itself it would gather
/// 128 KiB of each upload that an origin does not read.
const MAX_BACKLOG: usize = 16 << 10;

/// Signs of life of an exchange: pieces of the request sent.
#[derive(Debug, Default)]
pub(super) struct Progress {
    steps: AtomicU64,
    /// So much hyper was given, and the socket did not take.
    backlog: AtomicUsize,
}

impl Progress {
    fn advance(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// The socket took so much of what was to be written, and left so much.
    pub(super) fn wrote(&self, taken: usize, left: usize) {
        if taken > 0 {
            self.advance();
        }
        self.backlog.store(left, Ordering::Relaxed);
    }
}

/// Whether the origin wants the content of a request that asks first, with `Expect` (RFC 9110 §10.1.1).
#[derive(Debug, Default)]
pub(super) struct ContinueSignal(AtomicU8);

impl ContinueSignal {
    const ASKED: u8 = 0;
    const GO_ON: u8 = 1;
    const ANSWERED: u8 = 2;

    /// The origin says 100, or has said nothing for long enough.
    pub(super) fn go_on(&self) {
        self.set(ContinueSignal::GO_ON);
    }

    /// The final answer is here: content that has not begun to go need not.
    pub(super) fn answered(&self) {
        self.set(ContinueSignal::ANSWERED);
    }

    /// The first signal counts.
    fn set(&self, signal: u8) {
        // An error says that there has been one.
        self.0
            .compare_exchange(ContinueSignal::ASKED, signal, Ordering::Relaxed, Ordering::Relaxed)
            .ok();
    }
}

/// A request's body on its way out.
pub(super) enum Outgoing {
    Empty,
    Streaming {
        body: UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>,
        progress: Arc<Progress>,
        /// Until the origin has asked for it.
        wait: Option<Box<ContinueWait>>,
    },
    /// What was sent before, in vain, and what is left.
    Again {
        pieces: VecDeque<Bytes>,
        rest: Box<Outgoing>,
    },
}

/// A body that is held back.
pub(super) struct ContinueWait {
    signal: Arc<ContinueSignal>,
    limit: Duration,
    timer: Timer,
}

impl ContinueWait {
    pub(super) fn for_signal(signal: &Arc<ContinueSignal>, limit: Duration) -> ContinueWait {
        ContinueWait { signal: Arc::clone(signal), limit, timer: Timer::default() }
    }

    /// Ready when the body may go. hyper polls bodies in the turn in which it has read.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.signal.0.load(Ordering::Relaxed) {
            ContinueSignal::GO_ON => return Poll::Ready(()),
            ContinueSignal::ANSWERED => return Poll::Pending,
            _ => {}
        }
        self.timer.ensure(self.limit);
        ready!(self.timer.poll_passed(cx));
        self.signal.go_on();
        Poll::Ready(())
    }
}

impl Outgoing {
    pub(super) fn new<B>(body: B, progress: &Arc<Progress>, wait: Option<ContinueWait>) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        if body.is_end_stream() {
            return Outgoing::Empty;
        }
        let body = http_body_util::BodyExt::map_err(body, Into::into);
        let (body, wait) = (UnsyncBoxBody::new(body), wait.map(Box::new));
        Outgoing::Streaming { body, progress: Arc::clone(progress), wait }
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Outgoing::Empty)
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let (body, progress, wait) = match &mut *self {
            Outgoing::Streaming { body, progress, wait } => (body, progress, wait),
            Outgoing::Empty => return Poll::Ready(None),
            Outgoing::Again { pieces, rest } => {
                return match pieces.pop_front() {
                    Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
                    None => Pin::new(&mut **rest).poll_frame(cx),
                };
            }
        };
        if let Some(waiting) = wait {
            ready!(waiting.poll_over(cx));
            *wait = None;
        }
        // hyper asks again in the turn in which the socket has taken some of it, and that wakes the task.
        if progress.backlog.load(Ordering::Relaxed) >= MAX_BACKLOG {
            return Poll::Pending;
        }
        let frame = ready!(Pin::new(body).poll_frame(cx));
        progress.advance();
        if let Some(Ok(frame)) = &frame {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            progress.backlog.fetch_add(bytes, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Outgoing::Empty => true,
            Outgoing::Streaming { body, .. } => body.is_end_stream(),
            Outgoing::Again { pieces, rest } => pieces.is_empty() && rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outgoing::Empty => SizeHint::with_exact(0),
            Outgoing::Streaming { body, .. } => body.size_hint(),
            Outgoing::Again { pieces, rest } => {
                let before: usize = pieces.iter().map(Bytes::len).sum();
                let whole = rest.size_hint().exact().map(|left| left + before as u64);
                whole.map_or_else(SizeHint::new, SizeHint::with_exact)
            }
        }
    }
}
