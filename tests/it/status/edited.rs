//! A status that another writer edits or deletes: the operator restores it at once from AWS, the spec and the target.

use client_certificate_operator::api::ClientCertificateRefStatus;
use kube::api::{Patch, PatchParams};
use operator_testing::certificates::{NewCertificate, issue};
use operator_testing::emulator::Fault;
use operator_testing::wait::{eventually, never};
use serde_json::{Value, json};

use crate::fixture::{A_WHILE, ID, SOON, World, conditions, data};

async fn write(world: &World<'_>, name: &str, status: Value) {
    let patch = Patch::Merge(json!({ "status": status }));
    world.resources().patch_status(name, &PatchParams::default(), &patch).await.unwrap();
}

async fn until_status(world: &World<'_>, name: &str, expected: &ClientCertificateRefStatus) {
    eventually(SOON, &format!("the status of {name} is back"), async || {
        let status = world.resource(name).await.status;
        let but_for_times = |status: &ClientCertificateRefStatus| {
            let mut status = status.clone();
            status.conditions.iter_mut().for_each(|c| c.last_transition_time.0 = jiff::Timestamp::UNIX_EPOCH);
            // Only the status has this time, so the soak begins again.
            status.certificates.iter_mut().for_each(|held| held.trusted_since = None);
            status
        };
        let found = status.as_ref().map(but_for_times);
        if found == Some(but_for_times(expected)) { Ok(()) } else { Err(format!("{found:#?}")) }
    })
    .await;
}

const WIPED: [&str; 3] = ["wiped", "certificates", "conditions"];

fn edits() -> [(&'static str, Value); 3] {
    let wiped = json!({
        "certificates": null, "conditions": null, "target": null, "observedGeneration": null, "installation": null,
        "clientCertificateId": null, "expirationDate": null, "verifierClass": null, "lastHandledRefresh": null,
    });
    [("wiped", wiped), ("certificates", json!({ "certificates": [] })), ("conditions", json!({ "conditions": [] }))]
}

#[tokio::test]
async fn a_wiped_status_is_restored_at_once_and_no_target_is_written() {
    let world = World::start("wiped").await;
    let mut before = Vec::new();
    for name in WIPED {
        before.push(world.create_ready(name, json!({})).await.status.unwrap());
    }
    let writes = world.target_writes();
    for ((name, edit), before) in edits().into_iter().zip(&before) {
        write(&world, name, edit).await;
        until_status(&world, name, before).await;
    }
    assert_eq!(world.target_writes(), writes);
    let all = world.all_writes().len();
    never(A_WHILE, "something more is written", async || Some(world.all_writes().len()).filter(|now| *now > all)).await;
}

#[tokio::test]
async fn a_status_that_is_wiped_while_the_operator_is_down_is_restored_at_the_start() {
    let mut world = World::start("wiped-down").await;
    let mut before = Vec::new();
    for name in WIPED {
        before.push(world.create_ready(name, json!({})).await.status.unwrap());
    }
    let writes = world.target_writes();
    world.stop_operator().await;
    for (name, edit) in edits() {
        write(&world, name, edit).await;
    }
    world.start_operator().await;
    for (name, before) in WIPED.into_iter().zip(&before) {
        until_status(&world, name, before).await;
    }
    assert_eq!(world.target_writes(), writes);
}

#[tokio::test]
async fn a_forged_certificate_reaches_no_target() {
    let mut world = World::start("forged").await;
    world.create_ready("payments", json!({})).await;
    let pem = world.pem(ID);
    let forged = issue(NewCertificate::new().id("forged").shared_key()).certificate.pem.replace("\r\n", "\n") + "\n";
    let mut entry = serde_json::to_value(&world.resource("payments").await.status.unwrap().certificates[0]).unwrap();
    entry["pem"] = json!(forged);
    let forge = json!({ "certificates": [entry] });
    // If AWS answers, its answer counts.
    write(&world, "payments", forge.clone()).await;
    eventually(SOON, "the status is right again", async || {
        let resource = world.resource("payments").await;
        let is_right = resource.status.as_ref().unwrap().certificates[0].pem.as_ref() == Some(&pem);
        is_right.then_some(()).ok_or(conditions(&resource).join("; "))
    })
    .await;
    assert_eq!(data(&world.target("payments").await, "ca.crt"), Some(pem.as_str()));
    // If AWS does not answer, the operator rejects an entry whose fingerprint is not that of its PEM.
    world.stop_operator().await;
    world.emulator.inject(Fault::error(500, "InternalFailure", "down"));
    write(&world, "payments", forge).await;
    world.start_operator().await;
    never(A_WHILE, "the forged certificate is written", async || {
        let target = world.target("payments").await;
        Some(data(&target, "ca.crt").map(str::to_owned)).filter(|found| found.as_ref() != Some(&pem))
    })
    .await;
}
