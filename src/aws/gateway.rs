//! The interface to API Gateway, ACM and STS: requests, responses and errors, without types of the SDK.
//!
//! [`client`](super::client) is the real implementation. The tests have one in memory; both pass the same
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

/// A role as it is assumed for the resources of one namespace. No two namespaces share a session: CloudTrail shows the
/// namespace, and the session of one can end without the other's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AssumedRole {
    /// ARN of the role.
    pub arn: String,
    /// The external id, if the role's trust policy requires one.
    pub external_id: Option<String>,
    /// The namespace of the resources; the session is named after it.
    pub namespace: String,
    /// Whether the session carries the namespace as a tag too, which the trust policy has to allow.
    pub tags_session: bool,
}

/// Where certificates are read: one region, seen with one identity's rights.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The identity.
    pub identity: Identity,
    /// AWS region, for example `us-east-1`.
    pub region: String,
}

impl Place {
    /// A region, seen with the operator's own rights.
    pub fn own(region: impl Into<String>) -> Self {
        Place { identity: Identity::Operator, region: region.into() }
    }

    /// The ARN of the list of its certificates, which IAM policies name; the account field is empty.
    pub fn list_arn(&self) -> String {
        format!("arn:{}:apigateway:{}::/clientcertificates", partition(&self.region), self.region)
    }

    /// The ARN of the stages of an API, which IAM policies name; the account field is empty.
    pub fn stages_arn(&self, rest_api_id: &str) -> String {
        format!("arn:{}:apigateway:{}::/restapis/{rest_api_id}/stages", partition(&self.region), self.region)
    }

    /// The account, if the place has a role: the ARN contains it.
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

/// A REST API: its stages are read together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RestApi {
    /// Where it is read.
    pub place: Place,
    /// API Gateway's identifier of the API, for example `a1b2c3d4e5`.
    pub id: String,
}

impl RestApi {
    /// The ARN of its stages, which IAM policies name.
    pub fn stages_arn(&self) -> String {
        self.place.stages_arn(&self.id)
    }
}

/// Which client certificate is meant: API Gateway's ids are unique in an account and region.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source {
    /// Where it is read.
    pub place: Place,
    /// API Gateway's identifier of the client certificate, for example `9ao60f`; the ARN of a certificate of ACM.
    pub id: String,
}

impl Source {
    /// A certificate of a region, seen with the operator's own rights.
    pub fn own(region: impl Into<String>, id: impl Into<String>) -> Self {
        Source { place: Place::own(region), id: id.into() }
    }

    /// The ARN that IAM policies name.
    pub fn arn(&self) -> String {
        if self.is_of_acm() { self.id.clone() } else { format!("{}/{}", self.place.list_arn(), self.id) }
    }

    /// Whether it is a certificate of ACM, whose id is its ARN.
    pub fn is_of_acm(&self) -> bool {
        is_of_acm(&self.id)
    }
}

/// Whether what a stage presents is a certificate of ACM: then it is an ARN, and otherwise the id of a client certificate.
pub fn is_of_acm(id: &str) -> bool {
    id.starts_with("arn:")
}

/// The region in the ARN of a certificate of ACM: `arn:partition:acm:region:account:certificate/id`.
pub fn region_of_acm(arn: &str) -> Option<&str> {
    arn.split(':').nth(3).filter(|region| !region.is_empty())
}

/// One client certificate, independent of the identity: two resources that name the same one with different roles still
/// conflict about its description.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertificateKey {
    /// The account; none, where it is the operator's own and not known.
    pub account: Option<String>,
    /// The region, which determines the partition too.
    pub region: String,
    /// The id.
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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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

/// A page of the list of client certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The certificates, as far as they can be used: an item without an id or without a PEM is left out.
    pub certificates: Vec<ClientCertificate>,
    /// The position of the next page, where there is one.
    pub next: Option<String>,
}

/// A stage of a REST API, as far as the certificate goes that it presents to backends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stage {
    /// `stageName`
    pub name: String,
    /// `clientCertificateId`, exactly as it came: the id of a client certificate, or the ARN of an ACM certificate.
    /// None, where the stage presents no certificate.
    pub certificate: Option<String>,
}

/// A certificate of ACM, as DescribeCertificate and GetCertificate show it together, unchecked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AcmCertificate {
    /// `CertificateArn`
    pub arn: String,
    /// `Status`
    pub status: AcmStatus,
    /// `NotAfter`
    pub expires: Option<Timestamp>,
    /// `Certificate`, exactly as it came: one PEM block. None, where ACM has not issued it or does not stand by it any
    /// more: it is read with the status ISSUED or EXPIRED alone.
    pub leaf: Option<String>,
    /// `CertificateChain`, exactly as it came: PEM blocks without the leaf. A certificate can be imported without one.
    pub chain: Option<String>,
}

