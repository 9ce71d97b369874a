//! A stage that a resource follows, in consecutive reconciles, with the access by the status and the rules.

use std::collections::BTreeMap;

use super::*;
use crate::access::{self, Access};
use crate::api::Stage;
use crate::aws::gateway::{Outage, RestApi};
use crate::aws::scope::Stages;
use crate::controllers::mirror::found;
use crate::rules::Rules;
use CertificateRole::{Additional, Former, Main as MainOne};

type Presents = Option<Result<Option<&'static str>, ReadFailure>>;

/// The answers of AWS in a story about a stage.
pub(super) struct Followed {
    /// The certificate that the stage presents; `None` if this process has no answer.
    presents: Presents,
    /// The results of the reads of the certificates; `None` if there is no answer.
    reads: BTreeMap<&'static str, Option<Result<(), ReadFailure>>>,
    rules: Rules,
}

impl Followed {
    pub(super) fn fill(&self, story: &Story, snapshot: &mut Snapshot, settings: &Settings) {
        let (resource, now) = (&story.resource, snapshot.now);
        let stages = self.presents.clone().map(|presents| {
            let outcome = presents.map(|id| Arc::new(Stages::from([("prod".to_owned(), id.map(str::to_owned))])));
            Read { started: now.tick, last_good: outcome.clone().ok(), failing_since: Some(now.tick), outcome }
        });
        let list = snapshot.tags.as_ref().and_then(|tags| tags.read.as_ref());
        let found = found(resource, list, stages.as_ref(), now);
        let Access { main, stages: api, additional, unnamed, acm, .. } =
            Access::of(resource, &found, settings, &self.rules, &BTreeMap::new());
        let named = |access::Named { id, source }| {
            let result = self.reads.get(id.as_str()).cloned().flatten().filter(|_| source.is_ok());
            let pem = if id == MAIN { PEM } else { OTHER_PEM };
            let read = result.map(|result| Read { failing_since: Some(now.tick), ..story.read_of(&id, pem, result) });
            Named { id, source, read }
        };
        snapshot.main = main.map(named);
        snapshot.additional = additional.into_iter().map(named).collect();
        snapshot.unnamed = unnamed.into_iter().map(named).collect();
        snapshot.acm = acm;
        snapshot.stage = api.map(|api: RestApi| StageRead {
            api,
            name: "prod".into(),
            acm: crate::api::AcmTrust::Refuse,
            read: stages,
        });
        if resource.spec.additional_client_certificate_tags.is_empty() {
            snapshot.tags = None;
        }
    }
}

/// A resource that follows a stage, which presents the main certificate at the start.
fn following(change: impl FnOnce(&mut ClientCertificateRef)) -> Story {
    let mut story = Story::new();
    let spec = &mut story.resource.spec;
    (spec.client_certificate_id, spec.region) = (None, Some("us-east-1".into()));
    spec.stage = Some(Stage { rest_api_id: "a1b2c3".into(), stage_name: "prod".into(), ..Stage::default() });
    spec.additional_client_certificate_tags.clear();
    change(&mut story.resource);
    let reads = BTreeMap::from([(MAIN, Some(Ok(()))), (NEW, Some(Ok(())))]);
    story.followed = Some(Followed { presents: Some(Ok(Some(MAIN))), reads, rules: Rules::default() });
    story
}

fn presents(story: &mut Story, presents: Presents) {
    story.followed.as_mut().unwrap().presents = presents;
}

fn read(story: &mut Story, id: &'static str, read: Option<Result<(), ReadFailure>>) {
    story.followed.as_mut().unwrap().reads.insert(id, read);
}

fn held(story: &Story) -> Vec<(&str, CertificateRole)> {
    let held = &story.resource.status.as_ref().unwrap().certificates;
    held.iter().map(|held| (held.id.as_str(), held.role.unwrap())).collect()
}

fn reason(story: &Story, type_: ConditionType) -> (&str, &str) {
    let condition = find(&story.resource.status.as_ref().unwrap().conditions, type_).unwrap();
    (&condition.status, &condition.reason)
}

fn outage() -> ReadFailure {
    GatewayError::Unavailable { outage: Outage::TimedOut, retry_after: None }.into()
}

#[test]
fn a_former_certificate_stays_until_the_stage_was_read_after_the_overlap() {
    let denied = || GatewayError::AccessDenied(Denial::NotAuthorized).into();
    for unread in [None, Some(Err(outage())), Some(Err(denied()))] {
        let mut story = following(|_| {});
        story.pass(0);
        presents(&mut story, Some(Ok(Some(NEW))));
        story.pass(10);
        assert_eq!(held(&story), [(NEW, MainOne), (MAIN, Former)]);
        // The operator was down until after the overlap, or may no longer read the stage. The stage may present the
        // former certificate again.
        presents(&mut story, unread);
        story.pass(10 + 3600);
        assert_eq!(held(&story), [(NEW, MainOne), (MAIN, Former)]);
        let mut back = story;
        presents(&mut back, Some(Ok(Some(NEW))));
        back.pass(10 + 3700);
        assert_eq!(held(&back), [(NEW, MainOne)]);
    }
}

