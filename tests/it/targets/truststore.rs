//! Truststores with real Java programs, and the sources of their passwords.

use std::path::{Path, PathBuf};

use client_certificate_operator::api::{PASSWORD_LABEL, REFRESH_ANNOTATION};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use operator_testing::certificates::{NewCertificate, issue};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixture::{ID, MINUTES, SOON, TestedKind, World, WorldOf, condition, data};
use crate::ground::ACCOUNT;

const SECOND: &str = "K2C0QE";
/// An id that differs from the second one only in case, which Java's aliases ignore.
const THIRD: &str = "k2c0qe";

/// A truststore in the volume of a pod.
struct Mounted {
    folder: TempDir,
    password: String,
}

impl Mounted {
    fn of(store: &ByteString, password: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("truststore.p12"), &store.0).unwrap();
        Mounted { folder, password: password.to_owned() }
    }

    fn of_secret(secret: &Secret) -> Self {
        let data = secret.data.as_ref().unwrap();
        let password = std::str::from_utf8(&data["truststore.password"].0).unwrap();
        Mounted::of(&data["truststore.p12"], password)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The output of a Java program; `None` if it fails.
    async fn java(&self, password: &str, pems: &[&str]) -> Option<Vec<String>> {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/targets/truststore/Truststore.java");
        let mut command = tokio::process::Command::new("java");
        command.arg(program).arg(self.path("truststore.p12")).arg(password);
        for (n, pem) in pems.iter().enumerate() {
            let path = self.path(&format!("{n}.pem"));
            std::fs::write(&path, pem).unwrap();
            command.arg(path);
        }
        let output = command.output().await.expect("java is needed: tests/prerequisites java");
        let text = String::from_utf8(output.stdout).unwrap();
        output.status.success().then(|| text.lines().map(str::to_owned).collect())
    }

    /// The output of `keytool -list`.
    async fn keytool(&self) -> String {
        let mut command = tokio::process::Command::new("keytool");
        command.args(["-J-Duser.language=en", "-list", "-storetype", "PKCS12", "-storepass", &self.password]);
        let output = command.arg("-keystore").arg(self.path("truststore.p12")).output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn of_java(more: Value) -> Value {
    let mut target = json!({ "preset": "Pkcs12" });
    target.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "target": target })
}

#[tokio::test]
async fn java_trusts_every_certificate_in_the_truststore_and_no_other() {
    let world = World::start("java").await;
    for id in [SECOND, THIRD] {
        world.generate(NewCertificate::new().id(id));
    }
    let mut spec = of_java(json!({}));
    spec["additionalClientCertificateIds"] = json!([SECOND, THIRD]);
    let resource = world.create_ready("payments", spec).await;
    let mounted = Mounted::of_secret(&world.target("payments").await);
    let aliases: Vec<_> = resource
        .status
        .unwrap()
        .certificates
        .iter()
        .map(|held| format!("api-gateway-{}", &held.sha256_fingerprint.as_ref().unwrap()[..16]))
        .collect();
    assert_eq!(aliases.len(), 3);

    let listed = mounted.keytool().await;
    assert!(listed.contains("Your keystore contains 3 entries"), "{listed}");
    assert_eq!(listed.matches("trustedCertEntry").count(), 3, "{listed}");
    assert!(aliases.iter().all(|alias| listed.contains(alias.as_str())), "{aliases:?}: {listed}");

    // The stranger's certificate has the same name and another key.
    let stranger = issue(NewCertificate::new()).certificate.pem;
    let pems = [world.pem(ID), world.pem(SECOND), world.pem(THIRD), stranger];
    let reported = mounted.java(&mounted.password, &pems.each_ref().map(String::as_str)).await.unwrap();
    let mut expected: Vec<_> = aliases.iter().map(|alias| format!("{alias} trusted")).collect();
    expected.sort();
    expected.extend(["accepted", "accepted", "accepted", "refused"].map(str::to_owned));
    assert_eq!(reported, expected);
    assert_eq!(mounted.java("another", &[]).await, None, "a wrong password");
}

