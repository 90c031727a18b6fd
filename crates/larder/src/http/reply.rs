//! Reply: what an answer of the origin means, and what is stored already learns from it.

use std::{sync::Arc, time::Duration};

use http::{
    HeaderMap, Method, Response, StatusCode,
    header::{CONTENT_LENGTH, DATE},
};
use larder_policy::{
    date,
    head::{Exchange, RequestHead, ResponseHead},
    range::contradicts_if_range,
    reason::Reason,
    response::storability,
    reuse::OriginFailure,
    settings::Policy,
    validate::{HeadSays, answered_by, freshen, head_says},
};
use tokio::time::Instant as Deadline;

use super::{
    body::{
        Body,
        arriving::{Arriving, BodyReader, Filler},
        stored::Span,
    },
    cache::Parts,
    landing::Leader,
    origin::OriginRequest,
    pump::{until, whole_body},
    respond::respond_once,
    stored::{Incoming, Mark, Stored},
    tags::tags_of,
    variants::joined,
};
use crate::engine::store::MAX_TAGS_OF_ENTRY;

/// An answer of the origin.
pub(crate) struct OriginReply<'a> {
    pub(crate) origin_request: &'a OriginRequest,
    pub(crate) exchange: Exchange,
    pub(crate) took: Duration,
    /// Until then its reader waits for a head.
    pub(crate) deadline: Option<Deadline>,
}

/// What it means.
pub(crate) enum Judged {
    /// It fits nothing that is stored.
    AskForTheWhole,
    /// It fits, but does not come in time.
    TookTooLong,
    /// It is an error, and something stale stands in.
    StandIn(StatusCode),
    /// It is for its reader alone.
    NotStored(UnstoredReply),
    /// It is here, and to be stored in the place of what it updates, if it updates anything. `sent`: the fields
    /// as the origin sent them.
    Here { fresh: Arc<Stored>, updates: Option<Arc<Stored>>, sent: HeaderMap, status: StatusCode },
    /// It is on its way, to be stored once it is here.
    Arrives { receiving: Receiving, body: Body, sent: HeaderMap, status: StatusCode },
}

/// An answer that is not stored. `status`: how the origin answered.
pub(crate) struct UnstoredReply {
    pub(crate) answer: Response<Body>,
    pub(crate) status: StatusCode,
    pub(crate) reason: Reason,
}

/// What there is of an answer that is to be stored before its body.
pub(crate) struct Receiving {
    pub(crate) incoming: Arc<Incoming>,
    pub(crate) filler: Filler,
    /// Keeps its beginning until its first reader reads it.
    pub(crate) place: Option<BodyReader>,
}

/// What an answer of the origin means.
pub(crate) async fn judge(
    cache: &Parts,
    reply: &OriginReply<'_>,
    answer: Response<Body>,
    leader: &Leader,
) -> Judged {
    let OriginRequest { asked, revalidates, completes, .. } = reply.origin_request;
    let (head, body) = answer.into_parts();
    let status = head.status;
    if status == StatusCode::NOT_MODIFIED && !revalidates.is_empty() {
        return confirmed(cache, reply, head.headers, leader);
    }
    let failure = OriginFailure::Status(status);
    if status.is_server_error() && reply.origin_request.may_stand_in(failure, cache) {
        return Judged::StandIn(status);
    }
    if !asked.is_spelt_as_its_key() {
        let answer = Response::from_parts(head, body);
        return Judged::NotStored(UnstoredReply { answer, status, reason: Reason::Spelling });
    }
    if asked.head.method == Method::HEAD {
        update_by_head(cache, reply, status, &head.headers, leader);
    }
    let response = ResponseHead { status, headers: (&head.headers).into() };
    match (completes, status) {
        (Some(part), StatusCode::PARTIAL_CONTENT) => {
            return completed(cache, reply, response, body, part).await;
        }
        // What there is now ends before the range, which was ours; or the reader has it already, and
        // the origin has only seen what we have.
        (completes, StatusCode::RANGE_NOT_SATISFIABLE)
            if completes.is_some() || reply.origin_request.hides_preconditions() =>
        {
            return Judged::AskForTheWhole;
        }
        (None, StatusCode::PARTIAL_CONTENT)
            if contradicts_if_range(&asked.head.headers, &head.headers) =>
        {
            return Judged::AskForTheWhole;
        }
        _ => {}
    }
    match receive(cache, &asked.policy, asked.request(), response, reply.exchange) {
        Ok(receiving) => Judged::Arrives { receiving, body, sent: head.headers, status },
        Err(reason) => {
            let answer = Response::from_parts(head, body);
            Judged::NotStored(UnstoredReply { answer, status, reason })
        }
    }
}

/// Makes ready for the body of an answer that is to be stored.
pub(crate) fn receive(
    cache: &Parts,
    policy: &Policy,
    request: RequestHead<'_>,
    response: ResponseHead<'_>,
    exchange: Exchange,
) -> Result<Receiving, Reason> {
    let head = storability(policy, request, response, exchange)?;
    let len = announced_len(response);
    if len.is_some_and(|len| len > cache.max_body_bytes()) {
        cache.counters().too_large.increment();
        return Err(Reason::TooLarge);
    }
    if tags_of([&head], request).len() > MAX_TAGS_OF_ENTRY {
        return Err(Reason::TooManyTags);
    }
    let Some(reserved) = cache.account.reserve(len.unwrap_or(0)) else {
        cache.count_crowded_out();
        return Err(Reason::NoRoom);
    };
    let (filler, body) = Arriving::new(len, reserved);
    let place = body.read(Span::WHOLE);
    let asked_at = Mark::at(exchange.requested_at);
    Ok(Receiving { incoming: Arc::new(Incoming { head, body, asked_at }), filler, place })
}

