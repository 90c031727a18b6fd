//! Traces from outside: what a collector is told of requests, what an origin is told of traces, and what becomes of requests
//! where nobody takes spans.

use std::{
    fs,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use larder_test_support::{answer::field, origin, wire::Wire};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::sync::Notify;

use crate::support::{
    Redis,
    collector::{Collector, Span},
    eventually, free_port,
    larder::{Larder, request},
    origin::{Origin, ok},
    program::curl,
};

/// A trace of somebody before, who has it told.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const TOLD: &str = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
/// The same, of somebody who has not.
const UNTOLD: &str = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00\r\n";
const STATE: &str = "tracestate: other=1\r\n";

struct Site {
    larder: Larder,
    _folder: TempDir,
}

impl Site {
    /// `text`: what `larder.toml` says beside the origin; keys of `[server]` come first.
    async fn before(origin: SocketAddr, text: &str) -> Site {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n{text}\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [upstream.app]\nurl = \"http://{origin}\"\n[[route]]\npath = \"/posts/{{id}}\"\n"
        );
        fs::write(folder.path().join("larder.toml"), text).unwrap();
        let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
        Site { larder, _folder: folder }
    }

    /// One request, and nothing beside it.
    async fn ask(&self, path: &str, fields: &str) -> (String, Vec<u8>) {
        let mut wire = self.larder.connect().await;
        wire.send(request("GET", path, fields)).await;
        let answer = wire.answer().await;
        (answer.head, answer.body)
    }
}

async fn cacheable() -> Origin {
    Origin::saying(ok("cache-control: public, max-age=600\r\n", "hello")).await
}

/// The only one of this name.
fn only<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let named: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(named.len(), 1, "{name} in {spans:#?}");
    named[0]
}

/// What an origin was told of a trace: the trace and the span that asks.
fn told(head: &str) -> (String, String) {
    let line = field(head, "traceparent").unwrap_or_else(|| panic!("no traceparent: {head}"));
    let [version, trace, span, flags] = line.split('-').collect::<Vec<_>>()[..] else {
        panic!("{line}")
    };
    assert_eq!((version, flags), ("00", "01"));
    (trace.to_owned(), span.to_owned())
}

#[tokio::test]
async fn a_miss_is_a_request_a_look_a_flight_and_a_question_to_the_origin() {
    let (origin, collector) = (cacheable().await, Collector::start().await);
    let site = Site::before(origin.address, &collector.settings()).await;
    let secret = "cookie: id=secret\r\nx-token: secret\r\nreferer: http://a/?secret\r\n";
    let (head, _) = site.ask("/posts/7?token=secret", secret).await;
    collector.named("origin", 1).await;
    let server = collector.named("GET /posts/{id}", 1).await.remove(0);
    let spans = collector.spans();
    assert_eq!(spans.len(), 4, "{spans:#?}");
    let [lookup, flight, asks] = ["lookup", "flight", "origin"].map(|name| only(&spans, name));
    assert!(spans.iter().all(|span| span.trace == server.trace && span.ended >= span.began));
    assert_eq!((server.kind, server.parent.as_str(), server.is_error), (2, "", false));
    assert_eq!((lookup.kind, &lookup.parent), (1, &server.id));
    assert_eq!((flight.kind, &flight.parent), (1, &server.id));
    assert_eq!((asks.kind, &asks.parent), (3, &flight.id));
    for (name, said) in [
        ("http.request.method", "GET"),
        ("url.scheme", "http"),
        ("url.path", "/posts/7"),
        ("http.route", "/posts/{id}"),
        ("http.response.status_code", "200"),
        ("server.address", "larder.test"),
        ("network.protocol.version", "1.1"),
        ("larder.verdict", "miss"),
        ("larder.reason", "uri-miss"),
        ("larder.ended", ""),
    ] {
        assert_eq!(server.says(name), said, "{name} of {server:#?}");
    }
    assert_eq!(server.says("larder.request"), field(&head, "larder-request").unwrap());
    assert_eq!((lookup.says("larder.tier"), lookup.says("larder.reason")), ("memory", "uri-miss"));
    assert_eq!(flight.says("larder.role"), "leader");
    assert_eq!(asks.says("larder.upstream"), "app");
    assert_eq!(asks.says("http.response.status_code"), "200");
    assert_eq!(asks.says("server.port"), origin.address.port().to_string());
    assert!(asks.began >= flight.began && server.began <= lookup.began);
    assert_eq!(told(&origin.requests()[0]), asks.place());
    assert!(!collector.has_seen("secret"), "{spans:#?}");
    assert_eq!(collector.services()[0], "larder");
    assert!(field(&head, "traceparent").is_none(), "{head}");
}

