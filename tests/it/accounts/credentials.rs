//! Sessions expire, are ended, and cannot be started again. The operator recovers if it can, and keeps the last good
//! target.

use kube::ResourceExt;
use operator_testing::emulator::{DEFAULT_REGION, Fault, NewRole};
use operator_testing::script::Operation::{AssumeRole, Get};
use operator_testing::wait::eventually;
use serde_json::json;

use super::{AFTER_A_DENIAL, ALLOWED, ROLE, Ruled, by, by_role, message};
use crate::fixture::{ID, World, condition};

/// Waits until the resource is ready, also after a denial.
async fn healed(world: &World<'_>, name: &str) {
    eventually(AFTER_A_DENIAL, &format!("{name} is ready again"), async || {
        let resource = world.resource(name).await;
        let is = |type_| condition(&resource, type_).is_some_and(|condition| condition.status == "True");
        is("Ready") && is("CertificateRead")
    })
    .await;
}

#[tokio::test]
async fn short_sessions_are_renewed_before_they_end_without_a_failure() {
    let ruled = Ruled::start("short", ALLOWED).await;
    // The SDK renews a session in its last ten seconds.
    ruled.emulator.add_role(NewRole::new(ROLE).session_seconds(15));
    ruled.generate_there(DEFAULT_REGION, ID);
    ruled.create_ready("one", by(ROLE)).await;
    for round in ["first", "second", "third"] {
        ruled.ask_and_hear("one", round).await;
        ruled.until_ready("one").await;
    }
    assert!(ruled.emulator.sessions().len() >= 3, "{:?}", ruled.emulator.sessions());
    let calls = ruled.emulator.calls();
    assert!(calls.iter().all(|call| call.status == Some(200)), "{calls:?}");
    assert_eq!(ruled.emulator.count_of(Get, ID), 4, "one call for each read");
    ruled.until_events("one", &[("Normal TargetCreated", 1)]).await;
}

#[tokio::test]
async fn a_session_that_ends_early_is_replaced() {
    let ruled = Ruled::start("ended", ALLOWED).await;
    ruled.emulator.add_role(NewRole::new(ROLE));
    ruled.generate_there(DEFAULT_REGION, ID);
    ruled.create_ready("one", by(ROLE)).await;
    let target = ruled.target("one").await;
    assert_eq!(ruled.emulator.expire_sessions(ROLE), 1);
    ruled.ask_and_hear("one", "look").await;
    healed(&ruled, "one").await;
    let keys: Vec<_> = ruled.emulator.sessions().into_iter().map(|session| session.access_key.id).collect();
    assert_eq!(keys.len(), 2, "{keys:?}");
    let last = |key: &str| ruled.calls_with(key).last().unwrap().status;
    assert_eq!((last(&keys[0]), last(&keys[1])), (Some(403), Some(200)));
    assert_eq!(ruled.target("one").await.resource_version(), target.resource_version());
}

#[tokio::test]
async fn a_removed_role_is_reported_after_its_session_ends_and_the_target_stays() {
    let ruled = Ruled::start("gone", ALLOWED).await;
    ruled.emulator.add_role(NewRole::new(ROLE));
    ruled.generate_there(DEFAULT_REGION, ID);
    ruled.create_ready("one", by(ROLE)).await;
    let target = ruled.target("one").await;
    assert!(ruled.emulator.remove_role(ROLE));
    ruled.ask_and_hear("one", "while it lives").await;
    ruled.until_ready("one").await;
    assert_eq!(ruled.emulator.count(AssumeRole), 1, "the live session goes on");

    ruled.emulator.expire_sessions(ROLE);
    ruled.ask_and_hear("one", "after its end").await;
    let resource = eventually(AFTER_A_DENIAL, "the refusal is reported", async || {
        let resource = ruled.resource("one").await;
        let is_told = message(&resource, "CertificateRead").contains("sts:AssumeRole");
        if is_told { Ok(resource) } else { Err(message(&resource, "CertificateRead").to_owned()) }
    })
    .await;
    let reported = message(&resource, "CertificateRead");
    assert!(reported.contains(ROLE) && reported.contains("trust policy"), "{reported}");
    ruled.until("one", "Ready", "False", "AccessDenied").await;
    ruled.until("one", "TargetWritten", "True", "Written").await;
    assert!(condition(&resource, "Stalled").is_none(), "the role may come back");
    assert_eq!(ruled.target("one").await.resource_version(), target.resource_version());
    let log = ruled.operator.as_ref().unwrap().logs().join("\n");
    for session in ruled.emulator.sessions() {
        let token = session.access_key.session_token.unwrap();
        assert!(!log.contains(&token) && !log.contains(&session.access_key.secret), "a secret is in the log");
    }

    ruled.emulator.add_role(NewRole::new(ROLE));
    healed(&ruled, "one").await;
}

#[tokio::test]
async fn roles_that_cannot_be_assumed_are_named_and_do_not_affect_others() {
    let ruled = Ruled::start("denied", ALLOWED).await;
    let (strict, missing) = (format!("{ROLE}-strict"), format!("{ROLE}-missing"));
    ruled.emulator.add_role(NewRole::new(ROLE));
    ruled.emulator.add_role(NewRole::new(&strict).external_id("right"));
    ruled.generate_there(DEFAULT_REGION, ID);
    for (name, spec, role) in [
        ("missing", by(&missing), &missing),
        ("without", by(&strict), &strict),
        ("wrong", json!({ "assumeRole": { "roleArn": strict, "externalId": "wrong" } }), &strict),
    ] {
        ruled.create(name, spec).await;
        let resource = ruled.until(name, "Ready", "False", "AccessDenied").await;
        let reported = message(&resource, "CertificateRead");
        assert!(reported.contains("sts:AssumeRole") && reported.contains(&format!("{role};")), "{reported}");
        assert!(reported.contains("externalId"), "{reported}");
    }
    ruled.create_ready("right", json!({ "assumeRole": { "roleArn": strict, "externalId": "right" } })).await;
    ruled.create_ready("other", by(ROLE)).await;
    ruled.create_ready("home", json!({})).await;
    assert_eq!(ruled.emulator.count(AssumeRole), 5, "each was tried once: {:?}", ruled.emulator.calls());
    // A corrected spec causes a retry at once.
    ruled.patch("wrong", json!({ "spec": { "assumeRole": { "externalId": "right" } } })).await;
    ruled.until_ready("wrong").await;
}

#[tokio::test]
async fn a_denial_of_a_role_is_reported_only_on_its_resources() {
    let ruled = Ruled::start("policy", ALLOWED).await;
    let weak = format!("{ROLE}-weak");
    ruled.emulator.add_role(NewRole::new(ROLE));
    ruled.emulator.add_role(NewRole::new(&weak));
    ruled.emulator.deny(&weak, Get);
    for id in ["strong", "weak"] {
        ruled.generate_there(DEFAULT_REGION, id);
    }
    ruled.create("weak", by_role("weak", &weak)).await;
    let resource = ruled.until("weak", "Ready", "False", "AccessDenied").await;
    let reported = message(&resource, "CertificateRead");
    assert!(reported.contains("apigateway:GET") && reported.contains("/clientcertificates/weak"), "{reported}");
    assert!(reported.contains(&weak), "whose policy it is: {reported}");
    ruled.create_ready("strong", by_role("strong", ROLE)).await;
    // A fault in the account of a session does not affect the operator's own account.
    ruled.emulator.inject(Fault::error(500, "InternalFailure", "down").in_account(super::THERE));
    ruled.create("strong2", by_role("strong", ROLE)).await;
    ruled.create_ready("home", json!({})).await;
}
