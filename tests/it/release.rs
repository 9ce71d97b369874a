//! Releases: the checks before a release, and the equality of the published and the built files.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use operator_testing::go_programs;
use serde_json::Value;
use tempfile::TempDir;

use crate::image;

const NAME: &str = "client-certificate-operator";
const VERSION: &str = env!("CARGO_PKG_VERSION");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A repository with the files that the check of a release reads, and this changelog.
fn repository(changelog: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["Cargo.toml", "deploy", "charts"] {
        run(Command::new("cp").arg("-R").arg(root().join(name)).arg(folder.path().join(name)));
    }
    fs::write(folder.path().join("CHANGELOG.md"), changelog).unwrap();
    let git = |arguments: &[&str]| {
        run(Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@example.com"])
            .args(arguments)
            .current_dir(&folder))
    };
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message=all"]);
    folder
}

fn check(folder: &TempDir, arguments: &[&str]) -> Output {
    let mut release = Command::new(folder.path().join("deploy/release"));
    release.arg("--check").args(arguments).env_remove("SOURCE_DATE_EPOCH").output().unwrap()
}

/// The output of the failed check of a release.
fn obstacles(folder: &TempDir, arguments: &[&str]) -> String {
    let output = check(folder, arguments);
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn changelog(unreleased: &str) -> String {
    format!(
        "# Changelog\n\n## [Unreleased]\n\n{unreleased}## [{VERSION}] - 2026-11-24\n\n### Added\n\n- This.\n\n- That.\n\n\
         ## [0.0.1] - 2025-01-01\n\n- Old.\n\n[Unreleased]: https://example.com\n"
    )
}

#[test]
fn the_release_notes_are_the_section_of_the_changelog() {
    let folder = repository(&changelog(""));
    let output = check(&folder, &["--tag", &format!("v{VERSION}")]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "### Added\n\n- This.\n\n- That.\n");
}

#[test]
fn an_obstacle_ends_a_release_and_is_printed_in_a_dry_run() {
    let tag = format!("v{VERSION}");
    let unreleased = repository(&changelog("- News.\n\n"));
    assert!(obstacles(&unreleased, &["--tag", &tag]).contains("entries under Unreleased"));
    let output = check(&unreleased, &[]);
    assert!(output.status.success(), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stderr)
            .contains("obstacle to the release: CHANGELOG.md has entries under Unreleased")
    );

    let folder = repository(&changelog(""));
    assert!(obstacles(&folder, &["--tag", "v99.0.0"]).contains("the tag v99.0.0 is not v"));
    fs::write(folder.path().join("new"), "").unwrap();
    assert!(obstacles(&folder, &["--tag", &tag]).contains("uncommitted changes"));

    let undated = repository(&changelog("").replace(" - 2026-11-24", ""));
    assert!(obstacles(&undated, &["--tag", &tag]).contains("has no heading"));
    let other = repository(&changelog("").replace(&format!("[{VERSION}]"), "[99.0.0]"));
    assert!(obstacles(&other, &["--tag", &tag]).contains("has no section of"));
}

#[test]
fn a_different_version_in_a_file_is_found() {
    for name in ["charts/client-certificate-operator/Chart.yaml", "deploy/install.yaml", "deploy/Dockerfile"] {
        let folder = repository(&changelog(""));
        let file = folder.path().join(name);
        fs::write(&file, fs::read_to_string(&file).unwrap().replace(VERSION, "99.0.0")).unwrap();
        assert!(obstacles(&folder, &[]).contains(&format!("{name} does not contain the line")));
    }
}

/// A registry on this machine, until it is dropped.
struct Registry {
    process: Child,
    address: String,
}

impl Registry {
    fn start() -> Self {
        let mut serve = Command::new(go_programs::crane().unwrap());
        serve.args(["registry", "serve", "--address=127.0.0.1:0"]).stderr(Stdio::piped());
        let mut process = serve.spawn().unwrap();
        let mut said = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        let port = line.trim().rsplit([' ', ':']).next().unwrap().to_owned();
        // A thread reads the later output, so that a full pipe does not block the registry.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self { process, address: format!("127.0.0.1:{port}") }
    }

