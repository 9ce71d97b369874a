//! The API group in other files. `GROUP` is the only constant. The last generated CRD contains the former group of the
//! files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use client_certificate_operator::api::GROUP;
use serde_json::Value;

/// The folders whose files can contain the group.
const FOLDERS: [&str; 5] = ["src", "deploy", "charts", "tests", "docs"];

/// Writes `GROUP` into every file that has the former group. Returns the changed files.
pub fn update(root: &Path) -> Result<Vec<PathBuf>> {
    let crd = fs::read_to_string(root.join("deploy/crd.yaml")).context("deploy/crd.yaml cannot be read")?;
    let crd: Value = serde_saphyr::from_str(&crd)?;
    let former = crd.pointer("/spec/group").and_then(Value::as_str).context("deploy/crd.yaml has no group")?;
    rename(root, former, GROUP)
}

/// Replaces one group by another.
pub fn rename(root: &Path, former: &str, group: &str) -> Result<Vec<PathBuf>> {
    let mut changed = Vec::new();
    if former == group {
        return Ok(changed);
    }
    for file in files(root)? {
        // Pictures and archives are not text, and do not contain the group.
        let Ok(text) = fs::read_to_string(&file) else { continue };
        // One group can be a part of the other. Files that already have the new group stay unchanged.
        let new = text.replace(group, "\0").replace(former, "\0").replace('\0', group);
        if new != text {
            fs::write(&file, new).with_context(|| file.display().to_string())?;
            changed.push(file);
        }
    }
    Ok(changed)
}

/// Every file of the project that can contain the group: those of the folders, and the pages in the root folder.
pub fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "md") {
            files.push(path);
        }
    }
    for folder in FOLDERS {
        let folder = root.join(folder);
        if folder.is_dir() {
            walk(&folder, &mut files)?;
        }
    }
    Ok(files)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { walk(&path, files)? } else { files.push(path) }
    }
    Ok(())
}
