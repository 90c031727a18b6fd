//! Crowd: many requests at once, sent the way that readers' requests come, counted and thrown away.
//!
//! It is bounded: so many requests, one crowd at a time, and a time after which those without an answer are given up. Whoever
//! asked for it and leaves ends it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
};
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use http::{
    StatusCode,
    uri::{Authority, PathAndQuery},
};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};
use utoipa::ToSchema;

use super::{ActView, Stage, not_offered};
use crate::{
    console::Console,
    object::Object,
    problem::{Problem, ProblemView},
    routes::Requests,
};

/// So many there are where nobody says.
const USUAL: usize = 200;
/// More are refused, whoever sends them.
const MOST: usize = 1000;
/// Those without an answer by then are given up.
const LONGEST: Duration = Duration::from_secs(30);
/// A longer path is somebody's slip.
const MAX_PATH_BYTES: usize = 2048;

const TITLE: &str = "Crowd not understood";

/// Who can send many requests at once. A cache cannot: it is asked by requests.
pub trait Crowds: Send + Sync {
    /// How it is offered. It must not wait.
    fn offer(&self) -> CrowdOffer;

    /// Sends it, or begins to: as many answers as it has requests, all of which go on at once.
    ///
    /// # Errors
    ///
    /// What is told to whoever asked for it: it cannot be sent now.
    fn send(&self, crowd: &Crowd) -> Result<SentCrowd, Problem>;
}

/// How a crowd is offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrowdOffer {
    /// Scheme and host that its requests are for: `http://127.0.0.1:8080`.
    pub at: String,
    /// A path to begin with.
    pub path: String,
    /// Whether a crowd may name another host.
    pub takes_host: bool,
    /// So many requests at most; more than 1000 are 1000.
    pub most: usize,
}

/// A crowd that is to be sent. All that is in it was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Crowd {
    /// Which host its requests name, instead of the one that is offered.
    pub host: Option<Authority>,
    /// What they ask for: printable ASCII, with one slash at its beginning.
    pub path: PathAndQuery,
    /// How many they are: from 1 to what is offered.
    pub requests: usize,
}

/// A crowd on its way.
pub struct SentCrowd {
    /// One for each request: the answer once all of it was read, or `None` where none came. Whoever drops one gives its
    /// request up.
    pub answers: Vec<BoxFuture<'static, Option<CrowdAnswer>>>,
    /// How often the origin was asked for them so far, where that is counted.
    pub origin_calls: Option<Box<dyn Fn() -> u64 + Send + Sync>>,
}

/// What one request of a crowd got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrowdAnswer {
    /// What it was to the cache.
    pub verdict: Verdict,
    /// The answer's status.
    pub status: StatusCode,
}

/// What a request was to the cache, as [`Requests`] counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of `Requests` say what each is")]
pub enum Verdict {
    Hit,
    Stale,
    Miss,
    Collapsed,
    Pass,
    Refused,
}

impl CrowdOffer {
    fn most(&self) -> usize {
        self.most.min(MOST)
    }

    pub(super) fn view(self, is_under_way: bool) -> ActView {
        let (most, CrowdOffer { at, path, takes_host, .. }) = (self.most(), self);
        ActView::Crowd { at, path, takes_host, usual: USUAL.min(most), most, is_under_way }
    }
}

/// A crowd to send.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CrowdRequest {
    /// What all its requests ask for: a path of this server, perhaps with a query.
    #[schema(example = "/")]
    path: String,
    /// Which host they name, where the server takes another one than its own.
    host: Option<String>,
    /// How many they are. Usually 200, or as many as there may be.
    #[schema(minimum = 1, maximum = 1000)]
    requests: Option<usize>,
}

impl Crowd {
    /// `Err` says what is wrong, and the way out.
    fn of(request: CrowdRequest, offer: &CrowdOffer) -> Result<Crowd, String> {
        let CrowdRequest { path, host, requests } = request;
        let most = offer.most();
        let requests = requests.unwrap_or(USUAL.min(most));
        if !(1..=most).contains(&requests) {
            return Err(format!("\"requests\" is {requests}: say 1 to {most}"));
        }
        let host = match host {
            None => None,
            Some(_) if !offer.takes_host => {
                return Err(format!("\"host\" cannot be said here: all is asked of {}", offer.at));
            }
            Some(host) => Some(host_of(&host)?),
        };
        Ok(Crowd { host, path: path_of(&path)?, requests })
    }
}

