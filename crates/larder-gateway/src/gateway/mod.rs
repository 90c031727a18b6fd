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
mod explaining;
mod hits;
mod key_routes;
mod outbound;
mod own_writes;
mod past;
mod purging;
mod rate;
mod refreshing;
mod target;
mod upgrades;

use std::{
    convert::Infallible,
    future::Future,
    net::{IpAddr, Ipv4Addr},
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::FutureExt;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts,
    uri::Authority,
};
use http_body::Body as HttpBody;
use http_body_util::Empty;
use larder::http::{
    Answering, Body, BoxError, Bypass, CacheService, Client, Handled, HttpCache, MayTakeLong,
    Policy, Rules, ShowHandled, ShowKey, ShowTags, Verdict,
    policy::{
        forward::{self, Admission},
        invalidate::is_safe,
        proxy_status::ProxyError,
    },
};
use larder_admin::{
    routes::{PastWait, RouteFigures, Traffic},
    trail::Trail,
};
use tower::Service;

use self::{
    answers::{
        LogLine, answer_of, is_for_want_of_a_turn, is_for_want_of_an_address,
        is_for_want_of_memory, is_for_want_of_room, passes, tell_busy, tell_down,
    },
    bounds::Bounds,
    client::LARDER_EXPLAIN,
    outbound::Outbound,
    own_writes::Writes,
    past::{Asked, AsksHow, LARDER_REQUEST, Past},
    purging::{Purger, Purges, asks_for_others},
    rate::{Rates, TooMany},
    target::OverTls,
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
    access::Note,
    downstream::{Peer, http1::ReaderBody},
    ledger::{Ledger, Row, Standing},
    origins::Origins,
    pressure::Pressure,
    problem::Problem,
    routes::{Ambiguous, OTHERWISE, Rewrite, Way, Ways},
    sample::Sample,
    seldom::Seldom,
    traces::{ServerSpan, Traced, Traces},
    upgrade::Upgrade,
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
}

/// What may change while it runs. A request goes by those that it was let in by, to its end.
struct Settings {
    config: GatewayConfig,
    upstreams: Vec<Origins>,
    ways: Ways,
    /// None where addresses may ask as often as they like.
    rates: Option<Arc<Rates>>,
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

/// How much of a request has to come in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Usual,
    /// It may pause for as long as its sender likes.
    Any,
}

/// What a request says of trailers. It is about this hop, and said to the next in this one's own words.
struct AboutTrailers {
    takes_them: bool,
    /// Which may come behind its content.
    announced: Option<HeaderValue>,
}

impl AboutTrailers {
    fn of(request: &HeaderMap) -> AboutTrailers {
        AboutTrailers {
            takes_them: forward::takes_trailers(request),
            announced: request.get(header::TRAILER).cloned(),
        }
    }

