//! Tls: certificates and their keys, and what they make of a connection.
//!
//! TLS 1.2 and 1.3, with the suites that the provider's authors recommend. A reader says by ALPN
//! whether it speaks HTTP/2. Sessions are resumed by tickets, whose keys change every six hours and are
//! kept nowhere else, so nothing is remembered of a reader. Nothing is answered before a handshake is
//! over (0-RTT): what comes so early may have been sent before.
//!
//! Certificates are read anew when their files change, all of a listener's at once or none: what is half written
//! leaves those before it in use. Connections and tickets go on.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::{self, Ticketer},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

pub use super::certificates::{CertificateFacts, Pair, UnknownNames};
use super::{
    certificates::{Certificates, Stamp},
    peer::TlsFacts,
};
use crate::pem::PemError;

const HTTP_2: &[u8] = b"h2";
/// By their names in the handshake, the best first. A reader that names none of these is refused; one
/// that names nothing speaks HTTP/1.
const PROTOCOLS: [&[u8]; 3] = [HTTP_2, b"http/1.1", b"http/1.0"];

/// What a listener is to speak TLS with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// Its certificates. The first one is shown to who names no host. At least one.
    pub pairs: Vec<Pair>,
    /// What is shown to who names a host that none of them is for. Default the first.
    pub unknown_names: UnknownNames,
    /// The oldest version that is spoken. Default 1.2.
    pub min_version: TlsVersion,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[default]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

/// What a listener needs to be spoken to over TLS. Clones share it.
#[derive(Clone, Debug)]
pub struct Tls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: Arc<ServerConfig>,
    shown: Arc<Shown>,
    /// Protects what the certificates are read from, and how those files were when they were last looked at.
    files: Mutex<Files>,
}

#[derive(Debug)]
struct Files {
    config: TlsConfig,
    stamps: Vec<Stamp>,
}

/// The certificates of now.
#[derive(Debug)]
struct Shown(ArcSwap<Certificates>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load().shown(hello.server_name(), hello.signature_schemes())
    }
}

/// What has become of certificates that were looked after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// Their files are as they were.
    Unchanged,
    /// They were read anew, and new connections are shown the new ones.
    Renewed,
}

/// Why a certificate and a key will not do. The texts are for whoever chose the files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file that cannot be read, or holds something else.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// PEM, but what is inside is no certificate.
    #[error(
        "the certificate in {} cannot be used: it must be one of X.509 version 3 \
         (OpenSSL makes older ones where it is given no extensions)",
        .file.display()
    )]
    Certificate {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: rustls::Error,
    },
    /// PEM, but what is inside is no key, or of a kind that is not supported.
    #[error(
        "the private key in {} cannot be used: it must be RSA of 2048 bits or more, ECDSA on P-256, P-384 \
         or P-521, or Ed25519",
        .file.display()
    )]
    Key {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: rustls::Error,
    },
    /// Each is fine, but they are not a pair.
    #[error(
        "the private key in {} is not that of the first certificate in {}: \
         the server's own comes first, then those that vouch for it",
        .key.display(), .certificate.display()
    )]
    NotAPair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The system gives no random numbers.
    #[error("cannot make keys for session tickets")]
    Tickets(#[source] rustls::Error),
}

impl Tls {
    /// Reads two PEM files: the server's certificate, followed by those that vouch for it up to one that
    /// readers know, and its private key.
    ///
    /// # Errors
    ///
    /// If a file is not there or not what it should be, or if the two do not belong together.
    pub fn from_pem_files(certificate: &Path, key: &Path) -> Result<Tls, TlsError> {
        let pair = Pair { certificate: certificate.into(), key: key.into() };
        Tls::new(TlsConfig { pairs: vec![pair], ..TlsConfig::default() })
    }

