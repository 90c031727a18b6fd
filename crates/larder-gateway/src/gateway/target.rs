//! Target: what a request is for, where its peer is believed: as it came first, not as it came here.

use std::num::NonZeroU16;

use http::{
    HeaderValue, Uri, header,
    request::Parts,
    uri::{Authority, PathAndQuery, Scheme},
};
use larder::http::policy::forward;

/// Where the reader of a request is to ask over TLS.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OverTls {
    Already,
    At(HeaderValue),
    /// It came in the open, and is for no host.
    Nowhere,
}

/// Where the reader of a request in the open is to ask instead, at this port.
pub(super) fn over_tls(uri: &Uri, port: NonZeroU16) -> OverTls {
    if uri.scheme() == Some(&Scheme::HTTPS) {
        return OverTls::Already;
    }
    let Some(host) = uri.authority().map(Authority::host).filter(|host| !host.is_empty()) else {
        return OverTls::Nowhere;
    };
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let location = match port.get() {
        443 => format!("https://{host}{path}"),
        port => format!("https://{host}:{port}{path}"),
    };
    HeaderValue::try_from(location).map_or(OverTls::Nowhere, OverTls::At)
}

/// Makes the scheme and the host that a trusted peer names those of the request. `Host` follows, so that the key, the
/// route and the origin have one answer: otherwise what an origin says for the one host could be stored for another.
///
/// Whether the request came over TLS, as the peer says: a target without a host has no scheme that could tell.
pub(super) fn follow(head: &mut Parts) -> bool {
    let named = forward::take_named(&mut head.headers);
    let mut parts = std::mem::take(&mut head.uri).into_parts();
    let is_https = named.scheme.map(Into::into) == Some(Scheme::HTTPS);
    // `OPTIONS *` is for no scheme and no host.
    if parts.authority.is_some() {
        parts.scheme = named.scheme.map(Into::into).or(parts.scheme);
    }
    if let (Some(authority), Some(host)) = (&mut parts.authority, named.host)
        && let Ok(value) = HeaderValue::from_str(host.as_str())
    {
        head.headers.insert(header::HOST, value);
        *authority = host;
    }
    head.uri = parts.try_into().expect("it was a URI, and its parts are what they were");
    is_https
}
