//! Sync: where locks, atomics, channels and tasks come from, so that tests can try how they interleave.
//!
//! Under `--cfg shuttle` (see `interleavings/`) each of them is a point at which shuttle's scheduler
//! may let another task go on; otherwise these are the standard library's and tokio's own.

#[cfg(not(shuttle))]
pub(crate) use std::{
    sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic},
    thread_local,
};
#[cfg(not(any(test, shuttle)))]
pub(crate) use tokio::{spawn, sync::watch};

#[cfg(all(test, not(shuttle)))]
pub(crate) use crate::simulation::{spawn, watch};

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    hash::{BuildHasher, RandomState},
    panic::catch_unwind,
    pin::pin,
    task::Poll,
    time::Duration,
};

use tokio::{
    runtime::{Handle, Id},
    task::unconstrained,
    time::{Instant, Sleep, sleep, sleep_until},
};

/// What was waited for took longer than it may.
pub(crate) struct TooLong;

/// What `future` brings, or `None` at `deadline`. Where no timer can tell (outside a tokio runtime, or in
/// one that was built without timers) the future has as long as it takes.
pub(crate) async fn until<F: Future>(deadline: Instant, future: F) -> Option<F::Output> {
    before(future, || has_timers().then(|| sleep_until(deadline))).await
}

/// The same within `limit`, for a limit that somebody has set: a runtime without timers cannot keep it,
/// and panics. Outside a runtime nobody keeps it.
pub(crate) async fn in_time<F: Future>(limit: Duration, future: F) -> Result<F::Output, TooLong> {
    // A moment that cannot be told never comes.
    let deadline = Instant::now().checked_add(limit);
    let timer = || deadline.filter(|_| is_in_runtime()).map(sleep_until);
    before(future, timer).await.ok_or(TooLong)
}

/// What `future` brings, or `None` once the timer that `timer` makes has passed, where it makes one.
///
/// A fetch may go on elsewhere than where it began, and a timer is moved by the runtime that it was made
/// on: without that it never passes, or panics. So it is made anew on each.
async fn before<F: Future>(future: F, timer: impl Fn() -> Option<Sleep>) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut set = None;
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        let here = Handle::try_current().ok().map(|runtime| runtime.id());
        if set.as_ref().is_none_or(|(home, _)| *home != here) {
            // Out of the budget of its task: a future that uses all of that up would never be too late.
            set = Some((here, timer().map(|timer| Box::pin(unconstrained(timer)))));
        }
        match set.as_mut().and_then(|(_, timer)| timer.as_mut()) {
            Some(timer) => timer.as_mut().poll(context).map(|()| None),
            None => Poll::Pending,
        }
    })
    .await
}

/// So long from `now`, or in thirty years: what is later never comes.
pub(crate) fn after(now: Instant, time: Duration) -> Instant {
    const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    now + time.min(NEVER)
}

/// Lets so much time pass. False where nothing can tell the time.
#[cfg(not(shuttle))]
pub(crate) async fn pause(time: Duration) -> bool {
    if !has_timers() {
        return false;
    }
    until(after(Instant::now(), time), std::future::pending::<()>()).await;
    true
}

/// 128 bits that nobody guesses by chance: the standard library's own keys, which it does not hand out,
/// behind its own hash.
pub(crate) fn random() -> u128 {
    #[cfg(all(test, not(shuttle)))]
    if let Some(random) = crate::simulation::random() {
        return random;
    }
    let random = RandomState::new();
    u128::from(random.hash_one(0)) << 64 | u128::from(random.hash_one(1))
}

/// Whether there is somebody to run tasks.
#[cfg(not(shuttle))]
pub(crate) fn is_in_runtime() -> bool {
    Handle::try_current().is_ok()
}

pub(crate) fn has_timers() -> bool {
    std::thread_local! {
        /// What is known of the runtime that was asked last.
        static KNOWN: Cell<Option<(Id, bool)>> = const { Cell::new(None) };
    }
    let Ok(runtime) = Handle::try_current() else { return false };
    match KNOWN.get() {
        Some((known, has_timers)) if known == runtime.id() => has_timers,
        _ => {
            // A runtime tells it by a panic and in no other way.
            let has_timers = catch_unwind(|| drop(sleep(Duration::ZERO))).is_ok();
            KNOWN.set(Some((runtime.id(), has_timers)));
            has_timers
        }
    }
}

#[cfg(shuttle)]
pub(crate) use {
    shuttle::{
        sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic},
        thread_local,
    },
    tried_out::{is_in_runtime, pause, spawn, watch},
};

#[cfg(shuttle)]
mod tried_out {
    use std::{
        future::{Future, poll_fn},
        panic::{AssertUnwindSafe, catch_unwind},
        task::Poll,
        time::Duration,
    };

    /// Its tasks run; it has no timers, though, and no limit is set where interleavings are tried out.
    pub(crate) fn is_in_runtime() -> bool {
        true
    }

    /// There is no time: others go on, and then this.
    pub(crate) async fn pause(_time: Duration) -> bool {
        shuttle::future::yield_now().await;
        true
    }

    /// As on tokio, a task that panics ends alone.
    pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        let mut task = Box::pin(task);
        shuttle::future::spawn(poll_fn(move |context| {
            catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(context)))
                .unwrap_or(Poll::Ready(()))
        }));
    }

    /// Tokio's own channel. What it does inside counts as one step: tokio proves that part itself.
    pub(crate) mod watch {
        use shuttle::sync::atomic::{AtomicBool, Ordering};
        use tokio::sync::watch;
        pub(crate) use tokio::sync::watch::Ref;

        pub(crate) struct Sender<T>(watch::Sender<T>);

        pub(crate) struct Receiver<T>(watch::Receiver<T>);

        pub(crate) fn channel<T>(first: T) -> (Sender<T>, Receiver<T>) {
            let (sender, receiver) = watch::channel(first);
            (Sender(sender), Receiver(receiver))
        }

        impl<T> Sender<T> {
            pub(crate) fn send_replace(&self, value: T) -> T {
                others_may_run();
                self.0.send_replace(value)
            }

            pub(crate) fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
                others_may_run();
                self.0.send_if_modified(modify)
            }

            pub(crate) fn borrow(&self) -> Ref<'_, T> {
                self.0.borrow()
            }

            pub(crate) fn receiver_count(&self) -> usize {
                self.0.receiver_count()
            }

            pub(crate) fn subscribe(&self) -> Receiver<T> {
                Receiver(self.0.subscribe())
            }

            pub(crate) async fn closed(&self) {
                others_may_run();
                self.0.closed().await;
            }
        }

        impl<T> Clone for Sender<T> {
            fn clone(&self) -> Self {
                Sender(self.0.clone())
            }
        }

        impl<T> Drop for Sender<T> {
            fn drop(&mut self) {
                others_may_run();
            }
        }

        impl<T> Receiver<T> {
            pub(crate) fn borrow(&self) -> Ref<'_, T> {
                self.0.borrow()
            }

            pub(crate) async fn wait_for(
                &mut self,
                is_awaited: impl FnMut(&T) -> bool,
            ) -> Result<Ref<'_, T>, watch::error::RecvError> {
                others_may_run();
                self.0.wait_for(is_awaited).await
            }
        }

        impl<T> Clone for Receiver<T> {
            fn clone(&self) -> Self {
                Receiver(self.0.clone())
            }
        }

        /// Any access to an atomic is such a point.
        fn others_may_run() {
            AtomicBool::new(false).load(Ordering::SeqCst);
        }
    }
}
