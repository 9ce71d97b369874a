//! The log, as text on a terminal and as JSON elsewhere, and traces, if a collector is configured.

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

/// The filter of the log without RUST_LOG. The libraries' lines about failed requests and watches are off, because the
/// operator's own code logs such a failure once, with the action for the user.
const DEFAULT_FILTER: &str = "info,kube_client=off,kube_runtime=error,aws_config=warn,aws_runtime=error";
/// The time limit to send the last spans when the process ends.
const LAST_SPANS: Duration = Duration::from_secs(1);

/// The telemetry that has to end with the process.
#[must_use = "spans that are not sent yet are lost without `end`"]
pub struct Telemetry {
    tracer: Option<SdkTracerProvider>,
}

/// Sets up the log and the traces of the process.
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
    // The lines already contain the fields of the spans.
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
    /// Sends the remaining spans. This blocks, so the caller must not be in an async runtime.
    pub fn end(self) {
        if let Some(tracer) = self.tracer {
            // The collector client has logged any failure.
            let _ = tracer.shutdown_with_timeout(LAST_SPANS);
        }
    }
}
