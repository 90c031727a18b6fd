//! Counters: what the cache did so far, and a stream of what it does.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use larder_policy::reason::Reason;
use tokio::sync::broadcast;

use crate::{
    purge::Doubt,
    seat::{SEATS, Seat},
};

/// What a cache did since it was built, and what it holds now.
///
/// The counters are read one by one while others go on, so a snapshot taken under load can be off
/// by the few operations that ran meanwhile. Every look-up is one of `hits`, `stale_served`,
/// `negative_hits` and `misses`; a stale entry that is served because the origin failed, or took too
/// long, began as a miss and counts as both.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Look-ups that found a fresh entry.
    pub hits: u64,
    /// Look-ups that found nothing that could be served without asking.
    pub misses: u64,
    /// Answers from a stale entry: while revalidating, on error, or past the soft timeout.
    pub stale_served: u64,
    /// Look-ups answered with a failure that is remembered.
    pub negative_hits: u64,
    /// Fetches begun: what the origin saw.
    pub fetches: u64,
    /// Fetches that ended in an error, a panic, a timeout, or were dropped before they ended.
    pub fetch_failures: u64,
    /// Misses that shared another reader's fetch instead of causing their own.
    pub collapsed: u64,
    /// Requests that had to wait for their turn to ask the origin. Only an HTTP cache counts them.
    pub turns_awaited: u64,
    /// Requests that got no turn in time, or found too many waiting. Only an HTTP cache counts them.
    pub turns_refused: u64,
    /// Fetches given up because all who waited for an answer had left, or all who read its body while others
    /// waited for its turn and it paused. Only an HTTP cache counts them.
    pub abandoned: u64,
    /// Fetches that ran although all turns were taken, because none was given back for a second or more
    /// ([`Builder::max_concurrent_fetches`](crate::Builder::max_concurrent_fetches)).
    pub fetches_out_of_turn: u64,
    /// Fetches that another reader began anew, because for a second or more nobody drove the runtime on
    /// which they ran.
    pub fetches_taken_over: u64,
    /// Fetches behind the readers' backs.
    pub refreshes: u64,
    /// Refreshes given up because too many were waiting, or because their reader was outside a tokio
    /// runtime.
    pub refreshes_dropped: u64,
    /// Stale or aging hits that started no refresh because the last one failed just now.
    pub refreshes_held_back: u64,
    /// Failures of refreshes forgotten because too many keys had one: theirs are tried again sooner.
    pub backoffs_forgotten: u64,
    /// Entries that could still be served, pushed out to make room.
    pub evictions: u64,
    /// Entries removed because they could no longer be served: their time was over, or a purge by tag had
    /// ended them.
    pub expired: u64,
    /// Values that were not stored because they weigh more than one entry may.
    pub too_large: u64,
    /// Values that were not stored because others had all the room at that moment: they were just being
    /// stored or dropped.
    pub no_room: u64,
    /// Readers cut off because bodies held all the memory they may and these did not go on, the slowest first.
    /// Only an HTTP cache counts them.
    pub readers_cut: u64,
    /// Tags that did not fit into an answer's fields for caches outside, and for which it has
    /// [another](larder_policy::tags_out::OVERFLOW). Only an HTTP cache counts them.
    pub tags_left_out: u64,
    /// Purges: of a key, a prefix, a tag, or of everything.
    pub purges: u64,
    /// What was asked of the tier below memory, if there is one.
    pub lower: LowerStats,
    /// Tags whose last purge is remembered.
    pub tags: u64,
    /// Entries held now, with those that can no longer be served and have yet to be removed.
    pub entries: u64,
    /// What they weigh, overhead included; never more than `max_bytes`.
    pub bytes: u64,
    /// The bound; `None` where only the number of entries has one.
    pub max_bytes: Option<u64>,
    /// What the hits, fresh and stale, would have cost in fetches: the sum of what fetching each
    /// entry took.
    pub saved: Duration,
    /// How long fetches took.
    pub fetch_times: Times,
    /// How long hits took, of one in 1024.
    pub hit_times: Times,
}

