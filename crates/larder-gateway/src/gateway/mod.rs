//! Gateway: the cache between the readers' connections and the origins.
//!
//! ```text
//! reader ─▶ [inbound: loops, hop-by-hop fields, who asks] ─▶ [cache] ─▶ [outbound: hop-by-hop fields] ─▶ origin
//! ```
//!
//! What a reader claims to be forwarded for is dropped before the cache looks, unless it is trusted: then the
//! scheme and the host that it names are the request's own, in its key, in its route and in `Host`. What this
//! hop says of the reader is added behind the cache, since a hit has no use for it. An answer that varies by
//! that is therefore not stored. What this hop adds besides (`X-Forwarded-Host` and `-Proto`) is the same for
//! all requests of a key.

mod answers;
mod bounds;
mod client;
mod crowd;
mod deliver;
mod explaining;
mod hits;
mod inbound;
mod key_routes;
mod outbound;
mod own_writes;
mod past;
mod purging;
mod rate;
mod refreshing;
mod target;
mod upgrades;
mod watching;

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use http::{Request, Response, request::Parts};
use larder::http::{Body, CacheService, Client, HttpCache, Policy};
use larder_admin::{
    routes::{PastWait, RouteFigures, Traffic},
    trail::Trail,
};
use tower::Service;

#[doc(hidden)]
pub use self::hits::Unaccounted;
use self::{
    bounds::Bounds,
    inbound::{Admitted, Pace, span_of},
    outbound::Outbound,
    own_writes::Writes,
    past::Past,
    purging::Purges,
    rate::Rates,
    upgrades::Upgrades,
};
pub use self::{
    bounds::RouteStats,
    client::{GatewayConfig, ListenerRules},
    crowd::GatewayCrowds,
    own_writes::{FenceStats, ReadYourWrites},
    purging::{PurgeConfig, PurgeRequests},
    rate::RateLimit,
    refreshing::{RefreshCounts, RefreshLimits, Refresher},
    upgrades::{UpgradeLimits, UpgradeStats},
};
use crate::{
    downstream::http1::ReaderBody,
    ledger::{Ledger, Row, Standing},
    origins::Origins,
    own_answers::OwnAnswers,
    pressure::Pressure,
    routes::{Rewrite, Way, Ways},
    sample::Sample,
    seldom::Seldom,
    traces::Traces,
};

/// The time between two lines in the log that the origin is busy, or down.
const BUSY_LINE: Duration = Duration::from_secs(10);

/// The service of every connection: answers from the cache, or from an origin through it. Never
/// fails: what goes wrong becomes an answer. Clones share everything.
#[derive(Clone)]
pub struct Gateway {
    store: HttpCache,
    cache: CacheService<Outbound>,
    common: Arc<Common>,
}

/// What all connections have in common, and each points to once: a connection that waits is small.
struct Common {
    settings: ArcSwap<Settings>,
    /// Requests of addresses that had sent as many as they may.
    rate_limited: AtomicU64,
    /// Requests whose path belongs to different routes, by how it is read.
    ambiguous: AtomicU64,
    busy: Seldom,
    down: Seldom,
    purges: Purges,
    /// What is to be asked for again.
    refreshes: Arc<refreshing::State>,
    /// What became of the last requests.
    past: Past,
    upgrades: Upgrades,
    writes: Writes,
    pressure: Pressure,
    ledger: Ledger,
    /// None where nothing is traced.
    traces: OnceLock<Traces>,
    own_answers: OwnAnswers,
}

impl Common {
    fn own_answers_anew(&self) {
        self.own_answers.go_by(self.settings.load().ways.otherwise().policy.fields_of_answers());
    }
}

/// What may change while it runs. A request goes by those that it was let in by, to its end.
struct Settings {
    config: GatewayConfig,
    upstreams: Vec<Origins>,
    ways: Ways,
    /// None where addresses may ask as often as they like.
    rates: Option<Arc<Rates>>,
    /// Those of each listener that has its own, by its place.
    rates_of_listeners: Vec<Option<Arc<Rates>>>,
    /// Those of each way that has any, by its place.
    bounds: Vec<Option<Arc<Bounds>>>,
    /// What is known of the requests of each way, by its place.
    rows: Vec<Arc<Row>>,
    /// Chooses the plain hits that have an id.
    sampled_hits: Option<Sample>,
    /// Something depends on who asks.
    asks_for_clients: bool,
    /// What fits no route goes by the cache's own rules, which need not be said with each request.
    otherwise_as_cache: bool,
}

/// Put into a request's extensions: by which settings it was let in, and which upstream they have for it.
#[derive(Clone)]
struct LetIn {
    settings: Arc<Settings>,
    /// Its way's place among them.
    place: usize,
    upstream: usize,
    rewrite: Option<Arc<Rewrite>>,
    bounds: Option<Arc<Bounds>>,
    row: Arc<Row>,
    /// Of a crowd's request: how often its crowd has had a service asked.
    crowd_calls: Option<Arc<AtomicU64>>,
}

