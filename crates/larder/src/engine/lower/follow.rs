//! Follow: how a cache keeps up with the log of a tier that knows its readers, and for how long it goes by what it
//! knows.
//!
//! Two loops in one task of the cache. One *follows* the log: it learns of each purge as soon as there is one. The
//! other *renews* the trust: it says how far what has been read is done in memory, and is told where the log ends.
//! When all up to there is done, whatever was purged before that call was sent is purged here, and that is gone by
//! for [`max_incoherence`](crate::lower::Settings::max_incoherence):
//!
//! ```text
//! cache   renew ──────► told: 7     (done up to 7)     trusted until renew + max_incoherence
//! tier            7                8
//! other                    purge ──►8 ── waits until all have said 8, or max_incoherence and a margin are over
//! ```
//!
//! No task has to switch trust off: every hit compares it with the time. So a process that was stopped, or whose
//! connection hangs, serves nothing on trust that it no longer has.

use std::{
    future::pending,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Lower,
    trust::{Trust, Trusted},
};
use crate::{
    jitter::{jittered, jittered_round},
    rules::Rule,
    sync,
    tier::lower::{
        Answering, Forget, Forgotten, LogPart, LowerError, LowerTier, Position, Readers,
    },
};

/// So often trust is renewed in the time that it lasts.
const RENEWALS: u32 = 20;
/// Renewals are no further apart, and no closer together, and each somewhat sooner than that: a server that was held up
/// answers all at once, and would be asked by all at once again.
const MAX_EVERY: Duration = Duration::from_millis(500);
const MIN_EVERY: Duration = Duration::from_millis(10);
/// One read of the log waits so long for something to come.
const FOLLOW: Duration = Duration::from_millis(500);
/// At most, after a failure, or where the log is not known yet.
const PAUSE: Duration = Duration::from_millis(100);
/// Reading all there is of a log takes longer than a single call may.
const TAIL: Duration = Duration::from_secs(5);

/// The one task that follows. Dropping it, with its runtime perhaps, lets another.
struct Following(Weak<Lower>);

impl Drop for Following {
    fn drop(&mut self) {
        if let Some(lower) = self.0.upgrade() {
            lower.lock().is_following = false;
        }
    }
}

impl Lower {
    /// Follows the log in a task of the cache, unless somebody does already. Where there is no runtime nobody does,
    /// until somebody looks below.
    pub(crate) fn follow_behind(self: &Arc<Self>) {
        if self.trust.is_none() || !sync::is_in_runtime() || self.tasks.is_closed() {
            return;
        }
        {
            let mut ledger = self.lock();
            if ledger.is_following {
                return;
            }
            ledger.is_following = true;
        }
        let following = Following(Arc::downgrade(self));
        let mut closing = self.closing.subscribe();
        self.tasks.spawn(async move {
            let lower = &following.0;
            let both = async { tokio::join!(follow(lower), renew(lower)) };
            tokio::select! {
                biased;
                _ = both => {}
                _ = closing.wait_for(|is_closing| *is_closing) => {}
            }
            drop(following);
        });
    }

    /// From now on nobody follows.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// No purge waits any longer for readers of this name.
    pub(crate) async fn forget(&self, name: &str, whom: Forget) -> Result<Forgotten, LowerError> {
        self.call_readers(|readers| readers.forget(name, whom)).await
    }

    /// Nothing is served on trust from now on, and no purge waits for this cache.
    pub(crate) async fn leave(&self) {
        if let Some(trust) = &self.trust {
            trust.end();
            self.tell_trust(trust);
            // If it does not hear it, it forgets who is silent, after an hour.
            self.call_readers(|readers| readers.leave(&self.reader)).await.ok();
        }
    }

    /// What may be gone by of what is in memory.
    pub(crate) fn trusted(&self) -> Trusted {
        self.trust.as_ref().map_or(Trusted::All, Trust::at_present)
    }

