//! What ACM, the schema and the rules refuse.

use std::time::Duration;

use client_certificate_operator::api::CertificateRole::Main;
use kube::Api;
use kube::api::{ApiResource, DynamicObject};
use operator_testing::emulator::Fault;
use operator_testing::script::Operation::{DescribeCertificate, GetCertificate};
use operator_testing::wait::eventually;

use super::*;
use crate::fixture::MINUTES;
use crate::ground::started;

#[tokio::test]
async fn every_state_of_a_certificate_has_its_reason_and_keeps_the_target() {
    let world = World::start("acm-states").await;
    let cas = Cas::new();
    let cases = [
        ("pending", "PENDING_VALIDATION", "NotIssued", false),
        ("failed", "FAILED", "NotIssued", false),
        ("revoked", "REVOKED", "Revoked", true),
        ("inactive", "INACTIVE", "Revoked", true),
        ("expired", "EXPIRED", "Expired", true),
    ];
    let arns: Vec<_> = cases.iter().map(|_| world.emulator.import_acm(DEFAULT_REGION, cas.leaf())).collect();
    for ((name, ..), arn) in cases.iter().zip(&arns) {
        world.create_resource(name, by_arn(arn, json!({}))).await;
        world.until_ready(name).await;
    }
    for ((name, status, reason, is_final), arn) in cases.iter().zip(&arns) {
        assert!(world.emulator.set_acm_status(arn, status));
        world.ask_now(name).await;
        let resource = world.until(name, READ, "False", reason).await;
        assert_eq!(condition(&resource, "Stalled").is_some(), *is_final, "{name}");
        assert_eq!(held(&resource), [(Main, 2)], "{name}");
        assert_eq!(bundle(&world, name).await, cas.chain(), "{name}");
        if *reason != "Expired" {
            assert!(message(&resource, READ).contains(arn), "{}", message(&resource, READ));
        }
    }
}

#[tokio::test]
async fn a_missing_denied_or_throttled_arn_keeps_the_target() {
    let world = World::start("acm-failures").await;
    let cas = Cas::new();
    let names = ["gone", "denied", "throttled"];
    let arns: Vec<_> = names.iter().map(|_| world.emulator.import_acm(DEFAULT_REGION, cas.leaf())).collect();
    for (name, arn) in names.iter().zip(&arns) {
        world.create_resource(name, by_arn(arn, json!({}))).await;
        world.until_ready(name).await;
    }
    assert!(world.emulator.lose_acm(&arns[0]));
    world.ask_now("gone").await;
    let resource = world.until("gone", READ, "False", "NotFound").await;
    assert!(
        message(&resource, READ).starts_with("ACM has no certificate arn:aws:acm:"),
        "{}",
        message(&resource, READ)
    );

    let denied = Fault::error(400, "AccessDeniedException", "no");
    world.emulator.inject(denied.on(GetCertificate).of(&arns[1]));
    world.ask_now("denied").await;
    let resource = world.until("denied", READ, "False", "AccessDenied").await;
    let says = message(&resource, READ);
    assert!(says.contains("acm:GetCertificate") && says.contains(&arns[1]), "{says}");

    let throttled = Fault::error(400, "ThrottlingException", "no");
    world.emulator.inject(throttled.on(DescribeCertificate).of(&arns[2]));
    world.ask_now("throttled").await;
    // ACM has a limiter of its own: API Gateway answers meanwhile.
    world.create_ready("generated", json!({})).await;
    for name in names {
        assert_eq!(bundle(&world, name).await, cas.chain(), "{name}");
    }
    world.targets().delete("denied", &Default::default()).await.unwrap();
    world.until_target(SOON, "denied", "it is back", |secret| data(secret, "ca.crt") == Some(&cas.chain())).await;
}

