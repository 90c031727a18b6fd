//! `[server]`: how requests come, and what their connections may take.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::value::{Count, Listen, Peer, Size, Time};

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
    /// How many connections may go on in another protocol at once (WebSocket), in all. One more is answered 503. Default
    /// 4096
    #[schemars(example = 4096)]
    pub max_upgrades: Option<Count>,
    /// How many of those one client may have (with IPv6, one /64). Default a quarter of max_upgrades, and all for this
    /// machine
    #[schemars(example = 1024)]
    pub max_upgrades_per_client: Option<Count>,
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
