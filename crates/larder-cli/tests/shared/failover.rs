//! Failover: the server is lost, a replica takes its place, and gateways go on over that one without a restart.

use std::{process::Command, time::Duration};

use larder_test_support::{redis::Redis, sentinel::Sentinel};
use serde_json::Value;

use crate::{
    faults::Readers,
    fleet::{Place, State},
    support::{eventually, free_port, larder::Larder, origin::Origin, program},
    versions::{Versions, version},
};

/// A replica takes the place of a server that was silent for so long.
pub(crate) const SILENCE: Duration = Duration::from_millis(1000);
/// Longer than a failover takes: the gateways' own trust must not depend on it.
const PURGE: &str = r#"{"tags":["one"],"mode":"hard","wait":"shared","timeout_ms":2000}"#;

/// Two gateways over what has this URL.
pub(crate) struct Pair {
    larders: Vec<Larder>,
    pub(crate) places: Vec<Place>,
    pub(crate) versions: Versions,
    _origin: Origin,
}

impl Pair {
    pub(crate) async fn over(url: &str) -> Pair {
        let versions = Versions::default();
        let origin = versions.origin().await;
        let mut larders = Vec::new();
        for _ in 0..2 {
            let flags = ["--shared", url, "--max-incoherence", "1s"];
            larders.push(Larder::with(origin.address, &flags).await);
        }
        let place = |larder: &Larder| Place { address: larder.address, admin: larder.admin() };
        let places = larders.iter().map(place).collect();
        let pair = Pair { larders, places, versions, _origin: origin };
        pair.agrees().await;
        pair
    }

    /// Until a purge at each holds for both, and both then serve what is new.
    pub(crate) async fn agrees(&self) {
        for place in &self.places {
            let newest = self.versions.update("/one");
            eventually("a purge that holds for both", async || {
                let said = place.purge(PURGE).await?;
                let is_of_both = said.answer.contains(r#""by":2,"of":2"#);
                (said.state == State::Applied && is_of_both).then_some(())
            })
            .await;
            for place in &self.places {
                assert_eq!(version(&place.get("/one").await), newest);
            }
        }
    }

    /// Which log they have.
    pub(crate) async fn log(&self) -> String {
        let said = eventually("a purge that the server has", async || {
            let said = self.places[0].purge(PURGE).await?;
            said.state.holds().then_some(said)
        });
        let said: Value = serde_json::from_str(&said.await.answer).unwrap();
        let shared = &said["receipts"][0]["tiers"][1];
        shared["position"]["generation"].as_str().unwrap().to_owned()
    }

    async fn counts(&self, metric: &str) -> Vec<f64> {
        let mut counts = Vec::new();
        for larder in &self.larders {
            counts.push(larder.metric(metric).await);
        }
        counts
    }

    /// While somebody reads at both all the time, of whom no request fails. Both find out that the server is another one: it
    /// has what its readers know of the log, or a new one.
    async fn goes_on_after(&self, loss: impl AsyncFnOnce()) {
        let forks = "larder_lower_forks_total{cache=\"gateway\"}";
        let gaps = "larder_lower_everything_lost_total{cache=\"gateway\",cause=\"gap\"}";
        let (log, had) = (self.log().await, self.counts(gaps).await);
        assert_eq!(self.counts(forks).await, [0.0, 0.0]);
        let readers = Readers::at(&self.places);
        loss().await;
        self.agrees().await;
        let (seen, lasted) = readers.stop().await;
        match self.log().await == log {
            true => {
                let forks = self.counts(forks).await;
                println!("the log went on after a fork: {forks:?}");
                assert!(forks.iter().all(|forks| *forks >= 1.0), "{forks:?}");
                assert_eq!(self.counts(gaps).await, had, "nobody has missed a purge");
            }
            // One of them was not heard of in time.
            false => {
                let gaps = self.counts(gaps).await;
                println!("another log has begun: {gaps:?}");
                let more = gaps.iter().zip(&had).all(|(gaps, had)| gaps > had);
                assert!(more, "memory lets all go: {gaps:?}");
            }
        }
        println!("{} hits and {} others in {lasted:?}", seen.hits, seen.others);
        for larder in &self.larders {
            let outstanding = larder.metric("larder_lower_purges_outstanding{cache=\"gateway\"}");
            assert_eq!(outstanding.await, 0.0);
            let lines = larder.log().lines().filter(|line| line.contains(" Redis ")).count();
            assert!(lines <= 6, "{}", larder.log());
        }
    }
}

/// What redis-cli has to say.
pub(crate) async fn ask(port: u16, words: &[&str]) -> String {
    let mut command = Command::new("redis-cli");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string()]).args(words);
    let output = program::run(&mut command).await;
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_follow_a_sentinel_to_another_server() {
    let mut primary = Redis::start().await;
    let port = primary.port().to_string();
    let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &port]).await;
    let sentinel = Sentinel::start(&primary, "main", SILENCE).await;
    eventually("the sentinel to know the replica", async || {
        ask(sentinel.port(), &["INFO", "sentinel"]).await.contains("slaves=1").then_some(())
    })
    .await;
    let url = format!("redis+sentinel://127.0.0.1:{}/main", sentinel.port());
    let pair = Pair::over(&url).await;
    pair.goes_on_after(async || primary.kill().await).await;
    assert!(ask(replica.port(), &["ROLE"]).await.starts_with("master"));
}

