//! The conditions of a resource: their types, their reasons, and their changes in a reconcile.

mod explanations;

use std::fmt;

pub use explanations::Explanation;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The greatest length of a message, in characters.
const MAX_MESSAGE: usize = 1024;

/// The type of a condition. The name of the variant is the name in the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionType {
    /// The target holds an unexpired certificate of the spec's main id.
    Ready,
    /// The main certificate was read from API Gateway.
    CertificateRead,
    /// The additional certificates were read. Absent if the spec has none.
    AdditionalCertificatesRead,
    /// The target has the content that the spec requires.
    TargetWritten,
    /// A stage may be switched to any certificate of the target other than the main one. Absent if the target holds no
    /// other.
    SafeToSwitch,
    /// API Gateway has the description of the spec. Absent without `spec.description`.
    DescriptionSynced,
    /// The certificate ends soon.
    Expiring,
    /// A retry does not help. Absent otherwise, so that kstatus does not report a transient failure as final.
    Stalled,
    /// The resource is suspended. Absent otherwise.
    Suspended,
}

/// Makes the reasons, and the list of all reasons, from one list.
macro_rules! reasons {
    ($($reason:ident,)*) => {
        /// The reason of a condition. The name of the variant is the name in the status.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reason {
            $($reason,)*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: [Reason; [$(stringify!($reason),)*].len()] = [$(Reason::$reason,)*];
        }
    };
}

reasons! {
    Mirrored,
    Read,
    NotRead,
    NotFound,
    AccessDenied,
    BadRequest,
    Throttled,
    Unavailable,
    InvalidCertificate,
    Expired,
    RoleNotAllowed,
    RegionNotAllowed,
    CertificateNotAllowed,
    Written,
    NoCertificate,
    TargetExists,
    NotAdoptable,
    OwnedByAnother,
    TypeImmutable,
    KindNotAllowed,
    Forbidden,
    NamespaceTerminating,
    NoPassword,
    QuotaExceeded,
    TooLarge,
    Refused,
    Conflict,
    Contested,
    Synced,
    SameAsOwner,
    DescriptionNotAllowed,
    NotApplied,
    EndsSoon,
    EndsLater,
    Suspended,
    InvalidSpec,
    Mutated,
    NotYetValid,
    Soaked,
    Soaking,
    FirstWins,
    StageHasNoCertificate,
    StageNotFound,
    AcmNotAllowed,
    NotIssued,
    Revoked,
    NotApplicable,
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Reason {
    /// The reason with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Reason::ALL.into_iter().find(|reason| reason.to_string() == name)
    }

    /// Whether the reason is an answer of AWS about a certificate, and not a failure to get one or a decision of the
    /// operator's rules.
    pub fn is_answer_of_aws(self) -> bool {
        matches!(
            self,
            Reason::NotFound
                | Reason::AccessDenied
                | Reason::InvalidCertificate
                | Reason::Expired
                | Reason::NotIssued
                | Reason::Revoked
        )
    }

    /// Whether a retry does not help: a user has to change the spec, AWS or the cluster.
    pub fn is_final(self) -> bool {
        matches!(
            self,
            Reason::BadRequest
                | Reason::InvalidCertificate
                | Reason::Expired
                | Reason::RoleNotAllowed
                | Reason::RegionNotAllowed
                | Reason::CertificateNotAllowed
                | Reason::AcmNotAllowed
                | Reason::Revoked
                | Reason::TargetExists
                | Reason::OwnedByAnother
                | Reason::NotAdoptable
                | Reason::TypeImmutable
                | Reason::KindNotAllowed
                | Reason::InvalidSpec
        )
    }
}

/// The status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Is {
    /// `True`
    True,
    /// `False`
    False,
    /// `Unknown`
    Unknown,
}

impl fmt::Display for Is {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Is {
    fn as_str(self) -> &'static str {
        match self {
            Is::True => "True",
            Is::False => "False",
            Is::Unknown => "Unknown",
        }
    }
}

/// The result of a reconcile for one condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub is: Is,
    pub reason: Reason,
    /// The message: the cause, and the action for the user.
    pub message: String,
}

