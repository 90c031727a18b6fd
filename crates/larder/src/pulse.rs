//! Pulse: whether the tasks that others wait for are still driven.
//!
//! A task runs while somebody drives its runtime. One that nobody drives any more (a `block_on` for each
//! call, and the call is over), or that is blocked, is neither dropped nor polled: who waits for its
//! tasks would do so for ever, and what they hold would be lost. So one thread for all caches of a process
//! asks such a task for a sign of life, by waking it; a task that has not been polled [`PATIENCE`] later is
//! *undriven*. It may come back to life, so whoever learns of it does something that is right in either
//! case.
//!
//! Time is the machine's here, and the thread nobody's runtime: both go on where a runtime does not.
//!
//! Nearly every wait is over before the thread looks for the first time. So what is watched leaves when it is
//! gone, and nothing of it is kept; and there are several lists, which threads seldom wait for each other at.

use std::{
    future::{Future, poll_fn},
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
    thread,
    time::{Duration, Instant},
};

use slab::Slab;

/// How often tasks that are watched are looked at.
pub(crate) const EVERY: Duration = Duration::from_millis(500);
/// How long a task may leave a question unanswered: a runtime is not blocked for so long in passing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// The signs of life of one task.
#[derive(Default)]
pub(crate) struct Pulse(Mutex<Beat>);

/// What is known of a task.
pub(crate) enum Life {
    /// It was driven lately, as far as is known.
    Shown,
    /// The same; now wake it, under no lock, and see.
    Asked(Waker),
    /// Nobody has driven it for [`PATIENCE`].
    Lost,
}

#[derive(Default)]
struct Beat {
    waker: Option<Waker>,
    /// Since then an answer is awaited.
    asked: Option<Instant>,
    /// It runs right now, however long that takes.
    is_polled: bool,
}

impl Pulse {
    /// Runs `future`, which answers by being polled.
    pub(crate) async fn drive<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|context| {
            let is_known = {
                let mut beat = self.lock();
                beat.is_polled = true;
                beat.asked = None;
                beat.waker.as_ref().is_some_and(|known| known.will_wake(context.waker()))
            };
            let _polled = Polled(self);
            if !is_known {
                // A waker is the runtime's code: it is neither cloned nor dropped under the lock.
                let waker = Some(context.waker().clone());
                let old = mem::replace(&mut self.lock().waker, waker);
                drop(old);
            }
            future.as_mut().poll(context)
        })
        .await
    }

    /// Whether the last question was answered; if so, the next one is to be asked.
    pub(crate) fn ask(&self) -> Life {
        let mut beat = self.lock();
        match beat.asked {
            _ if beat.is_polled => Life::Shown,
            Some(asked) if asked.elapsed() >= PATIENCE => Life::Lost,
            Some(_) => Life::Shown,
            None => {
                beat.asked = Some(Instant::now());
                // A task that was never polled has no waker, but its runtime owes it a poll anyway.
                beat.waker.take().map_or(Life::Shown, Life::Asked)
            }
        }
    }

    /// The same for who holds no lock.
    pub(crate) fn is_lost(&self) -> bool {
        match self.ask() {
            Life::Shown => false,
            Life::Asked(waker) => {
                waker.wake();
                false
            }
            Life::Lost => true,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Beat> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While it is polled, also if that panics.
struct Polled<'a>(&'a Pulse);

impl Drop for Polled<'_> {
    fn drop(&mut self) {
        self.0.lock().is_polled = false;
    }
}

/// Something that waits for a task.
pub(crate) trait Watched: Send + Sync {
    /// Looks at the task, and tells those who wait if it is lost.
    fn look(&self);
}

/// How many lists there are.
const LISTS: usize = 16;

/// Those that are watched. Nothing is dropped under these locks but what still has its owner.
static LISTS_OF_WATCHED: [List; LISTS] =
    [const { List(Mutex::new(Slab::<Weak<dyn Watched>>::new())) }; LISTS];

/// A list on a cache line of its own.
#[repr(align(128))]
struct List(Mutex<Slab<Weak<dyn Watched>>>);

