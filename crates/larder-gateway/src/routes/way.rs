//! Way: by which rules a request is answered, and by which service.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Method, Uri};
use larder::http::{Policy, policy::uri};

use super::Routes;
use crate::{upgrade::WEBSOCKET, upstream::Times};

/// What becomes of the requests of one route.
#[derive(Clone, Debug)]
pub struct Way {
    /// Its rules.
    pub policy: Arc<Policy>,
    /// Which of the gateway's upstreams is asked.
    pub upstream: usize,
    /// Whether anything is stored, and answered from what is.
    pub is_cached: bool,
    /// In which other protocols connections may go on.
    pub protocols: Protocols,
    /// How long its upstream may take, where that is another time than the upstream's own.
    pub times: Option<Arc<Times>>,
}

/// The protocols beside HTTP that a route allows (RFC 9110 §7.8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocols {
    /// As the origin is asked for them.
    pub allowed: Arc<[HeaderValue]>,
    /// How long nothing may move. Default 10 minutes: most programs send something every half a minute.
    pub idle_timeout: Duration,
}

impl Default for Protocols {
    fn default() -> Self {
        let allowed = [HeaderValue::from_static(WEBSOCKET)].into();
        Protocols { allowed, idle_timeout: Duration::from_secs(600) }
    }
}

/// A way for each route, and one for requests that fit none.
#[derive(Clone, Debug)]
pub struct Ways {
    routes: Routes,
    of_routes: Vec<Way>,
    otherwise: Way,
}

impl Ways {
    /// For these routes, each with its way.
    ///
    /// # Panics
    ///
    /// If there is not one way for each route.
    pub fn new(routes: Routes, of_routes: Vec<Way>, otherwise: Way) -> Ways {
        assert_eq!(routes.len(), of_routes.len(), "a way for each route");
        Ways { routes, of_routes, otherwise }
    }

    /// One for all requests.
    pub fn one(policy: Arc<Policy>) -> Ways {
        let protocols = Protocols::default();
        let way = Way { policy, upstream: 0, is_cached: true, protocols, times: None };
        Ways::new(Routes::default(), Vec::new(), way)
    }

    /// That of requests that fit no route.
    pub fn otherwise(&self) -> &Way {
        &self.otherwise
    }

    /// How many upstreams it takes.
    pub(crate) fn upstreams(&self) -> usize {
        let all = self.of_routes.iter().chain([&self.otherwise]);
        all.map(|way| way.upstream + 1).max().unwrap_or_default()
    }

    /// Which route a request fits, by its whole URI.
    pub fn route(&self, method: &Method, uri: &Uri) -> Option<usize> {
        if self.routes.is_empty() {
            return None;
        }
        let host = uri.host().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
        // As the service will understand it: no route is evaded by writing a letter as %61, or a detour.
        let normal = uri::normal(uri).and_then(|normal| uri::resolve(uri, normal.as_bytes()));
        self.routes.find(method, &host, normal.as_ref().unwrap_or(uri).path())
    }

    /// The way of a request, by its whole URI.
    pub fn way(&self, method: &Method, uri: &Uri) -> &Way {
        self.route(method, uri).map_or(&self.otherwise, |route| &self.of_routes[route])
    }

    /// The way of a request as it lies in a buffer. `None` where that takes more than a look.
    pub(crate) fn borrowed(&self, method: &Method, host: &[u8], target: &[u8]) -> Option<&Way> {
        if self.routes.is_empty() {
            return Some(&self.otherwise);
        }
        let (host, target) = (str::from_utf8(host).ok()?, str::from_utf8(target).ok()?);
        let host = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => name,
            _ => host,
        };
        let path = target.split('?').next().unwrap_or_default();
        let is_plain = !host.ends_with('.')
            && !host.bytes().any(|byte| byte.is_ascii_uppercase())
            && path.starts_with('/')
            && !path.contains(['%', '#'])
            && !path.contains("/.");
        if !is_plain {
            return None;
        }
        let route = self.routes.find(method, host, path);
        Some(route.map_or(&self.otherwise, |route| &self.of_routes[route]))
    }
}
