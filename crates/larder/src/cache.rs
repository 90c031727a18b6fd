//! Cache: the library's order of steps, written here and nowhere else.

use std::{convert::Infallible, fmt, future::Future, sync::Arc, time::Duration};

use larder_policy::{
    freshness::{Freshness, Lifetime},
    reason::Reason,
};

use crate::{
    builder::{Builder, Weigher},
    clock::{Clock, Moment},
    entry::{Entry, Fetched, Keep},
    error::FetchError,
    flight::{Flights, Join, Landing, Leader},
    key::CacheKey,
    stats::{Counters, Stats},
    tier::memory::{MemoryTier, Stored},
    weigh::Weigh,
};

/// A cache of values by key. Clones share one cache.
///
/// Values are handed out as clones: make them cheap to clone (an `Arc`, `Bytes`).
pub struct Cache<V> {
    shared: Arc<Shared<V>>,
}

struct Shared<V> {
    name: String,
    lifetime: Lifetime,
    clock: Clock,
    weigher: Weigher<V>,
    memory: MemoryTier<V>,
    flights: Flights<V>,
    counters: Counters,
}

/// A value, and how it came about: for those who must tell their own reader (`Cache-Status`, `Age`).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Answer<V> {
    /// The value.
    pub value: V,
    /// Where it came from.
    pub source: AnswerSource,
    /// How long ago its fetch ended.
    pub age: Duration,
    /// Whether it is in the cache now.
    pub storage: Storage,
    /// What its fetch cost in time.
    pub cost: Duration,
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerSource {
    /// From the cache.
    Hit,
    /// From a fetch of its own, which was needed for this reason.
    Fetched(Reason),
    /// From another reader's fetch that was under way; without it, the reason for its own.
    Collapsed(Reason),
}

/// Whether a value is in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// It is, and stays fresh for this long.
    FreshFor(Duration),
    /// It is not, for this reason.
    Not(Reason),
}

impl<V> Answer<V> {
    /// The one word for all of it: why it was no hit, or, if it could have been stored and was not,
    /// why that.
    pub fn reason(&self) -> Reason {
        match (self.source, self.storage) {
            (AnswerSource::Hit, _) => Reason::Hit,
            (AnswerSource::Collapsed(_), _) => Reason::Collapsed,
            (AnswerSource::Fetched(_), Storage::Not(reason)) => reason,
            (AnswerSource::Fetched(reason), Storage::FreshFor(_)) => reason,
        }
    }
}

impl<V: Weigh + 'static> Cache<V> {
    /// Settings for a cache whose values know what they weigh.
    pub fn builder() -> Builder<V> {
        Builder::new(Arc::new(V::heap_bytes))
    }
}

impl<V> Cache<V> {
    /// Settings for a cache of any values: `heap_bytes` tells what one owns beyond its `size_of`.
    /// It runs once for each stored value, outside all locks.
    pub fn builder_with_weigher(
        heap_bytes: impl Fn(&V) -> usize + Send + Sync + 'static,
    ) -> Builder<V> {
        Builder::new(Arc::new(heap_bytes))
    }
}

