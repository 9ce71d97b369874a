//! Programs that use the Secrets and ConfigMaps of others: their annotations on a target stay, and their writes do not
//! affect the operator. No registry of these tests has Reflector, a .NET program, and Reloader writes only to
//! workloads. So these tests use their objects, with the writes of Reflector.

use std::collections::BTreeMap;

use kube::ResourceExt;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use operator_testing::wait::never;
use serde_json::json;

use crate::fixture::{A_WHILE, SOON, TestedKind, WorldOf};

for_both_kinds! {
    annotations_for_reloader_and_reflector_survive_a_repair,
    copies_of_reflector_cause_no_write_of_the_operator,
}

/// The annotations of their guides for an object that is followed and reflected.
const ASKED: [(&str, &str); 4] = [
    ("reloader.stakater.com/match", "true"),
    ("reflector.v1.k8s.emberstack.com/reflection-allowed", "true"),
    ("reflector.v1.k8s.emberstack.com/reflection-auto-enabled", "true"),
    ("reflector.v1.k8s.emberstack.com/reflection-auto-namespaces", "gateways"),
];

fn has_them(object: &impl TestedKind) -> bool {
    ASKED.iter().all(|(key, value)| object.annotations().get(*key).map(String::as_str) == Some(*value))
}

async fn annotations_for_reloader_and_reflector_survive_a_repair<K: TestedKind>() {
    let world = WorldOf::<K>::start("neighbours").await;
    world.create_ready("payments", json!({ "target": { "annotations": BTreeMap::from(ASKED) } })).await;
    let before = world.target("payments").await;
    assert!(has_them(&before), "{:?}", before.annotations());

    world.patch_target("payments", json!({ "text": { "ca.crt": "x" } })).await;
    let repaired = |object: &K| object.text("ca.crt") == before.text("ca.crt") && has_them(object);
    world.until_target(SOON, "payments", "has its certificate and the annotations", repaired).await;
    world.targets().delete("payments", &DeleteParams::default()).await.unwrap();
    let is_recreated = |object: &K| object.uid() != before.uid() && has_them(object);
    world.until_target(SOON, "payments", "is recreated with the annotations", is_recreated).await;

    // The annotations that the two programs write on the object stay, and cause no write of the operator.
    let remembered = json!({ "metadata": { "annotations": { "reloader.stakater.com/last-reloaded-from": "{}" } } });
    let writes = world.target_writes().len();
    world.patch_target("payments", remembered).await;
    never(A_WHILE, "the operator writes", async || {
        let now = world.target_writes();
        (now.len() > writes).then_some(now)
    })
    .await;
    let after = world.target("payments").await;
    assert!(after.annotations().contains_key("reloader.stakater.com/last-reloaded-from") && has_them(&after));
}

async fn copies_of_reflector_cause_no_write_of_the_operator<K: TestedKind>() {
    let from = WorldOf::<K>::start("reflected-from").await;
    from.create_ready("payments", json!({ "target": { "annotations": BTreeMap::from(ASKED) } })).await;
    // An operator runs in the other namespace too.
    let world = WorldOf::<K>::start("reflected-to").await;
    let source = from.target("payments").await;
    let mut reflection = source.clone();
    let version = source.resource_version().unwrap();
    let annotations = [
        ("reflects", format!("{}/payments", from.namespace)),
        ("auto-reflects", "True".to_owned()),
        ("reflected-version", version),
        ("reflected-at", "2026-11-27T02:00:00.0000000+00:00".to_owned()),
    ];
    let annotations = annotations.map(|(key, value)| (format!("reflector.v1.k8s.emberstack.com/{key}"), value));
    *reflection.metadata_mut() = ObjectMeta {
        name: Some("payments".to_owned()),
        annotations: Some(annotations.into()),
        ..ObjectMeta::default()
    };
    let reflection = world.targets().create(&PostParams::default(), &reflection).await.unwrap();
    let again = json!({ "metadata": { "annotations": { "reflector.v1.k8s.emberstack.com/reflected-version": "2" } } });
    let writes = from.target_writes();
    let reflection_now = world.patch_target("payments", again).await;
    never(A_WHILE, "a write", async || {
        let wrote = from.target_writes() != writes || !world.target_writes().is_empty();
        let changed = world.target("payments").await != reflection_now || from.target("payments").await != source;
        (wrote || changed).then_some((from.target_writes(), world.target_writes()))
    })
    .await;
    assert_eq!(reflection.text("ca.crt"), source.text("ca.crt"));

    // A resource in that namespace does not adopt the reflection, and its status has the reason.
    world.create("payments", json!({})).await;
    world.until("payments", "TargetWritten", "False", "TargetExists").await;
    assert_eq!(world.target("payments").await, reflection_now);
}
