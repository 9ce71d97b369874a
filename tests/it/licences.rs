//! Every user of this project may use its dependencies.

use std::process::Command;

use serde_json::Value;

/// The licences that require only attribution. Read another licence before you add it.
const ALLOWED: [&str; 9] = [
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Zlib",
];
/// The platforms of the operator. Dependencies of other platforms are not built.
const PLATFORMS: [&str; 4] = [
    "aarch64-unknown-linux-gnu",
    "aarch64-unknown-linux-musl",
    "x86_64-unknown-linux-gnu",
    "x86_64-unknown-linux-musl",
];

/// Whether the expression contains an allowed choice. `/` was the former notation of OR, before SPDX.
fn allows(expression: &str) -> Result<bool, String> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut words = words.as_slice();
    let allowed = alternatives(&mut words)?;
    if words.is_empty() { Ok(allowed) } else { Err(format!("{} is not expected in {expression}", words[0])) }
}

fn alternatives(words: &mut &[&str]) -> Result<bool, String> {
    let mut allowed = requirements(words)?;
    while take(words, "OR") {
        // Both sides are parsed, even if the first one is allowed.
        allowed |= requirements(words)?;
    }
    Ok(allowed)
}

fn requirements(words: &mut &[&str]) -> Result<bool, String> {
    let mut allowed = licence(words)?;
    while take(words, "AND") {
        allowed &= licence(words)?;
    }
    Ok(allowed)
}

fn licence(words: &mut &[&str]) -> Result<bool, String> {
    if take(words, "(") {
        let allowed = alternatives(words)?;
        return if take(words, ")") { Ok(allowed) } else { Err("a bracket is not closed".to_owned()) };
    }
    let (first, rest) = words.split_first().ok_or("the expression ends too early")?;
    *words = rest;
    let mut name = (*first).to_owned();
    if take(words, "WITH") {
        let (exception, rest) = words.split_first().ok_or("an exception is missing")?;
        *words = rest;
        name = format!("{name} WITH {exception}");
    }
    Ok(ALLOWED.contains(&name.as_str()))
}

fn take(words: &mut &[&str], word: &str) -> bool {
    match words.split_first() {
        Some((first, rest)) if *first == word => {
            *words = rest;
            true
        }
        _ => false,
    }
}

/// The fault of a package's licence, if it has one.
fn complaint(package: &Value) -> Option<String> {
    let name = format!("{} {}", package["name"].as_str()?, package["version"].as_str()?);
    match package["license"].as_str().map(|expression| (expression, allows(expression))) {
        Some((_, Ok(true))) => None,
        Some((expression, Ok(false))) => Some(format!("{name}: {expression}")),
        Some((expression, Err(error))) => Some(format!("{name}: {expression} cannot be read: {error}")),
        None => Some(format!("{name}: names no licence expression (file: {})", package["license_file"])),
    }
}

#[test]
fn every_dependency_has_an_allowed_licence() {
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--format-version=1", "--locked", "--manifest-path"]);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
    command.args(PLATFORMS.iter().flat_map(|platform| ["--filter-platform", platform]));
    let output = command.output().unwrap();
    assert!(output.status.success(), "cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.iter().any(|package| package["name"] == "tokio"), "the list of packages is not the whole one");
    let complaints: Vec<String> = packages.iter().filter_map(complaint).collect();
    assert!(
        complaints.is_empty(),
        "these packages have licences that are not on the list in {}; `cargo tree --invert NAME` tells what brings them in:\n  {}",
        file!(),
        complaints.join("\n  ")
    );
}

#[test]
fn a_licence_expression_has_the_meaning_of_spdx() {
    for (expression, allowed) in [
        ("MIT", Ok(true)),
        ("GPL-3.0-only", Ok(false)),
        ("GPL-3.0-only OR MIT", Ok(true)),
        ("MIT/GPL-3.0-only", Ok(true)),
        ("MIT AND GPL-3.0-only", Ok(false)),
        ("ISC AND (GPL-3.0-only OR MIT)", Ok(true)),
        ("(MIT OR Apache-2.0) AND (GPL-3.0-only AND MIT)", Ok(false)),
        // AND binds closer than OR.
        ("MIT OR ISC AND GPL-3.0-only", Ok(true)),
        ("GPL-3.0-only AND ISC OR MIT", Ok(true)),
        ("Apache-2.0 WITH LLVM-exception", Ok(true)),
        ("MIT WITH Some-exception", Ok(false)),
        ("", Err(())),
        ("MIT ISC", Err(())),
        ("(MIT", Err(())),
        ("MIT OR", Err(())),
    ] {
        assert_eq!(allows(expression).map_err(drop), allowed, "{expression}");
    }
}

#[test]
fn a_package_without_a_licence_is_reported() {
    for (package, expected) in [
        (serde_json::json!({"name": "a", "version": "1.0.0", "license": "MIT"}), None),
        (serde_json::json!({"name": "b", "version": "1.0.0", "license": "AGPL-3.0-only"}), Some("b 1.0.0: AGPL")),
        (serde_json::json!({"name": "c", "version": "1.0.0", "license": null}), Some("c 1.0.0: names no licence")),
    ] {
        let complaint = complaint(&package);
        match expected {
            None => assert_eq!(complaint, None),
            Some(start) => assert!(complaint.as_deref().is_some_and(|text| text.starts_with(start)), "{complaint:?}"),
        }
    }
}
