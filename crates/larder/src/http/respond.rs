//! Respond: an answer made from what is stored, or is on its way into the cache.
//!
//! First it is planned from the heads alone (status, fields, which bytes); then the bytes are taken, which for
//! a stored body always succeeds, and for one on its way only while they are there.

use std::{convert::Infallible, time::SystemTime};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{AGE, CONTENT_LENGTH, CONTENT_RANGE},
};
use larder_policy::{
    head::{RequestHead, ResponseHead},
    multipart::{Boundary, Multipart},
    part::Part,
    range::{self, ByteRange, Selection},
    stored::StoredHead,
    validate::{self, Precondition},
};

use super::{
    body::{Body, stored::Span},
    stored::{Brought, Incoming, Stored, part_of},
};

/// What of the reader's request still has to be applied to the stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Apply {
    /// Its preconditions and its range.
    All,
    /// The origin has applied them: it is what it is.
    Nothing,
}

/// The answer to `request` from what is stored.
pub(crate) fn respond(
    request: RequestHead<'_>,
    stored: &Stored,
    apply: Apply,
    now: SystemTime,
) -> Response<Body> {
    let plan = Source::of_stored(stored).plan(request, stored.response_head(), apply);
    aged(plan.with_body_of(stored), &stored.head, now)
}

/// Whether `request` has what is stored already, by its own conditions.
pub(crate) fn is_unchanged(request: RequestHead<'_>, stored: &Stored) -> bool {
    let received_at = stored.head.received_at();
    validate::precondition(request, stored.response_head(), received_at)
        == Precondition::NotModified
}

/// The answer to a request that has what is stored already.
pub(crate) fn unchanged(stored: &Stored, now: SystemTime) -> Response<Body> {
    let fields = validate::not_modified(stored.head.fields());
    aged(made(StatusCode::NOT_MODIFIED, fields, Body::empty()), &stored.head, now)
}

/// The answer to `request` from what a fetch has brought. `None`: its body is on its way, and its beginning
/// gone already.
pub(crate) fn respond_brought(
    request: RequestHead<'_>,
    brought: &Brought,
    apply: Apply,
    now: SystemTime,
) -> Option<Response<Body>> {
    match brought {
        Brought::Stored(stored) => Some(respond(request, stored, apply, now)),
        Brought::Incoming(incoming) => {
            let source = Source::of_incoming(incoming);
            let head = &incoming.head;
            let response = ResponseHead { status: head.status(), headers: head.fields() };
            let planned = source.plan(request, response, apply).with_arriving(incoming);
            // Where not all ranges are here, they could only be given one after the other, and until the
            // last of them was read, all that arrives would have to be kept.
            let whole = || source.plan(request, response, Apply::Nothing).with_arriving(incoming);
            planned.or_else(whole).map(|answer| aged(answer, head, now))
        }
    }
}

/// Where in a body that is on its way the first byte lies that `request` wants of it; `None`: it wants none, or all.
pub(crate) fn first_byte_wanted(request: RequestHead<'_>, incoming: &Incoming) -> Option<u64> {
    let head = &incoming.head;
    let response = ResponseHead { status: head.status(), headers: head.fields() };
    match Source::of_incoming(incoming).plan(request, response, Apply::All).content {
        Content::Span(span) => Some(span.start).filter(|start| *start > 0),
        Content::Nothing | Content::Parts(..) => None,
    }
}

/// The answer to `request` from `stored`, under fields that it may not be kept with.
pub(crate) fn respond_once(
    request: RequestHead<'_>,
    stored: &Stored,
    fields: &HeaderMap,
) -> Response<Body> {
    let head = ResponseHead { status: stored.head.status(), headers: fields.into() };
    Source::of_stored(stored).plan(request, head, Apply::All).with_body_of(stored)
}

/// An answer that is not stored, to a reader whose preconditions the origin has not seen. A range is a
/// wish, not an order (RFC 9110 §14.2), and gets all of it.
pub(crate) fn conditioned(
    request: RequestHead<'_>,
    answer: Response<Body>,
    received_at: SystemTime,
) -> Response<Body> {
    let head = ResponseHead { status: answer.status(), headers: answer.headers().into() };
    match validate::precondition(request, head, received_at) {
        Precondition::Proceed => answer,
        Precondition::NotModified => {
            made(StatusCode::NOT_MODIFIED, validate::not_modified(head.headers), Body::empty())
        }
    }
}

/// What is known of the bytes that an answer is made from.
struct Source {
    received_at: SystemTime,
    part: Option<Part>,
    /// `None`: how many there will be nobody knows yet.
    len: Option<u64>,
}

/// An answer but for its bytes.
struct Plan {
    status: StatusCode,
    fields: HeaderMap,
    content: Content,
}

enum Content {
    Nothing,
    Span(Span),
    /// Several ranges, of a body that begins at this byte of the whole.
    Parts(Multipart, u64),
}

impl Source {
    fn of_stored(stored: &Stored) -> Self {
        let len = Some(stored.body.len());
        Source { received_at: stored.head.received_at(), part: stored.part(), len }
    }

    fn of_incoming(incoming: &Incoming) -> Self {
        let Incoming { head, body, .. } = incoming;
        Source { received_at: head.received_at(), part: part_of(head), len: body.len() }
    }

