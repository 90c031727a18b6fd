//! Figures: what happened between two looks, for each second. Pure.

use serde::Serialize;

use super::look::{CacheCounts, Entry, Look, Purge, Route, Traffic, Upstream};

/// What `larder top --json` prints, and the screen shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Figures {
    pub(super) uptime_seconds: f64,
    /// Of how long these are.
    pub(super) seconds: f64,
    pub(super) requests_per_second: f64,
    pub(super) hits_per_second: f64,
    pub(super) stale_per_second: f64,
    /// Answered with what another reader's request brought.
    pub(super) collapsed_per_second: f64,
    pub(super) misses_per_second: f64,
    /// The share of all but those that pass or are refused which cost the service nothing: hits, stale and collapsed. None
    /// where there was none.
    pub(super) hit_ratio: Option<f64>,
    pub(super) origin_calls_per_second: f64,
    pub(super) origin_failures_per_second: f64,
    pub(super) saved_seconds_per_second: f64,
    pub(super) evictions_per_second: f64,
    pub(super) purges: u64,
    pub(super) entries: u64,
    pub(super) bytes: u64,
    pub(super) max_bytes: Option<u64>,
    pub(super) upstreams: Vec<UpstreamFigures>,
    /// None where the gateway does not tell of them.
    pub(super) routes: Option<Vec<RouteFigures>>,
    /// What took longest to fetch. None where the gateway does not tell of it.
    pub(super) slowest: Option<Vec<Entry>>,
    /// The last purges, the newest last. None where the gateway does not tell of them.
    pub(super) recent_purges: Option<Vec<Purge>>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct UpstreamFigures {
    pub(super) name: String,
    pub(super) addresses: usize,
    /// Those that get no requests now.
    pub(super) down: Vec<String>,
    pub(super) requests_per_second: f64,
    pub(super) failures_per_second: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct RouteFigures {
    pub(super) route: String,
    pub(super) requests_per_second: f64,
    pub(super) hit_ratio: Option<f64>,
    pub(super) origin_calls_per_second: f64,
    /// Without an answer in time, or with one of 5xx.
    pub(super) origin_failures_per_second: f64,
    /// How long readers and refreshes wait for the service, all together.
    pub(super) origin_seconds_per_second: f64,
    pub(super) bytes: u64,
}

impl Figures {
    /// What came about from `before` to `now`. Where the gateway was started anew meanwhile, since then.
    pub(super) fn between(before: &Look, now: &Look) -> Figures {
        let is_same = now.stats.uptime_seconds >= before.stats.uptime_seconds;
        let elapsed = now.at.saturating_duration_since(before.at).as_secs_f64();
        let seconds = if is_same { elapsed } else { now.stats.uptime_seconds };
        // Two looks at once tell of no time.
        let per_second = |count: f64| if seconds > 0.0 { count / seconds } else { 0.0 };
        let sum = |look: &Look, of: fn(&CacheCounts) -> u64| -> u64 {
            look.stats.caches.iter().map(of).fold(0, u64::saturating_add)
        };
        let grown = |of: fn(&CacheCounts) -> u64| match is_same {
            true => sum(now, of).saturating_sub(sum(before, of)),
            false => sum(now, of),
        };
        let saved = |look: &Look| look.stats.caches.iter().map(|cache| cache.saved_seconds).sum();
        let (saved, saved_before): (f64, f64) = (saved(now), saved(before));
        let saved = if is_same { (saved - saved_before).max(0.0) } else { saved };
        // The caches see no request that passes, and what one costs the service.
        let of_traffic = |of: &dyn Fn(&Traffic) -> Option<u64>| {
            let count = of(now.stats.traffic.as_ref()?)?;
            let before = before.stats.traffic.as_ref().filter(|_| is_same).and_then(of);
            Some(count.saturating_sub(before.unwrap_or_default()))
        };
        let of_verdict = |verdict: &str| {
            of_traffic(&|traffic| Some(traffic.requests.get(verdict).copied().unwrap_or_default()))
        };
        let collapsed = of_verdict("collapsed").unwrap_or_else(|| grown(|cache| cache.collapsed));
        let hits = of_verdict("hit");
        let hits =
            hits.unwrap_or_else(|| grown(|cache| cache.hits.saturating_add(cache.negative_hits)));
        let stale = of_verdict("stale").unwrap_or_else(|| grown(|cache| cache.stale_served));
        let misses = of_verdict("miss")
            .unwrap_or_else(|| grown(|cache| cache.misses).saturating_sub(collapsed));
        let answered = hits.saturating_add(stale).saturating_add(collapsed);
        let asked = answered.saturating_add(misses);
        let requests = of_traffic(&|traffic| {
            Some(traffic.requests.values().fold(0, |sum, count| u64::saturating_add(sum, *count)))
        });
        let requests = requests.unwrap_or(asked);
        let calls = of_traffic(&|traffic| Some(traffic.origin_calls));
        let calls = calls.unwrap_or_else(|| grown(|cache| cache.fetches));
        let failures = of_traffic(&|traffic| traffic.origin_failures);
        let failures = failures.unwrap_or_else(|| grown(|cache| cache.fetch_failures));
        let bounds = now.stats.caches.iter().map(|cache| cache.max_bytes);
        Figures {
            uptime_seconds: now.stats.uptime_seconds,
            seconds,
            requests_per_second: per_second(requests as f64),
            hits_per_second: per_second(hits as f64),
            stale_per_second: per_second(stale as f64),
            collapsed_per_second: per_second(collapsed as f64),
            misses_per_second: per_second(misses as f64),
            hit_ratio: ratio(answered, asked),
            origin_calls_per_second: per_second(calls as f64),
            origin_failures_per_second: per_second(failures as f64),
            saved_seconds_per_second: per_second(saved),
            evictions_per_second: per_second(grown(|cache| cache.evictions) as f64),
            purges: grown(|cache| cache.purges),
            entries: sum(now, |cache| cache.entries),
            bytes: sum(now, |cache| cache.bytes),
            // A cache without a bound has all of them none.
            max_bytes: bounds.sum(),
            upstreams: upstreams(before, now, is_same, per_second),
            routes: routes(before, now, is_same, per_second),
            slowest: now.slowest.clone(),
            recent_purges: now.purges.clone(),
        }
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn upstreams(
    before: &Look,
    now: &Look,
    is_same: bool,
    per_second: impl Fn(f64) -> f64,
) -> Vec<UpstreamFigures> {
    let counted = |upstream: &Upstream| {
        let each = |of: fn(&super::look::Address) -> u64| {
            upstream.addresses.iter().map(of).fold(0, u64::saturating_add)
        };
        (each(|address| address.requests), each(|address| address.failures))
    };
    let each = now.stats.upstreams.iter().map(|upstream| {
        let earlier = before.stats.upstreams.iter().find(|other| other.name == upstream.name);
        let earlier = earlier.filter(|_| is_same).map(counted).unwrap_or_default();
        let (requests, failures) = counted(upstream);
        let down = upstream.addresses.iter().filter(|address| !address.is_up);
        UpstreamFigures {
            name: upstream.name.clone(),
            addresses: upstream.addresses.len(),
            down: down.map(|address| address.address.clone()).collect(),
            requests_per_second: per_second(requests.saturating_sub(earlier.0) as f64),
            failures_per_second: per_second(failures.saturating_sub(earlier.1) as f64),
        }
    });
    each.collect()
}

fn routes(
    before: &Look,
    now: &Look,
    is_same: bool,
    per_second: impl Fn(f64) -> f64,
) -> Option<Vec<RouteFigures>> {
    let none = Route::default();
    let earlier = before.routes.as_deref().unwrap_or_default();
    let each = now.routes.as_ref()?.iter().map(|route| {
        let earlier = earlier.iter().find(|other| other.route == route.route);
        let earlier = earlier.filter(|_| is_same).unwrap_or(&none);
        let grown = |verdicts: &[&str]| -> u64 {
            let count = |route: &Route| {
                let each = verdicts.iter().map(|verdict| route.requests.get(*verdict));
                each.map(|count| count.copied().unwrap_or_default()).fold(0, u64::saturating_add)
            };
            count(route).saturating_sub(count(earlier))
        };
        let answered = grown(&["hit", "stale", "collapsed"]);
        let asked = answered.saturating_add(grown(&["miss"]));
        let all = asked.saturating_add(grown(&["pass", "refused"]));
        let calls = route.origin_calls.saturating_sub(earlier.origin_calls);
        let failures = route.origin_failures.saturating_sub(earlier.origin_failures);
        let waited = (route.origin_seconds - earlier.origin_seconds).max(0.0);
        RouteFigures {
            route: route.route.clone(),
            requests_per_second: per_second(all as f64),
            hit_ratio: ratio(answered, asked),
            origin_calls_per_second: per_second(calls as f64),
            origin_failures_per_second: per_second(failures as f64),
            origin_seconds_per_second: per_second(waited),
            bytes: route.bytes,
        }
    });
    Some(each.collect())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::json;

    use super::*;

    fn look(at: Instant, uptime: f64, hits: u64, misses: u64) -> Look {
        let stats = json!({
            "uptime_seconds": uptime,
            "caches": [{
                "hits": hits, "negative_hits": 0, "stale_served": 0, "misses": misses,
                "fetches": misses, "saved_seconds": hits as f64, "bytes": 7, "max_bytes": 10,
                "of no interest": true,
            }],
            "upstreams": [{ "name": "app", "addresses": [
                { "address": "http://a", "is_up": true, "requests": misses, "failures": 0 },
                { "address": "http://b", "is_up": false, "requests": 0, "failures": misses },
            ] }],
        });
        let routes = json!([{
            "route": "/a", "requests": { "hit": hits, "miss": misses, "pass": 5 },
            "origin_calls": misses, "origin_seconds": misses as f64, "bytes": 3,
        }]);
        Look {
            at,
            stats: serde_json::from_value(stats).unwrap(),
            routes: Some(serde_json::from_value(routes).unwrap()),
            slowest: None,
            purges: None,
        }
    }

    #[test]
    fn rates_are_of_what_came_between_two_looks() {
        let began = Instant::now();
        let later = began + Duration::from_secs(2);
        let figures = Figures::between(&look(began, 10.0, 100, 10), &look(later, 12.0, 106, 12));
        assert_eq!((figures.seconds, figures.requests_per_second), (2.0, 4.0));
        assert_eq!((figures.hit_ratio, figures.origin_calls_per_second), (Some(0.75), 1.0));
        assert_eq!((figures.saved_seconds_per_second, figures.max_bytes), (3.0, Some(10)));
        let upstream = &figures.upstreams[0];
        assert_eq!(
            (upstream.down.as_slice(), upstream.failures_per_second),
            (&["http://b".to_owned()][..], 1.0)
        );
        let route = &figures.routes.unwrap()[0];
        assert_eq!((route.requests_per_second, route.hit_ratio), (4.0, Some(0.75)));
        assert_eq!(route.origin_seconds_per_second, 1.0);
    }

    #[test]
    fn who_shared_a_fetch_cost_the_service_nothing_whoever_counts() {
        let began = Instant::now();
        let later = began + Duration::from_secs(1);
        let shared = |mut look: Look, collapsed: u64, counts: bool| {
            look.stats.caches[0].collapsed = collapsed;
            let requests = [("collapsed".to_owned(), collapsed), ("miss".to_owned(), 1)].into();
            let traffic = Traffic { requests, origin_calls: 1, origin_failures: None };
            look.stats.traffic = counts.then_some(traffic);
            look
        };
        for counts in [true, false] {
            let before = shared(look(began, 10.0, 0, 1), 0, counts);
            let figures =
                Figures::between(&before, &shared(look(later, 11.0, 0, 1001), 999, counts));
            assert_eq!(figures.collapsed_per_second, 999.0);
            let misses = if counts { 0.0 } else { 1.0 };
            assert_eq!(figures.misses_per_second, misses);
            assert_eq!(figures.hit_ratio, Some(999.0 / (999.0 + misses)));
        }
    }

    #[test]
    fn what_passes_is_a_request_and_a_call_of_the_service() {
        let began = Instant::now();
        let traffic = |mut look: Look, passed: u64| {
            look.stats.traffic = Some(Traffic {
                requests: [("pass".to_owned(), passed), ("hit".to_owned(), 100)].into(),
                origin_calls: passed,
                origin_failures: Some(passed / 2),
            });
            look
        };
        let before = traffic(look(began, 10.0, 100, 10), 40);
        let later = began + Duration::from_secs(2);
        let figures = Figures::between(&before, &traffic(look(later, 12.0, 100, 10), 46));
        assert_eq!((figures.requests_per_second, figures.origin_calls_per_second), (3.0, 3.0));
        assert_eq!((figures.origin_failures_per_second, figures.hit_ratio), (1.5, None));
        let anew = Figures::between(&before, &traffic(look(later, 1.0, 100, 10), 6));
        assert_eq!(anew.origin_calls_per_second, 6.0);
    }

    #[test]
    fn a_gateway_that_was_started_anew_is_counted_from_its_start() {
        let began = Instant::now();
        let later = began + Duration::from_secs(5);
        let figures = Figures::between(&look(began, 1000.0, 100, 10), &look(later, 2.0, 6, 2));
        assert_eq!((figures.seconds, figures.requests_per_second), (2.0, 4.0));
        assert_eq!((figures.hit_ratio, figures.saved_seconds_per_second), (Some(0.75), 3.0));
    }

    #[test]
    fn two_looks_at_once_and_nothing_asked_are_no_numbers_beyond_all_bounds() {
        let now = Instant::now();
        let one = look(now, 10.0, u64::MAX, 0);
        let figures = Figures::between(&one, &one);
        assert_eq!((figures.requests_per_second, figures.hit_ratio), (0.0, None));
        assert!(serde_json::to_string(&figures).unwrap().contains("\"hit_ratio\":null"));
    }
}
