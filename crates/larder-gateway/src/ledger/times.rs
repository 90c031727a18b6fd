//! Times: how long answers took, in so many buckets that a quantile is known to within an eighth.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

/// What is shorter is not told apart: 256 ns.
const SHORTEST_BITS: u32 = 8;
/// What is longer is not told apart: 2 minutes.
const LONGEST_BITS: u32 = 37;
/// Each doubling has four buckets.
const STEP_BITS: u32 = 2;
const STEPS: usize = 1 << STEP_BITS;
/// One for what is too short, and one for what is too long.
const BUCKETS: usize = (LONGEST_BITS - SHORTEST_BITS) as usize * STEPS + 2;

/// A distribution of times. It takes no memory before the first, and half a KiB then. A bucket that has counted four
/// billion counts no further.
#[derive(Debug, Default)]
pub(super) struct Times(OnceLock<Box<[AtomicU32; BUCKETS]>>);

/// Times that half of the others, and all but a twentieth and a hundredth of them, do not exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quantiles {
    /// Half.
    pub(super) p50: Duration,
    /// 95 in a hundred.
    pub(super) p95: Duration,
    /// 99 in a hundred.
    pub(super) p99: Duration,
}

impl Times {
    pub(super) fn record(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        add(&self.buckets()[bucket_of(nanos)], 1);
    }

    /// Adds what others have recorded.
    pub(super) fn absorb(&self, others: &Times) {
        let Some(theirs) = others.0.get() else { return };
        for (own, their) in self.buckets().iter().zip(theirs.iter()) {
            add(own, their.load(Relaxed));
        }
    }

    /// `None`: there was none yet.
    pub(super) fn quantiles(&self) -> Option<Quantiles> {
        let counts = self.0.get()?.each_ref().map(|count| u64::from(count.load(Relaxed)));
        let all: u64 = counts.iter().sum();
        let at = |share: f64| {
            let wanted = (all as f64 * share).ceil() as u64;
            let mut below = 0;
            let reached = counts.iter().position(|count| {
                below += count;
                below >= wanted
            });
            Duration::from_nanos(middle_of(reached.unwrap_or(BUCKETS - 1)))
        };
        (all > 0).then(|| Quantiles { p50: at(0.5), p95: at(0.95), p99: at(0.99) })
    }

    fn buckets(&self) -> &[AtomicU32; BUCKETS] {
        self.0.get_or_init(|| Box::new(std::array::from_fn(|_| AtomicU32::new(0))))
    }
}

fn add(counter: &AtomicU32, count: u32) {
    let added = |counted: u32| Some(counted.saturating_add(count));
    // It always says something.
    counter.fetch_update(Relaxed, Relaxed, added).ok();
}

fn bucket_of(nanos: u64) -> usize {
    if nanos < 1 << SHORTEST_BITS {
        return 0;
    }
    let bits = nanos.ilog2();
    if bits >= LONGEST_BITS {
        return BUCKETS - 1;
    }
    let step = (nanos >> (bits - STEP_BITS)) as usize & (STEPS - 1);
    (bits - SHORTEST_BITS) as usize * STEPS + step + 1
}

/// In nanoseconds.
fn middle_of(bucket: usize) -> u64 {
    let begin = |bucket: usize| {
        let (doublings, step) = ((bucket - 1) / STEPS, (bucket - 1) % STEPS);
        ((STEPS + step) as u64) << (SHORTEST_BITS - STEP_BITS + doublings as u32)
    };
    match bucket {
        0 => 1 << (SHORTEST_BITS - 1),
        last if last == BUCKETS - 1 => 1 << LONGEST_BITS,
        bucket => (begin(bucket) + begin(bucket + 1)) / 2,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_time_is_told_to_within_an_eighth(nanos in 256_u64..130_000_000_000) {
            let times = Times::default();
            times.record(Duration::from_nanos(nanos));
            let told = times.quantiles().unwrap().p50.as_nanos() as f64;
            prop_assert!((told / nanos as f64 - 1.0).abs() <= 0.125, "{nanos} is told as {told}");
        }
    }

    #[test]
    fn quantiles_are_those_of_all_that_was_recorded_here_and_elsewhere() {
        let (one, other) = (Times::default(), Times::default());
        assert_eq!(one.quantiles(), None);
        (0..97).for_each(|_| one.record(Duration::from_millis(1)));
        other.record(Duration::from_secs(1));
        other.record(Duration::from_secs(1));
        other.record(Duration::from_secs(100));
        one.absorb(&other);
        one.absorb(&Times::default());
        let Quantiles { p50, p95, p99 } = one.quantiles().unwrap();
        let is_about =
            |time: Duration, seconds: f64| (time.as_secs_f64() / seconds - 1.0).abs() <= 0.125;
        assert!(is_about(p50, 0.001) && is_about(p95, 0.001) && is_about(p99, 1.0));
    }

    #[test]
    fn what_is_too_short_or_too_long_counts_as_the_shortest_or_longest() {
        for (time, told) in [
            (Duration::ZERO, Duration::from_nanos(128)),
            (Duration::from_nanos(255), Duration::from_nanos(128)),
            (Duration::from_secs(140), Duration::from_nanos(1 << LONGEST_BITS)),
            (Duration::MAX, Duration::from_nanos(1 << LONGEST_BITS)),
        ] {
            let times = Times::default();
            times.record(time);
            assert_eq!(times.quantiles().unwrap().p99, told, "{time:?}");
        }
    }

    #[test]
    fn a_bucket_that_is_full_counts_no_further() {
        let counter = AtomicU32::new(u32::MAX - 1);
        add(&counter, 5);
        assert_eq!(counter.load(Relaxed), u32::MAX);
    }
}
