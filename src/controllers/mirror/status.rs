//! The status after a reconcile, and when to reconcile again. Pure.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::backoff::{Hold, Written};
use super::events::{self, Events};
use super::plan::{Action, Plan, TargetPlan};
use super::snapshot::{HeldBack, Look, Named, Snapshot, StageRead};
use super::trust::{TrustReason, conclusive_failure, is_of_spec, recorded_main, trust_reason};
use crate::api::{
    CertificateRole, CertificateStatus, ClientCertificateRef, ClientCertificateRefStatus, MAX_CERTIFICATES, Main,
    StageStatus, TargetRef, VerifierClass,
};
use crate::aws::gateway::Source;
use crate::aws::scope::Tags;
use crate::certificate::Certificate;
use crate::conditions::{ConditionType, Finding, Is, Reason, clear, find, set, whole_seconds};
use crate::controllers::description::plan::{Outcome as DescriptionOutcome, State as DescriptionState};
use crate::error::{ClusterFailure, ReadFailure, Subject};
use crate::settings::{Settings, Tick};
use crate::target::{Password, holds_certificate, verifier_class};

/// The wait before the next reconcile after a certificate left the target or its overlap ended. That reconcile no
/// longer subscribes to the certificate, or only if the rules allow it.
const ONE_LEFT: Duration = Duration::from_secs(1);
/// A blocked target is read again after this time, without a call to AWS.
const BLOCKED: Duration = Duration::from_secs(60);

/// An action, and whether the API server accepted it.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    pub action: Action,
    /// The result. `None` if the action was not tried, because the write of the target failed.
    pub result: Option<Result<(), ClusterFailure>>,
}

impl Effect {
    /// Whether the action undid another writer's change of the target.
    pub fn is_repair(&self) -> bool {
        let (Action::Create { cause, .. } | Action::Replace { cause, .. }) = &self.action else { return false };
        cause.is_repair() && self.result == Some(Ok(()))
    }

    /// The generated password of a truststore, if it was written into the target.
    pub fn written_password(&self) -> Option<&Password> {
        let (Action::Create { desired, .. } | Action::Replace { desired, .. }) = &self.action else { return None };
        let truststore = desired.truststore.as_ref().filter(|_| self.result == Some(Ok(())))?;
        Some(truststore.password()).filter(|password| password.is_made())
    }
}

/// The result of a reconcile.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The status to write.
    pub status: ClientCertificateRefStatus,
    /// The events to record.
    pub events: Events,
    /// The time until the next reconcile, if no event comes before.
    pub requeue: Option<Duration>,
}

/// The result for the target.
struct TargetResult {
    finding: Finding,
    holds: bool,
}

/// The outcome of the reconcile. `hold` is the wait of the next write, if there is one.
pub fn status(
    resource: &ClientCertificateRef,
    snapshot: &Snapshot,
    plan: &Plan,
    effects: &[Effect],
    hold: Option<Hold>,
    settings: &Settings,
) -> Outcome {
    let now = snapshot.now;
    let before = resource.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let mut status = resource.status.clone().unwrap_or_default();
    let target = target(plan, effects, &resource.target_ref().to_string(), before);
    match &plan.target {
        TargetPlan::Holds(held) if target.holds => {
            status.target = Some(resource.target_ref());
            status.certificates.clone_from(held);
        }
        TargetPlan::Kept => status.target = Some(resource.target_ref()),
        TargetPlan::NoCertificate if snapshot.target == Ok(None) => status.certificates.clear(),
        _ => {}
    }
    status.verifier_class = verifier_class(resource, &status.certificates);
    note_trust(&mut status, resource, snapshot, &target);
    status.observed_generation = resource.generation();
    status.stage = stage(resource, snapshot, &status);
    let named = snapshot.stage.as_ref().and_then(StageRead::names);
    let held = name_main(&mut status, resource, named);
    status.installation = Some(snapshot.installation.name.clone());
    if snapshot.answered
        && let Some(value) = resource.refresh_requested()
    {
        status.last_handled_refresh = Some(value.to_owned());
    }

    let interval = resource.refresh_interval();
    let read = certificate_read(resource, snapshot, before);
    let ready = ready(snapshot, &read, &target, held.as_ref());
    let additional = additional(resource, snapshot, &status, before);
    let safe_to_switch = safe_to_switch(resource, &status, &target, now.wall);
    let stalled = stalled([&read, &target.finding, &ready]);
    let expiring = expiring(held.as_ref(), &snapshot.main_look(), settings.expiring_within, now.wall);
    let description = description(resource, snapshot);
    let requeue = requeue(resource, snapshot, plan, &target, &status, hold, interval, settings);

    let generation = resource.generation();
    let mut apply = |type_, finding: Option<Finding>| match finding {
        Some(finding) => set(&mut status.conditions, type_, finding, generation, now.wall),
        None => clear(&mut status.conditions, type_),
    };
    apply(ConditionType::Ready, Some(ready));
    apply(ConditionType::CertificateRead, Some(read));
    apply(ConditionType::AdditionalCertificatesRead, additional);
    apply(ConditionType::TargetWritten, Some(target.finding));
    apply(ConditionType::SafeToSwitch, safe_to_switch);
    match description {
        Described::Keep => {}
        Described::Absent => apply(ConditionType::DescriptionSynced, None),
        Described::Set(finding) => apply(ConditionType::DescriptionSynced, Some(finding)),
    }
    apply(ConditionType::Expiring, expiring);
    apply(ConditionType::Stalled, stalled);
    apply(ConditionType::Suspended, None);

    let mut events = events::of(effects, before, &status.conditions);
    events.changed.extend(events::of_certificates(resource, &status.certificates));
    events.changed.extend(events::of_stage(resource, status.stage.as_ref()));
    let rival = snapshot.installation.rival.as_deref();
    events.done.extend(rival.map(|rival| events::rival(rival, &settings.installation)));
    Outcome { status, events, requeue }
}

