//! Laws: what readers may be served, and what has happened so far.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    INSTANCES,
    origin::{KEYS, Served, name},
};
use crate::{AnswerSource, purge::Mode};

/// A reader is answered within this time, if its process runs: it waits for another process's fetch, for each of some
/// calls to the tier, and for the origin, perhaps twice.
const MAX_WAIT: Duration = Duration::from_secs(40);

/// What is older is not served any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Floor {
    /// To nobody.
    hard: u64,
    /// But as stale.
    soft: u64,
}

pub(super) type Floors = [Floor; KEYS];

/// One reader's question.
pub(super) struct Question {
    id: u64,
    instance: usize,
    key: usize,
    asked: Instant,
    floor: Floor,
}

pub(super) struct History {
    began: Instant,
    /// What was fetched is fresh for so long.
    ttl: Duration,
    state: Mutex<State>,
}

/// A fetch is under way. Dropped when it has ended.
pub(super) struct Fetching(Arc<History>, u64);

impl Drop for Fetching {
    fn drop(&mut self) {
        self.0.lock().fetches.remove(&self.1);
    }
}

/// Who fetches what, and since when.
struct Fetch {
    instance: usize,
    key: usize,
    began: Instant,
    /// Nobody else may make the same meanwhile.
    is_checked: bool,
}

#[derive(Default)]
struct State {
    /// By purges whose receipts have said that they hold for all.
    floors: Floors,
    /// By purges that have returned on this instance, since it started.
    own: [Floors; INSTANCES],
    /// By all purges that were ever made.
    made: Floors,
    /// How often each has been started anew.
    starts: [u64; INSTANCES],
    next: u64,
    fetches: BTreeMap<u64, Fetch>,
    /// Until then two may fetch a key, or an instance what another one fetches.
    unquiet_keys: [Option<Instant>; KEYS],
    unquiet: [Option<Instant>; INSTANCES],
    /// Who has not been answered yet: where, and since when.
    open: BTreeMap<u64, (usize, Instant)>,
    events: Vec<String>,
    broken: Vec<String>,
}

impl Floor {
    fn and(self, other: Floor) -> Floor {
        Floor { hard: self.hard.max(other.hard), soft: self.soft.max(other.soft) }
    }

    /// Nothing older than this version, after a purge of this kind.
    pub(super) fn at(version: u64, mode: Mode) -> Floor {
        let hard = if mode == Mode::Hard { version } else { 0 };
        Floor { hard, soft: version }
    }
}

fn raise(floors: &mut Floors, by: &Floors) {
    for (floor, by) in floors.iter_mut().zip(by) {
        *floor = floor.and(*by);
    }
}

