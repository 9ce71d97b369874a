//! The leader, and its changes.

use std::time::Duration;

use client_certificate_operator::api::ClientCertificateRef;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{Api, DeleteParams, Patch};
use operator_testing::certificates::NewCertificate;
use operator_testing::emulator::DEFAULT_REGION;
use operator_testing::private_ca::{NewLeaf, PrivateCa};
use operator_testing::proxy::{Fault, Rule};
use operator_testing::script::Operation;
use operator_testing::wait::{eventually, never};
use serde_json::json;

use super::{LEASE, Replicas, prepare_election};
use crate::fixture::{A_WHILE, ID, SOON, data};
use crate::ground::source;

/// The promised limit for the replacement of a leader.
const REPLACED_WITHIN: Duration = Duration::from_secs(20);

#[tokio::test]
async fn one_replica_leads_and_the_other_is_a_ready_standby() {
    let world = Replicas::new("two").await;
    let mut a = world.start("a").await;
    world.until_held_by("a").await;
    let mut b = world.start("b").await;
    world.create_ready("payments", json!({ "description": "ours" })).await;
    assert!(a.leads().await && !b.leads().await);
    let writes = b.writes();
    assert!(writes.is_empty(), "{writes:?}");
    b.operator.wait_for_log("another replica leads; waiting for the Lease").await.unwrap();
    let spec = world.lease().await.unwrap().spec.unwrap();
    assert_eq!((spec.lease_duration_seconds, spec.lease_transitions), (Some(15), Some(1)));
}

#[tokio::test]
async fn a_leader_that_stops_releases_the_lease_and_the_other_takes_over() {
    let world = Replicas::new("stops").await;
    let mut a = world.start("a").await;
    world.until_held_by("a").await;
    world.create_ready("payments", json!({})).await;
    let mut b = world.start("b").await;

    assert_eq!(a.operator.terminate(SOON).await.unwrap().code, Some(0));
    a.operator.wait_for_log("released the Lease").await.unwrap();
    world.until_held_by("b").await;
    let spec = world.lease().await.unwrap().spec.unwrap();
    assert_eq!(spec.lease_transitions, Some(2));
    b.until_it_leads().await;
    world.secrets().delete("payments", &DeleteParams::default()).await.unwrap();
    world.until_target(SOON, "payments", "it is back", |_| true).await;
    let ours = b.writes().into_iter().filter(|seen| seen.request.resource == "secrets").count();
    assert_eq!(ours, 1, "{:?}", b.writes());
}

#[tokio::test]
async fn a_killed_leader_is_replaced_and_changes_in_the_meantime_are_repaired() {
    let world = Replicas::new("killed").await;
    let mut a = world.start("a").await;
    world.until_held_by("a").await;
    world.create_ready("payments", json!({})).await;
    world.create_ready("ledger", json!({})).await;
    let mut b = world.start("b").await;

    a.operator.kill().unwrap();
    world.secrets().delete("payments", &DeleteParams::default()).await.unwrap();
    world.patch_target("ledger", json!({ "stringData": { "ca.crt": "of another writer" } })).await;
    eventually(REPLACED_WITHIN, "another leads", async || world.holder().await.as_deref() == Some("b")).await;
    world.until_target(SOON, "payments", "it is back", |_| true).await;
    let expected = world.pem(crate::fixture::ID).into_bytes();
    world
        .until_target(SOON, "ledger", "it holds the certificate", |secret| {
            secret.data.as_ref().is_some_and(|data| data["ca.crt"].0 == expected)
        })
        .await;
    assert!(b.leads().await);
}

#[tokio::test]
async fn a_soak_continues_under_the_next_leader() {
    let world = Replicas::new("soak").await;
    world.generate(NewCertificate::new().id("k2c0qe").tag("app", "payments"));
    let mut a = world.start("a").await;
    world.until_held_by("a").await;
    let mut b = world.start("b").await;
    let spec = json!({
        "additionalClientCertificateTags": { "app": "payments" },
        "soak": "25s",
        "target": { "keys": { "pins": "Sha256Pins" } },
    });
    let resource = world.create_ready("payments", spec).await;
    let new = |resource: &ClientCertificateRef| {
        let held = resource.status.iter().flat_map(|status| &status.certificates);
        held.clone().find(|held| held.id == "k2c0qe").map(|held| (held.trusted_since, held.safe_to_switch))
    };
    let (since, is_safe) = new(&resource).unwrap();
    assert!(since.is_some() && is_safe == Some(false));

    a.operator.kill().unwrap();
    eventually(REPLACED_WITHIN, "another leads", async || world.holder().await.as_deref() == Some("b")).await;
    let resource = world.until("payments", "SafeToSwitch", "True", "Soaked").await;
    assert_eq!(new(&resource), Some((since, Some(true))), "the soak did not begin again");
    assert!(b.leads().await);
}

