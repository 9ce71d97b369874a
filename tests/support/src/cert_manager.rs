//! cert-manager beside a control plane: its own controllers as far as private CAs go, without its webhook.

use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::control_plane::ControlPlane;
use crate::go_programs::folder;
use crate::program::{Program, Scratch};

/// Running controllers: they are killed when dropped and when this process ends.
#[derive(Debug)]
pub struct CertManager {
    // Ends before its folder goes.
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
        // At once: kubectl waits for all that there are.
        control_plane.apply_yaml(&definitions.join("\n---\n")).await
    }

    /// Starts the controllers, as administrators of the cluster, for one namespace.
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

/// What the controllers said goes with their folder.
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
