//! Many: several keys in one call, with one fetch for those that are missing.
//!
//! ```text
//! a  fresh            ───────────────────────────────────────────► its value
//! b  missing      ┐   led together: one fetch of [b, c] ───┬─────► stored, shared
//! c  missing      ┘                                        └─────► not in the answer: not in the result either
//! d  under way        followed ·································► what that flight brings
//! ```
//!
//! Each key has a flight of its own, so that a purge, a reader or a failure of one concerns that one alone.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use larder_policy::reason::Reason;

use super::{
    Cache, Library,
    below::{For, Found as FoundBelow, Looked},
    drop_before,
    landing::FlightResult,
    miss::{AtHand, Panic, Waited, Whose, caught},
    negative::Failed,
    read::{ReadOptions, Wants},
};
use crate::{
    answer::Answer,
    engine::{
        flight::{Follower, Join, Leader},
        look::{ANY_AGE, Found, Lookup, Shape},
    },
    entry::Fetched,
    error::FetchError,
    key::CacheKey,
    needs::{self, Need},
    purge::Fence,
    span::FetchSpan,
    sync,
    turns::Fetch,
};

/// The tier below is asked for so many keys at once.
const ASKED_AT_ONCE: usize = 32;

/// The values of several keys. A list until it is handed out: where a `Drop` panics, a list drops all others
/// and a map leaks them.
type Values<V> = Vec<(Arc<str>, V)>;

/// What a look at several keys finds.
struct Survey<V> {
    /// What is fresh.
    values: Values<V>,
    missing: Vec<Missing>,
    /// What may be served while it is refreshed.
    stale: Vec<(Arc<str>, Box<Answer<V>>)>,
    /// What is fresh and to be refreshed, with what its fetch cost in time.
    aging: Vec<(Arc<str>, Duration)>,
}

/// A key that is to be fetched.
struct Missing {
    key: Arc<str>,
    reason: Reason,
    at_hand: AtHand,
}

/// A key's flight that is led with others.
struct Led<V> {
    leader: Leader<FlightResult<V>>,
    /// It has looked below in vain.
    looked: Option<Box<Looked>>,
}

/// What waiting for one key's flight has come to.
enum Ended<V, E> {
    Value(Box<Answer<V>>),
    /// The origin does not have it.
    Absent,
    Failed(FetchError<E>),
    /// Nothing that could be shared.
    Nothing,
}

