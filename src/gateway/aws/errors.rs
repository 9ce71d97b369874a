//! From the SDK's errors to [`GatewayError`]: the HTTP status decides, then the name of the error.
//!
//! The SDK's own reading of an error is not used. It gives up on bodies that are not JSON and on odd headers, where
//! the status still says what to do.

use std::borrow::Cow;
use std::error::Error;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_apigateway::error::SdkError;
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use http_body_util::LengthLimitError;
use serde::Deserialize;

use crate::gateway::{Denial, GatewayError, Outage};
use crate::text::stable;

/// What a call is counted under that could not be signed.
pub(super) const NO_CREDENTIALS: &str = "credentials";

/// A failed call.
pub(super) struct Failure {
    /// What the caller gets.
    pub(super) error: GatewayError,
    /// What metrics count it under.
    pub(super) code: Cow<'static, str>,
    /// More for the log, which may differ from call to call. Empty where AWS's words could repeat a session token.
    pub(super) detail: String,
}

impl Failure {
    fn outage(outage: Outage, code: &'static str) -> Self {
        let error = GatewayError::Unavailable { outage, retry_after: None };
        Self { error, code: Cow::Borrowed(code), detail: String::new() }
    }

    /// A successful status with something else than the documented answer.
    pub(super) fn not_understood() -> Self {
        Self::outage(Outage::NotUnderstood, "not-understood")
    }
}

pub(super) fn classify<E: Error + Send + Sync + 'static>(error: SdkError<E, HttpResponse>) -> Failure {
    let failure = match error.raw_response() {
        Some(response) if !response.status().is_success() => return answered(response),
        Some(_) if find::<LengthLimitError>(&error).is_some() => Failure::outage(Outage::TooLarge, "too-large"),
        Some(_) => match error {
            SdkError::ResponseError(_) => Failure::outage(Outage::Connection, "connection"),
            _ => Failure::not_understood(),
        },
        None => unanswered(&error),
    };
    Failure { detail: chain(&error), ..failure }
}

fn unanswered<E: Error + Send + Sync + 'static>(error: &SdkError<E, HttpResponse>) -> Failure {
    if let Some(refused) = find::<SdkError<AssumeRoleError, HttpResponse>>(error) {
        return no_session(refused);
    }
    if find::<CredentialsError>(error).is_some() {
        return Failure::outage(Outage::NoCredentials, NO_CREDENTIALS);
    }
    match error {
        SdkError::TimeoutError(_) => Failure::outage(Outage::TimedOut, "timeout"),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => Failure::outage(Outage::TimedOut, "timeout"),
        SdkError::ConstructionFailure(_) => Failure {
            error: GatewayError::BadRequest { message: "the request could not be built".into() },
            code: Cow::Borrowed("unsent"),
            detail: String::new(),
        },
        _ => Failure::outage(Outage::Connection, "connection"),
    }
}

/// The role could not be assumed, so the call was not made. STS answers alike whether a role does not exist, does not
/// trust the operator, or asks for another external id.
fn no_session(refused: &SdkError<AssumeRoleError, HttpResponse>) -> Failure {
    let Some(response) = refused.raw_response() else {
        let none = find::<CredentialsError>(refused).is_some();
        let outage = if none { Outage::NoCredentials } else { Outage::NoSession };
        return Failure::outage(outage, NO_CREDENTIALS);
    };
    let code = refused.as_service_error().and_then(|error| error.meta().code()).unwrap_or_default();
    let error = match response.status().as_u16() {
        400 | 401 | 403 if is_about_credentials(code) => {
            GatewayError::AccessDenied(Denial::BadCredentials { code: code.to_owned() })
        }
        400..=499 if response.status().as_u16() != 429 && !is_throttling(code) => {
            GatewayError::AccessDenied(Denial::RoleRefused)
        }
        _ => GatewayError::Unavailable { outage: Outage::NoSession, retry_after: None },
    };
    Failure { error, code: Cow::Borrowed(NO_CREDENTIALS), detail: String::new() }
}

