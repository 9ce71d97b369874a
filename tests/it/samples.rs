//! The samples work unchanged: with a running operator, each becomes Ready.

mod consumers;
pub mod programs;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use client_certificate_operator::aws::gateway::Source;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use operator_testing::certificates::NewCertificate;
use operator_testing::control_plane::ControlPlane;
use operator_testing::emulator::{Emulator, NewRole};
use operator_testing::operator::Operator;

const REGION: &str = "us-east-1";

/// The result of each sample: its id, the object, and the object's keys.
const SAMPLES: [(&str, &str, &str, &[&str]); 7] = [
    ("assume-role.yaml", "h2v6pu", "payments-elsewhere", &["ca.crt"]),
    ("configmap.yaml", "m3s9dk", "payments-public", &["ca.crt"]),
    ("description.yaml", "k2c0qe", "payments-described", &["ca.crt"]),
    ("keys.yaml", "q4w8zt", "payments-keys", &["active.pem", "trusted.pem"]),
    ("minimal.yaml", "9ao60f", "payments", &["ca.crt"]),
    ("retain.yaml", "b5n9ye", "payments-retained", &["ca.crt"]),
    ("tls-crt.yaml", "x7d31m", "payments-ingress-client-ca", &["tls.crt"]),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/samples")
}

/// Runs kubectl without blocking the thread of the emulator.
async fn kubectl(control_plane: &ControlPlane, namespace: &str, args: &[&str]) -> String {
    let mut kubectl = tokio::process::Command::from(control_plane.kubectl());
    let output = kubectl.arg("--namespace").arg(namespace).args(args).output().await.unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "kubectl {args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_sample_is_tested() {
    let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let mut files: Vec<String> = entries.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    files.sort();
    assert_eq!(files, SAMPLES.map(|(file, ..)| file));
}

#[tokio::test]
async fn every_sample_becomes_ready() {
    let control_plane = ControlPlane::shared().await.unwrap();
    control_plane.apply_yaml(include_str!("../../deploy/install.yaml")).await.unwrap();
    let namespace = control_plane.namespace("samples").await.unwrap();
    let emulator = Emulator::start().await.unwrap();
    for (_, id, ..) in SAMPLES {
        emulator.generate(REGION, NewCertificate::new().id(id));
    }
    let role = "arn:aws:iam::111122223333:role/certificates";
    emulator.add_role(NewRole::new(role).external_id("payments"));
    let rules = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(rules.path(), format!("rules: [{{namespaces: [{namespace}], roles: ['{role}']}}]")).unwrap();
    let account = "client-certificate-operator";
    let kubeconfig = control_plane.service_account_kubeconfig(account, account).await.unwrap();
    let mut operator = Operator::builder(env!("CARGO_BIN_EXE_client-certificate-operator"))
        .kubeconfig(kubeconfig)
        .env("CCR_NAMESPACES", &namespace)
        .env("CCR_RULES_FILE", rules.path().to_str().unwrap());
    for (name, value) in emulator.environment() {
        operator = operator.env(name, value);
    }
    let mut operator = operator.spawn().unwrap();
    operator.wait_ready().await.unwrap();

    let samples = folder();
    kubectl(control_plane, &namespace, &["apply", "--warnings-as-errors", "--filename", samples.to_str().unwrap()])
        .await;
    let ready = ["wait", "--for=condition=Ready", "clientcertificaterefs", "--all", "--timeout=60s"];
    let waited = kubectl(control_plane, &namespace, &ready).await;
    assert_eq!(waited.lines().count(), SAMPLES.len(), "{waited}");

    let secrets: Api<Secret> = Api::namespaced(control_plane.client().await.unwrap(), &namespace);
    let maps: Api<ConfigMap> = Api::namespaced(control_plane.client().await.unwrap(), &namespace);
    for (file, id, name, keys) in SAMPLES {
        let source = Source::own(REGION, id);
        let pem = emulator.certificate(&source).unwrap().pem.replace("\r\n", "\n") + "\n";
        let (metadata, found): (_, BTreeMap<_, _>) = if file == "configmap.yaml" {
            let map = maps.get(name).await.unwrap();
            (map.metadata, map.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.into())).collect())
        } else {
            let secret = secrets.get(name).await.unwrap();
            (secret.metadata, secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect())
        };
        let expected: BTreeMap<_, _> = keys.iter().map(|key| ((*key).to_owned(), pem.clone().into_bytes())).collect();
        assert_eq!(found, expected, "{file}");
        assert_eq!(metadata.owner_references.is_some(), file != "retain.yaml", "{file}");
    }
    let described = ["wait", "--for=condition=DescriptionSynced", "ccr/payments-described", "--timeout=60s"];
    kubectl(control_plane, &namespace, &described).await;
    let source = Source::own(REGION, "k2c0qe");
    let description = emulator.certificate(&source).unwrap().description;
    assert_eq!(description, "trusted by the backends of the payments team");
}
