//! Refresh: fetches behind the readers' backs, so many at once and no more.
//!
//! What cannot start at once waits, and the most valuable goes first: the one whose fetch cost most,
//! for that is what a reader would wait for if the refresh came too late. When too many wait, the
//! least valuable is given up; its next reader asks for it again.

use std::{
    collections::HashSet,
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
    keys: HashSet<Arc<str>>,
    waiting: Vec<Waiting>,
    /// When it was last asked whether those that run are driven.
    looked: Option<Instant>,
    /// Shut down: nothing is accepted any more.
    is_closed: bool,
}

struct Running {
    key: Arc<str>,
    pulse: Arc<Pulse>,
}

struct Waiting {
    worth: Duration,
    key: Arc<str>,
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

    /// Whether a refresh of `key` would be news.
    pub(crate) fn is_wanted(self: &Arc<Self>, key: &str) -> bool {
        let is_wanted = |state: &State| !state.is_closed && !state.keys.contains(key);
        if is_wanted(&self.lock()) {
            return true;
        }
        self.go_on_without_the_lost();
        is_wanted(&self.lock())
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
            (asked, next.map(|next| (state.begin(&next.key), next.job)))
        };
        // Not under the lock: it is the runtime's code, which may drop a task that is over.
        asked.into_iter().for_each(Waker::wake);
        if let Some((pulse, job)) = next {
            self.run(pulse, job);
        }
    }

    /// Runs `job` now, later, or not at all. It is made only if it is wanted, under the lock: no code of
    /// the caller's runs where it is made.
    pub(crate) fn ask(
        self: &Arc<Self>,
        key: &Arc<str>,
        worth: Duration,
        job: impl FnOnce() -> Job,
    ) -> RefreshQueued {
        let mut state = self.lock();
        if state.is_closed || !state.keys.insert(Arc::clone(key)) {
            return RefreshQueued::NotNeeded;
        }
        let job = job();
        if state.running.len() < self.max_running {
            let pulse = state.begin(key);
            drop(state);
            self.run(pulse, job);
            return RefreshQueued::Accepted;
        }
        state.waiting.push(Waiting { worth, key: Arc::clone(key), job });
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

    /// Accepts nothing any more and gives up all that wait: they hold what they would refresh.
    pub(crate) fn close(&self) {
        let waiting = {
            let mut state = self.lock();
            state.is_closed = true;
            let waiting = std::mem::take(&mut state.waiting);
            for Waiting { key, .. } in &waiting {
                state.keys.remove(key);
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
    fn begin(&mut self, key: &Arc<str>) -> Arc<Pulse> {
        let pulse = Arc::new(Pulse::default());
        self.running.push(Running { key: Arc::clone(key), pulse: Arc::clone(&pulse) });
        pulse
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
                keys.remove(&running.key);
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
        self.keys.remove(&given_up.key);
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
        let ended = Arc::clone(&state.running[place].key);
        let next = state.most_valuable();
        match next {
            Some(Waiting { key, job, .. }) => {
                state.keys.remove(&ended);
                state.running[place].key = key;
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
            state.keys.remove(&ended.key);
        }
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
        if self.refreshes.ask(key, worth, job) == RefreshQueued::OneDropped {
            self.counters.refreshes_dropped.increment();
        }
    }

    /// Whether a refresh of `key` would be begun, or wait for its turn. Counts one that is held back.
    pub(crate) fn may_refresh(&self, key: &str) -> bool {
        if !self.refreshes.is_wanted(key) {
            return false;
        }
        let is_held_back = self.is_held_back(key);
        if is_held_back {
            self.counters.refreshes_held_back.increment();
        }
        !is_held_back
    }

    /// Whether the last refresh of `key` failed just now, and its entry was not purged since.
    fn is_held_back(&self, key: &str) -> bool {
        self.backoffs.holds_back(key, self.clock.now(), |fence| self.was_purged_since(key, fence))
    }

    fn was_purged_since(&self, key: &str, fence: Fence) -> bool {
        let state = self.memory.peek(key, |entry| self.purges.state(entry.tags(), fence));
        state.is_some_and(|state| state != PurgeState::Untouched)
    }

    /// What would become of a refresh of `key` that was asked for now: as [`may_refresh`](Engine::may_refresh), and
    /// neither counts nor forgets.
    pub(crate) fn refresh_outlook(&self, key: &str) -> RefreshOutlook {
        if self.refreshes.lock().keys.contains(key) {
            return RefreshOutlook::UnderWay;
        }
        let was_purged = |fence| self.was_purged_since(key, fence);
        match self.backoffs.held_back_for(key, self.clock.now(), was_purged) {
            Some(left) => RefreshOutlook::HeldBack { left },
            None => RefreshOutlook::Begins,
        }
    }

    /// A refresh of `key` begins to ask.
    pub(crate) fn begin_refresh<'a>(&'a self, key: &'a str) -> Attempt<'a, V> {
        self.counters.refreshes.increment();
        Attempt { engine: self, key, failed: false }
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
    pub(crate) failed: bool,
}

impl<V> Drop for Attempt<'_, V> {
    fn drop(&mut self) {
        let Engine { backoffs, clock, purges, counters, .. } = self.engine;
        if (self.failed || std::thread::panicking())
            && backoffs.failed(self.key, clock.now(), purges.position())
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
