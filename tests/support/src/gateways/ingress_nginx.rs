//! ingress-nginx: its controller watches the control plane, writes nginx's configuration, and starts and reloads
//! Debian's nginx. The nginx of ingress-nginx has Lua with libraries that Debian lacks. So the template is the
//! controller's without Lua, which chooses the server's certificate (here the default one) and the endpoint (here one
//! that returns hello).

use serde_json::json;

use super::*;
use crate::servers::mount::open_to_all;
use crate::servers::site::installed;

/// The name of the controller's ConfigMap and pod.
const NAME: &str = "ingress-nginx";

pub(super) async fn start(control_plane: &ControlPlane, namespace: &str) -> Result<Gateway> {
    let site = Site::of(HOST, Path::new(""))?;
    let controller = tokio::task::spawn_blocking(|| program(NAME, "nginx")).await??;
    let template = controller.with_file_name("module").join("source/rootfs/etc/nginx/template/nginx.tmpl");
    let template = std::fs::read_to_string(&template).with_context(|| format!("no {}", template.display()))?;
    let (address, stream, nginx) = (site.address(), free_address()?, installed("nginx")?);
    site.write("nginx.tmpl", &without_lua(&template, &site, stream)?)?;
    site.folder("etc/ingress-controller/ssl")?;
    site.folder("etc/ingress-controller/auth")?;
    // The controller tests a configuration in the folder nginx of TMPDIR. Its relative paths have to be valid there
    // too.
    std::os::unix::fs::symlink(".", site.path("nginx"))?;
    // The first configuration of nginx is a part of the image.
    let first = "pid nginx.pid; daemon off; events {}";
    let start = format!(
        "#!/bin/sh\n[ -e nginx.conf ] || echo '{first}' >nginx.conf\nexec {} -e stderr -p . \"$@\"\n",
        nginx.display()
    );
    open_to_all(&site.write("start", &start)?, 0o755)?;
    let kubeconfig = site.write("kubeconfig", &std::fs::read_to_string(control_plane.kubeconfig())?)?;

    let metadata = json!({ "name": NAME, "namespace": namespace });
    let settings = json!({
        // The template's `http2 on` requires a newer nginx than Debian's.
        "use-http2": "false",
        "opentelemetry-config": "opentelemetry.toml",
        "error-log-path": "/dev/stderr",
        "disable-access-log": "true",
        "worker-processes": "1",
        "disable-ipv6": "true",
        "reuse-port": "false",
    });
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": settings });
    // The controller reads its own pod.
    let containers = json!([{ "name": "controller", "image": "controller" }]);
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": { "containers": containers } });
    for object in [map, pod] {
        control_plane.apply_yaml(&object.to_string()).await?;
    }

    // The controller runs without privileges, like nginx.
    let mut command = site.command(&controller)?;
    command.env("NGINX_BINARY", "./start").env("TMPDIR", site.path(""));
    command.env("POD_NAME", NAME).env("POD_NAMESPACE", namespace);
    command.arg("--kubeconfig").arg(kubeconfig);
    for option in [
        &format!("--watch-namespace={namespace}"),
        &format!("--configmap={namespace}/{NAME}"),
        &format!("--default-ssl-certificate={namespace}/payments-tls"),
        "--update-status=false",
        "--enable-metrics=false",
        "--disable-leader-election",
        "--profiling=false",
        "--healthz-host=127.0.0.1",
        &format!("--https-port={}", address.port()),
        &format!("--stream-port={}", stream.port()),
    ] {
        command.arg(option);
    }
    for port in ["http", "status", "default-server", "healthz", "ssl-passthrough-proxy"] {
        command.arg(format!("--{port}-port={}", free_address()?.port()));
    }
    command.arg(format!("--internal-logger-address={}", free_address()?));
    let controller = Program::spawn(site.logged(command, NAME)?)?;
    Ok(Gateway { name: "ingress-nginx", programs: vec![(NAME, controller)], site, address, follows: None })
}

/// The template without the parts that need Lua, and without TCP and UDP.
fn without_lua(template: &str, site: &Site, stream: SocketAddr) -> Result<String> {
    let (http, rest) = template.split_once("\nstream {").context("no stream in the template")?;
    let definitions = rest.find("{{/* definition of templates").context("no definitions in the template")?;
    let text = without_blocks(&format!("{http}\n{}", &rest[definitions..]));
    let is_lua = |line: &str| {
        ["lua_", "more_clear_headers", "{{ buildLuaShared"].iter().any(|word| line.trim_start().starts_with(word))
    };
    let lines: Vec<&str> = text.lines().filter(|line| !is_lua(line)).collect();
    let (hello, folder) = (free_address()?, site.path(""));
    let folder = folder.display();
    // The servers in place of Lua's responses to the controller, and of the application.
    let servers = format!(
        "server {{ listen {hello}; location / {{ return 200 \"hello\\n\"; }} }}
    server {{ listen {stream}; location / {{ return 204; }} }}
    uwsgi_temp_path {folder}uwsgi;
    scgi_temp_path {folder}scgi;
    "
    );
    Ok(lines
        .join("\n")
        .replace("server 0.0.0.1; # placeholder", &format!("server {hello};"))
        // The same response as that of the default backend, which Lua would choose.
        .replace(
            "set $proxy_host ",
            "if ($proxy_upstream_name = \"upstream-default-backend\") { return 404; }\n            set $proxy_host ",
        )
        .replace("location /configuration {", "location /configuration {\n            return 201;")
        .replace("# default server, used", &format!("{servers}# default server, used"))
        .replace("/tmp/nginx/", &folder.to_string()))
}

/// The text without the blocks of Lua, which may contain blocks.
fn without_blocks(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("_by_lua_block") {
        let begin = rest[..at].rfind(char::is_whitespace).map_or(0, |space| space + 1);
        kept += &rest[..begin];
        let open = rest[at..].find('{').map_or(rest.len(), |open| at + open);
        let mut depth = 0;
        let end = rest[open..].char_indices().find_map(|(place, character)| {
            depth += i32::from(character == '{') - i32::from(character == '}');
            (depth == 0).then_some(open + place + 1)
        });
        rest = &rest[end.unwrap_or(rest.len())..];
    }
    kept + rest
}