impl<V: Clone + Send + Sync + 'static> Cache<V> {
    /// The values under `keys`: those that are stored, and those that one `fetch` brings for all that are
    /// missing and that nobody fetches already. What others fetch is waited for and shared, as
    /// [`try_get_or_fetch`](Cache::try_get_or_fetch) does; and so is what this one brings.
    ///
    /// `fetch` is called at most once, with the missing keys (each once, in the order of `keys`), and answers
    /// pairs of a key and its value: a list, a `HashMap`, whatever can be iterated. A key that it leaves
    /// out is not in the result, is not remembered as missing, and is fetched anew by those who wait for it;
    /// a pair that was not asked for is dropped.
    ///
    /// ```
    /// # use larder::Cache;
    /// # use std::sync::Arc;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let posts = Cache::<String>::builder().build();
    /// posts.insert("post:1", "the first".to_owned());
    /// // SELECT … WHERE id IN (2, 3). There is no third.
    /// let select = async |missing: Vec<Arc<str>>| {
    ///     assert!(missing.iter().map(|key| &**key).eq(["post:2", "post:3"]));
    ///     Ok::<_, String>(vec![("post:2", "the second".to_owned())])
    /// };
    /// let found = posts.try_get_many_or_fetch(["post:1", "post:2", "post:3"], select).await.unwrap();
    /// assert_eq!((&*found["post:1"], &*found["post:2"], found.len()), ("the first", "the second", 2));
    /// assert_eq!(posts.get("post:2").as_deref(), Some("the second"));
    /// # }
    /// ```
    ///
    /// It is one fetch: it takes one turn ([`Builder::max_concurrent_fetches`](crate::Builder::max_concurrent_fetches)),
    /// has one time limit, and what it cost is what each of its values cost. Each key is still purged,
    /// stored and waited for by itself. Keys that may be served stale while they are refreshed are fetched
    /// along where others are missing, and otherwise served at once and refreshed behind.
    ///
    /// Dropping the returned future leaves a fetch that has begun alone: its values are stored.
    ///
    /// # Errors
    ///
    /// The error of one of the keys, if there is any for which nothing stale can stand in
    /// ([`Builder::stale_if_error`](crate::Builder::stale_if_error)): its fetch failed, took too long or
    /// panicked, or did so a moment ago. What could be fetched is stored nevertheless.
    /// [`FetchError::TooMany`] if so many keys cannot be fetched at once: sixteen times as many as fetches
    /// may run, and at least 1024, are under way in all.
    pub async fn try_get_many_or_fetch<'k, K, N, T, E, I, F, Fut>(
        &self,
        keys: impl IntoIterator<Item = K>,
        fetch: F,
    ) -> Result<HashMap<Arc<str>, V>, FetchError<E>>
    where
        K: Into<CacheKey<'k>>,
        N: AsRef<str>,
        T: Into<Fetched<V>>,
        E: fmt::Display + Send + Sync + 'static,
        I: IntoIterator<Item = (N, T)> + Send,
        F: FnOnce(Vec<Arc<str>>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<I, E>> + Send,
    {
        let library = &self.library;
        let Survey { mut values, mut missing, stale, aging } =
            library.look_for(keys.into_iter().map(Into::into));
        if missing.is_empty() {
            let served = stale.iter().map(|(key, answer)| (Arc::clone(key), answer.cost));
            let to_refresh: Vec<_> = served.chain(aging).collect();
            for (key, answer) in stale {
                library.stale_served(&key, &answer);
                values.push((key, answer.value));
            }
            match to_refresh.is_empty() {
                true => drop_before(fetch, &values),
                false => library.refresh_several(to_refresh, fetch),
            }
            return Ok(values.into_iter().collect());
        }
        // There is something to wait for, and then something new for all. What is fresh is left to its next reader.
        missing.extend(stale.into_iter().map(|(key, _)| Missing {
            key,
            reason: Reason::Expired,
            at_hand: AtHand::Stale,
        }));
        let library = Arc::clone(library);
        let filling = Box::pin(async move {
            let span = FetchSpan::of_reader();
            let fetch = move |keys| {
                let fetching = span.call(|| fetch(keys));
                span.around(fetching)
            };
            library.miss_several(missing, values, fetch).await
        });
        Ok(filling.await?.into_iter().collect())
    }
}

