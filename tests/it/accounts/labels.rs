//! Rules for namespaces by their labels, which change under a running operator.

use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use operator_testing::control_plane::ControlPlane;
use operator_testing::emulator::{DEFAULT_REGION, NewRole};
use operator_testing::script::Operation::AssumeRole;
use operator_testing::wait::never;
use serde_json::{Value, json};

use super::{ROLE, Ruled, by};
use crate::fixture::{A_WHILE, ID, World};
use crate::ground::{ACCOUNT, install, started};

const BY_LABEL: &str = "rules: [{name: trusted, namespaceSelector: {matchLabels: {team: pay}}, roles: ['arn:aws:iam::444455556666:role/*']}]";

/// Gives the operator its rights in the whole cluster, as an installation does.
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
async fn a_label_gives_a_role_and_takes_it_away_at_once() {
    // Its own control plane: this operator reconciles every resource in it.
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
    // A label from before the start counts, and a namespace without is refused.
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
async fn selectors_that_come_with_a_later_file_are_followed_too() {
    let control_plane = ControlPlane::start().await.unwrap();
    install(&control_plane).await;
    let mut ruled = Ruled::of(World::on(&control_plane, "later").await, "");
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
