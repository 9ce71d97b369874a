//! The classes of failures of reads, updates, and writes to the cluster, and the message for each failure.

use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;

use crate::api::TargetKind;
use crate::aws::gateway::{Denial, GatewayError, Identity, Outage, Place, RestApi, Source};
use crate::certificate::CertificateError;
use crate::conditions::Reason;
use crate::rules::Refusal;

/// The longest `Retry-After` that the operator obeys.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5 * 60);

/// The consequence of a failure for the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureClass {
    /// An early retry does not help: the next attempt is the next regular refresh.
    Settled,
    /// A permission is missing: the first retry is after 30 s, with exponential backoff.
    Denied,
    /// Another writer changed the same object: the first retry is after 1 s, with exponential backoff.
    Conflict,
    /// Throttled: the retry is after `Retry-After`, at most 5 min; without a `Retry-After`, after 1 s with exponential
    /// backoff.
    Throttled {
        /// The `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// Unavailable: the first retry is after 1 s, with exponential backoff, and not before `Retry-After`.
    Unavailable {
        /// The `Retry-After`.
        retry_after: Option<Duration>,
    },
}

impl FailureClass {
    /// Whether a retry may succeed without any change.
    pub fn is_transient(self) -> bool {
        match self {
            FailureClass::Conflict | FailureClass::Throttled { .. } | FailureClass::Unavailable { .. } => true,
            FailureClass::Settled | FailureClass::Denied => false,
        }
    }

    /// The `Retry-After` of the failure, at most 5 min.
    pub fn retry_after(self) -> Option<Duration> {
        match self {
            FailureClass::Throttled { retry_after } | FailureClass::Unavailable { retry_after } => {
                retry_after.map(|asked| asked.min(RETRY_AFTER_MAX))
            }
            FailureClass::Settled | FailureClass::Denied | FailureClass::Conflict => None,
        }
    }
}

/// The wait before the next read after a good answer: within the last tenth of the interval, so that refreshes spread
/// out.
pub fn refresh_delay(refresh: Duration, jitter: f64) -> Duration {
    refresh.mul_f64(0.9 + 0.1 * jitter)
}

/// The wait for a `Retry-After`. The jitter only adds, so that the wait is never shorter than the `Retry-After`, which
/// counts as at most 5 min.
pub(crate) fn retry_after_asked(retry_after: Duration, jitter: f64) -> Duration {
    retry_after.min(RETRY_AFTER_MAX).mul_f64(1.0 + 0.1 * jitter)
}

impl GatewayError {
    /// Whether the credentials are the cause. Then API Gateway received no valid request.
    pub fn is_of_credentials(&self) -> bool {
        match self {
            GatewayError::AccessDenied(denial) => *denial != Denial::NotAuthorized,
            GatewayError::Unavailable { outage, .. } => outage.is_of_credentials(),
            GatewayError::BadRequest { .. }
            | GatewayError::NotFound
            | GatewayError::Conflict
            | GatewayError::Throttled { .. } => false,
        }
    }

    /// Whether a response came that differs from the API's documentation.
    pub fn is_an_odd_answer(&self) -> bool {
        matches!(self, GatewayError::Unavailable { outage: Outage::NotUnderstood | Outage::TooLarge, .. })
    }

    /// The class of the failure.
    pub fn class(&self) -> FailureClass {
        match self {
            GatewayError::BadRequest { .. } | GatewayError::NotFound => FailureClass::Settled,
            GatewayError::AccessDenied(_) => FailureClass::Denied,
            GatewayError::Conflict => FailureClass::Conflict,
            GatewayError::Throttled { retry_after } => FailureClass::Throttled { retry_after: *retry_after },
            GatewayError::Unavailable { retry_after, .. } => FailureClass::Unavailable { retry_after: *retry_after },
        }
    }

    /// The reason for a condition.
    pub fn reason(&self) -> Reason {
        match self {
            GatewayError::BadRequest { .. } => Reason::BadRequest,
            GatewayError::NotFound => Reason::NotFound,
            GatewayError::AccessDenied(_) => Reason::AccessDenied,
            GatewayError::Conflict => Reason::Conflict,
            GatewayError::Throttled { .. } => Reason::Throttled,
            GatewayError::Unavailable { .. } => Reason::Unavailable,
        }
    }

