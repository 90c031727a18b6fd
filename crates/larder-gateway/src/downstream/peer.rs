//! Peer: who is at the other end of a connection, and at which listener it came in.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU16,
};

use rustls::CipherSuite;

/// Who sent a request; in the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it is.
    pub address: PeerAddress,
    /// The listener that it came to, counted from 0 in the server's order.
    pub listener: u16,
    /// What its connection was encrypted with, if it was.
    pub tls: Option<TlsFacts>,
}

/// What a connection over TLS has agreed on: the number of its cipher suite (RFC 8446 §B.4), which tells the version as
/// well. Small, since each connection has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsFacts(NonZeroU16);

impl TlsFacts {
    /// None: 0 is the suite that encrypts nothing.
    pub(crate) fn of(suite: CipherSuite) -> Option<TlsFacts> {
        NonZeroU16::new(suite.into()).map(TlsFacts)
    }

    /// `TLSv1.3` or `TLSv1.2`: there are no others here, and the suites of one are not those of the other.
    pub fn version(&self) -> &'static str {
        if self.0.get() >> 8 == 0x13 { "TLSv1.3" } else { "TLSv1.2" }
    }

    /// By its registered name, or nothing: `TLS13_AES_256_GCM_SHA384`.
    pub fn cipher(&self) -> &'static str {
        CipherSuite::from(self.0.get()).as_str().unwrap_or_default()
    }
}

/// Where a peer is, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerAddress {
    /// There: the system says so.
    Known(SocketAddr),
    /// There: a trusted proxy says so in a PROXY header. What is that proxy's own machine is not this one.
    Told(SocketAddr),
    /// On this machine, at the other end of a Unix socket.
    Unix,
    /// Behind a proxy that does not tell (`LOCAL` and `UNKNOWN` of the PROXY protocol).
    Untold,
}

impl Peer {
    /// Its address, if it is known. A listener for IPv6 is told of IPv4 addresses as mapped ones: they are the same.
    pub fn ip(&self) -> Option<IpAddr> {
        match self.address {
            PeerAddress::Known(address) | PeerAddress::Told(address) => {
                Some(address.ip().to_canonical())
            }
            PeerAddress::Unix | PeerAddress::Untold => None,
        }
    }

    /// Whether it connects from an address of this machine alone. Whoever comes over a Unix socket does not, and is a
    /// proxy.
    pub(crate) fn is_on_this_machine(&self) -> bool {
        matches!(self.address, PeerAddress::Known(address) if address.ip().to_canonical().is_loopback())
    }
}

/// At the first listener.
impl<I: Into<IpAddr>> From<(I, u16)> for Peer {
    fn from(address: (I, u16)) -> Self {
        SocketAddr::from(address).into()
    }
}

/// At the first listener.
impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Peer { address: PeerAddress::Known(address), listener: 0, tls: None }
    }
}
