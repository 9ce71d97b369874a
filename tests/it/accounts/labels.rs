//! Rules that select namespaces by label, and changes of labels while the operator runs.

use std::time::Duration;

use client_certificate_operator::api::ClientCertificateRef;
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams, PostParams};
use operator_testing::control_plane::ControlPlane;
use operator_testing::emulator::{DEFAULT_REGION, NewRole};
use operator_testing::proxy::{Fault, FaultProxy, Rule};
use operator_testing::script::Operation::AssumeRole;
use operator_testing::wait::{eventually, never};
use serde_json::{Value, json};

use super::{ROLE, Ruled, by};
use crate::fixture::{A_WHILE, ID, SOON, World};
use crate::ground::{ACCOUNT, install, started};

const BY_LABEL: &str = "rules: [{name: trusted, namespaceSelector: {matchLabels: {team: pay}}, roles: ['arn:aws:iam::444455556666:role/*']}]";

/// Grants the operator its permissions in the whole cluster, like an installation.
async fn grant_everywhere(world: &World<'_>) {
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": { "name": ACCOUNT },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ACCOUNT },
        "subjects": [{ "kind": "ServiceAccount", "name": ACCOUNT, "namespace": world.namespace }],
    });
    world.control_plane.apply_yaml(&binding.to_string()).await.unwrap();
}