/// A path of this server: with two slashes, or without one, other readers take it for a host's.
fn path_of(path: &str) -> Result<PathAndQuery, String> {
    let wrong = |why: &str| format!("\"path\": {why}");
    if path.len() > MAX_PATH_BYTES {
        return Err(wrong(&format!("it is longer than {MAX_PATH_BYTES} bytes")));
    }
    if !path.starts_with('/') || path.starts_with("//") {
        return Err(wrong("say a path of this server, with one slash at its beginning: \"/\""));
    }
    if path.contains('#') {
        return Err(wrong("nobody sends what stands behind a #"));
    }
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong("write what is no printable ASCII percent-encoded: %20 for a space"));
    }
    path.parse().map_err(|error| wrong(&format!("{path:?}: {error}")))
}

fn host_of(host: &str) -> Result<Authority, String> {
    let wrong = || "\"host\" is a name, perhaps with a port: \"shop.example\"".to_owned();
    let authority: Authority = host.parse().map_err(|_| wrong())?;
    let is_host = !authority.host().is_empty() && !authority.as_str().contains('@');
    is_host.then_some(authority).ok_or_else(wrong)
}

/// What came of a crowd.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CrowdReport {
    /// So many were sent.
    requests: usize,
    /// How often the origin was asked for them, as far as that is known when the last is answered. `null`: it is not known.
    origin_calls: Option<u64>,
    /// Until the last was answered, in milliseconds.
    took_ms: f64,
    /// Those that were answered, by what they were to the cache.
    by_verdict: Requests,
    /// Those that were answered, by their status.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    by_status: BTreeMap<u16, u64>,
    /// So many got no answer within 30 seconds.
    unanswered: usize,
}

#[derive(Default)]
struct Tally {
    by_verdict: Requests,
    by_status: BTreeMap<u16, u64>,
}

impl Tally {
    fn add(&mut self, answer: CrowdAnswer) {
        let Requests { hit, stale, miss, collapsed, pass, refused } = &mut self.by_verdict;
        let count = match answer.verdict {
            Verdict::Hit => hit,
            Verdict::Stale => stale,
            Verdict::Miss => miss,
            Verdict::Collapsed => collapsed,
            Verdict::Pass => pass,
            Verdict::Refused => refused,
        };
        *count += 1;
        *self.by_status.entry(answer.status.as_u16()).or_default() += 1;
    }

    /// Where nobody counts, each that was sent on is a call. What is stale may have been asked for behind it.
    fn origin_calls(&self) -> Option<u64> {
        let Requests { stale, miss, pass, .. } = self.by_verdict;
        (stale == 0).then_some(miss + pass)
    }
}

/// Waits for all answers, for as long as that may take. Dropping it gives all requests up.
async fn gather(sent: SentCrowd) -> CrowdReport {
    let began = Instant::now();
    let requests = sent.answers.len();
    let mut answers: FuturesUnordered<_> = sent.answers.into_iter().collect();
    let mut tally = Tally::default();
    let gathering = async {
        while let Some(answer) = answers.next().await {
            if let Some(answer) = answer {
                tally.add(answer);
            }
        }
    };
    let is_whole = timeout(LONGEST, gathering).await.is_ok();
    let took_ms = began.elapsed().as_secs_f64() * 1e3;
    if !is_whole {
        tracing::warn!("a crowd was given up after {LONGEST:?}");
    }
    let answered = usize::try_from(tally.by_verdict.sum()).unwrap_or(usize::MAX);
    CrowdReport {
        requests,
        origin_calls: match sent.origin_calls {
            Some(counted) => Some(counted()),
            None => tally.origin_calls(),
        },
        took_ms,
        by_verdict: tally.by_verdict,
        by_status: tally.by_status,
        unanswered: requests.saturating_sub(answered),
    }
}

