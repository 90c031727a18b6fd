//! Routes: which of them a request fits, the first as written, found without looking at each.

mod pattern;
mod way;

use std::collections::HashMap;

use foldhash::fast::RandomState;
use http::Method;

pub use pattern::{HostPattern, PathPattern};
pub use way::{Protocols, Way, Ways};

/// What the requests of a route have in common. `None`: anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fitting {
    /// The host.
    pub host: Option<HostPattern>,
    /// The path.
    pub path: Option<PathPattern>,
    /// The methods.
    pub methods: Option<Vec<Method>>,
}

/// Routes in their order. Finding one costs three lookups by hash, and a look at those that have no first part, or
/// share theirs with the request.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    routes: Vec<Fitting>,
    /// For hosts that are named: all routes that may fit them.
    by_host: HashMap<Box<[u8]>, Group, RandomState>,
    /// For all others.
    elsewhere: Group,
}

/// Routes by their paths, each list in their order.
#[derive(Clone, Debug, Default)]
struct Group {
    by_path: HashMap<Box<[u8]>, Vec<usize>, RandomState>,
    by_first_part: HashMap<Box<[u8]>, Vec<usize>, RandomState>,
    others: Vec<usize>,
}

impl Fitting {
    fn fits(&self, method: &Method, host: &str, path: &str) -> bool {
        self.host.as_ref().is_none_or(|pattern| pattern.fits(host))
            && self.methods.as_ref().is_none_or(|methods| methods.contains(method))
            && self.path.as_ref().is_none_or(|pattern| pattern.fits(path))
    }

    /// Whether it fits whatever `other` fits. Not each pair is seen for which that is so.
    fn covers(&self, other: &Fitting) -> bool {
        fn or_any<T>(one: Option<&T>, other: Option<&T>, covers: impl Fn(&T, &T) -> bool) -> bool {
            match (one, other) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(one), Some(other)) => covers(one, other),
            }
        }
        or_any(self.host.as_ref(), other.host.as_ref(), HostPattern::covers)
            && or_any(self.methods.as_ref(), other.methods.as_ref(), |one, other| {
                other.iter().all(|method| one.contains(method))
            })
            && match (&self.path, &other.path) {
                (Some(path), None) => path.covers(&PathPattern::parse("/**").expect("a pattern")),
                (one, other) => or_any(one.as_ref(), other.as_ref(), PathPattern::covers),
            }
    }
}

