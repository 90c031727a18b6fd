//! Flight: many readers of one key share one fetch.
//!
//! ```text
//! reader A  join ─ Lead ───── fetch ─────────── land ┐
//! reader B    join ─ Follow ······· waits ·········· ┴─ shares A's landing
//! purge                      revoke: A still lands for B, but no longer stores,
//! reader C                     join ─ Lead ─ fetch ─ and C's own fetch is the one kept
//! ```
//!
//! A key may have several flights at once that have nothing to do with each other: one for each
//! *collapse key* (a variant of a response, a part of it), and such that nobody may join. A purge of the key
//! revokes them all.
//!
//! Several flights may be led together, with one fetch for all: each lands, is revoked and is followed by itself.
//!
//! A flight whose value can be shared before it is complete *announces* it: from then on who joins
//! has it at once, while the leader goes on filling it.
//!
//! Followers wait on a channel whose sender the leader owns, so there is no wake-up to forget: a
//! leader that goes away without landing closes it.
//!
//! Where there is a tier below memory, a flight *looks* there before its fetch begins. Until then it has brought
//! nothing that could be too old, so purges leave it alone, and who asks after one may still join.
//!
//! A flight counts who waits for it, the leader's own reader included where it has a [`Follower`]. Whoever
//! runs the fetch may end it when nobody is left (`Waiters::gone`).

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock, PoisonError, Weak},
    time::{Duration, Instant},
};
#[cfg(any(feature = "http", shuttle))]
use std::{
    future::{Future, poll_fn},
    pin::Pin,
};

use foldhash::fast::RandomState;
use tokio::sync::Notify;

use crate::{
    pulse::{self, Watch, Watched},
    purge::Fence,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        watch,
    },
    turns::{Fetch, Turns},
};

/// Fetches under way, by key. `L` is what a flight brings to those who wait for it.
pub(crate) struct Flights<L> {
    /// Never held across an await.
    under_way: Mutex<UnderWay<L>>,
    max: usize,
    /// Those that may be joined look below first.
    look_below: bool,
    turns: Arc<Turns>,
}

struct UnderWay<L> {
    /// Those that may be joined or revoked. No list is empty.
    by_key: HashMap<Arc<str>, Vec<Arc<Flight<L>>>, RandomState>,
    /// How many have not ended, at most `max`: also those that a purge or a reader has taken off the
    /// lists, for their fetches go on, or wait to.
    count: usize,
}

struct Flight<L> {
    /// `None`: nobody may join.
    open: Option<Open<L>>,
    /// The purges its fetch knows of. Changed under the table's lock only.
    fence: AtomicU64,
    /// Raised by a purge: what this flight brings may be older than the purge.
    revoked: AtomicBool,
    /// It has nothing yet that a purge could be meant for. Changed under the table's lock only.
    is_looking: AtomicBool,
    /// A purge came over it meanwhile, and left it alone. Changed under the table's lock only.
    was_passed_over: AtomicBool,
    /// It is one of those counted. Changed under the table's lock only.
    counts: AtomicBool,
    /// It is over, for its fetch as well. Changed under the table's lock only.
    has_ended: AtomicBool,
    /// What others may know of its fetch.
    fetch: Arc<Fetch>,
    /// Somebody waits to learn whether its fetch is driven.
    watch: OnceLock<Watch>,
    /// Tells those who wait that it is not.
    is_undriven: Notify,
    /// Its fetch is polled right now: what panics meanwhile is that, or what follows it.
    #[cfg(any(feature = "http", shuttle))]
    is_polled: AtomicBool,
    /// How many followers there are.
    followers: AtomicUsize,
    #[cfg(feature = "http")]
    waiters: AboutWaiters,
    began: Instant,
}

/// What somebody sees of a key's flights who joins none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SeenFlights {
    /// Since when the one has been under way that could be joined.
    pub(crate) joinable_for: Option<Duration>,
    /// How many others there are: of other variants, or such that nobody joins.
    #[cfg(feature = "http")]
    pub(crate) others: usize,
}

