//! The API group is one constant. All files that contain the group have the same one, and a change reaches every file.

use std::fs;
use std::path::Path;

use client_certificate_operator::api::GROUP;
use operator_testing::reference::group::{files, rename};

/// The texts that follow the group in our names.
const SUFFIXES: [&str; 8] = [
    "/truststore-password",
    "/managed",
    "/owner",
    "/object",
    "/applied",
    "/digest",
    "/refresh",
    "_ClientCertificateRef",
];
/// The names of other projects that end like ours, without the end.
const FOREIGN: [&str; 1] = ["reconcile.external-secrets.io"];
/// The texts before the group in our names.
const PREFIXES: [&str; 2] = ["clientcertificaterefs.", "clientcertificaterefs/status."];

fn is_of_a_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || ".-".contains(character)
}

/// The groups that a text has in our names.
fn spelled(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for suffix in SUFFIXES {
        for (at, _) in text.match_indices(suffix) {
            let goes_on = text[at + suffix.len()..]
                .starts_with(|next: char| next == '-' || next == '/' || next.is_ascii_alphanumeric());
            let name: String = text[..at].chars().rev().take_while(|c| is_of_a_name(*c)).collect();
            let name: String = name.chars().rev().collect();
            if !goes_on && name.contains('.') && !name.starts_with('.') {
                found.push(name);
            }
        }
    }
    for prefix in PREFIXES {
        for (at, _) in text.match_indices(prefix) {
            let name: String = text[at + prefix.len()..].chars().take_while(|c| is_of_a_name(*c)).collect();
            if name.trim_end_matches('.').contains('.') {
                found.push(name.trim_end_matches('.').to_owned());
            }
        }
    }
    let lines: Vec<&str> = text.lines().map(|line| line.trim().trim_start_matches("- ")).collect();
    for pair in lines.windows(2) {
        if let (Some(version), "kind: ClientCertificateRef") = (pair[0].strip_prefix("apiVersion: "), pair[1]) {
            found.push(version.split('/').next().unwrap().to_owned());
        }
        // In a CustomResourceDefinition.
        if let (Some(group), "names:") = (pair[0].strip_prefix("group: "), pair[1]) {
            found.push(group.to_owned());
        }
    }
    found.extend(of_rules(text));
    found
}

/// The groups of the RBAC rules about our resources.
fn of_rules(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, key) in text.match_indices("apiGroups") {
        let Some((groups, rest)) = list(&text[at + key.len()..]) else { continue };
        let rest = rest.trim_start_matches([',', '"', ' ', '\n']);
        let Some((resources, _)) = rest.strip_prefix("resources").and_then(list) else { continue };
        if resources.iter().any(|resource| resource.starts_with("clientcertificaterefs")) {
            found.extend(groups.into_iter().map(str::to_owned));
        }
    }
    found
}

/// The items of the list after a key of YAML or JSON, and the text after the list. The list is on one line.
fn list(text: &str) -> Option<(Vec<&str>, &str)> {
    let (items, rest) = text.trim_start_matches(['"', ':', ' ']).strip_prefix('[')?.split_once(']')?;
    Some((items.split(',').map(|item| item.trim().trim_matches('"')).collect(), rest))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn no_file_contains_another_group() {
    let mut counted = 0;
    for file in files(root()).unwrap().iter().filter(|file| !file.ends_with("tests/it/group.rs")) {
        let Ok(text) = fs::read_to_string(file) else { continue };
        for name in spelled(&text) {
            counted += 1;
            let is_ours = name == GROUP || name.strip_prefix("resource.customizations.health.") == Some(GROUP);
            let is_known = name == format!("sub.{GROUP}") || FOREIGN.contains(&name.as_str());
            assert!(is_ours || is_known, "{} spells {name}", file.display());
        }
    }
    assert!(counted > 100, "{counted}");
}

#[test]
fn every_form_of_the_group_is_found() {
    let suffixes = SUFFIXES.map(|suffix| format!("a \"other.example{suffix}\": b"));
    let prefixes = PREFIXES.map(|prefix| format!("a {prefix}other.example b"));
    let texts = [
        "apiVersion: other.example/v1alpha1\nkind: ClientCertificateRef\n",
        "- apiVersion: other.example/v1alpha1\n  kind: ClientCertificateRef\n",
        "spec:\n  group: other.example\n  names:\n    plural: clientcertificaterefs\n",
        "- apiGroups: [other.example]\n  resources: [clientcertificaterefs, clientcertificaterefs/status]\n  verbs: [get]\n",
        "- {{apiGroups: [other.example], resources: [clientcertificaterefs/status], verbs: [update]}}",
        r#"{ "apiGroups": ["other.example"], "resources": ["clientcertificaterefs"], "verbs": ["*"] }"#,
    ];
    for text in suffixes.iter().chain(&prefixes).map(String::as_str).chain(texts) {
        assert_eq!(spelled(text), ["other.example"], "{text}");
    }
    let several = "- apiGroups: [other.example, third.example]\n  resources: [secrets, clientcertificaterefs]\n";
    assert_eq!(spelled(several), ["other.example", "third.example"]);
}

#[test]
fn a_similar_text_is_not_the_group() {
    for text in [
        "app.kubernetes.io/managed-by: Helm",
        "other.example/owners and other.example/object/x",
        "tests/support/object and ./owner",
        "apiVersion: other.example/v1\nkind: ConfigMap\n",
        "- apiGroups: [events.k8s.io]\n  resources: [events]\n  verbs: [create, patch]\n",
        "- apiGroups: [\"\"]\n  resources: [{{ include \"ccr.targetResources\" . }}]\n  verbs: [get]\n",
        "apiGroups:\n",
    ] {
        assert_eq!(spelled(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn the_code_of_the_operator_uses_the_constant() {
    let files = files(root()).unwrap();
    let code = files.iter().filter(|file| file.starts_with(root().join("src")));
    for file in code {
        let text = fs::read_to_string(file).unwrap();
        // A doc comment of a field is the description in `kubectl explain`, and cannot contain a constant.
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let spelled = code.filter(|line| line.contains(GROUP)).count();
        // The constant, and the attribute that accepts only a literal.
        let allowed = if file.ends_with("src/api.rs") { 2 } else { 0 };
        assert_eq!(spelled, allowed, "{}", file.display());
    }
}

#[test]
fn a_change_of_the_group_reaches_every_file_that_contains_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let texts = [
        ("README.md", "apiVersion: old.example/v1alpha1"),
        ("src/api.rs", "new.old.example and old.example/managed"),
        ("charts/c/templates/crd.yaml", "apiGroups: [old.example]"),
        ("docs/guides/a.md", "nothing of it"),
    ];
    for (name, text) in texts {
        fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
        fs::write(root.join(name), text).unwrap();
    }
    fs::write(root.join("docs/picture.png"), [0xff, 0xfe]).unwrap();
    let mut changed = rename(root, "old.example", "new.old.example").unwrap();
    changed.sort();
    let expected = ["README.md", "charts/c/templates/crd.yaml", "src/api.rs"].map(|name| root.join(name));
    assert_eq!(changed, expected);
    let read = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    assert_eq!(read("README.md"), "apiVersion: new.old.example/v1alpha1");
    assert_eq!(read("src/api.rs"), "new.old.example and new.old.example/managed");
    assert_eq!(rename(root, "old.example", "new.old.example").unwrap(), Vec::<std::path::PathBuf>::new());
}
