//! Each of the operator's permissions is revoked: the log names the permission, and also a condition, if it can be
//! written.

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use operator_testing::operator::Operator;
use operator_testing::wait::eventually;
use serde_json::{Value, json};

use crate::faults::{SOON, World};
use crate::ground::ACCOUNT;

/// The operator's permissions in a namespace: group, resource and verbs.
const RIGHTS: [(&str, &str, &[&str]); 5] = [
    ("apigateway.clientcert.dev", "clientcertificaterefs", &["get", "list", "watch"]),
    ("apigateway.clientcert.dev", "clientcertificaterefs/status", &["update", "patch"]),
    ("", "secrets", &["get", "list", "watch", "create", "update", "delete"]),
    ("", "configmaps", &["get", "list", "watch", "create", "update", "delete"]),
    ("events.k8s.io", "events", &["create", "patch"]),
];

/// All permissions except one.
fn all_but(resource: &str, verb: &str) -> Value {
    let rules: Vec<Value> = RIGHTS
        .iter()
        .map(|(group, of, verbs)| {
            let verbs: Vec<&&str> = verbs.iter().filter(|other| (*of, **other) != (resource, verb)).collect();
            json!({ "apiGroups": [group], "resources": [of], "verbs": verbs })
        })
        .filter(|rule| rule["verbs"] != json!([]))
        .collect();
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": { "name": "rest" },
        "rules": rules,
    })
}

/// A world whose operator has all permissions except one.
async fn without(resource: &str, verb: &str) -> World<'static> {
    let world = World::new("right").await;
    let bindings: Api<RoleBinding> = Api::namespaced(world.client.clone(), &world.namespace);
    bindings.delete(ACCOUNT, &DeleteParams::default()).await.unwrap();
    let mut role = all_but(resource, verb);
    role["metadata"]["namespace"] = json!(world.namespace);
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": { "name": "rest", "namespace": world.namespace },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "rest" },
        "subjects": [{ "kind": "ServiceAccount", "name": ACCOUNT, "namespace": world.namespace }],
    });
    world.control_plane.apply_yaml(&format!("{role}\n---\n{binding}")).await.unwrap();
    world
}

async fn says(operator: &mut Operator, verb: &str, resource: &str) {
    let line = operator.wait_for_log("RBAC does not allow").await.unwrap();
    assert!(line.contains(verb) && line.contains(resource) && line.contains("grant it to"), "{line}");
}

#[tokio::test]
async fn without_a_right_that_the_start_needs_the_log_names_it_and_the_operator_is_not_ready() {
    for (resource, verb) in [
        ("clientcertificaterefs", "list"),
        ("clientcertificaterefs", "watch"),
        ("secrets", "list"),
        ("configmaps", "list"),
    ] {
        let world = without(resource, verb).await;
        let mut operator = world.builder().spawn().unwrap();
        says(&mut operator, verb, resource).await;
        if verb == "list" {
            assert_eq!(operator.get("/readyz").await.unwrap().0, 503, "{resource} {verb}");
        }
    }
}

#[tokio::test]
async fn without_the_right_to_watch_targets_the_log_names_it() {
    for resource in ["secrets", "configmaps"] {
        let world = without(resource, "watch").await;
        let mut operator = world.builder().spawn().unwrap();
        says(&mut operator, "watch", resource).await;
    }
}

#[tokio::test]
async fn without_a_right_on_targets_a_condition_names_it() {
    for (kind, resource) in [("Secret", "secrets"), ("ConfigMap", "configmaps")] {
        for verb in ["create", "update", "delete"] {
            let world = without(resource, verb).await;
            let mut operator = world.operator().await;
            world.certificate("one");
            world.create("one", json!({ "clientCertificateId": "one", "target": { "kind": kind } })).await;
            let generation = match verb {
                "update" => {
                    world.wait_ready("one", 1).await;
                    world.change("one", json!({ "target": { "labels": { "tier": "edge" } } })).await
                }
                "delete" => {
                    world.wait_ready("one", 1).await;
                    world.change("one", json!({ "target": { "name": "another" } })).await
                }
                _ => 1,
            };
            let conditions = eventually(SOON, &format!("a condition names {verb} {resource}"), async || {
                let conditions: BTreeMap<_, _> = world.conditions("one").await;
                let written = conditions.get("TargetWritten").cloned().ok_or("nothing is reported of the target")?;
                let names = written.message.contains(&format!("not allow the operator to {verb} {resource}"));
                let of_now = written.observed_generation == Some(generation);
                if names && of_now { Ok(conditions) } else { Err(written.message) }
            })
            .await;
            assert!(conditions["TargetWritten"].message.contains("grant it to the operator's ServiceAccount"));
            says(&mut operator, verb, resource).await;
        }
    }
}

#[tokio::test]
async fn without_the_right_to_get_targets_a_condition_reports_a_change_by_another_writer() {
    let world = without("secrets", "get").await;
    let mut operator = world.operator().await;
    world.mirrored("one", true).await;
    let patch = Patch::Merge(json!({ "stringData": { "ca.crt": "edited" } }));
    world.secrets().patch("one", &PatchParams::default(), &patch).await.unwrap();
    let conditions = world.wait_for("one", "TargetWritten", "False Forbidden", 1).await;
    assert!(conditions["TargetWritten"].message.contains("not allow the operator to get secrets"), "{conditions:?}");
    says(&mut operator, "get", "secrets").await;
}

#[tokio::test]
async fn without_the_right_to_write_statuses_the_log_names_it_and_the_target_is_written() {
    let world = without("clientcertificaterefs/status", "update").await;
    let mut operator = world.operator().await;
    world.mirrored("one", false).await;
    says(&mut operator, "update", "clientcertificaterefs/status").await;
    world.wait_for_target("one", "one").await;
}

#[tokio::test]
async fn without_the_right_to_record_events_the_log_names_it_once_and_everything_else_continues() {
    for verb in ["create", "patch"] {
        let world = without("events", verb).await;
        let mut operator = world.operator().await;
        world.mirrored("one", true).await;
        // The same event happens twice. The second time, it is a series, which is a patch.
        for _ in 0..2 {
            world.secrets().delete("one", &DeleteParams::default()).await.unwrap();
            world.wait_for_target("one", "one").await;
            // The operator sees the restored target before the next deletion.
            world.wait_ready("one", 1).await;
        }
        says(&mut operator, verb, "events").await;
        let reported = operator.logs().into_iter().filter(|line| line.contains("could not record events")).count();
        assert_eq!(reported, 1);
    }
}
