//! The cache against a model of it: random steps through the public API, beside a plain map with times
//! that says what each must come to.

#![expect(clippy::unwrap_used, reason = "in a test, an unwrap that fails is the failed test")]

mod model;
mod steps;
mod threads;
mod walk;