/// The first error of a type in the chain of causes.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// An error and its causes in one line.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn answered(response: &HttpResponse) -> Failure {
    let status = response.status().as_u16();
    let body = response.body().bytes().and_then(|bytes| serde_json::from_slice::<Body>(bytes).ok()).unwrap_or_default();
    let name = response.headers().get("x-amzn-errortype").or(body.name.as_deref()).map(bare).unwrap_or_default();
    let retry_after = response.headers().get("retry-after").and_then(whole_seconds);
    let message = body.message.unwrap_or_default();
    let error = from_status(status, name, &message, retry_after);
    let detail = match error {
        // AWS explains a wrong signature by repeating the request, session token and all.
        GatewayError::AccessDenied(Denial::BadCredentials { .. }) => String::new(),
        _ => message.chars().take(1000).collect(),
    };
    Failure { error, code: Cow::Owned(status.to_string()), detail }
}

#[derive(Default, Deserialize)]
struct Body {
    #[serde(rename = "__type", alias = "code")]
    name: Option<String>,
    #[serde(alias = "Message")]
    message: Option<String>,
}

/// `namespace#Name:http://…` is how some of AWS's front ends write `Name`.
fn bare(name: &str) -> &str {
    let name = name.split(':').next().unwrap_or_default();
    name.rsplit('#').next().unwrap_or_default().trim()
}

fn whole_seconds(value: &str) -> Option<Duration> {
    value.trim().parse().ok().map(Duration::from_secs)
}

fn from_status(status: u16, name: &str, message: &str, retry_after: Option<Duration>) -> GatewayError {
    match status {
        429 => GatewayError::Throttled { retry_after },
        400 if is_throttling(name) => GatewayError::Throttled { retry_after },
        400 | 401 | 403 if is_about_credentials(name) => {
            GatewayError::AccessDenied(Denial::BadCredentials { code: name.to_owned() })
        }
        401 | 403 => GatewayError::AccessDenied(Denial::NotAuthorized),
        400 => GatewayError::BadRequest { message: stable(message) },
        404 => GatewayError::NotFound,
        409 => GatewayError::Conflict,
        _ => GatewayError::Unavailable { outage: Outage::Status(status), retry_after },
    }
}

fn is_throttling(name: &str) -> bool {
    matches!(name, "ThrottlingException" | "Throttling" | "TooManyRequestsException" | "LimitExceededException")
}

fn is_about_credentials(name: &str) -> bool {
    matches!(
        name.strip_suffix("Exception").unwrap_or(name),
        "UnrecognizedClient"
            | "ExpiredToken"
            | "InvalidSignature"
            | "SignatureDoesNotMatch"
            | "InvalidClientTokenId"
            | "InvalidToken"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
            | "RequestExpired"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_decides_before_the_name() {
        assert_eq!(from_status(404, "BadRequestException", "", None), GatewayError::NotFound);
        assert_eq!(from_status(409, "", "", None), GatewayError::Conflict);
        assert_eq!(from_status(403, "", "<html>", None), GatewayError::AccessDenied(Denial::NotAuthorized));
        assert_eq!(
            from_status(302, "", "", None),
            GatewayError::Unavailable { outage: Outage::Status(302), retry_after: None }
        );
    }

    #[test]
    fn a_400_that_means_throttling_is_throttling() {
        for name in ["ThrottlingException", "Throttling", "TooManyRequestsException"] {
            assert_eq!(from_status(400, name, "", None), GatewayError::Throttled { retry_after: None }, "{name}");
        }
    }

    #[test]
    fn refused_credentials_are_told_from_a_missing_permission() {
        for status in [400, 401, 403] {
            for name in ["ExpiredTokenException", "InvalidClientTokenId", "MissingAuthenticationTokenException"] {
                assert_eq!(
                    from_status(status, name, "", None),
                    GatewayError::AccessDenied(Denial::BadCredentials { code: name.into() })
                );
            }
        }
    }

    #[test]
    fn only_whole_seconds_count_as_retry_after() {
        assert_eq!(whole_seconds(" 7 "), Some(Duration::from_secs(7)));
        for value in ["", "1.5", "-1", "soon", "Tue, 24 Nov 2026 07:31:57 GMT"] {
            assert_eq!(whole_seconds(value), None, "{value}");
        }
    }

    #[test]
    fn an_error_name_is_freed_of_its_decoration() {
        assert_eq!(bare("com.amazon#ThrottlingException:http://internal/"), "ThrottlingException");
        assert_eq!(bare("NotFoundException"), "NotFoundException");
    }
}