impl Settings {
    fn new(
        (cache, ledger): (&HttpCache, &Ledger),
        upstreams: Vec<Origins>,
        mut ways: Ways,
        config: GatewayConfig,
        before: Option<&Settings>,
    ) -> Arc<Settings> {
        assert!(
            ways.upstreams() <= upstreams.len(),
            "a way leads to an upstream that is not there"
        );
        let rows = ledger.enter(&mut ways);
        let otherwise_as_cache = *cache.policy() == *ways.otherwise().policy;
        let rates = rates_by(config.rate, before.and_then(|before| before.rates.as_ref()));
        let of_listeners = config.listeners.iter().enumerate().map(|(place, rules)| {
            let before = before.and_then(|before| before.rates_of_listeners.get(place)?.as_ref());
            rates_by(rules.rate, before)
        });
        let rates_of_listeners: Vec<_> = of_listeners.collect();
        let bounds = bounds::of_ways(&ways, before.map_or(&[], |before| &before.bounds));
        let of_routes = bounds.iter().flatten().any(|bounds| bounds.rates().is_some());
        let asks_for_clients = rates.is_some()
            || rates_of_listeners.iter().any(Option::is_some)
            || of_routes
            || ways.iter().any(|way| way.for_strangers.is_some());
        Arc::new(Settings {
            sampled_hits: past::sampled_hits(&config),
            config,
            upstreams,
            ways,
            rates,
            rates_of_listeners,
            bounds,
            rows,
            asks_for_clients,
            otherwise_as_cache,
        })
    }

    /// The rules of the way that a request fits, of those of its readers that are trusted. Where it might fit several: of
    /// requests that fit none.
    fn rules_of(&self, head: &Parts) -> &Arc<Policy> {
        let way = self.ways.way(&head.method, &head.uri, &head.headers);
        &way.unwrap_or_else(|_| self.ways.otherwise()).policy
    }

    /// How often addresses may ask that have come to this listener.
    fn rates(&self, listener: Option<u16>) -> Option<&Rates> {
        let own = listener.and_then(|place| self.rates_of_listeners.get(usize::from(place)));
        own.and_then(Option::as_deref).or(self.rates.as_deref())
    }

    /// The rules of a way for this client: of strangers less may count.
    fn rules_for<'a>(&self, way: &'a Way, client: Option<Client>) -> &'a Arc<Policy> {
        match &way.for_strangers {
            Some(policy)
                if client.is_none_or(|Client(ip)| !self.config.trusted_readers.contains(ip)) =>
            {
                policy
            }
            _ => &way.policy,
        }
    }
}

/// What is known of addresses stays while the limit does.
fn rates_by(limit: Option<RateLimit>, before: Option<&Arc<Rates>>) -> Option<Arc<Rates>> {
    let limit = limit?;
    let kept = before.filter(|rates| rates.limit == limit).cloned();
    Some(kept.unwrap_or_else(|| Arc::new(Rates::new(limit))))
}

impl Gateway {
    /// Puts `cache` before `upstream`. Its rules are the cache's.
    pub fn new(cache: &HttpCache, upstream: impl Into<Origins>, config: GatewayConfig) -> Self {
        let ways = Ways::one(Arc::new(cache.policy().clone()));
        Gateway::with_ways(cache, vec![upstream.into()], ways, config)
    }

    /// Puts `cache` before `upstreams`, each request by its way.
    ///
    /// # Panics
    ///
    /// If a way leads to an upstream that is not there.
    pub fn with_ways(
        cache: &HttpCache,
        upstreams: Vec<Origins>,
        ways: Ways,
        config: GatewayConfig,
    ) -> Self {
        let ledger = Ledger::new(cache.clone());
        let settings = Settings::new((cache, &ledger), upstreams, ways, config, None).into();
        let common = Arc::new(Common {
            settings,
            rate_limited: AtomicU64::new(0),
            ambiguous: AtomicU64::new(0),
            busy: Seldom::every(BUSY_LINE),
            down: Seldom::every(BUSY_LINE),
            purges: Purges::default(),
            refreshes: Arc::default(),
            past: Past::new(),
            upgrades: Upgrades::new(),
            writes: Writes::default(),
            pressure: Pressure::default(),
            ledger,
            traces: OnceLock::new(),
            own_answers: OwnAnswers::default(),
        });
        common.own_answers_anew();
        let (rules, of_cache) = (Arc::downgrade(&common), Arc::new(cache.policy().clone()));
        cache.stored_by(move |uri| match rules.upgrade() {
            Some(common) => common.settings.load().ways.stored_by(uri),
            // The cache outlives its gateway.
            None => vec![Arc::clone(&of_cache)],
        });
        let cached = cache.service(Outbound(Arc::clone(&common)));
        Gateway { store: cache.clone(), cache: cached, common }
    }

