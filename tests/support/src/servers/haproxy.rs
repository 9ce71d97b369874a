//! HAProxy, from Debian, as master and worker. It reads certificates and ACL files when it starts and when it reloads; then the
//! master starts a new worker on the listening sockets of the old one, which finishes what it has.

use std::process::Command;

use anyhow::Result;

use super::site::{Site, installed};

/// How HAProxy distinguishes clients.
pub(super) enum Check {
    /// By OpenSSL, with `ca.crt`.
    Authorities,
    /// By fingerprint, with `pins`.
    Pins,
}

pub(super) fn launch(site: &Site, check: Check) -> Result<Command> {
    let (ignore, within) = match check {
        Check::Authorities => ("", String::new()),
        Check::Pins => (
            // 18: the certificate is self-signed, and not the first authority of its name.
            "crt-ignore-err 18",
            format!(
                "acl pinned ssl_c_der,sha2(256),hex -m str -f {}\n    http-request deny unless pinned",
                site.mounted("pins").display()
            ),
        ),
    };
    let (address, authorities) = (site.address(), site.mounted("ca.crt"));
    let (certificate, authorities) = (site.path("server.pem"), authorities.display());
    let configuration = format!(
        "global
    nbthread 1
    maxconn 256
    stats socket {socket} mode 600 level admin expose-fd listeners
defaults
    mode http
    timeout client 30s
    timeout server 30s
    timeout connect 30s
frontend server
    bind {address} ssl crt {certificate} ca-file {authorities} verify required {ignore}
    {within}
    http-request return status 200 content-type text/plain string hello
",
        socket = site.path("admin.sock").display(),
        certificate = certificate.display(),
    );
    let file = site.write("haproxy.cfg", &configuration)?;
    let mut command = site.command(&installed("haproxy")?)?;
    command.arg("-W").arg("-f").arg(file);
    Ok(command)
}
