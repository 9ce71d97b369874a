//! An emulator of API Gateway's operations on client certificates and on the stages that present them, of ACM's
//! operations on the certificates that stages can also present, and of STS's operations for roles in other accounts. It
//! is a real HTTP server with real signatures and real certificates.

mod access;
mod account;
mod acm;
mod admin;
mod answer;
mod api;
mod apis;
mod client;
mod faults;
mod front;
mod limit;
mod log;
mod pages;
mod presenter;
mod roles;
mod server;
mod sigv4;
mod stages;
mod state;
mod sts;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_apigateway::config::{Credentials, SharedCredentialsProvider};
use client_certificate_operator::aws::client::{AwsGateway, Builder};
use client_certificate_operator::aws::gateway::{ClientCertificate, Source};

pub use self::access::{HOME_ACCOUNT, HOME_USER};
pub use self::account::Account;
pub(crate) use self::acm::{acm_arn_flaw, acm_refusal, new_acm_arn};
pub use self::admin::DEFAULT_REGION;
pub use self::faults::{Fault, FaultKind};
pub use self::limit::RateLimit;
pub use self::log::Call;
pub use self::presenter::{Presented, Presenter};
pub use self::roles::{AssumeRole, NewRole, Session};
use self::server::Server;
pub use self::sigv4::AccessKey;
use self::state::{Location, State};
use crate::certificates::NewCertificate;

/// The options of an emulator.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address to listen on; port 0 takes a free port.
    pub listen: SocketAddr,
    /// The accepted access keys.
    pub access_keys: Vec<AccessKey>,
}

impl Default for Options {
    fn default() -> Self {
        let key = AccessKey { id: "AKIDEXAMPLE".into(), secret: "example-secret".into(), session_token: None };
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 0)), access_keys: vec![key] }
    }
}

/// A running emulator, with functions for its administration. It stops when it is dropped.
pub struct Emulator {
    state: Arc<State>,
    address: SocketAddr,
    server: Option<Server>,
}

impl Emulator {
    /// Starts an emulator with the default options.
    pub async fn start() -> Result<Self> {
        Self::start_with(Options::default()).await
    }

    /// Starts an emulator with options.
    pub async fn start_with(options: Options) -> Result<Self> {
        anyhow::ensure!(!options.access_keys.is_empty(), "an emulator needs an access key to accept");
        let state = State::new(options.access_keys);
        let server = Server::start(options.listen, router(&state))
            .await
            .with_context(|| format!("cannot listen on {}", options.listen))?;
        Ok(Self { state, address: server.address, server: Some(server) })
    }

    /// Stops listening and closes every connection. The state of the emulator stays.
    pub async fn suspend(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
    }

    /// Listens again, on the same port.
    pub async fn resume(&mut self) -> Result<()> {
        if self.server.is_none() {
            self.server = Some(Server::start(self.address, router(&self.state)).await?);
        }
        Ok(())
    }

    /// Ends the emulator.
    pub async fn stop(mut self) {
        self.suspend().await;
    }

    /// The address of the emulator.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The value for `AWS_ENDPOINT_URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The first accepted access key.
    pub fn access_key(&self) -> &AccessKey {
        &self.state.keys[0]
    }

    /// The environment with which AWS SDKs and tools use this emulator.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let key = self.access_key();
        let mut environment = vec![
            ("AWS_ENDPOINT_URL", self.url()),
            ("AWS_REGION", DEFAULT_REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", key.id.clone()),
            ("AWS_SECRET_ACCESS_KEY", key.secret.clone()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ];
        environment.extend(key.session_token.clone().map(|token| ("AWS_SESSION_TOKEN", token)));
        environment
    }

    /// A builder of gateways to this emulator.
    pub fn gateway_builder(&self) -> Builder {
        let AccessKey { id, secret, session_token } = self.access_key().clone();
        let builder = AwsGateway::builder().endpoint_url(self.url()).region(DEFAULT_REGION);
        match session_token {
            Some(token) => builder.session(id, secret, token),
            None => builder.access_key(id, secret),
        }
    }

    /// The configuration for clients of the AWS SDK that call this emulator.
    pub fn sdk_config(&self) -> SdkConfig {
        let AccessKey { id, secret, session_token } = self.access_key().clone();
        let credentials = Credentials::new(id, secret, session_token, None, "emulator");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(DEFAULT_REGION))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(self.url())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build()
    }

