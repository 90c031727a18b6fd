//! A hit allocates nothing. An allocator that counts proves it, in a process of its own.

use std::{pin::pin, sync::Arc, task::Context, time::Duration};

use allocation_counter::measure;
use larder::{Cache, Lifetime};

fn cache() -> Cache<Arc<str>> {
    let cache = Cache::<Arc<str>>::builder().build();
    let lifetime = Lifetime::fresh_for(Duration::from_secs(60));
    cache.insert_with("key", "value".into(), lifetime, ["a", "b", "c"]);
    // The first look of a thread sets up what it counts with.
    cache.get("key").expect("it is stored");
    cache
}

#[test]
fn a_hit_of_get_allocates_nothing() {
    let cache = cache();
    let counted = measure(|| {
        for _ in 0..3000 {
            assert!(cache.get("key").is_some());
        }
    });
    assert_eq!(counted.count_total, 0);
}

#[test]
fn a_hit_after_a_purge_of_another_tag_allocates_nothing() {
    let cache = cache();
    cache.purge_tag("other");
    let counted = measure(|| assert!(cache.get("key").is_some()));
    assert_eq!(counted.count_total, 0);
}

#[test]
fn a_hit_of_get_or_fetch_allocates_nothing() {
    let cache = cache();
    let counted = measure(|| {
        for _ in 0..3000 {
            let hit = pin!(
                cache.get_or_fetch("key", async || -> Arc<str> { unreachable!("it is stored") })
            );
            let mut context = Context::from_waker(std::task::Waker::noop());
            assert!(hit.poll(&mut context).is_ready());
        }
    });
    assert_eq!(counted.count_total, 0);
}

#[test]
fn the_counter_counts() {
    let counted = measure(|| drop(std::hint::black_box("text".to_owned())));
    assert_eq!(counted.count_total, 1);
}
