//! Message heads as the policy sees them: borrowed, without bodies.

use std::time::SystemTime;

use http::{Method, StatusCode, Uri};

use crate::fields::Fields;

/// A request's head, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The effective absolute URI (scheme, authority, path, query) as the gateway understood it.
    pub uri: &'a Uri,
    /// The fields, as the reader sent them.
    pub headers: Fields<'a>,
}

/// A request as far as it concerns what is stored under its key: its URI has done its part.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// The method.
    pub method: &'a Method,
    /// The fields, as the reader sent them.
    pub headers: Fields<'a>,
}

impl<'a> From<RequestHead<'a>> for Asking<'a> {
    fn from(request: RequestHead<'a>) -> Self {
        Asking { method: request.method, headers: request.headers }
    }
}

/// A response's head, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    /// The status of the final response; interim ones (1xx) are never asked about.
    pub status: StatusCode,
    /// The fields the origin sent, without those that concern one connection only (RFC 9110 §7.6.1).
    pub headers: Fields<'a>,
}

/// When a request went out and its response's head came in. Both come from a clock that never
/// steps back; where they are swapped all the same, the delay counts as zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// When the request was sent (`request_time` in RFC 9111 §4.2.3).
    pub requested_at: SystemTime,
    /// When the response's head arrived (`response_time`).
    pub received_at: SystemTime,
}
