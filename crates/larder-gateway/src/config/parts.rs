//! Parts: the tables of a `larder.toml` that are about the gateway as a whole.

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    route::Route,
    rules::Rules,
    value::{Count, Listen, Peer, Service, Size, Time},
};

/// The configuration of `larder serve`: what a file says. Every key has a default but the service's address.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "larder.toml")]
pub struct Config {
    /// How requests come: where to listen, and what their connections may take
    #[schemars(example = &"[server]\nlisten = \"127.0.0.1:8080\"")]
    pub server: Server,
    /// Where questions about the cache are answered, and purges taken
    #[schemars(example = &"[admin]\nlisten = \"127.0.0.1:9191\"")]
    pub admin: AdminPart,
    /// What the cache may hold
    #[schemars(example = &"[memory]\nsize = \"256MiB\"")]
    pub memory: Memory,
    /// What several gateways share
    #[schemars(example = &"[shared]\nurl = \"redis://127.0.0.1\"")]
    pub shared: SharedPart,
    /// What is logged
    #[schemars(example = &"[log]\nlevels = \"info\"")]
    pub log: LogPart,
    /// The services to put the cache before, each by a name of your choice
    #[schemars(example = &"[upstream.blog]\nurl = \"http://127.0.0.1:8001\"")]
    pub upstream: BTreeMap<String, UpstreamPart>,
    /// The rules that hold where no route says otherwise
    #[schemars(example = &"[defaults]\nttl = \"5m\"")]
    pub defaults: Rules,
    /// Requests that have rules of their own, or a service of their own. The first one counts that a request fits, in
    /// the order of the file
    #[schemars(example = &"[[route]]\npath = \"/static/**\"\nttl = \"1h\"")]
    pub route: Vec<Route>,
}

/// `[server]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Where to answer requests: an address and a port, or a port of 127.0.0.1. Default 127.0.0.1:8080, which other
    /// machines cannot reach: 0.0.0.0:8080 is for all
    #[schemars(example = &"127.0.0.1:8080")]
    pub listen: Option<Listen>,
    /// How many event loops serve connections, each on a thread of its own. Default one for each core that this
    /// process may use
    #[schemars(example = 2)]
    pub threads: Option<Count>,
    /// How many connections may be open to those who ask. Where there are as many, kept ones are closed and new ones
    /// wait. Default 16384, or as many as the limit of open files allows beside those to the services
    #[schemars(example = 16384)]
    pub max_connections: Option<Count>,
    /// How many connections one address may have (with IPv6, one /64); more are closed at once. Default a quarter of
    /// max_connections, and all for a proxy on this machine
    #[schemars(example = 4096)]
    pub max_connections_per_address: Option<Count>,
    /// How much of a request or of an answer has to move each second while those who ask are waited for, on average;
    /// who sends or takes less is cut off. Default 1KiB; 0 asks for no rate
    #[schemars(example = &"1KiB")]
    pub min_rate: Option<Size>,
    /// How long nothing at all may move before that counts as too slow. Default 30s, at least 1s: a line that stalls
    /// for as long is cut, too
    #[schemars(example = &"30s")]
    pub min_rate_period: Option<Time>,
    /// From the first byte of a request to the end of its head; slower is answered 408. Default 30s
    #[schemars(example = &"30s")]
    pub head_timeout: Option<Time>,
    /// How long a connection may stay without a request. Default 75s, longer than the 60s after which common load
    /// balancers close theirs: the side that sends requests should be the one that closes
    #[schemars(example = &"75s")]
    pub idle_timeout: Option<Time>,
    /// How long the next bytes of a request's body are waited for; slower is answered 408. Default 3m: min_rate lets
    /// nobody wait for longer
    #[schemars(example = &"3m")]
    pub body_timeout: Option<Time>,
    /// How long a reader may take nothing of an answer that waits for it. Default 3m: min_rate lets
    /// nobody wait for longer
    #[schemars(example = &"3m")]
    pub write_timeout: Option<Time>,
    /// How long answers under way may take once it is told to stop. Default 10s: supervisors usually wait for some 30
    #[schemars(example = &"10s")]
    pub grace: Option<Time>,
    /// The most bytes of a request's head; larger is answered 431. Default 64KiB: browsers with many cookies stay below
    /// a quarter of it
    #[schemars(example = &"64KiB")]
    pub max_head: Option<Size>,
    /// The most bytes of a request's first line; longer is answered 414. Default 16KiB
    #[schemars(example = &"16KiB")]
    pub max_request_line: Option<Size>,
    /// The most header fields of a request; more is answered 431. Default 128, and never more than 256
    #[schemars(example = 128)]
    pub max_fields: Option<Count>,
    /// Proxies in front, by address, that are believed in whom they ask for (X-Forwarded-For, Forwarded) and how
    /// (X-Forwarded-Proto, -Host). Default none: then all of a balancer's readers count as one client
    #[schemars(example = ["192.0.2.1"])]
    pub trusted_peers: Vec<Peer>,
    /// A file with a secret in its first line: who sends this in the field Larder-Explain is told the keys of answers,
    /// as is this machine. Default none
    #[schemars(example = &"explain-token")]
    pub explain_token_file: Option<PathBuf>,
    /// Answer over TLS (https), and not in the open. Default in the open
    #[schemars(example = &"[server.tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"")]
    pub tls: TlsPart,
}