/// What a flight's fetch may want to know of those who wait for it.
#[cfg(feature = "http")]
#[derive(Default)]
struct AboutWaiters {
    /// It goes on though they all leave.
    goes_on: AtomicBool,
    /// Told when the last of them leaves.
    deserted: Notify,
    /// Who leads it, as a number.
    asked_by: AtomicU64,
    /// Somebody else waits for it, too.
    is_of_several: AtomicBool,
    /// Told when somebody else comes.
    joined: Notify,
    /// By what those call it who tell of single requests.
    name: OnceLock<[u8; 24]>,
}

/// What those know a flight by who may join it, and what they wait for.
struct Open<L> {
    /// What of its key it fetches.
    collapse_key: Box<str>,
    landing: watch::Receiver<Option<Landing<L>>>,
}

impl<L> UnderWay<L> {
    fn joinable(&self, key: &str, collapse_key: &str) -> Option<&Arc<Flight<L>>> {
        let flights = self.by_key.get(key)?;
        let fetches = |open: &Open<L>| *open.collapse_key == *collapse_key;
        flights.iter().find(|flight| flight.open.as_ref().is_some_and(fetches))
    }

    fn insert(&mut self, key: &Arc<str>, flight: &Arc<Flight<L>>) {
        self.by_key.entry(Arc::clone(key)).or_default().push(Arc::clone(flight));
    }

    fn remove(&mut self, key: &str, flight: &Arc<Flight<L>>) {
        let Some(flights) = self.by_key.get_mut(key) else { return };
        let Some(place) = flights.iter().position(|other| Arc::ptr_eq(other, flight)) else {
            return;
        };
        flights.swap_remove(place);
        if flights.is_empty() {
            self.by_key.remove(key);
        }
    }

    fn revoke(&mut self, is_named: impl Fn(&str) -> bool) {
        self.by_key.retain(|key, flights| {
            if is_named(key) {
                flights.retain(|flight| !flight.is_reached());
            }
            !flights.is_empty()
        });
    }
}

impl<L> Flight<L> {
    fn revoke(&self) {
        self.revoked.store(true, Ordering::Release);
    }

    /// A purge comes over it, and revokes it unless it still looks below. Called under the table's lock.
    fn is_reached(&self) -> bool {
        let is_reached = !self.is_looking.load(Ordering::Relaxed);
        match is_reached {
            true => self.revoke(),
            false => self.was_passed_over.store(true, Ordering::Relaxed),
        }
        is_reached
    }
}

/// How a flight ended.
#[derive(Clone)]
pub(crate) enum Landing<L> {
    Landed(L),
    /// Its fetch panicked, and nothing has caught that.
    #[cfg(any(feature = "http", shuttle))]
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
    /// Where leaders `look_below`, each says when it [begins](Leader::begin).
    pub(crate) fn new(max: usize, turns: Arc<Turns>, look_below: bool) -> Arc<Self> {
        let under_way = Mutex::new(UnderWay { by_key: HashMap::default(), count: 0 });
        Arc::new(Flights { under_way, max, look_below, turns })
    }

    /// The flight of the whole of `key`. `fence` is read under the lock, so that no purge falls
    /// between the two.
    pub(crate) fn join(self: &Arc<Self>, key: &Arc<str>, fence: impl FnOnce() -> Fence) -> Join<L> {
        self.join_collapse_key(key, "", fence)
    }

    /// The same for a reader that is never one too many: beyond the bound it leads a flight that does
    /// not count.
    pub(crate) fn join_anyway(
        self: &Arc<Self>,
        key: &Arc<str>,
        fence: impl FnOnce() -> Fence,
    ) -> Join<L> {
        let mut under_way = self.lock();
        if let Some(follower) = self.following(&under_way, key, "") {
            return Join::Follow(follower);
        }
        let fetch = Fetch::new(&self.turns);
        Join::Lead(self.begin_anyway(&mut under_way, key, &fetch, fence))
    }

