//! A change of the kind: the certificate moves from a Secret to a ConfigMap of the same name, and back.

use std::collections::BTreeMap;

use client_certificate_operator::api::{DeletionPolicy, MANAGED_LABEL, OWNER_ANNOTATION, TargetKind};
use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use serde_json::json;

use super::essence;
use crate::fixture::{ID, SOON, TestedKind, World, data};

/// A change of an object.
struct Change {
    /// The resourceVersion. It counts for all kinds together, so it gives the order of two changes.
    version: u64,
    kind: TargetKind,
    /// Whether the object holds the certificate with our label and annotations after the change.
    holds: bool,
}

/// All changes of the objects `payments` of a kind from now on.
async fn changes<K: TestedKind>(world: &World<'_>) -> (Vec<Change>, impl Stream<Item = Change>) {
    let objects: Api<K> = Api::namespaced(world.client.clone(), &world.namespace);
    let named = "metadata.name=payments";
    let list = objects.list(&ListParams::default().fields(named)).await.unwrap();
    let version = list.metadata.resource_version.clone().unwrap();
    let pem = world.pem(ID);
    let change = move |object: K, is_there: bool| {
        let holds = data(&object, "ca.crt") == Some(&pem)
            && object.labels().contains_key(MANAGED_LABEL)
            && object.annotations().contains_key(OWNER_ANNOTATION);
        let version = object.resource_version().unwrap().parse().unwrap();
        Change { version, kind: K::TARGET_KIND, holds: holds && is_there }
    };
    let now = list.into_iter().map(|object| change(object, true)).collect();
    let events = objects.watch(&WatchParams::default().fields(named), &version).await.unwrap();
    let later = events.map_ok(move |event| match event {
        WatchEvent::Added(object) | WatchEvent::Modified(object) => change(object, true),
        WatchEvent::Deleted(object) => change(object, false),
        other => panic!("{other:?}"),
    });
    (now, later.map(Result::unwrap))
}

/// Changes the kind, and watches until the object of the earlier kind is deleted or has lost our label and
/// annotations. Checks that one of the two held the certificate with our label and annotations at every moment.
async fn move_to(world: &World<'_>, kind: TargetKind) {
    let (mut all, secrets) = changes::<Secret>(world).await;
    let (maps, later) = changes::<ConfigMap>(world).await;
    all.extend(maps);
    let mut later = futures::stream::select(secrets.boxed(), later.boxed());
    world.patch("payments", json!({ "spec": { "target": { "kind": kind } } })).await;
    let mut seen = BTreeMap::new();
    loop {
        let change = tokio::time::timeout(SOON, later.next()).await.expect("no event came").unwrap();
        seen.insert(change.kind == kind, change.holds);
        all.push(change);
        if seen == BTreeMap::from([(true, true), (false, false)]) {
            break;
        }
    }
    all.sort_by_key(|change| change.version);
    let mut holds = BTreeMap::new();
    for Change { version, kind, holds: it_holds } in &all {
        holds.insert(*kind, *it_holds);
        assert!(holds.values().any(|holds| *holds), "a gap at {version}: {holds:?}");
    }
    let resource = world.until_ready("payments").await;
    let target = resource.status.unwrap().target.unwrap();
    assert_eq!(target.to_string(), format!("{kind} payments"));
}

fn maps(world: &World<'_>) -> Api<ConfigMap> {
    Api::namespaced(world.client.clone(), &world.namespace)
}

#[tokio::test]
async fn a_target_changes_its_kind_and_back_without_a_gap() {
    let world = World::start("moves").await;
    let resource = world.create_ready("payments", json!({})).await;
    move_to(&world, TargetKind::ConfigMap).await;
    assert!(world.targets().get_opt("payments").await.unwrap().is_none());
    let map = maps(&world).get("payments").await.unwrap();
    assert_eq!(map.data.unwrap(), BTreeMap::from([("ca.crt".to_owned(), world.pem(ID))]));
    assert_eq!(map.metadata.owner_references.unwrap()[0].uid, resource.uid());
    move_to(&world, TargetKind::Secret).await;
    assert!(maps(&world).get_opt("payments").await.unwrap().is_none());
    assert_eq!(world.writes_of("secrets"), ["create payments", "delete payments", "create payments"]);
    assert_eq!(world.writes_of("configmaps"), ["create payments", "delete payments"]);
    world.until_events("payments", &[("Normal TargetCreated", 3), ("Normal TargetDeleted", 2)]).await;
    assert_eq!(world.reads(ID), 1);
}

#[tokio::test]
async fn with_retain_the_object_of_the_former_kind_stays_without_label_and_annotations_and_owner() {
    let world = World::start("moves-retained").await;
    world.create_ready("payments", json!({ "target": { "deletionPolicy": DeletionPolicy::Retain } })).await;
    let before = world.target("payments").await;
    move_to(&world, TargetKind::ConfigMap).await;
    let left = world.target("payments").await;
    assert_eq!((left.uid(), &left.data), (before.uid(), &before.data));
    assert!(left.labels().is_empty() && left.annotations().is_empty() && left.owner_references().is_empty());

    // The former name is occupied, and the ConfigMap stays, until the spec allows adoption.
    let map = maps(&world).get("payments").await.unwrap();
    world.patch("payments", json!({ "spec": { "target": { "kind": "Secret" } } })).await;
    world.until("payments", "TargetWritten", "False", "TargetExists").await;
    assert_eq!((world.target("payments").await, maps(&world).get("payments").await.unwrap()), (left, map.clone()));
    world.patch("payments", json!({ "spec": { "target": { "adopt": true } } })).await;
    world.until_ready("payments").await;
    assert_eq!(essence(&world.target("payments").await), essence(&before));
    let left = maps(&world).get("payments").await.unwrap();
    assert_eq!((left.uid(), &left.data, left.labels().len()), (map.uid(), &map.data, 0));
}

#[tokio::test]
async fn a_former_kind_of_a_target_is_removed_after_a_change_while_the_operator_was_down() {
    let mut world = World::start("moved-down").await;
    world.create_ready("payments", json!({})).await;
    world.stop_operator().await;
    world.patch("payments", json!({ "spec": { "target": { "kind": "ConfigMap" } } })).await;
    world.start_operator().await;
    world.until_ready("payments").await;
    maps(&world).get("payments").await.unwrap();
    assert_eq!(world.writes_of("secrets"), ["create payments", "delete payments"]);
}
