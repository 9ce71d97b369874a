use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::api::TargetKind;
use crate::conditions::{Is, find};
use crate::description::Claim;
use crate::error::ReadFailure;
use crate::fixtures::{OTHER_PEM, PEM, PEM_NOT_AFTER, came, certificate, resource, secret_of, source_of};
use crate::gateway::{Denial, GatewayError, Outage, Source};
use crate::memory::Which;
use crate::reading::{Additional, Answer};
use crate::reconcile::{HeldBack, decide};
use crate::settings::TargetKinds;
use crate::target::{Target, TargetObject};

/// A resource, what is remembered of it, and the object in its target's place: enough for passes without any I/O.
struct World {
    resource: ClientCertificateRef,
    memory: Memory,
    target: Option<Target>,
    claim: Claim,
    may_describe: Result<(), HeldBack>,
    target_kinds: TargetKinds,
    now: Now,
}

impl World {
    fn new() -> Self {
        let mut resource = resource("payments");
        resource.metadata.generation = Some(3);
        let now = Now { wall: "2026-11-24T07:16:00Z".parse().unwrap(), tick: Tick::from_secs(1000) };
        World {
            memory: Memory::new(&resource),
            resource,
            target: None,
            claim: Claim::Mine,
            may_describe: Ok(()),
            target_kinds: Default::default(),
            now,
        }
    }

    fn read(&mut self, outcome: Result<&str, GatewayError>) -> &mut Self {
        let source = Source::own("us-east-1", &self.resource.spec.client_certificate_id);
        let outcome = match outcome {
            Ok(pem) => Answer::check(&source, None, certificate(&source.id, pem), self.now.wall),
            Err(error) => Err(ReadFailure::Gateway(error)),
        };
        let came = came(outcome, self.now.tick);
        self.memory.main.reading.record(Ok(source), came, Duration::from_secs(300), self.now.tick, 0.5);
        self
    }

    fn read_additional(&mut self, id: &str, outcome: Result<&str, GatewayError>) {
        self.memory.arrange(&self.resource.spec.client_certificate_id, &self.additional());
        let source = Source::own("us-east-1", id);
        let outcome = match outcome {
            Ok(pem) => Answer::check(&source, None, certificate(id, pem), self.now.wall),
            Err(error) => Err(ReadFailure::Gateway(error)),
        };
        let (came, tick) = (came(outcome, self.now.tick), self.now.tick);
        self.memory.answered(Which::Additional(0), &self.resource, &Ok(source), came, tick, 0.5);
    }

    fn additional(&self) -> Vec<Additional> {
        let source = |id: &str| Ok(Source::own("us-east-1", id));
        self.resource.additional_ids().map(|id| Additional { id: id.to_owned(), source: source(id) }).collect()
    }

    fn look(&self) -> Result<Option<Target>, ClusterFailure> {
        let kind = self.resource.target_ref().kind;
        let allowed = self.target_kinds.contains(kind);
        if allowed { Ok(self.target.clone()) } else { Err(ClusterFailure::KindNotAllowed { kind }) }
    }

    /// A pass whose writes are answered by `answer`; successful ones are carried out.
    fn pass_with(&mut self, answer: impl Fn(&Action) -> Done) -> Conclusion {
        let settings = Settings {
            installation: "operators/ours".into(),
            default_region: Some("us-east-1".into()),
            expiring_within: Duration::from_secs(30 * 24 * 3600),
            manage_descriptions: true,
            target_kinds: self.target_kinds.clone(),
        };
        self.memory.main.generation = self.resource.generation();
        self.memory.description.want(self.resource.spec.description.as_deref(), None);
        let observation = Observation {
            source: source_of(&self.resource),
            additional: self.additional(),
            target: self.look(),
            owner_exists: true,
            leftovers: vec![],
            may_describe: self.may_describe.clone(),
            claim: self.claim.clone(),
            description_undone: false,
            password: None,
        };
        self.memory.arrange(&self.resource.spec.client_certificate_id, &observation.additional);
        let plan = decide(&self.resource, &observation, &self.memory, &settings, self.now);
        let outcomes: Vec<Outcome> =
            plan.actions.iter().map(|action| Outcome { action: action.clone(), done: answer(action) }).collect();
        for outcome in &outcomes {
            if let (Action::CreateTarget { desired, .. } | Action::ReplaceTarget { desired, .. }, Done::Written) =
                (&outcome.action, &outcome.done)
            {
                self.target = Some(secret_of(desired).into_target());
            }
        }
        let conclusion =
            conclude(&self.resource, &observation, &plan, &outcomes, &mut self.memory, &settings, self.now, 0.5);
        self.resource.status = Some(conclusion.status.clone());
        conclusion
    }

