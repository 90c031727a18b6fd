//! Certificate: one for this machine, made anew, and its key.

use std::path::PathBuf;

use tempfile::TempDir;

/// A certificate for `localhost` and `127.0.0.1` that is signed by itself. It and its key lie in PEM files,
/// which are gone when it is dropped.
#[derive(Debug)]
pub struct Certificate {
    der: Vec<u8>,
    folder: TempDir,
}

impl Certificate {
    /// Another one each time.
    #[expect(clippy::new_without_default, reason = "none is like another")]
    pub fn new() -> Certificate {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let certificate = Certificate { der: made.cert.der().to_vec(), folder };
        std::fs::write(certificate.file(), made.cert.pem()).unwrap();
        std::fs::write(certificate.key(), made.signing_key.serialize_pem()).unwrap();
        certificate
    }

    /// As a client has it who is to trust it.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Where the certificate lies.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    /// Where its key lies.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }
}
