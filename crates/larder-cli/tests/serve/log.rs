//! The log: nobody waits for it, and no client can fill it.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{
    eventually,
    larder::{Larder, request},
    origin::{Origin, ok},
};

/// What a pipe holds (pipe(7)).
const PIPE_BYTES: usize = 64 << 10;

#[tokio::test]
async fn a_log_that_nobody_reads_holds_nobody_up() {
    let origin = Origin::saying(ok("cache-control: max-age=60\r\n", "a")).await;
    let larder = Larder::with_unread_log(origin.address, &["--log", "debug,h2=debug"]).await;
    // A line for each, with its path: more than the pipe and all buffers hold.
    let path = format!("/{}", "x".repeat(4000));
    let mut reader = larder.connect().await;
    let mut logged = 0;
    while logged < (2 << 20) + PIPE_BYTES {
        reader.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        assert_eq!(reader.answer().await.status(), 200);
        logged += path.len();
    }
    assert_eq!(larder.get("/").await.status(), 200);
    assert_eq!(larder.get_from_admin("/readyz").await.status(), 200);
    assert!(larder.metric(r#"larder_log_lines_lost_total{cause="not_read"}"#).await > 0.0);
    let began = Instant::now();
    larder.signal(Signal::TERM);
    drop(reader);
    assert_eq!(larder.exit().await, Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_origin_that_is_down_is_told_of_in_a_few_lines_however_many_ask() {
    // Nobody listens there any more.
    let origin = Origin::saying(ok("", "")).await.address;
    let larder = Larder::before(origin).await;
    let lines = larder.log().lines().count();
    let mut reader = larder.connect().await;
    let began = Instant::now();
    for number in 0..500 {
        reader.send(format!("GET /{number} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        assert_eq!(reader.answer().await.status(), 502);
    }
    let left_out = |log: &str| {
        let told =
            log.lines().filter_map(|line| line.split_once("left out ")?.1.split_once(" line"));
        told.map(|(count, _)| count.parse::<usize>().unwrap()).sum::<usize>()
    };
    // What was left out is told as well, and all together were as many as have asked.
    let log = eventually("all to be told", async || {
        let log = larder.log();
        // One is about the origin, and of no request.
        let is_of_one = |line: &&str| !line.contains("left out") && !line.contains("in a row");
        let whole = log.lines().skip(lines).filter(is_of_one).count();
        (whole + left_out(&log) == 500).then_some(log)
    })
    .await;
    let most = 20 + 2 * usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!(log.lines().count() - lines <= most, "{log}");
    assert!(larder.metric(r#"larder_log_lines_lost_total{cause="limited"}"#).await > 400.0);
}

#[tokio::test]
async fn frames_of_http2_that_a_client_makes_up_are_not_logged() {
    let origin = Origin::saying(ok("", "")).await;
    let larder = Larder::before(origin.address).await;
    let before = larder.log();
    let mut reader = larder.connect().await;
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    for _ in 0..100 {
        // The answer to a ping that nobody sent.
        bytes.extend_from_slice(b"\0\0\x08\x06\x01\0\0\0\0unasked!");
    }
    // It may be told to go.
    reader.try_send(bytes).await.ok();
    larder.get("/").await;
    drop(reader);
    larder.get("/").await;
    assert_eq!(larder.log(), before);
}

#[tokio::test]
async fn a_purge_of_many_is_one_line() {
    let origin = Origin::saying(ok("", "")).await;
    let larder = Larder::before(origin.address).await;
    let lines = larder.log().lines().count();
    let tags: Vec<_> = (0..1000).map(|number| format!("\"tag-{number}\"")).collect();
    let answer =
        larder.post_to_admin("/v1/purge", &format!("{{\"tags\":[{}]}}", tags.join(","))).await;
    assert_eq!(answer.status(), 200);
    let log = eventually("a line", async || {
        let log = larder.log();
        (log.lines().count() > lines).then_some(log)
    })
    .await;
    assert_eq!(log.lines().count(), lines + 1);
    let line = log.lines().last().unwrap();
    assert!(
        line.contains(r#"purged tags "tag-0" "#) && line.contains("and 995 more mode=soft id="),
        "{line}"
    );
}

#[tokio::test]
async fn a_reader_of_the_log_that_leaves_is_no_failure() {
    let origin = Origin::saying(ok("", "a")).await;
    let mut larder = Larder::with_unread_log(origin.address, &["--log", "debug"]).await;
    larder.close_log();
    for _ in 0..10 {
        let mut reader = larder.connect().await;
        reader.send(request("GET", "/", "")).await;
        assert_eq!(reader.answer().await.status(), 200);
    }
    larder.signal(Signal::TERM);
    assert_eq!(larder.exit().await, Some(0));
}
