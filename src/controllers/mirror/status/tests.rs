//! Trust by tag over time: consecutive runs of `plan` and `status`, with a target that holds the written content.

mod stages;

use std::collections::BTreeMap;
use std::sync::Arc;

use operator_testing::private_ca::{NewLeaf, PrivateCa};

use super::super::installation::Marked;
use super::super::plan::plan;
use super::super::snapshot::TagRead;
use super::super::trust::{Entry, Trust};
use super::*;
use crate::access::{Access, Found};
use crate::aws::answer::Answer;
use crate::aws::gateway::{AcmCertificate, AcmStatus, ClientCertificate, Denial, GatewayError, Place};
use crate::aws::scope::{Listing, Snapshot as Read};
use crate::fixtures::{OTHER_FINGERPRINT, OTHER_PEM, PEM, certificate, resource, secret_of};
use crate::rules::Rules;
use crate::settings::Now;
use crate::target::{Target, TargetObject};

const MAIN: &str = "9ao60f";
const NEW: &str = "k2c0qe";

fn tags(tags: &[(&str, &str)]) -> Tags {
    tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn settings() -> Settings {
    Settings {
        default_region: None,
        expiring_within: Duration::from_secs(3600),
        installation: "operators/ours".into(),
        manage_descriptions: true,
        target_kinds: Default::default(),
    }
}

/// Carries out a plan: every action succeeds, and the target gets the written content.
fn carried_out(plan: &Plan, target: &mut Option<Target>) -> Vec<Effect> {
    for action in &plan.actions {
        if let Action::Create { desired, .. } | Action::Replace { desired, .. } = action {
            *target = Some(secret_of(desired).into_target());
        }
    }
    plan.actions.iter().map(|action| Effect { action: action.clone(), result: Some(Ok(())) }).collect()
}

struct Story {
    resource: ClientCertificateRef,
    start: Timestamp,
    target: Option<Target>,
    /// The tags of the new certificate in the list; `None` if the list fails.
    listed: Option<Tags>,
    /// The result of the read of the new certificate by its id.
    read: Option<Result<(), ReadFailure>>,
    source: Result<(), ReadFailure>,
    repaired: Option<Timestamp>,
    /// The stage that the resource follows.
    followed: Option<stages::Followed>,
}

impl Story {
    fn new() -> Self {
        let mut resource = resource("payments");
        resource.spec.additional_client_certificate_tags = tags(&[("app", "a")]);
        resource.spec.target.keys = Some([("pins".to_owned(), crate::api::Content::Sha256Pins)].into());
        Story {
            resource,
            start: "2026-11-24T00:00:00Z".parse().unwrap(),
            target: None,
            listed: Some(tags(&[("app", "a")])),
            read: Some(Ok(())),
            source: Ok(()),
            repaired: None,
            followed: None,
        }
    }

    /// The read of a certificate.
    fn read_of(&self, id: &str, pem: &str, result: Result<(), ReadFailure>) -> Read<Answer> {
        let source = Source::own("us-east-1", id);
        let answer = || Arc::new(Answer::check(&source, None, certificate(id, pem), self.start).unwrap());
        let outcome = result.map(|()| answer());
        Read { started: Tick::from_secs(1_000_000), last_good: outcome.clone().ok(), failing_since: None, outcome }
    }

    fn at(&self, seconds: i64) -> Timestamp {
        self.start + jiff::SignedDuration::from_secs(seconds)
    }

    fn snapshot(&self, seconds: i64) -> Snapshot {
        let wall = self.at(seconds);
        let now = Now { wall, tick: Tick::from_secs(1_000_000) };
        let source = |id: &str| Source::own("us-east-1", id);
        let outcome = match &self.listed {
            Some(of_new) => {
                let mut listing = Listing::default();
                listing.add(&ClientCertificate { tags: tags(&[("other", "x")]), ..certificate(MAIN, PEM) });
                listing.add(&ClientCertificate { tags: of_new.clone(), ..certificate(NEW, OTHER_PEM) });
                Ok(Arc::new(listing))
            }
            None => Err(GatewayError::AccessDenied(Denial::NotAuthorized).into()),
        };
        let tag_read = Read { started: now.tick, last_good: outcome.clone().ok(), outcome, failing_since: None };
        Snapshot {
            now,
            jitter: 0.5,
            main: Some(Named {
                id: MAIN.into(),
                source: Ok(source(MAIN)),
                read: Some(self.read_of(MAIN, PEM, Ok(()))),
            }),
            stage: None,
            additional: vec![],
            acm: vec![],
            own_account: None,
            unnamed: vec![Named {
                id: NEW.into(),
                source: self.source.clone().map(|()| source(NEW)),
                read: self.read.clone().map(|result| self.read_of(NEW, OTHER_PEM, result)),
            }],
            tags: Some(TagRead { place: Place::own("us-east-1"), read: Some(tag_read) }),
            repaired: self.repaired,
            answered: true,
            asked: Tick::ZERO,
            may_describe: Ok(()),
            description: None,
            target: Ok(self.target.clone()),
            owner_exists: true,
            former_targets: vec![],
            password: None,
            written_password: None,
            hold: None,
            installation: Marked { name: "operators/ours".into(), rival: None },
        }
    }

    /// A reconcile whose status is not written.
    fn decide(&mut self, seconds: i64) -> Outcome {
        let settings = settings();
        let mut snapshot = self.snapshot(seconds);
        if let Some(followed) = &self.followed {
            followed.fill(self, &mut snapshot, &settings);
        }
        let plan = plan(&self.resource, &snapshot);
        let effects = carried_out(&plan, &mut self.target);
        status(&self.resource, &snapshot, &plan, &effects, None, &settings)
    }

    fn pass(&mut self, seconds: i64) -> Outcome {
        let outcome = self.decide(seconds);
        self.resource.status = Some(outcome.status.clone());
        outcome
    }

    fn new_one(&self) -> Option<&CertificateStatus> {
        let held = &self.resource.status.as_ref()?.certificates;
        held.iter().find(|held| held.id == NEW)
    }

    /// `trustedSince` of the new certificate, in seconds since the start, and `safeToSwitch`.
    fn trust(&self) -> (i64, bool) {
        let held = self.new_one().unwrap();
        let since = held.trusted_since.unwrap().duration_since(self.start).as_secs();
        (since, held.safe_to_switch.unwrap())
    }

    fn switch(&self) -> (String, String) {
        let conditions = &self.resource.status.as_ref().unwrap().conditions;
        let condition = find(conditions, ConditionType::SafeToSwitch).unwrap();
        (condition.reason.clone(), condition.message.clone())
    }
}

#[test]
fn a_certificate_is_safe_after_the_soak_and_not_a_second_before() {
    let mut story = Story::new();
    let outcome = story.pass(0);
    assert_eq!(story.trust(), (0, false));
    assert_eq!(story.switch().0, "Soaking");
    assert!(story.switch().1.contains("2026-11-24T00:15:00Z"), "{}", story.switch().1);
    assert_eq!(outcome.requeue, Some(Duration::from_secs(900)));
    assert_eq!(story.pass(899).requeue, Some(Duration::from_secs(1)));
    assert_eq!(story.trust(), (0, false));
    let outcome = story.pass(900);
    assert_eq!((story.trust(), story.switch().0.as_str()), ((0, true), "Soaked"));
    let reasons: Vec<_> = outcome.events.changed.iter().map(|event| event.reason.as_str()).collect();
    assert_eq!(reasons, ["SafeToSwitch"]);
    let again = story.pass(1000);
    assert_eq!((again.events.changed.len(), again.status), (0, outcome.status));
    for (soak, safe) in [("0s", true), ("24h", false), ("1000s", true)] {
        story.resource.spec.soak = Some(soak.into());
        story.pass(1000);
        assert_eq!(story.trust(), (0, safe), "{soak}");
    }
}

#[test]
fn a_clock_that_was_an_hour_ahead_does_not_extend_the_soak() {
    let mut story = Story::new();
    story.pass(3600);
    assert_eq!(story.trust(), (3600, false));
    story.pass(10);
    assert_eq!(story.trust(), (10, false));
    story.pass(910);
    assert_eq!(story.trust(), (10, true));
    // The same is true of the overlap.
    story.listed = Some(tags(&[("app", "b")]));
    story.pass(4600);
    let former =
        |story: &Story| story.new_one().unwrap().former_since.map(|at| at.duration_since(story.start).as_secs());
    assert_eq!(former(&story), Some(4600));
    story.pass(1000);
    assert_eq!(former(&story), Some(1000));
}

#[test]
fn the_soak_starts_again_after_another_writer_removes_the_certificate() {
    let mut story = Story::new();
    story.pass(0);
    story.target = None;
    story.pass(100);
    assert_eq!(story.trust(), (100, false));
    // The status of this reconcile is lost, and the next reconcile finds the repaired target.
    story.target = None;
    story.decide(200);
    story.repaired = Some(story.at(200));
    story.pass(201);
    assert_eq!(story.trust(), (201, false));
    story.pass(202);
    assert_eq!(story.trust(), (201, false));
    story.repaired = None;
    // Another name is another object.
    story.resource.spec.target.name = Some("other".into());
    story.target = None;
    story.pass(300);
    assert_eq!(story.trust(), (300, false));
    // So is another key, for the readers of that key.
    story.resource.spec.target.keys = Some([("more".to_owned(), crate::api::Content::Sha256Pins)].into());
    story.pass(400);
    assert_eq!(story.trust(), (400, false));
    story.resource.spec.target.labels = tags(&[("team", "a")]);
    story.pass(500);
    assert_eq!(story.trust(), (400, false));
}

#[test]
fn a_certificate_without_its_tags_is_former_for_the_overlap() {
    let mut story = Story::new();
    story.pass(0);
    story.listed = Some(tags(&[("other", "a")]));
    let outcome = story.pass(1000);
    let new = story.new_one().unwrap();
    assert_eq!((new.role, new.safe_to_switch), (Some(CertificateRole::Former), Some(false)));
    assert_eq!(new.former_since, Some(story.at(1000)));
    assert_eq!(outcome.events.changed.iter().map(|event| event.reason.as_str()).collect::<Vec<_>>(), ["TagsLost"]);
    assert_eq!(outcome.requeue, Some(Duration::from_secs(3600)));
    assert!(find(&outcome.status.conditions, ConditionType::SafeToSwitch).is_none());
    story.pass(4599);
    assert!(story.new_one().is_some());
    story.pass(4600);
    assert!(story.new_one().is_none());
    story.listed = Some(tags(&[("app", "a")]));
    story.pass(5000);
    assert_eq!(story.trust(), (5000, false));
}

#[test]
fn certificates_that_stay_and_certificates_that_leave() {
    use CertificateRole::{Former, Tagged};
    let denied = || Some(Err(ReadFailure::Gateway(GatewayError::AccessDenied(Denial::NotAuthorized))));
    let gone = || Some(Err(ReadFailure::Gateway(GatewayError::NotFound)));
    let untagged = || Some(tags(&[]));
    type Change = fn(&mut Story);
    let cases: [(&str, Change, Option<CertificateRole>); 13] = [
        ("nothing happens", |_| {}, Some(Tagged)),
        ("the list is denied", |story| story.listed = None, Some(Tagged)),
        ("nothing is read yet", |story| (story.listed, story.read) = (None, None), Some(Tagged)),
        ("the tag is lost", |_| {}, Some(Former)),
        ("it is gone", |_| {}, None),
        ("it is gone, and the list denied", |story| story.listed = None, None),
        ("it cannot be read", |_| {}, Some(Tagged)),
        (
            "the spec has other tags",
            |story| story.resource.spec.additional_client_certificate_tags = tags(&[("app", "b")]),
            None,
        ),
        (
            "the spec has other tags, and the list is denied",
            |story| {
                story.resource.spec.additional_client_certificate_tags = tags(&[("app", "b")]);
                story.listed = None;
            },
            Some(Tagged),
        ),
        ("the spec has no tags", |story| story.resource.spec.additional_client_certificate_tags.clear(), None),
        ("the rules refuse it", |story| story.source = Err(ReadFailure::NoRegion), None),
        ("the status is forged", |_| {}, None),
        ("there is no overlap", |story| story.resource.spec.overlap = Some("0s".into()), None),
    ];
    for (case, change, role) in cases {
        let mut story = Story::new();
        story.pass(0);
        change(&mut story);
        match case {
            "the tag is lost" | "there is no overlap" => story.listed = untagged(),
            "it is gone" | "it is gone, and the list denied" => story.read = gone(),
            "it cannot be read" => story.read = denied(),
            "the status is forged" => {
                (story.listed, story.read) = (None, None);
                let held = story.resource.status.as_mut().unwrap().certificates.iter_mut().find(|held| held.id == NEW);
                held.unwrap().sha256_fingerprint = Some(OTHER_FINGERPRINT.replace('f', "0"));
            }
            _ => {}
        }
        story.pass(10);
        assert_eq!(story.new_one().and_then(|held| held.role), role, "{case}");
    }
}

#[test]
fn a_list_without_tags_and_a_denied_list_are_reported() {
    let mut story = Story::new();
    story.pass(0);
    let others = |story: &Story| {
        let conditions = &story.resource.status.as_ref().unwrap().conditions;
        let condition = find(conditions, ConditionType::AdditionalCertificatesRead).unwrap();
        (condition.status.clone(), condition.reason.clone(), condition.message.clone())
    };
    assert_eq!(
        others(&story),
        ("True".into(), "Read".into(), "1 certificate with the tag app=a is in the target: k2c0qe".into())
    );
    story.listed = None;
    story.pass(10);
    let (status, reason, message) = others(&story);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "AccessDenied"));
    assert!(message.contains("apigateway:GET on arn:aws:apigateway:us-east-1::/clientcertificates; "), "{message}");
    story.resource.spec.additional_client_certificate_tags = tags(&[("app", "none")]);
    story.listed = Some(tags(&[]));
    story.pass(20);
    assert_eq!(others(&story).2, "no certificate in us-east-1 has the tag app=none");
    let long: Tags = (0..10).map(|n| (format!("{n}").repeat(128), "ü".repeat(256))).collect();
    story.resource.spec.additional_client_certificate_tags = long;
    story.listed = None;
    story.pass(30);
    assert!(others(&story).2.chars().count() <= 1024);
}