/// Sets `trustedSince` and `safeToSwitch` of each certificate.
fn note_trust(
    status: &mut ClientCertificateRefStatus,
    resource: &ClientCertificateRef,
    snapshot: &Snapshot,
    target: &TargetResult,
) {
    let (now, class) = (snapshot.now.wall, status.verifier_class);
    let before = resource.status.as_ref();
    let is_same_target = before.and_then(|before| before.target.as_ref()) == Some(&resource.target_ref());
    for held in &mut status.certificates {
        let recorded = before.iter().flat_map(|before| &before.certificates).filter(|recorded| recorded.covers(held));
        let recorded = recorded.filter_map(|recorded| recorded.trusted_since).min();
        let is_over = held.expiration_date.is_some_and(|end| end <= now);
        let anchors = held.anchors();
        let was_there = match &snapshot.target {
            Ok(Some(found)) => is_same_target && holds_certificate(&found.content, resource, &anchors),
            Ok(None) => false,
            Err(_) => true,
        };
        held.trusted_since = match recorded {
            _ if is_over => recorded,
            _ if !target.holds => recorded.filter(|_| was_there),
            recorded => {
                let is_unbroken = |since: &Timestamp| {
                    was_there && snapshot.repaired.is_none_or(|repaired| *since >= whole_seconds(repaired))
                };
                // A recorded time in the future, from a clock that was ahead, must not extend the soak.
                Some(whole_seconds(recorded.filter(is_unbroken).unwrap_or(now).min(now)))
            }
        };
        // Readers of every class accept the main certificate. A former certificate leaves soon.
        let is_accepted = match held.role {
            Some(CertificateRole::Main) => true,
            Some(CertificateRole::Former) => false,
            Some(CertificateRole::Additional | CertificateRole::Tagged) | None => {
                class == Some(VerifierClass::OverlapSafe)
            }
        };
        held.safe_to_switch = Some(target.holds && is_accepted && !is_over && is_soaked(held, resource, now));
    }
}

fn soak_end(held: &CertificateStatus, resource: &ClientCertificateRef) -> Option<Timestamp> {
    held.trusted_since?.checked_add(resource.soak()).ok()
}

fn is_soaked(held: &CertificateStatus, resource: &ClientCertificateRef, now: Timestamp) -> bool {
    soak_end(held, resource).is_some_and(|end| end <= now)
}

/// Whether a stage may be switched to every certificate other than the main one; `None` if there is no other. Never
/// changes Ready.
fn safe_to_switch(
    resource: &ClientCertificateRef,
    status: &ClientCertificateRefStatus,
    target: &TargetResult,
    now: Timestamp,
) -> Option<Finding> {
    let is_beside =
        |held: &&CertificateStatus| matches!(held.role, Some(CertificateRole::Additional | CertificateRole::Tagged));
    let beside: Vec<_> = status.certificates.iter().filter(is_beside).collect();
    if beside.is_empty() {
        return None;
    }
    if !target.holds {
        return Some(Finding { is: Is::False, ..target.finding.clone() });
    }
    let ids = |of: &[&CertificateStatus]| of.iter().map(|held| held.id.as_str()).collect::<Vec<_>>().join(", ");
    let name = resource.target_ref();
    let soak = resource.soak_text();
    let soaking: Vec<_> = beside.iter().copied().filter(|held| !is_soaked(held, resource, now)).collect();
    if let Some(end) = soaking.iter().filter_map(|held| soak_end(held, resource)).max() {
        let message = format!(
            "{name} has not held {} for {soak} (spec.soak) yet; do not switch a stage before {end}",
            ids(&soaking)
        );
        return Some(Finding::no(Reason::Soaking, message));
    }
    if status.verifier_class != Some(VerifierClass::OverlapSafe) {
        let message = format!(
            "a server that reads {name} may accept only the first certificate in it and refuse {}; compare pins in the server, or set spec.target.verifierClass to OverlapSafe if the server accepts every certificate",
            ids(&beside)
        );
        return Some(Finding::no(Reason::FirstWins, message));
    }
    Some(Finding::yes(
        Reason::Soaked,
        format!("{name} has held {} for {soak} (spec.soak); a stage may be switched to each of them", ids(&beside)),
    ))
}

