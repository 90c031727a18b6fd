//! The least rate: who goes below it is cut off, on whichever way, and nobody else, however long it takes.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::pending,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use larder_gateway::{
    ServerConfig,
    downstream::{
        Ended, MinRate,
        counters::Counters,
        http1::{self, Http1Config, ReaderBody},
        http2,
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, WriteHalf, duplex, split},
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tower::service_fn;

use crate::{
    http2_frames::{DATA, PREFACE, RST_STREAM, SETTINGS, frame, get, hello, post, window_update},
    support::{AnyBody, Gate, status, whole},
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n";
/// An upload that nobody takes for an hour.
const POST_LATER: &str = "POST /later HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n";
const GET_LARGE: &str = "GET /large HTTP/1.1\r\nHost: a\r\n\r\n";
const GET_EVENTS: &str = "GET /events HTTP/1.1\r\nHost: a\r\n\r\n";

/// Answers with how much was uploaded, with more than any reader here takes, or with events an hour apart.
async fn service(request: Request<ReaderBody>) -> Result<Response<AnyBody>, Infallible> {
    match request.uri().path() {
        "/large" => {
            static LARGE: LazyLock<Bytes> = LazyLock::new(|| vec![b'x'; 64 << 20].into());
            return Ok(Response::new(whole(LARGE.clone())));
        }
        "/events" => {
            let events = stream::iter(0..3).then(async |number| {
                sleep(HOUR * number.min(1)).await;
                Ok(Frame::data(Bytes::from(format!("event {number}\n"))))
            });
            return Ok(Response::new(AnyBody::new(StreamBody::new(events))));
        }
        "/later" => sleep(HOUR).await,
        _ => {}
    }
    let (mut body, mut bytes) = (request.into_body(), 0);
    while let Some(Ok(piece)) = body.frame().await {
        bytes += piece.into_data().unwrap().len();
    }
    Ok(Response::new(whole(Bytes::from(format!("{bytes} B\n")))))
}

/// A connection as its reader holds it.
struct Reader {
    wire: DuplexStream,
    serving: JoinHandle<Ended>,
    counters: Arc<Counters>,
    began: Instant,
}

impl Reader {
    fn connected() -> Reader {
        let (wire, mut gateway) = duplex(4 << 10);
        // The other limits are far away.
        let limit = 10 * HOUR;
        let config = Http1Config {
            head_timeout: limit,
            body_timeout: limit,
            write_timeout: limit,
            ..Http1Config::default()
        };
        let counters = Arc::clone(&config.counters);
        let serving = tokio::spawn(async move {
            let (peer, stop) = (([127, 0, 0, 1], 1).into(), CancellationToken::new());
            let service = service_fn(service);
            let io = &mut gateway;
            match http1::serve_connection(io, peer, &config, service, stop.clone()).await {
                Ended::Http2(read) => {
                    http2::serve_connection(io, read, peer, &config, service, stop).await
                }
                ended => ended,
            }
        });
        Reader { wire, serving, counters, began: Instant::now() }
    }

    /// Sends these, and then `piece` each second, until the connection ends.
    async fn drip(mut self, said: &[u8], piece: &[u8]) -> (String, Duration, Arc<Counters>) {
        let (mut read, mut write) = split(&mut self.wire);
        let dripping = async {
            write.write_all(said).await.ok();
            loop {
                sleep(SECOND).await;
                if write.write_all(piece).await.is_err() {
                    return pending().await;
                }
            }
        };
        let mut got = Vec::new();
        tokio::select! {
            _ = read.read_to_end(&mut got) => {}
            () = dripping => {}
        }
        (String::from_utf8_lossy(&got).into_owned(), self.began.elapsed(), self.counters)
    }
}

fn slow(counters: &Counters) -> [u64; 3] {
    let counted = counters.read().too_slow;
    let [("head", head), ("upload", upload), ("answer", answer)] = counted[..] else {
        panic!("{counted:?}")
    };
    [head, upload, answer]
}

#[tokio::test(start_paused = true)]
async fn a_head_or_an_upload_of_a_byte_a_second_is_refused_after_the_period() {
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (what, said, piece, expected) in [
        ("a head", "GET / HTTP/1.1\r\nHost: ", "a", [1, 0, 0]),
        ("an upload", POST, "a", [0, 1, 0]),
        ("chunks", chunked, "1\r\na\r\n", [0, 1, 0]),
        ("the size of a chunk", chunked, "0", [0, 1, 0]),
    ] {
        let (said, after, counters) =
            Reader::connected().drip(said.as_bytes(), piece.as_bytes()).await;
        assert_eq!(status(&said), 408, "{what}");
        assert!((30..=32).contains(&after.as_secs()), "{what}: {after:?}");
        assert_eq!(slow(&counters), expected, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_taken_byte_by_byte_is_cut() {
    let mut reader = Reader::connected();
    reader.wire.write_all(GET_LARGE.as_bytes()).await.unwrap();
    while reader.wire.read_u8().await.is_ok() && !reader.serving.is_finished() {
        sleep(SECOND).await;
    }
    assert_eq!(reader.serving.await.unwrap(), Ended::Cut);
    let after = reader.began.elapsed().as_secs();
    // As much as may have been taken unseen counts.
    assert!((158..=165).contains(&after), "{after} s");
    assert_eq!(slow(&reader.counters), [0, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn two_kib_a_second_go_on_for_hours() {
    let mut uploading = Reader::connected();
    uploading.wire.write_all(POST.as_bytes()).await.unwrap();
    let mut taking = Reader::connected();
    taking.wire.write_all(GET_LARGE.as_bytes()).await.unwrap();
    let mut piece = [b'x'; 2 << 10];
    while uploading.began.elapsed() < 2 * HOUR {
        sleep(SECOND).await;
        uploading.wire.write_all(&piece).await.unwrap();
        taking.wire.read_exact(&mut piece).await.unwrap();
    }
    assert_eq!(slow(&uploading.counters), [0; 3]);
    assert_eq!(slow(&taking.counters), [0; 3]);
}

/// What has come on the streams of an HTTP/2 connection.
#[derive(Debug, Default)]
struct Seen {
    bytes: usize,
    /// Streams that were reset.
    reset: Vec<u32>,
    /// What came, by stream.
    text: BTreeMap<u32, String>,
}

/// A reader of HTTP/2, which reads all the time and grants what it is told to.
struct Streams {
    write: WriteHalf<DuplexStream>,
    seen: Arc<Mutex<Seen>>,
    serving: JoinHandle<Ended>,
    counters: Arc<Counters>,
    began: Instant,
}

impl Streams {
    async fn begun(said: &[u8]) -> Streams {
        let Reader { wire, serving, counters, began } = Reader::connected();
        let (read, mut write) = split(wire);
        write.write_all(said).await.unwrap();
        let seen = Arc::<Mutex<Seen>>::default();
        tokio::spawn(watch(read, Arc::clone(&seen)));
        Streams { write, seen, serving, counters, began }
    }

    /// Says something each second, as long as it lasts and no longer than this.
    async fn each_second(&mut self, limit: Duration, said: impl Fn(u32) -> Vec<u8>) {
        for second in 0.. {
            if self.serving.is_finished() || self.began.elapsed() >= limit {
                return;
            }
            self.write.write_all(&said(second)).await.ok();
            sleep(SECOND).await;
        }
    }
}

async fn watch(mut read: impl AsyncRead + Unpin, seen: Arc<Mutex<Seen>>) {
    let mut head = [0; 9];
    while read.read_exact(&mut head).await.is_ok() {
        let [a, b, c, kind, _, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        read.read_exact(&mut payload).await.unwrap();
        let (stream, mut seen) = (u32::from_be_bytes(stream), seen.lock().unwrap());
        match kind {
            DATA => {
                seen.bytes += payload.len();
                if payload.len() < 100 {
                    let text = String::from_utf8(payload).unwrap();
                    seen.text.entry(stream).or_default().push_str(&text);
                }
            }
            RST_STREAM => seen.reset.push(stream),
            _ => {}
        }
    }
}

/// No stream has a window until it is given one.
fn no_windows() -> Vec<u8> {
    let wide = window_update(0, 1 << 30);
    [PREFACE, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]), &wide].concat()
}

fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|number| 2 * number + 1)
}

#[tokio::test(start_paused = true)]
async fn a_stream_with_a_window_of_a_byte_is_reset_and_those_beside_it_go_on() {
    for every in [1, 15] {
        let events = get(3, "/events");
        let said = [no_windows(), get(1, "/large"), events, window_update(3, 1000)].concat();
        let mut one = Streams::begun(&said).await;
        one.each_second(3 * HOUR, |second| {
            if second % every == 0 { window_update(1, 1) } else { Vec::new() }
        })
        .await;
        let seen = std::mem::take(&mut *one.seen.lock().unwrap());
        assert_eq!(seen.reset, [1], "a byte every {every} s");
        assert_eq!(seen.text[&3], "event 0\nevent 1\nevent 2\n", "a byte every {every} s");
        assert_eq!(slow(&one.counters), [0, 0, 1]);
        assert!(seen.bytes < 200, "{}", seen.bytes);
    }
}

#[tokio::test(start_paused = true)]
async fn streams_that_share_less_than_the_rate_are_all_cut() {
    let gets: Vec<u8> = streams(100).flat_map(|stream| get(stream, "/large")).collect();
    let mut taking = Streams::begun(&[no_windows(), gets].concat()).await;
    // Five hundred bytes a second.
    taking
        .each_second(Duration::from_secs(150), |second| {
            streams(100).flat_map(|stream| window_update(stream, 5 + second % 2)).collect()
        })
        .await;
    assert_eq!(slow(&taking.counters), [0, 0, 100], "{:?}", taking.counters.read());
    let posts: Vec<u8> = streams(100).flat_map(post).collect();
    let mut sending = Streams::begun(&[hello(), posts].concat()).await;
    sending
        .each_second(Duration::from_secs(90), |_| {
            streams(100).flat_map(|stream| frame(DATA, 0, stream, b"12345")).collect()
        })
        .await;
    assert_eq!(slow(&sending.counters), [0, 100, 0], "{:?}", sending.counters.read());
}

#[tokio::test(start_paused = true)]
async fn streams_that_share_two_kib_a_second_go_on_whichever_way_they_are_served() {
    let each = |_| streams(100).flat_map(|stream| window_update(stream, 21)).collect();
    let in_turn = |second: u32| window_update(2 * (second / 8 % 100) + 1, 2 << 10);
    for (what, grant) in
        [("each a little", &each as &dyn Fn(u32) -> Vec<u8>), ("in turn", &in_turn)]
    {
        let gets: Vec<u8> = streams(100).flat_map(|stream| get(stream, "/large")).collect();
        let mut taking = Streams::begun(&[no_windows(), gets].concat()).await;
        taking.each_second(HOUR / 2, grant).await;
        assert!(!taking.serving.is_finished(), "{what}");
        assert_eq!(slow(&taking.counters), [0; 3], "{what}");
        let taken = taking.seen.lock().unwrap().bytes;
        assert!(taken > 3 << 20, "{what}: {taken}");
    }
    let posts: Vec<u8> = streams(100).flat_map(post).collect();
    let mut sending = Streams::begun(&[hello(), posts].concat()).await;
    sending
        .each_second(HOUR / 2, |second| {
            frame(DATA, 0, 2 * (second / 8 % 100) + 1, &[b'x'; 2 << 10])
        })
        .await;
    assert!(!sending.serving.is_finished());
    assert_eq!(slow(&sending.counters), [0; 3]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_origin_is_not_slow() {
    let mut reader = Reader::connected();
    reader.wire.write_all(GET_EVENTS.as_bytes()).await.unwrap();
    let mut got = String::new();
    while !got.ends_with("0\r\n\r\n") {
        got.push(char::from(reader.wire.read_u8().await.unwrap()));
    }
    assert!(got.contains("event 2") && reader.began.elapsed() >= 2 * HOUR, "{got}");
    // What an upload's taker leaves alone for an hour comes all the same.
    let mut reader = Reader::connected();
    let (mut read, mut write) = split(&mut reader.wire);
    let upload = async {
        write.write_all(POST_LATER.as_bytes()).await.unwrap();
        write.write_all(&[b'x'; 200_000]).await.unwrap();
        pending().await
    };
    let mut got = String::new();
    let answered = async {
        while !got.ends_with(" B\n") {
            got.push(char::from(read.read_u8().await.unwrap()));
        }
    };
    tokio::select! {
        () = answered => {}
        () = upload => {}
    }
    assert!(got.ends_with("200000 B\n"), "{got}");
    assert_eq!(slow(&reader.counters), [0; 3]);
}

/// A HEADERS frame that says that its block is longer than what has come of it.
fn half_a_block(stream: u32) -> Vec<u8> {
    let mut whole = get(stream, "/a/path/that/is/longer/than/it/needs/to/be");
    whole.truncate(20);
    whole
}

#[tokio::test(start_paused = true)]
async fn a_header_block_that_drips_ends_its_connection() {
    let said = [hello(), get(1, "/events"), half_a_block(3)].concat();
    let mut one = Streams::begun(&said).await;
    // Less than a frame.
    one.each_second(HOUR, |second| if second < 20 { vec![0] } else { Vec::new() }).await;
    assert!(one.began.elapsed() < 2 * 60 * SECOND, "{:?}", one.began.elapsed());
    assert_eq!(slow(&one.counters), [1, 0, 0]);
}

/// What a reader says at first, and then again and again.
fn dripping() -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let window = [window_update(1, 1), window_update(3, 1)].concat();
    let data = frame(DATA, 0, 1, b"a");
    vec![
        ("a head", b"GET / HTTP/1.1\r\nA: ".to_vec(), b"a".to_vec()),
        ("an upload", POST.into(), b"a".to_vec()),
        ("an upload over HTTP/2", [hello(), post(1)].concat(), data),
        ("windows", [no_windows(), get(1, "/large"), get(3, "/large")].concat(), window),
    ]
}

/// On real sockets, on a clock that goes.
#[tokio::test]
async fn a_full_door_is_not_kept_shut_by_a_byte_now_and_then() {
    for (what, said, piece) in dripping() {
        let http1 = Http1Config {
            stalled_timeout: Duration::from_millis(600),
            linger_timeout: Duration::from_millis(600),
            ..Http1Config::default()
        };
        let config = ServerConfig { http1, max_connections: 2, ..ServerConfig::default() };
        let gate = Gate::serving(config, service_fn(service));
        let mut tasks = Vec::new();
        for _ in 0..2 {
            let mut wire = gate.connect().await;
            wire.send(&said).await;
            let piece = piece.clone();
            tasks.push(tokio::spawn(async move {
                while wire.try_send(&piece).await.is_ok() {
                    sleep(Duration::from_millis(100)).await;
                }
            }));
        }
        sleep(Duration::from_millis(100)).await;
        let began = Instant::now();
        let mut other = gate.connect().await;
        other.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(status(&other.head().await), 200, "{what}");
        assert!(began.elapsed() < Duration::from_secs(5), "{what}: {:?}", began.elapsed());
        tasks.iter().for_each(JoinHandle::abort);
    }
}

/// On real sockets: the system holds what it may, and says late what was taken.
#[tokio::test]
async fn over_a_socket_a_reader_at_twice_the_rate_stays_and_one_that_stops_does_not() {
    let min_rate = MinRate { bytes_per_second: 512 << 10, period: Duration::from_millis(500) };
    let http1 = Http1Config { min_rate, ..Http1Config::default() };
    let counters = Arc::clone(&http1.counters);
    let gate =
        Gate::serving(ServerConfig { http1, ..ServerConfig::default() }, service_fn(service));
    let mut wire = gate.connect().await;
    wire.send(GET_LARGE).await;
    for _ in 0..30 {
        sleep(Duration::from_millis(100)).await;
        wire.exactly(128 << 10).await;
    }
    assert_eq!(slow(&counters), [0; 3]);
    let began = Instant::now();
    crate::support::until("the reader is cut off", || slow(&counters) == [0, 0, 1]).await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_comes_in_bursts_goes_on_for_hours() {
    let mut reader = Reader::connected();
    reader.wire.write_all(POST.as_bytes()).await.unwrap();
    while reader.began.elapsed() < 2 * HOUR {
        reader.wire.write_all(&[b'x'; 64 << 10]).await.unwrap();
        sleep(32 * SECOND).await;
    }
    assert_eq!(slow(&reader.counters), [0; 3]);
}
