//! Kept connections that the origin closes: what may be sent once more is, and nothing else.

use std::sync::{Arc, Mutex};

use larder_gateway::{ServerConfig, upstream::UpstreamConfig};

use crate::support::{Gate, Origin, Wire, status, until, upstream};

const FINE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine";

/// The request lines that an origin has read, with the number of their connection.
type Seen = Arc<Mutex<Vec<(usize, String)>>>;

/// Answers the first `kept` connections' first requests as it should; to what comes next there it says
/// `last_words` and closes. On later connections it answers, unless `is_down`.
async fn origin(kept: usize, last_words: &'static str, is_down: bool) -> (Origin, Seen) {
    origin_that(kept, last_words, is_down, false).await
}

async fn origin_that(
    kept: usize,
    last_words: &'static str,
    is_down: bool,
    resets: bool,
) -> (Origin, Seen) {
    let seen = Seen::default();
    let log = Arc::clone(&seen);
    let origin = Origin::playing(move |mut wire: Wire, number| {
        let log = Arc::clone(&log);
        async move {
            let mut served = 0;
            while wire.has_more().await {
                let head = wire.head().await;
                let line = head.lines().next().unwrap().to_owned();
                if let Some(length) = crate::support::field(&head, "content-length") {
                    wire.exactly(length.parse().unwrap()).await;
                }
                log.lock().unwrap().push((number, line));
                let is_over = if number < kept { served > 0 } else { is_down };
                if is_over {
                    wire.send(last_words).await;
                    if resets {
                        wire.stream.set_zero_linger().unwrap();
                    }
                    return;
                }
                served += 1;
                wire.send(FINE).await;
            }
        }
    })
    .await;
    (origin, seen)
}

fn count(seen: &Seen, line: &str) -> usize {
    seen.lock().unwrap().iter().filter(|(_, seen)| seen.starts_with(line)).count()
}

const METHODS: [(&str, bool); 9] = [
    ("GET", true),
    ("HEAD", true),
    ("OPTIONS", true),
    ("PUT", true),
    ("DELETE", true),
    ("POST", false),
    ("PATCH", false),
    ("QUERY", true),
    ("X-OWN", false),
];

