//! Contour: `contour serve` watches the control plane. Envoy starts with the output of `contour bootstrap`, and
//! requests its configuration from `contour serve`.

use super::*;

pub(super) async fn start(control_plane: &ControlPlane, namespaces: &[&str]) -> Result<Gateway> {
    let site = Site::of(HOST, Path::new(""))?;
    let contour = tokio::task::spawn_blocking(|| program("contour", "contour")).await??;
    let envoy = tokio::task::spawn_blocking(envoy).await??;
    let (xds, metrics, health, debug) = (free_address()?, free_address()?, free_address()?, free_address()?);
    let (http, stats, admin) = (free_address()?, free_address()?, free_address()?);
    let address = site.address();

    let configuration = site.write("contour.yaml", &format!("network: {{admin-port: {}}}\n", admin.port()))?;
    let mut command = Program::command(&contour);
    command.args(["serve", "--insecure", "--disable-leader-election", "--config-path"]).arg(configuration);
    command
        .arg("--kubeconfig")
        .arg(control_plane.kubeconfig())
        .arg(format!("--watch-namespaces={}", namespaces.join(",")));
    for (name, address) in [
        ("xds", xds),
        ("http", metrics),
        ("health", health),
        ("debug-http", debug),
        ("envoy-service-http", http),
        ("envoy-service-https", address),
        ("stats", stats),
    ] {
        command.arg(format!("--{name}-address={}", address.ip())).arg(format!("--{name}-port={}", address.port()));
    }
    let log = site.path("access.log");
    for name in ["http", "https"] {
        command.arg(format!("--envoy-{name}-access-log={}", log.display()));
    }
    let mut controller = Program::spawn(site.logged(command, "contour")?)?;
    until_listening(xds, &mut controller, &site.path("contour.log")).await?;

    let bootstrap = site.path("bootstrap.json");
    let mut command = Command::new(&contour);
    command.arg("bootstrap").arg(&bootstrap).args(["--xds-address", &xds.ip().to_string()]);
    command.args(["--xds-port", &xds.port().to_string(), "--admin-address"]).arg(site.path("admin.sock"));
    run(&mut command)?;
    crate::servers::mount::open_to_all(&bootstrap, 0o644)?;
    let mut command = site.command(&envoy)?;
    // Hot restart is off, because its shared memory allows only one Envoy at a time, and several run at once.
    command.args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]);
    command.args(["--service-cluster", "projectcontour", "--service-node", "envoy", "--config-path"]).arg(&bootstrap);
    let data_plane = Program::spawn(site.logged(command, "envoy")?)?;
    let programs = vec![("envoy", data_plane), ("contour", controller)];
    Ok(Gateway { name: "Contour", programs, site, address, follows: None })
}
