//! Cache: the library's order of steps, written here and nowhere else.

use std::{
    any::Any, convert::Infallible, fmt, future::Future, pin::pin, sync::Arc, time::Duration,
};

use larder_policy::{
    freshness::{Freshness, Lifetime},
    reason::Reason,
};
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    builder::{Builder, Weigher},
    clock::{Clock, Moment},
    entry::{Entry, Facts, Fetched, Keep},
    error::FetchError,
    flight::{Flights, Follower, Join, Landing, Leader},
    key::CacheKey,
    refresh::{Asked, Refreshes, Tasks},
    stats::{Counters, Event, Events, Stats},
    sweeper::{self, Sweep},
    tag::{Fence, Mode, Standing, TagId, TagTable},
    tier::memory::{Limits, MemoryTier, Stored},
    weigh::Weigh,
};

/// An entry with more tags than this is not stored.
const MAX_TAGS_OF_ENTRY: usize = 64;
/// Refreshes that wait for their turn.
const MAX_WAITING_REFRESHES: usize = 1024;
/// Keys that are fetched, or wait for it, for each fetch that may run; but at least so many.
const FLIGHTS_PER_FETCH: usize = 16;
const MIN_FLIGHTS: usize = 1024;
/// A fetch is given up by its task; only if that task itself no longer runs, by its readers.
const READERS_SLACK: Duration = Duration::from_millis(100);
/// Remembered errors may weigh this part of the cache's bound, which they count towards.
const NEGATIVE_SHARE: usize = 16;

/// A cache of values by key. Clones share one cache.
///
/// Values are handed out as clones: make them cheap to clone (an `Arc`, `Bytes`).
///
/// Fetches run as tasks of the cache, on the tokio runtime of the reader that needed them first: a
/// reader that leaves disturbs neither the fetch nor those who wait for it. They end when the last
/// clone of the cache is dropped.
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

tokio::task_local! {
    /// The caches whose fetches the current task runs, the outermost first.
    static FETCHING: Vec<CacheId>;
}

/// Tells caches apart while they exist.
type CacheId = usize;

struct Shared<V> {
    name: String,
    lifetime: Lifetime,
    refresh_ahead: Option<f64>,
    jitter: f64,
    soft_timeout: Option<Duration>,
    hard_timeout: Option<Duration>,
    clock: Clock,
    weigher: Weigher<V>,
    memory: MemoryTier<V>,
    negatives: Option<Negatives>,
    tags: TagTable,
    flights: Arc<Flights<Brought<V>>>,
    fetches: Semaphore,
    refreshes: Arc<Refreshes>,
    tasks: Tasks,
    counters: Counters,
}

/// Errors that are remembered for a while.
struct Negatives {
    ttl: Duration,
    memory: MemoryTier<AnyError>,
}

/// The fetch's own error. Readers of one key may use different error types; each takes it only if
/// it is theirs.
type AnyError = Arc<dyn Any + Send + Sync>;

/// What a flight brings to those who wait for it.
#[derive(Clone)]
enum Brought<V> {
    Value(Arc<Delivery<V>>),
    Error { error: AnyError, fence: Fence },
    TookTooLong(Duration),
}

struct Delivery<V> {
    value: V,
    cost: Duration,
    tags: Box<[TagId]>,
    fence: Fence,
    storage: Storage,
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
    /// From the cache, fresh.
    Hit,
    /// From the cache, stale, which was allowed for this reason.
    Stale(Reason),
    /// From a fetch of its own, which was needed for this reason.
    Fetched(Reason),
    /// From another reader's fetch that was under way; without it, the reason for its own.
    Collapsed(Reason),
}

/// No value, and how that came about.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure<E> {
    /// Why there is none.
    pub error: FetchError<E>,
    /// Where the error came from.
    pub source: FailureSource,
}

impl<E> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<E: std::error::Error + 'static> std::error::Error for Failure<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

/// Where an error came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureSource {
    /// From a fetch of its own, which was needed for this reason.
    Fetched(Reason),
    /// From another reader's fetch that was under way; without it, the reason for its own.
    Collapsed(Reason),
    /// From a fetch of a moment ago ([`Builder::negative_ttl`]).
    Remembered,
}

/// Whether a value is in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// It is, and stays fresh for this long.
    FreshFor(Duration),
    /// It is, and has been stale for this long.
    StaleFor(Duration),
    /// It is not, for this reason.
    Not(Reason),
}

/// What is stored under a key, seen without touching it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EntryView<V> {
    /// The value.
    pub value: V,
    /// How long ago its fetch ended.
    pub age: Duration,
    /// How long it is good for, as stored (jitter included).
    pub lifetime: Lifetime,
    /// What it is good for now, purges considered; `Expired` also if it was purged by a tag.
    pub freshness: Freshness,
    /// What its fetch cost in time.
    pub cost: Duration,
    /// How many tags it carries.
    pub tags: usize,
}

