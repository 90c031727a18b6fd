//! Extremes: whatever number a setting is given, it is refused with a sentence, or it works.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use larder::{BuildError, Builder, Cache, Eviction, Fetched, Lifetime, ManualClock, Storage};
use proptest::prelude::*;
use tokio::runtime;

use crate::support::MINUTE;

fn duration() -> impl Strategy<Value = Duration> {
    let named = vec![0, 1, 999_999_999, 1_000_000_000, 60_000_000_000, u64::MAX];
    prop_oneof![
        2 => Just(Duration::MAX),
        1 => Just(Duration::from_secs(u64::MAX)),
        4 => prop::sample::select(named).prop_map(Duration::from_nanos),
        1 => any::<Duration>(),
    ]
}

fn number() -> impl Strategy<Value = usize> {
    prop::sample::select(vec![
        0,
        1,
        2,
        1000,
        usize::MAX >> 4,
        usize::MAX >> 3,
        usize::MAX - 1,
        usize::MAX,
    ])
}

fn fraction() -> impl Strategy<Value = f64> {
    let one_less = 1.0 - f64::EPSILON;
    prop::sample::select(vec![
        0.0,
        -0.0,
        -0.5,
        0.5,
        one_less,
        1.0,
        2.0,
        f64::MIN_POSITIVE,
        f64::MIN,
        f64::MAX,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
    ])
}

/// One call of a builder's method with a number.
#[derive(Clone, Debug)]
enum Set {
    Ttl(Duration),
    WhileRevalidate(Duration),
    IfError(Duration),
    Negative(Duration),
    Soft(Duration),
    Hard(Duration),
    RefreshAhead(f64),
    Jitter(f64),
    Bytes(usize),
    Entries(usize),
    EntryBytes(usize),
    Fetches(usize),
    Refreshes(usize),
    Tags(usize),
    Lru,
}

impl Set {
    fn any() -> impl Strategy<Value = Set> {
        prop_oneof![
            duration().prop_map(Set::Ttl),
            duration().prop_map(Set::WhileRevalidate),
            duration().prop_map(Set::IfError),
            duration().prop_map(Set::Negative),
            duration().prop_map(Set::Soft),
            duration().prop_map(Set::Hard),
            fraction().prop_map(Set::RefreshAhead),
            fraction().prop_map(Set::Jitter),
            number().prop_map(Set::Bytes),
            number().prop_map(Set::Entries),
            number().prop_map(Set::EntryBytes),
            number().prop_map(Set::Fetches),
            number().prop_map(Set::Refreshes),
            number().prop_map(Set::Tags),
            Just(Set::Lru),
        ]
    }

    fn on(&self, builder: Builder<String>) -> Builder<String> {
        match *self {
            Set::Ttl(to) => builder.ttl(to),
            Set::WhileRevalidate(to) => builder.stale_while_revalidate(to),
            Set::IfError(to) => builder.stale_if_error(to),
            Set::Negative(to) => builder.negative_ttl(to),
            Set::Soft(to) => builder.soft_timeout(to),
            Set::Hard(to) => builder.hard_timeout(to),
            Set::RefreshAhead(to) => builder.refresh_ahead(to),
            Set::Jitter(to) => builder.jitter(to),
            Set::Bytes(to) => builder.max_bytes(to),
            Set::Entries(to) => builder.max_entries(to),
            Set::EntryBytes(to) => builder.max_entry_bytes(to),
            Set::Fetches(to) => builder.max_concurrent_fetches(to),
            Set::Refreshes(to) => builder.max_concurrent_refreshes(to),
            Set::Tags(to) => builder.max_tags(to),
            Set::Lru => builder.eviction(Eviction::Lru),
        }
    }
}

