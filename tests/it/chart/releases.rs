//! The effect of releases on a cluster: install, upgrade, uninstall, install again under another name.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use operator_testing::control_plane::ControlPlane;
use operator_testing::go_programs;
use serde_json::Value;
use tempfile::TempDir;

use super::{at, folder, text, with_input};

const CRD: &str = "clientcertificaterefs.apigateway.clientcert.dev";
const RESOURCE: &str = "apiVersion: apigateway.clientcert.dev/v1alpha1
kind: ClientCertificateRef
metadata: {name: kept, namespace: default}
spec: {clientCertificateId: 9ao60f, suspend: true}
";

/// A separate control plane, because a control plane has only one CRD, and a Helm.
struct Cluster {
    control_plane: ControlPlane,
    helm: PathBuf,
    /// The folder of Helm's files on the machine.
    home: TempDir,
}

impl Cluster {
    async fn start(helm: PathBuf) -> Self {
        Cluster { control_plane: ControlPlane::start().await.unwrap(), helm, home: TempDir::new().unwrap() }
    }

    fn helm(&self, arguments: &[&str], chart: Option<&Path>) -> Output {
        let mut helm = Command::new(&self.helm);
        for home in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            helm.env(home, self.home.path());
        }
        helm.args(arguments).args(chart).env("KUBECONFIG", self.control_plane.kubeconfig()).output().unwrap()
    }

    /// Runs Helm with the chart, and expects success.
    fn apply(&self, arguments: &[&str]) {
        let output = self.helm(arguments, Some(&folder()));
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    }

    /// Runs Helm with the chart, expects a failure, and returns its message.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.helm(arguments, Some(&folder()));
        assert!(!output.status.success(), "{arguments:?} was not refused");
        text(&output.stderr)
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        let output = self.control_plane.kubectl().args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    fn crd(&self) -> Value {
        serde_json::from_str(&self.kubectl(&["get", "crd", CRD, "--output=json"])).unwrap()
    }

    fn owner_of_crd(&self) -> String {
        let part = |name: &str| {
            let crd = self.crd();
            at(&crd, &format!("/metadata/annotations/meta.helm.sh~1release-{name}")).as_str().unwrap().to_owned()
        };
        format!("{}/{}", part("namespace"), part("name"))
    }

    /// The existing objects of all kinds that a release can create.
    fn left(&self) -> Vec<String> {
        let kinds = "deployments,services,serviceaccounts,configmaps,secrets,poddisruptionbudgets,networkpolicies,roles,\
                     rolebindings,clusterroles,clusterrolebindings,customresourcedefinitions";
        let selected = ["--selector=app.kubernetes.io/name=client-certificate-operator", "--all-namespaces"];
        let found = self.kubectl(&[&["get", kinds, "--output=name"][..], &selected].concat());
        found.lines().map(str::to_owned).collect()
    }
}

/// An older chart, without `spec.suspend` in the CRD.
fn older_chart() -> TempDir {
    let copy = TempDir::new().unwrap();
    let copied = Command::new("cp").arg("-r").arg(folder().join(".")).arg(copy.path()).status().unwrap();
    assert!(copied.success());
    let file = copy.path().join("files/crd.yaml");
    let mut crd: Value = serde_saphyr::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    crd.pointer_mut(spec).unwrap().as_object_mut().unwrap().remove("suspend").unwrap();
    fs::write(&file, serde_json::to_string(&crd).unwrap()).unwrap();
    copy
}

