//! The Kubernetes programs: where they come from and the flags they are run with.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::files::Files;
use crate::go_programs;
use crate::program::Program;

/// The folder of the programs, built first when they are missing.
pub(super) fn folder() -> Result<PathBuf> {
    go_programs::folder("kubernetes/build", "")
}

pub(super) fn etcd(files: &Files, quota: Option<u64>) -> Result<Program> {
    // Sockets in the folder need no ports, but etcd 3.5 requires one in the name. They are named relative to it because a socket's path is limited to about 100 bytes.
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
    // The Endpoints of the Service `kubernetes` must not be a loopback address, and nothing here needs them.
    command.arg("--endpoint-reconciler-type=none");
    // Blocking: an answer leaves after its line is in the log (long ones, over some 4 KB, begin to leave before). No rotation: the log is read whole.
    command.args(["--audit-policy-file=audit-policy.yaml", "--audit-log-mode=blocking", "--audit-log-maxsize=0"]);
    command.arg("--audit-log-path").arg(files.audit_log());
    Program::spawn(command)
}

pub(super) fn controller_manager(files: &Files) -> Result<Program> {
    let mut command = command(files, "kube-controller-manager")?;
    command.arg("--kubeconfig").arg(files.kubeconfig());
    command.args(["--leader-elect=false", "--secure-port=0"]);
    command.args(["--service-account-private-key-file=tokens.key", "--root-ca-file=ca.crt"]);
    // Those whose work a test can see without a node; all of them would cost seconds of processor time and memory.
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
