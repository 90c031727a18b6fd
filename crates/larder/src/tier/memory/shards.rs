//! Shards: so many that none gets too large, and each behind a lock of its own.
//!
//! Some of what a shard does takes as long as it has entries: its index gets another size, its ghosts do.
//! So a large cache has many shards, each of which stays small. They are made in groups, once something is
//! to be stored in one of a group: a large bound alone takes next to no memory.

use std::{
    hint,
    ops::{Deref, DerefMut},
    sync::{LockResult, OnceLock, PoisonError, TryLockError, TryLockResult},
};

use super::shard::{Freed, Shard};
use crate::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// With fewer bytes or entries to a shard, its own few entries say too little about what is popular.
const MIN_SHARD_BYTES: usize = 4 << 20;
const MIN_SHARD_ENTRIES: usize = 1 << 10;
/// So many let all threads of a large machine work at once.
const ENOUGH_SHARDS: usize = 64;
/// Beyond that there are more only so that none gets too large: it then has a hundred thousand of the
/// smallest entries, which takes half a millisecond to enter into another table.
const MAX_SHARD_BYTES: usize = 16 << 20;
const MAX_SHARD_ENTRIES: usize = 1 << 16;
/// Enough for 64 GiB. In a larger cache of small entries the tables that grow take longer.
const MAX_SHARDS: usize = 1 << 12;
/// Shards that are made at once.
const GROUP: usize = 16;
/// How often a thread looks again whether a lock is free before it sleeps: for ten to fifty microseconds. Where
/// interleavings are tried out, each is a step.
const LOOKS: usize = if cfg!(shuttle) { 0 } else { 1000 };

pub(super) struct Shards<V> {
    groups: Box<[OnceLock<Box<Group<V>>>]>,
    /// Of a power of two, so that a hash picks its shard with a mask.
    mask: usize,
}

type Group<V> = [Locked<V>; GROUP];

/// A shard behind its lock. What a hit reads of it shares the lock's cache line, and no other shard's
/// lock is on that line.
#[repr(align(64))]
pub(super) struct Locked<V>(RwLock<Shard<V>>);

impl<V> Shards<V> {
    /// For a cache with these bounds.
    pub(super) fn new(max_bytes: usize, max_entries: usize) -> Self {
        let useful = (max_bytes / MIN_SHARD_BYTES).min(max_entries / MIN_SHARD_ENTRIES);
        let useful = 1 << useful.clamp(1, ENOUGH_SHARDS).ilog2();
        let needed = (max_bytes / MAX_SHARD_BYTES).min(max_entries / MAX_SHARD_ENTRIES);
        let count = needed.clamp(useful, MAX_SHARDS).next_power_of_two();
        let groups = (0..count.div_ceil(GROUP)).map(|_| OnceLock::new()).collect();
        Shards { groups, mask: count - 1 }
    }

    /// How many there are, or can be.
    pub(super) fn count(&self) -> usize {
        self.mask + 1
    }

    /// The number of the shard for this hash.
    #[inline]
    pub(super) fn number(&self, hash: u32) -> usize {
        hash as usize & self.mask
    }

    /// `None`: nothing was ever stored there.
    #[inline]
    pub(super) fn get(&self, number: usize) -> Option<&Locked<V>> {
        Some(&self.groups.get(number / GROUP)?.get()?[number % GROUP])
    }

    /// The next after this one in which something may be, round and round.
    pub(super) fn after(&self, number: usize) -> usize {
        let all = (1..=self.count()).map(|step| (number + step) & self.mask);
        all.into_iter().find(|&next| self.get(next).is_some()).unwrap_or(number)
    }

    pub(super) fn get_or_make(&self, number: usize) -> &Locked<V> {
        let new = || Box::new(std::array::from_fn(|_| Locked(RwLock::new(Shard::new()))));
        &self.groups[number / GROUP].get_or_init(new)[number % GROUP]
    }

    /// Those in which something may be.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Locked<V>> {
        self.groups.iter().filter_map(OnceLock::get).flat_map(|group| group.iter())
    }
}

// What runs under these locks leaves a shard consistent at every point where the caller's code can
// panic, so a poisoned one is as good as any.

#[inline]
pub(super) fn read<V>(shard: &Locked<V>) -> RwLockReadGuard<'_, Shard<V>> {
    match shard.0.try_read() {
        Ok(shard) => shard,
        Err(TryLockError::Poisoned(shard)) => shard.into_inner(),
        Err(TryLockError::WouldBlock) => wait(|| shard.0.try_read(), || shard.0.read()),
    }
}

#[inline]
pub(super) fn write<V>(shard: &Locked<V>) -> Held<'_, V> {
    let shard = match shard.0.try_write() {
        Ok(shard) => shard,
        Err(TryLockError::Poisoned(shard)) => shard.into_inner(),
        Err(TryLockError::WouldBlock) => wait(|| shard.0.try_write(), || shard.0.write()),
    };
    Held { shard, _freed: None }
}

