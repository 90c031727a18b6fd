//! Tiers: the places entries live in. Memory is the only one so far.

pub(crate) mod memory;
