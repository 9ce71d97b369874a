//! The samples for each consumer: the target of the resource is the object that the consumer reads, and the consumer's
//! CustomResourceDefinition accepts the consumer's objects.
//!
//! These tests do not check the names that no CRD contains: those of annotations (HAProxy Ingress, ingress-nginx) and
//! of the keys of a controller's ConfigMap (haproxytech). They run no controller. `programs` runs the configurations of
//! the plain servers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use operator_testing::go_programs::definitions;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::*;

/// The folder of a sample for a consumer.
struct Consumer {
    folder: &'static str,
    /// The namespace in the sample, if it names one.
    namespace: Option<&'static str>,
    /// The object that the consumer reads: the kind, the type of a Secret, the name, the keys.
    kind: &'static str,
    type_: &'static str,
    name: &'static str,
    keys: &'static [&'static str],
    /// The field that configures client verification, if a schema contains it.
    field: &'static str,
}

const fn map(folder: &'static str, name: &'static str, keys: &'static [&'static str], field: &'static str) -> Consumer {
    Consumer { folder, namespace: None, kind: "ConfigMap", type_: "", name, keys, field }
}

const fn secret(
    folder: &'static str,
    name: &'static str,
    keys: &'static [&'static str],
    field: &'static str,
) -> Consumer {
    Consumer { folder, namespace: None, kind: "Secret", type_: "Opaque", name, keys, field }
}

const fn within(namespace: &'static str, consumer: Consumer) -> Consumer {
    Consumer { namespace: Some(namespace), ..consumer }
}

const CA: &str = "payments-client-ca";
const PINS: &str = "payments-client-pins";

const CONSUMERS: [Consumer; 19] = [
    secret("contour", CA, &["ca.crt"], "caSecret"),
    secret("emissary", CA, &["tls.crt"], "ca_secret"),
    map("envoy", PINS, &["api-gateway.yaml"], "configMap"),
    map("envoy-ca", CA, &["ca.crt"], "configMap"),
    map("envoy-gateway", CA, &["ca.crt"], "caCertificateRefs"),
    Consumer { type_: "nginx.org/ca", ..secret("f5-nginx", CA, &["ca.crt"], "clientCertSecret") },
    map("gateway-api", CA, &["ca.crt"], "caCertificateRefs"),
    map("go", CA, &["ca.crt"], "configMap"),
    map("haproxy", PINS, &["ca.crt", "pins"], "configMap"),
    map("haproxy-ca", CA, &["ca.crt"], "configMap"),
    secret("haproxy-ingress", CA, &["ca.crt"], ""),
    within("backends", secret("haproxytech", CA, &["tls.crt"], "")),
    within("backends", secret("ingress-nginx", CA, &["ca.crt"], "")),
    within("istio-ingress", secret("istio", "payments-tls-cacert", &["cacert"], "credentialName")),
    secret("java", "payments-truststore", &["truststore.p12", "truststore.password"], "secretName"),
    map("nginx", PINS, &["pins.map"], "configMap"),
    map("nginx-ca", CA, &["ca.crt"], "configMap"),
    map("nginx-gateway-fabric", CA, &["ca.crt"], "caCertificateRefs"),
    secret("traefik", CA, &["ca.crt"], "secretNames"),
];

/// The folders without a consumer.
const OTHERS: [&str; 1] = ["verify-job"];
const RESOURCE: &str = "clientcertificateref.yaml";

impl Consumer {
    fn path(&self) -> PathBuf {
        folder().join(self.folder)
    }

    fn namespace(&self) -> &str {
        self.namespace.unwrap_or(self.folder)
    }

