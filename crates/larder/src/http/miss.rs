//! Miss: a reader's part of a miss: join the key's flight or lead it, wait, and take what is its own.

use std::{
    future::{Future, poll_fn},
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use http::{
    HeaderMap, HeaderName, Response,
    header::{AGE, IF_MODIFIED_SINCE, IF_NONE_MATCH},
};
use larder_policy::{
    collapse_key::collapse_key,
    reason::Reason,
    request::{Flight, is_personal},
    reuse::{Ask, Failure as OriginFailure, ReaderFields, Verdict, may_share},
};
use tokio::{sync::oneshot, time::timeout};

use super::{
    body::Body,
    cache::HttpCache,
    explain::{Handling, Outcome},
    fill::{Broken, Leader, LeaderOutcome, OriginRequest, ShutDown, Unshared},
    respond::{Apply, conditioned},
    service::{Asked, AtHand, Origin, OriginError, TooManyFetches},
    stored::{Kept, Stored, Variants},
};
use crate::{
    answer::Failure,
    cache::fill::{Attempt, FlightResult, Whose},
    error::FetchError,
    flight::{Follower, Join},
    purge::log::Fence,
    stats::{Counters, Event, micros},
    sync,
};

/// How many flights of others a reader waits for before it goes alone: each turned out to fetch
/// another variant than its own, or was purged meanwhile.
const MAX_ROUNDS: usize = 4;

/// How a wait for another's flight ended.
enum Followed {
    Answer(Response<Body>),
    Failed(OriginError),
    /// Look again: the flight ended without a result, or fetched another variant.
    Again,
    /// What it brought is not for this reader.
    NotForThis,
}

impl HttpCache {
    /// A request that has to go to the origin, start to end. Where something stale would do, no longer
    /// than the soft timeout: what it waits for then goes on behind its back.
    pub(crate) async fn ask(
        self,
        asked: Asked,
        ask: Ask,
        at_hand: AtHand,
        origin: Origin,
    ) -> Result<Response<Body>, OriginError> {
        let asked = Arc::new(asked);
        let limit = self.shared().soft_timeout.filter(|_| ask.rescue.is_some());
        let why = ask.reason;
        let mut flying = pin!(self.miss(&asked, ask, at_hand, origin));
        let Some(limit) = limit else { return flying.await };
        if let Ok(landed) = timeout(limit, flying.as_mut()).await {
            return landed;
        }
        let failure = OriginFailure::Disconnected;
        match self.stand_in(&asked, why, failure, Reason::SoftTimeout) {
            Some(stale) => Ok(stale),
            None => flying.await,
        }
    }

    /// Alone or with others.
    async fn miss(
        &self,
        asked: &Arc<Asked>,
        mut ask: Ask,
        mut at_hand: AtHand,
        mut origin: Origin,
    ) -> Result<Response<Body>, OriginError> {
        let shared = Arc::clone(self.shared());
        let asked_at = shared.purges.last_in_table();
        let fence = || shared.purges.position();
        let mut announced: Vec<Arc<Stored>> = Vec::new();
        let mut has_waited = false;
        for _ in 0..MAX_ROUNDS {
            if ask.flight == Flight::Alone || self.goes_alone(asked, &ask) {
                break;
            }
            let collapse_key = self.collapse_key_of(asked, &at_hand, &announced);
            let follower = match ask.flight {
                Flight::Share => {
                    match shared.flights.join_collapse_key(&asked.key, &collapse_key, fence) {
                        Join::Follow(follower) => Some(follower),
                        Join::Lead(leader) => {
                            leader.asked_by(self.client_number(asked.client()));
                            return self.lead(asked, leader, true, origin).await;
                        }
                        Join::TooMany => return Err(self.too_many()),
                    }
                }
                Flight::Follow | Flight::Alone => shared.flights.follow(&asked.key, &collapse_key),
            };
            let Some(follower) = follower else { break };
            follower.asked_by(self.client_number(asked.client()));
            has_waited = true;
            match self.follow(asked, &ask, follower, asked_at, &mut announced).await {
                Followed::Answer(answer) => return Ok(answer),
                Followed::Failed(error) => return Err(error),
                Followed::NotForThis => break,
                Followed::Again => {}
            }
            at_hand = self.look(&asked.key);
            match self.decide(asked, &at_hand) {
                Verdict::Ask(again) => ask = again,
                verdict => match self.settled(asked, &at_hand, verdict, origin) {
                    Ok(answer) => return Ok(answer),
                    Err(unused) => origin = unused,
                },
            }
        }
        let Some(leader) = shared.flights.lead_alone(&asked.key, fence) else {
            return Err(self.too_many());
        };
        // Of nothing, nothing can have been purged since.
        if at_hand.variants.is_empty() && !has_waited {
            return self.depart(asked, ask, &at_hand, leader, false, origin).await;
        }
        self.lead(asked, leader, false, origin).await
    }

    /// The answer that needs no waiting for the origin, if there is one after all.
    fn settled(
        &self,
        asked: &Asked,
        at_hand: &AtHand,
        verdict: Verdict,
        origin: Origin,
    ) -> Result<Response<Body>, Origin> {
        let (index, reason, conditional) = match verdict {
            Verdict::Serve { index, reason } => (index, reason, None),
            Verdict::ServeAndRefresh { index, reason, conditional } => {
                (index, reason, Some(conditional))
            }
            Verdict::Ask(_) | Verdict::Refuse { .. } | Verdict::Pass { .. } => return Err(origin),
        };
        let Some(answer) = self.serve(asked, at_hand, index, reason) else { return Err(origin) };
        if let (Some(conditional), Some(kept)) = (conditional, at_hand.variants.get(index)) {
            self.refresh(asked, kept, conditional, origin);
        }
        Ok(answer)
    }

    async fn follow(
        &self,
        asked: &Asked,
        ask: &Ask,
        follower: Follower<FlightResult<Variants>>,
        asked_at: Fence,
        announced: &mut Vec<Arc<Stored>>,
    ) -> Followed {
        let comes_late = follower.has_landed();
        let Some(landing) = follower.landing().await else { return Followed::Again };
        let shared =
            self.shared().share::<Unshared>(landing, asked_at, Whose::Anothers, ask.reason);
        let failure = match shared {
            // A purge came in between.
            None => {
                follower.give_up();
                return Followed::Again;
            }
            // It broke off before this reader came. Those who waited for it share that; this one
            // asks anew.
            Some(Ok(answer)) if comes_late && answer.value.iter().any(Kept::is_broken) => {
                follower.give_up();
                return Followed::Again;
            }
            Some(Ok(answer)) => {
                return self.share_with(asked, ask, &answer.value, announced);
            }
            Some(Err(Failure { error: FetchError::Failed(unshared), .. })) => match &*unshared {
                Unshared::NotForOthers => return Followed::NotForThis,
                Unshared::StoodIn(status) => {
                    let failure = OriginFailure::Status(*status);
                    return match self.stand_in(asked, ask.reason, failure, Reason::StaleIfError) {
                        Some(answer) => Followed::Answer(answer),
                        None => Followed::NotForThis,
                    };
                }
                Unshared::Failed(error) => error.clone(),
            },
            Some(Err(Failure { error, .. })) => OriginError::new(Broken(error.to_string())),
        };
        let disconnected = OriginFailure::Disconnected;
        match self.stand_in(asked, ask.reason, disconnected, Reason::StaleIfError) {
            Some(answer) => Followed::Answer(answer),
            None => Followed::Failed(failure),
        }
    }

    fn share_with(
        &self,
        asked: &Asked,
        ask: &Ask,
        variants: &Variants,
        announced: &mut Vec<Arc<Stored>>,
    ) -> Followed {
        let now = self.wall_clock().now();
        let fits = |kept: &&Kept| {
            may_share(self.policy(), &kept.stored.head, asked.request(), now).is_ok()
        };
        let Some(kept) = variants.iter().find(fits) else {
            let selects = |kept: &Kept| kept.stored.head.selects(&asked.head.headers);
            if variants.iter().any(selects) {
                return Followed::NotForThis;
            }
            announced.extend(variants.iter().map(|kept| Arc::clone(&kept.stored)));
            return Followed::Again;
        };
        let handling = Handling::Forwarded {
            why: ask.reason,
            status: Some(kept.stored.head.status().as_u16()),
            outcome: Outcome::Collapsed,
            took: asked.began.elapsed(),
        };
        match self.answer(asked, kept, Apply::All, handling) {
            Some(mut answer) => {
                self.counters().collapsed.increment();
                if kept.stored.head.age(now) < Duration::from_secs(1) {
                    answer.headers_mut().remove(AGE);
                }
                Followed::Answer(answer)
            }
            None => Followed::Again,
        }
    }

    /// What is stored instead of the origin's answer, looked for anew: somebody may have purged it, or
    /// brought something newer, which then may need nobody to stand in for.
    fn stand_in(
        &self,
        asked: &Asked,
        why: Reason,
        failure: OriginFailure,
        reason: Reason,
    ) -> Option<Response<Body>> {
        let at_hand = self.look(&asked.key);
        let rescue = match self.decide(asked, &at_hand) {
            Verdict::Serve { index, reason } | Verdict::ServeAndRefresh { index, reason, .. } => {
                return self.serve(asked, &at_hand, index, reason);
            }
            Verdict::Ask(ask) => ask.rescue?,
            Verdict::Refuse { .. } | Verdict::Pass { .. } => return None,
        };
        if !rescue.allows(failure, self.wall_clock().now()) {
            return None;
        }
        let kept = at_hand.variants.get(rescue.index)?;
        let status = match failure {
            OriginFailure::Status(status) => Some(status.as_u16()),
            OriginFailure::Disconnected => None,
        };
        let handling = Handling::Forwarded {
            why,
            status,
            outcome: Outcome::StoodIn(reason),
            took: asked.began.elapsed(),
        };
        let answer = self.answer(asked, kept, Apply::All, handling)?;
        self.counters().tally().stale_served(micros(at_hand.cost));
        self.counters().tell(|| Event::StaleServed { key: Arc::clone(&asked.key), reason });
        Some(answer)
    }

    /// The leader's reader looks once more before it asks the origin.
    async fn lead(
        &self,
        asked: &Arc<Asked>,
        leader: Leader,
        is_shared: bool,
        origin: Origin,
    ) -> Result<Response<Body>, OriginError> {
        // Between the look and the lead another flight may have landed, or a purge have come: what was
        // purged is neither confirmed nor completed.
        let at_hand = self.look(&asked.key);
        let ask = match self.decide(asked, &at_hand) {
            Verdict::Ask(ask) => ask,
            verdict => {
                // Whoever waits for this flight looks again as well.
                drop(leader);
                return self.settled(asked, &at_hand, verdict, origin).map_err(|_| {
                    OriginError::new(Broken("nothing stored will do any more".to_owned()))
                });
            }
        };
        self.depart(asked, ask, &at_hand, leader, is_shared, origin).await
    }

    /// Sends the request to the origin on its way, and waits for its reader's own part of what comes of it.
    async fn depart(
        &self,
        asked: &Arc<Asked>,
        mut ask: Ask,
        at_hand: &AtHand,
        leader: Leader,
        is_shared: bool,
        origin: Origin,
    ) -> Result<Response<Body>, OriginError> {
        let tasks = &self.shared().tasks;
        if tasks.is_closed() {
            let disconnected = OriginFailure::Disconnected;
            return self
                .stand_in(asked, ask.reason, disconnected, Reason::StaleIfError)
                .ok_or_else(|| OriginError::new(ShutDown));
        }
        // What is not going to be stored nobody else needs as a whole, and its preconditions are the
        // origin's to judge (RFC 9110 §13.2.1).
        if !is_shared && self.asks_in_vain_for_the_whole(asked, &ask) {
            ask.reader_fields = ReaderFields::Forward;
        }
        let origin_request = OriginRequest::new(self, asked, &ask, at_hand, is_shared);
        let (own, landing) = oneshot::channel();
        // Something stale may be served when it takes too long: then it goes on, as a refresh does.
        let goes_on = ask.rescue.is_some() && self.shared().soft_timeout.is_some();
        let own = if is_shared || goes_on {
            if goes_on {
                leader.go_on();
            }
            // This reader waits as the others do, and its leaving is noticed as theirs is.
            let _waits = leader.follower();
            tasks.spawn(self.clone().fill_while_awaited(origin_request, leader, origin, own));
            landing.await.ok()
        } else {
            let filling = Box::pin(self.clone().fill(origin_request, leader, origin, Some(own)));
            self.fill_here(Box::pin(tasks.own(filling)), landing).await
        };
        self.own_answer(asked, &ask, own.ok_or_else(|| self.given_up())?)
    }

    /// A request to the origin that nobody else waits for needs no task of its own until its reader has the answer,
    /// and goes no further than its reader. `None`: it was given up.
    async fn fill_here(
        &self,
        mut filling: Pin<Box<impl Future<Output = ()> + Send + 'static>>,
        mut landing: oneshot::Receiver<LeaderOutcome>,
    ) -> Option<LeaderOutcome> {
        stand_back().await;
        if self.shared().tasks.is_closed() {
            return None;
        }
        let awaited = Awaited(self.counters());
        let (own, is_done) = poll_fn(|context| {
            // A panic of the origin is no panic of whoever serves its reader.
            let polled = catch_unwind(AssertUnwindSafe(|| filling.as_mut().poll(context)));
            let is_done = !matches!(polled, Ok(Poll::Pending));
            match landing.try_recv() {
                Ok(own) => Poll::Ready((Some(own), is_done)),
                Err(_) if is_done => Poll::Ready((None, is_done)),
                Err(_) => Poll::Pending,
            }
        })
        .await;
        mem::forget(awaited);
        if !is_done {
            // The body is on its way, and to be stored.
            sync::spawn(filling);
        }
        own
    }

    fn too_many(&self) -> OriginError {
        self.counters().turns_refused.increment();
        OriginError::new(TooManyFetches)
    }

    fn own_answer(
        &self,
        asked: &Asked,
        ask: &Ask,
        own: LeaderOutcome,
    ) -> Result<Response<Body>, OriginError> {
        match own {
            LeaderOutcome::Stored {
                kept,
                place,
                sent,
                status,
                took,
                reader_fields,
                not_stored,
            } => {
                let apply = match reader_fields {
                    ReaderFields::Drop => Apply::All,
                    ReaderFields::Forward => Apply::Nothing,
                };
                let handling = Handling::Forwarded {
                    why: ask.reason,
                    status: Some(status.as_u16()),
                    outcome: not_stored.map_or(Outcome::Stored, Outcome::NotStored),
                    took,
                };
                let answer = self.answer(asked, &kept, apply, handling);
                drop(place);
                let mut answer = answer.ok_or_else(|| OriginError::new(super::BrokenOff))?;
                if !sent.contains_key(AGE) {
                    // It comes from the origin, for this reader (RFC 9111 §5.1).
                    answer.headers_mut().remove(AGE);
                }
                // Read once: to look each of them up would read the block as often.
                let stored: Vec<&[u8]> =
                    kept.stored.head.fields().iter().map(|line| line.name).collect();
                for name in sent.keys() {
                    // What the cache may not keep is for the reader who asked all the same.
                    if !stored.contains(&name.as_str().as_bytes()) && is_for_reader(name) {
                        for value in sent.get_all(name) {
                            answer.headers_mut().append(name, value.clone());
                        }
                    }
                }
                Ok(answer)
            }
            LeaderOutcome::Through { mut answer, status, reason, took, reader_fields } => {
                if reader_fields == ReaderFields::Drop {
                    answer = conditioned(asked.request(), answer, self.wall_clock().now());
                }
                let handling = Handling::Forwarded {
                    why: ask.reason,
                    status: Some(status.as_u16()),
                    outcome: Outcome::NotStored(reason),
                    took,
                };
                self.explain(asked, answer.headers_mut(), handling, None);
                Ok(answer)
            }
            LeaderOutcome::StandIn(failure) => self
                .stand_in(asked, ask.reason, failure, Reason::StaleIfError)
                .ok_or_else(|| OriginError::new(Broken("it failed, and was purged".to_owned()))),
            LeaderOutcome::Failed(error) => {
                let failure = OriginFailure::Disconnected;
                self.stand_in(asked, ask.reason, failure, Reason::StaleIfError).ok_or(error)
            }
        }
    }

    /// Asks the origin behind the readers' backs, unless somebody does already.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub(crate) fn refresh(
        &self,
        asked: &Asked,
        kept: &Kept,
        conditional: HeaderMap,
        origin: Origin,
    ) {
        let shared = Arc::clone(self.shared());
        if !shared.refreshes.is_wanted(&asked.key) {
            return;
        }
        if shared.is_held_back(&asked.key) {
            shared.counters.refreshes_held_back.increment();
            return;
        }
        let worth = self.look(&asked.key).cost;
        let key = Arc::clone(&asked.key);
        // What waits for its turn does not keep the cache it waits in alive.
        let cache = self.downgrade();
        // Here, for it clones what the reader's server has put into the request.
        let (asked, stored) = (asked.clone(), Arc::clone(&kept.stored));
        let asked_for = shared.refreshes.ask(&key, worth, || {
            Box::pin(async move {
                let Some(cache) = cache() else { return };
                let shared = Arc::clone(cache.shared());
                let collapse_key = cache.collapse_key_of(&asked, &cache.look(&asked.key), &[]);
                let fence = || shared.purges.position();
                let Join::Lead(leader) =
                    shared.flights.join_collapse_key(&asked.key, &collapse_key, fence)
                else {
                    return;
                };
                // Somebody may have brought a newer one, or purged it.
                let at_hand = cache.look(&asked.key);
                let is_there = |now: &Kept| Arc::ptr_eq(&now.stored, &stored);
                if !at_hand.variants.iter().any(is_there) {
                    return;
                }
                shared.counters.refreshes.increment();
                let key = Arc::clone(&asked.key);
                let mut attempt = Attempt { shared: &shared, key: &key, failed: false };
                let origin_request =
                    OriginRequest::refresh(&cache, asked, Arc::clone(&stored), conditional);
                let polled = leader.polled();
                polled.run(pin!(cache.clone().fill(origin_request, leader, origin, None))).await;
                // A refresh puts something into its place, if only a confirmation.
                attempt.failed = cache.look(&key).variants.iter().any(is_there);
                if !attempt.failed {
                    shared.backoffs.forget(&key);
                }
            })
        });
        if asked_for == crate::refresh::Asked::OneDropped {
            self.counters().refreshes_dropped.increment();
        }
    }

    /// Which requests for a key wait for each other: those that ask for the same variant, as far as is
    /// known. A personal one's answer is likely to be for nobody else, so others do not wait for it; nor
    /// do those with other credentials, unless such answers are known to be for all.
    fn collapse_key_of(
        &self,
        asked: &Asked,
        at_hand: &AtHand,
        announced: &[Arc<Stored>],
    ) -> String {
        let stored = at_hand.variants.iter().map(|kept| &kept.stored);
        let known = stored.chain(announced).map(|stored| stored.head.fields());
        let always = self.policy().fields_in_key();
        let mut collapse_key = collapse_key(always, known, (&asked.head.headers).into());
        if is_personal(self.policy(), &asked.head.headers) {
            collapse_key.push('\u{3}');
            let is_here = |kept: &Kept| kept.stored.head.selects(&asked.head.headers);
            if !at_hand.variants.iter().any(is_here)
                && !self.is_shared_though_personal(&self.sharing_name(asked))
            {
                collapse_key.push_str(&self.credentials(&asked.head.headers));
            }
        }
        collapse_key
    }

    /// Whether a request goes to the origin by itself, going by how its key's answers were of late.
    fn goes_alone(&self, asked: &Asked, ask: &Ask) -> bool {
        self.is_hit_for_miss(&self.sharing_name(asked))
            || self.asks_in_vain_for_the_whole(asked, ask)
    }

    /// Whether a request's own preconditions were to be kept from the origin for the sake of a whole answer
    /// that could be stored, and its key's answers have not been such for long.
    fn asks_in_vain_for_the_whole(&self, asked: &Asked, ask: &Ask) -> bool {
        let has_own = |name| asked.head.headers.contains_key(name);
        ask.reader_fields == ReaderFields::Drop
            && ask.conditional.is_empty()
            && (has_own(IF_NONE_MATCH) || has_own(IF_MODIFIED_SINCE))
            && (self.was_hit_for_miss(&self.sharing_name(asked))
                || self.was_hit_for_miss(&asked.key))
    }

    /// Under which name it is remembered whether answers like this one's are for one reader each. That
    /// personal ones are says nothing of the others.
    pub(crate) fn sharing_name(&self, asked: &Asked) -> Arc<str> {
        let name = || match is_personal(self.policy(), &asked.head.headers) {
            true => format!("{} personal", asked.key).into(),
            false => Arc::clone(&asked.key),
        };
        Arc::clone(asked.sharing_name.get_or_init(name))
    }
}

/// A reader that waits for a fetch in its own future. Dropping this counts that the reader has left.
struct Awaited<'a>(&'a Counters);

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.0.abandoned.increment();
    }
}

/// Whoever is ready as well has its turn before the origin is asked: requests that came together then reach
/// it together, which wakes it once (a fourteenth of what a pass costs, measured on one machine).
async fn stand_back() {
    let mut has_stood_back = false;
    poll_fn(|context| {
        if mem::replace(&mut has_stood_back, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Whether a field that is not stored is still the reader's business. What describes the content is
/// stored or does not hold, and an age is told by us.
fn is_for_reader(name: &HeaderName) -> bool {
    *name != AGE && !name.as_str().starts_with("content-")
}
