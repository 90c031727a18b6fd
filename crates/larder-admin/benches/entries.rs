//! How long does the first page of a million entries take by way of the router, and what do hits notice of it?
//!
//! It fails where a page takes 50 ms or longer, first or not, and where the p99 of hits is 2 ms above what it is alone: the
//! bounds that `/v1/entries` was built for. Beside it stands `larder/benches/listing.rs`, which times the list itself.
//!
//! `cargo bench -p larder-admin --bench entries`

#![expect(clippy::unwrap_used, reason = "in a bench, an unwrap that fails is the failed bench")]

use std::{
    hint::black_box,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use axum::{Router, body::Body};
use http::{Request, header};
use http_body_util::BodyExt;
use larder::{Cache, Lifetime};
use larder_admin::Admin;
use serde_json::Value;
use tower::ServiceExt;

const ORDERS: [&str; 6] = ["key", "bytes", "age", "heat", "cost", "expires"];
/// What a page may take, and what hits may notice of it.
const PAGE: Duration = Duration::from_millis(50);
const BEYOND_IDLE: Duration = Duration::from_millis(2);
const MEASURED: Duration = Duration::from_secs(3);

fn main() {
    // Of a build without optimisation nothing is measured: that it runs is all.
    let (entries, is_measured) =
        if cfg!(debug_assertions) { (10_000, false) } else { (1_000_000, true) };
    let cache = Cache::<u64>::builder_with_weigher(|_| 0).name("posts").max_bytes(4 << 30).build();
    for number in 0..entries {
        let lifetime = Lifetime::fresh_for(Duration::from_secs(1000 + number % 1000));
        cache.insert_with(key(number), number, lifetime, [format!("tag:{}", number % 1000)]);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut slowest = Duration::ZERO;
    for order in ORDERS {
        // One that has no list yet.
        let router = Admin::new().cache(&cache).router();
        let (first, page) = runtime.block_on(asked(&router, order));
        let mut whole = page;
        let (mut then, began) = (Duration::ZERO, Instant::now());
        while whole["is_complete"] != true {
            assert!(began.elapsed() < Duration::from_secs(60), "{order} is never complete");
            (then, whole) = runtime.block_on(asked(&router, order));
        }
        println!("{order}: the first page after {first:?}, the last one asked for after {then:?}");
        assert_eq!(whole["total"], entries);
        slowest = slowest.max(first).max(then);
    }
    let alone = p99_of_hits(&cache, entries, |_| {});
    let router = Admin::new().cache(&cache).router();
    let beside = p99_of_hits(&cache, entries, |is_over| {
        while !is_over.load(Ordering::Relaxed) {
            for order in ORDERS {
                runtime.block_on(asked(&router, order));
            }
        }
    });
    println!("p99 of hits: {alone:?} alone, {beside:?} beside pages; the slowest page {slowest:?}");
    if is_measured {
        assert!(slowest < PAGE, "a page took {slowest:?}, and may take {PAGE:?}");
        assert!(beside < alone + BEYOND_IDLE, "p99 of hits: {beside:?}, and {alone:?} alone");
    }
}

fn key(number: u64) -> String {
    format!("https://example.org/posts/{number:08}")
}

async fn asked(router: &Router, order: &str) -> (Duration, Value) {
    let request = Request::get(format!("/v1/entries?order={order}&limit=50"))
        .header(header::HOST, "localhost")
        .body(Body::empty())
        .unwrap();
    let began = Instant::now();
    let answer = router.clone().oneshot(request).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let took = began.elapsed();
    (took, serde_json::from_slice(&body).unwrap())
}

fn p99_of_hits(
    cache: &Cache<u64>,
    entries: u64,
    beside: impl FnOnce(&AtomicBool) + Send,
) -> Duration {
    let is_over = AtomicBool::new(false);
    let mut took = Vec::with_capacity(1 << 24);
    thread::scope(|threads| {
        let beside = threads.spawn(|| beside(&is_over));
        let (began, mut number) = (Instant::now(), 0_u64);
        while began.elapsed() < MEASURED && took.len() < took.capacity() {
            number = number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let key = key((number >> 33) % entries);
            let asked = Instant::now();
            black_box(cache.get(key.as_str()));
            took.push(asked.elapsed());
        }
        is_over.store(true, Ordering::Relaxed);
        beside.join().unwrap();
    });
    took.sort_unstable();
    took[took.len() * 99 / 100]
}