#[tokio::test]
async fn only_what_is_idempotent_and_has_no_content_is_sent_once_more() {
    for (method, is_idempotent) in METHODS {
        for content in ["", "content-length: 0\r\n", "content-length: 1\r\n"] {
            let (origin, seen) = origin(1, "", false).await;
            let client = upstream(origin.address, UpstreamConfig::default());
            let gate = Gate::with(ServerConfig::default(), client.clone());
            let mut wire = gate.connect().await;
            wire.send("GET /first HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert_eq!(wire.answer().await.text(), "fine");
            let body = if content.contains('1') { "x" } else { "" };
            wire.send(format!("{method} /next HTTP/1.1\r\nHost: a\r\n{content}\r\n{body}")).await;
            let head = wire.head().await;
            // With content, those that give it no meaning go on a connection of their own.
            let is_apart = !body.is_empty() && is_idempotent && !["PUT", "QUERY"].contains(&method);
            let is_retried = is_idempotent && body.is_empty();
            let expected = if is_retried || is_apart { 200 } else { 502 };
            assert_eq!(status(&head), expected, "{method} {content:?}");
            let times = count(&seen, &format!("{method} /next "));
            assert_eq!(times, if is_retried { 2 } else { 1 }, "{method} {content:?}");
            assert_eq!(client.stats().retried, u64::from(is_retried));
        }
    }
}

#[tokio::test]
async fn what_may_stand_for_another_method_is_not_sent_once_more() {
    for method in ["OPTIONS", "PUT", "DELETE"] {
        for (field, is_retried) in [
            ("X-HTTP-Method-Override", false),
            ("x_http_method_override", false),
            ("X-HTTP-Method", false),
            ("X-Method-Override", false),
            ("X-Original-Method", false),
            ("X-Other", true),
        ] {
            let (origin, seen) = origin(1, "", false).await;
            let gate = Gate::before(origin.address);
            let mut wire = gate.connect().await;
            wire.send("GET /first HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert_eq!(wire.answer().await.text(), "fine");
            wire.send(format!("{method} /next HTTP/1.1\r\nHost: a\r\n{field}: POST\r\n\r\n")).await;
            let expected = if is_retried { (200, 2) } else { (502, 1) };
            let status = status(&wire.head().await);
            assert_eq!((status, count(&seen, method)), expected, "{method} {field}");
        }
    }
}

#[tokio::test]
async fn a_reset_is_as_good_a_reason_as_a_close() {
    for (method, expected) in [("GET", 200), ("POST", 502)] {
        let (origin, seen) = origin_that(1, "", false, true).await;
        let gate = Gate::before(origin.address);
        let mut wire = gate.connect().await;
        wire.send("GET /first HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(wire.answer().await.text(), "fine");
        wire.send(format!("{method} /next HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert_eq!(status(&wire.head().await), expected, "{method}");
        let times = count(&seen, &format!("{method} /next "));
        assert_eq!(times, if method == "GET" { 2 } else { 1 }, "{method}");
    }
}

#[tokio::test]
async fn nothing_is_sent_once_more_after_a_byte_of_an_answer() {
    for last_words in [
        "H",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 103 Early Hints\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfi",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfine\r\n",
        "no HTTP\r\n\r\n",
    ] {
        let (origin, seen) = origin(1, last_words, false).await;
        let client = upstream(origin.address, UpstreamConfig::default());
        let gate = Gate::with(ServerConfig::default(), client.clone());
        let mut wire = gate.connect().await;
        wire.send("GET /first HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(wire.answer().await.text(), "fine");
        wire.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let head = wire.until("\r\n").await;
        let begins = last_words.contains("\r\n\r\n") && last_words.contains(" 200 ");
        let expected = match last_words.contains(" 103 ") {
            true => 103,
            false if begins => 200,
            false => 502,
        };
        assert_eq!(status(&head), expected, "{last_words}");
        assert_eq!(count(&seen, "GET /next "), 1, "{last_words}");
        assert_eq!(client.stats().retried, 0);
    }
}

#[tokio::test]
async fn on_a_new_connection_nothing_is_sent_once_more() {
    for (method, _) in METHODS {
        let (origin, seen) = origin(0, "", true).await;
        let gate = Gate::before(origin.address);
        let mut wire = gate.connect().await;
        wire.send(format!("{method} /first HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert_eq!(status(&wire.head().await), 502, "{method}");
        assert_eq!(count(&seen, method), 1, "{method}");
    }
}

#[tokio::test]
async fn once_more_is_once() {
    let (origin, seen) = origin(1, "", true).await;
    let gate = Gate::before(origin.address);
    let mut wire = gate.connect().await;
    wire.send("GET /first HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(wire.answer().await.text(), "fine");
    wire.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(status(&wire.head().await), 502);
    assert_eq!(count(&seen, "GET /next "), 2);
}

#[tokio::test]
async fn it_goes_on_a_new_connection_although_others_are_kept() {
    let (origin, seen) = origin(3, "", false).await;
    let client = upstream(origin.address, UpstreamConfig::default());
    let gate = Gate::with(ServerConfig::default(), client.clone());
    let mut wires = [gate.connect().await, gate.connect().await, gate.connect().await];
    // Each kept connection is in use while the next is made: an upload keeps it so.
    let post = "POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n";
    for (made, wire) in wires.iter_mut().enumerate() {
        wire.send(post).await;
        until("a connection", || origin.connections() > made).await;
    }
    for wire in &mut wires {
        wire.send("x").await;
        assert_eq!(wire.answer().await.text(), "fine");
    }
    assert_eq!(client.stats().idle, 3);
    let [wire, ..] = &mut wires;
    wire.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(wire.answer().await.text(), "fine");
    let seen = seen.lock().unwrap();
    let next: Vec<_> = seen.iter().filter(|(_, line)| line.starts_with("GET /next")).collect();
    assert_eq!(next.len(), 2);
    assert_eq!(next[1].0, 3, "the fourth connection");
}

#[tokio::test]
async fn what_is_sent_once_more_is_the_same_head_and_its_interim_answers_go_on() {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&heads);
    let origin = Origin::playing(move |mut wire: Wire, number| {
        let log = Arc::clone(&log);
        async move {
            let mut served = 0;
            while wire.has_more().await {
                let head = wire.head().await;
                if head.starts_with("GET /next") {
                    log.lock().unwrap().push(head);
                }
                match (number, served) {
                    (0, 1..) => return,
                    (0, _) => {}
                    _ => wire.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n").await,
                }
                served += 1;
                wire.send(FINE).await;
            }
        }
    })
    .await;
    let gate = Gate::before(origin.address);
    let mut wire = gate.connect().await;
    wire.send("GET /first HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(wire.answer().await.text(), "fine");
    let fields = "X-Line: one\r\nX-Empty:\r\nAccept: a:b, \"c\\\"\"\r\nX-Line: \ttwo:\u{e9}\r\n";
    // More than there is room for in one buffer of the way.
    let long = "l".repeat(24 << 10);
    let next = format!("GET /next?q=1 HTTP/1.1\r\nHost: a\r\n{fields}X-Long: {long}\r\n\r\n");
    wire.send(next).await;
    let early = wire.head().await;
    assert_eq!(status(&early), 103);
    assert!(early.contains("</a>"), "{early}");
    assert_eq!(wire.answer().await.text(), "fine");
    let heads = heads.lock().unwrap();
    let [first, again] = &heads[..] else { panic!("{heads:?}") };
    assert_eq!(first, again);
    for line in
        ["x-line: one\r\n", "x-line: two:\u{c3}\u{a9}\r\n", "x-empty: \r\n", "a:b, \"c\\\"\"\r\n"]
    {
        assert!(again.contains(line), "{line} {again}");
    }
}
