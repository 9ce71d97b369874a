//! Every error, as the first answer and after a good answer, each followed by another error and by success.

use std::collections::BTreeMap;

use futures::future::join_all;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use operator_testing::emulator::Fault;
use operator_testing::script::Operation;
use operator_testing::wait::eventually;
use serde_json::json;

use super::{GatewayFailure, all, check_message, is_message_of};
use crate::faults::{SOON, World};

fn is(conditions: &BTreeMap<String, Condition>, type_: &str) -> Option<String> {
    conditions.get(type_).map(|condition| format!("{} {}", condition.status, condition.reason))
}

/// Waits until the conditions of a resource show the failure, and checks all of them.
async fn expect_read_failure(world: &World<'_>, id: &str, failure: &GatewayFailure, generation: i64, has_target: bool) {
    let expected = format!("False {}", failure.reason);
    if has_target && failure.passes {
        // A transient failure changes no condition before it has lasted for the refresh interval.
        let conditions = world.wait_for(id, "CertificateRead", "True Read", generation).await;
        assert_eq!(is(&conditions, "Ready").unwrap(), "True Mirrored", "{id}");
        assert_eq!(is(&conditions, "TargetWritten").unwrap(), "True Written", "{id}");
        assert_eq!(is(&conditions, "Stalled"), None, "{id}");
        return;
    }
    // Until the answer comes, the conditions show the last failure, which may have the same reason.
    let conditions = eventually(SOON, &format!("{id} tells of {}", failure.name), async || {
        let conditions = world.wait_for(id, "CertificateRead", &expected, generation).await;
        let message = conditions["CertificateRead"].message.clone();
        if is_message_of(failure, id, "apigateway:GET", &message) { Ok(conditions) } else { Err(message) }
    })
    .await;
    check_message(failure, id, "apigateway:GET", &conditions["CertificateRead"].message);

    let ready = is(&conditions, "Ready").unwrap();
    assert_eq!(ready, expected, "{id}");
    assert_eq!(conditions["Ready"].observed_generation, Some(generation), "{id}");
    let written = is(&conditions, "TargetWritten").unwrap();
    assert_eq!(written, if has_target { "True Written" } else { "Unknown NoCertificate" }, "{id}");
    let stalled = failure.is_final.then(|| format!("True {}", failure.reason));
    assert_eq!(is(&conditions, "Stalled"), stalled, "{id}");
}

/// One resource with two kinds of failure.
async fn live(world: &World<'_>, first: &GatewayFailure, second: &GatewayFailure) {
    let id = first.name;
    let inject =
        |failure: &GatewayFailure| world.emulator.set_faults_of(id, [failure.fault.clone().on(Operation::Get)]);
    world.certificate(id);
    inject(first);
    let generation = world.create(id, json!({ "clientCertificateId": id })).await;
    expect_read_failure(world, id, first, generation, false).await;
    assert_eq!(world.target(id).await, None, "{id}: a failure leaves an object behind");
    inject(second);
    let generation = world.hasten(id).await;
    expect_read_failure(world, id, second, generation, false).await;

    world.emulator.set_faults_of(id, []);
    let generation = world.hasten(id).await;
    world.wait_ready(id, generation).await;
    let good = world.target(id).await;
    assert_eq!(good.as_ref().unwrap().0, world.pem(id));

    for failure in [first, second] {
        // A transient failure keeps the former conditions, so each failure begins after a good read.
        world.emulator.set_faults_of(id, []);
        let generation = world.hasten(id).await;
        world.wait_ready(id, generation).await;
        inject(failure);
        let generation = world.hasten(id).await;
        expect_read_failure(world, id, failure, generation, true).await;
        assert_eq!(world.target(id).await, good, "{id}: {} touches the last good target", failure.name);
    }
    world.emulator.set_faults_of(id, []);
    let generation = world.hasten(id).await;
    let conditions = world.wait_ready(id, generation).await;
    assert_eq!(is(&conditions, "CertificateRead").unwrap(), "True Read");
    assert_eq!(is(&conditions, "Stalled"), None);
    assert_eq!(world.target(id).await, good, "{id}");
}

