//! Failing: CDNs that refuse, that are silent, and that want to be left alone; and what receipts say meanwhile.

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    api::api,
    crash::Told,
    site::{Site, state},
    support::{
        eventually,
        larder::run,
        origin::{Origin, ok},
    },
};

const OUTBOX: &str = "[outbox]\nsettle = \"0s\"\n";

fn larder_at(cdn: &Origin) -> String {
    format!("[[cdn]]\n[cdn.larder]\napi = \"http://{}\"\n{OUTBOX}", cdn.address)
}

async fn pages() -> Origin {
    Origin::saying(ok("cache-control: max-age=600\r\n", "page")).await
}

#[tokio::test]
async fn a_cdn_that_refuses_is_in_the_receipt_with_its_reason() {
    let (origin, refusing) =
        (pages().await, Origin::saying("HTTP/1.1 405 No\r\ncontent-length: 0\r\n\r\n").await);
    let site = Site::before(origin.address, &larder_at(&refusing)).await;
    let story = site.purge(json!({ "tags": ["a"] }), Duration::from_secs(30)).await;
    let cdn = &story["tiers"]["cdn"][0];
    assert_eq!((&cdn["state"], &cdn["reason"]), (&json!("failed"), &json!("405")), "{story}");
    assert_eq!(site.larder.metric("larder_cdn_purges_failed_total{cdn=\"larder\"}").await, 1.0);
}

/// A key that was exchanged, or a token that is renewed late, is not the purge's fault.
#[tokio::test]
async fn a_cdn_that_does_not_take_the_credentials_is_told_when_it_does() {
    let origin = pages().await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "the-old-one\n").unwrap();
    let cdn = api(move |head, _| {
        Some(match head.to_ascii_lowercase().contains("authorization: bearer the-new-one\r\n") {
            true => ok("content-type: application/json\r\n", "{}"),
            false => b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n".to_vec(),
        })
    })
    .await;
    let cdn = format!(
        "[[cdn]]\n[cdn.larder]\napi = \"http://{}\"\ntoken_file = \"{}\"\n{OUTBOX}",
        cdn.address,
        token.display()
    );
    let site = Site::before(origin.address, &cdn).await;
    let story = site.purge(json!({ "tags": ["a"] }), Duration::from_secs(1)).await;
    assert_eq!((state(&story), &story["tiers"]["cdn"][0]["reason"]), ("sent", &json!("403")));
    site.larder.told("does not take its credentials").await;
    // Nobody has to be told that it was renewed.
    fs::write(&token, "the-new-one\n").unwrap();
    let id = story["id"].as_str().unwrap();
    eventually("it to be confirmed", async || {
        (state(&site.story(id).await) == "confirmed").then_some(())
    })
    .await;
}

/// What no cache can keep brings no old copy anywhere.
#[tokio::test]
async fn an_event_stream_that_never_ends_keeps_no_purge_waiting() {
    let origin = Origin::playing(|mut visit| async move {
        while visit.request().await.is_some() {
            let head = "HTTP/1.1 200 OK\r\ncache-control: no-store\r\ncontent-type: text/event-stream\r\n\r\n";
            visit.send(format!("{head}data: 1\n\n")).await;
            std::future::pending::<()>().await;
        }
    })
    .await;
    let told = Told::default();
    told.is_up.store(true, SeqCst);
    let cdn = told.serve().await;
    let site = Site::before(origin.address, &larder_at(&cdn)).await;
    let mut reader = site.larder.connect().await;
    reader.send("GET /events HTTP/1.1\r\nhost: a\r\n\r\n").await;
    reader.until("data: 1").await;
    let story = site.purge(json!({ "tags": ["a"] }), Duration::from_secs(10)).await;
    assert_eq!(state(&story), "confirmed", "{story}");
    assert_eq!(told.calls.load(SeqCst), 1, "no answer was waited for: {story}");
    assert_eq!(site.larder.metric("larder_cdn_old_answers_overrun_total").await, 0.0);
}

/// Where an edge may be filled from within for a while.
#[tokio::test]
async fn after_its_propagation_time_a_cdn_is_told_once_more() {
    let origin = pages().await;
    let times = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&times);
    let cdn = api(move |_, _| {
        noted.lock().unwrap().push(Instant::now());
        Some(ok("content-type: application/json\r\n", "{}"))
    })
    .await;
    let cdn = format!(
        "[[cdn]]\npropagation = \"1s\"\n[cdn.larder]\napi = \"http://{}\"\n{OUTBOX}",
        cdn.address
    );
    let site = Site::before(origin.address, &cdn).await;
    let story = site.purge(json!({ "tags": ["a"] }), Duration::from_secs(30)).await;
    assert_eq!(state(&story), "confirmed", "{story}");
    let times = times.lock().unwrap().clone();
    assert_eq!(times.len(), 2, "{story}");
    assert!(times[1] - times[0] >= Duration::from_secs(1), "{times:?}");
}

