//! A lower tier in this process: for trying out what a shared one does, and for tests, whose faults it makes.

use std::{
    collections::{HashMap, VecDeque},
    fmt, mem,
    sync::{Arc, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    Answering, Body, BodyId, Call, Commit, Head, Heads, Holds, Lease, LeaseAnswer, LogPart, Logged,
    LowerError, LowerPurge, LowerTier, Piece, Point, Position, PurgeId, Reader, Readers, Record,
    Tail, faults::Faults,
};
use crate::{
    clock::{Clock, Moment},
    purge::Mode,
    sync::{self, Mutex, MutexGuard, watch},
};

/// Purges that the log remembers.
const MAX_LOG: usize = 4096;
/// The last commits whose records are kept, and the last bodies.
const MAX_KEPT: usize = 1 << 16;

/// A lower tier in this process. Clones are one tier, for several caches. It keeps the records of the last
/// 65,536 commits, and the last 4096 purges.
///
/// It does what a tier elsewhere may do, if it is told to: be away, fail, lose answers, be slow, answer in
/// another order, forget. Nothing of that makes a cache serve what was purged.
#[derive(Clone)]
pub struct InProcess(Arc<Shared>);

struct Shared {
    /// Held for one call's effect.
    state: Mutex<State>,
    /// Counts purges, and what readers say.
    changes: watch::Sender<u64>,
    faults: Faults,
    clock: Clock,
}

struct State {
    generation: u128,
    /// Those that were before, the first one first.
    ended: Vec<u128>,
    /// The number of the last purge.
    number: u64,
    /// Purges up to here may be forgotten.
    whole_since: u64,
    log: VecDeque<(u64, LowerPurge, Moment)>,
    by_id: HashMap<PurgeId, u64>,
    records: HashMap<Arc<str>, Vec<Kept>>,
    /// The keys of the last commits.
    committed: VecDeque<Arc<str>>,
    bodies: HashMap<BodyId, Vec<Bytes>>,
    written: VecDeque<BodyId>,
    /// By key, and by what of it is wanted.
    leases: HashMap<(Arc<str>, Box<str>), Leased>,
    next_lease: u64,
    /// How far each has read, if that is asked.
    readers: Option<HashMap<u64, (String, Option<Position>)>>,
}

#[derive(Clone)]
struct Kept {
    head: Head,
    fetched: Moment,
}

struct Leased {
    number: u64,
    until: Moment,
    /// Closed when it ends.
    ended: watch::Sender<()>,
}

impl InProcess {
    /// An empty one, whose records age by this clock.
    pub fn new(clock: Clock) -> Self {
        let state = Mutex::new(State::new());
        let (changes, _) = watch::channel(0);
        InProcess(Arc::new(Shared { state, changes, faults: Faults::default(), clock }))
    }

    /// The same, and it knows its readers, as a tier over a network does: caches above it follow its log, and what
    /// they have in memory is gone by for [`Settings::max_incoherence`](super::Settings::max_incoherence) only.
    pub fn with_readers(self) -> Self {
        self.0.lock().readers.get_or_insert_default();
        self
    }

    /// From now on every call fails and does nothing.
    pub fn go_away(&self) {
        self.0.faults.lock().is_away = true;
    }

    /// Calls are answered again.
    pub fn come_back(&self) {
        self.0.faults.lock().is_away = false;
    }

    /// Whether calls take effect and then fail.
    pub fn lose_answers(&self, on: bool) {
        self.0.faults.lock().loses_answers = on;
    }

    /// Each `nth` call fails and does nothing; with 0, none.
    pub fn fail_every(&self, nth: u64) {
        self.0.faults.lock().fails_every = nth;
    }

    /// Each call takes so long before it does anything.
    pub fn delay(&self, by: Duration) {
        self.0.faults.lock().delay = by;
    }

    /// Each call takes so long after it has done what it does.
    pub fn answer_late(&self, by: Duration) {
        self.0.faults.lock().answers_late = by;
    }

    /// Calls of this kind wait at this point until they are [released](InProcess::release).
    pub fn hold(&self, call: Call, point: Point) {
        self.0.faults.lock().holds.push((call, point));
    }

    /// How many calls wait.
    pub fn held(&self) -> usize {
        self.0.faults.held()
    }

    /// Lets the `nth` of those that wait go on; the first to come is 0. None if there are fewer.
    pub fn release(&self, nth: usize) {
        self.0.faults.release(nth);
    }

    /// Lets all go on, and holds no more.
    pub fn release_all(&self) {
        self.0.faults.release_all();
    }

    /// How often it was asked so.
    pub fn calls(&self, call: Call) -> u64 {
        self.0.faults.count(call)
    }

    /// How many records there are, those that are over included.
    pub fn records(&self) -> usize {
        self.0.lock().records.values().map(Vec::len).sum()
    }

    /// Loses all records and bodies. The log remains.
    pub fn forget(&self) {
        let mut state = self.0.lock();
        let State { records, committed, bodies, written, .. } = &mut *state;
        records.clear();
        committed.clear();
        bodies.clear();
        written.clear();
    }

    /// Loses the pieces of all bodies; their heads remain.
    pub fn lose_pieces(&self) {
        self.0.lock().bodies.clear();
    }

    /// Loses all but the last `keep` purges of the log.
    pub fn trim_log(&self, keep: usize) {
        self.0.lock().trim_log(keep);
    }

    /// Loses the log and begins another. Records remain, as after a server was restored from an older copy.
    pub fn begin_another_log(&self) {
        let mut state = self.0.lock();
        state.begin_another_generation();
        (state.number, state.whole_since) = (0, 0);
        state.log.clear();
        state.by_id.clear();
        drop(state);
        self.0.changed();
    }

    /// A copy of its log and its records.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.0.lock();
        let State { number, whole_since, log, by_id, .. } = &*state;
        let State { records, committed, bodies, written, .. } = &*state;
        Snapshot {
            number: *number,
            whole_since: *whole_since,
            log: log.clone(),
            by_id: by_id.clone(),
            records: records.clone(),
            committed: committed.clone(),
            bodies: bodies.clone(),
            written: written.clone(),
        }
    }

    /// Has what it had then, and no more. As a tier must that has lost purges, it begins another log, which goes on
    /// where that one was. Whom it knows as readers it still knows.
    pub fn restore(&self, snapshot: Snapshot) {
        let Snapshot { number, whole_since, log, by_id, records, committed, bodies, written } =
            snapshot;
        let mut state = self.0.lock();
        state.begin_another_generation();
        let State { generation, ended, leases, next_lease, readers, .. } = &mut *state;
        *state = State {
            generation: *generation,
            ended: mem::take(ended),
            leases: mem::take(leases),
            next_lease: *next_lease,
            readers: readers.take(),
            number,
            whole_since,
            log,
            by_id,
            records,
            committed,
            bodies,
            written,
        };
        drop(state);
        self.0.changed();
    }
}

