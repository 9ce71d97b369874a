//! Several certificates in a target: their order, failed reads, and the end of a renewal.

use client_certificate_operator::api::{ClientCertificateRef, REFRESH_ANNOTATION};
use client_certificate_operator::conditions::whole_seconds;
use operator_testing::certificates::NewCertificate;
use operator_testing::emulator::Fault;
use operator_testing::script::Operation;
use operator_testing::wait::{eventually, never};
use serde_json::{Value, json};

use crate::fixture::{A_WHILE, ID, MINUTES, SOON, World, condition, conditions, data};
use crate::ground::source;

const SECOND: &str = "k2c0qe";
const THIRD: &str = "q4w8zt";
const OTHERS: &str = "AdditionalCertificatesRead";

async fn world(prefix: &str) -> World<'static> {
    let world = World::start(prefix).await;
    for id in [SECOND, THIRD] {
        world.generate(NewCertificate::new().id(id));
    }
    world
}

fn with(ids: &[&str]) -> Value {
    json!({ "additionalClientCertificateIds": ids })
}

async fn bundle(world: &World<'_>, name: &str) -> String {
    data(&world.target(name).await, "ca.crt").unwrap().to_owned()
}

async fn until_bundle(world: &World<'_>, name: &str, expected: &str) {
    world.until_target(SOON, name, "its bundle", |target| data(target, "ca.crt") == Some(expected)).await;
}

fn held(resource: &ClientCertificateRef) -> Vec<&str> {
    resource.status.iter().flat_map(|status| &status.certificates).map(|held| held.id.as_str()).collect()
}

fn message<'r>(resource: &'r ClientCertificateRef, type_: &str) -> &'r str {
    &condition(resource, type_).unwrap().message
}

#[tokio::test]
async fn the_main_certificate_is_first_and_the_others_follow_in_order() {
    let world = world("order").await;
    let (main, second, third) = (world.pem(ID), world.pem(SECOND), world.pem(THIRD));
    let keys = json!({ "ca.crt": "Bundle", "main.pem": "Active" });
    let resource = world
        .create_ready(
            "payments",
            json!({ "additionalClientCertificateIds": [THIRD, SECOND], "target": { "keys": keys } }),
        )
        .await;
    let target = world.target("payments").await;
    assert_eq!(data(&target, "ca.crt"), Some(format!("{main}{third}{second}").as_str()));
    assert_eq!(data(&target, "main.pem"), Some(main.as_str()));
    assert_eq!(held(&resource), [ID, THIRD, SECOND]);
    for certificate in &resource.status.as_ref().unwrap().certificates {
        let made = world.emulator.certificate(&source(&certificate.id)).unwrap();
        assert_eq!(certificate.expiration_date, made.expires.map(whole_seconds), "its own facts");
    }
    assert!(message(&resource, OTHERS).contains(SECOND) && message(&resource, "Ready").contains("3 certificates"));

    assert!(!message(&resource, OTHERS).contains("first certificate"), "a plain ca.crt is read by many");
    let nginx = json!({ "additionalClientCertificateIds": [SECOND], "target": { "preset": "NginxOrgCa" } });
    let nginx = world.create_ready("nginx", nginx).await;
    assert!(message(&nginx, OTHERS).contains("accept only the first certificate"), "{:?}", conditions(&nginx));

    world.patch("payments", json!({ "spec": with(&[SECOND, THIRD]) })).await;
    until_bundle(&world, "payments", &format!("{main}{second}{third}")).await;
    world.patch("payments", json!({ "spec": with(&[]) })).await;
    until_bundle(&world, "payments", &main).await;
    let resource = eventually(SOON, "nothing is said of additional certificates", async || {
        let resource = world.resource("payments").await;
        if condition(&resource, OTHERS).is_none() { Ok(resource) } else { Err(conditions(&resource).join("; ")) }
    })
    .await;
    assert_eq!(held(&resource), [ID]);
}

