//! A deleted resource: its target is deleted or stays, and the operator does not interfere.

use client_certificate_operator::api::{MANAGED_LABEL, OWNER_ANNOTATION};
use kube::ResourceExt;
use operator_testing::wait::{eventually, never};
use serde_json::json;

use super::essence;
use crate::fixture::{A_WHILE, ID, MINUTES, TestedKind, World, WorldOf, data, owners};

for_both_kinds! {
    the_target_is_deleted_with_its_resource_for_every_kind_of_deletion,
    with_retain_the_target_stays_and_a_new_resource_takes_it_over_without_a_gap,
    a_resource_that_is_deleted_and_created_again_at_once_has_its_target_finally,
    a_restored_resource_keeps_its_restored_target,
}

async fn until_gone<K: TestedKind>(world: &WorldOf<'_, K>, name: &str) {
    let is_gone = async || world.targets().get_opt(name).await.unwrap().is_none();
    eventually(MINUTES, &format!("the {} {name} is gone", K::TARGET_KIND), is_gone).await;
}

async fn the_target_is_deleted_with_its_resource_for_every_kind_of_deletion<K: TestedKind>() {
    let world = WorldOf::<K>::start("goes").await;
    for (name, cascade, blocks) in
        [("background", "background", false), ("foreground", "foreground", false), ("blocking", "foreground", true)]
    {
        world.create_ready(name, json!({})).await;
        if blocks {
            // With blockOwnerDeletion, the deletion of the resource waits for that of the target.
            let mut owner = serde_json::to_value(&world.target(name).await.owner_references()[0]).unwrap();
            owner["blockOwnerDeletion"] = true.into();
            world.patch_target(name, json!({ "metadata": { "ownerReferences": [owner] } })).await;
        }
        let cascade = format!("--cascade={cascade}");
        let output = world.kubectl(&["delete", "ccr", name, &cascade, "--timeout=150s"]).await;
        assert!(output.status.success(), "{output:?}");
        until_gone(&world, name).await;
    }
    never(A_WHILE, "a target comes back", async || {
        let names = ["background", "foreground", "blocking"];
        let found = world.targets().list(&kube::api::ListParams::default()).await.unwrap();
        found.into_iter().map(|object| object.name_any()).find(|name| names.contains(&name.as_str()))
    })
    .await;
    assert_eq!(world.target_writes(), ["create background", "create foreground", "create blocking"]);
}

async fn with_retain_the_target_stays_and_a_new_resource_takes_it_over_without_a_gap<K: TestedKind>() {
    let world = WorldOf::<K>::start("stays").await;
    let spec = json!({ "target": { "deletionPolicy": "Retain" } });
    world.create_ready("payments", spec.clone()).await;
    let before = world.target("payments").await;
    assert_eq!(owners(&before), Vec::<String>::new());
    world.delete("payments").await;
    never(A_WHILE, "the target changes", async || {
        Some(world.targets().get_opt("payments").await.unwrap()).filter(|found| found.as_ref() != Some(&before))
    })
    .await;
    world.create_ready("payments", spec).await;
    assert_eq!(world.target("payments").await, before);
    assert_eq!(world.target_writes(), ["create payments"]);

    // With the other policy, a new resource of the same name adopts the target in place.
    world.delete("payments").await;
    let resource = world.create_ready("payments", json!({})).await;
    let after = world.target("payments").await;
    assert_eq!((after.uid(), owners(&after)), (before.uid(), vec![resource.uid().to_owned()]));
    assert_eq!(world.target_writes(), ["create payments", "update payments"]);
}

async fn a_resource_that_is_deleted_and_created_again_at_once_has_its_target_finally<K: TestedKind>() {
    let world = WorldOf::<K>::start("again").await;
    let first = world.create_ready("payments", json!({})).await;
    world.delete("payments").await;
    let second = world.create("payments", json!({})).await;
    assert_ne!(first.uid(), second.uid());
    // Garbage collection may come before or after the operator, with the same result.
    let pem = world.pem(ID);
    let is_right = |object: &_| owners(object) == [second.uid()] && data(object, "ca.crt") == Some(&pem);
    world.until_target(MINUTES, "payments", "is the second's", is_right).await;
    world.until_ready("payments").await;
}

async fn a_restored_resource_keeps_its_restored_target<K: TestedKind>() {
    let mut world = WorldOf::<K>::without_operator("restored").await;
    // A restore from a backup: the resource has a new uid, and the target has a reference to the old one.
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
    world.create_object("payments", json!({ "metadata": metadata, "text": { "ca.crt": world.pem(ID) } })).await;
    world.start_operator().await;
    let pem = world.pem(ID);
    let is_right = |object: &_| owners(object) == [resource.uid()] && data(object, "ca.crt") == Some(&pem);
    let object = world.until_target(MINUTES, "payments", "has the new owner", is_right).await;
    world.until_ready("payments").await;
    never(A_WHILE, "the target changes", async || {
        let found = world.targets().get_opt("payments").await.unwrap();
        Some(found.as_ref().map(essence)).filter(|found| *found != Some(essence(&object)))
    })
    .await;
}

#[tokio::test]
async fn a_deleted_namespace_ends() {
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
