//! Target: what a request is for, where its peer is believed: as it came first, not as it came here.

use std::num::NonZeroU16;

use http::{
    HeaderValue, Uri, header,
    request::Parts,
    uri::{PathAndQuery, Scheme},
};
use larder::http::policy::forward;

/// Where the reader of a request in the open is to ask instead, at this port. `None`: it came over TLS, or is for no
/// host.
pub(super) fn over_tls(uri: &Uri, port: NonZeroU16) -> Option<HeaderValue> {
    let host = uri.authority().filter(|_| uri.scheme() == Some(&Scheme::HTTP))?.host();
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let location = match port.get() {
        443 => format!("https://{host}{path}"),
        port => format!("https://{host}:{port}{path}"),
    };
    HeaderValue::try_from(location).ok()
}

/// Makes the scheme and the host that a trusted peer names those of the request. `Host` follows, so that the key, the
/// route and the origin have one answer: otherwise what an origin says for the one host could be stored for another.
pub(super) fn follow(head: &mut Parts) {
    let named = forward::take_named(&mut head.headers);
    let mut parts = std::mem::take(&mut head.uri).into_parts();
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
}
