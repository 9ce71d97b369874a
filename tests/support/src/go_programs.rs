//! Programs that are built from Go modules, pinned in `tests/kubernetes` and `tests/tools`, the first time they are asked for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, bail, ensure};

/// Helm, of the version that writes `deploy/install.yaml`.
pub fn helm() -> Result<PathBuf> {
    tool("helm", "helm")
}

/// Helm 3, which the chart stays good for.
pub fn helm3() -> Result<PathBuf> {
    tool("helm3", "helm")
}

/// promtool, which checks rules and metrics.
pub fn promtool() -> Result<PathBuf> {
    tool("promtool", "promtool")
}

/// What kstatus, by which Flux and Helm 4 wait, makes of objects that it is given as lines of JSON.
pub fn kstatus() -> Result<PathBuf> {
    tool("kstatus", "kstatus")
}

/// What BuildKit's parser makes of a Dockerfile, as JSON.
pub fn dockerfile() -> Result<PathBuf> {
    tool("dockerfile", "dockerfile")
}

/// actionlint, which reads the workflows of GitHub.
pub fn actionlint() -> Result<PathBuf> {
    tool("actionlint", "actionlint")
}

/// crane, which carries images to registries, and is one.
pub fn crane() -> Result<PathBuf> {
    tool("crane", "crane")
}

/// The CustomResourceDefinitions of the servers that `deploy/samples` is for, as files of YAML.
pub fn definitions() -> Result<PathBuf> {
    folder("crds/build", "")
}

fn tool(tool: &'static str, program: &str) -> Result<PathBuf> {
    Ok(folder("tools/build", tool)?.join(program))
}

/// The folder that a build script of `tests` prints for a tool (empty: it makes one thing only), building it first when it
/// is missing.
pub(crate) fn folder(script: &'static str, tool: &'static str) -> Result<PathBuf> {
    static FOLDERS: Mutex<BTreeMap<(&str, &str), PathBuf>> = Mutex::new(BTreeMap::new());
    let Ok(mut folders) = FOLDERS.lock() else { bail!("an earlier build of Go programs panicked") };
    if let Some(folder) = folders.get(&(script, tool)) {
        return Ok(folder.clone());
    }
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(script);
    // The build's progress takes minutes and belongs on the terminal: a test's captured output would hide it.
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
