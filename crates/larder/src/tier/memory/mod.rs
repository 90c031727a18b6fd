//! L1, memory: sharded tables that never weigh more than their bound.
//!
//! Who goes when room is needed is decided by **S3-FIFO** (Yang, Zhang, Qiu, Yue, Rashmi: "FIFO
//! queues are all you need for cache eviction", SOSP 2023): new entries wait in a small queue, those
//! asked for again move to the main one, and a ghost remembers the keys that had to go, so that one
//! that comes back goes to the main queue at once. A hit only counts up a mark of its entry, under
//! the shard's *read* lock; it moves nothing. Four refinements, each for a load on which the paper's
//! form does badly (measured with `benches/hit_ratio.rs`, which prints them again):
//!
//! - **the small queue's share adapts**, 0.5 % to 40 % of a shard. A second ghost remembers what the
//!   main queue let go; a key that comes back to either moves the share its way, the more the fewer
//!   the ghost knows. Skewed loads want next to nothing there, loads of the moment a third;
//! - **what the small queue has no room for by its share goes to the main queue** while nobody has to
//!   go for it. Otherwise a loop longer than the cache never hits: all wait in the small queue, and
//!   none waits long enough;
//! - **one hit is enough** to move on, and **marks count to 7**, not 3: frequency matters more in
//!   the main queue than at its door;
//! - each ghost keeps 0.7 fingerprints an entry.
//!
//! The bound is one for all shards: room is booked before anything is stored, so an entry may weigh
//! anything up to the whole, and a shard is never full while others are empty. What replaces something
//! books only what it weighs more. Entries may have a class ([`classes`]), which may have a bound of its own: what is beyond
//! that goes first, and only for what is of the same class.
//!
//! What is over (expired beyond its windows, or purged by a tag) goes before anything that is not.
//!
//! **Users' code runs under no lock**: what is taken out is told of ([`removal`]) and dropped once the lock is
//! free ([`burial`]), and so is the memory that it took ([`freed`]).
//! The one exception is a hit, whose value is cloned under its shard's read lock.
//!
//! When not to use it: where only recency counts (the last requests of one user, say), [`Eviction::Lru`]
//! is right, at the price of a write lock on each hit.

mod blocks;
mod budget;
mod burial;
mod classes;
mod conditional;
mod dropping;
mod freed;
mod ghost;
mod index;
#[cfg(feature = "http")]
mod most_read;
mod name;
mod queue;
mod removal;
mod runs;
mod shard;
mod shards;
mod slots;
mod survey;
mod visit;

use std::{
    hash::{BuildHasher, Hasher},
    ops::Range,
    sync::{Arc, OnceLock},
    thread,
};

use foldhash::fast::RandomState;
use larder_policy::class::Class;

use crate::{
    clock::Moment, entry::Entry, gone::GoneRing, purge::judge::Judge, weigh::ALLOCATION_BYTES,
};
#[cfg(feature = "http")]
pub(crate) use budget::Bound;
use budget::{Budget, By, Leaving, Room};
use burial::{Burials, bury, bury_untold};
#[cfg(any(test, feature = "http"))]
pub use classes::ClassHeld;
use classes::{ClassRoom, Classes};
pub(crate) use conditional::AsSeen;
pub(crate) use dropping::{Burial, discard};
#[cfg(feature = "http")]
pub(crate) use most_read::MostRead;
use name::Name;
use removal::Notice;
pub(crate) use removal::OnRemoved;
pub use removal::RemovalCause;
#[cfg(feature = "http")]
pub(crate) use removal::{TellLater, that_can_wait};
pub(crate) use runs::Runs;
use shard::{Evicted, Gone, Shard, Slot};
pub(crate) use shard::{SLOTS_PER_HOLD, Ticket};
use shards::{Locked, Shards, read, write};
pub(crate) use survey::{Seen, Visitor};

/// Victims taken from one shard before the next has to give some, when much room is needed at once.
const VICTIMS_PER_SHARD: usize = 32;

/// Who goes when room is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Eviction {
    /// S3-FIFO: what was asked for once goes before what was asked for again. Withstands scans, and a
    /// hit moves nothing.
    #[default]
    S3Fifo,
    /// The least recently used. Each hit takes a write lock.
    Lru,
}

/// Who looks at what is stored.
#[cfg(feature = "http")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Looker {
    /// A reader: what is found counts as used, and eviction goes by that.
    Reader,
    /// Somebody who asks what a reader would find. Nothing counts as used.
    Onlooker,
}

pub(crate) struct Limits {
    pub(crate) max_bytes: usize,
    pub(crate) max_entries: Option<usize>,
    pub(crate) max_entry_bytes: Option<usize>,
    pub(crate) eviction: Eviction,
}

impl Limits {
    pub(crate) fn bytes(max_bytes: usize) -> Self {
        Limits { max_bytes, max_entries: None, max_entry_bytes: None, eviction: Eviction::S3Fifo }
    }
}

pub(crate) struct MemoryTier<V> {
    shards: Shards<V>,
    hasher: RandomState,
    budget: Budget,
    classes: Arc<Classes>,
    max_entry_bytes: usize,
    eviction: Eviction,
    on_removed: Option<OnRemoved<V>>,
    /// Where it is written down which keys went, once somebody wants to know.
    gone: OnceLock<Arc<GoneRing>>,
}

/// How much of a sweep is done at once.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// All of it.
    Whole,
    /// As much as takes looking at so many slots; the next sweep goes on from there.
    UpTo(usize),
}

/// What became of an entry that was to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PutOutcome {
    /// It is there; this many others had to go for it, and so many were over.
    Yes { evicted: usize, over: usize },
    /// It weighs more than one entry may. What was stored under its key is gone too, for it is older.
    TooLarge,
    /// It may weigh so much, but others had all the room at that moment: they were being stored or dropped.
    /// What was stored under its key is gone too.
    NoRoom,
    /// A purge came in between.
    Fenced,
}

impl<V> MemoryTier<V> {
    pub(crate) fn new(limits: Limits) -> Self {
        let Limits { max_bytes, max_entries, max_entry_bytes, eviction } = limits;
        let max_entries = max_entries.unwrap_or(usize::MAX);
        MemoryTier {
            shards: Shards::new(max_bytes, max_entries),
            hasher: RandomState::default(),
            budget: Budget::new(max_bytes, max_entries),
            classes: Arc::new(Classes::new()),
            // A slot tells its weight in 32 bits.
            max_entry_bytes: max_entry_bytes.unwrap_or(usize::MAX).min(u32::MAX as usize),
            eviction,
            on_removed: None,
            gone: OnceLock::new(),
        }
    }

    /// `hook` is told of each entry that goes, but for those that go with the tier itself.
    pub(crate) fn with_hook(self, hook: Option<OnRemoved<V>>) -> Self {
        MemoryTier { on_removed: hook, ..self }
    }

    /// From now on it is written down which keys went. The first ring that is given stays.
    pub(crate) fn remember_gone(&self, ring: impl FnOnce() -> GoneRing) {
        self.gone.get_or_init(|| Arc::new(ring()));
    }

    /// Where that is written down, if it is.
    pub(crate) fn gone(&self) -> Option<&Arc<GoneRing>> {
        self.gone.get()
    }

