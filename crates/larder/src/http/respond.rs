//! Respond: an answer made from what is stored, or is on its way into the cache.

use std::time::SystemTime;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{AGE, CONTENT_LENGTH, CONTENT_RANGE},
};
use larder_policy::{
    fields::Fields,
    head::{RequestHead, ResponseHead},
    multipart::{Boundary, Multipart},
    range::{self, ByteRange, Selection},
    validate::{self, Precondition},
};

use super::{
    body::{Body, Span},
    stored::{Content, Stored},
};

/// What of the reader's request still has to be applied to the stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Apply {
    /// Its preconditions and its range.
    All,
    /// The origin has applied them: it is what it is.
    Nothing,
}

/// The answer to `request` from `stored`. `None`: its body is on its way, and its beginning gone
/// already.
pub(crate) fn respond(
    request: RequestHead<'_>,
    stored: &Stored,
    apply: Apply,
    now: SystemTime,
) -> Option<Response<Body>> {
    let mut response = match apply {
        Apply::All => applied(request, stored.response_head(), stored)?,
        Apply::Nothing => whole(request, stored.response_head(), stored)?,
    };
    let age = stored.head.age(now).as_secs();
    response.headers_mut().insert(AGE, HeaderValue::from(age));
    Some(response)
}

/// The answer to `request` from `stored`, under fields that it may not be kept with.
pub(crate) fn respond_once(
    request: RequestHead<'_>,
    stored: &Stored,
    fields: &HeaderMap,
) -> Option<Response<Body>> {
    let head = ResponseHead { status: stored.head.status(), headers: fields.into() };
    applied(request, head, stored)
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
        Precondition::NotModified => not_modified(head.headers),
    }
}

fn not_modified(fields: Fields<'_>) -> Response<Body> {
    answer(StatusCode::NOT_MODIFIED, validate::not_modified(fields), Body::empty())
}

/// What of `stored` answers the request, with the status and the fields of `head`.
fn applied(
    request: RequestHead<'_>,
    head: ResponseHead<'_>,
    stored: &Stored,
) -> Option<Response<Body>> {
    let received_at = stored.head.received_at();
    if validate::precondition(request, head, received_at) == Precondition::NotModified {
        return Some(not_modified(head.headers));
    }
    // Of what is stored, which bytes; where those begin in the whole, and how long that is.
    let (selection, begins_at, complete_bytes) = match (stored.part(), stored.content_len()) {
        (Some(part), _) => match part.select(request, head.headers) {
            Some(selection) => (selection, part.range().first(), part.complete_bytes()),
            None => return whole(request, head, stored),
        },
        (None, Some(len)) => (range::select(request, head, len), 0, Some(len)),
        // How long it is nobody knows yet, and a range is a wish, not an order (RFC 9110 §14.2).
        (None, None) => return whole(request, head, stored),
    };
    match (selection, complete_bytes) {
        (Selection::Part(range), _) => {
            let fields = range::part_fields(head.headers, range, complete_bytes);
            let body = stored.body(span(range, begins_at))?;
            Some(answer(StatusCode::PARTIAL_CONTENT, fields, body))
        }
        (Selection::Parts(ranges), _) => {
            parts(head.headers, &stored.content, ranges, begins_at, complete_bytes)
                .or_else(|| whole(request, head, stored))
        }
        (Selection::Unsatisfiable, Some(complete_bytes)) => {
            let mut fields = validate::not_modified(head.headers);
            let range = range::unsatisfied_range(complete_bytes);
            fields.insert(CONTENT_RANGE, range);
            fields.insert(CONTENT_LENGTH, HeaderValue::from(0));
            Some(answer(StatusCode::RANGE_NOT_SATISFIABLE, fields, Body::empty()))
        }
        (Selection::Whole | Selection::Unsatisfiable, _) => whole(request, head, stored),
    }
}

fn whole(
    request: RequestHead<'_>,
    head: ResponseHead<'_>,
    stored: &Stored,
) -> Option<Response<Body>> {
    let mut fields = head.headers.to_map();
    let body = if *request.method == Method::HEAD {
        if let (Some(len), false) = (stored.content_len(), fields.contains_key(CONTENT_LENGTH)) {
            fields.insert(CONTENT_LENGTH, HeaderValue::from(len));
        }
        Body::empty()
    } else {
        stored.body(Span::WHOLE)?
    };
    Some(answer(head.status, fields, body))
}

/// `None`: not all of these bytes are here yet. They could only be given one range after the other,
/// and until the last of them was read, all that arrives would have to be kept.
fn parts(
    fields: Fields<'_>,
    content: &Content,
    ranges: Vec<ByteRange>,
    begins_at: u64,
    complete_bytes: Option<u64>,
) -> Option<Response<Body>> {
    let laid_out = Multipart::new(ranges, fields, complete_bytes, boundary());
    let mut pieces = Vec::new();
    for (head, range) in laid_out.parts() {
        pieces.push(Bytes::copy_from_slice(head));
        pieces.extend(content.slices(span(range, begins_at))?);
    }
    pieces.push(Bytes::from(laid_out.tail()));
    Some(answer(StatusCode::PARTIAL_CONTENT, laid_out.fields(fields), Body::made(pieces)))
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

fn answer(status: StatusCode, fields: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    response
}
