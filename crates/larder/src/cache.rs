//! Cache: the library's order of steps, written here and nowhere else.

pub(crate) mod fill;
pub(crate) mod look;
pub(crate) mod negative;
pub(crate) mod purge;
pub(crate) mod store;
#[cfg(all(test, not(shuttle)))]
mod storm;

use std::{convert::Infallible, fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use larder_policy::{
    freshness::{Freshness, Lifetime},
    reason::Reason,
};
use tokio::time::timeout;

use self::{
    fill::{AtHand, FlightResult, Wants},
    look::{Found, Lookup, Seen, Shape},
    negative::Negatives,
};
use crate::{
    answer::{Answer, EntryView, Failure, Storage},
    backoff::Backoffs,
    builder::{Builder, Weigher},
    claim::{Claims, Instance},
    clock::Clock,
    entry::Fetched,
    error::FetchError,
    flight::Flights,
    key::CacheKey,
    purge::{log::PurgeLog, tags::TagKey},
    refresh::Refreshes,
    shape::KeyShape,
    stats::{Counters, Events, Stats},
    sweeper::{self, Sweep},
    sync::atomic::{AtomicBool, Ordering},
    tasks::Tasks,
    tier::memory::{Burial, Limits, MemoryTier, Pace},
    turns::Turns,
    weigh::Weigh,
};

/// Keys whose refreshes are held back after a failure.
const MAX_BACKOFFS: usize = 1024;
/// Refreshes that wait for their turn.
const MAX_WAITING_REFRESHES: usize = 1024;
/// Slots that the sweep of each second looks at, or a quarter as many that it takes out: some milliseconds'
/// work, and no more than a fifth of a second's. What expires is found without looking at all; what a purge
/// has ended is not, and with millions of entries takes some seconds.
const SLOTS_PER_SWEEP: usize = 1 << 19;
/// Keys that are fetched, or wait for it, for each fetch that may run; but at least so many.
const FLIGHTS_PER_FETCH: usize = 16;
const MIN_FLIGHTS: usize = 1024;

/// A cache of values by key. Clones share one cache.
///
/// Values are handed out as clones: make them cheap to clone (an `Arc`, `Bytes`). A hit clones under the
/// read lock of a part of the cache, so that a `Clone` of your own must not call the cache. All else of
/// yours that the cache runs (`Drop`, weigher, fetches) may: no lock is held then. What a value's `Drop`
/// inserts makes nothing else go, and is not stored where there is no room for it.
///
/// A `Drop` that panics costs nothing but itself: the value is gone, its room is free, and so is it with
/// the others that were to go. [`remove`](Cache::remove), [`clear`](Cache::clear),
/// [`purge_prefix`](Cache::purge_prefix), [`resize`](Cache::resize) and [`sweep`](Cache::sweep) then
/// panic in the end; whoever stores something, and the sweeping in the background, does not.
///
/// Fetches run as tasks of the cache, on the tokio runtime of the reader that needed them first: a
/// reader that leaves disturbs neither the fetch nor those who wait for it. They end when the last
/// clone of the cache is dropped.
///
/// If that runtime is dropped, or nobody drives it for a second or two (a `block_on` for each call, and
/// the call is over), the fetch's own reader goes on with it, wherever it is; if that one has left, those
/// who wait begin it anew ([`Stats::fetches_taken_over`]). Outside a tokio runtime a fetch runs in its
/// reader's own future, and ends with it; nothing is refreshed, and no timeout is kept.
pub struct Cache<V> {
    shared: Arc<Shared<V>>,
    _owner: Arc<Owner>,
}

/// Ends the cache's tasks, and gives up what waits: both hold what is shared.
struct Owner {
    tasks: Tasks,
    refreshes: Arc<Refreshes>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.tasks.stop();
        self.refreshes.close();
    }
}

