//! Tag: a purge is a step of a counter, not a walk over keys.
//!
//! The cache counts its purges. For each tag it remembers the number of its last purge; an entry
//! remembers the number at which its fetch began (its *fence*), and lives while none of its tags has
//! a later one. A purge therefore costs the same whether a tag is on one entry or on a million, and
//! reaches entries whose fetch is still under way.
//!
//! What is remembered lies in parts, each under a lock of its own and small: giving one more room, or
//! forgetting half of it, holds up those who ask for these tags only, and not for long.

use std::{collections::HashMap, hash::BuildHasher, sync::PoisonError};

use foldhash::quality::RandomState;

use crate::{
    clock::Moment,
    sync::{
        Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

/// A tag as the cache keeps it: 64 bits of a keyed hash. Two tags that share all of them are purged
/// together, which costs a fetch and never serves what was purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TagId(u64);

/// The number of the last purge that a fetch, or a reader, knows of.
pub(crate) type Fence = u64;

/// What a purge does to the entries it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They may still be served while they are refreshed, or if the origin fails.
    Soft,
    /// They are gone.
    Hard,
}

/// What the purges so far mean for one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Untouched,
    /// Marked stale at this moment.
    MarkedStale(Moment),
    Purged,
}

pub(crate) struct TagTable {
    /// Purges so far. Advanced after the purge is written down, so whoever reads a number finds
    /// every purge up to it in the records.
    purges: AtomicU64,
    /// Held by who purges, one at a time, so that the numbers are advanced in order.
    purging: Mutex<()>,
    /// By the tags' own numbers.
    parts: Box<[RwLock<Part>]>,
    /// The soft purges of all entries, tagged or not.
    everything: RwLock<Record>,
    /// The last of them. Whoever knows it need not ask.
    newest_of_everything: AtomicU64,
    hasher: RandomState,
    max_tags_in_part: usize,
}

/// Tags in a part, if there are so many: looking at all of them takes a tenth of a millisecond.
const TAGS_IN_PART: usize = 2048;
const MAX_PARTS: usize = 32;

struct Part {
    by_tag: HashMap<TagId, Record, foldhash::fast::RandomState>,
    /// Purges up to here may have been forgotten: an entry from before with a tag of this part counts as
    /// purged.
    floor: Fence,
}

#[derive(Clone, Copy, Default)]
struct Record {
    hard: Fence,
    /// The last soft purges, oldest first. An entry is stale since the *first* that came after its
    /// fetch; knowing only the last would open its windows anew each time.
    soft: [Option<(Fence, Moment)>; SOFT_PURGES],
}

/// Of more soft purges than this, the oldest two count as one: with the later number, so that it
/// reaches whatever either reached, and the earlier moment, so that no window is opened anew.
const SOFT_PURGES: usize = 4;

impl TagTable {
    /// Remembers the purges of at most `max_tags` tags. That bounds each part alone: where more of the tags
    /// fall into one, it forgets sooner.
    pub(crate) fn new(max_tags: usize) -> Self {
        let parts = (max_tags / TAGS_IN_PART).clamp(1, MAX_PARTS);
        let part = || RwLock::new(Part { by_tag: HashMap::default(), floor: 0 });
        TagTable {
            purges: AtomicU64::new(0),
            purging: Mutex::new(()),
            parts: (0..parts).map(|_| part()).collect(),
            everything: RwLock::new(Record::default()),
            newest_of_everything: AtomicU64::new(0),
            hasher: RandomState::default(),
            max_tags_in_part: (max_tags / parts).max(2),
        }
    }

    pub(crate) fn id(&self, tag: &str) -> TagId {
        TagId(self.hasher.hash_one(tag))
    }

    /// What a fetch or a reader that begins now knows of.
    #[inline]
    pub(crate) fn fence(&self) -> Fence {
        self.purges.load(Ordering::Acquire)
    }

    /// Once this returns, no entry that carries `tag` and began before is served as fresh (soft), or
    /// at all (hard).
    pub(crate) fn purge(&self, tag: &str, mode: Mode, now: Moment) {
        let id = self.id(tag);
        self.advance(|number| {
            let mut part = write(self.part(id));
            part.by_tag.entry(id).or_default().purge(mode, number, now);
            if part.by_tag.len() > self.max_tags_in_part {
                part.forget_older_half();
            }
        });
    }

