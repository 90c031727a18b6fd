//! `[[listener]]`: one more place where requests come, with settings of its own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::server::{ForwardedWord, TlsPart};
use crate::config::value::{Count, ListenAt, Mode, Peer, Port, Size, Time};

/// `[[listener]]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ListenerPart {
    /// What it is called in figures and in the log. Default its number in the file
    #[schemars(example = &"public")]
    pub name: Option<String>,
    /// Where to answer requests, as in [server]. It has no default
    #[schemars(example = &"0.0.0.0:443")]
    pub listen: Option<ListenAt>,
    /// Who may open its Unix socket. Default "0660"
    #[schemars(example = &"0660")]
    pub socket_mode: Option<Mode>,
    /// Require a PROXY header here, as in [server]. Default false
    #[schemars(example = true)]
    pub proxy_protocol: bool,
    /// Answer 308 to who asks in the open here, as in [server]. Default answer the request
    #[schemars(example = 443)]
    pub redirect_to_https: Option<Port>,
    /// Proxies in front of it, as in [server]. Default those of [server]
    #[schemars(example = ["192.0.2.1", "10.0.0.0/8"])]
    pub trusted_peers: Option<Vec<Peer>>,
    /// Which fields of them are believed. Default as in [server]
    #[schemars(example = &"x-forwarded")]
    pub forwarded: Option<ForwardedWord>,
    /// As in [server], for connections here. Default that of [server]
    #[schemars(example = &"1KiB")]
    pub min_rate: Option<Size>,
    /// As in [server], for connections here. Default that of [server]
    #[schemars(example = &"30s")]
    pub min_rate_period: Option<Time>,
    /// As in [server], for connections here. Default that of [server]
    #[schemars(example = &"30s")]
    pub head_timeout: Option<Time>,
    /// As in [server], for connections here. Default that of [server]
    #[schemars(example = &"75s")]
    pub idle_timeout: Option<Time>,
    /// As in [server], for connections here. Default that of [server]
    #[schemars(example = &"3m")]
    pub body_timeout: Option<Time>,
    /// As in [server], for connections here. Default that of [server]
    #[schemars(example = &"3m")]
    pub write_timeout: Option<Time>,
    /// As in [server], for connections here. Default that of [server]
    #[schemars(example = &"3s")]
    pub stalled_timeout: Option<Time>,
    /// As in [server], for connections here. Default that of [server]
    #[schemars(example = &"10s")]
    pub half_closed_timeout: Option<Time>,
    /// As in [server], for connections here. Default that of [server]
    #[schemars(example = &"2s")]
    pub linger_timeout: Option<Time>,
    /// As in [server], for requests here. Default that of [server]
    #[schemars(example = &"64KiB")]
    pub max_head: Option<Size>,
    /// As in [server], for requests here. Default that of [server], and no more than max_head
    #[schemars(example = &"16KiB")]
    pub max_request_line: Option<Size>,
    /// As in [server], for requests here. Default that of [server]
    #[schemars(example = 128)]
    pub max_fields: Option<Count>,
    /// The most content that a request here may have, beside what its route allows: the smaller counts. Default none but that
    #[schemars(example = &"16MiB")]
    pub max_request_body: Option<Size>,
    /// As in [server], for connections here. Default that of [server]
    #[schemars(example = 100)]
    pub max_streams: Option<Count>,
    /// As in [server], for connections here. Default that of [server]
    #[schemars(example = 1000)]
    pub max_requests_per_connection: Option<Count>,
    /// As in [server], for connections here. Default that of [server]
    #[schemars(example = &"1h")]
    pub max_connection_age: Option<Time>,
    /// How many requests an address may send here each second, as in [server], counted for this listener alone. Default
    /// that of [server], counted for all together that have none of their own
    #[schemars(example = 50)]
    pub requests_per_address: Option<Count>,
    /// How many of them at once after a pause. Default as many as requests_per_address
    #[schemars(example = 100)]
    pub requests_burst: Option<Count>,
    /// Answer over TLS here, and not in the open: the keys of [server.tls]. Default in the open
    #[schemars(example = &"[[listener]]\nlisten = \"0.0.0.0:443\"\n[listener.tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"")]
    pub tls: TlsPart,
}
