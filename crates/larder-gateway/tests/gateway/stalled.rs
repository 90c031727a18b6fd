//! Readers that hold an exchange up: while others wait for their place, or the gateway for its end, they get
//! little time. Those who go on, however slowly, keep it.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use larder_gateway::{
    ServerConfig,
    downstream::{
        Ended, MinRate,
        counters::Counters,
        http1::{Http1Config, ReaderBody},
        http2::serve_connection,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tower::service_fn;

use crate::{
    http2_frames::{self, PREFACE, SETTINGS, frame, hello, post},
    support::{AnyBody, Gate, Wire, echo, status, whole},
};

const STALLED: Duration = Duration::from_millis(300);
const FOR_EVER: Duration = Duration::from_secs(600);

/// Every usual limit is far away.
fn config(max_connections: usize) -> (ServerConfig, Arc<Counters>) {
    let http1 = Http1Config {
        stalled_timeout: STALLED,
        linger_timeout: STALLED,
        head_timeout: FOR_EVER,
        body_timeout: FOR_EVER,
        write_timeout: FOR_EVER,
        idle_timeout: FOR_EVER,
        // A byte every 100 ms keeps it, one every second does not.
        min_rate: MinRate { bytes_per_second: 4, period: FOR_EVER },
        ..Default::default()
    };
    let counters = Arc::clone(&http1.counters);
    (ServerConfig { http1, max_connections, grace: FOR_EVER, ..Default::default() }, counters)
}

/// Echoes, or answers with more than any buffer holds.
fn gate(max_connections: usize) -> (Gate, Arc<Counters>) {
    let (config, counters) = config(max_connections);
    let large = Bytes::from(vec![b'x'; 64 << 20]);
    let service = service_fn(move |request: Request<ReaderBody>| {
        let large = large.clone();
        async move {
            if request.uri().path() == "/large" {
                return Ok::<Response<AnyBody>, Infallible>(Response::new(whole(large)));
            }
            echo(request).await
        }
    });
    (Gate::serving(config, service), counters)
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const GET_LARGE: &str = "GET /large HTTP/1.1\r\nHost: a\r\n\r\n";

/// What a reader may say and then do nothing, and what it is counted as.
fn stalling() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let posting = |fields: &str, body: &str| {
        format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}").into_bytes()
    };
    let no_windows = [PREFACE, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])].concat();
    let get = |stream| http2_frames::get(stream, "/large");
    vec![
        ("an upload", posting("Content-Length: 10", ""), "stalled"),
        ("an upload that began", posting("Content-Length: 10", "abc"), "stalled"),
        ("chunks", posting("Transfer-Encoding: chunked", "3\r\nab"), "stalled"),
        (
            "an upload told to come",
            posting("Expect: 100-continue\r\nContent-Length: 1", ""),
            "stalled",
        ),
        ("an answer not taken", GET_LARGE.into(), "stalled"),
        ("an upload over HTTP/2", [hello(), post(1)].concat(), "stalled"),
        ("no window", [no_windows.clone(), get(1), get(3)].concat(), "stalled"),
        ("an upload and no window", [no_windows, get(1), post(3)].concat(), "stalled"),
        ("an answer not taken over HTTP/2", [hello(), get(1)].concat(), "stalled"),
        ("half a preface", PREFACE[..20].to_vec(), "head"),
        ("half a head", b"GET / HT".to_vec(), "head"),
    ]
}

fn counted(counters: &Counters, what: &str) -> u64 {
    counters.read().timeouts.iter().find(|(name, _)| *name == what).unwrap().1
}

#[tokio::test]
async fn a_place_where_nothing_goes_on_is_given_to_who_waits_for_one() {
    for (what, said, kind) in stalling() {
        let (gate, counters) = gate(2);
        let mut stalled = Vec::new();
        for _ in 0..2 {
            let mut wire = gate.connect().await;
            wire.send(&said).await;
            stalled.push(wire);
        }
        let began = Instant::now();
        let mut other = gate.connect().await;
        other.send(GET).await;
        assert_eq!(status(&other.head().await), 200, "{what}");
        assert!(began.elapsed() < Duration::from_secs(5), "{what}: {:?}", began.elapsed());
        assert!((1..=2).contains(&counted(&counters, kind)), "{what}: {:?}", counters.read());
    }
}

