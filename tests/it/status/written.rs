//! The write of a status: whole, with the version that was read, and never one that the API server refuses.

use client_certificate_operator::api::{CertificateRole, ClientCertificateRef, VerifierClass};
use client_certificate_operator::conditions::whole_seconds;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use operator_testing::certificates::NewCertificate;
use operator_testing::emulator::Fault;
use operator_testing::proxy::{self, FaultProxy, Rule};
use operator_testing::script::Operation;
use operator_testing::wait::{eventually, never};
use serde_json::{Value, json};

use crate::fixture::{A_WHILE, ID, SOON, World, condition, conditions, data};
use crate::ground::{source, started};

const SECOND: &str = "k2c0qe";

/// The writes of statuses so far, each with the status code of its response.
fn status_writes(world: &World<'_>) -> Vec<(String, u16)> {
    let mut writes = world.all_writes();
    writes.retain(|entry| (entry.resource.as_str(), entry.subresource.as_str()) == ("clientcertificaterefs", "status"));
    writes.into_iter().map(|entry| (entry.verb, entry.code)).collect()
}

#[tokio::test]
async fn the_former_main_certificate_named_as_an_additional_one_is_reported_once() {
    let world = World::start("typo").await;
    world.create_ready("payments", json!({})).await;
    let typo = json!({ "clientCertificateId": "typo00", "additionalClientCertificateIds": [ID] });
    world.patch("payments", json!({ "spec": typo })).await;
    let resource = world.until("payments", "Ready", "False", "NotFound").await;
    world.until("payments", "AdditionalCertificatesRead", "True", "Read").await;
    let status = resource.status.as_ref().unwrap();
    let held: Vec<_> = status.certificates.iter().map(|held| (held.id.as_str(), held.role)).collect();
    assert_eq!(held, [(ID, Some(CertificateRole::Main))], "{:?}", conditions(&resource));
    assert_eq!(status.client_certificate_id.as_deref(), Some("typo00"));
    assert_eq!(status.expiration_date, status.certificates[0].expiration_date);
    assert_eq!(data(&world.target("payments").await, "ca.crt"), Some(world.pem(ID).as_str()), "last good stays");
    let refused: Vec<_> = status_writes(&world).into_iter().filter(|(_, code)| *code == 422).collect();
    assert_eq!(refused, [], "the API server refuses a status");

    world
        .patch("payments", json!({ "spec": { "clientCertificateId": ID, "additionalClientCertificateIds": [] } }))
        .await;
    world.until_ready("payments").await;
}

#[tokio::test]
async fn a_preset_without_a_verifier_class_removes_the_former_class() {
    let world = World::start("class").await;
    let resource = world.create_ready("payments", json!({ "target": { "preset": "TlsCrt" } })).await;
    assert_eq!(resource.status.unwrap().verifier_class, Some(VerifierClass::FirstWins));
    world.patch("payments", json!({ "spec": { "target": { "preset": "CaCrt" } } })).await;
    world.until_ready("payments").await;
    let resource = eventually(SOON, "status.verifierClass is gone", async || {
        let resource = world.resource("payments").await;
        let class = resource.status.as_ref().and_then(|status| status.verifier_class);
        if class.is_none() { Ok(resource) } else { Err(format!("{class:?}")) }
    })
    .await;
    let writes = status_writes(&world).len();
    // Another reconcile has nothing to write.
    let label = "apigateway.clientcert.dev/managed";
    world.patch_target("payments", json!({ "metadata": { "labels": { label: null } } })).await;
    let has_label = |target: &Secret| target.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(label));
    world.until_target(SOON, "payments", "put back", has_label).await;
    never(A_WHILE, "a status is written", async || Some(status_writes(&world).len()).filter(|now| *now != writes))
        .await;
    assert_eq!(world.resource("payments").await.status, resource.status);
}

