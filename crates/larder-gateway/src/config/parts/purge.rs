//! `[purge]`: purges where requests come, for applications that are set up for other caches.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::value::{Count, Peer};

/// `[purge]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PurgePart {
    /// Which clients may purge with the methods PURGE and BAN where requests come, by address or network; behind
    /// trusted_peers those whom the proxy names. With token_file both must be right. Default none: without either, these
    /// methods pass to the service
    #[schemars(example = ["192.0.2.7", "10.0.0.0/8"])]
    pub allow: Option<Vec<Peer>>,
    /// A file with a secret in its first line: who sends it in Authorization: Bearer, or in Fastly-Key, may purge where
    /// requests come. Default none
    #[schemars(example = &"purge-token")]
    pub token_file: Option<PathBuf>,
    /// What becomes of what is purged, where a request does not say: soft is stale, hard is gone. Default soft
    #[schemars(example = &"soft")]
    pub mode: Option<ModeWord>,
    /// Whether what such a request marks stale is asked for again, what was read most first, before its readers come. Default
    /// false
    #[schemars(example = true)]
    pub refresh: Option<bool>,
    /// How many such requests are taken in a second, and ten times as many at once; more are answered 429. Default 100
    #[schemars(example = 100)]
    pub rate: Option<Count>,
    /// How many requests may wait where a purge is to refresh what it marks stale; what is read least of it is left to its next
    /// readers. Default 1000
    #[schemars(example = 1000)]
    pub refresh_queue: Option<Count>,
    /// How many of them are under way at once. Default 4
    #[schemars(example = 4)]
    pub refresh_at_once: Option<Count>,
    /// How many of them begin in a second. Default 50
    #[schemars(example = 50)]
    pub refresh_per_second: Option<Count>,
}

/// What becomes of what is purged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ModeWord {
    /// It is stale.
    #[default]
    Soft,
    /// It is gone.
    Hard,
}
