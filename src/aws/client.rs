//! The real API Gateway and ACM: the AWS SDK behind [`Gateway`]. Nothing outside this module names the SDK.

mod answers;
mod bounded;
mod builder;
mod clients;
mod errors;
mod request;

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_apigateway::config::timeout::TimeoutConfig;
use aws_sdk_apigateway::types::{Op, PatchOperation};
use parking_lot::Mutex;
use tracing::{Instrument, Span, debug, field, info, info_span, warn};

pub use self::builder::Builder;
use self::clients::Clients;
use self::errors::Failure;
use super::gateway::{
    AcmCertificate, AcmStatus, ClientCertificate, Denial, Gateway, GatewayError, Identity, Outage, PAGE_SIZE, Page,
    Place, Source, Stage,
};

/// Observes each call. The arguments are the operation's name in the API, the outcome (an HTTP status such as `200`, or
/// a word such as `timeout`, `connection`, `credentials`, `too-large`, `not-understood`), and the duration.
pub type Observer = Arc<dyn Fn(&'static str, &str, Duration) + Send + Sync>;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// [`Gateway`] over HTTPS and Signature Version 4.
pub struct AwsGateway {
    clients: Clients,
    observer: Observer,
    /// The cause for which AWS is unreachable, by place and service: a cause is logged once, until it changes.
    logged: Mutex<HashMap<(Place, Service), GatewayError>>,
}

/// The service that a call goes to. Each service has its own endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Service {
    ApiGateway,
    Acm,
    Sts,
}

impl Service {
    fn of(operation: &str) -> Self {
        match operation {
            DESCRIBE_CERTIFICATE | GET_CERTIFICATE => Self::Acm,
            GET_CALLER_IDENTITY => Self::Sts,
            _ => Self::ApiGateway,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::ApiGateway => "API Gateway",
            Self::Acm => "ACM",
            Self::Sts => "AWS STS",
        }
    }
}

const DESCRIBE_CERTIFICATE: &str = "DescribeCertificate";
const GET_CERTIFICATE: &str = "GetCertificate";
const GET_CALLER_IDENTITY: &str = "GetCallerIdentity";

impl AwsGateway {
    /// Reads the standard AWS environment: variables, profiles, web identity, container and instance roles, endpoint
    /// overrides, and the proxy variables, which the SDK's own HTTP client would ignore.
    pub async fn from_environment() -> Self {
        Self::with(Clients::from_environment(timeouts(CONNECT_TIMEOUT, ATTEMPT_TIMEOUT)).await)
    }

    /// A gateway with settings from code, for tests. It reads nothing from the environment.
    pub fn builder() -> Builder {
        Builder::default()
    }

    fn new(base: SdkConfig, connect_timeout: Duration, attempt_timeout: Duration) -> Self {
        Self::with(Clients::new(base, timeouts(connect_timeout, attempt_timeout)))
    }

    fn with(clients: Clients) -> Self {
        Self { clients, observer: Arc::new(|_, _, _| {}), logged: Mutex::default() }
    }

    /// Sets the observer of every call, for metrics.
    pub fn with_observer(mut self, observer: Observer) -> Self {
        self.observer = observer;
        self
    }

    /// The region of the environment or the profile, for resources without `spec.region`.
    pub fn default_region(&self) -> Option<String> {
        self.clients.base().region().map(ToString::to_string)
    }

    /// Loads the credentials once, so that the log shows a missing role at the start.
    pub async fn check_credentials(&self) -> Result<(), String> {
        let Some(provider) = self.clients.base().credentials_provider() else {
            return Err("no source of AWS credentials is configured".into());
        };
        match provider.provide_credentials().await {
            Ok(_) => Ok(()),
            Err(error) if !matches!(error, CredentialsError::CredentialsNotLoaded(_)) => {
                Err(errors::no_credentials(&error).to_string())
            }
            // The SDK lists the sources that it tried, one in each line.
            Err(error) => {
                let tried: Vec<_> = errors::chain(&error).split_whitespace().map(str::to_owned).collect();
                Err(format!("no AWS credentials: {}", tried.join(" ")))
            }
        }
    }

