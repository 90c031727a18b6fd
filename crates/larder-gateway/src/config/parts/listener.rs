//! `[[listener]]`: one more place where requests come, with settings of its own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::server::{ForwardedWord, TlsPart};
use crate::config::value::{ListenAt, Mode, Peer, Port};

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
    /// Answer over TLS here, and not in the open: the keys of [server.tls]. Default in the open
    #[schemars(example = &"[[listener]]\nlisten = \"0.0.0.0:443\"\n[listener.tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"")]
    pub tls: TlsPart,
}
