//! Metrics: the figures of the gateway's parts, for the admin API.

use std::{borrow::Cow, sync::Arc};

use larder::{http::HttpCache, redis::Redis};
use larder_admin::figures::{Family, Figures, Kind, Table};
use larder_gateway::{
    Gateway,
    access::{AccessLog, AccessLogCounts},
    cdn::{CdnStats, Cdns, FleetStats, OutboxStats},
    downstream::counters::{Counted, Counters},
    gateway::{RefreshCounts, Refresher, UpgradeStats},
    origins::{AddressStats, BreakerState, OriginsStats},
    pressure::{Pressure, PressureStats},
    traces::{TraceCounts, Traces},
    upstream::UpstreamStats,
};
use serde_json::{Value, json};

/// What happens on readers' connections, by the names of the listeners that they come to.
pub(crate) struct ReaderFigures(pub(crate) Vec<(String, Arc<Counters>)>);

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
            proxied,
            timeouts,
            too_slow,
            retired,
            tunnels_open,
            tunnels_ended,
            tunnelled_bytes,
            refusals,
        } = Counted::sum(self.0.iter().map(|(_, counters)| counters.read()));
        let by_listener = |of: fn(&Counted) -> u64| {
            let each = self.0.iter().map(|(name, counters)| (name.clone(), of(&counters.read())));
            each.collect::<Vec<_>>()
        };
        vec![
            Family {
                label: "listener",
                ..gauge(
                    "listener_connections_open",
                    "Connections of readers by the listener that they came to, now",
                    by_listener(|counted| counted.open),
                )
            },
            counter(
                "listener_connections_accepted",
                "Connections of readers by the listener that they came to",
                "listener",
                by_listener(|counted| counted.accepted),
            ),
            counter(
                "proxy_protocol_connections",
                "Connections where a PROXY header is required, by how they began",
                "outcome",
                proxied,
            ),
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
            counter(
                "connections_retired",
                "Connections that ended with an answer, since they had as many requests as they may, or were as old",
                "by",
                retired,
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

/// What became of the lines of the access log.
pub(crate) struct AccessFigures(pub(crate) AccessLog);

impl Figures for AccessFigures {
    fn families(&self) -> Vec<Family> {
        let AccessLogCounts { written, lost, left_out } = self.0.counts();
        vec![counter(
            "access_log_lines",
            "Lines of the access log, by what became of them",
            "outcome",
            vec![("written", written), ("lost", lost), ("left_out", left_out)],
        )]
    }
}

/// What became of spans.
pub(crate) struct TraceFigures(pub(crate) Traces);

impl Figures for TraceFigures {
    fn families(&self) -> Vec<Family> {
        let TraceCounts { requests, sent, no_room, refused, waiting } = self.0.counts();
        vec![
            counter("trace_requests", "Requests that were traced", "", vec![("", requests)]),
            counter("trace_spans_sent", "Spans that the collector has taken", "", vec![("", sent)]),
            counter(
                "trace_spans_dropped",
                "Spans that the collector has not, because there was no room for more to wait or it did not take them",
                "why",
                vec![("no_room", no_room), ("refused", refused)],
            ),
            gauge("trace_spans_waiting", "Spans that wait to be sent, now", vec![("", waiting)]),
        ]
    }
}

/// What became of what purges have marked stale and was to be asked for again.
pub(crate) struct RefreshFigures(pub(crate) Refresher);

impl Figures for RefreshFigures {
    fn families(&self) -> Vec<Family> {
        let RefreshCounts { waiting, asked, failed, left_out } = self.0.counts();
        vec![
            gauge(
                "purge_refreshes_waiting",
                "Requests that wait to bring anew what was purged, now",
                vec![("", waiting)],
            ),
            counter(
                "purge_refreshes",
                "What was purged and was to be asked for again, by what became of it",
                "outcome",
                vec![
                    ("answered", asked.saturating_sub(failed)),
                    ("failed", failed),
                    ("left_out", left_out),
                ],
            ),
        ]
    }
}

/// What became of requests of addresses that send many.
pub(crate) struct RateFigures(pub(crate) Gateway);

impl Figures for RateFigures {
    fn families(&self) -> Vec<Family> {
        let (limited, forgotten) = self.0.rate_limited();
        vec![
            counter(
                "requests_limited",
                "Requests answered 429: their address had sent as many as it may",
                "",
                vec![("", limited)],
            ),
            counter(
                "requests_with_ambiguous_paths",
                "Requests answered 400: services read their path in several ways, by which it belongs to different routes",
                "",
                vec![("", self.0.ambiguous_paths())],
            ),
            counter(
                "rate_addresses_forgotten",
                "Addresses that made room for others before they might send a whole burst again",
                "",
                vec![("", forgotten)],
            ),
        ]
    }
}

/// What the process takes of the memory that it may take.
pub(crate) struct MemoryFigures(pub(crate) Pressure);

impl Figures for MemoryFigures {
    fn families(&self) -> Vec<Family> {
        let PressureStats { taken, bound, level, tight, full, refused } = self.0.stats();
        // Nobody looks where there is no bound.
        let measured = |value: u64| if bound == 0 { Vec::new() } else { vec![("", value)] };
        vec![
            gauge("process_memory_bytes", "What the process takes of memory, now", measured(taken)),
            gauge(
                "process_memory_bound_bytes",
                "What the process may take of memory",
                measured(bound),
            ),
            gauge(
                "memory_pressure",
                "What gives way for want of memory, now: 0 nothing, 1 the cache and old connections, 2 requests as well",
                vec![("", level as u64)],
            ),
            counter(
                "memory_pressure_began",
                "How often something began to give way for want of memory, by what it was",
                "level",
                vec![("tight", tight), ("full", full)],
            ),
            counter(
                "memory_refused",
                "Requests that were not sent to their service for want of memory",
                "",
                vec![("", refused)],
            ),
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
        vec![
            counter(
                "shared_unreplicated",
                "How often purges were not acknowledged by a replica of the shared tier's server in time",
                "",
                vec![("", self.0.unreplicated())],
            ),
            counter(
                "shared_refusals",
                "What servers of the shared tier said in place of answers",
                "answer",
                self.0.refusals().collect(),
            ),
        ]
    }
}

/// What happens on connections to the origins, all together.
pub(crate) struct OriginFigures(pub(crate) Gateway);

/// What the CDNs have been told.
pub(crate) struct CdnFigures(pub(crate) Cdns);

impl Figures for CdnFigures {
    fn families(&self) -> Vec<Family> {
        let stats = self.0.stats();
        let each = |of: fn(&CdnStats) -> u64| {
            stats.iter().map(|cdn| (cdn.name.to_string(), of(cdn))).collect::<Vec<_>>()
        };
        let OutboxStats {
            old_answers_overrun,
            handed_out_early,
            overflows,
            not_told,
            bytes,
            file_failures,
        } = self.0.outbox();
        let mut families = vec![
            counter(
                "cdn_purges_confirmed",
                "Purges that hold at a CDN",
                "cdn",
                each(|cdn| cdn.confirmed),
            ),
            counter(
                "cdn_purges_failed",
                "Purges that have failed at a CDN for good",
                "cdn",
                each(|cdn| cdn.failed),
            ),
            counter(
                "cdn_rests",
                "How often a CDN's vendor had no calls left, and none were made until it had",
                "cdn",
                each(|cdn| cdn.rests),
            ),
            Family {
                label: "cdn",
                ..gauge(
                    "cdn_purges_waiting",
                    "Purges that do not hold at a CDN yet, now",
                    each(|cdn| number(cdn.waiting)),
                )
            },
            Family {
                label: "cdn",
                ..gauge(
                    "cdn_oldest_purge_seconds",
                    "For how long the oldest of them has been waiting",
                    each(|cdn| cdn.oldest.as_secs()),
                )
            },
            counter(
                "cdn_old_answers_overrun",
                "Answers that began before a purge went on for longer than they are waited for",
                "",
                vec![("", old_answers_overrun)],
            ),
            counter(
                "cdn_purges_early",
                "Purges that CDNs were told of before the shared tier had them",
                "",
                vec![("", handed_out_early)],
            ),
            counter(
                "cdn_outbox_overflows",
                "Too many purges waited for a CDN, and became one of everything",
                "",
                vec![("", overflows)],
            ),
            counter(
                "cdn_purges_not_told",
                "Purges that an earlier run has left for a CDN that is no longer in the configuration",
                "",
                vec![("", not_told)],
            ),
            gauge(
                "cdn_outbox_bytes",
                "What purges name that wait for CDNs, in bytes",
                vec![("", number(bytes))],
            ),
            counter(
                "cdn_outbox_file_failures",
                "How often the file of what waits for CDNs could not be written",
                "",
                vec![("", file_failures)],
            ),
        ];
        let ends = stats.first().map_or(Vec::new(), |cdn| cdn.calls.clone());
        let calls = ends.into_iter().enumerate().map(|(nth, (end, _))| {
            (end, stats.iter().filter_map(|cdn| cdn.calls.get(nth)).map(|(_, count)| count).sum())
        });
        if let Some(FleetStats { is_leading, takeovers, cuts }) = self.0.fleet() {
            families.push(gauge(
                "cdn_leading",
                "1 where this gateway tells the CDNs of the purges of all that share the tier",
                vec![("", u64::from(is_leading))],
            ));
            families.push(counter(
                "cdn_takeovers",
                "How often this gateway began to tell the CDNs of the purges of all",
                "",
                vec![("", takeovers)],
            ));
            families.push(counter(
                "cdn_list_cuts",
                "How often purges that CDNs did not have were no longer on the list: everything was purged",
                "",
                vec![("", cuts)],
            ));
        }
        families.push(counter(
            "cdn_calls",
            "Calls to CDNs, by what became of them",
            "outcome",
            calls.collect::<Vec<(&str, u64)>>(),
        ));
        families
    }
}

/// Why what waits for CDNs is in memory alone.
pub(crate) fn kept_note(cdns: &Cdns) -> impl Fn() -> Option<String> + Send + Sync + 'static {
    let cdns = cdns.clone();
    move || {
        let why = cdns.file_failure()?;
        Some(format!("purges that wait for CDNs are not on disk: {why}"))
    }
}

impl Figures for OriginFigures {
    fn families(&self) -> Vec<Family> {
        let upstreams = self.0.upstreams();
        let addresses = upstreams.iter().flat_map(|upstream| upstream.stats().addresses);
        let all: Vec<_> = addresses.map(|address| address.connections).collect();
        let sum = |of: fn(&UpstreamStats) -> u64| all.iter().map(of).sum::<u64>();
        let count = |of: fn(&UpstreamStats) -> usize| number(all.iter().map(of).sum());
        let UpgradeStats { granted, ignored, too_many, too_many_of_client } = self.0.upgrades();
        let (in_use, streams) = (count(|of| of.in_use), count(|of| of.streams));
        let (purges, fences) = (self.0.purge_requests(), self.0.fences());
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
                "purge_requests",
                "Requests to purge that came where all requests come, by what became of them",
                "outcome",
                vec![
                    ("made", purges.made),
                    ("refused", purges.refused),
                    ("limited", purges.limited),
                    ("not_understood", purges.not_understood),
                ],
            ),
            counter(
                "fences",
                "Fences by which readers see their own writes, by what became of them",
                "outcome",
                vec![
                    ("issued", fences.issued),
                    ("honoured", fences.honoured),
                    ("ignored", fences.ignored),
                ],
            ),
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
                "Requests sent once more to the same address: a kept connection was closed, or they were refused unseen",
                "",
                vec![("", sum(|of| of.retried.saturating_add(of.refused)))],
            ),
            counter(
                "upstream_connections_failed",
                "Connections to the origin that could not be made",
                "",
                vec![("", sum(|of| of.unconnected))],
            ),
            counter(
                "upstream_connections_silent",
                "Connections given up because nothing came, not even the answer to a ping",
                "",
                vec![("", sum(|of| of.silent))],
            ),
            counter(
                "upstream_streams_refused",
                "Requests sent once more, because the origin had not looked at them, and said so",
                "",
                vec![("", sum(|of| of.refused))],
            ),
            counter(
                "upstream_interims_dropped",
                "Interim answers (1xx) that were not passed on, because there were too many",
                "",
                vec![("", sum(|of| of.interims_dropped))],
            ),
            counter(
                "upstream_names_unknown",
                "Look-ups of an origin's name that failed",
                "",
                vec![("", sum(|of| of.names_failed))],
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

/// What is known of each address of each upstream: as many labels as the file names.
pub(crate) struct AddressFigures(pub(crate) Gateway);

impl Figures for AddressFigures {
    fn families(&self) -> Vec<Family> {
        Vec::new()
    }

    fn tables(&self) -> Vec<Table> {
        let all: Vec<_> = self.0.upstreams().iter().map(|upstream| upstream.stats()).collect();
        let mut tables = address_tables();
        for upstream in &all {
            add_addresses(&mut tables, upstream);
        }
        let [requests, failures, ejections, outstanding, healthy, breaker] = tables;
        let mut retries = table(
            "upstream_retries_elsewhere",
            "Requests sent to another address, by what was wrong with the one before",
            Kind::Counter,
        );
        let mut held_back = table(
            "upstream_retries_held_back",
            "Requests not sent to another address because too many were already",
            Kind::Counter,
        );
        let mut turned_away = table(
            "upstream_down",
            "Requests sent nowhere because all addresses were silent",
            Kind::Counter,
        );
        for OriginsStats {
            name, retries: by_cause, retries_held_back, turned_away: down, ..
        } in &all
        {
            let of = || ("upstream", name.clone());
            for (cause, count) in by_cause {
                let labels = vec![of(), ("cause", (*cause).to_owned())];
                retries.samples.push((labels, *count as f64));
            }
            held_back.samples.push((vec![of()], *retries_held_back as f64));
            turned_away.samples.push((vec![of()], *down as f64));
        }
        vec![
            requests,
            failures,
            ejections,
            outstanding,
            healthy,
            breaker,
            retries,
            held_back,
            turned_away,
        ]
    }
}

fn table(name: &'static str, help: &'static str, kind: Kind) -> Table {
    Table { name, help, kind, samples: Vec::new() }
}

fn address_tables() -> [Table; 6] {
    [
        table("upstream_requests", "Requests sent to an address", Kind::Counter),
        table("upstream_failures", "Requests that an address failed, by how", Kind::Counter),
        table(
            "upstream_ejections",
            "How often an address was left alone after failures in a row",
            Kind::Counter,
        ),
        table(
            "upstream_outstanding",
            "Requests at an address now, where there are several",
            Kind::Gauge,
        ),
        table("upstream_healthy", "What the checks of an address' health say", Kind::Gauge),
        table("upstream_breaker", "1 for the state that an address' breaker is in", Kind::Gauge),
    ]
}

fn add_addresses(tables: &mut [Table; 6], upstream: &OriginsStats) {
    let [requests, failures, ejections, outstanding, healthy, breaker] = tables;
    for address in &upstream.addresses {
        let of = || vec![("upstream", upstream.name.clone()), ("address", address.address.clone())];
        let and = |label: &'static str, value: &str| {
            let mut labels = of();
            labels.push((label, value.to_owned()));
            labels
        };
        requests.samples.push((of(), address.requests as f64));
        for (kind, count) in &address.failures {
            failures.samples.push((and("kind", kind), *count as f64));
        }
        ejections.samples.push((of(), address.ejections as f64));
        outstanding.samples.push((of(), address.outstanding as f64));
        healthy.samples.push((of(), f64::from(u8::from(address.is_healthy))));
        for state in [BreakerState::Closed, BreakerState::Open, BreakerState::HalfOpen] {
            let is_it = f64::from(u8::from(address.breaker == state));
            breaker.samples.push((and("state", breaker_word(state)), is_it));
        }
    }
}

/// For `/readyz`: an upstream that is down is no reason to send requests elsewhere, so it is told and no more.
pub(crate) fn trouble(gateway: &Gateway) -> impl Fn() -> Option<String> + Send + Sync + 'static {
    let gateway = gateway.clone();
    move || {
        let upstreams = gateway.upstreams();
        let troubles = upstreams.iter().filter_map(|upstream| upstream.stats().trouble());
        let troubles: Vec<_> = troubles.collect();
        (!troubles.is_empty()).then(|| troubles.join("\n"))
    }
}

/// For `/v1/stats`: each upstream with its addresses.
pub(crate) fn upstream_states(gateway: &Gateway) -> impl Fn() -> Value + Send + Sync + 'static {
    let gateway = gateway.clone();
    let of_address = |address: &AddressStats| {
        let failures: u64 = address.failures.iter().map(|(_, count)| count).sum();
        json!({
            "address": address.address,
            "is_up": address.is_up(),
            "is_healthy": address.is_healthy,
            "breaker": breaker_word(address.breaker),
            "requests": address.requests,
            "failures": failures,
            "outstanding": address.outstanding,
        })
    };
    let of_upstream = move |upstream: OriginsStats| {
        let addresses: Vec<_> = upstream.addresses.iter().map(of_address).collect();
        let retries: u64 = upstream.retries.iter().map(|(_, count)| count).sum();
        json!({ "name": upstream.name, "retries_elsewhere": retries, "addresses": addresses })
    };
    move || gateway.upstreams().iter().map(|upstream| of_upstream(upstream.stats())).collect()
}

fn breaker_word(state: BreakerState) -> &'static str {
    match state {
        BreakerState::Closed => "closed",
        BreakerState::Open => "open",
        BreakerState::HalfOpen => "half_open",
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

pub(crate) fn gauge<V: Into<Cow<'static, str>>>(
    name: &'static str,
    help: &'static str,
    samples: Vec<(V, u64)>,
) -> Family {
    Family { kind: Kind::Gauge, ..counter(name, help, "", samples) }
}

pub(crate) fn counter<V: Into<Cow<'static, str>>>(
    name: &'static str,
    help: &'static str,
    label: &'static str,
    samples: Vec<(V, u64)>,
) -> Family {
    let samples = samples.into_iter().map(|(value, count)| (value.into(), count as f64)).collect();
    Family { name, help, kind: Kind::Counter, label, samples }
}
