//! Service: the order of steps: what becomes of a request that is answered from what is stored, misses, or passes.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use http::{Request, Response, Uri, header::EXPECT, request::Parts as Head};
use http_body::Body as HttpBody;
use larder_policy::{
    coded::CodedTags,
    key::RequestKey,
    reason::Reason,
    reuse::{Ask, OriginFailure},
    settings::Policy,
};
use tokio::time::timeout;
use tower_service::Service;

use super::{
    body::{Body, BoxFuture, UpTo},
    cache::{HttpCache, Parts},
    decision::{Decision, Kind, decide, kind, retrieval, rules_of},
    error::{BoxError, NoAnswer},
    lead::lead,
    miss::{Joined, Miss},
    origin::Origin,
    outside,
    pass::{Passing, pass},
    phases::{PhaseKind, Underway},
    refresh::Refresh,
    request::{Retrieval, key_of},
    resume::resumable,
    serve::{refuse, serve, stand_in},
    store::AtHand,
};
use crate::tier::memory::Looker;

impl HttpCache {
    /// Before one service.
    pub fn service<S>(&self, origin: S) -> CacheService<S> {
        CacheService { cache: self.clone(), origin }
    }
}

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
    type Error = NoAnswer;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NoAnswer>> {
        // A hit needs nothing of the origin; a miss waits for it in its own future.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answering {
        let (mut head, body) = request.into_parts();
        let (policy, coded_tags) = rules_of(&mut head, self.cache.parts());
        let told = coded_tags.clone();
        let goes_out_as_is =
            policy.fields_of_answers().change_nothing() && policy.says_outside().changes_nothing();
        let changed_by =
            (!goes_out_as_is).then(|| (Arc::clone(&policy), Arc::clone(self.cache.parts())));
        let answering = self.answering((head, body), policy, coded_tags).telling(told);
        Answering { changed_by, ..answering }
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
    /// What becomes of a request by these rules, but for what they change in its answer's fields.
    fn answering<B>(
        &self,
        (head, body): (Head, B),
        policy: Arc<Policy>,
        coded_tags: Option<Arc<CodedTags>>,
    ) -> Answering
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let cache = self.cache.parts();
        match kind(&head, !body.is_end_stream(), &policy) {
            Kind::Retrieval { uri, key } => {
                let named = (uri, key, Bytes::new());
                let asked = retrieval(head, named, Instant::now(), policy, coded_tags);
                answer(cache, asked, || self.origin())
            }
            Kind::Query { uri } => {
                let (cache, origin, body) = (Arc::clone(cache), self.origin(), Body::passing(body));
                let rules = (policy, coded_tags);
                Answering::later(query(cache, (head, uri, body), rules, origin))
            }
            Kind::Passes { uri, reason } => {
                let (cache, origin, body) = (Arc::clone(cache), self.origin(), Body::passing(body));
                Answering::later(pass(cache, Passing { head, uri, body, reason, policy }, origin))
            }
        }
    }

    fn origin(&self) -> Origin {
        let origin = self.origin.clone();
        Origin::new(move |request| {
            let mut origin = origin.clone();
            Box::pin(async move {
                poll_fn(|context| origin.poll_ready(context)).await.map_err(NoAnswer::of_origin)?;
                let response = origin.call(request).await.map_err(NoAnswer::of_origin)?;
                Ok(response.map(Body::passing))
            })
        })
    }
}

/// An answer that is here, or will be.
pub struct Answering {
    state: State,
    /// By which rules its fields are changed, if there are any.
    changed_by: Option<(Arc<Policy>, Arc<Parts>)>,
}

enum State {
    Now(Option<Response<Body>>),
    Later(BoxFuture<Result<Response<Body>, NoAnswer>>),
}

impl Answering {
    /// The rules by which the fields of its answer are changed. None: they change none.
    pub(super) fn changed_by(&self) -> Option<&Policy> {
        self.changed_by.as_ref().map(|(policy, _)| &**policy)
    }

    fn now(answer: Response<Body>) -> Self {
        Answering { state: State::Now(Some(answer)), changed_by: None }
    }

