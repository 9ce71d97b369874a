//! The alerts and the dashboard: promtool accepts them, and their metrics exist.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use client_certificate_operator::metrics::{Metrics, ReconcileResult};
use operator_testing::go_programs;
use serde_json::Value;

use super::{at, file, folder, of_kind, rendered_case, text, the};

/// The metrics of the operator in addition to those of [`Metrics`].
const OTHERS: [&str; 4] = [
    "ccr_leader",
    "ccr_certificate_not_after_timestamp_seconds",
    "ccr_certificate_safe_to_switch",
    "ccr_resource_condition",
];

fn unit_tests() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/chart/alerts.yaml")).unwrap()
}

fn alerts() -> Vec<Value> {
    let rules: Value = serde_saphyr::from_str(&file("files/alerts.yaml")).unwrap();
    at(&rules, "/groups/0/rules").as_array().unwrap().clone()
}

fn promtool(arguments: &[&str]) -> String {
    let mut promtool = Command::new(go_programs::promtool().unwrap());
    let output = promtool.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let reported = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{reported}");
    reported
}

#[test]
fn promtool_accepts_the_alerts_and_their_tests() {
    let checked = promtool(&["check", "rules", folder().join("files/alerts.yaml").to_str().unwrap()]);
    assert!(checked.contains(&format!("{} rules found", alerts().len())), "{checked}");
    let tested = promtool(&["test", "rules", "tests/it/chart/alerts.yaml"]);
    assert!(tested.contains("SUCCESS"), "{tested}");
}

#[test]
fn every_alert_is_tested_firing_and_not_firing() {
    let tests: Value = serde_saphyr::from_str(&unit_tests()).unwrap();
    let groups = tests["tests"].as_array().unwrap();
    let trials: Vec<&Value> = groups.iter().flat_map(|group| group["alert_rule_test"].as_array().unwrap()).collect();
    for alert in alerts() {
        let name = &alert["alert"];
        let of_it: Vec<bool> = trials
            .iter()
            .filter(|trial| trial["alertname"] == *name)
            .map(|trial| !trial["exp_alerts"].as_array().unwrap().is_empty())
            .collect();
        assert!(of_it.contains(&true) && of_it.contains(&false), "{name}: {of_it:?}");
    }
}

/// The names of the operator's metrics in a query.
fn names(query: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    query.split(|c| !is_part(c)).filter(|word| word.starts_with("ccr_")).map(str::to_owned).collect()
}

/// The names of the series that the operator exports.
fn reported() -> BTreeSet<String> {
    let metrics = Metrics::default();
    // A metric with labels is exported after its first event.
    metrics.reconciled(ReconcileResult::Success, Duration::ZERO);
    metrics.gateway_called("GetClientCertificate", "200", Duration::ZERO);
    metrics.list_refused("denied");
    metrics.rules_loaded(Ok(()));
    let text = metrics.render();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let series = types.flat_map(|(name, kind)| match kind {
        "counter" => vec![format!("{name}_total")],
        "histogram" => ["bucket", "sum", "count"].map(|part| format!("{name}_{part}")).to_vec(),
        _ => vec![name.to_owned()],
    });
    series.chain(OTHERS.map(str::to_owned)).collect()
}

#[test]
fn alerts_and_dashboard_use_existing_metrics() {
    let dashboard: Value = serde_json::from_str(&file("files/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let queries = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap()).map(|target| &target["expr"]);
    let alerts = alerts();
    let queries = queries.chain(alerts.iter().map(|alert| &alert["expr"]));
    let queries = queries.chain(dashboard.pointer("/templating/list/1/query/query"));
    let (reported, mut spoken) = (reported(), BTreeSet::new());
    for query in queries {
        let names = names(query.as_str().unwrap());
        assert!(!names.is_empty(), "{query}");
        spoken.extend(names);
    }
    let unknown: Vec<_> = spoken.difference(&reported).collect();
    assert!(unknown.is_empty(), "{unknown:?} is none of {reported:?}");
    let family = |name: &str| {
        let cut = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
        cut.unwrap_or(name).to_owned()
    };
    let families = |names: &BTreeSet<String>| names.iter().map(|name| family(name)).collect::<BTreeSet<_>>();
    assert_eq!(families(&reported), families(&spoken), "and everything that is reported is shown");
}

#[test]
fn the_queries_of_the_dashboard_parse() {
    let dashboard: Value = serde_json::from_str(&file("files/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut rules = String::from("groups:\n- name: dashboard\n  rules:\n");
    for target in panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap()) {
        // Replaces Grafana's variables.
        let query = target["expr"].as_str().unwrap().replace("$__rate_interval", "5m").replace("$job", ".*");
        rules += &format!("  - record: panel:{}\n    expr: '{query}'\n", rules.lines().count());
    }
    let rules_file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(rules_file.path(), &rules).unwrap();
    let checked = promtool(&["check", "rules", rules_file.path().to_str().unwrap()]);
    assert!(checked.contains(&format!("{} rules found", rules.matches("record:").count())), "{checked}");
}

#[test]
fn the_objects_contain_the_unchanged_files() {
    let all = rendered_case("everything");
    let rules: Value = serde_saphyr::from_str(&file("files/alerts.yaml")).unwrap();
    let object = the(&all, "PrometheusRule");
    assert_eq!(object["spec"], rules);
    assert!(object.to_string().contains("{{ $labels.namespace }}"), "what Prometheus fills in is left to it");
    let config_maps = of_kind(&all, "ConfigMap");
    let dashboard = config_maps.iter().find(|map| at(map, "/metadata/name") == "mirror-dashboard").unwrap();
    assert_eq!(at(dashboard, "/metadata/labels/grafana_dashboard"), "yes");
    assert_eq!(at(dashboard, "/data/client-certificate-operator.json"), &Value::from(file("files/dashboard.json")));
    let monitor = the(&all, "ServiceMonitor");
    assert_eq!(at(monitor, "/spec/endpoints/0/honorLabels"), true, "the namespace is that of the resource");
    assert_eq!(
        at(monitor, "/spec/selector"),
        &serde_json::json!({ "matchLabels": at(the(&all, "Deployment"), "/spec/selector/matchLabels") })
    );
    assert_eq!(at(monitor, "/metadata/labels/release"), "prometheus");
}
