//! Static checks of the workflows of `.github`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use operator_testing::go_programs;
use serde_json::{Value, json};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn texts() -> BTreeMap<String, String> {
    let files = fs::read_dir(root().join(".github/workflows")).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    files.map(|path| (name(&path), fs::read_to_string(path).unwrap())).collect()
}

fn workflows() -> BTreeMap<String, Value> {
    texts().into_iter().map(|(name, text)| (name, serde_saphyr::from_str(&text).unwrap())).collect()
}

fn actionlint(files: &[PathBuf]) -> Output {
    // The checks by programs that are not on every machine are off.
    let mut command = Command::new(go_programs::actionlint().unwrap());
    command.args(["-no-color", "-shellcheck=", "-pyflakes="]).args(files);
    command.current_dir(root()).output().unwrap()
}

fn jobs(workflow: &Value) -> impl Iterator<Item = (&String, &Value)> {
    workflow["jobs"].as_object().unwrap().iter()
}

#[test]
fn actionlint_accepts_the_workflows() {
    let files: Vec<PathBuf> = texts().keys().map(|name| root().join(".github/workflows").join(name)).collect();
    assert_eq!(files.len(), 3);
    let output = actionlint(&files);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));

    // The counterexample: a job that needs a missing job.
    let wrong = tempfile::tempdir().unwrap();
    let file = wrong.path().join("wrong.yaml");
    fs::write(&file, texts()["release.yaml"].replace("needs: publish", "needs: publishing")).unwrap();
    let output = actionlint(&[file]);
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stdout).contains("publishing"), "{output:?}");
}

#[test]
fn every_external_action_is_pinned_by_its_commit_and_names_its_version() {
    let mut pins: BTreeMap<String, String> = BTreeMap::new();
    for (name, text) in texts() {
        for line in text.lines().filter_map(|line| line.split_once("uses: ")).map(|(_, used)| used) {
            if line.starts_with("./.github/workflows/") {
                assert!(root().join(line).exists(), "{name}: {line}");
                continue;
            }
            let (action, pin) = line.split_once('@').unwrap_or_else(|| panic!("{name}: {line}"));
            let (commit, version) = pin.split_once(" # v").unwrap_or_else(|| panic!("{name}: {line} says no version"));
            assert!(
                commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit()),
                "{name}: {line} is not pinned"
            );
            assert!(!version.is_empty(), "{name}: {line}");
            let before = pins.insert(action.to_owned(), pin.to_owned());
            assert!(before.is_none_or(|before| before == pin), "{action} is pinned in two versions");
        }
    }
    assert!(pins.contains_key("actions/checkout"), "{pins:?}");
}

#[test]
fn a_job_has_only_the_permissions_that_it_needs() {
    let mut writing = BTreeMap::new();
    for (file, workflow) in workflows() {
        let everywhere = &workflow["permissions"];
        assert!(*everywhere == json!({}) || *everywhere == json!({ "contents": "read" }), "{file}: {everywhere}");
        for (name, job) in jobs(&workflow) {
            let permissions = job["permissions"].as_object().cloned().unwrap_or_default();
            let written: Vec<String> =
                permissions.into_iter().filter(|(_, right)| right == "write").map(|(what, _)| what).collect();
            if !written.is_empty() {
                writing.insert(format!("{file} {name}"), written);
            }
            // No code of a pull request may find a token on the disk.
            for step in job["steps"].as_array().into_iter().flatten() {
                let uses = step["uses"].as_str().unwrap_or_default();
                let checks_out = uses.starts_with("actions/checkout@");
                assert!(!checks_out || step["with"]["persist-credentials"] == false, "{file} {name}");
            }
        }
    }
    let publish = ["artifact-metadata", "attestations", "id-token", "packages"].map(str::to_owned).to_vec();
    let expected = [("release.yaml publish", publish), ("release.yaml release", vec!["contents".to_owned()])];
    assert_eq!(writing, expected.map(|(job, rights)| (job.to_owned(), rights)).into());
}

#[test]
fn nothing_is_published_before_it_is_tested_built_and_scanned() {
    let workflow = &workflows()["release.yaml"];
    assert_eq!(workflow["on"], json!({ "push": { "tags": ["v*"] } }));
    assert_eq!(workflow["defaults"]["run"]["shell"], "bash", "else a pipe hides that its beginning failed");
    assert_eq!(workflow["jobs"]["publish"]["needs"], json!(["test", "build", "scan", "advisories"]));
    assert_eq!(workflow["jobs"]["test"]["uses"], "./.github/workflows/ci.yaml");
    assert_eq!(workflow["jobs"]["advisories"]["uses"], "./.github/workflows/security.yaml");
    let architectures = &workflow["jobs"]["build"]["strategy"]["matrix"]["include"];
    let architectures: Vec<&Value> = architectures.as_array().unwrap().iter().map(|one| &one["arch"]).collect();
    assert_eq!(architectures, ["amd64", "arm64"]);
}

#[test]
fn the_workflows_run_existing_make_targets_and_scripts() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let mut ran = Vec::new();
    for (file, workflow) in workflows() {
        for (_, job) in jobs(&workflow) {
            let steps = job["steps"].as_array().into_iter().flatten();
            for line in steps.filter_map(|step| step["run"].as_str()).flat_map(str::lines) {
                let mut words = line.split_whitespace();
                let first = words.next().unwrap_or_default();
                if first == "make" {
                    let target = words.next().unwrap();
                    assert!(makefile.contains(&format!("\n{target}: ")), "{file}: make {target}");
                    ran.push(target.to_owned());
                } else if first.starts_with("deploy/") || first.starts_with(".ci/") {
                    assert!(root().join(first).is_file(), "{file}: {first}");
                    ran.push(first.to_owned());
                }
            }
        }
    }
    ran.sort_unstable();
    assert_eq!(ran, [".ci/run", "deploy/publish", "image-test", "kubernetes", "release-dry-run"]);
}
