//! Re-entry: what users' code may do while the cache runs it, which is anything but never end.
//!
//! Each doing of a `Drop` meets each way to make a value go. Whatever waits for a lock that it holds itself
//! waits for ever, so each case has a thread of its own and some seconds.

use std::{
    cell::Cell,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use larder::{Cache, Eviction, Lifetime, ManualClock};

use crate::support::{MINUTE, secs, settle};

type Doing = fn(&Cache<Value>);
type Go = fn(&Case);

/// A value that does something when it is dropped, or told of, and its cache is still there.
#[derive(Clone)]
struct Value(Arc<OnDrop>);

struct OnDrop {
    /// `None`: nothing.
    does: Option<(Doing, Handle)>,
    /// It does so when its removal is told of, and not when it is dropped.
    in_hook: bool,
    dropped: Arc<AtomicUsize>,
}

/// A clone of the cache would keep itself alive in it.
type Handle = Weak<Mutex<Option<Cache<Value>>>>;

thread_local! {
    /// What a `Drop` makes go has a `Drop` that does the same: so deep, and no deeper.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

impl Drop for OnDrop {
    fn drop(&mut self) {
        if !self.in_hook {
            self.act();
        }
    }
}

impl OnDrop {
    fn act(&self) {
        self.dropped.fetch_add(1, Ordering::SeqCst);
        let Some((does, cache)) = &self.does else { return };
        let Some(cache) = cache.upgrade() else { return };
        let Some(cache) = cache.lock().ok().and_then(|cache| cache.clone()) else { return };
        DEPTH.set(DEPTH.get() + 1);
        assert!(DEPTH.get() < 200, "one drops the next, which drops the next");
        does(&cache);
        DEPTH.set(DEPTH.get() - 1);
    }
}

struct Case {
    cache: Cache<Value>,
    clock: ManualClock,
    /// What the values know the cache by.
    handle: Arc<Mutex<Option<Cache<Value>>>>,
    /// How many values have done what they do.
    dropped: Arc<AtomicUsize>,
    in_hook: bool,
}

impl Case {
    fn new(eviction: Eviction, max_entries: usize) -> Case {
        Case::with(eviction, max_entries, false)
    }

    fn with(eviction: Eviction, max_entries: usize, in_hook: bool) -> Case {
        let clock = ManualClock::new();
        let hook = move |_: &str, value: &Value, _| {
            if in_hook {
                value.0.act();
            }
        };
        let cache = Cache::builder_with_weigher(|_: &Value| 0)
            .on_removed(hook)
            .ttl(MINUTE)
            .negative_ttl(MINUTE)
            .eviction(eviction)
            .max_entries(max_entries)
            .clock(clock.clock())
            .build();
        let handle = Arc::new(Mutex::new(Some(cache.clone())));
        Case { cache, clock, handle, dropped: Arc::default(), in_hook }
    }

    fn value(&self, does: Doing) -> Value {
        let does = Some((does, Arc::downgrade(&self.handle)));
        let in_hook = self.in_hook;
        Value(Arc::new(OnDrop { does, in_hook, dropped: Arc::clone(&self.dropped) }))
    }

    fn insert(&self, key: &str, does: Doing) {
        let lifetime = Lifetime::fresh_for(MINUTE);
        self.cache.insert_with(key, self.value(does), lifetime, ["tag"]);
    }
}

fn quiet() -> Value {
    Value(Arc::new(OnDrop { does: None, in_hook: false, dropped: Arc::default() }))
}

const DOINGS: [(&str, Doing); 17] = [
    ("get", |cache| _ = cache.get("key 0")),
    ("entry", |cache| _ = cache.entry("key 0")),
    ("insert", |cache| _ = cache.insert("another", quiet())),
    ("insert over", |cache| _ = cache.insert("key 0", quiet())),
    ("insert over others", |cache| {
        (0..9).for_each(|n| _ = cache.insert(format!("key {n}"), quiet()))
    }),
    ("remove", |cache| _ = cache.remove("key 0")),
    ("remove all", |cache| (0..9).for_each(|n| _ = cache.remove(format!("key {n}")))),
    ("soft_remove", |cache| _ = cache.soft_remove("key 0")),
    ("clear", |cache| _ = cache.clear()),
    ("soft_clear", Cache::soft_clear),
    ("purge_tag", |cache| cache.purge_tag("tag")),
    ("purge_prefix", |cache| _ = cache.purge_prefix("key")),
    ("soft_purge_prefix", |cache| _ = cache.soft_purge_prefix("key")),
    ("sweep", |cache| _ = cache.sweep()),
    ("stats", |cache| _ = cache.stats()),
    ("resize", |cache| _ = cache.resize(1 << 20)),
    ("resize to nothing", |cache| _ = cache.resize(0)),
];

/// Every way to make values go, of which `key 0` to `key 8` are there.
const WAYS: [(&str, Go); 12] = [
    ("remove", |case| _ = case.cache.remove("key 0")),
    ("clear", |case| _ = case.cache.clear()),
    ("purge_prefix", |case| _ = case.cache.purge_prefix("key")),
    ("sweep", |case| {
        case.clock.advance(MINUTE);
        case.cache.sweep();
    }),
    ("sweep after a purge", |case| {
        case.cache.purge_tag("tag");
        case.cache.sweep();
    }),
    ("resize", |case| _ = case.cache.resize(0)),
    ("insert over it", |case| _ = case.cache.insert("key 0", quiet())),
    ("insert over it, which is too large", |case| {
        case.cache.resize(10);
        case.cache.insert("key 0", quiet());
    }),
    ("insert for no time", |case| {
        case.cache.insert_with_ttl("key 0", quiet(), Duration::ZERO);
    }),
    ("evict", |case| (0..20).for_each(|n| _ = case.cache.insert(format!("new {n}"), quiet()))),
    ("evict what is over", |case| {
        case.cache.purge_tag("tag");
        (0..20).for_each(|n| _ = case.cache.insert(format!("new {n}"), quiet()));
    }),
    ("refuse what is inserted", |case| {
        case.cache.resize(10);
        case.insert("refused", DOINGS[0].1);
    }),
];

/// Runs `what` in a thread of its own, which must end.
fn in_time(name: &str, what: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        what();
        _ = done.send(());
    });
    let thread = thread.unwrap();
    match ended.recv_timeout(secs(20)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{name}: it waits for itself"),
        _ => thread.join().unwrap(),
    }
}

