//! The log: text for people on a terminal, JSON for machines elsewhere.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// What is logged where RUST_LOG says nothing. The failures of requests and watches are told by those who made them, once
/// and with what to do about them.
const DEFAULT_FILTER: &str = "info,kube_client=off,kube_runtime=error,aws_config=warn,aws_runtime=error";

/// Sets the log up for the whole process.
pub fn init(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let json = match format {
        LogFormat::Auto => !stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    if json {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
    } else {
        builder.with_ansi(stderr().is_terminal()).with_target(false).init();
    }
}