    /// The files with the consumer's own objects, and their texts.
    fn objects(&self) -> BTreeMap<String, String> {
        let files = std::fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap().path());
        let files = files.filter(|path| path.extension().is_some_and(|it| it == "yaml") && !path.ends_with(RESOURCE));
        files.map(|path| (path.display().to_string(), std::fs::read_to_string(path).unwrap())).collect()
    }

    /// The groups and kinds of its objects.
    fn kinds(&self) -> Vec<(String, String)> {
        let documents =
            self.objects().into_values().flat_map(|text| serde_saphyr::from_multiple::<Value>(&text).unwrap());
        let kinds = documents.map(|document| {
            let version = document["apiVersion"].as_str().unwrap();
            let group = version.rsplit_once('/').map_or("", |(group, _)| group);
            (group.to_owned(), document["kind"].as_str().unwrap().to_owned())
        });
        kinds.collect()
    }
}

/// A separate control plane with the CRDs of all consumers, which no other test needs.
async fn control_plane() -> &'static ControlPlane {
    static CONTROL_PLANE: OnceCell<ControlPlane> = OnceCell::const_new();
    let start = async || {
        let control_plane = ControlPlane::start().await.unwrap();
        control_plane.apply_yaml(include_str!("../../../deploy/install.yaml")).await.unwrap();
        let named = CONSUMERS.iter().map(Consumer::namespace).chain(["haproxy-controller", "default"]);
        for namespace in named.collect::<BTreeSet<_>>() {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
            control_plane.apply_yaml(&namespace.to_string()).await.unwrap();
        }
        let folder = tokio::task::spawn_blocking(definitions).await.unwrap().unwrap();
        let used: BTreeSet<(String, String)> = CONSUMERS.iter().flat_map(Consumer::kinds).collect();
        let mut needed = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            // The other objects in Emissary's file contain a placeholder, so the whole file is not YAML.
            let definitions = text.split("\n---\n").filter(|one| one.contains("kind: CustomResourceDefinition\n"));
            let definitions = definitions.map(|one| serde_saphyr::from_str::<Value>(one).unwrap());
            needed.extend(definitions.filter(|one| used.contains(&defined(one))).map(|one| local(one).to_string()));
        }
        control_plane.apply_yaml(&needed.join("\n---\n")).await.unwrap();
        control_plane
    };
    CONTROL_PLANE.get_or_init(start).await
}

/// The group and the kind of a definition.
fn defined(definition: &Value) -> (String, String) {
    let text = |pointer| definition.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    (text("/spec/group"), text("/spec/names/kind"))
}

/// Removes the conversion of Emissary's versions, whose service does not run here. The schemas stay unchanged.
fn local(mut definition: Value) -> Value {
    let spec = definition["spec"].as_object_mut().unwrap();
    spec.remove("conversion");
    definition
}

/// Sends these objects to the API server as a strict dry run.
async fn look_at(control_plane: &ControlPlane, namespace: &str, yaml: &str) -> Result<String, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), yaml).unwrap();
    let mut kubectl = tokio::process::Command::from(control_plane.kubectl());
    // Most samples name no namespace, and the others name two.
    if !yaml.contains("\n  namespace: ") {
        kubectl.arg("--namespace").arg(namespace);
    }
    kubectl
        .args(["apply", "--dry-run=server", "--validate=strict", "--warnings-as-errors", "--filename"])
        .arg(file.path());
    let output = kubectl.output().await.unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    if output.status.success() && stderr.is_empty() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(stderr)
    }
}

#[test]
fn every_folder_is_tested() {
    let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let found: BTreeSet<String> = entries.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    let tried: BTreeSet<String> =
        CONSUMERS.iter().map(|consumer| consumer.folder).chain(OTHERS).map(str::to_owned).collect();
    assert_eq!(found, tried);
    for consumer in &CONSUMERS {
        assert!(!consumer.objects().is_empty(), "{} has no object of the consumer's own", consumer.folder);
    }
}

