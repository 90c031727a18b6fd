//! Tasks: whatever a cache has running has one owner, which stops it and waits for it.
//!
//! A task may also be lent: the reader who began it takes back what is left of it when nobody runs it.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, PoisonError},
    task::{Context, Poll, Waker},
};

use tokio::{sync::oneshot, task::unconstrained};

use crate::sync::{
    self, Mutex,
    atomic::{Ordering, fence},
    watch,
};

pub(crate) type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The owner of every task a cache starts.
#[derive(Clone)]
pub(crate) struct Tasks {
    /// Each task has a receiver for as long as it is there, whether it is polled or not.
    phase: watch::Sender<Phase>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// No task is to be spawned any more; those that run go on.
    Closed,
    /// Every task ends at its next await.
    Stopped,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        let (phase, _) = watch::channel(Phase::Open);
        Tasks { phase }
    }

    /// Runs `task` until it ends or the tasks are stopped.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        sync::spawn(self.own(Box::pin(task)));
    }

    /// The same, to be run by whoever has it: stopped with the others, and waited for as they are. On the
    /// heap, because a fetch is a large future, and on its way into a task and out of it, it is moved a
    /// dozen times.
    pub(crate) fn own<T>(&self, task: Pin<Box<T>>) -> impl Future<Output = ()> + Send + use<T>
    where
        T: Future<Output = ()> + Send + ?Sized + 'static,
    {
        Owned { task, ties: self.ties() }.run()
    }

    /// As [`spawn`](Self::spawn), but whoever has the returned handle may take back what is left of
    /// `task` if it does not run to its end.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub(crate) fn lend(&self, task: Job) -> Lent {
        let (until_gone, gone) = oneshot::channel();
        let job = Arc::<Slot>::default();
        job.put(task, None);
        let task = Borrowed { job: Arc::clone(&job), _until_gone: until_gone };
        sync::spawn(Owned { task, ties: self.ties() }.run());
        Lent { job, gone }
    }

    /// Ends every task at its next await.
    pub(crate) fn stop(&self) {
        self.phase.send_replace(Phase::Stopped);
    }

    /// No task is to be spawned any more.
    pub(crate) fn close(&self) {
        // No task does anything about it, so none is woken.
        self.phase.send_if_modified(|phase| {
            if *phase == Phase::Open {
                *phase = Phase::Closed;
            }
            false
        });
    }

    pub(crate) fn is_stopped(&self) -> bool {
        *self.phase.borrow() == Phase::Stopped
    }

    pub(crate) fn is_closed(&self) -> bool {
        *self.phase.borrow() != Phase::Open
    }

    /// Waits until no task is left. To be closed before: it does not wait for what is spawned later.
    pub(crate) async fn ended(&self) {
        self.phase.closed().await;
        // With the one where ties are cut: what the tasks did is seen by those who have waited for them.
        fence(Ordering::Acquire);
    }

    fn ties(&self) -> Ties {
        Ties(self.phase.subscribe())
    }
}

/// A task and what ties it to its owner. In this order: the task is gone before it counts as ended.
struct Owned<T> {
    task: T,
    ties: Ties,
}

impl<T: Future<Output = ()> + Unpin> Owned<T> {
    /// Until the task ends or is stopped; one that was stopped before does not begin.
    async fn run(mut self) {
        if self.ties.is_stopped() {
            return;
        }
        let Owned { task, ties } = &mut self;
        let mut stopped = pin!(ties.stopped());
        poll_fn(|context| match Pin::new(&mut *task).poll(context) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => stopped.as_mut().poll(context),
        })
        .await;
    }
}

/// By these a task learns that it is to stop, and its owner that it is gone.
struct Ties(watch::Receiver<Phase>);

impl Ties {
    fn is_stopped(&self) -> bool {
        *self.0.borrow() == Phase::Stopped
    }

    async fn stopped(&mut self) {
        // Out of the budget of its task: a task that uses all of that up would never be stopped. And
        // where there is no owner any more, there is none whom it should outlive.
        _ = unconstrained(self.0.wait_for(|phase| *phase == Phase::Stopped)).await;
    }
}

impl Drop for Ties {
    fn drop(&mut self) {
        // Tokio counts receivers, but the count alone orders nothing of what was done before.
        fence(Ordering::Release);
    }
}

/// A task that runs for somebody who can also run it himself. Dropping this leaves the task alone.
pub(crate) struct Lent {
    job: Arc<Slot>,
    /// Closed when the task is gone: it ended, was stopped, or its runtime was dropped.
    gone: oneshot::Receiver<()>,
}

/// The task of what was lent.
struct Borrowed {
    job: Arc<Slot>,
    _until_gone: oneshot::Sender<()>,
}

impl Future for Borrowed {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.job.poll(context)
    }
}

/// Where a lent job lies while nobody polls it, with the waker of the task that polled it last. The lock is
/// held for no longer than it takes to take them or put them there.
#[derive(Default)]
struct Slot(Mutex<Option<(Job, Option<Waker>)>>);

impl Slot {
    fn take(&self) -> Option<(Job, Option<Waker>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, job: Job, polled_by: Option<Waker>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((job, polled_by));
    }