/// A little of everything that a cache can be asked.
async fn use_it(
    cache: Cache<String>,
    clock: ManualClock,
    windows: [Duration; 3],
    steps: Vec<Duration>,
) {
    let [ttl, swr, sie] = windows;
    let lifetime = Lifetime::fresh_for(ttl).stale_while_revalidate(swr).stale_if_error(sie);
    for step in steps {
        for key in ["a", "b", "c"] {
            let fetch =
                move || async move { Fetched::new(key.to_owned()).lifetime(lifetime).tags([key]) };
            drop(
                cache
                    .try_get_or_fetch(key, move || async move { Ok::<_, &str>(fetch().await) })
                    .await,
            );
            drop(cache.try_get_or_fetch("failing", async || Err::<String, _>("down")).await);
            cache.insert(key, key.to_owned());
            cache.insert_with_ttl(key, key.to_owned(), ttl);
            cache.insert_with(key, key.to_owned(), lifetime, ["tag"]);
            drop((cache.get(key), cache.entry(key).map(|entry| entry.freshness)));
        }
        cache.soft_purge_tag("tag");
        clock.advance(step);
        drop(cache.answer("a", async || Err::<String, _>("down")).await);
        cache.sweep();
        cache.soft_remove("a");
        clock.advance(step);
        drop(cache.answer("a", async || Ok::<_, &str>("a".to_owned())).await);
        cache.purge_tag("tag");
        cache.purge_prefix("b");
        cache.remove("c");
        let stats = cache.stats();
        assert!(stats.max_bytes.is_none_or(|max_bytes| stats.bytes <= max_bytes));
    }
    cache.resize(usize::MAX);
    cache.resize(0);
    assert_eq!(cache.stats().entries, 0);
    cache.clear();
    cache.shut_down(Duration::MAX).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2 * ProptestConfig::default().cases))]

    #[test]
    fn a_setting_is_refused_with_a_sentence_or_works(
        settings in prop::collection::vec(Set::any(), 0..6),
        windows in [duration(), duration(), duration()],
        steps in prop::collection::vec(duration(), 0..3),
    ) {
        let clock = ManualClock::new();
        let builder = Cache::<String>::builder().clock(clock.clock());
        let builder = settings.iter().fold(builder, |builder, setting| setting.on(builder));
        match builder.try_build() {
            Ok(cache) => {
                let here = runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
                let here = here.unwrap();
                let used = catch_unwind(AssertUnwindSafe(|| here.block_on(use_it(cache, clock, windows, steps))));
                prop_assert!(used.is_ok(), "{settings:?}");
            }
            Err(error) => prop_assert!(error.to_string().len() > 20, "{error}"),
        }
    }
}

