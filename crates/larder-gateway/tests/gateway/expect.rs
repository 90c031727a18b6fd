//! `Expect: 100-continue`: the origin's word comes before the reader's content (RFC 9110 §10.1.1).

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyStream, StreamBody};
use larder::{
    Cache,
    http::{HttpCache, Policy, Variants},
};
use larder_gateway::{
    Gateway, GatewayConfig, ServerConfig, downstream::http1::ReaderBody, upstream::UpstreamConfig,
};
use tokio::{sync::mpsc, time::Instant};
use tower::service_fn;

use crate::support::{AnyBody, Gate, Origin, Wire, field, status, upstream};

const HEAD: &str =
    "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\n";
const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

/// Between reader and origin there is nothing, or a cache.
fn gates(origin: &Origin, config: &UpstreamConfig) -> [(&'static str, Gate); 2] {
    let store = Cache::<Variants>::builder().max_bytes(1 << 20).build();
    let cache = HttpCache::new(store, Policy::guarded());
    let client = || upstream(origin.address, config.clone());
    let gateway = Gateway::new(&cache, client(), GatewayConfig::default());
    [
        ("alone", Gate::with(ServerConfig::default(), client())),
        ("with a cache", Gate::serving(ServerConfig::default(), gateway)),
    ]
}

/// An origin that never gives its word by itself.
fn patient() -> UpstreamConfig {
    UpstreamConfig { continue_timeout: Duration::from_secs(3600), ..Default::default() }
}

#[tokio::test]
async fn a_final_answer_reaches_the_reader_before_any_content_leaves_it() {
    for line in ["200 OK", "307 Elsewhere", "401 Who", "413 Too much", "417 No", "500 Oh"] {
        let (tell, mut told) = mpsc::unbounded_channel();
        let code: u16 = line[..3].parse().unwrap();
        let answer = format!("HTTP/1.1 {line}\r\nContent-Length: 2\r\n\r\nno");
        let origin = Origin::playing(move |mut wire: Wire, _| {
            let (tell, answer) = (tell.clone(), answer.clone());
            async move {
                let head = wire.head().await;
                wire.send(answer).await;
                tell.send((field(&head, "expect").map(str::to_owned), wire.rest().await)).unwrap();
            }
        })
        .await;
        for (what, gate) in gates(&origin, &patient()) {
            let mut wire = gate.connect().await;
            wire.send(HEAD).await;
            let (head, body) = wire.answer().await.into_text();
            assert_eq!((status(&head), body.as_str()), (code, "no"), "{what}");
            // Whether the content comes now nobody knows.
            assert_eq!(field(&head, "connection"), Some("close"), "{what}");
            assert_eq!(wire.rest().await, "", "{what}");
            let seen = told.recv().await.unwrap();
            assert_eq!(seen, (Some("100-continue".to_owned()), String::new()), "{what}");
        }
    }
}

#[tokio::test]
async fn the_reader_is_told_to_continue_once_the_origin_says_so() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let (go_on, goes_on) = mpsc::unbounded_channel::<()>();
    let goes_on = std::sync::Arc::new(tokio::sync::Mutex::new(goes_on));
    let origin = Origin::playing(move |mut wire: Wire, _| {
        let (tell, goes_on) = (tell.clone(), std::sync::Arc::clone(&goes_on));
        async move {
            while wire.has_more().await {
                wire.head().await;
                // What is no word about the content passes, and opens nothing.
                wire.send("HTTP/1.1 103 Early Hints\r\n\r\n").await;
                goes_on.lock().await.recv().await.unwrap();
                wire.send(CONTINUE).await;
                tell.send(wire.exactly(5).await).unwrap();
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").await;
            }
        }
    })
    .await;
    for (what, gate) in gates(&origin, &patient()) {
        let mut wire = gate.connect().await;
        for _ in 0..2 {
            wire.send(HEAD).await;
            assert_eq!(status(&wire.head().await), 103, "{what}");
            go_on.send(()).unwrap();
            assert_eq!(wire.head().await, CONTINUE, "{what}");
            wire.send("hello").await;
            assert_eq!(told.recv().await.unwrap(), b"hello", "{what}");
            let (head, body) = wire.answer().await.into_text();
            assert_eq!((status(&head), body.as_str()), (200, "done"), "{what}");
        }
    }
    assert_eq!(origin.connections(), 2, "connections are kept");
}

#[tokio::test]
async fn an_origin_that_gives_no_word_gets_the_content_after_a_while() {
    let origin = Origin::playing(|mut wire: Wire, _| async move {
        wire.head().await;
        let body = wire.exactly(5).await;
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        wire.send([&head[..], &body].concat()).await;
    })
    .await;
    let continue_timeout = Duration::from_millis(100);
    let config = UpstreamConfig { continue_timeout, ..Default::default() };
    for (what, gate) in gates(&origin, &config) {
        let mut wire = gate.connect().await;
        let began = Instant::now();
        wire.send(HEAD).await;
        assert_eq!(wire.head().await, CONTINUE, "{what}");
        assert!(began.elapsed() >= continue_timeout, "{what}");
        wire.send("hello").await;
        assert_eq!(wire.answer().await.text(), "hello", "{what}");
    }
}

