//! Limits of time, to the millisecond: connections in memory, under a clock that stands still until
//! there is nothing else to do.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use larder_gateway::{
    ServerConfig,
    downstream::{
        Ended, MinRate,
        http1::{self, Http1Config, ReaderBody},
        http2,
    },
    upstream::UpstreamConfig,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tower::service_fn;

use crate::support::{AnyBody, Gate, Origin, echo, lossless, status, upstream, whole};

const HEAD: Duration = Duration::from_secs(3);
const IDLE: Duration = Duration::from_secs(7);
const BODY: Duration = Duration::from_secs(11);
const WRITE: Duration = Duration::from_secs(13);
const LINGER: Duration = Duration::from_secs(2);
const HALF_CLOSED: Duration = Duration::from_secs(5);

fn config() -> Http1Config {
    Http1Config {
        head_timeout: HEAD,
        idle_timeout: IDLE,
        body_timeout: BODY,
        write_timeout: WRITE,
        linger_timeout: LINGER,
        half_closed_timeout: HALF_CLOSED,
        // Each of the others by itself.
        min_rate: MinRate { bytes_per_second: 0, ..MinRate::default() },
        ..Default::default()
    }
}

/// Echoes, or answers with a large body to whoever asks for `/large`, after so many milliseconds to
/// `/later/…`, and after a first byte in ten times as many to `/pausing/…`.
async fn service(
    request: Request<ReaderBody>,
) -> Result<Response<AnyBody>, std::convert::Infallible> {
    if request.uri().path() == "/large" {
        return Ok(Response::new(whole(Bytes::from(vec![b'x'; 1 << 20]))));
    }
    let path = request.uri().path();
    if let Some(millis) = path.strip_prefix("/later/") {
        sleep(Duration::from_millis(millis.parse().unwrap())).await;
    }
    if let Some(millis) = path.strip_prefix("/pausing/") {
        let pause = Duration::from_millis(millis.parse::<u64>().unwrap() * 10);
        let pieces = stream::iter(0..2).then(move |piece| async move {
            sleep(pause * piece).await;
            Ok(Frame::data(Bytes::from("x")))
        });
        return Ok(Response::new(AnyBody::new(StreamBody::new(pieces))));
    }
    echo(request).await
}

/// A connection as its reader holds it, with a buffer in between of so many bytes.
struct Reader {
    wire: DuplexStream,
    serving: JoinHandle<Ended>,
    stop: CancellationToken,
    began: Instant,
}

impl Reader {
    fn connected(buffer: usize) -> Reader {
        Reader::of(buffer, config())
    }

    fn of(buffer: usize, config: Http1Config) -> Reader {
        let (wire, mut gateway) = duplex(buffer);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let serving = tokio::spawn(async move {
            let peer = ([127, 0, 0, 1], 1).into();
            let service = service_fn(service);
            let served =
                http1::serve_connection(&mut gateway, peer, &config, service, stopped.clone())
                    .await;
            match served {
                Ended::Http2(read) => {
                    http2::serve_connection(&mut gateway, read, peer, &config, service, stopped)
                        .await
                }
                ended => ended,
            }
        });
        Reader { wire, serving, stop, began: Instant::now() }
    }

