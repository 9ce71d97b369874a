//! Missing, deleted and changed targets.

use std::collections::BTreeMap;

use client_certificate_operator::api::{
    APPLIED_ANNOTATION, ClientCertificateRef, MANAGED_LABEL, OBJECT_ANNOTATION, OWNER_ANNOTATION, REFRESH_ANNOTATION,
    TargetKind,
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams};
use operator_testing::certificates::NewCertificate;
use operator_testing::wait::eventually;
use serde_json::{Value, json};

use super::essence;
use crate::fixture::{ID, SOON, TestedKind, World, WorldOf, data, owners};
use crate::ground::source;

for_both_kinds! {
    a_missing_target_is_created_with_only_the_certificate_the_label_and_the_annotations,
    a_deleted_target_is_restored_at_once_without_a_call_to_api_gateway,
    every_change_of_a_target_by_another_writer_is_repaired_at_once,
    without_an_owner_reference_either_mark_is_enough_to_recognize_the_target,
    an_annotation_that_names_another_resource_does_not_change_the_owner,
    metadata_of_other_writers_survives_a_repair,
    labels_and_annotations_follow_the_spec_and_those_of_other_writers_stay,
    changes_from_a_time_without_the_operator_are_repaired_at_the_start,
    a_renewed_certificate_is_mirrored_and_recorded_once,
}

async fn a_missing_target_is_created_with_only_the_certificate_the_label_and_the_annotations<K: TestedKind>() {
    let world = WorldOf::<K>::start("made").await;
    let resource = world.create_ready("payments", json!({})).await;
    let object = world.target("payments").await;
    let pem = world.pem(ID);
    assert!(pem.ends_with("-----END CERTIFICATE-----\n") && !pem.contains('\r'));
    assert_eq!(object.keys(), ["ca.crt"]);
    assert_eq!(data(&object, "ca.crt"), Some(pem.as_str()));
    let (content, type_) = (object.content(), (K::TARGET_KIND == TargetKind::Secret).then_some("Opaque"));
    assert_eq!((content.type_.as_deref(), content.immutable), (type_, false));
    assert_eq!(*object.labels(), BTreeMap::from([(MANAGED_LABEL.to_owned(), "true".to_owned())]));
    let annotations = [
        (OBJECT_ANNOTATION.to_owned(), format!("{}/payments", K::TARGET_KIND)),
        (OWNER_ANNOTATION.to_owned(), format!("{}/payments", world.namespace)),
    ];
    assert_eq!(*object.annotations(), BTreeMap::from(annotations));
    let [owner] = object.owner_references() else { panic!("{:?}", object.owner_references()) };
    assert_eq!((owner.kind.as_str(), owner.name.as_str()), ("ClientCertificateRef", "payments"));
    assert_eq!((Some(owner.uid.as_str()), owner.controller), (resource.metadata.uid.as_deref(), Some(true)));
    assert!(object.finalizers().is_empty() && resource.finalizers().is_empty());
    world.until_events("payments", &[("Normal TargetCreated", 1)]).await;
}

#[tokio::test]
async fn presets_and_keys_determine_the_content_of_each_key() {
    let world = World::start("shapes").await;
    let pem = world.pem(ID);
    let keys = json!({ "a.pem": "Active", "b.pem": "Bundle" });
    for (name, target, type_, expected) in [
        ("tls", json!({ "preset": "TlsCrt" }), "Opaque", vec!["tls.crt"]),
        ("keys", json!({ "keys": keys }), "Opaque", vec!["a.pem", "b.pem"]),
        ("nginx", json!({ "keys": { "ca.crt": "Bundle" }, "type": "nginx.org/ca" }), "nginx.org/ca", vec!["ca.crt"]),
        ("named", json!({ "name": "another.name" }), "Opaque", vec!["ca.crt"]),
    ] {
        world.create_ready(name, json!({ "target": target })).await;
        let object = world.target(target["name"].as_str().unwrap_or(name)).await;
        assert_eq!(object.type_.as_deref(), Some(type_), "{name}");
        assert_eq!(object.data.as_ref().unwrap().keys().collect::<Vec<_>>(), expected, "{name}");
        expected.iter().for_each(|key| assert_eq!(data(&object, key), Some(pem.as_str()), "{name} {key}"));
    }
}

async fn a_deleted_target_is_restored_at_once_without_a_call_to_api_gateway<K: TestedKind>() {
    let world = WorldOf::<K>::start("back").await;
    world.create_ready("payments", json!({})).await;
    let before = world.target("payments").await;
    world.targets().delete("payments", &DeleteParams::default()).await.unwrap();
    let is_new = |object: &_| ResourceExt::uid(object) != before.uid();
    let after = world.until_target(SOON, "payments", "is made anew", is_new).await;
    assert_eq!(essence(&after), essence(&before));
    assert_eq!(world.reads(ID), 1);
    world.until_events("payments", &[("Normal TargetCreated", 1), ("Normal TargetRestored", 1)]).await;
}

