//! Refresh: fetches behind the readers' backs, so many at once and no more.
//!
//! What cannot start at once waits, and the most valuable goes first: the one whose fetch cost most,
//! for that is what a reader would wait for if the refresh came too late. When too many wait, the
//! least valuable is given up; its next reader asks for it again.
//!
//! A key is refreshed by one at a time; but what began before a purge of what it refreshes brings nothing that counts, and
//! keeps nobody from asking anew.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, PoisonError},
    task::Waker,
    time::{Duration, Instant},
};

use super::{
    Engine,
    tasks::{Job, Tasks},
};
use crate::{
    pulse::{self, Life, Pulse},
    purge::{Fence, last::PurgeState},
    sync::{self, Mutex, MutexGuard},
};

pub(crate) struct Refreshes {
    /// Keys that are being refreshed or wait for it. Never held across an await.
    state: Mutex<State>,
    max_running: usize,
    max_waiting: usize,
    tasks: Tasks,
}

#[derive(Default)]
struct State {
    running: Vec<Running>,
    /// The last one of each key.
    keys: HashMap<Arc<str>, Last>,
    /// How many were accepted.
    accepted: u64,
    waiting: Vec<Waiting>,
    /// When it was last asked whether those that run are driven.
    looked: Option<Instant>,
    /// Shut down: nothing is accepted any more.
    is_closed: bool,
}

/// The last refresh of a key that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Last {
    number: u64,
    /// Where purges were when it was.
    asked_at: Fence,
}

/// Which one it is.
#[derive(Clone)]
struct Name {
    key: Arc<str>,
    number: u64,
}

struct Running {
    name: Name,
    pulse: Arc<Pulse>,
}

struct Waiting {
    worth: Duration,
    name: Name,
    job: Job,
}

/// What became of a refresh that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefreshQueued {
    Accepted,
    /// It is under way or waiting already, or the cache was shut down.
    NotNeeded,
    /// One was given up, this or another.
    OneDropped,
}

impl Refreshes {
    pub(crate) fn new(max_running: usize, max_waiting: usize, tasks: Tasks) -> Arc<Self> {
        let state = Mutex::default();
        Arc::new(Refreshes { state, max_running, max_waiting, tasks })
    }

    /// Whether a refresh of `key` would be news. `is_overtaken`: whether a purge has come since over what it refreshes.
    pub(crate) fn is_wanted(
        self: &Arc<Self>,
        key: &str,
        is_overtaken: impl Fn(Fence) -> bool,
    ) -> bool {
        let is_wanted = || {
            let last = {
                let state = self.lock();
                if state.is_closed {
                    return false;
                }
                state.keys.get(key).copied()
            };
            last.is_none_or(|last| is_overtaken(last.asked_at))
        };
        if is_wanted() {
            return true;
        }
        self.go_on_without_the_lost();
        is_wanted()
    }

    /// Frees the places of refreshes that nobody drives, and runs one that waits if there is room: those
    /// whose tasks are gone pass theirs on to nobody.
    fn go_on_without_the_lost(self: &Arc<Self>) {
        let (asked, next) = {
            let mut state = self.lock();
            if state.looked.is_some_and(|looked| looked.elapsed() < pulse::EVERY) {
                return;
            }
            state.looked = Some(Instant::now());
            let asked = state.lose();
            let has_room = state.running.len() < self.max_running && sync::is_in_runtime();
            let next = if has_room { state.most_valuable() } else { None };
            (asked, next.map(|next| (state.begin(next.name), next.job)))
        };
        // Not under the lock: it is the runtime's code, which may drop a task that is over.
        asked.into_iter().for_each(Waker::wake);
        if let Some((pulse, job)) = next {
            self.run(pulse, job);
        }
    }

    /// Runs `job` now, later, or not at all. It is made only if it is wanted, under the lock: no code of
    /// the caller's runs where it is made. `now`: where purges are.
    pub(crate) fn ask(
        self: &Arc<Self>,
        (key, worth): (&Arc<str>, Duration),
        now: Fence,
        is_overtaken: impl FnOnce(Fence) -> bool,
        job: impl FnOnce() -> Job,
    ) -> RefreshQueued {
        let last = self.lock().keys.get(key).copied();
        let overtaken = last.filter(|last| is_overtaken(last.asked_at));
        let mut state = self.lock();
        if state.is_closed {
            return RefreshQueued::NotNeeded;
        }
        let number = state.accepted + 1;
        match state.keys.entry(Arc::clone(key)) {
            Entry::Occupied(last) if Some(*last.get()) != overtaken => {
                return RefreshQueued::NotNeeded;
            }
            place => drop(place.insert_entry(Last { number, asked_at: now })),
        }
        state.accepted = number;
        let name = Name { key: Arc::clone(key), number };
        let job = job();
        if state.running.len() < self.max_running {
            let pulse = state.begin(name);
            drop(state);
            self.run(pulse, job);
            return RefreshQueued::Accepted;
        }
        state.waiting.push(Waiting { worth, name, job });
        let given_up = match state.waiting.len() > self.max_waiting {
            true => state.least_valuable(),
            false => None,
        };
        drop(state);
        self.go_on_without_the_lost();
        // Dropping a job drops what its caller put into it: not under the lock.
        match given_up {
            Some(_) => RefreshQueued::OneDropped,
            None => RefreshQueued::Accepted,
        }
    }

