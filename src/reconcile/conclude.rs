//! Fourth step: what to say of it, and when to look again. Pure.

mod events;
mod findings;

pub use events::{Event, Events};

use std::time::Duration;

use jiff::Timestamp;

use super::decide::Answers;
use super::{Action, Done, Observation, Outcome, Plan, TargetVerdict};
use crate::api::{CertificateStatus, ClientCertificateRef, ClientCertificateRefStatus, TargetRef};
use crate::conditions::{ConditionType, Finding, Reason, clear, set};
use crate::description::Verdict;
use crate::error::{ClusterFailure, FailureClass};
use crate::memory::{Marked, Memory};
use crate::settings::{Now, Settings, Tick};
use crate::target::verifier_class;

use super::DescriptionVerdict;

/// A target that something is in the way of is looked at again after this long, without a call to API Gateway.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Writes to the cluster that failed are tried again as often as reads are within this time.
const CLUSTER_RETRIES_WITHIN: Duration = Duration::from_secs(5 * 60);

/// The result of a pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Conclusion {
    /// The status as it should be.
    pub status: ClientCertificateRefStatus,
    /// What to tell.
    pub events: Events,
    /// When to look again, if nothing happens before.
    pub next_look: Option<Duration>,
}

/// What a pass over the target came to.
pub(super) struct TargetResult {
    pub finding: Finding,
    pub holds: bool,
    pub look_again: Option<Tick>,
}

/// Concludes. `jitter` is a random number from 0 to 1.
#[allow(clippy::too_many_arguments)] // everything that a pass knows, and nothing hidden
pub fn conclude(
    resource: &ClientCertificateRef,
    observation: &Observation,
    plan: &Plan,
    outcomes: &[Outcome],
    memory: &mut Memory,
    settings: &Settings,
    now: Now,
    jitter: f64,
) -> Conclusion {
    note_outcomes(resource, plan, outcomes, memory, now, jitter);
    let mut status = resource.status.clone().unwrap_or_default();
    let rendered = matches!(plan.target, TargetVerdict::Desired { .. }).then(|| {
        held_certificates(&Answers::to_mirror(resource, observation, memory, now.wall), &status.certificates, now.wall)
    });
    let number = rendered.as_ref().map_or(1, Vec::len);
    let target = findings::target(resource, plan, outcomes, number, memory, now, jitter);
    if target.holds {
        status.target = Some(resource.target_ref());
        if let Some(rendered) = rendered {
            status.certificates = rendered;
        }
    } else if observation.target == Ok(None) && plan.target == TargetVerdict::Nothing {
        status.certificates.clear();
    }
    status.verifier_class = verifier_class(resource);
    status.observed_generation = resource.generation();
    let Marked { installation, rival } =
        memory.mark.found(status.installation.as_deref(), &settings.installation, now.tick);
    status.installation = Some(installation);
    if let Some(value) = &memory.main.handled_refresh {
        status.last_handled_refresh = Some(value.clone());
    }

    let outcome = memory.main.reading.outcome(&observation.source, now.wall).map(|outcome| outcome.map(|_| ()));
    let main = describe_main(&mut status, resource);
    let is_named = |held: &&CertificateStatus| {
        observation.source.as_ref().is_ok_and(|source| held.is_of(&source.id, &source.place.region))
    };
    let held = status.certificates.iter().find(is_named).cloned().or(main.clone());
    let read = findings::certificate_read(outcome.as_ref(), observation.source.as_ref().ok());
    let ready =
        findings::ready(outcome.as_ref(), &read, &target, held.as_ref(), observation.source.as_ref().ok(), now.wall);
    let description = findings::description(plan, outcomes, memory, resource);
    let stalled = findings::stalled([&read, &target.finding, &ready]);
    let expiring = findings::expiring(main.as_ref(), outcome.as_ref(), settings.expiring_within, now.wall);
    let others = findings::additional(observation, memory, &status, now.wall);
    let later = try_later(outcomes);
    let next_look = next_look(resource, observation, plan, &target, memory, &status, later, settings, now);

    let mut apply = |type_, finding: Option<Finding>| match finding {
        Some(finding) => set(&mut status.conditions, type_, finding, resource.generation(), now.wall),
        None => clear(&mut status.conditions, type_),
    };
    apply(ConditionType::Ready, Some(ready));
    apply(ConditionType::CertificateRead, Some(read));
    apply(ConditionType::AdditionalCertificatesRead, others);
    apply(ConditionType::TargetWritten, Some(target.finding));
    // While it waits for its turn nothing new is known of it.
    if later.is_none() {
        apply(ConditionType::DescriptionSynced, description);
    }
    apply(ConditionType::Expiring, expiring);
    apply(ConditionType::Stalled, stalled);
    apply(ConditionType::Suspended, None);

    let before = resource.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let mut events = events::tell(outcomes, before, &status.conditions);
    events.done.extend(rival.map(|rival| events::rival(&rival, &settings.installation)));
    Conclusion { status, events, next_look }
}

