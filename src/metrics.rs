//! The counters that Prometheus scrapes.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// From a pass that only compares, to one that waits out a time-out, in seconds.
const BUCKETS: [f64; 10] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// How a pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReconcileResult {
    /// The status says how things are, good or bad.
    Success,
    /// The status could not be written.
    Error,
    /// The resource does not parse.
    Invalid,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    operation: &'static str,
    code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabel {
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: Family<ResultLabel, Counter>,
    reconcile_duration: Histogram,
    requests: Family<RequestLabels, Counter>,
    request_duration: Family<OperationLabel, Histogram, fn() -> Histogram>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("ccr");
        let reconciles = Family::<ResultLabel, Counter>::default();
        registry.register("reconciles", "Passes over a resource, by how they ended", reconciles.clone());
        let reconcile_duration = Histogram::new(BUCKETS);
        registry.register(
            "reconcile_duration_seconds",
            "Time of a pass over a resource, in seconds",
            reconcile_duration.clone(),
        );
        let requests = Family::<RequestLabels, Counter>::default();
        registry.register(
            "gateway_requests",
            "Calls to API Gateway by operation and by HTTP status, or by what kept an answer from coming",
            requests.clone(),
        );
        let new_histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        let request_duration = Family::new_with_constructor(new_histogram);
        registry.register(
            "gateway_request_duration_seconds",
            "Time of a call to API Gateway, in seconds",
            request_duration.clone(),
        );
        let build = Family::<BuildLabels, Gauge<i64, std::sync::atomic::AtomicI64>>::default();
        build.get_or_create(&BuildLabels { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("build_info", "The version that runs; always 1", build);
        Metrics { registry, reconciles, reconcile_duration, requests, request_duration }
    }
}

impl Metrics {
    /// Counts a pass.
    pub fn reconciled(&self, result: ReconcileResult, took: Duration) {
        let result = match result {
            ReconcileResult::Success => "success",
            ReconcileResult::Error => "error",
            ReconcileResult::Invalid => "invalid",
        };
        self.reconciles.get_or_create(&ResultLabel { result }).inc();
        self.reconcile_duration.observe(took.as_secs_f64());
    }

    /// Counts a call to API Gateway.
    pub fn gateway_called(&self, operation: &'static str, code: &str, took: Duration) {
        self.requests.get_or_create(&RequestLabels { operation, code: code.to_owned() }).inc();
        self.request_duration.get_or_create(&OperationLabel { operation }).observe(took.as_secs_f64());
    }

    /// All of them in the OpenMetrics text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            // A String takes everything.
            Err(std::fmt::Error) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_that_the_readme_lists() {
        let metrics = Metrics::default();
        metrics.reconciled(ReconcileResult::Success, Duration::from_millis(3));
        metrics.gateway_called("GetClientCertificate", "200", Duration::from_millis(20));
        let text = metrics.render();
        for line in [
            "ccr_reconciles_total{result=\"success\"} 1",
            "ccr_reconcile_duration_seconds_count 1",
            "ccr_gateway_requests_total{operation=\"GetClientCertificate\",code=\"200\"} 1",
            "ccr_gateway_request_duration_seconds_count{operation=\"GetClientCertificate\"} 1",
            "ccr_build_info{version=",
            "# EOF",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
