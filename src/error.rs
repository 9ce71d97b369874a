//! Classes of failure, and how long each means to wait. One table for reads, PATCHes and writes to the cluster.

use std::time::Duration;

use thiserror::Error;

use crate::certificate::CertificateError;
use crate::conditions::Reason;
use crate::gateway::{Denial, GatewayError, Source};

/// The longest that a `Retry-After` is believed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5 * 60);

/// What a failure means for the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureClass {
    /// Asking again soon does not help: the next regular refresh is early enough.
    Settled,
    /// Somebody has to grant a right: 30 s doubling to 10 min.
    Denied,
    /// Somebody else changed the same thing: 1 s doubling to 60 s.
    Conflict,
    /// Asked to wait: as long as asked, 5 min at most; 1 s doubling to 60 s where no time was named.
    Throttled {
        /// The time named.
        retry_after: Option<Duration>,
    },
    /// Out of order for the moment: 1 s doubling to 60 s, and no sooner than asked.
    Unavailable {
        /// The time named.
        retry_after: Option<Duration>,
    },
}

impl FailureClass {
    /// How long to wait after the `count`-th failure in a row (from 1), never longer than `refresh` unless a
    /// `Retry-After` says so. `jitter` is a random number from 0 to 1: it spreads what failed together.
    pub fn delay(self, count: u32, refresh: Duration, jitter: f64) -> Duration {
        let seconds = Duration::from_secs;
        let backoff = match self {
            FailureClass::Settled => return refresh_delay(refresh, jitter),
            FailureClass::Denied => doubling(seconds(30), count, seconds(600)),
            FailureClass::Conflict | FailureClass::Throttled { .. } | FailureClass::Unavailable { .. } => {
                doubling(seconds(1), count, seconds(60))
            }
        };
        let spread = backoff.mul_f64(0.9 + 0.2 * jitter).min(refresh);
        // Never sooner than asked: the jitter of a Retry-After only adds.
        let asked = |retry_after: Duration| retry_after.min(RETRY_AFTER_MAX).mul_f64(1.0 + 0.1 * jitter);
        match self {
            FailureClass::Throttled { retry_after: Some(time) } if !time.is_zero() => asked(time),
            FailureClass::Unavailable { retry_after: Some(time) } => spread.max(asked(time)),
            _ => spread,
        }
    }

    fn is_same_kind(self, other: FailureClass) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

/// When a good answer is to be read again: within the last tenth of the interval, so that many do not meet.
pub fn refresh_delay(refresh: Duration, jitter: f64) -> Duration {
    refresh.mul_f64(0.9 + 0.1 * jitter)
}

fn doubling(first: Duration, count: u32, most: Duration) -> Duration {
    first.saturating_mul(1_u32.checked_shl(count.saturating_sub(1)).unwrap_or(u32::MAX).max(1)).min(most)
}

/// Failures in a row of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streak {
    last: Option<FailureClass>,
    count: u32,
}

impl Streak {
    /// Counts one more failure and tells how long to wait.
    pub fn fail(&mut self, class: FailureClass, refresh: Duration, jitter: f64) -> Duration {
        self.count =
            if self.last.is_some_and(|last| last.is_same_kind(class)) { self.count.saturating_add(1) } else { 1 };
        self.last = Some(class);
        class.delay(self.count, refresh, jitter)
    }

    /// Forgets the failures: a success, or somebody changed something.
    pub fn reset(&mut self) {
        *self = Streak::default();
    }
}

impl GatewayError {
    /// What the failure means for the next attempt.
    pub fn class(&self) -> FailureClass {
        match self {
            GatewayError::BadRequest { .. } | GatewayError::NotFound => FailureClass::Settled,
            GatewayError::AccessDenied(_) => FailureClass::Denied,
            GatewayError::Conflict => FailureClass::Conflict,
            GatewayError::Throttled { retry_after } => FailureClass::Throttled { retry_after: *retry_after },
            GatewayError::Unavailable { retry_after, .. } => FailureClass::Unavailable { retry_after: *retry_after },
        }
    }

    /// The reason that a condition gives.
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