/// A server of a cluster.
pub(crate) async fn node() -> (Redis, String) {
    let bus = free_port().to_string();
    let timeout = SILENCE.as_millis().to_string();
    let options =
        ["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", &timeout];
    (Redis::start_with(&options).await, bus)
}

/// Three servers that share the slots, and a replica of each.
pub(crate) struct Nodes {
    pub(crate) servers: [(Redis, String); 3],
    replicas: [(Redis, String); 3],
    /// Which of them has the log.
    pub(crate) of_log: usize,
    pub(crate) url: String,
}

const SLOTS: [(u16, u16); 3] = [(0, 5460), (5461, 10922), (10923, 16383)];

impl Nodes {
    pub(crate) async fn start() -> Nodes {
        let servers = [node().await, node().await, node().await];
        for ((server, _), (first, last)) in servers.iter().zip(SLOTS) {
            let range = [first.to_string(), last.to_string()];
            let said = server.tell(&["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]]).await;
            assert_eq!(said, "+OK");
        }
        let replicas = [node().await, node().await, node().await];
        for (server, bus) in servers[1..].iter().chain(&replicas) {
            let other = server.port().to_string();
            let said = servers[0].0.tell(&["CLUSTER", "MEET", "127.0.0.1", &other, bus]).await;
            assert_eq!(said, "+OK");
        }
        let hosts: Vec<_> =
            servers.iter().map(|(server, _)| server.address().to_string()).collect();
        let url = format!("redis+cluster://{}", hosts.join(","));
        let mut nodes = Nodes { servers, replicas, of_log: 0, url };
        nodes.of_log = Nodes::home(nodes.slot("{larder:larder}:ctl").await);
        for ((server, _), (replica, _)) in nodes.servers.iter().zip(&nodes.replicas) {
            let id = ask(server.port(), &["CLUSTER", "MYID"]).await;
            eventually("a replica to know its server", async || {
                (replica.tell(&["CLUSTER", "REPLICATE", &id]).await == "+OK").then_some(())
            })
            .await;
        }
        eventually("the cluster, and its replicas to have what there is", async || {
            for (server, _) in &nodes.servers {
                let info = ask(server.port(), &["CLUSTER", "INFO"]).await;
                let is_whole = info.contains("cluster_state:ok")
                    && info.contains("cluster_known_nodes:6")
                    && info.contains("cluster_size:3");
                if !is_whole {
                    return None;
                }
            }
            for (replica, _) in &nodes.replicas {
                let info = ask(replica.port(), &["INFO", "replication"]).await;
                if !info.contains("master_link_status:up") {
                    return None;
                }
            }
            Some(())
        })
        .await;
        nodes
    }

    /// That of the server which has the log.
    pub(crate) fn replica(&self) -> &Redis {
        &self.replicas[self.of_log].0
    }

    pub(crate) async fn slot(&self, key: &str) -> u16 {
        let slot = ask(self.servers[0].0.port(), &["CLUSTER", "KEYSLOT", key]).await;
        slot.parse().unwrap()
    }

    /// Where it was at first.
    pub(crate) fn home(slot: u16) -> usize {
        SLOTS.iter().position(|(first, last)| (*first..=*last).contains(&slot)).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_follow_a_cluster_whose_log_moves_to_another_server() {
    let mut nodes = Nodes::start().await;
    let pair = Pair::over(&nodes.url).await;
    pair.goes_on_after(async || nodes.servers[nodes.of_log].0.kill().await).await;
    assert!(ask(nodes.replica().port(), &["ROLE"]).await.starts_with("master"));
}
