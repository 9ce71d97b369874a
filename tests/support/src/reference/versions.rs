//! The version of the package in files that show an image or a release.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

const FILES: [&str; 3] =
    ["docs/install/image.md", "docs/operations/releases.md", "deploy/samples/verify-job/verify-job.yaml"];
/// A version follows each of these texts.
const BEFORE: [&str; 2] = ["client-certificate-operator:", "\nversion="];

/// Every file in its current form.
pub fn files(root: &Path) -> Result<Vec<(PathBuf, String)>> {
    let version = version(root)?;
    FILES
        .iter()
        .map(|path| {
            let text = fs::read_to_string(root.join(path)).with_context(|| format!("{path} cannot be read"))?;
            let current = current(&text, &version);
            ensure!(current.contains(&version), "{path} shows no version");
            Ok((PathBuf::from(path), current))
        })
        .collect()
}

/// The version in Cargo.toml.
pub fn version(root: &Path) -> Result<String> {
    let manifest = fs::read_to_string(root.join("Cargo.toml")).context("Cargo.toml cannot be read")?;
    let version = manifest.lines().find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'));
    version.map(str::to_owned).context("Cargo.toml has no version")
}

/// The text with this version instead of another one.
pub fn current(text: &str, version: &str) -> String {
    BEFORE.iter().fold(text.to_owned(), |text, before| {
        let mut parts = text.split(before);
        let mut current = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            current += before;
            match part.starts_with(|first: char| first.is_ascii_digit()) {
                true => {
                    let is_other = |c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '-');
                    current += version;
                    current += &part[part.find(is_other).unwrap_or(part.len())..];
                }
                false => current += part,
            }
        }
        current
    })
}

#[cfg(test)]
mod tests {
    use super::current;

    #[test]
    fn only_versions_change() {
        let text = "version=0.1.0\nversion=0.1.0\nan image client-certificate-operator:0.1.0-rc.1 in client-certificate-operator: 1.0\n";
        let expected = "version=0.1.0\nversion=2.0.0\nan image client-certificate-operator:2.0.0 in client-certificate-operator: 1.0\n";
        assert_eq!(current(text, "2.0.0"), expected);
    }
}
