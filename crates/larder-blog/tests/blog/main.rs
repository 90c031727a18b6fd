//! The blog from outside: real `blog` processes, real databases, and origins that misbehave.
//!
//! Nothing here sleeps for luck: a test waits for a condition, or counts calls. Where a time is
//! asserted, it is compared with a delay that is long on purpose.

mod cache;
mod console;
mod contract;
mod cors;
mod crowd;
mod database;
mod failures;
mod outage;
mod rules;
mod shared;
mod stage;
mod start;
mod stop;
mod support;
