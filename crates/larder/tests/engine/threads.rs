//! Threads share one flight with each other and with readers that are futures, without a runtime.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use larder::{Cache, FetchError};
use tokio::runtime::{Builder, Runtime};

use crate::support::{MINUTE, secs, shapes};

/// Much longer than it takes.
const AT_LAST: Duration = secs(20);

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Waits until so many have missed in `cache`, all of whom wait or are about to.
fn until_missed(cache: &Cache<String>, misses: u64) {
    let began = Instant::now();
    while cache.stats().misses < misses {
        assert!(began.elapsed() < AT_LAST, "they never ask");
        thread::yield_now();
    }
}

#[test]
fn a_fresh_value_is_a_hit_and_a_stale_one_is_made_anew() {
    for shape in shapes() {
        let cache = shape.builder.stale_while_revalidate(MINUTE).build();
        // What it borrows need not be `'static`, nor be sent.
        let (name, made) = ("value".to_owned(), Rc::new(AtomicUsize::new(0)));
        let make = || {
            made.fetch_add(1, Ordering::SeqCst);
            name.clone()
        };
        assert_eq!(cache.get_or_insert_with("key", make), "value");
        assert_eq!(cache.get_or_insert_with("key", make), "value");
        assert_eq!((made.load(Ordering::SeqCst), cache.stats().hits), (1, 1), "{}", shape.name);
        shape.clock.advance(MINUTE);
        assert_eq!(cache.get_or_insert_with("key", make), "value");
        assert_eq!(made.load(Ordering::SeqCst), 2, "{}", shape.name);
    }
}

#[test]
fn threads_that_miss_one_key_at_once_make_it_once() {
    const THREADS: u64 = 8;
    for shape in shapes() {
        let (cache, made) = (shape.builder.build(), AtomicUsize::new(0));
        let make = || {
            until_missed(&cache, THREADS);
            made.fetch_add(1, Ordering::SeqCst);
            "value".to_owned()
        };
        thread::scope(|threads| {
            for _ in 0..THREADS {
                threads.spawn(|| assert_eq!(cache.get_or_insert_with("key", make), "value"));
            }
        });
        let stats = cache.stats();
        assert_eq!((made.into_inner(), stats.fetches), (1, 1), "{}", shape.name);
    }
}

#[test]
fn futures_follow_a_thread_and_threads_follow_a_future() {
    for shape in shapes() {
        let (cache, runtime) = (&shape.builder.build(), runtime());
        // Who has missed need not lead yet.
        let (leads, led) = mpsc::channel();
        thread::scope(|threads| {
            let leads = leads.clone();
            let make = move || {
                leads.send(()).unwrap();
                until_missed(cache, 2);
                "made".to_owned()
            };
            threads.spawn(move || assert_eq!(cache.get_or_insert_with("one", make), "made"));
            led.recv().unwrap();
            let follows = cache.get_or_fetch("one", async || "fetched".to_owned());
            assert_eq!(runtime.block_on(follows), "made", "{}", shape.name);
        });
        thread::scope(|threads| {
            let (reply, replied) = tokio::sync::oneshot::channel();
            let reader = cache.clone();
            threads.spawn(move || {
                let fetch = async move || {
                    leads.send(()).unwrap();
                    replied.await.unwrap()
                };
                runtime.block_on(reader.get_or_fetch::<String, _, _>("other", fetch));
            });
            led.recv().unwrap();
            threads.spawn(|| {
                let made = cache.get_or_insert_with("other", || "made".to_owned());
                assert_eq!(made, "fetched", "{}", shape.name);
            });
            until_missed(cache, 4);
            reply.send("fetched".to_owned()).unwrap();
        });
        assert_eq!(cache.stats().fetches, 2);
    }
}

#[test]
fn a_panic_is_its_own_threads_and_wakes_the_others_who_make_it() {
    for shape in shapes() {
        let cache = &shape.builder.build();
        let (leads, led) = mpsc::channel();
        thread::scope(|threads| {
            threads.spawn(move || {
                let make = || -> String {
                    leads.send(()).unwrap();
                    until_missed(cache, 3);
                    panic!("of this thread")
                };
                let made = catch_unwind(AssertUnwindSafe(|| cache.get_or_insert_with("key", make)));
                assert!(made.is_err());
            });
            led.recv().unwrap();
            for _ in 0..2 {
                threads.spawn(|| {
                    assert_eq!(cache.get_or_insert_with("key", || "value".to_owned()), "value");
                });
            }
        });
        assert_eq!(cache.stats().fetches, 2, "{}", shape.name);
    }
}

#[test]
fn an_error_is_everybodys_who_waited_and_what_is_stale_stands_in_for_it() {
    for shape in shapes() {
        let cache = shape.builder.stale_if_error(MINUTE).build();
        thread::scope(|threads| {
            for _ in 0..3 {
                threads.spawn(|| {
                    let failed = cache.try_get_or_insert_with("key", || {
                        until_missed(&cache, 3);
                        Err::<String, _>("down")
                    });
                    assert!(matches!(failed, Err(FetchError::Failed(error)) if *error == "down"));
                });
            }
        });
        let stats = cache.stats();
        // One that missed in time may still have come too late to follow.
        assert_eq!(stats.fetches + stats.collapsed, 3, "{}", shape.name);
        cache.insert("key", "old".to_owned());
        shape.clock.advance(MINUTE);
        let rescued = cache.try_get_or_insert_with("key", || Err::<String, _>("down"));
        assert_eq!(rescued.unwrap(), "old", "{}", shape.name);
    }
}

