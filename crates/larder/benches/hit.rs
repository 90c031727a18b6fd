//! A hit, side by side: 100,000 keys of 24 to 40 bytes, 2 KiB values, Zipf 0.99, all of it held.
//!
//! ```text
//! cargo bench -p larder --bench hit [-- NAME ...]
//! ```
//!
//! The limit is a raw table that does nothing else: 64 shards, each a `HashMap` behind an `RwLock`.
//! All run in turn, round by round, so that what else the machine does meets all of them; the table
//! shows each one's median time and the median of its ratios to the raw table's in the same round.

#![expect(clippy::unwrap_used, reason = "a bench is no library")]

use std::{
    collections::HashMap,
    future::Future,
    hash::{BuildHasher, RandomState},
    hint::black_box,
    pin::pin,
    sync::{Arc, Barrier, RwLock},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use larder::Cache;

#[path = "support/zipf.rs"]
mod zipf;
use zipf::{Random, Zipf};

type Value = Arc<[u8]>;

const KEYS: usize = 100_000;
const VALUE_BYTES: usize = 2048;
const DRAWS: usize = 400_000;
const ROUNDS: usize = 7;
const INSTANCES: usize = 3;

/// A contestant's hits for a run of draws; returns how many bytes they held.
type Reader = Box<dyn Fn(&[u32]) -> usize + Send + Sync>;

fn main() {
    let keys: Arc<Vec<String>> = Arc::new((0..KEYS).map(key).collect());
    let value = |number: usize| -> Value { vec![number as u8; VALUE_BYTES].into() };
    type Build = fn(&Arc<Vec<String>>, fn(usize) -> Value) -> Reader;
    let mut contestants: Vec<(&str, Build)> = vec![
        ("raw table", raw),
        ("larder get", larder_get),
        ("larder get, tagged", larder_get_tagged),
        ("larder get_or_fetch", larder_get_or_fetch),
        ("quick_cache (no expiry)", quick_cache),
        ("moka sync", moka),
        ("foyer s3", foyer),
    ];
    let wanted: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    contestants
        .retain(|(name, _)| wanted.is_empty() || wanted.iter().any(|word| name.contains(word)));
    let (mut random, zipf) = (Random(42), Zipf::new(KEYS, 0.99));
    let draws: Vec<u32> = (0..2 * DRAWS).map(|_| zipf.draw(&mut random)).collect();
    // Where its memory happens to lie makes a tenth of difference: each is built several times.
    let built: Vec<Vec<Reader>> = (0..INSTANCES)
        .map(|_| contestants.iter().map(|(_, build)| build(&keys, value)).collect())
        .collect();
    for threads in [1, 2] {
        println!("{threads} thread(s){:19}{:>9}{:>15}", "", "ns a hit", "time / raw");
        let mut nanos: Vec<Vec<f64>> = vec![Vec::new(); contestants.len()];
        for readers in built.iter().cycle().take(ROUNDS * INSTANCES) {
            for (reader, nanos) in readers.iter().zip(&mut nanos) {
                let took = in_threads(threads, reader, &draws);
                nanos.push(took.as_nanos() as f64 / DRAWS as f64);
            }
        }
        for ((name, _), own) in contestants.iter().zip(&nanos) {
            let ratios = own.iter().zip(&nanos[0]).map(|(own, raw)| own / raw).collect();
            println!("{name:28}{:11.1}{:15.2}", median(own.clone()), median(ratios));
        }
    }
}

fn key(number: usize) -> String {
    let text = format!("/posts/{number:017}");
    text + &"abcdefghijklmnop"[..number % 17]
}

fn in_threads(threads: usize, reader: &Reader, draws: &[u32]) -> Duration {
    let barrier = Barrier::new(threads);
    std::thread::scope(|scope| {
        let runs = (0..threads).map(|thread| {
            let (barrier, draws) = (&barrier, &draws[thread * DRAWS..][..DRAWS]);
            scope.spawn(move || {
                barrier.wait();
                let start = Instant::now();
                assert_eq!(reader(draws), DRAWS * VALUE_BYTES, "not a hit");
                start.elapsed()
            })
        });
        let runs: Vec<_> = runs.collect();
        runs.into_iter().map(|run| run.join().unwrap()).max().unwrap()
    })
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// `get` is a type parameter so that each contestant's own code is compiled into its loop.
fn reader(
    keys: &Arc<Vec<String>>,
    get: impl Fn(&str) -> Option<Value> + Send + Sync + 'static,
) -> Reader {
    let keys = Arc::clone(keys);
    Box::new(move |draws| {
        let hits = draws.iter().map(|&draw| black_box(get(&keys[draw as usize])));
        hits.map(|value| value.map_or(0, |value| value.len())).sum()
    })
}

fn raw(keys: &Arc<Vec<String>>, value: fn(usize) -> Value) -> Reader {
    type Shard = RwLock<HashMap<Box<str>, Value, foldhash::fast::RandomState>>;
    let shards: Vec<Shard> = (0..64).map(|_| Shard::default()).collect();
    let hasher = foldhash::fast::RandomState::default();
    let place = move |key: &str| (hasher.hash_one(key) >> 32) as usize & 63;
    for (number, key) in keys.iter().enumerate() {
        shards[place(key)].write().unwrap().insert(key.as_str().into(), value(number));
    }
    reader(keys, move |key| shards[place(key)].read().unwrap().get(key).cloned())
}

fn larder_cache(keys: &[String], value: fn(usize) -> Value, tags: &[&str]) -> Cache<Value> {
    let cache = Cache::builder_with_weigher(|value: &Value| value.len()).max_bytes(1 << 30).build();
    let lifetime = larder::Lifetime::fresh_for(Duration::from_secs(3600));
    for (number, key) in keys.iter().enumerate() {
        cache.insert_with(key, value(number), lifetime, tags.iter().copied());
    }
    cache
}

fn larder_get(keys: &Arc<Vec<String>>, value: fn(usize) -> Value) -> Reader {
    let cache = larder_cache(keys, value, &[]);
    reader(keys, move |key| cache.get(key))
}

fn larder_get_tagged(keys: &Arc<Vec<String>>, value: fn(usize) -> Value) -> Reader {
    let cache = larder_cache(keys, value, &["posts", "front page"]);
    cache.purge_tag("another");
    reader(keys, move |key| cache.get(key))
}

fn larder_get_or_fetch(keys: &Arc<Vec<String>>, value: fn(usize) -> Value) -> Reader {
    let cache = larder_cache(keys, value, &[]);
    reader(keys, move |key| {
        let fetch = async || -> Value { unreachable!("all of it is held") };
        at_once(cache.get_or_fetch(key, fetch))
    })
}

fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

fn quick_cache(keys: &Arc<Vec<String>>, value: fn(usize) -> Value) -> Reader {
    let cache = quick_cache::sync::Cache::<Box<str>, Value>::new(2 * KEYS);
    for (number, key) in keys.iter().enumerate() {
        cache.insert(key.as_str().into(), value(number));
    }
    reader(keys, move |key| cache.get(key))
}

fn moka(keys: &Arc<Vec<String>>, value: fn(usize) -> Value) -> Reader {
    let cache = moka::sync::Cache::<Box<str>, Value, RandomState>::builder()
        .max_capacity(2 * KEYS as u64)
        .time_to_live(Duration::from_secs(3600))
        .build();
    for (number, key) in keys.iter().enumerate() {
        cache.insert(key.as_str().into(), value(number));
    }
    reader(keys, move |key| cache.get(key))
}

fn foyer(keys: &Arc<Vec<String>>, value: fn(usize) -> Value) -> Reader {
    let cache = foyer_memory::CacheBuilder::new(2 * KEYS)
        .with_shards(64)
        .with_eviction_config(foyer_memory::S3FifoConfig::default())
        .build::<foyer_memory::CacheProperties>();
    for (number, key) in keys.iter().enumerate() {
        cache.insert(Box::<str>::from(key.as_str()), value(number));
    }
    reader(keys, move |key| cache.get(key).map(|entry| entry.value().clone()))
}
