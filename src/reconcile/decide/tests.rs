use std::collections::BTreeMap;

use super::*;
use crate::api::{
    CertificateStatus, ClientCertificateRefStatus, Content, DeletionPolicy, Preset, SecretType, TargetKind, TargetRef,
};
use crate::conditions::Reason;
use crate::description::Claim;
use crate::error::{ClusterFailure, ReadFailure};
use crate::fixtures::{
    OTHER_PEM, PEM, PEM_FINGERPRINT, PEM_NOT_AFTER, came, certificate, rendered, resource, secret_of, source_of, stored,
};
use crate::gateway::{Denial, GatewayError, Source};
use crate::memory::Which;
use crate::reading::{Additional, Answer};
use crate::settings::Tick;
use crate::target::{Password, TargetObject};
use k8s_openapi::api::core::v1::ConfigMap;
use std::time::Duration;

fn settings() -> Settings {
    Settings {
        installation: "operators/ours".into(),
        default_region: Some("us-east-1".into()),
        expiring_within: Duration::from_secs(30 * 24 * 3600),
        manage_descriptions: true,
        target_kinds: Default::default(),
    }
}

fn now() -> Now {
    Now { wall: "2026-11-24T07:16:00Z".parse().unwrap(), tick: Tick::from_secs(1000) }
}

fn source(id: &str) -> Source {
    Source::own("us-east-1", id)
}

/// A memory in which API Gateway answered for the id of `resource`.
fn answered(resource: &ClientCertificateRef, description: &str) -> Memory {
    let mut memory = Memory::new(resource);
    memory.description.want(resource.spec.description.as_deref(), None);
    record(&mut memory, &resource.spec.client_certificate_id, Ok(description));
    memory
}

fn record(memory: &mut Memory, id: &str, outcome: Result<&str, GatewayError>) {
    let outcome = match outcome {
        Ok(description) => {
            let came = crate::gateway::ClientCertificate { description: description.into(), ..certificate(id, PEM) };
            Answer::check(&source(id), None, came, now().wall)
        }
        Err(error) => Err(ReadFailure::Gateway(error)),
    };
    let came = came(outcome, now().tick);
    memory.main.reading.record(Ok(source(id)), came, Duration::from_secs(300), now().tick, 0.5);
}

fn observed(resource: &ClientCertificateRef, target: Option<Target>) -> Observation {
    Observation {
        source: source_of(resource),
        additional: resource
            .additional_ids()
            .map(|id| Additional { id: id.to_owned(), source: Ok(source(id)) })
            .collect(),
        target: Ok(target),
        owner_exists: true,
        leftovers: vec![],
        may_describe: Ok(()),
        claim: Claim::Mine,
        description_undone: false,
        password: None,
    }
}

/// The target as this resource writes it.
fn written(resource: &ClientCertificateRef) -> Target {
    secret_of(&desired(resource)).into_target()
}

fn desired(resource: &ClientCertificateRef) -> Desired {
    rendered(resource, PEM, now().wall)
}

/// The resource with the status of a pass that wrote its target.
fn settled(mut resource: ClientCertificateRef) -> ClientCertificateRef {
    resource.status = Some(ClientCertificateRefStatus {
        observed_generation: Some(1),
        target: Some(resource.target_ref()),
        certificates: vec![CertificateStatus {
            id: resource.spec.client_certificate_id.clone(),
            sha256_fingerprint: Some(PEM_FINGERPRINT.into()),
            ..CertificateStatus::default()
        }],
        ..ClientCertificateRefStatus::default()
    });
    resource
}

fn plan(resource: &ClientCertificateRef, observation: &Observation, memory: &Memory) -> Plan {
    decide(resource, observation, memory, &settings(), now())
}

fn blocked(plan: &Plan) -> Option<Reason> {
    assert!(plan.actions.is_empty() || !matches!(plan.target, TargetVerdict::Blocked { .. }), "{plan:?}");
    match plan.target {
        TargetVerdict::Blocked { reason, .. } => Some(reason),
        _ => None,
    }
}

