//! Connect: from an origin to a connection on which requests can be sent.
//!
//! All addresses of a name are candidates: the next one is tried where one fails, and beside it where it does not
//! answer soon (RFC 8305 §5).

use std::{io, net::SocketAddr, time::Duration};

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::{
    net::{TcpStream, UnixStream},
    time::timeout,
};

use super::{
    config::{Protocol, UpstreamConfig},
    error::UpstreamError,
    names::Addresses,
    origin::{Origin, Scheme},
    plain::Plain,
    socket::Socket,
    tls,
};

/// How long one address may not answer before the next is tried as well. RFC 8305 recommends it.
const STAGGER: Duration = Duration::from_millis(250);

/// A connection on which nothing has been sent yet.
pub(super) struct Connected {
    pub(super) socket: Socket,
    pub(super) is_http2: bool,
    /// Whom it leads to; nothing for a Unix socket.
    pub(super) address: Option<SocketAddr>,
}

/// Connects, with the handshake of TLS. `is_to_switch`: to speak HTTP/1.1, also where HTTP/2 would be offered. Dropping it
/// gives the attempt up.
pub(super) async fn connect(
    origin: &Origin,
    addresses: &Addresses,
    config: &UpstreamConfig,
    is_to_switch: bool,
) -> Result<Connected, UpstreamError> {
    let failed = |source| UpstreamError::Connect { origin: origin.clone(), source };
    let (plain, address) = match origin.socket() {
        Some(path) => (Plain::from(UnixStream::connect(path).await.map_err(failed)?), None),
        None => {
            let unknown = |source| UpstreamError::Name { origin: origin.clone(), source };
            let all = addresses.all().await.map_err(unknown)?;
            let (stream, address) = connect_any(&all).await.map_err(failed)?;
            stream.set_nodelay(true).map_err(failed)?;
            (Plain::from(stream), Some(address))
        }
    };
    let is_asked = config.protocol == Protocol::Http2;
    match origin.scheme() {
        Scheme::Http => Ok(Connected { socket: Socket::open(plain), is_http2: is_asked, address }),
        Scheme::H2c => Ok(Connected { socket: Socket::open(plain), is_http2: true, address }),
        Scheme::Https => {
            let Some(tls) = &config.tls else {
                let what = "there is nothing to check the certificates of https:// origins by";
                return Err(failed(io::Error::new(io::ErrorKind::Unsupported, what)));
            };
            let shaken = tls.connect(origin, plain, is_to_switch).await;
            let stream = shaken.map_err(|source| match tls::is_about_protocol(&source) {
                // It speaks HTTP/2 only.
                true if is_to_switch => UpstreamError::NoUpgrade { origin: origin.clone() },
                _ => UpstreamError::Tls {
                    origin: origin.clone(),
                    what: tls::explained(&source),
                    source,
                },
            })?;
            let is_http2 = tls::is_http2(&stream);
            if is_asked && !is_http2 {
                return Err(UpstreamError::NoHttp2 { origin: origin.clone() });
            }
            Ok(Connected { socket: Socket::encrypted(stream), is_http2, address })
        }
    }
}

async fn connect_any(addresses: &[SocketAddr]) -> io::Result<(TcpStream, SocketAddr)> {
    if let [only] = addresses {
        return Ok((TcpStream::connect(only).await?, *only));
    }
    let mut left = addresses.iter().copied();
    let mut trying = FuturesUnordered::new();
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    loop {
        match left.next() {
            Some(address) => trying.push(async move {
                TcpStream::connect(address).await.map(|stream| (stream, address))
            }),
            None if trying.is_empty() => return Err(last),
            None => {}
        }
        let next = trying.next();
        let ended = if left.len() > 0 { timeout(STAGGER, next).await } else { Ok(next.await) };
        match ended {
            Ok(Some(Ok(connected))) => return Ok(connected),
            Ok(Some(Err(error))) => last = error,
            // The next one is tried beside it.
            Ok(None) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_next_address_is_tried_where_one_refuses_or_does_not_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        // Nobody listens at the first, and the second is an address that is for documentation only.
        let refusing = SocketAddr::from(([127, 0, 0, 9], good.port()));
        let silent = SocketAddr::from(([192, 0, 2, 1], good.port()));
        for before in [vec![], vec![refusing], vec![silent], vec![refusing, silent, refusing]] {
            let addresses: Vec<_> = before.into_iter().chain([good]).collect();
            let (_, address) = connect_any(&addresses).await.unwrap();
            assert_eq!(address, good, "{addresses:?}");
        }
        let refused = connect_any(&[refusing, refusing]).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(connect_any(&[]).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
