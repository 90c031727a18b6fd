//! Negative results: errors that are remembered for a while.

use std::{any::Any, sync::Arc, time::Duration};

use larder_policy::freshness::{Freshness, Lifetime};

use crate::{
    clock::Moment,
    entry::{Entry, Facts},
    judge::Judge,
    tag::Fence,
    tier::memory::{Burial, Limits, MemoryTier, Pace},
};

/// The fetch's own error. Readers of one key may use different error types; each takes it only if
/// it is theirs.
pub(crate) type AnyError = Arc<dyn Any + Send + Sync>;

/// Remembered errors may weigh this part of the cache's bound, which they count towards.
const SHARE: usize = 16;
/// So many of them there may be in a cache of however few entries.
const MIN_ERRORS: usize = 64;
/// Where errors go by their name, how many of them could still have been given out is nobody's question.
const NOTHING_IS_OVER: Judge<'static> = Judge::of_untagged(Moment::FIRST);

/// The errors of fetches that failed a moment ago. With a TTL of zero there is nothing to remember
/// them in.
pub(super) struct Negatives {
    ttl: Duration,
    memory: Option<MemoryTier<AnyError>>,
}

impl Negatives {
    /// Remembers each for `ttl`, in a share of the cache's `max_bytes` and `max_entries`.
    pub(super) fn new(ttl: Duration, max_bytes: usize, max_entries: Option<usize>) -> Self {
        let limits = Limits {
            max_entries: max_entries.map(|entries| (entries / SHARE).max(MIN_ERRORS)),
            ..Limits::bytes(max_bytes / SHARE)
        };
        let memory = (!ttl.is_zero()).then(|| MemoryTier::new(limits));
        Negatives { ttl, memory }
    }

    /// The error under `key`, if it is of the type that this reader knows.
    pub(super) fn recall<E: Send + Sync + 'static>(
        &self,
        key: &str,
        now: Moment,
    ) -> Option<Arc<E>> {
        let fresh = self.memory.as_ref()?.read(key, |entry| match entry.freshness(now) {
            Freshness::Fresh { .. } => Some(Arc::clone(&entry.value)),
            _ => None,
        });
        fresh??.downcast().ok()
    }

    /// Remembers an error of type `E`, unless it is `fenced` off, which is asked under the tier's
    /// lock.
    pub(super) fn remember<E>(
        &self,
        key: &str,
        error: &AnyError,
        now: Moment,
        fence: Fence,
        fenced: impl FnOnce() -> bool,
    ) {
        let Some(memory) = &self.memory else { return };
        let facts = Facts {
            lifetime: Lifetime::fresh_for(self.ttl),
            fetched: now,
            cost: Duration::ZERO,
            tags: Box::default(),
            fence,
        };
        // What an error owns beyond itself is not known; errors are small, and there are few.
        let heap_bytes = size_of::<E>();
        let entry = Entry::new(Arc::clone(error), facts);
        memory.put(key, entry, heap_bytes, &Judge::of_untagged(now), fenced);
    }

    pub(super) fn forget(&self, key: &str) -> Burial {
        self.memory
            .as_ref()
            .map(|memory| memory.remove(key, &NOTHING_IS_OVER).1)
            .unwrap_or_default()
    }

    pub(super) fn forget_where(&self, is_named: impl Fn(&str) -> bool) -> Burial {
        let memory = self.memory.as_ref();
        memory.map(|memory| memory.remove_where(is_named, &NOTHING_IS_OVER).1).unwrap_or_default()
    }

    pub(super) fn forget_all(&self) -> Burial {
        self.memory.as_ref().map(|memory| memory.clear(&NOTHING_IS_OVER).1).unwrap_or_default()
    }

    /// Forgets what is of no use any more; the burial tells how many errors that was.
    pub(super) fn sweep(&self, now: Moment, pace: Pace) -> Burial {
        let judge = Judge::of_untagged(now);
        self.memory.as_ref().map(|memory| memory.sweep(&judge, pace)).unwrap_or_default()
    }

    /// The share of a bound that is kept for them; nothing if none is remembered.
    pub(super) fn share_of(&self, max_bytes: usize) -> usize {
        self.memory.as_ref().map_or(0, |_| max_bytes / SHARE)
    }

    /// Changes their bound; the burial tells how many errors had to go.
    pub(super) fn resize(&self, max_bytes: usize) -> Burial {
        let memory = self.memory.as_ref();
        memory.map(|memory| memory.resize(max_bytes, &NOTHING_IS_OVER)).unwrap_or_default()
    }

    /// How many there are, and what they weigh.
    pub(super) fn size(&self) -> (usize, usize) {
        self.memory.as_ref().map_or((0, 0), MemoryTier::size)
    }

    /// What is kept for them now.
    pub(super) fn max_bytes(&self) -> usize {
        self.memory.as_ref().map_or(0, MemoryTier::max_bytes)
    }
}
