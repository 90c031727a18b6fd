//! What is told of single requests, and where it goes.

use http::uri::PathAndQuery;

use crate::upstream::{Origin, OriginTls};

/// Which requests are traced, and who is sent what is known of them.
#[derive(Clone, Debug)]
pub struct TracesConfig {
    /// Who takes spans: OTLP over HTTP.
    pub endpoint: Origin,
    /// Under which path.
    pub path: PathAndQuery,
    /// For an endpoint over TLS: who vouches for it.
    pub tls: Option<OriginTls>,
    /// By what name this gateway is known there.
    pub service_name: String,
    /// How many of the requests are traced that nobody before has decided over, from 0 to 1.
    pub sample: f64,
    /// Whose word counts that a request is a part of a trace.
    pub parents: Parents,
    /// So many spans may wait to be sent; what comes beyond is dropped and counted. At least 1.
    pub buffer: usize,
}

/// Whose word counts that a request is a part of a trace (`traceparent`), and whether that is sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Parents {
    /// That of peers who are believed about those behind them.
    #[default]
    Trusted,
    /// Everybody's: whoever likes has each of his requests traced.
    All,
    /// Nobody's: each trace begins here.
    None,
}

/// What became of spans so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceCounts {
    /// Requests that are traced.
    pub requests: u64,
    /// Spans that whoever takes them has taken.
    pub sent: u64,
    /// Spans that were dropped because as many waited as may.
    pub no_room: u64,
    /// Spans that were dropped because they were not taken.
    pub refused: u64,
    /// Spans that wait to be sent, now.
    pub waiting: u64,
}
