//! Shard: a table of entries under one lock, and who of them goes when room is needed.
//!
//! Entries lie in numbered slots without gaps worth mentioning: a slot that gets empty is filled
//! with the last one, so memory shrinks as entries go. An index finds slot numbers by key.

use std::sync::atomic::{AtomicU8, Ordering};

use super::{
    Eviction,
    ghost::Ghost,
    index::Index,
    name::Name,
    queue::{Links, Queue},
    slots::Slots,
};
use crate::{clock::Moment, entry::Entry};

/// A hit counts up to here. Higher is better on skewed loads until 7; beyond, entries that were hot
/// once stay too long.
const MAX_MARKS: u8 = 7;
/// Entries passed over for one victim at the most: it bounds how long an insert can take where
/// everything is marked.
const MAX_TURNS: usize = 128;
/// Share of the bytes that the small queue gets to begin with, and how far it may adapt.
const SMALL_SHARE: f32 = 0.1;
const MIN_SMALL_SHARE: f32 = 0.005;
const MAX_SMALL_SHARE: f32 = 0.4;
/// How far one returning key moves the share, relative to the size of the ghost that knew it.
const SHARE_STEP: f32 = 0.5;
/// Fingerprints each ghost keeps for each entry held. More helps loads with long memories (P3) and
/// hurts skewed ones.
const GHOST_SHARE: f32 = 0.7;
/// Empty slots kept for the next entries.
const MAX_VACANT: usize = 16;

/// Laid out for a hit, which reads the first two fields only: they share a cache line with the lock.
#[repr(C)]
pub(super) struct Shard<V> {
    /// Slot numbers by hash.
    index: Index,
    slots: Slots<Slot<V>>,
    /// Beside `slots`, number by number.
    links: Vec<Links>,
    /// Numbers of empty slots. One may have been cut off since: then it is beyond the end.
    vacant: Vec<u32>,
    /// New entries.
    small: Queue,
    /// Entries that were asked for again.
    main: Queue,
    small_ghost: Ghost,
    main_ghost: Ghost,
    small_share: f32,
    /// No entry expires before.
    earliest_expiry: Moment,
    eviction: Eviction,
}

/// Laid out for a hit, which reads from the key to the middle of the entry: two cache lines.
#[repr(C)]
pub(super) struct Slot<V> {
    key: Name,
    hash: u32,
    /// How often it was asked for since it was last looked at as a victim.
    marks: AtomicU8,
    is_main: bool,
    entry: Entry<V>,
    weight: u32,
}

impl<V> Slot<V> {
    /// What an entry costs beside what its key and its value own on the heap: its slot; its links, in
    /// a vector of which no more than a sixteenth is unused; its cell of the index; and its part of two
    /// ghosts, which fit within an eighth. What a shard needs when it is empty is not counted.
    pub(super) const OVERHEAD_BYTES: usize = {
        let links = size_of::<Links>() + size_of::<Links>().div_ceil(16);
        let ghosts = (2.0 * 4.0 * GHOST_SHARE * 8.0 / 7.0) as usize + 1;
        Slots::<Slot<V>>::BYTES_PER_SLOT + links + Index::BYTES_PER_SLOT + ghosts
    };

    pub(super) fn new(hash: u32, key: Name, entry: Entry<V>, weight: u32) -> Self {
        Slot { key, hash, marks: AtomicU8::new(0), is_main: false, entry, weight }
    }

    pub(super) fn key(&self) -> &str {
        self.key.as_str()
    }

    pub(super) fn entry(&self) -> &Entry<V> {
        &self.entry
    }

    pub(super) fn entry_mut(&mut self) -> &mut Entry<V> {
        &mut self.entry
    }

    pub(super) fn weight(&self) -> usize {
        self.weight as usize
    }

    /// Counts a hit. Two at once may count as one. Most hits find the count at its end and write
    /// nothing.
    pub(super) fn mark(&self) {
        let marks = self.marks.load(Ordering::Relaxed);
        if marks < MAX_MARKS {
            self.marks.store(marks + 1, Ordering::Relaxed);
        }
    }
}

