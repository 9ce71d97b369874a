//! Many resources with one account's limit of ten requests a second, with the real program and a real API server.
//! docs/concepts/reading.md promises the numbers of calls.

use std::time::Duration;

use futures::stream::{self, StreamExt};
use kube::api::ListParams;
use operator_testing::certificates::NewCertificate;
use operator_testing::control_plane::ControlPlane;
use operator_testing::emulator::{DEFAULT_REGION, RateLimit};
use operator_testing::script::Operation::{Get, List, Update};
use operator_testing::wait::{eventually, never};
use serde_json::json;

use crate::faults::World;
use crate::ground::install;

const RESOURCES: usize = 1_000;
/// A generous limit for a thousand resources on a busy machine.
const MINUTES: Duration = Duration::from_secs(240);

fn calls(world: &World<'_>) -> usize {
    [Get, List, Update].map(|operation| world.emulator.count(operation)).iter().sum()
}

fn throttle_as_aws_does(world: &World<'_>) {
    world.emulator.set_latency(Duration::from_millis(20));
    world.emulator.set_rate_limit(Some(RateLimit::default()));
}

/// Creates a thousand resources with these certificates in turn.
async fn create(world: &World<'_>, ids: &[String]) {
    let create = async |n: usize| {
        world.create(&format!("r{n:04}"), json!({ "clientCertificateId": ids[n % ids.len()] })).await;
    };
    let mut created = stream::iter((0..RESOURCES).map(create)).buffer_unordered(16);
    while created.next().await.is_some() {}
}

/// The number of Ready resources.
async fn ready(world: &World<'_>) -> usize {
    let resources = world.resources().list(&ListParams::default()).await.unwrap();
    let is_ready = |resource: &&client_certificate_operator::api::ClientCertificateRef| {
        let conditions = resource.status.iter().flat_map(|status| &status.conditions);
        conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    resources.iter().filter(is_ready).count()
}

async fn until_all_are_ready(world: &World<'_>) {
    eventually(MINUTES, "all are Ready", async || {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let ready = ready(world).await;
        if ready == RESOURCES { Ok(()) } else { Err(format!("{ready} are")) }
    })
    .await;
}

#[tokio::test]
async fn a_thousand_resources_are_mirrored_by_five_calls_and_need_no_write_after_a_restart() {
    // This test needs another control plane, because a thousand resources would slow down the other tests.
    let control_plane = ControlPlane::start().await.unwrap();
    install(&control_plane).await;
    for certificates in [RESOURCES, 60] {
        let world = World::on(&control_plane, "thousand").await;
        throttle_as_aws_does(&world);
        let ids: Vec<String> = (0..certificates).map(|n| format!("id{n:04}")).collect();
        for id in &ids {
            world.emulator.generate(DEFAULT_REGION, NewCertificate::new().id(id.as_str()).shared_key());
        }
        let mut operator = world.operator().await;
        create(&world, &ids).await;
        until_all_are_ready(&world).await;
        assert!(calls(&world) <= 5, "{certificates}: {} calls", calls(&world));
        assert_eq!(world.emulator.throttled(), 0);

        operator.terminate(Duration::from_secs(10)).await.unwrap();
        let (writes, pages) = (world.all_writes().len(), certificates.div_ceil(500));
        world.emulator.clear_calls();
        let mut operator = world.operator().await;
        eventually(MINUTES, "every resource was looked at", async || {
            let passes = operator.metric("ccr_reconciles_total", &[("result", "success")]).await.unwrap();
            passes.filter(|passes| *passes >= RESOURCES as f64).ok_or_else(|| format!("{passes:?} passes"))
        })
        .await;
        never(Duration::from_secs(3), "a write after a restart", async || {
            let now = world.all_writes().len();
            (now != writes).then(|| world.all_writes().split_off(writes))
        })
        .await;
        assert!(calls(&world) <= pages, "{certificates}: {} calls after a restart", calls(&world));
    }
}

#[tokio::test]
async fn a_hundred_descriptions_are_written_within_the_budget_each_once() {
    let world = World::new("descriptions").await;
    throttle_as_aws_does(&world);
    let _operator = world.operator().await;
    for n in 0..100 {
        let id = format!("id{n:03}");
        world.certificate(&id);
        world.create(&id, json!({ "clientCertificateId": id, "description": format!("text {n}") })).await;
    }
    for n in 0..100 {
        let id = format!("id{n:03}");
        world.wait_for(&id, "DescriptionSynced", "True Synced", 1).await;
        assert_eq!(world.emulator.certificate(&world.source(&id)).unwrap().description, format!("text {n}"));
        assert_eq!(world.emulator.count_of(Update, &id), 1, "{id}");
    }
    assert_eq!(world.emulator.throttled(), 0);
}
