//! Send: how purges of this process get into the lower tier's log.

use std::{future::pending, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Ledger, Lower, caught,
    outbox::{Cause, Entered, Entry, Progress},
};
use crate::{
    jitter::jittered,
    journal::{Journal, Written},
    purge::{Mode, OnDisk, Replication, Scope, Tier, TierReceipt, TierState},
    rules::Rule,
    sync::{self, watch},
    tier::lower::{Copies, Holds, LowerError, LowerPurge, OutboxFile, Position, PurgeId, Unsure},
};

/// After a failure the next try waits so long at most, then twice as long, up to the tier's rest, and half of that at
/// least.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// So often in a row purges are appended to another log than the last one at once. A tier whose log is another
/// one at each call fails.
const MAX_NEW_LOGS: usize = 3;

/// How often it is looked whether anybody still uses a file that was given up.
const RELEASED: Duration = Duration::from_millis(5);
/// Whoever waits for all purges looks so often whether they have been sent.
const LOOK: Duration = Duration::from_millis(10);

/// Whoever waits for a disk that hangs waits no longer.
const DISK: Duration = Duration::from_secs(1);

/// A purge on its way: what comes from below is judged by it. Dropping this says that it is done in memory.
pub(crate) struct Outgoing {
    lower: Arc<Lower>,
    id: PurgeId,
    told: watch::Receiver<Progress>,
    file: Option<Arc<Journal>>,
}

impl Outgoing {
    /// It is done in memory, and may be sent.
    pub(crate) fn done(self) -> Sent {
        let (lower, file) = (Arc::clone(&self.lower), self.file.clone());
        Sent { lower, id: self.id, told: self.told.clone(), file }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.lower.lock().outbox.ready(self.id);
        self.lower.send_behind();
    }
}

/// A purge that is sent, or waits to be.
pub(crate) struct Sent {
    lower: Arc<Lower>,
    id: PurgeId,
    told: watch::Receiver<Progress>,
    file: Option<Arc<Journal>>,
}

impl Sent {
    /// What a receipt says of it now.
    fn receipt(&self) -> TierReceipt {
        let progress = self.told.borrow().clone();
        let outbox = match progress {
            Progress::Acknowledged(_) => None,
            Progress::Waits | Progress::Tried(_) => self.on_disk(),
        };
        let state = match (progress, &outbox) {
            // Who else has read it nobody has been asked.
            (Progress::Acknowledged(_), _) if self.lower.trust.is_some() => TierState::Confirmed,
            (Progress::Acknowledged(_), _) => TierState::Applied { by: 1, of: 1 },
            (Progress::Tried(reason), _) => TierState::Failed { reason: reason.to_string() },
            (Progress::Waits, Some(OnDisk::No { .. })) => TierState::Failed {
                reason: "it has not been sent yet, and is in memory alone".into(),
            },
            (Progress::Waits, _) => TierState::Queued,
        };
        TierReceipt { outbox, position: self.position(), ..TierReceipt::of(Tier::Shared, state) }
    }

    /// Whether it is on disk. `None`: it need not be.
    fn on_disk(&self) -> Option<OnDisk> {
        let written = self.file.as_ref()?.written();
        let written = written.borrow();
        Some(match &written.failure {
            _ if written.to >= self.id.number => OnDisk::Yes,
            Some(reason) => OnDisk::No { reason: reason.to_string() },
            None => OnDisk::No { reason: "it takes too long".to_owned() },
        })
    }

    /// How far it is, without waiting for the tier. Where it has a file, it is on disk then, or the tier has it, or the
    /// disk does not take it.
    pub(crate) async fn kept(mut self) -> TierReceipt {
        if let Some(file) = self.file.clone() {
            let (mut written, number) = (file.written(), self.id.number);
            let is_kept = |written: &Written| written.to >= number || written.failure.is_some();
            let is_there = |progress: &Progress| matches!(progress, Progress::Acknowledged(_));
            let either = async {
                tokio::select! {
                    _ = written.wait_for(is_kept) => {}
                    _ = self.told.wait_for(is_there) => {}
                }
            };
            sync::until(sync::after(Instant::now(), DISK), either).await;
        }
        self.receipt()
    }

