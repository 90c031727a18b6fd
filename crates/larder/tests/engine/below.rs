//! A tier below memory is asked once for each miss, and what it has serves as if it had been fetched here.

use std::time::Duration;

use bytes::Bytes;
use larder::{
    AnswerSource, Builder, Cache, Fetched, Freshness, Lifetime, ManualClock, Storage,
    codec::{Codec, CodecError, Text},
    lower::{Call, InProcess, LogPart, LowerTier, Point},
    reason::Reason,
};

use crate::support::{MINUTE, Origin, secs, settle};

/// Caches over one tier, as processes are, each with a clock of its own.
pub(crate) struct Cluster {
    pub(crate) tier: InProcess,
    /// The tier's.
    pub(crate) clock: ManualClock,
    pub(crate) origin: Origin,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::new();
        Cluster { tier: InProcess::new(clock.clock()), clock, origin: Origin::new() }
    }

    pub(crate) fn builder(&self) -> Builder<String> {
        let clock = ManualClock::new().clock();
        Cache::<String>::builder().ttl(MINUTE).clock(clock).lower(self.tier.clone(), Text)
    }

    pub(crate) fn cache(&self) -> Cache<String> {
        self.builder().build()
    }

    /// A cache that has fetched `key`, which is written below as well.
    pub(crate) async fn filled(&self, key: &str, value: &str) -> Cache<String> {
        let cache = self.cache();
        self.origin.fill(&cache, key, value).await;
        settle().await;
        cache
    }

    /// What `cache` answers without the origin.
    pub(crate) async fn found(&self, cache: &Cache<String>, key: &str) -> larder::Answer<String> {
        let calls = self.origin.calls();
        let answer = self.origin.ask(cache, key).await.unwrap().unwrap();
        assert_eq!(self.origin.calls(), calls);
        answer
    }
}

