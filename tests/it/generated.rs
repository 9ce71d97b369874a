//! Generated files are what their sources make of them today.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Reads a file of the folder `deploy`.
fn deployed(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)).unwrap()
}

#[test]
fn crd_yaml_is_what_the_program_prints() {
    let output = Command::new(env!("CARGO_BIN_EXE_client-certificate-operator")).arg("crd").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed == deployed("crd.yaml"), "deploy/crd.yaml is not up to date: run `make generate`");
}

#[test]
fn install_yaml_is_its_parts_in_order() {
    let mut expected =
        "# Made by `make generate` from namespace.yaml crd.yaml rbac.yaml deployment.yaml: change those.\n".to_owned();
    for part in ["namespace.yaml", "crd.yaml", "rbac.yaml", "deployment.yaml"] {
        expected += "---\n";
        expected += &deployed(part);
    }
    assert!(deployed("install.yaml") == expected, "deploy/install.yaml is not up to date: run `make generate`");
}

#[test]
fn the_deployment_names_the_version_of_the_package() {
    let deployment = deployed("deployment.yaml");
    let version = env!("CARGO_PKG_VERSION");
    assert!(deployment.contains(&format!("image: client-certificate-operator:{version}\n")), "{deployment}");
    let labels = deployment.matches(&format!("app.kubernetes.io/version: {version}\n")).count();
    assert_eq!(labels, deployment.matches("app.kubernetes.io/version:").count(), "a version label is another");
    assert_eq!(labels, 2, "the Deployment and its pods carry the version");
}
