//! Rewrite: under which path and host a service is asked, where those are others than its readers'.
//!
//! Keys, tags, purges and what unsafe requests invalidate go by the readers' URIs: only the request to the service is
//! another, and what it says of where it is (`Location`, `Content-Location`) is turned back before the cache sees it.

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header, uri::Authority};
use larder::http::policy::uri;

/// How paths and host are changed on the way to a service. By default they are not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// Taken from the front of paths: `/api`.
    pub strip: Box<str>,
    /// Put there instead: `/v2`.
    pub add: Box<str>,
    /// What the service is told that its host is.
    pub host: Option<Authority>,
}

/// What of an answer says where something is.
const PLACES: [HeaderName; 2] = [header::LOCATION, header::CONTENT_LOCATION];

impl Rewrite {
    /// Whether the service is asked as its readers ask.
    pub fn changes_nothing(&self) -> bool {
        self.strip.is_empty() && self.add.is_empty() && self.host.is_none()
    }

    /// The URI to ask the service for, where its readers ask for `uri`. The path is as it was compared with the route's:
    /// whatever a reader encodes, or goes back by `..`, is in front of the service what it was here.
    pub fn there(&self, uri: &Uri) -> Uri {
        if self.strip.is_empty() && self.add.is_empty() {
            return uri.clone();
        }
        let normal = uri::normal(uri).and_then(|normal| uri::resolve(uri, normal.as_bytes()));
        let path = normal.as_ref().unwrap_or(uri).path();
        let path = match self.rest(path) {
            Some(rest) => joined(&self.add, rest),
            None => path.to_owned(),
        };
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = format!("{path}{query}").parse().ok().or(parts.path_and_query);
        Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
    }

    /// What comes behind the part of a path that is stripped, as it is written: only that part is compared as services read
    /// it, and what one of them makes of `%2B` further on is its own.
    fn rest<'p>(&self, path: &'p str) -> Option<&'p str> {
        let parts = self.strip.matches('/').count();
        let end = path.match_indices('/').nth(parts).map_or(path.len(), |(at, _)| at);
        let is_it = uri::as_read(&path[..end]) == uri::as_read(&self.strip);
        is_it.then_some(&path[end..])
    }

    /// Changes the host in a request to the service.
    pub fn name_host(&self, headers: &mut HeaderMap) {
        if let Some(host) = &self.host
            && let Ok(value) = HeaderValue::from_str(host.as_str())
        {
            headers.insert(header::HOST, value);
        }
    }

    /// Turns back what an answer says of where something is. `asked`: the reader's URI.
    pub fn back(&self, asked: &Uri, headers: &mut HeaderMap) {
        for name in PLACES {
            let said = headers.get(&name).filter(|_| headers.get_all(&name).iter().count() == 1);
            let Some(said) = said.and_then(|said| said.to_str().ok()) else { continue };
            if let Some(here) = self.here(asked, said).and_then(|here| here.parse().ok()) {
                headers.insert(name, here);
            }
        }
    }

    /// A reference of the service's as its readers have to read it. `None`: as it is.
    fn here(&self, asked: &Uri, reference: &str) -> Option<String> {
        if reference.starts_with('/') && !reference.starts_with("//") {
            return self.path_here(reference);
        }
        let whole: Uri = reference.parse().ok()?;
        let (theirs, ours) = (whole.authority()?, asked.authority()?);
        let is_service = self.host.as_ref().is_some_and(|host| host == theirs);
        if !(is_service || theirs == ours) {
            return None;
        }
        let target = whole.path_and_query().map_or("/", |target| target.as_str());
        let path = self.path_here(target).unwrap_or_else(|| target.to_owned());
        // Which scheme its readers came by the service may not know, where it is told another host than theirs.
        let scheme = if is_service { asked.scheme_str()? } else { whole.scheme_str()? };
        let fragment = reference.split_once('#').map(|(_, rest)| format!("#{rest}"));
        Some(format!("{scheme}://{ours}{path}{}", fragment.unwrap_or_default()))
    }

    fn path_here(&self, target: &str) -> Option<String> {
        exchanged(target, &self.add, &self.strip)
    }
}

/// `target` with another prefix. Prefixes end where a part of the path does.
fn exchanged(target: &str, from: &str, to: &str) -> Option<String> {
    let rest = target.strip_prefix(from)?;
    let ends_there = rest.is_empty() || rest.starts_with(['/', '?', '#']);
    ends_there.then(|| joined(to, rest))
}

fn joined(prefix: &str, rest: &str) -> String {
    let slash = if prefix.is_empty() && !rest.starts_with('/') { "/" } else { "" };
    format!("{prefix}{slash}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrite(strip: &str, add: &str, host: Option<&str>) -> Rewrite {
        let host = host.map(|host| host.parse().unwrap());
        Rewrite { strip: strip.into(), add: add.into(), host }
    }

    #[test]
    fn a_prefix_is_exchanged_on_the_way_and_turned_back_in_what_comes() {
        for (strip, add, asked, there) in [
            ("/api", "", "http://a/api/x?q=1", "http://a/x?q=1"),
            ("/api", "", "http://a/api", "http://a/"),
            ("/api", "/v2", "http://a/api/x", "http://a/v2/x"),
            ("", "/v2", "http://a/x", "http://a/v2/x"),
            ("/api", "", "http://a/apix", "http://a/apix"),
            ("/api", "", "http://a/%61pi/x", "http://a/x"),
            ("/api", "", "http://a/b/../api/x", "http://a/x"),
            ("/api", "/v2", "http://a/%61pi/a%2Bb/%40", "http://a/v2/a%2Bb/%40"),
            ("/@me/a", "", "http://a/%40me/a/c%2Bd", "http://a/c%2Bd"),
            ("/%40me", "", "http://a/@me/c", "http://a/c"),
            ("/@me", "", "http://a/@me%2Fc", "http://a/@me%2Fc"),
            ("", "", "http://a/b/../api/x", "http://a/b/../api/x"),
        ] {
            let rewrite = rewrite(strip, add, None);
            assert_eq!(rewrite.there(&asked.parse().unwrap()), there, "{strip} {add} {asked}");
        }
        let asked: Uri = "https://shop.test/api/x".parse().unwrap();
        for (said, expected) in [
            ("/v2/login", "/api/login"),
            ("/v2", "/api"),
            ("/v2?a=1", "/api?a=1"),
            ("/elsewhere", "/elsewhere"),
            ("next", "next"),
            ("http://inner.test/v2/y#z", "https://shop.test/api/y#z"),
            ("http://shop.test/v2/y", "http://shop.test/api/y"),
            ("http://third.test/v2/y", "http://third.test/v2/y"),
            ("//inner.test/v2", "//inner.test/v2"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, said.parse().unwrap());
            rewrite("/api", "/v2", Some("inner.test")).back(&asked, &mut headers);
            assert_eq!(headers[header::LOCATION], expected, "{said}");
        }
    }
}
