//! `client-certificate-operator verify` with real handshakes: its facts, its verdict, its exit code.

mod backend;
mod job;
mod matrix;
mod no_verdict;

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::process::Command;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use crate::fixture::{ID, World};
use backend::{Answer, Backend, Check};

/// The result of one run.
pub struct Report {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Report {
    /// The line that begins with these words, without them.
    pub fn fact(&self, name: &str) -> &str {
        let start = format!("{name}: ");
        let found = self.stdout.lines().find_map(|line| line.strip_prefix(&start));
        found.unwrap_or_else(|| panic!("no line {name:?} in {}{}", self.stdout, self.stderr))
    }
}

/// Runs the command with these arguments, as the user of the kubeconfig.
pub async fn verify(kubeconfig: &Path, args: &[&str]) -> Report {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client-certificate-operator"));
    command.env_clear().env("KUBECONFIG", kubeconfig).arg("verify").args(args);
    let run = tokio::time::timeout(Duration::from_secs(60), command.output()).await;
    let Output { status, stdout, stderr } = run.expect("it ends").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Report { code: status.code().unwrap(), stdout: text(stdout), stderr: text(stderr) }
}

/// A world in which `payments` is ready.
async fn world(prefix: &str) -> World<'static> {
    let world = World::start(prefix).await;
    world.create_ready("payments", serde_json::json!({})).await;
    world
}

impl World<'_> {
    /// The value for `--ref`.
    fn reference(&self) -> String {
        format!("{}/payments", self.namespace)
    }

    /// The certificate in the target.
    fn right(&self) -> Vec<u8> {
        let pem = self.pem(ID);
        STANDARD.decode(pem.lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap()
    }
}

/// The name of an authority, as DER.
fn name(of: &[u8]) -> Vec<u8> {
    use x509_parser::prelude::FromDer;
    let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(of).unwrap();
    certificate.subject().as_raw().to_vec()
}
