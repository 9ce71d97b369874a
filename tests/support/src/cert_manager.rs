//! cert-manager on a control plane: the controllers for private CAs, without the webhook.

use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::control_plane::ControlPlane;
use crate::go_programs::folder;
use crate::program::{Program, Scratch};

/// Running controllers. They are killed when this value is dropped, and when this process ends.
#[derive(Debug)]
pub struct CertManager {
    // Dropped before the folder.
    _program: Program,
    scratch: Scratch,
}

impl CertManager {
    /// Applies the CustomResourceDefinitions of cert-manager.
    pub async fn install(control_plane: &ControlPlane) -> Result<()> {
        let folder = built().await?.join("crds");
        let mut definitions = Vec::new();
        for entry in std::fs::read_dir(&folder).with_context(|| format!("no {}", folder.display()))? {
            definitions.push(std::fs::read_to_string(entry?.path())?);
        }
        // One call for all: kubectl waits for every CustomResourceDefinition in each call.
        control_plane.apply_yaml(&definitions.join("\n---\n")).await
    }

    /// Starts the controllers for one namespace, with the rights of a cluster administrator.
    pub async fn start(control_plane: &ControlPlane, namespace: &str) -> Result<Self> {
        let controller = built().await?.join("controller");
        let scratch = Scratch::new("cert-manager-")?;
        let log = File::create(log(&scratch))?;
        let mut command = Program::command(&controller);
        command.arg("--kubeconfig").arg(control_plane.kubeconfig()).args(["--namespace", namespace]);
        command.stderr(log.try_clone()?).stdout(log);
        Ok(Self { _program: Program::spawn(command)?, scratch })
    }
}

/// Prints the log if the test fails, because the log is deleted with the folder.
impl Drop for CertManager {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", crate::gateways::tail("cert-manager", &log(&self.scratch)));
        }
    }
}

fn log(scratch: &Scratch) -> PathBuf {
    scratch.path().join("controller.log")
}

async fn built() -> Result<PathBuf> {
    tokio::task::spawn_blocking(|| folder("cert-manager/build", "")).await?
}