    /// The failure in a sentence that says what to do: `action` is the IAM action of the call.
    pub fn explain(&self, action: &str, source: &Source) -> String {
        match self {
            GatewayError::AccessDenied(Denial::NotAuthorized) => {
                format!("IAM does not allow {action} on {}; add it to the policy of the operator's role", source.arn())
            }
            GatewayError::NotFound => format!(
                "API Gateway has no client certificate {source} for the operator's account; check the id and the region"
            ),
            GatewayError::BadRequest { .. }
            | GatewayError::AccessDenied(Denial::BadCredentials { .. })
            | GatewayError::Conflict
            | GatewayError::Throttled { .. }
            | GatewayError::Unavailable { .. } => self.to_string(),
        }
    }
}

/// Why the certificate that a resource names could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadFailure {
    /// Neither the resource nor the operator names a region.
    #[error("no region: set spec.region, or AWS_REGION for the operator")]
    NoRegion,
    /// The call failed.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// The answer holds no certificate.
    #[error("API Gateway's answer cannot be used: {0}")]
    Invalid(#[from] CertificateError),
    /// The certificate is past its end.
    #[error("the certificate has expired")]
    Expired,
}

impl ReadFailure {
    /// What the failure means for the next attempt.
    pub fn class(&self) -> FailureClass {
        match self {
            ReadFailure::NoRegion | ReadFailure::Invalid(_) | ReadFailure::Expired => FailureClass::Settled,
            ReadFailure::Gateway(error) => error.class(),
        }
    }

    /// The reason that a condition gives.
    pub fn reason(&self) -> Reason {
        match self {
            ReadFailure::NoRegion => Reason::BadRequest,
            // Documented for updates alone: of a read it says no more than a 5xx would.
            ReadFailure::Gateway(GatewayError::Conflict) => Reason::Unavailable,
            ReadFailure::Gateway(error) => error.reason(),
            ReadFailure::Invalid(_) => Reason::InvalidCertificate,
            ReadFailure::Expired => Reason::Expired,
        }
    }

    /// Whether it passes by itself, so that what was known before still counts.
    pub fn is_transient(&self) -> bool {
        match self {
            ReadFailure::Gateway(
                GatewayError::Throttled { .. } | GatewayError::Unavailable { .. } | GatewayError::Conflict,
            ) => true,
            ReadFailure::Gateway(
                GatewayError::BadRequest { .. } | GatewayError::NotFound | GatewayError::AccessDenied(_),
            )
            | ReadFailure::NoRegion
            | ReadFailure::Invalid(_)
            | ReadFailure::Expired => false,
        }
    }

    /// Whether the certificate is known to be gone or over: nothing that is missing is put back then.
    pub fn ends_trust(&self) -> bool {
        matches!(self, ReadFailure::Gateway(GatewayError::NotFound) | ReadFailure::Expired)
    }

    /// The failure in a sentence that says what to do.
    pub fn explain(&self, source: Option<&Source>) -> String {
        match (self, source) {
            (ReadFailure::Gateway(error), Some(source)) => error.explain("apigateway:GET", source),
            (ReadFailure::Expired, Some(source)) => format!(
                "the client certificate {source} has expired; generate a new one, name it in clientCertificateId, then select it on the stage"
            ),
            _ => self.to_string(),
        }
    }
}

/// Why a write to the cluster failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClusterFailure {
    /// An object of this name is there already.
    #[error("an object of this name is there already")]
    AlreadyExists,
    /// It changed, or went, between the look and the write.
    #[error("the object changed at the same time")]
    Conflict,
    /// RBAC does not allow it.
    #[error("the operator may not {verb} {resource} in this namespace; give its ServiceAccount that right")]
    Forbidden {
        /// The verb of the request.
        verb: &'static str,
        /// The resource of the request, for example `secrets`.
        resource: &'static str,
    },
    /// The namespace is being deleted, or gone.
    #[error("the namespace is being deleted")]
    NamespaceTerminating,
    /// A ResourceQuota has no room left.
    #[error("a ResourceQuota of the namespace leaves no room for the target; raise it or delete something")]
    QuotaExceeded,
    /// More than an object may hold.
    #[error("the target would be larger than the 1 MiB that an object may hold")]
    TooLarge,
    /// An admission policy, a webhook or the API server's validation said no.
    #[error("the API server refused the write: {message}")]
    Refused {
        /// What it said.
        message: String,
    },
    /// No answer, or one that passes: 429, 5xx.
    #[error("the API server gave no usable answer ({cause})")]
    Unavailable {
        /// In a word.
        cause: String,
    },
}

