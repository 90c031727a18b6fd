//! Origins that cut, reset, lie and drip: what is not whole is not stored, nor given out as whole.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::support::{
    answer::status,
    larder::{Larder, request},
    origin::Origin,
};

/// How an origin ends an answer that is not whole.
#[derive(Clone, Copy)]
enum End {
    Close,
    Reset,
}

/// Ends after `answer`, once it is told that somebody has the beginning: a reset would overtake it.
async fn ending(answer: &'static str, end: End) -> (Origin, Arc<Notify>) {
    let heard = Arc::new(Notify::new());
    let told = Arc::clone(&heard);
    let origin = Origin::playing(move |mut visit| {
        let told = Arc::clone(&told);
        async move {
            visit.request().await;
            visit.send(answer).await;
            told.notified().await;
            match end {
                End::Close => {}
                End::Reset => visit.reset(),
            }
        }
    })
    .await;
    (origin, heard)
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_never_stored_and_its_reader_can_tell() {
    const FRESH: &str = "cache-control: max-age=600, stale-if-error=600\r\n";
    for (name, rest) in [
        ("fewer bytes than announced", "content-length: 10\r\n\r\nfive!"),
        ("no last chunk", "transfer-encoding: chunked\r\n\r\n5\r\nfive!\r\n"),
        ("half a chunk", "transfer-encoding: chunked\r\n\r\na\r\nfive!"),
        ("rubbish for a chunk's size", "transfer-encoding: chunked\r\n\r\n5\r\nfive!\r\nz\r\n"),
    ] {
        let answer: &'static str = format!("HTTP/1.1 200 OK\r\n{FRESH}{rest}").leak();
        for end in [End::Close, End::Reset] {
            let (origin, heard) = ending(answer, end).await;
            let larder = Larder::before(origin.address).await;
            for round in 1..=3 {
                let mut reader = larder.connect().await;
                reader.send(request("GET", "/", "")).await;
                let head = reader.head().await;
                assert_eq!(status(&head), 200, "{name}");
                heard.notify_one();
                let rest = reader.until_reset().await;
                assert!(!rest.ends_with("0\r\n\r\n"), "{name}: {rest}");
                assert_eq!(origin.requests().len(), round, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn a_head_that_is_no_head_is_answered_502() {
    let too_large = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(200_000)).leak();
    let heads = ["", "HTTP/1.1 200", "HTTP/1.1 2OO OK\r\n\r\n", "SSH-2.0-x\r\n\r\n", too_large];
    for answer in heads {
        let (origin, heard) = ending(answer, End::Close).await;
        heard.notify_one();
        let larder = Larder::before(origin.address).await;
        let refused = larder.get("/").await;
        assert_eq!(refused.status(), 502, "{answer:.20}: {}", refused.head);
        assert_eq!(refused.field("content-type"), Some("application/problem+json"));
        let told = format!("{}{}", refused.head, refused.text());
        assert!(!told.contains(&origin.address.to_string()), "where it is stays inside: {told}");
        assert_eq!(origin.requests().len(), 1, "not asked twice: {answer:.20}");
    }
}

#[tokio::test]
async fn an_origin_that_is_not_there_is_answered_502() {
    let gone = Origin::saying("").await.address;
    let larder = Larder::before(gone).await;
    let refused = larder.get("/").await;
    assert_eq!(refused.status(), 502);
    let proxy_status = refused.field("proxy-status").unwrap();
    assert!(proxy_status.contains("error=connection_refused"), "{proxy_status}");
}

#[tokio::test]
async fn a_body_longer_than_announced_is_cut_there_and_its_connection_not_used_again() {
    let origin = Origin::saying(
        "HTTP/1.1 200 OK\r\ncache-control: max-age=600\r\ncontent-length: 5\r\n\r\n\
         helloHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
    )
    .await;
    let larder = Larder::before(origin.address).await;
    for path in ["/1", "/2", "/3"] {
        for handling in ["uri-miss", "hit"] {
            let answer = larder.get(path).await;
            assert_eq!((answer.text(), answer.handling()), ("hello", handling), "{path}");
        }
    }
    assert_eq!(origin.requests().len(), 3);
}

#[tokio::test]
async fn an_answer_that_drips_in_arrives_whole_and_is_stored() {
    let answer: Arc<[u8]> =
        Arc::from(&b"HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 26\r\n\r\nabcdefghijklmnopqrstuvwxyz"[..]);
    let origin = Origin::playing(move |mut visit| {
        let answer = Arc::clone(&answer);
        async move {
            visit.request().await;
            for byte in answer.chunks(1) {
                visit.send(byte).await;
                tokio::task::yield_now().await;
            }
        }
    })
    .await;
    let larder = Larder::before(origin.address).await;
    for handling in ["uri-miss", "hit"] {
        let answer = larder.get("/").await;
        assert_eq!(answer.text(), "abcdefghijklmnopqrstuvwxyz");
        assert_eq!(answer.handling(), handling);
    }
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_is_whole_but_not_if_that_breaks() {
    let plain = "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\n\r\nhello";
    let (origin, heard) = ending(plain, End::Close).await;
    heard.notify_one();
    let larder = Larder::before(origin.address).await;
    assert_eq!(larder.get("/").await.text(), "hello");
    assert_eq!(larder.get("/").await.handling(), "hit");

    let (origin, heard) = ending(plain, End::Reset).await;
    let larder = Larder::before(origin.address).await;
    for _ in 0..2 {
        let mut reader = larder.connect().await;
        reader.send(request("GET", "/", "")).await;
        reader.head().await;
        heard.notify_one();
        reader.until_reset().await;
    }
    assert_eq!(origin.requests().len(), 2);
}
