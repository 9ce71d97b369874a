//! One call over TLS, as a client that records the server's requests and checks nothing.

use std::error::Error;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, anyhow};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rcgen::string::PrintableString;
use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::ResolvesClientCert;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ClientConfig, DigitallySignedStruct, SignatureScheme};

use super::verdict::Reception;
use crate::certificate;
use crate::config::VerifyArgs;

/// The longest part of a response that is read. The status is in the first line.
const HEAD: usize = 16 * 1024;

/// The certificate of the caller.
#[derive(Debug)]
pub(super) struct Identity(Option<Arc<CertifiedKey>>);

impl Identity {
    /// A caller without a certificate.
    pub(super) fn none() -> Self {
        Identity(None)
    }

    /// A caller with a new certificate that differs from API Gateway's only in its key: v3, no extensions, RSA-2048,
    /// self-signed, with the same name.
    pub(super) fn stranger() -> anyhow::Result<Self> {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
        let mut name = DistinguishedName::new();
        for (kind, value) in
            [(DnType::CountryName, "US"), (DnType::LocalityName, "Seattle"), (DnType::CommonName, "ApiGateway")]
        {
            name.push(kind, DnValue::PrintableString(PrintableString::try_from(value)?));
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = name;
        // The dates are whole days, so that a server with a slow clock does not reject the certificate.
        let now = Timestamp::now();
        let day = |time: Timestamp| {
            let date = time.to_zoned(TimeZone::UTC).date();
            rcgen::date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
        };
        params.not_before = day(now - SignedDuration::from_hours(24));
        params.not_after = day(now + SignedDuration::from_hours(364 * 24));
        let certificate = params.self_signed(&key)?.der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|error| anyhow!(error))?;
        let key = aws_lc_rs::sign::any_supported_type(&key)?;
        Ok(Identity(Some(Arc::new(CertifiedKey::new(vec![certificate], key)))))
    }
}

/// The result of one call.
#[derive(Debug)]
pub(super) struct Call {
    /// The version of TLS.
    pub(super) version: &'static str,
    /// The names of the authorities in the server's CertificateRequest; `None` without a CertificateRequest.
    pub(super) hints: Option<Vec<String>>,
    /// The reception; `None` with `--handshake-only`.
    pub(super) reception: Option<Reception>,
}

/// Calls one server.
#[derive(Debug)]
pub(super) struct Caller<'a> {
    args: &'a VerifyArgs,
    provider: Arc<CryptoProvider>,
}

impl<'a> Caller<'a> {
    pub(super) fn new(args: &'a VerifyArgs) -> Self {
        Caller { args, provider: Arc::new(aws_lc_rs::default_provider()) }
    }

    /// Calls once. An error means that there is no TLS server.
    pub(super) async fn call(&self, identity: Identity) -> anyhow::Result<Call> {
        let VerifyArgs { connect, timeout, .. } = self.args;
        let witness =
            Arc::new(Witness { identity, schemes: self.schemes(), hints: OnceLock::new(), version: OnceLock::new() });
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&witness) as _)
            .with_client_cert_resolver(Arc::clone(&witness) as _);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = rustls::client::Resumption::disabled();

        let connecting = within(*timeout, TcpStream::connect((connect.host.as_str(), connect.port))).await;
        let connection = connecting.with_context(|| format!("cannot connect to {connect}"))?;
        let name: ServerName<'static> = self.args.server_name();
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, connection);
        let reception = match within(*timeout, connecting).await {
            Ok(stream) if !self.args.handshake_only => Some(within(*timeout, self.ask(stream)).await),
            Ok(_) => None,
            // Under TLS 1.2 a server rejects a client before the handshake ends, after the request for a certificate.
            Err(error) if witness.hints.get().is_some() => Some(Err(error)),
            Err(error) => {
                return Err(error).with_context(|| {
                    format!("{connect} does not complete a TLS handshake as {}", self.args.server_name().to_str())
                });
            }
        };
        let reception = reception.map(|result| result.map_or_else(|error| refusal(&error), std::convert::identity));
        Ok(Call {
            version: witness.version.get().copied().unwrap_or("TLS"),
            hints: witness.hints.get().cloned(),
            // With `--handshake-only`, the end of the handshake carries no information about the reception.
            reception: reception.filter(|_| !self.args.handshake_only),
        })
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }

    /// Sends one GET. Under TLS 1.3, a rejection arrives here.
    async fn ask(&self, mut stream: TlsStream<TcpStream>) -> io::Result<Reception> {
        let VerifyArgs { path, .. } = self.args;
        let name = self.args.server_name();
        let name = name.to_str();
        let host = if name.contains(':') { format!("[{name}]") } else { name.into_owned() };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: client-certificate-operator-verify/{}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            env!("CARGO_PKG_VERSION")
        );
        // If the server has closed the connection, its last message is still readable, and contains more information
        // than the error.
        let written = async {
            stream.write_all(request.as_bytes()).await?;
            stream.flush().await
        }
        .await;
        let mut head = Vec::new();
        let mut buffer = [0; 2048];
        while head.len() < HEAD {
            let read = match stream.read(&mut buffer).await {
                Ok(0) if head.is_empty() => {
                    return Err(written.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()));
                }
                Ok(0) => break,
                Ok(read) => read,
                Err(error) => return Err(error),
            };
            head.extend_from_slice(&buffer[..read]);
            let mut answer = httparse::Response::new(&mut []);
            // The headers may not fit, but the parser reads the status before them.
            let parsed = answer.parse(&head);
            if let Some(status) = answer.code {
                return Ok(Reception::of_status(status));
            }
            if parsed.is_err() {
                break;
            }
        }
        Ok(Reception::Unknown("the response is not HTTP/1.1".to_owned()))
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no response within {limit:?}"));
    tokio::time::timeout(limit, work).await.map_err(late)?
}

