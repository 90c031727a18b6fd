//! Pass: requests that the cache has no part in but to learn from them.

use std::{
    future::pending,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri, header::CONTENT_TYPE,
    request::Parts as Head,
};
use http_body::Body as _;
use http_body_util::BodyExt;
use larder_policy::{
    head::{Exchange, ResponseHead},
    invalidate::{invalidates, is_safe},
    key::RequestKey,
    own_tag::{hide_own_tags, names_own_versions_alone},
    reason::Reason,
    settings::Policy,
};
use tokio::{
    sync::{oneshot, watch},
    time::{sleep, timeout},
};

use super::{
    body::{Body, BoxFuture},
    cache::Parts,
    error::NoAnswer,
    explain::{Handled, Handling, ReplyOutcome, ShowHandled, ShowKey, Verdict, explain},
    landing::Leader,
    origin::Origin,
    outside,
    pump::{Flow, Pumped, pump},
    reply::{Receiving, receive},
    request::{
        Bypass, GivenUp, MayTakeLong, StoredBy, by_recipe, effective_uri, is_spelt_as, request_head,
    },
    turns::{Client, Turn},
};

/// A request on its way through.
pub(crate) struct Passing {
    pub(crate) head: Head,
    /// The URI for which its answer may be stored.
    pub(crate) uri: Option<Uri>,
    pub(crate) body: Body,
    /// Why it passes.
    pub(crate) reason: Reason,
    pub(crate) policy: Arc<Policy>,
}

impl Passing {
    /// What its turn goes by: the scheme tells nobody apart.
    fn url(&self) -> String {
        let uri = self.uri.as_ref().unwrap_or(&self.head.uri);
        let named = uri.authority().map(|authority| authority.as_str().to_ascii_lowercase());
        format!("//{}{}", named.unwrap_or_default(), uri.path())
    }

    fn client(&self) -> Option<Client> {
        self.head.extensions.get().copied()
    }
}

/// Forwards a request: what it changes is no longer served, and what its answer tells may be
/// stored.
///
/// Dropping the future gives up a safe request, and any that still waits for its turn. Another goes on
/// without its reader: what it changes has to be noticed all the same.
pub(crate) async fn pass(
    cache: Arc<Parts>,
    passing: Passing,
    origin: Origin,
) -> Result<Response<Body>, NoAnswer> {
    if names_own_versions_alone(&passing.policy, &passing.head.headers) {
        return Ok(is_another_version(&cache, &passing));
    }
    let turn = match &cache.passing_turns {
        Some(turns) => {
            let (url, limit) = (passing.url(), cache.settings.turn_wait);
            let of = (&*url, passing.client());
            Some(turns.take_counted(of, limit, cache.counters(), pending()).await?)
        }
        None => None,
    };
    if is_safe(&passing.head.method) {
        return forward(&cache, passing, origin, turn).await;
    }
    let tasks = cache.engine().tasks();
    if tasks.is_closed() {
        return Err(NoAnswer::ShutDown);
    }
    let (answered, answer) = oneshot::channel();
    let forwards = Arc::clone(&cache);
    tasks.spawn(async move {
        // An error says that its reader has left.
        answered.send(forward(&forwards, passing, origin, turn).await).ok();
    });
    answer.await.unwrap_or_else(|_| Err(cache.given_up()))
}

/// 412: whoever asks for a change of a version that the cache alone knows by its tag. Nobody can tell whether it is the last one.
fn is_another_version(cache: &Parts, passing: &Passing) -> Response<Body> {
    const DETAIL: &str = "{\"type\":\"about:blank\",\"title\":\"Precondition Failed\",\"status\":412,\
        \"detail\":\"If-Match names a tag that a cache on the way has given, and the service cannot compare it\"}";
    let mut answer = Response::new(Body::from(Bytes::from_static(DETAIL.as_bytes())));
    *answer.status_mut() = StatusCode::PRECONDITION_FAILED;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    let handling = Handling::Refused(Reason::Precondition);
    explain(answer.headers_mut(), handling, None, None, (&passing.policy, cache.now()));
    if passing.head.extensions.get::<ShowHandled>().is_some() {
        answer.extensions_mut().insert(handling.handled(Instant::now(), Duration::ZERO));
    }
    answer
}

