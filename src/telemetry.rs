//! The log: text for people on a terminal, JSON for machines elsewhere. And traces, where a collector is configured.

mod collector;
mod lines;
mod traces;

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Metadata, info, warn};
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use self::lines::{Ending, WithTrace};
use crate::config::LogFormat;

/// What is logged where RUST_LOG says nothing. The operator's own code logs the failures of requests and watches, once and
/// with what to do.
const DEFAULT_FILTER: &str = "info,kube_client=off,kube_runtime=error,aws_config=warn,aws_runtime=error";
/// How long the last spans may take to reach the collector when the process ends.
const LAST_SPANS: Duration = Duration::from_secs(1);

/// What has to be ended with the process.
#[must_use = "spans that are not sent yet are lost without `end`"]
pub struct Telemetry {
    tracer: Option<SdkTracerProvider>,
}

/// Sets log and traces up for the whole process.
pub fn init(format: LogFormat) -> Telemetry {
    let json = match format {
        LogFormat::Auto => !stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let traces = traces::from_environment();
    let log = match json {
        true => fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_writer(stderr)
            .map_event_format(|lines| WithTrace::new(lines, Ending::Json))
            .boxed(),
        false => {
            let is_terminal = stderr().is_terminal();
            fmt::layer()
                .with_ansi(is_terminal)
                .with_target(false)
                .with_writer(stderr)
                .map_event_format(|lines| WithTrace::new(lines.with_ansi(is_terminal), Ending::Text))
                .boxed()
        }
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    // The lines contain the fields of the spans already.
    let filter = filter.and(filter_fn(|metadata| !is_own_span(metadata)));
    let log: Box<dyn Layer<Registry> + Send + Sync> = log.with_filter(filter).boxed();
    let tracer = traces.as_ref().ok().and_then(Option::as_ref).map(|traces| traces.provider.clone());
    match &tracer {
        Some(tracer) => tracing_subscriber::registry().with(vec![log, traces::layer(tracer)]).init(),
        None => tracing_subscriber::registry().with(log).init(),
    }
    match traces {
        Ok(Some(traces)) => info!(collector = traces.endpoint, "sending traces"),
        Ok(None) => {}
        Err(error) => warn!("traces are disabled: {error}"),
    }
    Telemetry { tracer }
}

fn is_own_span(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target().starts_with(env!("CARGO_CRATE_NAME"))
}

impl Telemetry {
    /// Sends the remaining spans. Not from within an async runtime: it blocks.
    pub fn end(self) {
        if let Some(tracer) = self.tracer {
            // The collector client has logged any failure.
            let _ = tracer.shutdown_with_timeout(LAST_SPANS);
        }
    }
}
