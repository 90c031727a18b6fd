//! How long do readers and writers wait for the sweeping of a large cache? A million entries and four, of
//! which some expire each second, then half are purged by a tag at once.
//!
//! Reads and inserts are timed by the clock on the wall, since waiting takes none of a thread's own time.
//! What others had of a busy machine's processors is in that, too: compare with the same cache on a clock
//! that stands still, which nobody sweeps. The thread's own time tells how long an insert can take, and a
//! sweep as a whole.
//!
//! `cargo bench -p larder --bench sweep`

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use larder::{Cache, Lifetime, ManualClock};

#[path = "support/cpu_clock.rs"]
mod cpu_clock;
use cpu_clock::cpu_time;

const SECONDS: u64 = 60;
const MEASURED: Duration = Duration::from_secs(5);

fn main() {
    for entries in [1_000_000, 4_000_000] {
        let builder = || Cache::<u64>::builder().max_bytes(4 << 30);
        println!("{entries} entries");
        let cache = builder().clock(ManualClock::new().clock()).build();
        fill(&cache, entries);
        measure("not swept", &cache, entries);
        drop(cache);
        let cache = builder().build();
        fill(&cache, entries);
        measure("some expire", &cache, entries);
        cache.purge_tag("odd");
        measure("half are purged", &cache, entries);
        fill(&cache, entries);
        cache.purge_tag("odd");
        let began = Instant::now();
        let (ran, swept) = (cpu_time(began), cache.sweep());
        println!("  a whole sweep runs {:?} for {swept} that go", cpu_time(began) - ran);
    }
}

fn key(number: u64) -> String {
    format!("https://example.org/{number:08}")
}

fn insert(cache: &Cache<u64>, number: u64) {
    let lifetime = Lifetime::fresh_for(Duration::from_secs(1 + number * 7919 % SECONDS));
    let tags = (number % 2 == 1).then_some("odd");
    cache.insert_with(key(number), number, lifetime, tags);
}

fn fill(cache: &Cache<u64>, entries: u64) {
    let (began, mut longest) = (Instant::now(), Duration::ZERO);
    for number in 0..entries {
        let ran = cpu_time(began);
        insert(cache, number);
        longest = longest.max(cpu_time(began) - ran);
    }
    println!("  filled; the longest insert ran {longest:?}");
}

fn measure(name: &str, cache: &Cache<u64>, entries: u64) {
    let minute = 60_000_000_000;
    let histogram = || Histogram::<u64>::new_with_bounds(1, minute, 2).expect("bounds as allowed");
    let (mut reads, mut inserts) = (histogram(), histogram());
    let keys: Arc<[String]> = (0..10_000).map(|number| key(number * 7919 % entries)).collect();
    let began = Instant::now();
    let mut number = 0_u64;
    while began.elapsed() < MEASURED {
        number = number.wrapping_add(1);
        let key = &keys[(number % 10_000) as usize];
        let at = Instant::now();
        std::hint::black_box(cache.get(key));
        reads.saturating_record(at.elapsed().as_nanos() as u64);
        if number.is_multiple_of(20) {
            let at = Instant::now();
            insert(cache, number * 104_729 % entries);
            inserts.saturating_record(at.elapsed().as_nanos() as u64);
        }
    }
    for (what, times) in [("reads", reads), ("inserts", inserts)] {
        let micros = |quantile| Duration::from_nanos(times.value_at_quantile(quantile));
        println!(
            "  {name:16} {what:8} 99.9 %: {:9.1?}  99.999 %: {:9.1?}  longest: {:9.1?}  {} of {} above 1 ms",
            micros(0.999),
            micros(0.99999),
            micros(1.0),
            times.len() - times.count_between(0, 1_000_000),
            times.len(),
        );
    }
}