    /// The message: the failure, and the action for the user. `action` is the IAM action of the call.
    pub fn explain(&self, action: &str, subject: Subject<'_>) -> String {
        let place = subject.place();
        match self {
            GatewayError::AccessDenied(Denial::NotAuthorized) => {
                let whose = match &place.identity {
                    Identity::Role(role) => &role.arn,
                    Identity::Operator => "the operator's role",
                };
                format!("IAM does not allow {action} on {}; add it to the policy of {whose}", subject.arn())
            }
            GatewayError::AccessDenied(Denial::RoleRefused) => match &place.identity {
                Identity::Role(role) => format!(
                    "AWS does not allow the operator to assume {}; check roleArn and externalId, allow {} on the role in the policy of the operator's role, and allow the operator's role in the trust policy of the role",
                    role.arn,
                    if role.tags_session { "sts:AssumeRole and sts:TagSession" } else { "sts:AssumeRole" }
                ),
                Identity::Operator => self.to_string(),
            },
            GatewayError::NotFound => {
                let what = match subject {
                    Subject::Certificate(source) => format!("client certificate {source}"),
                    Subject::Stages(api) => format!("REST API {} in {}", api.id, place.region),
                    Subject::List(_) => return self.to_string(),
                };
                match &place.identity {
                    Identity::Role(_) => {
                        format!("API Gateway has no {what}; check the id, the region and the role's account")
                    }
                    Identity::Operator => {
                        format!("API Gateway has no {what} for the operator's account; check the id and the region")
                    }
                }
            }
            GatewayError::BadRequest { .. }
            | GatewayError::AccessDenied(
                Denial::BadCredentials { .. } | Denial::IdentityRefused { .. } | Denial::CredentialsUnusable { .. },
            )
            | GatewayError::Conflict
            | GatewayError::Throttled { .. }
            | GatewayError::Unavailable { .. } => self.to_string(),
        }
    }
}

impl GatewayError {
    /// The message about a failed call to ACM: the failure, and the action for the user.
    fn explain_acm(&self, source: &Source) -> String {
        match self {
            GatewayError::AccessDenied(Denial::NotAuthorized) => {
                self.explain("acm:DescribeCertificate and acm:GetCertificate", Subject::Certificate(source))
            }
            GatewayError::NotFound => {
                format!("ACM has no certificate {}; check the ARN and the account", source.id)
            }
            GatewayError::AccessDenied(_) | GatewayError::Conflict => {
                self.explain("acm:DescribeCertificate", Subject::Certificate(source))
            }
            GatewayError::BadRequest { .. } | GatewayError::Throttled { .. } | GatewayError::Unavailable { .. } => {
                self.of_call("ACM")
            }
        }
    }
}

/// The subject of a call, for messages and IAM policies.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// A certificate.
    Certificate(&'a Source),
    /// The list of certificates.
    List(&'a Place),
    /// The stages of an API.
    Stages(&'a RestApi),
}

impl Subject<'_> {
    fn place(&self) -> &Place {
        match self {
            Subject::Certificate(source) => &source.place,
            Subject::List(place) => place,
            Subject::Stages(api) => &api.place,
        }
    }

    fn arn(&self) -> String {
        match self {
            Subject::Certificate(source) => source.arn(),
            Subject::List(place) => place.list_arn(),
            Subject::Stages(api) => api.stages_arn(),
        }
    }
}

/// The cause for which a certificate of a resource could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadFailure {
    /// Neither the resource nor the operator names a region.
    #[error("no region: set spec.region, or AWS_REGION for the operator")]
    NoRegion,
    /// The operator's rules do not allow the read.
    #[error(transparent)]
    NotAllowed(#[from] Refusal),
    /// The call failed.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// The response holds no valid certificate.
    #[error("API Gateway returned no valid certificate: {0}")]
    Invalid(#[from] CertificateError),
    /// The certificate has expired.
    #[error("the certificate has expired")]
    Expired,
    /// The certificate is not valid yet.
    #[error(
        "the certificate is not valid before {from}; the operator will use it then; if that time has passed, check the clock of the node"
    )]
    NotYetValid {
        /// The start of the validity.
        from: Timestamp,
    },
    /// The stage does not exist.
    #[error("REST API {api} in {region} has no stage {stage}; check spec.stage and the region")]
    StageNotFound {
        /// The id of the API.
        api: String,
        region: String,
        /// The name of the stage.
        stage: String,
    },
    /// The API does not exist.
    #[error("there is no REST API {api} in {region}; check spec.stage, the region and the account")]
    ApiNotFound {
        /// The id of the API.
        api: String,
        region: String,
    },
    /// The stage has no certificate.
    #[error(
        "stage {stage} of REST API {api} has no client certificate, so backends cannot distinguish its calls from those of other clients; select a client certificate on the stage"
    )]
    StageHasNoCertificate {
        /// The id of the API.
        api: String,
        /// The name of the stage.
        stage: String,
    },
    /// The stage presents an ACM certificate, and the spec does not trust it.
    #[error(
        "stage {stage} of REST API {api} presents the ACM certificate {arn}, and spec.stage.acm is Refuse; set it to Trust, which trusts every certificate of the same CA, or select a client certificate that API Gateway generated on the stage"
    )]
    AcmNotAllowed {
        /// The id of the API.
        api: String,
        /// The name of the stage.
        stage: String,
        /// The ARN.
        arn: String,
    },
    /// ACM has not issued the certificate.
    #[error(
        "ACM has not issued the certificate {arn} (status {status}); complete its validation, or import a certificate"
    )]
    NotIssued {
        /// The ARN.
        arn: String,
        /// Its status in ACM.
        status: &'static str,
    },
    /// ACM has revoked or deactivated the certificate.
    #[error("the ACM certificate {arn} has the status {status}; select another certificate")]
    Revoked {
        /// The ARN.
        arn: String,
        /// Its status in ACM.
        status: &'static str,
    },
}

