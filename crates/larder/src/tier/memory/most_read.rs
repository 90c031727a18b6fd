//! Most read: of what is stored, that which was asked for most.
//!
//! How often something was asked for is its mark, which counts to seven and goes down only where room is needed. Of those
//! with the same mark, what costs most to fetch comes first: that is what a reader would wait for.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
    time::Duration,
};

use super::{MemoryTier, Runs, shard::Slot, shards::read};
use crate::{entry::Entry, purge::judge::Judge};

/// Those that were asked for most, up to a number, the most asked for first; and how many others there were.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct MostRead {
    pub(crate) keys: Vec<String>,
    pub(crate) beside: usize,
}

/// What makes one go before another.
type Heat = (u8, Duration);

/// The hottest so far, the least of them on top.
struct Hottest {
    most: usize,
    kept: BinaryHeap<Reverse<(Heat, String)>>,
    /// One that has moved meanwhile may be seen twice, and counts once if it is kept.
    seen: usize,
}

impl Hottest {
    fn of(most: usize) -> Hottest {
        Hottest { most, kept: BinaryHeap::new(), seen: 0 }
    }

    fn offer<V>(&mut self, slot: &Slot<V>) {
        self.seen += 1;
        let heat = (slot.marks(), slot.entry().cost());
        let is_hotter = self.kept.peek().is_none_or(|Reverse((least, _))| heat > *least);
        if self.kept.len() < self.most || (self.most > 0 && is_hotter) {
            self.kept.push(Reverse((heat, slot.key().to_owned())));
        }
        if self.kept.len() > self.most {
            self.kept.pop();
        }
    }

    fn end(self) -> MostRead {
        let beside = self.seen - self.kept.len();
        let mut seen = BTreeSet::new();
        let kept = self.kept.into_sorted_vec().into_iter();
        let keys = kept.map(|Reverse((_, key))| key).filter(|key| seen.insert(key.clone()));
        MostRead { keys: keys.collect(), beside }
    }
}

impl<V> MemoryTier<V> {
    /// Of all that is not over and that `is_wanted`. What is stored or removed meanwhile is among them or not. Not for the
    /// caller's code: `is_wanted` runs under the shard's lock.
    pub(crate) fn most_read(
        &self,
        most: usize,
        judge: &Judge<'_>,
        mut is_wanted: impl FnMut(&str, &Entry<V>) -> bool,
    ) -> MostRead {
        let (mut hottest, mut runs) = (Hottest::of(most), Runs::for_a_caller());
        for shard in self.shards.iter() {
            let mut end = usize::MAX;
            while end > 0 {
                end = read(shard).visit(end, judge, |slot| {
                    if is_wanted(slot.key(), slot.entry()) {
                        hottest.offer(slot);
                    }
                });
                runs.rest_if_due();
            }
        }
        hottest.end()
    }

    /// The same of these keys alone, without looking at any other.
    pub(crate) fn most_read_of<'k>(
        &self,
        keys: impl Iterator<Item = &'k str>,
        most: usize,
        judge: &Judge<'_>,
        mut is_wanted: impl FnMut(&str, &Entry<V>) -> bool,
    ) -> MostRead {
        let mut hottest = Hottest::of(most);
        for key in keys {
            let place = self.place(key);
            let Some(shard) = place.shard(self) else { continue };
            let shard = read(shard);
            if let Some(slot) = shard.find(place.hash, key)
                && !judge.is_over(slot.entry())
                && is_wanted(key, slot.entry())
            {
                hottest.offer(slot);
            }
        }
        hottest.end()
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use crate::cache::Cache;

    /// How often each is read; those that come out, and how many beside.
    #[test]
    fn what_was_read_most_comes_first() {
        let reads = [("a", 0), ("b", 5), ("c", 2), ("d", 1), ("e", 7)];
        let cache = Cache::<u8>::builder().build();
        for (key, times) in reads {
            cache.insert(key, 0);
            for _ in 0..times {
                cache.get(key);
            }
        }
        let engine = cache.engine();
        let rows: [(usize, &[&str], usize); 4] = [
            (2, &["e", "b"], 2),
            (0, &[], 4),
            (4, &["e", "b", "c", "d"], 0),
            (9, &["e", "b", "c", "d"], 0),
        ];
        for (most, keys, beside) in rows {
            let read = engine.most_read(most, |key, _| key != "a");
            assert_eq!(
                (read.keys, read.beside),
                (keys.iter().map(ToString::to_string).collect(), beside)
            );
        }
        let read = engine.most_read_of(["c", "b", "gone"].into_iter(), 1, |_, _| true);
        assert_eq!((read.keys, read.beside), (vec!["b".to_owned()], 1));
    }
}
