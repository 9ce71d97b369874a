//! An unavailable namespace of `--namespaces` does not delay the others, and is served when it becomes available.
//! `--concurrency` counts over all namespaces.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, PostParams};
use operator_testing::operator::Operator;
use operator_testing::proxy::{Fault, FaultProxy, Rule};
use operator_testing::wait::eventually;
use serde_json::json;

use crate::faults::{World, started};

/// A generous limit for the retry of each namespace, which comes within a minute.
const AGAIN: Duration = Duration::from_secs(75);

/// Grants the ServiceAccount of one world the operator's permissions in another namespace.
async fn grant(world: &World<'_>, namespace: &str) {
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": { "name": "of-another", "namespace": namespace },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": crate::ground::ACCOUNT },
        "subjects": [{ "kind": "ServiceAccount", "name": crate::ground::ACCOUNT, "namespace": world.namespace }],
    });
    world.control_plane.apply_yaml(&binding.to_string()).await.unwrap();
}

async fn until_unavailable(operator: &mut Operator, count: f64) {
    eventually(AGAIN, &format!("{count} namespaces are unavailable"), async || {
        let unavailable = operator.metric("ccr_namespaces_unavailable", &[]).await.unwrap();
        if unavailable == Some(count) { Ok(()) } else { Err(format!("{unavailable:?}")) }
    })
    .await;
}

#[tokio::test]
async fn a_missing_and_a_forbidden_namespace_delay_nothing_and_are_served_later() {
    let (world, forbidden) = (World::new("served").await, World::new("forbidden").await);
    let missing = format!("{}-missing", world.namespace);
    let namespaces = [&world.namespace, &forbidden.namespace, &missing].map(String::as_str);
    let mut operator = started(&world.builder().env("CCR_NAMESPACES", namespaces.join(","))).await;
    world.mirrored("one", true).await;
    until_unavailable(&mut operator, 2.0).await;
    forbidden.mirrored("two", false).await;
    // The wait is longer than several attempts.
    tokio::time::sleep(Duration::from_secs(8)).await;
    for namespace in &namespaces[1..] {
        let reported =
            |line: &String| line.contains("not allow the operator to list and watch") && line.contains(namespace);
        let lines: Vec<_> = operator.logs().into_iter().filter(reported).collect();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("which may not exist"), "{lines:?}");
    }

    grant(&world, &forbidden.namespace).await;
    let resource = json!({ "metadata": { "name": missing } });
    let all: Api<Namespace> = Api::all(world.client.clone());
    all.create(&PostParams::default(), &serde_json::from_value(resource).unwrap()).await.unwrap();
    grant(&world, &missing).await;
    until_unavailable(&mut operator, 0.0).await;
    // The certificate is in the other world's API Gateway. A condition is enough to show that the resource is served.
    eventually(AGAIN, "the resource in the namespace is served", async || {
        forbidden.conditions("two").await.contains_key("Ready")
    })
    .await;
    for namespace in &namespaces[1..] {
        operator
            .wait_for_log(&format!("watch on clientcertificaterefs in the namespace {namespace} recovered"))
            .await
            .unwrap();
    }
    world.mirrored("three", true).await;
}

#[tokio::test]
async fn a_namespace_with_revoked_rights_is_counted_and_the_others_continue() {
    let (world, other) = (World::new("kept").await, World::new("revoked").await);
    grant(&world, &other.namespace).await;
    let namespaces = format!("{},{}", world.namespace, other.namespace);
    let mut operator = started(&world.builder().env("CCR_NAMESPACES", namespaces)).await;
    until_unavailable(&mut operator, 0.0).await;
    let bindings: Api<k8s_openapi::api::rbac::v1::RoleBinding> =
        Api::namespaced(world.client.clone(), &other.namespace);
    bindings.delete("of-another", &Default::default()).await.unwrap();
    until_unavailable(&mut operator, 1.0).await;
    assert_eq!(operator.get("/readyz").await.unwrap().0, 200);
    world.mirrored("one", true).await;
    grant(&world, &other.namespace).await;
    until_unavailable(&mut operator, 0.0).await;
}

#[tokio::test]
async fn concurrency_applies_to_all_namespaces_together() {
    const DELAY: Duration = Duration::from_millis(700);
    let (world, other) = (World::new("together").await, World::new("together").await);
    grant(&world, &other.namespace).await;
    let proxy = FaultProxy::start(world.control_plane).await.unwrap();
    let namespaces = format!("{},{}", world.namespace, other.namespace);
    let builder = world.builder_through(&proxy).await.arg("--concurrency=1").env("CCR_NAMESPACES", namespaces);
    let _operator = started(&builder).await;
    for id in ["one", "two"] {
        world.certificate(id);
    }
    let delayed = proxy.inject(Rule::new(Fault::Delay(DELAY)).verb("create").resource("secrets").always());
    for id in ["one", "two"] {
        let spec = json!({ "clientCertificateId": id });
        world.create(id, spec.clone()).await;
        other.create(id, spec).await;
    }
    eventually(AGAIN, "all are created", async || delayed.hits() == 4).await;
    eventually(AGAIN, "all are answered", async || proxy.seen().iter().filter(|seen| seen.injected).count() == 4).await;
    let mut times: Vec<_> = proxy.seen().into_iter().filter(|seen| seen.injected).map(|seen| seen.time).collect();
    times.sort();
    for pair in times.windows(2) {
        let apart = Duration::try_from(pair[1].duration_since(pair[0])).unwrap();
        assert!(apart >= DELAY, "two at once: {times:?}");
    }
}
