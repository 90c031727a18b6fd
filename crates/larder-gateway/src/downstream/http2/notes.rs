//! Notes: what the reading of a connection's frames and its streams tell each other.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use larder::http::Loan;
use tokio::time::Instant;

use super::limits::{CONNECTION_WINDOW, MAX_STREAMS, STREAM_WINDOW};
use crate::downstream::pace::{ALONE, MinRate, Pace};

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

/// So many uploads that nobody takes fill the connection's window: whoever sends more is held up by us.
const FILLING_UPLOADS: usize = (CONNECTION_WINDOW / STREAM_WINDOW) as usize;

#[derive(Debug)]
pub(super) struct Notes {
    earned: AtomicU32,
    spent: AtomicU32,
    /// How many streams cannot go on until the reader does something.
    waiting: AtomicUsize,
    /// Of how many uploads the reader may send more than the service takes.
    held_up: AtomicUsize,
    /// The reader did something by which a stream went on.
    has_moved: AtomicBool,
    min_rate: MinRate,
    /// Of all streams together. It counts while any of them waits for the reader.
    line: Mutex<Pace>,
    /// Streams that have begun, until they are accepted.
    begun: Mutex<Vec<Begun>>,
    /// By stream, until the stream asks. Their number is bounded by [`Notes::remember`].
    malformed: Mutex<Vec<(u32, Malformed)>>,
    /// Of answers that are out of their streams' hands and wait for the socket.
    lingering: Mutex<Vec<Loan>>,
}

/// A stream that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Begun {
    stream: u32,
    /// Its head is so large that h2 itself answers it.
    pub(super) is_too_large: bool,
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

impl Default for Notes {
    fn default() -> Self {
        Notes::new(MinRate::default())
    }
}

impl Notes {
    pub(super) fn new(min_rate: MinRate) -> Notes {
        Notes {
            earned: AtomicU32::default(),
            spent: AtomicU32::default(),
            waiting: AtomicUsize::default(),
            held_up: AtomicUsize::default(),
            has_moved: AtomicBool::default(),
            min_rate,
            line: Mutex::new(Pace::new(min_rate)),
            begun: Mutex::default(),
            malformed: Mutex::default(),
            lingering: Mutex::default(),
        }
    }

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

    /// A stream has sent so much that its reader made room for, or has got so much from it.
    pub(super) fn moved(&self, bytes: usize) {
        self.has_moved.store(true, Ordering::Relaxed);
        let mut line = self.line();
        line.moved(bytes, self.min_rate, ALONE);
        if self.waiting() > 0 {
            line.wait(ALONE);
        }
    }

    /// When the connection as a whole will be below the least rate, if nothing more moves. `None`: no stream
    /// waits for the reader.
    pub(super) fn line_slow_at(&self) -> Option<Instant> {
        (self.waiting() > 0).then(|| self.line().wait(ALONE))
    }

    /// The same where others wait for room, and the rate is asked for over so `little` time.
    pub(super) fn line_stalls_at(&self, little: Duration) -> Option<Instant> {
        (self.waiting() > 0).then(|| self.line().wait_little(self.min_rate, little))
    }

    /// Whether uploads that the service does not take may hold up all others of the connection.
    pub(super) fn is_window_full(&self) -> bool {
        self.held_up.load(Ordering::Relaxed) >= FILLING_UPLOADS
    }

    fn line(&self) -> MutexGuard<'_, Pace> {
        // Nothing under this lock can panic half-way through a change.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// The head of a request has come.
    pub(super) fn begin(&self, stream: u32, is_too_large: bool) {
        let mut begun = self.begun();
        // h2 reads no more than this before streams are accepted, and more would not be told.
        if begun.len() < 2 * MAX_STREAMS as usize {
            begun.push(Begun { stream, is_too_large });
        }
    }

    /// h2 takes it for a request.
    pub(super) fn accepted(&self, stream: u32) {
        self.begun().retain(|begun| begun.stream != stream);
    }

    /// Those that h2 has refused by itself, once it has accepted all that it accepts: each is told once.
    pub(super) fn take_unaccepted(&self) -> Vec<Begun> {
        std::mem::take(&mut self.begun())
    }

    fn begun(&self) -> MutexGuard<'_, Vec<Begun>> {
        // Nothing under this lock can panic half-way through a change.
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Whether a stream waits for its reader, as [`Notes::waiting`] counts it, or its reader for us. Dropping it ends
/// both.
#[derive(Debug)]
pub(super) struct Waiting {
    notes: Arc<Notes>,
    is_waiting: bool,
    is_held_up: bool,
}

impl Waiting {
    pub(super) fn new(notes: &Arc<Notes>) -> Waiting {
        Waiting { notes: Arc::clone(notes), is_waiting: false, is_held_up: false }
    }

    pub(super) fn set(&mut self, is_waiting: bool) {
        let was_waiting = std::mem::replace(&mut self.is_waiting, is_waiting);
        count(&self.notes.waiting, was_waiting, is_waiting);
        match (was_waiting, self.notes.waiting()) {
            (false, 1) if is_waiting => _ = self.notes.line().wait(ALONE),
            (true, 0) => self.notes.line().pause(ALONE),
            _ => {}
        }
    }

    /// The reader may send more of its upload than the service takes.
    pub(super) fn set_held_up(&mut self, is_held_up: bool) {
        let was_held_up = std::mem::replace(&mut self.is_held_up, is_held_up);
        count(&self.notes.held_up, was_held_up, is_held_up);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.set(false);
        self.set_held_up(false);
    }
}

fn count(all: &AtomicUsize, was: bool, is: bool) {
    match (was, is) {
        (false, true) => _ = all.fetch_add(1, Ordering::Relaxed),
        (true, false) => _ = all.fetch_sub(1, Ordering::Relaxed),
        _ => {}
    }
}

fn add(to: &AtomicU32, count: u32) {
    // All of a connection is one task: nothing else writes between the two.
    to.store(to.load(Ordering::Relaxed).saturating_add(count), Ordering::Relaxed);
}