#[tokio::test]
async fn a_generated_password_stays_and_is_restored_while_the_operator_runs() {
    let mut world = World::start("made").await;
    world.create_ready("payments", of_java(json!({}))).await;
    let before = world.target("payments").await;
    let password = data(&before, "truststore.password").unwrap().to_owned();
    assert!(password.len() == 32 && password.bytes().all(|byte| byte.is_ascii_hexdigit()), "{password}");

    for edit in [json!({ "stringData": { "truststore.password": "changed" } }), json!({ "data": null })] {
        world.patch_target("payments", edit).await;
        world.until_target(SOON, "payments", "is as it was", |object| object.data == before.data).await;
    }
    // The password gets another key, and the target another certificate.
    world.generate(NewCertificate::new().id(SECOND));
    let spec = json!({ "additionalClientCertificateIds": [SECOND], "target": { "pkcs12": { "passwordKey": "pw" } } });
    world.patch("payments", json!({ "spec": spec })).await;
    let moved = world.until_target(SOON, "payments", "has the new key", |it| it.keys().contains(&"pw")).await;
    assert_eq!((moved.keys(), data(&moved, "pw")), (vec!["pw", "truststore.p12"], Some(password.as_str())));
    world.until_ready("payments").await;
    let all = world.operator.as_ref().unwrap().logs();
    assert!(!all.iter().any(|line| line.contains(&password)), "the log tells the password");

    // A password that another writer sets while the operator is down is used from then on. An invalid password is not.
    world.stop_operator().await;
    world.patch_target("payments", json!({ "stringData": { "pw": "chosen by hand" } })).await;
    world.start_operator().await;
    let is_new =
        |it: &Secret| it.data.as_ref().unwrap()["truststore.p12"] != moved.data.as_ref().unwrap()["truststore.p12"];
    let chosen = world.until_target(SOON, "payments", "is encrypted again", is_new).await;
    assert_eq!(data(&chosen, "pw"), Some("chosen by hand"));
    let mounted = Mounted::of(&chosen.data.as_ref().unwrap()["truststore.p12"], "chosen by hand");
    assert!(mounted.java("chosen by hand", &[]).await.is_some());
    world.stop_operator().await;
    world.patch_target("payments", json!({ "stringData": { "pw": "" } })).await;
    world.start_operator().await;
    world.until_target(SOON, "payments", "has a password", |it| data(it, "pw").is_some_and(|pw| pw.len() == 32)).await;
}

async fn put_password(world: &World<'_>, value: &str) {
    put_labelled(world, value, json!({ PASSWORD_LABEL: "true" })).await;
}

async fn put_labelled(world: &World<'_>, value: &str, labels: Value) {
    let metadata = json!({ "name": "java", "labels": labels });
    let secret =
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": { "password": value } });
    let params = PatchParams::apply("test").force();
    world.secrets().patch("java", &params, &Patch::Apply(secret)).await.unwrap();
}

async fn look_again<K: TestedKind>(world: &WorldOf<'_, K>, value: &str) {
    world.patch("payments", json!({ "metadata": { "annotations": { REFRESH_ANNOTATION: value } } })).await;
}

#[tokio::test]
async fn a_users_password_is_read_and_stored_nowhere_else() {
    let world = World::start("given").await;
    let given = json!({ "pkcs12": { "passwordSecretRef": { "name": "java", "key": "password" } } });
    let message = async |words: &[&str]| {
        let reported = world.until("payments", "TargetWritten", "False", "NoPassword").await;
        let message = condition(&reported, "TargetWritten").unwrap().message.clone();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
        assert!(condition(&reported, "Stalled").is_none(), "another writer may still create it");
    };
    world.create("payments", of_java(given)).await;
    message(&["target.pkcs12.passwordSecretRef", "Secret java does not exist; create it", "key password"]).await;
    world.until("payments", "Ready", "False", "NoPassword").await;
    assert_eq!(world.target_writes(), Vec::<String>::new());

    // The value has a line end, like many values from files. The operator finds it within a minute by itself.
    put_password(&world, "open sesame\n").await;
    let object = world.until_target(MINUTES, "payments", "is there", |_| true).await;
    assert_eq!(object.keys(), ["truststore.p12"]);
    world.until_ready("payments").await;
    let mounted = Mounted::of(&object.data.as_ref().unwrap()["truststore.p12"], "open sesame");
    assert!(mounted.keytool().await.contains("contains 1 entry"));
    assert!(!serde_json::to_string(&world.resource("payments").await).unwrap().contains("open sesame"));
    let all = world.operator.as_ref().unwrap().logs();
    assert!(!all.iter().any(|line| line.contains("open sesame")), "the log tells the password");

    // Another password gives another truststore. An invalid password removes nothing.
    put_password(&world, "another").await;
    look_again(&world, "1").await;
    let is_new = |it: &Secret| it.data != object.data;
    let object = world.until_target(MINUTES, "payments", "is encrypted again", is_new).await;
    for (n, (value, words)) in [("", "holds no password"), ("ümlaut", "printable ASCII")].into_iter().enumerate() {
        put_password(&world, value).await;
        look_again(&world, &format!("bad{n}")).await;
        message(&[words, "key password of Secret java"]).await;
        assert_eq!(world.target("payments").await, object);
    }
    world
        .patch("payments", json!({ "spec": { "target": { "pkcs12": { "passwordSecretRef": { "key": "other" } } } } }))
        .await;
    message(&["Secret java has no key other"]).await;
    world
        .patch(
            "payments",
            json!({ "spec": { "target": { "pkcs12": { "passwordSecretRef": { "name": "payments" } } } } }),
        )
        .await;
    message(&["Secret payments is the target itself"]).await;
    assert_eq!(world.target("payments").await, object);
    put_password(&world, "another").await;
    let place = json!({ "name": "java", "key": "password" });
    world.patch("payments", json!({ "spec": { "target": { "pkcs12": { "passwordSecretRef": place } } } })).await;
    world.until_ready("payments").await;
    assert_eq!(world.target("payments").await, object, "the same input, the same bytes");

    // Without passwordSecretRef, the operator generates a password, which is not the user's.
    world.patch("payments", json!({ "spec": { "target": { "pkcs12": null } } })).await;
    let made = world.until_target(SOON, "payments", "has a password", |it| it.keys().len() == 2).await;
    assert!(data(&made, "truststore.password").is_some_and(|made| made.len() == 32));
}

