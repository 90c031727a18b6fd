//! Storing, finding and forgetting.

use std::{sync::Arc, time::Duration};

use larder::{
    AnswerSource, Cache, Fetched, Freshness, Lifetime, ManualClock, Storage, reason::Reason,
};

use crate::support::{MINUTE, Origin, secs, settle, shapes};

#[test]
fn a_tutorials_cache_is_three_lines() {
    let cache = Cache::<String>::builder().ttl(MINUTE).build();
    cache.insert("key", "value".to_owned());
    assert_eq!(cache.get("key").as_deref(), Some("value"));
}

#[test]
fn what_was_inserted_is_found_until_its_ttl_is_over() {
    for shape in shapes() {
        let cache = shape.builder.build();
        cache.insert("key", "value".to_owned());
        shape.clock.advance(MINUTE - Duration::from_nanos(1));
        assert_eq!(cache.get("key").as_deref(), Some("value"), "{}", shape.name);
        shape.clock.advance(Duration::from_nanos(1));
        assert_eq!(cache.get("key"), None, "{}", shape.name);
    }
}

#[test]
fn some_keys_or_all_of_them_are_told() {
    // Of one shard, and of several.
    for max_bytes in [1 << 20, 64 << 20] {
        let cache = Cache::<u32>::builder().max_bytes(max_bytes).build();
        let mut expected: Vec<_> = (0..3000).map(|number| format!("key {number}")).collect();
        for key in &expected {
            cache.insert(key, 0);
        }
        for most in [0, 1, 700, 2999] {
            assert_eq!(cache.keys(most).len(), most);
        }
        let mut keys = cache.keys(usize::MAX);
        keys.sort_unstable();
        expected.sort_unstable();
        assert_eq!(keys, expected);
    }
}

#[test]
fn an_entry_can_have_a_ttl_of_its_own() {
    for shape in shapes() {
        let cache = shape.builder.build();
        cache.insert_with_ttl("short", "value".to_owned(), secs(1));
        cache.insert_with_ttl("long", "value".to_owned(), 10 * MINUTE);
        shape.clock.advance(MINUTE);
        assert_eq!(cache.get("short"), None, "{}", shape.name);
        assert!(cache.get("long").is_some(), "{}", shape.name);
    }
}

#[test]
fn a_lifetime_of_zero_stores_nothing_and_forgets_what_was_there() {
    for shape in shapes() {
        let cache = shape.builder.build();
        for insert in [
            |cache: &Cache<String>| cache.insert_with_ttl("key", "new".to_owned(), Duration::ZERO),
            |cache: &Cache<String>| {
                cache.insert_with("key", "new".to_owned(), Lifetime::default(), ["tag"])
            },
        ] {
            cache.insert("key", "old".to_owned());
            insert(&cache);
            assert_eq!((cache.get("key"), cache.stats().entries), (None, 0), "{}", shape.name);
        }
    }
}

#[test]
fn inserting_again_replaces_and_counts_once() {
    for shape in shapes() {
        let cache = shape.builder.build();
        cache.insert("key", "a".repeat(1000));
        let first = cache.stats();
        cache.insert("key", "b".repeat(1000));
        assert_eq!(cache.get("key"), Some("b".repeat(1000)), "{}", shape.name);
        assert_eq!((cache.stats().entries, cache.stats().bytes), (1, first.bytes));
        assert_eq!(cache.stats().evictions, 0, "{}", shape.name);
    }
}

#[test]
fn remove_says_whether_something_was_there() {
    for shape in shapes() {
        let cache = shape.builder.build();
        cache.insert("key", "value".to_owned());
        assert!(cache.remove("key"));
        assert!(!cache.remove("key"));
        assert_eq!((cache.stats().entries, cache.stats().bytes), (0, 0), "{}", shape.name);
    }
}

#[test]
fn clear_leaves_nothing_and_says_how_much_that_was() {
    for shape in shapes() {
        let cache = shape.builder.build();
        for number in 0..100 {
            cache.insert(format!("key {number}"), "value".to_owned());
        }
        assert_eq!(cache.clear(), 100);
        assert_eq!((cache.stats().entries, cache.stats().bytes), (0, 0), "{}", shape.name);
        cache.insert("key 1", "again".to_owned());
        assert_eq!(cache.get("key 1").as_deref(), Some("again"), "{}", shape.name);
    }
}

