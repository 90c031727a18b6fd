//! Counters: what the cache did so far, and a stream of what it does.

use std::{
    cell::Cell,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use hdrhistogram::Histogram;
use larder_policy::reason::Reason;
use tokio::sync::broadcast;

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
    /// Look-ups answered with a remembered error.
    pub negative_hits: u64,
    /// Fetches begun: what the origin saw.
    pub loads: u64,
    /// Fetches that ended in an error, a panic, a timeout, or were dropped before they ended.
    pub load_failures: u64,
    /// Misses that shared another reader's fetch instead of causing their own.
    pub collapsed: u64,
    /// Fetches behind the readers' backs.
    pub refreshes: u64,
    /// Refreshes given up because too many were waiting.
    pub refreshes_dropped: u64,
    /// Stale or aging hits that started no refresh because the last one failed just now.
    pub refreshes_held_back: u64,
    /// Failures of refreshes forgotten because too many keys had one: theirs are tried again sooner.
    pub backoffs_forgotten: u64,
    /// Entries pushed out to make room.
    pub evictions: u64,
    /// Entries removed because their time was over.
    pub expired: u64,
    /// Values that were not stored because they weigh more than one entry may.
    pub too_large: u64,
    /// Purges: of a key, a prefix, a tag, or of everything.
    pub purges: u64,
    /// Tags whose last purge is remembered.
    pub tags: u64,
    /// Entries held now.
    pub entries: u64,
    /// What they weigh, overhead included; never more than `max_bytes`.
    pub bytes: u64,
    /// The bound.
    pub max_bytes: u64,
    /// What the hits, fresh and stale, would have cost in fetches: the sum of what fetching each
    /// entry took.
    pub saved: Duration,
    /// How long fetches took.
    pub fetch_times: Times,
    /// How long hits took, of one in 1024.
    pub hit_times: Times,
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
}

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
    },
    /// A fetch failed or took too long.
    FetchFailed {
        /// Of this key.
        key: Arc<str>,
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
const STRIPES: usize = 16;
/// One hit in so many is timed.
const SAMPLE: u32 = 1024;

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

thread_local! {
    /// Which stripe this thread writes, and how many hits until its next sample.
    static STRIPE: (usize, Cell<u32>) = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        (NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES, Cell::new(0))
    };
}

/// The counters behind [`Stats`] that no other part already keeps.
#[derive(Debug)]
pub(crate) struct Counters {
    stripes: [Stripe; STRIPES],
    pub(crate) misses: Counter,
    pub(crate) negative_hits: Counter,
    pub(crate) loads: Counter,
    pub(crate) load_failures: Counter,
    pub(crate) collapsed: Counter,
    pub(crate) refreshes: Counter,
    pub(crate) refreshes_dropped: Counter,
    pub(crate) refreshes_held_back: Counter,
    pub(crate) backoffs_forgotten: Counter,
    pub(crate) evictions: Counter,
    pub(crate) expired: Counter,
    pub(crate) too_large: Counter,
    pub(crate) purges: Counter,
    fetch_times: Mutex<Histogram<u64>>,
    hit_times: Mutex<Histogram<u64>>,
    events: broadcast::Sender<Event>,
}

impl Counters {
    pub(crate) fn new() -> Self {
        // Three digits where a fetch takes an hour, in microseconds; where a hit takes a second, in
        // nanoseconds. What lies beyond counts as the bound.
        let histogram = |max| {
            Mutex::new(Histogram::new_with_bounds(1, max, 2).expect("these bounds are allowed"))
        };
        Counters {
            stripes: Default::default(),
            misses: Counter::default(),
            negative_hits: Counter::default(),
            loads: Counter::default(),
            load_failures: Counter::default(),
            collapsed: Counter::default(),
            refreshes: Counter::default(),
            refreshes_dropped: Counter::default(),
            refreshes_held_back: Counter::default(),
            backoffs_forgotten: Counter::default(),
            evictions: Counter::default(),
            expired: Counter::default(),
            too_large: Counter::default(),
            purges: Counter::default(),
            fetch_times: histogram(3_600_000_000),
            hit_times: histogram(1_000_000_000),
            events: broadcast::channel(EVENTS).0,
        }
    }

    pub(crate) fn hit(&self, cost: Duration) {
        let stripe = self.stripe();
        stripe.hits.increment();
        stripe.saved_micros.add(micros(cost));
    }

    pub(crate) fn stale_served(&self, cost: Duration) {
        let stripe = self.stripe();
        stripe.stale_served.increment();
        stripe.saved_micros.add(micros(cost));
    }

    /// Whether this hit is one of those to be timed.
    pub(crate) fn is_sample(&self) -> bool {
        STRIPE.with(|(_, left)| {
            let now = left.get();
            left.set(if now == 0 { SAMPLE - 1 } else { now - 1 });
            now == 0
        })
    }

    pub(crate) fn hit_took(&self, took: Duration) {
        record(&self.hit_times, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn fetch_took(&self, took: Duration) {
        record(&self.fetch_times, micros(took));
    }

    pub(crate) fn events(&self) -> Events {
        Events(self.events.subscribe())
    }

    /// Makes and sends the event if anybody listens.
    pub(crate) fn tell(&self, event: impl FnOnce() -> Event) {
        if self.events.receiver_count() > 0 {
            // An error says that the last listener has left since.
            self.events.send(event()).ok();
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
            loads: self.loads.get(),
            load_failures: self.load_failures.get(),
            collapsed: self.collapsed.get(),
            refreshes: self.refreshes.get(),
            refreshes_dropped: self.refreshes_dropped.get(),
            refreshes_held_back: self.refreshes_held_back.get(),
            backoffs_forgotten: self.backoffs_forgotten.get(),
            evictions: self.evictions.get(),
            expired: self.expired.get(),
            too_large: self.too_large.get(),
            purges: self.purges.get(),
            saved: Duration::from_micros(sum(|stripe| &stripe.saved_micros)),
            fetch_times: times(&self.fetch_times, Duration::from_micros),
            hit_times: times(&self.hit_times, Duration::from_nanos),
            ..Stats::default()
        }
    }

    fn stripe(&self) -> &Stripe {
        &self.stripes[STRIPE.with(|(stripe, _)| *stripe)]
    }
}

fn record(histogram: &Mutex<Histogram<u64>>, value: u64) {
    histogram.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(value);
}

fn times(histogram: &Mutex<Histogram<u64>>, unit: fn(u64) -> Duration) -> Times {
    let histogram = histogram.lock().unwrap_or_else(PoisonError::into_inner);
    Times {
        count: histogram.len(),
        p50: unit(histogram.value_at_quantile(0.5)),
        p99: unit(histogram.value_at_quantile(0.99)),
        max: unit(histogram.max()),
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
