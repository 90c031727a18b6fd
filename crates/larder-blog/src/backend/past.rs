//! Past: the last answers that were no plain hits, each by the id that its reader was given.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use larder_admin::explain::{Onlookers, Passed, PastRequest, Watch};

/// So many are remembered.
const MOST: usize = 512;

#[derive(Debug, Default)]
pub(crate) struct Past {
    last: Mutex<Last>,
    /// Who watches them, plain hits among them.
    pub(crate) onlookers: Onlookers,
}

#[derive(Debug, Default)]
struct Last {
    requests: VecDeque<PastRequest>,
    /// How many were ever remembered.
    added: u64,
}

/// One who watches.
pub(crate) struct Watcher {
    past: Arc<Past>,
    /// How many it was told.
    seen: u64,
}

impl Past {
    /// The oldest makes room.
    pub(crate) fn remember(&self, request: PastRequest) {
        let mut last = self.last();
        if last.requests.len() == MOST {
            last.requests.pop_front();
        }
        last.requests.push_back(request);
        last.added += 1;
    }

    /// What came since so many, of much some; and how many there are now.
    fn since(&self, seen: u64) -> (Passed, u64) {
        let last = self.last();
        let new = usize::try_from(last.added - seen).unwrap_or(usize::MAX);
        let first = last.requests.len().saturating_sub(new);
        let gone = last.added - seen - (last.requests.len() - first) as u64;
        (Passed::of(last.requests.range(first..).cloned().collect(), gone), last.added)
    }

    pub(crate) fn find(&self, id: &str) -> Option<PastRequest> {
        self.newest(|request| request.id == id)
    }

    /// The last of this path, whatever its reader called the backend.
    pub(crate) fn last_of(&self, path: &str) -> Option<PastRequest> {
        self.newest(|request| request.url.ends_with(path))
    }

    fn newest(&self, is_wanted: impl Fn(&PastRequest) -> bool) -> Option<PastRequest> {
        self.last().requests.iter().rev().find(|request| is_wanted(request)).cloned()
    }

    /// It is whole after each step.
    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher {
    pub(crate) fn new(past: Arc<Past>) -> Watcher {
        past.onlookers.come();
        let seen = past.last().added;
        Watcher { past, seen }
    }
}

impl Watch for Watcher {
    fn passed(&mut self) -> Passed {
        let (passed, seen) = self.past.since(self.seen);
        self.past.onlookers.want_hits(Instant::now());
        self.seen = seen;
        passed
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.past.onlookers.go();
    }
}

/// 32 hexadecimal digits that nobody has had before.
pub(crate) fn new_id() -> String {
    let random = || RandomState::new().hash_one(0_u8);
    format!("{:016x}{:016x}", random(), random())
}
