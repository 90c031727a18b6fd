//! Clock: where the cache gets its time from, so that tests can hold it still.

#[cfg(feature = "http")]
pub(crate) mod wall;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// An instant on one clock: nanoseconds since 36 years before that clock was made, so that what was fetched
/// before, by another process, has a moment as well. Moments of two clocks have nothing to do with each
/// other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

/// What a clock shows when it is made: 36 years, a little more than the longest TTL there is.
const MADE: u64 = 1 << 60;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

impl Moment {
    pub(crate) const FIRST: Moment = Moment(0);
    pub(crate) const MAX: Moment = Moment(u64::MAX);

    /// Time from `earlier` to `self`; zero if `earlier` lies ahead.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.nanos_since(earlier))
    }

    /// The same as a bare number, for the path on which making a `Duration` is noticed.
    pub(crate) fn nanos_since(self, earlier: Moment) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment `later` from this one; the last one that can be told, if it lies beyond that.
    pub(crate) fn plus(self, later: Duration) -> Moment {
        Moment(self.0.saturating_add(nanos(later)))
    }

    /// The next whole second since the clock was made, in four bytes: enough for 136 years.
    pub(crate) fn next_second(self) -> u32 {
        let nanos = self.0.saturating_sub(MADE);
        u32::try_from(nanos.div_ceil(NANOS_PER_SECOND)).unwrap_or(u32::MAX)
    }

    /// The moment so many seconds after the clock was made.
    pub(crate) fn of_second(second: u64) -> Moment {
        Moment(MADE.saturating_add(second.saturating_mul(NANOS_PER_SECOND)))
    }

    /// The moment `earlier` before this one; the clock's first, if it lies before that.
    pub(crate) fn minus(self, earlier: Duration) -> Moment {
        Moment(self.0.saturating_sub(nanos(earlier)))
    }
}

/// A moment that several threads read and set.
#[derive(Debug)]
pub(crate) struct AtomicMoment(AtomicU64);

impl AtomicMoment {
    pub(crate) const fn new(moment: Moment) -> Self {
        AtomicMoment(AtomicU64::new(moment.0))
    }

    #[inline]
    pub(crate) fn get(&self) -> Moment {
        Moment(self.0.load(Ordering::Acquire))
    }

    pub(crate) fn set(&self, moment: Moment) {
        self.0.store(moment.0, Ordering::Release);
    }

    /// The later of what it is and this.
    pub(crate) fn advance(&self, moment: Moment) {
        self.0.fetch_max(moment.0, Ordering::AcqRel);
    }
}

/// Where a cache gets its time from. Never runs backwards.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    /// What the machine's clock showed at this one's beginning: [`MADE`] before it was made, so it wraps.
    System {
        origin: u64,
    },
    Manual(Arc<AtomicU64>),
    Other(Arc<ForwardOnly>),
}

/// A clock of the caller's that may step back. Only its steps forward count: an entry never gets
/// younger, and one that waits out a step back still ages with every step that follows.
struct ForwardOnly {
    read: Box<dyn Fn() -> Duration + Send + Sync>,
    state: Mutex<Steps>,
}

#[derive(Clone, Copy)]
struct Steps {
    /// What it showed last.
    shown: Duration,
    /// What this one shows: its beginning, and all steps forward so far.
    sum: Duration,
    /// How many looks counted.
    looks: u64,
}

impl fmt::Debug for ForwardOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardOnly").finish_non_exhaustive()
    }
}

impl ForwardOnly {
    fn now(&self) -> Duration {
        let state = || self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state().looks;
        // The caller's code, so under no lock.
        let shown = (self.read)();
        let mut state = state();
        // Of looks at the same time the first to end counts. Which of them saw the clock earlier is not
        // known, so a second one could take for a step back what is none.
        if state.looks == before {
            let sum = state.sum.saturating_add(shown.saturating_sub(state.shown));
            *state = Steps { shown, sum, looks: before + 1 };
        }
        state.sum
    }
}

impl Clock {
    /// The machine's monotonic clock. Setting the date does not move it. It is read at every hit, so
    /// on Linux it is the coarse one, which advances in steps of 1 to 10 ms (4 ms mostly) and is read
    /// in 3 ns instead of 25.
    pub fn system() -> Clock {
        Clock(Source::System { origin: machine::coarse().wrapping_sub(MADE) })
    }

