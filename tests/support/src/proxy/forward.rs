//! The connections from the proxy to kube-apiserver: one TLS connection for each request.

use std::sync::Arc;

use anyhow::{Context, Result};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper::{Request, Response};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

pub(super) struct Upstream {
    authority: String,
    tls: TlsConnector,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Upstream").field(&self.authority).finish()
    }
}

impl Upstream {
    pub(super) fn new(url: &str, ca_pem: &str) -> Result<Self> {
        let authority =
            url.strip_prefix("https://").context("kube-apiserver's URL must begin with https://")?.to_owned();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes())?)?;
        // The provider is explicit, because there is no default if the process has two providers.
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { authority, tls: TlsConnector::from(Arc::new(config)) })
    }

    /// Forwards a request. An error means that kube-apiserver is unreachable.
    pub(super) async fn send(&self, mut request: Request<Incoming>) -> Result<Response<Incoming>> {
        let stream = TcpStream::connect(&self.authority).await?;
        let connection = self.tls.connect(ServerName::try_from("127.0.0.1")?, stream).await?;
        request.headers_mut().insert(HOST, HeaderValue::from_str(&self.authority)?);
        // This header is about the client's connection, not about this one.
        request.headers_mut().remove(CONNECTION);
        crate::one_request::send(connection, request).await
    }
}
