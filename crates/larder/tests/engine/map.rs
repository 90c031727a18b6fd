//! Map: `len`, `contains_key`, `keys`, `take`, `compute`, `retain_local`.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use larder::{
    Cache, Compute, Computed, Contended, Eviction, Fetched, Lifetime, Reason, RemovalCause, Storage,
};
use tokio::runtime;

use crate::support::{MINUTE, Origin, Shape, secs, settle, shapes, shapes_of_memory};

fn text(text: &str) -> String {
    text.to_owned()
}

/// What `get` would bring, of an entry in each state it can be in.
fn with_entries_in_all_states(cache: &Cache<String>, shape_clock: &larder::ManualClock) {
    let windows = Lifetime::fresh_for(MINUTE).stale_if_error(MINUTE);
    cache.insert_with_ttl("over", text("value"), secs(1));
    shape_clock.advance(secs(1));
    cache.insert("fresh", text("value"));
    cache.insert_with("soft", text("value"), windows, ["none"]);
    cache.soft_remove("soft");
    cache.insert_with("softly tagged", text("value"), windows, ["soft"]);
    cache.soft_purge_tag("soft");
    cache.insert_with("tagged", text("value"), windows, ["hard"]);
    cache.purge_tag("hard");
}

const STATES: [&str; 6] = ["fresh", "soft", "softly tagged", "tagged", "over", "missing"];

#[test]
fn contains_key_says_what_get_would_and_counts_nothing() {
    for Shape { name, clock, builder } in shapes() {
        let cache = builder.build();
        with_entries_in_all_states(&cache, &clock);
        for key in STATES {
            let before = cache.stats();
            let contains = cache.contains_key(key);
            let after = cache.stats();
            assert_eq!((after.hits, after.misses), (before.hits, before.misses), "{name}");
            assert_eq!(contains, cache.get(key).is_some(), "{key}, {name}");
            assert_eq!(contains, key == "fresh", "{key}, {name}");
        }
    }
}

#[test]
fn contains_key_marks_nothing_as_used() {
    for eviction in [Eviction::S3Fifo, Eviction::Lru] {
        // Who stays, with a look at the first key and every other one after each insert, or without.
        let stays = |look: fn(&Cache<u8>, String)| {
            let cache = Cache::<u8>::builder().eviction(eviction).max_entries(10).build();
            for number in 0..30 {
                cache.insert(number.to_string(), 0);
                [0, number / 2 * 2].into_iter().for_each(|key| look(&cache, key.to_string()));
            }
            let mut keys = cache.keys(usize::MAX);
            keys.sort_unstable();
            keys
        };
        let untouched = stays(|_, _| ());
        assert_eq!(stays(|cache, key| _ = cache.contains_key(key)), untouched, "{eviction:?}");
        assert_ne!(stays(|cache, key| _ = cache.get(key)), untouched, "{eviction:?}");
    }
}

#[test]
fn keys_are_those_of_what_can_still_be_served_and_len_counts_what_is_held() {
    for Shape { name, clock, builder } in shapes() {
        let cache = builder.build();
        assert!(cache.is_empty());
        with_entries_in_all_states(&cache, &clock);
        let mut keys = cache.keys(usize::MAX);
        keys.sort_unstable();
        assert_eq!(keys, ["fresh", "soft", "softly tagged"], "{name}");
        assert_eq!(cache.len(), 5, "{name}");
        cache.sweep();
        assert_eq!(cache.len(), 3, "{name}");
        cache.clear();
        assert!(cache.is_empty(), "{name}");
    }
}

#[test]
fn keys_and_retain_local_miss_nothing_that_stays_while_others_come_and_go() {
    let cache = Cache::<u32>::builder().max_bytes(256 << 20).build();
    let stays: Vec<_> = (0..2000).map(|number| format!("stays {number:04}")).collect();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in (0..u32::MAX).take_while(|_| !is_over.load(Ordering::Relaxed)) {
                cache.insert(format!("goes {}", number % 2000), number);
                cache.remove(format!("goes {}", number.wrapping_mul(7) % 2000));
            }
        });
        for key in &stays {
            cache.insert(key, 0);
        }
        for _ in 0..20 {
            let mut keys = cache.keys(usize::MAX);
            keys.retain(|key| key.starts_with("stays"));
            keys.sort_unstable();
            assert_eq!(keys, stays);
            let mut seen = Vec::new();
            cache.retain_local(|key, _| {
                seen.push(key.to_owned());
                key.starts_with("stays")
            });
            seen.retain(|key| key.starts_with("stays"));
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen, stays);
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

