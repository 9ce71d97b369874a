//! The findings of a pass: one for each condition.

use std::time::Duration;

use jiff::Timestamp;

use super::{TargetResult, failure_of_leftover, failure_of_target, look_again_at};
use crate::api::{CertificateStatus, ClientCertificateRef, ClientCertificateRefStatus, TargetRef, VerifierClass};
use crate::conditions::{ConditionType, Finding, Is, Reason, find};
use crate::description::Verdict;
use crate::error::{ClusterFailure, ReadFailure};
use crate::gateway::{GatewayError, Source};
use crate::memory::Memory;
use crate::reconcile::{Action, DescriptionVerdict, Done, HeldBack, Observation, Outcome, Plan, TargetVerdict};
use crate::settings::Now;

type ReadOutcome = Result<(), ReadFailure>;

pub(super) fn certificate_read(outcome: Option<&ReadOutcome>, source: Option<&Source>) -> Finding {
    match (outcome, source) {
        (Some(Ok(())), Some(source)) => Finding::yes(Reason::Read, format!("read the client certificate {source}")),
        (Some(Err(failure)), source) => Finding::no(failure.reason(), failure.explain(source)),
        (Some(Ok(())), None) | (None, _) => Finding::unknown(Reason::NotRead, "API Gateway was not asked yet"),
    }
}

pub(super) fn target(
    resource: &ClientCertificateRef,
    plan: &Plan,
    outcomes: &[Outcome],
    number: usize,
    memory: &mut Memory,
    now: Now,
    jitter: f64,
) -> TargetResult {
    let name = format!("the {}", resource.target_ref());
    let (finding, holds) = match (&plan.target, failure_of_target(outcomes)) {
        (TargetVerdict::Desired { .. }, None) => {
            let leftover = failure_of_leftover(outcomes).map(|(leftover, failure)| left_over(leftover, failure));
            let but = leftover.map(|leftover| format!("; {leftover}")).unwrap_or_default();
            let what = if number == 1 { "the certificate".to_owned() } else { format!("{number} certificates") };
            (Finding::yes(Reason::Written, format!("{name} holds {what}{but}")), true)
        }
        (TargetVerdict::Kept, _) => {
            (Finding::yes(Reason::Written, format!("{name} holds the certificate that was read last")), true)
        }
        (TargetVerdict::Desired { .. }, Some(failure)) | (TargetVerdict::Unseen(failure), _) => {
            (Finding::no(failure.reason(), format!("{name}: {failure}")), false)
        }
        (TargetVerdict::Blocked { reason, message }, _) => (Finding::no(*reason, message.clone()), false),
        (TargetVerdict::Held { .. }, _) => (
            Finding::no(
                Reason::Contested,
                format!(
                    "somebody undoes every repair of {name}: find out who else writes it; repairs go on at a slower pace"
                ),
            ),
            false,
        ),
        (TargetVerdict::Nothing, _) => {
            (Finding::unknown(Reason::NoCertificate, format!("there is no certificate to write into {name}")), false)
        }
    };
    let look_again = look_again_at(plan, outcomes, memory, resource.refresh_interval(), now.tick, jitter);
    TargetResult { finding, holds, look_again }
}

/// What keeps an earlier target from going: the new one is there, so it stands in the way of nothing.
pub(super) fn left_over(leftover: &TargetRef, failure: &ClusterFailure) -> String {
    format!("the earlier target, {leftover}, is still there: {failure}")
}

/// True exactly when the target holds an unexpired certificate of the spec's id and nothing but a passing failure keeps
/// it from being read again.
pub(super) fn ready(
    outcome: Option<&ReadOutcome>,
    read: &Finding,
    target: &TargetResult,
    held: Option<&CertificateStatus>,
    source: Option<&Source>,
    now: Timestamp,
) -> Finding {
    let passing = match outcome {
        Some(Ok(())) => true,
        Some(Err(failure)) => failure.is_transient(),
        None => false,
    };
    if !passing {
        return Finding { is: Is::False, ..read.clone() };
    }
    let is_named = |held: &CertificateStatus| source.is_some_and(|source| held.is_of(&source.id, &source.place.region));
    match held.filter(|_| target.holds) {
        Some(held) if is_named(held) && held.expiration_date.is_some_and(|end| end > now) => {
            let target = &target.finding.message;
            Finding::yes(Reason::Mirrored, target.clone())
        }
        Some(held) if is_named(held) => Finding::no(Reason::Expired, ReadFailure::Expired.explain(source)),
        _ if target.finding.is == Is::False => Finding { is: Is::False, ..target.finding.clone() },
        // The target has no certificate yet, or that of an earlier id, and the read has to come first.
        _ if read.is != Is::True => Finding { is: Is::False, ..read.clone() },
        _ => Finding { is: Is::False, ..target.finding.clone() },
    }
}

