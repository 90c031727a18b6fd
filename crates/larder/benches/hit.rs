//! A hit, side by side: 100,000 keys of 24 to 40 bytes, 2 KiB values, Zipf 0.99, all of it held.
//!
//! ```text
//! cargo bench -p larder --bench hit [-- [--json] NAME ...]
//! ```
//!
//! The limit is a raw table that does nothing else: 64 shards, each a `HashMap` behind an `RwLock`.
//! All run in turn, round by round, so that what else the machine does meets all of them. Ratios are
//! to the raw table's time in the same round; the table shows their median and quartiles. `NAME`s
//! pick contestants by parts of their names; the raw table always runs. Times are the threads' own,
//! without what others had of the processors meanwhile.
//!
//! Only larder has tags. Its tagged row is measured after a purge of a tag that no entry has, so that
//! every entry has met a purge. quick_cache and foyer have no expiry here.

#![expect(clippy::unwrap_used, reason = "a bench is no library")]

use std::{
    collections::HashMap,
    convert::Infallible,
    future::Future,
    hash::{BuildHasher, RandomState},
    hint::black_box,
    pin::pin,
    sync::{Arc, Barrier, RwLock},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use larder::{Cache, Lifetime};
use serde_json::json;
use tokio::runtime::{Handle, Runtime};

#[path = "support/cpu_clock.rs"]
mod cpu_clock;
#[path = "support/zipf.rs"]
mod zipf;
use cpu_clock::cpu_time;
use zipf::{Random, Zipf};

type Value = Arc<[u8]>;

const KEYS: usize = 100_000;
const VALUE_BYTES: usize = 2048;
const DRAWS: usize = 400_000;
const ROUNDS: usize = 5;
/// Where its memory happens to lie makes a tenth of difference: each is built several times.
const INSTANCES: usize = 3;
const TTL: Duration = Duration::from_secs(3600);

/// A contestant's hits for a run of draws; returns how many bytes they held.
type Reader = Box<dyn Fn(&[u32]) -> usize + Send + Sync>;
type Build = fn(&Arc<Vec<String>>) -> Reader;

const CONTESTANTS: [(&str, Build); 14] = [
    ("raw table", raw),
    ("larder get", larder_get),
    ("larder get, tagged", larder_get_tagged),
    ("larder get_or_fetch", larder_get_or_fetch),
    ("larder get_or_fetch, tagged", larder_get_or_fetch_tagged),
    ("quick_cache get", quick_cache),
    ("quick_cache get_or_insert_async", quick_cache_or_insert),
    ("moka sync get", moka),
    ("moka future get", moka_future),
    ("moka future get_with_by_ref", moka_future_with),
    ("foyer s3 get", foyer),
    ("foyer s3 get_or_fetch", foyer_or_fetch),
    ("cachet get", cachet),
    ("cachet get_or_insert_with", cachet_or_insert),
];

fn main() {
    let runtime = Runtime::new().unwrap();
    let _runtime = runtime.enter();
    let (flags, words): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|word| word.starts_with("--"));
    let is_wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word));
    let contestants: Vec<_> = (CONTESTANTS.into_iter().enumerate())
        .filter(|(place, (name, _))| *place == 0 || is_wanted(name))
        .map(|(_, contestant)| contestant)
        .collect();
    let keys: Arc<Vec<String>> = Arc::new((0..KEYS).map(key).collect());
    let (mut random, zipf) = (Random(42), Zipf::new(KEYS, 0.99));
    let draws: Vec<u32> = (0..2 * DRAWS).map(|_| zipf.draw(&mut random)).collect();
    // By number of threads, contestant and round.
    let mut nanos = [vec![Vec::new(); contestants.len()], vec![Vec::new(); contestants.len()]];
    for _ in 0..INSTANCES {
        let readers: Vec<_> = contestants.iter().map(|(_, build)| build(&keys)).collect();
        for _ in 0..ROUNDS {
            for (threads, nanos) in (1..).zip(&mut nanos) {
                for (reader, nanos) in readers.iter().zip(nanos) {
                    let took = in_threads(threads, reader, &draws);
                    nanos.push(took.as_nanos() as f64 / DRAWS as f64);
                }
            }
        }
    }
    let rows: Vec<_> = (contestants.iter().enumerate())
        .map(|(number, (name, _))| (*name, [0, 1].map(|threads| result(&nanos[threads], number))))
        .collect();
    if flags.iter().any(|flag| flag == "--json") {
        let rows =
            rows.iter().map(|(name, [one, two])| json!({ "name": name, "1": one, "2": two }));
        println!("{:#}", json!(rows.collect::<Vec<_>>()));
        return;
    }
    println!("{:33}{:^30}{:^30}", "", "1 thread", "2 threads");
    println!("{:33}{}", "", format!("{:>9}  {:19}", "ns a hit", "time / raw").repeat(2));
    for (name, results) in rows {
        let columns = results.map(|result| {
            let [low, middle, high] = result.times_raw;
            format!("{:9.1}  {middle:.2} ({low:.2}-{high:.2})  ", result.nanos)
        });
        println!("{name:33}{}", columns.concat());
    }
}

