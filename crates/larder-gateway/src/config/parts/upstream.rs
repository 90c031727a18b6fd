//! `[upstream.NAME]`: a service.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::origins::{BalanceWord, BreakerPart, HealthPart, RetryPart, ServerPart};
use crate::config::value::{Count, Service, Size, Time};

/// `[upstream.NAME]`: a service.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamPart {
    /// Where the service answers: a URL, or a port of this machine. It has no default
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
    /// How many connections there may be to the service, to all of its addresses together. Default 3072, or as many as
    /// the limit of open files allows, shared with the other services
    #[schemars(example = 1000)]
    pub max_connections: Option<Count>,
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
