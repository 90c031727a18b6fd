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

use std::{
    future::{Future, poll_fn},
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
    thread,
    time::{Duration, Instant},
};

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
pub(crate) trait Watched: Send {
    /// Looks at the task, and tells those who wait if it is lost. False: there is nothing to watch any
    /// more.
    fn look(&self) -> bool;
}

struct Watching {
    watched: Vec<Box<dyn Watched>>,
    is_running: bool,
}

static WATCHING: Mutex<Watching> = Mutex::new(Watching { watched: Vec::new(), is_running: false });

/// Looks at `watched` from now on. Where interleavings are tried out every task is driven.
pub(crate) fn watch(watched: Box<dyn Watched>) {
    if cfg!(shuttle) {
        return;
    }
    let mut watching = lock();
    watching.watched.push(watched);
    if !watching.is_running {
        let started = thread::Builder::new().name("larder-watch".to_owned()).spawn(watch_all);
        // The next one tries again.
        watching.is_running = started.is_ok();
    }
}

/// Ends when nothing is to be watched; the next one starts it anew.
fn watch_all() {
    loop {
        thread::sleep(EVERY);
        let mut looked_at = {
            let mut watching = lock();
            if watching.watched.is_empty() {
                watching.is_running = false;
                return;
            }
            mem::take(&mut watching.watched)
        };
        // A waker runs its runtime's code, and the last handle of a value its owner's.
        looked_at.retain(|watched| match catch_unwind(AssertUnwindSafe(|| watched.look())) {
            Ok(is_there) => is_there,
            Err(panic) => {
                // It was reported when it began. What it carries may panic again where it is dropped.
                mem::forget(panic);
                false
            }
        });
        lock().watched.append(&mut looked_at);
    }
}

fn lock() -> MutexGuard<'static, Watching> {
    WATCHING.lock().unwrap_or_else(PoisonError::into_inner)
}
