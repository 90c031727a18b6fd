//! Large answers: they stream, in memory that does not grow with them.

use std::sync::Arc;

use crate::support::{
    larder::{Larder, request},
    origin::Origin,
};

const LARGE_BYTES: usize = 100_000_000;
const SLICE_BYTES: usize = 64 << 10;
/// A prime, so that a slice that is lost, doubled or moved does not fit.
const PERIOD: usize = 251;
const MAX_GROWTH_KIB: u64 = 64 << 10;

/// The bytes of a large answer from `offset` on.
struct Pattern(Vec<u8>);

impl Pattern {
    fn new() -> Pattern {
        Pattern((0..SLICE_BYTES + PERIOD).map(|n| (n % PERIOD).to_le_bytes()[0]).collect())
    }

    fn at(&self, offset: usize, length: usize) -> &[u8] {
        &self.0[offset % PERIOD..][..length]
    }
}

/// Says `head`, then the large body, in chunks if the head says so.
async fn sending(head: &'static str) -> Origin {
    let pattern = Arc::new(Pattern::new());
    Origin::playing(move |mut visit| {
        let pattern = Arc::clone(&pattern);
        async move {
            while visit.request().await.is_some() {
                visit.send(head).await;
                let is_chunked = head.contains("chunked");
                let mut offset = 0;
                while offset < LARGE_BYTES {
                    let length = SLICE_BYTES.min(LARGE_BYTES - offset);
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

/// Reads it to its end, over HTTP/1.0 so that nothing but the body comes after the head.
async fn assert_reads_it_all(larder: &Larder) {
    let pattern = Pattern::new();
    let mut reader = larder.connect().await;
    reader.send(request("GET", "/large", "").replace("HTTP/1.1", "HTTP/1.0")).await;
    let head = reader.head().await;
    assert!(head.contains(" 200 "), "{head}");
    let mut offset = 0;
    while offset < LARGE_BYTES {
        let some = reader.some().await;
        assert!(!some.is_empty(), "ended after {offset}");
        for slice in some.chunks(SLICE_BYTES) {
            assert!(slice == pattern.at(offset, slice.len()), "other bytes after {offset}");
            offset += slice.len();
        }
    }
    assert_eq!(offset, LARGE_BYTES);
    assert_eq!(reader.rest().await, "");
}

async fn assert_streams(head: &'static str, flags: &[&str]) {
    let origin = sending(head).await;
    let larder = Larder::with(origin.address, flags).await;
    let idle = larder.memory_kib("VmRSS");
    assert_reads_it_all(&larder).await;
    let growth = larder.memory_kib("VmHWM").saturating_sub(idle);
    assert!(growth < MAX_GROWTH_KIB, "{growth} KiB more than idle");
    let mut reader = larder.connect().await;
    reader.send(request("GET", "/large", "")).await;
    reader.head().await;
    assert_eq!(origin.requests().len(), 2, "it was not to be stored");
}

#[tokio::test]
async fn what_may_not_be_stored_streams_in_bounded_memory() {
    assert_streams(
        "HTTP/1.1 200 OK\r\ncache-control: no-store\r\ncontent-length: 100000000\r\n\r\n",
        &[],
    )
    .await;
}

#[tokio::test]
async fn what_is_too_large_to_be_stored_streams_in_bounded_memory() {
    assert_streams(
        "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 100000000\r\n\r\n",
        &["--memory", "32MiB"],
    )
    .await;
}

#[tokio::test]
async fn what_turns_out_to_be_too_large_streams_in_bounded_memory() {
    assert_streams(
        "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ntransfer-encoding: chunked\r\n\r\n",
        &["--memory", "32MiB"],
    )
    .await;
}

#[tokio::test]
async fn a_reader_who_does_not_read_holds_the_origin_up_and_not_the_memory() {
    let origin = sending("HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n").await;
    let larder = Larder::before(origin.address).await;
    let idle = larder.memory_kib("VmRSS");
    let mut readers = Vec::new();
    for n in 0..20 {
        let mut reader = larder.connect().await;
        reader.send(request("GET", &format!("/{n}"), "")).await;
        reader.head().await;
        readers.push(reader);
    }
    assert_reads_it_all(&larder).await;
    let growth = larder.memory_kib("VmHWM").saturating_sub(idle);
    assert!(growth < MAX_GROWTH_KIB, "{growth} KiB more than idle");
}
