//! A tier below memory that fails or is slow costs hits, and never a reader more than its budget.

use bytes::Bytes;
use larder::{
    BuildError, Cache, Clock, Purge, Tier, TierState,
    codec::Text,
    lower::{
        Answering, BodyId, Call, Commit, Heads, InProcess, LeaseAnswer, LogPart, LowerPurge,
        LowerTier, Piece, Point, Position, Record, Settings, Tail,
    },
};
use tokio::time::{Duration, Instant};

use crate::{
    below::Cluster,
    support::{secs, settle},
};

const BUDGET: Duration = Duration::from_millis(50);

#[tokio::test(start_paused = true)]
async fn a_tier_that_fails_is_a_miss_and_no_error() {
    let cluster = Cluster::new();
    cluster.filled("key", "below").await;
    let cache = cluster.cache();
    cluster.tier.go_away();
    cluster.origin.fill(&cache, "key", "fetched").await;
    let stats = cache.stats();
    assert_eq!((stats.fetch_failures, stats.lower.misses), (0, 1));
    assert!(stats.lower.failures > 0);
    assert_eq!(cache.get("key").as_deref(), Some("fetched"));
}

#[tokio::test(start_paused = true)]
async fn a_slow_tier_costs_no_more_than_its_budget() {
    type Slow = fn(&Cluster);
    let slow: [(&str, Slow); 3] = [
        ("delayed", |cluster| cluster.tier.delay(secs(10))),
        ("answers late", |cluster| cluster.tier.answer_late(secs(10))),
        ("never answers", |cluster| cluster.tier.hold(Call::Heads, Point::Request)),
    ];
    for (name, slow) in slow {
        let cluster = Cluster::new();
        cluster.filled("key", "below").await;
        let cache = cluster.cache();
        slow(&cluster);
        let began = Instant::now();
        let reader = cluster.origin.ask(&cache, "key");
        tokio::time::sleep(BUDGET + Duration::from_millis(1)).await;
        cluster.origin.answer("fetched");
        assert_eq!(reader.await.unwrap().unwrap().value, "fetched", "{name}");
        assert!(began.elapsed() < 2 * BUDGET, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_hard_timeout_has_the_time_below_in_it() {
    let cluster = Cluster::new();
    let cache = cluster.builder().hard_timeout(secs(1)).build();
    cluster.tier.hold(Call::Heads, Point::Request);
    let began = Instant::now();
    let failed = cluster.origin.ask(&cache, "key").await.unwrap();
    assert!(matches!(failed, Err(larder::FetchError::Timeout { .. })), "{failed:?}");
    assert!(began.elapsed() <= secs(1) + Duration::from_millis(2), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_fails_again_and_again_is_left_alone_and_tried_later() {
    let cluster = Cluster::new();
    cluster.filled("key", "below").await;
    let cache = cluster.cache();
    cluster.tier.go_away();
    for number in 0..20 {
        cluster.origin.fill(&cache, &format!("{number}"), "fetched").await;
    }
    let stats = cache.stats().lower;
    assert!(stats.failures <= 6 && stats.left_alone >= 15, "{stats:?}");
    tokio::time::sleep(secs(1)).await;
    cluster.origin.fill(&cache, "one that tries", "fetched").await;
    assert_eq!(cache.stats().lower.failures, stats.failures + 1);
    cluster.tier.come_back();
    tokio::time::sleep(secs(1)).await;
    assert_eq!(cluster.found(&cache, "key").await.value, "below", "it is back");
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_is_back_is_used_without_a_restart_and_has_the_purges_it_missed() {
    let cluster = Cluster::new();
    let cache = cluster.filled("key", "old").await;
    cluster.filled("kept", "kept").await;
    cluster.tier.go_away();
    cache.remove("key");
    cache.purge_tag("tag");
    cluster.origin.fill(&cache, "key", "new").await;
    tokio::time::sleep(secs(30)).await;
    assert_eq!(cache.stats().lower.purges_outstanding, 2);
    cluster.tier.come_back();
    tokio::time::sleep(secs(2)).await;
    assert_eq!(cache.stats().lower.purges_outstanding, 0);
    assert_eq!(cluster.found(&cache, "kept").await.value, "kept");
    cluster.origin.fill(&cluster.cache(), "key", "newer").await;
}

#[tokio::test(start_paused = true)]
async fn every_other_call_may_fail_and_all_readers_are_answered() {
    for nth in 2..8 {
        let cluster = Cluster::new();
        let caches = [cluster.cache(), cluster.cache()];
        cluster.tier.fail_every(nth);
        for round in 0..10 {
            let value = format!("{round}");
            let readers = [0, 1, 0, 1].map(|at| cluster.origin.ask(&caches[at], "key"));
            settle().await;
            while cluster.origin.waiting() > 0 {
                cluster.origin.answer(&value);
                settle().await;
            }
            for reader in readers {
                let read = reader.await.unwrap().unwrap().value;
                assert_eq!(read, value, "of this round, each {nth}th call fails");
            }
            // It is sent until it gets there.
            caches[0].remove("key");
            tokio::time::sleep(secs(3)).await;
            let receipt = caches[0].purge(Purge::key("key").hard().wait(Tier::Shared)).await;
            let state = receipt.unwrap().tiers.pop().unwrap().state;
            assert_eq!(state, TierState::Applied { by: 1, of: 1 });
            while caches[1].catch_up().await.is_err() {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_forgets_is_filled_again() {
    let cluster = Cluster::new();
    cluster.filled("key", "value").await;
    cluster.tier.forget();
    let cache = cluster.cache();
    cluster.origin.fill(&cache, "key", "anew").await;
    settle().await;
    assert_eq!(cluster.found(&cluster.cache(), "key").await.value, "anew");
}

#[tokio::test(start_paused = true)]
async fn settings_hold_at_their_ends() {
    type Change = fn(&mut Settings, Duration, usize);
    let changes: [(&str, Change); 8] = [
        ("lower.budget", |settings, time, _| settings.budget = time),
        ("lower.failures", |settings, _, count| settings.failures = count as u32),
        ("lower.rest", |settings, time, _| settings.rest = time),
        ("lower.max_outstanding", |settings, _, count| settings.max_outstanding = count),
        ("lower.lease", |settings, time, _| settings.lease = time),
        ("lower.max_writes", |settings, _, count| settings.max_writes = count),
        ("lower.lease_wait", |settings, time, _| settings.lease_wait = time),
        ("lower.purge_wait", |settings, time, _| settings.purge_wait = time),
    ];
    let ends = [(Duration::ZERO, 0), (Duration::from_nanos(1), 1), (Duration::MAX, usize::MAX)];
    for (name, change) in changes {
        for (time, count) in ends {
            let cluster = Cluster::new();
            let mut settings = Settings::default();
            change(&mut settings, time, count);
            let builder = cluster.builder().lower_with(cluster.tier.clone(), Text, settings);
            let may_be_zero = ["lower.max_writes", "lower.lease_wait", "lower.purge_wait"];
            let cache = match builder.try_build() {
                Ok(cache) => cache,
                Err(BuildError::Zero { setting }) => {
                    assert_eq!((setting, count), (name, 0));
                    assert!(!may_be_zero.contains(&name));
                    continue;
                }
                Err(other) => panic!("{other}"),
            };
            assert!(count > 0 || may_be_zero.contains(&name), "{name} is 0");
            cluster.origin.fill(&cache, "key", "value").await;
            settle().await;
            for key in ["key", "other"] {
                let receipt = cache.purge(Purge::key(key).hard().wait(Tier::Shared)).await;
                assert_eq!(receipt.unwrap().tiers.len(), 2, "{name}");
            }
            cluster.tier.go_away();
            cluster.origin.fill(&cache, "key", "anew").await;
            assert_eq!(cache.get("key").as_deref(), Some("anew"), "{name}");
        }
    }
}

/// A tier whose log is lost before each purge that is appended.
struct Unsteady(InProcess);

impl LowerTier for Unsteady {
    fn heads<'a>(&'a self, key: &'a str, log: LogPart) -> Answering<'a, Heads> {
        self.0.heads(key, log)
    }

    fn piece(&self, body: BodyId, index: u32) -> Answering<'_, Bytes> {
        self.0.piece(body, index)
    }

    fn write(&self, piece: Piece) -> Answering<'_, ()> {
        self.0.write(piece)
    }

    fn commit<'a>(&'a self, key: &'a str, record: Record, most: usize) -> Answering<'a, Commit> {
        self.0.commit(key, record, most)
    }

    fn discard(&self, body: BodyId, pieces: u32) -> Answering<'_, ()> {
        self.0.discard(body, pieces)
    }

    fn append<'a>(&'a self, purges: &'a [LowerPurge]) -> Answering<'a, Position> {
        self.0.begin_another_log();
        let appended = self.0.append(purges);
        Box::pin(async {
            let position = appended.await;
            // What was appended is lost with it.
            self.0.begin_another_log();
            position
        })
    }

    fn tail(&self, since: Option<Position>) -> Answering<'_, Tail> {
        self.0.tail(since)
    }

    fn lease<'a>(
        &'a self,
        key: &'a str,
        wanted: &'a str,
        log: LogPart,
        length: Duration,
    ) -> Answering<'a, LeaseAnswer> {
        self.0.lease(key, wanted, log, length)
    }
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_begins_its_log_anew_each_time_is_asked_seldom_and_the_receipt_says_why() {
    let below = InProcess::new(Clock::system());
    let cache = Cache::<String>::builder().lower(Unsteady(below.clone()), Text).build();
    let receipt = cache.purge(Purge::key("key").hard().wait(Tier::Shared)).await.unwrap();
    let TierState::Failed { reason } = &receipt.tiers[1].state else { panic!("{receipt}") };
    assert!(reason.contains("anew"), "{reason}");
    let calls = below.calls(Call::Append);
    assert!(calls < 100, "{calls} within five seconds");
}
