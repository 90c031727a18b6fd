//! Routes: which of them a request fits, the first as written, found without looking at each.

mod condition;
mod found;
mod host;
mod path;
mod readings;
mod rewrite;
mod way;

use std::{
    collections::{BTreeMap, HashMap},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use foldhash::fast::RandomState;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use larder::http::policy::{
    fields::FieldLine,
    path::{PathPattern, Rest},
};

pub use condition::{Condition, PathRegex};
pub use host::HostPattern;
use path::KNOWN_ENDS;
pub use path::Path;
pub use rewrite::Rewrite;
pub use way::{Ambiguous, FETCH_WAIT, OTHERWISE, Protocols, RouteLimits, RouteName, Way, Ways};

/// What is looked at of a request to find its route.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The method.
    pub method: &'a Method,
    /// In small letters and without a port.
    pub host: &'a [u8],
    /// Its path.
    pub path: Path<'a>,
    /// Without its question mark; empty where there is none.
    pub query: &'a str,
    /// Its fields.
    pub fields: Lines<'a>,
}

/// The fields of a request, which most routes do not ask for.
#[derive(Clone, Copy, Debug)]
pub enum Lines<'a> {
    /// As they were read.
    Read(&'a [FieldLine<'a>]),
    /// In a map.
    Map(&'a HeaderMap),
}

impl Lines<'_> {
    /// Whether `condition` is met by what stands in the field.
    fn meet(self, name: &HeaderName, condition: &Condition) -> bool {
        match self {
            Lines::Map(map) => {
                condition.is_met(map.get_all(name).iter().map(HeaderValue::as_bytes))
            }
            Lines::Read(lines) => {
                let name = name.as_str().as_bytes();
                let named = lines.iter().filter(|line| line.name.eq_ignore_ascii_case(name));
                condition.is_met(named.map(|line| line.value))
            }
        }
    }
}

/// What the requests of a route have in common. `None`: anything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fitting {
    /// The host.
    pub host: Option<HostPattern>,
    /// The path.
    pub path: Option<PathPattern>,
    /// Paths that no pattern can say.
    pub regex: Option<PathRegex>,
    /// The methods.
    pub methods: Option<Vec<Method>>,
    /// Fields, each with its condition.
    pub fields: Vec<(HeaderName, Condition)>,
    /// Parameters of the query, each with its condition.
    pub parameters: Vec<(Box<str>, Condition)>,
}

/// Routes in their order. Finding one costs a lookup by hash for the host, for the path, and for each number of literal
/// parts that patterns begin with, where a text of that length is known; and a look at the routes that are found so, or begin with none.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// Of all that were ever made none but these and their clones have it.
    number: u64,
    routes: Vec<Fitting>,
    ask_for_queries: bool,
    /// For hosts that are named: all routes that may fit them.
    by_host: ByText<Group>,
    /// For all others.
    elsewhere: Group,
}

/// Which route a request fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fit {
    /// The first, if there is one.
    pub(crate) route: Option<usize>,
    /// A route asked for fields: with others, or none, it might be another.
    pub(crate) depends_on_fields: bool,
}

/// What routes say of a text. Most that none speaks of are told by their length: without a hash.
#[derive(Clone, Debug)]
struct ByText<T> {
    texts: HashMap<Box<[u8]>, T, RandomState>,
    /// A bit for each length that there is, modulo 64.
    lengths: u64,
}

/// Routes by their paths, each list in their order.
#[derive(Clone, Debug, Default)]
struct Group {
    by_path: ByText<Vec<Candidate>>,
    /// By what their paths begin with in whole parts, for each number of parts that there is, the fewest first: of more
    /// than have [known ends](KNOWN_ENDS), by so many.
    by_head: Vec<(usize, ByText<Vec<Candidate>>)>,
    others: Vec<Candidate>,
}

/// A route that may fit what is looked for in its list.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    at: usize,
    asks: Asks,
}

