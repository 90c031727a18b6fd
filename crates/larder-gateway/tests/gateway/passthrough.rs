//! Reader, gateway and origin together, byte for byte.

use std::{
    io::{Read, Write},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use larder::{
    Cache,
    http::{HttpCache, Policy, Variants},
};
use larder_gateway::{Gateway, GatewayConfig, ServerConfig, upstream::UpstreamConfig};
use tokio::{
    io::AsyncWriteExt,
    net::TcpSocket,
    sync::{Mutex, mpsc, oneshot},
    time::{sleep, timeout},
};
use tower::service_fn;

use crate::support::{Gate, Origin, PATIENCE, Wire, field, pass, status, until, upstream};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn before(origin: &Origin, config: UpstreamConfig) -> Gate {
    Gate::with(ServerConfig::default(), upstream(origin.address, config))
}

#[tokio::test]
async fn an_answer_passes_and_both_connections_are_kept() {
    let origin =
        Origin::saying("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-B: 2\r\n\r\nhello").await;
    let gate = Gate::before(origin.address);
    let mut wire = gate.connect().await;
    for _ in 0..3 {
        wire.send(GET).await;
        let (head, body) = wire.answer().await.into_text();
        assert_eq!((status(&head), field(&head, "x-b")), (200, Some("2")));
        assert_eq!(body, "hello");
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn heads_pass_both_ways_byte_for_byte_but_for_what_is_about_the_connection() {
    let (heard, hears) = oneshot::channel();
    let heard = Arc::new(Mutex::new(Some(heard)));
    let origin = Origin::playing(move |mut wire: Wire, _| {
        let heard = Arc::clone(&heard);
        async move {
            let head = wire.head().await;
            heard.lock().await.take().unwrap().send(head).unwrap();
            wire.send(
                b"HTTP/1.1 242 S\xc3\xa4nk ju\r\nX-A: 1\r\nContent-Length: 1\r\nX-B: \x80\xff\t!\r\n\
                  x-a: 2\r\nDate: then\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\
                  X-Empty:\r\n\r\nx",
            )
            .await;
        }
    })
    .await;
    let gate = Gate::before(origin.address);
    let mut wire = gate.connect().await;
    wire.send(
        b"QUERY /a%2Fb?c=d&e HTTP/1.1\r\nHost: blog.example\r\nAccept: */*\r\nCookie: a=1\r\n\
          Connection: keep-alive\r\nExpect: 100-continue\r\nTE: trailers\r\ncookie: b=2\r\n\
          X: \xe4\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    assert_eq!(
        hears.await.unwrap(),
        "QUERY /a%2Fb?c=d&e HTTP/1.1\r\nhost: blog.example\r\naccept: */*\r\ncookie: a=1\r\n\
         cookie: b=2\r\nx: \u{e4}\r\nte: trailers\r\nconnection: te\r\ncontent-length: 0\r\n\r\n"
    );
    let (head, body) = wire.answer().await.into_text();
    // hyper's parser empties a phrase with bytes beyond ASCII.
    assert_eq!(
        head,
        "HTTP/1.1 242 \r\nx-a: 1\r\nx-a: 2\r\nx-b: \u{80}\u{ff}\t!\r\ndate: then\r\nx-empty: \r\n\
         content-length: 1\r\n\r\n"
    );
    assert_eq!(body, "x");
}

#[tokio::test]
async fn reason_phrases_pass() {
    let origin = Origin::saying("HTTP/1.1 404 Nothing here\r\nContent-Length: 0\r\n\r\n").await;
    let gate = Gate::before(origin.address);
    let mut wire = gate.connect().await;
    wire.send(GET).await;
    assert!(wire.head().await.starts_with("HTTP/1.1 404 Nothing here\r\n"));
}

#[tokio::test]
async fn a_body_streams_in_and_out() {
    let origin = Origin::playing(|mut wire: Wire, _| async move {
        while wire.has_more().await {
            let head = wire.head().await;
            let length: usize = field(&head, "content-length").unwrap().parse().unwrap();
            wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            for _ in 0..length / 4 {
                let piece = wire.exactly(4).await;
                wire.send([b"4\r\n", &piece[..], b"\r\n"].concat()).await;
            }
            wire.send("0\r\n\r\n").await;
        }
    })
    .await;
    let gate = Gate::before(origin.address);
    let mut wire = gate.connect().await;
    for _ in 0..2 {
        wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nabcd").await;
        assert_eq!(field(&wire.head().await, "transfer-encoding"), Some("chunked"));
        assert_eq!(wire.until("\r\n").await, "4\r\n");
        assert_eq!(wire.until("\r\n").await, "abcd\r\n");
        // The rest is sent only when the answer has begun: both bodies are under way at once.
        wire.send("efgh").await;
        assert_eq!(wire.until("0\r\n\r\n").await, "4\r\nefgh\r\n0\r\n\r\n");
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn a_chunked_request_reaches_the_origin_chunked_whatever_its_method() {
    let origin = Origin::playing(|mut wire: Wire, _| async move {
        while wire.has_more().await {
            let head = wire.head().await;
            assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
            let body = wire.until("0\r\n\r\n").await;
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
                .await;
        }
    })
    .await;
    let gate = Gate::before(origin.address);
    let mut wire = gate.connect().await;
    for method in ["POST", "GET", "DELETE", "ODD"] {
        let head = format!("{method} / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        wire.send(format!("{head}3;x=y\r\nabc\r\n0\r\nX-T: 1\r\n\r\n")).await;
        assert_eq!(wire.answer().await.text(), "3\r\nabc\r\n0\r\n\r\n", "{method}");
    }
}

#[tokio::test]
async fn an_origin_of_http_1_0_ends_its_answers_by_closing() {
    let origin = Origin::saying_once("HTTP/1.0 200 OK\r\nX-B: 2\r\n\r\nhello").await;
    let gate = Gate::before(origin.address);
    let mut wire = gate.connect().await;
    for _ in 0..2 {
        wire.send(GET).await;
        let head = wire.head().await;
        assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
        assert_eq!(wire.until("0\r\n\r\n").await, "5\r\nhello\r\n0\r\n\r\n");
    }
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn an_answer_that_the_origin_breaks_off_never_looks_whole() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nrubbish\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ] {
        let origin = Origin::saying_once(answer).await;
        let gate = Gate::before(origin.address);
        for request in [GET, "GET / HTTP/1.0\r\n\r\n"] {
            let mut wire = gate.connect().await;
            wire.send(request).await;
            let got = wire.until_reset().await;
            assert!(!got.ends_with("0\r\n\r\n"), "{answer}: {got}");
        }
        assert_eq!(origin.connections(), 2, "{answer}");
    }
}

#[tokio::test]
async fn a_body_longer_than_its_length_is_cut_there_and_its_connection_dropped() {
    let longer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\
                  Content-Length: 3\r\n\r\nbad";
    let origin = Origin::saying(longer).await;
    let gate = Gate::before(origin.address);
    let mut wire = gate.connect().await;
    for served in 1..4 {
        wire.send(GET).await;
        assert_eq!(wire.answer().await.text(), "hello");
        assert_eq!(origin.connections(), served);
    }
}

#[tokio::test]
async fn an_answer_in_a_transfer_coding_that_is_not_undone_is_a_502_and_its_connection_dropped() {
    let chunked = "3\r\nmoo\r\n0\r\n\r\n";
    for (codings, body) in [
        ("Transfer-Encoding: gzip, chunked\r\n", chunked),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", chunked),
        ("Transfer-Encoding: chunked, chunked\r\n", chunked),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", chunked),
        ("Transfer-Encoding: identity, chunked\r\n", chunked),
        ("Transfer-Encoding: chunked;q=1\r\n", chunked),
        ("Transfer-Encoding: \"chunked\"\r\n", chunked),
        ("Transfer-Encoding: chunked, gzip\r\n", "moo"),
        ("Transfer-Encoding: gzip\r\n", "moo"),
        ("Transfer-Encoding: identity\r\nContent-Length: 3\r\n", "moo"),
        ("Transfer-Encoding:\r\nContent-Length: 3\r\n", "moo"),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{codings}\r\n{body}");
        let origin = Origin::saying(answer).await;
        let gate = Gate::before(origin.address);
        let mut wire = gate.connect().await;
        for asked in 1..3 {
            wire.send(GET).await;
            let (head, _) = wire.answer().await.into_text();
            assert_eq!(status(&head), 502, "{codings}: {head}");
            let why = field(&head, "proxy-status").unwrap_or_default();
            assert!(why.contains("http_response_transfer_coding"), "{codings}: {why}");
            assert_eq!(origin.connections(), asked, "{codings}");
        }
    }
}

#[tokio::test]
async fn an_unknown_word_for_a_transfer_coding_ends_with_the_connection() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: cow\r\nContent-Length: 2\r\n\r\n3\r\nmoo";
    let origin = Origin::saying_once(answer).await;
    let gate = Gate::before(origin.address);
    let mut wire = gate.connect().await;
    wire.send(GET).await;
    let head = wire.head().await;
    assert_eq!(field(&head, "content-length"), None);
    assert_eq!(wire.until("0\r\n\r\n").await, "6\r\n3\r\nmoo\r\n0\r\n\r\n");
}

#[tokio::test]
async fn a_transfer_coding_of_an_answer_without_content_does_not_matter() {
    let origin =
        Origin::saying("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n").await;
    let gate = Gate::before(origin.address);
    let mut wire = gate.connect().await;
    for _ in 0..2 {
        wire.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let head = wire.head().await;
        assert_eq!((status(&head), field(&head, "transfer-encoding")), (200, None));
    }
}

#[tokio::test]
async fn an_answer_in_http_1_0_with_a_transfer_coding_is_a_502() {
    let answer = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nmoo\r\n0\r\n\r\n";
    let origin = Origin::saying_once(answer).await;
    let gate = Gate::before(origin.address);
    let mut wire = gate.connect().await;
    wire.send(GET).await;
    assert_eq!(status(&wire.head().await), 502);
}

#[tokio::test]
async fn with_both_framings_an_origins_length_does_not_count_and_its_connection_is_dropped() {
    let length = "Content-Length: 2\r\n";
    for (before, after, expected) in [("", "", 1), (length, "", 3), ("", length, 3)] {
        let answer = format!(
            "HTTP/1.1 200 OK\r\n{before}Transfer-Encoding: chunked\r\n{after}\r\n\
             3\r\nmoo\r\n0\r\n\r\n"
        );
        let origin = Origin::saying(answer).await;
        let gate = Gate::before(origin.address);
        let mut wire = gate.connect().await;
        for _ in 0..3 {
            wire.send(GET).await;
            assert_eq!(field(&wire.head().await, "content-length"), None);
            assert_eq!(wire.until("0\r\n\r\n").await, "3\r\nmoo\r\n0\r\n\r\n");
        }
        assert_eq!(origin.connections(), expected, "{before:?} {after:?}");
    }
}

#[tokio::test]
async fn what_sloppy_origins_write_is_repaired() {
    let answer = "HTTP/1.1 200\r\nX-Space : 1\r\nX-Fold: 2\r\n  3\r\nContent-Length: 1\r\n\
                  Content-Length: 1\r\n\r\nx";
    let origin = Origin::saying(answer).await;
    let gate = Gate::before(origin.address);
    let mut wire = gate.connect().await;
    wire.send(GET).await;
    let (head, body) = wire.answer().await.into_text();
    assert_eq!(field(&head, "x-space"), Some("1"));
    let folded = field(&head, "x-fold").unwrap();
    assert_eq!(folded.split_ascii_whitespace().collect::<Vec<_>>(), ["2", "3"]);
    assert_eq!(head.matches("content-length").count(), 1);
    assert_eq!(body, "x");
}

#[tokio::test]
async fn answers_without_bodies_keep_the_connection() {
    let origin = Origin::playing(|mut wire: Wire, _| async move {
        while wire.has_more().await {
            let head = wire.head().await;
            wire.send(match head.split(' ').nth(1).unwrap() {
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 9\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
            })
            .await;
        }
    })
    .await;
    let gate = Gate::before(origin.address);
    let mut wire = gate.connect().await;
    for (request, length) in
        [("GET /204", None), ("GET /304", Some("9")), ("HEAD /", Some("9")), ("GET /204", None)]
    {
        wire.send(format!("{request} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert_eq!(field(&wire.head().await, "content-length"), length, "{request}");
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn interim_answers_of_the_origin_pass_before_the_final_one_is_there() {
    let (go_on, waits) = oneshot::channel();
    let waits = Arc::new(Mutex::new(Some(waits)));
    let origin = Origin::playing(move |mut wire: Wire, _| {
        let waits = Arc::clone(&waits);
        async move {
            wire.head().await;
            wire.send(
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\
                 Link: </b>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n",
            )
            .await;
            waits.lock().await.take().unwrap().await.unwrap();
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx").await;
        }
    })
    .await;
    let gate = Gate::before(origin.address);
    let mut wire = gate.connect().await;
    wire.send(GET).await;
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nlink: </b>\r\n\r\n";
    assert_eq!(wire.head().await, hints);
    assert_eq!(wire.head().await, "HTTP/1.1 102 Processing\r\n\r\n");
    go_on.send(()).unwrap();
    let (head, body) = wire.answer().await.into_text();
    assert_eq!((status(&head), body.as_str()), (200, "x"));
    assert_eq!(field(&head, "link"), None);
}

#[tokio::test]
async fn trailers_of_the_origin_that_nobody_takes_are_dropped_and_the_connection_is_kept() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                  1\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n";
    let origin = Origin::saying(answer).await;
    let gate = Gate::before(origin.address);
    let mut wire = gate.connect().await;
    for _ in 0..2 {
        wire.send(GET).await;
        assert_eq!(field(&wire.head().await, "trailer"), None);
        assert_eq!(wire.until("0\r\n\r\n").await, "1\r\nx\r\n0\r\n\r\n");
    }
    assert_eq!(origin.connections(), 1);
}

async fn told(gate: &Gate, expected: u16, error: &str) {
    let mut wire = gate.connect().await;
    wire.send(GET).await;
    let (head, body) = wire.answer().await.into_text();
    assert_eq!(status(&head), expected, "{head}{body}");
    let proxy_status = field(&head, "proxy-status").unwrap();
    assert!(proxy_status.starts_with(&format!("Larder;error={error}")), "{proxy_status}");
    assert_eq!(field(&head, "content-type"), Some("application/problem+json"));
    let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(problem["status"], expected);
    // The gateway is in order: the reader's connection stays.
    wire.send(GET).await;
    wire.answer().await;
}

#[tokio::test]
async fn each_way_an_origin_fails_has_its_own_words() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    told(&Gate::before(nobody), 502, "connection_refused").await;

    for (answer, error) in [
        ("", "connection_terminated"),
        ("HTTP/1.1 200 OK\r\nX: ", "connection_terminated"),
        ("this is not HTTP\r\n\r\n", "http_protocol_error"),
        ("HTTP/1.1 200 OK\r\nX\0: 1\r\n\r\n", "http_protocol_error"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy",
            "http_protocol_error",
        ),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "http_upgrade_failed"),
    ] {
        let origin = Origin::saying_once(answer).await;
        told(&Gate::before(origin.address), 502, error).await;
    }
    let large = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(200_000));
    let origin = Origin::saying_once(large).await;
    told(&Gate::before(origin.address), 502, "http_response_header_section_size").await;

    let config = UpstreamConfig { ..Default::default() };
    let unknown = larder_gateway::upstream::Upstream::new(
        "http://no-such-host.invalid".parse().unwrap(),
        config,
    );
    told(&Gate::with(ServerConfig::default(), unknown), 502, "dns_error").await;
}

/// An answer with this many fields, and a head of this many bytes.
fn large_answer(status: &str, fields: usize, head_bytes: usize) -> String {
    let mut head = format!("HTTP/1.1 {status}\r\nCache-Control: max-age=60\r\nEtag: \"1\"\r\n");
    for number in 3..fields - 1 {
        head += &format!("X-Field-{number}: {number}\r\n");
    }
    let end = if status.starts_with("200") { "Content-Length: 1\r\n\r\nx" } else { "X: x\r\n\r\n" };
    let end_of_head = end.find("\r\n\r\n").unwrap() + 4;
    let filling = head_bytes.saturating_sub(head.len() + end_of_head + "X-Large: \r\n".len());
    // One field more or less would be another number of them.
    head + &format!("X-Large: {}\r\n", "x".repeat(filling)) + end
}

#[tokio::test]
async fn a_head_is_taken_up_to_its_limits_and_every_byte_of_it_passes() {
    for (fields, head_bytes, is_taken) in [
        (100, 0, true),
        (101, 0, true),
        (256, 0, true),
        (257, 0, false),
        (10, 64 << 10, true),
        (10, 128 << 10, true),
        (256, 128 << 10, true),
        (10, (128 << 10) + 1, false),
    ] {
        let answer = large_answer("200 OK", fields, head_bytes);
        let origin = Origin::saying(&answer).await;
        let gate = Gate::before(origin.address);
        let mut wire = gate.connect().await;
        wire.send(GET).await;
        let (head, body) = wire.answer().await.into_text();
        let what = format!("{fields} fields, {head_bytes} bytes");
        if !is_taken {
            assert_eq!(status(&head), 502, "{what}");
            assert!(body.contains("is too large, or has too many fields"), "{body}");
            continue;
        }
        assert_eq!(status(&head), 200, "{what}");
        for line in answer.split("\r\n").skip(1).filter(|line| line.contains(": ")) {
            let (name, value) = line.split_once(": ").unwrap();
            assert_eq!(field(&head, name), Some(value), "{what}");
        }
    }
}

#[tokio::test]
async fn a_large_head_is_stored_confirmed_and_served_to_readers_of_either_version() {
    let origin = Origin::playing(|mut wire: Wire, _| async move {
        while wire.has_more().await {
            let head = wire.head().await;
            let line = if field(&head, "if-none-match").is_some() { "304 Same" } else { "200 OK" };
            wire.send(large_answer(line, 256, 128 << 10)).await;
        }
    })
    .await;
    let store = Cache::<Variants>::builder().max_bytes(8 << 20).build();
    let cache = HttpCache::new(store, Policy::standard());
    let client = upstream(origin.address, UpstreamConfig::default());
    let gateway = Gateway::new(&cache, client, GatewayConfig::default());
    let gate = Gate::serving(ServerConfig::default(), gateway);
    let mut wire = gate.connect().await;
    let large = "x".repeat(100 << 10);
    let reload = "GET / HTTP/1.1\r\nHost: a\r\nCache-Control: no-cache\r\n\r\n";
    for (asked, said) in [(GET, "uri-miss"), (reload, "request-no-cache"), (GET, "detail=hit")] {
        wire.send(asked).await;
        let (head, body) = wire.answer().await.into_text();
        assert_eq!((status(&head), body.as_str()), (200, "x"));
        let status = field(&head, "cache-status").unwrap();
        assert!(status.contains(said), "{status}");
        assert!(head.contains(&large) && head.contains("x-field-254: 254\r\n"));
        until("the entry", || cache.cache().get("http://a/").is_some()).await;
    }
    let stream = tokio::net::TcpStream::connect(gate.address).await.unwrap();
    let mut client = h2::client::Builder::new();
    let shaking = client.max_header_list_size(1 << 20).handshake::<_, bytes::Bytes>(stream);
    let (mut sender, connection) = shaking.await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get("http://a/").body(()).unwrap();
    let (answer, _) = sender.send_request(request, true).unwrap();
    let answer = answer.await.unwrap();
    assert!(answer.headers()["cache-status"].to_str().unwrap().contains("detail=hit"));
    assert!(answer.headers()["x-large"].len() >= large.len());
    assert_eq!(answer.headers()["x-field-254"], "254");
    connection.abort();
}

#[tokio::test]
async fn content_that_an_origin_may_overlook_goes_on_a_connection_of_its_own() {
    let origin = Origin::playing(|mut wire: Wire, number| async move {
        while wire.has_more().await {
            let head = wire.head().await;
            if let Some(length) = field(&head, "content-length") {
                wire.exactly(length.parse().unwrap()).await;
            } else if field(&head, "transfer-encoding").is_some() {
                wire.until("0\r\n\r\n").await;
            }
            let closes = field(&head, "connection").unwrap_or("no");
            wire.send(format!(
                "HTTP/1.1 200 OK\r\nX-Number: {number}\r\nX-Closes: {closes}\r\nContent-Length: 0\r\n\r\n"
            ))
            .await;
        }
    })
    .await;
    let gate = Gate::before(origin.address);
    let mut wire = gate.connect().await;
    wire.send(GET).await;
    assert_eq!(field(&wire.head().await, "x-number"), Some("0"), "the one that is kept");
    let mut made = 0;
    let contents = [
        ("Content-Length: 3\r\n\r\nabc", true),
        ("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", true),
        ("Content-Length: 0\r\n\r\n", false),
        ("\r\n", false),
    ];
    for (method, is_doubtful) in [
        ("GET", true),
        ("HEAD", true),
        ("DELETE", true),
        ("OPTIONS", true),
        ("POST", false),
        ("PUT", false),
        ("PATCH", false),
        ("QUERY", false),
    ] {
        for (content, is_there) in contents {
            wire.send(format!("{method} / HTTP/1.1\r\nHost: a\r\n{content}")).await;
            let head = wire.head().await;
            let found = [field(&head, "x-number").unwrap(), field(&head, "x-closes").unwrap()];
            if is_doubtful && is_there {
                made += 1;
                assert_eq!(found, [made.to_string().as_str(), "close"], "{method} {content}");
            } else {
                assert_eq!(found, ["0", "no"], "{method} {content}");
            }
        }
    }
    assert_eq!(origin.connections(), made + 1);
}

#[tokio::test]
async fn an_origin_that_does_not_answer_in_time_is_told_of_as_such() {
    let origin = Origin::playing(|mut wire: Wire, _| async move {
        wire.head().await;
        wire.rest().await;
    })
    .await;
    let limit = Duration::from_millis(100);
    let config = UpstreamConfig { first_byte_timeout: limit, ..Default::default() };
    told(&before(&origin, config), 504, "http_response_timeout").await;
    let config = UpstreamConfig { whole_timeout: Some(limit), ..Default::default() };
    told(&before(&origin, config), 504, "http_response_timeout").await;
}

#[tokio::test]
async fn an_origin_that_accepts_nobody_is_told_of_as_such() {
    // The kernel answers no further SYN once the queue of those not accepted is full.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    let listener = socket.listen(1).unwrap();
    let mut queued = Vec::new();
    while let Ok(Ok(wire)) =
        timeout(Duration::from_millis(200), tokio::net::TcpStream::connect(address)).await
    {
        queued.push(wire);
    }
    let connect_timeout = Duration::from_millis(200);
    let config = UpstreamConfig { connect_timeout, ..Default::default() };
    let gate = Gate::with(ServerConfig::default(), upstream(address, config));
    told(&gate, 504, "connection_timeout").await;
    drop((listener, queued));
}

#[tokio::test]
async fn uploads_are_signs_of_life() {
    let origin = Origin::playing(|mut wire: Wire, _| async move {
        wire.head().await;
        wire.exactly(5).await;
        wire.send("HTTP/1.1 102 Processing\r\n\r\n").await;
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx").await;
    })
    .await;
    let config =
        UpstreamConfig { first_byte_timeout: Duration::from_millis(1500), ..Default::default() };
    let gate = before(&origin, config);
    let mut wire = gate.connect().await;
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n").await;
    for _ in 0..5 {
        sleep(Duration::from_millis(400)).await;
        wire.send("x").await;
    }
    assert_eq!(status(&wire.head().await), 102);
    assert_eq!(wire.answer().await.text(), "x");
}

#[tokio::test]
async fn a_pause_in_a_body_that_is_too_long_cuts_it() {
    let origin = Origin::playing(|mut wire: Wire, _| async move {
        wire.head().await;
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await;
        wire.rest().await;
    })
    .await;
    let limit = Duration::from_millis(100);
    for config in [
        UpstreamConfig { idle_body_timeout: limit, ..Default::default() },
        UpstreamConfig { whole_timeout: Some(limit), ..Default::default() },
    ] {
        let gate = before(&origin, config);
        let mut wire = gate.connect().await;
        wire.send(GET).await;
        assert!(wire.until_reset().await.ends_with("\r\n\r\nhello"));
    }
}

#[tokio::test]
async fn a_connection_that_the_origin_closed_while_it_was_idle_is_not_used() {
    let origin = Origin::saying_once("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx").await;
    let gate = Gate::before(origin.address);
    let mut wire = gate.connect().await;
    for served in 1..20 {
        wire.send(GET).await;
        let (head, _) = wire.answer().await.into_text();
        assert_eq!(status(&head), 200, "{head}");
        assert_eq!(origin.connections(), served);
        // The origin's FIN is sent before the next request is, and loopback keeps the order; the
        // gateway's event loop need not have heard of it.
        sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_a_moment_ago_is_not_used() {
    // The origin's side of each connection, to be closed without letting the event loop hear of it.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, kept) = std::sync::mpsc::channel();
    let origin = std::thread::spawn(move || {
        for _ in 0..3 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.extend_from_slice(&byte);
            }
            sender.send(stream.try_clone().unwrap()).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx").unwrap();
        }
    });
    let (client, kept) =
        (upstream(address, UpstreamConfig::default()), std::sync::Mutex::new(kept));
    let kept = Arc::new(kept);
    let service = service_fn({
        let client = client.clone();
        move |request| {
            if let Ok(stream) = kept.lock().unwrap().try_recv() {
                stream.shutdown(std::net::Shutdown::Both).unwrap();
            }
            pass(client.clone(), request)
        }
    });
    let gate = Gate::serving(ServerConfig::default(), service);
    let mut wire = gate.connect().await;
    for _ in 0..3 {
        wire.send(GET).await;
        let (head, _) = wire.answer().await.into_text();
        assert_eq!(status(&head), 200, "{head}");
    }
    assert_eq!(client.stats().connected, 3);
    origin.join().unwrap();
}

#[tokio::test]
async fn a_reader_that_leaves_while_it_sends_leaves_the_origin_with_half_a_request() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let origin = Origin::playing(move |mut wire: Wire, _| {
        let tell = tell.clone();
        async move {
            let head = wire.head().await;
            assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
            tell.send(wire.until("abc\r\n").await).unwrap();
            tell.send(wire.rest().await).unwrap();
        }
    })
    .await;
    let gate = Gate::before(origin.address);
    let mut wire = gate.connect().await;
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").await;
    assert_eq!(timeout(PATIENCE, told.recv()).await.unwrap().unwrap(), "3\r\nabc\r\n");
    drop(wire);
    // No last chunk.
    assert_eq!(timeout(PATIENCE, told.recv()).await.unwrap().unwrap(), "");
}

#[tokio::test]
async fn a_reader_that_leaves_while_it_is_answered_stops_the_origin() {
    let (tell, told) = oneshot::channel();
    let tell = Arc::new(Mutex::new(Some(tell)));
    let origin = Origin::playing(move |mut wire: Wire, _| {
        let tell = Arc::clone(&tell);
        async move {
            wire.head().await;
            wire.send("HTTP/1.1 200 OK\r\n\r\n").await;
            while wire.stream.write_all(b"more and more").await.is_ok() {
                sleep(Duration::from_millis(1)).await;
            }
            tell.lock().await.take().unwrap().send(()).unwrap();
        }
    })
    .await;
    let gate = Gate::before(origin.address);
    let mut wire = gate.connect().await;
    wire.send(GET).await;
    wire.until("more").await;
    drop(wire);
    timeout(PATIENCE, told).await.expect("the origin still sends").unwrap();
}

#[tokio::test]
async fn an_answer_that_comes_before_the_request_is_all_sent_reaches_the_reader() {
    let origin = Origin::playing(|mut wire: Wire, _| async move {
        wire.head().await;
        wire.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno").await;
        wire.rest().await;
    })
    .await;
    let gate = Gate::before(origin.address);
    let mut wire = gate.connect().await;
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc").await;
    let (head, body) = wire.answer().await.into_text();
    assert_eq!((status(&head), body.as_str()), (413, "no"));
}

#[tokio::test]
async fn connections_to_the_origin_stay_within_their_bound_and_the_wait_within_its() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (Arc::clone(&now), Arc::clone(&most));
    let origin = Origin::playing(move |mut wire: Wire, _| {
        let (now, most) = (Arc::clone(&counts.0), Arc::clone(&counts.1));
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            while wire.has_more().await {
                wire.head().await;
                sleep(Duration::from_millis(5)).await;
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx").await;
            }
            now.fetch_sub(1, Ordering::SeqCst);
        }
    })
    .await;
    let config = UpstreamConfig { max_connections: 3, ..Default::default() };
    let upstream = upstream(origin.address, config);
    let gate = Gate::with(ServerConfig::default(), upstream.clone());
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let mut wire = gate.connect().await;
        readers.spawn(async move {
            wire.send(GET).await;
            assert_eq!(status(&wire.answer().await.head), 200);
        });
    }
    while let Some(reader) = readers.join_next().await {
        reader.unwrap();
    }
    assert_eq!(most.load(Ordering::SeqCst), 3);
    let stats = upstream.stats();
    assert_eq!((stats.connected, stats.reused, stats.turned_away), (3, 47, 0));
    assert_eq!((stats.in_use, stats.idle, stats.waiting), (0, 3, 0));
}

