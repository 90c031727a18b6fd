//! Bounds: what the requests of one route may take together, however many there are.
//!
//! Who finds as many at the service as may be there waits a while, in a line that is as long as that again. A request is
//! there until its answer is whole: what is bounded is the service's work, and an answer may be its larger part.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use larder::http::Client;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::rate::{Rates, TooMany};
use crate::{
    origins::Unanswered,
    routes::{RouteLimits, Ways},
};

/// Of each route 8192 addresses are remembered, which takes 140 KiB.
const SETS: usize = 1024;

/// The bounds of one route, and how near its requests are to them.
pub(super) struct Bounds {
    limits: RouteLimits,
    lane: Option<Lane>,
    rates: Option<Rates>,
    limited: AtomicU64,
}

/// How many requests may be at the service.
struct Lane {
    places: Arc<Semaphore>,
    max: usize,
    waiting: AtomicUsize,
    refused: AtomicU64,
}

/// What has become of the requests of a route that has bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteStats {
    /// What its requests have in common, as the file has it.
    pub route: Arc<str>,
    /// How many are at their service now. None: any number may be.
    pub fetches: Option<u64>,
    /// How many wait for it now.
    pub waiting: u64,
    /// How many did not get there in time.
    pub refused: u64,
    /// How many were answered 429: their address had sent as many as it may.
    pub limited: u64,
}

/// What a request finds where as many of its route are at the service as may be: so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LaneOutlook {
    /// It waits for a place.
    Waits(usize),
    /// As many wait as may.
    Full(usize),
}

/// Those of each way that has any, by its place. What is known of a route that is still there, with the same bounds, stays.
pub(super) fn of_ways(ways: &Ways, before: &[Option<Arc<Bounds>>]) -> Vec<Option<Arc<Bounds>>> {
    let each = ways.iter().map(|way| {
        let limits = way.limits.as_ref()?;
        let kept = before.iter().flatten().find(|bounds| bounds.limits == *limits);
        Some(kept.map_or_else(|| Arc::new(Bounds::new(limits.clone())), Arc::clone))
    });
    each.collect()
}

impl Bounds {
    fn new(limits: RouteLimits) -> Bounds {
        let lane = limits.max_fetches.map(|max| {
            let max = max.clamp(1, Semaphore::MAX_PERMITS);
            let places = Arc::new(Semaphore::new(max));
            Lane { places, max, waiting: AtomicUsize::new(0), refused: AtomicU64::new(0) }
        });
        let rates = limits.rate.map(|rate| Rates::with_sets(rate, SETS));
        Bounds { limits, lane, rates, limited: AtomicU64::new(0) }
    }

    /// How often its addresses may ask, if there is a bound.
    pub(super) fn rates(&self) -> Option<&Rates> {
        self.rates.as_ref()
    }

    /// One more request of this client.
    pub(super) fn let_in(&self, client: Client) -> Result<(), TooMany> {
        let Some(rates) = &self.rates else { return Ok(()) };
        rates.take(client).inspect_err(|_| {
            self.limited.fetch_add(1, Relaxed);
        })
    }

    /// What a request for its service would find now. `None`: a place.
    pub(super) fn outlook(&self) -> Option<LaneOutlook> {
        let lane = self.lane.as_ref().filter(|lane| lane.places.available_permits() == 0)?;
        let is_full = lane.waiting.load(Relaxed) >= lane.max;
        Some(if is_full { LaneOutlook::Full(lane.max) } else { LaneOutlook::Waits(lane.max) })
    }

    /// A place at the service, now or within some seconds. Dropping what it gives frees the place. Dropping the future
    /// leaves the line.
    pub(super) async fn place(&self) -> Result<Option<OwnedSemaphorePermit>, Unanswered> {
        let Some(lane) = &self.lane else { return Ok(None) };
        let refused = || {
            lane.refused.fetch_add(1, Relaxed);
            Unanswered::RouteFull
        };
        if let Ok(place) = Arc::clone(&lane.places).try_acquire_owned() {
            return Ok(Some(place));
        }
        let _waiting = lane.line_up().ok_or_else(refused)?;
        match timeout(self.limits.fetch_wait, Arc::clone(&lane.places).acquire_owned()).await {
            // It is never closed.
            Ok(Ok(place)) => Ok(Some(place)),
            Ok(Err(_)) | Err(_) => Err(refused()),
        }
    }

    pub(super) fn stats(&self) -> RouteStats {
        let Bounds { limits, lane, limited, .. } = self;
        let taken = |lane: &Lane| lane.max.saturating_sub(lane.places.available_permits()) as u64;
        RouteStats {
            route: Arc::clone(&limits.route),
            fetches: lane.as_ref().map(taken),
            waiting: lane.as_ref().map_or(0, |lane| lane.waiting.load(Relaxed) as u64),
            refused: lane.as_ref().map_or(0, |lane| lane.refused.load(Relaxed)),
            limited: limited.load(Relaxed),
        }
    }
}

/// A place in line. Dropping it gives it to another.
struct Waiting<'a>(&'a AtomicUsize);

impl Lane {
    fn line_up(&self) -> Option<Waiting<'_>> {
        let one_more = |waiting| (waiting < self.max).then_some(waiting + 1);
        self.waiting.fetch_update(Relaxed, Relaxed, one_more).ok()?;
        Some(Waiting(&self.waiting))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::routes::FETCH_WAIT;

    fn bounds(max_fetches: usize) -> Arc<Bounds> {
        let limits = RouteLimits {
            route: "/a".into(),
            max_fetches: Some(max_fetches),
            fetch_wait: FETCH_WAIT,
            rate: None,
        };
        Arc::new(Bounds::new(limits))
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_as_may_are_there_as_many_wait_and_the_rest_is_refused_at_once() {
        for max in [1, 3] {
            let bounds = bounds(max);
            let mut there = Vec::new();
            for _ in 0..max {
                there.push(bounds.place().await.unwrap().unwrap());
            }
            let began = Instant::now();
            let lined_up = (0..max).map(|_| {
                let bounds = Arc::clone(&bounds);
                tokio::spawn(async move { bounds.place().await.map(|_| ()) })
            });
            let lined_up: Vec<_> = lined_up.collect();
            tokio::task::yield_now().await;
            assert!(matches!(bounds.place().await, Err(Unanswered::RouteFull)));
            assert_eq!(began.elapsed(), Duration::ZERO);
            drop(there.pop());
            for (number, waited) in lined_up.into_iter().enumerate() {
                // Each gives its place to the next, so that one that is free is enough for all.
                assert!(waited.await.unwrap().is_ok(), "{number}");
            }
            assert_eq!(bounds.stats().fetches, Some(max as u64 - 1));
            assert_eq!(bounds.stats().refused, 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_in_vain_is_refused_and_who_leaves_frees_its_place_in_line() {
        let bounds = bounds(1);
        let there = bounds.place().await.unwrap();
        assert!(timeout(FETCH_WAIT / 2, bounds.place()).await.is_err(), "it leaves");
        let began = Instant::now();
        assert!(matches!(bounds.place().await, Err(Unanswered::RouteFull)));
        assert_eq!(began.elapsed(), FETCH_WAIT);
        drop(there);
        assert!(bounds.place().await.unwrap().is_some());
        assert_eq!(bounds.stats().refused, 1);
    }
}
