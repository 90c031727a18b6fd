//! Serve: an answer from what is stored, counted, and explained.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, IF_NONE_MATCH, RANGE},
};
use larder_policy::{
    compression::Compression,
    head::RequestHead,
    reason::Reason,
    reuse::{OriginFailure, Variant},
};

use super::{
    body::Body,
    cache::Parts,
    compress::Compressor,
    explain::{Handling, ReplyOutcome, ShowHandled, ShowKey, explain},
    forms::{choose, tell_of_forms},
    outside,
    request::Retrieval,
    respond::{Apply, is_unchanged, respond, unchanged},
    store::AtHand,
};
use crate::{
    stats::{Event, micros},
    tier::memory::Looker,
};

/// Answers from a variant, and counts that.
pub(crate) fn serve(
    cache: &Arc<Parts>,
    asked: &Retrieval,
    at_hand: &AtHand,
    index: usize,
    reason: Reason,
) -> Response<Body> {
    let handling = Handling::Served { reason, took: asked.began.elapsed() };
    let answer = answer(cache, asked, at_hand, index, handling);
    let counters = cache.counters();
    match reason {
        Reason::Hit => {
            let tally = counters.tally();
            tally.hit(micros(at_hand.cost));
            if tally.is_sample() {
                counters.hit_took(asked.began);
            }
        }
        _ => count_stale(cache, asked, at_hand, reason),
    }
    answer
}

/// What is stored instead of the origin's answer, looked for anew: somebody may have purged it, or
/// brought something newer, which then may need nobody to stand in for. `why`: for what the origin was asked;
/// `reason`: why something stale will do.
pub(crate) fn stand_in(
    cache: &Arc<Parts>,
    asked: &Retrieval,
    why: Reason,
    failure: OriginFailure,
    reason: Reason,
) -> Option<Response<Body>> {
    let at_hand = cache.store.look_for(Looker::Reader, asked);
    let verdict = cache.decide(asked, &at_hand);
    if let Some((index, reason)) = verdict.served() {
        return Some(serve(cache, asked, &at_hand, index, reason));
    }
    let index = verdict.rescued(failure, cache.now())?;
    let status = match failure {
        OriginFailure::Status(status) => Some(status.as_u16()),
        OriginFailure::Disconnected => None,
    };
    let (outcome, took) = (ReplyOutcome::StoodIn(reason), asked.began.elapsed());
    let handling = Handling::Forwarded { why, status, outcome, took };
    let answer = answer(cache, asked, &at_hand, index, handling);
    count_stale(cache, asked, &at_hand, reason);
    Some(answer)
}

/// 504: the reader wants no origin asked (RFC 9111 §5.2.1.7).
pub(crate) fn refuse(cache: &Parts, asked: &Retrieval, reason: Reason) -> Response<Body> {
    cache.counters().misses.increment();
    const DETAIL: &str = "{\"type\":\"about:blank\",\"title\":\"Gateway Timeout\",\"status\":504,\
        \"detail\":\"nothing stored may answer this request, and it asks for only-if-cached\"}";
    let mut answer = Response::new(Body::from(Bytes::from_static(DETAIL.as_bytes())));
    *answer.status_mut() = StatusCode::GATEWAY_TIMEOUT;
    let kind = HeaderValue::from_static("application/problem+json");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    let handling = Handling::Refused(reason);
    explained(asked, &mut answer, (handling, Duration::ZERO), None, cache.now());
    answer
}

/// Says in an answer what was done with its request. `saved`: what it would have cost to fetch what is answered with;
/// `stored`: what it was made from, if it was.
pub(crate) fn explained(
    asked: &Retrieval,
    answer: &mut Response<Body>,
    (handling, saved): (Handling, Duration),
    stored: Option<Variant<'_>>,
    now: SystemTime,
) {
    outside::note(answer, (&asked.head, &asked.uri), (&asked.policy, now), handling, stored);
    let headers = answer.headers_mut();
    let shows_key = asked.head.extensions.get::<ShowKey>().is_some();
    if let Some((stored, rules)) = stored.zip(asked.policy.compression()) {
        tell_of_forms(rules, stored.head, headers);
    }
    explain(headers, handling, stored, shows_key.then_some(&*asked.key), (&asked.policy, now));
    if asked.head.extensions.get::<ShowHandled>().is_some() {
        answer.extensions_mut().insert(handling.handled(asked.began, saved));
    }
}

/// Answers from that form of a response that suits its reader.
fn of_a_form(
    cache: &Arc<Parts>,
    asked: &Retrieval,
    (at_hand, index): (&AtHand, usize),
    rules: &Compression,
) -> Response<Body> {
    let (request, now) = (asked.request(), cache.now());
    let variant = at_hand.variants.at(index);
    let plain = &variant.stored;
    let chosen = choose(rules, request.headers, variant);
    if let (Some(tags), Some(forms)) = (&asked.coded_tags, variant.forms()) {
        for form in forms.iter().filter(|form| chosen.accepted.takes(form.coding)) {
            let form = &form.stored;
            // The reader has this very form, or wants the rest of it.
            if tags.name(&form.head) {
                return unchanged(form, now);
            }
            if let Some(range) = tags.range_of(&form.head) {
                let headers = HeaderMap::from_iter([(RANGE, range.clone())]);
                let request = RequestHead { headers: (&headers).into(), ..request };
                return respond(request, form, Apply::All, now);
            }
        }
    }
    let form = chosen.form.unwrap_or(plain);
    // By the origin's tag, its reader has the plain bytes.
    let has_plain = request.headers.contains(IF_NONE_MATCH.as_str())
        && !is_unchanged(request, form)
        && is_unchanged(request, plain);
    // Ranges that are asked for one by one fit together, whenever a form is made: they are of the plain bytes.
    let wants_part = request.headers.contains(RANGE.as_str()) && chosen.accepted.takes_plain();
    if has_plain || wants_part {
        return respond(request, plain, Apply::All, now);
    }
    if let Some(coding) = chosen.wanted {
        let key = at_hand.elsewhere.as_ref().unwrap_or(&asked.key);
        Compressor::want(cache, key, plain, coding);
    }
    respond(request, form, Apply::All, now)
}

fn answer(
    cache: &Arc<Parts>,
    asked: &Retrieval,
    at_hand: &AtHand,
    index: usize,
    handling: Handling,
) -> Response<Body> {
    let now = cache.now();
    let variant = at_hand.variants.at(index);
    let mut answer = match asked.policy.compression() {
        Some(rules) if variant.stored.coding.has_forms(rules, &variant.stored.head) => {
            of_a_form(cache, asked, (at_hand, index), rules)
        }
        _ => respond(asked.request(), &variant.stored, Apply::All, now),
    };
    explained(asked, &mut answer, (handling, at_hand.cost), Some(variant.variant()), now);
    answer
}

fn count_stale(cache: &Parts, asked: &Retrieval, at_hand: &AtHand, reason: Reason) {
    let counters = cache.counters();
    counters.tally().stale_served(micros(at_hand.cost));
    counters.tell(|| Event::StaleServed { key: Arc::clone(&asked.key), reason });
}
