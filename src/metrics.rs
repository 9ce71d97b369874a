//! The metrics: counters of the process, and series of each resource, whose values come from the stores.

mod format;
mod resources;

use std::sync::atomic::AtomicI64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

pub use self::format::Format;
use self::resources::ResourceCollector;
use crate::api::Cached;

/// Buckets of durations in seconds: from a reconcile that only compares to a reconcile that times out.
const BUCKETS: [f64; 10] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// Buckets of resources per response of API Gateway.
const BATCHES: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0];

/// The result of a reconcile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReconcileResult {
    /// The status is up to date, with or without a failure.
    Success,
    /// The status could not be written.
    Error,
    /// The resource does not parse.
    Invalid,
}

impl ReconcileResult {
    /// The name in metrics and traces.
    pub fn as_str(self) -> &'static str {
        match self {
            ReconcileResult::Success => "success",
            ReconcileResult::Error => "error",
            ReconcileResult::Invalid => "invalid",
        }
    }
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
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

/// Returns every resource in the stores.
pub type Resources = Box<dyn Fn() -> Vec<Arc<Cached>> + Send + Sync>;

/// Whether this process leads.
type Leader = Gauge<i64, AtomicI64>;

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    resources: Arc<OnceLock<Resources>>,
    leader: Leader,
    reconciles: Family<ResultLabel, Counter>,
    reconcile_duration: Histogram,
    requests: Family<RequestLabels, Counter>,
    request_duration: Family<OperationLabel, Histogram, fn() -> Histogram>,
    budget_wait: Histogram,
    budget_queue: Gauge,
    throttles: Counter,
    batches: Histogram,
    shared_answers: Counter,
    list_refusals: Family<ReasonLabel, Counter>,
    rules_loads: Family<ResultLabel, Counter>,
    namespaces_unavailable: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("ccr");
        let reconciles = Family::<ResultLabel, Counter>::default();
        registry.register(
            "reconciles",
            "Reconciles of a resource, by result: success, error, invalid",
            reconciles.clone(),
        );
        let reconcile_duration = Histogram::new(BUCKETS);
        registry.register("reconcile_duration_seconds", "Time of a reconcile, in seconds", reconcile_duration.clone());
        let requests = Family::<RequestLabels, Counter>::default();
        registry.register(
            "gateway_requests",
            "Calls to API Gateway and GetCallerIdentity of AWS STS, by operation and by HTTP status or failure",
            requests.clone(),
        );
        let new_histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        let request_duration = Family::new_with_constructor(new_histogram);
        registry.register(
            "gateway_request_duration_seconds",
            "Time of a call to API Gateway, in seconds, by operation",
            request_duration.clone(),
        );
        let budget_wait = Histogram::new(BUCKETS);
        registry.register(
            "gateway_budget_wait_seconds",
            "Time that a call to API Gateway waited for the rate limit of its account and region, in seconds",
            budget_wait.clone(),
        );
        let budget_queue = Gauge::default();
        registry.register(
            "gateway_budget_queue_length",
            "Calls to API Gateway that are waiting for the rate limit",
            budget_queue.clone(),
        );
        let throttles = Counter::default();
        registry.register("gateway_throttles", "Calls that API Gateway throttled (HTTP status 429)", throttles.clone());
        let batches = Histogram::new(BATCHES);
        registry.register(
            "gateway_batch_size",
            "Resources to reconcile after one response of API Gateway",
            batches.clone(),
        );
        let shared_answers = Counter::default();
        registry.register(
            "gateway_shared_answers",
            "Resources that the operator served from the cache, without a call to API Gateway",
            shared_answers.clone(),
        );
        let list_refusals = Family::<ReasonLabel, Counter>::default();
        registry.register(
            "gateway_list_refusals",
            "Lists of client certificates that failed, by reason: denied, unusable; after a failure, the operator reads each certificate by id for 10 minutes",
            list_refusals.clone(),
        );
        let rules_loads = Family::<ResultLabel, Counter>::default();
        registry.register("rules_loads", "Loads of the rules file, by result: success, error", rules_loads.clone());
        let namespaces_unavailable = Gauge::default();
        registry.register(
            "namespaces_unavailable",
            "Namespaces of --namespaces that do not exist or that RBAC does not allow the operator to watch",
            namespaces_unavailable.clone(),
        );
        let leader = Leader::default();
        registry.register("leader", "Whether this process is the leader: 1 or 0", leader.clone());
        let build = Family::<BuildLabels, Gauge<i64, AtomicI64>>::default();
        build.get_or_create(&BuildLabels { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("build_info", "Version of the operator; always 1", build);
        let resources = Arc::<OnceLock<Resources>>::default();
        let collector = ResourceCollector { resources: Arc::clone(&resources), leader: leader.clone() };
        registry.register_collector(Box::new(collector));
        Metrics {
            registry,
            resources,
            leader,
            reconciles,
            reconcile_duration,
            requests,
            request_duration,
            budget_wait,
            budget_queue,
            throttles,
            batches,
            shared_answers,
            list_refusals,
            rules_loads,
            namespaces_unavailable,
        }
    }
}

