//! The HTTP client below the SDK: it honours a proxy, and never takes in more of an answer than a real one can hold.

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
use aws_smithy_runtime_api::client::runtime_components::{RuntimeComponents, RuntimeComponentsBuilder};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use http_body_util::Limited;

/// A certificate is about a kilobyte; the largest list, 500 of them, stays below this.
const LIMIT: usize = 5 * 1024 * 1024;

/// The SDK buffers whole answers. Without a bound, whoever answers decides how much memory the operator takes.
pub(super) fn http_client(proxy: ProxyConfig) -> SharedHttpClient {
    SharedHttpClient::new(BoundedClient { proxied: unbounded(proxy), direct: unbounded(ProxyConfig::disabled()) })
}

fn unbounded(proxy: ProxyConfig) -> SharedHttpClient {
    // The builder's other ways to a client cannot set a proxy; this one keeps its cache of connectors, and with it
    // the pool of connections.
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
        HttpClient::validate_base_client_config(&self.proxied, components, config)
    }

    fn validate_final_config(&self, components: &RuntimeComponents, config: &ConfigBag) -> Result<(), BoxError> {
        HttpClient::validate_final_config(&self.proxied, components, config)
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
        let answer = connector.call(request);
        HttpConnectorFuture::new(async move { answer.await.map(bound) })
    }
}

/// The machine's and the container's own endpoints speak plain HTTP on addresses that mean something on this node
/// only. A proxy could not reach them, and must not see what they hand out.
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
    // An answer that announces too much is refused at its first byte. Its status and headers still count.
    let limit = if announced.is_some_and(|length| length > LIMIT as u64) { 0 } else { LIMIT };
    answer.map(|body| SdkBody::from_body_1_x(Limited::new(body, limit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_nodes_own_endpoints_are_reached_around_the_proxy() {
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
