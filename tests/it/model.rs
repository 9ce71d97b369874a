//! A model check of the real functions: `plan`, `status`, `written`, `WriteBackoff`, `Attempts` and `Claims` run in
//! every reachable state of a small world.
//!
//! A state consists of numbers and small enums. The arguments of the functions are built from the state, and their
//! results become numbers again ([`pool`], [`facts`]). [`world`] does the small part of the I/O around the functions:
//! the API server's preconditions, the store of a watch that lags, the fetch after a lost race. Every event can happen
//! between any two effects. Two replicas may work at once, for example if one has lost its Lease without noticing.
//!
//! A reconcile may begin at any time, so this check does not detect a lost wake. `small_world` does.
//!
//! Each property has a bounded configuration. Liveness does not use `eventually`, which stateright decides only on
//! acyclic paths. Instead, a run without faults starts from every state, and has to come to rest at the goal.

mod facts;
mod pool;
mod world;

use std::time::Instant;

use facts::{Guard, Spec, Why};
use stateright::{Checker, Model};
use world::{Aws, Bounds, Checked, Claimed, Event, ROUNDS, describe_bounds};

use crate::show::show;

const THERE: [Aws; 3] = [Aws::There; 3];
const GONE: Aws = Aws::Fails(Why::NotFound);
const DENIED: Aws = Aws::Fails(Why::Denied);
const DOWN: Aws = Aws::Fails(Why::Down);

/// The older resource has a main and an additional certificate, and does not adopt. The younger one has the same
/// target.
const SPECS: [Spec; 2] = [
    Spec { generation: 1, main: 0, additional: Some(1), adopt: false, text: None },
    Spec { generation: 1, main: 2, additional: None, adopt: true, text: None },
];
/// Both resources describe the same certificate.
const DESCRIBE: [Spec; 2] = [
    Spec { generation: 1, main: 0, additional: None, adopt: false, text: Some(1) },
    Spec { generation: 1, main: 0, additional: None, adopt: false, text: Some(2) },
];

/// One resource, one process, and no faults.
fn bounds(events: Vec<(Event, u8)>) -> Bounds {
    Bounds {
        specs: SPECS,
        resources: vec![0],
        concurrency: 1,
        is_atomic: false,
        aws: THERE,
        events,
        crashes: 0,
        takeovers: 0,
        faults: 0,
    }
}

fn never_empty() -> (Bounds, Claimed) {
    let events = vec![(Event::DeleteTarget, 1), (Event::Aws(0, GONE), 1), (Event::Aws(1, GONE), 1)];
    (Bounds { crashes: 1, faults: 1, ..bounds(events) }, Claimed::NeverEmpty)
}

fn status_is_true() -> (Bounds, Claimed) {
    let events = vec![(Event::EditTarget, 1), (Event::DeleteTarget, 1), (Event::ChangeMain(0, 2), 1)];
    (Bounds { crashes: 1, faults: 1, ..bounds(events) }, Claimed::StatusIsTrue)
}

fn status_is_true_despite_a_former_leader() -> (Bounds, Claimed) {
    let events = vec![(Event::EditTarget, 1), (Event::ChangeMain(0, 2), 1)];
    (Bounds { takeovers: 1, ..bounds(events) }, Claimed::StatusIsTrue)
}

fn status_never_goes_back() -> (Bounds, Claimed) {
    let events = vec![(Event::ChangeMain(0, 2), 1), (Event::DeleteTarget, 1)];
    (Bounds { takeovers: 1, ..bounds(events) }, Claimed::StatusNeverGoesBack)
}

fn foreign_is_left_alone() -> (Bounds, Claimed) {
    let events =
        vec![(Event::ReplaceTarget { with_more_keys: false }, 1), (Event::ReplaceTarget { with_more_keys: true }, 1)];
    let bounds = Bounds { resources: vec![0, 1], concurrency: 2, faults: 1, ..bounds(events) };
    (bounds, Claimed::ForeignIsLeftAlone)
}

fn oldest_describes() -> (Bounds, Claimed) {
    let events = vec![(Event::Aws(0, DENIED), 1), (Event::Aws(0, Aws::There), 1), (Event::DescribeOutside, 1)];
    let bounds = Bounds { specs: DESCRIBE, resources: vec![0, 1], is_atomic: true, crashes: 1, ..bounds(events) };
    (bounds, Claimed::OldestDescribes)
}

fn oldest_describes_despite_a_former_leader() -> (Bounds, Claimed) {
    let events = vec![(Event::Aws(0, DOWN), 1)];
    let bounds =
        Bounds { specs: DESCRIBE, resources: vec![0, 1], is_atomic: true, takeovers: 1, faults: 1, ..bounds(events) };
    (bounds, Claimed::OldestDescribes)
}

/// The younger resource describes the certificate before the older one does, whose description it has seen later.
fn the_older_one_describes_later() -> (Bounds, Claimed) {
    let specs = [Spec { text: None, ..DESCRIBE[0] }, DESCRIBE[1]];
    let events = vec![(Event::Describe(0, 1), 1), (Event::DescribeOutside, 1)];
    let bounds = Bounds { specs, resources: vec![0, 1], is_atomic: true, faults: 1, crashes: 1, ..bounds(events) };
    (bounds, Claimed::OldestDescribes)
}

fn one_update() -> (Bounds, Claimed) {
    (the_older_one_describes_later().0, Claimed::OneUpdate)
}

