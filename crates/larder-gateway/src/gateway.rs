//! Gateway: the cache between the readers' connections and the origins.
//!
//! ```text
//! reader ─▶ [inbound: loops, hop-by-hop fields, who asks] ─▶ [cache] ─▶ [outbound: hop-by-hop fields] ─▶ origin
//! ```
//!
//! What a reader claims to be forwarded for is dropped before the cache looks, unless it is trusted;
//! what this hop says of it is added behind the cache, since a hit has no use for it. An answer that
//! varies by that is therefore not stored. What this hop adds besides (`X-Forwarded-Host` and
//! `-Proto`) is the same for all requests of a key.

use std::{
    convert::Infallible,
    future::Future,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header, request::Parts,
};
use larder::http::{
    Body, BorrowedRequest, Bypass, CacheService, Client, HitResponse, HttpCache, NoAnswer, Rules,
    ShowKey,
    policy::{
        cookies::Left,
        fields::Fields,
        forward::{self, Admission, Hop, HopName, LineFate},
        proxy_status::ProxyError,
    },
};
use tower::Service;

use crate::{
    downstream::{
        Peer,
        http1::{FastPath, PeekedRequest, ReaderBody},
    },
    problem::Problem,
    routes::{Way, Ways},
    seldom::Seldom,
    upstream::{Upstream, UpstreamError},
};

/// What a gateway needs to know besides its cache and its origin.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// The name it signs `Via` and `CDN-Loop` with. Gateways one behind the other need different
    /// ones: each refuses what it has seen. Default `larder`.
    pub name: HopName,
    /// Peers whose `X-Forwarded-*` and `Forwarded` are believed. Default none.
    pub trusted_peers: Vec<IpAddr>,
    /// Who sends this in the field `Larder-Explain` is told the keys of answers, as are readers on
    /// this machine that ask for nobody else. Default none: only those.
    pub explain_token: Option<String>,
}

/// Carries the token; goes no further than this gateway.
const LARDER_EXPLAIN: HeaderName = HeaderName::from_static("larder-explain");
/// What is said where no wait has shown how long it may take: about as long as a turn is waited for.
const RETRY_AFTER: Duration = Duration::from_secs(5);
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The time between two lines in the log that the origin is busy.
const BUSY_LINE: Duration = Duration::from_secs(10);
/// Sent by a proxy on this machine that asks for readers who are elsewhere.
const ASKS_FOR_OTHERS: [HeaderName; 3] = [header::FORWARDED, header::VIA, X_FORWARDED_FOR];

impl Default for GatewayConfig {
    fn default() -> Self {
        let name = HopName::new("larder").expect("a token");
        GatewayConfig { name, trusted_peers: Vec::new(), explain_token: None }
    }
}

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
    busy: Seldom,
}

/// What may change while it runs. A request goes by those that it was let in by, to its end.
struct Settings {
    config: GatewayConfig,
    upstreams: Vec<Upstream>,
    ways: Ways,
    /// What fits no route goes by the cache's own rules, which need not be said with each request.
    otherwise_as_cache: bool,
}

/// Put into a request's extensions: by which settings it was let in, and which upstream they have for it.
#[derive(Clone)]
struct LetIn {
    settings: Arc<Settings>,
    upstream: usize,
}

impl Settings {
    fn new(
        cache: &HttpCache,
        upstreams: Vec<Upstream>,
        ways: Ways,
        config: GatewayConfig,
    ) -> Arc<Settings> {
        assert!(
            ways.upstreams() <= upstreams.len(),
            "a way leads to an upstream that is not there"
        );
        let otherwise_as_cache = *cache.policy() == *ways.otherwise().policy;
        Arc::new(Settings { config, upstreams, ways, otherwise_as_cache })
    }
}

impl Gateway {
    /// Puts `cache` before `upstream`. Its rules are the cache's.
    pub fn new(cache: &HttpCache, upstream: Upstream, config: GatewayConfig) -> Self {
        let ways = Ways::one(Arc::new(cache.policy().clone()));
        Gateway::with_ways(cache, vec![upstream], ways, config)
    }

    /// Puts `cache` before `upstreams`, each request by its way.
    ///
    /// # Panics
    ///
    /// If a way leads to an upstream that is not there.
    pub fn with_ways(
        cache: &HttpCache,
        upstreams: Vec<Upstream>,
        ways: Ways,
        config: GatewayConfig,
    ) -> Self {
        let settings = Settings::new(cache, upstreams, ways, config).into();
        let common = Arc::new(Common { settings, busy: Seldom::every(BUSY_LINE) });
        let cached = cache.service(Outbound(Arc::clone(&common)));
        Gateway { store: cache.clone(), cache: cached, common }
    }

