//! `[log]`: what is logged.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[log]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogPart {
    /// What to log: error, warn, info, debug or off, and levels by module (info,h2=debug). Default info
    #[schemars(example = &"info")]
    pub levels: Option<String>,
}