    /// Which part of the log a read is to bring, so that what it brings can be judged.
    pub(super) fn missing_log(&self) -> LogPart {
        let knows_enough = self.trust.as_ref().is_some_and(Trust::holds);
        if knows_enough { LogPart::Nothing } else { LogPart::After(self.position()) }
    }

    async fn renew(&self, trust: &Trust) -> Result<(), LowerError> {
        let (sent, done) = (trust.now(), self.done());
        let end = self.call_readers(|readers| readers.renew(&self.reader, done)).await?;
        self.lock().end = Some(end);
        if !self.has_done(end) {
            self.catch_up().await?;
        }
        if self.has_done(end) {
            trust.renew(sent);
            self.counters.renewals.increment();
            self.tell_trust(trust);
        }
        Ok(())
    }

    /// Whether all that the log has up to `end` is done in memory.
    fn has_done(&self, end: Position) -> bool {
        let is_done =
            |done: Position| done.generation == end.generation && done.number >= end.number;
        self.done().is_some_and(is_done)
    }

    /// All that the log has up to here is done in memory.
    fn done(&self) -> Option<Position> {
        let ledger = self.lock();
        if Rule::DoneIsSaidWhenItIsDone.holds() { ledger.done } else { ledger.known.read() }
    }

    fn tell_trust(&self, trust: &Trust) {
        if let Some(above) = self.above.get().and_then(Weak::upgrade) {
            above.trust_until(trust.until_by_hits());
        }
    }

    /// Reads what the log has since it was last read.
    pub(crate) async fn catch_up(&self) -> Result<(), LowerError> {
        let (at, since) = (self.clock.now(), self.position());
        let tail = self.call_log(TAIL, |tier| tier.tail(since)).await?;
        self.learn(&tail, since, at);
        Ok(())
    }

    async fn call_readers<'a, T: 'a>(
        &'a self,
        ask: impl FnOnce(&'a dyn Readers) -> Answering<'a, T>,
    ) -> Result<T, LowerError> {
        self.call_log(self.behind(), |tier| ask_readers(tier, ask)).await
    }
}

/// Asked only where there are some.
fn ask_readers<'a, T: 'a>(
    tier: &'a dyn LowerTier,
    ask: impl FnOnce(&'a dyn Readers) -> Answering<'a, T>,
) -> Answering<'a, T> {
    match tier.readers() {
        Some(readers) => ask(readers),
        None => Box::pin(async { Err(LowerError::Failed("it knows no readers any more".into())) }),
    }
}

/// Until the cache is gone.
async fn follow(lower: &Weak<Lower>) {
    while let Some(lower) = lower.upgrade() {
        let Some(since) = lower.position() else {
            // The first renewal reads it.
            pause(&lower).await;
            continue;
        };
        let (at, budget) = (lower.clock.now(), FOLLOW + lower.behind());
        let ask = |tier| ask_readers(tier, |readers| readers.follow(since, FOLLOW));
        match lower.call_log(budget, ask).await {
            Ok(tail) => {
                lower.learn(&tail, Some(since), at);
                if tail.position != since {
                    lower.news.notify_one();
                }
            }
            Err(_) => pause(&lower).await,
        }
    }
}

/// The same.
async fn renew(lower: &Weak<Lower>) {
    while let Some(lower) = lower.upgrade() {
        let Some(trust) = &lower.trust else { return };
        let began = Instant::now();
        // The failure is counted where the tier was asked.
        lower.note_log(&lower.renew(trust).await);
        lower.confirm().await;
        let every = (lower.settings.max_incoherence / RENEWALS).clamp(MIN_EVERY, MAX_EVERY);
        sync::until(sync::after(began, jittered_round(every)), lower.news.notified()).await;
        sync::until(sync::after(began, MIN_EVERY), pending::<()>()).await;
    }
}

/// Where nothing can tell the time nobody keeps up with a tier: what is in memory is not served.
async fn pause(lower: &Lower) {
    if !sync::pause(jittered(PAUSE)).await {
        lower.news.notified().await;
    }
}
