//! `[access_log]`: a line for each request.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    access::{Addresses, Format, Query},
    config::value::Size,
};

/// `[access_log]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AccessLogPart {
    /// Where a line goes for each request: "stdout", or a file, which is opened anew on SIGUSR1. Default none: there is
    /// no access log
    #[schemars(example = &"access.log")]
    pub to: Option<String>,
    /// How lines are written: as JSON objects, or in the combined format of other servers with the cache's words behind
    /// it. Default "json"
    #[schemars(example = &"combined")]
    pub format: Option<FormatWord>,
    /// How many of the requests are logged that were answered whole and without an error, from 0 to 1; others are in any
    /// case. Default 1.0
    #[schemars(example = 0.1)]
    pub sample: Option<f64>,
    /// What becomes of queries, those of Referer among them: they are kept, their values are masked, or they are dropped.
    /// Default "mask": nobody knows what is in them
    #[schemars(example = &"keep")]
    pub query: Option<QueryWord>,
    /// What becomes of the addresses of those who ask: they are kept, masked (a /24 of IPv4, a /48 of IPv6 is left), or
    /// dropped. Default "keep"
    #[schemars(example = &"mask")]
    pub addresses: Option<AddressesWord>,
    /// How much may wait to be written where the disk, or whoever reads, is slow; lines beyond are lost and counted.
    /// Default 1MiB, at least 64KiB
    #[schemars(example = &"1MiB")]
    pub buffer: Option<Size>,
}

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FormatWord {
    /// One JSON object a line
    #[default]
    Json,
    /// The combined format
    Combined,
}

/// What becomes of queries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum QueryWord {
    /// They are logged
    Keep,
    /// Their names are
    #[default]
    Mask,
    /// They are not
    Drop,
}

/// What becomes of addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AddressesWord {
    /// They are logged
    #[default]
    Keep,
    /// Their networks are
    Mask,
    /// They are not
    Drop,
}

impl From<FormatWord> for Format {
    fn from(word: FormatWord) -> Self {
        match word {
            FormatWord::Json => Format::Json,
            FormatWord::Combined => Format::Combined,
        }
    }
}

impl From<QueryWord> for Query {
    fn from(word: QueryWord) -> Self {
        match word {
            QueryWord::Keep => Query::Keep,
            QueryWord::Mask => Query::Mask,
            QueryWord::Drop => Query::Drop,
        }
    }
}

impl From<AddressesWord> for Addresses {
    fn from(word: AddressesWord) -> Self {
        match word {
            AddressesWord::Keep => Addresses::Keep,
            AddressesWord::Mask => Addresses::Mask,
            AddressesWord::Drop => Addresses::Drop,
        }
    }
}
