//! Metrics: every counter of every cache, and the figures of what is beside them, as OpenMetrics text.

use std::{borrow::Cow, fmt, sync::Arc};

use axum::{extract::State, response::IntoResponse};
use http::header;
use larder::{Stats, Times, reason::Reason};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};

use crate::{
    console::Console,
    distributions,
    figures::{Distributions, Family, Figures, Kind, Table},
    managed::Managed,
    problem::ProblemView,
};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The counters for Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "counters",
    responses(
        (status = 200, description = "OpenMetrics text.", body = String, content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        (status = "default", description = "A problem.", body = ProblemView, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn metrics(State(console): State<Arc<Console>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], console.metrics.text())
}

/// What all names begin with.
pub(crate) const PREFIX: &str = "larder";

/// What is scraped: made once, read at each scrape.
#[derive(Debug)]
pub(crate) struct Scraped {
    registry: Registry,
    further: Further,
}

impl Scraped {
    pub(crate) fn new(caches: &[Arc<dyn Managed>], figures: Vec<Box<dyn Figures>>) -> Scraped {
        let further = Further(figures.into());
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register_collector(Box::new(Caches(caches.to_vec())));
        registry.register_collector(Box::new(further.clone()));
        Scraped { registry, further }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        text::encode_registry(&mut text, &self.registry)
            .and_then(|()| distributions::write(&mut text, &self.further.distributions()))
            .and_then(|()| text::encode_eof(&mut text))
            .expect("a string takes all");
        text
    }
}

struct Caches(Vec<Arc<dyn Managed>>);

/// A counter: name, help, unit, and the label that tells apart what one name counts.
type Count = (&'static str, &'static str, Option<Unit>, &'static str, fn(&Stats) -> Vec<Sample>);
type Sample = (&'static str, f64);

/// Rows of one name follow one another. An empty label name means that there is none.
const COUNTERS: &[Count] = &[
    ("lookups", "Requests and look-ups, by what came of them", None, "verdict", |stats| {
        vec![
            (Reason::Hit.as_str(), stats.hits as f64),
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
    ("fetches", "Fetches begun: what the origin saw", None, "", |stats| {
        vec![("", stats.fetches as f64)]
    }),
    ("fetches_out_of_turn", "Fetches that ran although all turns were taken", None, "", |stats| {
        vec![("", stats.fetches_out_of_turn as f64)]
    }),
    ("fetches_taken_over", "Fetches begun anew because nobody drove theirs", None, "", |stats| {
        vec![("", stats.fetches_taken_over as f64)]
    }),
    ("fetch_failures", "Fetches that ended without a value", None, "", |stats| {
        vec![("", stats.fetch_failures as f64)]
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
    (
        "backoffs_forgotten",
        "Failures of refreshes forgotten because too many keys had one",
        None,
        "",
        |stats| vec![("", stats.backoffs_forgotten as f64)],
    ),
    ("evictions", "Entries that went, by cause", None, "cause", |stats| {
        vec![("room", stats.evictions as f64), (Reason::Expired.as_str(), stats.expired as f64)]
    }),
    ("too_large", "Values not stored for their size", None, "", |stats| {
        vec![("", stats.too_large as f64)]
    }),
    ("no_room", "Values not stored because others had all the room just then", None, "", |stats| {
        vec![("", stats.no_room as f64)]
    }),
    (
        "readers_cut",
        "Readers cut off because bodies held all the memory they may and these did not go on",
        None,
        "",
        |stats| vec![("", stats.readers_cut as f64)],
    ),
    (
        "tags_left_out",
        "Tags that did not fit into the fields that caches outside read",
        None,
        "",
        |stats| vec![("", stats.tags_left_out as f64)],
    ),
    ("purges", "Purges of a key, a prefix, a tag or everything", None, "", |stats| {
        vec![("", stats.purges as f64)]
    }),
    ("fetch_saved", "What the hits would have cost in fetches", Some(Unit::Seconds), "", |stats| {
        vec![("", stats.saved.as_secs_f64())]
    }),
    ("lower_lookups", "Misses in memory, by what the tier below had", None, "outcome", |stats| {
        let lower = &stats.lower;
        vec![
            (Reason::Hit.as_str(), lower.hits as f64),
            ("miss", lower.misses as f64),
            ("rescue", lower.rescues as f64),
        ]
    }),
    ("lower_calls_lost", "Calls to the tier below without an answer", None, "cause", |stats| {
        let lower = &stats.lower;
        vec![("failed", lower.failures as f64), ("left_alone", lower.left_alone as f64)]
    }),
    ("lower_unreadable", "Records below of another format, or broken", None, "", |stats| {
        vec![("", stats.lower.unreadable as f64)]
    }),
    ("lower_writes", "Values on their way below, by what came of them", None, "outcome", |stats| {
        let lower = &stats.lower;
        vec![
            ("written", lower.writes as f64),
            ("refused", lower.writes_refused as f64),
            ("dropped", lower.writes_dropped as f64),
        ]
    }),
    ("lower_purges_learnt", "Purges of other processes, read below", None, "", |stats| {
        vec![("", stats.lower.purges_learnt as f64)]
    }),
    (
        "lower_purges_folded",
        "Purges that became one with another that waited and names as much",
        None,
        "",
        |stats| vec![("", stats.lower.purges_folded as f64)],
    ),
    (
        "lower_purges_widened",
        "How often too many purges that readers caused became a few of all below their paths",
        None,
        "",
        |stats| vec![("", stats.lower.purges_widened as f64)],
    ),
    ("lower_everything_lost", "How often all had to go for its sake", None, "cause", |stats| {
        let lower = &stats.lower;
        vec![("gap", lower.gaps as f64), ("overflow", lower.overflows as f64)]
    }),
    (
        "lower_forks",
        "How often the tier below lost some of its log and got it back",
        None,
        "",
        |stats| vec![("", stats.lower.forks as f64)],
    ),
    (
        "lower_outbox_failures",
        "How often the outbox could not be written to disk",
        None,
        "",
        |stats| vec![("", stats.lower.outbox_failures as f64)],
    ),
    ("lower_renewals", "How often the tier below said where its log ends", None, "", |stats| {
        vec![("", stats.lower.renewals as f64)]
    }),
];

const GAUGES: &[Count] = &[
    ("entries", "Entries held", None, "", |stats| vec![("", stats.entries as f64)]),
    ("memory", "What they weigh, overhead included", Some(Unit::Bytes), "", |stats| {
        vec![("", stats.bytes as f64)]
    }),
    // Of a cache that is bound by its entries alone there is none.
    ("memory_max", "The bound", Some(Unit::Bytes), "", |stats| {
        stats.max_bytes.map(|max_bytes| ("", max_bytes as f64)).into_iter().collect()
    }),
    ("tags", "Tags whose last purge is remembered", None, "", |stats| {
        vec![("", stats.tags as f64)]
    }),
    ("lower_purges_outstanding", "Purges that the tier below has yet to take", None, "", |stats| {
        vec![("", stats.lower.purges_outstanding as f64)]
    }),
    (
        "lower_trusted",
        "Whether memory is served without asking: 0 once the tier below has been silent for too long",
        None,
        "",
        |stats| vec![("", f64::from(u8::from(stats.lower.is_trusted)))],
    ),
    ("lower_log_position", "The last purge that was read in the log below", None, "", |stats| {
        vec![("", stats.lower.log_position as f64)]
    }),
    (
        "lower_log_behind_entries",
        "Numbers of the log below that are not done in memory",
        None,
        "",
        |stats| vec![("", stats.lower.log_behind as f64)],
    ),
    (
        "lower_log_behind",
        "How long ago all of the log below was last known to be done in memory",
        Some(Unit::Seconds),
        "",
        |stats| vec![("", stats.lower.log_behind_for.as_secs_f64())],
    ),
    (
        "lower_in_doubt",
        "Whether the tier below may lose what it has acknowledged, or is finding out what it lost",
        None,
        "cause",
        |stats| {
            let lower = &stats.lower;
            let is_so = |is_so| f64::from(u8::from(is_so));
            vec![
                ("min_replicas_to_write", is_so(lower.doubt.is_some())),
                ("reconciling", is_so(lower.is_reconciling)),
            ]
        },
    ),
    ("lower_outbox", "The names in purges that wait", Some(Unit::Bytes), "", |stats| {
        vec![("", stats.lower.outbox_bytes as f64)]
    }),
    ("lower_outbox_age", "For how long the first of them has", Some(Unit::Seconds), "", |stats| {
        vec![("", stats.lower.outbox_age.as_secs_f64())]
    }),
    ("lower_outbox_file", "What of the outbox's file is of use", Some(Unit::Bytes), "", |stats| {
        vec![("", stats.lower.outbox_file_bytes as f64)]
    }),
    (
        "lower_outbox_failing",
        "Whether purges that wait are in memory alone, though they should be on disk",
        None,
        "",
        |stats| vec![("", f64::from(u8::from(stats.lower.is_outbox_failing)))],
    ),
    ("lower_instances", "Who shares the tier below, as it knows them", None, "state", |stats| {
        let lower = &stats.lower;
        let silent = lower.readers.saturating_sub(lower.readers_alive);
        vec![("alive", lower.readers_alive as f64), ("silent", silent as f64)]
    }),
    ("lower_replicas", "Replicas of the server below", None, "", |stats| {
        vec![("", stats.lower.replicas as f64)]
    }),
];

type Histogram = (&'static str, &'static str, fn(&Stats) -> &Times);

const HISTOGRAMS: &[Histogram] = &[
    ("fetch_duration", "How long fetches took", |stats| &stats.fetch_times),
    ("hit_duration", "How long hits took, of one in 1024", |stats| &stats.hit_times),
];

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
        for (name, help, read) in HISTOGRAMS {
            let (unit, kind) = (Some(&Unit::Seconds), MetricType::Histogram);
            let mut family = encoder.encode_descriptor(name, help, unit, kind)?;
            for (cache, stats) in &stats {
                let labels = [("cache", escaped(cache))];
                encode_times(&mut family.encode_family(&labels)?, read(stats))?;
            }
        }
        Ok(())
    }
}

/// The format counts what is no longer than each bound; here it is asked for apart.
fn encode_times(metric: &mut MetricEncoder<'_>, times: &Times) -> Result<(), fmt::Error> {
    let mut below = 0;
    let bounded = times.buckets.iter().map(|bucket| {
        let count = bucket.count - below;
        below = bucket.count;
        (bucket.up_to.as_secs_f64(), count)
    });
    let mut buckets: Vec<_> = bounded.collect();
    // How the encoder calls what has no bound.
    buckets.push((f64::MAX, times.count - below));
    metric.encode_histogram::<NoLabelSet>(times.sum.as_secs_f64(), times.count, &buckets, None)
}

fn encode(
    family: &mut MetricEncoder<'_>,
    cache: &str,
    label: (&str, &str),
    kind: MetricType,
    sample: f64,
) -> Result<(), fmt::Error> {
    let mut labels = vec![("cache", escaped(cache))];
    if !label.0.is_empty() {
        labels.push((label.0, escaped(label.1)));
    }
    encode_number(family.encode_family(&labels)?, kind, sample)
}

fn encode_number(
    metric: MetricEncoder<'_>,
    kind: MetricType,
    number: f64,
) -> Result<(), fmt::Error> {
    match kind {
        MetricType::Counter => ConstCounter::new(number).encode(metric),
        _ => ConstGauge::new(number).encode(metric),
    }
}

impl fmt::Debug for Caches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|cache| cache.name())).finish()
    }
}

/// What is told beside the caches.
#[derive(Clone)]
struct Further(Arc<[Box<dyn Figures>]>);

impl Further {
    fn distributions(&self) -> Vec<Distributions> {
        self.0.iter().flat_map(|part| part.distributions()).collect()
    }
}

impl Collector for Further {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for Family { name, help, kind, label, samples } in
            self.0.iter().flat_map(|part| part.families())
        {
            let kind = kind_of(kind);
            // The encoder writes a unit behind the name and into a line of its own.
            let (name, unit) = unit_of(name);
            let mut family = encoder.encode_descriptor(name, help, unit.as_ref(), kind)?;
            match &samples[..] {
                [(value, sample)] if value.is_empty() => encode_number(family, kind, *sample)?,
                samples => {
                    for (value, sample) in samples {
                        let labels = [(label, escaped(value))];
                        encode_number(family.encode_family(&labels)?, kind, *sample)?;
                    }
                }
            }
        }
        for Table { name, help, kind, samples } in self.0.iter().flat_map(|part| part.tables()) {
            let kind = kind_of(kind);
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for (labels, sample) in &samples {
                let labels: Vec<_> =
                    labels.iter().map(|(label, value)| (*label, escaped(value))).collect();
                encode_number(family.encode_family(&labels)?, kind, *sample)?;
            }
        }
        Ok(())
    }
}

/// A label's value as the format has it: the encoder writes what it is given, and a quote in the name of a cache or the path
/// of a socket would end the value.
pub(crate) fn escaped(value: &str) -> Cow<'_, str> {
    if !value.contains(['\\', '"', '\n']) {
        return Cow::Borrowed(value);
    }
    Cow::Owned(value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// A name without its unit, and that.
pub(crate) fn unit_of(name: &str) -> (&str, Option<Unit>) {
    [("_seconds", Unit::Seconds), ("_bytes", Unit::Bytes)]
        .into_iter()
        .find_map(|(end, unit)| Some((name.strip_suffix(end)?, Some(unit))))
        .unwrap_or((name, None))
}

fn kind_of(kind: Kind) -> MetricType {
    match kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
    }
}

impl fmt::Debug for Further {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Further").field(&self.0.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn a_label_ends_where_its_value_does() {
        for (value, written) in [
            ("blog", "blog"),
            ("", ""),
            ("q\"x", "q\\\"x"),
            ("a\nb", "a\\nb"),
            ("a\\", "a\\\\"),
            ("\\\"\n", "\\\\\\\"\\n"),
        ] {
            assert_eq!(escaped(value), written);
        }
    }
}