#[tokio::test]
async fn the_former_leaf_of_acm_stays_under_the_next_leader() {
    let world = Replicas::new("former-leaf").await;
    let mut a = world.start("a").await;
    world.until_held_by("a").await;
    let ca = PrivateCa::root("Payments Root");
    let leaves = [(); 3].map(|()| ca.issue(NewLeaf::new("api.example.com")));
    let arn = world.emulator.import_acm(DEFAULT_REGION, leaves[0].clone());
    let pins = json!({ "keys": { "pins": "Sha256Pins" } });
    world.create_resource("payments", json!({ "acmCertificateArn": arn, "overlap": "1h", "target": pins })).await;
    world.until_ready("payments").await;
    let pins = async |count: usize| {
        let has = |secret: &Secret| data(secret, "pins").is_some_and(|pins| pins.lines().count() == count);
        world.until_target(SOON, "payments", &format!("{count} pins"), has).await
    };
    world.emulator.put_acm(&arn, leaves[1].clone());
    world.refresh("payments").await;
    pins(2).await;

    // The next leader has seen neither the first leaf nor the second one.
    let mut b = world.start("b").await;
    world.emulator.put_acm(&arn, leaves[2].clone());
    a.operator.kill().unwrap();
    eventually(REPLACED_WITHIN, "another leads", async || world.holder().await.as_deref() == Some("b")).await;
    pins(3).await;
    assert!(b.leads().await);
}

#[tokio::test]
async fn a_leader_that_cannot_renew_stops_writing_and_continues_after_a_renewal() {
    let world = Replicas::new("renew").await;
    let mut a = world.start("a").await;
    world.until_held_by("a").await;
    world.create_ready("payments", json!({})).await;

    a.proxy.inject(Rule::new(Fault::unavailable()).resource("leases").always());
    a.operator.wait_for_log("lost the leadership").await.unwrap();
    assert!(!a.leads().await);
    let before = a.writes().len();
    world.secrets().delete("payments", &DeleteParams::default()).await.unwrap();
    never(A_WHILE, "a write of one that does not lead", async || a.writes().into_iter().nth(before)).await;

    a.proxy.clear();
    world.until_target(SOON, "payments", "it is back", |_| true).await;
    assert!(a.leads().await);
}

