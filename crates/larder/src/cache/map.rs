//! Map: what a cache offers of what maps do.

use std::{thread, time::Duration};

use super::Cache;
use crate::{answer::Storage, entry::Fetched, key::CacheKey};

/// How often [`Cache::compute`] tries, at most. Each failure is another writer's success, so where many threads do
/// nothing but compute one key, they hardly ever come near it.
const MAX_TRIES: usize = 1024;
/// After so many the other writers are let go first.
const TRIES_AT_ONCE: usize = 8;

/// What the closure of [`Cache::compute`] wants done.
#[derive(Debug)]
pub enum Compute<V> {
    /// Leave what there is.
    Keep,
    /// Store this in its place: see [`Compute::store`].
    Store(Fetched<V>),
    /// Remove what there is.
    Remove,
}

impl<V> Compute<V> {
    /// Store `value`, as the cache's settings say, or as a [`Fetched`] says itself.
    pub fn store(value: impl Into<Fetched<V>>) -> Self {
        Compute::Store(value.into())
    }
}

/// What [`Cache::compute`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Computed {
    /// Nothing.
    Kept,
    /// It stored the value, or not: what was there is gone in any case, as with [`Cache::insert`].
    Stored(Storage),
    /// It removed the key.
    Removed,
}

/// Other writers of the key came first, each time [`Cache::compute`] tried: 1024 times. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("other writers of the key came first, {MAX_TRIES} times in a row")]
pub struct Contended;

