//! Rules from their text: what `check --explain` says of them is what the next request finds, and a gateway and an
//! application's layer make the same of them.

#![expect(clippy::unwrap_used, reason = "in a test, an unwrap that fails is the failed test")]

mod explained;
mod site;
mod told;
mod vectors;
