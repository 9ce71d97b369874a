use super::*;
use crate::aws::gateway::Denial;
use crate::fixtures::{OTHER_PEM, PEM, PEM_NOT_AFTER, certificate};

const INTERVAL: Duration = Duration::from_secs(300);

fn seconds(seconds: f64) -> Tick {
    Tick::from_secs_f64(seconds)
}

/// The middle of every jitter.
fn at(time: f64) -> Moment {
    Moment { now: seconds(time), wall: "2026-11-24T00:00:00Z".parse().unwrap(), jitter: 0.5 }
}

fn name(name: &str) -> ResourceName {
    ResourceName::new("backends", name)
}

fn names(names: &[&str]) -> Vec<ResourceName> {
    names.iter().map(|one| name(one)).collect()
}

fn scope() -> Scope {
    Scope::new(Place::own("us-east-1"))
}

fn topic(id: &str) -> Topic {
    Topic::Certificate(id.to_owned())
}

fn subscribe(scope: &mut Scope, id: &str, resource: &str, time: f64) -> Subscribed {
    scope.subscribe(&topic(id), &name(resource), Interest { interval: INTERVAL, force: false }, None, at(time))
}

fn force(scope: &mut Scope, id: &str, resource: &str, time: f64) {
    scope.subscribe(&topic(id), &name(resource), Interest { interval: INTERVAL, force: true }, None, at(time));
}

fn unsubscribe(scope: &mut Scope, id: &str, resource: &str) {
    scope.unsubscribe(&topic(id), &name(resource));
}

fn has_answered(scope: &Scope, id: &str, resource: &str) -> bool {
    scope.has_answered(&topic(id), &name(resource))
}

fn source(id: &str) -> Source {
    Source::own("us-east-1", id)
}

fn good(scope: &Scope, id: &str, pem: &str) -> Checked {
    Checked::new(&source(id), None, certificate(id, pem), scope.known(id).as_ref(), at(0.0).wall)
}

/// A call about one certificate, which started and ended at these times.
fn got(scope: &mut Scope, id: &str, pem: &str, started: f64, ended: f64) -> Vec<ResourceName> {
    let checked = good(scope, id, pem);
    sorted(scope.got(id, seconds(started), Ok(checked), None, at(ended)))
}

fn failed(scope: &mut Scope, id: &str, failure: GatewayError, time: f64) -> Vec<ResourceName> {
    sorted(scope.got(id, seconds(time), Err(failure), None, at(time)))
}

fn listed(scope: &mut Scope, ids: &[&str], started: f64, ended: f64) -> Vec<ResourceName> {
    let of = |id: &&str| match scope.has(id) {
        true => Listed::Checked((*id).to_owned(), good(scope, id, PEM)),
        false => Listed::Unclaimed(certificate(id, PEM)),
    };
    let list = ids.iter().map(of).collect();
    sorted(scope.listed(seconds(started), 1, list, Listing::default(), None, at(ended)))
}

fn sorted(mut names: Vec<ResourceName>) -> Vec<ResourceName> {
    names.sort();
    names
}

/// What is called at this time, after the gather window, and when the window ends.
fn plan(scope: &mut Scope, time: f64) -> Step {
    match scope.plan(seconds(time)) {
        Step::Wait(Some(until)) if until == seconds(time) + GATHER => scope.plan(until),
        step => step,
    }
}

/// The ids that are asked for by name.
fn gets(step: Step) -> Vec<String> {
    let Step::Read(calls) = step else { panic!("{step:?}") };
    let id = |(topic, _)| match topic {
        Topic::Certificate(id) => id,
        topic => panic!("{topic:?}"),
    };
    let mut ids: Vec<_> = calls.into_iter().map(id).collect();
    ids.sort();
    ids
}

fn next(scope: &mut Scope, time: f64) -> f64 {
    match scope.plan(seconds(time)) {
        Step::Wait(Some(until)) => until.as_secs_f64(),
        step => panic!("{step:?}"),
    }
}

fn down() -> GatewayError {
    GatewayError::Unavailable { outage: Outage::Status(500), retry_after: None }
}

fn denied() -> GatewayError {
    GatewayError::AccessDenied(Denial::NotAuthorized)
}

fn throttled(seconds: u64) -> GatewayError {
    GatewayError::Throttled { retry_after: Some(Duration::from_secs(seconds)) }
}

fn outcome(scope: &Scope, id: &str) -> Result<(), ReadFailure> {
    scope.certificate(id).unwrap().outcome.clone().map(|_| ())
}

#[test]
fn without_a_subscription_nothing_is_ever_due() {
    let mut scope = scope();
    assert_eq!(scope.plan(seconds(0.0)), Step::End);
    subscribe(&mut scope, "a", "r", 0.0);
    subscribe(&mut scope, "a", "s", 0.0);
    unsubscribe(&mut scope, "a", "r");
    unsubscribe(&mut scope, "other", "r");
    assert_eq!(gets(plan(&mut scope, 0.0)), ["a"]);
    unsubscribe(&mut scope, "a", "s");
    assert!(scope.is_empty());
    assert_eq!(scope.plan(seconds(1e6)), Step::End);
    assert_eq!(got(&mut scope, "a", PEM, 0.0, 1.0), [], "an answer that comes later is nobody's");
    assert!(scope.certificate("a").is_none());
}

