//! Pass: requests that the cache has no part in but to learn from them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Method, Request, Response, Uri, request::Parts};
use http_body::Body as _;
use http_body_util::BodyExt;
use larder_policy::{
    head::{Exchange, ResponseHead},
    invalidate::{invalidates, is_safe},
    key::RequestKey,
    reason::Reason,
};
use tokio::{
    sync::{oneshot, watch},
    time::sleep,
};

use super::{
    HttpCache, ShowKey,
    body::Body,
    cache::group_tag,
    explain::{Handling, Outcome, explain},
    fill::{Leader, Pumped, Receiving, ShutDown, TookTooLong},
    service::{BoxFuture, Origin, OriginError, is_spelt_as, request_head},
    turns::{Client, Turn},
};

/// A request on its way through.
pub(crate) struct Passing {
    pub(crate) head: Parts,
    /// The URI it is about, if that can be told.
    pub(crate) uri: Option<Uri>,
    pub(crate) body: Body,
    /// Why it passes.
    pub(crate) reason: Reason,
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

impl HttpCache {
    /// Forwards a request: what it changes is no longer served, and what its answer tells may be
    /// stored.
    ///
    /// Dropping the future gives up a safe request, and any that still waits for its turn. Another goes on
    /// without its reader: what it changes has to be noticed all the same.
    pub(crate) async fn pass(
        self,
        passing: Passing,
        origin: Origin,
    ) -> Result<Response<Body>, OriginError> {
        let turn = match self.passing_turns() {
            Some(turns) => Some(self.turn_of(turns, &passing.url(), passing.client()).await?),
            None => None,
        };
        if is_safe(&passing.head.method) {
            return self.forward(passing, origin, turn).await;
        }
        if self.shared().tasks.is_closed() {
            return Err(OriginError::new(ShutDown));
        }
        let (answered, answer) = oneshot::channel();
        let cache = self.clone();
        self.shared().tasks.spawn(async move {
            // An error says that its reader has left.
            answered.send(cache.forward(passing, origin, turn).await).ok();
        });
        answer.await.unwrap_or_else(|_| Err(self.given_up()))
    }

    async fn forward(
        self,
        passing: Passing,
        mut origin: Origin,
        turn: Option<Turn>,
    ) -> Result<Response<Body>, OriginError> {
        let Passing { head, uri, body, reason } = passing;
        let shared = Arc::clone(self.shared());
        let began = Instant::now();
        let about = uri.as_ref().and_then(RequestKey::of_uri);
        let key: Option<Arc<str>> = about.as_ref().map(|key| key.as_str().into());
        // Of all that pass, only what answers a POST may be stored (RFC 9110 §9.3.3).
        let may_be_stored = |key: &&Arc<str>| {
            head.method == Method::POST && uri.as_ref().is_some_and(|uri| is_spelt_as(uri, key))
        };
        let leader = key
            .as_ref()
            .filter(may_be_stored)
            .map(|key| shared.flights.lead_uncounted(key, || shared.purges.position()));
        let requested_at = self.wall_clock().now();
        let mut asking = |body| origin(Request::from_parts(head.clone(), body));
        let answered = match shared.hard_timeout {
            None => Ok(asking(body).await),
            Some(limit) => in_time(limit, body, asking).await,
        };
        // The body is for its reader alone, and keeps nobody else waiting, however long it is.
        drop(turn);
        let answer = match answered {
            Ok(answer) => answer?,
            Err(late) => {
                // What it has changed until now, nobody will tell.
                if let (Some(about), false) = (&about, is_safe(&head.method)) {
                    self.invalidate(about, None);
                }
                return Err(OriginError::new(late));
            }
        };
        let exchange = Exchange { requested_at, received_at: self.wall_clock().now_followed_up() };
        let took = began.elapsed();
        let (mut sent, mut body) = answer.into_parts();
        let (mut outcome, mut stored) = (Outcome::Passed, None);
        if let Some(uri) = uri {
            let request = request_head(&head, &uri);
            let response = ResponseHead { status: sent.status, headers: (&sent.headers).into() };
            self.learn(&head, &uri, response, leader.as_ref());
            if let (Ok(receiving), Some(leader)) =
                (self.receive(request, response, exchange), leader)
            {
                (outcome, stored) = (Outcome::Stored, Some(Arc::clone(&receiving.stored)));
                body = self.store_arriving(head.clone(), uri, receiving, body, leader, began);
            }
        }
        let status = Some(sent.status.as_u16());
        let handling = Handling::Forwarded { why: reason, status, outcome, took };
        let key = key.filter(|_| head.extensions.get::<ShowKey>().is_some());
        let stored = stored.as_ref().map(|stored| (&stored.head).into());
        explain(&mut sent.headers, handling, stored, key.as_deref(), self.wall_clock().now());
        Ok(Response::from_parts(sent, body))
    }

    /// What a request that may have changed something makes stale (RFC 9111 §4.4, RFC 9875).
    fn learn(&self, head: &Parts, uri: &Uri, response: ResponseHead<'_>, leader: Option<&Leader>) {
        let stale = invalidates(request_head(head, uri), response);
        for uri in stale.uris.iter().filter_map(RequestKey::of_uri) {
            // Its own answer may still be stored: it is what the change has led to.
            self.invalidate(&uri, leader);
        }
        for group in &stale.groups {
            self.cache().purge_tag(&group_tag(uri, group));
        }
    }

    /// Stores what arrives, while its reader reads it.
    fn store_arriving(
        &self,
        head: Parts,
        uri: Uri,
        receiving: Receiving,
        body: Body,
        leader: Leader,
        began: Instant,
    ) -> Body {
        let Receiving { stored, filler, place } = receiving;
        let cache = self.clone();
        self.shared().tasks.spawn(async move {
            let name = Arc::clone(leader.key());
            // It takes no turn: its reader has the head and waits for nobody's fetch.
            let pumped = cache.pump(body, filler, &stored, &leader, &name, None).await;
            if let Pumped::Whole(body) = pumped
                && let Some(whole) = stored.with_body(body)
            {
                let request = request_head(&head, &uri);
                cache.keep(request, Arc::new(whole), &[], began.elapsed(), &leader);
            }
        });
        place.map(Body::arriving).unwrap_or_default()
    }
}

/// What comes of asking with `body`, if it comes in time. That begins anew with each piece that is
/// taken of the body: what is large may take long to send.
async fn in_time<T>(
    limit: Duration,
    body: Body,
    ask: impl FnOnce(Body) -> BoxFuture<T>,
) -> Result<T, TookTooLong> {
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
            () = sleep(limit) => return Err(TookTooLong(limit)),
        }
    }
}
