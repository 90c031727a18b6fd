//! Outbox: purges of this process that the lower tier has not acknowledged.
//!
//! A purge that names what another one names that was not sent yet is *folded* into that one: there is one purge below, and
//! whoever waits for either hears of it. One that was sent may be in the tier's log already, with a number before that of
//! what was stored since, so nothing is folded into it.
//!
//! It is bounded. One too many, and all of them become one hard purge of everything, which names whatever they
//! named: until that is acknowledged, nothing from below is used. That costs what the tier holds, and serves
//! nothing that was purged.
//!
//! Whoever sends requests can cause purges ([`Cause::Reader`]). Of these no more than half may wait. One too many, and
//! those that were not sent become a few that name all below their paths ([`widened`]): so it is at worst the
//! sites that were written to that are emptied, and what others have purged stays as it is.
//!
//! Where it has a file ([`journal`](crate::journal)), each purge is in there as well until the tier has acknowledged it,
//! and a replica, if there are any. What an earlier process has left there comes first. It keeps its names, so that a
//! tier that has it knows it again; new purges are named by another source, for nobody knows which numbers the earlier
//! process has given last.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    kept::{self, Kept},
    widened,
};
use crate::{
    clock::Moment,
    journal::{Found, Journal},
    purge::{Mode, Scope, last::PurgeState},
    rules::Rule,
    sync::watch,
    tier::lower::{LowerPurge, MAX_SCOPES, OutboxFile, Position, PurgeId},
};

/// Scopes that are sent in one call.
const SCOPES_PER_CALL: usize = MAX_SCOPES;
/// The bytes of their names in one call: one that takes too long is repeated, and holds up all others.
const BYTES_PER_CALL: usize = 256 << 10;
/// The bytes of all names. More are one too many.
const MAX_BYTES: usize = 16 << 20;
/// Of those that readers have caused so many are left when they were too many.
const MAX_WIDENED: usize = 16;
/// So many stay in the file that no replica has acknowledged. The oldest go: the tier has them, and so has whoever has
/// read them.
const MAX_UNCONFIRMED: usize = 4096;
/// The bytes of their names. The file has room for these beside the others.
const MAX_UNCONFIRMED_BYTES: usize = 8 << 20;

pub(super) struct Outbox {
    /// The oldest first, so in the order of their numbers: there may be thousands.
    outstanding: VecDeque<Outstanding>,
    /// The bytes of the names in it.
    bytes: usize,
    max: usize,
    /// The number of the last that names just these scopes, by their hash, if it is one that was not sent. Looked at before
    /// it is believed.
    by_scopes: HashMap<u64, u64>,
    hasher: RandomState,
    /// The numbers of those that stand for many and were not sent, if they are still there: a few.
    wide: Vec<u64>,
    /// How many were sent, perhaps.
    sent: usize,
    /// Of those that readers have caused and that were not sent: how many, and the bytes of their names.
    by_readers: usize,
    by_readers_bytes: usize,
    source: u64,
    /// The last number that was given.
    last: u64,
    /// The numbers, here, of what an earlier process has left.
    restored: HashMap<PurgeId, u64>,
    file: Option<Arc<Journal>>,
    /// What the tier has acknowledged and is still in the file, the oldest first.
    unconfirmed: VecDeque<Unconfirmed>,
    unconfirmed_bytes: usize,
}

struct Unconfirmed {
    /// Its number here.
    number: u64,
    /// Where it is in the tier's log.
    position: Position,
    /// Of its names.
    bytes: usize,
}

struct Outstanding {
    /// Its number here, and in the file.
    number: u64,
    /// The lowest number of those that it stands for.
    first: u64,
    purge: LowerPurge,
    /// Since then what it names is stale, if it is soft.
    at: Moment,
    /// It is done in memory, and may be sent.
    is_ready: bool,
    /// It was sent, perhaps, and may be in the log.
    is_sent: bool,
    /// Readers have caused it: all that it names has a key that begins so.
    within: Option<Box<str>>,
    tell: Vec<watch::Sender<Progress>>,
}

/// Who has caused a purge.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cause<'a> {
    /// The application, or who may purge.
    Asked,
    /// A request that anybody may send.
    Reader {
        /// All that it names has a key that begins so.
        within: &'a str,
    },
}

/// A purge that is in the outbox now, alone or as a part of another.
pub(super) struct Entered {
    /// The purge that it is, or is a part of.
    pub(super) id: PurgeId,
    pub(super) told: watch::Receiver<Progress>,
    pub(super) entry: Entry,
}

/// As what it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// As one more.
    New,
    /// One that was there, or has taken its place, names as much.
    Folded,
    /// Readers had caused too many, which name more now.
    Widened,
    /// There were too many, which are everything now.
    Everything,
}

/// How far a purge is.
#[derive(Clone, Debug)]
pub(super) enum Progress {
    Waits,
    /// It could not be sent, for this reason, and will be sent again.
    Tried(Arc<str>),
    Acknowledged(Position),
}

impl Outbox {
    /// With what `file` has, if there is one. `now` is the time of the clock that entries go by.
    pub(super) fn new(max: usize, source: u64, file: Option<OutboxFile>, now: Moment) -> Self {
        let mut outbox = Outbox {
            outstanding: VecDeque::new(),
            bytes: 0,
            max,
            by_scopes: HashMap::new(),
            hasher: RandomState::new(),
            wide: Vec::new(),
            sent: 0,
            by_readers: 0,
            by_readers_bytes: 0,
            source,
            last: 0,
            restored: HashMap::new(),
            file: None,
            unconfirmed: VecDeque::new(),
            unconfirmed_bytes: 0,
        };
        if let Some(OutboxFile { journal, found }) = file {
            outbox.restore(journal, found, now);
        }
        outbox
    }

