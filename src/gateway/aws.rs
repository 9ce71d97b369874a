//! API Gateway as people run it: the AWS SDK behind [`Gateway`]. Nothing outside this module names the SDK.

mod answers;
mod bounded;
mod builder;
mod errors;
mod request;

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::ProvideCredentials;
use aws_sdk_apigateway::Client;
use aws_sdk_apigateway::config::retry::RetryConfig;
use aws_sdk_apigateway::config::timeout::TimeoutConfig;
use aws_sdk_apigateway::config::{Config, StalledStreamProtectionConfig};
use aws_sdk_apigateway::types::{Op, PatchOperation};
use aws_smithy_http_client::proxy::ProxyConfig;
use tracing::{debug, warn};

pub use self::builder::Builder;
use self::errors::Failure;
use super::{ClientCertificate, Denial, Gateway, GatewayError, Source};

/// What is told of each call that was made: the API's name of the operation, how it ended (an HTTP status such as
/// `200`, or a word such as `timeout`, `connection`, `credentials`, `too-large`, `not-understood`), how long it took.
pub type Observer = Arc<dyn Fn(&'static str, &str, Duration) + Send + Sync>;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Regions come from resources that many people may write. Far more than AWS has, so that only nonsense is dropped.
const MAX_CLIENTS: usize = 128;

/// [`Gateway`] over HTTPS and Signature Version 4.
pub struct AwsGateway {
    sdk: Mutex<Sdk>,
    from_environment: bool,
    timeouts: TimeoutConfig,
    observer: Observer,
}

/// The SDK as it was configured last, and its clients by region.
struct Sdk {
    base: SdkConfig,
    clients: HashMap<String, Client>,
    loaded: Instant,
}

/// Many calls that find no credentials at the same time look at the environment once.
const RELOADS_APART: Duration = Duration::from_millis(500);

impl AwsGateway {
    /// Reads the standard AWS environment: variables, profiles, web identity, container and instance roles, endpoint
    /// overrides, and the proxy variables, which the SDK's own HTTP client would ignore.
    pub async fn from_environment() -> Self {
        let gateway = Self::new(load().await, CONNECT_TIMEOUT, ATTEMPT_TIMEOUT);
        Self { from_environment: true, ..gateway }
    }

    /// A gateway from settings given in code, which reads nothing from the environment: for tests.
    pub fn builder() -> Builder {
        Builder::default()
    }

    fn new(base: SdkConfig, connect_timeout: Duration, attempt_timeout: Duration) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(connect_timeout)
            .operation_attempt_timeout(attempt_timeout)
            .build();
        let sdk = Sdk { base, clients: HashMap::new(), loaded: Instant::now() };
        Self { sdk: Mutex::new(sdk), from_environment: false, timeouts, observer: Arc::new(|_, _, _| {}) }
    }

    /// Has every call reported, for metrics.
    pub fn with_observer(mut self, observer: Observer) -> Self {
        self.observer = observer;
        self
    }

    /// The region that the environment or the profile names, for resources that name none.
    pub fn default_region(&self) -> Option<String> {
        self.sdk().base.region().map(ToString::to_string)
    }

    /// Looks for credentials once, so that a missing role is one clear line at the start instead of a riddle later.
    pub async fn check_credentials(&self) -> Result<(), String> {
        let Some(provider) = self.sdk().base.credentials_provider() else {
            return Err("no source of AWS credentials is configured".into());
        };
        match provider.provide_credentials().await {
            Ok(_) => Ok(()),
            // The SDK tells what it tried in lines of a list.
            Err(error) => {
                let tried: Vec<_> = errors::chain(&error).split_whitespace().map(str::to_owned).collect();
                Err(format!("no AWS credentials: {}", tried.join(" ")))
            }
        }
    }

    fn sdk(&self) -> MutexGuard<'_, Sdk> {
        self.sdk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The SDK reads profiles once and remembers that there were none: credentials that came since are found by a new
    /// look at the environment alone.
    async fn look_for_credentials_again(&self) {
        let is_recent = self.sdk().loaded.elapsed() < RELOADS_APART;
        if self.from_environment && !is_recent {
            let base = load().await;
            *self.sdk() = Sdk { base, clients: HashMap::new(), loaded: Instant::now() };
        }
    }

    fn client(&self, region: &str) -> Client {
        let mut sdk = self.sdk();
        if let Some(client) = sdk.clients.get(region) {
            return client.clone();
        }
        if sdk.clients.len() >= MAX_CLIENTS {
            sdk.clients.clear();
        }
        // The operator paces itself by `Retry-After`, which the SDK's retries do not read. These settings are for
        // API Gateway alone: the calls that fetch credentials keep the SDK's own.
        let config = Config::from(&sdk.base)
            .to_builder()
            .region(Region::new(region.to_owned()))
            .retry_config(RetryConfig::disabled())
            .timeout_config(self.timeouts.clone())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build();
        let client = Client::from_conf(config);
        sdk.clients.insert(region.to_owned(), client.clone());
        client
    }

    async fn observed(
        &self,
        operation: &'static str,
        source: &Source,
        call: impl Future<Output = Result<ClientCertificate, Failure>>,
    ) -> Result<ClientCertificate, GatewayError> {
        let start = Instant::now();
        let result = call.await;
        let elapsed = start.elapsed();
        let code = result.as_ref().map_or_else(|failure| failure.code.as_ref(), |_| "200");
        (self.observer)(operation, code, elapsed);
        let Source { region, id } = source;
        debug!(operation, region, id, code, ?elapsed, "called API Gateway");
        if code == errors::NO_CREDENTIALS {
            self.look_for_credentials_again().await;
        }
        result.map_err(|Failure { error, detail, .. }| {
            if let GatewayError::AccessDenied(Denial::NotAuthorized) = error {
                warn!(operation, region, id, detail, "API Gateway denied the call");
            } else if !detail.is_empty() {
                debug!(operation, region, id, detail, "the call failed");
            }
            error
        })
    }
}

async fn load() -> SdkConfig {
    let http = bounded::http_client(ProxyConfig::from_env());
    aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await
}

impl Gateway for AwsGateway {
    async fn get_client_certificate(&self, source: &Source) -> Result<ClientCertificate, GatewayError> {
        request::check(source)?;
        let request = self.client(&source.region).get_client_certificate().client_certificate_id(&source.id);
        let call = async { answers::of_get(source, request.send().await.map_err(errors::classify)?) };
        self.observed("GetClientCertificate", source, call).await
    }

    async fn set_description(&self, source: &Source, description: &str) -> Result<ClientCertificate, GatewayError> {
        request::check(source)?;
        let patch = PatchOperation::builder().op(Op::Replace).path("/description").value(description).build();
        let request = self
            .client(&source.region)
            .update_client_certificate()
            .client_certificate_id(&source.id)
            .patch_operations(patch);
        let call = async { answers::of_update(source, request.send().await.map_err(errors::classify)?) };
        self.observed("UpdateClientCertificate", source, call).await
    }
}