/// What a tier had at some moment.
#[derive(Clone)]
pub struct Snapshot {
    number: u64,
    whole_since: u64,
    log: VecDeque<(u64, LowerPurge, Moment)>,
    by_id: HashMap<PurgeId, u64>,
    records: HashMap<Arc<str>, Vec<Kept>>,
    committed: VecDeque<Arc<str>>,
    bodies: HashMap<BodyId, Vec<Bytes>>,
    written: VecDeque<BodyId>,
}

impl Shared {
    fn changed(&self) {
        self.changes.send_if_modified(|count| {
            *count += 1;
            true
        });
    }

    /// Until the state, or the time, is so.
    async fn wait_until(&self, is_so: impl Fn(&State) -> bool, most: Duration) {
        let mut changes = self.changes.subscribe();
        let changed = async {
            loop {
                let seen = *changes.borrow();
                if is_so(&self.lock()) {
                    return;
                }
                // Its sender lives as long as this.
                changes.wait_for(|count| *count != seen).await.ok();
            }
        };
        sync::until(sync::after(Instant::now(), most), changed).await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn new() -> Self {
        State {
            generation: sync::random(),
            ended: Vec::new(),
            number: 0,
            whole_since: 0,
            log: VecDeque::new(),
            by_id: HashMap::new(),
            records: HashMap::new(),
            committed: VecDeque::new(),
            bodies: HashMap::new(),
            written: VecDeque::new(),
            leases: HashMap::new(),
            next_lease: 0,
            readers: None,
        }
    }

    fn position(&self) -> Position {
        Position { generation: self.generation, number: self.number }
    }

    fn begin_another_generation(&mut self) {
        let ended = mem::replace(&mut self.generation, sync::random());
        self.ended.push(ended);
    }

    fn trim_log(&mut self, keep: usize) {
        while self.log.len() > keep {
            if let Some((number, purge, _)) = self.log.pop_front() {
                self.whole_since = number;
                self.by_id.remove(&purge.id);
            }
        }
    }

    fn tail(&self, since: Option<Position>, now: Moment) -> Tail {
        let known = since.filter(|since| since.generation == self.generation);
        let known = known.map_or(0, |since| since.number).max(self.whole_since);
        let after = self.log.iter().filter(|(number, ..)| *number > known);
        let purges = after.map(|(number, purge, at)| Logged {
            number: *number,
            purge: purge.clone(),
            age: now.since(*at),
        });
        let purges = purges.collect();
        Tail { whole_since: known, folded: Vec::new(), purges, position: self.position() }
    }

    fn heads(&mut self, key: &str, log: LogPart, now: Moment) -> Heads {
        let is_over = |kept: &Kept| now.since(kept.fetched) >= kept.head.lifetime.end();
        if self.records.get(key).is_some_and(|records| records.iter().any(is_over)) {
            self.let_go(key, is_over);
        }
        let records = self.records.get(key).into_iter().flatten();
        let records = records
            .map(|kept| Record { head: kept.head.clone(), age: now.since(kept.fetched) })
            .collect();
        let tail = match log {
            LogPart::Nothing => None,
            LogPart::After(since) => Some(self.tail(since, now)),
        };
        Heads { records, tail, unreadable: 0 }
    }

    fn holds(&self, position: Position) -> Holds {
        let Some(readers) = &self.readers else {
            return Holds { by: 1, of: 1, missing: Vec::new() };
        };
        // A log that ended before this one says nothing of what this one has.
        let age = |generation| self.ended.iter().position(|ended| *ended == generation);
        let age = |generation| age(generation).unwrap_or(self.ended.len());
        let has_read = |read: &Option<Position>| {
            read.is_some_and(|read| {
                let [read_log, log] = [read, position].map(|it| age(it.generation));
                read_log > log || read_log == log && read.number >= position.number
            })
        };
        let missing = readers.values().filter(|(_, read)| !has_read(read));
        let missing: Vec<_> = missing.map(|(name, _)| name.clone()).collect();
        Holds { by: readers.len() - missing.len(), of: readers.len(), missing }
    }

    /// Lets the records under `key` go that `is_meant`, with their bodies.
    fn let_go(&mut self, key: &str, is_meant: impl Fn(&Kept) -> bool) {
        let State { records, bodies, .. } = self;
        let Some(of_key) = records.get_mut(key) else { return };
        of_key.retain(|kept| {
            let goes = is_meant(kept);
            if goes && let Body::Pieces { id, .. } = &kept.head.body {
                bodies.remove(id);
            }
            !goes
        });
        if of_key.is_empty() {
            records.remove(key);
        }
    }

    fn let_go_body(&mut self, body: &Body) {
        if let Body::Pieces { id, .. } = body {
            self.bodies.remove(id);
        }
    }

    /// `called`: when it was as old as it is said to be.
    fn commit(&mut self, key: &str, record: Record, most: usize, called: Moment) -> Commit {
        let Record { head, age } = record;
        let is_known =
            head.fence.generation == self.generation && head.fence.number >= self.whole_since;
        let is_named = |(number, purge, _): &(u64, LowerPurge, Moment)| {
            *number > head.fence.number && purge.names(key, &head.tags)
        };
        if !is_known || self.log.iter().any(is_named) {
            return Commit::Refused;
        }
        if let Body::Pieces { id, pieces, .. } = &head.body {
            let there = self.bodies.get(id).map_or(0, Vec::len);
            if there < *pieces as usize {
                return Commit::Refused;
            }
        }
        let replaced = self.records.get_mut(key).and_then(|records| {
            let place = records.iter().position(|kept| kept.head.variant == head.variant)?;
            Some(records.remove(place).head.body)
        });
        if let Some(body) = replaced.filter(|body| *body != head.body) {
            self.let_go_body(&body);
        }
        let key: Arc<str> = key.into();
        let kept = Kept { head, fetched: called.minus(age) };
        let records = self.records.entry(Arc::clone(&key)).or_default();
        records.push(kept);
        let too_many: Vec<_> = records.drain(..records.len().saturating_sub(most.max(1))).collect();
        for kept in too_many {
            self.let_go_body(&kept.head.body);
        }
        self.committed.push_back(key);
        if self.committed.len() > MAX_KEPT
            && let Some(oldest) = self.committed.pop_front()
        {
            self.let_go(&oldest, |_| true);
        }
        Commit::Stored
    }

    fn write(&mut self, piece: Piece) {
        let Piece { body, index, bytes, .. } = piece;
        if index == 0 {
            self.written.push_back(body);
        }
        let pieces = self.bodies.entry(body).or_default();
        let place = index as usize;
        if pieces.len() <= place {
            pieces.resize(place + 1, Bytes::new());
        }
        pieces[place] = bytes;
        if self.written.len() > MAX_KEPT
            && let Some(oldest) = self.written.pop_front()
        {
            self.bodies.remove(&oldest);
        }
    }

    fn append(&mut self, purge: &LowerPurge, now: Moment) -> u64 {
        if let Some(number) = self.by_id.get(&purge.id) {
            return *number;
        }
        self.number += 1;
        self.log.push_back((self.number, purge.clone(), now));
        self.by_id.insert(purge.id, self.number);
        self.trim_log(MAX_LOG);
        // Readers judge for themselves, so nothing hangs on what goes here.
        if purge.mode == Mode::Hard {
            let keys: Vec<_> = self.records.keys().cloned().collect();
            for key in keys {
                self.let_go(&key, |kept| purge.names(&key, &kept.head.tags));
            }
        }
        self.leases.retain(|(key, _), _| !purge.names_key(key));
        self.number
    }
}

impl LowerTier for InProcess {
    fn heads<'a>(&'a self, key: &'a str, log: LogPart) -> Answering<'a, Heads> {
        Box::pin(self.0.faults.around(Call::Heads, move || {
            let now = self.0.clock.now();
            Ok(self.0.lock().heads(key, log, now))
        }))
    }

