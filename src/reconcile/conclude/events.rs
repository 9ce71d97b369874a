//! What a pass tells in events: what it did, and what went wrong that was not wrong before.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{failure_of_leftover, findings};
use crate::conditions::{ConditionType, Is, find, is_true};
use crate::reconcile::{Action, Cause, Done, Outcome};

/// One event, in a shape that tests can compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Warning, or Normal.
    pub is_warning: bool,
    /// In a word.
    pub reason: String,
    /// What the operator did.
    pub action: &'static str,
    /// In a sentence.
    pub note: String,
}

/// The events of a pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// What was done: told whatever becomes of the status.
    pub done: Vec<Event>,
    /// What changed in the status: told once that is written, or it would be told again.
    pub changed: Vec<Event>,
}

const NOTE_LENGTH: usize = 900; // Kubernetes takes 1024 bytes

pub(super) fn tell(outcomes: &[Outcome], before: &[Condition], after: &[Condition]) -> Events {
    let mut changed = changed(before, after);
    changed.extend(left_over(outcomes, before));
    Events { done: outcomes.iter().filter_map(done).collect(), changed }
}

/// An earlier target that cannot be removed, where the status did not say so yet.
fn left_over(outcomes: &[Outcome], before: &[Condition]) -> Option<Event> {
    let (leftover, failure) = failure_of_leftover(outcomes)?;
    let note = findings::left_over(leftover, failure);
    let is_known = find(before, ConditionType::TargetWritten).is_some_and(|was| was.message.contains(&note));
    let reason = failure.reason().to_string();
    (!is_known).then(|| Event { is_warning: true, reason, action: "Write", note: cut(note) })
}

/// Two installations work on one resource.
pub(super) fn rival(rival: &str, ours: &str) -> Event {
    let note = format!(
        "the installation {rival} of the operator works on this resource as well as {ours}, and each undoes what the other does differently: give each its own namespaces to watch, or uninstall one"
    );
    Event { is_warning: true, reason: "AnotherInstallation".to_owned(), action: "Reconcile", note }
}

fn normal(reason: &str, action: &'static str, note: String) -> Event {
    Event { is_warning: false, reason: reason.to_owned(), action, note }
}

fn done(outcome: &Outcome) -> Option<Event> {
    Some(match (&outcome.action, &outcome.done) {
        (Action::CreateTarget { desired, cause }, Done::Written) => {
            let target = &desired.target;
            match cause {
                Cause::Deleted => {
                    normal("TargetRestored", "Create", format!("made the {target} anew: it had been deleted"))
                }
                Cause::New | Cause::Changed | Cause::Wanted | Cause::Adopted => {
                    normal("TargetCreated", "Create", format!("created the {target}"))
                }
            }
        }
        (Action::ReplaceTarget { desired, cause, .. }, Done::Written) => {
            let target = &desired.target;
            match cause {
                Cause::Changed => {
                    normal("TargetRepaired", "Update", format!("put the {target} back: it had been changed"))
                }
                Cause::Adopted => normal("TargetAdopted", "Update", format!("took over the {target}")),
                Cause::New | Cause::Wanted | Cause::Deleted => {
                    normal("TargetUpdated", "Update", format!("updated the {target}"))
                }
            }
        }
        (Action::DeleteTarget { current }, Done::Written) => {
            normal("TargetDeleted", "Delete", format!("deleted the earlier target, {}", current.target))
        }
        (Action::ReleaseTarget { current }, Done::Written) => {
            normal("TargetReleased", "Update", format!("left the earlier target, {}, to itself", current.target))
        }
        (Action::SetDescription { from, to, restores, .. }, Done::Described(holds)) if holds == to => {
            if *restores {
                let note =
                    format!("put the description back to {to:?}: it had been changed to {from:?} in API Gateway");
                normal("DescriptionRestored", "UpdateDescription", cut(note))
            } else {
                let note = format!("set the description in API Gateway to {to:?}, it was {from:?}");
                normal("DescriptionUpdated", "UpdateDescription", cut(note))
            }
        }
        _ => return None,
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
            events.push(Event { is_warning: true, reason: now.reason.clone(), action, note: cut(now.message.clone()) });
        }
    }
    if is_true(after, Expiring)
        && !is_true(before, Expiring)
        && let Some(condition) = find(after, Expiring)
    {
        let note = cut(condition.message.clone());
        events.push(Event { is_warning: true, reason: "Expiring".to_owned(), action: "Read", note });
    }
    events
}

fn cut(note: String) -> String {
    match note.char_indices().find(|(at, _)| *at >= NOTE_LENGTH) {
        Some((at, _)) => format!("{}…", &note[..at]),
        None => note,
    }
}
