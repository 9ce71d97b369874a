use super::*;
use crate::error::RETRIES_MOST;
use crate::fixtures::{OTHER_PEM, PEM, certificate};
use crate::gateway::{Denial, Outage};
use crate::reading::Why;

const MINUTES: Duration = Duration::from_secs(300);

fn seconds(n: f64) -> Tick {
    Tick::from_secs_f64(n)
}

fn name(name: &str) -> ResourceName {
    let (namespace, name) = name.split_once('/').unwrap_or(("backends", name));
    ResourceName::new(namespace, name)
}

fn moment(at: f64) -> Moment<'static> {
    let wall = "2026-11-24T07:16:00Z".parse().unwrap();
    Moment { at: seconds(at), now: seconds(at + 0.02), wall, jitter: 0.5, account: None }
}

fn down() -> GatewayError {
    GatewayError::Unavailable { outage: Outage::Status(500), retry_after: None }
}

/// A desk, and how those see it who ask there.
struct World(Desk);

impl World {
    fn new() -> Self {
        World(Desk::new(Place::own("us-east-1")))
    }

    /// Asks for a certificate with the name of the resource.
    fn ask(&mut self, resource: &str, why: Why, last: Option<f64>, now: f64) -> Option<Result<(), ReadFailure>> {
        let id = resource.rsplit('/').next().unwrap_or(resource);
        self.ask_for(id, resource, why, last, now)
    }

    fn ask_for(
        &mut self,
        id: &str,
        resource: &str,
        why: Why,
        last: Option<f64>,
        now: f64,
    ) -> Option<Result<(), ReadFailure>> {
        let demand = Demand::new(why, MINUTES, last.map(seconds), seconds(now));
        self.0.ask(id, &demand, &name(resource), None, seconds(now)).came.map(|came| came.outcome.map(|_| ()))
    }

    fn plan(&mut self, now: f64) -> Step {
        self.0.plan(None, seconds(now))
    }

    fn gets(&mut self, now: f64) -> Vec<String> {
        match self.plan(now) {
            Step::Get(picks) => picks.into_iter().map(|pick| pick.id).collect(),
            step => panic!("{step:?}"),
        }
    }

    fn got(&mut self, id: &str, at: f64, outcome: Result<(), GatewayError>) -> Vec<String> {
        names(self.0.got(id, outcome.map(|()| certificate(id, PEM)), moment(at)))
    }

    fn listed(&mut self, ids: &[&str], at: f64) -> Vec<String> {
        let page = ids.iter().map(|id| certificate(id, PEM)).collect();
        let mut woken = names(self.0.listed(page, moment(at)));
        woken.extend(names(self.0.list_ended(1, true, moment(at))));
        woken
    }
}

fn names(resources: Vec<ResourceName>) -> Vec<String> {
    let mut names: Vec<_> = resources.into_iter().map(|resource| resource.name).collect();
    names.sort();
    names
}

#[test]
fn one_certificate_is_got_and_many_are_listed() {
    let mut world = World::new();
    assert_eq!(world.plan(0.0), Step::Idle);
    assert_eq!(world.ask("a", Why::New, None, 1.0), None);
    assert_eq!(world.gets(1.0), ["a"]);
    assert_eq!(world.ask("b", Why::New, None, 1.0), None);
    assert!(matches!(world.plan(1.0), Step::List(_)));
    assert_eq!(world.listed(&["a", "b", "c"], 1.1), ["a", "b"]);
    assert_eq!(world.plan(1.2), Step::Idle);
    for resource in ["a", "b", "c"] {
        assert_eq!(world.ask(resource, Why::New, None, 1.2), Some(Ok(())), "{resource}");
    }
}

#[test]
fn all_who_name_a_certificate_share_one_call() {
    let mut world = World::new();
    for resource in ["x", "y", "z"] {
        assert_eq!(world.ask_for("a", resource, Why::New, None, 1.0), None);
    }
    assert_eq!(world.gets(1.0), ["a"]);
    assert_eq!(world.got("a", 1.0, Ok(())), ["x", "y", "z"]);
    assert_eq!(world.ask_for("a", "late", Why::New, None, 300.0), Some(Ok(())));
    assert_eq!(world.ask_for("a", "later", Why::New, None, 302.0), None, "too old for a new one");
}

#[test]
fn the_list_is_for_refreshes_too_because_it_spares_the_others_theirs() {
    let mut world = World::new();
    for resource in ["a", "b", "c"] {
        world.ask(resource, Why::New, None, 0.0);
    }
    world.listed(&["a", "b", "c"], 0.0);
    assert_eq!(world.ask("a", Why::Due, Some(0.0), 275.0), None);
    assert!(matches!(world.plan(275.0), Step::List(_)), "alone, but not for long");
    assert_eq!(world.listed(&["a", "b", "c"], 275.0), ["a"]);
    assert_eq!(world.ask("b", Why::Due, Some(0.0), 285.0), Some(Ok(())));
    assert_eq!(world.ask("c", Why::Due, Some(100.0), 390.0), Some(Ok(())), "any news will do that is not due itself");
}

