//! Gate: when a purge may be handed out to CDNs, and when it is clear.
//!
//! It is handed out when the tiers inside have applied it. Where the shared tier does not answer, that is after five seconds
//! all the same, and once more when it has. It is *clear* when all answers have ended that began before it was applied.

use std::{
    collections::HashSet,
    future::pending,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use larder::{TierReceipt, TierState, http::HttpCache};
use tokio::time::{Instant, sleep, sleep_until};

use super::Inside;

/// So long the shared tier is waited for.
pub(super) const INSIDE: Duration = Duration::from_secs(5);
/// One question to it takes no longer.
const HELD: Duration = Duration::from_secs(60);
/// After a failure the next question waits so long.
const PAUSE: Duration = Duration::from_millis(250);
/// While something waits for older answers it is looked so often whether they have ended.
const LOOK: Duration = Duration::from_millis(25);

/// A purge that the tiers inside may not have applied.
struct Waiting {
    number: u64,
    since: Instant,
    was_handed_out: bool,
}

/// Purges that wait for older answers.
struct Clearing {
    numbers: Vec<u64>,
    /// Answers of this epoch, or older.
    epoch: u64,
    /// They are not waited for any longer.
    until: Instant,
    ended: Option<Instant>,
}

/// All that waits.
struct Gate {
    inside: Arc<Inside>,
    waiting: Vec<Waiting>,
    clearing: Vec<Clearing>,
}

/// Until its task is dropped.
pub(super) async fn keep(inside: Arc<Inside>, cache: HttpCache) {
    let mut gate = Gate { inside, waiting: Vec::new(), clearing: Vec::new() };
    loop {
        gate.take_fresh();
        if gate.inside.cdns.is_empty() {
            // What the shared tier has said, whoever asked for a purge was told.
            gate.waiting.clear();
        }
        if gate.waiting.is_empty() && gate.clearing.is_empty() {
            gate.inside.news.notified().await;
            continue;
        }
        if gate.waiting.is_empty() {
            gate.rest().await;
            continue;
        }
        let asked: Vec<u64> = gate.waiting.iter().map(|waiting| waiting.number).collect();
        let held = cache.cache().purges_held(HELD);
        tokio::pin!(held);
        let receipt = loop {
            tokio::select! {
                biased;
                receipt = &mut held => break receipt,
                () = gate.rest() => gate.take_fresh(),
            }
        };
        let is_applied = gate.is_applied(&asked, receipt);
        if is_applied {
            gate.applied(&asked);
        } else {
            let next = Instant::now() + PAUSE;
            while Instant::now() < next {
                gate.rest().await;
            }
        }
    }
}

impl Gate {
    fn take_fresh(&mut self) {
        let fresh = std::mem::take(&mut self.inside.outbox().fresh);
        let waiting = |(number, since)| Waiting { number, since, was_handed_out: false };
        self.waiting.extend(fresh.into_iter().map(waiting));
    }

    /// Waits for what may happen next beside the shared tier's answer, and does what is due. Cancel-safe: it does nothing
    /// between two waits that it would have to finish.
    async fn rest(&mut self) {
        self.hand_out_late();
        self.clear();
        let next_late = self.waiting.iter().filter(|waiting| !waiting.was_handed_out);
        let next_late = next_late.map(|waiting| waiting.since + INSIDE).min();
        let looks = !self.clearing.is_empty();
        tokio::select! {
            () = self.inside.news.notified() => {}
            () = async {
                match next_late {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            } => {}
            () = async {
                if looks { sleep(LOOK).await } else { pending().await }
            } => {}
        }
    }

    /// What the shared tier has said, where there is one.
    fn is_applied(&self, numbers: &[u64], receipt: Option<TierReceipt>) -> bool {
        let Some(receipt) = receipt else { return true };
        let is_applied =
            matches!(receipt.state, TierState::Applied { .. } | TierState::Lapsed { .. });
        self.inside.trail.shared(numbers, &Arc::new(receipt));
        is_applied
    }

    fn applied(&mut self, numbers: &[u64]) {
        let all: HashSet<&u64> = numbers.iter().collect();
        self.waiting.retain(|waiting| !all.contains(&waiting.number));
        let (inside, now) = (&self.inside, Instant::now());
        if let Some(fleet) = &inside.fleet {
            return fleet.hand_out(numbers, now);
        }
        let epoch = inside.under_way.turn();
        let until = now + inside.config.old_answers;
        let is_quiet = || {
            let quiet = inside.under_way.quiet_for();
            quiet.is_none_or(|quiet| quiet >= inside.config.settle)
        };
        let is_clear =
            inside.knows_all_answers() && inside.under_way.has_ended(epoch) && is_quiet();
        if !is_clear {
            let numbers = numbers.to_vec();
            self.clearing.push(Clearing { numbers, epoch, until, ended: None });
        }
        self.each(numbers, |queue, numbers| {
            queue.hand_out(numbers, true, now);
            if is_clear {
                queue.clear(numbers, now);
            }
        });
    }

    fn hand_out_late(&mut self) {
        let now = Instant::now();
        let mut late = Vec::new();
        for waiting in self.waiting.iter_mut().filter(|waiting| !waiting.was_handed_out) {
            if now >= waiting.since + INSIDE {
                waiting.was_handed_out = true;
                late.push(waiting.number);
            }
        }
        if !late.is_empty() {
            self.inside.handed_out_early.fetch_add(late.len() as u64, Relaxed);
            self.inside.enter_alone(&late, now);
            self.each(&late, |queue, numbers| queue.hand_out(numbers, false, now));
        }
    }

    fn clear(&mut self) {
        let (inside, now) = (Arc::clone(&self.inside), Instant::now());
        let mut clear = Vec::new();
        self.clearing.retain_mut(|clearing| {
            // Of others nobody knows when theirs have ended.
            if clearing.ended.is_none()
                && inside.knows_all_answers()
                && inside.under_way.has_ended(clearing.epoch)
            {
                clearing.ended = Some(now);
            }
            let settled = clearing.ended.is_some_and(|ended| now >= ended + inside.config.settle);
            let is_overrun = now >= clearing.until && !settled;
            if is_overrun && inside.knows_all_answers() {
                inside.old_answers_overrun.fetch_add(1, Relaxed);
            }
            if settled || is_overrun {
                clear.append(&mut clearing.numbers);
            }
            !(settled || is_overrun)
        });
        if !clear.is_empty() {
            self.each(&clear, |queue, numbers| queue.clear(numbers, now));
        }
    }

    fn each(&self, numbers: &[u64], what: impl Fn(&mut super::Queue, &[u64])) {
        for (place, cdn) in self.inside.cdns.iter().enumerate() {
            what(&mut cdn.queue(), numbers);
            self.inside.tell(place, &mut self.inside.outbox());
        }
    }
}