    fn later(
        answer: impl Future<Output = Result<Response<Body>, NoAnswer>> + Send + 'static,
    ) -> Self {
        Answering { state: State::Later(Box::pin(answer)), changed_by: None }
    }

    /// The same, told to a reader whose conditions had these tags.
    fn telling(self, coded_tags: Option<Arc<CodedTags>>) -> Self {
        let Some(tags) = coded_tags else { return self };
        Answering::later(async move {
            let mut answer = self.await?;
            tags.tell_reader(answer.status(), answer.headers_mut());
            Ok(answer)
        })
    }
}

impl Future for Answering {
    type Output = Result<Response<Body>, NoAnswer>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Answering { state, changed_by } = self.get_mut();
        let mut answered = match state {
            State::Now(answer) => Ok(answer.take().expect("a future is not polled after its end")),
            State::Later(answer) => ready!(answer.as_mut().poll(context)),
        };
        if let (Ok(answer), Some((policy, cache))) = (&mut answered, &*changed_by) {
            policy.fields_of_answers().change(answer.headers_mut());
            let left_out = outside::say(answer, policy);
            cache.counters().tags_left_out.add(left_out as u64);
        }
        Poll::Ready(answered)
    }
}

impl fmt::Debug for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answering").finish_non_exhaustive()
    }
}

/// What a look at what is stored leads to.
enum Next {
    /// The answer is there; a refresh of what it was made from may be due.
    Answer(Response<Body>, Option<Refresh>),
    /// The origin has to be asked.
    Ask { ask: Ask, at_hand: AtHand, origin: Origin },
    /// It is not for the cache.
    Pass { reason: Reason, origin: Origin },
}

/// What becomes of a request that the cache may answer.
fn answer(cache: &Arc<Parts>, asked: Retrieval, origin: impl FnOnce() -> Origin) -> Answering {
    let looking = PhaseKind::Look { is_below: false, why: None };
    let phase = Underway::begin(&asked.head.extensions, looking);
    match look(cache, &asked, phase, origin) {
        Next::Answer(answer, refresh) => {
            if let Some(refresh) = refresh {
                refresh.begin(cache, &asked);
            }
            Answering::now(answer)
        }
        Next::Ask { ask, at_hand, origin } => {
            cache.counters().misses.increment();
            Answering::later(miss(Arc::clone(cache), asked, ask, at_hand, origin))
        }
        Next::Pass { reason, origin } => {
            Answering::later(pass(Arc::clone(cache), passing(asked, reason), origin))
        }
    }
}

/// Looks at what is stored, and does at once what is decided where that takes no origin.
fn look(
    cache: &Arc<Parts>,
    asked: &Retrieval,
    phase: Underway,
    origin: impl FnOnce() -> Origin,
) -> Next {
    let decision = decide(cache, asked, Looker::Reader);
    phase.found(false, decision.reason());
    drop(phase);
    match decision {
        Decision::Serve { at_hand, index, reason, refresh } => {
            let answer = serve(cache, asked, &at_hand, index, reason);
            let refresh = refresh.map(|conditional| {
                let origin = origin();
                Refresh { at_hand, index, conditional, origin }
            });
            Next::Answer(answer, refresh)
        }
        Decision::Ask { ask, at_hand } => Next::Ask { ask, at_hand, origin: origin() },
        Decision::Refuse { reason } => Next::Answer(refuse(cache, asked, reason), None),
        Decision::Pass { reason } => Next::Pass { reason, origin: origin() },
    }
}

