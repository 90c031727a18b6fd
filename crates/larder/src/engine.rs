//! Engine: what both conductors play on, the library's cache and the HTTP cache: look · join · store · purge ·
//! refresh.
//!
//! It knows keys, values, what purges name, and time. What a fetch is, and what its flight brings to those who
//! wait, each conductor knows for itself.

pub(crate) mod backoff;
pub(crate) mod change;
pub(crate) mod flight;
pub(crate) mod list;
mod list_tags;
pub(crate) mod look;
pub(crate) mod lower;
pub(crate) mod purge;
pub(crate) mod refresh;
pub(crate) mod store;
mod tag_names;
pub(crate) mod tasks;

use std::{
    any::Any,
    fmt::Display,
    num::NonZeroU32,
    sync::{Arc, OnceLock, PoisonError},
    time::Duration,
};

use self::{
    backoff::Backoffs,
    flight::{Flights, Join, Leader},
    look::Hits,
    lower::Lower,
    purge::Listeners,
    refresh::Refreshes,
    tag_names::TagNames,
    tasks::Tasks,
};
#[cfg(feature = "http")]
use larder_policy::class::Class;

#[cfg(feature = "http")]
use crate::tier::memory::{Bound, ClassHeld, MostRead};
use crate::{
    builder::{Builder, Weigher},
    clock::{Clock, Moment},
    entry::Entry,
    error::text_of,
    gone::Times,
    purge::{
        Fence,
        follow::Followers,
        judge::Judge,
        last::PurgeState,
        log::PurgeLog,
        tags::{TagId, TagKey},
    },
    stats::{Counters, Event},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    tier::{
        lower::OutboxFile,
        memory::{Burial, Eviction, Limits, MemoryTier, Pace, RemovalCause},
    },
    turns::Turns,
};

/// Keys whose refreshes are held back after a failure.
const MAX_BACKOFFS: usize = 1024;
/// Refreshes that wait for their turn.
const MAX_WAITING_REFRESHES: usize = 1024;
/// Keys that are fetched, or wait for it, for each fetch that may run; but at least so many.
const FLIGHTS_PER_FETCH: usize = 16;
const MIN_FLIGHTS: usize = 1024;

/// One cache's tiers, purges, tasks and figures.
pub(crate) struct Engine<V> {
    clock: Clock,
    /// The time of day at its moments.
    times: Times,
    weigher: Weigher<V>,
    memory: MemoryTier<V>,
    /// What lies below memory, if anything does.
    lower: Option<Arc<Lower>>,
    /// Every purge has its number from here.
    purges: PurgeLog,
    /// The tables of flights, by what those bring.
    tables: Mutex<Vec<Arc<dyn Any + Send + Sync>>>,
    /// Who has flights under way that a purge has to reach.
    listeners: Listeners,
    /// Who is told of purges that were made.
    followers: Followers,
    /// What tags are called, once somebody wants to know.
    tag_names: OnceLock<TagNames>,
    backoffs: Backoffs,
    refreshes: Arc<Refreshes>,
    tasks: Tasks,
    counters: Counters,
    jitter: f64,
    refresh_ahead: Option<f64>,
    hits: Hits,
    /// After so many seconds without a reader an entry is over.
    time_to_idle: Option<NonZeroU32>,
    /// Whether a stale entry may be served while it is refreshed, if its window says so.
    serves_while_revalidating: AtomicBool,
    max_fetches: usize,
    /// How long a reader waits for a fetch where something stale would do.
    pub(crate) soft_timeout: Option<Duration>,
    /// How long a fetch may take.
    pub(crate) hard_timeout: Option<Duration>,
}

