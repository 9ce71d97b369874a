//! The plain values that pass from step to step: what was found, what to do, what became of it.

use std::sync::Arc;

use crate::api::TargetRef;
use crate::conditions::Reason;
use crate::description::{Claim, Verdict};
use crate::error::{ClusterFailure, ReadFailure};
use crate::gateway::{GatewayError, Source};
use crate::reading::Additional;
use crate::rules::Refusal;
use crate::settings::Tick;
use crate::target::{Desired, Marks, NoPassword, Password, Target, TargetMeta, Truststore};

/// What was found: the input of [`super::decide`]. A failure to look is data here.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The main certificate that the resource names.
    pub source: Result<Source, ReadFailure>,
    /// The additional ones.
    pub additional: Vec<Additional>,
    /// The target as it is.
    pub target: Result<Option<Target>, ClusterFailure>,
    /// Whether the resource that the target's annotation names is there.
    pub owner_exists: bool,
    /// Other objects that say they belong to this resource.
    pub leftovers: Vec<TargetMeta>,
    /// Whether the description may be this resource's.
    pub may_describe: Result<(), HeldBack>,
    /// Whose the description is.
    pub claim: Claim,
    /// Whether the read of this pass found our description undone.
    pub description_undone: bool,
    /// What a truststore may be made with: the password of the spec, or a new one. None where there is no truststore.
    pub password: Option<Result<Password, NoPassword>>,
}

/// Why a resource may not own the description of its certificate, whoever else asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeldBack {
    /// The rules do not allow it.
    Refused(Refusal),
    /// It is not known whether another resource means the same certificate, by a role of the operator's own account.
    AccountUnknown,
}

/// One effect on the outside, as a plain value.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant)] // a pass has one or two of them
pub enum Action {
    /// Create the target; somebody else's comes first.
    CreateTarget {
        /// What to create.
        desired: Desired,
        /// Whether it was there before.
        cause: Cause,
    },
    /// Replace the target, if it is still the one that was looked at.
    ReplaceTarget {
        /// The object that was looked at.
        current: TargetMeta,
        /// Its content from now on.
        desired: Desired,
        /// Its metadata from now on.
        marks: Marks,
        /// Whether it is immutable, which a change of its metadata has to repeat.
        immutable: bool,
        /// Why.
        cause: Cause,
    },
    /// Delete an earlier target, if it is still the one that was looked at. Only once the target itself is right.
    DeleteTarget {
        /// The object that was looked at.
        current: TargetMeta,
    },
    /// Take our marks off an earlier target, if it is still the one that was looked at. Only once the target itself is right.
    ReleaseTarget {
        /// The object that was looked at.
        current: TargetMeta,
    },
    /// Write the description in API Gateway.
    SetDescription {
        /// Which certificate.
        source: Source,
        /// What API Gateway holds.
        from: String,
        /// What it should hold.
        to: String,
        /// Whether somebody had undone ours.
        restores: bool,
    },
}

impl Action {
    /// The object that it writes; none where it writes to API Gateway.
    pub fn target(&self) -> Option<&TargetRef> {
        match self {
            Action::CreateTarget { desired, .. } => Some(&desired.target),
            Action::ReplaceTarget { current, .. }
            | Action::DeleteTarget { current }
            | Action::ReleaseTarget { current } => Some(&current.target),
            Action::SetDescription { .. } => None,
        }
    }
}

/// Why a target is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It was never there.
    New,
    /// It was there, and somebody deleted it.
    Deleted,
    /// Somebody changed it.
    Changed,
    /// Something else is wanted now.
    Wanted,
    /// It was somebody else's, or nobody's any more.
    Adopted,
}

impl Cause {
    /// Whether the write undoes what somebody did.
    pub fn is_repair(self) -> bool {
        matches!(self, Cause::Deleted | Cause::Changed)
    }
}

/// What to do, and what to say where nothing can be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The effects, in order.
    pub actions: Vec<Action>,
    /// How the target stands.
    pub target: TargetVerdict,
    /// How the description stands; `None` without one in the spec.
    pub description: Option<DescriptionVerdict>,
}

/// How the target stands.
#[derive(Clone, Debug, PartialEq)]
pub enum TargetVerdict {
    /// As it should be, once the actions are done.
    Desired {
        /// What should be there.
        digest: u64,
        /// The truststore in it.
        truststore: Option<Arc<Truststore>>,
    },
    /// Something is in the way that only somebody else can remove.
    Blocked {
        /// In a word.
        reason: Reason,
        /// In a sentence.
        message: String,
    },
    /// Somebody undoes every repair; the next one waits.
    Held {
        /// The next repair.
        until: Tick,
    },
    /// There is no certificate to write, and the target still holds the one that the status tells of.
    Kept,
    /// There is no certificate to write, and the target does not hold one that we know.
    Nothing,
    /// It could not be looked at.
    Unseen(ClusterFailure),
}

/// How the description stands.
#[derive(Clone, Debug, PartialEq)]
pub enum DescriptionVerdict {
    /// It is this resource's to write.
    Mine(Verdict),
    /// It is an older resource's.
    Theirs {
        /// `namespace/name` of it.
        owner: String,
        /// Whether it asks for the same text.
        same_text: bool,
    },
    /// The operator may not write descriptions, and API Gateway holds another one.
    NotAllowed,
    /// This resource may not, and API Gateway holds another one.
    HeldBack(HeldBack),
    /// What API Gateway holds is not known.
    Unread(ReadFailure),
}

/// An action and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The action.
    pub action: Action,
    /// What became of it.
    pub done: Done,
}

/// What became of an action.
#[derive(Clone, Debug, PartialEq)]
pub enum Done {
    /// The cluster took the write.
    Written,
    /// The cluster refused the write.
    NotWritten(ClusterFailure),
    /// API Gateway took the update, and holds this description.
    Described(String),
    /// API Gateway refused the update.
    NotDescribed(GatewayError),
    /// Too many updates are under way; it is tried again at this time.
    Later(Tick),
    /// Not tried, because the target is not right yet.
    Skipped,
}