impl<V> Answer<V> {
    /// The one word for all of it: why it was no hit, or, if it could have been stored and was not,
    /// why that.
    pub fn reason(&self) -> Reason {
        match (self.source, self.storage) {
            (AnswerSource::Hit, _) => Reason::Hit,
            (AnswerSource::Stale(reason), _) => reason,
            (AnswerSource::Collapsed(_), _) => Reason::Collapsed,
            (AnswerSource::Fetched(_), Storage::Not(reason)) => reason,
            (AnswerSource::Fetched(reason), _) => reason,
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
        let tasks = Tasks::new();
        let has_negatives = !builder.negative_ttl.is_zero();
        let negative_bytes = if has_negatives { builder.max_bytes / NEGATIVE_SHARE } else { 0 };
        let negatives = has_negatives.then(|| Negatives {
            ttl: builder.negative_ttl,
            memory: MemoryTier::new(Limits::bytes(negative_bytes)),
        });
        let refreshes =
            Refreshes::new(builder.max_concurrent_refreshes, MAX_WAITING_REFRESHES, tasks.clone());
        let is_swept = builder.clock.is_system();
        let shared = Arc::new(Shared {
            memory: MemoryTier::new(Limits {
                max_bytes: builder.max_bytes - negative_bytes,
                max_entries: builder.max_entries,
                max_entry_bytes: builder.max_entry_bytes,
                eviction: builder.eviction,
            }),
            negatives,
            tags: TagTable::new(builder.max_tags),
            flights: Flights::new(
                builder.max_concurrent_fetches.saturating_mul(FLIGHTS_PER_FETCH).max(MIN_FLIGHTS),
            ),
            fetches: Semaphore::new(builder.max_concurrent_fetches.min(Semaphore::MAX_PERMITS)),
            refreshes: Arc::clone(&refreshes),
            counters: Counters::new(),
            name: builder.name,
            lifetime: builder.lifetime,
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

    /// The name it was built with.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The fresh value under `key`, if there is one. Needs no runtime; starts nothing.
    pub fn get<'k>(&self, key: impl Into<CacheKey<'k>>) -> Option<V> {
        let key = key.into();
        if let Some(value) = self.shared.plain_hit(key.as_str()) {
            return Some(value);
        }
        match self.shared.look_up(key.as_str()) {
            Lookup::Fresh { answer, .. } => Some(answer.value),
            Lookup::Usable(_) | Lookup::LastResort(_) | Lookup::Miss(_) => {
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
    /// what it brings may be older.
    pub fn insert<'k>(&self, key: impl Into<CacheKey<'k>>, value: V) {
        self.insert_fetched(key, Fetched::new(value));
    }

    /// Stores `value` for `ttl`. Zero removes what was there.
    pub fn insert_with_ttl<'k>(&self, key: impl Into<CacheKey<'k>>, value: V, ttl: Duration) {
        self.insert_fetched(key, Fetched::new(value).ttl(ttl));
    }

    /// Stores `value` for `lifetime`, to be purged with each of `tags`.
    pub fn insert_with<'k, T: Into<String>>(
        &self,
        key: impl Into<CacheKey<'k>>,
        value: V,
        lifetime: Lifetime,
        tags: impl IntoIterator<Item = T>,
    ) {
        self.insert_fetched(key, Fetched::new(value).lifetime(lifetime).tags(tags));
    }

    fn insert_fetched<'k>(&self, key: impl Into<CacheKey<'k>>, fetched: Fetched<V>) {
        let shared = &*self.shared;
        let key = key.into().into_shared();
        shared.flights.revoke(&key);
        shared.forget_error(&key);
        let fetched = shared.dated(&key, fetched, Duration::ZERO, shared.tags.fence());
        if let Storage::Not(_) = shared.store(&key, &fetched, || false) {
            shared.memory.remove(&key);
        }
    }

    /// Removes `key`; true if something was there. Once this returns, no value fetched before it is
    /// served to anybody who asks afterwards: a fetch under way answers its own readers and is not
    /// stored.
    pub fn remove<'k>(&self, key: impl Into<CacheKey<'k>>) -> bool {
        let key = key.into();
        let shared = &*self.shared;
        shared.flights.revoke(key.as_str());
        shared.forget_error(key.as_str());
        let was_there = shared.memory.remove(key.as_str());
        shared.purged(|| format!("key {}", key.as_str()), false);
        was_there
    }

    /// Marks `key` stale; true if something was there. It may still be served while it is refreshed
    /// or if that fails, as far as its stale windows allow.
    pub fn soft_remove<'k>(&self, key: impl Into<CacheKey<'k>>) -> bool {
        let key = key.into();
        let shared = &*self.shared;
        shared.flights.revoke(key.as_str());
        shared.forget_error(key.as_str());
        let now = shared.clock.now();
        let was_there = shared.memory.update(key.as_str(), |entry| entry.mark_stale(now));
        shared.purged(|| format!("key {}", key.as_str()), true);
        was_there
    }

