//! Envoy, from its wheel. It reads which clients to accept from a file by SDS, and follows the volume by itself: it watches the
//! folder for the rename of `..data`.

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::site::Site;
use crate::go_programs::folder;

/// How Envoy distinguishes clients.
pub(super) enum Check {
    /// By BoringSSL, with `ca.crt`.
    Authorities,
    /// By SHA-256 of the certificate: `api-gateway.yaml` is the file of SDS.
    Hashes,
    /// By SHA-256 of the public key, with the pins of `spki` in a file of SDS.
    Spki,
}

/// The name of the secret in SDS, as the target's file has it.
const SECRET: &str = "api-gateway";
const SECRET_TYPE: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

pub(super) fn launch(site: &Site, check: Check) -> Result<Command> {
    let volume = site.mounted("");
    let source = match check {
        Check::Hashes => {
            json!({ "path": site.mounted("api-gateway.yaml"), "watched_directory": { "path": volume } })
        }
        Check::Authorities => {
            let context = json!({
                "trusted_ca": { "filename": site.mounted("ca.crt") },
                "watched_directory": { "path": volume },
            });
            json!({ "path": site.write("sds.json", &sds(context))? })
        }
        Check::Spki => {
            write_spki(site)?;
            json!({ "path": site.path("sds.json") })
        }
    };
    let file = site.write("envoy.json", &bootstrap(site, source).to_string())?;
    let program = folder("servers/build", "envoy")?.join("envoy/_bin/envoy");
    let mut command = site.command(&program)?;
    // Without the shared memory by which one Envoy takes over from another: several run at once.
    command.args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning", "--config-path"]).arg(file);
    Ok(command)
}

/// Makes the file of SDS from the mounted pins, as a user of this form has to.
pub(super) fn write_spki(site: &Site) -> Result<()> {
    let pins = std::fs::read_to_string(site.mounted("spki")).context("cannot read the pins")?;
    let pins: Vec<&str> = pins.lines().collect();
    site.write("sds.json", &sds(json!({ "verify_certificate_spki": pins })))?;
    Ok(())
}

fn sds(context: Value) -> String {
    json!({ "resources": [{ "@type": SECRET_TYPE, "name": SECRET, "validation_context": context }] }).to_string()
}

fn bootstrap(site: &Site, source: Value) -> Value {
    let file = |name: &str| json!({ "filename": site.path(name) });
    let tls = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": true,
        "common_tls_context": {
            "tls_certificates": [{ "certificate_chain": file("server.crt"), "private_key": file("server.key") }],
            "validation_context_sds_secret_config": {
                "name": SECRET,
                "sds_config": { "resource_api_version": "V3", "path_config_source": source },
            },
        },
    });
    let hello = json!({
        "match": { "prefix": "/" },
        "direct_response": { "status": 200, "body": { "inline_string": "hello\n" } },
    });
    let http = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "server",
        "route_config": { "virtual_hosts": [{ "name": "server", "domains": ["*"], "routes": [hello] }] },
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
        }],
    });
    let (host, port) = (site.address().ip(), site.address().port());
    json!({
        // SDS needs a name, also if the source is a file.
        "node": { "id": "server", "cluster": "server" },
        "static_resources": {
            "listeners": [{
                "name": "server",
                "address": { "socket_address": { "address": host, "port_value": port } },
                "filter_chains": [{
                    "transport_socket": { "name": "envoy.transport_sockets.tls", "typed_config": tls },
                    "filters": [{ "name": "envoy.filters.network.http_connection_manager", "typed_config": http }],
                }],
            }],
        },
    })
}
