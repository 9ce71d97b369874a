//! Changes of the cluster: the API server restarts, permissions are revoked and granted, a namespace is deleted.

use futures::future::join_all;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{Api, Patch};
use operator_testing::control_plane::ControlPlane;
use operator_testing::wait::{eventually, never};
use serde_json::json;

use super::{Goal, LONG, Step, makes_no_further_write};
use crate::faults::{SOON, World, install, started};

#[tokio::test]
async fn an_api_server_that_restarts_under_load_loses_nothing() {
    // This test needs another control plane, because other tests use the shared one.
    let control_plane = ControlPlane::start().await.unwrap();
    install(&control_plane).await;
    let world = World::on(&control_plane, "restart").await;
    let mut operator = world.operator().await;
    let ids: Vec<String> = (0..50).map(|number| format!("id{number}")).collect();
    join_all(ids.iter().map(async |id| {
        world.certificate(id);
        world.create(id, json!({ "clientCertificateId": id })).await;
    }))
    .await;

    // Half of the changes are in progress when the server stops. It is down long enough for watches to fail more than
    // once.
    let change = async |id: &String, round: String| {
        let patch = Patch::Merge(json!({ "spec": { "target": { "labels": { "round": round } } } }));
        world.resources().patch(id, &Default::default(), &patch).await
    };
    let load = async {
        for round in 0..20 {
            join_all(ids.iter().map(|id| change(id, format!("r{round}")))).await;
        }
    };
    let restart = async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        control_plane.restart_apiserver().await.unwrap();
    };
    futures::join!(load, restart);
    for id in &ids {
        eventually(SOON, "the last change is taken", async || change(id, "last".to_owned()).await).await;
    }
    for id in &ids {
        eventually(LONG, &format!("{id} is right"), async || {
            let resource = world.resources().get(id).await.map_err(|error| error.to_string())?;
            let status = resource.status.clone().unwrap_or_default();
            if status.observed_generation != resource.metadata.generation {
                return Err("its last spec is not seen".to_owned());
            }
            let secret = world.secrets().get(id).await.map_err(|error| error.to_string())?;
            let round = secret.metadata.labels.and_then(|labels| labels.get("round").cloned());
            if round.as_deref() == Some("last") { Ok(()) } else { Err(format!("its target is of {round:?}")) }
        })
        .await;
        let generation = world.resources().get(id).await.unwrap().metadata.generation.unwrap();
        world.wait_ready(id, generation).await;
        assert_eq!(world.target(id).await.unwrap().0, world.pem(id));
    }
    assert_eq!(operator.get("/healthz").await.unwrap().0, 200);
    makes_no_further_write(&world, "id7").await;
    // Both watches work again.
    world.secrets().delete("id3", &Default::default()).await.unwrap();
    world.wait_for_target("id3", "id3").await;
}