    /// Counts a hit and lets `look` at the entry, under the shard's lock: it takes out what it needs
    /// and does not wait for anything.
    pub(crate) fn read<R>(&self, key: &str, look: impl FnOnce(&Entry<V>) -> R) -> Option<R> {
        if self.marks_hits() {
            return self.read_and_mark(key, look);
        }
        // Under the read lock, for `look` clones the value.
        let found = self.peek(key, look)?;
        let place = self.place(key);
        write(place.shard(self)?).renew(place.hash, key);
        Some(found)
    }

    /// Whether a hit only marks its entry, and nothing moves: see [`read_and_mark`].
    ///
    /// [`read_and_mark`]: MemoryTier::read_and_mark
    #[inline]
    pub(crate) fn marks_hits(&self) -> bool {
        self.eviction == Eviction::S3Fifo
    }

    /// The same as [`read`](MemoryTier::read) where hits are marked, without the other way: passing
    /// `look` on to it, and all that `look` holds, is a tenth of a hit's instructions.
    #[inline(always)]
    pub(crate) fn read_and_mark<R>(
        &self,
        key: &str,
        look: impl FnOnce(&Entry<V>) -> R,
    ) -> Option<R> {
        let place = self.place(key);
        let shard = read(place.shard(self)?);
        let slot = shard.find(place.hash, key)?;
        slot.mark();
        Some(look(slot.entry()))
    }

    /// The same, but that the hit is marked only if `look` can use it.
    #[cfg(feature = "http")]
    #[inline]
    pub(crate) fn read_if<R>(
        &self,
        key: &str,
        look: impl FnOnce(&Entry<V>) -> Option<R>,
    ) -> Option<R> {
        if !self.marks_hits() {
            return self.read(key, look)?;
        }
        let place = self.place(key);
        let shard = read(place.shard(self)?);
        let slot = shard.find(place.hash, key)?;
        let found = look(slot.entry())?;
        slot.mark();
        Some(found)
    }

    /// The same, and counts nothing.
    pub(crate) fn peek<R>(&self, key: &str, look: impl FnOnce(&Entry<V>) -> R) -> Option<R> {
        let place = self.place(key);
        let shard = read(place.shard(self)?);
        shard.find(place.hash, key).map(|slot| look(slot.entry()))
    }

    /// [`read`](MemoryTier::read) for a reader, [`peek`](MemoryTier::peek) for an onlooker.
    #[cfg(feature = "http")]
    #[inline]
    pub(crate) fn look<R>(
        &self,
        looker: Looker,
        key: &str,
        look: impl FnOnce(&Entry<V>) -> R,
    ) -> Option<R> {
        match looker {
            Looker::Reader => self.read(key, look),
            Looker::Onlooker => self.peek(key, look),
        }
    }

    /// Stores `entry`, which holds `heap_bytes` beyond itself, unless `fenced` says otherwise.
    ///
    /// `fenced` is asked under the shard's lock: a purge that first raises its fence and then takes
    /// this lock to remove the key therefore either is seen here, or removes what was stored here.
    pub(crate) fn put(
        &self,
        key: &str,
        entry: Entry<V>,
        heap_bytes: usize,
        judge: &Judge<'_>,
        fenced: impl FnOnce() -> bool,
    ) -> PutOutcome {
        self.put_over(Some(Class::NONE), key, entry, heap_bytes, judge, |_, _| fenced())
    }

    /// The same, and the entry is of this class.
    pub(crate) fn put_as(
        &self,
        class: Class,
        key: &str,
        entry: Entry<V>,
        heap_bytes: usize,
        judge: &Judge<'_>,
        fenced: impl FnOnce() -> bool,
    ) -> PutOutcome {
        self.put_over(Some(class), key, entry, heap_bytes, judge, |_, _| fenced())
    }

    /// The same where `fenced` is told which slot of the shard, if any, has what is stored under the key. Without a
    /// class the entry is of that of the one that it replaces.
    ///
    /// Room is made one by one, victims from the entry's own shard, so that an insert meets one lock only,
    /// and from all of them in turn if it takes many. A panic of what had to go is not the caller's, and
    /// ends here.
    fn put_over(
        &self,
        class: Option<Class>,
        key: &str,
        entry: Entry<V>,
        heap_bytes: usize,
        judge: &Judge<'_>,
        fenced: impl FnOnce(&Shard<V>, Option<u32>) -> bool,
    ) -> PutOutcome {
        let place = self.place(key);
        // What is stored, then what that replaced.
        let mut slot = Some(Slot::new(Name::new(key), entry, 0));
        let by = if dropping::is_dropping() { By::Drop } else { By::Anybody };
        let (mut evicted, mut over) = (0, 0);
        let (mut from, mut in_vain) = (place.shard, 0);
        loop {
            let mut shard = write(self.shards.get_or_make(place.shard));
            let (older, older_weight) = shard.holds(place.hash, key).unzip();
            let older_weight = older_weight.unwrap_or(0);
            let older_class = older.map(|number| shard.class(number));
            let class = class.or(older_class).unwrap_or_default();
            let weight = Self::weight(key, heap_bytes, class);
            let more = weight.saturating_sub(older_weight);
            let may_be_stored = weight <= self.max_entry_bytes_of(class);
            let needed = Needed {
                entries: usize::from(older.is_none()),
                bytes: more,
                class,
                // What is of another class gives nothing of this one's room back.
                of_class: match older_class == Some(class) {
                    true => (0, more),
                    false => (1, weight),
                },
            };
            let booked = if may_be_stored { self.book(needed, by) } else { Err(Lack::Room) };
            let lack = match booked {
                Ok((room, of_class)) => {
                    if fenced(&shard, older) {
                        drop(shard);
                        drop((room, of_class));
                        bury_untold([&mut slot], self.budget.leave(0, 0)).pass_over();
                        return PutOutcome::Fenced;
                    }
                    if let Some(slot) = &mut slot {
                        slot.weighs(u32::try_from(weight).unwrap_or(u32::MAX));
                    }
                    let new = (&mut slot, class);
                    shard.put(place.hash, older, new, self.eviction, &self.classes);
                    room.keep();
                    of_class.keep();
                    // The newer one has its entry's place now, and as much of its bytes as it needs.
                    let leaving = self.budget.leave(0, older_weight.saturating_sub(weight));
                    drop(shard);
                    if slot.is_some() {
                        let replaced = self.notice(judge, RemovalCause::Replaced).of_replaced();
                        bury([&mut slot], leaving, replaced).pass_over();
                    }
                    return PutOutcome::Yes { evicted, over };
                }
                Err(lack) => lack,
            };
            // What a `Drop` stores must not make others go, whose `Drop`s would do the same.
            if !may_be_stored || in_vain > 2 * self.shards.count() || by == By::Drop {
                let is_fenced = fenced(&shard, older);
                let mut older = None;
                if !is_fenced {
                    shard.remove(place.hash, key, &mut older);
                }
                let leaving = self.leave(&older);
                drop(shard);
                let replaced = self.notice(judge, RemovalCause::Replaced);
                bury([&mut older], leaving, replaced).pass_over();
                bury_untold([&mut slot], self.budget.leave(0, 0)).pass_over();
                return match may_be_stored {
                    _ if is_fenced => PutOutcome::Fenced,
                    true => PutOutcome::NoRoom,
                    false => PutOutcome::TooLarge,
                };
            }
            let (newcomer, spared) = if from == place.shard { (more, older) } else { (0, None) };
            if from != place.shard {
                drop(shard);
                shard = write(self.shards.get_or_make(from));
            }
            let mut out = match lack {
                Lack::Room => shard.evict(newcomer, spared, judge),
                Lack::RoomOfClass => self.evict_of(&mut shard, class, spared, judge),
            };
            let leaving = self.leave(out.gone.iter().flatten());
            drop(shard);
            evicted += out.gone.len() - out.over;
            over += out.over;
            let evicted_for_room = self.notice(judge, RemovalCause::Evicted);
            let burial = bury(&mut out.gone, leaving, evicted_for_room);
            let count = burial.entries;
            burial.pass_over();
            in_vain = if count > 0 { 0 } else { in_vain + 1 };
            if count == 0 || (evicted + over) % VICTIMS_PER_SHARD == 0 {
                from = self.shards.after(from);
            }
            if in_vain > self.shards.count() {
                // Others have the room, who are storing or dropping something.
                thread::yield_now();
            }
        }
    }

