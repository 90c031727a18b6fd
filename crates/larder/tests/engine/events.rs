//! Counters and the stream of events.

use std::sync::Arc;

use larder::{Event, Observed, reason::Reason};

use crate::support::{MINUTE, Origin, secs, settle, shapes};

#[tokio::test(start_paused = true)]
async fn the_counters_tell_what_happened() {
    for shape in shapes() {
        let (cache, origin) = (shape.builder.build(), Origin::new());
        origin.fill(&cache, "good", "value").await;
        for _ in 0..2 {
            origin.ask(&cache, "good").await.unwrap().unwrap();
        }
        let reader = origin.ask(&cache, "bad");
        settle().await;
        origin.fail("no");
        reader.await.unwrap().unwrap_err();
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.misses), (2, 2), "{}", shape.name);
        assert_eq!((stats.fetches, stats.fetch_failures, stats.collapsed), (2, 1, 0));
        assert_eq!((stats.entries, stats.fetch_times.count), (1, 2), "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn each_hit_saves_what_its_fetch_cost() {
    for shape in shapes() {
        let (cache, origin) = (shape.builder.build(), Origin::new());
        let reader = origin.ask(&cache, "key");
        settle().await;
        shape.clock.advance(secs(2));
        origin.answer("value");
        reader.await.unwrap().unwrap();
        for _ in 0..3 {
            cache.get("key").unwrap();
        }
        assert_eq!(cache.stats().saved, secs(6), "{}", shape.name);
        assert!(cache.stats().fetch_times.max >= secs(2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_events_learns_what_happens() {
    for shape in shapes() {
        let cache = shape.builder.stale_while_revalidate(secs(10)).build();
        let (origin, mut events) = (Origin::new(), cache.events());
        origin.fill(&cache, "key", "value").await;
        shape.clock.advance(MINUTE);
        origin.ask(&cache, "key").await.unwrap().unwrap();
        settle().await;
        origin.fail("down");
        settle().await;
        cache.purge_tag("tag");

        let key: Arc<str> = "key".into();
        let took = std::time::Duration::ZERO;
        let expected = [
            Event::Fetched {
                key: Arc::clone(&key),
                took,
                not_stored: None,
                lacks_freshness: false,
            },
            Event::StaleServed { key: Arc::clone(&key), reason: Reason::StaleWhileRevalidate },
            Event::FetchFailed { key, error: "down".into() },
            Event::Purged { what: "tag tag".to_owned(), soft: false, number: 1 },
        ];
        for event in expected {
            assert_eq!(events.next().await, Some(Observed::Event(event)), "{}", shape.name);
        }
        drop(cache);
        drop(origin);
        settle().await;
        assert_eq!(events.next().await, None, "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_of_events_is_told_how_many_it_lost() {
    for shape in shapes() {
        let cache = shape.builder.build();
        let mut events = cache.events();
        for _ in 0..1024 + 7 {
            cache.purge_tag("tag");
        }
        assert_eq!(events.next().await, Some(Observed::Lost(7)), "{}", shape.name);
        assert!(matches!(events.next().await, Some(Observed::Event(_))), "{}", shape.name);
    }
}
