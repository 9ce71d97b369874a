//! Secrets and ConfigMaps together, and an operator that is configured to write only one of the two kinds.

use std::collections::BTreeMap;

use client_certificate_operator::api::TargetKind;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams};
use operator_testing::wait::never;
use serde_json::json;

use super::essence;
use crate::fixture::{A_WHILE, ID, SOON, TestedKind, World, WorldOf, condition, data};
use crate::ground::{ACCOUNT, started};

for_both_kinds! {
    an_operator_for_one_kind_needs_no_right_on_the_other_and_never_requests_it,
}

/// The Role of the operator with permissions on only one kind of target.
fn role(namespace: &str, plural: &str) -> String {
    format!(
        r#"apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: one-kind, namespace: {namespace}}}
rules:
- {{apiGroups: [apigateway.clientcert.dev], resources: [clientcertificaterefs], verbs: [get, list, watch]}}
- {{apiGroups: [apigateway.clientcert.dev], resources: [clientcertificaterefs/status], verbs: [update, patch]}}
- {{apiGroups: [events.k8s.io], resources: [events], verbs: [create, patch]}}
- {{apiGroups: [""], resources: [{plural}], verbs: [get, list, watch, create, update, delete]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: one-kind, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: one-kind}}
subjects: [{{kind: ServiceAccount, name: {ACCOUNT}, namespace: {namespace}}}]
"#
    )
}

/// Revokes the permissions on the other kind.
async fn with_rights_on<K: TestedKind>(world: &WorldOf<'_, K>) {
    let role = role(&world.namespace, K::TARGET_KIND.plural());
    world.control_plane.apply_yaml(&role).await.unwrap();
    let bindings: Api<RoleBinding> = Api::namespaced(world.client.clone(), &world.namespace);
    bindings.delete(ACCOUNT, &DeleteParams::default()).await.unwrap();
}

fn other(kind: TargetKind) -> TargetKind {
    match kind {
        TargetKind::Secret => TargetKind::ConfigMap,
        TargetKind::ConfigMap => TargetKind::Secret,
    }
}

async fn an_operator_for_one_kind_needs_no_right_on_the_other_and_never_requests_it<K: TestedKind>() {
    let mut world = WorldOf::<K>::without_operator("one-kind").await;
    with_rights_on(&world).await;
    let (kind, left_out) = (K::TARGET_KIND, other(K::TARGET_KIND));
    world.start_operator_with(&["--target-kinds", kind.as_str()]).await;

    // All actions on a target: it is created, repaired, renamed, restored and released.
    world.create_ready("payments", json!({})).await;
    world.patch_target("payments", json!({ "text": { "ca.crt": "changed" } })).await;
    let pem = world.pem(ID);
    world.until_target(SOON, "payments", "is as it was", |object| data(object, "ca.crt") == Some(&pem)).await;
    world.targets().delete("payments", &DeleteParams::default()).await.unwrap();
    world.until_target(SOON, "payments", "is there again", |_| true).await;
    world.patch("payments", json!({ "spec": { "target": { "name": "renamed" } } })).await;
    world.until_ready("payments").await;
    world.patch("payments", json!({ "spec": { "target": { "name": "last", "deletionPolicy": "Retain" } } })).await;
    world.until_ready("payments").await;
    world.target("renamed").await;

    // A resource with the other kind gets the reason KindNotAllowed, and its existing target stays. With an allowed
    // kind, it is Ready at once.
    let spec = json!({ "target": { "kind": left_out } });
    world.create("refused", spec).await;
    world.until("refused", "TargetWritten", "False", "KindNotAllowed").await;
    world.until("refused", "Ready", "False", "KindNotAllowed").await;
    let refused = world.until("refused", "Stalled", "True", "KindNotAllowed").await;
    let message = &condition(&refused, "TargetWritten").unwrap().message;
    let words = [format!("{left_out} refused"), "target.kind".to_owned(), "--target-kinds".to_owned()];
    assert!(words.iter().all(|word| message.contains(word)), "{message}");
    world.until_events("refused", &[("Warning KindNotAllowed", 1)]).await;
    let before = world.target("last").await;
    world.patch("payments", json!({ "spec": { "target": { "kind": left_out } } })).await;
    let moved = world.until("payments", "Ready", "False", "KindNotAllowed").await;
    assert_eq!(moved.status.unwrap().target.unwrap().to_string(), format!("{kind} last"));
    assert_eq!(world.target("last").await, before);
    world.patch("refused", json!({ "spec": { "target": { "kind": kind } } })).await;
    world.until_ready("refused").await;

    let asked = world.control_plane.requests(&world.user(), None).unwrap();
    let of = |kind: TargetKind| asked.iter().filter(|entry| entry.resource == kind.plural()).collect::<Vec<_>>();
    assert_eq!(of(left_out), Vec::<&_>::new());
    for verb in ["list", "watch", "get", "create", "update", "delete"] {
        assert!(of(kind).iter().any(|entry| entry.verb == verb && entry.code < 300), "{verb}: the test saw too little");
    }
    let user = format!("--as={}", world.user());
    for (plural, expected) in [(kind.plural(), "yes"), (left_out.plural(), "no")] {
        let answer = world.kubectl(&["auth", "can-i", "get", plural, &user]).await;
        assert_eq!(String::from_utf8_lossy(&answer.stdout).trim(), expected, "{plural}");
    }
}

