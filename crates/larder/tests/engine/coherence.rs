//! Caches above a tier that knows its readers: a purge reaches all of them, and none goes by what it no longer knows.

use std::time::{Duration, Instant};

use larder::{
    Builder, Cache, Clock, Lifetime, Mode, Purge, Receipt, Scope, Tier, TierState,
    codec::Text,
    lower::{Call, InProcess, LowerTier, Reader, Settings, Unsure},
};
use tokio::time::sleep;

use crate::support::secs;

const SHORT: Duration = Duration::from_millis(200);

/// The clock that hits read goes on in steps.
const STEP: Duration = Duration::from_millis(20);

fn tier() -> InProcess {
    InProcess::new(Clock::system()).with_readers()
}

fn builder(tier: &InProcess, settings: Settings) -> Builder<String> {
    Cache::builder().ttl(secs(3600)).stale_while_revalidate(secs(3600)).lower_with(
        tier.clone(),
        Text,
        settings,
    )
}

/// One that has heard of its tier.
async fn cache(tier: &InProcess, settings: Settings) -> Cache<String> {
    let cache = builder(tier, settings).build();
    until(|| cache.stats().lower.is_trusted).await;
    cache
}

async fn until(is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < secs(20), "it does not come true");
        sleep(Duration::from_millis(1)).await;
    }
}

async fn fetched(cache: &Cache<String>, key: &str, value: &str) -> String {
    let value = value.to_owned();
    cache.get_or_fetch(key, async move || value).await
}

async fn purged(cache: &Cache<String>, scope: Scope) -> Receipt {
    let purge = Purge { scope, mode: Mode::Hard, wait: Tier::Shared, asked: None };
    cache.purge(purge).await.unwrap()
}

fn shared(receipt: &Receipt) -> &TierState {
    &receipt.tiers[1].state
}

fn scopes() -> [Scope; 4] {
    [
        Scope::Key("key".to_owned()),
        Scope::Prefix("ke".to_owned()),
        Scope::Tag("tag".to_owned()),
        Scope::Everything,
    ]
}

#[tokio::test]
async fn a_purge_that_holds_is_done_in_every_memory_though_nobody_misses() {
    for scope in scopes() {
        let tier = tier();
        let mut caches = Vec::new();
        for _ in 0..3 {
            let cache = cache(&tier, Settings::default()).await;
            cache
                .get_or_fetch("key", async || larder::Fetched::new("old".to_owned()).tags(["tag"]))
                .await;
            assert_eq!(cache.get("key").as_deref(), Some("old"));
            caches.push(cache);
        }
        let reads = tier.calls(Call::Heads);
        let receipt = purged(&caches[1], scope.clone()).await;
        assert_eq!(shared(&receipt), &TierState::Applied { by: 3, of: 3 }, "{scope}");
        for cache in &caches {
            assert_eq!(cache.get("key"), None, "{scope}");
        }
        assert_eq!(tier.calls(Call::Heads), reads);
    }
}

#[tokio::test]
async fn what_is_fetched_is_asked_for_in_one_read_without_the_log() {
    let tier = tier();
    let (one, other) =
        (cache(&tier, Settings::default()).await, cache(&tier, Settings::default()).await);
    fetched(&one, "key", "value").await;
    until(|| one.stats().lower.writes == 1).await;
    let tails = tier.calls(Call::Tail);
    assert_eq!(fetched(&other, "key", "another").await, "value");
    assert_eq!(tier.calls(Call::Tail), tails);
}

/// No purge waits for one of which the tier has never heard: what it serves as stale would be stale for ever.
#[tokio::test]
async fn before_its_tier_has_answered_a_cache_goes_by_nothing_and_fetches() {
    for unsure in [Unsure::Fetch, Unsure::ServeStale] {
        let tier = tier();
        tier.go_away();
        let cache = builder(&tier, Settings { unsure, ..Settings::default() }).build();
        cache.insert("key", "inserted".to_owned());
        assert_eq!(cache.get("key"), None);
        assert_eq!(fetched(&cache, "key", "fetched").await, "fetched", "{unsure:?}");
        assert_eq!(fetched(&cache, "key", "again").await, "again", "{unsure:?}");
    }
}

#[tokio::test]
async fn without_its_tier_a_cache_goes_by_what_it_knew_and_then_by_what_it_fetches_itself() {
    let tier = tier();
    let settings = Settings { max_incoherence: SHORT, ..Settings::default() };
    let cache = cache(&tier, settings).await;
    fetched(&cache, "key", "before").await;
    tier.go_away();
    let lost = Instant::now();
    until(|| cache.get("key").is_none()).await;
    assert!(lost.elapsed() <= SHORT + secs(2), "{:?}", lost.elapsed());
    assert!(!cache.stats().lower.is_trusted);
    // Each fetch is used as long as what was known when the tier was lost.
    let began = Instant::now();
    assert_eq!(fetched(&cache, "key", "alone").await, "alone");
    let again = fetched(&cache, "key", "anew").await;
    assert!(again == "alone" || began.elapsed() >= SHORT - STEP, "{again}");
    until(|| cache.get("key").is_none()).await;
    assert!(began.elapsed() >= SHORT - STEP);
    // What is there is gone by again, for nobody has purged it.
    tier.come_back();
    until(|| cache.get("key").is_some()).await;
}

