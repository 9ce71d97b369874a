//! Programs from Go modules, pinned in `tests/kubernetes` and `tests/tools`. The first use builds a program.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, bail, ensure};

/// Helm, in the version that writes `deploy/install.yaml`.
pub fn helm() -> Result<PathBuf> {
    tool("helm", "helm")
}

/// Helm 3, which the chart supports.
pub fn helm3() -> Result<PathBuf> {
    tool("helm3", "helm")
}

/// promtool, which checks rules and metrics.
pub fn promtool() -> Result<PathBuf> {
    tool("promtool", "promtool")
}

/// A program that prints the status of objects by kstatus, which Flux and Helm 4 use. Its input is one JSON object in
/// each line.
pub fn kstatus() -> Result<PathBuf> {
    tool("kstatus", "kstatus")
}

/// A program that prints a Dockerfile as JSON, by BuildKit's parser.
pub fn dockerfile() -> Result<PathBuf> {
    tool("dockerfile", "dockerfile")
}

/// actionlint, which checks GitHub workflows.
pub fn actionlint() -> Result<PathBuf> {
    tool("actionlint", "actionlint")
}

/// crane, which copies images to registries, and can serve a registry.
pub fn crane() -> Result<PathBuf> {
    tool("crane", "crane")
}

/// The CustomResourceDefinitions of the servers in `deploy/samples`, as YAML files.
pub fn definitions() -> Result<PathBuf> {
    folder("crds/build", "")
}

fn tool(tool: &'static str, program: &str) -> Result<PathBuf> {
    Ok(folder("tools/build", tool)?.join(program))
}

/// The folder that a build script of `tests` prints for a tool; the tool is empty if the script builds only one thing.
/// The script builds a missing tool first.
pub(crate) fn folder(script: &'static str, tool: &'static str) -> Result<PathBuf> {
    static FOLDERS: Mutex<BTreeMap<(&str, &str), PathBuf>> = Mutex::new(BTreeMap::new());
    let Ok(mut folders) = FOLDERS.lock() else { bail!("an earlier build of Go programs panicked") };
    if let Some(folder) = folders.get(&(script, tool)) {
        return Ok(folder.clone());
    }
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(script);
    // The build takes minutes, so its progress goes to the terminal. The captured output of a test would hide it.
    let output = Command::new(&build)
        .args(Some(tool).filter(|tool| !tool.is_empty()))
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {}", build.display()))?;
    ensure!(output.status.success(), "{} failed: {}", build.display(), output.status);
    let path = PathBuf::from(String::from_utf8(output.stdout)?.trim_end());
    folders.insert((script, tool), path.clone());
    Ok(path)
}
