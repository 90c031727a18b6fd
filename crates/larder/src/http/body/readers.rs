//! Readers: who is given bytes, how fast each takes them, and who has to go where bodies hold too much.
//!
//! A reader has a [`Seat`] once there is more to give it than one piece, or once its connection says that it does
//! not take what it was given ([`Loan`]). Where more is loose than may be, those go first who take the least; what
//! they held is let go at once, whether or not anybody polls them.
//!
//! Wakers are the code of whoever polls: none is woken, cloned or dropped under a lock.

use std::{
    fmt, mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::{
    account::{Account, Piece},
    list::{LOOK_EVERY, Reader},
    stored::Unread,
};
use crate::sync::{has_timers, spawn};

/// Who waits for room asks for it as often as this.
pub(super) const ASK_EVERY: Duration = Duration::from_millis(20);
/// Who takes less in a second does not go on.
const STANDS_STILL: u64 = 1 << 10;
/// What is in pieces no larger is not looked for at its readers.
pub(super) const SMALL_BYTES: usize = 16 << 10;

/// Which reader of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) id: usize,
    /// Another may have its place once it has left.
    pub(super) number: u64,
}

/// A body on its way that several read.
pub(super) trait SharedBody: Send + Sync {
    /// What is held for one reader, as far as it is nowhere in the store, and would be let go if nobody else
    /// waited for it.
    fn held_for(&self, place: Place) -> usize;

    /// This reader is given nothing more.
    fn cut_off(&self, place: Place);
}

impl Account {
    /// Where more is loose than may be, cuts readers off that do not go on, the slowest first, and only such as
    /// hold some of it. Where it is an eighth as much again, also those who do. Goes on behind the caller's back until
    /// there is room, where the caller is in a runtime with timers.
    pub(crate) fn relieve(self: &Arc<Self>) {
        if self.excess() == 0 {
            return;
        }
        self.cut_slowest();
        if self.excess() > 0 && has_timers() && !self.is_watched.swap(true, Ordering::AcqRel) {
            let watch = Watch(Arc::downgrade(self));
            spawn(watch.until_there_is_room());
        }
    }

    fn cut_slowest(&self) {
        let may_go_on = !self.is_overfull();
        // Where others wait already, there is to be room for several of them.
        let mut over = if may_go_on { self.excess() } else { self.beyond_half() };
        for (rate, seat) in self.readers.slowest(Instant::now()) {
            if over == 0 || (may_go_on && rate >= STANDS_STILL) {
                return;
            }
            let held = seat.loose();
            if held > 0 && seat.recall() {
                over = over.saturating_sub(held);
                self.cut.increment();
            }
        }
    }
}

/// Looks after readers while more is loose than may be. It ends with the account, or its runtime.
struct Watch(Weak<Account>);

