//! Lead: a leader's reader: its request goes on its way to the origin, and it gets what of the answer is its own.

use std::{
    future::{Future, poll_fn},
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use http::{HeaderName, Response, StatusCode, header::AGE};
use larder_policy::{
    reason::Reason,
    request::Flight,
    reuse::{Ask, OriginFailure, ReaderFields, Variant, Verdict},
};
use tokio::{sync::oneshot, time::Instant};

use super::{
    below::{self, For, Found, OwnFromBelow},
    body::Body,
    cache::Parts,
    error::NoAnswer,
    explain::{Handling, ReplyOutcome},
    fetch::{LeaderOutcome, StoredReply, Told, fetch, while_awaited},
    landing::{FlightOutcome, FlightResult, Leader},
    origin::{Origin, OriginRequest},
    outside,
    phases::{PhaseKind, Underway, phases_of},
    refresh::Refresh,
    reply::UnstoredReply,
    request::Retrieval,
    respond::{Apply, conditioned, respond_brought},
    resume::resumable,
    serve::{explained, stand_in},
    store::AtHand,
    stored::{Brought, Mark},
};
use crate::{stats::Counters, sync, tier::memory::Looker};

/// Sends the request on its way to the origin, and waits for its reader's own part of what comes of it.
pub(crate) async fn lead(
    cache: &Arc<Parts>,
    asked: &Arc<Retrieval>,
    ask: Ask,
    at_hand: &AtHand,
    (leader, is_shared): (Leader, bool),
    origin: Origin,
) -> Result<Response<Body>, NoAnswer> {
    let stale_or = |error| {
        let failure = OriginFailure::Disconnected;
        stand_in(cache, asked, ask.reason, failure, Reason::StaleIfError).ok_or(error)
    };
    let engine = cache.engine();
    if engine.tasks().is_closed() {
        return stale_or(NoAnswer::ShutDown);
    }
    if let Some(phases) = phases_of(&asked.head.extensions) {
        leader.call(phases.name().0);
    }
    let phase = Underway::begin(&asked.head.extensions, PhaseKind::Lead);
    let (own, landing) = oneshot::channel();
    let looks_below = looks_below(cache, asked, &ask, is_shared, Looker::Reader);
    let told = if is_shared || looks_below || goes_on(cache, asked, &ask) {
        if goes_on(cache, asked, &ask) {
            leader.go_on();
        }
        // This reader waits as the others do, and its leaving is noticed as theirs is.
        let _waits = leader.follower();
        let about = (leader.waiters(), leader.polled());
        if looks_below {
            let (asked, at_hand) = (Arc::clone(asked), at_hand.clone());
            let (cache, ask) = (Arc::clone(cache), ask.clone());
            let miss = Leading { cache, asked, ask, at_hand, is_shared };
            engine.tasks().spawn(async move {
                let cache = Arc::clone(&miss.cache);
                let bringing = pin!(bring(miss, leader, origin, own));
                while_awaited(&cache, about, bringing).await;
            });
        } else {
            let origin_request = OriginRequest::new(cache, asked, &ask, at_hand, is_shared);
            let cache = Arc::clone(cache);
            engine.tasks().spawn(async move {
                let own = Some(own);
                let fetching = pin!(fetch(Arc::clone(&cache), origin_request, leader, origin, own));
                while_awaited(&cache, about, fetching).await;
            });
        }
        landing.await.ok()
    } else {
        let origin_request = OriginRequest::new(cache, asked, &ask, at_hand, is_shared);
        let fetching =
            Box::pin(fetch(Arc::clone(cache), origin_request, leader, origin, Some(own)));
        fetch_here(cache, Box::pin(engine.tasks().own(fetching)), landing).await
    };
    drop(phase);
    let Told { why, outcome } = told.ok_or_else(|| cache.given_up())?;
    match outcome {
        LeaderOutcome::FromBelow(found, origin) => {
            let answer = own_from_below(cache, asked, found)?;
            Ok(resumable(cache, asked, answer, origin))
        }
        LeaderOutcome::StoredReply(kept) => own_of_kept(cache, asked, why, kept),
        LeaderOutcome::Through { reply, took, reader_fields } => {
            let UnstoredReply { mut answer, status, reason } = reply;
            if reader_fields == ReaderFields::Drop {
                answer = conditioned(asked.request(), answer, cache.now());
            }
            let (status, outcome) = (Some(status.as_u16()), ReplyOutcome::NotStored(reason));
            let handling = Handling::Forwarded { why, status, outcome, took };
            explained(asked, &mut answer, (handling, Duration::ZERO), None, cache.now());
            Ok(answer.map(|body| body.counted(&cache.account)))
        }
        LeaderOutcome::StandIn(failure) => {
            stand_in(cache, asked, why, failure, Reason::StaleIfError)
                .ok_or(NoAnswer::Unusable("it failed, and was purged"))
        }
        LeaderOutcome::Failed(error) => stale_or(error),
    }
}

/// Whether something stale may be served when it takes too long: then it goes on, as a refresh does.
fn goes_on(cache: &Parts, asked: &Retrieval, ask: &Ask) -> bool {
    ask.rescue.is_some() && cache.soft_timeout(&asked.policy).is_some()
}

/// Whether something may lie below that answers this request: not if its answer is for its reader alone.
pub(crate) fn looks_below(
    cache: &Parts,
    asked: &Retrieval,
    ask: &Ask,
    is_shared: bool,
    looker: Looker,
) -> bool {
    let is_apart = || cache.hit_for_miss.is_apart(asked.sharing_name(), looker);
    // One that may be joined looks in any case: without that, purges would not reach it.
    let may_be_below = || is_shared || (ask.flight == Flight::Follow && !is_apart());
    cache.beneath.is_some() && may_be_below() && sync::is_in_runtime()
}

/// A miss whose leader looks below.
struct Leading {
    cache: Arc<Parts>,
    asked: Arc<Retrieval>,
    ask: Ask,
    at_hand: AtHand,
    is_shared: bool,
}

/// The leader's part where something lies below memory: what is there answers, or else the origin is asked, by what
/// has come into memory meanwhile.
async fn bring(miss: Leading, leader: Leader, origin: Origin, own: oneshot::Sender<Told>) {
    let Leading { cache, asked, mut ask, mut at_hand, mut is_shared } = miss;
    let (mut may_write, mut may_confirm) = (None, true);
    let began = Instant::now();
    if let Some(beneath) = &cache.beneath {
        let whom = if is_shared { For::Readers } else { For::OneReader };
        let looking = PhaseKind::Look { is_below: true, why: None };
        let phase = Underway::begin(&asked.head.extensions, looking);
        let looked = below::look(&cache, beneath, &asked, &leader, whom).await;
        if let Found::Response(found) = &looked {
            phase.found(true, found.reason);
        }
        drop(phase);
        match looked {
            Found::Response(found) => {
                let is_stale = found.reason == Reason::StaleWhileRevalidate;
                let way_on = origin.clone();
                let tell_own = move |found| {
                    let outcome = LeaderOutcome::FromBelow(found, way_on);
                    // The reader may have left.
                    own.send(Told { why: Reason::Hit, outcome }).ok();
                };
                let rest = origin.clone();
                below::hand_on(&cache, &asked, leader, found, rest, tell_own).await;
                if is_stale {
                    refresh(&cache, &asked, origin);
                }
                return;
            }
            Found::Nothing(writes) => may_write = writes,
            Found::Apart(writes) => {
                (may_write, is_shared) = (writes, false);
                // Those who wait go on by themselves now, and not when this one has its answer.
                let outcome = FlightOutcome::NotForOthers;
                leader.announce(FlightResult { fence: leader.fence(), outcome });
            }
        }
        let found = cache.store.look_for(Looker::Reader, &asked);
        let verdict = cache.decide(&asked, &found);
        if let Some((index, reason)) = verdict.served() {
            // Somebody else has brought it meanwhile. Who waits for this flight finds it as well.
            drop((leader, may_write));
            let variant = found.variants.at(index);
            let (response, marked_stale) = (Arc::clone(&variant.stored), variant.marked_stale());
            let response = Brought::Stored(response);
            let found =
                OwnFromBelow { response, place: None, reason, marked_stale, was_in_memory: true };
            let outcome = LeaderOutcome::FromBelow(found, origin.clone());
            own.send(Told { why: Reason::Hit, outcome }).ok();
            return refresh(&cache, &asked, origin);
        }
        // What was there when it began may have been purged since.
        may_confirm = matches!(verdict, Verdict::Ask(_)) && !leader.was_passed_over();
        if let Some(anew) = verdict.asks() {
            (ask, at_hand) = (anew, found);
        }
        if goes_on(&cache, &asked, &ask) {
            leader.go_on();
        }
    }
    let mut origin_request = OriginRequest::new(&cache, &asked, &ask, &at_hand, is_shared);
    if !may_confirm {
        origin_request.confirm_nothing();
    }
    origin_request.may_write = may_write;
    origin_request.spent = began.elapsed();
    fetch(cache, origin_request, leader, origin, Some(own)).await;
}

/// What has come from below, or was brought meanwhile, may be stale, and is in memory now.
fn refresh(cache: &Arc<Parts>, asked: &Retrieval, origin: Origin) {
    let at_hand = cache.store.look_for(Looker::Reader, asked);
    if let Some((index, conditional)) = cache.decide(asked, &at_hand).refreshed() {
        Refresh { at_hand, index, conditional, origin }.begin(cache, asked);
    }
}

/// The answer from a response that lay below.
fn own_from_below(
    cache: &Parts,
    asked: &Retrieval,
    found: OwnFromBelow,
) -> Result<Response<Body>, NoAnswer> {
    let OwnFromBelow { response, place, reason, marked_stale, was_in_memory } = found;
    let now = cache.now();
    let answer = respond_brought(asked.request(), &response, Apply::All, now);
    drop(place);
    let mut answer = answer.ok_or(NoAnswer::Unusable("it ended before it was whole"))?;
    let variant = Variant { head: response.head(), marked_stale: marked_stale.map(Mark::time) };
    let took = asked.began.elapsed();
    let handling = match was_in_memory {
        true => Handling::Served { reason, took },
        false => Handling::Found { reason, took },
    };
    explained(asked, &mut answer, (handling, Duration::ZERO), Some(variant), now);
    Ok(answer)
}

/// The answer from a response that is stored, or will be.
fn own_of_kept(
    cache: &Arc<Parts>,
    asked: &Arc<Retrieval>,
    why: Reason,
    kept: StoredReply,
) -> Result<Response<Body>, NoAnswer> {
    let StoredReply { response, place, sent, status, took, reader_fields, not_stored, origin } =
        kept;
    // A part that is all of it is stored as the whole: its reader's range is that of this.
    let was_part = status == StatusCode::PARTIAL_CONTENT && response.head().status() != status;
    let apply = match reader_fields {
        ReaderFields::Forward if !was_part => Apply::Nothing,
        ReaderFields::Forward | ReaderFields::Drop => Apply::All,
    };
    let now = cache.now();
    let answer = respond_brought(asked.request(), &response, apply, now);
    drop(place);
    let mut answer = answer.ok_or(NoAnswer::Unusable("it ended before it was whole"))?;
    let outcome = not_stored.map_or(ReplyOutcome::Stored, ReplyOutcome::NotStored);
    let status = Some(status.as_u16());
    let handling = Handling::Forwarded { why, status, outcome, took };
    let stored = Some(response.head().into());
    explained(asked, &mut answer, (handling, Duration::ZERO), stored, now);
    if !sent.contains_key(AGE) {
        // It comes from the origin, for this reader (RFC 9111 §5.1).
        answer.headers_mut().remove(AGE);
    }
    // Read once: to look each of them up would read the block as often.
    let stored: Vec<&[u8]> = response.head().fields().iter().map(|line| line.name).collect();
    for name in sent.keys() {
        // What the cache may not keep is for the reader who asked all the same.
        if !stored.contains(&name.as_str().as_bytes()) && is_for_reader(name) {
            outside::is_for_one(&mut answer);
            for value in sent.get_all(name) {
                answer.headers_mut().append(name, value.clone());
            }
        }
    }
    Ok(match origin {
        Some(origin) => resumable(cache, asked, answer, origin),
        None => answer,
    })
}

/// A request to the origin that nobody else waits for needs no task of its own until its reader has the answer,
/// and goes no further than its reader. `None`: it was given up.
async fn fetch_here(
    cache: &Parts,
    mut fetching: Pin<Box<impl Future<Output = ()> + Send + 'static>>,
    mut landing: oneshot::Receiver<Told>,
) -> Option<Told> {
    stand_back().await;
    if cache.engine().tasks().is_closed() {
        return None;
    }
    let awaited = Awaited(cache.counters());
    let (own, is_done) = poll_fn(|context| {
        // A panic of the origin is no panic of whoever serves its reader.
        let polled = catch_unwind(AssertUnwindSafe(|| fetching.as_mut().poll(context)));
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
        sync::spawn(fetching);
    }
    own
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