/// Looks for the lock a while before it sleeps: whoever sleeps waits for the processor as well, which takes
/// milliseconds where others want it, and a lock is held for some microseconds.
#[cold]
fn wait<G>(try_lock: impl Fn() -> TryLockResult<G>, lock: impl FnOnce() -> LockResult<G>) -> G {
    for _ in 0..LOOKS {
        hint::spin_loop();
        match try_lock() {
            Ok(guard) => return guard,
            Err(TryLockError::Poisoned(guard)) => return guard.into_inner(),
            Err(TryLockError::WouldBlock) => {}
        }
    }
    lock().unwrap_or_else(PoisonError::into_inner)
}

/// A shard, locked. What memory it needs no more is given back when the lock is free again: the order of the
/// fields is the one in which they are dropped.
pub(super) struct Held<'a, V> {
    shard: RwLockWriteGuard<'a, Shard<V>>,
    _freed: Option<Box<Freed<V>>>,
}

impl<V> Drop for Held<'_, V> {
    #[inline]
    fn drop(&mut self) {
        self._freed = self.shard.take_freed();
    }
}

impl<V> Deref for Held<'_, V> {
    type Target = Shard<V>;

    #[inline]
    fn deref(&self) -> &Shard<V> {
        &self.shard
    }
}

impl<V> DerefMut for Held<'_, V> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Shard<V> {
        &mut self.shard
    }
}

#[cfg(test)]
mod tests {
    #[cfg(not(shuttle))]
    use std::{
        cell::Cell,
        panic::{AssertUnwindSafe, catch_unwind},
    };

    use super::*;
    use crate::tier::memory::shard::Slot;

    #[test]
    fn what_a_hit_reads_of_a_shard_is_on_one_line_with_its_lock() {
        #[cfg(not(shuttle))]
        assert_eq!(size_of::<Locked<String>>(), 64);
    }

    #[test]
    fn no_shard_gets_so_large_that_whatever_takes_as_long_as_it_has_entries_is_noticed() {
        let smallest = Slot::<()>::OVERHEAD_BYTES;
        for shift in 0..=36 {
            for max_bytes in [1 << shift, (3_usize << shift >> 1).min(64 << 30)] {
                let shards = Shards::<()>::new(max_bytes, usize::MAX);
                let most = max_bytes / smallest / shards.count();
                assert!(most <= 150_000, "{most} entries in a shard of {max_bytes} bytes");
                let fewest = max_bytes / shards.count();
                assert!(shards.count() == 1 || fewest >= MIN_SHARD_BYTES);
            }
            let shards = Shards::<()>::new(usize::MAX, 1 << shift.min(28));
            assert!((1 << shift.min(28)) / shards.count() <= MAX_SHARD_ENTRIES);
        }
    }

    #[cfg(not(shuttle))]
    #[test]
    fn whoever_waits_for_a_lock_looks_for_it_a_while_before_it_sleeps() {
        for free_after in [1, LOOKS, LOOKS + 1] {
            let (looks, sleeps) = (Cell::new(0), Cell::new(0));
            let try_lock = || {
                looks.set(looks.get() + 1);
                if looks.get() < free_after { Err(TryLockError::WouldBlock) } else { Ok(()) }
            };
            let lock = || {
                sleeps.set(sleeps.get() + 1);
                Ok(())
            };
            wait(try_lock, lock);
            assert_eq!(looks.get(), free_after.min(LOOKS));
            assert_eq!(sleeps.get(), usize::from(free_after > LOOKS));
        }
    }

    #[cfg(not(shuttle))]
    #[test]
    fn a_poisoned_lock_is_as_good_as_any() {
        let shards = Shards::<String>::new(1 << 20, usize::MAX);
        let shard = shards.get_or_make(0);
        let poison = || {
            let _held = write(shard);
            panic!("while it is held");
        };
        assert!(catch_unwind(AssertUnwindSafe(poison)).is_err());
        drop(write(shard));
        drop(read(shard));
        drop(wait(|| shard.0.try_read(), || shard.0.read()));
    }

    #[test]
    fn a_bound_takes_no_memory_until_something_is_stored() {
        let shards = Shards::<String>::new(64 << 30, usize::MAX);
        assert_eq!((shards.count(), shards.iter().count()), (MAX_SHARDS, 0));
        assert!(size_of_val(&*shards.groups) <= 4 << 10);
        assert!(shards.get(17).is_none());
        shards.get_or_make(17);
        assert!(shards.get(17).is_some() && shards.get(16).is_some() && shards.get(15).is_none());
        assert_eq!(shards.iter().count(), GROUP);
    }
}