/// The stage and the certificate that it presents. `None` until the stage's certificate has been the main one: the
/// stage did not present the certificates that the target held for an earlier spec.
fn stage(
    resource: &ClientCertificateRef,
    snapshot: &Snapshot,
    status: &ClientCertificateRefStatus,
) -> Option<StageStatus> {
    let Some(Main::Stage(stage)) = resource.main() else { return None };
    let before = resource.stage_status();
    let Some(presents) = snapshot.stage.as_ref().and_then(StageRead::names) else { return before.cloned() };
    let main = status.main_certificate(resource.additional_ids()).map(|held| held.id.as_str());
    match before {
        Some(before) if before.client_certificate_id.as_deref() == presents => Some(before.clone()),
        None if presents.is_none() || presents != main => None,
        _ => Some(StageStatus {
            rest_api_id: stage.rest_api_id.clone(),
            stage_name: stage.stage_name.clone(),
            client_certificate_id: presents.map(str::to_owned),
            since: Some(whole_seconds(snapshot.now.wall)),
        }),
    }
}

/// Sets the id of the certificate that the spec names or the stage presents, and the expiry of the main certificate in
/// the target. Returns the main certificate in the target.
fn name_main(
    status: &mut ClientCertificateRefStatus,
    resource: &ClientCertificateRef,
    named_by_stage: Option<Option<&str>>,
) -> Option<CertificateStatus> {
    let held = status.main_certificate(resource.additional_ids()).cloned();
    status.client_certificate_id = match (resource.main(), named_by_stage) {
        (Some(Main::Certificate(id) | Main::Acm(id)), _) => Some(id.to_owned()),
        (_, Some(named)) => named.map(str::to_owned),
        (_, None) => status.client_certificate_id.take().filter(|_| resource.stage_status().is_some()),
    };
    status.expiration_date = held.as_ref().and_then(|held| held.expiration_date);
    held
}

/// The status of a suspended resource. The reconcile reads nothing, and the other conditions stay.
pub fn suspended(resource: &ClientCertificateRef, now: Timestamp) -> Outcome {
    let mut status = resource.status.clone().unwrap_or_default();
    status.observed_generation = resource.generation();
    name_main(&mut status, resource, None);
    let finding = Finding::yes(
        Reason::Suspended,
        "spec.suspend is true; the operator does not call API Gateway and does not write the target",
    );
    set(&mut status.conditions, ConditionType::Suspended, finding, resource.generation(), now);
    Outcome { status, events: Events::default(), requeue: None }
}

/// The result of the writes of a reconcile, for the backoff of the next write. A failure to read the target counts as a
/// failed write.
pub fn written(plan: &Plan, effects: &[Effect]) -> Written {
    if matches!(plan.target, TargetPlan::Unread(_)) {
        return Written::Failed;
    }
    let of_target = effects.iter().find(|effect| effect.action.is_of_target());
    let failed = effects.iter().any(|effect| matches!(effect.result, Some(Err(_))));
    match of_target.map(|effect| &effect.action) {
        _ if failed => Written::Failed,
        Some(Action::Create { cause, .. } | Action::Replace { cause, .. }) => {
            Written::Done { is_repair: cause.is_repair() }
        }
        _ if effects.is_empty() => Written::Nothing,
        _ => Written::Done { is_repair: false },
    }
}

fn keep(condition: &Condition) -> Option<Finding> {
    let is = match condition.status.as_str() {
        "True" => Is::True,
        "False" => Is::False,
        _ => return None,
    };
    Some(Finding { is, reason: Reason::parse(&condition.reason)?, message: condition.message.clone() })
}

/// Whether a condition is about the certificate that the spec names, or that the stage presents, now.
fn is_unchanged(resource: &ClientCertificateRef, snapshot: &Snapshot, condition: &Condition) -> bool {
    let is_held = |source| recorded_main(resource).is_some_and(|held| snapshot.is_of(held, source));
    // A failure of an earlier generation may be about another source.
    is_of_spec(resource, snapshot, condition)
        || (condition.status == "True" && snapshot.main_source().is_some_and(is_held))
}