    fn add_restored(&mut self, number: u64, purge: LowerPurge, at: Moment) {
        self.restored.insert(purge.id, number);
        self.sent += 1;
        let (is_ready, is_sent, within, tell) = (true, true, None, Vec::new());
        let first = number;
        let outstanding = Outstanding { number, first, purge, at, is_ready, is_sent, within, tell };
        self.outstanding.push_back(outstanding);
    }

    fn restore(
        &mut self,
        journal: Journal,
        Found { entries, last, is_damaged, torn_bytes: _ }: Found,
        now: Moment,
    ) {
        self.last = last;
        let wall_now = SystemTime::now();
        for (number, bytes) in entries {
            let Kept { purge, at } = kept::decode(&bytes);
            let age = wall_now.duration_since(at).unwrap_or(Duration::ZERO);
            self.bytes += bytes_of(&purge.scopes);
            self.add_restored(number, purge, now.minus(age));
        }
        if is_damaged {
            self.last += 1;
            let (number, purge) = (self.last, kept::everything());
            journal.add(number, kept::encode(&purge, wall_now));
            self.add_restored(number, purge, now);
        }
        self.file = Some(Arc::new(journal));
    }

    /// The file, which it has no more: another process has it from the moment that nobody here uses it.
    pub(super) fn release(&mut self) -> Option<Arc<Journal>> {
        self.file.take()
    }

    /// The file, which the other process has left. What it had from here is in there, or the tier has it. What it made itself
    /// is sent from here, under numbers that are nobody's: both have gone on counting from the same one.
    pub(super) fn resume(&mut self, OutboxFile { journal, found }: OutboxFile, now: Moment) {
        let Found { entries, last, is_damaged, torn_bytes: _ } = found;
        let waits = |number: u64| {
            self.outstanding.binary_search_by_key(&number, |it| it.number).is_ok()
                || self.unconfirmed.iter().any(|it| it.number == number)
        };
        let (mut is_there, mut done, mut others) = (HashSet::new(), Vec::new(), Vec::new());
        for (number, bytes) in entries {
            let kept = kept::decode(&bytes);
            match self.number_of(kept.purge.id) {
                Some(own) if own == number && waits(number) => _ = is_there.insert(number),
                Some(_) => done.push(number),
                None => {
                    done.push(number);
                    others.push(kept);
                }
            }
        }
        let came_meanwhile: Vec<_> = { self.outstanding.iter() }
            .filter(|it| !is_there.contains(&it.number))
            .map(|it| (it.number, kept::encode(&it.purge, SystemTime::now())))
            .collect();
        self.last = self.last.max(last);
        if is_damaged {
            others.push(Kept { purge: kept::everything(), at: SystemTime::now() });
        }
        for Kept { purge, at } in others {
            self.last += 1;
            let age = SystemTime::now().duration_since(at).unwrap_or(Duration::ZERO);
            journal.add(self.last, kept::encode(&purge, at));
            self.bytes += bytes_of(&purge.scopes);
            self.add_restored(self.last, purge, now.minus(age));
        }
        // Only now that they are in there anew.
        journal.done(&done);
        for (number, bytes) in came_meanwhile {
            journal.put(number, bytes);
        }
        self.file = Some(Arc::new(journal));
    }

    /// Under which number it has, or had, this purge.
    fn number_of(&self, id: PurgeId) -> Option<u64> {
        let made_here = (id.source == self.source).then_some(id.number);
        made_here.or_else(|| self.restored.get(&id).copied())
    }

    /// Whether this purge was made here, or was left here by an earlier process.
    pub(super) fn is_own(&self, id: PurgeId) -> bool {
        self.number_of(id).is_some()
    }

    /// The file that it has.
    pub(super) fn file(&self) -> Option<&Arc<Journal>> {
        self.file.as_ref()
    }

    /// The bytes of the names in it.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Since when the oldest has been waiting.
    pub(super) fn oldest(&self) -> Option<Moment> {
        self.outstanding.front().map(|outstanding| outstanding.at)
    }

    pub(super) fn len(&self) -> usize {
        self.outstanding.len()
    }

    /// From now on whatever comes from below is judged by this purge, too.
    pub(super) fn enter(
        &mut self,
        scopes: Vec<Scope>,
        mode: Mode,
        cause: Cause<'_>,
        at: Moment,
    ) -> Entered {
        if let Some(place) = self.naming_as_much(&scopes, mode, cause) {
            return self.folded_into(place, Entry::Folded);
        }
        // A hard one takes the place of a soft one that names the same.
        if let Some(place) = self.naming_the_same(&scopes) {
            let soft = self.take(place);
            let number = self.add(scopes, mode, cause, soft.at.min(at), soft.tell);
            self.stands_for(number, soft.first);
            self.replaced(&[soft.number]);
            return self.entered(number, Entry::Folded);
        }
        let bytes = bytes_of(&scopes);
        if let Cause::Reader { within } = cause
            && (self.by_readers >= self.max / 2
                || self.by_readers_bytes.saturating_add(bytes) > MAX_BYTES / 2)
        {
            self.widen(Some(within), at);
        } else if self.has_no_room(bytes) {
            self.widen(None, at);
        } else {
            let number = self.add(scopes, mode, cause, at, Vec::new());
            return self.entered(number, Entry::New);
        }
        if let Some(place) = self.naming_as_much(&scopes, mode, cause) {
            let is_everything = self.outstanding[place].purge.scopes == [Scope::Everything];
            let entry = if is_everything { Entry::Everything } else { Entry::Widened };
            return self.folded_into(place, entry);
        }
        if !self.has_no_room(bytes) {
            let number = self.add(scopes, mode, cause, at, Vec::new());
            return self.entered(number, Entry::Widened);
        }
        let number = self.all_in_one(at);
        self.entered(number, Entry::Everything)
    }