#[test]
fn reads_within_the_gather_window_share_a_call() {
    let mut scope = scope();
    subscribe(&mut scope, "a", "r", 1.0);
    assert_eq!(scope.plan(seconds(1.0)), Step::Wait(Some(seconds(1.004))));
    subscribe(&mut scope, "b", "s", 1.002);
    assert_eq!(scope.plan(seconds(1.002)), Step::Wait(Some(seconds(1.004))), "the window is not made longer");
    assert_eq!(scope.plan(seconds(1.004)), Step::List);
    assert_eq!(scope.plan(seconds(1.004)), Step::Wait(None), "one list at a time");
    assert_eq!(listed(&mut scope, &["a", "b"], 1.004, 1.1), names(&["r", "s"]));
    assert_eq!(next(&mut scope, 1.1), 1.004 + 285.0);
}

#[test]
fn one_certificate_is_read_by_id_and_several_by_the_list() {
    for (ids, is_list) in [(vec!["a"], false), (vec!["a", "b"], true), (vec!["a", "b", "c"], true)] {
        let mut scope = scope();
        ids.iter().for_each(|id| _ = subscribe(&mut scope, id, "r", 0.0));
        assert_eq!(plan(&mut scope, 0.0) == Step::List, is_list, "{ids:?}");
    }
}

#[test]
fn a_read_that_is_under_way_counts_toward_the_list() {
    let mut scope = scope();
    subscribe(&mut scope, "a", "r", 0.0);
    assert_eq!(gets(plan(&mut scope, 0.0)), ["a"]);
    subscribe(&mut scope, "b", "s", 0.01);
    assert_eq!(plan(&mut scope, 0.01), Step::List, "many more may follow");
    assert_eq!(listed(&mut scope, &["a", "b"], 0.01, 0.02), names(&["r", "s"]));
    assert_eq!(got(&mut scope, "a", OTHER_PEM, 0.0, 0.03), [], "the list is newer");
    subscribe(&mut scope, "c", "t", 0.04);
    assert_eq!(gets(plan(&mut scope, 0.04)), ["c"], "no read is under way");
}

#[test]
fn a_list_of_many_pages_is_not_read_for_a_few_certificates() {
    let mut scope = scope();
    ["a", "b", "c"].iter().for_each(|id| _ = subscribe(&mut scope, id, "r", 0.0));
    assert_eq!(plan(&mut scope, 0.0), Step::List);
    let list = ["a", "b", "c"].map(|id| Listed::Checked(id.into(), good(&scope, id, PEM))).to_vec();
    scope.listed(seconds(0.0), 10, list, Listing::default(), None, at(0.1));
    assert_eq!(gets(plan(&mut scope, 290.0)), ["a", "b", "c"]);
}

#[test]
fn the_next_read_is_due_in_the_last_tenth_of_the_shortest_interval() {
    let mut scope = scope();
    subscribe(&mut scope, "a", "r", 0.0);
    got(&mut scope, "a", PEM, 0.0, 1.0);
    assert_eq!(next(&mut scope, 1.0), 285.0, "counted from the start of the call");
    let short = Interest { interval: Duration::from_secs(100), force: false };
    assert_eq!(scope.subscribe(&topic("a"), &name("s"), short, None, at(2.0)), Subscribed::New);
    assert!(has_answered(&scope, "a", "s"), "an answer that is no older than the interval will do");
    assert_eq!(next(&mut scope, 2.0), 95.0);
    unsubscribe(&mut scope, "a", "s");
    assert_eq!(next(&mut scope, 2.0), 285.0);
    let shorter = Interest { interval: Duration::from_secs(30), force: false };
    assert_eq!(scope.subscribe(&topic("a"), &name("r"), shorter, None, at(2.0)), Subscribed::Changed);
    assert_eq!(scope.subscribe(&topic("a"), &name("r"), shorter, None, at(2.0)), Subscribed::Unchanged);
    assert_eq!(next(&mut scope, 2.0), 28.5);
}

#[test]
fn a_new_subscriber_causes_a_read_only_if_the_cache_is_older_than_its_interval() {
    let mut scope = scope();
    subscribe(&mut scope, "a", "r", 0.0);
    got(&mut scope, "a", PEM, 0.0, 0.0);
    let short = Interest { interval: Duration::from_secs(30), force: false };
    scope.subscribe(&topic("a"), &name("s"), short, None, at(100.0));
    assert!(!has_answered(&scope, "a", "s") && has_answered(&scope, "a", "r"));
    assert_eq!(gets(plan(&mut scope, 100.0)), ["a"]);
    assert_eq!(got(&mut scope, "a", PEM, 100.0, 100.1), names(&["s"]), "it has waited for that");
    assert!(has_answered(&scope, "a", "s"));
}

#[test]
fn only_subscribers_with_a_changed_outcome_are_woken() {
    let mut scope = scope();
    for (id, resource) in [("a", "r"), ("a", "s"), ("b", "t")] {
        subscribe(&mut scope, id, resource, 0.0);
    }
    plan(&mut scope, 0.0);
    assert_eq!(listed(&mut scope, &["a", "b"], 0.0, 0.1), names(&["r", "s", "t"]), "the first answer");
    assert_eq!(listed(&mut scope, &["a", "b"], 10.0, 10.1), [], "the same again");
    assert_eq!(got(&mut scope, "a", OTHER_PEM, 20.0, 20.0), names(&["r", "s"]), "another certificate");
    assert_eq!(failed(&mut scope, "b", down(), 30.0), names(&["t"]), "a failure");
    assert_eq!(failed(&mut scope, "b", down(), 31.0), [], "the same failure");
    assert_eq!(failed(&mut scope, "b", throttled(7), 32.0), names(&["t"]), "another failure");
    assert_eq!(failed(&mut scope, "b", throttled(9), 40.0), [], "how long to wait is not seen");
    assert_eq!(got(&mut scope, "b", PEM, 50.0, 50.0), names(&["t"]), "its end");
    assert_eq!(got(&mut scope, "b", PEM, 60.0, 60.0), []);
}

