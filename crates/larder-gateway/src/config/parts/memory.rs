//! `[memory]`: what the cache may hold.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::value::Size;

/// `[memory]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Memory {
    /// How much memory the cache may fill. Default 256MiB, at least 1MiB
    #[schemars(example = &"256MiB")]
    pub size: Option<Size>,
    /// Longer bodies are not stored; they pass to their readers. Default 32MiB
    #[schemars(example = &"32MiB")]
    pub max_body: Option<Size>,
}
