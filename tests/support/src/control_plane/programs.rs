//! The Kubernetes programs: their build and their flags.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::Options;
use super::files::Files;
use crate::go_programs;
use crate::program::Program;

/// The folder of the programs. Builds missing programs first.
pub(super) fn folder(options: Options) -> Result<PathBuf> {
    go_programs::folder("kubernetes/build", if options.without_controller_manager { "--demo" } else { "" })
}

pub(super) fn etcd(files: &Files, quota: Option<u64>) -> Result<Program> {
    // The sockets in the folder need no ports, but etcd 3.5 requires a port in the URL. The paths are relative to the
    // folder, because the length of a socket's path is limited to about 100 bytes.
    let (clients, peers) = ("unix://etcd.sock:0", "unix://etcd-peers.sock:0");
    let mut command = command(files, "etcd")?;
    command.args(["--name=test", "--data-dir=etcd", "--unsafe-no-fsync", "--log-level=warn"]);
    command.arg(format!("--listen-client-urls={clients}")).arg(format!("--advertise-client-urls={clients}"));
    command.arg(format!("--listen-peer-urls={peers}")).arg(format!("--initial-advertise-peer-urls={peers}"));
    command.arg(format!("--initial-cluster=test={peers}"));
    command.args(quota.map(|bytes| format!("--quota-backend-bytes={bytes}")));
    Program::spawn(command)
}

pub(super) fn apiserver(files: &Files, port: u16) -> Result<Program> {
    let mut command = command(files, "kube-apiserver")?;
    command.args(["--etcd-servers=unix://etcd.sock:0", "--authorization-mode=RBAC", "--profiling=false"]);
    command.args(["--bind-address=127.0.0.1", "--permit-port-sharing", &format!("--secure-port={port}")]);
    command.args(["--client-ca-file=ca.crt", "--tls-cert-file=server.crt", "--tls-private-key-file=server.key"]);
    command.args(["--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=tokens.pub"]);
    command.args(["--service-account-signing-key-file=tokens.key", "--service-cluster-ip-range=10.96.0.0/16"]);
    // The Endpoints of the Service `kubernetes` must not contain a loopback address, and no test needs them.
    command.arg("--endpoint-reconciler-type=none");
    // The mode is blocking, so that an answer is sent after its line is in the log (the start of an answer over some 4
    // KB is sent before). Rotation is off, because tests read the whole log.
    command.args(["--audit-policy-file=audit-policy.yaml", "--audit-log-mode=blocking", "--audit-log-maxsize=0"]);
    command.arg("--audit-log-path").arg(files.audit_log());
    Program::spawn(command)
}

pub(super) fn controller_manager(files: &Files) -> Result<Program> {
    let mut command = command(files, "kube-controller-manager")?;
    command.arg("--kubeconfig").arg(files.kubeconfig());
    command.args(["--leader-elect=false", "--secure-port=0"]);
    command.args(["--service-account-private-key-file=tokens.key", "--root-ca-file=ca.crt"]);
    // The controllers with visible effects on a control plane without nodes. All controllers would cost seconds of
    // processor time, and memory.
    let controllers = [
        "garbage-collector-controller",
        "namespace-controller",
        "serviceaccount-controller",
        "root-ca-certificate-publisher-controller",
        "clusterrole-aggregation-controller",
    ];
    command.arg(format!("--controllers={}", controllers.join(",")));
    Program::spawn(command)
}

pub(super) fn kubectl(files: &Files) -> Command {
    let mut command = Command::new(files.program("kubectl"));
    command.env("KUBECONFIG", files.kubeconfig()).env("KUBECACHEDIR", files.path("kubectl-cache"));
    command
}

fn command(files: &Files, name: &str) -> Result<Command> {
    let mut command = Program::command(files.program(name));
    let log = files.open_log(name)?;
    command.current_dir(files.folder()).stdout(log.try_clone()?).stderr(log);
    Ok(command)
}
