//! Replay: what is kept of a request, so that it can be sent to another address.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Extensions, Request, request::Parts};
use http_body::{Body as _, Frame, SizeHint};
use larder::http::{Body, policy::forward::stands_for_the_method};
use tokio::time::Instant;

use super::retry::Nature;
use crate::{
    interim::Interim,
    upgrade::Upgrade,
    upstream::{Began, Times, UpstreamConfig},
};

/// A request, as often as it is asked for while nobody has read of its body.
pub(super) struct Replay {
    head: Parts,
    body: Arc<Slot>,
    size: SizeHint,
    is_empty: bool,
    began: Instant,
}

/// Where a request's body waits for the first to read it. Locked for as long as it takes to look.
#[derive(Default)]
struct Slot(Mutex<Option<Body>>);

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Option<Body>> {
        // It is replaced whole: whoever panicked with it has left nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Replay {
    pub(super) fn of(request: Request<Body>) -> Replay {
        let (head, body) = request.into_parts();
        let (size, is_empty) = (body.size_hint(), body.is_end_stream());
        let body = Arc::new(Slot(Mutex::new(Some(body))));
        Replay { head, body, size, is_empty, began: Instant::now() }
    }

    /// The request. Its body goes to whoever reads of it first.
    pub(super) fn request(&self) -> Request<Lent> {
        let lent = Lent {
            slot: Arc::clone(&self.body),
            taken: None,
            size: self.size,
            is_empty: self.is_empty,
        };
        let mut request = Request::from_parts(self.head.clone(), lent);
        request.extensions_mut().insert(Began(self.began));
        request
    }

    pub(super) fn extensions(&self) -> &Extensions {
        &self.head.extensions
    }

    /// Whether its time is over, had it asked `upstream` first.
    pub(super) fn is_late(&self, upstream: &UpstreamConfig) -> bool {
        let whole = upstream.limits(times(&self.head.extensions)).whole;
        whole.is_some_and(|limit| self.began.elapsed() >= limit)
    }

    /// Whether its answer may begin, and go on, as late as it likes.
    pub(super) fn is_stream(&self) -> bool {
        is_stream(&self.head.extensions)
    }

    /// Whether its connection may go on in another protocol.
    pub(super) fn upgrade(&self) -> Option<&Upgrade> {
        self.head.extensions.get()
    }

    pub(super) fn nature(&self) -> Nature {
        let Parts { method, headers, extensions, .. } = &self.head;
        // Some origins take a field's word for the method, and nothing is known of that.
        let is_what_it_says = || !headers.keys().any(stands_for_the_method);
        let interim = extensions.get::<Interim>();
        Nature {
            can_repeat: method.is_idempotent() && self.is_empty && is_what_it_says(),
            is_untouched: self.body.lock().is_some(),
            was_answered: interim.is_some_and(Interim::has_sent),
        }
    }
}

/// Whether the answer to a request may begin, and go on, as late as it likes.
pub(super) fn is_stream(request: &Extensions) -> bool {
    times(request).is_some_and(|times| times.is_stream)
}

fn times(request: &Extensions) -> Option<&Times> {
    request.get().map(|times: &Arc<Times>| &**times)
}

/// A request's body that may be sent by another request.
pub(super) struct Lent {
    slot: Arc<Slot>,
    /// Once it was read of.
    taken: Option<Body>,
    size: SizeHint,
    is_empty: bool,
}

impl http_body::Body for Lent {
    type Data = Bytes;
    type Error = <Body as http_body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let lent = &mut *self;
        if lent.taken.is_none() {
            lent.taken = lent.slot.lock().take();
        }
        match &mut lent.taken {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.taken.as_ref().map_or(self.is_empty, http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.taken.as_ref().map_or(self.size, http_body::Body::size_hint)
    }
}
