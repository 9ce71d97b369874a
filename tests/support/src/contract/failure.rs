//! The ways in which calls go wrong, and the error that each has to become.

use std::time::Duration;

use client_certificate_operator::aws::gateway::{Denial, GatewayError, Outage};

/// A way in which a call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwsFailure {
    /// 400
    BadRequest,
    /// 401
    Unauthorized,
    /// 403 by IAM
    Forbidden,
    /// 403 with a page that is not AWS's
    ForbiddenPage,
    /// 403 with a key that has expired
    ExpiredKey,
    /// 404
    NotFound,
    /// 409
    Conflict,
    /// 400 with the text of a 409
    Conflict400,
    /// 429 with `Retry-After: 7`
    TooManyRequests,
    /// 429 without `Retry-After`
    TooManyRequestsSilent,
    /// 429 with a `Retry-After` that is no number
    TooManyRequestsOdd,
    /// 429, LimitExceededException
    LimitExceeded,
    /// 400 that means throttling
    Throttling400,
    /// 302
    Redirect,
    /// 500
    Internal,
    /// 503 with `Retry-After: 3`
    ServiceUnavailable,
    /// 200 with a page
    NotJson,
    /// 200 with JSON that is no certificate
    OtherJson,
    /// No answer in time
    Stall,
    /// The connection closes
    Drop,
    /// 10 MiB, announced
    Large,
    /// 10 MiB in chunks
    LargeChunked,
}

impl AwsFailure {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::ForbiddenPage,
        Self::ExpiredKey,
        Self::NotFound,
        Self::Conflict,
        Self::Conflict400,
        Self::TooManyRequests,
        Self::TooManyRequestsSilent,
        Self::TooManyRequestsOdd,
        Self::LimitExceeded,
        Self::Throttling400,
        Self::Redirect,
        Self::Internal,
        Self::ServiceUnavailable,
        Self::NotJson,
        Self::OtherJson,
        Self::Stall,
        Self::Drop,
        Self::Large,
        Self::LargeChunked,
    ];

    /// What a gateway has to make of it.
    pub fn error(self) -> GatewayError {
        let throttled =
            |seconds: Option<u64>| GatewayError::Throttled { retry_after: seconds.map(Duration::from_secs) };
        let unavailable = |outage| GatewayError::Unavailable { outage, retry_after: None };
        match self {
            Self::BadRequest => GatewayError::BadRequest { message: "Invalid certificate".into() },
            Self::Unauthorized | Self::Forbidden | Self::ForbiddenPage => {
                GatewayError::AccessDenied(Denial::NotAuthorized)
            }
            Self::ExpiredKey => {
                GatewayError::AccessDenied(Denial::BadCredentials { code: "ExpiredTokenException".into() })
            }
            Self::NotFound => GatewayError::NotFound,
            Self::Conflict | Self::Conflict400 => GatewayError::Conflict,
            Self::TooManyRequests => throttled(Some(7)),
            Self::LimitExceeded => throttled(Some(2)),
            Self::TooManyRequestsSilent | Self::TooManyRequestsOdd | Self::Throttling400 => throttled(None),
            Self::Redirect => unavailable(Outage::Status(302)),
            Self::Internal => unavailable(Outage::Status(500)),
            Self::ServiceUnavailable => {
                let retry_after = Some(Duration::from_secs(3));
                GatewayError::Unavailable { outage: Outage::Status(503), retry_after }
            }
            Self::NotJson | Self::OtherJson => unavailable(Outage::NotUnderstood),
            Self::Stall => unavailable(Outage::TimedOut),
            Self::Drop => unavailable(Outage::Connection),
            Self::Large | Self::LargeChunked => unavailable(Outage::TooLarge),
        }
    }
}
