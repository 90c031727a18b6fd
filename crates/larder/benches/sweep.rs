//! How long do readers and writers wait for what a large cache does by itself? A million entries and four: some
//! expire each second, half are purged by a tag at once, all are to go, the tables grow.
//!
//! Two measures. **By its own time**: the clock of the thread that does it, which others' programs do not
//! touch. A value's `Drop` runs between two holds of a lock, so from the last one of a lot to the first of the
//! next is the longest that a lock was held, or a little more. **By the clock on the wall**: how long reads
//! and inserts took. What others had of a busy machine's processors is in that, too: compare with the same
//! cache on a clock that stands still, which nobody sweeps, and see how often the thread was interrupted.
//!
//! `cargo bench -p larder --bench sweep`

use std::{
    cell::RefCell,
    sync::Arc,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use larder::{Cache, Lifetime, ManualClock};

#[path = "support/cpu_clock.rs"]
mod cpu_clock;
use cpu_clock::cpu_time;

const SECONDS: u64 = 60;
const MEASURED: Duration = Duration::from_secs(5);

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
        // What is cleared gives its memory back under no lock, which is in these times, too.
        print(&format!("{what}: a hold"), &holds.times);
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
    let cache = builder().clock(ManualClock::new().clock()).build();
    fill(&cache, entries);
    measure("not swept", &cache, entries);
    cache.purge_tag("odd");
    measure("not swept, half are purged", &cache, entries);
    drop(cache);
    let cache = builder().build();
    fill(&cache, entries);
    measure("some expire", &cache, entries);
    cache.purge_tag("odd");
    measure("half are purged", &cache, entries);
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

fn measure(name: &str, cache: &Cache<u64>, entries: u64) {
    let (mut reads, mut inserts) = (histogram(), histogram());
    let keys: Arc<[String]> = (0..10_000).map(|number| key(number * 7919 % entries)).collect();
    let (began, interrupted) = (Instant::now(), interruptions());
    let ran = cpu_time(began);
    let mut number = 0_u64;
    while began.elapsed() < MEASURED {
        number = number.wrapping_add(1);
        let key = &keys[(number % 10_000) as usize];
        let at = Instant::now();
        std::hint::black_box(cache.get(key));
        reads.saturating_record(at.elapsed().as_nanos() as u64);
        if number.is_multiple_of(20) {
            let at = Instant::now();
            insert(cache, number * 104_729 % entries);
            inserts.saturating_record(at.elapsed().as_nanos() as u64);
        }
    }
    print(&format!("{name}: a read"), &reads);
    print(&format!("{name}: an insert"), &inserts);
    let (interrupted, waited) =
        (interruptions().0 - interrupted.0, interruptions().1 - interrupted.1);
    println!(
        "    it ran {:.1?} of {MEASURED:?}, was interrupted {interrupted} times, and waited {waited} times",
        cpu_time(began) - ran,
    );
}

/// How often others took the processor from this thread, and how often it gave it up to wait.
fn interruptions() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let count = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim().parse().ok()).unwrap_or(0)
    };
    (count("nonvoluntary_ctxt_switches:"), count("voluntary_ctxt_switches:"))
}