#[test]
fn a_short_interval_alone_is_refreshed_by_itself() {
    let mut world = World::new();
    for resource in ["a", "b", "c"] {
        world.ask(resource, Why::New, None, 0.0);
    }
    world.listed(&["a", "b", "c"], 0.0);
    let demand = Demand::new(Why::Due, Duration::from_secs(30), Some(seconds(0.0)), seconds(28.0));
    world.0.ask("a", &demand, &name("a"), None, seconds(28.0));
    assert_eq!(world.gets(28.0), ["a"]);
}

#[test]
fn an_id_that_the_list_omits_is_asked_for_before_it_is_missing() {
    let mut world = World::new();
    for resource in ["a", "b", "missing"] {
        world.ask(resource, Why::New, None, 0.0);
    }
    assert_eq!(world.listed(&["a", "b"], 0.1), ["a", "b"]);
    assert_eq!(world.gets(0.2), ["missing"]);
    assert_eq!(world.got("missing", 0.2, Err(GatewayError::NotFound)), ["missing"]);
    let missing = Some(Err(ReadFailure::Gateway(GatewayError::NotFound)));
    assert_eq!(world.ask("missing", Why::New, None, 0.3), missing);
    assert_eq!(world.ask_for("missing", "another", Why::New, None, 20.0), missing, "shared, while it is new");
    assert_eq!(world.plan(20.0), Step::Idle);
}

#[test]
fn a_forced_read_is_none_older_than_itself_and_not_too_often() {
    let mut world = World::new();
    world.ask("a", Why::New, None, 0.0);
    world.got("a", 0.0, Ok(()));
    assert_eq!(world.ask("a", Why::Forced, Some(0.0), 3.0), None);
    assert_eq!(world.plan(3.0), Step::Wait(seconds(10.0)));
    assert_eq!(world.gets(10.0), ["a"]);
    assert_eq!(world.got("a", 2.9, Ok(())), [""; 0], "a call that began before does not count");
    assert_eq!(world.got("a", 10.0, Ok(())), ["a"]);
}

#[test]
fn after_a_write_only_a_later_answer_counts() {
    let mut world = World::new();
    world.ask("a", Why::New, None, 0.0);
    world.got("a", 0.0, Ok(()));
    world.0.changed("a", seconds(5.0));
    assert_eq!(world.ask("a", Why::Changed, Some(0.0), 6.0), None);
    assert_eq!(world.got("a", 4.9, Ok(())), [""; 0]);
    assert_eq!(world.got("a", 6.0, Ok(())), ["a"]);
}

#[test]
fn a_broken_certificate_is_tried_few_times_an_interval_however_many_name_it() {
    let mut world = World::new();
    let mut now = 0.0;
    let mut reads = Vec::new();
    for resource in 0..500 {
        world.ask_for("a", &format!("r{resource}"), Why::New, None, now);
    }
    while now < 299.0 {
        match world.plan(now) {
            Step::Get(picks) => {
                assert_eq!(picks.len(), 1);
                reads.push(now);
                world.got("a", now, Err(down()));
            }
            Step::Wait(until) => now = until.as_secs_f64() + 0.001,
            step => panic!("{step:?}"),
        }
        // New ones come all the time.
        if world.ask_for("a", &format!("n{now}"), Why::New, None, now).is_none() {
            now += 0.1;
        }
    }
    assert!(reads.len() <= RETRIES_MOST as usize + 1, "{reads:?}");
    assert!(reads.len() >= 5, "{reads:?}");
}

#[test]
fn a_failure_is_told_once_and_the_end_of_it_too() {
    let mut world = World::new();
    world.ask("a", Why::New, None, 0.0);
    assert_eq!(world.got("a", 0.0, Err(down())), ["a"]);
    assert_eq!(world.ask("a", Why::New, None, 0.0), Some(Err(down().into())));
    assert_eq!(world.got("a", 2.0, Err(down())), [""; 0], "no news");
    let denied = GatewayError::AccessDenied(Denial::NotAuthorized);
    assert_eq!(world.got("a", 6.0, Err(denied)), ["a"], "another failure");
    assert_eq!(world.got("a", 40.0, Ok(())), ["a"]);
    assert_eq!(world.plan(41.0), Step::Idle);
}

