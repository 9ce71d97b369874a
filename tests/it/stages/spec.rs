//! The schema of a stage, and the target during a change of the spec from an id to a stage and back.

use client_certificate_operator::api::CertificateRole::Main;
use client_certificate_operator::api::crd;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use operator_testing::control_plane::ControlPlane;

use super::*;
use crate::fixture::A_WHILE;
use crate::ground::install;

#[tokio::test]
async fn exactly_one_of_an_id_and_a_stage_names_the_main_certificate() {
    let world = quiet_world("schema").await;
    let refused = async |spec: Value| {
        let resource = json!({
            "apiVersion": "apigateway.clientcert.dev/v1alpha1",
            "kind": "ClientCertificateRef",
            "metadata": { "name": "refused" },
            "spec": spec,
        });
        let resource: DynamicObject = serde_json::from_value(resource).unwrap();
        let resources: Api<DynamicObject> = Api::namespaced_with(
            world.client.clone(),
            &world.namespace,
            &ApiResource::erase::<ClientCertificateRef>(&()),
        );
        let created = resources.create(&Default::default(), &resource).await;
        created.expect_err("it is refused").to_string()
    };
    let stage = |api: &str, stage: &str| json!({ "stage": { "restApiId": api, "stageName": stage } });
    assert!(refused(json!({})).await.contains("set exactly one of clientCertificateId, stage and acmCertificateArn"));
    let both = json!({ "clientCertificateId": ID, "stage": { "restApiId": API, "stageName": STAGE } });
    assert!(refused(both).await.contains("set exactly one of clientCertificateId, stage and acmCertificateArn"));
    for name in ["$default", "a/b", "", &"a".repeat(129), "a b", "ä"] {
        let message = refused(stage(API, name)).await;
        assert!(message.contains("stageName"), "{name}: {message}");
    }
    for api in ["", "a-b", "a/b", "a1b2c3/stages", &"a".repeat(65)] {
        let message = refused(stage(api, STAGE)).await;
        assert!(message.contains("restApiId"), "{api}: {message}");
    }
    let acm = json!({ "stage": { "restApiId": API, "stageName": STAGE, "acm": "Maybe" } });
    assert!(refused(acm).await.contains("acm"));
    for (number, name) in ["a", &"a".repeat(128), "PROD-2_x"].into_iter().enumerate() {
        world.create_resource(&format!("taken-{number}"), stage(API, name)).await;
    }
    let acm = world.resource("taken-0").await.spec.stage.unwrap();
    assert_eq!(serde_json::to_value(acm.acm).unwrap(), "Refuse");
}

#[tokio::test]
async fn a_change_of_the_spec_makes_no_former_certificate() {
    let world = world("spec").await;
    present(&world, Some(NEW));
    world.create_ready("payments", json!({})).await;
    assert!(holds(&world, "payments", &[ID]).await);
    let to_stage =
        json!({ "spec": { "clientCertificateId": null, "stage": { "restApiId": API, "stageName": STAGE } } });
    world.patch("payments", to_stage.clone()).await;
    world.until_it("payments", "the stage counts", |resource| held(resource) == [(NEW, Main)]).await;
    world.until_ready("payments").await;
    assert!(holds(&world, "payments", &[NEW]).await);
    let resource = world.resource("payments").await;
    assert_eq!(stage(&resource).unwrap().client_certificate_id.as_deref(), Some(NEW));

    // The spec names the same certificate by its id. The operator writes only the status.
    let writes = world.target_writes().len();
    world.patch("payments", json!({ "spec": { "clientCertificateId": NEW, "stage": null } })).await;
    let resource = world.until_ready("payments").await;
    assert_eq!((held(&resource), stage(&resource)), (vec![(NEW, Main)], None));
    assert_eq!(world.target_writes().len(), writes);
    let resource_version = world.target("payments").await.metadata.resource_version;

    // The stage presents another certificate. The former one leaves when the new one has been read, and not before.
    world.emulator.present(DEFAULT_REGION, API, STAGE, Some(NEWER));
    let fault = operator_testing::emulator::Fault::error(403, "AccessDeniedException", "no");
    world.emulator.inject(fault.on(operator_testing::script::Operation::GetStages));
    world.patch("payments", to_stage).await;
    let resource = world.until("payments", READ, "False", "AccessDenied").await;
    assert_eq!((held(&resource), stage(&resource)), (vec![(NEW, Main)], None));
    assert_eq!(world.target("payments").await.metadata.resource_version, resource_version);
    world.emulator.clear_faults();
    world.ask_now("payments").await;
    world.until_it("payments", "the stage counts", |resource| held(resource) == [(NEWER, Main)]).await;
    assert!(holds(&world, "payments", &[NEWER]).await);

    // Another stage of the API is another source, even if the last answer about the API lacks it.
    world.emulator.present(DEFAULT_REGION, API, "test", Some(ID));
    world.patch("payments", json!({ "spec": { "stage": { "stageName": "test" } } })).await;
    world.until_it("payments", "the other stage counts", |resource| held(resource) == [(ID, Main)]).await;
}

/// A resource that names its main certificate by a field of a later version of the CRD, which does not have the rules
/// of this version.
#[tokio::test]
async fn a_resource_for_a_later_version_is_invalid_and_its_target_stays() {
    let control_plane = ControlPlane::start().await.unwrap();
    install(&control_plane).await;
    let mut world: World<'_> = World::on(&control_plane, "later").await;
    world.start_operator().await;
    world.create_ready("payments", json!({})).await;
    let before = world.target("payments").await;

    let mut later = serde_json::to_value(crd()).unwrap();
    let spec = later.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec").unwrap();
    spec["x-kubernetes-validations"] = json!([]);
    spec["required"] = json!([]);
    spec["properties"]["laterSource"] = json!({ "type": "string" });
    control_plane.apply_yaml(&later.to_string()).await.unwrap();
    let resources: Api<DynamicObject> =
        Api::namespaced_with(world.client.clone(), &world.namespace, &ApiResource::erase::<ClientCertificateRef>(&()));
    let spec = json!({ "clientCertificateId": null, "laterSource": "a" });
    eventually(SOON, "the API server has the later CRD", async || {
        let patch = Patch::Merge(json!({ "spec": spec }));
        let patched = resources.patch("payments", &PatchParams::default(), &patch).await.map_err(|e| e.to_string())?;
        patched.data["spec"].get("laterSource").map(|_| ()).ok_or("it drops the field".to_owned())
    })
    .await;
    let condition = async |type_: &str| {
        eventually(SOON, "the resource is invalid", async || {
            let found = resources.get("payments").await.unwrap();
            let conditions = found.data["status"]["conditions"].as_array().unwrap().clone();
            let found = conditions.iter().find(|it| it["type"] == type_ && it["reason"] == "InvalidSpec");
            found.cloned().ok_or_else(|| format!("{conditions:?}"))
        })
        .await
    };
    let ready = condition("Ready").await;
    assert_eq!(ready["status"], "False");
    let message = ready["message"].as_str().unwrap();
    assert!(message.contains("clientCertificateId") && message.contains("schema of the CRD"), "{message}");
    assert_eq!(condition("Stalled").await["status"], "True");
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(world.target("payments").await, before);
}
