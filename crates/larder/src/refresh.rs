//! Refresh: fetches behind the readers' backs, so many at once and no more.
//!
//! What cannot start at once waits, and the most valuable goes first: the one whose fetch cost most,
//! for that is what a reader would wait for if the refresh came too late. When too many wait, the
//! least valuable is given up; its next reader asks for it again.

use std::{
    collections::HashSet,
    future::Future,
    pin::Pin,
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::sync::{self, Mutex, MutexGuard};

pub(crate) type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(crate) struct Refreshes {
    /// Keys that are being refreshed or wait for it. Never held across an await.
    state: Mutex<State>,
    max_running: usize,
    max_waiting: usize,
    tasks: Tasks,
}

#[derive(Default)]
struct State {
    running: usize,
    keys: HashSet<Arc<str>>,
    waiting: Vec<Waiting>,
    /// Shut down: nothing is accepted any more.
    is_closed: bool,
}

struct Waiting {
    worth: Duration,
    key: Arc<str>,
    job: Job,
}

/// What became of a refresh that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Accepted,
    /// It is under way or waiting already, or the cache was shut down.
    NotNeeded,
    /// One was given up, this or another.
    OneDropped,
}

/// The owner of every task a cache starts.
#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Tasks { tracker: TaskTracker::new(), stop: CancellationToken::new() }
    }

    /// Runs `task` until it ends or the tasks are stopped.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        sync::spawn(self.own(task));
    }

    /// The same, to be run by whoever has it: stopped with the others, and waited for as they are.
    pub(crate) fn own<T>(&self, task: T) -> impl Future<Output = ()> + Send + use<T>
    where
        T: Future<Output = ()> + Send + 'static,
    {
        let stop = self.stop.clone();
        // A fetch is a large future, and on its way into a task and out of it, it is moved a dozen
        // times.
        let task = Box::pin(task);
        self.tracker.track_future(async move {
            stop.run_until_cancelled(task).await;
        })
    }

    /// As [`spawn`](Self::spawn), but if `task` is stopped half-way, what is left of it goes to whoever
    /// has the receiver, who may run it to its end.
    pub(crate) fn spawn_to_hand_back(
        &self,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> oneshot::Receiver<Job> {
        let (left, stopped) = oneshot::channel();
        let stop = self.stop.clone();
        let mut task: Job = Box::pin(task);
        sync::spawn(self.tracker.track_future(async move {
            if stop.run_until_cancelled(task.as_mut()).await.is_none() {
                // Without its reader it ends here.
                drop(left.send(task));
            }
        }));
        stopped
    }

    /// Ends every task at its next await.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// No task is to be spawned any more.
    pub(crate) fn close(&self) {
        self.tracker.close();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.tracker.is_closed() || self.stop.is_cancelled()
    }

    /// Waits until no task is left, once closed.
    pub(crate) async fn ended(&self) {
        self.tracker.wait().await;
    }
}

impl Refreshes {
    pub(crate) fn new(max_running: usize, max_waiting: usize, tasks: Tasks) -> Arc<Self> {
        let state = Mutex::default();
        Arc::new(Refreshes { state, max_running, max_waiting, tasks })
    }

    /// Whether a refresh of `key` would be news.
    pub(crate) fn is_wanted(&self, key: &str) -> bool {
        let state = self.lock();
        !state.is_closed && !state.keys.contains(key)
    }

    /// Runs `job` now, later, or not at all. It is made only if it is wanted.
    pub(crate) fn ask(
        self: &Arc<Self>,
        key: &Arc<str>,
        worth: Duration,
        job: impl FnOnce() -> Job,
    ) -> Asked {
        let mut state = self.lock();
        if state.is_closed || !state.keys.insert(Arc::clone(key)) {
            return Asked::NotNeeded;
        }
        let waiting = Waiting { worth, key: Arc::clone(key), job: job() };
        if state.running < self.max_running {
            state.running += 1;
            drop(state);
            self.run(waiting);
            return Asked::Accepted;
        }
        state.waiting.push(waiting);
        if state.waiting.len() <= self.max_waiting {
            return Asked::Accepted;
        }
        let given_up = state.least_valuable();
        drop(state);
        // Dropping a job drops what its caller put into it: not under the lock.
        drop(given_up);
        Asked::OneDropped
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
    fn run(self: &Arc<Self>, first: Waiting) {
        let mut place = Place { refreshes: Arc::clone(self), key: Some(first.key) };
        let mut job = first.job;
        self.tasks.spawn(async move {
            loop {
                job.await;
                let Some(next) = place.next() else { break };
                job = next;
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
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

/// One of the places for running refreshes, and the key that has it. Dropping it frees both, also
/// where its task is dropped half-way; what waits then goes with the next refresh that is asked for.
struct Place {
    refreshes: Arc<Refreshes>,
    key: Option<Arc<str>>,
}

impl Place {
    /// Passes the place on to the most valuable that waits.
    fn next(&mut self) -> Option<Job> {
        let mut state = self.refreshes.lock();
        if let Some(key) = self.key.take() {
            state.keys.remove(&key);
        }
        let Waiting { key, job, .. } = state.most_valuable()?;
        self.key = Some(key);
        Some(job)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.refreshes.lock();
        if let Some(key) = self.key.take() {
            state.keys.remove(&key);
        }
        state.running -= 1;
    }
}
