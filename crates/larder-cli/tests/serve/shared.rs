//! Several gateways above one Redis: they share what they have, a purge at one reaches all, and without it they go on.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{
    Redis, Wire,
    answer::Answer,
    eventually,
    larder::Larder,
    origin::{Origin, ok},
};

/// What the origin answers with is another body each time.
async fn counting_origin() -> Origin {
    let count = Arc::new(AtomicUsize::new(0));
    Origin::answering(move |_| {
        let number = count.fetch_add(1, Ordering::Relaxed) + 1;
        ok("cache-control: max-age=600\r\ncache-tag: posts\r\n", format!("answer {number}"))
    })
    .await
}

async fn two(origin: &Origin, redis: &Redis) -> [Larder; 2] {
    let url = redis.url();
    let flags = ["--shared", url.as_str(), "--max-incoherence", "2s"];
    let both =
        [Larder::with(origin.address, &flags).await, Larder::with(origin.address, &flags).await];
    for larder in &both {
        larder.told(&format!("Redis at 127.0.0.1:{} answers", redis.port())).await;
    }
    both
}

/// Fetches `/a` through `larder`, until it lies in the shared tier.
async fn fetched(larder: &Larder) -> Answer {
    const WRITTEN: &str = r#"larder_lower_writes_total{cache="gateway",outcome="written"}"#;
    let written = larder.metric(WRITTEN).await;
    let answer = larder.get("/a").await;
    eventually("a write below", async || (larder.metric(WRITTEN).await > written).then_some(()))
        .await;
    answer
}

fn detail(answer: &Answer) -> &str {
    let said = answer.field("cache-status").unwrap();
    said.rsplit_once("detail=").map_or(said, |(_, detail)| detail)
}

/// What the shared tier's receipt says of a purge.
async fn purge(larder: &Larder, body: Value) -> Value {
    let answer = larder.post_to_admin("/v1/purge", &body.to_string()).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let answer: Value = serde_json::from_str(answer.text()).unwrap();
    answer["receipts"][0]["tiers"][1].clone()
}

async fn purged_by_all(larder: &Larder, of: usize) {
    let body = json!({"tags": ["posts"], "mode": "hard", "wait": "shared"});
    let held = json!({
        "tier": "shared", "state": "applied", "by": of, "of": of, "replication": "single"
    });
    let mut said = purge(larder, body).await;
    let position = said.as_object_mut().unwrap().remove("position").expect("the server has it");
    assert!(position["number"].as_u64() > Some(0), "{position}");
    assert_eq!(said, held);
}

#[tokio::test]
async fn what_one_gateway_has_fetched_another_serves_and_a_purge_at_one_holds_at_both() {
    let (origin, redis) = (counting_origin().await, Redis::start().await);
    let [one, other] = two(&origin, &redis).await;
    let answer = fetched(&one).await;
    assert_eq!((answer.text(), detail(&answer)), ("answer 1", "uri-miss"));
    for expected in ["shared", "hit"] {
        let answer = other.get("/a").await;
        assert_eq!((answer.text(), detail(&answer)), ("answer 1", expected));
        assert!(answer.handling().starts_with("hit"), "{}", answer.head);
    }
    assert_eq!(origin.requests().len(), 1);
    assert_eq!(one.metric("larder_shared_unreplicated_total").await, 0.0);

    purged_by_all(&one, 2).await;
    for larder in [&other, &one] {
        let answer = larder.get("/a").await;
        assert_eq!(answer.text(), "answer 2", "{}", answer.head);
    }
}

#[tokio::test]
async fn one_cold_url_asked_for_at_both_gateways_is_one_request_to_the_origin() {
    let (origin, redis) = (counting_origin().await, Redis::start().await);
    let both = two(&origin, &redis).await;
    let readers: Vec<_> = (0..20).map(|number| both[number % 2].address).collect();
    let readers = readers.into_iter().map(|address| {
        tokio::spawn(async move {
            let mut wire = Wire::connect(address).await;
            wire.send("GET /a HTTP/1.1\r\nhost: larder.test\r\nconnection: close\r\n\r\n").await;
            wire.answer().await
        })
    });
    for reader in readers.collect::<Vec<_>>() {
        assert_eq!(reader.await.unwrap().text(), "answer 1");
    }
    assert_eq!(origin.requests().len(), 1);
}