/// The conclusion about a suspended resource: nothing was looked at, and what was said before still stands.
pub fn suspended(resource: &ClientCertificateRef, memory: &mut Memory, now: Timestamp) -> Conclusion {
    // Lifting it reads afresh.
    memory.suspended();
    let mut status = resource.status.clone().unwrap_or_default();
    status.observed_generation = resource.generation();
    describe_main(&mut status, resource);
    let finding =
        Finding::yes(Reason::Suspended, "spec.suspend is true: API Gateway is not asked and the target is left alone");
    set(&mut status.conditions, ConditionType::Suspended, finding, resource.generation(), now);
    Conclusion { status, events: Events::default(), next_look: None }
}

/// Takes over what the actions came to into memory.
fn note_outcomes(
    resource: &ClientCertificateRef,
    plan: &Plan,
    outcomes: &[Outcome],
    memory: &mut Memory,
    now: Now,
    jitter: f64,
) {
    let refresh = resource.refresh_interval();
    for outcome in outcomes {
        match (&outcome.action, &outcome.done) {
            (Action::CreateTarget { cause, .. } | Action::ReplaceTarget { cause, .. }, Done::Written)
                if cause.is_repair() =>
            {
                memory.repairs.record(now.tick);
            }
            (Action::SetDescription { .. }, Done::Described(holds)) => {
                memory.description.sent(Ok(holds), refresh, now.tick, jitter);
                memory.main.reading.record_description(holds.clone());
            }
            (Action::SetDescription { .. }, Done::NotDescribed(error)) => {
                memory.description.sent(Err(error), refresh, now.tick, jitter);
                if let Some(at) = memory.description.read_again_at() {
                    memory.main.reading.hasten(at);
                }
            }
            _ => {}
        }
    }
    if let TargetVerdict::Desired { digest, truststore } = &plan.target {
        // Also of a write that failed, so that the next try is made of the same.
        memory.truststore.clone_from(truststore);
        if failure_of_target(outcomes).is_none() {
            memory.written = Some(*digest);
            memory.target_streak.reset();
        }
    }
}

/// How the write of the target itself failed.
pub(super) fn failure_of_target(outcomes: &[Outcome]) -> Option<&ClusterFailure> {
    outcomes.iter().find_map(|outcome| match (&outcome.action, &outcome.done) {
        (Action::CreateTarget { .. } | Action::ReplaceTarget { .. }, Done::NotWritten(failure)) => Some(failure),
        _ => None,
    })
}

/// Which earlier target could not be removed or released, and why.
pub(super) fn failure_of_leftover(outcomes: &[Outcome]) -> Option<(&TargetRef, &ClusterFailure)> {
    outcomes.iter().find_map(|outcome| match (&outcome.action, &outcome.done) {
        (Action::DeleteTarget { current } | Action::ReleaseTarget { current }, Done::NotWritten(failure)) => {
            Some((&current.target, failure))
        }
        _ => None,
    })
}

/// When an update of the description is to be tried that could not be now.
fn try_later(outcomes: &[Outcome]) -> Option<Tick> {
    outcomes.iter().find_map(|outcome| match outcome.done {
        Done::Later(at) => Some(at),
        _ => None,
    })
}

