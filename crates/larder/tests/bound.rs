//! The bound in bytes holds, whatever happens.

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
            prop_assert!(stats.bytes <= stats.max_bytes);
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