impl<V> Engine<V> {
    /// Nothing is stored yet. `max_bytes`: what entries may weigh. `outbox`: where purges on their way below are kept.
    pub(crate) fn new(builder: &Builder<V>, max_bytes: usize, outbox: Option<OutboxFile>) -> Self {
        let tasks = Tasks::new();
        let lower = builder.below.as_ref().map(|below| {
            let tier = Arc::clone(&below.tier);
            Lower::new(tier, below.settings, builder.clock.clone(), tasks.clone(), outbox)
        });
        let time_to_idle = builder.time_to_idle.and_then(whole_seconds);
        Engine {
            times: Times::of(&builder.clock),
            clock: builder.clock.clone(),
            weigher: Arc::clone(&builder.weigher),
            memory: MemoryTier::new(Limits {
                max_bytes,
                max_entries: builder.max_entries,
                max_entry_bytes: builder.max_entry_bytes,
                eviction: builder.eviction,
            })
            .with_hook(builder.on_removed.clone()),
            lower,
            purges: PurgeLog::new(builder.max_tags, builder.tag_key.unwrap_or_else(TagKey::random)),
            tables: Mutex::default(),
            listeners: Listeners::none(),
            followers: Followers::default(),
            tag_names: OnceLock::new(),
            backoffs: Backoffs::new(MAX_BACKOFFS),
            refreshes: Refreshes::new(
                builder.max_concurrent_refreshes,
                MAX_WAITING_REFRESHES,
                tasks.clone(),
            ),
            tasks,
            counters: Counters::new(),
            jitter: builder.jitter,
            refresh_ahead: builder.refresh_ahead,
            hits: match builder.eviction {
                Eviction::S3Fifo if time_to_idle.is_some() => Hits::MarkedWithTime,
                Eviction::S3Fifo => Hits::Marked,
                Eviction::Lru => Hits::Moved,
            },
            time_to_idle,
            serves_while_revalidating: AtomicBool::new(true),
            max_fetches: builder.max_concurrent_fetches,
            soft_timeout: builder.soft_timeout,
            hard_timeout: builder.hard_timeout,
        }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    pub(crate) fn refreshes(&self) -> &Arc<Refreshes> {
        &self.refreshes
    }

    /// What lies below memory, if anything does.
    pub(crate) fn lower(&self) -> Option<&Arc<Lower>> {
        self.lower.as_ref()
    }

    /// Until then hits need not ask what other processes have purged.
    pub(crate) fn trust_until(&self, moment: Moment) {
        self.purges.trust_until(moment);
    }

    /// How many fetches may run at once.
    #[cfg(feature = "http")]
    pub(crate) fn max_fetches(&self) -> usize {
        self.max_fetches
    }

    /// The table of the flights that bring an `R`: one for all who ask for it, so that they share flights. Its
    /// leaders `look_below` memory first, or fetch at once. As many keys may be under way as the builder's bound of
    /// fetches allows; which of them may fetch, the conductor says.
    pub(crate) fn flights<R: Send + Sync + 'static>(&self, look_below: bool) -> Arc<Flights<R>> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let known = tables.iter().find_map(|table| Arc::clone(table).downcast().ok());
        known.unwrap_or_else(|| {
            let max = self.max_fetches.saturating_mul(FLIGHTS_PER_FETCH).max(MIN_FLIGHTS);
            let turns = Turns::new(self.max_fetches);
            let table: Arc<Flights<R>> = Flights::new(max, turns, look_below);
            tables.push(Arc::clone(&table) as Arc<dyn Any + Send + Sync>);
            table
        })
    }

    /// How many purges there were so far: the fence of what begins now.
    pub(crate) fn position(&self) -> Fence {
        self.purges.position()
    }

    /// The last purge that what is brought to a reader who asks now has to be looked up for.
    pub(crate) fn asked_at(&self) -> Fence {
        self.purges.last_in_table()
    }

    /// The flight of the whole of `key`: led, or followed.
    pub(crate) fn join<R>(&self, flights: &Arc<Flights<R>>, key: &Arc<str>) -> Join<R> {
        flights.join(key, || self.purges.position())
    }

    /// The same for a reader that is never one too many.
    pub(crate) fn join_anyway<R>(&self, flights: &Arc<Flights<R>>, key: &Arc<str>) -> Join<R> {
        flights.join_anyway(key, || self.purges.position())
    }

    /// The flights of the whole of each of `keys`, those that are led with one fetch for all. `None`: they are
    /// too many, and it is not `anyway`.
    pub(crate) fn join_several<R>(
        &self,
        flights: &Arc<Flights<R>>,
        keys: &[Arc<str>],
        asked: Fence,
        first_to_share: Option<u64>,
        anyway: bool,
    ) -> Option<Vec<Join<R>>> {
        flights.join_several(keys, asked, first_to_share, anyway, || self.purges.position())
    }