fn cause(plan: &Plan) -> Option<Cause> {
    match plan.actions.as_slice() {
        [] => None,
        [Action::CreateTarget { cause, .. } | Action::ReplaceTarget { cause, .. }] => Some(*cause),
        other => panic!("one write of the target was expected: {other:?}"),
    }
}

#[test]
fn a_missing_target_is_created_and_one_that_went_missing_is_restored() {
    let fresh = resource("payments");
    let plan_of = |resource: &ClientCertificateRef| plan(resource, &observed(resource, None), &answered(resource, ""));
    let expected = Action::CreateTarget { desired: desired(&fresh), cause: Cause::New };
    assert_eq!(plan_of(&fresh).actions, [expected]);
    assert_eq!(cause(&plan_of(&settled(fresh))), Some(Cause::Deleted));
}

#[test]
fn a_target_that_is_as_it_should_be_is_left_alone() {
    let resource = settled(resource("payments"));
    let plan = plan(&resource, &observed(&resource, Some(written(&resource))), &answered(&resource, ""));
    assert_eq!(plan.actions, []);
    assert!(matches!(plan.target, TargetVerdict::Desired { .. }));
}

#[test]
fn a_difference_is_a_repair_where_nothing_else_is_wanted_than_was_written() {
    let resource = settled(resource("payments"));
    let mut target = written(&resource);
    target.meta.labels.clear();
    let observation = observed(&resource, Some(target));
    let mut memory = answered(&resource, "");
    assert_eq!(cause(&plan(&resource, &observation, &memory)), Some(Cause::Changed), "by the status, after a restart");

    memory.written = Some(digest(&desired(&resource)));
    assert_eq!(cause(&plan(&resource, &observation, &memory)), Some(Cause::Changed), "by memory");
    memory.written = Some(0);
    assert_eq!(cause(&plan(&resource, &observation, &memory)), Some(Cause::Wanted));
    memory.written = None;
    let mut renewed = resource;
    if let Some(status) = &mut renewed.status {
        status.certificates[0].sha256_fingerprint = Some("another".into());
    }
    assert_eq!(cause(&plan(&renewed, &observation, &memory)), Some(Cause::Wanted), "the certificate was renewed");
}

#[test]
fn a_replacement_carries_the_version_that_was_looked_at_and_what_others_set() {
    let resource = settled(resource("payments"));
    let mut target = written(&resource);
    target.meta.labels.insert("foreign".into(), "stays".into());
    target.meta.finalizers.push("example.com/held".into());
    target.content.keys = ["ca.crt".to_owned(), "extra".to_owned()].into();
    target = Target { content: k8s_openapi::api::core::v1::Secret::default().content(), ..target };
    let plan = plan(&resource, &observed(&resource, Some(target)), &answered(&resource, ""));
    let [Action::ReplaceTarget { current, marks, .. }] = plan.actions.as_slice() else { panic!("{plan:?}") };
    assert_eq!((current.uid.as_str(), current.resource_version.as_str()), ("uid-target", "20"));
    assert_eq!(current.finalizers, ["example.com/held"]);
    assert_eq!(marks.labels["foreign"], "stays");
}

#[test]
fn what_is_not_ours_is_never_written() {
    let ours = settled(resource("payments"));
    let mut other = written(&resource("orders"));
    other.meta.target.name = "payments".into();
    let mut foreign = other.clone();
    foreign.meta.labels.clear();
    foreign.meta.annotations.clear();
    foreign.meta.owner_references.clear();
    let memory = answered(&ours, "");
    let decide_for = |resource: &ClientCertificateRef, target: &Target, owner_exists: bool| {
        let observation = Observation { owner_exists, ..observed(resource, Some(target.clone())) };
        plan(resource, &observation, &memory)
    };
    assert_eq!(blocked(&decide_for(&ours, &other, true)), Some(Reason::OwnedByAnother));
    assert_eq!(cause(&decide_for(&ours, &other, false)), Some(Cause::Adopted), "its owner is gone");
    assert_eq!(blocked(&decide_for(&ours, &foreign, true)), Some(Reason::TargetExists));

    let mut adopting = ours;
    adopting.spec.target.adopt = true;
    assert_eq!(cause(&decide_for(&adopting, &foreign, true)), Some(Cause::Adopted));
    foreign.content.keys = ["ca.crt".to_owned(), "tls.key".to_owned()].into();
    assert_eq!(blocked(&decide_for(&adopting, &foreign, true)), Some(Reason::NotAdoptable));
}

