//! The resource goes: its target goes with it or stays, and nothing is fought.

use client_certificate_operator::api::{MANAGED_LABEL, OWNER_ANNOTATION};
use kube::ResourceExt;
use operator_testing::wait::{eventually, never};
use serde_json::json;

use super::essence;
use crate::fixture::{A_WHILE, ID, MINUTES, World, data, owners};

async fn until_gone(world: &World<'_>, name: &str) {
    let is_gone = async || world.secrets().get_opt(name).await.unwrap().is_none();
    eventually(MINUTES, &format!("the Secret {name} is gone"), is_gone).await;
}

#[tokio::test]
async fn the_target_goes_with_its_resource_however_that_is_deleted() {
    let world = World::start("goes").await;
    for (name, cascade, blocks) in
        [("background", "background", false), ("foreground", "foreground", false), ("blocking", "foreground", true)]
    {
        world.create_ready(name, json!({})).await;
        if blocks {
            // Then the resource waits for its target to go first.
            let mut owner = serde_json::to_value(&world.secret(name).await.owner_references()[0]).unwrap();
            owner["blockOwnerDeletion"] = true.into();
            world.patch_secret(name, json!({ "metadata": { "ownerReferences": [owner] } })).await;
        }
        let cascade = format!("--cascade={cascade}");
        let output = world.kubectl(&["delete", "ccr", name, &cascade, "--timeout=150s"]).await;
        assert!(output.status.success(), "{output:?}");
        until_gone(&world, name).await;
    }
    never(A_WHILE, "a target comes back", async || {
        let names = ["background", "foreground", "blocking"];
        let found = world.secrets().list(&kube::api::ListParams::default()).await.unwrap();
        found.into_iter().map(|secret| secret.name_any()).find(|name| names.contains(&name.as_str()))
    })
    .await;
    assert_eq!(world.writes_of("secrets"), ["create background", "create foreground", "create blocking"]);
}

#[tokio::test]
async fn with_retain_the_target_stays_and_a_resource_made_again_meets_it_without_a_gap() {
    let world = World::start("stays").await;
    let spec = json!({ "target": { "deletionPolicy": "Retain" } });
    world.create_ready("payments", spec.clone()).await;
    let before = world.secret("payments").await;
    assert_eq!(owners(&before), Vec::<String>::new());
    world.delete("payments").await;
    never(A_WHILE, "the target changes", async || {
        Some(world.secrets().get_opt("payments").await.unwrap()).filter(|found| found.as_ref() != Some(&before))
    })
    .await;
    world.create_ready("payments", spec).await;
    assert_eq!(world.secret("payments").await, before);
    assert_eq!(world.writes_of("secrets"), ["create payments"]);

    // With the other policy a new life of the resource takes it over in place.
    world.delete("payments").await;
    let resource = world.create_ready("payments", json!({})).await;
    let after = world.secret("payments").await;
    assert_eq!((after.uid(), owners(&after)), (before.uid(), vec![resource.uid().to_owned()]));
    assert_eq!(world.writes_of("secrets"), ["create payments", "update payments"]);
}

#[tokio::test]
async fn a_resource_deleted_and_made_again_at_once_has_its_target_in_the_end() {
    let world = World::start("again").await;
    let first = world.create_ready("payments", json!({})).await;
    world.delete("payments").await;
    let second = world.create("payments", json!({})).await;
    assert_ne!(first.uid(), second.uid());
    // Garbage collection may come before or after the operator: both end here.
    let pem = world.pem(ID);
    let is_right = |secret: &_| owners(secret) == [second.uid()] && data(secret, "ca.crt") == Some(&pem);
    world.until_secret(MINUTES, "payments", "is the second's", is_right).await;
    world.until_ready("payments").await;
}

#[tokio::test]
async fn a_restored_resource_meets_its_restored_target() {
    let mut world = World::without_operator("restored").await;
    // As a backup brings them back: the resource with a new uid, the target with a reference to the old one.
    let resource = world.create("payments", json!({})).await;
    let owner = json!({
        "apiVersion": "apigateway.clientcert.dev/v1alpha1",
        "kind": "ClientCertificateRef",
        "name": "payments",
        "uid": "11111111-2222-3333-4444-555555555555",
        "controller": true,
    });
    let metadata = json!({
        "labels": { MANAGED_LABEL: "true" },
        "annotations": { OWNER_ANNOTATION: "payments" },
        "ownerReferences": [owner],
    });
    world.create_secret("payments", json!({ "metadata": metadata, "stringData": { "ca.crt": world.pem(ID) } })).await;
    world.start_operator().await;
    let pem = world.pem(ID);
    let is_right = |secret: &_| owners(secret) == [resource.uid()] && data(secret, "ca.crt") == Some(&pem);
    let secret = world.until_secret(MINUTES, "payments", "has the new owner", is_right).await;
    world.until_ready("payments").await;
    never(A_WHILE, "the target changes", async || {
        let found = world.secrets().get_opt("payments").await.unwrap();
        Some(found.as_ref().map(essence)).filter(|found| *found != Some(essence(&secret)))
    })
    .await;
}

#[tokio::test]
async fn a_namespace_that_is_deleted_goes() {
    let mut world = World::start("doomed").await;
    for name in ["a", "b", "c"] {
        world.create_ready(name, json!({})).await;
    }
    let namespace = world.namespace.clone();
    let output = world.kubectl(&["delete", "namespace", &namespace, "--timeout=150s"]).await;
    assert!(output.status.success(), "{output:?}");
    let operator = world.operator.as_mut().unwrap();
    assert_eq!(operator.get("/healthz").await.unwrap().0, 200);
    world.stop_operator().await;
}