impl Watch {
    async fn until_there_is_room(self) {
        loop {
            sleep(LOOK_EVERY).await;
            match self.0.upgrade() {
                Some(account) if account.excess() > 0 => account.cut_slowest(),
                _ => return,
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(account) = self.0.upgrade() {
            account.is_watched.store(false, Ordering::Release);
        }
    }
}

/// A reader that may be told to go.
pub(crate) struct Seat {
    account: Arc<Account>,
    number: usize,
    /// What it was given, or has taken, in bytes.
    taken: AtomicU64,
    /// It has asked for more than there was since its pace was measured last.
    waits: AtomicBool,
    /// None of others' code runs while it is held.
    state: Mutex<State>,
}

struct State {
    source: Source,
    /// What it was given last, and may hold still.
    last: Weak<Piece>,
    is_recalled: bool,
    /// Where its connection waits to be told.
    waker: Option<Waker>,
}

/// Where a reader's bytes come from.
pub(super) enum Source {
    /// It has been given all of it, or is given it elsewhere.
    Nothing,
    Stored(Unread),
    Arriving(Weak<dyn SharedBody>, Place),
    /// Bytes that were passed on to it, and are still somewhere.
    Passing(Arc<AtomicUsize>),
}

impl Seat {
    pub(super) fn new(account: &Arc<Account>, source: Source, last: Weak<Piece>) -> Arc<Seat> {
        let state = Mutex::new(State { source, last, is_recalled: false, waker: None });
        account.readers.list(|number| {
            let (taken, waits) = (AtomicU64::new(0), AtomicBool::new(false));
            Arc::new(Seat { account: Arc::clone(account), number, taken, waits, state })
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn took(&self, bytes: usize) {
        self.taken.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// It asks for more than there is.
    pub(super) fn waits(&self) {
        self.waits.store(true, Ordering::Relaxed);
    }

    /// It was given some of this piece.
    pub(super) fn gave(&self, piece: &Arc<Piece>, bytes: usize) {
        self.took(bytes);
        // Connections copy what is small, and more may be added to it if nobody has an eye on it.
        let piece = if piece.len() > SMALL_BYTES { Arc::downgrade(piece) } else { Weak::new() };
        let before = mem::replace(&mut self.lock().last, piece);
        drop(before);
    }

    pub(super) fn is_recalled(&self) -> bool {
        self.lock().is_recalled
    }

    /// How much of what is stored it has yet to be given.
    pub(super) fn left(&self) -> Option<u64> {
        let state = self.lock();
        match &state.source {
            Source::Stored(unread) => Some(unread.len()),
            // It has yet to be told.
            _ => None,
        }
    }

    /// The next of what is stored.
    pub(super) fn next_stored(&self) -> Option<Result<Bytes, CutOff>> {
        let (piece, range) = {
            let mut state = self.lock();
            if state.is_recalled {
                return Some(Err(CutOff));
            }
            let Source::Stored(unread) = &mut state.source else { return None };
            unread.next_frame()?
        };
        let frame = piece.slice(range);
        self.gave(&piece, frame.len());
        Some(Ok(frame))
    }

    /// It is given nothing more from there.
    pub(super) fn leaves(&self) {
        let source = mem::replace(&mut self.lock().source, Source::Nothing);
        drop(source);
    }

    fn poll_recalled(&self, context: &Context<'_>) -> Poll<()> {
        let mut waker = Some(context.waker().clone());
        {
            let mut state = self.lock();
            if state.is_recalled {
                return Poll::Ready(());
            }
            mem::swap(&mut state.waker, &mut waker);
        }
        Poll::Pending
    }
}

impl Reader for Seat {
    fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    fn has_waited(&self) -> bool {
        self.waits.swap(false, Ordering::Relaxed)
    }

    fn loose(&self) -> usize {
        let (arriving, last) = {
            let state = self.lock();
            let last = state.last.upgrade().map_or(0, |piece| piece.loose());
            match &state.source {
                Source::Nothing => return last,
                Source::Stored(unread) => return last + unread.loose(),
                Source::Passing(bytes) => return bytes.load(Ordering::Relaxed),
                Source::Arriving(arriving, place) => ((arriving.clone(), *place), last),
            }
        };
        let (arriving, place) = arriving;
        last + arriving.upgrade().map_or(0, |arriving| arriving.held_for(place))
    }

    fn recall(&self) -> bool {
        let (source, waker) = {
            let mut state = self.lock();
            if mem::replace(&mut state.is_recalled, true) {
                return false;
            }
            let source = mem::replace(&mut state.source, Source::Nothing);
            (source, state.waker.take())
        };
        if let Source::Arriving(arriving, place) = &source
            && let Some(arriving) = arriving.upgrade()
        {
            arriving.cut_off(*place);
        }
        drop(source);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.account.readers.strike(self.number);
    }
}

/// What a reader's connection holds of a body while it waits for that reader to take it. Whoever sends a body may
/// wait for its loan to be recalled as well: then the reader is to be cut off, since bodies hold all the memory they
/// may ([`Settings::max_arriving_bytes`](super::super::Settings::max_arriving_bytes)) and it does not go on.
///
/// A loan holds no bytes that were not given out before it was made, and costs nothing until it is waited for.
/// Dropping it says that the connection holds nothing more.
///
/// ```
/// use std::task::{Context, Waker};
/// use larder::http::Body;
///
/// let body = Body::from(bytes::Bytes::from_static(b"a few words"));
/// let mut loan = body.loan();
/// // The connection takes nothing now. May it keep what it has?
/// let mut context = Context::from_waker(Waker::noop());
/// assert!(loan.poll_recalled(&mut context).is_pending());
/// ```
#[derive(Default)]
pub struct Loan(Lent);

#[derive(Default)]
enum Lent {
    #[default]
    Nothing,
    Piece(Arc<Piece>),
    Seat(Arc<Seat>),
}

impl Loan {
    pub(crate) fn of_piece(piece: &Arc<Piece>) -> Loan {
        Loan(Lent::Piece(Arc::clone(piece)))
    }

    pub(super) fn of_piece_if(piece: Option<Arc<Piece>>) -> Loan {
        Loan(piece.map_or(Lent::Nothing, Lent::Piece))
    }

    pub(super) fn of_seat(seat: &Arc<Seat>) -> Loan {
        Loan(Lent::Seat(Arc::clone(seat)))
    }

    /// The reader has taken so many bytes of what the connection held.
    pub fn took(&self, bytes: usize) {
        if let Lent::Seat(seat) = &self.0 {
            seat.took(bytes);
        }
    }

    /// Ready once the reader is to be cut off. Call it when the reader does not take what is to be sent; the task
    /// is woken if that changes.
    pub fn poll_recalled(&mut self, context: &Context<'_>) -> Poll<()> {
        if let Lent::Piece(piece) = &self.0 {
            let seat = Seat::new(piece.account(), Source::Nothing, Arc::downgrade(piece));
            self.0 = Lent::Seat(seat);
        }
        match &self.0 {
            Lent::Seat(seat) => seat.poll_recalled(context),
            Lent::Nothing | Lent::Piece(_) => Poll::Pending,
        }
    }

    /// Whether it is a loan of nothing, which is never recalled.
    pub fn is_nothing(&self) -> bool {
        matches!(self.0, Lent::Nothing)
    }
}

impl fmt::Debug for Loan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loan").field("is_nothing", &self.is_nothing()).finish_non_exhaustive()
    }
}

/// A reader that did not go on while bodies held all they may.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("this answer was read too slowly while bodies held all the memory that they may")]
pub struct CutOff;