/// What a target holds that was just written, or found to be right.
fn held_certificates(answers: &Answers<'_>, before: &[CertificateStatus], now: Timestamp) -> Vec<CertificateStatus> {
    let valid = answers.all().filter(|(_, answer)| !answer.certificate.is_expired(now));
    CertificateStatus::distinct(valid.map(|(role, answer)| {
        let mut held = answer.to_status(role);
        // The account does not change with every read that does not tell it, as when STS cannot be reached.
        let is_same = |before: &&CertificateStatus| {
            (&before.id, &before.region, &before.sha256_fingerprint)
                == (&held.id, &held.region, &held.sha256_fingerprint)
        };
        if held.account_id.is_none() {
            held.account_id = before.iter().find(is_same).and_then(|before| before.account_id.clone());
        }
        held
    }))
}

/// Says in the status which certificate the spec names, and when the one ends that the target holds as the main one.
/// Answers the latter.
fn describe_main(
    status: &mut ClientCertificateRefStatus,
    resource: &ClientCertificateRef,
) -> Option<CertificateStatus> {
    let main = status.main_certificate(resource.additional_ids()).cloned();
    status.client_certificate_id = Some(resource.spec.client_certificate_id.clone());
    status.expiration_date = main.as_ref().and_then(|main| main.expiration_date);
    main
}

#[allow(clippy::too_many_arguments)]
fn next_look(
    resource: &ClientCertificateRef,
    observation: &Observation,
    plan: &Plan,
    target: &TargetResult,
    memory: &mut Memory,
    status: &ClientCertificateRefStatus,
    later: Option<Tick>,
    settings: &Settings,
    now: Now,
) -> Option<Duration> {
    let until_wall = |at: Timestamp| Duration::try_from(at.duration_since(now.wall)).ok().map(|wait| now.tick + wait);
    let ends = status.certificates.iter().filter_map(|held| held.expiration_date);
    // A second late, so that the certificate is past its end by then. Those that are past it are not waited for.
    let next_end = ends.filter_map(until_wall).min().map(|at| at + Duration::from_secs(1));
    let description = match &plan.description {
        Some(DescriptionVerdict::Mine(Verdict::Contested { until } | Verdict::Waiting { until, .. })) => Some(*until),
        _ => memory.description.retry_at().filter(|at| *at > now.tick),
    };
    let ticks = [
        Some(memory.next_read(resource, &observation.source, &observation.additional, now.tick)),
        target.look_again,
        description,
        later,
        next_end,
        status.expiration_date.and_then(|at| at.checked_sub(settings.expiring_within).ok()).and_then(until_wall),
    ];
    ticks.into_iter().flatten().min().map(|at| at.saturating_sub(now.tick))
}

/// When to look at the target again.
pub(super) fn look_again_at(
    plan: &Plan,
    outcomes: &[Outcome],
    memory: &mut Memory,
    refresh: Duration,
    now: Tick,
    jitter: f64,
) -> Option<Tick> {
    let failure = failure_of_target(outcomes).or(failure_of_leftover(outcomes).map(|(_, failure)| failure)).or(
        match &plan.target {
            TargetVerdict::Unseen(failure) => Some(failure),
            _ => None,
        },
    );
    let retry = failure.map(|failure| {
        let class: FailureClass = failure.class();
        // The cluster's requests are cheap: an interval of a day need not hold them back.
        now + memory.target_streak.fail(class, refresh.min(CLUSTER_RETRIES_WITHIN), jitter)
    });
    match &plan.target {
        TargetVerdict::Blocked { .. } => Some(now + LOOK_AGAIN.mul_f64(0.9 + 0.1 * jitter)),
        TargetVerdict::Held { until } => Some(*until),
        TargetVerdict::Desired { .. } | TargetVerdict::Kept | TargetVerdict::Nothing | TargetVerdict::Unseen(_) => {
            retry
        }
    }
}

#[cfg(test)]
mod tests;
