//! The whole cache through its public API: flights, fences, tags, refreshes and the memory tier.

use std::{panic::resume_unwind, sync::Arc, time::Duration};

use shuttle::{
    future::{block_on, spawn, yield_now},
    rand::{Rng, thread_rng},
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    thread,
};

use super::{RUNS, in_many_orders};
use crate::{Builder, Cache, FetchError, Fetched, Lifetime, ManualClock};

pub(super) const MINUTE: Duration = Duration::from_secs(60);
/// Points at which others may run while a reader finds nothing, fetches, stores and lands.
const STEPS_OF_A_FETCH: usize = 40;

type Purge = fn(&Cache<u64>);

/// Every way to say that what is known about `key` (tagged `tag`) no longer counts. Without stale
/// windows the soft ones leave nothing either.
pub(super) const PURGES: [Purge; 8] = [
    |cache| _ = cache.remove("key"),
    |cache| _ = cache.clear(),
    |cache| cache.purge_tag("tag"),
    |cache| _ = cache.purge_prefix("ke"),
    |cache| _ = cache.soft_remove("key"),
    Cache::soft_clear,
    |cache| cache.soft_purge_tag("tag"),
    |cache| _ = cache.soft_purge_prefix("ke"),
];

/// A version, counted up by whoever changes the data; fetches bring the one they meet.
#[derive(Default)]
pub(super) struct Origin {
    version: AtomicU64,
    /// The newest whose purge has returned.
    acknowledged: AtomicU64,
    calls: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

impl Origin {
    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub(super) fn most_at_once(&self) -> usize {
        self.most_at_once.load(Ordering::SeqCst)
    }

    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// The data change, and then the cache is told.
    pub(super) fn change(&self, purge: impl FnOnce(u64)) {
        let newest = self.version.fetch_add(1, Ordering::SeqCst) + 1;
        purge(newest);
        self.acknowledged.fetch_max(newest, Ordering::SeqCst);
    }

    /// The same, and whether the cache has been told shows later.
    pub(super) fn change_if(&self, is_purged: impl FnOnce() -> bool) {
        let newest = self.version.fetch_add(1, Ordering::SeqCst) + 1;
        if is_purged() {
            self.acknowledged.fetch_max(newest, Ordering::SeqCst);
        }
    }

    async fn fetch(self: Arc<Self>) -> Fetched<u64> {
        let _here = Here::enter(&self);
        let version = self.version.load(Ordering::SeqCst);
        yield_now().await;
        Fetched::new(version).tags(["tag"])
    }

    /// Asks as a reader does: what it is given is no older than what was acknowledged before.
    pub(super) async fn ask(self: &Arc<Self>, cache: &Cache<u64>) {
        self.ask_since(cache, self.acknowledged()).await;
    }

    /// The same for a reader who has to be given nothing older than this.
    pub(super) async fn ask_since(self: &Arc<Self>, cache: &Cache<u64>, acknowledged: u64) {
        let origin = Arc::clone(self);
        let version = cache.get_or_fetch("key", move || origin.fetch()).await;
        assert!(version >= acknowledged, "{version} was served after a purge of {acknowledged}");
    }
}

struct Here<'a>(&'a Origin);

impl<'a> Here<'a> {
    fn enter(origin: &'a Origin) -> Self {
        let number = origin.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        origin.most_at_once.fetch_max(number, Ordering::SeqCst);
        origin.calls.fetch_add(1, Ordering::SeqCst);
        Here(origin)
    }
}

impl Drop for Here<'_> {
    fn drop(&mut self) {
        self.0.at_once.fetch_sub(1, Ordering::SeqCst);
    }
}

/// As much of it as a reader needs for its fetch, or less: else nearly all purges would come before
/// that is made.
pub(super) fn time_passes() {
    for _ in 0..thread_rng().gen_range(0..STEPS_OF_A_FETCH) {
        thread::yield_now();
    }
}

