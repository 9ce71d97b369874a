//! Two installations that reconcile the same resources.

use operator_testing::operator::Operator;
use serde_json::json;

use crate::fixture::{SOON, World};
use crate::ground::started;
use operator_testing::wait::{eventually, never};
use std::time::Duration;

async fn installation(world: &World<'_>, name: &str) -> Operator {
    started(&world.builder().env("CCR_LEASE_NAME", name).env("CCR_LEASE_NAMESPACE", "operators")).await
}

async fn mark(world: &World<'_>) -> Option<String> {
    world.resource("payments").await.status?.installation
}

#[tokio::test]
async fn two_installations_on_one_namespace_report_each_other_and_do_not_compete() {
    let world = World::without_operator("rivals").await;
    let mut one = installation(&world, "one").await;
    world.create_ready("payments", json!({})).await;
    assert_eq!(mark(&world).await.as_deref(), Some("operators/one"));

    let mut two = installation(&world, "two").await;
    for (operator, other) in [(&mut one, "operators/two"), (&mut two, "operators/one")] {
        let line = operator.wait_for_log("AnotherInstallation").await.unwrap();
        assert!(line.contains(other) && line.contains("payments") && line.contains("uninstall one"), "{line}");
    }
    eventually(SOON, "both reported it in an event", async || {
        let events = world.events("payments").await;
        if events.get("Warning AnotherInstallation").is_some_and(|count| *count >= 2) {
            Ok(())
        } else {
            Err(format!("{events:?}"))
        }
    })
    .await;
    // Neither installation keeps writing.
    let before = world.writes_of("clientcertificaterefs").len();
    never(Duration::from_secs(3), "another write", async || {
        world.writes_of("clientcertificaterefs").into_iter().nth(before + 2)
    })
    .await;
}

#[tokio::test]
async fn an_installation_with_another_name_replaces_a_removed_one_without_an_event() {
    let world = World::without_operator("successor").await;
    let mut one = installation(&world, "one").await;
    world.create_ready("payments", json!({})).await;
    assert_eq!(one.terminate(SOON).await.unwrap().code, Some(0));

    let two = installation(&world, "two").await;
    eventually(SOON, "its mark is there", async || mark(&world).await.as_deref() == Some("operators/two")).await;
    let reported = two.logs().into_iter().find(|line| line.contains("AnotherInstallation"));
    assert_eq!(reported, None);
    assert_eq!(world.writes_of("secrets").len(), 1, "the target stays as it is");
}