#[test]
fn a_drop_may_do_anything_to_its_cache_however_it_comes_to_it() {
    may_do_anything(false);
}

#[test]
fn a_hook_may_do_anything_to_its_cache_however_a_value_comes_to_it() {
    may_do_anything(true);
}

fn may_do_anything(in_hook: bool) {
    for eviction in [Eviction::S3Fifo, Eviction::Lru] {
        for (way, go) in WAYS {
            for (doing, does) in DOINGS {
                // All in one shard, which is full; and about one entry a shard.
                for max_entries in [9, 100_000] {
                    let name = format!("{doing} in {way}, {eviction:?}, {max_entries}");
                    in_time(&name, move || {
                        let case = Case::with(eviction, max_entries, in_hook);
                        (0..9).for_each(|number| case.insert(&format!("key {number}"), does));
                        go(&case);
                        let evicts = way.starts_with("evict") && max_entries > 9;
                        let untold = in_hook && way.starts_with("refuse");
                        assert!(case.dropped.load(Ordering::SeqCst) > 0 || evicts || untold);
                        // The books are right: all goes, and all the room is there.
                        case.handle.lock().unwrap().take();
                        case.cache.resize(1 << 20);
                        case.cache.clear();
                        let stats = case.cache.stats();
                        assert_eq!((stats.entries, stats.bytes), (0, 0));
                        (0..9)
                            .for_each(|number| _ = case.cache.insert(format!("{number}"), quiet()));
                        assert_eq!(case.cache.stats().entries, 9);
                    });
                }
            }
        }
    }
}