#[tokio::test]
async fn a_hit_is_a_request_and_a_look_whatever_the_version() {
    let (origin, collector) = (cacheable().await, Collector::start().await);
    let site = Site::before(origin.address, &collector.settings()).await;
    site.larder.get("/a").await;
    collector.named("origin", 1).await;
    site.ask("/a", "").await;
    let url = site.larder.url("/a");
    curl(&["--http2-prior-knowledge", "--header", "host: larder.test", &url]).await;
    for version in ["1.1", "2"] {
        let trace = eventually(version, async || {
            let spans = collector.spans();
            let is_wanted = |span: &&Span| {
                span.says("larder.verdict") == "hit"
                    && span.says("network.protocol.version") == version
            };
            spans.iter().find(is_wanted).map(|span| span.trace.clone())
        })
        .await;
        let spans = eventually("its look", async || {
            let spans = collector.spans().into_iter().filter(|span| span.trace == trace);
            let spans: Vec<_> = spans.collect();
            (spans.len() >= 2).then_some(spans)
        })
        .await;
        let (server, lookup) = (only(&spans, "GET"), only(&spans, "lookup"));
        assert_eq!(spans.len(), 2, "{spans:#?}");
        assert_eq!((lookup.says("larder.reason"), &lookup.parent), ("hit", &server.id));
        assert_eq!(server.says("http.route"), "", "it fits no route");
    }
    assert_eq!(origin.requests().len(), 1);
}

#[tokio::test]
async fn ten_who_wait_for_another_s_flight_are_linked_to_it() {
    let collector = Collector::start().await;
    let go_on = Arc::new(Notify::new());
    let script = Arc::clone(&go_on);
    let origin = Origin::playing(move |mut visit| {
        let go_on = Arc::clone(&script);
        async move {
            while visit.request().await.is_some() {
                let head = "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 10\r\n";
                visit.send(format!("{head}\r\nfirst")).await;
                go_on.notified().await;
                visit.send("-last").await;
            }
        }
    })
    .await;
    let site = Site::before(origin.address, &collector.settings()).await;
    let mut readers = Vec::new();
    // Whoever has a head has led the flight, or joined it: its body is not here yet.
    for _ in 0..11 {
        let mut reader = site.larder.connect().await;
        reader.send(request("GET", "/a", "")).await;
        let head = reader.head().await;
        readers.push((reader, head));
    }
    go_on.notify_one();
    for (mut reader, head) in readers {
        assert_eq!(reader.body(&head).await.unwrap(), b"first-last");
    }
    let flights = collector.named("flight", 11).await;
    let (leaders, followers): (Vec<_>, Vec<_>) =
        flights.into_iter().partition(|flight| flight.says("larder.role") == "leader");
    assert_eq!((leaders.len(), followers.len()), (1, 10));
    for follower in &followers {
        assert_eq!(follower.links, [leaders[0].place()]);
        assert_ne!(follower.trace, leaders[0].trace);
    }
    let collapsed = collector.spans();
    let collapsed = collapsed.iter().filter(|span| span.says("larder.verdict") == "collapsed");
    assert_eq!(collapsed.count(), 10);
    assert_eq!(collector.named("origin", 1).await[0].parent, leaders[0].id);
}