/// An unchanged source keeps its condition until AWS has answered, and during a transient failure as long as the target
/// holds a certificate. A transient failure never replaces a conclusive one.
fn certificate_read(resource: &ClientCertificateRef, snapshot: &Snapshot, before: &[Condition]) -> Finding {
    let look = snapshot.main_look();
    let kept = || {
        let condition = find(before, ConditionType::CertificateRead)?;
        if is_unchanged(resource, snapshot, condition) { keep(condition) } else { None }
    };
    let has_target = resource.status.as_ref().is_some_and(|status| !status.certificates.is_empty());
    let is_short = look.is_short_failure(resource.refresh_interval(), snapshot.now) && has_target;
    match (&look, snapshot.main_source()) {
        (Look::Good(answer), Some(source)) => {
            let presented = snapshot
                .stage
                .as_ref()
                .map(|stage| format!("; stage {} of REST API {} presents it", stage.name, stage.api.id));
            let (what, chain) = match source.is_of_acm() {
                true => ("ACM certificate", fault_of_chain(&answer.certificate, snapshot.now.wall)),
                false => ("client certificate", None),
            };
            let (presented, chain) = (presented.unwrap_or_default(), chain.unwrap_or_default());
            let message = format!("{what} {source} was read{presented}{chain}");
            Finding::yes(Reason::Read, message)
        }
        (Look::Failed { failure, last_good, .. }, _) => {
            // An answer of this process counts more than the status.
            let has_no_answer = failure.is_transient() && last_good.is_none();
            let conclusive = || conclusive_failure(resource, snapshot).filter(|_| has_no_answer).and_then(keep);
            let finding = kept().filter(|_| is_short).or_else(conclusive);
            finding.unwrap_or_else(|| Finding::no(failure.reason(), explain(failure, snapshot)))
        }
        (Look::Good(_), None) | (Look::Pending, _) => kept()
            .unwrap_or_else(|| Finding::unknown(Reason::NotRead, "waiting for the first response from API Gateway")),
    }
}

/// The fault for which servers may refuse a certificate of ACM that is valid.
fn fault_of_chain(certificate: &Certificate, now: Timestamp) -> Option<String> {
    let ended = certificate.chain().iter().filter(|authority| authority.is_expired(now));
    let ended: Vec<_> = ended.map(|it| format!("{} at {}", it.subject, whole_seconds(it.not_after))).collect();
    if !ended.is_empty() {
        let ended = ended.join(", ");
        return Some(format!(
            "; certificates of its chain have expired, so servers may refuse it: {ended}; import the certificate with a valid chain"
        ));
    }
    let fault = if certificate.lacks_chain() {
        "; ACM has no chain for it, which OpenSSL requires: import the certificate with its chain"
    } else if certificate.lacks_root() {
        "; the chain has no root certificate, which OpenSSL requires: import the certificate with its root"
    } else {
        return None;
    };
    Some(fault.to_owned())
}

/// The message about a main certificate that cannot be read.
fn explain(failure: &ReadFailure, snapshot: &Snapshot) -> String {
    match (failure, &snapshot.stage, snapshot.main_source()) {
        (ReadFailure::Expired, Some(stage), Some(source)) => format!(
            "client certificate {source} has expired; generate a new one and select it on stage {} of REST API {}",
            stage.name, stage.api.id
        ),
        _ => failure.explain(snapshot.main_subject()),
    }
}

fn target(plan: &Plan, effects: &[Effect], name: &str, before: &[Condition]) -> TargetResult {
    let no = |reason, message: String| TargetResult { finding: Finding::no(reason, message), holds: false };
    let yes = |message| TargetResult { finding: Finding::yes(Reason::Written, message), holds: true };
    let number = |number: usize| match number {
        1 => "the certificate".to_owned(),
        number => format!("{number} certificates"),
    };
    match (&plan.target, failure_of_target(effects)) {
        (TargetPlan::Holds(held), None) => {
            let former = failure_of_former(effects)
                .map(|(former, failure)| format!("; {}", kept_former_target(former, failure)));
            yes(format!("{name} holds {}{}", number(held.len()), former.unwrap_or_default()))
        }
        (TargetPlan::Kept, _) => {
            let kept = find(before, ConditionType::TargetWritten).filter(|condition| condition.status == "True");
            yes(kept.map_or_else(
                || format!("{name} holds the last certificate read from API Gateway"),
                |c| c.message.clone(),
            ))
        }
        (TargetPlan::Holds(_), Some(failure)) | (TargetPlan::Unread(failure), _) => {
            no(failure.reason(), format!("{name}: {failure}"))
        }
        (TargetPlan::Blocked { reason, message }, _) => no(*reason, message.clone()),
        (TargetPlan::Waits(Hold { is_contested: false, .. }), _) => {
            let kept = find(before, ConditionType::TargetWritten).filter(|c| c.status == "False").and_then(keep);
            let finding = kept.unwrap_or_else(|| {
                Finding::no(Reason::Conflict, format!("{name} could not be written; retrying with backoff"))
            });
            TargetResult { finding, holds: false }
        }
        (TargetPlan::Waits(_), _) => no(
            Reason::Contested,
            format!("{name} is being modified by another writer (see its managedFields); retrying with backoff"),
        ),
        (TargetPlan::NoCertificate, _) => TargetResult {
            finding: Finding::unknown(Reason::NoCertificate, format!("there is no certificate to write to {name}")),
            holds: false,
        },
    }
}