async fn forward(
    cache: &Arc<Parts>,
    passing: Passing,
    mut origin: Origin,
    mut turn: Option<Turn>,
) -> Result<Response<Body>, NoAnswer> {
    let Passing { head, uri, body, reason, policy } = passing;
    let engine = cache.engine();
    let began = Instant::now();
    let about = uri.as_ref().and_then(RequestKey::of_uri);
    let key: Option<Arc<str>> = about.as_ref().map(|key| key.as_str().into());
    // Of all that pass, only what answers a POST may be stored (RFC 9110 §9.3.3).
    let may_be_stored = |key: &&Arc<str>| {
        head.method == Method::POST && uri.as_ref().is_some_and(|uri| is_spelt_as(uri, key))
    };
    let leader = key.as_ref().filter(may_be_stored);
    let leader = leader.map(|key| engine.lead_uncounted(&cache.flights, key));
    let requested_at = cache.now();
    let mut asked = head.clone();
    hide_own_tags(&policy, &mut asked.headers);
    let limit = cache.hard_timeout(&policy);
    let given_up = GivenUp::default();
    if limit.is_some() {
        asked.extensions.insert(given_up.clone());
    }
    let asking = |body| origin.ask(Request::from_parts(asked, body));
    let answered = match limit {
        None if head.extensions.get::<MayTakeLong>().is_some() => {
            Ok(at_length(asking(body), &mut turn, cache.settings.turn_wait).await)
        }
        None => Ok(asking(body).await),
        Some(limit) => in_time(limit, body, asking, &given_up).await,
    };
    // The body is for its reader alone, and keeps nobody else waiting, however long it is.
    drop(turn);
    let answer = match answered {
        Ok(answer) => answer?,
        Err(late) => {
            // What it has changed until now, nobody will tell.
            if let (Some(uri), false) = (effective_uri(&head), is_safe(&head.method)) {
                forget(cache, &stored_by(&head, &policy), &[uri], None);
            }
            return Err(late);
        }
    };
    let exchange = Exchange { requested_at, received_at: cache.received_now() };
    let took = began.elapsed();
    let (sent, mut body) = answer.into_parts();
    let (mut outcome, mut stored) = (ReplyOutcome::Passed, None);
    let named = uri.clone();
    let response = ResponseHead { status: sent.status, headers: (&sent.headers).into() };
    learn(cache, &head, &policy, response, leader.as_ref());
    if let Some(uri) = uri {
        let request = request_head(&head, &uri);
        if let (Ok(receiving), Some(leader)) =
            (receive(cache, &policy, request, response, exchange), leader)
        {
            (outcome, stored) = (ReplyOutcome::Stored, Some(Arc::clone(&receiving.incoming)));
            let policy = Arc::clone(&policy);
            let storing = Storing { head: head.clone(), uri, policy, receiving, leader, began };
            body = store_arriving(cache, storing, body);
        }
    }
    let body = body.counted(&cache.account);
    let status = Some(sent.status.as_u16());
    let handling = Handling::Forwarded { why: reason, status, outcome, took };
    let key = key.filter(|_| head.extensions.get::<ShowKey>().is_some());
    let stored = stored.as_ref().map(|incoming| (&incoming.head).into());
    let (now, by) = (cache.now(), &*policy);
    let about = named.as_ref().unwrap_or(&head.uri);
    let mut answer = Response::from_parts(sent, body);
    outside::note(&mut answer, (&head, about), (by, now), handling, stored);
    explain(answer.headers_mut(), handling, stored, key.as_deref(), (by, now));
    if head.extensions.get::<ShowHandled>().is_some() {
        // Also where its answer is stored, as that of a POST may be: nothing stored would have answered it.
        let handled = Handled { verdict: Verdict::Pass, ..handling.handled(began, Duration::ZERO) };
        answer.extensions_mut().insert(handled);
    }
    Ok(answer)
}