impl ClusterFailure {
    /// What the failure means for the next attempt. Waits for somebody to act are bounded by a minute: no AWS call is
    /// spent on them.
    pub fn class(&self) -> FailureClass {
        match self {
            ClusterFailure::AlreadyExists
            | ClusterFailure::Conflict
            | ClusterFailure::Forbidden { .. }
            | ClusterFailure::NamespaceTerminating
            | ClusterFailure::QuotaExceeded
            | ClusterFailure::TooLarge
            | ClusterFailure::Refused { .. } => FailureClass::Conflict,
            ClusterFailure::Unavailable { .. } => FailureClass::Unavailable { retry_after: None },
        }
    }

    /// The reason that a condition gives.
    pub fn reason(&self) -> Reason {
        match self {
            ClusterFailure::AlreadyExists => Reason::TargetExists,
            ClusterFailure::Conflict => Reason::Conflict,
            ClusterFailure::Forbidden { .. } => Reason::Forbidden,
            ClusterFailure::NamespaceTerminating => Reason::NamespaceTerminating,
            ClusterFailure::QuotaExceeded => Reason::QuotaExceeded,
            ClusterFailure::TooLarge => Reason::TooLarge,
            ClusterFailure::Refused { .. } => Reason::Refused,
            ClusterFailure::Unavailable { .. } => Reason::Unavailable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFRESH: Duration = Duration::from_secs(300);

    fn seconds(class: FailureClass, count: u32) -> f64 {
        class.delay(count, REFRESH, 0.5).as_secs_f64()
    }

    #[test]
    fn each_class_waits_as_the_table_says() {
        let unavailable = FailureClass::Unavailable { retry_after: None };
        assert_eq!([1, 2, 3, 6, 7, 40].map(|n| seconds(unavailable, n).round()), [1.0, 2.0, 4.0, 32.0, 60.0, 60.0]);
        assert_eq!([1, 2, 4].map(|n| seconds(FailureClass::Denied, n).round()), [30.0, 60.0, 240.0]);
        assert_eq!([1, 2].map(|n| seconds(FailureClass::Conflict, n).round()), [1.0, 2.0]);
        let refused = FailureClass::Denied.delay(40, Duration::from_secs(86_400), 0.5);
        assert_eq!(refused, Duration::from_secs(600));
    }

    #[test]
    fn no_wait_is_longer_than_the_refresh_interval_and_jitter_is_a_tenth() {
        for count in 1..80 {
            for jitter in [0.0, 1.0] {
                assert!(FailureClass::Denied.delay(count, Duration::from_secs(30), jitter) <= Duration::from_secs(30));
            }
        }
        assert_eq!(FailureClass::Conflict.delay(1, REFRESH, 0.0), Duration::from_millis(900));
        assert_eq!(FailureClass::Conflict.delay(1, REFRESH, 1.0), Duration::from_millis(1100));
        assert_eq!(refresh_delay(REFRESH, 0.0), Duration::from_secs(270));
        assert_eq!(refresh_delay(REFRESH, 1.0), REFRESH);
    }

    #[test]
    fn a_retry_after_is_never_undercut_and_believed_up_to_five_minutes() {
        let throttled = |seconds| FailureClass::Throttled { retry_after: Some(Duration::from_secs(seconds)) };
        for jitter in [0.0, 0.5, 1.0] {
            let delay = throttled(7).delay(5, REFRESH, jitter);
            assert!(delay >= Duration::from_secs(7) && delay <= Duration::from_millis(7700), "{delay:?}");
            assert!(throttled(3600).delay(1, REFRESH, jitter) <= Duration::from_secs(330));
        }
        assert_eq!(seconds(FailureClass::Throttled { retry_after: None }, 1), 1.0);
        assert_eq!(seconds(throttled(0), 1), 1.0);
        let unavailable = FailureClass::Unavailable { retry_after: Some(Duration::from_secs(20)) };
        assert!(seconds(unavailable, 1) >= 20.0);
    }

    #[test]
    fn a_streak_counts_only_failures_of_one_class() {
        let mut streak = Streak::default();
        let unavailable = FailureClass::Unavailable { retry_after: None };
        assert_eq!(streak.fail(unavailable, REFRESH, 0.5).as_secs(), 1);
        assert_eq!(streak.fail(unavailable, REFRESH, 0.5).as_secs(), 2);
        assert_eq!(streak.fail(FailureClass::Denied, REFRESH, 0.5).as_secs(), 30);
        assert_eq!(streak.fail(unavailable, REFRESH, 0.5).as_secs(), 1);
    }
}
