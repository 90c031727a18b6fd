//! Hits over a connection: answered where they lie in the buffer, and to their readers like any answer.

use std::{collections::HashSet, num::NonZeroUsize, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use larder::{
    Cache,
    http::{Body, HttpCache, Policy, Variants},
};
use larder_gateway::{
    Gateway, GatewayConfig, Loops, Server, ServerConfig,
    downstream::{
        Ended,
        http1::{Http1Config, serve_connection_with_hits},
    },
    upstream::UpstreamConfig,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::{JoinHandle, yield_now},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::support::{Origin, Wire, field, lossless, status, upstream};

const GET: &str = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";

/// A gateway whose cache has one answer, `/a`, and whose origin is gone.
struct Site {
    gateway: Gateway,
    cache: HttpCache,
}

impl Site {
    async fn with(body: Bytes, fields: &str) -> Site {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\nETag: \"1\"\r\n\
             Content-Length: {length}\r\n{fields}\r\n"
        );
        let origin = Origin::saying_once([head.as_bytes(), &body].concat()).await;
        let store = Cache::<Variants>::builder().max_bytes(64 << 20).build();
        let cache = HttpCache::new(store, Policy::guarded());
        let mut service = cache.service(upstream(origin.address, UpstreamConfig::default()));
        let asked = Request::get("http://a/a").body(Body::empty()).unwrap();
        let answer = service.call(asked).await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes().len(), length);
        while cache.cache().get("http://a/a").is_none() {
            yield_now().await;
        }
        let nobody = upstream(([127, 0, 0, 1], 9).into(), UpstreamConfig::default());
        let gateway = Gateway::new(&cache, nobody, GatewayConfig::default());
        Site { gateway, cache }
    }

    /// A connection whose buffer holds so much.
    fn connect(&self, room: usize) -> Reader {
        self.connect_with(room, Http1Config { idle_timeout: IDLE, ..Http1Config::default() })
    }

    fn connect_with(&self, room: usize, config: Http1Config) -> Reader {
        let (wire, mut gate) = duplex(room);
        let gateway = self.gateway.clone();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let serving = tokio::spawn(async move {
            let peer = ([127, 0, 0, 1], 1).into();
            let (hits, service) = (gateway.clone(), gateway);
            serve_connection_with_hits(&mut gate, peer, &config, &hits, service, stopped).await
        });
        Reader { wire, serving, stop }
    }

    fn hits(&self) -> u64 {
        self.cache.cache().stats().hits
    }
}

const IDLE: Duration = Duration::from_secs(7);

struct Reader {
    wire: DuplexStream,
    serving: JoinHandle<Ended>,
    stop: CancellationToken,
}

impl Reader {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.wire.write_all(bytes.as_ref()).await.unwrap();
    }

    async fn head(&mut self) -> String {
        let mut got = Vec::new();
        while !got.ends_with(b"\r\n\r\n") {
            got.push(self.wire.read_u8().await.unwrap());
        }
        lossless(&got)
    }

    async fn body(&mut self, length: usize) -> Bytes {
        let mut got = vec![0; length];
        self.wire.read_exact(&mut got).await.unwrap();
        got.into()
    }

    async fn rest(&mut self) -> String {
        let mut got = Vec::new();
        self.wire.read_to_end(&mut got).await.unwrap();
        lossless(&got)
    }
}

fn is_hit(head: &str) -> bool {
    status(head) == 200
        && field(head, "cache-status").is_some_and(|status| status.starts_with("Larder;hit;"))
}

