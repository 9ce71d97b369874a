//! The number of calls without failures.

use std::time::Duration;

use client_certificate_operator::aws::gateway::{Denial, GatewayError, Place, Source};
use operator_testing::certificates::{NewCertificate, issue};
use operator_testing::memory_gateway::{Failure, MemoryGateway};
use operator_testing::script::Fault;
use operator_testing::script::Operation::{Get, List};
use tokio::time::sleep;

use super::fleet::{Fleet, all_good};

const REGION: &str = "us-east-1";

/// A gateway with `count` certificates that differ only in their id.
pub fn gateway_with(count: usize) -> (MemoryGateway, Vec<String>) {
    let gateway = MemoryGateway::new();
    gateway.set_latency(Duration::from_millis(20));
    let certificate = issue(NewCertificate::new().shared_key()).certificate;
    let ids: Vec<String> = (0..count).map(|n| format!("id{n:05}")).collect();
    for id in &ids {
        let mut certificate = certificate.clone();
        certificate.id = id.clone();
        gateway.put(&Source::own(REGION, id), certificate);
    }
    (gateway, ids)
}

fn calls(gateway: &MemoryGateway) -> usize {
    gateway.calls().len()
}

#[tokio::test(start_paused = true)]
async fn one_certificate_costs_one_call_for_all_resources() {
    let (gateway, _) = gateway_with(1);
    let fleet = Fleet::new(gateway.clone());
    let members: Vec<_> = (0..500).map(|n| fleet.add(&format!("r{n}"), Source::own(REGION, "id00000"), "5m")).collect();
    all_good(&members).await;
    assert_eq!((gateway.count(Get), gateway.count(List)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_certificates_cost_twenty_pages() {
    let (gateway, ids) = gateway_with(10_000);
    let fleet = Fleet::new(gateway.clone());
    all_good(&fleet.add_many(ids, &Place::own(REGION), "5m")).await;
    assert_eq!((gateway.count(Get), gateway.count(List)), (0, 20));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_resources_one_after_the_other_cost_two_calls() {
    let (gateway, ids) = gateway_with(60);
    let fleet = Fleet::new(gateway.clone());
    let mut members = Vec::new();
    for n in 0..1_000 {
        members.push(fleet.add(&format!("r{n}"), Source::own(REGION, &ids[n % 60]), "5m"));
        sleep(Duration::from_millis(1)).await;
    }
    all_good(&members).await;
    assert!(calls(&gateway) <= 2, "{:?}", gateway.calls());
}

#[tokio::test(start_paused = true)]
async fn a_few_certificates_of_a_large_account_are_read_by_id_once_its_size_is_known() {
    let (gateway, ids) = gateway_with(5_000);
    let fleet = Fleet::new(gateway.clone());
    all_good(&fleet.add_many(ids[4_997..].iter().cloned(), &Place::own(REGION), "5m")).await;
    assert_eq!((gateway.count(Get), gateway.count(List)), (0, 10));
    gateway.clear_calls();
    sleep(Duration::from_secs(600)).await;
    assert_eq!(gateway.count(List), 0, "ten pages cost more than three certificates");
    assert!((5..=8).contains(&gateway.count(Get)), "{}", gateway.count(Get));
}

/// The promise: ceil(certificates / 500) / 0.9 calls for each of the shortest interval, whatever the number of resources.
#[tokio::test(start_paused = true)]
async fn steady_calls_do_not_depend_on_the_number_of_resources() {
    for (certificates, resources) in [(60, 60), (60, 600), (700, 1_400)] {
        let (gateway, ids) = gateway_with(certificates);
        let fleet = Fleet::new(gateway.clone());
        let mut members = Vec::new();
        // The resources subscribe at different times, so that each would be due at another time.
        for n in 0..resources {
            let id = &ids[n % certificates];
            members.push(fleet.add(&format!("r{n}"), Source::own(REGION, id), if n % 7 == 0 { "10m" } else { "5m" }));
            sleep(Duration::from_secs_f64(600.0 / resources as f64)).await;
        }
        all_good(&members).await;
        sleep(Duration::from_secs(300)).await;
        gateway.clear_calls();
        fleet.take_woken();
        let (intervals, interval) = (20, Duration::from_secs(300));
        let started = |id: &String| fleet.cache.get(&Source::own(REGION, id)).unwrap().started;
        for _ in 0..intervals {
            sleep(interval).await;
            let age = fleet.clock.now() - ids.iter().map(started).min().unwrap();
            assert!(age <= Duration::from_secs(601), "an answer became older than its interval: {age:?}");
        }
        let pages = certificates.div_ceil(500) as f64;
        let allowed = (pages / 0.9 * f64::from(intervals)).ceil() as usize + certificates.div_ceil(500);
        let made = calls(&gateway);
        assert!(made <= allowed, "{resources} over {certificates}: {made} calls, {allowed} allowed");
        assert!(made >= intervals as usize, "{resources} over {certificates}: only {made} calls");
        assert_eq!(fleet.take_woken(), [], "nothing changed, so no resource is looked at");
    }
}

#[tokio::test(start_paused = true)]
async fn five_thousand_resources_with_one_missing_id_cost_fewer_and_fewer_reads() {
    let (gateway, ids) = gateway_with(10);
    let fleet = Fleet::new(gateway.clone());
    let healthy = fleet.add_many(ids, &Place::own(REGION), "5m");
    let missing: Vec<_> =
        (0..5_000).map(|n| fleet.add(&format!("m{n}"), Source::own(REGION, "missing"), "5m")).collect();
    for member in &missing {
        member.until(|seen| seen.outcome.is_err()).await;
    }
    let reads = || gateway.calls().iter().filter(|call| call.source.id == "missing").count();
    assert_eq!(reads(), 1, "confirmed once, for all");
    sleep(Duration::from_secs(300 * 10)).await;
    assert!((2..=4).contains(&reads()), "{} reads in ten intervals", reads());
    for member in &healthy {
        assert!(member.seen().unwrap().outcome.is_ok());
    }
    gateway.put(&Source::own(REGION, "missing"), issue(NewCertificate::new().id("missing").shared_key()).certificate);
    let there = fleet.clock.now();
    all_good(&missing).await;
    assert!(fleet.clock.now() - there <= Duration::from_secs(301), "the list that is read for the others brings it");
}

#[tokio::test(start_paused = true)]
async fn without_the_list_the_calls_reach_and_keep_the_rate_limit() {
    let (gateway, ids) = gateway_with(1_003);
    let denied = GatewayError::AccessDenied(Denial::NotAuthorized);
    gateway.inject(Fault::new(Failure::Error(denied)).on(List));
    let fleet = Fleet::new(gateway.clone());
    all_good(&fleet.add_many(ids, &Place::own(REGION), "24h")).await;
    let took = fleet.clock.now().as_secs_f64();
    assert!(took >= (1_003.0 - 20.0) / 5.0, "{took}");
    assert!(took <= 1.02 * 1_003.0 / 5.0, "{took}");
    assert_eq!(gateway.count(List), 1, "asked for once in ten minutes");
}