impl<V: Clone + Send + Sync + 'static> Library<V> {
    /// Looks at each key once.
    fn look_for<'k>(&self, keys: impl Iterator<Item = CacheKey<'k>>) -> Survey<V> {
        let mut survey = Survey {
            values: Vec::new(),
            missing: Vec::new(),
            stale: Vec::new(),
            aging: Vec::new(),
        };
        let mut seen = HashSet::new();
        for key in keys.map(CacheKey::into_shared) {
            if !seen.insert(Arc::clone(&key)) {
                continue;
            }
            let lookup = match self.engine.find(&key) {
                Found::Plain(value) => {
                    survey.values.push((key, value));
                    continue;
                }
                Found::Other(seen) => self.engine.look_on(&key, seen, ANY_AGE),
            };
            let (reason, at_hand) = match lookup {
                Lookup::Usable { answer, shape: Shape::Stale } => {
                    survey.stale.push((key, Box::new(answer)));
                    continue;
                }
                Lookup::Usable { answer, shape } => {
                    let Answer { value, cost, .. } = answer;
                    if shape == Shape::Aging {
                        survey.aging.push((Arc::clone(&key), cost));
                    }
                    survey.values.push((key, value));
                    continue;
                }
                Lookup::LastResort(_) => (Reason::Expired, AtHand::Stale),
                Lookup::Miss(reason) if self.beneath.is_some() => (reason, AtHand::Perhaps),
                Lookup::Miss(reason) => (reason, AtHand::Nothing),
            };
            survey.missing.push(Missing { key, reason, at_hand });
        }
        survey
    }

    /// A miss of several keys, start to end: failures that are remembered, others' fetches and one of its own;
    /// what is at hand where they fail or take too long.
    async fn miss_several<N, T, E, I, F, Fut>(
        self: &Arc<Self>,
        missing: Vec<Missing>,
        mut values: Values<V>,
        fetch: F,
    ) -> Result<Values<V>, FetchError<E>>
    where
        N: AsRef<str>,
        T: Into<Fetched<V>>,
        E: fmt::Display + Send + Sync + 'static,
        I: IntoIterator<Item = (N, T)> + Send,
        F: FnOnce(Vec<Arc<str>>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<I, E>> + Send,
    {
        let mut open = Vec::with_capacity(missing.len());
        for missing in missing {
            let Some(failed) = self.remembered(&missing.key, ReadOptions::of(Wants::Answer)) else {
                open.push(missing);
                continue;
            };
            if let Some(stale) = self.stand_in(&missing, Reason::StaleIfError) {
                values.push((missing.key, stale.value));
            } else if let Some(error) = failed.into_error() {
                self.engine.counters().negative_hits.increment();
                drop_before((fetch, values), &error);
                return Err(error);
            } else {
                open.push(missing);
            }
        }
        self.engine.counters().misses.add(open.len() as u64);
        let all_at_hand = open.iter().all(|missing| matches!(missing.at_hand, AtHand::Stale));
        let mut filling = pin!(self.fill_several(&open, fetch));
        let filled = match self.engine.soft_timeout {
            Some(limit) if all_at_hand => match sync::in_time(limit, filling.as_mut()).await {
                Ok(filled) => filled,
                Err(_) => {
                    let stale = open.iter().map(|it| self.stand_in(it, Reason::SoftTimeout));
                    match stale.collect::<Option<Vec<_>>>() {
                        Some(stale) => {
                            let keys = open.iter().map(|missing| Arc::clone(&missing.key));
                            values.extend(keys.zip(stale.into_iter().map(|stale| stale.value)));
                            return Ok(values);
                        }
                        None => filling.await,
                    }
                }
            },
            Some(_) | None => filling.await,
        };
        let mut failed = None;
        for (missing, ended) in open.iter().zip(filled) {
            let error = match ended {
                Ended::Value(answer) => {
                    values.push((Arc::clone(&missing.key), answer.value));
                    continue;
                }
                Ended::Absent => continue,
                Ended::Failed(error) => error,
                Ended::Nothing => FetchError::Abandoned,
            };
            match self.stand_in(missing, Reason::StaleIfError) {
                Some(stale) => values.push((Arc::clone(&missing.key), stale.value)),
                None if failed.is_none() => failed = Some(error),
                None => {}
            }
        }
        match failed {
            None => Ok(values),
            Some(error) => {
                drop_before(values, &error);
                Err(error)
            }
        }
    }

    fn stand_in(&self, missing: &Missing, reason: Reason) -> Option<Box<Answer<V>>> {
        self.rescue(&missing.key, missing.at_hand, ANY_AGE, reason)
    }

    /// Joins the flights of all, starts those that nobody has begun, and waits until all have landed. What
    /// lands without being of use is joined again.
    async fn fill_several<N, T, E, I, F, Fut>(
        self: &Arc<Self>,
        missing: &[Missing],
        fetch: F,
    ) -> Vec<Ended<V, E>>
    where
        N: AsRef<str>,
        T: Into<Fetched<V>>,
        E: fmt::Display + Send + Sync + 'static,
        I: IntoIterator<Item = (N, T)> + Send,
        F: FnOnce(Vec<Arc<str>>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<I, E>> + Send,
    {
        let asked = self.engine.asked_at();
        let first_to_share = self.engine.first_to_share();
        let within = needs::within();
        let mut fetch = Some(fetch);
        let mut ended: Vec<Option<Ended<V, E>>> = missing.iter().map(|_| None).collect();
        loop {
            let open: Vec<_> = (0..ended.len()).filter(|&at| ended[at].is_none()).collect();
            if open.is_empty() {
                drop_before(fetch, &ended);
                return ended.into_iter().flatten().collect();
            }
            let fail = |ended: &mut Vec<Option<Ended<V, E>>>, error: FetchError<E>| {
                open.iter().for_each(|&at| ended[at] = Some(Ended::Failed(error.clone())));
            };
            let keys: Vec<_> = open.iter().map(|&at| Arc::clone(&missing[at].key)).collect();
            let flights = &self.flights;
            let anyway = within.is_some();
            let joins = self.engine.join_several(flights, &keys, asked, first_to_share, anyway);
            let Some(joins) = joins else {
                fail(&mut ended, FetchError::TooMany);
                continue;
            };
            let (mut leaders, mut waits) = (Vec::new(), Vec::new());
            for (&at, join) in open.iter().zip(joins) {
                match join {
                    Join::Lead(leader) => match self.fresh(leader.key(), ANY_AGE) {
                        // Another flight may have landed between the look-up and the lead.
                        Some(answer) => ended[at] = Some(Ended::Value(answer)),
                        None => leaders.push((at, leader)),
                    },
                    Join::Follow(follower) => waits.push((at, follower, Whose::Anothers)),
                    Join::TooMany => {}
                }
            }
            if !leaders.is_empty() && fetch.is_none() {
                leaders.drain(..).for_each(|(at, _)| ended[at] = Some(Ended::Nothing));
            }
            // Before the fetch begins: it may ask for what this reader's own fetch is to bring.
            let followed = waits.iter().map(|(_, follower, _)| follower.fetch());
            let led = leaders.first().map(|(_, leader)| leader.fetch());
            let needs: Result<Vec<_>, _> =
                followed.chain(led).map(|fetch| Need::of(within.as_ref(), fetch)).collect();
            let Ok(_needs) = needs else {
                fail(&mut ended, FetchError::Recursive);
                continue;
            };
            waits.extend(leaders.iter().map(|(at, leader)| (*at, leader.follower(), Whose::Own)));
            let wait = || all(waits.iter().map(|wait| self.wait_for_one(wait, asked)));
            let waited = match fetch.take_if(|_| !leaders.is_empty()) {
                None => wait().await,
                Some(_) if self.engine.tasks().is_closed() => {
                    fail(&mut ended, FetchError::ShutDown);
                    continue;
                }
                Some(fetch) => {
                    let mine = leaders[0].1.follower();
                    let leaders = leaders.into_iter().map(|(_, leader)| leader).collect();
                    let library = Arc::clone(self);
                    let leading =
                        Box::pin(async move { _ = library.lead_several(leaders, fetch).await });
                    match self.run_until(leading, &mine, Wants::Answer, wait()).await {
                        Some(waited) => waited,
                        None => wait().await,
                    }
                }
            };
            for (&(at, _, whose), waited) in waits.iter().zip(waited) {
                ended[at] = self.ended(waited, whose, missing[at].reason, asked);
            }
        }
    }

    async fn wait_for_one(
        &self,
        (_, follower, whose): &(usize, Follower<FlightResult<V>>, Whose),
        asked: Fence,
    ) -> Waited<V> {
        match whose {
            Whose::Own => self.wait_until_too_long(follower, asked, follower.landing()).await,
            Whose::Anothers => self.wait(follower, asked).await,
        }
    }

    /// `None`: it is to be asked for again.
    fn ended<E: fmt::Display + Send + Sync + 'static>(
        &self,
        waited: Waited<V>,
        whose: Whose,
        reason: Reason,
        asked: Fence,
    ) -> Option<Ended<V, E>> {
        match (waited, whose) {
            (Waited::TookTooLong(limit), _) => Some(Ended::Failed(FetchError::Timeout { limit })),
            (Waited::GaveUp, Whose::Own) if self.engine.tasks().is_stopped() => {
                Some(Ended::Failed(FetchError::ShutDown))
            }
            (Waited::GaveUp, Whose::Own) => Some(Ended::Absent),
            (Waited::GaveUp, Whose::Anothers) => None,
            (Waited::Landed(landing), _) => {
                let options = ReadOptions::of(Wants::Answer);
                match (self.share(landing, asked, options, whose, reason), whose) {
                    (None, Whose::Own) => Some(Ended::Nothing),
                    (None, Whose::Anothers) => None,
                    (Some(shared), _) => {
                        if let Whose::Anothers = whose {
                            self.engine.counters().collapsed.increment();
                        }
                        Some(match shared {
                            Ok(answer) => Ended::Value(answer),
                            Err(failure) => Ended::Failed(failure.error),
                        })
                    }
                }
            }
        }
    }

    /// A refresh of several keys behind the reader's back. It waits among the refreshes as one of the key whose
    /// fetch cost most.
    fn refresh_several<N, T, E, I, F, Fut>(
        self: &Arc<Self>,
        stale: Vec<(Arc<str>, Duration)>,
        fetch: F,
    ) where
        N: AsRef<str>,
        T: Into<Fetched<V>>,
        E: fmt::Display + Send + Sync + 'static,
        I: IntoIterator<Item = (N, T)> + Send,
        F: FnOnce(Vec<Arc<str>>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<I, E>> + Send,
    {
        let mut wanted = stale;
        wanted.retain(|(key, _)| self.is_refresh_wanted(key));
        if !wanted.is_empty() && !sync::is_in_runtime() {
            // There is nobody to run it; the reader does not wait for it.
            self.engine.counters().refreshes_dropped.increment();
            return;
        }
        wanted.retain(|(key, _)| self.engine.may_refresh(key));
        let Some((first, worth)) = wanted.iter().max_by_key(|(_, worth)| *worth).cloned() else {
            return;
        };
        let span = FetchSpan::behind_reader(&self.name);
        let fetch = move |keys| {
            let fetching = span.call(|| fetch(keys));
            span.around(fetching)
        };
        self.engine.refresh(&first, worth, || {
            let library = Arc::clone(self);
            let keys: Vec<_> = wanted.into_iter().map(|(key, _)| key).collect();
            Box::pin(async move {
                let Library { engine, flights, .. } = &*library;
                let Some(joins) = engine.join_several(flights, &keys, 0, None, false) else {
                    return;
                };
                // A reader may have started one meanwhile, or somebody has inserted a newer value.
                let led = |join| match join {
                    Join::Lead(leader) if !library.is_young(leader.key()) => Some(leader),
                    Join::Lead(_) | Join::Follow(_) | Join::TooMany => None,
                };
                let leaders: Vec<_> = joins.into_iter().filter_map(led).collect();
                if leaders.is_empty() {
                    return;
                }
                let keys: Vec<_> = leaders.iter().map(|leader| Arc::clone(leader.key())).collect();
                let mut attempts: Vec<_> =
                    keys.iter().map(|key| engine.begin_refresh(key)).collect();
                let failed = !library.lead_several(leaders, fetch).await;
                attempts.iter_mut().for_each(|attempt| attempt.failed = failed);
            })
        });
    }

    /// The leader's part: ask below, fetch, and for each key store, land, write below. True if the fetch brought
    /// an answer, or none was needed.
    async fn lead_several<N, T, E, I, F, Fut>(
        &self,
        leaders: Vec<Leader<FlightResult<V>>>,
        fetch: F,
    ) -> bool
    where
        N: AsRef<str>,
        T: Into<Fetched<V>>,
        E: fmt::Display + Send + Sync + 'static,
        I: IntoIterator<Item = (N, T)>,
        F: FnOnce(Vec<Arc<str>>) -> Fut,
        Fut: Future<Output = Result<I, E>>,
    {
        let mut led: Vec<_> =
            leaders.into_iter().map(|leader| Led { leader, looked: None }).collect();
        let Some(flight) = led.first().map(|led| Arc::clone(led.leader.fetch())) else {
            return true;
        };
        // Each stays in the list until it lands: those that are left are told if something panics.
        let bringing = flight.pulse().drive(self.bring_several(&mut led, &flight, fetch));
        match caught(bringing).await {
            Ok(is_answered) => is_answered,
            Err(Panic) => self.fail_all(led, Failed::Panicked),
        }
    }

    async fn bring_several<N, T, E, I, F, Fut>(
        &self,
        led: &mut Vec<Led<V>>,
        flight: &Arc<Fetch>,
        fetch: F,
    ) -> bool
    where
        N: AsRef<str>,
        T: Into<Fetched<V>>,
        E: fmt::Display + Send + Sync + 'static,
        I: IntoIterator<Item = (N, T)>,
        F: FnOnce(Vec<Arc<str>>) -> Fut,
        Fut: Future<Output = Result<I, E>>,
    {
        let spent = self.ask_below_for_several(led).await;
        if led.is_empty() {
            return true;
        }
        let keys: Vec<_> = led.iter().map(|led| Arc::clone(led.leader.key())).collect();
        let fetching = async {
            let places = keys.iter().cloned().zip(0..).collect();
            fetch(keys).await.map(|found| those_asked_for(found, places))
        };
        let fetching = self.fetch(fetching, flight);
        let fetched = match self.engine.hard_timeout {
            None => fetching.await,
            Some(limit) => match sync::in_time(limit.saturating_sub(spent), fetching).await {
                Ok(fetched) => fetched,
                Err(_) => return self.fail_all(std::mem::take(led), Failed::TookTooLong(limit)),
            },
        };
        let (mut found, cost) = match fetched {
            Ok(fetched) => fetched,
            Err(error) => {
                return self.fail_all(std::mem::take(led), Failed::Error(Arc::new(error)));
            }
        };
        while let Some(Led { leader, looked }) = led.last_mut() {
            let fetched = found.pop().flatten();
            let brought = fetched
                .map(|fetched| self.keep(leader, fetched, cost, looked.take(), For::Several));
            // One that brings nothing goes without landing: its followers begin anew.
            if let (Some(Led { leader, .. }), Some(brought)) = (led.pop(), brought) {
                leader.land(brought);
            }
        }
        true
    }

    /// What is found below lands; all others have looked in vain. Tells how long that took.
    async fn ask_below_for_several(&self, led: &mut Vec<Led<V>>) -> Duration {
        let Some(beneath) = &self.beneath else { return Duration::ZERO };
        let mut found = Vec::with_capacity(led.len());
        let mut spent = Duration::ZERO;
        for some in led.chunks(ASKED_AT_ONCE) {
            let asked = some.iter().map(|led| self.ask_below(beneath, &led.leader, For::Several));
            let some_found = all(asked).await;
            let longest = some_found.iter().filter_map(|found| match found {
                FoundBelow::Nothing(looked) => Some(looked.spent),
                FoundBelow::Value(_) => None,
            });
            spent += longest.max().unwrap_or_default();
            found.extend(some_found);
        }
        let asked = std::mem::take(led);
        for (Led { leader, .. }, found) in asked.into_iter().zip(found) {
            match found {
                FoundBelow::Value(dated) => {
                    let brought = self.found(&leader, dated);
                    leader.land(brought);
                }
                FoundBelow::Nothing(looked) => led.push(Led { leader, looked: Some(looked) }),
            }
        }
        spent
    }

    /// All of them end so. False, for that is no answer.
    fn fail_all(&self, led: Vec<Led<V>>, failed: Failed) -> bool {
        for Led { leader, .. } in led {
            let brought = self.failed(&leader, failed.clone());
            leader.land(brought);
        }
        false
    }
}

/// Of what a fetch answers, the first value of each key that it was asked for, at that key's place.
fn those_asked_for<V, N: AsRef<str>, T: Into<Fetched<V>>>(
    found: impl IntoIterator<Item = (N, T)>,
    places: HashMap<Arc<str>, usize>,
) -> Vec<Option<Fetched<V>>> {
    let mut wanted: Vec<_> = places.iter().map(|_| None).collect();
    for (name, value) in found {
        if let Some(&place) = places.get(name.as_ref())
            && wanted[place].is_none()
        {
            wanted[place] = Some(value.into());
        }
    }
    wanted
}

/// What all of `futures` bring, in their order.
async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    poll_fn(|context| {
        let mut is_ready = true;
        for (future, output) in futures.iter_mut().filter(|(_, output)| output.is_none()) {
            match future.as_mut().poll(context) {
                Poll::Ready(brought) => *output = Some(brought),
                Poll::Pending => is_ready = false,
            }
        }
        if is_ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    futures.into_iter().filter_map(|(_, output)| output).collect()
}
