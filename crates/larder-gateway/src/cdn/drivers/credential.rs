//! Credential: a secret of an account, which comes from a file or the environment and is never shown.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use http::HeaderValue;

/// What proves who asks. One in a file is read each time it is needed: it may be renewed. Its `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Secret {
    /// Clones have the same. Held for moments.
    last: Arc<Mutex<Arc<str>>>,
    file: Option<Arc<Path>>,
}

/// More is no secret but somebody's log.
const MOST_BYTES: u64 = 64 * 1024;

impl Secret {
    /// A text that can stand in a field; white space around it is no part of it. `None`: it is empty, or cannot.
    pub fn new(text: &str) -> Option<Secret> {
        Some(Secret { last: Arc::new(Mutex::new(plain(text)?)), file: None })
    }

    /// The secret in the first line of a file.
    fn in_file(file: &Path) -> Result<Secret, String> {
        let last = Arc::new(Mutex::new(of_file(file)?));
        Ok(Secret { last, file: Some(file.into()) })
    }

    /// What it is now; of a file that cannot be read, what it was last: who renews it may be writing.
    pub(super) fn reveal(&self) -> Arc<str> {
        let read = self.file.as_deref().and_then(|file| of_file(file).ok());
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(read) = read {
            *last = read;
        }
        Arc::clone(&last)
    }

    /// As the value of a field, which no log shows either.
    pub(super) fn field(&self, before: &str) -> HeaderValue {
        let text = format!("{before}{}", self.reveal());
        let mut value = HeaderValue::from_str(&text).expect("a secret is visible ASCII");
        value.set_sensitive(true);
        value
    }
}

fn plain(text: &str) -> Option<Arc<str>> {
    let text = text.trim();
    let fits = !text.is_empty() && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    fits.then(|| text.into())
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Reads what a table of the configuration names: the first line of a file, or a variable.
pub trait Secrets {
    /// The secret behind the keys `<key>_file` and `<key>_env`.
    ///
    /// # Errors
    ///
    /// None of the two is said, both are, or what is said holds no secret.
    fn read(
        &self,
        key: &'static str,
        file: Option<&Path>,
        variable: Option<&str>,
    ) -> Result<Secret, Wrong>;
}

/// What is wrong with a table of the configuration, and at which key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {what}")]
pub struct Wrong {
    /// The key.
    pub key: &'static str,
    /// What is wrong, for who wrote it.
    pub what: String,
}

impl Wrong {
    pub(super) fn new(key: &'static str, what: impl Into<String>) -> Wrong {
        Wrong { key, what: what.into() }
    }
}

/// The files and the environment of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct OfProcess;

impl Secrets for OfProcess {
    fn read(
        &self,
        key: &'static str,
        file: Option<&Path>,
        variable: Option<&str>,
    ) -> Result<Secret, Wrong> {
        match (file, variable) {
            (Some(file), None) => Secret::in_file(file).map_err(|what| Wrong::new(key, what)),
            (None, Some(name)) => {
                let text = std::env::var(name).unwrap_or_default();
                Secret::new(&text)
                    .ok_or_else(|| Wrong::new(key, format!("there is no secret in ${name}")))
            }
            (None, None) => {
                Err(Wrong::new(key, format!("say {key}_file, or {key}_env: it is needed")))
            }
            (Some(_), Some(_)) => {
                Err(Wrong::new(key, format!("say {key}_file or {key}_env, and not both")))
            }
        }
    }
}

/// The secret in the first line of a file.
fn of_file(file: &Path) -> Result<Arc<str>, String> {
    use std::io::Read;
    let shown = file.display();
    let opened = std::fs::File::open(file).map_err(|error| format!("{shown}: {error}"))?;
    let mut text = String::new();
    opened
        .take(MOST_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| format!("{shown}: {error}"))?;
    let line = text.lines().next().unwrap_or_default();
    plain(line).ok_or_else(|| format!("{shown}: there is no secret in its first line"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_by_nothing() {
        let secret = Secret::new(" s3cret\n").unwrap();
        assert_eq!(&*secret.reveal(), "s3cret");
        let shown = format!("{secret:?} {:?}", secret.field("Bearer "));
        assert!(!shown.contains("s3cret"), "{shown}");
    }

    #[test]
    fn a_secret_in_a_file_is_what_stands_there_now() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "one\n").unwrap();
        let secret = OfProcess.read("token", Some(&file), None).unwrap();
        assert_eq!(secret.field("Bearer "), "Bearer one");
        std::fs::write(&file, "two\n").unwrap();
        assert_eq!(secret.clone().field("Bearer "), "Bearer two");
        // Who renews it may be writing.
        for unreadable in ["", "\n", "a\u{e9}\n"] {
            std::fs::write(&file, unreadable).unwrap();
            assert_eq!(&*secret.reveal(), "two", "{unreadable:?}");
        }
        std::fs::remove_file(&file).unwrap();
        assert_eq!(&*secret.reveal(), "two");
    }

    #[test]
    fn what_is_no_secret_is_told_with_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let (empty, good) = (folder.path().join("empty"), folder.path().join("good"));
        std::fs::write(&empty, "\n\n").unwrap();
        std::fs::write(&good, "abc\nnot this\n").unwrap();
        let read = |file: Option<&Path>, variable| OfProcess.read("token", file, variable);
        assert_eq!(&*read(Some(&good), None).unwrap().reveal(), "abc");
        for (wrong, words) in [
            (read(None, None), "say token_file, or token_env"),
            (read(Some(&good), Some("A")), "not both"),
            (read(Some(&empty), None), "no secret in its first line"),
            (read(Some(&folder.path().join("none")), None), "No such file"),
            (read(None, Some("LARDER_NO_SUCH_VARIABLE")), "no secret in $LARDER_NO_SUCH_VARIABLE"),
        ] {
            let said = wrong.unwrap_err().to_string();
            assert!(said.starts_with("token: ") && said.contains(words), "{said}");
        }
        for text in ["", " ", "a\u{e9}", "a\nb", "a\u{7f}"] {
            assert!(Secret::new(text).is_none(), "{text:?}");
        }
    }
}
