//! A gateway with settings from code instead of the AWS environment.

use std::time::Duration;

use aws_config::identity::IdentityCache;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::time::SystemTimeSource;
use aws_smithy_http_client::proxy::ProxyConfig;

use super::{ATTEMPT_TIMEOUT, AwsGateway, CONNECT_TIMEOUT, bounded};

/// Builds an [`AwsGateway`] that reads nothing from the environment.
#[derive(Clone, Default)]
pub struct Builder {
    endpoint_url: Option<String>,
    region: Option<String>,
    credentials: Option<Credentials>,
    connect_timeout: Option<Duration>,
    attempt_timeout: Option<Duration>,
}

impl Builder {
    /// The endpoint of all calls in every region, instead of AWS's.
    pub fn endpoint_url(mut self, url: impl Into<String>) -> Self {
        self.endpoint_url = Some(url.into());
        self
    }

    /// The region that [`AwsGateway::default_region`] returns.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// An access key. Without one, every call ends with [`Outage::NoCredentials`](crate::aws::gateway::Outage).
    pub fn access_key(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        self.credentials = Some(Credentials::new(id, secret, None, None, "code"));
        self
    }

    /// A temporary access key with its session token.
    pub fn session(
        mut self,
        id: impl Into<String>,
        secret: impl Into<String>,
        session_token: impl Into<String>,
    ) -> Self {
        self.credentials = Some(Credentials::new(id, secret, Some(session_token.into()), None, "code"));
        self
    }

    /// The time limit to connect; 3 seconds by default.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = Some(timeout);
        self
    }

    /// The time limit of a whole call; 10 seconds by default.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = Some(timeout);
        self
    }

    /// Builds the gateway.
    pub fn build(self) -> AwsGateway {
        let mut base = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .time_source(SystemTimeSource::new())
            .http_client(bounded::http_client(ProxyConfig::disabled()))
            .identity_cache(IdentityCache::lazy().build())
            .region(self.region.map(Region::new));
        base.set_endpoint_url(self.endpoint_url);
        base.set_credentials_provider(Some(match self.credentials {
            Some(credentials) => SharedCredentialsProvider::new(credentials),
            None => SharedCredentialsProvider::new(nobody::Nobody),
        }));
        AwsGateway::new(
            base.build(),
            self.connect_timeout.unwrap_or(CONNECT_TIMEOUT),
            self.attempt_timeout.unwrap_or(ATTEMPT_TIMEOUT),
        )
    }
}

/// A provider without credentials, as on a machine without any AWS configuration.
mod nobody {
    use aws_credential_types::provider::error::CredentialsError;
    use aws_credential_types::provider::{self, ProvideCredentials, future};

    #[derive(Debug)]
    pub(super) struct Nobody;

    impl ProvideCredentials for Nobody {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let nothing: provider::Result = Err(CredentialsError::not_loaded("no access key was given"));
            future::ProvideCredentials::ready(nothing)
        }
    }
}
