//! A resource that no longer parses, for example because it was stored before a change of the schema.

use client_certificate_operator::api::{ClientCertificateRef, crd};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use operator_testing::control_plane::ControlPlane;
use operator_testing::proxy::{Fault, FaultProxy, Rule};
use operator_testing::wait::eventually;
use serde_json::{Value, json};

use crate::fixture::{ID, SOON, World, condition};
use crate::ground::{install, started};

#[tokio::test]
async fn a_resource_that_no_longer_parses_is_reported_and_the_others_continue() {
    let control_plane = ControlPlane::start().await.unwrap();
    let old_preset = json!({ "clientCertificateId": ID, "target": { "preset": "Ancient" } });
    let good = json!({ "clientCertificateId": ID });
    let mut world = stored_before(&control_plane, &[("old-preset", old_preset), ("good", good)]).await;
    world.start_operator().await;

    world.until_ready("good").await;
    until_reported(&world, "old-preset", "Ancient").await;
    world.until_events("old-preset", &[("Warning InvalidSpec", 1)]).await;
    // The other resources work, including later ones, and a corrected resource is Ready at once.
    world.create_ready("later", json!({})).await;
    world.patch("old-preset", json!({ "spec": { "target": { "preset": "TlsCrt" } } })).await;
    let right = world.until_ready("old-preset").await;
    assert!(condition(&right, "Stalled").is_none());
    world.target("old-preset").await;
}

/// Kubernetes before 1.30 refuses every status of such a resource, so its event has to report the fault.
#[tokio::test]
async fn a_resource_that_breaks_a_rule_of_the_schema_has_an_event() {
    let control_plane = ControlPlane::start().await.unwrap();
    let mut world = stored_before(&control_plane, &[("no-id", json!({}))]).await;
    world.start_operator().await;
    world.until_events("no-id", &[("Warning InvalidSpec", 1)]).await;
}

#[tokio::test]
async fn a_conflict_of_the_status_of_such_a_resource_is_no_error() {
    let control_plane = ControlPlane::start().await.unwrap();
    let old_preset = json!({ "clientCertificateId": ID, "target": { "preset": "Ancient" } });
    let world = stored_before(&control_plane, &[("old-preset", old_preset)]).await;
    let proxy = FaultProxy::start(&control_plane).await.unwrap();
    let rule = Rule::new(Fault::conflict()).verb("patch").resource("clientcertificaterefs/status").times(1);
    let conflicts = proxy.inject(rule);
    let mut operator = started(&world.builder_through(&proxy).await).await;
    until_reported(&world, "old-preset", "Ancient").await;
    assert_eq!(conflicts.hits(), 1);
    let errors = operator.metric("ccr_reconciles_total", &[("result", "error")]).await.unwrap();
    assert_eq!(errors.unwrap_or_default(), 0.0);
}

/// The schema changes under a resource that was read already.
#[tokio::test]
async fn a_resource_that_stops_parsing_is_no_longer_read() {
    let control_plane = ControlPlane::start().await.unwrap();
    let spec = json!({ "clientCertificateId": ID, "refreshInterval": "30s" });
    let mut world = stored_before(&control_plane, &[]).await;
    lax(&control_plane).await;
    world.start_operator().await;
    world.create_ready("payments", spec).await;
    let patch = Patch::Merge(json!({ "spec": { "target": { "preset": "Ancient" } } }));
    resources(&world).patch("payments", &PatchParams::default(), &patch).await.unwrap();
    until_reported(&world, "payments", "Ancient").await;
    let calls = world.emulator.calls().len();
    // A certificate with a subscriber is read again after 27 to 30 s.
    tokio::time::sleep(std::time::Duration::from_secs(33)).await;
    assert_eq!(world.emulator.calls().len(), calls);
}

/// Resources that were stored with these specs before the schema was strict. The tests need control planes of their own,
/// because other tests need the strict schema.
async fn stored_before<'a>(control_plane: &'a ControlPlane, specs: &[(&str, Value)]) -> World<'a> {
    lax(control_plane).await;
    let world = World::on(control_plane, "lax").await;
    for (name, spec) in specs {
        let object = DynamicObject::new(name, &ApiResource::erase::<ClientCertificateRef>(&()));
        resources(&world).create(&PostParams::default(), &object.data(json!({ "spec": spec }))).await.unwrap();
    }
    install(control_plane).await;
    world
}

/// Installs the CRD with a schema that accepts every spec.
async fn lax(control_plane: &ControlPlane) {
    let mut lax = serde_json::to_value(crd()).unwrap();
    let schema = &mut lax["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    schema["properties"]["spec"] = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    control_plane.apply_yaml(&lax.to_string()).await.unwrap();
}

fn resources(world: &World<'_>) -> Api<DynamicObject> {
    let kind = ApiResource::erase::<ClientCertificateRef>(&());
    Api::namespaced_with(world.client.clone(), &world.namespace, &kind)
}

/// Waits until conditions report the resource, with a message that contains a text.
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
}
