//! How connections end: readers that leave, readers that do not read, and a gateway that stops.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use larder::{
    Cache,
    http::{HttpCache, Policy, Variants},
};
use larder_gateway::{
    Gateway, GatewayConfig, ServerConfig,
    downstream::http1::{Http1Config, ReaderBody},
    upstream::UpstreamConfig,
};
use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tower::service_fn;

use crate::support::{AnyBody, Gate, Origin, PATIENCE, field, status, until, upstream, whole};

/// Tells when it is dropped.
struct Witness(mpsc::UnboundedSender<&'static str>);

impl Drop for Witness {
    fn drop(&mut self) {
        let _nobody_listens = self.0.send("dropped");
    }
}

/// A gateway whose service says that it was called, and answers when it gets a permit.
struct Held {
    gate: Gate,
    permits: Arc<Semaphore>,
    news: mpsc::UnboundedReceiver<&'static str>,
}

fn held(config: ServerConfig) -> Held {
    let permits = Arc::new(Semaphore::new(0));
    let (sender, news) = mpsc::unbounded_channel();
    let gate = Gate::serving(
        config,
        service_fn({
            let permits = Arc::clone(&permits);
            move |_: Request<ReaderBody>| {
                let permits = Arc::clone(&permits);
                let witness = Witness(sender.clone());
                async move {
                    witness.0.send("called").unwrap();
                    permits.acquire().await.unwrap().forget();
                    Ok::<Response<AnyBody>, Infallible>(Response::new(whole(Bytes::from("x"))))
                }
            }
        }),
    );
    Held { gate, permits, news }
}

impl Held {
    async fn heard(&mut self, what: &str) {
        let news = timeout(PATIENCE, self.news.recv()).await.expect("no news");
        assert_eq!(news, Some(what));
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn a_reader_that_leaves_is_worked_for_no_longer() {
    let half_closed_timeout = Duration::from_millis(50);
    let http1 = Http1Config { half_closed_timeout, ..Default::default() };
    let mut held = held(ServerConfig { http1, ..Default::default() });
    let mut wire = held.gate.connect().await;
    wire.send(GET).await;
    held.heard("called").await;
    drop(wire);
    held.heard("dropped").await;
}

#[tokio::test]
async fn requests_sent_ahead_are_not_lost_while_the_reader_is_watched() {
    let mut held = held(ServerConfig::default());
    let mut wire = held.gate.connect().await;
    wire.send(GET).await;
    held.heard("called").await;
    for _ in 0..10 {
        wire.send(GET).await;
    }
    held.permits.add_permits(11);
    for _ in 0..11 {
        assert_eq!(wire.answer().await.text(), "x");
    }
}

#[tokio::test]
async fn a_gateway_that_stops_ends_idle_connections_and_lets_answers_out() {
    let mut held = held(ServerConfig::default());
    let mut idle = held.gate.connect().await;
    let mut busy = held.gate.connect().await;
    busy.send(GET).await;
    held.heard("called").await;
    held.permits.add_permits(1);
    busy.answer().await;
    held.heard("dropped").await;
    busy.send(GET).await;
    held.heard("called").await;
    let (address, permits) = (held.gate.address, Arc::clone(&held.permits));
    let stopping = tokio::spawn(held.gate.stopped());
    assert_eq!(idle.rest().await, "");
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    permits.add_permits(1);
    let (head, body) = busy.answer().await.into_text();
    assert_eq!((field(&head, "connection"), body.as_str()), (Some("close"), "x"));
    assert_eq!(busy.rest().await, "");
    drop((idle, busy));
    assert_eq!(stopping.await.unwrap().cut, 0);
}

#[tokio::test]
async fn what_is_not_out_when_the_grace_is_over_is_cut() {
    let grace = Duration::from_millis(100);
    let mut held = held(ServerConfig { grace, ..Default::default() });
    let mut wire = held.gate.connect().await;
    wire.send(GET).await;
    held.heard("called").await;
    assert_eq!(held.gate.stopped().await.cut, 1);
    wire.until_reset().await;
}

#[tokio::test]
async fn once_it_has_stopped_no_connection_counts_as_open_and_what_was_cut_as_reset() {
    let grace = Duration::from_millis(100);
    let config = ServerConfig { grace, max_connections: 1, ..Default::default() };
    let counters = Arc::clone(&config.http1.counters);
    let mut held = held(config);
    let mut cut = held.gate.connect().await;
    cut.send(GET).await;
    held.heard("called").await;
    let mut waits = held.gate.connect().await;
    until("one for whom there is no room", || counters.read().found_no_room > 0).await;
    assert_eq!((counters.read().open, counters.read().reset), (2, 0));
    assert_eq!(held.gate.stopped().await.cut, 1);
    cut.until_reset().await;
    assert_eq!(waits.rest().await, "");
    let counted = counters.read();
    assert_eq!((counted.accepted, counted.open, counted.reset), (2, 0, 1));
}

#[tokio::test]
async fn no_more_connections_are_served_than_may_be() {
    let mut held = held(ServerConfig { max_connections: 1, ..Default::default() });
    let mut first = held.gate.connect().await;
    first.send(GET).await;
    held.heard("called").await;
    let mut second = held.gate.connect().await;
    second.send(GET).await;
    held.permits.add_permits(2);
    first.answer().await;
    held.heard("dropped").await;
    drop(first);
    held.heard("called").await;
    second.answer().await;
}

#[tokio::test]
async fn a_head_that_does_not_end_keeps_no_place_and_holds_up_no_end() {
    let origin = Origin::saying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let (linger_timeout, head_timeout) = (Duration::from_millis(50), Duration::from_secs(600));
    for beginning in ["GET / HT", "PRI * HT"] {
        let http1 = Http1Config { linger_timeout, head_timeout, ..Default::default() };
        let config = ServerConfig { http1, max_connections: 1, ..Default::default() };
        let gate = Gate::with(config, upstream(origin.address, UpstreamConfig::default()));
        let mut slow = gate.connect().await;
        slow.send(beginning).await;
        let mut other = gate.connect().await;
        other.send(GET).await;
        assert_eq!(status(&other.head().await), 200, "{beginning}");
        assert_eq!(status(&slow.head().await), 408, "{beginning}");
        other.send(beginning).await;
        assert_eq!(gate.stopped().await.cut, 0, "{beginning}");
    }
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_given_up() {
    let body = Bytes::from(vec![b'x'; 64 << 20]);
    let (sender, mut news) = mpsc::unbounded_channel();
    let sender = Mutex::new(Some(Witness(sender)));
    let sender = Arc::new(sender);
    let http1 = Http1Config { write_timeout: Duration::from_millis(200), ..Default::default() };
    let gate = Gate::serving(
        ServerConfig { http1, ..Default::default() },
        service_fn(move |_: Request<ReaderBody>| {
            let witness = sender.lock().unwrap().take();
            let body = WitnessedBody { body: whole(body.clone()), _witness: witness };
            std::future::ready(Ok::<_, Infallible>(Response::new(body)))
        }),
    );
    let mut wire = gate.connect().await;
    wire.send(GET).await;
    assert_eq!(status(&wire.head().await), 200);
    let dropped = timeout(PATIENCE, news.recv()).await.expect("still waiting for the reader");
    assert_eq!(dropped, Some("dropped"));
    drop(wire);
}

struct WitnessedBody {
    body: AnyBody,
    _witness: Option<Witness>,
}

impl http_body::Body for WitnessedBody {
    type Data = Bytes;
    type Error = crate::support::BoxError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::pin::Pin::new(&mut self.body).poll_frame(cx)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

#[tokio::test]
async fn once_its_cache_is_shut_down_only_what_is_stored_is_served() {
    let answer = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 1\r\n\r\na";
    let origin = Origin::saying(answer).await;
    let store = Cache::<Variants>::builder().max_bytes(1 << 20).build();
    let cache = HttpCache::new(store, Policy::guarded());
    let upstream = upstream(origin.address, UpstreamConfig::default());
    let gateway = Gateway::new(&cache, upstream, GatewayConfig::default());
    let gate = Gate::serving(ServerConfig::default(), gateway);
    let mut wire = gate.connect().await;
    wire.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(status(&wire.answer().await.head), 200);
    until("the entry", || cache.cache().get("http://a/a").is_some()).await;
    assert!(cache.cache().shut_down(Duration::from_secs(1)).await);
    for (asked, expected) in [("GET /b", 503), ("DELETE /a", 503), ("GET /a", 200)] {
        wire.send(format!("{asked} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert_eq!(status(&wire.answer().await.head), expected, "{asked}");
    }
    assert_eq!(origin.connections(), 1);
}
