//! Tests of the test support: the control plane, the fault proxy and the operator's wrapper.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, PostParams, WatchEvent, WatchParams};
use kube::{Client, Resource};
use operator_testing::control_plane::{ControlPlane, client_from, service_account_user};
use operator_testing::operator::Operator;
use operator_testing::proxy::{Fault, FaultProxy, Rule};
use operator_testing::wait::{eventually, never};

const SOON: Duration = Duration::from_secs(20);

fn config_map(name: &str) -> ConfigMap {
    ConfigMap { metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }, ..ConfigMap::default() }
}

/// Allows the ServiceAccount `writer` to write ConfigMaps in the namespace.
async fn allow_writer(control_plane: &ControlPlane, namespace: &str) {
    let yaml = format!(
        r#"apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: writer, namespace: {namespace}}}
rules:
- {{apiGroups: [""], resources: [configmaps], verbs: ["*"]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: writer, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: writer}}
subjects: [{{kind: ServiceAccount, name: writer, namespace: {namespace}}}]
"#
    );
    control_plane.apply_yaml(&yaml).await.unwrap();
}

/// A proxy, and a client of the ServiceAccount `writer` through the proxy.
async fn proxied_writer(control_plane: &ControlPlane, namespace: &str) -> (FaultProxy, Client) {
    allow_writer(control_plane, namespace).await;
    let proxy = FaultProxy::start(control_plane).await.unwrap();
    let kubeconfig = control_plane.service_account_kubeconfig_through(&proxy, namespace, "writer").await.unwrap();
    (proxy, client_from(&kubeconfig).await.unwrap())
}

fn code_of<T: std::fmt::Debug>(result: kube::Result<T>) -> u16 {
    match result {
        Err(kube::Error::Api(status)) => status.code,
        other => panic!("not an answer with a Status: {other:?}"),
    }
}

#[tokio::test]
async fn the_control_plane_has_the_pinned_version() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let version = control_plane.client().await.unwrap().apiserver_version().await.unwrap();
    let wanted = std::env::var("KUBERNETES").unwrap_or_else(|_| "1.37".to_owned());
    assert!(version.git_version.starts_with(&format!("v{wanted}.")), "{}", version.git_version);
}

#[tokio::test]
async fn kubectl_reaches_the_control_plane() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let output = control_plane.kubectl().args(["get", "namespaces", "--output=name"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("namespace/kube-system"), "{output:?}");
}

#[tokio::test]
async fn a_service_account_without_rights_is_refused() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let namespace = control_plane.namespace("powerless").await.unwrap();
    let kubeconfig = control_plane.service_account_kubeconfig(&namespace, "nobody").await.unwrap();
    let secrets: Api<Secret> = Api::namespaced(client_from(&kubeconfig).await.unwrap(), &namespace);
    assert_eq!(code_of(secrets.list(&ListParams::default()).await), 403);
    let seen = control_plane.requests(&service_account_user(&namespace, "nobody"), Some(&namespace)).unwrap();
    let seen: Vec<_> = seen.iter().map(|entry| (entry.verb.as_str(), entry.resource.as_str(), entry.code)).collect();
    assert_eq!(seen, [("list", "secrets", 403)]);
}

#[tokio::test]
async fn objects_of_a_deleted_owner_are_garbage_collected() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let namespace = control_plane.namespace("garbage").await.unwrap();
    let config_maps: Api<ConfigMap> = Api::namespaced(control_plane.client().await.unwrap(), &namespace);
    let owner = config_maps.create(&PostParams::default(), &config_map("owner")).await.unwrap();
    let reference = OwnerReference { controller: Some(true), ..owner.owner_ref(&()).unwrap() };
    let mut owned = config_map("owned");
    owned.metadata.owner_references = Some(vec![reference]);
    config_maps.create(&PostParams::default(), &owned).await.unwrap();
    config_maps.delete("owner", &DeleteParams::default()).await.unwrap();
    eventually(SOON, "the owned ConfigMap is gone", async || {
        config_maps.get_opt("owned").await.map(|found| found.is_none()).unwrap()
    })
    .await;
}

#[tokio::test]
async fn a_deleted_namespace_goes_away() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let namespace = control_plane.namespace("doomed").await.unwrap();
    let kubectl = control_plane.kubectl().args(["delete", "namespace", &namespace, "--timeout=20s"]).output().unwrap();
    assert!(kubectl.status.success(), "{kubectl:?}");
}