/// The failure of the write of the target, if it failed.
pub fn failure_of_target(effects: &[Effect]) -> Option<&ClusterFailure> {
    let of_target = effects.iter().filter(|effect| effect.action.is_of_target());
    of_target.filter_map(|effect| effect.result.as_ref()?.as_ref().err()).next()
}

/// The first former target that could not be deleted or released, with the failure.
pub fn failure_of_former(effects: &[Effect]) -> Option<(&TargetRef, &ClusterFailure)> {
    let former = effects.iter().filter(|effect| !effect.action.is_of_target());
    former.filter_map(|effect| Some((effect.action.target(), effect.result.as_ref()?.as_ref().err()?))).next()
}

/// The message about a former target that could not be removed. The failure does not block, because the new target
/// exists.
pub fn kept_former_target(former: &TargetRef, failure: &ClusterFailure) -> String {
    format!("former target {former} could not be removed: {failure}")
}

/// True exactly when the target holds an unexpired certificate of the spec's id, and the last read succeeded or failed
/// only temporarily.
fn ready(snapshot: &Snapshot, read: &Finding, target: &TargetResult, held: Option<&CertificateStatus>) -> Finding {
    let now = snapshot.now;
    let look = snapshot.main_look();
    let no = |finding: &Finding| Finding { is: Is::False, ..finding.clone() };
    let passes = match &look {
        Look::Good(_) => true,
        Look::Failed { failure, .. } => failure.is_transient() && (read.is == Is::True || is_transient(read.reason)),
        Look::Pending => read.is == Is::True || (read.is == Is::False && is_transient(read.reason)),
    };
    if !passes {
        return no(read);
    }
    let source = snapshot.main_source();
    let is_named = |held: &CertificateStatus| source.is_some_and(|source| snapshot.is_of(held, source));
    match held.filter(|_| target.holds) {
        Some(held) if is_named(held) && held.expiration_date.is_some_and(|end| end > now.wall) => {
            Finding::yes(Reason::Mirrored, target.finding.message.clone())
        }
        Some(held) if is_named(held) => Finding::no(Reason::Expired, explain(&ReadFailure::Expired, snapshot)),
        _ if target.finding.is == Is::False => no(&target.finding),
        // The target holds no certificate, or the former one, until the new one is read.
        _ if read.is != Is::True => no(read),
        _ => no(&target.finding),
    }
}

fn is_transient(reason: Reason) -> bool {
    matches!(reason, Reason::Throttled | Reason::Unavailable)
}

