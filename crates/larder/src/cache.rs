//! Cache: what an application calls, and in which order a look-up goes on; a miss goes on in `cache/miss.rs`.

mod below;
mod blocking;
pub(crate) mod dry_run;
mod landing;
mod list;
mod many;
pub(crate) mod map;
mod miss;
mod negative;
mod previous;
mod purge;
mod read;
#[cfg(all(test, not(shuttle)))]
mod storm;

use std::{convert::Infallible, fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use larder_policy::{
    class::Class,
    freshness::{Freshness, Lifetime},
    reason::Reason,
};
use tokio::time::timeout;

use self::{
    below::Beneath,
    landing::FlightResult,
    miss::AtHand,
    negative::Negatives,
    read::{ReadOptions, Wants},
};
pub use self::{previous::Previous, read::Read};
#[cfg(feature = "http")]
use crate::tier::memory;
use crate::{
    answer::{Answer, EntryView, Failure, Storage},
    builder::{BuildError, Builder},
    claim::{Claims, Instance},
    engine::{
        Engine,
        change::Nothing,
        flight::Flights,
        look::{ANY_AGE, Found, Lookup, Seen, Shape},
        purge::Named,
        refresh::Refreshes,
        store::{Dated, Unstored},
        tasks::Tasks,
    },
    entry::{Fetched, Keep},
    error::FetchError,
    key::CacheKey,
    purge::Fence,
    shape::KeyShape,
    span::FetchSpan,
    stats::{Events, LowerStats, Stats},
    sweeper::{self, Sweep},
    tier::{
        lower::{Forget, Forgotten, Health, LowerError, OutboxFile},
        memory::{Burial, Pace},
    },
    weigh::Weigh,
};

/// Slots that the sweep of each second looks at, or a quarter as many that it takes out: some milliseconds'
/// work, and no more than a fifth of a second's. What expires is found without looking at all; what a purge
/// has ended is not, and with millions of entries takes some seconds.
const SLOTS_PER_SWEEP: usize = 1 << 19;

/// A cache of values by key. Clones share one cache.
///
/// Values are handed out as clones: make them cheap to clone (an `Arc`, `Bytes`). A hit clones under the
/// read lock of a part of the cache, so that a `Clone` of your own must not call the cache. All else of
/// yours that the cache runs (`Drop`, weigher, fetches, closures, the [hook](Builder::on_removed)) may: no lock
/// is held then. What a value's `Drop` or the hook inserts makes nothing else go, and is not stored where there
/// is no room for it.
///
/// A `Drop` that panics costs nothing but itself: the value is gone, its room is free, and so is it with
/// the others that were to go. [`remove`](Cache::remove), [`take`](Cache::take), [`clear`](Cache::clear),
/// [`purge_prefix`](Cache::purge_prefix), [`retain_local`](Cache::retain_local), [`resize`](Cache::resize) and
/// [`sweep`](Cache::sweep) then panic in the end; whoever stores something, and the sweeping in the background,
/// does not. So it is with a hook that panics.
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
    library: Arc<Library<V>>,
    _owner: Arc<Owner>,
}

/// Ends the cache's tasks, and gives up what waits: both hold the library's part.
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

/// What clones of a cache share: the engine, and what the library's order of steps needs beside it.
struct Library<V> {
    engine: Engine<V>,
    name: String,
    /// How long an entry is kept if nothing else is said about it.
    lifetime: Lifetime,
    flights: Arc<Flights<FlightResult<V>>>,
    negatives: Negatives,
    claims: Claims,
    beneath: Option<Beneath<V>>,
    /// Who makes something new of what is stored: see `engine/change.rs`.
    computes: Arc<Flights<Nothing>>,
}

/// What a look-up leads to.
enum Next<V, F> {
    /// The answer is there, and all else is done.
    Served(Answer<V>),
    /// The answer is what this brings.
    Fill(Pin<Box<F>>),
}

impl<V> Cache<V> {
    /// Settings for a cache whose values know what they weigh: what the standard library has, and what derives
    /// [`Weigh`].
    ///
    /// ```
    /// use larder::{Cache, Weigh};
    ///
    /// #[derive(Clone, Weigh)]
    /// struct Post {
    ///     id: u64,
    ///     title: String,
    /// }
    ///
    /// let posts = Cache::<Post>::builder().build();
    /// ```
    // The bound is the function's own. Were it that of the `impl`, the compiler would say that there is no such
    // function, and nothing of what `Weigh` says about types that lack it.
    pub fn builder() -> Builder<V>
    where
        V: Weigh + 'static,
    {
        Builder::new(Arc::new(V::heap_bytes))
    }
}

