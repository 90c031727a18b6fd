//! What readers get while no address answers.

use std::fs;

use super::*;
use crate::support::{eventually, larder::request};

const QUICK: &str = "first_byte_timeout = \"300ms\"\n[upstream.app.breaker]\nfailures = 2\n";

#[tokio::test]
async fn a_page_of_ones_own_is_what_readers_get_while_no_address_answers() {
    let folder = tempfile::tempdir().unwrap();
    let page = "<h1>Back soon</h1>";
    fs::write(folder.path().join("down.html"), page).unwrap();
    let text = format!("maintenance_page = {:?}\n", folder.path().join("down.html"));
    let site = Site::with(&[nobody(), nobody()], &text).await;
    // Before and after both are left alone.
    for _ in 0..12 {
        let answer = site.larder.get("/").await;
        assert_eq!((answer.status(), answer.text()), (503, page));
        assert_eq!(answer.field("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(answer.field("retry-after"), Some("30"));
        assert_eq!(answer.field("cache-control"), Some("no-store"));
    }
    let head = site.larder.say(request("HEAD", "/", "")).await;
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    assert!(head.contains("text/html") && head.ends_with("\r\n\r\n"), "{head}");
    let ready = site.larder.get_from_admin("/readyz").await;
    assert_eq!(ready.status(), 200);
    assert!(ready.text().contains("upstream app is down"), "{}", ready.text());
}

#[tokio::test]
async fn what_is_stale_goes_before_any_page() {
    let origin = Origin::saying(ok("cache-control: max-age=1\r\n", "stale")).await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("down.html"), "down").unwrap();
    let text = format!("maintenance_page = {:?}\n", folder.path().join("down.html"));
    let site = Site::with(&[origin.address, nobody()], &text).await;
    let stored = async || {
        let answer = site.larder.get("/a").await;
        (answer.status() == 200).then_some(())
    };
    eventually("an answer that is stored", stored).await;
    drop(origin);
    let stale = async || {
        let answer = site.larder.get("/a").await;
        assert_eq!((answer.status(), answer.text()), (200, "stale"));
        let is_said =
            answer.field("cache-status").is_some_and(|said| said.contains("stale-if-error"));
        is_said.then_some(())
    };
    eventually("a stale answer", stale).await;
    assert_eq!(site.larder.get("/b").await.text(), "down");
}

#[tokio::test]
async fn an_address_that_is_silent_is_waited_for_by_ten_requests_at_a_time() {
    let origin = silent().await;
    let text = "first_byte_timeout = \"30s\"\n[upstream.app.breaker]\nfailures = 1\n";
    let refuses_first = nobody();
    let site = Site::with(&[refuses_first], text).await;
    assert_eq!(site.larder.get("/").await.status(), 502, "it counts as silent from now on");
    let origin_there = Origin::playing_at(refuses_first, |mut visit| async move {
        while visit.request().await.is_some() {}
    })
    .await;
    let mut waiting = Vec::new();
    for number in 1..=10 {
        let mut reader = site.larder.connect().await;
        reader.send(request("GET", &format!("/{number}"), "")).await;
        waiting.push(reader);
        let has_come = async || (origin_there.requests().len() == number).then_some(());
        eventually("the request", has_come).await;
    }
    let answer = site.larder.get("/eleven").await;
    assert_eq!(answer.status(), 503, "{}", answer.head);
    assert_eq!(answer.field("retry-after"), Some("5"));
    assert_eq!(origin_there.requests().len(), 10);
    assert_eq!(site.larder.metric("larder_upstream_down_total{upstream=\"app\"}").await, 1.0);
    // One answers, and all is as it was: the next ones are sent there, however many wait.
    drop(waiting);
    drop(origin);
}

#[tokio::test]
async fn what_is_slow_at_an_address_that_answers_is_no_reason_to_give_it_up() {
    let origin = Origin::playing(|mut visit| async move {
        while let Some(head) = visit.request().await {
            if !head.contains("/slow") {
                visit.send(ok(NO_STORE, "quick")).await;
            }
        }
    })
    .await;
    let text = "first_byte_timeout = \"1s\"\n[upstream.app.breaker]\nfailures = 1\n";
    let site = Site::with(&[origin.address], text).await;
    let mut waiting = Vec::new();
    for number in 1..=12 {
        let mut reader = site.larder.connect().await;
        reader.send(request("GET", &format!("/slow/{number}"), "")).await;
        let has_come = async || (origin.requests().len() >= number).then_some(());
        eventually("the request", has_come).await;
        // As others are answered meanwhile, again and again.
        waiting.push(reader);
    }
    while site.number("larder_upstream_failures_total", origin.address, ",kind=\"timeout\"").await
        < 12.0
    {
        assert_eq!(site.larder.get("/").await.text(), "quick");
    }
    for mut reader in waiting {
        assert_eq!(reader.answer().await.status(), 504);
    }
    let closed = ",state=\"closed\"";
    assert_eq!(site.number("larder_upstream_breaker", origin.address, closed).await, 1.0);
    assert_eq!(site.number("larder_upstream_ejections_total", origin.address, "").await, 0.0);
}

#[tokio::test]
async fn an_address_is_asked_at_once_when_it_is_back_if_it_is_the_only_one() {
    let address = nobody();
    let site = Site::with(&[address], QUICK).await;
    for _ in 0..20 {
        assert_eq!(site.larder.get("/").await.status(), 502);
    }
    let back = Origin::saying_at(address, ok(NO_STORE, "back")).await;
    assert_eq!(site.larder.get("/").await.text(), "back", "no back-off is waited for");
    assert_eq!(back.requests().len(), 1);
}

#[tokio::test]
async fn errors_of_the_only_address_are_its_own_to_tell() {
    let answer = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 3\r\n\r\nown";
    let origin = Origin::saying(answer).await;
    let site = Site::with(&[origin.address], QUICK).await;
    for count in 1..=20 {
        let answer = site.larder.get("/").await;
        assert_eq!((answer.status(), answer.text()), (503, "own"));
        assert_eq!(origin.requests().len(), count);
    }
}
