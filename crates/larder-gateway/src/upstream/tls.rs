//! Tls: how an origin proves who it is, and how this gateway does where the origin asks.
//!
//! TLS 1.2 and 1.3. An origin's certificate is checked: it has to lead to a known root, be valid now, and be for the
//! name that was asked for. Sessions are resumed, as far as the origin allows that. Nothing is sent before a handshake is
//! over (0-RTT), since anybody could send that again.

use std::{fmt, io, path::PathBuf, sync::Arc};

use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore,
    SignatureScheme,
    client::{
        VerifierBuilderError, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature,
        verify_tls13_signature,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
    version::{TLS12, TLS13},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{config::Protocol, origin::Origin, plain::Plain};
use crate::pem::{self, PemError};

const HTTP_2: &[u8] = b"h2";
const HTTP_1: &[u8] = b"http/1.1";

/// While the origin does not take it, so much of what was encrypted is kept, and no more.
const SEND_BUFFER: usize = 16 << 10;

/// What is wanted of TLS towards an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginTlsOptions {
    /// A PEM file with the roots that vouch for the origin. Default those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// PEM files with the certificate that this gateway shows where the origin asks, and its key. Default none.
    pub client: Option<(PathBuf, PathBuf)>,
    /// The name that the certificate has to be for, and that the origin is told. Default the origin's host.
    pub server_name: Option<String>,
    /// Whether only TLS 1.3 will do. Default TLS 1.2, too.
    pub only_tls13: bool,
    /// Whether the origin has to prove who it is. Default yes. Without, anybody on the way can read and change all.
    pub verify: bool,
    /// Which protocols the origin is offered. Default HTTP/2 and HTTP/1.1.
    pub protocol: Protocol,
}

impl Default for OriginTlsOptions {
    fn default() -> Self {
        OriginTlsOptions {
            ca_file: None,
            client: None,
            server_name: None,
            only_tls13: false,
            verify: true,
            protocol: Protocol::Auto,
        }
    }
}

/// What a connection to an origin over TLS needs. Clones share it, with the sessions that may be resumed.
#[derive(Clone)]
pub struct OriginTls {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
    /// What it was made of: two that were made of the same are the same.
    made_of: blake3::Hash,
}

/// Why TLS towards an origin cannot be as it is wanted. The texts are for whoever configures it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OriginTlsError {
    /// A file that cannot be read, or holds something else.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// What is in `ca_file` vouches for nobody.
    #[error("a certificate in {} cannot be used as a root", .file.display())]
    Root {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: rustls::Error,
    },
    /// The system trusts nobody.
    #[error(
        "this system has no root certificates to check origins by: install them (package ca-certificates), or \
         name a file with those that vouch for this origin (ca_file){0}"
    )]
    NoRoots(String),
    /// The roots cannot be checked by.
    #[error("origins cannot be checked by these roots")]
    Verifier(#[from] VerifierBuilderError),
    /// The certificate or the key to show to the origin cannot be used, or they are not a pair.
    #[error("the client certificate in {} cannot be used with its key", .file.display())]
    Client {
        /// The certificate's file.
        file: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
    /// Neither a name nor an address.
    #[error("{0:?} is no name that a certificate can be for")]
    ServerName(String),
}

impl OriginTls {
    /// Reads the files, once.
    ///
    /// # Errors
    ///
    /// If a file is not there or not what it should be, or if there are no roots.
    pub fn new(options: &OriginTlsOptions) -> Result<OriginTls, OriginTlsError> {
        let OriginTlsOptions { ca_file, client, server_name, only_tls13, verify, protocol } =
            options;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut made_of = blake3::Hasher::new();
        made_of.update(format!("{only_tls13} {verify} {protocol:?} {server_name:?}").as_bytes());
        let versions = if *only_tls13 { &[&TLS13][..] } else { &[&TLS12, &TLS13] };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .expect("the provider has suites for both versions");
        let builder = if *verify {
            let mut named = Vec::new();
            let roots = match ca_file {
                Some(file) => {
                    let mut roots = RootCertStore::empty();
                    for root in pem::read_chain(file)? {
                        made_of.update(&root);
                        named.push(root.clone());
                        let added = roots.add(root);
                        added.map_err(|source| OriginTlsError::Root {
                            file: file.clone(),
                            source,
                        })?;
                    }
                    roots
                }
                None => system_roots()?,
            };
            let verifier = Arc::new(Checked::by(roots, named, &provider)?);
            builder.dangerous().with_custom_certificate_verifier(verifier)
        } else {
            let verifier = Arc::new(Unchecked::by(&provider));
            builder.dangerous().with_custom_certificate_verifier(verifier)
        };
        let mut config = match client {
            None => builder.with_no_client_auth(),
            Some((file, key)) => {
                let (chain, key) = (pem::read_chain(file)?, pem::read_key(key)?);
                for certificate in &chain {
                    made_of.update(certificate);
                }
                made_of.update(key.secret_der());
                let config = builder.with_client_auth_cert(chain, key);
                config.map_err(|source| OriginTlsError::Client { file: file.clone(), source })?
            }
        };
        let offered: &[&[u8]] = match protocol {
            Protocol::Auto => &[HTTP_2, HTTP_1],
            Protocol::Http1 => &[HTTP_1],
            Protocol::Http2 => &[HTTP_2],
        };
        config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
        let server_name = server_name.as_ref().map(|name| {
            let parsed = ServerName::try_from(name.clone());
            parsed.map_err(|_| OriginTlsError::ServerName(name.clone()))
        });
        let (config, made_of) = (Arc::new(config), made_of.finalize());
        Ok(OriginTls { config, server_name: server_name.transpose()?, made_of })
    }

    /// The handshake. `is_to_switch`: HTTP/2 is not offered.
    pub(super) async fn connect(
        &self,
        origin: &Origin,
        plain: Plain,
        is_to_switch: bool,
    ) -> io::Result<TlsStream<Plain>> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(origin.host().to_owned()).map_err(io::Error::other)?,
        };
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let bound = |session: &mut rustls::ClientConnection| {
            session.set_buffer_limit(Some(SEND_BUFFER));
        };
        if is_to_switch {
            let offered = vec![HTTP_1.to_vec()];
            return connector.with_alpn(offered).connect_with(name, plain, bound).await;
        }
        connector.connect_with(name, plain, bound).await
    }
}