// Take.

#[test]
fn of_many_that_take_a_value_one_gets_it() {
    for Shape { name, builder, .. } in shapes_of_memory() {
        let cache = builder.build();
        for _ in 0..50 {
            cache.insert("key", text("value"));
            let taken = AtomicUsize::new(0);
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        if let Some(value) = cache.take("key") {
                            assert_eq!(value, "value");
                            taken.fetch_add(1, Ordering::SeqCst);
                        }
                    });
                }
            });
            assert_eq!(taken.load(Ordering::SeqCst), 1, "{name}");
            assert_eq!((cache.len(), cache.stats().bytes), (0, 0), "{name}");
        }
    }
}

#[test]
fn take_hands_out_what_get_would_and_removes_whatever_there_is() {
    for Shape { name, clock, builder } in shapes() {
        let causes = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&causes);
        let cache = builder.on_removed(move |_, _, cause| told.lock().unwrap().push(cause)).build();
        with_entries_in_all_states(&cache, &clock);
        let taken = STATES.map(|key| cache.take(key).is_some());
        assert_eq!(taken, [true, false, false, false, false, false], "{name}");
        assert!(cache.is_empty(), "{name}");
        use RemovalCause::{Expired, Purged, Taken};
        assert_eq!(*causes.lock().unwrap(), [Taken, Purged, Purged, Purged, Expired], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn take_is_a_purge() {
    for Shape { name, builder, .. } in shapes() {
        let (cache, origin) = (builder.build(), Origin::new());
        // What is below memory is not found any more.
        origin.fill(&cache, "key", "old").await;
        assert_eq!(cache.take("key").as_deref(), Some("old"), "{name}");
        assert_eq!(cache.stats().purges, 1, "{name}");
        let asked = origin.ask(&cache, "key");
        settle().await;
        assert_eq!(origin.waiting(), 1, "{name}");
        // What was being fetched is handed out and not stored.
        assert_eq!(cache.take("key"), None);
        origin.answer("fetched before");
        assert_eq!(asked.await.unwrap().unwrap().value, "fetched before");
        assert_eq!(cache.get("key"), None, "{name}");
    }
}

// Compute.

#[test]
fn no_update_of_many_threads_is_lost() {
    let cache = Cache::<u64>::builder().build();
    let count = |seen: Option<&u64>| Compute::store(seen.map_or(1, |count| count + 1));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    cache.compute("count", count).unwrap();
                }
            });
        }
    });
    assert_eq!(cache.get("count"), Some(4000));
}

#[test]
fn compute_does_what_it_is_told_with_what_get_would_bring() {
    for Shape { name, clock, builder } in shapes() {
        let cache = builder.build();
        with_entries_in_all_states(&cache, &clock);
        for key in STATES {
            let expected = cache.get(key);
            let before = cache.stats();
            let mut seen = None;
            let kept = cache.compute(key, |value| {
                seen = value.cloned();
                Compute::Keep
            });
            assert_eq!((kept, &seen), (Ok(Computed::Kept), &expected), "{key}, {name}");
            let after = cache.stats();
            assert_eq!((after.hits, after.misses), (before.hits, before.misses), "{key}, {name}");
            let brief = || Compute::store(Fetched::new(text("new")).ttl(secs(5)));
            let stored = cache.compute(key, |_| brief());
            let fresh_for = Storage::FreshFor(secs(5));
            assert_eq!(stored, Ok(Computed::Stored(fresh_for)), "{key}, {name}");
            assert_eq!(cache.get(key).as_deref(), Some("new"), "{key}, {name}");
            let removed = cache.compute(key, |_| Compute::Remove);
            assert_eq!(removed, Ok(Computed::Removed), "{key}, {name}");
            assert!(cache.entry(key).is_none(), "{key}, {name}");
        }
    }
}

