//! L1, memory: sharded tables that never weigh more than their bound.
//!
//! Who goes when room is needed is decided by **S3-FIFO** (Yang, Zhang, Qiu, Yue, Rashmi: "FIFO
//! queues are all you need for cache eviction", SOSP 2023): new entries wait in a small queue, those
//! asked for again move to the main one, and a ghost remembers the keys that had to go, so that one
//! that comes back goes to the main queue at once. A hit only counts up a mark of its entry, under
//! the shard's *read* lock; it moves nothing. Four refinements, each for a load on which the paper's
//! form does badly (measured with `benches/hit_ratio.rs`, which prints them again):
//!
//! - **the small queue's share adapts**, 0.5 % to 40 % of a shard. A second ghost remembers what the
//!   main queue let go; a key that comes back to either moves the share its way, the more the fewer
//!   the ghost knows. Skewed loads want next to nothing there, loads of the moment a third;
//! - **what the small queue has no room for by its share goes to the main queue** while nobody has to
//!   go for it. Otherwise a loop longer than the cache never hits: all wait in the small queue, and
//!   none waits long enough;
//! - **one hit is enough** to move on, and **marks count to 7**, not 3: frequency matters more in
//!   the main queue than at its door;
//! - each ghost keeps 0.7 fingerprints an entry.
//!
//! The bound is one for all shards: room is reserved before anything is stored, so an entry may weigh
//! anything up to the whole, and a shard is never full while others are empty.
//!
//! When not to use it: where only recency counts (the last requests of one user, say), [`Eviction::Lru`]
//! is right, at the price of a write lock on each hit.

mod budget;
mod ghost;
mod index;
mod name;
mod queue;
mod shard;
mod slots;

use std::{
    hash::{BuildHasher, Hasher},
    sync::{Arc, PoisonError},
};

use foldhash::fast::RandomState;

use crate::{
    clock::Moment,
    entry::Entry,
    sync::{RwLock, RwLockReadGuard, RwLockWriteGuard},
    weigh::ALLOCATION_BYTES,
};
use budget::Budget;
use name::Name;
use shard::{Shard, Slot};

/// With fewer bytes or entries to a shard, its own few entries say too little about what is popular.
const MIN_SHARD_BYTES: usize = 4 << 20;
const MIN_SHARD_ENTRIES: usize = 1 << 10;
const MAX_SHARDS: usize = 64;
/// Slots walked over in one hold of a shard's lock: some tens of microseconds.
const SLOTS_PER_HOLD: usize = 512;
/// Victims taken from one shard before the next has to give some, when much room is needed at once.
const VICTIMS_PER_SHARD: usize = 32;

/// Who goes when room is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Eviction {
    /// S3-FIFO: what was asked for once goes before what was asked for again. Withstands scans, and a
    /// hit moves nothing.
    #[default]
    S3Fifo,
    /// The least recently used. Each hit takes a write lock.
    Lru,
}

pub(crate) struct Limits {
    pub(crate) max_bytes: usize,
    pub(crate) max_entries: Option<usize>,
    pub(crate) max_entry_bytes: Option<usize>,
    pub(crate) eviction: Eviction,
}

impl Limits {
    pub(crate) fn bytes(max_bytes: usize) -> Self {
        Limits { max_bytes, max_entries: None, max_entry_bytes: None, eviction: Eviction::S3Fifo }
    }
}

pub(crate) struct MemoryTier<V> {
    shards: Box<[Locked<V>]>,
    hasher: RandomState,
    budget: Budget,
    max_entry_bytes: usize,
    eviction: Eviction,
}

/// A shard behind its lock. What a hit reads of it shares the lock's cache line, and no other shard's
/// lock is on that line.
#[repr(align(64))]
struct Locked<V>(RwLock<Shard<V>>);

/// What became of an entry that was to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// It is there; this many others had to go for it.
    Yes { evicted: usize },
    /// It weighs more than one entry may, or than there is once all others are gone. What was stored
    /// under its key is gone too, for it is older.
    TooLarge,
    /// A purge came in between.
    Fenced,
}