#[tokio::test]
async fn what_is_asked_behind_a_reader_is_a_trace_of_its_own() {
    let collector = Collector::start().await;
    let stale = "cache-control: public, max-age=100, stale-while-revalidate=1000\r\nage: 100\r\n";
    let origin = Origin::saying(ok(stale, "a")).await;
    let site = Site::before(origin.address, &collector.settings()).await;
    site.ask("/a", "").await;
    eventually("a stale answer", async || {
        let (head, _) = site.ask("/a", TOLD).await;
        head.contains("stale-while-revalidate").then_some(())
    })
    .await;
    let refresh = eventually("a refresh", async || {
        let spans = collector.spans();
        let refresh = spans.iter().find(|span| span.name == "refresh")?.clone();
        let cause = spans.iter().find(|span| [span.place()] == *refresh.links)?.clone();
        Some((refresh, cause))
    })
    .await;
    let (refresh, cause) = refresh;
    assert_eq!((cause.kind, cause.says("larder.verdict")), (2, "stale"));
    assert_eq!((refresh.kind, refresh.parent.as_str()), (3, ""));
    assert_ne!(refresh.trace, cause.trace);
    let heads = origin.requests();
    assert!(heads.iter().any(|head| told(head) == refresh.place()), "{heads:?}");
}

#[tokio::test]
async fn a_trusted_peer_says_of_which_trace_a_request_is_a_part() {
    let (origin, collector) = (cacheable().await, Collector::start().await);
    let sampled = collector.settings();
    let unsampled = sampled.replace("sample = 1", "sample = 0");
    let trusting = |tracing: &str| format!("trusted_peers = [\"127.0.0.1\"]\n{tracing}");
    let site = Site::before(origin.address, &trusting(&unsampled)).await;
    site.ask("/untold", &format!("{UNTOLD}{STATE}")).await;
    site.ask("/alone", "").await;
    site.ask("/told", &format!("{TOLD}{STATE}")).await;
    let heads = origin.requests();
    assert!(heads[0].contains(UNTOLD) && heads[0].contains(STATE), "{}", heads[0]);
    assert!(field(&heads[1], "traceparent").is_none(), "{}", heads[1]);
    assert!(heads[2].contains(STATE), "{}", heads[2]);
    let asks = collector.named("origin", 1).await.remove(0);
    assert_eq!((asks.place(), asks.trace.as_str()), (told(&heads[2]), TRACE));
    // So does one of a plain hit.
    site.larder.get("/told").await;
    let (head, _) = site.ask("/told", TOLD).await;
    assert!(head.contains("detail=hit"), "{head}");
    let servers = collector.named("GET", 2).await;
    for server in &servers {
        assert_eq!((server.trace.as_str(), server.parent.as_str()), (TRACE, "b7ad6b7169203331"));
    }
    assert_eq!(site.larder.metric("larder_trace_requests_total").await, 2.0);
    // Where each is traced that nobody has decided over, one that somebody has is not.
    let site = Site::before(origin.address, &trusting(&sampled)).await;
    site.ask("/told", UNTOLD).await;
    site.ask("/told", UNTOLD).await;
    assert_eq!(site.larder.metric("larder_trace_requests_total").await, 0.0);
}

#[tokio::test]
async fn of_others_nobody_says_that_unless_all_may() {
    let (origin, collector) = (cacheable().await, Collector::start().await);
    let site = Site::before(origin.address, &collector.settings()).await;
    site.ask("/a", &format!("{UNTOLD}{STATE}")).await;
    let asks = collector.named("origin", 1).await.remove(0);
    let server = collector.named("GET", 1).await.remove(0);
    assert_ne!(asks.trace, TRACE);
    assert_eq!(server.parent, "");
    let head = &origin.requests()[0];
    assert_eq!(told(head), asks.place());
    assert!(field(head, "tracestate").is_none(), "it is that of another trace: {head}");
    for (parents, traced) in [("all", 1.0), ("none", 0.0)] {
        let settings = collector.settings().replace("sample = 1", "sample = 0");
        let settings = format!("{settings}parents = \"{parents}\"\n");
        let site = Site::before(origin.address, &settings).await;
        site.ask("/b", TOLD).await;
        assert_eq!(site.larder.metric("larder_trace_requests_total").await, traced, "{parents}");
    }
}