    /// Whether one more of so many bytes is one too many.
    fn has_no_room(&self, bytes: usize) -> bool {
        self.outstanding.len() >= self.max
            || self.bytes.saturating_add(bytes) > MAX_BYTES
            || self.file.as_ref().is_some_and(|file| !file.has_room(bytes))
    }

    /// Where one stands that was not sent, names as much and leaves no more of it.
    fn naming_as_much(&self, scopes: &[Scope], mode: Mode, cause: Cause<'_>) -> Option<usize> {
        let leaves_no_more = |place: &usize| {
            let waiting = self.outstanding[*place].purge.mode;
            waiting == Mode::Hard || mode == Mode::Soft
        };
        let wide = self.wide.iter().filter_map(|number| self.unsent(*number));
        let covers = |place: &usize| match (&*self.outstanding[*place].purge.scopes, cause) {
            ([Scope::Everything], _) => true,
            ([Scope::Prefix(prefix)], Cause::Reader { within }) => within.starts_with(prefix),
            _ => false,
        };
        let same = self.naming_the_same(scopes).filter(leaves_no_more);
        same.or_else(|| wide.filter(covers).find(leaves_no_more))
    }

    /// Where one stands that was not sent and names just that.
    fn naming_the_same(&self, scopes: &[Scope]) -> Option<usize> {
        let place = self.unsent(*self.by_scopes.get(&self.hasher.hash_one(scopes))?)?;
        (self.outstanding[place].purge.scopes == scopes).then_some(place)
    }

    /// Where the one with this number stands, if it was not sent.
    fn unsent(&self, number: u64) -> Option<usize> {
        let place = self.outstanding.binary_search_by_key(&number, |it| it.number).ok()?;
        let may_fold = !self.outstanding[place].is_sent || !Rule::OnlyTheUnsentIsFoldedInto.holds();
        may_fold.then_some(place)
    }

    /// It may be sent before what is folded into it is done in memory. Nothing hangs on that: what is acknowledged is
    /// still judged by, and only whoever has made the purge, and is told of it when it is done, may say that it holds.
    fn folded_into(&mut self, place: usize, entry: Entry) -> Entered {
        let outstanding = &mut self.outstanding[place];
        // All who hear of it hear the same.
        let told = match outstanding.tell.first() {
            Some(teller) => teller.subscribe(),
            None => {
                let (teller, told) = watch::channel(Progress::Waits);
                outstanding.tell.push(teller);
                told
            }
        };
        let id = outstanding.purge.id;
        Entered { id, told, entry }
    }

    fn entered(&mut self, number: u64, entry: Entry) -> Entered {
        let place = self.outstanding.binary_search_by_key(&number, |it| it.number);
        self.folded_into(place.expect("it was added just now"), entry)
    }

    /// One more. Its number.
    fn add(
        &mut self,
        scopes: Vec<Scope>,
        mode: Mode,
        cause: Cause<'_>,
        at: Moment,
        tell: Vec<watch::Sender<Progress>>,
    ) -> u64 {
        let bytes = bytes_of(&scopes);
        self.bytes += bytes;
        self.last += 1;
        let number = self.last;
        self.by_scopes.insert(self.hasher.hash_one(&*scopes), number);
        let within = match cause {
            Cause::Asked => None,
            Cause::Reader { within } => {
                self.by_readers += 1;
                self.by_readers_bytes += bytes;
                Some(within.into())
            }
        };
        let purge = LowerPurge { id: PurgeId { source: self.source, number }, scopes, mode };
        if let Some(file) = &self.file {
            file.add(number, kept::encode(&purge, SystemTime::now()));
        }
        let (first, is_ready, is_sent) = (number, false, false);
        let outstanding = Outstanding { number, first, purge, at, is_ready, is_sent, within, tell };
        self.outstanding.push_back(outstanding);
        number
    }

    /// The one with this number, which is one of the last, stands for all from this one on.
    fn stands_for(&mut self, number: u64, first: u64) {
        let mut last = self.outstanding.iter_mut().rev();
        if let Some(outstanding) = last.find(|it| it.number == number) {
            outstanding.first = outstanding.first.min(first);
        }
    }

    /// Others stand for these, and are in the file.
    fn replaced(&self, numbers: &[u64]) {
        if let Some(file) = &self.file {
            file.done(numbers);
        }
    }

    /// Takes one out.
    fn take(&mut self, place: usize) -> Outstanding {
        let outstanding = self.outstanding.remove(place).expect("it stands there");
        self.is_out(&outstanding);
        outstanding
    }

    fn is_out(&mut self, outstanding: &Outstanding) {
        let bytes = bytes_of(&outstanding.purge.scopes);
        self.bytes -= bytes;
        self.sent -= usize::from(outstanding.is_sent);
        if outstanding.is_of_readers() {
            self.by_readers -= 1;
            self.by_readers_bytes -= bytes;
        }
        let hash = self.hasher.hash_one(&*outstanding.purge.scopes);
        if self.by_scopes.get(&hash) == Some(&outstanding.number) {
            self.by_scopes.remove(&hash);
        }
    }