async fn a_life_of_releases(helm: PathBuf) {
    let cluster = Cluster::start(helm).await;
    let suspend = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/suspend/type";
    let in_namespace = ["--namespace=operators", "--create-namespace"];
    let install = |name| [&["install", name][..], &in_namespace].concat();

    let older = older_chart();
    let output = cluster.helm(&install("mirror"), Some(older.path()));
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(at(&cluster.crd(), suspend), &Value::Null);
    cluster.apply(&["upgrade", "mirror", "--namespace=operators"]);
    assert_eq!(at(&cluster.crd(), suspend), "boolean", "an upgrade brings the CRD's new fields");
    cluster.kubectl(&["wait", "--for=condition=Established", &format!("crd/{CRD}")]);
    let mut create = cluster.control_plane.kubectl();
    create.args(["create", "--filename=-"]);
    let created = with_input(create, RESOURCE);
    assert!(created.status.success(), "{}", text(&created.stderr));

    // A second release may use the CRD, and must not take it over.
    let second = ["install", "second", "--namespace=default", "--set=watch.namespaces={default}"];
    for take in [&[][..], &["--take-ownership"]] {
        let message = cluster.refused(&[&second[..], take].concat());
        assert!(message.contains("belongs to the release mirror in the namespace operators"), "{message}");
        assert!(message.contains("crds.enabled=false") && message.contains("--take-ownership"), "{message}");
    }
    cluster.apply(&[&second[..], &["--set=crds.enabled=false"]].concat());
    let uninstalled = cluster.helm(&["uninstall", "second", "--namespace=default"], None);
    assert!(uninstalled.status.success(), "{}", text(&uninstalled.stderr));
    assert_eq!(cluster.owner_of_crd(), "operators/mirror");

    let uninstalled = cluster.helm(&["uninstall", "mirror", "--namespace=operators"], None);
    assert!(uninstalled.status.success(), "{}", text(&uninstalled.stderr));
    let crd = format!("customresourcedefinition.apiextensions.k8s.io/{CRD}");
    assert_eq!(cluster.left(), [crd], "the CRD is kept, and nothing else");
    let kept = cluster.kubectl(&["get", "ccr", "kept", "--output=jsonpath={.spec.suspend}"]);
    assert_eq!(kept, "true", "and so is every resource");

    // The next release has another name. Helm itself refuses to take over the objects of another release.
    let message = cluster.refused(&install("client-certificate-operator"));
    assert!(message.contains("invalid ownership metadata") && message.contains("release-name"), "{message}");
    cluster.apply(&[&install("client-certificate-operator")[..], &["--take-ownership"]].concat());
    assert_eq!(cluster.owner_of_crd(), "operators/client-certificate-operator");
    cluster.apply(&["upgrade", "client-certificate-operator", "--namespace=operators", "--set=crds.keep=false"]);
    cluster.helm(&["uninstall", "client-certificate-operator", "--namespace=operators"], None);
    let gone = cluster.kubectl(&["wait", "--for=delete", &format!("crd/{CRD}"), "--timeout=60s"]);
    assert_eq!(cluster.left(), Vec::<String>::new(), "crds.keep=false leaves nothing {gone}");
}

#[tokio::test]
async fn releases_update_the_crd_keep_it_and_hand_it_over() {
    a_life_of_releases(go_programs::helm().unwrap()).await;
}

#[tokio::test]
async fn releases_of_helm_3_update_the_crd_keep_it_and_hand_it_over() {
    a_life_of_releases(go_programs::helm3().unwrap()).await;
}

#[tokio::test]
async fn an_installation_by_kubectl_can_become_a_release() {
    let [helm, helm3] = super::helms();
    // Helm 4 uses server-side apply, in which kubectl owns the fields.
    for (helm, take) in [(helm, &["--take-ownership", "--force-conflicts"][..]), (helm3, &["--take-ownership"])] {
        let cluster = Cluster::start(helm).await;
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/install.yaml");
        cluster.kubectl(&["apply", "--server-side", "--filename", manifest.to_str().unwrap()]);
        let name = "client-certificate-operator";
        let install = ["install", name, "--namespace", name];
        let message = cluster.refused(&install);
        assert!(message.contains("cannot be imported into the current release"), "{message}");
        cluster.apply(&[&install[..], take].concat());
        assert_eq!(cluster.owner_of_crd(), format!("{name}/{name}"));
    }
}
