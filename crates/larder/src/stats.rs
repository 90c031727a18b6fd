//! Counters: what the cache did so far.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a cache did since it was built, and what it holds now.
///
/// The counters are read one by one while others go on, so a snapshot taken under load can be off
/// by the few operations that ran meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Look-ups that found a fresh entry.
    pub hits: u64,
    /// Look-ups that did not.
    pub misses: u64,
    /// Fetches begun: what the origin saw.
    pub loads: u64,
    /// Fetches that ended in an error, a panic, or were dropped before they ended.
    pub load_failures: u64,
    /// Misses that shared another reader's fetch instead of causing their own.
    pub collapsed: u64,
    /// Entries pushed out to make room.
    pub evictions: u64,
    /// Values that were not stored because they weigh more than one entry may.
    pub too_large: u64,
    /// Entries held now, expired ones included until they are replaced or evicted.
    pub entries: u64,
    /// What they weigh, overhead included; never more than `max_bytes`.
    pub bytes: u64,
    /// The bound.
    pub max_bytes: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, count: usize) {
        if count > 0 {
            self.0.fetch_add(count as u64, Ordering::Relaxed);
        }
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters behind [`Stats`] that no other part already keeps.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) hits: Counter,
    pub(crate) misses: Counter,
    pub(crate) loads: Counter,
    pub(crate) load_failures: Counter,
    pub(crate) collapsed: Counter,
    pub(crate) evictions: Counter,
    pub(crate) too_large: Counter,
}
