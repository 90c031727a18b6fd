//! Respond: an answer made from what is stored, or is on its way into the cache.

use std::time::SystemTime;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{AGE, CONTENT_LENGTH},
};
use larder_policy::{
    head::RequestHead,
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
        Apply::All => applied(request, stored)?,
        Apply::Nothing => whole(request, stored)?,
    };
    let age = stored.head.age(now).as_secs();
    response.headers_mut().insert(AGE, HeaderValue::from(age));
    Some(response)
}

fn applied(request: RequestHead<'_>, stored: &Stored) -> Option<Response<Body>> {
    let head = stored.response_head();
    let received_at = stored.head.received_at();
    if validate::precondition(request, head, received_at) == Precondition::NotModified {
        let fields = validate::not_modified(head.headers);
        return Some(answer(StatusCode::NOT_MODIFIED, fields, Body::empty()));
    }
    if let Some(part) = stored.part() {
        return match part.select(request, head.headers) {
            Some(Selection::Part(range)) => {
                let slice = part.slice(range)?;
                let span = Span { start: slice.start, len: Some(slice.end - slice.start) };
                let fields = range::part_fields(head.headers, range, part.complete_bytes());
                Some(answer(StatusCode::PARTIAL_CONTENT, fields, stored.body(span)?))
            }
            _ => whole(request, stored),
        };
    }
    let Some(complete_bytes) = stored.content_len() else {
        // How long it is nobody knows yet, and a range is a wish, not an order (RFC 9110 §14.2).
        return whole(request, stored);
    };
    match range::select(request, head, complete_bytes) {
        Selection::Whole => whole(request, stored),
        Selection::Part(range) => {
            let fields = range::part_fields(head.headers, range, Some(complete_bytes));
            Some(answer(StatusCode::PARTIAL_CONTENT, fields, stored.body(span(range))?))
        }
        Selection::Parts(ranges) => match &stored.content {
            Content::Here(_) => Some(parts(stored, ranges, complete_bytes)),
            Content::Arriving(_) => whole(request, stored),
        },
        Selection::Unsatisfiable => {
            let mut fields = validate::not_modified(head.headers);
            let range = range::unsatisfied_range(complete_bytes);
            fields.insert(http::header::CONTENT_RANGE, range);
            fields.insert(CONTENT_LENGTH, HeaderValue::from(0));
            Some(answer(StatusCode::RANGE_NOT_SATISFIABLE, fields, Body::empty()))
        }
    }
}

fn whole(request: RequestHead<'_>, stored: &Stored) -> Option<Response<Body>> {
    let mut fields = stored.head.headers().clone();
    let body = if *request.method == Method::HEAD {
        if let (Some(len), false) = (stored.content_len(), fields.contains_key(CONTENT_LENGTH)) {
            fields.insert(CONTENT_LENGTH, HeaderValue::from(len));
        }
        Body::empty()
    } else {
        stored.body(Span::WHOLE)?
    };
    Some(answer(stored.head.status(), fields, body))
}

fn parts(stored: &Stored, ranges: Vec<ByteRange>, complete_bytes: u64) -> Response<Body> {
    let fields = stored.head.headers();
    let laid_out = Multipart::new(ranges, fields, Some(complete_bytes), boundary());
    let mut pieces = Vec::new();
    if let Content::Here(body) = &stored.content {
        for (head, range) in laid_out.parts() {
            pieces.push(Bytes::copy_from_slice(head));
            pieces.extend(body.slices(span(range)));
        }
    }
    pieces.push(Bytes::from(laid_out.tail()));
    answer(StatusCode::PARTIAL_CONTENT, laid_out.fields(fields), Body::made(pieces))
}

fn span(range: ByteRange) -> Span {
    Span { start: range.first(), len: Some(range.len()) }
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
