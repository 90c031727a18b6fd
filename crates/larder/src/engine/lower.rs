//! Lower: how a cache uses the tier below memory, and why nothing from there is older than a purge.
//!
//! Only a flight's leader asks. What it finds is judged by two things that lie under one lock: what this
//! process has read of the tier's log ([`known`]), and its own purges that the tier has not acknowledged
//! ([`outbox`]). Each of its steps stands where it does because of a race.
//!
//! **A purge enters the outbox before it has a number here.** A leader whose flight began after that number
//! may keep what it finds, so it must meet the purge when it judges:
//!
//! ```text
//! purge   outbox ── number, flights, memory ── returns ── sent ── acknowledged: known, and out of the outbox
//! leader              join, ask below, judge: the outbox names it     judge: the log names it
//! ```
//!
//! From the first of these steps on, one of the two names it, at any moment.
//!
//! **A flight is beyond the reach of purges while it looks below, and comes within it before it judges.**
//!
//! ```text
//! leader   looks below ─────────── begins ── judges ── keeps ── lands
//!                                  (its fence is now)
//! purge    A: before it begins     judged: outbox or log
//!          B: after it began                 the flight is revoked, or its tags have a later number than its
//!                                            fence: not kept, and not for those who asked after B
//! ```
//!
//! So a purge that comes while a leader looks makes nobody fetch twice, and neither does one that it learns of
//! by looking. If it finds nothing, its fetch begins later than A as well.
//!
//! **What is late is known by its number.** An answer that was given before a purge and arrives after it brings a
//! record with a fence below that purge's number, which is in `known` since it was acknowledged. A record that
//! is written late carries the position at which its fetch began, and the tier refuses it. One that gets in
//! before the purge does is named by it:
//!
//! ```text
//! write    fence 4 ─ fetch ─ outbox asked ─────── commit ───────────
//! purge                                  outbox ─ … ── append: 5      or   append: 5 ── commit: refused
//! reader                                               record 4 < 5: purged
//! ```
//!
//! **A tier that was away comes back with what it had.** Purges that were made meanwhile are in the outbox until it
//! has acknowledged them. If it lost its log, that has another generation: what was stored under the old one is
//! not believed (nor is an answer that may have been given before), purges that were under way are appended anew, and memory lets all go, for others may have purged
//! what nobody can tell any more.
//!
//! A purge that another process has made is learnt by following the log ([`follow`]), or with the next read, and is
//! then a purge here like any other, with a number of its own.

mod breaker;
mod follow;
mod kept;
mod known;
mod look;
mod outbox;
mod read;
mod send;
mod trust;
mod widened;
mod write;

use std::{
    collections::{HashSet, VecDeque},
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock, PoisonError, Weak},
    task::Poll,
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use self::{
    breaker::{Breaker, Silence},
    known::{Known, Learnt},
    outbox::Outbox,
    trust::Trust,
};
pub(crate) use self::{
    look::Search,
    outbox::Cause,
    read::{Asked, OwnLease},
    send::{Outgoing, Sent},
    trust::Trusted,
    write::{Content, NewBody, NewRecord},
};
use super::tasks::Tasks;
use crate::{
    clock::{Clock, Moment},
    purge::{Mode, Scope, last::PurgeState},
    rules::Rule,
    stats::{Counter, LowerStats},
    sync::{self, Mutex, MutexGuard, atomic::AtomicUsize},
    tier::lower::{
        Answering, BodyId, Head, Health, Logged, LowerError, LowerPurge, LowerTier, OutboxFile,
        Position, PurgeId, Reader, Settings, Tail, TierFigures,
    },
};

/// A call that no reader waits for may take so long.
const BEHIND: Duration = Duration::from_secs(1);
/// Purges of others that are looked for one by one. More at once are one of everything.
const MAX_LEARNT: usize = 4096;

/// The tier below a cache's memory, and what is known of it.
pub(crate) struct Lower {
    tier: Arc<dyn LowerTier>,
    settings: Settings,
    clock: Clock,
    tasks: Tasks,
    ledger: Mutex<Ledger>,
    breaker: Breaker,
    counters: LowerCounters,
    /// Records on their way down, and the bytes that they hold.
    writing: AtomicUsize,
    writing_bytes: AtomicUsize,
    /// Of which keys, and which of their records, this process has the lease.
    leased: Mutex<HashSet<(Arc<str>, Box<str>)>>,
    /// The last bodies of which some turned out to be gone.
    lost: Mutex<VecDeque<BodyId>>,
    /// By this name the tier knows this cache.
    reader: Reader,
    /// None is needed where the tier does not know its readers.
    trust: Option<Trust>,
    /// A tier may answer whatever is read, and take nothing: then no purge is sent, and trust is not renewed.
    log_writes: Mutex<Silence>,
    /// The log has something new, which has been read.
    news: Notify,
    /// True once nobody is to follow it any more.
    closing: watch::Sender<bool>,
    above: OnceLock<Weak<dyn Above>>,
}

