//! Traces, configured by the standard variables of OpenTelemetry. Without an endpoint, the process makes no traces.

use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::DynFilterFn;
use tracing_subscriber::{Layer, Registry};

use super::collector::Collector;

const NAME: &str = env!("CARGO_PKG_NAME");
/// OpenTelemetry's default of OTEL_EXPORTER_OTLP_TIMEOUT.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The configured traces.
pub(super) struct Traces {
    pub(super) provider: SdkTracerProvider,
    /// The endpoint, without its secret parts.
    pub(super) endpoint: String,
}

/// The value of the first of these variables that is set. An empty variable counts as not set.
fn variable(names: &[&str]) -> Option<String> {
    names.iter().filter_map(|name| std::env::var(name).ok()).find(|value| !value.is_empty())
}

/// The traces that the environment configures, if any.
pub(super) fn from_environment() -> Result<Option<Traces>, String> {
    let Some(endpoint) = variable(&["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"]) else {
        return Ok(None);
    };
    let is_off = variable(&["OTEL_SDK_DISABLED"]).is_some_and(|value| value.eq_ignore_ascii_case("true"))
        || variable(&["OTEL_TRACES_EXPORTER"]).is_some_and(|value| value == "none");
    if is_off {
        return Ok(None);
    }
    if let Some(protocol) = variable(&["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"])
        && protocol != "http/protobuf"
    {
        return Err(format!(
            "OTEL_EXPORTER_OTLP_PROTOCOL is {protocol}, but the operator supports only http/protobuf; set http/protobuf and the collector's port for it, usually 4318"
        ));
    }
    let timeout = variable(&["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"]);
    let timeout = timeout.and_then(|millis| millis.parse().ok()).map_or(TIMEOUT, Duration::from_millis);
    let collector = Collector::new(timeout).map_err(|error| error.to_string())?;
    let exporter = SpanExporter::builder().with_http().with_http_client(collector).build();
    let exporter = exporter.map_err(|error| format!("{error}; check the variables OTEL_EXPORTER_OTLP_…"))?;
    let mut resource = Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if variable(&["OTEL_SERVICE_NAME"]).is_none() {
        resource = resource.with_service_name(NAME);
    }
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build();
    Ok(Some(Traces { provider, endpoint: without_secrets(&endpoint) }))
}

/// A URL without secrets, for the log.
fn without_secrets(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}")
}

/// The layer that converts spans to spans of OpenTelemetry: the operator's own, and those of requests to the Kubernetes
/// API within one of them.
pub(super) fn layer(provider: &SdkTracerProvider) -> Box<dyn Layer<Registry> + Send + Sync> {
    let tracer = provider.tracer_with_scope(InstrumentationScope::builder(NAME).build());
    let filter = DynFilterFn::new(|metadata, context| {
        is_ours(metadata) || (is_request(metadata) && context.lookup_current().is_some())
    });
    let filter = filter.with_max_level_hint(LevelFilter::DEBUG).with_callsite_filter(|metadata| {
        match (is_ours(metadata), is_request(metadata)) {
            (true, _) => Interest::always(),
            (_, true) => Interest::sometimes(),
            _ => Interest::never(),
        }
    });
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(filter)
        .boxed()
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::INFO && metadata.target().starts_with(env!("CARGO_CRATE_NAME"))
}

/// Whether a span is kube's span of a request.
fn is_request(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target().starts_with("kube_client")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_of_a_collector_has_no_secret() {
        for (url, shown) in [
            ("http://collector:4318", "http://collector:4318"),
            ("https://user:password@collector.example/v1/traces?token=secret", "https://collector.example"),
            ("collector:4318", "http://collector:4318"),
        ] {
            assert_eq!(without_secrets(url), shown);
        }
    }
}
