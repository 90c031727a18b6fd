//! Survey: going over all that is stored, over or not, some slots in each hold of a shard's read lock. Each entry that is
//! there all the time is seen exactly once; what comes or goes meanwhile is seen or not.

use std::{collections::HashSet, ops::ControlFlow};

use super::{MemoryTier, Runs, SLOTS_PER_HOLD, shards::read};
use crate::entry::Entry;

/// An entry as a survey sees it, under its shard's lock.
pub(crate) struct Seen<'a, V> {
    pub(crate) key: &'a str,
    pub(crate) entry: &'a Entry<V>,
    /// What it weighs, overhead included.
    pub(crate) bytes: usize,
    /// How often it was asked for, as far as that is remembered: 0 to 7.
    pub(crate) marks: u8,
}

/// Who goes over what is stored.
pub(crate) trait Visitor<V> {
    /// Takes what it needs. It runs under the shard's read lock: neither the caller's code nor anything that waits.
    /// Returns what that cost, in slots looked at: more than one where it looks at tags.
    fn take(&mut self, seen: Seen<'_, V>) -> usize;

    /// Goes on with what was taken, after each hold, under no lock. A break ends the survey.
    fn digest(&mut self) -> ControlFlow<()>;
}

impl<V> MemoryTier<V> {
    /// Shows all that is stored to `visitor`. A break: it ended the survey before all was seen.
    pub(crate) fn survey(&self, visitor: &mut impl Visitor<V>) -> ControlFlow<()> {
        let mut runs = Runs::in_background();
        let mut once = Once::default();
        for shard in self.shards.iter() {
            let mut end = usize::MAX;
            once.begin();
            while end > 0 {
                once.make_room();
                let mut held = read(shard);
                if once.has_changed(held.changes()) {
                    drop(held);
                    once.look_up_from_now_on();
                    held = read(shard);
                }
                end = held.pass(end, |slot| match once.is_new(|| self.hash(slot.key())) {
                    true => visitor.take(slot.seen()),
                    false => 1,
                });
                drop(held);
                visitor.digest()?;
                runs.rest_if_due();
            }
        }
        ControlFlow::Continue(())
    }

    /// Lets `look` at one entry, under its shard's lock, and counts nothing.
    pub(crate) fn see<R>(&self, key: &str, look: impl FnOnce(Seen<'_, V>) -> R) -> Option<R> {
        let place = self.place(key);
        let shard = read(place.shard(self)?);
        shard.find(place.hash, key).map(|slot| look(slot.seen()))
    }
}

/// Which entries of a shard were seen already. Slots move while others come and go, so a survey may meet one twice.
///
/// Entries are told apart by 64 bits of a hash of their keys. Two of one shard that share them are one entry to it, and
/// one is left out: with a hundred thousand entries in each shard that happens in one of a million surveys.
#[derive(Default)]
struct Once {
    seen: Vec<u64>,
    /// The same for looking them up: made only when something has changed.
    set: HashSet<u64, foldhash::fast::RandomState>,
    changes: Option<u64>,
    is_needed: bool,
}

impl Once {
    fn begin(&mut self) {
        self.seen.clear();
        self.set.clear();
        (self.changes, self.is_needed) = (None, false);
    }

    /// So that nothing grows under a lock.
    fn make_room(&mut self) {
        match self.is_needed {
            true => self.set.reserve(SLOTS_PER_HOLD),
            false => self.seen.reserve(SLOTS_PER_HOLD),
        }
    }

    /// Whether that is news. `changes`: how often a slot of the shard has got another content.
    fn has_changed(&mut self, changes: u64) -> bool {
        let before = *self.changes.get_or_insert(changes);
        before != changes && !self.is_needed
    }

    /// Takes long where much was seen, so it is for under no lock.
    fn look_up_from_now_on(&mut self) {
        self.is_needed = true;
        self.set.extend(self.seen.drain(..));
        self.set.reserve(SLOTS_PER_HOLD);
    }