#[test]
fn a_secret_of_another_type_or_an_immutable_one_is_never_deleted_to_be_made_anew() {
    let mut resource = settled(resource("payments"));
    let target = written(&resource);
    resource.spec.target.keys = Some(BTreeMap::from([("ca.crt".into(), Content::Bundle)]));
    resource.spec.target.type_ = Some(SecretType::NginxOrgCa);
    let memory = answered(&resource, "");
    assert_eq!(
        blocked(&plan(&resource, &observed(&resource, Some(target.clone())), &memory)),
        Some(Reason::TypeImmutable)
    );

    resource.spec.target.type_ = None;
    resource.spec.target.keys = Some(BTreeMap::from([("other.crt".into(), Content::Bundle)]));
    let mut immutable = target;
    immutable.content.immutable = true;
    assert_eq!(blocked(&plan(&resource, &observed(&resource, Some(immutable)), &memory)), Some(Reason::NotAdoptable));
}

#[test]
fn a_renamed_target_comes_first_and_then_the_earlier_one_goes_or_is_released() {
    let mut renamed = settled(resource("payments"));
    let earlier = written(&renamed).meta;
    renamed.spec.target.name = Some("fresh".into());
    let observation = Observation { leftovers: vec![earlier.clone()], ..observed(&renamed, None) };
    let actions = plan(&renamed, &observation, &answered(&renamed, "")).actions;
    assert!(matches!(actions[0], Action::CreateTarget { cause: Cause::New, .. }), "{actions:?}");
    assert_eq!(actions[1..], [Action::DeleteTarget { current: earlier.clone() }]);

    renamed.spec.target.deletion_policy = DeletionPolicy::Retain;
    let actions = plan(&renamed, &observation, &answered(&renamed, "")).actions;
    assert_eq!(actions[1..], [Action::ReleaseTarget { current: earlier.clone() }]);

    // An object that was retained in an earlier life of the resource is not this life's to delete.
    let mut reborn = renamed;
    reborn.spec.target.deletion_policy = DeletionPolicy::Delete;
    reborn.metadata.uid = Some("another-life".into());
    reborn.status = None;
    let actions = plan(&reborn, &observation, &answered(&reborn, "")).actions;
    assert_eq!(actions[1..], [Action::ReleaseTarget { current: earlier }]);
}

#[test]
fn another_kind_is_another_target_whatever_its_name() {
    let mut moved = settled(resource("payments"));
    let earlier = written(&moved).meta;
    moved.spec.target.kind = TargetKind::ConfigMap;
    let observation = Observation { leftovers: vec![earlier.clone()], ..observed(&moved, None) };
    let actions = plan(&moved, &observation, &answered(&moved, "")).actions;
    let create = Action::CreateTarget { desired: desired(&moved), cause: Cause::New };
    assert_eq!(actions, [create, Action::DeleteTarget { current: earlier.clone() }]);
    let kinds: Vec<_> = actions.iter().filter_map(|action| action.target()).map(|target| target.kind).collect();
    assert_eq!(kinds, [TargetKind::ConfigMap, TargetKind::Secret]);

    // While the new place is taken, the old one stays.
    let foreign = Target { meta: TargetMeta { target: moved.target_ref(), ..earlier }, ..written(&moved) };
    let mut foreign = foreign;
    (foreign.meta.labels, foreign.meta.annotations) = Default::default();
    foreign.meta.owner_references.clear();
    let observation = Observation { target: Ok(Some(foreign)), ..observation };
    assert_eq!(blocked(&plan(&moved, &observation, &answered(&moved, ""))), Some(Reason::TargetExists));
}

