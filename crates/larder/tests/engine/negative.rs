//! Negative results: errors that are remembered for a while, if asked for.

use std::{
    future::pending,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::FutureExt;
use larder::{AnswerSource, Cache, FailureSource, FetchError, Fetched, reason::Reason};

use crate::support::{MINUTE, Origin, secs, settle, shapes};

#[tokio::test(start_paused = true)]
async fn a_remembered_error_spares_the_origin_until_its_ttl_is_over() {
    for shape in shapes() {
        let cache = shape.builder.negative_ttl(secs(5)).build();
        let origin = Origin::new();
        let reader = origin.ask(&cache, "key");
        settle().await;
        origin.fail("down");
        reader.await.unwrap().unwrap_err();
        shape.clock.advance(secs(4));
        let error = origin.ask(&cache, "key").await.unwrap().unwrap_err();
        assert!(matches!(error, FetchError::Failed(error) if *error == "down"), "{}", shape.name);
        assert_eq!((origin.calls(), cache.stats().negative_hits), (1, 1), "{}", shape.name);
        shape.clock.advance(secs(1));
        origin.fill(&cache, "key", "value").await;
        assert_eq!(origin.calls(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_remembered_error_is_forgotten_by_a_purge_and_by_an_insert() {
    for shape in shapes() {
        let cache = shape.builder.negative_ttl(MINUTE).build();
        let origin = Origin::new();
        for forget in [
            |cache: &Cache<String>| {
                cache.remove("key");
            },
            |cache: &Cache<String>| {
                cache.clear();
            },
            |cache: &Cache<String>| {
                cache.purge_prefix("k");
            },
            |cache: &Cache<String>| {
                cache.soft_remove("key");
            },
            |cache: &Cache<String>| {
                cache.soft_purge_prefix("k");
            },
            |cache: &Cache<String>| cache.soft_clear(),
            |cache: &Cache<String>| cache.purge_tag("any"),
            |cache: &Cache<String>| cache.soft_purge_tag("any"),
            |cache: &Cache<String>| {
                cache.insert("key", "inserted".to_owned());
                cache.soft_remove("key");
            },
        ] {
            let reader = origin.ask(&cache, "key");
            settle().await;
            origin.fail("down");
            reader.await.unwrap().unwrap_err();
            forget(&cache);
            let calls = origin.calls();
            origin.fill(&cache, "key", "value").await;
            assert_eq!(origin.calls(), calls + 1, "{}", shape.name);
            cache.remove("key");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_entry_goes_before_a_remembered_error() {
    for shape in shapes() {
        let cache = shape.builder.stale_if_error(MINUTE).negative_ttl(secs(5)).build();
        let origin = Origin::new();
        origin.fill(&cache, "key", "old").await;
        shape.clock.advance(MINUTE);
        let reader = origin.ask(&cache, "key");
        settle().await;
        origin.fail("down");
        reader.await.unwrap().unwrap();
        let again = origin.ask(&cache, "key").await.unwrap().unwrap();
        let source = AnswerSource::Stale(Reason::StaleIfError);
        assert_eq!((&*again.value, again.source), ("old", source), "{}", shape.name);
        assert_eq!(origin.calls(), 2, "{}: the second did not ask", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn remembered_errors_count_towards_the_bound() {
    for shape in shapes() {
        let cache = shape.builder.negative_ttl(MINUTE).build();
        let origin = Origin::new();
        for number in 0..1000 {
            let reader = origin.ask(&cache, &format!("key {number}"));
            settle().await;
            origin.fail("down");
            reader.await.unwrap().unwrap_err();
            let stats = cache.stats();
            assert!(
                stats.max_bytes.is_none_or(|max_bytes| stats.bytes <= max_bytes),
                "{}",
                shape.name
            );
        }
        assert!(cache.stats().entries > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_from_before_a_purge_is_for_nobody_who_asks_after_it() {
    for shape in shapes() {
        let cache = shape.builder.negative_ttl(MINUTE).build();
        let origin = Origin::new();
        let before = origin.ask(&cache, "key");
        settle().await;
        cache.purge_tag("any");
        let after = origin.ask(&cache, "key");
        settle().await;
        origin.fail("not there yet");
        before.await.unwrap().unwrap_err();
        settle().await;
        origin.answer("value");
        assert_eq!(after.await.unwrap().unwrap().value, "value", "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn each_look_up_counts_once() {
    for shape in shapes() {
        let cache = shape.builder.negative_ttl(MINUTE).stale_while_revalidate(MINUTE).build();
        let origin = Origin::new();
        let reader = origin.ask(&cache, "key");
        settle().await;
        origin.fail("down");
        reader.await.unwrap().unwrap_err();
        for _ in 0..2 {
            origin.ask(&cache, "key").await.unwrap().unwrap_err();
        }
        let stats = cache.stats();
        assert_eq!((stats.misses, stats.negative_hits), (1, 2), "{}", shape.name);

        cache.insert("stale", "value".to_owned());
        shape.clock.advance(MINUTE);
        assert_eq!(cache.get("stale"), None, "nobody would refresh it");
        let stats = cache.stats();
        assert_eq!((stats.misses, stats.stale_served), (2, 0), "{}", shape.name);
    }
}

/// How a fetch can fail: what the script does to it, and what its readers are told.
type Fails = (fn(&Origin), fn(&FetchError<&'static str>) -> bool);

/// Within a hard timeout of two seconds.
const FAILS: [Fails; 3] = [
    (|origin| origin.fail("down"), |error| matches!(error, FetchError::Failed(_))),
    // Whoever waits for it lets the time pass.
    (|_| {}, |error| matches!(error, FetchError::Timeout { limit } if *limit == secs(2))),
    (|origin| drop(origin.take()), |error| matches!(error, FetchError::Panicked)),
];

#[tokio::test(start_paused = true)]
async fn however_a_fetch_fails_it_is_remembered() {
    for (fail, is_it) in FAILS {
        for shape in shapes() {
            let builder = shape.builder.negative_ttl(secs(5)).hard_timeout(secs(2));
            let (cache, origin) = (builder.build(), Origin::new());
            let reader = origin.ask(&cache, "key");
            settle().await;
            fail(&origin);
            assert!(is_it(&reader.await.unwrap().unwrap_err()), "{}", shape.name);
            for _ in 0..10 {
                let failure = cache.answer("key", {
                    let origin = origin.clone();
                    move || origin.call()
                });
                let failure = failure.now_or_never().expect("nobody waits").unwrap_err();
                assert!(is_it(&failure.error), "{}", shape.name);
                assert_eq!(failure.source, FailureSource::Remembered);
            }
            assert_eq!((origin.calls(), cache.stats().negative_hits), (1, 10), "{}", shape.name);
            // One that knows another kind of errors is told what any fetch may come to.
            let other = cache.try_get_or_fetch("key", async || Err::<String, u8>(7)).now_or_never();
            if !matches!(other, None | Some(Err(FetchError::Failed(_)))) {
                assert!(matches!(
                    other,
                    Some(Err(FetchError::Timeout { .. } | FetchError::Panicked))
                ));
            }
            settle().await;
            shape.clock.advance(secs(5));
            origin.fill(&cache, "key", "value").await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn however_a_fetch_fails_a_purge_in_between_is_not_undone_by_it() {
    let purges: [fn(&Cache<String>); 4] = [
        |cache| _ = cache.remove("key"),
        |cache| _ = cache.clear(),
        |cache| cache.purge_tag("any"),
        |cache| cache.soft_purge_tag("any"),
    ];
    for (fail, _) in FAILS {
        for purge in purges {
            for shape in shapes() {
                let builder = shape.builder.negative_ttl(MINUTE).hard_timeout(secs(2));
                let (cache, origin) = (builder.build(), Origin::new());
                let before = origin.ask(&cache, "key");
                settle().await;
                purge(&cache);
                fail(&origin);
                before.await.unwrap().unwrap_err();
                origin.fill(&cache, "key", "value").await;
                assert_eq!(origin.calls(), 2, "{}: it was remembered", shape.name);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn however_a_fetch_fails_a_stale_entry_then_stands_in_at_once() {
    for (fail, _) in FAILS {
        for shape in shapes() {
            let builder = shape.builder.stale_if_error(MINUTE).negative_ttl(secs(5));
            let (cache, origin) = (builder.hard_timeout(secs(2)).build(), Origin::new());
            cache.insert("key", "old".to_owned());
            shape.clock.advance(MINUTE);
            let reader = origin.ask(&cache, "key");
            settle().await;
            fail(&origin);
            assert_eq!(reader.await.unwrap().unwrap().value, "old", "{}", shape.name);
            // Whatever kinds of errors they know, or none at all.
            let again = cache.answer("key", {
                let origin = origin.clone();
                move || origin.call()
            });
            let again = again.now_or_never().expect("nobody waits").unwrap();
            assert_eq!(again.source, AnswerSource::Stale(Reason::StaleIfError));
            let infallible = cache.get_or_fetch("key", async || "never".to_owned());
            assert_eq!(infallible.now_or_never().expect("nobody waits"), "old");
            assert_eq!(origin.calls(), 1, "{}: the others did not ask", shape.name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_ends_what_is_remembered_of_failures() {
    let cache = Cache::<String>::builder().negative_ttl(MINUTE).hard_timeout(secs(2)).build();
    let origin = Origin::new();
    for (fail, _) in FAILS {
        let reader = origin.ask(&cache, "key");
        settle().await;
        fail(&origin);
        reader.await.unwrap().unwrap_err();
        // One that takes no failure for an answer asks anyway.
        let short = async || Fetched::new("value".to_owned()).ttl(secs(0));
        assert_eq!(cache.get_or_fetch("key", short).await, "value");
        let calls = origin.calls();
        origin.fill(&cache, "key", "value").await;
        assert_eq!(origin.calls(), calls + 1);
        cache.remove("key");
    }
}

#[tokio::test(start_paused = true)]
async fn each_error_is_remembered_for_as_long_as_is_said_of_it() {
    for shape in shapes() {
        let builder = shape.builder.negative_ttl(secs(5)).hard_timeout(secs(2));
        let builder = builder.negative_ttl_for(|_: &&str| unreachable!("the last one holds"));
        let builder = builder.negative_ttl_for(|_: &String| Some(MINUTE));
        let builder = builder.negative_ttl_for(|error: &&'static str| match *error {
            "missing" => Some(secs(20)),
            "busy" => None,
            "for no time" => Some(secs(0)),
            "for ever" => Some(Duration::MAX),
            _ => panic!("on purpose"),
        });
        let cache = builder.build();
        const ALL: [&str; 6] =
            ["missing", "busy", "for no time", "for ever", "unforeseen", "too long"];
        for error in ALL {
            let fetch = async move || match error {
                "too long" => pending().await,
                error => Err::<String, &str>(error),
            };
            cache.try_get_or_fetch(error, fetch).await.unwrap_err();
        }
        cache.try_get_or_fetch("number", async || Err::<String, u8>(7)).await.unwrap_err();

        let remembered = async || {
            let mut remembered = Vec::new();
            for key in ALL {
                let again = cache.answer(key, async || Err::<String, &str>("busy")).await;
                if again.unwrap_err().source == FailureSource::Remembered {
                    remembered.push(key);
                }
            }
            remembered
        };
        let now = remembered().await;
        assert_eq!(now, ["missing", "for ever", "unforeseen", "too long"], "{}", shape.name);
        let number = cache.try_get_or_fetch("number", async || Err::<String, u8>(8)).await;
        assert_eq!(number.unwrap_err().failed(), Some(&7), "an error of another type");
        shape.clock.advance(secs(5));
        assert_eq!(remembered().await, ["missing", "for ever"], "{}", shape.name);
        shape.clock.advance(secs(15));
        assert_eq!(remembered().await, ["for ever"], "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn what_says_how_long_an_error_is_remembered_may_purge_it() {
    for shape in shapes() {
        let cache = Arc::new(OnceLock::<Cache<String>>::new());
        let builder = shape.builder.negative_ttl_for({
            let cache = Arc::clone(&cache);
            move |_: &&'static str| {
                cache.get().unwrap().clear();
                Some(MINUTE)
            }
        });
        let (cache, origin) = (cache.get_or_init(|| builder.build()), Origin::new());
        let reader = origin.ask(cache, "key");
        settle().await;
        origin.fail("down");
        reader.await.unwrap().unwrap_err();
        origin.fill(cache, "key", "value").await;
        assert_eq!(origin.calls(), 2, "{}: what was purged is remembered", shape.name);
    }
}
