//! Queries: of which URIs answers to QUERY may be stored.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

use larder_policy::key::RequestKey;

/// Bits that tell of which URIs answers to QUERY may be stored.
const BITS: usize = 1 << 16;

/// A set bit: answers to QUERY for a URI with this hash may be stored. No bit is ever cleared; one
/// that is set for nothing costs a purge of a tag that nothing carries.
pub(crate) struct Queries {
    words: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Queries {
    pub(crate) fn new() -> Self {
        let words = (0..BITS / 64).map(|_| AtomicU64::new(0)).collect();
        Queries { words, hasher: RandomState::new() }
    }

    /// An answer to QUERY may be stored for this URI from now on. Said before the origin is asked, so
    /// whoever invalidates the URI either sees it, or does so before the origin answers.
    pub(crate) fn note(&self, uri: &RequestKey) {
        let (word, bit) = self.bit(uri);
        word.fetch_or(bit, Ordering::SeqCst);
    }

    pub(crate) fn may_be_stored(&self, uri: &RequestKey) -> bool {
        let (word, bit) = self.bit(uri);
        word.load(Ordering::SeqCst) & bit != 0
    }

    fn bit(&self, uri: &RequestKey) -> (&AtomicU64, u64) {
        let place = self.hasher.hash_one(uri.as_str()) as usize % BITS;
        (&self.words[place / 64], 1 << (place % 64))
    }
}
