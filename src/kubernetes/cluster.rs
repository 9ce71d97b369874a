//! The configuration of the cluster and of the proxy to it.

use anyhow::{Context, Result};
use hyper_util::client::proxy::matcher::Matcher;
use kube::Config;
use kube::config::{Cluster, ExecAuthCluster, Kubeconfig, KubeconfigError};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

const NONE: &str =
    "no Kubernetes cluster is configured; set KUBECONFIG to a kubeconfig file, or run in a pod with a ServiceAccount";

/// The configuration of KUBECONFIG, or of this pod.
pub async fn config() -> Result<Config> {
    let Some(proxy) = variable("HTTPS_PROXY") else { return Config::infer().await.context(NONE) };
    let kubeconfig = Kubeconfig::read().and_then(|kubeconfig| of_kubeconfig(kubeconfig, &proxy));
    let mut config = match kubeconfig {
        Ok(config) => config,
        Err(kubeconfig) => Config::incluster().with_context(|| kubeconfig).context(NONE)?,
    };
    config.apply_debug_overrides();
    Ok(config)
}

fn variable(name: &str) -> Option<String> {
    let value = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    value(name).or_else(|| value(&name.to_lowercase()))
}

/// Does the same as `Config::from_kubeconfig`, except for the proxy. kube refuses a NO_PROXY with an empty entry, which
/// other programs skip, and compares NO_PROXY with the host of the proxy instead of the cluster's host.
fn of_kubeconfig(kubeconfig: Kubeconfig, proxy: &str) -> Result<Config, KubeconfigError> {
    let name = kubeconfig.current_context.ok_or(KubeconfigError::CurrentContextNotSet)?;
    let context = kubeconfig.contexts.into_iter().find(|context| context.name == name);
    let context = context.and_then(|context| context.context).ok_or(KubeconfigError::LoadContext(name))?;
    let cluster = kubeconfig.clusters.into_iter().find(|cluster| cluster.name == context.cluster);
    let cluster = cluster.and_then(|cluster| cluster.cluster);
    let cluster = cluster.ok_or_else(|| KubeconfigError::LoadClusterOfContext(context.cluster.clone()))?;
    let user = kubeconfig.auth_infos.into_iter().find(|user| Some(&user.name) == context.user.as_ref());
    let mut user = user.and_then(|user| user.auth_info).unwrap_or_default();
    let known = ExecAuthCluster::try_from(&cluster)?;
    let authorities = known.certificate_authority_data.clone();
    if let Some(exec) = user.exec.as_mut().filter(|exec| exec.provide_cluster_info) {
        exec.cluster = Some(known);
    }

    let server = cluster.server.as_deref().ok_or(KubeconfigError::MissingClusterUrl)?;
    let mut config = Config::new(server.parse().map_err(KubeconfigError::ParseClusterUrl)?);
    config.proxy_url = match proxy_of(&cluster, &config.cluster_url, proxy) {
        Some(proxy) => Some(proxy.parse().map_err(KubeconfigError::ParseProxyUrl)?),
        None => None,
    };
    config.default_namespace = context.namespace.unwrap_or(config.default_namespace);
    config.root_cert = authorities.map(|pem| {
        let certificates = CertificateDer::pem_slice_iter(&pem).flatten();
        certificates.map(|certificate| certificate.to_vec()).collect()
    });
    config.accept_invalid_certs = cluster.insecure_skip_tls_verify.unwrap_or(false);
    config.disable_compression = cluster.disable_compression.unwrap_or(false);
    config.tls_server_name = cluster.tls_server_name;
    config.auth_info = user;
    Ok(config)
}

/// The proxy in the kubeconfig, as in kubectl, or else the proxy of the environment, unless NO_PROXY names the cluster.
fn proxy_of<'a>(cluster: &'a Cluster, server: &http::Uri, proxy: &'a str) -> Option<&'a str> {
    let no_proxy = variable("NO_PROXY").unwrap_or_default();
    let own = cluster.proxy_url.as_deref().filter(|proxy| !proxy.is_empty());
    own.or_else(|| leads_to(server, proxy, &no_proxy).then_some(proxy))
}

fn leads_to(server: &http::Uri, proxy: &str, no_proxy: &str) -> bool {
    Matcher::builder().all(proxy).no(no_proxy).build().intercept(server).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_names_hosts_networks_and_addresses_of_both_ip_families() {
        let leads =
            |server: &str, no_proxy: &str| leads_to(&server.parse().unwrap(), "http://proxy.test:3128", no_proxy);
        for (server, no_proxy) in [
            ("https://10.0.0.1:6443", "10.0.0.0/8,"),
            ("https://10.0.0.1:6443", " , 10.0.0.1 ,, "),
            ("https://[fd00::1]:6443", "fd00::/8,"),
            ("https://[fd00::1]:6443", ",fd00::1"),
            ("https://api.example.test", ".example.test,"),
            ("https://api.example.test:6443", "example.test"),
            ("https://api.example.test", "a.test,*,"),
        ] {
            assert!(!leads(server, no_proxy), "{server} {no_proxy:?}");
        }
        for (server, no_proxy) in [
            ("https://10.0.0.1:6443", ""),
            ("https://10.0.0.1:6443", ","),
            ("https://10.0.0.1:6443", "proxy.test,192.168.0.0/16,"),
            ("https://api.example.test", "other.test,"),
        ] {
            assert!(leads(server, no_proxy), "{server} {no_proxy:?}");
        }
    }

    #[test]
    fn a_kubeconfig_is_read_as_kube_reads_it() {
        let text = |cluster: &str| {
            let kubeconfig = format!(
                "apiVersion: v1
kind: Config
current-context: c
clusters: [{{name: k, cluster: {{server: 'https://10.0.0.1:6443', tls-server-name: api.test, {cluster}}}}}]
users: [{{name: u, user: {{token: x}}}}]
contexts: [{{name: c, context: {{cluster: k, user: u, namespace: home}}}}]
"
            );
            of_kubeconfig(Kubeconfig::from_yaml(&kubeconfig).unwrap(), "http://proxy.test:3128").unwrap()
        };
        let data = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, crate::fixtures::PEM);
        let config = text(&format!("certificate-authority-data: {data}"));
        assert_eq!(config.root_cert.map(|all| all.len()), Some(1));
        assert_eq!((config.default_namespace.as_str(), config.tls_server_name.as_deref()), ("home", Some("api.test")));
        assert!(config.auth_info.token.is_some() && !config.accept_invalid_certs);
        let config = text("insecure-skip-tls-verify: true, proxy-url: 'http://own.test:1'");
        assert!(config.accept_invalid_certs && config.root_cert.is_none());
        assert_eq!(config.proxy_url.unwrap(), "http://own.test:1/");
    }
}
