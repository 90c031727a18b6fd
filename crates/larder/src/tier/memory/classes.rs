//! Classes: what the entries of each class hold, and how much they may.
//!
//! The budget knows what all entries weigh together. Beside it the entries of a class are counted, for whoever asks what
//! fills the memory, and bound. A class books its bytes before something of it is stored, as the budget does, so that it
//! never holds more than it may; a shard gives them back under its lock when an entry leaves its slot. [`Class::NONE`]
//! has no counts of its own: it holds what the others do not.
//!
//! A class takes 32 bytes here, in groups of 64 that are made when one of them is first stored.

use std::sync::OnceLock;

use larder_policy::class::Class;

use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Classes in a group.
const GROUP: usize = 64;
const GROUPS: usize = (1 << 16) / GROUP;

/// The sums of each class. They take no memory before the first entry that has one.
pub(super) struct Classes {
    groups: OnceLock<Box<[OnceLock<Box<Group>>; GROUPS]>>,
}

type Group = [Sums; GROUP];

struct Sums {
    entries: AtomicUsize,
    bytes: AtomicUsize,
    /// What its entries may weigh together.
    max_bytes: AtomicUsize,
    evicted: AtomicU64,
}

impl Sums {
    fn new() -> Sums {
        Sums {
            entries: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            max_bytes: AtomicUsize::new(usize::MAX),
            evicted: AtomicU64::new(0),
        }
    }

    #[cfg(any(test, feature = "http"))]
    fn held(&self) -> ClassHeld {
        ClassHeld {
            entries: self.entries.load(Ordering::SeqCst),
            bytes: self.bytes.load(Ordering::SeqCst),
            evicted: self.evicted.load(Ordering::Relaxed),
        }
    }
}

/// What the entries of a class hold.
#[cfg(any(test, feature = "http"))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassHeld {
    /// How many there are.
    pub entries: usize,
    /// What they weigh, overhead included.
    pub bytes: usize,
    /// How many had to go so far because the class held all that it may.
    pub evicted: u64,
}

/// Room of a class for what is about to be stored. Dropping it gives the room back.
#[must_use]
pub(super) struct ClassRoom<'a> {
    sums: Option<&'a Sums>,
    entries: usize,
    bytes: usize,
}

impl ClassRoom<'_> {
    /// It is stored now.
    pub(super) fn keep(mut self) {
        self.sums = None;
    }
}

impl Drop for ClassRoom<'_> {
    fn drop(&mut self) {
        if let Some(sums) = self.sums {
            sums.entries.fetch_sub(self.entries, Ordering::SeqCst);
            sums.bytes.fetch_sub(self.bytes, Ordering::SeqCst);
        }
    }
}

impl Classes {
    pub(super) fn new() -> Classes {
        Classes { groups: OnceLock::new() }
    }

