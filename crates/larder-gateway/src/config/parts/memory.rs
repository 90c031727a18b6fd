//! `[memory]`: what the cache may hold.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::value::Size;

/// `[memory]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Memory {
    /// How much memory the cache may fill. Default 256MiB, or half of process where that is less; at least 1MiB
    #[schemars(example = &"256MiB")]
    pub size: Option<Size>,
    /// Longer bodies are not stored; they pass to their readers. Default 32MiB
    #[schemars(example = &"32MiB")]
    pub max_body: Option<Size>,
    /// How much memory the whole process may take, with connections and whatever is on its way. Near it the cache shrinks
    /// and the oldest connections go, and from four fifths on what is not stored is answered 503. Default the limit of its
    /// container (cgroup), if there is one; at least 32MiB. Only on Linux
    #[schemars(example = &"1GiB")]
    pub process: Option<Size>,
}
