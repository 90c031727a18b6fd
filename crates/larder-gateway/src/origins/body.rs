//! Body: an answer's body as it comes from one of several addresses, which is watched to its end.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use super::{failure::Failure, ticket::Ticket};
use crate::{
    traces::OriginSpan,
    upstream::{UpstreamBody, UpstreamBodyError},
};

/// The body of an answer. Until its end, or until it is dropped, its address counts a request under way.
pub struct OriginBody {
    body: UpstreamBody,
    /// Until its end. None where there is no other address to compare with.
    ticket: Option<Ticket>,
    /// It may pause.
    is_stream: bool,
    /// Its route's, until its end, where that has only so many.
    place: Option<OwnedSemaphorePermit>,
    /// Until its end, where it is traced.
    span: Option<OriginSpan>,
}

impl OriginBody {
    pub(super) fn unwatched(body: UpstreamBody) -> OriginBody {
        OriginBody { body, ticket: None, is_stream: false, place: None, span: None }
    }

    pub(super) fn watched(body: UpstreamBody, ticket: Ticket, is_stream: bool) -> OriginBody {
        let mut watched =
            OriginBody { body, ticket: Some(ticket), is_stream, place: None, span: None };
        watched.see_whether_ended();
        watched
    }

    /// Keeps a place until its end.
    pub(crate) fn hold(&mut self, place: OwnedSemaphorePermit) {
        self.place = Some(place).filter(|_| !self.body.is_end_stream());
    }

    /// Its span ends with it.
    pub(crate) fn end_with(&mut self, span: OriginSpan) {
        self.span = Some(span).filter(|_| !self.body.is_end_stream());
    }

    fn see_whether_ended(&mut self) {
        if self.place.is_some() && self.body.is_end_stream() {
            self.place = None;
        }
        if self.span.is_some() && self.body.is_end_stream() {
            self.span = None;
        }
        if self.ticket.is_some() && self.body.is_end_stream() {
            self.settle(None);
        }
    }

    fn settle(&mut self, failure: Option<Failure>) {
        if let Some(mut ticket) = self.ticket.take() {
            match failure {
                Some(failure) => ticket.failed(failure),
                None => ticket.brought_whole(),
            }
        }
    }
}

impl Body for OriginBody {
    type Data = Bytes;
    type Error = UpstreamBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamBodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Err(_))) = &polled
            && let Some(mut span) = self.span.take()
        {
            span.broken();
        }
        match &polled {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(_))) => self.see_whether_ended(),
            Poll::Ready(None) => {
                self.place = None;
                self.span = None;
                self.settle(None);
            }
            // A reader that takes its time is not the address' fault.
            Poll::Ready(Some(Err(UpstreamBodyError::WholeTimeout { .. }))) => self.ticket = None,
            // Nor is a pause, where there may be some.
            Poll::Ready(Some(Err(UpstreamBodyError::IdleTimeout { .. }))) if self.is_stream => {
                self.ticket = None;
            }
            Poll::Ready(Some(Err(_))) => self.settle(Some(Failure::Body)),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
