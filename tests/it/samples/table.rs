//! The table of backends of docs/guides/backends.md: every sample is in it, with the target that it has, and it names tests that there are.

use client_certificate_operator::api::{ClientCertificateRef, VerifierClass};
use client_certificate_operator::target::verifier_class;

const PAGE: &str = include_str!("../../../docs/guides/backends.md");

/// The cells of the table's rows.
fn rows() -> Vec<Vec<&'static str>> {
    let rows = PAGE.lines().filter(|line| line.contains("](../../deploy/samples/"));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// What stands between backticks.
fn code(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// All tests of this program.
fn tests() -> Vec<String> {
    let listed = std::process::Command::new(std::env::current_exe().unwrap()).arg("--list").output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

fn resource(folder: &str) -> ClientCertificateRef {
    let path = super::folder().join(folder).join("clientcertificateref.yaml");
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn every_sample_of_a_backend_has_a_row_with_the_target_that_it_has() {
    let mut found = Vec::new();
    for row in rows() {
        let [_, sample, target, class, _, _] = row.as_slice() else { panic!("{row:?}") };
        let folder = sample.split(['[', ']']).nth(1).unwrap();
        assert_eq!(*sample, format!("[{folder}](../../deploy/samples/{folder})"));
        let resource = resource(folder);
        let wanted = &resource.spec.target;
        let expected: Vec<String> = match &wanted.keys {
            Some(keys) => keys.iter().map(|(key, content)| format!("{key}: {content:?}")).collect(),
            None => vec![format!("{:?}", wanted.preset.unwrap())],
        };
        assert_eq!(
            (target.split(',').next().unwrap(), code(target)),
            (wanted.kind.as_str(), expected.iter().map(String::as_str).collect()),
            "{folder}"
        );
        let class_of_target = match verifier_class(&resource) {
            Some(VerifierClass::OverlapSafe) => "overlap-safe",
            Some(VerifierClass::FirstWins) => "first-wins",
            None => "",
        };
        assert!(
            class.starts_with(class_of_target),
            "{folder}: {class}, and status.verifierClass tells {class_of_target}"
        );
        found.push(folder.to_owned());
    }
    found.sort();
    let entries = std::fs::read_dir(super::folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = entries
        .filter(|path| path.join("clientcertificateref.yaml").exists())
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    folders.sort();
    assert_eq!(found, folders);
}

#[test]
fn no_row_names_a_test_that_is_none_or_claims_a_run_that_was_none() {
    let tests = tests();
    for row in rows() {
        let [backend, _, _, class, without, proof] = row.as_slice() else { panic!("{row:?}") };
        let named = code(proof);
        assert!(!named.is_empty(), "{backend}");
        for name in &named {
            let is_there = tests.iter().any(|test| test == name || test.starts_with(&format!("{name}::")));
            assert!(is_there, "{backend}: there is no test {name}");
        }
        let gateway = named.iter().find_map(|name| name.strip_prefix("gateways::"));
        let was_run = gateway.is_some() || named.iter().any(|name| name.starts_with("servers::"));
        assert_eq!(was_run, !proof.contains("only: "), "{backend}");
        assert_eq!(was_run, !(class.contains('†') || class.contains("implementation")), "{backend}: {class}");
        assert_eq!(was_run, *without != "not tried", "{backend}: {without}");
        // What Kubernetes itself does is no test of ours.
        assert_eq!(gateway.is_some(), was_run && !without.contains('‡'), "{backend}: {without}");
        if let Some(gateway) = gateway {
            let version = version(gateway.split("::").next().unwrap());
            assert!(backend.contains(&format!(" {version},")), "{backend}: it was {version} that ran");
        }
    }
}

/// The version of a gateway that its module pins.
fn version(gateway: &str) -> String {
    let module = format!("{}/tests/gateways/{}/go.mod", env!("CARGO_MANIFEST_DIR"), gateway.replace('_', "-"));
    let text = std::fs::read_to_string(&module).unwrap_or_else(|error| panic!("{module}: {error}"));
    let tool = text.lines().find_map(|line| line.strip_prefix("tool ")).unwrap();
    let module = tool.split("/cmd/").next().unwrap();
    let pinned = text.lines().find_map(|line| line.trim().strip_prefix(module)?.trim().strip_prefix('v')).unwrap();
    pinned.split(' ').next().unwrap().to_owned()
}