    /// The flights of the whole of each of `keys`. Those that are led share one fetch, which takes one turn.
    /// `None`: they are too many, and it is not `anyway`.
    ///
    /// Nobody who leads several waits for a flight before its own fetch begins, so two who ask for keys that
    /// overlap do not wait for each other, whatever their order.
    ///
    /// Whoever has only one fetch for all cannot begin anew for one of them. So a flight that knows of fewer
    /// purges than `asked`, and may bring what is too old, is not followed: it goes on for those it has,
    /// and no longer stores. So is one whose fetch has a lower number than `first_to_share`.
    pub(crate) fn join_several(
        self: &Arc<Self>,
        keys: &[Arc<str>],
        asked: Fence,
        first_to_share: Option<u64>,
        anyway: bool,
        fence: impl Fn() -> Fence,
    ) -> Option<Vec<Join<L>>> {
        let mut under_way = self.lock();
        let is_young = |flight: &Flight<L>| {
            first_to_share.is_none_or(|first| flight.fetch.number() >= first)
                && (flight.is_looking.load(Ordering::Relaxed)
                    || flight.fence.load(Ordering::Relaxed) >= asked)
        };
        let is_followed =
            |key: &&Arc<str>| under_way.joinable(key, "").is_some_and(|flight| is_young(flight));
        let led = keys.len() - keys.iter().filter(is_followed).count();
        if led > self.max.saturating_sub(under_way.count) && !anyway {
            return None;
        }
        let fetch = Fetch::of_several(&self.turns, led);
        let joins = keys.iter().map(|key| {
            if let Some(flight) = under_way.joinable(key, "") {
                if is_young(flight) {
                    return Join::Follow(Follower::of(self, key, flight));
                }
                let flight = Arc::clone(flight);
                flight.revoke();
                under_way.remove(key, &flight);
            }
            Join::Lead(self.begin_anyway(&mut under_way, key, &fetch, &fence))
        });
        Some(joins.collect())
    }

    /// The flight of one collapse key of `key`.
    pub(crate) fn join_collapse_key(
        self: &Arc<Self>,
        key: &Arc<str>,
        collapse_key: &str,
        fence: impl FnOnce() -> Fence,
    ) -> Join<L> {
        let mut under_way = self.lock();
        if let Some(follower) = self.following(&under_way, key, collapse_key) {
            return Join::Follow(follower);
        }
        match self.take_off(&mut under_way, key, Some(collapse_key.into()), fence) {
            Some(leader) => Join::Lead(leader),
            None => Join::TooMany,
        }
    }

    /// The flight of one collapse key of `key`, if one is under way.
    #[cfg(feature = "http")]
    pub(crate) fn follow(
        self: &Arc<Self>,
        key: &Arc<str>,
        collapse_key: &str,
    ) -> Option<Follower<L>> {
        self.following(&self.lock(), key, collapse_key)
    }

    /// What is under way of `key`, for somebody who would ask for this collapse key.
    pub(crate) fn seen(&self, key: &str, collapse_key: &str) -> SeenFlights {
        let under_way = self.lock();
        let joinable = under_way.joinable(key, collapse_key);
        SeenFlights {
            joinable_for: joinable.map(|flight| flight.began.elapsed()),
            #[cfg(feature = "http")]
            others: under_way.by_key.get(key).map_or(0, Vec::len) - usize::from(joinable.is_some()),
        }
    }

    fn following(
        self: &Arc<Self>,
        under_way: &UnderWay<L>,
        key: &Arc<str>,
        collapse_key: &str,
    ) -> Option<Follower<L>> {
        let flight = under_way.joinable(key, collapse_key)?;
        Some(Follower::of(self, key, flight))
    }

    /// A flight that nobody joins; a purge of `key` revokes it like any other. `None`: as many keys
    /// are being fetched as may.
    #[cfg(feature = "http")]
    pub(crate) fn lead_alone(
        self: &Arc<Self>,
        key: &Arc<str>,
        fence: impl FnOnce() -> Fence,
    ) -> Option<Leader<L>> {
        self.take_off(&mut self.lock(), key, None, fence)
    }

    /// A flight that nobody joins, and that a purge of `key` revokes like any other, for what goes on its way
    /// whether or not there is a flight: it does not count, and takes no fetch's place.
    pub(crate) fn lead_uncounted(
        self: &Arc<Self>,
        key: &Arc<str>,
        fence: impl FnOnce() -> Fence,
    ) -> Leader<L> {
        let fetch = Fetch::new(&self.turns);
        self.begin(&mut self.lock(), key, None, false, fetch, fence)
    }