    /// Removes everything, with the same promise as [`remove`](Cache::remove); returns how many
    /// entries that was.
    pub fn clear(&self) -> usize {
        let shared = &*self.shared;
        shared.flights.revoke_where(|_| true);
        shared.forget_errors();
        let count = shared.memory.clear();
        shared.purged(|| "everything".to_owned(), false);
        count
    }

    /// Marks everything stale: see [`soft_remove`](Cache::soft_remove). A single step, however much
    /// there is.
    pub fn soft_clear(&self) {
        let shared = &*self.shared;
        shared.tags.mark_everything_stale(shared.clock.now());
        shared.forget_errors();
        shared.flights.revoke_where(|_| true);
        shared.purged(|| "everything".to_owned(), true);
    }

    /// Purges every entry that carries `tag`, also those whose fetch is under way: once this
    /// returns, nothing fetched before it is served to anybody who asks afterwards. A single step,
    /// however many entries that are. The bytes go when room is needed, or at the entries' end.
    /// Remembered errors are forgotten, all of them: an error has no tags.
    pub fn purge_tag(&self, tag: &str) {
        let shared = &*self.shared;
        shared.tags.purge(tag, Mode::Hard, shared.clock.now());
        shared.forget_errors();
        shared.purged(|| format!("tag {tag}"), false);
    }

    /// Marks every entry that carries `tag` stale: see [`soft_remove`](Cache::soft_remove).
    pub fn soft_purge_tag(&self, tag: &str) {
        let shared = &*self.shared;
        shared.tags.purge(tag, Mode::Soft, shared.clock.now());
        shared.forget_errors();
        shared.purged(|| format!("tag {tag}"), true);
    }

    /// Removes every key that begins with `prefix`, with the same promise as
    /// [`remove`](Cache::remove); returns how many entries that was. Looks at every key: tags are
    /// cheaper.
    pub fn purge_prefix(&self, prefix: &str) -> usize {
        let shared = &*self.shared;
        shared.flights.revoke_where(|key| key.starts_with(prefix));
        shared.forget_errors_where(|key| key.starts_with(prefix));
        let count = shared.memory.remove_where(|key| key.starts_with(prefix));
        shared.purged(|| format!("prefix {prefix}"), false);
        count
    }

    /// Marks every key that begins with `prefix` stale; returns how many entries that was.
    pub fn soft_purge_prefix(&self, prefix: &str) -> usize {
        let shared = &*self.shared;
        shared.flights.revoke_where(|key| key.starts_with(prefix));
        shared.forget_errors_where(|key| key.starts_with(prefix));
        let now = shared.clock.now();
        let is_named = |key: &str| key.starts_with(prefix);
        let count = shared.memory.update_where(is_named, |entry| entry.mark_stale(now));
        shared.purged(|| format!("prefix {prefix}"), true);
        count
    }

