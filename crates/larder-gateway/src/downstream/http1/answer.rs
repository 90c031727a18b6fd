//! Answer: a response's head as bytes, and how its body will end.

use std::{
    cell::RefCell,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header,
    response::Parts,
};
use http_body::SizeHint;
use hyper::ext::ReasonPhrase;
use larder::http::policy::fields::write_number;

use super::framing;

/// What of the request decides how its answer is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestFacts {
    pub(crate) is_head: bool,
    pub(crate) version: Version,
    /// Whether the connection may be used again as far as the request, and the connection, are
    /// concerned.
    pub(crate) is_persistent: bool,
    /// Whether its sender takes trailers.
    pub(crate) takes_trailers: bool,
}

/// How an answer's body ends on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// There is none, whatever the fields say.
    None,
    Length {
        left: u64,
    },
    Chunked {
        takes_trailers: bool,
    },
    /// With the connection: a reader of HTTP/1.0 knows nothing else for an unknown length.
    Close,
}

impl Ending {
    /// Whether nothing is missing of what was announced.
    pub(crate) fn is_reached(self) -> bool {
        !matches!(self, Ending::Length { left } if left > 0)
    }
}

/// What the head promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Promise {
    pub(crate) ending: Ending,
    pub(crate) is_persistent: bool,
}

/// Writes the head. The fields that say where the body ends and what becomes of the connection are
/// the connection's own, whatever the service put there; all others pass as they are.
pub(crate) fn write_head(
    text: &mut BytesMut,
    parts: &Parts,
    hint: SizeHint,
    facts: RequestFacts,
) -> Promise {
    let named = framing::length_of_answer(&parts.headers);
    let ending = ending(parts.status, named.or(hint.exact()), facts);
    let is_persistent = facts.is_persistent
        && ending != Ending::Close
        && framing::is_persistent(Version::HTTP_11, &parts.headers);
    text.reserve(256 + parts.headers.len() * 48);
    write_status_line(text, parts.status, parts.extensions.get::<ReasonPhrase>());
    write_fields(text, &parts.headers);
    match ending {
        Ending::Length { left } => write_length(text, left),
        Ending::Chunked { .. } => text.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        // What the length would have been (RFC 9110 §8.6); a 204 must not say.
        Ending::None if parts.status != StatusCode::NO_CONTENT => {
            if let Some(length) = named {
                write_length(text, length);
            }
        }
        Ending::None | Ending::Close => {}
    }
    if !parts.headers.contains_key(header::DATE) {
        write_date(text);
    }
    match (is_persistent, facts.version) {
        (true, Version::HTTP_10) => text.extend_from_slice(b"connection: keep-alive\r\n"),
        (true, _) => {}
        (false, _) => text.extend_from_slice(b"connection: close\r\n"),
    }
    text.extend_from_slice(b"\r\n");
    Promise { ending, is_persistent }
}

/// Writes an interim answer (RFC 9110 §15.2): it has no body and says nothing about the connection.
pub(crate) fn write_interim(text: &mut BytesMut, answer: &Response<()>) {
    write_status_line(text, answer.status(), answer.extensions().get::<ReasonPhrase>());
    write_fields(text, answer.headers());
    text.extend_from_slice(b"\r\n");
}

/// Writes the answer after which a connection goes on in another protocol (RFC 9110 §15.2.2).
pub(crate) fn write_switching(text: &mut BytesMut, parts: &Parts, protocol: &HeaderValue) {
    write_status_line(text, parts.status, parts.extensions.get::<ReasonPhrase>());
    write_fields(text, &parts.headers);
    text.extend_from_slice(b"connection: upgrade\r\nupgrade: ");
    text.extend_from_slice(protocol.as_bytes());
    text.extend_from_slice(b"\r\n\r\n");
}

/// The status of a whole answer of ours, its fields and its body.
pub(crate) fn write_own(
    text: &mut BytesMut,
    response: Response<Bytes>,
    facts: RequestFacts,
) -> Promise {
    let (parts, body) = response.into_parts();
    let promise = write_head(text, &parts, SizeHint::with_exact(body.len() as u64), facts);
    if promise.ending != Ending::None {
        text.extend_from_slice(&body);
    }
    promise
}

/// What is known of the request when it is refused before it was understood.
impl RequestFacts {
    pub(crate) const UNKNOWN: RequestFacts = RequestFacts {
        is_head: false,
        version: Version::HTTP_11,
        is_persistent: false,
        takes_trailers: false,
    };

    pub(crate) fn of(method: &Method, version: Version, is_persistent: bool) -> Self {
        let is_head = method == Method::HEAD;
        RequestFacts { is_head, version, is_persistent, takes_trailers: false }
    }
}

pub(crate) fn ending(status: StatusCode, length: Option<u64>, facts: RequestFacts) -> Ending {
    if facts.is_head || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
        return Ending::None;
    }
    match length {
        Some(left) => Ending::Length { left },
        None if facts.version == Version::HTTP_10 => Ending::Close,
        None => Ending::Chunked { takes_trailers: facts.takes_trailers },
    }
}

fn write_status_line(text: &mut BytesMut, status: StatusCode, reason: Option<&ReasonPhrase>) {
    let reason = match reason {
        Some(reason) => reason.as_bytes(),
        None => status.canonical_reason().unwrap_or_default().as_bytes(),
    };
    text.extend_from_slice(b"HTTP/1.1 ");
    text.extend_from_slice(status.as_str().as_bytes());
    text.extend_from_slice(b" ");
    text.extend_from_slice(reason);
    text.extend_from_slice(b"\r\n");
}

pub(super) fn write_fields(text: &mut BytesMut, headers: &HeaderMap) {
    for (name, value) in headers {
        if is_ours(name) {
            continue;
        }
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
}

/// The fields that are about this connection, and `Trailer`: whether trailers come is not known here, so nobody
/// shall wait for them.
pub(crate) fn is_ours(name: &HeaderName) -> bool {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
    *name == header::CONNECTION
        || *name == header::CONTENT_LENGTH
        || *name == header::TRANSFER_ENCODING
        || *name == header::TRAILER
        || *name == KEEP_ALIVE
        || *name == PROXY_CONNECTION
}

fn write_length(text: &mut BytesMut, length: u64) {
    text.extend_from_slice(b"content-length: ");
    write_number(length, text);
    text.extend_from_slice(b"\r\n");
}

fn write_date(text: &mut BytesMut) {
    with_date(|date| {
        text.extend_from_slice(b"date: ");
        text.extend_from_slice(date.as_bytes());
        text.extend_from_slice(b"\r\n");
    });
}

/// What `Date` says now (RFC 9110 §6.6.1). Written anew once a second.
pub(crate) fn with_date<T>(use_it: impl FnOnce(&str) -> T) -> T {
    thread_local! {
        /// The second it is, and how it is written.
        static NOW: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    NOW.with_borrow_mut(|(written, date)| {
        if *written != second || date.is_empty() {
            *written = second;
            *date = httpdate::fmt_http_date(now);
        }
        use_it(date)
    })
}
