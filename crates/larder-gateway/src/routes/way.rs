//! Way: by which rules a request is answered, and by which service.

use std::{cell::RefCell, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Method, Uri};
use larder::http::{
    Policy,
    policy::{class::Class, fields::FieldLine, uri},
};

use super::{
    Asked, Fit, Lines, Path, Rewrite, Routes,
    found::{Asking, Found},
    readings,
};
use crate::{gateway::RateLimit, upgrade::WEBSOCKET, upstream::Times};

/// The name of what fits no route.
pub const OTHERWISE: &str = "otherwise";

/// How long a request usually waits where its route has as many at the service as it may: as long as a turn is waited for.
pub const FETCH_WAIT: Duration = Duration::from_secs(5);

/// What becomes of the requests of one route.
#[derive(Clone, Debug)]
pub struct Way {
    /// By what people and counters know the route.
    pub name: RouteName,
    /// Its rules.
    pub policy: Arc<Policy>,
    /// Its rules for readers that are not trusted, if these are others.
    pub for_strangers: Option<Arc<Policy>>,
    /// Which of the gateway's upstreams is asked.
    pub upstream: usize,
    /// Whether anything is stored, and answered from what is.
    pub is_cached: bool,
    /// Under which path and host the service is asked, if under others.
    pub rewrite: Option<Arc<Rewrite>>,
    /// In which other protocols connections may go on.
    pub protocols: Protocols,
    /// How long its upstream may take, where that is another time than the upstream's own.
    pub times: Option<Arc<Times>>,
    /// What its requests may take together, if there is a bound.
    pub limits: Option<RouteLimits>,
    /// What is stored for it may weigh so many bytes, if there is a bound.
    pub max_memory: Option<u64>,
    /// Its requests may have so many bytes of content, if there is a bound.
    pub max_request_body: Option<u64>,
}

/// By what people and counters know a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteName {
    /// What its requests have in common, in words: by these a route is known again when its rules are replaced.
    pub words: Arc<str>,
    /// Where it was said, if that was in a file: `larder.toml:12`.
    pub line: Option<Arc<str>>,
}

/// What the requests of a route may take together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteLimits {
    /// What they have in common, in words: by these a route is known again when its rules are replaced, wherever it stands
    /// among the others then.
    pub route: Arc<str>,
    /// How many may be at the service at once, until their answers are whole.
    pub max_fetches: Option<usize>,
    /// How long each may wait for its place there. [`FETCH_WAIT`] is usual; zero: nobody waits.
    pub fetch_wait: Duration,
    /// How many each address may send.
    pub rate: Option<RateLimit>,
}

/// A path that services read in several ways, so that nobody can say which route it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ambiguous {
    /// By them it belongs to different ones.
    #[error("this path can be read in several ways, and by them it belongs to different routes")]
    Routes,
    /// They are more than are looked at.
    #[error(
        "this path can be read in more ways than are looked at: it is long, and has encoded slashes, backslashes or semicolons"
    )]
    TooMany,
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

impl Way {
    /// What is stored by its rules is accounted for under this number.
    pub(crate) fn account_for(&mut self, class: Class) {
        for policy in [Some(&mut self.policy), self.for_strangers.as_mut()].into_iter().flatten() {
            if policy.class() != class {
                *policy = Arc::new(Policy::clone(policy).accounted_for(class));
            }
        }
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
        let way = Way {
            name: RouteName { words: OTHERWISE.into(), line: None },
            policy,
            for_strangers: None,
            upstream: 0,
            is_cached: true,
            rewrite: None,
            protocols,
            times: None,
            limits: None,
            max_memory: None,
            max_request_body: None,
        };
        Ways::new(Routes::default(), Vec::new(), way)
    }

