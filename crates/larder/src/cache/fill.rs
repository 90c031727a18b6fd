//! Fill: what happens on a miss and in a refresh: join or lead the key's flight, fetch, store, land.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use larder_policy::reason::Reason;
use tokio::time::timeout;

use super::{Shared, look::Lookup, negative::AnyError, store::Dated};
use crate::{
    answer::{Answer, AnswerSource, Failure, FailureSource, Storage},
    entry::{Facts, Fetched},
    error::FetchError,
    flight::{Follower, Join, Landing, Leader},
    key::CacheKey,
    refresh::Asked,
    stats::{Counters, Event, micros},
    tag::{Fence, Standing, TagId},
};

/// A fetch is given up by its task; only if that task itself no longer runs, by its readers.
const READERS_SLACK: Duration = Duration::from_millis(100);

tokio::task_local! {
    /// The caches whose fetches the current task runs, the outermost first.
    static FETCHING: Vec<CacheId>;
}

/// Tells caches apart while they exist.
type CacheId = usize;

/// What a flight brings to those who wait for it.
#[derive(Clone)]
pub(crate) enum Brought<V> {
    Value(Arc<Delivery<V>>),
    Error { error: AnyError, fence: Fence },
    TookTooLong(Duration),
}

pub(crate) struct Delivery<V> {
    value: V,
    cost: Duration,
    tags: Box<[TagId]>,
    fence: Fence,
    storage: Storage,
}

impl<V> Delivery<V> {
    pub(crate) fn of(fetched: Dated<V>, storage: Storage) -> Self {
        let Facts { cost, tags, fence, .. } = fetched.facts;
        Delivery { value: fetched.value, cost, tags, fence, storage }
    }
}

/// Whether a reader could be given something stale.
#[derive(Clone, Copy)]
pub(super) enum AtHand {
    Stale,
    Nothing,
}

/// How a reader's waiting ended.
enum Waited<V> {
    Landed(Landing<Brought<V>>),
    /// The leader is gone without a landing.
    GaveUp,
    TookTooLong(Duration),
}

/// The caches whose fetches the current task runs.
fn fetching() -> Vec<CacheId> {
    FETCHING.try_with(Clone::clone).unwrap_or_default()
}

/// Whose fetch a reader waited for.
#[derive(Clone, Copy)]
pub(crate) enum Whose {
    Own,
    Anothers,
}

