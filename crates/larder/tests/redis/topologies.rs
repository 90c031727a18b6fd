//! Topologies: the same over sentinels and over a cluster.

use std::time::Duration;

use bytes::Bytes;
use larder::{
    AnswerSource, Cache, Lifetime, Purge, Tier,
    codec::Text,
    lower::{
        Body, BodyId, Commit, Head, LeaseAnswer, LogPart, LowerError, LowerTier, Piece, Position,
        Record,
    },
    redis::Redis,
};
use larder_test_support::{
    eventually::{eventually, until},
    port::free_port,
    redis::Redis as Server,
    sentinel::Sentinel,
};

use crate::control::{purge, tell, told};

const MINUTE: Duration = Duration::from_secs(60);

fn record(body: Body) -> Record {
    let head = Head {
        variant: String::new(),
        fence: Position { generation: 1, number: 2 },
        lifetime: Lifetime::fresh_for(MINUTE),
        cost: Duration::ZERO,
        tags: Vec::new(),
        format: "bytes".to_owned(),
        extra: Bytes::new(),
        body,
    };
    Record { head, age: Duration::ZERO }
}

fn small() -> Record {
    record(Body::Whole(Bytes::from_static(b"text")))
}

async fn found(tier: &Redis, key: &str) -> Result<usize, LowerError> {
    Ok(tier.heads(key, LogPart::Nothing).await?.records.len())
}

#[tokio::test]
async fn sentinels_that_want_to_know_who_asks_are_told() {
    let primary = Server::start().await;
    let sentinel = Sentinel::start(&primary, "main", Duration::from_millis(500)).await;
    let port = sentinel.port();
    let client = ::redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
    let mut wire = client.get_multiplexed_async_connection().await.unwrap();
    for user in [&["larder", "on", ">secret", "allchannels", "+@all"][..], &["default", "off"]] {
        let set = ::redis::cmd("ACL").arg("SETUSER").arg(user).take();
        set.query_async::<()>(&mut wire).await.unwrap();
    }
    let url = format!("redis+sentinel://127.0.0.1:{port}/main");
    let nobody = Redis::connect(&url).unwrap();
    assert!(found(&nobody, "key").await.is_err());
    let known = Redis::options(&url).sentinel_username("larder").sentinel_password("secret");
    assert_eq!(found(&known.connect().unwrap(), "key").await.unwrap(), 0);
}

#[tokio::test]
async fn after_a_failover_the_new_primary_is_asked() {
    let mut primary = Server::start().await;
    let port = primary.port().to_string();
    let replica = Server::start_with(&["--replicaof", "127.0.0.1", &port]).await;
    let sentinel = Sentinel::start(&primary, "main", Duration::from_millis(500)).await;
    let port = sentinel.port().to_string();
    eventually("the sentinel to know the replica", async || {
        let primaries: String = {
            let client = ::redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
            let mut wire = client.get_multiplexed_async_connection().await.unwrap();
            ::redis::cmd("INFO").arg("sentinel").query_async(&mut wire).await.unwrap()
        };
        primaries.contains("slaves=1").then_some(())
    })
    .await;
    let one = Redis::connect(&format!("redis+sentinel://127.0.0.1:{port}/main")).unwrap();
    assert_eq!(one.commit("key", small(), 1).await.unwrap(), Commit::Stored);
    eventually("the replica to have it", async || {
        let there: u64 = tell(&replica, &["DBSIZE"]).await;
        (there >= 1).then_some(())
    })
    .await;
    primary.kill().await;
    assert!(found(&one, "key").await.is_err());
    eventually("the new primary", async || {
        // One that is not yet the primary refuses this.
        (one.commit("another", small(), 1).await.ok()? == Commit::Stored).then_some(())
    })
    .await;
    assert_eq!(found(&one, "key").await.unwrap(), 1);
    let role: (String, u64, Vec<Vec<String>>) = tell(&replica, &["ROLE"]).await;
    assert_eq!(role.0, "master");
}

/// A server of a cluster, and the port at which the others talk to it.
pub(crate) async fn node() -> (Server, String) {
    let bus = free_port().to_string();
    let options =
        ["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", "5000"];
    (Server::start_with(&options).await, bus)
}

/// Three primaries, each with a third of the slots.
pub(crate) async fn cluster() -> [Server; 3] {
    let nodes = [node().await, node().await, node().await];
    let slots = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];
    for ((server, _), (first, last)) in nodes.iter().zip(slots) {
        tell::<()>(server, &["CLUSTER", "ADDSLOTSRANGE", first, last]).await;
    }
    for (other, bus) in &nodes[1..] {
        let port = other.port().to_string();
        tell::<()>(&nodes[0].0, &["CLUSTER", "MEET", "127.0.0.1", &port, bus]).await;
    }
    for (server, _) in &nodes {
        eventually("the cluster", async || {
            let info: String = tell(server, &["CLUSTER", "INFO"]).await;
            let slots: Vec<::redis::Value> = tell(server, &["CLUSTER", "SLOTS"]).await;
            (info.contains("cluster_state:ok") && slots.len() == 3).then_some(())
        })
        .await;
    }
    nodes.map(|(server, _)| server)
}

