//! Converts the SDK's errors to [`GatewayError`]: by the HTTP status, then by the name of the error.
//!
//! This module does not use the SDK's parsing of errors. That fails for bodies that are not JSON and for invalid
//! headers, although the status is enough to decide.

use std::borrow::Cow;
use std::error::Error;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_apigateway::error::SdkError;
use aws_sdk_sts::error::ProvideErrorMetadata;
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use http_body_util::LengthLimitError;
use serde::Deserialize;

use super::bounded::{EndpointRefusal, Unreached};
use crate::aws::gateway::{Denial, GatewayError, Outage};
use crate::text::stable;

/// The metric label of a call that could not be signed.
pub(super) const NO_CREDENTIALS: &str = "credentials";

pub(super) struct Failure {
    /// The error for the caller.
    pub(super) error: GatewayError,
    /// The metric label.
    pub(super) code: Cow<'static, str>,
    /// Details for the log, which may differ from call to call. Empty if AWS's message could repeat a session token.
    pub(super) detail: String,
}

impl Failure {
    fn outage(outage: Outage, code: &'static str) -> Self {
        let error = GatewayError::Unavailable { outage, retry_after: None };
        Self { error, code: Cow::Borrowed(code), detail: String::new() }
    }

    /// A successful status without the documented response.
    pub(super) fn not_understood() -> Self {
        Self::outage(Outage::NotUnderstood, "not-understood")
    }
}

pub(super) fn classify<E: Error + Send + Sync + 'static>(error: SdkError<E, HttpResponse>) -> Failure {
    let failure = match error.raw_response() {
        Some(response) if !response.status().is_success() => return answered(response),
        Some(_) if find::<LengthLimitError>(&error).is_some() => Failure::outage(Outage::TooLarge, "too-large"),
        // Without its bytes, the body was not read to its end. With its bytes, the body is no response of the API.
        Some(response) if response.body().bytes().is_none() => Failure::outage(Outage::Connection, "connection"),
        Some(_) => Failure::not_understood(),
        None => unanswered(&error),
    };
    Failure { detail: chain(&error), ..failure }
}

fn unanswered<E: Error + Send + Sync + 'static>(error: &SdkError<E, HttpResponse>) -> Failure {
    if let Some(refused) = find::<SdkError<AssumeRoleError, HttpResponse>>(error) {
        return no_session(refused);
    }
    if let Some(error) = find::<CredentialsError>(error) {
        return Failure { error: no_credentials(error), code: Cow::Borrowed(NO_CREDENTIALS), detail: String::new() };
    }
    if let Some(unreached) = find::<Unreached>(error) {
        let code = if unreached.error.is_timeout() { "timeout" } else { "connection" };
        return Failure::outage(outage_of(unreached), code);
    }
    match error {
        SdkError::TimeoutError(_) => Failure::outage(Outage::TimedOut, "timeout"),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => Failure::outage(Outage::TimedOut, "timeout"),
        SdkError::ConstructionFailure(_) => Failure {
            error: GatewayError::BadRequest { message: "the request is invalid".into() },
            code: Cow::Borrowed("unsent"),
            detail: String::new(),
        },
        _ => Failure::outage(Outage::Connection, "connection"),
    }
}