impl ReadFailure {
    /// The class of the failure.
    pub fn class(&self) -> FailureClass {
        match self {
            ReadFailure::NoRegion
            | ReadFailure::NotAllowed(_)
            | ReadFailure::Invalid(_)
            | ReadFailure::Expired
            | ReadFailure::NotYetValid { .. }
            | ReadFailure::StageNotFound { .. }
            | ReadFailure::ApiNotFound { .. }
            | ReadFailure::StageHasNoCertificate { .. }
            | ReadFailure::AcmNotAllowed { .. }
            | ReadFailure::NotIssued { .. }
            | ReadFailure::Revoked { .. } => FailureClass::Settled,
            ReadFailure::Gateway(error) => error.class(),
        }
    }

    /// The reason for a condition.
    pub fn reason(&self) -> Reason {
        match self {
            ReadFailure::NoRegion => Reason::BadRequest,
            ReadFailure::NotAllowed(refusal) => refusal.reason(),
            // AWS documents a conflict only for updates. For a read, it means the same as a 5xx.
            ReadFailure::Gateway(GatewayError::Conflict) => Reason::Unavailable,
            ReadFailure::Gateway(error) => error.reason(),
            ReadFailure::Invalid(_) => Reason::InvalidCertificate,
            ReadFailure::Expired => Reason::Expired,
            ReadFailure::NotYetValid { .. } => Reason::NotYetValid,
            ReadFailure::StageNotFound { .. } | ReadFailure::ApiNotFound { .. } => Reason::StageNotFound,
            ReadFailure::StageHasNoCertificate { .. } => Reason::StageHasNoCertificate,
            ReadFailure::AcmNotAllowed { .. } => Reason::AcmNotAllowed,
            ReadFailure::NotIssued { .. } => Reason::NotIssued,
            ReadFailure::Revoked { .. } => Reason::Revoked,
        }
    }

    /// Whether a retry may succeed without any change. Then the last good answer still counts.
    pub fn is_transient(&self) -> bool {
        self.class().is_transient()
    }

    /// Whether the certificate was deleted or has expired. Then the operator does not recreate a missing target.
    pub fn ends_trust(&self) -> bool {
        matches!(self, ReadFailure::Gateway(GatewayError::NotFound) | ReadFailure::Expired)
    }

    /// Whether the certificate has expired.
    pub fn has_ended(&self) -> bool {
        *self == ReadFailure::Expired
    }