#[test]
fn clones_share_one_cache() {
    for shape in shapes() {
        let cache = shape.builder.build();
        cache.clone().insert("key", "value".to_owned());
        assert!(cache.get("key").is_some(), "{}", shape.name);
    }
}

#[test]
fn keys_may_be_borrowed_owned_or_shared() {
    for shape in shapes() {
        let cache = shape.builder.build();
        let owned = "key".to_owned();
        cache.insert(&owned, "value".to_owned());
        assert!(cache.get("key").is_some(), "{}", shape.name);
        assert!(cache.get(Arc::<str>::from("key")).is_some());
        assert!(cache.get(owned).is_some());
    }
}

#[test]
fn a_value_heavier_than_one_entry_may_be_is_refused_and_counted() {
    for shape in shapes() {
        let cache = shape.builder.max_entry_bytes(1000).build();
        cache.insert("key", "small".to_owned());
        cache.insert("key", "x".repeat(1000));
        assert_eq!(cache.stats().too_large, 1, "{}", shape.name);
        // The small one is older than what was just inserted: serving it would undo the insert.
        assert_eq!(cache.get("key"), None, "{}", shape.name);
    }
}

#[test]
fn there_are_never_more_entries_than_allowed() {
    for shape in shapes() {
        let cache = shape.builder.max_entries(10).build();
        for number in 0..1000 {
            cache.insert(format!("key {number}"), "value".to_owned());
            assert!(cache.stats().entries <= 10, "{}", shape.name);
        }
        assert!(cache.stats().entries > 0, "{}", shape.name);
    }
}

#[test]
fn a_new_bound_holds_at_once() {
    for shape in shapes() {
        let cache = shape.builder.max_bytes(64 << 10).build();
        for number in 0..50 {
            cache.insert(format!("key {number}"), "x".repeat(1000));
        }
        let before = cache.stats().entries;
        let evicted = cache.resize(16 << 10);
        let stats = cache.stats();
        assert!(stats.bytes <= 16 << 10 && stats.entries > 0, "{}", shape.name);
        assert_eq!((stats.max_bytes, stats.entries + evicted as u64), (Some(16 << 10), before));
    }
}

#[test]
fn what_is_asked_for_again_and_again_outlives_what_is_not() {
    for shape in shapes() {
        let cache = shape.builder.max_bytes(64 << 10).build();
        cache.insert("hot", "x".repeat(1000));
        for number in 0..1000 {
            cache.insert(format!("once {number}"), "x".repeat(1000));
            assert!(cache.get("hot").is_some(), "evicted after {number} others, {}", shape.name);
        }
        assert!(cache.stats().evictions > 900, "{}", shape.name);
    }
}

#[test]
fn looking_at_an_entry_neither_counts_nor_keeps_it() {
    for shape in shapes() {
        let cache = shape.builder.build();
        let lifetime = Lifetime::fresh_for(MINUTE).stale_if_error(MINUTE);
        cache.insert_with("key", "value".to_owned(), lifetime, ["a", "b"]);
        shape.clock.advance(secs(70));
        let entry = cache.entry("key").unwrap();
        assert_eq!((&*entry.value, entry.age, entry.tags), ("value", secs(70), 2));
        assert_eq!((entry.lifetime, entry.cost), (lifetime, Duration::ZERO), "{}", shape.name);
        assert_eq!(entry.freshness, Freshness::StaleIfError { stale: secs(10) });
        assert!(cache.entry("other").is_none());
        assert_eq!((cache.stats().hits, cache.stats().misses), (0, 0), "{}", shape.name);
    }
}

#[test]
fn jitter_shortens_ttls_by_no_more_than_its_fraction_and_not_all_alike() {
    for shape in shapes() {
        let cache = shape.builder.jitter(0.5).build();
        let ttls: Vec<_> = (0..50)
            .map(|number| {
                cache.insert(format!("key {number}"), "value".to_owned());
                cache.entry(format!("key {number}")).unwrap().lifetime.ttl()
            })
            .collect();
        assert!(ttls.iter().all(|ttl| (MINUTE / 2..=MINUTE).contains(ttl)), "{}", shape.name);
        assert!(ttls.iter().max() > ttls.iter().min(), "{}", shape.name);
    }
}

#[test]
fn expired_entries_go_without_traffic() {
    for shape in shapes() {
        let cache = shape.builder.build();
        cache.insert_with_ttl("short", "value".to_owned(), secs(1));
        cache.insert("long", "value".to_owned());
        assert_eq!(cache.sweep(), 0, "{}", shape.name);
        shape.clock.advance(secs(2));
        assert_eq!(cache.sweep(), 1, "{}", shape.name);
        assert_eq!((cache.stats().entries, cache.stats().expired), (1, 1), "{}", shape.name);
    }
}