pub(super) fn builder() -> (Builder<u64>, ManualClock) {
    let clock = ManualClock::new();
    let builder = Cache::builder_with_weigher(|_: &u64| 0)
        .ttl(MINUTE)
        .max_bytes(64 << 10)
        .clock(clock.clock());
    (builder, clock)
}

/// `count` readers, each a task; returns when all have been answered.
pub(super) fn readers(
    count: usize,
    cache: &Cache<u64>,
    origin: &Arc<Origin>,
) -> Vec<thread::JoinHandle<()>> {
    (0..count)
        .map(|_| {
            let (cache, origin) = (cache.clone(), Arc::clone(origin));
            thread::spawn(move || block_on(origin.ask(&cache)))
        })
        .collect()
}

pub(super) fn join(tasks: impl IntoIterator<Item = thread::JoinHandle<()>>) {
    tasks.into_iter().for_each(|task| task.join().unwrap());
}

#[test]
fn readers_of_a_cold_key_cause_one_fetch_and_all_are_answered() {
    in_many_orders(RUNS, || {
        let (cache, origin) = (builder().0.build(), Arc::new(Origin::default()));
        join(readers(4, &cache, &origin));
        assert_eq!((origin.calls(), origin.most_at_once()), (1, 1));
        let stats = cache.stats();
        assert_eq!((stats.fetches, stats.fetch_failures, stats.entries), (1, 0, 1));
        assert_eq!(stats.hits + stats.misses, 4);
    });
}

#[test]
fn nothing_older_than_a_purge_is_served_afterwards_nor_stays() {
    for purge in PURGES {
        for is_cold in [true, false] {
            in_many_orders(RUNS / 4, move || {
                let (cache, origin) = (builder().0.build(), Arc::new(Origin::default()));
                if !is_cold {
                    block_on(origin.ask(&cache));
                }
                let purger = {
                    let (cache, origin) = (cache.clone(), Arc::clone(&origin));
                    thread::spawn(move || {
                        time_passes();
                        origin.change(|_| purge(&cache));
                        block_on(origin.ask(&cache));
                    })
                };
                join(readers(2, &cache, &origin).into_iter().chain([purger]));
                let kept = cache.get("key");
                assert!(kept.is_none_or(|version| version >= 1), "the purged one was stored");
                assert!(origin.most_at_once() <= 2, "one from before, one from after the purge");
            });
        }
    }
}

#[test]
fn purges_that_meet_each_other_and_hits_lose_nothing() {
    for purge in PURGES {
        in_many_orders(RUNS / 4, move || {
            let (cache, origin) = (builder().0.build(), Arc::new(Origin::default()));
            block_on(origin.ask(&cache));
            let purgers = ["another", "tag"].map(|tag| {
                let (cache, origin) = (cache.clone(), Arc::clone(&origin));
                thread::spawn(move || {
                    // One that does not name the key makes the next hit look at the table.
                    cache.purge_tag("unrelated");
                    origin.change(
                        |_| if tag == "tag" { cache.purge_tag(tag) } else { purge(&cache) },
                    );
                })
            });
            let hits = {
                let (cache, origin) = (cache.clone(), Arc::clone(&origin));
                thread::spawn(move || {
                    for _ in 0..2 {
                        let acknowledged = origin.acknowledged();
                        let hit = cache.get("key");
                        assert!(hit.is_none_or(|version| version >= acknowledged), "{hit:?}");
                    }
                })
            };
            join(purgers.into_iter().chain([hits]));
            assert_eq!(cache.get("key"), None, "two purges later");
        });
    }
}

#[test]
fn an_insert_is_not_undone_by_a_fetch_that_began_before_it() {
    in_many_orders(RUNS, || {
        let (cache, origin) = (builder().0.build(), Arc::new(Origin::default()));
        let writer = {
            let (cache, origin) = (cache.clone(), Arc::clone(&origin));
            thread::spawn(move || {
                time_passes();
                origin.change(|newest| _ = cache.insert("key", newest));
            })
        };
        join(readers(3, &cache, &origin).into_iter().chain([writer]));
        assert_eq!(cache.get("key"), Some(1));
    });
}

