//! Coherence: whole caches over one server, and what they serve while it is well and while it is not.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use larder::{Cache, Fetched, Purge, Tier, TierState, codec::Text, lower::Settings};
use larder_test_support::{eventually::eventually, redis::Redis as Server};
use tokio::{task::JoinSet, time::sleep};

use crate::control::{tell, tier_for};

const TRUST: Duration = Duration::from_secs(1);

/// Caches as of several processes, and the origin behind them: a number that only grows.
struct Fleet {
    caches: Vec<Cache<String>>,
    origin: Arc<AtomicU64>,
    fetches: Arc<AtomicU64>,
}

impl Fleet {
    async fn new(server: &Server, size: usize) -> Fleet {
        let settings = Settings { max_incoherence: TRUST, ..Settings::default() };
        let cache = |_| {
            let tier = tier_for(server, TRUST);
            Cache::builder().ttl(Duration::from_secs(600)).lower_with(tier, Text, settings).build()
        };
        let caches = (0..size).map(cache).collect();
        let fleet = Fleet { caches, origin: Arc::default(), fetches: Arc::default() };
        fleet.trusts().await;
        fleet
    }

    async fn trusts(&self) {
        let trusts = |cache: &Cache<String>| cache.stats().lower.is_trusted;
        let all = async || self.caches.iter().all(trusts).then_some(());
        eventually("all to go by what they know", all).await;
    }

    /// Until the server has been what it is for long enough for a purge to hold.
    async fn settles(&self) {
        eventually("a purge that holds for all", async || {
            let state = self.purge(0).await;
            let all = TierState::Applied { by: self.caches.len(), of: self.caches.len() };
            (state == all).then_some(())
        })
        .await;
    }

    async fn read(&self, cache: usize) -> u64 {
        read(&self.caches[cache], &self.origin, &self.fetches).await
    }

    async fn purge(&self, cache: usize) -> TierState {
        purge(&self.caches[cache]).await
    }
}

async fn read(cache: &Cache<String>, origin: &Arc<AtomicU64>, fetches: &Arc<AtomicU64>) -> u64 {
    let (origin, fetches) = (Arc::clone(origin), Arc::clone(fetches));
    let fetch = async move || {
        fetches.fetch_add(1, Ordering::SeqCst);
        Fetched::new(origin.load(Ordering::SeqCst).to_string()).tags(["tag"])
    };
    cache.get_or_fetch("key", fetch).await.parse().unwrap()
}

async fn purge(cache: &Cache<String>) -> TierState {
    let receipt = cache.purge(Purge::tag("tag").hard().wait(Tier::Shared)).await.unwrap();
    let tier = receipt.tiers.into_iter().find(|it| it.tier == Tier::Shared).unwrap();
    tier.state
}

