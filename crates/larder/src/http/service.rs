//! Service: what becomes of a request: answered from what is stored, here; or it asks (`miss.rs`), or passes
//! (`pass.rs`).

use std::{
    error::Error,
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode, Uri,
    header::{EXPECT, HOST},
    request::Parts,
    uri::{self, Authority},
};
use http_body::Body as HttpBody;
use larder_policy::{
    head::RequestHead,
    key::RequestKey,
    reason::Reason,
    reuse::{Verdict, decide},
    scheme::Scheme,
    uri::is_written_as,
};
use tower_service::Service;

use super::{
    HttpCache,
    body::{Body, BoxError, UpTo},
    explain::{Handling, ShowKey, explain},
    pass::Passing,
    respond::{Apply, respond},
    stored::{Kept, Variants},
    turns::Client,
};
use crate::stats::{Event, micros};

/// A cache before a service that answers HTTP requests: a gateway's origin, or an application's own
/// handlers. Made by
/// [`HttpCache::service`]; [`CacheLayer`](super::CacheLayer) puts one before an application.
///
/// Dropping an answer's future, or its body, disturbs nobody who shares the origin's answer; a
/// request that shares it with nobody goes no further. Such a request goes on only while its future is
/// polled, and counts as a fetch meanwhile: a future that has been polled is to be polled on, or dropped.
#[derive(Clone, Debug)]
pub struct CacheService<S> {
    cache: HttpCache,
    origin: S,
}

impl<S> CacheService<S> {
    pub(super) fn new(cache: HttpCache, origin: S) -> Self {
        CacheService { cache, origin }
    }
}

/// The origin could not be asked, or gave no answer. Everybody who waited for it gets the same one.
#[derive(Clone, Debug)]
pub struct OriginError(Arc<dyn Error + Send + Sync>);

impl OriginError {
    pub(crate) fn new(error: impl Into<BoxError>) -> Self {
        OriginError(Arc::from(error.into()))
    }

    /// The origin's own error, if it is an `E`.
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for OriginError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// As many fetches are under way, or wait for it, as may ([`Builder::max_concurrent_fetches`]).
///
/// [`Builder::max_concurrent_fetches`]: crate::Builder::max_concurrent_fetches
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("too many keys are being fetched")]
pub struct TooManyFetches;

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Asks the origin, with its type forgotten: what follows on a miss is the same for all.
pub(crate) type Origin =
    Box<dyn FnMut(Request<Body>) -> BoxFuture<Result<Response<Body>, OriginError>> + Send>;

impl<S, B, R> Service<Request<B>> for CacheService<S>
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
    type Error = OriginError;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OriginError>> {
        // A hit needs nothing of the origin; a miss waits for it in its own future.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answering {
        let (mut head, body) = request.into_parts();
        hear_of_one_host(&mut head);
        let uri = effective_uri(&head);
        let method = head.method.as_str();
        // What content means in a GET that is answered from a cache, nobody has said.
        if matches!(method, "GET" | "HEAD")
            && body.is_end_stream()
            && let Some(key) = uri.as_ref().and_then(|uri| key_of(&head, uri, None))
        {
            let uri = uri.unwrap_or_default();
            self.cache.policy().ignored_cookies().strip(&mut head.headers);
            let asked = Asked::new(head, uri, key, Bytes::new(), Instant::now());
            return self.cache.answer_to(asked, || self.origin());
        }
        let reason = match method {
            "GET" | "HEAD" | "QUERY" => Reason::BypassRule,
            _ => Reason::Method,
        };
        let (cache, origin, body) = (self.cache.clone(), self.origin(), Body::passing(body));
        if let ("QUERY", Some(uri)) = (method, &uri) {
            let uri = uri.clone();
            return Answering::later(cache.query(head, uri, body, origin));
        }
        // Nothing is stored for a retrieval that passes: what made it pass is not in the key.
        let uri = uri.filter(|_| reason == Reason::Method);
        Answering::later(cache.pass(Passing { head, uri, body, reason }, origin))
    }
}

