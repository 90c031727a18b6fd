//! A flood of a million unique keys: does the bound hold, and how long does an insert take?
//!
//! `cargo bench -p larder --bench flood`

use std::time::Instant;

use hdrhistogram::Histogram;
use larder::Cache;

const KEYS: usize = 1_000_000;
const MAX_BYTES: usize = 64 << 20;
const VALUE_BYTES: usize = 1024;

fn main() {
    let cache = Cache::<Vec<u8>>::builder().max_bytes(MAX_BYTES).build();
    let mut took = Histogram::<u64>::new(3).expect("three digits are allowed");
    let mut most_bytes = 0;
    for number in 0..KEYS {
        let (key, value) = (format!("https://example.org/{number:08}"), vec![0_u8; VALUE_BYTES]);
        let began = Instant::now();
        cache.insert(key, value);
        let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        took.record(nanos).expect("an auto-resizing histogram takes all");
        if number % 64 == 0 {
            most_bytes = most_bytes.max(cache.stats().bytes);
        }
    }
    let stats = cache.stats();
    let percent = |bytes: u64| bytes as f64 * 100.0 / MAX_BYTES as f64;
    println!("unique keys inserted   {KEYS}, values of {VALUE_BYTES} B, bound {MAX_BYTES} B");
    println!("most bytes at any time {:.2} % of the bound", percent(most_bytes));
    let own = stats.bytes - stats.entries * VALUE_BYTES as u64;
    println!("overhead an entry      {} B, its key of 28 B included", own / stats.entries);
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("longest", 1.0)] {
        println!("insert {name:<15} {:.1} µs", took.value_at_quantile(quantile) as f64 / 1000.0);
    }
}
