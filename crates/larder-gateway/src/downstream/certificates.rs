//! Certificates: those of a listener, and which of them a reader is shown.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{SignatureScheme, crypto::aws_lc_rs, pki_types::CertificateDer, sign::CertifiedKey};
use x509_parser::extensions::GeneralName;

use super::tls::TlsError;
use crate::pem::{read_chain, read_key};

/// A certificate and its key, in two PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The server's own certificate first, then those that vouch for it up to one that readers know.
    pub certificate: PathBuf,
    /// The private key of the first.
    pub key: PathBuf,
}

/// What a reader is shown that asks for a name that no certificate has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownNames {
    /// The first certificate, as who names nothing.
    #[default]
    First,
    /// None: the handshake fails.
    Refuse,
}

/// What is told of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Its file.
    pub file: PathBuf,
    /// The names that it is for, in small letters; `*.example.org` is for those one label longer.
    pub names: Vec<String>,
    /// When it ends.
    pub expires_at: SystemTime,
}

/// All certificates of a listener, as their files were at one time.
#[derive(Debug)]
pub(crate) struct Certificates {
    all: Vec<Certificate>,
    /// Which are for a name, and for all names below one, by the place in `all`.
    exact: HashMap<String, Vec<usize>>,
    below: HashMap<String, Vec<usize>>,
    unknown: UnknownNames,
}

#[derive(Debug)]
struct Certificate {
    key: Arc<CertifiedKey>,
    facts: CertificateFacts,
}

impl Certificates {
    /// Reads them all, the first one first.
    pub(crate) fn read(pairs: &[Pair], unknown: UnknownNames) -> Result<Certificates, TlsError> {
        let all = pairs.iter().map(Certificate::read).collect::<Result<Vec<_>, _>>()?;
        let (mut exact, mut below) = (HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new());
        for (place, certificate) in all.iter().enumerate() {
            for name in &certificate.facts.names {
                let (names, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut below, parent),
                    None => (&mut exact, name.as_str()),
                };
                names.entry(name.to_owned()).or_default().push(place);
            }
        }
        Ok(Certificates { all, exact, below, unknown })
    }

    pub(crate) fn facts(&self) -> impl Iterator<Item = &CertificateFacts> {
        self.all.iter().map(|certificate| &certificate.facts)
    }

    /// Whether a connection that was opened for one name may not be for another: there are several sites, or one that is for
    /// no other names.
    pub(crate) fn tell_names_apart(&self) -> bool {
        self.all.len() > 1 || self.unknown == UnknownNames::Refuse
    }

    /// Whether any is for this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        !self.named(name).is_empty()
    }

    /// Which one a reader is shown that asks for `name`. Of several for one name it is the first whose key the reader
    /// can use.
    pub(crate) fn shown(
        &self,
        name: Option<&str>,
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let named = name.map(|name| self.named(name)).unwrap_or_default();
        let all: Vec<_> = (0..self.all.len()).collect();
        let candidates = match named {
            [] if name.is_some() && self.unknown == UnknownNames::Refuse => return None,
            [] => &all,
            named => named,
        };
        let fits = |place: &&usize| self.all[**place].key.key.choose_scheme(schemes).is_some();
        let place = candidates.iter().find(fits).or(candidates.first())?;
        Some(Arc::clone(&self.all[*place].key))
    }

    /// Whether a connection that was opened for the one name may be asked for the other: they are shown the same.
    pub(crate) fn are_one(&self, name: &str, other: &str) -> bool {
        let first = |name: &str| match (self.named(name), self.unknown) {
            ([first, ..], _) => Some(*first),
            ([], UnknownNames::First) => Some(0),
            ([], UnknownNames::Refuse) => None,
        };
        first(name).is_some_and(|place| first(other) == Some(place))
    }

    /// The exact name counts before all names below one (RFC 9525 §6.3: a star stands for one label).
    fn named(&self, name: &str) -> &[usize] {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let below = || self.below.get(name.split_once('.')?.1);
        self.exact.get(&name).or_else(below).map_or(&[], Vec::as_slice)
    }
}

impl Certificate {
    fn read(pair: &Pair) -> Result<Certificate, TlsError> {
        let Pair { certificate, key } = pair;
        let (chain, private_key) = (read_chain(certificate)?, read_key(key)?);
        let own = chain[0].clone();
        let loaded = CertifiedKey::from_der(chain, private_key, &aws_lc_rs::default_provider());
        let loaded = loaded.map_err(|source| match source {
            rustls::Error::InconsistentKeys(_) => {
                TlsError::NotAPair { certificate: certificate.clone(), key: key.clone() }
            }
            rustls::Error::InvalidCertificate(_) => {
                TlsError::Certificate { file: certificate.clone(), source }
            }
            _ => TlsError::Key { file: key.clone(), source },
        })?;
        let unusable = || TlsError::Certificate {
            file: certificate.clone(),
            source: rustls::CertificateError::BadEncoding.into(),
        };
        let (names, expires_at) = facts_of(&own).ok_or_else(unusable)?;
        let facts = CertificateFacts { file: certificate.clone(), names, expires_at };
        Ok(Certificate { key: Arc::new(loaded), facts })
    }
}

/// Its names, and when it ends.
fn facts_of(der: &CertificateDer<'_>) -> Option<(Vec<String>, SystemTime)> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let names = certificate.subject_alternative_name().ok()?;
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or_default();
    Some((names.collect(), UNIX_EPOCH + Duration::from_secs(seconds)))
}

/// What tells one state of a file from another, without reading it. What is replaced by a rename, or behind a symbolic
/// link, is another file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(Option<[i128; 4]>);

impl Stamp {
    pub(crate) fn of(file: &Path) -> Stamp {
        let stamp = fs::metadata(file).map(|facts| {
            let changed = i128::from(facts.ctime()) << 32 | i128::from(facts.ctime_nsec());
            let written = i128::from(facts.mtime()) << 32 | i128::from(facts.mtime_nsec());
            [facts.ino().into(), facts.size().into(), changed, written]
        });
        Stamp(stamp.ok())
    }
}
