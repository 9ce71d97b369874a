//! Decides the writes of the target, from the resource and the snapshot alone. Pure.

use super::backoff::Hold;
use super::snapshot::Snapshot;
use super::trust::Trust;
use crate::api::{CertificateStatus, ClientCertificateRef, DeletionPolicy, TargetRef};
use crate::conditions::Reason;
use crate::error::ClusterFailure;
use crate::target::{
    Desired, MergedMeta, NoPassword, Ownership, Target, TargetMeta, TruststoreInput, holds_active, is_made_of,
    obstacle_to_adoption, ownership, render, settle_password,
};

/// The writes, and the target after them.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The writes, in order.
    pub actions: Vec<Action>,
    /// The target after the writes.
    pub target: TargetPlan,
}

/// The target after the actions.
#[derive(Clone, Debug, PartialEq)]
pub enum TargetPlan {
    /// The target holds exactly these certificates.
    Holds(Vec<CertificateStatus>),
    /// The target stays unchanged, and holds the certificates in the status.
    Kept,
    /// There is no certificate to write.
    NoCertificate,
    /// A user has to remove an obstacle.
    Blocked { reason: Reason, message: String },
    /// The target has to be written, and the write waits.
    Waits(Hold),
    /// The target could not be read.
    Unread(ClusterFailure),
}

/// One write, as a plain value.
#[allow(clippy::large_enum_variant)] // a reconcile has one or two actions
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Create the target. An existing object of the same name stays unchanged.
    Create {
        /// The object to create.
        desired: Desired,
        /// The cause of the creation.
        cause: Cause,
    },
    /// Replace the target, if it has not changed since it was read.
    Replace {
        /// The object that was read.
        current: TargetMeta,
        /// The new content.
        desired: Desired,
        /// The new metadata.
        meta: MergedMeta,
        /// Whether the object is immutable. A change of its metadata has to repeat this field.
        immutable: bool,
        /// The cause of the replacement.
        cause: Cause,
    },
    /// Delete a former target, if it has not changed since it was read.
    Delete {
        /// The object that was read.
        current: TargetMeta,
    },
    /// Remove the operator's label, annotations and owner reference from a former target.
    Release {
        /// The object that was read.
        current: TargetMeta,
    },
}

impl Action {
    /// The object of the action.
    pub fn target(&self) -> &TargetRef {
        match self {
            Action::Create { desired, .. } => &desired.target,
            Action::Replace { current, .. } | Action::Delete { current } | Action::Release { current } => {
                &current.target
            }
        }
    }

    /// Whether the action writes the target, not a former target.
    pub fn is_of_target(&self) -> bool {
        matches!(self, Action::Create { .. } | Action::Replace { .. })
    }
}

/// The cause of a write of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The target did not exist.
    New,
    /// Another writer deleted the target.
    Deleted,
    /// Another writer changed the target.
    Changed,
    /// The certificates or the spec changed.
    Wanted,
    /// The target had no owner, or its owner was deleted.
    Adopted,
    /// An earlier version of the operator wrote the target, with fewer annotations.
    Upgraded,
}

impl Cause {
    /// Whether the write undoes another writer's change.
    pub fn is_repair(self) -> bool {
        matches!(self, Cause::Deleted | Cause::Changed)
    }
}

pub fn plan(resource: &ClientCertificateRef, snapshot: &Snapshot) -> Plan {
    let mut actions = Vec::new();
    let target = plan_target(resource, snapshot, &mut actions);
    Plan { actions, target }
}

