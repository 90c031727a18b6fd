//! Burial: whoever asked to be told of what was taken out of a shard is told, and it is dropped. Both run the
//! caller's code: it may call the cache, panic, or take its time.
//!
//! So it happens under no lock, each entry's room is given back as soon as it is gone, and a panic keeps
//! neither the others nor their room, nor those who have yet to be told.

use std::{
    any::Any,
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    thread,
};

use super::{
    budget::Leaving,
    removal::Notice,
    shard::{Gone, Slot},
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

/// Burials of what comes out of many holds of locks: each lot is dropped before the next is taken out, so
/// no more than one is in hand.
///
/// Where a value's `Drop` is what calls, all are dropped at the end. Otherwise it would find some more to
/// take out, whose `Drop`s would find some more, and the stack would end before they do.
pub(super) struct Burials<'a, V> {
    notice: Notice<'a, V>,
    burial: Burial,
    kept_back: Vec<(Gone<V>, Leaving<'a>)>,
}

impl<'a, V> Burials<'a, V> {
    pub(super) fn new(notice: Notice<'a, V>) -> Self {
        Burials { notice, burial: Burial::default(), kept_back: Vec::new() }
    }

    pub(super) fn bury(&mut self, mut gone: Gone<V>, leaving: Leaving<'a>) {
        if gone.is_empty() {
            return;
        }
        if is_dropping() {
            self.kept_back.push((gone, leaving));
        } else {
            self.burial =
                std::mem::take(&mut self.burial).and(bury(&mut gone, leaving, self.notice));
        }
    }

    pub(super) fn end(self) -> Burial {
        let (kept_back, notice) = (self.kept_back.into_iter(), self.notice);
        let bury_lot = |(mut gone, leaving): (Gone<V>, _)| bury(&mut gone, leaving, notice);
        kept_back.fold(self.burial, |burial, lot| burial.and(bury_lot(lot)))
    }
}

/// Tells of what is in each of these places, drops it where it is, and gives its room back, which is `leaving`.
/// To be called without a lock.
pub(super) fn bury<'a, V: 'a>(
    gone: impl IntoIterator<Item = &'a mut Option<Slot<V>>>,
    leaving: Leaving<'_>,
    notice: Notice<'_, V>,
) -> Burial {
    let tell = notice.is_wanted().then_some(|slot: &Slot<V>| notice.tell(slot));
    bury_and(gone, leaving, tell)
}

/// The same for what was never stored: nobody is told.
pub(super) fn bury_untold<'a, V: 'a>(
    gone: impl IntoIterator<Item = &'a mut Option<Slot<V>>>,
    leaving: Leaving<'_>,
) -> Burial {
    bury_and(gone, leaving, None::<fn(&Slot<V>)>)
}

fn bury_and<'a, V: 'a>(
    gone: impl IntoIterator<Item = &'a mut Option<Slot<V>>>,
    mut leaving: Leaving<'_>,
    tell: Option<impl Fn(&Slot<V>)>,
) -> Burial {
    let mut burial = Burial::default();
    for place in gone {
        let Some(slot) = place else { continue };
        let weight = slot.weight();
        if let Some(tell) = &tell {
            burial = burial.and(as_dropping(|| tell(slot)));
        }
        burial = burial.and(as_dropping(|| *place = None));
        leaving.is_gone(weight);
        burial.entries += 1;
    }
    burial
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