#[tokio::test]
async fn a_former_secret_stays_while_the_operator_does_not_write_secrets() {
    let mut world = World::start("left-out").await;
    world.create_ready("payments", json!({})).await;
    let before = world.target("payments").await;
    world.stop_operator().await;
    world.operator = Some(started(&world.builder().env("CCR_TARGET_KINDS", "ConfigMap")).await);
    world.patch("payments", json!({ "spec": { "target": { "kind": "ConfigMap" } } })).await;
    world.until_ready("payments").await;
    assert_eq!(world.target("payments").await, before);

    world.stop_operator().await;
    world.operator = Some(started(&world.builder().env("CCR_TARGET_KINDS", "")).await);
    let is_gone = async || world.targets().get_opt("payments").await.unwrap().is_none();
    operator_testing::wait::eventually(SOON, "the Secret is gone, as an empty variable means both kinds", is_gone)
        .await;
    world.until_ready("payments").await;
    assert_eq!(world.writes_of("configmaps"), ["create payments"]);
}

#[tokio::test]
async fn a_missing_right_on_config_maps_is_named_with_the_two_remedies() {
    let world = World::without_operator("no-maps").await;
    with_rights_on(&world).await;
    let mut operator = world.builder().spawn().unwrap();
    let line = operator.wait_for_log("not allow the operator to list and watch configmaps").await.unwrap();
    assert!(line.contains("grant it to the operator's ServiceAccount") && line.contains("--target-kinds"), "{line}");
    assert_eq!(operator.get("/readyz").await.unwrap().0, 503);
}

#[tokio::test]
async fn a_secret_and_a_config_map_of_one_name_are_two_targets() {
    let world = World::start("one-name").await;
    let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), &world.namespace);
    let target = |kind: &str| json!({ "target": { "name": "shared", "kind": kind } });
    world.create_ready("first", target("Secret")).await;
    world.create_ready("second", target("ConfigMap")).await;
    let (secret, map) = (world.target("shared").await, maps.get("shared").await.unwrap());
    assert_eq!(owner(&secret), "first");
    assert_eq!(owner(&map), "second");

    // The operator restores each separately.
    world.targets().delete("shared", &DeleteParams::default()).await.unwrap();
    let is_new = |found: &Secret| found.uid() != secret.uid();
    world.until_target(SOON, "shared", "is made anew", is_new).await;
    assert_eq!(maps.get("shared").await.unwrap(), map);
    world.until_events("second", &[("Normal TargetCreated", 1)]).await;

    // Now both resources name the ConfigMap.
    world.patch("first", json!({ "spec": { "target": { "kind": "ConfigMap" } } })).await;
    world.until("first", "TargetWritten", "False", "OwnedByAnother").await;
    assert_eq!(maps.get("shared").await.unwrap(), map);
    world.target("shared").await;
}

