//! Route metrics: the figures of the busiest routes, and of all others as one.
//!
//! A configuration may have ten thousand routes, and each would be a dozen series. So a hundred have names: those that were
//! asked for most of late, of which each has had a request. A route that gets much busier than one that has a name takes that
//! one's place. From then on what the one has is told of it, and what the other has of the others: each request is told once, no
//! counter ever goes down, and none leaps. A route that has its name again goes on from where it was.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use larder_admin::{
    figures::{Distribution, Distributions, Example, Family, Figures, Kind, Table},
    routes::{PastWait, Requests, RouteFigures, Traffic, Waits},
};
use larder_gateway::Gateway;

/// How many routes are told one by one.
const MAX_NAMED: usize = 100;
/// A route is busy by its requests between two scrapes; what it had one scrape earlier counts so much.
const KEPT: f64 = 0.8;
/// Whoever takes another's name has been so many times as busy, ...
const BUSIER: f64 = 2.0;
/// ... and so many do at one scrape: each begins a dozen series.
const MAX_CHANGES: usize = 10;
/// All the rest.
const OTHER: &str = "other";

/// What `/v1/routes` tells.
pub(crate) fn table_of(gateway: &Gateway) -> impl Fn() -> Vec<RouteFigures> + Send + Sync + use<> {
    let gateway = gateway.clone();
    move || gateway.route_table()
}

/// What `/v1/history` tells.
pub(crate) fn traffic_of(gateway: &Gateway) -> impl Fn() -> Traffic + Send + Sync + use<> {
    let gateway = gateway.clone();
    move || gateway.traffic()
}

/// The figures of routes.
pub(crate) struct RouteMetrics {
    gateway: Gateway,
    /// Held while the figures of a scrape are made.
    named: Mutex<Named>,
    /// What a scrape has told in tables, for its distributions: they are asked for next, and belong together.
    told: Mutex<Option<AllTold>>,
}

/// What is told of each name, and of the others.
type AllTold = Vec<(Arc<str>, Told)>;

impl RouteMetrics {
    pub(crate) fn new(gateway: Gateway) -> RouteMetrics {
        RouteMetrics { gateway, named: Mutex::default(), told: Mutex::default() }
    }
}

/// Which routes have names.
#[derive(Debug, Default)]
struct Named {
    /// Of each route that there is.
    routes: HashMap<Arc<str>, Known>,
    /// What was told of the others.
    others: Counted,
    /// What there was of routes that are gone at the last scrape.
    gone: Counted,
}

/// What is known of a route.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    has_name: bool,
    /// What it had at the last scrape.
    seen: Counted,
    /// What was told under its name.
    told: Counted,
    /// How busy it was of late.
    busy: f64,
}

/// What only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Counted {
    requests: Requests,
    reader_errors: u64,
    origin_calls: u64,
    origin_failures: u64,
    origin_seconds: f64,
    saved_seconds: f64,
    evicted: u64,
    limited: u64,
    fetches_refused: u64,
    waits: Waits,
}

/// What is told of a name.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Told {
    counted: Counted,
    entries: u64,
    bytes: u64,
    /// None where none of them has a bound for it.
    fetches: Option<u64>,
    waiting: u64,
}

impl Counted {
    fn of(figures: &RouteFigures) -> Counted {
        Counted {
            requests: figures.requests,
            reader_errors: figures.reader_errors,
            origin_calls: figures.origin_calls,
            origin_failures: figures.origin_failures,
            origin_seconds: figures.origin_seconds,
            saved_seconds: figures.saved_seconds,
            evicted: figures.evicted,
            limited: figures.limited,
            fetches_refused: figures.fetches_refused,
            waits: figures.waits,
        }
    }

    fn and(self, more: Counted) -> Counted {
        Counted {
            requests: self.requests.and(more.requests),
            reader_errors: self.reader_errors + more.reader_errors,
            origin_calls: self.origin_calls + more.origin_calls,
            origin_failures: self.origin_failures + more.origin_failures,
            origin_seconds: self.origin_seconds + more.origin_seconds,
            saved_seconds: self.saved_seconds + more.saved_seconds,
            evicted: self.evicted + more.evicted,
            limited: self.limited + more.limited,
            fetches_refused: self.fetches_refused + more.fetches_refused,
            waits: self.waits.and(more.waits),
        }
    }

