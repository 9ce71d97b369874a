//! The interface to API Gateway, ACM and STS: requests, responses and errors, without types of the SDK.
//!
//! [`client`](super::client) is the real implementation. The tests have an implementation in memory. Both pass the same
//! contract suite.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;

/// The identity that makes a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identity {
    /// The operator's own credentials.
    Operator,
    /// A session of a role that the operator assumes.
    Role(Arc<AssumedRole>),
}

/// A role, as the operator assumes it for the resources of one namespace. No two namespaces share a session: CloudTrail
/// shows the namespace, and the session of one namespace can end without the session of another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AssumedRole {
    /// The ARN of the role.
    pub arn: String,
    /// The external id, if the role's trust policy requires one.
    pub external_id: Option<String>,
    /// The namespace of the resources. The name of the session contains it.
    pub namespace: String,
    /// Whether the session carries the namespace as a tag too, which the trust policy has to allow.
    pub tags_session: bool,
}

/// A region with the identity that reads its certificates.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The identity that makes the calls.
    pub identity: Identity,
    /// The AWS region, for example `us-east-1`.
    pub region: String,
}

impl Place {
    /// A region with the operator's own credentials.
    pub fn own(region: impl Into<String>) -> Self {
        Place { identity: Identity::Operator, region: region.into() }
    }

    /// The ARN of the place's list of certificates, for IAM policies. Its account field is empty.
    pub fn list_arn(&self) -> String {
        format!("arn:{}:apigateway:{}::/clientcertificates", partition(&self.region), self.region)
    }

    /// The ARN of the stages of an API, for IAM policies. Its account field is empty.
    pub fn stages_arn(&self, rest_api_id: &str) -> String {
        format!("arn:{}:apigateway:{}::/restapis/{rest_api_id}/stages", partition(&self.region), self.region)
    }

    /// The account, if the place has a role: the role's ARN contains it.
    pub fn account(&self) -> Option<&str> {
        match &self.identity {
            Identity::Operator => None,
            Identity::Role(role) => role.account(),
        }
    }
}

impl AssumedRole {
    /// The account that the role belongs to: `arn:partition:iam::account:role/name`.
    pub fn account(&self) -> Option<&str> {
        self.arn.split(':').nth(4).filter(|account| !account.is_empty())
    }
}

/// A REST API. One call reads all its stages.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RestApi {
    /// The place of the API.
    pub place: Place,
    /// API Gateway's identifier of the API, for example `a1b2c3d4e5`.
    pub id: String,
}

impl RestApi {
    /// The ARN of the API's stages, for IAM policies.
    pub fn stages_arn(&self) -> String {
        self.place.stages_arn(&self.id)
    }
}

/// The place and id of a client certificate. API Gateway's ids are unique in an account and region.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source {
    /// The place of the certificate.
    pub place: Place,
    /// API Gateway's identifier of the client certificate, for example `9ao60f`, or the ARN of an ACM certificate.
    pub id: String,
}

impl Source {
    /// A certificate of a region, read with the operator's own credentials.
    pub fn own(region: impl Into<String>, id: impl Into<String>) -> Self {
        Source { place: Place::own(region), id: id.into() }
    }

    /// The ARN of the certificate, for IAM policies.
    pub fn arn(&self) -> String {
        if self.is_of_acm() { self.id.clone() } else { format!("{}/{}", self.place.list_arn(), self.id) }
    }

    /// Whether the source is an ACM certificate. The id of such a source is an ARN.
    pub fn is_of_acm(&self) -> bool {
        is_of_acm(&self.id)
    }
}

/// Whether the certificate of a stage is an ACM certificate: an ARN. Otherwise it is the id of a client certificate.
pub fn is_of_acm(id: &str) -> bool {
    id.starts_with("arn:")
}

/// The region in the ARN of an ACM certificate: `arn:partition:acm:region:account:certificate/id`.
pub fn region_of_acm(arn: &str) -> Option<&str> {
    arn.split(':').nth(3).filter(|region| !region.is_empty())
}

