//! nginx, from Debian. It reads certificates and maps when it starts and when it reloads; the reload keeps the listening socket,
//! and old workers finish what they have.

use std::process::Command;

use anyhow::Result;

use super::site::{Site, installed};

/// How nginx distinguishes clients.
pub(super) enum Check {
    /// By OpenSSL, with `ca.crt`.
    Authorities,
    /// By fingerprint, with `pins.map`.
    Pins,
}

pub(super) fn launch(site: &Site, check: Check) -> Result<Command> {
    let (before, within) = match check {
        Check::Authorities => {
            let authorities = site.mounted("ca.crt");
            (String::new(), format!("ssl_verify_client on; ssl_client_certificate {};", authorities.display()))
        }
        Check::Pins => (
            format!(
                "map $ssl_client_fingerprint $pinned {{ default 0; include {}; }}",
                site.mounted("pins.map").display()
            ),
            "ssl_verify_client optional_no_ca; if ($pinned = 0) { return 403; }".to_owned(),
        ),
    };
    let (address, folder) = (site.address(), site.path(""));
    let folder = folder.display();
    let configuration = format!(
        "daemon off;
worker_processes 1;
pid {folder}nginx.pid;
error_log stderr notice;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}body;
    proxy_temp_path {folder}proxy;
    fastcgi_temp_path {folder}fastcgi;
    uwsgi_temp_path {folder}uwsgi;
    scgi_temp_path {folder}scgi;
    {before}
    server {{
        listen {address} ssl;
        ssl_certificate {folder}server.crt;
        ssl_certificate_key {folder}server.key;
        {within}
        location / {{ return 200 \"hello\\n\"; }}
    }}
}}
"
    );
    let file = site.write("nginx.conf", &configuration)?;
    let mut command = site.command(&installed("nginx")?)?;
    // What Debian built in as the error log cannot be opened by others than root, so it is named before the file is read.
    command.arg("-e").arg("stderr").arg("-p").arg(site.path("")).arg("-c").arg(file);
    Ok(command)
}
