//! The log names a part that is missing at the start in one line. The operator waits for it, if that helps.

use std::process::{Command, Output};
use std::time::Duration;

use operator_testing::control_plane::ControlPlane;
use operator_testing::operator::Operator;
use operator_testing::script::Operation;
use operator_testing::wait::eventually;
use serde_json::{Value, json};

use crate::faults::{SOON, World, install, started};

const BINARY: &str = env!("CARGO_BIN_EXE_client-certificate-operator");

/// The messages of the log with their level: `WARN …`.
fn messages(operator: &Operator) -> Vec<String> {
    let lines = operator.logs().into_iter();
    let message = |line: String| {
        let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("a line that is not JSON: {line}"));
        format!("{} {}", line["level"].as_str().unwrap_or_default(), line["message"].as_str().unwrap_or_default())
    };
    lines.map(message).collect()
}

/// The warnings and errors in the log.
fn complaints(operator: &Operator) -> Vec<String> {
    messages(operator).into_iter().filter(|line| line.starts_with("WARN ") || line.starts_with("ERROR ")).collect()
}

fn run(args: &[&str]) -> Output {
    Command::new(BINARY).args(args).env_clear().output().unwrap()
}

#[tokio::test]
async fn a_missing_crd_is_waited_for_and_logged_once() {
    // This test needs another control plane, because the shared one has the CRD.
    let control_plane = ControlPlane::start().await.unwrap();
    control_plane.apply_yaml(crate::faults::role()).await.unwrap();
    let world = World::on(&control_plane, "no-crd").await;
    let mut operator = world.builder().spawn().unwrap();
    let line = operator.wait_for_log("CustomResourceDefinition").await.unwrap();
    assert!(line.contains("not installed") && line.contains("deploy/crd.yaml"), "{line}");
    // The wait is long enough for another attempt, which must not log again.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(operator.get("/healthz").await.unwrap().0, 200);
    assert_eq!(operator.get("/readyz").await.unwrap().0, 503);
    assert_eq!(complaints(&operator).len(), 1, "{:?}", operator.logs());

    install(&control_plane).await;
    operator.wait_ready().await.unwrap();
    world.mirrored("late", true).await;
    assert_eq!(operator.get("/healthz").await.unwrap().0, 200);
}

#[tokio::test]
async fn an_unreachable_api_server_is_waited_for_and_logged_once() {
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    // The socket is bound but does not listen, so no other process gets this port.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let text = format!(
        "apiVersion: v1
kind: Config
current-context: c
clusters: [{{name: c, cluster: {{server: 'http://{}'}}}}]
users: [{{name: u, user: {{token: x}}}}]
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
",
        socket.local_addr().unwrap()
    );
    std::fs::write(&kubeconfig, text).unwrap();
    let mut operator = Operator::builder(BINARY).kubeconfig(&kubeconfig).spawn().unwrap();
    let line = operator.wait_for_log("is unreachable").await.unwrap();
    assert!(line.contains("Kubernetes API server"), "{line}");
    assert_eq!(operator.get("/healthz").await.unwrap().0, 200);
    assert_eq!(operator.get("/readyz").await.unwrap().0, 503);
    assert!(line.contains("KUBECONFIG"), "{line}");
    // The wait is long enough for more attempts, which must not log again.
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(operator.get("/healthz").await.unwrap().0, 200);
    let complaints = complaints(&operator);
    assert_eq!(complaints.iter().filter(|line| line.contains("is unreachable")).count(), 1, "{complaints:?}");
}

#[tokio::test]
async fn without_a_cluster_the_operator_ends_with_a_remedy() {
    let mut operator = Operator::builder(BINARY).spawn().unwrap();
    assert_eq!(operator.wait(SOON).await.unwrap().code, Some(1));
    let line = operator.wait_for_log("set KUBECONFIG").await.unwrap();
    assert!(line.contains("no Kubernetes cluster is configured"), "{line}");
    assert_eq!(complaints(&operator).len(), 1, "{:?}", operator.logs());
}

