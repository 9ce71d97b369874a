//! Generated files are what the program generates.

use std::process::Command;

#[test]
fn crd_yaml_is_what_the_program_prints() {
    let output = Command::new(env!("CARGO_BIN_EXE_client-certificate-operator")).arg("crd").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(
        printed == include_str!("../../deploy/crd.yaml"),
        "deploy/crd.yaml is old: cargo run -- crd > deploy/crd.yaml"
    );
}
