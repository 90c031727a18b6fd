//! The bound in bytes holds, whatever happens.

use std::sync::Arc;

use allocation_counter::measure;
use larder::Cache;
use proptest::{collection::vec, prelude::*};

#[derive(Clone, Debug)]
enum Step {
    Insert { key: u8, bytes: usize },
    Get { key: u8 },
    Remove { key: u8 },
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (any::<u8>(), 0..3000_usize).prop_map(|(key, bytes)| Step::Insert { key, bytes }),
        4 => any::<u8>().prop_map(|key| Step::Get { key }),
        2 => any::<u8>().prop_map(|key| Step::Remove { key }),
        1 => Just(Step::Clear),
    ]
}

proptest! {
    #[test]
    fn any_steps_keep_the_books_straight(steps in vec(step(), 1..400)) {
        let cache = Cache::<Vec<u8>>::builder().max_bytes(20_000).build();
        for step in steps {
            match step {
                Step::Insert { key, bytes } => {
                    cache.insert(key.to_string(), vec![key; bytes]);
                    // An entry this small always fits, and is found right after.
                    prop_assert_eq!(cache.get(key.to_string()), Some(vec![key; bytes]));
                }
                Step::Get { key } => {
                    if let Some(value) = cache.get(key.to_string()) {
                        prop_assert!(value.iter().all(|&byte| byte == key));
                    }
                }
                Step::Remove { key } => {
                    cache.remove(key.to_string());
                    prop_assert_eq!(cache.get(key.to_string()), None);
                }
                Step::Clear => {
                    cache.clear();
                }
            }
            let stats = cache.stats();
            prop_assert!(stats.max_bytes.is_none_or(|max_bytes| stats.bytes <= max_bytes));
            prop_assert_eq!(stats.entries == 0, stats.bytes == 0);
        }
    }
}

#[test]
fn a_flood_of_unique_keys_from_two_threads_stays_inside_the_bound() {
    const MAX_BYTES: usize = 16 << 20;
    let cache = Cache::<Vec<u8>>::builder().max_bytes(MAX_BYTES).build();
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let cache = cache.clone();
            scope.spawn(move || {
                for number in 0..50_000 {
                    cache.insert(format!("{thread}/{number}"), vec![0; 1000]);
                    if number % 100 == 0 {
                        assert!(cache.stats().bytes <= MAX_BYTES as u64);
                    }
                }
            });
        }
    });
    let stats = cache.stats();
    assert!(stats.bytes <= MAX_BYTES as u64 && stats.bytes > MAX_BYTES as u64 * 9 / 10);
    assert_eq!(stats.entries + stats.evictions, 100_000);
}

#[test]
fn what_is_counted_for_an_entry_is_no_less_than_what_it_takes() {
    for entries in [30_000, 50_000, 70_000, 100_000] {
        let cache = Cache::<Arc<[u8]>>::builder_with_weigher(|value| value.len() + 16)
            .max_bytes(1 << 30)
            .build();
        let taken = measure(|| {
            for number in 0..entries {
                cache.insert(format!("https://example.org/{number:08}"), vec![0; 64].into());
            }
        });
        let stats = cache.stats();
        assert_eq!(stats.entries, entries);
        let taken = u64::try_from(taken.bytes_current).unwrap();
        assert!(taken <= stats.bytes, "{taken} bytes are taken, {} counted", stats.bytes);
        // Beside the key's 28 bytes, the value's 64, the header and the pointer it brings along.
        let overhead = |bytes: u64| bytes / entries - 28 - 64 - 16 - 16;
        assert!(overhead(stats.bytes) <= 120, "{} bytes an entry", overhead(stats.bytes));
    }
}

#[test]
fn what_the_allocator_gave_out_stays_inside_the_bound_too() {
    const MAX_BYTES: usize = 8 << 20;
    // What is in the caller's hands: a key, twice, and the value to be stored.
    const IN_HAND: usize = 2 * 32 + 4096;
    let cache = Cache::<Vec<u8>>::builder().max_bytes(MAX_BYTES).build();
    let taken = measure(|| {
        // From many small entries to few large ones: memory moves from slots to values. Each fills the cache
        // more than once.
        for (value_bytes, keys) in [(16, 100_000), (4096, 5_000), (512, 30_000), (16, 100_000)] {
            for number in 0..keys {
                cache.insert(format!("{value_bytes}/{number}"), vec![0; value_bytes]);
            }
        }
    });
    let most = usize::try_from(taken.bytes_max).unwrap();
    assert!(most <= MAX_BYTES + IN_HAND, "{most} bytes of {MAX_BYTES}");
    assert!(cache.stats().bytes > MAX_BYTES as u64 * 9 / 10);
}

#[test]
fn a_bound_that_shrinks_holds_at_once_while_others_read_and_write() {
    let cache = Cache::<Vec<u8>>::builder().max_bytes(32 << 20).build();
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let cache = &cache;
            scope.spawn(move || {
                for number in 0..40_000_u32 {
                    let key = number.wrapping_mul(2_654_435_761 + thread) % 30_000;
                    match cache.get(key.to_string()) {
                        Some(value) => assert_eq!(value.len(), 1000),
                        None => _ = cache.insert(key.to_string(), vec![0; 1000]),
                    }
                }
            });
        }
        for max_bytes in [24, 4, 12, 2, 16, 1].map(|mebibytes| mebibytes << 20) {
            cache.resize(max_bytes);
            for _ in 0..1000 {
                let stats = cache.stats();
                assert!(stats.bytes <= max_bytes as u64, "{} of {max_bytes}", stats.bytes);
            }
        }
    });
}

#[test]
fn a_scan_does_not_wash_out_what_is_asked_for_again() {
    let cache = Cache::<u32>::builder().max_entries(1000).build();
    let read = |key: u32| {
        if cache.get(key.to_string()).is_none() {
            cache.insert(key.to_string(), key);
        }
    };
    for _ in 0..3 {
        (0..500).for_each(read);
    }
    (10_000..60_000).for_each(read);
    let survivors = (0..500_u32).filter(|key| cache.get(key.to_string()).is_some()).count();
    assert!(survivors >= 490, "{survivors} of 500");
}

#[test]
fn an_entry_may_weigh_no_more_than_one_entry_may_and_no_more_than_all() {
    let cache = Cache::<Vec<u8>>::builder().max_bytes(1 << 20).max_entry_bytes(10_000).build();
    cache.insert("key", vec![0; 1000]);
    cache.insert("key", vec![0; 10_001]);
    assert_eq!(cache.get("key"), None, "the older value is gone too");
    let cache = Cache::<Vec<u8>>::builder().max_bytes(64 << 20).build();
    (0..1000).for_each(|key: u32| _ = cache.insert(key.to_string(), vec![0; 60_000]));
    cache.insert("large", vec![0; 60 << 20]);
    assert!(cache.get("large").is_some(), "others go for it, whatever shard they are in");
    cache.insert("larger", vec![0; 64 << 20]);
    assert!(cache.get("larger").is_none() && cache.stats().too_large == 1);
}
