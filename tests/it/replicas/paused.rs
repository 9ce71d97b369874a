//! A leader that is paused until after the end of its Lease, without noticing.

use std::time::Duration;

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use operator_testing::script::Operation;
use operator_testing::wait::eventually;
use serde_json::json;

use super::Replicas;
use crate::fixture::SOON;

const RESOURCES: usize = 10;

#[tokio::test]
async fn a_leader_that_was_paused_beyond_its_lease_writes_nothing() {
    let world = Replicas::new("paused").await;
    let mut a = world.start("a").await;
    world.until_held_by("a").await;
    for number in 0..RESOURCES {
        world.create_ready(&format!("r{number}"), json!({})).await;
    }
    let mut b = world.start("b").await;

    // All resources change all the time, so that there is always a write to make.
    let change = async |number: usize, round: &str| {
        let spec = json!({ "spec": { "target": { "labels": { "round": round } } } });
        world.resources().patch(&format!("r{number}"), &PatchParams::default(), &Patch::Merge(spec)).await.unwrap();
        world.secrets().delete(&format!("r{number}"), &Default::default()).await.ok();
    };
    let all = async |round: &str| {
        for number in 0..RESOURCES {
            change(number, round).await;
        }
    };
    all("before").await;
    a.operator.pause().unwrap();
    all("while-nobody-works").await;
    world.until_held_by("b").await;
    all("of-b").await;
    world.patch("r0", json!({ "spec": { "description": "of b" } })).await;
    let resumed = Timestamp::now();
    a.operator.resume().unwrap();
    for round in 0..10 {
        all(&format!("after{round}")).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    eventually(SOON, "a knows that it does not lead", async || !a.leads().await).await;
    let late: Vec<_> = a.writes().into_iter().filter(|seen| seen.time > resumed).collect();
    assert!(late.is_empty(), "a wrote after its Lease had ended: {late:?}");

    // Replica b makes all requested changes.
    for number in 0..RESOURCES {
        let name = format!("r{number}");
        world
            .until_target(SOON, &name, "it is of the last round", |secret| {
                secret.metadata.labels.as_ref().is_some_and(|labels| labels["round"] == "after9")
            })
            .await;
    }
    world.until("r0", "DescriptionSynced", "True", "Synced").await;
    assert_eq!(world.emulator.count_of(Operation::Update, crate::fixture::ID), 1, "one PATCH, by the one that leads");
    assert!(b.leads().await);
}