#[tokio::test(start_paused = true)]
async fn what_one_cache_has_fetched_another_finds_below_and_keeps() {
    let cluster = Cluster::new();
    let one = cluster.filled("key", "value").await;
    assert_eq!((cluster.tier.records(), one.stats().lower.writes), (1, 1));
    let other = cluster.cache();
    let found = cluster.found(&other, "key").await;
    assert_eq!((&*found.value, found.source), ("value", AnswerSource::Lower));
    assert_eq!((found.reason(), found.storage), (Reason::Shared, Storage::FreshFor(MINUTE)));
    assert_eq!(other.get("key").as_deref(), Some("value"));
    let stats = other.stats();
    assert_eq!((stats.fetches, stats.misses, stats.hits, stats.lower.hits), (0, 1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn only_a_leader_asks_below_and_only_once() {
    let cluster = Cluster::new();
    cluster.filled("key", "value").await;
    let other = cluster.cache();
    let (heads, leases) = (cluster.tier.calls(Call::Heads), cluster.tier.calls(Call::Lease));
    cluster.tier.hold(Call::Heads, Point::Answer);
    let readers: Vec<_> = (0..20).map(|_| cluster.origin.ask(&other, "key")).collect();
    settle().await;
    assert_eq!(cluster.tier.held(), 1);
    cluster.tier.release_all();
    for reader in readers {
        assert_eq!(reader.await.unwrap().unwrap().source, AnswerSource::Lower);
    }
    for _ in 0..100 {
        assert!(other.get("key").is_some());
    }
    let asked = (cluster.tier.calls(Call::Heads) - heads, cluster.tier.calls(Call::Lease) - leases);
    assert_eq!(asked, (1, 0), "a hit asks nothing, and what is there needs no lease");
    assert_eq!((other.stats().misses, other.stats().collapsed), (20, 19));
}

#[tokio::test(start_paused = true)]
async fn readers_of_a_cold_key_of_several_caches_cause_one_fetch() {
    let cluster = Cluster::new();
    let caches = [cluster.cache(), cluster.cache(), cluster.cache()];
    let readers: Vec<_> = (0..30).map(|nth| cluster.origin.ask(&caches[nth % 3], "key")).collect();
    settle().await;
    assert_eq!(cluster.origin.calls(), 1);
    cluster.origin.answer("value");
    for reader in readers {
        assert_eq!(reader.await.unwrap().unwrap().value, "value");
    }
    assert_eq!(cluster.origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_another_process_takes_over_when_that_fails_or_vanishes() {
    for vanishes in [true, false] {
        let cluster = Cluster::new();
        let (one, other) = (cluster.cache(), cluster.cache());
        let first = cluster.origin.ask(&one, "key");
        settle().await;
        let second = cluster.origin.ask(&other, "key");
        settle().await;
        assert_eq!(cluster.origin.calls(), 1);
        if vanishes {
            first.abort();
            drop(one);
        } else {
            cluster.origin.fail("down");
            assert!(first.await.unwrap().is_err());
        }
        settle().await;
        assert_eq!(cluster.origin.calls(), 2);
        cluster.origin.answer("value");
        assert_eq!(second.await.unwrap().unwrap().value, "value");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever_for_another_process() {
    let cluster = Cluster::new();
    let (one, other) = (cluster.cache(), cluster.cache());
    let _first = cluster.origin.ask(&one, "key");
    settle().await;
    let second = cluster.origin.ask(&other, "key");
    tokio::time::sleep(secs(6)).await;
    assert_eq!(cluster.origin.calls(), 2);
    drop(cluster.origin.take());
    cluster.origin.answer("value");
    assert_eq!(second.await.unwrap().unwrap().value, "value");
}

#[tokio::test(start_paused = true)]
async fn a_large_value_lies_in_pieces_and_a_lost_one_is_a_miss() {
    let cluster = Cluster::new();
    let value: String = ('a'..='z').cycle().take(1 << 20).collect();
    cluster.filled("key", &value).await;
    assert_eq!(cluster.tier.calls(Call::Write), 8);
    let other = cluster.cache();
    assert_eq!(cluster.found(&other, "key").await.value, value);
    assert_eq!(cluster.tier.calls(Call::Piece), 8);
    cluster.tier.lose_pieces();
    let another = cluster.cache();
    cluster.origin.fill(&another, "key", "anew").await;
    settle().await;
    assert_eq!(cluster.found(&cluster.cache(), "key").await.value, "anew");
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_larger_than_memory_is_not_brought_up() {
    let cluster = Cluster::new();
    cluster.filled("key", &"v".repeat(100_000)).await;
    let small = cluster.builder().max_bytes(64 << 10).build();
    cluster.origin.fill(&small, "key", "short").await;
    assert_eq!(cluster.tier.calls(Call::Piece), 0);
}

#[tokio::test(start_paused = true)]
async fn a_value_ages_below_and_is_no_fresher_in_a_process_that_is_younger() {
    let cluster = Cluster::new();
    cluster.filled("key", "value").await;
    cluster.clock.advance(secs(45));
    let clock = ManualClock::new();
    let other = cluster.builder().clock(clock.clock()).build();
    let found = cluster.found(&other, "key").await;
    assert_eq!((found.age, found.storage), (secs(45), Storage::FreshFor(secs(15))));
    clock.advance(secs(14));
    assert_eq!(other.entry("key").unwrap().age, secs(59));
    assert!(other.get("key").is_some());
    clock.advance(secs(1));
    assert_eq!(other.get("key"), None);
    cluster.clock.advance(secs(15));
    cluster.origin.fill(&cluster.cache(), "key", "new").await;
}

#[tokio::test(start_paused = true)]
async fn lifetime_and_tags_come_with_the_value() {
    let cluster = Cluster::new();
    let one = cluster.cache();
    let reader = cluster.origin.ask(&one, "key");
    settle().await;
    let lifetime = Lifetime::fresh_for(secs(10)).stale_if_error(secs(20));
    let fetched = Fetched::new("value".to_owned()).lifetime(lifetime).tags(["a", "b"]);
    cluster.origin.reply(Ok(fetched));
    reader.await.unwrap().unwrap();
    settle().await;
    let other = cluster.cache();
    cluster.found(&other, "key").await;
    let entry = other.entry("key").unwrap();
    assert_eq!((entry.lifetime, entry.tags), (lifetime, 2));
    other.purge_tag("b");
    assert_eq!(other.get("key"), None);
}

#[tokio::test(start_paused = true)]
async fn what_is_stale_below_is_a_rescue_and_no_answer() {
    let windows =
        Lifetime::fresh_for(MINUTE).stale_while_revalidate(secs(20)).stale_if_error(MINUTE);
    for (age, reason) in [(70, Reason::StaleIfError), (100, Reason::StaleIfError)] {
        for fails in [true, false] {
            let cluster = Cluster::new();
            let one = cluster.cache();
            let reader = cluster.origin.ask(&one, "key");
            settle().await;
            cluster.origin.reply(Ok(Fetched::new("old".to_owned()).lifetime(windows)));
            reader.await.unwrap().unwrap();
            settle().await;
            cluster.clock.advance(secs(age));
            let other = cluster.cache();
            let readers = [(); 3].map(|()| cluster.origin.ask(&other, "key"));
            settle().await;
            assert_eq!(cluster.origin.calls(), 2, "it is asked for all the same");
            match fails {
                true => cluster.origin.fail("down"),
                false => cluster.origin.answer("new"),
            }
            for reader in readers {
                let answer = reader.await.unwrap().unwrap();
                match fails {
                    true => assert_eq!(
                        (&*answer.value, answer.source),
                        ("old", AnswerSource::Stale(reason))
                    ),
                    false => assert_eq!(answer.value, "new"),
                }
            }
            assert_eq!(other.stats().lower.rescues, 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_a_stale_value_from_below_is_fetched_anew_has_it_at_once() {
    let cluster = Cluster::new();
    let builder = || cluster.builder().stale_while_revalidate(MINUTE);
    cluster.origin.fill(&builder().build(), "key", "old").await;
    settle().await;
    cluster.clock.advance(secs(70));
    let other = builder().build();
    let first = cluster.origin.ask(&other, "key");
    settle().await;
    let second = cluster.origin.ask(&other, "key").await.unwrap().unwrap();
    assert_eq!(second.source, AnswerSource::Stale(Reason::StaleWhileRevalidate));
    cluster.origin.answer("new");
    assert_eq!(first.await.unwrap().unwrap().value, "new");
}

#[tokio::test(start_paused = true)]
async fn a_soft_timeout_ends_with_what_came_from_below() {
    let cluster = Cluster::new();
    let builder = || cluster.builder().stale_if_error(MINUTE).soft_timeout(secs(1));
    cluster.origin.fill(&builder().build(), "key", "old").await;
    settle().await;
    cluster.clock.advance(secs(70));
    let other = builder().build();
    let answer = cluster.origin.ask(&other, "key").await.unwrap().unwrap();
    assert_eq!((&*answer.value, answer.reason()), ("old", Reason::SoftTimeout));
    cluster.origin.answer("new");
    settle().await;
    assert_eq!(other.get("key").as_deref(), Some("new"));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_takes_what_another_has_fetched_and_not_what_began_it() {
    let cluster = Cluster::new();
    let clock = ManualClock::new();
    let builder = || cluster.builder().refresh_ahead(0.5);
    let one = builder().clock(clock.clock()).build();
    cluster.origin.fill(&one, "key", "old").await;
    settle().await;
    let pass = |time: Duration| {
        clock.advance(time);
        cluster.clock.advance(time);
    };
    pass(secs(40));
    // The same value lies below, as old as in memory.
    assert_eq!(cluster.origin.ask(&one, "key").await.unwrap().unwrap().value, "old");
    settle().await;
    assert_eq!(cluster.origin.calls(), 2);
    cluster.origin.answer("new");
    settle().await;
    // Another process still has the old one, and finds the new one below.
    let other = builder().clock(clock.clock()).build();
    other.insert_with("elsewhere", String::new(), Lifetime::fresh_for(MINUTE), [""; 0]);
    cluster.found(&other, "key").await;
    pass(secs(31));
    cluster.origin.ask(&one, "key").await.unwrap().unwrap();
    settle().await;
    cluster.origin.answer("newest");
    settle().await;
    let calls = cluster.origin.calls();
    assert_eq!(cluster.origin.ask(&other, "key").await.unwrap().unwrap().value, "new");
    settle().await;
    assert_eq!(other.get("key").as_deref(), Some("newest"));
    assert_eq!(cluster.origin.calls(), calls);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_to_be_stored_is_not_below_either() {
    let cluster = Cluster::new();
    let one = cluster.cache();
    let tags = (0..257).map(|number| format!("tag {number}"));
    let fetched = [
        Fetched::do_not_store("value".to_owned()),
        Fetched::new("value".to_owned()).ttl(Duration::ZERO),
        Fetched::new("value".to_owned()).tags(tags),
    ];
    for fetched in fetched {
        let reader = cluster.origin.ask(&one, "key");
        settle().await;
        cluster.origin.reply(Ok(fetched));
        reader.await.unwrap().unwrap();
        settle().await;
        assert_eq!(cluster.tier.records(), 0);
    }
    assert_eq!(one.stats().lower.writes_dropped, 0);
}

#[tokio::test(start_paused = true)]
async fn what_memory_has_no_room_for_is_below_all_the_same() {
    let cluster = Cluster::new();
    let small = cluster.builder().max_entry_bytes(200).build();
    cluster.origin.fill(&small, "key", &"v".repeat(1000)).await;
    settle().await;
    assert_eq!(small.get("key"), None);
    assert_eq!(cluster.found(&small, "key").await.source, AnswerSource::Lower);
}

/// Text that is written as another version of a program would, or cannot be read.
struct Version(&'static str, fn(Bytes) -> Result<String, CodecError>);

impl Codec<String> for Version {
    fn format(&self) -> &str {
        self.0
    }

    fn encode(&self, value: &String) -> Result<Bytes, CodecError> {
        Ok(Bytes::copy_from_slice(value.as_bytes()))
    }

    fn decode(&self, bytes: Bytes) -> Result<String, CodecError> {
        self.1(bytes)
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_a_miss_and_is_replaced() {
    let cluster = Cluster::new();
    let is_text = |bytes: Bytes| Ok(String::from_utf8(bytes.into())?);
    let over = |version| Cache::<String>::builder().lower(cluster.tier.clone(), version);
    let others: [(&str, Cache<String>); 4] = [
        ("another format", over(Version("2", is_text)).build()),
        ("an error", over(Version("utf-8", |_| Err("no".into()))).build()),
        ("a panic", over(Version("utf-8", |_| panic!("no"))).build()),
        ("another cache", over(Version("utf-8", is_text)).name("posts").build()),
    ];
    for (name, other) in others {
        cluster.tier.forget();
        cluster.filled("key", "value").await;
        cluster.origin.fill(&other, "key", "own").await;
        settle().await;
        let stats = other.stats();
        assert_eq!((stats.lower.unreadable, stats.fetch_failures), (1, 0), "{name}");
        assert_eq!(stats.lower.writes, 1, "{name}");
    }
}

/// Values that cannot be written.
struct Unwritable;

impl Codec<String> for Unwritable {
    fn format(&self) -> &str {
        "none"
    }

    fn encode(&self, value: &String) -> Result<Bytes, CodecError> {
        if value == "panics" { panic!("no") } else { Err("no".into()) }
    }

    fn decode(&self, _bytes: Bytes) -> Result<String, CodecError> {
        Err("no".into())
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_written_is_in_memory_only_and_nobody_waits_for_it() {
    let cluster = Cluster::new();
    let cache = Cache::<String>::builder().lower(cluster.tier.clone(), Unwritable).build();
    for value in ["fails", "panics"] {
        cluster.origin.fill(&cache, value, value).await;
        settle().await;
        assert_eq!(cache.get(value).as_deref(), Some(value));
    }
    assert_eq!((cluster.tier.records(), cache.stats().lower.unreadable), (0, 2));
    // The lease is given back.
    let other = cluster.cache();
    cluster.origin.fill(&other, "panics", "fetched").await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_does_not_wait_for_the_write_and_a_shut_down_does() {
    let cluster = Cluster::new();
    let cache = cluster.cache();
    cluster.tier.hold(Call::Commit, Point::Request);
    cluster.origin.fill(&cache, "key", "value").await;
    assert_eq!((cluster.tier.held(), cluster.tier.records()), (1, 0));
    let shut_down = tokio::spawn({
        let cache = cache.clone();
        async move { cache.shut_down(MINUTE).await }
    });
    tokio::task::yield_now().await;
    assert!(!shut_down.is_finished());
    cluster.tier.release_all();
    assert!(shut_down.await.unwrap());
    assert_eq!(cluster.tier.records(), 1);
}

#[tokio::test(start_paused = true)]
async fn only_so_many_are_written_at_once() {
    let cluster = Cluster::new();
    let settings = larder::lower::Settings { max_writes: 2, ..Default::default() };
    let cache = Cache::<String>::builder().lower_with(cluster.tier.clone(), Text, settings).build();
    cluster.tier.hold(Call::Commit, Point::Request);
    for key in ["a", "b", "c"] {
        cluster.origin.fill(&cache, key, "value").await;
    }
    assert_eq!(cluster.tier.held(), 2);
    cluster.tier.release_all();
    settle().await;
    let stats = cache.stats().lower;
    assert_eq!((stats.writes, stats.writes_dropped, cluster.tier.records()), (2, 1, 2));
}

#[test]
fn outside_a_runtime_nothing_is_asked_below() {
    let cluster = Cluster::new();
    let cache = cluster.cache();
    let value = futures_util::FutureExt::now_or_never(
        cache.get_or_fetch("key", async || "value".to_owned()),
    );
    assert_eq!(value.as_deref(), Some("value"));
    cache.remove("key");
    assert_eq!(cluster.tier.calls(Call::Heads), 0);
    assert_eq!(cache.stats().lower.purges_outstanding, 1);
}

#[tokio::test(start_paused = true)]
async fn a_tier_tells_others_what_lies_there() {
    let cluster = Cluster::new();
    cluster.filled("key", "value").await;
    let heads = cluster.tier.heads("key", LogPart::After(None)).await.unwrap();
    assert_eq!(heads.records.len(), 1);
    assert_eq!(heads.tail.unwrap().position.number, 0);
    assert_eq!(cluster.cache().entry("key").map(|entry| entry.freshness), None::<Freshness>);
}