impl<V: Clone + Send + Sync + 'static> Builder<V> {
    /// The cache. Dropping its last clone ends its refreshes and frees it.
    ///
    /// Each reader is given a clone of the value, made under a read lock of the cache: see [`Cache`] for what a
    /// `Clone` must not do there.
    ///
    /// # Panics
    ///
    /// If the settings make no sense; [`try_build`](Builder::try_build) says so instead.
    pub fn build(self) -> Cache<V> {
        self.try_build().unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`build`](Builder::build), for settings that come from outside.
    ///
    /// # Errors
    ///
    /// The first setting that makes no sense.
    pub fn try_build(self) -> Result<Cache<V>, BuildError> {
        self.check()?;
        Ok(Cache::from_builder(self))
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
    fn from_builder(builder: Builder<V>) -> Self {
        #[cfg(feature = "http")]
        let builder =
            Builder { on_removed: builder.on_removed.map(memory::that_can_wait), ..builder };
        let mut builder = builder;
        let outbox = builder.outbox.take();
        let max_bytes = builder.bound_bytes();
        let negatives = Negatives::new(&builder);
        let engine = Engine::new(&builder, max_bytes - negatives.max_bytes(), outbox);
        let (tasks, refreshes) = (engine.tasks().clone(), Arc::clone(engine.refreshes()));
        let codec = builder.below.as_ref().and_then(|below| below.codec.as_ref());
        let beneath = codec
            .zip(engine.lower())
            .map(|(codec, lower)| Beneath::new(lower, codec, &builder.name));
        let library = Arc::new(Library {
            flights: engine.flights(beneath.is_some()),
            computes: engine.flights(false),
            engine,
            name: builder.name,
            lifetime: builder.lifetime,
            negatives,
            claims: Claims::new(),
            beneath,
        });
        library.engine.listen(&library);
        library.engine.listen(&library.computes);
        if let Some(lower) = library.engine.lower() {
            lower.lies_below(&library);
        }
        if library.engine.clock().is_system() {
            sweeper::watch(&library);
        }
        Cache { library, _owner: Arc::new(Owner { tasks, refreshes }) }
    }

    /// For who looks at what is stored: the HTTP cache, and whoever lists it.
    pub(crate) fn engine(&self) -> &Engine<V> {
        &self.library.engine
    }

    /// The name it was built with.
    pub fn name(&self) -> &str {
        &self.library.name
    }

    /// Says that the keys of this shape are those of one function with certain types, and goes on. Two
    /// with a key in common would return each other's values. `#[cached]` calls it at each call of a
    /// function; `shape` is asked at the first.
    ///
    /// # Panics
    ///
    /// If another function has claimed one of them, or this one with other types, with the places of both.
    pub fn claim_keys(&self, instance: &Instance, shape: impl FnOnce() -> KeyShape) -> &Self {
        if let Err(clash) = self.library.claims.claim(instance, shape) {
            panic!("in the cache {:?} {clash}", self.library.name);
        }
        self
    }

    /// The fresh value under `key`, if there is one. Needs no runtime; starts nothing.
    pub fn get<'k>(&self, key: impl Into<CacheKey<'k>>) -> Option<V> {
        let key = key.into();
        match self.library.engine.find(key.as_str()) {
            Found::Plain(value) => Some(value),
            Found::Other(seen) => self.get_on(key.as_str(), seen),
        }
    }

    fn get_on(&self, key: &str, seen: Seen) -> Option<V> {
        match self.library.engine.look_on(key, seen, ANY_AGE) {
            Lookup::Usable { answer, shape: Shape::Fresh | Shape::Aging } => Some(answer.value),
            Lookup::Usable { shape: Shape::Stale, .. }
            | Lookup::LastResort(_)
            | Lookup::Miss(_) => {
                self.library.engine.counters().misses.increment();
                None
            }
        }
    }

    /// What is stored under `key`, without touching it: nothing is counted, nothing marked as used.
    pub fn entry<'k>(&self, key: impl Into<CacheKey<'k>>) -> Option<EntryView<V>> {
        let engine = &self.library.engine;
        let now = engine.now();
        engine.peek(key.into().as_str(), |entry| EntryView {
            value: entry.value.clone(),
            age: entry.age(now),
            lifetime: entry.lifetime(),
            freshness: engine.freshness(entry, now).unwrap_or(Freshness::Expired),
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
        let engine = &self.library.engine;
        let key = key.into().into_shared();
        let _until_stored = engine.replace_below(&key);
        engine.reach(Named::Keys(&[&key])).pass_over();
        engine.forget_backoff(&key);
        let fetched = self.library.dated(&key, fetched, Duration::ZERO, engine.position());
        let storage = engine.store_whole(&key, fetched);
        if let Storage::Not(_) = storage {
            engine.take_out(&key).pass_over();
        }
        storage
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
        // In a block, so that the key is no part of the future that waits.
        let filling = {
            let key = key.into();
            let seen = match self.library.engine.find(key.as_str()) {
                Found::Plain(value) => {
                    drop_before(fetch, &value);
                    return value;
                }
                Found::Other(seen) => seen,
            };
            let fetch = |_: &_, _: &_| async { Ok::<T, Infallible>(fetch().await) };
            match self.go_on(key, seen, fetch, ReadOptions::of(Wants::Value)) {
                Next::Served(answer) => return answer.value,
                Next::Fill(filling) => filling,
            }
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
    /// was built with a negative TTL); [`FetchError`] for what else can go wrong. An `E` says what
    /// went wrong (`Display`), which [`events`](Cache::events) tell. It does not wait where too much is under way ([`FetchError::TooMany`]), as [`get_or_fetch`](Cache::get_or_fetch) does.
    pub async fn try_get_or_fetch<'k, T, E, F, Fut>(
        &self,
        key: impl Into<CacheKey<'k>>,
        fetch: F,
    ) -> Result<V, FetchError<E>>
    where
        T: Into<Fetched<V>> + Send,
        E: fmt::Display + Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        let filling = {
            let key = key.into();
            let seen = match self.library.engine.find(key.as_str()) {
                Found::Plain(value) => {
                    drop_before(fetch, &value);
                    return Ok(value);
                }
                Found::Other(seen) => seen,
            };
            let fetch = |_: &_, _: &_| fetch();
            match self.go_on(key, seen, fetch, ReadOptions::of(Wants::Answer)) {
                Next::Served(answer) => return Ok(answer.value),
                Next::Fill(filling) => filling,
            }
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
        E: fmt::Display + Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        self.read(key).answer(fetch).await
    }

    /// Fetches `key` now, whatever is stored, and stores what that brings: for whoever knows that the origin
    /// has something newer. Short for [`read`](Cache::read) with
    /// [`force_refresh`](Read::force_refresh), which says what it does beside another fetch of the key.
    ///
    /// This is no purge. Until the fetch ends, readers get what is stored; if it fails, they go on getting
    /// it, and only the caller is told. Where an old value must not be served any more,
    /// [`remove`](Cache::remove) it.
    ///
    /// ```
    /// # use larder::Cache;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let prices = Cache::<u32>::builder_with_weigher(|_| 0).build();
    /// prices.insert("tea", 3);
    /// let failed = prices.refresh("tea", async || Err::<u32, _>("the shop is closed")).await;
    /// assert!(failed.is_err() && prices.get("tea") == Some(3));
    /// let price = prices.refresh("tea", async || Ok::<u32, String>(4)).await;
    /// assert_eq!((price.unwrap(), prices.get("tea")), (4, Some(4)));
    /// # }
    /// ```
    ///
    /// Dropping the returned future leaves a fetch that has begun alone: its value is stored.
    ///
    /// # Errors
    ///
    /// As [`try_get_or_fetch`](Cache::try_get_or_fetch), but never a remembered one.
    pub async fn refresh<'k, T, E, F, Fut>(
        &self,
        key: impl Into<CacheKey<'k>>,
        fetch: F,
    ) -> Result<V, FetchError<E>>
    where
        T: Into<Fetched<V>> + Send,
        E: fmt::Display + Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        self.read(key).force_refresh().fetch(fetch).await
    }

    /// Reads `key` with wishes of this call's own; [`fetch`](Read::fetch) or another of its kind then does it.
    pub fn read<'k>(&self, key: impl Into<CacheKey<'k>>) -> Read<'_, 'k, V> {
        Read::new(self, key.into())
    }

    /// The one function that holds the order of steps, for all but a plain hit. No future, so that what was
    /// found is in none: a large value would make the future of every reader several times as large.
    fn go_on<'a, T, E, F, Fut>(
        &'a self,
        key: CacheKey<'_>,
        seen: Seen,
        fetch: F,
        options: ReadOptions,
    ) -> Next<V, impl Future<Output = Result<Box<Answer<V>>, Failure<E>>> + use<'a, V, T, E, F, Fut>>
    where
        T: Into<Fetched<V>> + Send,
        E: fmt::Display + Send + Sync + 'static,
        F: FnOnce(&Library<V>, &str) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        let library = &self.library;
        let lookup = match options.since {
            None => library.engine.look_on(key.as_str(), seen, options.max_age),
            Some(_) => Lookup::Miss(Reason::RequestNoCache),
        };
        let (reason, at_hand) = match lookup {
            Lookup::LastResort(Answer { storage: Storage::FreshFor(_), .. }) => {
                (Reason::RequestMaxAge, AtHand::Stale)
            }
            Lookup::LastResort(_) => (Reason::Expired, AtHand::Stale),
            // Whoever forces a fetch wants to know how it went.
            Lookup::Miss(reason @ Reason::RequestNoCache) => (reason, AtHand::Nothing),
            Lookup::Miss(reason) if library.beneath.is_some() => (reason, AtHand::Perhaps),
            Lookup::Miss(reason) => (reason, AtHand::Nothing),
            // One arm, for in each an answer would have its own place on the stack.
            Lookup::Usable { answer, shape } => {
                if shape == Shape::Stale {
                    library.stale_served(key.as_str(), &answer);
                }
                match shape {
                    Shape::Fresh => drop_before(fetch, &answer),
                    Shape::Aging | Shape::Stale => library.refresh(key, answer.cost, fetch),
                }
                return Next::Served(answer);
            }
        };
        let key = key.into_shared();
        // In a box, for the future of a hit would otherwise be as large as that of a miss, and moving it
        // about takes a quarter of a hit's instructions.
        Next::Fill(Box::pin(async move {
            let span = FetchSpan::of_reader();
            let fetch = move |library: &Library<V>, key: &str| {
                let fetching = span.call(|| fetch(library, key));
                span.around(fetching)
            };
            let join = || library.join(&key, reason, fetch, options);
            library.miss(&key, at_hand, options, join).await
        }))
    }

    /// What the cache did so far and holds now.
    pub fn stats(&self) -> Stats {
        let Library { engine, negatives, .. } = &*self.library;
        let (entries, bytes) = engine.size();
        let (errors, error_bytes) = negatives.size();
        let max_bytes = engine.max_bytes() + negatives.max_bytes();
        let nothing_below = LowerStats { is_trusted: true, ..LowerStats::default() };
        Stats {
            entries: (entries + errors) as u64,
            bytes: (bytes + error_bytes) as u64,
            max_bytes: (max_bytes < usize::MAX).then_some(max_bytes as u64),
            tags: engine.purged_tags() as u64,
            lower: engine.lower().map_or(nothing_below, |lower| lower.stats()),
            ..engine.counters().snapshot()
        }
    }

    /// Whether the tier below memory answers. `None`: there is none. Above a tier that knows its readers this is
    /// never older than a second or two, for the cache asks it all the time.
    pub fn lower_health(&self) -> Option<Health> {
        self.library.engine.lower().map(|lower| lower.health())
    }

    /// Why the file of the [outbox](crate::Builder::outbox) is not written, for people. `None`: it is, or there is none.
    pub fn outbox_failure(&self) -> Option<String> {
        self.library.engine.lower()?.outbox_failure().map(|reason| reason.to_string())
    }

    /// Has the tier below forget readers that went without a word, by the name that a receipt calls them
    /// ([`TierState::Lapsed`](crate::TierState::Lapsed)): purges wait for one that was killed, and a server that is
    /// restarted begins another log without it, until it has been silent for an hour. By itself it is safe: one that is
    /// alive is not forgotten, and one that was only silent is a reader again when it says something.
    ///
    /// # Errors
    ///
    /// There is no tier below, it does not know its readers, or it does not answer.
    pub async fn forget_reader(&self, name: &str, whom: Forget) -> Result<Forgotten, LowerError> {
        match self.library.engine.lower() {
            Some(lower) => lower.forget(name, whom).await,
            None => Err(LowerError::Failed("there is none".into())),
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
        self.library.engine.serve_while_revalidating(on);
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
        let Library { engine, negatives, .. } = &*self.library;
        let share = negatives.share_of(max_bytes);
        let errors = negatives.resize(share);
        let burial = engine.resize(max_bytes - share).and(errors);
        let evicted = burial.entries;
        engine.counters().evictions.add(evicted as u64);
        burial.resume();
        evicted
    }

    /// What the cache does from now on, one event after the other.
    pub fn events(&self) -> Events {
        self.library.engine.counters().events()
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
        let burial = self.library.sweep_at(Pace::Whole);
        let count = burial.entries;
        burial.resume();
        count
    }

    /// Gives the outbox's file up for another process that takes this one's place ([`OutboxFile::open`]): what waits is in
    /// it by then, and is still sent from here as well. Purges of later are in memory alone, and their receipts say so.
    /// False: there is no such file, or somebody still used it after `within`.
    ///
    /// Dropping this leaves it given up.
    ///
    /// [`OutboxFile::open`]: crate::lower::OutboxFile::open
    pub async fn release_outbox(&self, within: Duration) -> bool {
        match self.library.engine.lower() {
            Some(lower) => lower.release_outbox(within).await,
            None => false,
        }
    }

    /// Takes the outbox's file again that was [given up](Cache::release_outbox), where nobody else has made purges since.
    /// It does nothing without a tier below memory.
    pub fn resume_outbox(&self, file: OutboxFile) {
        if let Some(lower) = self.library.engine.lower() {
            lower.resume_outbox(file);
        }
    }

    /// Gives up the refreshes that wait, lets what runs end within `within`, and stops the rest.
    /// True if nothing had to be stopped. What runs includes what is on its way to a tier below memory. What asks for
    /// a fetch afterwards gets [`FetchError::ShutDown`], or has it run in its own future
    /// ([`get_or_fetch`](Cache::get_or_fetch)); what is stored is still served. Not so above a tier that knows its
    /// readers: it is told that this one is no more, so that purges no longer wait for it.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn shut_down(&self, within: Duration) -> bool {
        let engine = &self.library.engine;
        engine.close();
        let over = async {
            engine.tasks().ended().await;
            if let Some(lower) = engine.lower() {
                lower.keep().await;
                lower.leave().await;
            }
        };
        let in_time = timeout(within, over).await.is_ok();
        engine.tasks().stop();
        in_time
    }
}

