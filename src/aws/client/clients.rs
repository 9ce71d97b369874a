//! The SDK as it is configured, and its clients for each place.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_apigateway::Client;
use aws_sdk_apigateway::config::StalledStreamProtectionConfig;
use aws_sdk_apigateway::config::retry::RetryConfig;
use aws_sdk_apigateway::config::timeout::TimeoutConfig;
use aws_smithy_http_client::proxy::ProxyConfig;
use parking_lot::Mutex;

use super::bounded;
use crate::aws::gateway::{AssumedRole, Identity, Place};

/// Places come from resources that many people may write. Far more than one installation has, so that only nonsense is
/// dropped.
const MAX_CLIENTS: usize = 1024;
/// Many calls that find no credentials at the same time reload the environment once.
const RELOADS_APART: Duration = Duration::from_millis(500);
/// The time limit for a session. The SDK's own is a little longer, and its error does not name the cause.
const SESSION_TIMEOUT: Duration = Duration::from_secs(4);
/// The longest name that STS takes for a session.
const SESSION_NAME_MOST: usize = 64;

/// The SDK's configuration and its clients.
pub(super) struct Clients {
    state: Mutex<State>,
    from_environment: bool,
    timeouts: TimeoutConfig,
}

struct State {
    base: SdkConfig,
    by_place: HashMap<Place, Arc<OfPlace>>,
    loaded: Instant,
    /// The credentials of the environment were missing or refused.
    is_stale: bool,
}

/// The clients of a place. They share its credentials, so that a role has one session for both services.
struct OfPlace {
    config: SdkConfig,
    gateway: Client,
    /// Made where it is needed.
    acm: OnceLock<aws_sdk_acm::Client>,
}

impl State {
    fn new(base: SdkConfig) -> Self {
        State { base, by_place: HashMap::new(), loaded: Instant::now(), is_stale: false }
    }
}

impl Clients {
    /// Clients that are configured by the standard AWS environment.
    pub(super) async fn from_environment(timeouts: TimeoutConfig) -> Self {
        Clients { from_environment: true, ..Clients::new(load().await, timeouts) }
    }

    /// Clients that are configured by code.
    pub(super) fn new(base: SdkConfig, timeouts: TimeoutConfig) -> Self {
        Clients { state: Mutex::new(State::new(base)), from_environment: false, timeouts }
    }

    /// The SDK's configuration.
    pub(super) fn base(&self) -> SdkConfig {
        self.state.lock().base.clone()
    }

    /// The client of API Gateway for a place.
    pub(super) async fn of(&self, place: &Place) -> Client {
        self.of_place(place).await.gateway.clone()
    }

    /// The client of ACM for a place.
    pub(super) async fn acm(&self, place: &Place) -> aws_sdk_acm::Client {
        let of_place = self.of_place(place).await;
        of_place.acm.get_or_init(|| aws_sdk_acm::Client::new(&of_place.config)).clone()
    }

    /// The clients of a place, with credentials of their own where the place has a role.
    async fn of_place(&self, place: &Place) -> Arc<OfPlace> {
        self.reload_if_stale().await;
        if let Some(clients) = self.state.lock().by_place.get(place) {
            return clients.clone();
        }
        let base = self.base();
        // The operator waits for `Retry-After`, which the SDK's retries do not read. These settings are for
        // API Gateway and ACM alone: the calls that fetch credentials keep the SDK's own.
        let mut config = base
            .to_builder()
            .region(Region::new(place.region.clone()))
            .retry_config(RetryConfig::disabled())
            .timeout_config(self.timeouts.clone())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Identity::Role(role) = &place.identity {
            config = config.credentials_provider(assume(role, &place.region, &base).await);
        }
        let config = config.build();
        let clients = OfPlace { gateway: Client::new(&config), config, acm: OnceLock::new() };
        let mut state = self.state.lock();
        if state.by_place.len() >= MAX_CLIENTS {
            state.by_place.clear();
        }
        // Another call may have been faster: one session is enough.
        state.by_place.entry(place.clone()).or_insert_with(|| Arc::new(clients)).clone()
    }

    /// A client of STS, for the operator's own credentials.
    pub(super) async fn sts(&self) -> aws_sdk_sts::Client {
        self.reload_if_stale().await;
        let config = aws_sdk_sts::config::Builder::from(&self.base())
            .retry_config(RetryConfig::disabled())
            .timeout_config(self.timeouts.clone());
        aws_sdk_sts::Client::from_conf(config.build())
    }

    /// Forgets the credentials of a place.
    pub(super) fn forget(&self, place: &Place) {
        self.state.lock().by_place.remove(place);
    }

    /// The SDK reads profiles once, and remembers that there were none: credentials that came since, or took the place of
    /// others, are found only by reading the environment again. The next call does so, after a while: the current
    /// credentials have most likely just been refused.
    pub(super) fn look_for_credentials_again(&self) {
        self.state.lock().is_stale = self.from_environment;
    }

    async fn reload_if_stale(&self) {
        let is_due = {
            let state = self.state.lock();
            state.is_stale && state.loaded.elapsed() >= RELOADS_APART
        };
        if is_due {
            let base = load().await;
            *self.state.lock() = State::new(base);
        }
    }
}

async fn load() -> SdkConfig {
    let http = bounded::http_client(ProxyConfig::from_env());
    aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await
}

/// Assumes the role where and when its credentials are needed, and again before they end.
async fn assume(role: &AssumedRole, region: &str, base: &SdkConfig) -> SharedCredentialsProvider {
    let timeouts = TimeoutConfig::builder().operation_timeout(SESSION_TIMEOUT).build();
    let mut provider = AssumeRoleProvider::builder(&role.arn)
        .configure(&base.to_builder().timeout_config(timeouts).build())
        .region(Region::new(region.to_owned()))
        .session_name(session_name(&role.namespace));
    if let Some(external_id) = &role.external_id {
        provider = provider.external_id(external_id);
    }
    if role.tags_session {
        provider = provider.tags([("kubernetes-namespace", role.namespace.as_str())]);
    }
    SharedCredentialsProvider::new(provider.build().await)
}

/// The name of the session in CloudTrail: the namespace, cut to 64 characters.
fn session_name(namespace: &str) -> String {
    let name = format!("ccr-{namespace}");
    if name.len() <= SESSION_NAME_MOST { name } else { namespace.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_named_after_the_namespace_however_long_that_is() {
        assert_eq!(session_name("payments"), "ccr-payments");
        let longest = "n".repeat(63);
        assert_eq!(session_name(&longest), longest);
        assert!(session_name(&"n".repeat(60)).len() <= SESSION_NAME_MOST);
    }
}
