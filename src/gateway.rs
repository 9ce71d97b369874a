//! The seam to API Gateway, in the project's own words: what is asked, what comes back, how it can fail.
//!
//! [`aws`] is the implementation that people run. The tests bring an in-memory one; both pass the same contract suite.

pub mod aws;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;

/// Which client certificate is meant: API Gateway's ids are unique in an account and region.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source {
    /// AWS region, for example `us-east-1`.
    pub region: String,
    /// API Gateway's identifier of the client certificate, for example `9ao60f`.
    pub id: String,
}

impl Source {
    /// The ARN that IAM policies name; the account field of a client certificate's ARN is empty.
    pub fn arn(&self) -> String {
        format!("arn:{}:apigateway:{}::/clientcertificates/{}", partition(&self.region), self.region, self.id)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.id, self.region)
    }
}

/// The AWS partition a region belongs to, by the prefixes that AWS documents.
fn partition(region: &str) -> &'static str {
    match region {
        r if r.starts_with("cn-") => "aws-cn",
        r if r.starts_with("us-gov-") => "aws-us-gov",
        r if r.starts_with("us-iso-") => "aws-iso",
        r if r.starts_with("us-isob-") => "aws-iso-b",
        r if r.starts_with("eu-isoe-") => "aws-iso-e",
        r if r.starts_with("us-isof-") => "aws-iso-f",
        r if r.starts_with("eusc-") => "aws-eusc",
        _ => "aws",
    }
}

/// One client certificate as API Gateway describes it: the six response elements of the API, unchecked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// `clientCertificateId`
    pub id: String,
    /// `description`; API Gateway leaves an empty one out, which reads as `""` here.
    pub description: String,
    /// `createdDate`
    pub created: Option<Timestamp>,
    /// `expirationDate`
    pub expires: Option<Timestamp>,
    /// `pemEncodedCertificate`, exactly as it came: CRLF line ends, no final newline.
    pub pem: String,
    /// `tags`
    pub tags: BTreeMap<String, String>,
}

/// The calls that the operator makes to API Gateway.
pub trait Gateway: Send + Sync + 'static {
    /// GetClientCertificate.
    fn get_client_certificate(
        &self,
        source: &Source,
    ) -> impl Future<Output = Result<ClientCertificate, GatewayError>> + Send;

    /// UpdateClientCertificate with the one operation `replace /description`. Answers what API Gateway then holds,
    /// which the caller compares with what it sent.
    fn set_description(
        &self,
        source: &Source,
        description: &str,
    ) -> impl Future<Output = Result<ClientCertificate, GatewayError>> + Send;
}

/// How a call to API Gateway can fail, by what the caller can do about it.
///
/// The texts end up in the status of resources, so they hold nothing that differs from one failure to the next of its
/// kind: no request ids, no times.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GatewayError {
    /// 400: the request itself is wrong; sending it again does not help.
    #[error("API Gateway refused the request as invalid: {message}")]
    BadRequest {
        /// What API Gateway says is wrong, stripped of everything that changes from request to request.
        message: String,
    },
    /// 404: there is no such certificate in this account and region.
    #[error("API Gateway knows no such client certificate")]
    NotFound,
    /// 401 or 403.
    #[error(transparent)]
    AccessDenied(Denial),
    /// 409: somebody else changed the certificate at the same time.
    #[error("API Gateway reports a conflicting change")]
    Conflict,
    /// 429, whether TooManyRequestsException or LimitExceededException.
    #[error("API Gateway throttles the account's requests")]
    Throttled {
        /// The `Retry-After` header, where it held a number of seconds.
        retry_after: Option<Duration>,
    },
    /// No usable answer.
    #[error("no usable answer from API Gateway: {outage}")]
    Unavailable {
        /// What went wrong.
        outage: Outage,
        /// The `Retry-After` header, which a 503 can carry too.
        retry_after: Option<Duration>,
    },
}

/// Why a call was denied.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Denial {
    /// IAM does not allow the call.
    #[error("IAM does not allow the call")]
    NotAuthorized,
    /// The credentials themselves were refused, for example because they have expired.
    #[error("AWS refused the operator's credentials ({code})")]
    BadCredentials {
        /// AWS's name for the refusal, for example `ExpiredTokenException`.
        code: String,
    },
}

/// Why no usable answer came.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Outage {
    /// No credentials could be found, so nothing was sent.
    #[error(
        "no AWS credentials were found; give the operator an IAM role or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    )]
    NoCredentials,
    /// The answer did not come in time.
    #[error("it did not answer in time")]
    TimedOut,
    /// The connection could not be made or broke.
    #[error("the connection failed")]
    Connection,
    /// A status that no other class names, most often 5xx.
    #[error("HTTP status {0}")]
    Status(u16),
    /// The answer is not what the API documents.
    #[error("the answer is not the JSON that the API documents")]
    NotUnderstood,
    /// The answer is larger than any real one.
    #[error("the answer is larger than 5 MiB")]
    TooLarge,
}
