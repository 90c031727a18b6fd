//! Driven: what becomes of fetches and refreshes whose runtime stops, blocks, goes, or was never there.
//!
//! Whether a runtime is driven shows in the machine's time, so what is about that takes a second or two.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use futures_util::{FutureExt, poll};
use larder::{Answer, AnswerSource, Cache, Failure, FetchError, ManualClock, reason::Reason};
use tokio::runtime::{Builder, Runtime};

use crate::support::{MINUTE, secs};

/// Much longer than it takes to notice.
const AT_LAST: Duration = secs(20);

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Runs `future` without any runtime.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    let began = Instant::now();
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park_timeout(AT_LAST);
        assert!(began.elapsed() < AT_LAST, "nobody ever wakes it");
    }
}

async fn never() -> String {
    std::future::pending().await
}

async fn at_last<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(AT_LAST, future).await.expect("it does not wait for ever")
}

/// One call that is given up while its fetch runs, on a runtime that nobody drives afterwards.
fn leave_behind(runtime: &Runtime, cache: &Cache<String>, key: &str) {
    let asked = async {
        tokio::time::timeout(Duration::from_millis(1), cache.get_or_fetch(key, never)).await
    };
    runtime.block_on(asked).unwrap_err();
}

#[test]
fn a_fetch_that_nobody_drives_is_begun_anew_by_whoever_waits_for_it() {
    let cache = Cache::<String>::builder().max_concurrent_fetches(1).build();
    let stalled = runtime();
    leave_behind(&stalled, &cache, "key");
    runtime().block_on(async {
        let ask = || cache.answer("key", async || Ok::<_, &str>("value".to_owned()));
        let (one, other) = at_last(async { tokio::join!(ask(), ask()) }).await;
        let sources = [one, other].map(|answer| {
            let Answer { value, source, .. } = answer.unwrap();
            assert_eq!(value, "value");
            source
        });
        assert!(sources.contains(&AnswerSource::Fetched(Reason::UriMiss)), "{sources:?}");
    });
    let stats = cache.stats();
    assert_eq!((stats.fetches, stats.fetches_taken_over, stats.fetches_out_of_turn), (2, 1, 0));
    // The one left behind took nothing with it.
    let quick = runtime().block_on(async {
        cache.get_or_fetch("another", async || "another".to_owned()).now_or_never();
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        cache.get("another")
    });
    assert_eq!(quick.as_deref(), Some("another"), "its turn was given back");
}

#[test]
fn a_fetch_that_comes_back_to_life_undoes_nothing() {
    let cache = Cache::<String>::builder().build();
    let stalled = runtime();
    let (reply, replied) = tokio::sync::oneshot::channel();
    let late = stalled.spawn({
        let cache = cache.clone();
        let fetch = async move || replied.await.unwrap();
        async move { cache.get_or_fetch::<String, _, _>("key", fetch).await }
    });
    stalled.block_on(async { tokio::time::sleep(Duration::from_millis(5)).await });
    runtime().block_on(async {
        assert_eq!(at_last(cache.get_or_fetch("key", async || "new".to_owned())).await, "new");
    });
    reply.send("old".to_owned()).unwrap();
    assert_eq!(stalled.block_on(late).unwrap(), "old", "its own reader is answered");
    assert_eq!(cache.get("key").as_deref(), Some("new"));
}

#[test]
fn a_fetch_that_runs_for_long_without_a_pause_is_not_begun_anew() {
    let cache = Cache::<String>::builder().build();
    let (begun, has_begun) = mpsc::channel();
    let blocking = thread::spawn({
        let cache = cache.clone();
        move || {
            let fetch = async move || {
                begun.send(()).unwrap();
                thread::sleep(Duration::from_millis(2500));
                "its own".to_owned()
            };
            runtime().block_on(cache.get_or_fetch("key", fetch))
        }
    });
    has_begun.recv().unwrap();
    let shared = runtime().block_on(at_last(cache.get_or_fetch("key", never)));
    assert_eq!((shared.as_str(), cache.stats().fetches), ("its own", 1));
    assert_eq!(blocking.join().unwrap(), "its own");
    assert_eq!(cache.get("key").as_deref(), Some("its own"), "it was stored");
}

