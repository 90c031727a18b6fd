//! Inbound: what a request is let in as, or why it goes no further.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts, uri::Authority,
};
use larder::http::{
    Body, Bypass, Client, MayTakeLong, Rules, ShowHandled, ShowKey, ShowTags, StoredBy,
    policy::{
        forward::{self, Admission},
        invalidate::is_safe,
        proxy_status::ProxyError,
    },
};

use super::{
    Gateway, LetIn, Settings,
    client::LARDER_EXPLAIN,
    own_writes::{self, ReadYourWrites},
    past::AsksHow,
    purging::{PurgeConfig, Purger, asks_for_others},
    rate::TooMany,
    target::{self, OverTls},
};
use crate::{
    access::Note,
    downstream::{Peer, http1::refusal::Refusal},
    ledger::Row,
    problem::Problem,
    routes::{Ambiguous, OTHERWISE, Way},
    traces::{ServerSpan, Traced},
    upgrade::Upgrade,
};

/// How much of a request has to come in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    Usual,
    /// It may pause for as long as its sender likes.
    Any,
}

/// How a request's content may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) pace: Pace,
    /// So many bytes of it at most.
    pub(super) max_body: Option<u64>,
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

/// A request that goes no further, with the answer to it.
pub(super) struct TurnedAway {
    pub(super) answer: Box<Response<Body>>,
    /// None: it was not yet known which way it would go.
    pub(super) row: Option<Arc<Row>>,
}

impl From<Box<Response<Body>>> for TurnedAway {
    fn from(answer: Box<Response<Body>>) -> TurnedAway {
        TurnedAway { answer, row: None }
    }
}

impl Gateway {
    /// Whether a request that has just come is traced: as its peer says, where that is believed, or by chance.
    pub(super) fn traced(&self, head: &Parts) -> Option<Traced> {
        let traces = self.common.traces.get()?;
        let is_believed = || self.common.settings.load().config.hop(head).believed.is_some();
        traces.begin(&head.headers, is_believed())
    }

    /// Lets the request in, or answers that this hop lets it go no further.
    pub(super) fn inbound(&self, head: &mut Parts) -> Result<Admitted, TurnedAway> {
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
                let listener = head.extensions.get::<Peer>().map(|peer| peer.listener);
                let rates = settings.rates(listener);
                if let Some(TooMany { wait }) = rates.and_then(|rates| rates.take(client).err()) {
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
    pub(super) fn set_out(
        &self,
        settings: Arc<Settings>,
        head: &mut Parts,
        client: Client,
    ) -> Result<Terms, TurnedAway> {
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
        let Way { upstream, is_cached, rewrite, protocols, times, max_request_body, .. } = way;
        let listener = head.extensions.get().map_or(0, |peer: &Peer| peer.listener);
        let of_listener = settings.config.rules(listener).max_request_body;
        // The smaller counts.
        let max_body = [*max_request_body, of_listener].into_iter().flatten().min();
        if let (Some(most), Some(length)) = (max_body, told_length(&head.headers))
            && length > most
        {
            let mut turned_away = turned_away(&Refusal::ContentTooLarge.to_problem());
            turned_away.answer.extensions_mut().insert(Refusal::ContentTooLarge);
            return Err(turned_away);
        }
        let policy = settings.rules_for(way, Some(client));
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
        if !is_safe(&head.method) && !settings.ways.routes().is_empty() {
            let rules = settings.ways.stored_by(&head.uri);
            // What is stored by its own rules alone it may add to.
            if !(*is_cached && matches!(&rules[..], [only] if Arc::ptr_eq(only, &way.policy))) {
                extensions.insert(StoredBy(rules.into()));
            }
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
        Ok(Terms { pace, max_body })
    }
}

/// The span of a request that was let in, or turned away: then its route may not be known.
pub(super) fn span_of(traced: Traced, head: &mut Parts) -> ServerSpan {
    let let_in = head.extensions.get::<LetIn>();
    let route = let_in.and_then(|LetIn { settings, place, .. }| {
        settings.config.written.as_ref()?.words(*place).filter(|words| ***words != *OTHERWISE)
    });
    let route = route.cloned();
    ServerSpan::of(traced, head, route.as_ref())
}

/// Put into the extensions of a request that may change something: how its reader is told to see that.
#[derive(Clone)]
pub(super) struct Write {
    pub(super) rules: ReadYourWrites,
    pub(super) host: String,
    pub(super) is_secure: bool,
}

/// How much content is announced.
fn told_length(fields: &HeaderMap) -> Option<u64> {
    fields.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whose cookies they are: the host that a request is for, without a port.
fn host_of(head: &Parts) -> String {
    let named = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let named = named.and_then(|host| host.parse::<Authority>().ok());
    let host = head.uri.host().or(named.as_ref().map(Authority::host));
    host.unwrap_or_default().to_ascii_lowercase()
}

/// Where a request that was let in goes.
pub(super) enum Admitted {
    ToCache(Terms),
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use http::{HeaderMap, Request, Uri, Version};
    use larder::{
        Cache,
        http::{
            Client, HttpCache, Policy,
            policy::forward::{ForwardedFields, Hop, HopName},
        },
    };

    use super::*;
    use crate::{
        GatewayConfig, ListenerRules,
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