#[test]
fn many_drops_or_hooks_that_sweep_and_purge_do_not_pile_up() {
    let doings: [(&str, Doing); 4] = [
        ("sweep", |cache| _ = cache.sweep()),
        ("purge_prefix", |cache| _ = cache.purge_prefix("")),
        ("clear", |cache| _ = cache.clear()),
        ("insert", |cache| _ = cache.insert("another", quiet())),
    ];
    for (doing, does) in doings {
        let ways: [(&str, Go); 4] = [WAYS[1], WAYS[2], WAYS[3], WAYS[5]];
        for ((way, go), in_hook) in ways.into_iter().flat_map(|way| [(way, false), (way, true)]) {
            in_time(&format!("{doing} in {way}"), move || {
                let case = Case::with(Eviction::S3Fifo, 20_000, in_hook);
                (0..20_000).for_each(|number| case.insert(&format!("key {number}"), does));
                go(&case);
                assert!(case.dropped.load(Ordering::SeqCst) >= 20_000);
            });
        }
    }
}

#[test]
fn what_a_drop_inserts_makes_nothing_else_go() {
    let case = Case::new(Eviction::S3Fifo, 3);
    (0..3).for_each(|number| _ = case.cache.insert(format!("key {number}"), quiet()));
    case.insert("key 0", |cache| _ = cache.insert("unwanted", quiet()));
    case.cache.insert("key 0", quiet());
    assert_eq!(case.cache.stats().entries, 3);
    assert!(case.cache.get("unwanted").is_none(), "there is no room for it");
    assert!((0..3).all(|number| case.cache.get(format!("key {number}")).is_some()));
}

#[test]
fn a_drop_that_stores_its_value_anew_keeps_nobody_from_storing() {
    for max_entries in [1, 3] {
        in_time("anew", move || {
            let case = Case::new(Eviction::S3Fifo, max_entries);
            let anew: Doing =
                |cache| _ = cache.insert(format!("{}", cache.stats().evictions), quiet());
            (0..max_entries).for_each(|number| case.insert(&format!("key {number}"), anew));
            for number in 0..10 {
                case.insert(&format!("new {number}"), anew);
                assert!(case.cache.get(format!("new {number}")).is_some());
            }
        });
    }
}

#[test]
fn a_drop_that_takes_its_time_keeps_nobody_from_storing() {
    /// Waits in its `Drop` until the other end is gone.
    struct Slow(Option<mpsc::Receiver<()>>);
    impl Drop for Slow {
        fn drop(&mut self) {
            self.0.take().map(|other_end| other_end.recv());
        }
    }
    in_time("slow", || {
        let cache = Cache::builder_with_weigher(|_: &Arc<Mutex<Slow>>| 0).max_entries(1).build();
        let (other_end, waits) = mpsc::channel::<()>();
        cache.insert("slow", Arc::new(Mutex::new(Slow(Some(waits)))));
        thread::scope(|scope| {
            let removed = scope.spawn(|| cache.remove("slow"));
            while cache.stats().entries > 0 {
                thread::yield_now();
            }
            cache.insert("key", Arc::new(Mutex::new(Slow(None))));
            assert!(cache.get("key").is_some());
            cache.clear();
            cache.resize(0);
            drop(other_end);
            assert!(removed.join().unwrap());
        });
    });
}

#[test]
fn a_clock_that_does_not_answer_one_thread_keeps_no_other_waiting() {
    in_time("the clock", || {
        let (other_end, waits) = mpsc::channel::<()>();
        let waits = Mutex::new(Some(waits));
        let stops = Arc::new(AtomicUsize::new(0));
        let stopped = Arc::clone(&stops);
        let clock = larder::Clock::other(move || {
            let waits = waits.lock().unwrap().take_if(|_| stopped.load(Ordering::SeqCst) == 1);
            if let Some(waits) = waits {
                stopped.store(2, Ordering::SeqCst);
                _ = waits.recv();
            }
            Duration::ZERO
        });
        let cache = Cache::<u32>::builder().clock(clock).build();
        cache.insert("key", 1);
        thread::scope(|scope| {
            stops.store(1, Ordering::SeqCst);
            scope.spawn(|| cache.get("key"));
            while stops.load(Ordering::SeqCst) != 2 {
                thread::yield_now();
            }
            assert_eq!(cache.get("key"), Some(1));
            drop(other_end);
        });
    });
}