    /// Where it is in the tier's log.
    fn position(&self) -> Option<Position> {
        match &*self.told.borrow() {
            Progress::Acknowledged(position) => Some(*position),
            Progress::Waits | Progress::Tried(_) => None,
        }
    }

    /// How far it is when the tier has answered, and all who read it have, or when that has taken too long.
    pub(crate) async fn wait(mut self, within: Option<Duration>) -> TierReceipt {
        let end = |within| sync::after(Instant::now(), within);
        let said = within.map(end);
        let deadline = said.unwrap_or(end(self.lower.settings().purge_wait));
        let acknowledged = sync::until(deadline, self.acknowledged()).await.flatten();
        // It may have been acknowledged just now.
        let Some(position) = acknowledged.or_else(|| self.position()) else {
            return self.receipt();
        };
        self.lower.held(position, said, deadline).await
    }

    /// `None`: it could not be sent, and nobody can tell when to try again.
    async fn acknowledged(&mut self) -> Option<Position> {
        // Where no task does.
        if let Some(sending) = Sending::begin(&self.lower) {
            sending.send().await;
        }
        let is_over = |progress: &Progress| match progress {
            Progress::Waits => false,
            Progress::Tried(_) => !sync::has_timers(),
            Progress::Acknowledged(_) => true,
        };
        match &*self.told.wait_for(is_over).await.ok()? {
            Progress::Acknowledged(position) => Some(*position),
            Progress::Waits | Progress::Tried(_) => None,
        }
    }
}

/// The right to send, of one at a time. Dropping it, with its runtime perhaps, lets others.
struct Sending {
    lower: Arc<Lower>,
    /// There was nothing more to send, and it has been given back.
    is_over: bool,
}

impl Drop for Sending {
    fn drop(&mut self) {
        if !self.is_over {
            self.lower.lock().is_sending = false;
        }
    }
}

impl Sending {
    /// `None`: there is nothing to send, or somebody does already.
    fn begin(lower: &Arc<Lower>) -> Option<Self> {
        let mut ledger = lower.lock();
        if ledger.is_sending || !ledger.outbox.has_ready() {
            return None;
        }
        ledger.is_sending = true;
        Some(Sending { lower: Arc::clone(lower), is_over: false })
    }

    async fn send(mut self) {
        let (mut pause, mut new_logs) = (FIRST_PAUSE, 0);
        while let Some(batch) = self.next() {
            let appended = self.lower.append(&batch).await.and_then(|position| {
                new_logs = if position.is_some() { 0 } else { new_logs + 1 };
                if new_logs > MAX_NEW_LOGS { Err(LowerError::Unsteady) } else { Ok(position) }
            });
            match appended {
                Ok(position) => {
                    pause = FIRST_PAUSE;
                    if let Some(position) = position {
                        // One question for all of them. Whoever needs to know asks himself, and is told the same; a
                        // failure is counted where the tier was asked.
                        self.lower.copies(position, self.lower.behind()).await.ok();
                    }
                }
                Err(error) => {
                    let ids: Vec<_> = batch.iter().map(|purge| purge.id).collect();
                    self.lower.lock().outbox.tried(&ids, &error.with_causes().into());
                    if !sync::pause(jittered(pause)).await {
                        return;
                    }
                    pause = pause.saturating_mul(2).min(self.lower.settings.rest);
                }
            }
        }
    }

    /// What is to be sent next. `None`: nothing, and under the same lock the right is given back, so that
    /// whoever adds something sends it.
    fn next(&mut self) -> Option<Vec<LowerPurge>> {
        let mut ledger = self.lower.lock();
        let batch = ledger.outbox.batch();
        self.is_over = batch.is_empty();
        ledger.is_sending = !self.is_over;
        (!self.is_over).then_some(batch)
    }
}

