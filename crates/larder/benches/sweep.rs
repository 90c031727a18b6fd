//! How long do readers and writers wait for what a large cache does by itself? A million entries and four: some
//! expire each second, half are purged by a tag at once, all are to go, the tables grow.
//!
//! Two measures. **By its own time**: the clock of the thread that does it, which others' programs do not
//! touch. A value's `Drop` runs between two holds of a lock, so from the last one of a lot to the first of the
//! next is the longest that a lock was held, or more: memory is given back in between, under no lock, and
//! glibc then tidies at times all that was freed before. (`GLIBC_TUNABLES=glibc.malloc.mxfast=0` leaves it
//! nothing to tidy, and only holds are left.) **By the clock on the wall**: how long reads and inserts took.
//! What others had of a busy machine's processors is in that, too. So each round measures the same cache on a
//! clock that stands still as well, which nobody sweeps; and of what took longer than a millisecond it
//! tells how much did so while its thread slept, as it does for a lock. The others lost their processor.
//!
//! `cargo bench -p larder --bench sweep`

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use larder::{Cache, Lifetime, ManualClock};

#[path = "support/cpu_clock.rs"]
mod cpu_clock;
use cpu_clock::cpu_time;

const SECONDS: u64 = 60;
const ROUNDS: usize = 4;
const MEASURED: Duration = Duration::from_secs(4);
/// Calls between two looks at how often the thread slept.
const STRETCH: u64 = 500;

fn main() {
    for entries in [1_000_000, 4_000_000] {
        println!("{entries} entries, by their own time");
        by_own_time(entries);
        rivals_by_own_time(entries);
        println!("{entries} entries, by the clock on the wall");
        by_wall_time(entries);
    }
}