    /// Reads all certificates and keys.
    ///
    /// # Errors
    ///
    /// If a file is not there or not what it should be, or if a pair is none.
    pub fn new(config: TlsConfig) -> Result<Tls, TlsError> {
        let (certificates, stamps) = read(&config)?;
        let shown = Arc::new(Shown(ArcSwap::from_pointee(certificates)));
        let versions = match config.min_version {
            TlsVersion::Tls12 => &[&TLS13, &TLS12][..],
            TlsVersion::Tls13 => &[&TLS13],
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("the provider has suites for both versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        server.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        server.ticketer = Ticketer::new().map_err(TlsError::Tickets)?;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        let files = Mutex::new(Files { config, stamps });
        Ok(Tls(Arc::new(Shared { config: Arc::new(server), shown, files })))
    }

    /// Reads the certificates anew if a file of theirs has changed since they were last looked at. It waits for the
    /// disk.
    ///
    /// # Errors
    ///
    /// If the files will not do as they are now: those before stay in use. It is told once, until a file changes again.
    pub fn renew(&self) -> Result<Renewal, TlsError> {
        let mut files = self.0.files.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = stamps(&files.config.pairs);
        if stamps == files.stamps {
            return Ok(Renewal::Unchanged);
        }
        // Taken before the files are read: what is written meanwhile is seen the next time.
        files.stamps = stamps;
        let Files { config, .. } = &*files;
        let certificates = Certificates::read(&config.pairs, config.unknown_names)?;
        self.0.shown.0.store(Arc::new(certificates));
        Ok(Renewal::Renewed)
    }

    /// From now on readers are shown the certificates of `other`, which were chosen for the same listener.
    pub fn show(&self, other: &Tls) {
        if Arc::ptr_eq(&self.0, &other.0) {
            return;
        }
        let Files { config, stamps } =
            &*other.0.files.lock().unwrap_or_else(PoisonError::into_inner);
        let mut files = self.0.files.lock().unwrap_or_else(PoisonError::into_inner);
        // The oldest version is in what connections are made with.
        let min_version = files.config.min_version;
        files.config = TlsConfig { min_version, ..config.clone() };
        files.stamps = stamps.clone();
        self.0.shown.0.store(other.0.shown.0.load_full());
    }

    /// What is told of the certificates of now, the first one first.
    pub fn certificates(&self) -> Vec<CertificateFacts> {
        self.0.shown.0.load().facts().cloned().collect()
    }

    /// Whether a certificate of now is for this name.
    pub fn has_certificate_for(&self, name: &str) -> bool {
        self.0.shown.0.load().has(name)
    }

    /// The handshake. An error has been told to the reader, as far as TLS has a word for it. Dropping it
    /// closes the connection.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(Arc::clone(&self.0.config)).accept(stream).await
    }

    /// The hosts that a connection may be asked for; none if that makes no difference.
    pub(crate) fn served_names(&self, stream: &TlsStream<TcpStream>) -> Option<ServedNames> {
        let certificates = self.0.shown.0.load_full();
        let name = stream.get_ref().1.server_name()?;
        certificates.tell_names_apart().then(|| ServedNames { name: name.into(), certificates })
    }
}

fn read(config: &TlsConfig) -> Result<(Certificates, Vec<Stamp>), TlsError> {
    let stamps = stamps(&config.pairs);
    Ok((Certificates::read(&config.pairs, config.unknown_names)?, stamps))
}

fn stamps(pairs: &[Pair]) -> Vec<Stamp> {
    pairs.iter().flat_map(|pair| [Stamp::of(&pair.certificate), Stamp::of(&pair.key)]).collect()
}

/// The hosts that a connection over TLS may be asked for: the one that it was opened for, and those that are shown the
/// same certificate (RFC 9110 §15.5.20). Where there are several, a reader may have checked one and ask for what is
/// behind another.
#[derive(Clone, Debug)]
pub struct ServedNames {
    name: Box<str>,
    certificates: Arc<Certificates>,
}

impl ServedNames {
    /// Whether `host`, without a port, is the one that the connection was opened for. It is a look, and most are.
    pub(crate) fn is_own(&self, host: &[u8]) -> bool {
        self.name.as_bytes().eq_ignore_ascii_case(host)
    }

    /// Whether `host`, without a port, is one of them.
    pub(crate) fn include(&self, host: &str) -> bool {
        self.is_own(host.as_bytes()) || self.certificates.are_one(&self.name, host)
    }
}

/// What the connection is encrypted with. None before its handshake is over.
pub(crate) fn facts(stream: &TlsStream<TcpStream>) -> Option<TlsFacts> {
    TlsFacts::of(stream.get_ref().1.negotiated_cipher_suite()?.suite())
}

/// Whether the reader has chosen HTTP/2 (RFC 9113 §3.2).
pub(crate) fn is_http2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(HTTP_2)
}
