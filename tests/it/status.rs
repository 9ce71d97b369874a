//! The content of the status, and the absence of writes without changes.

mod edited;
mod quiet;
mod written;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use client_certificate_operator::api::CertificateStatus;
use jiff::fmt::strtime;
use operator_testing::certificates::NewCertificate;
use operator_testing::emulator::HOME_ACCOUNT;
use operator_testing::wait::never;
use serde_json::json;

use crate::fixture::{A_WHILE, ID, World, condition, conditions, data};
use crate::ground::source;

/// The lines of `openssl x509` for a PEM.
fn openssl(pem: &str, args: &[&str]) -> Vec<String> {
    let mut command = Command::new("openssl");
    command.args(["x509", "-noout"]).args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("openssl is needed, to be asked for a second opinion");
    child.stdin.take().unwrap().write_all(pem.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn the_status_has_the_values_of_openssl_and_api_gateway() {
    let world = World::start("facts").await;
    let new = NewCertificate::new().id("k2c0qe").description("the second").tag("team", "payments").tag("empty", "");
    let certificate = world.generate(new);
    let spec = json!({ "clientCertificateId": "k2c0qe", "target": { "name": "backend-ca" } });
    let resource = world.create_ready("payments", spec).await;
    let status = resource.status.unwrap();

    let secret = world.target("backend-ca").await;
    let pem = data(&secret, "ca.crt").unwrap();
    let reported = openssl(
        pem,
        &["-serial", "-enddate", "-fingerprint", "-sha256", "-subject", "-nameopt", "sep_comma_plus_space"],
    );
    let [held] = status.certificates.as_slice() else { panic!("{:?}", status.certificates) };
    let end = held.expiration_date.unwrap();
    let fingerprint = held.sha256_fingerprint.clone().unwrap().to_uppercase().into_bytes();
    let fingerprint: Vec<_> = fingerprint.chunks(2).map(|pair| String::from_utf8(pair.to_vec()).unwrap()).collect();
    assert_eq!(
        reported,
        [
            format!("serial={}", held.serial_number.as_ref().unwrap()),
            strtime::format("notAfter=%b %e %H:%M:%S %Y GMT", end).unwrap(),
            format!("sha256 Fingerprint={}", fingerprint.join(":")),
            format!("subject={}", held.subject.as_ref().unwrap()),
        ]
    );
    let expected = CertificateStatus {
        id: "k2c0qe".to_owned(),
        region: Some(source(ID).place.region),
        account_id: Some(HOME_ACCOUNT.to_owned()),
        description: Some("the second".to_owned()),
        created_date: certificate.created,
        expiration_date: certificate.expires,
        tags: BTreeMap::new(),
        ..held.clone()
    };
    assert_eq!(*held, expected);
    let target = status.target.unwrap();
    assert_eq!((format!("{:?}", target.kind), target.name), ("Secret".to_owned(), "backend-ca".to_owned()));
}

#[tokio::test]
async fn kubectl_waits_for_ready_and_describe_shows_the_events() {
    let world = World::start("waits").await;
    world.create("payments", json!({ "description": "mine" })).await;
    let output = world.kubectl(&["wait", "--for=condition=Ready", "ccr/payments", "--timeout=30s"]).await;
    assert!(output.status.success(), "{output:?}");
    world.until("payments", "DescriptionSynced", "True", "Synced").await;
    world.until_events("payments", &[("Normal DescriptionUpdated", 1), ("Normal TargetCreated", 1)]).await;
    let output = world.kubectl(&["describe", "ccr", "payments"]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    for words in ["Mirrored", "Secret payments holds the certificate", "created Secret payments", "mine"] {
        assert!(text.contains(words), "{words:?} is not in:\n{text}");
    }
}

#[tokio::test]
async fn every_condition_refers_to_the_current_spec_and_its_time_changes_only_with_its_status() {
    let world = World::start("generation").await;
    let before = world.create_ready("payments", json!({})).await;
    for team in ["a", "b"] {
        world.patch("payments", json!({ "spec": { "target": { "labels": { "team": team } } } })).await;
    }
    let after = world.until_ready("payments").await;
    assert_eq!(after.metadata.generation, Some(3));
    let status = after.status.as_ref().unwrap();
    assert_eq!(status.observed_generation, Some(3));
    let types: Vec<_> = status.conditions.iter().map(|condition| condition.type_.as_str()).collect();
    assert_eq!(types, ["Ready", "CertificateRead", "TargetWritten", "Expiring"]);
    for now in &status.conditions {
        assert_eq!(now.observed_generation, Some(3), "{}", now.type_);
        assert_eq!(now.last_transition_time, condition(&before, &now.type_).unwrap().last_transition_time);
    }
}

#[tokio::test]
async fn a_certificate_that_expires_soon_is_reported_once_and_stays_ready() {
    let world = World::start("expiring").await;
    world.generate(NewCertificate::new().id("endsin10").expires_in_seconds(10 * 24 * 3600));
    world.create_ready("payments", json!({ "clientCertificateId": "endsin10" })).await;
    let resource = world.until("payments", "Expiring", "True", "EndsSoon").await;
    let end = resource.status.as_ref().unwrap().certificates[0].expiration_date.unwrap().to_string();
    assert!(condition(&resource, "Expiring").unwrap().message.contains(&end), "{:?}", conditions(&resource));
    assert!(condition(&resource, "Stalled").is_none());
    // Another reconcile does not repeat the event.
    world.patch("payments", json!({ "spec": { "target": { "labels": { "team": "a" } } } })).await;
    world.until_ready("payments").await;
    let reported = [("Normal TargetCreated", 1), ("Normal TargetUpdated", 1), ("Warning Expiring", 1)];
    world.until_events("payments", &reported).await;
    world.create_ready("lasting", json!({})).await;
    world.until("lasting", "Expiring", "False", "EndsLater").await;
}

#[tokio::test]
async fn the_condition_expiring_changes_between_two_refreshes() {
    let mut world = World::without_operator("limit").await;
    world.start_operator_with(&["--expiring-within=1h"]).await;
    world.generate(NewCertificate::new().id("endsin1h").expires_in_seconds(3600 + 8));
    world.create("payments", json!({ "clientCertificateId": "endsin1h" })).await;
    world.until("payments", "Expiring", "False", "EndsLater").await;
    world.until("payments", "Expiring", "True", "EndsSoon").await;
    assert_eq!(world.reads("endsin1h"), 1, "a timer of its own, not a refresh");
}

#[tokio::test]
async fn a_certificate_that_expires_while_the_operator_runs_stalls_and_keeps_the_target() {
    let world = World::start("ends").await;
    world.generate(NewCertificate::new().id("endsnow").expires_in_seconds(8));
    world.create_ready("payments", json!({ "clientCertificateId": "endsnow" })).await;
    let before = world.target("payments").await;
    world.until("payments", "Ready", "False", "Expired").await;
    let resource = world.until("payments", "Stalled", "True", "Expired").await;
    let message = &condition(&resource, "Ready").unwrap().message;
    assert!(message.contains("endsnow") && message.contains("generate a new one"), "{message}");
    never(A_WHILE, "the target changes", async || {
        Some(world.secrets().get_opt("payments").await.unwrap()).filter(|found| found.as_ref() != Some(&before))
    })
    .await;
    assert_eq!(world.events("payments").await["Warning Expired"], 1);

    // Another certificate ends the condition.
    world.patch("payments", json!({ "spec": { "clientCertificateId": ID } })).await;
    let resource = world.until_ready("payments").await;
    assert!(condition(&resource, "Stalled").is_none());
    assert_eq!(data(&world.target("payments").await, "ca.crt"), Some(world.pem(ID).as_str()));
}
