//! Backoff: a refresh that failed is not tried again by every reader who comes after it.

use larder::Cache;

use crate::support::{MINUTE, Origin, Shape, secs, settle, shapes};

const LONG: std::time::Duration = secs(3600);

/// A cache whose `key` (tagged `tag`) is stale from now on, for an hour.
fn stale(shape: Shape) -> (Cache<String>, Origin) {
    let cache = shape.builder.stale_while_revalidate(LONG).build();
    let lifetime = larder::Lifetime::fresh_for(MINUTE).stale_while_revalidate(LONG);
    cache.insert_with("key", "old".to_owned(), lifetime, ["tag"]);
    shape.clock.advance(MINUTE);
    (cache, Origin::new())
}

/// A reader who is given what is stale. True if that started a refresh.
async fn starts_a_refresh(cache: &Cache<String>, origin: &Origin) -> bool {
    let before = origin.calls();
    let answer = origin.ask(cache, "key").await.unwrap().unwrap();
    assert_eq!(answer.value, "old");
    settle().await;
    origin.calls() > before
}

async fn fails_to_refresh(cache: &Cache<String>, origin: &Origin) {
    assert!(starts_a_refresh(cache, origin).await);
    origin.fail("down");
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_failed_is_tried_again_after_one_two_four_up_to_thirty_seconds() {
    for shape in shapes() {
        let (name, clock) = (shape.name, shape.clock.clone());
        let (cache, origin) = stale(shape);
        let mut held_back = 0;
        for delay in [1, 2, 4, 8, 16, 30, 30] {
            fails_to_refresh(&cache, &origin).await;
            assert!(!starts_a_refresh(&cache, &origin).await, "at once, {name}");
            clock.advance(secs(delay) - std::time::Duration::from_nanos(1));
            assert!(!starts_a_refresh(&cache, &origin).await, "before {delay} s, {name}");
            clock.advance(std::time::Duration::from_nanos(1));
            held_back += 2;
            assert_eq!(cache.stats().refreshes_held_back, held_back, "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_panics_holds_the_next_one_back_as_well() {
    for shape in shapes() {
        let name = shape.name;
        let (cache, origin) = stale(shape);
        assert!(starts_a_refresh(&cache, &origin).await);
        // The origin's `expect` on a dropped reply is the panic.
        drop(origin.take());
        settle().await;
        assert!(!starts_a_refresh(&cache, &origin).await, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_takes_too_long_holds_the_next_one_back_as_well() {
    for mut shape in shapes() {
        let name = shape.name;
        shape.builder = shape.builder.hard_timeout(secs(5));
        let (cache, origin) = stale(shape);
        assert!(starts_a_refresh(&cache, &origin).await);
        tokio::time::sleep(secs(6)).await;
        assert_eq!(origin.waiting(), 0);
        assert!(!starts_a_refresh(&cache, &origin).await, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn other_keys_are_refreshed_meanwhile() {
    for shape in shapes() {
        let (name, clock) = (shape.name, shape.clock.clone());
        let (cache, origin) = stale(shape);
        cache.insert("another", "old".to_owned());
        clock.advance(MINUTE);
        fails_to_refresh(&cache, &origin).await;
        origin.ask(&cache, "another").await.unwrap().unwrap();
        settle().await;
        assert_eq!(origin.waiting(), 1, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_purges_sees_a_refresh_at_once() {
    type Purge = fn(&Cache<String>);
    let purges: [(&str, Purge); 4] = [
        ("soft_remove", |cache| _ = cache.soft_remove("key")),
        ("soft_clear", Cache::soft_clear),
        ("soft_purge_tag", |cache| cache.soft_purge_tag("tag")),
        ("soft_purge_prefix", |cache| _ = cache.soft_purge_prefix("ke")),
    ];
    for (purged, purge) in purges {
        for shape in shapes() {
            let name = shape.name;
            let (cache, origin) = stale(shape);
            fails_to_refresh(&cache, &origin).await;
            cache.soft_purge_tag("another");
            assert!(!starts_a_refresh(&cache, &origin).await, "another's purge, {name}");
            purge(&cache);
            assert!(starts_a_refresh(&cache, &origin).await, "{purged}, {name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_success_or_an_insert_failures_are_counted_anew() {
    for is_insert in [true, false] {
        for shape in shapes() {
            let (name, clock) = (shape.name, shape.clock.clone());
            let (cache, origin) = stale(shape);
            for delay in [1, 2, 4, 8] {
                fails_to_refresh(&cache, &origin).await;
                clock.advance(secs(delay));
            }
            if is_insert {
                cache.insert("key", "old".to_owned());
            } else {
                assert!(starts_a_refresh(&cache, &origin).await);
                origin.answer("old");
                settle().await;
            }
            clock.advance(MINUTE);
            fails_to_refresh(&cache, &origin).await;
            clock.advance(secs(1));
            assert!(starts_a_refresh(&cache, &origin).await, "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_to_wait_for_a_fetch_is_not_held_back() {
    for shape in shapes() {
        let (name, clock) = (shape.name, shape.clock.clone());
        let (cache, origin) = stale(shape);
        clock.advance(LONG - secs(1));
        for _ in 0..3 {
            fails_to_refresh(&cache, &origin).await;
            cache.soft_purge_tag("tag");
        }
        fails_to_refresh(&cache, &origin).await;
        clock.advance(secs(1));
        assert!(cache.entry("key").is_some());
        let reader = origin.ask(&cache, "key");
        settle().await;
        origin.answer("new");
        assert_eq!(reader.await.unwrap().unwrap().value, "new", "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn so_many_keys_are_held_back_and_no_more() {
    const KEYS: u64 = 1030;
    for shape in shapes() {
        let (name, clock) = (shape.name, shape.clock.clone());
        let cache = shape.builder.max_bytes(16 << 20).stale_while_revalidate(LONG).build();
        let origin = Origin::new();
        for number in 0..KEYS {
            cache.insert(format!("{number}"), "old".to_owned());
        }
        clock.advance(MINUTE);
        for number in 0..KEYS {
            origin.ask(&cache, &format!("{number}")).await.unwrap().unwrap();
            settle().await;
            origin.fail("down");
            settle().await;
        }
        assert_eq!(cache.stats().backoffs_forgotten, KEYS - 1024, "{name}");
    }
}
