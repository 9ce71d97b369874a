//! Istio: `pilot-discovery` watches the control plane. Envoy starts as a gateway with the labels of the samples, and
//! requests its configuration from `pilot-discovery`, over TLS, because that sends Secrets only to authenticated
//! clients.

use serde_json::json;

use super::*;
use crate::servers::authority;

/// The name of Istio in its certificate.
const XDS_NAME: &str = "istiod.istio-system.svc";
const CLUSTER: &str = "Kubernetes";
const ACCOUNT: &str = "default";
/// The version that an Envoy of this release reports.
const VERSION: &str = "1.32.0";

pub(super) async fn start(control_plane: &ControlPlane, namespace: &str) -> Result<Gateway> {
    let site = Site::of(HOST, Path::new(""))?;
    let pilot = tokio::task::spawn_blocking(|| program("istio", "pilot-discovery")).await??;
    let envoy = tokio::task::spawn_blocking(envoy).await??;
    let (address, xds, plain_xds, http) = (site.address(), free_address()?, free_address()?, free_address()?);
    let (https, monitoring) = (free_address()?, free_address()?);
    // One CA issues both identities: the name of Istio, and the account of the gateway.
    let account = format!("spiffe://cluster.local/ns/{namespace}/sa/{ACCOUNT}");
    let issued = authority::issue_with(XDS_NAME, Some(&account))?;
    for (name, text) in [("ca.crt", issued.authority), ("tls.crt", issued.certificate), ("tls.key", issued.key)] {
        site.write(name, &text)?;
    }
    // Certificates between pods come from an agent with each Envoy, which does not run here.
    let mesh = site.write("mesh.yaml", "enableAutoMtls: false\n")?;
    let mut command = Program::command(&pilot);
    command.current_dir(site.path("")).env("HOME", site.path("")).env("POD_NAMESPACE", namespace);
    // Upstream's Envoy lacks the filters of Istio's Envoy for metrics and between meshes.
    command.env("PILOT_ENABLE_ALPN_FILTER", "false").env("PILOT_ENABLE_METADATA_EXCHANGE", "false");
    // Several instances run at once, each for its own namespace.
    command.env("PILOT_SCOPE_GATEWAY_TO_NAMESPACE", "true").env("PILOT_ENABLE_GATEWAY_API", "false");
    command.args(["discovery", "--registries=Kubernetes", "--ctrlz_port=0", "--meshConfig"]).arg(mesh);
    command.arg("--kubeconfig").arg(control_plane.kubeconfig()).arg(format!("--namespace={namespace}"));
    for (option, address) in
        [("secureGRPC", xds), ("grpc", plain_xds), ("http", http), ("https", https), ("monitoring", monitoring)]
    {
        command.arg(format!("--{option}Addr={address}"));
    }
    for (option, name) in [("caCertFile", "ca.crt"), ("tlsCertFile", "tls.crt"), ("tlsKeyFile", "tls.key")] {
        command.arg(format!("--{option}={}", site.path(name).display()));
    }
    let mut controller = Program::spawn(site.logged(command, "pilot-discovery")?)?;
    until_listening(xds, &mut controller, &site.path("pilot-discovery.log")).await?;

    let bootstrap = site.write("bootstrap.json", &bootstrap(&site, namespace, xds).to_string())?;
    let mut command = site.command(&envoy)?;
    command.args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning", "--config-path"]);
    command.arg(&bootstrap);
    let data_plane = Program::spawn(site.logged(command, "envoy")?)?;
    let programs = vec![("envoy", data_plane), ("pilot-discovery", controller)];
    Ok(Gateway { name: "Istio", programs, site, address, follows: None })
}

/// The bootstrap that Istio's agent writes for an Envoy, as far as a gateway needs it.
fn bootstrap(site: &Site, namespace: &str, xds: SocketAddr) -> serde_json::Value {
    let file = |name: &str| json!({ "filename": site.path(name) });
    json!({
        "node": {
            "id": format!("router~127.0.0.1~gateway.{namespace}~{namespace}.svc.cluster.local"),
            "cluster": format!("gateway.{namespace}"),
            "metadata": {
                "NAMESPACE": namespace, "CLUSTER_ID": CLUSTER, "SERVICE_ACCOUNT": ACCOUNT, "INSTANCE_IPS": "127.0.0.1",
                "ISTIO_VERSION": VERSION,
                "LABELS": { "istio": "ingress" },
            },
        },
        "dynamic_resources": {
            "lds_config": { "ads": {}, "resource_api_version": "V3" },
            "cds_config": { "ads": {}, "resource_api_version": "V3" },
            "ads_config": {
                "api_type": "DELTA_GRPC", "transport_api_version": "V3",
                "grpc_services": [{ "envoy_grpc": { "cluster_name": "xds-grpc" } }],
            },
        },
        "static_resources": { "clusters": [{
            "name": "xds-grpc", "type": "STATIC",
            "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": { "http2_protocol_options": {} },
            } },
            "load_assignment": { "cluster_name": "xds-grpc", "endpoints": [{ "lb_endpoints": [{ "endpoint": {
                "address": { "socket_address": { "address": xds.ip(), "port_value": xds.port() } },
            } }] }] },
            "transport_socket": { "name": "envoy.transport_sockets.tls", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": XDS_NAME,
                "common_tls_context": {
                    "tls_certificates": [{ "certificate_chain": file("tls.crt"), "private_key": file("tls.key") }],
                    "validation_context": { "trusted_ca": file("ca.crt") },
                },
            } },
        }] },
    })
}
