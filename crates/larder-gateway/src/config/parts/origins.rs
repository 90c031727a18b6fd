//! `[upstream.NAME.…]`: a service at several addresses, and what becomes of those that fail.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    config::value::{Count, Service, Time},
    origins::{Balance, Cause},
};

/// `[[upstream.NAME.server]]`: one of its addresses.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServerPart {
    /// Where it answers: a URL, or a port of this machine. It has no default
    #[schemars(example = &"http://127.0.0.1:8001")]
    pub url: Option<Service>,
    /// How many requests it gets in comparison with the others. Default 1, at most 1000
    #[schemars(example = 3)]
    pub weight: Option<Count>,
    /// Whether it gets requests only while no other can. Default false
    #[schemars(example = true)]
    pub backup: Option<bool>,
    /// How many connections there may be to it. Default an equal part of what there may be to the service
    #[schemars(example = 100)]
    pub max_connections: Option<Count>,
}

/// `[upstream.NAME.retry]`: what is sent once more, to another address.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetryPart {
    /// After what: connect (no connection: any request that has not begun to send its content), reset (the connection
    /// ended before an answer began), timeout (none began in time), 500, 502, 503, 504; all but the first for requests
    /// without content whose method is idempotent (GET, HEAD, PUT, DELETE, OPTIONS). Default connect and reset
    #[schemars(example = &["connect", "reset", "503"])]
    pub on: Option<Vec<CauseWord>>,
    /// How often one request is sent, at most, to one address or to several. Default 3; with 1 nothing is sent once
    /// more, but where a kept connection turns out to be closed
    #[schemars(example = 2)]
    pub attempts: Option<Count>,
    /// How many of a hundred requests may be sent once more. Default 10: a service that fails under its load does not get
    /// more of it
    #[schemars(example = 20)]
    pub percent: Option<u32>,
    /// How many requests a second may be sent once more beside those. Default 10
    #[schemars(example = 5)]
    pub per_second: Option<u32>,
}

/// `[upstream.NAME.breaker]`: when an address is left alone.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerPart {
    /// After how many failures in a row: no connection, no answer, 502, 503, 504, a body that breaks off. Default 5
    #[schemars(example = 10)]
    pub failures: Option<Count>,
    /// For how long at first; each time twice as long. Default 1s, and a part of that by chance
    #[schemars(example = &"1s")]
    pub back_off: Option<Time>,
    /// For how long at most. Default 30s
    #[schemars(example = &"30s")]
    pub max_back_off: Option<Time>,
}

/// `[upstream.NAME.health]`: each address is asked how it is.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HealthPart {
    /// With a GET of this path. Default none: nothing is asked
    #[schemars(example = &"/health")]
    pub path: Option<String>,
    /// With this Host. Default the address
    #[schemars(example = &"blog.example")]
    pub host: Option<String>,
    /// How often. Default 5s
    #[schemars(example = &"5s")]
    pub every: Option<Time>,
    /// How long an answer may take. Default 2s
    #[schemars(example = &"2s")]
    pub timeout: Option<Time>,
    /// Which statuses are good. Default those from 200 to 299
    #[schemars(example = &[200, 204])]
    pub expect: Option<Vec<u16>>,
    /// After how many good answers in a row an address gets requests again. Default 2
    #[schemars(example = 2)]
    pub healthy_after: Option<Count>,
    /// After how many other answers in a row, or none, it gets no more. Default 3
    #[schemars(example = 3)]
    pub unhealthy_after: Option<Count>,
}

/// Which address is asked next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BalanceWord {
    /// The one with the fewest requests under way for its weight
    LeastOutstanding,
    /// All in turn, by their weights
    RoundRobin,
}

/// What a request may be sent once more for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CauseWord {
    /// There was no connection
    Connect,
    /// The connection ended before an answer began
    Reset,
    /// No answer began in time
    Timeout,
    /// Internal server error
    #[serde(rename = "500")]
    InternalError,
    /// Bad gateway
    #[serde(rename = "502")]
    BadGateway,
    /// Service unavailable
    #[serde(rename = "503")]
    Unavailable,
    /// Gateway timeout
    #[serde(rename = "504")]
    GatewayTimeout,
}

impl From<BalanceWord> for Balance {
    fn from(word: BalanceWord) -> Self {
        match word {
            BalanceWord::LeastOutstanding => Balance::LeastOutstanding,
            BalanceWord::RoundRobin => Balance::RoundRobin,
        }
    }
}

impl From<CauseWord> for Cause {
    fn from(word: CauseWord) -> Self {
        match word {
            CauseWord::Connect => Cause::Connect,
            CauseWord::Reset => Cause::Reset,
            CauseWord::Timeout => Cause::Timeout,
            CauseWord::InternalError => Cause::InternalError,
            CauseWord::BadGateway => Cause::BadGateway,
            CauseWord::Unavailable => Cause::Unavailable,
            CauseWord::GatewayTimeout => Cause::GatewayTimeout,
        }
    }
}
