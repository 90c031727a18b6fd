//! Explaining: what would become of a request at this gateway, by its own configuration and by another.
//!
//! A request is let in as any other is, as far as that takes nothing: no turn, no share of what an address may send. It has
//! the way that it would have, and the cache tells what it would do.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::{FutureExt, future::BoxFuture};
use http::{HeaderMap, Method, Request, StatusCode, Uri, Version};
use larder::http::{
    Bypass, Client, Policy, Rules,
    policy::{
        forward::{self, Admission, Hop},
        key::RequestKey,
    },
};
use larder_admin::{
    Problem,
    explain::{
        Before, Explain, Explained, NextView, PastRequest, Question, RequestView, RouteView,
        RuleView, Told, VerdictView, Watch, time, told_of, turn,
    },
};
use tokio::task::spawn_blocking;

use super::{
    Gateway, ListenerRules, Settings, bounds::LaneOutlook, client::LARDER_EXPLAIN, own_writes,
    rate::TooMany, target, target::OverTls, upgrades::UpgradeOutlook,
};
use crate::{
    config::{Mistakes, Written},
    downstream::http1::target::cannot_be_asked_for,
    origins::Origins,
    routes::{Ambiguous, Way},
    upgrade::offers,
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
    /// What else is to be said of it.
    remarks: Vec<String>,
    /// The same, where its service is asked.
    of_service: Vec<String>,
}

impl Explain for Gateway {
    fn explain(&self, question: Question) -> BoxFuture<'_, Result<Explained, Problem>> {
        self.explained(question).boxed()
    }

    fn request(&self, id: &str) -> Option<PastRequest> {
        self.common.past.find(id)
    }

    fn watch(&self) -> Option<Box<dyn Watch>> {
        self.watched()
    }
}

