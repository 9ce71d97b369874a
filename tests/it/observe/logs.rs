//! The log names each event and its resource, and contains no secret.

use operator_testing::certificates::NewCertificate;
use operator_testing::emulator::{Fault, HOME_USER, NewRole};
use operator_testing::operator::Operator;
use operator_testing::script::Operation;
use operator_testing::wait::eventually;
use serde_json::{Value, json};

use crate::fixture::{ID, SOON, World};
use crate::ground::{source, started};

const ROLE: &str = "arn:aws:iam::123456789012:role/certificates";

/// The parts of a PEM that are long enough not to occur by chance.
fn secrets_of(pem: &str) -> Vec<String> {
    pem.lines()
        .map(str::trim)
        .filter(|line| line.len() >= 16 && !line.starts_with("-----"))
        .map(str::to_owned)
        .collect()
}

/// Makes all events of a resource happen; returns the texts that must not be in the log.
async fn live(world: &World<'_>) -> Vec<String> {
    let mut secrets = Vec::new();
    let mut note = |pem: &str| secrets.extend(secrets_of(pem));
    let pem = |id: &str| world.emulator.certificate(&source(id)).unwrap().pem;
    world.create_ready("payments", json!({ "description": "mine" })).await;
    world.until("payments", "DescriptionSynced", "True", "Synced").await;
    note(&pem(ID));

    // Another certificate replaces the first. The target is edited and deleted.
    world.generate(NewCertificate::new().id("next"));
    note(&pem("next"));
    world.patch("payments", json!({ "spec": { "clientCertificateId": "next" } })).await;
    world.until_ready("payments").await;
    world.patch_target("payments", json!({ "stringData": { "ca.crt": "theirs" } })).await;
    eventually(SOON, "it is put back", async || world.events("payments").await.contains_key("Normal TargetRepaired"))
        .await;

    // Without the list, the operator reads each certificate separately: an invalid one, a denied one, a missing one,
    // and one with a proxy's page as the response.
    world.emulator.deny(HOME_USER, Operation::List);
    world.generate(NewCertificate::new().id("broken"));
    note(&pem("broken"));
    world.emulator.set_pem(&source("broken"), &pem("broken").replace("-----END", "=====END"));
    world.create("invalid", json!({ "clientCertificateId": "broken" })).await;
    world.until("invalid", "Ready", "False", "InvalidCertificate").await;
    world.create("lost", json!({ "clientCertificateId": "lost" })).await;
    world.until("lost", "Ready", "False", "NotFound").await;
    world.generate(NewCertificate::new().id("page"));
    note(&pem("page"));
    world.emulator.set_faults_of("page", [Fault::page(500, "text/html", &pem("page")).on(Operation::Get)]);
    world.create("page", json!({ "clientCertificateId": "page" })).await;
    world.until("page", "Ready", "False", "Unavailable").await;
    world.emulator.deny(HOME_USER, Operation::Get);
    world.create("denied", json!({ "clientCertificateId": "denied" })).await;
    world.until("denied", "Ready", "False", "AccessDenied").await;

    // A session of a role.
    world.create("role", json!({ "clientCertificateId": "role", "assumeRole": { "roleArn": ROLE } })).await;
    eventually(SOON, "a session was given", async || !world.emulator.sessions().is_empty()).await;
    for session in world.emulator.sessions() {
        secrets.extend([session.access_key.secret.clone()]);
        secrets.extend(session.access_key.session_token.clone());
    }
    secrets.push(world.emulator.access_key().secret.clone());
    secrets
}

async fn run_at(prefix: &str, level: Option<&str>) {
    let world = World::without_operator(prefix).await;
    world.emulator.add_role(NewRole::new(ROLE));
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.yaml");
    std::fs::write(&rules, format!("default: {{roles: ['{ROLE}']}}\n")).unwrap();
    let mut builder = world
        .builder()
        .env("CCR_RULES_FILE", &rules)
        .env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20hidden-token");
    if let Some(level) = level {
        builder = builder.env("RUST_LOG", level);
    }
    let operator =
        started(&builder.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:hidden-password@127.0.0.1:9")).await;
    let mut hidden = live(&world).await;
    hidden
        .extend(["hidden-token", "hidden-password", "AWS4-HMAC-SHA256", "Authorization", "Bearer "].map(String::from));
    assert!(hidden.len() > 40, "there is something to look for: {hidden:?}");
    for line in operator.logs() {
        let line = line.to_lowercase();
        for secret in &hidden {
            assert!(!line.contains(&secret.to_lowercase()), "{secret} is in the log: {line}");
        }
        assert!(!line.contains("begin certificate"), "a PEM is in the log: {line}");
    }
    assert_readable(&operator, &world.namespace);
}

/// Checks that every line is JSON with a message, and that a line about a resource names it.
fn assert_readable(operator: &Operator, namespace: &str) {
    let lines: Vec<Value> = operator.logs().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let text = |line: &Value, field: &str| line[field].as_str().unwrap_or_default().to_owned();
    for name in ["payments", "invalid", "lost", "page", "denied"] {
        let is_of = |line: &&Value| text(line, "name") == name && text(line, "namespace") == namespace;
        assert!(lines.iter().any(|line| is_of(&line)), "no line names {name}: {lines:?}");
    }
    for line in lines.iter().filter(|line| text(line, "target").starts_with("client_certificate_operator::reconcile")) {
        assert!(!text(line, "name").is_empty() && !text(line, "namespace").is_empty(), "whose is it? {line}");
        assert!(!text(line, "message").is_empty() && !text(line, "message").contains('\n'), "{line}");
    }
}

#[tokio::test]
async fn the_log_names_the_resource_and_has_no_pem_and_no_credential() {
    run_at("log", None).await;
}

#[tokio::test]
async fn every_possible_log_line_has_no_pem_and_no_credential() {
    run_at("log-trace", Some("info,client_certificate_operator=trace")).await;
}
