//! Refusals: what a real server says in place of an answer, and what becomes of reads, writes and purges.

use std::{collections::BTreeMap, time::Duration};

use larder::{
    Cache,
    codec::Text,
    lower::{LogPart, LowerError, LowerTier, Settings},
    redis::Redis,
};
use larder_test_support::{eventually::eventually, redis::Redis as Server};

use crate::control::{purge, tell, tier};

fn refusals(tier: &Redis) -> BTreeMap<&'static str, u64> {
    tier.refusals().filter(|(_, count)| *count > 0).collect()
}

/// Until a purge is refused so, and that is counted. Others may be on their way.
async fn is_refused(one: &Redis, answer: &str) -> LowerError {
    eventually(answer, async || {
        let refused = one.append(&[purge(1)]).await.err();
        refused.filter(|_| refusals(one).contains_key(answer))
    })
    .await
}

/// Until purges are taken again.
async fn goes_on(one: &Redis) {
    eventually("a purge that is taken", async || one.append(&[purge(2)]).await.ok()).await;
    one.heads("key", LogPart::Nothing).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_full_answers_those_who_read_and_takes_purges_once_it_has_room() {
    let server = Server::start().await;
    let one = tier(&server);
    let filled = Cache::<String>::builder().lower(one.clone(), Text).build();
    filled.get_or_fetch("key", async || "value".to_owned()).await;
    eventually("it to be below", async || (filled.stats().lower.writes == 1).then_some(())).await;

    // Nobody gets trust from a full server: without it each read brings the log as well.
    let settings = Settings { failures: 3, ..Settings::default() };
    let cache = Cache::<String>::builder().lower_with(one.clone(), Text, settings).build();
    eventually("trust", async || cache.stats().lower.is_trusted.then_some(())).await;
    tell::<String>(&server, &["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    tell::<String>(&server, &["CONFIG", "SET", "maxmemory", "1mb"]).await;
    let refused = is_refused(&one, "full").await;
    assert!(matches!(refused, LowerError::TakesNoWrites(_)), "{refused:?}");

    // Many writes fail, one after the other, and no reader is told that the tier is left alone.
    for number in 0..20 {
        cache.get_or_fetch(&*format!("{number}"), async || "other".to_owned()).await;
        cache.remove(format!("purged {number}"));
    }
    eventually("writes that fail", async || (refusals(&one)["full"] > 10).then_some(())).await;
    cache.resize(0);
    cache.resize(1 << 20);
    let found = cache.get_or_fetch("key", async || "fetched".to_owned()).await;
    assert_eq!(found, "value");
    let lower = cache.stats().lower;
    assert_eq!(lower.left_alone, 0, "{lower:?}");
    assert!(lower.purges_outstanding > 0, "{lower:?}");

    tell::<String>(&server, &["CONFIG", "SET", "maxmemory", "0"]).await;
    goes_on(&one).await;
    eventually("all purges to be sent", async || {
        (cache.stats().lower.purges_outstanding == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_server_without_its_replicas_takes_no_purges_and_answers_those_who_read() {
    let server = Server::start().await;
    let one = tier(&server);
    goes_on(&one).await;
    tell::<String>(&server, &["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
    let refused = is_refused(&one, "no_replicas").await;
    assert!(matches!(refused, LowerError::TakesNoWrites(_)), "{refused:?}");
    one.heads("key", LogPart::Nothing).await.unwrap();
    tell::<String>(&server, &["CONFIG", "SET", "min-replicas-to-write", "0"]).await;
    goes_on(&one).await;
}

#[tokio::test]
async fn a_server_that_follows_another_is_not_asked_and_one_that_leads_again_is() {
    let (server, primary) = (Server::start().await, Server::start().await);
    let one = tier(&server);
    goes_on(&one).await;
    let port = primary.port().to_string();
    tell::<String>(&server, &["REPLICAOF", "127.0.0.1", &port]).await;
    let refused = is_refused(&one, "read_only").await;
    assert!(matches!(refused, LowerError::Failed(_)), "{refused:?}");
    tell::<String>(&server, &["REPLICAOF", "NO", "ONE"]).await;
    goes_on(&one).await;
}

#[tokio::test]
async fn a_server_whose_primary_is_away_says_so_and_is_no_log_that_is_gone() {
    let server = Server::start().await;
    let one = tier(&server);
    let before = one.append(&[purge(1)]).await.unwrap();
    tell::<String>(&server, &["CONFIG", "SET", "replica-serve-stale-data", "no"]).await;
    // Nobody is there.
    tell::<String>(&server, &["REPLICAOF", "127.0.0.1", "1"]).await;
    is_refused(&one, "master_down").await;
    assert!(one.heads("key", LogPart::Nothing).await.is_err());
    tell::<String>(&server, &["REPLICAOF", "NO", "ONE"]).await;
    goes_on(&one).await;
    let after = one.tail(Some(before)).await.unwrap();
    assert!(after.position.number > before.number, "{after:?}");
}

#[tokio::test]
async fn a_server_that_is_loading_is_waited_for() {
    let server = Server::start().await;
    let one = tier(&server);
    for number in 0..60 {
        let value = "x".repeat(4 << 10);
        tell::<String>(&server, &["SET", &format!("loaded {number}"), &value]).await;
    }
    goes_on(&one).await;
    tell::<String>(&server, &["CONFIG", "SET", "rdbcompression", "no"]).await;
    // A twentieth of a second for each key, in which others are answered.
    tell::<String>(&server, &["CONFIG", "SET", "key-load-delay", "50000"]).await;
    tell::<String>(&server, &["CONFIG", "SET", "loading-process-events-interval-bytes", "1024"])
        .await;
    let reload = async { assert_eq!(server.tell(&["DEBUG", "RELOAD"]).await, "+OK") };
    let asking = async {
        is_refused(&one, "loading").await;
        assert!(one.heads("key", LogPart::Nothing).await.is_err());
    };
    tokio::join!(reload, asking);
    goes_on(&one).await;
}

#[tokio::test]
async fn a_server_that_runs_a_script_for_ever_is_left_alone_until_that_ends() {
    let server = Server::start().await;
    let one = tier(&server);
    goes_on(&one).await;
    tell::<String>(&server, &["CONFIG", "SET", "busy-reply-threshold", "10"]).await;
    let url = server.url();
    let running = tokio::spawn(async move {
        let client = ::redis::Client::open(url).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut endless = ::redis::cmd("EVAL");
        endless.arg("while true do end").arg(0);
        endless.query_async::<()>(&mut connection).await
    });
    let refused = is_refused(&one, "busy").await;
    assert!(matches!(refused, LowerError::Failed(_)), "{refused:?}");
    assert!(one.heads("key", LogPart::Nothing).await.is_err());
    assert_eq!(server.tell(&["SCRIPT", "KILL"]).await, "+OK");
    goes_on(&one).await;
    // Given up by its client, or ended by the server.
    tokio::time::timeout(Duration::from_secs(60), running).await.unwrap().unwrap().unwrap_err();
}

#[tokio::test]
async fn a_cluster_without_slots_says_so_and_is_no_log_that_is_gone() {
    let server = Server::start_with(&["--save", "", "--cluster-enabled", "yes"]).await;
    let one = tier(&server);
    is_refused(&one, "cluster_down").await;
    assert!(one.heads("key", LogPart::Nothing).await.is_err());
    let all: Vec<String> = (0..16384).map(|slot| slot.to_string()).collect();
    let add: Vec<&str> =
        ["CLUSTER", "ADDSLOTS"].into_iter().chain(all.iter().map(|it| &**it)).collect();
    assert_eq!(server.tell(&add).await, "+OK");
    goes_on(&one).await;
}

#[tokio::test]
async fn a_script_that_the_server_has_forgotten_costs_one_more_question_and_is_counted() {
    let server = Server::start().await;
    let one = tier(&server);
    goes_on(&one).await;
    tell::<String>(&server, &["SCRIPT", "FLUSH"]).await;
    let before = refusals(&one)["no_script"];
    one.append(&[purge(3)]).await.unwrap();
    assert_eq!(refusals(&one)["no_script"], before + 1);
    one.append(&[purge(4)]).await.unwrap();
    assert_eq!(refusals(&one)["no_script"], before + 1);
}
