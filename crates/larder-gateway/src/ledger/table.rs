//! Table: all rows as they are now, for the admin API.

use std::sync::Arc;

use larder::http::{ClassHeld, policy::class::Class};
use larder_admin::routes::{RouteFigures, Seconds, Traffic};

use super::{Ledger, OTHER, OTHERWISE, OTHERWISE_BOUND, Row, times::Quantiles};
use crate::{gateway::RouteStats, routes::Way};

/// What is known of a route beside its row.
pub(crate) struct Standing<'a> {
    pub(crate) way: &'a Way,
    pub(crate) row: &'a Arc<Row>,
    pub(crate) upstream: Option<&'a Arc<str>>,
    pub(crate) bounds: Option<RouteStats>,
}

impl Ledger {
    /// A line for each of these routes, and one for all that are gone, if there was one. Routes in the same words are one:
    /// only the first of them is ever found.
    pub(crate) fn table<'a>(
        &self,
        standings: impl Iterator<Item = Standing<'a>>,
    ) -> Vec<RouteFigures> {
        let mut book = self.book();
        self.settle(&mut book);
        let mut seen = vec![false; 1 << 16];
        let mut table: Vec<_> = standings
            .filter(|standing| {
                let number = standing.row.number;
                number != OTHER && !std::mem::replace(&mut seen[usize::from(number)], true)
            })
            .map(|standing| self.line(&standing))
            .collect();
        let gone =
            book.gone.iter().map(|row| row.number).filter(|number| !seen[usize::from(*number)]);
        let classes = book.leftover.iter().copied().chain(gone).chain([OTHER]).map(Class::new);
        let held = classes.map(|class| self.cache.held_by(class)).fold(ClassHeld::default(), sum);
        let mut other = figures(&self.other, held);
        for row in book.gone.iter().filter(|row| !seen[usize::from(row.number)]) {
            add(&mut other, &figures(row, ClassHeld::default()));
        }
        if other.requests.sum() > 0 || other.entries > 0 || other.origin_calls > 0 {
            table.push(other);
        }
        table
    }

    /// What the requests of all routes come to, those of routes that are gone among them.
    pub(crate) fn traffic(&self) -> Traffic {
        let book = self.book();
        let rows = book.rows.values().chain(&book.gone).chain([&self.otherwise, &self.other]);
        rows.fold(Traffic::default(), |sum, row| {
            let (origin_calls, origin_failures, origin_time) = row.origin();
            Traffic {
                // In this order: these are parts of the requests.
                shared_hits: sum.shared_hits + row.shared_hits(),
                reader_errors: sum.reader_errors + row.reader_errors(),
                requests: sum.requests.and(row.by_verdict()),
                origin_calls: sum.origin_calls + origin_calls,
                origin_failures: sum.origin_failures + origin_failures,
                origin_time: sum.origin_time + origin_time,
            }
        })
    }

    fn line(&self, standing: &Standing<'_>) -> RouteFigures {
        let Standing { way, row, upstream, bounds } = standing;
        let held = match row.number {
            OTHERWISE => sum(self.cache.held_by(Class::NONE), self.cache.held_by(OTHERWISE_BOUND)),
            _ => self.cache.held_by(row.class()),
        };
        RouteFigures {
            line: way.name.line.clone(),
            upstream: upstream.map(Arc::clone),
            is_cached: way.is_cached,
            max_bytes: way.max_memory,
            fetches_now: bounds.as_ref().and_then(|bounds| bounds.fetches),
            waiting: bounds.as_ref().map_or(0, |bounds| bounds.waiting),
            limited: bounds.as_ref().map_or(0, |bounds| bounds.limited),
            fetches_refused: bounds.as_ref().map_or(0, |bounds| bounds.refused),
            ..figures(row, held)
        }
    }
}

fn sum(one: ClassHeld, other: ClassHeld) -> ClassHeld {
    ClassHeld {
        entries: one.entries + other.entries,
        bytes: one.bytes + other.bytes,
        evicted: one.evicted + other.evicted,
    }
}

fn figures(row: &Row, held: ClassHeld) -> RouteFigures {
    let counts = row.counts();
    let seconds = |times: Option<Quantiles>| {
        times.map(|Quantiles { p50, p95, p99 }| Seconds {
            p50: p50.as_secs_f64(),
            p95: p95.as_secs_f64(),
            p99: p99.as_secs_f64(),
        })
    };
    RouteFigures {
        route: Arc::clone(&row.words),
        // In this order: these are parts of the requests.
        shared_hits: row.shared_hits(),
        reader_errors: row.reader_errors(),
        requests: row.by_verdict(),
        reasons: counts.reasons.iter().map(|(reason, count)| (reason.as_str(), *count)).collect(),
        hit_seconds: seconds(counts.hit_times),
        miss_seconds: seconds(counts.waited_times),
        waits: counts.waits,
        origin_calls: counts.origin_calls,
        origin_failures: counts.origin_failures,
        origin_seconds: counts.origin_time.as_secs_f64(),
        saved_seconds: counts.saved.as_secs_f64(),
        entries: held.entries as u64,
        bytes: held.bytes as u64,
        evicted: held.evicted,
        is_cached: true,
        ..RouteFigures::default()
    }
}

/// What a route had whose row is not closed yet; its quantiles stay apart until then.
fn add(other: &mut RouteFigures, gone: &RouteFigures) {
    other.shared_hits += gone.shared_hits;
    other.reader_errors += gone.reader_errors;
    other.requests = other.requests.and(gone.requests);
    for (reason, count) in &gone.reasons {
        match other.reasons.iter_mut().find(|(known, _)| known == reason) {
            Some((_, sum)) => *sum += count,
            None => other.reasons.push((*reason, *count)),
        }
    }
    other.waits = other.waits.and(gone.waits);
    other.origin_calls += gone.origin_calls;
    other.origin_failures += gone.origin_failures;
    other.origin_seconds += gone.origin_seconds;
    other.saved_seconds += gone.saved_seconds;
}