impl<V: Clone + Send + Sync + 'static> Cache<V> {
    /// How many entries memory holds. Those that are over count until they are
    /// [swept](Cache::sweep); remembered errors do not. A single step.
    ///
    /// ```
    /// # let cache = larder::Cache::<String>::builder().build();
    /// assert!(cache.is_empty());
    /// cache.insert("key", "value".to_owned());
    /// assert_eq!(cache.len(), 1);
    /// ```
    pub fn len(&self) -> usize {
        self.library.engine.size().0
    }

    /// Whether memory holds no entry: see [`len`](Cache::len).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether [`get`](Cache::get) would bring a value: one that is fresh, and not purged. Counts no hit and no
    /// miss, and marks nothing as used.
    ///
    /// ```
    /// # let cache = larder::Cache::<String>::builder().build();
    /// cache.insert("key", "value".to_owned());
    /// assert!(cache.contains_key("key"));
    /// cache.soft_remove("key");
    /// assert!(!cache.contains_key("key"));
    /// ```
    pub fn contains_key<'k>(&self, key: impl Into<CacheKey<'k>>) -> bool {
        let engine = &self.library.engine;
        engine.peek(key.into().as_str(), engine.is_fresh_now()) == Some(true)
    }

    /// Up to `most` keys of what can still be served, be it stale, in no order: `usize::MAX` for all. What is
    /// stored or removed meanwhile is among them or not. Copies each key; holds no lock for long.
    ///
    /// ```
    /// # let cache = larder::Cache::<String>::builder().build();
    /// cache.insert("a", "1".to_owned());
    /// cache.insert("b", "2".to_owned());
    /// let mut keys = cache.keys(usize::MAX);
    /// keys.sort();
    /// assert_eq!(keys, ["a", "b"]);
    /// ```
    pub fn keys(&self, most: usize) -> Vec<String> {
        self.library.engine.keys(most)
    }

    /// Removes `key`, and returns the value that [`get`](Cache::get) would have brought. Of several that take it
    /// at the same time, one gets it. It is a purge like [`remove`](Cache::remove), with the same promise: what
    /// is stale or below memory goes as well, and a fetch under way no longer stores. A lower tier is not asked
    /// for a value. Counts no hit.
    ///
    /// ```
    /// # let cache = larder::Cache::<String>::builder().build();
    /// cache.insert("one-time code", "4711".to_owned());
    /// assert_eq!(cache.take("one-time code").as_deref(), Some("4711"));
    /// assert_eq!(cache.take("one-time code"), None);
    /// ```
    ///
    /// # Panics
    ///
    /// If the `Drop` of what is removed does, or who is [told](crate::Builder::on_removed) of it: see [`Cache`].
    /// The value is gone then.
    pub fn take<'k>(&self, key: impl Into<CacheKey<'k>>) -> Option<V> {
        let (engine, key) = (&self.library.engine, key.into());
        let (done, taken) = engine.take(key.as_str());
        done.burial.resume();
        taken
    }

    /// Gives what is fresh under `key` a new lifetime: fresh for `ttl` from now, longer or shorter than it was, with
    /// the stale windows that it has. Its age goes on. False, and nothing has changed, where
    /// [`get`](Cache::get) would bring nothing: what is purged, be it softly, or over does not come back.
    ///
    /// ```
    /// use larder::{Cache, ManualClock};
    /// use std::time::Duration;
    ///
    /// let (minute, clock) = (Duration::from_secs(60), ManualClock::new());
    /// let cache = Cache::<String>::builder().ttl(minute).clock(clock.clock()).build();
    /// cache.insert("session", "Rosa".to_owned());
    /// clock.advance(minute / 2);
    /// assert!(cache.touch("session", minute));
    /// clock.advance(minute / 2);
    /// assert!(cache.get("session").is_some());
    /// clock.advance(minute / 2);
    /// assert!(!cache.touch("session", minute));
    /// ```
    ///
    /// It counts as read for [`time_to_idle`](crate::Builder::time_to_idle), and as no hit. A tier below memory
    /// keeps the lifetime that the value was written with.
    pub fn touch<'k>(&self, key: impl Into<CacheKey<'k>>, ttl: Duration) -> bool {
        self.library.engine.touch(key.into().as_str(), ttl)
    }

    /// Makes something new of what is stored under `key`, or keeps or removes it, as `decide` says. No other
    /// writer of the key comes in between: not an insert, a fetch, a purge, nor another `compute`.
    ///
    /// ```
    /// use larder::{Cache, Compute};
    ///
    /// let cache = Cache::<u64>::builder().build();
    /// let count = |seen: Option<&u64>| Compute::store(seen.map_or(1, |count| count + 1));
    /// cache.compute("visits", count)?;
    /// cache.compute("visits", count)?;
    /// assert_eq!(cache.get("visits"), Some(2));
    /// # Ok::<(), larder::Contended>(())
    /// ```
    ///
    /// `decide` is given what [`get`](Cache::get) would bring: a fresh value, from memory only. It runs under no
    /// lock and may call any cache. If something else comes in between, what it has decided is dropped, and it is
    /// asked again with what there is then: it may run several times, so it should do nothing but decide.
    ///
    /// What is stored is stored as by [`insert`](Cache::insert), for the cache's TTL from now if it does not say
    /// otherwise ([`Fetched`]), and what is removed as by [`remove`](Cache::remove): a fetch of the key that began
    /// before no longer stores. Counts no hit.
    ///
    /// # Errors
    ///
    /// [`Contended`] if something else came in between 1024 times. A `decide` that itself writes the key gets
    /// there.
    ///
    /// # Panics
    ///
    /// If `decide` does; nothing is changed then. If it removes a value, as [`remove`](Cache::remove) does.
    pub fn compute<'k>(
        &self,
        key: impl Into<CacheKey<'k>>,
        mut decide: impl FnMut(Option<&V>) -> Compute<V>,
    ) -> Result<Computed, Contended> {
        let library = &self.library;
        let (engine, computes) = (&library.engine, &library.computes);
        let key = key.into().into_shared();
        for tries in 0..MAX_TRIES {
            if tries >= TRIES_AT_ONCE {
                thread::yield_now();
            }
            let begun = engine.begin_compute(computes, &key);
            match decide(begun.value()) {
                Compute::Keep => return Ok(Computed::Kept),
                Compute::Store(fetched) => {
                    let dated = |fence| library.dated(&key, fetched, Duration::ZERO, fence);
                    if let Ok(storage) = engine.store_computed(computes, &begun, dated) {
                        return Ok(Computed::Stored(storage));
                    }
                }
                Compute::Remove => {
                    if let Ok(burial) = engine.remove_computed(&begun) {
                        burial.resume();
                        return Ok(Computed::Removed);
                    }
                }
            }
        }
        Err(Contended)
    }

    /// Removes from this instance's memory all for which `is_kept` says false; returns how many entries that was.
    /// Shown is what can still be served, be it stale.
    ///
    /// ```
    /// # let cache = larder::Cache::<u64>::builder().build();
    /// cache.insert("a", 1);
    /// cache.insert("b", 2);
    /// assert_eq!(cache.retain_local(|_key, value| *value > 1), 1);
    /// assert_eq!((cache.get("a"), cache.get("b")), (None, Some(2)));
    /// ```
    ///
    /// It is no purge, for a closure cannot travel: other instances and a tier below memory keep what they have,
    /// from where it may come back, and a fetch under way stores what it brings. What is stored meanwhile is
    /// looked at or not, and what has been replaced since `is_kept` saw it stays. Purge by a
    /// [tag](Cache::purge_tag) or [prefix](Cache::purge_prefix) where that is not enough.
    ///
    /// `is_kept` is shown clones, some at a time, under no lock, and may call any cache. Where others store and
    /// remove meanwhile it may be asked about an entry twice.
    ///
    /// # Panics
    ///
    /// If `is_kept` does: what it had decided until then may be done or not. If the `Drop` of something removed
    /// does, once all of it is: see [`Cache`].
    pub fn retain_local(&self, is_kept: impl FnMut(&str, &V) -> bool) -> usize {
        let (count, burial) = self.library.engine.retain(is_kept);
        burial.resume();
        count
    }
}