    fn crane(&self, arguments: &[&str]) -> String {
        run(Command::new(go_programs::crane().unwrap()).args(arguments))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn checksums(folder: &Path) {
    let sums = run(Command::new("sh").args(["-c", "sha256sum *"]).current_dir(folder));
    fs::write(folder.join("SHA256SUMS"), sums).unwrap();
}

/// The files that `deploy/release` makes for an architecture, with a small program.
fn made(in_folder: &Path, architecture: &str) -> PathBuf {
    let folder = in_folder.join(architecture);
    let parts = in_folder.join(format!("{architecture}-parts"));
    fs::create_dir_all(&folder).unwrap();
    fs::create_dir_all(&parts).unwrap();
    let program = image::static_program();
    run(Command::new("tar").arg("-C").arg(&parts).arg("-xf").arg(image::packed(&program, &[], None)));
    let config = parts.join("config.json");
    let mut json: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    json["architecture"] = architecture.into();
    fs::write(&config, json.to_string()).unwrap();
    let archive = folder.join(format!("{NAME}-{VERSION}-image-linux-{architecture}.tar.gz"));
    run(Command::new("tar").arg("-C").arg(&parts).arg("-czf").arg(archive).args([
        "config.json",
        "manifest.json",
        "layer.tar",
    ]));
    fs::write(folder.join("install.yaml"), "the same everywhere").unwrap();
    folder
}

fn publish(registry: &Registry, out: &Path, folders: &[&Path]) -> Output {
    let mut publish = Command::new(root().join("deploy/publish"));
    publish.args([format!("{}/operator", registry.address), format!("{}/charts", registry.address)]);
    publish.arg(out).args(folders).output().unwrap()
}

#[test]
fn a_release_publishes_one_image_for_all_architectures_and_the_chart() {
    let registry = Registry::start();
    let work = tempfile::tempdir().unwrap();
    let (amd64, arm64) = (made(work.path(), "amd64"), made(work.path(), "arm64"));
    let mut helm = Command::new(go_programs::helm().unwrap());
    run(helm.arg("package").arg(root().join("charts").join(NAME)).arg("--destination").arg(&amd64));
    let chart = format!("{NAME}-{VERSION}.tgz");
    fs::copy(amd64.join(&chart), arm64.join(&chart)).unwrap();
    checksums(&amd64);
    checksums(&arm64);

    let out = work.path().join("out");
    let output = publish(&registry, &out, &[&amd64, &arm64]);
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let pushed = |name: &str| {
        let line =
            printed.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}{printed}"));
        line.to_owned()
    };
    let image = pushed("image=");
    let index: Value = serde_json::from_str(&registry.crane(&["manifest", &image])).unwrap();
    let platforms: Vec<&Value> =
        index["manifests"].as_array().unwrap().iter().map(|one| &one["platform"]["architecture"]).collect();
    assert_eq!(platforms, ["amd64", "arm64"]);
    for architecture in ["amd64", "arm64"] {
        let one = pushed(&format!("image_{architecture}="));
        let config: Value = serde_json::from_str(&registry.crane(&["config", &one])).unwrap();
        assert_eq!(config["architecture"], architecture);
        assert_eq!(config["config"]["User"], "65532:65532");
    }
    let tagged = registry.crane(&["digest", &format!("{}/operator:{VERSION}", registry.address)]);
    assert_eq!(tagged.trim(), image.split_once('@').unwrap().1);
    let chart_manifest: Value = serde_json::from_str(&registry.crane(&["manifest", &pushed("chart=")])).unwrap();
    assert_eq!(chart_manifest["config"]["mediaType"], "application/vnd.cncf.helm.config.v1+json");
    let files: Vec<String> =
        fs::read_to_string(out.join("SHA256SUMS")).unwrap().lines().map(|line| line[66..].to_owned()).collect();
    let image = |architecture: &str| format!("{NAME}-{VERSION}-image-linux-{architecture}.tar.gz");
    assert_eq!(files, [image("amd64"), image("arm64"), chart, "install.yaml".to_owned()]);
    run(Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(&out));
}

#[test]
fn different_architectures_and_changed_files_are_not_published() {
    let registry = Registry::start();
    let work = tempfile::tempdir().unwrap();
    let (amd64, arm64) = (made(work.path(), "amd64"), made(work.path(), "arm64"));
    fs::write(arm64.join("install.yaml"), "another").unwrap();
    checksums(&amd64);
    checksums(&arm64);
    let refusal = |out: &str| {
        let output = publish(&registry, &work.path().join(out), &[&amd64, &arm64]);
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refusal("differing").contains("install.yaml differs between the architectures"));
    fs::write(arm64.join("install.yaml"), "the same everywhere").unwrap();
    assert!(refusal("changed").contains("differ from those that deploy/release made"));
    assert!(refusal("changed").contains("already exists"));
    assert_eq!(registry.crane(&["catalog", &registry.address]).trim(), "");
}