impl Stats {
    /// Misses in memory that were answered with what the tier below had. Where it had more, because refreshes ask it as well,
    /// as many as there were misses.
    pub fn shared_hits(&self) -> u64 {
        self.lower.hits.min(self.misses.saturating_sub(self.collapsed))
    }

    /// The share of look-ups that cost the origin nothing, from 0 to 1: hits ÷ (hits + misses). `None` before the first
    /// look-up.
    ///
    /// A hit is whatever was answered without a fetch of its own: a fresh entry, here or [below](Stats::shared_hits), a stale
    /// one, a remembered error, and what another reader's fetch brought (`collapsed`). A stale entry that stood in for a
    /// failing origin is a hit and a miss, as in the counters.
    pub fn hit_rate(&self) -> Option<f64> {
        let at_hand = self.hits as f64 + self.stale_served as f64 + self.negative_hits as f64;
        let all = at_hand + self.misses as f64;
        let brought = self.collapsed.min(self.misses) as f64 + self.shared_hits() as f64;
        (all > 0.0).then_some((at_hand + brought) / all)
    }
}

/// What a cache asked of the tier below its memory ([`Builder::lower`](crate::Builder::lower)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LowerStats {
    /// Misses in memory for which it had a fresh record.
    pub hits: u64,
    /// Misses in memory for which it had none, was not asked, or did not answer.
    pub misses: u64,
    /// Stale records that were brought into memory, to stand in for a fetch that fails or takes too long.
    pub rescues: u64,
    /// Calls that failed, or took too long.
    pub failures: u64,
    /// Calls that were not made, because several in a row had failed.
    pub left_alone: u64,
    /// Records that could not be read, and values that could not be written: of another format or version, or
    /// broken.
    pub unreadable: u64,
    /// Values that were written.
    pub writes: u64,
    /// Values that were not written because a purge came in between.
    pub writes_refused: u64,
    /// Values that were not written because too many others were, or because the tier failed.
    pub writes_dropped: u64,
    /// Purges that it has yet to acknowledge.
    pub purges_outstanding: u64,
    /// Purges of other processes that were read in its log.
    pub purges_learnt: u64,
    /// How often the log had lost what this process had not read, so that memory let everything go.
    pub gaps: u64,
    /// How often too many purges were outstanding, so that they became one of everything.
    pub overflows: u64,
    /// Purges that were made one with another that waited and names as much.
    pub purges_folded: u64,
    /// How often those that readers' requests have caused were too many, so that they became a few that name all below
    /// their paths.
    pub purges_widened: u64,
    /// How often it has said where its log ends, and all up to there was done here. Of a tier that knows its readers.
    pub renewals: u64,
    /// Whether what is in memory is gone by: the tier has said so within
    /// [`max_incoherence`](crate::lower::Settings::max_incoherence), or does not know its readers; or
    /// there is none.
    pub is_trusted: bool,
    /// The number of the last purge in its log that has been read.
    pub log_position: u64,
    /// So many numbers before the end of its log what is done in memory ends, as far as the tier has said. A log that has
    /// lost something skips a million numbers.
    pub log_behind: u64,
    /// So long ago the call was sent after which all that its log then had was done here; zero where it does not know its
    /// readers, or has not answered yet.
    pub log_behind_for: Duration,
    /// The bytes of the names in purges that it has yet to acknowledge.
    pub outbox_bytes: u64,
    /// For how long the oldest of those has been waiting.
    pub outbox_age: Duration,
    /// The bytes of purges in the outbox's file ([`Builder::outbox`](crate::Builder::outbox)) that are of use: those that
    /// the tier, or its replica, has yet to acknowledge.
    pub outbox_file_bytes: u64,
    /// How often that file could not be written.
    pub outbox_failures: u64,
    /// Whether it could not be last time: purges that wait are in memory alone.
    pub is_outbox_failing: bool,
    /// How often it lost what it had acknowledged, and got it back from those who had read it.
    pub forks: u64,
    /// How many readers it knows, this cache among them, and those that have gone without a word.
    pub readers: u64,
    /// How many of those have said something lately.
    pub readers_alive: u64,
    /// How many replicas its server has.
    pub replicas: u64,
    /// Why it may lose what it has acknowledged, as it was when that was last asked: with a purge.
    pub doubt: Option<Doubt>,
    /// Whether it is finding out what it has lost: until it knows, nothing is gone by.
    pub is_reconciling: bool,
}

