//! Metrics: every counter of every cache, as OpenMetrics text.

use std::{fmt, sync::Arc, time::Duration};

use axum::{extract::State, response::IntoResponse};
use http::header;
use larder::{Stats, Times};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};

use crate::{admin::Console, managed::Managed};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(crate) async fn metrics(State(console): State<Arc<Console>>) -> impl IntoResponse {
    let mut text = String::new();
    text::encode(&mut text, &console.metrics).expect("a string takes all");
    ([(header::CONTENT_TYPE, OPEN_METRICS)], text)
}

/// What is scraped: made once, read at each scrape.
pub(crate) fn registry(caches: &[Arc<dyn Managed>]) -> Registry {
    let mut registry = Registry::with_prefix("larder");
    registry.register_collector(Box::new(Caches(caches.to_vec())));
    registry
}

struct Caches(Vec<Arc<dyn Managed>>);

/// A counter: name, help, unit, and the label that tells apart what one name counts.
type Count = (&'static str, &'static str, Option<Unit>, &'static str, fn(&Stats) -> Vec<Sample>);
type Sample = (&'static str, f64);

/// Rows of one name follow one another. An empty label name means that there is none.
const COUNTERS: &[Count] = &[
    ("lookups", "Requests and look-ups, by what came of them", None, "verdict", |stats| {
        vec![
            ("hit", stats.hits as f64),
            ("stale", stats.stale_served as f64),
            ("negative", stats.negative_hits as f64),
            ("miss", stats.misses as f64),
        ]
    }),
    ("collapsed", "Misses that shared another reader's fetch", None, "", |stats| {
        vec![("", stats.collapsed as f64)]
    }),
    (
        "turns",
        "Requests that could not ask the origin at once, by what came of it",
        None,
        "outcome",
        |stats| {
            vec![("awaited", stats.turns_awaited as f64), ("refused", stats.turns_refused as f64)]
        },
    ),
    ("abandoned", "Fetches given up because all their readers had left", None, "", |stats| {
        vec![("", stats.abandoned as f64)]
    }),
    ("origin_requests", "Fetches begun: what the origin saw", None, "", |stats| {
        vec![("", stats.loads as f64)]
    }),
    ("fetches_out_of_turn", "Fetches that ran although all turns were taken", None, "", |stats| {
        vec![("", stats.fetches_out_of_turn as f64)]
    }),
    ("fetches_taken_over", "Fetches begun anew because nobody drove theirs", None, "", |stats| {
        vec![("", stats.fetches_taken_over as f64)]
    }),
    ("origin_failures", "Fetches that ended without a value", None, "", |stats| {
        vec![("", stats.load_failures as f64)]
    }),
    (
        "refreshes",
        "Refreshes behind readers' backs, and such as were not",
        None,
        "outcome",
        |stats| {
            vec![
                ("begun", stats.refreshes as f64),
                ("dropped", stats.refreshes_dropped as f64),
                ("held_back", stats.refreshes_held_back as f64),
            ]
        },
    ),
    ("evictions", "Entries that went, by cause", None, "cause", |stats| {
        vec![("room", stats.evictions as f64), ("expired", stats.expired as f64)]
    }),
    ("too_large", "Values not stored for their size", None, "", |stats| {
        vec![("", stats.too_large as f64)]
    }),
    ("purges", "Purges of a key, a prefix, a tag or everything", None, "", |stats| {
        vec![("", stats.purges as f64)]
    }),
    (
        "origin_saved",
        "What the hits would have cost in fetches",
        Some(Unit::Seconds),
        "",
        |stats| vec![("", stats.saved.as_secs_f64())],
    ),
    ("fetches_timed", "Fetches in larder_fetch_duration_seconds", None, "", |stats| {
        vec![("", stats.fetch_times.count as f64)]
    }),
    ("hits_timed", "Hits in larder_hit_duration_seconds, one in 1024", None, "", |stats| {
        vec![("", stats.hit_times.count as f64)]
    }),
];

const GAUGES: &[Count] = &[
    ("entries", "Entries held", None, "", |stats| vec![("", stats.entries as f64)]),
    ("memory", "What they weigh, overhead included", Some(Unit::Bytes), "", |stats| {
        vec![("", stats.bytes as f64)]
    }),
    ("memory_max", "The bound", Some(Unit::Bytes), "", |stats| vec![("", stats.max_bytes as f64)]),
    ("tags", "Tags whose last purge is remembered", None, "", |stats| {
        vec![("", stats.tags as f64)]
    }),
    ("fetch_duration", "How long fetches took", Some(Unit::Seconds), "quantile", |stats| {
        quantiles(stats.fetch_times)
    }),
    ("hit_duration", "How long hits took", Some(Unit::Seconds), "quantile", |stats| {
        quantiles(stats.hit_times)
    }),
];

fn quantiles(times: Times) -> Vec<Sample> {
    let seconds = |time: Duration| time.as_secs_f64();
    vec![("0.5", seconds(times.p50)), ("0.99", seconds(times.p99)), ("1", seconds(times.max))]
}

impl Collector for Caches {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let stats: Vec<_> = self.0.iter().map(|cache| (cache.name(), cache.stats())).collect();
        let kinds = [(COUNTERS, MetricType::Counter), (GAUGES, MetricType::Gauge)];
        for (rows, kind) in kinds {
            for (name, help, unit, label, read) in rows {
                let mut family = encoder.encode_descriptor(name, help, unit.as_ref(), kind)?;
                for (cache, stats) in &stats {
                    for (value, sample) in read(stats) {
                        encode(&mut family, cache, (label, value), kind, sample)?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn encode(
    family: &mut MetricEncoder<'_>,
    cache: &str,
    label: (&str, &str),
    kind: MetricType,
    sample: f64,
) -> Result<(), fmt::Error> {
    let mut labels = vec![("cache", cache)];
    if !label.0.is_empty() {
        labels.push(label);
    }
    let one = family.encode_family(&labels)?;
    match kind {
        MetricType::Counter => ConstCounter::new(sample).encode(one),
        _ => ConstGauge::new(sample).encode(one),
    }
}

impl fmt::Debug for Caches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|cache| cache.name())).finish()
    }
}
