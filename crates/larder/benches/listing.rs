//! How long does it take to list a million entries, and what do hits notice of it?
//!
//! One thread reads all the time and notes how long each hit takes, by the clock on the wall: first alone, then while another
//! lists without a pause, in each order, and while a third stores and removes as well. A list for 25 ms is what the first page
//! of the admin API waits for at most.
//!
//! `cargo bench -p larder --bench listing`

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use larder::{
    Cache, Lifetime, Scope,
    listing::{ListQuery, Order},
};

const ENTRIES: u64 = 1_000_000;
const MEASURED: Duration = Duration::from_secs(4);
const ROWS: usize = 10_000;

const ORDERS: [Order; 6] =
    [Order::Key, Order::Bytes, Order::Age, Order::Heat, Order::Cost, Order::Expires];

fn main() {
    let cache = Cache::<u64>::builder_with_weigher(|_| 0).max_bytes(4 << 30).build();
    for number in 0..ENTRIES {
        let lifetime = Lifetime::fresh_for(Duration::from_secs(1000 + number % 1000));
        let tags = [format!("tag:{}", number % 1000), format!("post:{}", number % 200_000)];
        cache.insert_with(key(number), number, lifetime, tags);
    }
    println!("{ENTRIES} entries, {} MiB", cache.stats().bytes >> 20);
    for order in ORDERS {
        let began = Instant::now();
        let listed = cache.list(&ListQuery::new(order, ROWS));
        println!(
            "{order:?}: {} of {} rows in {:?}",
            listed.rows.len(),
            listed.total,
            began.elapsed()
        );
    }
    let began = Instant::now();
    let mut first = ListQuery::new(Order::Bytes, ROWS);
    first.until = Some(began + Duration::from_millis(25));
    let listed = cache.list(&first);
    println!("within 25 ms: {} seen, told after {:?}", listed.total, began.elapsed());
    let began = Instant::now();
    let tags = cache.list_tags(1000);
    println!("tags: {} of {} in {:?}", tags.tags.len(), tags.total, began.elapsed());
    let began = Instant::now();
    let touched = cache.would_touch(&[Scope::Tag("tag:7".to_owned())]);
    println!("a dry run of a tag: {} entries in {:?}", touched.entries, began.elapsed());
    hits("hits alone", &cache, |_| {});
    hits("hits beside lists", &cache, |is_over| list_until(&cache, is_over));
    hits("hits beside inserts", &cache, |is_over| change_until(&cache, is_over));
    hits("hits beside lists and inserts", &cache, |is_over| {
        thread::scope(|threads| {
            threads.spawn(|| change_until(&cache, is_over));
            list_until(&cache, is_over);
        });
    });
}

fn key(number: u64) -> String {
    format!("https://example.org/posts/{number:08}")
}

fn list_until(cache: &Cache<u64>, is_over: &AtomicBool) {
    for order in ORDERS.iter().cycle() {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        cache.list(&ListQuery::new(*order, ROWS));
    }
}

fn change_until(cache: &Cache<u64>, is_over: &AtomicBool) {
    for number in ENTRIES.. {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        cache.insert(key(number), number);
        // What is read stays.
        cache.remove(key((number - 100).max(ENTRIES)));
    }
}

fn hits(what: &str, cache: &Cache<u64>, beside: impl FnOnce(&AtomicBool) + Send) {
    let is_over = AtomicBool::new(false);
    let mut times =
        Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 2).expect("bounds as allowed");
    thread::scope(|threads| {
        let beside = threads.spawn(|| beside(&is_over));
        let (began, mut number) = (Instant::now(), 0_u64);
        while began.elapsed() < MEASURED {
            number = number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let key = key((number >> 33) % ENTRIES);
            let asked = Instant::now();
            assert!(cache.get(key.as_str()).is_some());
            times.saturating_record(asked.elapsed().as_nanos() as u64);
        }
        is_over.store(true, Ordering::Relaxed);
        beside.join().expect("it does not panic");
    });
    let at = |quantile| Duration::from_nanos(times.value_at_quantile(quantile));
    println!(
        "{what}: {} hits, p50 {:?}, p99 {:?}, p99.9 {:?}, max {:?}",
        times.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        Duration::from_nanos(times.max())
    );
}