impl<S, R> CacheService<S>
where
    S: Service<Request<Body>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    fn origin(&self) -> Origin {
        let origin = self.origin.clone();
        Box::new(move |request| {
            let mut origin = origin.clone();
            Box::pin(async move {
                poll_fn(|context| origin.poll_ready(context)).await.map_err(OriginError::new)?;
                let response = origin.call(request).await.map_err(OriginError::new)?;
                Ok(response.map(Body::passing))
            })
        })
    }
}

/// An answer that is here, or will be.
pub struct Answering(State);

enum State {
    Now(Option<Response<Body>>),
    Later(BoxFuture<Result<Response<Body>, OriginError>>),
}

impl Answering {
    fn now(answer: Response<Body>) -> Self {
        Answering(State::Now(Some(answer)))
    }

    fn later(
        answer: impl Future<Output = Result<Response<Body>, OriginError>> + Send + 'static,
    ) -> Self {
        Answering(State::Later(Box::pin(answer)))
    }
}

impl Future for Answering {
    type Output = Result<Response<Body>, OriginError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.get_mut().0 {
            State::Now(answer) => {
                Poll::Ready(Ok(answer.take().expect("a future is not polled after its end")))
            }
            State::Later(answer) => answer.as_mut().poll(context),
        }
    }
}

impl fmt::Debug for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answering").finish_non_exhaustive()
    }
}

/// A request that the cache may answer.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) head: Parts,
    /// The URI it is about, which is always absolute; that in its head need not be.
    pub(crate) uri: Uri,
    pub(crate) key: Arc<str>,
    /// What it asks, if it is a QUERY.
    pub(crate) content: Bytes,
    pub(crate) began: Instant,
    /// What [`HttpCache::sharing_name`] has found.
    pub(crate) sharing_name: OnceLock<Arc<str>>,
}

impl Asked {
    fn new(head: Parts, uri: Uri, key: Arc<str>, content: Bytes, began: Instant) -> Self {
        Asked { head, uri, key, content, began, sharing_name: OnceLock::new() }
    }

    pub(crate) fn request(&self) -> RequestHead<'_> {
        request_head(&self.head, &self.uri)
    }

    /// Who asks, if that was told.
    pub(crate) fn client(&self) -> Option<Client> {
        self.head.extensions.get().copied()
    }

    pub(crate) fn is_spelt_as_its_key(&self) -> bool {
        is_spelt_as(&self.uri, &self.key)
    }
}

/// Whether a URI is written just as in `key`. If not, the origin sees another spelling, and may answer it
/// otherwise: `key` would be poisoned with that.
pub(crate) fn is_spelt_as(uri: &Uri, key: &str) -> bool {
    // The key begins with the URI, and no URI has a space in it. Its end is where this URI ends, or it is
    // written otherwise.
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return false };
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    let end = scheme.len() + "://".len() + authority.as_str().len() + target.len();
    matches!(key.as_bytes().get(end), None | Some(b' '))
        && key.get(..end).is_some_and(|written| is_written_as(uri, written))
}

pub(crate) fn request_head<'a>(head: &'a Parts, uri: &'a Uri) -> RequestHead<'a> {
    RequestHead { method: &head.method, uri, headers: (&head.headers).into() }
}

/// `None`: it is not for the cache at all.
fn key_of(head: &Parts, uri: &Uri, content: Option<&[u8]>) -> Option<Arc<str>> {
    let usual = if content.is_none() { usual_key(uri) } else { None };
    let key = || RequestKey::of(request_head(head, uri), content);
    usual.or_else(|| key().map(|key| key.as_str().into()))
}

/// The same key without detours, where the URI is written as nearly all are.
fn usual_key(uri: &Uri) -> Option<Arc<str>> {
    let scheme = match uri.scheme_str()? {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return None,
    };
    let (host, target) = (uri.authority()?.as_str(), uri.path_and_query()?.as_str());
    let mut key = Vec::with_capacity(scheme.as_str().len() + 3 + host.len() + target.len());
    RequestKey::write(scheme, host.as_bytes(), target.as_bytes(), &mut key).map(Arc::from)
}