#[test]
fn a_clock_that_steps_back_makes_no_entry_younger_and_none_immortal() {
    let shown = Arc::new(std::sync::Mutex::new(secs(1000)));
    let clock = larder::Clock::other({
        let shown = Arc::clone(&shown);
        move || *shown.lock().unwrap()
    });
    let cache = Cache::<String>::builder().ttl(MINUTE).clock(clock).build();
    cache.insert("key", "value".to_owned());
    let age = |at| {
        *shown.lock().unwrap() = secs(at);
        cache.entry("key").unwrap().age
    };
    assert_eq!(age(1020), secs(20));
    assert_eq!(age(500), secs(20), "a step back changes nothing");
    assert_eq!(age(510), secs(30), "what follows it counts");
    age(540);
    assert_eq!(cache.get("key"), None, "and an end is an end");
}

#[test]
fn on_the_systems_clock_expired_bytes_are_gone_within_two_seconds() {
    let cache = Cache::<String>::builder().ttl(Duration::from_millis(50)).build();
    cache.insert("key", "value".to_owned());
    let began = std::time::Instant::now();
    while cache.stats().bytes > 0 {
        assert!(began.elapsed() < secs(4), "the bytes are still there");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_tells_where_it_came_from_how_old_it_is_and_what_it_cost() {
    for shape in shapes() {
        let (cache, origin) = (shape.builder.build(), Origin::new());
        let ask = async |cache: &Cache<String>, clock: &ManualClock| {
            let reader = origin.ask(cache, "key");
            settle().await;
            if origin.waiting() > 0 {
                clock.advance(secs(2));
                origin.answer("value");
            }
            reader.await.unwrap().unwrap()
        };

        let miss = ask(&cache, &shape.clock).await;
        assert_eq!(miss.source, AnswerSource::Fetched(Reason::UriMiss), "{}", shape.name);
        assert_eq!((miss.age, miss.storage), (Duration::ZERO, Storage::FreshFor(MINUTE)));
        assert_eq!(miss.cost, secs(2));

        shape.clock.advance(secs(20));
        let hit = ask(&cache, &shape.clock).await;
        assert_eq!((hit.source, hit.reason()), (AnswerSource::Hit, Reason::Hit), "{}", shape.name);
        assert_eq!((hit.age, hit.storage), (secs(20), Storage::FreshFor(secs(40))));
        assert_eq!(hit.cost, secs(2));

        shape.clock.advance(MINUTE);
        let expired = ask(&cache, &shape.clock).await;
        assert_eq!(expired.source, AnswerSource::Fetched(Reason::Expired), "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_decides_how_long_its_value_is_kept() {
    for shape in shapes() {
        let cache = shape.builder.stale_if_error(secs(7)).build();
        let ttl = async || Fetched::new("value".to_owned()).ttl(secs(5));
        cache.get_or_fetch("ttl", ttl).await;
        let fresh_for = async || Fetched::new("value".to_owned()).fresh_for(secs(5));
        cache.get_or_fetch("fresh_for", fresh_for).await;
        let lifetime = Lifetime::fresh_for(secs(9));
        let whole = async move || Fetched::new("value".to_owned()).lifetime(lifetime);
        cache.get_or_fetch("whole", whole).await;
        let windows = Lifetime::fresh_for(secs(5)).stale_if_error(secs(7));
        let short = Lifetime::fresh_for(secs(5));
        assert_eq!(cache.entry("ttl").unwrap().lifetime, short, "{}", shape.name);
        assert_eq!(cache.entry("fresh_for").unwrap().lifetime, windows, "{}", shape.name);
        assert_eq!(cache.entry("whole").unwrap().lifetime, lifetime, "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_not_to_be_stored_is_handed_out_and_forgotten() {
    for shape in shapes() {
        let cache = shape.builder.build();
        let fetch = async || Ok::<_, &str>(Fetched::skip("value".to_owned(), Reason::BypassRule));
        let answer = cache.answer("key", fetch).await.unwrap();
        assert_eq!((&*answer.value, answer.reason()), ("value", Reason::BypassRule));
        assert_eq!(answer.storage, Storage::Not(Reason::BypassRule));
        assert_eq!((cache.get("key"), cache.stats().entries), (None, 0), "{}", shape.name);
    }
}