#[tokio::test]
async fn a_resource_that_is_deleted_while_its_reconcile_waits_for_a_late_renewal_is_not_read() {
    let world = Replicas::new("late-renewal").await;
    let mut a = world.start("a").await;
    world.until_held_by("a").await;
    // No write may begin 4 s after the last renewal, and the Lease ends after 15 s.
    let late = a.proxy.inject(Rule::new(Fault::unavailable()).resource("leases").always());
    eventually(SOON, "the renewal fails", async || late.hits() > 0).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.create("payments", json!({ "refreshInterval": "30s" })).await;
    // The reconcile begins, and waits.
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.resources().delete("payments", &DeleteParams::default()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    a.proxy.clear();
    assert!(a.leads().await);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = world.emulator.calls().len();
    never(Duration::from_secs(40), "a call for a deleted resource", async || {
        world.emulator.calls().into_iter().nth(before)
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_leads_again_makes_no_call_meanwhile_and_decides_by_the_status() {
    let world = Replicas::new("leads-again").await;
    let mut a = world.start("a").await;
    world.until_held_by("a").await;
    world.create_ready("payments", json!({ "description": "ours", "refreshInterval": "30s" })).await;
    world.until("payments", "DescriptionSynced", "True", "Synced").await;
    assert_eq!(world.emulator.count(Operation::Update), 1);

    a.proxy.inject(Rule::new(Fault::unavailable()).resource("leases").always());
    a.operator.wait_for_log("lost the leadership").await.unwrap();
    tokio::time::sleep(A_WHILE).await;
    let calls = world.emulator.calls().len();
    // Another leader finds that another writer keeps changing the description.
    assert!(world.emulator.set_description(&source(ID), "theirs"));
    let mut status = world.resource("payments").await.status.unwrap();
    let synced = status.conditions.iter_mut().find(|condition| condition.type_ == "DescriptionSynced").unwrap();
    (synced.status, synced.reason) = ("False".to_owned(), "Contested".to_owned());
    let patch = Patch::Merge(json!({ "status": { "conditions": status.conditions } }));
    world.resources().patch_status("payments", &Default::default(), &patch).await.unwrap();
    never(Duration::from_secs(40), "a call of a replica that does not lead", async || {
        world.emulator.calls().into_iter().nth(calls)
    })
    .await;

    a.proxy.clear();
    a.until_it_leads().await;
    eventually(SOON, "the certificate is read", async || world.emulator.calls().len() > calls).await;
    never(Duration::from_secs(5), "an update of a contested description", async || {
        let updates = world.emulator.count(Operation::Update);
        (updates > 1).then_some(updates)
    })
    .await;
    world.until("payments", "DescriptionSynced", "False", "Contested").await;
}

#[tokio::test]
async fn a_leader_with_a_silent_network_is_replaced_and_becomes_a_standby() {
    let world = Replicas::new("silent").await;
    let mut a = world.start("a").await;
    world.until_held_by("a").await;
    world.create_ready("payments", json!({})).await;
    let mut b = world.start("b").await;

    a.proxy.silence_connections();
    a.proxy.inject(Rule::new(Fault::Silence).always());
    eventually(REPLACED_WITHIN, "another leads", async || world.holder().await.as_deref() == Some("b")).await;
    a.operator.wait_for_log("lost the leadership").await.unwrap();
    world.secrets().delete("payments", &DeleteParams::default()).await.unwrap();
    world.until_target(SOON, "payments", "it is back", |_| true).await;
    assert!(b.leads().await && !a.leads().await);
    assert_eq!(a.operator.get("/healthz").await.unwrap().0, 200);

    let before = a.writes().len();
    a.proxy.clear();
    a.operator.wait_for_log("another replica leads; waiting for the Lease").await.unwrap();
    never(A_WHILE, "a write of one that does not lead", async || a.writes().into_iter().nth(before)).await;
}

#[tokio::test]
async fn a_leader_with_silent_connections_continues_over_new_ones() {
    let world = Replicas::new("new-connections").await;
    let mut a = world.start("a").await;
    world.until_held_by("a").await;
    a.proxy.silence_connections();
    // The wait is as long as another replica would need to take the Lease.
    tokio::time::sleep(REPLACED_WITHIN).await;
    assert!(a.leads().await);
    assert!(!a.operator.logs().iter().any(|line| line.contains("lost the leadership")));
    world.create("payments", json!({})).await;
    world.until_target(Duration::from_secs(75), "payments", "it is there", |_| true).await;
}

#[tokio::test]
async fn a_deleted_lease_is_requested_and_acquired_after_its_restoration() {
    let world = Replicas::new("deleted").await;
    let mut a = world.start("a").await;
    world.until_held_by("a").await;
    let leases: Api<Lease> = Api::namespaced(world.client.clone(), &world.namespace);
    leases.delete(LEASE, &DeleteParams::default()).await.unwrap();
    let line = a.operator.wait_for_log("not allow the operator to create").await.unwrap();
    assert!(line.contains("apply the chart"), "{line}");
    prepare_election(&world).await;
    world.until_held_by("a").await;
    world.create_ready("payments", json!({})).await;
}

#[tokio::test]
async fn without_the_right_on_leases_no_replica_leads_and_the_log_names_the_right() {
    let world = Replicas::new("forbidden").await;
    let bindings: Api<RoleBinding> = Api::namespaced(world.client.clone(), &world.namespace);
    bindings.delete("leader-election", &DeleteParams::default()).await.unwrap();
    let mut a = world.start("a").await;
    let line = a.operator.wait_for_log("not allow the operator to get Lease").await.unwrap();
    assert!(line.contains(&world.namespace) && line.contains("grant it to the operator's ServiceAccount"), "{line}");
    assert!(!a.leads().await);
    prepare_election(&world).await;
    world.create_ready("payments", json!({})).await;
}
