//! Threads: real ones, all at once. What must hold does so at any time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use larder::{Cache, Eviction, Fetched};

const TASKS: u64 = 6;
const STEPS: u64 = 4000;
/// Of each kind.
const KEYS: usize = 16;
/// Room for about two thirds of all values.
const MAX_BYTES: usize = 64 << 10;
const MAX_HEAP_BYTES: u64 = 6 << 10;
const TTL: Duration = Duration::from_secs(3600);

/// What the origin has under one key.
#[derive(Default)]
struct Source {
    version: AtomicU64,
    /// The newest version whose purge has returned.
    acknowledged: AtomicU64,
    calls: AtomicU64,
}

/// `purged` are purged all the time, `left` never.
#[derive(Default)]
struct Origin {
    purged: [Source; KEYS],
    left: [Source; KEYS],
}

/// Numbers without order, the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

type Version = (u64, usize);

fn purge(cache: &Cache<Version>, key: &str, number: usize, how: u64) {
    match how {
        0 => _ = cache.remove(key),
        1 => _ = cache.soft_remove(key),
        2 => cache.purge_tag(&format!("tag {number}")),
        3 => cache.soft_purge_tag(&format!("tag {number}")),
        4 => _ = cache.purge_prefix(key),
        5 => _ = cache.soft_purge_prefix(key),
        _ => unreachable!("that many there are"),
    }
}

async fn steps(cache: Cache<Version>, origin: Arc<Origin>, seed: u64) {
    let mut random = Random(seed);
    for _ in 0..STEPS {
        let number = random.below(KEYS as u64) as usize;
        let heap_bytes = random.below(MAX_HEAP_BYTES) as usize;
        if random.below(3) == 0 {
            let left = Arc::clone(&origin);
            let fetch = async move || {
                let calls = &left.left[number].calls;
                assert_eq!(calls.fetch_add(1, Ordering::SeqCst), 0, "two calls at once");
                tokio::task::yield_now().await;
                calls.fetch_sub(1, Ordering::SeqCst);
                (0, heap_bytes)
            };
            cache.get_or_fetch(format!("left {number:02}"), fetch).await;
            continue;
        }
        let (key, source) = (format!("purged {number:02}"), &origin.purged[number]);
        let acknowledged = source.acknowledged.load(Ordering::SeqCst);
        match random.below(8) {
            0 => {
                let newest = source.version.fetch_add(1, Ordering::SeqCst) + 1;
                purge(&cache, &key, number, random.below(6));
                source.acknowledged.fetch_max(newest, Ordering::SeqCst);
            }
            1 => {
                let hit = cache.get(key);
                assert!(hit.is_none_or(|(version, _)| version >= acknowledged), "{hit:?}");
            }
            _ => {
                let fetched = Arc::clone(&origin);
                let fetch = async move || {
                    let version = fetched.purged[number].version.load(Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    Fetched::new((version, heap_bytes)).tags([format!("tag {number}")])
                };
                let (version, _) = cache.get_or_fetch(key, fetch).await;
                assert!(version >= acknowledged, "{version} after a purge of {acknowledged}");
            }
        }
    }
}

#[test]
fn threads_find_nothing_purged_and_the_bound_kept_at_any_time() {
    for eviction in [Eviction::S3Fifo, Eviction::Lru] {
        let cache = Cache::builder_with_weigher(|(_, heap_bytes): &Version| *heap_bytes)
            .ttl(TTL)
            .eviction(eviction)
            .max_bytes(MAX_BYTES)
            .build();
        let (origin, is_over) = (Arc::new(Origin::default()), AtomicBool::new(false));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(3).build().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut looked = 0_u64;
                while !is_over.load(Ordering::Acquire) {
                    let bytes = cache.stats().bytes;
                    assert!(bytes <= MAX_BYTES as u64, "{bytes} bytes");
                    if looked.is_multiple_of(64) {
                        // Back to what it was: the new bound holds once it returns, the old one always.
                        cache.resize(MAX_BYTES / 2);
                        cache.resize(MAX_BYTES);
                        cache.sweep();
                    }
                    looked += 1;
                    std::thread::yield_now();
                }
            });
            let tasks: Vec<_> = (0..TASKS)
                .map(|seed| runtime.spawn(steps(cache.clone(), Arc::clone(&origin), seed)))
                .collect();
            let ends: Vec<_> = tasks.into_iter().map(|task| runtime.block_on(task)).collect();
            is_over.store(true, Ordering::Release);
            ends.into_iter().for_each(|end| end.unwrap());
        });
        let stats = cache.stats();
        assert!(stats.hits > 0 && stats.collapsed > 0 && stats.evictions > 0, "{stats:?}");
        assert_eq!(stats.fetch_failures, 0);
        cache.clear();
        assert_eq!((cache.stats().entries, cache.stats().bytes), (0, 0));
    }
}
