//! Body: an answer's body as it comes from the origin.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use larder::http::policy::forward;
use tokio::time::Instant;

use super::{
    Began,
    broken::Broken,
    error::UpstreamBodyError,
    http2::Receiving,
    pool::{Carrier, Lease, within},
};
use crate::timer::after;

/// The body of an origin's answer, with its trailers, but for what may not be there. It is read off the socket only as it is polled. An error means
/// that it is incomplete, whatever came before. Dropping it before its end closes the connection to the origin, or
/// resets its stream there.
pub struct UpstreamBody {
    incoming: Incoming,
    /// Until the end.
    lease: Option<Lease>,
    /// Between two pieces.
    idle: Duration,
    whole: Option<Whole>,
}

/// A body as its version of HTTP brings it.
pub(super) enum Incoming {
    Http1(hyper::body::Incoming),
    /// On the heap: most bodies are of the other kind, and smaller.
    Http2(Box<Receiving>),
}

impl Incoming {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self {
            Incoming::Http1(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| Some(frame?.map_err(Broken::Http1)))
            }
            Incoming::Http2(body) => body.poll_frame(cx),
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        match self {
            Incoming::Http1(body) => body.is_end_stream(),
            Incoming::Http2(body) => body.is_end_stream(),
        }
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match self {
            Incoming::Http1(body) => body.size_hint(),
            Incoming::Http2(body) => body.left().map_or_else(SizeHint::new, SizeHint::with_exact),
        }
    }
}

/// When the whole exchange must be over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole {
    pub(super) limit: Duration,
    pub(super) deadline: Instant,
}

impl Whole {
    /// From now on, or since it began at another address.
    pub(super) fn of(limit: Duration, began: Option<Began>) -> Whole {
        let deadline = began.and_then(|Began(began)| began.checked_add(limit));
        Whole { limit, deadline: deadline.unwrap_or_else(|| after(limit)) }
    }
}

impl UpstreamBody {
    pub(super) fn new(
        incoming: Incoming,
        lease: Lease,
        idle: Duration,
        whole: Option<Whole>,
    ) -> Self {
        UpstreamBody { incoming, lease: Some(lease), idle, whole }
    }

    /// One whose answer has none.
    pub(super) fn over(incoming: Incoming) -> Self {
        UpstreamBody { incoming, lease: None, idle: Duration::MAX, whole: None }
    }

    /// Gives the connection back if all of the answer was read off it.
    pub(super) fn settle_if_ended(&mut self) {
        if self.incoming.is_end_stream() {
            self.settle();
        }
    }

    fn settle(&mut self) {
        if let Some(mut lease) = self.lease.take() {
            if let Carrier::Http1(link) = &mut lease.carrier {
                // hyper notices in its next turn that the exchange is over, and what came beyond it. From then on
                // this task is not woken by the connection: the next request over it would do that otherwise.
                link.drive(&mut Context::from_waker(Waker::noop()));
            }
            lease.give_back();
        }
    }

    fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let mut look = |cx: &mut Context<'_>| self.incoming.poll_frame(cx);
        match self.lease.as_mut().map(|lease| &mut lease.carrier) {
            Some(Carrier::Http1(link)) => link.drive_until(cx, look),
            // The connection has a task of its own.
            Some(Carrier::Http2(_)) | None => look(cx),
        }
    }

    /// Waits within the limits.
    fn poll_too_late(&mut self, cx: &mut Context<'_>) -> Poll<UpstreamBodyError> {
        let Some(lease) = &mut self.lease else { return Poll::Pending };
        let limit = self.idle;
        let timer = lease.carrier.timer();
        timer.ensure(within(limit, self.whole.map(|whole| whole.deadline)));
        if timer.poll_passed(cx).is_pending() {
            return Poll::Pending;
        }
        let origin = lease.pool.origin.clone();
        Poll::Ready(match self.whole {
            Some(Whole { limit, deadline }) if deadline <= Instant::now() => {
                UpstreamBodyError::WholeTimeout { origin, limit }
            }
            _ => UpstreamBodyError::IdleTimeout { origin, limit },
        })
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = UpstreamBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamBodyError>>> {
        let frame = self.poll_incoming(cx);
        if let (Poll::Ready(_), Some(lease)) = (&frame, &mut self.lease) {
            lease.carrier.timer().clear();
        }
        match frame {
            Poll::Ready(Some(Ok(mut frame))) => {
                if let Some(trailers) = frame.trailers_mut() {
                    forward::trailers(trailers);
                    if trailers.is_empty() {
                        // Its end comes next.
                        return self.poll_frame(cx);
                    }
                }
                self.settle_if_ended();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(source))) => match self.lease.take() {
                Some(lease) => {
                    let origin = lease.pool.origin.clone();
                    let source = source.into_source();
                    Poll::Ready(Some(Err(UpstreamBodyError::Incomplete { origin, source })))
                }
                None => Poll::Ready(None),
            },
            Poll::Ready(None) => {
                self.settle();
                Poll::Ready(None)
            }
            Poll::Pending => {
                // A body that pauses is a stream, if one more may be: no request waits for its connection.
                if let Some(lease) = &mut self.lease {
                    lease.become_stream();
                }
                match self.poll_too_late(cx) {
                    Poll::Ready(error) => {
                        self.lease = None;
                        Poll::Ready(Some(Err(error)))
                    }
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl fmt::Debug for UpstreamBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamBody").field("size_hint", &self.size_hint()).finish_non_exhaustive()
    }
}