    /// What refreshes `key` was asked for before a purge that names it.
    pub(crate) fn overtake(&self, key: &str) {
        self.lock().keys.remove(key);
    }

    /// The same for all keys.
    pub(crate) fn overtake_all(&self) {
        let overtaken = std::mem::take(&mut self.lock().keys);
        drop(overtaken);
    }

    fn last_of(&self, key: &str) -> Option<u64> {
        self.lock().keys.get(key).map(|last| last.number)
    }

    /// Accepts nothing any more and gives up all that wait: they hold what they would refresh.
    pub(crate) fn close(&self) {
        let waiting = {
            let mut state = self.lock();
            state.is_closed = true;
            let waiting = std::mem::take(&mut state.waiting);
            for Waiting { name, .. } in &waiting {
                state.forget(name);
            }
            waiting
        };
        drop(waiting);
    }

    /// One task for one job after the other, while there are any. It is a loop, not a task that
    /// starts the next: where a runtime is shut down, each would be dropped as it is started.
    fn run(self: &Arc<Self>, pulse: Arc<Pulse>, first: Job) {
        let place = RunningPlace { refreshes: Arc::clone(self), pulse: Arc::clone(&pulse) };
        let jobs = async move {
            let mut job = first;
            loop {
                job.await;
                let Some(next) = place.next() else { break };
                job = next;
            }
        };
        self.tasks.spawn(async move { pulse.drive(jobs).await });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn begin(&mut self, name: Name) -> Arc<Pulse> {
        let pulse = Arc::new(Pulse::default());
        self.running.push(Running { name, pulse: Arc::clone(&pulse) });
        pulse
    }

    /// It is over: the key has none any more, unless another one was asked for since.
    fn forget(&mut self, name: &Name) {
        forget(&mut self.keys, name);
    }

    fn place_of(&self, pulse: &Arc<Pulse>) -> Option<usize> {
        self.running.iter().position(|running| Arc::ptr_eq(&running.pulse, pulse))
    }

    /// Those that nobody drives no longer run, and their keys may be refreshed by others. Of which that
    /// is so shows the next time: these are to be woken.
    fn lose(&mut self) -> Vec<Waker> {
        let State { running, keys, .. } = self;
        let mut asked = Vec::new();
        running.retain(|running| match running.pulse.ask() {
            Life::Shown => true,
            Life::Asked(waker) => {
                asked.push(waker);
                true
            }
            Life::Lost => {
                forget(keys, &running.name);
                false
            }
        });
        asked
    }

    fn most_valuable(&mut self) -> Option<Waiting> {
        let most = (0..self.waiting.len()).max_by_key(|&place| self.waiting[place].worth)?;
        Some(self.waiting.swap_remove(most))
    }

    fn least_valuable(&mut self) -> Option<Waiting> {
        let least = (0..self.waiting.len()).min_by_key(|&place| self.waiting[place].worth)?;
        let given_up = self.waiting.swap_remove(least);
        self.forget(&given_up.name);
        Some(given_up)
    }
}

/// One of the places for running refreshes. Dropping it frees the place and its key, also where its task
/// is dropped half-way; what waits then goes with the next refresh that is asked for.
struct RunningPlace {
    refreshes: Arc<Refreshes>,
    /// Which one it is. There is none any more if it was lost meanwhile.
    pulse: Arc<Pulse>,
}

impl RunningPlace {
    /// Passes the place on to the most valuable that waits.
    fn next(&self) -> Option<Job> {
        let mut state = self.refreshes.lock();
        let place = state.place_of(&self.pulse)?;
        let ended = state.running[place].name.clone();
        let next = state.most_valuable();
        match next {
            Some(Waiting { name, job, .. }) => {
                state.forget(&ended);
                state.running[place].name = name;
                Some(job)
            }
            None => None,
        }
    }
}

impl Drop for RunningPlace {
    fn drop(&mut self) {
        let mut state = self.refreshes.lock();
        if let Some(place) = state.place_of(&self.pulse) {
            let ended = state.running.swap_remove(place);
            state.forget(&ended.name);
        }
    }
}

fn forget(keys: &mut HashMap<Arc<str>, Last>, Name { key, number }: &Name) {
    if keys.get(key).is_some_and(|last| last.number == *number) {
        keys.remove(key);
    }
}

/// What would become of a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshOutlook {
    /// It begins, or waits for its turn.
    Begins,
    /// It is under way, or waits for its turn.
    UnderWay,
    /// The last one failed, and the next is held back for so long.
    HeldBack {
        /// How long.
        left: Duration,
    },
}

