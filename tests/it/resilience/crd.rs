//! The CustomResourceDefinition is deleted while the operator runs, and created again.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams};
use operator_testing::control_plane::ControlPlane;
use operator_testing::wait::eventually;
use serde_json::json;

use super::{LONG, makes_no_further_write};
use crate::faults::{World, install};

#[tokio::test]
async fn a_removed_crd_is_logged_and_everything_is_restored_after_its_return() {
    // This test needs another control plane, because other tests need the CRD of the shared one.
    let control_plane = ControlPlane::start().await.unwrap();
    install(&control_plane).await;
    let world = World::on(&control_plane, "no-crd").await;
    let mut operator = world.operator().await;
    let retained = json!({ "clientCertificateId": "kept", "target": { "deletionPolicy": "Retain" } });
    world.certificate("kept");
    world.create("kept", retained.clone()).await;
    world.wait_ready("kept", 1).await;
    let before = world.target("kept").await;

    let definitions: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    definitions.delete("clientcertificaterefs.apigateway.clientcert.dev", &DeleteParams::default()).await.unwrap();
    let line = operator.wait_for_log("is not installed").await.unwrap();
    assert!(line.contains("apply deploy/crd.yaml"), "{line}");
    assert_eq!(world.target("kept").await, before, "the retained target stays as it is");

    install(&control_plane).await;
    eventually(LONG, "a resource is taken again", async || {
        let kind = kube::api::ApiResource::erase::<client_certificate_operator::api::ClientCertificateRef>(&());
        let all: Api<kube::api::DynamicObject> = Api::namespaced_with(world.client.clone(), &world.namespace, &kind);
        all.list(&Default::default()).await.is_ok()
    })
    .await;
    world.create("kept", retained).await;
    eventually(LONG, "the resource is ready", async || {
        let conditions = world.conditions("kept").await;
        conditions.get("Ready").is_some_and(|ready| ready.status == "True")
    })
    .await;
    assert_eq!(world.target("kept").await, before, "and is what it was");
    let reported = operator.logs().into_iter().filter(|line| line.contains("is not installed")).count();
    assert_eq!(reported, 1);
    makes_no_further_write(&world, "kept").await;
}