impl<V> MemoryTier<V> {
    pub(crate) fn new(limits: Limits) -> Self {
        let Limits { max_bytes, max_entries, max_entry_bytes, eviction } = limits;
        let max_entries = max_entries.unwrap_or(usize::MAX);
        let shards = (max_bytes / MIN_SHARD_BYTES).min(max_entries / MIN_SHARD_ENTRIES);
        // A power of two, so that a hash picks its shard with a mask.
        let shards: usize = 1 << shards.clamp(1, MAX_SHARDS).ilog2();
        MemoryTier {
            shards: (0..shards).map(|_| Locked(RwLock::new(Shard::new(eviction)))).collect(),
            hasher: RandomState::default(),
            budget: Budget::new(max_bytes, max_entries),
            // A slot tells its weight in 32 bits.
            max_entry_bytes: max_entry_bytes.unwrap_or(usize::MAX).min(u32::MAX as usize),
            eviction,
        }
    }

    /// Counts a hit and lets `look` at the entry, under the shard's lock: it takes out what it needs
    /// and does not wait for anything.
    pub(crate) fn read<R>(&self, key: &str, look: impl FnOnce(&Entry<V>) -> R) -> Option<R> {
        if self.marks_hits() {
            return self.read_and_mark(key, look);
        }
        let place = self.place(key);
        let mut shard = write(place.shard(self));
        shard.find_and_renew(place.hash, key).map(|slot| look(slot.entry()))
    }

    /// Whether a hit only marks its entry, and nothing moves: see [`read_and_mark`].
    ///
    /// [`read_and_mark`]: MemoryTier::read_and_mark
    #[inline]
    pub(crate) fn marks_hits(&self) -> bool {
        self.eviction == Eviction::S3Fifo
    }

    /// The same as [`read`](MemoryTier::read) where hits are marked, without the other way: passing
    /// `look` on to it, and all that `look` holds, is a tenth of a hit's instructions.
    #[inline(always)]
    pub(crate) fn read_and_mark<R>(
        &self,
        key: &str,
        look: impl FnOnce(&Entry<V>) -> R,
    ) -> Option<R> {
        let place = self.place(key);
        let shard = read(place.shard(self));
        let slot = shard.find(place.hash, key)?;
        slot.mark();
        Some(look(slot.entry()))
    }

    /// The same, but that the hit is marked only if `look` can use it.
    #[cfg(feature = "http")]
    #[inline]
    pub(crate) fn read_if<R>(
        &self,
        key: &str,
        look: impl FnOnce(&Entry<V>) -> Option<R>,
    ) -> Option<R> {
        if !self.marks_hits() {
            return self.read(key, look)?;
        }
        let place = self.place(key);
        let shard = read(place.shard(self));
        let slot = shard.find(place.hash, key)?;
        let found = look(slot.entry())?;
        slot.mark();
        Some(found)
    }

    /// The same, and counts nothing.
    pub(crate) fn peek<R>(&self, key: &str, look: impl FnOnce(&Entry<V>) -> R) -> Option<R> {
        let place = self.place(key);
        let shard = read(place.shard(self));
        shard.find(place.hash, key).map(|slot| look(slot.entry()))
    }

    /// Stores `entry`, which holds `heap_bytes` beyond itself, unless `fenced` says otherwise.
    ///
    /// `fenced` is asked under the shard's lock: a purge that first raises its fence and then takes
    /// this lock to remove the key therefore either is seen here, or removes what was stored here.
    pub(crate) fn put(
        &self,
        key: Arc<str>,
        entry: Entry<V>,
        heap_bytes: usize,
        fenced: impl FnOnce() -> bool,
    ) -> Stored {
        let place = self.place(&key);
        let weight = Self::weight(&key, heap_bytes);
        let Some(evicted) = self.reserve(place, weight) else {
            let mut shard = write(place.shard(self));
            if fenced() {
                return Stored::Fenced;
            }
            let older = shard.remove(place.hash, &key);
            drop(shard);
            self.bury(older);
            return Stored::TooLarge;
        };
        let slot_weight = u32::try_from(weight).expect("`reserve` refuses heavier ones");
        let slot = Slot::new(place.hash, Name::new(&key), entry, slot_weight);
        let mut shard = write(place.shard(self));
        if fenced() {
            drop(shard);
            drop(slot);
            self.budget.release(1, weight);
            return Stored::Fenced;
        }
        let replaced = shard.put(&key, slot);
        drop(shard);
        self.bury(replaced);
        Stored::Yes { evicted }
    }

    /// Whether an entry that holds `heap_bytes` beyond itself is not too large.
    #[cfg(feature = "http")]
    pub(crate) fn fits(&self, key: &Arc<str>, heap_bytes: usize) -> bool {
        Self::weight(key, heap_bytes) <= self.max_entry_bytes()
    }

