//! What a plain hit costs that is not traced and has no id, where others are and have, and while consoles watch: an allocator that
//! counts says it, in a process of its own.

#![cfg(feature = "otel")]
#![expect(clippy::unwrap_used, reason = "in a test, an unwrap that fails is the failed test")]

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Wake},
};

use allocation_counter::measure;
use bytes::Bytes;
use http::{HeaderValue, Method, Request};
use http_body::Body as _;
use http_body_util::{BodyExt, Empty};
use larder::{
    Cache,
    http::{
        HttpCache, Policy, Variants,
        policy::{fields::FieldLine, scheme::Scheme},
    },
};
use larder_admin::Admin;
use larder_gateway::{
    Gateway, GatewayConfig,
    downstream::{
        Peer,
        http1::{FastPath, FieldLines, PeekedRequest, ReaderBody},
    },
    routes::Ways,
    traces::{Parents, Traces, TracesConfig},
    upstream::{Upstream, UpstreamConfig},
};
use larder_test_support::{eventually::eventually, origin::Origin};
use tower::Service;

const HITS: usize = 100;

fn peer() -> Peer {
    SocketAddr::from(([127, 0, 0, 1], 4711)).into()
}

/// A gateway that has an answer for `/a`.
async fn filled() -> (Gateway, Origin) {
    filled_with(GatewayConfig::default()).await
}

async fn filled_with(config: GatewayConfig) -> (Gateway, Origin) {
    let store = Cache::<Variants>::builder().max_bytes(1 << 20).build();
    filled_before(&HttpCache::new(store, Policy::guarded()), config).await
}

async fn filled_before(cache: &HttpCache, config: GatewayConfig) -> (Gateway, Origin) {
    let answer = "HTTP/1.1 200 OK\r\ncache-control: max-age=600\r\ncontent-length: 1\r\n\r\na";
    let origin = Origin::saying(answer).await;
    let upstream = format!("http://{}", origin.address).parse().unwrap();
    let upstream = Upstream::new(upstream, UpstreamConfig::default());
    let mut gateway = Gateway::new(cache, upstream, config);
    let request = Request::get("http://larder.test/a").header("host", "larder.test");
    let request = request.extension(peer()).body(ReaderBody::empty()).unwrap();
    let answer = gateway.call(request).await.unwrap();
    answer.into_body().collect().await.unwrap();
    eventually("a hit", async || is_hit(&gateway, None, &mut Vec::new()).then_some(())).await;
    (gateway, origin)
}

/// Whether a request is answered where it lies. `parent`: what it says in `traceparent`.
fn is_hit(gateway: &Gateway, parent: Option<&str>, head: &mut Vec<u8>) -> bool {
    let mut lines = FieldLines::new();
    lines.push(FieldLine { name: b"host", value: b"larder.test" });
    if let Some(parent) = parent {
        lines.push(FieldLine { name: b"traceparent", value: parent.as_bytes() });
    }
    let (method, scheme, host, target) = (&Method::GET, Scheme::Http, b"larder.test", "/a");
    let request = PeekedRequest { method, scheme, host, target, lines: &mut lines };
    head.clear();
    gateway.hit(request, peer(), head).is_some()
}

/// How much is allocated for hits that say this.
fn allocated(gateway: &Gateway, parent: Option<&str>) -> u64 {
    let mut head = Vec::with_capacity(4 << 10);
    let counted = measure(|| {
        for _ in 0..HITS {
            assert!(is_hit(gateway, parent, &mut head));
        }
    });
    counted.count_total
}

fn traces(sample: f64) -> Traces {
    let config = TracesConfig {
        endpoint: "http://127.0.0.1:9".parse().unwrap(),
        path: "/v1/traces".parse().unwrap(),
        tls: None,
        service_name: "larder".to_owned(),
        sample,
        parents: Parents::All,
        buffer: 16,
    };
    Traces::start(config).unwrap()
}