/// `[server.tls]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TlsPart {
    /// A PEM file with the server's own certificate first, then those that vouch for it (often called fullchain.pem).
    /// Read once, at the start. Default none
    #[schemars(example = &"cert.pem")]
    pub certificate: Option<PathBuf>,
    /// The certificate's private key: a PEM file without a passphrase, that only this user can read. Default none
    #[schemars(example = &"key.pem")]
    pub key: Option<PathBuf>,
    /// From the start of a connection to the end of its handshake; slower ones are closed. Default 10s: several round
    /// trips across the world
    #[schemars(example = &"10s")]
    pub handshake_timeout: Option<Time>,
}

/// `[admin]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdminPart {
    /// Where to answer questions about the cache, and purges; loopback only, since there is no log-in. Default nowhere
    #[schemars(example = &"127.0.0.1:9191")]
    pub listen: Option<Listen>,
}

/// `[memory]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Memory {
    /// How much memory the cache may fill. Default 256MiB, at least 1MiB
    #[schemars(example = &"256MiB")]
    pub size: Option<Size>,
    /// Longer bodies are not stored; they pass to their readers. Default 32MiB
    #[schemars(example = &"32MiB")]
    pub max_body: Option<Size>,
}

/// `[shared]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SharedPart {
    /// Share answers and purges with other gateways over this server of Redis 7 or Valkey, or several: redis://host:6379,
    /// rediss:// over TLS, redis+sentinel://host,host/NAME, redis+cluster://host,host. Default none. Without a
    /// password: that is read from a file or from LARDER_SHARED_PASSWORD. While the server is away nothing fails
    #[schemars(example = &"redis://127.0.0.1:6379")]
    pub url: Option<String>,
    /// Which gateways share: those with one name on one server. Default larder
    #[schemars(example = &"larder")]
    pub namespace: Option<String>,
    /// The server's user, if it has users. Default none
    #[schemars(example = &"larder")]
    pub user: Option<String>,
    /// A file with the password in its first line. Default none
    #[schemars(example = &"redis-password")]
    pub password_file: Option<PathBuf>,
    /// A file with 64 hexadecimal digits, one for all gateways (openssl rand -hex 32): what is not signed with this key
    /// is not served, whoever has written it to the server. Default none
    #[schemars(example = &"shared-key")]
    pub key_file: Option<PathBuf>,
    /// For rediss:// with certificates of one's own: a PEM file with those that vouch for the server's. Default those
    /// that browsers know
    #[schemars(example = &"ca.pem")]
    pub ca_file: Option<PathBuf>,
    /// For how long what is in memory is served without hearing of the server: no purge that another gateway has made is
    /// missed for longer. One value for all gateways. Default 10s, from 1s to 30m
    #[schemars(example = &"10s")]
    pub max_incoherence: Option<Time>,
    /// What becomes of what is in memory after max_incoherence. Default fetch
    #[schemars(example = &"fetch")]
    pub unsure: Option<UnsureWord>,
}

/// What becomes of what is in memory without hearing of the shared tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UnsureWord {
    /// It is fetched anew, and used for as long
    Fetch,
    /// It is served as far as stale answers may be: a purge at another gateway may go unnoticed for as long
    ServeStale,
}

/// `[log]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogPart {
    /// What to log: error, warn, info, debug or off, and levels by module (info,h2=debug). Default info
    #[schemars(example = &"info")]
    pub levels: Option<String>,
}

/// `[upstream.NAME]`: a service.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamPart {
    /// Where the service answers: a URL, or a port of this machine. It has no default
    #[schemars(example = &"http://127.0.0.1:8001")]
    pub url: Option<Service>,
    /// How long a new connection may take. Default 3s: a lost packet is sent again after one, and after three
    #[schemars(example = &"3s")]
    pub connect_timeout: Option<Time>,
    /// From the request to the head of the answer. Default 60s
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
}
