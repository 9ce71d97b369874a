//! The image: the content that `deploy/build-image` packs, the input that it refuses, and its equality with
//! `deploy/Dockerfile`. `tests/image/run` runs the program in the image.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use operator_testing::go_programs;
use serde_json::{Value, json};
use tempfile::TempDir;

const NAME: &str = "client-certificate-operator";
const LABEL: &str = "org.opencontainers.image.";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder like that of a build: with a small program, compiled with these flags.
fn built(flags: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let release = folder.path().join(format!("{}-unknown-linux-gnu/release", std::env::consts::ARCH));
    fs::create_dir_all(&release).unwrap();
    let source = folder.path().join("program.c");
    fs::write(&source, "int main(void) { return 0; } void _start(void) { main(); }").unwrap();
    let status = Command::new("cc").args(flags).arg("-o").arg(release.join(NAME)).arg(&source).status().unwrap();
    assert!(status.success());
    folder
}

/// A program that the image may hold.
pub(crate) fn static_program() -> TempDir {
    built(&["-static", "-nostdlib"])
}

fn program_of(folder: &TempDir) -> PathBuf {
    folder.path().join(format!("{}-unknown-linux-gnu/release/{NAME}", std::env::consts::ARCH))
}

/// Runs `deploy/build-image --no-build` in the folder of a build.
fn pack(folder: &TempDir, arguments: &[&str], epoch: Option<&str>) -> Output {
    let mut command = Command::new(root().join("deploy/build-image"));
    command.args(["--no-build", "--output", "image.tar"]).args(arguments).current_dir(folder.path());
    command.env("CARGO_TARGET_DIR", folder.path()).env_remove("SOURCE_DATE_EPOCH");
    command.envs(epoch.map(|epoch| ("SOURCE_DATE_EPOCH", epoch)));
    command.output().unwrap()
}

/// The archive that `deploy/build-image` makes from the folder.
pub(crate) fn packed(folder: &TempDir, arguments: &[&str], epoch: Option<&str>) -> PathBuf {
    let output = pack(folder, arguments, epoch);
    assert!(output.status.success(), "{output:?}");
    folder.path().join("image.tar")
}