    /// Books room in the budget, and in the class.
    fn book(&self, needed: Needed, by: By) -> Result<(Room<'_>, ClassRoom<'_>), Lack> {
        let Needed { entries, bytes, class, of_class: (entries_of_class, bytes_of_class) } = needed;
        let of_class = self.classes.try_book(class, entries_of_class, bytes_of_class);
        let of_class = of_class.ok_or(Lack::RoomOfClass)?;
        let room = self.budget.try_book(entries, bytes, by).ok_or(Lack::Room)?;
        Ok((room, of_class))
    }

    /// Takes an entry out because its class holds all that it may.
    fn evict_of(
        &self,
        shard: &mut Shard<V>,
        class: Class,
        spared: Option<u32>,
        judge: &Judge<'_>,
    ) -> Evicted<V> {
        let out = shard.evict_of(class, spared, judge);
        self.classes.count_evicted(class, out.gone.len() - out.over);
        out
    }

    /// Whether an entry of this class that holds `heap_bytes` beyond itself is not too large.
    #[cfg(feature = "http")]
    pub(crate) fn fits(&self, key: &str, heap_bytes: usize, class: Class) -> bool {
        Self::weight(key, heap_bytes, class) <= self.max_entry_bytes_of(class)
    }

    fn weight(key: &str, heap_bytes: usize, class: Class) -> usize {
        let of_class = if class == Class::NONE { 0 } else { Slot::<V>::CLASS_BYTES };
        let overhead = Slot::<V>::OVERHEAD_BYTES.saturating_add(of_class);
        let overhead = overhead.saturating_add(Name::heap_bytes(key));
        let allocation = if heap_bytes > 0 { ALLOCATION_BYTES } else { 0 };
        overhead.saturating_add(heap_bytes).saturating_add(allocation)
    }

    /// Removes `key` for this `cause`. True if it was there and not over.
    pub(crate) fn remove(
        &self,
        key: &str,
        judge: &Judge<'_>,
        cause: RemovalCause,
    ) -> (bool, Burial) {
        let place = self.place(key);
        let Some(shard) = place.shard(self) else { return (false, Burial::default()) };
        let mut shard = write(shard);
        let mut removed = None;
        shard.remove(place.hash, key, &mut removed);
        let leaving = self.leave(&removed);
        drop(shard);
        let notice = self.notice(judge, cause);
        (of_use(&removed, judge) > 0, bury([&mut removed], leaving, notice))
    }

    /// Lets `change` at the entry, which must not alter what it weighs; what that returns if it was
    /// there. Not for the caller's code: it runs under the shard's lock.
    pub(crate) fn update<R>(
        &self,
        key: &str,
        change: impl FnOnce(&mut Entry<V>) -> R,
    ) -> Option<R> {
        let place = self.place(key);
        let change = |slot: &mut Slot<V>| change(slot.entry_mut());
        write(place.shard(self)?).update(place.hash, key, change)
    }

    /// Lets `change` at all entries so named. What is stored meanwhile is changed or not. Not for the
    /// caller's code, as [`update`](MemoryTier::update) is not.
    pub(crate) fn update_where(
        &self,
        is_named: impl Fn(&str) -> bool,
        judge: &Judge<'_>,
        mut change: impl FnMut(&mut Entry<V>),
    ) {
        let mut burials = Burials::new(self.notice(judge, RemovalCause::Purged));
        let step = |shard: &mut Shard<V>, numbers, _: &mut Gone<V>| {
            shard.change(numbers, |slot| {
                if is_named(slot.key()) {
                    change(slot.entry_mut());
                }
            });
        };
        self.walk(&mut burials, step, |_| ());
    }

    /// Removes all entries so named; returns how many were not over. What is stored meanwhile is removed
    /// or not.
    pub(crate) fn remove_where(
        &self,
        is_named: impl Fn(&str) -> bool,
        judge: &Judge<'_>,
    ) -> (usize, Burial) {
        let mut count = 0;
        let mut burials = Burials::new(self.notice(judge, RemovalCause::Purged));
        let step = |shard: &mut Shard<V>, numbers, gone: &mut Gone<V>| {
            shard.extract(numbers, |slot| is_named(slot.key()), gone)
        };
        self.walk(&mut burials, step, |gone| count += of_use(gone.iter().flatten(), judge));
        (count, burials.end())
    }

    /// Removes what is over; the burial tells how many entries that was. Where nothing can be, it looks at one
    /// number per shard.
    ///
    /// It goes over all shards in rounds, a bounded number of slots in each hold of a lock, and rests in between
    /// ([`runs`]): whoever waits for a lock has it before its turn comes again.
    pub(crate) fn sweep(&self, judge: &Judge<'_>, pace: Pace) -> Burial {
        let mut looked_at = 0;
        let mut burials = Burials::new(self.notice(judge, RemovalCause::Expired));
        let (mut runs, most) = match pace {
            Pace::Whole => (Runs::for_a_caller(), usize::MAX),
            Pace::UpTo(most) => (Runs::in_background(), most),
        };
        // What is stored or purged meanwhile could keep it going for ever.
        for _ in 0..self.rounds() {
            let mut is_done = true;
            for shard in self.shards.iter() {
                if !read(shard).is_due(judge) {
                    continue;
                }
                let mut over = room_for_one_hold();
                let mut shard = write(shard);
                let effort = shard.sweep(judge, &mut over);
                let leaving = self.leave(over.iter().flatten());
                drop(shard);
                burials.bury(over, leaving);
                runs.rest_if_due();
                looked_at += effort;
                is_done &= effort == 0;
            }
            if is_done || looked_at >= most {
                break;
            }
        }
        burials.end()
    }

