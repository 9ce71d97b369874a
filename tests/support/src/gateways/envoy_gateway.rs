//! Envoy Gateway: `envoy-gateway server` watches the control plane and makes a Deployment for each Gateway. No node
//! runs its pods here, so this module starts Envoy with the arguments of the Deployment, and Envoy requests its
//! configuration from Envoy Gateway.

use std::time::Instant;

use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};

use super::*;
use crate::servers::authority;
use crate::servers::mount::open_to_all;

/// The name of Envoy Gateway in its certificate.
const XDS_NAME: &str = "envoy-gateway";

pub(super) async fn start(control_plane: &ControlPlane, namespaces: &[&str]) -> Result<Gateway> {
    let site = Site::of(HOST, Path::new(""))?;
    let program = tokio::task::spawn_blocking(|| program("envoy-gateway", "envoy-gateway")).await??;
    let (address, xds, admin) = (site.address(), free_address()?, free_address()?);
    // The folder of Envoy Gateway's certificate. Its Envoys use the same certificate, for mutual TLS.
    std::fs::create_dir(site.path("certs"))?;
    open_to_all(&site.path("certs"), 0o755)?;
    let issued = authority::issue(XDS_NAME)?;
    for (name, text) in [("ca.crt", issued.authority), ("tls.crt", issued.certificate), ("tls.key", issued.key)] {
        site.write(&format!("certs/{name}"), &text)?;
    }
    let configuration = json!({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "EnvoyGateway",
        "gateway": { "controllerName": "gateway.envoyproxy.io/gatewayclass-controller" },
        "provider": {
            "type": "Kubernetes",
            "kubernetes": {
                "watch": { "type": "Namespaces", "namespaces": namespaces },
                "leaderElection": { "disable": true },
                "proxyTopologyInjector": { "disabled": true },
            },
        },
        "admin": { "address": { "host": "127.0.0.1", "port": admin.port() } },
        "telemetry": { "metrics": { "prometheus": { "disable": true } } },
    });
    let configuration = site.write("envoy-gateway.yaml", &configuration.to_string())?;
    let mut command = Program::command(&program);
    command.args(["server", "--config-path"]).arg(configuration).current_dir(site.path(""));
    command.env("KUBECONFIG", control_plane.kubeconfig()).env("XDS_PORT", xds.port().to_string());
    command.env("ENVOY_GATEWAY_NAMESPACE", namespaces[0]).env("HOME", site.path(""));
    let mut controller = Program::spawn(site.logged(command, "envoy-gateway")?)?;
    until_listening(xds, &mut controller, &site.path("envoy-gateway.log")).await?;
    Ok(Gateway {
        name: "Envoy Gateway",
        programs: vec![("envoy-gateway", controller)],
        site,
        address,
        follows: Some(Follows { namespace: namespaces[0].to_owned(), xds }),
    })
}

/// The parameters of its Envoy.
#[derive(Debug)]
pub(super) struct Follows {
    namespace: String,
    xds: SocketAddr,
}

/// Waits for the Deployment, and starts Envoy with its arguments.
pub(super) async fn follow(gateway: &mut Gateway, control_plane: &ControlPlane) -> Result<()> {
    let Some(Follows { namespace, xds }) = gateway.follows.take() else { return Ok(()) };
    let deployments: Api<Deployment> = Api::namespaced(control_plane.client().await?, &namespace);
    let start = Instant::now();
    let args = loop {
        let found = deployments.list(&ListParams::default().labels("app.kubernetes.io/name=envoy")).await?;
        let pods = found.items.into_iter().filter_map(|one| one.spec.template.spec);
        let mut containers = pods.flat_map(|pod| pod.containers).filter(|container| container.name == "envoy");
        if let Some(args) = containers.next().and_then(|container| container.args) {
            break args;
        }
        gateway.look_after_programs()?;
        if start.elapsed() > LIMIT {
            bail!("there is no Deployment of Envoy; {}", gateway.log_tails());
        }
        tokio::time::sleep(PAUSE).await;
    };
    let argument = |name: &str| {
        let place = args.iter().position(|arg| arg == name).with_context(|| format!("no {name} in {args:?}"))?;
        args.get(place + 1).with_context(|| format!("{name} has no value"))
    };
    let bootstrap = here(serde_saphyr::from_str(argument("--config-yaml")?)?, &gateway.site, xds)?;
    let file = gateway.site.write("bootstrap.json", &bootstrap.to_string())?;
    let mut command = gateway.site.command(&tokio::task::spawn_blocking(envoy).await??)?;
    command.args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning", "--service-node", "envoy"]);
    command.args(["--service-cluster", argument("--service-cluster")?, "--config-path"]).arg(file);
    let data_plane = Program::spawn(gateway.site.logged(command, "envoy")?)?;
    gateway.programs.insert(0, ("envoy", data_plane));
    Ok(())
}

/// The bootstrap with the ports and files of this site.
fn here(mut bootstrap: Value, site: &Site, xds: SocketAddr) -> Result<Value> {
    // Removes the listeners, because that of Prometheus has a fixed port on all addresses.
    let whole = bootstrap.as_object_mut().context("a bootstrap is an object")?;
    whole.remove("admin");
    let resources = whole.get_mut("static_resources").context("a bootstrap without static resources")?;
    resources["listeners"] = json!([]);
    let clusters = resources["clusters"].as_array_mut().context("a bootstrap without clusters")?;
    clusters.retain(|cluster| cluster["name"] == "xds_cluster");
    let cluster = clusters.first_mut().context("a bootstrap without the cluster of Envoy Gateway")?;
    let address = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address";
    *cluster.pointer_mut(address).context("a cluster without an address")? =
        json!({ "address": xds.ip(), "port_value": xds.port() });
    let file = |name: &str| json!({ "filename": site.path(&format!("certs/{name}")) });
    let tls =
        cluster.pointer_mut("/transport_socket/typed_config/common_tls_context").context("a cluster without TLS")?;
    let maximum = tls["tls_params"].clone();
    *tls = json!({
        "tls_params": maximum,
        "tls_certificates": [{ "certificate_chain": file("tls.crt"), "private_key": file("tls.key") }],
        "validation_context": { "trusted_ca": file("ca.crt") },
    });
    Ok(bootstrap)
}
