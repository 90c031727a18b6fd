//! Storm: readers that come and go at any poll, fetches within fetches over two caches, panics in fetches and
//! in `Drop`s, blocked threads, purges; all at random, on every kind of runtime. When it is over, nothing
//! is left of it: no flight, no turn, no need, no task, no room that is booked for nothing.

use std::{
    fmt,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use tokio::{
    runtime::{Builder as Runtimes, Runtime},
    task::{LocalSet, yield_now},
    time::{sleep, timeout},
};

use super::{Cache, Library, Previous};
use crate::{entry::Fetched, needs};

/// How long the next reader may take, or what goes on without one. A storm that hangs is over then, on a busy
/// machine, too.
const AT_MOST: Duration = Duration::from_secs(120);
const BLOCKED: Duration = Duration::from_millis(50);
const TURNS: [usize; 2] = [8, 4];

type Asking = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The same numbers for the same seed.
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        // SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ mixed >> 31) % sides
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }

    fn another(&mut self) -> Dice {
        Dice(self.roll(u64::MAX))
    }
}

/// Without a word on the standard error.
fn panic_quietly() -> ! {
    resume_unwind(Box::new("storm"))
}

/// A value, an error, or what a fetch holds meanwhile. Some panic when they are dropped.
struct Thing {
    alive: Arc<AtomicUsize>,
    is_bomb: bool,
}

impl Thing {
    fn new(alive: &Arc<AtomicUsize>, dice: &mut Dice) -> Thing {
        alive.fetch_add(1, Ordering::SeqCst);
        Thing { alive: Arc::clone(alive), is_bomb: dice.one_in(50) }
    }
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a thing")
    }
}

impl Drop for Thing {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
        if self.is_bomb && !thread::panicking() {
            panic_quietly();
        }
    }
}

#[derive(Clone)]
struct World {
    caches: [Cache<Arc<Thing>>; 2],
    alive: Arc<AtomicUsize>,
    keys: u64,
    /// One fetch in so many blocks its thread.
    blocks: u64,
}

impl World {
    fn new(keys: u64, blocks: u64) -> World {
        let cache = |turns, hard_timeout| {
            let builder = Cache::builder_with_weigher(|_: &Arc<Thing>| 1000)
                .max_bytes(200_000)
                .max_concurrent_fetches(turns)
                .ttl(Duration::from_millis(5))
                .stale_while_revalidate(Duration::from_millis(20))
                .stale_if_error(Duration::from_millis(20))
                .negative_ttl(Duration::from_millis(2));
            match hard_timeout {
                Some(limit) => builder.hard_timeout(limit).build(),
                None => builder.build(),
            }
        };
        let caches = [cache(TURNS[0], None), cache(TURNS[1], Some(Duration::from_millis(20)))];
        World { caches, alive: Arc::default(), keys, blocks }
    }

