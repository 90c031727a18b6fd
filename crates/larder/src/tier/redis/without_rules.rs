//! Without rules: what a real server and its replicas would be believed if a rule were not kept ([`Rule`]).

#![expect(clippy::unwrap_used, reason = "in a test, an unwrap that fails is the failed test")]

use std::time::Duration;

use larder_test_support::{eventually::eventually, redis::Redis as Server};

use super::Redis;
use crate::{
    purge::{Mode, Replication, Scope},
    rules::Rule,
    tier::lower::{LowerPurge, LowerTier, PurgeId, Reader, Readers},
};

const TRUST: Duration = Duration::from_secs(1);

fn tier(server: &Server) -> Redis {
    Redis::options(&server.url()).max_incoherence(TRUST).connect().unwrap()
}

fn purge(number: u64) -> LowerPurge {
    let scopes = vec![Scope::Key(number.to_string())];
    LowerPurge { id: PurgeId { source: 1, number }, scopes, mode: Mode::Hard }
}

/// Whether a purge is said to hold for all while somebody who was cut off goes by what the server knew before it was emptied.
async fn holds_though_somebody_may_not_have_heard(server: &Server) -> bool {
    let (one, cut_off) = (tier(server), tier(server));
    let [reader, silent] = [1, 2].map(|id| Reader { id, name: id.to_string() });
    for (tier, reader) in [(&one, &reader), (&cut_off, &silent)] {
        let position = tier.renew(reader, None).await.unwrap();
        tier.renew(reader, Some(position)).await.unwrap();
    }
    assert_eq!(server.tell(&["FLUSHALL"]).await, "+OK");
    let anew = Redis::options(&server.url()).max_incoherence(TRUST).connect().unwrap();
    let position = anew.append(&[purge(1)]).await.unwrap();
    anew.renew(&reader, Some(position)).await.unwrap();
    let holds = anew.holds(position, Duration::from_millis(50)).await;
    holds.is_ok_and(|holds| holds.missing.is_empty())
}

#[tokio::test]
async fn nothing_holds_before_all_can_have_heard_of_a_new_log_by_its_rule() {
    let server = Server::start().await;
    assert!(!holds_though_somebody_may_not_have_heard(&server).await);
    let _off = Rule::ReceiptsWaitAfterAChange.turn_off();
    assert!(holds_though_somebody_may_not_have_heard(&server).await);
}

#[tokio::test]
async fn a_purge_is_replicated_where_a_replica_says_so_by_its_rule() {
    let primary = Server::start().await;
    let port = primary.port().to_string();
    let replica = Server::start_with(&["--replicaof", "127.0.0.1", &port]).await;
    let one = tier(&primary);
    let said = async |number| {
        let position = one.append(&[purge(number)]).await.unwrap();
        one.copies(position).await.unwrap().replication
    };
    let mut number = 0;
    eventually("a replica that has it", async || {
        number += 1;
        (said(number).await == Replication::Replicated).then_some(())
    })
    .await;
    replica.pause();
    assert_eq!(said(1000).await, Replication::Unreplicated);
    // Such an answer is gone by for a quarter of a second.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let off = Rule::ReplicasAreAsked.turn_off();
    assert_eq!(said(1001).await, Replication::Replicated, "nobody has it");
    drop(off);
    replica.go_on();
}