    /// All of them, each at its place: those of the routes, and then the one of requests that fit none.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Way> {
        self.of_routes.iter().chain([&self.otherwise])
    }

    /// The same, to change them.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Way> {
        self.of_routes.iter_mut().chain([&mut self.otherwise])
    }

    /// The one at this place.
    pub(crate) fn of(&self, place: usize) -> &Way {
        self.of_routes.get(place).unwrap_or(&self.otherwise)
    }

    /// The routes.
    pub(crate) fn routes(&self) -> &Routes {
        &self.routes
    }

    /// That of requests that fit no route.
    pub fn otherwise(&self) -> &Way {
        &self.otherwise
    }

    /// How many upstreams it takes.
    pub(crate) fn upstreams(&self) -> usize {
        self.iter().map(|way| way.upstream + 1).max().unwrap_or_default()
    }

    /// Which route a request fits, by its whole URI and its fields.
    ///
    /// # Errors
    ///
    /// Its path has several readings, and they fit different routes; or it has more than anybody looks at.
    pub fn route(
        &self,
        method: &Method,
        uri: &Uri,
        fields: &HeaderMap,
    ) -> Result<Option<usize>, Ambiguous> {
        if self.routes.is_empty() {
            return Ok(None);
        }
        let host = host_of(uri);
        let (query, fields) = (uri.query().unwrap_or_default(), Lines::Map(fields));
        let find = |path: &str| {
            let path = Path::new(path);
            self.routes.find(&Asked { method, host: host.as_bytes(), path, query, fields })
        };
        // As the service will understand it: no route is evaded by writing a letter as %61, or a detour.
        let route = find(&uri::path_as_read(uri));
        let normal: Option<Uri> = uri::normal(uri).and_then(|normal| normal.parse().ok());
        let readings = readings::others(normal.as_ref().unwrap_or(uri).path());
        let readings = readings.ok_or(Ambiguous::TooMany)?;
        let is_route = |reading: &String| find(&uri::as_read(reading)) == route;
        match readings.iter().all(is_route) {
            true => Ok(route),
            false => Err(Ambiguous::Routes),
        }
    }

    /// The way of a request, by its whole URI and its fields.
    ///
    /// # Errors
    ///
    /// As [`route`](Ways::route).
    pub fn way(&self, method: &Method, uri: &Uri, fields: &HeaderMap) -> Result<&Way, Ambiguous> {
        self.way_and_place(method, uri, fields).map(|(way, _)| way)
    }

    /// The same, and its place.
    pub(crate) fn way_and_place(
        &self,
        method: &Method,
        uri: &Uri,
        fields: &HeaderMap,
    ) -> Result<(&Way, usize), Ambiguous> {
        self.route(method, uri, fields).map(|route| self.at(route))
    }

    /// By which rules a GET of this URI may be stored, whatever its fields are: whoever is answered there by a service may
    /// see what is stored for others by another route.
    pub(crate) fn stored_by(&self, uri: &Uri) -> Vec<Arc<Policy>> {
        let host = host_of(uri);
        let path = uri::path_as_read(uri);
        let path = Path::new(&path);
        let query = uri.query().unwrap_or_default();
        let none = HeaderMap::new();
        let (method, fields) = (&Method::GET, Lines::Map(&none));
        let asked = Asked { method, host: host.as_bytes(), path, query, fields };
        let (routes, may_fit_none) = self.routes.whatever_the_fields(&asked);
        let otherwise = may_fit_none.then_some(&self.otherwise);
        let ways = routes.iter().map(|route| &self.of_routes[*route]).chain(otherwise);
        ways.filter(|way| way.is_cached).map(|way| Arc::clone(&way.policy)).collect()
    }

    fn at(&self, route: Option<usize>) -> (&Way, usize) {
        match route {
            Some(route) => (&self.of_routes[route], route),
            None => (&self.otherwise, self.of_routes.len()),
        }
    }

    /// The way of a request as it lies in a buffer, and as its key is written, and its place. `None` where that takes more
    /// than a look. Where host or target are not written as in a key, which is seen when it is made of them, the way may be another's.
    #[inline]
    pub(crate) fn borrowed(
        &self,
        method: &Method,
        host: &[u8],
        target: &str,
        lines: &[FieldLine<'_>],
    ) -> Option<(&Way, usize)> {
        if self.routes.is_empty() {
            return Some(self.at(None));
        }
        let asking = Asking::of(self.routes.number, method, host, target.as_bytes());
        let Some(asking) = asking else {
            let Fit { route, .. } = self.looked_for(method, host, target, lines)?;
            return Some(self.at(route));
        };
        FOUND.with_borrow_mut(|found| {
            let row = match found.place(asking) {
                Ok(place) => {
                    return Some((self.of_routes.get(place).unwrap_or(&self.otherwise), place));
                }
                Err(row) => row,
            };
            let Fit { route, depends_on_fields } = self.looked_for(method, host, target, lines)?;
            let (way, place) = self.at(route);
            if !depends_on_fields {
                found.remember(row, asking, place);
            }
            Some((way, place))
        })
    }

    #[inline(never)]
    fn looked_for(
        &self,
        method: &Method,
        host: &[u8],
        target: &str,
        lines: &[FieldLine<'_>],
    ) -> Option<Fit> {
        let (host, path, fields) = (plain_host(host)?, Path::empty(), Lines::Read(lines));
        let mut asked = Asked { method, host, path, query: "", fields };
        asked.query = asked.path.read_plain(target)?;
        if self.routes.ask_for_queries() && asked.query.contains(['%', '+']) {
            return None;
        }
        Some(self.routes.fit(&asked))
    }
}

thread_local! {
    static FOUND: RefCell<Found> = RefCell::default();
}

fn host_of(uri: &Uri) -> String {
    uri::normal_host(uri.host().unwrap_or_default())
}

/// The name in a `Host` field, without its port. `None`: there is none, or it ends in a dot.
fn plain_host(host: &[u8]) -> Option<&[u8]> {
    // From its end: an address has colons of its own, and most names have no port.
    let name = match host.iter().rposition(|byte| !byte.is_ascii_digit()) {
        Some(at) if host[at] == b':' => &host[..at],
        _ => host,
    };
    if matches!(name, [] | [.., b'.']) { None } else { Some(name) }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use larder::http::policy::{key::RequestKey, path::PathPattern, scheme::Scheme};
    use proptest::prelude::*;

    use super::*;
    use crate::routes::{Condition, Fitting, HostPattern, PathRegex};

    /// Each route, and what fits none, has an upstream of its own.
    fn ways() -> Ways {
        let path = |text| Some(PathPattern::parse(text).unwrap());
        let preview = vec![("p".into(), Condition::Present)];
        let of_apps = vec![(HeaderName::from_static("x-app"), Condition::Fits("ios*".into()))];
        let routes = vec![
            Fitting {
                host: Some(HostPattern::parse("a.test").unwrap()),
                path: path("/a/{id}"),
                ..Fitting::default()
            },
            Fitting { path: path("/b/**"), fields: of_apps, ..Fitting::default() },
            Fitting {
                host: Some(HostPattern::parse("*.test").unwrap()),
                path: path("/b/**"),
                ..Fitting::default()
            },
            Fitting { path: path("/@/**"), ..Fitting::default() },
            Fitting { path: path("/**/a%7B"), ..Fitting::default() },
            Fitting { path: path("/a/b"), parameters: preview, ..Fitting::default() },
            Fitting {
                path: path("/**/b"),
                methods: Some(vec![Method::HEAD]),
                ..Fitting::default()
            },
        ];
        let one = Ways::one(Arc::new(Policy::guarded()));
        let way = |upstream| Way { upstream, ..one.otherwise.clone() };
        Ways::new(Routes::new(routes), (0..7).map(way).collect(), way(7))
    }

    #[test]
    fn no_route_is_evaded_by_an_encoding() {
        let path = |text| Fitting { path: PathPattern::parse(text).ok(), ..Fitting::default() };
        let regex = PathRegex::parse("^/v:[a-z]+$").ok();
        let routes = vec![
            path("/@me/**"),
            Fitting { regex, ..Fitting::default() },
            path("/a%28b%29"),
            path("/%7B{x}%7D"),
            path("/star%2A"),
        ];
        let way = Ways::one(Arc::new(Policy::guarded())).otherwise;
        let ways = Ways::new(Routes::new(routes), vec![way.clone(); 5], way);
        for (target, route) in [
            ("/@me/x", Some(0)),
            ("/%40me/x", Some(0)),
            ("/%40m%65/x", Some(0)),
            ("/v:ab", Some(1)),
            ("/v%3Aab", Some(1)),
            ("/v%3aab", Some(1)),
            ("/a(b)", Some(2)),
            ("/a%28b%29", Some(2)),
            ("/{y}", Some(3)),
            ("/%7by%7D", Some(3)),
            ("/star*", Some(4)),
            ("/star%2A", Some(4)),
            ("/starry", None),
            ("/%2540me/x", None),
            ("/%40", None),
        ] {
            let uri: Uri = format!("http://a{target}").parse().unwrap();
            assert_eq!(ways.route(&Method::GET, &uri, &HeaderMap::new()), Ok(route), "{target}");
            if let Some((_, place)) = ways.borrowed(&Method::GET, b"a", target, &[]) {
                assert_eq!(place, route.unwrap_or(5), "{target}");
            }
        }
        let uri: Uri = "http://a/x%2F%40me".parse().unwrap();
        assert_eq!(ways.route(&Method::GET, &uri, &HeaderMap::new()), Ok(None));
        let uri: Uri = "http://a/x%2F..%5C%40me".parse().unwrap();
        assert_eq!(ways.route(&Method::GET, &uri, &HeaderMap::new()), Err(Ambiguous::Routes));
        let uri: Uri = format!("http://a/x{}", "%2F%5C%3B".repeat(300)).parse().unwrap();
        assert_eq!(ways.route(&Method::GET, &uri, &HeaderMap::new()), Err(Ambiguous::TooMany));
    }

    proptest! {
        /// Whatever was asked for before, of these routes and of others.
        #[test]
        fn a_request_in_a_buffer_has_the_way_of_its_uri(
            asked in proptest::collection::vec(
                (
                    prop::sample::select(vec![Method::GET, Method::HEAD, Method::POST]),
                    "((a|b|A|)[.]?(test|a)?[.]?|\\[::1\\]|a1)(:80|:8080|:)?",
                    "(/(a|b|[.]|;|%61|c[.]c|@|%40|[{]|%7B)?){1,4}[?]?[p&=%+7]{0,3}",
                    prop::sample::select(vec![None, Some("ios 9"), Some("web")]),
                ),
                1..12,
            ),
        ) {
            // Others, which are found for the same.
            let routes = vec![Fitting { path: PathPattern::parse("/**").ok(), ..Fitting::default() }];
            let others = ways();
            let others = Ways::new(Routes::new(routes), vec![others.otherwise.clone()], others.otherwise);
            let ways = ways();
            let mut key = Vec::new();
            // Each is asked for twice: what was found is found again.
            for (method, host, target, app) in asked.iter().chain(&asked) {
                let (name, target) = (host.as_bytes(), target.as_str());
                let value = app.unwrap_or_default().as_bytes();
                let lines = [FieldLine { name: b"X-App", value }];
                let lines = if app.is_some() { &lines[..] } else { &[] };
                others.borrowed(method, name, target, lines);
                if RequestKey::write(Scheme::Http, name, target.as_bytes(), &mut key).is_some()
                    && let Some(found) = ways.borrowed(method, name, target, lines)
                {
                    let uri: Uri = format!("http://{host}{target}").parse().unwrap();
                    let mut fields = HeaderMap::new();
                    if let Some(app) = app {
                        fields.insert("x-app", HeaderValue::from_static(app));
                    }
                    let (way, place) = ways.way_and_place(method, &uri, &fields).unwrap();
                    prop_assert_eq!((found.0.upstream, found.1), (way.upstream, place), "{}", uri);
                }
            }
        }
    }
}
