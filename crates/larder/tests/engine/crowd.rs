//! Crowds: readers who take nothing but a value wait for it, however many there are and whatever others'
//! fetches come to.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use larder::{Cache, FetchError};
use tokio::{task::JoinHandle, time::sleep};

use crate::support::{Origin, secs, settle, shapes};

/// A reader that takes no error for an answer.
fn wants(cache: &Cache<String>, key: &str, origin: &Origin) -> JoinHandle<String> {
    let (cache, key, origin) = (cache.clone(), key.to_owned(), origin.clone());
    tokio::spawn(async move {
        let fetched = cache.get_or_fetch(key, async move || origin.call().await.unwrap());
        fetched.await
    })
}

/// So many keys, each with its reader, of a healthy origin.
async fn healthy(keys: usize, cache: Cache<String>, most: usize) {
    let (at_once, most_at_once) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let readers: Vec<_> = (0..keys)
        .map(|number| {
            let cache = cache.clone();
            let (at_once, most_at_once) = (Arc::clone(&at_once), Arc::clone(&most_at_once));
            let fetch = async move || {
                let now = at_once.fetch_add(1, Ordering::SeqCst) + 1;
                most_at_once.fetch_max(now, Ordering::SeqCst);
                sleep(Duration::from_millis(50)).await;
                at_once.fetch_sub(1, Ordering::SeqCst);
                "value".to_owned()
            };
            tokio::spawn(async move { cache.get_or_fetch(format!("key {number}"), fetch).await })
        })
        .collect();
    for reader in readers {
        assert_eq!(reader.await.unwrap(), "value");
    }
    assert_eq!(most_at_once.load(Ordering::SeqCst), most);
    let stats = cache.stats();
    assert_eq!((stats.fetches, stats.fetches_out_of_turn), (keys as u64, 0));
}

#[tokio::test(start_paused = true)]
async fn readers_of_however_many_healthy_keys_are_all_answered() {
    healthy(2000, Cache::<String>::builder().max_concurrent_fetches(8).build(), 8).await;
    healthy(20_000, Cache::<String>::builder().build(), 1024).await;
}