/// An absolute URI counts, and not what is said in `Host` beside it (RFC 9112 §3.2.2): handlers may look
/// there, and what they answer is stored for the URI.
fn hear_of_one_host(head: &mut Parts) {
    let Some(authority) = head.uri.authority() else { return };
    let is_named = |host: &HeaderValue| host == authority.as_str();
    if !head.headers.get_all(HOST).iter().all(is_named)
        && let Ok(named) = HeaderValue::try_from(authority.as_str())
    {
        head.headers.insert(HOST, named);
    }
}

/// The URI that a request is about (RFC 9110 §7.1). A gateway's requests name it whole; an
/// application's have its authority in `Host`, and its scheme nowhere: all count as `http`.
fn effective_uri(head: &Parts) -> Option<Uri> {
    if head.uri.authority().is_some() {
        return Some(head.uri.clone());
    }
    let mut hosts = head.headers.get_all(HOST).iter();
    let (host, None) = (hosts.next()?, hosts.next()) else { return None };
    let authority = Authority::try_from(host.as_bytes()).ok()?;
    // Nobody means a user by it (RFC 9110 §4.2.4).
    if authority.as_str().contains('@') {
        return None;
    }
    let mut parts = head.uri.clone().into_parts();
    parts.scheme = Some(uri::Scheme::HTTP);
    parts.authority = Some(authority);
    Uri::from_parts(parts).ok()
}

/// What is stored for a request, purges considered.
#[derive(Clone, Default)]
pub(crate) struct AtHand {
    pub(crate) variants: Variants,
    /// What fetching them cost in time.
    pub(crate) cost: Duration,
}

impl HttpCache {
    /// What becomes of a request that the cache may answer: the order of steps.
    fn answer_to(&self, asked: Asked, origin: impl FnOnce() -> Origin) -> Answering {
        let at_hand = self.look(&asked.key);
        match self.decide(&asked, &at_hand) {
            Verdict::Serve { index, reason } => {
                let answer = self.serve(&asked, &at_hand, index, reason);
                Answering::now(answer.expect("what is in the cache is here as a whole"))
            }
            Verdict::ServeAndRefresh { index, conditional, reason } => {
                let answer = self.serve(&asked, &at_hand, index, reason);
                if let Some(kept) = at_hand.variants.get(index) {
                    self.refresh(&asked, kept, conditional, origin());
                }
                Answering::now(answer.expect("what is in the cache is here as a whole"))
            }
            Verdict::Ask(ask) => match self.by_no_vary_search(&asked) {
                Some((at_hand, Verdict::Serve { index, reason })) => {
                    let answer = self.serve(&asked, &at_hand, index, reason);
                    Answering::now(answer.expect("what is in the cache is here as a whole"))
                }
                _ => {
                    self.counters().misses.increment();
                    Answering::later(self.clone().ask(asked, ask, at_hand, origin()))
                }
            },
            Verdict::Refuse { reason } => Answering::now(self.refuse(&asked, reason)),
            Verdict::Pass { reason } => {
                let Asked { head, content, .. } = asked;
                let passing = Passing { head, uri: None, body: content.into(), reason };
                Answering::later(self.clone().pass(passing, origin()))
            }
        }
    }

    /// A QUERY: what it asks is part of its key (RFC 10008 §2.7), so that is read first.
    async fn query(
        self,
        mut head: Parts,
        uri: Uri,
        body: Body,
        origin: Origin,
    ) -> Result<Response<Body>, OriginError> {
        let began = Instant::now();
        let read = body.read_up_to(self.settings().max_query_bytes).await;
        // By that its sender was told to go on: the origin's word comes too late.
        head.headers.remove(EXPECT);
        let body = match read.map_err(OriginError::new)? {
            UpTo::More(body) => body,
            UpTo::All(chunks) => {
                let content = match <[Bytes; 1]>::try_from(chunks) {
                    Ok([only]) => only,
                    Err(chunks) => chunks.concat().into(),
                };
                let digest = blake3::hash(&content);
                let key = key_of(&head, &uri, Some(digest.as_bytes()));
                if let (Some(of_uri), Some(key)) = (RequestKey::of_uri(&uri), key) {
                    self.note_query(&of_uri);
                    self.policy().ignored_cookies().strip(&mut head.headers);
                    let asked = Asked::new(head, uri, key, content, began);
                    return self.answer_to(asked, || origin).await;
                }
                Body::from(content)
            }
        };
        let passing = Passing { head, uri: None, body, reason: Reason::BypassRule };
        self.pass(passing, origin).await
    }

