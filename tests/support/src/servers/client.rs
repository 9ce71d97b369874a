//! What API Gateway is to a server: a client with a certificate and its key, and a new connection for every request.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{CONNECTION, HOST};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

const LIMIT: Duration = Duration::from_secs(30);

/// A certificate, the chain that is presented with it, and its key.
#[derive(Clone, Debug)]
pub struct Identity {
    certificates: Vec<CertificateDer<'static>>,
    key: Arc<PrivateKeyDer<'static>>,
}

impl Identity {
    /// Of PEM: the certificate first, and after it the chain where there is one.
    pub fn new(certificates_pem: &str, key_pem: &str) -> Result<Self> {
        let certificates = CertificateDer::pem_slice_iter(certificates_pem.as_bytes()).collect::<Result<Vec<_>, _>>();
        let certificates = certificates.context("a certificate's PEM")?;
        anyhow::ensure!(!certificates.is_empty(), "no certificate's PEM");
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).context("a private key's PEM")?;
        Ok(Self { certificates, key: Arc::new(key) })
    }
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The server's HTTP status.
    Status(u16),
    /// The server ended the connection instead, in the handshake or after it: under TLS 1.3 a client that is refused sees its
    /// handshake succeed.
    Closed(String),
    /// There was no connection, or no answer in time. This is never a refusal.
    Failed(String),
}

impl Answer {
    /// Whether the server accepted the client.
    pub fn is_let_in(&self) -> bool {
        *self == Answer::Status(200)
    }

    /// Whether the server refused the client: with an error of TLS, or as HTTP says that a certificate is wrong or missing.
    pub fn is_refused(&self) -> bool {
        matches!(self, Answer::Status(400 | 403) | Answer::Closed(_))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Status(status) => write!(f, "{status}"),
            Answer::Closed(why) => write!(f, "closed: {why}"),
            Answer::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}

/// What clients connect to: the address, the host name in requests, and the authority of the server's certificate.
pub trait Peer {
    /// Where it listens.
    fn address(&self) -> SocketAddr;

    /// The host that clients name, in the handshake and in requests.
    fn host(&self) -> &str;

    /// The authority that issued the server's certificate, PEM.
    fn authority_pem(&self) -> &str;
}

/// Whoever calls a server.
pub trait Caller: Clone + Send + 'static {
    /// One request over a connection of its own.
    fn call(&self) -> impl Future<Output = Answer> + Send;
}

impl Caller for Client {
    async fn call(&self) -> Answer {
        self.get().await
    }
}

/// A client of one server.
#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    host: String,
    connector: TlsConnector,
}

impl Client {
    /// With this certificate, or with none.
    pub fn new(server: &impl Peer, identity: Option<&Identity>) -> Result<Self> {
        Self::speaking(&[&TLS12, &TLS13], server, identity)
    }

    /// One that knows no TLS newer than 1.2.
    pub fn of_tls12(server: &impl Peer, identity: Option<&Identity>) -> Result<Self> {
        Self::speaking(&[&TLS12], server, identity)
    }

    fn speaking(
        versions: &[&'static SupportedProtocolVersion],
        server: &impl Peer,
        identity: Option<&Identity>,
    ) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(server.authority_pem().as_bytes())?)?;
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)?
            .with_root_certificates(roots);
        let mut config = match identity {
            Some(identity) => builder.with_client_auth_cert(identity.certificates.clone(), identity.key.clone_key())?,
            None => builder.with_no_client_auth(),
        };
        // Or the server would take the certificate of an earlier connection for good.
        config.resumption = Resumption::disabled();
        let connector = TlsConnector::from(Arc::new(config));
        Ok(Self { address: server.address(), host: server.host().to_owned(), connector })
    }

    /// One request over a connection of its own.
    pub async fn get(&self) -> Answer {
        match tokio::time::timeout(LIMIT, self.request()).await {
            Ok(answer) => answer,
            Err(_) => Answer::Failed(format!("no answer within {LIMIT:?}")),
        }
    }

    async fn request(&self) -> Answer {
        let connection = match TcpStream::connect(self.address).await {
            Ok(connection) => connection,
            Err(error) => return Answer::Failed(format!("cannot connect: {error}")),
        };
        match self.request_over(connection).await {
            Ok(status) => Answer::Status(status),
            Err(error) => Answer::Closed(format!("{error:#}")),
        }
    }

    async fn request_over(&self, connection: TcpStream) -> Result<u16> {
        let connection = self.secure(connection).await?;
        let request = Request::get("/").header(HOST, &self.host).header(CONNECTION, "close");
        let request = request.body(Empty::<Bytes>::new())?;
        let response = crate::one_request::send(connection, request).await?;
        let status = response.status().as_u16();
        response.into_body().collect().await.context("the answer was cut")?;
        Ok(status)
    }

    /// The handshake, as far as the client sees it.
    pub(crate) async fn shake_hands(&self) -> Result<()> {
        let handshake = async { self.secure(TcpStream::connect(self.address).await?).await };
        tokio::time::timeout(LIMIT, handshake).await??;
        Ok(())
    }

    async fn secure(&self, connection: TcpStream) -> Result<TlsStream<TcpStream>> {
        connection.set_nodelay(true)?;
        let name = ServerName::try_from(self.host.clone())?;
        Ok(self.connector.connect(name, connection).await?)
    }
}
