//! Origin: the span of one question to a service, from where it is asked to the end of what it answers.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use http::{HeaderMap, Method, StatusCode, request::Parts};
use larder::http::Phases;

use super::{
    context::{self, TRACESTATE},
    ids::{Place, SpanId},
    request::known,
    span::{Kind, Span, Value, bounded},
    tracer::Traced,
};
use crate::origins::{Unanswered, Witness};

/// A question under way. Dropping it tells of it: at the end of the answer, where there was none, and where it was given up.
pub(crate) struct OriginSpan(Box<Asked>);

struct Asked {
    traced: Traced,
    place: Place,
    parent: Option<SpanId>,
    /// The request that has caused it, where it goes on behind its reader's back.
    caused_by: Option<Place>,
    began: Instant,
    method: Method,
    upstream: Option<Arc<str>>,
    witness: Witness,
    status: Option<StatusCode>,
    failure: Option<&'static str>,
}

/// Says in the fields of a request to its service who asks, if that is told. `fields` are those of `head`, taken out of it.
pub(crate) fn asks_origin(
    head: &mut Parts,
    fields: &mut HeaderMap,
    upstream: Option<&Arc<str>>,
) -> Option<OriginSpan> {
    let traced = head.extensions.get::<Traced>()?.clone();
    let phases = head.extensions.get::<Phases>();
    let request = &traced.0;
    let is_behind = phases.is_some_and(Phases::is_behind);
    let (place, parent, caused_by) = match is_behind {
        // The first question is the trace's beginning, and others are on its account.
        true if !request.behind_is_taken.swap(true, Relaxed) => {
            (request.behind, None, Some(request.place))
        }
        true => {
            let place = Place { span: SpanId::new(), ..request.behind };
            (place, Some(request.behind.span), None)
        }
        false => {
            let place = Place { span: SpanId::new(), ..request.place };
            let leads = phases.is_some_and(Phases::leads);
            (place, Some(if leads { request.flight } else { request.place.span }), None)
        }
    };
    // Beside a trace that has begun here, the state of another one means nothing.
    if request.parent.is_none() || is_behind {
        fields.remove(TRACESTATE);
    }
    context::say(place, fields);
    let witness = Witness::default();
    head.extensions.insert(witness.clone());
    Some(OriginSpan(Box::new(Asked {
        place,
        parent,
        caused_by,
        began: Instant::now(),
        method: head.method.clone(),
        upstream: upstream.cloned(),
        witness,
        status: None,
        failure: None,
        traced,
    })))
}

impl OriginSpan {
    /// The head of its answer is there.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.0.status = Some(status);
    }

    /// There is none.
    pub(crate) fn unanswered(&mut self, error: &Unanswered) {
        self.0.failure = Some(match error {
            Unanswered::Failed { error, .. } => error.proxy_error().as_str(),
            Unanswered::Down { .. } => "destination_unavailable",
            Unanswered::RouteFull => "connection_limit_reached",
            Unanswered::NoMemory => "proxy_internal_error",
        });
    }

    /// Its answer has broken off.
    pub(crate) fn broken(&mut self) {
        self.0.failure = Some("http_response_incomplete");
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let Asked { place, parent, caused_by, method, upstream, witness, status, failure, .. } =
            self;
        let mut attributes = vec![("http.request.method", Value::Word(known(method)))];
        if let Some(upstream) = upstream.take() {
            attributes.push(("larder.upstream", Value::Shared(upstream)));
        }
        if let Some((host, port)) = witness.address() {
            attributes.push(("server.address", Value::Text(bounded(&host))));
            attributes.push(("server.port", Value::Number(port.into())));
        }
        let resent = witness.sent_again();
        if resent > 0 {
            attributes.push(("http.request.resend_count", Value::Number(resent.into())));
        }
        let status = status.map(|status| status.as_u16());
        if let Some(status) = status {
            attributes.push(("http.response.status_code", Value::Number(status.into())));
        }
        let is_error = failure.is_some() || status.is_some_and(|status| status >= 400);
        match (*failure, status) {
            (Some(failure), _) => attributes.push(("error.type", Value::Word(failure))),
            (None, Some(status)) if status >= 400 => {
                attributes.push(("error.type", Value::Text(status.to_string())));
            }
            (None, Some(_)) => {}
            (None, None) => attributes.push(("larder.ended", Value::Word("given up"))),
        }
        let anchor = &self.traced.0.anchor;
        self.traced.0.traces.tell(Span {
            place: *place,
            parent: *parent,
            name: if caused_by.is_some() { "refresh" } else { "origin" }.into(),
            kind: Kind::Client,
            began: anchor.nanos(self.began),
            ended: anchor.nanos(Instant::now()),
            attributes,
            links: caused_by.iter().copied().collect(),
            is_error,
        });
    }
}