    fn take_off(
        self: &Arc<Self>,
        under_way: &mut UnderWay<L>,
        key: &Arc<str>,
        collapse_key: Option<Box<str>>,
        fence: impl FnOnce() -> Fence,
    ) -> Option<Leader<L>> {
        if under_way.count >= self.max {
            return None;
        }
        under_way.count += 1;
        let fetch = Fetch::new(&self.turns);
        Some(self.begin(under_way, key, collapse_key, true, fetch, fence))
    }

    /// One of the whole of `key` that is never one too many: beyond the bound it does not count.
    fn begin_anyway(
        self: &Arc<Self>,
        under_way: &mut UnderWay<L>,
        key: &Arc<str>,
        fetch: &Arc<Fetch>,
        fence: impl FnOnce() -> Fence,
    ) -> Leader<L> {
        let counts = under_way.count < self.max;
        under_way.count += usize::from(counts);
        self.begin(under_way, key, Some("".into()), counts, Arc::clone(fetch), fence)
    }

    fn begin(
        self: &Arc<Self>,
        under_way: &mut UnderWay<L>,
        key: &Arc<str>,
        collapse_key: Option<Box<str>>,
        counts: bool,
        fetch: Arc<Fetch>,
        fence: impl FnOnce() -> Fence,
    ) -> Leader<L> {
        let (sender, open) = match collapse_key {
            Some(collapse_key) => {
                let (sender, landing) = watch::channel(None);
                (Some(sender), Some(Open { collapse_key, landing }))
            }
            None => (None, None),
        };
        let (revoked, counts) = (AtomicBool::new(false), AtomicBool::new(counts));
        let is_looking = AtomicBool::new(self.look_below && open.is_some());
        let flight = Arc::new(Flight {
            open,
            fence: AtomicU64::new(fence()),
            revoked,
            is_looking,
            was_passed_over: AtomicBool::new(false),
            counts,
            has_ended: AtomicBool::new(false),
            followers: AtomicUsize::new(0),
            #[cfg(feature = "http")]
            waiters: AboutWaiters::default(),
            began: Instant::now(),
            fetch,
            watch: OnceLock::new(),
            is_undriven: Notify::new(),
            #[cfg(any(feature = "http", shuttle))]
            is_polled: AtomicBool::new(false),
        });
        under_way.insert(key, &flight);
        let (flights, key) = (Arc::clone(self), Arc::clone(key));
        Leader { flights, key, flight, sender }
    }

    /// A purge of `key` begins: who asks from now on starts a new flight, and those under way may
    /// no longer store. Call it *before* removing the key from the tiers.
    pub(crate) fn revoke(&self, key: &str) {
        let mut under_way = self.lock();
        // Most often there are none: hashing the key would be in vain.
        if under_way.by_key.is_empty() {
            return;
        }
        let Some((key, mut flights)) = under_way.by_key.remove_entry(key) else { return };
        flights.retain(|flight| !flight.is_reached());
        if !flights.is_empty() {
            under_way.by_key.insert(key, flights);
        }
    }

    /// The same, but for the flight whose fetch has this number: it is the cause.
    #[cfg(feature = "http")]
    pub(crate) fn revoke_beside(&self, key: &str, number: u64) {
        let mut under_way = self.lock();
        let Some((key, flights)) = under_way.by_key.remove_entry(key) else { return };
        for flight in flights {
            if flight.fetch.number() == number || !flight.is_reached() {
                under_way.insert(&key, &flight);
            }
        }
    }

    /// The same for every key that `is_named`.
    pub(crate) fn revoke_where(&self, is_named: impl Fn(&str) -> bool) {
        self.lock().revoke(is_named);
    }

    /// Nobody joins it any more.
    fn close(&self, key: &str, flight: &Arc<Flight<L>>) {
        self.lock().remove(key, flight);
    }

