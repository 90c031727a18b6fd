//! Answers that stay open: what they leave of the connections to the origin for those who wait.

use larder_gateway::{ServerConfig, upstream::UpstreamConfig};

use crate::support::{Gate, Origin, Wire, field, status, until, upstream};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const STREAM: &str = "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n";
const EVENTS: &str = "Content-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";

/// Answers `/stream` with `begun`, which never ends, and everything else at once.
async fn origin(begun: String) -> Origin {
    Origin::playing(move |mut wire: Wire, _| {
        let begun = begun.clone();
        async move {
            while wire.has_more().await {
                if wire.head().await.starts_with("GET /stream ") {
                    wire.send(&begun).await;
                    wire.rest().await;
                    return;
                }
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx").await;
            }
        }
    })
    .await
}

/// Leaves at once, so that it cannot be taken for one who only asks no more.
fn reset(wire: Wire) {
    wire.stream.set_zero_linger().unwrap();
}

#[tokio::test]
async fn a_body_that_goes_on_takes_no_connection_that_others_wait_for() {
    let large = "y".repeat(100_000);
    for fields_and_body in [
        EVENTS.to_owned(),
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n".to_owned(),
        // Until the connection ends.
        "\r\nabc".to_owned(),
        // It pauses.
        "Content-Length: 10\r\n\r\nabc".to_owned(),
        // Its reader may be slow.
        format!("Content-Length: 1000000000\r\n\r\nabc{large}"),
    ] {
        let origin = origin(format!("HTTP/1.1 200 OK\r\n{fields_and_body}")).await;
        let config = UpstreamConfig { max_connections: 1, max_streams: 2, ..Default::default() };
        let upstream = upstream(origin.address, config);
        let gate = Gate::with(ServerConfig::default(), upstream.clone());
        let mut streams = Vec::new();
        for open in 1..=2 {
            let mut stream = gate.connect().await;
            stream.send(STREAM).await;
            assert_eq!(status(&stream.head().await), 200);
            stream.until("abc").await;
            until("a stream", || upstream.stats().streams == open).await;
            streams.push(stream);
        }
        let mut reader = gate.connect().await;
        reader.send(GET).await;
        assert_eq!(reader.answer().await.text(), "x", "{fields_and_body:.40}");
        streams.into_iter().for_each(reset);
        until("no stream", || upstream.stats().streams == 0).await;
    }
}

#[tokio::test]
async fn streams_without_end_that_are_too_many_are_turned_away_and_leave_the_others_alone() {
    for kind in ["text/event-stream", "multipart/x-mixed-replace", "application/stream+json"] {
        let events = EVENTS.replace("text/event-stream", kind);
        let origin = origin(format!("HTTP/1.1 200 OK\r\n{events}")).await;
        let config = UpstreamConfig { max_connections: 2, max_streams: 1, ..Default::default() };
        let upstream = upstream(origin.address, config);
        let gate = Gate::with(ServerConfig::default(), upstream.clone());
        let mut open = gate.connect().await;
        open.send(STREAM).await;
        open.until("abc").await;
        for _ in 0..5 {
            let mut one_more = gate.connect().await;
            one_more.send(STREAM).await;
            let (head, body) = one_more.answer().await.into_text();
            assert_eq!((status(&head), field(&head, "retry-after")), (503, Some("5")), "{head}");
            assert!(body.contains("too many streams are open"), "{body}");
            let mut reader = gate.connect().await;
            reader.send(GET).await;
            assert_eq!(reader.answer().await.text(), "x");
        }
        until("one connection in use", || upstream.stats().in_use == 1).await;
        reset(open);
        until("no connection in use", || upstream.stats().in_use == 0).await;
        let mut again = gate.connect().await;
        again.send(STREAM).await;
        again.until("abc").await;
    }
}

#[tokio::test]
async fn a_connection_comes_back_from_a_long_body_as_from_a_short_one() {
    let length = 1 << 20;
    let body = "z".repeat(length);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
    let origin = Origin::saying(answer).await;
    let config = UpstreamConfig { max_connections: 1, max_streams: 1, ..Default::default() };
    let upstream = upstream(origin.address, config);
    let gate = Gate::with(ServerConfig::default(), upstream.clone());
    let mut reader = gate.connect().await;
    for _ in 0..3 {
        reader.send(GET).await;
        assert_eq!(reader.answer().await.text().len(), length);
    }
    let stats = upstream.stats();
    assert_eq!((stats.connected, stats.reused, stats.in_use), (1, 2, 0));
}
