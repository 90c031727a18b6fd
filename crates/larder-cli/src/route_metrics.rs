//! Route metrics: the figures of the busiest routes, and of all others as one.
//!
//! A configuration may have ten thousand routes, and each would be a dozen series. So a hundred have names, the busiest when
//! there is a place; and whoever has one keeps it while the file has the route. What the others had before they got theirs
//! stays among the others: no counter ever goes down, and all of them together are all there was.

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
    /// What each had before, which was told of the others.
    before: HashMap<Arc<str>, Counted>,
    /// Those that were among the others at the last scrape.
    others: HashSet<Arc<str>>,
}

/// What only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Counted {
    requests: Requests,
    origin_calls: u64,
    origin_failures: u64,
    origin_seconds: f64,
    saved_seconds: f64,
    evicted: u64,
    waits: Waits,
}

/// What is told of a name.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Told {
    counted: Counted,
    entries: u64,
    bytes: u64,
}

impl Counted {
    fn of(figures: &RouteFigures) -> Counted {
        Counted {
            requests: figures.requests,
            origin_calls: figures.origin_calls,
            origin_failures: figures.origin_failures,
            origin_seconds: figures.origin_seconds,
            saved_seconds: figures.saved_seconds,
            evicted: figures.evicted,
            waits: figures.waits,
        }
    }

    fn and(self, more: Counted) -> Counted {
        Counted {
            requests: self.requests.and(more.requests),
            origin_calls: self.origin_calls + more.origin_calls,
            origin_failures: self.origin_failures + more.origin_failures,
            origin_seconds: self.origin_seconds + more.origin_seconds,
            saved_seconds: self.saved_seconds + more.saved_seconds,
            evicted: self.evicted + more.evicted,
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
            origin_calls: self.origin_calls.saturating_sub(before.origin_calls),
            origin_failures: self.origin_failures.saturating_sub(before.origin_failures),
            origin_seconds: (self.origin_seconds - before.origin_seconds).max(0.0),
            saved_seconds: (self.saved_seconds - before.saved_seconds).max(0.0),
            evicted: self.evicted.saturating_sub(before.evicted),
            waits: self.waits.beyond(before.waits),
        }
    }
}

impl Named {
    /// What is to be told of each name, and of the others.
    fn tell(&mut self, table: &[RouteFigures]) -> Vec<(Arc<str>, Told)> {
        let is_of_routes = |line: &&RouteFigures| &*line.route != OTHER;
        let there: HashSet<_> = table.iter().map(|line| &line.route).collect();
        self.before.retain(|route, _| there.contains(route));
        let mut nameless: Vec<_> = table
            .iter()
            .filter(is_of_routes)
            .filter(|line| !self.before.contains_key(&line.route))
            .collect();
        nameless.sort_by_key(|line| std::cmp::Reverse(line.requests.sum()));
        for line in nameless.into_iter().take(MAX_NAMED - self.before.len()) {
            let was_told = self.others.contains(&line.route);
            let before = if was_told { Counted::of(line) } else { Counted::default() };
            self.before.insert(Arc::clone(&line.route), before);
        }
        let (mut others, mut of_names) = (Told::default(), Vec::with_capacity(MAX_NAMED + 1));
        self.others.clear();
        for line in table {
            let counted = Counted::of(line);
            match self.before.get(&line.route) {
                Some(before) => {
                    let own = counted.beyond(*before);
                    let told = Told { counted: own, entries: line.entries, bytes: line.bytes };
                    of_names.push((Arc::clone(&line.route), told));
                    others.counted = others.counted.and(*before);
                }
                None => {
                    self.others.insert(Arc::clone(&line.route));
                    others.counted = others.counted.and(counted);
                    others.entries += line.entries;
                    others.bytes += line.bytes;
                }
            }
        }
        of_names.push((OTHER.into(), others));
        of_names
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
        let tables = vec![
            Table {
                name: "route_requests",
                help: "Requests that were answered, by the route they fit and what they were to the cache",
                kind: Kind::Counter,
                samples: by_verdict.collect(),
            },
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
    for PastWait { route, id, took, at } in past {
        let name = if names.contains(&route) { route } else { OTHER.into() };
        let example = Example { value: took.as_secs_f64(), request_id: id, at };
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
        let sum: u64 = told.iter().map(|(_, told)| told.counted.requests.miss).sum();
        assert_eq!(sum, table.iter().map(|line| line.requests.miss).sum::<u64>());
        let bytes: u64 = told.iter().map(|(_, told)| told.bytes).sum();
        assert_eq!(bytes, table.iter().map(|line| line.bytes).sum::<u64>());
        let waits =
            told.iter().map(|(_, told)| told.counted.waits).fold(Waits::default(), Waits::and);
        let of_lines = table.iter().map(|line| line.waits).fold(Waits::default(), Waits::and);
        assert_eq!(waits.counts, of_lines.counts);
        for (name, told) in &told {
            if let Some(before) = last.get(name) {
                let (now, then) = (told.counted.waits, before.counted.waits);
                assert!(
                    now.counts.iter().zip(then.counts).all(|(now, then)| *now >= then),
                    "{name}"
                );
                let (now, then) = (told.counted.requests.miss, before.counted.requests.miss);
                assert!(now >= then, "{name} went from {then} to {now}");
            }
        }
        *last = told.iter().cloned().collect();
        told.into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn a_hundred_have_names_and_no_counter_goes_down_whoever_gets_busy() {
        let (mut named, mut last) = (Named::default(), HashMap::new());
        let mut table: Vec<_> = (0..150).map(|at| line(&format!("/{at}"), at)).collect();
        table.push(line(OTHER, 7));
        let names = told(&mut named, &mut last, &table);
        assert_eq!(names.len(), MAX_NAMED + 1);
        assert!(
            names.iter().any(|name| &**name == "/149")
                && !names.iter().any(|name| &**name == "/49")
        );
        for round in 1..5 {
            for (at, line) in table.iter_mut().enumerate() {
                line.requests.miss += (150 - at as u64) * round;
                line.waits = waits(line.requests.miss);
            }
            told(&mut named, &mut last, &table);
        }
        // Two routes go, and what they had is the others' now: two get their places, and begin with nothing.
        let gone: u64 = table.drain(148..150).map(|line| line.requests.miss).sum();
        table.last_mut().unwrap().requests.miss += gone;
        table.iter_mut().for_each(|line| line.bytes = 0);
        let names = told(&mut named, &mut last, &table);
        assert!(names.iter().any(|name| &**name == "/0"), "{names:?}");
        assert_eq!(last["/0"].counted.requests.miss, 0);
    }

    #[test]
    fn a_few_routes_have_names_at_once_and_new_ones_all_that_they_had() {
        let (mut named, mut last) = (Named::default(), HashMap::new());
        let names = told(&mut named, &mut last, &[line("/a", 5)]);
        assert_eq!(names.len(), 2);
        told(&mut named, &mut last, &[line("/a", 5), line("/b", 3)]);
        assert_eq!(last["/b"].counted.requests.miss, 3);
        assert_eq!(last[OTHER], Told::default());
    }

    #[test]
    fn a_request_is_an_example_of_its_route_s_name_or_of_the_others() {
        let told = ["/a", OTHER].map(|name| (Arc::from(name), Told::default()));
        let past = |route: &str, id: &str| PastWait {
            route: route.into(),
            id: id.to_owned(),
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
