//! Entrance: what comes before the first request of a connection: whom it is for, by the PROXY protocol, and TLS.
//!
//! All of it has one limit of time together, and answers nothing but errors.

use std::{sync::Arc, time::Duration};

use larder::http::policy::scheme::Scheme;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::server::TlsStream;

use super::{
    counters::{Handshaken, Proxied},
    handshakes::Handshakes,
    http1::Http1Config,
    peer::Peer,
    proxy::{self, ProxyProtocol},
    tls::{self, Tls},
};
use crate::timer::after;

/// The first byte of a TLS connection is that of a handshake's record (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;

/// What comes before the first request at a listener.
pub(super) struct Entrance {
    pub(super) proxy: Option<ProxyProtocol>,
    pub(super) tls: Option<Tls>,
    /// How long it may take, all together.
    pub(super) limit: Duration,
    pub(super) handshakes: Arc<Handshakes>,
}

/// A connection that requests may come on.
pub(super) struct Entered {
    pub(super) stream: EnteredStream,
    pub(super) peer: Peer,
    /// What holds for this one instead of what holds for its listener.
    pub(super) config: Option<Box<Http1Config>>,
}

/// The one of TLS is several times as large, and both are only moved once.
pub(super) enum EnteredStream {
    Open(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

impl Entrance {
    /// `None`: it has ended, and was counted.
    pub(super) async fn enter(
        &self,
        mut stream: TcpStream,
        peer: Peer,
        config: &Http1Config,
    ) -> Option<Entered> {
        let deadline = after(self.limit);
        let (mut peer, mut own) = (peer, None);
        if let Some(trusted) = &self.proxy {
            let header = told(trusted, &mut stream, peer, deadline, config).await?;
            peer = header.peer(peer);
            if header.is_encrypted {
                own = Some(Box::new(Http1Config { scheme: Scheme::Https, ..config.clone() }));
            }
        }
        let Some(tls) = &self.tls else {
            return Some(Entered { stream: EnteredStream::Open(stream), peer, config: own });
        };
        let stream = self.encrypted(tls, stream, deadline, config).await?;
        if let Some(served) = tls.served_names(&stream) {
            own = Some(Box::new(Http1Config { served: Some(served), ..config.clone() }));
        }
        peer.tls = tls::facts(&stream);
        let stream = EnteredStream::Encrypted(Box::new(stream));
        Some(Entered { stream, peer, config: own })
    }

    async fn encrypted(
        &self,
        tls: &Tls,
        stream: TcpStream,
        deadline: Instant,
        config: &Http1Config,
    ) -> Option<TlsStream<TcpStream>> {
        let counters = &config.counters;
        let mut first = [0];
        let shaking = async {
            let turn = self.handshakes.turn().await;
            let shaken = async {
                match stream.peek(&mut first).await {
                    Ok(1) if is_of_text(first[0]) => Shaken::Text(stream),
                    Ok(_) => match tls.accept(stream).await {
                        Ok(stream) => Shaken::Encrypted(Box::new(stream)),
                        Err(error) => Shaken::Failed(error),
                    },
                    Err(error) => Shaken::Failed(error),
                }
            };
            tokio::select! {
                biased;
                shaken = shaken => shaken,
                () = turn.is_over() => Shaken::GivenUp,
            }
        };
        // On the heap, so that what comes after it is no larger for it.
        let outcome = match Box::pin(timeout_at(deadline, shaking)).await {
            Ok(Shaken::Encrypted(stream)) => {
                counters.handshaken(Handshaken::Ok);
                return Some(*stream);
            }
            Ok(Shaken::Text(stream)) => {
                counters.handshaken(Handshaken::PlainText);
                refuse_text(stream, config).await;
                return None;
            }
            Ok(Shaken::Failed(error)) => {
                tracing::debug!("a TLS handshake failed: {error}");
                Handshaken::Failed
            }
            Ok(Shaken::GivenUp) => {
                tracing::debug!("a TLS handshake was given up for another");
                Handshaken::GivenUp
            }
            Err(_) => {
                tracing::debug!("a TLS handshake took too long");
                Handshaken::TimedOut
            }
        };
        counters.handshaken(outcome);
        None
    }
}

enum Shaken {
    Encrypted(Box<TlsStream<TcpStream>>),
    /// It speaks HTTP in the open.
    Text(TcpStream),
    Failed(std::io::Error),
    GivenUp,
}

/// What a trusted proxy says of the connection. `None`: there is none, or it says nothing of use.
async fn told(
    trusted: &ProxyProtocol,
    stream: &mut TcpStream,
    peer: Peer,
    deadline: Instant,
    config: &Http1Config,
) -> Option<proxy::Header> {
    let outcome = match trusted.trusts(peer.address) {
        false => Proxied::Untrusted,
        true => match timeout_at(deadline, proxy::read(stream)).await {
            Ok(Ok(header)) => {
                config.counters.proxied(Proxied::Ok);
                return Some(header);
            }
            Ok(Err(error)) => {
                tracing::debug!("{error}");
                Proxied::Malformed
            }
            Err(_) => Proxied::TimedOut,
        },
    };
    config.counters.proxied(outcome);
    None
}

/// Methods are letters, and some readers begin with an empty line.
fn is_of_text(first: u8) -> bool {
    first != HANDSHAKE && (first.is_ascii_alphabetic() || first == b'\r')
}

/// A reader that has forgotten the `s` of `https` sees why nothing else comes.
async fn refuse_text(mut stream: TcpStream, config: &Http1Config) {
    const SAID: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
        content-length: 50\r\nconnection: close\r\n\r\nThis port speaks TLS only: ask with https:// here.";
    config.counters.refused("a request in the open came to a TLS port");
    let refusing = async {
        stream.write_all(SAID.as_bytes()).await?;
        stream.shutdown().await?;
        // Closed at once it would be reset by what was not read, and the text might be lost with that.
        let mut left = stream.take(config.max_discarded_bytes);
        tokio::io::copy(&mut left, &mut tokio::io::sink()).await
    };
    if let Ok(Err(error)) = timeout(config.linger_timeout, refusing).await {
        tracing::debug!("a reader was not told to come over TLS: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::is_of_text;

    #[test]
    fn what_may_begin_tls_is_left_to_it() {
        assert!(b"GPDOCTg\r".iter().all(|first| is_of_text(*first)));
        for first in [22, 0, 1, 0x80, 20, 21, 23, 255, b'\n', b'{'] {
            assert!(!is_of_text(first), "{first}");
        }
    }
}
