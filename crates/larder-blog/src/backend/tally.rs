//! Tally: what the requests about posts were to the cache, each counted once it is answered.
//!
//! The cache's own counters count a miss when it begins, and that it was another's as well only when that one is answered:
//! seconds later, which in a picture of each second makes a call of every reader who waits.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use larder::Stats;
use larder_admin::{
    routes::{Requests, Traffic},
    stage::Verdict,
};

/// By verdict, in the order of [`Verdict`].
#[derive(Debug, Default)]
pub(crate) struct Tally([AtomicU64; 6]);

impl Tally {
    pub(crate) fn count(&self, verdict: Verdict) {
        self.0[verdict as usize].fetch_add(1, Relaxed);
    }

    /// With the calls of the posts service: those that the cache has made, by its counters, and those past it.
    pub(crate) fn traffic(&self, stats: &Stats) -> Traffic {
        let requests = self.requests();
        Traffic {
            requests,
            shared_hits: stats.shared_hits(),
            origin_calls: stats.fetches + requests.pass,
            origin_failures: stats.fetch_failures,
            origin_time: stats.fetch_times.sum,
        }
    }

    pub(crate) fn requests(&self) -> Requests {
        let count = |verdict: Verdict| self.0[verdict as usize].load(Relaxed);
        Requests {
            hit: count(Verdict::Hit),
            stale: count(Verdict::Stale),
            miss: count(Verdict::Miss),
            collapsed: count(Verdict::Collapsed),
            pass: count(Verdict::Pass),
            refused: count(Verdict::Refused),
        }
    }
}
