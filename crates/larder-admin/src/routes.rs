//! Routes: what the requests of each route have come to, and what is stored for it.
//!
//! Routes are above this crate, which knows caches: whoever has some gives what is to be told of them through
//! [`RouteTable`].

use std::{
    cmp::Ordering,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    Json,
    extract::{RawQuery, State},
};
use http::StatusCode;
use serde::{Serialize, Serializer, ser::SerializeMap};
use utoipa::{IntoParams, ToSchema};

use crate::{
    console::Console,
    problem::{Problem, ProblemView},
};

/// Lines of an answer, where nothing else is asked for, and at most.
const USUAL_LIMIT: usize = 50;
const MAX_LIMIT: usize = 1000;

/// Who knows routes, for [`Admin::route_table`](crate::Admin::route_table).
pub trait RouteTable: Send + Sync {
    /// A line for each route, as it is now; for ten thousand of them this takes some milliseconds, and must not wait.
    fn routes(&self) -> Vec<RouteFigures>;
}

impl<F: Fn() -> Vec<RouteFigures> + Send + Sync> RouteTable for F {
    fn routes(&self) -> Vec<RouteFigures> {
        self()
    }
}

/// What there is to tell of a route.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteFigures {
    /// What its requests have in common, as the file has it; `otherwise` for what fits none, `other` for routes that are
    /// gone from the file.
    pub route: Arc<str>,
    /// Where it stands: `larder.toml:12`.
    pub line: Option<Arc<str>>,
    /// Which service answers it.
    pub upstream: Option<Arc<str>>,
    /// Whether anything is stored for it.
    pub is_cached: bool,
    /// How many requests were finished, by what they were.
    pub requests: Requests,
    /// How many of the hits the shared tier had.
    pub shared_hits: u64,
    /// How many requests ended in an error for their reader that was the service's doing: 5xx from it, or no answer in time. They
    /// are among the misses, the collapsed and the passed.
    pub reader_errors: u64,
    /// Why those that were no hits were none, for each reason that there was.
    pub reasons: Vec<(&'static str, u64)>,
    /// How long until the head of an answer that was at hand.
    pub hit_seconds: Option<Seconds>,
    /// How long until the head of an answer for which a service was asked, or another's request waited for.
    pub miss_seconds: Option<Seconds>,
    /// The same in buckets, for metrics.
    pub waits: Waits,
    /// How often its service was asked, also behind its readers' backs.
    pub origin_calls: u64,
    /// How many of these calls failed: no answer in time, or one of 5xx.
    pub origin_failures: u64,
    /// How long its service took until the heads of the answers, all together.
    pub origin_seconds: f64,
    /// What fetching all that was answered from what was stored would have taken.
    pub saved_seconds: f64,
    /// Entries in memory now.
    pub entries: u64,
    /// What they weigh.
    pub bytes: u64,
    /// What they may weigh, if there is a bound.
    pub max_bytes: Option<u64>,
    /// How many entries went because the route held all that it may.
    pub evicted: u64,
    /// How many requests are at its service now, where that is bounded.
    pub fetches_now: Option<u64>,
    /// How many wait for that.
    pub waiting: u64,
    /// How many were answered 429.
    pub limited: u64,
    /// How many found as many at its service as may be there, and got no place in time.
    pub fetches_refused: u64,
}

/// How many requests there were, by what they were: each that was finished is one of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = RequestsByVerdict)]
pub struct Requests {
    /// Answered with what was stored and fresh.
    pub hit: u64,
    /// Answered with what was stored and stale.
    pub stale: u64,
    /// Sent on.
    pub miss: u64,
    /// Answered with what another reader's request brought.
    pub collapsed: u64,
    /// Passed on: the cache had no part in it.
    pub pass: u64,
    /// Answered without the service and without the cache: it was not let through, or found no room.
    pub refused: u64,
}

