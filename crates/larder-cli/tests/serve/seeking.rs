//! Readers that seek and resume, before an origin that others wrote and that sends slowly.

use std::{
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use larder_test_support::{nginx::Nginx, wire::Wire};
use tokio::task::JoinSet;

use crate::support::larder::Larder;

const LENGTH: usize = 8 << 20;

/// nginx with one file of 8 MiB, which it sends at so many bytes a second.
async fn slow_file(rate: &str) -> (Nginx, Vec<u8>) {
    let server = format!("root files; limit_rate {rate}; location / {{ expires 1h; }}");
    let nginx = Nginx::start("", &server).await;
    // No two windows of it are alike.
    let bytes: Vec<u8> = (0..LENGTH as u32 / 4)
        .flat_map(|word| word.wrapping_mul(0x9e37_79b9).rotate_left(9).to_le_bytes())
        .collect();
    let files = nginx.folder().join("files");
    std::fs::create_dir_all(&files).unwrap();
    std::fs::write(files.join("film"), &bytes).unwrap();
    (nginx, bytes)
}

#[tokio::test]
async fn eight_curls_that_resume_where_they_broke_off_have_every_byte() {
    let (nginx, bytes) = slow_file("6m").await;
    let larder = Larder::before(nginx.address).await;
    let folder = tempfile::tempdir().unwrap();
    let (url, bytes) = (larder.url("/film"), Arc::new(bytes));
    let mut curls = JoinSet::new();
    // It had come so far: nothing, a little, most, all but a byte.
    for had in [0, 1, 4096, 1 << 20, LENGTH / 2, LENGTH * 7 / 8, LENGTH - 1, 3_333_333] {
        let (url, bytes) = (url.clone(), Arc::clone(&bytes));
        let file = folder.path().join(had.to_string());
        curls.spawn_blocking(move || {
            std::fs::write(&file, &bytes[..had]).unwrap();
            resume(&url, &file);
            assert!(std::fs::read(&file).unwrap() == *bytes, "it differs after {had}");
        });
    }
    curls.join_all().await;
    // All of it is here now, whoever brought it.
    let again = Instant::now();
    let file = folder.path().join("again");
    resume(&url, &file);
    assert!(std::fs::read(&file).unwrap() == *bytes);
    assert!(again.elapsed() < Duration::from_secs(1), "{:?}", again.elapsed());
}

fn resume(url: &str, file: &Path) {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--max-time", "60", "-C", "-", "-o"]);
    let status = curl.arg(file).arg(url).status().unwrap();
    assert!(status.success(), "{}: {status}", file.display());
}

#[tokio::test]
async fn a_player_that_seeks_does_not_wait_for_what_lies_between() {
    // All of it takes eight seconds.
    let (nginx, bytes) = slow_file("1m").await;
    let larder = Larder::before(nginx.address).await;
    let ask = async |range: &str| {
        let mut wire = Wire::connect(larder.address).await;
        let host = larder.address;
        wire.send(format!("GET /film HTTP/1.1\r\nhost: {host}\r\n{range}\r\n")).await;
        let head = wire.head().await;
        (wire, head)
    };
    let (mut whole, head) = ask("").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let began = Instant::now();
    for place in [7_000_000, 2_500_000, 5_000_000, 7_000_100, 100, 0, LENGTH - 1000] {
        let asked = Instant::now();
        let (mut wire, head) = ask(&format!("range: bytes={place}-\r\n")).await;
        assert!(head.starts_with("HTTP/1.1 206 "), "{head}");
        let length = 1000.min(LENGTH - place);
        assert!(wire.exactly(length).await == bytes[place..place + length], "at {place}");
        assert!(asked.elapsed() < Duration::from_secs(2), "at {place}: {:?}", asked.elapsed());
        // It leaves, and seeks again.
    }
    assert!(began.elapsed() < Duration::from_secs(6), "it would have come anyway");
    assert!(whole.exactly(LENGTH).await == bytes);
    let (mut again, head) = ask("").await;
    assert!(head.contains("Larder;hit;"), "{head}");
    assert!(again.exactly(LENGTH).await == bytes);
}
