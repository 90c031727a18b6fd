//! What is sent once more, and what is not; and which address is left alone for how long.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::*;
use crate::support::eventually;

const IN_TURN: &str = "balance = \"round-robin\"\n";

/// Says 503 to each request.
async fn unavailable() -> Origin {
    Origin::saying("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nlate").await
}

/// Sends half of each answer.
async fn half() -> Origin {
    Origin::playing(|mut visit| async move {
        visit.request().await;
        let half = format!("HTTP/1.1 200 OK\r\n{NO_STORE}content-length: 200000\r\n\r\nhalf");
        visit.send(half).await;
    })
    .await
}

#[tokio::test]
async fn a_request_goes_to_another_address_where_that_does_no_harm() {
    const ON_503: &str =
        "balance = \"round-robin\"\n[upstream.app.retry]\non = [\"reset\", \"503\"]\n";
    const ONCE: &str = "balance = \"round-robin\"\n[upstream.app.retry]\nattempts = 1\n";
    for (name, bad, text, get, post_status, others) in [
        ("resets", Some(resetting().await), IN_TURN, 200, 502, 1),
        ("resets, once", Some(resetting().await), ONCE, 502, 502, 0),
        ("refuses", None, IN_TURN, 200, 200, 2),
        ("says 503", Some(unavailable().await), IN_TURN, 503, 503, 0),
        ("says 503, which counts", Some(unavailable().await), ON_503, 200, 503, 1),
    ] {
        let fine = saying("fine").await;
        let bad_address = bad.as_ref().map_or_else(nobody, |bad| bad.address);
        for (is_get, expected) in [(true, get), (false, post_status)] {
            // A new one each, so that the bad address is next.
            let site = Site::with(&[bad_address, fine.address], text).await;
            let answer = match is_get {
                true => site.larder.get("/").await,
                false => post(&site.larder, "hello").await,
            };
            assert_eq!(answer.status(), expected, "{name}, GET {is_get}: {}", answer.head);
            let moved = fine.requests();
            if !is_get && expected == 200 {
                assert!(moved.last().unwrap().contains("content-length: 5\r\n"), "{moved:?}");
            }
        }
        assert_eq!(fine.requests().len(), others, "{name}");
        if let Some(bad) = bad {
            assert_eq!(bad.requests().len(), 2, "{name}: each once");
        }
    }
}

#[tokio::test]
async fn an_answer_that_has_begun_is_not_asked_for_elsewhere() {
    let (half, fine) = (half().await, saying("fine").await);
    let site = Site::with(&[half.address, fine.address], IN_TURN).await;
    let mut reader = site.larder.connect().await;
    reader.send(crate::support::larder::request("GET", "/", "")).await;
    assert!(reader.head().await.starts_with("HTTP/1.1 200"));
    reader.until_reset().await;
    assert_eq!((half.requests().len(), fine.requests().len()), (1, 0));
    let kind = ",kind=\"body\"";
    assert_eq!(site.number("larder_upstream_failures_total", half.address, kind).await, 1.0);
}

#[tokio::test]
async fn nothing_is_sent_once_more_after_an_interim_answer_to_its_reader() {
    let hinting = Origin::playing(|mut visit| async move {
        visit.request().await;
        visit.send("HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n").await;
    })
    .await;
    let fine = saying("fine").await;
    let site = Site::with(&[hinting.address, fine.address], IN_TURN).await;
    let mut reader = site.larder.connect().await;
    reader.send(crate::support::larder::request("GET", "/", "")).await;
    assert!(reader.head().await.starts_with("HTTP/1.1 103"));
    assert_eq!(reader.answer().await.status(), 502);
    assert_eq!(fine.requests().len(), 0);
}