    fn weight(key: &Arc<str>, heap_bytes: usize) -> usize {
        let overhead = Slot::<V>::OVERHEAD_BYTES.saturating_add(Name::heap_bytes(key));
        let allocation = if heap_bytes > 0 { ALLOCATION_BYTES } else { 0 };
        overhead.saturating_add(heap_bytes).saturating_add(allocation)
    }

    /// True if it was there.
    pub(crate) fn remove(&self, key: &str) -> bool {
        let place = self.place(key);
        let removed = write(place.shard(self)).remove(place.hash, key);
        self.bury(removed) > 0
    }

    /// Lets `change` at the entry, which must not alter what it weighs; true if it was there.
    pub(crate) fn update(&self, key: &str, change: impl FnOnce(&mut Entry<V>)) -> bool {
        let place = self.place(key);
        let change = |slot: &mut Slot<V>| change(slot.entry_mut());
        write(place.shard(self)).update(place.hash, key, change)
    }

    /// Lets `change` at all entries so named; returns how many. What is stored meanwhile is changed
    /// or not.
    pub(crate) fn update_where(
        &self,
        is_named: impl Fn(&str) -> bool,
        change: impl Fn(&mut Entry<V>),
    ) -> usize {
        let mut count = 0;
        self.extract(|slot| {
            if is_named(slot.key()) {
                change(slot.entry_mut());
                count += 1;
            }
            false
        });
        count
    }

    /// Removes all entries so named; returns how many. What is stored meanwhile is removed or not.
    pub(crate) fn remove_where(&self, is_named: impl Fn(&str) -> bool) -> usize {
        self.extract(|slot| is_named(slot.key()))
    }

    /// Removes what is of no use any more; returns how many entries that was. Where nothing can have
    /// expired, it looks at one number per shard.
    pub(crate) fn sweep(&self, now: Moment) -> usize {
        let is_due = |shard: &&Locked<V>| read(shard).earliest_expiry() <= now;
        let due = self.shards.iter().filter(is_due);
        due.map(|shard| self.extract_from(shard, &mut |slot| slot.entry().expires() <= now)).sum()
    }

    /// Removes everything; returns how many entries that was.
    pub(crate) fn clear(&self) -> usize {
        self.shards.iter().map(|shard| self.bury(write(shard).take_all())).sum()
    }

    /// Up to `most` keys, in no order. What is stored or removed meanwhile is among them or not.
    pub(crate) fn keys(&self, most: usize) -> Vec<String> {
        let mut keys = Vec::new();
        for shard in &self.shards {
            let mut next = 0;
            // No lock is held for longer than a few slots take.
            loop {
                let shard = read(shard);
                let end = (next + SLOTS_PER_HOLD).min(shard.slot_count());
                let room = most - keys.len();
                keys.extend(shard.keys(next..end).take(room).map(str::to_owned));
                if keys.len() == most {
                    return keys;
                }
                if end >= shard.slot_count() {
                    break;
                }
                next = end;
            }
        }
        keys
    }

    /// Entries and bytes held now, or about to be.
    pub(crate) fn size(&self) -> (usize, usize) {
        self.budget.used()
    }

    /// The most one entry may weigh now.
    #[cfg(feature = "http")]
    pub(crate) fn max_entry_bytes(&self) -> usize {
        self.max_entry_bytes.min(self.budget.max_bytes())
    }

    pub(crate) fn max_bytes(&self) -> usize {
        self.budget.max_bytes()
    }

    /// Changes the bound in bytes; returns how many entries had to go. Once this returns, the new
    /// bound holds. The number of shards stays.
    pub(crate) fn resize(&self, max_bytes: usize) -> usize {
        self.budget.set_max_bytes(max_bytes);
        let mut evicted = 0;
        while self.budget.is_exceeded() {
            let round: usize = self.shards.iter().map(|shard| self.evict(shard, 0)).sum();
            if round == 0 {
                // What exceeds it is being stored by somebody right now.
                std::thread::yield_now();
            }
            evicted += round;
        }
        evicted
    }