impl<V: Clone + Send + Sync + 'static> Shared<V> {
    /// A miss, start to end: an error that is remembered, somebody else's fetch, or one of its own;
    /// what is at hand if that fails or takes too long.
    pub(super) async fn fill<T, E, F, Fut>(
        self: &Arc<Self>,
        key: &Arc<str>,
        reason: Reason,
        fetch: F,
        at_hand: AtHand,
    ) -> Result<Answer<V>, Failure<E>>
    where
        T: Into<Fetched<V>> + Send,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        if let Some(error) = self.negatives.recall(key, self.clock.now()) {
            return match self.rescue(key, at_hand, Reason::StaleIfError) {
                Some(stale) => Ok(stale),
                None => {
                    self.counters.negative_hits.increment();
                    let source = FailureSource::Remembered;
                    Err(Failure { error: FetchError::Failed(error), source })
                }
            };
        }
        self.counters.misses.increment();
        let mut flight = pin!(self.fly(key, reason, fetch));
        let landed = match (at_hand, self.soft_timeout) {
            (AtHand::Stale, Some(limit)) => match timeout(limit, flight.as_mut()).await {
                Ok(landed) => landed,
                Err(_) => match self.rescue(key, at_hand, Reason::SoftTimeout) {
                    Some(stale) => return Ok(stale),
                    None => flight.await,
                },
            },
            (AtHand::Stale, None) | (AtHand::Nothing, _) => flight.await,
        };
        landed.or_else(|failure| self.rescue(key, at_hand, Reason::StaleIfError).ok_or(failure))
    }

    /// Joins the key's flight, or starts it, and waits for its landing.
    async fn fly<T, E, F, Fut>(
        self: &Arc<Self>,
        key: &Arc<str>,
        reason: Reason,
        fetch: F,
    ) -> Result<Answer<V>, Failure<E>>
    where
        T: Into<Fetched<V>> + Send,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        let failed = |error| Err(Failure { error, source: FailureSource::Fetched(reason) });
        let asked = self.tags.fence();
        let leader = loop {
            match self.flights.join(key, || self.tags.fence()) {
                Join::Lead(leader) => break leader,
                Join::TooMany => return failed(FetchError::TooMany),
                Join::Follow(follower) => match self.wait(follower).await {
                    Waited::Landed(landing) => {
                        if let Some(shared) = self.share(landing, asked, Whose::Anothers, reason) {
                            self.counters.collapsed.increment();
                            return shared;
                        }
                    }
                    Waited::GaveUp => {}
                    Waited::TookTooLong(limit) => {
                        let source = FailureSource::Collapsed(reason);
                        return Err(Failure { error: FetchError::Timeout { limit }, source });
                    }
                },
            }
        };
        // Another flight may have landed between the look-up and the lead.
        if let Lookup::Fresh { answer, .. } = self.look(key) {
            return Ok(answer);
        }
        if let Some(error) = self.negatives.recall(key, self.clock.now()) {
            let source = FailureSource::Remembered;
            return Err(Failure { error: FetchError::Failed(error), source });
        }
        if self.tasks.is_closed() {
            return failed(FetchError::ShutDown);
        }
        let mine = leader.follower();
        let (shared, within) = (Arc::clone(self), fetching());
        // Its reader is told how it went, and holds nothing back.
        self.tasks.spawn(async move { _ = shared.lead(leader, fetch, within).await });
        match self.wait(mine).await {
            Waited::Landed(landing) => {
                let shared = self.share(landing, asked, Whose::Own, reason);
                shared.expect("a fetch of this reader's own is no older, and its error is its own")
            }
            Waited::GaveUp => failed(FetchError::ShutDown),
            Waited::TookTooLong(limit) => failed(FetchError::Timeout { limit }),
        }
    }

    /// Waits for a landing. The fetch has its own limit, but its task may no longer run: then its
    /// readers give it up, and the next one starts anew.
    async fn wait(&self, follower: Follower<Brought<V>>) -> Waited<V> {
        let landing = match self.hard_timeout {
            None => follower.landing().await,
            Some(limit) => {
                match timeout(limit.saturating_add(READERS_SLACK), follower.landing()).await {
                    Ok(landing) => landing,
                    Err(_) => {
                        follower.give_up();
                        return Waited::TookTooLong(limit);
                    }
                }
            }
        };
        landing.map_or(Waited::GaveUp, Waited::Landed)
    }

    /// A refresh behind the readers' backs.
    pub(super) fn refresh<T, E, F, Fut>(
        self: &Arc<Self>,
        key: CacheKey<'_>,
        worth: Duration,
        fetch: F,
    ) where
        T: Into<Fetched<V>> + Send,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        if !self.refreshes.is_wanted(key.as_str())
            || self.negatives.recall::<E>(key.as_str(), self.clock.now()).is_some()
        {
            return;
        }
        if self.is_held_back(key.as_str()) {
            self.counters.refreshes_held_back.increment();
            return;
        }
        let key = key.into_shared();
        let asked = self.refreshes.ask(&key, worth, || {
            let (shared, key) = (Arc::clone(self), Arc::clone(&key));
            let within = fetching();
            Box::pin(async move {
                // A reader may have started one meanwhile.
                let Join::Lead(leader) = shared.flights.join(&key, || shared.tags.fence()) else {
                    return;
                };
                // Or somebody has inserted a newer value.
                if let Lookup::Fresh { is_aging: false, .. } = shared.look(&key) {
                    return;
                }
                shared.counters.refreshes.increment();
                let mut attempt = Attempt { shared: &shared, key: &key, failed: false };
                attempt.failed = !shared.lead(leader, fetch, within).await;
            })
        });
        if asked == Asked::OneDropped {
            self.counters.refreshes_dropped.increment();
        }
    }

    /// Whether the last refresh of `key` failed just now, and its entry was not purged since.
    pub(crate) fn is_held_back(&self, key: &str) -> bool {
        self.backoffs.holds_back(key, self.clock.now(), |fence| {
            let standing = self.memory.peek(key, |entry| self.tags.standing(entry.tags(), fence));
            standing.is_some_and(|standing| standing != Standing::Untouched)
        })
    }

    /// The leader's part: fetch, store, land. True if it brought a value.
    async fn lead<T, E, F, Fut>(
        &self,
        leader: Leader<Brought<V>>,
        fetch: F,
        within: Vec<CacheId>,
    ) -> bool
    where
        T: Into<Fetched<V>> + Send,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        let key = Arc::clone(leader.key());
        let fetching = self.fetch(fetch, within);
        let fetched = match self.hard_timeout {
            None => Ok(fetching.await),
            Some(limit) => timeout(limit, fetching).await.map_err(|_| limit),
        };
        let brought = match fetched {
            Ok(Ok((fetched, cost))) => {
                let fetched = self.dated(&key, fetched.into(), cost, leader.fence());
                let storage = self.store(&key, &fetched, || leader.is_revoked());
                let not_stored = match storage {
                    Storage::Not(reason) => Some(reason),
                    Storage::FreshFor(_) | Storage::StaleFor(_) => None,
                };
                self.backoffs.forget(&key);
                let took = fetched.facts.cost;
                self.counters.tell(|| Event::Fetched { key: Arc::clone(&key), took, not_stored });
                Brought::Value(Arc::new(Delivery::of(fetched, storage)))
            }
            Ok(Err(error)) => {
                let error: AnyError = Arc::new(error);
                // An error has no tags, so any purge since may have been meant for it.
                let fenced = || leader.is_revoked() || self.tags.fence() != leader.fence();
                let (now, fence) = (self.clock.now(), leader.fence());
                self.negatives.remember::<E>(&key, &error, now, fence, fenced);
                self.counters.tell(|| Event::FetchFailed { key: Arc::clone(&key) });
                Brought::Error { error, fence: leader.fence() }
            }
            Err(limit) => {
                self.counters.tell(|| Event::FetchFailed { key: Arc::clone(&key) });
                Brought::TookTooLong(limit)
            }
        };
        let is_value = matches!(brought, Brought::Value(_));
        leader.land(brought);
        is_value
    }

    /// Waits for a turn, and fetches. What the fetch cost in time comes with its result.
    ///
    /// A fetch that is needed by another fetch of this cache (`within`) takes no turn of its own: if
    /// all that have one waited for such, none would ever end.
    async fn fetch<T, E, F, Fut>(
        &self,
        fetch: F,
        mut within: Vec<CacheId>,
    ) -> Result<(T, Duration), E>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let id: CacheId = (&raw const *self).addr();
        let _turn = if within.contains(&id) {
            None
        } else {
            within.push(id);
            Some(self.fetches.acquire().await.expect("the semaphore is never closed"))
        };
        let load = Load::begin(&self.counters);
        let began = self.clock.now_precisely();
        let fetched = FETCHING.scope(within, async { fetch().await }).await;
        let cost = self.clock.now_precisely().since(began);
        self.counters.fetch_took(cost);
        let fetched = fetched?;
        load.succeed();
        Ok((fetched, cost))
    }

    /// What a landing means to a reader that asked when `asked` was the newest purge. `None`: nothing,
    /// so it has to ask again. Either what was brought has been purged since its fetch began, perhaps
    /// before this reader asked; or the error is of a type this reader does not know.
    pub(crate) fn share<E: Send + Sync + 'static>(
        &self,
        landing: Landing<Brought<V>>,
        asked: Fence,
        whose: Whose,
        reason: Reason,
    ) -> Option<Result<Answer<V>, Failure<E>>> {
        let error = match landing {
            Landing::Landed(Brought::Value(delivery)) => {
                let is_older = delivery.fence < asked
                    && self.tags.standing(&delivery.tags, delivery.fence) != Standing::Untouched;
                let source = match whose {
                    Whose::Own => AnswerSource::Fetched(reason),
                    Whose::Anothers => AnswerSource::Collapsed(reason),
                };
                return (!is_older).then(|| {
                    Ok(Answer {
                        value: delivery.value.clone(),
                        source,
                        age: Duration::ZERO,
                        storage: delivery.storage,
                        cost: delivery.cost,
                    })
                });
            }
            // An error has no tags, so any purge since may have been meant for it.
            Landing::Landed(Brought::Error { fence, .. }) if fence < asked => return None,
            Landing::Landed(Brought::Error { error, .. }) => {
                FetchError::Failed(error.downcast().ok()?)
            }
            Landing::Landed(Brought::TookTooLong(limit)) => FetchError::Timeout { limit },
            Landing::Panicked => FetchError::Panicked,
        };
        let source = match whose {
            Whose::Own => FailureSource::Fetched(reason),
            Whose::Anothers => FailureSource::Collapsed(reason),
        };
        Some(Err(Failure { error, source }))
    }

    /// What there is for a reader whose fetch failed or takes too long, looked for anew: while it
    /// waited, time went on, and somebody may have purged or inserted.
    fn rescue(&self, key: &str, at_hand: AtHand, reason: Reason) -> Option<Answer<V>> {
        if let AtHand::Nothing = at_hand {
            return None;
        }
        match self.look(key) {
            Lookup::Fresh { answer, .. } => Some(answer),
            Lookup::Usable(mut stale) | Lookup::LastResort(mut stale) => {
                stale.source = AnswerSource::Stale(reason);
                self.stale_served(key, &stale);
                Some(stale)
            }
            Lookup::Miss(_) => None,
        }
    }

    pub(super) fn stale_served(&self, key: &str, answer: &Answer<V>) {
        self.counters.tally().stale_served(micros(answer.cost));
        self.counters.tell(|| Event::StaleServed { key: key.into(), reason: answer.reason() });
    }
}

/// A refresh under way. If it fails or panics, the next one of its key is held back; one that is
/// dropped, with its runtime perhaps, says nothing about the origin.
pub(crate) struct Attempt<'a, V> {
    pub(crate) shared: &'a Shared<V>,
    pub(crate) key: &'a str,
    pub(crate) failed: bool,
}

impl<V> Drop for Attempt<'_, V> {
    fn drop(&mut self) {
        let Shared { backoffs, clock, tags, counters, .. } = self.shared;
        if (self.failed || std::thread::panicking())
            && backoffs.failed(self.key, clock.now(), tags.fence())
        {
            counters.backoffs_forgotten.increment();
        }
    }
}

/// One fetch in the books: begun it counts as a load, and unless it succeeds (it fails, panics, is
/// dropped) as a failed one.
pub(crate) struct Load<'a>(Option<&'a Counters>);

impl<'a> Load<'a> {
    pub(crate) fn begin(counters: &'a Counters) -> Self {
        counters.loads.increment();
        Load(Some(counters))
    }

    pub(crate) fn succeed(mut self) {
        self.0 = None;
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        if let Some(counters) = self.0 {
            counters.load_failures.increment();
        }
    }
}
