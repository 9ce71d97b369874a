//! The events of a reconcile: its writes, and its new failures. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::plan::{Action, Cause};
use super::status::{Effect, failure_of_former, kept_former_target};
use crate::api::{CertificateRole, CertificateStatus, ClientCertificateRef, StageStatus};
use crate::conditions::{ConditionType, Is, find, is_true};
use crate::controllers::event::Event;

/// The events of a reconcile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Events about writes. They are recorded even if the status cannot be written.
    pub done: Vec<Event>,
    /// Events about changes of the status. They are recorded after the status is written, because otherwise the next
    /// reconcile would record them again.
    pub changed: Vec<Event>,
}

pub(super) fn of(effects: &[Effect], before: &[Condition], after: &[Condition]) -> Events {
    let mut changed = changed(before, after);
    changed.extend(former_target_failure(effects, before));
    Events { done: effects.iter().filter_map(done).collect(), changed }
}

/// The event about a former target that cannot be removed, unless the status already has this failure.
fn former_target_failure(effects: &[Effect], before: &[Condition]) -> Option<Event> {
    let (former, failure) = failure_of_former(effects)?;
    let note = kept_former_target(former, failure);
    let is_known = find(before, ConditionType::TargetWritten).is_some_and(|was| was.message.contains(&note));
    let reason = failure.reason().to_string();
    (!is_known).then(|| Event::warning(reason, "Write", note))
}

/// The events of certificates other than the main one: a stage may be switched to one now, or one has lost its tags.
pub(super) fn of_certificates(resource: &ClientCertificateRef, after: &[CertificateStatus]) -> Vec<Event> {
    let before = resource.status.as_ref().map(|status| status.certificates.as_slice()).unwrap_or_default();
    let target = resource.target_ref();
    let event = |held: &CertificateStatus| {
        let was = before.iter().find(|was| was.sha256_fingerprint == held.sha256_fingerprint);
        let (id, is_safe) = (&held.id, |held: &CertificateStatus| held.safe_to_switch == Some(true));
        match held.role? {
            CertificateRole::Additional | CertificateRole::Tagged if is_safe(held) && !was.is_some_and(is_safe) => {
                let soak = resource.soak_text();
                let note = format!("{target} has held {id} for {soak}; a stage may be switched to it");
                Some(Event::normal("SafeToSwitch", "Read", note))
            }
            CertificateRole::Former
                if !matches!(was?.role, Some(CertificateRole::Main | CertificateRole::Former))
                    && was?.former_since != held.former_since =>
            {
                let end = held.former_since?.checked_add(resource.overlap()).ok()?;
                let note = format!(
                    "client certificate {id} no longer has the tags of the spec; {target} holds it until {end}"
                );
                Some(Event::normal("TagsLost", "Read", note))
            }
            _ => None,
        }
    };
    after.iter().filter_map(event).collect()
}

/// The event of a stage that presents another certificate than before. A stage without a certificate is a read failure
/// instead.
pub(super) fn of_stage(resource: &ClientCertificateRef, after: Option<&StageStatus>) -> Option<Event> {
    let (before, after) = (resource.stage_status()?, after?);
    let id = after.client_certificate_id.as_ref()?;
    let StageStatus { rest_api_id, stage_name, .. } = after;
    let instead = match &before.client_certificate_id {
        Some(former) if former == id => return None,
        Some(former) => format!(" instead of {former}"),
        None => String::new(),
    };
    let note = format!("stage {stage_name} of REST API {rest_api_id} presents {id}{instead}");
    Some(Event::normal("StageSwitched", "Read", note))
}

/// The event of two installations that reconcile the same resource.
pub(super) fn rival(rival: &str, ours: &str) -> Event {
    let note = format!(
        "installations {rival} and {ours} of the operator manage this resource; set different --namespaces for each, or uninstall one"
    );
    Event::warning("AnotherInstallation".to_owned(), "Reconcile", note)
}

fn done(effect: &Effect) -> Option<Event> {
    if effect.result != Some(Ok(())) {
        return None;
    }
    Some(match &effect.action {
        Action::Create { desired, cause: Cause::Deleted } => {
            Event::normal("TargetRestored", "Create", format!("recreated {}, which had been deleted", desired.target))
        }
        Action::Create { desired, .. } => {
            Event::normal("TargetCreated", "Create", format!("created {}", desired.target))
        }
        Action::Replace { desired, cause, .. } => {
            let target = &desired.target;
            match cause {
                Cause::Changed => Event::normal(
                    "TargetRepaired",
                    "Update",
                    format!("repaired {target}, which another writer had changed"),
                ),
                Cause::Adopted => Event::normal("TargetAdopted", "Update", format!("adopted {target}")),
                Cause::New | Cause::Wanted | Cause::Deleted => {
                    Event::normal("TargetUpdated", "Update", format!("updated {target}"))
                }
                Cause::Upgraded => return None,
            }
        }
        Action::Delete { current } => {
            Event::normal("TargetDeleted", "Delete", format!("deleted the former target {}", current.target))
        }
        Action::Release { current } => Event::normal(
            "TargetReleased",
            "Update",
            format!("removed the operator's label and annotations from the former target {}", current.target),
        ),
    })
}

fn changed(before: &[Condition], after: &[Condition]) -> Vec<Event> {
    use ConditionType::{AdditionalCertificatesRead, CertificateRead, DescriptionSynced, Expiring, TargetWritten};
    let mut events = Vec::new();
    for (type_, action) in [
        (CertificateRead, "Read"),
        (AdditionalCertificatesRead, "Read"),
        (TargetWritten, "Write"),
        (DescriptionSynced, "UpdateDescription"),
    ] {
        let Some(now) = find(after, type_).filter(|condition| condition.status == Is::False.to_string()) else {
            continue;
        };
        let was_so = find(before, type_).is_some_and(|was| was.status == now.status && was.reason == now.reason);
        if !was_so {
            events.push(Event::warning(now.reason.clone(), action, now.message.clone()));
        }
    }
    if is_true(after, Expiring)
        && !is_true(before, Expiring)
        && let Some(condition) = find(after, Expiring)
    {
        events.push(Event::warning("Expiring".to_owned(), "Read", condition.message.clone()));
    }
    events
}