impl Finding {
    /// The condition is True.
    pub fn yes(reason: Reason, message: impl Into<String>) -> Self {
        Finding { is: Is::True, reason, message: message.into() }
    }

    /// The condition is False.
    pub fn no(reason: Reason, message: impl Into<String>) -> Self {
        Finding { is: Is::False, reason, message: message.into() }
    }

    /// The condition is Unknown.
    pub fn unknown(reason: Reason, message: impl Into<String>) -> Self {
        Finding { is: Is::Unknown, reason, message: message.into() }
    }
}

/// The condition of a type, if `conditions` has one.
pub fn find(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    let name = type_.to_string();
    conditions.iter().find(|condition| condition.type_ == name)
}

/// Whether a condition is present and True.
pub fn is_true(conditions: &[Condition], type_: ConditionType) -> bool {
    find(conditions, type_).is_some_and(|condition| condition.status == Is::True.as_str())
}

/// Whether a condition is present and False.
pub fn is_false(conditions: &[Condition], type_: ConditionType) -> bool {
    find(conditions, type_).is_some_and(|condition| condition.status == Is::False.as_str())
}

/// Sets a condition to a finding. The transition time changes only with the status.
pub fn set(
    conditions: &mut Vec<Condition>,
    type_: ConditionType,
    finding: Finding,
    generation: Option<i64>,
    now: Timestamp,
) {
    let status = finding.is.as_str();
    let since = find(conditions, type_).filter(|old| old.status == status).map(|old| old.last_transition_time.clone());
    let condition = Condition {
        type_: type_.to_string(),
        status: status.to_owned(),
        reason: finding.reason.to_string(),
        message: bounded(finding.message),
        observed_generation: generation,
        last_transition_time: since.unwrap_or(Time(whole_seconds(now))),
    };
    match conditions.iter_mut().find(|old| old.type_ == condition.type_) {
        Some(old) => *old = condition,
        None => conditions.push(condition),
    }
}

/// Cuts a message at its limit, between two characters, so that the API server accepts the status.
fn bounded(mut message: String) -> String {
    if let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE) {
        message.truncate(end);
    }
    message
}

/// Removes a condition.
pub fn clear(conditions: &mut Vec<Condition>, type_: ConditionType) {
    let name = type_.to_string();
    conditions.retain(|condition| condition.type_ != name);
}

/// Cuts a time to whole seconds, as Kubernetes does, so that a time before a write equals the same time after a read.
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_transition_time_changes_only_with_the_status() {
        let mut conditions = Vec::new();
        let (first, later) = (at("2026-11-24T07:16:00.5Z"), at("2026-11-24T08:00:00Z"));
        set(&mut conditions, ConditionType::Ready, Finding::no(Reason::NotFound, "gone"), Some(1), first);
        set(&mut conditions, ConditionType::Ready, Finding::no(Reason::Throttled, "slow"), Some(2), later);
        assert_eq!(conditions.len(), 1);
        assert_eq!(conditions[0].last_transition_time.0, at("2026-11-24T07:16:00Z"));
        assert_eq!((conditions[0].reason.as_str(), conditions[0].observed_generation), ("Throttled", Some(2)));
        set(&mut conditions, ConditionType::Ready, Finding::yes(Reason::Mirrored, "there"), Some(2), later);
        assert_eq!(conditions[0].last_transition_time.0, later);
        clear(&mut conditions, ConditionType::Ready);
        assert_eq!(conditions, []);
    }

    #[test]
    fn a_message_has_at_most_1024_characters() {
        let mut conditions = Vec::new();
        let mut said = |message: &str| {
            let finding = Finding::no(Reason::NotFound, message);
            set(&mut conditions, ConditionType::Ready, finding, Some(1), at("2026-11-24T07:16:00Z"));
            conditions[0].message.clone()
        };
        assert_eq!(said(&"🦀".repeat(1024)), "🦀".repeat(1024));
        assert_eq!(said(&format!("a{}", "🦀".repeat(5000))), format!("a{}", "🦀".repeat(1023)));
    }

    #[test]
    fn a_missing_certificate_is_not_final_because_it_may_be_created_later() {
        assert!(!Reason::NotFound.is_final());
        assert!(Reason::Expired.is_final());
    }
}