    /// What there is beyond `before`, which is a part of it.
    fn beyond(self, before: Counted) -> Counted {
        let (now, then) = (self.requests, before.requests);
        Counted {
            requests: Requests {
                hit: now.hit.saturating_sub(then.hit),
                stale: now.stale.saturating_sub(then.stale),
                miss: now.miss.saturating_sub(then.miss),
                collapsed: now.collapsed.saturating_sub(then.collapsed),
                pass: now.pass.saturating_sub(then.pass),
                refused: now.refused.saturating_sub(then.refused),
            },
            reader_errors: self.reader_errors.saturating_sub(before.reader_errors),
            origin_calls: self.origin_calls.saturating_sub(before.origin_calls),
            origin_failures: self.origin_failures.saturating_sub(before.origin_failures),
            origin_seconds: (self.origin_seconds - before.origin_seconds).max(0.0),
            saved_seconds: (self.saved_seconds - before.saved_seconds).max(0.0),
            evicted: self.evicted.saturating_sub(before.evicted),
            limited: self.limited.saturating_sub(before.limited),
            fetches_refused: self.fetches_refused.saturating_sub(before.fetches_refused),
            waits: self.waits.beyond(before.waits),
        }
    }
}

impl Named {
    /// What is to be told of each name, and of the others.
    fn tell(&mut self, table: &[RouteFigures]) -> Vec<(Arc<str>, Told)> {
        self.forget_those_gone(table);
        let routes = || table.iter().filter(|line| &*line.route != OTHER);
        for line in routes() {
            let known = self.routes.entry(Arc::clone(&line.route)).or_default();
            // Those under way are calls already, and not yet requests that were finished.
            let [now, seen] = [Counted::of(line), known.seen]
                .map(|counted| counted.requests.sum() + counted.origin_calls);
            let more = now.saturating_sub(seen);
            known.busy = known.busy * KEPT + more as f64;
        }
        self.name_the_busiest();
        let (mut others, mut of_names) = (Told::default(), Vec::with_capacity(MAX_NAMED + 1));
        for line in routes() {
            let known = self.routes.entry(Arc::clone(&line.route)).or_default();
            let counted = Counted::of(line);
            let more = counted.beyond(known.seen);
            known.seen = counted;
            if known.has_name {
                known.told = known.told.and(more);
                let told = Told { counted: known.told, ..Told::of(line) };
                of_names.push((Arc::clone(&line.route), told));
            } else {
                self.others = self.others.and(more);
                others = others.and(Told::of(line));
            }
        }
        if let Some(line) = table.iter().find(|line| &*line.route == OTHER) {
            let counted = Counted::of(line);
            self.others = self.others.and(counted.beyond(self.gone));
            self.gone = counted;
            others = others.and(Told::of(line));
        }
        of_names.push((OTHER.into(), Told { counted: self.others, ..others }));
        of_names
    }

    /// What routes had that are gone from the file is in the line of those now, and was told already.
    fn forget_those_gone(&mut self, table: &[RouteFigures]) {
        let there: HashSet<_> = table.iter().map(|line| &line.route).collect();
        for (_, known) in self.routes.extract_if(|route, _| !there.contains(route)) {
            self.gone = self.gone.and(known.seen);
        }
    }

    /// Gives names to the busiest that have none: those that are left, and then those of routes that are much less busy.
    fn name_the_busiest(&mut self) {
        let ranked = |routes: &HashMap<Arc<str>, Known>, has_name| {
            let each = routes.iter().filter(|(_, known)| known.has_name == has_name);
            let mut ranked: Vec<_> =
                each.map(|(route, known)| (known.busy, Arc::clone(route))).collect();
            ranked.sort_by(|(one, a), (other, b)| other.total_cmp(one).then_with(|| a.cmp(b)));
            ranked
        };
        let mut named = ranked(&self.routes, true);
        let mut changes = 0;
        for (busy, route) in ranked(&self.routes, false).into_iter().filter(|(busy, _)| *busy > 0.0)
        {
            if named.len() == MAX_NAMED {
                let Some((least, _)) = named.last() else { break };
                if changes == MAX_CHANGES || busy <= BUSIER * least {
                    break;
                }
                changes += 1;
                let (_, idle) = named.pop().expect("one is the last");
                self.rename(&idle, false);
                // Whoever has just got one keeps it at this scrape.
                named.insert(0, (f64::MAX, Arc::clone(&route)));
            } else {
                named.push((busy, Arc::clone(&route)));
            }
            self.rename(&route, true);
        }
    }

