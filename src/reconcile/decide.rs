//! What to do: a pure function of the resource, what was observed, and the time.

mod answers;

pub(super) use answers::Answers;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::{Action, Cause, DescriptionVerdict, Observation, Plan, TargetVerdict};
use crate::api::ClientCertificateRef;
use crate::conditions::Reason;
use crate::description::{Claim, Verdict};
use crate::memory::Memory;
use crate::settings::{Now, Settings};
use crate::target::{
    Desired, NoPassword, Ownership, Sealing, Target, TargetMeta, is_made_of, obstacle_to_adoption, ownership, render,
    settle_password,
};

/// Decides.
pub fn decide(
    resource: &ClientCertificateRef,
    observation: &Observation,
    memory: &Memory,
    settings: &Settings,
    now: Now,
) -> Plan {
    let mut actions = Vec::new();
    let target = decide_target(resource, observation, memory, now, &mut actions);
    let description = decide_description(resource, observation, memory, settings, now, &mut actions);
    Plan { actions, target, description }
}

fn decide_target(
    resource: &ClientCertificateRef,
    observation: &Observation,
    memory: &Memory,
    now: Now,
    actions: &mut Vec<Action>,
) -> TargetVerdict {
    let current = match &observation.target {
        Ok(current) => current.as_ref(),
        Err(failure) => return TargetVerdict::Unseen(failure.clone()),
    };
    let answers = Answers::to_mirror(resource, observation, memory, now.wall);
    let is_as_told = || current.is_some_and(|target| still_holds(target, resource, observation.owner_exists));
    if answers.wait_for_more(resource) && is_as_told() {
        return TargetVerdict::Kept;
    }
    let sealing = match sealing(resource, observation, memory, current) {
        Ok(sealing) => sealing,
        Err(verdict) => return verdict,
    };
    let Some(desired) = render(resource, &answers.trusted(), &sealing, now.wall) else {
        return if is_as_told() { TargetVerdict::Kept } else { TargetVerdict::Nothing };
    };
    let verdict = TargetVerdict::Desired { digest: digest(&desired), truststore: desired.truststore.clone() };
    let action = match current {
        None => Some(Action::CreateTarget { cause: cause_of_absence(resource), desired }),
        Some(target) if target.meta.is_being_deleted => {
            return TargetVerdict::Blocked {
                reason: Reason::Conflict,
                message: format!("{} is being deleted; it is made anew once it is gone", describe(&desired)),
            };
        }
        Some(target) => match replacement(resource, target, desired, observation.owner_exists, &answers, memory) {
            Ok(action) => action,
            Err((reason, message)) => return TargetVerdict::Blocked { reason, message },
        },
    };
    let is_repair = match &action {
        Some(Action::CreateTarget { cause, .. } | Action::ReplaceTarget { cause, .. }) => cause.is_repair(),
        _ => false,
    };
    if let Some(until) = memory.repairs.held_until(now.tick).filter(|_| is_repair) {
        return TargetVerdict::Held { until };
    }
    actions.extend(action);
    actions.extend(observation.leftovers.iter().cloned().map(|leftover| leave(resource, leftover)));
    verdict
}

/// What a truststore is made with, where one is asked for.
fn sealing<'a>(
    resource: &ClientCertificateRef,
    observation: &Observation,
    memory: &'a Memory,
    current: Option<&Target>,
) -> Result<Sealing<'a>, TargetVerdict> {
    let last = memory.truststore.as_ref();
    let current = current.map(|current| &current.content);
    match settle_password(resource, observation.password.as_ref(), last.map(Arc::as_ref), current) {
        Ok(password) => Ok(Sealing { password, last }),
        Err(NoPassword::Absent(message)) => Err(TargetVerdict::Blocked { reason: Reason::NoPassword, message }),
        Err(NoPassword::Unseen(failure)) => Err(TargetVerdict::Unseen(failure)),
    }
}

/// Whether an object still holds the certificates that the status tells of, and nothing else.
fn still_holds(target: &Target, resource: &ClientCertificateRef, owner_exists: bool) -> bool {
    let recorded = resource.status.as_ref().map(|status| status.certificates.as_slice()).unwrap_or_default();
    let recorded: Option<Vec<&str>> = recorded.iter().map(|held| held.sha256_fingerprint.as_deref()).collect();
    ownership(&target.meta, resource, owner_exists) == Ownership::Ours
        && recorded.is_some_and(|recorded| is_made_of(&target.content, resource, &recorded))
}

fn cause_of_absence(resource: &ClientCertificateRef) -> Cause {
    let written_before = resource.status.as_ref().and_then(|status| status.target.as_ref());
    if written_before == Some(&resource.target_ref()) { Cause::Deleted } else { Cause::New }
}

