//! Target: the request target and `Host` together name one URI (RFC 9112 §3.2, §3.3).

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Uri, Version, header,
    uri::{self, Authority, Parts, PathAndQuery},
};
use larder::http::policy::scheme::Scheme;

use super::{config::Http1Config, refusal::Refusal};

/// The absolute URI a request is for; for `OPTIONS *` just that. Afterwards `Host` says the same as
/// the URI: with an absolute target, what came in `Host` does not count (§3.2.2).
pub(crate) fn resolve(
    method: &Method,
    target: Bytes,
    version: Version,
    headers: &mut HeaderMap,
    config: &Http1Config,
) -> Result<Uri, Refusal> {
    if method == Method::CONNECT {
        return Err(Refusal::Tunnel);
    }
    if target.contains(&b'#') {
        // `http::Uri` would cut it off in silence.
        return Err(Refusal::Malformed("the target has a fragment"));
    }
    let host = host(version, headers)?;
    match target.first() {
        Some(b'/') => {
            let authority = named_or_default(host, version, headers, config)?;
            let path = PathAndQuery::from_maybe_shared(target).map_err(not_a_uri)?;
            absolute(authority, path, config)
        }
        Some(b'*') if &target[..] == b"*" => {
            if method != Method::OPTIONS {
                return Err(Refusal::Malformed("only OPTIONS may ask for *"));
            }
            named_or_default(host, version, headers, config)?;
            Ok(Uri::from_static("*"))
        }
        _ => {
            let (authority, path) = of_absolute_form(target, config)?;
            insert_host(&authority, headers)?;
            match path {
                Some(path) => absolute(authority, with_slash(path)?, config),
                // Without a path this means the server as a whole (§3.2.4).
                None if method == Method::OPTIONS => Ok(Uri::from_static("*")),
                None => absolute(authority, PathAndQuery::from_static("/"), config),
            }
        }
    }
}

/// The same for HTTP/2, where the target comes in parts (RFC 9113 §8.3.1).
pub(crate) fn resolve_http2(
    method: &Method,
    uri: Uri,
    headers: &mut HeaderMap,
    config: &Http1Config,
) -> Result<Uri, Refusal> {
    if method == Method::CONNECT {
        return Err(Refusal::Tunnel);
    }
    // As in HTTP/1.0, there need not be a Host: there is `:authority`.
    let host = host(Version::HTTP_10, headers)?;
    let parts = uri.into_parts();
    if let Some(scheme) = parts.scheme {
        check_scheme(&scheme, config)?;
    }
    let authority = match (parts.authority, host) {
        (Some(authority), Some(host)) if authority != host => {
            return Err(Refusal::Malformed("Host is not the target's"));
        }
        (Some(authority), _) => authority,
        (None, Some(host)) => host,
        (None, None) => return Err(Refusal::Malformed("the target names no host")),
    };
    check(&authority)?;
    insert_host(&authority, headers)?;
    let path = parts.path_and_query.unwrap_or(PathAndQuery::from_static("/"));
    match path.as_str() {
        "*" if method == Method::OPTIONS => Ok(Uri::from_static("*")),
        text if text.starts_with('/') => absolute(authority, path, config),
        _ => Err(Refusal::Malformed("the target is not a path")),
    }
}

/// The one `Host`, if it names anyone.
fn host(version: Version, headers: &HeaderMap) -> Result<Option<Authority>, Refusal> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let Some(host) = hosts.next() else {
        return if version == Version::HTTP_10 {
            Ok(None)
        } else {
            Err(Refusal::Malformed("there is no Host"))
        };
    };
    if hosts.next().is_some() {
        return Err(Refusal::Malformed("there is more than one Host"));
    }
    if host.is_empty() {
        return Ok(None);
    }
    let authority = Authority::try_from(host.as_bytes())
        .map_err(|_| Refusal::Malformed("Host is not a host and a port"))?;
    check(&authority)?;
    Ok(Some(authority))
}

fn named_or_default(
    host: Option<Authority>,
    version: Version,
    headers: &mut HeaderMap,
    config: &Http1Config,
) -> Result<Authority, Refusal> {
    match host {
        Some(authority) => Ok(authority),
        // An http URI without a host is invalid (RFC 9110 §4.2.1).
        None if version != Version::HTTP_10 => Err(Refusal::Malformed("Host is empty")),
        None => {
            insert_host(&config.default_authority, headers)?;
            Ok(config.default_authority.clone())
        }
    }
}

