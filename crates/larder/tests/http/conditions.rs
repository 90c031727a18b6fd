//! A reader's own preconditions and range hold on every way on which an answer reaches it: each way, with
//! each condition and range, by each method, under each policy, against an origin that obeys RFC 9110.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use larder::http::{Body, Policy, Settings};

use crate::support::{
    Answer, Refused, Seen, Shape, Site, answer, get_with, over_each_shape, read, request, secs,
    settle, without_length,
};

const LENGTH: u64 = 1000;

/// One state of what lies at the URI. No two have a byte in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    tag: &'static str,
    modified: &'static str,
    byte: u8,
}

const V1: Version =
    Version { tag: "\"v1\"", modified: "Mon, 05 Mar 2001 10:00:00 GMT", byte: b'1' };
const V2: Version =
    Version { tag: "\"v2\"", modified: "Tue, 05 Mar 2002 10:00:00 GMT", byte: b'2' };

impl Version {
    fn body(self, range: std::ops::RangeInclusive<u64>) -> Bytes {
        range.map(|_| self.byte).collect()
    }

    /// What this version answers to these fields (RFC 9110 §13.2.2), in a reading of its own: dates are only
    /// those of the two versions, ranges only of the form `bytes=a-b`.
    fn evaluate(self, method: &str, field: impl Fn(&str) -> Option<String>) -> Outcome {
        let lists = |value: &str, weakly: bool| {
            value == "*"
                || value.split(", ").any(|tag| match tag.strip_prefix("W/") {
                    Some(tag) => weakly && tag == self.tag,
                    None => tag == self.tag,
                })
        };
        let is_newer_than = |date: &str| self == V2 && date == V1.modified;
        match (field("if-match"), field("if-unmodified-since")) {
            (Some(tags), _) if !lists(&tags, false) => return Outcome::Failed,
            (None, Some(date)) if is_newer_than(&date) => return Outcome::Failed,
            _ => {}
        }
        match (field("if-none-match"), field("if-modified-since")) {
            (Some(tags), _) if lists(&tags, true) => return Outcome::NotModified,
            (None, Some(date)) if !is_newer_than(&date) => return Outcome::NotModified,
            _ => {}
        }
        let holds = match field("if-range") {
            Some(value) => value == self.tag || value == self.modified,
            None => true,
        };
        match field("range").filter(|_| method == "GET" && holds) {
            Some(range) => {
                let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
                let first: u64 = first.parse().unwrap();
                let last: u64 = last.parse().unwrap_or(LENGTH - 1);
                match first < LENGTH {
                    true => Outcome::Part(first, last.min(LENGTH - 1)),
                    false => Outcome::Unsatisfiable,
                }
            }
            None => Outcome::Whole,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Whole,
    Part(u64, u64),
    Unsatisfiable,
    NotModified,
    Failed,
}

/// What the origin has now.
#[derive(Clone, Copy, Debug)]
struct World {
    version: Version,
    cache_control: &'static str,
    is_down: bool,
    /// It takes a range for an order, whatever `If-Range` says.
    ignores_if_range: bool,
}

impl World {
    fn answer(&self, seen: &Seen) -> Result<Response<Body>, Refused> {
        if self.is_down {
            return Err(Refused("connection refused"));
        }
        let version = self.version;
        let fields = [
            ("cache-control", self.cache_control),
            ("etag", version.tag),
            ("last-modified", version.modified),
            ("content-type", "text/plain"),
        ];
        let outcome = version.evaluate(&seen.method, |name| {
            let lines = seen.headers.get(name).filter(|_| {
                let is_ignored = self.ignores_if_range && name == "if-range";
                !is_ignored
            });
            lines.map(|value| value.to_str().unwrap().to_owned())
        });
        Ok(match outcome {
            Outcome::Whole if seen.method == "HEAD" => {
                let mut head = without_length(200, &fields, Body::empty());
                head.headers_mut().insert("content-length", LENGTH.into());
                head
            }
            Outcome::Whole => answer(200, &fields, version.body(0..=LENGTH - 1)),
            Outcome::Part(first, last) => {
                let mut part = answer(206, &fields, version.body(first..=last));
                let range = format!("bytes {first}-{last}/{LENGTH}");
                part.headers_mut().insert("content-range", range.parse().unwrap());
                part
            }
            Outcome::Unsatisfiable => {
                let range = format!("bytes */{LENGTH}");
                answer(416, &[("content-range", &range)], "")
            }
            Outcome::NotModified => without_length(304, &fields[..3], Body::empty()),
            Outcome::Failed => answer(412, &[], ""),
        })
    }
}

/// How the answer reaches the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    /// From what is stored, while the origin has something newer.
    Stored,
    /// From what was stored, since the origin says that it holds.
    Confirmed,
    /// The same, but it may be kept no longer.
    ConfirmedForTheLastTime,
    /// In the place of what was stored.
    Anew,
    /// Where nothing was stored.
    Missed,
    /// Stale, and refreshed behind the reader's back.
    WhileRevalidating,
    /// Stale, since the origin is down.
    IfError,
    /// Stale, since the origin takes its time.
    SoftTimeout,
    /// Another reader had asked for it already.
    Collapsed,
    /// Another reader had asked for it already, and it is for that one alone.
    CollapsedInVain,
    /// Nothing was known of it, and it is for one reader alone.
    Private,
    /// It was for one reader alone before.
    PrivateAgain,
    /// The same, but long ago.
    PrivateLongAfter,
    /// It is too large to be stored.
    TooLarge,
    /// From a part of it, or that and the rest.
    FromPart,
    /// The same, with a rest that has changed.
    FromPartOfOld,
    /// A stale part that the origin confirms.
    StalePart,
    /// A stale part of what has changed.
    StalePartOfOld,
}

const PATHS: [Path; 18] = [
    Path::Stored,
    Path::Confirmed,
    Path::ConfirmedForTheLastTime,
    Path::Anew,
    Path::Missed,
    Path::WhileRevalidating,
    Path::IfError,
    Path::SoftTimeout,
    Path::Collapsed,
    Path::CollapsedInVain,
    Path::Private,
    Path::PrivateAgain,
    Path::PrivateLongAfter,
    Path::TooLarge,
    Path::FromPart,
    Path::FromPartOfOld,
    Path::StalePart,
    Path::StalePartOfOld,
];

type Pairs = &'static [(&'static str, &'static str)];

const CONDITIONS: [Pairs; 14] = [
    &[],
    &[("if-none-match", "\"v1\"")],
    &[("if-none-match", "\"v2\"")],
    &[("if-none-match", "\"v0\", W/\"v1\"")],
    &[("if-none-match", "\"v0\"")],
    &[("if-none-match", "*")],
    &[("if-modified-since", V1.modified)],
    &[("if-modified-since", V2.modified)],
    &[("if-none-match", "\"v0\""), ("if-modified-since", V2.modified)],
    &[("if-match", "\"v1\"")],
    &[("if-match", "\"v2\"")],
    &[("if-match", "W/\"v1\"")],
    &[("if-unmodified-since", V1.modified)],
    &[("if-match", "\"v1\""), ("if-none-match", "\"v1\"")],
];

const RANGES: [Pairs; 8] = [
    &[],
    &[("range", "bytes=450-480")],
    &[("range", "bytes=450-480"), ("if-range", "\"v1\"")],
    &[("range", "bytes=450-480"), ("if-range", "\"v2\"")],
    &[("range", "bytes=450-480"), ("if-range", "W/\"v1\"")],
    &[("range", "bytes=450-480"), ("if-range", V1.modified)],
    &[("range", "bytes=600-"), ("if-range", "\"v1\"")],
    &[("range", "bytes=1000-")],
];

/// One request on one path.
#[derive(Clone, Debug)]
struct Case {
    path: Path,
    method: &'static str,
    fields: Vec<(&'static str, &'static str)>,
    is_guarded: bool,
    ignores_if_range: bool,
}

impl Case {
    fn policy(&self) -> Policy {
        if self.is_guarded { Policy::guarded() } else { Policy::standard() }
    }