#[tokio::test]
async fn where_nothing_is_traced_nothing_is_sent_and_fields_go_on_as_they_came() {
    let (origin, collector) = (cacheable().await, Collector::start().await);
    let settings = collector.settings().replace("sample = 1", "sample = 0");
    for text in [settings.as_str(), ""] {
        let site = Site::before(origin.address, text).await;
        for path in ["/a", "/a", "/b"] {
            site.ask(path, &format!("{TOLD}{STATE}")).await;
        }
        let head = origin.requests().pop().unwrap();
        assert!(head.contains(TOLD) && head.contains(STATE), "{head}");
        site.larder.signal(Signal::TERM);
        assert_eq!(site.larder.exit().await, Some(0));
    }
    assert!(collector.spans().is_empty());
}

#[tokio::test]
async fn what_goes_wrong_is_told() {
    let collector = Collector::start().await;
    let nowhere = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let site = Site::before(nowhere, &collector.settings()).await;
    let (head, _) = site.ask("/a", "").await;
    assert!(head.starts_with("HTTP/1.1 502"), "{head}");
    let asks = collector.named("origin", 1).await.remove(0);
    assert_eq!((asks.says("error.type"), asks.is_error), ("connection_refused", true));
    let server = collector.named("GET", 1).await.remove(0);
    assert_eq!((server.says("error.type"), server.is_error), ("502", true));
    // A reader who leaves before there is an answer.
    let hangs = Origin::playing(|mut visit| async move {
        visit.request().await;
        visit.request().await;
    })
    .await;
    let site = Site::before(hangs.address, &collector.settings()).await;
    let mut reader = site.larder.connect().await;
    reader.send(request("GET", "/hangs", "")).await;
    eventually("a question", async || (hangs.requests().len() == 1).then_some(())).await;
    drop(reader);
    let servers = collector.named("GET", 2).await;
    let left = servers.iter().find(|span| span.says("url.path") == "/hangs").unwrap();
    assert_eq!((left.says("larder.ended"), left.is_error), ("left", false));
    let given_up = collector.named("origin", 2).await;
    assert!(given_up.iter().any(|asks| asks.says("larder.ended") == "given up"), "{given_up:#?}");
}

#[tokio::test]
async fn what_waits_to_be_sent_is_sent_at_the_end() {
    let (origin, collector) = (cacheable().await, Collector::start().await);
    let site = Site::before(origin.address, &collector.settings()).await;
    site.ask("/a", "").await;
    site.larder.signal(Signal::TERM);
    assert_eq!(site.larder.exit().await, Some(0));
    assert_eq!(collector.spans().len(), 4, "{:#?}", collector.spans());
}

/// How long so many requests take, one after the other.
async fn time(site: &Site, count: usize) -> Duration {
    let began = Instant::now();
    for _ in 0..count {
        let (head, body) = site.ask("/a", "").await;
        assert!(head.starts_with("HTTP/1.1 200") && body == b"hello", "{head}");
    }
    began.elapsed()
}

