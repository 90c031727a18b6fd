//! Crowd: for whom the requests of the console's crowds are, where it names no host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::uri::{Authority, Scheme};
use larder_gateway::{config::Listener, downstream::ListenAddress};

/// How readers on this machine find the first port that sends nobody on to https. Where readers come by a Unix socket alone,
/// `localhost`.
pub(crate) fn host_of<'a>(
    listeners: impl Iterator<Item = (&'a ListenAddress, &'a Listener)>,
) -> (Scheme, Authority) {
    let mut ports = listeners.filter_map(|(address, listener)| match address {
        ListenAddress::Tcp(address) => Some((*address, listener)),
        ListenAddress::Unix(_) => None,
    });
    let first = ports.next();
    let answers =
        |(_, listener): &(SocketAddr, &Listener)| listener.rules.redirect_to_https.is_none();
    let chosen = first.filter(answers).or_else(|| ports.find(answers)).or(first);
    let Some((address, listener)) = chosen else {
        return (Scheme::HTTP, Authority::from_static("localhost"));
    };
    let scheme = if listener.config.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
    let address = SocketAddr::new(reachable(address.ip()), address.port());
    let host = address.to_string().parse();
    (scheme, host.expect("an address and a port are an authority"))
}

/// What listens on every address is reached from this machine at the loopback one.
fn reachable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}
