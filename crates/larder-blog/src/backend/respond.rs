//! Respond: what came of a request, as log lines and as a response with the cache's own fields.

use std::{fmt::Write, sync::Arc, time::Duration};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use larder::{
    Answer, AnswerSource, Failure, FailureSource, FetchError, Storage, cache_status::CacheStatus,
    reason::Reason,
};
use larder_admin::stage::Verdict;

use crate::{
    backend::{
        posts_client::PostsError,
        reply::{Reply, Subject},
        tally::Finished,
    },
    replies::detail,
};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// What came of one request.
pub(crate) enum Delivery {
    FromCache(Answer<Arc<Reply>>),
    PastTheCache(Reply),
    /// The posts service gave nothing good, and there was no copy to stand in.
    Failed {
        error: Arc<PostsError>,
        source: FailureSource,
    },
    FailedPastTheCache(PostsError),
}

/// What is told of a request after it was answered.
pub(crate) struct ToldLater {
    pub(crate) verdict: &'static str,
    pub(crate) reason: Reason,
    /// What answered.
    pub(crate) tier: &'static str,
    pub(crate) origin_time: Option<Duration>,
}

impl Delivery {
    pub(crate) fn failed(failure: Failure<PostsError>) -> Self {
        let error = match failure.error {
            FetchError::Failed(error) => error,
            _ => Arc::new(PostsError::Lost),
        };
        Delivery::Failed { error, source: failure.source }
    }

    /// What the request was to the cache.
    pub(crate) fn verdict(&self) -> Verdict {
        match self {
            Delivery::FromCache(answer) => match answer.source {
                AnswerSource::Hit | AnswerSource::Lower => Verdict::Hit,
                AnswerSource::Stale(_) => Verdict::Stale,
                AnswerSource::Fetched(_) => Verdict::Miss,
                AnswerSource::Collapsed(_) => Verdict::Collapsed,
            },
            Delivery::PastTheCache(_) | Delivery::FailedPastTheCache(_) => Verdict::Pass,
            Delivery::Failed { source, .. } => match source {
                FailureSource::Fetched(_) => Verdict::Miss,
                FailureSource::Collapsed(_) => Verdict::Collapsed,
                FailureSource::Remembered => Verdict::Hit,
            },
        }
    }

    /// Why it is what it is, in one word.
    fn reason(&self) -> Reason {
        match self {
            Delivery::FromCache(answer) => answer.reason(),
            Delivery::PastTheCache(_) | Delivery::FailedPastTheCache(_) => Reason::BypassRule,
            Delivery::Failed { .. } => Reason::OriginError,
        }
    }

    /// What is counted of it.
    pub(crate) fn finished(&self, took: Duration) -> Finished {
        let saved = match self {
            Delivery::FromCache(answer) => match answer.source {
                AnswerSource::Hit | AnswerSource::Lower | AnswerSource::Stale(_) => answer.cost,
                AnswerSource::Fetched(_) | AnswerSource::Collapsed(_) => Duration::ZERO,
            },
            _ => Duration::ZERO,
        };
        let (verdict, reason) = (self.verdict(), self.reason());
        Finished {
            verdict,
            is_shared: reason == Reason::Shared,
            reason: reason.as_str(),
            took,
            saved,
        }
    }

    /// What is remembered of it.
    pub(crate) fn told(&self) -> ToldLater {
        let verdict = match self.verdict() {
            Verdict::Hit => "hit",
            Verdict::Stale => "stale",
            Verdict::Miss => "miss",
            Verdict::Collapsed => "collapsed",
            Verdict::Pass => "pass",
            Verdict::Refused => "refused",
        };
        let (tier, origin_time) = match self {
            Delivery::FromCache(answer) => match answer.source {
                AnswerSource::Hit | AnswerSource::Stale(_) => ("memory", None),
                AnswerSource::Lower => ("shared", None),
                AnswerSource::Fetched(_) | AnswerSource::Collapsed(_) => {
                    ("origin", Some(answer.value.took()))
                }
            },
            Delivery::PastTheCache(reply) => ("origin", Some(reply.took())),
            Delivery::FailedPastTheCache(_) | Delivery::Failed { .. } => ("origin", None),
        };
        ToldLater { verdict, reason: self.reason(), tier, origin_time }
    }