#[tokio::test]
async fn every_error_of_a_read_is_reported_keeps_the_last_target_and_ends() {
    let world = World::apart("get-errors").await;
    let _operator = world.operator().await;
    let mut failures = all();
    // AWS does not document a conflict for a read, so it counts as transient.
    failures.push(GatewayFailure {
        name: "conflict",
        fault: Fault::error(409, "ConflictException", "Refused by a test"),
        reason: "Unavailable",
        says: &[],
        passes: true,
        is_final: false,
    });
    let next = failures.iter().cycle().skip(1);
    join_all(failures.iter().zip(next).map(|(first, second)| live(&world, first, second))).await;
}

async fn expect_update_failure(world: &World<'_>, id: &str, failure: &GatewayFailure, generation: i64) {
    let conditions = world.wait_for(id, "DescriptionSynced", &format!("False {}", failure.reason), generation).await;
    check_message(failure, id, "apigateway:PATCH", &conditions["DescriptionSynced"].message);
    // The mirror is not affected.
    assert_eq!(is(&conditions, "Ready").unwrap(), "True Mirrored", "{id}");
    assert_eq!(is(&conditions, "CertificateRead").unwrap(), "True Read", "{id}");
    assert_eq!(is(&conditions, "TargetWritten").unwrap(), "True Written", "{id}");
    assert_eq!(is(&conditions, "Stalled"), None, "{id}");
    assert_eq!(world.target(id).await.unwrap().0, world.pem(id), "{id}");
}

async fn describe(world: &World<'_>, first: &GatewayFailure, second: &GatewayFailure) {
    let id = first.name;
    let inject =
        |failure: &GatewayFailure| world.emulator.set_faults_of(id, [failure.fault.clone().on(Operation::Update)]);
    let holds = || world.emulator.certificate(&world.source(id)).unwrap().description;
    world.certificate(id);
    inject(first);
    let generation = world.create(id, json!({ "clientCertificateId": id, "description": "one" })).await;
    expect_update_failure(world, id, first, generation).await;
    inject(second);
    let generation = world.hasten(id).await;
    expect_update_failure(world, id, second, generation).await;

    for (text, failure) in [("one", first), ("two", second)] {
        world.emulator.set_faults_of(id, []);
        let generation = world.change(id, json!({ "description": text })).await;
        let generation = generation.max(world.hasten(id).await);
        world.wait_for(id, "DescriptionSynced", "True Synced", generation).await;
        assert_eq!(holds(), text);
        inject(failure);
        let generation = world.change(id, json!({ "description": "another" })).await;
        expect_update_failure(world, id, failure, generation).await;
        // An update may succeed although its answer is lost, so only a refusal leaves the text unchanged.
        if failure.name != "stalled" {
            assert_eq!(holds(), text, "{id}");
        }
    }
    world.emulator.set_faults_of(id, []);
    let generation = world.hasten(id).await;
    world.wait_for(id, "DescriptionSynced", "True Synced", generation).await;
    assert_eq!(holds(), "another");
}

#[tokio::test]
async fn every_error_of_an_update_is_reported_does_not_affect_the_mirror_and_ends() {
    let world = World::apart("update-errors").await;
    let _operator = world.operator().await;
    let mut failures = all();
    failures.push(GatewayFailure {
        name: "conflict",
        fault: Fault::error(409, "ConflictException", "Refused by a test"),
        reason: "Conflict",
        says: &["another writer changed"],
        passes: false,
        is_final: false,
    });
    let next = failures.iter().cycle().skip(1);
    join_all(failures.iter().zip(next).map(|(first, second)| describe(&world, first, second))).await;
}
