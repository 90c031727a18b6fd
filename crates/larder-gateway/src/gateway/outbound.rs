//! Outbound: between the cache and an origin.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::Instant,
};

use http::{HeaderMap, HeaderValue, Request, Response, header};
use larder::http::{Body, Client, GivenUp, policy::forward};
use tower::Service;

use super::{Common, LetIn, past::LARDER_REQUEST};
use crate::{
    access::Note,
    origins::{OriginBody, Unanswered},
    traces::asks_origin,
};

/// Between the cache and an origin: the origin's answers lose what was meant for this hop only.
#[derive(Clone)]
pub(super) struct Outbound(pub(super) Arc<Common>);

impl Service<Request<Body>> for Outbound {
    type Response = Response<OriginBody>;
    type Error = Unanswered;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Unanswered>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Unanswered>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if self.0.pressure.is_full() {
            if let Some(refused) = self.0.pressure.refuse() {
                tracing::warn!(
                    refused,
                    "{refused} requests were not sent on: the process takes nearly all memory that it may"
                );
            }
            return Box::pin(std::future::ready(Err(Unanswered::NoMemory)));
        }
        let (mut head, body) = request.into_parts();
        let mut fields = std::mem::take(&mut head.headers);
        let let_in = head.extensions.get::<LetIn>().cloned();
        let LetIn { settings, upstream, rewrite, bounds, row, crowd_calls, place: _ } = let_in
            .unwrap_or_else(|| {
                // Whatever asks without a reader goes by what holds now.
                let settings = self.0.settings.load_full();
                let row = Arc::clone(self.0.ledger.otherwise());
                LetIn {
                    settings,
                    place: 0,
                    upstream: 0,
                    rewrite: None,
                    bounds: None,
                    row,
                    crowd_calls: None,
                }
            });
        let hop = settings.config.hop(&head);
        let client = head.extensions.get::<Client>().map(|Client(ip)| *ip);
        let client = client.filter(|client| hop.believed.is_some() && !client.is_unspecified());
        forward::sign(&head.uri, &mut fields, hop, client);
        let name = settings.config.upstream_names.get(upstream);
        let mut span = asks_origin(&mut head, &mut fields, name);
        head.headers = fields;
        let asked = rewrite.as_ref().map(|rewrite| {
            rewrite.name_host(&mut head.headers);
            let there = rewrite.there(&head.uri);
            std::mem::replace(&mut head.uri, there)
        });
        let note = head.extensions.get::<Note>().cloned();
        let began = note.as_ref().map(|_| Instant::now());
        Box::pin(async move {
            let place = match bounds {
                None => None,
                Some(bounds) => bounds.place().await.inspect_err(|error| {
                    if let Some(span) = &mut span {
                        span.unanswered(error);
                    }
                })?,
            };
            let is_asked = row.ask(head.extensions.get::<GivenUp>().cloned());
            if let Some(crowd_calls) = crowd_calls {
                crowd_calls.fetch_add(1, Relaxed);
            }
            let asking = settings.upstreams[upstream].ask(Request::from_parts(head, body));
            let answered = asking.await.inspect_err(|error| {
                if let Some(span) = &mut span {
                    span.unanswered(error);
                }
            });
            is_asked.ended(answered.as_ref().map(Response::status));
            let (mut head, mut body) = answered?.into_parts();
            let says_who_asks = span.is_some();
            if let Some(mut span) = span.take() {
                span.answered(head.status);
                body.end_with(span);
            }
            if let Some(place) = place {
                body.hold(place);
            }
            if let (Some(note), Some(began)) = (note, began) {
                note.origin_took(began.elapsed());
            }
            // The id that a gateway behind this one gave is of its own request, and would be told of each hit.
            head.headers.remove(LARDER_REQUEST);
            head.headers = forward::response(head.headers, &settings.config.name, head.version);
            if let (Some(rewrite), Some(asked)) = (rewrite, asked) {
                rewrite.back(&asked, &mut head.headers);
            }
            if forward::varies_by_peer(&head.headers)
                || (says_who_asks && varies_by_trace(&head.headers))
            {
                // The cache does not know what this hop has told of the reader.
                head.headers.append(header::VARY, HeaderValue::from_static("*"));
            }
            Ok(Response::from_parts(head, body))
        })
    }
}

/// Whether an answer differs by the trace that its request is a part of, as `Vary` has it.
fn varies_by_trace(answer: &HeaderMap) -> bool {
    let lines = answer.get_all(header::VARY).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|name| {
        ["traceparent", "tracestate"].iter().any(|trace| name.trim().eq_ignore_ascii_case(trace))
    })
}