/// What a route asks beyond what its list is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    Nothing,
    /// That the path has so many parts, and of those that are not known none is empty.
    Parts(usize),
    More,
}

/// How far a path is known to be that of a route: so many literal parts, which end there.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    parts: usize,
    end: usize,
}

impl Fitting {
    fn fits_fields(&self, asked: &Asked<'_>) -> bool {
        self.fields.iter().all(|(name, condition)| asked.fields.meet(name, condition))
    }

    /// Whether it fits a request, if that has the right fields.
    #[inline]
    fn fits_but_for_fields(&self, asked: &Asked<'_>, known: Known) -> bool {
        let Asked { method, host, path, query, .. } = *asked;
        let path = path.as_str();
        let fits_path =
            |pattern: &PathPattern| pattern.fits_behind(known.parts, &path[known.end..]);
        self.host.as_ref().is_none_or(|pattern| pattern.fits(host))
            && self.methods.as_ref().is_none_or(|methods| methods.contains(method))
            && self.path.as_ref().is_none_or(fits_path)
            && self.regex.as_ref().is_none_or(|regex| regex.fits(path))
            && { self.parameters.iter() }.all(|(name, condition)| condition.is_met_in(query, name))
    }

    /// Whether it fits a request. Apart, since few have to be asked so much.
    #[inline(never)]
    fn fits_whole(&self, asked: &Asked<'_>, known: Known, depends_on_fields: &mut bool) -> bool {
        self.fits_but_for_fields(asked, known) && {
            *depends_on_fields |= !self.fields.is_empty();
            self.fits_fields(asked)
        }
    }

    fn asks_beyond_host_and_path(&self) -> bool {
        let Fitting { host: _, path: _, regex, methods, fields, parameters } = self;
        regex.is_some() || methods.is_some() || !fields.is_empty() || !parameters.is_empty()
    }

    /// What its requests have in common that is in no URI, or that a key need not have: in words that are the same for
    /// the same. Answers for others are told apart from theirs by it.
    pub fn partition(&self) -> Option<String> {
        if self.fields.is_empty() && self.parameters.is_empty() {
            return None;
        }
        let fields = self.fields.iter().map(|(name, condition)| (name.as_str(), condition));
        let parameters = self.parameters.iter().map(|(name, condition)| (&**name, condition));
        Some(format!("{:?} {:?}", fields.collect::<Vec<_>>(), parameters.collect::<Vec<_>>()))
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
            && (self.regex.is_none() || self.regex == other.regex)
            && all_implied(&self.fields, &other.fields)
            && all_implied(&self.parameters, &other.parameters)
    }
}

/// Whether whoever meets `others` meets each of these.
fn all_implied<N: PartialEq>(these: &[(N, Condition)], others: &[(N, Condition)]) -> bool {
    these.iter().all(|(name, condition)| {
        let same = others.iter().filter(|(other, _)| other == name);
        { same }.any(|(_, other)| other.implies(condition))
    })
}