    /// One poll of the job. One that was taken back is over here.
    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        let Some((mut job, polled_by)) = self.take() else { return Poll::Ready(()) };
        let polled = job.as_mut().poll(context);
        if polled.is_pending() {
            let is_known = polled_by.as_ref().is_some_and(|it| it.will_wake(context.waker()));
            let same = polled_by.filter(|_| is_known);
            self.put(job, same.or_else(|| Some(context.waker().clone())));
        }
        polled
    }

    /// Takes the job from the task that had it. It may have been polled since it was found undriven, and
    /// wait for the job to wake it, which will wake others now: so it is woken once more, to end.
    fn take_back(&self) -> Option<Job> {
        let (job, polled_by) = self.take()?;
        polled_by.into_iter().for_each(Waker::wake);
        Some(job)
    }
}

impl Lent {
    /// What is left of the task, once that is gone, or when `undriven` completes. `None`: it has ended.
    pub(crate) async fn take_back<F>(mut self, undriven: impl Fn() -> F) -> Option<Job>
    where
        F: Future<Output = ()>,
    {
        loop {
            tokio::select! {
                biased;
                _ = &mut self.gone => return self.job.take_back(),
                () = undriven() => {
                    // Else it is polled right now, and driven after all.
                    if let Some(job) = self.job.take_back() {
                        return Some(job);
                    }
                }
            }
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::{
        future::{pending, ready},
        sync::mpsc,
        time::Duration,
    };

    use tokio::{
        runtime,
        task::{coop::consume_budget, yield_now},
        time::timeout,
    };

    use super::*;

    /// Whether the tasks end, which is given up where nothing else can happen any more.
    async fn have_ended(tasks: &Tasks) -> bool {
        timeout(Duration::from_secs(60), tasks.ended()).await.is_ok()
    }

    fn have_ended_now(tasks: &Tasks) -> bool {
        pin!(tasks.ended()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_whose_job_was_taken_back_ends_though_it_was_driven_after_all() {
        for polls in [0, 1, 3] {
            let tasks = Tasks::new();
            let lent = tasks.lend(Box::pin(async {
                yield_now().await;
                pending().await
            }));
            for _ in 0..polls {
                yield_now().await;
            }
            assert!(lent.take_back(|| ready(())).await.is_some());
            tasks.close();
            assert!(have_ended(&tasks).await, "it waits for ever, polled {polls} times");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_owned_is_waited_for_until_it_is_dropped_though_nobody_polls_it() {
        let tasks = Tasks::new();
        let owned = tasks.own(Box::pin(ready(())));
        tasks.close();
        assert!(!have_ended(&tasks).await);
        drop(owned);
        assert!(have_ended(&tasks).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_was_begun_before_the_close_goes_on_until_it_is_stopped() {
        let tasks = Tasks::new();
        tasks.spawn(pending());
        tasks.lend(Box::pin(pending()));
        tasks.close();
        assert!((tasks.is_closed(), tasks.is_stopped()) == (true, false));
        assert!(!have_ended(&tasks).await);
        tasks.stop();
        assert!((tasks.is_closed(), tasks.is_stopped()) == (true, true));
        assert!(have_ended(&tasks).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_close_after_the_stop_lets_nothing_run_again() {
        let tasks = Tasks::new();
        tasks.stop();
        tasks.close();
        assert!(tasks.is_stopped());
        tasks.own(Box::pin(async { unreachable!("stopped before it began") })).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_uses_up_its_budget_at_each_poll_is_stopped_all_the_same() {
        let tasks = Tasks::new();
        tasks.spawn(async {
            loop {
                consume_budget().await;
            }
        });
        yield_now().await;
        tasks.stop();
        yield_now().await;
        // No time passes on a paused clock while there is something to do: it is asked at once.
        assert!(have_ended_now(&tasks));
    }

    #[tokio::test(start_paused = true)]
    async fn tasks_have_ended_when_their_runtime_is_gone() {
        let tasks = Tasks::new();
        let runtime = runtime::Builder::new_current_thread().build().unwrap();
        let entered = runtime.enter();
        tasks.spawn(pending());
        let lent = tasks.lend(Box::pin(pending()));
        drop(entered);
        tasks.close();
        let left = async { lent.take_back(pending).await.is_some() };
        let gone = async { runtime.shutdown_background() };
        let (has_ended, left, ()) = tokio::join!(have_ended(&tasks), left, gone);
        assert!(has_ended && left);
    }

    /// Tells whether the tasks had ended when it is dropped.
    struct Told(Tasks, mpsc::Sender<bool>);

    impl Drop for Told {
        fn drop(&mut self) {
            self.1.send(have_ended_now(&self.0)).expect("the test waits for it");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_task_holds_is_dropped_before_the_task_counts_as_ended() {
        let (telling, told) = mpsc::channel();
        let tasks = Tasks::new();
        let holds = |until: Job| {
            let held = Told(tasks.clone(), telling.clone());
            Box::pin(async move {
                until.await;
                drop(held);
            })
        };
        let unpolled = tasks.own(holds(Box::pin(pending())));
        drop(unpolled);
        assert_eq!(told.try_recv(), Ok(false), "it was dropped before it was polled");
        tasks.own(holds(Box::pin(ready(())))).await;
        assert_eq!(told.try_recv(), Ok(false), "it ran to its end");
        for lends in [false, true] {
            let tasks = Tasks::new();
            let held = Told(tasks.clone(), telling.clone());
            let task = async move {
                let _held = held;
                pending().await
            };
            match lends {
                true => drop(tasks.lend(Box::pin(task))),
                false => tasks.spawn(task),
            }
            yield_now().await;
            tasks.stop();
            assert!(have_ended(&tasks).await);
            assert_eq!(told.try_recv(), Ok(false), "it was stopped, lent: {lends}");
        }
    }
}
