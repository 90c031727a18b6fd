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
    collections::HashMap,
    sync::{Arc, PoisonError},
};

use crate::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
        watch,
    },
    tag::Fence,
};

/// Fetches under way, by key. `L` is what a flight brings to those who wait for it.
pub(crate) struct Flights<L> {
    /// At most `max`. Never held across an await.
    under_way: Mutex<HashMap<Arc<str>, Arc<Flight<L>>>>,
    max: usize,
}

struct Flight<L> {
    landing: watch::Receiver<Option<Landing<L>>>,
    /// Raised by a purge: what this flight brings may be older than the purge.
    revoked: AtomicBool,
}

/// How a flight ended.
#[derive(Clone)]
pub(crate) enum Landing<L> {
    Landed(L),
    Panicked,
}

/// What joining a key's flight makes of a reader.
pub(crate) enum Join<L> {
    Lead(Leader<L>),
    Follow(Follower<L>),
    /// As many keys are being fetched, or wait for it, as may.
    TooMany,
}

impl<L> Flights<L> {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Flights { under_way: Mutex::new(HashMap::new()), max })
    }

    /// `fence` is read under the lock, so that no purge falls between the two.
    pub(crate) fn join(self: &Arc<Self>, key: &Arc<str>, fence: impl FnOnce() -> Fence) -> Join<L> {
        let mut under_way = self.lock();
        if let Some(flight) = under_way.get(key) {
            return Join::Follow(Follower { flight: Arc::clone(flight) });
        }
        if under_way.len() >= self.max {
            return Join::TooMany;
        }
        let (sender, landing) = watch::channel(None);
        let flight = Arc::new(Flight { landing, revoked: AtomicBool::new(false) });
        under_way.insert(Arc::clone(key), Arc::clone(&flight));
        Join::Lead(Leader {
            flights: Arc::clone(self),
            key: Arc::clone(key),
            fence: fence(),
            flight,
            sender,
        })
    }

    /// A purge of `key` begins: who asks from now on starts a new flight, and the one under way may
    /// no longer store. Call it *before* removing the key from the tiers.
    pub(crate) fn revoke(&self, key: &str) {
        if let Some(flight) = self.lock().remove(key) {
            flight.revoked.store(true, Ordering::Release);
        }
    }

    /// The same for every key that `is_named`.
    pub(crate) fn revoke_where(&self, is_named: impl Fn(&str) -> bool) {
        self.lock().retain(|key, flight| {
            let is_named = is_named(key);
            if is_named {
                flight.revoked.store(true, Ordering::Release);
            }
            !is_named
        });
    }

    /// A follower of `key`'s flight no longer believes that it lands: the next to ask starts a new one,
    /// and the old one may no longer store. A younger flight that has the key by now is left alone.
    pub(crate) fn give_up(&self, key: &str, follower: &Follower<L>) {
        follower.flight.revoked.store(true, Ordering::Release);
        self.close(key, &follower.flight);
    }

    fn close(&self, key: &str, flight: &Arc<Flight<L>>) {
        let mut under_way = self.lock();
        // After a revocation the key may belong to a younger flight.
        if under_way.get(key).is_some_and(|current| Arc::ptr_eq(current, flight)) {
            under_way.remove(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Flight<L>>>> {
        // Nothing under this lock can panic half-way through a change.
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right, and the duty, to fetch one key. Dropping it without landing hands over to a follower;
/// one that goes down with its panicking fetch tells them all.
pub(crate) struct Leader<L> {
    flights: Arc<Flights<L>>,
    key: Arc<str>,
    fence: Fence,
    flight: Arc<Flight<L>>,
    sender: watch::Sender<Option<Landing<L>>>,
}

impl<L> Leader<L> {
    pub(crate) fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// The purges this flight's fetch knows of.
    pub(crate) fn fence(&self) -> Fence {
        self.fence
    }

    /// Whether a purge of this key came in between; asked under the tier's lock.
    pub(crate) fn is_revoked(&self) -> bool {
        self.flight.revoked.load(Ordering::Acquire)
    }

    /// Somebody who waits for this flight to land.
    pub(crate) fn follower(&self) -> Follower<L> {
        Follower { flight: Arc::clone(&self.flight) }
    }

    /// Ends the flight. Whoever asks from now on looks in the tiers first, so store before landing.
    pub(crate) fn land(self, landing: L) {
        self.flights.close(&self.key, &self.flight);
        self.sender.send_replace(Some(Landing::Landed(landing)));
    }
}

impl<L> Drop for Leader<L> {
    fn drop(&mut self) {
        self.flights.close(&self.key, &self.flight);
        // A leader has its task for itself, so what panics there is its fetch, or what follows it.
        if std::thread::panicking() && self.sender.borrow().is_none() {
            self.sender.send_replace(Some(Landing::Panicked));
        }
    }
}

/// A reader that waits for a fetch. Dropping it leaves the flight alone.
pub(crate) struct Follower<L> {
    flight: Arc<Flight<L>>,
}

impl<L: Clone> Follower<L> {
    /// Waits for the landing. `None`: the leader gave up, so join again (and perhaps lead).
    pub(crate) async fn landing(&self) -> Option<Landing<L>> {
        let mut landing = self.flight.landing.clone();
        landing.wait_for(Option::is_some).await.ok()?.clone()
    }
}
