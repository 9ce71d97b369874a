//! Whether a backend is on: asks for a client certificate, and turns away whoever has none or another one of the same name.
//!
//! A backend that does not ask gets calls without a certificate, and nobody notices. So this calls as a stranger would.

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

/// Looks, prints what was found and a verdict, and ends with the verdict's exit code. An error means: could not tell.
#[tokio::main(flavor = "current_thread")]
pub async fn run(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let resource = tokio::time::timeout(args.timeout, read(&args.resource)).await;
    let resource =
        resource.map_err(|_| anyhow!("the Kubernetes API server does not answer within {:?}", args.timeout))??;
    let trusted = verdict::trusted(&resource).map_err(|why| anyhow!(why))?;
    print!("{}", verdict::resource_lines(&resource, trusted));

    let caller = Caller::new(args);
    let Call { version, hints, reception } = caller.call(Identity::none()).await?;
    println!("connected: {} as {}, {version}", args.connect, args.server_name().to_str());
    let strangers = match reception {
        None => None,
        // Where nobody is asked for a certificate, a stranger's would not be looked at.
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
            anyhow!("there is no {place}: see `kubectl get clientcertificaterefs --all-namespaces`")
        }
        kube::Error::Api(status) if status.code == 404 => anyhow!(
            "the CustomResourceDefinition of ClientCertificateRef is not installed: apply deploy/crd.yaml, or the output of `client-certificate-operator crd`"
        ),
        kube::Error::Api(status) if status.code == 403 => anyhow!(
            "no right to read {place}: give who runs this the right `get` on clientcertificaterefs of {} in the namespace {namespace}, as deploy/samples/verify-job does ({})",
            crate::api::GROUP,
            status.message
        ),
        kube::Error::Api(status) if status.code == 401 => {
            anyhow!("the API server does not accept the credentials: check the ServiceAccount token or KUBECONFIG")
        }
        kube::Error::Api(status) => anyhow!("cannot read {place}: {}", status.message),
        error => anyhow!("the Kubernetes API server cannot be reached: {}", innermost(error)),
    })
}
