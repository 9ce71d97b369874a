//! Real TLS servers that request a client certificate, each as its users configure it, and what API Gateway is to them: a
//! client with a certificate and its key.
//!
//! A server runs without privileges (as `nobody`, where the tests run as root), on a free port of 127.0.0.1, and reads the files
//! of a [`Mount`] where they are.

pub(crate) mod authority;
mod client;
mod envoy;
mod go;
mod haproxy;
mod java;
pub(crate) mod mount;
mod nginx;
mod sample;
pub(crate) mod site;
mod workers;

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use client_certificate_operator::api::{Content, VerifierClass};
use rustix::process::Signal;

pub use self::client::{Answer, Caller, Client, Identity, Peer};
pub use self::mount::Mount;
pub use self::sample::Sample;
use self::site::Site;
use crate::program::Program;

const LIMIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);
/// A port that was free may be taken by the time that the server listens.
const PORTS_TRIED: usize = 3;

/// A server and the form in which it reads which clients to accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// nginx: `ssl_client_certificate`.
    NginxCa,
    /// nginx: `optional_no_ca` and a map of fingerprints.
    NginxPins,
    /// HAProxy: `ca-file`.
    HaproxyCa,
    /// HAProxy: `crt-ignore-err 18` and an ACL of fingerprints.
    HaproxyPins,
    /// Envoy: `trusted_ca`.
    EnvoyCa,
    /// Envoy: `verify_certificate_hash`, from SDS as the target holds it.
    EnvoyHashes,
    /// Envoy: `verify_certificate_spki`.
    EnvoySpki,
    /// Go's crypto/tls with a pool.
    Go,
    /// Java's PKIX trust manager with certificates read from PEM.
    JavaPem,
    /// The same with a PKCS#12 truststore.
    JavaPkcs12,
}

impl Setup {
    /// All that there are.
    pub const ALL: [Setup; 10] = [
        Setup::NginxCa,
        Setup::NginxPins,
        Setup::HaproxyCa,
        Setup::HaproxyPins,
        Setup::EnvoyCa,
        Setup::EnvoyHashes,
        Setup::EnvoySpki,
        Setup::Go,
        Setup::JavaPem,
        Setup::JavaPkcs12,
    ];

    /// What it is called in figures.
    pub fn name(self) -> &'static str {
        match self {
            Setup::NginxCa => "nginx, ssl_client_certificate",
            Setup::NginxPins => "nginx, pins",
            Setup::HaproxyCa => "HAProxy, ca-file",
            Setup::HaproxyPins => "HAProxy, pins",
            Setup::EnvoyCa => "Envoy, trusted_ca",
            Setup::EnvoyHashes => "Envoy, verify_certificate_hash",
            Setup::EnvoySpki => "Envoy, verify_certificate_spki",
            Setup::Go => "Go, crypto/tls",
            Setup::JavaPem => "Java, PEM",
            Setup::JavaPkcs12 => "Java, PKCS#12",
        }
    }

    /// The keys of the target that it reads, beside the password that comes with a truststore.
    pub fn keys(self) -> &'static [(&'static str, Content)] {
        match self {
            Setup::NginxCa | Setup::HaproxyCa | Setup::EnvoyCa | Setup::Go | Setup::JavaPem => {
                &[("ca.crt", Content::Bundle)]
            }
            Setup::NginxPins => &[("pins.map", Content::NginxMap)],
            // HAProxy wants authorities, whatever it ignores of their verdict.
            Setup::HaproxyPins => &[("ca.crt", Content::Bundle), ("pins", Content::Sha256Pins)],
            Setup::EnvoyHashes => &[("api-gateway.yaml", Content::EnvoySds)],
            Setup::EnvoySpki => &[("spki", Content::SpkiPins)],
            Setup::JavaPkcs12 => &[("truststore.p12", Content::Pkcs12)],
        }
    }

    /// What becomes of the second certificate of a target.
    pub fn class(self) -> VerifierClass {
        match self {
            Setup::NginxCa | Setup::HaproxyCa | Setup::EnvoyCa => VerifierClass::FirstWins,
            _ => VerifierClass::OverlapSafe,
        }
    }

    /// Whether it compares pins, so that no authority's word is enough.
    pub fn has_pins(self) -> bool {
        matches!(self, Setup::NginxPins | Setup::HaproxyPins | Setup::EnvoyHashes | Setup::EnvoySpki)
    }

    /// Whether an expired certificate is refused although the target holds it.
    pub fn refuses_expired(self) -> bool {
        !matches!(self, Setup::EnvoyHashes | Setup::EnvoySpki | Setup::JavaPem | Setup::JavaPkcs12)
    }

    fn launch(self, site: &Site) -> Result<Command> {
        match self {
            Setup::NginxCa => nginx::launch(site, nginx::Check::Authorities),
            Setup::NginxPins => nginx::launch(site, nginx::Check::Pins),
            Setup::HaproxyCa => haproxy::launch(site, haproxy::Check::Authorities),
            Setup::HaproxyPins => haproxy::launch(site, haproxy::Check::Pins),
            Setup::EnvoyCa => envoy::launch(site, envoy::Check::Authorities),
            Setup::EnvoyHashes => envoy::launch(site, envoy::Check::Hashes),
            Setup::EnvoySpki => envoy::launch(site, envoy::Check::Spki),
            Setup::Go => go::launch(site),
            Setup::JavaPem => java::launch(site, java::Store::Pem),
            Setup::JavaPkcs12 => java::launch(site, java::Store::Pkcs12),
        }
    }
}