#[tokio::test]
async fn who_cannot_have_an_answer_is_told_before_it_sends() {
    let origin = Origin::saying("").await;
    let address = origin.address;
    drop(origin);
    let gone = Gate::before(address);
    let mut wire = gone.connect().await;
    wire.send(HEAD).await;
    assert_eq!(status(&wire.head().await), 502);
}

#[tokio::test]
async fn a_reader_that_does_not_wait_loses_nothing() {
    let origin = Origin::playing(|mut wire: Wire, _| async move {
        while wire.has_more().await {
            wire.head().await;
            wire.send(CONTINUE).await;
            let body = wire.exactly(5).await;
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
            wire.send([&head[..], &body].concat()).await;
        }
    })
    .await;
    for (what, gate) in gates(&origin, &patient()) {
        let mut wire = gate.connect().await;
        wire.send(HEAD.to_owned() + "hello" + HEAD + "world").await;
        for body in ["hello", "world"] {
            assert_eq!(wire.head().await, CONTINUE, "{what}");
            assert_eq!(wire.answer().await.text(), body, "{what}");
        }
    }
}

#[tokio::test]
async fn an_expectation_that_says_nothing_is_not_passed_on() {
    let origin = Origin::playing(|mut wire: Wire, _| async move {
        while wire.has_more().await {
            let head = wire.head().await;
            assert_eq!(field(&head, "expect"), None);
            if let Some(length) = field(&head, "content-length") {
                wire.exactly(length.parse().unwrap()).await;
            }
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").await;
        }
    })
    .await;
    let rows = [
        // There is nothing to wait for.
        "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
        // HTTP/1.0 knows none, and the reader would not understand 100.
        "POST / HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
        "POST / HTTP/1.0\r\nConnection: keep-alive\r\nExpect: x\r\nContent-Length: 2\r\n\r\nhi",
    ];
    for (what, gate) in gates(&origin, &patient()) {
        let mut wire = gate.connect().await;
        for row in rows {
            wire.send(row).await;
            let (head, body) = wire.answer().await.into_text();
            assert_eq!((status(&head), body.as_str()), (200, "done"), "{what} {row}");
        }
    }
}

/// What a QUERY asks is part of its key, so the gateway itself wants its content.
#[tokio::test]
async fn the_sender_of_a_query_is_told_by_the_cache() {
    let origin = Origin::playing(|mut wire: Wire, _| async move {
        while wire.has_more().await {
            let head = wire.head().await;
            assert_eq!(field(&head, "expect"), None);
            wire.exactly(5).await;
            let answer =
                "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\ndone";
            wire.send(answer).await;
        }
    })
    .await;
    let [_, (_, gate)] = gates(&origin, &patient());
    let mut wire = gate.connect().await;
    for _ in 0..2 {
        wire.send(HEAD.replace("POST", "QUERY")).await;
        assert_eq!(wire.head().await, CONTINUE);
        wire.send("hello").await;
        assert_eq!(wire.answer().await.text(), "done");
    }
}

#[tokio::test]
async fn nobody_is_told_to_continue_in_the_middle_of_an_answer() {
    // Reads the content only while it answers.
    let gate = Gate::serving(
        ServerConfig::default(),
        service_fn(async |request: Request<ReaderBody>| {
            let pieces = BodyStream::new(request.into_body()).map(|piece| {
                let piece = piece.map(|piece| piece.into_data().unwrap_or_default());
                Ok(Frame::data(piece.unwrap_or(Bytes::from_static(b"broken"))))
            });
            Ok(Response::new(AnyBody::new(StreamBody::new(pieces))))
        }),
    );
    let mut wire = gate.connect().await;
    wire.send(HEAD.to_owned() + "hello").await;
    let said = wire.rest().await;
    assert_eq!(status(&said), 200);
    assert!(said.ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "{said}");
}

#[tokio::test]
async fn over_http_2_it_is_the_same() {
    let origin = Origin::playing(|mut wire: Wire, _| async move {
        while wire.has_more().await {
            let head = wire.head().await;
            assert_eq!(field(&head, "expect"), Some("100-continue"));
            if head.starts_with("POST /no ") {
                wire.send("HTTP/1.1 401 Who\r\nContent-Length: 2\r\n\r\nno").await;
                assert_eq!(wire.rest().await, "");
                return;
            }
            wire.send(CONTINUE).await;
            let body = wire.until("0\r\n\r\n").await;
            assert_eq!(body, "5\r\nhello\r\n0\r\n\r\n");
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").await;
        }
    })
    .await;
    for (what, gate) in gates(&origin, &patient()) {
        let stream = tokio::net::TcpStream::connect(gate.address).await.unwrap();
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        let post = |path: &str| {
            let uri = format!("http://a{path}");
            Request::post(uri).header("expect", "100-continue").body(()).unwrap()
        };
        let mut sender = sender.ready().await.unwrap();
        let (answer, _stream) = sender.send_request(post("/no"), false).unwrap();
        assert_eq!(answer.await.unwrap().status(), 401, "{what}");
        let (mut answer, mut stream) = sender.send_request(post("/"), false).unwrap();
        let interim = std::future::poll_fn(|cx| answer.poll_informational(cx)).await;
        assert_eq!(interim.unwrap().unwrap().status(), 100, "{what}");
        stream.send_data(Bytes::from("hello"), true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 200, "{what}");
        connection.abort();
    }
}