/// A client certificate, independent of the identity. Two resources that name the same certificate with different roles
/// conflict about its description.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertificateKey {
    /// The account; `None` if it is the operator's own and unknown.
    pub account: Option<String>,
    /// The region, which determines the partition too.
    pub region: String,
    /// API Gateway's identifier, or the ARN of an ACM certificate.
    pub id: String,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_of_acm() {
            true => write!(f, "{}", self.id)?,
            false => write!(f, "{} in {}", self.id, self.place.region)?,
        }
        match &self.place.identity {
            Identity::Operator => Ok(()),
            Identity::Role(role) => write!(f, " as {}", role.arn),
        }
    }
}

/// The AWS partition of a region, by the prefixes that AWS documents.
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

/// A client certificate in a response of API Gateway: the six response elements, unchecked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientCertificate {
    /// `clientCertificateId`
    pub id: String,
    /// `description`. API Gateway omits an empty description, which is `""` here.
    pub description: String,
    /// `createdDate`
    pub created: Option<Timestamp>,
    /// `expirationDate`
    pub expires: Option<Timestamp>,
    /// `pemEncodedCertificate`, unchanged: CRLF line ends, no final newline.
    pub pem: String,
    /// `tags`
    pub tags: BTreeMap<String, String>,
}

/// A page of the list of client certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The usable certificates: an item without an id or without a PEM is left out.
    pub certificates: Vec<ClientCertificate>,
    /// The position of the next page, if there is one.
    pub next: Option<String>,
}

/// A stage of a REST API: its name and the certificate that it presents to backends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stage {
    /// `stageName`
    pub name: String,
    /// `clientCertificateId`, unchanged: the id of a client certificate, or the ARN of an ACM certificate. `None` if
    /// the stage presents no certificate.
    pub certificate: Option<String>,
}

/// An ACM certificate in the responses to DescribeCertificate and GetCertificate, unchecked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AcmCertificate {
    /// `CertificateArn`
    pub arn: String,
    /// `Status`
    pub status: AcmStatus,
    /// `NotAfter`
    pub expires: Option<Timestamp>,
    /// `Certificate`, unchanged: one PEM block. `None` unless the status is ISSUED or EXPIRED.
    pub leaf: Option<String>,
    /// `CertificateChain`, unchanged: PEM blocks without the leaf. An imported certificate may have no chain.
    pub chain: Option<String>,
}

/// The status of an ACM certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AcmStatus {
    /// `ISSUED`
    Issued,
    /// `PENDING_VALIDATION`, or GetCertificate returned RequestInProgressException.
    Pending,
    /// `FAILED` or `VALIDATION_TIMED_OUT`
    Failed,
    /// `REVOKED`
    Revoked,
    /// `INACTIVE`
    Inactive,
    /// `EXPIRED`
    Expired,
}

/// The number of certificates that a list call requests: the largest that API Gateway allows. A page costs one call,
/// whatever its size.
pub const PAGE_SIZE: usize = 500;