/// A 304 to our own validators (RFC 9111 §4.3.4).
fn confirmed(cache: &Parts, reply: &OriginReply<'_>, update: HeaderMap, leader: &Leader) -> Judged {
    let OriginRequest { asked, revalidates, .. } = reply.origin_request;
    let request = asked.request();
    let nominated: Vec<_> = revalidates.iter().map(|stored| stored.head.fields()).collect();
    let Some(index) = answered_by(&update, &nominated) else { return Judged::AskForTheWhole };
    let old = &revalidates[index];
    let mut merged = freshen(old.head.fields(), &update);
    // A part of what the reader's range is no longer for: the update names another version.
    if !old.is_whole() && contradicts_if_range(request.headers, &merged) {
        return Judged::AskForTheWhole;
    }
    match old.head.freshened(&asked.policy, request, merged.clone(), reply.exchange) {
        Ok(head) => {
            let asked_at = Mark::at(reply.exchange.requested_at);
            // One that was another request's stays as it is for those: the origin has said that its
            // body is this request's answer as well.
            let is_update = old.head.selects(request.headers);
            Judged::Here {
                fresh: Arc::new(Stored { head, body: old.body.clone(), asked_at }),
                updates: is_update.then(|| Arc::clone(old)),
                sent: update,
                status: StatusCode::NOT_MODIFIED,
            }
        }
        // It is true, but may be kept no longer.
        Err(reason) => {
            if !is_about_its_reader(reason) {
                cache.store.drop_variant(old, leader);
            }
            // Dates are strong only beside one of the answer (RFC 9110 §8.8.2.2).
            merged.entry(DATE).or_insert(date::format(reply.exchange.received_at));
            let answer = respond_once(request, old, &merged);
            Judged::NotStored(UnstoredReply { answer, status: StatusCode::NOT_MODIFIED, reason })
        }
    }
}

/// The missing rest of a part (RFC 9111 §3.3, §3.4). Its reader waits for all of it, as it does
/// for a head.
async fn completed(
    cache: &Parts,
    reply: &OriginReply<'_>,
    response: ResponseHead<'_>,
    body: Body,
    part: &Stored,
) -> Judged {
    let reading = whole_body(cache, body, announced_len(response));
    let body = match until(reply.deadline, reading).await {
        Some(Some(body)) => body,
        Some(None) => return Judged::AskForTheWhole,
        None => return Judged::TookTooLong,
    };
    let policy = &reply.origin_request.asked.policy;
    let request = reply.origin_request.reader();
    let head = storability(policy, request, response, reply.exchange).ok();
    let Some(head) = head.and_then(|head| head.of_length(body.len())) else {
        return Judged::AskForTheWhole;
    };
    let asked_at = Mark::at(reply.exchange.requested_at);
    match joined(policy, request, part, &Stored { head, body, asked_at }) {
        Some(whole) if whole.is_whole() => Judged::Here {
            fresh: whole,
            updates: reply.origin_request.completes.clone(),
            sent: HeaderMap::new(),
            status: response.status,
        },
        _ => Judged::AskForTheWhole,
    }
}

/// What an answer to HEAD tells about stored answers to GET (RFC 9111 §4.3.5).
fn update_by_head(
    cache: &Parts,
    reply: &OriginReply<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    leader: &Leader,
) {
    let OriginRequest { asked, about, .. } = reply.origin_request;
    let (request, policy) = (asked.request(), &asked.policy);
    for stored in about {
        let response = ResponseHead { status, headers: headers.into() };
        let complete_bytes = stored.is_whole().then(|| stored.body.len());
        let updated = match head_says(stored.response_head(), complete_bytes, response) {
            HeadSays::Nothing => continue,
            HeadSays::Current => {
                let merged = freshen(stored.head.fields(), headers);
                stored.head.freshened(policy, request, merged, reply.exchange)
            }
            HeadSays::Changed => Err(Reason::Expired),
        };
        match updated {
            Ok(head) => {
                let asked_at = Mark::at(reply.exchange.requested_at);
                let fresh = Arc::new(Stored { head, body: stored.body.clone(), asked_at });
                let updates = [Arc::clone(stored)];
                cache.store.keep(policy, request, fresh, &updates, reply.took, leader);
            }
            Err(reason) if is_about_its_reader(reason) => {}
            Err(_) => cache.store.drop_variant(stored, leader),
        }
    }
}

/// Whether an answer is not stored for what its request was: that says nothing of what is stored for
/// others.
fn is_about_its_reader(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Authorization | Reason::Cookie | Reason::RequestNoStore | Reason::UnusualRequest
    )
}

/// How long the body will be, if the origin has said so.
fn announced_len(response: ResponseHead<'_>) -> Option<u64> {
    // It has no body, whatever it says (RFC 9110 §15.3.5).
    if response.status == StatusCode::NO_CONTENT {
        return Some(0);
    }
    std::str::from_utf8(response.headers.first(CONTENT_LENGTH.as_str())?).ok()?.parse().ok()
}
