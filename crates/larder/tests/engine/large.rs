//! Large values that lie in the entry itself: whatever carries them must not need much of a stack.

use std::{
    future::Future,
    sync::Arc,
    task::{Context, Waker},
    thread,
};

use larder::{Cache, Fetched, ManualClock, Previous};
use tokio::runtime;

use crate::support::{MINUTE, secs};

/// As much as many a frame buffer or table, and a twentieth of the stack of a thread of Rust's.
type Large = [u8; 100_000];

/// What a thread has that nobody gave another stack, as one of a test.
const STACK_BYTES: usize = 2 << 20;

fn large(byte: u8) -> Large {
    [byte; 100_000]
}

fn cache(clock: &ManualClock) -> Cache<Large> {
    Cache::builder_with_weigher(|_| 0)
        .max_bytes(64 << 20)
        .ttl(MINUTE)
        .stale_while_revalidate(MINUTE)
        .stale_if_error(secs(3600))
        .soft_timeout(secs(1))
        .hard_timeout(secs(2))
        .clock(clock.clock())
        .build()
}

/// Runs `test` on a thread with the usual stack: one that overflows it ends the process.
fn on_a_usual_stack(name: &str, test: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES);
    thread.spawn(test).unwrap().join().unwrap();
}

fn block_on<F: Future>(future: F) -> F::Output {
    let builder = &mut runtime::Builder::new_current_thread();
    builder.enable_all().start_paused(true).build().unwrap().block_on(future)
}

fn fill(cache: &Cache<Large>) {
    cache.insert("key", large(1));
}

type Test = fn(Cache<Large>, ManualClock);

/// Whether it came, and is that of `byte`: by reference, for what a test does with it counts as well.
fn is(value: Option<&Large>, byte: u8) -> bool {
    value.is_some_and(|value| (value[0], value[99_999]) == (byte, byte))
}

const TESTS: [(&str, Test); 15] = [
    ("insert", |cache, _| {
        (1..3).for_each(|byte| _ = cache.insert("key", large(byte)));
        assert!(cache.remove("key"));
    }),
    ("get", |cache, _| {
        fill(&cache);
        assert!(is(cache.get("key").as_ref(), 1));
    }),
    ("entry", |cache, _| {
        fill(&cache);
        assert!(is(cache.entry("key").as_ref().map(|view| &view.value), 1));
    }),
    ("get_or_fetch", |cache, _| {
        block_on(async {
            for _ in 0..2 {
                let value = cache.get_or_fetch("key", || async { large(1) }).await;
                assert!(is(Some(&value), 1));
            }
        });
    }),
    ("try_get_or_fetch", |cache, _| {
        block_on(async {
            for _ in 0..2 {
                let fetch = || async { Ok::<_, &str>(Fetched::new(large(1)).tags(["tag"])) };
                let value = cache.try_get_or_fetch("key", fetch).await;
                assert!(is(value.as_ref().ok(), 1));
            }
        });
    }),
    ("answer", |cache, _| {
        block_on(async {
            for _ in 0..2 {
                let answer = cache.answer("key", || async { Ok::<_, &str>(large(1)) }).await;
                assert!(is(answer.as_ref().ok().map(|answer| &answer.value), 1));
            }
        });
    }),
    ("a stale hit and its refresh", |cache, clock| {
        fill(&cache);
        clock.advance(secs(90));
        block_on(async {
            for byte in 1..3 {
                let value = cache.get_or_fetch("key", || async { large(2) }).await;
                assert!(is(Some(&value), byte));
                tokio::time::sleep(secs(1)).await;
            }
        });
    }),
    ("stale for an error", |cache, clock| {
        fill(&cache);
        clock.advance(secs(190));
        block_on(async {
            let value = cache.try_get_or_fetch("key", || async { Err::<Large, _>("down") }).await;
            assert!(is(value.as_ref().ok(), 1));
        });
    }),
    ("stale for a soft timeout", |cache, clock| {
        fill(&cache);
        clock.advance(secs(190));
        block_on(async {
            let fetch = || async { std::future::pending::<Result<Large, &str>>().await };
            let answer = cache.answer("key", fetch).await;
            assert!(is(answer.as_ref().ok().map(|answer| &answer.value), 1));
        });
    }),
    ("followers", |cache, _| {
        block_on(async {
            let fetch = || async {
                tokio::time::sleep(secs(1)).await;
                large(1)
            };
            let readers: Vec<_> = (0..20)
                .map(|_| {
                    let cache = cache.clone();
                    tokio::spawn(
                        async move { is(Some(&cache.get_or_fetch("key", fetch).await), 1) },
                    )
                })
                .collect();
            for reader in readers {
                assert!(reader.await.unwrap());
            }
        });
    }),
    ("outside a runtime", |cache, _| {
        let mut context = Context::from_waker(Waker::noop());
        let mut reading = Box::pin(cache.get_or_fetch("key", || async { large(1) }));
        assert!(reading.as_mut().poll(&mut context).is_ready());
    }),
    ("several keys", |cache, _| {
        block_on(async {
            let fetch = async |missing: Vec<Arc<str>>| {
                Ok::<_, &str>(missing.into_iter().map(|key| (key, Fetched::new(large(1)))))
            };
            let found = cache.try_get_many_or_fetch(["a", "b", "c"], fetch).await.unwrap();
            assert!(is(found.get("b"), 1));
        });
    }),
    ("a thread", |cache, clock| {
        for _ in 0..2 {
            assert!(is(Some(&cache.get_or_insert_with("key", || large(1))), 1));
            clock.advance(secs(90));
        }
    }),
    ("the previous value", |cache, _| {
        fill(&cache);
        block_on(async {
            let fetch = async |previous: Option<Previous<Large>>| {
                previous.map(Previous::not_modified).ok_or("none")
            };
            let renewed = cache.read("key").force_refresh().fetch_with(fetch).await;
            assert!(is(renewed.as_ref().ok(), 1));
        });
    }),
    ("eviction", |cache, _| {
        (0..700).for_each(|key| _ = cache.insert(key.to_string(), large(1)));
        assert!(cache.stats().evictions > 0);
        assert!(cache.resize(10 << 20) > 0);
        assert!(cache.purge_prefix("6") > 0);
        cache.clear();
    }),
];

#[test]
fn large_values_need_no_more_stack_than_a_usual_thread_has() {
    for (name, test) in TESTS {
        on_a_usual_stack(name, move || {
            let clock = ManualClock::new();
            test(cache(&clock), clock);
        });
    }
}