impl<V: Clone> Engine<V> {
    /// Runs `job`, which refreshes `key`, now, later, or not at all: if one is under way, if the last one
    /// failed just now, or if too many that are worth more wait. `worth`: what fetching it cost in time.
    pub(crate) fn refresh(&self, key: &Arc<str>, worth: Duration, job: impl FnOnce() -> Job) {
        let is_overtaken = |fence| self.was_purged_since(key, fence);
        let asked = self.refreshes.ask((key, worth), self.purges.position(), is_overtaken, job);
        if asked == RefreshQueued::OneDropped {
            self.counters.refreshes_dropped.increment();
        }
    }

    /// Whether a refresh of `key` would be begun, or wait for its turn. Counts one that is held back.
    pub(crate) fn may_refresh(&self, key: &str) -> bool {
        if !self.has_no_refresh(key) {
            return false;
        }
        let is_held_back = self.is_held_back(key);
        if is_held_back {
            self.counters.refreshes_held_back.increment();
        }
        !is_held_back
    }

    /// Whether no refresh of `key` is under way or waits that no purge has overtaken.
    pub(crate) fn has_no_refresh(&self, key: &str) -> bool {
        self.refreshes.is_wanted(key, |fence| self.was_purged_since(key, fence))
    }

    /// Whether the last refresh of `key` failed just now, and its entry was not purged since that began.
    fn is_held_back(&self, key: &str) -> bool {
        self.backoffs.holds_back(key, self.clock.now(), |fence| self.was_purged_since(key, fence))
    }

    /// Whether what is stored of `key` was purged after this fence by what is looked up with its entry: a tag, or a soft
    /// purge of everything. Purges of keys reach what they are about.
    pub(crate) fn was_purged_since(&self, key: &str, fence: Fence) -> bool {
        let state = self.memory.peek(key, |entry| self.purges.state(entry.tags(), fence));
        state.is_some_and(|state| state != PurgeState::Untouched)
    }

    /// What would become of a refresh of `key` that was asked for now: as [`may_refresh`](Engine::may_refresh), and
    /// neither counts nor forgets.
    pub(crate) fn refresh_outlook(&self, key: &str) -> RefreshOutlook {
        let was_purged = |fence| self.was_purged_since(key, fence);
        let last = self.refreshes.lock().keys.get(key).copied();
        if last.is_some_and(|last| !was_purged(last.asked_at)) {
            return RefreshOutlook::UnderWay;
        }
        match self.backoffs.held_back_for(key, self.clock.now(), was_purged) {
            Some(left) => RefreshOutlook::HeldBack { left },
            None => RefreshOutlook::Begins,
        }
    }

    /// A refresh of `key` begins to ask.
    pub(crate) fn begin_refresh<'a>(&'a self, key: &'a str) -> Attempt<'a, V> {
        self.counters.refreshes.increment();
        let number = self.refreshes.last_of(key);
        Attempt { engine: self, key, number, began_at: self.purges.position(), failed: false }
    }

    /// `key` was fetched or inserted: its next refresh is held back no longer.
    pub(crate) fn forget_backoff(&self, key: &str) {
        self.backoffs.forget(key);
    }
}

/// A refresh under way. If it fails or panics, the next one of its key is held back; one that is
/// dropped, with its runtime perhaps, says nothing about the origin.
pub(crate) struct Attempt<'a, V> {
    engine: &'a Engine<V>,
    key: &'a str,
    /// Which refresh of the key it is, where it has one of its own.
    number: Option<u64>,
    began_at: Fence,
    pub(crate) failed: bool,
}

impl<V> Drop for Attempt<'_, V> {
    fn drop(&mut self) {
        let Engine { backoffs, clock, counters, refreshes, .. } = self.engine;
        // What a purge has undone since has not failed. Asked only then: whoever is dropped takes no lock without need.
        let is_last = || self.number.is_none_or(|own| refreshes.last_of(self.key) == Some(own));
        if ((self.failed && is_last()) || std::thread::panicking())
            && backoffs.failed(self.key, clock.now(), self.began_at)
        {
            counters.backoffs_forgotten.increment();
        }
    }
}

#[cfg(all(test, not(shuttle)))]
impl Refreshes {
    /// Panics if one runs or waits.
    pub(crate) fn assert_idle(&self) {
        let state = self.lock();
        let left = (state.running.len(), state.waiting.len(), state.keys.len());
        assert_eq!(left, (0, 0, 0), "refreshes that never ended");
    }
}