#[tokio::test]
async fn who_waits_for_a_connection_in_vain_is_told_that_the_origin_is_busy() {
    let origin = Origin::playing(|mut wire: Wire, _| async move {
        wire.rest().await;
    })
    .await;
    let config = UpstreamConfig {
        max_connections: 1,
        max_waiting: 1,
        wait_timeout: Duration::from_secs(2),
        ..Default::default()
    };
    let upstream = upstream(origin.address, config);
    let gate = Gate::with(ServerConfig::default(), upstream.clone());
    let mut using = gate.connect().await;
    using.send(GET).await;
    let mut waiting = gate.connect().await;
    waiting.send(GET).await;
    until("one that waits", || upstream.stats().waiting == 1).await;
    let mut turned_away = gate.connect().await;
    turned_away.send(GET).await;
    for wire in [&mut turned_away, &mut waiting] {
        let (head, _) = wire.answer().await.into_text();
        assert_eq!(status(&head), 503);
        let proxy_status = field(&head, "proxy-status").unwrap();
        assert!(proxy_status.starts_with("Larder;error=connection_limit_reached"));
    }
    let stats = upstream.stats();
    assert_eq!((stats.turned_away, stats.waited_in_vain, stats.in_use), (1, 1, 1));
    using.stream.set_zero_linger().unwrap();
    drop(using);
    until("an end of all use", || upstream.stats().in_use == 0).await;
}