#[test]
fn a_weigher_may_do_anything_to_its_cache() {
    for (doing, _) in DOINGS {
        in_time(doing, move || {
            let handle: Arc<Mutex<Option<Cache<u32>>>> = Arc::default();
            let own = Arc::clone(&handle);
            let cache = Cache::builder_with_weigher(move |value: &u32| {
                let cache = own.lock().unwrap().take();
                if let Some(cache) = &cache {
                    cache.get("key");
                    cache.insert("other", 7);
                    cache.remove("key");
                    cache.clear();
                    cache.purge_prefix("k");
                    cache.sweep();
                    cache.resize(1 << 20);
                }
                *value as usize
            })
            .build();
            cache.insert("key", 0);
            *handle.lock().unwrap() = Some(cache.clone());
            cache.insert("key", 1);
            assert_eq!(cache.get("key"), Some(1));
        });
    }
}

/// An error that does something when it is dropped.
#[expect(dead_code, reason = "it is there to be dropped")]
struct Failure(Value);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("down")
    }
}

#[test]
fn an_error_that_is_remembered_may_do_so_too() {
    let ways: [(&str, Go); 9] = [
        ("remove", |case| _ = case.cache.remove("failed")),
        ("soft_remove", |case| _ = case.cache.soft_remove("failed")),
        ("insert", |case| _ = case.cache.insert("failed", quiet())),
        ("clear", |case| _ = case.cache.clear()),
        ("soft_clear", |case| case.cache.soft_clear()),
        ("purge_tag", |case| case.cache.purge_tag("tag")),
        ("purge_prefix", |case| _ = case.cache.purge_prefix("fail")),
        ("sweep", |case| {
            case.clock.advance(MINUTE);
            case.cache.sweep();
        }),
        ("resize", |case| _ = case.cache.resize(0)),
    ];
    for (way, go) in ways {
        for (doing, does) in DOINGS {
            in_time(&format!("{doing} in {way}"), move || {
                let case = Case::new(Eviction::S3Fifo, 100);
                let error = Failure(case.value(does));
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let failed = runtime.block_on(async {
                    let fetch = async move || Err::<Value, _>(error);
                    case.cache.try_get_or_fetch("failed", fetch).await
                });
                drop(failed);
                assert_eq!(case.dropped.load(Ordering::SeqCst), 0, "it is remembered");
                go(&case);
                assert_eq!(case.dropped.load(Ordering::SeqCst), 1, "{way}");
            });
        }
    }
}

#[test]
fn what_a_fetch_brings_and_holds_may_do_so_too() {
    for (doing, does) in DOINGS {
        in_time(doing, move || {
            let case = Case::new(Eviction::S3Fifo, 2);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                // The last of what a fetch that ends, one that is not needed, and one that fails hold.
                for number in 0..5 {
                    let (value, held) = (case.value(does), case.value(does));
                    let fetch = async move || {
                        drop(held);
                        value
                    };
                    case.cache.get_or_fetch(format!("key {}", number % 3), fetch).await;
                }
                let held = Failure(case.value(does));
                let fetch = async move || Err::<Value, _>(held);
                let failed = case.cache.try_get_or_fetch("failed", fetch).await;
                assert!(failed.is_err_and(|error| error.to_string() != error.to_string() + " "));
            });
            assert!(case.dropped.load(Ordering::SeqCst) >= 3);
        });
    }
}

