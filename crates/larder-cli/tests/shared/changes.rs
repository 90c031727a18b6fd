//! Changes: all ways in which another server becomes the one that is asked, while readers and writers go on and nobody sees
//! what was purged.

use larder_test_support::{redis::Redis, sentinel::Sentinel};

use crate::{
    failover::{Nodes, Pair, SILENCE, ask},
    storm::Blowing,
    support::eventually,
};

/// So many purges hold for all before a change, and again after it.
const PURGES: usize = 20;

/// A server, two replicas of it, and a sentinel that knows all three.
struct Watched {
    servers: Vec<Redis>,
    sentinel: Sentinel,
}

impl Watched {
    async fn start() -> Watched {
        let primary = Redis::start().await;
        let port = primary.port().to_string();
        let mut servers = vec![primary];
        for _ in 0..2 {
            servers.push(Redis::start_with(&["--replicaof", "127.0.0.1", &port]).await);
        }
        let sentinel = Sentinel::start(&servers[0], "main", SILENCE).await;
        let watched = Watched { servers, sentinel };
        watched.knows_replicas(2).await;
        watched
    }

    /// Until the sentinel knows so many replicas, all of which have what there is.
    async fn knows_replicas(&self, count: usize) {
        let count = format!("slaves={count}");
        eventually("the sentinel to know the replicas", async || {
            ask(self.sentinel.port(), &["INFO", "sentinel"]).await.contains(&count).then_some(())
        })
        .await;
    }

    fn url(&self) -> String {
        format!("redis+sentinel://127.0.0.1:{}/main", self.sentinel.port())
    }

    /// Which of them is the primary, as the sentinel says.
    async fn primary(&self) -> usize {
        let at = ask(self.sentinel.port(), &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"]).await;
        let is_it = |server: &Redis| at.lines().any(|line| line == server.port().to_string());
        self.servers.iter().position(is_it).unwrap()
    }

    /// Until another one is the primary.
    async fn fails_over(&self, from: usize) {
        eventually("a failover", async || (self.primary().await != from).then_some(())).await;
    }
}

/// What readers and writers see of a change: nothing.
async fn goes_on_after(pair: &Pair, change: impl AsyncFnOnce(&mut Blowing)) {
    let mut storm = Blowing::at(&pair.places, &pair.versions);
    storm.purges_hold(PURGES).await;
    change(&mut storm).await;
    storm.purges_hold(PURGES).await;
    storm.stop().await;
    pair.agrees().await;
}

/// The same where nothing is lost: the log goes on, and so does what is stored.
async fn goes_on_with_its_log_after(pair: &Pair, change: impl AsyncFnOnce(&mut Blowing)) {
    let log = pair.log().await;
    goes_on_after(pair, change).await;
    assert_eq!(pair.log().await, log, "another log has begun");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "one of many: make test-long"]
async fn a_failover_in_which_nothing_is_lost() {
    let mut watched = Watched::start().await;
    let pair = Pair::over(&watched.url()).await;
    goes_on_with_its_log_after(&pair, async |_| {
        watched.servers[0].kill().await;
        watched.fails_over(0).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_in_which_acknowledged_purges_are_lost() {
    let mut watched = Watched::start().await;
    let pair = Pair::over(&watched.url()).await;
    goes_on_after(&pair, async |storm| {
        // What holds from now on is on one server, which is lost.
        watched.servers[1..].iter().for_each(Redis::pause);
        storm.purges_hold(PURGES).await;
        watched.servers[0].kill().await;
        watched.servers[1..].iter().for_each(Redis::go_on);
        watched.fails_over(0).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "one of many: make test-long"]
async fn an_old_primary_that_stands_still_and_goes_on() {
    let watched = Watched::start().await;
    let pair = Pair::over(&watched.url()).await;
    goes_on_after(&pair, async |storm| {
        // It stood still, and has had no purge since; its lines are open yet.
        watched.servers[0].pause();
        watched.fails_over(0).await;
        storm.purges_hold(PURGES).await;
        watched.servers[0].go_on();
        storm.purges_hold(PURGES).await;
        let port = watched.servers[0].port();
        eventually("the old primary to be a replica", async || {
            ask(port, &["ROLE"]).await.starts_with("slave").then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "one of many: make test-long"]
async fn a_failover_in_a_cluster() {
    let mut nodes = Nodes::start().await;
    let pair = Pair::over(&nodes.url).await;
    goes_on_after(&pair, async |_| nodes.servers[nodes.of_log].0.kill().await).await;
    assert!(ask(nodes.replica().port(), &["ROLE"]).await.starts_with("master"));
}

/// Moves a slot from where it was to the next server, with what lies in it.
async fn moved(nodes: &Nodes, slot: u16) {
    let (home, slot) = (Nodes::home(slot), slot.to_string());
    let (from, to) = (&nodes.servers[home].0, &nodes.servers[(home + 1) % 3].0);
    let source = ask(from.port(), &["CLUSTER", "MYID"]).await;
    let target = ask(to.port(), &["CLUSTER", "MYID"]).await;
    let set = async |server: &Redis, words: &[&str]| {
        let words = [&["CLUSTER", "SETSLOT", &slot], words].concat();
        assert_eq!(ask(server.port(), &words).await, "OK");
    };
    set(to, &["IMPORTING", &source]).await;
    set(from, &["MIGRATING", &target]).await;
    let port = to.port().to_string();
    loop {
        let keys = ask(from.port(), &["CLUSTER", "GETKEYSINSLOT", &slot, "100"]).await;
        if keys.is_empty() {
            break;
        }
        let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        words.extend(keys.lines());
        // Some may be over meanwhile.
        ask(from.port(), &words).await;
    }
    for server in [to, from, &nodes.servers[(home + 2) % 3].0] {
        set(server, &["NODE", &target]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_slot_of_the_log_moves_in_a_cluster() {
    let nodes = Nodes::start().await;
    let pair = Pair::over(&nodes.url).await;
    goes_on_with_its_log_after(&pair, async |_| {
        let slot = nodes.slot("{larder:larder}:ctl").await;
        moved(&nodes, slot).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "one of many: make test-long"]
async fn the_slots_of_what_is_stored_move_in_a_cluster() {
    let nodes = Nodes::start().await;
    let pair = Pair::over(&nodes.url).await;
    goes_on_after(&pair, async |storm| {
        for path in ["a", "b", "c", "long"] {
            let key = format!("larder1:larder:h:http://larder.test/{path}");
            let slot = nodes.slot(&key).await;
            moved(&nodes, slot).await;
            storm.purges_hold(PURGES / 4).await;
        }
    })
    .await;
}