    /// From now on requests go by these; those under way go on as they began. What is stored stays, and is answered by
    /// the new rules.
    ///
    /// # Panics
    ///
    /// If a way leads to an upstream that is not there.
    pub fn reload(&self, upstreams: Vec<Upstream>, ways: Ways, config: GatewayConfig) {
        self.common.settings.store(Settings::new(&self.store, upstreams, ways, config));
    }

    /// The upstreams of now.
    pub fn upstreams(&self) -> Vec<Upstream> {
        self.common.settings.load().upstreams.clone()
    }

    /// Lets the request in, or answers that this hop lets it go no further.
    fn inbound(&self, head: &mut Parts) -> Result<(), Problem> {
        let settings = self.common.settings.load_full();
        let hop = settings.config.hop(head);
        let may_see_keys = settings.config.may_see_keys(&head.headers, hop.peer);
        let client = settings.config.client(&head.headers, hop);
        head.headers.remove(LARDER_EXPLAIN);
        match forward::admit(&head.method, &mut head.headers, hop) {
            Admission::Granted => {
                head.extensions.insert(client);
                if may_see_keys {
                    head.extensions.insert(ShowKey);
                }
                set_out(settings, head);
                Ok(())
            }
            Admission::Loop => Err(Problem::new(
                StatusCode::LOOP_DETECTED,
                "Loop",
                "this request has been at this gateway before",
                ProxyError::ProxyLoopDetected,
            )),
            Admission::Final => Err(Problem::new(
                StatusCode::OK,
                "The end of the way",
                "Max-Forwards let this request come as far as this gateway",
                ProxyError::ProxyInternalResponse,
            )),
        }
    }
}

impl GatewayConfig {
    /// This hop, as it received a request.
    fn hop(&self, head: &Parts) -> Hop<'_> {
        let peer = head.extensions.get::<Peer>().map(|peer| peer.0.ip().to_canonical());
        let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let peer_is_trusted = self.trusts(peer);
        Hop { name: &self.name, version: head.version, peer, peer_is_trusted }
    }

    /// A listener for IPv6 is told of IPv4 addresses as mapped ones: they are the same peers.
    fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_peers.iter().any(|trusted| trusted.to_canonical() == peer.to_canonical())
    }

    /// Who asks: the peer, or whom a trusted one asks for. The last that no trusted peer has said of itself
    /// counts: what stands before it, anybody may have written.
    fn client(&self, headers: &HeaderMap, hop: Hop<'_>) -> Client {
        if !hop.peer_is_trusted {
            return Client(hop.peer);
        }
        let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
        let elements = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        let mut asked_for = elements.map_while(address);
        let untrusted = asked_for.find(|address| !self.trusts(*address));
        Client(untrusted.unwrap_or(hop.peer))
    }
}

/// One address of `X-Forwarded-For`: some write a port with it.
fn address(element: &[u8]) -> Option<IpAddr> {
    let element = str::from_utf8(element).ok()?.trim();
    let bare = || element.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || Some(element.parse::<SocketAddr>().ok()?.ip());
    element.parse().ok().or_else(with_port).or_else(bare)
}

/// Sends the request its way.
fn set_out(settings: Arc<Settings>, head: &mut Parts) {
    let way = settings.ways.way(&head.method, &head.uri);
    let Way { policy, upstream, is_cached } = way;
    let (upstream, extensions) = (*upstream, &mut head.extensions);
    if !(settings.otherwise_as_cache && std::ptr::eq(way, settings.ways.otherwise())) {
        extensions.insert(Rules(Arc::clone(policy)));
    }
    if !is_cached {
        extensions.insert(Bypass);
    }
    extensions.insert(LetIn { settings, upstream });
}

impl GatewayConfig {
    /// Keys tell how the cache is laid out.
    fn may_see_keys(&self, headers: &HeaderMap, peer: IpAddr) -> bool {
        if peer.is_loopback() && !ASKS_FOR_OTHERS.iter().any(|name| headers.contains_key(name)) {
            return true;
        }
        let sent = headers.get(LARDER_EXPLAIN).map(HeaderValue::as_bytes);
        match (&self.explain_token, sent) {
            // Hashes are compared in constant time: how long it takes tells nothing of the token.
            (Some(token), Some(sent)) => blake3::hash(token.as_bytes()) == blake3::hash(sent),
            _ => false,
        }
    }
}

