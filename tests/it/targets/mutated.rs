//! Admission policies that change the operator's writes: the status names the field, the operator retries, and recovers
//! after the policy is deleted.

use std::time::Duration;

use client_certificate_operator::api::{MANAGED_LABEL, OWNER_ANNOTATION};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ObjectMeta, PostParams};
use operator_testing::wait::{eventually, never};
use serde_json::json;

use crate::fixture::{ID, MINUTES, SOON, World, condition, conditions, data};

const POLICY: &str = r#"apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: NAME}
spec:
  failurePolicy: Fail
  reinvocationPolicy: Never
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAMESPACE}}
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [OPERATIONS], resources: [secrets]}]
  matchConditions:
  - {name: named, expression: "object.metadata.name == 'NAME' || object.metadata.name.startsWith('probe-NAME-')"}
  mutations:
  - patchType: JSONPatch
    jsonPatch: {expression: "EXPRESSION"}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: NAME}
spec: {policyName: NAME}
"#;

/// A policy, by the name of the resource and Secret that it changes.
struct Policy {
    name: &'static str,
    operations: &'static str,
    expression: String,
    /// The field in the condition.
    field: &'static str,
}

fn policies() -> Vec<Policy> {
    let label = MANAGED_LABEL.replace('/', "~1");
    let owner = OWNER_ANNOTATION.replace('/', "~1");
    let policy = |name, expression: String, field| Policy { name, operations: "CREATE, UPDATE", expression, field };
    vec![
        policy("data", "[JSONPatch{op: 'replace', path: '/data/ca.crt', value: 'YQ=='}]".into(), "data"),
        policy("key", "[JSONPatch{op: 'add', path: '/data/more', value: 'YQ=='}]".into(), "data"),
        policy("one-of-two", "[JSONPatch{op: 'remove', path: '/data/pins'}]".into(), "data"),
        policy("label", format!("[JSONPatch{{op: 'remove', path: '/metadata/labels/{label}'}}]"), MANAGED_LABEL),
        policy(
            "annotation",
            format!("[JSONPatch{{op: 'remove', path: '/metadata/annotations/{owner}'}}]"),
            OWNER_ANNOTATION,
        ),
        policy(
            "owner",
            "[JSONPatch{op: 'remove', path: '/metadata/ownerReferences'}]".into(),
            "metadata.ownerReferences",
        ),
        Policy {
            operations: "UPDATE",
            ..policy("update", "[JSONPatch{op: 'replace', path: '/data/ca.crt', value: 'YQ=='}]".into(), "data")
        },
    ]
}

async fn put_in_force(world: &World<'_>, policy: &Policy) {
    let name = format!("{}-{}", world.namespace, policy.name);
    let yaml = POLICY
        .replace("metadata: {name: NAME}", &format!("metadata: {{name: {name}}}"))
        .replace("policyName: NAME}", &format!("policyName: {name}}}"))
        .replace("NAMESPACE", &world.namespace)
        .replace("OPERATIONS", policy.operations)
        .replace("NAME", policy.name)
        .replace("EXPRESSION", &policy.expression);
    world.control_plane.apply_yaml(&yaml).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), &world.namespace);
    let owner = ConfigMap {
        metadata: ObjectMeta { name: Some(format!("owner-{}", policy.name)), ..ObjectMeta::default() },
        ..ConfigMap::default()
    };
    let owner = maps.create(&PostParams::default(), &owner).await.unwrap();
    // The API server needs a moment to apply the policy. A change of an object like a target shows that it does.
    let mut number = 0;
    eventually(SOON, &format!("the policy {name} is in force"), async || {
        number += 1;
        let fields = json!({
            "metadata": {
                "labels": { MANAGED_LABEL: "probe" },
                "annotations": { OWNER_ANNOTATION: "probe" },
                "ownerReferences": [{ "apiVersion": "v1", "kind": "ConfigMap", "name": owner.name_any(), "uid": owner.uid() }],
            },
            "stringData": { "ca.crt": "probe", "pins": "probe" },
        });
        let probe = format!("probe-{}-{number}", policy.name);
        let mut stored = world.create_object(&probe, fields).await;
        if policy.operations == "UPDATE" {
            stored = world.patch_target(&probe, json!({ "metadata": { "labels": { "touched": "yes" } } })).await;
        }
        let intact = data(&stored, "ca.crt") == Some("probe")
            && data(&stored, "pins") == Some("probe")
            && data(&stored, "more").is_none()
            && stored.labels().contains_key(MANAGED_LABEL)
            && stored.annotations().contains_key(OWNER_ANNOTATION)
            && !stored.owner_references().is_empty()
            && !stored.labels().contains_key("theirs");
        (!intact).then_some(()).ok_or("not yet")
    })
    .await;
}