#[test]
fn what_compute_may_not_store_drives_out_what_was_there() {
    for Shape { name, builder, .. } in shapes_of_memory() {
        let cache = builder.max_entry_bytes(2000).build();
        let not = |reason| Ok(Computed::Stored(Storage::Not(reason)));
        cache.insert("key", text("value"));
        let large = cache.compute("key", |_| Compute::store("large".repeat(1000)));
        assert_eq!((large, cache.len()), (not(Reason::TooLarge), 0), "{name}");
        cache.insert("key", text("value"));
        let refused = Fetched::do_not_store;
        let refused = cache.compute("key", |_| Compute::Store(refused(text("value"))));
        assert_eq!((refused, cache.len()), (not(Reason::NotStorable), 0), "{name}");
    }
}

#[test]
fn whatever_comes_in_between_makes_compute_look_again() {
    type Meanwhile = fn(&Cache<String>);
    let fetch: Meanwhile = |cache| {
        let runtime = runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(cache.get_or_fetch("key", async || text("other")));
    };
    let store: Meanwhile = |cache| _ = cache.insert("key", text("other"));
    let compute: Meanwhile =
        |cache| _ = cache.compute("key", |_| Compute::store(text("other"))).unwrap();
    // What happens, whether something is there before, and what is there then.
    let all: [(&str, Meanwhile, bool, Option<&str>); 20] = [
        ("insert", store, true, Some("other")),
        ("insert", store, false, Some("other")),
        ("compute", compute, true, Some("other")),
        ("compute", compute, false, Some("other")),
        ("fetch", fetch, false, Some("other")),
        ("remove", |cache| _ = cache.remove("key"), true, None),
        ("remove", |cache| _ = cache.remove("key"), false, None),
        ("take", |cache| _ = cache.take("key"), true, None),
        ("compute", |cache| _ = cache.compute("key", |_| Compute::Remove), true, None),
        ("clear", |cache| _ = cache.clear(), true, None),
        ("clear", |cache| _ = cache.clear(), false, None),
        ("prefix", |cache| _ = cache.purge_prefix("k"), true, None),
        ("prefix", |cache| _ = cache.purge_prefix("k"), false, None),
        ("its tag", |cache| cache.purge_tag("old"), true, None),
        ("its new tag", |cache| cache.purge_tag("new"), true, Some("old")),
        ("its new tag", |cache| cache.purge_tag("new"), false, None),
        ("softly", |cache| _ = cache.soft_remove("key"), true, None),
        ("softly by its tag", |cache| cache.soft_purge_tag("old"), true, None),
        ("retain", |cache| _ = cache.retain_local(|_, _| false), true, None),
        ("no room", |cache| _ = cache.resize(0), true, None),
    ];
    for (what, meanwhile, is_there, then) in all {
        for Shape { name, builder, .. } in shapes_of_memory() {
            let cache = builder.build();
            if is_there {
                cache.insert_with("key", text("old"), Lifetime::fresh_for(MINUTE), ["old"]);
            }
            let mut seen = Vec::new();
            let computed = cache.compute("key", |value| {
                seen.push(value.cloned());
                if seen.len() == 1 {
                    meanwhile(&cache);
                }
                cache.resize(64 << 10);
                let new = Fetched::new(format!("{}+", value.map_or("", |value| value)));
                Compute::Store(new.tags(["new"]))
            });
            assert!(matches!(computed, Ok(Computed::Stored(Storage::FreshFor(_)))), "{what}");
            let first = is_there.then(|| text("old"));
            assert_eq!(seen, [first, then.map(text)], "{what}, {is_there}, {name}");
            assert_eq!(cache.get("key"), Some(format!("{}+", then.unwrap_or(""))), "{what}");
        }
    }
}

