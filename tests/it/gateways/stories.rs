//! The behaviour of every gateway, as the guide documents it.

use std::time::Duration;

use client_certificate_operator::api::VerifierClass;
use jiff::Timestamp;
use operator_testing::certificates::NewCertificate;
use operator_testing::emulator::DEFAULT_REGION;
use operator_testing::gateways::HOST;

use serde_json::json;

use super::world::{Form, Guarded, NAME, NEW, Verdict};
use crate::fixture::ID;
use crate::servers::load::Load;
use crate::servers::world::{stranger, until_let_in, until_refused};
use crate::verify::verify;

/// Requests before, between and after the steps of a renewal.
const REQUESTS: usize = 1_000;
const STEPS: usize = 4;
/// The validity of the certificate that expires, in seconds.
const LIFE: i64 = 15;

/// The gateway lets the right certificate in, and refuses no certificate, a stranger's, and another of API Gateway's.
/// `verify` agrees. A change of the target reaches the data plane.
pub async fn one_certificate(form: Form) {
    let world = Guarded::start(form, "gateway-one").await;
    let (old, new, stranger) = (world.identity(ID), world.identity(NEW), stranger());
    until_let_in(&world.client(ID), ID).await;
    world.settle().await;
    let said = world.answers(&[Some(&old), None, Some(&stranger), Some(&new)]).await;
    assert!(said[0].is_let_in(), "the right certificate: {}", said[0]);
    assert!(said[1].is_refused(), "no certificate: {}", said[1]);
    assert!(said[2].is_refused(), "a stranger's certificate of the same name: {}", said[2]);
    assert!(said[3].is_refused(), "another one of ours, which is not in the target: {}", said[3]);
    let (connect, reference) = (world.connect(), format!("{}/{NAME}", world.namespace));
    let report = verify(world.kubeconfig(), &["--connect", &connect, "--server-name", HOST, "--ref", &reference]).await;
    assert_eq!(report.code, 0, "{}{}", report.stdout, report.stderr);

    world.ask_for(&[NEW]).await;
    until_let_in(&world.client(NEW), NEW).await;
    until_refused(&world.client(ID), ID).await;
}

/// With two certificates in the target, in either order, the gateway lets those in that its verifier class implies.
pub async fn two_certificates(form: Form) {
    let world = Guarded::start(form, "gateway-two").await;
    let stranger = stranger();
    for (first, second) in [(NEW, ID), (ID, NEW)] {
        world.ask_for(&[first, second]).await;
        until_let_in(&world.client(first), first).await;
        match form.class() {
            VerifierClass::OverlapSafe => until_let_in(&world.client(second), second).await,
            VerifierClass::FirstWins => until_refused(&world.client(second), second).await,
        }
        world.settle().await;
        let (one, two) = (world.identity(first), world.identity(second));
        let said = world.answers(&[Some(&one), Some(&two), Some(&stranger), None]).await;
        assert!(said[0].is_let_in(), "{first}, then {second}: the first: {}", said[0]);
        match form.class() {
            VerifierClass::OverlapSafe => assert!(said[1].is_let_in(), "{first}, then {second}: {}", said[1]),
            VerifierClass::FirstWins => assert!(said[1].is_refused(), "{first}, then {second}: {}", said[1]),
        }
        assert!(said[2].is_refused() && said[3].is_refused(), "a stranger: {}; none: {}", said[2], said[3]);
    }
}

/// A certificate that expires while it is the only one in the target.
pub async fn expired(form: Form) {
    let world = Guarded::start(form, "gateway-expired").await;
    let short = "short1";
    let made = world.emulator.generate(DEFAULT_REGION, NewCertificate::new().id(short).expires_in_seconds(LIFE));
    world.ask_for(&[short]).await;
    until_let_in(&world.client(short), short).await;
    let left = Timestamp::now().duration_until(made.expires.unwrap()).as_secs_f64() + 1.5;
    assert!(left > 0.0, "the gateway took longer to follow than the certificate lives");
    tokio::time::sleep(Duration::from_secs_f64(left)).await;
    until_refused(&world.client(short), short).await;
    world.settle().await;
    let said = world.answers(&[Some(&stranger()), None]).await;
    assert!(said[0].is_refused() && said[1].is_refused(), "a stranger: {}; none: {}", said[0], said[1]);

    // The expired certificate does not prevent the next one.
    world.ask_for(&[NEW]).await;
    until_let_in(&world.client(NEW), NEW).await;
}

/// The renewal, with the steps of the guide, while a client sends requests without a pause.
pub async fn renewal(form: Form) {
    let world = Guarded::start(form, "gateway-renewal").await;
    let new = world.client(NEW);
    until_let_in(&world.client(ID), ID).await;
    world.settle().await;
    let load = Load::start(world.client(ID));
    load.more(REQUESTS / STEPS).await;

    world.ask_for(&[ID, NEW]).await;
    if form.class() == VerifierClass::OverlapSafe {
        until_let_in(&new, NEW).await;
    }
    load.more(REQUESTS / STEPS).await;
    assert_eq!(load.lost(), Vec::<String>::new(), "the gateway still lets the old one in");

    if form.class() == VerifierClass::FirstWins {
        world.ask_for(&[NEW, ID]).await;
        until_let_in(&new, NEW).await;
    }
    load.change_over(new);
    // Requests in progress with the old certificate get an answer.
    load.more(REQUESTS / STEPS).await;
    let lost = load.lost().len();

    world.ask_for(&[NEW]).await;
    until_refused(&world.client(ID), ID).await;
    load.more(REQUESTS / STEPS).await;
    let figures = load.stop().await;
    let line = figures.print(&format!("gateways: renewal under load: {}", form.name()));
    assert!(figures.sent >= REQUESTS, "{line}");
    assert_eq!(figures.lost.len(), lost, "the new one alone is presented, and let in: {:?}", figures.lost);
    if form.class() == VerifierClass::OverlapSafe {
        assert_eq!(figures.lost, Vec::<String>::new(), "{line}");
    }
}

/// The gateway lets no client in with an invalid object in place of the target: none, an empty one, and these others.
/// The operator's target corrects this.
pub async fn refuses_without_a_target(form: Form, prefix: &str, kind: &str, others: &[Other<'_>]) {
    let mut world = Guarded::start(form, prefix).await;
    world.until(Verdict::Checks).await;

    // No operator restores the removed target.
    world.stop_operator().await;
    world.delete_target().await;
    world.until(Verdict::RefusesAll).await;
    world.create_target(kind, json!({ "ca.crt": "" })).await;
    world.until(Verdict::RefusesAll).await;
    for other in others {
        world.delete_target().await;
        match other {
            Other::Object { kind, key } => world.create_target(kind, json!({ *key: world.pem(ID) })).await,
            Other::SecretOf { type_ } => world.create_secret(type_, json!({ "ca.crt": world.pem(ID) })).await,
        }
        world.until(Verdict::RefusesAll).await;
    }

    world.delete_target().await;
    world.start_operator().await;
    world.until(Verdict::Checks).await;
}

/// An invalid object in place of the target, with the right certificate in it.
pub enum Other<'a> {
    /// An object of another kind, or with another key.
    Object { kind: &'a str, key: &'a str },
    /// A Secret of another type.
    SecretOf { type_: &'a str },
}

/// The gateway exists before the target. It lets no client in, and after the target exists, the clients of the target.
pub async fn refuses_before_the_first_target(form: Form, prefix: &str) {
    let world = Guarded::without_target(form, prefix).await;
    world.until(Verdict::RefusesAll).await;
    world.apply_resource().await;
    world.until(Verdict::Checks).await;
}