    /// The soft purge of everything.
    pub(crate) fn mark_everything_stale(&self, now: Moment) {
        self.advance(|number| {
            write(&self.everything).purge(Mode::Soft, number, now);
            self.newest_of_everything.store(number, Ordering::Release);
        });
    }

    /// How many tags have a record.
    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(|part| read(part).by_tag.len()).sum()
    }

    /// What happened since `fence` to an entry with these tags.
    pub(crate) fn standing(&self, tags: &[TagId], fence: Fence) -> Standing {
        if fence == self.fence() {
            return Standing::Untouched;
        }
        let mut standing = Standing::Untouched;
        for &tag in tags {
            let part = read(self.part(tag));
            if fence < part.floor {
                return Standing::Purged;
            }
            if let Some(record) = part.by_tag.get(&tag) {
                standing = standing.and(record.standing(fence));
            }
            if standing == Standing::Purged {
                return standing;
            }
        }
        if self.newest_of_everything.load(Ordering::Acquire) > fence {
            standing = standing.and(read(&self.everything).standing(fence));
        }
        standing
    }

    fn part(&self, tag: TagId) -> &RwLock<Part> {
        // By the upper half: the tables within use the lower.
        &self.parts[(tag.0 >> 32) as usize % self.parts.len()]
    }

    fn advance(&self, write_down: impl FnOnce(Fence)) {
        let _purging = self.purging.lock().unwrap_or_else(PoisonError::into_inner);
        // Only here does the number change, and the lock lets one in at a time.
        let number = self.purges.load(Ordering::Relaxed) + 1;
        write_down(number);
        self.purges.store(number, Ordering::Release);
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

impl Standing {
    /// What both mean for one entry.
    fn and(self, other: Standing) -> Standing {
        match (self, other) {
            (Standing::Purged, _) | (_, Standing::Purged) => Standing::Purged,
            (Standing::MarkedStale(at), Standing::MarkedStale(earlier)) => {
                Standing::MarkedStale(at.min(earlier))
            }
            (Standing::Untouched, marked) | (marked, Standing::Untouched) => marked,
        }
    }
}

impl Record {
    fn purge(&mut self, mode: Mode, number: Fence, now: Moment) {
        match mode {
            Mode::Hard => self.hard = number,
            Mode::Soft => match self.soft.iter_mut().find(|place| place.is_none()) {
                Some(free) => *free = Some((number, now)),
                None => {
                    if let (Some((_, oldest)), Some((_, next))) = (self.soft[0], &mut self.soft[1])
                    {
                        *next = oldest;
                    }
                    self.soft.rotate_left(1);
                    self.soft[SOFT_PURGES - 1] = Some((number, now));
                }
            },
        }
    }

    /// What it means for an entry with this fence.
    fn standing(&self, fence: Fence) -> Standing {
        if self.hard > fence {
            return Standing::Purged;
        }
        let first = self.soft.iter().flatten().find(|(number, _)| *number > fence);
        first.map_or(Standing::Untouched, |&(_, at)| Standing::MarkedStale(at))
    }

    fn newest(&self) -> Fence {
        let soft = self.soft.iter().flatten().map(|(number, _)| *number).max();
        self.hard.max(soft.unwrap_or(0))
    }
}

impl Part {
    /// Makes room. What is forgotten must not come back to life, so everything with a tag of this part that
    /// is older than a forgotten purge counts as purged from now on.
    fn forget_older_half(&mut self) {
        let mut numbers: Vec<_> = self.by_tag.values().map(Record::newest).collect();
        let middle = numbers.len() / 2;
        let (_, &mut median, _) = numbers.select_nth_unstable(middle);
        self.by_tag.retain(|_, record| record.newest() > median);
        self.floor = self.floor.max(median);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::ManualClock;

    fn moment(secs: u64) -> Moment {
        let clock = ManualClock::new();
        clock.advance(Duration::from_secs(secs));
        clock.clock().now()
    }

    #[test]
    fn a_purge_reaches_what_began_before_it_and_nothing_later() {
        let table = TagTable::new(100);
        let (posts, users) = (table.id("posts"), table.id("users"));
        let before = table.fence();
        table.purge("posts", Mode::Hard, moment(0));
        assert_eq!(table.standing(&[users, posts], before), Standing::Purged);
        assert_eq!(table.standing(&[users], before), Standing::Untouched);
        assert_eq!(table.standing(&[], before), Standing::Untouched);
        assert_eq!(table.standing(&[posts], table.fence()), Standing::Untouched);
    }

    #[test]
    fn a_soft_purge_marks_and_a_hard_one_beside_it_wins() {
        let table = TagTable::new(100);
        let (a, b) = (table.id("a"), table.id("b"));
        let before = table.fence();
        table.purge("a", Mode::Soft, moment(5));
        table.purge("b", Mode::Soft, moment(9));
        assert_eq!(table.standing(&[b, a], before), Standing::MarkedStale(moment(5)));
        table.purge("b", Mode::Hard, moment(10));
        assert_eq!(table.standing(&[a, b], before), Standing::Purged);
        assert_eq!(table.standing(&[a], before), Standing::MarkedStale(moment(5)));
    }

    #[test]
    fn soft_purges_one_after_the_other_open_no_window_anew() {
        let table = TagTable::new(100);
        let tag = table.id("a");
        let fences: Vec<_> = (0..20)
            .map(|second| {
                let before = table.fence();
                table.purge("a", Mode::Soft, moment(second));
                before
            })
            .collect();
        for (second, fence) in (0..).zip(fences) {
            let Standing::MarkedStale(at) = table.standing(&[tag], fence) else {
                panic!("the purge in second {second} is forgotten")
            };
            // Never later than the purge that came first for it.
            assert!(at <= moment(second));
        }
        assert_eq!(table.standing(&[tag], 0), Standing::MarkedStale(moment(0)));
        assert_eq!(table.standing(&[tag], 19), Standing::MarkedStale(moment(19)));
    }

    #[test]
    fn marking_everything_stale_reaches_entries_without_tags() {
        let table = TagTable::new(100);
        let before = table.fence();
        table.mark_everything_stale(moment(3));
        assert_eq!(table.standing(&[], before), Standing::MarkedStale(moment(3)));
        assert_eq!(table.standing(&[], table.fence()), Standing::Untouched);
    }

    #[test]
    fn the_table_is_bounded_and_what_it_forgets_stays_purged() {
        let table = TagTable::new(100);
        let before = table.fence();
        for number in 0..10_000 {
            table.purge(&format!("tag {number}"), Mode::Hard, moment(0));
            assert!(table.len() <= 100);
        }
        for number in 0..10_000 {
            let tag = table.id(&format!("tag {number}"));
            assert_eq!(table.standing(&[tag], before), Standing::Purged);
        }
        let recent = table.fence();
        table.purge("other", Mode::Hard, moment(0));
        assert_eq!(table.standing(&[table.id("tag 1")], recent), Standing::Untouched);
    }

    #[test]
    fn a_large_table_lies_in_small_parts_and_is_bounded_as_a_whole() {
        let table = TagTable::new(1 << 16);
        let before = table.fence();
        for number in 0..100_000 {
            table.purge(&format!("tag {number}"), Mode::Hard, moment(0));
        }
        assert!(table.len() <= 1 << 16 && table.len() >= 1 << 14);
        assert!(table.parts.iter().all(|part| read(part).by_tag.len() <= TAGS_IN_PART));
        for number in 0..100_000 {
            let tag = table.id(&format!("tag {number}"));
            assert_eq!(table.standing(&[tag], before), Standing::Purged);
        }
        // Most of what was purged last is still known for what it is.
        let recent = table.fence() - 10_000;
        let untouched = (0..1000).filter(|number| {
            let tag = table.id(&format!("never purged {number}"));
            table.standing(&[tag], recent) == Standing::Untouched
        });
        assert_eq!(untouched.count(), 1000);
    }
}
