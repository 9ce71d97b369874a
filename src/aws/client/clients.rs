//! The SDK's configuration, and its clients for each place.

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

/// A limit of memory, because users create places by their resources. No real installation reaches it.
const MAX_CLIENTS: usize = 1024;
/// The least time between two loads of the environment: many calls that find no credentials at the same time load it
/// once.
const RELOADS_APART: Duration = Duration::from_millis(500);
/// The time limit to get a session. The SDK's limit is a little longer, and the SDK's error does not name the cause.
const SESSION_TIMEOUT: Duration = Duration::from_secs(4);
/// The greatest length of a session name in STS.
const SESSION_NAME_MOST: usize = 64;

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

/// The clients of a place. They share the credentials of the place, so a role has one session for both services.
struct OfPlace {
    config: SdkConfig,
    gateway: Client,
    /// Made at the first use.
    acm: OnceLock<aws_sdk_acm::Client>,
}

impl State {
    fn new(base: SdkConfig) -> Self {
        State { base, by_place: HashMap::new(), loaded: Instant::now(), is_stale: false }
    }
}

impl Clients {
    /// Clients with the configuration of the standard AWS environment.
    pub(super) async fn from_environment(timeouts: TimeoutConfig) -> Self {
        Clients { from_environment: true, ..Clients::new(load().await, timeouts) }
    }

    /// Clients with a configuration from code.
    pub(super) fn new(base: SdkConfig, timeouts: TimeoutConfig) -> Self {
        Clients { state: Mutex::new(State::new(base)), from_environment: false, timeouts }
    }

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

    /// The clients of a place, with a session of the role if the place has one.
    async fn of_place(&self, place: &Place) -> Arc<OfPlace> {
        self.reload_if_stale().await;
        if let Some(clients) = self.state.lock().by_place.get(place) {
            return clients.clone();
        }
        let base = self.base();
        // The operator waits for `Retry-After`, which the SDK's retries do not read. These settings are for API Gateway
        // and ACM alone: the calls that fetch credentials keep the SDK's default settings.
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
        // Another call may have inserted clients meanwhile. One session is enough.
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

    /// Drops the clients and the session of a place.
    pub(super) fn forget(&self, place: &Place) {
        self.state.lock().by_place.remove(place);
    }

    /// Makes the next call load the environment again, at the earliest `RELOADS_APART` after the last load. The SDK
    /// reads profiles once: without a new load it would not find credentials that were added or replaced since.
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

/// A provider that assumes the role when its credentials are needed, and again before they expire.
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

/// The name of the session in CloudTrail: `ccr-` and the namespace, or the namespace alone if that is too long.
fn session_name(namespace: &str) -> String {
    let name = format!("ccr-{namespace}");
    if name.len() <= SESSION_NAME_MOST { name } else { namespace.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_named_after_the_namespace_of_any_length() {
        assert_eq!(session_name("payments"), "ccr-payments");
        let longest = "n".repeat(63);
        assert_eq!(session_name(&longest), longest);
        assert!(session_name(&"n".repeat(60)).len() <= SESSION_NAME_MOST);
    }
}
