//! The health that Argo CD, Flux and Helm compute from the operator's real statuses.

use std::process::Stdio;
use std::time::Duration;

use client_certificate_operator::api::{ClientCertificateRef, REFRESH_ANNOTATION};
use kube::api::{ApiResource, DynamicObject};
use kube::{Api, ResourceExt};
use mlua::{Lua, LuaSerdeExt, StdLib, Table};
use operator_testing::certificates::NewCertificate;
use operator_testing::emulator::Fault;
use operator_testing::go_programs;
use operator_testing::script::Operation;
use operator_testing::wait::eventually;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::fixture::{ID, MINUTES, World, conditions};
use crate::ground::source;

const HEALTH: &str = include_str!("../../../deploy/argocd/health.lua");

/// A resource in a state, and its expected health.
struct Case {
    state: &'static str,
    object: Value,
    argo: &'static str,
    kstatus: &'static str,
}

/// The object as other clients read it, including fields that its Rust type omits.
async fn seen(world: &World<'_>, name: &str) -> Value {
    let kind = ApiResource::erase::<ClientCertificateRef>(&());
    let resources: Api<DynamicObject> = Api::namespaced_with(world.client.clone(), &world.namespace, &kind);
    serde_json::to_value(resources.get(name).await.unwrap()).unwrap()
}

/// Real statuses of every kind.
async fn cases() -> Vec<Case> {
    let mut world = World::without_operator("statuses").await;
    let mut cases = Vec::new();
    let mut add = |state, object, argo, kstatus| cases.push(Case { state, object, argo, kstatus });

    world.create("ready", json!({ "refreshInterval": "30s" })).await;
    add("just created", seen(&world, "ready").await, "Progressing", "InProgress");
    world.start_operator().await;
    world.until_ready("ready").await;
    add("ready", seen(&world, "ready").await, "Healthy", "Current");

    world.create("lost", json!({ "clientCertificateId": "lost" })).await;
    world.until("lost", "Ready", "False", "NotFound").await;
    add("not found", seen(&world, "lost").await, "Progressing", "InProgress");

    world.generate(NewCertificate::new().id("invalid"));
    world.emulator.set_pem(&source("invalid"), "no certificate");
    world.create("invalid", json!({ "clientCertificateId": "invalid" })).await;
    world.until("invalid", "Ready", "False", "InvalidCertificate").await;
    add("invalid", seen(&world, "invalid").await, "Degraded", "Failed");

    world.create_object("taken", json!({ "stringData": { "key": "theirs" } })).await;
    world.create("taken", json!({})).await;
    world.until("taken", "Ready", "False", "TargetExists").await;
    add("its target belongs to another writer", seen(&world, "taken").await, "Degraded", "Failed");

    world.create("suspended", json!({ "suspend": true })).await;
    world.until("suspended", "Suspended", "True", "Suspended").await;
    add("suspended from the start", seen(&world, "suspended").await, "Suspended", "Current");
    world.create_ready("paused", json!({})).await;
    world.patch("paused", json!({ "spec": { "suspend": true } })).await;
    world.until("paused", "Suspended", "True", "Suspended").await;
    add("suspended later", seen(&world, "paused").await, "Suspended", "Current");

    world.generate(NewCertificate::new().id("endsin10").expires_in_seconds(10 * 24 * 3600));
    world.create_ready("ending", json!({ "clientCertificateId": "endsin10" })).await;
    world.until("ending", "Expiring", "True", "EndsSoon").await;
    add("expiring", seen(&world, "ending").await, "Healthy", "Current");

    // This state comes last, because throttling delays all reads of the account.
    for operation in [Operation::Get, Operation::List] {
        world.emulator.inject(Fault::throttled(Some("60")).on(operation));
    }
    world.patch("ready", json!({ "metadata": { "annotations": { REFRESH_ANNOTATION: "now" } } })).await;
    eventually(MINUTES, "throttling that lasts is reported", async || {
        let conditions = conditions(&world.resource("ready").await);
        let is_told = conditions.iter().any(|condition| condition.starts_with("CertificateRead=False Throttled"));
        is_told.then_some(()).ok_or(conditions.join("; "))
    })
    .await;
    add("throttled with a good target", seen(&world, "ready").await, "Healthy", "Current");

    world.stop_operator().await;
    world.patch("ready", json!({ "spec": { "refreshInterval": "10m" } })).await;
    add("changed and not looked at", seen(&world, "ready").await, "Progressing", "InProgress");
    world.patch("ready", json!({ "metadata": { "finalizers": ["example.test/hold"] } })).await;
    world.delete("ready").await;
    add("being deleted", seen(&world, "ready").await, "Progressing", "Terminating");
    world.patch("ready", json!({ "metadata": { "finalizers": null } })).await;
    cases
}

/// Runs the check like Argo CD: with Lua 5.1, the object as `obj`, and almost no library.
fn health(object: &Value) -> (String, String) {
    let lua = Lua::new_with(StdLib::TABLE, mlua::LuaOptions::default()).unwrap();
    // Argo CD's numbers come from JSON too.
    lua.globals().set("obj", lua.to_value(object).unwrap()).unwrap();
    let found: Table = lua.load(HEALTH).eval().unwrap();
    (found.get("status").unwrap(), found.get("message").unwrap())
}

/// The status of each case by kstatus.
async fn kstatus(cases: &[Case]) -> Vec<String> {
    let program = tokio::task::spawn_blocking(|| go_programs::kstatus().unwrap()).await.unwrap();
    let mut child = tokio::process::Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines: String = cases.iter().map(|case| format!("{}\n", case.object)).collect();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).await.unwrap();
    let output = tokio::time::timeout(Duration::from_secs(30), child.wait_with_output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn argo_flux_and_helm_interpret_the_statuses_correctly() {
    let cases = cases().await;
    let found = kstatus(&cases).await;
    assert_eq!(found.len(), cases.len());
    for (case, kstatus) in cases.iter().zip(found) {
        let (argo, message) = health(&case.object);
        assert_eq!(argo, case.argo, "Argo CD of {}: {message}\n{:#}", case.state, case.object);
        assert!(!message.is_empty(), "{}", case.state);
        assert!(kstatus.starts_with(case.kstatus), "kstatus of {}: {kstatus}\n{:#}", case.state, case.object);
    }
}

#[test]
fn the_patch_of_argocd_cm_contains_the_same_lua() {
    let patch: Value = serde_saphyr::from_str(include_str!("../../../deploy/argocd/argocd-cm.yaml")).unwrap();
    let key = "resource.customizations.health.apigateway.clientcert.dev_ClientCertificateRef";
    assert_eq!((&patch["metadata"]["name"], &patch["metadata"]["namespace"]), (&json!("argocd-cm"), &json!("argocd")));
    assert_eq!(patch["data"][key].as_str(), Some(HEALTH));
}

#[tokio::test]
async fn a_resource_that_was_not_reconciled_is_in_progress() {
    let world = World::without_operator("unseen").await;
    let created = world.create("payments", json!({})).await;
    assert_eq!(created.name_any(), "payments");
    assert_eq!(seen(&world, "payments").await["status"], json!({ "observedGeneration": -1 }));
    assert_eq!(world.reads(ID), 0);
}
