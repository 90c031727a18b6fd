//! Trusted: the peers whose word about those behind them is believed, by address, by network, or by the way they come.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::peer::PeerAddress;

/// One entry of a list of trusted peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustedPeer {
    /// An address, or all of a network.
    Network(IpNet),
    /// Whoever can open the Unix socket that is listened on: its mode and its owner say who.
    Unix,
}

impl From<IpAddr> for TrustedPeer {
    fn from(ip: IpAddr) -> Self {
        TrustedPeer::Network(ip.into())
    }
}

impl fmt::Display for TrustedPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TrustedPeer::Network(network) if network.prefix_len() == network.max_prefix_len() => {
                network.addr().fmt(f)
            }
            TrustedPeer::Network(network) => network.fmt(f),
            TrustedPeer::Unix => f.write_str("unix"),
        }
    }
}

/// The text is for whoever wrote the list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoPeer(String);

impl FromStr for TrustedPeer {
    type Err = NoPeer;

    fn from_str(text: &str) -> Result<Self, NoPeer> {
        if text == "unix" {
            return Ok(TrustedPeer::Unix);
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(ip.into());
        }
        if let Ok(network) = text.parse::<IpNet>() {
            let whole = network.trunc();
            // One of the two is a slip, and only whoever wrote it knows which.
            return match whole == network {
                true => Ok(TrustedPeer::Network(network)),
                false => Err(NoPeer(format!(
                    "{text} begins in the middle of a network: say \"{whole}\", or \"{}\" alone",
                    network.addr()
                ))),
            };
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Err(NoPeer(format!("without the port: \"{}\"", address.ip())));
        }
        let wanted =
            "say an address (\"192.0.2.1\"), a network (\"10.0.0.0/8\", \"fd00::/8\") or \"unix\"";
        Err(NoPeer(wanted.to_owned()))
    }
}

/// All of a list. To look one up takes a few steps, however long the list is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedPeers {
    /// First and last addresses, in order, none touching the next.
    v4: Vec<(Ipv4Addr, Ipv4Addr)>,
    v6: Vec<(Ipv6Addr, Ipv6Addr)>,
    unix: bool,
}

impl TrustedPeers {
    /// Nobody.
    pub const NONE: TrustedPeers = TrustedPeers { v4: Vec::new(), v6: Vec::new(), unix: false };

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        *self == TrustedPeers::NONE
    }

    /// Whether it is one of these.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match ip.to_canonical() {
            IpAddr::V4(ip) => is_in(&self.v4, ip),
            IpAddr::V6(ip) => is_in(&self.v6, ip),
        }
    }

    /// Whether a peer that is there is one of these.
    pub fn trusts(&self, address: PeerAddress) -> bool {
        match address {
            PeerAddress::Known(address) | PeerAddress::Told(address) => self.contains(address.ip()),
            PeerAddress::Unix => self.unix,
            // What it says may be the word of whoever is behind it.
            PeerAddress::Untold => false,
        }
    }
}

fn is_in<A: Ord>(ranges: &[(A, A)], ip: A) -> bool {
    let next = ranges.partition_point(|(first, _)| *first <= ip);
    next.checked_sub(1).is_some_and(|at| ip <= ranges[at].1)
}

impl<P: Into<TrustedPeer>> FromIterator<P> for TrustedPeers {
    fn from_iter<I: IntoIterator<Item = P>>(peers: I) -> Self {
        let (mut v4, mut v6, mut unix) = (Vec::new(), Vec::new(), false);
        for peer in peers {
            match peer.into() {
                TrustedPeer::Unix => unix = true,
                TrustedPeer::Network(IpNet::V4(network)) => v4.push(network),
                TrustedPeer::Network(IpNet::V6(network)) => match as_v4(network) {
                    Some(network) => v4.push(network),
                    None => v6.push(network),
                },
            }
        }
        let mut v4: Vec<_> = Ipv4Net::aggregate(&v4)
            .into_iter()
            .map(|network| (network.network(), network.broadcast()))
            .collect();
        let mut v6: Vec<_> = Ipv6Net::aggregate(&v6)
            .into_iter()
            .map(|network| (network.network(), network.broadcast()))
            .collect();
        v4.sort_unstable();
        v6.sort_unstable();
        TrustedPeers { v4, v6, unix }
    }
}

/// IPv4 addresses may be written as a listener for IPv6 is told of them.
fn as_v4(network: Ipv6Net) -> Option<Ipv4Net> {
    let prefix = network.prefix_len().checked_sub(96)?;
    Ipv4Net::new(network.addr().to_ipv4_mapped()?, prefix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_in_its_network_and_nowhere_else() {
        let list =
            ["10.0.0.0/8", "192.0.2.1", "192.0.2.4/30", "fd00::/8", "::ffff:203.0.113.0/120"];
        let peers: TrustedPeers =
            list.iter().map(|text| text.parse::<TrustedPeer>().unwrap()).collect();
        for (ip, is_trusted) in [
            ("9.255.255.255", false),
            ("10.0.0.0", true),
            ("10.255.255.255", true),
            ("::ffff:10.1.2.3", true),
            ("11.0.0.0", false),
            ("192.0.2.0", false),
            ("192.0.2.1", true),
            ("192.0.2.2", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("203.0.113.255", true),
            ("203.0.114.0", false),
            ("fcff::1", false),
            ("fd00::", true),
            ("fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true),
            ("fe00::", false),
            ("::1", false),
        ] {
            assert_eq!(peers.contains(ip.parse().unwrap()), is_trusted, "{ip}");
        }
        assert!(!peers.trusts(PeerAddress::Unix) && !peers.trusts(PeerAddress::Untold));
        let everybody: TrustedPeers = ["0.0.0.0/0", "::/0", "unix"]
            .iter()
            .map(|text| text.parse::<TrustedPeer>().unwrap())
            .collect();
        for ip in ["0.0.0.0", "255.255.255.255", "::", "ffff::1"] {
            assert!(everybody.contains(ip.parse().unwrap()), "{ip}");
        }
        assert!(everybody.trusts(PeerAddress::Unix) && !everybody.trusts(PeerAddress::Untold));
        assert!(!TrustedPeers::NONE.contains([127, 0, 0, 1].into()));
    }

    #[test]
    fn what_is_no_peer_is_told_with_what_would_be_one() {
        for (text, words) in [
            ("10.1.2.3/8", "say \"10.0.0.0/8\", or \"10.1.2.3\" alone"),
            ("10.0.0.0/33", "say an address"),
            ("10.0.0.0/", "say an address"),
            ("192.0.2.1:80", "without the port: \"192.0.2.1\""),
            ("localhost", "say an address"),
            ("Unix", "say an address"),
            ("", "say an address"),
        ] {
            let said = text.parse::<TrustedPeer>().unwrap_err().to_string();
            assert!(said.contains(words), "{text}: {said}");
        }
    }
}
