//! The certificates that the cache reads, the resources that it wakes, and the effect of an update of the description.

use std::sync::Arc;
use std::time::Duration;

use client_certificate_operator::api::ResourceName;
use client_certificate_operator::aws::answer::FORCED_READS_APART;
use client_certificate_operator::aws::cache::Subscription;
use client_certificate_operator::aws::gateway::{AssumedRole, GatewayError, Identity, Outage, Place, Source};
use client_certificate_operator::clock::Clock;
use client_certificate_operator::error::ReadFailure;
use client_certificate_operator::leader::{Fence, Leadership};
use operator_testing::memory_gateway::{Failure, MemoryGateway};
use operator_testing::script::Fault;
use operator_testing::script::Operation::{Get, List, Update};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::fleet::{Fleet, all_good, forces, wants};
use super::load::gateway_with;

const REGION: &str = "us-east-1";
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn source(id: &str) -> Source {
    Source::own(REGION, id)
}

fn asked_about(gateway: &MemoryGateway) -> Vec<String> {
    gateway.calls().into_iter().map(|call| call.source.id).collect()
}

#[tokio::test(start_paused = true)]
async fn a_certificate_without_a_subscriber_is_not_read() {
    let (gateway, ids) = gateway_with(3);
    let fleet = Fleet::new(gateway.clone());
    sleep(A_DAY).await;
    assert_eq!(gateway.calls().len(), 0);
    let members = fleet.add_many(ids.clone(), &Place::own(REGION), "30s");
    all_good(&members).await;
    fleet.remove(&members[0]);
    fleet.remove(&members[1]);
    gateway.clear_calls();
    sleep(Duration::from_secs(300)).await;
    assert!(asked_about(&gateway).iter().all(|id| *id == ids[2]), "{:?}", gateway.calls());
    assert!(fleet.cache.get(&source(&ids[0])).is_none(), "what is known is forgotten with the last subscriber");
    fleet.remove(&members[2]);
    gateway.clear_calls();
    sleep(A_DAY).await;
    assert_eq!(gateway.calls().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failing_certificate_is_not_read_after_its_resource_is_deleted() {
    let (gateway, _) = gateway_with(0);
    let fleet = Fleet::new(gateway.clone());
    for failure in [GatewayError::NotFound, GatewayError::Unavailable { outage: Outage::TimedOut, retry_after: None }] {
        gateway.inject(Fault::new(Failure::Error(failure)));
        let member = fleet.add("r", source("a"), "30s");
        member.until(|seen| seen.outcome.is_err()).await;
        fleet.remove(&member);
        gateway.clear_calls();
        gateway.clear_faults();
        sleep(A_DAY).await;
        assert_eq!(gateway.calls().len(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_lost_the_lease_makes_no_calls_and_drops_running_ones() {
    let (gateway, ids) = gateway_with(3);
    let fleet = Fleet::new(gateway.clone());
    all_good(&fleet.add_many(ids.clone(), &Place::own(REGION), "30s")).await;
    gateway.set_latency(Duration::from_secs(5));
    gateway.clear_calls();
    while gateway.calls().is_empty() {
        sleep(Duration::from_secs(1)).await;
    }
    fleet.take_woken();
    fleet.cache.unsubscribe_all();
    sleep(A_DAY).await;
    assert_eq!(gateway.calls().len(), 1);
    assert_eq!(fleet.take_woken(), []);
    assert!(fleet.cache.get(&source(&ids[0])).is_none());
    // The replica leads again.
    gateway.set_latency(Duration::ZERO);
    all_good(&fleet.add_many(ids, &Place::own(REGION), "30s")).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_a_token_is_dropped_with_its_resource() {
    let (gateway, _) = gateway_with(2);
    let fleet = Fleet::with_limits(gateway.clone(), 0.1, 1);
    fleet.add("r", source("id00000"), "5m").until_good().await;
    let late = fleet.add("s", source("id00001"), "5m");
    sleep(Duration::from_secs(5)).await;
    fleet.remove(&late);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(asked_about(&gateway), ["id00000"]);
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_names_another_certificate_reads_only_that_one() {
    let (gateway, _) = gateway_with(2);
    let fleet = Fleet::new(gateway.clone());
    let member = fleet.add("r", source("id00000"), "30s");
    member.until_good().await;
    let view = fleet.change(&member, wants(source("id00001"), "30s"));
    assert!(!view.answered && view.reads[0].is_none());
    assert_eq!(view.asked, fleet.clock.now(), "it waits since now");
    sleep(Duration::from_secs(1)).await;
    gateway.clear_calls();
    sleep(Duration::from_secs(300)).await;
    assert!(asked_about(&gateway).iter().all(|id| id == "id00001"), "{:?}", gateway.calls());
    let both = Subscription { sources: vec![source("id00001"), source("id00000")], ..wants(source(""), "30s") };
    let view = fleet.change(&member, both.clone());
    assert!(!view.answered && view.reads[0].is_some() && view.reads[1].is_none(), "each has its own answer");
    sleep(Duration::from_secs(1)).await;
    let view = fleet.change(&member, both);
    assert!(view.answered && view.reads.iter().all(Option::is_some));
}

#[tokio::test(start_paused = true)]
async fn a_new_resource_whose_certificate_is_known_needs_no_call() {
    let (gateway, _) = gateway_with(1);
    let fleet = Fleet::new(gateway.clone());
    fleet.add("r", source("id00000"), "5m").until_good().await;
    sleep(Duration::from_secs(200)).await;
    let (_, view) = fleet.join("s", wants(source("id00000"), "5m"));
    assert!(view.answered && view.reads[0].as_ref().unwrap().outcome.is_ok());
    sleep(Duration::from_secs(10)).await;
    assert_eq!(gateway.calls().len(), 1);
    let (third, view) = fleet.join("t", wants(source("id00000"), "30s"));
    assert!(!view.answered && view.reads[0].is_some(), "older than its interval");
    third.until(|seen| seen.answered).await;
    assert_eq!(gateway.calls().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_forced_read_starts_after_the_request_and_wakes_the_subscriber() {
    let (gateway, _) = gateway_with(1);
    let fleet = Fleet::new(gateway.clone());
    let member = fleet.add("r", source("id00000"), "5m");
    fleet.add("s", source("id00000"), "5m").until_good().await;
    member.until_good().await;
    sleep(FORCED_READS_APART).await;
    gateway.set_latency(Duration::from_secs(3));
    for (value, starts_after) in [("1", 0.0), ("2", 7.0)] {
        fleet.take_woken();
        let asked = fleet.clock.now();
        let view = fleet.change(&member, forces(source("id00000"), "5m", value));
        assert!(!view.answered && view.reads[0].is_some());
        assert_eq!(view.asked, asked);
        let again = fleet.change(&member, forces(source("id00000"), "5m", value));
        assert_eq!((again.answered, again.asked), (false, asked), "the same value is the same wish");
        let seen = member.until(|seen| seen.answered).await;
        let began = (seen.at - asked).as_secs_f64();
        assert!((began - starts_after).abs() < 0.02, "{value}: {began}");
        assert_eq!(fleet.take_woken(), [ResourceName::new("backends", "r")], "nothing has changed for the other");
        let view = fleet.change(&member, wants(source("id00000"), "5m"));
        assert!(view.answered);
        let view = fleet.change(&member, forces(source("id00000"), "5m", value));
        assert!(view.answered, "a value that was acted on is no new wish");
    }
    assert_eq!(gateway.count(Get), 3);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_wakes_all_subscribers() {
    let (gateway, _) = gateway_with(1);
    let fleet = Fleet::new(gateway.clone());
    let members = ["r", "s"].map(|name| fleet.add(name, source("id00000"), "5m"));
    all_good(&members).await;
    sleep(FORCED_READS_APART).await;
    fleet.take_woken();
    fleet.cache.refresh(&source("id00000"));
    fleet.cache.refresh(&source("nobody"));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(fleet.take_woken().len(), 2);
    assert_eq!(gateway.calls().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_forced_read_while_aws_throttles_is_answered_at_once() {
    let (gateway, _) = gateway_with(1);
    let fleet = Fleet::new(gateway.clone());
    let member = fleet.add("r", source("id00000"), "5m");
    member.until_good().await;
    sleep(FORCED_READS_APART).await;
    let throttled = GatewayError::Throttled { retry_after: Some(Duration::from_secs(60)) };
    gateway.inject(Fault::new(Failure::Error(throttled)).once());
    fleet.describe(&source("id00000"), "text").await.unwrap_err();
    let asked = fleet.clock.now();
    fleet.change(&member, forces(source("id00000"), "5m", "1"));
    let seen = member.until(|seen| seen.answered).await;
    assert!(matches!(seen.outcome, Err(ReadFailure::Gateway(GatewayError::Throttled { .. }))), "{seen:?}");
    assert!(seen.heard - asked < Duration::from_millis(10), "{seen:?}");
    let good = member.until_good().await;
    assert!(good - asked >= Duration::from_secs(60) && good - asked <= Duration::from_secs(70), "{good:?}");
}

#[tokio::test(start_paused = true)]
async fn a_written_description_is_cached_and_no_older_read_replaces_it() {
    let (gateway, _) = gateway_with(1);
    let fleet = Fleet::new(gateway.clone());
    let member = fleet.add("r", source("id00000"), "5m");
    member.until_good().await;
    sleep(FORCED_READS_APART).await;
    // A read with the old text is in progress during the update.
    gateway.inject(Fault::new(Failure::Stall(Duration::from_secs(5))).on(Get).once());
    fleet.cache.refresh(&source("id00000"));
    sleep(Duration::from_secs(1)).await;
    let holds = |text: &str| {
        let snapshot = fleet.cache.get(&source("id00000")).unwrap();
        assert_eq!(snapshot.outcome.unwrap().description, text);
        assert_eq!(snapshot.last_good.unwrap().description, text);
    };
    holds("");
    fleet.take_woken();
    assert_eq!(fleet.describe(&source("id00000"), "new").await, Ok("new".into()));
    holds("new");
    sleep(Duration::from_millis(1)).await;
    assert_eq!(fleet.take_woken().len(), 1);
    gateway.change(&source("id00000"), |certificate| certificate.description = "of another".into());
    sleep(Duration::from_secs(5)).await;
    holds("of another");
    assert_eq!(gateway.count(Get), 3, "the read that was under way does not count, so there is one more");
}

#[tokio::test(start_paused = true)]
async fn after_an_update_that_failed_the_certificate_is_read() {
    let (gateway, _) = gateway_with(1);
    let fleet = Fleet::new(gateway.clone());
    fleet.add("r", source("id00000"), "5m").until_good().await;
    sleep(FORCED_READS_APART).await;
    let down = GatewayError::Unavailable { outage: Outage::Status(500), retry_after: None };
    gateway.inject(Fault::new(Failure::AnswerLost(down.clone())).on(Update).once());
    assert_eq!(fleet.describe(&source("id00000"), "new").await, Err(down));
    sleep(Duration::from_secs(1)).await;
    let snapshot = fleet.cache.get(&source("id00000")).unwrap();
    assert_eq!(snapshot.outcome.unwrap().description, "new", "it was carried out all the same");
    // An update that never ends.
    gateway.inject(Fault::new(Failure::Stall(A_DAY)).on(Update).once());
    let began = fleet.clock.now();
    let update = timeout(A_DAY, fleet.describe(&source("id00000"), "newer")).await.unwrap();
    assert_eq!(update, Err(GatewayError::Unavailable { outage: Outage::TimedOut, retry_after: None }));
    assert_eq!((fleet.clock.now() - began).as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn updates_precede_reads_and_only_the_leader_makes_them() {
    let (gateway, ids) = gateway_with(20);
    gateway.inject(Fault::new(Failure::Error(GatewayError::NotFound)).on(List));
    let clock = Clock::start();
    let (leadership, stands) = watch::channel(Leadership::Alone);
    let fleet = Fleet::behind(gateway.clone(), 1.0, 1, clock, Fence::new(clock, stands));
    let members = fleet.add_many(ids, &Place::own(REGION), "5m");
    sleep(Duration::from_secs(3)).await;
    let began = clock.now();
    assert!(fleet.describe(&source("id00019"), "text").await.is_ok());
    assert!(clock.now() - began <= Duration::from_millis(1_100), "{:?}", clock.now() - began);
    // The wait for the token is long, and the replica loses the Lease meanwhile.
    let other = source("id00018");
    let (update, ()) = tokio::join!(fleet.describe(&other, "text"), async {
        leadership.send_replace(Leadership::StandingBy);
    });
    assert_eq!(update, Err(GatewayError::Unavailable { outage: Outage::NotLeading, retry_after: None }));
    assert_eq!(gateway.count(Update), 1);
    all_good(&members).await;
}

#[tokio::test(start_paused = true)]
async fn a_denied_certificate_is_not_read_until_it_is_allowed_again() {
    let (gateway, _) = gateway_with(1);
    let fleet = Fleet::new(gateway.clone());
    let role = AssumedRole {
        arn: "arn:aws:iam::444455556666:role/certificates".into(),
        external_id: None,
        namespace: "backends".into(),
        tags_session: false,
    };
    let place = Place { identity: Identity::Role(Arc::new(role)), region: REGION.into() };
    let own = gateway.certificate(&source("id00000")).unwrap();
    let theirs = Source { place: place.clone(), id: own.id.clone() };
    gateway.put(&theirs, own);
    let members = [fleet.add("r", source("id00000"), "30s"), fleet.add("s", theirs.clone(), "30s")];
    all_good(&members).await;
    fleet.cache.retain(|used| *used != place);
    assert!(fleet.cache.get(&theirs).is_none() && fleet.cache.get(&source("id00000")).is_some());
    gateway.clear_calls();
    sleep(Duration::from_secs(300)).await;
    assert!(gateway.calls().iter().all(|call| call.source.place == Place::own(REGION)));
    let view = fleet.change(&members[1], wants(theirs.clone(), "30s"));
    assert!(!view.answered);
    members[1].until(|seen| seen.answered && seen.at > Duration::from_secs(300)).await;
}

#[tokio::test(start_paused = true)]
async fn credentials_that_were_refused_once_are_replaced_before_a_failure_is_reported() {
    use client_certificate_operator::aws::gateway::Denial;
    let (gateway, ids) = gateway_with(3);
    let refused = || GatewayError::AccessDenied(Denial::BadCredentials { code: "ExpiredTokenException".into() });
    gateway.inject(Fault::new(Failure::Error(refused())).on(List).once());
    let fleet = Fleet::new(gateway.clone());
    let members = fleet.add_many(ids, &Place::own(REGION), "5m");
    for member in &members {
        assert_eq!(member.until(|_| true).await.outcome, Ok(()));
    }
    gateway.clear_calls();
    gateway.inject(Fault::new(Failure::Error(refused())));
    members[0].until(|seen| seen.outcome == Err(refused().into())).await;
    assert_eq!(gateway.calls().len(), 2, "one call more, and then it is reported, to all at once");
    members[2].until(|seen| seen.outcome == Err(refused().into())).await;
}