#[tokio::test]
async fn what_was_purged_while_the_tier_was_away_is_gone_when_it_is_back() {
    let tier = tier();
    let settings = Settings { max_incoherence: SHORT, ..Settings::default() };
    let (one, other) = (cache(&tier, settings).await, cache(&tier, settings).await);
    for cache in [&one, &other] {
        fetched(cache, "key", "old").await;
        fetched(cache, "kept", "old").await;
    }
    tier.go_away();
    until(|| other.get("key").is_none()).await;
    let receipt =
        one.purge_within(Purge::key("key").hard().wait(Tier::Shared), SHORT).await.unwrap();
    assert!(matches!(shared(&receipt), TierState::Failed { .. }), "{receipt}");
    tier.come_back();
    until(|| one.get("kept").is_some() && other.get("kept").is_some()).await;
    assert_eq!(one.get("key"), None);
    // The other one learns of it when it has been sent.
    until(|| other.get("key").is_none()).await;
    assert_eq!(other.get("kept").as_deref(), Some("old"));
}

#[tokio::test]
async fn what_nobody_is_sure_of_may_be_served_as_stale() {
    let tier = tier();
    let unsure = Unsure::ServeStale;
    let settings = Settings { max_incoherence: SHORT, unsure, ..Settings::default() };
    let cache = cache(&tier, settings).await;
    fetched(&cache, "key", "old").await;
    tier.go_away();
    until(|| cache.get("key").is_none()).await;
    assert_eq!(fetched(&cache, "key", "new").await, "old");
    assert_eq!(cache.stats().stale_served, 1);
}

#[tokio::test(start_paused = true)]
async fn a_purge_waits_for_a_silent_reader_until_it_can_serve_nothing_older_and_names_it() {
    let tier = tier();
    let cache = cache(&tier, Settings::default()).await;
    let silent = Reader { id: 1, name: "silent".to_owned() };
    let readers = tier.readers().unwrap();
    readers.renew(&silent, None).await.unwrap();
    let began = tokio::time::Instant::now();
    let receipt = purged(&cache, Scope::Everything).await;
    let lapsed = TierState::Lapsed { by: 1, of: 2, missing: vec!["silent".to_owned()] };
    assert_eq!(shared(&receipt), &lapsed);
    assert_eq!(began.elapsed(), secs(12));
    assert!(
        receipt.to_string().ends_with("shared lapsed by 1 of 2, without silent (single)"),
        "{receipt}"
    );
    // Who has a shorter time is told that it does not hold yet.
    let purge = Purge::everything().wait(Tier::Shared);
    let receipt = cache.purge_within(purge, secs(3)).await.unwrap();
    let TierState::Failed { reason } = shared(&receipt) else { panic!("{receipt}") };
    assert!(reason.contains("silent"), "{reason}");
    readers.leave(&silent).await.unwrap();
    let receipt = purged(&cache, Scope::Everything).await;
    assert_eq!(shared(&receipt), &TierState::Applied { by: 1, of: 1 });
}

#[tokio::test]
async fn who_shuts_down_is_waited_for_no_longer_and_goes_by_nothing() {
    for unsure in [Unsure::Fetch, Unsure::ServeStale] {
        let tier = tier();
        let settings = Settings { unsure, ..Settings::default() };
        let (one, other) = (cache(&tier, settings).await, cache(&tier, settings).await);
        fetched(&other, "key", "value").await;
        assert!(other.shut_down(secs(5)).await);
        assert_eq!(other.get("key"), None);
        let receipt = purged(&one, Scope::Everything).await;
        assert_eq!(shared(&receipt), &TierState::Applied { by: 1, of: 1 });
        assert_eq!(fetched(&other, "key", "another").await, "another", "{unsure:?}");
    }
}

#[tokio::test]
async fn a_log_that_has_lost_something_takes_all_of_memory_with_it_unasked() {
    type Loss = fn(&InProcess);
    let losses: [(&str, Loss); 2] = [
        ("another log", InProcess::begin_another_log),
        ("a trimmed one", |tier| {
            tier.hold(Call::Follow, larder::lower::Point::Request);
            tier.hold(Call::Renew, larder::lower::Point::Request);
        }),
    ];
    for (name, lose) in losses {
        let tier = tier();
        let (one, other) =
            (cache(&tier, Settings::default()).await, cache(&tier, Settings::default()).await);
        let lifetime = Lifetime::fresh_for(secs(3600));
        other.insert_with("key", "old".to_owned(), lifetime, ["tag"]);
        until(|| other.stats().lower.purges_outstanding == 0).await;
        lose(&tier);
        for number in 0..10 {
            one.remove(format!("{number}"));
        }
        until(|| one.stats().lower.purges_outstanding == 0).await;
        tier.trim_log(1);
        tier.release_all();
        until(|| other.stats().lower.gaps > 0).await;
        assert_eq!(other.get("key"), None, "{name}");
    }
}