#[test]
fn a_value_that_needs_itself_panics_and_one_that_needs_another_does_not() {
    for shape in shapes() {
        let cache = shape.builder.max_concurrent_fetches(1).build();
        let nested = cache.get_or_insert_with("outer", || {
            cache.get_or_insert_with("inner", || "inner".to_owned()) + " in outer"
        });
        assert_eq!(nested, "inner in outer", "{}", shape.name);
        let own =
            || cache.get_or_insert_with("own", || cache.get_or_insert_with("own", String::new));
        assert!(catch_unwind(AssertUnwindSafe(own)).is_err(), "{}", shape.name);
        let own = cache.try_get_or_insert_with("own", || {
            match cache.try_get_or_insert_with("own", || Ok::<_, &str>(String::new())) {
                Err(FetchError::Recursive) => Ok("without itself".to_owned()),
                _ => Err("no"),
            }
        });
        assert_eq!(own.unwrap(), "without itself", "{}", shape.name);
    }
}

#[test]
fn two_threads_whose_values_need_each_other_both_end() {
    let cache = Cache::<String>::builder().build();
    let both = std::sync::Barrier::new(2);
    let make = |own: &'static str, other: &'static str| {
        let needed = catch_unwind(AssertUnwindSafe(|| {
            cache.get_or_insert_with(own, || {
                both.wait();
                cache.get_or_insert_with(other, || "made here".to_owned())
            })
        }));
        needed.is_ok()
    };
    let (one, other) = thread::scope(|threads| {
        let other = threads.spawn(|| make("b", "a"));
        (make("a", "b"), other.join().unwrap())
    });
    assert!(one || other, "one of the two is told, and the other makes what that would have made");
}

#[test]
fn what_a_purge_comes_over_is_not_stored() {
    type Purge = fn(&Cache<String>);
    let purges: [Purge; 3] = [
        |cache| _ = cache.remove("key"),
        |cache| _ = cache.clear(),
        |cache| cache.purge_tag("tag"),
    ];
    for purge in purges {
        for shape in shapes() {
            let cache = shape.builder.build();
            let made = cache.get_or_insert_with("key", || {
                purge(&cache);
                larder::Fetched::new("old".to_owned()).tags(["tag"])
            });
            assert_eq!((&*made, cache.get("key")), ("old", None), "{}", shape.name);
        }
    }
}

#[test]
fn a_thread_waits_for_no_turn() {
    for shape in shapes() {
        let (cache, runtime) = (shape.builder.max_concurrent_fetches(1).build(), runtime());
        let holds = cache.get_or_fetch("holds the turn", std::future::pending::<String>);
        let left =
            runtime.block_on(async { tokio::time::timeout(Duration::from_millis(1), holds).await });
        assert!(left.is_err());
        let _entered = runtime.enter();
        let made = cache.get_or_insert_with("key", || "value".to_owned());
        assert_eq!(made, "value", "{}", shape.name);
    }
}

/// A thread that drives a runtime and blocks it, while one of the runtime's tasks fetches what it waits for.
#[test]
fn a_thread_that_holds_up_the_fetch_it_waits_for_makes_the_value_itself() {
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        let cache = Cache::<String>::builder().build();
        runtime().block_on(async {
            let fetch = async || {
                tokio::time::sleep(Duration::from_millis(1)).await;
                "fetched".to_owned()
            };
            let mut reader = Box::pin(cache.get_or_fetch("key", fetch));
            assert!(reader.as_mut().now_or_never().is_none());
            let made = cache.get_or_insert_with("key", || "made".to_owned());
            assert_eq!((&*made, cache.stats().fetches_taken_over), ("made", 1));
            assert_eq!(reader.await, "fetched", "its own reader gets it");
            assert_eq!(cache.get("key").as_deref(), Some("made"), "what is newer stays");
        });
        done.send(()).unwrap();
    });
    is_done.recv_timeout(AT_LAST).expect("it ends, and as it should");
}

#[test]
fn a_task_that_has_used_up_its_budget_may_wait_like_a_thread() {
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        let cache = &Cache::<String>::builder().build();
        let (leads, led) = mpsc::channel();
        thread::scope(|threads| {
            let make = move || {
                leads.send(()).unwrap();
                until_missed(cache, 2);
                thread::sleep(Duration::from_millis(20));
                "made".to_owned()
            };
            threads.spawn(move || cache.get_or_insert_with("key", make));
            led.recv().unwrap();
            runtime().block_on(async {
                while tokio::task::coop::consume_budget().now_or_never().is_some() {}
                assert_eq!(cache.get_or_insert_with("key", || "other".to_owned()), "made");
            });
        });
        done.send(()).unwrap();
    });
    is_done.recv_timeout(AT_LAST).expect("it ends");
}

#[test]
fn many_threads_and_few_keys_make_each_once() {
    const KEYS: usize = 16;
    for shape in shapes() {
        let (cache, made) = (Arc::new(shape.builder.build()), AtomicUsize::new(0));
        thread::scope(|threads| {
            for thread in 0..8 {
                let (cache, made) = (&cache, &made);
                threads.spawn(move || {
                    for nth in 0..KEYS {
                        let key = (nth * 7 + thread) % KEYS;
                        let value = cache.get_or_insert_with(format!("{key}"), || {
                            made.fetch_add(1, Ordering::SeqCst);
                            thread::yield_now();
                            key.to_string()
                        });
                        assert_eq!(value, key.to_string());
                    }
                });
            }
        });
        assert_eq!(made.into_inner(), KEYS, "{}", shape.name);
    }
}
