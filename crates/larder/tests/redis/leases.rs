//! Leases: one of all who ask fetches, and the others hear of its end.

use std::time::{Duration, Instant};

use larder::{
    lower::{Lease, LeaseAnswer, LogPart, LowerTier},
    redis::Redis,
};
use larder_test_support::{
    eventually::{eventually, until},
    redis::Redis as Server,
};
use tokio::time::timeout;

use crate::control::{tell, tier};

const NAME: &str = "larder:larder:l:key|";
const LONG: Duration = Duration::from_secs(30);

async fn asked(tier: &Redis, length: Duration) -> LeaseAnswer {
    tier.lease("key", "", LogPart::Nothing, length).await.unwrap()
}

async fn granted(tier: &Redis, length: Duration) -> Lease {
    match asked(tier, length).await {
        LeaseAnswer::Granted { lease, .. } => lease,
        LeaseAnswer::Held { .. } => panic!("somebody has it"),
    }
}

type Ended = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

async fn held(tier: &Redis) -> Ended {
    match asked(tier, LONG).await {
        LeaseAnswer::Granted { .. } => panic!("nobody had it"),
        LeaseAnswer::Held { ended, .. } => ended,
    }
}

async fn exists(server: &Server) -> bool {
    tell(server, &["EXISTS", NAME]).await
}

async fn listens(server: &Server) {
    eventually("somebody who listens", async || {
        let channel: (String, u64) =
            tell(server, &["PUBSUB", "NUMSUB", "larder:larder:leases"]).await;
        (channel.1 == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_lease_is_one_processs_until_it_gives_it_back() {
    let server = Server::start().await;
    let (one, other) = (tier(&server), tier(&server));
    let lease = granted(&one, LONG).await;
    drop(held(&other).await);
    let another = other.lease("key", "another", LogPart::Nothing, LONG).await.unwrap();
    assert!(matches!(another, LeaseAnswer::Granted { .. }), "something else is wanted");
    drop(lease);
    eventually("its end", async || (!exists(&server).await).then_some(())).await;
    drop(granted(&other, LONG).await);
}

#[tokio::test]
async fn who_waits_hears_that_it_was_given_back() {
    let server = Server::start().await;
    let (one, other) = (tier(&server), tier(&server));
    let mut took = Vec::new();
    for _ in 0..5 {
        let lease = granted(&one, LONG).await;
        let waiting = tokio::spawn(held(&other).await);
        listens(&server).await;
        let began = Instant::now();
        drop(lease);
        waiting.await.unwrap();
        took.push(began.elapsed());
    }
    took.sort();
    // Who does not hear of it looks four times a second.
    assert!(took[2] < Duration::from_millis(60), "{took:?}");
}

#[tokio::test]
async fn who_missed_the_message_finds_out_by_looking() {
    let server = Server::start().await;
    let (one, other) = (tier(&server), tier(&server));
    let lease = granted(&one, LONG).await;
    let waiting = tokio::spawn(held(&other).await);
    listens(&server).await;
    // Given back without a word.
    tell::<u64>(&server, &["DEL", NAME]).await;
    timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap();
    drop(lease);
}

#[tokio::test]
async fn the_lease_of_one_who_is_gone_ends_by_itself() {
    let server = Server::start().await;
    let other = tier(&server);
    tell::<()>(&server, &["SET", NAME, "of somebody", "PX", "300"]).await;
    timeout(Duration::from_secs(5), held(&other).await).await.unwrap();
    drop(granted(&other, LONG).await);
}

#[tokio::test]
async fn a_lease_lasts_as_long_as_it_is_wanted() {
    let server = Server::start().await;
    let (one, other) = (tier(&server), tier(&server));
    let length = Duration::from_millis(300);
    let began = Instant::now();
    let lease = granted(&one, length).await;
    while began.elapsed() < 4 * length {
        let left: i64 = tell(&server, &["PTTL", NAME]).await;
        assert!((1..=300).contains(&left), "{left} after {:?}", began.elapsed());
        tokio::time::sleep(length / 10).await;
    }
    drop(held(&other).await);
    drop(lease);
    eventually("its end", async || (!exists(&server).await).then_some(())).await;
}

#[tokio::test]
async fn a_lease_that_was_lost_is_not_taken_from_the_next() {
    let server = Server::start().await;
    let (one, other) = (tier(&server), tier(&server));
    let lost = granted(&one, LONG).await;
    tell::<()>(&server, &["FLUSHALL"]).await;
    let lease = granted(&other, LONG).await;
    drop(lost);
    // What it does about it is done when its task has ended, and that is before this one's.
    drop(granted_of(&one, "other key").await);
    eventually("the end of another", async || {
        let exists: bool = tell(&server, &["EXISTS", "larder:larder:l:other key|"]).await;
        (!exists).then_some(())
    })
    .await;
    assert!(exists(&server).await);
    drop(lease);
}

async fn granted_of(tier: &Redis, key: &str) -> Lease {
    match tier.lease(key, "", LogPart::Nothing, LONG).await.unwrap() {
        LeaseAnswer::Granted { lease, .. } => lease,
        LeaseAnswer::Held { .. } => panic!("somebody has it"),
    }
}

#[tokio::test]
async fn a_lease_that_is_granted_to_nobody_is_given_back() {
    let server = Server::start().await;
    let one = tier(&server);
    one.heads("key", LogPart::Nothing).await.unwrap();
    server.pause();
    // He does not wait for the answer, and the server has the question.
    assert!(timeout(Duration::from_millis(50), asked(&one, LONG)).await.is_err());
    server.go_on();
    // One that was asked for later on the same line was answered later.
    one.heads("key", LogPart::Nothing).await.unwrap();
    eventually("its end", async || (!exists(&server).await).then_some(())).await;
    let commands: String = tell(&server, &["INFO", "commandstats"]).await;
    assert!(commands.contains("cmdstat_set:"), "it was asked for");
}

#[tokio::test]
async fn who_waits_for_a_server_that_is_gone_goes_on() {
    let mut server = Server::start().await;
    let (one, other) = (tier(&server), tier(&server));
    let lease = granted(&one, LONG).await;
    let waiting = tokio::spawn(held(&other).await);
    listens(&server).await;
    server.kill().await;
    timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap();
    drop(lease);
}

#[tokio::test]
async fn nothing_is_left_of_those_who_have_waited() {
    let server = Server::start().await;
    let one = tier(&server);
    let lease = granted(&one, LONG).await;
    let waiting = held(&one).await;
    let waiting = tokio::spawn(waiting);
    listens(&server).await;
    waiting.abort();
    drop(lease);
    drop(one);
    // Its connections end with the tier.
    eventually("no connection but the test's own", async || {
        let clients: String = tell(&server, &["CLIENT", "LIST"]).await;
        (clients.lines().count() == 1).then_some(())
    })
    .await;
    until("the end of the task", || waiting.is_finished()).await;
}
