//! The Helm chart with the real Helm: the rendered objects, the refused values, and the effect of releases on a
//! cluster.

mod alerts;
mod releases;
mod rendered;
mod values;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use operator_testing::go_programs;
use serde_json::Value;

/// The folder of the chart.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/client-certificate-operator")
}

/// The text of a file of the chart.
fn file(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap()
}

/// The files of values for the tests: the folder `ci` of the chart.
fn cases() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder().join("ci")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 6, "{files:?}");
    files
}

fn case(name: &str) -> PathBuf {
    folder().join(format!("ci/{name}-values.yaml"))
}

/// Each version of Helm that the chart supports.
fn helms() -> [PathBuf; 2] {
    [go_programs::helm().unwrap(), go_programs::helm3().unwrap()]
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// `helm template` of a release `ccr` in the namespace `operators`, with further arguments.
fn template(helm: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(helm);
    // Helm 3 has its default version of Kubernetes from its release build, which this build is not.
    command.args(["template", "ccr"]).arg(folder()).args(["--namespace=operators", "--kube-version=1.37.0"]);
    command.args(arguments).output().unwrap()
}

/// The rendered chart, as text.
pub fn rendered_text(arguments: &[&str]) -> String {
    let output = template(&go_programs::helm().unwrap(), arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// The rendered chart, as objects.
fn rendered(arguments: &[&str]) -> Vec<Value> {
    objects(&rendered_text(arguments))
}

/// The rendered chart with one of [`cases`], as objects.
fn rendered_case(name: &str) -> Vec<Value> {
    rendered(&["--values", case(name).to_str().unwrap()])
}

fn objects(yaml: &str) -> Vec<Value> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap();
    objects.into_iter().filter(|object| !object.is_null()).collect()
}

/// The message with which the chart refuses values.
fn refusal(arguments: &[&str]) -> String {
    let output = template(&go_programs::helm().unwrap(), arguments);
    assert!(!output.status.success(), "{arguments:?} was not refused");
    text(&output.stderr)
}

fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

fn kind(object: &Value) -> &str {
    object["kind"].as_str().unwrap()
}

fn of_kind<'a>(objects: &'a [Value], wanted: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| kind(object) == wanted).collect()
}

fn the<'a>(objects: &'a [Value], wanted: &str) -> &'a Value {
    let found = of_kind(objects, wanted);
    assert_eq!(found.len(), 1, "{wanted}");
    found[0]
}

/// The kind, namespace and name of each object.
fn identities(objects: &[Value]) -> BTreeSet<String> {
    let identity = |object: &Value| {
        let part = |pointer| at(object, pointer).as_str().unwrap_or("-").to_owned();
        format!("{} {} {}", kind(object), part("/metadata/namespace"), part("/metadata/name"))
    };
    objects.iter().map(identity).collect()
}

/// Every resource in the rules of all roles.
fn resources_of_rules(objects: &[Value]) -> BTreeSet<String> {
    let roles = objects.iter().filter(|object| kind(object).ends_with("Role"));
    let rules = roles.flat_map(|role| role["rules"].as_array().unwrap());
    let resources = rules.flat_map(|rule| rule["resources"].as_array().unwrap());
    resources.map(|resource| resource.as_str().unwrap().to_owned()).collect()
}

/// Runs a command with this input.
pub fn with_input(mut command: Command, input: &str) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}