async fn label(world: &World<'_>, team: Value) {
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let patch = Patch::Merge(json!({ "metadata": { "labels": { "team": team } } }));
    namespaces.patch(&world.namespace, &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test]
async fn a_label_grants_and_revokes_a_role_at_once() {
    // This test needs another control plane, because its operator reconciles every resource.
    let control_plane = ControlPlane::start().await.unwrap();
    install(&control_plane).await;
    let mut ruled = Ruled::of(World::on(&control_plane, "labels").await, BY_LABEL);
    let neighbour = World::on(&control_plane, "neighbour").await;
    grant_everywhere(&ruled).await;
    ruled.emulator.add_role(NewRole::new(ROLE));
    ruled.generate_there(DEFAULT_REGION, ID);
    label(&neighbour, json!("pay")).await;
    let builder = ruled.builder().env_remove("CCR_NAMESPACES").arg("--rules-file").arg(ruled.file.path());
    ruled.operator = Some(started(&builder).await);
    // A label from before the start counts. A namespace without the label is refused.
    neighbour.create_ready("one", by(ROLE)).await;
    ruled.create("one", by(ROLE)).await;
    ruled.until("one", "Ready", "False", "RoleNotAllowed").await;

    label(&ruled, json!("pay")).await;
    ruled.until_ready("one").await;
    let target = ruled.target("one").await;
    let ours = ruled.emulator.sessions().pop().unwrap();
    assert_eq!(ours.request.session_name, format!("ccr-{}", ruled.namespace));

    label(&ruled, json!("orders")).await;
    ruled.until("one", "Ready", "False", "RoleNotAllowed").await;
    let calls = ruled.calls_with(&ours.access_key.id).len();
    ruled.ask("one", "please").await;
    never(A_WHILE, "a call of the session that was dropped", async || {
        (ruled.calls_with(&ours.access_key.id).len() != calls).then_some(())
    })
    .await;
    assert_eq!(ruled.target("one").await.resource_version(), target.resource_version());
    neighbour.until_ready("one").await;
    assert_eq!(ruled.emulator.count(AssumeRole), 2);

    label(&ruled, json!("pay")).await;
    ruled.until_ready("one").await;
    assert_eq!(ruled.emulator.count(AssumeRole), 3, "a new session for us, the neighbour's lives on");
    label(&ruled, Value::Null).await;
    ruled.until("one", "Stalled", "True", "RoleNotAllowed").await;
}

#[tokio::test]
async fn selectors_of_a_later_file_apply_too() {
    let control_plane = ControlPlane::start().await.unwrap();
    install(&control_plane).await;
    let mut ruled = Ruled::of(World::on(&control_plane, "later").await, "default: {}");
    grant_everywhere(&ruled).await;
    ruled.emulator.add_role(NewRole::new(ROLE));
    ruled.generate_there(DEFAULT_REGION, ID);
    label(&ruled, json!("pay")).await;
    let builder = ruled.builder().env_remove("CCR_NAMESPACES").arg("--rules-file").arg(ruled.file.path());
    ruled.operator = Some(started(&builder).await);
    ruled.create("one", by(ROLE)).await;
    ruled.until("one", "Ready", "False", "RoleNotAllowed").await;
    ruled.change_rules(BY_LABEL).await;
    ruled.until_ready("one").await;
}

/// Creates a namespace with a label, like Argo CD or Flux.
async fn create_namespace(world: &World<'_>, name: &str, team: &str) {
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let namespace = json!({ "metadata": { "name": name, "labels": { "team": team } } });
    namespaces.create(&PostParams::default(), &serde_json::from_value(namespace).unwrap()).await.unwrap();
}

/// The reason of Ready of the resource `one` in a namespace.
async fn ready_reason(world: &World<'_>, namespace: &str) -> Option<String> {
    let resources: Api<ClientCertificateRef> = Api::namespaced(world.client.clone(), namespace);
    let status = resources.get("one").await.unwrap().status?;
    status.conditions.into_iter().find(|condition| condition.type_ == "Ready").map(|condition| condition.reason)
}

#[tokio::test]
async fn a_namespace_with_unknown_labels_may_use_nothing() {
    let control_plane = ControlPlane::start().await.unwrap();
    install(&control_plane).await;
    let narrow = "rules: [{name: narrow, namespaceSelector: {matchLabels: {team: pay}}, certificateIds: [other]}]";
    let mut ruled = Ruled::of(World::on(&control_plane, "unknown").await, narrow);
    grant_everywhere(&ruled).await;
    // Lists of namespaces are not delayed, but the events after them are.
    let late = Rule::new(Fault::Delay(Duration::from_secs(15))).resource("namespaces").verb("watch");
    let proxy = FaultProxy::start(&control_plane).await.unwrap();
    let held = proxy.inject(late.always());
    let builder =
        ruled.builder_through(&proxy).await.env_remove("CCR_NAMESPACES").arg("--rules-file").arg(ruled.file.path());
    ruled.operator = Some(started(&builder).await);
    eventually(SOON, "the watch is held up", async || held.hits() > 0).await;

    create_namespace(&ruled, "fresh", "pay").await;
    let resources: Api<ClientCertificateRef> = Api::namespaced(ruled.client.clone(), "fresh");
    let mut resource = ruled.create_ready("one", json!({})).await;
    let reads = ruled.emulator.calls().len();
    resource.metadata = serde_json::from_value(json!({ "name": "one", "namespace": "fresh" })).unwrap();
    resource.status = None;
    resources.create(&PostParams::default(), &resource).await.unwrap();
    never(A_WHILE, "a status", async || ready_reason(&ruled, "fresh").await).await;
    assert_eq!(ruled.emulator.calls().len(), reads);

    proxy.clear();
    eventually(Duration::from_secs(40), "the rule for its label decides", async || {
        let reason = ready_reason(&ruled, "fresh").await;
        if reason.as_deref() == Some("CertificateNotAllowed") { Ok(()) } else { Err(format!("{reason:?}")) }
    })
    .await;
}

#[tokio::test]
async fn labels_wake_only_the_resources_of_their_namespace_and_only_if_rules_use_labels() {
    let control_plane = ControlPlane::start().await.unwrap();
    install(&control_plane).await;
    let regions = "rules: [{name: far, namespaceSelector: {matchLabels: {team: pay}}, regions: [eu-west-1]}]";
    let mut ruled = Ruled::of(World::on(&control_plane, "wakes").await, regions);
    let neighbour = World::on(&control_plane, "quiet").await;
    grant_everywhere(&ruled).await;
    let builder = ruled.builder().env_remove("CCR_NAMESPACES").arg("--rules-file").arg(ruled.file.path());
    ruled.operator = Some(started(&builder).await);
    ruled.create_ready("one", json!({})).await;
    for number in 0..5 {
        neighbour.create_ready(&format!("n{number}"), json!({})).await;
    }
    // The reconciles that the writes of the targets cause have ended.
    never(A_WHILE, "nothing", async || None::<()>).await;
    let before = passes(&mut ruled).await;
    create_namespace(&ruled, "elsewhere", "pay").await;
    label(&ruled, json!("orders")).await;
    label(&ruled, Value::Null).await;
    let namespaces: Api<Namespace> = Api::all(ruled.client.clone());
    namespaces.delete("elsewhere", &Default::default()).await.unwrap();
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(passes(&mut ruled).await, before, "nobody is looked at");

    label(&ruled, json!("pay")).await;
    ruled.until("one", "Ready", "False", "RegionNotAllowed").await;
    tokio::time::sleep(A_WHILE).await;
    let more = passes(&mut ruled).await - before;
    assert!((1.0..5.0).contains(&more), "one resource is looked at, not six: {more} passes");
}

/// The number of reconciles so far.
async fn passes(ruled: &mut Ruled<'_>) -> f64 {
    let operator = ruled.operator.as_mut().unwrap();
    operator.metric("ccr_reconciles_total", &[("result", "success")]).await.unwrap().unwrap_or_default()
}
