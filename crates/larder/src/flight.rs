//! Flight: many readers of one key share one fetch.
//!
//! ```text
//! reader A  join ─ Lead ───── fetch ─────────── land ┐
//! reader B    join ─ Follow ······· waits ·········· ┴─ shares A's landing
//! purge                      revoke: A still lands for B, but no longer stores,
//! reader C                     join ─ Lead ─ fetch ─ and C's own fetch is the one kept
//! ```
//!
//! Followers wait on a channel whose sender the leader owns, so there is no wake-up to forget: a
//! leader that goes away without landing closes it.

use std::{
    any::Any,
    collections::HashMap,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::watch;

use crate::{entry::Entry, tier::memory::Stored};

/// How a flight ended for everybody who was on it.
pub(crate) enum Landing<V> {
    Fetched {
        entry: Arc<Entry<V>>,
        stored: Stored,
    },
    /// The fetch's own error. Readers of one key may use different error types; each takes it
    /// only if it is theirs.
    Failed(Arc<dyn Any + Send + Sync>),
    Panicked,
}

impl<V> Clone for Landing<V> {
    fn clone(&self) -> Self {
        match self {
            Landing::Fetched { entry, stored } => {
                Landing::Fetched { entry: Arc::clone(entry), stored: *stored }
            }
            Landing::Failed(error) => Landing::Failed(Arc::clone(error)),
            Landing::Panicked => Landing::Panicked,
        }
    }
}

pub(crate) struct Flights<V> {
    /// Fetches under way, by key. At most one per reader now waiting, so it needs no bound of its
    /// own. Never held across an await.
    under_way: Mutex<HashMap<Arc<str>, Arc<Flight<V>>>>,
}

struct Flight<V> {
    landing: watch::Receiver<Option<Landing<V>>>,
    /// Raised by a purge: what this flight brings may be older than the purge.
    revoked: AtomicBool,
}

/// What joining a key's flight makes of a reader.
pub(crate) enum Join<'a, V> {
    Lead(Leader<'a, V>),
    Follow(Follower<V>),
}

impl<V> Flights<V> {
    pub(crate) fn new() -> Self {
        Flights { under_way: Mutex::new(HashMap::new()) }
    }

    pub(crate) fn join(&self, key: &Arc<str>) -> Join<'_, V> {
        let mut under_way = self.lock();
        if let Some(flight) = under_way.get(key) {
            return Join::Follow(Follower { landing: flight.landing.clone() });
        }
        let (sender, landing) = watch::channel(None);
        let flight = Arc::new(Flight { landing, revoked: AtomicBool::new(false) });
        under_way.insert(Arc::clone(key), Arc::clone(&flight));
        Join::Lead(Leader {
            flights: self,
            key: Arc::clone(key),
            flight,
            sender,
            is_fetching: false,
        })
    }

    /// A purge of `key` begins: who asks from now on starts a new flight, and the one under way may
    /// no longer store. Call it *before* removing the key from the tiers.
    pub(crate) fn revoke(&self, key: &str) {
        if let Some(flight) = self.lock().remove(key) {
            flight.revoked.store(true, Ordering::Release);
        }
    }

    /// The same for every key.
    pub(crate) fn revoke_all(&self) {
        for (_, flight) in self.lock().drain() {
            flight.revoked.store(true, Ordering::Release);
        }
    }

    fn close(&self, key: &str, flight: &Arc<Flight<V>>) {
        let mut under_way = self.lock();
        // After a revocation the key may belong to a younger flight.
        if under_way.get(key).is_some_and(|current| Arc::ptr_eq(current, flight)) {
            under_way.remove(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Flight<V>>>> {
        // Nothing under this lock can panic half-way through a change.
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right, and the duty, to fetch one key. Dropping it without landing hands over to a follower;
/// one that goes down with its panicking fetch tells them all.
pub(crate) struct Leader<'a, V> {
    flights: &'a Flights<V>,
    key: Arc<str>,
    flight: Arc<Flight<V>>,
    sender: watch::Sender<Option<Landing<V>>>,
    /// True only inside a poll of the fetch, so that a panic there is told from a leader that is
    /// dropped because something else in its task panicked.
    is_fetching: bool,
}

impl<V> Leader<'_, V> {
    /// Runs the fetch. Dropping the returned future drops the fetch.
    pub(crate) async fn run<F: Future>(&mut self, fetch: F) -> F::Output {
        let mut fetch = pin!(fetch);
        poll_fn(|context| {
            self.is_fetching = true;
            let poll = fetch.as_mut().poll(context);
            self.is_fetching = false;
            poll
        })
        .await
    }

    /// Whether a purge came in between; asked under the tier's lock.
    pub(crate) fn is_revoked(&self) -> bool {
        self.flight.revoked.load(Ordering::Acquire)
    }

    /// Ends the flight. Whoever asks from now on looks in the tiers first, so store before landing.
    pub(crate) fn land(self, landing: Landing<V>) {
        self.flights.close(&self.key, &self.flight);
        self.sender.send_replace(Some(landing));
    }
}

impl<V> Drop for Leader<'_, V> {
    fn drop(&mut self) {
        self.flights.close(&self.key, &self.flight);
        if self.is_fetching {
            self.sender.send_replace(Some(Landing::Panicked));
        }
    }
}

/// A reader that waits for another's fetch. Dropping it leaves the flight alone.
pub(crate) struct Follower<V> {
    landing: watch::Receiver<Option<Landing<V>>>,
}

impl<V> Follower<V> {
    /// Waits for the landing. `None`: the leader gave up, so join again (and perhaps lead).
    pub(crate) async fn landing(mut self) -> Option<Landing<V>> {
        self.landing.wait_for(Option::is_some).await.ok()?.clone()
    }
}