    /// Of what readers have caused, and was not sent, a few are left, which name all of it, and what is `within` this.
    /// They are sent though the last of them may not be done in memory yet, as what stands for everything is.
    fn widen(&mut self, within: Option<&str>, at: Moment) {
        if self.by_readers == 0 && within.is_none() {
            return;
        }
        // In one pass: there may be thousands of either kind.
        let all = std::mem::take(&mut self.outstanding);
        let (taken, left) = all.into_iter().partition(Outstanding::is_of_readers);
        let taken: Vec<Outstanding> = taken;
        let left: Vec<_> = left;
        self.outstanding = left.into();
        taken.iter().for_each(|outstanding| self.is_out(outstanding));
        let at = taken.iter().map(|it| it.at).fold(at, Moment::min);
        let paths = taken.iter().filter_map(|it| it.within.as_deref()).chain(within);
        let most = (self.max / 4).clamp(1, MAX_WIDENED);
        let prefixes = widened::prefixes(paths, most);
        let mut numbers = Vec::with_capacity(prefixes.len());
        for prefix in &prefixes {
            let scopes = match prefix.is_empty() {
                true => vec![Scope::Everything],
                false => vec![Scope::Prefix(prefix.clone())],
            };
            let number =
                self.add(scopes, Mode::Hard, Cause::Reader { within: prefix }, at, Vec::new());
            numbers.push(number);
        }
        let old: Vec<_> = taken.iter().map(|it| it.number).collect();
        for outstanding in taken {
            let path = outstanding.within.as_deref().unwrap_or_default();
            let nth = prefixes.iter().position(|prefix| path.starts_with(&**prefix)).unwrap_or(0);
            // They are the last.
            let place = self.outstanding.len() - prefixes.len() + nth;
            let first = &mut self.outstanding[place].first;
            *first = outstanding.first.min(*first);
            // Only those who still wait: while the tier is away, this goes on and on.
            let told = outstanding.tell.into_iter().filter(|teller| teller.receiver_count() > 0);
            self.outstanding[place].tell.extend(told);
        }
        for number in &numbers {
            let place = self.outstanding.binary_search_by_key(number, |it| it.number);
            place.into_iter().for_each(|place| self.outstanding[place].is_ready = true);
        }
        self.replaced(&old);
        self.wide = numbers;
    }

    /// All of them become one of everything. What takes the place of many is sent though the last of them may not be done
    /// in memory yet. That is so for order's sake, and nothing hangs on it: what is acknowledged is still judged by.
    fn all_in_one(&mut self, at: Moment) -> u64 {
        let replaced: Vec<_> = self.outstanding.iter().map(|it| it.number).collect();
        let first = self.outstanding.iter().map(|it| it.first).min();
        // Only those who still wait: while the tier is away, this goes on and on.
        let tell = self.outstanding.drain(..).flat_map(|outstanding| outstanding.tell);
        let tell = tell.filter(|teller| teller.receiver_count() > 0).collect();
        (self.bytes, self.sent, self.by_readers, self.by_readers_bytes) = (0, 0, 0, 0);
        self.by_scopes.clear();
        let number = self.add(vec![Scope::Everything], Mode::Hard, Cause::Asked, at, tell);
        self.outstanding[0].is_ready = true;
        first.into_iter().for_each(|first| self.stands_for(number, first));
        self.wide = vec![number];
        self.replaced(&replaced);
        number
    }

    /// It is done in memory. It may be gone by now, where there were too many.
    pub(super) fn ready(&mut self, id: PurgeId) {
        if let Some(place) = self.place(id) {
            self.outstanding[place].is_ready = true;
        }
    }

    fn place(&self, id: PurgeId) -> Option<usize> {
        let number = match id.source == self.source {
            true => id.number,
            false => *self.restored.get(&id)?,
        };
        self.outstanding.binary_search_by_key(&number, |it| it.number).ok()
    }

    /// The last that was made here.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Whether all up to this one have been acknowledged, or what has taken their place.
    pub(super) fn has_sent(&self, number: u64) -> bool {
        self.outstanding.iter().all(|it| it.first > number)
    }

    /// Whether there is something to send.
    pub(super) fn has_ready(&self) -> bool {
        self.outstanding.iter().any(|outstanding| outstanding.is_ready)
    }

    /// What is to be sent next. From now on it may be in the log. What was sent is sent again alone: so of what names the
    /// same one is sent and one waits, however long the tier is away.
    pub(super) fn batch(&mut self) -> Vec<LowerPurge> {
        let (mut purges, mut scopes, mut bytes) = (0, 0, 0);
        let fits = |outstanding: &&Outstanding| {
            purges += 1;
            scopes += outstanding.purge.scopes.len();
            bytes += bytes_of(&outstanding.purge.scopes);
            purges == 1 || scopes <= SCOPES_PER_CALL && bytes <= BYTES_PER_CALL
        };
        let is_again = self.sent > 0;
        let is_next = |it: &&Outstanding| it.is_ready && it.is_sent == is_again;
        let ready = self.outstanding.iter().filter(is_next);
        let batch: Vec<_> = ready.take_while(fits).map(|it| it.purge.clone()).collect();
        for id in batch.iter().map(|purge| purge.id) {
            self.sends(id);
        }
        batch
    }

    fn sends(&mut self, id: PurgeId) {
        let Some(place) = self.place(id) else { return };
        let outstanding = &mut self.outstanding[place];
        if outstanding.is_of_readers() {
            self.by_readers -= 1;
            self.by_readers_bytes -= bytes_of(&outstanding.purge.scopes);
        }
        self.sent += usize::from(!outstanding.is_sent);
        outstanding.is_sent = true;
    }

