//! The table of backends contains every sample of a backend, with the operator's verifier class, and names existing
//! tests.

use client_certificate_operator::target::verifier_class;
use operator_testing::backends::{ALL, Proof};

/// All tests of this program, or only the ignored ones.
fn tests(args: &[&str]) -> Vec<String> {
    let listed =
        std::process::Command::new(std::env::current_exe().unwrap()).args(args).arg("--list").output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

#[test]
fn the_table_has_every_sample_of_a_backend_with_the_class_of_the_status() {
    let mut found: Vec<&str> = ALL.iter().map(|backend| backend.sample).collect();
    found.sort_unstable();
    let entries = std::fs::read_dir(super::folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = entries
        .filter(|path| path.join("clientcertificateref.yaml").exists())
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    folders.sort();
    assert_eq!(found, folders);
    for backend in ALL {
        let reported = verifier_class(&backend.resource().unwrap(), &[]);
        assert!(
            reported.is_none() || reported == backend.class,
            "{}: status.verifierClass tells {reported:?}",
            backend.sample
        );
    }
}

#[test]
fn the_table_names_only_existing_tests_that_run() {
    let (tests, ignored) = (tests(&[]), tests(&["--ignored"]));
    for backend in ALL {
        for name in backend.tests() {
            let is = |test: &&String| **test == name || test.starts_with(&format!("{name}::"));
            assert!(tests.iter().any(|test| is(&test)), "{}: there is no test {name}", backend.name);
            assert!(!ignored.iter().any(|test| is(&test)), "{}: {name} is left out", backend.name);
        }
    }
}

#[test]
fn tested_backends_have_their_own_tests_and_gateways_have_a_version() {
    for backend in ALL {
        let tests = backend.tests();
        let was_run = tests.iter().any(|test| test.starts_with("servers::") || test.starts_with("gateways::"));
        assert_eq!(was_run, backend.was_run(), "{}: {tests:?}", backend.name);
        if let Proof::Gateway(gateway) = backend.proof {
            assert!(gateway.version().unwrap().contains(|c: char| c.is_ascii_digit()), "{}", backend.name);
        }
    }
}