    /// What of it answers the request, with the status and the fields of `head`.
    fn plan(&self, request: RequestHead<'_>, head: ResponseHead<'_>, apply: Apply) -> Plan {
        match apply {
            Apply::All => self.applied(request, head),
            Apply::Nothing => self.whole(request, head),
        }
    }

    fn applied(&self, request: RequestHead<'_>, head: ResponseHead<'_>) -> Plan {
        let fields = head.headers;
        if validate::precondition(request, head, self.received_at) == Precondition::NotModified {
            let (status, fields) = (StatusCode::NOT_MODIFIED, validate::not_modified(fields));
            return Plan { status, fields, content: Content::Nothing };
        }
        // Of these bytes, which ones; where those begin in the whole, and how long that is.
        let (selection, begins_at, complete_bytes) = match (&self.part, self.len) {
            (Some(part), _) => match part.select(request, fields) {
                Some(selection) => (selection, part.range().first(), part.complete_bytes()),
                None => return self.whole(request, head),
            },
            (None, Some(len)) => (range::select(request, head, len), 0, Some(len)),
            // How long it is nobody knows yet, and a range is a wish, not an order (RFC 9110 §14.2).
            (None, None) => return self.whole(request, head),
        };
        match (selection, complete_bytes) {
            (Selection::Part(range), _) => Plan {
                status: StatusCode::PARTIAL_CONTENT,
                fields: range::part_fields(fields, range, complete_bytes),
                content: Content::Span(span(range, begins_at)),
            },
            (Selection::Parts(ranges), _) => {
                let parts = Multipart::new(ranges, fields, complete_bytes, boundary());
                let (status, fields) = (StatusCode::PARTIAL_CONTENT, parts.fields(fields));
                Plan { status, fields, content: Content::Parts(parts, begins_at) }
            }
            (Selection::Unsatisfiable, Some(complete_bytes)) => {
                let mut fields = validate::not_modified(fields);
                fields.insert(CONTENT_RANGE, range::unsatisfied_range(complete_bytes));
                fields.insert(CONTENT_LENGTH, HeaderValue::from(0));
                let status = StatusCode::RANGE_NOT_SATISFIABLE;
                Plan { status, fields, content: Content::Nothing }
            }
            (Selection::Whole | Selection::Unsatisfiable, _) => self.whole(request, head),
        }
    }

    fn whole(&self, request: RequestHead<'_>, head: ResponseHead<'_>) -> Plan {
        let mut fields = head.headers.to_map();
        let content = match *request.method {
            Method::HEAD => {
                if let (Some(len), false) = (self.len, fields.contains_key(CONTENT_LENGTH)) {
                    fields.insert(CONTENT_LENGTH, HeaderValue::from(len));
                }
                Content::Nothing
            }
            _ => Content::Span(Span::WHOLE),
        };
        Plan { status: head.status, fields, content }
    }
}

impl Plan {
    fn with_body_of(self, stored: &Stored) -> Response<Body> {
        let body = match self.content {
            Content::Nothing => Body::empty(),
            Content::Span(span) => Body::stored(stored.body.clone(), span),
            Content::Parts(parts, begins_at) => {
                let slices = |span| Ok::<_, Infallible>(stored.body.slices(span));
                let Ok(pieces) = pieces(&parts, begins_at, slices);
                Body::made_of(&stored.body, pieces)
            }
        };
        made(self.status, self.fields, body)
    }

    /// `None`: not all of these bytes are here.
    fn with_arriving(self, incoming: &Incoming) -> Option<Response<Body>> {
        let body = match self.content {
            Content::Nothing => Body::empty(),
            Content::Span(span) => Body::arriving(incoming.body.read(span)?),
            Content::Parts(parts, begins_at) => {
                let slices = |span| incoming.body.slices(span).ok_or(());
                Body::made(pieces(&parts, begins_at, slices).ok()?)
            }
        };
        Some(made(self.status, self.fields, body))
    }
}

/// The bytes of an answer in several parts.
fn pieces<E>(
    parts: &Multipart,
    begins_at: u64,
    slices: impl Fn(Span) -> Result<Vec<Bytes>, E>,
) -> Result<Vec<Bytes>, E> {
    let mut pieces = Vec::new();
    for (head, range) in parts.parts() {
        pieces.push(Bytes::copy_from_slice(head));
        pieces.extend(slices(span(range, begins_at))?);
    }
    pieces.push(Bytes::from(parts.tail()));
    Ok(pieces)
}

/// Where a range of the whole lies in a body that begins at one of its bytes.
fn span(range: ByteRange, begins_at: u64) -> Span {
    Span { start: range.first().saturating_sub(begins_at), len: Some(range.len()) }
}

/// Something that is in no body: drawn at random for each answer.
fn boundary() -> Boundary {
    use std::hash::{BuildHasher, RandomState};
    let random = || RandomState::new().hash_one(0);
    Boundary::new(format!("larder-{:016x}{:016x}", random(), random()))
        .expect("letters, digits and a dash")
}

fn aged(mut answer: Response<Body>, head: &StoredHead, now: SystemTime) -> Response<Body> {
    answer.headers_mut().insert(AGE, HeaderValue::from(head.age(now).as_secs()));
    answer
}

fn made(status: StatusCode, fields: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    response
}
