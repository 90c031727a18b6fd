//! Sweeper: one thread for all caches of a process that lets expired entries go, traffic or not.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::Duration,
};

use crate::tier::memory::{Runs, discard};

/// Twice in the time within which expired bytes are promised to be gone.
const EVERY: Duration = Duration::from_secs(1);

pub(crate) trait Sweep: Send + Sync {
    /// Removes what is of no use any more, as much as one second's sweep may.
    fn sweep_some(&self);
}

struct Watched {
    caches: Vec<Weak<dyn Sweep>>,
    is_running: bool,
}

static WATCHED: Mutex<Watched> = Mutex::new(Watched { caches: Vec::new(), is_running: false });

/// Sweeps `cache` from now on until it is dropped.
pub(crate) fn watch<S: Sweep + 'static>(cache: &Arc<S>) {
    let cache: Weak<S> = Arc::downgrade(cache);
    let mut watched = lock();
    watched.caches.retain(|cache| cache.strong_count() > 0);
    watched.caches.push(cache);
    if !watched.is_running {
        let started = thread::Builder::new().name("larder-sweeper".to_owned()).spawn(sweep_all);
        // Without it, expired entries still are not served and go when room is needed; the next
        // cache tries again.
        watched.is_running = started.is_ok();
    }
}

/// Ends when no cache is left; the next one starts it anew.
fn sweep_all() {
    loop {
        thread::sleep(EVERY);
        let caches: Vec<_> = {
            let mut watched = lock();
            watched.caches.retain(|cache| cache.strong_count() > 0);
            if watched.caches.is_empty() {
                watched.is_running = false;
                return;
            }
            watched.caches.clone()
        };
        let mut runs = Runs::in_background();
        for cache in caches {
            // One after the other, so that a cache that is dropped meanwhile need not wait for others.
            // Dropping a value runs its owner's code, and dropping the last handle of a cache all of
            // it. A panic there has been reported; it must not end the sweeping of other caches.
            let sweep = move || _ = cache.upgrade().map(|cache| cache.sweep_some());
            catch_unwind(AssertUnwindSafe(sweep)).unwrap_or_else(discard);
            runs.rest_if_due();
        }
    }
}

fn lock() -> MutexGuard<'static, Watched> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}