#[test]
fn nothing_is_done_about_a_target_of_a_kind_that_is_left_out() {
    let mut moved = settled(resource("payments"));
    let earlier = written(&moved).meta;
    moved.spec.target.kind = TargetKind::ConfigMap;
    let failure = ClusterFailure::KindNotAllowed { kind: TargetKind::ConfigMap };
    let observation = Observation { target: Err(failure.clone()), leftovers: vec![earlier], ..observed(&moved, None) };
    let plan = plan(&moved, &observation, &answered(&moved, ""));
    assert_eq!((plan.actions, plan.target), (vec![], TargetVerdict::Unseen(failure)));
}

#[test]
fn a_config_map_is_repaired_like_a_secret_and_never_of_the_wrong_type() {
    let mut resource = resource("payments");
    resource.spec.target.kind = TargetKind::ConfigMap;
    let resource = settled(resource);
    let map = || stored::<ConfigMap>(&desired(&resource));
    let decided =
        |map: ConfigMap| plan(&resource, &observed(&resource, Some(map.into_target())), &answered(&resource, ""));
    assert_eq!(decided(map()).actions, []);
    let mut edited = map();
    edited.binary_data = Some(BTreeMap::from([("more".into(), Default::default())]));
    assert_eq!(cause(&decided(edited.clone())), Some(Cause::Changed));
    edited.immutable = Some(true);
    assert_eq!(blocked(&decided(edited)), Some(Reason::NotAdoptable));
}

#[test]
fn the_last_good_answer_stands_in_for_a_failed_read_but_not_for_a_certificate_that_is_gone() {
    let resource = settled(resource("payments"));
    let failing = |error: GatewayError| {
        let mut memory = answered(&resource, "");
        record(&mut memory, "9ao60f", Err(error));
        memory
    };
    let throttled = failing(GatewayError::Throttled { retry_after: None });
    assert_eq!(cause(&plan(&resource, &observed(&resource, None), &throttled)), Some(Cause::Deleted));

    let gone = failing(GatewayError::NotFound);
    let missing = plan(&resource, &observed(&resource, None), &gone);
    assert_eq!((missing.actions, missing.target), (vec![], TargetVerdict::Nothing));
    let there = plan(&resource, &observed(&resource, Some(written(&resource))), &gone);
    assert_eq!(there.actions, [], "kept");
}

#[test]
fn another_id_keeps_the_old_certificate_until_it_has_been_read_and_only_in_its_place() {
    let before = settled(resource("payments"));
    let mut after = before.clone();
    after.spec.client_certificate_id = "k2c0qe".into();
    let mut memory = answered(&before, "");
    record(&mut memory, "k2c0qe", Err(GatewayError::AccessDenied(crate::gateway::Denial::NotAuthorized)));
    assert_eq!(cause(&plan(&after, &observed(&after, None), &memory)), Some(Cause::Deleted), "put back where it was");
    after.spec.target.name = Some("elsewhere".into());
    assert_eq!(plan(&after, &observed(&after, None), &memory).target, TargetVerdict::Nothing);
}

#[test]
fn without_any_answer_a_target_is_kept_if_it_holds_what_the_status_tells() {
    let resource = settled(resource("payments"));
    let mut memory = Memory::new(&resource);
    record(&mut memory, "9ao60f", Err(GatewayError::Throttled { retry_after: None }));
    let verdict = |target: Target| plan(&resource, &observed(&resource, Some(target)), &memory).target;
    assert_eq!(verdict(written(&resource)), TargetVerdict::Kept);
    let mut edited = secret_of(&desired(&resource));
    edited.data = Some(BTreeMap::from([("ca.crt".into(), k8s_openapi::ByteString(OTHER_PEM.as_bytes().to_vec()))]));
    assert_eq!(verdict(edited.into_target()), TargetVerdict::Nothing);
}

