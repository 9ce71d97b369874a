//! Invalid certificates from API Gateway, and certificates that appear and disappear.

use std::time::Duration;

use operator_testing::certificates::NewCertificate;
use operator_testing::emulator::Fault;
use operator_testing::wait::{eventually, never};
use serde_json::json;

use crate::faults::{SOON, World};

#[tokio::test]
async fn invalid_certificates_are_refused_with_their_reason_and_the_last_target_stays() {
    let world = World::apart("hygiene").await;
    let operator = world.operator().await;
    world.certificate("model");
    let model = world.pem("model");
    let key = world.emulator.private_key(&world.source("model")).unwrap();
    let half = &model[..model.len() / 2];
    let odd = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    let not_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let cases = [
        ("empty", String::new(), "is empty"),
        ("blank", " \r\n \r\n".to_owned(), "is empty"),
        ("key", key.clone(), "a private key"),
        ("certificate-and-key", format!("{model}{key}"), "a private key"),
        ("garbage", "testcert-123".to_owned(), "not PEM"),
        ("truncated", half.to_owned(), "truncated"),
        ("other-block", odd.to_owned(), "not a CERTIFICATE"),
        ("not-base64", "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----".to_owned(), "not base64"),
        ("not-x509", not_der.to_owned(), "does not hold an X.509 certificate"),
    ];
    for (id, pem, says) in &cases {
        world.certificate(id);
        let good_pem = world.emulator.certificate(&world.source(id)).unwrap().pem;
        world.emulator.set_pem(&world.source(id), pem);
        world.create(id, json!({ "clientCertificateId": id })).await;
        let conditions = world.wait_for(id, "CertificateRead", "False InvalidCertificate", 1).await;
        assert!(conditions["CertificateRead"].message.contains(says), "{id}: {conditions:?}");
        assert_eq!(conditions["Ready"].reason, "InvalidCertificate");
        assert_eq!(conditions["Stalled"].status, "True");
        assert_eq!(world.target(id).await, None, "{id}");

        world.emulator.set_pem(&world.source(id), &good_pem);
        let generation = world.hasten(id).await;
        world.wait_ready(id, generation).await;
        let good = world.target(id).await;
        assert_eq!(good.as_ref().unwrap().0, world.pem(id));
        world.emulator.set_pem(&world.source(id), pem);
        let generation = world.hasten(id).await;
        let conditions = world.wait_for(id, "Ready", "False InvalidCertificate", generation).await;
        assert!(conditions["CertificateRead"].message.contains(says), "{id}: {conditions:?}");
        assert_eq!(conditions["Stalled"].status, "True");
        assert_eq!(world.target(id).await, good, "{id}");
        world.wait_for_event(id, "InvalidCertificate").await;
    }
    no_word_of(&key, &world, &operator.logs()).await;
}

