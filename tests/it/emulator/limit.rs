//! The rate limit for calls. Its arithmetic has tests beside the code.

use operator_testing::emulator::{AccessKey, DEFAULT_REGION as REGION, Emulator, Fault, HOME_ACCOUNT, RateLimit};
use operator_testing::script::Operation;

use super::{error_type, new};

const PATH: &str = "/clientcertificates/abc123";

/// A limit of three calls in total, however long the test takes.
fn three() -> RateLimit {
    RateLimit { rate: 0.0, burst: 3, retry_after: Some("2".into()) }
}

async fn get(emulator: &Emulator, region: &str) -> u16 {
    emulator.signed(region, "GET", PATH, "").await.unwrap().status
}

#[tokio::test]
async fn calls_over_the_limit_are_throttled_for_every_operation_and_region() {
    let emulator = Emulator::start().await.unwrap();
    emulator.generate(REGION, new().id("abc123"));
    emulator.set_rate_limit(Some(three()));
    let statuses = [get(&emulator, REGION).await, get(&emulator, "eu-west-1").await];
    assert_eq!(statuses, [200, 404]);
    assert_eq!(emulator.signed(REGION, "GET", "/clientcertificates", "").await.unwrap().status, 200);
    let throttled = emulator.signed(REGION, "PATCH", PATH, "{}").await.unwrap();
    assert_eq!(error_type(&throttled), (429, "TooManyRequestsException"));
    assert_eq!(throttled.header("retry-after"), Some("2"));
    assert_eq!((emulator.throttled(), emulator.count(Operation::Update)), (1, 1));
    let identity = emulator.sts(emulator.access_key(), REGION, &[("Action", "GetCallerIdentity")]).await.unwrap();
    assert_eq!(identity.status, 200);
    emulator.set_rate_limit(None);
    assert_eq!(get(&emulator, REGION).await, 200);
}

#[tokio::test]
async fn one_account_is_throttled_to_zero() {
    let emulator = Emulator::start().await.unwrap();
    emulator.generate(REGION, new().id("abc123"));
    emulator.set_rate_limit_of("444455556666", Some(RateLimit::nothing()));
    assert_eq!(get(&emulator, REGION).await, 200);
    emulator.set_rate_limit_of(HOME_ACCOUNT, Some(RateLimit::nothing()));
    assert_eq!(get(&emulator, REGION).await, 429);
    assert_eq!((emulator.throttled_in(HOME_ACCOUNT), emulator.throttled_in("444455556666")), (1, 0));
    emulator.set_rate_limit_of(HOME_ACCOUNT, None);
    assert_eq!(get(&emulator, REGION).await, 200);
}

#[tokio::test]
async fn a_call_with_a_bad_signature_does_not_use_the_rate_limit() {
    let emulator = Emulator::start().await.unwrap();
    emulator.generate(REGION, new().id("abc123"));
    emulator.set_rate_limit(Some(three()));
    let wrong = AccessKey { secret: "another".into(), ..emulator.access_key().clone() };
    for _ in 0..10 {
        assert_eq!(emulator.signed_by(&wrong, REGION, "GET", PATH, "").await.unwrap().status, 403);
    }
    assert_eq!(get(&emulator, REGION).await, 200);
}

#[tokio::test]
async fn a_throttled_call_does_not_change_the_script() {
    let emulator = Emulator::start().await.unwrap();
    emulator.generate(REGION, new().id("abc123"));
    emulator.inject(Fault::error(500, "InternalFailure", "boom").once());
    emulator.set_rate_limit(Some(RateLimit::nothing()));
    assert_eq!(get(&emulator, REGION).await, 429);
    emulator.set_rate_limit(None);
    assert_eq!((get(&emulator, REGION).await, get(&emulator, REGION).await), (500, 200));
}