    fn rename(&mut self, route: &Arc<str>, has_name: bool) {
        if let Some(known) = self.routes.get_mut(route) {
            known.has_name = has_name;
        }
    }
}

impl Told {
    /// What a line has now, without what only grows.
    fn of(line: &RouteFigures) -> Told {
        let (entries, bytes) = (line.entries, line.bytes);
        let (fetches, waiting) = (line.fetches_now, line.waiting);
        Told { counted: Counted::default(), entries, bytes, fetches, waiting }
    }

    fn and(self, more: Told) -> Told {
        let fetches = self.fetches.map(|fetches| fetches + more.fetches.unwrap_or_default());
        Told {
            counted: self.counted.and(more.counted),
            entries: self.entries + more.entries,
            bytes: self.bytes + more.bytes,
            fetches: fetches.or(more.fetches),
            waiting: self.waiting + more.waiting,
        }
    }
}

impl RouteMetrics {
    fn tell(&self) -> AllTold {
        let table = self.gateway.route_table();
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        named.tell(&table)
    }

    fn told(&self) -> MutexGuard<'_, Option<AllTold>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Figures for RouteMetrics {
    fn families(&self) -> Vec<Family> {
        Vec::new()
    }

    fn tables(&self) -> Vec<Table> {
        let told = self.tell();
        let of_each = |name, help, kind, value: fn(&Told) -> f64| Table {
            name,
            help,
            kind,
            samples: told
                .iter()
                .map(|(route, told)| (vec![("route", route.to_string())], value(told)))
                .collect(),
        };
        let by_verdict = told.iter().flat_map(|(route, told)| {
            told.counted.requests.by_verdict().map(|(verdict, count)| {
                let labels = vec![("route", route.to_string()), ("verdict", verdict.to_owned())];
                (labels, count as f64)
            })
        });
        let bounded = told.iter().filter_map(|(route, told)| {
            Some((vec![("route", route.to_string())], told.fetches? as f64))
        });
        let tables = vec![
            Table {
                name: "route_requests",
                help: "Requests that were answered, by the route they fit and what they were to the cache",
                kind: Kind::Counter,
                samples: by_verdict.collect(),
            },
            of_each(
                "route_reader_errors",
                "Requests whose readers got an error that was the service's doing: no answer in time, or one of 5xx",
                Kind::Counter,
                |told| told.counted.reader_errors as f64,
            ),
            of_each(
                "route_origin_calls",
                "How often the service of a route was asked",
                Kind::Counter,
                |told| told.counted.origin_calls as f64,
            ),
            of_each(
                "route_origin_failures",
                "How many of these calls failed: no answer in time, or one of 5xx",
                Kind::Counter,
                |told| told.counted.origin_failures as f64,
            ),
            of_each(
                "route_origin_seconds",
                "How long the service of a route took until the heads of its answers",
                Kind::Counter,
                |told| told.counted.origin_seconds,
            ),
            of_each(
                "route_saved_seconds",
                "What fetching what was answered from the cache would have taken",
                Kind::Counter,
                |told| told.counted.saved_seconds,
            ),
            of_each(
                "route_requests_limited",
                "Requests answered 429: their address had sent as many of a route as it may",
                Kind::Counter,
                |told| told.counted.limited as f64,
            ),
            of_each(
                "route_fetches_refused",
                "Requests that found as many of their route at the service as may be",
                Kind::Counter,
                |told| told.counted.fetches_refused as f64,
            ),
            of_each(
                "route_fetches_waiting",
                "Requests that wait until fewer of their route are at the service, now",
                Kind::Gauge,
                |told| told.waiting as f64,
            ),
            Table {
                name: "route_fetches",
                help: "Requests at the service, of routes with a bound for them, now",
                kind: Kind::Gauge,
                samples: bounded.collect(),
            },
            of_each(
                "route_evictions",
                "Entries that went because their route held all the memory that it may",
                Kind::Counter,
                |told| told.counted.evicted as f64,
            ),
            of_each("route_entries", "Entries in memory, now", Kind::Gauge, |told| {
                told.entries as f64
            }),
            of_each("route_memory_bytes", "What they weigh, now", Kind::Gauge, |told| {
                told.bytes as f64
            }),
        ];
        *self.told() = Some(told);
        tables
    }

