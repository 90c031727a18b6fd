//! What an upstream of several addresses is told: how requests are shared out, and what becomes of failures.

use std::time::Duration;

use http::StatusCode;

use super::page::Page;
use crate::upstream::Origin;

/// The most addresses of one upstream: each request looks at all of them.
pub const MAX_ADDRESSES: usize = 64;

/// One address of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Where it is.
    pub origin: Origin,
    /// How many requests it gets in comparison with others, from 1 on.
    pub weight: u32,
    /// Whether it gets requests only while no other can.
    pub is_backup: bool,
    /// How many connections there may be; `None`: an equal share of the upstream's.
    pub max_connections: Option<usize>,
}

impl Address {
    /// One like all others.
    pub fn new(origin: Origin) -> Address {
        Address { origin, weight: 1, is_backup: false, max_connections: None }
    }
}

/// How an upstream uses its addresses. Every field has a default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginsConfig {
    /// Which address is asked next.
    pub balance: Balance,
    /// When an address is left alone.
    pub breaker: BreakerConfig,
    /// What is sent once more, to another address.
    pub retry: RetryConfig,
    /// For so long an address that is back gets fewer requests than its share: its caches are cold. Default 10 s.
    pub slow_start: Duration,
    /// Whether addresses are asked how they are. Default not.
    pub health: Option<HealthConfig>,
    /// What readers are told while no address answers. Default a problem document.
    pub page: Option<Page>,
}

/// Which address is asked next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// The one with the fewest requests under way for its weight, and among those in turn. The default: an address that
    /// slows down gets fewer requests before anything else has noticed.
    #[default]
    LeastOutstanding,
    /// All in turn, by their weights.
    RoundRobin,
}

/// When an address is left alone, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerConfig {
    /// After so many failures in a row. Default 5.
    pub failures: u32,
    /// For so long at first, and each time twice as long. Default 1 s.
    pub back_off: Duration,
    /// And never for longer. Default 30 s.
    pub max_back_off: Duration,
}

/// What is sent once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryConfig {
    /// After what.
    pub on: RetryOn,
    /// How often one request is sent, at most, to one address or several. Default 3; 1 for no retries.
    pub attempts: u32,
    /// So many of a hundred requests may be sent once more. Default 10.
    pub percent: u32,
    /// And so many a second, where there are few requests. Default 10.
    pub per_second: u32,
}

/// A set of causes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryOn(u8);

/// What a request may be sent once more for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// There was no connection. Any request may be sent once more that has not begun to send its content.
    Connect,
    /// The connection ended before an answer began. From here on: idempotent requests without content.
    Reset,
    /// No answer began in time.
    Timeout,
    /// 500.
    InternalError,
    /// 502.
    BadGateway,
    /// 503.
    Unavailable,
    /// 504.
    GatewayTimeout,
}

/// How addresses are asked how they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthConfig {
    /// A GET of this path and query.
    pub path: http::uri::PathAndQuery,
    /// With this `Host`; `None`: the address.
    pub host: Option<http::HeaderValue>,
    /// From one answer to the next question. Default 5 s.
    pub every: Duration,
    /// How long an answer may take. Default 2 s.
    pub timeout: Duration,
    /// What it has to say; empty, the default, for any 2xx.
    pub expect: Vec<StatusCode>,
    /// An address is asked again after so many good answers in a row. Default 2.
    pub healthy_after: u32,
    /// And no more after so many others. Default 3.
    pub unhealthy_after: u32,
}

impl Default for OriginsConfig {
    fn default() -> Self {
        OriginsConfig {
            balance: Balance::default(),
            breaker: BreakerConfig::default(),
            retry: RetryConfig::default(),
            slow_start: Duration::from_secs(10),
            health: None,
            page: None,
        }
    }
}

impl Default for BreakerConfig {
    fn default() -> Self {
        BreakerConfig {
            failures: 5,
            back_off: Duration::from_secs(1),
            max_back_off: Duration::from_secs(30),
        }
    }
}

impl Default for RetryConfig {
    fn default() -> Self {
        let on = RetryOn::default().with(Cause::Connect).with(Cause::Reset);
        RetryConfig { on, attempts: 3, percent: 10, per_second: 10 }
    }
}

impl HealthConfig {
    /// This path, and all defaults.
    pub fn new(path: http::uri::PathAndQuery) -> HealthConfig {
        HealthConfig {
            path,
            host: None,
            every: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            expect: Vec::new(),
            healthy_after: 2,
            unhealthy_after: 3,
        }
    }
}

impl RetryOn {
    /// And this one.
    #[must_use]
    pub fn with(self, cause: Cause) -> RetryOn {
        RetryOn(self.0 | 1 << cause as u8)
    }

    /// Whether this is one of them.
    pub fn has(self, cause: Cause) -> bool {
        self.0 & (1 << cause as u8) != 0
    }

    /// Whether a status is one of them.
    pub(super) fn status(self, status: StatusCode) -> bool {
        let cause = match status {
            StatusCode::INTERNAL_SERVER_ERROR => Cause::InternalError,
            StatusCode::BAD_GATEWAY => Cause::BadGateway,
            StatusCode::SERVICE_UNAVAILABLE => Cause::Unavailable,
            StatusCode::GATEWAY_TIMEOUT => Cause::GatewayTimeout,
            _ => return false,
        };
        self.has(cause)
    }
}
