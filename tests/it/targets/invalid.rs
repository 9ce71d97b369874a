//! A resource that no longer parses, for example because it was stored before a change of the schema.

use client_certificate_operator::api::{ClientCertificateRef, crd};
use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use operator_testing::control_plane::ControlPlane;
use serde_json::json;

use crate::fixture::{ID, World, condition};
use crate::ground::install;

#[tokio::test]
async fn a_resource_that_no_longer_parses_is_reported_and_the_others_continue() {
    // This test needs another control plane, because the shared one has the strict schema, which other tests need.
    let control_plane = ControlPlane::start().await.unwrap();
    let mut lax = serde_json::to_value(crd()).unwrap();
    let schema = &mut lax["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    schema["properties"]["spec"] = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    control_plane.apply_yaml(&lax.to_string()).await.unwrap();
    let mut world = World::on(&control_plane, "lax").await;
    let kind = ApiResource::erase::<ClientCertificateRef>(&());
    let resources: Api<DynamicObject> = Api::namespaced_with(world.client.clone(), &world.namespace, &kind);
    let store = async |name: &str, spec: serde_json::Value| {
        let object = DynamicObject::new(name, &kind).data(json!({ "spec": spec }));
        resources.create(&PostParams::default(), &object).await.unwrap();
    };
    store("no-id", json!({})).await;
    store("old-preset", json!({ "clientCertificateId": ID, "target": { "preset": "Ancient" } })).await;
    store("good", json!({ "clientCertificateId": ID })).await;
    install(&control_plane).await;
    world.start_operator().await;

    world.until_ready("good").await;
    for (name, named) in [("no-id", "clientCertificateId"), ("old-preset", "Ancient")] {
        let report = async || {
            let found = resources.get(name).await.unwrap();
            let conditions = found.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let says = |type_: &str, status: &str| {
                conditions.iter().any(|c| {
                    (c["type"].as_str(), c["status"].as_str(), c["reason"].as_str())
                        == (Some(type_), Some(status), Some("InvalidSpec"))
                        && c["message"].as_str().is_some_and(|message| message.contains(named))
                        && c["observedGeneration"].as_i64() == found.metadata.generation
                })
            };
            if says("Ready", "False") && says("Stalled", "True") { Ok(()) } else { Err(format!("{conditions:?}")) }
        };
        operator_testing::wait::eventually(crate::fixture::SOON, &format!("{name} is reported"), report).await;
        world.until_events(name, &[("Warning InvalidSpec", 1)]).await;
    }
    // The other resources work, including later ones, and a corrected resource is Ready at once.
    world.create_ready("later", json!({})).await;
    world.patch("old-preset", json!({ "spec": { "target": { "preset": "TlsCrt" } } })).await;
    let right = world.until_ready("old-preset").await;
    assert!(condition(&right, "Stalled").is_none());
    world.target("old-preset").await;
}
