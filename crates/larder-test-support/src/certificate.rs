//! Certificate: one for this machine, made anew, and its key.

use std::path::PathBuf;

use rcgen::{CertificateParams, KeyPair};
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
        Certificate::for_names(&["localhost", "127.0.0.1"])
    }

    /// For these names, `*.example.org` among them or not.
    pub fn for_names(names: &[&str]) -> Certificate {
        Certificate::made(names, |_| {})
    }

    /// One that ended at the end of 1974.
    pub fn ended(names: &[&str]) -> Certificate {
        Certificate::made(names, |parameters| {
            parameters.not_before = rcgen::date_time_ymd(1974, 1, 1);
            parameters.not_after = rcgen::date_time_ymd(1975, 1, 1);
        })
    }

    fn made(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut parameters = CertificateParams::new(names).unwrap();
        change(&mut parameters);
        let key = KeyPair::generate().unwrap();
        let made = parameters.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let certificate = Certificate { der: made.der().to_vec(), folder };
        std::fs::write(certificate.file(), made.pem()).unwrap();
        std::fs::write(certificate.key(), key.serialize_pem()).unwrap();
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