impl FastPath for Gateway {
    fn hit(
        &self,
        request: PeekedRequest<'_, '_>,
        peer: SocketAddr,
        head: &mut Vec<u8>,
    ) -> Option<HitResponse> {
        // Only the whole way has a line in the log for each request.
        if tracing::enabled!(tracing::Level::DEBUG) {
            return None;
        }
        let peer = peer.ip().to_canonical();
        let settings = self.common.settings.load();
        let peer_is_trusted = settings.config.trusts(peer);
        let PeekedRequest { method, scheme, host, target, lines } = request;
        let Way { policy, is_cached: true, .. } = settings.ways.borrowed(method, host, target)?
        else {
            return None;
        };
        let ignored_cookies = policy.ignored_cookies();
        let mut shows_key = peer.is_loopback();
        let mut decides = false;
        lines.retain(|line| {
            let is = |name: &HeaderName| line.name.eq_ignore_ascii_case(name.as_str().as_bytes());
            match line.name.len() {
                14 if is(&LARDER_EXPLAIN) => decides = true,
                6 if !ignored_cookies.is_empty() && is(&header::COOKIE) => {
                    match ignored_cookies.left_of(line.value) {
                        Left::All => {}
                        Left::Some(_) => decides = true,
                        Left::Nothing => return false,
                    }
                }
                3 | 9 | 15 => shows_key &= !ASKS_FOR_OTHERS.iter().any(is),
                _ => {}
            }
            let fate = forward::fate(line.name, line.value, peer_is_trusted);
            decides |= fate == LineFate::Decides;
            fate == LineFate::Stays
        });
        if decides {
            return None;
        }
        let fields = Fields::of_lines(lines);
        let policy = Some(&**policy);
        let request = BorrowedRequest { method, scheme, host, target, fields, shows_key, policy };
        self.store.fast_hit(request, head)
    }

    fn is_crowded(&self) -> bool {
        self.store.is_crowded()
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
        if let Err(problem) = self.inbound(&mut head) {
            let answer = problem.to_response().map(Body::from);
            return Box::pin(std::future::ready(Ok(answer)));
        }
        let line = LogLine::begin(&head);
        let answering = self.cache.call(Request::from_parts(head, body));
        let common = Arc::clone(&self.common);
        Box::pin(async move {
            let answer = answering.await.unwrap_or_else(|error| {
                match is_for_want_of_a_turn(&error) {
                    true => tell_busy(&common.busy),
                    false => tracing::warn!("{error}"),
                }
                problem_of(&error).to_response().map(Body::from)
            });
            if let Some(line) = line {
                line.end(&answer);
            }
            Ok(answer)
        })
    }
}

/// The one line of a request in the log, at `debug`. Queries may be anybody's secrets and stay out.
struct LogLine {
    what: String,
    began: Instant,
}

impl LogLine {
    fn begin(head: &Parts) -> Option<LogLine> {
        let host = || head.uri.authority().map_or("", |authority| authority.as_str());
        let what = || format!("{} {}{}", head.method, host(), head.uri.path());
        let is_wanted = tracing::enabled!(tracing::Level::DEBUG);
        is_wanted.then(|| LogLine { what: what(), began: Instant::now() })
    }

    fn end(self, answer: &Response<Body>) {
        let took_ms = self.began.elapsed().as_secs_f64() * 1e3;
        let status = answer.status().as_u16();
        let lines = answer.headers().get_all("cache-status");
        let verdict = lines.iter().next_back().and_then(|line| line.to_str().ok()).unwrap_or("-");
        tracing::debug!("{} {status} in {took_ms:.1} ms: {verdict}", self.what);
    }
}

fn is_for_want_of_a_turn(error: &NoAnswer) -> bool {
    matches!(error, NoAnswer::NoTurn { .. } | NoAnswer::TooManyFetches)
}

/// One line while requests find the origin too busy, not one for each.
fn tell_busy(busy: &Seldom) {
    if let Some(refused) = busy.one_more() {
        tracing::warn!(
            refused,
            "{refused} requests got 503, because as many wait for the origin as may, or as their path, \
             host or client may have"
        );
    }
}

