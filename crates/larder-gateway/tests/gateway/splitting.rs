//! However the bytes of requests are cut into packets, the answers are the same.

use std::time::Duration;

use larder_gateway::downstream::{
    Ended,
    http1::{Http1Config, serve_connection},
};
use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    task::yield_now,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tower::service_fn;

use crate::support::{echo, lossless};

/// Says `pieces` one after the other, each read before the next is sent, and brings all answers.
fn answers(pieces: &[&[u8]]) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let (mut reader, mut gateway) = duplex(1 << 20);
        let serving = tokio::spawn(async move {
            let peer = ([127, 0, 0, 1], 1).into();
            let (config, stop) = (Http1Config::default(), CancellationToken::new());
            serve_connection(&mut gateway, peer, &config, service_fn(echo), stop).await
        });
        for piece in pieces {
            // After a refusal nobody reads on, and at the end nobody is there.
            if reader.write_all(piece).await.is_err() {
                break;
            }
            for _ in 0..4 {
                yield_now().await;
            }
        }
        let mut got = Vec::new();
        let patience = Duration::from_secs(3600);
        timeout(patience, reader.read_to_end(&mut got)).await.expect("no end").unwrap();
        drop(reader);
        let _ended: Ended = serving.await.unwrap();
        without_dates(&lossless(&got))
    })
}

fn without_dates(answers: &str) -> String {
    answers
        .split("\r\n")
        .filter(|line| !line.starts_with("date: "))
        .collect::<Vec<_>>()
        .join("\r\n")
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let body = prop::collection::vec(any::<u8>(), 0..600);
    let chunks = prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..5);
    prop_oneof![
        4 => "[a-z]{0,40}".prop_map(|path| {
            format!("GET /{path} HTTP/1.1\r\nHost: a\r\nX-Y: {path}\r\n\r\n").into_bytes()
        }),
        1 => Just(b"\r\nHEAD / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        2 => body.prop_map(|body| {
            let length = body.len();
            let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
            [head.as_bytes(), &body].concat()
        }),
        2 => chunks.prop_map(|chunks| {
            let mut request =
                b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for chunk in chunks {
                request.extend_from_slice(format!("{:X};a=b\r\n", chunk.len()).as_bytes());
                request.extend_from_slice(&chunk);
                request.extend_from_slice(b"\r\n");
            }
            request.extend_from_slice(b"0\r\nX-T: 1\r\n\r\n");
            request
        }),
        1 => prop::sample::select(vec![
            &b"GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n"[..],
            b"GET / HTTP/1.1\nHost: a\n\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
            b"GET / HTTP/3.0\r\n\r\n",
        ]).prop_map(<[u8]>::to_vec),
    ]
}

const LAST: &[u8] = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

fn split<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
    cuts.sort_unstable();
    cuts.push(bytes.len());
    let mut from = 0;
    let piece = |to| &bytes[std::mem::replace(&mut from, to)..to];
    cuts.into_iter().map(piece).collect()
}

#[test]
fn an_empty_line_that_comes_in_halves_hides_nothing_of_what_follows() {
    for request in [&b"\r\n\0EAD / HTTP/1.1\r\nHost: a\r\n\r\n"[..], b"\r\n\x16\x03\x01"] {
        let at_once = answers(&[request]);
        assert!(at_once.contains("this is not an HTTP request"), "{at_once}");
        assert_eq!(answers(&[&request[..1], &request[1..]]), at_once);
    }
}

#[test]
fn an_empty_line_that_comes_in_halves_begins_no_request() {
    // Nothing is answered, where half a request would be told that it is slow.
    assert_eq!(answers(&[b"\r\n"]), "");
    assert_eq!(answers(&[b"\r", b"\n"]), "");
    assert_eq!(answers(&[b"\r"]), "");
}

#[test]
fn after_an_empty_line_nothing_is_http_2() {
    let preface = b"\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let at_once = answers(&[preface]);
    assert!(at_once.starts_with("HTTP/1.1 505 "), "{at_once}");
    for cut in 1..4 {
        assert_eq!(answers(&[&preface[..cut], &preface[cut..]]), at_once, "{cut}");
    }
}

proptest! {
    #[test]
    fn splitting_the_bytes_of_requests_anywhere_gives_the_same_answers(
        requests in prop::collection::vec(request(), 1..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let bytes = [requests.concat(), LAST.to_vec()].concat();
        let at_once = answers(&[&bytes]);
        prop_assert_eq!(answers(&split(&bytes, &cuts)), at_once);
    }

    #[test]
    fn one_byte_at_a_time_is_as_good_as_all_at_once(requests in prop::collection::vec(request(), 1..3)) {
        let bytes = [requests.concat(), LAST.to_vec()].concat();
        let bytewise: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(answers(&bytewise), answers(&[&bytes]));
    }

    #[test]
    fn no_bytes_break_a_connection_and_each_ends_within_its_limits(
        requests in prop::collection::vec(request(), 1..4),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut bytes = requests.concat();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        // An end is reached: an answer that closes, or a limit of time.
        let at_once = answers(&[&bytes]);
        prop_assert_eq!(answers(&split(&bytes, &cuts)), at_once);
    }
}
