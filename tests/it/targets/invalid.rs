//! A resource that no longer parses, for example because it was stored before a change of the schema.

use client_certificate_operator::api::{ClientCertificateRef, crd};
use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use operator_testing::control_plane::ControlPlane;
use operator_testing::wait::eventually;
use serde_json::{Value, json};

use crate::fixture::{ID, SOON, World, condition};
use crate::ground::install;

#[tokio::test]
async fn a_resource_that_no_longer_parses_is_reported_and_the_others_continue() {
    let control_plane = ControlPlane::start().await.unwrap();
    let old_preset = json!({ "clientCertificateId": ID, "target": { "preset": "Ancient" } });
    let good = json!({ "clientCertificateId": ID });
    let mut world = stored_before(&control_plane, &[("old-preset", old_preset), ("good", good)]).await;
    world.start_operator().await;

    world.until_ready("good").await;
    until_reported(&world, "old-preset", "Ancient").await;
    // The other resources work, including later ones, and a corrected resource is Ready at once.
    world.create_ready("later", json!({})).await;
    world.patch("old-preset", json!({ "spec": { "target": { "preset": "TlsCrt" } } })).await;
    let right = world.until_ready("old-preset").await;
    assert!(condition(&right, "Stalled").is_none());
    world.target("old-preset").await;
}

/// Kubernetes before 1.30 refuses every write of such a status: only its event shows the fault.
#[tokio::test]
async fn a_resource_that_breaks_a_rule_of_the_schema_is_reported() {
    let control_plane = ControlPlane::start().await.unwrap();
    let mut world = stored_before(&control_plane, &[("no-id", json!({}))]).await;
    world.start_operator().await;
    until_reported(&world, "no-id", "clientCertificateId").await;
}

/// Resources that were stored with these specs before the schema was strict. The tests need control planes of their own,
/// because other tests need the strict schema.
async fn stored_before<'a>(control_plane: &'a ControlPlane, specs: &[(&str, Value)]) -> World<'a> {
    let mut lax = serde_json::to_value(crd()).unwrap();
    let schema = &mut lax["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    schema["properties"]["spec"] = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    control_plane.apply_yaml(&lax.to_string()).await.unwrap();
    let world = World::on(control_plane, "lax").await;
    for (name, spec) in specs {
        let object = DynamicObject::new(name, &ApiResource::erase::<ClientCertificateRef>(&()));
        resources(&world).create(&PostParams::default(), &object.data(json!({ "spec": spec }))).await.unwrap();
    }
    install(control_plane).await;
    world
}

fn resources(world: &World<'_>) -> Api<DynamicObject> {
    let kind = ApiResource::erase::<ClientCertificateRef>(&());
    Api::namespaced_with(world.client.clone(), &world.namespace, &kind)
}

/// Waits until conditions and an event report the resource, with a message that contains a text.
async fn until_reported(world: &World<'_>, name: &str, text: &str) {
    let resources = resources(world);
    let report = async || {
        let found = resources.get(name).await.unwrap();
        let conditions = found.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let has = |type_: &str, status: &str| {
            conditions.iter().any(|c| {
                (c["type"].as_str(), c["status"].as_str(), c["reason"].as_str())
                    == (Some(type_), Some(status), Some("InvalidSpec"))
                    && c["message"].as_str().is_some_and(|message| message.contains(text))
                    && c["observedGeneration"].as_i64() == found.metadata.generation
            })
        };
        if has("Ready", "False") && has("Stalled", "True") { Ok(()) } else { Err(format!("{conditions:?}")) }
    };
    eventually(SOON, &format!("{name} is reported"), report).await;
    world.until_events(name, &[("Warning InvalidSpec", 1)]).await;
}