    /// Makes a call and reports it. The span of a write is a child of the reconcile's span. A read is a separate trace,
    /// because many resources wait for one read.
    async fn observed<T>(
        &self,
        operation: &'static str,
        place: &Place,
        id: &str,
        call: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, GatewayError> {
        let id = Some(id).filter(|id| !id.is_empty());
        let (region, code) = (&place.region, field::Empty);
        let span = info_span!(
            "gateway call",
            otel.name = operation,
            otel.kind = "client",
            otel.status_code = code,
            operation,
            region,
            id,
            code
        );
        self.reported(operation, place, id, call).instrument(span).await
    }

    async fn reported<T>(
        &self,
        operation: &'static str,
        place: &Place,
        id: Option<&str>,
        call: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, GatewayError> {
        let start = Instant::now();
        let result = call.await;
        let elapsed = start.elapsed();
        let code = result.as_ref().map_or_else(|failure| failure.code.as_ref(), |_| "200");
        (self.observer)(operation, code, elapsed);
        Span::current().record("code", code);
        if result.is_err() {
            Span::current().record("otel.status_code", "ERROR");
        }
        let region = &place.region;
        debug!(operation, region, id, code, ?elapsed, "called AWS");
        self.log_change(place, Service::of(operation), result.as_ref().err().map(|failure| &failure.error));
        match result {
            Ok(answer) => Ok(answer),
            Err(Failure { error, detail, code }) => {
                if error.is_of_credentials() {
                    self.credentials_failed(place, &error, code == errors::NO_CREDENTIALS);
                }
                if error == GatewayError::AccessDenied(Denial::NotAuthorized) {
                    warn!(operation, region, id, detail, "AWS denied the call");
                } else if !detail.is_empty() {
                    debug!(operation, region, id, detail, "the call failed");
                }
                Err(error)
            }
        }
    }

    /// Logs the cause for which AWS is unreachable, and the recovery.
    fn log_change(&self, place: &Place, service: Service, failure: Option<&GatewayError>) {
        let failure = failure.filter(|failure| {
            let outage = match failure {
                GatewayError::Unavailable { outage, .. } => Some(outage),
                _ => None,
            };
            let is_of_the_way = |outage| {
                matches!(
                    outage,
                    &(Outage::Unreachable { .. } | Outage::NoAnswer { .. } | Outage::Connection | Outage::TimedOut)
                        | &Outage::ProxyAuthentication
                )
            };
            failure.is_of_credentials() || outage.is_some_and(is_of_the_way)
        });
        let mut logged = self.logged.lock();
        let key = (place.clone(), service);
        if logged.get(&key) == failure {
            return;
        }
        let region = &place.region;
        match failure {
            Some(failure) => {
                warn!(region, "AWS is unreachable: {}", failure.of_call(service.name()));
                logged.insert(key, failure.clone());
            }
            None => {
                info!(region, "calls to AWS recovered");
                logged.remove(&key);
            }
        }
    }

    /// Drops a session that AWS refused before its end. If the operator's own credentials are missing or refused, the
    /// next call loads the environment again, where new credentials may have replaced them. `unsent` means that the
    /// call had no session: then STS refused the operator's own credentials.
    fn credentials_failed(&self, place: &Place, error: &GatewayError, unsent: bool) {
        let refused = matches!(error, GatewayError::AccessDenied(Denial::BadCredentials { .. }));
        if refused && place.identity != Identity::Operator {
            self.clients.forget(place);
        }
        let none = matches!(
            error,
            GatewayError::Unavailable { outage: Outage::NoCredentials, .. }
                | GatewayError::AccessDenied(Denial::IdentityRefused { .. } | Denial::CredentialsUnusable { .. })
        );
        if none || (refused && (unsent || place.identity == Identity::Operator)) {
            self.clients.look_for_credentials_again();
        }
    }
}

fn timeouts(connect: Duration, attempt: Duration) -> TimeoutConfig {
    // The read timeout is the shorter one, because only its error names the host.
    let read = attempt.mul_f64(0.95);
    TimeoutConfig::builder().connect_timeout(connect).read_timeout(read).operation_attempt_timeout(attempt).build()
}

impl Gateway for AwsGateway {
    async fn get_client_certificate(&self, source: &Source) -> Result<ClientCertificate, GatewayError> {
        request::check(source)?;
        let client = self.clients.of(&source.place).await;
        let request = client.get_client_certificate().client_certificate_id(&source.id);
        let call = async { answers::of_get(source, request.send().await.map_err(errors::classify)?) };
        self.observed("GetClientCertificate", &source.place, &source.id, call).await
    }

    async fn list_client_certificates(&self, place: &Place, position: Option<&str>) -> Result<Page, GatewayError> {
        request::check_place(place)?;
        let client = self.clients.of(place).await;
        let request =
            client.get_client_certificates().limit(PAGE_SIZE as i32).set_position(position.map(str::to_owned));
        let call = async { answers::of_list(request.send().await.map_err(errors::classify)?) };
        self.observed("GetClientCertificates", place, "", call).await
    }

    async fn get_stages(&self, place: &Place, rest_api_id: &str) -> Result<Vec<Stage>, GatewayError> {
        request::check_api(place, rest_api_id)?;
        let client = self.clients.of(place).await;
        let request = client.get_stages().rest_api_id(rest_api_id);
        let call = async { answers::of_stages(request.send().await.map_err(errors::classify)?) };
        self.observed("GetStages", place, rest_api_id, call).await
    }

    async fn get_acm_certificate(&self, place: &Place, arn: &str) -> Result<AcmCertificate, GatewayError> {
        request::check_place(place)?;
        let client = self.clients.acm(place).await;
        let request = client.describe_certificate().certificate_arn(arn);
        let call = async { answers::of_describe(arn, request.send().await.map_err(errors::classify)?) };
        let described = self.observed(DESCRIBE_CERTIFICATE, place, arn, call).await?;
        if !matches!(described.status, AcmStatus::Issued | AcmStatus::Expired) {
            return Ok(described);
        }
        let request = client.get_certificate().certificate_arn(arn);
        let mut is_in_progress = false;
        let call = async {
            let answer = request.send().await.map_err(|error| {
                is_in_progress = answers::is_in_progress(&error);
                errors::classify(error)
            })?;
            answers::of_get_acm(answer)
        };
        match self.observed(GET_CERTIFICATE, place, arn, call).await {
            Ok((leaf, chain)) => Ok(AcmCertificate { leaf: Some(leaf), chain, ..described }),
            Err(_) if is_in_progress => Ok(AcmCertificate { status: AcmStatus::Pending, ..described }),
            Err(error) => Err(error),
        }
    }

    async fn set_description(&self, source: &Source, description: &str) -> Result<ClientCertificate, GatewayError> {
        request::check(source)?;
        let patch = PatchOperation::builder().op(Op::Replace).path("/description").value(description).build();
        let client = self.clients.of(&source.place).await;
        let request = client.update_client_certificate().client_certificate_id(&source.id).patch_operations(patch);
        let call = async { answers::of_update(source, request.send().await.map_err(errors::classify)?) };
        self.observed("UpdateClientCertificate", &source.place, &source.id, call).await
    }

    async fn own_account(&self) -> Result<String, GatewayError> {
        let Some(region) = self.default_region() else {
            return Err(GatewayError::BadRequest { message: "no region: set AWS_REGION for the operator".into() });
        };
        let request = self.clients.sts().await.get_caller_identity();
        let call = async { answers::of_identity(request.send().await.map_err(errors::classify)?) };
        self.observed(GET_CALLER_IDENTITY, &Place::own(region), "", call).await
    }

    fn end_session(&self, place: &Place) {
        if place.identity != Identity::Operator {
            self.clients.forget(place);
        }
    }
}
