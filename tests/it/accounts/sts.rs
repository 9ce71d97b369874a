//! STS is down, slow or broken. A resource with a session is not affected. A resource without one reports the failure
//! and waits.

use std::time::Duration;

use operator_testing::emulator::{DEFAULT_REGION, Fault, HOME_ACCOUNT, NewRole};
use operator_testing::script::Operation::{AssumeRole, GetCallerIdentity};
use operator_testing::wait::eventually;
use serde_json::json;

use super::{AFTER_A_DENIAL, ALLOWED, ROLE, Ruled, account_of, by, by_role, message};
use crate::fixture::{ID, MINUTES, World};

#[tokio::test]
async fn an_sts_that_is_down_does_not_affect_existing_sessions() {
    let ruled = Ruled::start("sts-down", ALLOWED).await;
    ruled.emulator.add_role(NewRole::new(ROLE));
    for id in ["one", "two", "three"] {
        ruled.generate_there(DEFAULT_REGION, id);
    }
    ruled.create_ready("one", by_role("one", ROLE)).await;
    let failures =
        [("two", Fault::error(500, "InternalFailure", "down")), ("three", Fault::stall(Duration::from_secs(60)))];
    for (name, fault) in failures {
        ruled.emulator.clear_faults();
        ruled.emulator.inject(fault.on(AssumeRole));
        ruled.create_ready(name, by_role(name, ROLE)).await;
        ruled.ask_and_hear("one", name).await;
        ruled.until_ready("one").await;
    }
    assert_eq!(ruled.emulator.count(AssumeRole), 1);
    ruled.until_events("one", &[("Normal TargetCreated", 1)]).await;
}

#[tokio::test]
async fn an_sts_that_is_down_at_the_first_use_is_reported_and_retried() {
    let ruled = Ruled::start("sts-first", ALLOWED).await;
    ruled.generate_there(DEFAULT_REGION, ID);
    let failures = [
        ("error", Fault::error(500, "InternalFailure", "down")),
        ("throttled", Fault::error(400, "Throttling", "Rate exceeded")),
        ("dropped", Fault::drop_connection()),
        ("stalled", Fault::stall(Duration::from_secs(60))),
        ("broken", Fault::page(200, "text/html", "<html><body>Please log in</body></html>")),
    ];
    for (name, fault) in failures {
        // Each resource has another role, so that none has a session yet.
        let role = format!("{ROLE}-{name}");
        ruled.emulator.add_role(NewRole::new(&role));
        ruled.emulator.inject(fault.on(AssumeRole));
        ruled.create(name, by(&role)).await;
        let resource = ruled.until(name, "CertificateRead", "False", "Unavailable").await;
        let reported = message(&resource, "CertificateRead");
        assert!(reported.starts_with("AWS STS returned no session for the role"), "{name}: {reported}");
        assert!(super::condition(&resource, "Stalled").is_none(), "{name}");
        ruled.create_ready(&format!("{name}-home"), json!({})).await;
        ruled.emulator.clear_faults();
        eventually(MINUTES, &format!("{name} is healed"), async || {
            let resource = ruled.resource(name).await;
            super::condition(&resource, "Ready").is_some_and(|ready| ready.status == "True")
        })
        .await;
    }
}

#[tokio::test]
async fn without_sts_the_operator_starts_and_reads_its_account_later() {
    let mut world = World::without_operator("no-identity").await;
    world.emulator.inject(Fault::error(500, "InternalFailure", "down").on(GetCallerIdentity));
    world.start_operator().await;
    let resource = world.create_ready("one", json!({ "description": "ours" })).await;
    assert_eq!(account_of(&resource), None);
    // Without rules for roles, no other resource can name the same certificate by a role.
    world.until("one", "DescriptionSynced", "True", "Synced").await;
    let line = world.operator.as_mut().unwrap().wait_for_log("sts:GetCallerIdentity").await.unwrap();
    assert!(line.contains("WARN") && line.contains("the call to AWS STS failed: HTTP status 500"), "{line}");
    world.emulator.clear_faults();
    let account = async |name: &str| account_of(&world.resource(name).await).map(str::to_owned);
    eventually(AFTER_A_DENIAL, "the account is known", async || {
        world.operator.as_ref().unwrap().logs().iter().any(|line| line.contains("own AWS account"))
    })
    .await;
    world.ask_and_hear("one", "look").await;
    eventually(AFTER_A_DENIAL, "the account is reported", async || {
        account("one").await.as_deref() == Some(HOME_ACCOUNT)
    })
    .await;
    world.until_ready("one").await;
}

#[tokio::test]
async fn with_roles_no_description_is_sent_before_the_own_account_is_known() {
    let mut ruled = Ruled::without_operator("identity", ALLOWED).await;
    ruled.emulator.add_role(NewRole::new(ROLE));
    ruled.generate_there(DEFAULT_REGION, ID);
    ruled.emulator.inject(Fault::drop_connection().on(GetCallerIdentity));
    ruled.start_operator().await;
    ruled.create_ready("own", json!({ "description": "ours" })).await;
    let held = ruled.until("own", "DescriptionSynced", "False", "Unavailable").await;
    assert!(message(&held, "DescriptionSynced").contains("sts:GetCallerIdentity"), "{held:?}");
    // The ARN of a role contains its account.
    let mut spec = by(ROLE);
    spec["description"] = json!("theirs");
    ruled.create_ready("role", spec).await;
    ruled.until("role", "DescriptionSynced", "True", "Synced").await;
    ruled.emulator.clear_faults();
    eventually(AFTER_A_DENIAL, "the description is sent", async || {
        let resource = ruled.resource("own").await;
        super::condition(&resource, "DescriptionSynced").is_some_and(|synced| synced.status == "True")
    })
    .await;
}