#[test]
fn one_hiccup_is_not_told_to_those_who_were_not_asked_for() {
    let mut world = World::new();
    world.ask("a", Why::New, None, 0.0);
    world.ask("b", Why::New, None, 0.0);
    assert_eq!(world.0.list_failed(&down(), moment(0.0)), (vec![], false));
    let Step::Wait(until) = world.plan(0.1) else { panic!("it waits") };
    assert!(until >= seconds(0.9) && until <= seconds(1.2), "{until:?}");
    assert!(matches!(world.plan(1.2), Step::List(_)));
    let (woken, off) = world.0.list_failed(&down(), moment(1.2));
    assert_eq!((names(woken), off), (vec!["a".to_owned(), "b".to_owned()], false), "now it is more than that");
    assert_eq!(world.ask("c", Why::New, None, 1.3), Some(Err(down().into())), "everybody hears of it at once");
    assert_eq!(world.listed(&["a", "b", "c"], 9.0), ["a", "b", "c"]);
}

#[test]
fn no_permission_to_list_leaves_reads_one_by_one_for_a_while() {
    let mut world = World::new();
    for n in 0..20 {
        world.ask(&format!("n{n:02}"), Why::New, None, 0.0);
    }
    assert!(matches!(world.plan(0.0), Step::List(_)));
    let denied = GatewayError::AccessDenied(Denial::NotAuthorized);
    assert_eq!(world.0.list_failed(&denied, moment(0.0)), (vec![], true));
    assert_eq!(world.gets(0.1).len(), 8, "some at a time");
    assert!(matches!(world.plan(601.0), Step::List(_)), "it may be allowed by now");
}

#[test]
fn namespaces_take_turns_and_refreshes_get_theirs() {
    let mut world = World::new();
    let denied = GatewayError::AccessDenied(Denial::NotAuthorized);
    world.0.list_failed(&denied, moment(0.0));
    world.ask("old/z0", Why::New, None, 0.0);
    world.got("z0", 0.0, Ok(()));
    world.ask("old/z0", Why::Due, Some(0.0), 300.0);
    for n in 0..100 {
        world.ask(&format!("large/a{n:03}"), Why::New, None, 300.0);
    }
    world.ask("small/x", Why::New, None, 301.0);
    let first = world.gets(302.0);
    assert!(first.contains(&"x".to_owned()) && first.contains(&"z0".to_owned()), "{first:?}");
}

#[test]
fn a_credential_that_is_refused_concerns_all_and_is_told_at_once() {
    let mut world = World::new();
    for resource in ["a", "b"] {
        world.ask(resource, Why::New, None, 0.0);
    }
    let refused = GatewayError::AccessDenied(Denial::RoleRefused);
    assert_eq!(names(world.0.list_failed(&refused, moment(0.0)).0), ["a", "b"]);
    assert_eq!(world.ask("b", Why::New, None, 0.1), Some(Err(refused.clone().into())));
    assert!(matches!(world.plan(0.1), Step::Wait(until) if until >= seconds(27.0)));
    assert_eq!(world.ask("b", Why::Forced, None, 15.0), None, "somebody may have mended it");
    assert!(matches!(world.plan(15.0), Step::List(_)));
}

#[test]
fn an_answer_that_did_not_change_is_stored_once() {
    let mut world = World::new();
    world.ask("a", Why::New, None, 0.0);
    let answer = |world: &mut World| world.0.certificates["a"].known.clone().unwrap().outcome.unwrap();
    world.got("a", 0.0, Ok(()));
    let first = answer(&mut world);
    world.got("a", 1.0, Ok(()));
    assert!(std::sync::Arc::ptr_eq(&first, &answer(&mut world)));
    world.0.got("a", Ok(certificate("a", OTHER_PEM)), moment(2.0));
    assert_ne!(first, answer(&mut world));
}

#[test]
fn what_the_list_has_told_of_serves_a_resource_that_comes_minutes_later() {
    let mut world = World::new();
    world.ask("a", Why::New, None, 0.0);
    world.listed(&["a", "b", "c"], 0.0);
    assert_eq!(world.ask("b", Why::New, None, 240.0), Some(Ok(())));
    // At the end of a list that tells of it again it is kept again.
    world.listed(&["a", "b", "c"], 320.0);
    assert_eq!(world.ask("c", Why::New, None, 600.0), Some(Ok(())));
}

#[test]
fn what_nobody_names_any_more_is_forgotten() {
    let mut world = World::new();
    world.ask("a", Why::New, None, 0.0);
    world.listed(&["a", "unnamed"], 0.0);
    assert_eq!(world.0.certificates.len(), 2);
    world.ask("b", Why::New, None, 500.0);
    world.listed(&["b"], 500.0);
    assert!(!world.0.certificates.contains_key("unnamed"), "soon");
    assert!(!world.0.is_idle(seconds(600.0)));
    world.listed(&["b"], 1000.0);
    assert!(!world.0.certificates.contains_key("a"), "later");
    assert!(world.0.is_idle(seconds(2000.0)));
}
