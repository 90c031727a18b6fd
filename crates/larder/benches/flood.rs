//! A flood of a million unique keys: does the bound hold, and how long does an insert take? And a
//! million small entries: what does one cost beside its key and its value?
//!
//! Inserts are timed twice: by the clock on the wall, and by the thread's own time, in which what
//! others had of a busy machine's processors meanwhile is not.
//!
//! `cargo bench -p larder --bench flood`

use std::time::{Duration, Instant};

use allocation_counter::measure;
use hdrhistogram::Histogram;
use larder::Cache;

#[path = "support/cpu_clock.rs"]
mod cpu_clock;
use cpu_clock::cpu_time;

const KEYS: usize = 1_000_000;
const MAX_BYTES: usize = 64 << 20;
const VALUE_BYTES: usize = 1024;

type Value = std::sync::Arc<[u8]>;

fn main() {
    flood();
    println!();
    let small = |name: &str, insert: &dyn Fn(String, Value)| {
        let taken = measure(|| {
            for number in 0..KEYS {
                insert(format!("https://example.org/{number:08}"), vec![0; 64].into());
            }
        });
        // The key's own bytes, the value's, and the header its allocation brings along.
        let beside = taken.bytes_current as f64 / KEYS as f64 - (28 + 64 + 16) as f64;
        let handle = size_of::<Value>() as f64;
        println!(
            "{name:12} {beside:6.1} B an entry, {:6.1} B beside the value's handle",
            beside - handle
        );
    };
    println!("{KEYS} entries with keys of 28 B and values of 64 B, none evicted:");
    let larder =
        Cache::<Value>::builder_with_weigher(|value| value.len() + 16).max_bytes(1 << 30).build();
    small("larder", &|key, value| _ = larder.insert(key, value));
    let stats = larder.stats();
    assert_eq!(stats.entries, KEYS as u64);
    println!(
        "{:12} {:6} B an entry, as it counts",
        "",
        stats.bytes / stats.entries - (28 + 64 + 16)
    );
    let quick = quick_cache::sync::Cache::<Box<str>, Value>::new(KEYS * 2);
    small("quick_cache", &|key, value| quick.insert(key.into(), value));
    let foyer = foyer_memory::CacheBuilder::new(KEYS * 2)
        .with_shards(64)
        .with_eviction_config(foyer_memory::S3FifoConfig::default())
        .build::<foyer_memory::CacheProperties>();
    small("foyer s3", &|key, value| {
        foyer.insert(Box::<str>::from(key), value);
    });
    let moka = moka::sync::Cache::<Box<str>, Value>::builder()
        .max_capacity(2 * KEYS as u64)
        .time_to_live(std::time::Duration::from_secs(3600))
        .build();
    small("moka", &|key, value| moka.insert(key.into(), value));
}

fn flood() {
    let cache = Cache::<Vec<u8>>::builder().max_bytes(MAX_BYTES).build();
    let live = measure(|| {
        for number in 0..KEYS {
            cache.insert(format!("https://example.org/{number:08}"), vec![0_u8; VALUE_BYTES]);
        }
        cache.clear();
    });
    let histogram = || {
        Histogram::<u64>::new_with_bounds(1, 10_000_000_000, 3).expect("these bounds are allowed")
    };
    let (mut took, mut took_itself) = (histogram(), histogram());
    let nanos = |took: Duration| u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    let (start, mut most_bytes) = (Instant::now(), 0);
    for number in 0..KEYS {
        let (key, value) = (format!("https://example.org/{number:08}"), vec![0_u8; VALUE_BYTES]);
        let began_itself = cpu_time(start);
        let began = Instant::now();
        cache.insert(key, value);
        took.saturating_record(nanos(began.elapsed()));
        took_itself.saturating_record(nanos(cpu_time(start) - began_itself));
        if number % 64 == 0 {
            most_bytes = most_bytes.max(cache.stats().bytes);
        }
    }
    let stats = cache.stats();
    let percent = |bytes: u64| bytes as f64 * 100.0 / MAX_BYTES as f64;
    println!("unique keys inserted   {KEYS}, values of {VALUE_BYTES} B, bound {MAX_BYTES} B");
    println!("most bytes at any time {:.2} % of the bound", percent(most_bytes));
    println!("most bytes allocated   {:.2} % of the bound", percent(live.bytes_max as u64));
    let own = stats.bytes - stats.entries * VALUE_BYTES as u64;
    println!("overhead an entry      {} B, its key of 28 B included", own / stats.entries);
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("longest", 1.0)] {
        let micros = |took: &Histogram<u64>| took.value_at_quantile(quantile) as f64 / 1000.0;
        println!("insert {name:<15} {:.1} µs, {:.1} itself", micros(&took), micros(&took_itself));
    }
}