    /// The contract's log lines.
    pub(crate) fn log(&self, key: &str, took: Duration) {
        match self {
            Delivery::FromCache(answer) => match answer.source {
                AnswerSource::Hit => tracing::info!("Cache HIT for {key}"),
                AnswerSource::Lower => tracing::info!("Cache HIT for {key} (shared)"),
                AnswerSource::Stale(reason) => tracing::info!("Cache HIT for {key} ({reason})"),
                // Was told when it began.
                AnswerSource::Fetched(_) => {}
                AnswerSource::Collapsed(_) => {
                    tracing::info!("Cache MISS for {key} (shared a call under way)");
                }
            },
            Delivery::Failed { .. }
            | Delivery::PastTheCache(_)
            | Delivery::FailedPastTheCache(_) => {}
        }
        let seconds = took.as_secs_f64();
        match self.reply().ok().and_then(Reply::subject) {
            Some(Subject::Post { title }) => {
                tracing::info!("Retrieved post '{title}' in {seconds:.2} seconds");
            }
            Some(Subject::Posts { count }) => {
                tracing::info!("Retrieved {count} posts in {seconds:.2} seconds");
            }
            None => {}
        }
    }

    /// The response, with `Cache-Status` (RFC 9211), `Age` on reuse (RFC 9111 §5.1) and
    /// `Server-Timing`.
    pub(crate) fn respond(self, key: &str, request: &HeaderMap, took: Duration) -> Response {
        let mut response = match self.reply() {
            Ok(reply) => passed_on(reply, request),
            Err(error) => detail(StatusCode::SERVICE_UNAVAILABLE, error.answer()),
        };
        let headers = response.headers_mut();
        headers.insert(CACHE_STATUS, value(self.cache_status(key).to_field()));
        headers.insert(SERVER_TIMING, value(self.server_timing(took)));
        if let Delivery::FromCache(Answer { source, age, .. }) = self
            && let AnswerSource::Hit | AnswerSource::Lower | AnswerSource::Stale(_) = source
        {
            headers.insert(header::AGE, HeaderValue::from(age.as_secs()));
        }
        response
    }

    /// What is passed on, if there is anything.
    fn reply(&self) -> Result<&Reply, &PostsError> {
        match self {
            Delivery::FromCache(answer) => Ok(&answer.value),
            Delivery::PastTheCache(reply) => Ok(reply),
            Delivery::Failed { error, .. } => error.reply(),
            Delivery::FailedPastTheCache(error) => error.reply(),
        }
    }

    fn cache_status<'a>(&self, key: &'a str) -> CacheStatus<'a> {
        let status = self.reply().ok().map(|reply| reply.status().as_u16());
        let status = match self {
            Delivery::FromCache(answer) => of_answer(answer),
            Delivery::PastTheCache(_) | Delivery::FailedPastTheCache(_) => {
                let why = Reason::BypassRule;
                CacheStatus::forwarded(why, status).detail(why)
            }
            Delivery::Failed { source, .. } => {
                let status = match *source {
                    FailureSource::Fetched(why) => CacheStatus::forwarded(why, status),
                    FailureSource::Collapsed(why) => {
                        CacheStatus::forwarded(why, status).collapsed()
                    }
                    FailureSource::Remembered => CacheStatus::hit(Duration::ZERO),
                };
                status.detail(Reason::OriginError)
            }
        };
        status.key(key)
    }

    fn server_timing(&self, took: Duration) -> String {
        let (description, origin) = match self {
            Delivery::FromCache(answer) => match answer.source {
                AnswerSource::Hit => ("HIT", None),
                AnswerSource::Lower => ("SHARED", None),
                AnswerSource::Stale(_) => ("STALE", None),
                AnswerSource::Fetched(_) => ("MISS", Some(answer.value.took())),
                AnswerSource::Collapsed(_) => ("COLLAPSED", Some(answer.value.took())),
            },
            Delivery::PastTheCache(reply) => ("BYPASS", Some(reply.took())),
            Delivery::FailedPastTheCache(_) => ("BYPASS", None),
            Delivery::Failed { .. } => ("MISS", None),
        };
        let mut field = format!("cache;desc=\"{description}\"");
        if let Some(origin) = origin {
            write!(field, ", origin;dur={:.3}", millis(origin)).expect("a string takes all");
        }
        write!(field, ", total;dur={:.3}", millis(took)).expect("a string takes all");
        field
    }
}