    /// A clock of your own: `read` tells the time since any fixed point. It may step back; ages then
    /// stand still for that step and go on with the next. Each look costs a lock.
    ///
    /// In a test whose time is Tokio's, and paused, entries age with it like this. On the machine's clock they
    /// would not: that does not stand still, and does not jump.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use larder::{Cache, Clock};
    /// use tokio::time::{Instant, sleep};
    ///
    /// #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// async fn main() {
    ///     let began = Instant::now();
    ///     let cache = Cache::<String>::builder()
    ///         .ttl(Duration::from_secs(300))
    ///         .clock(Clock::other(move || began.elapsed()))
    ///         .build();
    ///     cache.insert("greeting", "good morning".to_owned());
    ///     sleep(Duration::from_secs(299)).await;
    ///     assert!(cache.get("greeting").is_some());
    ///     sleep(Duration::from_secs(1)).await;
    ///     assert!(cache.get("greeting").is_none());
    /// }
    /// ```
    pub fn other(read: impl Fn() -> Duration + Send + Sync + 'static) -> Clock {
        let made = Duration::from_nanos(MADE);
        let state = Mutex::new(Steps { shown: read(), sum: made, looks: 0 });
        Clock(Source::Other(Arc::new(ForwardOnly { read: Box::new(read), state })))
    }

    pub(crate) fn is_system(&self) -> bool {
        matches!(self.0, Source::System { .. })
    }

    /// Whether it is that of a simulation, where nothing else tells the time.
    pub(crate) fn is_simulated(&self) -> bool {
        #[cfg(all(test, not(shuttle)))]
        return matches!(&self.0, Source::Other(_)) && crate::simulation::is_under_way();
        #[cfg(not(all(test, not(shuttle))))]
        false
    }

    /// What time it is.
    #[inline]
    pub fn now(&self) -> Moment {
        self.reading().now()
    }

    /// A look at the clock, to be finished under a lock.
    #[inline]
    pub(crate) fn reading(&self) -> Reading {
        match &self.0 {
            Source::System { origin } => Reading::Machine { origin: *origin },
            Source::Manual(nanos) => Reading::At(Moment(nanos.load(Ordering::Acquire))),
            Source::Other(clock) => Reading::At(Moment(nanos(clock.now()))),
        }
    }

    /// What time it is to the nanosecond, for measuring how long something takes. Up to one step
    /// ahead of [`now`](Clock::now).
    pub(crate) fn now_precisely(&self) -> Moment {
        match &self.0 {
            Source::System { origin } => Moment(machine::precise().wrapping_sub(*origin)),
            Source::Manual(_) | Source::Other(_) => self.now(),
        }
    }
}

/// A look at a clock that ends when the time is asked for. Only the machine's clock is read that
/// late; what may wait or run the caller's code is over by then.
#[derive(Clone, Copy)]
pub(crate) enum Reading {
    Machine { origin: u64 },
    At(Moment),
}

impl Reading {
    #[inline]
    pub(crate) fn now(self) -> Moment {
        match self {
            Reading::Machine { origin } => Moment(machine::coarse().wrapping_sub(origin)),
            Reading::At(moment) => moment,
        }
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
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicU64>);

impl Default for ManualClock {
    fn default() -> Self {
        ManualClock(Arc::new(AtomicU64::new(MADE)))
    }
}

impl ManualClock {
    /// A clock that stands still where it begins.
    pub fn new() -> ManualClock {
        ManualClock::default()
    }

    /// The clock to build a cache with; it shows this one's time.
    pub fn clock(&self) -> Clock {
        Clock(Source::Manual(Arc::clone(&self.0)))
    }

    /// Moves the time forward. It stops at the last moment that can be told (in 548 years).
    pub fn advance(&self, by: Duration) {
        let by = nanos(by);
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| Some(now.saturating_add(by)))
            .expect("the update always gives a value");
    }
}

/// The machine's clock: time since some fixed point, which may be another after each start of it.
#[cfg(target_os = "linux")]
mod machine {
    use rustix::time::{ClockId, Timespec, clock_gettime};

    #[inline]
    pub(super) fn coarse() -> u64 {
        since_start(clock_gettime(ClockId::MonotonicCoarse))
    }

    pub(super) fn precise() -> u64 {
        since_start(clock_gettime(ClockId::Monotonic))
    }

    fn since_start(time: Timespec) -> u64 {
        time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
    }
}

#[cfg(not(target_os = "linux"))]
mod machine {
    use std::{sync::OnceLock, time::Instant};

    pub(super) fn coarse() -> u64 {
        precise()
    }

    pub(super) fn precise() -> u64 {
        static START: OnceLock<Instant> = OnceLock::new();
        super::nanos(START.get_or_init(Instant::now).elapsed())
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
