//! Blocks: what is known of the ends of entries, for some slots at a time, so that whoever looks for what
//! is over need not look at all that is not.
//!
//! A block knows a moment before which none of its entries is over, and the last purge by tag that all of
//! them were judged by. Both are bounds: an entry that goes, or is replaced by one that lives longer,
//! leaves them as they are until its block is looked over.

use crate::{clock::Moment, entry::Entry, purge::Fence, purge::judge::Judge};

/// Slots in one block: few enough that looking them over is not noticed in an insert.
pub(super) const BLOCK: usize = 32;

#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    /// No entry is over before.
    end: Moment,
    /// Purges up to here are considered in that.
    judged: Fence,
}

impl Block {
    /// Without entries.
    pub(super) const EMPTY: Block = Block { end: Moment::MAX, judged: Fence::MAX };

    /// It is about to be looked over.
    pub(super) fn judged_by(judge: &Judge<'_>) -> Block {
        Block { end: Moment::MAX, judged: judge.newest() }
    }

    /// Whether something may be over.
    pub(super) fn is_due(&self, judge: &Judge<'_>) -> bool {
        self.end <= judge.now() || self.judged < judge.newest()
    }

    /// An entry ends at `end`, by all purges that the block was judged by.
    pub(super) fn note_end(&mut self, end: Moment) {
        self.end = self.end.min(end);
    }

    /// An entry is there that later purges than its own fence may have named.
    pub(super) fn note<V>(&mut self, entry: &Entry<V>) {
        self.note_end(entry.expires());
        self.judged = self.judged.min(entry.fence());
    }

    /// What holds for both.
    pub(super) fn and(self, other: Block) -> Block {
        Block { end: self.end.min(other.end), judged: self.judged.min(other.judged) }
    }
}

#[cfg(test)]
impl Block {
    /// Whether what it says of `entry` is true for whoever judges by `newest` purges or more.
    pub(super) fn knows<V>(&self, entry: &Entry<V>, judge: &Judge<'_>) -> bool {
        self.judged < judge.newest() || self.end <= judge.end(entry)
    }
}
