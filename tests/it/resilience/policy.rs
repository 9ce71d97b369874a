//! An admission policy of the cluster that refuses our targets.

use kube::api::{Api, ApiResource, DeleteParams, DynamicObject};
use operator_testing::wait::eventually;
use serde_json::json;

use super::{LONG, makes_no_further_write};
use crate::faults::World;

const POLICY: &str = r#"apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: NAME}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [secrets, configmaps]}]
  validations: [{expression: "has(object.metadata.labels) && 'team' in object.metadata.labels", message: "every object needs the label team"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: NAME}
spec:
  policyName: NAME
  validationActions: [Deny]
  matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAME}}}
"#;

#[tokio::test]
async fn a_policy_that_refuses_targets_is_reported_with_its_message_and_its_remedy_works() {
    let world = World::new("policy").await;
    let mut operator = world.operator().await;
    world.mirrored("before", true).await;
    let good = world.target("before").await;
    world.control_plane.apply_yaml(&POLICY.replace("NAME", &world.namespace)).await.unwrap();
    // The API server needs a moment to apply a policy. Until then it accepts targets.
    let mut number = 0;
    let refused = eventually(LONG, "a target is refused", async || {
        number += 1;
        let (secret, map) = (format!("secret{number}"), format!("map{number}"));
        for (name, kind) in [(&secret, "Secret"), (&map, "ConfigMap")] {
            world.certificate(name);
            world.create(name, json!({ "clientCertificateId": name, "target": { "kind": kind } })).await;
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        for name in [&secret, &map] {
            let conditions = world.conditions(name).await;
            let Some(written) = conditions.get("TargetWritten").filter(|written| written.status == "False") else {
                return Err("not yet in force".to_owned());
            };
            assert_eq!((written.reason.as_str(), conditions["Ready"].reason.as_str()), ("Refused", "Refused"));
            assert!(written.message.contains("every object needs the label team"), "{}", written.message);
        }
        Ok([secret, map])
    })
    .await;
    operator.wait_for_log("every object needs the label team").await.unwrap();

    // The policy also refuses a change of the existing target, which stays unchanged.
    let generation = world.change("before", json!({ "target": { "labels": { "tier": "edge" } } })).await;
    world.wait_for("before", "TargetWritten", "False Refused", generation).await;
    assert_eq!(world.target("before").await, good);

    for name in &refused {
        let generation = world.change(name, json!({ "target": { "labels": { "team": "edge" } } })).await;
        world.wait_ready(name, generation).await;
    }
    let kind = ApiResource {
        group: "admissionregistration.k8s.io".into(),
        version: "v1".into(),
        api_version: "admissionregistration.k8s.io/v1".into(),
        kind: "ValidatingAdmissionPolicyBinding".into(),
        plural: "validatingadmissionpolicybindings".into(),
    };
    let bindings: Api<DynamicObject> = Api::all_with(world.client.clone(), &kind);
    bindings.delete(&world.namespace, &DeleteParams::default()).await.unwrap();
    makes_no_further_write(&world, &refused[0]).await;
}