#[test]
fn an_expired_certificate_leaves_the_target_as_it_is() {
    let resource = settled(resource("payments"));
    let memory = answered(&resource, "");
    let late = Now { wall: PEM_NOT_AFTER.parse().unwrap(), ..now() };
    let plan = decide(&resource, &observed(&resource, Some(written(&resource))), &memory, &settings(), late);
    assert_eq!((plan.actions, plan.target), (vec![], TargetVerdict::Kept));
}

#[test]
fn a_target_is_not_written_without_what_it_holds_and_nobody_knows_but_nothing_waits_for_ever() {
    let (held, other) = ("k2c0qe", "q4w8zt");
    let mut resource = settled(resource("payments"));
    resource.spec.additional_client_certificate_ids = vec![held.into(), other.into()];
    let status = resource.status.as_mut().unwrap();
    // The same certificate once more, so that the target of one is that of both.
    status.certificates.push(CertificateStatus { id: held.into(), ..status.certificates[0].clone() });
    for certificate in &mut status.certificates {
        certificate.expiration_date = Some(PEM_NOT_AFTER.parse().unwrap());
    }
    let target = Some(written(&resource));
    let throttled = || GatewayError::Throttled { retry_after: None };
    let denied = || GatewayError::AccessDenied(Denial::NotAuthorized);
    let decided = |resource: &ClientCertificateRef, of_held: Option<GatewayError>, of_other: Option<&str>| {
        let (mut memory, observation) = (answered(resource, ""), observed(resource, target.clone()));
        memory.arrange(&resource.spec.client_certificate_id, &observation.additional);
        for (which, id, outcome) in [
            (0, held, of_held.map(|error| Err(ReadFailure::Gateway(error)))),
            (1, other, of_other.map(|pem| Answer::check(&source(other), None, certificate(other, pem), now().wall))),
        ] {
            if let Some(outcome) = outcome {
                let (came, tick) = (came(outcome, now().tick), now().tick);
                memory.answered(Which::Additional(which), resource, &Ok(source(id)), came, tick, 0.5);
            }
        }
        let plan = plan(resource, &observation, &memory);
        (plan.target == TargetVerdict::Kept, plan.actions.len())
    };
    let (kept, right, replaced) = ((true, 0), (false, 0), (false, 1));
    assert_eq!(decided(&resource, None, Some(OTHER_PEM)), kept, "not asked yet");
    assert_eq!(decided(&resource, Some(throttled()), Some(OTHER_PEM)), kept, "it will be known before long");
    assert_eq!(decided(&resource, Some(denied()), None), kept, "it may be there still, and there is no news");
    assert_eq!(decided(&resource, Some(denied()), Some(OTHER_PEM)), replaced, "news does not wait for it");
    assert_eq!(decided(&resource, Some(GatewayError::NotFound), None), right, "it is gone, and the target is right");
    assert_eq!(decided(&resource, Some(GatewayError::NotFound), Some(OTHER_PEM)), replaced);
    let mut another = resource.clone();
    another.status.as_mut().unwrap().certificates[0].sha256_fingerprint = Some("another".into());
    another.status.as_mut().unwrap().certificates[1].sha256_fingerprint = Some("another".into());
    assert!(!decided(&another, None, Some(OTHER_PEM)).0, "the main one is on its way in, and waits for nobody");
}

#[test]
fn a_target_that_cannot_be_seen_is_not_written_and_the_description_is_not_held_up() {
    let mut resource = resource("payments");
    resource.spec.description = Some("ours".into());
    let failure = ClusterFailure::Forbidden { verb: "get", resource: "secrets" };
    let observation = Observation { target: Err(failure.clone()), ..observed(&resource, None) };
    let plan = plan(&resource, &observation, &answered(&resource, "theirs"));
    assert_eq!(plan.target, TargetVerdict::Unseen(failure));
    let expected =
        Action::SetDescription { source: source("9ao60f"), from: "theirs".into(), to: "ours".into(), restores: false };
    assert_eq!(plan.actions, [expected]);
}