    fn pass(&mut self) -> Conclusion {
        self.pass_with(|action| match action {
            Action::SetDescription { to, .. } => Done::Described(to.clone()),
            _ => Done::Written,
        })
    }

    fn later(&mut self, wait: Duration) -> &mut Self {
        self.now.tick += wait;
        self.now.wall += SignedDuration::try_from(wait).unwrap();
        self
    }

    /// `Type=Status Reason` of a condition, empty where it is absent.
    fn condition(&self, type_: ConditionType) -> String {
        let conditions = &self.resource.status.as_ref().unwrap().conditions;
        find(conditions, type_).map(|c| format!("{} {}", c.status, c.reason)).unwrap_or_default()
    }

    fn ready(&self) -> String {
        self.condition(ConditionType::Ready)
    }
}

fn reasons(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.reason.as_str()).collect()
}

fn denied() -> GatewayError {
    GatewayError::AccessDenied(Denial::NotAuthorized)
}

fn down() -> GatewayError {
    GatewayError::Unavailable { outage: Outage::Connection, retry_after: None }
}

#[test]
fn a_first_good_pass_is_ready_and_tells_one_event() {
    let mut world = World::new();
    let conclusion = world.read(Ok(PEM)).pass();
    assert_eq!(world.ready(), "True Mirrored");
    assert_eq!(world.condition(ConditionType::CertificateRead), "True Read");
    assert_eq!(world.condition(ConditionType::TargetWritten), "True Written");
    assert_eq!(world.condition(ConditionType::Expiring), "False EndsLater");
    for absent in [ConditionType::DescriptionSynced, ConditionType::Stalled, ConditionType::Suspended] {
        assert_eq!(world.condition(absent), "", "{absent}");
    }
    assert_eq!(reasons(&conclusion.events.done), ["TargetCreated"]);
    assert_eq!(conclusion.events.changed, []);
    let status = conclusion.status;
    assert_eq!(status.target, Some(world.resource.target_ref()));
    assert_eq!(status.certificates[0].id, "9ao60f");
    assert!(status.conditions.iter().all(|condition| condition.observed_generation == Some(3)));
    let next = conclusion.next_look.unwrap();
    assert!(next >= Duration::from_secs(270) && next <= Duration::from_secs(300), "{next:?}");
}

#[test]
fn a_second_pass_says_the_same_and_nothing_more() {
    let mut world = World::new();
    let first = world.read(Ok(PEM)).pass();
    let second = world.later(Duration::from_secs(280)).read(Ok(PEM)).pass();
    assert_eq!(first.status, second.status);
    assert_eq!(second.events, Events::default());
}

#[test]
fn only_a_passing_failure_leaves_a_resource_ready() {
    let bad_request = GatewayError::BadRequest { message: "no".into() };
    for (error, ready, stalled) in [
        (GatewayError::Throttled { retry_after: None }, "True Mirrored", ""),
        (down(), "True Mirrored", ""),
        (denied(), "False AccessDenied", ""),
        (GatewayError::NotFound, "False NotFound", ""),
        (bad_request, "False BadRequest", "True BadRequest"),
    ] {
        let mut world = World::new();
        world.read(Ok(PEM)).pass();
        let conclusion = world.later(Duration::from_secs(280)).read(Err(error.clone())).pass();
        assert_eq!(world.ready(), ready, "{error}");
        assert_eq!(world.condition(ConditionType::Stalled), stalled, "{error}");
        assert_eq!(world.condition(ConditionType::TargetWritten), "True Written", "{error}");
        assert_eq!(conclusion.status.certificates.len(), 1, "last good kept");
        assert_eq!(conclusion.events.done, []);
        assert_eq!(reasons(&conclusion.events.changed), [error.reason().to_string()]);
        let again = world.later(Duration::from_secs(60)).read(Err(error)).pass();
        assert_eq!((again.status, again.events), (conclusion.status, Events::default()), "told and written once");
    }
}

#[test]
fn without_a_good_answer_the_reason_is_what_the_read_says() {
    for (error, ready) in [(down(), "False Unavailable"), (denied(), "False AccessDenied")] {
        let mut world = World::new();
        world.read(Err(error)).pass();
        assert_eq!(world.ready(), ready);
        assert_eq!(world.condition(ConditionType::TargetWritten), "Unknown NoCertificate");
        assert_eq!(world.condition(ConditionType::Expiring), "");
    }
}

