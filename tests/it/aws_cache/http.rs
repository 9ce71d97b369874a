//! The cache over HTTP: with the real SDK, real signatures, and the account's token bucket in the emulator.

use std::sync::Arc;
use std::time::Duration;

use client_certificate_operator::aws::client::AwsGateway;
use client_certificate_operator::aws::gateway::{AssumedRole, GatewayError, Identity, Place, Source};
use client_certificate_operator::error::ReadFailure;
use operator_testing::certificates::NewCertificate;
use operator_testing::emulator::{DEFAULT_REGION, Emulator, Fault, HOME_ACCOUNT, HOME_USER, NewRole, RateLimit};
use operator_testing::script::Operation::{Get, List};

use super::fleet::{Fleet, Seen, all_good};

fn place() -> Place {
    Place::own(DEFAULT_REGION)
}

/// An emulator with API Gateway's latency and limit, and a fleet that uses it.
async fn limited(certificates: usize) -> (Emulator, Fleet<Arc<AwsGateway>>, Vec<String>) {
    let emulator = Emulator::start().await.unwrap();
    emulator.set_latency(Duration::from_millis(20));
    emulator.set_rate_limit(Some(RateLimit::default()));
    let ids: Vec<String> = (0..certificates).map(|n| format!("id{n:05}")).collect();
    for id in &ids {
        emulator.generate(DEFAULT_REGION, NewCertificate::new().id(id.as_str()).shared_key());
    }
    let gateway = Arc::new(emulator.gateway_builder().build());
    (emulator, Fleet::new(gateway), ids)
}

fn calls(emulator: &Emulator) -> usize {
    emulator.count_in(Get, HOME_ACCOUNT, DEFAULT_REGION) + emulator.count_in(List, HOME_ACCOUNT, DEFAULT_REGION)
}

#[tokio::test]
async fn a_thousand_resources_cost_at_most_five_calls_and_none_is_throttled() {
    for certificates in [1_000, 60] {
        let (emulator, fleet, ids) = limited(certificates).await;
        let members: Vec<_> = (0..1_000)
            .map(|n| fleet.add(&format!("r{n}"), Source::own(DEFAULT_REGION, &ids[n % certificates]), "5m"))
            .collect();
        all_good(&members).await;
        assert!(calls(&emulator) <= 5, "{certificates}: {} calls", calls(&emulator));
        assert_eq!(emulator.throttled(), 0);
    }
}

#[tokio::test]
async fn ten_thousand_resources_cost_at_most_twenty_five_calls_and_none_is_throttled() {
    let (emulator, fleet, ids) = limited(10_000).await;
    all_good(&fleet.add_many(ids, &place(), "5m")).await;
    assert!(calls(&emulator) <= 25, "{} calls", calls(&emulator));
    assert_eq!(emulator.throttled(), 0);
}

#[tokio::test]
async fn an_item_without_a_certificate_is_read_by_id() {
    let (emulator, fleet, ids) = limited(3).await;
    emulator.inject(Fault::without_pem(ids[1].as_str()).on(List));
    all_good(&fleet.add_many(ids.clone(), &place(), "5m")).await;
    assert_eq!((emulator.count(List), emulator.count(Get)), (1, 1));
    assert_eq!(emulator.count_of(Get, &ids[1]), 1);
}

#[tokio::test]
async fn an_unusable_list_is_replaced_by_single_reads() {
    for (fault, lists) in [
        (Fault::repeated_position(), 3),
        (Fault::without_items(), 1),
        (Fault::cut(), 1),
        (Fault::page(200, "text/html", "<html>a proxy's page</html>"), 1),
    ] {
        let (emulator, fleet, ids) = limited(3).await;
        // More than two pages of certificates come before, so that the cache has to read them.
        for n in 0..1_200 {
            emulator.generate(DEFAULT_REGION, NewCertificate::new().id(format!("a{n:05}")).shared_key());
        }
        emulator.inject(fault.clone().on(List));
        all_good(&fleet.add_many(ids, &place(), "5m")).await;
        assert!(emulator.count(List) <= lists, "{fault:?}: {} lists", emulator.count(List));
        assert_eq!(emulator.count(Get), 3, "{fault:?}");
        assert!(fleet.metrics.render().contains("ccr_gateway_list_refusals_total{reason=\"unusable\"} 1"), "{fault:?}");
    }
}

