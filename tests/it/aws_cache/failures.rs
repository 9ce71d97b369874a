//! The cache during failures of API Gateway: no failure makes it call more often, and none affects other resources.

use std::time::Duration;

use client_certificate_operator::aws::gateway::{GatewayError, Outage, Place, Source};
use client_certificate_operator::error::ReadFailure;
use operator_testing::certificates::{NewCertificate, issue};
use operator_testing::memory_gateway::{Failure, MemoryGateway};
use operator_testing::script::Fault;
use operator_testing::script::Operation::{Get, List};
use tokio::time::{Instant, sleep};

use super::fleet::{Fleet, all_good};
use super::load::gateway_with;

const REGION: &str = "us-east-1";

fn fails(error: GatewayError) -> Fault<Failure> {
    Fault::new(Failure::Error(error))
}

fn down() -> GatewayError {
    GatewayError::Unavailable { outage: Outage::Status(500), retry_after: None }
}

fn throttled(seconds: Option<u64>) -> GatewayError {
    GatewayError::Throttled { retry_after: seconds.map(Duration::from_secs) }
}

/// The greatest number of calls within any window of this length.
fn most_calls_within(gateway: &MemoryGateway, window: Duration) -> usize {
    let times: Vec<Instant> = gateway.calls().iter().map(|call| call.at).collect();
    let within = |from: &Instant| times.iter().filter(|at| *at >= from && **at < *from + window).count();
    times.iter().map(within).max().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn throttling_of_half_of_the_calls_for_a_minute_causes_no_more_calls() {
    let (gateway, ids) = gateway_with(60);
    gateway.inject(fails(throttled(None)).share(0.5));
    let fleet = Fleet::new(gateway.clone());
    let members = fleet.add_many(ids.clone(), &Place::own(REGION), "30s");
    sleep(Duration::from_secs(60)).await;
    gateway.clear_faults();
    let most = most_calls_within(&gateway, Duration::from_secs(10));
    assert!(most <= 20 + 5 * 10, "{most} calls in ten seconds");
    assert!(gateway.calls().len() <= 60, "{} calls in a minute", gateway.calls().len());
    all_good(&members).await;
    let fresh = fleet.clock.now();
    sleep(Duration::from_secs(31)).await;
    for id in &ids {
        let snapshot = fleet.cache.get(&Source::own(REGION, id)).unwrap();
        assert!(snapshot.started >= fresh && snapshot.outcome.is_ok(), "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_applies_to_the_whole_account_and_region() {
    for (asked, least, most) in [(None, 1, 2), (Some(0), 1, 2), (Some(7), 7, 9), (Some(3600), 300, 331)] {
        let (gateway, ids) = gateway_with(3);
        gateway.inject(fails(throttled(asked)).once());
        let fleet = Fleet::new(gateway.clone());
        let members = fleet.add_many(ids, &Place::own(REGION), "5m");
        all_good(&members).await;
        let took = fleet.clock.now();
        assert!(took >= Duration::from_secs(least) && took <= Duration::from_secs(most), "{asked:?}: {took:?}");
        assert_eq!(gateway.calls().len(), 2, "{asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_costs_few_calls_and_its_start_and_end_reach_every_subscriber() {
    let (gateway, ids) = gateway_with(300);
    let fleet = Fleet::new(gateway.clone());
    let members = fleet.add_many(ids, &Place::own(REGION), "5m");
    all_good(&members).await;
    gateway.clear_calls();
    gateway.inject(fails(down()));
    for member in &members {
        member.until(|seen| seen.outcome.is_err()).await;
    }
    sleep(Duration::from_secs(3_000)).await;
    let calls = gateway.calls().len();
    assert!(calls <= 7 + 6 * 11, "{calls} calls in eleven intervals");
    assert!(calls >= 11, "it is looked whether it is over");
    gateway.clear_faults();
    let end = fleet.clock.now();
    all_good(&members).await;
    let took = fleet.clock.now() - end;
    assert!(took <= Duration::from_secs(300), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_permanently_broken_certificate_costs_few_reads_and_does_not_affect_others() {
    let (gateway, ids) = gateway_with(30);
    let fleet = Fleet::new(gateway.clone());
    let healthy = fleet.add_many(ids.clone(), &Place::own(REGION), "5m");
    all_good(&healthy).await;
    gateway.inject(fails(down()).of("broken"));
    let broken: Vec<_> = (0..50).map(|n| fleet.add(&format!("b{n}"), Source::own(REGION, "broken"), "5m")).collect();
    for member in &broken {
        member.until(|seen| seen.outcome == Err(ReadFailure::Gateway(down()))).await;
    }
    sleep(Duration::from_secs(300 * 4)).await;
    let reads = gateway.calls().iter().filter(|call| call.source.id == "broken").count();
    assert!(reads <= 7 + 4 * 6, "{reads} reads in four intervals");
    for id in &ids {
        let snapshot = fleet.cache.get(&Source::own(REGION, id)).unwrap();
        let age = fleet.clock.now() - snapshot.started;
        assert!(snapshot.outcome.is_ok() && age <= Duration::from_secs(300), "{id}: {age:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_region_that_is_down_does_not_affect_another() {
    let run = async |is_down: bool| {
        let (gateway, ids) = gateway_with(200);
        let elsewhere = "eu-west-1";
        for n in 0..100 {
            let id = format!("eu{n:03}");
            let certificate = issue(NewCertificate::new().id(id.as_str()).shared_key()).certificate;
            gateway.put(&Source::own(elsewhere, &id), certificate);
        }
        if is_down {
            gateway.inject(Fault::new(Failure::Stall(Duration::from_secs(10))).in_region(elsewhere));
            gateway.inject(fails(down()).in_region(elsewhere));
        }
        let fleet = Fleet::new(gateway.clone());
        let there = fleet.add_many((0..100).map(|n| format!("eu{n:03}")), &Place::own(elsewhere), "5m");
        let here = fleet.add_many(ids, &Place::own(REGION), "5m");
        let mut last = Duration::ZERO;
        for member in &here {
            last = last.max(member.until_good().await);
        }
        sleep(Duration::from_secs(1_500)).await;
        drop(there);
        let calls = gateway.calls().iter().filter(|call| call.source.place.region == REGION).count();
        (last, calls)
    };
    let (alone, beside) = (run(false).await, run(true).await);
    assert!(beside.0 <= alone.0 + Duration::from_millis(5), "{beside:?}, {alone:?} without");
    assert!(beside.1.abs_diff(alone.1) <= 1, "{beside:?}, {alone:?} without");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_fails_on_its_second_page_answers_nothing() {
    let (gateway, ids) = gateway_with(900);
    gateway.inject(Fault::new(Failure::Pass).on(List).once());
    gateway.inject(fails(throttled(Some(20))).on(List).once());
    let fleet = Fleet::new(gateway.clone());
    let members = fleet.add_many(ids, &Place::own(REGION), "5m");
    for member in &members {
        let seen = member.until(|_| true).await;
        assert_eq!(seen.outcome, Err(ReadFailure::Gateway(throttled(Some(20)))));
    }
    all_good(&members).await;
    assert!(fleet.clock.now() >= Duration::from_secs(20));
    assert_eq!((gateway.count(List), gateway.count(Get)), (4, 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_never_ends_times_out() {
    let (gateway, ids) = gateway_with(3);
    gateway.inject(Fault::new(Failure::Stall(Duration::from_secs(1_000_000))).once());
    let fleet = Fleet::new(gateway.clone());
    let members = fleet.add_many(ids, &Place::own(REGION), "5m");
    let timed_out = GatewayError::Unavailable { outage: Outage::TimedOut, retry_after: None };
    let seen = members[0].until(|_| true).await;
    assert_eq!(seen.outcome, Err(timed_out.into()));
    assert!(seen.heard <= Duration::from_secs(21), "{seen:?}");
    all_good(&members).await;
}