#[test]
fn an_older_call_never_replaces_a_newer_one() {
    let mut scope = scope();
    subscribe(&mut scope, "a", "r", 0.0);
    got(&mut scope, "a", OTHER_PEM, 5.0, 6.0);
    let fingerprint = |scope: &Scope| scope.certificate("a").unwrap().outcome.as_ref().unwrap().fingerprint();
    let newer = fingerprint(&scope);
    assert_eq!(got(&mut scope, "a", PEM, 4.0, 7.0), []);
    assert_eq!(failed(&mut scope, "a", GatewayError::NotFound, 4.0), []);
    assert_eq!(listed(&mut scope, &[], 4.0, 7.0), [], "nor is it missing because an older list lacks it");
    assert_eq!(fingerprint(&scope), newer);
    assert_eq!(next(&mut scope, 7.0), 290.0);
    assert_eq!(got(&mut scope, "a", PEM, 5.0, 8.0), names(&["r"]));
}

#[test]
fn a_certificate_that_the_list_lacks_is_read_by_id_before_it_counts_as_missing() {
    let mut scope = scope();
    for id in ["a", "b", "c"] {
        subscribe(&mut scope, id, id, 0.0);
    }
    assert_eq!(plan(&mut scope, 0.0), Step::List);
    assert_eq!(listed(&mut scope, &["a"], 0.0, 0.1), names(&["a"]));
    assert!(scope.certificate("b").is_none());
    assert_eq!(gets(scope.plan(seconds(0.1))), ["b", "c"], "at once");
    got(&mut scope, "b", PEM, 0.1, 0.2);
    assert_eq!(failed(&mut scope, "c", GatewayError::NotFound, 0.2), names(&["c"]));
    assert_eq!(outcome(&scope, "c"), Err(GatewayError::NotFound.into()));
    // A certificate that is known is asked for too when a later list lacks it.
    assert_eq!(plan(&mut scope, 285.0), Step::List);
    listed(&mut scope, &["a"], 285.0, 285.1);
    assert_eq!(gets(scope.plan(seconds(285.1))), ["b"], "and not c, which is known to be missing");
}

#[test]
fn the_backoff_of_a_missing_certificate_doubles_and_the_list_ends_it() {
    let mut scope = scope();
    subscribe(&mut scope, "a", "r", 0.0);
    let mut waits = Vec::new();
    let mut now = 0.0;
    for _ in 0..6 {
        failed(&mut scope, "a", GatewayError::NotFound, now);
        let due = next(&mut scope, now);
        waits.push(due - now);
        now = due;
    }
    assert_eq!(waits.map_rounded(), [300, 600, 1200, 2400, 3600, 3600]);
    assert_eq!(listed(&mut scope, &["a"], now, now), names(&["r"]));
    failed(&mut scope, "a", GatewayError::NotFound, now + 1.0);
    assert_eq!((next(&mut scope, now + 1.0) - now - 1.0).round(), 300.0, "it starts again");
}

trait Rounded {
    fn map_rounded(self) -> Vec<u64>;
}

impl Rounded for Vec<f64> {
    fn map_rounded(self) -> Vec<u64> {
        self.into_iter().map(|wait| wait.round() as u64).collect()
    }
}

#[test]
fn each_class_of_failure_has_its_own_backoff() {
    let settled = GatewayError::BadRequest { message: "no".into() };
    let cases: [(GatewayError, &[u64]); 5] = [
        (down(), &[1, 2, 4, 8, 16, 32, 60, 60]),
        (GatewayError::Conflict, &[1, 2, 4]),
        (denied(), &[30, 60, 120, 240, 300, 300]),
        (settled, &[285, 285, 285]),
        (throttled(20), &[21, 21, 21, 21, 21, 32, 60]),
    ];
    for (failure, expected) in cases {
        let mut scope = scope();
        subscribe(&mut scope, "a", "r", 0.0);
        let (mut now, mut waits) = (0.0, Vec::new());
        for _ in expected {
            failed(&mut scope, "a", failure.clone(), now);
            let due = next(&mut scope, now);
            waits.push(due - now);
            now = due;
        }
        assert_eq!(waits.map_rounded(), expected, "{failure:?}");
    }
}

#[test]
fn only_the_backoff_of_a_missing_certificate_is_longer_than_the_interval() {
    let mut scope = scope();
    let short = Interest { interval: Duration::from_secs(30), force: false };
    scope.subscribe(&topic("a"), &name("r"), short, None, at(0.0));
    for (failure, first) in [(down(), 0), (denied(), 12)] {
        for n in first..first + 12 {
            let now = f64::from(n) * 500.0;
            failed(&mut scope, "a", failure.clone(), now);
            assert!(next(&mut scope, now) - now <= 30.0, "{failure:?}");
        }
    }
    let certificate = certificate("a", "no PEM");
    let invalid = Checked::new(&source("a"), None, certificate, None, at(0.0).wall);
    scope.got("a", seconds(20_000.0), Ok(invalid), None, at(20_000.0));
    assert!(matches!(outcome(&scope, "a"), Err(ReadFailure::Invalid(_))));
    assert_eq!(next(&mut scope, 20_000.0), 20_028.5);
}

