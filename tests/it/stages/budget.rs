//! Many resources that follow many stages, with the account's real limit of ten requests a second.

use std::time::Duration;

use client_certificate_operator::api::CertificateRole::Main;
use futures::stream::{self, StreamExt};
use kube::api::ListParams;
use operator_testing::emulator::RateLimit;
use operator_testing::script::Operation::{Get, GetStages, List};

use super::*;

const RESOURCES: usize = 300;
const APIS: usize = 60;

fn api(number: usize) -> String {
    format!("api{number:02}")
}

#[tokio::test]
async fn each_followed_api_costs_one_call_an_interval_and_all_certificates_one_list() {
    let mut world = World::without_operator("budget").await;
    for number in 0..APIS {
        let id = format!("id{number:04}");
        world.generate(NewCertificate::new().id(id.as_str()));
        world.emulator.present(DEFAULT_REGION, &api(number), STAGE, Some(&id));
    }
    world.emulator.set_latency(Duration::from_millis(20));
    world.emulator.set_rate_limit(Some(RateLimit::default()));
    let create = async |n: usize| {
        let stage = json!({ "restApiId": api(n % APIS), "stageName": STAGE });
        // The interval is longer than the test, so that no refresh counts as a first read.
        world.create_resource(&format!("r{n:03}"), json!({ "stage": stage, "refreshInterval": "10m" })).await;
    };
    let mut created = stream::iter((0..RESOURCES).map(create)).buffer_unordered(16);
    while created.next().await.is_some() {}
    drop(created);
    world.start_operator().await;
    eventually(Duration::from_secs(240), "all are Ready", async || {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let resources = world.resources().list(&ListParams::default()).await.unwrap();
        let is_ready =
            |resource: &&ClientCertificateRef| condition(resource, "Ready").is_some_and(|ready| ready.status == "True");
        let ready = resources.iter().filter(is_ready).count();
        if ready == RESOURCES { Ok(()) } else { Err(format!("{ready} are")) }
    })
    .await;
    let calls = [GetStages, List, Get].map(|operation| world.emulator.count(operation));
    println!("{RESOURCES} resources over {APIS} APIs: GetStages, lists, single reads: {calls:?}");
    assert_eq!(calls, [APIS, 1, 0]);
    assert_eq!(world.emulator.throttled(), 0);
    for number in [0, 59, 299] {
        let resource = world.resource(&format!("r{number:03}")).await;
        assert_eq!(held(&resource), [(format!("id{:04}", number % APIS).as_str(), Main)]);
    }
}