    fn piece(&self, body: BodyId, index: u32) -> Answering<'_, Bytes> {
        Box::pin(self.0.faults.around(Call::Piece, move || {
            let state = self.0.lock();
            let piece = state.bodies.get(&body).and_then(|pieces| pieces.get(index as usize));
            piece.cloned().ok_or(LowerError::Gone)
        }))
    }

    fn write(&self, piece: Piece) -> Answering<'_, ()> {
        Box::pin(self.0.faults.around(Call::Write, move || {
            self.0.lock().write(piece);
            Ok(())
        }))
    }

    fn commit<'a>(&'a self, key: &'a str, record: Record, most: usize) -> Answering<'a, Commit> {
        // As old as it is said to be it is now: on its way it grows older.
        let called = self.0.clock.now();
        Box::pin(
            self.0
                .faults
                .around(Call::Commit, move || Ok(self.0.lock().commit(key, record, most, called))),
        )
    }

    fn discard(&self, body: BodyId, _pieces: u32) -> Answering<'_, ()> {
        Box::pin(self.0.faults.around(Call::Discard, move || {
            self.0.lock().bodies.remove(&body);
            Ok(())
        }))
    }

    fn append<'a>(&'a self, purges: &'a [LowerPurge]) -> Answering<'a, Position> {
        Box::pin(self.0.faults.around(Call::Append, move || {
            let now = self.0.clock.now();
            let mut state = self.0.lock();
            let last = purges.iter().map(|purge| state.append(purge, now)).max();
            let number = last.unwrap_or(state.number);
            let position = Position { generation: state.generation, number };
            drop(state);
            self.0.changed();
            Ok(position)
        }))
    }

    fn tail(&self, since: Option<Position>) -> Answering<'_, Tail> {
        Box::pin(self.0.faults.around(Call::Tail, move || {
            let now = self.0.clock.now();
            Ok(self.0.lock().tail(since, now))
        }))
    }

    fn readers(&self) -> Option<&dyn Readers> {
        let knows = self.0.lock().readers.is_some();
        knows.then_some(self as &dyn Readers)
    }

    fn lease<'a>(
        &'a self,
        key: &'a str,
        wanted: &'a str,
        log: LogPart,
        length: Duration,
    ) -> Answering<'a, LeaseAnswer> {
        Box::pin(self.0.faults.around(Call::Lease, move || {
            let now = self.0.clock.now();
            let mut state = self.0.lock();
            let name: (Arc<str>, Box<str>) = (key.into(), wanted.into());
            if let Some(leased) = state.leases.get(&name).filter(|leased| leased.until > now) {
                let mut ended = leased.ended.subscribe();
                return Ok(LeaseAnswer::Held {
                    until: leased.until.since(now),
                    // Its value never changes: it ends with its sender.
                    ended: Box::pin(async move { _ = ended.wait_for(|()| false).await }),
                });
            }
            state.next_lease += 1;
            let (number, (ended, _)) = (state.next_lease, watch::channel(()));
            let leased = Leased { number, until: now.plus(length), ended };
            // What was there is over, and its sender tells those who wait.
            drop(state.leases.insert(name.clone(), leased));
            let shared = Arc::downgrade(&self.0);
            let lease = Lease::new(move || {
                let Some(shared) = shared.upgrade() else { return };
                let mut state = shared.lock();
                if state.leases.get(&name).is_some_and(|leased| leased.number == number) {
                    state.leases.remove(&name);
                }
            });
            Ok(LeaseAnswer::Granted { lease, heads: state.heads(key, log, now) })
        }))
    }
}

