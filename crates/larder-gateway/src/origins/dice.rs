//! Dice: a number by chance, so that what many gateways do is not done by all of them at once.

use std::hash::{BuildHasher, Hasher, RandomState};

/// From 0 to 1.
pub(crate) fn dice() -> f64 {
    // Each has keys of its own.
    let bits = RandomState::new().build_hasher().finish();
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}