#[tokio::test]
async fn an_end_does_not_wait_for_those_who_do_not_go_on() {
    for (what, said, kind) in stalling() {
        let (gate, counters) = gate(10);
        let mut wire = gate.connect().await;
        wire.send(&said).await;
        // That it was read no answer tells.
        sleep(Duration::from_millis(50)).await;
        let began = Instant::now();
        assert_eq!(gate.stopped().await.cut, 0, "{what}");
        assert!(began.elapsed() < Duration::from_secs(5), "{what}: {:?}", began.elapsed());
        assert_eq!(counted(&counters, kind), 1, "{what}: {:?}", counters.read());
    }
}

#[tokio::test]
async fn one_that_was_held_up_long_ago_leaves_at_once_and_is_told_why() {
    let (gate, _) = gate(1);
    let mut stalled = gate.connect().await;
    stalled.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab").await;
    // Longer than those who came a moment ago are left alone.
    sleep(STALLED + Duration::from_millis(500)).await;
    let mut other = gate.connect().await;
    let began = Instant::now();
    other.send(GET).await;
    assert_eq!(status(&other.head().await), 200);
    assert!(began.elapsed() < STALLED, "{:?}", began.elapsed());
    assert_eq!(status(&stalled.rest().await), 408);
}

/// Sends a body byte by byte, each within the time, and all of it much later.
async fn upload_slowly(wire: &mut Wire, is_http2: bool) {
    for number in 0..10_u8 {
        sleep(STALLED / 3).await;
        match is_http2 {
            false => wire.send("x").await,
            true => wire.send(frame(0, u8::from(number == 9), 1, b"x")).await,
        }
    }
}

#[tokio::test]
async fn an_upload_that_goes_on_is_cut_neither_for_others_nor_for_an_end() {
    for (is_http2, is_end) in [(false, false), (true, false), (false, true), (true, true)] {
        let (gate, counters) = gate(2);
        let mut slow = gate.connect().await;
        match is_http2 {
            false => slow.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n").await,
            true => slow.send([hello(), post(1)].concat()).await,
        }
        sleep(Duration::from_millis(50)).await;
        let meanwhile = async {
            if is_end {
                assert_eq!(gate.stopped().await.cut, 0);
                return None;
            }
            let mut stalled = gate.connect().await;
            stalled.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n").await;
            for _ in 0..3 {
                let mut other = gate.connect().await;
                other.send(GET).await;
                assert_eq!(status(&other.head().await), 200);
            }
            Some(gate)
        };
        let uploaded = async {
            upload_slowly(&mut slow, is_http2).await;
            let said = slow.rest().await;
            assert!(said.contains("xxxxxxxxxx"), "{is_http2} {is_end}: {said:?}");
        };
        let (_gate, ()) = tokio::join!(meanwhile, uploaded);
        let expected = u64::from(!is_end);
        assert_eq!(counted(&counters, "stalled"), expected, "{is_http2} {is_end}");
    }
}

/// All of it is in the gateway's buffers before it is on its way, so that no stream is open any more.
#[tokio::test(start_paused = true)]
async fn an_answer_over_http_2_that_is_taken_slowly_goes_out_to_its_end() {
    for (pause, is_whole) in [(1500, true), (4000, false)] {
        let (mut wire, mut gateway) = duplex(4 << 10);
        let (stop, config) = (CancellationToken::new(), Http1Config::default());
        let (stopped, counters) = (stop.clone(), Arc::clone(&config.counters));
        let serving = tokio::spawn(async move {
            let service = service_fn(|_: Request<ReaderBody>| {
                std::future::ready(Ok::<_, Infallible>(Response::new(whole(Bytes::from(
                    vec![b'x'; 100_000],
                )))))
            });
            let peer = ([127, 0, 0, 1], 1).into();
            serve_connection(&mut gateway, Bytes::new(), peer, &config, service, stopped).await
        });
        let wide = frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
        let window = http2_frames::window_update(0, 1 << 20);
        wire.write_all(&[PREFACE, &wide, &window, &http2_frames::get(1, "/")].concat())
            .await
            .unwrap();
        sleep(Duration::from_secs(1)).await;
        stop.cancel();
        let (mut read, mut part) = (0, [0; 4 << 10]);
        while let Ok(count @ 1..) = wire.read(&mut part).await {
            read += count;
            sleep(Duration::from_millis(pause)).await;
        }
        let ended = serving.await.unwrap();
        assert_eq!(ended, if is_whole { Ended::Closed } else { Ended::Cut });
        assert_eq!(read > 100_000, is_whole, "{read}");
        assert_eq!(counted(&counters, "stalled"), u64::from(!is_whole));
    }
}