#[test]
fn who_entered_a_runtime_that_nobody_drives_runs_its_fetch_itself() {
    let cache = Cache::<String>::builder().build();
    let entered = runtime();
    let _entered = entered.enter();
    let value = block_on(cache.get_or_fetch("key", async || "value".to_owned()));
    assert_eq!(value, "value");
    let tried = block_on(cache.try_get_or_fetch("other", async || Err::<String, _>("down")));
    assert!(matches!(tried, Err(FetchError::Failed(error)) if *error == "down"));
    assert_eq!(cache.get("key").as_deref(), Some("value"), "it was stored");
}

#[test]
fn who_outlives_its_runtime_runs_its_fetch_itself() {
    let cache = Cache::<String>::builder().build();
    let (reply, replied) = tokio::sync::oneshot::channel();
    let fetch = async move || Ok::<String, &str>(replied.await.unwrap());
    let mut reader = pin!(cache.try_get_or_fetch("key", fetch));
    let first = runtime();
    first.block_on(async {
        assert!(poll!(reader.as_mut()).is_pending());
        tokio::task::yield_now().await;
    });
    drop(first);
    reply.send("value".to_owned()).unwrap();
    assert_eq!(runtime().block_on(at_last(reader)).unwrap(), "value");
    assert_eq!(cache.get("key").as_deref(), Some("value"));
}

#[test]
fn a_limit_goes_with_its_fetch_from_runtime_to_runtime() {
    let limit = Duration::from_millis(300);
    for (stays, limit, ends) in
        [(false, MINUTE, true), (false, limit, false), (true, limit, false), (true, MINUTE, true)]
    {
        let cache = Cache::<String>::builder().hard_timeout(limit).build();
        let (reply, replied) = tokio::sync::oneshot::channel();
        let fetch = async move || Ok::<String, &str>(replied.await.unwrap());
        let mut reader = pin!(cache.try_get_or_fetch("key", fetch));
        let first = runtime();
        first.block_on(async {
            assert!(poll!(reader.as_mut()).is_pending());
            tokio::task::yield_now().await;
        });
        let first = stays.then_some(first);
        let reply =
            if ends { reply.send("value".to_owned()).map(|()| None) } else { Ok(Some(reply)) };
        let brought = runtime().block_on(at_last(reader));
        match ends {
            true => assert_eq!(brought.unwrap(), "value"),
            false => assert!(matches!(brought, Err(FetchError::Timeout { .. })), "{brought:?}"),
        }
        drop((first, reply));
    }
}