#[test]
fn an_answer_that_is_no_certificate_keeps_the_last_good_target_and_is_final() {
    let mut world = World::new();
    world.read(Ok(PEM)).pass();
    world.later(Duration::from_secs(280)).read(Ok("testcert-123")).pass();
    assert_eq!(world.ready(), "False InvalidCertificate");
    assert_eq!(world.condition(ConditionType::Stalled), "True InvalidCertificate");
    assert!(world.target.is_some());
}

#[test]
fn a_certificate_expires_on_time_and_the_target_stays() {
    let mut world = World::new();
    world.now.wall = PEM_NOT_AFTER.parse::<Timestamp>().unwrap() - SignedDuration::from_secs(100);
    let conclusion = world.read(Ok(PEM)).pass();
    assert_eq!(world.condition(ConditionType::Expiring), "True EndsSoon");
    assert_eq!(reasons(&conclusion.events.changed), ["Expiring"]);
    assert_eq!(world.ready(), "True Mirrored");
    assert_eq!(conclusion.next_look, Some(Duration::from_secs(101)), "the timer stands at the end, not at the refresh");
    let conclusion = world.later(Duration::from_secs(101)).pass();
    assert_eq!(world.ready(), "False Expired");
    assert_eq!(world.condition(ConditionType::Stalled), "True Expired");
    assert_eq!(world.condition(ConditionType::TargetWritten), "True Written");
    assert_eq!(conclusion.events.done, []);
}

#[test]
fn another_id_is_not_ready_until_it_was_read() {
    let mut world = World::new();
    world.read(Ok(PEM)).pass();
    world.resource.spec.client_certificate_id = "k2c0qe".into();
    world.read(Err(down())).pass();
    assert_eq!(world.ready(), "False Unavailable");
    assert_eq!(world.resource.status.as_ref().unwrap().certificates[0].id, "9ao60f", "what the target holds");
    world.read(Ok(PEM)).pass();
    assert_eq!(world.ready(), "True Mirrored");
}

#[test]
fn a_refused_write_is_told_once_and_tried_again_soon() {
    let mut world = World::new();
    let refuse = |_: &Action| Done::NotWritten(ClusterFailure::QuotaExceeded);
    let conclusion = world.read(Ok(PEM)).pass_with(refuse);
    assert_eq!(world.ready(), "False QuotaExceeded");
    assert_eq!(world.condition(ConditionType::TargetWritten), "False QuotaExceeded");
    assert_eq!(reasons(&conclusion.events.changed), ["QuotaExceeded"]);
    assert_eq!(conclusion.status.target, None);
    assert!(conclusion.next_look.unwrap() <= Duration::from_secs(2));
    let again = world.pass_with(refuse);
    assert_eq!((again.status, again.events), (conclusion.status, Events::default()));
    world.pass();
    assert_eq!(world.ready(), "True Mirrored");
}

#[test]
fn a_kind_that_is_left_out_is_told_of_once_as_final_and_the_last_target_stays_in_the_status() {
    let mut world = World::new();
    let before = world.read(Ok(PEM)).pass().status;
    world.resource.spec.target.kind = TargetKind::ConfigMap;
    world.target_kinds = "Secret".parse().unwrap();
    let conclusion = world.pass();
    for (type_, expected) in [
        (ConditionType::TargetWritten, "False KindNotAllowed"),
        (ConditionType::Ready, "False KindNotAllowed"),
        (ConditionType::Stalled, "True KindNotAllowed"),
    ] {
        assert_eq!(world.condition(type_), expected);
    }
    let told = find(&conclusion.status.conditions, ConditionType::TargetWritten).unwrap();
    let names = ["the ConfigMap payments", "target.kind", "--target-kinds"];
    assert!(names.iter().all(|name| told.message.contains(name)), "{}", told.message);
    assert_eq!(conclusion.status.target, before.target);
    assert_eq!(conclusion.status.certificates, before.certificates);
    assert_eq!(reasons(&conclusion.events.changed), ["KindNotAllowed"]);
    assert!(conclusion.next_look.unwrap() > Duration::from_secs(60), "{:?}", conclusion.next_look);
    let again = world.pass();
    assert_eq!((again.status, again.events), (conclusion.status, Events::default()));
    world.target_kinds = Default::default();
    world.target = None;
    assert_eq!(world.pass().status.target, Some(world.resource.target_ref()));
    assert_eq!(world.ready(), "True Mirrored");
    assert_eq!(world.condition(ConditionType::Stalled), "");
}