/// The operator's permissions except those on Secrets, so that the test can revoke the latter alone.
const REST: &str = r#"apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: rest, namespace: NAMESPACE}
rules:
- {apiGroups: [apigateway.clientcert.dev], resources: [clientcertificaterefs], verbs: [get, list, watch]}
- {apiGroups: [apigateway.clientcert.dev], resources: [clientcertificaterefs/status], verbs: [update, patch]}
- {apiGroups: [events.k8s.io], resources: [events], verbs: [create, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: rest, namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: rest}
subjects: [{kind: ServiceAccount, name: client-certificate-operator, namespace: NAMESPACE}]
"#;

#[tokio::test]
async fn revoked_rights_on_secrets_are_logged_once_and_waited_for() {
    let world = World::new("rights").await;
    let bindings: Api<RoleBinding> = Api::namespaced(world.client.clone(), &world.namespace);
    world.control_plane.apply_yaml(&REST.replace("NAMESPACE", &world.namespace)).await.unwrap();
    let operator = world.operator().await;
    let mut goal = Goal::of("one");
    goal.take(&world, Step::Create).await;
    goal.reached(&world, "at first").await;

    bindings.delete(crate::ground::ACCOUNT, &Default::default()).await.unwrap();
    goal.take(&world, Step::Delete).await;
    let conditions = world.wait_for("one", "TargetWritten", "False Forbidden", 1).await;
    let message = &conditions["TargetWritten"].message;
    assert!(message.contains("secrets") && message.contains("grant it to the operator's ServiceAccount"), "{message}");
    assert_eq!(conditions["Ready"].reason, "Forbidden");
    assert!(!conditions.contains_key("Stalled"), "the right may come back: {conditions:?}");
    assert_eq!(world.wait_for_event("one", "Forbidden").await, *message);
    let refused = || {
        let user = world.user();
        let requests = world.control_plane.requests(&user, Some(&world.namespace)).unwrap();
        requests.iter().filter(|request| request.code == 403).count()
    };
    eventually(SOON, "it tries again", async || refused() >= 3).await;
    let lines: Vec<_> = operator.logs().into_iter().filter(|line| line.contains("RBAC does not allow")).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    // The three writes are those for the mirror, the description, and the missing permission.
    assert_eq!(world.status_writes("one"), 3, "{:?}", world.writes());

    world.grant().await;
    goal.reached(&world, "when the rights are back").await;
    makes_no_further_write(&world, "one").await;
}

#[tokio::test]
async fn missing_rights_on_secrets_at_the_start_are_waited_for() {
    let world = World::new("no-rights").await;
    let bindings: Api<RoleBinding> = Api::namespaced(world.client.clone(), &world.namespace);
    world.control_plane.apply_yaml(&REST.replace("NAMESPACE", &world.namespace)).await.unwrap();
    bindings.delete(crate::ground::ACCOUNT, &Default::default()).await.unwrap();
    let mut goal = Goal::of("one");
    goal.take(&world, Step::Create).await;
    let mut operator = world.builder().spawn().unwrap();
    let line = operator.wait_for_log("not allow the operator to list and watch secrets").await.unwrap();
    assert!(line.contains(&world.namespace) && line.contains("deploy/install.yaml"), "{line}");
    assert_eq!(operator.get("/readyz").await.unwrap().0, 503);
    world.grant().await;
    operator.wait_ready().await.unwrap();
    goal.reached(&world, "when the rights are there").await;
    for resource in ["secrets", "configmaps"] {
        let reported = |line: &String| line.contains(&format!("not allow the operator to list and watch {resource} "));
        let lines: Vec<_> = operator.logs().into_iter().filter(reported).collect();
        assert_eq!(lines.len(), 1, "{lines:?}");
    }
}

#[tokio::test]
async fn a_deleted_namespace_ends_and_the_others_continue() {
    let world = World::new("survivor").await;
    let doomed = World::new("doomed").await;
    // The binding is cluster-wide, as in an installation, so it is not deleted with the namespace.
    let binding = format!(
        r#"apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: client-certificate-operator}}
subjects: [{{kind: ServiceAccount, name: client-certificate-operator, namespace: {namespace}}}]
"#,
        namespace = world.namespace
    );
    world.control_plane.apply_yaml(&binding).await.unwrap();
    let namespaces = format!("{},{}", world.namespace, doomed.namespace);
    let mut operator = started(&world.builder().env("CCR_NAMESPACES", namespaces)).await;
    for number in 0..10 {
        let id = format!("id{number}");
        world.certificate(&id);
        doomed.create(&id, json!({ "clientCertificateId": id })).await;
        doomed.wait_ready(&id, 1).await;
    }
    let all: Api<Namespace> = Api::all(world.client.clone());
    all.delete(&doomed.namespace, &Default::default()).await.unwrap();
    eventually(LONG, "the namespace is gone", async || all.get_opt(&doomed.namespace).await.unwrap().is_none()).await;
    let writes = || {
        let user = world.user();
        world.control_plane.writes_by(&user, Some(&doomed.namespace)).unwrap()
    };
    let before = writes().len();
    never(super::QUIET, "a write into a namespace that is gone", async || (writes().len() != before).then(&writes))
        .await;
    world.mirrored("after", true).await;
    assert_eq!(operator.get("/healthz").await.unwrap().0, 200);
}
