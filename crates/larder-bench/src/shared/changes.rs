//! Changes: an ordinary restart of the server with AOF, an ordinary failover, and the log's slot moved in a cluster. How
//! soon the tier is gone by again, and whether anything was lost.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use larder::{Cache, lower::LowerTier};
use larder_test_support::{port::free_port, redis::Redis, sentinel::Sentinel};
use tokio::time::sleep;

use super::{
    Bench,
    caches::{fill, over, tier, until},
    report::{Bar, Figure, Unit},
    samples::{Content, content},
};

const KEYS: usize = 500;
/// The default of `max_incoherence`.
const TRUST_NS: f64 = 10e9;
/// So long a sentinel waits until it gives a primary up.
const SILENCE: Duration = Duration::from_secs(1);
const NAMESPACE: &str = "changes";
const SLOTS: usize = 16384;

pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    measure(bench, "restart (AOF)", Servers::one().await).await?;
    measure(bench, "failover", Servers::with_replica().await?).await?;
    measure(bench, "moved slot of the log", Servers::cluster().await?).await
}

async fn measure(bench: &mut Bench, what: &str, mut servers: Servers) -> anyhow::Result<()> {
    let url = servers.url();
    let (writer, reader) = (over(&url, NAMESPACE).await?, over(&url, NAMESPACE).await?);
    let asked = tier(&url, NAMESPACE)?;
    let keys: Vec<_> = (0..2 * KEYS).map(|key| format!("post:{key}")).collect();
    fill(&writer, &keys, &content(Content::Text, 2048), |_| Vec::new()).await?;
    let (before, after) = keys.split_at(KEYS);

    let generation = asked.tail(None).await?.position.generation;
    let ratio_before = ratio(&reader, before).await?;
    let renewals = reader.stats().lower.renewals;
    let happened = servers.change().await?;
    until("a read below", async || asked.tail(None).await.is_ok()).await?;
    let open = happened.elapsed();
    until("trust to be renewed", async || {
        let caches = [&writer, &reader];
        caches.iter().all(|cache| cache.stats().lower.is_trusted)
            && reader.stats().lower.renewals > renewals
    })
    .await?;
    let trusted = happened.elapsed();
    // The caches have left the server alone for a moment.
    let back = Instant::now();
    while !reads_below(&reader).await && back.elapsed() < Duration::from_secs(15) {
        sleep(Duration::from_millis(5)).await;
    }
    let used = happened.elapsed();
    let ratio_after = ratio(&reader, after).await?;
    let is_same = asked.tail(None).await?.position.generation == generation;

    let nanos = |took: Duration| took.as_nanos() as f64;
    let label = format!("{what}: until it is gone by again");
    let since = servers.counted_from();
    let note = format!(
        "{since}: the log is open after {open:.0?}, trust renewed after {trusted:.0?}, read below again after {used:.0?}"
    );
    let figure = Figure::new("changes", label, Unit::Nanoseconds, nanos(trusted.max(used)));
    bench.note(figure.bar(Bar::AtMost(TRUST_NS)).note(note));
    let label = format!("{what}: share of misses in memory found below, beside before");
    let figure = Figure::new("changes", label, Unit::Share, ratio_after);
    bench.note(figure.beside("before", ratio_before).bar(Bar::AtLeast(ratio_before)));
    let label = format!("{what}: new generations of the log");
    let news = if is_same { 0.0 } else { 1.0 };
    bench.note(Figure::new("changes", label, Unit::Count, news).bar(Bar::AtMost(0.0)));
    Ok(())
}

/// What is changed.
enum Servers {
    One(Redis),
    /// A primary, its replica, and who puts that in its place.
    Watched {
        primary: Redis,
        _replica: Redis,
        sentinel: Sentinel,
    },
    /// Primaries with a third of the slots each.
    Cluster([Redis; 3]),
}

impl Servers {
    async fn one() -> Servers {
        let options = ["--save", "", "--appendonly", "yes", "--appendfsync", "everysec"];
        Servers::One(Redis::start_with(&options).await)
    }

    async fn with_replica() -> anyhow::Result<Servers> {
        let primary = Redis::start().await;
        let port = primary.port().to_string();
        let replica = Redis::start_with(&["--save", "", "--replicaof", "127.0.0.1", &port]).await;
        let sentinel = Sentinel::start(&primary, "main", SILENCE).await;
        until("the sentinel to know the replica", async || {
            let asked = ask::<String>(sentinel.port(), &["INFO", "sentinel"]).await;
            asked.is_ok_and(|said| said.contains("slaves=1"))
        })
        .await?;
        Ok(Servers::Watched { primary, _replica: replica, sentinel })
    }

