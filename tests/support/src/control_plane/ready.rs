//! Waits until the programs of a control plane are ready. An error contains the cause.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use hyper::Request;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;

use super::files::Files;
use super::kubeconfig::client_from;
use crate::program::Program;

/// A generous limit, for a machine that is busy with other tests.
const LIMIT: Duration = Duration::from_secs(60);

/// Waits for kube-apiserver with its start-up hooks, which create RBAC's default roles.
pub(super) async fn apiserver(files: &Files, programs: &mut [(&str, &mut Program)]) -> Result<()> {
    let client = client_from(&files.kubeconfig()).await?;
    until(files, programs, async || {
        let request = Request::get("/readyz").body(Vec::new()).map_err(anyhow::Error::from)?;
        Ok(client.request_text(request).await.map(drop)?)
    })
    .await
}

/// Waits for the ServiceAccount `default`, which kube-controller-manager creates first. Without it, the API server
/// refuses pods and tokens of `default`.
pub(super) async fn service_accounts(files: &Files, programs: &mut [(&str, &mut Program)]) -> Result<()> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client_from(&files.kubeconfig()).await?, "default");
    until(files, programs, async || Ok(accounts.get("default").await.map(drop)?)).await
}

async fn until(
    files: &Files,
    programs: &mut [(&str, &mut Program)],
    attempt: impl AsyncFn() -> Result<()>,
) -> Result<()> {
    let start = Instant::now();
    loop {
        // Each attempt has a time limit, so that a hanging attempt does not hide the end of a program.
        let error = match tokio::time::timeout(Duration::from_secs(1), attempt()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => "no answer within a second".to_owned(),
        };
        for (name, program) in &mut *programs {
            if let Some(status) = program.try_wait()? {
                bail!("{name} ended with {status} before it was ready; {}", files.log_tail(name));
            }
        }
        if start.elapsed() > LIMIT {
            let tails: Vec<String> = programs.iter().map(|(name, _)| files.log_tail(name)).collect();
            bail!("not ready after {LIMIT:?} ({error}); {}", tails.join("\n"));
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}
