//! The first steps of a new user: the manifests of `deploy/` on a real API server.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use operator_testing::control_plane::{ControlPlane, service_account_user};
use operator_testing::wait::eventually;
use serde_json::{Value, json};

use crate::chart;

const NAMESPACE: &str = "client-certificate-operator";

/// The permissions of a user in a namespace, by `kubectl auth can-i --list`: resources, URLs, names and verbs.
fn rights(control_plane: &ControlPlane, user: &str, namespace: &str) -> BTreeSet<String> {
    let output = control_plane
        .kubectl()
        .args(["auth", "can-i", "--list", "--no-headers", "--namespace", namespace, "--as", user])
        .args(["--as-group=system:serviceaccounts", "--as-group=system:authenticated"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// The permissions that not every ServiceAccount has.
fn own_rights(control_plane: &ControlPlane, account: (&str, &str), namespace: &str) -> Vec<String> {
    let mine = rights(control_plane, &service_account_user(account.0, account.1), namespace);
    let everybodys = rights(control_plane, &service_account_user(account.0, "default"), namespace);
    assert!(!everybodys.is_empty(), "every ServiceAccount may ask for its own rights");
    assert!(everybodys.is_subset(&mine), "{everybodys:?}");
    mine.difference(&everybodys).cloned().collect()
}

fn apply(control_plane: &ControlPlane, yaml: &str, extra: &[&str]) -> Output {
    let mut apply = control_plane.kubectl();
    apply.args(["apply", "--server-side", "--force-conflicts", "--field-manager=tests", "--filename=-"]).args(extra);
    chart::with_input(apply, yaml)
}

#[tokio::test]
async fn install_yaml_applies_without_a_warning_and_grants_exactly_the_required_rights() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let yaml = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/install.yaml")).unwrap();
    let applied = apply(control_plane, &yaml, &["--warnings-as-errors", "--validate=strict"]);
    let (stdout, stderr) = (String::from_utf8_lossy(&applied.stdout), String::from_utf8_lossy(&applied.stderr));
    assert!(applied.status.success() && stderr.is_empty(), "{stdout}{stderr}");
    let kinds: Vec<&str> = stdout.lines().filter_map(|line| line.split(['/', '.']).next()).collect();
    let expected = [
        "namespace",
        "poddisruptionbudget",
        "serviceaccount",
        "customresourcedefinition",
        "clusterrole",
        "clusterrole",
        "clusterrolebinding",
        "role",
        "rolebinding",
        "service",
        "deployment",
        "lease",
    ];
    assert_eq!(kinds, expected, "in this order, so that nothing comes before what it needs: {stdout}");

    let everywhere = [
        "clientcertificaterefs.apigateway.clientcert.dev [] [] [get list watch]",
        "clientcertificaterefs.apigateway.clientcert.dev/status [] [] [update patch]",
        "configmaps [] [] [get list watch create update delete]",
        "events.events.k8s.io [] [] [create patch]",
        "namespaces [] [] [list watch]",
        "secrets [] [] [get list watch create update delete]",
    ];
    let account = (NAMESPACE, NAMESPACE);
    assert_eq!(own_rights(control_plane, account, "default"), everywhere);
    let mut at_home = everywhere.to_vec();
    at_home.extend(["leases.coordination.k8s.io [] [client-certificate-operator] [get update]"]);
    at_home.sort_unstable();
    assert_eq!(own_rights(control_plane, account, NAMESPACE), at_home);

    // The counterexample: the namespace's Pod Security level warns about a pod with more privileges.
    let careless = yaml.replace("runAsNonRoot: true", "runAsNonRoot: false");
    let refused = apply(control_plane, &careless, &["--warnings-as-errors", "--dry-run=server"]);
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && stderr.contains("would violate PodSecurity"), "{stderr}");
}

#[tokio::test]
async fn kubectl_apply_k_accepts_the_folder_deploy() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let built = control_plane.kubectl().arg("kustomize").arg(&deploy).output().unwrap();
    let built: Vec<Value> = serde_saphyr::from_multiple(std::str::from_utf8(&built.stdout).unwrap()).unwrap();
    let plain = std::fs::read_to_string(deploy.join("install.yaml")).unwrap();
    let plain: Vec<Value> = serde_saphyr::from_multiple(&plain).unwrap();
    let sorted = |mut objects: Vec<Value>| {
        objects.sort_by_key(|object| format!("{}{}", object["kind"], object["metadata"]["name"]));
        objects
    };
    assert_eq!(sorted(built), sorted(plain));

    let mut apply = control_plane.kubectl();
    apply.args(["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--warnings-as-errors", "-k"]);
    let applied = apply.arg(&deploy).output().unwrap();
    assert!(applied.status.success() && applied.stderr.is_empty(), "{applied:?}");
}

