//! Reply: what an answer of the origin means, and what is stored already learns from it.

use std::{ops::Range, sync::Arc, time::Duration};

use http::{
    HeaderMap, Method, Response, StatusCode,
    header::{CONTENT_LENGTH, DATE},
};
use larder_policy::{
    date,
    head::{Exchange, RequestHead, ResponseHead},
    part::Piece,
    range::contradicts_if_range,
    reason::Reason,
    response::storability,
    reuse::OriginFailure,
    settings::Policy,
    stored::{Extent, StoredHead},
    validate::{HeadSays, answered_by, freshen, head_says},
};

use super::{
    body::{
        Body,
        arriving::{Arriving, BodyReader, Filler},
        stored::Span,
    },
    cache::Parts,
    landing::Leader,
    origin::OriginRequest,
    respond::respond_once,
    stored::{Incoming, Mark, Stored, part_of},
    tags::tags_of,
    variants::joined_head,
};
use crate::engine::store::MAX_TAGS_OF_ENTRY;

/// An answer of the origin.
pub(crate) struct OriginReply<'a> {
    pub(crate) origin_request: &'a OriginRequest,
    pub(crate) exchange: Exchange,
    pub(crate) took: Duration,
}

/// What it means.
pub(crate) enum Judged {
    /// It fits nothing that is stored.
    AskForTheWhole,
    /// There was none in time.
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
pub(crate) fn judge(
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
            return completed(cache, reply, response, body, part);
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
    // A complete part names its length with its range.
    let len = announced_len(response).or_else(|| head.named_length());
    if tags_of([&head], request).len() > MAX_TAGS_OF_ENTRY {
        return Err(Reason::TooManyTags);
    }
    make_ready(cache, policy, head, len, Mark::at(exchange.requested_at))
}

/// The same for a response that may be stored, of this length if that is known.
pub(crate) fn make_ready(
    cache: &Parts,
    policy: &Policy,
    head: StoredHead,
    len: Option<u64>,
    asked_at: Mark,
) -> Result<Receiving, Reason> {
    if len.is_some_and(|len| len > cache.max_body_bytes(policy)) {
        cache.counters().too_large.increment();
        return Err(Reason::TooLarge);
    }
    let Some(reserved) = cache.account.reserve(len.unwrap_or(0)) else {
        cache.count_crowded_out();
        return Err(Reason::NoRoom);
    };
    let (filler, body) = Arriving::new(len, reserved);
    let place = body.read(Span::WHOLE);
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
            let is_update = old.head.selects(&asked.policy, request.headers);
            Judged::Here {
                fresh: Arc::new(Stored::new(head, old.body.clone(), asked_at)),
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

/// The missing rest of a part (RFC 9111 §3.3, §3.4). Where the two fit, by what their heads say, all of it is on its
/// way from here: the part at once, the rest as it comes.
fn completed(
    cache: &Parts,
    reply: &OriginReply<'_>,
    response: ResponseHead<'_>,
    rest: Body,
    part: &Stored,
) -> Judged {
    let policy = &reply.origin_request.asked.policy;
    let request = reply.origin_request.reader();
    let Ok(rest_head) = storability(policy, request, response, reply.exchange) else {
        return Judged::AskForTheWhole;
    };
    let Some((head, body)) = whole_of(policy, request, part, rest_head, (response, rest)) else {
        return Judged::AskForTheWhole;
    };
    let asked_at = Mark::at(reply.exchange.requested_at);
    let (fields, len, status) = (head.headers(), head.named_length(), response.status);
    match make_ready(cache, policy, head, len, asked_at) {
        Ok(receiving) => Judged::Arrives { receiving, body, sent: HeaderMap::new(), status },
        // Its reader has it all the same.
        Err(reason) => {
            let mut answer = Response::new(body);
            *answer.headers_mut() = fields;
            Judged::NotStored(UnstoredReply { answer, status, reason })
        }
    }
}

/// A part and the rest of it as one. `None`: they do not fit.
fn whole_of(
    policy: &Policy,
    request: RequestHead<'_>,
    part: &Stored,
    rest_head: StoredHead,
    (response, rest): (ResponseHead<'_>, Body),
) -> Option<(StoredHead, Body)> {
    // More came than was asked for: all of it.
    let Some(rest_part) = part_of(&rest_head) else { return Some((rest_head, rest)) };
    let spans = rest_part.range().len();
    let (head, pieces) = joined_head(policy, request, &part.head, &rest_head)?;
    let slices = |range: &Range<u64>| {
        part.body.slices(Span { start: range.start, len: Some(range.end - range.start) })
    };
    // What is another part than it says would shift what comes after it.
    let rest = rest.of_length(spans);
    let body = match &pieces[..] {
        [Piece::Stored(stored), Piece::Newer(newer)] if newer.end == spans => {
            rest.between(slices(stored), newer.start, Vec::new())
        }
        [Piece::Newer(newer), Piece::Stored(stored)] if newer.end == spans => {
            rest.between(Vec::new(), newer.start, slices(stored))
        }
        _ => return None,
    };
    let is_as_long_as_named = announced_len(response).is_none_or(|named| named == spans);
    let is_whole = head.extent() == Extent::Whole && is_as_long_as_named;
    is_whole.then_some((head, body))
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
    for variant in about {
        let stored = &variant.stored;
        let response = ResponseHead { status, headers: headers.into() };
        let complete_bytes = stored.is_whole().then(|| stored.body.len());
        // What was purged is not fresh again by an answer that proves nothing.
        let needs_proof = policy.wants_proof_of_heads() || variant.marked_stale().is_some();
        let says = head_says(stored.response_head(), complete_bytes, response, needs_proof);
        let updated = match says {
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
                let fresh = Arc::new(Stored::new(head, stored.body.clone(), asked_at));
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
