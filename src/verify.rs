//! Checks whether a backend verifies client certificates: whether it requests one, and rejects a caller without one and
//! a caller with another certificate of the same name.
//!
//! A backend that requests no certificate accepts every caller, without any error. So the command calls the backend as
//! a stranger.

mod caller;
pub mod verdict;

use std::process::ExitCode;

use anyhow::anyhow;
use kube::{Api, Client};

use crate::api::{ClientCertificateRef, ResourceName};
use crate::config::VerifyArgs;
use crate::kubernetes::innermost;
use caller::{Call, Caller, Identity};
use verdict::{Findings, Strangers, Verdict};

/// Calls the backend, prints the findings and a verdict, and returns the verdict's exit code. An error means that the
/// verdict is unknown.
#[tokio::main(flavor = "current_thread")]
pub async fn run(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let resource = tokio::time::timeout(args.timeout, read(&args.resource)).await;
    let resource =
        resource.map_err(|_| anyhow!("the Kubernetes API server did not respond within {:?}", args.timeout))??;
    let trusted = verdict::trusted(&resource).map_err(|why| anyhow!(why))?;
    print!("{}", verdict::resource_lines(&resource, trusted));

    let caller = Caller::new(args);
    let Call { version, hints, reception } = caller.call(Identity::none()).await?;
    println!("connected: {} as {}, {version}", args.connect, args.server_name().to_str());
    let strangers = match reception {
        None => None,
        // A server that requests no certificate cannot check a stranger's certificate.
        Some(without) if hints.is_none() => Some(Strangers { without, other: None }),
        Some(without) => {
            let other = caller.call(Identity::stranger()?).await?.reception;
            Some(Strangers { without, other })
        }
    };
    let findings = Findings { hints, strangers };
    let verdict = findings.verdict(trusted);
    println!("{}verdict: {verdict}", findings.lines(trusted));
    Ok(match verdict {
        Verdict::On(_) => ExitCode::SUCCESS,
        Verdict::Unknown(_) => ExitCode::FAILURE,
        Verdict::Off(_) => ExitCode::from(3),
    })
}

async fn read(ResourceName { namespace, name }: &ResourceName) -> anyhow::Result<ClientCertificateRef> {
    let client = Client::try_from(crate::kubernetes::cluster::config().await?)?;
    let resources: Api<ClientCertificateRef> = Api::namespaced(client, namespace);
    let place = format!("ClientCertificateRef {namespace}/{name}");
    resources.get(name).await.map_err(|error| match &error {
        kube::Error::Api(status) if status.code == 404 && status.message.contains(name.as_str()) => {
            anyhow!("{place} does not exist; see `kubectl get clientcertificaterefs --all-namespaces`")
        }
        kube::Error::Api(status) if status.code == 404 => anyhow!(
            "the CustomResourceDefinition of ClientCertificateRef is not installed; apply deploy/crd.yaml, or the output of `client-certificate-operator crd`"
        ),
        kube::Error::Api(status) if status.code == 403 => anyhow!(
            "RBAC does not allow reading {place}; grant `get` on clientcertificaterefs of {} in namespace {namespace}, as deploy/samples/verify-job does ({})",
            crate::api::GROUP,
            status.message
        ),
        kube::Error::Api(status) if status.code == 401 => {
            anyhow!("the API server rejected the credentials; check the ServiceAccount token or KUBECONFIG")
        }
        kube::Error::Api(status) => anyhow!("cannot read {place}: {}", status.message),
        error => anyhow!("the Kubernetes API server is unreachable: {}", innermost(error)),
    })
}
