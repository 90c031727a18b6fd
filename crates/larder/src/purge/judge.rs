//! Judge: from when on an entry is of no use to anybody, purges by tag considered.

use super::{Fence, last::PurgeState, log::PurgeLog};
use crate::{clock::Moment, entry::Entry};

/// What is over at one moment. The memory tier asks under its locks, so a judgement waits for nothing but
/// the table of tags.
#[derive(Clone, Copy)]
pub(crate) struct Judge<'a> {
    now: Moment,
    /// The last purge in the table that every judgement knows of.
    newest: Fence,
    purges: Option<&'a PurgeLog>,
    /// The number of the purge that asks, if one does.
    asks: Option<u64>,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(now: Moment, purges: &'a PurgeLog) -> Self {
        Judge { now, newest: purges.last_in_table(), purges: Some(purges), asks: None }
    }

    /// The same on behalf of the purge with this number, which takes entries out.
    pub(crate) fn for_purge(self, number: u64) -> Self {
        Judge { asks: Some(number), ..self }
    }

    /// For entries that no purge by tag concerns.
    pub(crate) const fn of_untagged(now: Moment) -> Self {
        Judge { now, newest: 0, purges: None, asks: None }
    }

    pub(crate) fn now(&self) -> Moment {
        self.now
    }

    pub(crate) fn newest(&self) -> Fence {
        self.newest
    }

    /// From here on `entry` is of no use; the clock's first moment if it was purged.
    pub(crate) fn end<V>(&self, entry: &Entry<V>) -> Moment {
        if entry.fence() >= self.newest {
            return entry.expires();
        }
        let Some(purges) = self.purges else { return entry.expires() };
        match purges.state(entry.tags(), entry.fence()) {
            PurgeState::Untouched => {
                entry.outlived(self.newest);
                entry.expires()
            }
            PurgeState::MarkedStale(marked) => entry.expires_marked_stale(marked),
            PurgeState::Purged => Moment::FIRST,
        }
    }

    /// The number of the purge that has ended `entry`: one by tag since it was fetched, or else the one that asks.
    pub(crate) fn purge_of<V>(&self, entry: &Entry<V>) -> Option<u64> {
        let by_tag = self.purges.and_then(|purges| purges.hard_purge(entry.tags(), entry.fence()));
        by_tag.or(self.asks)
    }

    /// Whether `entry` can no longer be served to anybody, not even if the origin fails.
    pub(crate) fn is_over<V>(&self, entry: &Entry<V>) -> bool {
        self.end(entry) <= self.now
    }

    /// What judging `entry` costs, in looks at the table of tags and one for itself.
    pub(crate) fn effort<V>(&self, entry: &Entry<V>) -> usize {
        if entry.fence() >= self.newest { 1 } else { 1 + entry.tags().len() }
    }
}
