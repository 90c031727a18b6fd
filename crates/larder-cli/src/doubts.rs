//! Doubts: what looks wrong about an upstream at the start. It is told, not refused: a name may be known
//! later, and a service start later.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs, UdpSocket},
    thread,
};

use larder_gateway::upstream::Origin;

/// Warns in the log, in a while: names may take long to look up, and the start does not wait for that.
///
/// `own` are the addresses that this process listens on, each with its flag.
pub(crate) fn tell(upstream: &Origin, own: Vec<(&'static str, SocketAddr)>) {
    let upstream = upstream.clone();
    // A thread that is not joined: a lookup cannot be cut short, and must not hold up the end.
    let started = thread::Builder::new().name("doubts".to_owned()).spawn(move || {
        if let Some(doubt) = doubt(&upstream, &own) {
            tracing::warn!("{doubt}");
        }
    });
    if let Err(error) = started {
        tracing::debug!("the upstream is not looked up: {error}");
    }
}

fn doubt(upstream: &Origin, own: &[(&'static str, SocketAddr)]) -> Option<String> {
    let found = (upstream.host(), upstream.port()).to_socket_addrs().and_then(|found| {
        let found: Vec<_> = found.collect();
        if found.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(found) }
    });
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            return Some(format!(
                "there is no address for {:?} of --upstream {upstream}: until there is, what is not cached \
                 is answered 502 ({error})",
                upstream.host()
            ));
        }
    };
    let (flag, address) =
        own.iter().find(|(_, own)| found.iter().any(|found| reaches(*found, *own)))?;
    Some(format!(
        "--upstream {upstream} is this larder itself (--{flag} {address}): give it the address of the \
         service behind"
    ))
}

/// Whether a connection to `target` arrives at what listens at `own`.
pub(crate) fn reaches(target: SocketAddr, own: SocketAddr) -> bool {
    let (target_ip, own_ip) = (target.ip().to_canonical(), own.ip().to_canonical());
    // Connecting to nowhere in particular is connecting to this machine.
    let target_ip = match target_ip {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        other => other,
    };
    target.port() == own.port()
        && (target_ip == own_ip || own_ip.is_unspecified() && is_of_this_machine(target_ip))
}

/// Only those of this machine can be taken, by whatever means they came to it.
fn is_of_this_machine(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_that_is_the_gateway_itself_is_doubted_however_it_is_written() {
        for (upstream, own, is_doubted) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080", true),
            ("http://localhost:8080", "127.0.0.1:8080", true),
            ("http://0.0.0.0:8080", "127.0.0.1:8080", true),
            ("http://[::ffff:127.0.0.1]:8080", "127.0.0.1:8080", true),
            ("http://127.0.0.1:8080", "0.0.0.0:8080", true),
            ("http://127.9.9.9:8080", "0.0.0.0:8080", true),
            ("http://[::1]:8080", "[::]:8080", true),
            ("http://[::]:8080", "[::1]:8080", true),
            ("http://127.0.0.1:8080", "[::]:8080", true),
            ("http://127.0.0.1:8001", "127.0.0.1:8080", false),
            ("http://127.0.0.2:8080", "127.0.0.1:8080", false),
            ("http://192.0.2.1:8080", "0.0.0.0:8080", false),
            ("http://[::1]:8080", "127.0.0.1:8080", false),
        ] {
            let origin = upstream.parse().unwrap();
            let doubt = doubt(&origin, &[("listen", own.parse().unwrap())]);
            assert_eq!(doubt.is_some(), is_doubted, "{upstream} {own}: {doubt:?}");
        }
    }

    #[test]
    fn an_upstream_that_is_not_known_is_doubted_by_its_name() {
        let origin = "http://no-such-host.invalid:80".parse().unwrap();
        let doubt = doubt(&origin, &[]).unwrap();
        assert!(doubt.contains("\"no-such-host.invalid\""), "{doubt}");
    }
}
