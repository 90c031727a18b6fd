//! Outbox: purges of this process that the lower tier has not acknowledged.
//!
//! It is bounded. One too many, and all of them become one hard purge of everything, which names whatever they
//! named: until that is acknowledged, nothing from below is used. That costs what the tier holds, and serves
//! nothing that was purged.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    clock::Moment,
    purge::{Mode, Scope, last::PurgeState},
    sync::watch,
    tier::lower::{LowerPurge, Position, PurgeId},
};

/// Scopes that are sent in one call.
const SCOPES_PER_CALL: usize = 256;
/// The bytes of their names in one call: one that takes too long is repeated, and holds up all others.
const BYTES_PER_CALL: usize = 256 << 10;
/// The bytes of all names. More are one too many.
const MAX_BYTES: usize = 16 << 20;

pub(super) struct Outbox {
    /// The oldest first, so in the order of their numbers: there may be thousands.
    outstanding: VecDeque<Outstanding>,
    /// The bytes of the names in it.
    bytes: usize,
    max: usize,
    source: u64,
    next: u64,
}

struct Outstanding {
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
    pub(super) fn new(max: usize, source: u64) -> Self {
        Outbox { outstanding: VecDeque::new(), bytes: 0, max, source, next: 0 }
    }

    /// Whether this purge was made here.
    pub(super) fn is_own(&self, id: PurgeId) -> bool {
        id.source == self.source
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
        let overflows =
            self.outstanding.len() >= self.max || self.bytes.saturating_add(bytes) > MAX_BYTES;
        let mut tell = vec![teller];
        // What takes the place of many is sent though the last of them may not be done in memory yet. That is
        // so for order's sake, and nothing hangs on it: what is acknowledged is still judged by.
        let (scopes, mode, is_ready) = match overflows {
            true => {
                // Only those who still wait: while the tier is away, this goes on and on.
                let told = self.outstanding.drain(..).flat_map(|outstanding| outstanding.tell);
                tell.extend(told.filter(|teller| teller.receiver_count() > 0));
                self.bytes = 0;
                (vec![Scope::Everything], Mode::Hard, true)
            }
            false => (scopes, mode, false),
        };
        self.bytes += bytes_of(&scopes);
        self.next += 1;
        let id = PurgeId { source: self.source, number: self.next };
        let purge = LowerPurge { id, scopes, mode };
        self.outstanding.push_back(Outstanding { purge, at, is_ready, tell });
        (id, told, overflows)
    }

    /// It is done in memory. It may be gone by now, where there were too many.
    pub(super) fn ready(&mut self, id: PurgeId) {
        if let Some(place) = self.place(id) {
            self.outstanding[place].is_ready = true;
        }
    }

    fn place(&self, id: PurgeId) -> Option<usize> {
        let place = self.outstanding.binary_search_by_key(&id.number, |it| it.purge.id.number);
        place.ok().filter(|_| self.is_own(id))
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
                self.bytes -= bytes_of(&outstanding.purge.scopes);
                outstanding.tell(&Progress::Acknowledged(position));
            }
        }
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
        let mut outbox = Outbox::new(3, 1);
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
        let mut outbox = Outbox::new(2, 1);
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
    fn what_is_not_done_in_memory_is_not_sent_but_judged_by() {
        let mut outbox = Outbox::new(3, 1);
        let (id, ..) = outbox.enter(key("a"), Mode::Hard, Moment::FIRST);
        assert!(outbox.batch().is_empty());
        assert_eq!(outbox.state("a", &[]), PurgeState::Purged);
        outbox.ready(id);
        assert_eq!(outbox.batch().len(), 1);
    }

    #[test]
    fn a_call_carries_so_many_scopes_and_always_one_purge() {
        let mut outbox = Outbox::new(1000, 1);
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
        let mut outbox = Outbox::new(1000, 1);
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
