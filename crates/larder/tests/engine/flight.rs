//! Single flight: who fetches, who waits, and what a reader that leaves does to them.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use larder::{AnswerSource, Cache, FailureSource, FetchError, reason::Reason};
use tokio::sync::oneshot;

use crate::support::{Origin, settle, shapes};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_readers_of_one_cold_key_cause_one_fetch() {
    const READERS: usize = 100;
    for shape in shapes() {
        let cache = shape.builder.build();
        let calls = Arc::new(AtomicUsize::new(0));
        let (reply, gate) = oneshot::channel::<()>();
        let gate = Arc::new(std::sync::Mutex::new(Some(gate)));
        let readers: Vec<_> = (0..READERS)
            .map(|_| {
                let (cache, calls, gate) = (cache.clone(), Arc::clone(&calls), Arc::clone(&gate));
                tokio::spawn(async move {
                    let fetch = async move || {
                        calls.fetch_add(1, Ordering::SeqCst);
                        let gate = gate.lock().unwrap().take().expect("only one fetch gets here");
                        gate.await.unwrap();
                        "value".to_owned()
                    };
                    cache.get_or_fetch("key", fetch).await
                })
            })
            .collect();
        while cache.stats().misses < READERS as u64 {
            tokio::task::yield_now().await;
        }
        reply.send(()).unwrap();
        for reader in readers {
            assert_eq!(reader.await.unwrap(), "value", "{}", shape.name);
        }
        let stats = cache.stats();
        assert_eq!((calls.load(Ordering::SeqCst), stats.fetches), (1, 1), "{}", shape.name);
        assert_eq!((stats.misses, stats.hits), (READERS as u64, 0), "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_follower_shares_the_leaders_value_and_says_so() {
    for shape in shapes() {
        let (cache, origin) = (shape.builder.build(), Origin::new());
        let leader = origin.ask(&cache, "key");
        settle().await;
        let follower = origin.ask(&cache, "key");
        settle().await;
        origin.answer("value");
        let (led, followed) = (leader.await.unwrap().unwrap(), follower.await.unwrap().unwrap());
        assert_eq!((&*led.value, led.source), ("value", AnswerSource::Fetched(Reason::UriMiss)));
        assert_eq!(followed.value, "value");
        assert_eq!(followed.source, AnswerSource::Collapsed(Reason::UriMiss));
        assert_eq!((origin.calls(), cache.stats().collapsed), (1, 1), "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_reaches_everybody_who_waited_and_nobody_later() {
    for shape in shapes() {
        let (cache, origin) = (shape.builder.build(), Origin::new());
        let readers = [origin.ask(&cache, "key"), origin.ask(&cache, "key")];
        settle().await;
        origin.fail("origin down");
        for reader in readers {
            let answer = reader.await.unwrap();
            assert!(matches!(answer, Err(FetchError::Failed(error)) if *error == "origin down"));
        }
        origin.fill(&cache, "key", "value").await;
        assert_eq!((origin.calls(), cache.stats().fetch_failures), (2, 1), "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_says_whose_fetch_it_was() {
    for shape in shapes() {
        let cache = shape.builder.negative_ttl(crate::support::secs(5)).build();
        let ask = || cache.answer("key", async || Err::<String, _>("down"));
        let (led, followed) = tokio::join!(biased; ask(), ask());
        assert_eq!(led.unwrap_err().source, FailureSource::Fetched(Reason::UriMiss));
        assert_eq!(followed.unwrap_err().source, FailureSource::Collapsed(Reason::UriMiss));
        assert_eq!(ask().await.unwrap_err().source, FailureSource::Remembered, "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_leaves_takes_its_fetch_from_nobody() {
    for shape in shapes() {
        let (cache, origin) = (shape.builder.build(), Origin::new());
        let leader = origin.ask(&cache, "key");
        settle().await;
        let (follower, other) = (origin.ask(&cache, "key"), origin.ask(&cache, "key"));
        settle().await;
        leader.abort();
        other.abort();
        settle().await;
        assert_eq!((origin.calls(), origin.waiting()), (1, 1), "{}", shape.name);
        origin.answer("value");
        assert_eq!(follower.await.unwrap().unwrap().value, "value");
        assert_eq!((origin.calls(), origin.most_at_once()), (1, 1), "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_whose_readers_have_all_left_still_fills_the_cache() {
    for shape in shapes() {
        let (cache, origin) = (shape.builder.build(), Origin::new());
        let reader = origin.ask(&cache, "key");
        settle().await;
        reader.abort();
        settle().await;
        origin.answer("value");
        settle().await;
        assert_eq!(cache.get("key").as_deref(), Some("value"), "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panicking_fetch_wakes_its_readers_with_an_error_and_poisons_nothing() {
    for shape in shapes() {
        let (cache, origin) = (shape.builder.build(), Origin::new());
        let readers = [origin.ask(&cache, "key"), origin.ask(&cache, "key")];
        settle().await;
        // The origin's `expect` on a dropped reply is the panic.
        drop(origin.take());
        for reader in readers {
            assert!(matches!(reader.await.unwrap(), Err(FetchError::Panicked)), "{}", shape.name);
        }
        origin.fill(&cache, "key", "value").await;
        assert_eq!((origin.calls(), cache.stats().fetch_failures), (2, 1), "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn readers_with_other_error_types_each_get_an_error_of_their_own() {
    for shape in shapes() {
        let cache = shape.builder.build();
        let (reply, gate) = oneshot::channel::<()>();
        let text = cache.try_get_or_fetch("key", async move || {
            gate.await.unwrap();
            Err::<String, &'static str>("text")
        });
        let number = cache.try_get_or_fetch("key", async || Err::<String, u32>(7));
        let (text, number, ()) = tokio::join!(biased; text, number, async {
            settle().await;
            reply.send(()).unwrap();
        });
        assert!(matches!(text, Err(FetchError::Failed(error)) if *error == "text"));
        assert!(matches!(number, Err(FetchError::Failed(error)) if *error == 7), "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn fetches_of_different_keys_wait_for_their_turn() {
    for shape in shapes() {
        let cache = shape.builder.max_concurrent_fetches(2).build();
        let origin = Origin::new();
        let readers: Vec<_> =
            (0..5).map(|number| origin.ask(&cache, &format!("key {number}"))).collect();
        for _ in 0..5 {
            settle().await;
            assert!(origin.waiting() <= 2, "{}", shape.name);
            origin.answer("value");
        }
        for reader in readers {
            assert_eq!(reader.await.unwrap().unwrap().value, "value");
        }
        assert_eq!((origin.calls(), origin.most_at_once()), (5, 2), "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_cache_ends_its_fetches() {
    for shape in shapes() {
        let (cache, origin) = (shape.builder.build(), Origin::new());
        let reader = origin.ask(&cache, "key");
        settle().await;
        reader.abort();
        drop(cache);
        settle().await;
        assert_eq!(origin.waiting(), 0, "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn shutting_down_waits_for_what_runs_and_serves_what_is_stored() {
    for shape in shapes() {
        let (cache, origin) = (shape.builder.build(), Origin::new());
        origin.fill(&cache, "stored", "value").await;
        let reader = origin.ask(&cache, "key");
        settle().await;
        let closing = tokio::spawn({
            let cache = cache.clone();
            async move { cache.shut_down(crate::support::secs(5)).await }
        });
        settle().await;
        origin.answer("just in time");
        assert!(closing.await.unwrap(), "{}", shape.name);
        assert_eq!(reader.await.unwrap().unwrap().value, "just in time");
        let late = origin.ask(&cache, "late").await.unwrap();
        assert!(matches!(late, Err(FetchError::ShutDown)), "{}", shape.name);
        assert!(cache.get("stored").is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn shutting_down_stops_what_does_not_end_in_time() {
    for shape in shapes() {
        let (cache, origin): (Cache<String>, _) = (shape.builder.build(), Origin::new());
        let reader = origin.ask(&cache, "key");
        settle().await;
        assert!(!cache.shut_down(crate::support::secs(1)).await, "{}", shape.name);
        assert!(matches!(reader.await.unwrap(), Err(FetchError::ShutDown)), "{}", shape.name);
        assert_eq!(origin.waiting(), 0);
    }
}
