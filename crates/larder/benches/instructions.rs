//! Instructions of each step, counted by callgrind: the same on a busy machine as on an idle one.
//!
//! ```text
//! make bench-engine     (or cargo bench -p larder --bench instructions)
//! ```
//!
//! Needs valgrind, and `gungraun-runner` of the version that Cargo.lock names. One call each, in a
//! cache of 4 MiB that holds 1000 entries, on the machine's own clock; the first call of a thread,
//! which sets up what it counts with, comes before.

#![expect(missing_docs, reason = "its macros make public modules")]

use std::{
    future::{Future, pending},
    hint::black_box,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use gungraun::prelude::*;
use larder::{Cache, Lifetime};
use tokio::runtime::{Builder, Runtime};

type Value = Arc<[u8]>;

const KEY: &str = "/posts/000000000000000042";
const ENTRIES: u32 = 1000;

fn cache_of(max_entries: usize, tags: &[&str]) -> Cache<Value> {
    filled(builder().max_entries(max_entries).build(), tags)
}

fn builder() -> larder::Builder<Value> {
    Cache::builder_with_weigher(|value: &Value| value.len())
        .max_bytes(4 << 20)
        .stale_while_revalidate(Duration::from_secs(60))
}

fn filled(cache: Cache<Value>, tags: &[&str]) -> Cache<Value> {
    let lifetime = Lifetime::fresh_for(Duration::from_secs(3600))
        .stale_while_revalidate(Duration::from_secs(3600));
    for number in 0..ENTRIES {
        let key = format!("/posts/{number:018}");
        cache.insert_with(key, value(), lifetime, tags.iter().copied());
    }
    // Its marks reach their end, and this thread has its counters.
    for _ in 0..8 {
        cache.get(KEY);
    }
    cache
}

fn value() -> Value {
    vec![7; 2048].into()
}

fn held() -> Cache<Value> {
    cache_of(usize::MAX, &[])
}

fn tagged() -> Cache<Value> {
    cache_of(usize::MAX, &["posts", "front page"])
}

fn sliding() -> Cache<Value> {
    filled(builder().time_to_idle(Duration::from_secs(600)).build(), &[])
}

fn told() -> Cache<Value> {
    let hook = |_: &str, _: &Value, _| {
        black_box(());
    };
    let cache = filled(builder().max_entries(ENTRIES as usize).on_removed(hook).build(), &[]);
    cache.insert("/posts/one more", value());
    cache
}

fn purged_since() -> Cache<Value> {
    let cache = tagged();
    cache.purge_tag("another");
    cache
}

fn key_purged_since() -> Cache<Value> {
    let cache = tagged();
    cache.remove("another");
    cache
}

/// A stale entry, and the runtime that its refresh would run on: nobody drives it.
fn stale() -> (Cache<Value>, Runtime) {
    let cache = held();
    cache.soft_remove(KEY);
    (cache, Builder::new_current_thread().build().expect("a runtime without drivers"))
}

fn stale_and_refreshed() -> (Cache<Value>, Runtime) {
    let (cache, runtime) = stale();
    let entered = runtime.enter();
    at_once(cache.get_or_fetch(KEY, pending::<Value>));
    drop(entered);
    (cache, runtime)
}

fn full() -> Cache<Value> {
    let cache = cache_of(ENTRIES as usize, &[]);
    // The first one that has to go would set up where it is remembered.
    cache.insert("/posts/one more", value());
    cache
}

fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

#[library_benchmark]
#[bench::untagged(held())]
#[bench::tagged(tagged())]
#[bench::that_keeps_it_from_being_idle(sliding())]
#[bench::first_after_a_purge(purged_since())]
#[bench::after_a_purge_of_another_key(key_purged_since())]
fn hit(cache: Cache<Value>) -> (Cache<Value>, Option<Value>) {
    let value = black_box(&cache).get(black_box(KEY));
    (cache, value)
}

fn held_by_parts() -> Cache<Value> {
    let cache = held();
    cache.insert(42_u64, value());
    cache.insert(("post", 42_u64, "de"), value());
    for _ in 0..8 {
        cache.get(42_u64);
        cache.get(("post", 42_u64, "de"));
    }
    cache
}

#[library_benchmark]
#[bench::untagged(held_by_parts())]
fn hit_by_number(cache: Cache<Value>) -> (Cache<Value>, Option<Value>) {
    let value = black_box(&cache).get(black_box(42_u64));
    (cache, value)
}

#[library_benchmark]
#[bench::untagged(held_by_parts())]
fn hit_by_tuple(cache: Cache<Value>) -> (Cache<Value>, Option<Value>) {
    let value = black_box(&cache).get(black_box(("post", 42_u64, "de")));
    (cache, value)
}

#[library_benchmark]
#[bench::that_starts_a_refresh(stale())]
#[bench::while_it_is_refreshed(stale_and_refreshed())]
fn stale_hit((cache, runtime): (Cache<Value>, Runtime)) -> Option<Value> {
    let entered = runtime.enter();
    let value = at_once(black_box(&cache).get_or_fetch(black_box(KEY), pending::<Value>));
    drop(entered);
    // Returned, all that is in the cache would be dropped where it is counted.
    std::mem::forget((cache, runtime));
    value
}

#[library_benchmark]
#[bench::untagged(held())]
fn get_or_fetch_hit(cache: Cache<Value>) -> (Cache<Value>, Option<Value>) {
    let fetch = async || -> Value { unreachable!("it is held") };
    let value = at_once(black_box(&cache).get_or_fetch(black_box(KEY), fetch));
    (cache, value)
}

#[library_benchmark]
#[bench::of_1000(held())]
fn miss(cache: Cache<Value>) -> (Cache<Value>, Option<Value>) {
    let value = black_box(&cache).get(black_box("/posts/another"));
    (cache, value)
}

#[library_benchmark]
#[bench::with_room(held(), value())]
#[bench::with_eviction(full(), value())]
#[bench::with_eviction_that_is_told_of(told(), value())]
fn insert(cache: Cache<Value>, value: Value) -> Cache<Value> {
    black_box(&cache).insert(black_box("/posts/another"), value);
    cache
}

library_benchmark_group!(
    name = engine,
    benchmarks = [hit, hit_by_number, hit_by_tuple, stale_hit, get_or_fetch_hit, miss, insert]
);
main!(library_benchmark_groups = engine);
