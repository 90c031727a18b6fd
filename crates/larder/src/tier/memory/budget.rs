//! Budget: what all shards together may hold. Room is booked before anything is stored, and given back
//! after what held it is gone, so the sum never exceeds the bound, not for a moment.
//!
//! What was taken out of a shard is no longer stored, but holds its bytes until it has been dropped, which
//! runs the caller's code and may take long. Two counts tell the two apart. Its place among the entries is
//! free at once, for all but what such a `Drop` stores itself: else a value that stores itself anew would take
//! the place of what it had to go for.

use std::sync::Arc;

use crate::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};

/// What a store may hold, and what lives outside it at its expense: bodies that arrive, or were evicted and are
/// still read. The store keeps half of its room at least.
#[derive(Debug)]
pub(crate) struct Bound {
    max_bytes: AtomicUsize,
    /// Below zero for a moment, where something is counted out before it was counted in.
    outside: AtomicIsize,
}

impl Bound {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Bound { max_bytes: AtomicUsize::new(max_bytes), outside: AtomicIsize::new(0) }
    }

    /// Of both together, in bytes.
    pub(crate) fn max_bytes(&self) -> usize {
        self.max_bytes.load(Ordering::Relaxed)
    }

    /// What lives outside the store now, in bytes.
    pub(crate) fn outside(&self) -> usize {
        usize::try_from(self.outside.load(Ordering::SeqCst)).unwrap_or(0)
    }

    /// What the store may hold now.
    fn inside(&self) -> usize {
        let max = self.max_bytes.load(Ordering::SeqCst);
        max - self.outside().min(max / 2)
    }
}

#[cfg(feature = "http")]
impl Bound {
    pub(crate) fn grow_outside(&self, bytes: usize) {
        self.outside.fetch_add(bytes.cast_signed(), Ordering::SeqCst);
    }

    pub(crate) fn shrink_outside(&self, bytes: usize) {
        self.outside.fetch_sub(bytes.cast_signed(), Ordering::SeqCst);
    }
}

#[derive(Debug)]
pub(super) struct Budget {
    /// Room that nobody else may have: of what is stored, is about to be, or is being dropped.
    booked: Amounts,
    /// Of what is stored or about to be.
    stored: Amounts,
    bound: Arc<Bound>,
    max_entries: usize,
}

#[derive(Debug, Default)]
struct Amounts {
    entries: AtomicUsize,
    bytes: AtomicUsize,
}

impl Amounts {
    fn lower(&self, entries: usize, bytes: usize) {
        self.entries.fetch_sub(entries, Ordering::SeqCst);
        self.bytes.fetch_sub(bytes, Ordering::SeqCst);
    }
}

/// Who stores something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Anybody,
    /// The `Drop` of a value.
    Drop,
}

/// Room for what is about to be stored. Dropping it gives the room back.
#[must_use]
pub(super) struct Room<'a> {
    budget: &'a Budget,
    entries: usize,
    bytes: usize,
}

impl Room<'_> {
    /// It is stored now.
    pub(super) fn keep(mut self) {
        (self.entries, self.bytes) = (0, 0);
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if self.entries > 0 || self.bytes > 0 {
            self.budget.stored.lower(self.entries, self.bytes);
            self.budget.booked.lower(self.entries, self.bytes);
        }
    }
}

/// The room of what is stored no longer and has yet to be dropped. Dropping this gives back what is left
/// of it, so nothing stays booked where the dropping is cut short.
#[must_use]
pub(super) struct Leaving<'a> {
    budget: &'a Budget,
    entries: usize,
    bytes: usize,
}

impl Leaving<'_> {
    /// An entry of this weight is gone. Of what was replaced, less may be left to give back.
    pub(super) fn is_gone(&mut self, weight: usize) {
        let (entries, bytes) = (self.entries.min(1), self.bytes.min(weight));
        self.entries -= entries;
        self.bytes -= bytes;
        self.budget.booked.lower(entries, bytes);
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if self.entries > 0 || self.bytes > 0 {
            self.budget.booked.lower(self.entries, self.bytes);
        }
    }
}

impl Budget {
    pub(super) fn new(max_bytes: usize, max_entries: usize) -> Self {
        Budget {
            booked: Amounts::default(),
            stored: Amounts::default(),
            bound: Arc::new(Bound::new(max_bytes)),
            max_entries,
        }
    }

    #[cfg(feature = "http")]
    pub(super) fn bound(&self) -> &Arc<Bound> {
        &self.bound
    }

    pub(super) fn max_bytes(&self) -> usize {
        self.bound.max_bytes()
    }

    pub(super) fn set_max_bytes(&self, max_bytes: usize) {
        self.bound.max_bytes.store(max_bytes, Ordering::SeqCst);
    }

    /// Entries and bytes stored now, or about to be.
    pub(super) fn stored(&self) -> (usize, usize) {
        let Amounts { entries, bytes } = &self.stored;
        (entries.load(Ordering::SeqCst), bytes.load(Ordering::SeqCst))
    }

    /// Whether more is stored than may be.
    pub(super) fn is_exceeded(&self) -> bool {
        self.stored.bytes.load(Ordering::SeqCst) > self.bound.inside()
    }