#[tokio::test]
async fn a_password_is_read_only_from_a_secret_with_the_label() {
    let world = World::start("agreed").await;
    let message = async |key: &str| {
        let reported = world.until("payments", "TargetWritten", "False", "NoPassword").await;
        let message = condition(&reported, "TargetWritten").unwrap().message.clone();
        let label = format!(r#"Secret java does not have the label {PASSWORD_LABEL}: "true""#);
        assert!(message.contains(&label), "{message}");
        // The message is the same for every content of the Secret, so it reveals nothing.
        assert!(!message.contains(key), "{message}");
    };
    put_labelled(&world, "a secret of somebody else", json!({})).await;
    let given = |key: &str| json!({ "pkcs12": { "passwordSecretRef": { "name": "java", "key": key } } });
    world.create("payments", of_java(given("password"))).await;
    message("key password").await;
    assert_eq!(world.target_writes(), Vec::<String>::new());
    world.patch("payments", json!({ "spec": { "target": given("other") } })).await;
    look_again(&world, "other").await;
    message("other").await;
    world.patch("payments", json!({ "spec": { "target": given("password") } })).await;
    for (n, labels) in
        [json!({ PASSWORD_LABEL: "false" }), json!({ PASSWORD_LABEL: "" }), json!({ "team": "payments" })]
            .iter()
            .enumerate()
    {
        put_labelled(&world, "a secret of somebody else", labels.clone()).await;
        look_again(&world, &n.to_string()).await;
        message("key password").await;
    }

    put_password(&world, "agreed").await;
    look_again(&world, "agreed").await;
    let object = world.until_target(MINUTES, "payments", "is there", |_| true).await;
    world.until_ready("payments").await;
    // Without the label, and with another value, the target stays unchanged, also after a restart.
    let mut world = world;
    put_labelled(&world, "changed", json!({})).await;
    look_again(&world, "gone").await;
    world.until("payments", "TargetWritten", "False", "NoPassword").await;
    assert_eq!(world.target("payments").await, object);
    world.stop_operator().await;
    world.start_operator().await;
    look_again(&world, "restarted").await;
    world.until("payments", "TargetWritten", "False", "NoPassword").await;
    assert_eq!(world.target("payments").await, object);
}

#[tokio::test]
async fn without_a_right_on_secrets_a_password_can_be_generated_but_not_read() {
    let mut world = WorldOf::<ConfigMap>::without_operator("no-secrets").await;
    world.start_operator_with(&["--target-kinds", "ConfigMap"]).await;
    world.create_ready("made", of_java(json!({}))).await;
    assert!(world.target("made").await.binary_data.unwrap().contains_key("truststore.p12"));
    let given = json!({ "pkcs12": { "passwordSecretRef": { "name": "java", "key": "password" } } });
    world.create("payments", of_java(given)).await;
    let reported = world.until("payments", "TargetWritten", "False", "NoPassword").await;
    let message = &condition(&reported, "TargetWritten").unwrap().message;
    assert!(message.contains("remove passwordSecretRef") && message.contains("--target-kinds"), "{message}");
    let asked = world.control_plane.requests(&world.user(), None).unwrap();
    assert!(asked.iter().all(|entry| entry.resource != "secrets"), "{asked:?}");

    // The same is true of an operator that writes Secrets and loses the permission while it runs.
    world.stop_operator().await;
    world.start_operator().await;
    world.until("payments", "TargetWritten", "False", "NoPassword").await;
    let bindings: Api<RoleBinding> = Api::namespaced(world.client.clone(), &world.namespace);
    let without = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": { "name": "no-secrets", "namespace": world.namespace },
        "rules": [
            { "apiGroups": ["apigateway.clientcert.dev"], "resources": ["*"], "verbs": ["*"] },
            { "apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["*"] },
            { "apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"] },
        ],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": { "name": "no-secrets", "namespace": world.namespace },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "no-secrets" },
        "subjects": [{ "kind": "ServiceAccount", "name": ACCOUNT, "namespace": world.namespace }],
    });
    // The objects are applied separately, because kubectl 1.29 reads a file that begins with JSON as JSON to its end.
    for object in [without, binding] {
        world.control_plane.apply_yaml(&object.to_string()).await.unwrap();
    }
    bindings.delete(ACCOUNT, &DeleteParams::default()).await.unwrap();
    let says = async || {
        look_again(&world, &fastrand::u32(..).to_string()).await;
        let reported = world.until("payments", "TargetWritten", "False", "NoPassword").await;
        condition(&reported, "TargetWritten").unwrap().message.contains("not allow the operator to get secrets")
    };
    operator_testing::wait::eventually(SOON, "the missing right is named", says).await;
}