#[tokio::test]
async fn a_certificate_with_two_ids_is_held_once() {
    let world = world("twice").await;
    let main = world.pem(ID);
    world.emulator.set_pem(&source(SECOND), &main);
    let resource = world.create_ready("payments", with(&[SECOND, THIRD])).await;
    assert_eq!(bundle(&world, "payments").await, main + &world.pem(THIRD));
    assert_eq!(held(&resource), [ID, THIRD], "and reported once, as the main one");
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_removes_nothing() {
    let world = world("broken").await;
    let expected = world.pem(ID) + &world.pem(THIRD);
    for id in ["over00", "waste0", "busy00", "down00"] {
        world.generate(NewCertificate::new().id(id));
    }
    world.emulator.expire(&source("over00"));
    world.emulator.set_pem(&source("waste0"), "testcert-123");
    // Without this fault, the list would contain them.
    world.emulator.inject(Fault::error(403, "AccessDeniedException", "no").on(Operation::List));
    world.emulator.set_faults_of("busy00", [Fault::throttled(Some("1"))]);
    world.emulator.set_faults_of("down00", [Fault::error(500, "InternalFailure", "down")]);
    for (id, reason, words) in [
        ("gone00", "NotFound", "gone00: "),
        ("over00", "Expired", "the target does not hold it"),
        ("waste0", "InvalidCertificate", "the text is not PEM"),
        ("down00", "Unavailable", "the target does not hold it"),
        ("busy00", "Throttled", "the target does not hold it"),
    ] {
        let name = id.replace("00", "");
        world.create_ready(&name, with(&[id, THIRD])).await;
        let resource = world.until(&name, OTHERS, "False", reason).await;
        assert!(message(&resource, OTHERS).contains(words), "{:?}", conditions(&resource));
        until_bundle(&world, &name, &expected).await;
        let resource = world.until_ready(&name).await;
        assert_eq!(held(&resource), [ID, THIRD], "{id}");
        assert!(condition(&resource, "Stalled").is_none());
        // The event is recorded after the status.
        eventually(SOON, &format!("the event {reason} of {name} is reported once"), async || {
            let events = world.events(&name).await;
            if events.get(&format!("Warning {reason}")) == Some(&1) { Ok(()) } else { Err(format!("{events:?}")) }
        })
        .await;
    }
    // The certificate is created later, like by Terraform.
    world.generate(NewCertificate::new().id("gone00"));
    let refresh = json!({ "metadata": { "annotations": { REFRESH_ANNOTATION: "1" } } });
    world.patch("gone", refresh).await;
    let expected = world.pem(ID) + &world.pem("gone00") + &world.pem(THIRD);
    until_bundle(&world, "gone", &expected).await;
    world.until("gone", OTHERS, "True", "Read").await;
}

#[tokio::test]
async fn certificates_stay_in_the_target_even_after_a_restart_that_cannot_read_them() {
    let mut world = world("kept-more").await;
    world.create_ready("payments", with(&[SECOND])).await;
    let expected = bundle(&world, "payments").await;
    let writes = world.target_writes();
    world.stop_operator().await;
    world.emulator.inject(Fault::error(403, "AccessDeniedException", "no").on(Operation::List));
    world.emulator.set_faults_of(SECOND, [Fault::throttled(Some("1"))]);
    world.start_operator().await;
    eventually(SOON, "the second was asked for", async || world.reads(SECOND) > 1).await;
    tokio::time::sleep(A_WHILE).await;
    let resource = world.until("payments", OTHERS, "True", "Read").await;
    assert_eq!(held(&resource), [ID, SECOND], "a failure that passes changes nothing");
    assert_eq!(bundle(&world, "payments").await, expected);

    world.emulator.set_faults_of(SECOND, []);
    world.until("payments", OTHERS, "True", "Read").await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(world.target_writes(), writes, "no write was repeated");
}

#[tokio::test]
async fn a_certificate_that_aws_deleted_stays_out_of_the_target_whatever_later_reads_bring() {
    let mut world = world("deleted-more").await;
    world.create_ready("payments", with(&[SECOND])).await;
    let main = world.pem(ID);
    assert!(world.emulator.delete(&source(SECOND)));
    let refresh = async |world: &World<'_>, value: &str| {
        let calls = world.emulator.calls().len();
        world.patch("payments", json!({ "metadata": { "annotations": { REFRESH_ANNOTATION: value } } })).await;
        eventually(MINUTES, "a list or a read ends", async || world.emulator.calls().len() > calls).await;
    };
    refresh(&world, "1").await;
    until_bundle(&world, "payments", &main).await;
    world.until("payments", OTHERS, "False", "NotFound").await;
    for (number, fault) in [
        Fault::error(500, "InternalFailure", "down"),
        Fault::throttled(Some("1")),
        Fault::error(403, "AccessDeniedException", "no"),
    ]
    .into_iter()
    .enumerate()
    {
        world.emulator.clear_faults();
        world.emulator.inject(fault.clone().on(Operation::List));
        world.emulator.set_faults_of(SECOND, [fault.clone()]);
        refresh(&world, &format!("after {number}")).await;
        let comes_back = async || Some(bundle(&world, "payments").await).filter(|bundle| *bundle != main);
        never(A_WHILE, &format!("the second again after {fault:?}"), comes_back).await;
    }
    world.stop_operator().await;
    world.start_operator().await;
    let comes_back = async || Some(bundle(&world, "payments").await).filter(|bundle| *bundle != main);
    never(A_WHILE, "the second again after a restart", comes_back).await;
}