/// What everything from below is judged by. One lock: a purge that is acknowledged is in the one or the other.
struct Ledger {
    known: Known,
    outbox: Outbox,
    /// Somebody sends what is in the outbox.
    is_sending: bool,
    /// Somebody follows the log.
    is_following: bool,
    /// So many are purging in memory what they have read of the log.
    purging: usize,
    /// All that the log has up to here is done in memory.
    done: Option<Position>,
    /// There the log ended when that was last told.
    end: Option<Position>,
}

/// What lies above the lower tier, and learns from it what others have purged.
pub(crate) trait Above: Send + Sync {
    fn purge_too(&self, purge: &LowerPurge);

    /// Until then hits need not ask what others have purged.
    fn trust_until(&self, moment: Moment);
}

#[derive(Default)]
struct LowerCounters {
    hits: Counter,
    misses: Counter,
    rescues: Counter,
    failures: Counter,
    left_alone: Counter,
    unreadable: Counter,
    writes: Counter,
    writes_refused: Counter,
    writes_dropped: Counter,
    purges_learnt: Counter,
    gaps: Counter,
    overflows: Counter,
    folded: Counter,
    widened: Counter,
    renewals: Counter,
}

impl Lower {
    pub(crate) fn new(
        tier: Arc<dyn LowerTier>,
        settings: Settings,
        clock: Clock,
        tasks: Tasks,
        file: Option<OutboxFile>,
    ) -> Arc<Self> {
        let source = sync::random() as u64;
        let outbox = Outbox::new(settings.max_outstanding, source, file, clock.now());
        let reader = Reader { id: sync::random() as u64, name: process_name() };
        let knows_readers = tier.readers().is_some();
        let trust = knows_readers.then(|| Trust::new(&clock, settings.max_incoherence));
        let ledger = Ledger {
            known: Known::default(),
            outbox,
            is_sending: false,
            is_following: false,
            purging: 0,
            done: None,
            end: None,
        };
        Arc::new(Lower {
            tier,
            settings,
            clock,
            tasks,
            ledger: Mutex::new(ledger),
            breaker: Breaker::new(settings.failures, settings.rest),
            counters: LowerCounters::default(),
            writing: AtomicUsize::new(0),
            writing_bytes: AtomicUsize::new(0),
            leased: Mutex::default(),
            lost: Mutex::default(),
            reader,
            trust,
            log_writes: Mutex::default(),
            news: Notify::new(),
            closing: watch::channel(false).0,
            above: OnceLock::new(),
        })
    }

    /// What others purge reaches `above` from now on, as long as it lives.
    pub(crate) fn lies_below<A: Above + 'static>(self: &Arc<Self>, above: &Arc<A>) {
        if let Some(trust) = &self.trust {
            above.trust_until(trust.until_by_hits());
        }
        let above: Weak<A> = Arc::downgrade(above);
        _ = self.above.set(above);
        // What an earlier process has left is judged by already, so nothing hangs on when it is sent.
        self.send_behind();
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How far the log has been read: the fence of a fetch that begins now, for what it writes down there.
    pub(crate) fn position(&self) -> Option<Position> {
        self.lock().known.read()
    }

    /// What all purges that are known of mean for this record.
    pub(crate) fn state(&self, key: &str, head: &Head) -> PurgeState {
        let ledger = self.lock();
        let known = ledger.known.state(key, &head.tags, head.fence);
        match Rule::OutboxJudges.holds() {
            true => known.and(ledger.outbox.state(key, &head.tags)),
            false => known,
        }
    }

