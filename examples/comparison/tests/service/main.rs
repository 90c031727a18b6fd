//! One set of behaviours, tried over HTTP on each of the three services while they run: which of them hold for which.
//!
//! A behaviour that a rival lacks is as much of a test as one that it has: should it come to hold, the README is wrong.

#![expect(clippy::unwrap_used, reason = "in a test, an unwrap that fails is the failed test")]

mod behaviours;
mod origin;
mod readme;
mod running;
