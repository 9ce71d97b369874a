//! Another writer changes the target between the operator's read and its write.

use std::time::Duration;

use kube::api::Patch;
use operator_testing::proxy::{Fault, FaultProxy, Rule};
use operator_testing::wait::eventually;
use serde_json::json;

use super::{Goal, STORY, Step, makes_no_further_write};
use crate::faults::{SOON, World, started};

const LATE: Fault = Fault::Delay(Duration::from_secs(2));

#[tokio::test]
async fn a_secret_that_another_writer_creates_first_is_never_changed() {
    let world = World::new("create-race").await;
    let proxy = FaultProxy::start(world.control_plane).await.unwrap();
    let _operator = started(&world.builder_through(&proxy).await).await;
    let mut goal = Goal::of("one");
    goal.take(&world, Step::Create).await;
    goal.reached(&world, "at first").await;

    let late = proxy.inject(Rule::new(LATE).verb("create").resource("secrets"));
    goal.take(&world, Step::Delete).await;
    eventually(SOON, "the operator is about to create it", async || late.hits() == 1).await;
    let foreign = json!({ "metadata": { "name": "one" }, "stringData": { "ca.crt": "somebody else's" } });
    let foreign = serde_json::from_value(foreign).unwrap();
    world.secrets().create(&Default::default(), &foreign).await.unwrap();
    let before = world.target("one").await;
    let conditions = world.wait_for("one", "TargetWritten", "False TargetExists", 1).await;
    assert_eq!(conditions["Ready"].status, "False");
    assert_eq!(conditions["Stalled"].reason, "TargetExists");
    goal.generation = world.hasten("one").await;
    world.wait_for("one", "TargetWritten", "False TargetExists", goal.generation).await;
    assert_eq!(world.target("one").await, before);

    // The watch does not cover an object without the label. The next read finds that it was deleted.
    goal.take(&world, Step::Delete).await;
    goal.generation = world.hasten("one").await;
    goal.reached(&world, "when the place is free").await;
    makes_no_further_write(&world, "one").await;
}

#[tokio::test]
async fn a_target_that_changes_between_read_and_write_is_read_again() {
    let world = World::new("update-race").await;
    let proxy = FaultProxy::start(world.control_plane).await.unwrap();
    let _operator = started(&world.builder_through(&proxy).await).await;
    let mut goal = Goal::of("one");
    goal.take(&world, Step::Create).await;
    goal.reached(&world, "at first").await;
    let late = proxy.inject(Rule::new(LATE).verb("update").resource("secrets"));
    goal.take(&world, Step::Edit).await;
    eventually(SOON, "the operator is about to put it back", async || late.hits() == 1).await;
    let patch = Patch::Merge(json!({ "metadata": { "labels": { "team": "a" } }, "stringData": { "more": "again" } }));
    world.secrets().patch("one", &Default::default(), &patch).await.unwrap();
    goal.reached(&world, "after the race").await;
    let labels = world.secrets().get("one").await.unwrap().metadata.labels.unwrap();
    assert_eq!(labels["team"], "a", "what others set survives");

    let late = proxy.inject(Rule::new(LATE).verb("update").resource("secrets"));
    goal.take(&world, Step::Edit).await;
    eventually(SOON, "the operator is about to put it back", async || late.hits() == 1).await;
    goal.take(&world, Step::Delete).await;
    goal.reached(&world, "when it was deleted meanwhile").await;
    makes_no_further_write(&world, "one").await;
}

#[tokio::test]
async fn a_rename_after_a_refused_replacement_leaves_no_orphan() {
    let world = World::new("refused-rename").await;
    let proxy = FaultProxy::start(world.control_plane).await.unwrap();
    let _operator = started(&world.builder_through(&proxy).await).await;
    let mut goal = Goal::of("one");
    goal.take(&world, Step::Create).await;
    goal.reached(&world, "at first").await;
    // After a conflict, the operator would read the target again.
    let refused = proxy.inject(Rule::new(Fault::forbidden()).verb("update").resource("secrets").always());
    goal.take(&world, Step::Edit).await;
    eventually(SOON, "the replacement is refused", async || refused.hits() > 0).await;
    world.change("one", json!({ "target": { "name": "two" } })).await;
    world.wait_for_target("two", "one").await;
    eventually(SOON, "the former target is deleted", async || world.target("one").await.is_none()).await;
}

#[tokio::test]
async fn a_spec_that_changes_during_a_reconcile_is_handled_afterwards() {
    let world = World::new("spec-race").await;
    let proxy = FaultProxy::start(world.control_plane).await.unwrap();
    let _operator = started(&world.builder_through(&proxy).await).await;
    proxy.inject(Rule::new(LATE).verb("update").resource("clientcertificaterefs/status").times(2));
    let mut goal = Goal::of("one");
    for step in [Step::Create, STORY[3], STORY[4]] {
        goal.take(&world, step).await;
    }
    goal.reached(&world, "the last spec counts").await;
    makes_no_further_write(&world, "one").await;
}
