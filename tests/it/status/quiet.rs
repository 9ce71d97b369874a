//! Without changes, the operator writes nothing and makes few calls to API Gateway.

use std::time::Duration;

use client_certificate_operator::api::REFRESH_ANNOTATION;
use kube::api::{Patch, PatchParams};
use operator_testing::script::Operation;
use operator_testing::wait::{eventually, never};
use serde_json::json;

use crate::fixture::{A_WHILE, ID, SOON, World};

/// A time that is longer than the least `spec.refreshInterval`, 30 s.
const ONE_REFRESH: Duration = Duration::from_secs(60);

async fn until_reads(world: &World<'_>, limit: Duration, count: usize) {
    eventually(limit, &format!("API Gateway was asked {count} times"), async || world.reads(ID) == count).await;
}

#[tokio::test]
async fn a_resync_without_a_change_causes_no_write_and_one_read() {
    let world = World::start("quiet").await;
    world.create_ready("payments", json!({ "refreshInterval": "30s", "description": "mine" })).await;
    world.until("payments", "DescriptionSynced", "True", "Synced").await;
    world.until_events("payments", &[("Normal DescriptionUpdated", 1), ("Normal TargetCreated", 1)]).await;
    let (resource, secret) = (world.resource("payments").await, world.target("payments").await);
    let (writes, calls) = (world.all_writes(), world.emulator.calls().len());
    until_reads(&world, ONE_REFRESH, 2).await;
    never(A_WHILE, "the resync writes", async || {
        let now = world.all_writes();
        Some(now[writes.len()..].to_vec()).filter(|new| !new.is_empty())
    })
    .await;
    assert_eq!(world.emulator.calls().len(), calls + 1, "one read and nothing else");
    assert_eq!(world.resource("payments").await, resource);
    assert_eq!(world.target("payments").await, secret);
}

#[tokio::test]
async fn a_write_to_a_status_by_another_writer_causes_no_reconcile() {
    let world = World::start("woken").await;
    world.create_ready("payments", json!({})).await;
    world.until_events("payments", &[("Normal TargetCreated", 1)]).await;
    let writes = world.all_writes().len();
    let patch = Patch::Merge(json!({ "status": { "lastHandledRefresh": "somebody's" } }));
    world.resources().patch_status("payments", &PatchParams::default(), &patch).await.unwrap();
    never(A_WHILE, "the operator does something", async || {
        let now = (world.reads(ID), world.all_writes().len());
        Some(now).filter(|now| *now != (1, writes))
    })
    .await;
}

#[tokio::test]
async fn the_refresh_annotation_requests_a_read_at_most_once_in_ten_seconds() {
    let world = World::start("refresh").await;
    world.create_ready("payments", json!({})).await;
    let handled = async |value: &str| {
        eventually(SOON, &format!("the refresh {value} was handled"), async || {
            world.resource("payments").await.status.unwrap().last_handled_refresh.as_deref() == Some(value)
        })
        .await;
    };
    let ask = async |value: &str| {
        world.patch("payments", json!({ "metadata": { "annotations": { REFRESH_ANNOTATION: value } } })).await;
    };
    ask("1").await;
    handled("1").await;
    assert_eq!(world.reads(ID), 2);
    let mut calls = world.emulator.calls();
    calls.retain(|call| call.operation == Operation::Get);
    assert!(calls[1].at.duration_since(calls[0].at).as_millis() >= 9_900, "{calls:?}");
    // Many requests in a row cause one more read, and the status has the last value.
    for n in 2..30 {
        ask(&n.to_string()).await;
    }
    handled("29").await;
    assert_eq!(world.reads(ID), 3);
    // The same value again requests no read.
    ask("29").await;
    never(A_WHILE, "API Gateway is asked", async || Some(world.reads(ID)).filter(|reads| *reads != 3)).await;
    world.until_events("payments", &[("Normal TargetCreated", 1)]).await;
}

#[tokio::test]
async fn fifty_edits_at_once_cause_a_few_reconciles() {
    let world = World::start("rapid").await;
    world.create_ready("payments", json!({})).await;
    world.until_events("payments", &[("Normal TargetCreated", 1)]).await;
    let operator = world.operator.as_ref().unwrap();
    operator.pause().unwrap();
    for n in 1..=50 {
        world.patch("payments", json!({ "spec": { "target": { "labels": { "edit": n.to_string() } } } })).await;
    }
    operator.resume().unwrap();
    let resource = world.until_ready("payments").await;
    let label = world.target("payments").await.metadata.labels.unwrap()["edit"].clone();
    assert_eq!((resource.metadata.generation, label.as_str()), (Some(51), "50"));
    let (writes, reads) = (world.writes_of("secrets"), world.reads(ID));
    assert!(writes.len() <= 10 && reads <= 10, "fifty edits that came at once are many passes: {reads}, {writes:?}");
    never(A_WHILE, "API Gateway is asked again", async || Some(world.reads(ID)).filter(|now| *now != reads)).await;
}
