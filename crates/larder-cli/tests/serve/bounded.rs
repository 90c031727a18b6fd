//! Everything that bodies hold is within one bound: stored, evicted but still read, arriving, on its way out.
//! And readers of one body do not depend on each other.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::AsyncReadExt,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::support::{
    Wire, eventually,
    larder::{Larder, request},
    origin::Origin,
};

const SLICE_BYTES: usize = 64 << 10;
/// A prime, so that a slice that is lost, doubled or moved does not fit.
const PERIOD: usize = 251;
const CHUNKED: &str = "transfer-encoding: chunked";

/// What a process may hold beside what its bound is about.
const BESIDE_KIB: u64 = 64 << 10;

/// The bytes of every body.
struct Pattern(Vec<u8>);

impl Pattern {
    fn new() -> Pattern {
        Pattern((0..SLICE_BYTES + PERIOD).map(|n| (n % PERIOD).to_le_bytes()[0]).collect())
    }

    fn at(&self, offset: usize, length: usize) -> &[u8] {
        &self.0[offset % PERIOD..][..length]
    }
}

/// Answers each GET with a body of so many bytes, as fast as it is taken. What the path ends in says whether it
/// comes in chunks and whether it may be stored: `/1/chunked`, `/1/no-store`.
async fn sending(body_bytes: usize) -> Origin {
    let pattern = Arc::new(Pattern::new());
    Origin::playing(move |mut visit| {
        let pattern = Arc::clone(&pattern);
        async move {
            while let Some(head) = visit.request().await {
                let path = head.split(' ').nth(1).unwrap_or_default();
                let is_chunked = path.ends_with("/chunked");
                let caching = if path.ends_with("/no-store") { "no-store" } else { "max-age=60" };
                let length = format!("content-length: {body_bytes}");
                let framing = if is_chunked { CHUNKED } else { &length };
                let head =
                    format!("HTTP/1.1 200 OK\r\ncache-control: {caching}\r\n{framing}\r\n\r\n");
                visit.send(head).await;
                let mut offset = 0;
                while offset < body_bytes {
                    let length = SLICE_BYTES.min(body_bytes - offset);
                    let slice = pattern.at(offset, length);
                    let framed = match is_chunked {
                        true => [format!("{length:x}\r\n").as_bytes(), slice, b"\r\n"].concat(),
                        false => slice.to_vec(),
                    };
                    if !visit.send(framed).await {
                        return;
                    }
                    offset += length;
                }
                if is_chunked {
                    visit.send("0\r\n\r\n").await;
                }
            }
        }
    })
    .await
}

/// What may be resident, in KiB, where bodies have a bound of so many MiB.
fn most_kib(memory_mib: u64) -> u64 {
    memory_mib * 1024 * 3 / 2 + BESIDE_KIB
}

/// Waits until little changes any more, or for ten seconds: readers who do not read are cut off one after the other.
async fn at_rest(larder: &Larder) {
    let mut before = 0;
    for _ in 0..20 {
        let now = larder.memory_kib("VmRSS");
        if now.abs_diff(before) < 256 {
            return;
        }
        before = now;
        sleep(Duration::from_millis(500)).await;
    }
}

/// Reads a body to its end, so many bytes in a second at most, and compares every byte. Over HTTP/1.0, so that
/// nothing but the body comes after the head.
async fn read_all(mut reader: Wire, body_bytes: usize, per_second: Option<usize>) -> Duration {
    let began = Instant::now();
    let pattern = Pattern::new();
    let head = reader.head().await;
    assert!(head.contains(" 200 "), "{head}");
    let (mut offset, mut part) = (0, vec![0; SLICE_BYTES]);
    let mut early = reader.some().await;
    while offset < body_bytes {
        let count = match std::mem::take(&mut early) {
            some if !some.is_empty() => {
                let count = some.len().min(SLICE_BYTES);
                part[..count].copy_from_slice(&some[..count]);
                early = some[count..].to_vec();
                count
            }
            _ => reader.stream.read(&mut part).await.unwrap(),
        };
        assert!(count > 0, "it ends after {offset} of {body_bytes}");
        assert!(part[..count] == *pattern.at(offset, count), "other bytes after {offset}");
        offset += count;
        if let Some(per_second) = per_second {
            let due = Duration::from_secs_f64(offset as f64 / per_second as f64);
            sleep(due.saturating_sub(began.elapsed())).await;
        }
    }
    assert_eq!(offset, body_bytes);
    began.elapsed()
}

async fn ask(larder: &Larder, path: &str) -> Wire {
    let mut reader = larder.connect().await;
    reader.send(request("GET", path, "").replace("HTTP/1.1", "HTTP/1.0")).await;
    reader
}

/// A frame of HTTP/2 (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A GET on a stream, in a header block without indexing.
fn http2_get(stream: u32, path: &str) -> Vec<u8> {
    let host = "larder.test";
    let length = |text: &str| u8::try_from(text.len()).unwrap();
    let block = [
        &[0x82, 0x86, 0x01, length(host)],
        host.as_bytes(),
        &[0x04, length(path)],
        path.as_bytes(),
    ]
    .concat();
    frame(1, 5, stream, &block)
}