    /// Removes everything; returns how many entries were not over. It holds each shard's lock for a moment
    /// and drops what was in it before it takes the next.
    pub(crate) fn clear(&self, judge: &Judge<'_>) -> (usize, Burial) {
        let (mut count, mut burial) = (0, Burial::default());
        for shard in self.shards.iter() {
            let mut shard = write(shard);
            let mut all = shard.take_all();
            let (entries, bytes) = all.size();
            let leaving = self.budget.leave(entries, bytes);
            drop(shard);
            all.leave_classes();
            let slots = all.slots_mut().inspect(|slot| count += of_use(&**slot, judge));
            let purged = self.notice(judge, RemovalCause::Purged);
            burial = burial.and(bury(slots, leaving, purged));
        }
        (count, burial)
    }

    /// Entries and bytes held now, or about to be.
    pub(crate) fn size(&self) -> (usize, usize) {
        self.budget.stored()
    }

    /// The class of what is stored under the key.
    #[cfg(any(test, feature = "http"))]
    pub(crate) fn class_of(&self, key: &str) -> Class {
        let place = self.place(key);
        let Some(shard) = place.shard(self) else { return Class::NONE };
        let shard = read(shard);
        shard.holds(place.hash, key).map_or(Class::NONE, |(number, _)| shard.class(number))
    }

    /// What the entries of a class hold. At a moment when nothing is stored or removed, what all of them hold comes to
    /// the [size](MemoryTier::size).
    #[cfg(any(test, feature = "http"))]
    pub(crate) fn held_by(&self, class: Class) -> ClassHeld {
        if class != Class::NONE {
            return self.classes.held(class);
        }
        let (entries, bytes) = self.size();
        let others = self.classes.held_by_all();
        ClassHeld {
            entries: entries.saturating_sub(others.entries),
            bytes: bytes.saturating_sub(others.bytes),
            evicted: 0,
        }
    }

    /// Bounds what the entries of a class weigh together; the burial tells how many had to go. Once this returns, the
    /// bound holds for all that is stored.
    #[cfg(any(test, feature = "http"))]
    pub(crate) fn bound_class(&self, class: Class, max_bytes: usize, judge: &Judge<'_>) -> Burial {
        self.classes.set_max_bytes(class, max_bytes);
        let mut runs = Runs::for_a_caller();
        let mut burials = Burials::new(self.notice(judge, RemovalCause::Evicted));
        while self.classes.is_exceeded(class) {
            let mut is_in_vain = true;
            for shard in self.shards.iter() {
                let mut shard = write(shard);
                let gone = self.evict_of(&mut shard, class, None, judge).gone;
                let leaving = self.leave(gone.iter().flatten());
                drop(shard);
                is_in_vain &= gone.is_empty();
                burials.bury(gone, leaving);
                runs.rest_if_due();
                if !self.classes.is_exceeded(class) {
                    break;
                }
            }
            if is_in_vain {
                // What exceeds it is being stored by somebody right now.
                thread::yield_now();
            }
        }
        burials.end()
    }

    /// The most one entry of this class may weigh now.
    pub(crate) fn max_entry_bytes_of(&self, class: Class) -> usize {
        let max = self.max_entry_bytes.min(self.budget.max_bytes());
        max.min(self.classes.max_bytes(class))
    }

    pub(crate) fn max_bytes(&self) -> usize {
        self.budget.max_bytes()
    }

    /// The bound in bytes, and what lives outside at its expense.
    #[cfg(feature = "http")]
    pub(crate) fn bound(&self) -> &Arc<Bound> {
        self.budget.bound()
    }

    /// Whether more is held than may be, given what lives outside.
    #[cfg(feature = "http")]
    pub(crate) fn is_exceeded(&self) -> bool {
        self.budget.is_exceeded()
    }

    /// Lets entries go for what lives outside, if that needs their room; the burial tells how many had to.
    #[cfg(feature = "http")]
    pub(crate) fn make_room(&self, judge: &Judge<'_>) -> Burial {
        let mut burials = Burials::new(self.notice(judge, RemovalCause::Evicted));
        let mut in_vain = 0;
        let mut from = self.shards.after(self.shards.number(self.budget.stored().1 as u32));
        // What exceeds it in the end is being stored by somebody right now, who finds that there is no room.
        while self.budget.is_exceeded()
            && in_vain < self.shards.count()
            && let Some(shard) = self.shards.get(from)
        {
            let mut shard = write(shard);
            let gone = shard.evict(0, None, judge).gone;
            let leaving = self.leave(gone.iter().flatten());
            drop(shard);
            in_vain = if gone.is_empty() { in_vain + 1 } else { 0 };
            burials.bury(gone, leaving);
            from = self.shards.after(from);
        }
        burials.end()
    }

    /// Changes the bound in bytes; the burial tells how many entries had to go. Once this returns, the new
    /// bound holds for all that is stored. The number of shards stays.
    pub(crate) fn resize(&self, max_bytes: usize, judge: &Judge<'_>) -> Burial {
        self.budget.set_max_bytes(max_bytes);
        let (mut count, mut runs) = (0, Runs::for_a_caller());
        let mut burials = Burials::new(self.notice(judge, RemovalCause::Resized));
        while self.budget.is_exceeded() {
            let before = count;
            for shard in self.shards.iter() {
                let mut shard = write(shard);
                let gone = shard.evict(0, None, judge).gone;
                let leaving = self.leave(gone.iter().flatten());
                drop(shard);
                count += gone.len();
                burials.bury(gone, leaving);
                runs.rest_if_due();
            }
            if count == before {
                // What exceeds it is being stored by somebody right now.
                thread::yield_now();
            }
        }
        burials.end()
    }

    /// A number from 0 to 1, the same for the same key and moment.
    pub(crate) fn dice(&self, key: &str, now: Moment) -> f64 {
        (self.hasher.hash_one((key, now)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    #[inline]
    fn hash(&self, key: &str) -> u64 {
        // As bytes: the mark that a `str` appends to its own is of no use to a key alone, and costs a
        // multiplication.
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key.as_bytes());
        hasher.finish()
    }

    #[inline]
    fn place(&self, key: &str) -> Place {
        let hash = self.hash(key);
        // The table uses the lower half.
        Place { shard: self.shards.number((hash >> 32) as u32), hash: hash as u32 }
    }

    /// Lets `step` at all slots, some in each hold of a shard's lock; what it takes out is shown to `took`
    /// and buried. It goes over all shards in rounds, as a [sweep](MemoryTier::sweep) does, and in each from
    /// the last slot to the first: see [`Shard::extract`].
    fn walk<'a>(
        &'a self,
        burials: &mut Burials<'a, V>,
        mut step: impl FnMut(&mut Shard<V>, Range<usize>, &mut Gone<V>),
        mut took: impl FnMut(&Gone<V>),
    ) {
        let all = self.shards.iter().map(|shard| (shard, read(shard).slot_count()));
        let mut left: Vec<_> = all.filter(|(_, end)| *end > 0).collect();
        let mut runs = Runs::for_a_caller();
        while !left.is_empty() {
            for (shard, end) in &mut left {
                let mut gone = room_for_one_hold();
                let mut held = write(shard);
                let stop = (*end).min(held.slot_count());
                *end = stop.saturating_sub(SLOTS_PER_HOLD);
                step(&mut held, *end..stop, &mut gone);
                let leaving = self.leave(gone.iter().flatten());
                drop(held);
                took(&gone);
                burials.bury(gone, leaving);
                runs.rest_if_due();
            }
            left.retain(|(_, end)| *end > 0);
        }
    }

    /// More rounds than a sweep needs, unless others store and purge all the time.
    fn rounds(&self) -> usize {
        let slots = self.shards.iter().map(|shard| read(shard).slot_count()).max();
        2 * slots.unwrap_or(0) + 2
    }

    /// How those are told of what goes who asked for it.
    fn notice<'a>(&'a self, judge: &'a Judge<'a>, cause: RemovalCause) -> Notice<'a, V> {
        let gone = self.gone.get().map(Arc::as_ref);
        Notice::new(self.on_removed.as_ref(), gone, judge, cause)
    }

    /// What was just taken out is stored no longer; said before the lock is free.
    fn leave<'a>(&self, gone: impl IntoIterator<Item = &'a Slot<V>>) -> Leaving<'_>
    where
        V: 'a,
    {
        let (mut entries, mut bytes) = (0, 0);
        for slot in gone {
            entries += 1;
            bytes += slot.weight();
        }
        self.budget.leave(entries, bytes)
    }
}