/// Answers that ask neither cache nor posts service (`/health`, mistakes, redirects) say so: no hit,
/// and nothing forwarded.
pub(crate) async fn complete(mut response: Response) -> Response {
    let headers = response.headers_mut();
    if !headers.contains_key(CACHE_STATUS) {
        let status = CacheStatus::refused().detail(Reason::BypassRule);
        headers.insert(CACHE_STATUS, value(status.to_field()));
        headers.insert(SERVER_TIMING, HeaderValue::from_static("cache;desc=\"BYPASS\""));
    }
    response
}

fn of_answer(answer: &Answer<Arc<Reply>>) -> CacheStatus<'static> {
    let status = Some(answer.value.status().as_u16());
    let status = match (answer.source, answer.storage) {
        (AnswerSource::Fetched(why), Storage::FreshFor(left)) => {
            CacheStatus::forwarded(why, status).stored_for(left)
        }
        (AnswerSource::Fetched(why), _) => CacheStatus::forwarded(why, status),
        (AnswerSource::Collapsed(why), _) => CacheStatus::forwarded(why, status).collapsed(),
        (
            AnswerSource::Hit | AnswerSource::Lower | AnswerSource::Stale(_),
            Storage::FreshFor(left),
        ) => CacheStatus::hit(left),
        (
            AnswerSource::Hit | AnswerSource::Lower | AnswerSource::Stale(_),
            Storage::StaleFor(stale),
        ) => CacheStatus::stale_hit(stale),
        (AnswerSource::Hit | AnswerSource::Lower | AnswerSource::Stale(_), Storage::Not(_)) => {
            CacheStatus::hit(Duration::ZERO)
        }
    };
    status.detail(answer.reason())
}

/// The stored bytes, or 304 if the reader has them (RFC 9110 §13.1.2).
fn passed_on(reply: &Reply, request: &HeaderMap) -> Response {
    let is_ok = reply.status() == StatusCode::OK;
    let mut response = if is_ok && has_it(request, reply.etag()) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let json = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        (reply.status(), json, Body::from(reply.body().clone())).into_response()
    };
    if is_ok {
        response.headers_mut().insert(header::ETAG, reply.etag().clone());
        // Other caches ask each time: a purge here reaches what the backends hold, and no further.
        let ask = HeaderValue::from_static("no-cache");
        response.headers_mut().insert(header::CACHE_CONTROL, ask);
    }
    response
}

/// Tells caches before the backend what they purge an answer by; and where the backend keeps none itself, for how long they may:
/// a purge at them is then one everywhere. Browsers ask each time all the same.
pub(crate) fn tell_caches_outside(
    response: &mut Response,
    tags: &[String],
    lifetime: Option<Duration>,
) {
    let status = response.status();
    let headers = response.headers_mut();
    headers.insert(SURROGATE_KEY, value(tags.join(" ")));
    if let Some(lifetime) = lifetime
        && matches!(status, StatusCode::OK | StatusCode::NOT_MODIFIED)
    {
        headers.insert(CDN_CACHE_CONTROL, value(format!("max-age={}", lifetime.as_secs())));
    }
}

fn has_it(request: &HeaderMap, etag: &HeaderValue) -> bool {
    let fields = request.get_all(header::IF_NONE_MATCH).iter();
    // No tag of ours has a comma in it, so a list can be cut at commas.
    fields.filter_map(|field| field.to_str().ok()).flat_map(|field| field.split(',')).any(|tag| {
        let tag = tag.trim();
        tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == etag.as_bytes()
    })
}

fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("made of printable ASCII")
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
