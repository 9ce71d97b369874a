//! A fault at each of the operator's requests to the API server, of each kind, at its first and second occurrence.

use std::time::Duration;

use futures::future::join_all;
use operator_testing::operator::Operator;
use operator_testing::proxy::{Fault, FaultProxy, Rule};
use operator_testing::wait::eventually;

use super::{Goal, LONG, STORY, Step, makes_no_further_write};
use crate::faults::{World, started};

/// The verb and the resource of every request of a story.
const REQUESTS: [(&str, &str); 7] = [
    ("create", "secrets"),
    ("update", "secrets"),
    ("delete", "secrets"),
    ("get", "secrets"),
    ("get", "clientcertificaterefs"),
    ("update", "clientcertificaterefs/status"),
    ("create", "events"),
];

async fn behind_a_proxy(prefix: &str) -> (World<'static>, FaultProxy, Operator) {
    let world = World::new(prefix).await;
    let proxy = FaultProxy::start(world.control_plane).await.unwrap();
    let operator = started(&world.builder_through(&proxy).await).await;
    (world, proxy, operator)
}

async fn survives(fault: Fault, prefix: &str) {
    let (world, proxy, _operator) = behind_a_proxy(prefix).await;
    let mut last = String::new();
    for (number, (verb, resource)) in REQUESTS.into_iter().enumerate() {
        // Only these requests occur twice in a story.
        let occurrences = if matches!(
            (verb, resource),
            ("create" | "get", "secrets") | ("update", "clientcertificaterefs/status") | ("create", _)
        ) {
            2
        } else {
            1
        };
        for skip in 0..occurrences {
            let mut goal = Goal::of(&format!("story{number}-{skip}"));
            let rule = Rule::new(fault.clone()).verb(verb).resource(resource).skip(skip);
            let injected = proxy.inject(rule);
            for step in STORY {
                goal.take(&world, step).await;
                goal.reached(&world, &format!("{fault:?} at {verb} {resource} {skip}, after {step:?}")).await;
            }
            assert_eq!(injected.hits(), 1, "{verb} {resource} was not met {skip}");
            last = goal.id;
        }
    }
    makes_no_further_write(&world, &last).await;
}

#[tokio::test]
async fn a_conflict_at_any_request_is_survived() {
    survives(Fault::conflict(), "at-409").await;
}

#[tokio::test]
async fn an_internal_error_at_any_request_is_survived() {
    survives(Fault::internal_error(), "at-500").await;
}

#[tokio::test]
async fn a_refusal_at_any_request_is_survived() {
    survives(Fault::forbidden(), "at-403").await;
}

#[tokio::test]
async fn a_connection_cut_before_any_request_is_survived() {
    survives(Fault::CutBefore, "cut-before").await;
}

#[tokio::test]
async fn a_connection_cut_after_any_request_is_survived() {
    survives(Fault::CutAfter, "cut-after").await;
}

#[tokio::test]
async fn a_late_answer_to_any_request_is_survived() {
    survives(Fault::Delay(Duration::from_millis(700)), "late").await;
}

/// Runs the stories in parallel, each with its own operator, because each fault lasts as long as the limit of a
/// request.
async fn survives_side_by_side(fault: Fault, prefix: &str) {
    let stories = REQUESTS.map(async |(verb, resource)| {
        let (world, proxy, _operator) = behind_a_proxy(prefix).await;
        let mut goal = Goal::of("story");
        let injected = proxy.inject(Rule::new(fault.clone()).verb(verb).resource(resource));
        for step in STORY {
            goal.take(&world, step).await;
            goal.reached(&world, &format!("{fault:?} at {verb} {resource}, after {step:?}")).await;
        }
        assert_eq!(injected.hits(), 1, "{verb} {resource} was not met");
    });
    join_all(stories).await;
}

#[tokio::test]
async fn silence_at_any_request_is_survived() {
    survives_side_by_side(Fault::Silence, "silent").await;
}

#[tokio::test]
async fn a_missing_answer_to_any_request_is_survived() {
    survives_side_by_side(Fault::Hang, "hang").await;
}