impl<V> Shard<V> {
    pub(super) fn new(eviction: Eviction) -> Self {
        Shard {
            index: Index::new(),
            slots: Slots::new(),
            links: Vec::new(),
            vacant: Vec::new(),
            small: Queue::EMPTY,
            main: Queue::EMPTY,
            small_ghost: Ghost::default(),
            main_ghost: Ghost::default(),
            small_share: SMALL_SHARE,
            earliest_expiry: Moment::MAX,
            eviction,
        }
    }

    #[inline]
    pub(super) fn find(&self, hash: u32, key: &str) -> Option<&Slot<V>> {
        for number in self.index.candidates(hash) {
            // Not a panic where there is none: a hit would have to be ready to unwind.
            let slot = self.slots.get(number)?;
            if slot.key.is(key) {
                return Some(slot);
            }
        }
        None
    }

    /// Finds the slot and makes it the last to go.
    pub(super) fn find_and_renew(&mut self, hash: u32, key: &str) -> Option<&Slot<V>> {
        let number = self.number(hash, key)?;
        self.renew(number);
        self.slots.get(number)
    }

    pub(super) fn update(
        &mut self,
        hash: u32,
        key: &str,
        change: impl FnOnce(&mut Slot<V>),
    ) -> bool {
        let Some(number) = self.number(hash, key) else { return false };
        let slot = taken_mut(&mut self.slots, number);
        change(slot);
        self.earliest_expiry = self.earliest_expiry.min(slot.entry.expires());
        true
    }

    /// Stores `new`, for which there is room; returns what it replaces.
    pub(super) fn put(&mut self, key: &str, new: Slot<V>) -> Option<Slot<V>> {
        self.earliest_expiry = self.earliest_expiry.min(new.entry.expires());
        if let Some(number) = self.number(new.hash, key) {
            return Some(self.replace(number, new));
        }
        let is_main = self.belongs_to_main(&new);
        let number = self.occupy(Slot { is_main, ..new });
        self.enqueue(number);
        None
    }

    pub(super) fn remove(&mut self, hash: u32, key: &str) -> Option<Slot<V>> {
        let number = self.number(hash, key)?;
        let removed = self.vacate(number);
        self.tidy();
        Some(removed)
    }

    /// Takes out the entry that is worth least, for a newcomer of this weight; `None` if there is
    /// none at all.
    ///
    /// A candidate that was asked for again is spared: it goes to the back of the main queue, for
    /// all its marks if it comes from the small one, for one of them otherwise. (An LRU has no small
    /// queue and no marks, so its first candidate goes.)
    pub(super) fn evict(&mut self, newcomer: usize) -> Option<Slot<V>> {
        let mut number = self.candidate(newcomer)?;
        for _ in 0..MAX_TURNS {
            let slot = taken_mut(&mut self.slots, number);
            let marks = slot.marks.get_mut();
            if *marks == 0 {
                break;
            }
            *marks = if slot.is_main { *marks - 1 } else { 0 };
            self.move_to_main(number);
            number = self.candidate(newcomer)?;
        }
        let victim = self.vacate(number);
        self.remember(&victim);
        self.tidy();
        Some(victim)
    }

    /// Takes out those of the slots `numbers` that are doomed. Slots that move meanwhile move
    /// towards zero, so whoever walks downwards misses none.
    pub(super) fn extract(
        &mut self,
        numbers: std::ops::Range<usize>,
        mut is_doomed: impl FnMut(&mut Slot<V>) -> bool,
    ) -> Vec<Slot<V>> {
        let mut gone = Vec::new();
        for number in numbers.rev() {
            let number = number_of(number);
            let Some(slot) = self.slots.get_mut(number) else { continue };
            if is_doomed(slot) {
                gone.push(self.vacate(number));
            } else {
                self.earliest_expiry = self.earliest_expiry.min(slot.entry.expires());
            }
        }
        self.tidy();
        gone
    }

    /// The keys in the slots `numbers`.
    pub(super) fn keys(&self, numbers: std::ops::Range<usize>) -> impl Iterator<Item = &str> {
        numbers.filter_map(|number| self.slots.get(number_of(number))).map(Slot::key)
    }

    /// How many slots there are to walk over, empty ones included.
    pub(super) fn slot_count(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn earliest_expiry(&self) -> Moment {
        self.earliest_expiry
    }

    /// A walk over all slots begins, which finds the earliest expiry anew. What is stored or changed
    /// until it ends counts from now on.
    pub(super) fn forget_earliest_expiry(&mut self) {
        self.earliest_expiry = Moment::MAX;
    }

    /// All entries, for the caller to drop.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Slot<V>> + use<V> {
        let all = std::mem::replace(self, Shard::new(self.eviction));
        all.slots.into_contents()
    }

