//! What is said of requests: to readers where there is no answer, and in the log.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Response, StatusCode, request::Parts};
use larder::http::{Body, NoAnswer, policy::proxy_status::ProxyError};

use crate::{origins::Unanswered, problem::Problem, seldom::Seldom};

/// What is said where no wait has shown how long it may take: about as long as a turn is waited for.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The one line of a request in the log, at `debug`. Queries may be anybody's secrets and stay out.
pub(super) struct LogLine {
    what: String,
    began: Instant,
}

impl LogLine {
    pub(super) fn begin(head: &Parts) -> Option<LogLine> {
        let host = || head.uri.authority().map_or("", |authority| authority.as_str());
        let what = || format!("{} {}{}", head.method, host(), head.uri.path());
        let is_wanted = tracing::enabled!(tracing::Level::DEBUG);
        is_wanted.then(|| LogLine { what: what(), began: Instant::now() })
    }

    pub(super) fn end(self, answer: &Response<Body>) {
        let took_ms = self.began.elapsed().as_secs_f64() * 1e3;
        let status = answer.status().as_u16();
        let lines = answer.headers().get_all("cache-status");
        let verdict = lines.iter().next_back().and_then(|line| line.to_str().ok()).unwrap_or("-");
        tracing::debug!("{} {status} in {took_ms:.1} ms: {verdict}", self.what);
    }
}

pub(super) fn is_for_want_of_a_turn(error: &NoAnswer) -> bool {
    matches!(error, NoAnswer::NoTurn { .. } | NoAnswer::TooManyFetches)
        || matches!(error.origin(), Some(Unanswered::RouteFull))
}

/// Whether it was not sent on because there was no room for it here, whatever its service would have said.
pub(super) fn is_for_want_of_room(error: &NoAnswer) -> bool {
    is_for_want_of_a_turn(error)
        || is_for_want_of_memory(error)
        || matches!(error, NoAnswer::ShutDown)
}

pub(super) fn is_for_want_of_an_address(error: &NoAnswer) -> bool {
    matches!(error.origin(), Some(Unanswered::Down { .. }))
}

pub(super) fn is_for_want_of_memory(error: &NoAnswer) -> bool {
    matches!(error.origin(), Some(Unanswered::NoMemory))
}

/// One line while all addresses are silent, not one for each request.
pub(super) fn tell_down(error: &NoAnswer, down: &Seldom) {
    if let Some(refused) = down.one_more() {
        tracing::warn!(refused, "{error}: {refused} requests were sent nowhere");
    }
}

/// One line while requests find the origin too busy, not one for each.
pub(super) fn tell_busy(busy: &Seldom) {
    if let Some(refused) = busy.one_more() {
        tracing::warn!(
            refused,
            "{refused} requests got 503, because as many wait for the origin as may, or as their path, \
             route, host or client may have"
        );
    }
}

/// What the reader is told when there is no answer. Where the origin is stays inside.
pub(super) fn answer_of(error: &NoAnswer) -> Response<Bytes> {
    match error.origin::<Unanswered>() {
        Some(error) => error.to_response(),
        None => problem_of(error).to_response(),
    }
}

fn problem_of(error: &NoAnswer) -> Problem {
    match error {
        NoAnswer::TookTooLong { .. } => Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "Origin slow",
            "the origin did not answer in time",
            ProxyError::HttpResponseTimeout,
        ),
        NoAnswer::TooManyFetches => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Busy",
            "too many answers are being fetched",
            ProxyError::ConnectionLimitReached,
        )
        .retry_after(RETRY_AFTER),
        NoAnswer::NoTurn { waited } => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Busy",
            "too many requests wait for the origin",
            ProxyError::ConnectionLimitReached,
        )
        .retry_after(*waited),
        NoAnswer::ShutDown => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Stopping",
            "this gateway stops, and asks the origin no more",
            ProxyError::DestinationUnavailable,
        ),
        // What else there may be is the origin's fault as well.
        _ => Problem::new(
            StatusCode::BAD_GATEWAY,
            "Origin failed",
            "the origin gave no answer that could be used",
            ProxyError::ConnectionTerminated,
        ),
    }
}