impl Metrics {
    /// Metrics with a sample of each family except those of resources, for the reference: a family without a sample is
    /// not exported. The pattern names every field, so that a new field does not compile without a sample.
    pub fn sampled() -> Self {
        let metrics = Metrics::default();
        let Metrics {
            registry: _,
            resources: _,
            leader,
            reconciles: _,
            reconcile_duration: _,
            requests: _,
            request_duration: _,
            budget_wait,
            budget_queue,
            throttles,
            batches,
            shared_answers,
            list_refusals: _,
            rules_loads: _,
            namespaces_unavailable,
        } = &metrics;
        metrics.reconciled(ReconcileResult::Success, Duration::from_millis(3));
        metrics.gateway_called("GetClientCertificate", "200", Duration::from_millis(20));
        metrics.list_refused("denied");
        metrics.rules_loaded(Ok(()));
        budget_wait.observe(0.2);
        budget_queue.set(2);
        throttles.inc();
        batches.observe(500.0);
        shared_answers.inc();
        namespaces_unavailable.set(1);
        leader.set(1);
        metrics
    }

    /// Counts a reconcile.
    pub fn reconciled(&self, result: ReconcileResult, took: Duration) {
        self.reconciles.get_or_create(&ResultLabel { result: result.as_str() }).inc();
        self.reconcile_duration.observe(took.as_secs_f64());
    }

    /// Counts a call to API Gateway.
    pub fn gateway_called(&self, operation: &'static str, code: &str, took: Duration) {
        self.requests.get_or_create(&RequestLabels { operation, code: code.to_owned() }).inc();
        self.request_duration.get_or_create(&OperationLabel { operation }).observe(took.as_secs_f64());
    }

    /// Records the wait of a call for the rate limit.
    pub fn waited_for_budget(&self, time: Duration) {
        self.budget_wait.observe(time.as_secs_f64());
    }

    /// Changes the number of calls that wait for the rate limit.
    pub fn budget_queue_changed(&self, by: i64) {
        self.budget_queue.inc_by(by);
    }

    /// Counts a throttled call.
    pub fn throttled(&self) {
        self.throttles.inc();
    }

    /// Records the number of resources that waited for a response.
    pub fn batch_answered(&self, resources: usize) {
        self.batches.observe(resources as f64);
    }

    /// Counts a subscription that needed no call.
    pub fn answer_shared(&self) {
        self.shared_answers.inc();
    }

    /// Counts a failed list.
    pub fn list_refused(&self, reason: &'static str) {
        self.list_refusals.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Counts a load of a changed rules file.
    pub fn rules_loaded(&self, result: Result<(), ()>) {
        let result = if result.is_ok() { "success" } else { "error" };
        self.rules_loads.get_or_create(&ResultLabel { result }).inc();
    }

    /// Sets the number of namespaces that cannot be watched.
    pub fn namespaces_unavailable(&self, count: usize) {
        self.namespaces_unavailable.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Sets whether this process leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Exports no series of resources.
    pub fn without_resources(self) -> Self {
        self.follow(Box::new(Vec::new));
        self
    }

    /// Sets the source of the series of each resource, which are exported while the process leads.
    pub fn follow(&self, resources: Resources) {
        // A second call changes nothing: a process has one set of stores.
        let _ = self.resources.set(resources);
    }

    /// All metrics, in the OpenMetrics text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            // Writing to a String cannot fail.
            Err(std::fmt::Error) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_of_each_is_rendered() {
        let text = Metrics::sampled().render();
        for line in [
            "ccr_reconciles_total{result=\"success\"} 1",
            "ccr_reconcile_duration_seconds_count 1",
            "ccr_gateway_requests_total{operation=\"GetClientCertificate\",code=\"200\"} 1",
            "ccr_gateway_request_duration_seconds_count{operation=\"GetClientCertificate\"} 1",
            "ccr_gateway_budget_wait_seconds_count 1",
            "ccr_gateway_budget_queue_length 2",
            "ccr_gateway_throttles_total 1",
            "ccr_gateway_batch_size_sum 500.0",
            "ccr_gateway_shared_answers_total 1",
            "ccr_gateway_list_refusals_total{reason=\"denied\"} 1",
            "ccr_rules_loads_total{result=\"success\"} 1",
            "ccr_namespaces_unavailable 1",
            "ccr_leader 1",
            "ccr_build_info{version=",
            "# EOF",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