#[test]
fn a_refresh_that_is_not_run_may_do_so_too() {
    // More than may wait, and one that runs.
    const KEYS: usize = 1040;
    for (doing, does) in DOINGS.into_iter().step_by(4) {
        in_time(doing, move || {
            let clock = ManualClock::new();
            let cache = Cache::builder_with_weigher(|_: &Value| 0)
                .ttl(MINUTE)
                .stale_while_revalidate(MINUTE)
                .max_concurrent_refreshes(1)
                .clock(clock.clock())
                .build();
            let handle = Arc::new(Mutex::new(Some(cache.clone())));
            let case = Case { cache, clock, handle, dropped: Arc::default(), in_hook: false };
            let key = |number: usize| format!("stale {number}");
            (0..KEYS).for_each(|number| _ = case.cache.insert(key(number), quiet()));
            case.clock.advance(MINUTE);
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                // Each twice: the second is not needed, and later ones push earlier ones out.
                for number in (0..KEYS).flat_map(|number| [number, number]) {
                    let held = case.value(does);
                    let fetch = async move || {
                        let _held = held;
                        std::future::pending::<Value>().await
                    };
                    // What the `Drop` of an earlier one has made go is asked for in vain.
                    let asked = case.cache.get_or_fetch(key(number), fetch);
                    _ = tokio::time::timeout(Duration::ZERO, asked).await;
                }
                case.cache.shut_down(Duration::ZERO).await;
            });
            drop(runtime);
            assert!(case.dropped.load(Ordering::SeqCst) >= 1);
        });
    }
}

// Panics.

/// A value whose `Drop` panics while it is armed.
struct Bomb {
    is_armed: bool,
    dropped: Arc<AtomicUsize>,
}

impl Drop for Bomb {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::SeqCst);
        assert!(!self.is_armed, "a bomb");
    }
}

fn is_bomb(panic: &(dyn std::any::Any + Send)) -> bool {
    panic.downcast_ref::<&str>().is_some_and(|message| *message == "a bomb")
}

struct Bombs {
    cache: Cache<Arc<Bomb>>,
    clock: ManualClock,
    dropped: Arc<AtomicUsize>,
}

impl Bombs {
    fn new(eviction: Eviction, max_entries: usize) -> Bombs {
        let clock = ManualClock::new();
        let cache = Cache::builder_with_weigher(|_: &Arc<Bomb>| 16)
            .ttl(MINUTE)
            .eviction(eviction)
            .max_entries(max_entries)
            .clock(clock.clock())
            .build();
        Bombs { cache, clock, dropped: Arc::default() }
    }

    fn value(&self, is_armed: bool) -> Arc<Bomb> {
        Arc::new(Bomb { is_armed, dropped: Arc::clone(&self.dropped) })
    }

    /// `max` entries, some of them bombs.
    fn filled(eviction: Eviction, max: usize, is_bomb: fn(usize) -> bool) -> Bombs {
        let bombs = Bombs::new(eviction, max);
        for number in 0..max {
            let value = bombs.value(is_bomb(number));
            let lifetime = Lifetime::fresh_for(MINUTE);
            bombs.cache.insert_with(format!("key {number}"), value, lifetime, ["tag"]);
        }
        bombs
    }
}

#[test]
fn a_drop_that_panics_costs_no_room_and_spares_no_other() {
    type Go = fn(&Bombs);
    // Each makes all of a hundred entries go.
    let ways: [(&str, Go, bool); 7] = [
        ("clear", |bombs| _ = bombs.cache.clear(), true),
        ("purge_prefix", |bombs| _ = bombs.cache.purge_prefix("key"), true),
        (
            "sweep",
            |bombs| {
                bombs.clock.advance(MINUTE);
                bombs.cache.sweep();
            },
            true,
        ),
        (
            "sweep after a purge",
            |bombs| {
                bombs.cache.purge_tag("tag");
                bombs.cache.sweep();
            },
            true,
        ),
        ("resize", |bombs| _ = bombs.cache.resize(0), true),
        (
            "insert over",
            |bombs| {
                for number in 0..100 {
                    bombs.cache.insert(format!("key {number}"), bombs.value(false));
                }
            },
            false,
        ),
        (
            "evict",
            |bombs| {
                for number in 0..200 {
                    bombs.cache.insert(format!("new {number}"), bombs.value(false));
                }
            },
            false,
        ),
    ];
    for eviction in [Eviction::S3Fifo, Eviction::Lru] {
        for (way, go, is_told) in ways {
            for is_bomb_at in [|number| number == 50, |number| number % 10 == 3, |_| true] {
                let bombs = Bombs::filled(eviction, 100, is_bomb_at);
                let ended = catch_unwind(AssertUnwindSafe(|| go(&bombs)));
                let panic = ended.err();
                assert_eq!(panic.is_some(), is_told, "{way}, {eviction:?}");
                assert!(panic.is_none_or(|panic| is_bomb(&*panic)), "{way}");
                assert!(bombs.dropped.load(Ordering::SeqCst) >= 100, "{way}, {eviction:?}");
                bombs.cache.resize(64 << 20);
                // Of those that had to go for others, a few are still there.
                let rest = catch_unwind(AssertUnwindSafe(|| bombs.cache.clear()));
                assert!(rest.is_ok() || way == "evict", "{way}, {eviction:?}");
                let stats = bombs.cache.stats();
                assert_eq!((stats.entries, stats.bytes), (0, 0), "{way}, {eviction:?}");
                for number in 0..100 {
                    bombs.cache.insert(format!("{number}"), bombs.value(false));
                }
                assert_eq!(bombs.cache.stats().entries, 100, "{way}, {eviction:?}");
            }
        }
    }
}