impl Routes {
    /// In this order.
    pub fn new(routes: Vec<Fitting>) -> Routes {
        let ask_for_queries = routes.iter().any(|route| !route.parameters.is_empty());
        static LAST: AtomicU64 = AtomicU64::new(0);
        let number = LAST.fetch_add(1, Relaxed) + 1;
        let mut all = Routes { number, routes, ask_for_queries, ..Routes::default() };
        let named = all.routes.iter().filter_map(|route| match &route.host {
            Some(HostPattern::Literal(name)) => Some(name.clone()),
            _ => None,
        });
        for name in named.collect::<Vec<_>>() {
            *all.by_host.of(name.as_bytes()) = Group::of(&all.routes, Some(&name));
        }
        all.elsewhere = Group::of(&all.routes, None);
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

    /// Whether any of them asks for something in the query.
    pub(crate) fn ask_for_queries(&self) -> bool {
        self.ask_for_queries
    }

    /// The first that a request fits.
    pub fn find(&self, asked: &Asked<'_>) -> Option<usize> {
        self.fit(asked).route
    }

    /// The same, and whether that depends on its fields.
    #[inline]
    pub(crate) fn fit(&self, asked: &Asked<'_>) -> Fit {
        let (mut found, mut depends_on_fields) = (usize::MAX, false);
        self.each_list(asked, |list, known| {
            for candidate in list {
                if candidate.at >= found {
                    break;
                }
                let fits = match candidate.asks {
                    Asks::Nothing => true,
                    Asks::Parts(parts) => asked.path.has(known.parts, parts),
                    Asks::More => {
                        self.routes[candidate.at].fits_whole(asked, known, &mut depends_on_fields)
                    }
                };
                if fits {
                    found = candidate.at;
                    break;
                }
            }
        });
        Fit { route: (found != usize::MAX).then_some(found), depends_on_fields }
    }

    /// All that a request of this kind may fit whatever its fields are, in their order: the last of them asks for none.
    /// Whether it may also fit no route.
    pub(crate) fn whatever_the_fields(&self, asked: &Asked<'_>) -> (Vec<usize>, bool) {
        let mut fitting = Vec::new();
        self.each_list(asked, |list, known| {
            let routes = list.iter().map(|candidate| candidate.at);
            fitting.extend(routes.filter(|at| self.routes[*at].fits_but_for_fields(asked, known)));
        });
        fitting.sort_unstable();
        let last = fitting.iter().position(|at| self.routes[*at].fields.is_empty());
        fitting.truncate(last.map_or(fitting.len(), |last| last + 1));
        (fitting, last.is_none())
    }

    /// Each list with routes that a request for this path of this host may fit, and how far all in it fit the path.
    #[inline]
    fn each_list(&self, asked: &Asked<'_>, mut look: impl FnMut(&[Candidate], Known)) {
        let path = &asked.path;
        let text = path.as_str().as_bytes();
        let group = self.by_host.get(asked.host).unwrap_or(&self.elsewhere);
        if !group.others.is_empty() {
            look(&group.others, Known::default());
        }
        for (parts, by_head) in &group.by_head {
            // A path that has not as many fits none of those.
            let Some(end) = path.end_of(*parts) else { break };
            if let Some(list) = by_head.get(&text[..end]) {
                look(list, Known { parts: *parts, end });
            }
        }
        if let Some(list) = group.by_path.get(text) {
            look(list, Known { parts: usize::MAX, end: text.len() });
        }
    }

    /// The routes that can never be found, each with one before it that fits all that it fits.
    pub fn hidden(&self) -> Vec<(usize, usize)> {
        // A path that covers another begins with no literal parts but the other's: of ten thousand routes few are looked
        // at for each.
        let mut by_head: HashMap<String, Vec<usize>> = HashMap::new();
        let mut hidden = Vec::new();
        for (at, route) in self.routes.iter().enumerate() {
            let head = route.path.as_ref().map(|path| path.literal_head(usize::MAX));
            let (_, head) = head.unwrap_or_default();
            let fronts = head.match_indices('/').map(|(end, _)| &head[..end]).chain([&*head]);
            let covers = |earlier: &&usize| self.routes[**earlier].covers(route);
            let first = fronts.filter_map(|front| by_head.get(front)?.iter().find(covers)).min();
            hidden.extend(first.map(|before| (at, *before)));
            by_head.entry(head).or_default().push(at);
        }
        hidden
    }
}

impl<T> Default for ByText<T> {
    fn default() -> Self {
        ByText { texts: HashMap::default(), lengths: 0 }
    }
}

impl<T: Default> ByText<T> {
    /// What is said of this text, to change it.
    fn of(&mut self, text: &[u8]) -> &mut T {
        self.lengths |= 1 << (text.len() % 64);
        self.texts.entry(text.into()).or_default()
    }