    /// A number from 0 to 1, the same for the same key and moment.
    pub(crate) fn dice(&self, key: &str, now: Moment) -> f64 {
        (self.hasher.hash_one((key, now)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    #[inline]
    fn place(&self, key: &str) -> Place {
        // As bytes: the mark that a `str` appends to its own is of no use to a key alone, and costs a
        // multiplication.
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key.as_bytes());
        let hash = hasher.finish();
        // The table uses the lower half.
        Place { shard: (hash >> 32) as usize & (self.shards.len() - 1), hash: hash as u32 }
    }

    /// Reserves room for an entry at `place`; returns how many had to go for it. `None`: it would
    /// never fit. Victims come from the entry's own shard, so that an insert meets one lock only,
    /// and from all of them in turn if it takes many.
    fn reserve(&self, place: Place, weight: usize) -> Option<usize> {
        if weight > self.max_entry_bytes {
            return None;
        }
        let (mut evicted, mut from, mut without_success) = (0, place.shard, 0);
        while !self.budget.try_reserve(weight) {
            if weight > self.budget.max_bytes() || without_success > 2 * self.shards.len() {
                return None;
            }
            let newcomer = if from == place.shard { weight } else { 0 };
            let victims = self.evict(&self.shards[from], newcomer);
            evicted += victims;
            without_success = if victims > 0 { 0 } else { without_success + 1 };
            if victims == 0 || evicted % VICTIMS_PER_SHARD == 0 {
                from = (from + 1) % self.shards.len();
            }
        }
        Some(evicted)
    }

    /// Evicts one entry; returns how many that was.
    fn evict(&self, shard: &Locked<V>, newcomer: usize) -> usize {
        let victim = write(shard).evict(newcomer);
        self.bury(victim)
    }

    fn extract(&self, mut is_doomed: impl FnMut(&mut Slot<V>) -> bool) -> usize {
        self.shards.iter().map(|shard| self.extract_from(shard, &mut is_doomed)).sum()
    }

    fn extract_from(
        &self,
        shard: &Locked<V>,
        is_doomed: &mut impl FnMut(&mut Slot<V>) -> bool,
    ) -> usize {
        let mut held = write(shard);
        held.forget_earliest_expiry();
        let mut end = held.slot_count();
        drop(held);
        let mut count = 0;
        while end > 0 {
            let mut held = write(shard);
            let stop = end.min(held.slot_count());
            end = stop.saturating_sub(SLOTS_PER_HOLD);
            let gone = held.extract(end..stop, &mut *is_doomed);
            drop(held);
            count += self.bury(gone);
        }
        count
    }

    /// Drops what was taken out, and only then gives its room back. To be called without a lock:
    /// dropping a value runs the caller's code.
    fn bury(&self, gone: impl IntoIterator<Item = Slot<V>>) -> usize {
        let (mut entries, mut bytes) = (0, 0);
        for slot in gone {
            entries += 1;
            bytes += slot.weight();
            drop(slot);
        }
        if entries > 0 {
            self.budget.release(entries, bytes);
        }
        entries
    }
}

/// Where a key belongs.
#[derive(Clone, Copy)]
struct Place {
    shard: usize,
    hash: u32,
}

impl Place {
    fn shard<V>(self, tier: &MemoryTier<V>) -> &Locked<V> {
        &tier.shards[self.shard]
    }
}

// What runs under these locks leaves a shard consistent at every point where the caller's code can
// panic, so a poisoned one is as good as any.
fn read<V>(shard: &Locked<V>) -> RwLockReadGuard<'_, Shard<V>> {
    shard.0.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<V>(shard: &Locked<V>) -> RwLockWriteGuard<'_, Shard<V>> {
    shard.0.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use larder_policy::freshness::Lifetime;
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{clock::ManualClock, entry::Facts};

    #[derive(Clone, Debug)]
    enum Step {
        Put { key: u8, heap_bytes: usize, ttl_secs: u64, fenced: bool },
        Read { key: u8 },
        Remove { key: u8 },
        RemoveWhere { digit: u8 },
        MarkStaleWhere { digit: u8 },
        Advance { secs: u64 },
        Resize { max_bytes: usize },
        Clear,
    }

    fn step() -> impl Strategy<Value = Step> {
        let key = any::<u8>;
        prop_oneof![
            12 => (key(), 0..6000_usize, 1..60_u64, prop::bool::weighted(0.1)).prop_map(
                |(key, heap_bytes, ttl_secs, fenced)| Step::Put { key, heap_bytes, ttl_secs, fenced }
            ),
            8 => key().prop_map(|key| Step::Read { key }),
            3 => key().prop_map(|key| Step::Remove { key }),
            1 => (0..10_u8).prop_map(|digit| Step::RemoveWhere { digit }),
            1 => (0..10_u8).prop_map(|digit| Step::MarkStaleWhere { digit }),
            3 => (0..20_u64).prop_map(|secs| Step::Advance { secs }),
            1 => (5_000..60_000_usize).prop_map(|max_bytes| Step::Resize { max_bytes }),
            1 => Just(Step::Clear),
        ]
    }

    fn entry(value: u8, ttl_secs: u64, now: Moment) -> Entry<u8> {
        let lifetime = Lifetime::fresh_for(Duration::from_secs(ttl_secs));
        let (cost, tags) = (Duration::ZERO, Box::default());
        Entry::new(value, Facts { lifetime, fetched: now, cost, tags, fence: 0 })
    }

    fn keep_the_books(eviction: Eviction, max_entries: Option<usize>, steps: Vec<Step>) {
        let clock = ManualClock::new();
        let now = clock.clock();
        let limits =
            Limits { max_bytes: 40_000, max_entries, max_entry_bytes: Some(5_000), eviction };
        let tier = MemoryTier::new(limits);
        for step in steps {
            match step {
                Step::Put { key, heap_bytes, ttl_secs, fenced } => {
                    let entry = entry(key, ttl_secs, now.now());
                    let stored = tier.put(key.to_string().into(), entry, heap_bytes, || fenced);
                    let is_there = tier.peek(&key.to_string(), |entry| entry.value);
                    match stored {
                        Stored::Yes { .. } => assert_eq!(is_there, Some(key)),
                        Stored::TooLarge => assert_eq!(is_there, None),
                        Stored::Fenced => assert!(fenced),
                    }
                }
                Step::Read { key } => {
                    let found = tier.read(&key.to_string(), |entry| entry.value);
                    assert!(found.is_none_or(|value| value == key));
                }
                Step::Remove { key } => {
                    tier.remove(&key.to_string());
                    assert!(tier.peek(&key.to_string(), |_| ()).is_none());
                }
                Step::RemoveWhere { digit } => {
                    let digit = digit.to_string();
                    let (before, _) = tier.size();
                    let removed = tier.remove_where(|key| key.starts_with(&digit));
                    assert_eq!(tier.size().0 + removed, before);
                }
                Step::MarkStaleWhere { digit } => {
                    let (digit, now) = (digit.to_string(), now.now());
                    tier.update_where(|key| key.ends_with(&digit), |entry| entry.mark_stale(now));
                }
                Step::Advance { secs } => {
                    clock.advance(Duration::from_secs(secs));
                    tier.sweep(now.now());
                    assert_eq!(tier.remove_where(|_| false), 0);
                }
                Step::Resize { max_bytes } => {
                    tier.resize(max_bytes);
                }
                Step::Clear => {
                    tier.clear();
                    assert_eq!(tier.size(), (0, 0));
                }
            }
            let (mut entries, mut bytes) = (0, 0);
            for shard in &tier.shards {
                let (more_entries, more_bytes) = read(shard).validate();
                entries += more_entries;
                bytes += more_bytes;
            }
            assert_eq!(tier.size(), (entries, bytes), "the budget knows what the shards hold");
            assert!(bytes <= tier.max_bytes());
            assert!(max_entries.is_none_or(|max| entries <= max));
        }
    }

    proptest! {
        #[test]
        fn any_steps_leave_every_part_consistent(
            steps in vec(step(), 1..300),
            eviction in prop_oneof![Just(Eviction::S3Fifo), Just(Eviction::Lru)],
            max_entries in prop_oneof![Just(None), (1..30_usize).prop_map(Some)],
        ) {
            keep_the_books(eviction, max_entries, steps);
        }
    }

    #[test]
    fn what_expires_goes_at_the_next_sweep_and_nothing_else() {
        let clock = ManualClock::new();
        let now = clock.clock();
        let tier = MemoryTier::new(Limits::bytes(1 << 20));
        for key in 0..100_u8 {
            let ttl_secs = 1 + u64::from(key) % 10;
            tier.put(key.to_string().into(), entry(key, ttl_secs, now.now()), 0, || false);
        }
        for _ in 0..10 {
            clock.advance(Duration::from_secs(1));
            assert_eq!(tier.sweep(now.now()), 10);
        }
        assert_eq!(tier.size(), (0, 0));
    }

    #[test]
    fn the_least_recently_used_goes_first_where_that_was_asked_for() {
        let now = ManualClock::new().clock().now();
        let limits =
            Limits { max_entries: Some(3), eviction: Eviction::Lru, ..Limits::bytes(1 << 20) };
        let tier = MemoryTier::new(limits);
        let put = |key: u8| tier.put(key.to_string().into(), entry(key, 60, now), 0, || false);
        for key in [1, 2, 3] {
            put(key);
        }
        tier.read("1", |_| ());
        put(4);
        let is_there = |key: u8| tier.peek(&key.to_string(), |_| ()).is_some();
        assert_eq!([1, 2, 3, 4].map(is_there), [true, false, true, true]);
    }
}