/// A resource that names an ACM certificate, and a target that holds the written content.
struct Issued {
    resource: ClientCertificateRef,
    start: Timestamp,
    target: Option<Target>,
    rules: Rules,
}

const ARN: &str = "arn:aws:acm:us-east-1:111122223333:certificate/1";

impl Issued {
    fn new() -> Self {
        let mut resource = resource("payments");
        resource.spec.client_certificate_id = None;
        resource.spec.acm_certificate_arn = Some(ARN.into());
        Issued { resource, start: Story::new().start, target: None, rules: Rules::default() }
    }

    /// A reconcile `seconds` after the start, with this leaf and chain in ACM; `None` if ACM has not answered.
    fn pass(&mut self, seconds: i64, read: Option<(&str, &str)>) -> Outcome {
        let mut snapshot = Story { start: self.start, ..Story::new() }.snapshot(seconds);
        let (found, labels) = (Found::default(), BTreeMap::new());
        snapshot.acm = Access::of(&self.resource, &found, &settings(), &self.rules, &labels).acm;
        let source = Source::own("us-east-1", ARN);
        let read = read.map(|(leaf, chain)| {
            let came = AcmCertificate {
                arn: ARN.into(),
                status: AcmStatus::Issued,
                expires: None,
                leaf: Some(leaf.into()),
                chain: Some(chain.into()),
            };
            let answer = Arc::new(Answer::check_acm(&source, None, came, snapshot.now.wall).unwrap());
            let (started, last_good) = (snapshot.now.tick, Some(Arc::clone(&answer)));
            Read { started, outcome: Ok(answer), last_good, failing_since: None }
        });
        snapshot.main = Some(Named { id: ARN.into(), source: Ok(source), read });
        (snapshot.unnamed, snapshot.tags, snapshot.target) = (vec![], None, Ok(self.target.clone()));
        let plan = plan(&self.resource, &snapshot);
        let effects = carried_out(&plan, &mut self.target);
        let outcome = status(&self.resource, &snapshot, &plan, &effects, None, &settings());
        self.resource.status = Some(outcome.status.clone());
        outcome
    }

