//! Doubts: what looks wrong about an upstream at the start. It is told, not refused: a name may be known
//! later, and a service start later.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    thread,
};

use larder_gateway::{config::address::reaches, upstream::Origin};

/// Warns in the log, in a while: names may take long to look up, and the start does not wait for that.
///
/// `upstream` has a name, such as the flag that it was said with; `own` are the addresses that this process listens
/// on, each with its name.
pub(crate) fn tell(name: &str, upstream: &Origin, own: Vec<(String, SocketAddr)>) {
    let (name, upstream) = (name.to_owned(), upstream.clone());
    // A thread that is not joined: a lookup cannot be cut short, and must not hold up the end.
    let started = thread::Builder::new().name("doubts".to_owned()).spawn(move || {
        if let Some(doubt) = doubt(&name, &upstream, &own) {
            tracing::warn!("{doubt}");
        }
    });
    if let Err(error) = started {
        tracing::debug!("the upstream is not looked up: {error}");
    }
}

fn doubt(name: &str, upstream: &Origin, own: &[(String, SocketAddr)]) -> Option<String> {
    if let Some(path) = upstream.socket() {
        let error = path.metadata().err()?;
        return Some(format!(
            "there is no socket of {name} {upstream}: until there is, what is not cached is answered 502 ({error})"
        ));
    }
    let found = (upstream.host(), upstream.port()).to_socket_addrs().and_then(|found| {
        let found: Vec<_> = found.collect();
        if found.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(found) }
    });
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            return Some(format!(
                "there is no address for {:?} of {name} {upstream}: until there is, what is not cached \
                 is answered 502 ({error})",
                upstream.host()
            ));
        }
    };
    let (own, address) =
        own.iter().find(|(_, own)| found.iter().any(|found| reaches(*found, *own)))?;
    Some(format!(
        "{name} {upstream} is this larder itself ({own} {address}): give it the address of the \
         service behind"
    ))
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
            let doubt =
                doubt("--upstream", &origin, &[("--listen".to_owned(), own.parse().unwrap())]);
            assert_eq!(doubt.is_some(), is_doubted, "{upstream} {own}: {doubt:?}");
        }
    }

    #[test]
    fn a_socket_that_is_not_there_is_doubted() {
        let origin = "unix:/no/such/socket".parse().unwrap();
        let doubt = doubt("--upstream", &origin, &[]).unwrap();
        assert!(doubt.contains("no socket of --upstream unix:/no/such/socket"), "{doubt}");
        assert_eq!(super::doubt("--upstream", &"unix:/".parse().unwrap(), &[]), None);
    }

    #[test]
    fn an_upstream_that_is_not_known_is_doubted_by_its_name() {
        let origin = "http://no-such-host.invalid:80".parse().unwrap();
        let doubt = doubt("--upstream", &origin, &[]).unwrap();
        assert!(doubt.contains("\"no-such-host.invalid\""), "{doubt}");
    }
}
