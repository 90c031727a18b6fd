//! Judge: from when on an entry is of no use to anybody, purges by tag considered.

use crate::{
    clock::Moment,
    entry::Entry,
    tag::{Fence, Standing, TagTable},
};

/// What is over at one moment. The memory tier asks under its locks, so a judgement waits for nothing but
/// the table of tags.
#[derive(Clone, Copy)]
pub(crate) struct Judge<'a> {
    now: Moment,
    /// The last purge that every judgement knows of.
    newest: Fence,
    tags: Option<&'a TagTable>,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(now: Moment, tags: &'a TagTable) -> Self {
        Judge { now, newest: tags.fence(), tags: Some(tags) }
    }

    /// For entries that no purge by tag concerns.
    pub(crate) const fn of_untagged(now: Moment) -> Self {
        Judge { now, newest: 0, tags: None }
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
        let Some(tags) = self.tags else { return entry.expires() };
        match tags.standing(entry.tags(), entry.fence()) {
            Standing::Untouched => {
                entry.outlived(self.newest);
                entry.expires()
            }
            Standing::MarkedStale(marked) => entry.expires_marked_stale(marked),
            Standing::Purged => Moment::FIRST,
        }
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