#[test]
fn a_reader_that_leaves_takes_the_fetch_from_nobody() {
    in_many_orders(RUNS, || {
        let (cache, origin) = (builder().0.build(), Arc::new(Origin::default()));
        let leaving = {
            let (cache, origin) = (cache.clone(), Arc::clone(&origin));
            spawn(async move { origin.ask(&cache).await })
        };
        let others = readers(2, &cache, &origin);
        leaving.abort();
        join(others);
        assert_eq!((origin.calls(), origin.most_at_once()), (1, 1));
        assert_eq!(cache.get("key"), Some(0));
    });
}

#[test]
fn a_fetch_that_panics_or_fails_answers_everybody_and_the_next_one_fetches() {
    for panics in [true, false] {
        in_many_orders(RUNS, move || {
            let (cache, origin) = (builder().0.build(), Arc::new(Origin::default()));
            let readers = (0..3).map(|_| {
                let (cache, origin) = (cache.clone(), Arc::clone(&origin));
                thread::spawn(move || {
                    let fetch = async move || {
                        let is_first = origin.calls() == 0;
                        let fetched = Arc::clone(&origin).fetch().await;
                        match (is_first, panics) {
                            (true, true) => resume_unwind(Box::new("the fetch panicked")),
                            (true, false) => Err("the fetch failed"),
                            (false, _) => Ok(fetched),
                        }
                    };
                    match block_on(cache.try_get_or_fetch("key", fetch)) {
                        Ok(_) => {}
                        Err(FetchError::Panicked) => assert!(panics),
                        Err(FetchError::Failed(_)) => assert!(!panics),
                        Err(other) => panic!("{other}"),
                    }
                })
            });
            let readers: Vec<_> = readers.collect();
            join(readers);
            block_on(origin.ask(&cache));
            assert_eq!((origin.calls(), origin.most_at_once()), (2, 1));
            let stats = cache.stats();
            assert_eq!((stats.fetches, stats.fetch_failures), (2, 1));
        });
    }
}

#[test]
fn an_error_from_before_a_purge_is_not_remembered_after_it() {
    for purge in PURGES {
        in_many_orders(RUNS / 4, move || {
            let cache = builder().0.negative_ttl(MINUTE).build();
            let origin = Arc::new(Origin::default());
            let ask = {
                let (cache, origin) = (cache.clone(), Arc::clone(&origin));
                move || {
                    let (acknowledged, fetched) = (origin.acknowledged(), Arc::clone(&origin));
                    let fetch = async move || Err::<u64, u64>(*fetched.fetch().await.value);
                    match block_on(cache.try_get_or_fetch("key", fetch)) {
                        Err(FetchError::Failed(version)) => assert!(*version >= acknowledged),
                        other => panic!("{other:?}"),
                    }
                }
            };
            let purger = {
                let (cache, origin, ask) = (cache.clone(), Arc::clone(&origin), ask.clone());
                thread::spawn(move || {
                    time_passes();
                    origin.change(|_| purge(&cache));
                    ask();
                })
            };
            let readers = [thread::spawn(ask.clone()), thread::spawn(ask.clone())];
            join(readers.into_iter().chain([purger]));
            ask();
        });
    }
}

#[test]
fn a_refresh_runs_once_at_a_time_and_undoes_no_purge() {
    for purge in PURGES {
        in_many_orders(RUNS / 4, move || {
            let (builder, clock) = builder();
            let cache = builder.stale_while_revalidate(MINUTE).build();
            let origin = Arc::new(Origin::default());
            let windows = Lifetime::fresh_for(MINUTE).stale_while_revalidate(MINUTE);
            cache.insert_with("key", 0, windows, ["tag"]);
            clock.advance(MINUTE);
            let reader = || {
                let (cache, origin) = (cache.clone(), Arc::clone(&origin));
                thread::spawn(move || {
                    _ = block_on(cache.get_or_fetch("key", move || origin.fetch()));
                })
            };
            let purger = {
                let (cache, origin) = (cache.clone(), Arc::clone(&origin));
                thread::spawn(move || {
                    time_passes();
                    origin.change(|_| purge(&cache));
                })
            };
            join([reader(), reader(), purger]);
            assert!(origin.most_at_once() <= 2, "one from before, one from after the purge");
            // What is fresh now, if anything, was fetched after the purge.
            assert!(cache.get("key").is_none_or(|version| version >= 1));
            // Two may be under way: none of them is dropped while the other is in the midst of its end.
            cache.engine().close();
            block_on(cache.engine().tasks().ended());
        });
    }
}