    /// Reads the end of the log, which was asked for at `asked`, `since` what was known then. False: it is
    /// perhaps that of a log that has ended, and what came with it is of no use.
    fn learn(&self, tail: &Tail, since: Option<Position>, asked: Moment) -> bool {
        let (learnt, is_first, purging) = {
            let ledger = &mut *self.lock();
            let Ledger { known, outbox, .. } = ledger;
            let is_first = known.read().is_none();
            let learnt = known.learn(tail, since, asked);
            if !matches!(learnt, Learnt::OfThePast) {
                for Logged { number, purge, .. } in &tail.purges {
                    if outbox.is_own(purge.id) {
                        let position = Position { number: *number, ..tail.position };
                        outbox.acknowledged(&[purge.id], position);
                    }
                }
            }
            let learnt = match learnt {
                Learnt::OfThePast => return false,
                Learnt::Gap => None,
                Learnt::Purges(mut purges) => {
                    purges.retain(|purge| !outbox.is_own(purge.id));
                    Some(purges)
                }
            };
            (learnt, is_first, Purging::begin(self, ledger))
        };
        let count = learnt.as_ref().map_or(0, Vec::len);
        // Who has just begun has missed nothing.
        if learnt.is_none() && !is_first {
            self.counters.gaps.increment();
        }
        self.counters.purges_learnt.add(count as u64);
        if count > 0 || learnt.is_none() {
            // Under no lock: what goes is the user's.
            self.pass_on(learnt.filter(|purges| purges.len() <= MAX_LEARNT));
        }
        drop(purging);
        true
    }

    /// `None`: nobody can tell what was purged.
    fn pass_on(&self, purges: Option<Vec<LowerPurge>>) {
        let everything = || LowerPurge {
            id: PurgeId { source: 0, number: 0 },
            scopes: vec![Scope::Everything],
            mode: Mode::Hard,
        };
        let purges = purges.unwrap_or_else(|| vec![everything()]);
        if let Some(above) = self.above.get().and_then(Weak::upgrade) {
            purges.iter().for_each(|purge| above.purge_too(purge));
        }
    }

    /// One call to the tier, in its time, unless the tier is left alone. Failures are counted here, and are
    /// nobody's error.
    async fn call<'a, T>(
        &'a self,
        ask: impl FnOnce(&'a dyn LowerTier) -> Answering<'a, T>,
    ) -> Result<T, LowerError> {
        self.call_within(self.settings.budget, ask).await
    }

    fn behind(&self) -> Duration {
        self.settings.budget.max(BEHIND)
    }

    /// The same for a call that no reader waits for.
    async fn call_behind<'a, T>(
        &'a self,
        ask: impl FnOnce(&'a dyn LowerTier) -> Answering<'a, T>,
    ) -> Result<T, LowerError> {
        self.call_within(self.behind(), ask).await
    }

    /// A call about the log, which neither waits for others nor makes them wait: there is one of a kind at a time, who
    /// failed rests by himself, and readers who find the tier too slow must not keep a cache from following it.
    async fn call_log<'a, T>(
        &'a self,
        budget: Duration,
        ask: impl FnOnce(&'a dyn LowerTier) -> Answering<'a, T>,
    ) -> Result<T, LowerError> {
        let answer = self.answer_within(budget, ask).await;
        self.counters.failures.add(u64::from(answer.as_ref().is_err_and(LowerError::is_failure)));
        answer
    }

    async fn call_within<'a, T>(
        &'a self,
        budget: Duration,
        ask: impl FnOnce(&'a dyn LowerTier) -> Answering<'a, T>,
    ) -> Result<T, LowerError> {
        let began = Instant::now();
        if !self.breaker.may_ask(began) {
            self.counters.left_alone.increment();
            return Err(LowerError::LeftAlone);
        }
        let answer = self.answer_within(budget, ask).await;
        match &answer {
            // It has answered, and answers those who read.
            Err(LowerError::TakesNoWrites(_)) => {
                self.counters.failures.increment();
                self.breaker.answered();
            }
            Err(error) if error.is_failure() => {
                self.counters.failures.increment();
                self.breaker.failed(began, Instant::now(), error);
            }
            Ok(_) | Err(_) => self.breaker.answered(),
        }
        answer
    }

    async fn answer_within<'a, T>(
        &'a self,
        budget: Duration,
        ask: impl FnOnce(&'a dyn LowerTier) -> Answering<'a, T>,
    ) -> Result<T, LowerError> {
        let deadline = sync::after(Instant::now(), budget);
        let answered = sync::until(deadline, caught(|| ask(&*self.tier))).await;
        answered.unwrap_or(Err(LowerError::TookTooLong { budget }))
    }

