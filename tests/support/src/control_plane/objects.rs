//! The objects that tests create in a control plane: namespaces, manifests, credentials of ServiceAccounts.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::io::AsyncWriteExt;

use super::{ControlPlane, kubeconfig};
use crate::proxy::FaultProxy;

const TOKEN_SECONDS: i64 = 24 * 60 * 60;

impl ControlPlane {
    /// Creates a namespace with the name `prefix-` and a few letters of the server's choice, and returns the name. The
    /// namespace is never deleted, because the control plane ends with the test binary.
    pub async fn namespace(&self, prefix: &str) -> Result<String> {
        let metadata = ObjectMeta { generate_name: Some(format!("{prefix}-")), ..ObjectMeta::default() };
        let namespaces: Api<Namespace> = Api::all(self.client().await?);
        let created =
            namespaces.create(&PostParams::default(), &Namespace { metadata, ..Namespace::default() }).await?;
        created.metadata.name.context("a namespace without a name")
    }

    /// Applies YAML of one or more documents as administrator, server-side and by force, and waits until the API server
    /// serves its CustomResourceDefinitions.
    ///
    /// The garbage collector discovers new kinds every 30 s. Until then it does not delete the dependents of an owner
    /// of a new kind. A test that deletes an owner applies the definitions first, and waits for up to a minute.
    pub async fn apply_yaml(&self, yaml: &str) -> Result<()> {
        let mut apply = self.kubectl();
        apply.args(["apply", "--server-side", "--force-conflicts", "--field-manager=tests", "--filename=-"]);
        run(apply, yaml).await?;
        if yaml.contains("kind: CustomResourceDefinition") {
            let mut wait = self.kubectl();
            wait.args(["wait", "--for=condition=Established", "customresourcedefinition", "--all", "--timeout=30s"]);
            run(wait, "").await?;
        }
        Ok(())
    }

    /// Writes a kubeconfig with a token of the ServiceAccount, valid for a day, and returns its path. Creates the
    /// ServiceAccount if it does not exist. The test grants its permissions.
    pub async fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let file = format!("{namespace}.{name}.kubeconfig");
        self.write_service_account_kubeconfig(namespace, name, &file, &self.url()).await
    }

    /// Does the same as [`Self::service_account_kubeconfig`], with requests through a proxy.
    pub async fn service_account_kubeconfig_through(
        &self,
        proxy: &FaultProxy,
        namespace: &str,
        name: &str,
    ) -> Result<PathBuf> {
        let file = format!("{namespace}.{name}.{}.kubeconfig", proxy.address().port());
        self.write_service_account_kubeconfig(namespace, name, &file, &proxy.url()).await
    }

    async fn write_service_account_kubeconfig(
        &self,
        namespace: &str,
        name: &str,
        file: &str,
        url: &str,
    ) -> Result<PathBuf> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await?, namespace);
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        match accounts.create(&PostParams::default(), &ServiceAccount { metadata, ..ServiceAccount::default() }).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            result => drop(result?),
        }
        let spec = TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
        let answer = accounts.create_token_request(name, &PostParams::default(), &request).await?;
        let token = answer.status.and_then(|status| status.token).context("a TokenRequest without a token")?;
        kubeconfig::write_token(&self.files, file, url, &token)?;
        Ok(self.files.path(file))
    }
}

/// The user name of a ServiceAccount in the audit log and in RBAC.
pub fn service_account_user(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

async fn run(mut command: Command, input: &str) -> Result<()> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().context("cannot run kubectl")?;
    let mut stdin = child.stdin.take().context("kubectl has no input")?;
    // A failed write means that kubectl has ended. Its output contains the cause.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = child.wait_with_output().await?;
    ensure!(output.status.success(), "kubectl failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
