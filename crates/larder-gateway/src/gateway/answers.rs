//! What is said of requests: to readers where there is no answer, and in the log.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, request::Parts};
use larder::http::{
    Body, NoAnswer,
    policy::{cache_status::CacheStatus, proxy_status::ProxyError, reason::Reason},
};

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

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Why the cache would have had no part in it, where that is so.
pub(super) fn passes(method: &Method, is_bypassed: bool) -> Option<Reason> {
    match () {
        () if is_bypassed => Some(Reason::BypassRule),
        () if may_change(method) => Some(Reason::Method),
        () => None,
    }
}

/// Whether a request passes because of its method.
fn may_change(method: &Method) -> bool {
    !matches!(method.as_str(), "GET" | "HEAD" | "QUERY")
}

/// What the reader is told when there is no answer. Where the origin is stays inside. `passes`: why the cache had no part
/// in it.
pub(super) fn answer_of(error: &NoAnswer, passes: Option<Reason>) -> Response<Bytes> {
    let mut answer = match error.origin::<Unanswered>() {
        Some(error) => error.to_response(),
        None => problem_of(error).to_response(),
    };
    let (status, reason) = error_status(error, passes);
    let status = reason.map_or(status.clone(), |reason| status.detail(reason));
    if let Ok(field) = HeaderValue::try_from(status.to_field()) {
        answer.headers_mut().insert(CACHE_STATUS, field);
    }
    answer
}

/// What the cache says of a request that got no answer, and for what reason.
pub(super) fn error_status(
    error: &NoAnswer,
    passes: Option<Reason>,
) -> (CacheStatus<'static>, Option<Reason>) {
    match is_for_want_of_room(error) {
        true => (CacheStatus::refused(), None),
        // Why it was no hit nobody has kept: that its service failed is the reason for what is sent.
        false => {
            let why = passes.unwrap_or(Reason::OriginError);
            (CacheStatus::forwarded(why, None), Some(Reason::OriginError))
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_on_in_vain_says_so_and_what_was_not_sent_on_is_refused() {
        let slow = NoAnswer::TookTooLong { limit: Duration::from_secs(1) };
        let busy = NoAnswer::NoTurn { waited: Duration::from_secs(1) };
        let said = |error: &NoAnswer, method: Method, is_bypassed: bool| {
            let answer = answer_of(error, passes(&method, is_bypassed));
            let fields: Vec<_> = answer.headers().get_all(CACHE_STATUS).iter().collect();
            assert_eq!(fields.len(), 1);
            fields[0].to_str().unwrap().to_owned()
        };
        for (error, method, is_bypassed, status) in [
            (&slow, Method::GET, false, "Larder;fwd=miss;detail=origin-error"),
            (&slow, Method::POST, false, "Larder;fwd=method;detail=origin-error"),
            (&slow, Method::GET, true, "Larder;fwd=bypass;detail=origin-error"),
            (&busy, Method::GET, false, "Larder"),
            (&busy, Method::POST, true, "Larder"),
            (&NoAnswer::ShutDown, Method::GET, false, "Larder"),
        ] {
            assert_eq!(said(error, method, is_bypassed), status, "{error}");
        }
    }
}