/// By which rules what a request may change was stored.
fn stored_by(head: &Head, policy: &Arc<Policy>) -> Arc<[Arc<Policy>]> {
    match head.extensions.get::<StoredBy>() {
        Some(StoredBy(rules)) => Arc::clone(rules),
        None if head.extensions.get::<Bypass>().is_some() => [].into(),
        None => [Arc::clone(policy)].into(),
    }
}

/// What a request that may have changed something makes stale (RFC 9111 §4.4, RFC 9875).
fn learn(
    cache: &Parts,
    head: &Head,
    policy: &Arc<Policy>,
    response: ResponseHead<'_>,
    leader: Option<&Leader>,
) {
    let rules = stored_by(head, policy);
    let Some(uri) = effective_uri(head).filter(|_| !rules.is_empty()) else { return };
    let stale = invalidates(request_head(head, &uri), response);
    forget(cache, &rules, &stale.uris, leader);
    cache.invalidate_groups(&uri, &stale.groups);
}

/// Removes what is stored for these URIs, under each key that these rules make of them. `own`: whose answer may still be
/// stored, since it is what the change has led to.
fn forget(cache: &Parts, rules: &[Arc<Policy>], uris: &[Uri], own: Option<&Leader>) {
    let written = uris
        .iter()
        .flat_map(|uri| rules.iter().filter_map(|policy| by_recipe(policy, Some(uri.clone()))));
    let mut keys: Vec<_> = written.filter_map(|uri| RequestKey::of_uri(&uri)).collect();
    keys.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    keys.dedup();
    for key in keys {
        cache.invalidate(&key, own);
    }
}

/// An answer to a POST, on its way into the cache.
struct Storing {
    head: Head,
    uri: Uri,
    policy: Arc<Policy>,
    receiving: Receiving,
    leader: Leader,
    began: Instant,
}

/// Stores what arrives, while its reader reads it.
fn store_arriving(cache: &Arc<Parts>, storing: Storing, body: Body) -> Body {
    let Storing { head, uri, policy, receiving, leader, began } = storing;
    let Receiving { incoming, filler, place } = receiving;
    let stores = Arc::clone(cache);
    cache.engine().tasks().spawn(async move {
        let flow = Flow {
            body,
            filler,
            announced: incoming.body.len(),
            leader: &leader,
            sharing_name: leader.key(),
            policy: &policy,
            // Its reader has the head and waits for nobody's fetch.
            turn: None,
            may_write: &mut None,
        };
        if let Pumped::Whole(body) = pump(&stores, flow).await
            && let Some(whole) = incoming.with_body(&policy, body)
        {
            let request = request_head(&head, &uri);
            let whole = Arc::new(whole);
            stores.store.keep(&policy, request, whole, &[], began.elapsed(), &leader);
        }
    });
    place.map(Body::arriving).unwrap_or_default()
}

/// What comes of asking, however long that takes. Until `limit` it has its turn: a crowd of such does not come to the
/// origin all at once.
async fn at_length<T>(mut asking: BoxFuture<T>, turn: &mut Option<Turn>, limit: Duration) -> T {
    if let Ok(answer) = timeout(limit, asking.as_mut()).await {
        return answer;
    }
    *turn = None;
    asking.await
}

/// What comes of asking with `body`, if it comes in time. That begins anew with each piece that is
/// taken of the body: what is large may take long to send.
async fn in_time<T>(
    limit: Duration,
    body: Body,
    ask: impl FnOnce(Body) -> BoxFuture<T>,
    given_up: &GivenUp,
) -> Result<T, NoAnswer> {
    let (piece, mut taken) = watch::channel(());
    let body = match body.is_end_stream() {
        true => body,
        false => Body::passing(body.inspect_frame(move |_| {
            piece.send_replace(());
        })),
    };
    let mut asking = ask(body);
    loop {
        tokio::select! {
            biased;
            answer = &mut asking => return Ok(answer),
            // No more once the body is gone.
            Ok(()) = taken.changed() => {}
            () = sleep(limit) => {
                given_up.say();
                return Err(NoAnswer::TookTooLong { limit });
            }
        }
    }
}
