//! What the targets read: heads, written as text so that a seed can be written by hand.
//!
//! ```text
//! GET http://example.com/a        a request: method, URI, fields
//! accept: text/plain
//!
//! 200                             responses: status, fields
//! cache-control: max-age=60
//! ```
//!
//! A blank line separates them. Lines that are no field are left out: what a listener refuses never
//! reaches the policy.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use larder_policy::head::{Exchange, RequestHead, ResponseHead};

/// A request that owns what its head borrows.
#[derive(Debug)]
pub struct Request {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

/// A response, likewise.
#[derive(Debug)]
pub struct Response {
    status: StatusCode,
    headers: HeaderMap,
}

impl Request {
    /// A GET with these fields.
    pub fn get(headers: HeaderMap) -> Request {
        let uri = Uri::from_static("http://example.com/a?b");
        Request { method: Method::GET, uri, headers }
    }

    /// Its head.
    pub fn head(&self) -> RequestHead<'_> {
        RequestHead { method: &self.method, uri: &self.uri, headers: (&self.headers).into() }
    }
}

impl Response {
    /// A response with this status and these fields.
    pub fn new(status: StatusCode, headers: HeaderMap) -> Response {
        Response { status, headers }
    }

    /// Its head.
    pub fn head(&self) -> ResponseHead<'_> {
        ResponseHead { status: self.status, headers: (&self.headers).into() }
    }
}

/// Reads a request and any number of responses.
pub fn heads(data: &[u8]) -> Option<(Request, Vec<Response>)> {
    let mut lines = data.split(|&byte| byte == b'\n');
    let mut words = std::str::from_utf8(lines.next()?).ok()?.split(' ');
    let (method, uri) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let request = Request { method, uri, headers: fields(&mut lines) };
    let mut responses = Vec::new();
    while let Some(line) = lines.next() {
        let status = StatusCode::from_bytes(line).ok()?;
        responses.push(Response { status, headers: fields(&mut lines) });
    }
    Some((request, responses))
}

fn fields<'a>(lines: &mut impl Iterator<Item = &'a [u8]>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.by_ref().take_while(|line| !line.is_empty()) {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            continue;
        };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

/// Reads each line as one value of the field `name`.
pub fn lines(data: &[u8], name: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in data.split(|&byte| byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(name, value);
        }
    }
    headers
}

/// When everything takes place: the first of January 2020.
pub fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_577_836_800)
}

/// An exchange that took no time.
pub fn exchange() -> Exchange {
    Exchange { requested_at: now(), received_at: now() }
}
