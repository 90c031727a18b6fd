//! Totals: what was counted so far, of all caches together and of whoever counts requests.
//!
//! There is one hit ratio, [`Requests::hit_ratio`], and these are what it is of: at `/v1/stats`, in the history, in metrics and
//! whatever is made of those.

use std::{sync::Arc, time::Duration};

use crate::{
    console::CountTraffic,
    figures::{Family, Figures, Kind},
    managed::Managed,
    routes::{Requests, Traffic},
};

/// What was counted so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) requests: Requests,
    pub(crate) shared_hits: u64,
    pub(crate) reader_errors: u64,
    pub(crate) refreshes: u64,
    pub(crate) origin_calls: u64,
    pub(crate) origin: Duration,
    pub(crate) origin_failures: u64,
    pub(crate) saved: Duration,
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) evictions: u64,
    pub(crate) purges: u64,
}

impl Totals {
    pub(crate) fn of(caches: &[Arc<dyn Managed>], traffic: Option<&CountTraffic>) -> Totals {
        let mut totals = Totals { max_bytes: Some(0), ..Totals::default() };
        for stats in caches.iter().map(|cache| cache.stats()) {
            let shared_hits = stats.shared_hits();
            let waited = stats.misses.saturating_sub(stats.collapsed);
            totals.requests.hit += stats.hits + stats.negative_hits + shared_hits;
            totals.requests.stale += stats.stale_served;
            totals.requests.miss += waited.saturating_sub(shared_hits);
            totals.shared_hits += shared_hits;
            totals.refreshes += stats.refreshes;
            totals.requests.collapsed += stats.collapsed;
            totals.requests.refused += stats.turns_refused;
            totals.origin_calls += stats.fetches;
            totals.origin += stats.fetch_times.sum;
            totals.origin_failures += stats.fetch_failures;
            totals.saved += stats.saved;
            totals.entries += stats.entries;
            totals.bytes += stats.bytes;
            totals.max_bytes = totals.max_bytes.zip(stats.max_bytes).map(|(sum, max)| sum + max);
            totals.evictions += stats.evictions;
            totals.purges += stats.purges;
        }
        if let Some(traffic) = traffic {
            let Traffic {
                requests,
                shared_hits,
                reader_errors,
                origin_calls,
                origin_failures,
                origin_time,
            } = traffic();
            (totals.requests, totals.shared_hits, totals.reader_errors) =
                (requests, shared_hits, reader_errors);
            totals.origin = origin_time;
            (totals.origin_calls, totals.origin_failures) = (origin_calls, origin_failures);
        }
        totals
    }
}

/// The same for metrics.
pub(crate) struct TotalFigures {
    pub(crate) caches: Vec<Arc<dyn Managed>>,
    pub(crate) traffic: Option<CountTraffic>,
}

impl Figures for TotalFigures {
    fn families(&self) -> Vec<Family> {
        let totals = Totals::of(&self.caches, self.traffic.as_ref());
        let Totals {
            requests,
            shared_hits,
            reader_errors,
            origin_calls,
            origin_failures,
            origin,
            ..
        } = totals;
        let counter = |name, help, label, samples: Vec<(&'static str, f64)>| {
            let samples = samples.into_iter().map(|(value, count)| (value.into(), count)).collect();
            Family { name, help, kind: Kind::Counter, label, samples }
        };
        let by_verdict = requests.by_verdict().map(|(verdict, count)| (verdict, count as f64));
        let Requests { hit, stale, miss, collapsed, pass, refused: _ } = requests;
        let by_tier = [
            ("memory", hit.saturating_sub(shared_hits) + stale),
            ("shared", shared_hits),
            ("origin", miss + collapsed + pass),
        ];
        let by_tier = by_tier.map(|(tier, count)| (tier, count as f64));
        // What a cache hands on it does not look into: only who answers readers knows which are errors.
        let reader_errors = self.traffic.is_some().then(|| {
            counter(
                "reader_errors",
                "Requests whose readers got an error that was the service's doing: no answer in time, or one of 5xx",
                "",
                vec![("", reader_errors as f64)],
            )
        });
        let all = [
            counter(
                "requests",
                "Requests that were finished, by what they were: hit, stale and collapsed cost the service nothing",
                "verdict",
                by_verdict.into(),
            ),
            counter("answers", "Answers, by where they came from", "tier", by_tier.into()),
            counter(
                "origin_calls",
                "How often a service was asked, for requests that pass and behind readers' backs as well",
                "",
                vec![("", origin_calls as f64)],
            ),
            counter(
                "origin_failures",
                "How many of these calls failed: no answer in time, or one of 5xx",
                "",
                vec![("", origin_failures as f64)],
            ),
            counter(
                "origin_seconds",
                "How long these calls took until the heads of the answers",
                "",
                vec![("", origin.as_secs_f64())],
            ),
        ];
        all.into_iter().chain(reader_errors).collect()
    }
}
