//! Store: what was fetched gets its times and tags, and goes into the tier.

use std::time::Duration;

use larder_policy::{class::Class, freshness::Lifetime, reason::Reason};

use super::Engine;
use crate::{
    answer::Storage,
    entry::{Entry, Facts, KeptTags, Tags},
    purge::{Fence, last::PurgeState},
    tier::memory::{AsSeen, PutOutcome},
};

/// An entry with more tags than this is not stored.
pub(crate) const MAX_TAGS_OF_ENTRY: usize = 256;

/// A value that a fetch has brought.
pub(crate) struct Unstored<V> {
    /// In a box, for on its way into the cache it is moved a dozen times, and may be large.
    pub(crate) value: Box<V>,
    pub(crate) lifetime: Lifetime,
    pub(crate) tags: Tags,
    /// Why it is not to be stored, whatever else is said of it.
    pub(crate) refusal: Option<Reason>,
    /// Of which class it is, of those that are accounted for.
    pub(crate) class: Class,
}

/// The same on its way into the cache.
pub(crate) struct Dated<V> {
    pub(crate) value: Box<V>,
    pub(crate) facts: Facts,
    class: Class,
    /// Why it does not get there.
    refusal: Option<Reason>,
}

/// Something else came in between.
pub(crate) struct NotAsSeen;

impl<V> Dated<V> {
    /// What another process has fetched.
    pub(crate) fn found(value: Box<V>, facts: Facts) -> Self {
        Dated { value, facts, class: Class::NONE, refusal: None }
    }

    /// The same, of this class.
    #[cfg(feature = "http")]
    pub(crate) fn of_class(self, class: Class) -> Self {
        Dated { class, ..self }
    }

    /// Whether anything may keep it.
    pub(crate) fn is_to_be_stored(&self) -> bool {
        self.refusal.is_none()
    }

    /// Why nothing may keep it.
    pub(crate) fn refusal(&self) -> Option<Reason> {
        self.refusal
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
        let Unstored { value, lifetime, tags, mut refusal, class } = unstored;
        if lifetime.end().is_zero() {
            refusal = refusal.or(Some(Reason::NotStorable));
        }
        let ended = self.clock.now();
        let lifetime = if self.jitter > 0.0 {
            lifetime.shortened_by(self.jitter * self.memory.dice(key, ended))
        } else {
            lifetime
        };
        let Tags { named, kept } = tags;
        let mut tags = self.tag_ids(named.iter().map(String::as_str));
        if let Some(names) = self.tag_names.get() {
            tags.iter().zip(&named).for_each(|(tag, name)| names.note(*tag, name));
        }
        if let Some(KeptTags { ids, key }) = kept {
            if key != self.purges.tag_key() {
                // It comes from a cache that knows its tags by other numbers: no purge would find it here.
                refusal = Some(Reason::NotStorable);
            }
            tags = if tags.is_empty() { ids } else { [tags, ids].concat().into() };
        }
        if tags.len() > MAX_TAGS_OF_ENTRY {
            refusal = Some(Reason::TooManyTags);
        }
        let facts = Facts { lifetime, fetched: ended, cost, tags, fence };
        Dated { value, facts, class, refusal }
    }

    /// Stores a clone of the value, and counts.
    pub(crate) fn store(
        &self,
        key: &str,
        fetched: &Dated<V>,
        fenced: impl FnOnce() -> bool,
    ) -> Storage {
        let value = || V::clone(&fetched.value);
        let Dated { facts, class, refusal, .. } = fetched;
        self.store_value(key, value, (facts, *class), *refusal, fenced)
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
        let Dated { value, facts, class, refusal } = fetched;
        self.store_value(key, || *value, (&facts, class), refusal, fenced)
    }

    fn store_value(
        &self,
        key: &str,
        value: impl FnOnce() -> V,
        (facts, class): (&Facts, Class),
        refusal: Option<Reason>,
        fenced: impl FnOnce() -> bool,
    ) -> Storage {
        if let Some(reason) = refusal {
            return Storage::Not(reason);
        }
        let is_purged = || self.purges.state(&facts.tags, facts.fence) == PurgeState::Purged;
        let entry = self.entry_of(value(), facts.clone());
        let heap_bytes = self.heap_bytes(&entry);
        let fenced = || fenced() || is_purged();
        let judge = self.judge_now();
        let outcome = self.memory.put_as(class, key, entry, heap_bytes, &judge, fenced);
        self.stored(outcome, facts)
    }

    /// Stores the value in the place of what was `seen`, if that is still there.
    pub(super) fn store_over(
        &self,
        key: &str,
        dated: Dated<V>,
        seen: AsSeen<impl Fn(&Entry<V>) -> bool>,
        fenced: impl FnOnce() -> bool,
    ) -> Result<Storage, NotAsSeen> {
        let Dated { value, facts, .. } = dated;
        let is_purged = || self.purges.state(&facts.tags, facts.fence) == PurgeState::Purged;
        let entry = self.entry_of(*value, facts.clone());
        let heap_bytes = self.heap_bytes(&entry);
        let fenced = || fenced() || is_purged();
        match self.memory.put_if(key, entry, heap_bytes, &self.judge_now(), seen, fenced) {
            PutOutcome::Fenced => Err(NotAsSeen),
            outcome => Ok(self.stored(outcome, &facts)),
        }
    }

    /// Counts what became of what was to be stored.
    fn stored(&self, outcome: PutOutcome, facts: &Facts) -> Storage {
        match outcome {
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
        let entry = self.entry_of(V::clone(&fetched.value), fetched.facts.clone());
        let heap_bytes = self.heap_bytes(&entry);
        fetched.refusal != Some(Reason::TooManyTags)
            && self.memory.fits(key, heap_bytes, fetched.class)
    }

    #[inline(always)]
    fn entry_of(&self, value: V, facts: Facts) -> Entry<V> {
        let mut entry = Entry::new(value, facts);
        if let Some(time_to_idle) = self.time_to_idle {
            entry.end_when_idle(time_to_idle, self.clock.now());
        }
        entry
    }

    fn heap_bytes(&self, entry: &Entry<V>) -> usize {
        (self.weigher)(&entry.value).saturating_add(entry.own_heap_bytes())
    }
}
