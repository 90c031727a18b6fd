//! `[tracing]`: spans of single requests.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{config::value::Count, traces::Parents};

/// `[tracing]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TracingPart {
    /// Who takes spans over HTTP (OTLP): its address, behind which the path is /v1/traces. Default none: nothing is traced
    #[schemars(example = &"http://127.0.0.1:4318")]
    pub endpoint: Option<String>,
    /// How many of the requests are traced that nobody before has decided over, from 0 to 1. Default 0.01
    #[schemars(example = 0.01)]
    pub sample: Option<f64>,
    /// By what name this gateway is known there. Default "larder"
    #[schemars(example = &"edge")]
    pub service_name: Option<String>,
    /// Whose traceparent says of which trace a request is a part, and whether that is sampled: of those in
    /// trusted_peers, of all (anybody may have requests traced), or of none. Default "trusted"
    #[schemars(example = &"trusted")]
    pub parents: Option<ParentsWord>,
    /// How many spans may wait to be sent; what comes beyond is dropped and counted. Default 2048
    #[schemars(example = 2048)]
    pub buffer: Option<Count>,
}

/// Whose traceparent counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ParentsWord {
    /// That of trusted peers
    #[default]
    Trusted,
    /// Everybody's
    All,
    /// Nobody's
    None,
}

impl From<ParentsWord> for Parents {
    fn from(word: ParentsWord) -> Self {
        match word {
            ParentsWord::Trusted => Parents::Trusted,
            ParentsWord::All => Parents::All,
            ParentsWord::None => Parents::None,
        }
    }
}