#[tokio::test]
async fn the_audit_log_has_the_writer_of_each_write() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let namespace = control_plane.namespace("audit").await.unwrap();
    allow_writer(control_plane, &namespace).await;
    let kubeconfig = control_plane.service_account_kubeconfig(&namespace, "writer").await.unwrap();
    let config_maps: Api<ConfigMap> = Api::namespaced(client_from(&kubeconfig).await.unwrap(), &namespace);
    let user = service_account_user(&namespace, "writer");
    config_maps.list(&ListParams::default()).await.unwrap();
    assert_eq!(control_plane.writes_by(&user, None).unwrap(), []);

    config_maps.create(&PostParams::default(), &config_map("written")).await.unwrap();
    assert_eq!(code_of(config_maps.create(&PostParams::default(), &config_map("written")).await), 409);
    let writes = control_plane.writes_by(&user, Some(&namespace)).unwrap();
    let writes: Vec<_> = writes.iter().map(|entry| (entry.verb.as_str(), entry.name.as_str(), entry.code)).collect();
    assert_eq!(writes, [("create", "written", 201), ("create", "written", 409)]);
    assert_eq!(control_plane.writes_by(&user, Some("another")).unwrap(), []);
}

#[tokio::test]
async fn the_audit_log_has_a_watch_while_it_runs() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let namespace = control_plane.namespace("audit-watch").await.unwrap();
    allow_writer(control_plane, &namespace).await;
    let kubeconfig = control_plane.service_account_kubeconfig(&namespace, "writer").await.unwrap();
    let config_maps: Api<ConfigMap> = Api::namespaced(client_from(&kubeconfig).await.unwrap(), &namespace);
    let _watch = config_maps.watch(&WatchParams::default(), "0").await.unwrap();
    let user = service_account_user(&namespace, "writer");
    let entries = control_plane.requests(&user, Some(&namespace)).unwrap();
    assert_eq!(entries.iter().map(|entry| entry.verb.as_str()).collect::<Vec<_>>(), ["watch"]);
}

#[tokio::test]
async fn the_proxy_responds_with_the_fault_and_then_forwards_requests() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let namespace = control_plane.namespace("proxy").await.unwrap();
    let (proxy, client) = proxied_writer(control_plane, &namespace).await;
    let config_maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let conflict = proxy.inject(Rule::new(Fault::conflict()).verb("create").resource("configmaps").skip(1));

    config_maps.create(&PostParams::default(), &config_map("first")).await.unwrap();
    assert_eq!(code_of(config_maps.create(&PostParams::default(), &config_map("second")).await), 409);
    assert!(config_maps.get_opt("second").await.unwrap().is_none());
    config_maps.create(&PostParams::default(), &config_map("second")).await.unwrap();

    assert_eq!(conflict.hits(), 1);
    let seen: Vec<_> = proxy.seen().iter().map(|seen| (seen.request.verb, seen.code, seen.injected)).collect();
    let expected = [("create", 201, false), ("create", 409, true), ("get", 404, false), ("create", 201, false)];
    assert_eq!(seen, expected.map(|(verb, code, injected)| (verb, Some(code), injected)));
}

#[tokio::test]
async fn the_proxy_cuts_before_or_after_the_write() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let namespace = control_plane.namespace("proxy-cut").await.unwrap();
    let (proxy, client) = proxied_writer(control_plane, &namespace).await;
    let config_maps: Api<ConfigMap> = Api::namespaced(client, &namespace);

    proxy.inject(Rule::new(Fault::CutBefore).method("POST"));
    config_maps.create(&PostParams::default(), &config_map("before")).await.unwrap_err();
    assert!(config_maps.get_opt("before").await.unwrap().is_none());

    proxy.inject(Rule::new(Fault::CutAfter).method("POST"));
    config_maps.create(&PostParams::default(), &config_map("after")).await.unwrap_err();
    assert!(config_maps.get_opt("after").await.unwrap().is_some());

    proxy.inject(Rule::new(Fault::CutBefore).path_contains("/configmaps").always());
    config_maps.get_opt("after").await.unwrap_err();
    config_maps.get_opt("after").await.unwrap_err();
    proxy.clear();
    config_maps.get_opt("after").await.unwrap();
}

#[tokio::test]
async fn kube_itself_retries_a_429_and_the_proxy_delays() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let namespace = control_plane.namespace("proxy-wait").await.unwrap();
    let (proxy, client) = proxied_writer(control_plane, &namespace).await;
    let config_maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
    // The client retries up to 15 times after 429, 503 or 504, so a caller sees only a lasting fault. A 500 fails at
    // once.
    let busy = proxy.inject(Rule::new(Fault::too_many_requests(Duration::from_secs(1))).verb("get"));
    config_maps.get_opt("none").await.unwrap();
    assert_eq!(busy.hits(), 1);

    proxy.inject(Rule::new(Fault::Delay(Duration::from_millis(300))).verb("get"));
    let start = Instant::now();
    config_maps.get_opt("none").await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn the_proxy_streams_a_watch() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let namespace = control_plane.namespace("proxy-watch").await.unwrap();
    let (_proxy, client) = proxied_writer(control_plane, &namespace).await;
    let config_maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let version = config_maps.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let mut watch =
        config_maps.watch(&WatchParams::default().fields("metadata.name=news"), &version).await.unwrap().boxed();
    for round in 0..3 {
        // Each event must come during the watch, not at its end.
        match round {
            0 => drop(config_maps.create(&PostParams::default(), &config_map("news")).await.unwrap()),
            1 => {
                let mut news = config_maps.get("news").await.unwrap();
                news.data = Some(BTreeMap::from([("key".to_owned(), "value".to_owned())]));
                config_maps.replace("news", &PostParams::default(), &news).await.unwrap();
            }
            _ => drop(config_maps.delete("news", &DeleteParams::default()).await.unwrap()),
        }
        let event = tokio::time::timeout(SOON, watch.try_next()).await.expect("no event came").unwrap().unwrap();
        let expected = match event {
            WatchEvent::Added(_) => 0,
            WatchEvent::Modified(_) => 1,
            WatchEvent::Deleted(_) => 2,
            other => panic!("{other:?}"),
        };
        assert_eq!(round, expected);
    }
}

