//! Cluster: the log on one of several servers, among which keys are divided.

use std::time::Duration;

use larder::{
    Replication,
    lower::{LowerTier, Readers},
    redis::Redis,
};
use larder_test_support::{eventually::eventually, redis::Redis as Server};

use crate::{
    control::{Instance, all_keep_up, purge, tell, told},
    copies::copies,
    topologies::{cluster, node},
};

const SLOTS: usize = 16384;

fn instance(servers: &[Server], number: u64) -> Instance {
    let all: Vec<_> = servers.iter().map(|it| format!("127.0.0.1:{}", it.port())).collect();
    let url = format!("redis+cluster://{}", all.join(","));
    Instance::new(Redis::connect(&url).unwrap(), number)
}

/// Moves a slot with all that is in it.
async fn move_slot(from: &Server, to: &Server, slot: usize, others: &[Server]) {
    let slot = slot.to_string();
    let id = async |server| tell::<String>(server, &["CLUSTER", "MYID"]).await;
    let (source, target) = (id(from).await, id(to).await);
    tell::<()>(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source]).await;
    tell::<()>(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target]).await;
    let port = to.port().to_string();
    loop {
        let keys: Vec<String> = tell(from, &["CLUSTER", "GETKEYSINSLOT", &slot, "100"]).await;
        if keys.is_empty() {
            break;
        }
        let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        words.extend(keys.iter().map(String::as_str));
        tell::<()>(from, &words).await;
    }
    for server in [to, from].into_iter().chain(others) {
        tell::<()>(server, &["CLUSTER", "SETSLOT", &slot, "NODE", &target]).await;
    }
}

#[tokio::test]
async fn the_log_is_kept_in_a_cluster_and_moves_with_its_slot() {
    let servers = cluster().await;
    let (mut one, mut other) = (instance(&servers, 1), instance(&servers, 2));
    let begin = all_keep_up(&mut [&mut one, &mut other]).await;
    let purges = [purge(1), purge(2)];
    let (followed, appended) =
        tokio::join!(other.tier.follow(begin, Duration::from_secs(20)), one.tier.append(&purges),);
    assert_eq!(told(&followed.unwrap()), [1, 2]);
    let before = all_keep_up(&mut [&mut one, &mut other]).await;
    assert_eq!(before, appended.unwrap());
    let slot: usize = tell(&servers[0], &["CLUSTER", "KEYSLOT", "{larder:larder}:ctl"]).await;
    let home = slot / (SLOTS / 3);
    let to = (home + 1) % 3;
    move_slot(&servers[home], &servers[to], slot, &servers[(home + 2) % 3..=(home + 2) % 3]).await;
    let moved = all_keep_up(&mut [&mut one, &mut other]).await;
    assert_eq!(moved.generation, before.generation);
    let keys: Vec<String> =
        tell(&servers[to], &["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), "9"]).await;
    assert!(keys.iter().any(|key| key == "{larder:larder}:log"), "{keys:?}");
    one.tier.append(&[purge(3)]).await.unwrap();
    all_keep_up(&mut [&mut one, &mut other]).await;
    assert_eq!((&*other.told, other.gaps), (&[1, 2, 3][..], 0));
    assert_eq!((&*one.told, one.gaps), (&[1, 2, 3][..], 0));
}

#[tokio::test]
async fn a_purge_waits_for_a_replica_of_its_own_server_and_for_no_other() {
    let servers = cluster().await;
    let one = instance(&servers, 1);
    one.tier.append(&[purge(1)]).await.unwrap();
    let slot: usize = tell(&servers[0], &["CLUSTER", "KEYSLOT", "{larder:larder}:ctl"]).await;
    let home = &servers[slot / (SLOTS / 3)];
    let (replica, bus) = node().await;
    let port = replica.port().to_string();
    tell::<()>(home, &["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).await;
    let id: String = tell(home, &["CLUSTER", "MYID"]).await;
    eventually("a replica that keeps up", async || {
        let nodes: String = tell(&replica, &["CLUSTER", "NODES"]).await;
        let is_known = nodes.lines().any(|line| line.starts_with(&id) && line.contains("master"));
        if is_known && !nodes.contains("myself,slave") {
            tell::<()>(&replica, &["CLUSTER", "REPLICATE", &id]).await;
        }
        let info: String = tell(&replica, &["INFO", "replication"]).await;
        info.contains("master_link_status:up").then_some(())
    })
    .await;
    eventually("a replica that has said that it has it", async || {
        let said = copies(&one, 1).await.unwrap().replication;
        (said == Replication::Replicated).then_some(())
    })
    .await;
    replica.pause();
    assert_eq!(copies(&one, 2).await.unwrap().replication, Replication::Unreplicated);
}