fn plan_target(resource: &ClientCertificateRef, snapshot: &Snapshot, actions: &mut Vec<Action>) -> TargetPlan {
    let current = match &snapshot.target {
        Ok(current) => current.as_ref(),
        Err(failure) => return TargetPlan::Unread(failure.clone()),
    };
    let now = snapshot.now;
    let mut trust = Trust::of(resource, snapshot);
    let kept = || match current.is_some_and(|target| still_holds(target, resource, snapshot.owner_exists)) {
        true => TargetPlan::Kept,
        false => TargetPlan::NoCertificate,
    };
    if current.is_some() && (trust.is_pending || trust.is_unknown) {
        return kept();
    }
    let password = match settle_password(
        resource,
        snapshot.password.as_ref(),
        snapshot.written_password.as_ref(),
        current.map(|current| &current.content),
    ) {
        Ok(password) => password,
        Err(NoPassword::Absent(message)) => return TargetPlan::Blocked { reason: Reason::NoPassword, message },
        Err(NoPassword::Unseen(failure)) => return TargetPlan::Unread(failure),
    };
    // The status has to list the certificates in the target, because a new process has only the status.
    let fits = trust.fit(holds_active(resource), now.wall);
    let Some(desired) = render(resource, &trust.trusted(), &TruststoreInput { password, last: None }, now.wall) else {
        return kept();
    };
    let held = trust.held(holds_active(resource), now.wall);
    if !fits {
        let message = format!(
            "the certificates of {} exceed the limit of 512 KiB for a status; remove additional certificates",
            desired.target
        );
        return TargetPlan::Blocked { reason: Reason::TooLarge, message };
    }
    let action = match current {
        None => Some(Action::Create { cause: cause_of_absence(resource), desired }),
        Some(target) if target.meta.is_being_deleted => {
            return TargetPlan::Blocked {
                reason: Reason::Conflict,
                message: format!("{} is terminating; it will be recreated once deleted", desired.target),
            };
        }
        Some(target) => match replacement(resource, target, desired, &trust, snapshot) {
            Ok(action) => action,
            Err((reason, message)) => return TargetPlan::Blocked { reason, message },
        },
    };
    if let (Some(hold), Some(Action::Create { cause, .. } | Action::Replace { cause, .. })) = (snapshot.hold, &action)
        && (cause.is_repair() || !hold.is_contested)
    {
        return TargetPlan::Waits(hold);
    }
    actions.extend(action);
    actions.extend(snapshot.former_targets.iter().cloned().map(|former_target| leave(resource, former_target)));
    TargetPlan::Holds(held)
}

/// Whether an object still holds the certificates of the status, and no others.
fn still_holds(target: &Target, resource: &ClientCertificateRef, owner_exists: bool) -> bool {
    ownership(&target.meta, resource, owner_exists) == Ownership::Ours && is_made_of_recorded(target, resource)
}

fn is_made_of_recorded(target: &Target, resource: &ClientCertificateRef) -> bool {
    let recorded = resource.status.as_ref().map(|status| status.certificates.as_slice()).unwrap_or_default();
    let recorded: Option<Vec<&str>> = recorded.iter().map(|held| held.sha256_fingerprint.as_deref()).collect();
    let held = resource.status.iter().flat_map(|status| &status.certificates);
    let anchors: Vec<String> = held.flat_map(CertificateStatus::anchors).collect();
    recorded.is_some_and(|recorded| is_made_of(&target.content, resource, &recorded, &anchors))
}

fn cause_of_absence(resource: &ClientCertificateRef) -> Cause {
    let written_before = resource.status.as_ref().and_then(|status| status.target.as_ref());
    if written_before == Some(&resource.target_ref()) { Cause::Deleted } else { Cause::New }
}

