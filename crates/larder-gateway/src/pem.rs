//! Pem: certificates and private keys in text files, as people have them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustls::pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};

/// Why a file will not do. The texts are for whoever chose it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PemError {
    /// Not there, or not ours to read.
    #[error("cannot read {}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It begins like PEM, and goes on otherwise.
    #[error("{} is damaged: copy it anew from where it came", .file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
    },
    /// PEM is ASCII, in bytes.
    #[error("{} is UTF-16: save it as plain text", .file.display())]
    Utf16 {
        /// The file.
        file: PathBuf,
    },
    /// Something else, perhaps the key.
    #[error(
        "there is no certificate in {0}: it needs one in PEM form, which begins with \
         -----BEGIN CERTIFICATE----- (from DER: `openssl x509 -inform der -in {0} -out FILE`)",
        .file.display()
    )]
    NoCertificate {
        /// The file.
        file: PathBuf,
    },
    /// Something else, perhaps the certificate.
    #[error(
        "there is no private key in {}: it needs one in PEM form, \
         which begins with -----BEGIN PRIVATE KEY-----",
        .file.display()
    )]
    NoKey {
        /// The file.
        file: PathBuf,
    },
    /// Only its owner's passphrase opens it.
    #[error(
        "the private key in {0} is locked with a passphrase: \
         unlock it with `openssl pkey -in {0} -out FILE`, and give FILE",
        .file.display()
    )]
    KeyLocked {
        /// The file.
        file: PathBuf,
    },
}

impl PemError {
    /// The file.
    pub fn file(&self) -> &Path {
        match self {
            PemError::Unreadable { file, .. }
            | PemError::Damaged { file }
            | PemError::Utf16 { file }
            | PemError::NoCertificate { file }
            | PemError::NoKey { file }
            | PemError::KeyLocked { file } => file,
        }
    }
}

/// The certificates in a file, at least one.
pub(crate) fn read_chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let bytes = read(file)?;
    let chain = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|_| PemError::Damaged { file: file.into() })?;
    if chain.is_empty() {
        return Err(PemError::NoCertificate { file: file.into() });
    }
    Ok(chain)
}

/// The private key in a file.
pub(crate) fn read_key(file: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    let bytes = read(file)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
        let file = file.into();
        // In the form of today its label says so, in the older one a line below it.
        if memchr::memmem::find(&bytes, b"ENCRYPTED").is_some() {
            return PemError::KeyLocked { file };
        }
        match error {
            pem::Error::NoItemsFound => PemError::NoKey { file },
            _ => PemError::Damaged { file },
        }
    })
}

fn read(file: &Path) -> Result<Vec<u8>, PemError> {
    let mut bytes =
        fs::read(file).map_err(|source| PemError::Unreadable { file: file.into(), source })?;
    // Some editors mark what they write, at its front.
    match bytes[..] {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Err(PemError::Utf16 { file: file.into() }),
        [0xef, 0xbb, 0xbf, ..] => Ok(bytes.split_off(3)),
        _ => Ok(bytes),
    }
}
