//! Shard: a table of entries under one lock, and who of them goes when room is needed.
//!
//! Entries lie in numbered slots without gaps worth mentioning: a slot that gets empty is filled
//! with the last one, so memory shrinks as entries go. An index finds slot numbers by key.
//!
//! What is over goes before anything that is not, whatever was asked for how often. Blocks know where
//! something may be over, so finding it costs little more than taking it out.

use std::{
    num::NonZeroU16,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU16, AtomicU64, Ordering},
    },
};

use larder_policy::class::Class;

use super::{
    Eviction,
    blocks::{BLOCK, Block},
    classes::Classes,
    freed,
    ghost::Ghost,
    index::Index,
    name::Name,
    queue::{Links, Queue},
    slots::Slots,
    survey::Seen,
};
use crate::{clock::Moment, entry::Entry, purge::judge::Judge};

/// A hit counts up to here. Higher is better on skewed loads until 7; beyond, entries that were hot
/// once stay too long.
const MAX_MARKS: u8 = 7;
/// Entries passed over for one victim at the most, or as many looks at the table of tags: it bounds how long
/// an insert can take where everything is marked.
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
/// Slots that each new entry lets an eviction look over in search of what is over, and how many of them
/// can be saved up: a shard at rest looks at 2048 at once, one whose entries are purged all the time at
/// so few that its inserts do not notice.
const LOOKS_PER_PUT: usize = 64;
const MAX_LOOKS: usize = 2048;
/// Slots looked at in one hold of the lock, and what taking one out counts as: five microseconds, where all
/// of them have to come from memory.
pub(crate) const SLOTS_PER_HOLD: usize = 32;
const LOOKS_PER_REMOVAL: usize = 3;

/// Where shards begin to count their changes: each time from another number, so that one that was emptied and filled
/// again never shows what it has shown before.
static CHANGES: AtomicU64 = AtomicU64::new(1);

/// What a shard of such values needs no more.
pub(super) type Freed<V> = freed::Freed<Slot<V>, Shard<V>>;

/// Laid out for a hit, which reads the first two fields only: the whole shares a cache line with the lock.
#[repr(C)]
pub(super) struct Shard<V> {
    /// Slot numbers by hash.
    index: Index,
    slots: Slots<Slot<V>>,
    /// What a hit does not read; none before the first entry.
    rest: Option<Box<Rest<V>>>,
}

struct Rest<V> {
    /// Beside the slots, number by number: as many as there are.
    links: Vec<Links>,
    /// Beside the slots as well. Whatever puts all of them into another order reads nothing else: the slots
    /// themselves are too far apart for that.
    hashes: Vec<u32>,
    /// Beside them as well, and empty while nothing here has a class.
    classes: Vec<Class>,
    /// What the entries of each class hold in all shards.
    sums: Arc<Classes>,
    /// Where the search for an entry of a class goes on.
    hand: usize,
    /// Numbers of empty slots. One may have been cut off since: then it is beyond the end.
    vacant: Vec<u32>,
    /// The ends of what is in the slots, `BLOCK` by `BLOCK`.
    blocks: Vec<Block>,
    /// What holds for all blocks, or did when it was last found out.
    known: Block,
    /// The block that was looked over last: the search goes on below it.
    cursor: usize,
    /// The one that was looked over in part.
    halfway: Option<Halfway>,
    /// How many slots an eviction may look over.
    looks: usize,
    /// New entries.
    small: Queue,
    /// Entries that were asked for again.
    main: Queue,
    small_ghost: Ghost,
    main_ghost: Ghost,
    small_share: f32,
    eviction: Eviction,
    /// How often a slot has got another content, be it new or moved: whoever goes over the slots compares.
    changes: u64,
    /// What is not needed any more: whoever holds the lock gives it back once that is free.
    freed: Option<Box<Freed<V>>>,
}

/// A block that takes too long to be looked over at once, for its entries have many tags. It stays due.
struct Halfway {
    block: usize,
    /// The slot to go on with.
    next: usize,
    /// What is known of the slots before.
    found: Block,
}

/// Places of slots that were taken out of a shard, each with what was in it. They lie on the heap and are
/// handed on by reference: values may be large, and stacks are small.
pub(super) type Gone<V> = Vec<Option<Slot<V>>>;

/// What an eviction took out: something, if anything was there.
pub(super) struct Evicted<V> {
    pub(super) gone: Gone<V>,
    /// How many of them were over. The others, one at the most, had to go although they were not.
    pub(super) over: usize,
}

/// Laid out for a hit, which reads from the key to the middle of the entry: two cache lines.
#[repr(C)]
pub(super) struct Slot<V> {
    key: Name,
    /// How often it was asked for since it was last looked at as a victim.
    marks: AtomicU8,
    is_main: bool,
    /// By which what is here is known again. Zero: nobody has asked for it.
    ticket: AtomicU16,
    weight: u32,
    entry: Entry<V>,
}