async fn assert_no_window_holds_little(memory_mib: u64, streams: u32, body_bytes: usize) {
    let origin = sending(body_bytes).await;
    let larder = Larder::with(origin.address, &["--memory", &format!("{memory_mib}MiB")]).await;
    let mut reader = larder.connect().await;
    let no_window = frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]);
    reader.send([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &no_window[..]].concat()).await;
    for number in 0..streams {
        reader.send(http2_get(2 * number + 1, &format!("/{number}"))).await;
        // One after the other, so that each is stored, and others have to go for it.
        sleep(Duration::from_millis(body_bytes as u64 / 100_000)).await;
    }
    eventually("all requests", async || {
        (origin.requests().len() == streams as usize).then_some(())
    })
    .await;
    at_rest(&larder).await;
    let most = larder.memory_kib("VmHWM");
    println!("{streams} streams of {body_bytes} bytes without a window: {most} KiB");
    assert!(most <= most_kib(memory_mib), "{most} KiB");
    // Who reads has what he asks for all the same.
    read_all(ask(&larder, "/other").await, body_bytes, None).await;
    let most = larder.memory_kib("VmHWM");
    assert!(most <= most_kib(memory_mib), "{most} KiB");
}

#[tokio::test]
async fn streams_without_a_window_hold_no_more_than_the_bound() {
    assert_no_window_holds_little(8, 100, 2_000_000).await;
}

#[tokio::test]
#[ignore = "a gigabyte passes, which takes a minute where nothing is optimized"]
async fn a_hundred_large_streams_without_a_window_hold_no_more_than_the_bound() {
    assert_no_window_holds_little(64, 100, 10_000_000).await;
}

async fn assert_idle_readers_hold_little(
    memory_mib: u64,
    (readers, keys): (usize, usize),
    body_bytes: usize,
    path_end: &str,
) {
    let origin = sending(body_bytes).await;
    let larder = Larder::with(origin.address, &["--memory", &format!("{memory_mib}MiB")]).await;
    let mut idle = Vec::new();
    for number in 0..readers {
        idle.push(ask(&larder, &format!("/{}{path_end}", number % keys)).await);
    }
    eventually("all requests", async || (origin.requests().len() >= keys).then_some(())).await;
    at_rest(&larder).await;
    let most = larder.memory_kib("VmHWM");
    println!("{readers} idle readers of {body_bytes} bytes {path_end}: {most} KiB");
    assert!(most <= most_kib(memory_mib), "{most} KiB");
    read_all(ask(&larder, "/other").await, body_bytes, None).await;
    let most = larder.memory_kib("VmHWM");
    assert!(most <= most_kib(memory_mib), "{most} KiB");
}

#[tokio::test]
async fn readers_that_do_not_read_hold_no_more_than_the_bound() {
    for path_end in ["", "/chunked", "/no-store"] {
        assert_idle_readers_hold_little(8, (100, 100), 1_000_000, path_end).await;
    }
}

#[tokio::test]
#[ignore = "a gigabyte passes, which takes a minute where nothing is optimized"]
async fn hundreds_of_readers_that_do_not_read_hold_no_more_than_the_bound() {
    // What the connections themselves take, theirs and those to the origin, is beside the bound.
    for (readers, path_end) in [(500, ""), (1000, ""), (1000, "/chunked"), (1000, "/no-store")] {
        assert_idle_readers_hold_little(64, (readers, readers), 10_000_000, path_end).await;
    }
}

/// A slow and a fast reader of one body, which comes as fast as it is taken.
async fn assert_independent(flags: &[&str], memory_mib: u64, body_bytes: usize, slow: usize) {
    let origin = sending(body_bytes).await;
    let larder = Larder::with(origin.address, flags).await;
    let alone = read_all(ask(&larder, "/alone/chunked").await, body_bytes, None).await;
    let path = "/shared/chunked";
    let (first, second) = (ask(&larder, path).await, ask(&larder, path).await);
    let mut reading = JoinSet::new();
    reading.spawn(async move { read_all(first, body_bytes, Some(slow)).await });
    let fast = read_all(second, body_bytes, None).await;
    println!("alone {alone:?}, beside a slow one {fast:?}");
    assert!(fast < alone * 3 + Duration::from_secs(1), "{fast:?} where alone it takes {alone:?}");
    let limit = Duration::from_secs_f64(2.0 * body_bytes as f64 / slow as f64 + 5.0);
    timeout(limit, reading.join_next()).await.expect("in time").unwrap().unwrap();
    assert_eq!(origin.requests().iter().filter(|head| head.contains(path)).count(), 1);
    let most = larder.memory_kib("VmHWM");
    println!("{most} KiB");
    assert!(most <= most_kib(memory_mib), "{most} KiB");
}

#[tokio::test]
async fn a_fast_reader_of_a_body_does_not_wait_for_a_slow_one() {
    assert_independent(&["--memory", "64MiB"], 64, 24 << 20, 8 << 20).await;
}

#[tokio::test]
#[ignore = "a slow reader takes a minute and a half"]
async fn readers_of_very_different_speeds_get_all_of_a_large_body() {
    assert_independent(&[], 256, 48 << 20, 512 << 10).await;
    assert_independent(&[], 256, 80 << 20, 4 << 20).await;
}