#[tokio::test]
async fn a_collector_that_is_away_or_hangs_costs_spans_and_nothing_else() {
    let origin = cacheable().await;
    let hangs = origin::Origin::playing(|mut wire: Wire, _| async move {
        wire.head().await;
        wire.rest().await;
    })
    .await;
    let nowhere = SocketAddr::from(([127, 0, 0, 1], free_port()));
    for address in [nowhere, hangs.address] {
        let settings =
            format!("[tracing]\nendpoint = \"http://{address}\"\nsample = 1\nbuffer = 16\n");
        let site = Site::before(origin.address, &settings).await;
        // Until nothing more has room: what waits, and one call.
        eventually("spans without room", async || {
            time(&site, 50).await;
            let dropped = "larder_trace_spans_dropped_total{why=\"no_room\"}";
            (site.larder.metric(dropped).await > 0.0).then_some(())
        })
        .await;
        // A call takes five seconds, and so would each of these if anybody waited for it.
        let took = time(&site, 50).await;
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert_eq!(site.larder.metric("larder_trace_spans_sent_total").await, 0.0);
        assert!(site.larder.log().matches("spans do not reach").count() <= 1);
        let began = Instant::now();
        site.larder.signal(Signal::TERM);
        assert_eq!(site.larder.exit().await, Some(0));
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_collector_that_comes_back_is_told_what_has_waited() {
    let origin = cacheable().await;
    let port = free_port();
    let settings = format!("[tracing]\nendpoint = \"http://127.0.0.1:{port}\"\nsample = 1\n");
    let site = Site::before(origin.address, &settings).await;
    site.ask("/a", "").await;
    site.larder.told("spans do not reach").await;
    let collector = Collector::start_at(([127, 0, 0, 1], port).into()).await;
    collector.named("origin", 1).await;
    site.larder.told("spans reach").await;
    assert_eq!(site.larder.log().matches("spans do not reach").count(), 1);
    assert_eq!(site.larder.metric("larder_trace_spans_sent_total").await, 4.0);
}

#[tokio::test]
async fn a_look_below_is_a_part_of_its_flight() {
    let (origin, collector) = (cacheable().await, Collector::start().await);
    let redis = Redis::start().await;
    let first = Larder::with(origin.address, &["--shared", &redis.url()]).await;
    let is_there = format!("Redis at 127.0.0.1:{} answers", redis.port());
    first.told(&is_there).await;
    first.get("/a").await;
    eventually("a write below", async || {
        let written = r#"larder_lower_writes_total{cache="gateway",outcome="written"}"#;
        (first.metric(written).await > 0.0).then_some(())
    })
    .await;
    let shared = format!("{}[shared]\nurl = \"{}\"\n", collector.settings(), redis.url());
    let site = Site::before(origin.address, &shared).await;
    site.larder.told(&is_there).await;
    site.ask("/a", "").await;
    let server = collector.named("GET", 1).await.remove(0);
    assert_eq!((server.says("larder.verdict"), server.says("larder.reason")), ("hit", "shared"));
    let spans = collector.named("lookup", 2).await;
    let flight = collector.named("flight", 1).await.remove(0);
    let below = spans.iter().find(|span| span.says("larder.tier") == "shared").unwrap();
    assert_eq!((&below.parent, below.says("larder.reason")), (&flight.id, "hit"));
    assert!(collector.spans().iter().all(|span| span.name != "origin"));
    assert_eq!(origin.requests().len(), 1);
}

#[tokio::test]
async fn a_question_that_was_sent_again_says_how_often_and_where_it_was_answered() {
    let (origin, collector) = (cacheable().await, Collector::start().await);
    let nowhere = free_port();
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n{}\
         [upstream.app]\nurls = [\"http://127.0.0.1:{nowhere}\", \"http://{}\"]\n",
        collector.settings(),
        origin.address
    );
    fs::write(folder.path().join("larder.toml"), text).unwrap();
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    // Which of two addresses comes first is chance.
    let mut number = 0;
    let again = eventually("a question sent again", async || {
        number += 1;
        larder.get(&format!("/{number}")).await;
        let spans = collector.spans();
        spans.into_iter().find(|span| span.says("http.request.resend_count") == "1")
    })
    .await;
    assert_eq!(again.says("server.port"), origin.address.port().to_string());
    assert_eq!((again.says("http.response.status_code"), again.is_error), ("200", false));
}
