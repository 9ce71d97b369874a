//! The rule of imports: the modules that decide, and all modules that they use, have no I/O and no clock.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of the pure core, by their names in `use crate::…`. A folder means all files in it.
const PURE: [&str; 29] = [
    "api",
    "access",
    "aws/answer",
    "aws/gateway",
    "aws/scope",
    "backoff",
    "certificate",
    "conditions",
    "controllers/event",
    "controllers/description/attempts",
    "controllers/description/claims",
    "controllers/description/plan",
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

/// The module of a file, with slashes.
fn module_of(file: &Path) -> String {
    file.strip_prefix(source()).unwrap().with_extension("").to_str().unwrap().to_owned()
}

/// The paths that the code of a file names after `crate::`, `super::` and `self::`, from the root of the crate, with
/// slashes. A list in braces gives a path for each of its entries.
fn imports(module: &str, code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let parent = module.rsplit_once('/').map_or("", |(parent, _)| parent);
    for (keyword, base) in [("crate::", ""), ("super::", parent), ("self::", module)] {
        for (at, _) in code.match_indices(keyword) {
            let is_whole_word = !code[..at].ends_with(|c: char| c.is_alphanumeric() || "_:".contains(c));
            if is_whole_word {
                expand(base, &code[at + keyword.len()..], &mut found);
            }
        }
    }
    found
}

/// Adds the paths of a tree of imports to `found`. Returns the text after the tree.
fn expand<'a>(base: &str, tree: &'a str, found: &mut BTreeSet<String>) -> &'a str {
    let mut path = base.to_owned();
    let mut rest = tree.trim_start();
    loop {
        if let Some(list) = rest.strip_prefix('{') {
            rest = list.trim_start();
            while !rest.starts_with('}') {
                rest = expand(&path, rest, found).trim_start();
                // The entry may have another name here.
                let end = rest.find([',', '}']).unwrap();
                rest = rest[end..].strip_prefix(',').unwrap_or(&rest[end..]).trim_start();
            }
            return &rest[1..];
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        path = format!("{path}/{}", &rest[..end]).trim_matches('/').to_owned();
        match rest[end..].strip_prefix("::") {
            Some(more) => rest = more,
            None => {
                found.insert(path);
                return &rest[end..];
            }
        }
    }
}

fn is_within(path: &str, module: &str) -> bool {
    path == module || path.strip_prefix(module).is_some_and(|rest| rest.starts_with('/'))
}

#[test]
fn imports_are_found_with_their_whole_paths() {
    let code = "use crate::api::{self, spec::{Kind as Other, Name}};\nuse super::plan::State;\nuse self::inner::*;\n\
                fn f(a: crate::text::Text) -> super::Wish {}";
    let expected =
        ["a/b/Wish", "a/b/c/inner", "a/b/plan/State", "api/self", "api/spec/Kind", "api/spec/Name", "text/Text"];
    let found = imports("a/b/c", code);
    assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected);
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
    let pure: BTreeSet<String> = PURE.iter().flat_map(|module| files_of(module)).map(|file| module_of(&file)).collect();
    let all: Vec<String> = walk(&source()).iter().map(|file| module_of(file)).collect();
    // The file of a path is the module with the longest matching name: a pure file can have a folder that is not pure.
    let file_of =
        |import: &str| all.iter().filter(|module| is_within(import, module)).max_by_key(|module| module.len());
    for module in pure.iter().filter(|module| !module.contains("/tests")) {
        for import in imports(module, &code(&source().join(format!("{module}.rs")))) {
            let is_pure = import == "fixtures" || file_of(&import).is_some_and(|file| pure.contains(file));
            assert!(is_pure, "{module} imports crate::{import}");
        }
    }
}

/// The layers, from the bottom: a module imports from itself and from the modules before it in this list. The interface
/// to AWS and its answers are plain values that many modules use, so they are below the modules that make the calls.
const LAYERS: [&str; 31] = [
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
    "controllers/event",
    "controllers/recorder",
    "controllers/publish",
    "controllers/description",
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
        let is_in = |layer: &&&str| is_within(path, layer);
        // The longest matching name counts, because the interface to AWS is a separate layer.
        let found = LAYERS.iter().filter(is_in).max_by_key(|layer| layer.len());
        found.and_then(|found| LAYERS.iter().position(|layer| layer == found))
    };
    for file in walk(&source()) {
        let path = module_of(&file);
        if path == "lib" || path.starts_with("fixtures") || path.ends_with("tests") {
            continue;
        }
        let own = layer_of(&path).unwrap_or_else(|| panic!("{path} is in no layer"));
        for import in imports(&path, &code(&file)) {
            let imported = layer_of(&import).unwrap_or_else(|| panic!("{path} imports {import}"));
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