impl Lower {
    /// From now on what comes from below is judged by this purge.
    pub(crate) fn enter(
        self: &Arc<Self>,
        scopes: Vec<Scope>,
        mode: Mode,
        cause: Cause<'_>,
    ) -> Outgoing {
        let now = self.clock.now();
        let mut ledger = self.lock();
        let Entered { id, told, entry } = ledger.outbox.enter(scopes, mode, cause, now);
        let file = ledger.outbox.file().cloned();
        drop(ledger);
        match entry {
            Entry::New => {}
            Entry::Folded => self.counters.folded.increment(),
            Entry::Widened => self.counters.widened.increment(),
            Entry::Everything => self.counters.overflows.increment(),
        }
        Outgoing { lower: Arc::clone(self), id, told, file }
    }

    /// Gives the outbox's file up, within so long. False: there is none, or it is still in use.
    pub(crate) async fn release_outbox(&self, within: Duration) -> bool {
        let Some(file) = self.lock().outbox.release() else { return false };
        let waited = Arc::downgrade(&file);
        // Whoever waits for the disk has it, too. Its thread has ended when the last one drops it.
        drop(file);
        let end = Instant::now() + within;
        while waited.strong_count() > 0 {
            if Instant::now() >= end || !sync::pause(RELEASED).await {
                return false;
            }
        }
        true
    }

    /// Takes the outbox's file again.
    pub(crate) fn resume_outbox(&self, file: OutboxFile) {
        let now = self.clock.now();
        self.lock().outbox.resume(file, now);
    }

    /// How safe what the log has up to `position` is.
    async fn copies(&self, position: Position, most: Duration) -> Result<Copies, LowerError> {
        let copies = self.call_log(most, |tier| tier.copies(position)).await?;
        if copies.replication != Replication::Unreplicated {
            self.lock().outbox.confirmed(position);
        }
        Ok(copies)
    }

    /// Asks again whether what has been acknowledged is safe, if the outbox's file has it still. Trust is not to wait
    /// for that.
    pub(super) async fn confirm(&self) {
        let last = self.lock().outbox.unconfirmed();
        if let Some(last) = last {
            self.copies(last, self.settings.budget.saturating_mul(2)).await.ok();
        }
    }

    /// Sends what is in the outbox, in a task of the cache, unless somebody does already. Where there is no
    /// runtime it stays there until somebody looks below or purges.
    pub(crate) fn send_behind(self: &Arc<Self>) {
        self.follow_behind();
        if sync::is_in_runtime()
            && !self.tasks.is_closed()
            && let Some(sending) = Sending::begin(self)
        {
            self.tasks.spawn(sending.send());
        }
    }

    /// Whether what the log has up to `position` holds for all who read it, at `said`, or at the latest at `deadline`.
    async fn held(
        &self,
        position: Position,
        said: Option<Instant>,
        deadline: Instant,
    ) -> TierReceipt {
        let settings = *self.settings();
        let end = |within| sync::after(Instant::now(), within);
        // Whoever serves what is stale without trust does so for as long as it likes.
        let lapses = match settings.unsure {
            Unsure::Fetch if !Rule::LapsesWithTimeOnly.holds() => Some(Instant::now()),
            Unsure::Fetch => {
                let trust =
                    settings.max_incoherence.saturating_add(settings.max_incoherence_margin);
                Some(end(trust.saturating_add(self.tier.figures().replication_lag)))
            }
            Unsure::ServeStale => None,
        };
        let deadline = said.or(lapses).unwrap_or(deadline);
        let most = lapses.map_or(deadline, |lapses| lapses.min(deadline));
        let held = match Rule::HoldsWaitsForAll.holds() {
            true => self.hold(position, most).await,
            false => Ok(Holds { by: 1, of: 1, missing: Vec::new() }),
        };
        if !matches!(&held, Ok(holds) if holds.missing.is_empty()) {
            // It may have failed before the time.
            sync::until(most, pending::<()>()).await;
        }
        let has_lapsed = lapses.is_some_and(|lapses| lapses <= Instant::now());
        let state = match held {
            Ok(Holds { by, of, missing }) if missing.is_empty() => TierState::Applied { by, of },
            Ok(Holds { by, of, missing }) if has_lapsed => TierState::Lapsed { by, of, missing },
            Err(_) if has_lapsed => TierState::Lapsed { by: 1, of: 1, missing: Vec::new() },
            Ok(Holds { by, of, missing }) => {
                let missing = missing.join(", ");
                TierState::Failed { reason: format!("{by} of {of} have answered, not {missing}") }
            }
            Err(error) => TierState::Failed { reason: error.with_causes() },
        };
        // It has been asked once for the batch already, so that this is known.
        let copies = self.copies(position, self.behind()).await.ok();
        let replication = copies.map(|copies| copies.replication);
        let doubt = copies.and_then(|copies| copies.doubt);
        let position = Some(position);
        TierReceipt { position, replication, doubt, ..TierReceipt::of(Tier::Shared, state) }
    }