#[tokio::test]
async fn a_purge_reaches_three_caches_in_milliseconds_and_then_nobody_serves_what_is_older() {
    let server = Server::start().await;
    let fleet = Fleet::new(&server, 3).await;
    fleet.settles().await;
    let mut took = Vec::new();
    for turn in 0..60 {
        for cache in 0..3 {
            fleet.read(cache).await;
        }
        let version = fleet.origin.fetch_add(1, Ordering::SeqCst) + 1;
        let began = Instant::now();
        let state = fleet.purge(turn % 3).await;
        took.push(began.elapsed());
        assert_eq!(state, TierState::Applied { by: 3, of: 3 });
        for cache in 0..3 {
            assert_eq!(fleet.read(cache).await, version);
        }
    }
    took.sort();
    println!(
        "a purge holds for three caches after {:?} at the median, {:?} at most",
        took[30], took[59]
    );
    assert!(took[30] < Duration::from_millis(50), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_ten_thousand_purges_in_a_row_two_others_learn_one_by_one() {
    const PURGES: u64 = 10_000;
    let server = Server::start().await;
    let fleet = Fleet::new(&server, 3).await;
    fleet.settles().await;
    let learnt = |cache: usize| fleet.caches[cache].stats().lower.purges_learnt;
    let before = [learnt(1), learnt(2)];
    let began = Instant::now();
    for number in 0..PURGES {
        fleet.caches[0].purge(Purge::tag(format!("tag {number}")).hard()).await.unwrap();
    }
    let made = began.elapsed();
    let last = Purge::tag("tag").hard().wait(Tier::Shared);
    let receipt = fleet.caches[0].purge_within(last, Duration::from_secs(60)).await.unwrap();
    assert_eq!(receipt.tiers[1].state, TierState::Applied { by: 3, of: 3 });
    let took = began.elapsed();
    println!("{PURGES} purges were made in {made:?} and held for three caches after {took:?}");
    // One by one: nobody had to drop what they had not named.
    assert_eq!([learnt(1), learnt(2)], before.map(|before| before + PURGES + 1));
    assert_eq!([1, 2].map(|cache| fleet.caches[cache].stats().lower.gaps), [0, 0]);
    assert_eq!(fleet.caches[0].stats().lower.overflows, 0);
}

#[tokio::test]
async fn while_the_server_stands_still_nothing_is_gone_by_for_longer_than_was_said() {
    let server = Server::start().await;
    let fleet = Fleet::new(&server, 2).await;
    fleet.settles().await;
    assert_eq!((fleet.read(0).await, fleet.read(1).await), (0, 0));
    server.pause();
    let stopped = Instant::now();
    fleet.origin.store(1, Ordering::SeqCst);
    assert_eq!(fleet.read(0).await, 0, "it goes by what it knows");
    let fetched_anew = eventually("a fetch", async || {
        let read = fleet.read(0).await;
        (read == 1).then(Instant::now)
    });
    let after = fetched_anew.await - stopped;
    assert!(after <= TRUST + Duration::from_millis(600), "{after:?}");
    assert!(after >= TRUST / 2, "{after:?}");
    // What was fetched so is used for as long, and no longer.
    let fetches = fleet.fetches.load(Ordering::SeqCst);
    let fetched = Instant::now();
    fleet.origin.store(2, Ordering::SeqCst);
    for _ in 0..10 {
        if fetched.elapsed() < TRUST / 2 {
            assert_eq!(fleet.read(0).await, 1);
        }
    }
    assert_eq!(fleet.fetches.load(Ordering::SeqCst), fetches);
    let again =
        eventually("another fetch", async || (fleet.read(0).await == 2).then(|| fetched.elapsed()));
    assert!(again.await <= TRUST + Duration::from_millis(600));
    // A purge that was made meanwhile reaches the other when the server goes on.
    fleet.origin.store(3, Ordering::SeqCst);
    let purged = fleet.caches[0]
        .purge_within(Purge::tag("tag").hard().wait(Tier::Shared), Duration::from_millis(50));
    drop(purged.await);
    assert_eq!(fleet.caches[0].stats().lower.purges_outstanding, 1);
    server.go_on();
    fleet.trusts().await;
    eventually("the purge to be acknowledged", async || {
        (fleet.caches[0].stats().lower.purges_outstanding == 0).then_some(())
    })
    .await;
    eventually("the other cache to hear of it", async || (fleet.read(1).await == 3).then_some(()))
        .await;
    assert_eq!(fleet.purge(1).await, TierState::Applied { by: 2, of: 2 });
    assert_eq!(fleet.caches[1].stats().lower.gaps, 0);
}

/// All read all the time, and compare, while values change and are purged and `harm` is done to the server.
async fn nothing_older_than_a_purge_is_served_while(
    mut server: Server,
    harm: impl AsyncFn(&mut Server),
) {
    let fleet = Fleet::new(&server, 3).await;
    fleet.settles().await;
    // What a purge that has held was made for.
    let (held, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut all = JoinSet::new();
    for cache in &fleet.caches {
        let (cache, origin) = (cache.clone(), Arc::clone(&fleet.origin));
        let (held, is_over) = (Arc::clone(&held), Arc::clone(&is_over));
        all.spawn(async move {
            let (fetches, mut reads) = (Arc::new(AtomicU64::new(0)), 0_u64);
            while !is_over.load(Ordering::SeqCst) {
                let least = held.load(Ordering::SeqCst);
                let value = read(&cache, &origin, &fetches).await;
                assert!(value >= least, "{value} was served after a purge for {least} had held");
                reads += 1;
                sleep(Duration::from_millis(1)).await;
            }
            assert!(reads > 100, "only {reads} reads");
        });
    }
    for (turn, cache) in fleet.caches.iter().enumerate() {
        let (cache, origin) = (cache.clone(), Arc::clone(&fleet.origin));
        let (held, is_over) = (Arc::clone(&held), Arc::clone(&is_over));
        all.spawn(async move {
            sleep(Duration::from_millis(7 * turn as u64)).await;
            while !is_over.load(Ordering::SeqCst) {
                let version = origin.fetch_add(1, Ordering::SeqCst) + 1;
                if matches!(
                    purge(&cache).await,
                    TierState::Applied { .. } | TierState::Lapsed { .. }
                ) {
                    held.fetch_max(version, Ordering::SeqCst);
                }
                sleep(Duration::from_millis(20)).await;
            }
        });
    }
    harm(&mut server).await;
    let before = held.load(Ordering::SeqCst);
    // It recovers from whatever was done.
    eventually("purges that hold again", async || {
        // Somebody who has seen something older has ended.
        assert!(all.try_join_next().is_none(), "somebody has ended before the end");
        (held.load(Ordering::SeqCst) > before + 10).then_some(())
    })
    .await;
    is_over.store(true, Ordering::SeqCst);
    while let Some(ended) = all.join_next().await {
        ended.unwrap();
    }
    fleet.trusts().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_older_than_a_purge_is_served_while_the_server_is_killed_and_started_again() {
    let durable = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"];
    let server = Server::start_with(&durable).await;
    nothing_older_than_a_purge_is_served_while(server, async |server| {
        for _ in 0..3 {
            sleep(Duration::from_millis(500)).await;
            server.kill().await;
            sleep(Duration::from_millis(300)).await;
            server.start_again().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_older_than_a_purge_is_served_while_the_server_loses_what_it_had() {
    let server = Server::start().await;
    nothing_older_than_a_purge_is_served_while(server, async |server| {
        // Emptied; an older copy of what it had; nothing.
        sleep(Duration::from_millis(300)).await;
        tell::<()>(server, &["FLUSHALL"]).await;
        sleep(Duration::from_millis(500)).await;
        tell::<()>(server, &["SAVE"]).await;
        sleep(Duration::from_millis(300)).await;
        server.kill().await;
        server.start_again().await;
        sleep(Duration::from_millis(1000)).await;
        tell::<()>(server, &["SCRIPT", "FLUSH"]).await;
        server.kill().await;
        std::fs::remove_file(server.folder().join("dump.rdb")).unwrap();
        sleep(Duration::from_millis(1500)).await;
        server.start_again().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_older_than_a_purge_is_served_while_the_server_stops_and_goes_on() {
    let server = Server::start().await;
    nothing_older_than_a_purge_is_served_while(server, async |server| {
        for time in [100, 900, 2500] {
            sleep(Duration::from_millis(200)).await;
            server.pause();
            sleep(Duration::from_millis(time)).await;
            server.go_on();
        }
    })
    .await;
}
