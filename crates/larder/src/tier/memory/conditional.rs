//! Conditional: what is done to a key only if nothing else has come in between.

use super::{
    Burial, MemoryTier, PutOutcome, RemovalCause,
    burial::bury,
    dropping::as_dropping,
    shard::{Shard, Slot, Ticket},
    shards::{read, write},
};
use crate::{entry::Entry, purge::judge::Judge};

/// What somebody has seen under a key.
pub(crate) struct AsSeen<U> {
    /// `None`: nothing of use.
    pub(crate) ticket: Option<Ticket>,
    /// Says so of an entry. It is asked again under the shard's lock.
    pub(crate) is_of_use: U,
}

impl<V> MemoryTier<V> {
    /// What `look` makes of the entry, and what that is known again by. Counts nothing.
    pub(crate) fn look_and_remember<R>(
        &self,
        key: &str,
        look: impl FnOnce(&Entry<V>) -> Option<R>,
    ) -> Option<(R, Ticket)> {
        let place = self.place(key);
        let shard = read(place.shard(self)?);
        let slot = shard.find(place.hash, key)?;
        Some((look(slot.entry())?, slot.ticket()))
    }

    /// Stores `entry` as [`put`](MemoryTier::put) does, if what is stored until then is still what was `seen`.
    /// [`PutOutcome::Fenced`] otherwise.
    pub(crate) fn put_if(
        &self,
        key: &str,
        entry: Entry<V>,
        heap_bytes: usize,
        judge: &Judge<'_>,
        seen: AsSeen<impl Fn(&Entry<V>) -> bool>,
        fenced: impl FnOnce() -> bool,
    ) -> PutOutcome {
        // What was computed from it, or is another form of it, is of the same class.
        self.put_over(None, key, entry, heap_bytes, judge, |shard, older| {
            fenced() || !seen.is_still(shard, older)
        })
    }

    /// Removes what is stored under `key`, if that is still what was `seen`. `None`: it is not.
    pub(crate) fn remove_if(
        &self,
        key: &str,
        judge: &Judge<'_>,
        cause: RemovalCause,
        seen: AsSeen<impl Fn(&Entry<V>) -> bool>,
        fenced: impl FnOnce() -> bool,
    ) -> Option<Burial> {
        let place = self.place(key);
        let Some(shard) = place.shard(self) else {
            return (seen.ticket.is_none() && !fenced()).then(Burial::default);
        };
        let mut shard = write(shard);
        let number = shard.holds(place.hash, key).map(|(number, _)| number);
        if fenced() || !seen.is_still(&shard, number) {
            return None;
        }
        let mut removed = None;
        shard.remove(place.hash, key, &mut removed);
        let leaving = self.leave(&removed);
        drop(shard);
        Some(bury([&mut removed], leaving, self.notice(judge, cause)))
    }

    /// Removes `key`, and hands its value out if its entry `is_of_use`, once all are told. How many entries went
    /// that were not over, and how the telling went.
    pub(crate) fn take(
        &self,
        key: &str,
        judge: &Judge<'_>,
        is_of_use: impl FnOnce(&Entry<V>) -> bool,
    ) -> (Option<V>, usize, Burial) {
        let place = self.place(key);
        let Some(shard) = place.shard(self) else { return (None, 0, Burial::default()) };
        let mut shard = write(shard);
        let mut removed = None;
        shard.remove(place.hash, key, &mut removed);
        let mut leaving = self.leave(&removed);
        drop(shard);
        let count = super::of_use(&removed, judge);
        if !removed.as_ref().is_some_and(|slot| is_of_use(slot.entry())) {
            let purged = self.notice(judge, RemovalCause::Purged);
            return (None, count, bury([&mut removed], leaving, purged));
        }
        let taken = self.notice(judge, RemovalCause::Taken);
        let told = match &removed {
            Some(slot) if taken.is_wanted() => as_dropping(|| taken.tell(slot)),
            _ => Burial::default(),
        };
        if let Some(slot) = &removed {
            leaving.is_gone(slot.weight());
        }
        (removed.map(Slot::into_value), count, told)
    }
}

impl<U> AsSeen<U> {
    /// Whether what is in the slot `number`, if that is anything of use, is what was seen.
    fn is_still<V>(&self, shard: &Shard<V>, number: Option<u32>) -> bool
    where
        U: Fn(&Entry<V>) -> bool,
    {
        let slot = number.map(|number| shard.slot(number));
        match (slot.filter(|slot| (self.is_of_use)(slot.entry())), self.ticket) {
            (None, None) => true,
            (Some(slot), Some(ticket)) => slot.has(ticket),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }
}