impl Gateway {
    async fn explained(&self, mut question: Question) -> Result<Explained, Problem> {
        let other = match question.policy.take() {
            None => None,
            Some(text) => {
                // As long as it may be, reading it takes longer than others should wait, and a processor.
                let _turn = turn().await;
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
        let config = &settings.config;
        // As when it comes: what this hop takes out, nothing behind it sees.
        let fences = config.read_your_writes.as_ref().map(|_| own_writes::take(&mut headers));
        let offers = offers(method, &headers);
        let client = client.map(Client);
        let mut remarks = Vec::new();
        let door = self.at_the_door(settings, (method, uri, client), &mut headers, &mut remarks);
        if let Some(refused) = door {
            return refused;
        }
        let ways = other.map_or(&settings.ways, |written| &written.ways);
        let (way, place) = match ways.way_and_place(method, uri, &headers) {
            Ok(found) => found,
            Err(ambiguous) => return in_several_routes(ambiguous),
        };
        let policy = match (other, &way.for_strangers) {
            (None, _) => settings.rules_for(way, client),
            (Some(written), Some(policy)) if !written.trusts(client.map(|Client(ip)| ip)) => policy,
            (Some(_), _) => &way.policy,
        };
        let written = other.or(config.written.as_deref());
        if is_written_otherwise(uri, policy) {
            let says = "Its URL is written otherwise than the key: what its service answers is for its reader alone (spelling).";
            remarks.push(says.to_owned());
        }
        let mut by =
            By { policy: Arc::clone(policy), way, written, place, remarks, of_service: Vec::new() };
        if other.is_none()
            && let Some(refused) = self.on_its_way(settings, client, &mut by)
        {
            return refused;
        }
        let mut request = Request::new(());
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers;
        request.extensions_mut().insert(Rules(Arc::clone(policy)));
        let upgrade = offers.map(|offers| {
            self.common.upgrades.outlook(&offers, &way.protocols, client, config.upgrades)
        });
        let is_upgraded = match upgrade {
            Some(UpgradeOutlook::Full) => {
                let says = "As many connections have switched protocols as may.";
                return Told { route: by.route(), ..refused("upgrade", says, 503) };
            }
            Some(UpgradeOutlook::Granted(protocol)) => {
                let protocol = String::from_utf8_lossy(protocol.as_bytes()).into_owned();
                by.remarks.push(format!("It is asked to go on in {protocol}, which passes."));
                true
            }
            Some(UpgradeOutlook::Ignored) => {
                let says =
                    "It offers another protocol, which this route does not: that is left out.";
                by.remarks.push(says.to_owned());
                false
            }
            None => false,
        };
        if is_upgraded || !way.is_cached {
            request.extensions_mut().insert(Bypass);
        }
        if let (Some(rules), Some(fences)) = (&config.read_your_writes, fences) {
            let host = uri.host().unwrap_or_default().to_ascii_lowercase();
            let (writes, now) = (&self.common.writes, self.store.not_before_now());
            if let Some(since) = writes.since_for_onlooker(rules, &host, &fences, now) {
                request.extensions_mut().insert(since);
                let says = "It carries a fence of its reader's own write: what was fetched before that does not answer it.";
                by.remarks.push(says.to_owned());
            }
        }
        told_of(&self.store, request, uri, by.before()).await
    }

    /// What becomes of a request that goes no further than this hop.
    fn at_the_door(
        &self,
        settings: &Settings,
        (method, uri, client): (&Method, &Uri, Option<Client>),
        headers: &mut HeaderMap,
        remarks: &mut Vec<String>,
    ) -> Option<Told> {
        let config = &settings.config;
        if let Some(why) = cannot_be_asked_for(uri) {
            return Some(refused(
                "malformed",
                &format!("No such request is understood: {why}."),
                400,
            ));
        }
        if *method == Method::TRACE {
            return Some(refused("method", "TRACE is not offered.", 405));
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
        if let (Some(rates), Some(client)) = (&settings.rates, client)
            && let Err(TooMany { wait }) = rates.outlook(client)
        {
            return Some(too_many("This address has sent as many requests as it may", wait));
        }
        if config.purge.as_ref().is_some_and(|purge| purge.takes(method)) {
            return Some(refused("method", "This is a purge, and is done here for who may.", 200));
        }
        match Redirected::of(&config.listeners, uri) {
            Redirected::No => None,
            Redirected::Always(names) => {
                let says = format!("{names} over https only.");
                Some(refused("redirect", &says, 308))
            }
            Redirected::Sometimes(names) => {
                remarks.push(format!(
                    "Where it comes to another listener: {names} over https only (308)."
                ));
                None
            }
        }
    }

    /// What becomes of a request on its way through the settings of now, as far as that is not the cache's: it is turned away,
    /// or there is something to be said of its service.
    fn on_its_way(
        &self,
        settings: &Settings,
        client: Option<Client>,
        by: &mut By<'_>,
    ) -> Option<Told> {
        let bounds = settings.bounds[by.place].as_ref();
        if let (Some(rates), Some(client)) = (bounds.and_then(|bounds| bounds.rates()), client)
            && let Err(TooMany { wait }) = rates.outlook(client)
        {
            let says = "This address has sent as many requests of this route as it may";
            return Some(Told { route: by.route(), ..too_many(says, wait) });
        }
        let service = by.service();
        match bounds.and_then(|bounds| bounds.outlook()) {
            None => {}
            Some(LaneOutlook::Waits(most)) => by.of_service.push(format!(
                "{most} requests of this route are at {service}, which is as many as may be (max_fetches): it waits for a place."
            )),
            Some(LaneOutlook::Full(most)) => by.of_service.push(format!(
                "{most} requests of this route are at {service}, and as many wait (max_fetches): it is answered 503, or with what \
                 is stale."
            )),
        }
        if self.common.pressure.is_full() {
            let says = "The process takes nearly all memory that it may: no service is asked now, and it is answered 503, or with \
                        what is stale.";
            by.of_service.push(says.to_owned());
        }
        let upstream = settings.upstreams.get(by.way.upstream).map(Origins::stats);
        if upstream.is_some_and(|stats| stats.addresses.iter().all(|address| !address.is_up())) {
            by.of_service.push(format!(
                "No address of {service} answers now: it is answered 503 or 502, or with what is stale."
            ));
        }
        None
    }
}

/// Which listeners answer a request in the open over https only.
enum Redirected {
    No,
    /// All that it may come to.
    Always(String),
    /// Some of them.
    Sometimes(String),
}

impl Redirected {
    /// It comes to one at its URL's port, if there is one, and otherwise to any that speaks no TLS: a port may be another
    /// outside.
    fn of(listeners: &[ListenerRules], uri: &Uri) -> Redirected {
        let port = uri.port_u16().unwrap_or(80);
        let open = || listeners.iter().filter(|rules| !rules.speaks_tls);
        let at_port: Vec<_> = open().filter(|rules| rules.port == Some(port)).collect();
        let here = if at_port.is_empty() { open().collect() } else { at_port };
        let redirects = |rules: &&&ListenerRules| {
            let over_tls = rules.redirect_to_https.map(|port| target::over_tls(uri, port));
            over_tls.is_some_and(|over_tls| over_tls != OverTls::Already)
        };
        let redirecting: Vec<_> = here.iter().filter(redirects).collect();
        let names = || {
            let names = redirecting.iter().filter_map(|rules| rules.name.as_deref());
            match names.collect::<Vec<_>>()[..] {
                [] => "the listener answers".to_owned(),
                [name] => format!("the listener {name} answers"),
                ref names => format!("the listeners {} answer", names.join(", ")),
            }
        };
        match redirecting.len() {
            0 => Redirected::No,
            count if count == here.len() => {
                let mut names = names();
                names.replace_range(..1, "T");
                Redirected::Always(names)
            }
            _ => Redirected::Sometimes(names()),
        }
    }
}

fn too_many(says: &str, wait: Duration) -> Told {
    let wait = wait.as_secs_f64();
    refused("rate-limit", &format!("{says}; the next may come in {wait:.1} s."), 429)
}

impl By<'_> {
    fn before(self) -> Before {
        let (route, service) = (self.route(), self.service());
        let By { policy, remarks, of_service: remarks_of_service, .. } = self;
        Before { policy, route, service, remarks, remarks_of_service }
    }

    fn upstream(&self) -> Option<&Arc<str>> {
        self.written.and_then(|written| written.upstreams.get(self.way.upstream))
    }

    fn service(&self) -> String {
        self.upstream().map_or_else(|| "the service".to_owned(), |name| name.to_string())
    }

    fn route(&self) -> Option<RouteView> {
        let By { way, written, place, .. } = *self;
        let upstream = self.upstream();
        written.and_then(|written| written.route(place)).map(|route| RouteView {
            route: route.words.to_string(),
            line: route.line,
            upstream: upstream.map(|name| name.to_string()),
            is_cached: way.is_cached,
            rules: { route.rules }
                .into_iter()
                .map(|(rule, value, line)| RuleView { rule, value, line: Some(line) })
                .collect(),
        })
    }
}

fn unreadable(mistakes: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "Policy not understood", mistakes)
}

/// Whether the service is asked in another spelling than the key's, and need not take both for the same.
fn is_written_otherwise(uri: &Uri, policy: &Policy) -> bool {
    let by_recipe = policy.query_recipe().of_uri(uri);
    let uri = by_recipe.as_ref().unwrap_or(uri);
    RequestKey::of_uri(uri).is_some_and(|key| !key.is_for_spelling(uri))
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
