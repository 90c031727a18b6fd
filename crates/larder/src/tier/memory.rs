//! L1, memory: sharded tables that never weigh more than their bound.
//!
//! Each shard is a slab of slots with a table of slot numbers beside it. Room is made by a clock
//! hand (second chance): a hit sets one mark under the shard's *read* lock and moves nothing; the
//! hand passes over a marked slot once, clearing its mark, and evicts an unmarked one. Corbató, "A
//! Paging Experiment with the Multics System" (1968).

use std::sync::{
    Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicBool, Ordering},
};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

use crate::{entry::Entry, weigh::ARC_HEADER_BYTES};

/// A shard smaller than this would refuse entries of everyday size.
const MIN_SHARD_BYTES: usize = 4 << 20;
const MAX_SHARDS: usize = 64;

pub(crate) struct MemoryTier<V> {
    shards: Box<[RwLock<Shard<V>>]>,
    hasher: RandomState,
    max_bytes: usize,
}

/// What became of an entry that was to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// It is there; this many others had to go for it.
    Yes { evicted: usize },
    /// It weighs more than a shard may.
    TooLarge,
    /// A purge came in between.
    Fenced,
    /// Its lifetime is zero; no tier was asked.
    NotStorable,
}

impl<V> MemoryTier<V> {
    pub(crate) fn new(max_bytes: usize) -> Self {
        let shards = (max_bytes / MIN_SHARD_BYTES).clamp(1, MAX_SHARDS);
        // A power of two, so that a hash picks its shard with a mask.
        let shards = 1 << shards.ilog2();
        let shard = || RwLock::new(Shard::new(max_bytes / shards));
        MemoryTier {
            shards: (0..shards).map(|_| shard()).collect(),
            hasher: RandomState::default(),
            max_bytes,
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<Arc<Entry<V>>> {
        let (hash, shard) = self.place(key);
        read(shard).get(hash, key)
    }

    /// Stores `entry`, which holds `heap_bytes` beyond itself, unless `fenced` says otherwise.
    ///
    /// `fenced` is asked under the shard's lock: a purge that first raises its fence and then takes
    /// this lock to remove the key therefore either is seen here, or removes what was stored here.
    pub(crate) fn put(
        &self,
        key: Arc<str>,
        entry: Arc<Entry<V>>,
        heap_bytes: usize,
        fenced: impl FnOnce() -> bool,
    ) -> Stored {
        let (hash, shard) = self.place(&key);
        let slot = Slot {
            weight: Slot::<V>::OVERHEAD_BYTES.saturating_add(key.len()).saturating_add(heap_bytes),
            hash,
            key,
            entry,
            used: AtomicBool::new(false),
        };
        let mut shard = write(shard);
        if fenced() {
            return Stored::Fenced;
        }
        // Whatever goes is dropped after the lock: dropping a value runs the caller's code.
        let gone = shard.put(slot);
        drop(shard);
        gone.map_or(Stored::TooLarge, |gone| Stored::Yes { evicted: gone.evicted.len() })
    }

    pub(crate) fn remove(&self, key: &str) -> Option<Arc<Entry<V>>> {
        let (hash, shard) = self.place(key);
        let removed = write(shard).remove(hash, key);
        removed.map(|slot| slot.entry)
    }

    /// Removes everything; returns how many entries that was.
    pub(crate) fn clear(&self) -> usize {
        let cleared = self.shards.iter().map(|shard| write(shard).clear());
        cleared.map(|slots| slots.iter().flatten().count()).sum()
    }

    /// Entries and bytes held now.
    pub(crate) fn size(&self) -> (usize, usize) {
        self.shards.iter().fold((0, 0), |(entries, bytes), shard| {
            let shard = read(shard);
            (entries + shard.index.len(), bytes + shard.bytes)
        })
    }

    pub(crate) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    fn place(&self, key: &str) -> (u64, &RwLock<Shard<V>>) {
        let hash = self.hasher.hash_one(key);
        // The table uses the low bits and the top seven; the shard takes bits between them.
        let shard = (hash >> 32) as usize & (self.shards.len() - 1);
        (hash, &self.shards[shard])
    }
}

// No code of the caller's runs under these locks, so a poisoned one holds consistent data.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

struct Shard<V> {
    /// Slot numbers by key.
    index: HashTable<u32>,
    slots: Vec<Option<Slot<V>>>,
    vacant: Vec<u32>,
    hand: usize,
    bytes: usize,
    max_bytes: usize,
}

struct Slot<V> {
    hash: u64,
    key: Arc<str>,
    entry: Arc<Entry<V>>,
    weight: usize,
    /// Set by a hit, cleared by the passing hand.
    used: AtomicBool,
}

impl<V> Slot<V> {
    /// What an entry costs at the most beside its key's bytes and its value's heap: the slot and its
    /// number in the free list, twice because vectors grow by doubling, the index (a number and a
    /// control byte at no less than 7/16 load), and the two allocations.
    const OVERHEAD_BYTES: usize = 2 * size_of::<Option<Slot<V>>>()
        + 2 * size_of::<u32>()
        + (size_of::<u32>() + 1) * 16 / 7
        + size_of::<Entry<V>>()
        + 2 * ARC_HEADER_BYTES;
}

/// What had to go for a new entry; dropped by the caller, outside the lock.
struct Gone<V> {
    evicted: Vec<Slot<V>>,
    _replaced: Option<Slot<V>>,
}

impl<V> Shard<V> {
    fn new(max_bytes: usize) -> Self {
        Shard {
            index: HashTable::new(),
            slots: Vec::new(),
            vacant: Vec::new(),
            hand: 0,
            bytes: 0,
            max_bytes,
        }
    }

    fn get(&self, hash: u64, key: &str) -> Option<Arc<Entry<V>>> {
        let number = self.index.find(hash, |&number| self.holds(number, key))?;
        let slot = self.slots[*number as usize].as_ref()?;
        // A plain look first: most hits find the mark set and then write nothing.
        if !slot.used.load(Ordering::Relaxed) {
            slot.used.store(true, Ordering::Relaxed);
        }
        Some(Arc::clone(&slot.entry))
    }

    /// `None`: it would never fit. What was stored under the key is gone then too, for it is older.
    fn put(&mut self, slot: Slot<V>) -> Option<Gone<V>> {
        let replaced = self.remove(slot.hash, &slot.key);
        if slot.weight > self.max_bytes {
            return None;
        }
        let mut evicted = Vec::new();
        while self.bytes + slot.weight > self.max_bytes {
            evicted.push(self.evict());
        }
        self.bytes += slot.weight;
        let hash = slot.hash;
        let number = match self.vacant.pop() {
            Some(number) => number,
            None => {
                self.slots.push(None);
                u32::try_from(self.slots.len() - 1).expect("a slot weighs more than one byte")
            }
        };
        self.slots[number as usize] = Some(slot);
        let slots = &self.slots;
        self.index.insert_unique(hash, number, |&number| hash_of(slots, number));
        Some(Gone { evicted, _replaced: replaced })
    }

    fn remove(&mut self, hash: u64, key: &str) -> Option<Slot<V>> {
        let slots = &self.slots;
        let found = self.index.find_entry(hash, |&number| holds(slots, number, key)).ok()?;
        let (number, _) = found.remove();
        Some(self.vacate(number))
    }

    /// Evicts the first entry the hand finds unmarked. Callers make sure there is one at all: while
    /// `bytes` is not zero, some slot is taken, and the second round finds its mark cleared.
    fn evict(&mut self) -> Slot<V> {
        loop {
            let number = self.hand;
            self.hand = (number + 1) % self.slots.len();
            let Some(slot) = &mut self.slots[number] else { continue };
            if std::mem::take(slot.used.get_mut()) {
                continue;
            }
            let number = u32::try_from(number).expect("slots are numbered in 32 bits");
            let found = self.index.find_entry(slot.hash, |&other| other == number);
            found.expect("every taken slot is in the index").remove();
            return self.vacate(number);
        }
    }

    fn vacate(&mut self, number: u32) -> Slot<V> {
        let slot = self.slots[number as usize].take().expect("the index names taken slots only");
        self.bytes -= slot.weight;
        self.vacant.push(number);
        slot
    }

    fn clear(&mut self) -> Vec<Option<Slot<V>>> {
        self.index.clear();
        self.vacant.clear();
        self.hand = 0;
        self.bytes = 0;
        std::mem::take(&mut self.slots)
    }

    fn holds(&self, number: u32, key: &str) -> bool {
        holds(&self.slots, number, key)
    }
}

// Free functions where the index is borrowed mutably beside the slots.

fn holds<V>(slots: &[Option<Slot<V>>], number: u32, key: &str) -> bool {
    slots[number as usize].as_ref().is_some_and(|slot| &*slot.key == key)
}

fn hash_of<V>(slots: &[Option<Slot<V>>], number: u32) -> u64 {
    slots[number as usize].as_ref().map_or(0, |slot| slot.hash)
}