    /// Makes a certificate in a region of the home account.
    pub fn generate(&self, region: &str, new: NewCertificate) -> ClientCertificate {
        self.state.generate(HOME_ACCOUNT, region, new).certificate
    }

    /// A certificate of the home account, if it exists.
    pub fn certificate(&self, source: &Source) -> Option<ClientCertificate> {
        self.state.lock().certificates.get(&home(source)).map(|issued| issued.certificate.clone())
    }

    /// The private key of a certificate as PEM, for handshakes in place of API Gateway.
    pub fn private_key(&self, source: &Source) -> Option<String> {
        self.state.lock().certificates.get(&home(source)).map(|issued| issued.private_key_pem.clone())
    }

    /// Replaces a certificate under its id. The description and the tags stay unless `new` has others.
    pub fn renew(&self, source: &Source, new: NewCertificate) -> Option<ClientCertificate> {
        self.state.replace(&home(source), new).map(|issued| issued.certificate)
    }

    /// Replaces a certificate under its id by one that expired a minute ago.
    pub fn expire(&self, source: &Source) -> Option<ClientCertificate> {
        self.renew(source, NewCertificate::new().expires_in_seconds(-60))
    }

    /// Deletes a certificate; returns whether it existed.
    pub fn delete(&self, source: &Source) -> bool {
        self.state.delete(&home(source))
    }

    /// Restores a deleted certificate; returns whether there was one.
    pub fn restore(&self, source: &Source) -> bool {
        self.state.restore(&home(source))
    }

    /// Changes a description as another writer would; answers whether the certificate is there.
    pub fn set_description(&self, source: &Source, description: &str) -> bool {
        self.state.change(&home(source), |issued| issued.certificate.description = description.to_owned())
    }

    /// Replaces the PEM in responses by any text; returns whether it exists.
    pub fn set_pem(&self, source: &Source, pem: &str) -> bool {
        self.state.change(&home(source), |issued| issued.certificate.pem = pem.to_owned())
    }

    /// Replaces the tags of a certificate; returns whether it exists.
    pub fn set_tags(&self, source: &Source, tags: &[(&str, &str)]) -> bool {
        let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.state.change(&home(source), |issued| issued.certificate.tags = tags)
    }

    /// Delays every answer by this time.
    pub fn set_latency(&self, latency: Duration) {
        self.state.lock().latency = latency;
    }

    /// Adds a fault at the end of the script.
    pub fn inject(&self, fault: Fault) {
        self.state.lock().script.push(fault);
    }

    /// Adds faults at the end of the script, in their order.
    pub fn inject_all(&self, faults: impl IntoIterator<Item = Fault>) {
        let mut inner = self.state.lock();
        faults.into_iter().for_each(|fault| inner.script.push(fault));
    }

    /// Seeds the choice of calls for faults with a share, so that it is repeatable.
    pub fn seed(&self, seed: u64) {
        self.state.lock().script.seed(seed);
    }

    /// Replaces the faults for this certificate. An empty list ends them.
    pub fn set_faults_of(&self, id: &str, faults: impl IntoIterator<Item = Fault>) {
        let mut inner = self.state.lock();
        inner.script.clear_of(id);
        faults.into_iter().for_each(|fault| inner.script.push(fault.of(id)));
    }

    /// Ends every fault.
    pub fn clear_faults(&self) {
        self.state.lock().script.clear();
    }
}

/// The location of a certificate of the home account.
fn home(source: &Source) -> Location {
    Location { account: HOME_ACCOUNT.to_owned(), region: source.place.region.clone(), id: source.id.clone() }
}

fn router(state: &Arc<State>) -> axum::Router {
    admin::routes().fallback(front::handle).with_state(state.clone())
}

/// A random UUID, which is the form of AWS's request ids.
fn request_id() -> String {
    let id = format!("{:032x}", fastrand::u128(..));
    [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]].join("-")
}
