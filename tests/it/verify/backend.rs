//! A small TLS server for each way to request client certificates, including the wrong ones.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};

/// The check of a client in the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// No CertificateRequest.
    NotAsked,
    /// Only the certificate that the target holds.
    Pinned,
    /// The client has to present a certificate; the server accepts any.
    Any,
    /// The server requests a certificate, and accepts any or none.
    Optional,
}

/// The answer to a client after a successful handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This status for every client.
    Always(u16),
    /// 200 for the certificate that the target holds, this status for all others.
    Others(u16),
    /// 200 for the certificate that the target holds. For all others, the server closes the connection without a TLS
    /// alert.
    HangUp,
    /// No answer, and the connection stays open.
    Silence,
}

/// The properties of a caller.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub name: Option<String>,
    pub certificate: Option<Vec<u8>>,
    pub request: String,
}

/// One kind of server.
#[derive(Clone, Debug)]
pub struct Backend {
    pub version: &'static SupportedProtocolVersion,
    pub check: Check,
    /// Distinguished names as DER.
    pub hints: Vec<Vec<u8>>,
    pub answer: Answer,
}

/// A server that runs until it is dropped.
pub struct Running {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    serving: JoinHandle<()>,
}

impl Running {
    /// The requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Backend {
    /// Serves on a free port. `right` is the DER of the certificate that the target holds.
    pub async fn start(&self, right: &[u8]) -> Running {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let config =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&[self.version]).unwrap();
        let config = if self.check == Check::NotAsked {
            config.with_no_client_auth()
        } else {
            let hints = self.hints.iter().cloned().map(DistinguishedName::from).collect();
            config.with_client_cert_verifier(Arc::new(Verifier {
                check: self.check,
                hints,
                right: right.to_vec(),
                provider,
            }))
        };
        let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(vec![cert.der().clone()], key).unwrap()));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, right, kept) = (self.answer, right.to_vec(), Arc::clone(&seen));
        let serving = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (acceptor, right, kept) = (acceptor.clone(), right.clone(), Arc::clone(&kept));
                tokio::spawn(async move {
                    let mut stream = acceptor.accept(connection).await?;
                    let session = stream.get_ref().1;
                    let certificate = session.peer_certificates().map(|chain| chain[0].to_vec());
                    let name = session.server_name().map(str::to_owned);
                    let is_right = certificate.as_deref() == Some(&right);
                    if answer == Answer::HangUp && !is_right {
                        return Ok(());
                    }
                    let mut request = vec![0; 4096];
                    let read = stream.read(&mut request).await?;
                    let request = String::from_utf8_lossy(&request[..read]).into_owned();
                    kept.lock().unwrap().push(Seen { name, certificate, request });
                    let status = match answer {
                        Answer::Silence => std::future::pending().await,
                        Answer::Always(status) => status,
                        Answer::Others(status) if !is_right => status,
                        Answer::Others(_) | Answer::HangUp => 200,
                    };
                    let text = format!("HTTP/1.1 {status} So\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                    stream.write_all(text.as_bytes()).await?;
                    stream.shutdown().await
                });
            }
        });
        Running { address, seen, serving }
    }
}

#[derive(Debug)]
struct Verifier {
    check: Check,
    hints: Vec<DistinguishedName>,
    right: Vec<u8>,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.check != Check::Optional
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if self.check == Check::Pinned && shown.as_ref() != self.right {
            return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
