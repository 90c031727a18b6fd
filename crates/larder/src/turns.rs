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
    mem,
    sync::{Arc, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::{
    pulse::Pulse,
    sync::{
        self, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

/// A fetch goes without a turn once none has been given back for this long. Most fetches end sooner, and
/// one that would wait for ever does not wait long.
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
    waiting: BTreeMap<u64, Arc<Fetch>>,
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
        next.give(Kind::Regular);
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

    /// What turn `fetch` has at once. `None`: it is among those that wait now.
    fn ask(&self, fetch: &Arc<Fetch>) -> Option<Kind> {
        let mut state = self.lock();
        if state.free > 0 {
            state.free -= 1;
            return Some(Kind::Regular);
        }
        // Under the lock: whoever says so now finds it waiting, or is heard here.
        if fetch.is_needed.load(Ordering::Acquire) {
            return Some(Kind::Needed);
        }
        if state.waiting.is_empty() {
            state.moved();
        }
        state.waiting.insert(fetch.number, Arc::clone(fetch));
        None
    }

    fn leave(&self, number: u64) -> Option<Arc<Fetch>> {
        self.lock().waiting.remove(&number)
    }

    /// One goes out of turn, if that is due.
    fn relent(&self) {
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
        next.give(Kind::OutOfTurn);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number of the next fetch.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// One fetch, as those see it who need it and do not know what it brings.
pub(crate) struct Fetch {
    /// No other has it, of whatever cache; a later one has a higher number.
    number: u64,
    turns: Arc<Turns>,
    /// A running fetch waits for this one. Never taken back.
    is_needed: AtomicBool,
    /// Where its turn is put, also while nobody runs its task: then it can still be given back.
    turn: Mutex<Slot>,
    /// Something was put there.
    is_given: Notify,
    /// Whether its task is driven.
    pulse: Pulse,
    /// Of how many keys it still brings something.
    keys: AtomicUsize,
}

enum Slot {
    Empty,
    Taken(Turn),
    /// It takes no turn any more.
    Ended,
}

impl Fetch {
    pub(crate) fn new(turns: &Arc<Turns>) -> Arc<Self> {
        Fetch::of_several(turns, 1)
    }

    /// One that brings something of so many keys.
    pub(crate) fn of_several(turns: &Arc<Turns>, keys: usize) -> Arc<Self> {
        Arc::new(Fetch {
            number: NEXT.fetch_add(1, std::sync::atomic::Ordering::SeqCst),
            turns: Arc::clone(turns),
            is_needed: AtomicBool::new(false),
            turn: Mutex::new(Slot::Empty),
            is_given: Notify::new(),
            pulse: Pulse::default(),
            keys: AtomicUsize::new(keys),
        })
    }

    /// The number that the next fetch of any cache will have: those below it have begun, or wait for their
    /// turn.
    pub(crate) fn next_number() -> u64 {
        NEXT.load(std::sync::atomic::Ordering::SeqCst)
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Tells caches apart while they exist.
    pub(crate) fn cache(&self) -> usize {
        Arc::as_ptr(&self.turns).addr()
    }

    /// Whether its task is driven.
    pub(crate) fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Waits until this fetch may run, unless it may already; true if it now goes out of turn. Dropping
    /// the future gives up the place.
    pub(crate) async fn take_turn(self: &Arc<Self>) -> bool {
        if self.has().is_some() {
            return false;
        }
        if let Some(kind) = self.turns.ask(self) {
            self.give(kind);
            return false;
        }
        let place = Place { fetch: self };
        loop {
            if let Some(kind) = self.has() {
                // One that was given up just before it asked has come to wait although it needs no turn.
                self.leave_line();
                mem::forget(place);
                return kind == Kind::OutOfTurn;
            }
            let due = self.turns.lock().due();
            if sync::until(due, self.is_given.notified()).await.is_none() {
                self.turns.relent();
            }
        }
    }

    /// Its turn. One that has ended needs none.
    fn has(&self) -> Option<Kind> {
        match &*self.lock() {
            Slot::Empty => None,
            Slot::Taken(turn) => Some(turn.kind),
            Slot::Ended => Some(Kind::Needed),
        }
    }

    /// It has its turn now. If it has ended meanwhile, the turn is passed on.
    fn give(&self, kind: Kind) {
        let turn = Turn { turns: Arc::clone(&self.turns), kind };
        let refused = {
            let mut slot = self.lock();
            match &*slot {
                Slot::Ended => Some(turn),
                Slot::Empty | Slot::Taken(_) => match mem::replace(&mut *slot, Slot::Taken(turn)) {
                    Slot::Taken(other) => Some(other),
                    Slot::Empty | Slot::Ended => None,
                },
            }
        };
        drop(refused);
        self.is_given.notify_one();
    }

    /// It has ended for one key. With the last one it no longer counts as running: its turn is another's.
    pub(crate) fn end_one(&self) {
        if self.keys.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.end();
        }
    }

    fn end(&self) {
        let slot = mem::replace(&mut *self.lock(), Slot::Ended);
        drop(slot);
    }

    /// It does not wait for its turn any more, and gets none: for one whose own task may never be driven again.
    pub(crate) fn give_up(&self) {
        self.end();
        self.leave_line();
        // Should it be driven after all, it is to notice.
        self.is_given.notify_one();
    }

    fn leave_line(&self) {
        // Dropped outside the lock.
        let place = self.turns.leave(self.number);
        drop(place);
    }

    /// Whether it waits for its turn.
    pub(crate) fn is_waiting(&self) -> bool {
        self.turns.lock().waiting.contains_key(&self.number)
    }

    /// It does not wait for its turn any more.
    pub(crate) fn hurry(&self) {
        if self.is_needed.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Some(fetch) = self.turns.leave(self.number) {
            fetch.give(Kind::Needed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Among those who wait for a turn. Dropping it gives the place up, or the turn that was given just
/// before.
struct Place<'a> {
    fetch: &'a Arc<Fetch>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.fetch.give_up();
    }
}

#[cfg(test)]
impl Turns {
    /// Panics unless all turns, as many as this, are there and nobody waits for one.
    pub(crate) fn assert_idle(&self, turns: usize) {
        let state = self.lock();
        assert_eq!((state.free, state.waiting.len()), (turns, 0), "turns that were not given back");
    }

    /// Tells caches apart while they exist.
    pub(crate) fn cache(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).addr()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn who_is_given_up_waits_no_longer_though_nobody_drives_it() {
        let turns = Turns::new(1);
        let fetches = [(); 3].map(|()| Fetch::new(&turns));
        let [running, left_behind, next] = &fetches;
        assert_eq!(running.take_turn().now_or_never(), Some(false));
        let mut undriven = pin!(left_behind.take_turn());
        assert_eq!(undriven.as_mut().now_or_never(), None);
        let mut waits = pin!(next.take_turn());
        assert_eq!(waits.as_mut().now_or_never(), None);
        left_behind.give_up();
        assert!(!left_behind.is_waiting() && next.is_waiting());
        running.end_one();
        assert_eq!(waits.as_mut().now_or_never(), Some(false), "the turn is not lost to it");
        // One that comes back to life, and one that asks only then, keep no place either.
        assert_eq!(undriven.as_mut().now_or_never(), Some(false));
        let late = Fetch::new(&turns);
        late.give_up();
        assert_eq!(late.take_turn().now_or_never(), Some(false));
        assert!(turns.lock().waiting.is_empty());
    }
}