    /// The flight of what this collapse key of `key` stands for.
    #[cfg(feature = "http")]
    pub(crate) fn join_collapse_key<R>(
        &self,
        flights: &Arc<Flights<R>>,
        key: &Arc<str>,
        collapse_key: &str,
    ) -> Join<R> {
        flights.join_collapse_key(key, collapse_key, || self.purges.position())
    }

    /// A flight of `key` that nobody joins. `None`: as many keys are being fetched as may.
    #[cfg(feature = "http")]
    pub(crate) fn lead_alone<R>(
        &self,
        flights: &Arc<Flights<R>>,
        key: &Arc<str>,
    ) -> Option<Leader<R>> {
        flights.lead_alone(key, || self.purges.position())
    }

    /// The same for a request that goes on its way whether or not there is a flight.
    pub(crate) fn lead_uncounted<R>(&self, flights: &Arc<Flights<R>>, key: &Arc<str>) -> Leader<R> {
        flights.lead_uncounted(key, || self.purges.position())
    }

    /// Whether what carries `tags`, and whose fetch began at `fence`, is too old for a reader who asked when
    /// `asked` was the last purge in the table: it has been purged since its fetch began, perhaps before
    /// this reader asked.
    pub(crate) fn is_too_old(&self, tags: &[TagId], fence: Fence, asked: Fence) -> bool {
        fence < asked && self.purges.state(tags, fence) != PurgeState::Untouched
    }

    /// Whether a purge since `fence` may have been meant for something whose tags nobody knows: a failure has
    /// none.
    pub(crate) fn may_be_purged(&self, fence: Fence) -> bool {
        self.purges.last_in_table() > fence
    }

