//! What a newcomer applies: the manifests of `deploy/` on a real API server.

use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use operator_testing::control_plane::{ControlPlane, service_account_user};

const NAMESPACE: &str = "client-certificate-operator";

/// The right of somebody, as `kubectl auth can-i --list` shows it: resources, URLs, names and verbs.
fn rights(control_plane: &ControlPlane, user: &str) -> Vec<String> {
    let output = control_plane
        .kubectl()
        .args(["auth", "can-i", "--list", "--no-headers", "--namespace=default", "--as", user])
        .args(["--as-group=system:serviceaccounts", "--as-group=system:authenticated"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

fn apply(control_plane: &ControlPlane, yaml: &str, extra: &[&str]) -> Output {
    let mut apply = control_plane.kubectl();
    apply.args(["apply", "--server-side", "--force-conflicts", "--field-manager=tests", "--filename=-"]).args(extra);
    let mut child = apply.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(yaml.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[tokio::test]
async fn install_yaml_applies_without_a_warning_and_gives_exactly_the_rights_that_are_needed() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let yaml = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/install.yaml")).unwrap();
    let applied = apply(control_plane, &yaml, &["--warnings-as-errors", "--validate=strict"]);
    let (stdout, stderr) = (String::from_utf8_lossy(&applied.stdout), String::from_utf8_lossy(&applied.stderr));
    assert!(applied.status.success() && stderr.is_empty(), "{stdout}{stderr}");
    let kinds: Vec<&str> = stdout.lines().filter_map(|line| line.split(['/', '.']).next()).collect();
    let expected =
        ["namespace", "customresourcedefinition", "serviceaccount", "clusterrole", "clusterrolebinding", "deployment"];
    assert_eq!(kinds, expected, "in this order, so that nothing comes before what it needs: {stdout}");

    let mine = rights(control_plane, &service_account_user(NAMESPACE, NAMESPACE));
    let everybodys = rights(control_plane, &service_account_user(NAMESPACE, "default"));
    assert!(!everybodys.is_empty(), "every ServiceAccount may ask for its own rights");
    let mut own: Vec<&String> = mine.iter().filter(|right| !everybodys.contains(right)).collect();
    own.sort();
    assert_eq!(
        own,
        [
            "clientcertificaterefs.apigateway.clientcert.dev [] [] [get list watch]",
            "clientcertificaterefs.apigateway.clientcert.dev/status [] [] [patch]",
            "configmaps [] [] [get list watch create update delete]",
            "events.events.k8s.io [] [] [create patch]",
            "namespaces [] [] [list watch]",
            "secrets [] [] [get list watch create update delete]",
        ]
    );
    let lost: Vec<_> = everybodys.iter().filter(|right| !mine.contains(right)).collect();
    assert!(lost.is_empty(), "{lost:?}");

    // Its twin: the namespace's Pod Security level would have told of a pod that asks for more than it needs.
    let careless = yaml.replace("runAsNonRoot: true", "runAsNonRoot: false");
    let refused = apply(control_plane, &careless, &["--warnings-as-errors", "--dry-run=server"]);
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && stderr.contains("would violate PodSecurity"), "{stderr}");
}