const UNTOLD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
const TOLD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn a_plain_hit_that_is_not_traced_allocates_nothing() {
    let (gateway, _origin) = filled().await;
    assert_eq!(allocated(&gateway, None), 0, "where nothing is traced");
    let traces = traces(0.0);
    gateway.trace(traces.clone());
    // What each thread draws once.
    assert!(is_hit(&gateway, None, &mut Vec::new()));
    assert_eq!(allocated(&gateway, None), 0);
    assert_eq!(allocated(&gateway, Some(UNTOLD)), 0);
    assert!(!is_hit(&gateway, Some(TOLD), &mut Vec::new()), "it goes the whole way");
    assert_eq!(traces.counts().requests, 0);
}

/// Counts how often somebody is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[tokio::test]
async fn a_hit_allocates_nothing_and_wakes_nobody_while_consoles_watch() {
    const CONSOLES: usize = 32;
    let store = Cache::<Variants>::builder().max_bytes(1 << 20).build();
    let cache = HttpCache::new(store, Policy::guarded());
    let (gateway, _origin) = filled_before(&cache, GatewayConfig::default()).await;
    let (counts, lines) = (gateway.clone(), gateway.clone());
    let admin = Admin::new().http_cache(&cache).traffic(move || counts.traffic());
    let mut router = admin.route_table(move || lines.route_table()).router();
    let woken = Arc::new(Woken::default());
    let waker = Arc::clone(&woken).into();
    let mut watching = Vec::new();
    for _ in 0..CONSOLES {
        let path = "/v1/events?only=stats,second,purge";
        let asked = Request::get(path).header("host", "localhost");
        let asked = asked.body(Empty::<Bytes>::new()).unwrap();
        let mut events = router.call(asked).await.unwrap().into_body();
        // What there is at once, and then it waits.
        while Pin::new(&mut events).poll_frame(&mut Context::from_waker(&waker)).is_ready() {}
        watching.push(events);
    }
    woken.0.store(0, Relaxed);
    assert_eq!(allocated(&gateway, None), 0);
    assert_eq!(woken.0.load(Relaxed), 0);
    // They do wait: the next second wakes each of them.
    eventually("the consoles to be told", async || {
        (woken.0.load(Relaxed) >= CONSOLES).then_some(())
    })
    .await;
}

#[tokio::test]
async fn where_each_request_is_traced_none_is_answered_where_it_lies() {
    let (gateway, _origin) = filled().await;
    gateway.trace(traces(1.0));
    for _ in 0..HITS {
        assert!(!is_hit(&gateway, None, &mut Vec::new()));
    }
    assert!(is_hit(&gateway, Some(UNTOLD), &mut Vec::new()), "its sender has decided");
}

#[tokio::test]
async fn a_share_of_plain_hits_has_ids_and_the_others_allocate_nothing() {
    let ids = |sampled_hits| GatewayConfig { sampled_hits, ..GatewayConfig::default() };
    let (gateway, _origin) = filled_with(ids(1e-12)).await;
    assert_eq!(allocated(&gateway, None), 0);
    let upstreams = gateway.upstreams();
    let ways = || Ways::one(Arc::new(Policy::guarded()));
    // What a thread had drawn for another share is of no use for this.
    gateway.reload(upstreams.clone(), ways(), ids(1.0));
    for _ in 0..HITS {
        assert!(!is_hit(&gateway, None, &mut Vec::new()));
    }
    assert!(id_of(&gateway).await.is_some());
    gateway.reload(upstreams.clone(), ways(), ids(0.25));
    let mut sampled = 0;
    for _ in 0..2000 {
        // As a connection does: what is not answered where it lies goes the whole way.
        if !is_hit(&gateway, None, &mut Vec::new()) {
            assert!(id_of(&gateway).await.is_some(), "it was chosen before anything was done");
            sampled += 1;
        }
    }
    assert!((350..=650).contains(&sampled), "{sampled} of 2000, a quarter of them");
    let off = GatewayConfig { request_ids: false, ..ids(1.0) };
    gateway.reload(upstreams, ways(), off);
    assert!(is_hit(&gateway, None, &mut Vec::new()));
    assert_eq!(id_of(&gateway).await, None);
}

/// The id of an answer that has gone the whole way, where it has one.
async fn id_of(gateway: &Gateway) -> Option<HeaderValue> {
    let request = Request::get("http://larder.test/a").header("host", "larder.test");
    let request = request.extension(peer()).body(ReaderBody::empty()).unwrap();
    let answer = gateway.clone().call(request).await.unwrap();
    answer.headers().get("larder-request").cloned()
}
