//! `[upstream.NAME]`: a service.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::origins::{BalanceWord, BreakerPart, HealthPart, RetryPart, ServerPart};
use crate::config::value::{Count, HostName, Service, Size, Time};

/// `[upstream.NAME]`: a service.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamPart {
    /// Where the service answers: http://, https:// or h2c:// (HTTP/2 without TLS) with a host and perhaps a port; unix:
    /// with the path of a socket, which counts from the folder of this file; or a port of this machine. It has no default
    #[schemars(example = &"http://127.0.0.1:8001")]
    pub url: Option<Service>,
    /// Where it answers if that is at several addresses; [[upstream.NAME.server]] says more of each. It has no default
    #[schemars(example = &["http://10.0.0.1:8001", "http://10.0.0.2:8001"])]
    pub urls: Option<Vec<Service>>,
    /// Its addresses, each with what is to be said of it
    #[schemars(example = &"[[upstream.NAME.server]]\nurl = \"http://127.0.0.1:8001\"")]
    pub server: Option<Vec<ServerPart>>,
    /// Which address is asked next: least-outstanding is the one with the fewest requests under way for its weight, so
    /// that one which slows down gets fewer; round-robin is all in turn. Default least-outstanding
    #[schemars(example = &"round-robin")]
    pub balance: Option<BalanceWord>,
    /// For how long an address that is back gets fewer requests than its weight: its caches are cold. Default 10s
    #[schemars(example = &"10s")]
    pub slow_start: Option<Time>,
    /// A file that readers get, with status 503, while the service gives no answer and nothing stale may be served:
    /// .html, .json or text, up to 1MiB. Read at the start and with SIGHUP. Default none: then it is a problem document
    #[schemars(example = &"maintenance.html")]
    pub maintenance_page: Option<PathBuf>,
    /// What is sent once more, to another address
    #[schemars(example = &"[upstream.NAME.retry]\non = [\"connect\", \"reset\", \"503\"]")]
    pub retry: RetryPart,
    /// When an address is left alone
    #[schemars(example = &"[upstream.NAME.breaker]\nfailures = 5")]
    pub breaker: BreakerPart,
    /// Each address is asked how it is
    #[schemars(example = &"[upstream.NAME.health]\npath = \"/health\"")]
    pub health: HealthPart,
    /// The version of HTTP: "http1", "http2", or "auto", which is what both sides can do over TLS, and HTTP/1.1 otherwise.
    /// Default "auto"
    #[schemars(example = &"auto")]
    pub protocol: Option<ProtocolWord>,
    /// What the service is told of the host that is asked for (Host). Default what the reader has said, which is told in
    /// X-Forwarded-Host in any case
    #[schemars(example = &"app.internal")]
    pub host: Option<HostName>,
    /// How often the name in url is looked up again. New connections go to the addresses of then, and those to other
    /// addresses take no more requests. Default 30s
    #[schemars(example = &"30s")]
    pub resolve_every: Option<Time>,
    /// How long a new connection may take, with the name looked up and the handshakes of TLS and HTTP/2. Default 3s: a lost
    /// packet is sent again after one, and after three
    #[schemars(example = &"3s")]
    pub connect_timeout: Option<Time>,
    /// From the request to the head of the answer, whatever interim answers (1xx) come before it. Default 60s
    #[schemars(example = &"60s")]
    pub first_byte_timeout: Option<Time>,
    /// Between two pieces of the answer's body. Default 60s
    #[schemars(example = &"60s")]
    pub idle_body_timeout: Option<Time>,
    /// From the request to the last byte of the answer. Default none: a large answer to a slow reader may take an hour
    #[schemars(example = &"10m")]
    pub whole_timeout: Option<Time>,
    /// How long a request may wait for a connection while all are in use. Default 10s
    #[schemars(example = &"10s")]
    pub wait_timeout: Option<Time>,
    /// How many requests may wait for a connection; one more is turned away at once. Default 4096
    #[schemars(example = 4096)]
    pub max_waiting: Option<Count>,
    /// How many connections are kept for later requests. Default 64
    #[schemars(example = 64)]
    pub max_idle: Option<Count>,
    /// How long connections are kept for later requests. Default 4s: shorter than the 5s after which Node.js, uvicorn and Apache httpd close
    /// theirs, because a request that meets a closing connection fails
    #[schemars(example = &"4s")]
    pub idle_timeout: Option<Time>,
    /// The most bytes of an answer's head. Default 128KiB; browsers take 256
    #[schemars(example = &"128KiB")]
    pub max_head: Option<Size>,
    /// The most header fields of an answer. Default 256
    #[schemars(example = 256)]
    pub max_fields: Option<Count>,
    /// The most requests that may be under way to the service, and its idle connections, together. Default 3072, or a fair
    /// share of what the limit of open files allows
    #[schemars(example = 3072)]
    pub max_connections: Option<Count>,
    /// The most answers whose bodies may be under way beside those: downloads, streams. Default 8192, or a fair share of what
    /// the limit of open files allows
    #[schemars(example = 8192)]
    pub max_streams: Option<Count>,
    /// Over HTTP/2: how many requests may be under way on one connection; never more than the service allows. Default 100
    #[schemars(example = 100)]
    pub max_requests_per_connection: Option<Count>,
    /// Over HTTP/2: how much of an answer may arrive before its reader takes it, from 16KiB to 64MiB. Default 128KiB; a
    /// service far away needs more to be fast: its bytes each second by the seconds of a round trip
    #[schemars(example = &"128KiB")]
    pub stream_window: Option<Size>,
    /// Over HTTP/2: a connection with requests under way on which nothing has come for so long is asked for a sign of life
    /// (PING), and given up after as long again. Default 15s
    #[schemars(example = &"15s")]
    pub ping_every: Option<Time>,
    /// How a service at an https:// address proves who it is, and how this gateway does
    #[schemars(example = &"[upstream.blog.tls]\nca_file = \"ca.pem\"")]
    pub tls: UpstreamTlsPart,
}

/// Which version of HTTP a service is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProtocolWord {
    /// What both sides can do over TLS, and HTTP/1.1 otherwise.
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// The least version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum TlsVersionWord {
    /// TLS 1.2 or 1.3.
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    Tls13,
}

/// `[upstream.NAME.tls]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamTlsPart {
    /// A PEM file with the certificates that vouch for the service's. Default those that this system trusts
    #[schemars(example = &"ca.pem")]
    pub ca_file: Option<PathBuf>,
    /// The name that the service's certificate has to be for, and that the service is told (SNI). Default the host of url
    #[schemars(example = &"app.internal")]
    pub server_name: Option<String>,
    /// A PEM file with the certificate that this gateway shows to a service that asks for one, and those that vouch for it.
    /// Default none
    #[schemars(example = &"client.pem")]
    pub client_certificate: Option<PathBuf>,
    /// That certificate's private key: a PEM file without a passphrase. Default none
    #[schemars(example = &"client-key.pem")]
    pub client_key: Option<PathBuf>,
    /// The least version of TLS: "1.2" or "1.3". Default "1.2"
    #[schemars(example = &"1.2")]
    pub min_version: Option<TlsVersionWord>,
    /// false: take any certificate, so that whoever is on the way can read and change all. Default: it is checked
    #[schemars(example = true)]
    pub verify: Option<bool>,
}