    /// By which numbers a purge finds what carries these tags.
    pub(crate) fn tag_ids<'a>(&self, tags: impl IntoIterator<Item = &'a str>) -> Box<[TagId]> {
        tags.into_iter().map(|tag| self.purges.tag(tag)).collect()
    }

    /// The key by which they become numbers.
    pub(crate) fn tag_key(&self) -> TagKey {
        self.purges.tag_key()
    }

    /// What is over now.
    pub(crate) fn judge_now(&self) -> Judge<'_> {
        Judge::new(self.clock.now(), &self.purges)
    }

    /// How many tags have been purged and are remembered.
    pub(crate) fn purged_tags(&self) -> usize {
        self.purges.tags()
    }

    /// How many entries there are, and what they weigh.
    pub(crate) fn size(&self) -> (usize, usize) {
        self.memory.size()
    }

    pub(crate) fn max_bytes(&self) -> usize {
        self.memory.max_bytes()
    }

    /// What one entry of this class may weigh.
    #[cfg(feature = "http")]
    pub(crate) fn max_entry_bytes_of(&self, class: Class) -> usize {
        self.memory.max_entry_bytes_of(class)
    }

    /// What the entries of a class hold.
    #[cfg(feature = "http")]
    pub(crate) fn held_by(&self, class: Class) -> ClassHeld {
        self.memory.held_by(class)
    }

    /// Bounds what the entries of a class weigh together.
    #[cfg(feature = "http")]
    pub(crate) fn bound_class(&self, class: Class, max_bytes: usize) {
        let burial = self.memory.bound_class(class, max_bytes, &self.judge_now());
        self.counters.evictions.add(burial.entries as u64);
        burial.pass_over();
    }

    /// What the store may hold, and what lives outside it at its expense.
    #[cfg(feature = "http")]
    pub(crate) fn bound(&self) -> &Arc<Bound> {
        self.memory.bound()
    }

    /// Lets entries go where what lives outside the store needs their room.
    #[cfg(feature = "http")]
    pub(crate) fn make_room(&self) {
        if self.memory.is_exceeded() {
            let burial = self.memory.make_room(&self.judge_now());
            self.counters.evictions.add(burial.entries as u64);
            burial.pass_over();
        }
    }

    /// Up to `most` keys of what is not over, in no order.
    pub(crate) fn keys(&self, most: usize) -> Vec<String> {
        self.memory.keys(most, &self.judge_now())
    }

    /// What was read most of what is wanted ([`MemoryTier::most_read`]).
    #[cfg(feature = "http")]
    pub(crate) fn most_read(
        &self,
        most: usize,
        is_wanted: impl FnMut(&str, &Entry<V>) -> bool,
    ) -> MostRead {
        self.memory.most_read(most, &self.judge_now(), is_wanted)
    }

    /// The same of these keys alone.
    #[cfg(feature = "http")]
    pub(crate) fn most_read_of<'k>(
        &self,
        keys: impl Iterator<Item = &'k str>,
        most: usize,
        is_wanted: impl FnMut(&str, &Entry<V>) -> bool,
    ) -> MostRead {
        self.memory.most_read_of(keys, most, &self.judge_now(), is_wanted)
    }

    /// Shows what is not over until `go_on` says that it is enough ([`MemoryTier::show`]).
    #[cfg(feature = "http")]
    pub(crate) fn show(
        &self,
        see: impl FnMut(&str, &Entry<V>),
        go_on: impl FnMut() -> bool,
    ) -> bool {
        self.memory.show(&self.judge_now(), see, go_on)
    }

    /// `look` at what is stored under `key`, without marking it as used.
    pub(crate) fn peek<R>(&self, key: &str, look: impl FnOnce(&Entry<V>) -> R) -> Option<R> {
        self.memory.peek(key, look)
    }

    /// Takes what is stored under `key` out, without a purge. Whoever stores something else there calls this.
    pub(crate) fn take_out(&self, key: &str) -> Burial {
        self.memory.remove(key, &self.judge_now(), RemovalCause::Replaced).1
    }

    /// Changes the bound in bytes; the burial tells how many entries had to go.
    pub(crate) fn resize(&self, max_bytes: usize) -> Burial {
        self.memory.resize(max_bytes, &self.judge_now())
    }

    /// Lets go what can no longer be served to anybody.
    pub(crate) fn sweep(&self, judge: &Judge<'_>, pace: Pace) -> Burial {
        self.memory.sweep(judge, pace)
    }

    pub(crate) fn serve_while_revalidating(&self, on: bool) {
        self.serves_while_revalidating.store(on, Ordering::Relaxed);
    }

    /// A fetch failed with this error, or will never end.
    pub(crate) fn tell_failed(&self, key: &Arc<str>, error: &dyn Display) {
        let event = || Event::FetchFailed { key: Arc::clone(key), error: text_of(error) };
        self.counters.tell(event);
    }

    /// A fetch begins. Unless it is told of its success (it fails, panics, is dropped), it counts as a failed
    /// one.
    pub(crate) fn begin_fetch(&self) -> CountedFetch<'_> {
        self.counters.fetches.increment();
        CountedFetch(Some(&self.counters))
    }

    /// Gives up the refreshes that wait, and begins no more tasks.
    pub(crate) fn close(&self) {
        self.refreshes.close();
        self.tasks.close();
        if let Some(lower) = &self.lower {
            lower.close();
        }
    }
}

/// Rounded up, so that nothing ends too early. None of nothing.
fn whole_seconds(duration: Duration) -> Option<NonZeroU32> {
    let seconds = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0));
    NonZeroU32::new(u32::try_from(seconds).unwrap_or(u32::MAX))
}

/// One fetch in the books.
pub(crate) struct CountedFetch<'a>(Option<&'a Counters>);

impl CountedFetch<'_> {
    pub(crate) fn succeed(mut self) {
        self.0 = None;
    }
}

impl Drop for CountedFetch<'_> {
    fn drop(&mut self) {
        if let Some(counters) = self.0 {
            counters.fetch_failures.increment();
        }
    }
}

#[cfg(all(test, not(shuttle)))]
impl<V> Engine<V> {
    /// Checks every invariant of what is stored, and that nothing is being refreshed.
    pub(crate) fn validate(&self) {
        self.refreshes.assert_idle();
        self.memory.validate(&self.judge_now());
    }
}