#[test]
fn a_failure_keeps_the_last_good_answer_and_the_time_of_the_first_failure() {
    let mut scope = scope();
    subscribe(&mut scope, "a", "r", 0.0);
    got(&mut scope, "a", PEM, 0.0, 0.0);
    for time in [300.0, 301.0, 303.0] {
        failed(&mut scope, "a", down(), time);
        let snapshot = scope.certificate("a").unwrap();
        assert_eq!(snapshot.started, seconds(time));
        assert_eq!(snapshot.failing_since, Some(seconds(300.0)));
        assert!(snapshot.outcome.is_err() && snapshot.last_good.is_some());
    }
    failed(&mut scope, "a", GatewayError::NotFound, 304.0);
    assert_eq!(scope.certificate("a").unwrap().failing_since, Some(seconds(300.0)));
    got(&mut scope, "a", PEM, 400.0, 400.0);
    let snapshot = scope.certificate("a").unwrap();
    assert!(snapshot.failing_since.is_none() && snapshot.outcome.is_ok());
}

#[test]
fn a_forced_read_starts_at_once_wakes_the_subscriber_and_ends_the_backoff() {
    let mut scope = scope();
    subscribe(&mut scope, "a", "r", 0.0);
    subscribe(&mut scope, "a", "s", 0.0);
    (0..5).for_each(|n| _ = failed(&mut scope, "a", denied(), f64::from(n)));
    assert!(next(&mut scope, 5.0) > 200.0);
    force(&mut scope, "a", "s", 14.0);
    assert!(!has_answered(&scope, "a", "s") && has_answered(&scope, "a", "r"));
    assert_eq!(gets(plan(&mut scope, 14.0)), ["a"]);
    assert_eq!(failed(&mut scope, "a", denied(), 14.0), names(&["s"]), "even where nothing changed");
    assert!(has_answered(&scope, "a", "s"));
    assert_eq!(next(&mut scope, 14.0), 44.0, "the backoff starts again");
}

#[test]
fn forced_reads_of_a_certificate_are_ten_seconds_apart() {
    let mut scope = scope();
    subscribe(&mut scope, "a", "r", 0.0);
    got(&mut scope, "a", PEM, 0.0, 0.0);
    force(&mut scope, "a", "r", 1.0);
    assert_eq!(next(&mut scope, 1.0), 10.0, "the read before counts, forced or not");
    assert_eq!(gets(plan(&mut scope, 10.0)), ["a"]);
    assert_eq!(got(&mut scope, "a", PEM, 10.0, 10.1), names(&["r"]));
    force(&mut scope, "a", "r", 11.0);
    force(&mut scope, "a", "s", 12.0);
    assert_eq!(next(&mut scope, 12.0), 20.0);
    assert_eq!(gets(plan(&mut scope, 20.0)), ["a"]);
    assert_eq!(got(&mut scope, "a", PEM, 20.0, 20.1), names(&["r", "s"]), "one read for both");
    assert_eq!(next(&mut scope, 20.1), 305.0);
}

#[test]
fn a_call_that_began_before_a_forced_read_does_not_answer_it() {
    let mut scope = scope();
    subscribe(&mut scope, "a", "r", 0.0);
    assert_eq!(gets(plan(&mut scope, 0.0)), ["a"]);
    force(&mut scope, "a", "r", 1.0);
    assert_eq!(scope.plan(seconds(1.0)), Step::Wait(None));
    assert_eq!(got(&mut scope, "a", PEM, 0.0, 2.0), names(&["r"]), "it is news all the same");
    assert!(!has_answered(&scope, "a", "r"));
    assert_eq!(next(&mut scope, 2.0), 10.0);
    assert_eq!(gets(plan(&mut scope, 10.0)), ["a"]);
}

#[test]
fn a_refresh_wakes_every_subscriber_even_without_a_change() {
    let mut scope = scope();
    subscribe(&mut scope, "a", "r", 0.0);
    subscribe(&mut scope, "a", "s", 0.0);
    got(&mut scope, "a", PEM, 0.0, 0.0);
    scope.refresh("a", seconds(10.0));
    scope.refresh("unknown", seconds(10.0));
    assert!(has_answered(&scope, "a", "r"), "nobody who subscribes has asked for it");
    assert_eq!(gets(plan(&mut scope, 10.0)), ["a"]);
    assert_eq!(got(&mut scope, "a", PEM, 10.0, 10.1), names(&["r", "s"]));
    assert_eq!(got(&mut scope, "a", PEM, 11.0, 11.1), []);
}

#[test]
fn after_a_refused_list_each_certificate_is_read_by_id_for_a_time() {
    let refusals = [
        denied(),
        GatewayError::BadRequest { message: String::new() },
        GatewayError::NotFound,
        GatewayError::Unavailable { outage: Outage::NotUnderstood, retry_after: None },
        GatewayError::Unavailable { outage: Outage::Status(404), retry_after: None },
    ];
    for refusal in refusals {
        let mut scope = scope();
        ["a", "b"].iter().for_each(|id| _ = subscribe(&mut scope, id, id, 0.0));
        assert_eq!(plan(&mut scope, 0.0), Step::List);
        assert_eq!(scope.list_failed(seconds(0.0), &refusal, None, at(0.1)), [], "{refusal:?}");
        assert!(scope.certificate("a").is_none());
        for time in [0.1, 290.0, 580.0] {
            assert_eq!(gets(plan(&mut scope, time)), ["a", "b"], "{refusal:?} {time}");
            ["a", "b"].iter().for_each(|id| _ = got(&mut scope, id, PEM, time, time));
        }
        assert_eq!(plan(&mut scope, 870.0), Step::List, "{refusal:?}");
    }
}

#[test]
fn a_failure_of_the_list_that_every_call_would_have_answers_all_due_reads() {
    let credentials = GatewayError::AccessDenied(Denial::RoleRefused);
    for failure in [down(), throttled(7), credentials] {
        let mut scope = scope();
        subscribe(&mut scope, "fresh", "fresh", 0.0);
        got(&mut scope, "fresh", PEM, 0.0, 0.0);
        ["a", "b"].iter().for_each(|id| _ = subscribe(&mut scope, id, id, 10.0));
        assert_eq!(plan(&mut scope, 10.0), Step::List);
        let woken = scope.list_failed(seconds(10.0), &failure, None, at(10.1));
        assert_eq!(sorted(woken), names(&["a", "b"]), "{failure:?}");
        assert_eq!(outcome(&scope, "a"), Err(failure.into()));
        assert_eq!(outcome(&scope, "fresh"), Ok(()));
    }
}

