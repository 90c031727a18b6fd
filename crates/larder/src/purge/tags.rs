//! Tags: what the purges by tag mean for one entry.
//!
//! For each tag the table remembers the number of its last purge; an entry lives while none of its tags
//! has a later one than its fence. A purge therefore costs the same whether a tag is on one entry or on
//! a million, and reaches entries whose fetch is still under way.
//!
//! What is remembered lies in parts, each under a lock of its own and small: giving one more room, or
//! forgetting half of it, holds up those who ask for these tags only, and not for long.

use std::{collections::HashMap, fmt, sync::PoisonError};

use siphasher::sip::SipHasher24;

use super::{
    Fence, Mode,
    last::{LastPurges, PurgeState},
};
use crate::{
    clock::Moment,
    sync::{
        self, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

/// A tag as the cache keeps it: 64 bits of a keyed hash. Two tags that share all of them are purged
/// together, which costs a fetch and never serves what was purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TagId(u64);

/// For a tag whose name is not known: `#` and its number.
impl fmt::Display for TagId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:016x}", self.0)
    }
}

/// The key by which tags become numbers: SipHash-2-4 of a tag's UTF-8 bytes (Aumasson and Bernstein,
/// 2012). Caches with one key agree on all tags, whatever process, version or platform they run in. Who
/// knows it can make up tags that are purged together.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TagKey([u8; 16]);

impl TagKey {
    /// This key. Keep it as you keep a password.
    pub const fn new(key: [u8; 16]) -> Self {
        TagKey(key)
    }

    /// A key of this cache alone, from the system's randomness.
    pub(crate) fn random() -> Self {
        TagKey(sync::random().to_le_bytes())
    }
}

impl fmt::Debug for TagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TagKey(…)")
    }
}

pub(super) struct TagHasher(SipHasher24);

impl TagHasher {
    pub(super) fn new(TagKey(key): TagKey) -> Self {
        TagHasher(SipHasher24::new_with_key(&key))
    }

    pub(super) fn id(&self, tag: &str) -> TagId {
        TagId(self.0.hash(tag.as_bytes()))
    }
}

/// The last purges of each tag, and of everything.
pub(super) struct TagTable {
    /// By the tags' own numbers.
    parts: Box<[Part]>,
    /// The soft purges of all entries, tagged or not.
    everything: RwLock<LastPurges>,
    /// The last of them. Whoever knows it need not ask.
    newest_of_everything: AtomicU64,
    max_tags_in_part: usize,
}

/// Tags in a part, if there are so many: looking at all of them takes a tenth of a millisecond.
const TAGS_IN_PART: usize = 2048;
const MAX_PARTS: usize = 32;

struct Part {
    /// The last purge of any of its tags. Whoever knows it need not ask, and mostly there has been one in few parts only
    /// since an entry was looked at last.
    newest: AtomicU64,
    tags: RwLock<PurgedTags>,
}

struct PurgedTags {
    by_tag: HashMap<TagId, LastPurges, foldhash::fast::RandomState>,
    /// Purges up to here may have been forgotten: an entry from before with a tag of this part counts as
    /// purged.
    floor: Fence,
}

impl TagTable {
    /// Remembers the purges of at most `max_tags` tags. That bounds each part alone: where more of the tags
    /// fall into one, it forgets sooner.
    pub(super) fn new(max_tags: usize) -> Self {
        let parts = (max_tags / TAGS_IN_PART).clamp(1, MAX_PARTS);
        let part = || {
            let tags = RwLock::new(PurgedTags { by_tag: HashMap::default(), floor: 0 });
            Part { newest: AtomicU64::new(0), tags }
        };
        TagTable {
            parts: (0..parts).map(|_| part()).collect(),
            everything: RwLock::new(LastPurges::default()),
            newest_of_everything: AtomicU64::new(0),
            max_tags_in_part: (max_tags / parts).max(2),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| read(&part.tags).by_tag.len()).sum()
    }

    pub(super) fn purge(&self, tag: TagId, mode: Mode, number: Fence, now: Moment) {
        let part = self.part(tag);
        let mut tags = write(&part.tags);
        tags.by_tag.entry(tag).or_default().purge(mode, number, now);
        if tags.by_tag.len() > self.max_tags_in_part {
            tags.forget_older_half();
        }
        drop(tags);
        // Before the log says that the table has it.
        part.newest.store(number, Ordering::Release);
    }

    pub(super) fn mark_everything_stale(&self, number: Fence, now: Moment) {
        write(&self.everything).purge(Mode::Soft, number, now);
        self.newest_of_everything.store(number, Ordering::Release);
    }

    /// What happened since `fence` to an entry with these tags.
    pub(super) fn state(&self, tags: &[TagId], fence: Fence) -> PurgeState {
        let mut state = PurgeState::Untouched;
        for &tag in tags {
            let part = self.part(tag);
            if part.newest.load(Ordering::Acquire) <= fence {
                continue;
            }
            let tags = read(&part.tags);
            if fence < tags.floor {
                return PurgeState::Purged;
            }
            if let Some(record) = tags.by_tag.get(&tag) {
                state = state.and(record.state(fence));
            }
            if state == PurgeState::Purged {
                return state;
            }
        }
        if self.newest_of_everything.load(Ordering::Acquire) > fence {
            state = state.and(read(&self.everything).state(fence));
        }
        state
    }

    /// What is remembered of one tag.
    pub(super) fn last(&self, tag: TagId) -> Option<LastPurges> {
        read(&self.part(tag).tags).by_tag.get(&tag).copied()
    }

    fn part(&self, tag: TagId) -> &Part {
        // By the upper half: the tables within use the lower.
        &self.parts[(tag.0 >> 32) as usize % self.parts.len()]
    }

    #[cfg(test)]
    pub(super) fn is_in_small_parts(&self) -> bool {
        self.parts.iter().all(|part| read(&part.tags).by_tag.len() <= TAGS_IN_PART)
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

impl PurgedTags {
    /// Makes room. What is forgotten must not come back to life, so everything with a tag of this part that
    /// is older than a forgotten purge counts as purged from now on.
    fn forget_older_half(&mut self) {
        let mut numbers: Vec<_> = self.by_tag.values().map(LastPurges::newest).collect();
        let middle = numbers.len() / 2;
        let (_, &mut median, _) = numbers.select_nth_unstable(middle);
        self.by_tag.retain(|_, last| last.newest() > median);
        self.floor = self.floor.max(median);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_become_the_numbers_that_the_paper_gives() {
        // Appendix A: the key 00 01 … 0f, the text 00 01 … 0e.
        let hasher = TagHasher::new(TagKey::new(std::array::from_fn(|at| at as u8)));
        let text: Vec<u8> = (0..15).collect();
        let text = std::str::from_utf8(&text).expect("these bytes are ASCII");
        assert_eq!(hasher.id(text), TagId(0xa129_ca61_49be_45e5));
    }

    #[test]
    fn caches_with_one_key_agree_on_tags_and_others_do_not() {
        let id = |key| TagHasher::new(key).id("posts");
        assert_eq!(id(TagKey::new([7; 16])), id(TagKey::new([7; 16])));
        assert_ne!(id(TagKey::new([7; 16])), id(TagKey::new([8; 16])));
        assert_ne!(id(TagKey::random()), id(TagKey::random()));
        assert_eq!(format!("{:?}", TagKey::new([7; 16])), "TagKey(…)");
    }
}
