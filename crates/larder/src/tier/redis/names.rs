//! Names: what lies under which key of the server.

use super::ConnectError;

/// Records of another version would not be understood.
const VERSION: &str = "larder1";
/// Longer keys are named by their hash: they would be sent with each command.
const LONGEST_KEY: usize = 200;

/// The keys of one name space.
#[derive(Clone, Debug)]
pub(super) struct Names {
    namespace: String,
}

impl Names {
    /// A name space is up to 64 letters, digits, `_`, `-` and `.`, so that no two of them give one key.
    pub(super) fn new(namespace: &str) -> Result<Self, ConnectError> {
        let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if namespace.is_empty() || namespace.len() > 64 || !namespace.bytes().all(is_fine) {
            return Err(ConnectError::Namespace);
        }
        Ok(Names { namespace: namespace.to_owned() })
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// What is about the log: `ctl`, `log`, `fences`, `ids`, `readers`. All of it lies in one slot of a cluster, and is
    /// for all versions.
    pub(super) fn control(&self, what: &str) -> String {
        format!("{{larder:{}}}:{what}", self.namespace)
    }
}

/// A key as it is in a name, or its hash. The sign before it tells which.
fn key_name(key: &str) -> String {
    if key.len() <= LONGEST_KEY {
        return format!(":{key}");
    }
    format!("#{}", blake3::hash(key.as_bytes()).to_hex())
}

impl Names {
    /// The records of a key.
    pub(super) fn head(&self, key: &str) -> String {
        format!("{VERSION}:{}:h{}", self.namespace, key_name(key))
    }
}