/// As many fetches under way, or waiting, as may be; then readers who are one too many.
async fn crowded() -> (Cache<String>, Origin) {
    let cache = Cache::<String>::builder().max_concurrent_fetches(1).build();
    let origin = Origin::new();
    for number in 0..1024 {
        origin.ask(&cache, &format!("key {number}"));
    }
    settle().await;
    (cache, origin)
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_room_shares_a_fetch_and_goes_in_order() {
    let (cache, origin) = crowded().await;
    let readers: Vec<_> = (0..10).map(|_| wants(&cache, "late", &origin)).collect();
    settle().await;
    let refused = origin.ask(&cache, "another").await.unwrap();
    assert!(matches!(refused, Err(FetchError::TooMany)), "one that takes an error is given one");
    // The fetch there is can be shared, as always.
    let shares = origin.ask(&cache, "late");
    let later = wants(&cache, "later", &origin);
    settle().await;
    for _ in 0..1024 {
        origin.answer("early");
        settle().await;
        assert!(!readers[0].is_finished() && origin.waiting() == 1);
    }
    origin.answer("late");
    for reader in readers {
        assert_eq!(reader.await.unwrap(), "late");
    }
    assert_eq!(shares.await.unwrap().unwrap().value, "late");
    settle().await;
    origin.answer("later");
    assert_eq!(later.await.unwrap(), "later");
    assert_eq!((origin.calls(), origin.most_at_once()), (1026, 1));
}

#[tokio::test(start_paused = true)]
async fn who_goes_down_while_it_waits_for_room_hands_over() {
    let (cache, origin) = crowded().await;
    let (tell, told) = tokio::sync::oneshot::channel();
    let goes_down = tokio::spawn({
        let (cache, origin) = (cache.clone(), origin.clone());
        async move {
            let fetch = async move || origin.call().await.unwrap();
            tokio::join!(cache.get_or_fetch("late", fetch), async {
                told.await.unwrap();
                panic!("for another reason");
            })
        }
    });
    settle().await;
    let shares = origin.ask(&cache, "late");
    settle().await;
    // There is room for one.
    origin.answer("early");
    settle().await;
    tell.send(()).unwrap();
    assert!(goes_down.await.is_err());
    for _ in 1..1024 {
        settle().await;
        origin.answer("early");
    }
    settle().await;
    origin.answer("late");
    assert_eq!(shares.await.unwrap().unwrap().value, "late");
}

#[tokio::test(start_paused = true)]
async fn who_leaves_while_it_waits_for_room_hands_over() {
    let (cache, origin) = crowded().await;
    let leaves = wants(&cache, "late", &origin);
    settle().await;
    let stays = wants(&cache, "late", &origin);
    settle().await;
    leaves.abort();
    for _ in 0..1024 {
        settle().await;
        origin.answer("value");
    }
    settle().await;
    origin.answer("late");
    assert_eq!(stays.await.unwrap(), "late");
    assert_eq!((origin.calls(), origin.most_at_once()), (1025, 1));
}

#[tokio::test(start_paused = true)]
async fn what_anothers_fetch_comes_to_is_no_failure_of_a_reader_that_wants_a_value() {
    let fails: [fn(&Origin); 3] =
        [|origin| origin.fail("down"), |origin| drop(origin.take()), |_| {}];
    for fail in fails {
        for negative_ttl in [secs(0), secs(60)] {
            for shape in shapes() {
                let builder = shape.builder.hard_timeout(secs(2)).negative_ttl(negative_ttl);
                let (cache, origin) = (builder.build(), Origin::new());
                let anothers = origin.ask(&cache, "key");
                settle().await;
                let reader = wants(&cache, "key", &origin);
                settle().await;
                fail(&origin);
                anothers.await.unwrap().unwrap_err();
                settle().await;
                assert_eq!((origin.calls(), origin.waiting()), (2, 1), "{}", shape.name);
                origin.answer("value");
                assert_eq!(reader.await.unwrap(), "value");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn past_the_hard_timeout_a_reader_that_wants_a_value_waits_on_alone() {
    for shape in shapes() {
        let builder = shape.builder.hard_timeout(secs(2)).max_concurrent_fetches(1);
        let (cache, origin) = (builder.build(), Origin::new());
        let reader = wants(&cache, "key", &origin);
        settle().await;
        let told = origin.ask(&cache, "key").await.unwrap();
        assert!(matches!(told, Err(FetchError::Timeout { .. })), "{}", shape.name);
        // Its turn is another's, and its flight nobody's.
        let next = origin.ask(&cache, "key");
        settle().await;
        assert_eq!(origin.waiting(), 2, "{}", shape.name);
        let late = origin.take();
        origin.answer("newer");
        assert_eq!(next.await.unwrap().unwrap().value, "newer");
        assert!(late.send(Ok("late".to_owned().into())).is_ok());
        assert_eq!(reader.await.unwrap(), "late");
        assert_eq!(cache.get("key").as_deref(), Some("newer"), "{}: undone", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_turn_takes_nothing_off_the_limit_of_who_wants_a_value() {
    let cache = Cache::<String>::builder().max_concurrent_fetches(1).hard_timeout(secs(2)).build();
    let origin = Origin::new();
    let readers: Vec<_> =
        (0..10).map(|number| wants(&cache, &format!("key {number}"), &origin)).collect();
    for _ in 0..10 {
        sleep(Duration::from_millis(900)).await;
        origin.answer("value");
    }
    for (number, reader) in readers.into_iter().enumerate() {
        assert_eq!(reader.await.unwrap(), "value");
        assert!(cache.get(format!("key {number}")).is_some(), "each was stored");
    }
    assert_eq!((origin.calls(), origin.most_at_once()), (10, 1));
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_is_shut_down_still_brings_values_to_who_wants_them() {
    for shape in shapes() {
        let (cache, origin) = (shape.builder.build(), Origin::new());
        let under_way = wants(&cache, "under way", &origin);
        settle().await;
        cache.shut_down(secs(1)).await;
        origin.answer("value");
        assert_eq!(under_way.await.unwrap(), "value", "{}", shape.name);
        let late = [wants(&cache, "late", &origin), wants(&cache, "late", &origin)];
        settle().await;
        origin.answer("value");
        for reader in late {
            assert_eq!(reader.await.unwrap(), "value", "{}", shape.name);
        }
        assert_eq!(origin.calls(), 2, "{}: they share", shape.name);
    }
}