#[derive(serde::Serialize)]
struct Result {
    /// Of a hit; the median.
    nanos: f64,
    /// As multiples of the raw table's time: quartiles.
    times_raw: [f64; 3],
}

fn result(nanos: &[Vec<f64>], number: usize) -> Result {
    let ratios = nanos[number].iter().zip(&nanos[0]).map(|(own, raw)| own / raw);
    Result { nanos: quartiles(nanos[number].clone())[1], times_raw: quartiles(ratios.collect()) }
}

fn quartiles(mut numbers: Vec<f64>) -> [f64; 3] {
    numbers.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| numbers[numbers.len() * quarter / 4])
}

fn key(number: usize) -> String {
    let text = format!("/posts/{number:017}");
    text + &"abcdefghijklmnop"[..number % 17]
}

fn in_threads(threads: usize, reader: &Reader, draws: &[u32]) -> Duration {
    let barrier = Barrier::new(threads);
    let handle = Handle::current();
    std::thread::scope(|scope| {
        let runs = (0..threads).map(|thread| {
            let (barrier, handle, draws) = (&barrier, &handle, &draws[thread * DRAWS..][..DRAWS]);
            scope.spawn(move || {
                let _runtime = handle.enter();
                barrier.wait();
                let start = Instant::now();
                let began = cpu_time(start);
                assert_eq!(reader(draws), DRAWS * VALUE_BYTES, "not a hit");
                cpu_time(start) - began
            })
        });
        let runs: Vec<_> = runs.collect();
        runs.into_iter().map(|run| run.join().unwrap()).max().unwrap()
    })
}

