//! Refreshes: ahead of time, bounded, the most valuable first.

use larder::{AnswerSource, Observed};

use crate::support::{MINUTE, Origin, secs, settle, shapes};

#[tokio::test(start_paused = true)]
async fn an_aging_entry_is_refreshed_ahead_of_its_end_by_its_next_reader() {
    for shape in shapes() {
        let cache = shape.builder.refresh_ahead(0.8).build();
        let origin = Origin::new();
        origin.fill(&cache, "key", "old").await;
        shape.clock.advance(secs(47));
        origin.ask(&cache, "key").await.unwrap().unwrap();
        settle().await;
        assert_eq!(origin.calls(), 1, "{}: 47 of 60 s are below 80 %", shape.name);
        shape.clock.advance(secs(1));
        let hit = origin.ask(&cache, "key").await.unwrap().unwrap();
        assert_eq!((&*hit.value, hit.source), ("old", AnswerSource::Hit), "{}", shape.name);
        settle().await;
        origin.answer("new");
        settle().await;
        shape.clock.advance(secs(30));
        assert_eq!(cache.get("key").as_deref(), Some("new"), "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn so_many_refreshes_run_at_once_and_no_more() {
    for shape in shapes() {
        let cache =
            shape.builder.stale_while_revalidate(MINUTE).max_concurrent_refreshes(2).build();
        let origin = Origin::new();
        for number in 0..5 {
            cache.insert(format!("key {number}"), "old".to_owned());
        }
        shape.clock.advance(MINUTE);
        for number in 0..5 {
            origin.ask(&cache, &format!("key {number}")).await.unwrap().unwrap();
        }
        for _ in 0..5 {
            settle().await;
            assert!(origin.waiting() <= 2, "{}", shape.name);
            origin.answer("new");
        }
        settle().await;
        for number in 0..5 {
            assert_eq!(
                cache.get(format!("key {number}")).as_deref(),
                Some("new"),
                "{}",
                shape.name
            );
        }
        assert_eq!((origin.most_at_once(), cache.stats().refreshes), (2, 5), "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn of_the_refreshes_that_wait_the_dearest_goes_first_and_the_cheapest_is_given_up() {
    for shape in shapes() {
        let cache =
            shape.builder.stale_while_revalidate(10 * MINUTE).max_concurrent_refreshes(1).build();
        let origin = Origin::new();
        // Each costs as many seconds to fetch as its number; there is room for 1024 to wait.
        const KEYS: u64 = 1030;
        for number in 0..KEYS {
            let reader = origin.ask(&cache, &format!("{number}"));
            settle().await;
            shape.clock.advance(std::time::Duration::from_millis(number));
            origin.answer("old");
            reader.await.unwrap().unwrap();
        }
        // Whatever was evicted or is still fresh would not take part: mark all stale at once.
        cache.soft_clear();
        let mut events = cache.events();
        let mut asked = 0;
        for number in 0..KEYS {
            if cache.entry(format!("{number}")).is_some() {
                asked += 1;
                origin.ask(&cache, &format!("{number}")).await.unwrap().unwrap();
            }
        }
        let dropped = cache.stats().refreshes_dropped;
        assert_eq!(dropped, u64::saturating_sub(asked, 1025), "{}", shape.name);
        settle().await;
        origin.answer("first");
        settle().await;
        origin.answer("second");
        settle().await;
        let mut order = Vec::new();
        while let Ok(Some(event)) = tokio::time::timeout(secs(1), events.next()).await {
            if let Observed::Event(larder::Event::Fetched { key, .. }) = event {
                order.push(key.parse::<u64>().unwrap());
            }
        }
        // The first found a free place; of those that waited, the dearest came next.
        assert_eq!(order.last(), Some(&(KEYS - 1)), "{}", shape.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_waited_does_not_replace_what_was_inserted_meanwhile() {
    for shape in shapes() {
        let cache =
            shape.builder.stale_while_revalidate(MINUTE).max_concurrent_refreshes(1).build();
        let origin = Origin::new();
        cache.insert("first", "old".to_owned());
        cache.insert("second", "old".to_owned());
        shape.clock.advance(MINUTE);
        origin.ask(&cache, "first").await.unwrap().unwrap();
        origin.ask(&cache, "second").await.unwrap().unwrap();
        settle().await;
        cache.insert("second", "inserted".to_owned());
        origin.answer("new");
        settle().await;
        assert_eq!((origin.calls(), origin.waiting()), (1, 0), "{}", shape.name);
        assert_eq!(cache.get("second").as_deref(), Some("inserted"));
    }
}