#[tokio::test]
async fn idle_connections_are_closed_when_their_time_is_over_without_any_request() {
    let (tell, told) = oneshot::channel();
    let tell = Arc::new(Mutex::new(Some(tell)));
    let origin = Origin::playing(move |mut wire: Wire, _| {
        let tell = Arc::clone(&tell);
        async move {
            wire.head().await;
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx").await;
            assert_eq!(wire.rest().await, "");
            tell.lock().await.take().unwrap().send(()).unwrap();
        }
    })
    .await;
    let config = UpstreamConfig { idle_timeout: Duration::from_millis(100), ..Default::default() };
    let upstream = upstream(origin.address, config);
    let gate = Gate::with(ServerConfig::default(), upstream.clone());
    let mut wire = gate.connect().await;
    wire.send(GET).await;
    wire.answer().await;
    timeout(PATIENCE, told).await.expect("the idle connection stays").unwrap();
    assert_eq!(upstream.stats().idle, 0);
}

const HINT: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n";

/// How many hints came, and the status of the final answer.
async fn hinted(gate: &Gate) -> (usize, u16) {
    let mut wire = gate.connect().await;
    wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut hints = 0;
    loop {
        match status(&wire.head().await) {
            103 => hints += 1,
            last => return (hints, last),
        }
    }
}

#[tokio::test]
async fn hints_put_the_time_for_the_answer_off_by_nothing() {
    let origin = Origin::playing(|mut wire: Wire, _| async move {
        wire.head().await;
        while wire.try_send(HINT).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    let config =
        UpstreamConfig { first_byte_timeout: Duration::from_secs(1), ..Default::default() };
    let gate = Gate::with(ServerConfig::default(), upstream(origin.address, config));
    let (hints, status) = hinted(&gate).await;
    assert_eq!(status, 504, "after {hints}");
    assert!((1..=12).contains(&hints), "{hints}");
}

#[tokio::test]
async fn hints_without_end_are_an_error_and_few_are_passed_on() {
    let origin = Origin::playing(|mut wire: Wire, _| async move {
        wire.head().await;
        while wire.try_send(HINT).await.is_ok() {}
    })
    .await;
    let client = upstream(origin.address, UpstreamConfig::default());
    let gate = Gate::with(ServerConfig::default(), client.clone());
    let (hints, status) = hinted(&gate).await;
    assert_eq!(status, 502);
    assert!(hints <= 16, "{hints}");
    let dropped = client.stats().interims_dropped;
    assert!(dropped >= 49, "{dropped}");
}