#[test]
fn a_description_never_changes_ready_and_a_refused_one_is_tried_again() {
    let mut world = World::new();
    world.resource.spec.description = Some("ours".into());
    let refuse = |action: &Action| match action {
        Action::SetDescription { .. } => Done::NotDescribed(denied()),
        _ => Done::Written,
    };
    let conclusion = world.read(Ok(PEM)).pass_with(refuse);
    assert_eq!(world.ready(), "True Mirrored");
    assert_eq!(world.condition(ConditionType::DescriptionSynced), "False AccessDenied");
    let message = &find(&conclusion.status.conditions, ConditionType::DescriptionSynced).unwrap().message;
    assert!(
        message.contains("apigateway:PATCH on arn:aws:apigateway:us-east-1::/clientcertificates/9ao60f"),
        "{message}"
    );
    let wait = conclusion.next_look.unwrap();
    assert!(wait >= Duration::from_secs(27) && wait <= Duration::from_secs(33), "{wait:?}");
    let conclusion = world.later(wait).pass();
    assert_eq!(world.condition(ConditionType::DescriptionSynced), "True Synced");
    assert_eq!(reasons(&conclusion.events.done), ["DescriptionUpdated"]);
    assert_eq!(conclusion.status.certificates[0].description.as_deref(), Some("ours"));

    world.resource.spec.description = None;
    world.pass();
    assert_eq!(world.condition(ConditionType::DescriptionSynced), "");
}

#[test]
fn a_younger_claim_says_whose_the_description_is() {
    let mut world = World::new();
    world.resource.spec.description = Some("ours".into());
    for (same_text, expected) in [(true, "True SameAsOwner"), (false, "False OwnedByAnother")] {
        world.claim = Claim::Theirs { owner: "backends/orders".into(), same_text };
        let conclusion = world.read(Ok(PEM)).pass();
        assert_eq!(world.condition(ConditionType::DescriptionSynced), expected);
        assert_eq!(world.condition(ConditionType::Stalled), "", "it concerns the description alone");
        assert!(
            find(&conclusion.status.conditions, ConditionType::DescriptionSynced)
                .unwrap()
                .message
                .contains("backends/orders")
        );
    }
}

#[test]
fn an_additional_certificate_has_a_condition_of_its_own_and_never_changes_ready() {
    let mut world = World::new();
    world.resource.spec.additional_client_certificate_ids = vec!["k2c0qe".into()];
    world.read(Ok(PEM));
    assert_eq!(world.pass().status.certificates.len(), 1);
    assert_eq!(world.condition(ConditionType::AdditionalCertificatesRead), "Unknown NotRead");
    world.read_additional("k2c0qe", Ok(OTHER_PEM));
    let conclusion = world.pass();
    assert_eq!(conclusion.status.certificates.len(), 2);
    assert_eq!(world.condition(ConditionType::AdditionalCertificatesRead), "True Read");
    world.read_additional("k2c0qe", Err(GatewayError::NotFound));
    let conclusion = world.pass();
    assert_eq!(reasons(&conclusion.events.changed), ["NotFound"]);
    assert_eq!(conclusion.status.certificates.len(), 2, "what was read last stays");
    assert_eq!((world.ready().as_str(), world.condition(ConditionType::Stalled).as_str()), ("True Mirrored", ""));
    let target = world.target.take();
    assert_eq!(world.pass().status.certificates.len(), 1, "one that is gone is not put into a new target");
    world.target = target;
    world.resource.spec.additional_client_certificate_ids.clear();
    world.pass();
    assert_eq!(world.condition(ConditionType::AdditionalCertificatesRead), "");
}

#[test]
fn suspending_keeps_what_was_said() {
    let mut world = World::new();
    world.read(Ok(PEM)).pass();
    world.resource.spec.suspend = true;
    world.resource.metadata.generation = Some(4);
    let conclusion = suspended(&world.resource, &mut world.memory, world.now.wall);
    assert_eq!((conclusion.status.observed_generation, conclusion.next_look), (Some(4), None));
    world.resource.status = Some(conclusion.status);
    assert_eq!(world.condition(ConditionType::Suspended), "True Suspended");
    assert_eq!(world.ready(), "True Mirrored");
    assert!(
        find(&world.resource.status.as_ref().unwrap().conditions, ConditionType::Ready).unwrap().status
            == Is::True.to_string()
    );
    world.resource.spec.suspend = false;
    world.pass();
    assert_eq!(world.condition(ConditionType::Suspended), "");
}
