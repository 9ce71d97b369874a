//! A Kubernetes control plane for a test: etcd, kube-apiserver with RBAC and an audit log, and kube-controller-manager.
//!
//! There is no scheduler and no node, so a pod stays pending. All other parts are real: admission, CEL rules,
//! server-side apply, garbage collection, namespace deletion, ServiceAccounts and their tokens.

pub mod audit;
mod certificates;
mod files;
mod kubeconfig;
mod objects;
mod programs;
mod ready;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Result, anyhow, ensure};
use kube::Client;
use tokio::net::TcpSocket;
use tokio::sync::OnceCell;

use self::files::Files;
pub use self::kubeconfig::client_from;
pub use self::objects::service_account_user;
use crate::program::Program;

/// A running control plane. It ends when it is dropped and when this process ends in any way.
///
/// Set the environment variable `KEEP` to keep its folder, with the logs, the audit log and etcd's data, afterwards.
#[derive(Debug)]
pub struct ControlPlane {
    // Fields are dropped in this order: the programs end before their folder is removed and their port is released.
    _controller_manager: Option<Program>,
    apiserver: Mutex<Option<Program>>,
    _etcd: Program,
    files: Files,
    port: ReservedPort,
    ca_pem: String,
}

/// The options of a control plane.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The greatest size of etcd's database in bytes; by default etcd's own default.
    pub etcd_quota: Option<u64>,
    /// Neither builds nor starts kube-controller-manager: no garbage collection, no deletion of namespaces, and no
    /// ServiceAccount `default`.
    pub without_controller_manager: bool,
}

impl ControlPlane {
    /// Starts a control plane and returns when it is ready. This takes about 3 s, but minutes for the first time, when
    /// it builds the programs.
    ///
    /// An error names the program and ends with the last lines of its log. The logs stay.
    pub async fn start() -> Result<Self> {
        Self::start_with(Options::default()).await
    }

    /// Starts a control plane with options.
    pub async fn start_with(options: Options) -> Result<Self> {
        let bin = tokio::task::spawn_blocking(move || programs::folder(options)).await??;
        let mut files = Files::new(bin)?;
        let result = Self::start_in(&files, options).await;
        match result {
            Ok((etcd, apiserver, controller_manager, port, ca_pem)) => Ok(Self {
                _controller_manager: controller_manager,
                apiserver: Mutex::new(Some(apiserver)),
                _etcd: etcd,
                files,
                port,
                ca_pem,
            }),
            Err(error) => {
                files.keep();
                Err(error)
            }
        }
    }

    async fn start_in(
        files: &Files,
        options: Options,
    ) -> Result<(Program, Program, Option<Program>, ReservedPort, String)> {
        let port = ReservedPort::new()?;
        let ca_pem = certificates::write(files)?;
        kubeconfig::write_admin(files, &port.url())?;
        audit::write_policy(files)?;
        // kube-apiserver waits for etcd by itself, so both start at the same time.
        let mut etcd = programs::etcd(files, options.etcd_quota)?;
        let mut apiserver = programs::apiserver(files, port.number())?;
        ready::apiserver(files, &mut [("etcd", &mut etcd), ("kube-apiserver", &mut apiserver)]).await?;
        if options.without_controller_manager {
            return Ok((etcd, apiserver, None, port, ca_pem));
        }
        let mut controller_manager = programs::controller_manager(files)?;
        ready::service_accounts(files, &mut [("kube-controller-manager", &mut controller_manager)]).await?;
        Ok((etcd, apiserver, Some(controller_manager), port, ca_pem))
    }

    /// The shared control plane of this test binary, which the first caller starts. Its users share all cluster-scoped
    /// objects, and must not stop its kube-apiserver: such a test starts another control plane.
    pub async fn shared() -> Result<&'static Self> {
        // A failure is kept, because otherwise every test would wait for the same failure again.
        static SHARED: OnceCell<Result<ControlPlane, String>> = OnceCell::const_new();
        let shared = SHARED.get_or_init(async || Self::start().await.map_err(|error| format!("{error:#}"))).await;
        shared.as_ref().map_err(|error| anyhow!("{error}"))
    }

    /// The path of the administrator's kubeconfig: a client certificate of `system:masters`.
    pub fn kubeconfig(&self) -> PathBuf {
        self.files.kubeconfig()
    }

    /// A client as administrator. Each test needs a new client, because a client belongs to the runtime that made it.
    pub async fn client(&self) -> Result<Client> {
        client_from(&self.kubeconfig()).await
    }

    /// kubectl as administrator, to which the caller adds arguments.
    pub fn kubectl(&self) -> Command {
        programs::kubectl(&self.files)
    }

    /// The path of kubectl.
    pub fn kubectl_path(&self) -> PathBuf {
        self.files.program("kubectl")
    }

    /// The URL of kube-apiserver: `https://127.0.0.1:PORT`, the same after a restart.
    pub fn url(&self) -> String {
        self.port.url()
    }

    /// The certificate authority that signed kube-apiserver's certificate.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The folder of logs, kubeconfigs and data.
    pub fn folder(&self) -> &Path {
        self.files.folder()
    }

    /// Kills kube-apiserver, like a crash: connections break, and new ones are refused.
    pub fn stop_apiserver(&self) {
        *self.apiserver() = None;
    }

    /// Starts kube-apiserver again, on the same port and data, and returns when it is ready.
    pub async fn start_apiserver(&self) -> Result<()> {
        let mut program = {
            ensure!(self.apiserver().is_none(), "kube-apiserver is running already");
            programs::apiserver(&self.files, self.port.number())?
        };
        ready::apiserver(&self.files, &mut [("kube-apiserver", &mut program)]).await?;
        *self.apiserver() = Some(program);
        Ok(())
    }

    /// [`Self::stop_apiserver`], then [`Self::start_apiserver`].
    pub async fn restart_apiserver(&self) -> Result<()> {
        self.stop_apiserver();
        self.start_apiserver().await
    }

    fn apiserver(&self) -> MutexGuard<'_, Option<Program>> {
        self.apiserver.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A port of 127.0.0.1 that no other process gets, also while kube-apiserver is down.
///
/// The socket is bound but does not listen, and kube-apiserver shares its port (`--permit-port-sharing`). A free port
/// that is released may belong to another process a moment later, which happens with many test binaries on one machine.
#[derive(Debug)]
struct ReservedPort {
    _socket: TcpSocket,
    number: u16,
}

impl ReservedPort {
    fn new() -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseport(true)?;
        socket.bind(([127, 0, 0, 1], 0).into())?;
        Ok(Self { number: socket.local_addr()?.port(), _socket: socket })
    }

    fn number(&self) -> u16 {
        self.number
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.number)
    }
}