/// A value that tells when it is dropped, to who asks.
#[derive(Clone)]
struct Timed(#[expect(dead_code, reason = "it is to have some size")] u64);

thread_local! {
    static HOLDS: RefCell<Option<Holds>> = const { RefCell::new(None) };
}

struct Holds {
    began: Instant,
    last: Duration,
    times: Histogram<u64>,
}

impl Drop for Timed {
    fn drop(&mut self) {
        HOLDS.with_borrow_mut(|holds| {
            if let Some(Holds { began, last, times }) = holds {
                let now = cpu_time(*began);
                let held = now.saturating_sub(*last).as_nanos() as u64;
                // Less is the way from one value to the next.
                if held >= 1000 {
                    times.saturating_record(held);
                }
                *last = cpu_time(*began);
            }
        });
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 2).expect("bounds as allowed")
}

fn by_own_time(entries: u64) {
    for what in ["expired", "purged", "mixed", "prefix", "cleared"] {
        let clock = ManualClock::new();
        let cache = Cache::<Timed>::builder_with_weigher(|_| 0)
            .max_bytes(4 << 30)
            .clock(clock.clock())
            .build();
        let mut inserts = histogram();
        for number in 0..entries {
            let ends = what == "expired" && number % 2 == 0 || what == "mixed" && number % 3 == 0;
            let lifetime = Lifetime::fresh_for(Duration::from_secs(if ends { 1 } else { 1000 }));
            let key = format!("{}/{number:08}", number % 2);
            let tags = (number % 2 == 1).then_some("odd");
            timed(&mut inserts, || cache.insert_with(key, Timed(number), lifetime, tags));
        }
        if what == "expired" {
            print("an insert as it grows", &inserts);
        }
        clock.advance(Duration::from_secs(2));
        if what == "purged" || what == "mixed" {
            cache.purge_tag("odd");
        }
        let (began, times) = (Instant::now(), histogram());
        let last = cpu_time(began);
        HOLDS.set(Some(Holds { began, last, times }));
        let gone = match what {
            "prefix" => cache.purge_prefix("1/"),
            "cleared" => cache.clear(),
            _ => cache.sweep(),
        };
        let holds = HOLDS.take().expect("it was just set");
        print(&format!("{what}: from drop to drop"), &holds.times);
        println!("    {gone} went, in {:?} of its own time", cpu_time(began) - last);
    }
    full_of_what_is_over(entries);
}

/// Inserts into a cache that is full of what is over, by a purge or by time.
fn full_of_what_is_over(entries: u64) {
    for purge in [true, false] {
        let clock = ManualClock::new();
        let cache = Cache::<Timed>::builder_with_weigher(|_| 0)
            .max_entries(entries as usize)
            .clock(clock.clock())
            .build();
        let lifetime = Lifetime::fresh_for(Duration::from_secs(10));
        for number in 0..entries {
            cache.insert_with(key(number), Timed(number), lifetime, Some("all"));
        }
        if purge {
            cache.purge_tag("all");
        } else {
            clock.advance(Duration::from_secs(20));
        }
        let mut inserts = histogram();
        for number in entries..entries + entries / 4 {
            timed(&mut inserts, || {
                cache.insert_with(key(number), Timed(number), lifetime, ["all"])
            });
        }
        let over = if purge { "purged" } else { "expired" };
        print(&format!("an insert where all is {over}"), &inserts);
    }
}

fn timed<R>(times: &mut Histogram<u64>, run: impl FnOnce() -> R) -> R {
    let began = Instant::now();
    let before = cpu_time(began);
    let result = run();
    times.saturating_record((cpu_time(began) - before).as_nanos() as u64);
    result
}

/// The rivals keep no such promise, and some have no such thing: what an insert takes while they grow, and
/// one call that lets half go.
fn rivals_by_own_time(entries: u64) {
    let moka = moka::sync::Cache::builder().support_invalidation_closures().build();
    let mut inserts = histogram();
    for number in 0..entries {
        timed(&mut inserts, || moka.insert(key(number), number));
    }
    print("moka: an insert", &inserts);
    let (mut upkeep, began) = (histogram(), Instant::now());
    moka.run_pending_tasks();
    moka.invalidate_entries_if(|_, number| number % 2 == 1).expect("closures are supported");
    while moka.entry_count() > entries / 2 && began.elapsed() < Duration::from_secs(20) {
        timed(&mut upkeep, || moka.run_pending_tasks());
    }
    print("moka: one upkeep, half are purged", &upkeep);
    drop(moka);
    let quick_cache = quick_cache::sync::Cache::new(2 * entries as usize);
    let mut inserts = histogram();
    for number in 0..entries {
        timed(&mut inserts, || quick_cache.insert(key(number), number));
    }
    print("quick_cache: an insert", &inserts);
    let mut purge = histogram();
    timed(&mut purge, || quick_cache.retain(|_, number| number % 2 == 0));
    print("quick_cache: `retain` of half", &purge);
}

fn print(what: &str, times: &Histogram<u64>) {
    let micros = |quantile| Duration::from_nanos(times.value_at_quantile(quantile));
    println!(
        "  {what:36} 50 %: {:9.1?}  99.9 %: {:9.1?}  longest: {:9.1?}  {} of {} above 1 ms",
        micros(0.5),
        micros(0.999),
        micros(1.0),
        times.len() - times.count_between(0, 1_000_000),
        times.len(),
    );
}

fn by_wall_time(entries: u64) {
    let builder = || Cache::<u64>::builder().max_bytes(4 << 30);
    let unswept = builder().clock(ManualClock::new().clock()).build();
    fill(&unswept, entries);
    let names = ["not swept", "not swept, half purged", "some expire", "half purged"];
    let mut measures = names.map(Measure::new);
    for _ in 0..ROUNDS {
        measures[0].take(&unswept, entries);
        unswept.purge_tag("odd");
        measures[1].take(&unswept, entries);
        let swept = builder().build();
        fill(&swept, entries);
        measures[2].take(&swept, entries);
        swept.purge_tag("odd");
        measures[3].take(&swept, entries);
    }
    measures.iter().for_each(Measure::print);
}

fn key(number: u64) -> String {
    format!("https://example.org/{number:08}")
}

fn insert(cache: &Cache<u64>, number: u64) {
    let lifetime = Lifetime::fresh_for(Duration::from_secs(1 + number * 7919 % SECONDS));
    let tags = (number % 2 == 1).then_some("odd");
    cache.insert_with(key(number), number, lifetime, tags);
}

fn fill(cache: &Cache<u64>, entries: u64) {
    (0..entries).for_each(|number| insert(cache, number));
}

/// What the rounds of one kind come to.
struct Measure {
    name: &'static str,
    reads: Waits,
    inserts: Waits,
    ran: Duration,
    /// How often the sweeping thread was interrupted, and how often it rested.
    sweeper: Switches,
}

struct Waits {
    times: Histogram<u64>,
    /// How many took longer than a millisecond while the thread slept.
    asleep: u64,
}

impl Measure {
    fn new(name: &'static str) -> Self {
        let waits = || Waits { times: histogram(), asleep: 0 };
        let (ran, sweeper) = (Duration::ZERO, Switches::default());
        Measure { name, reads: waits(), inserts: waits(), ran, sweeper }
    }

    fn take(&mut self, cache: &Cache<u64>, entries: u64) {
        let keys: Arc<[String]> = (0..10_000).map(|number| key(number * 7919 % entries)).collect();
        let (began, sweeper) = (Instant::now(), Switches::of("larder-sweeper"));
        let ran = cpu_time(began);
        let mut number = 0_u64;
        while began.elapsed() < MEASURED {
            self.reads.stretch(STRETCH, || {
                number = number.wrapping_add(1);
                std::hint::black_box(cache.get(&keys[(number % 10_000) as usize]));
            });
            self.inserts.stretch(STRETCH / 20, || {
                number = number.wrapping_add(1);
                insert(cache, number * 104_729 % entries);
            });
        }
        self.ran += cpu_time(began) - ran;
        self.sweeper.add_since(sweeper, Switches::of("larder-sweeper"));
    }

    fn print(&self) {
        for (what, Waits { times, asleep }) in
            [("a read", &self.reads), ("an insert", &self.inserts)]
        {
            print(&format!("{}: {what}", self.name), times);
            println!("    of those above 1 ms, {asleep} took so long asleep");
        }
        let Switches { interrupted, slept } = self.sweeper;
        println!(
            "    the thread ran {:.1?}; the sweeper rested {slept} times and was interrupted {interrupted} times",
            self.ran
        );
    }
}

impl Waits {
    fn stretch(&mut self, calls: u64, mut call: impl FnMut()) {
        let before = Switches::of_this_thread();
        let mut above = 0;
        for _ in 0..calls {
            let at = Instant::now();
            call();
            let took = at.elapsed();
            self.times.saturating_record(took.as_nanos() as u64);
            above += u64::from(took > Duration::from_millis(1));
        }
        if above > 0 && Switches::of_this_thread().slept > before.slept {
            self.asleep += above;
        }
    }
}

/// How often others took the processor from a thread, and how often it gave it up to wait.
#[derive(Clone, Copy, Default)]
struct Switches {
    interrupted: u64,
    slept: u64,
}

impl Switches {
    fn of_this_thread() -> Self {
        Switches::told_in("/proc/thread-self/status".as_ref())
    }

    /// None, if there is no such thread.
    fn of(thread: &str) -> Self {
        let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        let is_called = |path: &PathBuf| {
            std::fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == thread)
        };
        let found = threads.map(|thread| thread.path()).find(is_called);
        found.map(|path| Switches::told_in(&path.join("status"))).unwrap_or_default()
    }

    fn told_in(status: &Path) -> Self {
        let status = std::fs::read_to_string(status).unwrap_or_default();
        let count = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.trim().parse().ok()).unwrap_or(0)
        };
        Switches {
            interrupted: count("nonvoluntary_ctxt_switches:"),
            slept: count("voluntary_ctxt_switches:"),
        }
    }

    fn add_since(&mut self, before: Switches, now: Switches) {
        self.interrupted += now.interrupted.saturating_sub(before.interrupted);
        self.slept += now.slept.saturating_sub(before.slept);
    }
}
