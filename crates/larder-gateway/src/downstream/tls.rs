//! Tls: a certificate and its key, and what they make of a connection.
//!
//! TLS 1.2 and 1.3, with the suites that the provider's authors recommend. A reader says by ALPN
//! whether it speaks HTTP/2. Sessions are resumed by tickets, whose keys change every six hours and are
//! kept nowhere else, so nothing is remembered of a reader. Nothing is answered before a handshake is
//! over (0-RTT): what comes so early may have been sent before.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::{self, Ticketer},
    server::NoServerSessionStorage,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::pem::{self, PemError};

const HTTP_2: &[u8] = b"h2";
/// By their names in the handshake, the best first. A reader that names none of these is refused; one
/// that names nothing speaks HTTP/1.
const PROTOCOLS: [&[u8]; 3] = [HTTP_2, b"http/1.1", b"http/1.0"];

/// What a listener needs to be spoken to over TLS. Clones share it.
#[derive(Clone, Debug)]
pub struct Tls(Arc<ServerConfig>);

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
    /// readers know, and its private key. They are read once.
    ///
    /// # Errors
    ///
    /// If a file is not there or not what it should be, or if the two do not belong together.
    pub fn from_pem_files(certificate: &Path, key: &Path) -> Result<Tls, TlsError> {
        let (chain, private_key) = (pem::read_chain(certificate)?, pem::read_key(key)?);
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for both versions")
            .with_no_client_auth()
            .with_single_cert(chain, private_key);
        let mut config = config.map_err(|source| match source {
            rustls::Error::InconsistentKeys(_) => {
                TlsError::NotAPair { certificate: certificate.into(), key: key.into() }
            }
            rustls::Error::InvalidCertificate(_) => {
                TlsError::Certificate { file: certificate.into(), source }
            }
            _ => TlsError::Key { file: key.into(), source },
        })?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        config.ticketer = Ticketer::new().map_err(TlsError::Tickets)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Tls(Arc::new(config)))
    }

    /// The handshake. An error has been told to the reader, as far as TLS has a word for it. Dropping it
    /// closes the connection.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(Arc::clone(&self.0)).accept(stream).await
    }
}

/// Whether the reader has chosen HTTP/2 (RFC 9113 §3.2).
pub(crate) fn is_http2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(HTTP_2)
}