impl Readers for InProcess {
    fn follow(&self, since: Position, most: Duration) -> Answering<'_, Tail> {
        Box::pin(async move {
            self.0.wait_until(|state| state.position() != since, most).await;
            let told = self.0.faults.around(Call::Follow, move || {
                let now = self.0.clock.now();
                Ok(self.0.lock().tail(Some(since), now))
            });
            told.await
        })
    }

    fn renew<'a>(&'a self, reader: &'a Reader, read: Option<Position>) -> Answering<'a, Position> {
        Box::pin(self.0.faults.around(Call::Renew, move || {
            let mut state = self.0.lock();
            let position = state.position();
            let readers = state.readers.get_or_insert_default();
            readers.insert(reader.id, (reader.name.clone(), read));
            drop(state);
            self.0.changed();
            Ok(position)
        }))
    }

    fn leave<'a>(&'a self, reader: &'a Reader) -> Answering<'a, ()> {
        Box::pin(self.0.faults.around(Call::Leave, move || {
            self.0.lock().readers.as_mut().and_then(|readers| readers.remove(&reader.id));
            self.0.changed();
            Ok(())
        }))
    }

    fn holds(&self, position: Position, most: Duration) -> Answering<'_, Holds> {
        Box::pin(async move {
            self.0.wait_until(|state| state.holds(position).missing.is_empty(), most).await;
            let told = self.0.faults.around(Call::Holds, || Ok(self.0.lock().holds(position)));
            told.await
        })
    }
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcess").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use crate::Lifetime;

    #[tokio::test(start_paused = true)]
    async fn a_record_grows_older_on_its_way() {
        let began = Instant::now();
        let tier = InProcess::new(Clock::other(move || began.elapsed()));
        let second = Duration::from_secs(1);
        let head = Head {
            variant: String::new(),
            fence: tier.tail(None).await.expect("it answers").position,
            lifetime: Lifetime::fresh_for(60 * second),
            cost: Duration::ZERO,
            tags: Vec::new(),
            format: String::new(),
            extra: Bytes::new(),
            body: Body::Whole(Bytes::new()),
        };
        tier.delay(3 * second);
        let committed = tier.commit("key", Record { head, age: second }, 1).await;
        assert_eq!(committed.expect("it answers"), Commit::Stored);
        let heads = tier.heads("key", LogPart::Nothing).await.expect("it answers");
        assert_eq!(heads.records[0].age, 7 * second);
    }
}