/// A request that has to go to the origin, start to end. Where something stale would do, no longer
/// than the soft timeout: what it waits for then goes on behind its back.
async fn miss(
    cache: Arc<Parts>,
    asked: Retrieval,
    ask: Ask,
    at_hand: AtHand,
    origin: Origin,
) -> Result<Response<Body>, NoAnswer> {
    let asked = Arc::new(asked);
    // Below memory there may be something stale as well.
    let may_rescue = ask.rescue.is_some() || cache.beneath.is_some();
    let limit = cache.soft_timeout(&asked.policy).filter(|_| may_rescue);
    let why = ask.reason;
    let mut asking = pin!(go_on(&cache, &asked, ask, at_hand, origin));
    let Some(limit) = limit else { return asking.await };
    if let Ok(answered) = timeout(limit, asking.as_mut()).await {
        return answered;
    }
    match stand_in(&cache, &asked, why, OriginFailure::Disconnected, Reason::SoftTimeout) {
        Some(stale) => Ok(stale),
        None => asking.await,
    }
}

/// The order of steps of a miss: join a flight, look once more, and lead, or join again.
async fn go_on(
    cache: &Arc<Parts>,
    asked: &Arc<Retrieval>,
    mut ask: Ask,
    mut at_hand: AtHand,
    mut origin: Origin,
) -> Result<Response<Body>, NoAnswer> {
    let mut flight = Miss::new(cache, asked);
    loop {
        let leads = match flight.join(&ask, &at_hand).await? {
            Joined::Leads { leader, is_shared, is_news: false } => {
                return lead(cache, asked, ask, &at_hand, (leader, is_shared), origin).await;
            }
            Joined::Leads { leader, is_shared, is_news: true } => Some((leader, is_shared)),
            Joined::Answer(answer) => return Ok(resumable(cache, asked, answer, origin)),
            Joined::Failed(error) => return Err(error),
            Joined::LookAgain => None,
        };
        // Meanwhile another flight may have landed, or a purge have come: what was purged is neither
        // confirmed nor completed. Who waits for this flight looks again as well if it ends here.
        match look(cache, asked, Underway::untold(), || origin) {
            Next::Answer(answer, refresh) => {
                // First the flight ends: it would stand in the refresh's way.
                drop(leads);
                if let Some(refresh) = refresh {
                    refresh.begin(cache, asked);
                }
                return Ok(answer);
            }
            Next::Pass { reason, origin } => {
                drop(leads);
                let asked = Retrieval::clone(asked);
                return pass(Arc::clone(cache), passing(asked, reason), origin).await;
            }
            Next::Ask { ask: again, at_hand: found, origin: unused } => {
                (ask, at_hand, origin) = (again, found, unused);
            }
        }
        if let Some(leads) = leads {
            return lead(cache, asked, ask, &at_hand, leads, origin).await;
        }
    }
}

/// A QUERY: what it asks is part of its key (RFC 10008 §2.7), so that is read first.
async fn query(
    cache: Arc<Parts>,
    (mut head, uri, body): (Head, Uri, Body),
    (policy, coded_tags): (Arc<Policy>, Option<Arc<CodedTags>>),
    origin: Origin,
) -> Result<Response<Body>, NoAnswer> {
    let began = Instant::now();
    let read = body.read_up_to(cache.settings.max_query_bytes).await;
    // By that its sender was told to go on: the origin's word comes too late.
    head.headers.remove(EXPECT);
    let (body, reason) = match read.map_err(NoAnswer::of_request)? {
        UpTo::More(body) => (body, Reason::BypassRule),
        UpTo::All(chunks) => {
            let content = match <[Bytes; 1]>::try_from(chunks) {
                Ok([only]) => only,
                Err(chunks) => chunks.concat().into(),
            };
            let digest = blake3::hash(&content);
            let key = key_of(&head, &uri, Some(digest.as_bytes()));
            if let (Some(of_uri), Some(key)) = (RequestKey::of_uri(&uri), key) {
                cache.queries.note(&of_uri);
                let asked = retrieval(head, (uri, key, content), began, policy, coded_tags);
                return answer(&cache, asked, || origin).await;
            }
            (Body::from(content), Reason::NoKey)
        }
    };
    let passing = Passing { head, uri: None, body, reason, policy };
    pass(cache, passing, origin).await
}

fn passing(asked: Retrieval, reason: Reason) -> Passing {
    let Retrieval { head, content, policy, .. } = asked;
    Passing { head, uri: None, body: content.into(), reason, policy }
}
