//! Outgoing: a request's body on its way to the origin, and what its sending and the origin's first words tell
//! each other.

use std::{
    error::Error,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;

use crate::timer::Timer;

/// Signs of life of an exchange: pieces of the request sent, interim answers received.
#[derive(Debug, Default)]
pub(super) struct Pulse(AtomicU64);

impl Pulse {
    pub(super) fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn beats(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Whether the origin wants the content of a request that asks for its word first (RFC 9110 §10.1.1).
#[derive(Debug, Default)]
pub(super) struct Word(AtomicU8);

impl Word {
    const ASKED: u8 = 0;
    const GO_ON: u8 = 1;
    const ANSWERED: u8 = 2;

    /// The origin says 100, or has said nothing for long enough.
    pub(super) fn go_on(&self) {
        self.say(Word::GO_ON);
    }

    /// The final answer is here: who has not begun to send need not.
    pub(super) fn answered(&self) {
        self.say(Word::ANSWERED);
    }

    /// The first word counts.
    fn say(&self, word: u8) {
        // An error says that there has been one.
        self.0.compare_exchange(Word::ASKED, word, Ordering::Relaxed, Ordering::Relaxed).ok();
    }
}

/// A request's body on its way out.
pub(super) enum Outgoing {
    Empty,
    Streaming {
        body: UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>,
        pulse: Arc<Pulse>,
        /// Until the origin has said its word.
        wait: Option<Box<Wait>>,
    },
}

/// A body that is held back.
pub(super) struct Wait {
    word: Arc<Word>,
    limit: Duration,
    timer: Timer,
}

impl Wait {
    pub(super) fn for_word(word: &Arc<Word>, limit: Duration) -> Wait {
        Wait { word: Arc::clone(word), limit, timer: Timer::default() }
    }

    /// Ready when the body may go. hyper polls bodies in the turn in which it has read.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.word.0.load(Ordering::Relaxed) {
            Word::GO_ON => return Poll::Ready(()),
            Word::ANSWERED => return Poll::Pending,
            _ => {}
        }
        self.timer.ensure(self.limit);
        ready!(self.timer.poll_passed(cx));
        self.word.go_on();
        Poll::Ready(())
    }
}

impl Outgoing {
    pub(super) fn new<B>(body: B, pulse: &Arc<Pulse>, wait: Option<Wait>) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        if body.is_end_stream() {
            return Outgoing::Empty;
        }
        let body = http_body_util::BodyExt::map_err(body, Into::into);
        let (body, wait) = (UnsyncBoxBody::new(body), wait.map(Box::new));
        Outgoing::Streaming { body, pulse: Arc::clone(pulse), wait }
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
        let Outgoing::Streaming { body, pulse, wait } = &mut *self else {
            return Poll::Ready(None);
        };
        if let Some(waiting) = wait {
            ready!(waiting.poll_over(cx));
            *wait = None;
        }
        let frame = ready!(Pin::new(body).poll_frame(cx));
        pulse.beat();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Outgoing::Empty => true,
            Outgoing::Streaming { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outgoing::Empty => SizeHint::with_exact(0),
            Outgoing::Streaming { body, .. } => body.size_hint(),
        }
    }
}