#[tokio::test]
async fn the_two_certificates_of_a_renewal_change_places_even_while_api_gateway_is_down() {
    let world = world("renewed").await;
    world.create_ready("payments", with(&[SECOND])).await;
    world.emulator.inject(Fault::error(500, "InternalFailure", "down"));
    let end = json!({ "spec": { "clientCertificateId": SECOND, "additionalClientCertificateIds": [ID] } });
    world.patch("payments", end).await;
    let expected = world.pem(SECOND) + &world.pem(ID);
    until_bundle(&world, "payments", &expected).await;
    let resource = world.until_ready("payments").await;
    assert_eq!(held(&resource), [SECOND, ID]);
    world.emulator.clear_faults();
    world.patch("payments", json!({ "spec": with(&[]) })).await;
    until_bundle(&world, "payments", &world.pem(SECOND)).await;
}

#[tokio::test]
async fn an_expired_certificate_leaves_the_target_on_time_and_the_others_stay() {
    let world = world("ends").await;
    world.generate(NewCertificate::new().id("short0").expires_in_seconds(6));
    world.generate(NewCertificate::new().id("short1").expires_in_seconds(6));
    world.create_ready("additional", with(&["short0", SECOND])).await;
    let main = json!({ "clientCertificateId": "short1", "additionalClientCertificateIds": [SECOND] });
    world.create_resource("main", main).await;
    world.until_ready("main").await;
    assert_eq!(bundle(&world, "additional").await, world.pem(ID) + &world.pem("short0") + &world.pem(SECOND));
    assert_eq!(bundle(&world, "main").await, world.pem("short1") + &world.pem(SECOND));

    until_bundle(&world, "additional", &(world.pem(ID) + &world.pem(SECOND))).await;
    let resource = world.until("additional", OTHERS, "False", "Expired").await;
    assert_eq!((condition(&resource, "Ready").unwrap().status.as_str(), held(&resource)), ("True", vec![ID, SECOND]));
    until_bundle(&world, "main", &world.pem(SECOND)).await;
    let resource = world.until("main", "Ready", "False", "Expired").await;
    assert_eq!(held(&resource), [SECOND]);
    assert_eq!(condition(&resource, "Expiring").unwrap().status, "True");
    assert_eq!(condition(&resource, "TargetWritten").unwrap().status, "True");
    let expected = [("Normal TargetCreated", 1), ("Normal TargetUpdated", 1), ("Warning Expired", 1)];
    world.until_events("additional", &expected).await;
}

#[tokio::test]
async fn sixty_certificates_are_read_by_few_calls() {
    let world = world("sixty").await;
    let ids: Vec<String> = (0..60).map(|n| format!("more{n:02}")).collect();
    let expected: String = ids
        .iter()
        .map(|id| {
            world.generate(NewCertificate::new().id(id));
            world.pem(id)
        })
        .collect();
    let resource = world.create_ready("payments", json!({ "additionalClientCertificateIds": ids })).await;
    assert_eq!(bundle(&world, "payments").await, world.pem(ID) + &expected);
    assert_eq!(held(&resource).len(), 61);
    let calls = world.emulator.count(Operation::Get) + world.emulator.count(Operation::List);
    assert!(calls <= 4, "{calls} calls");
}

#[tokio::test]
async fn the_end_of_a_suspension_and_the_refresh_annotation_read_all_certificates() {
    let world = world("forced").await;
    world.create_ready("payments", with(&[SECOND])).await;
    world.patch("payments", json!({ "spec": { "suspend": true } })).await;
    world.until("payments", "Suspended", "True", "Suspended").await;
    world.emulator.renew(&source(SECOND), NewCertificate::new().shared_key());
    tokio::time::sleep(A_WHILE).await;
    assert_ne!(bundle(&world, "payments").await, world.pem(ID) + &world.pem(SECOND));
    world.patch("payments", json!({ "spec": { "suspend": false } })).await;
    until_bundle(&world, "payments", &(world.pem(ID) + &world.pem(SECOND))).await;

    world.emulator.renew(&source(SECOND), NewCertificate::new().shared_key());
    world.patch("payments", json!({ "metadata": { "annotations": { REFRESH_ANNOTATION: "now" } } })).await;
    until_bundle(&world, "payments", &(world.pem(ID) + &world.pem(SECOND))).await;
    eventually(SOON, "the refresh counts as acted on", async || {
        let status = world.resource("payments").await.status.unwrap();
        if status.last_handled_refresh.as_deref() == Some("now") { Ok(()) } else { Err("not yet") }
    })
    .await;
}