    #[inline]
    fn get(&self, text: &[u8]) -> Option<&T> {
        let has_length = self.lengths >> (text.len() % 64) & 1 == 1;
        if has_length { self.texts.get(text) } else { None }
    }
}

impl Group {
    /// Those that may fit requests for `host`; without one, for all hosts that no route names.
    fn of(routes: &[Fitting], host: Option<&str>) -> Group {
        let mut group = Group::default();
        let mut by_head: BTreeMap<usize, ByText<Vec<Candidate>>> = BTreeMap::new();
        for (at, route) in routes.iter().enumerate() {
            let is_in = match (&route.host, host) {
                (None, _) => true,
                (Some(pattern), Some(host)) => pattern.fits(host.as_bytes()),
                (Some(HostPattern::Literal(_)), None) => false,
                (Some(HostPattern::Below(_)), None) => true,
            };
            if !is_in {
                continue;
            }
            let path = route.path.as_ref();
            let (list, of_path) = if let Some(literal) = path.and_then(PathPattern::literal) {
                (group.by_path.of(literal.as_bytes()), Asks::Nothing)
            } else {
                let head = path.map(|path| path.literal_head(KNOWN_ENDS));
                let (parts, head) = head.unwrap_or_default();
                let list = match parts {
                    0 => &mut group.others,
                    _ => by_head.entry(parts).or_default().of(head.as_bytes()),
                };
                match path.map(|path| path.rest(parts)) {
                    None | Some(Rest::Anything) => (list, Asks::Nothing),
                    Some(Rest::Parts(more)) if parts + more < KNOWN_ENDS => {
                        (list, Asks::Parts(parts + more))
                    }
                    Some(Rest::Parts(_) | Rest::Other) => (list, Asks::More),
                }
            };
            let is_host_known = route.host.is_none() || host.is_some();
            let is_all = is_host_known && !route.asks_beyond_host_and_path();
            let asks = if is_all { of_path } else { Asks::More };
            list.push(Candidate { at, asks });
        }
        group.by_head = by_head.into_iter().collect();
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
            ..Fitting::default()
        }
    }