    /// How far the purges are that have been made here so far, when all hold, or when that takes longer than `within`.
    pub(crate) async fn purges_held(self: &Arc<Self>, within: Duration) -> TierReceipt {
        let deadline = sync::after(Instant::now(), within);
        let last = self.lock().outbox.last();
        loop {
            if let Some(sending) = Sending::begin(self) {
                self.tasks.spawn(sending.send());
            }
            let (is_sent, position) = {
                let ledger = self.lock();
                (ledger.outbox.has_sent(last), ledger.known.read())
            };
            match position {
                Some(position) if is_sent => {
                    return self.held(position, Some(deadline), deadline).await;
                }
                None if is_sent => {
                    // Nothing has ever been sent, or read: there is nothing that could hold.
                    self.catch_up().await.ok();
                }
                _ => {}
            }
            if Instant::now() >= deadline || !sync::pause(LOOK).await {
                let reason = "not all purges have been sent yet".to_owned();
                return TierReceipt::of(Tier::Shared, TierState::Failed { reason });
            }
        }
    }

    /// Who has said that he judges by the log up to `position`, when all have, or at `deadline`.
    async fn hold(&self, position: Position, deadline: Instant) -> Result<Holds, LowerError> {
        let Some(readers) = self.tier.readers() else {
            return Ok(Holds { by: 1, of: 1, missing: Vec::new() });
        };
        let most = deadline.saturating_duration_since(Instant::now());
        let budget = self.settings.budget;
        let held = caught(|| readers.holds(position, most));
        let held = sync::until(sync::after(deadline, budget), held).await;
        held.unwrap_or(Err(LowerError::TookTooLong { budget }))
    }

    /// Appends purges to the log. They leave the outbox only when they are in the log that is known here. `None`: they
    /// are in another one.
    async fn append(&self, purges: &[LowerPurge]) -> Result<Option<Position>, LowerError> {
        if self.position().is_none() {
            self.catch_up().await?;
        }
        let position = self.call_log(self.behind(), |tier| tier.append(purges)).await;
        self.note_log(&position);
        let position = position?;
        let is_known = self.acknowledge(purges, position);
        if !is_known {
            // What it had is learnt, and these are in it, or are appended once more.
            self.catch_up().await?;
        }
        Ok(is_known.then_some(position))
    }

    fn acknowledge(&self, purges: &[LowerPurge], position: Position) -> bool {
        let Ledger { known, outbox, .. } = &mut *self.lock();
        let now = self.clock.now();
        let known = purges
            .iter()
            .all(|purge| known.append(purge, position, outbox.made(purge.id).unwrap_or(now)));
        if known {
            let ids: Vec<_> = purges.iter().map(|purge| purge.id).collect();
            outbox.acknowledged(&ids, position);
        }
        known
    }
}
