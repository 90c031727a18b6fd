//! Address: what may be written after `--listen`, `--admin` and `--upstream`.
//!
//! People write addresses as they write them elsewhere. What can mean only one thing is taken; of all else
//! the form that is wanted is said.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};

use crate::{downstream::ListenAddress, upstream::Origin};

/// Where to listen: an address and a port, a name and a port, or a port alone, which is this machine's own,
/// as the defaults are.
pub fn listen(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if text.contains("://") {
        let what = "say only where to listen, without a scheme or a path: 127.0.0.1:8080";
        return Err(what.to_owned());
    }
    if let Some(port) = port_alone(text) {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port?)));
    }
    if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Err(format!("a port is missing: {}", SocketAddr::from((address, 8080))));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err("say an address and a port (127.0.0.1:8080), or a port (8080)".to_owned());
    };
    let port = number(port)?;
    match host {
        "*" => {
            return Err(format!("to listen on all addresses, say 0.0.0.0:{port} or [::]:{port}"));
        }
        _ if host.parse::<Ipv6Addr>().is_ok() => {
            return Err(format!("an IPv6 address stands in brackets: [{host}]:{port}"));
        }
        _ => {}
    }
    let mut addresses: Vec<_> = (host, port)
        .to_socket_addrs()
        .map_err(|error| format!("there is no address for {host:?}: {error}"))?
        .collect();
    // `localhost` is often both, and what is written down elsewhere is 127.0.0.1.
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses.first().copied().ok_or_else(|| format!("there is no address for {host:?}"))
}

/// The same, or the path of a Unix socket behind `unix:`.
pub fn place(text: &str) -> Result<ListenAddress, String> {
    /// What the system's addresses have room for.
    const LONGEST: usize = 107;
    let Some(path) = text.strip_prefix("unix:") else { return listen(text).map(Into::into) };
    match path {
        _ if !path.starts_with('/') => Err("say the whole path: unix:/run/larder.sock".to_owned()),
        _ if path.len() > LONGEST || path.contains('\0') => {
            Err(format!("a socket's path has {LONGEST} bytes at most"))
        }
        _ => Ok(ListenAddress::Unix(path.into())),
    }
}

/// The service behind: a URL, or an http:// one without its scheme, or a port alone, which is this machine's.
pub fn upstream(text: &str) -> Result<Origin, String> {
    let url = match port_alone(text) {
        Some(port) => format!("http://127.0.0.1:{}", port?),
        None if !text.contains("://") && !is_socket(text) => format!("http://{text}"),
        None => text.to_owned(),
    };
    url.parse().map_err(|error| {
        format!(
            "{error}; say http://127.0.0.1:8001, https://app.internal, unix:/run/app.sock, localhost:8001, or a port \
             (8001)"
        )
    })
}

/// A host of this name would need a number behind it.
fn is_socket(text: &str) -> bool {
    let is_port = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
    let scheme = text.get(..5).filter(|scheme| scheme.eq_ignore_ascii_case("unix:"));
    scheme.is_some() && !is_port(&text[5..])
}

/// `8080` or `:8080`.
fn port_alone(text: &str) -> Option<Result<u16, String>> {
    let port = text.strip_prefix(':').unwrap_or(text);
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| number(port))
}

fn number(port: &str) -> Result<u16, String> {
    // What is not digits only, `parse` might take: +80.
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let number = if is_number { port.parse().ok() } else { None };
    number.ok_or_else(|| format!("{port:?} is no port: those are numbers up to 65535"))
}

/// Whether a connection to `target` arrives at what listens at `own`.
pub fn reaches(target: SocketAddr, own: SocketAddr) -> bool {
    let (target_ip, own_ip) = (target.ip().to_canonical(), own.ip().to_canonical());
    // Connecting to nowhere in particular is connecting to this machine.
    let target_ip = match target_ip {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
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
    fn an_address_may_be_written_as_elsewhere() {
        for (text, address) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::1]:8080", "[::1]:8080"),
            ("[::]:8080", "[::]:8080"),
            ("8080", "127.0.0.1:8080"),
            (":8080", "127.0.0.1:8080"),
            ("0", "127.0.0.1:0"),
            ("localhost:8080", "127.0.0.1:8080"),
            ("LOCALHOST:8080", "127.0.0.1:8080"),
        ] {
            assert_eq!(listen(text), Ok(address.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn of_an_address_that_is_none_the_form_that_is_wanted_is_said() {
        for (text, words) in [
            ("", "say an address and a port"),
            ("localhost", "say an address and a port"),
            (":", "\"\" is no port"),
            ("127.0.0.1", "a port is missing: 127.0.0.1:8080"),
            ("::1", "a port is missing: [::1]:8080"),
            ("[::1]", "a port is missing: [::1]:8080"),
            ("fe80::1:2:3:4:5:6:8080", "in brackets: [fe80::1:2:3:4:5:6]:8080"),
            ("*:8080", "0.0.0.0:8080"),
            ("65536", "\"65536\" is no port"),
            (":65536", "\"65536\" is no port"),
            ("localhost:http", "\"http\" is no port"),
            ("127.0.0.1:+80", "\"+80\" is no port"),
            ("http://127.0.0.1:8080", "without a scheme"),
            ("no such host:80", "there is no address for"),
        ] {
            let said = listen(text).unwrap_err();
            assert!(said.contains(words), "{text}: {said}");
        }
    }

    #[test]
    fn a_service_may_be_written_as_elsewhere() {
        for (text, url) in [
            ("http://127.0.0.1:8001", "http://127.0.0.1:8001"),
            ("HTTP://posts.example/", "http://posts.example"),
            ("localhost:8001", "http://localhost:8001"),
            ("posts", "http://posts"),
            ("posts.example:80/", "http://posts.example:80"),
            ("https://posts.example", "https://posts.example"),
            ("HTTPS://posts.example:8443/", "https://posts.example:8443"),
            ("h2c://posts.example:50051", "h2c://posts.example:50051"),
            ("unix:/run/app.sock", "unix:/run/app.sock"),
            ("unix:app.sock", "unix:app.sock"),
            ("unix:80", "http://unix:80"),
            ("[::1]:8001", "http://[::1]:8001"),
            ("8001", "http://127.0.0.1:8001"),
            (":8001", "http://127.0.0.1:8001"),
        ] {
            assert_eq!(upstream(text).map(|origin| origin.to_string()), Ok(url.to_owned()));
        }
    }

    #[test]
    fn of_a_service_that_cannot_be_one_it_is_said_why() {
        for (text, words) in [
            ("ftp://posts.example", "only http://, https://"),
            ("unix:", "not of the form unix:/path/to/socket"),
            ("http://posts.example/v1", "neither path nor query nor user"),
            ("posts.example/v1", "neither path nor query nor user"),
            ("me@posts.example", "neither path nor query nor user"),
            ("", "not of the form http://host:port"),
            ("http://", "not of the form http://host:port"),
            ("a b", "not of the form http://host:port"),
            ("99999", "\"99999\" is no port"),
        ] {
            let said = upstream(text).unwrap_err();
            assert!(said.contains(words), "{text}: {said}");
        }
    }
}