    fn asked<'a>(method: &'a Method, host: &'a str, path: &'a str) -> Asked<'a> {
        let host = host.as_bytes();
        let path = Path::new(path);
        Asked { method, host, path, query: "", fields: Lines::Read(&[]) }
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
            assert_eq!(routes.find(&asked(&method, host, path)), found, "{method} {host} {path}");
        }
        assert_eq!(Routes::default().find(&asked(&Method::GET, "a", "/")), None);
    }

    #[test]
    fn a_route_may_ask_for_fields_parameters_and_paths_by_an_expression() {
        let is = |text: &str| Condition::Fits(text.into());
        let field = |name, condition| Fitting {
            fields: vec![(HeaderName::from_static(name), condition)],
            ..fitting("", "/a/**", &[])
        };
        let parameter = |name: &str, condition| Fitting {
            parameters: vec![(name.into(), condition)],
            ..fitting("", "", &[])
        };
        let by_regex =
            |text| Fitting { regex: Some(PathRegex::parse(text).unwrap()), ..Fitting::default() };
        let routes = Routes::new(vec![
            field("x-beta", is("1")),
            field("accept", is("*json*")),
            parameter("preview", Condition::Present),
            parameter("v", is("2*")),
            by_regex(r"^/(de|fr)/\d+$"),
            field("x-old", Condition::Absent),
        ]);
        for (path, query, fields, found) in [
            ("/a/b", "", &[("X-Beta", "1")][..], Some(0)),
            ("/a/b", "", &[("x-beta", "2"), ("x-old", "1")], None),
            ("/a/b", "", &[("x-beta", "2"), ("x-beta", "1")], Some(0)),
            ("/a/b", "", &[("Accept", "application/json")], Some(1)),
            ("/b", "", &[("x-beta", "1")], None),
            ("/b", "preview", &[], Some(2)),
            ("/b", "a=1&preview=0", &[], Some(2)),
            ("/b", "%70review", &[], Some(2)),
            ("/b", "previews", &[], None),
            ("/b", "v=1&v=2.1", &[], Some(3)),
            ("/b", "v=3", &[], None),
            ("/de/17", "", &[], Some(4)),
            ("/de/x", "", &[], None),
            ("/a/b", "", &[], Some(5)),
            ("/a/b", "", &[("x-old", "")], None),
        ] {
            let lines: Vec<_> = fields
                .iter()
                .map(|(name, value)| FieldLine { name: name.as_bytes(), value: value.as_bytes() })
                .collect();
            let mut map = HeaderMap::new();
            for (name, value) in fields {
                let name: HeaderName = name.parse().unwrap();
                map.append(name, value.parse().unwrap());
            }
            for fields in [Lines::Read(&lines), Lines::Map(&map)] {
                let asked = Asked { query, fields, ..asked(&Method::GET, "a", path) };
                assert_eq!(routes.find(&asked), found, "{path} {query} {fields:?}");
            }
        }
    }

    #[test]
    fn a_route_hides_another_only_if_its_conditions_follow_from_the_other_s() {
        let with = |conditions: &[(&'static str, Condition)]| Fitting {
            fields: conditions
                .iter()
                .map(|(name, condition)| (HeaderName::from_static(name), condition.clone()))
                .collect(),
            ..Fitting::default()
        };
        let one = ("x-a", Condition::Fits("1".into()));
        let any = ("x-a", Condition::Present);
        let other = ("x-b", Condition::Fits("1".into()));
        for (first, second, is_hidden) in [
            (with(&[]), with(std::slice::from_ref(&one)), true),
            (with(std::slice::from_ref(&one)), with(&[]), false),
            (with(std::slice::from_ref(&one)), with(std::slice::from_ref(&one)), true),
            (with(std::slice::from_ref(&any)), with(std::slice::from_ref(&one)), true),
            (with(std::slice::from_ref(&one)), with(std::slice::from_ref(&any)), false),
            (with(std::slice::from_ref(&one)), with(&[one.clone(), other.clone()]), true),
            (with(&[one.clone(), other.clone()]), with(std::slice::from_ref(&one)), false),
        ] {
            let hidden = Routes::new(vec![first, second]).hidden();
            assert_eq!(!hidden.is_empty(), is_hidden, "{hidden:?}");
        }
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
                (
                    "(|a|b|c\\.a|\\*\\.a)",
                    "(|/|/\\*\\*|/x|/x/y|/x/\\{a\\}|/x/\\*\\*|/x/y/\\*\\*|/x/y/\\{a\\}|/\\{a\\}/y|/\\*\\*/y\
                     |(/x/y){5}|(/x/y){5}/\\{a\\}|(/x/y){4}/z/\\*\\*)",
                    "(|GET|POST)",
                ),
                0..12,
            ),
            host in "(a|b|c|c\\.a)",
            path in "(/|/x|/x/|/x/y|/z/y|/x/z/y|(/x/y){4,5}|(/x/y){4,5}/z|(/x/y){4}/z/y)",
            is_post: bool,
        ) {
            let method = if is_post { Method::POST } else { Method::GET };
            let all: Vec<_> = rows.iter().map(|(host, path, verb)| {
                let verbs: &[&str] = if verb.is_empty() { &[] } else { &[verb] };
                fitting(host, path, verbs)
            }).collect();
            let slow = all.iter().position(|route| {
                let asked = &asked(&method, &host, &path);
                route.fits_but_for_fields(asked, Known::default()) && route.fits_fields(asked)
            });
            let covering = |at: usize| all[..at].iter().position(|other| other.covers(&all[at]));
            let looked_at: Vec<_> =
                (0..all.len()).filter_map(|at| Some((at, covering(at)?))).collect();
            let routes = Routes::new(all);
            prop_assert_eq!(routes.hidden(), looked_at);
            prop_assert_eq!(routes.find(&asked(&method, &host, &path)), slow);
            // What is said to be hidden is never found.
            prop_assert!(routes.hidden().iter().all(|(hidden, _)| Some(*hidden) != slow));
        }
    }
}
