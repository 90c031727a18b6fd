//! Freed: memory that a shard needs no more. It is given back once the shard's lock is free ([`Held`]): some
//! allocators then tidy all that was freed before, which takes milliseconds where that was much.
//!
//! [`Held`]: super::shards::Held

use larder_policy::class::Class;

use super::{blocks::Block, queue::Links, slots::Chunk};

/// `T`: what is in a slot; `S`: a shard.
pub(super) struct Freed<T, S> {
    pub(super) chunks: Vec<Vec<Chunk<T>>>,
    pub(super) links: Vec<Vec<Links>>,
    /// Hashes, cells of an index, and what ghosts remembered.
    pub(super) numbers: Vec<Vec<u32>>,
    pub(super) blocks: Vec<Vec<Block>>,
    pub(super) classes: Vec<Vec<Class>>,
    /// What a shard had that has got empty.
    pub(super) shards: Vec<S>,
}

// Derived code would ask for `T: Default`.
impl<T, S> Default for Freed<T, S> {
    fn default() -> Self {
        Freed {
            chunks: Vec::new(),
            links: Vec::new(),
            numbers: Vec::new(),
            blocks: Vec::new(),
            classes: Vec::new(),
            shards: Vec::new(),
        }
    }
}