/// What was finished so far, for [`Admin::traffic`](crate::Admin::traffic).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How many requests, by what they were.
    pub requests: Requests,
    /// How many of the hits the shared tier had.
    pub shared_hits: u64,
    /// How many requests ended in an error for their reader that was the service's doing: 5xx from it, or no answer in time. They
    /// are among the misses, the collapsed and the passed.
    pub reader_errors: u64,
    /// How often a service was asked, for requests that no cache sees and behind readers' backs as well.
    pub origin_calls: u64,
    /// How many of these calls failed: no answer in time, or one of 5xx.
    pub origin_failures: u64,
    /// How long that took until the heads of the answers, all together.
    pub origin_time: Duration,
}

/// Times that half of the others, and all but a twentieth and a hundredth of them, do not exceed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
#[schema(as = QuantilesInSeconds)]
pub struct Seconds {
    /// Half.
    pub p50: f64,
    /// 95 in a hundred.
    pub p95: f64,
    /// 99 in a hundred.
    pub p99: f64,
}

/// How long it took until the heads of answers for which a service was asked, or another's request waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Waits {
    /// How many took as long as each of [`BOUNDS`](Waits::BOUNDS) at most, and longer than the one before; the last took
    /// longer than all of them.
    pub counts: [u64; Waits::BUCKETS],
    /// All together.
    pub seconds: f64,
}

/// A request whose reader has waited, by the id that its answer had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastWait {
    /// The route that it fitted, as [`RouteFigures::route`].
    pub route: Arc<str>,
    /// The id.
    pub id: String,
    /// By which its trace is found, where it was traced.
    pub trace_id: Option<String>,
    /// How long the head of its answer took.
    pub took: Duration,
    /// When that was there.
    pub at: SystemTime,
}

impl Waits {
    /// In seconds.
    pub const BOUNDS: [f64; 12] =
        [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
    /// One more than there are bounds.
    pub const BUCKETS: usize = Self::BOUNDS.len() + 1;

    /// In which bucket such a time is counted.
    pub fn bucket_of(took: Duration) -> usize {
        let seconds = took.as_secs_f64();
        Self::BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(Self::BOUNDS.len())
    }

    /// Both together.
    pub fn and(self, more: Waits) -> Waits {
        let counts = std::array::from_fn(|at| self.counts[at] + more.counts[at]);
        Waits { counts, seconds: self.seconds + more.seconds }
    }

    /// What there is beyond `before`, which is a part of it.
    pub fn beyond(self, before: Waits) -> Waits {
        let counts = std::array::from_fn(|at| self.counts[at].saturating_sub(before.counts[at]));
        Waits { counts, seconds: (self.seconds - before.seconds).max(0.0) }
    }
}

impl Requests {
    /// All of them.
    pub fn sum(&self) -> u64 {
        self.by_verdict().iter().map(|(_, count)| count).sum()
    }

    /// Both together.
    pub fn and(self, more: Requests) -> Requests {
        Requests {
            hit: self.hit + more.hit,
            stale: self.stale + more.stale,
            miss: self.miss + more.miss,
            collapsed: self.collapsed + more.collapsed,
            pass: self.pass + more.pass,
            refused: self.refused + more.refused,
        }
    }

    /// Each with its word.
    pub fn by_verdict(&self) -> [(&'static str, u64); 6] {
        let Requests { hit, stale, miss, collapsed, pass, refused } = *self;
        [
            ("hit", hit),
            ("stale", stale),
            ("miss", miss),
            ("collapsed", collapsed),
            ("pass", pass),
            ("refused", refused),
        ]
    }

    /// The share of those that the cache had a part in which were answered from it, or by what another's request brought.
    /// `None`: there was none.
    pub fn hit_ratio(&self) -> Option<f64> {
        let answered = self.hit + self.stale + self.collapsed;
        let all = answered + self.miss;
        (all > 0).then(|| answered as f64 / all as f64)
    }
}

/// What comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Requests,
    Misses,
    OriginSeconds,
    Bytes,
    Name,
}

impl Order {
    fn of(word: &str) -> Option<Order> {
        Some(match word {
            "requests" => Order::Requests,
            "misses" => Order::Misses,
            "origin_seconds" => Order::OriginSeconds,
            "bytes" => Order::Bytes,
            "name" => Order::Name,
            _ => return None,
        })
    }

