//! The source of the Kubernetes programs: for the demo, the build script uses and names the programs of the machine, and
//! builds missing ones. These tests build none.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ALL: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kubectl"];

/// A home folder without this machine's programs, and with a kubectl on the PATH that does not run.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    program(&home.path().join("bin/kubectl"), "exit 1");
    home
}

fn program(path: &Path, script: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A folder like that of setup-envtest, with these programs of this version.
fn envtest(home: &Path, version: &str, programs: &[&str]) -> PathBuf {
    let folder = home.join(".local/share/kubebuilder-envtest/k8s").join(format!("{version}-linux-amd64"));
    for name in programs {
        program(&folder.join(name), &format!("echo Kubernetes v{version}"));
    }
    folder
}

fn build(home: &Path, assets: Option<&Path>, arguments: &[&str]) -> Output {
    let mut build = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kubernetes/build"));
    let path = format!("{}:{}", home.join("bin").display(), std::env::var("PATH").unwrap());
    build.args(arguments).env("HOME", home).env("PATH", path);
    for name in ["XDG_CACHE_HOME", "XDG_DATA_HOME", "CCR_KUBERNETES_DIR", "KUBEBUILDER_ASSETS", "KUBERNETES"] {
        build.env_remove(name);
    }
    build.envs(assets.map(|assets| ("KUBEBUILDER_ASSETS", assets)));
    build.output().unwrap()
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn for_the_demo_the_newest_programs_of_setup_envtest_are_used_and_named() {
    let home = home();
    let newest = envtest(home.path(), "1.33.10", &ALL);
    envtest(home.path(), "1.33.9", &ALL);
    envtest(home.path(), "1.34.0", &["kubectl"]);
    let output = build(home.path(), None, &["--demo"]);
    assert_eq!(printed(&output).trim_end(), newest.to_str().unwrap());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.trim_end(), format!("using the Kubernetes programs of {}", newest.display()));
    // Tests use the version that the module pins.
    let plan = printed(&build(home.path(), None, &["--plan"]));
    assert!(plan.starts_with("builds etcd kube-apiserver kube-controller-manager kubectl of Kubernetes v1."), "{plan}");
}

#[test]
fn programs_that_are_too_old_are_not_used() {
    let home = home();
    envtest(home.path(), "1.28.15", &ALL);
    let plan = printed(&build(home.path(), None, &["--demo", "--plan"]));
    assert!(plan.starts_with("builds etcd kube-apiserver kubectl of "), "{plan}");
}

#[test]
fn programs_that_a_folder_lacks_are_built() {
    let home = home();
    let folder = envtest(home.path(), "1.33.0", &["etcd", "kube-apiserver"]);
    for (assets, arguments, missing) in [
        (None, &["--demo", "--plan"][..], "kubectl"),
        (Some(folder.as_path()), &["--plan"], "kube-controller-manager kubectl"),
    ] {
        let plan = printed(&build(home.path(), assets, arguments));
        let lines: Vec<_> = plan.lines().collect();
        assert_eq!(lines[0], format!("uses the Kubernetes programs of {}", folder.display()));
        assert!(lines[1].starts_with(&format!("builds {missing} of Kubernetes v1.")), "{plan}");
    }
}

#[test]
fn for_the_demo_a_kubectl_on_the_path_is_used() {
    let home = home();
    let kubectl = home.path().join("bin/kubectl");
    program(&kubectl, "echo Client Version: v1.32.0");
    let lines = |arguments: &[&str]| -> Vec<String> {
        printed(&build(home.path(), None, arguments)).lines().map(str::to_owned).collect()
    };
    let plan = lines(&["--demo", "--plan"]);
    assert_eq!(plan[0], format!("uses {}", kubectl.display()));
    assert!(plan[1].starts_with("builds etcd kube-apiserver of Kubernetes v1."), "{plan:?}");
    // Tests use the version that the module pins.
    assert!(lines(&["--plan"])[0].starts_with("builds etcd kube-apiserver kube-controller-manager kubectl of "));

    let folder = envtest(home.path(), "1.33.0", &["etcd", "kube-apiserver"]);
    let all = PathBuf::from(printed(&build(home.path(), None, &["--demo"])).trim_end());
    assert_eq!(fs::read_link(all.join("kubectl")).unwrap(), kubectl);
    assert_eq!(fs::read_link(all.join("etcd")).unwrap(), folder.join("etcd"));

    // The folder's own kubectl has the version of its kube-apiserver.
    envtest(home.path(), "1.33.0", &["kubectl"]);
    assert_eq!(lines(&["--demo"]), [folder.to_str().unwrap()]);
}

#[test]
fn a_named_folder_must_have_an_api_server() {
    let home = home();
    let output = build(home.path(), Some(home.path()), &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("has no etcd and kube-apiserver; unset it to build"), "{said}");
}
