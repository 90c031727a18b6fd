//! Certificate: one for this machine, made anew, and its key.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
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

/// Somebody who vouches for others. Dropping it removes its files, and those of none of the others.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

/// No two authorities have one name: it is how they are found.
static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// Until when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Long enough for any test.
    Now,
    /// It has ended.
    Over,
    /// It has not begun.
    Later,
}

impl Authority {
    /// Another one each time.
    #[expect(clippy::new_without_default, reason = "none is like another")]
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("authority {number} of {}", std::process::id());
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Authority { issuer, folder: tempfile::tempdir().unwrap() };
        std::fs::write(authority.file(), authority.issuer.pem()).unwrap();
        authority
    }

    /// Its own certificate.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// A certificate for these names.
    pub fn issue(&self, names: &[&str], validity: Validity) -> Certificate {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        (params.not_before, params.not_after) = match validity {
            Validity::Now => (date_time_ymd(2020, 1, 1), date_time_ymd(2090, 1, 1)),
            Validity::Over => (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1)),
            Validity::Later => (date_time_ymd(2080, 1, 1), date_time_ymd(2090, 1, 1)),
        };
        let key = KeyPair::generate().unwrap();
        let made = params.signed_by(&key, &self.issuer).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let certificate = Certificate { der: made.der().to_vec(), folder };
        std::fs::write(certificate.file(), made.pem()).unwrap();
        std::fs::write(certificate.key(), key.serialize_pem()).unwrap();
        certificate
    }
}