    /// What came of a call that writes to the log.
    fn note_log<T>(&self, answer: &Result<T, LowerError>) {
        let mut writes = self.log_writes.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Err(error) if error.is_failure() => writes.failed(Instant::now(), error),
            Ok(_) | Err(_) => writes.ended(),
        }
    }

    /// Where the log is followed somebody asks all the time, so that tells more than what readers have asked last.
    pub(crate) fn health(&self) -> Health {
        let now = Instant::now();
        let log = self.log_writes.lock().unwrap_or_else(PoisonError::into_inner).health(now);
        match log {
            Health::Answers if self.trust.is_none() => self.breaker.health(now),
            _ => log,
        }
    }

    pub(crate) fn stats(&self) -> LowerStats {
        let (counters, now) = (&self.counters, self.clock.now());
        let ledger = self.lock();
        let (outbox, position, done) = (&ledger.outbox, ledger.known.read(), ledger.done);
        let (purges_outstanding, outbox_bytes) = (outbox.len() as u64, outbox.bytes() as u64);
        let outbox_age = outbox.oldest().map_or(Duration::ZERO, |oldest| now.since(oldest));
        let file = outbox.file().cloned();
        let log_behind = ledger.end.map_or(0, |end| end.behind(done));
        drop(ledger);
        let written = file.as_ref().map(|file| file.written().borrow().clone());
        let TierFigures { forks, readers, readers_alive, replicas, doubt, is_reconciling, .. } =
            self.tier.figures();
        LowerStats {
            hits: counters.hits.get(),
            misses: counters.misses.get(),
            rescues: counters.rescues.get(),
            failures: counters.failures.get(),
            left_alone: counters.left_alone.get(),
            unreadable: counters.unreadable.get(),
            writes: counters.writes.get(),
            writes_refused: counters.writes_refused.get(),
            writes_dropped: counters.writes_dropped.get(),
            purges_outstanding,
            purges_learnt: counters.purges_learnt.get(),
            gaps: counters.gaps.get(),
            overflows: counters.overflows.get(),
            purges_folded: counters.folded.get(),
            purges_widened: counters.widened.get(),
            renewals: counters.renewals.get(),
            is_trusted: self.trust.as_ref().is_none_or(Trust::holds),
            log_position: position.map_or(0, |position| position.number),
            log_behind,
            log_behind_for: self.trust.as_ref().map_or(Duration::ZERO, Trust::behind),
            outbox_bytes,
            outbox_age,
            outbox_file_bytes: file.map_or(0, |file| file.live_bytes() as u64),
            outbox_failures: written.as_ref().map_or(0, |written| written.failures),
            is_outbox_failing: written.is_some_and(|written| written.failure.is_some()),
            forks,
            readers,
            readers_alive,
            replicas,
            doubt,
            is_reconciling,
        }
    }

    /// Why the outbox's file is not written, if there is one and it is not.
    pub(crate) fn outbox_failure(&self) -> Option<Arc<str>> {
        let file = self.lock().outbox.file().cloned()?;
        file.written().borrow().failure.clone()
    }

    /// Until what waits to be sent is on disk, where there is a file, or cannot be.
    pub(crate) async fn keep(&self) {
        let file = self.lock().outbox.file().cloned();
        if let Some(file) = file {
            file.flush().await;
        }
    }

    pub(crate) fn count_hit(&self) {
        self.counters.hits.increment();
    }

    pub(crate) fn count_miss(&self) {
        self.counters.misses.increment();
    }

    pub(crate) fn count_rescue(&self) {
        self.counters.rescues.increment();
    }

    /// A record that is not what it should be, or is for another version of this program.
    pub(crate) fn count_unreadable(&self) {
        self.counters.unreadable.increment();
    }

    fn count_all_unreadable(&self, how_many: u64) {
        self.counters.unreadable.add(how_many);
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What people may know this process by: its host, and its number there.
fn process_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    let host = if host.is_empty() { "process" } else { host };
    format!("{host}:{}", std::process::id())
}

/// While what has been read of the log is being purged in memory: until nobody does, it is not said to be done.
struct Purging<'a>(&'a Lower);

impl<'a> Purging<'a> {
    fn begin(lower: &'a Lower, ledger: &mut Ledger) -> Self {
        ledger.purging += 1;
        Purging(lower)
    }
}

impl Drop for Purging<'_> {
    fn drop(&mut self) {
        let mut ledger = self.0.lock();
        ledger.purging -= 1;
        if ledger.purging == 0 {
            ledger.done = ledger.known.read();
        }
    }
}

/// What a tier answers. Its panic is a failure of its own, and nobody's else.
async fn caught<'a, T>(ask: impl FnOnce() -> Answering<'a, T>) -> Result<T, LowerError> {
    let panicked = || LowerError::Failed("it panicked".into());
    let mut answering = catch_unwind(AssertUnwindSafe(ask)).map_err(|_| panicked())?;
    poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| answering.as_mut().poll(context)));
        polled.unwrap_or_else(|_| Poll::Ready(Err(panicked())))
    })
    .await
}