#[tokio::test]
async fn a_hit_says_all_that_an_answer_says() {
    let site = Site::with("body".into(), "Vary: Accept\r\nX-Own: 1\r\n").await;
    let mut reader = site.connect(1 << 20);
    // The first request of a connection may be HTTP/2, the second may not.
    for _ in 0..2 {
        reader.send(GET).await;
        let head = reader.head().await;
        assert!(is_hit(&head), "{head}");
        assert_eq!(field(&head, "content-length"), Some("4"));
        assert_eq!(field(&head, "x-own"), Some("1"));
        assert_eq!(field(&head, "etag"), Some("\"1\""));
        assert!(field(&head, "cache-status").unwrap().contains(r#"key="http://a/a""#), "{head}");
        assert!(field(&head, "date").is_some() && field(&head, "via").is_none());
        assert!(field(&head, "age").is_some() && field(&head, "connection").is_none());
        let names: Vec<_> = head.lines().filter_map(|line| Some(line.split_once(':')?.0)).collect();
        let different: HashSet<_> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "no field twice: {head}");
        assert_eq!(reader.body(4).await, "body");
    }
    assert_eq!(site.hits(), 3, "the test's own look is one");
}

#[tokio::test]
async fn pipelined_hits_are_answered_in_order_with_others_between() {
    let site = Site::with("body".into(), "").await;
    let mut reader = site.connect(1 << 20);
    let head = "HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n";
    let same = "GET /a HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"1\"\r\n\r\n";
    let part = "GET /a HTTP/1.1\r\nHost: a\r\nRange: bytes=1-2\r\n\r\n";
    let trace = "GET /b HTTP/1.1\r\nHost: a\r\nCache-Control: only-if-cached\r\n\r\n";
    let close = "GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    reader.send([GET, head, GET, same, trace, part, GET, close, GET].concat()).await;
    let expected = [
        (200, "body"),
        (200, ""),
        (200, "body"),
        (304, ""),
        (504, "{"),
        (206, "od"),
        (200, "body"),
        (200, "body"),
    ];
    for (number, (expected_status, body)) in expected.into_iter().enumerate() {
        let head = reader.head().await;
        assert_eq!(status(&head), expected_status, "{number}: {head}");
        let length: usize = field(&head, "content-length").map_or(0, |text| text.parse().unwrap());
        let has_body = number != 1 && expected_status != 304;
        let got = reader.body(if has_body { length } else { 0 }).await;
        assert!(lossless(&got).starts_with(body), "{number}: {got:?}");
    }
    assert_eq!(reader.rest().await, "", "nothing follows the answer that closes");
    assert_eq!(reader.serving.await.unwrap(), Ended::Closed);
}

#[tokio::test]
async fn however_its_bytes_are_cut_a_hit_is_a_hit() {
    let site = Site::with("body".into(), "").await;
    let twice = [GET, GET].concat();
    for cut in 0..twice.len() {
        let mut reader = site.connect(1 << 20);
        for piece in [GET, &twice[..cut], &twice[cut..]] {
            reader.send(piece).await;
            for _ in 0..4 {
                yield_now().await;
            }
        }
        for _ in 0..3 {
            assert!(is_hit(&reader.head().await), "cut at {cut}");
            assert_eq!(reader.body(4).await, "body");
        }
    }
}

#[tokio::test]
async fn a_reader_that_takes_little_at_a_time_gets_every_byte() {
    for length in [100, 8 << 10, (8 << 10) + 1, 300_000] {
        let body: Bytes = (0..length).map(|at| (at % 251) as u8).collect();
        let site = Site::with(body.clone(), "").await;
        let mut reader = site.connect(97);
        reader.send([GET, GET].concat()).await;
        for _ in 0..2 {
            let head = reader.head().await;
            assert!(is_hit(&head));
            // The whole way tells how long it took.
            assert_eq!(field(&head, "server-timing"), Some("cache;desc=hit"), "{length}");
            assert_eq!(reader.body(length).await, body);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_idle_time_begins_anew_with_each_hit() {
    let site = Site::with("body".into(), "").await;
    let mut reader = site.connect(1 << 20);
    for _ in 0..3 {
        reader.send(GET).await;
        assert!(is_hit(&reader.head().await));
        reader.body(4).await;
        tokio::time::sleep(IDLE - Duration::from_secs(1)).await;
    }
    let began = Instant::now();
    assert_eq!(reader.rest().await, "");
    assert_eq!(began.elapsed().as_secs(), 1);
}

#[tokio::test]
async fn a_connection_that_is_told_to_stop_answers_no_more_hits() {
    let site = Site::with("body".into(), "").await;
    let mut reader = site.connect(1 << 20);
    reader.send(GET).await;
    assert!(is_hit(&reader.head().await));
    reader.body(4).await;
    reader.stop.cancel();
    assert_eq!(reader.rest().await, "");
    assert_eq!(reader.serving.await.unwrap(), Ended::Closed);
}

#[tokio::test]
async fn a_request_that_is_here_when_its_connection_is_told_to_stop_is_answered() {
    for is_first in [true, false] {
        let site = Site::with("body".into(), "").await;
        let mut reader = site.connect(1 << 20);
        if !is_first {
            reader.send(GET).await;
            assert!(is_hit(&reader.head().await));
            reader.body(4).await;
        }
        // Both before it is looked at.
        reader.stop.cancel();
        reader.send([GET, GET].concat()).await;
        let head = reader.head().await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.to_ascii_lowercase().contains("connection: close"), "{head}");
        reader.body(4).await;
        assert_eq!(reader.rest().await, "", "the last answer");
    }
}

#[tokio::test]
async fn what_two_readers_might_read_differently_is_refused_where_a_hit_lies_ready() {
    let site = Site::with("body".into(), "").await;
    for bad in [
        "GET /a HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET /a HTTP/1.1\r\nX: 1\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a\r\n X: 1\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
        "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: u@a\r\n\r\n",
    ] {
        let mut reader = site.connect(1 << 20);
        reader.send([GET, bad, GET].concat()).await;
        assert!(is_hit(&reader.head().await));
        reader.body(4).await;
        assert_eq!(status(&reader.rest().await), 400, "{bad:?}");
    }
}

#[tokio::test]
async fn a_hit_has_the_limits_of_every_request() {
    let site = Site::with("body".into(), "").await;
    let long = format!("GET /a HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(600));
    let many = "GET /a HTTP/1.1\r\nHost: a\r\nX: 1\r\nY: 1\r\n\r\n";
    let config = || Http1Config { max_fields: 2, max_head_bytes: 512, ..Http1Config::default() };
    for refused in [&long[..], many] {
        let mut reader = site.connect_with(1 << 20, config());
        reader.send([GET, GET].concat()).await;
        for _ in 0..2 {
            assert!(is_hit(&reader.head().await));
            reader.body(4).await;
        }
        reader.send(refused).await;
        assert_eq!(status(&reader.rest().await), 431);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_only_half_of_a_hit_is_cut_off() {
    let site = Site::with(vec![7; 300_000].into(), "").await;
    let mut reader = site.connect(4096);
    reader.send(GET).await;
    assert!(is_hit(&reader.head().await));
    assert_eq!(reader.serving.await.unwrap(), Ended::Cut);
}

#[tokio::test]
async fn a_purge_is_seen_by_the_next_request_of_a_connection() {
    let site = Site::with("body".into(), "Surrogate-Key: t\r\n").await;
    let asks = "GET /a HTTP/1.1\r\nHost: a\r\nCache-Control: only-if-cached\r\n\r\n";
    let mut reader = site.connect(1 << 20);
    reader.send(asks).await;
    assert!(is_hit(&reader.head().await));
    reader.body(4).await;
    site.cache.cache().purge_tag("t");
    reader.send(asks).await;
    assert_eq!(status(&reader.head().await), 504);
}

#[tokio::test]
async fn over_a_socket_a_hit_is_the_same() {
    let site = Site::with("body".into(), "").await;
    let loops = Loops::start(NonZeroUsize::new(2).unwrap()).unwrap();
    let server = Server::bind(([127, 0, 0, 1], 0).into(), ServerConfig::default()).unwrap();
    let mut wire = Wire::connect(server.address()).await;
    let stop = CancellationToken::new();
    let (hits, service) = (site.gateway.clone(), site.gateway.clone());
    let serving = server.serve_on(&loops, hits, service, stop.clone());
    for _ in 0..3 {
        wire.send([GET, GET].concat()).await;
        for _ in 0..2 {
            let (head, body) = wire.answer().await.into_text();
            assert!(is_hit(&head), "{head}");
            assert_eq!(body, "body");
        }
    }
    stop.cancel();
    assert_eq!(serving.await.unwrap().cut, 0);
    assert_eq!(wire.rest().await, "");
}
