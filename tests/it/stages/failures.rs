//! Failures with a stage: the target keeps the last good certificates, and the condition contains the action for the
//! user.

use client_certificate_operator::api::CertificateRole::{Former, Main};
use operator_testing::emulator::Fault;
use operator_testing::script::Operation::GetStages;

use super::*;

async fn is_kept(world: &World<'_>, name: &str) {
    let resource = world.resource(name).await;
    assert_eq!(held(&resource), [(ID, Main)]);
    assert!(holds(world, name, &[ID]).await);
}

#[tokio::test]
async fn a_missing_stage_or_one_without_a_certificate_keeps_the_target() {
    let world = world("lost").await;
    let resource = world.following("payments", json!({})).await;
    let since = stage(&resource).unwrap().since;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;

    present(&world, None);
    world.ask_now("payments").await;
    let resource = world.until("payments", READ, "False", "StageHasNoCertificate").await;
    assert!(message(&resource, READ).starts_with("stage prod of REST API a1b2c3d4e5 has no client certificate"));
    assert_eq!(condition(&resource, "Ready").unwrap().reason, "StageHasNoCertificate");
    assert!(condition(&resource, "Stalled").is_none());
    let now = stage(&resource).unwrap();
    assert!(now.client_certificate_id.is_none() && now.since > since, "{now:?}");
    assert_eq!(resource.status.as_ref().unwrap().client_certificate_id, None);
    is_kept(&world, "payments").await;
    assert_eq!(world.events("payments").await.get("Warning StageHasNoCertificate"), Some(&1));

    world.emulator.delete_stage(DEFAULT_REGION, API, STAGE);
    world.ask_now("payments").await;
    let resource = world.until("payments", READ, "False", "StageNotFound").await;
    assert!(message(&resource, READ).contains("REST API a1b2c3d4e5 in us-east-1 has no stage prod"));
    world.emulator.delete_api(DEFAULT_REGION, API);
    world.ask_now("payments").await;
    let is_gone = |resource: &ClientCertificateRef| message(resource, READ).contains("there is no REST API a1b2c3d4e5");
    let resource = world.until_it("payments", "the API is gone", is_gone).await;
    assert_eq!(condition(&resource, READ).unwrap().reason, "StageNotFound");
    assert!(condition(&resource, "Stalled").is_none());
    is_kept(&world, "payments").await;

    // The operator restores a target that another writer deletes even now.
    world.targets().delete("payments", &Default::default()).await.unwrap();
    world.until_target(SOON, "payments", "it is back", |secret| data(secret, "ca.crt") == Some(&world.pem(ID))).await;

    // The stage presents another certificate than before the failures.
    present(&world, Some(NEW));
    world.ask_now("payments").await;
    let resource = world.until_it("payments", "it follows", |resource| held(resource)[0].0 == NEW).await;
    assert_eq!(held(&resource), [(NEW, Main), (ID, Former)]);
    world.until_ready("payments").await;
}

#[tokio::test]
async fn a_stage_that_never_had_a_certificate_has_no_target() {
    let world = world("never").await;
    present(&world, None);
    world.create_resource("payments", follows(json!({}))).await;
    let resource = world.until("payments", READ, "False", "StageHasNoCertificate").await;
    assert_eq!(stage(&resource), None);
    assert!(world.targets().get_opt("payments").await.unwrap().is_none());
    let missing = json!({ "stage": { "restApiId": API, "stageName": "missing" } });
    world.create_resource("missing", missing).await;
    world.until("missing", READ, "False", "StageNotFound").await;
    present(&world, Some(ID));
    world.ask_now("payments").await;
    world.until_ready("payments").await;
}