    /// By what a line is ordered: the more, the earlier; and by name where that is the same.
    fn value(self, line: &RouteFigures) -> u64 {
        match self {
            Order::Requests => line.requests.sum(),
            Order::Misses => line.requests.miss,
            // In whole microseconds.
            Order::OriginSeconds => (line.origin_seconds * 1e6) as u64,
            Order::Bytes => line.bytes,
            Order::Name => 0,
        }
    }
}

/// Where a page ends: behind a line with this value and this name. A line whose value grows in between may be told twice, or
/// not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cursor {
    value: u64,
    route: String,
}

impl Cursor {
    fn of(order: Order, line: &RouteFigures) -> Cursor {
        Cursor { value: order.value(line), route: line.route.to_string() }
    }

    /// As a query can carry it.
    fn text(&self) -> String {
        let hex = self.route.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        format!("{:x}-{hex}", self.value)
    }

    fn read(text: &str) -> Option<Cursor> {
        let (value, hex) = text.split_once('-')?;
        let value = u64::from_str_radix(value, 16).ok()?;
        let pairs = hex.as_bytes().chunks(2).map(|pair| {
            let pair = str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
            u8::from_str_radix(pair, 16).ok()
        });
        let route = String::from_utf8(pairs.collect::<Option<Vec<u8>>>()?).ok()?;
        Some(Cursor { value, route })
    }

    fn is_before(&self, order: Order, line: &RouteFigures) -> bool {
        let place = (order.value(line), line.route.as_ref());
        compare((self.value, &self.route), place) == Ordering::Less
    }
}

fn compare(one: (u64, &str), other: (u64, &str)) -> Ordering {
    other.0.cmp(&one.0).then_with(|| one.1.cmp(other.1))
}

/// Which routes.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is there to be described")]
pub(crate) struct RoutesQuestion {
    /// What comes first.
    #[param(pattern = "^(requests|misses|origin_seconds|bytes|name)$")]
    order: Option<String>,
    /// So many at most; usually 50.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Where the page before ended: its `next`.
    after: Option<String>,
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Wish {
    order: Order,
    limit: usize,
    after: Option<Cursor>,
}

impl Wish {
    fn of(query: &str) -> Result<Wish, Problem> {
        let wrong =
            |what: String| Problem::new(StatusCode::BAD_REQUEST, "Question not understood", what);
        let mut wish = Wish { order: Order::Requests, limit: USUAL_LIMIT, after: None };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "order" => {
                    wish.order = Order::of(value).ok_or_else(|| {
                        wrong("order is requests, misses, origin_seconds, bytes or name".to_owned())
                    })?;
                }
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                    wish.limit = limit
                        .ok_or_else(|| wrong(format!("limit is a number from 1 to {MAX_LIMIT}")))?;
                }
                "after" => {
                    let cursor = Cursor::read(value);
                    let cursor =
                        cursor.ok_or_else(|| wrong("after is what next says".to_owned()))?;
                    wish.after = Some(cursor);
                }
                other => {
                    let what = format!("{other} is none of order, limit and after");
                    return Err(wrong(what));
                }
            }
        }
        Ok(wish)
    }

    /// The lines of the page, and where it ends if more follow.
    fn page(&self, mut lines: Vec<RouteFigures>) -> (Vec<RouteFigures>, Option<Cursor>) {
        let order = self.order;
        if let Some(after) = &self.after {
            lines.retain(|line| after.is_before(order, line));
        }
        let place = |line: &RouteFigures| (order.value(line), Arc::clone(&line.route));
        lines.sort_by(|one, other| {
            let (one, other) = (place(one), place(other));
            compare((one.0, &one.1), (other.0, &other.1))
        });
        let has_more = lines.len() > self.limit;
        lines.truncate(self.limit);
        let last = lines.last().filter(|_| has_more).map(|last| Cursor::of(order, last));
        (lines, last)
    }
}

