//! Visit: going over all that is stored and not over, some slots in each hold of a lock.

use super::{
    Burial, MemoryTier, RemovalCause, Runs, SLOTS_PER_HOLD,
    burial::Burials,
    room_for_one_hold,
    shards::{read, write},
};
#[cfg(feature = "http")]
use crate::entry::Entry;
use crate::purge::judge::Judge;

impl<V> MemoryTier<V> {
    /// Up to `most` keys of what is not over, in no order, each once. What is stored or removed meanwhile is
    /// among them or not.
    pub(crate) fn keys(&self, most: usize, judge: &Judge<'_>) -> Vec<String> {
        let (mut keys, mut runs) = (Vec::new(), Runs::for_a_caller());
        for shard in self.shards.iter() {
            let (mut of_shard, mut end) = (Vec::new(), usize::MAX);
            while end > 0 && of_shard.len() < most - keys.len() {
                of_shard.reserve(SLOTS_PER_HOLD);
                end = read(shard).visit(end, judge, |slot| of_shard.push(slot.key().to_owned()));
                runs.rest_if_due();
            }
            // One that has moved meanwhile was seen twice.
            of_shard.sort_unstable();
            of_shard.dedup();
            keys.extend(of_shard.into_iter().take(most - keys.len()));
            if keys.len() == most {
                break;
            }
        }
        keys
    }

    /// Shows `see` what is not over, in no order, until `go_on` says that it is enough: asked between any two holds of a
    /// lock. Returns whether all was shown. What is stored or removed meanwhile is shown or not, and one that moves may
    /// be shown twice. Not for the caller's code: `see` runs under the shard's lock.
    #[cfg(feature = "http")]
    pub(crate) fn show(
        &self,
        judge: &Judge<'_>,
        mut see: impl FnMut(&str, &Entry<V>),
        mut go_on: impl FnMut() -> bool,
    ) -> bool {
        let mut runs = Runs::for_a_caller();
        for shard in self.shards.iter() {
            let mut end = usize::MAX;
            while end > 0 {
                if !go_on() {
                    return false;
                }
                end = read(shard).visit(end, judge, |slot| see(slot.key(), slot.entry()));
                runs.rest_if_due();
            }
        }
        true
    }

    /// Removes all that is not over and that `is_kept` does not want; returns how many entries that was. What
    /// is stored meanwhile is looked at or not.
    ///
    /// `is_kept` is the caller's code. It is shown clones, under no lock; what has been replaced since stays.
    pub(crate) fn retain(
        &self,
        judge: &Judge<'_>,
        mut is_kept: impl FnMut(&str, &V) -> bool,
    ) -> (usize, Burial)
    where
        V: Clone,
    {
        let (mut count, mut runs) = (0, Runs::for_a_caller());
        let mut burials = Burials::new(self.notice(judge, RemovalCause::Purged));
        for shard in self.shards.iter() {
            let mut end = usize::MAX;
            while end > 0 {
                let mut seen = Vec::with_capacity(SLOTS_PER_HOLD);
                end = read(shard).visit(end, judge, |slot| {
                    seen.push((slot.key().to_owned(), slot.entry().value.clone(), slot.ticket()));
                });
                seen.retain(|(key, value, _)| !is_kept(key, value));
                runs.rest_if_due();
                if seen.is_empty() {
                    continue;
                }
                let mut gone = room_for_one_hold();
                let mut held = write(shard);
                for (key, _, ticket) in &seen {
                    let hash = self.place(key).hash;
                    if held.find(hash, key).is_some_and(|slot| slot.has(*ticket)) {
                        gone.push(None);
                        held.remove(hash, key, gone.last_mut().expect("one was just added"));
                    }
                }
                let leaving = self.leave(gone.iter().flatten());
                drop(held);
                count += gone.len();
                burials.bury(gone, leaving);
            }
        }
        (count, burials.end())
    }
}
