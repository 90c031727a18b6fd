//! Clock: where the cache gets its time from, so that tests can hold it still.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// An instant on one clock: nanoseconds since that clock was made. Moments of two clocks have
/// nothing to do with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// Time from `earlier` to `self`; zero if `earlier` lies ahead.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Where a cache gets its time from. Never runs backwards.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System { origin: Instant },
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The machine's monotonic clock. Setting the date does not move it.
    pub fn system() -> Clock {
        Clock(Source::System { origin: Instant::now() })
    }

    /// What time it is.
    pub fn now(&self) -> Moment {
        Moment(match &self.0 {
            Source::System { origin } => nanos(origin.elapsed()),
            Source::Manual(nanos) => nanos.load(Ordering::Acquire),
        })
    }
}

/// A clock that moves only when told to, for tests that must not sleep.
///
/// ```
/// use larder::{Cache, ManualClock};
/// use std::time::Duration;
///
/// let clock = ManualClock::new();
/// let cache = Cache::<String>::builder().ttl(Duration::from_secs(60)).clock(clock.clock()).build();
/// cache.insert("key", "value".to_owned());
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(cache.get("key"), None);
/// ```
#[derive(Clone, Debug, Default)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock that stands at zero.
    pub fn new() -> ManualClock {
        ManualClock::default()
    }

    /// The clock to build a cache with; it shows this one's time.
    pub fn clock(&self) -> Clock {
        Clock(Source::Manual(Arc::clone(&self.0)))
    }

    /// Moves the time forward. It stops at the last moment that can be told (584 years).
    pub fn advance(&self, by: Duration) {
        let by = nanos(by);
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| Some(now.saturating_add(by)))
            .expect("the update always gives a value");
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