/// Renders the chart with these values for a new namespace, and applies its roles and bindings.
async fn grant(control_plane: &ControlPlane, values: &[&str]) -> String {
    let home = control_plane.namespace("granted").await.unwrap();
    let namespace = format!("--namespace={home}");
    let name = format!("--set=fullnameOverride={home}");
    let rendered = chart::rendered_text(&[&[namespace.as_str(), &name][..], values].concat());
    let objects: Vec<Value> = serde_saphyr::from_multiple(&rendered).unwrap();
    let is_rbac = |object: &Value| object["apiVersion"] == "rbac.authorization.k8s.io/v1";
    let rbac: Vec<Value> = objects.into_iter().filter(is_rbac).collect();
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": rbac });
    let applied = apply(control_plane, &list.to_string(), &["--warnings-as-errors"]);
    assert!(applied.status.success(), "{applied:?}");
    home
}

#[tokio::test]
async fn an_installation_for_config_maps_only_has_no_right_on_secrets() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let home = grant(control_plane, &["--set=targets.kinds={ConfigMap},rbac.aggregate.view=false"]).await;
    for namespace in ["default", &home] {
        let own = own_rights(control_plane, (&home, &home), namespace);
        assert!(own.contains(&"configmaps [] [] [get list watch create update delete]".to_owned()), "{own:?}");
        assert!(own.iter().all(|right| !right.contains("secrets")), "{own:?}");
    }
}

#[tokio::test]
async fn a_namespaced_installation_has_rights_only_in_its_namespaces() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let watched = control_plane.namespace("watched").await.unwrap();
    let other = control_plane.namespace("other").await.unwrap();
    let watch = format!("--set=watch.namespaces={{{watched}}},rbac.aggregate.view=false");
    let home = grant(control_plane, &[&watch]).await;
    let account = (home.as_str(), home.as_str());
    assert_eq!(
        own_rights(control_plane, account, &watched),
        [
            "clientcertificaterefs.apigateway.clientcert.dev [] [] [get list watch]",
            "clientcertificaterefs.apigateway.clientcert.dev/status [] [] [update patch]",
            "configmaps [] [] [get list watch create update delete]",
            "events.events.k8s.io [] [] [create patch]",
            "secrets [] [] [get list watch create update delete]",
        ]
    );
    let lease = format!("leases.coordination.k8s.io [] [{home}] [get update]");
    assert_eq!(own_rights(control_plane, account, &home), [lease]);
    assert_eq!(own_rights(control_plane, account, &other), Vec::<String>::new());
}

#[tokio::test]
async fn viewers_read_resources_and_editors_write_them_only_if_the_values_allow_it() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let home = grant(control_plane, &[]).await;
    let binding = |role: &str| {
        let role_ref = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role });
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": { "name": role, "namespace": home }, "roleRef": role_ref,
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": role }],
        })
    };
    for role in ["view", "edit"] {
        control_plane.apply_yaml(&binding(role).to_string()).await.unwrap();
    }
    let may = |user: &str, verb: &str| {
        let mut ask = control_plane.kubectl();
        let ask = ask.args(["auth", "can-i", verb, "clientcertificaterefs.apigateway.clientcert.dev", "-n", &home]);
        ask.args(["--as", user]).status().unwrap().success()
    };
    // A controller aggregates the roles, so the test waits.
    eventually(Duration::from_secs(20), "viewers may list", async || may("view", "list")).await;
    eventually(Duration::from_secs(20), "editors may list", async || may("edit", "list")).await;
    assert!(!may("view", "create") && !may("edit", "create"), "an editor would gain writes to AWS");
    let _ = grant(control_plane, &["--set=rbac.aggregate.edit=true"]).await;
    eventually(Duration::from_secs(20), "editors may create", async || may("edit", "create")).await;
    assert!(!may("view", "create"));
}