/// The meaning of a connection that ended without a response.
fn refusal(error: &io::Error) -> Reception {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    if let Some(alert) = alert(error) {
        return Reception::RefusedByTls(format!("alert {alert}"));
    }
    match error.kind() {
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => {
            Reception::RefusedByTls("connection closed".to_owned())
        }
        _ => Reception::Unknown(error.to_string()),
    }
}

/// The TLS alert in an error, by its name in the standard.
fn alert(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(rustls::Error::AlertReceived(alert)) = error.downcast_ref() {
        let name = alert.as_str().map_or_else(|| format!("{alert:?}"), str::to_owned);
        return Some(snake_case(&name));
    }
    match error.downcast_ref::<io::Error>() {
        Some(error) => error.get_ref().and_then(|inner| alert(inner)),
        None => error.source().and_then(alert),
    }
}

/// `CertificateRequired` as the standard writes it: `certificate_required`.
fn snake_case(name: &str) -> String {
    let mut text = String::new();
    let mut last = '_';
    for character in name.chars() {
        if character.is_ascii_uppercase() && last.is_ascii_lowercase() {
            text.push('_');
        }
        text.push(character.to_ascii_lowercase());
        last = character;
    }
    text
}

/// The client's side of a handshake. It records the server's requests.
#[derive(Debug)]
struct Witness {
    identity: Identity,
    schemes: Vec<SignatureScheme>,
    hints: OnceLock<Vec<String>>,
    version: OnceLock<&'static str>,
}

impl ResolvesClientCert for Witness {
    /// rustls calls this only for a CertificateRequest.
    fn resolve(&self, hints: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.hints.get_or_init(|| hints.iter().map(|name| readable(name)).collect());
        self.identity.0.clone()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A distinguished name as text, on one line.
fn readable(der: &[u8]) -> String {
    certificate::readable(der).unwrap_or_else(|| format!("{} bytes that are not a name", der.len()))
}

/// Accepts every server: verify sends no secret, and does not check the server's certificate, which API Gateway does.
impl ServerCertVerifier for Witness {
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
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.version.get_or_init(|| "TLS 1.2");
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.version.get_or_init(|| "TLS 1.3");
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_named_as_the_standard_does() {
        for (name, expected) in [
            ("CertificateRequired", "certificate_required"),
            ("UnknownCA", "unknown_ca"),
            ("HandshakeFailure", "handshake_failure"),
        ] {
            assert_eq!(snake_case(name), expected);
        }
        let inner = rustls::Error::AlertReceived(rustls::AlertDescription::UnknownCA);
        let error = io::Error::new(io::ErrorKind::InvalidData, inner);
        assert_eq!(refusal(&error), Reception::RefusedByTls("alert unknown_ca".to_owned()));
    }

    #[test]
    fn only_a_closed_connection_counts_as_refused() {
        let closed = refusal(&io::ErrorKind::ConnectionReset.into());
        assert_eq!(closed, Reception::RefusedByTls("connection closed".to_owned()));
        let late = io::Error::new(io::ErrorKind::TimedOut, "no answer within 10s");
        assert_eq!(refusal(&late), Reception::Unknown("no answer within 10s".to_owned()));
    }

    #[test]
    fn a_name_cannot_forge_a_line_of_the_report() {
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, "A\nverdict: on");
        let mut params = CertificateParams::default();
        params.distinguished_name = name;
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        use x509_parser::prelude::FromDer;
        let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(certificate.der()).unwrap();
        assert_eq!(readable(parsed.subject().as_raw()), "CN=A\\0Averdict: on");
        assert_eq!(readable(b"CN=A"), "4 bytes that are not a name");
    }
}