    fn number(&self, hash: u32, key: &str) -> Option<u32> {
        let mut candidates = self.index.candidates(hash);
        candidates.find(|&number| taken(&self.slots, number).key.is(key))
    }

    /// Whether a new entry goes to the main queue at once: its key went lately and is back, or the
    /// small queue has its share and nobody had to go. Learns from either ghost how large the small queue should
    /// be: what it let go too early speaks for a larger one, what the main queue did for a smaller.
    fn belongs_to_main(&mut self, new: &Slot<V>) -> bool {
        if self.eviction == Eviction::Lru {
            return true;
        }
        let is_back = self.small_ghost.take(new.hash);
        if is_back {
            self.small_share += SHARE_STEP / (1 + self.small_ghost.len()) as f32;
        }
        if self.main_ghost.take(new.hash) {
            self.small_share -= SHARE_STEP / (1 + self.main_ghost.len()) as f32;
        }
        self.small_share = self.small_share.clamp(MIN_SMALL_SHARE, MAX_SMALL_SHARE);
        is_back || self.small.bytes() >= self.small_target()
    }

    fn small_target(&self) -> usize {
        ((self.small.bytes() + self.main.bytes()) as f32 * self.small_share) as usize
    }

    /// Who is next to go for a newcomer of this weight, unless it is marked. The newcomer will most
    /// likely be in the small queue, so that one makes room for it as far as it can.
    fn candidate(&self, newcomer: usize) -> Option<u32> {
        let is_small_full = self.small.bytes() + newcomer > self.small_target();
        let small = self.small.front().filter(|_| is_small_full);
        small.or(self.main.front()).or(self.small.front())
    }

    fn remember(&mut self, victim: &Slot<V>) {
        if self.eviction == Eviction::Lru {
            return;
        }
        let ghost = if victim.is_main { &mut self.main_ghost } else { &mut self.small_ghost };
        ghost.fit((self.slots.len() as f32 * GHOST_SHARE) as usize);
        ghost.push(victim.hash);
    }

    fn renew(&mut self, number: u32) {
        self.unqueue(number);
        self.enqueue(number);
    }

    fn move_to_main(&mut self, number: u32) {
        self.unqueue(number);
        taken_mut(&mut self.slots, number).is_main = true;
        self.enqueue(number);
    }

    fn enqueue(&mut self, number: u32) {
        let slot = taken(&self.slots, number);
        let queue = if slot.is_main { &mut self.main } else { &mut self.small };
        queue.push_back(&mut self.links, number, slot.weight);
    }

    fn unqueue(&mut self, number: u32) {
        let slot = taken(&self.slots, number);
        let queue = if slot.is_main { &mut self.main } else { &mut self.small };
        queue.unlink(&mut self.links, number, slot.weight);
    }

    /// A newer value under the same key keeps its place and its marks: it is as much asked for.
    fn replace(&mut self, number: u32, mut new: Slot<V>) -> Slot<V> {
        let old = taken_mut(&mut self.slots, number);
        new.is_main = old.is_main;
        new.marks = AtomicU8::new(*old.marks.get_mut());
        let queue = if new.is_main { &mut self.main } else { &mut self.small };
        queue.reweigh(old.weight, new.weight);
        let old = std::mem::replace(old, new);
        if self.eviction == Eviction::Lru {
            self.renew(number);
        }
        old
    }

    fn occupy(&mut self, slot: Slot<V>) -> u32 {
        let hash = slot.hash;
        let number = self.empty_slot();
        self.fit_index();
        self.slots.fill(number, slot);
        self.index.insert(hash, number);
        number
    }

    fn empty_slot(&mut self) -> u32 {
        while let Some(number) = self.vacant.pop() {
            if (number as usize) < self.slots.len() {
                return number;
            }
        }
        grow(&mut self.links);
        self.slots.push();
        self.links.push(Links::UNQUEUED);
        number_of(self.slots.len() - 1)
    }

    fn vacate(&mut self, number: u32) -> Slot<V> {
        self.unqueue(number);
        let slot = self.slots.take(number).expect(TAKEN);
        let slots = &self.slots;
        self.index.remove(slot.hash, number, |other| taken(slots, other).hash);
        self.vacant.push(number);
        slot
    }

