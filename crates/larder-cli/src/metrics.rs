//! Metrics: the gateway's own counters, as the admin API tells them.

use larder_admin::metrics::{Family, Kind};
use larder_gateway::{
    counters::{Counted, Counters},
    upstream::UpstreamStats,
};

/// What happens on readers' connections.
pub(crate) fn of_readers(counters: &Counters) -> Vec<Family> {
    let Counted {
        accepted,
        open,
        turned_away,
        asked_to_leave,
        found_no_room,
        reset,
        handshakes,
        timeouts,
        refusals,
    } = counters.read();
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
        counter("refusals", "Requests that were refused unseen, by why", "reason", refusals),
    ]
}

/// What happens on connections to the origin.
pub(crate) fn of_origin(stats: UpstreamStats) -> Vec<Family> {
    let now = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let UpstreamStats {
        connected,
        reused,
        retried,
        turned_away,
        waited_in_vain,
        in_use,
        idle,
        waiting,
    } = stats;
    vec![
        Family {
            label: "state",
            ..gauge(
                "upstream_connections",
                "Connections to the origin, now",
                vec![("in_use", now(in_use)), ("idle", now(idle))],
            )
        },
        gauge(
            "upstream_waiting",
            "Requests that wait for a connection, now",
            vec![("", now(waiting))],
        ),
        counter(
            "upstream_connections_made",
            "Connections made to the origin",
            "",
            vec![("", connected)],
        ),
        counter(
            "upstream_connections_reused",
            "Requests that went over a connection that was there",
            "",
            vec![("", reused)],
        ),
        counter(
            "upstream_retries",
            "Requests sent once more, because a kept connection was closed",
            "",
            vec![("", retried)],
        ),
        counter(
            "upstream_refused",
            "Requests that got no connection to the origin, by why",
            "reason",
            vec![("too_many_waiting", turned_away), ("waited_too_long", waited_in_vain)],
        ),
    ]
}

fn gauge(name: &'static str, help: &'static str, samples: Vec<(&'static str, u64)>) -> Family {
    Family { kind: Kind::Gauge, ..counter(name, help, "", samples) }
}

fn counter(
    name: &'static str,
    help: &'static str,
    label: &'static str,
    samples: Vec<(&'static str, u64)>,
) -> Family {
    let samples = samples.into_iter().map(|(value, count)| (value, count as f64)).collect();
    Family { name, help, kind: Kind::Counter, label, samples }
}
