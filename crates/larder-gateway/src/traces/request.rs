//! Request: the span of a request and those of what the cache did for it, made when its answer has ended.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use http::{Extensions, HeaderValue, Method, Response, StatusCode, Uri, Version, request::Parts};
use larder::http::{FlightName, Handled, Phase, PhaseKind};

use super::{
    ids::{Place, SpanId},
    span::{Kind, Span, Value, bounded},
    tracer::Traced,
};

/// A request under way that is traced. Dropping it tells of it, whichever way that comes about.
pub(crate) struct ServerSpan {
    traced: Traced,
    method: Method,
    uri: Uri,
    version: Version,
    route: Option<Arc<str>>,
    handled: Option<Handled>,
    status: Option<StatusCode>,
    request_id: Option<HeaderValue>,
    is_whole: AtomicBool,
}

/// Among an answer's extensions: the span that ends with it. Clones are the same.
#[derive(Clone)]
pub(crate) struct Answered(Arc<ServerSpan>);

/// Takes the span of an answer out of its extensions, for whoever sends it.
pub(crate) fn answered(extensions: &mut Extensions) -> Option<Answered> {
    extensions.remove()
}

impl Answered {
    /// All of it was sent.
    pub(crate) fn whole(&self) {
        self.0.is_whole.store(true, Relaxed);
    }
}

impl ServerSpan {
    /// For a request that was let in, with what it is to carry to its origin. `route`: what its requests have in common.
    pub(crate) fn of(traced: Traced, head: &mut Parts, route: Option<&Arc<str>>) -> ServerSpan {
        head.extensions.insert(traced.0.phases.clone());
        head.extensions.insert(traced.clone());
        ServerSpan {
            traced,
            method: head.method.clone(),
            uri: head.uri.clone(),
            version: head.version,
            route: route.cloned(),
            handled: None,
            status: None,
            request_id: None,
            is_whole: AtomicBool::new(false),
        }
    }

    /// What the cache says that it did.
    pub(crate) fn handled(&mut self, handled: &Handled) {
        self.handled = Some(*handled);
    }

    /// By which its trace is found.
    pub(crate) fn trace_id(&self) -> [u8; 16] {
        self.traced.0.place.trace.0
    }

    /// From now on it goes with the answer. `request_id`: by which more is told of the request.
    pub(crate) fn go_with<B>(mut self, answer: &mut Response<B>, request_id: Option<HeaderValue>) {
        (self.status, self.request_id) = (Some(answer.status()), request_id);
        answer.extensions_mut().insert(Answered(Arc::new(self)));
    }

    fn span(&self, ended: Instant) -> Span {
        let method = known(&self.method);
        let name = match (&self.route, method) {
            (Some(route), OTHER) => Cow::Owned(format!("HTTP {route}")),
            (Some(route), method) => Cow::Owned(format!("{method} {route}")),
            (None, OTHER) => Cow::Borrowed("HTTP"),
            (None, method) => Cow::Borrowed(method),
        };
        let mut attributes = vec![
            ("http.request.method", Value::Word(method)),
            ("url.path", Value::Text(bounded(self.uri.path()))),
            ("network.protocol.version", Value::Word(version(self.version))),
        ];
        if let Some(scheme) = self.uri.scheme_str() {
            let scheme = if scheme == "https" { "https" } else { "http" };
            attributes.push(("url.scheme", Value::Word(scheme)));
        }
        if let Some(authority) = self.uri.authority() {
            attributes.push(("server.address", Value::Text(bounded(authority.host()))));
            if let Some(port) = authority.port_u16() {
                attributes.push(("server.port", Value::Number(port.into())));
            }
        }
        if let Some(route) = &self.route {
            attributes.push(("http.route", Value::Shared(Arc::clone(route))));
        }
        if let Some(Handled { verdict, why, reason, .. }) = &self.handled {
            attributes.push(("larder.verdict", Value::Word(verdict.as_str())));
            attributes.push(("larder.reason", Value::Word(reason.as_str())));
            if why != reason {
                attributes.push(("larder.why", Value::Word(why.as_str())));
            }
        }
        if let Some(id) = self.request_id.as_ref().and_then(|id| id.to_str().ok()) {
            attributes.push(("larder.request", Value::Text(bounded(id))));
        }
        let status = self.status.map(|status| status.as_u16());
        let is_error = status.is_some_and(|status| status >= 500);
        match status {
            Some(status) => {
                attributes.push(("http.response.status_code", Value::Number(status.into())));
                if is_error {
                    attributes.push(("error.type", Value::Text(status.to_string())));
                }
                if !self.is_whole.load(Relaxed) {
                    attributes.push(("larder.ended", Value::Word("cut")));
                }
            }
            None => attributes.push(("larder.ended", Value::Word("left"))),
        }
        let request = &self.traced.0;
        Span {
            place: request.place,
            parent: request.parent,
            name,
            kind: Kind::Server,
            began: request.anchor.nanos(request.anchor.instant),
            ended: request.anchor.nanos(ended),
            attributes,
            links: Vec::new(),
            is_error,
        }
    }

    fn span_of(&self, phase: &Phase, ended: Instant) -> Span {
        let request = &self.traced.0;
        let Place { trace, span: of_request } = request.place;
        let (name, span, parent, attributes, links) = match phase.kind {
            PhaseKind::Lead => {
                let role = vec![("larder.role", Value::Word("leader"))];
                ("flight", request.flight, of_request, role, Vec::new())
            }
            PhaseKind::Follow { leader } => {
                let role = vec![("larder.role", Value::Word("follower"))];
                let links = leader.map(|FlightName(name)| Place::of(name));
                ("flight", SpanId::new(), of_request, role, links.into_iter().collect())
            }
            PhaseKind::Look { is_below, why } => {
                let tier = if is_below { "shared" } else { "memory" };
                let mut attributes = vec![("larder.tier", Value::Word(tier))];
                let why = why.map(|why| ("larder.reason", Value::Word(why.as_str())));
                attributes.extend(why);
                // Only a leader looks there.
                let parent = if is_below { request.flight } else { of_request };
                ("lookup", SpanId::new(), parent, attributes, Vec::new())
            }
            // There are no others today.
            _ => ("cache", SpanId::new(), of_request, Vec::new(), Vec::new()),
        };
        Span {
            place: Place { trace, span },
            parent: Some(parent),
            name: name.into(),
            kind: Kind::Internal,
            began: request.anchor.nanos(phase.began),
            ended: request.anchor.nanos(phase.ended.unwrap_or(ended)),
            attributes,
            links,
            is_error: false,
        }
    }
}

impl Drop for ServerSpan {
    fn drop(&mut self) {
        let (traces, ended) = (&self.traced.0.traces, Instant::now());
        traces.tell(self.span(ended));
        for phase in self.traced.0.phases.noted() {
            traces.tell(self.span_of(&phase, ended));
        }
    }
}

/// What a method is called that is none of those that everybody knows: anybody may send any word.
const OTHER: &str = "_OTHER";

/// The method, from a closed set.
pub(super) fn known(method: &Method) -> &'static str {
    const KNOWN: [&str; 10] =
        ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "QUERY", "PURGE"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or(OTHER)
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}