fn the_goal_of_the_target() -> (Bounds, Claimed) {
    let events = vec![(Event::DeleteTarget, 1), (Event::ChangeMain(0, 2), 1)];
    let bounds = Bounds { resources: vec![0, 1], crashes: 1, faults: 1, ..bounds(events) };
    (bounds, Claimed::ReachesTheGoal)
}

fn the_goal_despite_another_writer() -> (Bounds, Claimed) {
    let events = vec![
        (Event::UnmarkTarget, 1),
        (Event::ReplaceTarget { with_more_keys: false }, 1),
        (Event::DeleteTarget, 1),
        (Event::Wait(2), 1),
    ];
    let bounds = Bounds { resources: vec![0, 1], crashes: 1, ..bounds(events) };
    (bounds, Claimed::ReachesTheGoal)
}

fn the_goal_when_aws_fails() -> (Bounds, Claimed) {
    let events = vec![
        (Event::Aws(0, GONE), 1),
        (Event::Aws(1, GONE), 1),
        (Event::Aws(1, DENIED), 1),
        (Event::Aws(0, DOWN), 1),
        (Event::DeleteTarget, 1),
    ];
    (Bounds { crashes: 1, ..bounds(events) }, Claimed::ReachesTheGoal)
}

fn the_goal_of_the_description() -> (Bounds, Claimed) {
    let events = vec![(Event::Aws(0, DENIED), 1), (Event::Aws(0, Aws::There), 1), (Event::DescribeOutside, 1)];
    let bounds = Bounds { specs: DESCRIBE, resources: vec![0, 1], is_atomic: true, faults: 1, ..bounds(events) };
    (bounds, Claimed::ReachesTheGoal)
}

/// Checks every state. Returns the violation of a property, if there is one.
fn check(name: &str, (bounds, claimed): (Bounds, Claimed), without: Option<Guard>) -> Option<String> {
    let started = Instant::now();
    let described = describe_bounds(&bounds);
    let checker = Checked::new(bounds, claimed, without).checker().threads(1).spawn_bfs().join();
    let discovery = checker.discoveries().into_iter().next();
    show(&format!(
        "model: {name}{}: {} states, {} of them different, depth {}, {:.1?}: {described}",
        without.map(|guard| format!(" without {guard:?}")).unwrap_or_default(),
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        started.elapsed(),
    ));
    let (property, path) = discovery?;
    let failure = checker.model().failure.lock().unwrap().clone().unwrap_or_default();
    Some(format!("not so: {property}: {:#?}\n{failure}", path.into_actions()))
}

fn holds(name: &str, configuration: (Bounds, Claimed)) {
    if let Some(failure) = check(name, configuration, None) {
        panic!("{failure}");
    }
}

/// Checks that the check fails without a guard.
fn bites(name: &str, configuration: (Bounds, Claimed), without: Guard) {
    assert!(check(name, configuration, Some(without)).is_some(), "{name} does not notice that {without:?} is missing");
}

#[test]
fn a_target_is_never_empty() {
    holds("a target is never empty", never_empty());
    bites("a target is never empty", never_empty(), Guard::NeverBlank);
}

#[test]
fn certificates_of_the_status_are_in_the_target_or_a_write_is_due() {
    holds("the status is true", status_is_true());
    bites("the status is true", status_is_true(), Guard::Comparison);
    holds("the status is true despite a former leader", status_is_true_despite_a_former_leader());
}

#[test]
fn a_status_never_goes_back() {
    holds("a status never goes back", status_never_goes_back());
    bites("a status never goes back", status_never_goes_back(), Guard::StatusVersion);
}

#[test]
fn a_foreign_object_is_never_written() {
    holds("a foreign object is left alone", foreign_is_left_alone());
    bites("a foreign object is left alone", foreign_is_left_alone(), Guard::Adoption);
    bites("a foreign object is left alone", foreign_is_left_alone(), Guard::Precondition);
}

#[test]
fn a_younger_claim_never_writes_while_an_older_one_is_valid() {
    holds("the oldest describes", oldest_describes());
    holds("the oldest describes despite a former leader", oldest_describes_despite_a_former_leader());
    bites("the oldest describes", oldest_describes(), Guard::ClaimAge);
    holds("the oldest describes once it does", the_older_one_describes_later());
    bites("the oldest describes once it does", the_older_one_describes_later(), Guard::Withdrawal);
}

#[test]
fn at_most_one_update_of_a_description_is_in_progress() {
    holds("one update", one_update());
    bites("one update", one_update(), Guard::OneUpdate);
}

#[test]
fn without_faults_the_goal_is_reached_within_a_number_of_rounds() {
    show(&format!("model: at most {ROUNDS} rounds"));
    holds("the goal of the target", the_goal_of_the_target());
    bites("the goal of the target", the_goal_of_the_target(), Guard::OwnedByAnother);
    bites("the goal of the target", the_goal_of_the_target(), Guard::Difference);
}

#[test]
fn the_goal_is_reached_despite_another_writer() {
    holds("the goal despite another writer", the_goal_despite_another_writer());
}

#[test]
fn the_goal_is_reached_when_aws_fails() {
    holds("the goal when AWS fails", the_goal_when_aws_fails());
    bites("the goal when AWS fails", the_goal_when_aws_fails(), Guard::EndsTrust);
}

#[test]
fn the_goal_of_a_description_is_reached() {
    holds("the goal of the description", the_goal_of_the_description());
}