#[tokio::test]
async fn one_tag_that_a_cdn_does_not_take_keeps_no_other_from_it() {
    let origin = pages().await;
    // It takes no request with the tag "bad" in it.
    let picky = Origin::playing(|visit| async move {
        let mut wire = visit.into_wire();
        while wire.has_more().await {
            let head = wire.head().await;
            let Some(body) = wire.body(&head).await else { return };
            let is_bad = String::from_utf8_lossy(&body).contains("\"bad\"");
            let answer = match is_bad {
                true => b"HTTP/1.1 422 No\r\ncontent-length: 0\r\n\r\n".to_vec(),
                false => ok("", "{}"),
            };
            if wire.try_send(answer).await.is_err() {
                return;
            }
        }
    })
    .await;
    let site = Site::before(origin.address, &larder_at(&picky)).await;
    let story = site.purge(json!({ "tags": ["a", "bad", "b"] }), Duration::from_secs(30)).await;
    let cdn = &story["tiers"]["cdn"][0];
    assert_eq!((&cdn["confirmed"], &cdn["failed"]), (&json!(2), &json!(1)), "{story}");
    assert_eq!(state(&story), "failed");
}

#[tokio::test]
async fn a_cdn_that_is_not_there_is_told_when_it_is() {
    let (origin, told) = (pages().await, Told::default());
    let cdn = told.serve().await;
    let site = Site::before(origin.address, &larder_at(&cdn)).await;
    let story = site.purge(json!({ "tags": ["a"] }), Duration::from_millis(100)).await;
    assert!(matches!(state(&story), "queued" | "sent"), "{story}");
    let id = story["id"].as_str().unwrap().to_owned();
    told.is_up.store(true, SeqCst);
    let story = eventually("it to be confirmed", async || {
        let story = site.story(&id).await;
        (state(&story) == "confirmed").then_some(story)
    })
    .await;
    assert_eq!(story["by"], "admin API, 127.0.0.1", "{story}");
    assert!(told.tags.lock().unwrap().iter().all(|tag| tag == "a"));
}

#[tokio::test]
async fn retry_after_is_waited_for_and_nothing_is_asked_meanwhile() {
    let origin = pages().await;
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let busy = Origin::answering(|_| match CALLS.fetch_add(1, SeqCst) {
        0 => b"HTTP/1.1 429 Slow\r\nretry-after: 3600\r\ncontent-length: 0\r\n\r\n".to_vec(),
        _ => ok("", "{}"),
    })
    .await;
    let site = Site::before(origin.address, &larder_at(&busy)).await;
    let story = site.purge(json!({ "tags": ["a"] }), Duration::from_millis(1500)).await;
    assert_eq!(state(&story), "sent", "{story}");
    assert_eq!(story["tiers"]["cdn"][0]["reason"], "429", "{story}");
    assert_eq!(CALLS.load(SeqCst), 1);
}

#[tokio::test]
async fn the_command_waits_for_cdns_and_says_how_far_each_tier_is() {
    let (origin, told) = (pages().await, Told::default());
    told.is_up.store(true, SeqCst);
    let cdn = told.serve().await;
    let site = Site::before(origin.address, &larder_at(&cdn)).await;
    let admin = site.larder.admin().to_string();
    let purge = ["purge", "--admin", &admin, "--tag", "post:1", "--wait", "cdn"];
    let exit = run(&purge).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert!(exit.out.contains("  memory  applied by 1 of 1\n"), "{exit:?}");
    assert!(exit.out.contains("  cdn     larder confirmed"), "{exit:?}");
    told.is_up.store(false, SeqCst);
    let exit = run(&[&purge[..], &["--timeout", "200ms"]].concat()).await;
    assert_eq!(exit.code, Some(1), "{exit:?}");
    assert!(exit.log.contains("larder sent"), "{exit:?}");
    let unknown = Site::before(origin.address, "").await;
    let admin = unknown.larder.admin().to_string();
    let exit = run(&["purge", "--admin", &admin, "--tag", "a", "--wait", "cdn"]).await;
    assert_eq!(exit.code, Some(2), "{exit:?}");
    assert!(exit.log.contains("no tier cdn"), "{exit:?}");
}