/// The spec no longer trusts ACM, so a re-import must not bring another CA into the target.
#[tokio::test]
async fn after_the_spec_refuses_acm_the_target_ignores_re_imports() {
    let mut world = World::start("acm-withdrawn").await;
    let cas = Cas::new();
    let arn = world.emulator.import_acm(DEFAULT_REGION, cas.leaf());
    world.emulator.present(DEFAULT_REGION, API, STAGE, Some(&arn));
    world.create_resource("payments", on_stage(json!({}))).await;
    world.until_ready("payments").await;
    world.patch("payments", json!({ "spec": { "stage": { "acm": "Refuse" } } })).await;
    world.until("payments", READ, "False", "AcmNotAllowed").await;

    world.emulator.put_acm(&arn, Cas::new().leaf());
    let reads = world.emulator.count_of(DescribeCertificate, &arn);
    for restarts in [false, true] {
        if restarts {
            world.stop_operator().await;
            world.start_operator().await;
        }
        let resource = world.refresh("payments").await;
        assert_eq!(held(&resource), [(Main, 2)]);
        assert_eq!(condition(&resource, READ).unwrap().reason, "AcmNotAllowed");
        assert_eq!(bundle(&world, "payments").await, cas.chain());
    }
    assert_eq!(world.emulator.count_of(DescribeCertificate, &arn), reads);

    // The spec trusts ACM again.
    world.patch("payments", json!({ "spec": { "stage": { "acm": "Trust" } } })).await;
    world.until_it("payments", "both are trusted", |resource| held(resource).len() == 2).await;
}

/// ACM accepts the connection and sends no response.
#[tokio::test]
async fn a_silent_acm_keeps_the_target_and_delays_no_other_certificate() {
    let world = World::start("acm-silent").await;
    let cas = Cas::new();
    let import = || world.emulator.import_acm(DEFAULT_REGION, cas.leaf());
    let silent = [("describe", DescribeCertificate), ("get", GetCertificate)];
    let (arns, never_read) = (silent.map(|_| import()), silent.map(|_| import()));
    for ((name, _), arn) in silent.iter().zip(&arns) {
        world.create_resource(name, by_arn(arn, json!({}))).await;
        world.until_ready(name).await;
    }
    for (((name, operation), arn), new) in silent.iter().zip(&arns).zip(&never_read) {
        for arn in [arn, new] {
            world.emulator.inject(Fault::stall(Duration::from_secs(600)).on(*operation).of(arn));
        }
        world.ask_now(name).await;
        world.create_resource(&format!("{name}-new"), by_arn(new, json!({}))).await;
        eventually(SOON, "both calls are under way", async || {
            let asked = |arn| world.emulator.count_of(*operation, arn);
            asked(arn) > 1 && asked(new) > 0
        })
        .await;
    }

    // Three other resources become Ready during the stall: another ARN, a stage that presents an ARN, and a generated
    // certificate.
    world.create_resource("other", by_arn(&import(), json!({}))).await;
    world.emulator.present(DEFAULT_REGION, API, STAGE, Some(&import()));
    world.create_resource("staged", on_stage(json!({}))).await;
    world.create("generated", json!({})).await;
    for name in ["other", "staged", "generated"] {
        world.until_ready(name).await;
    }

    for (name, _) in silent {
        let resource = world.until(&format!("{name}-new"), READ, "False", "Unavailable").await;
        let says = message(&resource, READ);
        assert!(says.contains("ACM") && says.contains("timed out"), "{says}");
        assert!(world.targets().get_opt(&format!("{name}-new")).await.unwrap().is_none());
        // The status reports the outage after the outage has lasted for the refreshInterval.
        let resource = eventually(MINUTES, &format!("{name} tells of the silence"), async || {
            let resource = world.resource(name).await;
            let read = condition(&resource, READ).unwrap().clone();
            if read.reason == "Unavailable" { Ok(resource) } else { Err(format!("{read:?}")) }
        })
        .await;
        assert!(message(&resource, READ).contains("timed out"), "{}", message(&resource, READ));
        assert_eq!(condition(&resource, "Ready").unwrap().status, "True", "{name}");
        assert!(condition(&resource, "Stalled").is_none(), "{name}");
        assert_eq!(held(&resource), [(Main, 2)], "{name}");
        assert_eq!(bundle(&world, name).await, cas.chain(), "{name}");
    }
    world.emulator.clear_faults();
    for (name, _) in silent {
        for name in [name.to_owned(), format!("{name}-new")] {
            world.ask_now(&name).await;
            eventually(MINUTES, &format!("{name} is read again"), async || {
                let resource = world.resource(&name).await;
                let read = condition(&resource, READ).unwrap().clone();
                if read.status == "True" { Ok(()) } else { Err(format!("{read:?}")) }
            })
            .await;
        }
    }
}