fn over(servers: &[Server]) -> Redis {
    let hosts: Vec<_> =
        servers.iter().map(|server| format!("127.0.0.1:{}", server.port())).collect();
    Redis::connect(&format!("redis+cluster://{}", hosts.join(","))).unwrap()
}

#[tokio::test]
async fn in_a_cluster_all_calls_reach_the_servers_that_they_are_for() {
    let servers = cluster().await;
    let (one, other) = (over(&servers), over(&servers[..1]));
    for number in 0..50 {
        let key = format!("key {number}");
        assert_eq!(one.commit(&key, small(), 1).await.unwrap(), Commit::Stored);
        assert_eq!(found(&other, &key).await.unwrap(), 1);
    }
    for server in &servers {
        let there: u64 = tell(server, &["DBSIZE"]).await;
        assert!(there > 5, "the records are spread");
    }
    let id = BodyId(1);
    for index in 0..20 {
        let bytes = Bytes::from(vec![index as u8; 1000]);
        one.write(Piece { body: id, index, bytes, keep: MINUTE }).await.unwrap();
    }
    let body = Body::Pieces { id, begin: Bytes::new(), pieces: 20, bytes: 20_000 };
    assert_eq!(one.commit("long", record(body), 1).await.unwrap(), Commit::Stored);
    for index in 0..20 {
        assert_eq!(other.piece(id, index).await.unwrap(), vec![index as u8; 1000]);
    }
    let missing = Body::Pieces { id, begin: Bytes::new(), pieces: 21, bytes: 21_000 };
    assert_eq!(one.commit("longer", record(missing), 1).await.unwrap(), Commit::Refused);
    assert_eq!(one.commit("long", small(), 1).await.unwrap(), Commit::Stored);
    for index in 0..20 {
        assert!(matches!(other.piece(id, index).await, Err(LowerError::Gone)));
    }
    let since = one.tail(None).await.unwrap().position;
    one.append(&[purge(1)]).await.unwrap();
    assert_eq!(told(&other.tail(Some(since)).await.unwrap()), [1]);
}

#[tokio::test]
async fn in_a_cluster_who_waits_for_a_lease_hears_of_its_end() {
    let servers = cluster().await;
    let (one, other) = (over(&servers), over(&servers[1..]));
    for number in 0..5 {
        let key = format!("key {number}");
        let granted = one.lease(&key, "", LogPart::Nothing, MINUTE).await.unwrap();
        assert!(matches!(granted, LeaseAnswer::Granted { .. }));
        let held = other.lease(&key, "", LogPart::Nothing, MINUTE).await.unwrap();
        let LeaseAnswer::Held { ended, .. } = held else { panic!("it is held") };
        let waiting = tokio::spawn(ended);
        drop(granted);
        tokio::time::timeout(MINUTE / 12, waiting).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn caches_over_a_cluster_share_what_they_have_and_what_they_purge() {
    let servers = cluster().await;
    let cache = || Cache::<String>::builder().lower(over(&servers), Text).build();
    let (one, other) = (cache(), cache());
    let long = || "long ".repeat(100_000);
    one.get_or_fetch("key", async move || long()).await;
    until("it to be written", || one.stats().lower.writes == 1).await;
    let found = other.answer("key", async || Err::<String, _>("it is below")).await.unwrap();
    assert!(found.value == long() && found.source == AnswerSource::Lower);
    one.purge(Purge::key("key").hard().wait(Tier::Shared)).await.unwrap();
    assert_eq!(other.get_or_fetch("key", async || "new".to_owned()).await, "new");
}

/// As the documentation names them.
const RIGHTS: [&str; 6] = ["+@all", "-@dangerous", "+info", "~larder*", "~{larder:*", "&larder*"];

async fn has_a_user(server: &Server) {
    let user = ["ACL", "SETUSER", "cache", "on", ">hidden"];
    tell::<()>(server, &[&user[..], &RIGHTS].concat()).await;
}

async fn is_enough(url: &str) {
    let tier = Redis::options(url).username("cache").password("hidden").connect().unwrap();
    let stored = eventually("an answer", async || {
        let answer = tier.commit("key", small(), 1).await;
        (!matches!(answer, Err(LowerError::Reconciling))).then_some(answer)
    });
    assert_eq!(stored.await.unwrap(), Commit::Stored);
    tier.append(&[purge(1)]).await.unwrap();
    assert_eq!(told(&tier.tail(None).await.unwrap()), [1]);
    assert_eq!(found(&tier, "key").await.unwrap(), 1);
}

#[tokio::test]
async fn over_sentinels_and_a_cluster_a_user_with_the_rights_of_the_documentation_is_enough() {
    let documentation = include_str!("../../../../docs/shared.md");
    assert!(documentation.contains(&RIGHTS[..3].join(" ")));
    let primary = Server::start().await;
    has_a_user(&primary).await;
    let sentinel = Sentinel::start(&primary, "main", Duration::from_secs(5)).await;
    is_enough(&format!("redis+sentinel://127.0.0.1:{}/main", sentinel.port())).await;
    let nodes = cluster().await;
    for node in &nodes {
        has_a_user(node).await;
    }
    is_enough(&format!("redis+cluster://127.0.0.1:{}", nodes[0].port())).await;
}
