//! A control plane for use by hand, until Ctrl-C.

use std::time::Instant;

use anyhow::Result;
use clap::Parser;
use operator_testing::control_plane::ControlPlane;
use tokio::signal::unix::{SignalKind, signal};

/// Runs a Kubernetes control plane (etcd, kube-apiserver, kube-controller-manager) until Ctrl-C or SIGTERM.
///
/// There is no node: objects are stored, validated and garbage-collected, but pods do not run. All data is deleted at
/// the end.
#[derive(Parser)]
#[command(after_help = "\
To use it, in another terminal:
  paste the printed `export KUBECONFIG=...`, then run `kubectl get namespaces`

The programs are built from Go modules the first time, which takes minutes; see tests/kubernetes/build for its settings.
Set KEEP=1 to keep the folder with the logs, the audit log and etcd's data afterwards.")]
struct Options {}

#[tokio::main]
async fn main() -> Result<()> {
    Options::parse();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    let run = async {
        let start = Instant::now();
        let control_plane = ControlPlane::start().await?;
        eprintln!("ready after {:.1?}; Ctrl-C stops the control plane", start.elapsed());
        eprintln!("logs and audit log: {}", control_plane.folder().display());
        eprintln!("kubectl of the same version: {}", control_plane.kubectl_path().display());
        println!("export KUBECONFIG={}", control_plane.kubeconfig().display());
        // The control plane lives until this future is dropped.
        std::future::pending::<Result<()>>().await
    };
    tokio::select! {
        () = stop => Ok(()),
        result = run => result,
    }
}