#[tokio::test]
async fn a_conflict_at_every_write_is_retried() {
    let (world, proxy, _operator) = behind_a_proxy("all-409").await;
    let mut goal = Goal::of("one");
    for (number, step) in STORY.into_iter().enumerate() {
        let injected = proxy.inject(Rule::new(Fault::conflict()).writes().always());
        goal.take(&world, step).await;
        // The description needs only one write in the cluster, that of the status.
        eventually(LONG, "writes are refused", async || injected.hits() > 3).await;
        assert!(number != 0 || world.target("one").await.is_none());
        proxy.clear();
        goal.reached(&world, &format!("after {step:?}")).await;
    }
    makes_no_further_write(&world, "one").await;
}

#[tokio::test]
async fn an_api_server_that_fails_every_request_is_retried() {
    let (world, proxy, mut operator) = behind_a_proxy("all-500").await;
    let mut goal = Goal::of("one");
    goal.take(&world, Step::Create).await;
    goal.reached(&world, "at first").await;
    for fault in [Fault::internal_error(), Fault::CutBefore] {
        let injected = proxy.inject(Rule::new(fault).always());
        goal.take(&world, Step::Delete).await;
        eventually(LONG, "requests fail", async || injected.hits() > 3).await;
        assert_eq!(operator.get("/healthz").await.unwrap().0, 200);
        proxy.clear();
        goal.reached(&world, "afterwards").await;
    }
    makes_no_further_write(&world, "one").await;
}

#[tokio::test]
async fn a_start_with_failures_of_every_request_is_retried() {
    let world = World::new("start-500").await;
    let proxy = FaultProxy::start(world.control_plane).await.unwrap();
    let injected = proxy.inject(Rule::new(Fault::internal_error()).always());
    let mut goal = Goal::of("one");
    goal.take(&world, Step::Create).await;
    let mut operator = world.builder_through(&proxy).await.spawn().unwrap();
    eventually(LONG, "requests fail", async || injected.hits() > 2).await;
    assert_eq!(operator.get("/healthz").await.unwrap().0, 200);
    assert_eq!(operator.get("/readyz").await.unwrap().0, 503);
    assert_eq!(world.emulator.calls().len(), 0, "nothing is done before the caches have synced");
    proxy.clear();
    operator.wait_ready().await.unwrap();
    goal.reached(&world, "afterwards").await;
    makes_no_further_write(&world, "one").await;
}

/// A story with an operator whose first lists or watches have a fault.
async fn survives_at_lists_and_watches((verb, fault, times): (&str, Fault, usize)) {
    let world = World::new("watches").await;
    let proxy = FaultProxy::start(world.control_plane).await.unwrap();
    let injected = proxy.inject(Rule::new(fault).verb(verb).times(times));
    let _operator = started(&world.builder_through(&proxy).await).await;
    let mut goal = Goal::of("one");
    for step in STORY {
        goal.take(&world, step).await;
        goal.reached(&world, &format!("after {step:?}")).await;
    }
    eventually(LONG, "the faults are used up", async || injected.hits() == times).await;
    makes_no_further_write(&world, "one").await;
}

/// The cases run side by side, because each fault lasts as long as the limit of a request or of a silent watch.
#[tokio::test]
async fn silence_at_lists_and_watches_is_survived() {
    let cases = [("list", Fault::Silence, 1), ("list", Fault::Hang, 1), ("watch", Fault::Silence, 2)];
    join_all(cases.map(survives_at_lists_and_watches)).await;
}

#[tokio::test]
async fn faults_at_lists_and_watches_are_survived() {
    for (verb, fault) in [
        ("list", Fault::internal_error()),
        ("list", Fault::CutBefore),
        ("watch", Fault::internal_error()),
        ("watch", Fault::status(410, "Expired")),
        ("watch", Fault::forbidden()),
        ("watch", Fault::CutBefore),
    ] {
        survives_at_lists_and_watches((verb, fault, 3)).await;
    }
}
