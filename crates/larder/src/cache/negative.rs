//! Negative results: failures that are remembered for a while.

use std::{
    any::Any,
    convert::Infallible,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use larder_policy::freshness::{Freshness, Lifetime};

use crate::{
    builder::{Builder, NegativeTtlFor},
    clock::Moment,
    entry::{Entry, Facts},
    error::FetchError,
    purge::Fence,
    purge::judge::Judge,
    tier::memory::{Burial, Limits, MemoryTier, Pace, RemovalCause},
};

/// A fetch's own error, of whatever type.
pub(super) trait AnyError: Any + fmt::Display + Send + Sync {}

impl<E: Any + fmt::Display + Send + Sync> AnyError for E {}

/// Why a fetch brought no value.
#[derive(Clone)]
pub(super) enum Failed {
    /// The fetch's own error. Readers of one key may use different error types; each takes it only if
    /// it is theirs.
    Error(Arc<dyn AnyError>),
    /// Longer than this.
    TookTooLong(Duration),
    Panicked,
}

impl Failed {
    /// The same to a reader that knows errors of type `E`. `None`: it is one of another type.
    pub(super) fn into_error<E: Send + Sync + 'static>(self) -> Option<FetchError<E>> {
        Some(match self {
            Failed::Error(error) => {
                let error: Arc<dyn Any + Send + Sync> = error;
                FetchError::Failed(error.downcast().ok()?)
            }
            Failed::TookTooLong(limit) => FetchError::Timeout { limit },
            Failed::Panicked => FetchError::Panicked,
        })
    }

    /// What an error owns beyond itself is not known; errors are small, and there are few.
    fn heap_bytes(&self) -> usize {
        match self {
            Failed::Error(error) => size_of_val(&**error),
            Failed::TookTooLong(_) | Failed::Panicked => 0,
        }
    }
}

/// What the error says, or as a reader is told.
impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = match self {
            Failed::Error(error) => return error.fmt(f),
            Failed::TookTooLong(limit) => FetchError::<Infallible>::Timeout { limit: *limit },
            Failed::Panicked => FetchError::Panicked,
        };
        own.fmt(f)
    }
}

/// Remembered errors may weigh this part of the cache's bound, which they count towards.
const SHARE: usize = 16;
/// At least this many errors may be remembered, however few entries the cache may have.
const MIN_ERRORS: usize = 64;
/// Where errors go by their name, how many of them could still have been given out is nobody's question.
const NOTHING_IS_OVER: Judge<'static> = Judge::of_untagged(Moment::FIRST);

/// How fetches failed a moment ago. Where none is ever to be remembered there is nothing to remember
/// them in.
pub(super) struct Negatives {
    ttl: Duration,
    /// In its place for errors of some types.
    ttls: Vec<NegativeTtlFor>,
    memory: Option<MemoryTier<Failed>>,
}

impl Negatives {
    /// Remembers each for as long as `builder` says, in a share of the cache's bounds.
    pub(super) fn new<V>(builder: &Builder<V>) -> Self {
        let limits = Limits {
            max_entries: builder.max_entries.map(|entries| (entries / SHARE).max(MIN_ERRORS)),
            ..Limits::bytes(builder.bound_bytes() / SHARE)
        };
        let (ttl, ttls) = (builder.negative_ttl, builder.negative_ttls.clone());
        let memory = (!ttl.is_zero() || !ttls.is_empty()).then(|| MemoryTier::new(limits));
        Negatives { ttl, ttls, memory }
    }

    /// How long this failure is to be remembered. Asks the user's code, so it is called under no lock.
    fn ttl_of(&self, failed: &Failed) -> Duration {
        let Failed::Error(error) = failed else { return self.ttl };
        let error: &dyn Any = &**error;
        let known = self.ttls.iter().find(|known| known.error == error.type_id());
        known.map_or(self.ttl, |NegativeTtlFor { ttl, .. }| {
            match catch_unwind(AssertUnwindSafe(|| ttl(error))) {
                Ok(said) => said.unwrap_or_default(),
                Err(_) => self.ttl,
            }
        })
    }

    /// How the last fetch of `key` failed, if that was a moment ago.
    pub(super) fn recall(&self, key: &str, now: Moment) -> Option<Failed> {
        let fresh = self.memory.as_ref()?.read(key, |entry| match entry.freshness(now) {
            Freshness::Fresh { .. } => Some(entry.value.clone()),
            _ => None,
        });
        fresh?
    }

    /// For how long the failure of the last fetch of `key` is still remembered, and marks nothing as used.
    pub(super) fn knows(&self, key: &str, now: Moment) -> Option<Duration> {
        self.memory.as_ref()?.peek(key, |entry| match entry.freshness(now) {
            Freshness::Fresh { left } => Some(left),
            _ => None,
        })?
    }

    /// Remembers a failure, unless it is `fenced` off, which is asked under the tier's lock.
    pub(super) fn remember(
        &self,
        key: &str,
        failed: &Failed,
        now: Moment,
        fence: Fence,
        fenced: impl FnOnce() -> bool,
    ) {
        let Some(memory) = &self.memory else { return };
        let ttl = self.ttl_of(failed);
        if ttl.is_zero() {
            return;
        }
        let facts = Facts {
            lifetime: Lifetime::fresh_for(ttl),
            fetched: now,
            cost: Duration::ZERO,
            tags: Box::default(),
            fence,
        };
        let entry = Entry::new(failed.clone(), facts);
        memory.put(key, entry, failed.heap_bytes(), &Judge::of_untagged(now), fenced);
    }

    pub(super) fn forget(&self, key: &str) -> Burial {
        self.memory
            .as_ref()
            .map(|memory| memory.remove(key, &NOTHING_IS_OVER, RemovalCause::Purged).1)
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

#[cfg(all(test, not(shuttle)))]
impl Negatives {
    /// Checks every invariant.
    pub(super) fn validate(&self) {
        if let Some(memory) = &self.memory {
            memory.validate(&NOTHING_IS_OVER);
        }
    }
}
