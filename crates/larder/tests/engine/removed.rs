//! Removed: who asked to be told of what leaves memory is told, once for each value, and why it left.

use std::{
    cell::Cell,
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, mpsc},
    thread,
};

use larder::{Builder, Cache, Lifetime, Purge, RemovalCause, Storage};

use crate::support::{MINUTE, Origin, Shape, secs, settle, shapes, shapes_of_memory};

/// What a hook was told: key, value, cause.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(String, String, RemovalCause)>>>);

impl Log {
    fn listen(builder: Builder<String>) -> (Cache<String>, Log) {
        let log = Log::default();
        let told = Arc::clone(&log.0);
        let hook = move |key: &str, value: &String, cause| {
            told.lock().unwrap().push((key.to_owned(), value.clone(), cause));
        };
        (builder.on_removed(hook).build(), log)
    }

    /// What it was told since it was last asked, as `key=value: Cause`.
    fn take(&self) -> Vec<String> {
        let told = std::mem::take(&mut *self.0.lock().unwrap());
        told.into_iter().map(|(key, value, cause)| format!("{key}={value}: {cause:?}")).collect()
    }
}

fn insert(cache: &Cache<String>, key: &str, value: &str) {
    assert!(matches!(cache.insert(key, value.to_owned()), Storage::FreshFor(_)));
}

#[tokio::test(start_paused = true)]
async fn each_way_out_has_its_cause() {
    for Shape { name, clock, builder } in shapes() {
        let (cache, log) = Log::listen(builder);
        insert(&cache, "a", "1");
        insert(&cache, "a", "2");
        assert_eq!(log.take(), ["a=1: Replaced"], "{name}");
        Origin::new().fill(&cache, "b", "1").await;
        assert!(cache.remove("a"));
        assert_eq!(log.take(), ["a=2: Purged"], "{name}");
        cache.purge(Purge::key("b").hard()).await.unwrap();
        assert_eq!(log.take(), ["b=1: Purged"], "{name}");
        insert(&cache, "a/1", "1");
        cache.purge_prefix("a/");
        assert_eq!(log.take(), ["a/1=1: Purged"], "{name}");
        insert(&cache, "a", "3");
        cache.clear();
        assert_eq!(log.take(), ["a=3: Purged"], "{name}");
        cache.insert_with("a", "4".to_owned(), Lifetime::fresh_for(MINUTE), ["tag"]);
        cache.purge_tag("tag");
        assert_eq!(log.take(), Vec::<String>::new(), "nobody has taken it out yet, {name}");
        cache.sweep();
        assert_eq!(log.take(), ["a=4: Purged"], "{name}");
        insert(&cache, "a", "5");
        clock.advance(MINUTE);
        cache.sweep();
        assert_eq!(log.take(), ["a=5: Expired"], "{name}");
        insert(&cache, "a", "6");
        cache.resize(0);
        assert_eq!(log.take(), ["a=6: Resized"], "{name}");
    }
}