    /// The value under `key`; if there is none, the one that `fetch` brings, which is then stored.
    /// Many readers of one missing key share one fetch.
    ///
    /// Dropping the returned future leaves a fetch that has begun alone: its value is stored.
    ///
    /// # Panics
    ///
    /// If the fetch panics, takes longer than the hard timeout, or the cache is shut down meanwhile:
    /// every reader that waited for it then panics. Readers that would rather know use
    /// [`try_get_or_fetch`](Cache::try_get_or_fetch). Also outside a tokio runtime.
    pub async fn get_or_fetch<'k, T, F, Fut>(&self, key: impl Into<CacheKey<'k>>, fetch: F) -> V
    where
        T: Into<Fetched<V>> + Send,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = T> + Send,
    {
        let key = key.into();
        if let Some(value) = self.shared.plain_hit(key.as_str()) {
            return value;
        }
        let fetch = || async { Ok::<T, Infallible>(fetch().await) };
        match self.answer(key, fetch).await {
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
    /// was built with a negative TTL); [`FetchError`] for what else can go wrong.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
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
        if let Some(value) = self.shared.plain_hit(key.as_str()) {
            return Ok(value);
        }
        let answer = self.answer(key, fetch).await;
        answer.map(|answer| answer.value).map_err(|failure| failure.error)
    }

    /// As [`try_get_or_fetch`](Cache::try_get_or_fetch), and tells how the value came about. This is
    /// the one function that holds the order of steps; the others cut short a plain hit.
    ///
    /// # Errors
    ///
    /// As [`try_get_or_fetch`](Cache::try_get_or_fetch), and how that came about.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
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
        let shared = &self.shared;
        let key = key.into();
        match shared.look_up(key.as_str()) {
            Lookup::Fresh { answer, is_aging: false } => Ok(answer),
            Lookup::Fresh { answer, is_aging: true } => {
                shared.refresh(key, answer.cost, fetch);
                Ok(answer)
            }
            Lookup::Usable(answer) => {
                shared.stale_served(key.as_str(), &answer);
                shared.refresh(key, answer.cost, fetch);
                Ok(answer)
            }
            Lookup::LastResort(_) => {
                shared.fill(&key.into_shared(), Reason::Expired, fetch, AtHand::Stale).await
            }
            Lookup::Miss(reason) => {
                shared.fill(&key.into_shared(), reason, fetch, AtHand::Nothing).await
            }
        }
    }

    /// What the cache did so far and holds now.
    pub fn stats(&self) -> Stats {
        let shared = &self.shared;
        let (entries, bytes) = shared.memory.size();
        let (errors, error_bytes) = match &shared.negatives {
            Some(negatives) => negatives.memory.size(),
            None => (0, 0),
        };
        let negative_max = shared.negatives.as_ref().map_or(0, |all| all.memory.max_bytes());
        Stats {
            entries: (entries + errors) as u64,
            bytes: (bytes + error_bytes) as u64,
            max_bytes: (shared.memory.max_bytes() + negative_max) as u64,
            tags: shared.tags.len() as u64,
            ..shared.counters.snapshot()
        }
    }

    /// Changes the bound in bytes; returns how many entries had to go. Once this returns, the new
    /// bound holds.
    pub fn resize(&self, max_bytes: usize) -> usize {
        let mut evicted = 0;
        let mut left = max_bytes;
        if let Some(negatives) = &self.shared.negatives {
            left -= max_bytes / NEGATIVE_SHARE;
            evicted += negatives.memory.resize(max_bytes / NEGATIVE_SHARE);
        }
        evicted += self.shared.memory.resize(left);
        self.shared.counters.evictions.add(evicted as u64);
        evicted
    }

    /// What the cache does from now on, one event after the other.
    pub fn events(&self) -> Events {
        self.shared.counters.events()
    }

    /// Removes what is of no use any more; returns how many entries that was. A cache on the
    /// system's clock does it by itself, every second.
    pub fn sweep(&self) -> usize {
        Sweep::sweep(&*self.shared)
    }

    /// Gives up the refreshes that wait, lets what runs end within `within`, and stops the rest.
    /// True if nothing had to be stopped. What asks for a fetch afterwards gets
    /// [`FetchError::ShutDown`]; what is stored is still served.
    pub async fn shut_down(&self, within: Duration) -> bool {
        let shared = &self.shared;
        shared.refreshes.close();
        shared.tasks.close();
        let in_time = timeout(within, shared.tasks.ended()).await.is_ok();
        shared.tasks.stop();
        in_time
    }
}

/// Whether a reader could be given something stale.
#[derive(Clone, Copy)]
enum AtHand {
    Stale,
    Nothing,
}

/// How a reader's waiting ended.
enum Waited<V> {
    Landed(Landing<Brought<V>>),
    /// The leader is gone without a landing.
    GaveUp,
    TookTooLong(Duration),
}

/// The caches whose fetches the current task runs.
fn fetching() -> Vec<CacheId> {
    FETCHING.try_with(Clone::clone).unwrap_or_default()
}

/// Whose fetch a reader waited for.
#[derive(Clone, Copy)]
enum Whose {
    Own,
    Anothers,
}

/// What that which is stored under a key is good for.
enum Lookup<V> {
    /// Serve it; if it is aging, refresh it as well.
    Fresh {
        answer: Answer<V>,
        is_aging: bool,
    },
    /// Serve it, and refresh it.
    Usable(Answer<V>),
    /// Ask; serve it if that fails.
    LastResort(Answer<V>),
    Miss(Reason),
}