#[test]
fn each_refusal_names_its_setting() {
    let refused = |setting: Set| {
        let builder = setting.on(Cache::<String>::builder());
        builder.try_build().map(|_| ()).map_err(|error| error.to_string())
    };
    for value in [-0.5, 1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(refused(Set::Jitter(value)).unwrap_err().starts_with("jitter is "));
        assert!(refused(Set::RefreshAhead(value)).unwrap_err().starts_with("refresh_ahead is "));
    }
    assert!(refused(Set::Fetches(0)).unwrap_err().starts_with("max_concurrent_fetches is 0"));
    assert!(refused(Set::Refreshes(0)).unwrap_err().starts_with("max_concurrent_refreshes is 0"));
    assert!(refused(Set::Hard(Duration::ZERO)).unwrap_err().starts_with("hard_timeout is 0"));
    let both = Cache::<String>::builder().soft_timeout(Duration::MAX).hard_timeout(MINUTE);
    assert!(matches!(both.try_build(), Err(BuildError::Timeouts { .. })));
    assert_eq!(refused(Set::Hard(Duration::MAX)), Ok(()));
    assert_eq!(refused(Set::Soft(Duration::ZERO)), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn the_longest_hard_timeout_is_none() {
    let cache = Cache::<String>::builder().hard_timeout(Duration::MAX).build();
    let fetch = async || {
        tokio::time::sleep(100 * MINUTE).await;
        "late".to_owned()
    };
    assert_eq!(cache.get_or_fetch("key", fetch).await, "late");
}

#[test]
fn a_bound_in_entries_is_the_only_one_unless_bytes_are_given_one_too() {
    const ENTRIES: usize = 20_000;
    let fill = |cache: Cache<Vec<u8>>| {
        for key in 0..2 * ENTRIES {
            cache.insert(key.to_string(), vec![0; 8 << 10]);
        }
        cache.stats()
    };
    let stats = fill(Cache::builder().max_entries(ENTRIES).build());
    assert_eq!(stats.entries, ENTRIES as u64);
    assert!(stats.bytes > 64 << 20);
    assert_eq!(stats.max_bytes, None);
    let stats = fill(Cache::builder().max_entries(ENTRIES).max_bytes(64 << 20).build());
    assert!(stats.entries < 8192 && stats.bytes <= 64 << 20);
    let stats = fill(Cache::builder().build());
    assert_eq!(stats.max_bytes, Some(64 << 20));
}

#[tokio::test]
async fn remembered_errors_have_a_bound_where_entries_have() {
    let cache = Cache::<String>::builder().max_entries(10).negative_ttl(MINUTE).build();
    for key in 0..1000 {
        drop(cache.try_get_or_fetch(key.to_string(), async || Err::<String, _>("down")).await);
    }
    assert!(cache.stats().entries <= 10 + 64, "{:?}", cache.stats());
}

#[test]
fn an_insert_tells_whether_the_value_is_there() {
    let cache = Cache::<String>::builder().max_bytes(64 << 10).ttl(MINUTE).build();
    assert_eq!(cache.insert("key", "value".to_owned()), Storage::FreshFor(MINUTE));
    assert!(matches!(cache.insert("key", "x".repeat(65 << 10)), Storage::Not(_)));
    assert_eq!(cache.get("key"), None);
    cache.insert("key", "value".to_owned());
    let gone = cache.insert_with_ttl("key", "value".to_owned(), Duration::ZERO);
    assert!(matches!(gone, Storage::Not(_)));
    assert_eq!(cache.get("key"), None);
    let tags = (0..300).map(|tag| tag.to_string());
    let too_many = cache.insert_with("key", "v".to_owned(), Lifetime::fresh_for(MINUTE), tags);
    assert!(matches!(too_many, Storage::Not(_)));
}

#[tokio::test]
async fn what_is_not_to_be_stored_is_not_whatever_is_said_of_it_besides() {
    let hour = Lifetime::fresh_for(60 * MINUTE);
    let made = || Fetched::do_not_store("value".to_owned());
    for fetched in
        [made().ttl(MINUTE), made().fresh_for(MINUTE), made().lifetime(hour), made().tags(["a"])]
    {
        let cache = Cache::<String>::builder().build();
        assert_eq!(cache.get_or_fetch("key", move || async move { fetched }).await, "value");
        assert_eq!(cache.get("key"), None);
    }
    // Zero is a TTL like any: the last one counts.
    let cache = Cache::<String>::builder().stale_if_error(MINUTE).build();
    let zero = Fetched::new("value".to_owned()).ttl(Duration::ZERO);
    cache.get_or_fetch("again", || async move { zero.ttl(MINUTE) }).await;
    assert_eq!(cache.get("again").as_deref(), Some("value"));
    for zero in [
        Fetched::new(String::new()).ttl(MINUTE).ttl(Duration::ZERO),
        Fetched::new(String::new()).fresh_for(Duration::ZERO),
    ] {
        cache.get_or_fetch("none", || async move { zero }).await;
        assert!(cache.entry("none").is_none());
    }
}

#[tokio::test]
async fn a_ttl_of_a_value_ends_it_and_a_freshness_of_its_own_keeps_the_windows() {
    let clock = ManualClock::new();
    let builder = Cache::<String>::builder().clock(clock.clock());
    let cache = builder.stale_while_revalidate(60 * MINUTE).stale_if_error(60 * MINUTE).build();
    let short = Duration::from_secs(5);
    let not_found = Fetched::new("404".to_owned());
    cache.get_or_fetch("ttl", move || async move { not_found.ttl(short) }).await;
    let found = Fetched::new("200".to_owned());
    cache.get_or_fetch("fresh_for", move || async move { found.fresh_for(short) }).await;
    cache.insert_with_ttl("inserted", "404".to_owned(), short);
    clock.advance(short);
    for key in ["ttl", "inserted"] {
        let failed = cache.try_get_or_fetch(key, async || Err::<String, _>("down")).await;
        assert!(failed.is_err(), "{key}");
    }
    let stale = cache.try_get_or_fetch("fresh_for", async || Err::<String, _>("down")).await;
    assert_eq!(stale.unwrap(), "200");
}
