//! What the tables are written with: heads in a few words, and instants around noon.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use larder_policy::{
    date,
    head::{Exchange, RequestHead, ResponseHead},
    reason::Reason,
    response::storability,
    reuse::{Ask, Variant, Verdict, decide},
    settings::Policy,
    stored::StoredHead,
};

/// The fields of a head, in the order of their lines.
pub(crate) type Fields<'a> = &'a [(&'a str, &'a str)];

/// When every exchange of the tables takes place, unless it says otherwise.
pub(crate) const NOON: &str = "Mon, 05 Oct 2026 12:00:00 GMT";
pub(crate) const ONE_O_CLOCK: &str = "Mon, 05 Oct 2026 13:00:00 GMT";
pub(crate) const ELEVEN: &str = "Mon, 05 Oct 2026 11:00:00 GMT";
/// A hundred hours before noon.
pub(crate) const DAYS_AGO: &str = "Thu, 01 Oct 2026 08:00:00 GMT";

pub(crate) fn noon() -> SystemTime {
    date::parse(NOON.as_bytes()).expect("a date")
}

/// So many seconds after noon.
pub(crate) fn after(secs: u64) -> SystemTime {
    noon() + Duration::from_secs(secs)
}

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) fn at_noon() -> Exchange {
    Exchange { requested_at: noon(), received_at: noon() }
}

pub(crate) fn headers(fields: Fields<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a field name");
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a field value"));
    }
    headers
}

/// A request, owned.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
}

impl Request {
    pub(crate) fn head(&self) -> RequestHead<'_> {
        RequestHead { method: &self.method, uri: &self.uri, headers: (&self.headers).into() }
    }
}

pub(crate) fn request(method: &str, fields: Fields<'_>) -> Request {
    Request {
        method: Method::from_bytes(method.as_bytes()).expect("a method"),
        uri: Uri::from_static("http://example.com/a?b"),
        headers: headers(fields),
    }
}

pub(crate) fn get(fields: Fields<'_>) -> Request {
    request("GET", fields)
}

/// What becomes of an answer to `request` that comes at noon.
pub(crate) fn store(
    policy: &Policy,
    request: &Request,
    status: u16,
    fields: Fields<'_>,
) -> Result<StoredHead, Reason> {
    let headers = headers(fields);
    let status = StatusCode::from_u16(status).expect("a status");
    storability(
        policy,
        request.head(),
        ResponseHead { status, headers: (&headers).into() },
        at_noon(),
    )
}

/// A 200 to a plain GET that comes at noon and may be stored.
pub(crate) fn stored(policy: &Policy, fields: Fields<'_>) -> StoredHead {
    store(policy, &get(&[]), 200, fields).expect("storable")
}

/// The verdict on a request with one stored response at hand.
pub(crate) fn verdict(
    policy: &Policy,
    head: &StoredHead,
    request: &Request,
    now: SystemTime,
) -> Verdict {
    decide(policy, &[head.into()], request.head(), now)
}

pub(crate) fn verdict_among(
    policy: &Policy,
    heads: &[&StoredHead],
    request: &Request,
    now: SystemTime,
) -> Verdict {
    let variants: Vec<Variant<'_>> = heads.iter().map(|head| Variant::from(*head)).collect();
    decide(policy, &variants, request.head(), now)
}

/// A verdict in one word and its reason: what most tables compare.
pub(crate) fn short(verdict: &Verdict) -> (&'static str, Reason) {
    let word = match verdict {
        Verdict::Serve { .. } => "serve",
        Verdict::ServeAndRefresh { .. } => "refresh",
        Verdict::Ask(_) => "ask",
        Verdict::Refuse { .. } => "refuse",
        Verdict::Pass { .. } => "pass",
    };
    (word, verdict.reason())
}

pub(crate) fn asked(verdict: Verdict) -> Ask {
    match verdict {
        Verdict::Ask(ask) => ask,
        other => panic!("expected to ask, got {other:?}"),
    }
}

/// The one value of a field, as text.
pub(crate) fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().expect("ASCII"))
}
