//! Gateways as in a cluster: the real controller with a control plane, and a data plane: Envoy, which receives its
//! configuration from the controller, or nginx, whose configuration the controller writes.

mod contour;
mod envoy_gateway;
mod f5_nginx;
mod ingress_nginx;
mod istio;
mod traefik;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::control_plane::ControlPlane;
use crate::go_programs::folder;
use crate::program::Program;
use crate::servers::site::{Site, free_address};
use crate::servers::{Client, Peer};

/// The host of the samples' routes.
pub const HOST: &str = "payments.example.com";
/// A generous limit, for a controller that fills its caches on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// A running gateway. It is killed when it is dropped and when this process ends.
#[derive(Debug)]
pub struct Gateway {
    name: &'static str,
    // The programs end before their folder is removed.
    programs: Vec<(&'static str, Program)>,
    site: Site,
    address: SocketAddr,
    /// The parameters of the data plane, if it starts after the objects exist.
    follows: Option<envoy_gateway::Follows>,
}

impl Gateway {
    /// Contour, for these namespaces.
    pub async fn contour(control_plane: &ControlPlane, namespaces: &[&str]) -> Result<Self> {
        contour::start(control_plane, namespaces).await
    }

    /// Envoy Gateway, for these namespaces. The first is its own namespace. [`Self::follow`] starts its Envoy.
    pub async fn envoy_gateway(control_plane: &ControlPlane, namespaces: &[&str]) -> Result<Self> {
        envoy_gateway::start(control_plane, namespaces).await
    }

    /// Traefik, for these namespaces.
    pub async fn traefik(control_plane: &ControlPlane, namespaces: &[&str]) -> Result<Self> {
        traefik::start(control_plane, namespaces).await
    }

    /// F5 NGINX Ingress Controller, for this namespace. It can watch only one namespace or all.
    pub async fn f5_nginx(control_plane: &ControlPlane, namespace: &str) -> Result<Self> {
        f5_nginx::start(control_plane, namespace).await
    }

    /// ingress-nginx, for this namespace.
    pub async fn ingress_nginx(control_plane: &ControlPlane, namespace: &str) -> Result<Self> {
        ingress_nginx::start(control_plane, namespace).await
    }

    /// Istio, with a gateway in this namespace.
    pub async fn istio(control_plane: &ControlPlane, namespace: &str) -> Result<Self> {
        istio::start(control_plane, namespace).await
    }

    /// Starts the data plane, if that needs the gateway's objects.
    pub async fn follow(&mut self, control_plane: &ControlPlane) -> Result<()> {
        envoy_gateway::follow(self, control_plane).await
    }

    /// The certificate and the key for [`HOST`], for the gateway's TLS Secret.
    pub fn server_certificate(&self) -> Result<(String, String)> {
        let read = |name: &str| std::fs::read_to_string(self.site.path(name)).context("a file of the site's own");
        Ok((read("server.crt")?, read("server.key")?))
    }

    /// Waits until the gateway answers handshakes for [`HOST`], which means that it has applied its objects.
    pub async fn until_it_answers(&mut self) -> Result<()> {
        let client = Client::new(self, None)?;
        let start = Instant::now();
        loop {
            let Err(error) = client.shake_hands().await else { return Ok(()) };
            self.look_after_programs()?;
            if start.elapsed() > LIMIT {
                return Err(error).with_context(|| format!("{} does not answer; {}", self.name, self.log_tails()));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The ends of the programs' logs.
    pub fn log_tails(&self) -> String {
        let tails = self.programs.iter().map(|(name, _)| tail(name, &self.site.path(&format!("{name}.log"))));
        tails.collect::<Vec<_>>().join("\n")
    }

    fn look_after_programs(&mut self) -> Result<()> {
        for index in 0..self.programs.len() {
            let (name, program) = &mut self.programs[index];
            if let Some(status) = program.try_wait()? {
                let name = *name;
                bail!("{name} ended with {status}; {}", self.log_tails());
            }
        }
        Ok(())
    }
}

impl Peer for Gateway {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn host(&self) -> &str {
        self.site.host()
    }

    fn authority_pem(&self) -> &str {
        self.site.authority_pem()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}: {}", self.name, self.log_tails());
        }
    }
}

/// An address of this machine that an EndpointSlice may contain: not a loopback address.
pub fn own_address() -> Result<IpAddr> {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    // No packet is sent: the kernel only chooses a route.
    socket.connect(("203.0.113.1", 9)).context("this machine has no address but its loopback's")?;
    Ok(socket.local_addr()?.ip())
}

fn program(gateway: &'static str, name: &str) -> Result<PathBuf> {
    Ok(folder("gateways/build", gateway)?.join(name))
}

fn envoy() -> Result<PathBuf> {
    Ok(folder("servers/build", "envoy")?.join("envoy/_bin/envoy"))
}

/// Runs a program to its end.
fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Waits until a program listens on an address.
async fn until_listening(address: SocketAddr, program: &mut Program, log: &Path) -> Result<()> {
    let start = Instant::now();
    while tokio::net::TcpStream::connect(address).await.is_err() {
        if let Some(status) = program.try_wait()? {
            bail!("it ended with {status}; {}", tail("log", log));
        }
        if start.elapsed() > LIMIT {
            bail!("nobody listens at {address}; {}", tail("log", log));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

pub(crate) fn tail(name: &str, path: &Path) -> String {
    let text = std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    format!("the last lines of {name}:\n{}", lines[lines.len().saturating_sub(30)..].join("\n"))
}
