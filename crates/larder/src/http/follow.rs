//! Follow: a reader waits for another's flight, and takes what is its own of what that brings.

use std::{sync::Arc, time::Duration};

use http::{Response, header::AGE};
use larder_policy::{
    reason::Reason,
    reuse::{Ask, OriginFailure, decide, may_share},
};

use super::{
    body::{Body, arriving::Distance},
    cache::Parts,
    error::NoAnswer,
    explain::{Handling, ReplyOutcome},
    landing::{Delivery, FlightOutcome, FlightResult, Follower},
    phases::{FlightName, PhaseKind, Underway},
    request::Retrieval,
    respond::{Apply, first_byte_wanted, respond_brought},
    serve::{explained, stand_in},
    stored::{Brought, Incoming},
};
use tokio::time::sleep;

use crate::{engine::flight::Landing, purge::Fence, sync};

/// How a wait for another's flight ended.
pub(crate) enum Followed {
    Answer(Response<Body>),
    Failed(NoAnswer),
    /// Look again: the flight ended without a result, or what it brought was purged meanwhile.
    Again,
    /// The same, and this is what it brought: for other requests than this one.
    AnotherVariant(Brought),
    /// What it brought is not for this reader.
    NotForThis,
}

/// Waits for another's flight to land. `asked_at`: the last purge in the table when this reader asked; `is_earlier`:
/// its fetch is too old for this reader, whatever purges are known.
pub(crate) async fn follow(
    cache: &Arc<Parts>,
    asked: &Retrieval,
    ask: &Ask,
    follower: Follower,
    asked_at: Fence,
    is_earlier: bool,
) -> Followed {
    let comes_late = follower.has_landed();
    let waits = PhaseKind::Follow { leader: None };
    let phase = Underway::begin(&asked.head.extensions, waits);
    let Some(landing) = follower.landing().await else { return Followed::Again };
    phase.turns_out(PhaseKind::Follow { leader: follower.called().map(FlightName) });
    let stale = |failure| stand_in(cache, asked, ask.reason, failure, Reason::StaleIfError);
    let stale_or = |error| match stale(OriginFailure::Disconnected) {
        Some(answer) => Followed::Answer(answer),
        None => Followed::Failed(error),
    };
    let FlightResult { fence, outcome } = match landing {
        Landing::Landed(result) => result,
        Landing::Panicked => return stale_or(NoAnswer::Unusable("its fetch panicked")),
    };
    let delivery = match outcome {
        FlightOutcome::Brought(delivery) => delivery,
        // It has no tags, so any purge since may have been meant for it.
        _ if is_earlier || fence < asked_at => {
            follower.give_up();
            return Followed::Again;
        }
        FlightOutcome::NotForOthers => return Followed::NotForThis,
        FlightOutcome::StoodIn(status) => {
            let answer = stale(OriginFailure::Status(status));
            return answer.map_or(Followed::NotForThis, Followed::Answer);
        }
        FlightOutcome::Failed(error) => return stale_or(error),
    };
    // A purge came in between, or it is too old for this reader. Or it broke off before this reader came: those who waited for it share that;
    // this one asks anew.
    if is_earlier
        || !asked.admits(delivery.response.asked_at())
        || cache.engine().is_too_old(&delivery.tags, fence, asked_at)
        || (comes_late && delivery.response.is_broken())
    {
        follower.give_up();
        return Followed::Again;
    }
    if let Brought::Incoming(incoming) = &delivery.response {
        match worth_of_waiting(asked, incoming).await {
            Worth::Waited => {}
            Worth::TooFar => return Followed::NotForThis,
            Worth::Broke => {
                follower.give_up();
                return Followed::Again;
            }
        }
    }
    share(cache, asked, ask, &delivery)
}

/// How long a reader of a range waits at least: before that nobody knows at what rate the body comes.
const FIRST_LOOK: Duration = Duration::from_millis(100);

/// What waiting for a range has come to.
enum Worth {
    /// It is here, or there was nothing to wait for.
    Waited,
    /// The origin would bring it sooner.
    TooFar,
    /// The body broke off meanwhile, and this reader has had nothing of it.
    Broke,
}

/// Waits for a range of a body that is on its way, while that will be here sooner than the origin would bring it: as far
/// as can be told by how long it took to answer, and by the body's rate so far.
async fn worth_of_waiting(asked: &Retrieval, incoming: &Incoming) -> Worth {
    let Some(place) = first_byte_wanted(asked.request(), incoming) else { return Worth::Waited };
    if !sync::has_timers() {
        return Worth::Waited;
    }
    let asking = incoming.head.received_at().duration_since(incoming.asked_at.time());
    let patience = FIRST_LOOK + 2 * asking.unwrap_or_default();
    let mut has_waited = Duration::ZERO;
    while let Distance::Ahead(left) = incoming.body.distance(place) {
        if has_waited >= FIRST_LOOK && left > patience {
            return Worth::TooFar;
        }
        sleep(FIRST_LOOK).await;
        has_waited += FIRST_LOOK;
    }
    if !has_waited.is_zero() && incoming.body.is_broken() { Worth::Broke } else { Worth::Waited }
}

/// What another's fetch has brought and the cache may keep, for a reader that may have it: not every follower shares
/// it. What may not be kept never comes here (`reply.rs judge`).
fn share(cache: &Parts, asked: &Retrieval, ask: &Ask, delivery: &Delivery) -> Followed {
    let response = &delivery.response;
    let (head, now) = (response.head(), cache.now());
    let is_for_this = match delivery.is_from_below {
        // Nobody has asked the origin for it.
        true => decide(&asked.policy, &[head.into()], asked.request(), now).plain_hit().is_some(),
        false => may_share(&asked.policy, head, asked.request(), now).is_ok(),
    };
    if !is_for_this {
        return match head.selects(&asked.policy, &asked.head.headers) {
            true => Followed::NotForThis,
            false => Followed::AnotherVariant(response.clone()),
        };
    }
    let answer = respond_brought(asked.request(), response, Apply::All, now);
    let Some(mut answer) = answer else { return Followed::Again };
    let status = Some(head.status().as_u16());
    let (outcome, took) = (ReplyOutcome::Collapsed, asked.began.elapsed());
    let handling = match delivery.is_from_below {
        true => Handling::Found { reason: Reason::Hit, took },
        false => Handling::Forwarded { why: ask.reason, status, outcome, took },
    };
    explained(asked, &mut answer, (handling, Duration::ZERO), Some(head.into()), now);
    cache.counters().collapsed.increment();
    if !delivery.is_from_below && head.age(now) < Duration::from_secs(1) {
        answer.headers_mut().remove(AGE);
    }
    Followed::Answer(answer)
}