    pub(super) fn acknowledged(&mut self, ids: &[PurgeId], position: Position) {
        for id in ids {
            if let Some(outstanding) = self.place(*id).map(|place| self.take(place)) {
                let (number, bytes) = (outstanding.number, bytes_of(&outstanding.purge.scopes));
                outstanding.tell(&Progress::Acknowledged(position));
                let Some(file) = &self.file else { continue };
                if Rule::TheUnreplicatedStaysOnDisk.holds() {
                    self.unconfirmed_bytes += bytes;
                    self.unconfirmed.push_back(Unconfirmed { number, position, bytes });
                } else {
                    file.done(&[number]);
                }
            }
        }
        let mut oldest = Vec::new();
        while self.unconfirmed.len() > MAX_UNCONFIRMED
            || self.unconfirmed_bytes > MAX_UNCONFIRMED_BYTES
        {
            let Some(gone) = self.unconfirmed.pop_front() else { break };
            self.unconfirmed_bytes -= gone.bytes;
            oldest.push(gone.number);
        }
        if let Some(file) = &self.file {
            file.done(&oldest);
        }
    }

    /// The last position of which nobody has said yet that it is safe, if there is one.
    pub(super) fn unconfirmed(&self) -> Option<Position> {
        self.unconfirmed.back().map(|it| it.position)
    }

    /// The log is safe up to here, or has ended.
    pub(super) fn confirmed(&mut self, safe: Position) {
        let Some(file) = &self.file else { return };
        let mut done = Vec::new();
        self.unconfirmed.retain(|Unconfirmed { number, position, bytes }| {
            let stays = position.generation == safe.generation && position.number > safe.number;
            if !stays {
                self.unconfirmed_bytes -= bytes;
                done.push(*number);
            }
            stays
        });
        file.done(&done);
    }

    /// These could not be sent.
    pub(super) fn tried(&mut self, ids: &[PurgeId], reason: &Arc<str>) {
        for id in ids {
            let Some(place) = self.place(*id) else { continue };
            self.outstanding[place].tell(&Progress::Tried(Arc::clone(reason)));
            if !Rule::FailedPurgesAreSentAgain.holds() {
                self.take(place);
            }
        }
    }

    /// When `id` was made, if it is still outstanding.
    pub(super) fn made(&self, id: PurgeId) -> Option<Moment> {
        self.place(id).map(|place| self.outstanding[place].at)
    }

    /// What the purges that are outstanding mean for what is below under `key` with these tags.
    pub(super) fn state(&self, key: &str, tags: &[String]) -> PurgeState {
        let named = self.outstanding.iter().filter(|it| it.purge.names(key, tags));
        let states = named.map(|outstanding| match outstanding.purge.mode {
            Mode::Hard => PurgeState::Purged,
            Mode::Soft => PurgeState::MarkedStale(outstanding.at),
        });
        states.fold(PurgeState::Untouched, PurgeState::and)
    }
}

fn bytes_of(scopes: &[Scope]) -> usize {
    let bytes = |scope: &Scope| match scope {
        Scope::Key(name) | Scope::Prefix(name) | Scope::Tag(name) => name.len(),
        Scope::Glob(glob) => glob.prefix().len(),
        Scope::Everything => 0,
    };
    scopes.iter().map(bytes).sum()
}

impl Outstanding {
    /// Whether it is one of those that may be widened.
    fn is_of_readers(&self) -> bool {
        self.within.is_some() && !self.is_sent
    }