impl<V: Clone + Send + Sync + 'static> Cache<V> {
    pub(crate) fn from_builder(builder: Builder<V>) -> Self {
        let Builder { name, lifetime, max_bytes, clock, weigher } = builder;
        Cache {
            shared: Arc::new(Shared {
                name,
                lifetime,
                clock,
                weigher,
                memory: MemoryTier::new(max_bytes),
                flights: Flights::new(),
                counters: Counters::default(),
            }),
        }
    }

    /// The name it was built with.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The fresh value under `key`, if there is one.
    pub fn get<'k>(&self, key: impl Into<CacheKey<'k>>) -> Option<V> {
        match self.shared.look_up(key.into().as_str()) {
            Lookup::Fresh(entry, _) => Some(entry.value.clone()),
            Lookup::Miss(_) => None,
        }
    }

    /// Stores `value` for the cache's TTL. A fetch of this key that is under way no longer stores:
    /// what it brings may be older.
    pub fn insert<'k>(&self, key: impl Into<CacheKey<'k>>, value: V) {
        self.insert_fetched(key, Fetched::new(value));
    }

    /// Stores `value` for `ttl`. Zero removes what was there.
    pub fn insert_with_ttl<'k>(&self, key: impl Into<CacheKey<'k>>, value: V, ttl: Duration) {
        self.insert_fetched(key, Fetched::new(value).ttl(ttl));
    }

    fn insert_fetched<'k>(&self, key: impl Into<CacheKey<'k>>, fetched: Fetched<V>) {
        let shared = &*self.shared;
        let key = key.into().into_shared();
        let entry = shared.entry(fetched, shared.clock.now());
        shared.flights.revoke(&key);
        if let Stored::NotStorable = shared.store(&key, &entry, || false) {
            shared.memory.remove(&key);
        }
    }

    /// Removes `key`; true if something was there. Once this returns, no value fetched before it is
    /// served to anybody who asks afterwards: a fetch under way answers its own readers and is not
    /// stored.
    pub fn remove<'k>(&self, key: impl Into<CacheKey<'k>>) -> bool {
        let key = key.into();
        self.shared.flights.revoke(key.as_str());
        self.shared.memory.remove(key.as_str()).is_some()
    }

    /// Removes everything, with the same promise as [`remove`](Cache::remove); returns how many
    /// entries that was.
    pub fn clear(&self) -> usize {
        self.shared.flights.revoke_all();
        self.shared.memory.clear()
    }

    /// The value under `key`; if there is none, the one that `fetch` brings, which is then stored.
    /// Many readers of one missing key share one fetch.
    ///
    /// Dropping the returned future while it leads the fetch drops the fetch, and a reader that
    /// waits for it takes over with its own.
    ///
    /// # Panics
    ///
    /// If the shared fetch panics, so does every reader that waited for it. The next one starts
    /// afresh.
    pub async fn get_or_fetch<'k, T, F, Fut>(&self, key: impl Into<CacheKey<'k>>, fetch: F) -> V
    where
        T: Into<Fetched<V>>,
        F: FnOnce() -> Fut,
        Fut: Future<Output = T>,
    {
        let fetch = || async { Ok::<T, Infallible>(fetch().await) };
        match self.answer(key, fetch).await {
            Ok(answer) => answer.value,
            Err(FetchError::Failed(never)) => match *never {},
            Err(FetchError::Panicked) => panic!("the fetch this reader waited for panicked"),
        }
    }

    /// As [`get_or_fetch`](Cache::get_or_fetch), for a fetch that can fail.
    ///
    /// # Errors
    ///
    /// The fetch's own error, shared by all who waited for it, and stored for nobody else;
    /// [`FetchError::Panicked`] if another reader's fetch panicked.
    pub async fn try_get_or_fetch<'k, T, E, F, Fut>(
        &self,
        key: impl Into<CacheKey<'k>>,
        fetch: F,
    ) -> Result<V, FetchError<E>>
    where
        T: Into<Fetched<V>>,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        Ok(self.answer(key, fetch).await?.value)
    }

    /// As [`try_get_or_fetch`](Cache::try_get_or_fetch), and tells how the value came about. This is
    /// the one function that holds the order of steps.
    ///
    /// # Errors
    ///
    /// See [`try_get_or_fetch`](Cache::try_get_or_fetch).
    pub async fn answer<'k, T, E, F, Fut>(
        &self,
        key: impl Into<CacheKey<'k>>,
        fetch: F,
    ) -> Result<Answer<V>, FetchError<E>>
    where
        T: Into<Fetched<V>>,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let shared = &*self.shared;
        let key = key.into();
        let reason = match shared.look_up(key.as_str()) {
            Lookup::Fresh(entry, left) => return Ok(shared.hit(&entry, left)),
            Lookup::Miss(reason) => reason,
        };
        let key = key.into_shared();
        let leader = loop {
            match shared.flights.join(&key) {
                Join::Lead(leader) => break leader,
                Join::Follow(follower) => {
                    let Some(landing) = follower.landing().await else { continue };
                    if let Some(answer) = shared.share(landing, reason) {
                        return answer;
                    }
                }
            }
        };
        // Another flight may have landed between the look-up and the lead.
        if let Lookup::Fresh(entry, left) = shared.look(&key) {
            return Ok(shared.hit(&entry, left));
        }
        shared.fill(&key, leader, reason, fetch).await
    }

    /// What the cache did so far and holds now.
    pub fn stats(&self) -> Stats {
        let counters = &self.shared.counters;
        let (entries, bytes) = self.shared.memory.size();
        Stats {
            hits: counters.hits.get(),
            misses: counters.misses.get(),
            loads: counters.loads.get(),
            load_failures: counters.load_failures.get(),
            collapsed: counters.collapsed.get(),
            evictions: counters.evictions.get(),
            too_large: counters.too_large.get(),
            entries: entries as u64,
            bytes: bytes as u64,
            max_bytes: self.shared.memory.max_bytes() as u64,
        }
    }
}

enum Lookup<V> {
    Fresh(Arc<Entry<V>>, Duration),
    Miss(Reason),
}