    /// The message: the failure, and the action for the user.
    pub fn explain(&self, subject: Option<Subject<'_>>) -> String {
        match (self, subject) {
            (ReadFailure::Gateway(error), Some(Subject::Certificate(source))) if source.is_of_acm() => {
                error.explain_acm(source)
            }
            (ReadFailure::Gateway(error), Some(subject)) => error.explain("apigateway:GET", subject),
            (ReadFailure::Expired, Some(Subject::Certificate(source))) => format!(
                "client certificate {source} has expired; generate a new one, set spec.clientCertificateId to it, then select it on the stage"
            ),
            _ => self.to_string(),
        }
    }
}

/// The cause for which a request to the cluster failed, or was not tried.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClusterFailure {
    /// The operator does not write this kind, so it sent no request.
    #[error(
        "the operator does not write objects of kind {kind}; change spec.target.kind, or add {kind} to the operator's --target-kinds and RBAC rules"
    )]
    KindNotAllowed { kind: TargetKind },
    /// An object of the same name exists.
    #[error("an object with this name already exists; retrying with backoff")]
    AlreadyExists,
    /// The object was changed or deleted between the read and the write.
    #[error("the object was modified by another writer at the same time; retrying with backoff")]
    Conflict,
    /// RBAC does not allow the request.
    #[error(
        "RBAC does not allow the operator to {verb} {resource} in this namespace; grant it to the operator's ServiceAccount"
    )]
    Forbidden {
        /// The verb of the request.
        verb: &'static str,
        /// The resource of the request, for example `secrets`.
        resource: &'static str,
    },
    /// The namespace is terminating or deleted.
    #[error("the namespace is terminating")]
    NamespaceTerminating,
    /// The object exceeds a ResourceQuota.
    #[error("the target exceeds a ResourceQuota of the namespace; raise the quota or delete objects")]
    QuotaExceeded,
    /// The object exceeds the size limit.
    #[error("the target exceeds the limit of 1 MiB for an object; remove additional certificates or keys")]
    TooLarge,
    /// An admission policy, a webhook or the API server's validation rejected the write.
    #[error("the API server refused the write: {message}")]
    Refused {
        /// The message of the API server.
        message: String,
    },
    /// The write succeeded, and an admission policy changed the object.
    #[error(
        "an admission policy changes {field} of the object; exempt the object from the policy; retrying with backoff"
    )]
    Mutated {
        /// The field, without its value.
        field: String,
    },
    /// No response came, or a transient one: 429 or 5xx.
    #[error("the API server is unavailable ({cause}); retrying with backoff")]
    Unavailable { cause: String },
}

impl ClusterFailure {
    /// The reason for a condition.
    pub fn reason(&self) -> Reason {
        match self {
            ClusterFailure::KindNotAllowed { .. } => Reason::KindNotAllowed,
            ClusterFailure::AlreadyExists => Reason::TargetExists,
            ClusterFailure::Conflict => Reason::Conflict,
            ClusterFailure::Forbidden { .. } => Reason::Forbidden,
            ClusterFailure::NamespaceTerminating => Reason::NamespaceTerminating,
            ClusterFailure::QuotaExceeded => Reason::QuotaExceeded,
            ClusterFailure::TooLarge => Reason::TooLarge,
            ClusterFailure::Refused { .. } => Reason::Refused,
            ClusterFailure::Mutated { .. } => Reason::Mutated,
            ClusterFailure::Unavailable { .. } => Reason::Unavailable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFRESH: Duration = Duration::from_secs(300);

    #[test]
    fn a_good_answer_is_refreshed_in_the_last_tenth_of_the_interval() {
        assert_eq!(refresh_delay(REFRESH, 0.0), Duration::from_secs(270));
        assert_eq!(refresh_delay(REFRESH, 1.0), REFRESH);
    }

    #[test]
    fn a_retry_after_is_a_lower_bound_of_at_most_five_minutes() {
        let seconds = Duration::from_secs;
        for jitter in [0.0, 0.5, 1.0] {
            let delay = retry_after_asked(seconds(7), jitter);
            assert!(delay >= seconds(7) && delay <= Duration::from_millis(7700), "{delay:?}");
            assert!(retry_after_asked(seconds(3600), jitter) <= seconds(330));
        }
        for (asked, believed) in [(None, None), (Some(20), Some(20)), (Some(3600), Some(300))] {
            let (retry_after, believed) = (asked.map(seconds), believed.map(seconds));
            assert_eq!(FailureClass::Throttled { retry_after }.retry_after(), believed);
            assert_eq!(FailureClass::Unavailable { retry_after }.retry_after(), believed);
        }
    }
}