/// The finding about the additional certificates; `None` if there are none. The first failure is the reason. Never
/// changes Ready.
fn additional(
    resource: &ClientCertificateRef,
    snapshot: &Snapshot,
    status: &ClientCertificateRefStatus,
    before: &[Condition],
) -> Option<Finding> {
    if snapshot.additional.is_empty() && snapshot.tags.is_none() {
        return None;
    }
    let interval = resource.refresh_interval();
    let condition = find(before, ConditionType::AdditionalCertificatesRead)
        .filter(|condition| condition.observed_generation == resource.generation());
    let (mut reason, mut failures, mut unread, mut keeps) = (None, Vec::new(), Vec::new(), false);
    let tagged = tagged(resource, snapshot, status);
    match &tagged {
        None | Some(Tagged::Unsaid(_) | Tagged::Read(_)) => {}
        Some(Tagged::Pending(tags)) => {
            keeps = true;
            unread.push(tags.as_str());
        }
        Some(Tagged::Failed { failure, message, is_short }) => {
            keeps = *is_short;
            reason = Some(failure.reason());
            failures.push(message.clone());
        }
    }
    let has_tags = |named: &&Named| trust_reason(resource, snapshot, named) == Some(TrustReason::Tagged);
    // A certificate that has expired or no longer exists is left out without a message.
    let is_missed =
        |named: &&Named| !matches!(named.look(snapshot.now), Look::Failed { failure, .. } if failure.ends_trust());
    let unnamed = snapshot.unnamed.iter().filter(has_tags).filter(is_missed);
    for named in snapshot.additional.iter().chain(unnamed) {
        let held = status.certificates.iter().any(|held| held.id == named.id);
        let look = named.look(snapshot.now);
        keeps |= matches!(look, Look::Pending) || look.is_short_failure(interval, snapshot.now);
        match look {
            Look::Good(_) => {}
            Look::Pending => unread.push(named.id.as_str()),
            Look::Failed { failure, .. } => {
                let so = if held { "the target holds the last version read" } else { "the target does not hold it" };
                reason = reason.or(Some(failure.reason()));
                failures.push(format!(
                    "{}: {}; {so}",
                    named.id,
                    failure.explain(named.source.as_ref().ok().map(Subject::Certificate))
                ));
            }
        }
    }
    if keeps && let Some(kept) = condition.and_then(keep) {
        return Some(kept);
    }
    let ids = || snapshot.additional.iter().map(|named| named.id.as_str()).collect::<Vec<_>>().join(", ");
    Some(match reason {
        Some(reason) => Finding::no(reason, failures.join(". ")),
        None if unread.is_empty() && snapshot.additional.is_empty() => match tagged? {
            Tagged::Unsaid(message) => Finding::unknown(Reason::NotRead, message),
            Tagged::Read(message) => Finding::yes(Reason::Read, message),
            Tagged::Pending(_) | Tagged::Failed { .. } => return None,
        },
        None if unread.is_empty() => {
            let but = match status.verifier_class {
                Some(VerifierClass::FirstWins) => {
                    if snapshot.stage.is_some() {
                        "; servers accept only the first certificate of this target, which is the one that the stage presents"
                    } else {
                        "; servers accept only the first certificate of this target; set spec.clientCertificateId to the certificate that the stage presents"
                    }
                }
                Some(VerifierClass::OverlapSafe) | None => "",
            };
            let plural = if snapshot.additional.len() == 1 { " was" } else { "s were" };
            let read = format!("additional certificate{plural} read: {}{but}", ids());
            match tagged {
                Some(Tagged::Unsaid(message)) => Finding::unknown(Reason::NotRead, message),
                Some(Tagged::Read(message)) => Finding::yes(Reason::Read, format!("{message}. {read}")),
                _ => Finding::yes(Reason::Read, read),
            }
        }
        None => Finding::unknown(
            Reason::NotRead,
            format!("waiting for the first response from API Gateway for {}", unread.join(", ")),
        ),
    })
}

/// The result of the last read of the certificates with the tags of the spec.
enum Tagged {
    /// This process has no list yet. The string is the text of the tags.
    Pending(String),
    Failed {
        failure: ReadFailure,
        message: String,
        is_short: bool,
    },
    /// The list contains no tags at all.
    Unsaid(String),
    Read(String),
}

fn tagged(resource: &ClientCertificateRef, snapshot: &Snapshot, status: &ClientCertificateRefStatus) -> Option<Tagged> {
    let read = snapshot.tags.as_ref()?;
    let (wanted, now) = (&resource.spec.additional_client_certificate_tags, snapshot.now);
    let (tags, region) = (in_words(wanted), &read.place.region);
    let kept = "the target keeps the certificates that were read last";
    let outcome = match &read.read {
        None => return Some(Tagged::Pending(tags)),
        Some(read) => read,
    };
    if let Err(failure) = &outcome.outcome {
        let lasts = |since| now.tick.saturating_sub(since) >= resource.refresh_interval();
        let is_short = failure.is_transient() && !outcome.failing_since.is_some_and(lasts);
        let message = format!(
            "the certificates with {tags} are unknown: {}; {kept}",
            failure.explain(Some(Subject::List(&read.place)))
        );
        return Some(Tagged::Failed { failure: failure.clone(), message, is_short });
    }
    let Some(listing) = snapshot.listing() else {
        let message = format!(
            "API Gateway's list of client certificates in {region} contains no tags, so the certificates with {tags} are unknown; {kept}"
        );
        return Some(Tagged::Unsaid(message));
    };
    let having = listing.having(wanted, now.wall);
    let is_held = |id: &&&str| status.certificates.iter().any(|held| held.id == **id);
    let held: Vec<_> = having.iter().filter(is_held).copied().collect();
    let unnamed = |is: &dyn Fn(&Named) -> bool| snapshot.unnamed.iter().filter(|named| is(named)).count();
    let refused = unnamed(&|named| having.contains(&named.id.as_str()) && named.source.is_err());
    let is_left_out = |named: &Named| {
        having.contains(&named.id.as_str())
            && matches!(named.look(now), Look::Good(answer) if status.certificates.iter().all(|held| held.sha256_fingerprint.as_deref() != Some(answer.fingerprint().as_str())))
    };
    let left_out = if status.certificates.len() < MAX_CERTIFICATES { 0 } else { unnamed(&is_left_out) };
    let mut message = match (held.len(), refused + left_out) {
        (0, 0) => format!("no certificate in {region} has {tags}"),
        (1, _) => format!("1 certificate with {tags} is in the target"),
        (number, _) => format!("{number} certificates with {tags} are in the target"),
    };
    if left_out > 0 {
        message += &format!("; {left_out} more exceed the limit of {MAX_CERTIFICATES} certificates in a target");
    }
    if refused > 0 {
        message += &format!("; the operator's rules (certificateIds) do not allow {refused} more");
    }
    if !held.is_empty() {
        message += &format!(": {}", held.join(", "));
    }
    Some(Tagged::Read(message))
}