pub(crate) struct Shared<V> {
    name: String,
    pub(crate) lifetime: Lifetime,
    /// Whether a stale entry may be served while it is refreshed, if its window says so.
    serves_while_revalidating: AtomicBool,
    pub(crate) refresh_ahead: Option<f64>,
    pub(crate) jitter: f64,
    pub(crate) soft_timeout: Option<Duration>,
    pub(crate) hard_timeout: Option<Duration>,
    pub(crate) clock: Clock,
    pub(crate) weigher: Weigher<V>,
    pub(crate) memory: MemoryTier<V>,
    negatives: Negatives,
    claims: Claims,
    pub(crate) backoffs: Backoffs,
    /// Every purge has its number from here.
    pub(crate) purges: PurgeLog,
    pub(crate) flights: Arc<Flights<FlightResult<V>>>,
    #[cfg(feature = "http")]
    pub(crate) max_fetches: usize,
    pub(crate) refreshes: Arc<Refreshes>,
    pub(crate) tasks: Tasks,
    pub(crate) counters: Counters,
}

/// What a look-up leads to.
enum Next<V, F> {
    /// The answer is there, and all else is done.
    Served(Answer<V>),
    /// The answer is what this brings.
    Fill(Pin<Box<F>>),
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
        let tasks = Tasks::new();
        let max_bytes = builder.bound_bytes();
        let negatives = Negatives::new(builder.negative_ttl, max_bytes, builder.max_entries);
        let refreshes =
            Refreshes::new(builder.max_concurrent_refreshes, MAX_WAITING_REFRESHES, tasks.clone());
        let is_swept = builder.clock.is_system();
        let shared = Arc::new(Shared {
            memory: MemoryTier::new(Limits {
                max_bytes: max_bytes - negatives.max_bytes(),
                max_entries: builder.max_entries,
                max_entry_bytes: builder.max_entry_bytes,
                eviction: builder.eviction,
            }),
            negatives,
            claims: Claims::new(),
            backoffs: Backoffs::new(MAX_BACKOFFS),
            purges: PurgeLog::new(builder.max_tags, builder.tag_key.unwrap_or_else(TagKey::random)),
            flights: Flights::new(
                builder.max_concurrent_fetches.saturating_mul(FLIGHTS_PER_FETCH).max(MIN_FLIGHTS),
                Turns::new(builder.max_concurrent_fetches),
            ),
            #[cfg(feature = "http")]
            max_fetches: builder.max_concurrent_fetches,
            refreshes: Arc::clone(&refreshes),
            counters: Counters::new(),
            name: builder.name,
            lifetime: builder.lifetime,
            serves_while_revalidating: AtomicBool::new(true),
            refresh_ahead: builder.refresh_ahead,
            jitter: builder.jitter,
            soft_timeout: builder.soft_timeout,
            hard_timeout: builder.hard_timeout,
            clock: builder.clock,
            weigher: builder.weigher,
            tasks: tasks.clone(),
        });
        if is_swept {
            sweeper::watch(&shared);
        }
        Cache { shared, _owner: Arc::new(Owner { tasks, refreshes }) }
    }

    /// What its clones share, for the caches that are built on this one.
    #[cfg(feature = "http")]
    pub(crate) fn shared(&self) -> &Arc<Shared<V>> {
        &self.shared
    }

    /// The name it was built with.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Says that the keys of this shape are those of one function with certain types, and goes on. Two
    /// with a key in common would return each other's values. `#[cached]` calls it at each call of a
    /// function; `shape` is asked at the first.
    ///
    /// # Panics
    ///
    /// If another function has claimed one of them, or this one with other types, with the places of both.
    pub fn claim_keys(&self, instance: &Instance, shape: impl FnOnce() -> KeyShape) -> &Self {
        if let Err(clash) = self.shared.claims.claim(instance, shape) {
            panic!("in the cache {:?} {clash}", self.shared.name);
        }
        self
    }

    /// The fresh value under `key`, if there is one. Needs no runtime; starts nothing.
    pub fn get<'k>(&self, key: impl Into<CacheKey<'k>>) -> Option<V> {
        let key = key.into();
        match self.shared.find(key.as_str()) {
            Found::Plain(value) => Some(value),
            Found::Other(seen) => self.get_on(key.as_str(), seen),
        }
    }

    fn get_on(&self, key: &str, seen: Seen) -> Option<V> {
        match self.shared.look_on(key, seen) {
            Lookup::Usable { answer, shape: Shape::Fresh | Shape::Aging } => Some(answer.value),
            Lookup::Usable { shape: Shape::Stale, .. }
            | Lookup::LastResort(_)
            | Lookup::Miss(_) => {
                self.shared.counters.misses.increment();
                None
            }
        }
    }

    /// What is stored under `key`, without touching it: nothing is counted, nothing marked as used.
    pub fn entry<'k>(&self, key: impl Into<CacheKey<'k>>) -> Option<EntryView<V>> {
        let shared = &*self.shared;
        let now = shared.clock.now();
        shared.memory.peek(key.into().as_str(), |entry| EntryView {
            value: entry.value.clone(),
            age: entry.age(now),
            lifetime: entry.lifetime(),
            freshness: shared.freshness(entry, now).unwrap_or(Freshness::Expired),
            cost: entry.cost(),
            tags: entry.tags().len(),
        })
    }

    /// Stores `value` for the cache's TTL. A fetch of this key that is under way no longer stores:
    /// what it brings may be older. Tells whether it is stored: where it is not (it is too large, the TTL
    /// is zero), what was under `key` is gone as well.
    pub fn insert<'k>(&self, key: impl Into<CacheKey<'k>>, value: V) -> Storage {
        self.insert_fetched(key, Fetched::new(value))
    }

    /// Stores `value` for `ttl` and no longer: the cache's stale windows do not follow
    /// ([`insert_with`](Cache::insert_with) says how long they are). Zero removes what was there. Tells
    /// what [`insert`](Cache::insert) does.
    pub fn insert_with_ttl<'k>(
        &self,
        key: impl Into<CacheKey<'k>>,
        value: V,
        ttl: Duration,
    ) -> Storage {
        self.insert_fetched(key, Fetched::new(value).ttl(ttl))
    }

    /// Stores `value` for `lifetime`, to be purged with each of `tags`. Tells what
    /// [`insert`](Cache::insert) does.
    pub fn insert_with<'k, T: Into<String>>(
        &self,
        key: impl Into<CacheKey<'k>>,
        value: V,
        lifetime: Lifetime,
        tags: impl IntoIterator<Item = T>,
    ) -> Storage {
        self.insert_fetched(key, Fetched::new(value).lifetime(lifetime).tags(tags))
    }

    fn insert_fetched<'k>(&self, key: impl Into<CacheKey<'k>>, fetched: Fetched<V>) -> Storage {
        let shared = &*self.shared;
        let key = key.into().into_shared();
        shared.flights.revoke(&key);
        shared.negatives.forget(&key).pass_over();
        shared.backoffs.forget(&key);
        let fetched = shared.dated(&key, fetched, Duration::ZERO, shared.purges.position());
        let storage = shared.store_whole(&key, fetched);
        if let Storage::Not(_) = storage {
            shared.memory.remove(&key, &shared.judge_now()).1.pass_over();
        }
        storage
    }

    /// Up to `most` keys, in no order: for people who look for one. What is expired or purged by its tag
    /// may be among them, and what is stored meanwhile. Copies each key; holds no lock for long.
    pub fn keys(&self, most: usize) -> Vec<String> {
        self.shared.memory.keys(most)
    }

    /// The value under `key`; if there is none, the one that `fetch` brings, which is then stored.
    /// Many readers of one missing key share one fetch.
    ///
    /// It waits until there is a value. Where many fetches are under way, it waits for its turn in order,
    /// is never refused, and the hard timeout only begins with its fetch. If another reader's fetch fails,
    /// panics or takes too long, this one fetches for itself. If its own fetch takes longer than the hard
    /// timeout, those who share it are told and its turn ends, but this reader waits on; the value is
    /// then not stored. While the cache is shut down, the fetch runs in the returned future.
    ///
    /// Dropping the returned future leaves a fetch that has begun alone: its value is stored.
    ///
    /// # Panics
    ///
    /// - If its own fetch panics.
    /// - Within the fetch of `key` itself, directly or through the fetches of other keys: there can be no
    ///   value then ([`FetchError::Recursive`], for readers that would rather know).
    pub async fn get_or_fetch<'k, T, F, Fut>(&self, key: impl Into<CacheKey<'k>>, fetch: F) -> V
    where
        T: Into<Fetched<V>> + Send,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = T> + Send,
    {
        let key = key.into();
        let seen = match self.shared.find(key.as_str()) {
            Found::Plain(value) => {
                drop_before(fetch, &value);
                return value;
            }
            Found::Other(seen) => seen,
        };
        let fetch = || async { Ok::<T, Infallible>(fetch().await) };
        let filling = match self.go_on(key, seen, fetch, Wants::Value) {
            Next::Served(answer) => return answer.value,
            Next::Fill(filling) => filling,
        };
        match filling.await {
            Ok(answer) => answer.value,
            Err(Failure { error: FetchError::Failed(never), .. }) => match *never {},
            Err(Failure { error, .. }) => panic!("no value could be had: {error}"),
        }
    }

    /// As [`get_or_fetch`](Cache::get_or_fetch), for a fetch that can fail.
    ///
    /// # Errors
    ///
    /// The fetch's own error, shared by all who waited for it and by nobody later (unless the cache
    /// was built with a negative TTL); [`FetchError`] for what else can go wrong. It does not wait where
    /// too much is under way ([`FetchError::TooMany`]), as [`get_or_fetch`](Cache::get_or_fetch) does.
    pub async fn try_get_or_fetch<'k, T, E, F, Fut>(
        &self,
        key: impl Into<CacheKey<'k>>,
        fetch: F,
    ) -> Result<V, FetchError<E>>
    where
        T: Into<Fetched<V>> + Send,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        let key = key.into();
        let seen = match self.shared.find(key.as_str()) {
            Found::Plain(value) => {
                drop_before(fetch, &value);
                return Ok(value);
            }
            Found::Other(seen) => seen,
        };
        let filling = match self.go_on(key, seen, fetch, Wants::Answer) {
            Next::Served(answer) => return Ok(answer.value),
            Next::Fill(filling) => filling,
        };
        match filling.await {
            Ok(answer) => Ok(answer.value),
            Err(failure) => Err(failure.error),
        }
    }

    /// As [`try_get_or_fetch`](Cache::try_get_or_fetch), and tells how the value came about.
    ///
    /// # Errors
    ///
    /// As [`try_get_or_fetch`](Cache::try_get_or_fetch), and how that came about.
    pub async fn answer<'k, T, E, F, Fut>(
        &self,
        key: impl Into<CacheKey<'k>>,
        fetch: F,
    ) -> Result<Answer<V>, Failure<E>>
    where
        T: Into<Fetched<V>> + Send,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        let key = key.into();
        let filling = match self.go_on(key, Seen::Nothing, fetch, Wants::Answer) {
            Next::Served(answer) => return Ok(answer),
            Next::Fill(filling) => filling,
        };
        filling.await.map(|answer| *answer)
    }

    /// The one function that holds the order of steps, for all but a plain hit. No future, so that what was
    /// found is in none: a large value would make the future of every reader several times as large.
    fn go_on<'a, T, E, F, Fut>(
        &'a self,
        key: CacheKey<'_>,
        seen: Seen,
        fetch: F,
        wants: Wants,
    ) -> Next<V, impl Future<Output = Result<Box<Answer<V>>, Failure<E>>> + use<'a, V, T, E, F, Fut>>
    where
        T: Into<Fetched<V>> + Send,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        let shared = &self.shared;
        let (reason, at_hand) = match shared.look_on(key.as_str(), seen) {
            Lookup::LastResort(_) => (Reason::Expired, AtHand::Stale),
            Lookup::Miss(reason) => (reason, AtHand::Nothing),
            // One arm, for in each an answer would have its own place on the stack.
            Lookup::Usable { answer, shape } => {
                if shape == Shape::Stale {
                    shared.stale_served(key.as_str(), &answer);
                }
                match shape {
                    Shape::Fresh => drop_before(fetch, &answer),
                    Shape::Aging | Shape::Stale => shared.refresh(key, answer.cost, fetch),
                }
                return Next::Served(answer);
            }
        };
        let key = key.into_shared();
        // In a box, for the future of a hit would otherwise be as large as that of a miss, and moving it
        // about takes a quarter of a hit's instructions.
        Next::Fill(Box::pin(async move { shared.fill(&key, reason, fetch, at_hand, wants).await }))
    }

    /// What the cache did so far and holds now.
    pub fn stats(&self) -> Stats {
        let shared = &self.shared;
        let (entries, bytes) = shared.memory.size();
        let (errors, error_bytes) = shared.negatives.size();
        let max_bytes = shared.memory.max_bytes() + shared.negatives.max_bytes();
        Stats {
            entries: (entries + errors) as u64,
            bytes: (bytes + error_bytes) as u64,
            max_bytes: (max_bytes < usize::MAX).then_some(max_bytes as u64),
            tags: shared.purges.tags() as u64,
            ..shared.counters.snapshot()
        }
    }

    /// Whether stale entries are served while they are refreshed, as far as their windows allow: they
    /// are, unless this is given `false`. Then a stale entry is fetched anew before its reader is
    /// answered, and serves only if that fails, within its window for that. Holds at once, for what is
    /// stored already as well, and changes no entry: `true` gives each its window back.
    ///
    /// For an hour in which old answers do harm. Answers of an `HttpCache` follow their own fields, and
    /// are not concerned.
    pub fn serve_stale_while_revalidate(&self, on: bool) {
        self.shared.serves_while_revalidating.store(on, Ordering::Relaxed);
    }

    /// Changes the bound in bytes; returns how many entries had to go. Once this returns, the new
    /// bound holds.
    ///
    /// Into how many parts the cache is divided was decided by its first bound. One that is to hold many
    /// gigabytes later is better built with that bound and resized to less: in large parts the tables take
    /// milliseconds to grow.
    ///
    /// # Panics
    ///
    /// If the `Drop` of something that had to go does, once the bound holds: see [`Cache`].
    pub fn resize(&self, max_bytes: usize) -> usize {
        let shared = &self.shared;
        let share = shared.negatives.share_of(max_bytes);
        let errors = shared.negatives.resize(share);
        let burial = shared.memory.resize(max_bytes - share, &shared.judge_now()).and(errors);
        let evicted = burial.entries;
        shared.counters.evictions.add(evicted as u64);
        burial.resume();
        evicted
    }

    /// What the cache does from now on, one event after the other.
    pub fn events(&self) -> Events {
        self.shared.counters.events()
    }

    /// Removes what can no longer be served, for it has expired beyond its stale windows or was purged by a
    /// tag; returns how many entries that was. A cache on the system's clock does it by itself, every
    /// second: up to a hundred thousand entries, and the next as many a second later. What can no longer be
    /// served also goes before anything else when room is needed.
    ///
    /// # Panics
    ///
    /// If the `Drop` of something removed does, once all of it is: see [`Cache`].
    pub fn sweep(&self) -> usize {
        let burial = self.shared.sweep_at(Pace::Whole);
        let count = burial.entries;
        burial.resume();
        count
    }

    /// Gives up the refreshes that wait, lets what runs end within `within`, and stops the rest.
    /// True if nothing had to be stopped. What asks for a fetch afterwards gets
    /// [`FetchError::ShutDown`], or has it run in its own future ([`get_or_fetch`](Cache::get_or_fetch));
    /// what is stored is still served.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn shut_down(&self, within: Duration) -> bool {
        let shared = &self.shared;
        shared.refreshes.close();
        shared.tasks.close();
        let in_time = timeout(within, shared.tasks.ended()).await.is_ok();
        shared.tasks.stop();
        in_time
    }
}

/// Drops a fetch that is not needed, which is the caller's code and may panic, while what is about to be
/// returned is still a variable. Dropped at the end of its function it would leak that if it panics
/// (rust-lang/rust#47949).
fn drop_before<F, R>(fetch: F, _result: &R) {
    drop(fetch);
}

impl<V: Clone + Send + Sync + 'static> Shared<V> {
    fn sweep_at(&self, pace: Pace) -> Burial {
        let judge = self.judge_now();
        let errors = self.negatives.sweep(judge.now(), pace);
        let burial = self.memory.sweep(&judge, pace).and(errors);
        self.counters.expired.add(burial.entries as u64);
        burial
    }
}

impl<V: Clone + Send + Sync + 'static> Sweep for Shared<V> {
    fn sweep_some(&self) {
        self.sweep_at(Pace::UpTo(SLOTS_PER_SWEEP)).pass_over();
    }
}

// Derived code would ask for `V: Clone`.
impl<V> Clone for Cache<V> {
    fn clone(&self) -> Self {
        Cache { shared: Arc::clone(&self.shared), _owner: Arc::clone(&self._owner) }
    }
}

impl<V> fmt::Debug for Cache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("name", &self.shared.name).finish_non_exhaustive()
    }
}