impl List {
    fn lock(&self) -> MutexGuard<'_, Slab<Weak<dyn Watched>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether somebody looks at them.
static IS_RUNNING: AtomicBool = AtomicBool::new(false);

/// A place in one of the lists. Dropping it leaves the list: let its owner be what is watched.
pub(crate) struct Watch {
    list: &'static List,
    /// There is none where interleavings are tried out, or a simulation runs: every task is driven there.
    place: Option<usize>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let left = self.list.lock().remove(place);
            drop(left);
        }
    }
}

/// The thread that looks would come at any time, and another one in each run.
fn is_simulated() -> bool {
    #[cfg(all(test, not(shuttle)))]
    return crate::simulation::is_under_way();
    #[cfg(not(all(test, not(shuttle))))]
    false
}

/// Looks at `watched` from now on. Those of different numbers are mostly in different lists.
pub(crate) fn watch(number: u64, watched: Weak<dyn Watched>) -> Watch {
    let list = &LISTS_OF_WATCHED[number as usize % LISTS];
    if cfg!(shuttle) || is_simulated() {
        return Watch { list, place: None };
    }
    let place = Some(list.lock().insert(watched));
    see_to_watching();
    Watch { list, place }
}

fn see_to_watching() {
    // Read first: all who wait would have to wait for each other to write it.
    if !IS_RUNNING.load(Ordering::SeqCst) && !IS_RUNNING.swap(true, Ordering::SeqCst) {
        let started = thread::Builder::new().name("larder-watch".to_owned()).spawn(watch_all);
        if started.is_err() {
            // The next one tries again.
            IS_RUNNING.store(false, Ordering::SeqCst);
        }
    }
}

/// Ends when nothing is to be watched; the next one starts it anew.
fn watch_all() {
    loop {
        thread::sleep(EVERY);
        let mut is_watching = false;
        for list in &LISTS_OF_WATCHED {
            let watched: Vec<_> = list.lock().iter().map(|(_, watched)| watched.clone()).collect();
            is_watching |= !watched.is_empty();
            for watched in watched {
                // A waker runs its runtime's code, and the last handle of a value its owner's.
                let look = move || _ = watched.upgrade().map(|watched| watched.look());
                if let Err(panic) = catch_unwind(AssertUnwindSafe(look)) {
                    // It was reported when it began. What it carries may panic again where it is dropped.
                    mem::forget(panic);
                }
            }
        }
        if !is_watching && is_over() {
            return;
        }
    }
}

/// Whether nothing came while the lists were looked through: whoever comes from now on starts another.
fn is_over() -> bool {
    IS_RUNNING.store(false, Ordering::SeqCst);
    let is_empty = |list: &List| list.lock().is_empty();
    LISTS_OF_WATCHED.iter().all(is_empty) || IS_RUNNING.swap(true, Ordering::SeqCst)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use super::*;

    struct Told(mpsc::Sender<()>);

    impl Watched for Told {
        fn look(&self) {
            // Nobody may be listening any more.
            self.0.send(()).ok();
        }
    }

    fn watched(number: u64, told: &mpsc::Sender<()>) -> (Arc<Told>, Watch) {
        let watched = Arc::new(Told(told.clone()));
        let weak: Weak<Told> = Arc::downgrade(&watched);
        (watched, watch(number, weak))
    }

    /// A list that no fetch of another test is in, as far as it goes: there are few of them here.
    const NUMBER: u64 = 15;

    #[test]
    fn what_is_over_before_it_is_looked_at_leaves_nothing_behind() {
        let (told, tells) = mpsc::channel();
        let list = &LISTS_OF_WATCHED[NUMBER as usize];
        let before = list.lock().capacity();
        for _ in 0..10_000 {
            drop(watched(NUMBER, &told));
        }
        assert!(list.lock().capacity() <= before + 100, "{}", list.lock().capacity());
        // What stays is looked at again and again, also by a thread that is begun anew.
        for _ in 0..2 {
            let stays = watched(NUMBER, &told);
            for _ in 0..2 {
                tells.recv_timeout(20 * EVERY).unwrap();
            }
            drop(stays);
            while tells.recv_timeout(2 * EVERY).is_ok() {}
        }
    }
}