    /// The same, it no longer counts, and its turn is another's.
    fn end(&self, key: &str, flight: &Arc<Flight<L>>) {
        let is_first = {
            let mut under_way = self.lock();
            under_way.remove(key, flight);
            if flight.counts.swap(false, Ordering::Relaxed) {
                under_way.count -= 1;
            }
            !flight.has_ended.swap(true, Ordering::Relaxed)
        };
        if is_first {
            flight.fetch.end_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, UnderWay<L>> {
        // Nothing under this lock can panic half-way through a change.
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right, and the duty, to fetch one key. Dropping it without landing hands over to a follower. Whoever
/// catches its fetch's panic lands that; one that goes down with it tells them all, if it is `Polled`.
pub(crate) struct Leader<L> {
    flights: Arc<Flights<L>>,
    key: Arc<str>,
    flight: Arc<Flight<L>>,
    /// There is none where nobody may join.
    sender: Option<watch::Sender<Option<Landing<L>>>>,
}

impl<L> Leader<L> {
    pub(crate) fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// The purges this flight's fetch knows of.
    pub(crate) fn fence(&self) -> Fence {
        self.flight.fence.load(Ordering::Relaxed)
    }

    /// It has looked below, and begins: from now on purges reach it, and it knows of all before. `fence` is read
    /// under the table's lock, so that no purge falls between the two.
    pub(crate) fn begin(&self, fence: impl FnOnce() -> Fence) {
        let _under_way = self.flights.lock();
        self.flight.is_looking.store(false, Ordering::Relaxed);
        if !self.is_revoked() {
            self.flight.fence.store(fence(), Ordering::Relaxed);
        }
    }

    /// Whether a purge of this key came while it looked below: its fetch begins later than that, but what was in
    /// memory before may be what was purged, and is not to be confirmed.
    #[cfg(feature = "http")]
    pub(crate) fn was_passed_over(&self) -> bool {
        self.flight.was_passed_over.load(Ordering::Relaxed)
    }

    /// Whether a purge of this key came in between; asked under the tier's lock.
    pub(crate) fn is_revoked(&self) -> bool {
        self.flight.revoked.load(Ordering::Acquire)
    }

    /// Whether it is one of those that may be under way at once.
    pub(crate) fn counts(&self) -> bool {
        self.flight.counts.load(Ordering::Relaxed)
    }

    /// What others may know of this flight's fetch.
    pub(crate) fn fetch(&self) -> &Arc<Fetch> {
        &self.flight.fetch
    }

    /// Somebody who waits for this flight to land.
    pub(crate) fn follower(&self) -> Follower<L> {
        Follower::of(&self.flights, &self.key, &self.flight)
    }

    /// Those who wait for it.
    #[cfg(feature = "http")]
    pub(crate) fn waiters(&self) -> Waiters<L> {
        Waiters(Arc::clone(&self.flight))
    }

    /// From now on it goes on though all who wait for it leave.
    #[cfg(feature = "http")]
    pub(crate) fn go_on(&self) {
        self.flight.waiters.goes_on.store(true, Ordering::Release);
    }

    /// For the task that runs the fetch.
    #[cfg(any(feature = "http", shuttle))]
    pub(crate) fn polled(&self) -> Polled<L> {
        Polled(Arc::clone(&self.flight))
    }

    /// Says for whom it was begun.
    #[cfg(feature = "http")]
    pub(crate) fn asked_by(&self, client: u64) {
        self.flight.waiters.asked_by.store(client, Ordering::Release);
    }

    /// Gives it a name, which those learn who wait for it. The first one counts.
    #[cfg(feature = "http")]
    pub(crate) fn call(&self, name: [u8; 24]) {
        self.flight.waiters.name.set(name).ok();
    }

    /// Hands `landing` to those who wait and those who join from now on, while the flight goes on.
    #[cfg(feature = "http")]
    pub(crate) fn announce(&self, landing: L) {
        self.tell(Landing::Landed(landing));
    }

    fn tell(&self, landing: Landing<L>) {
        if let Some(sender) = &self.sender {
            sender.send_replace(Some(landing));
        }
    }

    /// Nobody joins any more; those who have go on. It counts no longer: what it brings is not for
    /// the cache, and no faster than its readers.
    #[cfg(feature = "http")]
    pub(crate) fn withdraw(&self) {
        self.flights.end(&self.key, &self.flight);
    }

    /// Ends the flight for everybody but its own reader, who may be told more by landing: what it brings
    /// from now on is not for the cache.
    pub(crate) fn give_up(&self, landing: L) {
        self.flight.revoke();
        self.flights.end(&self.key, &self.flight);
        self.tell(Landing::Landed(landing));
    }

    /// Ends the flight. Whoever asks from now on looks in the tiers first, so store before landing.
    pub(crate) fn land(self, landing: L) {
        self.flights.end(&self.key, &self.flight);
        self.tell(Landing::Landed(landing));
    }
}

impl<L> Drop for Leader<L> {
    fn drop(&mut self) {
        self.flights.end(&self.key, &self.flight);
        #[cfg(any(feature = "http", shuttle))]
        if let Some(sender) = &self.sender
            && std::thread::panicking()
            && self.flight.is_polled.load(Ordering::Relaxed)
            && sender.borrow().is_none()
        {
            self.tell(Landing::Panicked);
        }
    }
}

/// A flight whose leader is part of what is [polled](Polled::run). If that panics, its followers are told; a
/// leader that goes down with something else (its reader's task, a runtime) hands over.
#[cfg(any(feature = "http", shuttle))]
pub(crate) struct Polled<L>(Arc<Flight<L>>);

#[cfg(any(feature = "http", shuttle))]
impl<L> Polled<L> {
    pub(crate) async fn run<F: Future>(self, mut future: Pin<&mut F>) -> F::Output {
        poll_fn(|context| {
            self.0.is_polled.store(true, Ordering::Relaxed);
            let _over = Over(&self.0.is_polled);
            future.as_mut().poll(context)
        })
        .await
    }
}

/// Lowers a flag, also if there is a panic.
#[cfg(any(feature = "http", shuttle))]
struct Over<'a>(&'a AtomicBool);

#[cfg(any(feature = "http", shuttle))]
impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Those who wait for a flight.
#[cfg(feature = "http")]
pub(crate) struct Waiters<L>(Arc<Flight<L>>);

#[cfg(feature = "http")]
impl<L> Waiters<L> {
    /// Waits until all have left who waited; for ever if the flight [goes on](Leader::go_on) without
    /// them. Somebody may join before the flight is ended: its leader's drop tells him to begin anew.
    pub(crate) async fn gone(&self) {
        let Flight { followers, waiters: AboutWaiters { goes_on, deserted, .. }, .. } = &*self.0;
        // A permit is kept for who looks a moment later, so no departure is missed.
        while followers.load(Ordering::Acquire) > 0 || goes_on.load(Ordering::Acquire) {
            deserted.notified().await;
        }
    }

    /// Waits until somebody else than [it was begun for](Leader::asked_by) waits for it.
    pub(crate) async fn of_several(&self) {
        let AboutWaiters { is_of_several, joined, .. } = &self.0.waiters;
        while !is_of_several.load(Ordering::Acquire) {
            joined.notified().await;
        }
    }
}

/// A reader that waits for a fetch. Dropping it leaves the flight alone, but for the one who runs the
/// fetch, who may mind that nobody waits any more (`Waiters`).
pub(crate) struct Follower<L> {
    flights: Arc<Flights<L>>,
    key: Arc<str>,
    flight: Arc<Flight<L>>,
}

impl<L> Follower<L> {
    fn of(flights: &Arc<Flights<L>>, key: &Arc<str>, flight: &Arc<Flight<L>>) -> Self {
        flight.followers.fetch_add(1, Ordering::AcqRel);
        let (flights, key, flight) = (Arc::clone(flights), Arc::clone(key), Arc::clone(flight));
        Follower { flights, key, flight }
    }
}

impl<L> Drop for Follower<L> {
    fn drop(&mut self) {
        if self.flight.followers.fetch_sub(1, Ordering::AcqRel) == 1 {
            #[cfg(feature = "http")]
            self.flight.waiters.deserted.notify_one();
        }
    }
}

impl<L: Clone> Follower<L> {
    /// Says who waits.
    #[cfg(feature = "http")]
    pub(crate) fn asked_by(&self, client: u64) {
        let waiters = &self.flight.waiters;
        if waiters.asked_by.load(Ordering::Acquire) != client
            && !waiters.is_of_several.swap(true, Ordering::AcqRel)
        {
            waiters.joined.notify_one();
        }
    }

    /// What others may know of the flight's fetch.
    pub(crate) fn fetch(&self) -> &Arc<Fetch> {
        &self.flight.fetch
    }

    /// The name of the flight, if it has one by now.
    #[cfg(feature = "http")]
    pub(crate) fn called(&self) -> Option<[u8; 24]> {
        self.flight.waiters.name.get().copied()
    }

    /// Whether there is something to share already.
    #[cfg(feature = "http")]
    pub(crate) fn has_landed(&self) -> bool {
        self.flight.open.as_ref().is_some_and(|open| open.landing.borrow().is_some())
    }

    pub(crate) fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// Whether a purge of this key came in between.
    pub(crate) fn is_revoked(&self) -> bool {
        self.flight.revoked.load(Ordering::Acquire)
    }

    /// Whether its fetch began before a purge of what it fetches that does not reach flights, as those by tag do not:
    /// `was_purged_since` tells of a fence. One that still looks below has not begun.
    pub(crate) fn is_overtaken(&self, was_purged_since: impl FnOnce(Fence) -> bool) -> bool {
        !self.flight.is_looking.load(Ordering::Relaxed)
            && was_purged_since(self.flight.fence.load(Ordering::Relaxed))
    }

    /// Waits for the landing. `None`: the leader gave up, so join again (and perhaps lead).
    pub(crate) async fn landing(&self) -> Option<Landing<L>> {
        self.landing_that(|_| true).await
    }

    /// The same for a reader to whom not every landing is the end.
    pub(crate) async fn landing_that(
        &self,
        is_final: impl Fn(&Landing<L>) -> bool,
    ) -> Option<Landing<L>> {
        let mut landing = self.flight.open.as_ref()?.landing.clone();
        let is_final = |landing: &Option<Landing<L>>| landing.as_ref().is_some_and(&is_final);
        landing.wait_for(is_final).await.ok()?.clone()
    }

    /// What this flight brings is not for this reader (a purge came in between), or it no longer
    /// believes that it lands: the next to ask starts a new one. It goes on for those it has, and may
    /// no longer store, since later purges of the key would not find it. A younger flight that has
    /// the key by now is left alone.
    pub(crate) fn give_up(&self) {
        self.flight.revoke();
        self.flights.close(&self.key, &self.flight);
    }

    /// The same, for one whose task nobody drives: nor does it count any more, and its turn is another's.
    /// False if somebody has done so before.
    pub(crate) fn take_over(&self) -> bool {
        let is_first = !self.flight.revoked.swap(true, Ordering::AcqRel);
        self.flights.end(&self.key, &self.flight);
        self.flight.fetch.give_up();
        is_first
    }
}

impl<L: Send + Sync + 'static> Follower<L> {
    /// Whether nobody has driven the flight's task for a second, as far as anybody has asked.
    pub(crate) fn is_undriven(&self) -> bool {
        self.flight.fetch.pulse().is_lost()
    }

    /// Waits until nobody drives the flight's task, for a second or two.
    pub(crate) async fn undriven(&self) {
        self.flight.watch.get_or_init(|| {
            let flight: Weak<Flight<L>> = Arc::downgrade(&self.flight);
            pulse::watch(self.flight.fetch.number(), flight)
        });
        self.flight.is_undriven.notified().await;
    }
}

impl<L: Send + Sync> Watched for Flight<L> {
    fn look(&self) {
        if self.fetch.pulse().is_lost() {
            // Those who come later hear of it the next time.
            self.is_undriven.notify_waiters();
        }
    }
}

#[cfg(test)]
impl<L> Flights<L> {
    pub(crate) fn turns(&self) -> &Arc<Turns> {
        &self.turns
    }

    /// Panics if a fetch is under way, or if not all turns have been given back.
    pub(crate) fn assert_idle(&self, turns: usize) {
        let under_way = self.lock();
        assert_eq!((under_way.count, under_way.by_key.len()), (0, 0), "flights that never ended");
        self.turns.assert_idle(turns);
    }
}
