//! Reads with wishes of their own: no older than so much, no longer than so long, or fetched whatever is stored.

use std::time::Duration;

use larder::{
    Answer, AnswerSource, Cache, FetchError, Fetched, Read,
    lower::{Call, Point},
    reason::Reason,
};
use tokio::task::JoinHandle;

use crate::{
    below::Cluster,
    support::{MINUTE, Origin, secs, settle, shapes},
};

type Asked = JoinHandle<Result<Answer<String>, FetchError<&'static str>>>;

/// A reader of "key" in a task of its own, with these wishes.
fn ask(
    origin: &Origin,
    cache: &Cache<String>,
    wishes: impl for<'c> FnOnce(Read<'c, 'static, String>) -> Read<'c, 'static, String> + Send + 'static,
) -> Asked {
    let (cache, origin) = (cache.clone(), origin.clone());
    tokio::spawn(async move {
        let answer = wishes(cache.read("key")).answer(move || origin.call()).await;
        answer.map_err(|failure| failure.error)
    })
}

fn refresh(origin: &Origin, cache: &Cache<String>) -> Asked {
    ask(origin, cache, |read| read.force_refresh())
}

fn no_older(origin: &Origin, cache: &Cache<String>, max_age: Duration) -> Asked {
    ask(origin, cache, move |read| read.max_age(max_age))
}

async fn value(asked: Asked) -> String {
    asked.await.unwrap().unwrap().value
}