#[test]
fn refreshes_that_nobody_drives_keep_neither_their_places_nor_their_keys() {
    let clock = ManualClock::new();
    let cache = Cache::<String>::builder()
        .ttl(MINUTE)
        .stale_while_revalidate(MINUTE)
        .max_concurrent_refreshes(1)
        .clock(clock.clock())
        .build();
    for key in ["left behind", "another"] {
        cache.insert(key, "old".to_owned());
    }
    clock.advance(MINUTE);
    let stalled = runtime();
    stalled.block_on(async {
        cache.get_or_fetch("left behind", never).await;
        tokio::task::yield_now().await;
    });
    assert_eq!(cache.stats().refreshes, 1);
    runtime().block_on(async {
        let began = Instant::now();
        for key in ["another", "left behind"] {
            while cache.get(key).is_none() {
                assert!(began.elapsed() < AT_LAST, "{key} is never refreshed");
                cache.get_or_fetch(key, async || "new".to_owned()).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    });
    drop(stalled);
}

#[test]
fn refreshes_that_waited_when_their_runtime_went_run_on_the_next() {
    let clock = ManualClock::new();
    let cache = Cache::<String>::builder()
        .ttl(MINUTE)
        .stale_while_revalidate(MINUTE)
        .max_concurrent_refreshes(1)
        .clock(clock.clock())
        .build();
    for key in ["running", "waiting"] {
        cache.insert(key, "old".to_owned());
    }
    clock.advance(MINUTE);
    let first = runtime();
    first.block_on(async {
        cache.get_or_fetch("running", never).await;
        tokio::task::yield_now().await;
        cache.get_or_fetch("waiting", async || "new".to_owned()).await;
    });
    drop(first);
    runtime().block_on(async {
        let began = Instant::now();
        while cache.get("waiting").is_none() {
            assert!(began.elapsed() < AT_LAST, "it is never refreshed");
            cache.get_or_fetch("waiting", async || "new".to_owned()).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}

#[test]
fn outside_a_runtime_a_stale_value_is_served_and_not_refreshed() {
    for refresh_ahead in [false, true] {
        let clock = ManualClock::new();
        let builder = Cache::<String>::builder().ttl(MINUTE).stale_while_revalidate(MINUTE);
        let builder = if refresh_ahead { builder.refresh_ahead(0.0) } else { builder };
        let cache = builder.clock(clock.clock()).build();
        cache.insert("key", "old".to_owned());
        if !refresh_ahead {
            clock.advance(MINUTE);
        }
        let fetch = async || Ok::<_, &str>("never".to_owned());
        let values = [
            cache.get_or_fetch("key", async || "never".to_owned()).now_or_never().unwrap(),
            cache.try_get_or_fetch("key", fetch).now_or_never().unwrap().unwrap(),
            cache.answer("key", fetch).now_or_never().unwrap().unwrap().value,
        ];
        assert_eq!(values, ["old"; 3]);
        let stats = cache.stats();
        assert_eq!((stats.refreshes, stats.refreshes_dropped), (0, 3));
        // Where there is one, it is refreshed.
        runtime().block_on(async {
            cache.get_or_fetch("key", async || "new".to_owned()).await;
            while cache.stats().fetches == 0 {
                tokio::task::yield_now().await;
            }
        });
    }
}

#[test]
fn outside_a_runtime_a_miss_is_fetched_by_its_reader() {
    let cache = Cache::<String>::builder()
        .stale_if_error(MINUTE)
        .soft_timeout(Duration::from_millis(1))
        .hard_timeout(Duration::from_millis(2))
        .max_concurrent_fetches(1)
        .build();
    let slowly = async || {
        let (reply, replied) = tokio::sync::oneshot::channel();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            reply.send("value".to_owned()).unwrap();
        });
        replied.await.unwrap()
    };
    assert_eq!(block_on(cache.get_or_fetch("key", slowly)), "value");
    assert_eq!(cache.get("key").as_deref(), Some("value"), "it was stored");
    let failed = block_on(cache.answer("failing", async || Err::<String, _>("down")));
    let Err(Failure { error: FetchError::Failed(error), .. }) = failed else {
        panic!("{failed:?}")
    };
    assert_eq!(*error, "down");
    let panics = async || -> Result<String, &str> { panic!("the fetch panics") };
    let panicked = block_on(cache.try_get_or_fetch("panicking", panics));
    assert!(matches!(panicked, Err(FetchError::Panicked)));
    let inner = cache.clone();
    let nested = async move || inner.get_or_fetch("inner", async || "inner".to_owned()).await;
    assert_eq!(block_on(cache.get_or_fetch("outer", nested)), "inner");
}

#[test]
fn a_reader_that_goes_down_with_what_else_its_task_does_hands_its_fetch_over() {
    let cache = Cache::<String>::builder().build();
    let mut leads = Box::pin(cache.get_or_fetch("key", never));
    assert!(leads.as_mut().now_or_never().is_none());
    let mut follows = pin!(cache.answer("key", async || Ok::<_, &str>("value".to_owned())));
    assert!(follows.as_mut().now_or_never().is_none());
    let task = AssertUnwindSafe(|| {
        let _reader = leads;
        panic!("for another reason");
    });
    catch_unwind(task).unwrap_err();
    assert_eq!(block_on(follows).unwrap().value, "value");
}

#[test]
fn outside_a_runtime_readers_share_one_fetch_and_hand_it_over() {
    let cache = Cache::<String>::builder().build();
    let mut leaves = Box::pin(cache.get_or_fetch("key", never));
    assert!(leaves.as_mut().now_or_never().is_none());
    let calls = Arc::new(AtomicUsize::new(0));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (cache, calls) = (cache.clone(), Arc::clone(&calls));
            thread::spawn(move || {
                let fetch = async move || {
                    calls.fetch_add(1, Ordering::SeqCst);
                    "value".to_owned()
                };
                block_on(cache.get_or_fetch("key", fetch))
            })
        })
        .collect();
    while cache.stats().misses < 5 {
        thread::yield_now();
    }
    drop(leaves);
    for reader in readers {
        assert_eq!(reader.join().unwrap(), "value");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}
