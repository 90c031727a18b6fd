//! Explaining: what would become of a request at this gateway, by its own configuration and by another.
//!
//! A request is let in as any other is, as far as that takes nothing: no turn, no share of what an address may send. It has
//! the way that it would have, and the cache tells what it would do.

use std::{path::Path, sync::Arc, time::SystemTime};

use futures_util::{FutureExt, future::BoxFuture};
use http::{HeaderMap, Method, Request, StatusCode, Uri, Version};
use larder::http::{
    Bypass, Client, Policy, Rules,
    policy::forward::{self, Admission, Hop},
};
use larder_admin::{
    Problem,
    explain::{
        Before, Explain, Explained, NextView, PastRequest, Question, RequestView, RouteView,
        RuleView, Told, VerdictView, time, told_of,
    },
};
use tokio::task::spawn_blocking;

use super::{Gateway, Settings, client::LARDER_EXPLAIN, target, target::OverTls};
use crate::{
    config::{Mistakes, Written},
    routes::{Ambiguous, Way},
};

/// What a policy is called in what is said of its mistakes.
const POLICY: &str = "policy";

/// By what a request is explained.
struct By<'a> {
    /// The rules of its way, for who asks.
    policy: Arc<Policy>,
    way: &'a Way,
    written: Option<&'a Written>,
    place: usize,
}

impl Explain for Gateway {
    fn explain(&self, question: Question) -> BoxFuture<'_, Result<Explained, Problem>> {
        self.explained(question).boxed()
    }

    fn request(&self, id: &str) -> Option<PastRequest> {
        self.common.past.find(id)
    }
}

impl Gateway {
    async fn explained(&self, mut question: Question) -> Result<Explained, Problem> {
        let other = match question.policy.take() {
            None => None,
            Some(text) => {
                // As long as it may be, reading it takes longer than others should wait.
                let read = spawn_blocking(move || Written::of_text(Path::new(POLICY), &text));
                let read = read.await.map_err(|_| unreadable("it could not be read".to_owned()))?;
                Some(read.map_err(|mistakes: Mistakes| unreadable(mistakes.to_string()))?)
            }
        };
        let settings = self.common.settings.load_full();
        let told = self.told(&settings, &question, None).await;
        let with_policy = match &other {
            None => None,
            Some(written) => Some(Box::new(self.told(&settings, &question, Some(written)).await)),
        };
        let Question { method, uri, .. } = question;
        let last = self.common.past.last_of(&method, &uri);
        let request = RequestView { method: method.to_string(), url: uri.to_string() };
        Ok(Explained { at: time(SystemTime::now()), request, told, last, with_policy })
    }

    /// `other`: the routes to go by instead of those of now.
    async fn told(
        &self,
        settings: &Arc<Settings>,
        question: &Question,
        other: Option<&Written>,
    ) -> Told {
        let Question { method, uri, headers, client, .. } = question;
        let mut headers = headers.clone();
        headers.remove(LARDER_EXPLAIN);
        if let Some(refused) = self.at_the_door(settings, method, uri, &mut headers) {
            return refused;
        }
        let ways = other.map_or(&settings.ways, |written| &written.ways);
        let (way, place) = match ways.way_and_place(method, uri, &headers) {
            Ok(found) => found,
            Err(ambiguous) => return in_several_routes(ambiguous),
        };
        let policy = match (other, &way.for_strangers) {
            (None, _) => settings.rules_for(way, client.map(Client)),
            (Some(written), Some(policy)) if !written.trusts(*client) => policy,
            (Some(_), _) => &way.policy,
        };
        let written = other.or(settings.config.written.as_deref());
        let by = By { policy: Arc::clone(policy), way, written, place };
        let mut request = Request::new(());
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers;
        request.extensions_mut().insert(Rules(Arc::clone(policy)));
        if !way.is_cached {
            request.extensions_mut().insert(Bypass);
        }
        told_of(&self.store, request, uri, by.before()).await
    }

    /// What becomes of a request that goes no further than this hop.
    fn at_the_door(
        &self,
        settings: &Settings,
        method: &Method,
        uri: &Uri,
        headers: &mut HeaderMap,
    ) -> Option<Told> {
        let config = &settings.config;
        if *method == Method::TRACE {
            return Some(refused("method", "TRACE is not offered.", 405));
        }
        if config.purge.as_ref().is_some_and(|purge| purge.takes(method)) {
            return Some(refused("method", "This is a purge, and is done here for who may.", 200));
        }
        // The URL is whole, as it was asked for: nobody need be believed in what it is for.
        let hop = Hop { name: &config.name, version: Version::HTTP_11, peer: None, believed: None };
        match forward::admit(method, headers, hop) {
            Admission::Granted => {}
            Admission::Loop => {
                return Some(refused("loop", "It has been at this gateway before.", 508));
            }
            Admission::Final => {
                let says = "Max-Forwards lets it come as far as this gateway.";
                return Some(refused("max-forwards", says, 200));
            }
        }
        let port = config.rules(0).redirect_to_https?;
        match target::over_tls(uri, port) {
            OverTls::Already => None,
            OverTls::At(_) | OverTls::Nowhere => {
                Some(refused("redirect", "The first listener answers over https only.", 308))
            }
        }
    }
}

impl By<'_> {
    fn before(self) -> Before {
        let By { policy, way, written, place } = self;
        let upstream = written.and_then(|written| written.upstreams.get(way.upstream));
        let service = upstream.map_or_else(|| "the service".to_owned(), |name| name.to_string());
        let route = written.and_then(|written| written.route(place)).map(|route| RouteView {
            route: route.words.to_string(),
            line: route.line,
            upstream: upstream.map(|name| name.to_string()),
            is_cached: way.is_cached,
            rules: { route.rules }
                .into_iter()
                .map(|(rule, value, line)| RuleView { rule, value, line: Some(line) })
                .collect(),
        });
        Before { policy, route, service }
    }
}

fn unreadable(mistakes: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "Policy not understood", mistakes)
}

fn in_several_routes(ambiguous: Ambiguous) -> Told {
    refused("ambiguous-path", &format!("{ambiguous}."), 400)
}

/// It never comes to the cache.
fn refused(reason: &str, says: &str, status: u16) -> Told {
    let next = format!("The next request is answered {status} here, and no service is asked.");
    Told {
        route: None,
        key: None,
        tiers: Vec::new(),
        flight: None,
        verdict: VerdictView {
            verdict: "refused",
            reason: reason.to_owned(),
            says: says.to_owned(),
        },
        personal: None,
        next: NextView { asks_origin: false, says: next },
        nearest: Vec::new(),
        looked: None,
        gone: None,
    }
}
