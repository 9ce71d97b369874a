//! Copies of a target by a user, a backup or a replicator: the operator never writes them, never deletes them, and
//! never owns them.

use client_certificate_operator::api::{MANAGED_LABEL, OBJECT_ANNOTATION, OWNER_ANNOTATION};
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams};
use operator_testing::wait::never;
use serde_json::json;

use crate::fixture::{A_WHILE, ID, MINUTES, SOON, TestedKind, WorldOf, condition, data};

for_both_kinds! {
    a_copy_with_another_name_is_not_changed_with_and_without_an_owner,
    a_copy_from_a_time_without_the_operator_is_not_changed,
    a_copy_in_another_namespace_is_adopted_only_with_adopt,
    a_target_without_label_and_annotations_has_a_message_with_the_remedy,
}

/// A copy like that of `kubectl get -o json | kubectl apply`.
fn copy<K: TestedKind>(of: &K, name: &str, keeps_owner: bool) -> K {
    let mut copy = of.clone();
    let metadata = copy.metadata_mut();
    *metadata = ObjectMeta {
        name: Some(name.to_owned()),
        labels: metadata.labels.clone(),
        annotations: metadata.annotations.clone(),
        owner_references: metadata.owner_references.clone().filter(|_| keeps_owner),
        ..ObjectMeta::default()
    };
    copy
}

async fn a_copy_with_another_name_is_not_changed_with_and_without_an_owner<K: TestedKind>() {
    let world = WorldOf::<K>::start("copied").await;
    world.create_ready("payments", json!({})).await;
    let target = world.target("payments").await;
    let mut copies = Vec::new();
    for (name, keeps_owner) in [("with-owner", true), ("without-owner", false)] {
        copies.push(world.targets().create(&PostParams::default(), &copy(&target, name, keeps_owner)).await.unwrap());
    }
    // The copy stays during all later events of the resource: another reconcile, another name, and its deletion.
    world.patch("payments", json!({ "spec": { "target": { "labels": { "team": "a" } } } })).await;
    world.until_ready("payments").await;
    world.patch("payments", json!({ "spec": { "target": { "name": "renamed" } } })).await;
    world.until_ready("payments").await;
    let is_gone = || async { world.targets().get_opt("payments").await.unwrap().is_none() };
    operator_testing::wait::eventually(SOON, "the former target is gone", async || is_gone().await).await;
    for copy in &copies {
        assert_eq!(world.target(&copy.name_any()).await, *copy);
    }
    let names = ["with-owner", "without-owner"];
    assert!(world.target_writes().iter().all(|write| names.iter().all(|name| !write.contains(name))));

    // As a target, the copy is foreign until the spec allows its adoption.
    world.patch("payments", json!({ "spec": { "target": { "name": "without-owner" } } })).await;
    world.until("payments", "TargetWritten", "False", "TargetExists").await;
    assert_eq!(world.target("without-owner").await, copies[1]);
}

async fn a_copy_from_a_time_without_the_operator_is_not_changed<K: TestedKind>() {
    let mut world = WorldOf::<K>::start("copied-down").await;
    world.create_ready("payments", json!({})).await;
    let target = world.target("payments").await;
    world.stop_operator().await;
    let copy = world.targets().create(&PostParams::default(), &copy(&target, "copy", true)).await.unwrap();
    world.patch("payments", json!({ "spec": { "target": { "name": "renamed" } } })).await;
    world.start_operator().await;
    world.until_ready("payments").await;
    never(A_WHILE, "the copy changes", async || {
        Some(world.targets().get_opt("copy").await.unwrap()).filter(|now| now.as_ref() != Some(&copy))
    })
    .await;
}

async fn a_copy_in_another_namespace_is_adopted_only_with_adopt<K: TestedKind>() {
    let from = WorldOf::<K>::start("copied-from").await;
    from.create_ready("payments", json!({})).await;
    let target = from.target("payments").await;
    let world = WorldOf::<K>::start("copied-to").await;
    let copy = world.targets().create(&PostParams::default(), &copy(&target, "payments", false)).await.unwrap();
    world.create("payments", json!({})).await;
    world.until("payments", "TargetWritten", "False", "TargetExists").await;
    assert_eq!(world.target("payments").await, copy);
    world.patch("payments", json!({ "spec": { "target": { "adopt": true } } })).await;
    world.until_ready("payments").await;
    let adopted = world.target("payments").await;
    assert_eq!(adopted.annotations()[OWNER_ANNOTATION], format!("{}/payments", world.namespace));
    // The source namespace is unchanged.
    let namespaces: Api<Namespace> = Api::all(from.client.clone());
    namespaces.get(&from.namespace).await.unwrap();
    assert_eq!(from.target("payments").await, target);
}

async fn a_target_without_label_and_annotations_has_a_message_with_the_remedy<K: TestedKind>() {
    let world = WorldOf::<K>::start("unmarked").await;
    world.create_ready("payments", json!({})).await;
    let before = world.target("payments").await;
    // The `kubectl replace` of a manual process from before the operator.
    let bare = json!({ "metadata": { "labels": null, "annotations": null, "ownerReferences": null } });
    let replaced = world.patch_target("payments", bare).await;
    let resource = world.until("payments", "TargetWritten", "False", "TargetExists").await;
    let message = &condition(&resource, "TargetWritten").unwrap().message;
    assert!(message.contains("label and annotations") && message.contains("target.adopt"), "{message}");
    assert_eq!(world.target("payments").await, replaced, "untouched");
    world.patch("payments", json!({ "spec": { "target": { "adopt": true } } })).await;
    let is_back = |object: &K| {
        object.labels().contains_key(MANAGED_LABEL) && object.annotations().contains_key(OBJECT_ANNOTATION)
    };
    let after = world.until_target(MINUTES, "payments", "has the label and annotations again", is_back).await;
    assert_eq!((after.uid(), data(&after, "ca.crt")), (before.uid(), Some(world.pem(ID).as_str())));
    world.until_ready("payments").await;
    world.targets().delete("payments", &DeleteParams::default()).await.unwrap();
    world.until_target(SOON, "payments", "is ours as before", |object| object.uid() != after.uid()).await;
}
