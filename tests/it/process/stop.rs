//! SIGTERM ends the operator soon, with any work in progress, and no write is interrupted.

use std::time::Duration;

use operator_testing::emulator::Fault;
use operator_testing::operator::{Exit, Operator};
use operator_testing::script::Operation;
use operator_testing::wait::eventually;
use serde_json::json;

use crate::faults::{SOON, World};

/// A write takes at most 10 s, and the operator releases the Lease after the last write.
const LIMIT: Duration = Duration::from_secs(12);

async fn stopped(operator: &mut Operator) -> Exit {
    let exit = operator.terminate(LIMIT).await.unwrap();
    assert_eq!(exit.code, Some(0), "{:?}", operator.logs());
    exit
}

#[tokio::test]
async fn an_idle_operator_ends_at_once_and_the_next_one_writes_nothing() {
    let world = World::apart("idle").await;
    let mut operator = world.operator().await;
    world.mirrored("one", true).await;
    let exit = stopped(&mut operator).await;
    assert!(exit.took < Duration::from_secs(4), "{exit:?}");
    operator.wait_for_log("stopped").await.unwrap();
    let writes = world.writes();
    let _operator = world.operator().await;
    eventually(SOON, "the next one reads it", async || world.emulator.count_of(Operation::Get, "one") == 2).await;
    let generation = world.touch("one").await;
    world.wait_ready("one", generation).await;
    // The only write is the observed generation of this change.
    assert_eq!(world.writes().len(), writes.len() + 1, "{:?}", world.writes());
}

#[tokio::test]
async fn a_read_that_stalls_is_cancelled() {
    let world = World::apart("stop-get").await;
    let mut operator = world.operator().await;
    for id in ["one", "two"] {
        world.certificate(id);
        world.emulator.set_faults_of(id, [Fault::stall(Duration::from_secs(60)).on(Operation::Get)]);
        world.create(id, json!({ "clientCertificateId": id })).await;
    }
    eventually(SOON, "both reads are under way", async || world.emulator.count(Operation::Get) == 2).await;
    let exit = stopped(&mut operator).await;
    assert!(exit.took < Duration::from_secs(4), "{exit:?}");
    assert_eq!(world.writes(), []);
}

#[tokio::test]
async fn a_running_update_ends_and_is_recorded() {
    let world = World::apart("stop-patch").await;
    let mut operator = world.operator().await;
    world.certificate("one");
    world.emulator.set_faults_of("one", [Fault::stall(Duration::from_secs(2)).on(Operation::Update)]);
    world.create("one", json!({ "clientCertificateId": "one", "description": "text" })).await;
    eventually(SOON, "the update is under way", async || world.emulator.count(Operation::Update) == 1).await;
    stopped(&mut operator).await;
    assert_eq!(world.emulator.certificate(&world.source("one")).unwrap().description, "text");
    world.wait_for("one", "DescriptionSynced", "True Synced", 1).await;
}

#[tokio::test]
async fn an_update_that_stalls_does_not_delay_the_stop() {
    let world = World::apart("stop-stall").await;
    let mut operator = world.operator().await;
    world.certificate("one");
    world.emulator.set_faults_of("one", [Fault::stall(Duration::from_secs(60)).on(Operation::Update)]);
    world.create("one", json!({ "clientCertificateId": "one", "description": "text" })).await;
    eventually(SOON, "the update is under way", async || world.emulator.count(Operation::Update) == 1).await;
    let exit = stopped(&mut operator).await;
    assert!(exit.took < LIMIT, "{exit:?}");
    // The mirror did not wait for the update.
    assert_eq!(world.target("one").await.unwrap().0, world.pem("one"));
}

#[tokio::test]
async fn the_operator_stops_while_it_waits_for_the_caches() {
    let world = World::apart("stop-start").await;
    let rights = world.builder().env("CCR_NAMESPACES", "a-namespace-without-rights");
    let mut operator = rights.spawn().unwrap();
    operator.wait_for_log("not allow the operator to list and watch").await.unwrap();
    stopped(&mut operator).await;
}