#[test]
fn reads_that_fail_together_are_retried_together() {
    let mut scope = scope();
    ["a", "b"].iter().for_each(|id| _ = subscribe(&mut scope, id, id, 0.0));
    let mut now = 0.0;
    for wait in [1.0, 2.0, 4.0, 8.0] {
        assert_eq!(plan(&mut scope, now), Step::List);
        scope.list_failed(seconds(now), &down(), None, at(now));
        // One that comes during the outage fails by itself at first.
        if wait == 4.0 {
            subscribe(&mut scope, "c", "c", now + 1.0);
            assert_eq!(gets(plan(&mut scope, now + 1.0)), ["c"]);
            failed(&mut scope, "c", down(), now + 3.5);
        }
        assert_eq!(next(&mut scope, now + wait * 0.9), now + wait);
        now += wait;
    }
    assert_eq!(scope.certificates["c"].due_at(), scope.certificates["a"].due_at());
}

#[test]
fn due_reads_are_throttled_while_calls_are_paused() {
    let mut scope = scope();
    subscribe(&mut scope, "a", "r", 0.0);
    got(&mut scope, "a", PEM, 0.0, 0.0);
    force(&mut scope, "a", "r", 10.0);
    assert_eq!(gets(plan(&mut scope, 10.0)), ["a"]);
    assert_eq!(scope.paused(&topic("a"), seconds(60.0), at(10.0)), names(&["r"]));
    assert_eq!(outcome(&scope, "a"), Err(throttled(50).into()));
    assert!(has_answered(&scope, "a", "r"), "at once");
    let due = next(&mut scope, 10.0);
    assert!((60.0..=66.0).contains(&due), "{due}");
    force(&mut scope, "a", "r", 20.0);
    assert_eq!(gets(plan(&mut scope, 20.0)), ["a"]);
}

#[test]
fn other_certificates_of_the_list_answer_later_subscribers_for_their_interval() {
    let mut scope = scope();
    ["a", "b"].iter().for_each(|id| _ = subscribe(&mut scope, id, id, 0.0));
    assert_eq!(plan(&mut scope, 0.0), Step::List);
    listed(&mut scope, &["a", "b", "c", "d"], 0.0, 0.1);
    scope.subscribe(&topic("d"), &name("d"), Interest { interval: seconds(30.0), force: false }, None, at(31.0));
    assert_eq!(gets(plan(&mut scope, 31.0)), ["d"], "the answer of the list is too old");
    got(&mut scope, "d", PEM, 31.0, 31.0);
    unsubscribe(&mut scope, "d", "d");
    subscribe(&mut scope, "c", "c", 280.0);
    assert!(has_answered(&scope, "c", "c") && outcome(&scope, "c").is_ok());
    assert_eq!(next(&mut scope, 280.0), 285.0, "no call");
}

#[test]
fn a_transient_failure_does_not_replace_a_conclusive_one() {
    let mut scope = scope();
    subscribe(&mut scope, "a", "r", 0.0);
    got(&mut scope, "a", PEM, 0.0, 0.0);
    failed(&mut scope, "a", GatewayError::NotFound, 10.0);
    assert!(scope.certificate("a").unwrap().last_good.is_none(), "AWS answered that it does not exist");
    assert_eq!(failed(&mut scope, "a", down(), 20.0), [], "no subscriber is woken");
    assert_eq!(outcome(&scope, "a"), Err(GatewayError::NotFound.into()));
    let retry = next(&mut scope, 20.0);
    assert!((20.0..=22.0).contains(&retry), "the retry is that of an outage: {retry}");
    failed(&mut scope, "a", denied(), 30.0);
    assert_eq!(outcome(&scope, "a"), Err(denied().into()));
    got(&mut scope, "a", PEM, 40.0, 40.0);
    failed(&mut scope, "a", down(), 50.0);
    assert_eq!(outcome(&scope, "a"), Err(down().into()));
    assert!(scope.certificate("a").unwrap().last_good.is_some());
}

#[test]
fn a_subscriber_that_comes_during_a_list_is_answered_by_it() {
    let mut scope = scope();
    ["a", "b"].iter().for_each(|id| _ = subscribe(&mut scope, id, id, 0.0));
    assert_eq!(plan(&mut scope, 0.0), Step::List);
    let list = ["a", "b", "c"].map(|id| Listed::Unclaimed(certificate(id, PEM))).to_vec();
    subscribe(&mut scope, "c", "c", 3.0);
    assert_eq!(sorted(scope.listed(seconds(0.0), 1, list, Listing::default(), None, at(5.0))), names(&["a", "b", "c"]));
    assert!(has_answered(&scope, "c", "c"));
}

#[test]
fn a_written_description_is_cached_at_once_and_older_calls_do_not_replace_it() {
    let mut scope = scope();
    subscribe(&mut scope, "a", "r", 0.0);
    got(&mut scope, "a", PEM, 0.0, 0.0);
    let description = |scope: &Scope| scope.certificate("a").unwrap().outcome.as_ref().unwrap().description.clone();
    assert_eq!(scope.described("a", Some("new"), seconds(5.0)), names(&["r"]));
    assert_eq!(description(&scope), "new");
    assert_eq!(scope.described("a", Some("new"), seconds(6.0)), [], "nothing changed");
    assert_eq!(got(&mut scope, "a", PEM, 5.9, 7.0), [], "that call started before the end of the update");
    assert_eq!(description(&scope), "new");
    assert_eq!(got(&mut scope, "a", PEM, 6.0, 7.0), names(&["r"]), "and this one after it");
    assert_eq!(description(&scope), "");
    scope.described("a", None, seconds(8.0));
    assert_eq!(description(&scope), "", "an update that failed is not known to have been carried out");
    assert_eq!(failed(&mut scope, "a", down(), 7.9), []);
}