fn owner<K: TestedKind>(object: &K) -> &str {
    &object.owner_references()[0].name
}

#[tokio::test]
async fn a_secret_of_another_writer_does_not_block_a_config_map_with_its_name() {
    let world = World::start("in-turn").await;
    let foreign = world.create_object("payments", json!({ "text": { "ca.crt": "theirs" } })).await;
    world.create_ready("payments", json!({ "target": { "kind": "ConfigMap" } })).await;
    world.patch("payments", json!({ "spec": { "target": { "kind": "Secret" } } })).await;
    world.until("payments", "TargetWritten", "False", "TargetExists").await;
    world.patch("payments", json!({ "spec": { "target": { "kind": "ConfigMap" } } })).await;
    world.until_ready("payments").await;
    assert_eq!(world.target("payments").await, foreign);
    assert_eq!(world.writes_of("configmaps"), ["create payments"]);
    assert_eq!(world.writes_of("secrets"), Vec::<String>::new());
}

#[tokio::test]
async fn data_and_binary_data_of_a_config_map_belong_to_the_operator() {
    let world = WorldOf::<ConfigMap>::start("binary").await;
    let keys = json!({ "a.pem": "Active", "b.pem": "Bundle" });
    world.create_ready("payments", json!({ "target": { "keys": keys } })).await;
    let before = world.target("payments").await;
    let pem = world.pem(ID);
    assert_eq!(before.data, Some(BTreeMap::from(["a.pem", "b.pem"].map(|key| (key.to_owned(), pem.clone())))));
    let pem = json!(k8s_openapi::ByteString(pem.into_bytes()));
    // Three edits, because a fourth would count as contested.
    for (round, edit) in [
        json!({ "binaryData": { "more": "/w==" } }),
        json!({ "data": { "a.pem": null }, "binaryData": { "a.pem": pem } }),
        json!({ "data": null, "binaryData": { "a.pem": pem, "b.pem": pem } }),
    ]
    .into_iter()
    .enumerate()
    {
        world.patch_target("payments", edit).await;
        let is_back = |object: &_| essence(object) == essence(&before);
        world.until_target(SOON, "payments", "is as it was", is_back).await;
        let repaired = i32::try_from(round + 1).unwrap();
        world.until_events("payments", &[("Normal TargetCreated", 1), ("Normal TargetRepaired", repaired)]).await;
    }
}

#[tokio::test]
async fn an_immutable_config_map_blocks_the_write_until_its_deletion() {
    let world = WorldOf::<ConfigMap>::start("immutable-map").await;
    let fields = json!({ "immutable": true, "text": { "ca.crt": "theirs" } });
    let foreign = world.create_object("payments", fields).await;
    world.create("payments", json!({})).await;
    world.until("payments", "TargetWritten", "False", "TargetExists").await;
    world.patch("payments", json!({ "spec": { "target": { "adopt": true } } })).await;
    let refused = world.until("payments", "Stalled", "True", "NotAdoptable").await;
    assert!(condition(&refused, "TargetWritten").unwrap().message.contains("it is immutable"), "{refused:?}");
    never(A_WHILE, "it is touched", async || Some(world.target("payments").await).filter(|it| *it != foreign)).await;
    // Another name resolves the failure.
    world.patch("payments", json!({ "spec": { "target": { "name": "payments-ca" } } })).await;
    world.until_ready("payments").await;
    assert_eq!(world.target_writes(), ["create payments-ca"]);
}
