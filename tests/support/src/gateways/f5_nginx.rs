//! F5 NGINX Ingress Controller: `nginx-ingress` watches the control plane, writes nginx's configuration, and starts and
//! reloads Debian's nginx. The templates are the controller's, except for addresses and folders.

use super::*;
use crate::servers::mount::open_to_all;
use crate::servers::site::installed;

/// The templates, and the options that name them.
const TEMPLATES: [(&str, &str); 4] = [
    ("main", "version1/nginx.tmpl"),
    ("ingress", "version1/nginx.ingress.tmpl"),
    ("virtualserver", "version2/nginx.virtualserver.tmpl"),
    ("transportserver", "version2/nginx.transportserver.tmpl"),
];
const FOLDERS: [&str; 4] = ["etc/nginx/conf.d", "etc/nginx/stream-conf.d", "etc/nginx/secrets", "var/lib/nginx"];
/// The IngressClass of the controller.
const CLASS: &str = "f5-nginx";

/// Starts the controller for one namespace. It can watch only one namespace or all.
pub(super) async fn start(control_plane: &ControlPlane, namespace: &str) -> Result<Gateway> {
    let site = Site::of(HOST, Path::new(""))?;
    let controller = tokio::task::spawn_blocking(|| program("f5-nginx", "nginx-ingress")).await??;
    let templates = controller.with_file_name("module").join("source/internal/configs");
    let (address, plain, nginx) = (site.address(), free_address()?, installed("nginx")?);
    for folder in FOLDERS {
        site.folder(folder)?;
    }
    let start = format!("#!/bin/sh\nexec {} -e stderr -p . -c etc/nginx/nginx.conf \"$@\"\n", nginx.display());
    open_to_all(&site.write("nginx", &start)?, 0o755)?;
    // The controller runs without privileges, like nginx.
    let kubeconfig = site.write("kubeconfig", &std::fs::read_to_string(control_plane.kubeconfig())?)?;
    let mut command = site.command(&controller)?;
    command.env("KUBECONFIG", kubeconfig).env("POD_NAMESPACE", namespace).env("POD_NAME", "nginx-ingress");
    for (option, file) in TEMPLATES {
        let text = std::fs::read_to_string(templates.join(file)).with_context(|| format!("no template {file}"))?;
        let text = here(&text, &site, address, plain);
        let path = site.write(&format!("{option}.tmpl"), &text)?;
        command.arg(format!("-{option}-template-path={}", path.display()));
    }
    command.args([
        &format!("-watch-namespace={namespace}"),
        &format!("-ingress-class={CLASS}"),
        // In this version, ingressMTLS is a preview policy.
        "-enable-preview-policies",
        "-enable-leader-election=false",
        "-nginx-status=false",
        "-ready-status=false",
        "-nginx-reload-timeout=30000",
    ]);
    let controller = Program::spawn(site.logged(command, "nginx-ingress")?)?;
    Ok(Gateway {
        name: "F5 NGINX Ingress Controller",
        programs: vec![("nginx-ingress", controller)],
        site,
        address,
        follows: None,
    })
}

/// A template with the addresses and folders of this site. It ends before the part for TCP and UDP, for which Debian's
/// nginx has no module. The file of MIME types is Debian's.
fn here(template: &str, site: &Site, address: SocketAddr, plain: SocketAddr) -> String {
    let folder = site.path("");
    let folder = folder.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|name| format!("    {name}_temp_path {folder}{name};\n")).concat();
    let http = template.split("\nstream {").next().unwrap_or(template);
    http.replace("\nhttp {\n", &format!("\nhttp {{\n{temporary}"))
        .replace("listen 80", &format!("listen {plain}"))
        .replace("listen 443", &format!("listen {address}"))
        .replace("/var/lib/nginx/", "var/lib/nginx/")
        .replace("/etc/nginx/", &format!("{folder}etc/nginx/"))
        .replace(&format!("{folder}etc/nginx/mime.types"), "/etc/nginx/mime.types")
}
