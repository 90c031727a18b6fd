//! Handshakes: how many TLS handshakes may be under way at once, and which one is given up for a new one.
//!
//! Handshakes that are begun and not gone on with cost their senders nothing. Where as many are under way as may be, the
//! oldest is given up for the next one, unless it is so young that its reader may only be far away: so they take memory
//! up to a bound, and keep nobody out.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::let_in::LetIn;

/// How long the oldest has to leave before the next one is told, too.
const NOTICE: Duration = Duration::from_millis(50);

pub(super) struct Handshakes {
    turns: Arc<Semaphore>,
    max: usize,
    /// Protects which are under way.
    under_way: Mutex<LetIn>,
}

/// The right to one handshake. Dropping it gives the right back.
pub(super) struct Turn {
    leaving: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl Handshakes {
    pub(super) fn new(max: usize, welcome: Duration) -> Handshakes {
        let max = max.clamp(1, Semaphore::MAX_PERMITS);
        let under_way = Mutex::new(LetIn::new(welcome));
        Handshakes { turns: Arc::new(Semaphore::new(max)), max, under_way }
    }

    /// A turn, once there is one: waiters get theirs in the order in which they came. Dropping the future gives the
    /// place in that order up.
    pub(super) async fn turn(&self) -> Turn {
        let permit = self.permit().await;
        let leaving = CancellationToken::new();
        let open = self.max - self.turns.available_permits();
        self.under_way().add(leaving.clone(), open);
        Turn { leaving, _permit: permit }
    }

    async fn permit(&self) -> OwnedSemaphorePermit {
        const OPEN: &str = "the semaphore is never closed";
        if let Ok(permit) = Arc::clone(&self.turns).try_acquire_owned() {
            return permit;
        }
        let mut waiting = std::pin::pin!(Arc::clone(&self.turns).acquire_owned());
        loop {
            // Each that waits asks for one place.
            self.under_way().tell(1);
            if let Ok(permit) = timeout(NOTICE, &mut waiting).await {
                return permit.expect(OPEN);
            }
        }
    }

    /// Nothing of others runs while it is held.
    fn under_way(&self) -> std::sync::MutexGuard<'_, LetIn> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Ready once the handshake is to be given up.
    pub(super) async fn is_over(&self) {
        self.leaving.cancelled().await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // So that it is forgotten.
        self.leaving.cancel();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::time::{Instant, advance};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_oldest_is_given_up_for_the_next_one_unless_it_is_young() {
        let welcome = Duration::from_millis(500);
        let handshakes = Handshakes::new(2, welcome);
        let (first, second) = (handshakes.turn().await, handshakes.turn().await);
        assert!(handshakes.turn().now_or_never().is_none());
        assert!(first.is_over().now_or_never().is_none(), "its reader may be far away");
        advance(welcome).await;
        let began = Instant::now();
        let (next, ()) = tokio::join!(handshakes.turn(), async {
            first.is_over().await;
            drop(first);
        });
        assert!(began.elapsed() <= NOTICE);
        assert!(second.is_over().now_or_never().is_none(), "one place was asked for");
        // What ends by itself gives its place back as well.
        drop(second);
        drop(handshakes.turn().now_or_never().unwrap());
        drop(next);
    }
}