#[tokio::test]
async fn after_failures_in_a_row_an_address_is_left_alone() {
    for (name, bad) in [("resets", resetting().await), ("half", half().await)] {
        let fine = saying("fine").await;
        let text = format!("{IN_TURN}[upstream.app.breaker]\nfailures = 3\nback_off = \"1m\"\n");
        let site = Site::with(&[bad.address, fine.address], &text).await;
        for _ in 0..20 {
            let mut reader = site.larder.connect().await;
            reader.send(crate::support::larder::request("GET", "/", "")).await;
            reader.try_answer().await;
        }
        assert_eq!(bad.requests().len(), 3, "{name}");
        let ejections = "larder_upstream_ejections_total";
        assert_eq!(site.number(ejections, bad.address, "").await, 1.0, "{name}");
        let open = ",state=\"open\"";
        assert_eq!(site.number("larder_upstream_breaker", bad.address, open).await, 1.0, "{name}");
        assert_eq!(site.larder.told("has failed 3 times in a row").await, 1, "{name}");
        let ready = site.larder.get_from_admin("/readyz").await;
        let down = format!("1 of 2 addresses of upstream app are down: http://{}", bad.address);
        assert_eq!(ready.status(), 200, "{name}");
        assert!(ready.text().contains(&down), "{}", ready.text());
    }
}

#[tokio::test]
async fn an_address_that_was_left_alone_is_tried_by_a_request_now_and_then_until_it_is_back() {
    let address = nobody();
    let fine = saying("fine").await;
    let text = format!(
        "{IN_TURN}slow_start = \"1ms\"\n[upstream.app.breaker]\nfailures = 2\nback_off = \"200ms\"\n\
         max_back_off = \"200ms\"\n"
    );
    let site = Site::with(&[address, fine.address], &text).await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(1) {
        assert_eq!(site.larder.get("/").await.text(), "fine");
    }
    let refused = site.number("larder_upstream_failures_total", address, ",kind=\"connect\"").await;
    // A back-off is 100 ms at least: two that opened it, and then one each.
    let most = 3.0 + began.elapsed().as_secs_f64() / 0.1;
    assert!((3.0..=most).contains(&refused), "{refused} of {most}");
    let back = Origin::saying_at(address, ok(NO_STORE, "back")).await;
    let has_come = async || {
        let answer = site.larder.get("/").await;
        assert_eq!(answer.status(), 200);
        (answer.text() == "back").then_some(())
    };
    eventually("an answer of the one that is back", has_come).await;
    site.larder.told("answers again").await;
    assert_eq!(site.larder.get_from_admin("/readyz").await.text(), "ready");
    drop(back);
}

#[tokio::test]
async fn no_more_than_a_part_of_all_requests_is_sent_once_more() {
    let (one, other) = (resetting().await, resetting().await);
    let text = format!(
        "{IN_TURN}[upstream.app.retry]\nper_second = 0\npercent = 10\n\
         [upstream.app.breaker]\nfailures = 1000\n"
    );
    let site = Site::with(&[one.address, other.address], &text).await;
    for _ in 0..100 {
        assert_eq!(site.larder.get("/").await.status(), 502);
    }
    let sent = one.requests().len() + other.requests().len();
    // Ten are saved up at first.
    assert!((115..=120).contains(&sent), "{sent}");
    let held_back = "larder_upstream_retries_held_back_total{upstream=\"app\"}";
    let moved = "larder_upstream_retries_elsewhere_total{upstream=\"app\",cause=\"reset\"}";
    assert_eq!(site.larder.metric(held_back).await, (200 - sent) as f64);
    assert_eq!(site.larder.metric(moved).await, (sent - 100) as f64);
}

#[tokio::test]
async fn a_request_that_ends_each_connection_is_not_tried_on_a_third_one() {
    // Answers the first request of each connection, and ends it at the second: one that was kept.
    let killed = |name: &'static str| {
        Origin::playing(move |mut visit| async move {
            while let Some(head) = visit.request().await {
                if head.contains("/kill") {
                    return visit.reset();
                }
                visit.send(ok(NO_STORE, name)).await;
            }
        })
    };
    let (one, other) = (killed("one").await, killed("other").await);
    let site = Site::with(&[one.address, other.address], IN_TURN).await;
    let mut wire = site.larder.connect().await;
    let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: larder.test\r\n\r\n");
    for expected in ["one", "other"] {
        wire.send(ask("/")).await;
        assert_eq!(wire.answer().await.text(), expected);
    }
    wire.send(ask("/kill")).await;
    assert_eq!(wire.answer().await.status(), 502);
    // Over the kept connection, and over a new one, as without other addresses.
    assert_eq!((one.requests().len(), other.requests().len()), (3, 1));
}