#[tokio::test]
async fn kube_apiserver_restarts_with_its_data_on_the_same_port() {
    // This test needs another control plane, because other tests use the shared one.
    let control_plane = ControlPlane::start().await.unwrap();
    let namespace = control_plane.namespace("restart").await.unwrap();
    let config_maps: Api<ConfigMap> = Api::namespaced(control_plane.client().await.unwrap(), &namespace);
    config_maps.create(&PostParams::default(), &config_map("kept")).await.unwrap();

    control_plane.stop_apiserver();
    let address = control_plane.url().replace("https://", "");
    TcpStream::connect(address).unwrap_err();
    control_plane.start_apiserver().await.unwrap();
    let config_maps: Api<ConfigMap> = Api::namespaced(control_plane.client().await.unwrap(), &namespace);
    config_maps.get("kept").await.unwrap();
}

/// A shell script in place of the operator.
fn script(folder: &tempfile::TempDir, text: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.path().join("operator");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[tokio::test]
async fn an_operator_is_found_by_its_log_and_measured_from_outside() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = Router::new().route("/readyz", get("ok")).route("/metrics", get("calls_total{kind=\"a\"} 2\n"));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let folder = tempfile::tempdir().unwrap();
    let text = format!(r#"echo '{{"fields":{{"address":"{address}"}}}}'; env >&2; echo "args $*"; exec sleep 60"#);
    let builder = Operator::builder(script(&folder, &text)).kubeconfig("/nowhere").env("EXTRA", "1").arg("--flag");
    let mut operator = builder.spawn().unwrap();

    operator.wait_ready().await.unwrap();
    assert_eq!(operator.metric("calls_total", &[("kind", "a")]).await.unwrap(), Some(2.0));
    assert_eq!(operator.wait_for_log("args").await.unwrap(), "args run --flag");
    for line in ["KUBECONFIG=/nowhere", "EXTRA=1", "AWS_ENDPOINT_URL=http://127.0.0.1:9", "CCR_LISTEN=127.0.0.1:0"] {
        operator.wait_for_log(line).await.unwrap();
    }
    assert!(!operator.logs().iter().any(|line| line.starts_with("CARGO")), "the environment is not clean");
    assert!(operator.resident_memory().unwrap() > 0);
    assert!(operator.cpu_time().unwrap() < Duration::from_secs(1));
    operator.kill().unwrap();
    operator.resident_memory().unwrap_err();
}

#[tokio::test]
async fn an_operator_is_paused_resumed_and_terminated() {
    let folder = tempfile::tempdir().unwrap();
    let text = "trap 'echo leaving; exit 3' TERM; while :; do echo tick; sleep 0.05; done";
    let mut operator = Operator::builder(script(&folder, text)).spawn().unwrap();
    operator.wait_for_log("tick").await.unwrap();
    operator.pause().unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let before = operator.logs().len();
    never(Duration::from_millis(300), "a paused operator logs", async || {
        (operator.logs().len() > before).then_some("a line")
    })
    .await;
    operator.resume().unwrap();
    eventually(SOON, "a resumed operator logs", async || operator.logs().len() > before).await;
    let exit = operator.terminate(SOON).await.unwrap();
    assert_eq!(exit.code, Some(3));
    operator.wait_for_log("leaving").await.unwrap();
}

#[tokio::test]
async fn an_operator_that_ends_early_does_not_delay_the_test() {
    let folder = tempfile::tempdir().unwrap();
    let mut operator = Operator::builder(script(&folder, "echo no such flag >&2; exit 2")).spawn().unwrap();
    let error = operator.wait_ready().await.unwrap_err().to_string();
    assert!(error.contains("exit status: 2"), "{error}");
}

#[tokio::test]
#[should_panic(expected = "the moon is made of cheese (")]
async fn a_wait_that_times_out_fails_with_its_subject() {
    eventually(Duration::from_millis(100), "the moon is made of cheese", async || None::<()>).await;
}