    fn say_to(self, request: &mut HeaderMap) {
        if self.takes_them {
            request.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        if let Some(announced) = self.announced {
            request.insert(header::TRAILER, announced);
        }
    }
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

/// A request that goes no further, with the answer to it.
struct TurnedAway {
    answer: Box<Response<Body>>,
    /// None: it was not yet known which way it would go.
    row: Option<Arc<Row>>,
}

impl From<Box<Response<Body>>> for TurnedAway {
    fn from(answer: Box<Response<Body>>) -> TurnedAway {
        TurnedAway { answer, row: None }
    }
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
        // What is known of addresses stays while the limit does.
        let kept = before.and_then(|before| before.rates.clone());
        let kept = kept.filter(|rates| Some(rates.limit) == config.rate);
        let rates = kept.or_else(|| config.rate.map(|limit| Arc::new(Rates::new(limit))));
        let bounds = bounds::of_ways(&ways, before.map_or(&[], |before| &before.bounds));
        let of_routes = bounds.iter().flatten().any(|bounds| bounds.rates().is_some());
        let asks_for_clients =
            rates.is_some() || of_routes || ways.iter().any(|way| way.for_strangers.is_some());
        Arc::new(Settings {
            sampled_hits: past::sampled_hits(&config),
            config,
            upstreams,
            ways,
            rates,
            bounds,
            rows,
            asks_for_clients,
            otherwise_as_cache,
        })
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
        let forgotten = settings.rates.as_ref().map_or(0, |rates| rates.forgotten());
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

    /// Whether a request that has just come is traced: as its peer says, where that is believed, or by chance.
    fn traced(&self, head: &Parts) -> Option<Traced> {
        let traces = self.common.traces.get()?;
        let is_believed = || self.common.settings.load().config.hop(head).believed.is_some();
        traces.begin(&head.headers, is_believed())
    }

    /// Lets the request in, or answers that this hop lets it go no further.
    fn inbound(&self, head: &mut Parts) -> Result<Admitted, TurnedAway> {
        if head.method == Method::TRACE {
            return Err(no_trace().into());
        }
        let settings = self.common.settings.load_full();
        let hop = settings.config.hop(head);
        let may_see_keys =
            settings.config.may_see_keys(&head.headers, head.extensions.get::<Peer>());
        let asks_how = head.headers.remove(LARDER_EXPLAIN).is_some() && may_see_keys;
        let fences = match &settings.config.read_your_writes {
            Some(_) => own_writes::take(&mut head.headers),
            None => Vec::new(),
        };
        let purging = settings.config.purge.as_ref().filter(|purge| purge.takes(&head.method));
        let asks_for_others = purging.is_some() && asks_for_others(&head.headers);
        // Whatever may be stored is kept without trailers: nobody need ask for them.
        let may_have_trailers = !matches!(head.method, Method::GET | Method::HEAD);
        let about_trailers = may_have_trailers.then(|| AboutTrailers::of(&head.headers));
        match forward::admit(&head.method, &mut head.headers, hop) {
            Admission::Granted => {
                let client = settings.config.client(head, hop);
                if let Some(note) = head.extensions.get::<Note>()
                    && !client.0.is_unspecified()
                {
                    note.client(client.0);
                }
                head.extensions.insert(client);
                if let Some(TooMany { wait }) =
                    settings.rates.as_ref().and_then(|rates| rates.take(client).err())
                {
                    self.common.rate_limited.fetch_add(1, Relaxed);
                    return Err(refused(&too_many(wait)).into());
                }
                let is_named_https = hop.believed.is_some() && target::follow(head);
                if hop.believed.is_some() {
                    head.extensions.insert(ShowTags);
                }
                if let Some(purging) = purging {
                    let purger = Purger::of(&settings.config, head, hop, asks_for_others);
                    return Ok(Admitted::ToPurge(purging.clone(), purger));
                }
                let listener = head.extensions.get().map_or(0, |peer: &Peer| peer.listener);
                let port = settings.config.rules(listener).redirect_to_https;
                if let (Some(port), false) = (port, is_named_https) {
                    match target::over_tls(&head.uri, port) {
                        OverTls::Already => {}
                        OverTls::At(location) => return Err(Box::new(moved(location)).into()),
                        OverTls::Nowhere => return Err(refused(&in_the_open()).into()),
                    }
                }
                if may_see_keys {
                    head.extensions.insert(ShowKey);
                }
                if asks_how {
                    head.extensions.insert(AsksHow);
                }
                if let Some(rules) = &settings.config.read_your_writes {
                    let (writes, now) = (&self.common.writes, || self.store.not_before_now());
                    if let Some(since) = writes.since(rules, &host_of(head), &fences, now) {
                        head.extensions.insert(since);
                    }
                    if !is_safe(&head.method) {
                        let is_secure = head.uri.scheme_str() == Some("https");
                        let write = Write { host: host_of(head), is_secure, rules: rules.clone() };
                        head.extensions.insert(write);
                    }
                }
                if let Some(about) = about_trailers {
                    about.say_to(&mut head.headers);
                }
                self.set_out(settings, head, client).map(Admitted::ToCache)
            }
            Admission::Loop => Err(refused(&Problem::new(
                StatusCode::LOOP_DETECTED,
                "Loop",
                "this request has been at this gateway before",
                ProxyError::ProxyLoopDetected,
            ))
            .into()),
            Admission::Final => Err(refused(&Problem::new(
                StatusCode::OK,
                "The end of the way",
                "Max-Forwards let this request come as far as this gateway",
                ProxyError::ProxyInternalResponse,
            ))
            .into()),
        }
    }

    /// Sends the request its way.
    fn set_out(
        &self,
        settings: Arc<Settings>,
        head: &mut Parts,
        client: Client,
    ) -> Result<Pace, TurnedAway> {
        let (way, place) = settings
            .ways
            .way_and_place(&head.method, &head.uri, &head.headers)
            .map_err(|ambiguous| {
                self.common.ambiguous.fetch_add(1, Relaxed);
                refused(&in_several_routes(ambiguous))
            })?;
        let row = &settings.rows[place];
        let turned_away =
            |problem: &Problem| TurnedAway { answer: refused(problem), row: Some(Arc::clone(row)) };
        let bounds = settings.bounds[place].clone();
        if let Some(TooMany { wait }) =
            bounds.as_ref().and_then(|bounds| bounds.let_in(client).err())
        {
            return Err(turned_away(&too_many(wait)));
        }
        let policy = settings.rules_for(way, Some(client));
        let Way { upstream, is_cached, rewrite, protocols, times, .. } = way;
        let (upstream, rewrite, extensions) = (*upstream, rewrite.clone(), &mut head.extensions);
        let is_otherwise = std::ptr::eq(policy, &settings.ways.otherwise().policy);
        if !(settings.otherwise_as_cache && is_otherwise) {
            extensions.insert(Rules(Arc::clone(policy)));
        }
        if let Some(note) = extensions.get::<Note>()
            && let Some(name) = settings.config.upstream_names.get(upstream)
        {
            note.upstream(name);
        }
        let is_upgraded = match extensions.get::<Upgrade>() {
            None => false,
            Some(upgrade) => {
                let limits = settings.config.upgrades;
                let granted = self.common.upgrades.grant(upgrade, protocols, client, limits);
                granted.map_err(|problem| turned_away(&problem))?
            }
        };
        // What goes on in another protocol is no answer for others.
        if is_upgraded || !is_cached {
            extensions.insert(Bypass);
        }
        let pace = match times {
            Some(times) => {
                extensions.insert(Arc::clone(times));
                if times.is_stream {
                    // Its upstream counts it among its streams.
                    extensions.insert(MayTakeLong);
                    Pace::Any
                } else {
                    Pace::Usual
                }
            }
            None => Pace::Usual,
        };
        let row = Arc::clone(row);
        extensions.insert(ShowHandled);
        let crowd_calls = None;
        extensions.insert(LetIn { settings, place, upstream, rewrite, bounds, row, crowd_calls });
        Ok(pace)
    }
}

/// The span of a request that was let in, or turned away: then its route may not be known.
fn span_of(traced: Traced, head: &mut Parts) -> ServerSpan {
    let let_in = head.extensions.get::<LetIn>();
    let route = let_in.and_then(|LetIn { settings, place, .. }| {
        settings.config.written.as_ref()?.words(*place).filter(|words| ***words != *OTHERWISE)
    });
    let route = route.cloned();
    ServerSpan::of(traced, head, route.as_ref())
}

/// Put into the extensions of a request that may change something: how its reader is told to see that.
#[derive(Clone)]
struct Write {
    rules: ReadYourWrites,
    host: String,
    is_secure: bool,
}

/// Whose cookies they are: the host that a request is for, without a port.
fn host_of(head: &Parts) -> String {
    let named = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let named = named.and_then(|host| host.parse::<Authority>().ok());
    let host = head.uri.host().or(named.as_ref().map(Authority::host));
    host.unwrap_or_default().to_ascii_lowercase()
}

/// Where a request that was let in goes.
enum Admitted {
    ToCache(Pace),
    ToPurge(PurgeConfig, Purger),
}

/// What a browser's script may not read (cookies, credentials) a service would send back in the answer's body (RFC 9110
/// §9.3.8).
fn no_trace() -> Box<Response<Body>> {
    const OFFERED: HeaderValue =
        HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    let (detail, error) = ("TRACE is not offered", ProxyError::HttpRequestDenied);
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let mut answer = refused(&Problem::new(status, "Method not allowed", detail, error));
    answer.headers_mut().insert(header::ALLOW, OFFERED);
    answer
}

/// Where all is sent on to https, what names no host cannot be.
fn in_the_open() -> Problem {
    let detail = "this is answered over https only, and names no host to send its reader to";
    let error = ProxyError::HttpRequestDenied;
    Problem::new(StatusCode::MISDIRECTED_REQUEST, "Misdirected request", detail, error)
}

fn too_many(wait: Duration) -> Problem {
    let detail = "this address has sent more requests than it may";
    let error = ProxyError::HttpRequestDenied;
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "Too many requests", detail, error)
        .retry_after(wait)
}

fn in_several_routes(ambiguous: Ambiguous) -> Problem {
    let error = ProxyError::HttpRequestDenied;
    Problem::new(StatusCode::BAD_REQUEST, "Ambiguous path", ambiguous.to_string(), error)
}

fn refused(problem: &Problem) -> Box<Response<Body>> {
    Box::new(problem.to_response().map(Body::from))
}

/// For good, and with the method as it is (RFC 9110 §15.4.9).
fn moved(location: HeaderValue) -> Response<Body> {
    let mut moved = Response::new(Body::from(Bytes::new()));
    *moved.status_mut() = StatusCode::PERMANENT_REDIRECT;
    moved.headers_mut().insert(header::LOCATION, location);
    moved
}

impl Gateway {
    /// A task of its own: what is asked for is done, also where the client does not wait for it.
    fn purge(
        &self,
        config: PurgeConfig,
        head: Parts,
        purger: Purger,
        span: Option<ServerSpan>,
    ) -> <Gateway as Service<Request<ReaderBody>>>::Future {
        let line = LogLine::begin(&head);
        let purges = self.common.purges.clone();
        let refresher = config.refreshes.then(|| Refresher::new(self));
        let cache = self.store.clone();
        let purging = tokio::spawn(purges.answer(config, cache, head, purger, refresher));
        Box::pin(async move {
            let answer = purging.await.unwrap_or_else(|_| {
                let mut broken = Response::new(Bytes::new());
                *broken.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                broken
            });
            let mut answer = answer.map(Body::from);
            if let Some(line) = line {
                line.end(&answer);
            }
            if let Some(span) = span {
                span.go_with(&mut answer, None);
            }
            Ok(answer)
        })
    }
}

impl Gateway {
    /// Sends a request that nobody waits for the way of all requests, by the settings of now. None where that is no way
    /// for it.
    fn ask_again(&self, request: Request<()>) -> Option<Answering> {
        let (mut head, ()) = request.into_parts();
        let settings = self.common.settings.load_full();
        self.set_out(settings, &mut head, NOBODY).ok()?;
        Some(self.cache.clone().call(Request::from_parts(head, Empty::<Bytes>::new())))
    }