/// A distribution of times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Times {
    /// How many were measured.
    pub count: u64,
    /// Half of them were no longer than this.
    pub p50: Duration,
    /// All but one in a hundred were no longer than this.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
    /// All of them together.
    pub sum: Duration,
    /// How many were no longer than each of some bounds, which grow. What is longer than the last is only in
    /// `count`.
    pub buckets: [Bucket; 15],
}

/// How many times were no longer than a bound, to within a hundredth of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bucket {
    /// The bound.
    pub up_to: Duration,
    /// How many, those of all smaller bounds included.
    pub count: u64,
}

/// Bounds of fetches, in microseconds: from one of the same machine to one that is given up after a minute.
const FETCH_BOUNDS: [u64; 15] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 60_000_000,
];
/// Bounds of hits, in nanoseconds: from one that found all in the processor's caches to one whose thread had
/// to wait.
const HIT_BOUNDS: [u64; 15] = [
    50,
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    1_000_000,
    10_000_000,
    100_000_000,
];

/// Something the cache did, for a console. Hits are only counted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A fetch brought a value.
    Fetched {
        /// Of this key.
        key: Arc<str>,
        /// In this time.
        took: Duration,
        /// Why it is not in the cache, if it is not.
        not_stored: Option<Reason>,
        /// It is in the cache, but nothing said how long it is fresh: each use asks the origin first. Of
        /// HTTP responses only.
        lacks_freshness: bool,
    },
    /// A fetch failed or took too long.
    FetchFailed {
        /// Of this key.
        key: Arc<str>,
        /// What the error says of itself, all of it (`{:#}`), or how else the fetch ended. After 512 bytes it is
        /// cut, and ends with `…`.
        error: Arc<str>,
    },
    /// A stale entry was served.
    StaleServed {
        /// Of this key.
        key: Arc<str>,
        /// For this reason.
        reason: Reason,
    },
    /// Something was purged.
    Purged {
        /// What: `key …`, `prefix …`, `tag …` or `everything`.
        what: String,
        /// Only marked stale.
        soft: bool,
        /// Its number in the log of purges ([`Receipt::number`](crate::Receipt::number)).
        number: u64,
    },
}

/// One thing a reader of [`Events`] learns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// The next event.
    Event(Event),
    /// The reader was too slow, and so many events are lost to it.
    Lost(u64),
}

/// A bounded stream of events: the last 1024 wait for a slow reader, older ones are lost to it.
#[derive(Debug)]
pub struct Events(broadcast::Receiver<Event>);