#[test]
fn an_unread_certificate_of_the_stage_is_reported_as_not_read() {
    for (unread, is, reason_) in [(None, "Unknown", "NotRead"), (Some(Err(outage())), "False", "Unavailable")] {
        let mut story = following(|_| {});
        story.pass(0);
        assert_eq!(reason(&story, ConditionType::Ready), ("True", "Mirrored"));
        presents(&mut story, Some(Ok(Some(NEW))));
        read(&mut story, NEW, unread);
        for second in [10, 20] {
            story.pass(second);
            assert_eq!(held(&story), [(MAIN, MainOne)]);
            assert_eq!(reason(&story, ConditionType::CertificateRead), (is, reason_));
            assert_eq!(reason(&story, ConditionType::Ready), ("False", reason_));
        }
        read(&mut story, NEW, Some(Ok(())));
        story.pass(30);
        assert_eq!(held(&story), [(NEW, MainOne), (MAIN, Former)]);
        assert_eq!(reason(&story, ConditionType::Ready), ("True", "Mirrored"));
        // After the first read, a transient failure changes nothing.
        read(&mut story, NEW, Some(Err(outage())));
        let before = story.resource.status.clone();
        story.pass(40);
        assert_eq!(story.resource.status, before);
    }
}

#[test]
fn a_certificate_with_another_role_stays_for_the_overlap_after_the_stage_presented_it() {
    let ids = |resource: &mut ClientCertificateRef| resource.spec.additional_client_certificate_ids = vec![NEW.into()];
    let by_tag = |resource: &mut ClientCertificateRef| {
        resource.spec.additional_client_certificate_tags = tags(&[("app", "a")]);
    };
    for (mut story, role) in [(following(ids), Additional), (following(by_tag), CertificateRole::Tagged)] {
        presents(&mut story, Some(Ok(Some(NEW))));
        story.pass(0);
        presents(&mut story, Some(Ok(Some(MAIN))));
        story.pass(10);
        assert_eq!(held(&story), [(MAIN, MainOne), (NEW, role)]);
        // The user reverts the switch and its preparation in the spec.
        story.resource.spec.additional_client_certificate_ids.clear();
        story.resource.spec.additional_client_certificate_tags.clear();
        story.resource.metadata.generation = Some(2);
        let outcome = story.pass(20);
        assert_eq!(held(&story), [(MAIN, MainOne), (NEW, Former)]);
        assert!(outcome.events.changed.iter().all(|event| event.reason != "TagsLost"), "{:?}", outcome.events);
        assert_eq!(story.pass(3609).requeue, Some(Duration::from_secs(1)));
        assert_eq!(held(&story), [(MAIN, MainOne), (NEW, Former)]);
        story.pass(3610);
        assert_eq!(held(&story), [(MAIN, MainOne)]);
    }
    // A certificate that stays in the spec loses `formerSince` after the overlap.
    let mut story = following(ids);
    presents(&mut story, Some(Ok(Some(NEW))));
    story.pass(0);
    presents(&mut story, Some(Ok(Some(MAIN))));
    story.pass(10);
    story.pass(3610);
    assert_eq!(held(&story), [(MAIN, MainOne), (NEW, Additional)]);
    assert_eq!(story.new_one().unwrap().former_since, None);
}

#[test]
fn rules_that_refuse_an_id_do_not_cut_the_overlap_of_the_former_certificate() {
    let mut story = following(|resource| resource.spec.additional_client_certificate_ids = vec![NEW.into()]);
    let rules = "default: {certificateIds: [none], restApiIds: ['a1*']}";
    story.followed.as_mut().unwrap().rules = Rules::parse(rules).unwrap();
    presents(&mut story, Some(Ok(Some(NEW))));
    story.pass(0);
    assert_eq!(held(&story), [(NEW, MainOne)]);
    presents(&mut story, Some(Ok(Some(MAIN))));
    for second in [10, 20, 3609] {
        story.pass(second);
        assert_eq!(held(&story).len(), 2, "{second}");
    }
    // The overlap ends with the first reconcile, and the rules apply again in the next one.
    assert_eq!(story.pass(3610).requeue, Some(ONE_LEFT));
    story.pass(3611);
    assert_eq!(held(&story), [(MAIN, MainOne)]);
}