/// The calls that the operator makes to AWS.
pub trait Gateway: Send + Sync + 'static {
    /// GetClientCertificate.
    fn get_client_certificate(
        &self,
        source: &Source,
    ) -> impl Future<Output = Result<ClientCertificate, GatewayError>> + Send;

    /// GetClientCertificates: one page of [`PAGE_SIZE`], from the beginning or from the position of an earlier page.
    fn list_client_certificates(
        &self,
        place: &Place,
        position: Option<&str>,
    ) -> impl Future<Output = Result<Page, GatewayError>> + Send;

    /// GetStages: all stages of a REST API. [`GatewayError::NotFound`] means that the API does not exist in this
    /// account and region.
    fn get_stages(
        &self,
        place: &Place,
        rest_api_id: &str,
    ) -> impl Future<Output = Result<Vec<Stage>, GatewayError>> + Send;

    /// DescribeCertificate of ACM, and GetCertificate if the status is ISSUED or EXPIRED. An ARN of another region,
    /// account or partition is [`GatewayError::NotFound`]. An unknown status is [`Outage::NotUnderstood`].
    fn get_acm_certificate(
        &self,
        place: &Place,
        arn: &str,
    ) -> impl Future<Output = Result<AcmCertificate, GatewayError>> + Send;

    /// UpdateClientCertificate with the one operation `replace /description`. Returns the certificate in the response;
    /// the caller compares its description with the one that it sent.
    fn set_description(
        &self,
        source: &Source,
        description: &str,
    ) -> impl Future<Output = Result<ClientCertificate, GatewayError>> + Send;

    /// The account of the operator's own credentials: sts:GetCallerIdentity, which needs no permission.
    fn own_account(&self) -> impl Future<Output = Result<String, GatewayError>> + Send;

    /// Drops the session of a place. The next call starts a new session.
    fn end_session(&self, place: &Place);
}

impl<G: Gateway> Gateway for Arc<G> {
    async fn get_client_certificate(&self, source: &Source) -> Result<ClientCertificate, GatewayError> {
        G::get_client_certificate(self, source).await
    }

    async fn list_client_certificates(&self, place: &Place, position: Option<&str>) -> Result<Page, GatewayError> {
        G::list_client_certificates(self, place, position).await
    }

    async fn get_stages(&self, place: &Place, rest_api_id: &str) -> Result<Vec<Stage>, GatewayError> {
        G::get_stages(self, place, rest_api_id).await
    }

    async fn get_acm_certificate(&self, place: &Place, arn: &str) -> Result<AcmCertificate, GatewayError> {
        G::get_acm_certificate(self, place, arn).await
    }

    async fn set_description(&self, source: &Source, description: &str) -> Result<ClientCertificate, GatewayError> {
        G::set_description(self, source, description).await
    }

    async fn own_account(&self) -> Result<String, GatewayError> {
        G::own_account(self).await
    }

    fn end_session(&self, place: &Place) {
        G::end_session(self, place);
    }
}

/// The failures of a call to AWS, by what the caller can do.
///
/// The texts appear in the status of resources. Two failures of the same kind have the same text: it holds no request
/// id and no time.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GatewayError {
    /// 400: the request is invalid. A retry does not help.
    #[error("API Gateway refused the request as invalid: {message}")]
    BadRequest {
        /// API Gateway's message, without the parts that differ between requests.
        message: String,
    },
    /// 404: the certificate does not exist in this account and region.
    #[error("API Gateway has no such client certificate")]
    NotFound,
    /// 401 or 403.
    #[error(transparent)]
    AccessDenied(Denial),
    /// 409: another writer changed the certificate at the same time.
    #[error("another writer changed the certificate in API Gateway at the same time; retrying with backoff")]
    Conflict,
    /// 429: TooManyRequestsException or LimitExceededException.
    #[error("API Gateway is throttling the requests of the account; retrying with backoff")]
    Throttled {
        /// The `Retry-After` header, if it held a number of seconds.
        retry_after: Option<Duration>,
    },
    /// The call brought no usable answer.
    #[error("{}", .outage.of_call("API Gateway"))]
    Unavailable {
        outage: Outage,
        /// The `Retry-After` header, which a 503 can have too.
        retry_after: Option<Duration>,
    },
}

