//! Faults: what a lower tier does wrong when it is told to, for tests and for trying out.

use std::{future::pending, sync::PoisonError, time::Duration};

use tokio::{sync::oneshot, time::Instant};

use super::LowerError;
use crate::sync::{self, Mutex, MutexGuard};

/// A call to a lower tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// [`heads`](super::LowerTier::heads).
    Heads,
    /// [`piece`](super::LowerTier::piece).
    Piece,
    /// [`write`](super::LowerTier::write).
    Write,
    /// [`commit`](super::LowerTier::commit).
    Commit,
    /// [`discard`](super::LowerTier::discard).
    Discard,
    /// [`append`](super::LowerTier::append).
    Append,
    /// [`tail`](super::LowerTier::tail).
    Tail,
    /// [`lease`](super::LowerTier::lease).
    Lease,
    /// [`follow`](super::Readers::follow).
    Follow,
    /// [`renew`](super::Readers::renew).
    Renew,
    /// [`leave`](super::Readers::leave).
    Leave,
    /// [`holds`](super::Readers::holds).
    Holds,
}

const CALLS: usize = 12;

/// Where a call is held up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// On its way there: it has no effect yet.
    Request,
    /// On its way back: it has taken effect.
    Answer,
}

#[derive(Default)]
pub(super) struct Faults(Mutex<State>);

#[derive(Default)]
pub(super) struct State {
    pub(super) is_away: bool,
    pub(super) loses_answers: bool,
    /// Each so-manieth call fails; 0: none.
    pub(super) fails_every: u64,
    pub(super) delay: Duration,
    pub(super) answers_late: Duration,
    pub(super) holds: Vec<(Call, Point)>,
    /// Those that are held up, the first to come first.
    held: Vec<oneshot::Sender<()>>,
    counts: [u64; CALLS],
}

#[derive(Debug, thiserror::Error)]
#[error("it was told to fail")]
struct ToldToFail;

fn told_to_fail() -> LowerError {
    LowerError::Failed(Box::new(ToldToFail))
}

impl Faults {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One call: what it does, between all that may go wrong on its way there and back.
    pub(super) async fn around<T>(
        &self,
        call: Call,
        effect: impl FnOnce() -> Result<T, LowerError>,
    ) -> Result<T, LowerError> {
        let delay = self.begin(call)?;
        pause(delay).await;
        self.wait_if_held(call, Point::Request).await;
        let answer = effect()?;
        let late = self.lock().answers_late;
        pause(late).await;
        self.wait_if_held(call, Point::Answer).await;
        if self.lock().loses_answers { Err(told_to_fail()) } else { Ok(answer) }
    }

    /// Counts the call, unless it fails.
    fn begin(&self, call: Call) -> Result<Duration, LowerError> {
        let mut state = self.lock();
        state.counts[call as usize] += 1;
        let all: u64 = state.counts.iter().sum();
        let fails = state.fails_every > 0 && all.is_multiple_of(state.fails_every);
        if state.is_away || fails { Err(told_to_fail()) } else { Ok(state.delay) }
    }

    async fn wait_if_held(&self, call: Call, point: Point) {
        let released = {
            let mut state = self.lock();
            if !state.holds.contains(&(call, point)) {
                return;
            }
            let (release, released) = oneshot::channel();
            state.held.push(release);
            released
        };
        // Also released by the end of the tier.
        released.await.ok();
    }

    pub(super) fn held(&self) -> usize {
        let mut state = self.lock();
        state.held.retain(|held| !held.is_closed());
        state.held.len()
    }

    pub(super) fn release(&self, nth: usize) {
        let mut state = self.lock();
        state.held.retain(|held| !held.is_closed());
        if nth < state.held.len() {
            // Whoever waited may have left meanwhile.
            state.held.remove(nth).send(()).ok();
        }
    }

    pub(super) fn release_all(&self) {
        let held = {
            let mut state = self.lock();
            state.holds.clear();
            std::mem::take(&mut state.held)
        };
        drop(held);
    }

    pub(super) fn count(&self, call: Call) -> u64 {
        self.lock().counts[call as usize]
    }
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        sync::until(sync::after(Instant::now(), time), pending::<()>()).await;
    }
}