async fn lift(world: &World<'_>, policy: &Policy) {
    let kind = ApiResource {
        group: "admissionregistration.k8s.io".into(),
        version: "v1".into(),
        api_version: "admissionregistration.k8s.io/v1".into(),
        kind: "MutatingAdmissionPolicyBinding".into(),
        plural: "mutatingadmissionpolicybindings".into(),
    };
    let bindings: Api<DynamicObject> = Api::all_with(world.client.clone(), &kind);
    bindings.delete(&format!("{}-{}", world.namespace, policy.name), &DeleteParams::default()).await.unwrap();
}

#[tokio::test]
async fn a_change_of_a_target_by_a_policy_is_reported_even_after_a_restart_until_the_policy_is_deleted() {
    let mut world = World::start("mutated").await;
    let policies = policies();
    for policy in policies.iter().filter(|policy| policy.operations == "UPDATE") {
        world.create_ready(policy.name, json!({})).await;
    }
    for policy in &policies {
        put_in_force(&world, policy).await;
    }
    for policy in &policies {
        match policy.operations {
            "UPDATE" => {
                world.patch(policy.name, json!({ "spec": { "target": { "labels": { "team": "a" } } } })).await;
            }
            _ => {
                let keys = json!({ "target": { "keys": { "ca.crt": "Bundle", "pins": "Sha256Pins" } } });
                world.create(policy.name, keys).await;
            }
        }
    }
    for policy in &policies {
        let resource = world.until(policy.name, "TargetWritten", "False", "Mutated").await;
        let message = &condition(&resource, "TargetWritten").unwrap().message;
        assert!(message.contains(policy.field) && message.contains("admission policy"), "{message}");
        assert!(!message.contains("YQ=="), "{message}");
        world.until(policy.name, "Ready", "False", "Mutated").await;
        assert!(condition(&resource, "Stalled").is_none(), "the policy may go: {:?}", conditions(&resource));
    }
    // The operator retries with backoff.
    let before = world.target_writes().len();
    never(Duration::from_secs(8), "retries do not slow down", async || {
        let writes = world.target_writes().len() - before;
        (writes > 6 * policies.len()).then_some(writes)
    })
    .await;

    world.stop_operator().await;
    world.start_operator().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    for policy in &policies {
        world.until(policy.name, "TargetWritten", "False", "Mutated").await;
    }
    for policy in &policies {
        lift(&world, policy).await;
    }
    let pem = world.pem(ID);
    for policy in &policies {
        let is_right = |secret: &Secret| {
            data(secret, "ca.crt") == Some(&pem)
                && (policy.operations == "UPDATE" || data(secret, "pins").is_some())
                && secret.labels().contains_key(MANAGED_LABEL)
        };
        world.until_target(MINUTES, policy.name, "is as it was sent", is_right).await;
        eventually(MINUTES, &format!("{} is ready", policy.name), async || {
            let now = conditions(&world.resource(policy.name).await);
            now.iter().any(|one| one.starts_with("Ready=True")).then_some(()).ok_or(now.join("; "))
        })
        .await;
    }
}

#[tokio::test]
async fn additions_of_a_policy_to_other_fields_are_ignored() {
    let world = World::start("added").await;
    let policy = Policy {
        name: "payments",
        operations: "CREATE, UPDATE",
        expression: "[JSONPatch{op: 'add', path: '/metadata/labels/theirs', value: 'yes'}]".into(),
        field: "",
    };
    put_in_force(&world, &policy).await;
    world.create_ready("payments", json!({})).await;
    assert_eq!(world.target("payments").await.labels().get("theirs").map(String::as_str), Some("yes"));
    let writes = world.all_writes().len();
    never(Duration::from_secs(3), "anything more is written", async || {
        Some(world.all_writes().len()).filter(|now| *now > writes + 1)
    })
    .await;
}