/// `GET http://example.org/ HTTP/1.1`, as to a proxy.
///
/// Of another scheme than the connection's it would be stored as what it is not: a reader in the open
/// could place an answer where those look who came encrypted.
fn of_absolute_form(
    target: Bytes,
    config: &Http1Config,
) -> Result<(Authority, Option<PathAndQuery>), Refusal> {
    let has_path = memchr::memmem::find(&target, b"://")
        .is_some_and(|colon| target[colon + 3..].iter().any(|byte| matches!(byte, b'/' | b'?')));
    let parts = Uri::from_maybe_shared(target).map_err(not_a_uri)?.into_parts();
    let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
        return Err(Refusal::Malformed("the target is neither a path nor a URI"));
    };
    if ![Scheme::Http, Scheme::Https].iter().any(|known| scheme.as_str() == known.as_str()) {
        return Err(Refusal::Malformed("the target's scheme is neither http nor https"));
    }
    check_scheme(&scheme, config)?;
    check(&authority)?;
    Ok((authority, parts.path_and_query.filter(|_| has_path)))
}

fn check_scheme(scheme: &uri::Scheme, config: &Http1Config) -> Result<(), Refusal> {
    let is_known = [Scheme::Http, Scheme::Https].iter().any(|known| *scheme == *known.as_str());
    match *scheme == *config.scheme.as_str() || (is_known && config.takes_other_scheme) {
        true => Ok(()),
        false => Err(Refusal::Misdirected),
    }
}

fn insert_host(authority: &Authority, headers: &mut HeaderMap) -> Result<(), Refusal> {
    let host = HeaderValue::from_str(authority.as_str())
        .map_err(|_| Refusal::Malformed("the target's host is not one"))?;
    headers.insert(header::HOST, host);
    Ok(())
}

/// Why no request for this URI is understood, if none is: what it would be asked for at, or how.
pub(crate) fn cannot_be_asked_for(uri: &Uri) -> Option<&'static str> {
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Some("the target's scheme is neither http nor https");
    }
    match check(uri.authority()?) {
        Err(Refusal::Malformed(why)) => Some(why),
        _ => None,
    }
}

/// What `http` takes for an authority but HTTP does not: user information (RFC 9110 §4.2.4), a port
/// without or beyond digits, nobody at all.
fn check(authority: &Authority) -> Result<(), Refusal> {
    let text = authority.as_str();
    let host = authority.host();
    if text.contains('@') {
        return Err(Refusal::Malformed("the host comes with user information"));
    }
    let port = &text[host.len()..];
    let is_port = match port.strip_prefix(':') {
        Some(digits) => {
            digits.is_empty()
                || (digits.bytes().all(|byte| byte.is_ascii_digit()) && authority.port().is_some())
        }
        None => port.is_empty(),
    };
    if host.is_empty() || !is_port {
        return Err(Refusal::Malformed("Host is not a host and a port"));
    }
    Ok(())
}

/// The URI of a request on this connection, if its reader may ask here for it.
fn absolute(
    authority: Authority,
    path: PathAndQuery,
    config: &Http1Config,
) -> Result<Uri, Refusal> {
    if config.served.as_ref().is_some_and(|served| !served.include(authority.host())) {
        return Err(Refusal::OtherHost);
    }
    let mut parts = Parts::default();
    parts.scheme = Some(config.scheme.into());
    parts.authority = Some(authority);
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).map_err(|_| Refusal::Malformed("the target is not a URI"))
}

/// An empty path before a query is sent as a slash (RFC 9112 §3.2.1).
fn with_slash(path: PathAndQuery) -> Result<PathAndQuery, Refusal> {
    if path.as_str().starts_with('/') {
        return Ok(path);
    }
    PathAndQuery::try_from(format!("/{}", path.as_str())).map_err(not_a_uri)
}

fn not_a_uri(_: http::uri::InvalidUri) -> Refusal {
    Refusal::Malformed("the target is not a URI")
}
