//! Re-imports, renewals, and a stage that goes between generated certificates and those of ACM.

use std::time::Duration;

use client_certificate_operator::api::CertificateRole::{Former, Main};
use kube::api::Patch;
use operator_testing::certificates::NewCertificate;
use operator_testing::emulator::RateLimit;
use operator_testing::script::Operation::{DescribeCertificate, GetCertificate};

use super::*;
use crate::fixture::{A_WHILE, ID};

#[tokio::test]
async fn a_re_import_keeps_the_former_leaf_for_the_overlap_also_through_a_restart() {
    let mut world = World::start("acm-import").await;
    let cas = Cas::new();
    let first = cas.leaf();
    let arn = world.emulator.import_acm(DEFAULT_REGION, first.clone());
    let pins = json!({ "overlap": "1h", "target": { "keys": { "ca.crt": "Bundle", "leaf.pem": "Active", "pins": "Sha256Pins" } } });
    world.create_resource("payments", by_arn(&arn, pins)).await;
    let resource = world.until_ready("payments").await;
    assert_eq!(held(&resource), [(Main, 2)]);
    let status = resource.status.as_ref().unwrap();
    assert_eq!(status.client_certificate_id.as_deref(), Some(arn.as_str()));
    assert_eq!(status.verifier_class.map(|class| format!("{class:?}")).as_deref(), None, "Active is the leaf alone");
    let target = world.target("payments").await;
    assert_eq!(data(&target, "ca.crt"), Some(cas.chain().as_str()));
    assert_eq!(data(&target, "leaf.pem"), Some(first.certificate.as_str()));
    assert_eq!(data(&target, "pins").unwrap().lines().count(), 1);

    // While the operator is away.
    world.stop_operator().await;
    let second = cas.leaf();
    world.emulator.put_acm(&arn, second.clone());
    world.start_operator().await;
    let resource = world.until_it("payments", "both leaves", |resource| held(resource).len() == 2).await;
    assert_eq!(held(&resource), [(Main, 2), (Former, 2)]);
    let target = world.target("payments").await;
    assert_eq!(data(&target, "ca.crt"), Some(cas.chain().as_str()), "one chain");
    assert_eq!(data(&target, "leaf.pem"), Some(second.certificate.as_str()));
    assert_eq!(data(&target, "pins").unwrap().lines().count(), 2);
    assert_eq!(condition(&resource, "Ready").unwrap().status, "True");

    // Through a restart, and without ACM.
    let since = resource.status.as_ref().unwrap().certificates[1].former_since;
    world.stop_operator().await;
    let dead = world.builder().env("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
    world.operator = Some(crate::ground::started(&dead).await);
    tokio::time::sleep(A_WHILE).await;
    let resource = world.resource("payments").await;
    assert_eq!(held(&resource), [(Main, 2), (Former, 2)]);
    assert_eq!(resource.status.as_ref().unwrap().certificates[1].former_since, since);

    // The overlap ends: the re-import was an hour ago.
    let mut certificates = serde_json::to_value(&resource.status.unwrap().certificates).unwrap();
    let earlier = since.unwrap() - jiff::SignedDuration::from_hours(1);
    certificates[1]["formerSince"] = json!(earlier);
    let patch = Patch::Merge(json!({ "status": { "certificates": certificates } }));
    world.resources().patch_status("payments", &Default::default(), &patch).await.unwrap();
    world.until_it("payments", "the overlap has passed", |resource| held(resource) == [(Main, 2)]).await;
    assert_eq!(data(&world.target("payments").await, "pins").unwrap().lines().count(), 1);
}

#[tokio::test]
async fn five_re_imports_within_the_overlap_and_another_ca_are_all_kept() {
    let world = World::start("acm-five").await;
    let (cas, others) = (Cas::new(), Cas::new());
    let arn = world.emulator.import_acm(DEFAULT_REGION, cas.leaf());
    world.create_resource("payments", by_arn(&arn, json!({}))).await;
    world.until_ready("payments").await;
    for number in 2..=6 {
        world.emulator.put_acm(&arn, cas.leaf());
        world.ask_now("payments").await;
        world.until_it("payments", "one more", |resource| held(resource).len() == number).await;
    }
    assert_eq!(bundle(&world, "payments").await, cas.chain());
    world.emulator.put_acm(&arn, others.leaf());
    world.ask_now("payments").await;
    let resource = world.until_it("payments", "the other CA", |resource| held(resource).len() == 7).await;
    assert_eq!(held(&resource)[0], (Main, 2));
    assert_eq!(bundle(&world, "payments").await, format!("{}{}", others.chain(), cas.chain()));
}

#[tokio::test]
async fn a_stage_switches_from_a_generated_certificate_to_acm_and_back_and_the_target_holds_both() {
    let world = World::start("acm-stage").await;
    let cas = Cas::new();
    let arn = world.emulator.import_acm(DEFAULT_REGION, cas.leaf());
    world.emulator.present(DEFAULT_REGION, API, STAGE, Some(ID));
    world.create_resource("payments", on_stage(json!({ "description": "payments" }))).await;
    let resource = world.until_ready("payments").await;
    assert_eq!(held(&resource), [(Main, 0)]);
    world.until("payments", "DescriptionSynced", "True", "Synced").await;

    world.emulator.present(DEFAULT_REGION, API, STAGE, Some(&arn));
    world.ask_now("payments").await;
    let resource = world.until_it("payments", "it follows", |resource| held(resource).len() == 2).await;
    assert_eq!(held(&resource), [(Main, 2), (Former, 0)]);
    assert_eq!(bundle(&world, "payments").await, format!("{}{}", cas.chain(), world.pem(ID)));
    world.until("payments", "DescriptionSynced", "False", "NotApplicable").await;
    assert!(message(&world.resource("payments").await, READ).contains("stage prod of REST API a1b2c3d4e5 presents it"));

    world.emulator.put_acm(&arn, cas.leaf());
    world.ask_now("payments").await;
    world.until_it("payments", "a re-import", |resource| held(resource) == [(Main, 2), (Former, 2), (Former, 0)]).await;

    world.generate(NewCertificate::new().id("k2c0qe"));
    world.emulator.present(DEFAULT_REGION, API, STAGE, Some("k2c0qe"));
    world.ask_now("payments").await;
    let resource = world.until_it("payments", "back", |resource| held(resource).first() == Some(&(Main, 0))).await;
    assert_eq!(held(&resource).len(), 4, "{:?}", held(&resource));
    let bundle = bundle(&world, "payments").await;
    assert!(
        bundle.starts_with(&world.pem("k2c0qe")) && bundle.contains(&cas.chain()) && bundle.contains(&world.pem(ID))
    );
}

#[tokio::test]
async fn thirty_arns_cost_two_calls_each_and_other_resources_cost_none() {
    let world = World::start("acm-thirty").await;
    // The operator makes two calls with each of its 20 tokens.
    let limit = RateLimit { burst: 45, ..RateLimit::default() };
    world.emulator.set_acm_rate_limit(Some(limit));
    let cas = Cas::new();
    world.create_ready("generated", json!({})).await;
    assert_eq!(world.emulator.count(DescribeCertificate), 0);
    let arns: Vec<_> = (0..30).map(|_| world.emulator.import_acm(DEFAULT_REGION, cas.leaf())).collect();
    for (number, arn) in arns.iter().enumerate() {
        for twice in ["a", "b"] {
            let spec = by_arn(arn, json!({ "refreshInterval": "10m" }));
            world.create_resource(&format!("r{number:02}{twice}"), spec).await;
        }
    }
    for number in 0..30 {
        for twice in ["a", "b"] {
            world.until_ready(&format!("r{number:02}{twice}")).await;
        }
    }
    assert_eq!([DescribeCertificate, GetCertificate].map(|operation| world.emulator.count(operation)), [30, 30]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.emulator.acm_throttled(), 0);
}
