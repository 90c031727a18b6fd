//! Stale entries: served at once, served on error, and never beyond their windows.

use larder::{AnswerSource, FetchError, Storage, reason::Reason};

use crate::support::{MINUTE, Origin, secs, settle, shapes};

#[tokio::test(start_paused = true)]
async fn within_its_first_window_a_stale_entry_is_served_at_once_and_refreshed_once() {
    for shape in shapes() {
        let cache = shape.builder.stale_while_revalidate(secs(10)).build();
        let origin = Origin::new();
        origin.fill(&cache, "key", "old").await;
        shape.clock.advance(MINUTE + secs(3));
        for _ in 0..10 {
            let stale = origin.ask(&cache, "key").await.unwrap().unwrap();
            assert_eq!((&*stale.value, stale.age), ("old", secs(63)), "{}", shape.name);
            assert_eq!(stale.source, AnswerSource::Stale(Reason::StaleWhileRevalidate));
            assert_eq!(stale.storage, Storage::StaleFor(secs(3)));
        }
        settle().await;
        assert_eq!((origin.calls(), origin.waiting()), (2, 1), "{}", shape.name);
        origin.answer("new");
        settle().await;
        let fresh = origin.ask(&cache, "key").await.unwrap().unwrap();
        assert_eq!((&*fresh.value, fresh.source), ("new", AnswerSource::Hit));
        let stats = cache.stats();
        assert_eq!((stats.stale_served, stats.refreshes, stats.misses), (10, 1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_leaves_the_stale_entry_and_is_tried_again() {
    for shape in shapes() {
        let cache = shape.builder.stale_while_revalidate(secs(10)).build();
        let origin = Origin::new();
        origin.fill(&cache, "key", "old").await;
        shape.clock.advance(MINUTE);
        for _ in 0..3 {
            assert_eq!(origin.ask(&cache, "key").await.unwrap().unwrap().value, "old");
            settle().await;
            origin.fail("down");
            settle().await;
            // Not at once: the first failure holds the next refresh back for 1 s, the second for 2.
            shape.clock.advance(secs(2));
        }
        assert_eq!((origin.calls(), cache.stats().fetch_failures), (4, 3), "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn within_its_second_window_a_stale_entry_is_served_if_the_origin_fails() {
    for shape in shapes() {
        let cache = shape.builder.stale_if_error(secs(100)).build();
        let origin = Origin::new();
        origin.fill(&cache, "key", "old").await;
        shape.clock.advance(MINUTE + secs(99));
        let readers = [origin.ask(&cache, "key"), origin.ask(&cache, "key")];
        settle().await;
        assert!(readers.iter().all(|reader| !reader.is_finished()), "the origin is asked first");
        origin.fail("down");
        for reader in readers {
            let rescued = reader.await.unwrap().unwrap();
            let source = AnswerSource::Stale(Reason::StaleIfError);
            assert_eq!((&*rescued.value, rescued.source), ("old", source), "{}", shape.name);
            assert_eq!(rescued.age, secs(159));
        }
        assert_eq!(origin.calls(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_answers_goes_before_a_stale_entry() {
    for shape in shapes() {
        let cache = shape.builder.stale_if_error(secs(100)).build();
        let origin = Origin::new();
        origin.fill(&cache, "key", "old").await;
        shape.clock.advance(MINUTE);
        let reader = origin.ask(&cache, "key");
        settle().await;
        origin.answer("new");
        let answer = reader.await.unwrap().unwrap();
        let source = AnswerSource::Fetched(Reason::Expired);
        assert_eq!((&*answer.value, answer.source), ("new", source), "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn beyond_its_windows_an_entry_helps_nobody() {
    for shape in shapes() {
        let cache =
            shape.builder.stale_while_revalidate(secs(10)).stale_if_error(secs(100)).build();
        let origin = Origin::new();
        origin.fill(&cache, "key", "old").await;
        shape.clock.advance(MINUTE + secs(100));
        let reader = origin.ask(&cache, "key");
        settle().await;
        origin.fail("down");
        assert!(matches!(reader.await.unwrap(), Err(FetchError::Failed(_))), "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panicking_fetch_is_a_failing_origin_for_a_stale_entry() {
    for shape in shapes() {
        let cache = shape.builder.stale_if_error(secs(100)).build();
        let origin = Origin::new();
        origin.fill(&cache, "key", "old").await;
        shape.clock.advance(MINUTE);
        let reader = origin.ask(&cache, "key");
        settle().await;
        drop(origin.take());
        assert_eq!(reader.await.unwrap().unwrap().value, "old", "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_rescue_gives_what_is_there_when_the_origin_has_failed() {
    for shape in shapes() {
        let cache = shape.builder.stale_if_error(secs(100)).build();
        let origin = Origin::new();
        origin.fill(&cache, "key", "old").await;
        let ask = async |wait: u64| {
            let reader = origin.ask(&cache, "key");
            settle().await;
            shape.clock.advance(secs(wait));
            origin.fail("down");
            reader.await.unwrap()
        };
        shape.clock.advance(MINUTE);
        let rescued = ask(30).await.unwrap();
        assert_eq!((rescued.age, rescued.storage), (secs(90), Storage::StaleFor(secs(30))));
        // A fetch that fails after the window has nothing to fall back on.
        assert!(ask(70).await.is_err(), "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_rescue_does_not_undo_what_happened_while_the_origin_failed() {
    for shape in shapes() {
        let cache = shape.builder.stale_if_error(secs(100)).build();
        let origin = Origin::new();
        cache.insert("purged", "old".to_owned());
        cache.insert("inserted", "old".to_owned());
        shape.clock.advance(MINUTE);
        let (purged, inserted) = (origin.ask(&cache, "purged"), origin.ask(&cache, "inserted"));
        settle().await;
        cache.remove("purged");
        cache.insert("inserted", "new".to_owned());
        origin.fail("down");
        origin.fail("down");
        assert!(purged.await.unwrap().is_err(), "{}", shape.name);
        assert_eq!(inserted.await.unwrap().unwrap().value, "new", "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn soft_purges_one_after_the_other_open_no_window_anew() {
    for shape in shapes() {
        let cache = shape.builder.build();
        let lifetime = larder::Lifetime::fresh_for(100 * MINUTE).stale_if_error(secs(10));
        cache.insert_with("key", "old".to_owned(), lifetime, ["tag"]);
        for _ in 0..20 {
            cache.soft_purge_tag("tag");
            shape.clock.advance(secs(9));
        }
        let freshness = cache.entry("key").map(|entry| entry.freshness);
        let of_use = freshness.is_some_and(|freshness| freshness != larder::Freshness::Expired);
        assert!(!of_use, "{}: {freshness:?}", shape.name);
    }
}

/// What a stale entry is good for with its first window closed: what it would be without one.
#[tokio::test(start_paused = true)]
async fn a_window_that_is_closed_serves_nobody_at_once_and_opens_again() {
    for shape in shapes() {
        let cache = shape.builder.stale_while_revalidate(secs(50)).stale_if_error(secs(20)).build();
        let origin = Origin::new();
        origin.fill(&cache, "key", "old").await;
        let ask = async |answer: Option<&'static str>| {
            let reader = origin.ask(&cache, "key");
            settle().await;
            match answer {
                Some(answer) => origin.answer(answer),
                None => origin.fail("down"),
            }
            reader.await.unwrap()
        };

        cache.serve_stale_while_revalidate(false);
        assert_eq!(cache.get("key").as_deref(), Some("old"), "{}: fresh is fresh", shape.name);
        shape.clock.advance(MINUTE);
        let rescued = ask(None).await.unwrap();
        assert_eq!((&*rescued.value, rescued.reason()), ("old", Reason::StaleIfError));
        shape.clock.advance(secs(20));
        assert!(ask(None).await.is_err(), "{}: beyond the window for errors", shape.name);

        cache.serve_stale_while_revalidate(true);
        let stale = origin.ask(&cache, "key").await.unwrap().unwrap();
        assert_eq!((&*stale.value, stale.reason()), ("old", Reason::StaleWhileRevalidate));
        settle().await;
        origin.answer("new");
        settle().await;
        shape.clock.advance(MINUTE);

        cache.serve_stale_while_revalidate(false);
        let newer = ask(Some("newer")).await.unwrap();
        let source = AnswerSource::Fetched(Reason::Expired);
        assert_eq!((&*newer.value, newer.source), ("newer", source), "{}", shape.name);
    }
}

/// Marked stale before its time, an entry is judged by the same windows.
#[tokio::test(start_paused = true)]
async fn a_window_that_is_closed_is_closed_for_what_was_purged_softly() {
    for shape in shapes() {
        let cache = shape.builder.stale_while_revalidate(secs(50)).build();
        let origin = Origin::new();
        origin.fill(&cache, "key", "old").await;
        cache.serve_stale_while_revalidate(false);
        cache.soft_clear();
        let reader = origin.ask(&cache, "key");
        settle().await;
        origin.answer("new");
        assert_eq!(reader.await.unwrap().unwrap().value, "new", "{}", shape.name);
    }
}
