//! What a listener and its connections may take, in number and in time.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{http1::Http1Config, proxy::ProxyProtocol, tls::Tls};
use crate::pressure::Pressure;

/// Limits of a server, and what holds for its listener where it has only one. Every field has a default.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// How many connections may be open, at all listeners together. Where there are as many, the next one waits, and the oldest are
    /// closed once they are between two requests. Default 16384; each takes a file descriptor.
    pub max_connections: usize,
    /// How many of them one address may have, or with IPv6 one network of 64 bits; more are closed at once.
    /// A balancer in front needs as many as it keeps open. Default a quarter of `max_connections`, and no
    /// bound for 127.0.0.1 and ::1, where a proxy on the same machine connects from.
    pub max_connections_per_address: Option<usize>,
    /// For how long a connection is left alone that came, though its place is wanted: its first request may be
    /// on its way, over TLS after some round trips. Default 500 ms.
    pub welcome: Duration,
    /// How many connections may wait to be accepted. Default 1024, and no more than the system allows:
    /// the 128 that are usual turn a part of a crowd away, which comes back only a second later.
    pub backlog: u32,
    /// How long the answers under way may take once the server stops; where a reader does not go on, no longer
    /// than [`Http1Config::stalled_timeout`]. Default 10 s.
    pub grace: Duration,
    /// Cancelled before the server is told to stop where another process accepts the connections of now at the same
    /// sockets. Then nothing hurries: connections end with their next answers, and those between two requests only
    /// [`Http1Config::stalled_timeout`] before the end of the grace. Default never.
    pub handed_over: CancellationToken,
    /// With a certificate and its key, readers come over TLS and not otherwise. Default none: they come
    /// in the open.
    pub tls: Option<Tls>,
    /// From the start of a connection to the end of its TLS handshake, a PROXY header included; slower ones are closed. Default
    /// 10 s: several round trips across the world, on a line that loses some of them. One under way takes
    /// 4 kB, and up to 64 KiB where its reader sends that much.
    pub handshake_timeout: Duration,
    /// How many handshakes may be under way at once. Where there are as many, the oldest that is no longer welcome is
    /// given up for the next one. Default 1024.
    pub max_handshakes: usize,
    /// With this each connection has to begin with a PROXY header, within the time of a handshake. Default none: what
    /// begins with one is refused as no request.
    pub proxy: Option<ProxyProtocol>,
    /// Whether connections have to make room because the process takes too much memory. Default never.
    pub pressure: Pressure,
    /// What each connection may take.
    pub http1: Http1Config,
}

/// What holds for one listener of several.
#[derive(Clone, Debug, Default)]
pub struct ListenerConfig {
    /// As [`ServerConfig::tls`].
    pub tls: Option<Tls>,
    /// As [`ServerConfig::proxy`].
    pub proxy: Option<ProxyProtocol>,
    /// As [`ServerConfig::http1`].
    pub http1: Http1Config,
}

impl ServerConfig {
    /// What holds for its only listener.
    pub fn listener(&self) -> ListenerConfig {
        let ServerConfig { tls, proxy, http1, .. } = self.clone();
        ListenerConfig { tls, proxy, http1 }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        ServerConfig {
            max_connections: 16_384,
            max_connections_per_address: None,
            welcome: Duration::from_millis(500),
            backlog: 1024,
            grace: Duration::from_secs(10),
            handed_over: CancellationToken::new(),
            tls: None,
            handshake_timeout: Duration::from_secs(10),
            max_handshakes: 1024,
            proxy: None,
            pressure: Pressure::default(),
            http1: Http1Config::default(),
        }
    }
}