/// What the requests of routes have come to.
#[derive(Serialize, ToSchema)]
pub(crate) struct Routes {
    #[schema(format = DateTime)]
    at: String,
    /// Since when requests are counted.
    #[schema(format = DateTime)]
    since: String,
    /// How many routes there are.
    total: usize,
    routes: Vec<Line>,
    /// What to ask for [`after`](Wish::after) to go on. `null`: that was all.
    next: Option<String>,
}

/// A route as it is told.
#[derive(Serialize, ToSchema)]
#[schema(as = RouteFigures)]
pub(crate) struct Line {
    route: String,
    line: Option<String>,
    upstream: Option<String>,
    is_cached: bool,
    requests: Requests,
    /// How many of the hits the shared tier had.
    shared_hits: u64,
    /// How many requests ended in an error for their reader that was the service's doing: 5xx from it, or no answer in time. They
    /// are among the misses, the collapsed and the passed.
    reader_errors: u64,
    hit_ratio: Option<f64>,
    #[serde(serialize_with = "as_map")]
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    reasons: Vec<(&'static str, u64)>,
    hit_seconds: Option<Seconds>,
    miss_seconds: Option<Seconds>,
    origin_calls: u64,
    /// How many of these calls failed: no answer in time, or one of 5xx.
    origin_failures: u64,
    origin_seconds: f64,
    saved_seconds: f64,
    entries: u64,
    bytes: u64,
    max_bytes: Option<u64>,
    evicted: u64,
    fetches_now: Option<u64>,
    waiting: u64,
    limited: u64,
    /// How many found as many at its service as may be there, and got no place in time.
    fetches_refused: u64,
}

impl From<RouteFigures> for Line {
    fn from(figures: RouteFigures) -> Line {
        Line {
            hit_ratio: figures.requests.hit_ratio(),
            route: figures.route.to_string(),
            line: figures.line.map(|line| line.to_string()),
            upstream: figures.upstream.map(|name| name.to_string()),
            is_cached: figures.is_cached,
            requests: figures.requests,
            shared_hits: figures.shared_hits,
            reader_errors: figures.reader_errors,
            reasons: figures.reasons,
            hit_seconds: figures.hit_seconds,
            miss_seconds: figures.miss_seconds,
            origin_calls: figures.origin_calls,
            origin_failures: figures.origin_failures,
            origin_seconds: figures.origin_seconds,
            saved_seconds: figures.saved_seconds,
            entries: figures.entries,
            bytes: figures.bytes,
            max_bytes: figures.max_bytes,
            evicted: figures.evicted,
            fetches_now: figures.fetches_now,
            waiting: figures.waiting,
            limited: figures.limited,
            fetches_refused: figures.fetches_refused,
        }
    }
}

fn as_map<S: Serializer>(pairs: &[(&'static str, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(pairs.len()))?;
    for (name, count) in pairs {
        map.serialize_entry(name, count)?;
    }
    map.end()
}

/// What the requests of each route have come to, and what is stored for it. 404 where nothing has routes: where an
/// application asks the caches itself.
#[utoipa::path(
    get, path = "/v1/routes", tag = "counters", params(RoutesQuestion),
    responses(
        (status = 200, description = "A page of them.", body = Routes),
        (status = "default", description = "A problem.", body = ProblemView, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn routes(
    State(console): State<Arc<Console>>,
    RawQuery(query): RawQuery,
) -> Result<Json<Routes>, Problem> {
    let wish = Wish::of(query.as_deref().unwrap_or_default())?;
    let no_routes = || {
        let detail = "nothing here has routes: these caches are asked by an application itself";
        Problem::new(StatusCode::NOT_FOUND, "Not found", detail)
    };
    let lines = console.route_table.as_ref().ok_or_else(no_routes)?.routes();
    let at = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    let since = humantime::format_rfc3339_millis(console.since).to_string();
    let total = lines.len();
    let (lines, last) = wish.page(lines);
    let routes = lines.into_iter().map(Line::from).collect();
    Ok(Json(Routes { at, since, total, routes, next: last.map(|last| last.text()) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(route: &str, miss: u64, bytes: u64) -> RouteFigures {
        let requests = Requests { miss, hit: 10, ..Requests::default() };
        RouteFigures { route: route.into(), requests, bytes, ..RouteFigures::default() }
    }

    fn lines() -> Vec<RouteFigures> {
        vec![line("/a", 3, 10), line("/b", 9, 20), line("/c", 9, 0), line("otherwise", 0, 5)]
    }

    fn names(lines: &[RouteFigures]) -> Vec<&str> {
        lines.iter().map(|line| &*line.route).collect()
    }

    #[test]
    fn a_wait_is_counted_up_to_the_first_bound_that_it_does_not_exceed() {
        for (millis, bucket) in
            [(0, 0), (1, 0), (2, 1), (1000, 9), (1001, 10), (10_000, 11), (10_001, 12)]
        {
            assert_eq!(Waits::bucket_of(Duration::from_millis(millis)), bucket, "{millis} ms");
        }
        assert_eq!(Waits::bucket_of(Duration::MAX), Waits::BUCKETS - 1);
        assert!(Waits::BOUNDS.is_sorted());
    }

    #[test]
    fn what_is_most_comes_first_and_names_order_what_is_as_much() {
        for (query, order) in [
            ("", ["/b", "/c", "/a", "otherwise"]),
            ("order=misses", ["/b", "/c", "/a", "otherwise"]),
            ("order=bytes", ["/b", "/a", "otherwise", "/c"]),
            ("order=name&limit=1000", ["/a", "/b", "/c", "otherwise"]),
        ] {
            let (page, next) = Wish::of(query).unwrap().page(lines());
            assert_eq!((names(&page), next), (order.to_vec(), None), "{query}");
        }
    }

    #[test]
    fn pages_go_on_where_the_one_before_ended_until_there_is_no_more() {
        for order in ["requests", "misses", "origin_seconds", "bytes", "name"] {
            for limit in 1..=4 {
                let (mut seen, mut after) = (Vec::new(), String::new());
                loop {
                    let query = format!("order={order}&limit={limit}{after}");
                    let (page, next) = Wish::of(&query).unwrap().page(lines());
                    assert!(page.len() <= limit);
                    seen.extend(page);
                    let Some(next) = next else { break };
                    after = format!("&after={}", next.text());
                }
                let whole = Wish::of(&format!("order={order}")).unwrap().page(lines()).0;
                assert_eq!(names(&seen), names(&whole), "{order} by {limit}");
            }
        }
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_nothing_else_is() {
        for route in ["", "/a", "ä b", "GET example.org/**"] {
            let cursor = Cursor { value: u64::MAX, route: route.to_owned() };
            assert_eq!(Cursor::read(&cursor.text()), Some(cursor));
        }
        for text in ["", "1", "-", "x-", "1-0", "1-zz", "1-ff", "-1-00", "1-0é"] {
            assert_eq!(Cursor::read(text), None, "{text}");
        }
    }

    #[test]
    fn a_question_that_is_none_is_refused() {
        for query in ["limit=0", "limit=1001", "limit=", "order=heat", "after=x", "page=2", "a"] {
            assert!(Wish::of(query).is_err(), "{query}");
        }
    }

    #[test]
    fn the_hit_ratio_leaves_out_what_the_cache_had_no_part_in() {
        let none = Requests { pass: 5, refused: 5, ..Requests::default() };
        assert_eq!(none.hit_ratio(), None);
        let some = Requests { hit: 1, stale: 1, collapsed: 1, miss: 1, ..none };
        assert_eq!(some.hit_ratio(), Some(0.75));
    }
}