/// The write that makes an object equal to the desired one, `None` if they are equal, or the obstacle.
fn replacement(
    resource: &ClientCertificateRef,
    target: &Target,
    desired: Desired,
    trust: &Trust,
    snapshot: &Snapshot,
) -> Result<Option<Action>, (Reason, String)> {
    let name = desired.target.to_string();
    let rename = "change spec.target.name";
    let cause = match ownership(&target.meta, resource, snapshot.owner_exists) {
        Ownership::Ours if target.meta.is_of_earlier_version() && target.content.holds(&desired) => Cause::Upgraded,
        Ownership::Ours if was_as_written(resource, &desired, trust, snapshot) => Cause::Changed,
        Ownership::Ours => Cause::Wanted,
        Ownership::OwnedBy(other) => {
            let message = format!("{name} belongs to ClientCertificateRef {other}; {rename}");
            return Err((Reason::OwnedByAnother, message));
        }
        Ownership::Free => match obstacle_to_adoption(target, &desired) {
            Some(obstacle) => return Err((Reason::NotAdoptable, not_adoptable(&name, &obstacle))),
            None => Cause::Adopted,
        },
        Ownership::Foreign if resource.spec.target.adopt => match obstacle_to_adoption(target, &desired) {
            Some(obstacle) => return Err((Reason::NotAdoptable, not_adoptable(&name, &obstacle))),
            None if is_unmarked(target, resource) => Cause::Changed,
            None => Cause::Adopted,
        },
        Ownership::Foreign if is_unmarked(target, resource) => {
            let message = format!(
                "{name} has lost the operator's label and annotations, so another writer may own it; set spec.target.adopt to true to adopt it, or {rename}"
            );
            return Err((Reason::TargetExists, message));
        }
        Ownership::Foreign => {
            let message = format!(
                "{name} already exists and does not belong to this resource; {rename}, delete the object, or set spec.target.adopt to true"
            );
            return Err((Reason::TargetExists, message));
        }
    };
    let meta = desired.merge(Some(&target.meta));
    let same_content = target.content.type_.as_deref() == desired.type_ && target.content.holds(&desired);
    if same_content && meta.match_meta(&target.meta) {
        return Ok(None);
    }
    if let (Some(type_), Some(needed)) = (&target.content.type_, desired.type_)
        && type_ != needed
    {
        let message = format!(
            "{name} has type {type_} instead of {needed}, and the type of a Secret is immutable; change spec.target.name"
        );
        return Err((Reason::TypeImmutable, message));
    }
    if target.content.immutable && !same_content {
        let message = format!(
            "{name} is immutable and its content is out of date; delete the object, or change spec.target.name"
        );
        return Err((Reason::NotAdoptable, message));
    }
    let immutable = target.content.immutable;
    Ok(Some(Action::Replace { current: target.meta.clone(), desired, meta, immutable, cause }))
}

/// Whether an object is the target in the status, with its content, but without the operator's label and annotations.
fn is_unmarked(target: &Target, resource: &ClientCertificateRef) -> bool {
    let status = resource.status.as_ref();
    status.and_then(|status| status.target.as_ref()) == Some(&target.meta.target)
        && target.meta.owner_name().is_none()
        && is_made_of_recorded(target, resource)
}

fn not_adoptable(name: &str, obstacle: &str) -> String {
    format!("{name} already exists and cannot be adopted: {obstacle}; change spec.target.name")
}

/// Whether the last write of the target, as recorded in the status, had the desired certificates. Then a difference is
/// another writer's change.
fn was_as_written(resource: &ClientCertificateRef, desired: &Desired, trust: &Trust, snapshot: &Snapshot) -> bool {
    let Some(status) = &resource.status else { return false };
    let held = trust.held(holds_active(resource), snapshot.now.wall);
    let in_target = |list: &[CertificateStatus]| -> Vec<_> {
        list.iter().map(|held| (held.sha256_fingerprint.clone(), held.chain.clone())).collect()
    };
    status.observed_generation == resource.generation()
        && status.target.as_ref() == Some(&desired.target)
        && in_target(&status.certificates) == in_target(&held)
}

/// Deletes a former target if the deletion policy is Delete and this resource, not a former one of the same name, wrote
/// it. Releases it otherwise.
fn leave(resource: &ClientCertificateRef, former_target: TargetMeta) -> Action {
    let recorded = resource.status.as_ref().and_then(|status| status.target.as_ref()) == Some(&former_target.target);
    let referenced = former_target.owner_references.iter().any(|reference| reference.uid == resource.uid());
    let delete = resource.spec.target.deletion_policy == DeletionPolicy::Delete;
    if delete && (recorded || referenced) {
        Action::Delete { current: former_target }
    } else {
        Action::Release { current: former_target }
    }
}