    async fn cluster() -> anyhow::Result<Servers> {
        let buses = [(); 3].map(|()| free_port().to_string());
        let start = async |bus: &str| {
            let options = ["--cluster-enabled", "yes", "--cluster-port", bus, "--save", ""];
            Redis::start_with(&options).await
        };
        let nodes = [start(&buses[0]).await, start(&buses[1]).await, start(&buses[2]).await];
        for (node, server) in nodes.iter().enumerate() {
            let (first, last) = (node * SLOTS / 3, (node + 1) * SLOTS / 3 - 1);
            let (first, last) = (first.to_string(), last.to_string());
            tell(server, &["CLUSTER", "ADDSLOTSRANGE", &first, &last]).await?;
        }
        for (server, bus) in nodes.iter().zip(&buses).skip(1) {
            let port = server.port().to_string();
            tell(&nodes[0], &["CLUSTER", "MEET", "127.0.0.1", &port, bus]).await?;
        }
        until("the cluster", async || {
            for node in &nodes {
                let state = ask::<String>(node.port(), &["CLUSTER", "INFO"]).await;
                let slots = ask::<Vec<redis::Value>>(node.port(), &["CLUSTER", "SLOTS"]).await;
                let is_ok = state.is_ok_and(|state| state.contains("cluster_state:ok"));
                if !is_ok || slots.map_or(0, |slots| slots.len()) != 3 {
                    return false;
                }
            }
            true
        })
        .await?;
        Ok(Servers::Cluster(nodes))
    }

    fn url(&self) -> String {
        match self {
            Servers::One(server) => server.url(),
            Servers::Watched { sentinel, .. } => {
                format!("redis+sentinel://127.0.0.1:{}/main", sentinel.port())
            }
            Servers::Cluster(nodes) => {
                let hosts: Vec<_> =
                    nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
                format!("redis+cluster://{}", hosts.join(","))
            }
        }
    }

    /// Gives the moment from which on is counted.
    async fn change(&mut self) -> anyhow::Result<Instant> {
        match self {
            Servers::One(server) => {
                server.stop().await;
                server.start_again().await;
                Ok(Instant::now())
            }
            Servers::Watched { primary, .. } => {
                // Nothing is lost: the replica has all.
                let copies = ask::<u64>(primary.port(), &["WAIT", "1", "1000"]).await?;
                ensure!(copies == 1, "the replica does not keep up");
                let killed = Instant::now();
                primary.kill().await;
                Ok(killed)
            }
            Servers::Cluster(nodes) => {
                move_log(nodes).await?;
                Ok(Instant::now())
            }
        }
    }

    fn counted_from(&self) -> &'static str {
        match self {
            Servers::One(_) => "from its first answer on",
            Servers::Watched { .. } => "from the primary's end on, which is noticed after a second",
            Servers::Cluster(_) => "from the move on",
        }
    }
}

/// Moves the slot of the log with all that is in it.
async fn move_log(nodes: &[Redis; 3]) -> anyhow::Result<()> {
    let log = format!("{{larder:{NAMESPACE}}}:ctl");
    let slot: usize = ask(nodes[0].port(), &["CLUSTER", "KEYSLOT", &log]).await?;
    let is_in = |node: &usize| slot < (node + 1) * SLOTS / 3;
    let from = (0..nodes.len()).find(is_in).context("a slot that nobody has")?;
    let (from, to) = (&nodes[from], &nodes[(from + 1) % nodes.len()]);
    let slot = slot.to_string();
    let source: String = ask(from.port(), &["CLUSTER", "MYID"]).await?;
    let target: String = ask(to.port(), &["CLUSTER", "MYID"]).await?;
    tell(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source]).await?;
    tell(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target]).await?;
    let port = to.port().to_string();
    loop {
        let keys: Vec<String> =
            ask(from.port(), &["CLUSTER", "GETKEYSINSLOT", &slot, "100"]).await?;
        if keys.is_empty() {
            break;
        }
        let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        words.extend(keys.iter().map(String::as_str));
        tell(from, &words).await?;
    }
    for node in [to, from].into_iter().chain(nodes) {
        tell(node, &["CLUSTER", "SETSLOT", &slot, "NODE", &target]).await?;
    }
    Ok(())
}

async fn tell(server: &Redis, words: &[&str]) -> anyhow::Result<()> {
    ask::<redis::Value>(server.port(), words).await.map(|_| ())
}

async fn ask<T: redis::FromRedisValue>(port: u16, words: &[&str]) -> anyhow::Result<T> {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}"))?;
    let mut wire = client.get_multiplexed_async_connection().await?;
    let asked = redis::cmd(words[0]).arg(&words[1..]).query_async(&mut wire).await;
    asked.with_context(|| words.join(" "))
}

/// The share of `keys`, none of them in memory, that is found below.
async fn ratio(cache: &Cache<Bytes>, keys: &[String]) -> anyhow::Result<f64> {
    let before = cache.stats().lower;
    for key in keys {
        cache.get_or_fetch(key.as_str(), async || Bytes::from_static(b"of the origin")).await;
    }
    let after = cache.stats().lower;
    let (hits, misses) = (after.hits - before.hits, after.misses - before.misses);
    ensure!(hits + misses == keys.len() as u64, "{hits} and {misses} of {}", keys.len());
    Some(hits as f64 / keys.len() as f64).context("no keys")
}

/// Whether a miss asks the server, and is answered.
async fn reads_below(cache: &Cache<Bytes>) -> bool {
    let stats = cache.stats().lower;
    cache.read("nothing").force_refresh().fetch(async || Ok::<_, String>(Bytes::new())).await.ok();
    let after = cache.stats().lower;
    after.failures == stats.failures && after.left_alone == stats.left_alone
}