async fn every_change_of_a_target_by_another_writer_is_repaired_at_once<K: TestedKind>() {
    let world = WorldOf::<K>::start("edits").await;
    let (label, owner) = (MANAGED_LABEL, OWNER_ANNOTATION);
    let edits: [(&str, Value); 12] = [
        ("data", json!({ "text": { "ca.crt": "not a certificate" } })),
        ("one-byte", json!({ "text": { "ca.crt": format!("{}\n", world.pem(ID)) } })),
        ("key-added", json!({ "text": { "more": "x" } })),
        ("key-gone", json!({ "data": null })),
        ("label-gone", json!({ "metadata": { "labels": { label: null } } })),
        ("label-changed", json!({ "metadata": { "labels": { label: "false" } } })),
        ("annotation-gone", json!({ "metadata": { "annotations": { owner: null } } })),
        ("annotation-changed", json!({ "metadata": { "annotations": { owner: "nobody" } } })),
        ("applied-broken", json!({ "metadata": { "annotations": { APPLIED_ANNOTATION: "not JSON" } } })),
        ("unmarked", json!({ "metadata": { "labels": null, "annotations": null } })),
        ("owner-gone", json!({ "metadata": { "ownerReferences": null } })),
        ("spec-labels", json!({ "metadata": { "labels": { "team": "b" }, "annotations": { "note": null } } })),
    ];
    for (name, _) in &edits {
        world.create(name, json!({ "target": { "labels": { "team": "a" }, "annotations": { "note": "n" } } })).await;
    }
    for (name, _) in &edits {
        world.until_ready(name).await;
    }
    world.emulator.clear_calls();
    for (name, edit) in edits {
        let before = world.target(name).await;
        let edited = world.patch_target(name, edit).await;
        assert_ne!(essence(&edited), essence(&before), "{name} is no edit");
        let is_back = |object: &_| essence(object) == essence(&before);
        let after = world.until_target(SOON, name, "is as it was", is_back).await;
        assert_eq!(after.uid(), before.uid(), "{name}");
        world.until_events(name, &[("Normal TargetCreated", 1), ("Normal TargetRepaired", 1)]).await;
        world.until_ready(name).await;
    }
    assert_eq!(world.emulator.calls().len(), 0, "no repair needs API Gateway");
}

async fn without_an_owner_reference_either_mark_is_enough_to_recognize_the_target<K: TestedKind>() {
    let world = WorldOf::<K>::start("annotations").await;
    let mark_gone = [
        ("label", json!({ "metadata": { "labels": null }, "data": null })),
        ("annotation", json!({ "metadata": { "annotations": null }, "data": null })),
    ];
    for (name, edit) in mark_gone {
        world.create_ready(name, json!({ "target": { "deletionPolicy": "Retain" } })).await;
        let before = world.target(name).await;
        world.patch_target(name, edit).await;
        let is_back = |object: &_| essence(object) == essence(&before);
        world.until_target(SOON, name, "is as it was", is_back).await;
        world.until_events(name, &[("Normal TargetCreated", 1), ("Normal TargetRepaired", 1)]).await;
    }
}

async fn an_annotation_that_names_another_resource_does_not_change_the_owner<K: TestedKind>() {
    let world = WorldOf::<K>::start("given").await;
    world.create_ready("payments", json!({})).await;
    world.create_ready("orders", json!({})).await;
    let before = world.target("payments").await;
    world.patch_target("payments", json!({ "metadata": { "annotations": { OWNER_ANNOTATION: "orders" } } })).await;
    world.until_events("payments", &[("Normal TargetCreated", 1), ("Normal TargetRepaired", 1)]).await;
    let after = world.target("payments").await;
    assert_eq!((essence(&after), after.uid()), (essence(&before), before.uid()));
    world.until_events("orders", &[("Normal TargetCreated", 1)]).await;
    world.until_ready("orders").await;
}

async fn metadata_of_other_writers_survives_a_repair<K: TestedKind>() {
    let world = WorldOf::<K>::start("foreign").await;
    let resource = world.create_ready("payments", json!({})).await;
    let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), &world.namespace);
    let metadata = ObjectMeta { name: Some("friend".to_owned()), ..ObjectMeta::default() };
    let map = ConfigMap { metadata, ..ConfigMap::default() };
    let friend = maps.create(&PostParams::default(), &map).await.unwrap().uid().unwrap();
    let owner = serde_json::to_value(&world.target("payments").await.owner_references()[0]).unwrap();
    let second = json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": "friend", "uid": friend });
    let edit = json!({
        "metadata": {
            "labels": { "theirs": "1" },
            "annotations": { "example.com/theirs": "2" },
            "finalizers": ["example.com/theirs"],
            "ownerReferences": [second, owner],
        },
        "text": { "ca.crt": "changed" },
    });
    world.patch_target("payments", edit).await;
    let pem = world.pem(ID);
    let is_back = |object: &_| data(object, "ca.crt") == Some(&pem);
    let object = world.until_target(SOON, "payments", "holds the certificate", is_back).await;
    assert_eq!(object.labels().get("theirs").map(String::as_str), Some("1"));
    assert_eq!(object.annotations().get("example.com/theirs").map(String::as_str), Some("2"));
    assert_eq!(object.finalizers(), ["example.com/theirs"]);
    assert_eq!(owners(&object), [friend, resource.uid().to_owned()]);

    // While the finalizer holds the deleted target, the operator writes nothing.
    world.targets().delete("payments", &DeleteParams::default()).await.unwrap();
    world.until("payments", "TargetWritten", "False", "Conflict").await;
    world.patch_target("payments", json!({ "metadata": { "finalizers": null } })).await;
    let is_new = |found: &_| ResourceExt::uid(found) != object.uid();
    world.until_target(SOON, "payments", "is made anew", is_new).await;
    world.until_ready("payments").await;
}