    /// Fills empty slots with the last ones, and gives back the memory that frees.
    fn tidy(&mut self) {
        while self.vacant.len() > MAX_VACANT {
            let hole = self.vacant.pop().expect("more than none are vacant");
            if (hole as usize) < self.slots.len() {
                self.move_last_to(hole);
            }
        }
        shrink(&mut self.links);
        self.fit_index();
    }

    fn fit_index(&mut self) {
        let slots = self.slots.len();
        if !self.index.fits(slots) {
            let taken = (0..).zip(self.slots.iter());
            let taken = taken.filter_map(|(number, slot)| Some((slot?.hash, number)));
            self.index.fit(slots, taken);
        }
    }

    /// Fills an empty slot with the last one, which is given up, be it empty itself.
    fn move_last_to(&mut self, hole: u32) {
        let last = number_of(self.slots.len() - 1);
        if let Some(slot) = self.slots.pop() {
            let queue = if slot.is_main { &mut self.main } else { &mut self.small };
            queue.renumber(&mut self.links, last, hole);
            self.index.renumber(slot.hash, last, hole);
            self.slots.fill(hole, slot);
        } else if last != hole {
            // What is vacant there is forgotten with it; the hole still is one.
            self.vacant.push(hole);
        }
        self.links.pop();
    }
}

const TAKEN: &str = "the index and the queues name taken slots only";

// Free functions where other fields are borrowed beside the slots.

fn taken<V>(slots: &Slots<Slot<V>>, number: u32) -> &Slot<V> {
    slots.get(number).expect(TAKEN)
}

fn taken_mut<V>(slots: &mut Slots<Slot<V>>, number: u32) -> &mut Slot<V> {
    slots.get_mut(number).expect(TAKEN)
}

fn number_of(place: usize) -> u32 {
    u32::try_from(place).expect("a shard holds less than four billion entries")
}

/// Makes room for one more, and for a thirty-second: doubling would leave too much unused.
fn grow<T>(vec: &mut Vec<T>) {
    if vec.len() == vec.capacity() {
        vec.reserve_exact(room(vec));
    }
}

fn shrink<T>(vec: &mut Vec<T>) {
    if vec.capacity() > vec.len() + 2 * room(vec) {
        vec.shrink_to(vec.len() + room(vec));
    }
}

fn room<T>(vec: &[T]) -> usize {
    vec.len() / 32 + MAX_VACANT
}

#[cfg(test)]
impl<V> Shard<V> {
    /// Checks every invariant; returns entries and bytes.
    pub(super) fn validate(&self) -> (usize, usize) {
        let numbers = |queue: &Queue, is_main: bool| {
            let numbers = queue.numbers(&self.links);
            let slots: Vec<_> = numbers.iter().map(|&number| taken(&self.slots, number)).collect();
            assert!(slots.iter().all(|slot| slot.is_main == is_main), "in the other queue");
            assert_eq!(queue.bytes(), slots.iter().map(|slot| slot.weight()).sum::<usize>());
            numbers
        };
        let mut queued = [numbers(&self.small, false), numbers(&self.main, true)].concat();
        queued.sort_unstable();
        let places = (0..).zip(self.slots.iter());
        let all: Vec<u32> = places.filter_map(|(number, slot)| slot.map(|_| number)).collect();
        assert_eq!(queued, all, "every taken slot is in one queue, once");
        let mut indexed = self.index.numbers();
        indexed.sort_unstable();
        assert_eq!(indexed, all, "every taken slot is in the index, once");
        for &number in &all {
            let slot = taken(&self.slots, number);
            assert_eq!(self.number(slot.hash, slot.key()), Some(number));
            assert!(slot.entry.expires() >= self.earliest_expiry);
        }
        assert_eq!(self.links.len(), self.slots.len());
        assert!(self.vacant.len() <= MAX_VACANT);
        assert!(self.slots.len() <= all.len() + MAX_VACANT, "an empty slot nobody knows");
        assert!(self.links.capacity() <= all.len() + all.len() / 16 + 4 * MAX_VACANT);
        assert!(self.index.bytes() <= all.len() * Index::BYTES_PER_SLOT + 512);
        (all.len(), self.small.bytes() + self.main.bytes())
    }
}