/// What the reader is told when there is no answer. Where the origin is stays inside.
fn problem_of(error: &NoAnswer) -> Problem {
    if let Some(error) = error.origin::<UpstreamError>() {
        return error.to_problem();
    }
    match error {
        NoAnswer::TookTooLong { .. } => Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "Origin slow",
            "the origin did not answer in time",
            ProxyError::HttpResponseTimeout,
        ),
        NoAnswer::TooManyFetches => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Busy",
            "too many answers are being fetched",
            ProxyError::ConnectionLimitReached,
        )
        .retry_after(RETRY_AFTER),
        NoAnswer::NoTurn { waited } => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Busy",
            "too many requests wait for the origin",
            ProxyError::ConnectionLimitReached,
        )
        .retry_after(*waited),
        NoAnswer::ShutDown => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Stopping",
            "this gateway stops, and asks the origin no more",
            ProxyError::DestinationUnavailable,
        ),
        // What else there may be is the origin's fault as well.
        _ => Problem::new(
            StatusCode::BAD_GATEWAY,
            "Origin failed",
            "the origin gave no answer that could be used",
            ProxyError::ConnectionTerminated,
        ),
    }
}

/// Between the cache and an origin: the origin's answers lose what was meant for this hop only.
#[derive(Clone)]
struct Outbound(Arc<Common>);

impl Service<Request<Body>> for Outbound {
    type Response = Response<crate::upstream::UpstreamBody>;
    type Error = UpstreamError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, UpstreamError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        let mut fields = std::mem::take(&mut head.headers);
        let let_in = head.extensions.get::<LetIn>().cloned();
        let LetIn { settings, upstream } = let_in.unwrap_or_else(|| {
            // Whatever asks without a reader goes by what holds now.
            LetIn { settings: self.0.settings.load_full(), upstream: 0 }
        });
        forward::sign(&head.uri, &mut fields, settings.config.hop(&head));
        head.headers = fields;
        let asking = settings.upstreams[upstream].clone().call(Request::from_parts(head, body));
        Box::pin(async move {
            let (mut head, body) = asking.await?.into_parts();
            head.headers = forward::response(head.headers, &settings.config.name, head.version);
            if forward::varies_by_peer(&head.headers) {
                // The cache does not know what this hop has told of the reader.
                head.headers.append(header::VARY, HeaderValue::from_static("*"));
            }
            Ok(Response::from_parts(head, body))
        })
    }
}

#[cfg(test)]
mod tests {
    use larder::{Cache, http::Policy};

    use super::*;
    use crate::upstream::UpstreamConfig;

    fn gateway(config: GatewayConfig) -> Gateway {
        let store = Cache::builder().max_bytes(1 << 20).build();
        let cache = HttpCache::new(store, Policy::guarded());
        let origin = "http://127.0.0.1:9".parse().unwrap();
        Gateway::new(&cache, Upstream::new(origin, UpstreamConfig::default()), config)
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
        let peer = Peer(format!("{peer}:4711").parse().unwrap());
        let (mut head, ()) = request.extension(peer).body(()).unwrap().into_parts();
        gateway.inbound(&mut head).map_err(|problem| problem.status())?;
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
        let trusted_peers = vec!["198.51.100.1".parse().unwrap()];
        let gateway = gateway(GatewayConfig { trusted_peers, ..GatewayConfig::default() });
        let claim = [("x-forwarded-proto", "https"), ("x-one", "1"), ("connection", "x-one")];
        let head = let_in(&gateway, "198.51.100.7", &claim).unwrap();
        assert!(head.headers.is_empty(), "{:?}", head.headers);
        let head = let_in(&gateway, "198.51.100.1", &claim).unwrap();
        assert_eq!(head.headers["x-forwarded-proto"], "https");
    }

    #[test]
    fn the_client_is_the_peer_or_whom_a_trusted_one_asks_for() {
        let trusted_peers = ["198.51.100.1", "198.51.100.2"].map(|peer| peer.parse().unwrap());
        let trusted_peers = trusted_peers.to_vec();
        let gateway = gateway(GatewayConfig { trusted_peers, ..GatewayConfig::default() });
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

    #[test]
    fn a_request_that_was_here_before_is_refused() {
        let gateway = gateway(GatewayConfig::default());
        let refused = let_in(&gateway, "127.0.0.1", &[("cdn-loop", "other, larder; v=1")]);
        assert_eq!(refused.unwrap_err(), StatusCode::LOOP_DETECTED);
    }
}
