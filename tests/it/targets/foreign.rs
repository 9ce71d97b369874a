//! Existing objects with the target's name: unchanged, adopted without loss, or owned by another resource.

use client_certificate_operator::api::{MANAGED_LABEL, OWNER_ANNOTATION, TargetKind};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams};
use operator_testing::certificates::NewCertificate;
use operator_testing::wait::never;
use serde_json::{Value, json};

use super::essence;
use crate::fixture::{A_WHILE, ID, MINUTES, SOON, TestedKind, World, WorldOf, condition, data, owners};

for_both_kinds! {
    an_object_of_another_writer_is_never_changed_and_its_deletion_allows_the_target_without_a_call,
    an_object_is_adopted_if_no_data_can_be_lost,
    data_that_an_adoption_would_lose_is_named_and_the_object_is_not_changed,
    a_target_of_another_resource_is_not_changed_until_that_resource_is_deleted,
    an_object_with_the_mark_of_a_deleted_resource_is_free,
    an_immutable_target_is_reported_if_its_content_must_change,
}

/// Waits until TargetWritten, Ready and Stalled have this reason; returns the message.
async fn until_stalled<K: TestedKind>(world: &WorldOf<'_, K>, name: &str, reason: &str) -> String {
    world.until(name, "TargetWritten", "False", reason).await;
    world.until(name, "Ready", "False", reason).await;
    let resource = world.until(name, "Stalled", "True", reason).await;
    condition(&resource, "TargetWritten").unwrap().message.clone()
}

async fn an_object_of_another_writer_is_never_changed_and_its_deletion_allows_the_target_without_a_call<
    K: TestedKind,
>() {
    let world = WorldOf::<K>::without_operator("exists").await;
    let mut world = world;
    let foreign = world.create_object("payments", json!({ "text": { "ca.crt": "theirs" } })).await;
    world.start_operator().await;
    world.create("payments", json!({})).await;
    let message = until_stalled(&world, "payments", "TargetExists").await;
    let named = format!("{} payments", K::TARGET_KIND);
    assert!(message.contains(&named) && message.contains("target.name"), "{message}");
    world.until_events("payments", &[("Warning TargetExists", 1)]).await;
    // The object stays unchanged after another change of the resource too.
    world.patch("payments", json!({ "spec": { "target": { "labels": { "team": "a" } } } })).await;
    until_stalled(&world, "payments", "TargetExists").await;
    assert_eq!(world.target("payments").await, foreign);

    let reads = world.reads(ID);
    world.targets().delete("payments", &DeleteParams::default()).await.unwrap();
    let pem = world.pem(ID);
    let is_ours = |object: &_| data(object, "ca.crt") == Some(&pem);
    world.until_target(MINUTES, "payments", "is ours", is_ours).await;
    let resource = world.until_ready("payments").await;
    assert!(condition(&resource, "Stalled").is_none());
    assert_eq!(world.reads(ID), reads);
    assert_eq!(world.target_writes().last().unwrap(), "create payments");
}

async fn an_object_is_adopted_if_no_data_can_be_lost<K: TestedKind>() {
    let world = WorldOf::<K>::start("adopted").await;
    let fields = json!({
        "metadata": { "labels": { "theirs": "1" }, "annotations": { "example.com/theirs": "2" } },
        "text": { "ca.crt": "an old certificate" },
    });
    let before = world.create_object("payments", fields).await;
    let resource = world.create_ready("payments", json!({ "target": { "adopt": true } })).await;
    let after = world.target("payments").await;
    assert_eq!(after.uid(), before.uid());
    assert_eq!(data(&after, "ca.crt"), Some(world.pem(ID).as_str()));
    assert_eq!((after.labels()["theirs"].as_str(), after.labels()[MANAGED_LABEL].as_str()), ("1", "true"));
    assert_eq!(after.annotations()["example.com/theirs"], "2");
    assert_eq!(owners(&after), [resource.uid()]);
    world.until_events("payments", &[("Normal TargetAdopted", 1)]).await;
}