#[tokio::test]
async fn the_schema_accepts_one_source_its_own_region_and_no_description() {
    let world = World::without_operator("acm-schema").await;
    const ARN: &str = "arn:aws:acm:us-east-1:111122223333:certificate/12345678-1234-1234-1234-123456789012";
    let resources: Api<DynamicObject> =
        Api::namespaced_with(world.client.clone(), &world.namespace, &ApiResource::erase::<ClientCertificateRef>(&()));
    let create = async |name: &str, spec: Value| {
        let resource = json!({
            "apiVersion": "apigateway.clientcert.dev/v1alpha1",
            "kind": "ClientCertificateRef",
            "metadata": { "name": name },
            "spec": spec,
        });
        let resource: DynamicObject = serde_json::from_value(resource).unwrap();
        resources.create(&Default::default(), &resource).await.map(|_| ()).map_err(|error| error.to_string())
    };
    for (spec, says) in [
        (json!({ "acmCertificateArn": ARN, "clientCertificateId": "9ao60f" }), "set exactly one of"),
        (json!({ "acmCertificateArn": ARN, "region": "eu-west-1" }), "region must be the region of acmCertificateArn"),
        (json!({ "acmCertificateArn": ARN, "description": "x" }), "description must not be set beside"),
        (json!({ "acmCertificateArn": "arn:aws:iam::111122223333:role/x" }), "must be the ARN of a certificate in ACM"),
        (json!({ "acmCertificateArn": ARN.replace("111122223333", "1") }), "must be the ARN of a certificate in ACM"),
    ] {
        let error = create("refused", spec.clone()).await.expect_err(&spec.to_string());
        assert!(error.contains(says), "{spec}: {error}");
    }
    create("same-region", json!({ "acmCertificateArn": ARN, "region": "us-east-1" })).await.unwrap();
    let china = ARN.replace("arn:aws:acm:us-east-1", "arn:aws-cn:acm:cn-north-1");
    create("china", json!({ "acmCertificateArn": china })).await.unwrap();
}

#[tokio::test]
async fn a_rule_for_some_certificates_allows_no_acm_certificate_unless_it_names_it() {
    let world = World::without_operator("acm-rules").await;
    let cas = Cas::new();
    let (allowed, refused) =
        (world.emulator.import_acm(DEFAULT_REGION, cas.leaf()), world.emulator.import_acm(DEFAULT_REGION, cas.leaf()));
    world.emulator.present(DEFAULT_REGION, API, STAGE, Some(&refused));
    let file = tempfile::NamedTempFile::new().unwrap();
    let rules = format!(
        "default: deny\nrules:\n- {{namespaces: [{}], certificateIds: [none], restApiIds: ['*'], acmCertificateArns: ['{allowed}']}}\n",
        world.namespace
    );
    std::fs::write(file.path(), rules).unwrap();
    let mut world = world;
    world.operator = Some(started(&world.builder().arg("--rules-file").arg(file.path().to_str().unwrap())).await);
    world.create_resource("allowed", by_arn(&allowed, json!({}))).await;
    world.until_ready("allowed").await;
    world.create_resource("refused", by_arn(&refused, json!({}))).await;
    world.create_resource("staged", on_stage(json!({}))).await;
    for name in ["refused", "staged"] {
        let resource = world.until(name, READ, "False", "CertificateNotAllowed").await;
        assert!(
            message(&resource, READ).contains("add the ARN to the acmCertificateArns"),
            "{}",
            message(&resource, READ)
        );
        assert!(world.targets().get_opt(name).await.unwrap().is_none());
    }
}
