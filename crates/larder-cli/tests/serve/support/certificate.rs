//! Certificate: one for this machine, made anew, and its key.

use std::path::PathBuf;

use tempfile::TempDir;

/// Both in PEM files, which are gone when it is dropped.
pub(crate) struct Certificate(TempDir);

impl Certificate {
    pub(crate) fn new() -> Certificate {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let certificate = Certificate(tempfile::tempdir().unwrap());
        std::fs::write(certificate.file(), made.cert.pem()).unwrap();
        std::fs::write(certificate.key(), made.signing_key.serialize_pem()).unwrap();
        certificate
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.path().join("certificate.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.0.path().join("key.pem")
    }

    /// What `larder serve` is told of it.
    pub(crate) fn flags(&self) -> [String; 4] {
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        let [certificate, key] = ["--tls-certificate", "--tls-key"].map(str::to_owned);
        [certificate, text(self.file()), key, text(self.key())]
    }
}
