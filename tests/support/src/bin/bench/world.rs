//! The environment of the measurements: a control plane, an emulator, and the operator as a process with its
//! ServiceAccount.

use std::path::PathBuf;

use anyhow::{Context, Result};
use client_certificate_operator::api::ClientCertificateRef;
use futures::stream::{self, StreamExt, TryStreamExt};
use kube::Client;
use kube::api::{Api, PostParams};
use operator_testing::certificates::NewCertificate;
use operator_testing::control_plane::audit::AuditEntry;
use operator_testing::control_plane::{ControlPlane, client_from, service_account_user};
use operator_testing::emulator::{DEFAULT_REGION, Emulator};
use operator_testing::operator::Operator;
use serde_json::json;

use crate::Options;

/// The installation, for its CRD and its RBAC rules. Its pods find no node here.
const INSTALL: &str = include_str!("../../../../../deploy/install.yaml");
/// Namespace and name of the ServiceAccount in that file.
pub const ACCOUNT: &str = "client-certificate-operator";

/// Certificates, which resources use in turn.
pub struct Certificates {
    pub region: String,
    pub ids: Vec<String>,
}

impl Certificates {
    /// The number-th resource of a namespace.
    pub fn resource(&self, namespace: &str, number: usize, refresh_interval: &str) -> Result<ClientCertificateRef> {
        let mut resource = World::resource_of(namespace, number, &self.ids, refresh_interval)?;
        resource.spec.region = Some(self.region.clone());
        Ok(resource)
    }
}

/// The control plane, the emulator and the operator's credentials.
pub struct World {
    pub control_plane: ControlPlane,
    pub emulator: Emulator,
    /// The client that creates resources, as administrator.
    pub author: Client,
    /// A client with the operator's ServiceAccount, for the floor.
    pub account: Client,
    /// The certificates of the default region.
    pub certificates: Vec<String>,
    operator: PathBuf,
    environment: Vec<(String, String)>,
    kubeconfig: PathBuf,
}

impl World {
    pub async fn start(options: &Options) -> Result<Self> {
        let operator = options.operator()?;
        let environment = options.environment()?;
        let control_plane = ControlPlane::start().await?;
        let emulator = Emulator::start().await?;
        emulator.set_latency(options.gateway_latency());
        let certificates = generate(&emulator, options.certificates);
        control_plane.apply_yaml(INSTALL).await?;
        let kubeconfig = control_plane.service_account_kubeconfig(ACCOUNT, ACCOUNT).await?;
        let (author, account) = (control_plane.client().await?, client_from(&kubeconfig).await?);
        Ok(Self { control_plane, emulator, author, account, certificates, operator, environment, kubeconfig })
    }

    /// Starts the operator for one namespace, or for all, and waits until it is ready.
    pub async fn operator(&self, namespace: Option<&str>, concurrency: usize) -> Result<Operator> {
        self.operator_with(namespace, concurrency, &[]).await
    }

    /// Starts the operator with more arguments.
    pub async fn operator_with(
        &self,
        namespace: Option<&str>,
        concurrency: usize,
        args: &[String],
    ) -> Result<Operator> {
        let mut builder = Operator::builder(&self.operator).kubeconfig(&self.kubeconfig).quiet();
        for (name, value) in self.emulator.environment() {
            builder = builder.env(name, value);
        }
        for (name, value) in &self.environment {
            builder = builder.env(name, value);
        }
        // The log is JSON with the default filter, as in a cluster.
        builder = builder.arg("--log-format=json").arg(format!("--concurrency={concurrency}"));
        if let Some(namespace) = namespace {
            builder = builder.arg(format!("--namespaces={namespace}"));
        }
        builder = args.iter().fold(builder, |builder, arg| builder.arg(arg));
        let mut operator = builder.spawn()?;
        operator.wait_ready().await?;
        Ok(operator)
    }

    /// Makes more certificates in a region, in addition to those of [`Self::resource`].
    pub fn generate_in(&self, region: &str, count: usize) -> Certificates {
        let make = |_| self.emulator.generate(region, NewCertificate::new().shared_key()).id;
        Certificates { region: region.to_owned(), ids: (0..count).map(make).collect() }
    }

    /// The number-th resource of a namespace.
    pub fn resource(&self, namespace: &str, number: usize, refresh_interval: &str) -> Result<ClientCertificateRef> {
        Self::resource_of(namespace, number, &self.certificates, refresh_interval)
    }

    /// The number-th resource of a namespace, with one of these certificates in turn.
    pub fn resource_of(
        namespace: &str,
        number: usize,
        certificates: &[String],
        refresh_interval: &str,
    ) -> Result<ClientCertificateRef> {
        let resource = json!({
            "apiVersion": "apigateway.clientcert.dev/v1alpha1",
            "kind": "ClientCertificateRef",
            "metadata": { "name": format!("payments-{number:05}"), "namespace": namespace },
            "spec": {
                "clientCertificateId": certificates[number % certificates.len()],
                "refreshInterval": refresh_interval,
            },
        });
        serde_json::from_value(resource).context("the benchmark's resource does not parse")
    }

    /// Creates resources, several at a time.
    pub async fn create_all(&self, resources: Vec<ClientCertificateRef>, concurrency: usize) -> Result<()> {
        stream::iter(resources)
            .map(|resource| async move {
                let namespace = resource.namespace().to_owned();
                let resources: Api<ClientCertificateRef> = Api::namespaced(self.author.clone(), &namespace);
                resources.create(&PostParams::default(), &resource).await
            })
            .buffer_unordered(concurrency)
            .try_for_each(|_| async { Ok(()) })
            .await?;
        Ok(())
    }

    /// The operator's user name in the audit log.
    pub fn operator_user() -> String {
        service_account_user(ACCOUNT, ACCOUNT)
    }

    /// The verb and the resource of a request, for example `patch clientcertificaterefs/status`.
    pub fn kind_of(request: &AuditEntry) -> String {
        let what = [request.resource.as_str(), request.subresource.as_str()].join("/");
        format!("{} {}", request.verb, what.trim_end_matches('/'))
    }
}

fn generate(emulator: &Emulator, count: usize) -> Vec<String> {
    (0..count).map(|_| emulator.generate(DEFAULT_REGION, NewCertificate::new().shared_key()).id).collect()
}
