//! Client: who asks, as this hop is told and as far as it believes that.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};
use larder::http::{
    Client,
    policy::forward::{Hop, HopName},
};

use super::upgrades::UpgradeLimits;
use crate::downstream::Peer;

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
    /// How many connections may go on in another protocol.
    pub upgrades: UpgradeLimits,
}

/// Carries the token; goes no further than this gateway.
pub(super) const LARDER_EXPLAIN: HeaderName = HeaderName::from_static("larder-explain");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Sent by a proxy on this machine that asks for readers who are elsewhere.
pub(super) const ASKS_FOR_OTHERS: [HeaderName; 3] =
    [header::FORWARDED, header::VIA, X_FORWARDED_FOR];

impl Default for GatewayConfig {
    fn default() -> Self {
        let name = HopName::new("larder").expect("a token");
        let upgrades = UpgradeLimits::default();
        GatewayConfig { name, trusted_peers: Vec::new(), explain_token: None, upgrades }
    }
}

impl GatewayConfig {
    /// This hop, as it received a request.
    pub(super) fn hop(&self, head: &Parts) -> Hop<'_> {
        let peer = head.extensions.get::<Peer>().map(|peer| peer.0.ip().to_canonical());
        let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let peer_is_trusted = self.trusts(peer);
        Hop { name: &self.name, version: head.version, peer, peer_is_trusted }
    }

    /// A listener for IPv6 is told of IPv4 addresses as mapped ones: they are the same peers.
    pub(super) fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_peers.iter().any(|trusted| trusted.to_canonical() == peer.to_canonical())
    }

    /// Who asks: the peer, or whom a trusted one asks for. The last that no trusted peer has said of itself
    /// counts: what stands before it, anybody may have written.
    pub(super) fn client(&self, headers: &HeaderMap, hop: Hop<'_>) -> Client {
        if !hop.peer_is_trusted {
            return Client(hop.peer);
        }
        let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
        let elements = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        let mut asked_for = elements.map_while(address);
        let untrusted = asked_for.find(|address| !self.trusts(*address));
        Client(untrusted.unwrap_or(hop.peer))
    }

    /// Keys tell how the cache is laid out.
    pub(super) fn may_see_keys(&self, headers: &HeaderMap, peer: IpAddr) -> bool {
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

/// One address of `X-Forwarded-For`: some write a port with it.
fn address(element: &[u8]) -> Option<IpAddr> {
    let element = str::from_utf8(element).ok()?.trim();
    let bare = || element.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || Some(element.parse::<SocketAddr>().ok()?.ip());
    element.parse().ok().or_else(with_port).or_else(bare)
}
