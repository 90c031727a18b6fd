//! Names: what lies under which key of the server.
//!
//! | key | what it is | its lifetime |
//! | --- | --- | --- |
//! | `{larder:NS}:…` | the log and what belongs to it ([`control`](Names::control)), for all versions | none |
//! | `larder1:NS:h:KEY` | a hash of the records of a key, a field for each variant | that of the longest |
//! | `larder1:NS:b:ID:INDEX` | a piece of a body | a little longer than its record's |
//! | `larder:NS:l:KEY\|WANTED` | who may fetch what of a key | short, and renewed |

use super::ConnectError;
use crate::tier::lower::BodyId;

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

    /// The records of a key.
    pub(super) fn head(&self, key: &str) -> String {
        let NameOf(sign, name) = short(key.to_owned());
        format!("{VERSION}:{}:h{sign}{name}", self.namespace)
    }

    /// A piece of a body.
    pub(super) fn piece(&self, BodyId(id): BodyId, index: u32) -> String {
        format!("{VERSION}:{}:b:{id:032x}:{index}", self.namespace)
    }

    /// The right to fetch what is `wanted` of a key. Two rights that happen to have one name wait for each other, and
    /// that is all.
    pub(super) fn lease(&self, key: &str, wanted: &str) -> String {
        let NameOf(sign, name) = short(format!("{key}|{wanted}"));
        format!("larder:{}:l{sign}{name}", self.namespace)
    }

    /// The channel on which the names of leases are published that were given back.
    pub(super) fn leases(&self) -> String {
        format!("larder:{}:leases", self.namespace)
    }
}

/// A text as it is, or its hash, and the sign that tells which.
struct NameOf(char, String);

fn short(text: String) -> NameOf {
    match text.len() <= LONGEST_KEY {
        true => NameOf(':', text),
        false => NameOf('#', blake3::hash(text.as_bytes()).to_hex().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_key_is_named_by_its_hash_and_no_other_key_has_that_name() {
        let names = Names::new("blog").unwrap();
        assert_eq!(names.head("post:1"), "larder1:blog:h:post:1");
        let long = names.head(&"x".repeat(201));
        assert!(long.len() < 100, "{long}");
        let hash = long.strip_prefix("larder1:blog:h#").unwrap();
        assert_ne!(names.head(hash), long);
    }

    #[test]
    fn a_name_space_cannot_reach_into_another() {
        for namespace in ["", "a:h", "{a}", "a b", "ä", &"a".repeat(65)] {
            assert!(matches!(Names::new(namespace), Err(ConnectError::Namespace)), "{namespace}");
        }
        assert!(Names::new("Blog_2.test-a").is_ok());
    }
}