    /// Sends a crowd's request the way of all requests, by the settings of now, and counts it as a reader's. `crowd_calls` goes
    /// up each time that a service is asked for it. Dropping it leaves it as a reader does.
    async fn send_counted(
        mut self,
        request: Request<()>,
        crowd_calls: Arc<AtomicU64>,
    ) -> Delivered {
        let (mut head, ()) = request.into_parts();
        let settings = self.common.settings.load_full();
        if let Err(turned_away) = self.set_out(settings, &mut head, NOBODY) {
            return Delivered { answer: self.turn_away(turned_away), verdict: Verdict::Refused };
        }
        if let Some(let_in) = head.extensions.get_mut::<LetIn>() {
            let_in.crowd_calls = Some(crowd_calls);
        }
        self.deliver(head, Empty::<Bytes>::new(), None).await
    }

    /// The answer to a request that goes no further, which is counted.
    fn turn_away(&self, TurnedAway { answer, row }: TurnedAway) -> Response<Body> {
        row.as_ref().unwrap_or_else(|| self.common.ledger.otherwise()).refused();
        *answer
    }

    /// Has the cache answer a request that was let in, and counts what that was. The cache begins at once. `span`: it is
    /// traced.
    fn deliver<B>(
        &mut self,
        mut head: Parts,
        body: B,
        mut span: Option<ServerSpan>,
    ) -> impl Future<Output = Delivered> + Send + use<B>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (line, asked) = (LogLine::begin(&head), Asked::of(&head));
        let write = head.extensions.remove::<Write>();
        let row = head.extensions.get::<LetIn>().map(|let_in| Arc::clone(&let_in.row));
        let row = row.unwrap_or_else(|| Arc::clone(self.common.ledger.otherwise()));
        let passes = passes(&head.method, head.extensions.get::<Bypass>().is_some());
        let answering = self.cache.call(Request::from_parts(head, body));
        let (common, store) =
            (Arc::clone(&self.common), write.as_ref().map(|_| self.store.clone()));
        async move {
            let answered = answering.await;
            let failed = |verdict| {
                row.failed(verdict);
                verdict
            };
            let refused = || {
                row.refused();
                Verdict::Refused
            };
            let verdict = match &answered {
                Ok(answer) => match answer.extensions().get::<Handled>() {
                    Some(handled) => {
                        row.answered(handled);
                        if let Some(span) = &mut span {
                            span.handled(handled);
                        }
                        handled.verdict
                    }
                    // The cache has not said it, though it was asked to.
                    None => Verdict::Pass,
                },
                Err(error) if is_for_want_of_room(error) => refused(),
                Err(_) if passes.is_some() => failed(Verdict::Pass),
                Err(_) => failed(Verdict::Miss),
            };
            let has_failed = answered.is_err();
            let mut answer = answered.unwrap_or_else(|error| {
                match &error {
                    error if is_for_want_of_a_turn(error) => tell_busy(&common.busy),
                    error if is_for_want_of_an_address(error) => tell_down(error, &common.down),
                    // Told where it was refused.
                    error if is_for_want_of_memory(error) => {}
                    error => tracing::warn!("{error}"),
                }
                answer_of(&error, passes).map(Body::from)
            });
            if let Some(asked) = asked {
                common.past.note(asked, &mut answer, has_failed);
            }
            if let (Some(Write { rules, host, is_secure }), Some(store)) = (write, store)
                && (answer.status().is_success() || answer.status().is_redirection())
            {
                let (about, now) = ((&*host, is_secure), || store.not_before_now());
                common.writes.say(&rules, about, now, answer.headers_mut());
            }
            if let Some(line) = line {
                line.end(&answer);
            }
            if let Some(span) = span {
                let request_id = answer.headers().get(LARDER_REQUEST).cloned();
                span.go_with(&mut answer, request_id);
            }
            Delivered { answer, verdict }
        }
    }
}

