//! `[admin]`: where questions about the cache are answered.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::server::PairPart;
use crate::config::value::Listen;

/// `[admin]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdminPart {
    /// Where to answer questions about the cache, and purges. Beyond loopback only with both tokens, and with
    /// [admin.tls] or insecure. Default nowhere
    #[schemars(example = &"127.0.0.1:9191")]
    pub listen: Option<Listen>,
    /// A file with a secret in its first line: who reads (metrics, counters, events) sends it in Authorization: Bearer.
    /// /livez and /readyz need none. Default none; or the variable LARDER_ADMIN_READ_TOKEN
    #[schemars(example = &"admin-read-token")]
    pub read_token_file: Option<PathBuf>,
    /// The same for who purges; who has it may read as well. With read_token_file alone nobody purges here. Default none;
    /// or the variable LARDER_ADMIN_WRITE_TOKEN
    #[schemars(example = &"admin-write-token")]
    pub write_token_file: Option<PathBuf>,
    /// The names and addresses by which requests may call it, without a port, beside this machine's own and the address in
    /// listen. Default none
    #[schemars(example = ["larder.internal"])]
    pub allowed_hosts: Vec<String>,
    /// Let tokens go over the network in the open, where there is no [admin.tls]. Default false
    #[schemars(example = true)]
    pub insecure: bool,
    /// Offer whoever may change something to send a crowd in the console's Theatre: up to 1000 requests at once for one path,
    /// the way that readers' requests come. Not where others need the services. Default false
    #[schemars(example = true)]
    pub stage: bool,
    /// Answer over TLS. Default in the open
    #[schemars(example = &"[admin.tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"")]
    pub tls: PairPart,
}