impl<V: Clone + Send + Sync + 'static> Shared<V> {
    /// The value, if it is fresh and nothing else is to be done, as with nearly every hit; counted
    /// then. No answer is made up around it: carrying one about takes a third of a hit's time.
    #[inline]
    fn plain_hit(&self, key: &str) -> Option<V> {
        let began = self.counters.is_sample().then(std::time::Instant::now);
        let now = self.clock.now();
        let found = self.memory.read(key, |entry| {
            let is_plain = entry.is_fresh(now)
                && entry.fence() == self.tags.fence()
                && self.refresh_ahead.is_none();
            is_plain.then(|| (entry.value.clone(), entry.cost()))
        });
        let (value, cost) = found.flatten()?;
        self.count_hit(cost, began);
        Some(value)
    }

    /// Looks and counts.
    fn look_up(&self, key: &str) -> Lookup<V> {
        let began = self.counters.is_sample().then(std::time::Instant::now);
        let lookup = self.look(key);
        if let Lookup::Fresh { answer, .. } = &lookup {
            self.count_hit(answer.cost, began);
        }
        lookup
    }

    fn count_hit(&self, cost: Duration, began: Option<std::time::Instant>) {
        self.counters.hit(cost);
        if let Some(began) = began {
            self.counters.hit_took(began.elapsed());
        }
    }

    fn look(&self, key: &str) -> Lookup<V> {
        let now = self.clock.now();
        let found = self.memory.read(key, |entry| self.judge(entry, now));
        found.unwrap_or(Lookup::Miss(Reason::UriMiss))
    }

    fn judge(&self, entry: &Entry<V>, now: Moment) -> Lookup<V> {
        match self.freshness(entry, now) {
            None => Lookup::Miss(Reason::Purged),
            Some(Freshness::Fresh { left }) => {
                let answer = entry_answer(entry, now, AnswerSource::Hit, Storage::FreshFor(left));
                let is_aging = self.refresh_ahead.is_some_and(|fraction| {
                    entry.age(now) >= entry.lifetime().ttl().mul_f64(fraction)
                });
                Lookup::Fresh { answer, is_aging }
            }
            Some(Freshness::StaleWhileRevalidate { stale }) => {
                let source = AnswerSource::Stale(Reason::StaleWhileRevalidate);
                Lookup::Usable(entry_answer(entry, now, source, Storage::StaleFor(stale)))
            }
            Some(Freshness::StaleIfError { stale }) => {
                let source = AnswerSource::Stale(Reason::StaleIfError);
                Lookup::LastResort(entry_answer(entry, now, source, Storage::StaleFor(stale)))
            }
            Some(Freshness::Expired) => Lookup::Miss(Reason::Expired),
        }
    }

    /// What `entry` is good for; `None` if it was purged.
    fn freshness(&self, entry: &Entry<V>, now: Moment) -> Option<Freshness> {
        let newest = self.tags.fence();
        if entry.fence() == newest {
            return Some(entry.freshness(now));
        }
        match self.tags.standing(entry.tags(), entry.fence()) {
            Standing::Untouched => {
                entry.outlived(newest);
                Some(entry.freshness(now))
            }
            Standing::MarkedStale(marked) => Some(entry.freshness_marked_stale(now, marked)),
            Standing::Purged => None,
        }
    }

    /// A miss, start to end: an error that is remembered, somebody else's fetch, or one of its own;
    /// what is at hand if that fails or takes too long.
    async fn fill<T, E, F, Fut>(
        self: &Arc<Self>,
        key: &Arc<str>,
        reason: Reason,
        fetch: F,
        at_hand: AtHand,
    ) -> Result<Answer<V>, Failure<E>>
    where
        T: Into<Fetched<V>> + Send,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        if let Some(error) = self.remembered_error(key) {
            return match self.rescue(key, at_hand, Reason::StaleIfError) {
                Some(stale) => Ok(stale),
                None => {
                    self.counters.negative_hits.increment();
                    let source = FailureSource::Remembered;
                    Err(Failure { error: FetchError::Failed(error), source })
                }
            };
        }
        self.counters.misses.increment();
        let mut flight = pin!(self.fly(key, reason, fetch));
        let landed = match (at_hand, self.soft_timeout) {
            (AtHand::Stale, Some(limit)) => match timeout(limit, flight.as_mut()).await {
                Ok(landed) => landed,
                Err(_) => match self.rescue(key, at_hand, Reason::SoftTimeout) {
                    Some(stale) => return Ok(stale),
                    None => flight.await,
                },
            },
            (AtHand::Stale, None) | (AtHand::Nothing, _) => flight.await,
        };
        landed.or_else(|failure| self.rescue(key, at_hand, Reason::StaleIfError).ok_or(failure))
    }

    /// Joins the key's flight, or starts it, and waits for its landing.
    async fn fly<T, E, F, Fut>(
        self: &Arc<Self>,
        key: &Arc<str>,
        reason: Reason,
        fetch: F,
    ) -> Result<Answer<V>, Failure<E>>
    where
        T: Into<Fetched<V>> + Send,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        let failed = |error| Err(Failure { error, source: FailureSource::Fetched(reason) });
        let asked = self.tags.fence();
        let leader = loop {
            match self.flights.join(key, || self.tags.fence()) {
                Join::Lead(leader) => break leader,
                Join::TooMany => return failed(FetchError::TooMany),
                Join::Follow(follower) => match self.wait(key, follower).await {
                    Waited::Landed(landing) => {
                        if let Some(shared) = self.share(landing, asked, Whose::Anothers, reason) {
                            self.counters.collapsed.increment();
                            return shared;
                        }
                    }
                    Waited::GaveUp => {}
                    Waited::TookTooLong(limit) => {
                        let source = FailureSource::Collapsed(reason);
                        return Err(Failure { error: FetchError::Timeout { limit }, source });
                    }
                },
            }
        };
        // Another flight may have landed between the look-up and the lead.
        if let Lookup::Fresh { answer, .. } = self.look(key) {
            return Ok(answer);
        }
        if let Some(error) = self.remembered_error(key) {
            let source = FailureSource::Remembered;
            return Err(Failure { error: FetchError::Failed(error), source });
        }
        if self.tasks.is_closed() {
            return failed(FetchError::ShutDown);
        }
        let mine = leader.follower();
        let (shared, within) = (Arc::clone(self), fetching());
        self.tasks.spawn(async move { shared.lead(leader, fetch, within).await });
        match self.wait(key, mine).await {
            Waited::Landed(landing) => {
                let shared = self.share(landing, asked, Whose::Own, reason);
                shared.expect("a fetch of this reader's own is no older, and its error is its own")
            }
            Waited::GaveUp => failed(FetchError::ShutDown),
            Waited::TookTooLong(limit) => failed(FetchError::Timeout { limit }),
        }
    }

    /// Waits for a landing. The fetch has its own limit, but its task may no longer run: then its
    /// readers give it up, and the next one starts anew.
    async fn wait(&self, key: &str, follower: Follower<Brought<V>>) -> Waited<V> {
        let landing = match self.hard_timeout {
            None => follower.landing().await,
            Some(limit) => match timeout(limit + READERS_SLACK, follower.landing()).await {
                Ok(landing) => landing,
                Err(_) => {
                    self.flights.revoke(key);
                    return Waited::TookTooLong(limit);
                }
            },
        };
        landing.map_or(Waited::GaveUp, Waited::Landed)
    }

    /// A refresh behind the readers' backs.
    fn refresh<T, E, F, Fut>(self: &Arc<Self>, key: CacheKey<'_>, worth: Duration, fetch: F)
    where
        T: Into<Fetched<V>> + Send,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        if !self.refreshes.is_wanted(key.as_str())
            || self.remembered_error::<E>(key.as_str()).is_some()
        {
            return;
        }
        let key = key.into_shared();
        let asked = self.refreshes.ask(&key, worth, || {
            let (shared, key) = (Arc::clone(self), Arc::clone(&key));
            let within = fetching();
            Box::pin(async move {
                // A reader may have started one meanwhile.
                let Join::Lead(leader) = shared.flights.join(&key, || shared.tags.fence()) else {
                    return;
                };
                // Or somebody has inserted a newer value.
                if let Lookup::Fresh { is_aging: false, .. } = shared.look(&key) {
                    return;
                }
                shared.counters.refreshes.increment();
                shared.lead(leader, fetch, within).await;
            })
        });
        if asked == Asked::OneDropped {
            self.counters.refreshes_dropped.increment();
        }
    }

    /// The leader's part: fetch, store, land.
    async fn lead<T, E, F, Fut>(&self, leader: Leader<Brought<V>>, fetch: F, within: Vec<CacheId>)
    where
        T: Into<Fetched<V>> + Send,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        let key = Arc::clone(leader.key());
        let fetching = self.fetch(fetch, within);
        let fetched = match self.hard_timeout {
            None => Ok(fetching.await),
            Some(limit) => timeout(limit, fetching).await.map_err(|_| limit),
        };
        let brought = match fetched {
            Ok(Ok((fetched, cost))) => {
                let fetched = self.dated(&key, fetched.into(), cost, leader.fence());
                let storage = self.store(&key, &fetched, || leader.is_revoked());
                let not_stored = match storage {
                    Storage::Not(reason) => Some(reason),
                    Storage::FreshFor(_) | Storage::StaleFor(_) => None,
                };
                let took = fetched.facts.cost;
                self.counters.tell(|| Event::Fetched { key: Arc::clone(&key), took, not_stored });
                Brought::Value(Arc::new(fetched.delivery(storage)))
            }
            Ok(Err(error)) => {
                let error: AnyError = Arc::new(error);
                self.remember_error::<E>(&key, &error, &leader);
                self.counters.tell(|| Event::FetchFailed { key: Arc::clone(&key) });
                Brought::Error { error, fence: leader.fence() }
            }
            Err(limit) => {
                self.counters.tell(|| Event::FetchFailed { key: Arc::clone(&key) });
                Brought::TookTooLong(limit)
            }
        };
        leader.land(brought);
    }

    /// Waits for a turn, and fetches. What the fetch cost in time comes with its result.
    ///
    /// A fetch that is needed by another fetch of this cache (`within`) takes no turn of its own: if
    /// all that have one waited for such, none would ever end.
    async fn fetch<T, E, F, Fut>(
        &self,
        fetch: F,
        mut within: Vec<CacheId>,
    ) -> Result<(T, Duration), E>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let id: CacheId = (&raw const *self).addr();
        let _turn = if within.contains(&id) {
            None
        } else {
            within.push(id);
            Some(self.fetches.acquire().await.expect("the semaphore is never closed"))
        };
        let load = Load::begin(&self.counters);
        let began = self.clock.now_precisely();
        let fetched = FETCHING.scope(within, async { fetch().await }).await;
        let cost = self.clock.now_precisely().since(began);
        self.counters.fetch_took(cost);
        let fetched = fetched?;
        load.succeed();
        Ok((fetched, cost))
    }

    /// What a landing means to a reader that asked when `asked` was the newest purge. `None`: nothing,
    /// so it has to ask again. Either what was brought has been purged since its fetch began, perhaps
    /// before this reader asked; or the error is of a type this reader does not know.
    fn share<E: Send + Sync + 'static>(
        &self,
        landing: Landing<Brought<V>>,
        asked: Fence,
        whose: Whose,
        reason: Reason,
    ) -> Option<Result<Answer<V>, Failure<E>>> {
        let error = match landing {
            Landing::Landed(Brought::Value(delivery)) => {
                let is_older = delivery.fence < asked
                    && self.tags.standing(&delivery.tags, delivery.fence) != Standing::Untouched;
                let source = match whose {
                    Whose::Own => AnswerSource::Fetched(reason),
                    Whose::Anothers => AnswerSource::Collapsed(reason),
                };
                return (!is_older).then(|| {
                    Ok(Answer {
                        value: delivery.value.clone(),
                        source,
                        age: Duration::ZERO,
                        storage: delivery.storage,
                        cost: delivery.cost,
                    })
                });
            }
            // An error has no tags, so any purge since may have been meant for it.
            Landing::Landed(Brought::Error { fence, .. }) if fence < asked => return None,
            Landing::Landed(Brought::Error { error, .. }) => {
                FetchError::Failed(error.downcast().ok()?)
            }
            Landing::Landed(Brought::TookTooLong(limit)) => FetchError::Timeout { limit },
            Landing::Panicked => FetchError::Panicked,
        };
        let source = match whose {
            Whose::Own => FailureSource::Fetched(reason),
            Whose::Anothers => FailureSource::Collapsed(reason),
        };
        Some(Err(Failure { error, source }))
    }

    /// What was fetched, with the times and tags it will be stored with.
    fn dated(&self, key: &str, fetched: Fetched<V>, cost: Duration, fence: Fence) -> Dated<V> {
        let Fetched { value, keep, tags } = fetched;
        let mut refusal = None;
        let lifetime = match keep {
            Keep::Default => self.lifetime,
            Keep::Ttl(ttl) => Lifetime::fresh_for(ttl)
                .stale_while_revalidate(self.lifetime.revalidate_window())
                .stale_if_error(self.lifetime.rescue_window()),
            Keep::For(lifetime) => lifetime,
            Keep::No(reason) => {
                refusal = Some(reason);
                Lifetime::default()
            }
        };
        if lifetime.end().is_zero() {
            refusal = refusal.or(Some(Reason::NotStorable));
        }
        if tags.len() > MAX_TAGS_OF_ENTRY {
            refusal = Some(Reason::TooManyTags);
        }
        let ended = self.clock.now();
        let lifetime = if self.jitter > 0.0 {
            lifetime.shortened_by(self.jitter * self.memory.dice(key, ended))
        } else {
            lifetime
        };
        let facts = Facts {
            lifetime,
            fetched: ended,
            cost,
            tags: tags.iter().map(|tag| self.tags.id(tag)).collect(),
            fence,
        };
        Dated { value, facts, refusal }
    }

    /// Stores and counts.
    fn store(&self, key: &Arc<str>, fetched: &Dated<V>, fenced: impl FnOnce() -> bool) -> Storage {
        if let Some(reason) = fetched.refusal {
            return Storage::Not(reason);
        }
        let facts = fetched.facts.clone();
        let is_purged = || self.tags.standing(&facts.tags, facts.fence) == Standing::Purged;
        let entry = Entry::new(fetched.value.clone(), fetched.facts.clone());
        let heap_bytes = (self.weigher)(&entry.value).saturating_add(entry.own_heap_bytes());
        let fenced = || fenced() || is_purged();
        let stored = self.memory.put(Arc::clone(key), entry, heap_bytes, fenced);
        match stored {
            Stored::Yes { evicted } => {
                self.counters.evictions.add(evicted as u64);
                Storage::FreshFor(facts.lifetime.ttl())
            }
            Stored::TooLarge => {
                self.counters.too_large.increment();
                Storage::Not(Reason::TooLarge)
            }
            Stored::Fenced => Storage::Not(Reason::Purged),
        }
    }

    /// What there is for a reader whose fetch failed or takes too long, looked for anew: while it
    /// waited, time went on, and somebody may have purged or inserted.
    fn rescue(&self, key: &str, at_hand: AtHand, reason: Reason) -> Option<Answer<V>> {
        if let AtHand::Nothing = at_hand {
            return None;
        }
        match self.look(key) {
            Lookup::Fresh { answer, .. } => Some(answer),
            Lookup::Usable(mut stale) | Lookup::LastResort(mut stale) => {
                stale.source = AnswerSource::Stale(reason);
                self.stale_served(key, &stale);
                Some(stale)
            }
            Lookup::Miss(_) => None,
        }
    }

    fn stale_served(&self, key: &str, answer: &Answer<V>) {
        self.counters.stale_served(answer.cost);
        self.counters.tell(|| Event::StaleServed { key: key.into(), reason: answer.reason() });
    }

    fn remembered_error<E: Send + Sync + 'static>(&self, key: &str) -> Option<Arc<E>> {
        let negatives = self.negatives.as_ref()?;
        let now = self.clock.now();
        let fresh = negatives.memory.read(key, |entry| match entry.freshness(now) {
            Freshness::Fresh { .. } => Some(Arc::clone(&entry.value)),
            _ => None,
        });
        fresh??.downcast().ok()
    }

    fn remember_error<E>(&self, key: &Arc<str>, error: &AnyError, leader: &Leader<Brought<V>>) {
        let Some(negatives) = &self.negatives else { return };
        let facts = Facts {
            lifetime: Lifetime::fresh_for(negatives.ttl),
            fetched: self.clock.now(),
            cost: Duration::ZERO,
            tags: Box::default(),
            fence: leader.fence(),
        };
        // What an error owns beyond itself is not known; errors are small, and there are few.
        let heap_bytes = size_of::<E>();
        let entry = Entry::new(Arc::clone(error), facts);
        // An error has no tags, so any purge since may have been meant for it.
        let fenced = || leader.is_revoked() || self.tags.fence() != leader.fence();
        negatives.memory.put(Arc::clone(key), entry, heap_bytes, fenced);
    }

    fn forget_error(&self, key: &str) {
        if let Some(negatives) = &self.negatives {
            negatives.memory.remove(key);
        }
    }

    fn forget_errors_where(&self, is_named: impl Fn(&str) -> bool) {
        if let Some(negatives) = &self.negatives {
            negatives.memory.remove_where(is_named);
        }
    }

    fn forget_errors(&self) {
        if let Some(negatives) = &self.negatives {
            negatives.memory.clear();
        }
    }

    fn purged(&self, what: impl FnOnce() -> String, soft: bool) {
        self.counters.purges.increment();
        self.counters.tell(|| Event::Purged { what: what(), soft });
    }
}

