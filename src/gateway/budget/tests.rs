use std::num::NonZeroU32;
use std::time::Duration;

use super::*;

fn budget(rate: f64, burst: u32) -> Budget {
    let limits = Limits { rate, burst: NonZeroU32::new(burst).unwrap() };
    Budget::new(limits, Clock::start(), Arc::new(Metrics::default()))
}

fn bucket(region: &str) -> Bucket {
    Bucket { account: None, region: region.into() }
}

fn throttled(seconds: u64) -> GatewayError {
    GatewayError::Throttled { retry_after: Some(Duration::from_secs(seconds)) }
}

#[tokio::test(start_paused = true)]
async fn tokens_come_at_the_rate_and_each_bucket_has_its_own() {
    let budget = budget(5.0, 2);
    for _ in 0..12 {
        budget.acquire(&bucket("here"), Turn::Refresh, "a").await.unwrap();
    }
    let took = budget.clock.now();
    assert!(took >= Duration::from_millis(1900) && took <= Duration::from_millis(2200), "{took:?}");
    budget.acquire(&bucket("there"), Turn::Refresh, "a").await.unwrap();
    assert_eq!(budget.clock.now(), took, "another region has tokens of its own");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_is_served_in_turn() {
    let budget = Arc::new(budget(10.0, 1));
    budget.acquire(&bucket("here"), Turn::First, "a").await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiting = Vec::new();
    for (turn, namespace) in
        [(Turn::Refresh, "a"), (Turn::Refresh, "a"), (Turn::Refresh, "a"), (Turn::Refresh, "b"), (Turn::First, "a")]
    {
        let (budget, order) = (Arc::clone(&budget), Arc::clone(&order));
        waiting.push(tokio::spawn(async move {
            budget.acquire(&bucket("here"), turn, namespace).await.unwrap();
            order.lock().unwrap().push((turn, namespace));
        }));
        tokio::task::yield_now().await;
    }
    assert_eq!(budget.waiting(&bucket("here")), 5);
    for task in waiting {
        task.await.unwrap();
    }
    let refresh = |namespace| (Turn::Refresh, namespace);
    assert_eq!(*order.lock().unwrap(), [(Turn::First, "a"), refresh("a"), refresh("b"), refresh("a"), refresh("a")]);
    assert_eq!(budget.waiting(&bucket("here")), 0);
}

#[tokio::test(start_paused = true)]
async fn a_closed_bucket_sends_away_those_who_wait_and_those_who_come() {
    let budget = Arc::new(budget(1.0, 1));
    budget.acquire(&bucket("here"), Turn::First, "a").await.unwrap();
    let waiting = {
        let budget = Arc::clone(&budget);
        tokio::spawn(async move { budget.acquire(&bucket("here"), Turn::First, "a").await })
    };
    tokio::task::yield_now().await;
    budget.report(&bucket("here"), "", Some(&throttled(7)));
    assert_eq!(waiting.await.unwrap().unwrap_err().failure, throttled(7));
    assert!(budget.acquire(&bucket("here"), Turn::First, "a").await.is_err());
    assert!(budget.closed(&bucket("here")).is_some() && budget.closed(&bucket("there")).is_none());
    tokio::time::sleep(Duration::from_secs(8)).await;
    budget.acquire(&bucket("here"), Turn::First, "a").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_costs_no_token() {
    let budget = budget(1.0, 1);
    budget.acquire(&bucket("here"), Turn::First, "a").await.unwrap();
    let here = bucket("here");
    let gone = tokio::time::timeout(Duration::from_millis(10), budget.acquire(&here, Turn::First, "a"));
    assert!(gone.await.is_err());
    let before = budget.clock.now();
    budget.acquire(&bucket("here"), Turn::First, "b").await.unwrap();
    assert!(budget.clock.now() - before <= Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_word_of_api_gateways_closes_nothing() {
    let budget = budget(1.0, 1);
    for failure in [
        GatewayError::NotFound,
        GatewayError::Unavailable { outage: Outage::NoSession, retry_after: None },
        GatewayError::Unavailable { outage: Outage::NotUnderstood, retry_after: None },
    ] {
        budget.report(&bucket("here"), "", Some(&failure));
        assert_eq!(budget.closed(&bucket("here")), None, "{failure}");
    }
    let down = GatewayError::Unavailable { outage: Outage::Status(503), retry_after: None };
    budget.report(&bucket("here"), "", Some(&down));
    assert_eq!(budget.closed(&bucket("here")).unwrap().failure, down);
}