    /// The fingerprints of the certificates in the target.
    fn bundle(&self) -> Vec<String> {
        let content = &self.target.as_ref().unwrap().content;
        content.certificates[0].iter().map(ToString::to_string).collect()
    }

    /// The seconds from the start to the time since which the target has held each certificate.
    fn since(&self) -> Vec<i64> {
        let held = &self.resource.status.as_ref().unwrap().certificates;
        held.iter().map(|held| held.trusted_since.unwrap().duration_since(self.start).as_secs()).collect()
    }

    fn held(&self) -> Vec<(CertificateRole, usize)> {
        let held = &self.resource.status.as_ref().unwrap().certificates;
        held.iter().map(|held| (held.role.unwrap(), held.chain.len())).collect()
    }
}

fn of(pem: &str) -> String {
    crate::certificate::Certificate::parse(pem).unwrap().main().fingerprint.to_string()
}

#[test]
fn a_bundle_holds_the_chain_of_an_acm_certificate_and_a_re_import_keeps_the_former_leaf() {
    use crate::fixtures::issued::{ISSUING_PEM, LEAF_PEM, NEXT_LEAF_PEM, ROOT_PEM};
    let (main, former) = (CertificateRole::Main, CertificateRole::Former);
    let chain = format!("{ISSUING_PEM}{ROOT_PEM}");
    let mut issued = Issued::new();
    let outcome = issued.pass(0, Some((LEAF_PEM, &chain)));
    assert_eq!(issued.bundle(), [of(ISSUING_PEM), of(ROOT_PEM)]);
    assert_eq!(issued.held(), [(main, 2)]);
    assert_eq!(outcome.status.verifier_class, Some(VerifierClass::OverlapSafe));
    let ready = find(&outcome.status.conditions, ConditionType::Ready).unwrap();
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("True", "Mirrored"));

    // A new process without an answer from ACM changes nothing.
    let again = issued.pass(5, None);
    assert_eq!(again.status, outcome.status);

    issued.pass(10, Some((NEXT_LEAF_PEM, &chain)));
    assert_eq!(issued.held(), [(main, 2), (former, 2)]);
    assert_eq!(issued.bundle(), [of(ISSUING_PEM), of(ROOT_PEM)], "one chain");
    issued.pass(3605, Some((NEXT_LEAF_PEM, &chain)));
    assert_eq!(issued.held(), [(main, 2), (former, 2)]);
    issued.pass(3611, Some((NEXT_LEAF_PEM, &chain)));
    assert_eq!(issued.held(), [(main, 2)], "the overlap has passed");

    // The former leaf again, with another chain and with pins.
    issued.resource.spec.target.keys = Some([("pins".to_owned(), crate::api::Content::Sha256Pins)].into());
    issued.resource.metadata.generation = Some(2);
    let outcome = issued.pass(4000, Some((LEAF_PEM, ISSUING_PEM)));
    assert_eq!(issued.held(), [(main, 1), (former, 2)]);
    let read = find(&outcome.status.conditions, ConditionType::CertificateRead).unwrap();
    assert!(read.message.contains("no root certificate, which OpenSSL requires"), "{}", read.message);
}