/// How ACM stands by a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AcmStatus {
    /// `ISSUED`
    Issued,
    /// `PENDING_VALIDATION`, and where GetCertificate says that the request is in progress.
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

/// The most certificates that a page holds, and what is asked for: a page costs one call however many there are.
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

    /// GetStages: all stages of a REST API at once. [`GatewayError::NotFound`] means that there is no such API in this
    /// account and region.
    fn get_stages(
        &self,
        place: &Place,
        rest_api_id: &str,
    ) -> impl Future<Output = Result<Vec<Stage>, GatewayError>> + Send;

    /// DescribeCertificate of ACM, and GetCertificate where the status is ISSUED or EXPIRED. An ARN of another region,
    /// account or partition is [`GatewayError::NotFound`]. A status that ACM did not have when this was written is
    /// [`Outage::NotUnderstood`].
    fn get_acm_certificate(
        &self,
        place: &Place,
        arn: &str,
    ) -> impl Future<Output = Result<AcmCertificate, GatewayError>> + Send;

    /// UpdateClientCertificate with the one operation `replace /description`. Returns what API Gateway then holds,
    /// which the caller compares with what it sent.
    fn set_description(
        &self,
        source: &Source,
        description: &str,
    ) -> impl Future<Output = Result<ClientCertificate, GatewayError>> + Send;

    /// The account of the operator's own credentials: sts:GetCallerIdentity, which needs no permission.
    fn own_account(&self) -> impl Future<Output = Result<String, GatewayError>> + Send;

    /// Forgets the credentials that were got for a place. The next call gets new ones.
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

/// How a call to API Gateway can fail, by what the caller can do.
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
    #[error("API Gateway has no such client certificate")]
    NotFound,
    /// 401 or 403.
    #[error(transparent)]
    AccessDenied(Denial),
    /// 409: another writer changed the certificate at the same time.
    #[error("another writer changed the certificate in API Gateway at the same time; retrying with backoff")]
    Conflict,
    /// 429, whether TooManyRequestsException or LimitExceededException.
    #[error("API Gateway is throttling the requests of the account; retrying with backoff")]
    Throttled {
        /// The `Retry-After` header, where it held a number of seconds.
        retry_after: Option<Duration>,
    },
    /// No usable answer.
    #[error("the call to API Gateway failed: {outage}")]
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
    /// STS refused the web identity token of the operator's pod.
    #[error("AWS refused the identity of the operator's pod ({code}): {message}")]
    IdentityRefused {
        /// AWS's name for the refusal, for example `InvalidIdentityToken`.
        code: String,
        /// What AWS says, stripped of everything that changes from request to request.
        message: String,
    },
    /// A source of credentials is configured, but returns none.
    #[error("the operator's AWS credentials cannot be loaded: {cause}")]
    CredentialsUnusable {
        /// What is wrong with the source.
        cause: String,
    },
    /// STS does not let the operator assume the role, or knows no such role, which it answers the same way.
    #[error("AWS does not allow the operator to assume the role")]
    RoleRefused,
}

/// Why no usable answer came.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Outage {
    /// No credentials could be found, so nothing was sent.
    #[error(
        "no AWS credentials were found; give the operator an IAM role or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    )]
    NoCredentials,
    /// The endpoint of the pod's credentials is unavailable or throttles, so nothing was sent.
    #[error("the endpoint of the pod's AWS credentials returned HTTP status {0}")]
    CredentialsEndpoint(u16),
    /// STS returned no session for the role, so nothing was sent.
    #[error("AWS STS returned no session for the role")]
    NoSession,
    /// STS could not be reached for a session of the role.
    #[error("AWS STS returned no session for the role: {0}")]
    SessionUnreached(Box<Outage>),
    /// The answer did not come in time.
    #[error("the request timed out")]
    TimedOut,
    /// The answer of this host did not come in time.
    #[error("the request to {host} timed out")]
    NoAnswer {
        /// The host, with the port where that is not the usual one.
        host: String,
    },
    /// The connection could not be made or broke.
    #[error("the connection failed")]
    Connection,
    /// The connection to this host could not be made or broke.
    #[error("the connection to {host} failed: {cause}")]
    Unreachable {
        /// The host, with the port where that is not the usual one.
        host: String,
        /// The innermost cause.
        cause: String,
    },
    /// A proxy requires a user and a password.
    #[error("the proxy requires authentication (HTTP status 407); add a user and a password to HTTPS_PROXY")]
    ProxyAuthentication,
    /// A status that no other class names, most often 5xx.
    #[error("HTTP status {0}")]
    Status(u16),
    /// The answer is not what the API documents.
    #[error("the response is not the JSON that the API documents")]
    NotUnderstood,
    /// Another replica leads, so nothing was sent.
    #[error("this replica does not hold the Lease, so it wrote nothing")]
    NotLeading,
    /// The answer is larger than any real one.
    #[error("the response is larger than 5 MiB")]
    TooLarge,
}
