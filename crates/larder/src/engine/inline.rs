//! Inline: a leader's job runs in its own reader's future for as long as it is short and nobody else needs it; then it
//! becomes a task.
//!
//! What a leader finds below memory is there after one read. A task for that costs as much as all else that a reader
//! does about it, and a reader on another thread has to be woken twice.
//!
//! ```text
//! its reader     polls ── polls ── it has found something, and lands
//!                polls ── it has to wait for others, or to fetch ─────────► a task
//!                polls ── is dropped ─────────────────────────────────────► a task
//! a follower              comes ──────────────────────────────────────────► a task
//! ```
//!
//! So nobody waits for a future that somebody else may never poll again, and a reader who leaves takes nothing along.

use std::{
    future::poll_fn,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::PoisonError,
    task::{Context, Poll, Waker},
};

use super::tasks::{Job, Lent, Tasks};
use crate::sync::{self, Mutex, MutexGuard};

/// Where a leader's job is while it runs inline.
#[derive(Default)]
pub(crate) struct Inline(Mutex<Place>);

#[derive(Default)]
enum Place {
    /// Nothing runs inline: no job has begun here, it has ended, or it is a task.
    #[default]
    Empty,
    /// The same, and somebody follows: what begins now is a task.
    Followed,
    /// Nobody polls the job right now. The waker is that of the reader who did last.
    Waits(Job, Option<Waker>),
    /// Its reader polls it.
    Polled {
        /// When that is over, it becomes a task.
        leaves: bool,
    },
    /// A follower has made it a task, which its reader does not know yet.
    Lent(Lent),
}

/// What is left of a job that does not run inline any more.
pub(crate) enum Left {
    /// It has ended.
    Nothing,
    /// All of it: it is to be a task.
    Job(Job),
    /// It is one.
    Lent(Lent),
}

impl Inline {
    /// Polls `job` until it ends, or is to become a task. Dropping this makes it one of `tasks`.
    pub(crate) async fn run(&self, tasks: &Tasks, job: Job) -> Left {
        {
            let mut place = self.lock();
            if let Place::Followed = *place {
                return Left::Job(job);
            }
            *place = Place::Waits(job, None);
        }
        let _leaving = Leaving { inline: self, tasks };
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<Left> {
        let (mut job, reader) = {
            let mut place = self.lock();
            match mem::replace(&mut *place, Place::Polled { leaves: false }) {
                Place::Waits(job, reader) => (job, reader),
                other => {
                    *place = Place::Empty;
                    return Poll::Ready(match other {
                        Place::Lent(lent) => Left::Lent(lent),
                        _ => Left::Nothing,
                    });
                }
            }
        };
        // As in a task, a panic is nobody's but the job's.
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let is_pending = job.as_mut().poll(context).is_pending();
            is_pending.then_some(job)
        }));
        let Ok(Some(job)) = polled else {
            *self.lock() = Place::Empty;
            return Poll::Ready(Left::Nothing);
        };
        let is_known = reader.as_ref().is_some_and(|reader| reader.will_wake(context.waker()));
        let reader = reader.filter(|_| is_known).or_else(|| Some(context.waker().clone()));
        let mut place = self.lock();
        if let Place::Polled { leaves: true } = *place {
            *place = Place::Empty;
            return Poll::Ready(Left::Job(job));
        }
        *place = Place::Waits(job, reader);
        Poll::Pending
    }

    /// For the job itself: when this poll is over, it becomes a task. False: it does not run inline.
    pub(crate) fn leave(&self) -> bool {
        match &mut *self.lock() {
            Place::Polled { leaves } => {
                *leaves = true;
                true
            }
            Place::Empty | Place::Followed | Place::Waits(..) | Place::Lent(_) => false,
        }
    }

    /// For the job itself: what follows runs in a task, if it can.
    pub(crate) async fn become_task(&self) {
        // It is polled again by that task, at once.
        poll_fn(|_| if self.leave() { Poll::Pending } else { Poll::Ready(()) }).await;
    }

    /// Somebody else waits for what the job brings. One who is in no runtime cannot begin a task, and learns from its
    /// pulse whether it is driven.
    pub(crate) fn followed(&self, tasks: &Tasks) {
        let mut place = self.lock();
        match mem::take(&mut *place) {
            Place::Waits(job, reader) if may_begin(tasks) => {
                let (lent, task) = tasks.lending(job);
                *place = Place::Lent(lent);
                drop(place);
                // Under no lock: this is the runtime's code.
                sync::spawn(task);
                reader.into_iter().for_each(Waker::wake);
            }
            Place::Polled { .. } => *place = Place::Polled { leaves: true },
            Place::Empty => *place = Place::Followed,
            other => *place = other,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Place> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn may_begin(tasks: &Tasks) -> bool {
    sync::is_in_runtime() && !tasks.is_closed()
}

/// While its reader is there.
struct Leaving<'a> {
    inline: &'a Inline,
    tasks: &'a Tasks,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let place = mem::take(&mut *self.inline.lock());
        if let Place::Waits(job, _) = place
            && may_begin(self.tasks)
        {
            sync::spawn(self.tasks.own(job));
        }
    }
}
