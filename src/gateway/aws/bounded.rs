//! The HTTP client below the SDK: it honours a proxy, and never takes in more of an answer than a real one can hold.

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
    // The builder's other ways to a client cannot set a proxy; this one keeps its cache of connectors, and with it
    // the pool of connections.
    let unbounded = Builder::new().build_with_connector_fn(move |settings, components| {
        let mut builder = Connector::builder().proxy_config(proxy.clone());
        builder.set_connector_settings(settings.cloned());
        builder.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        builder.tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build()
    });
    SharedHttpClient::new(BoundedClient(unbounded))
}

#[derive(Debug)]
struct BoundedClient(SharedHttpClient);

impl HttpClient for BoundedClient {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(BoundedConnector(self.0.http_connector(settings, components)))
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        HttpClient::validate_base_client_config(&self.0, components, config)
    }

    fn validate_final_config(&self, components: &RuntimeComponents, config: &ConfigBag) -> Result<(), BoxError> {
        HttpClient::validate_final_config(&self.0, components, config)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.0.connector_metadata()
    }
}

#[derive(Debug)]
struct BoundedConnector(SharedHttpConnector);

impl HttpConnector for BoundedConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let answer = self.0.call(request);
        HttpConnectorFuture::new(async move { answer.await.map(bound) })
    }
}

fn bound(answer: HttpResponse) -> HttpResponse {
    let announced = answer.headers().get("content-length").and_then(|length| length.parse::<u64>().ok());
    // An answer that announces too much is refused at its first byte. Its status and headers still count.
    let limit = if announced.is_some_and(|length| length > LIMIT as u64) { 0 } else { LIMIT };
    answer.map(|body| SdkBody::from_body_1_x(Limited::new(body, limit)))
}