async fn labels_and_annotations_follow_the_spec_and_those_of_other_writers_stay<K: TestedKind>() {
    let world = WorldOf::<K>::start("labels").await;
    let target = json!({ "labels": { "team": "a", "tier": "1" }, "annotations": { "note": "n" } });
    world.create_ready("payments", json!({ "target": target })).await;
    let object = world.target("payments").await;
    assert_eq!((object.labels()["team"].as_str(), object.annotations()["note"].as_str()), ("a", "n"));
    world.patch_target("payments", json!({ "metadata": { "labels": { "theirs": "1" } } })).await;
    let target = json!({ "labels": { "team": "b", "tier": null }, "annotations": { "note": null } });
    world.patch("payments", json!({ "spec": { "target": target } })).await;
    world.until_ready("payments").await;
    let object = world.target("payments").await;
    let expected = [(MANAGED_LABEL, "true"), ("team", "b"), ("theirs", "1")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(*object.labels(), BTreeMap::from(expected));
    assert!(!object.annotations().contains_key("note"));
    world.patch("payments", json!({ "spec": { "target": { "labels": null } } })).await;
    world.until_ready("payments").await;
    assert_eq!(world.target("payments").await.labels().keys().collect::<Vec<_>>(), [MANAGED_LABEL, "theirs"]);
    world.until_events("payments", &[("Normal TargetCreated", 1), ("Normal TargetUpdated", 2)]).await;
}

async fn changes_from_a_time_without_the_operator_are_repaired_at_the_start<K: TestedKind>() {
    let mut world = WorldOf::<K>::start("down").await;
    let names = ["edited", "deleted", "unlabelled", "untouched"];
    for name in names {
        world.create_ready(name, json!({})).await;
    }
    let before = world.target("edited").await;
    world.stop_operator().await;
    world.patch_target("edited", json!({ "text": { "ca.crt": "changed", "more": "x" } })).await;
    world.targets().delete("deleted", &DeleteParams::default()).await.unwrap();
    world.patch_target("unlabelled", json!({ "metadata": { "labels": null }, "data": null })).await;
    let untouched = world.target("untouched").await;
    world.start_operator().await;

    let pem = world.pem(ID);
    for (name, reported) in [("edited", "Repaired"), ("deleted", "Restored"), ("unlabelled", "Repaired")] {
        let is_right = |object: &K| data(object, "ca.crt") == Some(&pem) && object.labels().contains_key(MANAGED_LABEL);
        let object = world.until_target(SOON, name, "is as it should be", is_right).await;
        assert_eq!((object.keys(), object.content()), (before.keys(), before.content()), "{name}");
        world.until_events(name, &[("Normal TargetCreated", 1), (&format!("Normal Target{reported}"), 1)]).await;
    }
    world.until_ready("untouched").await;
    assert_eq!(world.target("untouched").await, untouched);
    world.until_events("untouched", &[("Normal TargetCreated", 1)]).await;
}

async fn a_renewed_certificate_is_mirrored_and_recorded_once<K: TestedKind>() {
    let world = WorldOf::<K>::start("renewed").await;
    let before = world.create_ready("payments", json!({})).await;
    world.emulator.renew(&source(ID), NewCertificate::new().shared_key()).unwrap();
    let pem = world.pem(ID);
    world.patch("payments", json!({ "metadata": { "annotations": { REFRESH_ANNOTATION: "1" } } })).await;
    let is_new = |object: &_| data(object, "ca.crt") == Some(&pem);
    world.until_target(SOON, "payments", "holds the new certificate", is_new).await;
    world.until_events("payments", &[("Normal TargetCreated", 1), ("Normal TargetUpdated", 1)]).await;
    let serial =
        |resource: &ClientCertificateRef| resource.status.as_ref().unwrap().certificates[0].serial_number.clone();
    // The event comes before the status.
    eventually(SOON, "the status has the new serial number", async || {
        let after = world.resource("payments").await;
        if serial(&after) == serial(&before) { Err("the former one") } else { Ok(()) }
    })
    .await;
    world.until_ready("payments").await;
}
