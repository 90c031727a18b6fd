//! `larder serve` as a service: how it is started by a supervisor, told how to go on, and replaced by another.
//!
//! Each test has processes of its own, and ends those that others have started, by their numbers.

#![expect(clippy::unwrap_used, reason = "in a test, an unwrap that fails is the failed test")]

mod activation;
mod drain;
mod failing;
mod load;
mod notify;
mod reload;
mod site;
#[path = "../serve/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests of one process stand on the rest")]
mod support;
mod unit;
mod upgrade;
