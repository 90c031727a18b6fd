//! What is computed of a key, taken out of it, or told of, while others write it.

use std::sync::Arc;

use shuttle::{
    future::{block_on, yield_now},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::{
    RUNS,
    caches::{Origin, PURGES, builder, join, time_passes},
    in_many_orders,
};
use crate::{Cache, Compute, Fetched};

fn count(cache: &Cache<u64>) {
    let more = |seen: Option<&u64>| Compute::store(seen.map_or(1, |count| count + 1));
    cache.compute("key", more).unwrap();
}

#[test]
fn nothing_that_was_computed_before_a_purge_is_there_after_it() {
    for purge in PURGES {
        for is_there in [true, false] {
            in_many_orders(RUNS / 4, move || {
                let (cache, origin) = (builder().0.build(), Arc::new(Origin::default()));
                if is_there {
                    block_on(origin.ask(&cache));
                }
                let purger = {
                    let (cache, origin) = (cache.clone(), Arc::clone(&origin));
                    thread::spawn(move || {
                        time_passes();
                        origin.change(|_| purge(&cache));
                        let found = cache.get("key");
                        assert!(found.is_none_or(|version| version >= 1), "{found:?} after it");
                    })
                };
                let computer = {
                    let (cache, origin) = (cache.clone(), Arc::clone(&origin));
                    thread::spawn(move || {
                        let newest = |_: Option<&u64>| {
                            let version = origin.version();
                            thread::yield_now();
                            Compute::Store(Fetched::new(version).tags(["tag"]))
                        };
                        cache.compute("key", newest).unwrap();
                    })
                };
                join([purger, computer]);
                let kept = cache.get("key");
                assert!(kept.is_none_or(|version| version >= 1), "the purged one was stored");
            });
        }
    }
}

#[test]
fn of_two_that_compute_neither_is_lost_nor_what_is_inserted_in_between() {
    in_many_orders(RUNS, || {
        let cache = builder().0.build();
        let insert = {
            let cache = cache.clone();
            thread::spawn(move || {
                time_passes();
                cache.insert("key", 10);
            })
        };
        let counts = [(); 2].map(|()| {
            let cache = cache.clone();
            thread::spawn(move || count(&cache))
        });
        join(counts.into_iter().chain([insert]));
        let kept = cache.get("key").unwrap();
        assert!((10..=12).contains(&kept), "{kept}: in whichever order, each counts");
        count(&cache);
        assert_eq!(cache.get("key"), Some(kept + 1));
    });
}

#[test]
fn what_was_being_fetched_does_not_undo_what_is_computed() {
    in_many_orders(RUNS, || {
        let (cache, begun) = (builder().0.build(), Arc::new(AtomicUsize::new(0)));
        let reader = {
            let (cache, begun) = (cache.clone(), Arc::clone(&begun));
            thread::spawn(move || {
                let fetch = async move || {
                    begun.store(1, Ordering::SeqCst);
                    yield_now().await;
                    10_u64
                };
                let found = block_on(cache.get_or_fetch("key", fetch));
                assert!([1, 10, 11].contains(&found));
            })
        };
        let computer = {
            let cache = cache.clone();
            thread::spawn(move || {
                // One that begins while something is being stored is as new as that.
                while begun.load(Ordering::SeqCst) == 0 {
                    thread::yield_now();
                }
                count(&cache);
            })
        };
        join([reader, computer]);
        let kept = cache.get("key");
        assert!([Some(1), Some(11)].contains(&kept), "{kept:?}");
    });
}

#[test]
fn what_is_taken_computed_away_and_removed_is_told_of_once() {
    in_many_orders(RUNS, || {
        let told = Arc::new(AtomicUsize::new(0));
        let hook = {
            let told = Arc::clone(&told);
            move |_: &str, _: &u64, _| _ = told.fetch_add(1, Ordering::SeqCst)
        };
        let cache = builder().0.on_removed(hook).build();
        cache.insert("key", 1);
        type Way = fn(&Cache<u64>) -> bool;
        let ways: [Way; 4] = [
            |cache| cache.take("key").is_some(),
            |cache| cache.remove("key"),
            |cache| cache.retain_local(|_, _| false) > 0,
            |cache| {
                let mut was_there = false;
                let removed = cache.compute("key", |seen| {
                    was_there = seen.is_some();
                    Compute::Remove
                });
                removed.is_ok() && was_there
            },
        ];
        let had = Arc::new(AtomicUsize::new(0));
        join(ways.map(|way| {
            let (cache, had) = (cache.clone(), Arc::clone(&had));
            thread::spawn(move || _ = had.fetch_add(usize::from(way(&cache)), Ordering::SeqCst))
        }));
        assert_eq!((told.load(Ordering::SeqCst), had.load(Ordering::SeqCst)), (1, 1));
    });
}