fn refusal(folder: &TempDir, arguments: &[&str], epoch: Option<&str>) -> String {
    let output = pack(folder, arguments, epoch);
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn member(archive: &Path, name: &str) -> Vec<u8> {
    let output = Command::new("tar").arg("-xOf").args([archive, Path::new(name)]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

fn json_member(archive: &Path, name: &str) -> Value {
    serde_json::from_slice(&member(archive, name)).unwrap()
}

/// The files of the image's only layer.
fn files(archive: &Path) -> BTreeSet<String> {
    let layer = archive.with_extension("layer");
    fs::write(&layer, member(archive, "layer.tar")).unwrap();
    let output = Command::new("tar").arg("-tf").arg(&layer).output().unwrap();
    let names = String::from_utf8(output.stdout).unwrap();
    let files = names.lines().filter(|name| !name.ends_with('/'));
    files.map(|name| name.trim_start_matches('.').to_owned()).collect()
}

/// The labels without those of the build's source and time.
fn own_labels(labels: &Value) -> BTreeMap<String, String> {
    let labels: BTreeMap<String, String> = serde_json::from_value(labels.clone()).unwrap();
    let elsewhere = ["revision", "source", "created"].map(|name| format!("{LABEL}{name}"));
    labels.into_iter().filter(|(name, _)| !elsewhere.contains(name)).collect()
}

/// The content of `deploy/Dockerfile`, by BuildKit's parser, which must not warn.
fn dockerfile() -> Value {
    let parser = go_programs::dockerfile().unwrap();
    let output = Command::new(parser).arg(root().join("deploy/Dockerfile")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn commands<'a>(stage: &'a Value, name: &str) -> Vec<&'a Value> {
    let commands = stage["Commands"].as_array().unwrap();
    commands.iter().filter(|command| command["Name"] == name).map(|command| &command["Command"]).collect()
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect()
}

/// The call of cargo in a text, from the flags on.
fn cargo_build(text: &str) -> &str {
    let start = text.find("RUSTFLAGS=").unwrap();
    let length = text[start..].find("--bin").unwrap();
    &text[start..start + length]
}

#[test]
fn the_dockerfile_and_build_image_make_the_same_image() {
    let folder = static_program();
    let archive = packed(&folder, &[], None);
    let config = json_member(&archive, "config.json");
    let dockerfile = dockerfile();
    let [build, image] = &dockerfile["Stages"].as_array().unwrap()[..] else { panic!("{dockerfile}") };

    assert_eq!(image["Base"], "scratch");
    let version = dockerfile["Arguments"].as_array().unwrap().iter().flat_map(|one| one["Args"].as_array().unwrap());
    let version = version.into_iter().find(|argument| argument["Key"] == "VERSION").unwrap();
    assert_eq!(version["Value"], env!("CARGO_PKG_VERSION"), "run `make generate`");
    let labels: serde_json::Map<String, Value> = commands(image, "LABEL")
        .iter()
        .flat_map(|command| command["Labels"].as_array().unwrap())
        .map(|label| {
            let value = label["Value"].as_str().unwrap().trim_matches('"');
            (label["Key"].as_str().unwrap().to_owned(), json!(value.replace("${VERSION}", env!("CARGO_PKG_VERSION"))))
        })
        .collect();
    assert_eq!(own_labels(&Value::Object(labels)), own_labels(&config["config"]["Labels"]));
    assert_eq!(commands(image, "USER")[0]["User"], config["config"]["User"]);
    assert_eq!(commands(image, "ENTRYPOINT")[0]["CmdLine"], config["config"]["Entrypoint"]);
    assert_eq!(commands(image, "CMD")[0]["CmdLine"], config["config"]["Cmd"]);
    let ports: Vec<&str> = config["config"]["ExposedPorts"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(strings(&commands(image, "EXPOSE")[0]["Ports"]), ports);
    let copied: BTreeSet<String> =
        commands(image, "COPY").iter().map(|copy| copy["DestPath"].as_str().unwrap().to_owned()).collect();
    assert_eq!(copied, files(&archive));

    let script = fs::read_to_string(root().join("deploy/build-image")).unwrap();
    let run = strings(&commands(build, "RUN")[0]["CmdLine"]).join(" ");
    assert!(Command::new("sh").args(["-n", "-c", &run]).status().unwrap().success(), "{run}");
    assert_eq!(cargo_build(&run), cargo_build(&script));
    for said in ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", r"INTERP|\(NEEDED\)"] {
        assert!(run.contains(said) && script.contains(said), "one of them lacks {said}");
    }
}

#[test]
fn the_files_that_the_dockerfile_copies_are_a_cargo_workspace() {
    let context = tempfile::tempdir().unwrap();
    let dockerfile = dockerfile();
    for copy in commands(&dockerfile["Stages"][0], "COPY") {
        let to = context.path().join(copy["DestPath"].as_str().unwrap());
        for from in strings(&copy["SourcePaths"]) {
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            let status = Command::new("cp").arg("-R").arg(root().join(from)).arg(&to).status().unwrap();
            assert!(status.success(), "{from}");
        }
    }
    let mut cargo = Command::new(env!("CARGO"));
    let output =
        cargo.args(["metadata", "--locked", "--format-version=1"]).current_dir(context.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_image_contains_the_licences_of_all_its_parts() {
    let folder = static_program();
    let archive = packed(&folder, &[], None);
    let layer = archive.with_extension("layer");
    fs::write(&layer, member(&archive, "layer.tar")).unwrap();
    let own = member(&layer, "./licenses/LICENSE");
    assert_eq!(own, fs::read(root().join("LICENSE")).unwrap());
    let notices = String::from_utf8(member(&layer, "./licenses/THIRD-PARTY-NOTICES.txt")).unwrap();
    let mut tree = Command::new(env!("CARGO"));
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    tree.args([
        "tree",
        "--locked",
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "none",
        "--no-dedupe",
        "--target",
        &triple,
    ]);
    let tree = tree.args(["--package", NAME]).current_dir(root()).output().unwrap();
    let tree = String::from_utf8(tree.stdout).unwrap();
    let crates: BTreeSet<String> = tree
        .lines()
        .skip(1)
        .map(|line| {
            let mut words = line.split_whitespace();
            format!("{}-{}: ", words.next().unwrap(), words.next().unwrap().trim_start_matches('v'))
        })
        .collect();
    assert!(crates.len() > 100, "{crates:?}");
    let lines: Vec<&str> = notices.lines().collect();
    for one in crates.iter().filter(|one| !one.starts_with(&format!("{NAME}-"))) {
        assert!(
            lines.iter().any(|line| line.starts_with(one.as_str()) && line.len() > one.len()),
            "{one} is not mentioned"
        );
    }
    for text in ["LGPL-2.1-or-later", "rust-std", "Apache License", "Permission is hereby granted"] {
        assert!(notices.contains(text), "{text}");
    }
    let home = std::env::var("HOME").unwrap();
    assert!(!notices.contains(&format!("{home}/")), "nothing of this machine");
}

#[test]
fn an_image_has_labels_for_its_version_and_its_source() {
    let folder = static_program();
    let archive = packed(&folder, &[], None);
    assert_eq!(
        json_member(&archive, "manifest.json"),
        json!([{ "Config": "config.json", "RepoTags": [format!("{NAME}:{}", env!("CARGO_PKG_VERSION"))], "Layers": ["layer.tar"] }])
    );
    let config = json_member(&archive, "config.json");
    let labels = &config["config"]["Labels"];
    let git = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(root()).stderr(Stdio::null()).output();
    let commit =
        git.ok().filter(|output| output.status.success()).map(|output| String::from_utf8(output.stdout).unwrap());
    let revision = labels[format!("{LABEL}revision")].as_str().map(|revision| revision.trim_end_matches("-dirty"));
    assert_eq!(revision, commit.as_deref().map(str::trim_end));
    assert_eq!(config.get("created"), None);

    let dated = packed(&folder, &["--tag", "0.1.0-next"], Some("1790000000"));
    assert_eq!(json_member(&dated, "manifest.json")[0]["RepoTags"], json!([format!("{NAME}:0.1.0-next")]));
    let config = json_member(&dated, "config.json");
    assert_eq!(config["created"], "2026-09-21T14:13:20Z");
    assert_eq!(config["config"]["Labels"][format!("{LABEL}created")], "2026-09-21T14:13:20Z");
}

#[test]
fn the_same_program_makes_the_same_archive() {
    let folder = static_program();
    let first = fs::read(packed(&folder, &[], None)).unwrap();
    // The second build has another time, and a stricter umask.
    let touched = Command::new("touch").arg(program_of(&folder)).status().unwrap();
    assert!(touched.success());
    let mut careful = Command::new("sh");
    careful
        .args(["-c", "umask 077 && exec \"$0\" --no-build --output again.tar"])
        .arg(root().join("deploy/build-image"));
    careful.current_dir(folder.path()).env("CARGO_TARGET_DIR", folder.path()).env_remove("SOURCE_DATE_EPOCH");
    assert!(careful.status().unwrap().success());
    assert!(first == fs::read(folder.path().join("again.tar")).unwrap());
}

#[test]
fn a_program_that_cannot_run_in_the_image_or_is_too_large_is_refused() {
    let dynamic = built(&["-nostartfiles"]);
    assert!(refusal(&dynamic, &[], None).contains("is not static"));
    assert!(!dynamic.path().join("image.tar").exists());

    let large = static_program();
    let program = fs::OpenOptions::new().append(true).open(program_of(&large)).unwrap();
    program.set_len(45_000_000).unwrap();
    assert!(refusal(&large, &[], None).contains("too large"));
    assert!(!large.path().join("image.tar").exists());

    let empty = tempfile::tempdir().unwrap();
    assert!(refusal(&empty, &[], None).contains("run the command without --no-build"));
    let folder = static_program();
    assert!(refusal(&folder, &["--tag", "a b"], None).contains("a b is not a valid tag"));
    assert!(refusal(&folder, &["--tag"], None).contains("--tag needs a value"));
    assert!(refusal(&folder, &["--tags", "a"], None).contains("unknown argument --tags"));
    assert!(refusal(&folder, &[], Some("today")).contains("seconds since 1970, not today"));
}