    fn tell(&self, progress: &Progress) {
        for teller in &self.tell {
            teller.send_replace(progress.clone());
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    use super::Entry::{Everything, Folded, New, Widened};

    impl Outbox {
        fn enter_asked(&mut self, scopes: Vec<Scope>, mode: Mode) -> Entered {
            self.enter(scopes, mode, Cause::Asked, Moment::FIRST)
        }
    }

    fn key(key: &str) -> Vec<Scope> {
        vec![Scope::Key(key.to_owned())]
    }

    #[test]
    fn one_too_many_makes_one_purge_of_everything_of_all() {
        let mut outbox = Outbox::new(3, 1, None, Moment::FIRST);
        let mut told = Vec::new();
        for number in 0..3 {
            let entered = outbox.enter_asked(key(&format!("{number}")), Mode::Soft);
            assert_eq!(entered.entry, New);
            outbox.ready(entered.id);
            told.push(entered.told);
        }
        assert_eq!(outbox.state("other", &[]), PurgeState::Untouched);
        let Entered { id, told: progress, entry } = outbox.enter_asked(key("3"), Mode::Soft);
        told.push(progress);
        assert_eq!(entry, Everything);
        assert_eq!((outbox.len(), outbox.state("other", &[])), (1, PurgeState::Purged));
        let batch = outbox.batch();
        assert_eq!((&*batch[0].scopes, batch[0].mode), (&[Scope::Everything][..], Mode::Hard));
        outbox.acknowledged(&[id], Position { generation: 1, number: 1 });
        assert_eq!(outbox.state("0", &[]), PurgeState::Untouched);
        assert!(told.iter().all(|told| matches!(*told.borrow(), Progress::Acknowledged(_))));
    }

    #[test]
    fn an_outbox_that_overflows_again_and_again_remembers_only_those_who_wait() {
        let mut outbox = Outbox::new(2, 1, None, Moment::FIRST);
        let waits = outbox.enter_asked(key("waits"), Mode::Hard).told;
        for number in 0..1000 {
            let id = outbox.enter_asked(key(&format!("{number}")), Mode::Hard).id;
            outbox.ready(id);
            // Nothing is folded into what was sent.
            outbox.batch();
        }
        let tellers: usize = outbox.outstanding.iter().map(|it| it.tell.len()).sum();
        assert!(tellers <= 4, "{tellers}");
        acknowledge_all(&mut outbox);
        assert!(matches!(*waits.borrow(), Progress::Acknowledged(_)));
    }

    #[test]
    fn what_no_replica_has_leaves_room_in_the_file_for_what_the_tier_does_not_have() {
        let folder = tempfile::tempdir().unwrap();
        let file = OutboxFile::open(folder.path().join("outbox")).unwrap();
        let mut outbox = Outbox::new(1000, 1, Some(file), Moment::FIRST);
        // Fewer than stay by their number, and together more than the file has room for.
        for number in 1..=100 {
            let long = key(&"x".repeat(MAX_BYTES / 32));
            let Entered { id, entry, .. } = outbox.enter_asked(long, Mode::Hard);
            assert_eq!(entry, New, "{number}");
            outbox.ready(id);
            outbox.acknowledged(&[id], Position { generation: 1, number });
        }
        assert!(!outbox.unconfirmed.is_empty());
        outbox.confirmed(Position { generation: 1, number: 100 });
        assert_eq!((outbox.unconfirmed.len(), outbox.unconfirmed_bytes), (0, 0));
    }

    /// How many purges a process leaves whose tier has all, and perhaps no replica of it.
    fn left_that_no_replica_has() -> usize {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let open = || OutboxFile::open(folder.path().join("outbox")).expect("a file of its own");
        let mut outbox = Outbox::new(1000, 1, Some(open()), Moment::FIRST);
        for number in 1..=3 {
            let id = outbox.enter_asked(key(&format!("{number}")), Mode::Hard).id;
            outbox.ready(id);
            let ids: Vec<_> = outbox.batch().iter().map(|purge| purge.id).collect();
            outbox.acknowledged(&ids, Position { generation: 1, number });
        }
        // A replica has said so of the first.
        outbox.confirmed(Position { generation: 1, number: 1 });
        drop(outbox);
        open().left()
    }

    #[test]
    fn what_no_replica_has_outlives_the_process_by_its_rule() {
        assert_eq!(left_that_no_replica_has(), 2);
        let _off = Rule::TheUnreplicatedStaysOnDisk.turn_off();
        assert_eq!(left_that_no_replica_has(), 0);
    }

    #[test]
    fn a_file_that_was_given_up_and_comes_back_has_what_still_waits_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let open = || OutboxFile::open(folder.path().join("outbox")).unwrap();
        let mut outbox = Outbox::new(1000, 1, Some(open()), Moment::FIRST);
        let enter = |outbox: &mut Outbox, name: &str| {
            let id = outbox.enter_asked(key(name), Mode::Hard).id;
            outbox.ready(id);
            id
        };
        let acknowledged = |outbox: &mut Outbox, id, number| {
            outbox.acknowledged(&[id], Position { generation: 1, number });
        };
        let [stays, sent] = ["stays", "sent"].map(|name| enter(&mut outbox, name));
        drop(outbox.release());
        // Another process has it, finds both, and does nothing with them.
        assert_eq!(open().left(), 2);
        let late = enter(&mut outbox, "late");
        acknowledged(&mut outbox, sent, 1);
        assert!(outbox.file().is_none());
        outbox.resume(open(), Moment::FIRST);
        drop(outbox.file.take());
        let found = open();
        assert_eq!(found.left(), 2, "one that waits from before, and one that came meanwhile");
        drop(found);
        outbox.resume(open(), Moment::FIRST);
        for (id, number) in [(stays, 2), (late, 3)] {
            acknowledged(&mut outbox, id, number);
        }
        outbox.confirmed(Position { generation: 1, number: 3 });
        drop(outbox);
        assert_eq!(open().left(), 0);
    }

    #[test]
    fn what_another_process_made_while_it_had_the_file_is_sent_from_here() {
        let folder = tempfile::tempdir().unwrap();
        let open = || OutboxFile::open(folder.path().join("outbox")).unwrap();
        let enter = |outbox: &mut Outbox, name: &str| {
            let id = outbox.enter_asked(key(name), Mode::Hard).id;
            outbox.ready(id);
            id
        };
        let mut outbox = Outbox::new(1000, 1, Some(open()), Moment::FIRST);
        let before = enter(&mut outbox, "before");
        drop(outbox.release());
        // Both count on from there.
        let mut other = Outbox::new(1000, 2, Some(open()), Moment::FIRST);
        let theirs = [enter(&mut other, "theirs"), enter(&mut other, "theirs too")];
        drop(other);
        let ours = enter(&mut outbox, "ours");
        outbox.resume(open(), Moment::FIRST);
        let known = |outbox: &Outbox| -> HashSet<PurgeId> {
            outbox.outstanding.iter().map(|it| it.purge.id).collect()
        };
        let all = HashSet::from([before, ours, theirs[0], theirs[1]]);
        assert_eq!(known(&outbox), all);
        assert!(outbox.outstanding.iter().is_sorted_by_key(|it| it.number));
        // All of it is on disk, once.
        drop(outbox.file.take());
        let again = Outbox::new(1000, 3, Some(open()), Moment::FIRST);
        assert_eq!((known(&again), again.len()), (all, 4));
        drop(again);
        outbox.resume(open(), Moment::FIRST);
        outbox.acknowledged(&[ours], Position { generation: 1, number: 1 });
        outbox.confirmed(Position { generation: 1, number: 1 });
        drop(outbox);
        let left = Outbox::new(1000, 3, Some(open()), Moment::FIRST);
        assert_eq!(known(&left), HashSet::from([before, theirs[0], theirs[1]]));
    }

    #[test]
    fn what_is_not_done_in_memory_is_not_sent_but_judged_by() {
        let mut outbox = Outbox::new(3, 1, None, Moment::FIRST);
        let id = outbox.enter_asked(key("a"), Mode::Hard).id;
        assert!(outbox.batch().is_empty());
        assert_eq!(outbox.state("a", &[]), PurgeState::Purged);
        outbox.ready(id);
        assert_eq!(outbox.batch().len(), 1);
    }

    #[test]
    fn a_call_carries_so_many_scopes_and_always_one_purge() {
        let mut outbox = Outbox::new(1000, 1, None, Moment::FIRST);
        for scopes in [300, 200, 56, 1] {
            let id = outbox.enter_asked(vec![Scope::Everything; scopes], Mode::Hard).id;
            outbox.ready(id);
        }
        let mut sizes = Vec::new();
        while outbox.len() > 0 {
            let ids: Vec<_> = outbox.batch().iter().map(|purge| purge.id).collect();
            sizes.push(ids.len());
            outbox.acknowledged(&ids, Position { generation: 1, number: 1 });
        }
        assert_eq!(sizes, [1, 2, 1]);
    }

    #[test]
    fn long_names_are_sent_a_few_at_a_time_and_too_many_bytes_are_one_too_many() {
        let mut outbox = Outbox::new(1000, 1, None, Moment::FIRST);
        let mut number = 0;
        let mut enter = |outbox: &mut Outbox| {
            number += 1;
            let long = key(&format!("{number:04}{}", "x".repeat(BYTES_PER_CALL / 2 - 4)));
            let Entered { id, entry, .. } = outbox.enter_asked(long, Mode::Hard);
            outbox.ready(id);
            entry == Everything
        };
        let room = MAX_BYTES / (BYTES_PER_CALL / 2);
        assert!((0..room).all(|_| !enter(&mut outbox)));
        assert_eq!(outbox.batch().len(), 2);
        let ids: Vec<_> = outbox.batch().iter().map(|purge| purge.id).collect();
        outbox.acknowledged(&ids, Position { generation: 1, number: 1 });
        assert!((0..2).all(|_| !enter(&mut outbox)), "there is room again");
        assert!(enter(&mut outbox));
        assert_eq!((outbox.len(), outbox.bytes), (1, 0));
        acknowledge_all(&mut outbox);
        let id = outbox.enter_asked(key(&"x".repeat(MAX_BYTES)), Mode::Hard).id;
        outbox.ready(id);
        assert_eq!(outbox.batch().len(), 1, "one is sent however long it is");
    }

    fn of_reader(outbox: &mut Outbox, url: &str) -> Entered {
        let cause = Cause::Reader { within: url };
        let entered = outbox.enter(key(url), Mode::Hard, cause, Moment::FIRST);
        outbox.ready(entered.id);
        entered
    }

    fn acknowledge_all(outbox: &mut Outbox) -> Vec<LowerPurge> {
        let mut sent = Vec::new();
        while outbox.len() > 0 {
            let batch = outbox.batch();
            let ids: Vec<_> = batch.iter().map(|purge| purge.id).collect();
            outbox.acknowledged(&ids, Position { generation: 1, number: 1 });
            sent.extend(batch);
        }
        sent
    }

    fn is_acknowledged(entered: &Entered) -> bool {
        matches!(*entered.told.borrow(), Progress::Acknowledged(_))
    }

    #[test]
    fn what_waits_unsent_and_names_the_same_is_one_purge_and_hard_wins() {
        for (modes, left) in [
            ([Mode::Soft, Mode::Soft], Mode::Soft),
            ([Mode::Soft, Mode::Hard], Mode::Hard),
            ([Mode::Hard, Mode::Soft], Mode::Hard),
            ([Mode::Hard, Mode::Hard], Mode::Hard),
        ] {
            let mut outbox = Outbox::new(1000, 1, None, Moment::FIRST);
            let scopes = || vec![Scope::Tag("a".to_owned()), Scope::Key("k".to_owned())];
            let [one, other] = modes.map(|mode| outbox.enter_asked(scopes(), mode));
            assert_eq!((one.entry, other.entry, outbox.len()), (New, Folded, 1), "{modes:?}");
            assert_eq!(outbox.enter_asked(key("k"), Mode::Soft).entry, New, "it names less");
            [one.id, other.id].into_iter().for_each(|id| outbox.ready(id));
            let sent = acknowledge_all(&mut {
                let id = outbox.enter_asked(key("k"), Mode::Soft).id;
                outbox.ready(id);
                outbox
            });
            assert_eq!((&*sent[0].scopes, sent[0].mode), (&*scopes(), left), "{modes:?}");
            assert!(is_acknowledged(&one) && is_acknowledged(&other), "{modes:?}");
        }
    }

    #[test]
    fn nothing_is_folded_into_what_may_be_in_the_log() {
        let mut outbox = Outbox::new(1000, 1, None, Moment::FIRST);
        let first = of_reader(&mut outbox, "//h/a");
        assert_eq!(outbox.batch().len(), 1);
        let second = of_reader(&mut outbox, "//h/a");
        let third = of_reader(&mut outbox, "//h/a");
        assert_eq!((second.entry, third.entry, outbox.len()), (New, Folded, 2));
        assert_eq!(outbox.batch()[0].id, first.id);
        assert_eq!(of_reader(&mut outbox, "//h/a").entry, Folded, "the second still waits");
        outbox.acknowledged(&[first.id], Position { generation: 1, number: 1 });
        assert!(is_acknowledged(&first) && !is_acknowledged(&second) && !is_acknowledged(&third));
        assert_eq!(outbox.state("//h/a", &[]), PurgeState::Purged);
        acknowledge_all(&mut outbox);
        assert!(is_acknowledged(&second) && is_acknowledged(&third));
        assert_eq!((outbox.by_readers, outbox.by_scopes.len(), outbox.bytes), (0, 0, 0));
    }

    #[test]
    fn what_readers_cause_is_widened_to_their_paths_and_leaves_what_others_have_purged() {
        let mut outbox = Outbox::new(100, 1, None, Moment::FIRST);
        let asked = outbox.enter_asked(key("https://other/x"), Mode::Soft);
        outbox.ready(asked.id);
        let mut all: Vec<_> =
            (0..50).map(|n| of_reader(&mut outbox, &format!("https://h/posts/{n}"))).collect();
        assert!(all.iter().all(|it| it.entry == New));
        let last = of_reader(&mut outbox, "https://h/users/1");
        assert_eq!((last.entry, outbox.len()), (Widened, 3));
        all.push(last);
        assert_eq!(of_reader(&mut outbox, "https://h/posts/new").entry, Folded);
        assert_eq!(of_reader(&mut outbox, "https://h/about").entry, New);
        assert_eq!(outbox.state("https://h/posts/of/nobody", &[]), PurgeState::Purged);
        assert_eq!(outbox.state("https://h/", &[]), PurgeState::Untouched);
        assert_eq!(outbox.state("https://other/y", &[]), PurgeState::Untouched);
        let sent = acknowledge_all(&mut outbox);
        let prefix = |prefix: &str| vec![Scope::Prefix(prefix.to_owned())];
        let widened = [prefix("https://h/posts/"), prefix("https://h/users/")];
        let scopes: Vec<_> = sent.iter().map(|purge| purge.scopes.clone()).collect();
        assert_eq!(scopes[0], key("https://other/x"));
        assert_eq!(scopes[1..3], widened);
        assert!(all.iter().chain([&asked]).all(is_acknowledged));
    }

    #[test]
    fn a_flood_of_readers_is_never_everything_while_it_is_of_a_few_sites() {
        let mut outbox = Outbox::new(1 << 14, 1, None, Moment::FIRST);
        let mut asked = 0;
        for n in 0..100_000_u64 {
            let entered = of_reader(&mut outbox, &format!("https://h{}/{}/{n}", n % 9, n % 700));
            assert_ne!(entered.entry, Everything, "{n}");
            if n % 25 == 0 {
                asked += 1;
                let entered = outbox.enter_asked(key(&format!("asked {n}")), Mode::Hard);
                assert_eq!(entered.entry, New, "{n}");
                outbox.ready(entered.id);
            }
            assert!(outbox.by_readers <= 1 << 13);
            // The tier is away: it is sent again and again.
            if n % 1000 == 0 {
                outbox.batch();
            }
        }
        let sent = acknowledge_all(&mut outbox);
        let of_asked = |purge: &&LowerPurge| matches!(&*purge.scopes, [Scope::Key(key)] if key.starts_with("asked"));
        assert_eq!(sent.iter().filter(of_asked).count(), asked);
        assert_eq!((outbox.bytes, outbox.by_readers, outbox.by_readers_bytes), (0, 0, 0));
    }

    #[test]
    fn a_flood_of_more_sites_than_there_are_prefixes_is_everything_once() {
        let mut outbox = Outbox::new(1 << 10, 1, None, Moment::FIRST);
        let mut entries: HashMap<_, usize> = HashMap::new();
        for n in 0..10_000 {
            let entry = of_reader(&mut outbox, &format!("https://h{n}/")).entry;
            *entries.entry(format!("{entry:?}")).or_default() += 1;
        }
        assert_eq!((entries["Everything"], entries["New"], entries["Folded"]), (1, 512, 9487));
        assert_eq!(outbox.len(), 1);
    }

    #[test]
    fn all_have_been_sent_only_when_what_took_their_place_has() {
        type Replace = fn(&mut Outbox);
        let hard: Replace = |outbox| _ = outbox.enter_asked(key("https://h/0"), Mode::Hard);
        let widened: Replace = |outbox| {
            (0..50).for_each(|n| _ = of_reader(outbox, &format!("https://h/{n}")));
            assert_eq!(outbox.by_readers, 1);
        };
        let everything: Replace = |outbox| {
            (0..200).for_each(|n| _ = outbox.enter_asked(key(&n.to_string()), Mode::Hard));
        };
        for (nth, replace) in [hard, widened, everything].into_iter().enumerate() {
            let mut outbox = Outbox::new(60, 1, None, Moment::FIRST);
            let cause = Cause::Reader { within: "https://h/0" };
            outbox.enter(key("https://h/0"), Mode::Soft, cause, Moment::FIRST);
            let last = outbox.last();
            replace(&mut outbox);
            assert!(outbox.last() > last && !outbox.has_sent(last), "{nth}");
            let numbers: Vec<_> = outbox.outstanding.iter().map(|it| it.number).collect();
            assert!(numbers.is_sorted() && numbers[0] > last, "{nth}: it has another number");
            outbox.outstanding.iter_mut().for_each(|it| it.is_ready = true);
            acknowledge_all(&mut outbox);
            assert!(outbox.has_sent(last), "{nth}");
        }
    }

    #[test]
    fn what_was_folded_is_in_the_file_and_what_was_replaced_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let open = || OutboxFile::open(folder.path().join("outbox")).unwrap();
        let mut outbox = Outbox::new(40, 1, Some(open()), Moment::FIRST);
        outbox.enter_asked(key("a"), Mode::Soft);
        outbox.enter_asked(key("a"), Mode::Hard);
        outbox.enter_asked(key("a"), Mode::Hard);
        for n in 0..30 {
            of_reader(&mut outbox, &format!("https://h/posts/{n}"));
        }
        drop(outbox);
        let found = open();
        let left = found.found.entries.iter().map(|(_, bytes)| kept::decode(bytes).purge);
        let left: Vec<_> = left.map(|purge| (purge.scopes, purge.mode)).collect();
        let posts = vec![Scope::Prefix("https://h/posts/".to_owned())];
        assert_eq!(left, [(key("a"), Mode::Hard), (posts, Mode::Hard)]);
    }
}
