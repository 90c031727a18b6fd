//! Waits: how long readers waited for the heads of answers that were not at hand, in the buckets that metrics have.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use larder_admin::routes::Waits;

/// The counts. They take no memory before the first.
#[derive(Debug, Default)]
pub(super) struct WaitCounts(OnceLock<Box<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    buckets: [AtomicU64; Waits::BUCKETS],
    nanos: AtomicU64,
}

impl WaitCounts {
    pub(super) fn record(&self, took: Duration) {
        let Counts { buckets, nanos } = &**self.0.get_or_init(Box::default);
        buckets[Waits::bucket_of(took)].fetch_add(1, Relaxed);
        nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Adds what others have recorded.
    pub(super) fn absorb(&self, others: &WaitCounts) {
        let Some(theirs) = others.0.get() else { return };
        let own = self.0.get_or_init(Box::default);
        let pairs = own.buckets.iter().zip(&theirs.buckets).chain([(&own.nanos, &theirs.nanos)]);
        for (own, their) in pairs {
            own.fetch_add(their.load(Relaxed), Relaxed);
        }
    }

    pub(super) fn so_far(&self) -> Waits {
        let Some(counts) = self.0.get() else { return Waits::default() };
        Waits {
            counts: counts.buckets.each_ref().map(|count| count.load(Relaxed)),
            seconds: Duration::from_nanos(counts.nanos.load(Relaxed)).as_secs_f64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_waits_are_counted_here_and_elsewhere() {
        let (one, other, none) =
            (WaitCounts::default(), WaitCounts::default(), WaitCounts::default());
        assert_eq!(one.so_far(), Waits::default());
        [0, 1, 30, 20_000].map(Duration::from_millis).iter().for_each(|took| one.record(*took));
        other.record(Duration::from_millis(30));
        one.absorb(&other);
        one.absorb(&none);
        let Waits { counts, seconds } = one.so_far();
        assert_eq!((counts[0], counts[5], counts[12]), (2, 2, 1));
        assert_eq!((counts.iter().sum::<u64>(), seconds), (5, 20.061));
    }
}