/// The text of tags in a message, cut so that the rest of the message fits.
fn in_words(tags: &Tags) -> String {
    let all = tags.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ");
    let word = if tags.len() == 1 { "the tag" } else { "the tags" };
    match all.char_indices().nth(300) {
        Some((end, _)) => format!("{word} {}…", &all[..end]),
        None => format!("{word} {all}"),
    }
}

fn stalled(findings: [&Finding; 3]) -> Option<Finding> {
    let last = findings.into_iter().find(|finding| finding.is == Is::False && finding.reason.is_final())?;
    Some(Finding::yes(last.reason, last.message.clone()))
}

fn expiring(held: Option<&CertificateStatus>, look: &Look<'_>, within: Duration, now: Timestamp) -> Option<Finding> {
    if held.is_none() && matches!(look, Look::Failed { failure, .. } if failure.has_ended()) {
        return Some(Finding::yes(
            Reason::EndsSoon,
            "the certificate has expired and the target does not hold it; generate a new one and set spec.clientCertificateId to it",
        ));
    }
    let end = held?.expiration_date?;
    let limit = end.checked_sub(within).ok()?;
    Some(if limit <= now {
        Finding::yes(
            Reason::EndsSoon,
            format!(
                "the certificate expires at {end}; generate a new one, add it to the backends' trust, then select it on the stage"
            ),
        )
    } else {
        Finding::no(Reason::EndsLater, format!("the certificate expires at {end}"))
    })
}

/// The change of DescriptionSynced.
enum Described {
    Keep,
    Absent,
    Set(Finding),
}

fn description(resource: &ClientCertificateRef, snapshot: &Snapshot) -> Described {
    let Some(wanted) = &resource.spec.description else { return Described::Absent };
    let holds = match snapshot.main_look() {
        Look::Pending => return Described::Keep,
        Look::Failed { failure, .. } => {
            let before = resource.status.as_ref().and_then(|s| find(&s.conditions, ConditionType::DescriptionSynced));
            let is_current = before.is_some_and(|before| before.observed_generation == resource.generation());
            if failure.is_transient() && is_current {
                return Described::Keep;
            }
            let message = format!("the description could not be read from API Gateway: {failure}");
            return Described::Set(Finding::no(failure.reason(), message));
        }
        Look::Good(answer) if answer.source.is_of_acm() => {
            return Described::Set(Finding::no(
                Reason::NotApplicable,
                "the stage presents an ACM certificate, which has no description in API Gateway; remove spec.description",
            ));
        }
        Look::Good(answer) => answer.description == *wanted,
    };
    let me = (resource.namespace(), resource.name());
    match (&snapshot.may_describe, &snapshot.description) {
        (Err(_), _) if holds => Described::Set(synced()),
        (Err(HeldBack::Refused(refusal)), _) => Described::Set(Finding::no(refusal.reason(), refusal.to_string())),
        (Err(HeldBack::AccountUnknown), _) => Described::Set(Finding::no(
            Reason::Unavailable,
            "the operator's AWS account is unknown, so another resource may own this description through a role; allow the operator to reach AWS STS (sts:GetCallerIdentity)",
        )),
        (Ok(()), None) => Described::Keep,
        (Ok(()), Some(outcome)) => {
            let DescriptionOutcome { owner, text, source, state, retry_at: _ } = outcome;
            let owner_name = format!("{}/{}", owner.namespace, owner.name);
            if (owner.namespace.as_str(), owner.name.as_str()) == me {
                return of_owner(state.as_ref(), source);
            }
            Described::Set(if text == wanted {
                Finding::yes(
                    Reason::SameAsOwner,
                    format!("the older ClientCertificateRef {owner_name} owns the description and has the same text"),
                )
            } else {
                Finding::no(
                    Reason::OwnedByAnother,
                    format!(
                        "the older ClientCertificateRef {owner_name} owns the description of this certificate; remove spec.description from one of the two"
                    ),
                )
            })
        }
    }
}

