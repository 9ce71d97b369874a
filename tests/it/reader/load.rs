//! How many calls it takes when all is well.

use std::time::Duration;

use client_certificate_operator::gateway::{Place, Source};
use operator_testing::certificates::{NewCertificate, issue};
use operator_testing::memory_gateway::MemoryGateway;
use operator_testing::script::Operation::{Get, List, Update};
use tokio::time::sleep;

use super::fleet::Fleet;

const REGION: &str = "us-east-1";

/// A gateway with so many certificates, all alike but for the id.
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
async fn one_certificate_is_one_call_whoever_names_it() {
    let (gateway, _) = gateway_with(1);
    let fleet = Fleet::new(gateway.clone());
    let members: Vec<_> = (0..500).map(|n| fleet.add(&format!("r{n}"), Source::own(REGION, "id00000"), "5m")).collect();
    for member in &members {
        member.until_good().await;
    }
    assert_eq!((gateway.count(Get), gateway.count(List)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_certificates_are_twenty_pages() {
    let (gateway, ids) = gateway_with(10_000);
    let fleet = Fleet::new(gateway.clone());
    for member in fleet.add_many(ids, &Place::own(REGION), "5m") {
        member.until_good().await;
    }
    assert_eq!((gateway.count(Get), gateway.count(List)), (0, 20));
}

#[tokio::test(start_paused = true)]
async fn a_few_certificates_of_a_large_account_are_read_by_name() {
    let (gateway, ids) = gateway_with(5_000);
    let fleet = Fleet::new(gateway.clone());
    let members = fleet.add_many(ids[4_997..].iter().cloned(), &Place::own(REGION), "5m");
    for member in &members {
        member.until_good().await;
    }
    assert!(calls(&gateway) <= 6, "{:?}", gateway.calls());
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
        // They come at any time, so that each is due at another.
        for n in 0..resources {
            let id = &ids[n % certificates];
            members.push(fleet.add(&format!("r{n}"), Source::own(REGION, id), if n % 7 == 0 { "10m" } else { "5m" }));
            sleep(Duration::from_secs_f64(600.0 / resources as f64)).await;
        }
        for member in &members {
            member.until_good().await;
        }
        gateway.clear_calls();
        let (intervals, interval) = (20, Duration::from_secs(300));
        let oldest = || members.iter().map(|member| member.seen().unwrap().at).min().unwrap();
        for _ in 0..intervals {
            sleep(interval).await;
            let age = fleet.clock.now() - oldest();
            assert!(age <= Duration::from_secs(600), "an answer became older than its interval: {age:?}");
        }
        let pages = certificates.div_ceil(500) as f64;
        let allowed = (pages / 0.9 * f64::from(intervals)).ceil() as usize + certificates.div_ceil(500);
        let made = calls(&gateway);
        assert!(made <= allowed, "{resources} over {certificates}: {made} calls, {allowed} allowed");
        assert!(made >= intervals as usize, "{resources} over {certificates}: only {made} calls");
    }
}

#[tokio::test(start_paused = true)]
async fn five_thousand_resources_with_one_missing_id_are_one_read_an_interval() {
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
    assert!(reads() <= 15, "{} reads in ten intervals", reads());
    for member in &healthy {
        assert!(member.seen().unwrap().outcome.is_ok());
    }
    gateway.put(&Source::own(REGION, "missing"), issue(NewCertificate::new().id("missing").shared_key()).certificate);
    for member in &missing {
        member.until_good().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_namespace_does_not_hold_up_a_small_one() {
    let (gateway, ids) = gateway_with(2_003);
    // Without the list each certificate is a call, and they are far more than the budget has at once.
    use client_certificate_operator::gateway::{Denial, GatewayError};
    use operator_testing::memory_gateway::Failure;
    use operator_testing::script::Fault;
    let denied = GatewayError::AccessDenied(Denial::NotAuthorized);
    gateway.inject(Fault::new(Failure::Error(denied)).on(List));
    let fleet = Fleet::new(gateway.clone());
    let large: Vec<_> =
        ids[..2_000].iter().map(|id| fleet.add(&format!("large/{id}"), Source::own(REGION, id), "24h")).collect();
    sleep(Duration::from_secs(20)).await;
    let began = fleet.clock.now();
    for id in &ids[2_000..] {
        let took = fleet.add(&format!("small/{id}"), Source::own(REGION, id), "24h").until_good().await - began;
        assert!(took < Duration::from_secs(15), "{took:?}");
    }
    for member in &large {
        member.until_good().await;
    }
    let took = fleet.clock.now().as_secs_f64();
    assert!(took >= (2_003.0 - 20.0) / 5.0, "the budget is kept to: {took}");
    assert!(took <= 1.1 * 2_003.0 / 5.0, "and used: {took}");
    assert_eq!(gateway.count(List), 1, "asked for once in ten minutes");
}

#[tokio::test(start_paused = true)]
async fn writes_are_one_at_a_time_for_a_certificate_and_go_before_refreshes() {
    use client_certificate_operator::gateway::reader::Described;
    let (gateway, ids) = gateway_with(40);
    let fleet = Fleet::with_budget(gateway.clone(), 2.0, 1);
    let source = Source::own(REGION, &ids[0]);
    let write = async |text: &str| fleet.reader.set_description(&source, text, "backends").await;
    let (first, second) = tokio::join!(write("one"), write("two"));
    assert!(matches!(first, Described::Done(Ok(_))), "{first:?}");
    assert!(matches!(second, Described::Later(_)), "{second:?}");
    assert_eq!(gateway.count(Update), 1);

    // A certificate that was written is read after that, and not before.
    let member = fleet.add("r", source.clone(), "5m");
    member.until_good().await;
    let before = gateway.count(Get);
    assert!(matches!(write("three").await, Described::Done(Ok(_))));
    let another = fleet.add("s", source, "5m");
    another.until_good().await;
    assert_eq!(gateway.count(Get), before + 1);
}