impl<V: Clone + Send + Sync + 'static> Sweep for Shared<V> {
    fn sweep(&self) -> usize {
        let now = self.clock.now();
        let expired = self.memory.sweep(now);
        let errors = self.negatives.as_ref().map_or(0, |all| all.memory.sweep(now));
        self.counters.expired.add((expired + errors) as u64);
        expired + errors
    }
}

/// A value on its way into the cache.
struct Dated<V> {
    value: V,
    facts: Facts,
    /// Why it does not get there.
    refusal: Option<Reason>,
}

impl<V> Dated<V> {
    fn delivery(self, storage: Storage) -> Delivery<V> {
        let Facts { cost, tags, fence, .. } = self.facts;
        Delivery { value: self.value, cost, tags, fence, storage }
    }
}

fn entry_answer<V: Clone>(
    entry: &Entry<V>,
    now: Moment,
    source: AnswerSource,
    storage: Storage,
) -> Answer<V> {
    let (value, cost) = (entry.value.clone(), entry.cost());
    Answer { value, source, age: entry.age(now), storage, cost }
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
        Cache { shared: Arc::clone(&self.shared), _owner: Arc::clone(&self._owner) }
    }
}

impl<V> fmt::Debug for Cache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("name", &self.shared.name).finish_non_exhaustive()
    }
}
