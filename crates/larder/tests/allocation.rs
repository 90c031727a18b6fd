//! A hit allocates nothing, and a cache without entries takes next to nothing. An allocator that counts
//! proves it, in a process of its own.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::Context,
    thread,
    time::Duration,
};

use allocation_counter::measure;
use larder::{Builder, Cache, Eviction, Lifetime, ManualClock};

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
fn a_hit_on_what_slides_or_is_told_of_allocates_nothing() {
    let clock = ManualClock::new();
    let cache = Cache::<Arc<str>>::builder()
        .time_to_idle(Duration::from_secs(2))
        .on_removed(|_, _, _| unreachable!("nothing goes"))
        .clock(clock.clock())
        .build();
    cache.insert("key", "value".into());
    cache.get("key").expect("it is stored");
    let counted = measure(|| {
        for _ in 0..30 {
            clock.advance(Duration::from_secs(1));
            assert!(cache.get("key").is_some() && cache.contains_key("key"));
            assert!(cache.touch("key", Duration::from_secs(60)));
        }
    });
    assert_eq!(counted.count_total, 0);
}

#[test]
fn a_hit_that_takes_longer_than_all_before_allocates_nothing() {
    /// Slow to clone once.
    struct Slow(AtomicU32);

    impl Clone for Slow {
        fn clone(&self) -> Slow {
            // One hit of a thousand is timed, the first and then this one.
            if self.0.fetch_add(1, Ordering::Relaxed) == 1024 {
                thread::sleep(Duration::from_millis(20));
            }
            Slow(AtomicU32::new(0))
        }
    }

    let cache = Cache::<Slow>::builder_with_weigher(|_| 1).build();
    cache.insert("key", Slow(AtomicU32::new(0)));
    cache.get("key").expect("it is stored");
    let counted = measure(|| {
        for _ in 0..3000 {
            assert!(cache.get("key").is_some());
        }
    });
    assert!(cache.stats().hit_times.max >= Duration::from_millis(20), "it was timed");
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
fn a_hit_by_a_number_or_a_short_tuple_allocates_nothing() {
    let cache = cache();
    cache.insert(u128::MAX, "value".into());
    cache.insert(("post", u64::MAX, "de"), "value".into());
    let counted = measure(|| {
        for _ in 0..3000 {
            assert!(cache.get(u128::MAX).is_some());
            assert!(cache.get(("post", u64::MAX, "de")).is_some());
        }
    });
    assert_eq!(counted.count_total, 0);
}

#[test]
fn an_empty_cache_takes_no_more_than_16_kib() {
    type Settings = fn(Builder<Arc<str>>) -> Builder<Arc<str>>;
    let settings: [(&str, Settings); 8] = [
        ("default", |builder| builder),
        ("on another clock", |builder| builder.clock(ManualClock::new().clock())),
        ("small", |builder| builder.max_bytes(64 << 10)),
        ("a few entries", |builder| builder.max_entries(100)),
        ("large", |builder| builder.max_bytes(64 << 30)),
        ("least recently used", |builder| builder.max_bytes(1 << 30).eviction(Eviction::Lru)),
        ("that remembers errors", |builder| builder.negative_ttl(Duration::from_secs(1))),
        ("large, that remembers errors", |builder| {
            builder.max_bytes(1 << 30).negative_ttl(Duration::from_secs(1))
        }),
    ];
    // The first of a process starts the sweeping.
    drop(Cache::<Arc<str>>::builder().build());
    for (name, settings) in settings {
        let mut cache = None;
        let taken = measure(|| cache = Some(settings(Cache::builder()).build()));
        assert!(taken.bytes_current <= 16 << 10, "{name}: {} bytes", taken.bytes_current);
        // Looking at what is not there, counting it and telling of it does not change that.
        let cache = cache.unwrap();
        cache.get("key");
        let taken_by_misses = measure(|| {
            for _ in 0..3000 {
                cache.get("key");
            }
            cache.stats();
            cache.remove("key");
            cache.sweep();
            cache.clear();
        });
        assert_eq!(taken_by_misses.bytes_current, 0, "{name}");
    }
}

#[test]
fn a_cache_that_has_got_empty_takes_no_more() {
    type End = fn(&Cache<Arc<str>>, &ManualClock);
    const MINUTE: Duration = Duration::from_secs(60);
    let ends: [(&str, End); 5] = [
        ("removed", |cache, _| (0..3000).for_each(|key| _ = cache.remove(key.to_string()))),
        ("cleared", |cache, _| _ = cache.clear()),
        ("purged by prefix", |cache, _| _ = cache.purge_prefix("")),
        ("purged by tag, and swept", |cache, _| {
            cache.purge_tag("tag");
            cache.sweep();
        }),
        ("expired, and swept", |cache, clock| {
            clock.advance(MINUTE);
            cache.sweep();
        }),
    ];
    drop(Cache::<Arc<str>>::builder().build());
    for (name, end) in ends {
        let clock = ManualClock::new();
        let mut cache = None;
        let taken = measure(|| {
            let full = Cache::<Arc<str>>::builder().max_entries(2000).clock(clock.clock()).build();
            for key in 0..3000 {
                let lifetime = Lifetime::fresh_for(MINUTE);
                full.insert_with(key.to_string(), "value".into(), lifetime, ["tag"]);
            }
            end(&full, &clock);
            cache = Some(full);
        });
        assert_eq!(cache.map(|cache| cache.stats().entries), Some(0), "{name}");
        assert!(taken.bytes_current <= 16 << 10, "{name}: {} bytes", taken.bytes_current);
    }
}

#[test]
fn an_empty_cache_leaves_nothing_behind() {
    drop(Cache::<Arc<str>>::builder().build());
    let taken = measure(|| {
        let clock = ManualClock::new();
        let cache = Cache::<Arc<str>>::builder().clock(clock.clock()).build();
        cache.insert("key", "value".into());
        cache.get("key");
        drop(cache.events());
        cache.clear();
    });
    assert_eq!(taken.bytes_current, 0);
}

#[test]
fn the_counter_counts() {
    let counted = measure(|| drop(std::hint::black_box("text".to_owned())));
    assert_eq!(counted.count_total, 1);
}