fn value(number: usize) -> Value {
    vec![number as u8; VALUE_BYTES].into()
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

/// What a future of a hit brings: it is ready at once.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

async fn never() -> Value {
    unreachable!("all of it is held")
}

fn raw(keys: &Arc<Vec<String>>) -> Reader {
    type Shard = RwLock<HashMap<Box<str>, Value, foldhash::fast::RandomState>>;
    let shards: Vec<Shard> = (0..64).map(|_| Shard::default()).collect();
    let hasher = foldhash::fast::RandomState::default();
    let place = move |key: &str| (hasher.hash_one(key) >> 32) as usize & 63;
    for (number, key) in keys.iter().enumerate() {
        shards[place(key)].write().unwrap().insert(key.as_str().into(), value(number));
    }
    reader(keys, move |key| shards[place(key)].read().unwrap().get(key).cloned())
}

fn larder_cache(keys: &[String], tags: &[&str]) -> Cache<Value> {
    let cache = Cache::builder_with_weigher(|value: &Value| value.len()).max_bytes(1 << 30).build();
    for (number, key) in keys.iter().enumerate() {
        cache.insert_with(key, value(number), Lifetime::fresh_for(TTL), tags.iter().copied());
    }
    if !tags.is_empty() {
        cache.purge_tag("another");
    }
    cache
}

fn larder_get(keys: &Arc<Vec<String>>) -> Reader {
    let cache = larder_cache(keys, &[]);
    reader(keys, move |key| cache.get(key))
}

fn larder_get_tagged(keys: &Arc<Vec<String>>) -> Reader {
    let cache = larder_cache(keys, &["posts", "front page"]);
    reader(keys, move |key| cache.get(key))
}

fn larder_get_or_fetch(keys: &Arc<Vec<String>>) -> Reader {
    let cache = larder_cache(keys, &[]);
    reader(keys, move |key| Some(at_once(cache.get_or_fetch(key, never))))
}

fn larder_get_or_fetch_tagged(keys: &Arc<Vec<String>>) -> Reader {
    let cache = larder_cache(keys, &["posts", "front page"]);
    reader(keys, move |key| Some(at_once(cache.get_or_fetch(key, never))))
}

fn quick_cache(keys: &Arc<Vec<String>>) -> Reader {
    let cache = quick_cache::sync::Cache::<Box<str>, Value>::new(2 * KEYS);
    for (number, key) in keys.iter().enumerate() {
        cache.insert(key.as_str().into(), value(number));
    }
    reader(keys, move |key| cache.get(key))
}

fn quick_cache_or_insert(keys: &Arc<Vec<String>>) -> Reader {
    let cache = quick_cache::sync::Cache::<String, Value>::new(2 * KEYS);
    for (number, key) in keys.iter().enumerate() {
        cache.insert(key.clone(), value(number));
    }
    let fetch = || async { Ok::<_, Infallible>(never().await) };
    reader(keys, move |key| at_once(cache.get_or_insert_async(key, fetch())).ok())
}

fn moka(keys: &Arc<Vec<String>>) -> Reader {
    let cache = moka::sync::Cache::<Box<str>, Value, RandomState>::builder()
        .max_capacity(2 * KEYS as u64)
        .time_to_live(TTL)
        .build();
    for (number, key) in keys.iter().enumerate() {
        cache.insert(key.as_str().into(), value(number));
    }
    reader(keys, move |key| cache.get(key))
}

fn moka_future_cache(keys: &[String]) -> moka::future::Cache<String, Value> {
    let cache =
        moka::future::Cache::builder().max_capacity(2 * KEYS as u64).time_to_live(TTL).build();
    for (number, key) in keys.iter().enumerate() {
        Handle::current().block_on(cache.insert(key.clone(), value(number)));
    }
    cache
}

fn moka_future(keys: &Arc<Vec<String>>) -> Reader {
    let cache = moka_future_cache(keys);
    reader(keys, move |key| moka_waits(cache.get(key)))
}

fn moka_future_with(keys: &Arc<Vec<String>>) -> Reader {
    let cache = moka_future_cache(keys);
    reader(keys, move |key| Some(moka_waits(cache.get_with_by_ref(key, never()))))
}

/// Now and then its housekeeping makes a hit wait for another thread.
fn moka_waits<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => Handle::current().block_on(future),
    }
}

fn foyer_cache(keys: &[String]) -> foyer_memory::Cache<String, Value> {
    let cache = foyer_memory::CacheBuilder::new(2 * KEYS)
        .with_shards(64)
        .with_eviction_config(foyer_memory::S3FifoConfig::default())
        .build::<foyer_memory::CacheProperties>();
    for (number, key) in keys.iter().enumerate() {
        cache.insert(key.clone(), value(number));
    }
    cache
}

fn foyer(keys: &Arc<Vec<String>>) -> Reader {
    let cache = foyer_cache(keys);
    reader(keys, move |key| cache.get(key).map(|entry| entry.value().clone()))
}

fn foyer_or_fetch(keys: &Arc<Vec<String>>) -> Reader {
    let cache = foyer_cache(keys);
    let fetch = || async { Ok::<_, std::io::Error>(never().await) };
    reader(keys, move |key| {
        at_once(cache.get_or_fetch(key, fetch)).ok().map(|entry| entry.value().clone())
    })
}

fn cachet_cache(keys: &[String]) -> cachet::Cache<String, Value> {
    let clock = tick::Clock::new_tokio();
    let cache = cachet::Cache::builder::<String, Value>(clock).memory().ttl(TTL).build();
    for (number, key) in keys.iter().enumerate() {
        let entry = cachet::CacheEntry::new(value(number));
        Handle::current().block_on(cache.insert(key.clone(), entry)).unwrap();
    }
    cache
}

fn cachet(keys: &Arc<Vec<String>>) -> Reader {
    let cache = cachet_cache(keys);
    reader(keys, move |key| moka_waits(cache.get(key)).unwrap().map(|entry| entry.value().clone()))
}

fn cachet_or_insert(keys: &Arc<Vec<String>>) -> Reader {
    let cache = cachet_cache(keys);
    let fetch = || async { cachet::CacheEntry::new(never().await) };
    reader(keys, move |key| {
        moka_waits(cache.get_or_insert_with(key, fetch)).ok().map(|entry| entry.value().clone())
    })
}
