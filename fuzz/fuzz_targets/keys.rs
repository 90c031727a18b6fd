//! Keys: any text is one. What is stored under it comes back under it and under no other, and a purge
//! by prefix takes all that begin so and nothing else.
//!
//! A line is a step: its first byte says which, the rest is the key.
#![no_main]

use std::{collections::HashMap, sync::Arc, time::Duration};

use larder::{Cache, Eviction, ManualClock};
use libfuzzer_sys::fuzz_target;

/// Room for a few dozen short keys, or one long one.
const MAX_BYTES: usize = 8 << 10;

fuzz_target!(|data: &[u8]| {
    for eviction in [Eviction::S3Fifo, Eviction::Lru] {
        walk(data, eviction);
    }
});

fn walk(data: &[u8], eviction: Eviction) {
    let clock = ManualClock::new();
    let cache = Cache::<u64>::builder_with_weigher(|_| 0)
        .ttl(Duration::from_secs(60))
        .max_bytes(MAX_BYTES)
        .eviction(eviction)
        .clock(clock.clock())
        .build();
    // All that may be there; what had to make room is here still.
    let mut model: HashMap<String, u64> = HashMap::new();
    for (number, line) in (0..).zip(data.split(|&byte| byte == b'\n')) {
        let Some((step, key)) = line.split_first() else { continue };
        let key = String::from_utf8_lossy(key).into_owned();
        match step % 6 {
            0 | 1 => {
                cache.insert(key.clone(), number);
                assert!(cache.get(&key).is_none_or(|found| found == number));
                model.insert(key, number);
            }
            2 => {
                let found = cache.get(&key);
                assert!(found.is_none() || found == model.get(&key).copied());
                // Whatever form a key comes in, it is the same.
                assert_eq!(cache.get(Arc::<str>::from(&*key)), found);
                assert_eq!(cache.entry(key).map(|entry| entry.value), found);
            }
            3 => {
                let was_there = cache.remove(&key);
                assert!(model.remove(&key).is_some() || !was_there);
                assert_eq!(cache.get(&key), None);
            }
            4 => {
                let begin_so = model.extract_if(|other, _| other.starts_with(&key)).count();
                assert!(cache.purge_prefix(&key) <= begin_so);
            }
            _ => {
                let begin_so = model.extract_if(|other, _| other.starts_with(&key)).count();
                assert!(cache.soft_purge_prefix(&key) <= begin_so);
                // There are no stale windows, so they are of no use any more.
                cache.sweep();
            }
        }
        let (mut held, stats) = (0, cache.stats());
        for (key, value) in &model {
            let found = cache.get(key);
            assert!(found.is_none_or(|found| found == *value), "{key:?}");
            held += u64::from(found.is_some());
        }
        assert_eq!(held, stats.entries, "what is held is what was stored");
        assert!(stats.bytes <= MAX_BYTES as u64);
    }
}