/// What an entry is known again by: any other of its key, be it stored a moment later, has another one or none.
///
/// There are 65,535, given out in turn. So two entries of one key have the same only if so many were given out
/// between the two; [`Ticket`] has the end of their freshness as well, which all but rules it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    number: NonZeroU16,
    fresh_until: Moment,
}

impl<V> Slot<V> {
    /// What an entry costs beside what its key and its value own on the heap: its slot; its links,
    /// its hash and its part of a block, in vectors of which no more than a sixteenth is unused; its cell of the index;
    /// and its part of two ghosts, which fit within an eighth. What a shard needs when it is empty is not
    /// counted.
    pub(super) const OVERHEAD_BYTES: usize = {
        let links = size_of::<Links>() + size_of::<Links>().div_ceil(16);
        let hash = size_of::<u32>() + size_of::<u32>().div_ceil(16);
        let blocks = (2 * size_of::<Block>()).div_ceil(BLOCK);
        let ghosts = (2.0 * 4.0 * GHOST_SHARE * 8.0 / 7.0) as usize + 1;
        Slots::<Slot<V>>::BYTES_PER_SLOT + links + hash + blocks + Index::BYTES_PER_SLOT + ghosts
    };

    /// What its class costs, where anything has one: two bytes in a vector of which no more than a sixteenth is unused.
    pub(super) const CLASS_BYTES: usize = size_of::<Class>() + size_of::<Class>().div_ceil(16);

    pub(super) fn new(key: Name, entry: Entry<V>, weight: u32) -> Self {
        let (marks, ticket) = (AtomicU8::new(0), AtomicU16::new(0));
        Slot { key, marks, is_main: false, ticket, entry, weight }
    }

    /// What this entry is known again by.
    pub(super) fn ticket(&self) -> Ticket {
        let fresh_until = self.entry.fresh_until();
        if let Some(number) = NonZeroU16::new(self.ticket.load(Ordering::Relaxed)) {
            return Ticket { number, fresh_until };
        }
        let new = new_ticket();
        let (before, after) = (Ordering::Relaxed, Ordering::Relaxed);
        // Of two who ask at the same time the first gives it its number.
        let given = self.ticket.compare_exchange(0, new.get(), before, after);
        let number = given.err().and_then(NonZeroU16::new).unwrap_or(new);
        Ticket { number, fresh_until }
    }

    /// Whether this is the entry that had this ticket, and nothing has changed how long it is fresh.
    pub(super) fn has(&self, ticket: Ticket) -> bool {
        self.ticket.load(Ordering::Relaxed) == ticket.number.get()
            && self.entry.fresh_until() == ticket.fresh_until
    }

    pub(super) fn into_value(self) -> V {
        self.entry.value
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

    pub(super) fn weighs(&mut self, weight: u32) {
        self.weight = weight;
    }

    pub(super) fn weight(&self) -> usize {
        self.weight as usize
    }

    /// As a survey sees it.
    pub(super) fn seen(&self) -> Seen<'_, V> {
        let (key, entry) = (self.key(), &self.entry);
        Seen { key, entry, bytes: self.weight(), marks: self.marks() }
    }

