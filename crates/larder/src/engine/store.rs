//! Store: what was fetched gets its times and tags, and goes into the tier.

use std::time::Duration;

use larder_policy::{freshness::Lifetime, reason::Reason};

use super::Engine;
use crate::{
    answer::Storage,
    entry::{Entry, Facts},
    purge::{Fence, last::PurgeState},
    tier::memory::PutOutcome,
};

/// An entry with more tags than this is not stored.
pub(crate) const MAX_TAGS_OF_ENTRY: usize = 256;

/// A value that a fetch has brought.
pub(crate) struct Unstored<V> {
    /// In a box, for on its way into the cache it is moved a dozen times, and may be large.
    pub(crate) value: Box<V>,
    pub(crate) lifetime: Lifetime,
    pub(crate) tags: Vec<String>,
    /// Why it is not to be stored, whatever else is said of it.
    pub(crate) refusal: Option<Reason>,
}

/// The same on its way into the cache.
pub(crate) struct Dated<V> {
    pub(crate) value: Box<V>,
    pub(crate) facts: Facts,
    /// Why it does not get there.
    refusal: Option<Reason>,
}

impl<V> Dated<V> {
    /// What another process has fetched.
    pub(crate) fn found(value: Box<V>, facts: Facts) -> Self {
        Dated { value, facts, refusal: None }
    }

    /// Whether anything may keep it.
    pub(crate) fn is_to_be_stored(&self) -> bool {
        self.refusal.is_none()
    }
}

impl<V: Clone> Engine<V> {
    /// What was fetched, with the times and tags it will be stored with. `lifetime` and `tags` are what it
    /// is to be stored with; `refusal`, why it is not to be.
    pub(crate) fn dated(
        &self,
        key: &str,
        unstored: Unstored<V>,
        cost: Duration,
        fence: Fence,
    ) -> Dated<V> {
        let Unstored { value, lifetime, tags, mut refusal } = unstored;
        if lifetime.end().is_zero() {
            refusal = refusal.or(Some(Reason::NotStorable));
        }
        if tags.len() > MAX_TAGS_OF_ENTRY {
            refusal = Some(Reason::TooManyTags);
        }
        let ended = self.clock.now();
        let lifetime = if self.jitter > 0.0 {
            lifetime.shortened_by(self.jitter * self.memory.dice(key, ended))
        } else {
            lifetime
        };
        let tags = self.tag_ids(tags.iter().map(String::as_str));
        Dated { value, facts: Facts { lifetime, fetched: ended, cost, tags, fence }, refusal }
    }

    /// Stores a clone of the value, and counts.
    pub(crate) fn store(
        &self,
        key: &str,
        fetched: &Dated<V>,
        fenced: impl FnOnce() -> bool,
    ) -> Storage {
        let value = || V::clone(&fetched.value);
        self.store_value(key, value, &fetched.facts, fetched.refusal, fenced)
    }

    /// The same where nobody else needs the value: it is moved, and not cloned.
    pub(crate) fn store_whole(&self, key: &str, fetched: Dated<V>) -> Storage {
        self.store_whole_unless(key, fetched, || false)
    }

    /// The same, unless `fenced` says otherwise.
    pub(crate) fn store_whole_unless(
        &self,
        key: &str,
        fetched: Dated<V>,
        fenced: impl FnOnce() -> bool,
    ) -> Storage {
        let Dated { value, facts, refusal } = fetched;
        self.store_value(key, || *value, &facts, refusal, fenced)
    }

    fn store_value(
        &self,
        key: &str,
        value: impl FnOnce() -> V,
        facts: &Facts,
        refusal: Option<Reason>,
        fenced: impl FnOnce() -> bool,
    ) -> Storage {
        if let Some(reason) = refusal {
            return Storage::Not(reason);
        }
        let is_purged = || self.purges.state(&facts.tags, facts.fence) == PurgeState::Purged;
        let entry = Entry::new(value(), facts.clone());
        let heap_bytes = self.heap_bytes(&entry);
        let fenced = || fenced() || is_purged();
        match self.memory.put(key, entry, heap_bytes, &self.judge_now(), fenced) {
            PutOutcome::Yes { evicted, over } => {
                self.counters.evictions.add(evicted as u64);
                self.counters.expired.add(over as u64);
                Storage::FreshFor(facts.lifetime.ttl())
            }
            PutOutcome::TooLarge => {
                self.counters.too_large.increment();
                Storage::Not(Reason::TooLarge)
            }
            PutOutcome::NoRoom => {
                self.counters.no_room.increment();
                Storage::Not(Reason::NoRoom)
            }
            PutOutcome::Fenced => Storage::Not(Reason::Purged),
        }
    }

    /// Whether one entry may hold this much.
    #[cfg(feature = "http")]
    pub(crate) fn fits(&self, key: &str, fetched: &Dated<V>) -> bool {
        let entry = Entry::new(V::clone(&fetched.value), fetched.facts.clone());
        let heap_bytes = self.heap_bytes(&entry);
        fetched.refusal != Some(Reason::TooManyTags) && self.memory.fits(key, heap_bytes)
    }

    fn heap_bytes(&self, entry: &Entry<V>) -> usize {
        (self.weigher)(&entry.value).saturating_add(entry.own_heap_bytes())
    }
}