#[test]
fn an_equal_answer_with_another_expiry_is_the_same_certificate() {
    let mut scope = scope();
    subscribe(&mut scope, "a", "r", 0.0);
    got(&mut scope, "a", PEM, 0.0, 0.0);
    let known = scope.known("a");
    let again = good(&scope, "a", PEM);
    assert!(Arc::ptr_eq(&again.outcome.unwrap(), &known.clone().unwrap().1), "it is not checked again");
    let later = PEM_NOT_AFTER.parse().unwrap();
    let over = Checked::new(&source("a"), None, certificate("a", PEM), known.as_ref(), later);
    assert_eq!(over.outcome, Err(ReadFailure::Expired));
}

#[test]
fn refreshes_at_different_times_are_aligned() {
    let mut scope = scope();
    for (n, id) in ["a", "b", "c"].iter().enumerate() {
        let time = 50.0 * n as f64;
        subscribe(&mut scope, id, id, time);
        assert_eq!(gets(plan(&mut scope, time)), [*id], "a first read by name");
        got(&mut scope, id, PEM, time, time);
    }
    assert_eq!(plan(&mut scope, 285.0), Step::List, "a refresh of one, and the others are due soon");
    listed(&mut scope, &["a", "b", "c"], 285.0, 285.0);
    assert_eq!(next(&mut scope, 285.0), 570.0);
    // One that is to be read often does not pull those along that need not be, where the list is long.
    scope.pages = 2;
    let often = Interest { interval: Duration::from_secs(30), force: false };
    scope.subscribe(&topic("a"), &name("a"), often, None, at(285.0));
    assert_eq!(gets(plan(&mut scope, 313.5)), ["a"]);
}