/// The write that an object needs to become what is desired, none where it is, or what stands in the way.
fn replacement(
    resource: &ClientCertificateRef,
    target: &Target,
    desired: Desired,
    owner_exists: bool,
    answers: &Answers<'_>,
    memory: &Memory,
) -> Result<Option<Action>, (Reason, String)> {
    let name = describe(&desired);
    let cause = match ownership(&target.meta, resource, owner_exists) {
        Ownership::Ours if was_as_written(resource, &desired, answers, memory) => Cause::Changed,
        Ownership::Ours => Cause::Wanted,
        Ownership::Free => Cause::Adopted,
        Ownership::OwnedBy(other) => {
            return Err((
                Reason::OwnedByAnother,
                format!("{name} belongs to the ClientCertificateRef {other}; give target.name another value"),
            ));
        }
        Ownership::Foreign if resource.spec.target.adopt => match obstacle_to_adoption(target, &desired) {
            Some(obstacle) => {
                return Err((
                    Reason::NotAdoptable,
                    format!(
                        "{name} is there already and cannot be adopted: {obstacle}; give target.name another value"
                    ),
                ));
            }
            None => Cause::Adopted,
        },
        Ownership::Foreign => {
            return Err((
                Reason::TargetExists,
                format!(
                    "{name} is there already and is not this resource's; give target.name another value, delete it, or set target.adopt"
                ),
            ));
        }
    };
    let marks = desired.merge(Some(&target.meta));
    let same_content = target.content.type_.as_deref() == desired.type_ && target.content.holds(&desired);
    if same_content && marks.match_meta(&target.meta) {
        return Ok(None);
    }
    if let (Some(type_), Some(needed)) = (&target.content.type_, desired.type_)
        && type_ != needed
    {
        return Err((
            Reason::TypeImmutable,
            format!(
                "{name} has type {type_}, {needed} is needed, and a Secret's type cannot be changed: give target.name a new value"
            ),
        ));
    }
    if target.content.immutable && !same_content {
        return Err((
            Reason::NotAdoptable,
            format!("{name} is immutable and its content has to change: delete it, or give target.name a new value"),
        ));
    }
    let immutable = target.content.immutable;
    Ok(Some(Action::ReplaceTarget { current: target.meta.clone(), desired, marks, immutable, cause }))
}

/// Whether the target was last written with just what is desired, so that a difference is somebody else's doing. After
/// a restart the status has to tell.
fn was_as_written(resource: &ClientCertificateRef, desired: &Desired, answers: &Answers<'_>, memory: &Memory) -> bool {
    if let Some(written) = memory.written {
        return written == digest(desired);
    }
    let Some(status) = &resource.status else { return false };
    let recorded = status.certificates.iter().map(|held| held.sha256_fingerprint.clone());
    status.observed_generation == resource.generation()
        && status.target.as_ref() == Some(&desired.target)
        && recorded.eq(answers.all().map(|(_, answer)| Some(answer.fingerprint())))
}

/// An earlier target goes with Delete, if it is known to be of this resource's own life, and loses its marks otherwise.
fn leave(resource: &ClientCertificateRef, leftover: TargetMeta) -> Action {
    let recorded = resource.status.as_ref().and_then(|status| status.target.as_ref()) == Some(&leftover.target);
    let referenced = leftover.owner_references.iter().any(|reference| reference.uid == resource.uid());
    let delete = resource.spec.target.deletion_policy == crate::api::DeletionPolicy::Delete;
    if delete && (recorded || referenced) {
        Action::DeleteTarget { current: leftover }
    } else {
        Action::ReleaseTarget { current: leftover }
    }
}

fn decide_description(
    resource: &ClientCertificateRef,
    observation: &Observation,
    memory: &Memory,
    settings: &Settings,
    now: Now,
    actions: &mut Vec<Action>,
) -> Option<DescriptionVerdict> {
    let wanted = resource.spec.description.as_ref()?;
    let answer = match memory.main.reading.outcome(&observation.source, now.wall)? {
        Ok(answer) => answer,
        Err(failure) => return Some(DescriptionVerdict::Unread(failure)),
    };
    let verdict = memory.description.verdict(&answer.description, now.tick)?;
    if let Err(why) = &observation.may_describe
        && verdict != Verdict::Synced
    {
        return Some(DescriptionVerdict::HeldBack(why.clone()));
    }
    if let Claim::Theirs { owner, same_text } = &observation.claim {
        return Some(DescriptionVerdict::Theirs { owner: owner.clone(), same_text: *same_text });
    }
    if verdict != Verdict::Synced && !settings.manage_descriptions {
        return Some(DescriptionVerdict::NotAllowed);
    }
    if verdict == Verdict::Send {
        actions.push(Action::SetDescription {
            source: answer.source.clone(),
            from: answer.description.clone(),
            to: wanted.clone(),
            restores: observation.description_undone,
        });
    }
    Some(DescriptionVerdict::Mine(verdict))
}

fn describe(desired: &Desired) -> String {
    format!("the {}", desired.target)
}

fn digest(desired: &Desired) -> u64 {
    let mut hash = DefaultHasher::new();
    (&desired.target, desired.type_, &desired.data, &desired.labels, &desired.annotations).hash(&mut hash);
    desired.owner.as_ref().map(|owner| &owner.uid).hash(&mut hash);
    hash.finish()
}

#[cfg(test)]
mod tests;