#[tokio::test]
async fn missing_credentials_are_logged_and_found_later() {
    let world = World::new("no-credentials").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("credentials");
    let builder = world.builder().env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    let mut operator = started(&builder.env("AWS_SHARED_CREDENTIALS_FILE", &file)).await;
    let line = operator.wait_for_log("no AWS credentials").await.unwrap();
    assert!(line.contains("IAM role") && line.contains("AWS_ACCESS_KEY_ID"), "{line}");
    world.mirrored("one", false).await;
    let conditions = world.wait_for("one", "CertificateRead", "False Unavailable", 1).await;
    assert!(conditions["CertificateRead"].message.contains("no AWS credentials were found"), "{conditions:?}");
    assert_eq!(world.emulator.calls().len(), 0);

    let key = world.emulator.access_key();
    let text = format!("[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n", key.id, key.secret);
    std::fs::write(&file, text).unwrap();
    world.wait_ready("one", 1).await;
    let complaints = complaints(&operator);
    assert_eq!(complaints.iter().filter(|line| line.contains("no AWS credentials: ")).count(), 1, "{complaints:?}");
    assert!(complaints.iter().all(|line| line.contains("AWS_ACCESS_KEY_ID") && !line.contains('\n')), "{complaints:?}");
}

#[tokio::test]
async fn without_a_region_resources_without_one_have_a_remedy() {
    let world = World::new("no-region").await;
    let mut operator = started(&world.builder().env_remove("AWS_REGION")).await;
    let line = operator.wait_for_log("no AWS region").await.unwrap();
    assert!(line.contains("AWS_REGION") && line.contains("spec.region"), "{line}");
    for id in ["without", "with"] {
        world.certificate(id);
    }
    world.create("without", json!({ "clientCertificateId": "without", "description": "text" })).await;
    world.create("with", json!({ "clientCertificateId": "with", "region": "us-east-1" })).await;
    world.wait_ready("with", 1).await;
    let conditions = world.wait_for("without", "Ready", "False BadRequest", 1).await;
    let message = &conditions["CertificateRead"].message;
    assert!(message.contains("set spec.region") && message.contains("AWS_REGION"), "{message}");
    assert_eq!(conditions["Stalled"].status, "True");
    assert_eq!(world.emulator.count_of(Operation::Get, "without"), 0);
    let generation = world.change("without", json!({ "region": "us-east-1" })).await;
    world.wait_ready("without", generation).await;
}

#[tokio::test]
async fn wrong_usage_ends_with_2_and_a_message() {
    for (args, says) in [
        (&["run", "--no-such-flag"][..], "--no-such-flag"),
        (&["run", "--concurrency", "0"], "--concurrency"),
        (&["run", "--expiring-within", "soon"], "a duration"),
        (&["run", "--manage-descriptions=perhaps"], "--manage-descriptions"),
        (&["run", "--log-format", "xml"], "auto, text, json"),
        (&["run", "--listen", "here"], "--listen"),
        (&["run", "--target-kinds", "Secret,Pod"], "Secret, ConfigMap, or Secret,ConfigMap"),
        (&["walk"], "walk"),
        (&[], "Usage"),
    ] {
        let output = run(args);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(says), "{args:?}: {text}");
    }
    let output = Command::new(BINARY).arg("run").env_clear().env("CCR_CONCURRENCY", "many").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test]
async fn an_address_in_use_ends_with_1_and_a_message() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut operator = Operator::builder(BINARY).env("CCR_LISTEN", &address).spawn().unwrap();
    assert_eq!(operator.wait(SOON).await.unwrap().code, Some(1));
    operator.wait_for_log(&format!("cannot listen on {address}")).await.unwrap();
}

#[test]
fn help_lists_every_flag_with_its_variable() {
    let output = run(&["run", "--help"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let flags: Vec<_> = text.split_whitespace().filter(|word| word.starts_with("--") && *word != "--help").collect();
    for flag in
        ["--listen", "--namespaces", "--concurrency", "--expiring-within", "--manage-descriptions", "--log-format"]
    {
        assert!(flags.contains(&flag), "{flag} is not in {flags:?}");
    }
    for flag in flags {
        let variable = format!("CCR_{}", flag.trim_start_matches('-').replace('-', "_").to_uppercase());
        assert!(text.contains(&format!("[env: {variable}=")), "{variable} is not in\n{text}");
    }
}

#[tokio::test]
async fn the_text_log_is_plain_text() {
    let mut operator = Operator::builder(BINARY).env("CCR_LOG_FORMAT", "text").spawn().unwrap();
    operator.wait(SOON).await.unwrap();
    let line = operator.wait_for_log("no Kubernetes cluster").await.unwrap();
    assert!(!line.contains('{') && line.contains("ERROR"), "{line}");
    eventually(SOON, "the version is reported", async || {
        operator.logs().iter().any(|line| line.contains(env!("CARGO_PKG_VERSION")))
    })
    .await;
}