/// For what comes out of a shard in one hold. An allocator that tidies when it is asked for much (glibc's does)
/// has done so then before the lock is taken.
fn room_for_one_hold<V>() -> Gone<V> {
    Vec::with_capacity(SLOTS_PER_HOLD)
}

/// How many of them are not over.
fn of_use<'a, V: 'a>(slots: impl IntoIterator<Item = &'a Slot<V>>, judge: &Judge<'_>) -> usize {
    slots.into_iter().filter(|slot| !judge.is_over(slot.entry())).count()
}

/// The room that something needs which is to be stored.
#[derive(Clone, Copy)]
struct Needed {
    entries: usize,
    bytes: usize,
    class: Class,
    /// Entries and bytes, where what is replaced gives back what it has of another class.
    of_class: (usize, usize),
}

/// What there was not enough of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lack {
    Room,
    RoomOfClass,
}

/// Where a key belongs.
#[derive(Clone, Copy)]
struct Place {
    shard: usize,
    hash: u32,
}

impl Place {
    #[inline]
    fn shard<V>(self, tier: &MemoryTier<V>) -> Option<&Locked<V>> {
        tier.shards.get(self.shard)
    }
}

#[cfg(test)]
use std::collections::HashMap;

#[cfg(test)]
impl<V> MemoryTier<V> {
    /// Checks every invariant, while nobody else does anything.
    pub(crate) fn validate(&self, judge: &Judge<'_>) {
        let validated = self.shards.iter().map(|shard| read(shard).validate(judge));
        let held = validated.fold((0, 0), |sum, held| (sum.0 + held.0, sum.1 + held.1));
        assert_eq!(self.size(), held, "the budget knows what the shards hold");
        let mut of_classes = HashMap::<Class, (usize, usize)>::new();
        for (class, (entries, bytes)) in self.shards.iter().flat_map(|shard| read(shard).classes())
        {
            let sums = of_classes.entry(class).or_default();
            *sums = (sums.0 + entries, sums.1 + bytes);
        }
        let classed = of_classes.iter().filter(|(class, _)| **class != Class::NONE);
        let all = classed.fold((0, 0), |all, (&class, &(entries, bytes))| {
            let ClassHeld { entries: counted, bytes: weighed, .. } = self.classes.held(class);
            assert_eq!((counted, weighed), (entries, bytes), "{class:?} holds what is counted");
            assert!(bytes <= self.classes.max_bytes(class), "{class:?} holds no more than it may");
            (all.0 + entries, all.1 + bytes)
        });
        let of_all = self.classes.held_by_all();
        assert_eq!((of_all.entries, of_all.bytes), all, "nothing that is gone is counted");
        assert_eq!(self.budget.booked(), held, "and nothing keeps room it lost");
        assert!(held.1 <= self.max_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[cfg(not(shuttle))]
    use allocation_counter::measure;
    use larder_policy::freshness::Lifetime;
    use proptest::{collection::vec, prelude::*};

    use super::{blocks::BLOCK, *};
    use crate::{
        clock::ManualClock,
        entry::Facts,
        purge::{Mode, log::PurgeLog, tags::TagKey},
    };

    #[derive(Clone, Debug)]
    enum Step {
        /// Fetched when so many purges less had been than now.
        Put {
            key: u8,
            heap_bytes: usize,
            ttl_secs: u64,
            fenced: bool,
            since: u64,
            class: u16,
        },
        Read {
            key: u8,
        },
        Remove {
            key: u8,
        },
        RemoveWhere {
            digit: u8,
        },
        MarkStaleWhere {
            digit: u8,
        },
        PurgeTag {
            digit: u8,
            mode: Mode,
        },
        Advance {
            secs: u64,
        },
        Sweep {
            pace: Pace,
        },
        Resize {
            max_bytes: usize,
        },
        BoundClass {
            class: u16,
            max_bytes: usize,
        },
        Clear,
    }

    fn step() -> impl Strategy<Value = Step> {
        let key = any::<u8>;
        prop_oneof![
            12 => (
                (key(), 0..6000_usize, 1..60_u64),
                (prop::bool::weighted(0.1), 0..3_u64, 0..4_u16),
            )
                .prop_map(|((key, heap_bytes, ttl_secs), (fenced, since, class))| Step::Put {
                    key,
                    heap_bytes,
                    ttl_secs,
                    fenced,
                    since,
                    class,
                }),
            8 => key().prop_map(|key| Step::Read { key }),
            3 => key().prop_map(|key| Step::Remove { key }),
            1 => (0..10_u8).prop_map(|digit| Step::RemoveWhere { digit }),
            1 => (0..10_u8).prop_map(|digit| Step::MarkStaleWhere { digit }),
            2 => (0..10_u8, prop_oneof![Just(Mode::Soft), Just(Mode::Hard)])
                .prop_map(|(digit, mode)| Step::PurgeTag { digit, mode }),
            3 => (0..20_u64).prop_map(|secs| Step::Advance { secs }),
            2 => prop_oneof![Just(Pace::Whole), Just(Pace::UpTo(40))]
                .prop_map(|pace| Step::Sweep { pace }),
            1 => (5_000..60_000_usize).prop_map(|max_bytes| Step::Resize { max_bytes }),
            1 => (0..4_u16, prop_oneof![Just(usize::MAX), 0..20_000_usize])
                .prop_map(|(class, max_bytes)| Step::BoundClass { class, max_bytes }),
            1 => Just(Step::Clear),
        ]
    }

    fn entry(value: u8, ttl_secs: u64, now: Moment) -> Entry<u8> {
        let lifetime = Lifetime::fresh_for(Duration::from_secs(ttl_secs));
        let (cost, tags) = (Duration::ZERO, Box::default());
        Entry::new(value, Facts { lifetime, fetched: now, cost, tags, fence: 0 })
    }

    fn tagged(value: u8, ttl_secs: u64, now: Moment, tags: &PurgeLog, since: u64) -> Entry<u8> {
        let windows = Duration::from_secs(u64::from(value % 4) * 5);
        let lifetime = Lifetime::fresh_for(Duration::from_secs(ttl_secs)).stale_if_error(windows);
        let tag = tags.tag(&(value % 10).to_string());
        let (cost, fence) = (Duration::ZERO, tags.position().saturating_sub(since));
        Entry::new(value, Facts { lifetime, fetched: now, cost, tags: [tag].into(), fence })
    }

    fn keep_the_books(eviction: Eviction, max_entries: Option<usize>, steps: Vec<Step>) {
        let clock = ManualClock::new();
        let (now, tags) = (clock.clock(), PurgeLog::new(100, TagKey::random()));
        let limits =
            Limits { max_bytes: 40_000, max_entries, max_entry_bytes: Some(5_000), eviction };
        let tier = MemoryTier::new(limits);
        let count = |is_counted: &dyn Fn(&str, &Entry<u8>) -> bool| {
            let keys = (0..=u8::MAX).map(|key| key.to_string());
            let counted =
                keys.filter(|key| tier.peek(key, |entry| is_counted(key, entry)) == Some(true));
            counted.count()
        };
        for step in steps {
            let judge = Judge::new(now.now(), &tags);
            match step {
                Step::Put { key, heap_bytes, ttl_secs, fenced, since, class } => {
                    let entry = tagged(key, ttl_secs, now.now(), &tags, since);
                    let over = count(&|_, entry| judge.is_over(entry));
                    let fenced = || fenced;
                    let (class, key_text) = (Class::new(class), key.to_string());
                    let most = tier.max_entry_bytes_of(class);
                    let stored = tier.put_as(class, &key_text, entry, heap_bytes, &judge, fenced);
                    let is_there = tier.peek(&key_text, |entry| entry.value);
                    match stored {
                        PutOutcome::Yes { evicted, over: gone } => {
                            assert_eq!(is_there, Some(key));
                            let is_bound = tier.classes.max_bytes(class) < usize::MAX;
                            assert!(
                                is_bound || evicted == 0 || over <= gone + 1,
                                "what was over stayed"
                            );
                            assert_eq!(tier.class_of(&key_text), class);
                        }
                        PutOutcome::TooLarge => {
                            assert_eq!(is_there, None);
                            assert!(heap_bytes + 1_000 > most, "it fits");
                        }
                        PutOutcome::NoRoom => unreachable!("nobody else has any"),
                        PutOutcome::Fenced => assert!(fenced()),
                    }
                }
                Step::Read { key } => {
                    let found = tier.read(&key.to_string(), |entry| entry.value);
                    assert!(found.is_none_or(|value| value == key));
                }
                Step::Remove { key } => {
                    let was_of_use = tier.peek(&key.to_string(), |entry| !judge.is_over(entry));
                    let (removed, burial) =
                        tier.remove(&key.to_string(), &judge, RemovalCause::Purged);
                    assert_eq!(burial.entries, usize::from(was_of_use.is_some()));
                    assert_eq!(removed, was_of_use.unwrap_or(false));
                    assert!(tier.peek(&key.to_string(), |_| ()).is_none());
                }
                Step::RemoveWhere { digit } => {
                    let digit = digit.to_string();
                    let (before, _) = tier.size();
                    let of_use =
                        count(&|key, entry| key.starts_with(&digit) && !judge.is_over(entry));
                    let (removed, burial) =
                        tier.remove_where(|key| key.starts_with(&digit), &judge);
                    assert_eq!((removed, tier.size().0 + burial.entries), (of_use, before));
                }
                Step::MarkStaleWhere { digit } => {
                    let (digit, now) = (digit.to_string(), now.now());
                    let is_named = |key: &str| key.ends_with(&digit);
                    tier.update_where(is_named, &judge, |entry| entry.mark_stale(now));
                }
                Step::PurgeTag { digit, mode } => {
                    tags.purge_tag(&digit.to_string(), mode, now.now());
                }
                Step::Advance { secs } => clock.advance(Duration::from_secs(secs)),
                Step::Sweep { pace } => {
                    let over = count(&|_, entry| judge.is_over(entry));
                    let swept = tier.sweep(&judge, pace).entries;
                    let left = count(&|_, entry| judge.is_over(entry));
                    assert_eq!(swept + left, over);
                    assert!(left == 0 || matches!(pace, Pace::UpTo(_)));
                }
                Step::Resize { max_bytes } => tier.resize(max_bytes, &judge).pass_over(),
                Step::BoundClass { class, max_bytes } => {
                    let class = Class::new(class);
                    let others =
                        |tier: &MemoryTier<u8>| tier.size().0 - tier.held_by(class).entries;
                    let before = others(&tier);
                    tier.bound_class(class, max_bytes, &judge).pass_over();
                    assert_eq!(others(&tier), before, "others are not touched");
                }
                Step::Clear => {
                    let of_use = count(&|_, entry| !judge.is_over(entry));
                    assert_eq!(tier.clear(&judge).0, of_use);
                    assert_eq!(tier.size(), (0, 0));
                }
            }
            let judge = Judge::new(now.now(), &tags);
            tier.validate(&judge);
            let (entries, _) = tier.size();
            assert!(max_entries.is_none_or(|max| entries <= max));
        }
    }

    proptest! {
        #[test]
        fn any_steps_leave_every_part_consistent(
            steps in vec(step(), 1..300),
            eviction in prop_oneof![Just(Eviction::S3Fifo), Just(Eviction::Lru)],
            max_entries in prop_oneof![Just(None), (1..30_usize).prop_map(Some)],
        ) {
            keep_the_books(eviction, max_entries, steps);
        }
    }

    /// A tier of many shards, and what is stored in it: of each class as many entries.
    fn of_classes(classes: u16, entries: u16, heap_bytes: usize) -> (MemoryTier<u8>, Moment) {
        let now = ManualClock::new().clock().now();
        let tier = MemoryTier::new(Limits::bytes(64 << 20));
        assert!(tier.shards.count() > 4);
        let judge = Judge::of_untagged(now);
        for class in 1..=classes {
            for number in 0..entries {
                let key = format!("{class} {number}");
                let entry = entry(0, 60, now);
                let put = tier.put_as(Class::new(class), &key, entry, heap_bytes, &judge, || false);
                assert_eq!(put, PutOutcome::Yes { evicted: 0, over: 0 });
            }
        }
        (tier, now)
    }

    #[test]
    fn what_is_beyond_the_bound_of_a_class_goes_from_all_shards_and_from_that_class_alone() {
        let (tier, now) = of_classes(3, 500, 1000);
        let judge = Judge::of_untagged(now);
        let (one, other) = (Class::new(1), Class::new(2));
        let (before, each) = (tier.held_by(other), tier.held_by(one).bytes / 500);
        tier.bound_class(one, 10 * each + each / 2, &judge).pass_over();
        assert_eq!(tier.held_by(one), ClassHeld { entries: 10, bytes: 10 * each, evicted: 490 });
        // Wherever they are: each that is stored makes one go.
        for number in 0..200 {
            let key = format!("1 new {number:03}");
            let put = tier.put_as(one, &key, entry(0, 60, now), 1000, &judge, || false);
            assert!(matches!(put, PutOutcome::Yes { evicted: 1 | 2, over: 0 }), "{put:?}");
            assert!(tier.held_by(one).bytes <= 10 * each + each / 2);
        }
        assert_eq!(tier.held_by(other), before);
        tier.validate(&judge);
    }

    #[test]
    fn what_is_read_of_a_class_stays_when_others_of_it_have_to_go() {
        // Each shard lets go of its own: of a hundred, some shards would hold none but those that are read.
        let (tier, now) = of_classes(1, 2000, 1000);
        let (judge, one) = (Judge::of_untagged(now), Class::new(1));
        tier.bound_class(one, tier.held_by(one).bytes, &judge).pass_over();
        for number in 0..6000 {
            for read in 0..10 {
                tier.read(&format!("1 {read}"), |_| ());
            }
            let key = format!("1 new {number}");
            tier.put_as(one, &key, entry(0, 60, now), 1000, &judge, || false);
        }
        let left = (0..10).filter(|read| tier.peek(&format!("1 {read}"), |_| ()).is_some());
        assert_eq!(left.count(), 10);
    }

    #[test]
    fn what_is_replaced_by_another_class_counts_there_from_then_on() {
        let (tier, now) = of_classes(1, 10, 1000);
        let (judge, one, other) = (Judge::of_untagged(now), Class::new(1), Class::new(2));
        let each = tier.held_by(one).bytes / 10;
        for (class, heap_bytes) in [(other, 1000), (other, 500), (Class::NONE, 2000), (one, 10)] {
            tier.put_as(class, "1 3", entry(0, 60, now), heap_bytes, &judge, || false);
            tier.validate(&judge);
            let held = [one, other, Class::NONE].map(|class| tier.held_by(class).entries);
            let expected = [one, other, Class::NONE].map(|is| usize::from(is == class));
            assert_eq!(held, [9 + expected[0], expected[1], expected[2]]);
        }
        assert!(tier.held_by(one).bytes < 10 * each);
        let (_, bytes) = tier.size();
        tier.clear(&judge).1.pass_over();
        assert!(bytes > 0 && tier.held_by(one) == ClassHeld::default());
    }

    #[cfg(not(shuttle))]
    #[test]
    fn several_threads_leave_the_sums_of_classes_right_and_never_exceed_a_bound() {
        let (tier, now) = of_classes(4, 50, 1000);
        let bound = 30_000;
        let judge = Judge::of_untagged(now);
        tier.bound_class(Class::new(1), bound, &judge).pass_over();
        thread::scope(|scope| {
            for thread in 0..4_u64 {
                let tier = &tier;
                scope.spawn(move || {
                    let judge = Judge::of_untagged(now);
                    let mut dice = thread + 1;
                    for _ in 0..4000 {
                        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
                        let (class, number) = ((dice >> 33) % 4, (dice >> 40) % 60);
                        let key = format!("{class} {number}");
                        match (dice >> 50) % 8 {
                            0 => {
                                let cause = RemovalCause::Purged;
                                tier.remove(&key, &judge, cause).1.pass_over();
                            }
                            1 => tier.clear(&judge).1.pass_over(),
                            2 => {
                                let is_named = |key: &str| key.ends_with('7');
                                tier.remove_where(is_named, &judge).1.pass_over();
                            }
                            _ => {
                                // Some keys change their class.
                                let class = Class::new(((class + dice % 2) % 4 + 1) as u16);
                                let heap_bytes = (dice >> 20) as usize % 3000;
                                let entry = entry(0, 60, now);
                                tier.put_as(class, &key, entry, heap_bytes, &judge, || false);
                            }
                        }
                        assert!(tier.held_by(Class::new(1)).bytes <= bound);
                    }
                });
            }
        });
        tier.validate(&judge);
    }

    #[test]
    fn what_expires_goes_at_the_next_sweep_and_nothing_else() {
        let clock = ManualClock::new();
        let now = clock.clock();
        let tier = MemoryTier::new(Limits::bytes(1 << 20));
        for key in 0..100_u8 {
            let ttl_secs = 1 + u64::from(key) % 10;
            let (entry, judge) = (entry(key, ttl_secs, now.now()), Judge::of_untagged(now.now()));
            tier.put(&key.to_string(), entry, 0, &judge, || false);
        }
        for _ in 0..10 {
            clock.advance(Duration::from_secs(1));
            let judge = Judge::of_untagged(now.now());
            assert_eq!(tier.sweep(&judge, Pace::Whole).entries, 10);
        }
        assert_eq!(tier.size(), (0, 0));
    }

    /// What `ENTRIES` entries in one shard come to, of which every third is over.
    #[derive(Clone, Copy, Debug)]
    enum Over {
        Expired,
        Purged,
        ExpiredOrPurged,
        /// Each with many tags, the last of which is purged.
        PurgedAmongManyTags,
    }

    const ENTRIES: usize = 20_000;
    const MANY_TAGS: usize = 50;

    fn third_over(over: Over, tags: &PurgeLog) -> (MemoryTier<u8>, Moment) {
        let clock = ManualClock::new();
        let now = clock.clock().now();
        let tier = MemoryTier::new(Limits { max_entries: Some(1000), ..Limits::bytes(64 << 20) });
        assert_eq!(tier.shards.count(), 1);
        let tier = MemoryTier { budget: Budget::new(64 << 20, ENTRIES), ..tier };
        let judge = Judge::new(now, tags);
        let others: Vec<_> = (0..MANY_TAGS).map(|tag| tags.tag(&format!("other {tag}"))).collect();
        for number in 0..ENTRIES {
            let is_over = number % 3 == 0;
            let is_expired = is_over
                && match over {
                    Over::Expired => true,
                    Over::ExpiredOrPurged => number % 2 == 0,
                    Over::Purged | Over::PurgedAmongManyTags => false,
                };
            let mut its_tags = match over {
                Over::PurgedAmongManyTags => others.clone(),
                _ => Vec::new(),
            };
            its_tags.push(tags.tag(if is_over && !is_expired { "purged" } else { "other" }));
            let facts = Facts {
                lifetime: Lifetime::fresh_for(Duration::from_secs(if is_expired { 1 } else { 60 })),
                fetched: now,
                cost: Duration::ZERO,
                tags: its_tags.into(),
                fence: tags.position(),
            };
            tier.put(&number.to_string(), Entry::new(0, facts), 0, &judge, || false);
        }
        tags.purge_tag("purged", Mode::Hard, now);
        clock.advance(Duration::from_secs(2));
        (tier, clock.clock().now())
    }

    const OVER: [Over; 4] =
        [Over::Expired, Over::Purged, Over::ExpiredOrPurged, Over::PurgedAmongManyTags];

    #[test]
    fn a_sweep_in_parts_takes_bounded_steps_and_goes_on_from_there() {
        for over in OVER {
            let tags = PurgeLog::new(100, TagKey::random());
            let (tier, now) = third_over(over, &tags);
            let judge = Judge::new(now, &tags);
            // It stops at the first entry beyond.
            let most_in_a_hold = SLOTS_PER_HOLD + MANY_TAGS + 5;
            let (mut swept, mut parts) = (0, 0);
            while read(tier.shards.get(0).unwrap()).is_due(&judge) {
                if parts % 2 == 0 {
                    let mut gone = room_for_one_hold();
                    let effort = write(tier.shards.get(0).unwrap()).sweep(&judge, &mut gone);
                    assert_eq!(gone.capacity(), SLOTS_PER_HOLD, "it grew under the lock");
                    assert!(effort <= most_in_a_hold, "{effort} in a hold, {over:?}");
                    assert!(gone.len() <= SLOTS_PER_HOLD / 4 + 1, "{} in a hold", gone.len());
                    swept += gone.len();
                    let leaving = tier.leave(gone.iter().flatten());
                    bury_untold(&mut gone, leaving).pass_over();
                } else {
                    let taken = tier.sweep(&judge, Pace::UpTo(1000)).entries;
                    assert!(taken <= (1000 + most_in_a_hold) / 4, "{taken} in one part");
                    swept += taken;
                }
                parts += 1;
                assert!(parts < ENTRIES, "it does not come to an end");
            }
            tier.validate(&judge);
            let all = ENTRIES.div_ceil(3);
            assert_eq!((swept, tier.size().0), (all, ENTRIES - all), "{over:?}");
        }
    }

    #[test]
    fn a_whole_sweep_is_whole() {
        for over in OVER {
            let tags = PurgeLog::new(100, TagKey::random());
            let (tier, now) = third_over(over, &tags);
            let judge = Judge::new(now, &tags);
            assert_eq!(tier.sweep(&judge, Pace::Whole).entries, ENTRIES.div_ceil(3), "{over:?}");
            tier.validate(&judge);
        }
    }

    #[test]
    fn an_eviction_takes_out_one_block_of_what_is_over_at_the_most() {
        for over in OVER {
            let tags = PurgeLog::new(100, TagKey::random());
            let (tier, now) = third_over(over, &tags);
            let judge = Judge::new(now, &tags);
            let mut evicted = 0;
            while evicted < ENTRIES.div_ceil(3) {
                let mut held = write(tier.shards.get(0).unwrap());
                let looks = held.looks();
                let mut out = held.evict(0, None, &judge);
                // It stops at the first entry beyond.
                let most = looks.max(BLOCK) + MANY_TAGS + 5;
                assert!(looks.saturating_sub(held.looks()) <= most, "{over:?}");
                drop(held);
                assert!((1..=BLOCK).contains(&out.gone.len()), "{} at once", out.gone.len());
                evicted += out.gone.len();
                let leaving = tier.leave(out.gone.iter().flatten());
                bury_untold(&mut out.gone, leaving).pass_over();
            }
            tier.validate(&judge);
        }
    }

    /// What takes out some of what is in a shard, in one hold of its lock.
    #[cfg(not(shuttle))]
    type TakeOut = fn(&MemoryTier<u8>, &mut Shard<u8>, &Judge<'_>, &mut Gone<u8>, usize);

    #[cfg(not(shuttle))]
    const TAKE_OUT: [(&str, TakeOut); 4] = [
        ("sweep", |_, shard, judge, gone, _| _ = shard.sweep(judge, gone)),
        ("walk", |_, shard, _, gone, _| {
            let end = shard.slot_count();
            shard.extract(end.saturating_sub(SLOTS_PER_HOLD)..end, |_| true, gone);
        }),
        ("remove", |tier, shard, _, gone, number| {
            let key = number.to_string();
            gone.push(None);
            shard.remove(tier.place(&key).hash, &key, gone.last_mut().unwrap());
        }),
        ("evict", |_, shard, judge, gone, _| gone.append(&mut shard.evict(0, None, judge).gone)),
    ];

    #[cfg(not(shuttle))]
    #[test]
    fn memory_is_given_back_without_a_lock() {
        for (name, take_out) in TAKE_OUT {
            let tags = PurgeLog::new(100, TagKey::random());
            let (tier, now) = third_over(Over::Expired, &tags);
            let judge = Judge::new(now, &tags);
            let mut given_back = 0;
            for number in 0..ENTRIES {
                let mut gone = room_for_one_hold();
                let mut held = write(tier.shards.get(0).unwrap());
                let hold = measure(|| take_out(&tier, &mut held, &judge, &mut gone, number));
                assert!(hold.bytes_current >= 0, "{name} gives memory back under the lock");
                assert_eq!(
                    gone.capacity(),
                    SLOTS_PER_HOLD,
                    "{name} needs more room for what is gone"
                );
                let leaving = tier.leave(gone.iter().flatten());
                given_back -= measure(|| drop(held)).bytes_current;
                bury_untold(&mut gone, leaving).pass_over();
            }
            tier.validate(&judge);
            let (entries, _) = tier.size();
            assert!(entries <= ENTRIES - ENTRIES / 3, "{name}");
            // The slots alone; the links, hashes and ends come to a little more.
            let gone = ENTRIES - entries - 1000;
            assert!(given_back > (gone * size_of::<Slot<u8>>()) as i64, "{name} keeps memory");
        }
    }

    #[test]
    fn a_walk_takes_bounded_steps_and_goes_from_shard_to_shard() {
        let (now, tags) = (ManualClock::new().clock().now(), PurgeLog::new(100, TagKey::random()));
        let (tier, judge) = (MemoryTier::new(Limits::bytes(64 << 20)), Judge::new(now, &tags));
        for number in 0..ENTRIES {
            tier.put(&number.to_string(), entry(0, 60, now), 0, &judge, || false);
        }
        let notice = tier.notice(&judge, RemovalCause::Purged);
        let (mut holds, mut burials) = (Vec::new(), Burials::new(notice));
        let step = |shard: &mut Shard<u8>, numbers: Range<usize>, _: &mut Gone<u8>| {
            holds.push((std::ptr::from_ref(shard), numbers.len()));
        };
        tier.walk(&mut burials, step, |_| ());
        burials.end().pass_over();
        assert_eq!(holds.iter().map(|(_, slots)| slots).sum::<usize>(), ENTRIES);
        assert!(holds.iter().all(|(_, slots)| *slots <= SLOTS_PER_HOLD));
        // In the last rounds there may be one alone that has more than the others.
        let most = &holds[..8 * tier.shards.count()];
        let twice = most.windows(2).filter(|holds| holds[0].0 == holds[1].0);
        assert_eq!(twice.count(), 0, "nobody else has a turn in between");
    }

    #[test]
    fn the_least_recently_used_goes_first_where_that_was_asked_for() {
        let now = ManualClock::new().clock().now();
        let limits =
            Limits { max_entries: Some(3), eviction: Eviction::Lru, ..Limits::bytes(1 << 20) };
        let tier = MemoryTier::new(limits);
        let judge = Judge::of_untagged(now);
        let put = |key: u8| tier.put(&key.to_string(), entry(key, 60, now), 0, &judge, || false);
        for key in [1, 2, 3] {
            put(key);
        }
        tier.read("1", |_| ());
        put(4);
        let is_there = |key: u8| tier.peek(&key.to_string(), |_| ()).is_some();
        assert_eq!([1, 2, 3, 4].map(is_there), [true, false, true, true]);
    }
}