    fn distributions(&self) -> Vec<Distributions> {
        let told = self.told().take();
        let told = told.unwrap_or_else(|| self.tell());
        let mut examples = examples(&told, self.gateway.past_waits());
        let of_each = told.iter().map(|(route, told)| {
            let Waits { counts, seconds } = told.counted.waits;
            Distribution {
                labels: vec![("route", route.to_string())],
                counts: counts.to_vec(),
                sum: seconds,
                examples: examples.remove(route).unwrap_or_default(),
            }
        });
        vec![Distributions {
            name: "route_wait_seconds",
            help: "How long readers waited for the heads of answers that were not at hand",
            bounds: &Waits::BOUNDS,
            samples: of_each.collect(),
        }]
    }
}

/// By which requests one finds out more about the waits of each name. What has no name is among the others.
fn examples(told: &[(Arc<str>, Told)], past: Vec<PastWait>) -> HashMap<Arc<str>, Vec<Example>> {
    let names: HashSet<_> = told.iter().map(|(route, _)| route).collect();
    let mut of_names: HashMap<Arc<str>, Vec<Example>> = HashMap::new();
    for PastWait { route, id, trace_id, took, at } in past {
        let name = if names.contains(&route) { route } else { OTHER.into() };
        let example = Example { value: took.as_secs_f64(), request_id: id, trace_id, at };
        of_names.entry(name).or_default().push(example);
    }
    of_names
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn line(route: &str, miss: u64) -> RouteFigures {
        let requests = Requests { miss, ..Requests::default() };
        let (route, origin_seconds) = (route.into(), miss as f64);
        let figures = RouteFigures { route, requests, origin_seconds, ..RouteFigures::default() };
        RouteFigures { bytes: miss, waits: waits(miss), ..figures }
    }

    fn waits(count: u64) -> Waits {
        let counts = std::array::from_fn(|at| if at == 3 { count } else { 0 });
        Waits { counts, seconds: count as f64 / 128.0 }
    }

    /// Checks what holds at each scrape; returns the names.
    fn told(
        named: &mut Named,
        last: &mut HashMap<Arc<str>, Told>,
        table: &[RouteFigures],
    ) -> Vec<Arc<str>> {
        let told = named.tell(table);
        assert!(told.len() <= MAX_NAMED + 1);
        // What was told under names that are another's now stands in no line, and is not told again.
        let earlier = named.routes.values().filter(|known| !known.has_name).map(|known| known.told);
        let all = told.iter().map(|(_, told)| told.counted).chain(earlier);
        let all = all.fold(Counted::default(), Counted::and);
        assert_eq!(all.requests.miss, table.iter().map(|line| line.requests.miss).sum::<u64>());
        let bytes: u64 = told.iter().map(|(_, told)| told.bytes).sum();
        assert_eq!(bytes, table.iter().map(|line| line.bytes).sum::<u64>());
        let of_lines = table.iter().map(|line| line.waits).fold(Waits::default(), Waits::and);
        assert_eq!(all.waits.counts, of_lines.counts);
        for (name, told) in &told {
            if let Some(before) = last.get(name) {
                let (now, then) = (told.counted.waits, before.counted.waits);
                let grows = now.counts.iter().zip(then.counts).all(|(now, then)| *now >= then);
                let (now, then) = (told.counted.requests.miss, before.counted.requests.miss);
                assert!(grows && now >= then, "{name} went from {then} to {now}");
            }
        }
        last.extend(told.iter().cloned());
        told.into_iter().map(|(name, _)| name).collect()
    }

    fn have(names: &[Arc<str>], name: &str) -> bool {
        names.iter().any(|known| &**known == name)
    }

    /// So many requests more.
    fn ask(table: &mut [RouteFigures], at: usize, more: u64) {
        table[at].requests.miss += more;
        table[at].waits = waits(table[at].requests.miss);
    }

    #[test]
    fn the_busiest_have_names_also_where_the_first_scrape_came_before_the_first_request() {
        let (mut named, mut last) = (Named::default(), HashMap::new());
        let mut table: Vec<_> = (0..1000).map(|at| line(&format!("/{at}"), 0)).collect();
        assert_eq!(told(&mut named, &mut last, &table), [Arc::<str>::from(OTHER)]);
        (900..1000).for_each(|at| ask(&mut table, at, 50));
        ask(&mut table, 3, 1);
        let names = told(&mut named, &mut last, &table);
        assert_eq!(names.len(), MAX_NAMED + 1);
        assert!(have(&names, "/900") && have(&names, "/999") && !have(&names, "/3"), "{names:?}");
        assert_eq!(last["/950"].counted.requests.miss, 50);
        assert_eq!(last[OTHER].counted.requests.miss, 1);
    }

    #[test]
    fn a_busy_route_takes_the_name_of_an_idle_one_and_nothing_is_told_twice() {
        let (mut named, mut last) = (Named::default(), HashMap::new());
        let mut table: Vec<_> = (0..150).map(|at| line(&format!("/{at}"), 0)).collect();
        (0..100).for_each(|at| ask(&mut table, at, 1000));
        let names = told(&mut named, &mut last, &table);
        assert!(have(&names, "/0") && !have(&names, "/149"), "{names:?}");
        // Twenty fall idle, and others come instead: a few at each scrape.
        for scrape in 1..40 {
            (20..100).for_each(|at| ask(&mut table, at, 100));
            (130..150).for_each(|at| ask(&mut table, at, 100));
            let others = last[OTHER].counted.requests.miss;
            let before = last.clone();
            let names = told(&mut named, &mut last, &table);
            let new = names.iter().filter(|name| !before.contains_key(*name)).count();
            assert!(new <= MAX_CHANGES, "{new} at scrape {scrape}");
            // What they had under their names is not added to the others' on top.
            assert!(last[OTHER].counted.requests.miss <= others + 20 * 100);
        }
        let names = told(&mut named, &mut last, &table);
        assert!((130..150).all(|at| have(&names, &format!("/{at}"))), "{names:?}");
        assert!((0..20).all(|at| !have(&names, &format!("/{at}"))), "{names:?}");
        // One comes back, and goes on from where it was.
        (0..30).for_each(|_| {
            ask(&mut table, 7, 10_000);
            told(&mut named, &mut last, &table);
        });
        let names = told(&mut named, &mut last, &table);
        assert!(have(&names, "/7") && last["/7"].counted.requests.miss > 1000, "{names:?}");
    }

    #[test]
    fn routes_that_are_about_as_busy_keep_their_names() {
        let (mut named, mut last) = (Named::default(), HashMap::new());
        let mut table: Vec<_> = (0..150).map(|at| line(&format!("/{at}"), 0)).collect();
        let mut names = None;
        for scrape in 0..50 {
            (0..150).for_each(|at| ask(&mut table, at, 100 + (at as u64 * 7 + scrape) % 50));
            let now = told(&mut named, &mut last, &table);
            assert_eq!(*names.get_or_insert_with(|| now.clone()), now);
        }
    }

    #[test]
    fn what_routes_had_that_are_gone_is_not_told_again() {
        let (mut named, mut last) = (Named::default(), HashMap::new());
        let mut table = vec![line("/a", 5), line("/b", 3), line(OTHER, 7)];
        told(&mut named, &mut last, &table);
        assert_eq!(last[OTHER].counted.requests.miss, 7);
        table = vec![line("/b", 4), line(OTHER, 7 + 5 + 1)];
        let told = named.tell(&table);
        let counted = |name: &str| {
            let (_, told) = told.iter().find(|(known, _)| &**known == name).unwrap();
            told.counted.requests.miss
        };
        assert_eq!((counted("/b"), counted(OTHER)), (4, 8));
    }

    #[test]
    fn a_few_routes_have_names_once_they_are_asked_for_and_new_ones_all_that_they_had() {
        let (mut named, mut last) = (Named::default(), HashMap::new());
        let names = told(&mut named, &mut last, &[line("/a", 5)]);
        assert_eq!(names.len(), 2);
        let names = told(&mut named, &mut last, &[line("/a", 5), line("/b", 3), line("/c", 0)]);
        assert!(!have(&names, "/c"), "{names:?}");
        assert_eq!(last["/b"].counted.requests.miss, 3);
        assert_eq!(last[OTHER], Told::default());
    }

    #[test]
    fn a_request_is_an_example_of_its_route_s_name_or_of_the_others() {
        let told = ["/a", OTHER].map(|name| (Arc::from(name), Told::default()));
        let past = |route: &str, id: &str| PastWait {
            route: route.into(),
            id: id.to_owned(),
            trace_id: None,
            took: Duration::from_millis(250),
            at: SystemTime::UNIX_EPOCH,
        };
        let examples = examples(&told, vec![past("/a", "1"), past("/nameless", "2")]);
        let ids = |name: &str| {
            examples[name].iter().map(|example| &*example.request_id).collect::<Vec<_>>()
        };
        assert_eq!((ids("/a"), ids(OTHER)), (vec!["1"], vec!["2"]));
        assert_eq!(examples["/a"][0].value, 0.25);
    }
}
