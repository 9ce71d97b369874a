//! A server as a sample of `deploy/samples` runs it: its own configuration, its own loop, its own source. Only where things are
//! is put right, and that it listens on the loopback.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::Setup;
use super::site::{Site, installed};
use crate::go_programs::folder;

/// What a sample has for one server.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Files of its ConfigMap, or its source: name and text.
    pub files: BTreeMap<String, String>,
    /// Arguments of its container.
    pub args: Vec<String>,
    /// Where the target is mounted.
    pub mount_path: String,
    /// What listens at 127.0.0.1:8080.
    pub application: SocketAddr,
}

impl Sample {
    pub(super) fn launch(&self, setup: Setup, site: &Site) -> Result<Command> {
        let files: Result<BTreeMap<&str, _>> = self
            .files
            .iter()
            .map(|(name, text)| Ok((name.as_str(), site.write(name, &self.here(text, site))?)))
            .collect();
        let files = files?;
        let file = |name: &str| files.get(name).with_context(|| format!("the sample has no {name}"));
        let args = self.args.iter().map(|arg| self.here(arg, site));
        match setup {
            Setup::NginxCa | Setup::NginxPins | Setup::HaproxyCa | Setup::HaproxyPins => {
                // The loop that starts the server and has it reload.
                let mut command = site.command(&installed("sh")?)?;
                command.arg("-c").args(args).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
                Ok(command)
            }
            Setup::EnvoyCa | Setup::EnvoyHashes => {
                let mut command = site.command(&folder("servers/build", "envoy")?.join("envoy/_bin/envoy"))?;
                command.args(args);
                // Without the shared memory by which one Envoy takes over from another: several run at once.
                command.args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]);
                Ok(command)
            }
            Setup::Go => {
                let program = site.path("service");
                run(Command::new("go").args(["build", "-buildvcs=false", "-o"]).arg(&program).arg(file("main.go")?))?;
                let mut command = site.command(&program)?;
                command.env("LISTEN", site.address().to_string()).env("CLIENT_CA", site.mounted("ca.crt"));
                command.env("SERVER_CERTIFICATE", site.path("server.crt")).env("SERVER_KEY", site.path("server.key"));
                Ok(command)
            }
            Setup::JavaPkcs12 => {
                let keystore = site.path("keystore.p12");
                let mut openssl = Command::new("openssl");
                openssl.args(["pkcs12", "-export", "-passout", "pass:changeit", "-in"]).arg(site.path("server.pem"));
                run(openssl.arg("-out").arg(&keystore))?;
                super::mount::open_to_all(&keystore, 0o644)?;
                let mut command = site.command(&installed("java")?)?;
                command.args(["-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]);
                command.arg(file("Server.java")?).env("LISTEN_PORT", site.address().port().to_string());
                command.env("KEYSTORE", keystore).env("KEYSTORE_PASSWORD_FILE", site.write("password", "changeit\n")?);
                command.env("TRUSTSTORE", site.mounted("truststore.p12"));
                command.env("TRUSTSTORE_PASSWORD_FILE", site.mounted("truststore.password"));
                Ok(command)
            }
            Setup::EnvoySpki | Setup::JavaPem => bail!("there is no sample for {}", setup.name()),
        }
    }

    /// The text with the paths and ports of this site.
    fn here(&self, text: &str, site: &Site) -> String {
        let folder = |path: &Path| format!("{}/", path.display().to_string().trim_end_matches('/'));
        let (own, mount, port) = (folder(&site.path("")), folder(&site.mounted("")), site.address().port());
        // The first one's own folder comes before what puts folders of ours in.
        let places = [
            ("/tmp/", own.clone()),
            ("/dev/stdout", format!("{own}access.log")),
            ("/etc/payments/", own.clone()),
            ("/etc/server/tls.crt", format!("{own}server.crt")),
            ("/etc/server/tls.key", format!("{own}server.key")),
            ("/etc/server/tls.pem", format!("{own}server.pem")),
            (&format!("{}/", self.mount_path), mount.clone()),
            (&format!("{{path: {}}}", self.mount_path), format!("{{path: {mount}}}")),
            ("127.0.0.1:8080", self.application.to_string()),
            ("port_value: 8080", format!("port_value: {}", self.application.port())),
            ("listen 8443", format!("listen 127.0.0.1:{port}")),
            ("bind :8443", format!("bind 127.0.0.1:{port}")),
            ("address: 0.0.0.0, port_value: 8443", format!("address: 127.0.0.1, port_value: {port}")),
            ("new InetSocketAddress(port)", "new InetSocketAddress(\"127.0.0.1\", port)".to_owned()),
        ];
        places.into_iter().fold(text.to_owned(), |text, (there, here)| text.replace(there, &here))
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
