//! Traefik: one process that watches the control plane and answers handshakes.

use super::*;

pub(super) async fn start(control_plane: &ControlPlane, namespaces: &[&str]) -> Result<Gateway> {
    let site = Site::of(HOST, Path::new(""))?;
    let traefik = tokio::task::spawn_blocking(|| program("traefik", "traefik")).await??;
    let address = site.address();
    let mut command = Program::command(&traefik);
    command.current_dir(site.path("")).env("HOME", site.path("")).env("KUBECONFIG", control_plane.kubeconfig());
    command.args(["--global.checknewversion=false", "--global.sendanonymoususage=false", "--log.level=INFO"]);
    command.arg(format!("--entrypoints.websecure.address={address}"));
    command.arg(format!("--providers.kubernetescrd.namespaces={}", namespaces.join(",")));
    command.arg("--providers.kubernetescrd.disableclusterscoperesources=true");
    let traefik = Program::spawn(site.logged(command, "traefik")?)?;
    Ok(Gateway { name: "Traefik", programs: vec![("traefik", traefik)], site, address, follows: None })
}
