//! Outbox: purges of this process that the lower tier has not acknowledged.
//!
//! It is bounded. One too many, and all of them become one hard purge of everything, which names whatever they
//! named: until that is acknowledged, nothing from below is used. That costs what the tier holds, and serves
//! nothing that was purged.
//!
//! Where it has a file ([`journal`](crate::journal)), each purge is in there as well until the tier has acknowledged it,
//! and a replica, if there are any. What an earlier process has left there comes first. It keeps its names, so that a
//! tier that has it knows it again; new purges are named by another source, for nobody knows which numbers the earlier
//! process has given last.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::kept::{self, Kept};
use crate::{
    clock::Moment,
    journal::{Found, Journal},
    purge::{Mode, Scope, last::PurgeState},
    sync::watch,
    tier::lower::{LowerPurge, OutboxFile, Position, PurgeId},
};

/// Scopes that are sent in one call.
const SCOPES_PER_CALL: usize = 256;
/// The bytes of their names in one call: one that takes too long is repeated, and holds up all others.
const BYTES_PER_CALL: usize = 256 << 10;
/// The bytes of all names. More are one too many.
const MAX_BYTES: usize = 16 << 20;
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
    purge: LowerPurge,
    /// Since then what it names is stale, if it is soft.
    at: Moment,
    /// It is done in memory, and may be sent.
    is_ready: bool,
    tell: Vec<watch::Sender<Progress>>,
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

    fn restore(
        &mut self,
        journal: Journal,
        Found { entries, last, is_damaged }: Found,
        now: Moment,
    ) {
        self.last = last;
        let wall_now = SystemTime::now();
        for (number, bytes) in entries {
            let Kept { purge, at } = kept::decode(&bytes);
            let age = wall_now.duration_since(at).unwrap_or(Duration::ZERO);
            self.restored.insert(purge.id, number);
            self.bytes += bytes_of(&purge.scopes);
            let (at, tell) = (now.minus(age), Vec::new());
            self.outstanding.push_back(Outstanding { number, purge, at, is_ready: true, tell });
        }
        if is_damaged {
            self.last += 1;
            let (number, purge) = (self.last, kept::everything());
            journal.add(number, kept::encode(&purge, wall_now));
            self.restored.insert(purge.id, number);
            let tell = Vec::new();
            self.outstanding.push_back(Outstanding {
                number,
                purge,
                at: now,
                is_ready: true,
                tell,
            });
        }
        self.file = Some(Arc::new(journal));
    }

    /// The file, which it has no more: another process has it from the moment that nobody here uses it.
    pub(super) fn release(&mut self) -> Option<Arc<Journal>> {
        self.file.take()
    }

    /// The file, which the other process has left. What it had from here is in there, or the tier has it.
    pub(super) fn resume(&mut self, OutboxFile { journal, found }: OutboxFile) {
        let waits = |number: u64| {
            self.outstanding.binary_search_by_key(&number, |it| it.number).is_ok()
                || self.unconfirmed.iter().any(|it| it.number == number)
        };
        let numbers = found.entries.iter().map(|(number, _)| *number);
        let done: Vec<_> = numbers.filter(|number| !waits(*number)).collect();
        // These came meanwhile.
        for outstanding in self.outstanding.iter().filter(|it| it.number > found.last) {
            journal.add(outstanding.number, kept::encode(&outstanding.purge, SystemTime::now()));
        }
        if !found.is_damaged {
            journal.done(&done);
        }
        self.file = Some(Arc::new(journal));
    }

    /// Whether this purge was made here, or was left here by an earlier process.
    pub(super) fn is_own(&self, id: PurgeId) -> bool {
        id.source == self.source || self.restored.contains_key(&id)
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

    /// From now on whatever comes from below is judged by this purge, too. By its name and its progress; and
    /// whether there were too many.
    pub(super) fn enter(
        &mut self,
        scopes: Vec<Scope>,
        mode: Mode,
        at: Moment,
    ) -> (PurgeId, watch::Receiver<Progress>, bool) {
        let (teller, told) = watch::channel(Progress::Waits);
        let bytes = bytes_of(&scopes);
        let is_file_full = self.file.as_ref().is_some_and(|file| !file.has_room(bytes));
        let overflows = self.outstanding.len() >= self.max
            || self.bytes.saturating_add(bytes) > MAX_BYTES
            || is_file_full;
        let mut tell = vec![teller];
        // What takes the place of many is sent though the last of them may not be done in memory yet. That is
        // so for order's sake, and nothing hangs on it: what is acknowledged is still judged by.
        let mut replaced = Vec::new();
        let (scopes, mode, is_ready) = match overflows {
            true => {
                replaced.extend(self.outstanding.iter().map(|outstanding| outstanding.number));
                // Only those who still wait: while the tier is away, this goes on and on.
                let told = self.outstanding.drain(..).flat_map(|outstanding| outstanding.tell);
                tell.extend(told.filter(|teller| teller.receiver_count() > 0));
                self.bytes = 0;
                (vec![Scope::Everything], Mode::Hard, true)
            }
            false => (scopes, mode, false),
        };
        self.bytes += bytes_of(&scopes);
        self.last += 1;
        let number = self.last;
        let purge = LowerPurge { id: PurgeId { source: self.source, number }, scopes, mode };
        let id = purge.id;
        if let Some(file) = &self.file {
            file.add(number, kept::encode(&purge, SystemTime::now()));
            file.done(&replaced);
        }
        self.outstanding.push_back(Outstanding { number, purge, at, is_ready, tell });
        (id, told, overflows)
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

    /// Whether all up to this one have been acknowledged.
    pub(super) fn has_sent(&self, number: u64) -> bool {
        self.outstanding.front().is_none_or(|oldest| oldest.number > number)
    }

    /// Whether there is something to send.
    pub(super) fn has_ready(&self) -> bool {
        self.outstanding.iter().any(|outstanding| outstanding.is_ready)
    }

    /// What is to be sent next.
    pub(super) fn batch(&self) -> Vec<LowerPurge> {
        let (mut purges, mut scopes, mut bytes) = (0, 0, 0);
        let fits = |outstanding: &&Outstanding| {
            purges += 1;
            scopes += outstanding.purge.scopes.len();
            bytes += bytes_of(&outstanding.purge.scopes);
            purges == 1 || scopes <= SCOPES_PER_CALL && bytes <= BYTES_PER_CALL
        };
        let ready = self.outstanding.iter().filter(|outstanding| outstanding.is_ready);
        ready.take_while(fits).map(|outstanding| outstanding.purge.clone()).collect()
    }

    pub(super) fn acknowledged(&mut self, ids: &[PurgeId], position: Position) {
        for id in ids {
            let gone = self.place(*id).and_then(|place| self.outstanding.remove(place));
            if let Some(outstanding) = gone {
                let (number, bytes) = (outstanding.number, bytes_of(&outstanding.purge.scopes));
                self.bytes -= bytes;
                outstanding.tell(&Progress::Acknowledged(position));
                if self.file.is_some() {
                    self.unconfirmed_bytes += bytes;
                    self.unconfirmed.push_back(Unconfirmed { number, position, bytes });
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
    pub(super) fn tried(&self, ids: &[PurgeId], reason: &Arc<str>) {
        for place in ids.iter().filter_map(|id| self.place(*id)) {
            self.outstanding[place].tell(&Progress::Tried(Arc::clone(reason)));
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
    fn tell(&self, progress: &Progress) {
        for teller in &self.tell {
            teller.send_replace(progress.clone());
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    fn key(key: &str) -> Vec<Scope> {
        vec![Scope::Key(key.to_owned())]
    }

    #[test]
    fn one_too_many_makes_one_purge_of_everything_of_all() {
        let mut outbox = Outbox::new(3, 1, None, Moment::FIRST);
        let mut told = Vec::new();
        for number in 0..3 {
            let (id, progress, overflows) =
                outbox.enter(key(&format!("{number}")), Mode::Soft, Moment::FIRST);
            assert!(!overflows);
            outbox.ready(id);
            told.push(progress);
        }
        assert_eq!(outbox.state("other", &[]), PurgeState::Untouched);
        let (id, progress, overflows) = outbox.enter(key("3"), Mode::Soft, Moment::FIRST);
        told.push(progress);
        assert!(overflows);
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
        let (_, waits, _) = outbox.enter(key("waits"), Mode::Hard, Moment::FIRST);
        for number in 0..1000 {
            let (id, ..) = outbox.enter(key(&format!("{number}")), Mode::Hard, Moment::FIRST);
            outbox.ready(id);
        }
        let tellers: usize = outbox.outstanding.iter().map(|it| it.tell.len()).sum();
        assert!(tellers <= 4, "{tellers}");
        let ids: Vec<_> = outbox.batch().iter().map(|purge| purge.id).collect();
        outbox.acknowledged(&ids, Position { generation: 1, number: 1 });
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
            let (id, _, overflows) = outbox.enter(long, Mode::Hard, Moment::FIRST);
            assert!(!overflows, "{number}");
            outbox.ready(id);
            outbox.acknowledged(&[id], Position { generation: 1, number });
        }
        assert!(!outbox.unconfirmed.is_empty());
        outbox.confirmed(Position { generation: 1, number: 100 });
        assert_eq!((outbox.unconfirmed.len(), outbox.unconfirmed_bytes), (0, 0));
    }

    #[test]
    fn a_file_that_was_given_up_and_comes_back_has_what_still_waits_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let open = || OutboxFile::open(folder.path().join("outbox")).unwrap();
        let mut outbox = Outbox::new(1000, 1, Some(open()), Moment::FIRST);
        let enter = |outbox: &mut Outbox, name: &str| {
            let (id, ..) = outbox.enter(key(name), Mode::Hard, Moment::FIRST);
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
        outbox.resume(open());
        drop(outbox.file.take());
        let found = open();
        assert_eq!(found.left(), 2, "one that waits from before, and one that came meanwhile");
        drop(found);
        outbox.resume(open());
        for (id, number) in [(stays, 2), (late, 3)] {
            acknowledged(&mut outbox, id, number);
        }
        outbox.confirmed(Position { generation: 1, number: 3 });
        drop(outbox);
        assert_eq!(open().left(), 0);
    }

    #[test]
    fn what_is_not_done_in_memory_is_not_sent_but_judged_by() {
        let mut outbox = Outbox::new(3, 1, None, Moment::FIRST);
        let (id, ..) = outbox.enter(key("a"), Mode::Hard, Moment::FIRST);
        assert!(outbox.batch().is_empty());
        assert_eq!(outbox.state("a", &[]), PurgeState::Purged);
        outbox.ready(id);
        assert_eq!(outbox.batch().len(), 1);
    }

    #[test]
    fn a_call_carries_so_many_scopes_and_always_one_purge() {
        let mut outbox = Outbox::new(1000, 1, None, Moment::FIRST);
        for scopes in [300, 200, 56, 1] {
            let (id, ..) = outbox.enter(vec![Scope::Everything; scopes], Mode::Hard, Moment::FIRST);
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
        let long = || key(&"x".repeat(BYTES_PER_CALL / 2));
        let enter = |outbox: &mut Outbox| {
            let (id, _, overflows) = outbox.enter(long(), Mode::Hard, Moment::FIRST);
            outbox.ready(id);
            overflows
        };
        let room = MAX_BYTES / (BYTES_PER_CALL / 2);
        assert!((0..room).all(|_| !enter(&mut outbox)));
        assert_eq!(outbox.batch().len(), 2);
        let ids: Vec<_> = outbox.batch().iter().map(|purge| purge.id).collect();
        outbox.acknowledged(&ids, Position { generation: 1, number: 1 });
        assert!((0..2).all(|_| !enter(&mut outbox)), "there is room again");
        assert!(enter(&mut outbox));
        assert_eq!((outbox.len(), outbox.bytes), (1, 0));
        let (id, ..) = outbox.enter(key(&"x".repeat(MAX_BYTES)), Mode::Hard, Moment::FIRST);
        outbox.ready(id);
        assert_eq!(outbox.batch().len(), 1, "one is sent however long it is");
    }
}