impl Events {
    /// The next event, once there is one; `None` when the cache is gone. Dropping the future loses
    /// nothing.
    pub async fn next(&mut self) -> Option<Observed> {
        match self.0.recv().await {
            Ok(event) => Some(Observed::Event(event)),
            Err(broadcast::error::RecvError::Lagged(lost)) => Some(Observed::Lost(lost)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

const EVENTS: usize = 1024;
/// One hit in so many of a thread is timed.
const SAMPLE: u64 = 1024;

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn increment(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, count: u64) {
        if count > 0 {
            self.0.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a hit counts. Each thread writes its own cache line (two lines: processors fetch pairs).
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe {
    hits: Counter,
    stale_served: Counter,
    saved_micros: Counter,
}

/// One look-up's access to the counters its thread writes.
#[derive(Clone, Copy)]
pub(crate) struct Tally<'a> {
    stripe: &'a Stripe,
    seat: Seat,
}

impl Tally<'_> {
    /// Whether the next hit is one of those to be timed.
    pub(crate) fn is_sample(self) -> bool {
        self.stripe.hits.get().is_multiple_of(SAMPLE)
    }

    pub(crate) fn hit(self, cost_micros: u64) {
        self.add(&self.stripe.hits, 1);
        self.add(&self.stripe.saved_micros, cost_micros);
    }

    pub(crate) fn stale_served(self, cost_micros: u64) {
        self.add(&self.stripe.stale_served, 1);
        self.add(&self.stripe.saved_micros, cost_micros);
    }

    fn add(self, counter: &Counter, count: u64) {
        self.seat.add(&counter.0, count);
    }
}

/// The counters behind [`Stats`] that no other part already keeps.
#[derive(Debug)]
pub(crate) struct Counters {
    stripes: Box<[Stripe; SEATS]>,
    pub(crate) misses: Counter,
    pub(crate) negative_hits: Counter,
    pub(crate) fetches: Counter,
    pub(crate) fetch_failures: Counter,
    pub(crate) collapsed: Counter,
    pub(crate) turns_awaited: Counter,
    pub(crate) turns_refused: Counter,
    pub(crate) abandoned: Counter,
    pub(crate) fetches_out_of_turn: Counter,
    pub(crate) fetches_taken_over: Counter,
    pub(crate) refreshes: Counter,
    pub(crate) refreshes_dropped: Counter,
    pub(crate) refreshes_held_back: Counter,
    pub(crate) backoffs_forgotten: Counter,
    pub(crate) evictions: Counter,
    pub(crate) expired: Counter,
    pub(crate) too_large: Counter,
    pub(crate) no_room: Counter,
    /// Shared with what cuts them.
    pub(crate) readers_cut: Arc<Counter>,
    pub(crate) tags_left_out: Counter,
    pub(crate) purges: Counter,
    fetch_times: Durations,
    hit_times: Durations,
    /// None before somebody listens: a channel takes room for all that may wait in it.
    events: OnceLock<broadcast::Sender<Event>>,
}

/// A distribution of times, in whole units. It takes no memory before the first, and then what the longest
/// needs: a hit that happened to take longer than any before it would allocate otherwise.
#[derive(Debug)]
struct Durations {
    recorded: Mutex<Option<Recorded>>,
    /// What is longer counts as this.
    max: u64,
    bounds: &'static [u64; 15],
}

#[derive(Debug)]
struct Recorded {
    histogram: Histogram<u32>,
    sum: u64,
    /// What these times come to, until one more is recorded: counting them reads the whole histogram
    /// three times, for counters that are asked for far more often than a fetch ends.
    told: Option<Times>,
}

impl Durations {
    fn up_to(max: u64, bounds: &'static [u64; 15]) -> Self {
        Durations { recorded: Mutex::new(None), max, bounds }
    }

    fn record(&self, value: u64) {
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        // Two digits: 12 KiB.
        let recorded = recorded.get_or_insert_with(|| Recorded {
            histogram: Histogram::new_with_max(self.max, 2).expect("the bounds are allowed"),
            sum: 0,
            told: None,
        });
        recorded.told = None;
        let value = value.clamp(1, self.max);
        recorded.sum = recorded.sum.saturating_add(value);
        let added = recorded.histogram.record(value);
        added.expect("no more than the maximum is recorded");
    }

    fn times(&self, unit: fn(u64) -> Duration) -> Times {
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *recorded {
            None => Times { buckets: self.empty_buckets(unit), ..Times::default() },
            Some(recorded) => match recorded.told {
                Some(times) => times,
                None => *recorded.told.insert(self.count(&recorded.histogram, recorded.sum, unit)),
            },
        }
    }

    fn count(&self, histogram: &Histogram<u32>, sum: u64, unit: fn(u64) -> Duration) -> Times {
        let mut buckets = self.empty_buckets(unit);
        for step in histogram.iter_recorded() {
            // A hundredth of values is not told apart: they go where the least of them belongs.
            let value = histogram.lowest_equivalent(step.value_iterated_to());
            if let Some(at) = self.bounds.iter().position(|bound| value <= *bound) {
                buckets[at].count += u64::from(step.count_at_value());
            }
        }
        let mut below = 0;
        for bucket in &mut buckets {
            below += bucket.count;
            bucket.count = below;
        }
        Times {
            count: histogram.len(),
            p50: unit(histogram.value_at_quantile(0.5)),
            p99: unit(histogram.value_at_quantile(0.99)),
            max: unit(histogram.max()),
            sum: unit(sum),
            buckets,
        }
    }

    fn empty_buckets(&self, unit: fn(u64) -> Duration) -> [Bucket; 15] {
        self.bounds.map(|bound| Bucket { up_to: unit(bound), count: 0 })
    }
}

impl Counters {
    pub(crate) fn new() -> Self {
        Counters {
            stripes: Box::new(std::array::from_fn(|_| Stripe::default())),
            misses: Counter::default(),
            negative_hits: Counter::default(),
            fetches: Counter::default(),
            fetch_failures: Counter::default(),
            collapsed: Counter::default(),
            turns_awaited: Counter::default(),
            turns_refused: Counter::default(),
            abandoned: Counter::default(),
            fetches_out_of_turn: Counter::default(),
            fetches_taken_over: Counter::default(),
            refreshes: Counter::default(),
            refreshes_dropped: Counter::default(),
            refreshes_held_back: Counter::default(),
            backoffs_forgotten: Counter::default(),
            evictions: Counter::default(),
            expired: Counter::default(),
            too_large: Counter::default(),
            no_room: Counter::default(),
            readers_cut: Arc::default(),
            tags_left_out: Counter::default(),
            purges: Counter::default(),
            // An hour in microseconds, a second in nanoseconds.
            fetch_times: Durations::up_to(3_600_000_000, &FETCH_BOUNDS),
            hit_times: Durations::up_to(1_000_000_000, &HIT_BOUNDS),
            events: OnceLock::new(),
        }
    }

    /// What this thread counts its hits with.
    #[inline]
    pub(crate) fn tally(&self) -> Tally<'_> {
        let seat = Seat::of_thread();
        Tally { stripe: &self.stripes[seat.place()], seat }
    }

    #[cold]
    pub(crate) fn hit_took(&self, began: Instant) {
        let nanos = began.elapsed().as_nanos();
        self.hit_times.record(u64::try_from(nanos).unwrap_or(u64::MAX));
    }

    pub(crate) fn fetch_took(&self, took: Duration) {
        self.fetch_times.record(micros(took));
    }

    pub(crate) fn events(&self) -> Events {
        Events(self.events.get_or_init(|| broadcast::channel(EVENTS).0).subscribe())
    }

    /// Makes and sends the event if anybody listens.
    pub(crate) fn tell(&self, event: impl FnOnce() -> Event) {
        if let Some(events) = self.events.get()
            && events.receiver_count() > 0
        {
            // An error says that the last listener has left since.
            events.send(event()).ok();
        }
    }

    /// The part of [`Stats`] that is counted here.
    pub(crate) fn snapshot(&self) -> Stats {
        let sum = |counter: fn(&Stripe) -> &Counter| {
            self.stripes.iter().map(|stripe| counter(stripe).get()).sum::<u64>()
        };
        Stats {
            hits: sum(|stripe| &stripe.hits),
            misses: self.misses.get(),
            stale_served: sum(|stripe| &stripe.stale_served),
            negative_hits: self.negative_hits.get(),
            fetches: self.fetches.get(),
            fetch_failures: self.fetch_failures.get(),
            collapsed: self.collapsed.get(),
            turns_awaited: self.turns_awaited.get(),
            turns_refused: self.turns_refused.get(),
            abandoned: self.abandoned.get(),
            fetches_out_of_turn: self.fetches_out_of_turn.get(),
            fetches_taken_over: self.fetches_taken_over.get(),
            refreshes: self.refreshes.get(),
            refreshes_dropped: self.refreshes_dropped.get(),
            refreshes_held_back: self.refreshes_held_back.get(),
            backoffs_forgotten: self.backoffs_forgotten.get(),
            evictions: self.evictions.get(),
            expired: self.expired.get(),
            too_large: self.too_large.get(),
            no_room: self.no_room.get(),
            readers_cut: self.readers_cut.get(),
            tags_left_out: self.tags_left_out.get(),
            purges: self.purges.get(),
            saved: Duration::from_micros(sum(|stripe| &stripe.saved_micros)),
            fetch_times: self.fetch_times.times(Duration::from_micros),
            hit_times: self.hit_times.times(Duration::from_nanos),
            ..Stats::default()
        }
    }
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::seat::SEATED;

    #[test]
    fn the_hit_rate_is_the_share_of_look_ups_that_cost_the_origin_nothing() {
        let stats = |hits, stale_served, negative_hits, misses| Stats {
            hits,
            stale_served,
            negative_hits,
            misses,
            ..Stats::default()
        };
        // What another has brought, and what lay below, is among the misses.
        let shared = |collapsed, below| Stats {
            collapsed,
            lower: LowerStats { hits: below, ..LowerStats::default() },
            ..stats(2, 0, 0, 8)
        };
        for (stats, rate) in [
            (stats(0, 0, 0, 0), None),
            (stats(0, 0, 0, 4), Some(0.0)),
            (stats(4, 0, 0, 0), Some(1.0)),
            (stats(3, 0, 0, 1), Some(0.75)),
            (stats(1, 1, 1, 1), Some(0.75)),
            (stats(u64::MAX, 0, 0, u64::MAX), Some(0.5)),
            (stats(u64::MAX, u64::MAX, u64::MAX, 0), Some(1.0)),
            (shared(7, 0), Some(0.9)),
            (shared(4, 2), Some(0.8)),
            // Refreshes ask below as well.
            (shared(4, 100), Some(1.0)),
        ] {
            assert_eq!(stats.hit_rate(), rate, "{stats:?}");
        }
    }

    #[test]
    fn no_hit_is_lost_however_many_threads_come_and_go() {
        const THREADS: u64 = 3 * SEATS as u64;
        const HITS: u64 = 2000;
        let _seated = SEATED.lock();
        let counters = Counters::new();
        // The first wave ends before the second begins, which sits on its seats; each is larger
        // than there are seats.
        for _ in 0..2 {
            thread::scope(|scope| {
                for _ in 0..THREADS {
                    scope.spawn(|| (0..HITS).for_each(|_| counters.tally().hit(3)));
                }
            });
        }
        let stats = counters.snapshot();
        assert_eq!(stats.hits, 2 * THREADS * HITS);
        assert_eq!(stats.saved, Duration::from_micros(3 * stats.hits));
    }

    #[test]
    fn times_are_told_to_two_digits_and_what_is_too_long_as_the_longest() {
        let durations = Durations::up_to(1_000_000_000, &HIT_BOUNDS);
        assert_eq!(durations.times(Duration::from_nanos).count, 0);
        for nanos in [0, 80, 1000, 50_000, 123_456_789, u64::MAX] {
            durations.record(nanos);
        }
        let times = durations.times(Duration::from_nanos);
        let is_about = |time: Duration, nanos: u64| {
            let off = time.abs_diff(Duration::from_nanos(nanos));
            off <= Duration::from_nanos(nanos / 100 + 1)
        };
        assert_eq!(times.count, 6);
        assert!(is_about(times.p50, 1000) && is_about(times.max, 1_000_000_000), "{times:?}");
        assert!(is_about(times.p99, 1_000_000_000));
        // Each is among those that are no longer than a bound, unless it is longer than all bounds.
        let below: Vec<_> = times.buckets.iter().map(|bucket| bucket.count).collect();
        assert_eq!(below, [1, 2, 2, 2, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4]);
        assert_eq!(
            times.sum,
            Duration::from_nanos(1 + 80 + 1000 + 50_000 + 123_456_789 + 1_000_000_000)
        );
        // Told again as it is, and anew once there is one more.
        assert_eq!(durations.times(Duration::from_nanos), times);
        durations.record(80);
        let more = durations.times(Duration::from_nanos);
        assert_eq!((more.count, more.buckets[1].count), (7, 3));
        assert_eq!(more.sum, times.sum + Duration::from_nanos(80));
    }
}