#[tokio::test]
async fn an_endless_list_stops_without_new_certificates_and_is_discarded() {
    let (emulator, fleet, ids) = limited(600).await;
    emulator.inject(Fault::endless_pages().on(List));
    let missing = fleet.add("missing", Source::own(DEFAULT_REGION, "missing"), "5m");
    all_good(&fleet.add_many(ids[..12].iter().cloned(), &place(), "5m")).await;
    missing.until(|seen| seen.outcome == Err(ReadFailure::Gateway(GatewayError::NotFound))).await;
    assert!(emulator.count(List) <= 4, "{} lists", emulator.count(List));
    assert_eq!(emulator.count(Get), 13);
    assert!(fleet.metrics.render().contains("ccr_gateway_list_refusals_total{reason=\"unusable\"} 1"));
}

#[tokio::test]
async fn an_account_that_is_throttled_to_zero_does_not_affect_another() {
    const ACCOUNT: &str = "444455556666";
    let run = async |is_throttled: bool| {
        let (emulator, fleet, home) = limited(60).await;
        emulator.set_rate_limit_of(HOME_ACCOUNT, is_throttled.then(RateLimit::nothing));
        let role = "arn:aws:iam::444455556666:role/certificates";
        emulator.add_role(NewRole::new(role));
        let (account, ids) = (emulator.account(ACCOUNT), (0..200).map(|n| format!("other{n:03}")));
        ids.clone().for_each(|id| drop(account.generate(DEFAULT_REGION, NewCertificate::new().id(id).shared_key())));
        let at_home = fleet.add_many(home, &place(), "5m");
        let role =
            AssumedRole { arn: role.into(), external_id: None, namespace: "backends".into(), tags_session: false };
        let elsewhere = Place { identity: Identity::Role(Arc::new(role)), region: DEFAULT_REGION.into() };
        all_good(&fleet.add_many(ids, &elsewhere, "5m")).await;
        let throttled = |seen: &Seen| matches!(seen.outcome, Err(ReadFailure::Gateway(GatewayError::Throttled { .. })));
        at_home[0].until(|seen| throttled(seen) == is_throttled).await;
        [Get, List].map(|operation| emulator.count_in(operation, ACCOUNT, DEFAULT_REGION))
    };
    assert_eq!(run(true).await, run(false).await);
}

#[tokio::test]
async fn without_permission_to_list_certificates_are_read_one_by_one_with_a_log_line() {
    let (emulator, fleet, ids) = limited(12).await;
    emulator.deny(HOME_USER, List);
    all_good(&fleet.add_many(ids, &place(), "5m")).await;
    assert_eq!((emulator.count(List), emulator.count(Get)), (1, 12));
    assert!(fleet.metrics.render().contains("ccr_gateway_list_refusals_total{reason=\"denied\"} 1"));
}

#[tokio::test]
async fn an_id_that_the_list_omits_is_confirmed_before_it_is_missing() {
    let (emulator, fleet, ids) = limited(5).await;
    let missing = fleet.add("missing", Source::own(DEFAULT_REGION, "missing"), "5m");
    all_good(&fleet.add_many(ids, &place(), "5m")).await;
    missing.until(|seen| seen.outcome == Err(ReadFailure::Gateway(GatewayError::NotFound))).await;
    assert_eq!((emulator.count(List), emulator.count(Get)), (1, 1));
    assert_eq!(emulator.count_of(Get, "missing"), 1);
}

#[tokio::test]
async fn a_rate_limit_that_other_clients_exhaust_is_waited_for() {
    let (emulator, fleet, ids) = limited(60).await;
    emulator.set_rate_limit(Some(RateLimit::nothing()));
    let members = fleet.add_many(ids, &place(), "5m");
    members[0].until(|seen| matches!(seen.outcome, Err(ReadFailure::Gateway(GatewayError::Throttled { .. })))).await;
    emulator.set_rate_limit(None);
    all_good(&members).await;
    assert!(emulator.throttled() <= 4, "{} throttled calls", emulator.throttled());
}
