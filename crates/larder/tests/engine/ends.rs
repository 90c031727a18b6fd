//! Ends: runtimes that go, caches that go, and what must not outlive them.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use larder::{Cache, FetchError, ManualClock};
use tokio::runtime::{Builder, Runtime};

use crate::support::{MINUTE, Origin, secs, settle, shapes};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A cache with one refresh under way that never ends, and many that wait for it.
fn with_waiting_refreshes(runtime: &Runtime) -> Cache<Arc<str>> {
    let clock = ManualClock::new();
    let cache = Cache::<Arc<str>>::builder()
        .ttl(MINUTE)
        .stale_while_revalidate(MINUTE)
        .max_concurrent_refreshes(1)
        .clock(clock.clock())
        .build();
    runtime.block_on(async {
        for number in 0..900 {
            cache.insert(format!("key {number}"), "old".into());
        }
        clock.advance(MINUTE);
        for number in 0..900 {
            let never = || async { std::future::pending::<Arc<str>>().await };
            cache.get_or_fetch(format!("key {number}"), never).await;
        }
        tokio::task::yield_now().await;
    });
    assert_eq!(cache.stats().refreshes, 1);
    cache
}

#[test]
fn a_cache_outlives_a_runtime_that_goes_with_refreshes_under_way() {
    let first = runtime();
    let cache = with_waiting_refreshes(&first);
    drop(first);
    runtime().block_on(async {
        let value = cache.get_or_fetch("other", async || Arc::from("value")).await;
        assert_eq!(&*value, "value");
        let refreshed = cache.get_or_fetch("key 0", async || Arc::from("new")).await;
        assert_eq!(&*refreshed, "old");
        let began = Instant::now();
        while cache.get("key 0").is_none() {
            assert!(began.elapsed() < secs(10), "refreshes no longer run");
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_cache_that_is_dropped_with_refreshes_waiting_is_freed() {
    let runtime = runtime();
    let cache = with_waiting_refreshes(&runtime);
    let value: Arc<str> = "value".into();
    let held: Weak<str> = Arc::downgrade(&value);
    cache.insert("held", value);
    drop(cache);
    let began = Instant::now();
    while held.strong_count() > 0 {
        assert!(began.elapsed() < secs(10), "something still holds the cache");
        runtime.block_on(async { tokio::time::sleep(Duration::from_millis(5)).await });
    }
}

#[test]
fn a_fetch_on_a_runtime_that_nobody_drives_is_given_up_by_its_readers() {
    let stalled = runtime();
    let cache = Cache::<String>::builder().hard_timeout(Duration::from_millis(100)).build();
    let asked = async {
        let never = || async { std::future::pending::<String>().await };
        tokio::time::timeout(Duration::from_millis(1), cache.get_or_fetch("key", never)).await
    };
    stalled.block_on(asked).unwrap_err();
    // Nobody drives that runtime, and its timers, any more; it is not gone either.
    runtime().block_on(async {
        let fetch = async || Ok::<_, &str>("value".to_owned());
        let given_up = cache.try_get_or_fetch("key", fetch).await;
        assert!(matches!(given_up, Err(FetchError::Timeout { .. })), "{given_up:?}");
        assert_eq!(cache.try_get_or_fetch("key", fetch).await.unwrap(), "value");
    });
    drop(stalled);
}

#[test]
fn readers_who_give_a_fetch_up_leave_a_younger_one_alone() {
    let stalled = runtime();
    let cache = Cache::<String>::builder().hard_timeout(secs(10)).build();
    let asked = async {
        let never = || async { std::future::pending::<String>().await };
        tokio::time::timeout(Duration::from_millis(1), cache.get_or_fetch("key", never)).await
    };
    stalled.block_on(asked).unwrap_err();
    let paused = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    paused.block_on(async {
        let origin = Origin::new();
        let gives_up = origin.ask(&cache, "key");
        tokio::time::sleep(secs(5)).await;
        assert_eq!(origin.calls(), 0, "it waits for the fetch that nobody drives");
        cache.remove("key");
        let younger = origin.ask(&cache, "key");
        assert!(matches!(gives_up.await.unwrap(), Err(FetchError::Timeout { .. })));
        origin.answer("value");
        assert_eq!(younger.await.unwrap().unwrap().value, "value");
        assert_eq!(cache.get("key").as_deref(), Some("value"), "it was stored");
    });
    drop(stalled);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_may_need_another_of_the_same_cache_however_few_may_run() {
    for shape in shapes() {
        let cache = shape.builder.max_concurrent_fetches(1).build();
        let inner = cache.clone();
        let page = async move || {
            let fragment = inner.get_or_fetch("fragment", async || "fragment".to_owned()).await;
            format!("page of a {fragment}")
        };
        let page = tokio::time::timeout(secs(10), cache.get_or_fetch("page", page)).await;
        assert_eq!(page.unwrap(), "page of a fragment", "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn readers_that_leave_do_not_pile_up_fetches_without_end() {
    for shape in shapes() {
        let cache = shape.builder.max_concurrent_fetches(1).build();
        let origin = Origin::new();
        for number in 0..1024 {
            let reader = origin.ask(&cache, &format!("key {number}"));
            settle().await;
            reader.abort();
        }
        let one_more = origin.ask(&cache, "one more").await.unwrap();
        assert!(matches!(one_more, Err(FetchError::TooMany)), "{}", shape.name);
        // What is under way can still be shared, and room is made as it ends.
        let shares = origin.ask(&cache, "key 0");
        settle().await;
        origin.answer("value");
        assert_eq!(shares.await.unwrap().unwrap().value, "value");
        let reader = origin.ask(&cache, "one more");
        settle().await;
        assert!(!reader.is_finished(), "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn purges_make_no_room_for_more_fetches_than_may_wait() {
    let purges: [fn(&Cache<String>); 4] = [
        |cache| _ = cache.remove("key"),
        |cache| _ = cache.soft_purge_prefix("k"),
        |cache| _ = cache.clear(),
        |cache| _ = cache.insert("key", "newer".to_owned()),
    ];
    let cache = Cache::<String>::builder().max_concurrent_fetches(1).build();
    let origin = Origin::new();
    for number in 0..1024 {
        cache.remove("key");
        let reader = origin.ask(&cache, "key");
        settle().await;
        reader.abort();
        purges[number % purges.len()](&cache);
    }
    let one_more = origin.ask(&cache, "another key");
    settle().await;
    assert!(one_more.is_finished(), "it is one too many");
    assert!(matches!(one_more.await.unwrap(), Err(FetchError::TooMany)));
    origin.answer("value");
    settle().await;
    let one_more = origin.ask(&cache, "another key");
    settle().await;
    assert!(!one_more.is_finished(), "a fetch has ended, so another may wait");
}

#[test]
fn a_value_that_panics_when_it_is_dropped_does_not_end_the_sweeping() {
    #[derive(Clone)]
    struct Breaks;
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    impl Drop for Breaks {
        fn drop(&mut self) {
            if DROPPED.fetch_add(1, Ordering::SeqCst) == 0 {
                panic!("a value breaks as it goes");
            }
        }
    }
    let short = Duration::from_millis(50);
    let broken = Cache::<Arc<Breaks>>::builder_with_weigher(|_| 0).ttl(short).build();
    broken.insert("key", Arc::new(Breaks));
    let other = Cache::<String>::builder().ttl(Duration::from_millis(2500)).build();
    other.insert("key", "value".to_owned());
    let began = Instant::now();
    while other.stats().entries > 0 {
        assert!(began.elapsed() < secs(10), "nothing is swept any more");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(DROPPED.load(Ordering::SeqCst), 1);
}