    /// How often it was asked for, as far as that is remembered.
    pub(super) fn marks(&self) -> u8 {
        self.marks.load(Ordering::Relaxed)
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
    pub(super) fn new() -> Self {
        Shard { index: Index::new(), slots: Slots::new(), rest: None }
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

    /// Makes `key` the last to go.
    pub(super) fn renew(&mut self, hash: u32, key: &str) {
        if let Some(number) = self.number(hash, key) {
            self.requeue(number);
        }
    }

    pub(super) fn update<R>(
        &mut self,
        hash: u32,
        key: &str,
        change: impl FnOnce(&mut Slot<V>) -> R,
    ) -> Option<R> {
        let number = self.number(hash, key)?;
        let changed = change(taken_mut(&mut self.slots, number));
        self.note(number);
        Some(changed)
    }

    /// The slot of `key`, and what it weighs.
    pub(super) fn holds(&self, hash: u32, key: &str) -> Option<(u32, usize)> {
        let number = self.number(hash, key)?;
        Some((number, taken(&self.slots, number).weight()))
    }

    /// Stores `new`, for which there is room in the budget and in its class, in place of what is in the slot
    /// `older`, and leaves that there instead.
    pub(super) fn put(
        &mut self,
        hash: u32,
        older: Option<u32>,
        (new, class): (&mut Option<Slot<V>>, Class),
        eviction: Eviction,
        sums: &Arc<Classes>,
    ) {
        let new_rest = || Box::new(Rest::new(eviction, Arc::clone(sums)));
        let rest = self.rest.get_or_insert_with(new_rest);
        rest.looks = (rest.looks + LOOKS_PER_PUT).min(MAX_LOOKS);
        if let Some(number) = older {
            return self.replace(number, new, class);
        }
        let is_main = rest.belongs_to_main(hash);
        let number = self.occupy(hash, new);
        rest_of(&mut self.rest).classify(number, class);
        taken_mut(&mut self.slots, number).is_main = is_main;
        self.enqueue(number);
    }

    /// Takes `key` out into `removed`, if it is there.
    pub(super) fn remove(&mut self, hash: u32, key: &str, removed: &mut Option<Slot<V>>) {
        let Some(number) = self.number(hash, key) else { return };
        self.vacate(number, removed);
        self.give_back();
    }

    /// Takes out what is over, as far as that can be found at little cost; else the entry that is worth
    /// least, for a newcomer of this weight. Never what is in the slot `spared`, which the newcomer
    /// replaces.
    ///
    /// A candidate that was asked for again, and is not over, is spared: it goes to the back of the main
    /// queue, for all its marks if it comes from the small one, for one of them otherwise. (An LRU has no
    /// small queue and no marks, so its first candidate goes.)
    pub(super) fn evict(
        &mut self,
        newcomer: usize,
        spared: Option<u32>,
        judge: &Judge<'_>,
    ) -> Evicted<V> {
        let mut gone = self.look_for_over(spared, judge);
        let mut over = gone.len();
        if gone.is_empty()
            && let Some(number) = self.victim(newcomer, spared, judge)
        {
            let slot = taken(&self.slots, number);
            let is_main = slot.is_main;
            over = usize::from(judge.is_over(&slot.entry));
            self.vacate(number, new_place(&mut gone));
            rest_of(&mut self.rest).remember(number, is_main);
        }
        self.tidy();
        Evicted { gone, over }
    }

    /// Takes out the entry of this class that is worth least, if there is one: never what is in the slot `spared`. It
    /// is looked for from where the last search ended, and one that nobody has asked for since it was passed over goes.
    /// What is passed over loses a mark. Whom the queues would let go first, and what the ghosts remember, is not changed
    /// by that: the class is too large, and the shard need not be.
    pub(super) fn evict_of(
        &mut self,
        class: Class,
        spared: Option<u32>,
        judge: &Judge<'_>,
    ) -> Evicted<V> {
        let (mut gone, mut over) = (Vec::new(), 0);
        if let Some(number) = self.victim_of(class, spared, judge) {
            over = usize::from(judge.is_over(&taken(&self.slots, number).entry));
            self.vacate(number, new_place(&mut gone));
        }
        self.tidy();
        Evicted { gone, over }
    }

    fn victim_of(&mut self, class: Class, spared: Option<u32>, judge: &Judge<'_>) -> Option<u32> {
        let rest = self.rest.as_mut()?;
        let hand = rest.hand.min(rest.classes.len());
        let (mut least, mut effort) = (None, 0);
        for range in [hand..rest.classes.len(), 0..hand] {
            let mut next = range.start;
            while let Some(place) = find_class(&rest.classes[next..range.end], class) {
                let number = number_of(next + place);
                next += place + 1;
                rest.hand = next;
                if spared == Some(number) {
                    continue;
                }
                let slot = taken_mut(&mut self.slots, number);
                let marks = slot.marks.get_mut();
                let before = *marks;
                *marks = marks.saturating_sub(1);
                effort += judge.effort(&slot.entry);
                if before == 0 || judge.is_over(&slot.entry) {
                    return Some(number);
                }
                if least.is_none_or(|(fewest, _)| before < fewest) {
                    least = Some((before, number));
                }
                if effort >= MAX_TURNS {
                    return least.map(|(_, number)| number);
                }
            }
        }
        least.map(|(_, number)| number)
    }

    fn victim(&mut self, newcomer: usize, spared: Option<u32>, judge: &Judge<'_>) -> Option<u32> {
        let mut number = self.rest.as_ref()?.candidate(newcomer, spared)?;
        let mut effort = 0;
        while effort < MAX_TURNS {
            let slot = taken_mut(&mut self.slots, number);
            let marks = slot.marks.get_mut();
            if *marks == 0 {
                break;
            }
            *marks = if slot.is_main { *marks - 1 } else { 0 };
            effort += judge.effort(&slot.entry);
            if judge.is_over(&slot.entry) {
                break;
            }
            self.move_to_main(number);
            number = self.rest.as_ref()?.candidate(newcomer, spared)?;
        }
        Some(number)
    }

    /// Looks over blocks in which something may be over until something is.
    fn look_for_over(&mut self, spared: Option<u32>, judge: &Judge<'_>) -> Gone<V> {
        let (mut over, mut last) = (Vec::new(), None);
        while let Some(rest) = &mut self.rest
            && rest.looks >= BLOCK
            && let Some(due) = rest.next_due(judge)
            // What is spared is over itself, and leaves its block as it was.
            && (last != Some(due) || rest.halfway.is_some())
        {
            let most = rest.looks;
            let effort = self.look_over(due, most, spared, judge, &mut over);
            let rest = rest_of(&mut self.rest);
            rest.looks = rest.looks.saturating_sub(effort);
            if !over.is_empty() {
                break;
            }
            last = Some(due);
        }
        over
    }

    /// Whether something may be over.
    pub(super) fn is_due(&self, judge: &Judge<'_>) -> bool {
        self.rest.as_ref().is_some_and(|rest| rest.known.is_due(judge))
    }

    /// Takes out into `over` what is, as far as that is found in one hold of the lock; says how many slots that
    /// took looking at. None: nothing is over any more.
    pub(super) fn sweep(&mut self, judge: &Judge<'_>, over: &mut Gone<V>) -> usize {
        let mut effort = 0;
        while effort < SLOTS_PER_HOLD
            && let Some(rest) = &mut self.rest
            && let Some(due) = rest.next_due(judge)
        {
            let most = SLOTS_PER_HOLD - effort;
            effort += self.look_over(due, most, None, judge, over).max(1);
        }
        self.give_back();
        effort
    }

    /// Takes what is over out of one block, but for what is in the slot `spared`. Returns what that cost,
    /// in slots looked at; once that is `most` or more it stops, and goes on from there the next time.
    fn look_over(
        &mut self,
        block: usize,
        most: usize,
        spared: Option<u32>,
        judge: &Judge<'_>,
        over: &mut Gone<V>,
    ) -> usize {
        let mut effort = 0;
        let rest = rest_of(&mut self.rest);
        let (first, mut found) = match rest.halfway.take_if(|halfway| halfway.block == block) {
            Some(Halfway { next, found, .. }) => (next, found.and(Block::judged_by(judge))),
            None => (block * BLOCK, Block::judged_by(judge)),
        };
        for next in first..(block + 1) * BLOCK {
            if effort >= most {
                rest_of(&mut self.rest).halfway = Some(Halfway { block, next, found });
                return effort;
            }
            let number = number_of(next);
            let Some(slot) = self.slots.get(number) else { continue };
            effort += judge.effort(&slot.entry);
            let end = judge.end(&slot.entry);
            if end <= judge.now() && spared != Some(number) {
                effort += LOOKS_PER_REMOVAL;
                self.vacate(number, new_place(over));
            } else {
                found.note_end(end);
            }
        }
        rest_of(&mut self.rest).blocks[block] = found;
        effort
    }

    /// Takes out into `gone` those of the slots `numbers` that are doomed. Slots that move meanwhile move
    /// towards zero, so whoever walks downwards misses none.
    pub(super) fn extract(
        &mut self,
        numbers: std::ops::Range<usize>,
        mut is_doomed: impl FnMut(&Slot<V>) -> bool,
        gone: &mut Gone<V>,
    ) {
        for number in numbers.rev().map(number_of) {
            if self.slots.get(number).is_some_and(&mut is_doomed) {
                self.vacate(number, new_place(gone));
            }
        }
        self.give_back();
    }

    /// Lets `change` at what is in the slots `numbers`.
    pub(super) fn change(
        &mut self,
        numbers: std::ops::Range<usize>,
        mut change: impl FnMut(&mut Slot<V>),
    ) {
        for number in numbers.map(number_of) {
            if let Some(slot) = self.slots.get_mut(number) {
                change(slot);
                self.note(number);
            }
        }
    }

    /// Lets `visit` at what is not over, from the slot before `end` downwards, as far as that goes in one hold
    /// of the lock. Returns where to go on: slots that move meanwhile move towards zero, so whoever does misses
    /// none, and may see one twice.
    pub(super) fn visit(
        &self,
        end: usize,
        judge: &Judge<'_>,
        mut visit: impl FnMut(&Slot<V>),
    ) -> usize {
        let (mut next, mut effort) = (end.min(self.slot_count()), 0);
        while next > 0 && effort < SLOTS_PER_HOLD {
            next -= 1;
            effort += 1;
            let Some(slot) = self.slots.get(number_of(next)) else { continue };
            effort += judge.effort(&slot.entry) - 1;
            if !judge.is_over(&slot.entry) {
                visit(slot);
            }
        }
        next
    }

    /// The same for what is over as well; `visit` says what each look has cost.
    pub(super) fn pass(&self, end: usize, mut visit: impl FnMut(&Slot<V>) -> usize) -> usize {
        let (mut next, mut effort) = (end.min(self.slot_count()), 0);
        while next > 0 && effort < SLOTS_PER_HOLD {
            next -= 1;
            effort += self.slots.get(number_of(next)).map_or(1, &mut visit);
        }
        next
    }

    /// How often a slot has got another content. It never shows the same again after a change.
    pub(super) fn changes(&self) -> u64 {
        self.rest.as_ref().map_or(0, |rest| rest.changes)
    }

    /// The class of what is in the slot.
    pub(super) fn class(&self, number: u32) -> Class {
        self.rest.as_ref().map_or(Class::NONE, |rest| rest.class(number))
    }

    /// A shard that was [taken](Shard::take_all) whole: its entries are of their classes no longer.
    pub(super) fn leave_classes(&self) {
        let Some(rest) = &self.rest else { return };
        for (number, &class) in (0..).zip(&rest.classes) {
            if class != Class::NONE
                && let Some(slot) = self.slots.get(number)
            {
                rest.sums.leave(class, 1, slot.weight());
            }
        }
    }

    /// What is in the slot.
    pub(super) fn slot(&self, number: u32) -> &Slot<V> {
        taken(&self.slots, number)
    }

    /// How many slots there are to walk over, empty ones included.
    pub(super) fn slot_count(&self) -> usize {
        self.rest.as_ref().map_or(0, |rest| rest.links.len())
    }

    /// All there is, for the caller to drop without the lock: giving so much memory back takes long, too.
    pub(super) fn take_all(&mut self) -> Shard<V> {
        std::mem::replace(self, Shard::new())
    }

    /// How many entries there are, and what they weigh.
    pub(super) fn size(&self) -> (usize, usize) {
        let Some(rest) = &self.rest else { return (0, 0) };
        let is_there = |number: &&u32| (**number as usize) < rest.links.len();
        let vacant = rest.vacant.iter().filter(is_there).count();
        (rest.links.len() - vacant, rest.small.bytes() + rest.main.bytes())
    }

    pub(super) fn slots_mut(&mut self) -> impl Iterator<Item = &mut Option<Slot<V>>> {
        self.slots.iter_mut()
    }

    fn number(&self, hash: u32, key: &str) -> Option<u32> {
        let mut candidates = self.index.candidates(hash);
        candidates.find(|&number| taken(&self.slots, number).key.is(key))
    }

    fn requeue(&mut self, number: u32) {
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
        let (queue, links) = rest_of(&mut self.rest).queue(slot.is_main);
        queue.push_back(links, number, slot.weight);
    }

    fn unqueue(&mut self, number: u32) {
        let slot = taken(&self.slots, number);
        let (queue, links) = rest_of(&mut self.rest).queue(slot.is_main);
        queue.unlink(links, number, slot.weight);
    }

    /// A newer value under the same key keeps its place and its marks: it is as much asked for.
    fn replace(&mut self, number: u32, newer: &mut Option<Slot<V>>, class: Class) {
        let old = taken_mut(&mut self.slots, number);
        let new = newer.as_mut().expect(SOMETHING);
        new.is_main = old.is_main;
        new.marks = AtomicU8::new(*old.marks.get_mut());
        let rest = rest_of(&mut self.rest);
        let (queue, _) = rest.queue(new.is_main);
        queue.reweigh(old.weight, new.weight);
        match rest.class(number) {
            // It has booked no more than it weighs more.
            same if same == class => {
                rest.sums.leave(class, 0, old.weight.saturating_sub(new.weight) as usize);
            }
            other => rest.sums.leave(other, 1, old.weight as usize),
        }
        rest.classify(number, class);
        let is_lru = rest.eviction == Eviction::Lru;
        self.slots.swap(number, newer);
        self.note(number);
        if is_lru {
            self.requeue(number);
        }
    }

    fn occupy(&mut self, hash: u32, slot: &mut Option<Slot<V>>) -> u32 {
        let number = self.empty_slot();
        self.fit_index();
        let rest = rest_of(&mut self.rest);
        rest.hashes[number as usize] = hash;
        rest.changes += 1;
        self.slots.swap(number, slot);
        self.note(number);
        self.index.insert(hash, number);
        number
    }

    fn empty_slot(&mut self) -> u32 {
        let rest = rest_of(&mut self.rest);
        let len = rest.links.len();
        while let Some(number) = rest.vacant.pop() {
            if (number as usize) < len {
                return number;
            }
        }
        push(&mut rest.links, Links::VACANT);
        push(&mut rest.hashes, 0);
        if !rest.classes.is_empty() {
            push(&mut rest.classes, Class::NONE);
        }
        if len.is_multiple_of(BLOCK) {
            push(&mut rest.blocks, Block::EMPTY);
        }
        self.slots.push(len);
        number_of(len)
    }

    /// What is in the slot is to be found when it is over.
    fn note(&mut self, number: u32) {
        let entry = &taken(&self.slots, number).entry;
        let rest = rest_of(&mut self.rest);
        let block = number as usize / BLOCK;
        rest.known.note(entry);
        rest.blocks[block].note(entry);
        if let Some(halfway) = &mut rest.halfway
            && halfway.block == block
        {
            halfway.found.note(entry);
        }
    }

    /// Takes what is in the slot out into `place`, which is empty.
    fn vacate(&mut self, number: u32, place: &mut Option<Slot<V>>) {
        self.unqueue(number);
        self.slots.swap(number, place);
        let rest = rest_of(&mut self.rest);
        let hash_of = |number: u32| rest.hashes[number as usize];
        self.index.remove(hash_of(number), number, hash_of);
        rest.vacant.push(number);
        let class = rest.class(number);
        if class != Class::NONE {
            rest.classes[number as usize] = Class::NONE;
            rest.sums.leave(class, 1, place.as_ref().map_or(0, Slot::weight));
        }
    }

    /// Gives back the memory that is not needed, where nothing is about to be stored: a shard that has got empty is as it was at first.
    fn give_back(&mut self) {
        self.tidy();
        if let Some(rest) = &self.rest
            && rest.small.is_empty()
            && rest.main.is_empty()
        {
            let mut rest = Box::new(Rest::new(rest.eviction, Arc::clone(&rest.sums)));
            freed(&mut rest.freed).shards.push(self.take_all());
            self.rest = Some(rest);
        }
    }

    /// The memory that is not needed any more, for the caller to give back without the lock.
    #[inline]
    pub(super) fn take_freed(&mut self) -> Option<Box<Freed<V>>> {
        let rest = self.rest.as_mut()?;
        let freed = rest.freed.take()?;
        if rest.links.is_empty() && !freed.shards.is_empty() {
            self.rest = None;
        }
        Some(freed)
    }

    /// Fills empty slots with the last ones, and gives back the memory that frees.
    fn tidy(&mut self) {
        let Some(rest) = &mut self.rest else { return };
        if rest.vacant.len() > MAX_VACANT {
            while let Some(rest) = &mut self.rest
                && rest.vacant.len() > MAX_VACANT
            {
                let hole = rest.vacant.pop().expect("more than none are vacant");
                if (hole as usize) < rest.links.len() {
                    self.move_last_to(hole);
                }
            }
            let rest = rest_of(&mut self.rest);
            shrink(&mut rest.links, |old| freed(&mut rest.freed).links.push(old));
            shrink(&mut rest.hashes, |old| freed(&mut rest.freed).numbers.push(old));
            shrink(&mut rest.classes, |old| freed(&mut rest.freed).classes.push(old));
            shrink(&mut rest.blocks, |old| freed(&mut rest.freed).blocks.push(old));
        }
        self.fit_index();
    }

    fn fit_index(&mut self) {
        let Some(rest) = &mut self.rest else { return };
        if !self.index.fits(rest.links.len()) {
            let taken = rest.hashes.iter().copied().zip(0..).zip(&rest.links);
            let taken = taken.filter(|(_, links)| **links != Links::VACANT);
            let taken = taken.map(|(hash_and_number, _)| hash_and_number);
            let old = self.index.fit(rest.links.len(), taken);
            freed(&mut rest.freed).numbers.push(old.into_vec());
        }
    }

    /// Fills an empty slot with the last one, which is given up, be it empty itself.
    fn move_last_to(&mut self, hole: u32) {
        let rest = rest_of(&mut self.rest);
        let len = rest.links.len();
        let last = number_of(len - 1);
        if let Some(slot) = self.slots.get(last) {
            let (queue, links) = rest.queue(slot.is_main);
            queue.renumber(links, last, hole);
            let hash = rest.hashes[last as usize];
            rest.hashes[hole as usize] = hash;
            rest.changes += 1;
            let class = rest.class(last);
            rest.classify(hole, class);
            self.index.renumber(hash, last, hole);
            let mut moved = None;
            self.slots.swap(last, &mut moved);
            self.slots.swap(hole, &mut moved);
            self.note(hole);
        } else if last != hole {
            // What is vacant there is forgotten with it; the hole still is one.
            rest.vacant.push(hole);
        }
        let rest = rest_of(&mut self.rest);
        self.slots.pop(len, |chunks| freed(&mut rest.freed).chunks.push(chunks));
        rest.links.pop();
        rest.hashes.pop();
        rest.classes.pop();
        rest.blocks.truncate(rest.links.len().div_ceil(BLOCK));
    }
}

impl<V> Rest<V> {
    fn new(eviction: Eviction, sums: Arc<Classes>) -> Self {
        Rest {
            links: Vec::new(),
            hashes: Vec::new(),
            classes: Vec::new(),
            sums,
            hand: 0,
            vacant: Vec::new(),
            blocks: Vec::new(),
            known: Block::EMPTY,
            cursor: 0,
            halfway: None,
            looks: MAX_LOOKS,
            small: Queue::EMPTY,
            main: Queue::EMPTY,
            small_ghost: Ghost::default(),
            main_ghost: Ghost::default(),
            small_share: SMALL_SHARE,
            eviction,
            changes: CHANGES.fetch_add(1 << 32, Ordering::Relaxed),
            freed: None,
        }
    }

    fn queue(&mut self, is_main: bool) -> (&mut Queue, &mut [Links]) {
        (if is_main { &mut self.main } else { &mut self.small }, &mut self.links)
    }

    fn class(&self, number: u32) -> Class {
        self.classes.get(number as usize).copied().unwrap_or_default()
    }

    /// What is in the slot is of this class. The first that has one makes room for all.
    fn classify(&mut self, number: u32, class: Class) {
        if self.classes.is_empty() && class != Class::NONE {
            self.classes.reserve_exact(self.links.len() + room(&self.links));
            self.classes.resize(self.links.len(), Class::NONE);
        }
        if let Some(place) = self.classes.get_mut(number as usize) {
            *place = class;
        }
    }

    /// The next block, downwards and round, in which something may be over.
    fn next_due(&mut self, judge: &Judge<'_>) -> Option<usize> {
        if !self.known.is_due(judge) {
            return None;
        }
        let is_due = |block: &usize| self.blocks.get(*block).is_some_and(|it| it.is_due(judge));
        if let Some(block) = self.halfway.as_ref().map(|halfway| halfway.block).filter(is_due) {
            return Some(block);
        }
        let cursor = self.cursor.min(self.blocks.len());
        let mut blocks = (0..cursor).rev().chain((cursor..self.blocks.len()).rev());
        let due = blocks.find(|&block| self.blocks[block].is_due(judge));
        match due {
            Some(due) => self.cursor = due,
            None => self.known = self.blocks.iter().copied().fold(Block::EMPTY, Block::and),
        }
        due
    }

    /// Whether a new entry goes to the main queue at once: its key went lately and is back, or the
    /// small queue has its share and nobody had to go. Learns from either ghost how large the small queue should
    /// be: what it let go too early speaks for a larger one, what the main queue did for a smaller.
    fn belongs_to_main(&mut self, hash: u32) -> bool {
        if self.eviction == Eviction::Lru {
            return true;
        }
        let is_back = self.small_ghost.take(hash);
        if is_back {
            self.small_share += SHARE_STEP / (1 + self.small_ghost.len()) as f32;
        }
        if self.main_ghost.take(hash) {
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
    fn candidate(&self, newcomer: usize, spared: Option<u32>) -> Option<u32> {
        let is_small_full = self.small.bytes().saturating_add(newcomer) > self.small_target();
        let front = |queue: &Queue| queue.front_but(&self.links, spared);
        let small = front(&self.small);
        small.filter(|_| is_small_full).or(front(&self.main)).or(small)
    }

    /// What was in this slot had to go.
    fn remember(&mut self, number: u32, is_main: bool) {
        if self.eviction == Eviction::Lru {
            return;
        }
        let ghost = if is_main { &mut self.main_ghost } else { &mut self.small_ghost };
        ghost.fit((self.links.len() as f32 * GHOST_SHARE) as usize, |old| {
            freed(&mut self.freed).numbers.push(old);
        });
        ghost.push(self.hashes[number as usize]);
    }
}

fn new_ticket() -> NonZeroU16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let next = || NonZeroU16::new(NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(1));
    next().or_else(next).unwrap_or(NonZeroU16::MAX)
}

const TAKEN: &str = "the index and the queues name taken slots only";
const SOMETHING: &str = "what is put is something";

// Free functions where other fields are borrowed beside the slots.

fn taken<V>(slots: &Slots<Slot<V>>, number: u32) -> &Slot<V> {
    slots.get(number).expect(TAKEN)
}

fn taken_mut<V>(slots: &mut Slots<Slot<V>>, number: u32) -> &mut Slot<V> {
    slots.get_mut(number).expect(TAKEN)
}

fn rest_of<V>(rest: &mut Option<Box<Rest<V>>>) -> &mut Rest<V> {
    rest.as_mut().expect("a shard that has or had an entry has the rest")
}

/// The first place of a class, looked for in steps that the compiler turns into comparisons of many at once.
fn find_class(classes: &[Class], class: Class) -> Option<usize> {
    const STEP: usize = 64;
    let mut before = 0;
    for step in classes.chunks(STEP) {
        if step.iter().fold(false, |is_here, other| is_here | (*other == class)) {
            return step.iter().position(|other| *other == class).map(|place| before + place);
        }
        before += step.len();
    }
    None
}

fn new_place<T>(places: &mut Vec<Option<T>>) -> &mut Option<T> {
    places.push(None);
    places.last_mut().expect("one was just added")
}

fn number_of(place: usize) -> u32 {
    u32::try_from(place).expect("a shard holds less than four billion entries")
}

fn freed<V>(freed: &mut Option<Box<Freed<V>>>) -> &mut Freed<V> {
    freed.get_or_insert_default()
}

/// Makes room for one more, and for a thirty-second: doubling would leave too much unused.
fn push<T>(vec: &mut Vec<T>, new: T) {
    if vec.len() == vec.capacity() {
        vec.reserve_exact(room(vec));
    }
    vec.push(new);
}

/// Moves what is there to where there is a little room for more, if it has much. `free` gets the memory it had.
fn shrink<T>(vec: &mut Vec<T>, free: impl FnOnce(Vec<T>)) {
    if vec.capacity() > vec.len() + 2 * room(vec) {
        let mut fewer = Vec::with_capacity(vec.len() + room(vec));
        fewer.append(vec);
        free(std::mem::replace(vec, fewer));
    }
}

fn room<T>(vec: &[T]) -> usize {
    vec.len() / 32 + MAX_VACANT
}

#[cfg(test)]
use std::collections::HashMap;

#[cfg(test)]
impl<V> Shard<V> {
    /// How many slots an eviction may look over.
    pub(super) fn looks(&self) -> usize {
        self.rest.as_ref().map_or(0, |rest| rest.looks)
    }

    /// What the entries of each class hold here, found by a look at each.
    pub(super) fn classes(&self) -> HashMap<Class, (usize, usize)> {
        let mut classes = HashMap::new();
        for (number, slot) in (0..).zip(self.slots.iter()) {
            if let Some(slot) = slot {
                let (entries, bytes) = classes.entry(self.class(number)).or_insert((0, 0));
                (*entries, *bytes) = (*entries + 1, *bytes + slot.weight());
            }
        }
        classes
    }

    /// Checks every invariant; returns entries and bytes.
    pub(super) fn validate(&self, judge: &Judge<'_>) -> (usize, usize) {
        let Some(rest) = &self.rest else {
            assert!(self.slots.iter().next().is_none() && self.index.numbers().is_empty());
            return (0, 0);
        };
        let numbers = |queue: &Queue, is_main: bool| {
            let numbers = queue.numbers(&rest.links);
            let slots: Vec<_> = numbers.iter().map(|&number| taken(&self.slots, number)).collect();
            assert!(slots.iter().all(|slot| slot.is_main == is_main), "in the other queue");
            assert_eq!(queue.bytes(), slots.iter().map(|slot| slot.weight()).sum::<usize>());
            numbers
        };
        let mut queued = [numbers(&rest.small, false), numbers(&rest.main, true)].concat();
        queued.sort_unstable();
        let places = (0..).zip(self.slots.iter());
        let all: Vec<u32> = places.filter_map(|(number, slot)| slot.map(|_| number)).collect();
        assert_eq!(queued, all, "every taken slot is in one queue, once");
        let mut indexed = self.index.numbers();
        indexed.sort_unstable();
        assert_eq!(indexed, all, "every taken slot is in the index, once");
        for &number in &all {
            let slot = taken(&self.slots, number);
            let hash = rest.hashes[number as usize];
            assert_eq!(self.number(hash, slot.key()), Some(number));
            let block = rest.blocks[number as usize / BLOCK];
            assert!(block.knows(&slot.entry, judge), "nobody would find it over");
            assert!(rest.known.knows(&slot.entry, judge), "nobody would look for it");
        }
        assert_eq!(rest.blocks.len(), rest.links.len().div_ceil(BLOCK));
        assert_eq!(rest.hashes.len(), rest.links.len());
        assert!(rest.classes.is_empty() || rest.classes.len() == rest.links.len());
        let vacant = rest.links.iter().filter(|links| **links == Links::VACANT).count();
        assert_eq!(rest.links.len() - vacant, all.len());
        assert!(rest.vacant.len() <= MAX_VACANT);
        assert!(rest.links.len() <= all.len() + MAX_VACANT, "an empty slot nobody knows");
        assert!(rest.links.capacity() <= all.len() + all.len() / 16 + 4 * MAX_VACANT);
        assert!(rest.blocks.capacity() <= all.len() / BLOCK * 17 / 16 + 4 * MAX_VACANT);
        assert!(self.index.bytes() <= all.len() * Index::BYTES_PER_SLOT + 512);
        (all.len(), rest.small.bytes() + rest.main.bytes())
    }
}
