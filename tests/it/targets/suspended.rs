//! The operator does not change a suspended resource.

use client_certificate_operator::api::REFRESH_ANNOTATION;
use operator_testing::certificates::NewCertificate;
use operator_testing::wait::never;
use serde_json::json;

use crate::fixture::{A_WHILE, ID, SOON, World, condition, conditions, data};
use crate::ground::source;

#[tokio::test]
async fn a_suspended_resource_is_neither_read_nor_repaired_until_the_suspension_ends() {
    let world = World::start("suspended").await;
    let before = world.create_ready("payments", json!({})).await;
    world.patch("payments", json!({ "spec": { "suspend": true } })).await;
    let suspended = world.until("payments", "Suspended", "True", "Suspended").await;
    let others = |all: Vec<String>| all.into_iter().filter(|c| !c.starts_with("Suspended")).collect::<Vec<_>>();
    assert_eq!(others(conditions(&suspended)), conditions(&before));
    assert_eq!(suspended.status.unwrap().certificates, before.status.unwrap().certificates);

    let (reads, writes) = (world.reads(ID), world.all_writes().len());
    world.emulator.renew(&source(ID), NewCertificate::new().shared_key()).unwrap();
    world.patch("payments", json!({ "metadata": { "annotations": { REFRESH_ANNOTATION: "1" } } })).await;
    world.patch("payments", json!({ "spec": { "refreshInterval": "30s" } })).await;
    let edited = world.patch_target("payments", json!({ "text": { "ca.crt": "changed" } })).await;
    never(A_WHILE, "the target is repaired", async || {
        Some(world.target("payments").await).filter(|secret| *secret != edited)
    })
    .await;
    assert_eq!(world.reads(ID), reads);
    // The one write is the observed generation of the changed spec.
    let written: Vec<_> = world.all_writes().drain(writes..).map(|entry| (entry.resource, entry.subresource)).collect();
    assert_eq!(written, [("clientcertificaterefs".to_owned(), "status".to_owned())]);

    world.patch("payments", json!({ "spec": { "suspend": false } })).await;
    let pem = world.pem(ID);
    let is_new = |secret: &_| data(secret, "ca.crt") == Some(&pem);
    world.until_target(SOON, "payments", "holds what was read afresh", is_new).await;
    let lifted = world.until_ready("payments").await;
    assert!(condition(&lifted, "Suspended").is_none());
    assert_eq!(world.reads(ID), reads + 1);
}

#[tokio::test]
async fn a_resource_that_is_created_suspended_has_no_target_until_the_suspension_ends() {
    let world = World::start("asleep").await;
    world.create("payments", json!({ "suspend": true })).await;
    world.until("payments", "Suspended", "True", "Suspended").await;
    assert_eq!((world.reads(ID), world.target_writes()), (0, vec![]));
    world.patch("payments", json!({ "spec": { "suspend": false } })).await;
    world.until_ready("payments").await;
}
