//! The number of reconciles at once, and their metrics.

use std::time::Duration;

use futures::future::join_all;
use operator_testing::emulator::{Fault, HOME_USER};
use operator_testing::script::Operation;
use operator_testing::wait::eventually;
use serde_json::json;

use crate::faults::{SOON, World, started};

#[tokio::test]
async fn many_resources_are_read_at_once_and_each_certificate_only_once() {
    let world = World::new("parallel").await;
    // The list is denied, because one list call would serve all resources.
    world.emulator.deny(HOME_USER, Operation::List);
    let _operator = started(&world.builder().arg("--rate=100").arg("--burst=100")).await;
    world.emulator.set_latency(Duration::from_millis(20));
    let ids: Vec<String> = (0..80).map(|number| format!("id{number}")).collect();
    ids.iter().for_each(|id| world.certificate(id));
    join_all(ids.iter().map(async |id| {
        world.create(id, json!({ "clientCertificateId": id })).await;
        // Many events of one resource cause one reconcile at a time.
        for round in 0..4 {
            world.change(id, json!({ "refreshInterval": format!("{}m", 10 + round) })).await;
        }
        world.wait_ready(id, 5).await;
    }))
    .await;
    let peak = world.emulator.peak_under_way();
    assert!((2..=8).contains(&peak), "{peak} calls at once");
    assert_eq!(world.emulator.peak_of_one_certificate(), 1);
}

#[tokio::test]
async fn the_metrics_count_reconciles_and_calls_and_parse() {
    let world = World::apart("metrics").await;
    let mut operator = world.operator().await;
    world.certificate("one");
    world.certificate("bad");
    world.emulator.set_faults_of("bad", [Fault::error(404, "NotFoundException", "No").on(Operation::Get)]);
    world.create("one", json!({ "clientCertificateId": "one", "description": "text" })).await;
    world.create("bad", json!({ "clientCertificateId": "bad" })).await;
    world.wait_for("one", "DescriptionSynced", "True", 1).await;
    world.wait_for("bad", "Ready", "False NotFound", 1).await;
    let requests = "ccr_gateway_requests_total";
    for (name, labels, expected) in [
        (requests, vec![("operation", "GetClientCertificate"), ("code", "200")], 1.0),
        (requests, vec![("operation", "GetClientCertificate"), ("code", "404")], 1.0),
        (requests, vec![("operation", "UpdateClientCertificate"), ("code", "200")], 1.0),
        ("ccr_gateway_request_duration_seconds_count", vec![("operation", "GetClientCertificate")], 2.0),
        ("ccr_gateway_request_duration_seconds_count", vec![("operation", "UpdateClientCertificate")], 1.0),
        ("ccr_build_info", vec![("version", env!("CARGO_PKG_VERSION"))], 1.0),
    ] {
        assert_eq!(operator.metric(name, &labels).await.unwrap(), Some(expected), "{name} {labels:?}");
    }
    // A reconcile is counted at its end, a moment after its status is visible.
    let passes = eventually(SOON, "two passes are counted", async || {
        let passes = operator.metric("ccr_reconciles_total", &[("result", "success")]).await.unwrap();
        passes.filter(|passes| *passes >= 2.0).ok_or("they are not")
    })
    .await;
    let timed = operator.metric("ccr_reconcile_duration_seconds_count", &[]).await.unwrap();
    assert!(timed.unwrap() >= passes);

    let text = operator.metrics().await.unwrap();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(series.starts_with("ccr_") && !series.contains('\n'), "{line}");
        value.parse::<f64>().unwrap_or_else(|_| panic!("not a sample: {line}"));
    }
    for line in text.lines().filter(|line| line.starts_with('#')) {
        let words: Vec<_> = line.splitn(4, ' ').collect();
        assert!(matches!(words[1], "HELP" | "TYPE" | "UNIT") && words[2].starts_with("ccr_"), "{line}");
    }
}
