//! Dropping: the caller's code runs while a cache lets something go: the `Drop` of a value, or whoever is told of it.

use std::{
    any::Any,
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    thread,
};

thread_local! {
    /// Whether this thread is dropping a value right now, or telling of it: what it does to a cache meanwhile,
    /// the value's `Drop` does, or who is told.
    static IS_DROPPING: Cell<bool> = const { Cell::new(false) };
}

/// Whether a value's `Drop` is what calls, or who is told of a removal. It must not make others go one after
/// the other, whose `Drop`s would do the same: the stack would end before the entries do.
pub(super) fn is_dropping() -> bool {
    IS_DROPPING.try_with(Cell::get).unwrap_or(false)
}

/// How the dropping went.
#[must_use]
#[derive(Default)]
pub(crate) struct Burial {
    pub(crate) entries: usize,
    /// The first.
    panic: Option<Box<dyn Any + Send>>,
}

impl Burial {
    /// For callers that asked for the dropping: they get its first panic, once all else is done.
    pub(crate) fn resume(self) {
        match self.panic {
            // A second one would end the process.
            Some(panic) if !thread::panicking() => resume_unwind(panic),
            Some(panic) => discard(panic),
            None => {}
        }
    }

    /// For those whose doing it was not. The panic was reported when it began.
    pub(crate) fn pass_over(self) {
        self.panic.into_iter().for_each(discard);
    }

    pub(crate) fn and(self, other: Burial) -> Burial {
        let entries = self.entries + other.entries;
        let panic = match (self.panic, other.panic) {
            (Some(first), second) => {
                second.into_iter().for_each(discard);
                Some(first)
            }
            (None, second) => second,
        };
        Burial { entries, panic }
    }
}

/// Runs the caller's code. What it does to a cache counts as done by a `Drop`, and its panic ends here.
pub(super) fn as_dropping(run: impl FnOnce()) -> Burial {
    let outer = IS_DROPPING.try_with(|is_dropping| is_dropping.replace(true));
    let panic = catch_unwind(AssertUnwindSafe(run)).err();
    if let Ok(outer) = outer {
        IS_DROPPING.set(outer);
    }
    Burial { entries: 0, panic }
}

/// What a panic carries is the caller's as well, and may panic when it is dropped.
pub(crate) fn discard(panic: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        std::mem::forget(again);
    }
}
