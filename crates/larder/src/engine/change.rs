//! Change: what is done to a single key because of what is stored there; and what removes what a closure does not
//! want.
//!
//! What a *compute* makes of what is stored is stored only if nothing else has come in between:
//!
//! ```text
//! begin a flight ─ look ─── the caller's code ─── reach fetches ─ store, if all is as it was seen
//! ```
//!
//! - If another writer stores something, or what was seen is purged or no longer fresh, it is not as it was seen.
//! - If a purge or an insert names the key, it revokes the flight, also where nothing was stored.
//! - If a purge names a tag of what is to be stored, that is older than the purge by the flight's fence.
//! - A fetch that is under way may bring something older. It is revoked before the store, as by an insert. One that
//!   begins after that is as new.
//!
//! Those who compute spare each other's flights: if each revoked the other's, none might come to its end. Of two
//! the first to store wins, and the other finds something else than it has seen.

use std::{sync::Arc, time::Duration};

use larder_policy::freshness::Freshness;

use super::{
    Engine,
    flight::{Flights, Leader},
    purge::{Done, Named},
    store::{Dated, NotAsSeen},
};
use crate::{
    answer::Storage,
    entry::Entry,
    purge::Fence,
    tier::memory::{AsSeen, Burial, RemovalCause, Ticket},
};

/// What the flights of those who compute bring: nothing, for nobody joins them.
pub(crate) struct Nothing;

/// A look at a key, and what it found that is fresh.
pub(crate) struct Begun<V> {
    flight: Leader<Nothing>,
    seen: Option<(V, Ticket)>,
}

impl<V> Begun<V> {
    pub(crate) fn value(&self) -> Option<&V> {
        self.seen.as_ref().map(|(value, _)| value)
    }
}

impl<V: Clone> Engine<V> {
    /// The fresh value under `key`, counted and marked by nobody, with what tells whether it still is.
    pub(crate) fn begin_compute(
        &self,
        computes: &Arc<Flights<Nothing>>,
        key: &Arc<str>,
    ) -> Begun<V> {
        let flight = self.lead_uncounted(computes, key);
        let is_fresh = self.is_fresh_now();
        let seen = self
            .memory
            .look_and_remember(key, |entry| is_fresh(entry).then(|| entry.value.clone()));
        Begun { flight, seen }
    }

    /// Stores `dated` in the place of what was seen, with the promise of an insert.
    pub(crate) fn store_computed(
        &self,
        computes: &Arc<Flights<Nothing>>,
        begun: &Begun<V>,
        dated: impl FnOnce(Fence) -> Dated<V>,
    ) -> Result<Storage, NotAsSeen> {
        let key = begun.flight.key();
        let _until_stored = self.replace_below(key);
        self.reach_all_but(computes, Named::Keys(&[key])).pass_over();
        self.forget_backoff(key);
        let fenced = || begun.flight.is_revoked();
        let dated = dated(begun.flight.fence());
        if let Some(reason) = dated.refusal() {
            let (judge, cause) = (self.judge_now(), RemovalCause::Replaced);
            let removed = self.memory.remove_if(key, &judge, cause, self.seen(begun), fenced);
            removed.ok_or(NotAsSeen)?.pass_over();
            return Ok(Storage::Not(reason));
        }
        self.store_over(key, dated, self.seen(begun), fenced)
    }

    /// Removes what was seen, with the promise of a purge of its key. Where it is not as seen, the purge has
    /// reached all but memory.
    pub(crate) fn remove_computed(&self, begun: &Begun<V>) -> Result<Burial, NotAsSeen> {
        let key = begun.flight.key();
        if begun.flight.is_revoked() {
            return Err(NotAsSeen);
        }
        let mut is_as_seen = false;
        // This purge revokes the flight itself, which says nothing any more.
        let done = self.purge_key_by(key, || {
            let (judge, cause) = (self.judge_now(), RemovalCause::Purged);
            let removed = self.memory.remove_if(key, &judge, cause, self.seen(begun), || false);
            is_as_seen = removed.is_some();
            (None, removed.unwrap_or_default())
        });
        if is_as_seen { Ok(done.burial) } else { Err(NotAsSeen) }
    }

    /// What is fresh under `key` is so for `ttl` from now on, and counts as read. False: nothing is.
    pub(crate) fn touch(&self, key: &str, ttl: Duration) -> bool {
        let (now, is_fresh) = (self.now(), self.is_fresh_now());
        let renewed = self.memory.update(key, |entry| {
            let is_fresh = is_fresh(entry);
            if is_fresh {
                entry.read(now);
                entry.renew(now, ttl);
            }
            is_fresh
        });
        renewed == Some(true)
    }

    /// Puts what `remake` makes of the value under `key` in its place, if that is still there then: the same value in
    /// another form, with the same times, tags and fence, so that every purge finds it as before. `None`: it is not
    /// there, or `remake` makes nothing of it, or the two together would be too large; nothing has changed.
    #[cfg(feature = "http")]
    pub(crate) fn remake(
        &self,
        key: &str,
        remake: impl FnOnce(V) -> Option<V>,
    ) -> Option<Result<Storage, NotAsSeen>> {
        let look = |entry: &Entry<V>| Some((entry.value.clone(), entry.facts()));
        let ((value, facts), ticket) = self.memory.look_and_remember(key, look)?;
        let class = self.memory.class_of(key);
        let dated = Dated::found(Box::new(remake(value)?), facts).of_class(class);
        if !self.fits(key, &dated) {
            return None;
        }
        let seen = AsSeen { ticket: Some(ticket), is_of_use: |_: &Entry<V>| true };
        Some(self.store_over(key, dated, seen, || false))
    }

    /// Removes `key` by a purge, and hands the value out that was fresh.
    pub(crate) fn take(&self, key: &str) -> (Done, Option<V>) {
        let mut value = None;
        let done = self.purge_key_by(key, || {
            let (taken, count, burial) =
                self.memory.take(key, &self.judge_now(), self.is_fresh_now());
            value = taken;
            (Some(count), burial)
        });
        (done, value)
    }

    /// Removes from memory what `is_kept` does not want, without a purge; returns how many entries that was.
    pub(crate) fn retain(&self, is_kept: impl FnMut(&str, &V) -> bool) -> (usize, Burial) {
        self.memory.retain(&self.judge_now(), is_kept)
    }

    fn seen(&self, begun: &Begun<V>) -> AsSeen<impl Fn(&Entry<V>) -> bool> {
        let ticket = begun.seen.as_ref().map(|(_, ticket)| *ticket);
        AsSeen { ticket, is_of_use: self.is_fresh_now() }
    }

    /// What is fresh now, purges considered. Asked under a shard's lock.
    pub(crate) fn is_fresh_now(&self) -> impl Fn(&Entry<V>) -> bool {
        let now = self.now();
        move |entry| matches!(self.freshness(entry, now), Ok(Freshness::Fresh { .. }))
    }
}
