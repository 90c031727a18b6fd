//! Guard: which pages in a browser on this machine may talk to the console.
//!
//! The console asks nobody to log in, unless it has tokens, so every page the user opens could try to reach it. Three
//! things keep them out: a cross-site request that changes something needs a JSON body, for which a
//! browser asks permission first (CORS preflight); its `Origin` must be allowed, or be this console's own, also where no
//! preflight was needed; and `Host` must be a name of this machine, so that a foreign name pointed
//! here (DNS rebinding) is not taken for it.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::problem::Problem;

#[derive(Clone, Debug, Default)]
pub(crate) struct Allowed {
    pub(crate) origins: Vec<HeaderValue>,
    pub(crate) hosts: Vec<String>,
}

impl Allowed {
    pub(crate) fn cors(&self) -> CorsLayer {
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(self.origins.clone()))
            .allow_methods([Method::GET, Method::POST])
            .allow_headers([header::CONTENT_TYPE, header::AUTHORIZATION])
    }

    /// `Err` says why this request is refused.
    fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let forbidden = |title, detail: String| Problem::new(StatusCode::FORBIDDEN, title, detail);
        // Where the target names a host, a client could be sent here by that name, whatever `Host` says.
        let named = uri.authority().map(|authority| authority.as_str().as_bytes());
        let hosts = headers.get_all(header::HOST).iter().map(HeaderValue::as_bytes);
        let hosts: Vec<_> = hosts.collect();
        if hosts.len() > 1 {
            let detail = "there is more than one Host field: send one".to_owned();
            return Err(Problem::new(StatusCode::BAD_REQUEST, "Host not understood", detail));
        }
        let mut hosts = hosts.into_iter().chain(named).peekable();
        let is_named = hosts.peek().is_some();
        let foreign = hosts.map(String::from_utf8_lossy).find(|host| !self.is_host_allowed(host));
        if let Some(host) = foreign.or((!is_named).then_some("".into())) {
            let detail = format!("{host:?} is not a name of this machine: ask for 127.0.0.1");
            return Err(forbidden("Host not allowed", detail));
        }
        let origins = headers.get_all(header::ORIGIN);
        let host = headers.get(header::HOST);
        let may = |origin: &HeaderValue| {
            self.origins.contains(origin) || host.is_some_and(|host| is_of(origin, host))
        };
        match origins.iter().find(|origin| !may(origin)) {
            Some(origin) => {
                let detail = format!("pages of {origin:?} may not use this console");
                Err(forbidden("Origin not allowed", detail))
            }
            None => Ok(()),
        }
    }

    /// A host and perhaps a port, and nothing else: what other readers make of more is not known here.
    fn is_host_allowed(&self, host: &str) -> bool {
        let (name, port, is_loopback) = if let Some(rest) = host.strip_prefix('[') {
            let Some((name, port)) = rest.split_once(']') else { return false };
            let Ok(ip) = name.parse::<Ipv6Addr>() else { return false };
            (name, port, ip.to_canonical().is_loopback())
        } else {
            let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
            let is_loopback = name.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback());
            (name, port, is_loopback || name.eq_ignore_ascii_case("localhost"))
        };
        let is_port = |digits: &str| {
            digits.is_empty()
                || (digits.bytes().all(|byte| byte.is_ascii_digit())
                    && digits.parse::<u16>().is_ok())
        };
        (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
            && (is_loopback || self.hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name)))
    }
}

/// Whether a page of `origin` came from where it asks: it is the console itself. `host` was found to be a name of this machine.
fn is_of(origin: &HeaderValue, host: &HeaderValue) -> bool {
    let origin = origin.as_bytes();
    let authority = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host.as_bytes()))
}

pub(crate) async fn guard(
    State(allowed): State<Arc<Allowed>>,
    request: Request,
    next: Next,
) -> Response {
    match allowed.check(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => {
            tracing::warn!(path = request.uri().path(), "admin refused a request: {problem}");
            problem.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_and_allowed_ones_are_hosts() {
        let allowed = Allowed { hosts: vec!["console.internal".to_owned()], ..Allowed::default() };
        for host in [
            "localhost",
            "LOCALHOST:9191",
            "localhost:",
            "127.0.0.1:9191",
            "127.8.8.8",
            "[::1]:9191",
            "[0:0::1]",
            "[::ffff:127.0.0.1]",
            "Console.Internal:80",
        ] {
            assert!(allowed.is_host_allowed(host), "{host}");
        }
        for host in [
            "",
            " ",
            ":9191",
            "example.org",
            "localhost.example.org",
            "localhost.",
            "10.0.0.1",
            "[::2]",
            "a b",
            "127.1",
            "2130706433",
            "0x7f.0.0.1",
            "127.0.0.1.",
            "evil@127.0.0.1",
            "evil:9191@127.0.0.1:9191",
            "127.0.0.1@evil.example",
            "127.0.0.1:80@evil.example",
            "127.0.0.1, evil.example",
            "127.0.0.1/",
            "127.0.0.1:x",
            "127.0.0.1:+80",
            "127.0.0.1:65536",
            "127.0.0.1:80:80",
            "::1",
            "[::1",
            "[[::1]]",
            "[::1]x",
            "[127.0.0.1]",
            "[localhost]",
            "[::1%lo]",
        ] {
            assert!(!allowed.is_host_allowed(host), "{host}");
        }
    }

    #[test]
    fn the_consoles_own_page_may_ask_and_no_other_page_of_this_machine() {
        for (origin, host, may) in [
            ("http://127.0.0.1:9191", "127.0.0.1:9191", true),
            ("https://localhost:9191", "localhost:9191", true),
            ("http://LOCALHOST:9191", "localhost:9191", true),
            ("http://[::1]:9191", "[::1]:9191", true),
            // What the gateway itself delivers is other people's.
            ("http://127.0.0.1:8080", "127.0.0.1:9191", false),
            ("http://127.0.0.1", "127.0.0.1:9191", false),
            ("http://localhost:9191", "127.0.0.1:9191", false),
            ("http://evil.example", "evil.example", false),
            ("null", "127.0.0.1:9191", false),
            ("", "127.0.0.1:9191", false),
            ("http://", "127.0.0.1:9191", false),
            ("127.0.0.1:9191", "127.0.0.1:9191", false),
            ("ws://127.0.0.1:9191", "127.0.0.1:9191", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(header::HOST, host.parse().unwrap());
            headers.append(header::ORIGIN, origin.parse().unwrap());
            let checked = Allowed::default().check(&"/".parse().unwrap(), &headers);
            assert_eq!(checked.is_ok(), may, "{origin} {host}");
        }
    }

    #[test]
    fn every_name_that_a_request_is_for_must_be_one_of_this_machine() {
        // The target, the Host fields, and the status of the refusal.
        let rows: [(&str, &[&str], Option<u16>); 9] = [
            ("/", &["localhost"], None),
            ("/", &[], Some(403)),
            ("/", &[""], Some(403)),
            ("/", &["localhost", "localhost"], Some(400)),
            ("/", &["localhost", "evil.example"], Some(400)),
            ("http://localhost/", &["localhost"], None),
            ("http://localhost/", &[], None),
            ("http://evil.example/", &["localhost"], Some(403)),
            ("http://localhost/", &["evil.example"], Some(403)),
        ];
        for (target, hosts, refused) in rows {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, host.parse().unwrap());
            }
            let checked = Allowed::default().check(&target.parse().unwrap(), &headers);
            let status = checked.err().map(|problem| problem.into_response().status().as_u16());
            assert_eq!(status, refused, "{target} {hosts:?}");
        }
    }
}
