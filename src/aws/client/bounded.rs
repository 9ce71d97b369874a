//! The HTTP client below the SDK. It uses a proxy, reads no more of a response than a valid one can hold, and names the
//! host of a failed connection.

use std::error::Error;
use std::ffi::OsStr;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::{RuntimeComponents, RuntimeComponentsBuilder};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use aws_smithy_types::config_bag::ConfigBag;
use http_body_util::Limited;

/// A certificate takes about a kilobyte, and the largest page, with 500 certificates, is smaller than this.
const LIMIT: usize = 5 * 1024 * 1024;

/// The SDK buffers whole responses. Without a limit, the server would decide how much memory the operator uses.
pub(super) fn http_client(proxy: ProxyConfig) -> SharedHttpClient {
    SharedHttpClient::new(BoundedClient { proxied: unbounded(proxy), direct: unbounded(ProxyConfig::disabled()) })
}

fn unbounded(proxy: ProxyConfig) -> SharedHttpClient {
    // No other function of the builder can set a proxy. This one keeps the cache of connectors, and with it the pool of
    // connections.
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut builder = Connector::builder().proxy_config(proxy.clone());
        builder.set_connector_settings(settings.cloned());
        builder.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        builder.tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build()
    })
}

#[derive(Debug)]
struct BoundedClient {
    proxied: SharedHttpClient,
    direct: SharedHttpClient,
}

impl HttpClient for BoundedClient {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        if let Some(problem) = problem_of_environment() {
            return SharedHttpConnector::new(Untrusting { problem });
        }
        SharedHttpConnector::new(BoundedConnector {
            proxied: self.proxied.http_connector(settings, components),
            direct: self.direct.http_connector(settings, components),
        })
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        // This check of the SDK makes a connector, which fails without CA certificates.
        match problem_of_environment() {
            Some(_) => Ok(()),
            None => HttpClient::validate_base_client_config(&self.proxied, components, config),
        }
    }

    fn validate_final_config(&self, components: &RuntimeComponents, config: &ConfigBag) -> Result<(), BoxError> {
        match problem_of_environment() {
            Some(_) => Ok(()),
            None => HttpClient::validate_final_config(&self.proxied, components, config),
        }
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.proxied.connector_metadata()
    }
}

#[derive(Debug)]
struct BoundedConnector {
    proxied: SharedHttpConnector,
    direct: SharedHttpConnector,
}

impl HttpConnector for BoundedConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let connector = if hands_out_credentials(request.uri()) { &self.direct } else { &self.proxied };
        let host = host_of(request.uri());
        let is_endpoint_of_container =
            std::env::var("AWS_CONTAINER_CREDENTIALS_FULL_URI").as_deref() == Ok(request.uri());
        let answer = connector.call(request);
        HttpConnectorFuture::new(async move {
            match answer.await.map(bound) {
                Ok(answer) if is_endpoint_of_container && !answer.status().is_success() => {
                    Err(EndpointRefusal::of(answer).await)
                }
                answer => answer.map_err(|error| Unreached::wrap(host, error)),
            }
        })
    }
}

/// An error response from the endpoint of the container's credentials. It becomes an error of the connection, because
/// the SDK drops the body of such a response, and the body has AWS's code and message.
#[derive(Debug)]
pub(super) struct EndpointRefusal {
    pub(super) status: u16,
    pub(super) body: String,
}

impl EndpointRefusal {
    async fn of(answer: HttpResponse) -> ConnectorError {
        let status = answer.status().as_u16();
        let body = ByteStream::new(answer.into_body()).collect().await;
        let body = body.map(|body| String::from_utf8_lossy(&body.into_bytes()).into_owned()).unwrap_or_default();
        ConnectorError::other(Box::new(EndpointRefusal { status, body }), None)
    }
}

impl fmt::Display for EndpointRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP status {}", self.status)
    }
}

impl Error for EndpointRefusal {}

/// A failed connection, and its host.
#[derive(Debug)]
pub(super) struct Unreached {
    pub(super) host: String,
    pub(super) error: ConnectorError,
}

impl Unreached {
    /// Adds the host to the chain of causes of an error.
    fn wrap(host: String, error: ConnectorError) -> ConnectorError {
        let (is_timeout, is_io, is_user, kind) = (error.is_timeout(), error.is_io(), error.is_user(), error.as_other());
        let unreached: BoxError = Box::new(Unreached { host, error });
        match () {
            () if is_timeout => ConnectorError::timeout(unreached),
            () if is_io => ConnectorError::io(unreached),
            () if is_user => ConnectorError::user(unreached),
            () => ConnectorError::other(unreached, kind),
        }
    }
}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no response from {}", self.host)
    }
}