#[test]
fn after_ten_panics_ten_places_are_still_ten() {
    for remove in [true, false] {
        let bombs = Bombs::new(Eviction::S3Fifo, 10);
        for number in 0..10 {
            bombs.cache.insert(format!("key {number}"), bombs.value(true));
            let gone = catch_unwind(AssertUnwindSafe(|| match remove {
                true => bombs.cache.remove(format!("key {number}")),
                false => bombs.cache.clear() > 0,
            }));
            assert!(gone.is_err());
        }
        for number in 0..10 {
            bombs.cache.insert(format!("key {number}"), bombs.value(false));
        }
        assert!((0..10).all(|number| bombs.cache.get(format!("key {number}")).is_some()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_has_its_value_though_what_had_to_go_for_it_panics() {
    let bombs = Bombs::filled(Eviction::S3Fifo, 4, |_| true);
    for number in 0..8 {
        let value = bombs.value(false);
        let got = bombs.cache.get_or_fetch(format!("new {number}"), async || value).await;
        assert!(!got.is_armed);
        assert!(bombs.cache.get(format!("new {number}")).is_some());
    }
    assert!(bombs.dropped.load(Ordering::SeqCst) >= 4);
    _ = catch_unwind(AssertUnwindSafe(|| bombs.cache.clear()));
}

#[test]
fn a_panic_whose_message_panics_too_does_not_end_the_process() {
    struct Message;
    impl Drop for Message {
        fn drop(&mut self) {
            assert!(std::thread::panicking(), "the message");
        }
    }
    struct Worse;
    impl Drop for Worse {
        fn drop(&mut self) {
            std::panic::panic_any(Message);
        }
    }
    let cache = Cache::builder_with_weigher(|_: &Arc<Worse>| 16).build();
    for number in 0..10 {
        cache.insert(format!("key {number}"), Arc::new(Worse));
    }
    let panic = catch_unwind(AssertUnwindSafe(|| cache.clear())).unwrap_err();
    assert!(panic.is::<Message>());
    std::mem::forget(panic);
    assert_eq!((cache.stats().entries, cache.stats().bytes), (0, 0));
}

#[test]
fn a_weigher_or_a_clone_that_panics_leaves_the_books_right() {
    struct Fragile(Arc<std::sync::atomic::AtomicBool>);
    impl Clone for Fragile {
        fn clone(&self) -> Self {
            assert!(!self.0.load(Ordering::SeqCst), "no clone");
            Fragile(Arc::clone(&self.0))
        }
    }
    for eviction in [Eviction::S3Fifo, Eviction::Lru] {
        let breaks = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let weighs = Arc::clone(&breaks);
        let cache = Cache::builder_with_weigher(move |_: &Fragile| {
            assert!(!weighs.load(Ordering::SeqCst), "no weight");
            0
        })
        .eviction(eviction)
        .max_entries(3)
        .build();
        cache.insert("key", Fragile(Arc::clone(&breaks)));
        let before = cache.stats();
        breaks.store(true, Ordering::SeqCst);
        for _ in 0..10 {
            assert!(catch_unwind(AssertUnwindSafe(|| cache.get("key"))).is_err());
            assert!(catch_unwind(AssertUnwindSafe(|| cache.entry("key"))).is_err());
            let insert = || _ = cache.insert("other", Fragile(Arc::clone(&breaks)));
            assert!(catch_unwind(AssertUnwindSafe(insert)).is_err());
        }
        breaks.store(false, Ordering::SeqCst);
        let after = cache.stats();
        assert_eq!((after.entries, after.bytes), (before.entries, before.bytes), "{eviction:?}");
        assert!(cache.get("key").is_some());
        (0..3).for_each(|number| {
            cache.insert(format!("key {number}"), Fragile(Arc::clone(&breaks)));
        });
        assert_eq!(cache.stats().entries, 3, "{eviction:?}");
    }
}

#[test]
fn a_clone_may_read_other_caches() {
    struct Reader(Cache<u32>);
    impl Clone for Reader {
        fn clone(&self) -> Self {
            self.0.get("key");
            Reader(self.0.clone())
        }
    }
    let other = Cache::<u32>::builder().build();
    other.insert("key", 1);
    for eviction in [Eviction::S3Fifo, Eviction::Lru] {
        let cache = Cache::builder_with_weigher(|_: &Reader| 0).eviction(eviction).build();
        cache.insert("key", Reader(other.clone()));
        assert!(cache.get("key").is_some());
    }
    assert_eq!(other.stats().hits, 2);
}

#[test]
fn an_insert_clones_nothing() {
    struct Unique;
    impl Clone for Unique {
        fn clone(&self) -> Self {
            panic!("nobody asked for a second one")
        }
    }
    let cache = Cache::builder_with_weigher(|_: &Unique| 0).build();
    cache.insert("key", Unique);
    assert!(cache.remove("key"));
}

/// What a fetch holds that panics when it is dropped, run or not.
struct Unneeded;

impl Drop for Unneeded {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::panic::resume_unwind(Box::new("bomb"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_is_not_needed_and_panics_when_it_is_dropped_leaks_no_value() {
    let value: Arc<str> = "value".into();
    let clock = ManualClock::new();
    let cache = Cache::<Arc<str>>::builder()
        .ttl(MINUTE)
        .stale_if_error(MINUTE)
        .negative_ttl(MINUTE)
        .clock(clock.clock())
        .build();
    let ask = |kind: usize| {
        let (cache, bomb) = (cache.clone(), Unneeded);
        tokio::spawn(async move {
            let fetch = move || async move {
                let _bomb = bomb;
                Arc::<str>::from("not needed")
            };
            match kind {
                0 => drop(cache.get_or_fetch("key", fetch).await),
                1 => drop(
                    cache.try_get_or_fetch("key", || async { Ok::<_, &str>(fetch().await) }).await,
                ),
                _ => drop(cache.answer("key", || async { Ok::<_, &str>(fetch().await) }).await),
            }
        })
    };
    // Shared with another's fetch, fresh, and in place of a failure that is remembered.
    let (brought, (open, opened)) = (Arc::clone(&value), tokio::sync::oneshot::channel::<()>());
    let leader = tokio::spawn({
        let cache = cache.clone();
        async move {
            let fetch = async move || {
                opened.await.unwrap();
                brought
            };
            drop(cache.get_or_fetch("key", fetch).await);
        }
    });
    settle().await;
    let followers: Vec<_> = (0..3).map(ask).collect();
    settle().await;
    open.send(()).unwrap();
    leader.await.unwrap();
    for follower in followers {
        assert!(follower.await.unwrap_err().is_panic());
    }
    for kind in 0..3 {
        assert!(ask(kind).await.unwrap_err().is_panic());
    }
    clock.advance(MINUTE);
    let failing = cache.try_get_or_fetch("key", async || Err::<Arc<str>, _>("down"));
    assert_eq!(failing.await.ok().as_deref(), Some("value"));
    for kind in 0..3 {
        assert!(ask(kind).await.unwrap_err().is_panic());
    }
    settle().await;
    cache.clear();
    assert_eq!(Arc::strong_count(&value), 1, "somebody still holds it");
}
