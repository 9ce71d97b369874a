//! Another writer keeps changing the target.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use operator_testing::wait::never;
use serde_json::json;

use crate::fixture::{A_WHILE, ID, MINUTES, World, condition, data};

/// Undoes every repair, like a controller that owns the Secret.
async fn undo(secrets: Api<Secret>, pem: String) {
    loop {
        if data(&secrets.get("payments").await.unwrap(), "ca.crt") == Some(&pem) {
            let patch = Patch::Merge(json!({ "stringData": { "ca.crt": "theirs" } }));
            secrets.patch("payments", &PatchParams::default(), &patch).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_writer_that_reverts_every_repair_causes_a_backoff_and_is_reported() {
    let world = World::start("fought").await;
    world.create_ready("payments", json!({})).await;
    let mutator = tokio::spawn(undo(world.targets(), world.pem(ID)));
    let contested = world.until("payments", "TargetWritten", "False", "Contested").await;
    assert!(condition(&contested, "Stalled").is_none(), "repairs go on");
    world.until("payments", "Ready", "False", "Contested").await;
    // The time is long enough to detect ten repairs a second.
    never(Duration::from_secs(8), "repairs do not slow down", async || {
        let repairs = world.target_writes().len() - 1;
        Some(repairs).filter(|repairs| *repairs > 8)
    })
    .await;
    assert!(world.events("payments").await.contains_key("Warning Contested"));

    mutator.abort();
    let pem = world.pem(ID);
    world.until_target(MINUTES, "payments", "is ours again", |secret| data(secret, "ca.crt") == Some(&pem)).await;
    world.until_ready("payments").await;
    let writes = world.all_writes().len();
    never(A_WHILE, "something more is written", async || Some(world.all_writes().len()).filter(|now| *now > writes))
        .await;
    assert_eq!(world.reads(ID), 1);
}
