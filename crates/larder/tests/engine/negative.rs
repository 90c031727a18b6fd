//! Negative results: errors that are remembered for a while, if asked for.

use larder::{AnswerSource, Cache, FetchError, reason::Reason};

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
            assert!(stats.bytes <= stats.max_bytes, "{}", shape.name);
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