#[test]
fn a_re_import_of_the_same_leaf_keeps_the_former_chain_for_the_overlap() {
    use crate::fixtures::issued::{ISSUING_PEM, LEAF_PEM, ROOT_PEM};
    let (main, former) = (CertificateRole::Main, CertificateRole::Former);
    let (first, second) = (format!("{ISSUING_PEM}{ROOT_PEM}"), format!("{ISSUING_PEM}{OTHER_PEM}"));
    let mut issued = Issued::new();
    issued.pass(0, Some((LEAF_PEM, &first)));
    issued.pass(10, Some((LEAF_PEM, &second)));
    assert_eq!(issued.held(), [(main, 2), (former, 2)]);
    assert_eq!(issued.bundle(), [of(ISSUING_PEM), of(OTHER_PEM), of(ROOT_PEM)]);
    assert_eq!(issued.since(), [10, 0]);
    for read in [None, Some((LEAF_PEM, second.as_str()))] {
        let before = issued.resource.status.clone();
        let outcome = issued.pass(20, read);
        assert_eq!((issued.resource.status.clone(), outcome.requeue), (before, Some(Duration::from_secs(880))));
    }
    issued.pass(3611, Some((LEAF_PEM, &second)));
    assert_eq!(issued.held(), [(main, 2)], "the overlap has passed");
    assert_eq!(issued.bundle(), [of(ISSUING_PEM), of(OTHER_PEM)]);

    // A chain that has all of the former one, and the former one again, which the target holds already.
    issued.pass(4000, Some((LEAF_PEM, &format!("{second}{ROOT_PEM}"))));
    assert_eq!(issued.held(), [(main, 3)]);
    issued.pass(4010, Some((LEAF_PEM, &second)));
    assert_eq!(issued.held(), [(main, 2), (former, 3)]);
    assert_eq!(issued.since(), [4000, 4000]);

    // Without an overlap, the former chain leaves at once. No other writer has changed the target.
    issued.resource.spec.overlap = Some("0s".into());
    let outcome = issued.pass(4020, Some((LEAF_PEM, &first)));
    assert_eq!(issued.held(), [(main, 2)]);
    assert_eq!(outcome.events.done.iter().map(|event| event.reason.as_str()).collect::<Vec<_>>(), ["TargetUpdated"]);
    let outcome = issued.pass(4030, Some((LEAF_PEM, &second)));
    assert_eq!(outcome.events.done.iter().map(|event| event.reason.as_str()).collect::<Vec<_>>(), ["TargetUpdated"]);
}

