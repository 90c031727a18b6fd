//! Credential: a secret of an account, which comes from a file or the environment and is never shown.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::AcqRel},
    },
    time::Duration,
};

use http::HeaderValue;
use tokio::{task::spawn_blocking, time::timeout};

/// What proves who asks. Clones are one. Its `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Secret(Arc<Inside>);

struct Inside {
    /// Held for moments.
    last: Mutex<Arc<str>>,
    file: Option<PathBuf>,
    /// The file is being read, which may hang.
    is_read: AtomicBool,
    /// It could not be read the last time, and that was told.
    fails: AtomicBool,
}

/// More is no secret but somebody's log.
const MOST_BYTES: u64 = 64 * 1024;
/// A file that takes longer to be read is not waited for.
const DISK: Duration = Duration::from_secs(1);

impl Secret {
    /// A text that can stand in a field; white space around it is no part of it. `None`: it is empty, or cannot.
    pub fn new(text: &str) -> Option<Secret> {
        Some(Secret::of(plain(text)?, None))
    }

    fn of(last: Arc<str>, file: Option<PathBuf>) -> Secret {
        let (is_read, fails) = (AtomicBool::new(false), AtomicBool::new(false));
        Secret(Arc::new(Inside { last: Mutex::new(last), file, is_read, fails }))
    }

    /// The secret in the first line of a file.
    fn in_file(file: &Path) -> Result<Secret, String> {
        Ok(Secret::of(of_file(file)?, Some(file.to_owned())))
    }

    /// Reads its file, if it is in one: it may have been renewed. One that cannot be read, or not within a second, leaves it as it
    /// was: who renews it may be writing, and a disk that hangs keeps one thread and no call.
    pub(in crate::cdn) async fn renew(&self) {
        if self.0.file.is_none() || self.0.is_read.swap(true, AcqRel) {
            return;
        }
        let read = self.clone();
        let read = spawn_blocking(move || {
            let Inside { last, file, is_read, fails } = &*read.0;
            match file.as_deref().map(of_file) {
                Some(Ok(secret)) => {
                    *last.lock().unwrap_or_else(PoisonError::into_inner) = secret;
                    fails.swap(false, AcqRel);
                }
                Some(Err(why)) if !fails.swap(true, AcqRel) => {
                    tracing::warn!("a credential counts as it was read last: {why}");
                }
                Some(Err(_)) | None => {}
            }
            is_read.swap(false, AcqRel);
        });
        // It goes on without it.
        timeout(DISK, read).await.ok();
    }

    /// What it was when it was read last.
    pub(super) fn reveal(&self) -> Arc<str> {
        Arc::clone(&self.0.last.lock().unwrap_or_else(PoisonError::into_inner))
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

    #[tokio::test]
    async fn a_secret_in_a_file_is_what_stands_there_when_it_is_renewed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "one\n").unwrap();
        let secret = OfProcess.read("token", Some(&file), None).unwrap();
        assert_eq!(secret.field("Bearer "), "Bearer one");
        std::fs::write(&file, "two\n").unwrap();
        secret.renew().await;
        assert_eq!(secret.clone().field("Bearer "), "Bearer two");
        // Who renews it may be writing.
        for unreadable in ["", "\n", "a\u{e9}\n"] {
            std::fs::write(&file, unreadable).unwrap();
            secret.renew().await;
            assert_eq!(&*secret.reveal(), "two", "{unreadable:?}");
        }
        std::fs::remove_file(&file).unwrap();
        secret.renew().await;
        assert_eq!(&*secret.reveal(), "two");
    }

    /// A pipe that nobody writes to is opened never.
    #[cfg(unix)]
    #[tokio::test]
    async fn a_file_that_hangs_keeps_nobody_for_long_and_is_asked_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "one\n").unwrap();
        let secret = OfProcess.read("token", Some(&file), None).unwrap();
        std::fs::remove_file(&file).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .unwrap();
        let began = std::time::Instant::now();
        for _ in 0..20 {
            secret.renew().await;
        }
        assert!(began.elapsed() < 5 * DISK, "{:?}", began.elapsed());
        assert_eq!(&*secret.reveal(), "one");
        // What is written in the end is what counts.
        std::fs::write(&file, "two\n").unwrap();
        let is_two = async || (&*secret.reveal() == "two").then_some(());
        larder_test_support::eventually::eventually("what was written to be read", is_two).await;
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
