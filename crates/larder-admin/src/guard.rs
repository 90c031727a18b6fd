//! Guard: which pages in a browser on this machine may talk to the console.
//!
//! The console asks nobody to log in, so every page the user opens could try to reach it. Three
//! things keep them out: a cross-site request that changes something needs a JSON body, for which a
//! browser asks permission first (CORS preflight); its `Origin` must be allowed, also where no
//! preflight was needed; and `Host` must be a name of this machine, so that a foreign name pointed
//! here (DNS rebinding) is not taken for it.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, uri::Authority};
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
            .allow_headers([header::CONTENT_TYPE])
    }

    /// `Err` says why this request is refused.
    fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let forbidden = |title, detail: String| Problem::new(StatusCode::FORBIDDEN, title, detail);
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
        if !self.is_host_allowed(host) {
            let detail = format!("{host:?} is not a name of this machine: ask for 127.0.0.1");
            return Err(forbidden("Host not allowed", detail));
        }
        match headers.get(header::ORIGIN) {
            Some(origin) if !self.origins.contains(origin) => {
                let detail = format!("pages of {origin:?} may not use this console");
                Err(forbidden("Origin not allowed", detail))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn is_host_allowed(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        let is_loopback = name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        is_loopback
            || name.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
    }
}

pub(crate) async fn guard(
    State(allowed): State<Arc<Allowed>>,
    request: Request,
    next: Next,
) -> Response {
    match allowed.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => {
            tracing::warn!(path = request.uri().path(), "console refused a request: {problem:?}");
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
        for host in ["localhost", "LOCALHOST:9191", "127.0.0.1:9191", "127.8.8.8", "[::1]:9191"] {
            assert!(allowed.is_host_allowed(host), "{host}");
        }
        assert!(allowed.is_host_allowed("Console.Internal:80"));
        for host in
            ["", "example.org", "localhost.example.org", "10.0.0.1", "[::2]", "a b", "127.1"]
        {
            assert!(!allowed.is_host_allowed(host), "{host}");
        }
    }
}
