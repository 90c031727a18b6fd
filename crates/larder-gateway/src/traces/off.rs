//! Off: the same without the feature `otel`. There are no values of these types, so nothing of what is asked of them is
//! built.

use std::{sync::Arc, time::Duration};

use http::{Extensions, HeaderMap, HeaderValue, Response, StatusCode, request::Parts};
use larder::http::Handled;

use super::config::{TraceCounts, TracesConfig};
use crate::origins::Unanswered;

/// The traces of a process: of this program there are none.
#[derive(Clone, Debug)]
pub enum Traces {}

#[derive(Clone)]
pub(crate) enum Traced {}

pub(crate) enum ServerSpan {}

pub(crate) enum Answered {}

pub(crate) enum OriginSpan {}

impl Traces {
    /// `None`: this program can trace nothing.
    pub fn start(_: TracesConfig) -> Option<Traces> {
        None
    }

    /// The counts now.
    pub fn counts(&self) -> TraceCounts {
        match *self {}
    }

    /// Sends what waits.
    pub async fn flush(&self, _: Duration) {
        match *self {}
    }

    pub(crate) fn honours(&self, _: bool) -> bool {
        match *self {}
    }

    pub(crate) fn is_told(_: &[u8]) -> Option<bool> {
        None
    }

    pub(crate) fn is_due(&self) -> bool {
        match *self {}
    }

    pub(crate) fn pass_over(&self) {
        match *self {}
    }

    pub(crate) fn begin(&self, _: &HeaderMap, _: bool) -> Option<Traced> {
        match *self {}
    }
}

impl ServerSpan {
    pub(crate) fn of(traced: Traced, _: &mut Parts, _: Option<&Arc<str>>) -> ServerSpan {
        match traced {}
    }

    pub(crate) fn handled(&mut self, _: &Handled) {
        match *self {}
    }

    pub(crate) fn trace_id(&self) -> [u8; 16] {
        match *self {}
    }

    pub(crate) fn go_with<B>(self, _: &mut Response<B>, _: Option<HeaderValue>) {
        match self {}
    }
}

impl Answered {
    pub(crate) fn whole(&self) {
        match *self {}
    }
}

pub(crate) fn answered(_: &mut Extensions) -> Option<Answered> {
    None
}

pub(crate) fn asks_origin(
    _: &mut Parts,
    _: &mut HeaderMap,
    _: Option<&Arc<str>>,
) -> Option<OriginSpan> {
    None
}

impl OriginSpan {
    pub(crate) fn answered(&mut self, _: StatusCode) {
        match *self {}
    }

    pub(crate) fn unanswered(&mut self, _: &Unanswered) {
        match *self {}
    }

    pub(crate) fn broken(&mut self) {
        match *self {}
    }
}
