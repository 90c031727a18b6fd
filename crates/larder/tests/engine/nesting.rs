//! Nesting: fetches that ask for other keys, and never wait for each other in a ring.

use std::{panic::AssertUnwindSafe, pin::Pin, sync::Arc, time::Duration};

use futures_util::FutureExt;
use larder::{Cache, FetchError};
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::support::{MINUTE, Origin, secs, settle, shapes};

type Text = Result<String, FetchError<&'static str>>;

/// Long enough for whatever ends by itself, the last resort not included.
const AT_ONCE: Duration = Duration::from_millis(900);

fn cache(max_concurrent_fetches: usize) -> Cache<String> {
    Cache::builder().max_concurrent_fetches(max_concurrent_fetches).build()
}

/// Asks for the keys of `path` in turn, each within the fetch of the one before it. What the last one
/// brings is handed up.
fn ask_along(path: Vec<(Cache<String>, &'static str)>) -> JoinHandle<Text> {
    tokio::spawn(along(path))
}

fn along(path: Vec<(Cache<String>, &'static str)>) -> Pin<Box<dyn Future<Output = Text> + Send>> {
    Box::pin(async move {
        let mut rest = path.into_iter();
        let Some((cache, key)) = rest.next() else { return Ok("end".to_owned()) };
        let rest: Vec<_> = rest.collect();
        cache
            .try_get_or_fetch(key, async || {
                // So that others can queue up meanwhile.
                sleep(Duration::from_millis(10)).await;
                along(rest).await.map_err(|error| match error {
                    FetchError::Failed(error) => *error,
                    FetchError::Recursive => "recursive",
                    _ => "something else",
                })
            })
            .await
    })
}

#[tokio::test(start_paused = true)]
async fn what_a_running_fetch_needs_does_not_wait_for_a_turn() {
    // Each is asked for within the one before; others ask for each of them meanwhile, and queue.
    for path in [&["parent", "child"][..], &["parent", "child", "grandchild", "its child"]] {
        for shape in shapes() {
            let cache = shape.builder.max_concurrent_fetches(1).build();
            let along = path.iter().map(|key| (cache.clone(), *key)).collect();
            let parent = ask_along(along);
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            let strangers: Vec<_> =
                path[1..].iter().rev().map(|key| ask_along(vec![(cache.clone(), key)])).collect();
            let parent = timeout(AT_ONCE, parent).await.expect("nobody waits for ever");
            assert_eq!(parent.unwrap().unwrap(), "end", "{}", shape.name);
            for stranger in strangers {
                timeout(AT_ONCE, stranger).await.unwrap().unwrap().unwrap();
            }
            let stats = cache.stats();
            assert_eq!((stats.fetches, stats.fetches_out_of_turn), (path.len() as u64, 0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_pages_that_need_what_others_ask_for_too_all_end() {
    const PAGES: usize = 1500;
    let cache = Cache::<String>::builder().build();
    let config = |cache: Cache<String>| async move {
        let fetch = async || {
            sleep(Duration::from_millis(1)).await;
            "config".to_owned()
        };
        cache.get_or_fetch("config", fetch).await
    };
    let pages: Vec<_> = (0..PAGES)
        .map(|number| {
            let cache = cache.clone();
            tokio::spawn(async move {
                let inner = cache.clone();
                let fetch = async move || {
                    sleep(Duration::from_millis(5)).await;
                    config(inner).await
                };
                cache.get_or_fetch(format!("page {number}"), fetch).await
            })
        })
        .collect();
    settle().await;
    let reader = tokio::spawn(config(cache.clone()));
    let unrelated = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_fetch("unrelated", async || "value".to_owned()).await }
    });
    let all = async {
        for page in pages {
            page.await.unwrap();
        }
        reader.await.unwrap();
        unrelated.await.unwrap()
    };
    timeout(AT_ONCE, all).await.expect("all end");
    assert_eq!(cache.stats().fetches, PAGES as u64 + 2);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_waits_for_its_turn_hurries_when_a_fetch_needs_it() {
    for shape in shapes() {
        let cache = shape.builder.stale_while_revalidate(MINUTE).max_concurrent_fetches(1).build();
        cache.insert("child", "old".to_owned());
        shape.clock.advance(MINUTE);
        let (inner, gate) = (cache.clone(), Arc::new(Notify::new()));
        let opened = Arc::clone(&gate);
        let fetch = async move || {
            opened.notified().await;
            inner.get_or_fetch("child", async || "its own".to_owned()).await
        };
        let parent = tokio::spawn({
            let cache = cache.clone();
            async move { cache.get_or_fetch("parent", fetch).await }
        });
        settle().await;
        let stale = cache.get_or_fetch("child", async || "refreshed".to_owned()).await;
        assert_eq!(stale, "old");
        settle().await;
        // Nobody can be served stale any more.
        shape.clock.advance(MINUTE);
        gate.notify_one();
        let parent = timeout(AT_ONCE, parent).await.expect("nobody waits for ever");
        assert_eq!(parent.unwrap(), "refreshed", "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_begun_within_a_fetch_waits_for_its_turn_like_any_other() {
    for shape in shapes() {
        let cache = shape.builder.stale_while_revalidate(MINUTE).max_concurrent_fetches(1).build();
        cache.insert("child", "old".to_owned());
        shape.clock.advance(MINUTE);
        let (origin, inner) = (Origin::new(), cache.clone());
        let refreshing = origin.clone();
        let child = async move || refreshing.call().await.unwrap();
        let fetch = async move || {
            let child = inner.get_or_fetch("child", child).await;
            settle().await;
            child
        };
        let parent = tokio::spawn({
            let cache = cache.clone();
            async move { cache.get_or_fetch("parent", fetch).await }
        });
        sleep(Duration::from_micros(500)).await;
        assert_eq!(origin.calls(), 0, "{}: the parent has the only turn", shape.name);
        assert_eq!(parent.await.unwrap(), "old");
        settle().await;
        assert_eq!(origin.calls(), 1, "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn caches_that_need_each_other_never_wait_in_a_ring() {
    // Which cache each of two fetches begins in, and which keys they need: those of the other. Each is
    // asked for by a stranger, who waits for its turn, before it is needed.
    for caches in 1..=3 {
        let caches: Vec<_> = (0..caches).map(|_| cache(1)).collect();
        let at = |index: usize| caches[index % caches.len()].clone();
        let rings: Vec<_> = ["first", "second", "third"]
            .into_iter()
            .zip(["needed by first", "needed by second", "needed by third"])
            .enumerate()
            .take(caches.len())
            .map(|(index, (key, needed))| {
                ask_along(vec![(at(index), key), (at(index + 1), needed), (at(index + 2), "last")])
            })
            .collect();
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        let strangers: Vec<_> = ["needed by first", "needed by second", "needed by third", "last"]
            .into_iter()
            .flat_map(|key| (0..caches.len()).map(move |index| (index, key)))
            .map(|(index, key)| ask_along(vec![(at(index), key)]))
            .collect();
        for reader in rings.into_iter().chain(strangers) {
            let text = timeout(AT_ONCE, reader).await.expect("nobody waits for ever");
            assert_eq!(text.unwrap().unwrap(), "end", "{} caches", caches.len());
        }
        assert!(caches.iter().all(|cache| cache.stats().fetches_out_of_turn == 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_cache_behind_another_keeps_its_bound() {
    const PAGES: usize = 50;
    let (pages, rows, origin) = (cache(PAGES), cache(2), Origin::new());
    let readers: Vec<_> = (0..PAGES)
        .map(|number| {
            let (pages, rows, origin) = (pages.clone(), rows.clone(), origin.clone());
            tokio::spawn(async move {
                let fetch = async move || {
                    let key = format!("row {number}");
                    rows.get_or_fetch(key, async move || origin.call().await.unwrap()).await
                };
                pages.get_or_fetch(format!("page {number}"), fetch).await
            })
        })
        .collect();
    for _ in 0..PAGES {
        settle().await;
        origin.answer("row");
    }
    for reader in readers {
        assert_eq!(reader.await.unwrap(), "row");
    }
    assert_eq!((origin.calls(), origin.most_at_once()), (PAGES, 2));
}

#[tokio::test(start_paused = true)]
async fn what_a_fetch_needs_is_never_one_too_many() {
    let (cache, origin) = (cache(1), Origin::new());
    let (inner, gate) = (cache.clone(), Arc::new(Notify::new()));
    let opened = Arc::clone(&gate);
    let parent = tokio::spawn({
        let cache = cache.clone();
        let fetch = async move || {
            opened.notified().await;
            inner.try_get_or_fetch("child", async || Ok::<_, &str>("child".to_owned())).await
        };
        async move { cache.try_get_or_fetch("parent", fetch).await }
    });
    settle().await;
    let waiting: Vec<_> =
        (0..1023).map(|number| origin.ask(&cache, &format!("key {number}"))).collect();
    settle().await;
    let one_more = origin.ask(&cache, "one more").await.unwrap();
    assert!(matches!(one_more, Err(FetchError::TooMany)));
    gate.notify_one();
    assert_eq!(timeout(AT_ONCE, parent).await.unwrap().unwrap().unwrap(), "child");
    drop(waiting);
}

/// A fetch that asks in tasks of its own: `depth` keys, each within the fetch of the one before.
fn spawning(cache: Cache<String>, depth: usize) -> JoinHandle<String> {
    tokio::spawn(async move {
        let inner = cache.clone();
        let fetch = async move || match depth {
            0 => "end".to_owned(),
            _ => spawning(inner, depth - 1).await.unwrap(),
        };
        cache.get_or_fetch(format!("key {depth}"), fetch).await
    })
}

#[tokio::test(start_paused = true)]
async fn what_a_fetchs_own_tasks_ask_for_goes_out_of_turn_at_last() {
    for depth in 1..=3 {
        let cache = cache(1);
        let patience = secs(1 << depth);
        let text = timeout(patience, spawning(cache.clone(), depth)).await;
        assert_eq!(text.expect("nobody waits for ever").unwrap(), "end");
        assert_eq!(cache.stats().fetches_out_of_turn, depth as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn many_fetches_with_tasks_of_their_own_all_end() {
    const PAGES: usize = 20;
    let cache = cache(2);
    let pages: Vec<_> = (0..PAGES)
        .map(|number| {
            let cache = cache.clone();
            tokio::spawn(async move {
                let inner = cache.clone();
                let fetch = async move || {
                    let ask = async move {
                        let key = format!("part of {number}");
                        inner.get_or_fetch(key, async || "part".to_owned()).await
                    };
                    tokio::spawn(ask).await.unwrap()
                };
                cache.get_or_fetch(format!("page {number}"), fetch).await
            })
        })
        .collect();
    // Strangers come all the time.
    let strangers = tokio::spawn({
        let cache = cache.clone();
        async move {
            for number in 0.. {
                let cache = cache.clone();
                tokio::spawn(async move {
                    let key = format!("stranger {number}");
                    cache.get_or_fetch(key, async || "value".to_owned()).await
                });
                sleep(Duration::from_millis(500)).await;
            }
        }
    });
    for page in pages {
        timeout(secs(120), page).await.expect("nobody waits for ever").unwrap();
    }
    strangers.abort();
}

#[tokio::test(start_paused = true)]
async fn a_slow_origin_sees_few_more_fetches_than_its_bound() {
    let (cache, origin) = (cache(2), Origin::new());
    let readers: Vec<_> =
        (0..100).map(|number| origin.ask(&cache, &format!("key {number}"))).collect();
    // Nothing comes back for a minute: after 1, 3, 7, 15 and 31 seconds one more is asked.
    sleep(MINUTE).await;
    assert_eq!((origin.waiting(), cache.stats().fetches_out_of_turn), (7, 5));
    // Where something comes back every now and then, none is.
    for _ in 0..100 {
        origin.answer("value");
        sleep(Duration::from_millis(900)).await;
        if origin.waiting() == 0 {
            break;
        }
    }
    for reader in readers {
        reader.await.unwrap().unwrap();
    }
    assert_eq!((origin.most_at_once(), cache.stats().fetches_out_of_turn), (7, 5));
}

#[tokio::test(start_paused = true)]
async fn who_leaves_the_queue_leaves_no_gap() {
    let cache = Cache::<String>::builder().max_concurrent_fetches(1).hard_timeout(secs(2)).build();
    let origin = Origin::new();
    let first = origin.ask(&cache, "first");
    settle().await;
    // Given up while it waits, since its limit counts from here.
    let second = origin.ask(&cache, "second");
    sleep(Duration::from_millis(500)).await;
    let third = origin.ask(&cache, "third");
    sleep(Duration::from_millis(300)).await;
    origin.answer("value");
    first.await.unwrap().unwrap();
    settle().await;
    origin.answer("value");
    settle().await;
    origin.answer("value");
    assert!(second.await.unwrap().is_ok() && third.await.unwrap().is_ok());
    assert_eq!(origin.most_at_once(), 1);
}

/// A path of keys that ends where it began.
async fn asks_in_a_ring(path: Vec<(Cache<String>, &'static str)>) -> Text {
    let (cache, key) = path[0].clone();
    let ring: Vec<_> = path[1..].iter().chain([&path[0]]).cloned().collect();
    timeout(
        AT_ONCE,
        cache.try_get_or_fetch(key, async move || match along(ring).await {
            Ok(text) => Ok(text),
            Err(FetchError::Recursive) => Err("recursive"),
            Err(FetchError::Failed(error)) => Err(*error),
            Err(_) => Err("something else"),
        }),
    )
    .await
    .expect("nobody waits for ever")
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_needs_its_own_key_is_told_so() {
    let (one, other) = (cache(1), cache(1));
    for path in [
        vec![(one.clone(), "a")],
        vec![(one.clone(), "a"), (one.clone(), "b")],
        vec![(one.clone(), "a"), (one.clone(), "b"), (one.clone(), "c")],
        vec![(one.clone(), "a"), (other.clone(), "a")],
        vec![(one.clone(), "a"), (other.clone(), "b"), (one.clone(), "b"), (other.clone(), "a")],
    ] {
        let ended = asks_in_a_ring(path).await;
        assert!(matches!(ended, Err(FetchError::Failed(error)) if *error == "recursive"));
    }
    // It may do without, and then nothing is wrong.
    let inner = one.clone();
    let fetch = async move || match inner
        .try_get_or_fetch("a", async || Ok::<_, &str>("never".to_owned()))
        .await
    {
        Err(FetchError::Recursive) => "without".to_owned(),
        other => panic!("{other:?}"),
    };
    assert_eq!(one.get_or_fetch("a", fetch).await, "without");
}

#[tokio::test(start_paused = true)]
async fn fetches_of_two_readers_that_need_each_other_do_not_wait_for_each_other() {
    for caches in [[cache(8), cache(8)], [cache(1), cache(1)]] {
        let [one, other] = caches;
        for other in [one.clone(), other] {
            let (one, both) = (one.clone(), ["a", "b"]);
            let readers = [
                ask_along(vec![(one.clone(), both[0]), (other.clone(), both[1])]),
                ask_along(vec![(other.clone(), both[1]), (one.clone(), both[0])]),
            ];
            for reader in readers {
                let ended = timeout(AT_ONCE, reader).await.expect("nobody waits for ever");
                let ended = ended.unwrap();
                assert!(
                    matches!(&ended, Err(FetchError::Failed(error)) if **error == "recursive")
                        || ended.is_ok(),
                    "{ended:?}"
                );
            }
            one.clear();
            other.clear();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_under_its_own_key_is_there_for_a_fetch() {
    for shape in shapes() {
        let cache = shape.builder.stale_if_error(MINUTE).build();
        cache.insert("key", "old".to_owned());
        shape.clock.advance(MINUTE);
        let inner = cache.clone();
        let fetch = async move || {
            let own = async || Ok::<_, &str>("never".to_owned());
            let stale = inner.try_get_or_fetch("key", own).await?;
            inner.insert("key", "fresh".to_owned());
            let fresh = inner.try_get_or_fetch("key", own).await?;
            Ok::<_, FetchError<&str>>(format!("{stale} and {fresh}"))
        };
        let both = timeout(AT_ONCE, cache.try_get_or_fetch("key", fetch)).await.unwrap();
        assert_eq!(both.unwrap(), "old and fresh", "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_needs_its_own_key_and_takes_no_error_panics() {
    let cache = cache(1);
    let inner = cache.clone();
    let fetch = async move || {
        let own = inner.get_or_fetch("the key", async || "never".to_owned());
        let panicked = AssertUnwindSafe(own).catch_unwind().await.unwrap_err();
        panicked.downcast_ref::<String>().unwrap().clone()
    };
    let told = timeout(AT_ONCE, cache.get_or_fetch("the key", fetch)).await.unwrap();
    assert!(told.contains("the fetch of key \"the key\" needs its own result"), "{told}");
}