    /// What is stored may answer a request in any spelling; but one in another than the key's brings
    /// nothing into the cache.
    pub(crate) fn decide(&self, asked: &Asked, at_hand: &AtHand) -> Verdict {
        let now = self.wall_clock().now();
        let verdict =
            at_hand.variants.judged(|stored| decide(self.policy(), stored, asked.request(), now));
        match verdict {
            Verdict::Ask(ask) if !asked.is_spelt_as_its_key() => Verdict::Ask(ask.for_its_reader()),
            Verdict::ServeAndRefresh { index, reason, .. } if !asked.is_spelt_as_its_key() => {
                Verdict::Serve { index, reason }
            }
            verdict => verdict,
        }
    }

    /// Answers from what is stored, and counts it.
    pub(crate) fn serve(
        &self,
        asked: &Asked,
        at_hand: &AtHand,
        index: usize,
        reason: Reason,
    ) -> Option<Response<Body>> {
        let kept = at_hand.variants.get(index)?;
        let took = asked.began.elapsed();
        let answer = self.answer(asked, kept, Apply::All, Handling::Served { reason, took })?;
        let counters = self.counters();
        match reason {
            Reason::Hit => {
                let tally = counters.tally();
                tally.hit(micros(at_hand.cost));
                if tally.is_sample() {
                    counters.hit_took(asked.began);
                }
            }
            _ => {
                counters.tally().stale_served(micros(at_hand.cost));
                counters.tell(|| Event::StaleServed { key: Arc::clone(&asked.key), reason });
            }
        }
        Some(answer)
    }

    /// An answer from a stored response. `None`: its body is under way, and its beginning gone.
    pub(crate) fn answer(
        &self,
        asked: &Asked,
        kept: &Kept,
        apply: Apply,
        handling: Handling,
    ) -> Option<Response<Body>> {
        let now = self.wall_clock().now();
        let mut answer = respond(asked.request(), &kept.stored, apply, now)?;
        self.explain(asked, answer.headers_mut(), handling, Some(kept));
        Some(answer)
    }

    pub(crate) fn explain(
        &self,
        asked: &Asked,
        headers: &mut HeaderMap,
        handling: Handling,
        kept: Option<&Kept>,
    ) {
        let shows_key = asked.head.extensions.get::<ShowKey>().is_some();
        let key = shows_key.then_some(&*asked.key);
        let stored = kept.map(Kept::variant);
        explain(headers, handling, stored, key, self.wall_clock().now());
    }

    /// 504: the reader wants no origin asked (RFC 9111 §5.2.1.7).
    fn refuse(&self, asked: &Asked, reason: Reason) -> Response<Body> {
        self.counters().misses.increment();
        const DETAIL: &str = "{\"type\":\"about:blank\",\"title\":\"Gateway Timeout\",\"status\":504,\
            \"detail\":\"nothing stored may answer this request, and it asks for only-if-cached\"}";
        let mut answer = Response::new(Body::from(Bytes::from_static(DETAIL.as_bytes())));
        *answer.status_mut() = StatusCode::GATEWAY_TIMEOUT;
        let kind = HeaderValue::from_static("application/problem+json");
        answer.headers_mut().insert(http::header::CONTENT_TYPE, kind);
        self.explain(asked, answer.headers_mut(), Handling::Refused(reason), None);
        answer
    }
}
