//! The series of each resource, and the formats of the metrics.

use std::process::Stdio;

use operator_testing::go_programs;
use operator_testing::operator::Operator;
use operator_testing::wait::eventually;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::fixture::{ID, SOON, World};
use crate::ground::started;

const NOT_AFTER: &str = "ccr_certificate_not_after_timestamp_seconds";
const CONDITION: &str = "ccr_resource_condition";

/// The series of a resource: Ready, Expiring, CertificateRead.
async fn conditions(operator: &mut Operator, namespace: &str, name: &str) -> [Option<f64>; 3] {
    let text = operator.metrics().await.unwrap();
    ["Ready", "Expiring", "CertificateRead"].map(|type_| {
        let series = format!("{CONDITION}{{namespace=\"{namespace}\",name=\"{name}\",type=\"{type_}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&series)).map(|value| value.parse().unwrap())
    })
}

async fn until_conditions(world: &mut World<'_>, name: &str, expected: [Option<f64>; 3]) {
    let namespace = world.namespace.clone();
    let operator = world.operator.as_mut().unwrap();
    eventually(SOON, &format!("the conditions of {name} are {expected:?}"), async || {
        let found = conditions(operator, &namespace, name).await;
        if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

/// promtool's complaints about a page in the format of Prometheus.
async fn check(page: &str) -> Result<(), String> {
    let said = promtool(&["check", "metrics"], page).await?;
    if said.trim().is_empty() { Ok(()) } else { Err(said) }
}

/// Whether promtool can read a page of OpenMetrics, by its backfill. That needs a time at every sample.
async fn load(page: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("page"), folder.path().join("blocks"));
    let timed = |line: &str| if line.starts_with('#') { format!("{line}\n") } else { format!("{line} 1800000000\n") };
    std::fs::write(&input, page.lines().map(timed).collect::<String>()).unwrap();
    let (input, output) = (input.to_str().unwrap(), output.to_str().unwrap());
    let said = promtool(&["tsdb", "create-blocks-from", "openmetrics", input, output], "").await?;
    assert!(std::fs::read_dir(output).unwrap().count() > 0, "{said}");
    Ok(())
}

async fn promtool(args: &[&str], input: &str) -> Result<String, String> {
    let promtool = tokio::task::spawn_blocking(|| go_programs::promtool().unwrap()).await.unwrap();
    let mut child = tokio::process::Command::new(promtool)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(said) } else { Err(said) }
}

#[tokio::test]
async fn the_series_of_expiry_and_conditions_exist_as_long_as_their_resource() {
    let mut world = World::start("series").await;
    let resource = world.create_ready("payments", json!({})).await;
    let ends = resource.status.unwrap().certificates[0].expiration_date.unwrap();
    until_conditions(&mut world, "payments", [Some(1.0), Some(0.0), Some(1.0)]).await;
    let labels = [("namespace", world.namespace.clone()), ("name", "payments".into()), ("certificate_id", ID.into())];
    let labels = labels.each_ref().map(|(label, value)| (*label, value.as_str()));
    let operator = world.operator.as_mut().unwrap();
    assert_eq!(operator.metric(NOT_AFTER, &labels).await.unwrap(), Some(ends.as_second() as f64));
    assert_eq!(operator.metric("ccr_leader", &[]).await.unwrap(), Some(1.0));

    world.create("lost", json!({ "clientCertificateId": "lost" })).await;
    world.until("lost", "Ready", "False", "NotFound").await;
    until_conditions(&mut world, "lost", [Some(0.0), Some(0.0), Some(0.0)]).await;
    assert_eq!(world.operator.as_mut().unwrap().metric(NOT_AFTER, &[("name", "lost")]).await.unwrap(), None);

    world.delete("payments").await;
    until_conditions(&mut world, "payments", [None; 3]).await;
    assert_eq!(world.operator.as_mut().unwrap().metric(NOT_AFTER, &labels).await.unwrap(), None);
}

#[tokio::test]
async fn without_per_resource_metrics_no_series_names_a_resource() {
    let world = World::without_operator("no-series").await;
    let mut operator = started(&world.builder().arg("--per-resource-metrics=false")).await;
    world.create_ready("payments", json!({})).await;
    let text = operator.metrics().await.unwrap();
    assert!(text.contains("ccr_leader 1\n"), "{text}");
    assert!(!text.contains("payments") && !text.contains(NOT_AFTER) && !text.contains(CONDITION), "{text}");
}

#[tokio::test]
async fn promtool_accepts_the_metrics_in_each_requested_format() {
    let mut world = World::start("promtool").await;
    world.create_ready("payments", json!({ "description": "mine" })).await;
    world.create("lost", json!({ "clientCertificateId": "lost" })).await;
    world.until("lost", "Ready", "False", "NotFound").await;
    let operator = world.operator.as_mut().unwrap();

    let (content_type, older) = operator.metrics_as("text/plain;version=0.0.4").await.unwrap();
    assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
    assert!(older.contains("# TYPE ccr_reconciles_total counter\n"), "{older}");
    check(&older).await.unwrap();
    // The check must not accept every page.
    check(&older.replace("# HELP ccr_leader", "# ")).await.unwrap_err();

    let (content_type, open) =
        operator.metrics_as("application/openmetrics-text;version=1.0.0;q=0.6,text/plain;q=0.3").await.unwrap();
    assert_eq!(content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(open.ends_with("\n# EOF\n") && open.contains("# TYPE ccr_reconciles counter\n"), "{open}");
    assert!(open.contains(&format!("# UNIT {NOT_AFTER} seconds\n")), "{open}");
    load(&open).await.unwrap();
    load(&open.replace("# EOF", "")).await.unwrap_err();
}