impl<V: Clone + Send + Sync + 'static> Shared<V> {
    /// Looks and counts.
    fn look_up(&self, key: &str) -> Lookup<V> {
        let lookup = self.look(key);
        match lookup {
            Lookup::Fresh(..) => self.counters.hits.increment(),
            Lookup::Miss(_) => self.counters.misses.increment(),
        }
        lookup
    }

    fn look(&self, key: &str) -> Lookup<V> {
        let Some(entry) = self.memory.get(key) else { return Lookup::Miss(Reason::UriMiss) };
        match entry.freshness(self.clock.now()) {
            Freshness::Fresh { left } => Lookup::Fresh(entry, left),
            Freshness::Expired => Lookup::Miss(Reason::Expired),
        }
    }

    /// The leader's part of a miss: fetch, store, land.
    async fn fill<T, E, F, Fut>(
        &self,
        key: &Arc<str>,
        mut leader: Leader<'_, V>,
        reason: Reason,
        fetch: F,
    ) -> Result<Answer<V>, FetchError<E>>
    where
        T: Into<Fetched<V>>,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let load = Load::begin(&self.counters);
        let began = self.clock.now();
        match leader.run(async { fetch().await }).await {
            Ok(fetched) => {
                load.succeed();
                let entry = self.entry(fetched.into(), began);
                let stored = self.store(key, &entry, || leader.is_revoked());
                leader.land(Landing::Fetched { entry: Arc::clone(&entry), stored });
                Ok(self.fetched(&entry, stored, AnswerSource::Fetched(reason)))
            }
            Err(error) => {
                drop(load);
                let error = Arc::new(error);
                leader.land(Landing::Failed(Arc::clone(&error) as _));
                Err(FetchError::Failed(error))
            }
        }
    }

    /// The follower's part: what another's landing means to this reader. `None`: nothing, because it
    /// failed with an error of a type this reader does not know, so it has to ask for itself.
    fn share<E: Send + Sync + 'static>(
        &self,
        landing: Landing<V>,
        reason: Reason,
    ) -> Option<Result<Answer<V>, FetchError<E>>> {
        let answer = match landing {
            Landing::Fetched { entry, stored } => {
                Ok(self.fetched(&entry, stored, AnswerSource::Collapsed(reason)))
            }
            Landing::Failed(error) => Err(FetchError::Failed(error.downcast().ok()?)),
            Landing::Panicked => Err(FetchError::Panicked),
        };
        self.counters.collapsed.increment();
        Some(answer)
    }

    fn entry(&self, fetched: Fetched<V>, began: Moment) -> Arc<Entry<V>> {
        let lifetime = match fetched.keep {
            Keep::Default => self.lifetime,
            Keep::For(lifetime) => lifetime,
            Keep::No => Lifetime::fresh_for(Duration::ZERO),
        };
        let ended = self.clock.now();
        let cost = ended.since(began);
        Arc::new(Entry { value: fetched.value, lifetime, fetched: ended, cost })
    }

    /// Stores and counts.
    fn store(
        &self,
        key: &Arc<str>,
        entry: &Arc<Entry<V>>,
        fenced: impl FnOnce() -> bool,
    ) -> Stored {
        if entry.lifetime.ttl().is_zero() {
            return Stored::NotStorable;
        }
        let heap_bytes = (self.weigher)(&entry.value);
        let stored = self.memory.put(Arc::clone(key), Arc::clone(entry), heap_bytes, fenced);
        match stored {
            Stored::Yes { evicted } => self.counters.evictions.add(evicted),
            Stored::TooLarge => self.counters.too_large.increment(),
            Stored::NotStorable | Stored::Fenced => {}
        }
        stored
    }

    fn hit(&self, entry: &Entry<V>, left: Duration) -> Answer<V> {
        Answer {
            value: entry.value.clone(),
            source: AnswerSource::Hit,
            age: entry.lifetime.ttl().saturating_sub(left),
            storage: Storage::FreshFor(left),
            cost: entry.cost,
        }
    }

    fn fetched(&self, entry: &Entry<V>, stored: Stored, source: AnswerSource) -> Answer<V> {
        let storage = match stored {
            Stored::Yes { .. } => Storage::FreshFor(entry.lifetime.ttl()),
            Stored::NotStorable => Storage::Not(Reason::NotStorable),
            Stored::TooLarge => Storage::Not(Reason::TooLarge),
            Stored::Fenced => Storage::Not(Reason::Purged),
        };
        let (value, cost) = (entry.value.clone(), entry.cost);
        Answer { value, source, age: Duration::ZERO, storage, cost }
    }
}

/// One fetch in the books: begun it counts as a load, and unless it succeeds (it fails, panics, is
/// dropped) as a failed one.
struct Load<'a>(Option<&'a Counters>);

impl<'a> Load<'a> {
    fn begin(counters: &'a Counters) -> Self {
        counters.loads.increment();
        Load(Some(counters))
    }

    fn succeed(mut self) {
        self.0 = None;
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        if let Some(counters) = self.0 {
            counters.load_failures.increment();
        }
    }
}

// Derived code would ask for `V: Clone`.
impl<V> Clone for Cache<V> {
    fn clone(&self) -> Self {
        Cache { shared: Arc::clone(&self.shared) }
    }
}

impl<V> fmt::Debug for Cache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("name", &self.shared.name).finish_non_exhaustive()
    }
}
