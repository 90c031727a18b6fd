//! `[admin]`: where questions about the cache are answered.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::value::Listen;

/// `[admin]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdminPart {
    /// Where to answer questions about the cache, and purges; loopback only, since there is no log-in. Default nowhere
    #[schemars(example = &"127.0.0.1:9191")]
    pub listen: Option<Listen>,
}
