//! The rule of imports: the modules that decide, and all modules that they use, have no I/O and no clock.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of the pure core, by their names in `use crate::…`. A folder means all files in it.
const PURE: [&str; 27] = [
    "api",
    "access",
    "aws/answer",
    "aws/gateway",
    "aws/scope",
    "backoff",
    "certificate",
    "conditions",
    "controllers/description/attempts",
    "controllers/description/claims",
    "controllers/mirror/backoff",
    "controllers/mirror/events",
    "controllers/mirror/installation",
    "controllers/mirror/plan",
    "controllers/mirror/snapshot",
    "controllers/mirror/status",
    "controllers/mirror/trust",
    "error",
    "kubernetes/resource_version",
    "leader",
    "rules",
    "rules/file",
    "settings",
    "target",
    "text",
    "verify/verdict",
    "certificate/pins",
];

/// The names that a pure file must not contain. `kube` is allowed only in `api`, for its derive macros, and its label
/// selectors in `rules`.
const IMPURE: [&str; 13] = [
    "tokio",
    "aws_",
    "kube::Client",
    "kube::Api",
    "kube::api",
    "kube::client",
    "kube::runtime",
    "Instant::now",
    ".elapsed(",
    "SystemTime",
    "Timestamp::now",
    "fastrand",
    "std::env",
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files_of(module: &str) -> Vec<PathBuf> {
    let mut files = vec![source().join(format!("{module}.rs"))];
    let folder = source().join(module);
    // These files are pure, but the files in their folders are not.
    if !["access", "leader"].contains(&module) && folder.is_dir() {
        files.extend(walk(&folder));
    }
    files
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// The code of a file without its comments and its tests.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let text = text.split("#[cfg(test)]").next().unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The first parts of the paths after every `crate::`.
fn crate_imports(code: &str) -> BTreeSet<String> {
    let names = code.split("crate::").skip(1);
    names.map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()).collect()
}

#[test]
fn the_pure_core_names_no_io_and_no_clock() {
    for module in PURE {
        for file in files_of(module).iter().filter(|file| !file.ends_with("tests.rs")) {
            let code = code(file);
            for name in IMPURE {
                assert!(!code.contains(name), "{} names {name}", file.display());
            }
            if module != "api" {
                let code = code.replace("kube::core::Selector", "").replace("kube::core::{Selector, SelectorExt}", "");
                assert!(!code.contains("kube::"), "{} names kube", file.display());
            }
        }
    }
}

#[test]
fn the_pure_core_imports_nothing_but_itself() {
    let allowed: BTreeSet<&str> =
        PURE.iter().map(|module| module.split('/').next().unwrap()).chain(["fixtures"]).collect();
    for module in PURE {
        for file in files_of(module).iter().filter(|file| !file.ends_with("tests.rs")) {
            for import in crate_imports(&code(file)) {
                assert!(allowed.contains(import.as_str()), "{} imports crate::{import}", file.display());
            }
        }
    }
}

/// The layers, from the bottom: a module imports from itself and from the modules before it in this list. The interface
/// to AWS and its answers are plain values that many modules use, so they are below the modules that make the calls.
const LAYERS: [&str; 27] = [
    "text",
    "backoff",
    "health",
    "tasks",
    "certificate",
    "api",
    "settings",
    "clock",
    "conditions",
    "leader",
    "aws/gateway",
    "rules",
    "error",
    "access",
    "target",
    "metrics",
    "aws",
    "kubernetes",
    "controllers",
    "controller",
    "config",
    "server",
    "listener",
    "telemetry",
    "probe",
    "verify",
    "main",
];

#[test]
fn a_module_imports_only_from_the_layers_below_it() {
    let layer_of = |path: &str| {
        let is_in = |layer: &&&str| path == **layer || path.starts_with(&format!("{layer}/"));
        // The longest matching name counts, because the interface to AWS is a separate layer.
        let found = LAYERS.iter().filter(is_in).max_by_key(|layer| layer.len());
        found.and_then(|found| LAYERS.iter().position(|layer| layer == found))
    };
    for file in walk(&source()) {
        let path = file.strip_prefix(source()).unwrap().with_extension("").to_str().unwrap().to_owned();
        if path == "lib" || path.starts_with("fixtures") || path.ends_with("tests") {
            continue;
        }
        let own = layer_of(&path).unwrap_or_else(|| panic!("{path} is in no layer"));
        for import in code(&file).split("crate::").skip(1) {
            let import: String = import.chars().take_while(|c| c.is_alphanumeric() || "_:".contains(*c)).collect();
            let imported = layer_of(&import.replace("::", "/")).unwrap_or_else(|| panic!("{path} imports {import}"));
            assert!(imported <= own, "{path} imports crate::{import}, which is a layer above it");
        }
    }
}

#[test]
fn one_place_names_the_aws_sdk() {
    for file in walk(&source()) {
        let behind_the_seam = file.starts_with(source().join("aws/client")) || file.ends_with("aws/client.rs");
        assert!(behind_the_seam || !code(&file).contains("aws_s"), "{} names the AWS SDK", file.display());
    }
}
