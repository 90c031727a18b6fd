//! Turns: so many fetches run at once, the others wait in the order in which their flights began.
//!
//! A fetch that has a turn may wait for another fetch, and that one for its turn. If all who have a turn
//! did so, none would ever end. Three rules prevent that:
//!
//! 1. a fetch that a running fetch of the same cache waits for needs no turn: the one that waits for it
//!    does nothing meanwhile ([`Fetch::hurry`]);
//! 2. the same over several caches, but only if these wait for each other in a ring (see
//!    [`needs`](crate::needs)): otherwise each cache's bound holds, however they are stacked;
//! 3. who needs whom is not known of a task that a fetch has spawned. So if nobody has given a turn back
//!    for [`PATIENCE`] while fetches wait, one of them goes *out of turn*, and is counted. Each further
//!    one waits twice as long, up to [`MAX_PATIENCE`], until somebody gives a turn back: an origin that is
//!    merely slow sees few more fetches than its bound.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

use crate::sync::{
    self, Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};

/// So long no turn is given back before a fetch goes without one. Most fetches end sooner, and one that
/// would wait for ever does not wait long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
/// The longest time between two fetches that go out of turn: where all turns are held by fetches that
/// never end, the others still get their chance.
const MAX_PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Turns {
    /// Never held across an await, nor while a turn is handed over.
    state: Mutex<State>,
}

struct State {
    /// Above zero only while nobody waits.
    free: usize,
    /// By the numbers of their fetches.
    waiting: BTreeMap<u64, oneshot::Sender<Turn>>,
    /// Since then no turn has been given back, or nobody waited for one.
    still_since: Instant,
    patience: Duration,
    /// Who goes out of turn next. The newest is most likely the one that those who have a turn wait
    /// for; but new ones may come without end, so every other time it is the oldest.
    newest_goes: bool,
}

impl State {
    fn due(&self) -> Instant {
        self.still_since + self.patience
    }

    fn moved(&mut self) {
        self.still_since = Instant::now();
        self.patience = PATIENCE;
    }
}

/// The right to run a fetch. Dropping it passes it on.
pub(crate) struct Turn {
    turns: Arc<Turns>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// One of those there are.
    Regular,
    /// None is needed: a fetch that has one waits for this one.
    Needed,
    OutOfTurn,
}

impl Turn {
    pub(crate) fn is_out_of_turn(&self) -> bool {
        self.kind == Kind::OutOfTurn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = {
            let mut state = self.turns.lock();
            state.moved();
            if self.kind != Kind::Regular {
                return;
            }
            match state.waiting.pop_first() {
                Some((_, next)) => next,
                None => {
                    state.free += 1;
                    return;
                }
            }
        };
        self.turns.hand_over(next, Kind::Regular);
    }
}

impl Turns {
    pub(crate) fn new(turns: usize) -> Arc<Self> {
        let state = State {
            free: turns,
            waiting: BTreeMap::new(),
            still_since: Instant::now(),
            patience: PATIENCE,
            newest_goes: true,
        };
        Arc::new(Turns { state: Mutex::new(state) })
    }

    /// Tells caches apart while they exist.
    pub(crate) fn id(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).addr()
    }

    /// A turn, or the place of one who waits for it.
    fn ask(self: &Arc<Self>, fetch: &Fetch) -> Result<Turn, Place> {
        let mut state = self.lock();
        let turn = |kind| Turn { turns: Arc::clone(self), kind };
        if state.free > 0 {
            state.free -= 1;
            return Ok(turn(Kind::Regular));
        }
        // Under the lock: whoever says so now finds it waiting, or is heard here.
        if fetch.is_needed.load(Ordering::Acquire) {
            return Ok(turn(Kind::Needed));
        }
        let (next, turn) = oneshot::channel();
        if state.waiting.is_empty() {
            state.moved();
        }
        state.waiting.insert(fetch.number, next);
        Err(Place { turns: Arc::clone(self), number: fetch.number, turn })
    }

    /// One goes out of turn, if that is due.
    fn relent(self: &Arc<Self>) {
        let next = {
            let mut state = self.lock();
            let now = Instant::now();
            if now < state.due() {
                return;
            }
            let newest_goes = state.newest_goes;
            state.newest_goes = !newest_goes;
            let waiting = &mut state.waiting;
            let next = if newest_goes { waiting.pop_last() } else { waiting.pop_first() };
            let Some((_, next)) = next else { return };
            state.still_since = now;
            state.patience = state.patience.saturating_mul(2).min(MAX_PATIENCE);
            next
        };
        self.hand_over(next, Kind::OutOfTurn);
    }

    /// Not under the lock: if `next` has just left, the turn comes back and is passed on.
    fn hand_over(self: &Arc<Self>, next: oneshot::Sender<Turn>, kind: Kind) {
        drop(next.send(Turn { turns: Arc::clone(self), kind }));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who waits for a turn. Dropping it gives the place up.
struct Place {
    turns: Arc<Turns>,
    number: u64,
    turn: oneshot::Receiver<Turn>,
}

impl Place {
    async fn turn(mut self) -> Turn {
        loop {
            let due = self.turns.lock().due();
            match sync::until(due, &mut self.turn).await {
                Some(turn) => {
                    return turn.expect("whoever takes a fetch off the list sends a turn");
                }
                None => self.turns.relent(),
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let waiting = self.turns.lock().waiting.remove(&self.number);
        drop(waiting);
    }
}

/// One fetch, as those see it who need it and do not know what it brings.
pub(crate) struct Fetch {
    /// No other has it, of whatever cache; a later one has a higher number.
    number: u64,
    turns: Arc<Turns>,
    /// A running fetch waits for this one. Never taken back.
    is_needed: AtomicBool,
    /// Its turn, while it has one.
    turn: Mutex<Option<Turn>>,
}

impl Fetch {
    pub(crate) fn new(turns: &Arc<Turns>) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Arc::new(Fetch {
            number: NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
            turns: Arc::clone(turns),
            is_needed: AtomicBool::new(false),
            turn: Mutex::new(None),
        })
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn cache(&self) -> usize {
        self.turns.id()
    }

    /// Waits until this fetch may run; true if it goes out of turn. Dropping the future gives up the
    /// place.
    pub(crate) async fn take_turn(&self) -> bool {
        let turn = match self.turns.ask(self) {
            Ok(turn) => turn,
            Err(place) => place.turn().await,
        };
        let is_out_of_turn = turn.is_out_of_turn();
        *self.lock() = Some(turn);
        is_out_of_turn
    }

    /// It has ended, or no longer counts as running.
    pub(crate) fn give_back(&self) {
        let turn = self.lock().take();
        drop(turn);
    }

    /// It does not wait for its turn any more.
    pub(crate) fn hurry(&self) {
        if self.is_needed.swap(true, Ordering::AcqRel) {
            return;
        }
        let place = self.turns.lock().waiting.remove(&self.number);
        if let Some(place) = place {
            self.turns.hand_over(place, Kind::Needed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Turn>> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