#[test]
fn a_former_leaf_does_not_become_the_main_certificate_again() {
    let ca = PrivateCa::root("Payments");
    let first = ca.issue(NewLeaf::new("api"));
    let second = ca.issue(NewLeaf::new("api").expires_in_seconds(-60));
    let chain = ca.certificate();
    let mut issued = Issued::new();
    issued.start = second.not_after - jiff::SignedDuration::from_secs(60);
    issued.pass(0, Some((&first.certificate, chain)));
    issued.pass(10, Some((&second.certificate, chain)));
    // The process restarts after the main leaf has expired, and ACM does not answer.
    for seconds in [70, 80, 90] {
        issued.pass(seconds, None);
        assert_eq!(issued.held(), [(CertificateRole::Former, 1)], "{seconds}");
        assert_eq!(issued.bundle(), [of(chain)]);
    }
}

#[test]
fn rules_that_refuse_an_arn_end_the_overlap_of_its_former_certificates() {
    use crate::fixtures::issued::{ISSUING_PEM, LEAF_PEM, NEXT_LEAF_PEM};
    let (main, former) = (CertificateRole::Main, CertificateRole::Former);
    let mut issued = Issued::new();
    issued.resource.spec.region = Some("us-east-1".into());
    issued.pass(0, Some((LEAF_PEM, ISSUING_PEM)));
    issued.pass(10, Some((NEXT_LEAF_PEM, ISSUING_PEM)));
    // The former certificate is of another ARN, as after a switch of a stage.
    issued.resource.status.as_mut().unwrap().certificates[1].id = ARN.replace("certificate/1", "certificate/2");
    for (rules, held) in [
        ("default: {acmCertificateArns: ['*/1', '*/2']}", vec![(main, 1), (former, 1)]),
        ("default: {acmCertificateArns: ['*/1']}", vec![(main, 1)]),
    ] {
        issued.rules = Rules::parse(rules).unwrap();
        issued.pass(20, Some((NEXT_LEAF_PEM, ISSUING_PEM)));
        assert_eq!(issued.held(), held, "{rules}");
    }
}

