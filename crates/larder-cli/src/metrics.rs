//! Metrics: the figures of the gateway's parts, for the admin API.

use std::sync::Arc;

use larder::{http::HttpCache, redis::Redis};
use larder_admin::figures::{Family, Figures, Kind};
use larder_gateway::{
    Gateway,
    downstream::counters::{Counted, Counters},
    gateway::UpgradeStats,
    upstream::{Upstream, UpstreamStats},
};

/// What happens on readers' connections.
pub(crate) struct ReaderFigures(pub(crate) Arc<Counters>);

impl Figures for ReaderFigures {
    fn families(&self) -> Vec<Family> {
        let Counted {
            accepted,
            open,
            turned_away,
            asked_to_leave,
            found_no_room,
            reset,
            handshakes,
            timeouts,
            too_slow,
            tunnels_open,
            tunnels_ended,
            tunnelled_bytes,
            refusals,
        } = self.0.read();
        vec![
            gauge("connections_open", "Connections of readers, now", vec![("", open)]),
            counter("connections_accepted", "Connections of readers", "", vec![("", accepted)]),
            counter(
                "connections_turned_away",
                "Connections closed at once: their address has as many as it may",
                "",
                vec![("", turned_away)],
            ),
            counter(
                "connections_waited",
                "Connections that found as many open as there may be",
                "",
                vec![("", found_no_room)],
            ),
            counter(
                "connections_asked_to_leave",
                "Connections closed to make room, once they were between two requests",
                "",
                vec![("", asked_to_leave)],
            ),
            counter(
                "connections_reset",
                "Connections reset in the middle of an answer, by readers who left or by the gateway",
                "",
                vec![("", reset)],
            ),
            counter("tls_handshakes", "TLS handshakes, by how they ended", "outcome", handshakes),
            counter("timeouts", "Readers who were too slow, by what for", "kind", timeouts),
            counter(
                "below_min_rate",
                "Readers cut off because too little moved in a second, by what was under way",
                "of",
                too_slow,
            ),
            gauge(
                "tunnels_open",
                "Connections, and streams of HTTP/2, that go on in another protocol, now",
                vec![("", tunnels_open)],
            ),
            counter(
                "tunnels_ended",
                "Connections that went on in another protocol, by how they ended",
                "how",
                tunnels_ended,
            ),
            counter(
                "tunnelled_bytes",
                "What moved on connections that went on in another protocol and have ended",
                "direction",
                tunnelled_bytes,
            ),
            counter("refusals", "Requests that were refused unseen, by why", "reason", refusals),
        ]
    }
}

/// What requests for the origin hold and wait for now, and what there was no room for.
pub(crate) struct CacheFigures(pub(crate) HttpCache);

impl Figures for CacheFigures {
    fn families(&self) -> Vec<Family> {
        let CacheFigures(cache) = self;
        let compression = cache.compression();
        vec![
            gauge(
                "turns_taken",
                "Requests that wait for the head of an answer, or bring a body into the cache, now",
                vec![("", number(cache.turns_taken()))],
            ),
            gauge(
                "turns_waiting",
                "Requests that wait for a turn to ask the origin, now",
                vec![("", number(cache.waiting_for_turns()))],
            ),
            gauge(
                "arriving_bytes",
                "What bodies on their way into the cache hold, now",
                vec![("", number(cache.arriving_bytes()))],
            ),
            counter(
                "crowded_out",
                "Answers not kept because bodies on their way into the cache hold all they may",
                "",
                vec![("", cache.crowded_out())],
            ),
            counter(
                "compression_forms",
                "Compressed forms of stored answers that were asked for, by what became of them",
                "outcome",
                vec![
                    ("made", compression.made),
                    ("not_worth_it", compression.not_worth_it),
                    ("turned_away", compression.turned_away),
                ],
            ),
            gauge(
                "compression_under_way",
                "Compressed forms that wait to be made, or are being made, now",
                vec![("", number(compression.under_way))],
            ),
            counter(
                "compression_bytes",
                "What answers were long whose compressed forms were made, and what those are",
                "of",
                vec![("plain", compression.plain_bytes), ("coded", compression.coded_bytes)],
            ),
        ]
    }
}

/// What is known of the shared tier beside what each cache counts.
pub(crate) struct SharedFigures(pub(crate) Redis);

impl Figures for SharedFigures {
    fn families(&self) -> Vec<Family> {
        vec![counter(
            "shared_unreplicated",
            "How often purges were not acknowledged by a replica of the shared tier's server in time",
            "",
            vec![("", self.0.unreplicated())],
        )]
    }
}

/// What happens on connections to the origins, all together.
pub(crate) struct OriginFigures(pub(crate) Gateway);

impl Figures for OriginFigures {
    fn families(&self) -> Vec<Family> {
        let all: Vec<_> = self.0.upstreams().iter().map(Upstream::stats).collect();
        let sum = |of: fn(&UpstreamStats) -> u64| all.iter().map(of).sum::<u64>();
        let count = |of: fn(&UpstreamStats) -> usize| number(all.iter().map(of).sum());
        let UpgradeStats { granted, ignored, too_many, too_many_of_client } = self.0.upgrades();
        let (in_use, streams) = (count(|of| of.in_use), count(|of| of.streams));
        vec![
            Family {
                label: "state",
                ..gauge(
                    "upstream_connections",
                    "Connections to the origin, now",
                    vec![
                        ("waited_for", in_use.saturating_sub(streams)),
                        ("streaming", streams),
                        ("idle", count(|of| of.idle)),
                    ],
                )
            },
            counter(
                "upgrades",
                "Requests that offered another protocol, by what became of the offer",
                "outcome",
                vec![
                    ("granted", granted),
                    ("ignored", ignored),
                    ("too_many", too_many),
                    ("too_many_of_client", too_many_of_client),
                ],
            ),
            gauge(
                "upstream_waiting",
                "Requests that wait for a connection, now",
                vec![("", count(|of| of.waiting))],
            ),
            counter(
                "upstream_connections_made",
                "Connections made to the origin",
                "",
                vec![("", sum(|of| of.connected))],
            ),
            counter(
                "upstream_connections_reused",
                "Requests that went over a connection that was there",
                "",
                vec![("", sum(|of| of.reused))],
            ),
            counter(
                "upstream_retries",
                "Requests sent once more, because a kept connection was closed",
                "",
                vec![("", sum(|of| of.retried))],
            ),
            counter(
                "upstream_refused",
                "Requests that got no connection to the origin, by why",
                "reason",
                vec![
                    ("too_many_waiting", sum(|of| of.turned_away)),
                    ("waited_too_long", sum(|of| of.waited_in_vain)),
                ],
            ),
        ]
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

pub(crate) fn gauge(
    name: &'static str,
    help: &'static str,
    samples: Vec<(&'static str, u64)>,
) -> Family {
    Family { kind: Kind::Gauge, ..counter(name, help, "", samples) }
}

pub(crate) fn counter(
    name: &'static str,
    help: &'static str,
    label: &'static str,
    samples: Vec<(&'static str, u64)>,
) -> Family {
    let samples = samples.into_iter().map(|(value, count)| (value, count as f64)).collect();
    Family { name, help, kind: Kind::Counter, label, samples }
}