/// AssumeRole failed, so the call was not sent. STS returns the same error if the role does not exist, does not trust
/// the operator, or requires another external id.
fn no_session(refused: &SdkError<AssumeRoleError, HttpResponse>) -> Failure {
    let Some(response) = refused.raw_response() else {
        let error = match (find::<CredentialsError>(refused), find::<Unreached>(refused)) {
            (Some(error), _) => no_credentials(error),
            (None, Some(unreached)) => unavailable(Outage::SessionUnreached(Box::new(outage_of(unreached)))),
            (None, None) => unavailable(Outage::NoSession),
        };
        return Failure { error, code: Cow::Borrowed(NO_CREDENTIALS), detail: String::new() };
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

/// The operator's own credentials could not be loaded. `CredentialsNotLoaded` means that no source of credentials is
/// configured.
pub(super) fn no_credentials(error: &CredentialsError) -> GatewayError {
    match error {
        CredentialsError::CredentialsNotLoaded(_) => return unavailable(Outage::NoCredentials),
        CredentialsError::ProviderTimedOut(_) => {
            return unavailable(Outage::CredentialsUnreached(Box::new(Outage::TimedOut)));
        }
        _ => {}
    }
    let unreached = find::<Unreached>(error).map(|unreached| Box::new(outage_of(unreached)));
    let session = |outage| unavailable(Outage::SessionUnreached(Box::new(outage)));
    if let Some(refused) = find::<SdkError<AssumeRoleWithWebIdentityError, HttpResponse>>(error) {
        let Some(response) = refused.raw_response() else {
            return unavailable(unreached.map_or(Outage::NoSession, Outage::SessionUnreached));
        };
        let refusal = refused.as_service_error();
        let code = refusal.and_then(ProvideErrorMetadata::code).unwrap_or_default();
        let message = refusal.and_then(ProvideErrorMetadata::message).unwrap_or_default();
        let status = response.status().as_u16();
        return match status {
            404 => session(Outage::Status(404)),
            407 => session(Outage::ProxyAuthentication),
            429 => unavailable(Outage::NoSession),
            400..=499 if !is_throttling(code) && !code.is_empty() => {
                GatewayError::AccessDenied(Denial::IdentityRefused { code: code.to_owned(), message: stable(message) })
            }
            400..=499 if !is_throttling(code) => session(Outage::Status(status)),
            _ => unavailable(Outage::NoSession),
        };
    }
    if let Some(refused) = find::<EndpointRefusal>(error) {
        return endpoint_refused(refused);
    }
    match unreached {
        Some(outage) => unavailable(Outage::CredentialsUnreached(outage)),
        None => GatewayError::AccessDenied(Denial::CredentialsUnusable { cause: unusable(error) }),
    }
}

/// The agent of EKS Pod Identity returns plain text: `[request id]: (Code): message, fault: client`, or a sentence
/// alone.
fn endpoint_refused(EndpointRefusal { status, body }: &EndpointRefusal) -> GatewayError {
    let text = body.trim();
    let coded = text.split_once("(").and_then(|(_, rest)| rest.split_once("): "));
    let (code, message) = match coded {
        Some((code, message)) => {
            (code.to_owned(), message.rsplit_once(", fault:").map_or(message, |(message, _)| message))
        }
        None => (format!("HTTP status {status}"), text),
    };
    match status {
        400 | 401 | 403 | 404 if !is_throttling(&code) => {
            GatewayError::AccessDenied(Denial::IdentityRefused { code: stable(&code), message: stable(message) })
        }
        status => unavailable(Outage::CredentialsEndpoint(*status)),
    }
}

fn unavailable(outage: Outage) -> GatewayError {
    GatewayError::Unavailable { outage, retry_after: None }
}

/// The fault of a configured source of credentials. The text names the environment variable instead of the path of a
/// file.
fn unusable(error: &CredentialsError) -> String {
    let cause = innermost(error);
    let variable = ["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]
        .into_iter()
        .find(|variable| std::env::var_os(variable).is_some());
    match variable {
        Some(variable) if find::<std::io::Error>(error).is_some() => {
            format!("the file that {variable} names cannot be read: {cause}")
        }
        Some(variable) if matches!(error, CredentialsError::InvalidConfiguration(_)) => {
            format!("the file that {variable} names holds no token, or one with a line end: {cause}")
        }
        _ => cause,
    }
}

fn outage_of(unreached: &Unreached) -> Outage {
    let host = unreached.host.clone();
    if unreached.error.is_timeout() {
        return Outage::NoAnswer { host };
    }
    let all = chain(&unreached.error);
    let cause = if all.contains("proxy authorization required") {
        "the proxy requires authentication (HTTP status 407); add a user and a password to HTTPS_PROXY".to_owned()
    } else if all.contains("tunnel error: unsuccessful") {
        "the proxy refused the connection".to_owned()
    } else if all.contains("tunnel error: unexpected end of file") {
        "the proxy closed the connection".to_owned()
    } else {
        innermost(&unreached.error)
    };
    Outage::Unreachable { host, cause }
}

/// The innermost cause, without the parts that differ between failures.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let text = innermost.to_string();
    // The operating system's error number repeats the text, and the time of verification differs between failures.
    let text = text.split(" (os error").next().unwrap_or_default();
    let text = text.split(": verification time").next().unwrap_or_default();
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
    if text.starts_with("invalid peer certificate") {
        return format!(
            "{text}; where a proxy or a private CA issued it, add the CA to the file that SSL_CERT_FILE names"
        );
    }
    text
}

/// The first error of type `T` in the chain of causes.
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
        // AWS's message about a wrong signature repeats the request with its session token.
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

/// The bare name of an error: some of AWS's front ends send `namespace#Name:http://…` instead of `Name`.
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
        // ACM returns 400 for every error of the caller. Only the name distinguishes these errors.
        400 if name == "AccessDeniedException" => GatewayError::AccessDenied(Denial::NotAuthorized),
        400 if name == "ResourceNotFoundException" => GatewayError::NotFound,
        // API Gateway returned this message with 400 before it used 409.
        400 if message.contains("concurrent modification") => GatewayError::Conflict,
        400 => GatewayError::BadRequest { message: stable(message) },
        // Any other 404 comes from a proxy or another service. It does not mean that the certificate is missing.
        404 if name == "NotFoundException" => GatewayError::NotFound,
        407 => unavailable(Outage::ProxyAuthentication),
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
    fn the_status_takes_precedence_over_the_name() {
        assert_eq!(from_status(404, "NotFoundException", "", None), GatewayError::NotFound);
        for name in ["", "BadRequestException", "NoSuchEntity"] {
            assert_eq!(from_status(404, name, "", None), unavailable(Outage::Status(404)), "{name}");
        }
        assert_eq!(from_status(407, "", "", None), unavailable(Outage::ProxyAuthentication));
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
    fn a_400_that_means_a_conflict_is_a_conflict() {
        let message = "Unable to complete operation due to concurrent modification. Please try again later.";
        assert_eq!(from_status(400, "BadRequestException", message, None), GatewayError::Conflict);
        assert!(matches!(from_status(400, "BadRequestException", "", None), GatewayError::BadRequest { .. }));
    }

    #[test]
    fn refused_credentials_differ_from_a_missing_permission() {
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
    fn acm_has_an_error_name_at_400_for_each_status_of_api_gateway() {
        let of = |name| from_status(400, name, "Invalid ARN", Some(Duration::from_secs(1)));
        assert_eq!(of("ResourceNotFoundException"), GatewayError::NotFound);
        assert_eq!(of("AccessDeniedException"), GatewayError::AccessDenied(Denial::NotAuthorized));
        assert_eq!(of("ThrottlingException"), GatewayError::Throttled { retry_after: Some(Duration::from_secs(1)) });
        for name in ["InvalidArnException", "ValidationException"] {
            assert_eq!(of(name), GatewayError::BadRequest { message: "Invalid ARN".into() }, "{name}");
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
    fn the_decoration_of_an_error_name_is_removed() {
        assert_eq!(bare("com.amazon#ThrottlingException:http://internal/"), "ThrottlingException");
        assert_eq!(bare("NotFoundException"), "NotFoundException");
    }
}
