//! Copies: what a receipt says of replicas.

use std::time::Duration;

use larder::{
    Cache, Doubt, Purge, Replication, Tier,
    codec::Text,
    lower::{Copies, LowerTier, OutboxFile},
};
use larder_test_support::{eventually::eventually, redis::Redis as Server};

use crate::control::{Instance, purge, tell, tier};

const SINGLE: Copies = Copies { replication: Replication::Single, doubt: None };

/// What is said of a purge with this number that is appended now.
pub(crate) async fn copies(one: &Instance, number: u64) -> Option<Copies> {
    let position = one.tier.append(&[purge(number)]).await.ok()?;
    one.tier.copies(position).await.ok()
}

async fn replica_of(primary: &Server) -> Server {
    Server::start_with(&["--replicaof", "127.0.0.1", &primary.port().to_string()]).await
}

async fn is_replicated(one: &Instance) -> Copies {
    eventually("a replica that has said that it has it", async || {
        let copies = copies(one, 1).await?;
        (copies.replication == Replication::Replicated).then_some(copies)
    })
    .await
}

#[tokio::test]
async fn a_purge_is_replicated_once_a_replica_has_it_and_a_late_one_is_asked_again() {
    let primary = Server::start().await;
    let one = Instance::new(tier(&primary), 1);
    assert_eq!(copies(&one, 1).await, Some(SINGLE));
    let replica = replica_of(&primary).await;
    is_replicated(&one).await;
    let before = one.tier.unreplicated();
    replica.pause();
    let position = one.tier.append(&[purge(2)]).await.unwrap();
    for _ in 0..3 {
        let said = one.tier.copies(position).await.unwrap();
        assert_eq!(said.replication, Replication::Unreplicated);
    }
    assert_eq!(one.tier.unreplicated(), before + 1, "it is one, however often that is asked");
    replica.go_on();
    // Without another purge.
    eventually("the replica to have it", async || {
        let said = one.tier.copies(position).await.unwrap();
        (said.replication == Replication::Replicated).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_server_that_has_lost_sight_of_its_replicas_is_not_one_that_has_none() {
    let primary = Server::start().await;
    let one = Instance::new(tier(&primary), 1);
    let mut replica = replica_of(&primary).await;
    is_replicated(&one).await;
    let folder = tempfile::tempdir().unwrap();
    let file = OutboxFile::open(folder.path().join("outbox")).unwrap();
    let cache = Cache::<String>::builder().lower(tier(&primary), Text).outbox(file).build();
    let purge = || Purge::key("key").hard().wait(Tier::Shared);
    let within = Duration::from_secs(1);
    eventually("a receipt that knows of the replica", async || {
        let receipt = cache.purge_within(purge(), within).await.unwrap();
        (receipt.tiers.last()?.replication == Some(Replication::Replicated)).then_some(())
    })
    .await;
    replica.kill().await;
    eventually("the server to notice", async || {
        let info: String = tell(&primary, &["INFO", "replication"]).await;
        info.contains("connected_slaves:0").then_some(())
    })
    .await;
    // It may be put in the server's place, without this.
    for _ in 0..3 {
        let receipt = cache.purge_within(purge(), within).await.unwrap();
        let shared = receipt.tiers.last().unwrap();
        assert_eq!(shared.replication, Some(Replication::Unreplicated), "{receipt}");
        assert_eq!(shared.doubt, Some(Doubt::MinReplicasToWrite), "{receipt}");
    }
    assert!(cache.stats().lower.outbox_file_bytes > 0);
}

#[tokio::test]
async fn what_no_replica_has_stays_in_the_outbox_on_disk_until_one_has() {
    let primary = Server::start().await;
    let one = Instance::new(tier(&primary), 1);
    one.tier.append(&[purge(1)]).await.unwrap();
    let replica = replica_of(&primary).await;
    is_replicated(&one).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("outbox");
    let builder = Cache::<String>::builder().lower(tier(&primary), Text);
    let cache = builder.outbox(OutboxFile::open(&file).unwrap()).build();
    replica.pause();
    let within = Duration::from_millis(500);
    let purge = Purge::key("key").hard().wait(Tier::Shared);
    let receipt = cache.purge_within(purge, within).await.unwrap();
    let shared = receipt.tiers.last().unwrap();
    assert_eq!(shared.replication, Some(Replication::Unreplicated), "{receipt}");
    assert_eq!(shared.doubt, Some(Doubt::MinReplicasToWrite), "{receipt}");
    assert_eq!((&shared.outbox, cache.stats().lower.purges_outstanding), (&None, 0));
    assert!(cache.stats().lower.outbox_file_bytes > 0);
    replica.go_on();
    eventually("the file to be empty", async || {
        (cache.stats().lower.outbox_file_bytes == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_server_that_may_lose_what_it_has_acknowledged_says_so() {
    let primary = Server::start().await;
    let one = Instance::new(tier(&primary), 1);
    let doubt = Some(Doubt::MinReplicasToWrite);
    let first = replica_of(&primary).await;
    assert_eq!(is_replicated(&one).await.doubt, doubt);
    tell::<()>(&primary, &["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
    let mut number = 10;
    let mut said = async || {
        number += 1;
        copies(&one, number).await.map(|copies| copies.doubt)
    };
    assert_eq!(said().await, Some(None));
    // Of three, one is not enough: two others may be promoted without it.
    let others = [replica_of(&primary).await, replica_of(&primary).await];
    eventually("three replicas", async || {
        let info: String = tell(&primary, &["INFO", "replication"]).await;
        (info.matches("state=online").count() == 3).then_some(())
    })
    .await;
    assert_eq!(said().await, Some(doubt));
    // Cut off with one of them it sees a single replica, and the others may be promoted all the same.
    drop(others);
    eventually("one replica", async || {
        let info: String = tell(&primary, &["INFO", "replication"]).await;
        info.contains("connected_slaves:1").then_some(())
    })
    .await;
    assert_eq!(said().await, Some(doubt));
    drop(first);
}

#[tokio::test]
async fn a_server_goes_on_without_replicas_for_as_long_as_it_says() {
    let primary = Server::start().await;
    let one = Instance::new(tier(&primary), 1);
    let _replica = replica_of(&primary).await;
    is_replicated(&one).await;
    let lag = || one.tier.figures().replication_lag;
    assert_eq!(lag(), Duration::ZERO, "it never stops, which is a doubt");
    for (setting, value) in [("min-replicas-max-lag", "3"), ("min-replicas-to-write", "1")] {
        tell::<()>(&primary, &["CONFIG", "SET", setting, value]).await;
    }
    one.tier.append(&[purge(50)]).await.unwrap();
    assert_eq!(lag(), Duration::from_secs(10), "what is usual, before it was asked");
    let mut number = 50;
    eventually("what it says", async || {
        number += 1;
        copies(&one, number).await;
        (lag() == Duration::from_secs(3)).then_some(())
    })
    .await;
}