fn tags(tags: &[(&str, &str)]) -> Tags {
    tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn ask(scope: &mut Scope, resource: &str, force: bool, time: f64) -> Subscribed {
    scope.subscribe(&Topic::Tags, &name(resource), Interest { interval: INTERVAL, force }, None, at(time))
}

/// A whole list of certificates with these tags.
fn listing(certificates: &[(&str, &[(&str, &str)])]) -> Listing {
    let mut listing = Listing::default();
    for (id, of_it) in certificates {
        listing.add(&ClientCertificate { tags: tags(of_it), ..certificate(id, PEM) });
    }
    listing
}

fn tagged(scope: &mut Scope, certificates: &[(&str, &[(&str, &str)])], time: f64) -> Vec<ResourceName> {
    let list = certificates.iter().map(|(id, _)| Listed::Unclaimed(certificate(id, PEM))).collect();
    sorted(scope.listed(seconds(time), 1, list, listing(certificates), None, at(time)))
}

#[test]
fn the_newest_certificates_that_have_all_of_the_tags_come_first() {
    let mut listing = Listing::default();
    for (id, created, expires, of_it) in [
        ("old", "2025-01-01T00:00:00Z", "2027-01-01T00:00:00Z", &[("app", "a"), ("env", "prod")][..]),
        ("new", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z", &[("app", "a"), ("env", "prod"), ("x", "y")]),
        ("new2", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z", &[("app", "a"), ("env", "prod")]),
        ("over", "2026-01-01T00:00:00Z", "2026-11-24T00:00:00Z", &[("app", "a"), ("env", "prod")]),
        ("half", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z", &[("app", "a")]),
        ("case", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z", &[("app", "A"), ("env", "prod")]),
        ("none", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z", &[]),
    ] {
        let (created, expires) = (Some(created.parse().unwrap()), Some(expires.parse().unwrap()));
        listing.add(&ClientCertificate { tags: tags(of_it), created, expires, ..certificate(id, PEM) });
    }
    let wanted = tags(&[("app", "a"), ("env", "prod")]);
    assert_eq!(listing.having(&wanted, at(0.0).wall), ["new", "new2", "old"]);
    assert!(listing.carries_tags() && listing.has_tags("over", &wanted) && !listing.has_tags("half", &wanted));
    assert_eq!(listing.tags_of("none").map(Tags::len), Some(0));
    assert_eq!(listing.tags_of("gone"), None);
}

#[test]
fn the_list_that_refreshes_all_certificates_answers_tags() {
    let mut scope = scope();
    subscribe(&mut scope, "a", "r", 0.0);
    assert_eq!(ask(&mut scope, "r", false, 0.0), Subscribed::New);
    assert_eq!(ask(&mut scope, "r", false, 0.0), Subscribed::Unchanged);
    assert!(!scope.has_answered(&Topic::Tags, &name("r")));
    assert_eq!(plan(&mut scope, 0.0), Step::List, "and no read by name");
    let list = vec![Listed::Checked("a".into(), good(&scope, "a", PEM))];
    let woken = scope.listed(seconds(0.0), 1, list, listing(&[("a", &[])]), None, at(0.1));
    assert_eq!(sorted(woken), names(&["r", "r"]));
    assert!(scope.has_answered(&Topic::Tags, &name("r")));
    assert_eq!(next(&mut scope, 0.1), 285.0, "in step");
    assert_eq!(plan(&mut scope, 285.0), Step::List);
    // Without a resource that asks for tags, one certificate is read by name.
    listed(&mut scope, &["a"], 285.0, 285.0);
    scope.unsubscribe(&Topic::Tags, &name("r"));
    assert!(scope.list().is_none());
    assert_eq!(gets(plan(&mut scope, 600.0)), ["a"]);
    unsubscribe(&mut scope, "a", "r");
    assert_eq!(scope.plan(seconds(700.0)), Step::End);
}

#[test]
fn subscribers_of_tags_are_woken_when_the_list_changes() {
    let mut scope = scope();
    ask(&mut scope, "r", false, 0.0);
    ask(&mut scope, "s", false, 0.0);
    assert_eq!(tagged(&mut scope, &[("a", &[("app", "x")])], 0.0), names(&["r", "s"]), "the first answer");
    assert_eq!(tagged(&mut scope, &[("a", &[("app", "x")])], 10.0), []);
    assert_eq!(tagged(&mut scope, &[("a", &[("app", "x")]), ("b", &[])], 20.0), names(&["r", "s"]));
    let fail = |scope: &mut Scope, failure: GatewayError, time: f64| {
        sorted(scope.list_failed(seconds(time), &failure, None, at(time)))
    };
    assert_eq!(fail(&mut scope, down(), 60.0), names(&["r", "s"]));
    assert_eq!(fail(&mut scope, denied(), 70.0), names(&["r", "s"]));
    assert_eq!(fail(&mut scope, denied(), 80.0), []);
    assert_eq!(fail(&mut scope, down(), 90.0), [], "the answer of AWS stays");
    assert_eq!(scope.list().unwrap().failing_since, Some(seconds(60.0)), "the first in a row");
}

#[test]
fn a_failed_list_is_retried_with_backoff() {
    let odd = GatewayError::Unavailable { outage: Outage::NotUnderstood, retry_after: None };
    let cases: [(GatewayError, &[u64]); 5] = [
        (down(), &[1, 2, 4, 8, 16, 32, 60, 60]),
        (denied(), &[30, 60, 120, 240, 300, 300]),
        (GatewayError::NotFound, &[300, 600]),
        (odd, &[1, 2, 4]),
        (throttled(20), &[21, 21, 21]),
    ];
    for (failure, expected) in cases {
        let mut scope = scope();
        ask(&mut scope, "r", false, 0.0);
        let (mut now, mut waits) = (0.0, Vec::new());
        for _ in expected {
            assert_eq!(plan(&mut scope, now), Step::List, "also while a list is not worth the call otherwise");
            scope.list_failed(seconds(now), &failure, None, at(now));
            let due = next(&mut scope, now);
            waits.push(due - now);
            now = due;
        }
        assert_eq!(waits.map_rounded(), expected, "{failure:?}");
        assert_eq!(tagged(&mut scope, &[("a", &[("app", "x")])], now), names(&["r"]), "it ends with an answer");
    }
}

#[test]
fn certificates_are_read_by_id_while_the_list_is_denied() {
    let mut scope = scope();
    subscribe(&mut scope, "a", "r", 0.0);
    ask(&mut scope, "r", false, 0.0);
    assert_eq!(plan(&mut scope, 0.0), Step::List);
    scope.list_failed(seconds(0.0), &denied(), None, at(0.1));
    assert_eq!(gets(plan(&mut scope, 0.1)), ["a"]);
    got(&mut scope, "a", PEM, 0.1, 0.2);
    assert_eq!(plan(&mut scope, 31.0), Step::List, "the right may have been given");
    listed(&mut scope, &["a"], 31.0, 31.0);
    ["b", "c"].iter().for_each(|id| _ = subscribe(&mut scope, id, "s", 32.0));
    assert_eq!(plan(&mut scope, 32.0), Step::List, "it counts again for others too");
}

#[test]
fn a_forced_list_wakes_the_subscriber() {
    let mut scope = scope();
    for resource in ["r", "s"] {
        ask(&mut scope, resource, false, 0.0);
    }
    tagged(&mut scope, &[("a", &[("app", "x")])], 0.0);
    assert_eq!(ask(&mut scope, "s", true, 1.0), Subscribed::Changed);
    assert!(!scope.has_answered(&Topic::Tags, &name("s")) && scope.has_answered(&Topic::Tags, &name("r")));
    assert_eq!(next(&mut scope, 1.0), 10.0);
    assert_eq!(plan(&mut scope, 10.0), Step::List);
    assert_eq!(tagged(&mut scope, &[("a", &[("app", "x")])], 10.0), names(&["s"]));
    assert_eq!(next(&mut scope, 10.0), 295.0);
}

const API: &str = "a1b2c3";

fn follow(scope: &mut Scope, api: &str, resource: &str, force: bool, time: f64) -> Subscribed {
    let interest = Interest { interval: INTERVAL, force };
    scope.subscribe(&Topic::Stages(api.into()), &name(resource), interest, None, at(time))
}

/// A call about the stages of the API, which brings what each presents.
fn presented(scope: &mut Scope, stages: &[(&str, Option<&str>)], time: f64) -> Vec<ResourceName> {
    let stage = |(name, id): &(&str, Option<&str>)| Stage { name: (*name).into(), certificate: id.map(str::to_owned) };
    let came = stages.iter().map(stage).collect();
    sorted(scope.got_stages(API, seconds(time), Ok(came), None, at(time)))
}

fn apis(step: Step) -> Vec<Topic> {
    let Step::Read(calls) = step else { panic!("{step:?}") };
    calls.into_iter().map(|(topic, _)| topic).collect()
}

#[test]
fn one_call_serves_all_subscribers_of_the_stages_of_an_api() {
    let mut scope = scope();
    assert_eq!(follow(&mut scope, API, "r", false, 0.0), Subscribed::New);
    assert_eq!(follow(&mut scope, API, "s", false, 0.0), Subscribed::New);
    assert_eq!(follow(&mut scope, API, "s", false, 0.0), Subscribed::Unchanged);
    assert_eq!(apis(scope.plan(seconds(0.0))), [Topic::Stages(API.into())], "at once");
    assert_eq!(scope.plan(seconds(0.0)), Step::Wait(None), "and only one");
    assert_eq!(presented(&mut scope, &[("prod", Some("a"))], 0.0), names(&["r", "s"]));
    assert_eq!(scope.stages(API).unwrap().outcome.as_ref().unwrap()["prod"].as_deref(), Some("a"));
    assert_eq!(next(&mut scope, 0.1), 285.0);
    assert_eq!(presented(&mut scope, &[("prod", Some("a"))], 285.0), [], "as before");
    assert_eq!(presented(&mut scope, &[("prod", Some("b"))], 570.0), names(&["r", "s"]), "a switch");
    assert_eq!(presented(&mut scope, &[("prod", None)], 580.0), names(&["r", "s"]), "no certificate");
    follow(&mut scope, API, "s", true, 581.0);
    assert_eq!(next(&mut scope, 581.0), 590.0, "forced reads are apart");
    assert_eq!(presented(&mut scope, &[("prod", None)], 590.0), names(&["s"]), "which has waited for it");
    ["r", "s"].iter().for_each(|resource| scope.unsubscribe(&Topic::Stages(API.into()), &name(resource)));
    assert_eq!(scope.plan(seconds(1e6)), Step::End);
    assert_eq!(presented(&mut scope, &[("prod", None)], 1e6), [], "an answer that comes later is nobody's");
}

#[test]
fn failed_reads_of_stages_have_the_backoff_of_certificates() {
    let cases: [(GatewayError, &[u64]); 4] = [
        (down(), &[1, 2, 4]),
        (GatewayError::Conflict, &[1, 2, 4]),
        (denied(), &[30, 60, 120]),
        (GatewayError::NotFound, &[300, 600, 1200]),
    ];
    for (failure, expected) in cases {
        let mut scope = scope();
        follow(&mut scope, API, "r", false, 0.0);
        let (mut now, mut waits) = (0.0, Vec::new());
        for _ in expected {
            assert_eq!(apis(scope.plan(seconds(now))).len(), 1);
            scope.got_stages(API, seconds(now), Err(failure.clone()), None, at(now));
            let due = next(&mut scope, now);
            waits.push(due - now);
            now = due;
        }
        assert_eq!(waits.map_rounded(), expected, "{failure:?}");
    }
}

#[test]
fn the_certificates_of_stages_are_read_by_one_list() {
    let mut scope = scope();
    follow(&mut scope, API, "r", false, 0.0);
    scope.plan(seconds(0.0));
    presented(&mut scope, &[("prod", Some("a")), ("test", Some("b"))], 0.0);
    subscribe(&mut scope, "a", "r", 0.0);
    assert_eq!(plan(&mut scope, 0.0), Step::List, "it brings what other stages present");
    listed(&mut scope, &["a", "b"], 0.0, 0.2);
    subscribe(&mut scope, "b", "s", 5.0);
    assert!(has_answered(&scope, "b", "s"));
    assert_eq!(next(&mut scope, 5.0), 285.0);
}

#[test]
fn certificates_are_read_even_if_stages_exceed_the_rate_limit() {
    let mut scope = scope();
    subscribe(&mut scope, "omitted", "r", 0.0);
    subscribe(&mut scope, "listed", "r", 0.0);
    assert_eq!(plan(&mut scope, 0.0), Step::List);
    listed(&mut scope, &["listed"], 0.0, 0.1);
    (0..100).for_each(|api| _ = follow(&mut scope, &format!("api{api}"), "s", false, 0.1));
    // There is room for eight calls, and one ends at a time.
    let mut asked = Vec::new();
    for call in 0..50 {
        let time = 1.0 + f64::from(call);
        if let Step::Read(calls) = plan(&mut scope, time) {
            asked.extend(calls.into_iter().map(|(topic, _)| topic));
        }
        let Some(Topic::Stages(api)) = asked.get(call as usize).cloned() else { break };
        scope.got_stages(&api, seconds(time), Ok(Vec::new()), None, at(time));
    }
    assert!(asked.contains(&topic("omitted")), "{asked:?}");
    // Where the list is refused, the one that is due for longest comes first.
    let mut scope = self::scope();
    subscribe(&mut scope, "first", "r", 0.0);
    (0..100).for_each(|api| _ = follow(&mut scope, &format!("api{api}"), "s", false, 1.0));
    assert_eq!(scope.list_failed(seconds(1.0), &denied(), None, at(1.0)), []);
    assert!(matches!(plan(&mut scope, 2.0), Step::Read(calls) if calls.len() == 8 && calls[0].0 == topic("first")));
}

#[test]
fn a_silent_acm_does_not_delay_calls_to_api_gateway() {
    let mut scope = scope();
    let interest = Interest { interval: INTERVAL, force: false };
    for arn in 0..30 {
        scope.subscribe(&Topic::Acm(format!("arn{arn}")), &name("r"), interest, None, at(0.0));
    }
    assert_eq!(apis(scope.plan(seconds(0.0))).len(), 8);
    follow(&mut scope, API, "s", false, 1.0);
    subscribe(&mut scope, "a", "s", 1.0);
    assert_eq!(apis(scope.plan(seconds(1.0))), [Topic::Stages(API.into())]);
    assert_eq!(plan(&mut scope, 1.0), Step::List);
}