#[tokio::test]
async fn every_failure_of_get_stages_keeps_the_target_and_names_the_missing_right() {
    let error = |status, error_type| Fault::error(status, error_type, "Refused by a test");
    let cases = [
        ("unauthorized", error(401, "UnauthorizedException"), "AccessDenied", false),
        ("denied", error(403, "AccessDeniedException"), "AccessDenied", false),
        ("not-found", error(404, "NotFoundException"), "StageNotFound", false),
        ("proxy", error(404, ""), "Unavailable", true),
        ("conflict", error(409, "ConflictException"), "Unavailable", true),
        ("throttled", error(429, "TooManyRequestsException"), "Throttled", true),
        ("limited", error(429, "LimitExceededException"), "Throttled", true),
        ("half", Fault::page(200, "application/json", r#"{"item": [{"stageName": "pr"#), "Unavailable", true),
    ];
    // Each resource is in another region, so that a pause of one does not delay another.
    let world = quiet_world("every").await;
    for (name, ..) in &cases {
        let region = format!("xx-{name}-1");
        world.emulator.generate(&region, NewCertificate::new().id(ID).shared_key());
        world.emulator.present(&region, API, STAGE, Some(ID));
    }
    let mut world = world;
    world.start_operator().await;
    for (name, ..) in &cases {
        world.following(name, json!({ "region": format!("xx-{name}-1"), "refreshInterval": "10m" })).await;
    }
    for (name, fault, ..) in &cases {
        world.emulator.inject(fault.clone().on(GetStages).in_region(format!("xx-{name}-1")));
        let fresh = json!({ "region": format!("xx-{name}-1"), "target": { "name": format!("new-{name}") } });
        world.ask_now(name).await;
        world.create_resource(&format!("new-{name}"), follows(fresh)).await;
    }
    for (name, _, reason, passes) in &cases {
        // Without a target, the status shows a failure at once. With a target, it shows a transient failure only if
        // that lasts.
        let fresh = format!("new-{name}");
        if *passes {
            let resource = world.resource(name).await;
            assert_eq!(condition(&resource, READ).unwrap().status, "True", "{name}");
        } else {
            world.until(name, READ, "False", reason).await;
        }
        world.until_it(&fresh, "it is reported or mirrored", |resource| condition(resource, "Ready").is_some()).await;
        is_kept_in(&world, name).await;
        if *reason == "AccessDenied" {
            let resource = world.resource(name).await;
            let arn = format!("apigateway:GET on arn:aws:apigateway:xx-{name}-1::/restapis/{API}/stages; add it");
            assert!(message(&resource, READ).contains(&arn), "{}", message(&resource, READ));
        }
    }
    for (name, _, reason, passes) in cases.iter().filter(|(.., passes)| *passes) {
        world.patch(name, json!({ "spec": { "refreshInterval": "30s" } })).await;
        let resource = eventually(std::time::Duration::from_secs(90), "it lasts", async || {
            let resource = world.resource(name).await;
            let read = condition(&resource, READ).unwrap();
            if read.reason == *reason { Ok(resource.clone()) } else { Err(format!("{:?}", conditions(&resource))) }
        })
        .await;
        assert_eq!(condition(&resource, "Ready").unwrap().status == "True", *passes, "{name}");
        is_kept_in(&world, name).await;
    }
}

async fn is_kept_in(world: &World<'_>, name: &str) {
    let region = format!("xx-{name}-1");
    let source = client_certificate_operator::aws::gateway::Source::own(region, ID);
    let pem = world.emulator.certificate(&source).unwrap().pem.replace("\r\n", "\n") + "\n";
    assert_eq!(data(&world.target(name).await, "ca.crt"), Some(pem.as_str()), "{name}");
}

#[tokio::test]
async fn a_certificate_of_acm_is_not_allowed_by_default() {
    const ARN: &str = "arn:aws:acm:us-east-1:111122223333:certificate/12345678-1234-1234-1234-123456789012";
    let world = world("acm").await;
    world.following("payments", json!({})).await;
    present(&world, Some(ARN));
    world.ask_now("payments").await;
    let resource = world.until("payments", READ, "False", "AcmNotAllowed").await;
    let says = message(&resource, READ);
    assert!(says.contains(ARN) && says.contains("spec.stage.acm is Refuse; set it to Trust"), "{says}");
    assert_eq!(condition(&resource, "Stalled").unwrap().reason, "AcmNotAllowed");
    assert_eq!(resource.status.as_ref().unwrap().client_certificate_id.as_deref(), Some(ARN));
    is_kept(&world, "payments").await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_yet_does_not_change_the_former_one() {
    let mut world = quiet_world("unread").await;
    world.emulator.delete(&crate::ground::source(NEW));
    world.start_operator().await;
    world.following("payments", json!({})).await;
    world.emulator.present(DEFAULT_REGION, API, STAGE, Some(NEW));
    world.ask_now("payments").await;
    let resource = world.until("payments", READ, "False", "NotFound").await;
    assert_eq!(resource.status.as_ref().unwrap().client_certificate_id.as_deref(), Some(NEW));
    is_kept(&world, "payments").await;
    world.emulator.restore(&crate::ground::source(NEW));
    world.ask_now("payments").await;
    let resource = world.until_it("payments", "it follows", |resource| held(resource)[0].0 == NEW).await;
    assert_eq!(held(&resource), [(NEW, Main), (ID, Former)]);
}
