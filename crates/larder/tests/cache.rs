//! Storing, finding and forgetting, through the public API and with a clock that stands still.

use std::{sync::Arc, time::Duration};

use larder::{AnswerSource, Cache, Fetched, ManualClock, Storage, reason::Reason};

const MINUTE: Duration = Duration::from_secs(60);

fn cache_at(clock: &ManualClock) -> Cache<String> {
    Cache::builder().ttl(MINUTE).clock(clock.clock()).build()
}

#[test]
fn what_was_inserted_is_found_until_its_ttl_is_over() {
    let clock = ManualClock::new();
    let cache = cache_at(&clock);
    cache.insert("key", "value".to_owned());
    clock.advance(MINUTE - Duration::from_nanos(1));
    assert_eq!(cache.get("key").as_deref(), Some("value"));
    clock.advance(Duration::from_nanos(1));
    assert_eq!(cache.get("key"), None);
}

#[test]
fn an_entry_can_have_a_ttl_of_its_own() {
    let clock = ManualClock::new();
    let cache = cache_at(&clock);
    cache.insert_with_ttl("short", "value".to_owned(), Duration::from_secs(1));
    cache.insert_with_ttl("long", "value".to_owned(), 10 * MINUTE);
    clock.advance(MINUTE);
    assert_eq!(cache.get("short"), None);
    assert!(cache.get("long").is_some());
}

#[test]
fn a_ttl_of_zero_stores_nothing_and_forgets_what_was_there() {
    let cache = cache_at(&ManualClock::new());
    cache.insert("key", "old".to_owned());
    cache.insert_with_ttl("key", "new".to_owned(), Duration::ZERO);
    assert_eq!(cache.get("key"), None);
    assert_eq!(cache.stats().entries, 0);
}

#[test]
fn inserting_again_replaces_and_counts_once() {
    let cache = cache_at(&ManualClock::new());
    cache.insert("key", "a".repeat(1000));
    let first = cache.stats();
    cache.insert("key", "b".repeat(1000));
    assert_eq!(cache.get("key"), Some("b".repeat(1000)));
    assert_eq!((cache.stats().entries, cache.stats().bytes), (1, first.bytes));
    assert_eq!(cache.stats().evictions, 0);
}

#[test]
fn remove_says_whether_something_was_there() {
    let cache = cache_at(&ManualClock::new());
    cache.insert("key", "value".to_owned());
    assert!(cache.remove("key"));
    assert!(!cache.remove("key"));
    assert_eq!((cache.stats().entries, cache.stats().bytes), (0, 0));
}

#[test]
fn clear_leaves_nothing_and_says_how_much_that_was() {
    let cache = cache_at(&ManualClock::new());
    for number in 0..100 {
        cache.insert(format!("key {number}"), "value".to_owned());
    }
    assert_eq!(cache.clear(), 100);
    assert_eq!((cache.stats().entries, cache.stats().bytes), (0, 0));
    cache.insert("key 1", "again".to_owned());
    assert_eq!(cache.get("key 1").as_deref(), Some("again"));
}

#[test]
fn clones_share_one_cache() {
    let cache = cache_at(&ManualClock::new());
    cache.clone().insert("key", "value".to_owned());
    assert!(cache.get("key").is_some());
}

#[test]
fn keys_may_be_borrowed_owned_or_shared() {
    let cache = cache_at(&ManualClock::new());
    let owned = "key".to_owned();
    cache.insert(&owned, "value".to_owned());
    assert!(cache.get("key").is_some());
    assert!(cache.get(Arc::<str>::from("key")).is_some());
    assert!(cache.get(owned).is_some());
}

#[test]
fn a_value_heavier_than_its_share_is_refused_and_counted() {
    let cache = Cache::<String>::builder().max_bytes(1000).build();
    cache.insert("key", "small".to_owned());
    cache.insert("key", "x".repeat(1000));
    assert_eq!(cache.stats().too_large, 1);
    // The small one is older than what was just inserted: serving it would undo the insert.
    assert_eq!(cache.get("key"), None);
}

#[test]
fn what_was_asked_for_again_outlives_what_was_not() {
    let cache = Cache::<String>::builder().max_bytes(20_000).build();
    cache.insert("hot", "x".repeat(1000));
    for number in 0..1000 {
        cache.insert(format!("once {number}"), "x".repeat(1000));
        assert!(cache.get("hot").is_some(), "evicted after {number} others");
    }
    assert!(cache.stats().evictions > 900);
}

#[tokio::test]
async fn an_answer_tells_where_it_came_from_how_old_it_is_and_what_it_cost() {
    let clock = ManualClock::new();
    let cache = cache_at(&clock);
    let slow = async || {
        clock.advance(Duration::from_secs(2));
        Ok::<_, ()>("value".to_owned())
    };

    let miss = cache.answer("key", slow).await.unwrap();
    assert_eq!(miss.source, AnswerSource::Fetched(Reason::UriMiss));
    assert_eq!((miss.age, miss.storage), (Duration::ZERO, Storage::FreshFor(MINUTE)));
    assert_eq!(miss.cost, Duration::from_secs(2));

    clock.advance(Duration::from_secs(20));
    let hit = cache.answer("key", slow).await.unwrap();
    assert_eq!((hit.source, hit.reason()), (AnswerSource::Hit, Reason::Hit));
    assert_eq!(hit.age, Duration::from_secs(20));
    assert_eq!(hit.storage, Storage::FreshFor(Duration::from_secs(40)));
    assert_eq!(hit.cost, Duration::from_secs(2));

    clock.advance(MINUTE);
    let expired = cache.answer("key", slow).await.unwrap();
    assert_eq!(expired.source, AnswerSource::Fetched(Reason::Expired));
}

#[tokio::test]
async fn a_fetch_decides_how_long_its_value_is_kept() {
    let clock = ManualClock::new();
    let cache = cache_at(&clock);
    let fetch = async || Fetched::new("value".to_owned()).ttl(Duration::from_secs(5));
    cache.get_or_fetch("key", fetch).await;
    clock.advance(Duration::from_secs(4));
    assert!(cache.get("key").is_some());
    clock.advance(Duration::from_secs(1));
    assert_eq!(cache.get("key"), None);
}

#[tokio::test]
async fn a_value_that_is_not_to_be_stored_is_handed_out_and_forgotten() {
    let cache = cache_at(&ManualClock::new());
    let fetch = async || Ok::<_, ()>(Fetched::do_not_store("value".to_owned()));
    let answer = cache.answer("key", fetch).await.unwrap();
    assert_eq!(answer.value, "value");
    assert_eq!(answer.storage, Storage::Not(Reason::NotStorable));
    assert_eq!(answer.reason(), Reason::NotStorable);
    assert_eq!((cache.get("key"), cache.stats().entries), (None, 0));
}

#[tokio::test]
async fn the_counters_tell_what_happened() {
    let cache = cache_at(&ManualClock::new());
    for _ in 0..3 {
        cache.get_or_fetch("good", async || "value".to_owned()).await;
    }
    let bad = async || Err::<String, _>("no");
    cache.try_get_or_fetch("bad", bad).await.unwrap_err();
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses), (2, 2));
    assert_eq!((stats.loads, stats.load_failures, stats.collapsed), (2, 1, 0));
    assert_eq!(stats.entries, 1);
}
