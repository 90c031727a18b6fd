//! Tally: what has become of the requests of each route, for the console.
//!
//! The cache counts look-ups; what it has no part in, and who waited for another's call, is known here.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use larder_admin::{
    routes::{Requests, RouteFigures, Seconds, Traffic, Waits},
    stage::Verdict,
};

use crate::backend::endpoint::{Endpoint, Route};

/// Of so many answers of a route, the last, it is told how long they took.
const TIMES: usize = 1000;

/// One part for each route.
#[derive(Debug, Default)]
pub(crate) struct Tally([Mutex<Counted>; Route::ALL.len()]);

#[derive(Clone, Debug, Default)]
struct Counted {
    requests: Requests,
    reasons: BTreeMap<&'static str, u64>,
    hit_times: VecDeque<Duration>,
    miss_times: VecDeque<Duration>,
    waits: Waits,
    shared_hits: u64,
    calls: u64,
    failures: u64,
    call_time: Duration,
    saved: Duration,
}

impl Counted {
    /// Whose posts service failed, with nothing old to stand in.
    fn reader_errors(&self) -> u64 {
        self.reasons.get("origin-error").copied().unwrap_or_default()
    }
}

/// A request that was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finished {
    pub(crate) verdict: Verdict,
    /// A hit that the shared tier had.
    pub(crate) is_shared: bool,
    /// Why it was no hit.
    pub(crate) reason: &'static str,
    pub(crate) took: Duration,
    /// What the call would have taken that was not made for it.
    pub(crate) saved: Duration,
}

impl Tally {
    pub(crate) fn count(&self, endpoint: &Endpoint, finished: &Finished) {
        let Finished { verdict, is_shared, reason, took, saved } = *finished;
        let mut counted = self.of(endpoint.route());
        let (requests, is_at_hand) = match verdict {
            Verdict::Hit => (&mut counted.requests.hit, true),
            Verdict::Stale => (&mut counted.requests.stale, true),
            Verdict::Miss => (&mut counted.requests.miss, false),
            Verdict::Collapsed => (&mut counted.requests.collapsed, false),
            Verdict::Pass => (&mut counted.requests.pass, false),
            Verdict::Refused => (&mut counted.requests.refused, false),
        };
        *requests += 1;
        counted.saved += saved;
        counted.shared_hits += u64::from(is_shared);
        if verdict != Verdict::Hit {
            *counted.reasons.entry(reason).or_default() += 1;
        }
        if !is_at_hand {
            counted.waits.counts[Waits::bucket_of(took)] += 1;
            counted.waits.seconds += took.as_secs_f64();
        }
        let times = if is_at_hand { &mut counted.hit_times } else { &mut counted.miss_times };
        if times.len() == TIMES {
            times.pop_front();
        }
        times.push_back(took);
    }

    /// The posts service was asked, perhaps behind a reader's back, and it took so long.
    pub(crate) fn called(&self, endpoint: &Endpoint, took: Duration, has_failed: bool) {
        let mut counted = self.of(endpoint.route());
        counted.calls += 1;
        counted.failures += u64::from(has_failed);
        counted.call_time += took;
    }

    /// All routes together.
    pub(crate) fn traffic(&self) -> Traffic {
        Route::ALL.iter().fold(Traffic::default(), |all, route| {
            let counted = self.of(*route);
            Traffic {
                requests: all.requests.and(counted.requests),
                shared_hits: all.shared_hits + counted.shared_hits,
                reader_errors: all.reader_errors + counted.reader_errors(),
                origin_calls: all.origin_calls + counted.calls,
                origin_failures: all.origin_failures + counted.failures,
                origin_time: all.origin_time + counted.call_time,
            }
        })
    }

    /// A line for each route, but for what is stored.
    pub(crate) fn routes(&self) -> [RouteFigures; Route::ALL.len()] {
        Route::ALL.map(|route| {
            let counted = self.of(route).clone();
            let reader_errors = counted.reader_errors();
            RouteFigures {
                route: route.name().into(),
                is_cached: true,
                requests: counted.requests,
                reasons: counted.reasons.into_iter().collect(),
                hit_seconds: quantiles(counted.hit_times),
                miss_seconds: quantiles(counted.miss_times),
                waits: counted.waits,
                shared_hits: counted.shared_hits,
                reader_errors,
                origin_calls: counted.calls,
                origin_failures: counted.failures,
                origin_seconds: counted.call_time.as_secs_f64(),
                saved_seconds: counted.saved.as_secs_f64(),
                ..RouteFigures::default()
            }
        })
    }

    fn of(&self, route: Route) -> MutexGuard<'_, Counted> {
        self.0[route as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn quantiles(times: VecDeque<Duration>) -> Option<Seconds> {
    let mut times = Vec::from(times);
    times.sort_unstable();
    let at = |share: f64| {
        let place = (times.len() as f64 * share).ceil() as usize;
        times.get(place.max(1) - 1).map(Duration::as_secs_f64)
    };
    Some(Seconds { p50: at(0.5)?, p95: at(0.95)?, p99: at(0.99)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_times_and_all_but_a_few_do_not_exceed_what_is_told() {
        let told = quantiles((1..=100).map(Duration::from_secs).collect());
        assert_eq!(told, Some(Seconds { p50: 50.0, p95: 95.0, p99: 99.0 }));
        let one = quantiles(VecDeque::from([Duration::from_secs(2)]));
        assert_eq!(one, Some(Seconds { p50: 2.0, p95: 2.0, p99: 2.0 }));
        assert_eq!(quantiles(VecDeque::new()), None);
    }
}
