//! Everything at once: slow readers, seekers, such as leave, and uploads, before a gateway with little memory. Every
//! byte of every body is compared, and what is resident stays within the bound.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use larder_test_support::{answer::field, origin};
use tokio::{task::JoinSet, time::sleep};

use crate::support::{Wire, larder::Larder};

const MEMORY_MIB: u64 = 64;
/// As `bounded.rs` has it.
const MOST_KIB: u64 = MEMORY_MIB * 1024 * 3 / 2 + (64 << 10);
const SLICE_BYTES: usize = 64 << 10;
const PERIOD: usize = 251;
const FILES: u64 = 24;

/// Numbers that look like chance, the same for each seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// From 100 kB to 24 MB; all of them are more than twice the bound.
fn length_of(file: u64) -> usize {
    100_000 + (file * file) as usize * 42_000
}

/// The bytes of a file from a place on.
fn bytes_of(file: u64, from: usize, count: usize) -> Vec<u8> {
    let shift = file as usize * 17 + from;
    (shift..shift + count).map(|place| (place % PERIOD) as u8).collect()
}

/// Sends files, whole or from a byte on, in chunks or with a length; takes uploads, and says how much came.
async fn files() -> origin::Origin {
    origin::Origin::playing(|mut wire, _| async move {
        while wire.has_more().await {
            let head = wire.head().await;
            let Some(body) = wire.body(&head).await else { return };
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            if head.starts_with("PUT ") {
                let upload: u64 = path.rsplit('/').next().unwrap().parse().unwrap();
                assert!(body == bytes_of(upload, 0, body.len()), "an upload has other bytes");
                let said = body.len().to_string();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", said.len());
                if wire.try_send(head + &said).await.is_err() {
                    return;
                }
                continue;
            }
            let file: u64 = path[1..].parse().unwrap();
            let (length, tag) = (length_of(file), format!("\"{file}\""));
            let first = field(&head, "range")
                .filter(|_| field(&head, "if-range").is_none_or(|known| known == tag))
                .and_then(|range| range.strip_prefix("bytes=")?.split('-').next()?.parse().ok());
            let fields = format!("etag: {tag}\r\ncache-control: max-age=60\r\n");
            let is_chunked = first.is_none() && file.is_multiple_of(2);
            let head = match first {
                Some(first) => format!(
                    "HTTP/1.1 206 Partial Content\r\n{fields}content-range: bytes {first}-{}/{length}\r\n\
                     content-length: {}\r\n\r\n",
                    length - 1,
                    length - first
                ),
                None if is_chunked => {
                    format!("HTTP/1.1 200 OK\r\n{fields}transfer-encoding: chunked\r\n\r\n")
                }
                None => format!("HTTP/1.1 200 OK\r\n{fields}content-length: {length}\r\n\r\n"),
            };
            if wire.try_send(head).await.is_err() {
                return;
            }
            let mut at = first.unwrap_or(0);
            while at < length {
                let slice = bytes_of(file, at, SLICE_BYTES.min(length - at));
                at += slice.len();
                let framed = match is_chunked {
                    true => [format!("{:x}\r\n", slice.len()).as_bytes(), &slice, b"\r\n"].concat(),
                    false => slice,
                };
                if wire.try_send(framed).await.is_err() {
                    return;
                }
            }
            if is_chunked && wire.try_send("0\r\n\r\n").await.is_err() {
                return;
            }
        }
    })
    .await
}

/// What came of all of it.
#[derive(Default)]
struct Tally {
    whole: AtomicU64,
    left: AtomicU64,
    uploads: AtomicU64,
    /// They were told to go, or broke off: never with a byte that is wrong.
    broken: AtomicU64,
}