impl Error for Unreached {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

/// The host of a URI, with the port if it is not the default port.
fn host_of(uri: &str) -> String {
    let Ok(uri) = uri.parse::<http::Uri>() else { return "an unknown host".to_owned() };
    let host = uri.host().unwrap_or("an unknown host");
    let usual = if uri.scheme_str() == Some("http") { 80 } else { 443 };
    match uri.port_u16().filter(|port| *port != usual) {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Replaces a client without any CA certificate. The SDK would read the CA certificates once, find none, and refuse
/// every server until the process ends.
#[derive(Debug)]
struct Untrusting {
    problem: &'static str,
}

impl HttpConnector for Untrusting {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let error = ConnectorError::other(self.problem.into(), None);
        HttpConnectorFuture::ready(Err(Unreached::wrap(host_of(request.uri()), error)))
    }
}

fn problem_of_environment() -> Option<&'static str> {
    trust_store_problem(std::env::var_os("SSL_CERT_FILE"), std::env::var_os("SSL_CERT_DIR"))
}

/// The fault of the CA file that the environment names. A bad block among good ones is no fault.
fn trust_store_problem(file: Option<impl AsRef<OsStr>>, directory: Option<impl AsRef<OsStr>>) -> Option<&'static str> {
    let file = file.filter(|_| directory.is_none())?;
    match std::fs::read(file.as_ref()) {
        Err(_) => Some("the file that SSL_CERT_FILE names cannot be read"),
        Ok(text) if text.windows(BEGIN.len()).any(|window| window == BEGIN) => None,
        Ok(_) => Some("the file that SSL_CERT_FILE names holds no certificate"),
    }
}

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// Whether a URI is an endpoint that returns the credentials of the node or the container: plain HTTP to an address
/// that is valid on this node alone. A proxy could not reach it, and must not see the credentials.
fn hands_out_credentials(uri: &str) -> bool {
    let Some(rest) = uri.strip_prefix("http://") else { return false };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if let Some((address, _)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address.parse::<Ipv6Addr>().is_ok_and(|address| address.segments()[..2] == [0xfd00, 0x0ec2]);
    }
    let host = authority.split(':').next().unwrap_or_default();
    host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_link_local())
}

fn bound(answer: HttpResponse) -> HttpResponse {
    let announced = answer.headers().get("content-length").and_then(|length| length.parse::<u64>().ok());
    // The first byte of a response with too large a Content-Length is an error. Its status and headers still count.
    let limit = if announced.is_some_and(|length| length > LIMIT as u64) { 0 } else { LIMIT };
    answer.map(|body| SdkBody::from_body_1_x(Limited::new(body, limit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_named_with_an_unusual_port() {
        for (uri, host) in [
            ("https://apigateway.us-east-1.amazonaws.com/clientcertificates/a", "apigateway.us-east-1.amazonaws.com"),
            ("https://sts.amazonaws.com:443/", "sts.amazonaws.com"),
            ("http://127.0.0.1:4566/x", "127.0.0.1:4566"),
            ("http://[::1]:80/", "[::1]"),
        ] {
            assert_eq!(host_of(uri), host);
        }
    }

    #[test]
    fn a_file_of_ca_certificates_must_exist_and_contain_one() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.into_os_string()
        };
        let problem = |file| trust_store_problem(Some(file), None::<&str>);
        assert!(problem(folder.path().join("missing").into()).unwrap().contains("cannot be read"));
        assert!(problem(folder.path().into()).unwrap().contains("cannot be read"), "a directory");
        assert!(problem(write("empty", "")).unwrap().contains("holds no certificate"));
        let among_others = format!("-----BEGIN CERTIFICATE-----\nbad\n{}", crate::fixtures::PEM);
        assert_eq!(problem(write("good", &among_others)), None);
        assert_eq!(trust_store_problem(None::<&str>, None::<&str>), None);
        assert_eq!(trust_store_problem(Some("/missing"), Some("/etc/ssl/certs")), None, "the directory is read too");
    }

    #[test]
    fn only_the_endpoints_of_the_node_are_called_without_the_proxy() {
        for uri in [
            "http://169.254.169.254/latest/api/token",
            "http://169.254.170.23:80/v1/credentials",
            "http://[fd00:ec2::23]/v1/credentials",
        ] {
            assert!(hands_out_credentials(uri), "{uri}");
        }
        for uri in [
            "https://apigateway.us-east-1.amazonaws.com/clientcertificates/a",
            "http://169.254.example/",
            "http://10.0.0.1/?http://169.254.169.254/",
            "http://[fd00::1]/",
            "http://",
        ] {
            assert!(!hands_out_credentials(uri), "{uri}");
        }
    }
}