    fn is_new(&mut self, hash: impl FnOnce() -> u64) -> bool {
        if self.is_needed {
            return self.set.insert(hash());
        }
        self.seen.push(hash());
        true
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::{
        collections::{HashMap, HashSet},
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::Cache;

    /// Collects keys, and lets something happen after each hold.
    struct Keys<F> {
        seen: Vec<String>,
        bytes: usize,
        meanwhile: F,
    }

    impl<V, F: FnMut()> Visitor<V> for Keys<F> {
        fn take(&mut self, seen: Seen<'_, V>) -> usize {
            self.seen.push(seen.key.to_owned());
            self.bytes += seen.bytes;
            1
        }

        fn digest(&mut self) -> ControlFlow<()> {
            (self.meanwhile)();
            ControlFlow::Continue(())
        }
    }

    fn cache() -> Cache<u8> {
        Cache::builder_with_weigher(|_| 0).max_bytes(8 << 20).build()
    }

    fn counted(seen: &[String]) -> HashMap<&str, usize> {
        let mut counts = HashMap::new();
        seen.iter().for_each(|key| *counts.entry(key.as_str()).or_default() += 1);
        counts
    }

    proptest! {
        /// What stays has even numbers. Between any two holds others are removed, which moves what stays, and stored.
        #[test]
        fn what_is_there_all_the_time_is_seen_exactly_once(
            stay in 1..200_usize,
            steps in vec((any::<bool>(), 0..400_usize, 1..60_usize), 0..40),
        ) {
            let cache = cache();
            let engine = cache.engine();
            (0..stay).for_each(|number| _ = cache.insert(format!("stay/{number}"), 0));
            (0..400).for_each(|number| _ = cache.insert(format!("go/{number}"), 0));
            let mut steps = steps.into_iter();
            let meanwhile = || {
                let Some((is_insert, from, count)) = steps.next() else { return };
                for number in from..from + count {
                    let key = format!("go/{number}");
                    match is_insert {
                        true => _ = cache.insert(key, 1),
                        false => engine.take_out(&key).pass_over(),
                    }
                }
            };
            let mut keys = Keys { seen: Vec::new(), bytes: 0, meanwhile };
            prop_assert!(engine.survey(&mut keys).is_continue());
            let counts = counted(&keys.seen);
            for number in 0..stay {
                let key = format!("stay/{number}");
                prop_assert_eq!(counts.get(key.as_str()), Some(&1), "{}", key);
            }
            prop_assert!(counts.values().all(|count| *count == 1), "nothing is seen twice");
        }
    }

    #[test]
    fn the_sum_of_what_a_survey_sees_is_what_the_cache_holds() {
        let cache = cache();
        (0..5000).for_each(|number| _ = cache.insert(format!("{number}"), 0));
        let mut keys = Keys { seen: Vec::new(), bytes: 0, meanwhile: || {} };
        assert!(cache.engine().survey(&mut keys).is_continue());
        assert_eq!((keys.seen.len(), keys.bytes), cache.engine().size());
    }

    #[test]
    fn threads_that_store_and_remove_hide_nothing_that_stays() {
        let (cache, is_over) = (cache(), AtomicBool::new(false));
        (0..3000).for_each(|number| _ = cache.insert(format!("stay/{number}"), 0));
        thread::scope(|threads| {
            for thread in 0..2 {
                let (cache, is_over) = (&cache, &is_over);
                threads.spawn(move || {
                    let mut number = 0_usize;
                    while !is_over.load(Ordering::Relaxed) {
                        let key = format!("{thread}/{}", number % 5000);
                        match number / 5000 % 2 {
                            0 => _ = cache.insert(key, 0),
                            _ => _ = cache.remove(key),
                        }
                        number += 1;
                    }
                });
            }
            for _ in 0..20 {
                let mut keys = Keys { seen: Vec::new(), bytes: 0, meanwhile: || {} };
                assert!(cache.engine().survey(&mut keys).is_continue());
                let stayed: Vec<_> =
                    keys.seen.iter().filter(|key| key.starts_with("stay/")).collect();
                let different: HashSet<_> = stayed.iter().collect();
                assert_eq!((stayed.len(), different.len()), (3000, 3000));
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }
}
