//! The operator crashes between any two of its writes, and another process continues.

use operator_testing::proxy::{Fault, FaultProxy, Rule};
use operator_testing::wait::eventually;

use super::{Goal, LONG, STORY, makes_no_further_write};
use crate::faults::{World, started};

#[tokio::test]
async fn a_crash_between_any_two_writes_is_survived() {
    let world = World::new("crash").await;
    let proxy = FaultProxy::start(world.control_plane).await.unwrap();
    let builder = world.builder_through(&proxy).await;
    for written in 0.. {
        // This number of writes succeeds, and the operator is killed at the next one.
        let end = proxy.inject(Rule::new(Fault::CutBefore).writes().skip(written).always());
        let mut operator = started(&builder).await;
        let mut goal = Goal::of(&format!("story{written}"));
        let mut crashed = false;
        for step in STORY {
            goal.take(&world, step).await;
            eventually(LONG, &format!("{step:?} is done, a crash after {written} writes"), async || {
                if end.hits() > 0 && !crashed {
                    operator.kill().unwrap();
                    proxy.clear();
                    operator = started(&builder).await;
                    crashed = true;
                }
                goal.missing(&world).await
            })
            .await;
        }
        proxy.clear();
        if !crashed {
            assert!(written > 10, "a story of only {written} writes");
            makes_no_further_write(&world, &goal.id).await;
            return;
        }
    }
}

#[tokio::test]
async fn changes_without_a_running_operator_are_repaired_by_the_next() {
    let world = World::new("absent").await;
    let mut goals: Vec<Goal> = STORY.iter().map(|step| Goal::of(&format!("{step:?}").to_lowercase())).collect();
    {
        let _operator = world.operator().await;
        for (goal, step) in goals.iter_mut().zip(STORY).skip(1) {
            goal.take(&world, STORY[0]).await;
            goal.reached(&world, &format!("before {step:?}")).await;
        }
    }
    for (goal, step) in goals.iter_mut().zip(STORY) {
        goal.take(&world, step).await;
    }
    let _operator = world.operator().await;
    for goal in &goals {
        goal.reached(&world, "after the restart").await;
    }
    makes_no_further_write(&world, "edit").await;
}