/// A running server; it is killed, with its workers, when dropped and when this process ends.
#[derive(Debug)]
pub struct Server {
    setup: Setup,
    has_own_loop: bool,
    // Ends before its folder goes.
    program: Program,
    site: Site,
}

impl Server {
    /// Starts one on what is mounted, and waits until it answers.
    pub async fn start(setup: Setup, mount: &Mount) -> Result<Self> {
        Self::launch(setup, mount, |site| setup.launch(site)).await
    }

    /// The same with what a sample has instead of what tests have. A sample's own loop has it reload.
    pub async fn start_sample(setup: Setup, mount: &Mount, sample: &Sample) -> Result<Self> {
        let mut server = Self::launch(setup, mount, |site| sample.launch(setup, site)).await?;
        server.has_own_loop = true;
        Ok(server)
    }

    async fn launch(setup: Setup, mount: &Mount, command: impl Fn(&Site) -> Result<Command>) -> Result<Self> {
        let spawn = || {
            let site = Site::new(mount.path())?;
            let program = Program::spawn(command(&site)?)?;
            anyhow::Ok(Self { setup, has_own_loop: false, program, site })
        };
        for _ in 1..PORTS_TRIED {
            let mut server = spawn()?;
            match server.wait_until_it_answers().await {
                Err(error) if format!("{error:#}").contains("in use") => println!("on another port, because {error:#}"),
                result => return result.map(|()| server),
            }
        }
        let mut server = spawn()?;
        server.wait_until_it_answers().await.map(|()| server)
    }

    /// What it is.
    pub fn setup(&self) -> Setup {
        self.setup
    }

    /// Makes the server read the mount again and waits until the server uses the new files, if that needs a reload:
    /// nginx and HAProxy start new workers on their existing sockets. The Go and the Java server read the file at every
    /// handshake. The kernel notifies Envoy, and the loop of a sample checks the mount by itself, so a test has to wait
    /// for the effect.
    pub async fn reload(&mut self) -> Result<()> {
        let signal = match self.setup {
            _ if self.has_own_loop => return Ok(()),
            Setup::NginxCa | Setup::NginxPins => Signal::HUP,
            Setup::HaproxyCa | Setup::HaproxyPins => Signal::USR2,
            // Its file is made of the pins, and not a part of the target.
            Setup::EnvoySpki => return envoy::write_spki(&self.site),
            _ => return Ok(()),
        };
        let before = workers::of(self.program.id())?;
        self.program.signal(signal)?;
        let start = std::time::Instant::now();
        loop {
            let now = workers::of(self.program.id())?;
            if !now.is_empty() && now.is_disjoint(&before) {
                return Ok(());
            }
            if start.elapsed() > LIMIT {
                bail!("{} still works with what it had before the reload; {}", self.setup.name(), self.site.log_tail());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn wait_until_it_answers(&mut self) -> Result<()> {
        let client = Client::new(self, None)?;
        let start = std::time::Instant::now();
        loop {
            let Err(error) = client.shake_hands().await else { return Ok(()) };
            if let Some(status) = self.program.try_wait()? {
                bail!("{} ended with {status}; {}", self.setup.name(), self.site.log_tail());
            }
            if start.elapsed() > LIMIT {
                return Err(error)
                    .with_context(|| format!("{} does not answer; {}", self.setup.name(), self.site.log_tail()));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Peer for Server {
    fn address(&self) -> SocketAddr {
        self.site.address()
    }

    fn host(&self) -> &str {
        self.site.host()
    }

    fn authority_pem(&self) -> &str {
        self.site.authority_pem()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}: {}", self.setup.name(), self.site.log_tail());
        }
    }
}