    /// Books room for what is to be stored, if the class may hold so much more. None at all is always there.
    pub(super) fn try_book(
        &self,
        class: Class,
        entries: usize,
        bytes: usize,
    ) -> Option<ClassRoom<'_>> {
        let Some(sums) = self.sums_or_make(class) else {
            return Some(ClassRoom { sums: None, entries, bytes });
        };
        let max = || sums.max_bytes.load(Ordering::SeqCst);
        let raised = |held: usize| held.checked_add(bytes).filter(|&sum| sum <= max());
        if bytes > 0
            && sums.bytes.fetch_update(Ordering::SeqCst, Ordering::Relaxed, raised).is_err()
        {
            return None;
        }
        sums.entries.fetch_add(entries, Ordering::SeqCst);
        let room = ClassRoom { sums: Some(sums), entries, bytes };
        // The bound may have shrunk since it was read: see `Budget::try_book`.
        (bytes == 0 || sums.bytes.load(Ordering::SeqCst) <= max()).then_some(room)
    }

    /// So many entries of the class are stored no longer, or what is stored of it weighs so much less.
    pub(super) fn leave(&self, class: Class, entries: usize, bytes: usize) {
        if let Some(sums) = self.sums(class) {
            sums.entries.fetch_sub(entries, Ordering::SeqCst);
            sums.bytes.fetch_sub(bytes, Ordering::SeqCst);
        }
    }

    /// So many had to go because the class holds all that it may.
    pub(super) fn count_evicted(&self, class: Class, entries: usize) {
        if let Some(sums) = self.sums(class) {
            sums.evicted.fetch_add(entries as u64, Ordering::Relaxed);
        }
    }

    /// What its entries may weigh together.
    pub(super) fn max_bytes(&self, class: Class) -> usize {
        self.sums(class).map_or(usize::MAX, |sums| sums.max_bytes.load(Ordering::SeqCst))
    }

    #[cfg(any(test, feature = "http"))]
    pub(super) fn set_max_bytes(&self, class: Class, max_bytes: usize) {
        if let Some(sums) = self.sums_or_make(class) {
            sums.max_bytes.store(max_bytes, Ordering::SeqCst);
        }
    }

    /// Whether its entries weigh more than they may.
    #[cfg(any(test, feature = "http"))]
    pub(super) fn is_exceeded(&self, class: Class) -> bool {
        self.sums(class).is_some_and(|sums| {
            sums.bytes.load(Ordering::SeqCst) > sums.max_bytes.load(Ordering::SeqCst)
        })
    }

    /// What a class holds that is not [`Class::NONE`].
    #[cfg(any(test, feature = "http"))]
    pub(super) fn held(&self, class: Class) -> ClassHeld {
        self.sums(class).map_or(ClassHeld::default(), Sums::held)
    }

    /// What all classes hold together.
    #[cfg(any(test, feature = "http"))]
    pub(super) fn held_by_all(&self) -> ClassHeld {
        let groups = self.groups.get().into_iter().flat_map(|groups| groups.iter());
        let all = groups.filter_map(OnceLock::get).flat_map(|group| group.iter());
        all.map(Sums::held).fold(ClassHeld::default(), |sum, held| ClassHeld {
            entries: sum.entries + held.entries,
            bytes: sum.bytes + held.bytes,
            evicted: sum.evicted + held.evicted,
        })
    }

    fn sums(&self, class: Class) -> Option<&Sums> {
        let number = usize::from(class.number());
        let group = self.groups.get()?[number / GROUP].get()?;
        Some(&group[number % GROUP]).filter(|_| class != Class::NONE)
    }

    fn sums_or_make(&self, class: Class) -> Option<&Sums> {
        if class == Class::NONE {
            return None;
        }
        let number = usize::from(class.number());
        let groups = || Box::new(std::array::from_fn(|_| OnceLock::new()));
        let group = || Box::new(std::array::from_fn(|_| Sums::new()));
        let group = self.groups.get_or_init(groups)[number / GROUP].get_or_init(group);
        Some(&group[number % GROUP])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Class = Class::new(1);
    const LAST: Class = Class::new(u16::MAX);

    fn held(entries: usize, bytes: usize) -> ClassHeld {
        ClassHeld { entries, bytes, evicted: 0 }
    }

    #[test]
    fn a_class_never_books_more_than_it_may_and_others_do_not_notice() {
        let classes = Classes::new();
        classes.set_max_bytes(ONE, 100);
        classes.try_book(ONE, 1, 60).unwrap().keep();
        assert!(classes.try_book(ONE, 1, 41).is_none());
        assert!(classes.try_book(ONE, 1, usize::MAX - 60).is_none());
        assert_eq!(classes.held(ONE), held(1, 60), "what was not booked is given back");
        classes.try_book(LAST, 1, 1000).unwrap().keep();
        drop(classes.try_book(ONE, 1, 40).unwrap());
        classes.try_book(ONE, 1, 40).unwrap().keep();
        classes.leave(ONE, 1, 60);
        assert_eq!((classes.held(ONE), classes.held(LAST)), (held(1, 40), held(1, 1000)));
        assert_eq!(classes.held_by_all(), held(2, 1040));
    }

    #[test]
    fn what_weighs_no_more_needs_no_room_in_a_class_that_has_too_much() {
        let classes = Classes::new();
        classes.try_book(ONE, 1, 60).unwrap().keep();
        classes.set_max_bytes(ONE, 10);
        assert!(classes.is_exceeded(ONE));
        assert!(classes.try_book(ONE, 0, 0).is_some());
        assert!(classes.try_book(ONE, 0, 1).is_none());
    }

    #[test]
    fn what_has_no_class_is_neither_counted_nor_bound() {
        let classes = Classes::new();
        classes.set_max_bytes(Class::NONE, 1);
        classes.try_book(Class::NONE, 1, 60).unwrap().keep();
        classes.leave(Class::NONE, 1, 60);
        assert_eq!(classes.max_bytes(Class::NONE), usize::MAX);
        assert_eq!(classes.held_by_all(), ClassHeld::default());
        assert!(classes.groups.get().is_none(), "it takes no memory");
    }
}
