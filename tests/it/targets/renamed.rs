//! Changes of the target's name and of the deletion policy.

use std::collections::BTreeMap;

use client_certificate_operator::api::{MANAGED_LABEL, OWNER_ANNOTATION};
use futures::TryStreamExt;
use kube::ResourceExt;
use kube::api::{ListParams, WatchEvent, WatchParams};
use serde_json::json;

use crate::fixture::{ID, SOON, TestedKind, WorldOf, data, owners};

for_both_kinds! {
    a_renamed_target_is_created_before_the_former_one_is_deleted,
    with_retain_the_former_target_stays_without_label_and_annotations,
    the_former_target_stays_if_the_new_name_is_in_use,
    a_former_target_from_a_time_without_the_operator_is_removed_at_the_start,
    the_deletion_policy_determines_the_owner_reference,
}

/// Renames the target from `old` to `new`, and watches until `done`. Checks that one of the objects of the namespace
/// held the certificate with our label and annotations at every moment.
async fn rename<K: TestedKind>(
    world: &WorldOf<'_, K>,
    done: impl Fn(&BTreeMap<String, K>) -> bool,
) -> BTreeMap<String, K> {
    let list = world.targets().list(&ListParams::default()).await.unwrap();
    let version = list.metadata.resource_version.clone().unwrap();
    let mut there: BTreeMap<String, K> = list.into_iter().map(|object| (object.name_any(), object)).collect();
    let stream = world.targets().watch(&WatchParams::default(), &version).await.unwrap();
    let mut stream = std::pin::pin!(stream);
    world.patch("payments", json!({ "spec": { "target": { "name": "new" } } })).await;
    let pem = world.pem(ID);
    while !done(&there) {
        let event = tokio::time::timeout(SOON, stream.try_next()).await.expect("no event came").unwrap().unwrap();
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => drop(there.insert(object.name_any(), object)),
            WatchEvent::Deleted(object) => drop(there.remove(&object.name_any())),
            other => panic!("{other:?}"),
        }
        let holds = |object: &K| {
            data(object, "ca.crt") == Some(&pem)
                && object.labels().contains_key(MANAGED_LABEL)
                && object.annotations().contains_key(OWNER_ANNOTATION)
        };
        assert!(there.values().any(holds), "a gap: {there:?}");
    }
    there
}

async fn a_renamed_target_is_created_before_the_former_one_is_deleted<K: TestedKind>() {
    let world = WorldOf::<K>::start("rename").await;
    world.create_ready("payments", json!({ "target": { "name": "old" } })).await;
    rename(&world, |there| there.contains_key("new") && !there.contains_key("old")).await;
    let resource = world.until_ready("payments").await;
    assert_eq!(resource.status.unwrap().target.unwrap().name, "new");
    assert_eq!(world.target_writes(), ["create old", "create new", "delete old"]);
    world.until_events("payments", &[("Normal TargetCreated", 2), ("Normal TargetDeleted", 1)]).await;
}

async fn with_retain_the_former_target_stays_without_label_and_annotations<K: TestedKind>() {
    let world = WorldOf::<K>::start("retained").await;
    let target = json!({ "name": "old", "deletionPolicy": "Retain", "labels": { "team": "a" } });
    world.create_ready("payments", json!({ "target": target })).await;
    let before = world.patch_target("old", json!({ "metadata": { "labels": { "theirs": "1" } } })).await;
    let is_left = |object: &K| !object.labels().contains_key(MANAGED_LABEL);
    let there = rename(&world, |there| there.contains_key("new") && is_left(&there["old"])).await;
    let old = &there["old"];
    assert_eq!((old.uid(), old.content()), (before.uid(), before.content()));
    assert_eq!(old.labels().keys().collect::<Vec<_>>(), ["theirs"]);
    assert!(old.annotations().is_empty() && old.owner_references().is_empty());
    world.until_ready("payments").await;
    assert_eq!(world.target_writes(), ["create old", "create new", "update old"]);
    world.until_events("payments", &[("Normal TargetCreated", 2), ("Normal TargetReleased", 1)]).await;
}

async fn the_former_target_stays_if_the_new_name_is_in_use<K: TestedKind>() {
    let world = WorldOf::<K>::start("taken").await;
    world.create_ready("payments", json!({ "target": { "name": "old" } })).await;
    let old = world.target("old").await;
    let foreign = world.create_object("new", json!({ "text": { "ca.crt": "theirs" } })).await;
    world.patch("payments", json!({ "spec": { "target": { "name": "new" } } })).await;
    world.until("payments", "TargetWritten", "False", "TargetExists").await;
    assert_eq!((world.target("old").await, world.target("new").await), (old, foreign));
    // After the change back, the state is the same as before.
    world.patch("payments", json!({ "spec": { "target": { "name": "old" } } })).await;
    world.until_ready("payments").await;
    assert_eq!(world.target_writes(), ["create old"]);
}

async fn a_former_target_from_a_time_without_the_operator_is_removed_at_the_start<K: TestedKind>() {
    let mut world = WorldOf::<K>::start("left").await;
    world.create_ready("payments", json!({ "target": { "name": "first" } })).await;
    world.stop_operator().await;
    for name in ["second", "third"] {
        world.patch("payments", json!({ "spec": { "target": { "name": name } } })).await;
    }
    world.start_operator().await;
    world.until_ready("payments").await;
    assert_eq!(world.target_writes(), ["create first", "create third", "delete first"]);
}

async fn the_deletion_policy_determines_the_owner_reference<K: TestedKind>() {
    let world = WorldOf::<K>::start("policy").await;
    let resource = world.create_ready("payments", json!({})).await;
    let uid = world.target("payments").await.uid();
    for (policy, expected) in [("Retain", vec![]), ("Delete", vec![resource.uid().to_owned()])] {
        world.patch("payments", json!({ "spec": { "target": { "deletionPolicy": policy } } })).await;
        world.until_ready("payments").await;
        let object = world.target("payments").await;
        assert_eq!((owners(&object), object.uid()), (expected, uid.clone()), "{policy}");
    }
    world.until_events("payments", &[("Normal TargetCreated", 1), ("Normal TargetUpdated", 2)]).await;
}