#[tokio::test]
async fn a_status_holds_each_certificate_with_its_role_and_pem() {
    let world = World::start("pem").await;
    world.generate(NewCertificate::new().id(SECOND).description("d".repeat(3000)));
    let resource = world.create_ready("payments", json!({ "additionalClientCertificateIds": [SECOND] })).await;
    let status = resource.status.unwrap();
    let roles = [(ID, CertificateRole::Main), (SECOND, CertificateRole::Additional)];
    let held: Vec<_> = status.certificates.iter().map(|held| (held.id.as_str(), held.role.unwrap())).collect();
    assert_eq!(held, roles);
    for held in &status.certificates {
        assert_eq!(held.pem.as_deref(), Some(world.pem(&held.id).as_str()));
    }
    assert_eq!(status.certificates[1].description, Some("d".repeat(1024)));
    let made = world.emulator.certificate(&source(ID)).unwrap();
    assert_eq!(status.expiration_date, made.expires.map(whole_seconds));
    assert_eq!(status.client_certificate_id.as_deref(), Some(ID));
}

#[tokio::test]
async fn the_id_of_the_spec_is_shown_before_it_was_read() {
    let world = World::start("unread").await;
    let resource = world.create("payments", json!({ "clientCertificateId": "gone00" })).await;
    assert_eq!(resource.status.unwrap().client_certificate_id, None);
    let resource = world.until("payments", "Ready", "False", "NotFound").await;
    let status = resource.status.unwrap();
    assert_eq!((status.client_certificate_id.as_deref(), status.expiration_date), (Some("gone00"), None));
    let output = world.kubectl(&["get", "ccr", "payments", "--no-headers"]).await;
    let columns = String::from_utf8(output.stdout).unwrap();
    assert_eq!(columns.split_whitespace().take(3).collect::<Vec<_>>(), ["payments", "gone00", "False"]);
}

#[tokio::test]
async fn a_message_that_is_too_long_is_cut_and_the_status_is_accepted() {
    let world = World::without_operator("long").await;
    world.emulator.inject(Fault::error(403, "AccessDeniedException", "no").on(Operation::List));
    let ids: Vec<String> = (0..63).map(|n| format!("gone{n:02}-{}", "x".repeat(57))).collect();
    let operator = started(&world.builder()).await;
    world.create_ready("payments", json!({ "additionalClientCertificateIds": ids })).await;
    let resource = world.until("payments", "AdditionalCertificatesRead", "False", "NotFound").await;
    let message = &condition(&resource, "AdditionalCertificatesRead").unwrap().message;
    assert_eq!(message.chars().count(), 1024, "{message}");
    drop(operator);
}

#[tokio::test]
async fn a_status_that_another_writer_changed_is_read_again_without_a_log_line() {
    let world = World::without_operator("meanwhile").await;
    let proxy = FaultProxy::start(world.control_plane).await.unwrap();
    let mut operator = started(&world.builder_through(&proxy).await).await;
    let rule = Rule::new(proxy::Fault::conflict()).verb("update").resource("clientcertificaterefs/status").times(2);
    let conflicts = proxy.inject(rule);
    world.create_ready("payments", json!({})).await;
    assert_eq!(conflicts.hits(), 2);
    let errors = operator.metric("ccr_reconciles_total", &[("result", "error")]).await.unwrap();
    assert_eq!(errors.unwrap_or_default(), 0.0);
    let reported: Vec<_> = operator.logs().into_iter().filter(|line| line.contains("could not write")).collect();
    assert_eq!(reported, Vec::<String>::new());
    world.until_events("payments", &[("Normal TargetCreated", 1)]).await;
}

#[tokio::test]
async fn conditions_of_other_writers_and_their_times_survive_every_write() {
    let world = World::start("foreign").await;
    world.create_ready("payments", json!({})).await;
    let kind = ApiResource::erase::<ClientCertificateRef>(&());
    let resources: Api<DynamicObject> = Api::namespaced_with(world.client.clone(), &world.namespace, &kind);
    let mut conditions = resources.get("payments").await.unwrap().data["status"]["conditions"].clone();
    let foreign = json!({
        "type": "example.com/Audited", "status": "True", "reason": "Fine", "message": "m".repeat(2000),
        "observedGeneration": 1, "lastTransitionTime": "2026-11-24T00:00:00Z",
    });
    conditions.as_array_mut().unwrap().insert(0, foreign.clone());
    let patch = Patch::Merge(json!({ "status": { "conditions": conditions } }));
    resources.patch_status("payments", &PatchParams::default(), &patch).await.unwrap();
    world.patch("payments", json!({ "spec": { "clientCertificateId": "gone00" } })).await;
    world.until("payments", "Ready", "False", "NotFound").await;
    let after: Value = resources.get("payments").await.unwrap().data["status"]["conditions"].clone();
    assert_eq!(after[0], foreign);
}