/// Whether the origin has chosen HTTP/2.
pub(super) fn is_http2(stream: &TlsStream<Plain>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(HTTP_2)
}

/// Why a handshake has failed, if TLS itself says so.
pub(super) fn fault(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Whether the origin speaks none of the protocols that were offered.
pub(super) fn is_about_protocol(error: &io::Error) -> bool {
    let fault = fault(error);
    matches!(fault, Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)))
}

/// Whether it is the origin's certificate that will not do.
pub(super) fn is_about_certificate(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)
}

/// What is wrong, and the way out, for whoever reads the log.
pub(super) fn explained(error: &io::Error) -> String {
    let Some(fault) = fault(error) else {
        return "the connection ended in the handshake: does it speak TLS at this port?".to_owned();
    };
    match fault {
        rustls::Error::InvalidCertificate(error) => of_certificate(error),
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied
            | AlertDescription::UnknownCA,
        ) => "it does not accept this gateway's certificate: give it one that it knows \
              (client_certificate, client_key)"
            .to_owned(),
        rustls::Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            "it does not know the name that it was asked for: say which it has (server_name)"
                .to_owned()
        }
        rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)
        | rustls::Error::NoApplicationProtocol => {
            "it does not speak the protocol that was asked for: leave protocol at \"auto\""
                .to_owned()
        }
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)
        | rustls::Error::PeerIncompatible(_) => {
            "it speaks no version or cipher of TLS that is safe today: it needs TLS 1.2 or 1.3"
                .to_owned()
        }
        rustls::Error::InvalidMessage(_) => {
            "what it answers is not TLS: is this the port for http://?".to_owned()
        }
        _ => "the handshake failed".to_owned(),
    }
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired: renew it there".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet: are both clocks right?".to_owned()
        }
        CertificateError::NotValidForName => {
            "its certificate is for another name: say which (server_name)".to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "its certificate is for {}, and not for {}: say the name that it has (server_name)",
            if presented.is_empty() { "no name".to_owned() } else { presented.join(", ") },
            expected.to_str()
        ),
        // Another root of the same name did not sign it either.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => "no root that is known vouches for its certificate: name a file with \
                                            the one that does (ca_file), and have the origin send those in between"
            .to_owned(),
        CertificateError::Revoked => "its certificate is revoked: renew it there".to_owned(),
        error if vouches_for_others(error) => {
            "its certificate is marked as one that vouches for others (CA:TRUE): name a file with that very certificate \
             (ca_file), or issue one for the server itself"
                .to_owned()
        }
        _ => "its certificate cannot be accepted".to_owned(),
    }
}

fn system_roots() -> Result<RootCertStore, OriginTlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // A single one that cannot be read is the system's affair: without it fewer are trusted.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(roots);
    }
    let errors: Vec<_> = found.errors.iter().map(|error| format!("; {error}")).collect();
    Err(OriginTlsError::NoRoots(errors.concat()))
}

/// Takes what a root vouches for, and beside that the very certificates that `ca_file` names: one that somebody has made for
/// their own server often says that it vouches for others (`openssl req -x509` writes CA:TRUE), and would do for no server.
#[derive(Debug)]
struct Checked {
    by_roots: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
}

impl Checked {
    fn by(
        roots: RootCertStore,
        named: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Checked, VerifierBuilderError> {
        let builder =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        Ok(Checked { by_roots: builder.build()?, named })
    }
}

impl ServerCertVerifier for Checked {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.by_roots.verify_server_cert(shown, between, name, stapled, now) {
            // Its times were checked before that (webpki does so first); its names were not.
            Err(rustls::Error::InvalidCertificate(error))
                if vouches_for_others(&error) && self.named.contains(shown) =>
            {
                verify_server_name(&ParsedCertificate::try_from(shown)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            checked => checked,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.by_roots.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.by_roots.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_roots.supported_verify_schemes()
    }
}

/// A server shows a certificate that says of itself that it is none of a server.
fn vouches_for_others(error: &CertificateError) -> bool {
    matches!(error, CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity"))
}

/// Takes any certificate. The handshake is checked still: the origin has the certificate's key.
#[derive(Debug)]
struct Unchecked(WebPkiSupportedAlgorithms);

impl Unchecked {
    fn by(provider: &CryptoProvider) -> Unchecked {
        Unchecked(provider.signature_verification_algorithms)
    }
}

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

impl PartialEq for OriginTls {
    fn eq(&self, other: &OriginTls) -> bool {
        self.made_of == other.made_of
    }
}

impl Eq for OriginTls {}

impl fmt::Debug for OriginTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OriginTls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}