/// Sends so many requests for one path at once, the way that readers' requests come, and tells what came of them. One crowd
/// at a time: another is answered 409. Whoever leaves before the answer ends it.
#[utoipa::path(
    post, path = "/v1/stage/crowd", tag = "stage", request_body = CrowdRequest,
    responses(
        (status = 200, description = "All are answered, or were given up.", body = CrowdReport),
        (status = "default", description = "A problem.", body = ProblemView, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn crowd(
    State(console): State<Arc<Console>>,
    request: Result<Json<Object<CrowdRequest>>, JsonRejection>,
) -> Result<Json<CrowdReport>, Problem> {
    let offered = console.stage.as_ref().and_then(|stage| Some((stage, stage.crowds.as_ref()?)));
    let (Stage { turn, sent, .. }, crowds) = offered.ok_or_else(not_offered)?;
    let Json(Object(request)) = request.map_err(|rejection| Problem::of_json(TITLE, &rejection))?;
    let not_understood = |detail| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, TITLE, detail);
    let crowd = Crowd::of(request, &crowds.offer()).map_err(not_understood)?;
    let Ok(_turn) = turn.try_acquire() else {
        let detail = "wait until it is over, then ask again";
        return Err(Problem::new(StatusCode::CONFLICT, "Another crowd is under way", detail));
    };
    let on_its_way = crowds.send(&crowd)?;
    sent.count(on_its_way.answers.len());
    let gathering = gather(on_its_way);
    let Some(report) = console.stop.run_until_cancelled(gathering).await else {
        let detail = "this process stops, and the crowd with it";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Stopping", detail));
    };
    let CrowdReport { requests, origin_calls, unanswered, .. } = &report;
    tracing::info!(
        requests,
        origin_calls,
        unanswered,
        "a crowd was sent for {}",
        crowd.path.path()
    );
    Ok(Json(report))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(takes_host: bool) -> CrowdOffer {
        let (at, path) = ("http://127.0.0.1:8080".to_owned(), "/".to_owned());
        CrowdOffer { at, path, takes_host, most: 1000 }
    }

    fn crowd(path: &str, host: Option<&str>, requests: Option<usize>) -> Result<Crowd, String> {
        let request =
            CrowdRequest { path: path.to_owned(), host: host.map(str::to_owned), requests };
        Crowd::of(request, &offer(true))
    }

    #[test]
    fn a_path_is_one_of_this_server() {
        for path in ["/", "/a?b=c", "/%20", "/a//b", "/?", &format!("/{}", "a".repeat(2047))] {
            assert_eq!(crowd(path, None, None).unwrap().path.as_str(), path);
        }
        for path in [
            "",
            "a",
            "*",
            "//evil.example/",
            "http://evil.example/",
            "evil.example:80",
            "?a",
            "/a#b",
            "/a b",
            "/\u{e9}",
            "/a\r\nhost: evil",
            "/\0",
            &format!("/{}", "a".repeat(2048)),
        ] {
            assert!(crowd(path, None, None).is_err(), "{path:?}");
        }
    }

    #[test]
    fn a_host_is_a_name_and_perhaps_a_port_where_one_is_taken() {
        for host in ["shop.example", "shop.example:8080", "[::1]:80", "127.0.0.1"] {
            assert_eq!(crowd("/", Some(host), None).unwrap().host.unwrap().as_str(), host);
        }
        for host in ["", ":80", "a@b", "http://a", "a/b", "a b", "a?b"] {
            assert!(crowd("/", Some(host), None).is_err(), "{host:?}");
        }
        let request =
            CrowdRequest { path: "/".to_owned(), host: Some("a".to_owned()), requests: None };
        assert!(Crowd::of(request, &offer(false)).is_err());
    }

    #[test]
    fn there_is_one_at_least_and_no_more_than_are_offered() {
        let requests = |wanted, most| {
            let request = CrowdRequest { path: "/".to_owned(), host: None, requests: wanted };
            Crowd::of(request, &CrowdOffer { most, ..offer(false) })
                .ok()
                .map(|crowd| crowd.requests)
        };
        for (wanted, most, expected) in [
            (None, 1000, Some(200)),
            (None, 50, Some(50)),
            (Some(0), 1000, None),
            (Some(1), 1000, Some(1)),
            (Some(1000), 1000, Some(1000)),
            (Some(1001), 1000, None),
            (Some(1000), usize::MAX, Some(1000)),
            (Some(1001), usize::MAX, None),
            (Some(usize::MAX), usize::MAX, None),
            (Some(501), 500, None),
        ] {
            assert_eq!(requests(wanted, most), expected, "{wanted:?} of {most}");
        }
    }

    #[test]
    fn what_was_asked_behind_a_stale_answer_is_not_known() {
        let answer = |verdict| CrowdAnswer { verdict, status: StatusCode::OK };
        let mut tally = Tally::default();
        for verdict in [Verdict::Miss, Verdict::Collapsed, Verdict::Pass, Verdict::Hit] {
            tally.add(answer(verdict));
        }
        assert_eq!(tally.origin_calls(), Some(2));
        tally.add(answer(Verdict::Stale));
        assert_eq!(tally.origin_calls(), None);
        assert_eq!((tally.by_verdict.sum(), &tally.by_status), (5, &BTreeMap::from([(200, 5)])));
    }
}
