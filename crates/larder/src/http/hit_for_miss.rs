//! Hit for miss: whether readers of a key do well to wait for each other's answers, going by what those were
//! of late.

use std::time::Duration;

use larder_policy::{freshness::Lifetime, reason::Reason, response, settings::Policy};

use crate::{
    clock::Clock,
    entry::{Entry, Facts},
    purge::Fence,
    purge::judge::Judge,
    tier::memory::{Limits, Looker, MemoryTier, RemovalCause},
};

/// What is remembered of which keys' answers can be shared weighs this at most.
const MAX_BYTES: usize = 1 << 20;
/// How long it is remembered that answers to personal requests for a key are for all. Where that has
/// ceased to be so, it costs one wait, once.
const TOGETHER: Duration = Duration::from_secs(3600);
/// For so long after answers were not shared, the preconditions of their readers still go to the origin.
const WINDOW: Duration = Duration::from_secs(3600);

/// For how long it is remembered that answers are for one reader each, where one could not be shared for this reason.
/// What is stored, but stale at once, is not to be reused without asking (RFC 9111 §4).
pub(crate) fn memory_of_unshared(policy: &Policy, reason: Reason) -> Option<Duration> {
    let reason = match reason {
        Reason::Expired => Reason::NoFreshness,
        reason => reason,
    };
    response::hit_for_miss(policy, reason)
}

/// What answers turned out to be, by the name under which that is remembered: a key, mostly.
pub(crate) struct HitForMiss {
    memory: MemoryTier<Sharing>,
    clock: Clock,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    /// They were for one reader each, or not to be reused without asking: each goes alone.
    Apart,
    /// They are for all, although the requests looked personal.
    Together,
}

impl HitForMiss {
    pub(crate) fn new(clock: Clock) -> Self {
        HitForMiss { memory: MemoryTier::new(Limits::bytes(MAX_BYTES)), clock }
    }

    /// Whether answers of this name were of late for one reader each.
    pub(crate) fn is_apart(&self, name: &str, looker: Looker) -> bool {
        self.known(name, looker).is_some_and(|(sharing, _)| sharing == Sharing::Apart)
    }

    /// The same of the last hour: too long ago to let all readers ask one by one, but of those who have a
    /// copy the origin most likely only has to say that it is current.
    pub(crate) fn was_apart(&self, name: &str, looker: Looker) -> bool {
        let now = self.clock.now();
        let is_young =
            |entry: &Entry<Sharing>| entry.value == Sharing::Apart && now < entry.expires();
        self.memory.look(looker, name, is_young).unwrap_or(false)
    }

    /// Whether answers of this name were for all, although the requests looked personal.
    pub(crate) fn is_together(&self, name: &str, looker: Looker) -> bool {
        self.known(name, looker).is_some_and(|(sharing, _)| sharing == Sharing::Together)
    }

    /// Remembers for so long that they were for one reader each. Each such answer says it anew: readers
    /// who come again and again do not wait for each other in between.
    ///
    /// `fence`: where in the log of purges the fetch began that has shown it; `is_revoked`, whether one has come
    /// since. Answers whether that is news.
    pub(crate) fn remember_apart(
        &self,
        name: &str,
        memory: Duration,
        fence: Fence,
        is_revoked: impl FnOnce() -> bool,
    ) -> bool {
        let lifetime = Lifetime::fresh_for(memory).stale_if_error(WINDOW);
        self.remember(name, Sharing::Apart, lifetime, fence, is_revoked)
    }

    /// Remembers that they were for all. The same goes for `fence` and `is_revoked`.
    pub(crate) fn remember_together(
        &self,
        name: &str,
        fence: Fence,
        is_revoked: impl FnOnce() -> bool,
    ) {
        self.remember(name, Sharing::Together, Lifetime::fresh_for(TOGETHER), fence, is_revoked);
    }

    /// They were not for one reader each, after all.
    pub(crate) fn forget(&self, name: &str) {
        if self.was_apart(name, Looker::Reader) {
            let judge = Judge::of_untagged(self.clock.now());
            // It is nothing whose dropping could panic.
            self.memory.remove(name, &judge, RemovalCause::Purged).1.pass_over();
        }
    }

    /// What is remembered, and whether that was said or confirmed of late.
    fn known(&self, name: &str, looker: Looker) -> Option<(Sharing, bool)> {
        let now = self.clock.now();
        let known = |entry: &Entry<Sharing>| {
            entry.is_fresh(now).then(|| (entry.value, !entry.has_lived(0.5, now)))
        };
        self.memory.look(looker, name, known)?
    }

    fn remember(
        &self,
        name: &str,
        sharing: Sharing,
        lifetime: Lifetime,
        fence: Fence,
        is_revoked: impl FnOnce() -> bool,
    ) -> bool {
        if self.known(name, Looker::Reader) == Some((sharing, true)) {
            return false;
        }
        let now = self.clock.now();
        let (cost, tags) = (Duration::ZERO, Box::default());
        let entry = Entry::new(sharing, Facts { lifetime, fetched: now, cost, tags, fence });
        self.memory.put(name, entry, 0, &Judge::of_untagged(now), is_revoked);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    const MINUTE: Duration = Duration::from_secs(60);
    const READER: Looker = Looker::Reader;

    #[test]
    fn what_was_apart_is_so_for_a_while_and_was_so_for_an_hour() {
        let clock = ManualClock::new();
        let known = HitForMiss::new(clock.clock());
        assert!(!known.is_apart("key", READER) && !known.was_apart("key", READER));
        known.remember_apart("key", 2 * MINUTE, 0, || false);
        assert!(known.is_apart("key", READER) && !known.is_together("key", READER));
        clock.advance(3 * MINUTE);
        assert!(!known.is_apart("key", READER) && known.was_apart("key", READER));
        clock.advance(60 * MINUTE);
        assert!(!known.was_apart("key", READER));
    }

    #[test]
    fn what_has_turned_out_otherwise_is_forgotten_and_what_was_purged_is_not_remembered() {
        let known = HitForMiss::new(ManualClock::new().clock());
        known.remember_apart("key", MINUTE, 0, || true);
        assert!(!known.was_apart("key", READER));
        known.remember_apart("key", MINUTE, 0, || false);
        known.forget("key");
        assert!(!known.was_apart("key", READER));
        known.remember_together("key", 0, || false);
        known.forget("key");
        assert!(known.is_together("key", READER));
    }
}