/// What became of the additional certificates: no word without any, and the first that fails gives the reason. It never
/// changes Ready, and is never final: the main certificate is what the resource is for.
pub(super) fn additional(
    observation: &Observation,
    memory: &Memory,
    status: &ClientCertificateRefStatus,
    now: Timestamp,
) -> Option<Finding> {
    let held = &status.certificates;
    let (mut reason, mut troubles, mut unread) = (None, Vec::new(), Vec::new());
    for (named, (_, inquiry)) in observation.additional.iter().zip(&memory.additional) {
        match inquiry.reading.outcome(&named.source, now) {
            Some(Ok(_)) => {}
            None => unread.push(named.id.as_str()),
            Some(Err(failure)) => {
                let is_held = held.iter().any(|held| held.id == named.id);
                let so = if is_held { "the target holds what was read last" } else { "the target goes without it" };
                reason = reason.or(Some(failure.reason()));
                troubles.push(format!("{}: {}; {so}", named.id, failure.explain(named.source.as_ref().ok())));
            }
        }
    }
    let ids = || observation.additional.iter().map(|named| named.id.as_str()).collect::<Vec<_>>().join(", ");
    Some(match reason {
        _ if observation.additional.is_empty() => return None,
        Some(reason) => Finding::no(reason, troubles.join(". ")),
        None if unread.is_empty() => {
            let but = match status.verifier_class {
                Some(VerifierClass::FirstWins) => {
                    "; what reads a target like this accepts its first certificate alone, so the order has to follow the one that the stage presents"
                }
                Some(VerifierClass::OverlapSafe) | None => "",
            };
            Finding::yes(Reason::Read, format!("read {}{but}", ids()))
        }
        None => Finding::unknown(Reason::NotRead, format!("API Gateway was not asked yet for {}", unread.join(", "))),
    })
}

pub(super) fn stalled(findings: [&Finding; 3]) -> Option<Finding> {
    let last = findings.into_iter().find(|finding| finding.is == Is::False && finding.reason.is_final())?;
    Some(Finding::yes(last.reason, last.message.clone()))
}

pub(super) fn expiring(
    held: Option<&CertificateStatus>,
    outcome: Option<&ReadOutcome>,
    within: Duration,
    now: Timestamp,
) -> Option<Finding> {
    if held.is_none() && outcome == Some(&Err(ReadFailure::Expired)) {
        return Some(Finding::yes(Reason::EndsSoon, "the certificate has ended, and the target goes without it"));
    }
    let end = held?.expiration_date?;
    let limit = end.checked_sub(within).ok()?;
    Some(if limit <= now {
        Finding::yes(
            Reason::EndsSoon,
            format!(
                "the certificate ends at {end}: generate a new one, let the backends trust it, then select it on the stage"
            ),
        )
    } else {
        Finding::no(Reason::EndsLater, format!("the certificate ends at {end}"))
    })
}

pub(super) fn description(
    plan: &Plan,
    outcomes: &[Outcome],
    memory: &Memory,
    resource: &ClientCertificateRef,
) -> Option<Finding> {
    let wanted = resource.spec.description.as_ref()?;
    let attempt = outcomes.iter().find_map(|outcome| match (&outcome.action, &outcome.done) {
        (Action::SetDescription { source, .. }, Done::Described(holds)) => Some((source, Ok(holds))),
        (Action::SetDescription { source, .. }, Done::NotDescribed(error)) => Some((source, Err(error))),
        _ => None,
    });
    let refused =
        |error: &GatewayError, source: &Source| Finding::no(error.reason(), error.explain("apigateway:PATCH", source));
    if let Some((source, result)) = attempt {
        return Some(match result {
            Ok(holds) if holds == wanted => synced(),
            Ok(_) => not_applied(),
            Err(error) => refused(error, source),
        });
    }
    let before = resource.status.as_ref().and_then(|status| find(&status.conditions, ConditionType::DescriptionSynced));
    Some(match plan.description.as_ref()? {
        DescriptionVerdict::Theirs { owner, same_text: true } => Finding::yes(
            Reason::SameAsOwner,
            format!("the older resource {owner} owns the description and asks for the same text"),
        ),
        DescriptionVerdict::Theirs { owner, same_text: false } => Finding::no(
            Reason::OwnedByAnother,
            format!(
                "the older resource {owner} owns the description of this certificate; take spec.description out of one of the two"
            ),
        ),
        DescriptionVerdict::NotAllowed => Finding::no(
            Reason::DescriptionNotAllowed,
            "the operator runs with --manage-descriptions=false and API Gateway holds another description",
        ),
        DescriptionVerdict::HeldBack(HeldBack::Refused(refusal)) => Finding::no(refusal.reason(), refusal.to_string()),
        DescriptionVerdict::HeldBack(HeldBack::AccountUnknown) => Finding::no(
            Reason::Unavailable,
            "the operator's account is not known, so neither is whether another resource owns this description by a role: let the operator reach AWS STS (sts:GetCallerIdentity)",
        ),
        DescriptionVerdict::Unread(failure) => {
            // What was in place a moment ago most likely still is.
            let still = before
                .filter(|_| failure.is_transient())
                .filter(|before| before.status == "True" && before.observed_generation == resource.generation());
            if still.is_some() {
                synced()
            } else {
                Finding::no(failure.reason(), format!("what API Gateway holds is not known: {failure}"))
            }
        }
        DescriptionVerdict::Mine(Verdict::Synced) => synced(),
        DescriptionVerdict::Mine(Verdict::NotApplied) => not_applied(),
        DescriptionVerdict::Mine(Verdict::Contested { .. }) => Finding::no(
            Reason::Contested,
            "somebody else keeps changing the description in API Gateway; take spec.description out here, or stop them; tried again once an hour",
        ),
        DescriptionVerdict::Mine(Verdict::Waiting { failure, .. }) => {
            let source = memory.main.reading.last_good().map(|answer| answer.source.clone());
            match source {
                Some(source) => refused(failure, &source),
                None => Finding::no(failure.reason(), failure.to_string()),
            }
        }
        DescriptionVerdict::Mine(Verdict::Send) => Finding::unknown(Reason::NotRead, "not sent yet"),
    })
}

fn synced() -> Finding {
    Finding::yes(Reason::Synced, "API Gateway holds the description of the spec")
}

fn not_applied() -> Finding {
    Finding::no(
        Reason::NotApplied,
        "API Gateway took the update and holds another text than it was sent; it is sent again when either changes",
    )
}