/// Drops a fetch that is not needed, which is the caller's code and may panic, while what is about to be
/// returned is still a variable. Dropped at the end of its function it would leak that if it panics
/// (rust-lang/rust#47949).
fn drop_before<F, R>(fetch: F, _result: &R) {
    drop(fetch);
}

impl<V: Clone + Send + Sync + 'static> Library<V> {
    /// What was fetched, with what it will be stored with where it does not say so itself.
    fn dated(&self, key: &str, fetched: Fetched<V>, cost: Duration, fence: Fence) -> Dated<V> {
        let Fetched { value, keep, skip: refusal, tags } = fetched;
        let lifetime = match keep {
            Keep::Default => self.lifetime,
            Keep::FreshFor(ttl) => Lifetime::fresh_for(ttl)
                .stale_while_revalidate(self.lifetime.revalidate_window())
                .stale_if_error(self.lifetime.rescue_window()),
            Keep::For(lifetime) => lifetime,
        };
        self.engine.dated(
            key,
            Unstored { value, lifetime, tags, refusal, class: Class::NONE },
            cost,
            fence,
        )
    }

    fn sweep_at(&self, pace: Pace) -> Burial {
        let judge = self.engine.judge_now();
        let errors = self.negatives.sweep(judge.now(), pace);
        let burial = self.engine.sweep(&judge, pace).and(errors);
        self.engine.counters().expired.add(burial.entries as u64);
        burial
    }
}

impl<V: Clone + Send + Sync + 'static> Sweep for Library<V> {
    fn sweep_some(&self) {
        self.sweep_at(Pace::UpTo(SLOTS_PER_SWEEP)).pass_over();
    }
}

// Derived code would ask for `V: Clone`.
impl<V> Clone for Cache<V> {
    fn clone(&self) -> Self {
        Cache { library: Arc::clone(&self.library), _owner: Arc::clone(&self._owner) }
    }
}

impl<V> fmt::Debug for Cache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("name", &self.library.name).finish_non_exhaustive()
    }
}