#[test]
fn a_removal_that_compute_has_decided_on_takes_nothing_newer() {
    for Shape { name, builder, .. } in shapes_of_memory() {
        let cache = builder.build();
        cache.insert("key", text("old"));
        let removed = cache.compute("key", |value| {
            if value.is_some_and(|value| value == "old") {
                cache.insert("key", text("newer"));
                return Compute::Remove;
            }
            Compute::Keep
        });
        assert_eq!(removed, Ok(Computed::Kept), "{name}");
        assert_eq!(cache.get("key").as_deref(), Some("newer"), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_being_fetched_does_not_replace_what_is_computed() {
    for Shape { name, builder, .. } in shapes() {
        let (cache, origin) = (builder.build(), Origin::new());
        let asked = origin.ask(&cache, "key");
        settle().await;
        cache.compute("key", |_| Compute::store(text("computed"))).unwrap();
        origin.answer("older");
        assert_eq!(asked.await.unwrap().unwrap().value, "older");
        assert_eq!(cache.get("key").as_deref(), Some("computed"), "{name}");
        cache.compute("key", |_| Compute::Remove).unwrap();
        let asked = origin.ask(&cache, "key");
        settle().await;
        assert_eq!(origin.waiting(), 1, "it is not below either, {name}");
        origin.answer("newer");
        asked.await.unwrap().unwrap();
        assert_eq!(cache.get("key").as_deref(), Some("newer"), "{name}");
    }
}

#[test]
fn a_closure_that_writes_its_key_each_time_comes_to_an_end() {
    let cache = Cache::<u32>::builder().build();
    let mut tries = 0;
    let computed = cache.compute("key", |_| {
        tries += 1;
        cache.insert("key", tries);
        Compute::store(0)
    });
    assert_eq!((computed, tries), (Err(Contended), 1024));
    assert_eq!(cache.get("key"), Some(1024));
}

#[test]
fn a_closure_that_panics_changes_nothing() {
    let cache = Cache::<u32>::builder().build();
    cache.insert("key", 1);
    let compute = || cache.compute("key", |_| panic!("a closure"));
    assert!(catch_unwind(AssertUnwindSafe(compute)).is_err());
    let retain = || cache.retain_local(|_, _| panic!("a closure"));
    assert!(catch_unwind(AssertUnwindSafe(retain)).is_err());
    assert_eq!(cache.get("key"), Some(1));
    cache.compute("key", |_| Compute::store(2)).unwrap();
    assert_eq!(cache.get("key"), Some(2));
}

// Retain.

#[test]
fn retain_local_keeps_what_is_wanted_and_tells_of_the_rest() {
    for Shape { name, clock, builder } in shapes() {
        let causes = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&causes);
        let hook = move |key: &str, _: &String, cause| {
            told.lock().unwrap().push((key.to_owned(), cause));
        };
        let cache = builder.on_removed(hook).build();
        with_entries_in_all_states(&cache, &clock);
        let mut shown = Vec::new();
        let removed = cache.retain_local(|key, value| {
            assert_eq!(value, "value");
            shown.push(key.to_owned());
            key != "soft"
        });
        shown.sort_unstable();
        assert_eq!(shown, ["fresh", "soft", "softly tagged"], "what is over goes anyway, {name}");
        assert_eq!(removed, 1, "{name}");
        assert_eq!(*causes.lock().unwrap(), [(text("soft"), RemovalCause::Purged)], "{name}");
        assert!(cache.get("fresh").is_some(), "{name}");
        assert_eq!(cache.retain_local(|_, _| false), 2, "{name}");
        assert!(cache.keys(usize::MAX).is_empty(), "{name}");
    }
}

#[test]
fn what_has_been_replaced_since_retain_local_saw_it_stays() {
    for Shape { name, builder, .. } in shapes_of_memory() {
        let cache = builder.build();
        (0..100).for_each(|number| _ = cache.insert(number.to_string(), text("old")));
        let removed = cache.retain_local(|key, value| {
            if key == "50" && value == "old" {
                cache.insert(key, text("new"));
            }
            cache.contains_key(key) && value == "new"
        });
        assert_eq!(removed, 99, "{name}");
        assert_eq!(cache.get("50").as_deref(), Some("new"), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn retain_local_is_no_purge() {
    for Shape { name, builder, .. } in shapes() {
        let (cache, origin) = (builder.build(), Origin::new());
        origin.fill(&cache, "key", "value").await;
        settle().await;
        let asked = origin.ask(&cache, "under way");
        settle().await;
        assert_eq!(cache.retain_local(|_, _| false), 1, "{name}");
        origin.answer("fetched");
        asked.await.unwrap().unwrap();
        assert!(cache.get("under way").is_some(), "{name}");
        let asked = origin.ask(&cache, "key");
        settle().await;
        let is_below = name.ends_with("lower tier");
        assert_eq!(origin.waiting(), usize::from(!is_below), "{name}");
        if !is_below {
            origin.answer("value");
        }
        assert_eq!(asked.await.unwrap().unwrap().value, "value", "{name}");
    }
}
