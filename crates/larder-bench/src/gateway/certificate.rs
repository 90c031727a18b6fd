//! Certificate: one for all who answer over TLS, made anew for each run, and a client's trust in it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

/// Asked of everybody in the same words: a cache keeps each host's answers apart.
pub(crate) const HOST: &str = "larder.bench";

const PATIENCE: Duration = Duration::from_secs(10);

/// In the folder that they are made in.
const FILE: &str = "certificate.pem";
const KEY: &str = "key.pem";

/// Its files lie in the folder that it was made in. The key is of the kind that is usual today (ECDSA,
/// P-256).
#[derive(Clone)]
pub(crate) struct Certificate {
    pub(crate) file: PathBuf,
    pub(crate) key: PathBuf,
    /// One behind the other, as HAProxy wants them.
    pub(crate) both: PathBuf,
    client: TlsConnector,
}

impl Certificate {
    pub(crate) fn make(folder: &Path) -> anyhow::Result<Certificate> {
        let made = rcgen::generate_simple_self_signed([HOST.to_owned()])?;
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone())?;
        let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let written = |name: &str, text: &str| {
            let file = folder.join(name);
            fs::write(&file, text).map(|()| file)
        };
        Ok(Certificate {
            file: written(FILE, &certificate)?,
            key: written(KEY, &key)?,
            both: written("both.pem", &(certificate + &key))?,
            client: TlsConnector::from(Arc::new(client)),
        })
    }

    /// The handshake with a server that has it.
    pub(crate) async fn greet(&self, stream: TcpStream) -> anyhow::Result<TlsStream<TcpStream>> {
        let greeting = self.client.connect(ServerName::try_from(HOST)?, stream);
        Ok(timeout(PATIENCE, greeting).await.context("no end of the handshake")??)
    }
}

/// For who answers with the certificate that was made in this folder. By HTTP/1.1: no other protocol is offered.
pub(crate) fn acceptor(folder: &Path) -> anyhow::Result<TlsAcceptor> {
    let chain = CertificateDer::from_pem_file(folder.join(FILE))?;
    let key = PrivateKeyDer::from_pem_file(folder.join(KEY))?;
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_client_greets_who_has_its_certificate_and_nobody_else() {
        let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let [ours, theirs] = folders.each_ref().map(|it| Certificate::make(it.path()).unwrap());
        let acceptor = acceptor(folders[0].path()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for (certificate, is_trusted) in [(&ours, true), (&theirs, false)] {
            let server = async {
                let (stream, _) = listener.accept().await.unwrap();
                // The client says what went wrong.
                acceptor.accept(stream).await.ok()
            };
            let client = async {
                certificate.greet(TcpStream::connect(address).await.unwrap()).await.is_ok()
            };
            let (_server, greeted) = tokio::join!(server, client);
            assert_eq!(greeted, is_trusted);
        }
    }
}