/// Why a call was denied.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Denial {
    /// IAM does not allow the call.
    #[error("IAM does not allow the call")]
    NotAuthorized,
    /// AWS refused the credentials, for example because they have expired.
    #[error("AWS refused the operator's credentials ({code})")]
    BadCredentials {
        /// AWS's name for the refusal, for example `ExpiredTokenException`.
        code: String,
    },
    /// STS refused the web identity token of the operator's pod.
    #[error("AWS refused the identity of the operator's pod ({code}): {message}")]
    IdentityRefused {
        /// AWS's name for the refusal, for example `InvalidIdentityToken`.
        code: String,
        /// AWS's message, without the parts that differ between requests.
        message: String,
    },
    /// A source of credentials is configured, but returns no credentials.
    #[error("the operator's AWS credentials cannot be loaded: {cause}")]
    CredentialsUnusable {
        /// The fault of the source.
        cause: String,
    },
    /// STS does not allow the operator to assume the role, or the role does not exist. STS returns the same error for
    /// both.
    #[error("AWS does not allow the operator to assume the role")]
    RoleRefused,
}

/// The cause for which a call brought no usable answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Outage {
    /// No credentials were found, so the call was not sent.
    #[error(
        "no AWS credentials were found; give the operator an IAM role or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    )]
    NoCredentials,
    /// The endpoint of the pod's credentials is unavailable or throttles, so the call was not sent.
    #[error("the endpoint of the pod's AWS credentials returned HTTP status {0}")]
    CredentialsEndpoint(u16),
    /// STS returned no session for the role, so the call was not sent.
    #[error("AWS STS returned no session for the role")]
    NoSession,
    /// STS returned no session for the role, for this cause, so the call was not sent.
    #[error("AWS STS returned no session for the role: {0}")]
    SessionUnreached(Box<Outage>),
    /// The source of the operator's credentials was unreachable, so the call was not sent.
    #[error("the operator's AWS credentials cannot be loaded: {0}")]
    CredentialsUnreached(Box<Outage>),
    /// The answer did not come in time.
    #[error("the request timed out")]
    TimedOut,
    /// The answer of this host did not come in time.
    #[error("the request to {host} timed out")]
    NoAnswer {
        /// The host, with the port if it is not the default port.
        host: String,
    },
    /// The connection failed.
    #[error("the connection failed")]
    Connection,
    /// The connection to this host failed.
    #[error("the connection to {host} failed: {cause}")]
    Unreachable {
        /// The host, with the port if it is not the default port.
        host: String,
        /// The innermost cause.
        cause: String,
    },
    /// A proxy requires a user and a password.
    #[error("the proxy requires authentication (HTTP status 407); add a user and a password to HTTPS_PROXY")]
    ProxyAuthentication,
    /// Any other HTTP status, most often 5xx.
    #[error("HTTP status {0}")]
    Status(u16),
    /// The response differs from the API's documentation.
    #[error("the response is not the JSON that the API documents")]
    NotUnderstood,
    /// Another replica leads, so the call was not sent.
    #[error("this replica does not hold the Lease, so it wrote nothing")]
    NotLeading,
    /// The response is larger than any valid one.
    #[error("the response is larger than 5 MiB")]
    TooLarge,
}

impl GatewayError {
    /// The message about a failed call to a service.
    pub fn of_call(&self, service: &str) -> String {
        match self {
            GatewayError::BadRequest { message } => format!("{service} refused the request as invalid: {message}"),
            GatewayError::Throttled { .. } => {
                format!("{service} is throttling the requests of the account; retrying with backoff")
            }
            GatewayError::Unavailable { outage, .. } => outage.of_call(service),
            GatewayError::NotFound | GatewayError::AccessDenied(_) | GatewayError::Conflict => self.to_string(),
        }
    }
}

impl Outage {
    /// Whether the operator had no credentials for the call. Then the call was not sent.
    pub fn is_of_credentials(&self) -> bool {
        matches!(
            self,
            Outage::NoCredentials
                | Outage::CredentialsEndpoint(_)
                | Outage::NoSession
                | Outage::SessionUnreached(_)
                | Outage::CredentialsUnreached(_)
        )
    }

    /// The message about a failed call to a service. A call that was not sent says nothing about the service.
    fn of_call(&self, service: &str) -> String {
        if self.is_of_credentials() { self.to_string() } else { format!("the call to {service} failed: {self}") }
    }
}