#[test]
fn an_expired_authority_is_removed_from_the_chain_and_reported() {
    let root = PrivateCa::root("Payments Root");
    let ending = root.expired_intermediate("Payments Issuing");
    let leaf = ending.issue(NewLeaf::new("api"));
    let chain = leaf.chain.clone().unwrap();
    let end = crate::certificate::Certificate::parse(ending.certificate()).unwrap().main().not_after;
    let mut issued = Issued::new();
    issued.start = end - jiff::SignedDuration::from_secs(60);
    let said =
        |outcome: &Outcome| find(&outcome.status.conditions, ConditionType::CertificateRead).unwrap().message.clone();
    let outcome = issued.pass(0, Some((&leaf.certificate, &chain)));
    assert!(!said(&outcome).contains("expired"), "{}", said(&outcome));
    assert_eq!(outcome.requeue, Some(Duration::from_secs(61)));
    assert_eq!((issued.held(), issued.since()), (vec![(CertificateRole::Main, 2)], vec![0]));
    // A reconcile without an answer and one with the same answer as before.
    for read in [None, Some((leaf.certificate.as_str(), chain.as_str()))] {
        issued.pass(61, read);
        assert_eq!(issued.bundle(), [of(root.certificate())]);
        assert_eq!((issued.held(), issued.since()), (vec![(CertificateRole::Main, 1)], vec![0]));
    }
    let outcome = issued.pass(70, Some((&leaf.certificate, &chain)));
    assert!(outcome.events.done.is_empty(), "{:?}", outcome.events);
    let says =
        format!("certificates of its chain have expired, so servers may refuse it: CN=Payments Issuing at {end}");
    assert!(said(&outcome).contains(&says), "{}", said(&outcome));
    let alone = issued.pass(80, Some((&leaf.certificate, "")));
    assert!(said(&alone).contains("ACM has no chain for it"), "{}", said(&alone));
}

#[test]
fn the_oldest_former_certificates_make_room_in_the_status() {
    let entry = |role, since: i64, length: usize| Entry {
        certificate: crate::certificate::Certificate::parse(PEM).unwrap(),
        status: CertificateStatus {
            id: since.to_string(),
            role: Some(role),
            former_since: Some(Timestamp::from_second(since).unwrap()),
            description: Some("x".repeat(length)),
            ..CertificateStatus::default()
        },
    };
    let ids = |trust: &Trust| trust.entries.iter().map(|entry| entry.status.id.clone()).collect::<Vec<_>>();
    let now = Story::new().start;
    let formers = [3, 1, 4, 2].map(|since| entry(CertificateRole::Former, since, 150_000));
    let mut trust = Trust::default();
    trust.entries.push(entry(CertificateRole::Main, 0, 150_000));
    trust.entries.extend(formers);
    assert!(trust.fit(false, now));
    assert_eq!(ids(&trust), ["0", "3", "4"]);
    // Other certificates do not make room.
    trust.entries.push(entry(CertificateRole::Additional, 5, 400_000));
    assert!(!trust.fit(false, now));
    assert_eq!(ids(&trust), ["0", "5"]);
}
