//! Stats: the counters of every cache, as JSON.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use larder::{Doubt, LowerStats};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    console::Console,
    problem::ProblemView,
    routes::{Requests, Traffic},
};

/// The counters of every cache, and what stands beside them.
#[utoipa::path(
    get, path = "/v1/stats", tag = "counters",
    responses(
        (status = 200, description = "The counters.", body = Sample),
        (status = "default", description = "A problem.", body = ProblemView, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn stats(State(console): State<Arc<Console>>) -> Json<Sample> {
    Json(Sample::of(&console))
}

/// What `/v1/stats` and each event say.
#[derive(Serialize, ToSchema)]
pub(crate) struct Sample {
    uptime_seconds: f64,
    /// The share of the requests that the cache had a part in which cost the service nothing: hits, stale answers, and what
    /// another reader's request brought (collapsed). `null` before the first.
    hit_ratio: Option<f64>,
    caches: Vec<CacheSample>,
    /// Every request that was finished, those that no cache sees among them. `null` where nobody counts them: where an
    /// application asks the caches itself.
    traffic: Option<TrafficSample>,
    /// What others have added, each by its name.
    #[serde(flatten)]
    #[schema(value_type = std::collections::HashMap<String, serde_json::Value>)]
    further: BTreeMap<&'static str, serde_json::Value>,
}

#[derive(Serialize, ToSchema)]
struct TrafficSample {
    requests: Requests,
    /// How many of the hits the shared tier had.
    shared_hits: u64,
    /// How many requests ended in an error for their reader that was the service's doing: 5xx from it, or no answer in time. They
    /// are among the misses, the collapsed and the passed.
    reader_errors: u64,
    /// How often a service was asked, also for requests that pass and behind readers' backs.
    origin_calls: u64,
    /// How many of these calls failed: no answer in time, or one of 5xx.
    origin_failures: u64,
    /// How long that took until the heads of the answers, all together.
    origin_seconds: f64,
}

impl From<Traffic> for TrafficSample {
    fn from(traffic: Traffic) -> Self {
        let Traffic {
            requests,
            shared_hits,
            reader_errors,
            origin_calls,
            origin_failures,
            origin_time,
        } = traffic;
        TrafficSample {
            requests,
            shared_hits,
            reader_errors,
            origin_calls,
            origin_failures,
            origin_seconds: origin_time.as_secs_f64(),
        }
    }
}

#[derive(Serialize, ToSchema)]
struct CacheSample {
    name: String,
    hits: u64,
    misses: u64,
    /// [`Stats::hit_rate`](larder::Stats::hit_rate); `null` before the first look-up.
    hit_rate: Option<f64>,
    /// Not among the hits: those are fresh.
    stale_served: u64,
    refreshes: u64,
    /// Given up because too many waited, or because no runtime could run them.
    refreshes_dropped: u64,
    /// Not begun because the last one of the key failed just now.
    refreshes_held_back: u64,
    backoffs_forgotten: u64,
    negative_hits: u64,
    fetches: u64,
    fetch_failures: u64,
    collapsed: u64,
    turns_awaited: u64,
    turns_refused: u64,
    abandoned: u64,
    /// Although all turns were taken.
    fetches_out_of_turn: u64,
    /// Because the runtime they ran on was not driven.
    fetches_taken_over: u64,
    evictions: u64,
    /// Removed because they could no longer be served.
    expired: u64,
    too_large: u64,
    no_room: u64,
    readers_cut: u64,
    tags_left_out: u64,
    purges: u64,
    /// Whose last purge is remembered.
    tags: u64,
    entries: u64,
    bytes: u64,
    /// `null` where only the number of entries is bounded.
    max_bytes: Option<u64>,
    /// What fetching all that was served from entries would have taken.
    saved_seconds: f64,
    /// Where nothing lies below memory: all zero, and trusted.
    lower: LowerSample,
}

/// What is told of the tier below memory: see [`LowerStats`].
#[derive(Serialize, ToSchema)]
struct LowerSample {
    hits: u64,
    misses: u64,
    rescues: u64,
    failures: u64,
    left_alone: u64,
    unreadable: u64,
    writes: u64,
    writes_refused: u64,
    writes_dropped: u64,
    purges_outstanding: u64,
    purges_learnt: u64,
    gaps: u64,
    overflows: u64,
    purges_folded: u64,
    purges_widened: u64,
    renewals: u64,
    is_trusted: bool,
    log_position: u64,
    log_behind: u64,
    log_behind_seconds: f64,
    outbox_bytes: u64,
    outbox_age_seconds: f64,
    outbox_file_bytes: u64,
    outbox_failures: u64,
    is_outbox_failing: bool,
    forks: u64,
    readers: u64,
    readers_alive: u64,
    replicas: u64,
    /// Why its server may lose what it has acknowledged, as it was when that was last asked: with a purge.
    doubt: Option<&'static str>,
    is_reconciling: bool,
}

impl From<LowerStats> for LowerSample {
    fn from(stats: LowerStats) -> Self {
        LowerSample {
            hits: stats.hits,
            misses: stats.misses,
            rescues: stats.rescues,
            failures: stats.failures,
            left_alone: stats.left_alone,
            unreadable: stats.unreadable,
            writes: stats.writes,
            writes_refused: stats.writes_refused,
            writes_dropped: stats.writes_dropped,
            purges_outstanding: stats.purges_outstanding,
            purges_learnt: stats.purges_learnt,
            gaps: stats.gaps,
            overflows: stats.overflows,
            purges_folded: stats.purges_folded,
            purges_widened: stats.purges_widened,
            renewals: stats.renewals,
            is_trusted: stats.is_trusted,
            log_position: stats.log_position,
            log_behind: stats.log_behind,
            log_behind_seconds: stats.log_behind_for.as_secs_f64(),
            outbox_bytes: stats.outbox_bytes,
            outbox_age_seconds: stats.outbox_age.as_secs_f64(),
            outbox_file_bytes: stats.outbox_file_bytes,
            outbox_failures: stats.outbox_failures,
            is_outbox_failing: stats.is_outbox_failing,
            forks: stats.forks,
            readers: stats.readers,
            readers_alive: stats.readers_alive,
            replicas: stats.replicas,
            doubt: stats.doubt.map(Doubt::as_str),
            is_reconciling: stats.is_reconciling,
        }
    }
}

impl Sample {
    /// What there is to say now.
    pub(crate) fn of(console: &Console) -> Sample {
        let caches = console.caches.iter().map(|cache| {
            let stats = cache.stats();
            CacheSample {
                name: cache.name().to_owned(),
                hits: stats.hits,
                misses: stats.misses,
                hit_rate: stats.hit_rate(),
                stale_served: stats.stale_served,
                refreshes: stats.refreshes,
                refreshes_dropped: stats.refreshes_dropped,
                refreshes_held_back: stats.refreshes_held_back,
                backoffs_forgotten: stats.backoffs_forgotten,
                negative_hits: stats.negative_hits,
                fetches: stats.fetches,
                fetch_failures: stats.fetch_failures,
                collapsed: stats.collapsed,
                turns_awaited: stats.turns_awaited,
                turns_refused: stats.turns_refused,
                abandoned: stats.abandoned,
                fetches_out_of_turn: stats.fetches_out_of_turn,
                fetches_taken_over: stats.fetches_taken_over,
                evictions: stats.evictions,
                expired: stats.expired,
                too_large: stats.too_large,
                no_room: stats.no_room,
                readers_cut: stats.readers_cut,
                tags_left_out: stats.tags_left_out,
                purges: stats.purges,
                tags: stats.tags,
                entries: stats.entries,
                bytes: stats.bytes,
                max_bytes: stats.max_bytes,
                saved_seconds: stats.saved.as_secs_f64(),
                lower: stats.lower.into(),
            }
        });
        Sample {
            uptime_seconds: console.started.elapsed().as_secs_f64(),
            hit_ratio: console.totals().requests.hit_ratio(),
            caches: caches.collect(),
            traffic: console.traffic.as_ref().map(|traffic| traffic().into()),
            further: console.stats.iter().map(|(name, part)| (*name, part())).collect(),
        }
    }
}