#[test]
fn what_goes_for_room_is_told_of_as_evicted() {
    for Shape { name, builder, .. } in shapes_of_memory() {
        let (cache, log) = Log::listen(builder.max_entries(3));
        for number in 0..4 {
            insert(&cache, &number.to_string(), "value");
        }
        let told = log.take();
        assert!(told.len() == 1 && told[0].ends_with("=value: Evicted"), "{told:?}, {name}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_over_when_it_was_replaced_or_had_to_go_is_told_of_as_over() {
    for Shape { name, clock, builder } in shapes_of_memory() {
        let (cache, log) = Log::listen(builder.max_entries(1));
        let origin = Origin::new();
        origin.fill(&cache, "a", "1").await;
        clock.advance(MINUTE);
        origin.fill(&cache, "a", "2").await;
        assert_eq!(log.take(), ["a=1: Expired"], "{name}");
        clock.advance(MINUTE);
        cache.insert_with("b", "3".to_owned(), Lifetime::fresh_for(MINUTE), ["tag"]);
        assert_eq!(log.take(), ["a=2: Expired"], "{name}");
        cache.purge_tag("tag");
        insert(&cache, "c", "4");
        assert_eq!(log.take(), ["b=3: Purged"], "{name}");
        clock.advance(MINUTE);
        assert!(!cache.remove("c"));
        assert_eq!(log.take(), ["c=4: Expired"], "{name}");
    }
}

#[test]
fn what_a_newer_value_that_is_not_stored_drives_out_was_replaced() {
    for Shape { name, builder, .. } in shapes_of_memory() {
        let (cache, log) = Log::listen(builder.max_entry_bytes(2000));
        insert(&cache, "a", "1");
        assert!(matches!(cache.insert("a", "too large".repeat(1000)), Storage::Not(_)));
        assert_eq!(log.take(), ["a=1: Replaced"], "{name}");
        insert(&cache, "a", "2");
        cache.insert_with_ttl("a", "for no time".to_owned(), secs(0));
        assert_eq!(log.take(), ["a=2: Replaced"], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_never_stored_is_never_told_of() {
    for Shape { name, builder, .. } in shapes_of_memory() {
        let (cache, log) = Log::listen(builder.max_entry_bytes(2000));
        cache.insert("a", "too large".repeat(1000));
        cache.insert_with_ttl("a", "for no time".to_owned(), secs(0));
        let origin = Origin::new();
        let asked = origin.ask(&cache, "a");
        settle().await;
        cache.remove("a");
        origin.answer("fetched before the purge");
        asked.await.unwrap().unwrap();
        cache.resize(0);
        cache.insert("a", "no room".to_owned());
        assert_eq!(log.take(), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn every_value_that_was_stored_is_told_of_exactly_once() {
    for Shape { name, clock, builder } in shapes_of_memory() {
        let (cache, log) = Log::listen(builder.max_entries(50));
        let mut stored = 0;
        for number in 0_u32..5000 {
            // Any sequence will do that does all of this in turn.
            let key = format!("{}", number.wrapping_mul(2_654_435_761) >> 25);
            let lifetime = Lifetime::fresh_for(secs(1 + u64::from(number % 7)));
            match number % 97 {
                3 => _ = cache.remove(&*key),
                13 => cache.purge_tag(&key),
                23 => _ = cache.purge_prefix("1"),
                43 => _ = cache.sweep(),
                53 => clock.advance(secs(1)),
                63 if number % 5 == 0 => _ = cache.clear(),
                _ => {
                    let storage = cache.insert_with(&*key, number.to_string(), lifetime, [&*key]);
                    stored += usize::from(matches!(storage, Storage::FreshFor(_)));
                }
            }
        }
        cache.clear();
        let mut told: HashMap<String, usize> = HashMap::new();
        for (_, value, _) in log.0.lock().unwrap().iter() {
            *told.entry(value.clone()).or_default() += 1;
        }
        assert_eq!(told.len(), stored, "{name}");
        assert!(told.values().all(|times| *times == 1), "{name}");
    }
}

#[test]
fn a_hook_that_panics_keeps_nobody_else_from_being_told_and_no_room() {
    let told = Arc::new(Mutex::new(0));
    let count = Arc::clone(&told);
    let cache = Cache::<String>::builder()
        .max_entries(10)
        .on_removed(move |_, _, _| {
            *count.lock().unwrap() += 1;
            panic!("a hook");
        })
        .build();
    let fill = || (0..10).for_each(|number| insert(&cache, &number.to_string(), "value"));
    type Go = fn(&Cache<String>);
    let ways: [(&str, Go); 4] = [
        ("clear", |cache| _ = cache.clear()),
        ("purge_prefix", |cache| _ = cache.purge_prefix("")),
        ("resize", |cache| _ = cache.resize(0)),
        ("sweep", |cache| {
            cache.soft_clear();
            cache.sweep();
        }),
    ];
    for (way, go) in ways {
        fill();
        let panicked = catch_unwind(AssertUnwindSafe(|| go(&cache)));
        assert!(panicked.is_err(), "whoever asked is told: {way}");
        assert_eq!(std::mem::take(&mut *told.lock().unwrap()), 10, "{way}");
        cache.resize(1 << 20);
        assert_eq!((cache.stats().entries, cache.stats().bytes), (0, 0), "{way}");
    }
    fill();
    insert(&cache, "0", "whoever stores does not panic");
    insert(&cache, "another", "for which one has to go");
    assert_eq!(*told.lock().unwrap(), 2);
    let panicked = catch_unwind(AssertUnwindSafe(|| cache.remove("0")));
    assert!(panicked.is_err() && cache.get("0").is_none());
}

thread_local! {
    static IS_CALLER: Cell<bool> = const { Cell::new(false) };
}

#[test]
fn whoever_takes_a_value_out_tells_of_it_before_it_goes_on() {
    let (here, calls) = mpsc::channel();
    let cache = Cache::<String>::builder()
        .max_entries(1)
        .on_removed(move |_, _, _| here.send(IS_CALLER.get()).unwrap())
        .build();
    IS_CALLER.set(true);
    insert(&cache, "a", "1");
    insert(&cache, "a", "2");
    assert_eq!(calls.try_recv(), Ok(true));
    insert(&cache, "b", "3");
    assert_eq!(calls.try_recv(), Ok(true));
    let other = thread::spawn(move || cache.remove("b"));
    assert!(other.join().unwrap());
    assert_eq!(calls.try_recv(), Ok(false));
}

#[test]
fn the_sweeper_tells_of_what_has_expired() {
    let (gone, told) = mpsc::channel();
    let hook = move |key: &str, _: &String, cause| {
        gone.send((key.to_owned(), cause, thread::current().name().map(str::to_owned))).unwrap();
    };
    let cache = Cache::<String>::builder().ttl(secs(1)).on_removed(hook).build();
    insert(&cache, "a", "1");
    let (key, cause, thread) = told.recv_timeout(secs(20)).unwrap();
    assert_eq!((&*key, cause), ("a", RemovalCause::Expired));
    assert_eq!(thread.as_deref(), Some("larder-sweeper"));
}

#[test]
fn what_is_stored_when_the_cache_goes_goes_untold() {
    let (cache, log) = Log::listen(Cache::<String>::builder());
    insert(&cache, "a", "1");
    drop(cache.clone());
    drop(cache);
    assert_eq!(log.take(), Vec::<String>::new());
}

#[test]
fn a_hook_may_store_in_its_cache_and_in_others_where_there_is_room() {
    let second = Cache::<String>::builder().max_entries(2).build();
    let into = second.clone();
    let first = Cache::<String>::builder()
        .max_entries(1)
        .on_removed(move |key, value: &String, cause| {
            if cause == RemovalCause::Evicted {
                into.insert(key, value.clone());
            }
        })
        .build();
    for number in 0..4 {
        insert(&first, &number.to_string(), "value");
    }
    let is_there = |key: u8| second.get(key.to_string()).is_some();
    assert_eq!([0, 1, 2].map(is_there), [true, true, false], "there is no room for the third");
}
