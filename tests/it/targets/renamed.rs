//! Another name, another deletion policy.

use std::collections::BTreeMap;

use client_certificate_operator::api::{MANAGED_LABEL, OWNER_ANNOTATION};
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{ListParams, WatchEvent, WatchParams};
use serde_json::json;

use crate::fixture::{ID, SOON, World, data, owners};

/// Renames the target from `old` to `new`, and watches until `done`. Checks that at every moment one of the Secrets of
/// the namespace held the certificate under our marks.
async fn rename(world: &World<'_>, done: impl Fn(&BTreeMap<String, Secret>) -> bool) -> BTreeMap<String, Secret> {
    let list = world.secrets().list(&ListParams::default()).await.unwrap();
    let version = list.metadata.resource_version.clone().unwrap();
    let mut there: BTreeMap<String, Secret> = list.into_iter().map(|secret| (secret.name_any(), secret)).collect();
    let stream = world.secrets().watch(&WatchParams::default(), &version).await.unwrap();
    let mut stream = std::pin::pin!(stream);
    world.patch("payments", json!({ "spec": { "target": { "name": "new" } } })).await;
    let pem = world.pem(ID);
    while !done(&there) {
        let event = tokio::time::timeout(SOON, stream.try_next()).await.expect("no event came").unwrap().unwrap();
        match event {
            WatchEvent::Added(secret) | WatchEvent::Modified(secret) => drop(there.insert(secret.name_any(), secret)),
            WatchEvent::Deleted(secret) => drop(there.remove(&secret.name_any())),
            other => panic!("{other:?}"),
        }
        let holds = |secret: &Secret| {
            data(secret, "ca.crt") == Some(&pem)
                && secret.labels().contains_key(MANAGED_LABEL)
                && secret.annotations().contains_key(OWNER_ANNOTATION)
        };
        assert!(there.values().any(holds), "a gap: {there:?}");
    }
    there
}

#[tokio::test]
async fn a_renamed_target_is_made_before_the_old_one_goes() {
    let world = World::start("rename").await;
    world.create_ready("payments", json!({ "target": { "name": "old" } })).await;
    rename(&world, |there| there.contains_key("new") && !there.contains_key("old")).await;
    let resource = world.until_ready("payments").await;
    assert_eq!(resource.status.unwrap().target.unwrap().name, "new");
    assert_eq!(world.writes_of("secrets"), ["create old", "create new", "delete old"]);
    world.until_events("payments", &[("Normal TargetCreated", 2), ("Normal TargetDeleted", 1)]).await;
}

#[tokio::test]
async fn with_retain_the_old_target_stays_without_our_marks() {
    let world = World::start("retained").await;
    let target = json!({ "name": "old", "deletionPolicy": "Retain", "labels": { "team": "a" } });
    world.create_ready("payments", json!({ "target": target })).await;
    let before = world.patch_secret("old", json!({ "metadata": { "labels": { "theirs": "1" } } })).await;
    let is_left = |secret: &Secret| !secret.labels().contains_key(MANAGED_LABEL);
    let there = rename(&world, |there| there.contains_key("new") && is_left(&there["old"])).await;
    let old = &there["old"];
    assert_eq!((old.uid(), &old.data), (before.uid(), &before.data));
    assert_eq!(old.labels().keys().collect::<Vec<_>>(), ["theirs"]);
    assert!(old.annotations().is_empty() && old.owner_references().is_empty());
    world.until_ready("payments").await;
    assert_eq!(world.writes_of("secrets"), ["create old", "create new", "update old"]);
    world.until_events("payments", &[("Normal TargetCreated", 2), ("Normal TargetReleased", 1)]).await;
}

#[tokio::test]
async fn the_old_target_stays_where_the_new_name_is_taken() {
    let world = World::start("taken").await;
    world.create_ready("payments", json!({ "target": { "name": "old" } })).await;
    let old = world.secret("old").await;
    let foreign = world.create_secret("new", json!({ "stringData": { "ca.crt": "theirs" } })).await;
    world.patch("payments", json!({ "spec": { "target": { "name": "new" } } })).await;
    world.until("payments", "TargetWritten", "False", "TargetExists").await;
    assert_eq!((world.secret("old").await, world.secret("new").await), (old, foreign));
    // Taken back, everything is as it was.
    world.patch("payments", json!({ "spec": { "target": { "name": "old" } } })).await;
    world.until_ready("payments").await;
    assert_eq!(world.writes_of("secrets"), ["create old"]);
}

#[tokio::test]
async fn a_target_that_was_left_while_the_operator_was_down_goes_when_it_starts() {
    let mut world = World::start("left").await;
    world.create_ready("payments", json!({ "target": { "name": "first" } })).await;
    world.stop_operator().await;
    for name in ["second", "third"] {
        world.patch("payments", json!({ "spec": { "target": { "name": name } } })).await;
    }
    world.start_operator().await;
    world.until_ready("payments").await;
    assert_eq!(world.writes_of("secrets"), ["create first", "create third", "delete first"]);
}

#[tokio::test]
async fn the_deletion_policy_decides_whether_there_is_an_owner_reference() {
    let world = World::start("policy").await;
    let resource = world.create_ready("payments", json!({})).await;
    let uid = world.secret("payments").await.uid();
    for (policy, expected) in [("Retain", vec![]), ("Delete", vec![resource.uid().to_owned()])] {
        world.patch("payments", json!({ "spec": { "target": { "deletionPolicy": policy } } })).await;
        world.until_ready("payments").await;
        let secret = world.secret("payments").await;
        assert_eq!((owners(&secret), secret.uid()), (expected, uid.clone()), "{policy}");
    }
    world.until_events("payments", &[("Normal TargetCreated", 1), ("Normal TargetUpdated", 2)]).await;
}
