//! Layer: the cache before an application's own handlers.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use http_body::Body as HttpBody;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    body::Body,
    cache::HttpCache,
    error::{BoxError, NoAnswer},
    service::{Answering, CacheService},
};

/// Seconds after which asking again may help: about as long as a turn is waited for.
const BUSY_FOR: HeaderValue = HeaderValue::from_static("5");

/// Puts a [`CacheService`] before any tower service, such as an axum router's handlers. Made by
/// [`HttpCache::layer`].
#[derive(Clone, Debug)]
pub struct CacheLayer(HttpCache);

impl HttpCache {
    /// Before an application's own handlers, as tower and axum put layers.
    pub fn layer(&self) -> CacheLayer {
        CacheLayer(self.clone())
    }
}

impl<S> Layer<S> for CacheLayer {
    type Service = CachedHandlers<S>;

    fn layer(&self, handlers: S) -> CachedHandlers<S> {
        CachedHandlers(self.0.service(handlers))
    }
}

/// An application's handlers behind a cache. Never fails, as frameworks want it: where there is no
/// answer, it is a 500 (a handler panicked), a 503 (too many wait, or the cache was shut down) or a 504 (the
/// handler took longer than [`Builder::hard_timeout`](crate::Builder::hard_timeout) allows).
#[derive(Clone, Debug)]
pub struct CachedHandlers<S>(CacheService<S>);

impl<S, B, R> Service<Request<B>> for CachedHandlers<S>
where
    S: Service<Request<Body>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Unfailing;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // As its service: always.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Unfailing {
        Unfailing(self.0.call(request))
    }
}

/// An answer that is here, or will be, whatever happens.
pub struct Unfailing(Answering);

impl Future for Unfailing {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answered = ready!(Pin::new(&mut self.0).poll(context));
        Poll::Ready(Ok(answered.unwrap_or_else(|error| {
            let mut problem = problem_of(&error);
            if let Some(policy) = self.0.changed_by() {
                policy.fields_of_answers().change_own(problem.headers_mut());
            }
            problem
        })))
    }
}

impl fmt::Debug for Unfailing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unfailing").finish_non_exhaustive()
    }
}

/// RFC 9457. What went wrong is for the log of whoever it went wrong for, not for the reader.
fn problem_of(error: &NoAnswer) -> Response<Body> {
    let is_busy = matches!(error, NoAnswer::TooManyFetches | NoAnswer::NoTurn { .. });
    let (status, text) = match error {
        NoAnswer::TooManyFetches | NoAnswer::NoTurn { .. } | NoAnswer::ShutDown => (
            StatusCode::SERVICE_UNAVAILABLE,
            "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503}",
        ),
        NoAnswer::TookTooLong { .. } => (
            StatusCode::GATEWAY_TIMEOUT,
            "{\"type\":\"about:blank\",\"title\":\"Gateway Timeout\",\"status\":504}",
        ),
        NoAnswer::Origin(_) | NoAnswer::Request(_) | NoAnswer::Unusable(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "{\"type\":\"about:blank\",\"title\":\"Internal Server Error\",\"status\":500}",
        ),
    };
    let mut answer = Response::new(Body::from(Bytes::from_static(text.as_bytes())));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("application/problem+json");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    if is_busy {
        answer.headers_mut().insert(RETRY_AFTER, BUSY_FOR);
    }
    answer
}