#[tokio::test(start_paused = true)]
async fn a_refresh_fetches_what_is_fresh_and_replaces_it() {
    for shape in shapes() {
        let (cache, origin) = (shape.builder.build(), Origin::new());
        origin.fill(&cache, "key", "old").await;
        let refreshed = refresh(&origin, &cache);
        settle().await;
        assert_eq!(cache.get("key").as_deref(), Some("old"), "until it ends");
        origin.answer("new");
        let answer = refreshed.await.unwrap().unwrap();
        assert_eq!(
            (&*answer.value, answer.source),
            ("new", AnswerSource::Fetched(Reason::RequestNoCache))
        );
        assert_eq!(cache.get("key").as_deref(), Some("new"), "{}", shape.name);
        assert_eq!(cache.stats().misses, 1, "it asks for nothing that could be there");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_tells_its_caller_and_leaves_what_is_stored() {
    for shape in shapes() {
        let cache = shape.builder.stale_if_error(MINUTE).build();
        let origin = Origin::new();
        origin.fill(&cache, "key", "old").await;
        for is_stale in [false, true] {
            let refreshed = refresh(&origin, &cache);
            settle().await;
            origin.fail("down");
            let failed = refreshed.await.unwrap();
            assert!(matches!(failed, Err(FetchError::Failed(error)) if *error == "down"));
            assert_eq!(cache.entry("key").unwrap().value, "old", "{}, {is_stale}", shape.name);
            shape.clock.advance(MINUTE);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_is_told_of_no_failure_but_its_own() {
    for shape in shapes() {
        let (cache, origin) = (shape.builder.negative_ttl(MINUTE).build(), Origin::new());
        let failed = origin.ask(&cache, "key");
        settle().await;
        origin.fail("down");
        assert!(failed.await.unwrap().is_err());
        let refreshed = refresh(&origin, &cache);
        settle().await;
        origin.answer("up");
        assert_eq!(value(refreshed).await, "up", "{}", shape.name);
        assert_eq!(value(origin.ask(&cache, "key")).await, "up");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_does_not_take_what_an_earlier_fetch_brings() {
    for shape in shapes() {
        let (cache, origin) = (shape.builder.build(), Origin::new());
        let earlier = origin.ask(&cache, "key");
        settle().await;
        let refreshed = refresh(&origin, &cache);
        settle().await;
        assert_eq!(origin.waiting(), 1, "a key is not fetched twice at once");
        origin.answer("old");
        assert_eq!(value(earlier).await, "old");
        settle().await;
        origin.answer("new");
        assert_eq!(value(refreshed).await, "new", "{}", shape.name);
        assert_eq!(cache.get("key").as_deref(), Some("new"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_fetches_after_an_earlier_fetch_that_failed_or_went_away() {
    for goes_away in [false, true] {
        for shape in shapes() {
            let (cache, origin) = (shape.builder.hard_timeout(MINUTE).build(), Origin::new());
            let earlier = origin.ask(&cache, "key");
            settle().await;
            let refreshed = refresh(&origin, &cache);
            settle().await;
            match goes_away {
                true => tokio::time::advance(MINUTE).await,
                false => origin.fail("down"),
            }
            assert!(earlier.await.unwrap().is_err());
            settle().await;
            origin.answer("new");
            assert_eq!(value(refreshed).await, "new", "{}", shape.name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_refreshes_at_once_cause_two_fetches() {
    for shape in shapes() {
        let (cache, origin) = (shape.builder.build(), Origin::new());
        let refreshed: Vec<_> = (0..100).map(|_| refresh(&origin, &cache)).collect();
        settle().await;
        origin.answer("first");
        settle().await;
        origin.answer("second");
        let mut brought = Vec::new();
        for refreshed in refreshed {
            brought.push(value(refreshed).await);
        }
        assert_eq!(brought.iter().filter(|value| *value == "second").count(), 99);
        assert_eq!((origin.calls(), origin.most_at_once()), (2, 1), "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn readers_wait_for_a_refresh_where_nothing_is_stored() {
    for shape in shapes() {
        let (cache, origin) = (shape.builder.build(), Origin::new());
        let refreshed = refresh(&origin, &cache);
        settle().await;
        let reader = origin.ask(&cache, "key");
        settle().await;
        origin.answer("value");
        assert_eq!((value(refreshed).await, value(reader).await), ("value".into(), "value".into()));
        assert_eq!(origin.calls(), 1, "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_refresh_brings_and_may_not_keep_does_not_leave_the_old_value() {
    for shape in shapes() {
        let (cache, origin) = (shape.builder.build(), Origin::new());
        origin.fill(&cache, "key", "old").await;
        settle().await;
        let refreshed = refresh(&origin, &cache);
        settle().await;
        origin.reply(Ok(Fetched::do_not_store("new".to_owned())));
        assert_eq!(value(refreshed).await, "new");
        assert!(cache.entry("key").is_none(), "{}", shape.name);
        settle().await;
        let next = origin.ask(&cache, "key");
        settle().await;
        origin.answer("newer");
        assert_eq!(value(next).await, "newer", "{}: nor does one come from below", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_a_purge_comes_over_is_not_stored() {
    for shape in shapes() {
        let (cache, origin) = (shape.builder.build(), Origin::new());
        origin.fill(&cache, "key", "old").await;
        let refreshed = refresh(&origin, &cache);
        settle().await;
        cache.remove("key");
        origin.answer("older than the purge");
        assert_eq!(value(refreshed).await, "older than the purge");
        assert!(cache.entry("key").is_none(), "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_of_its_own_key_within_a_fetch_is_recursive() {
    for shape in shapes() {
        let cache = shape.builder.build();
        let inner = cache.clone();
        let fetch = async move || match inner
            .refresh("key", async || Ok::<String, &str>("inner".into()))
            .await
        {
            Err(FetchError::Recursive) => Ok("recursive".to_owned()),
            _ => Err("no"),
        };
        assert_eq!(cache.refresh("key", fetch).await.unwrap(), "recursive", "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_takes_nothing_from_below_and_replaces_it_there() {
    let cluster = Cluster::new();
    cluster.filled("key", "old").await;
    let other = cluster.cache();
    let refreshed = refresh(&cluster.origin, &other);
    settle().await;
    cluster.origin.answer("new");
    assert_eq!(value(refreshed).await, "new");
    settle().await;
    assert_eq!(cluster.found(&cluster.cache(), "key").await.value, "new");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_does_not_take_what_a_later_reader_finds_below() {
    let cluster = Cluster::new();
    let cache = cluster.cache();
    let earlier = cluster.origin.ask(&cache, "key");
    settle().await;
    let origin = cluster.origin.clone();
    let mut refreshed = Box::pin(cache.refresh("key", move || origin.call()));
    assert!(futures_util::poll!(refreshed.as_mut()).is_pending());
    cluster.origin.fail("down");
    assert!(earlier.await.unwrap().is_err());
    cluster.filled("key", "below").await;
    cluster.tier.hold(Call::Heads, Point::Answer);
    let later = cluster.origin.ask(&cache, "key");
    settle().await;
    // It finds the flight of the later reader, which is still looking.
    assert!(futures_util::poll!(refreshed.as_mut()).is_pending());
    cluster.tier.release_all();
    assert_eq!(value(later).await, "below");
    assert!(futures_util::poll!(refreshed.as_mut()).is_pending());
    settle().await;
    cluster.origin.answer("new");
    assert_eq!(refreshed.await.unwrap(), "new");
}

#[tokio::test(start_paused = true)]
async fn what_is_older_than_max_age_is_fetched_and_what_is_not_is_a_hit() {
    for shape in shapes() {
        let (cache, origin) = (shape.builder.build(), Origin::new());
        origin.fill(&cache, "key", "old").await;
        shape.clock.advance(secs(10));
        let hit = no_older(&origin, &cache, secs(10)).await.unwrap().unwrap();
        assert_eq!((&*hit.value, hit.source), ("old", AnswerSource::Hit), "{}", shape.name);
        shape.clock.advance(secs(1));
        let younger = no_older(&origin, &cache, secs(10));
        settle().await;
        origin.answer("new");
        let younger = younger.await.unwrap().unwrap();
        let asked = AnswerSource::Fetched(Reason::RequestMaxAge);
        // Whether there is more below, a reader does not know.
        assert_eq!((&*younger.value, younger.source), ("new", asked), "{}", shape.name);
        assert_eq!((origin.calls(), cache.stats().hits), (2, 1));
        assert_eq!(cache.get("key").as_deref(), Some("new"));
    }
}

#[tokio::test(start_paused = true)]
async fn max_age_has_a_reader_wait_for_what_others_are_served_stale() {
    for shape in shapes() {
        let (cache, origin) = (shape.builder.stale_while_revalidate(MINUTE).build(), Origin::new());
        origin.fill(&cache, "key", "old").await;
        shape.clock.advance(MINUTE + secs(1));
        let waits = no_older(&origin, &cache, MINUTE);
        settle().await;
        let stale = origin.ask(&cache, "key").await.unwrap().unwrap();
        assert_eq!(stale.source, AnswerSource::Stale(Reason::StaleWhileRevalidate));
        settle().await;
        origin.answer("new");
        assert_eq!(value(waits).await, "new");
        assert_eq!(origin.calls(), 2, "{}: both share one fetch", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_older_than_max_age_stands_in_for_an_error_within_its_window_from_there_on() {
    for (age, stands_in) in [(secs(14), true), (secs(15), false), (secs(30), false)] {
        for shape in shapes() {
            let (cache, origin) = (shape.builder.stale_if_error(secs(5)).build(), Origin::new());
            origin.fill(&cache, "key", "old").await;
            shape.clock.advance(age);
            let reader = no_older(&origin, &cache, secs(10));
            settle().await;
            origin.fail("down");
            match reader.await.unwrap() {
                Ok(answer) => {
                    let rescue = AnswerSource::Stale(Reason::StaleIfError);
                    assert!(stands_in && answer.source == rescue, "{}: {age:?}", shape.name);
                }
                Err(_) => assert!(!stands_in, "{}: {age:?}", shape.name),
            }
            assert_eq!(cache.get("key").as_deref(), Some("old"), "it is fresh for all others");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_wants_it_young_shares_a_fetch_that_began_before() {
    for shape in shapes() {
        let (cache, origin) = (shape.builder.build(), Origin::new());
        let earlier = origin.ask(&cache, "key");
        settle().await;
        shape.clock.advance(secs(30));
        let young = no_older(&origin, &cache, Duration::ZERO);
        settle().await;
        origin.answer("value");
        assert_eq!((value(earlier).await, value(young).await), ("value".into(), "value".into()));
        assert_eq!(origin.calls(), 1, "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn max_age_holds_for_what_comes_from_below() {
    for follows in [false, true] {
        let cluster = Cluster::new();
        cluster.filled("key", "old").await;
        cluster.clock.advance(secs(20));
        let other = cluster.cache();
        let first = follows.then(|| cluster.origin.ask(&other, "key"));
        let young = no_older(&cluster.origin, &other, secs(10));
        settle().await;
        if let Some(first) = first {
            assert_eq!(value(first).await, "old");
        }
        assert_eq!(cluster.origin.waiting(), 1, "follows: {follows}");
        cluster.origin.answer("new");
        assert_eq!(value(young).await, "new");
        settle().await;
        let found = cluster.cache();
        let found = no_older(&cluster.origin, &found, secs(10)).await.unwrap().unwrap();
        assert_eq!((&*found.value, found.source), ("new", AnswerSource::Lower));
    }
}

#[tokio::test(start_paused = true)]
async fn what_below_is_older_than_max_age_stands_in_for_an_error() {
    let cluster = Cluster::new();
    cluster.filled("key", "old").await;
    cluster.clock.advance(secs(20));
    let other = cluster.builder().stale_if_error(MINUTE).build();
    let strict = no_older(&cluster.origin, &other, secs(10));
    settle().await;
    cluster.origin.fail("down");
    assert!(strict.await.unwrap().is_err(), "it was written without a window for errors");
    let cluster = Cluster::new();
    let one = cluster.builder().stale_if_error(MINUTE).build();
    cluster.origin.fill(&one, "key", "old").await;
    settle().await;
    cluster.clock.advance(secs(20));
    let young = no_older(&cluster.origin, &cluster.cache(), secs(10));
    settle().await;
    cluster.origin.fail("down");
    assert_eq!(value(young).await, "old");
}

#[tokio::test(start_paused = true)]
async fn a_soft_timeout_of_one_call_is_that_calls_alone() {
    for shape in shapes() {
        let (cache, origin) = (shape.builder.stale_if_error(MINUTE).build(), Origin::new());
        origin.fill(&cache, "key", "old").await;
        shape.clock.advance(MINUTE);
        let patient = origin.ask(&cache, "key");
        let hasty = ask(&origin, &cache, |read| read.soft_timeout(secs(1)));
        tokio::time::sleep(secs(2)).await;
        assert!(hasty.is_finished() && !patient.is_finished(), "{}", shape.name);
        let hasty = hasty.await.unwrap().unwrap();
        assert_eq!(
            (&*hasty.value, hasty.source),
            ("old", AnswerSource::Stale(Reason::SoftTimeout))
        );
        origin.answer("new");
        assert_eq!(value(patient).await, "new");
        assert_eq!(origin.calls(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_longer_soft_timeout_of_one_call_replaces_the_caches() {
    for shape in shapes() {
        let builder = shape.builder.stale_if_error(MINUTE).soft_timeout(secs(1));
        let (cache, origin) = (builder.build(), Origin::new());
        origin.fill(&cache, "key", "old").await;
        shape.clock.advance(MINUTE);
        let patient = ask(&origin, &cache, |read| read.soft_timeout(secs(10)));
        tokio::time::sleep(secs(5)).await;
        assert!(!patient.is_finished(), "{}", shape.name);
        origin.answer("new");
        assert_eq!(value(patient).await, "new");
    }
}

#[tokio::test(start_paused = true)]
async fn wishes_at_their_extremes_mean_what_they_say() {
    for shape in shapes() {
        let (cache, origin) = (shape.builder.build(), Origin::new());
        origin.fill(&cache, "key", "old").await;
        let any =
            ask(&origin, &cache, |read| read.max_age(Duration::MAX).soft_timeout(Duration::MAX));
        assert_eq!(any.await.unwrap().unwrap().source, AnswerSource::Hit, "{}", shape.name);
        shape.clock.advance(Duration::from_millis(1));
        let none =
            ask(&origin, &cache, |read| read.max_age(Duration::ZERO).soft_timeout(Duration::ZERO));
        settle().await;
        origin.answer("new");
        assert_eq!(value(none).await, "new");
    }
}
