//! Notes: what the reading of a connection's frames and its streams tell each other.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use larder::http::Loan;

use super::limits::MAX_STREAMS;

/// What an answer gives back to the budget: its own request, and what browsers send around one (two
/// `WINDOW_UPDATE`s, a `PRIORITY_UPDATE`, and some for streams that were given up).
const EARNED_BY_ANSWER: u32 = 10;
/// What a piece of an answer gives back: it is acknowledged for its stream and for the connection.
const EARNED_BY_PIECE: u32 = 2;
/// Clients that read in small steps acknowledge in small steps: some every 4 KiB, and twice.
const EARNED_EVERY_BYTES: usize = 1 << 10;
/// What giving up a request costs its reader once the service has begun to work for it. Little more than
/// the request itself: a user who reloads a page that hangs, again and again, is no attacker.
const SPENT_BY_GIVING_UP: u32 = 1;

#[derive(Debug, Default)]
pub(super) struct Notes {
    earned: AtomicU32,
    spent: AtomicU32,
    /// How many streams cannot go on until the reader does something.
    waiting: AtomicUsize,
    /// The reader did something by which a stream went on.
    has_moved: AtomicBool,
    /// By stream, until the stream asks. Their number is bounded by [`Notes::remember`].
    malformed: Mutex<Vec<(u32, Malformed)>>,
    /// Of answers that are out of their streams' hands and wait for the socket.
    lingering: Mutex<Vec<Loan>>,
}

/// What is wrong with a request that h2 takes for well formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    /// It can be told in an answer.
    Head(&'static str),
    /// Right for CONNECT, and for no other method.
    NoPath,
    /// Too late for an answer (RFC 9113 §8.2.1).
    Trailers,
}

/// Too many malformed requests are remembered already.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMany;

impl Notes {
    /// An answer has gone out whole.
    pub(super) fn answered(&self) {
        add(&self.earned, EARNED_BY_ANSWER);
    }

    /// A piece of an answer has gone out.
    pub(super) fn sent(&self, bytes: usize) {
        let every = u32::try_from(bytes / EARNED_EVERY_BYTES).unwrap_or(u32::MAX);
        add(&self.earned, every.saturating_add(EARNED_BY_PIECE));
    }

    /// The reader has given up a request for which the service was working.
    pub(super) fn given_up(&self) {
        add(&self.spent, SPENT_BY_GIVING_UP);
    }

    /// A stream has sent something that its reader made room for, or has got something from it.
    pub(super) fn moved(&self) {
        self.has_moved.store(true, Ordering::Relaxed);
    }

    /// An answer that is lent by its cache waits for the socket.
    pub(super) fn linger(&self, loan: Loan) {
        if !loan.is_nothing() {
            self.lingering.lock().unwrap_or_else(PoisonError::into_inner).push(loan);
        }
    }

    /// All has been written.
    pub(super) fn settle(&self) {
        let settled =
            std::mem::take(&mut *self.lingering.lock().unwrap_or_else(PoisonError::into_inner));
        drop(settled);
    }

    /// Ready once something that waits for the socket is asked back.
    pub(super) fn poll_recalled(&self, cx: &Context<'_>) -> Poll<()> {
        let mut lingering = self.lingering.lock().unwrap_or_else(PoisonError::into_inner);
        match lingering.iter_mut().any(|loan| loan.poll_recalled(cx).is_ready()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Whether any has since this was asked last.
    pub(super) fn take_moved(&self) -> bool {
        self.has_moved.swap(false, Ordering::Relaxed)
    }

    /// How many streams wait for the reader.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(super) fn take_earned(&self) -> u32 {
        self.earned.swap(0, Ordering::Relaxed)
    }

    pub(super) fn take_spent(&self) -> u32 {
        self.spent.swap(0, Ordering::Relaxed)
    }

    pub(super) fn remember(&self, stream: u32, malformed: Malformed) -> Result<(), TooMany> {
        let mut all = self.lock();
        if all.len() >= MAX_STREAMS as usize {
            return Err(TooMany);
        }
        all.push((stream, malformed));
        Ok(())
    }

    /// What is wrong with the request of a stream; told once.
    pub(super) fn take_malformed(&self, stream: u32) -> Option<Malformed> {
        let mut all = self.lock();
        let at = all.iter().position(|(of, _)| *of == stream)?;
        Some(all.swap_remove(at).1)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u32, Malformed)>> {
        // Nothing under this lock can panic half-way through a change.
        self.malformed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a stream waits for its reader, as [`Notes::waiting`] counts it. Dropping it ends that.
#[derive(Debug)]
pub(super) struct Waiting {
    notes: Arc<Notes>,
    is_counted: bool,
}

impl Waiting {
    pub(super) fn new(notes: &Arc<Notes>) -> Waiting {
        Waiting { notes: Arc::clone(notes), is_counted: false }
    }

    pub(super) fn set(&mut self, is_waiting: bool) {
        let waiting = &self.notes.waiting;
        match (std::mem::replace(&mut self.is_counted, is_waiting), is_waiting) {
            (false, true) => _ = waiting.fetch_add(1, Ordering::Relaxed),
            (true, false) => _ = waiting.fetch_sub(1, Ordering::Relaxed),
            _ => {}
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.set(false);
    }
}

fn add(to: &AtomicU32, count: u32) {
    // All of a connection is one task: nothing else writes between the two.
    to.store(to.load(Ordering::Relaxed).saturating_add(count), Ordering::Relaxed);
}
