//! The representation side of the policy, section by section of the standards.

#![expect(clippy::unwrap_used, reason = "a case that cannot be built is a failed test")]

mod cases;
mod forwarding;
mod freshening;
mod invalidation;
mod keys;
mod laws;
mod parts;
mod preconditions;
mod ranges;
mod short_cuts;