    /// Books room, if there is any, for what is stored by somebody, or by the `Drop` of something that is
    /// leaving. None at all is always there: what replaces something as heavy.
    pub(super) fn try_book(&self, entries: usize, bytes: usize, by: By) -> Option<Room<'_>> {
        if entries == 0 && bytes == 0 {
            return Some(Room { budget: self, entries, bytes });
        }
        let booked = self.booked.entries.load(Ordering::SeqCst);
        if by == By::Drop && booked.saturating_add(entries) > self.max_entries
            || !raise(&self.stored.entries, entries, self.max_entries)
        {
            return None;
        }
        if !raise(&self.booked.bytes, bytes, self.bound.inside()) {
            self.stored.entries.fetch_sub(entries, Ordering::SeqCst);
            return None;
        }
        self.booked.entries.fetch_add(entries, Ordering::SeqCst);
        self.stored.bytes.fetch_add(bytes, Ordering::SeqCst);
        let room = Room { budget: self, entries, bytes };
        // The bound may have shrunk since it was read. Both sides write before they look, so either
        // this sees the new bound or who shrinks it sees these bytes.
        (self.booked.bytes.load(Ordering::SeqCst) <= self.bound.inside()).then_some(room)
    }

    /// `entries` of `bytes` are stored no longer, and are about to be dropped.
    pub(super) fn leave(&self, entries: usize, bytes: usize) -> Leaving<'_> {
        if entries > 0 || bytes > 0 {
            self.stored.lower(entries, bytes);
        }
        Leaving { budget: self, entries, bytes }
    }
}

fn raise(counter: &AtomicUsize, by: usize, max: usize) -> bool {
    let raised = |used: usize| used.checked_add(by).filter(|&sum| sum <= max);
    by == 0 || counter.fetch_update(Ordering::SeqCst, Ordering::Relaxed, raised).is_ok()
}

#[cfg(test)]
impl Budget {
    /// What has room now.
    pub(super) fn booked(&self) -> (usize, usize) {
        let Amounts { entries, bytes } = &self.booked;
        (entries.load(Ordering::SeqCst), bytes.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_out_what_there_is_and_no_more() {
        let budget = Budget::new(100, 3);
        budget.try_book(1, 60, By::Anybody).unwrap().keep();
        assert!(budget.try_book(1, 41, By::Anybody).is_none());
        assert!(budget.try_book(1, usize::MAX, By::Anybody).is_none());
        budget.try_book(1, 40, By::Anybody).unwrap().keep();
        assert_eq!((budget.stored(), budget.booked()), ((2, 100), (2, 100)));
        budget.leave(1, 60).is_gone(60);
        budget.try_book(1, 1, By::Anybody).unwrap().keep();
        drop(budget.try_book(1, 1, By::Anybody).unwrap());
        budget.try_book(1, 1, By::Anybody).unwrap().keep();
        assert!(budget.try_book(1, 1, By::Anybody).is_none(), "three entries are there");
    }

    #[test]
    fn what_is_being_dropped_is_not_stored_and_holds_its_room() {
        let budget = Budget::new(100, 3);
        budget.try_book(2, 100, By::Anybody).unwrap().keep();
        let mut leaving = budget.leave(2, 100);
        assert_eq!((budget.stored(), budget.booked()), ((0, 0), (2, 100)));
        assert!(budget.try_book(0, 1, By::Anybody).is_none());
        leaving.is_gone(30);
        assert_eq!(budget.booked(), (1, 70));
        drop(leaving);
        assert_eq!(budget.booked(), (0, 0));
    }

    #[test]
    fn the_place_of_what_is_being_dropped_is_free_for_all_but_its_drop() {
        let budget = Budget::new(100, 1);
        budget.try_book(1, 10, By::Anybody).unwrap().keep();
        let mut leaving = budget.leave(1, 10);
        assert!(budget.try_book(1, 10, By::Drop).is_none());
        budget.try_book(1, 10, By::Anybody).unwrap().keep();
        leaving.is_gone(10);
        assert!(budget.try_book(1, 10, By::Drop).is_none());
        budget.leave(1, 10).is_gone(10);
        assert!(budget.try_book(1, 10, By::Drop).is_some());
    }

    #[test]
    fn what_needs_no_more_room_needs_none() {
        let budget = Budget::new(100, 1);
        budget.try_book(1, 100, By::Anybody).unwrap().keep();
        budget.set_max_bytes(50);
        assert!(budget.try_book(0, 0, By::Anybody).is_some() && budget.is_exceeded());
    }

    #[cfg(feature = "http")]
    #[test]
    fn what_lives_outside_takes_room_but_never_more_than_half() {
        let budget = Budget::new(100, 9);
        budget.try_book(1, 50, By::Anybody).unwrap().keep();
        budget.bound().grow_outside(30);
        assert!(budget.try_book(1, 21, By::Anybody).is_none());
        budget.try_book(1, 20, By::Anybody).unwrap().keep();
        budget.bound().grow_outside(1);
        assert!(budget.is_exceeded());
        budget.leave(1, 20).is_gone(20);
        budget.bound().grow_outside(1000);
        assert!(!budget.is_exceeded(), "half of it is there");
        budget.bound().shrink_outside(1031);
        assert!(budget.try_book(1, 50, By::Anybody).is_some());
    }
}