    async fn send(&mut self, bytes: &str) {
        self.wire.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// One answer of the echo, which ends with an empty line.
    async fn answer(&mut self) -> String {
        let mut got = Vec::new();
        while !got.ends_with(b"\n\n") {
            got.push(self.wire.read_u8().await.unwrap());
        }
        lossless(&got)
    }

    /// All until the gateway closes its side, and when that was.
    async fn rest(&mut self) -> (String, Duration) {
        let mut got = Vec::new();
        self.wire.read_to_end(&mut got).await.unwrap();
        (lossless(&got), self.began.elapsed())
    }
}

fn about(found: Duration, expected: Duration) {
    let late = found.checked_sub(expected).unwrap_or_else(|| panic!("too early: {found:?}"));
    assert!(late < Duration::from_millis(50), "too late: {found:?}");
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_request_is_closed_without_a_word() {
    let mut reader = Reader::connected(1024);
    let (got, when) = reader.rest().await;
    assert_eq!(got, "");
    about(when, IDLE);
}

#[tokio::test(start_paused = true)]
async fn the_idle_time_begins_anew_with_each_answer() {
    let mut reader = Reader::connected(1024);
    for _ in 0..5 {
        sleep(IDLE - Duration::from_secs(1)).await;
        reader.send(GET).await;
        assert_eq!(status(&reader.answer().await), 200);
        reader.began = Instant::now();
    }
    let (got, when) = reader.rest().await;
    assert_eq!(got, "");
    about(when, IDLE);
}

#[tokio::test(start_paused = true)]
async fn empty_lines_are_no_sign_of_a_request() {
    let mut reader = Reader::connected(1024);
    while reader.wire.write_all(b"\r\n").await.is_ok() {
        sleep(Duration::from_millis(10)).await;
    }
    about(reader.began.elapsed(), IDLE);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_drips_is_given_up_however_often_something_comes() {
    let mut reader = Reader::connected(1024);
    sleep(Duration::from_secs(5)).await;
    reader.began = Instant::now();
    let mut head = GET.bytes().cycle();
    let (read, mut write) = tokio::io::split(reader.wire);
    let dripping = tokio::spawn(async move {
        loop {
            let byte = head.next().unwrap();
            if byte == b'\n' || write.write_all(&[byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(500)).await;
        }
        std::future::pending::<()>().await;
    });
    let (mut got, mut read) = (Vec::new(), read);
    read.read_to_end(&mut got).await.unwrap();
    assert_eq!(status(&lossless(&got)), 408);
    about(reader.began.elapsed(), HEAD);
    dripping.abort();
}

#[tokio::test(start_paused = true)]
async fn a_body_that_pauses_is_given_up_and_one_that_drips_is_not() {
    let mut reader = Reader::connected(1024);
    reader.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n").await;
    for byte in ["a", "b", "c", "\n", "\n"] {
        sleep(BODY - Duration::from_secs(1)).await;
        reader.send(byte).await;
    }
    let got = reader.answer().await;
    assert_eq!(status(&got), 200);
    // The echo's own empty line came first.
    reader.answer().await;
    reader.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab").await;
    reader.began = Instant::now();
    let (got, when) = reader.rest().await;
    assert_eq!(status(&got), 408);
    about(when, BODY);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_is_given_up_and_one_that_takes_a_little_is_not() {
    let mut reader = Reader::connected(1024);
    reader.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut piece = [0; 1024];
    for _ in 0..20 {
        sleep(WRITE - Duration::from_secs(1)).await;
        reader.wire.read_exact(&mut piece).await.unwrap();
    }
    let last = Instant::now();
    assert_eq!(reader.serving.await.unwrap(), Ended::Cut);
    about(last.elapsed(), WRITE);
}

#[tokio::test(start_paused = true)]
async fn after_the_last_answer_a_reader_that_does_not_close_is_left() {
    let mut reader = Reader::connected(4096);
    reader.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    let (got, when) = reader.rest().await;
    assert_eq!(status(&got), 200);
    about(when, Duration::ZERO);
    assert_eq!(reader.serving.await.unwrap(), Ended::Closed);
    about(reader.began.elapsed(), LINGER);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_has_closed_its_side_is_answered_up_to_its_limit() {
    for (millis, answered) in [(4900, true), (5100, false)] {
        let mut reader = Reader::connected(4096);
        // What went before does not count.
        sleep(Duration::from_secs(3)).await;
        reader.send(&format!("GET /later/{millis} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        reader.wire.shutdown().await.unwrap();
        reader.began = Instant::now();
        let (got, when) = reader.rest().await;
        if answered {
            assert_eq!(status(&got), 200);
            assert!(got.contains("\r\nconnection: close\r\n"), "{got}");
            about(when, Duration::from_millis(millis));
            assert_eq!(reader.serving.await.unwrap(), Ended::Closed);
        } else {
            assert_eq!(got, "");
            about(when, HALF_CLOSED);
            assert_eq!(reader.serving.await.unwrap(), Ended::Cut);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_request_before_the_readers_end_has_that_time_of_its_own() {
    let mut reader = Reader::connected(4096);
    let request = "GET /later/4000 HTTP/1.1\r\nHost: a\r\n\r\n";
    reader.send(&request.repeat(3)).await;
    reader.wire.shutdown().await.unwrap();
    let (got, when) = reader.rest().await;
    assert_eq!(got.matches("HTTP/1.1 200 OK\r\n").count(), 3);
    assert_eq!(got.matches("connection: close\r\n").count(), 1);
    about(when, Duration::from_secs(12));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_pauses_is_gone_on_with_as_long_as_for_a_reader_that_takes_nothing() {
    for (millis, is_whole) in [(1200, true), (1400, false)] {
        let mut reader = Reader::connected(4096);
        reader.send(&format!("GET /pausing/{millis} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        reader.wire.shutdown().await.unwrap();
        let (got, when) = reader.rest().await;
        assert_eq!(got.ends_with("0\r\n\r\n"), is_whole, "{got}");
        about(when, WRITE.min(Duration::from_millis(millis * 10)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_between_requests_ends_at_once_when_the_gateway_stops() {
    let mut reader = Reader::connected(4096);
    reader.send(GET).await;
    reader.answer().await;
    reader.stop.cancel();
    let (got, when) = reader.rest().await;
    assert_eq!(got, "");
    about(when, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_has_begun_when_the_gateway_stops_is_answered() {
    let mut reader = Reader::connected(4096);
    reader.send(&GET[..10]).await;
    sleep(Duration::from_secs(1)).await;
    reader.stop.cancel();
    sleep(Duration::from_secs(1)).await;
    reader.send(&GET[10..]).await;
    let (got, _) = reader.rest().await;
    assert_eq!(status(&got), 200);
    assert!(got.contains("\r\nconnection: close\r\n"), "{got}");
}

#[tokio::test(start_paused = true)]
async fn over_http_2_a_body_that_pauses_is_given_up_and_then_the_idle_connection() {
    let reader = Reader::connected(64 << 10);
    let (client, connection) = h2::client::handshake(reader.wire).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let request = Request::post("http://a/").body(()).unwrap();
    let (answer, mut stream) = client.send_request(request, false).unwrap();
    for _ in 0..3 {
        sleep(BODY - Duration::from_secs(1)).await;
        stream.send_data(Bytes::from("x"), false).unwrap();
    }
    let last = Instant::now();
    assert_eq!(answer.await.unwrap().status(), 408);
    about(last.elapsed(), BODY);
    drop(stream);
    let last = Instant::now();
    assert_eq!(reader.serving.await.unwrap(), Ended::Closed);
    about(last.elapsed(), IDLE);
    assert!(connection.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn over_http_2_a_reader_that_takes_nothing_is_given_up() {
    let reader = Reader::connected(64 << 10);
    let (client, connection) = h2::client::handshake(reader.wire).await.unwrap();
    let _connection = tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let request = Request::get("http://a/large").body(()).unwrap();
    let (answer, _) = client.send_request(request, true).unwrap();
    let mut body = answer.await.unwrap().into_body();
    let began = Instant::now();
    // What the window allows comes at once; it is never opened again.
    let end = loop {
        match body.data().await {
            Some(Ok(_)) => {}
            end => break end,
        }
    };
    assert_eq!(end.unwrap().unwrap_err().reason(), Some(h2::Reason::INTERNAL_ERROR));
    about(began.elapsed(), WRITE);
}

/// Zero is no time at all, and the most that can be said is for ever: neither is a panic.
#[tokio::test]
async fn every_limit_of_time_may_be_nothing_or_for_ever() {
    let origin = Origin::saying("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx").await;
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx";
    let towards_readers = |limit| Http1Config {
        head_timeout: limit,
        idle_timeout: limit,
        body_timeout: limit,
        write_timeout: limit,
        linger_timeout: limit,
        half_closed_timeout: limit,
        stalled_timeout: limit,
        min_rate: MinRate { period: limit, ..MinRate::default() },
        ..Http1Config::default()
    };
    let towards_origins = |limit| UpstreamConfig {
        connect_timeout: limit,
        first_byte_timeout: limit,
        continue_timeout: limit,
        idle_body_timeout: limit,
        whole_timeout: Some(limit),
        wait_timeout: limit,
        idle_timeout: limit,
        ..UpstreamConfig::default()
    };
    let http1 = towards_readers(Duration::MAX);
    let config = || ServerConfig { http1: http1.clone(), ..ServerConfig::default() };
    let gate = Gate::with(config(), upstream(origin.address, towards_origins(Duration::MAX)));
    assert_eq!(status(&gate.say(post).await), 200);
    let mut wire = gate.connect().await;
    wire.send(GET.repeat(2)).await;
    wire.stream.shutdown().await.unwrap();
    assert_eq!(wire.rest().await.matches("HTTP/1.1 200 ").count(), 2);
    let gate = Gate::with(config(), upstream(origin.address, towards_origins(Duration::ZERO)));
    // What is there at once was not waited for.
    let said = gate.say(post).await;
    assert!([200, 504].contains(&status(&said)), "{said}");
    let reader = Reader::of(1024, towards_readers(Duration::ZERO));
    assert_eq!(reader.serving.await.unwrap(), Ended::Closed);
}