    /// Asks for some key, in some way, and leaves at some poll or never.
    fn ask(&self, depth: u64, mut dice: Dice) -> Asking {
        let world = self.clone();
        Box::pin(async move {
            let cache = &world.caches[dice.roll(2) as usize];
            let key = format!("{}", dice.roll(world.keys));
            let (inner, its_dice) = (world.clone(), dice.another());
            let held = Thing::new(&world.alive, &mut dice);
            let fetch = move || async move {
                let fetched = inner.fetch(depth, its_dice).await;
                // Not at the end of the block: what it is to result in would be leaked if this panics
                // (rust-lang/rust#47949).
                drop(held);
                fetched
            };
            let others = [(); 3].map(|()| dice.roll(world.keys).to_string());
            let (alive, mut values_dice) = (Arc::clone(&world.alive), dice.another());
            let mut asking: Asking = match dice.roll(8) {
                // Within another fetch it panics where it would need itself, and says so.
                0 if depth == 0 => {
                    let fetch =
                        move || async move { fetch().await.unwrap_or_else(|_| panic_quietly()) };
                    let cache = cache.clone();
                    Box::pin(async move { drop(cache.get_or_fetch(key, fetch).await) })
                }
                1 => {
                    let cache = cache.clone();
                    Box::pin(async move { drop(cache.answer(key, fetch).await) })
                }
                2 => {
                    let cache = cache.clone();
                    Box::pin(async move { drop(cache.refresh(key, fetch).await) })
                }
                3 => {
                    let cache = cache.clone();
                    let fetch = move |previous: Option<Previous<Arc<Thing>>>| async move {
                        let fetched = fetch().await?;
                        let Some(previous) = previous else { return Ok(fetched) };
                        drop(fetched);
                        Ok::<_, Thing>(previous.not_modified())
                    };
                    let read = async move {
                        let read = cache.read(key).max_age(Duration::from_millis(2));
                        drop(read.fetch_with(fetch).await)
                    };
                    Box::pin(read)
                }
                4 | 5 => {
                    let cache = cache.clone();
                    let fetch = move |missing: Vec<Arc<str>>| async move {
                        drop(fetch().await?);
                        let found = missing.into_iter().map(move |key| {
                            let value = Arc::new(Thing::new(&alive, &mut values_dice));
                            (key, Fetched::new(value).tags(["tag 1"]))
                        });
                        Ok::<_, Thing>(found.skip(usize::from(depth == 0)))
                    };
                    let keys = others.into_iter().chain([key]);
                    Box::pin(async move {
                        let found = cache.try_get_many_or_fetch(keys, fetch).await;
                        // A map leaks what is left of it when one of its values panics.
                        drop(found.map(|found| found.into_iter().collect::<Vec<_>>()));
                    })
                }
                _ => {
                    let cache = cache.clone();
                    Box::pin(async move { drop(cache.try_get_or_fetch(key, fetch).await) })
                }
            };
            let mut polls = if dice.one_in(2) { u64::MAX } else { dice.roll(8) };
            poll_fn(|context| {
                if polls == 0 {
                    return Poll::Ready(());
                }
                polls -= 1;
                asking.as_mut().poll(context)
            })
            .await;
        })
    }

    /// What an origin may come to.
    async fn fetch(self, depth: u64, mut dice: Dice) -> Result<Fetched<Arc<Thing>>, Thing> {
        if dice.one_in(self.blocks) {
            thread::sleep(BLOCKED);
        }
        for _ in 0..dice.roll(4) {
            match dice.roll(3) {
                0 => sleep(Duration::from_millis(dice.roll(4))).await,
                1 => yield_now().await,
                _ if depth < 4 => self.ask(depth + 1, dice.another()).await,
                _ => {}
            }
        }
        match dice.roll(20) {
            0 => panic_quietly(),
            1 => Err(Thing::new(&self.alive, &mut dice)),
            _ => {
                let value = Arc::new(Thing::new(&self.alive, &mut dice));
                Ok(Fetched::new(value).tags([format!("tag {}", dice.roll(10))]))
            }
        }
    }

    /// A thread asks for some keys, one after the other, and may panic in between.
    fn ask_as_thread(&self, mut dice: Dice) {
        for _ in 0..200 {
            let cache = &self.caches[dice.roll(2) as usize];
            let key = dice.roll(self.keys).to_string();
            let (inner, its_dice) = (self.clone(), dice.another());
            let ask = || {
                let make = || inner.make(0, its_dice);
                drop(cache.try_get_or_insert_with(key, make));
            };
            let _panicked = catch_unwind(AssertUnwindSafe(ask));
        }
    }

    /// What a thread makes, which may need another value.
    fn make(&self, depth: u64, mut dice: Dice) -> Result<Fetched<Arc<Thing>>, Thing> {
        if depth < 3 && dice.one_in(4) {
            let cache = &self.caches[dice.roll(2) as usize];
            let (key, its_dice) = (dice.roll(self.keys).to_string(), dice.another());
            drop(cache.try_get_or_insert_with(key, || self.make(depth + 1, its_dice)));
        }
        match dice.roll(20) {
            0 => panic_quietly(),
            1 => Err(Thing::new(&self.alive, &mut dice)),
            _ => Ok(Fetched::new(Arc::new(Thing::new(&self.alive, &mut dice)))),
        }
    }