    fn asks(&self) -> Request<Body> {
        request(self.method, "/a", &self.fields)
    }

    /// What is asked without conditions, to have something stored or under way.
    fn plainly(&self) -> Request<Body> {
        request(if self.method == "QUERY" { "QUERY" } else { "GET" }, "/a", &[])
    }

    fn evaluated(&self, version: Version) -> Outcome {
        version.evaluate(self.method, |name| {
            let found = self.fields.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    /// Walks the path. `None`: nobody has what the reader asks for.
    async fn walk(&self, shape: Shape) -> Option<(Answer, Vec<Version>)> {
        let settings = match self.path {
            Path::TooLarge => Settings { max_body_bytes: 500, ..Settings::default() },
            _ => Settings::default(),
        };
        let site = Site::with(shape, self.policy(), settings, |builder| match self.path {
            Path::SoftTimeout => builder.soft_timeout(secs(1)),
            _ => builder,
        });
        let world = Arc::new(Mutex::new(World {
            version: V1,
            cache_control: "max-age=10",
            is_down: false,
            ignores_if_range: self.ignores_if_range,
        }));
        let becomes = |change: &dyn Fn(&mut World)| change(&mut world.lock().unwrap());
        let origin = Arc::clone(&world);
        site.origin.answers(move |seen| origin.lock().unwrap().answer(seen));
        let fill = async || {
            site.send(self.plainly()).await;
            settle().await;
        };
        let half = async || {
            site.send(get_with("/a", &[("range", "bytes=0-499")])).await;
            settle().await;
        };
        let stales = || site.clock.advance(secs(11));
        // What may be the answer, unless the reader asks for another version than is at hand.
        let mut at_hand = None;
        match self.path {
            Path::Stored => {
                fill().await;
                at_hand = Some(V1);
                becomes(&|world| world.version = V2);
            }
            Path::Confirmed => {
                fill().await;
                stales();
            }
            Path::ConfirmedForTheLastTime => {
                fill().await;
                stales();
                becomes(&|world| world.cache_control = "private");
            }
            Path::Anew => {
                fill().await;
                stales();
                becomes(&|world| world.version = V2);
            }
            Path::Missed => becomes(&|world| world.version = V2),
            Path::WhileRevalidating => {
                becomes(&|world| world.cache_control = "max-age=10, stale-while-revalidate=60");
                fill().await;
                stales();
                at_hand = Some(V1);
                becomes(&|world| world.version = V2);
            }
            Path::IfError | Path::SoftTimeout => {
                becomes(&|world| world.cache_control = "max-age=10, stale-if-error=60");
                fill().await;
                stales();
                at_hand = Some(V1);
                match self.path {
                    Path::IfError => becomes(&|world| world.is_down = true),
                    _ => site.origin.waits(),
                }
            }
            Path::Collapsed | Path::CollapsedInVain => {
                let is_for_all = self.path == Path::Collapsed;
                becomes(&|world| {
                    world.version = V2;
                    world.cache_control = if is_for_all { "max-age=10" } else { "private" };
                });
                site.origin.waits();
                let leader = site.ask(self.plainly());
                settle().await;
                let reading = site.ask(self.asks());
                settle().await;
                for call in 0.. {
                    let Some(seen) = site.origin.call(call) else { break };
                    let answer = world.lock().unwrap().answer(&seen);
                    assert!(site.origin.take().send(answer).is_ok());
                    settle().await;
                }
                read(leader).await;
                return Some((read(reading).await, vec![V2]));
            }
            Path::Private | Path::PrivateAgain | Path::PrivateLongAfter => {
                becomes(&|world| world.cache_control = "private, max-age=0");
                if self.path != Path::Private {
                    fill().await;
                }
                if self.path == Path::PrivateLongAfter {
                    site.clock.advance(secs(1800));
                }
                becomes(&|world| world.version = V2);
            }
            Path::TooLarge => {
                fill().await;
                becomes(&|world| world.version = V2);
            }
            Path::FromPart => half().await,
            Path::FromPartOfOld => {
                half().await;
                at_hand = Some(V1);
                becomes(&|world| world.version = V2);
            }
            Path::StalePart => {
                half().await;
                stales();
            }
            Path::StalePartOfOld => {
                half().await;
                stales();
                becomes(&|world| world.version = V2);
            }
        }
        let now = world.lock().unwrap().version;
        let may_be = match (self.path, at_hand) {
            // It takes the range to tell whether the part will do.
            (Path::FromPartOfOld, _) => vec![V1, V2],
            (_, Some(version)) if self.evaluated(version) != Outcome::Failed => vec![version],
            (Path::IfError | Path::SoftTimeout, _) => return None,
            _ => vec![now],
        };
        let got = site.send(self.asks()).await;
        self.check_the_origin(&site);
        settle().await;
        if self.path == Path::WhileRevalidating && may_be == [V1] {
            let next = site.send(self.plainly()).await;
            assert_eq!(next.body, V2.body(0..=LENGTH - 1), "{self:?}: the refresh went wrong");
        }
        Some((got, may_be))
    }

    /// Where nothing is stored, the origin judges the reader's conditions (RFC 9110 §13.2.1).
    fn check_the_origin(&self, site: &Site) {
        let is_unshared =
            matches!(self.path, Path::PrivateAgain | Path::PrivateLongAfter | Path::TooLarge);
        if is_unshared && !self.ignores_if_range {
            let seen = site.origin.last();
            for (name, value) in &self.fields {
                assert_eq!(seen.field(name), *value, "{self:?}");
            }
        }
    }

    /// Whether it is what this version answers.
    fn is_answer_of(&self, got: &Answer, version: Version) -> bool {
        let is_head = self.method == "HEAD";
        let is_of_version = got.field("etag") == version.tag;
        match self.evaluated(version) {
            Outcome::Whole => {
                let body = if is_head { Bytes::new() } else { version.body(0..=LENGTH - 1) };
                got.status == 200
                    && is_of_version
                    && got.body == body
                    && got.field("content-length") == LENGTH.to_string()
                    && got.field("content-range").is_empty()
            }
            Outcome::Part(first, last) => {
                got.status == 206
                    && is_of_version
                    && got.body == version.body(first..=last)
                    && got.field("content-range") == format!("bytes {first}-{last}/{LENGTH}")
                    && got.field("content-length") == (last - first + 1).to_string()
            }
            Outcome::Unsatisfiable => {
                got.status == 416 && got.field("content-range") == format!("bytes */{LENGTH}")
            }
            Outcome::NotModified => {
                let describes = ["content-type", "content-length", "content-range"];
                got.status == 304
                    && is_of_version
                    && got.body.is_empty()
                    && !got.field("cache-control").is_empty()
                    && describes.iter().all(|name| got.field(name).is_empty())
            }
            Outcome::Failed => got.status == 412 && got.body.is_empty(),
        }
    }
}

/// Every case where the cache is as it usually is, and every ninth in the other shapes: nine has no
/// divisor in common with the numbers of conditions and ranges, so each of them is met with each.
async fn check(shape: Shape, cases: impl Iterator<Item = Case>) {
    let step = if shape == Shape::S3_FIFO { 1 } else { 9 };
    let (mut answered, mut wrong) = (0, Vec::new());
    for case in cases.step_by(step) {
        let Some((got, may_be)) = case.walk(shape).await else { continue };
        answered += 1;
        if !got.is_whole || !may_be.iter().any(|version| case.is_answer_of(&got, *version)) {
            wrong.push(format!("{case:?}: {} {:?}", got.status, got.headers));
        }
    }
    assert!(answered > 800 / step, "only {answered} answers");
    let first = wrong.iter().take(8).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} of {answered} are wrong:\n{first}", wrong.len());
}

fn cases(
    methods: &'static [&'static str],
    ranges: &'static [Pairs],
    ignores_if_range: bool,
) -> impl Iterator<Item = Case> {
    let paths = PATHS.into_iter().flat_map(|path| [(path, true), (path, false)]);
    paths.flat_map(move |(path, is_guarded)| {
        methods.iter().flat_map(move |&method| {
            CONDITIONS.into_iter().flat_map(move |conditions| {
                ranges.iter().map(move |range| {
                    let fields = [conditions, range].concat();
                    Case { path, method, fields, is_guarded, ignores_if_range }
                })
            })
        })
    })
}

over_each_shape!(conditions_and_ranges_hold_on_every_path);
async fn conditions_and_ranges_hold_on_every_path(shape: Shape) {
    check(shape, cases(&["GET"], &RANGES, false)).await;
}

over_each_shape!(conditions_hold_on_every_path_for_methods_without_ranges);
async fn conditions_hold_on_every_path_for_methods_without_ranges(shape: Shape) {
    let is_for_parts = |path| {
        matches!(
            path,
            Path::FromPart | Path::FromPartOfOld | Path::StalePart | Path::StalePartOfOld
        )
    };
    let cases = cases(&["HEAD", "QUERY"], &RANGES[..1], false);
    // What is stored of a GET is no answer to a QUERY.
    check(shape, cases.filter(|case| case.method == "HEAD" || !is_for_parts(case.path))).await;
}

over_each_shape!(a_download_is_never_joined_of_two_versions_even_if_the_origin_would);
async fn a_download_is_never_joined_of_two_versions_even_if_the_origin_would(shape: Shape) {
    check(shape, cases(&["GET"], &RANGES[2..7], true)).await;
}
