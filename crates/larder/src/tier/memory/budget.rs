//! Budget: what all shards together may hold. Room is reserved before anything is stored, and given
//! back after what held it is gone, so the sum never exceeds the bound, not for a moment.

use crate::sync::atomic::{AtomicUsize, Ordering};

#[derive(Debug)]
pub(super) struct Budget {
    bytes: AtomicUsize,
    entries: AtomicUsize,
    max_bytes: AtomicUsize,
    max_entries: usize,
}

impl Budget {
    pub(super) fn new(max_bytes: usize, max_entries: usize) -> Self {
        Budget {
            bytes: AtomicUsize::new(0),
            entries: AtomicUsize::new(0),
            max_bytes: AtomicUsize::new(max_bytes),
            max_entries,
        }
    }

    pub(super) fn max_bytes(&self) -> usize {
        self.max_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn set_max_bytes(&self, max_bytes: usize) {
        self.max_bytes.store(max_bytes, Ordering::SeqCst);
    }

    /// Entries and bytes held or reserved now.
    pub(super) fn used(&self) -> (usize, usize) {
        (self.entries.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    pub(super) fn is_exceeded(&self) -> bool {
        self.bytes.load(Ordering::SeqCst) > self.max_bytes.load(Ordering::SeqCst)
    }

    /// Reserves room for one entry, if there is any.
    pub(super) fn try_reserve(&self, weight: usize) -> bool {
        if !raise(&self.entries, 1, self.max_entries) {
            return false;
        }
        if !raise(&self.bytes, weight, self.max_bytes()) {
            self.entries.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        // The bound may have shrunk since it was read. Both sides write before they look, so either
        // this sees the new bound or who shrinks it sees these bytes.
        if self.is_exceeded() {
            self.release(1, weight);
            return false;
        }
        true
    }

    /// Gives the room of `entries` entries back.
    pub(super) fn release(&self, entries: usize, bytes: usize) {
        self.entries.fetch_sub(entries, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

fn raise(counter: &AtomicUsize, by: usize, max: usize) -> bool {
    let raised = |used: usize| used.checked_add(by).filter(|&sum| sum <= max);
    counter.fetch_update(Ordering::SeqCst, Ordering::Relaxed, raised).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_out_what_there_is_and_no_more() {
        let budget = Budget::new(100, 3);
        assert!(budget.try_reserve(60));
        assert!(!budget.try_reserve(41));
        assert!(!budget.try_reserve(usize::MAX));
        assert!(budget.try_reserve(40));
        assert_eq!(budget.used(), (2, 100));
        budget.release(1, 60);
        assert!(budget.try_reserve(1) && budget.try_reserve(1));
        assert!(!budget.try_reserve(1), "three entries are there");
    }
}
