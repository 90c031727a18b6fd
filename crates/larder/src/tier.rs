//! Tiers: the places entries live in. Memory, and what may lie below it.

pub mod lower;
pub(crate) mod memory;
#[cfg(feature = "redis")]
pub mod redis;
