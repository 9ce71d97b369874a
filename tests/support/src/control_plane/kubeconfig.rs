//! Writes kubeconfig files, and makes clients from them.

use std::path::Path;

use anyhow::{Context, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use super::files::Files;

/// A client of the user in the kubeconfig.
pub async fn client_from(kubeconfig: &Path) -> Result<Client> {
    let file = Kubeconfig::read_from(kubeconfig).with_context(|| format!("cannot read {}", kubeconfig.display()))?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

pub(super) fn write_admin(files: &Files, url: &str) -> Result<()> {
    let user = format!(
        "client-certificate: {}\n    client-key: {}",
        files.path("admin.crt").display(),
        files.path("admin.key").display()
    );
    write(files, "admin.kubeconfig", url, &user)
}

pub(super) fn write_token(files: &Files, file: &str, url: &str, token: &str) -> Result<()> {
    write(files, file, url, &format!("token: {token}"))
}

fn write(files: &Files, file: &str, url: &str, user: &str) -> Result<()> {
    let authority = match url.starts_with("https:") {
        true => format!("\n    certificate-authority: {}", files.path("ca.crt").display()),
        false => String::new(),
    };
    let text = format!(
        "apiVersion: v1
kind: Config
current-context: test
clusters:
- name: test
  cluster:
    server: {url}{authority}
users:
- name: test
  user:
    {user}
contexts:
- name: test
  context:
    cluster: test
    user: test
"
    );
    files.write(file, &text)
}
