//! Backoff: a refresh that failed is not tried again at once.
//!
//! While its origin is down, a stale entry would otherwise cost it a fetch for every reader who comes
//! after the last one failed. The first failure holds the next refresh of that key back for a second,
//! each further one twice as long, up to half a minute. Readers who have to wait for a fetch are not
//! held back: they need its answer.

use std::{collections::HashMap, hash::BuildHasher, sync::PoisonError, time::Duration};

use foldhash::quality::RandomState;

use crate::{
    clock::Moment,
    purge::Fence,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

const FIRST_DELAY: Duration = Duration::from_secs(1);
const MAX_DELAY: Duration = Duration::from_secs(30);

pub(crate) struct Backoffs {
    /// By 64 bits of the key's hash, so that no key is too long to be remembered. Two keys that share
    /// them hold back each other's refreshes. At most `max`.
    failures: Mutex<HashMap<u64, Failures, foldhash::fast::RandomState>>,
    /// How many there are, for the usual case that there is none.
    count: AtomicUsize,
    hasher: RandomState,
    max: usize,
}

/// What is known of a key's refreshes: none succeeded since so many failed.
struct Failures {
    in_a_row: u32,
    /// Until then the next one is held back …
    until: Moment,
    /// … unless the entry was purged since this.
    fence: Fence,
}

impl Backoffs {
    pub(crate) fn new(max: usize) -> Self {
        Backoffs {
            failures: Mutex::default(),
            count: AtomicUsize::new(0),
            hasher: RandomState::default(),
            max,
        }
    }

    /// Whether a refresh of `key` has to wait. `was_purged` tells whether its entry was since a fence;
    /// then whoever purged it wants to see it anew, and what failed before no longer counts.
    pub(crate) fn holds_back(
        &self,
        key: &str,
        now: Moment,
        was_purged: impl FnOnce(Fence) -> bool,
    ) -> bool {
        let Some((until, fence)) = self.known(key) else { return false };
        if was_purged(fence) {
            self.forget(key);
            return false;
        }
        now < until
    }

    /// For how long a refresh of `key` still has to wait. The same, and forgets nothing.
    pub(crate) fn held_back_for(
        &self,
        key: &str,
        now: Moment,
        was_purged: impl FnOnce(Fence) -> bool,
    ) -> Option<Duration> {
        let (until, fence) = self.known(key)?;
        (now < until && !was_purged(fence)).then(|| until.since(now))
    }

    fn known(&self, key: &str) -> Option<(Moment, Fence)> {
        if self.is_empty() {
            return None;
        }
        let id = self.id(key);
        self.lock().get(&id).map(|known| (known.until, known.fence))
    }

    /// A refresh of `key` failed. True if another key's failures had to be forgotten for it.
    pub(crate) fn failed(&self, key: &str, now: Moment, fence: Fence) -> bool {
        let id = self.id(key);
        let mut failures = self.lock();
        let in_a_row = failures.get(&id).map_or(1, |known| known.in_a_row.saturating_add(1));
        failures.insert(id, Failures { in_a_row, until: now.plus(delay(in_a_row)), fence });
        let is_one_too_many = failures.len() > self.max;
        if is_one_too_many {
            let soonest = failures.iter().min_by_key(|(_, known)| known.until);
            if let Some(&soonest) = soonest.map(|(id, _)| id) {
                failures.remove(&soonest);
            }
        }
        self.count.store(failures.len(), Ordering::Relaxed);
        is_one_too_many
    }

    /// `key` was fetched or inserted, or is to be fetched anew.
    pub(crate) fn forget(&self, key: &str) {
        if self.is_empty() {
            return;
        }
        let mut failures = self.lock();
        failures.remove(&self.id(key));
        self.count.store(failures.len(), Ordering::Relaxed);
    }

    pub(crate) fn forget_all(&self) {
        let mut failures = self.lock();
        failures.clear();
        self.count.store(0, Ordering::Relaxed);
    }

    fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    fn id(&self, key: &str) -> u64 {
        self.hasher.hash_one(key)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Failures, foldhash::fast::RandomState>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn delay(failures: u32) -> Duration {
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST_DELAY.saturating_mul(doubled).min(MAX_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn each_failure_holds_back_twice_as_long_up_to_half_a_minute() {
        let delays = [1, 2, 3, 4, 5, 6, 7, 40, u32::MAX].map(|failures| delay(failures).as_secs());
        assert_eq!(delays, [1, 2, 4, 8, 16, 30, 30, 30, 30]);
    }

    #[test]
    fn of_too_many_keys_the_one_that_is_free_soonest_is_forgotten() {
        let backoffs = Backoffs::new(3);
        let clock = ManualClock::new();
        let now = clock.clock().now();
        let never = |_| false;
        assert!(!backoffs.failed("short", now, 0));
        for _ in 0..2 {
            assert!(!backoffs.failed("long", now, 0) && !backoffs.failed("longer", now, 0));
        }
        assert!(!backoffs.failed("longer", now, 0));
        clock.advance(Duration::from_millis(500));
        let later = clock.clock().now();
        assert!(backoffs.failed("another", later, 0));
        assert!(!backoffs.holds_back("short", later, never));
        let held_back = ["long", "longer", "another"];
        assert!(held_back.iter().all(|key| backoffs.holds_back(key, later, never)));
    }

    #[test]
    fn what_is_forgotten_begins_anew() {
        let backoffs = Backoffs::new(10);
        let clock = ManualClock::new();
        let now = clock.clock().now();
        for forget in [|backoffs: &Backoffs| backoffs.forget("key"), Backoffs::forget_all] {
            for _ in 0..9 {
                backoffs.failed("key", now, 0);
            }
            forget(&backoffs);
            assert!(!backoffs.holds_back("key", now, |_| false));
            backoffs.failed("key", now, 0);
            assert!(backoffs.holds_back("key", now, |_| false));
            let a_second_later = now.plus(FIRST_DELAY);
            assert!(!backoffs.holds_back("key", a_second_later, |_| false));
            backoffs.forget_all();
        }
    }
}
