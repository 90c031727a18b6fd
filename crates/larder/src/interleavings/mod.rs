//! Interleavings: what must hold however tasks take turns, tried out by shuttle.
//!
//! ```text
//! make test-interleavings
//! ```
//!
//! The parts are the real ones. Shuttle lets one task run at a time and picks the next at each lock,
//! atomic, send and await of [`sync`](crate::sync): here at random, and with few but well-placed
//! switches (PCT). It stops at a panic, and where nobody can go on any more: a wake-up was lost. Weaker
//! orderings than it runs everything with (sequentially consistent) are not tried out.

#![expect(clippy::unwrap_used, reason = "in a test, an unwrap that fails is the failed test")]

use shuttle::{
    Config, Runner,
    scheduler::{PctScheduler, RandomScheduler},
};

mod below;
mod caches;
mod changes;
mod flights;
mod tags;
mod turns;

/// How often a scenario runs under either scheduler. One that comes in many variants shares them.
const RUNS: usize = 600;
/// Where PCT switches, this many are well placed.
const SWITCHES: usize = 3;

/// A fetch's futures lie one in the other, and without optimisation each takes its place on the stack.
const STACK_BYTES: usize = 512 << 10;

fn in_many_orders(runs: usize, scenario: impl Fn() + Send + Sync + Copy + 'static) {
    let runs = runs * times();
    let config = || {
        let mut config = Config::new();
        config.stack_size = STACK_BYTES;
        config
    };
    Runner::new(RandomScheduler::new(runs), config()).run(scenario);
    Runner::new(PctScheduler::new(SWITCHES, runs), config()).run(scenario);
}

/// `INTERLEAVINGS_TIMES=20` tries out twenty times as many orders.
fn times() -> usize {
    match std::env::var("INTERLEAVINGS_TIMES") {
        Ok(times) => times.parse().expect("INTERLEAVINGS_TIMES is a whole number"),
        Err(_) => 1,
    }
}
