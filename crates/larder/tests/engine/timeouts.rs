//! Timeouts: a reader's patience and a fetch's limit.

use larder::{AnswerSource, BuildError, Cache, FetchError, reason::Reason};

use crate::support::{MINUTE, Origin, secs, settle, shapes};

#[tokio::test(start_paused = true)]
async fn past_the_soft_timeout_a_stale_entry_is_served_and_the_fetch_goes_on() {
    for shape in shapes() {
        let cache = shape.builder.stale_if_error(10 * MINUTE).soft_timeout(secs(1)).build();
        let origin = Origin::new();
        origin.fill(&cache, "key", "old").await;
        shape.clock.advance(MINUTE);
        // Time is paused: it jumps to the timeout once nothing else can run.
        let answer = origin.ask(&cache, "key").await.unwrap().unwrap();
        let source = AnswerSource::Stale(Reason::SoftTimeout);
        assert_eq!((&*answer.value, answer.source), ("old", source), "{}", shape.name);
        origin.answer("new");
        settle().await;
        assert_eq!(cache.get("key").as_deref(), Some("new"), "{}", shape.name);
        assert_eq!(origin.calls(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn the_soft_timeout_leaves_readers_waiting_who_have_nothing_else() {
    for shape in shapes() {
        let cache = shape.builder.soft_timeout(secs(1)).build();
        let origin = Origin::new();
        let reader = origin.ask(&cache, "key");
        tokio::time::sleep(secs(100)).await;
        assert!(!reader.is_finished(), "{}", shape.name);
        origin.answer("value");
        assert_eq!(reader.await.unwrap().unwrap().value, "value");
    }
}

#[tokio::test(start_paused = true)]
async fn past_the_hard_timeout_the_fetch_is_dropped_and_all_are_told() {
    for shape in shapes() {
        let cache = shape.builder.hard_timeout(secs(5)).build();
        let origin = Origin::new();
        let readers = [origin.ask(&cache, "key"), origin.ask(&cache, "key")];
        for reader in readers {
            let answer = reader.await.unwrap();
            assert!(matches!(answer, Err(FetchError::Timeout { limit }) if limit == secs(5)));
        }
        settle().await;
        assert_eq!((origin.waiting(), cache.stats().fetch_failures), (0, 1), "{}", shape.name);
        origin.fill(&cache, "key", "value").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_followers_own_timeout_does_not_cancel_the_flight() {
    for shape in shapes() {
        let (cache, origin) = (shape.builder.build(), Origin::new());
        let leader = origin.ask(&cache, "key");
        settle().await;
        let impatient = tokio::time::timeout(secs(1), origin.ask(&cache, "key")).await;
        assert!(impatient.is_err());
        origin.answer("value");
        assert_eq!(leader.await.unwrap().unwrap().value, "value", "{}", shape.name);
        assert_eq!(origin.calls(), 1);
    }
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let builder = Cache::<String>::builder;
    let refused = |result: Result<Cache<String>, BuildError>| result.map(|_| ()).unwrap_err();
    for fraction in [-0.1, 1.0, 2.0, f64::NAN, f64::INFINITY] {
        let error = refused(builder().jitter(fraction).try_build());
        assert!(error.to_string().starts_with("jitter is"), "{error}");
        let error = refused(builder().refresh_ahead(fraction).try_build());
        assert!(error.to_string().starts_with("refresh_ahead is"), "{error}");
    }
    let error = refused(builder().max_concurrent_fetches(0).try_build());
    assert_eq!(error, BuildError::Zero { setting: "max_concurrent_fetches" });
    let error = refused(builder().soft_timeout(MINUTE).hard_timeout(MINUTE).try_build());
    assert_eq!(error, BuildError::Timeouts { soft: MINUTE, hard: MINUTE });
}