#[tokio::test]
async fn all_addresses_together_take_no_longer_than_the_whole() {
    let (one, other) = (silent().await, silent().await);
    let text = format!(
        "{IN_TURN}whole_timeout = \"1s\"\nfirst_byte_timeout = \"600ms\"\nconnect_timeout = \"500ms\"\n\
         wait_timeout = \"500ms\"\nidle_body_timeout = \"500ms\"\n[upstream.app.retry]\non = [\"timeout\"]\n"
    );
    let site = Site::with(&[one.address, other.address], &text).await;
    let began = Instant::now();
    assert_eq!(site.larder.get("/").await.status(), 504);
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!((one.requests().len(), other.requests().len()), (1, 1));
    site.larder.told("sent no response head within").await;
}

/// Speaks HTTP/2, and ends each connection at its first request, which it says it has not looked at.
async fn leaving(seen: Arc<AtomicUsize>) -> Origin {
    const HEADERS: u8 = 1;
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    Origin::playing(move |visit| {
        let seen = Arc::clone(&seen);
        async move {
            let mut wire = visit.into_wire();
            wire.exactly("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len()).await;
            wire.send(SETTINGS).await;
            loop {
                let head = wire.exactly(9).await;
                wire.exactly(u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize).await;
                if head[3] == HEADERS {
                    break;
                }
            }
            seen.fetch_add(1, Ordering::SeqCst);
            wire.send(GOAWAY).await;
            while wire.try_some().await.is_ok_and(|bytes| !bytes.is_empty()) {}
        }
    })
    .await
}

#[tokio::test]
async fn what_a_service_that_leaves_has_not_looked_at_is_sent_as_often_as_anything_else() {
    let rows = [
        ("", 3, 0.0),
        ("[upstream.app.retry]\nattempts = 2\n", 2, 0.0),
        ("[upstream.app.retry]\nattempts = 1\n", 1, 0.0),
        ("[upstream.app.retry]\npercent = 0\nper_second = 0\n", 1, 1.0),
    ];
    for (text, sent, held_back) in rows {
        for has_content in [false, true] {
            let seen = Arc::default();
            let origin = leaving(Arc::clone(&seen)).await;
            let url = format!("[upstream.app]\nurl = \"h2c://{}\"\n", origin.address);
            let site = Site::of(&format!("{LISTENERS}{url}{text}")).await;
            let answer = match has_content {
                true => post(&site.larder, &"x".repeat(30_000)).await,
                false => site.larder.get("/").await,
            };
            assert_eq!(answer.status(), 502, "{text}");
            assert_eq!(seen.load(Ordering::SeqCst), sent, "{text} {has_content}");
            let metric = async |name: &str| site.larder.metric(name).await;
            assert_eq!(metric("larder_upstream_retries_total").await, (sent - 1) as f64, "{text}");
            let held = "larder_upstream_retries_held_back_total{upstream=\"app\"}";
            assert_eq!(metric(held).await, held_back, "{text}");
        }
    }
}

#[tokio::test]
async fn a_kept_connection_that_is_closed_is_passed_over_once_whatever_attempts_say() {
    for text in [
        "",
        "[upstream.app.retry]\nattempts = 1\n",
        "[upstream.app.retry]\npercent = 0\nper_second = 0\n",
    ] {
        let origin = Origin::playing(move |mut visit| async move {
            while let Some(head) = visit.request().await {
                if head.contains("/kill") {
                    return visit.reset();
                }
                visit.send(ok(NO_STORE, "fine")).await;
            }
        })
        .await;
        let site = Site::with(&[origin.address], text).await;
        assert_eq!(site.larder.get("/").await.text(), "fine");
        assert_eq!(site.larder.get("/kill").await.status(), 502);
        // On the kept connection, and on a new one.
        assert_eq!(origin.requests().len(), 3, "{text}");
        assert_eq!(site.larder.metric("larder_upstream_retries_total").await, 1.0, "{text}");
        let held = "larder_upstream_retries_held_back_total{upstream=\"app\"}";
        assert_eq!(site.larder.metric(held).await, 0.0, "{text}");
    }
}