/// Checks that a private key appears nowhere: in no status, event, Secret, or log line.
async fn no_word_of(key: &str, world: &World<'_>, logs: &[String]) {
    let mut places = logs.to_vec();
    for resource in ["clientcertificaterefs", "events", "secrets"] {
        let mut kubectl = world.control_plane.kubectl();
        let output =
            kubectl.args(["get", resource, "--namespace", &world.namespace, "--output=json"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        places.push(String::from_utf8(output.stdout).unwrap());
    }
    let secrets = world.secrets().list(&Default::default()).await.unwrap();
    let values = secrets.items.into_iter().flat_map(|secret| secret.data.unwrap_or_default().into_values());
    places.extend(values.map(|value| String::from_utf8_lossy(&value.0).into_owned()));
    for line in key.lines().filter(|line| line.len() > 8 && !line.starts_with('-')) {
        let found = places.iter().find(|place| place.contains(line));
        assert_eq!(found, None, "a line of the private key");
    }
    assert!(places.iter().any(|place| place.contains("BEGIN CERTIFICATE")), "the places were not looked at");
}

#[tokio::test]
async fn an_expired_certificate_is_refused_and_the_last_target_stays() {
    let world = World::apart("expired").await;
    let _operator = world.operator().await;
    world.certificate_like("from-the-start", NewCertificate::new().expires_in_seconds(-60));
    world.create("from-the-start", json!({ "clientCertificateId": "from-the-start" })).await;
    let conditions = world.wait_for("from-the-start", "Ready", "False Expired", 1).await;
    assert_eq!(conditions["CertificateRead"].reason, "Expired");
    assert_eq!(conditions["Stalled"].reason, "Expired");
    assert_eq!(world.target("from-the-start").await, None);

    world.mirrored("later", true).await;
    let good = world.target("later").await;
    world.emulator.expire(&world.source("later")).unwrap();
    let generation = world.hasten("later").await;
    let conditions = world.wait_for("later", "Ready", "False Expired", generation).await;
    assert!(conditions["CertificateRead"].message.contains("generate a new one"), "{conditions:?}");
    assert_eq!(world.target("later").await, good);
    world.emulator.renew(&world.source("later"), NewCertificate::new().shared_key()).unwrap();
    let generation = world.hasten("later").await;
    world.wait_ready("later", generation).await;
    assert_eq!(world.target("later").await.unwrap().0, world.pem("later"));
}

#[tokio::test]
async fn line_ends_are_corrected_and_several_blocks_keep_their_order() {
    let world = World::apart("blocks").await;
    let _operator = world.operator().await;
    for id in ["first", "second"] {
        world.certificate(id);
    }
    let sent = world.emulator.certificate(&world.source("first")).unwrap().pem;
    assert!(sent.contains("\r\n") && !sent.ends_with('\n'), "the emulator answers as API Gateway does");
    world.create("first", json!({ "clientCertificateId": "first" })).await;
    world.wait_for_target("first", "first").await;

    let both = format!("{sent}\r\n{}", world.emulator.certificate(&world.source("second")).unwrap().pem);
    let expected = world.pem("first") + &world.pem("second");
    world.emulator.set_pem(&world.source("first"), &both);
    let generation = world.hasten("first").await;
    world.wait_ready("first", generation).await;
    assert_eq!(world.target("first").await.unwrap().0, expected);
}

#[tokio::test]
async fn a_deleted_target_is_restored_while_api_gateway_throttles_but_not_after_the_certificate_is_deleted() {
    let world = World::apart("vanishing").await;
    let _operator = world.operator().await;
    for id in ["throttled", "gone"] {
        world.mirrored(id, true).await;
    }
    world.emulator.set_faults_of("throttled", [Fault::throttled(Some("1"))]);
    let generation = world.hasten("throttled").await;
    world.wait_for("throttled", "CertificateRead", "True Read", generation).await;
    world.secrets().delete("throttled", &Default::default()).await.unwrap();
    world.wait_for_target("throttled", "throttled").await;
    world.wait_ready("throttled", generation).await;

    let good = world.target("gone").await;
    let pem = world.pem("gone");
    assert!(world.emulator.delete(&world.source("gone")));
    let generation = world.hasten("gone").await;
    let conditions = world.wait_for("gone", "Ready", "False NotFound", generation).await;
    assert!(!conditions.contains_key("Stalled"), "it may come back: {conditions:?}");
    assert_eq!(world.target("gone").await, good, "the last good target is kept");
    world.secrets().delete("gone", &Default::default()).await.unwrap();
    world.wait_for("gone", "TargetWritten", "Unknown NoCertificate", generation).await;
    never(Duration::from_secs(3), "a target of a certificate that is gone", async || world.target("gone").await).await;

    assert!(world.emulator.restore(&world.source("gone")));
    let generation = world.hasten("gone").await;
    world.wait_ready("gone", generation).await;
    assert_eq!(world.target("gone").await.unwrap().0, pem);
}

/// The status shows the last conclusive answer of AWS until the next one.
#[tokio::test]
async fn a_failure_that_passes_changes_nothing_after_one_that_does_not() {
    let world = World::apart("conclusive").await;
    let mut operator = world.operator().await;
    let failures = [
        ("gone", "False NotFound", None),
        ("denied", "False AccessDenied", Some(Fault::error(403, "AccessDeniedException", "no"))),
    ];
    for (id, expected, fault) in failures {
        world.certificate(id);
        world.create(id, json!({ "clientCertificateId": id, "refreshInterval": "30s" })).await;
        world.wait_ready(id, 1).await;
        if fault.is_none() {
            assert!(world.emulator.delete(&world.source(id)));
        }
        world.emulator.set_faults_of(id, fault);
        world.refreshed(id, "conclusive").await;
        let before = world.wait_for(id, "Ready", expected, 1).await;
        let transient = [Fault::throttled(Some("1")), Fault::error(500, "InternalFailure", "down")];
        // The second round is longer than the refreshInterval, and has a new process.
        for (round, fault) in transient.into_iter().enumerate() {
            world.emulator.set_faults_of(id, [fault]);
            if round == 1 {
                operator.terminate(SOON).await.unwrap();
                operator = world.operator().await;
            }
            let reads = world.emulator.calls().len();
            world.refresh(id, &format!("transient {round}")).await;
            eventually(SOON, "a read fails", async || world.emulator.calls().len() > reads).await;
            let wait = if round == 1 { Duration::from_secs(40) } else { Duration::from_secs(4) };
            never(wait, "another condition", async || {
                let now = world.conditions(id).await;
                (now != before).then_some(now)
            })
            .await;
        }
    }
}

/// A failure to read another certificate is not one of the certificate that the spec names again.
#[tokio::test]
async fn a_corrected_id_has_its_target_although_aws_is_silent() {
    let world = World::new("corrected").await;
    let _operator = world.operator().await;
    world.mirrored("right", true).await;
    let generation = world.change("right", json!({ "clientCertificateId": "typo00" })).await;
    world.wait_for("right", "Ready", "False NotFound", generation).await;
    world.emulator.set_latency(Duration::from_secs(600));
    let generation = world.change("right", json!({ "clientCertificateId": "right" })).await;
    world.wait_for("right", "CertificateRead", "Unknown NotRead", generation).await;
    world.secrets().delete("right", &Default::default()).await.unwrap();
    world.wait_for_target("right", "right").await;
    world.wait_ready("right", generation).await;
}

#[tokio::test]
async fn a_certificate_that_is_not_valid_yet_is_waited_for() {
    let world = World::apart("early").await;
    let _operator = world.operator().await;
    // The validity of 365 days begins some seconds from now.
    world.certificate_like("early", NewCertificate::new().expires_in_seconds(365 * 24 * 60 * 60 + 20));
    world.create("early", json!({ "clientCertificateId": "early" })).await;
    let conditions = world.wait_for("early", "Ready", "False NotYetValid", 1).await;
    assert_eq!(conditions["CertificateRead"].reason, "NotYetValid");
    assert!(conditions["CertificateRead"].message.contains("is not valid before"), "{conditions:?}");
    assert!(!conditions.contains_key("Stalled"), "it becomes valid: {conditions:?}");
    assert_eq!(world.target("early").await, None);
    world.wait_ready("early", 1).await;
    assert_eq!(world.target("early").await.unwrap().0, world.pem("early"));
}