#[test]
fn repairs_that_somebody_keeps_undoing_wait() {
    let resource = settled(resource("payments"));
    let mut memory = answered(&resource, "");
    for _ in 0..4 {
        memory.repairs.record(now().tick);
    }
    let plan = plan(&resource, &observed(&resource, None), &memory);
    assert_eq!(
        (plan.actions, plan.target),
        (vec![], TargetVerdict::Held { until: now().tick + Duration::from_secs(2) })
    );
}

#[test]
fn a_description_is_sent_only_by_its_owner_and_only_where_it_differs() {
    let mut resource = resource("payments");
    let describe = |resource: &ClientCertificateRef, claim: Claim, found: &str, settings: &Settings| {
        let observation = Observation { claim, ..observed(resource, Some(written(resource))) };
        let plan = decide(resource, &observation, &answered(resource, found), settings, now());
        (plan.actions.len(), plan.description)
    };
    assert_eq!(describe(&resource, Claim::Mine, "anything", &settings()), (0, None), "absent: never a PATCH");
    resource.spec.description = Some("ours".into());
    let mine = |verdict| Some(DescriptionVerdict::Mine(verdict));
    assert_eq!(describe(&resource, Claim::Mine, "ours", &settings()), (0, mine(Verdict::Synced)));
    assert_eq!(describe(&resource, Claim::Mine, "theirs", &settings()), (1, mine(Verdict::Send)));
    let theirs = Claim::Theirs { owner: "backends/orders".into(), same_text: false };
    assert_eq!(describe(&resource, theirs, "theirs", &settings()).0, 0);
    let read_only = Settings { manage_descriptions: false, ..settings() };
    assert_eq!(describe(&resource, Claim::Mine, "theirs", &read_only), (0, Some(DescriptionVerdict::NotAllowed)));
    assert_eq!(describe(&resource, Claim::Mine, "ours", &read_only), (0, mine(Verdict::Synced)));
}

#[test]
fn a_target_of_another_name_is_no_record_of_this_one() {
    let mut resource = settled(resource("payments"));
    if let Some(status) = &mut resource.status {
        status.target = Some(TargetRef { kind: TargetKind::Secret, name: "another".into() });
    }
    assert_eq!(cause(&plan(&resource, &observed(&resource, None), &answered(&resource, ""))), Some(Cause::New));
}

#[test]
fn without_a_password_a_truststore_is_left_as_it_is() {
    let mut resource = resource("payments");
    resource.spec.target.preset = Some(Preset::Pkcs12);
    let observation = |password| Observation { password: Some(password), ..observed(&resource, None) };
    let of = |password| plan(&resource, &observation(password), &answered(&resource, ""));
    assert_eq!(blocked(&of(Err(NoPassword::Absent("create it".into())))), Some(Reason::NoPassword));
    let failure = ClusterFailure::Unavailable { cause: "HTTP status 500".into() };
    let unseen = of(Err(NoPassword::Unseen(failure.clone())));
    assert_eq!((unseen.target, unseen.actions), (TargetVerdict::Unseen(failure), vec![]));

    let first = of(Ok(Password::made(b"changeit").unwrap()));
    assert!(!format!("{first:?}").contains("changeit"), "{first:?}");
    let TargetVerdict::Desired { truststore: Some(truststore), .. } = &first.target else { panic!("{first:?}") };
    let mut memory = answered(&resource, "");
    memory.truststore = Some(Arc::clone(truststore));
    // Another is offered in every pass, and the one that was made stays.
    let again = plan(&resource, &observation(Ok(Password::made(b"another").unwrap())), &memory);
    let TargetVerdict::Desired { truststore: Some(same), .. } = &again.target else { panic!("{again:?}") };
    assert!(Arc::ptr_eq(truststore, same));
}