/// Who asks where nobody does.
const NOBODY: Client = Client(IpAddr::V4(Ipv4Addr::UNSPECIFIED));

/// An answer, and what its request was to the cache.
struct Delivered {
    answer: Response<Body>,
    verdict: Verdict,
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
                let mut answer = self.turn_away(turned_away);
                if let Some(span) = span {
                    span.go_with(&mut answer, None);
                }
                return Box::pin(std::future::ready(Ok(answer)));
            }
            Ok(Admitted::ToPurge(config, purger)) => {
                return self.purge(config, head, purger, span);
            }
            Ok(Admitted::ToCache(Pace::Usual)) => {}
            Ok(Admitted::ToCache(Pace::Any)) => body.may_pause(),
        }
        Box::pin(self.deliver(head, body, span).map(|delivered| Ok(delivered.answer)))
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use http::{HeaderMap, Uri, Version};
    use larder::{
        Cache,
        http::{
            Client, Policy,
            policy::forward::{ForwardedFields, Hop, HopName},
        },
    };

    use super::*;
    use crate::{
        downstream::TrustedPeer,
        upstream::{Upstream, UpstreamConfig},
    };

    fn gateway(config: GatewayConfig) -> Gateway {
        let store = Cache::builder().max_bytes(1 << 20).build();
        let cache = HttpCache::new(store, Policy::guarded());
        let origin = "http://127.0.0.1:9".parse().unwrap();
        Gateway::new(&cache, Upstream::new(origin, UpstreamConfig::default()), config)
    }

    fn trusting(peers: &[&str], forwarded: ForwardedFields) -> GatewayConfig {
        let trusted_peers = peers.iter().map(|peer| peer.parse::<TrustedPeer>().unwrap()).collect();
        let listeners =
            vec![ListenerRules { trusted_peers, forwarded, ..ListenerRules::default() }];
        GatewayConfig { listeners, ..GatewayConfig::default() }
    }

    /// The head of a request from `peer` once it was let in, or the status it was refused with.
    fn let_in(
        gateway: &Gateway,
        peer: &str,
        fields: &[(&'static str, &'static str)],
    ) -> Result<Parts, StatusCode> {
        let mut request = Request::get("http://example.org/a");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let peer = Peer::from(format!("{peer}:4711").parse::<SocketAddr>().unwrap());
        let (mut head, ()) = request.extension(peer).body(()).unwrap().into_parts();
        gateway.inbound(&mut head).map_err(|turned| turned.answer.status())?;
        Ok(head)
    }

    #[test]
    fn keys_are_shown_on_this_machine_and_to_who_has_the_token() {
        let explain_token = Some("open sesame".to_owned());
        let gateway = gateway(GatewayConfig { explain_token, ..GatewayConfig::default() });
        let token = ("larder-explain", "open sesame");
        let forwarded = ("x-forwarded-for", "198.51.100.7");
        let rows = [
            ("127.0.0.1", vec![], true),
            ("[::1]", vec![], true),
            // A proxy on this machine asks for somebody who may be anywhere.
            ("127.0.0.1", vec![forwarded], false),
            ("127.0.0.1", vec![forwarded, token], true),
            ("198.51.100.7", vec![], false),
            ("198.51.100.7", vec![("larder-explain", "open says me")], false),
            ("198.51.100.7", vec![token], true),
        ];
        for (peer, fields, may) in rows {
            let head = let_in(&gateway, peer, &fields).unwrap();
            assert_eq!(head.extensions.get::<ShowKey>().is_some(), may, "{peer} {fields:?}");
            assert!(!head.headers.contains_key("larder-explain"), "it goes no further");
        }
    }

    #[test]
    fn without_a_token_nobody_elsewhere_sees_keys() {
        let gateway = gateway(GatewayConfig::default());
        let head = let_in(&gateway, "198.51.100.7", &[("larder-explain", "")]).unwrap();
        assert!(head.extensions.get::<ShowKey>().is_none());
    }

    #[test]
    fn the_cache_does_not_see_what_a_reader_claims_unless_it_is_trusted() {
        let gateway = gateway(trusting(&["198.51.100.1"], ForwardedFields::XForwarded));
        let claim = [("x-forwarded-proto", "https"), ("x-one", "1"), ("connection", "x-one")];
        let head = let_in(&gateway, "198.51.100.7", &claim).unwrap();
        assert!(head.headers.is_empty(), "{:?}", head.headers);
        let head = let_in(&gateway, "198.51.100.1", &claim).unwrap();
        assert_eq!(head.uri, "https://example.org/a");
        assert!(head.headers.is_empty(), "{:?}", head.headers);
    }

    #[test]
    fn the_client_is_the_peer_or_whom_a_trusted_one_asks_for() {
        let trusted = ["198.51.100.1", "198.51.100.2"];
        let gateway = gateway(trusting(&trusted, ForwardedFields::XForwarded));
        let rows = [
            ("198.51.100.7", "203.0.113.1", "198.51.100.7"),
            ("198.51.100.1", "203.0.113.1", "203.0.113.1"),
            ("198.51.100.1", "203.0.113.1, 203.0.113.2", "203.0.113.2"),
            ("198.51.100.1", "203.0.113.1, 198.51.100.2", "203.0.113.1"),
            ("198.51.100.1", "198.51.100.2", "198.51.100.1"),
            ("198.51.100.1", "203.0.113.1, unknown", "198.51.100.1"),
            ("198.51.100.1", "203.0.113.1:4711", "203.0.113.1"),
            ("198.51.100.1", "[2001:db8::1]", "2001:db8::1"),
            ("198.51.100.1", "[2001:db8::1]:4711", "2001:db8::1"),
            ("198.51.100.1", "", "198.51.100.1"),
            // What stands before it may be anything: it is not read.
            ("198.51.100.1", "\u{e9}, 203.0.113.1", "203.0.113.1"),
            ("198.51.100.1", "203.0.113.1, \u{e9}", "198.51.100.1"),
            // A listener for IPv6 is told of it so.
            ("[::ffff:198.51.100.1]", "203.0.113.1", "203.0.113.1"),
            ("198.51.100.1", "203.0.113.1, ::ffff:198.51.100.2", "203.0.113.1"),
            ("[::ffff:198.51.100.7]", "203.0.113.1", "198.51.100.7"),
        ];
        for (peer, forwarded_for, client) in rows {
            let head = let_in(&gateway, peer, &[("x-forwarded-for", forwarded_for)]).unwrap();
            let client = Client(client.parse().unwrap());
            assert_eq!(head.extensions.get(), Some(&client), "{peer} for {forwarded_for:?}");
        }
        let lines = [("x-forwarded-for", "203.0.113.1"), ("x-forwarded-for", "203.0.113.2")];
        let head = let_in(&gateway, "198.51.100.1", &lines).unwrap();
        assert_eq!(head.extensions.get(), Some(&Client("203.0.113.2".parse().unwrap())));
        // A line that cannot be read hides those before it: they may be the reader's own.
        let lines = [("x-forwarded-for", "203.0.113.1"), ("x-forwarded-for", "\u{e9}")];
        let head = let_in(&gateway, "198.51.100.1", &lines).unwrap();
        assert_eq!(head.extensions.get(), Some(&Client("198.51.100.1".parse().unwrap())));
    }

    /// Who says it × in which fields × whether it is believed.
    #[test]
    fn a_request_is_for_what_a_trusted_peer_says_in_the_fields_that_count() {
        let as_it_came = ("http://example.org/a", "example.org");
        let as_it_was_said = ("https://pub.example:8443/a", "pub.example:8443");
        let x_forwarded = vec![
            ("x-forwarded-for", "203.0.113.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "pub.example:8443"),
        ];
        let forwarded =
            vec![("forwarded", r#"for=203.0.113.7;proto=https;host="pub.example:8443""#)];
        let both =
            [&x_forwarded[..], &[("forwarded", "for=203.0.113.9;proto=http;host=evil")]].concat();
        let other_way = [
            &forwarded[..],
            &[
                ("x-forwarded-for", "203.0.113.9"),
                ("x-forwarded-proto", "ftp"),
                ("x-forwarded-host", "evil"),
            ],
        ]
        .concat();
        for (believed, said, is_believed) in [
            (ForwardedFields::XForwarded, &x_forwarded, true),
            (ForwardedFields::XForwarded, &forwarded, false),
            (ForwardedFields::XForwarded, &both, true),
            (ForwardedFields::Forwarded, &x_forwarded, false),
            (ForwardedFields::Forwarded, &forwarded, true),
            (ForwardedFields::Forwarded, &other_way, true),
        ] {
            let gateway = gateway(trusting(&["198.51.100.0/24", "2001:db8::/32"], believed));
            for (peer, is_trusted) in
                [("198.51.100.1", true), ("[2001:db8::5]", true), ("192.0.2.1", false)]
            {
                let fields = [&[("host", "example.org")], &said[..]].concat();
                let head = let_in(&gateway, peer, &fields).unwrap();
                let what = format!("{peer}, {believed:?}: {said:?}");
                let (uri, host) =
                    if is_trusted && is_believed { as_it_was_said } else { as_it_came };
                assert_eq!(
                    (head.uri.to_string().as_str(), head.headers["host"].to_str().unwrap()),
                    (uri, host),
                    "{what}"
                );
                let client = match is_trusted && is_believed {
                    true => "203.0.113.7",
                    false => peer.trim_matches(['[', ']']),
                };
                let client = Client(client.parse().unwrap());
                assert_eq!(head.extensions.get(), Some(&client), "{what}");
                let left = ["x-forwarded-proto", "x-forwarded-host"];
                assert!(left.iter().all(|name| !head.headers.contains_key(*name)), "{what}");
            }
        }
    }

    #[test]
    fn a_trusted_peer_that_says_nonsense_is_as_if_it_said_nothing() {
        let gateway = gateway(trusting(&["198.51.100.1"], ForwardedFields::XForwarded));
        for field in [
            ("x-forwarded-proto", "gopher"),
            ("x-forwarded-proto", ""),
            ("x-forwarded-host", "a b"),
            ("x-forwarded-host", "/etc"),
            ("x-forwarded-host", ""),
        ] {
            let head = let_in(&gateway, "198.51.100.1", &[("host", "example.org"), field]).unwrap();
            assert_eq!(head.uri, "http://example.org/a", "{field:?}");
            assert_eq!(head.headers["host"], "example.org", "{field:?}");
        }
    }

    #[test]
    fn a_request_that_was_here_before_is_refused() {
        let name = HopName::new("edge").unwrap();
        let gateway = gateway(GatewayConfig { name, ..GatewayConfig::default() });
        let refused = let_in(&gateway, "127.0.0.1", &[("cdn-loop", "other, edge; v=1")]);
        assert_eq!(refused.unwrap_err(), StatusCode::LOOP_DETECTED);
    }

    #[test]
    fn without_a_name_only_a_gateway_s_own_requests_are_refused() {
        let (one, other) = (GatewayConfig::default(), GatewayConfig::default());
        let mut fields = HeaderMap::new();
        let peer = "127.0.0.1".parse().ok();
        let hop = Hop { name: &one.name, version: Version::HTTP_11, peer, believed: None };
        forward::sign(&Uri::from_static("http://a/"), &mut fields, hop, None);
        let signed = fields["cdn-loop"].to_str().unwrap().to_owned().leak();
        let seen = [("cdn-loop", &*signed)];
        let refused = let_in(&gateway(one), "127.0.0.1", &seen);
        assert_eq!(refused.unwrap_err(), StatusCode::LOOP_DETECTED, "{signed}");
        assert!(let_in(&gateway(other), "127.0.0.1", &seen).is_ok(), "{signed}");
    }
}