impl History {
    pub(super) fn new(began: Instant, ttl: Duration) -> Self {
        History { began, ttl, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under it")
    }

    pub(super) fn note(&self, event: String) {
        let at = self.began.elapsed().as_millis();
        self.lock().events.push(format!("{at:>6} {event}"));
    }

    pub(super) fn broken(&self, law: String) {
        self.note(format!("BROKEN {law}"));
        self.lock().broken.push(law);
    }

    /// A purge holds on all instances.
    pub(super) fn holds_for_all(&self, floors: &Floors) {
        raise(&mut self.lock().floors, floors);
    }

    /// All that was purged is to be purged for all by now.
    pub(super) fn all_hold(&self) {
        let state = &mut *self.lock();
        raise(&mut state.floors, &state.made);
    }

    /// A purge has returned on this instance.
    pub(super) fn holds_here(&self, instance: usize, start: u64, floors: &Floors) {
        let mut state = self.lock();
        // It may have been told to leave meanwhile.
        if state.starts[instance] == start {
            raise(&mut state.own[instance], floors);
            raise(&mut state.made, floors);
        }
    }

    /// An instance is no more, with what it had to tell others. Nobody waits for its answers.
    pub(super) fn is_gone(&self, instance: usize) {
        let mut state = self.lock();
        state.starts[instance] += 1;
        state.own[instance] = Floors::default();
        state.open.retain(|_, (of, _)| *of != instance);
    }

    /// For so long an instance may not know that it is another one's turn to fetch.
    pub(super) fn disturb(&self, instance: usize, lasts: Duration) {
        let state = &mut *self.lock();
        state.unquiet[instance] = state.unquiet[instance].max(Some(Instant::now() + lasts));
        // Whoever waits for it goes on in the end, and is not alone.
        for (_, fetch) in state.fetches.extract_if(.., |_, fetch| fetch.instance == instance) {
            state.unquiet_keys[fetch.key] = Some(Instant::now() + lasts);
        }
    }

    /// The same, for who fetches what a purge names that not all have heard of.
    pub(super) fn disturb_key(&self, key: usize, lasts: Duration) {
        let until = &mut self.lock().unquiet_keys[key];
        *until = (*until).max(Some(Instant::now() + lasts));
    }

    /// An instance that has been started so often begins to fetch.
    pub(super) fn fetches(self: &Arc<Self>, instance: usize, start: u64, key: usize) -> Fetching {
        let (mut state, now) = (self.lock(), Instant::now());
        let id = state.next;
        state.next += 1;
        let is_quiet = |until: Option<Instant>| until.is_none_or(|until| until < now);
        let is_checked = state.starts[instance] == start
            && is_quiet(state.unquiet[instance])
            && is_quiet(state.unquiet_keys[key]);
        let is_alone = |it: &&Fetch| {
            let is_other = it.key == key && it.instance != instance;
            let since = state.unquiet_keys[key];
            is_checked && is_other && it.is_checked && since.is_none_or(|since| since < it.began)
        };
        let broken = state.fetches.values().find(is_alone).map(|other| {
            let since = (other.began - self.began).as_millis();
            let (name, other) = (name(key), other.instance);
            format!("2: {instance} fetches {name}, as {other} does since {since}")
        });
        state.fetches.insert(id, Fetch { instance, key, began: now, is_checked });
        drop(state);
        if let Some(broken) = broken {
            self.broken(broken);
        }
        Fetching(Arc::clone(self), id)
    }

    /// How often an instance has been started anew.
    pub(super) fn starts(&self, instance: usize) -> u64 {
        self.lock().starts[instance]
    }

    pub(super) fn ask(&self, instance: usize, key: usize) -> Question {
        let asked = Instant::now();
        let mut state = self.lock();
        let floor = state.floors[key].and(state.own[instance][key]);
        let id = state.next;
        state.next += 1;
        state.open.insert(id, (instance, asked));
        Question { id, instance, key, asked, floor }
    }

    /// `served`: of which value of its key it is, if it is one.
    pub(super) fn served(&self, question: Question, served: Option<Served>, source: &AnswerSource) {
        let Question { id, instance, key, asked, floor } = question;
        self.lock().open.remove(&id);
        let Some(Served { version, answered }) = served else {
            return self.broken(format!("6: {instance} served what is not {}", name(key)));
        };
        let age = asked.saturating_duration_since(answered);
        let asked = (asked - self.began).as_millis();
        let how = match source {
            AnswerSource::Hit => "hit",
            AnswerSource::Stale(_) => "stale",
            AnswerSource::Fetched(_) => "fetched",
            AnswerSource::Collapsed(_) => "shared",
            AnswerSource::Lower => "from below",
        };
        let what = format!("{instance} {} {version}, asked at {asked}: {how}", name(key));
        self.note(what.clone());
        let is_stale = matches!(source, AnswerSource::Stale(_));
        if version < floor.hard || version < floor.soft && !is_stale {
            self.broken(format!("1: served {what}, though {floor:?}"));
        }
        if age > self.ttl && matches!(source, AnswerSource::Hit | AnswerSource::Lower) {
            self.broken(format!("5: served {what} as fresh, though it was {age:?} old"));
        }
    }

    /// The origin did not answer, and nothing else would do.
    pub(super) fn failed(&self, question: Question) {
        self.lock().open.remove(&question.id);
    }

    /// Called when all processes have run for a while.
    pub(super) fn nobody_has_waited_for_long(&self) {
        let open: Vec<_> = self.lock().open.values().copied().collect();
        for (instance, asked) in open {
            if asked.elapsed() > MAX_WAIT {
                let asked = (asked - self.began).as_millis();
                self.broken(format!("3: nobody has answered who asked {instance} at {asked}"));
            }
        }
    }

    /// How many wait.
    pub(super) fn open(&self) -> usize {
        self.lock().open.len()
    }

    pub(super) fn outcome(&self) -> Outcome {
        let state = self.lock();
        Outcome { events: state.events.clone(), broken: state.broken.clone() }
    }
}

/// What has come of a run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) events: Vec<String>,
    pub(super) broken: Vec<String>,
}
