//! Miss: what happens on a miss and in a refresh: join or lead the key's flight, fetch, store, land.

use std::{
    fmt,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use larder_policy::reason::Reason;

use super::{
    Library,
    below::{For, Found, Looked},
    drop_before,
    landing::{Delivery, FlightResult},
    negative::Failed,
    read::{ReadOptions, Wants},
};
use crate::{
    answer::{Answer, AnswerSource, Failure, FailureSource, Storage},
    engine::{
        flight::{Follower, Join, Landing, Leader},
        look::{ANY_AGE, Lookup, MaxAge, Shape},
        store::Dated,
        tasks::Job,
    },
    entry::{Fetched, Tags},
    error::FetchError,
    key::CacheKey,
    needs::{self, Need},
    purge::Fence,
    span::FetchSpan,
    stats::{Event, micros},
    sync,
    turns::Fetch,
};

/// A fetch is given up by its task; only if that task itself no longer runs, by its readers.
const READERS_SLACK: Duration = Duration::from_millis(100);

/// Whether a reader could be given something stale.
#[derive(Clone, Copy)]
pub(super) enum AtHand {
    Stale,
    /// Nothing yet; something may come from below.
    Perhaps,
    Nothing,
}

/// How a reader's waiting ended.
pub(super) enum Waited<V> {
    Landed(Landing<FlightResult<V>>),
    /// The leader is gone without a landing.
    GaveUp,
    TookTooLong(Duration),
}

/// What joining a key's flight has come to.
pub(super) enum Joined<V, E> {
    /// To an answer, or a failure.
    Ended(Result<Box<Answer<V>>, Failure<E>>),
    /// This reader is to fetch; while it does, the need stands.
    Lead(Leader<FlightResult<V>>, Option<Need>),
}

/// Whose fetch a reader waited for.
#[derive(Clone, Copy)]
pub(super) enum Whose {
    Own,
    Anothers,
}

impl<V: Clone + Send + Sync + 'static> Library<V> {
    /// A miss, start to end: a failure that is remembered, or what the key's flight brings, which `join` joins;
    /// what is at hand if that fails or takes too long.
    pub(super) async fn miss<E, Fut>(
        &self,
        key: &str,
        at_hand: AtHand,
        options: ReadOptions,
        join: impl FnOnce() -> Fut,
    ) -> Result<Box<Answer<V>>, Failure<E>>
    where
        E: fmt::Display + Send + Sync + 'static,
        Fut: Future<Output = Result<Box<Answer<V>>, Failure<E>>>,
    {
        let ReadOptions { wants, max_age, .. } = options;
        if let Some(failed) = self.remembered(key, options) {
            if let Some(stale) = self.rescue(key, at_hand, max_age, Reason::StaleIfError) {
                drop_before(join, &stale);
                return Ok(stale);
            }
            if let Some(error) = wants.as_error(failed) {
                self.engine.counters().negative_hits.increment();
                drop_before(join, &error);
                return Err(Failure { error, source: FailureSource::Remembered });
            }
        }
        if options.since.is_none() {
            self.engine.counters().misses.increment();
        }
        let mut flight = pin!(join());
        let landed = match (at_hand, options.soft_timeout.or(self.engine.soft_timeout)) {
            (AtHand::Stale | AtHand::Perhaps, Some(limit)) => {
                match sync::in_time(limit, flight.as_mut()).await {
                    Ok(landed) => landed,
                    Err(_) => match self.rescue(key, at_hand, max_age, Reason::SoftTimeout) {
                        Some(stale) => return Ok(stale),
                        None => flight.await,
                    },
                }
            }
            (_, None) | (AtHand::Nothing, _) => flight.await,
        };
        let answer = landed.or_else(|failure| {
            self.rescue(key, at_hand, max_age, Reason::StaleIfError).ok_or(failure)
        });
        match answer {
            // Its reader has no way to be told, and whoever wrote the fetch must know which one it is.
            Err(Failure { error: FetchError::Recursive, .. }) if wants == Wants::Value => {
                panic!("the fetch of key {key:?} needs its own result")
            }
            answer => answer,
        }
    }

    /// Joins the key's flight, or starts it as a task, and waits for its landing.
    pub(super) async fn join<T, E, F, Fut>(
        self: &Arc<Self>,
        key: &Arc<str>,
        reason: Reason,
        fetch: F,
        options: ReadOptions,
    ) -> Result<Box<Answer<V>>, Failure<E>>
    where
        T: Into<Fetched<V>> + Send,
        E: fmt::Display + Send + Sync + 'static,
        F: FnOnce(&Library<V>, &str) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        let ReadOptions { wants, max_age, since, .. } = options;
        let failed = |error| Err(Failure { error, source: FailureSource::Fetched(reason) });
        let asked = self.engine.asked_at();
        let (leader, _need) = match self.follow_or_lead(key, reason, asked, options).await {
            Joined::Lead(leader, need) => (leader, need),
            Joined::Ended(ended) => {
                drop_before(fetch, &ended);
                return ended;
            }
        };
        let mine = leader.follower();
        let library = Arc::clone(self);
        let whom = match since {
            None => For::Readers { max_age },
            Some(_) => For::Forced,
        };
        // Its reader is told how it went, and holds nothing back. On the heap at once: it is large, and goes
        // through many hands.
        let leading = Box::pin(async move { _ = library.lead(leader, fetch, wants, whom).await });
        match self.run(leading, mine, asked, wants).await {
            Waited::Landed(landing) => self.share_own(landing, asked, options, reason),
            Waited::GaveUp => failed(FetchError::ShutDown),
            Waited::TookTooLong(limit) => failed(FetchError::Timeout { limit }),
        }
    }

    /// Follows the flights of `key` that others lead, one after the other, until one brings what this reader
    /// takes; or until there is none, and this reader is to lead one. `asked`: the last purge in the table
    /// when it asked.
    pub(super) async fn follow_or_lead<E: fmt::Display + Send + Sync + 'static>(
        &self,
        key: &Arc<str>,
        reason: Reason,
        asked: Fence,
        options: ReadOptions,
    ) -> Joined<V, E> {
        let ReadOptions { wants, max_age, since, blocks, .. } = options;
        let failed =
            |error| Joined::Ended(Err(Failure { error, source: FailureSource::Fetched(reason) }));
        let within = needs::within();
        let first_to_share = since.max(self.engine.first_to_share());
        let leader = loop {
            let joined = match (&within, wants) {
                (None, Wants::Answer) => self.engine.join(&self.flights, key),
                // If a fetch that asks for another could be one too many, those under way, which make
                // room by ending, might wait for it. There are no more of them than of those that ask.
                (Some(_), _) | (None, Wants::Value) => self.engine.join_anyway(&self.flights, key),
            };
            let follower = match joined {
                Join::Lead(leader) => break leader,
                Join::TooMany => return failed(FetchError::TooMany),
                Join::Follow(follower) => follower,
            };
            let Ok(_need) = Need::of(within.as_ref(), follower.fetch()) else {
                return failed(FetchError::Recursive);
            };
            let is_earlier = first_to_share.is_some_and(|first| follower.fetch().number() < first);
            match self.wait(&follower, asked).await {
                _ if is_earlier => {}
                Waited::Landed(landing) => {
                    match self.share(landing, asked, options, Whose::Anothers, reason) {
                        Some(Err(_)) if wants == Wants::Value => {}
                        Some(shared) => {
                            self.engine.counters().collapsed.increment();
                            return Joined::Ended(shared);
                        }
                        None => {}
                    }
                }
                Waited::TookTooLong(limit) if wants == Wants::Answer => {
                    let source = FailureSource::Collapsed(reason);
                    let error = FetchError::Timeout { limit };
                    return Joined::Ended(Err(Failure { error, source }));
                }
                Waited::TookTooLong(_) | Waited::GaveUp => {}
            }
        };
        // Before the fetch begins: it may ask for what this reader's own fetch is to bring.
        let Ok(need) = Need::of(within.as_ref(), leader.fetch()) else {
            return failed(FetchError::Recursive);
        };
        if blocks {
            // It runs on this thread, and a turn may be held by what waits for the thread.
            leader.fetch().hurry();
        }
        if within.is_none() && !leader.counts() {
            // There are as many tasks as may be. This fetch becomes one when it can run; until then it
            // is its reader's, who hands it over to those who follow by leaving.
            let fetch = leader.fetch();
            fetch.pulse().drive(self.take_turn(fetch)).await;
        }
        // Another flight may have landed between the look-up and the lead.
        if since.is_none()
            && let Some(answer) = self.fresh(key, max_age)
        {
            return Joined::Ended(Ok(answer));
        }
        let remembered = self.remembered(key, options);
        if let Some(error) = remembered.and_then(|failed| wants.as_error(failed)) {
            return Joined::Ended(Err(Failure { error, source: FailureSource::Remembered }));
        }
        if self.engine.tasks().is_closed() && wants == Wants::Answer {
            return failed(FetchError::ShutDown);
        }
        Joined::Lead(leader, need)
    }

    /// What a landing of a reader's own flight means to it.
    pub(super) fn share_own<E: fmt::Display + Send + Sync + 'static>(
        &self,
        landing: Landing<FlightResult<V>>,
        asked: Fence,
        options: ReadOptions,
        reason: Reason,
    ) -> Result<Box<Answer<V>>, Failure<E>> {
        let shared = self.share(landing, asked, options, Whose::Own, reason);
        shared.expect("a fetch of this reader's own is no older, and its error is its own")
    }

    /// Runs `leading`, which a reader has begun, and waits for what it brings to that reader.
    async fn run(
        &self,
        leading: Job,
        mine: Follower<FlightResult<V>>,
        asked: Fence,
        wants: Wants,
    ) -> Waited<V> {
        // That it takes too long is said to others; a reader that wants a value waits on.
        let is_final = |landing: &Landing<FlightResult<V>>| {
            let Landing::Landed(FlightResult::Failure { failed, .. }) = landing else {
                return true;
            };
            wants == Wants::Answer || !matches!(failed, Failed::TookTooLong(_))
        };
        let waiting = self.wait_for_own(&mine, asked, wants, is_final);
        match self.run_until(leading, &mine, wants, waiting).await {
            Some(waited) => waited,
            None => mine.landing_that(is_final).await.map_or(Waited::GaveUp, Waited::Landed),
        }
    }

    /// Runs `leading` until `waiting` brings what its reader waits for: as a task, or, where nobody runs that,
    /// here. `None`: it has ended or was stopped here, and has landed if it ever will.
    pub(super) async fn run_until<R>(
        &self,
        leading: Job,
        mine: &Follower<FlightResult<V>>,
        wants: Wants,
        waiting: impl Future<Output = R>,
    ) -> Option<R> {
        let left = if sync::is_in_runtime() && !self.engine.tasks().is_closed() {
            let lent = self.engine.tasks().lend(leading);
            tokio::select! {
                biased;
                waited = waiting => return Some(waited),
                // It was stopped, its runtime was, or nobody drives that: then its reader does.
                Some(left) = lent.take_back(|| mine.undriven()) => left,
            }
        } else {
            leading
        };
        match wants {
            // It is not to begin any more, so whoever waits for it learns that its leader is gone.
            Wants::Answer if self.engine.tasks().is_stopped() => drop(left),
            Wants::Answer => self.engine.tasks().own(left).await,
            Wants::Value => left.await,
        }
        None
    }

    async fn wait_for_own(
        &self,
        mine: &Follower<FlightResult<V>>,
        asked: Fence,
        wants: Wants,
        is_final: impl Fn(&Landing<FlightResult<V>>) -> bool,
    ) -> Waited<V> {
        match wants {
            Wants::Answer => self.wait_until_too_long(mine, asked, mine.landing()).await,
            Wants::Value => {
                mine.landing_that(is_final).await.map_or(Waited::GaveUp, Waited::Landed)
            }
        }
    }

    /// Waits for another's landing. If nobody drives its task, the first to learn of it takes over.
    pub(super) async fn wait(
        &self,
        follower: &Follower<FlightResult<V>>,
        asked: Fence,
    ) -> Waited<V> {
        let landing = async {
            tokio::select! {
                biased;
                landing = follower.landing() => landing,
                () = follower.undriven() => {
                    self.take_over(follower);
                    None
                }
            }
        };
        self.wait_until_too_long(follower, asked, landing).await
    }

    fn take_over(&self, follower: &Follower<FlightResult<V>>) {
        if follower.take_over() {
            self.engine.counters().fetches_taken_over.increment();
        }
    }

    /// The fetch has its own limit, but its task may no longer run: then its readers give it up, and the
    /// next one starts anew.
    pub(super) async fn wait_until_too_long(
        &self,
        follower: &Follower<FlightResult<V>>,
        asked: Fence,
        landing: impl Future<Output = Option<Landing<FlightResult<V>>>>,
    ) -> Waited<V> {
        let landing = match self.engine.hard_timeout {
            None => landing.await,
            Some(limit) => {
                let patience = limit.saturating_add(READERS_SLACK);
                match sync::in_time(patience, landing).await {
                    Ok(landing) => landing,
                    Err(_) => {
                        // One that waits for its turn may be in nobody's task, and have no limit.
                        if !follower.fetch().is_waiting() {
                            let fenced =
                                || follower.is_revoked() || self.engine.may_be_purged(asked);
                            let failed = Failed::TookTooLong(limit);
                            self.remember(follower.key(), &failed, asked, fenced);
                            follower.give_up();
                        }
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
        E: fmt::Display + Send + Sync + 'static,
        F: FnOnce(&Library<V>, &str) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        if !self.is_refresh_wanted(key.as_str()) {
            return;
        }
        if !sync::is_in_runtime() {
            // There is nobody to run it; the reader does not wait for it.
            self.engine.counters().refreshes_dropped.increment();
            return;
        }
        if !self.engine.may_refresh(key.as_str()) {
            return;
        }
        let key = key.into_shared();
        let span = FetchSpan::behind_reader(&self.name);
        let fetch = move |library: &Library<V>, key: &str| {
            let fetching = span.call(|| fetch(library, key));
            span.around(fetching)
        };
        self.engine.refresh(&key, worth, || {
            let (library, key) = (Arc::clone(self), Arc::clone(&key));
            Box::pin(async move {
                let Library { engine, flights, .. } = &*library;
                let join = || engine.join(flights, &key);
                let leader = match join() {
                    Join::Lead(leader) => leader,
                    // One that nobody drives brings nothing.
                    Join::Follow(follower) if follower.is_undriven() => {
                        library.take_over(&follower);
                        let Join::Lead(leader) = join() else { return };
                        leader
                    }
                    // What it brings is not for those who ask now.
                    Join::Follow(follower)
                        if follower.is_overtaken(|fence| engine.was_purged_since(&key, fence)) =>
                    {
                        follower.give_up();
                        let Join::Lead(leader) = join() else { return };
                        leader
                    }
                    // A reader may have started one meanwhile.
                    Join::Follow(_) | Join::TooMany => return,
                };
                // Or somebody has inserted a newer value.
                if library.is_young(&key) {
                    return;
                }
                let mut attempt = engine.begin_refresh(&key);
                attempt.failed = !library.lead(leader, fetch, Wants::Answer, For::Refresh).await;
            })
        });
    }

    /// Whether nobody refreshes `key`, and it is not known to fail.
    pub(super) fn is_refresh_wanted(&self, key: &str) -> bool {
        let is_known_to_fail = |key| self.negatives.recall(key, self.engine.now()).is_some();
        self.engine.has_no_refresh(key) && !is_known_to_fail(key)
    }

    /// The leader's part: ask below, fetch, store, land, write below. True if it brought a value.
    pub(super) async fn lead<T, E, F, Fut>(
        &self,
        leader: Leader<FlightResult<V>>,
        fetch: F,
        wants: Wants,
        whom: For,
    ) -> bool
    where
        T: Into<Fetched<V>>,
        E: fmt::Display + Send + Sync + 'static,
        F: FnOnce(&Library<V>, &str) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let bringing = leader.fetch().pulse().drive(self.bring(&leader, fetch, wants, whom));
        let brought = match caught(bringing).await {
            Ok(brought) => brought,
            Err(Panic) => self.failed(&leader, Failed::Panicked),
        };
        let is_value = matches!(brought, FlightResult::Value(_));
        leader.land(brought);
        is_value
    }

    async fn bring<T, E, F, Fut>(
        &self,
        leader: &Leader<FlightResult<V>>,
        fetch: F,
        wants: Wants,
        whom: For,
    ) -> FlightResult<V>
    where
        T: Into<Fetched<V>>,
        E: fmt::Display + Send + Sync + 'static,
        F: FnOnce(&Library<V>, &str) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let key = leader.key();
        let mut looked = None;
        if let Some(beneath) = &self.beneath {
            match Box::pin(self.ask_below(beneath, leader, whom)).await {
                Found::Value(dated) => return self.found(leader, dated),
                Found::Nothing(in_vain) => looked = Some(in_vain),
            }
        }
        if wants == Wants::Value {
            // Who waits as long as it takes has no limit until its fetch runs.
            self.take_turn(leader.fetch()).await;
        }
        // Made into what is small at once: what comes out passes through many hands.
        let fetching = async { fetch(self, key).await.map(T::into) };
        let mut fetching = pin!(self.fetch(fetching, leader.fetch()));
        let fetched = match self.engine.hard_timeout {
            None => fetching.await,
            Some(limit) => {
                match sync::in_time(left_of(limit, &looked, wants), fetching.as_mut()).await {
                    Ok(fetched) => fetched,
                    Err(_) => {
                        let failed = self.failed(leader, Failed::TookTooLong(limit));
                        if wants == Wants::Answer {
                            return failed;
                        }
                        leader.give_up(failed);
                        fetching.await
                    }
                }
            }
        };
        match fetched {
            Ok((fetched, cost)) => self.keep(leader, fetched, cost, looked, whom),
            Err(error) => self.failed(leader, Failed::Error(Arc::new(error))),
        }
    }

    /// What was fetched is stored, here and below, and becomes what is shared.
    pub(super) fn keep(
        &self,
        leader: &Leader<FlightResult<V>>,
        fetched: Fetched<V>,
        cost: Duration,
        looked: Option<Box<Looked>>,
        whom: For,
    ) -> FlightResult<V> {
        let key = leader.key();
        let tags = match &fetched.tags {
            Tags { named, kept: None } if looked.is_some() => Some(named.clone()),
            // Below memory tags have names.
            Tags { .. } => None,
        };
        let fetched = self.dated(key, fetched, cost, leader.fence());
        let storage = self.engine.store(key, &fetched, || leader.is_revoked());
        let not_stored = match storage {
            Storage::Not(reason) => Some(reason),
            Storage::FreshFor(_) | Storage::StaleFor(_) => None,
        };
        if whom == For::Forced && not_stored.is_some() && !leader.is_revoked() {
            // What is there is older than what its caller has been given. Below, what is only too large here
            // takes its place.
            let _until_gone = (!fetched.is_to_be_stored()).then(|| self.engine.replace_below(key));
            self.engine.take_out(key).pass_over();
        }
        self.engine.forget_backoff(key);
        self.negatives.forget(key).pass_over();
        let took = fetched.facts.cost;
        self.engine.counters().tell(|| Event::Fetched {
            key: Arc::clone(key),
            took,
            not_stored,
            lacks_freshness: false,
        });
        let (Some(beneath), Some(looked), Some(tags)) = (&self.beneath, looked, tags) else {
            return FlightResult::Value(Arc::new(Delivery::of(fetched, storage)));
        };
        let record = beneath.record(*looked, key, &fetched, tags, not_stored);
        let delivery = Arc::new(Delivery::of(fetched, storage));
        if let Some(record) = record {
            beneath.write(record, &delivery);
        }
        FlightResult::Value(delivery)
    }

    /// A value from below: kept in memory like one that was fetched, and shared.
    pub(super) fn found(
        &self,
        leader: &Leader<FlightResult<V>>,
        found: Dated<V>,
    ) -> FlightResult<V> {
        let key = leader.key();
        let storage = self.engine.store(key, &found, || leader.is_revoked());
        self.engine.forget_backoff(key);
        self.negatives.forget(key).pass_over();
        let age = self.engine.now().since(found.facts.fetched);
        let storage = match storage {
            Storage::FreshFor(ttl) => Storage::FreshFor(ttl.saturating_sub(age)),
            not => not,
        };
        let delivery = Delivery::found(found, storage, age);
        FlightResult::Value(Arc::new(delivery))
    }

    /// A fetch ended so: it is told, remembered, and brought to those who wait.
    pub(super) fn failed(
        &self,
        leader: &Leader<FlightResult<V>>,
        failed: Failed,
    ) -> FlightResult<V> {
        let (key, fence) = (leader.key(), leader.fence());
        // A failure has no tags, so any purge since may have been meant for it.
        let fenced = || leader.is_revoked() || self.engine.may_be_purged(fence);
        self.remember(key, &failed, fence, fenced);
        self.engine.tell_failed(key, &failed);
        FlightResult::Failure { failed, fence }
    }

    fn remember(
        &self,
        key: &Arc<str>,
        failed: &Failed,
        fence: Fence,
        fenced: impl FnOnce() -> bool,
    ) {
        self.negatives.remember(key, failed, self.engine.now(), fence, fenced);
    }

    /// Waits for a turn, and fetches. What the fetch cost in time comes with its result. The turn ends
    /// with the flight.
    pub(super) async fn fetch<R, E>(
        &self,
        fetching: impl Future<Output = Result<R, E>>,
        flight: &Arc<Fetch>,
    ) -> Result<(R, Duration), E> {
        self.take_turn(flight).await;
        let counted = self.engine.begin_fetch();
        let began = self.engine.clock().now_precisely();
        let fetched = needs::run_as(Arc::clone(flight), fetching).await;
        let cost = self.engine.clock().now_precisely().since(began);
        self.engine.counters().fetch_took(cost);
        let fetched = fetched?;
        counted.succeed();
        Ok((fetched, cost))
    }

    async fn take_turn(&self, fetch: &Arc<Fetch>) {
        if fetch.take_turn().await {
            self.engine.counters().fetches_out_of_turn.increment();
        }
    }

    /// What a landing means to a reader that asked when `asked` was the last purge in the table. `None`: nothing,
    /// so it has to ask again. Either what was brought has been purged since its fetch began, perhaps
    /// before this reader asked; or it comes from below and will not do; or the error is of a type this
    /// reader does not know.
    pub(super) fn share<E: fmt::Display + Send + Sync + 'static>(
        &self,
        landing: Landing<FlightResult<V>>,
        asked: Fence,
        options: ReadOptions,
        whose: Whose,
        reason: Reason,
    ) -> Option<Result<Box<Answer<V>>, Failure<E>>> {
        let error = match landing {
            Landing::Landed(FlightResult::Value(delivery)) => {
                let (source, will_do) = match whose {
                    // What it found below was young enough then.
                    Whose::Own => (AnswerSource::Fetched(reason), true),
                    Whose::Anothers => {
                        (AnswerSource::Collapsed(reason), options.takes(delivery.age_below()))
                    }
                };
                let is_older = self.engine.is_too_old(&delivery.tags, delivery.fence, asked);
                return (will_do && !is_older).then(|| Ok(delivery.answer(source)));
            }
            // A failure has no tags, so any purge since may have been meant for it.
            Landing::Landed(FlightResult::Failure { fence, .. }) if fence < asked => return None,
            Landing::Landed(FlightResult::Failure { failed, .. }) => failed.into_error()?,
            #[cfg(any(feature = "http", shuttle))]
            Landing::Panicked => FetchError::Panicked,
        };
        let source = match whose {
            Whose::Own => FailureSource::Fetched(reason),
            Whose::Anothers => FailureSource::Collapsed(reason),
        };
        Some(Err(Failure { error, source }))
    }

    /// A failure that is remembered, for a reader who takes that for an answer.
    pub(super) fn remembered(&self, key: &str, options: ReadOptions) -> Option<Failed> {
        match options.since {
            None => self.negatives.recall(key, self.engine.now()),
            Some(_) => None,
        }
    }

    /// What there is for a reader whose fetch failed or takes too long, looked for anew: while it
    /// waited, time went on, and somebody may have purged or inserted.
    pub(super) fn rescue(
        &self,
        key: &str,
        at_hand: AtHand,
        max_age: MaxAge,
        reason: Reason,
    ) -> Option<Box<Answer<V>>> {
        if let AtHand::Nothing = at_hand {
            return None;
        }
        let (mut answer, is_stale) = match self.engine.look(key, max_age) {
            Lookup::Usable { answer, shape } => (Box::new(answer), shape == Shape::Stale),
            Lookup::LastResort(answer) => (Box::new(answer), true),
            Lookup::Miss(_) => return None,
        };
        if is_stale {
            answer.source = AnswerSource::Stale(reason);
            self.stale_served(key, &answer);
        }
        Some(answer)
    }

    /// What is fresh, for callers that are polled: what a large value needs of the stack is given back
    /// here.
    pub(super) fn fresh(&self, key: &str, max_age: MaxAge) -> Option<Box<Answer<V>>> {
        match self.engine.look(key, max_age) {
            Lookup::Usable { answer, shape: Shape::Fresh | Shape::Aging } => Some(Box::new(answer)),
            Lookup::Usable { shape: Shape::Stale, .. }
            | Lookup::LastResort(_)
            | Lookup::Miss(_) => None,
        }
    }

    /// Whether there is something fresh that need not be refreshed; here for the same reason.
    pub(super) fn is_young(&self, key: &str) -> bool {
        matches!(self.engine.look(key, ANY_AGE), Lookup::Usable { shape: Shape::Fresh, .. })
    }

    pub(super) fn stale_served(&self, key: &str, answer: &Answer<V>) {
        self.engine.counters().tally().stale_served(micros(answer.cost));
        self.engine
            .counters()
            .tell(|| Event::StaleServed { key: key.into(), reason: answer.reason() });
    }
}

/// What a fetch has of its limit, if it has looked below: who wants an answer has waited for that as well.
fn left_of(limit: Duration, looked: &Option<Box<Looked>>, wants: Wants) -> Duration {
    match (looked, wants) {
        (Some(looked), Wants::Answer) => limit.saturating_sub(looked.spent),
        (_, Wants::Value) | (None, Wants::Answer) => limit,
    }
}

pub(super) struct Panic;

/// What `future` brings, if it does not panic: then it is not polled again.
pub(super) async fn caught<F: Future>(future: F) -> Result<F::Output, Panic> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(polled) => polled.map(Ok),
        Err(_) => Poll::Ready(Err(Panic)),
    })
    .await
}
