//! Two regions, one of which is down or does not exist. The other is not affected.

use std::time::Duration;

use operator_testing::certificates::NewCertificate;
use operator_testing::emulator::{DEFAULT_REGION, Fault, HOME_ACCOUNT};
use operator_testing::script::Operation::{Get, List};
use operator_testing::wait::eventually;
use serde_json::{Value, json};

use super::{OTHER_REGION, message};
use crate::fixture::{MINUTES, World, condition};

const HOW_MANY: usize = 10;

fn at(id: &str, region: &str) -> Value {
    json!({ "clientCertificateId": id, "region": region })
}

/// Creates resources of the default region, waits until they are ready, and returns the number of calls.
async fn makes_ready(world: &World<'_>, prefix: &str) -> usize {
    let calls = || {
        let of = |operation| world.emulator.count_in(operation, HOME_ACCOUNT, DEFAULT_REGION);
        of(Get) + of(List)
    };
    let before = calls();
    for number in 0..HOW_MANY {
        let id = format!("{prefix}{number}");
        world.generate(NewCertificate::new().id(&id));
        // The resources are created one after the other, so that the number of calls does not depend on chance.
        world.create_ready(&id, at(&id, DEFAULT_REGION)).await;
    }
    calls() - before
}

async fn is_down(failure: Fault) {
    let world = World::start("region-down").await;
    world.emulator.generate(OTHER_REGION, NewCertificate::new().id("far").shared_key());
    let without = makes_ready(&world, "before").await;
    world.emulator.inject(failure.in_region(OTHER_REGION));
    for number in 0..HOW_MANY {
        world.create(&format!("far{number}"), at("far", OTHER_REGION)).await;
    }
    assert_eq!(makes_ready(&world, "during").await, without);
    for number in 0..HOW_MANY {
        let resource = world.until(&format!("far{number}"), "Ready", "False", "Unavailable").await;
        assert!(condition(&resource, "Stalled").is_none());
    }
    for number in 0..HOW_MANY {
        let near = world.resource(&format!("during{number}")).await;
        assert_eq!(condition(&near, "Ready").unwrap().status, "True");
        world.until_events(&format!("during{number}"), &[("Normal TargetCreated", 1)]).await;
    }
    world.emulator.clear_faults();
    eventually(MINUTES, "the region is back", async || {
        let resource = world.resource("far0").await;
        condition(&resource, "Ready").is_some_and(|ready| ready.status == "True")
    })
    .await;
}

#[tokio::test]
async fn a_region_that_fails_does_not_affect_another() {
    is_down(Fault::error(500, "InternalFailure", "down")).await;
}

#[tokio::test]
async fn a_region_that_does_not_respond_does_not_affect_another() {
    is_down(Fault::stall(Duration::from_secs(60))).await;
}

#[tokio::test]
async fn a_region_that_throttles_does_not_affect_another() {
    let world = World::start("region-throttles").await;
    world.emulator.generate(OTHER_REGION, NewCertificate::new().id("far").shared_key());
    world.emulator.inject(Fault::throttled(Some("20")).in_region(OTHER_REGION));
    world.create("far", at("far", OTHER_REGION)).await;
    let resource = world.until("far", "CertificateRead", "False", "Throttled").await;
    assert!(message(&resource, "CertificateRead").contains("is throttling"), "{resource:?}");
    assert!(makes_ready(&world, "near").await <= HOW_MANY);
}

#[tokio::test]
async fn a_region_that_does_not_exist_is_reported_only_on_its_resources() {
    let world = World::start("nowhere").await;
    // A closed connection gives the same error as an unknown host.
    world.emulator.inject(Fault::drop_connection().in_region("us-nowhere-1"));
    world.create("lost", json!({ "region": "us-nowhere-1" })).await;
    let resource = world.until("lost", "Ready", "False", "Unavailable").await;
    let reported = message(&resource, "CertificateRead");
    assert!(reported.contains("the connection to 127.0.0.1:"), "{reported}");
    world.create_ready("found", json!({})).await;
    // A corrected region causes a read at once.
    world.patch("lost", json!({ "spec": { "region": null } })).await;
    world.until_ready("lost").await;
}
