//! Client: who asks, as this hop is told and as far as it believes that.

use std::{
    hash::{BuildHasher, RandomState},
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU16,
    sync::Arc,
};

use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};
use larder::http::{
    Client,
    policy::forward::{self, ForwardedFields, Hop, HopName},
};

use super::own_writes::ReadYourWrites;
use super::purging::PurgeConfig;
use super::rate::RateLimit;
use super::refreshing::RefreshLimits;
use super::upgrades::UpgradeLimits;
use crate::{
    config::Written,
    downstream::{Peer, TrustedPeers},
};

/// What a gateway needs to know besides its cache and its origin.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// The name it signs `Via` and `CDN-Loop` with. Default `larder`, with a number drawn at random: gateways one behind
    /// the other are told apart by it, and it tells nothing of the machine.
    pub name: HopName,
    /// What holds for the peers of each listener, in the server's order. Of a listener that has none here nobody is
    /// believed. Default none.
    pub listeners: Vec<ListenerRules>,
    /// Readers whose `Cache-Control` counts where a route's rules have it count. Default all of them.
    pub trusted_readers: TrustedPeers,
    /// How many requests each address may send. Default as many as it likes.
    pub rate: Option<RateLimit>,
    /// What the upstreams are called, in their order, where that is told. Default nothing.
    pub upstream_names: Vec<Arc<str>>,
    /// Who sends this in the field `Larder-Explain` is told the keys of answers, as are readers on
    /// this machine that ask for nobody else. Default none: only those.
    pub explain_token: Option<String>,
    /// Whether answers that are no plain hits carry an id, by which it is told later what became of the request. Default yes.
    pub request_ids: bool,
    /// Which share of the plain hits carries one too, from 0 to 1: chosen by chance, each goes the whole way of a request.
    /// Default 0.
    pub sampled_hits: f64,
    /// What is written of the routes, for who asks why a request is answered as it is. Default nothing: then it is told
    /// without routes and lines.
    pub written: Option<Arc<Written>>,
    /// How readers see their own writes at once. Default none: as soon as what they have changed is purged.
    pub read_your_writes: Option<ReadYourWrites>,
    /// Who may purge where requests come. Default nobody: `PURGE` is a method like any other.
    pub purge: Option<PurgeConfig>,
    /// How what purges have marked stale is asked for again.
    pub refresh: RefreshLimits,
    /// How many connections may go on in another protocol.
    pub upgrades: UpgradeLimits,
}

/// What holds for the peers of one listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenerRules {
    /// Peers whose word about those behind them is believed. Default none.
    pub trusted_peers: TrustedPeers,
    /// In which fields. Default `X-Forwarded-*`.
    pub forwarded: ForwardedFields,
    /// At which port of the same host readers are to ask over TLS who ask in the open, or for whom a trusted peer does.
    /// Default none: they are answered.
    pub redirect_to_https: Option<NonZeroU16>,
    /// What the listener is called, for who asks what becomes of a request. Default nothing.
    pub name: Option<Arc<str>>,
    /// Its port, where that is known before it is opened. Default none.
    pub port: Option<u16>,
    /// All that comes to it is https. Default no.
    pub speaks_tls: bool,
    /// How many requests an address may send here, counted apart from the others. Default [`GatewayConfig::rate`], counted
    /// together with all that have no bound of their own.
    pub rate: Option<RateLimit>,
    /// The most bytes of content of a request here, beside what its route allows. Default no bound.
    pub max_request_body: Option<u64>,
}

static NONE: ListenerRules = ListenerRules {
    trusted_peers: TrustedPeers::NONE,
    forwarded: ForwardedFields::XForwarded,
    redirect_to_https: None,
    name: None,
    port: None,
    speaks_tls: false,
    rate: None,
    max_request_body: None,
};

/// Carries the token; goes no further than this gateway.
pub(super) const LARDER_EXPLAIN: HeaderName = HeaderName::from_static("larder-explain");
pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Sent by a proxy on this machine that asks for readers who are elsewhere.
pub(super) const ASKS_FOR_OTHERS: [HeaderName; 3] =
    [header::FORWARDED, header::VIA, X_FORWARDED_FOR];

impl Default for GatewayConfig {
    fn default() -> Self {
        // The system's random numbers seed it anew for each process.
        let number = RandomState::new().hash_one(std::process::id());
        let name = HopName::numbered("larder", number).expect("a token");
        GatewayConfig {
            name,
            listeners: Vec::new(),
            trusted_readers: TrustedPeers::NONE,
            rate: None,
            upstream_names: Vec::new(),
            explain_token: None,
            request_ids: true,
            sampled_hits: 0.0,
            written: None,
            read_your_writes: None,
            purge: None,
            refresh: RefreshLimits::default(),
            upgrades: UpgradeLimits::default(),
        }
    }
}

impl ListenerRules {
    /// In which fields a peer is believed.
    pub(super) fn believed(&self, peer: &Peer) -> Option<ForwardedFields> {
        self.trusted_peers.trusts(peer.address).then_some(self.forwarded)
    }
}

impl GatewayConfig {
    /// What holds for the peers of this listener.
    pub(super) fn rules(&self, listener: u16) -> &ListenerRules {
        self.listeners.get(usize::from(listener)).unwrap_or(&NONE)
    }

    /// This hop, as it received a request.
    pub(super) fn hop(&self, head: &Parts) -> Hop<'_> {
        let peer = head.extensions.get::<Peer>();
        let believed = peer.and_then(|peer| self.rules(peer.listener).believed(peer));
        Hop { name: &self.name, version: head.version, peer: peer.and_then(Peer::ip), believed }
    }

    /// Who asks: the peer, or whom a trusted one asks for. Those of whom no address is known count as one.
    pub(super) fn client(&self, head: &Parts, hop: Hop<'_>) -> Client {
        let client = self.named_client(head, hop).or(hop.peer);
        Client(client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
    }

    /// For whom a trusted peer asks, if it says so.
    pub(super) fn named_client(&self, head: &Parts, hop: Hop<'_>) -> Option<IpAddr> {
        let rules = self.rules(head.extensions.get::<Peer>()?.listener);
        let trusts = |ip| rules.trusted_peers.contains(ip);
        forward::client(&head.headers, hop.believed?, trusts)
    }

    /// Keys tell how the cache is laid out.
    pub(super) fn may_see_keys(&self, headers: &HeaderMap, peer: Option<&Peer>) -> bool {
        if peer.is_some_and(Peer::is_on_this_machine)
            && !ASKS_FOR_OTHERS.iter().any(|name| headers.contains_key(name))
        {
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