fn of_owner(state: Option<&DescriptionState>, source: &Source) -> Described {
    Described::Set(match state {
        None => return Described::Keep,
        Some(DescriptionState::Synced) => synced(),
        Some(DescriptionState::NotManaged) => Finding::no(
            Reason::DescriptionNotAllowed,
            "API Gateway holds another description, and the operator runs with --manage-descriptions=false; change the description in API Gateway, or remove spec.description",
        ),
        Some(DescriptionState::NotApplied) => Finding::no(
            Reason::NotApplied,
            "API Gateway accepted the update but stored another text; the operator will send spec.description again when one of the two changes",
        ),
        Some(DescriptionState::Contested) => Finding::no(
            Reason::Contested,
            "another writer keeps changing the description in API Gateway; remove spec.description here, or stop the other writer; retrying once an hour",
        ),
        Some(DescriptionState::Failed(error)) => {
            Finding::no(error.reason(), error.explain("apigateway:PATCH", Subject::Certificate(source)))
        }
    })
}

fn synced() -> Finding {
    Finding::yes(Reason::Synced, "API Gateway holds the description of the spec")
}

#[allow(clippy::too_many_arguments)] // one argument for each timer
fn requeue(
    resource: &ClientCertificateRef,
    snapshot: &Snapshot,
    plan: &Plan,
    target: &TargetResult,
    status: &ClientCertificateRefStatus,
    hold: Option<Hold>,
    interval: Duration,
    settings: &Settings,
) -> Option<Duration> {
    let now = snapshot.now;
    let until = |at: Timestamp| Duration::try_from(at.duration_since(now.wall)).ok();
    let ends = status.certificates.iter().flat_map(CertificateStatus::ends);
    // One second more, so that the certificate has expired at the next reconcile.
    let next_end = ends.filter_map(until).min().map(|wait| wait + Duration::from_secs(1));
    let expiring =
        status.expiration_date.and_then(|end| end.checked_sub(settings.expiring_within).ok()).and_then(until);
    let blocked = match &plan.target {
        TargetPlan::Blocked { .. } => Some(BLOCKED.mul_f64(0.9 + 0.1 * snapshot.jitter)),
        TargetPlan::Waits(hold) => Some(hold.until.saturating_sub(now.tick)),
        TargetPlan::NoCertificate | TargetPlan::Holds(_) | TargetPlan::Kept | TargetPlan::Unread(_) => None,
    };
    let retry = hold.filter(|_| !target.holds).map(|hold| hold.until.saturating_sub(now.tick));
    // The time at which a failure has lasted for the interval: from then on the status shows it.
    let beside = snapshot.additional.iter().chain(&snapshot.unnamed).map(|named| named.look(now));
    let lasting = std::iter::once(snapshot.main_look()).chain(beside).filter_map(|look| match look {
        Look::Failed { failure: ReadFailure::NotYetValid { from }, .. } => {
            until(from).map(|wait| wait + Duration::from_secs(1))
        }
        Look::Failed { failure, since: Some(since), .. } if failure.is_transient() => {
            (since + interval).checked_sub(now.tick).filter(|wait| !wait.is_zero())
        }
        _ => None,
    });
    let list = snapshot.tags.as_ref().and_then(|tags| tags.read.as_ref());
    let list = list.filter(|list| list.outcome.as_ref().is_err_and(ReadFailure::is_transient));
    let list =
        list.and_then(|list| (list.failing_since? + interval).checked_sub(now.tick)).filter(|wait| !wait.is_zero());
    let description = snapshot.description.as_ref().and_then(|outcome| outcome.retry_at);
    let description = description.map(|at: Tick| at.saturating_sub(now.tick));
    let is_ahead = |wait: &Duration| !wait.is_zero();
    let soaked =
        status.certificates.iter().filter_map(|held| soak_end(held, resource)).filter_map(until).filter(is_ahead);
    let former = status.certificates.iter().filter_map(|held| held.former_since?.checked_add(resource.overlap()).ok());
    let leaves = former.filter_map(until).filter(is_ahead);
    let before = resource.status.iter().flat_map(|before| &before.certificates);
    let is_it = |one: &CertificateStatus, other: &CertificateStatus| {
        (&one.id, &one.sha256_fingerprint, &one.chain) == (&other.id, &other.sha256_fingerprint, &other.chain)
    };
    let left = before.filter(|held| match status.certificates.iter().find(|stays| is_it(stays, held)) {
        Some(stays) => held.former_since.is_some() && stays.former_since.is_none(),
        None => true,
    });
    let left = left.map(|_| ONE_LEFT);
    let waits =
        [next_end, expiring, blocked, retry, lasting.min(), description, soaked.min(), leaves.min(), list, left.min()];
    waits.into_iter().flatten().min()
}

#[cfg(test)]
mod tests;