async fn data_that_an_adoption_would_lose_is_named_and_the_object_is_not_changed<K: TestedKind>() {
    let world = WorldOf::<K>::start("obstacle").await;
    let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), &world.namespace);
    let metadata = ObjectMeta { name: Some("boss".to_owned()), ..ObjectMeta::default() };
    let map = ConfigMap { metadata, ..ConfigMap::default() };
    let uid = maps.create(&PostParams::default(), &map).await.unwrap().uid().unwrap();
    let boss = json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": "boss", "uid": uid, "controller": true });
    let helm = json!({ "app.kubernetes.io/managed-by": "Helm" });
    let own = match K::TARGET_KIND {
        TargetKind::Secret => {
            let fields = json!({ "type": "example.com/other", "text": { "ca.crt": "x" } });
            ("type", fields, "example.com/other")
        }
        TargetKind::ConfigMap => {
            let fields = json!({ "text": { "ca.crt": "x" }, "binaryData": { "more.bin": "/w==" } });
            ("binary", fields, "more.bin")
        }
    };
    let obstacles: [(&str, Value, &str); 8] = [
        ("key", json!({ "text": { "ca.crt": "x", "tls.key": "y" } }), "tls.key"),
        own,
        ("immutable", json!({ "immutable": true, "text": { "ca.crt": "x" } }), "immutable"),
        ("controller", json!({ "metadata": { "ownerReferences": [boss] } }), "ConfigMap boss"),
        ("helm-label", json!({ "metadata": { "labels": helm } }), "Helm"),
        ("helm", json!({ "metadata": { "annotations": { "meta.helm.sh/release-name": "web" } } }), "Helm"),
        ("cm", json!({ "metadata": { "annotations": { "cert-manager.io/certificate-name": "w" } } }), "cert-manager"),
        ("cm-fao", json!({ "metadata": { "labels": { "controller.cert-manager.io/fao": "true" } } }), "cert-manager"),
    ];
    let mut objects = Vec::new();
    for (name, fields, obstacle) in obstacles {
        objects.push((world.create_object(name, fields).await, obstacle));
        world.create(name, json!({ "target": { "adopt": true } })).await;
    }
    for (object, obstacle) in objects {
        let name = object.name_any();
        let message = until_stalled(&world, &name, "NotAdoptable").await;
        assert!(message.contains(obstacle), "{name}: {obstacle} is not in: {message}");
        world.until_events(&name, &[("Warning NotAdoptable", 1)]).await;
        assert_eq!(world.target(&name).await, object, "{name}");
    }
    assert_eq!(world.target_writes(), Vec::<String>::new());
}

async fn a_target_of_another_resource_is_not_changed_until_that_resource_is_deleted<K: TestedKind>() {
    let world = WorldOf::<K>::start("another").await;
    world.generate(NewCertificate::new().id("k2c0qe"));
    world.create_ready("first", json!({ "target": { "name": "shared" } })).await;
    let before = world.target("shared").await;
    let spec = json!({ "clientCertificateId": "k2c0qe", "target": { "name": "shared", "adopt": true } });
    world.create("second", spec).await;
    let message = until_stalled(&world, "second", "OwnedByAnother").await;
    assert!(message.contains("ClientCertificateRef first"), "{message}");
    assert_eq!(world.target("shared").await, before);
    world.until_ready("first").await;

    world.delete("first").await;
    let pem = world.pem("k2c0qe");
    let is_of_second = |object: &_| data(object, "ca.crt") == Some(&pem);
    world.until_target(MINUTES, "shared", "is the second's", is_of_second).await;
    world.until_ready("second").await;
}

async fn an_object_with_the_mark_of_a_deleted_resource_is_free<K: TestedKind>() {
    let world = WorldOf::<K>::start("free").await;
    let metadata = json!({ "labels": { MANAGED_LABEL: "true" }, "annotations": { OWNER_ANNOTATION: "gone" } });
    let before = world.create_object("payments", json!({ "metadata": metadata, "text": { "ca.crt": "x" } })).await;
    world.create_ready("payments", json!({})).await;
    let after = world.target("payments").await;
    assert_eq!((after.uid(), data(&after, "ca.crt")), (before.uid(), Some(world.pem(ID).as_str())));
    assert_eq!(after.annotations()[OWNER_ANNOTATION], format!("{}/payments", world.namespace));
    world.until_events("payments", &[("Normal TargetAdopted", 1)]).await;
}

#[tokio::test]
async fn another_type_requires_another_name() {
    let world = World::start("type").await;
    world.create_ready("payments", json!({})).await;
    let before = world.target("payments").await;
    let target = json!({ "keys": { "ca.crt": "Bundle" }, "type": "nginx.org/ca" });
    world.patch("payments", json!({ "spec": { "target": target } })).await;
    let message = until_stalled(&world, "payments", "TypeImmutable").await;
    assert!(message.contains("nginx.org/ca") && message.contains("target.name"), "{message}");
    assert_eq!(world.target("payments").await, before);

    world.patch("payments", json!({ "spec": { "target": { "name": "payments-nginx" } } })).await;
    world.until_ready("payments").await;
    assert_eq!(world.target("payments-nginx").await.type_.as_deref(), Some("nginx.org/ca"));
    assert!(world.targets().get_opt("payments").await.unwrap().is_none());
}

async fn an_immutable_target_is_reported_if_its_content_must_change<K: TestedKind>() {
    let world = WorldOf::<K>::start("immutable").await;
    world.create_ready("payments", json!({})).await;
    let before = world.patch_target("payments", json!({ "immutable": true })).await;
    // The content is right, so the operator writes nothing.
    never(A_WHILE, "the Secret is written again", async || {
        Some(world.target("payments").await).filter(|object| *object != before)
    })
    .await;
    world.until_ready("payments").await;
    // The operator still restores its label and annotations.
    world.patch_target("payments", json!({ "metadata": { "labels": null } })).await;
    let is_back = |object: &_| essence(object) == essence(&before);
    let before = world.until_target(SOON, "payments", "has its label", is_back).await;

    world.generate(NewCertificate::new().id("k2c0qe"));
    world.patch("payments", json!({ "spec": { "clientCertificateId": "k2c0qe" } })).await;
    let message = until_stalled(&world, "payments", "NotAdoptable").await;
    assert!(message.contains("immutable"), "{message}");
    assert_eq!(world.target("payments").await, before);
}
