//! Process: the tasks of one instance, which stand still together, go on together, and end together.
//!
//! A process that stands still polls nothing, while time goes on: what it waited for is there when it goes on, and so
//! is every timer that has passed. One that is killed polls nothing ever again, and drops nothing either.

use std::{
    cell::RefCell,
    future::Future,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use super::dice::Dice;

thread_local! {
    /// Whose task is polled right now.
    static CURRENT: RefCell<Option<Arc<Process>>> = const { RefCell::new(None) };
    /// What a run draws its random numbers from.
    static RANDOM: RefCell<Option<Dice>> = const { RefCell::new(None) };
}

/// Whether this thread simulates.
pub(crate) fn is_under_way() -> bool {
    RANDOM.with_borrow(Option::is_some)
}

/// A number by chance, in a simulation.
pub(crate) fn random() -> Option<u128> {
    RANDOM.with_borrow_mut(|dice| {
        let dice = dice.as_mut()?;
        Some(u128::from(dice.roll()) << 64 | u128::from(dice.roll()))
    })
}

/// Runs a task; in a simulation, as one of the process whose task began it.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    match CURRENT.with_borrow(Clone::clone) {
        Some(process) => process.spawn(task),
        None => drop(tokio::spawn(task)),
    }
}

/// While this is there, the thread simulates.
pub(super) struct UnderWay(());

impl UnderWay {
    pub(super) fn begin(seed: u64) -> Self {
        RANDOM.set(Some(Dice::of(seed, &[1])));
        UnderWay(())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        RANDOM.set(None);
    }
}

#[derive(Default)]
pub(super) struct Process(Mutex<State>);

#[derive(Default)]
struct State {
    /// So many want it to stand still.
    stops: usize,
    is_killed: bool,
    /// Of tasks that would have been polled meanwhile.
    wakers: Vec<Waker>,
}

impl Process {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics under it")
    }

    /// What `act` spawns is this process's.
    pub(super) fn enter<R>(self: &Arc<Self>, act: impl FnOnce() -> R) -> R {
        let before = CURRENT.replace(Some(Arc::clone(self)));
        let acted = act();
        CURRENT.set(before);
        acted
    }

    pub(super) fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(Task { process: Arc::clone(self), future: Box::pin(task) });
    }

    pub(super) fn stop(&self) {
        self.lock().stops += 1;
    }

    pub(super) fn go_on(&self) {
        let wakers = {
            let mut state = self.lock();
            state.stops -= 1;
            if state.stops > 0 {
                return;
            }
            mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(super) fn kill(&self) {
        self.lock().is_killed = true;
    }

    fn may_run(&self, context: &Context<'_>) -> bool {
        let mut state = self.lock();
        let may_run = state.stops == 0 && !state.is_killed;
        if !may_run {
            state.wakers.push(context.waker().clone());
        }
        may_run
    }
}

/// A task of a process.
struct Task {
    process: Arc<Process>,
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if !self.process.may_run(context) {
            return Poll::Pending;
        }
        let process = Arc::clone(&self.process);
        process.enter(|| self.future.as_mut().poll(context))
    }
}