#[tokio::test]
async fn every_consumer_finds_its_object() {
    let control_plane = control_plane().await;
    let emulator = Emulator::start().await.unwrap();
    let id = "9ao60f";
    emulator.generate(REGION, NewCertificate::new().id(id));
    let account = "client-certificate-operator";
    let kubeconfig = control_plane.service_account_kubeconfig(account, account).await.unwrap();
    let mut operator = Operator::builder(env!("CARGO_BIN_EXE_client-certificate-operator")).kubeconfig(kubeconfig);
    for (name, value) in emulator.environment() {
        operator = operator.env(name, value);
    }
    let mut operator = operator.spawn().unwrap();
    operator.wait_ready().await.unwrap();

    let client = control_plane.client().await.unwrap();
    let pem = emulator.certificate(&Source::own(REGION, id)).unwrap().pem.replace("\r\n", "\n") + "\n";
    for consumer in &CONSUMERS {
        let (namespace, file) = (consumer.namespace(), consumer.path().join(RESOURCE));
        let apply = ["apply", "--validate=strict", "--warnings-as-errors", "--filename", file.to_str().unwrap()];
        kubectl(control_plane, namespace, &apply).await;
        kubectl(control_plane, namespace, &["wait", "--for=condition=Ready", "ccr/payments", "--timeout=60s"]).await;
        let found: BTreeMap<String, Vec<u8>> = if consumer.kind == "ConfigMap" {
            let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
            let map = maps.get(consumer.name).await.unwrap();
            assert_eq!(map.binary_data, None, "{}", consumer.folder);
            map.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.into_bytes())).collect()
        } else {
            let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
            let secret = secrets.get(consumer.name).await.unwrap();
            assert_eq!(secret.type_.as_deref(), Some(consumer.type_), "{}", consumer.folder);
            secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect()
        };
        assert_eq!(found.keys().map(String::as_str).collect::<Vec<_>>(), consumer.keys, "{}", consumer.folder);
        for (key, value) in &found {
            // The tests with real servers check the content of pins and truststores.
            let expected = ["ca.crt", "tls.crt", "cacert"].contains(&key.as_str()).then_some(pem.as_bytes());
            assert!(
                !value.is_empty() && expected.is_none_or(|expected| value == expected),
                "{}: {key}",
                consumer.folder
            );
        }
        // Two samples name the same namespace and the same resource in it.
        kubectl(control_plane, namespace, &["delete", "--filename", file.to_str().unwrap()]).await;
        let left = ["delete", consumer.kind, consumer.name, "--ignore-not-found"];
        kubectl(control_plane, namespace, &left).await;
    }
}

#[tokio::test]
async fn every_object_of_a_consumer_matches_its_definition() {
    let control_plane = control_plane().await;
    for consumer in &CONSUMERS {
        for (file, yaml) in consumer.objects() {
            let looked_at = look_at(control_plane, consumer.namespace(), &yaml).await;
            let looked_at = looked_at.unwrap_or_else(|error| panic!("{file}: {error}"));
            let documents = yaml.split("\n---\n").count();
            assert_eq!(looked_at.lines().count(), documents, "{file}: {looked_at}");
            assert!(looked_at.lines().all(|line| line.ends_with(" created (server dry run)")), "{file}: {looked_at}");
        }
    }
}

#[tokio::test]
async fn a_misspelt_field_of_a_consumers_object_is_refused() {
    let control_plane = control_plane().await;
    for consumer in CONSUMERS.iter().filter(|consumer| !consumer.field.is_empty()) {
        let objects = consumer.objects();
        let field = format!("{}:", consumer.field);
        let yaml = objects.values().find(|yaml| yaml.contains(&field)).unwrap();
        let broken = yaml.replacen(&field, &format!("{}X:", consumer.field), 1);
        let error = look_at(control_plane, consumer.namespace(), &broken).await.unwrap_err();
        assert!(error.contains("unknown field") && error.contains(&format!("{}X", consumer.field)), "{error}");
    }
    // The rules of the field apply too: they refuse this reference.
    let path = folder().join("traefik/traefik.yaml");
    let broken = std::fs::read_to_string(path).unwrap().replace("RequireAndVerifyClientCert", "Require");
    let error = look_at(control_plane, "traefik", &broken).await.unwrap_err();
    assert!(error.contains("Unsupported value: \"Require\""), "{error}");
}