#[tokio::test]
async fn while_redis_is_away_no_request_fails_and_afterwards_both_agree_again() {
    let (origin, mut redis) = (counting_origin().await, Redis::start().await);
    let [one, other] = two(&origin, &redis).await;
    fetched(&one).await;
    assert_eq!(other.get("/a").await.text(), "answer 1");

    redis.kill().await;
    let away = format!("Redis at 127.0.0.1:{} does not answer", redis.port());
    for larder in [&one, &other] {
        for path in ["/a", "/b", "/c"] {
            assert_eq!(larder.get(path).await.status(), 200);
        }
        assert_eq!(larder.told(&away).await, 1);
        // Longer than what is in memory is served without hearing of it.
        let distrust = r#"larder_lower_trusted{cache="gateway"}"#;
        let lapsed = async || (larder.metric(distrust).await == 0.0).then_some(());
        eventually("the end of trust", lapsed).await;
        for path in ["/a", "/b", "/c", "/d"] {
            assert_eq!(larder.get(path).await.status(), 200);
        }
        let ready = larder.get_from_admin("/readyz").await;
        assert_eq!(ready.status(), 200);
        assert!(
            ready.text().contains("the shared tier of gateway has not answered"),
            "{}",
            ready.text()
        );
        // Told when it comes back.
        let sent = purge(larder, json!({"tags": ["posts"], "mode": "hard"})).await;
        assert_eq!(sent["tier"], "shared");
        assert_ne!(sent["state"], "applied", "{sent}");
    }

    redis.start_again().await;
    for larder in [&one, &other] {
        assert_eq!(larder.told("answers again").await, 1);
        assert_eq!(larder.log().matches(&away).count(), 1, "{}", larder.log());
    }
    // It has lost its list of readers; both renew.
    let both = async || {
        let body = json!({"tags": ["posts"], "mode": "hard", "wait": "shared"});
        let receipt = purge(&one, body).await;
        (receipt["state"] == "applied" && receipt["of"] == 2).then_some(())
    };
    eventually("a purge that holds at both", both).await;
    let (new, shared) = (fetched(&one).await, other.get("/a").await);
    assert_eq!((new.text(), detail(&shared)), (shared.text(), "shared"));
}

#[tokio::test]
async fn a_gateway_starts_without_redis_and_says_when_it_is_there() {
    let (origin, mut redis) = (counting_origin().await, Redis::start().await);
    redis.kill().await;
    let url = redis.url();
    let larder = Larder::with(origin.address, &["--shared", &url]).await;
    larder.told("does not answer").await;
    for _ in 0..2 {
        // No purge waits for a gateway that no list has, so it keeps nothing.
        let answer = larder.get("/a").await;
        assert_eq!((answer.status(), detail(&answer)), (200, "uri-miss"));
    }
    redis.start_again().await;
    larder.told("answers again").await;
    fetched(&larder).await;
    assert_eq!(detail(&larder.get("/a").await), "hit");
    assert_eq!(larder.log().matches("Redis at").count(), 3, "{}", larder.log());
}

#[tokio::test]
async fn a_gateway_that_stops_in_order_is_waited_for_by_no_purge() {
    let (origin, redis) = (counting_origin().await, Redis::start().await);
    let [one, other] = two(&origin, &redis).await;
    purged_by_all(&one, 2).await;
    other.signal(Signal::TERM);
    assert_eq!(other.exit().await, Some(0));
    purged_by_all(&one, 1).await;
}

#[tokio::test]
async fn the_password_comes_from_the_environment_or_a_file_and_is_in_no_line() {
    let (origin, redis) = (counting_origin().await, Redis::start().await);
    let mut wire = Wire::connect(([127, 0, 0, 1], redis.port()).into()).await;
    wire.send("CONFIG SET requirepass hidden\r\n").await;
    assert_eq!(wire.until("\r\n").await, "+OK\r\n");
    let (url, folder) = (redis.url(), tempfile::tempdir().unwrap());
    let file = folder.path().join("password");
    std::fs::write(&file, "hidden\n").unwrap();
    let with_url = url.replace("redis://", "redis://:hidden@");
    let shared = ["--shared", url.as_str()];
    let of_file = [&shared[..], &["--shared-password-file", file.to_str().unwrap()]].concat();
    for (flags, variables) in [
        (&shared[..], vec![("LARDER_SHARED_PASSWORD", "hidden")]),
        (&of_file[..], vec![]),
        (&[], vec![("LARDER_SHARED", with_url.as_str())]),
    ] {
        let larder = Larder::with_variables(origin.address, flags, &variables).await;
        larder.told(&format!("Redis at 127.0.0.1:{} answers", redis.port())).await;
        assert!(!larder.log().contains("hidden"), "{}", larder.log());
    }
    let wrong = [("LARDER_SHARED_PASSWORD", "hidden too"), ("LARDER_LOG", "debug")];
    let larder = Larder::with_variables(origin.address, &shared, &wrong).await;
    larder.told("Password authentication failed").await;
    assert_eq!(larder.get("/a").await.status(), 200);
    assert!(!larder.log().contains("hidden"), "{}", larder.log());
}

#[tokio::test]
async fn a_user_with_the_rights_that_the_documentation_names_is_enough() {
    let (origin, redis) = (counting_origin().await, Redis::start().await);
    let mut wire = Wire::connect(([127, 0, 0, 1], redis.port()).into()).await;
    let rights = "+@all -@dangerous +info ~larder* ~{larder:* &larder*";
    assert!(include_str!("../../../../docs/shared.md").contains("+@all -@dangerous +info"));
    wire.send(format!("ACL SETUSER cache on >hidden {rights}\r\n")).await;
    assert_eq!(wire.until("\r\n").await, "+OK\r\n");
    let url = redis.url();
    let flags = ["--shared", url.as_str(), "--shared-user", "cache"];
    let variables = [("LARDER_SHARED_PASSWORD", "hidden")];
    let larder = Larder::with_variables(origin.address, &flags, &variables).await;
    larder.told(&format!("Redis at 127.0.0.1:{} answers", redis.port())).await;
    fetched(&larder).await;
    purged_by_all(&larder, 1).await;
    const LOST: &str = r#"larder_lower_calls_lost_total{cache="gateway",cause="failed"}"#;
    assert_eq!(larder.metric(LOST).await, 0.0, "{}", larder.log());
}