impl Routes {
    /// In this order.
    pub fn new(routes: Vec<Fitting>) -> Routes {
        let mut all = Routes { routes, ..Routes::default() };
        let named = all.routes.iter().filter_map(|route| match &route.host {
            Some(HostPattern::Literal(name)) => Some(name.clone()),
            _ => None,
        });
        let named: Vec<_> = named.collect();
        for name in named {
            let fit = |route: &Fitting| route.host.as_ref().is_none_or(|host| host.fits(&name));
            let group = Group::of(&all.routes, fit);
            all.by_host.insert(name.as_bytes().into(), group);
        }
        let is_elsewhere = |route: &Fitting| !matches!(route.host, Some(HostPattern::Literal(_)));
        all.elsewhere = Group::of(&all.routes, is_elsewhere);
        all
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// The first that a request fits. `host` is in small letters and without a port, `path` without a query and
    /// written as in a key: what could stand there unencoded is.
    pub fn find(&self, method: &Method, host: &str, path: &str) -> Option<usize> {
        if self.routes.is_empty() {
            return None;
        }
        let group = match self.by_host.is_empty() {
            true => &self.elsewhere,
            false => self.by_host.get(host.as_bytes()).unwrap_or(&self.elsewhere),
        };
        let mut found = self.first(&group.others, usize::MAX, method, host, path);
        if !group.by_first_part.is_empty() {
            let parts = path.as_bytes().get(1..).unwrap_or_default();
            let end = parts.iter().position(|&byte| byte == b'/').unwrap_or(parts.len());
            if let Some(list) = group.by_first_part.get(&parts[..end]) {
                found = self.first(list, found, method, host, path);
            }
        }
        if !group.by_path.is_empty()
            && let Some(list) = group.by_path.get(path.as_bytes())
        {
            found = self.first(list, found, method, host, path);
        }
        (found != usize::MAX).then_some(found)
    }

    /// The first route of `list` that fits, if it comes before `best`; otherwise that.
    #[inline]
    fn first(&self, list: &[usize], best: usize, method: &Method, host: &str, path: &str) -> usize {
        let before = list.iter().copied().take_while(|&at| at < best);
        let fits = |at: &usize| self.routes[*at].fits(method, host, path);
        { before }.find(fits).unwrap_or(best)
    }

    /// The routes that can never be found, each with one before it that fits all that it fits.
    pub fn hidden(&self) -> Vec<(usize, usize)> {
        let routes = self.routes.iter().enumerate();
        routes
            .filter_map(|(at, route)| {
                let before = self.routes[..at].iter().position(|earlier| earlier.covers(route))?;
                Some((at, before))
            })
            .collect()
    }
}

impl Group {
    fn of(routes: &[Fitting], is_in: impl Fn(&Fitting) -> bool) -> Group {
        let mut group = Group::default();
        for (at, route) in routes.iter().enumerate().filter(|(_, route)| is_in(route)) {
            let path = route.path.as_ref();
            let list = if let Some(literal) = path.and_then(PathPattern::literal) {
                group.by_path.entry(literal.into_bytes().into()).or_default()
            } else if let Some(first) = path.and_then(PathPattern::first_literal) {
                group.by_first_part.entry(first.as_bytes().into()).or_default()
            } else {
                &mut group.others
            };
            list.push(at);
        }
        group
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fitting(host: &str, path: &str, methods: &[&str]) -> Fitting {
        let methods = methods.iter().map(|method| method.parse().unwrap()).collect::<Vec<_>>();
        Fitting {
            host: (!host.is_empty()).then(|| HostPattern::parse(host).unwrap()),
            path: (!path.is_empty()).then(|| PathPattern::parse(path).unwrap()),
            methods: (!methods.is_empty()).then_some(methods),
        }
    }

    #[test]
    fn the_first_route_counts_as_written_whatever_it_is_found_by() {
        let routes = Routes::new(vec![
            fitting("", "/a/{id}", &["POST"]),
            fitting("one.test", "/a/b", &[]),
            fitting("", "/a/b", &[]),
            fitting("*.test", "", &[]),
            fitting("", "/**", &["GET"]),
            fitting("", "/static/x", &[]),
        ]);
        for (method, host, path, found) in [
            (Method::POST, "one.test", "/a/b", Some(0)),
            (Method::GET, "one.test", "/a/b", Some(1)),
            (Method::GET, "two.test", "/a/b", Some(2)),
            (Method::GET, "two.test", "/c", Some(3)),
            (Method::GET, "elsewhere", "/c", Some(4)),
            (Method::PUT, "elsewhere", "/c", None),
            (Method::PUT, "elsewhere", "/static/x", Some(5)),
        ] {
            assert_eq!(routes.find(&method, host, path), found, "{method} {host} {path}");
        }
        assert_eq!(Routes::default().find(&Method::GET, "a", "/"), None);
    }

    #[test]
    fn a_route_behind_one_that_fits_all_of_it_is_hidden() {
        let routes = Routes::new(vec![
            fitting("", "/a/**", &[]),
            fitting("one.test", "/a/b", &["GET"]),
            fitting("one.test", "", &[]),
            fitting("one.test", "/b", &[]),
            fitting("two.test", "/b", &[]),
        ]);
        assert_eq!(routes.hidden(), [(1, 0), (3, 2)]);
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_a_look_at_each_finds(
            rows in proptest::collection::vec(
                ("(|a|b|\\*\\.a)", "(|/|/\\*\\*|/x|/x/y|/x/\\{a\\}|/x/\\*\\*|/\\{a\\}/y|/\\*\\*/y)", "(|GET|POST)"), 0..12),
            host in "(a|b|c|c\\.a)",
            path in "(/|/x|/x/|/x/y|/z/y|/x/z/y)",
            is_post: bool,
        ) {
            let method = if is_post { Method::POST } else { Method::GET };
            let all: Vec<_> = rows.iter().map(|(host, path, verb)| {
                let verbs: &[&str] = if verb.is_empty() { &[] } else { &[verb] };
                fitting(host, path, verbs)
            }).collect();
            let slow = all.iter().position(|route| route.fits(&method, &host, &path));
            let routes = Routes::new(all);
            prop_assert_eq!(routes.find(&method, &host, &path), slow);
            // What is said to be hidden is never found.
            prop_assert!(routes.hidden().iter().all(|(hidden, _)| Some(*hidden) != slow));
        }
    }
}