/// A fetch that asks for `inner` within the fetch of `key`; each ends with the version it meets.
fn asks_within(
    (cache, key): (&Cache<u64>, &'static str),
    (inner_cache, inner): (&Cache<u64>, &'static str),
    origin: &Arc<Origin>,
) -> thread::JoinHandle<Result<u64, FetchError<&'static str>>> {
    let (cache, inner_cache, origin) = (cache.clone(), inner_cache.clone(), Arc::clone(origin));
    thread::spawn(move || {
        let fetch = async move || {
            let own = async move || Ok::<_, &str>(origin.fetch().await);
            match inner_cache.try_get_or_fetch(inner, own).await {
                Ok(version) => Ok(version),
                Err(FetchError::Recursive) => Err("recursive"),
                Err(FetchError::Failed(error)) => Err(*error),
                Err(other) => panic!("{other}"),
            }
        };
        block_on(cache.try_get_or_fetch(key, fetch))
    })
}

#[test]
fn a_fetch_that_needs_another_never_waits_for_its_turn_in_a_ring() {
    in_many_orders(RUNS, || {
        let (one, other) = (|| builder().0.max_concurrent_fetches(1).build(), Arc::default());
        let (one, another) = (one(), one());
        let readers = [
            asks_within((&one, "parent"), (&one, "child"), &other),
            asks_within((&another, "parent"), (&one, "child"), &other),
            asks_within((&one, "other parent"), (&another, "child"), &other),
        ];
        let strangers = [one.clone(), another.clone()].map(|cache| {
            let origin = Arc::clone(&other);
            thread::spawn(move || {
                block_on(cache.get_or_fetch("child", move || origin.fetch()));
            })
        });
        // Shuttle tells if nobody can go on.
        for reader in readers {
            assert!(reader.join().unwrap().is_ok());
        }
        join(strangers);
        for cache in [one, another] {
            let quick = cache.get_or_fetch("afterwards", async || 0);
            assert_eq!(block_on(quick), 0, "the turn was given back");
        }
    });
}

#[test]
fn fetches_that_need_each_other_are_told_so_however_they_meet() {
    in_many_orders(RUNS, || {
        let (cache, origin) = (builder().0.build(), Arc::default());
        let readers = [
            asks_within((&cache, "a"), (&cache, "b"), &origin),
            asks_within((&cache, "b"), (&cache, "a"), &origin),
        ];
        for reader in readers {
            match reader.join().unwrap() {
                Ok(_) => {}
                Err(FetchError::Failed(error)) => assert_eq!(*error, "recursive"),
                Err(other) => panic!("{other}"),
            }
        }
    });
}

#[test]
fn who_is_one_too_many_and_wants_a_value_gets_it_also_from_one_that_leaves() {
    in_many_orders(RUNS, || {
        let cache = builder().0.max_concurrent_fetches(1).build();
        let origin = Arc::new(Origin::default());
        let asks = |key: &'static str| {
            let (cache, origin) = (cache.clone(), Arc::clone(&origin));
            async move { cache.get_or_fetch(key, move || origin.fetch()).await }
        };
        let leaving = spawn(asks("key"));
        let others = ["key", "other", "key"].map(|key| {
            let asked = asks(key);
            thread::spawn(move || _ = block_on(asked))
        });
        leaving.abort();
        join(others);
        assert_eq!(origin.most_at_once(), 1);
    });
}
