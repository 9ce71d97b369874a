//! Generated files are up to date.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use operator_testing::go_programs;

const CHART: &str = "charts/client-certificate-operator";

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn file(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap()
}

#[test]
fn crd_yaml_and_the_chart_have_the_crd_that_the_program_prints() {
    let output = Command::new(env!("CARGO_BIN_EXE_client-certificate-operator")).arg("crd").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    for name in ["deploy/crd.yaml", &format!("{CHART}/files/crd.yaml")] {
        assert!(printed == file(name), "{name} is not up to date: run `make generate`");
    }
}

#[test]
fn install_yaml_is_the_namespace_and_the_rendered_chart() {
    let mut expected = format!("# Made by `make generate` from namespace.yaml and ../{CHART}: change those.\n---\n");
    expected += &file("deploy/namespace.yaml");
    let mut helm = Command::new(go_programs::helm().unwrap());
    helm.args(["template", "client-certificate-operator"]).arg(path(CHART));
    let output = helm.args(["--namespace=client-certificate-operator", "--skip-tests"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    expected += std::str::from_utf8(&output.stdout).unwrap();
    assert!(file("deploy/install.yaml") == expected, "deploy/install.yaml is not up to date: run `make generate`");
}

#[test]
fn the_chart_and_its_image_have_the_version_of_the_package() {
    let version = env!("CARGO_PKG_VERSION");
    let chart = file(&format!("{CHART}/Chart.yaml"));
    for line in [format!("\nversion: {version}\n"), format!("\nappVersion: {version}\n")] {
        assert!(chart.contains(&line), "Chart.yaml has another version: run `make generate`");
    }
    assert!(file("deploy/install.yaml").contains(&format!("image: client-certificate-operator:{version}\n")));
}

#[test]
fn texts_of_make_contain_no_comma() {
    let makefile = file("Makefile");
    let said: Vec<_> = makefile.lines().filter_map(|line| line.split_once("$(call say,")).collect();
    assert!(said.len() > 10);
    let cut: Vec<_> = said.iter().filter(|(_, text)| text.contains(',')).collect();
    assert!(cut.is_empty(), "{cut:?}");
}