    /// From now on requests go by these; those under way go on as they began. What is stored stays, and is answered by
    /// the new rules.
    ///
    /// # Panics
    ///
    /// If a way leads to an upstream that is not there.
    pub fn reload(&self, upstreams: Vec<Origins>, ways: Ways, config: GatewayConfig) {
        let before = self.common.settings.load_full();
        let of = (&self.store, &self.common.ledger);
        let settings = Settings::new(of, upstreams, ways, config, Some(&before));
        self.common.settings.store(settings);
        self.common.own_answers_anew();
    }

    /// What connections answer themselves gets the fields that answers get where they fit no route.
    pub fn own_answers(&self) -> OwnAnswers {
        self.common.own_answers.clone()
    }

    /// What the requests of each route have come to, and what is stored for it, now. The rows together are all there was:
    /// what is refused before it is known which route it fits counts as `otherwise`, and what routes had that are gone as
    /// `other`. Purges are not among them.
    pub fn route_table(&self) -> Vec<RouteFigures> {
        let settings = self.common.settings.load();
        let ways = settings.ways.iter().zip(&settings.rows).zip(&settings.bounds);
        self.common.ledger.table(ways.map(|((way, row), bounds)| Standing {
            way,
            row,
            upstream: settings.config.upstream_names.get(way.upstream),
            bounds: bounds.as_ref().map(|bounds| bounds.stats()),
        }))
    }

    /// The last requests whose readers waited for a service: of each route one for each bucket of its
    /// [`waits`](RouteFigures::waits), where one is remembered. Requests have ids only where the configuration gives them.
    pub fn past_waits(&self) -> Vec<PastWait> {
        self.common.past.waits()
    }

    /// How many requests were finished, by what they were, and how often a service was asked.
    pub fn traffic(&self) -> Traffic {
        self.common.ledger.traffic()
    }

    /// How many requests were refused because their path has several readings, which fit different routes.
    pub fn ambiguous_paths(&self) -> u64 {
        self.common.ambiguous.load(Relaxed)
    }

    /// Requests that were answered 429 because their address had sent as many as it may, and addresses that were
    /// forgotten meanwhile because others took their places.
    pub fn rate_limited(&self) -> (u64, u64) {
        let settings = self.common.settings.load();
        let all = settings.rates.iter().chain(settings.rates_of_listeners.iter().flatten());
        let forgotten = all.map(|rates| rates.forgotten()).sum();
        (self.common.rate_limited.load(Relaxed), forgotten)
    }

    /// What has become of the requests of routes that have bounds of their own.
    pub fn routes(&self) -> Vec<RouteStats> {
        let settings = self.common.settings.load();
        settings.bounds.iter().flatten().map(|bounds| bounds.stats()).collect()
    }

    /// What keeps requests from their services while the process takes nearly all memory that it may: calm until somebody
    /// tells it how much that is.
    pub fn pressure(&self) -> Pressure {
        self.common.pressure.clone()
    }

    /// The upstreams of now.
    pub fn upstreams(&self) -> Vec<Origins> {
        self.common.settings.load().upstreams.clone()
    }

    /// What became of requests to purge that came where all requests come.
    pub fn purge_requests(&self) -> PurgeRequests {
        self.common.purges.requests()
    }

    /// From now on `trail` remembers who has purged what where requests come.
    pub fn remember(&self, trail: Trail) {
        self.common.purges.remember(trail);
    }

    /// From now on `traces` is told of the requests that it chooses. The first one counts.
    pub fn trace(&self, traces: Traces) {
        self.common.traces.set(traces).ok();
    }

    /// What became of fences, by which readers see their own writes.
    pub fn fences(&self) -> FenceStats {
        self.common.writes.stats()
    }

    /// What became of requests that offered another protocol.
    pub fn upgrades(&self) -> UpgradeStats {
        self.common.upgrades.stats()
    }
}

impl Service<Request<ReaderBody>> for Gateway {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReaderBody>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        let traced = self.traced(&head);
        let inbound = self.inbound(&mut head);
        let span = traced.map(|traced| span_of(traced, &mut head));
        match inbound {
            Err(turned_away) => {
                let mut answer = self.turn_away(turned_away, &head);
                if let Some(span) = span {
                    span.go_with(&mut answer, None);
                }
                return Box::pin(std::future::ready(Ok(answer)));
            }
            Ok(Admitted::ToPurge(config, purger)) => {
                return self.purge(config, head, purger, span);
            }
            Ok(Admitted::ToCache(terms)) => {
                if terms.pace == Pace::Any {
                    body.may_pause();
                }
                if let Some(bytes) = terms.max_body {
                    body.may_have(bytes);
                }
            }
        }
        Box::pin(self.deliver(head, body, span).map(|delivered| Ok(delivered.answer)))
    }
}