/// One reader after the other: of all of a file or from a place on, at a pace of its own, to the end or not.
async fn read(address: std::net::SocketAddr, until: Instant, seed: u64, tally: Arc<Tally>) {
    let mut chance = Chance(seed);
    while Instant::now() < until {
        let file = chance.below(FILES);
        let length = length_of(file);
        let from = if chance.below(2) == 0 { 0 } else { chance.below(length as u64) as usize };
        let range = if from > 0 { format!("range: bytes={from}-\r\n") } else { String::new() };
        let per_second = [64 << 10, 512 << 10, 4 << 20, usize::MAX][chance.below(4) as usize];
        let leaves_after = match chance.below(3) {
            0 => chance.below((length - from) as u64 + 1) as usize,
            _ => usize::MAX,
        };
        let mut wire = Wire::connect(address).await;
        // Of HTTP/1.0, so that nothing but the body comes after the head.
        wire.send(format!("GET /{file} HTTP/1.0\r\nhost: larder.test\r\n{range}\r\n")).await;
        let head = wire.head().await;
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        if status == 503 {
            tally.broken.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let mut at = match status {
            206 => from,
            200 => 0,
            _ => panic!("{head}"),
        };
        let (began, start) = (Instant::now(), at);
        // A slow one has no hurry, and is not waited for at the end.
        while at < length && at - start < leaves_after && Instant::now() < until {
            let some = match wire.try_some().await {
                Ok(some) if !some.is_empty() => some,
                _ => break,
            };
            assert!(some == bytes_of(file, at, some.len()), "other bytes of {file} after {at}");
            at += some.len();
            if per_second < usize::MAX {
                let due = Duration::from_secs_f64((at - start) as f64 / per_second as f64);
                sleep(due.saturating_sub(began.elapsed()).min(Duration::from_secs(2))).await;
            }
        }
        assert!(at <= length, "{file} has no more than {length} bytes");
        let outcome = match at {
            at if at == length => &tally.whole,
            at if at - start >= leaves_after || Instant::now() >= until => &tally.left,
            _ => &tally.broken,
        };
        outcome.fetch_add(1, Ordering::Relaxed);
    }
}

/// One upload after the other, some of them slow.
async fn upload(address: std::net::SocketAddr, until: Instant, seed: u64, tally: Arc<Tally>) {
    let mut chance = Chance(seed);
    while Instant::now() < until {
        let (number, length) = (chance.below(1000), 10_000 + chance.below(2_000_000) as usize);
        let pause = Duration::from_millis([0, 0, 20][chance.below(3) as usize]);
        let mut wire = Wire::connect(address).await;
        let head = format!(
            "PUT /upload/{number} HTTP/1.1\r\nhost: larder.test\r\ncontent-length: {length}\r\n\r\n"
        );
        wire.send(head).await;
        for slice in bytes_of(number, 0, length).chunks(SLICE_BYTES) {
            wire.send(slice).await;
            sleep(pause).await;
        }
        let answer = wire.answer().await;
        assert_eq!((answer.status(), answer.text()), (200, &*length.to_string()));
        tally.uploads.fetch_add(1, Ordering::Relaxed);
    }
}

async fn rage(lasts: Duration, readers: u64) {
    let origin = files().await;
    let larder = Larder::with(origin.address, &["--memory", &format!("{MEMORY_MIB}MiB")]).await;
    let (until, tally) = (Instant::now() + lasts, Arc::new(Tally::default()));
    let mut all = JoinSet::new();
    for seed in 0..readers {
        all.spawn(read(larder.address, until, seed * 7 + 1, Arc::clone(&tally)));
    }
    for seed in 0..4 {
        all.spawn(upload(larder.address, until, seed * 11 + 3, Arc::clone(&tally)));
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
    let Tally { whole, left, uploads, broken } = &*tally;
    let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
    let (whole, left) = (count(whole), count(left));
    let (uploads, broken) = (count(uploads), count(broken));
    let most = larder.memory_kib("VmHWM");
    println!("{whole} whole, {left} left, {broken} broken off, {uploads} uploads; {most} KiB");
    // Some of each, also on a machine that does much else.
    assert!(whole > 4 && left > 2 && uploads > 2, "{whole} whole, {left} left, {uploads} uploads");
    // A few may have to go; most are served.
    assert!(broken <= (whole + left) / 4, "{broken} broken off beside {whole} whole");
    assert!(most <= MOST_KIB, "{most} KiB");
    // And it is well: there is room again.
    let status = larder.get("/0").await;
    assert_eq!(status.status(), 200);
}

#[tokio::test]
async fn a_gateway_with_little_memory_lives_through_everything_at_once() {
    rage(Duration::from_secs(8), 40).await;
}

#[tokio::test]
#[ignore = "an hour, in three minutes"]
async fn a_gateway_with_little_memory_lives_through_an_hour_of_everything_at_once() {
    rage(Duration::from_secs(180), 100).await;
}