    /// Something else that happens to a cache.
    fn disturb(&self, mut dice: Dice) {
        let cache = &self.caches[dice.roll(2) as usize];
        let key = format!("{}", dice.roll(self.keys));
        let disturb = || match dice.roll(9) {
            0 => cache.purge_tag(&format!("tag {}", dice.roll(10))),
            1 => cache.soft_purge_tag(&format!("tag {}", dice.roll(10))),
            2 => drop(cache.purge_prefix(&key[..1])),
            3 => drop(cache.soft_purge_prefix(&key[..1])),
            4 => drop(cache.clear()),
            5 => drop(cache.sweep()),
            6 => drop(cache.resize(100_000 + dice.roll(200_000) as usize)),
            7 => drop(cache.remove(key)),
            _ => drop(cache.insert(key, Arc::new(Thing::new(&self.alive, &mut dice)))),
        };
        // A `Drop` that panics is told to who caused it.
        let _panicked = catch_unwind(AssertUnwindSafe(disturb));
    }
}

/// How the readers of a storm run.
#[derive(Clone, Copy)]
enum Tasks {
    Shared,
    Local,
}

fn blow(runtime: &Runtime, tasks: Tasks, readers: usize, world: World, seed: u64) {
    let mut dice = Dice(seed);
    let threads = [(); 2].map(|()| {
        let (world, dice) = (world.clone(), dice.another());
        thread::spawn(move || world.ask_as_thread(dice))
    });
    let all = async {
        let mut handles = Vec::new();
        for number in 0..readers {
            let (world, mut dice) = (world.clone(), dice.another());
            let reader = async move {
                if dice.one_in(20) {
                    world.disturb(dice.another());
                }
                world.ask(0, dice).await;
            };
            handles.push(match tasks {
                Tasks::Shared => tokio::spawn(reader),
                Tasks::Local => tokio::task::spawn_local(reader),
            });
            if number % 64 == 0 {
                yield_now().await;
            }
        }
        for handle in handles {
            // It may have been given a panic.
            _ = timeout(AT_MOST, handle).await.expect("somebody waits for ever");
        }
        let began = Instant::now();
        for thread in threads {
            while !thread.is_finished() {
                assert!(began.elapsed() < AT_MOST, "a thread waits for ever");
                sleep(Duration::from_millis(1)).await;
            }
            thread.join().expect("it catches what panics");
        }
        for cache in &world.caches {
            assert!(cache.shut_down(AT_MOST).await, "fetches that never end");
        }
    };
    match tasks {
        Tasks::Shared => runtime.block_on(all),
        Tasks::Local => LocalSet::new().block_on(runtime, all),
    }
    for (cache, turns) in world.caches.iter().zip(TURNS) {
        let stats = cache.stats();
        let Library { engine, flights, negatives, .. } = &*cache.library;
        flights.assert_idle(turns);
        needs::assert_none_of(flights.turns());
        engine.validate();
        negatives.validate();
        _ = catch_unwind(AssertUnwindSafe(|| cache.clear()));
        engine.validate();
        let left = cache.stats();
        assert_eq!((left.entries, left.bytes), (0, 0));
        assert!(stats.fetches > 0 && stats.fetch_failures > 0 && stats.collapsed > 0);
    }
    let World { caches, alive, .. } = world;
    drop(caches);
    let is_over = || {
        let things = alive.load(Ordering::SeqCst);
        (things, runtime.metrics().num_alive_tasks())
    };
    let began = Instant::now();
    while is_over() != (0, 0) {
        assert!(began.elapsed() < Duration::from_secs(20), "{:?} are left", is_over());
        runtime.block_on(async { sleep(Duration::from_millis(1)).await });
    }
}

fn storm(readers: usize, keys: u64, blocks: u64, seeds: std::ops::Range<u64>) {
    let single = || Runtimes::new_current_thread().enable_all().build().expect("a runtime");
    let several = || {
        let mut several = Runtimes::new_multi_thread();
        several.worker_threads(2).enable_all().build().expect("a runtime")
    };
    for seed in seeds {
        let world = || World::new(keys, blocks);
        blow(&single(), Tasks::Shared, readers, world(), seed);
        blow(&single(), Tasks::Local, readers, world(), seed);
        blow(&several(), Tasks::Shared, readers, world(), seed);
    }
}

#[test]
fn nothing_is_left_of_a_storm() {
    storm(2000, 400, 500, 0..1);
}

#[test]
#[ignore = "takes some minutes"]
fn nothing_is_left_of_a_long_storm() {
    storm(40_000, 20_000, 2000, 0..1);
}
