//! An unusable rules file ends the start, with one log line.

use operator_testing::operator::Operator;
use serde_json::Value;

use super::RulesFile;
use crate::fixture::SOON;

const BINARY: &str = env!("CARGO_BIN_EXE_client-certificate-operator");

/// Starts an operator that fails, and returns its one log line.
async fn refused(builder: operator_testing::operator::Builder) -> String {
    let mut operator = builder.spawn().unwrap();
    assert_eq!(operator.wait(SOON).await.unwrap().code, Some(1));
    operator.wait_for_log("ERROR").await.unwrap();
    let lines = operator.logs();
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    let line: Value = serde_json::from_str(line).unwrap();
    line["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_missing_rules_file_ends_the_start() {
    let line = refused(Operator::builder(BINARY).env("CCR_RULES_FILE", "/no/such/rules.yaml")).await;
    assert!(line.contains("cannot read the rules file /no/such/rules.yaml"), "{line}");
}

#[tokio::test]
async fn a_wrong_rules_file_ends_the_start() {
    for (text, says) in [
        ("rules: {", "does not parse"),
        ("- a list", "does not parse"),
        ("", "the file is empty; add rules or a default"),
        ("# nothing yet\n", "the file is empty"),
        ("default: nothing", "the word deny"),
        ("rules: [{namespaces: [a], regoins: []}]", "regoins"),
        ("rules: [{name: nobody}]", "nobody: the rule selects no namespace; set namespaces or namespaceSelector"),
        ("rules: [{namespaces: [a], roles: ['*']}]", "rules[0]: roles must be ARNs of roles"),
        ("rules: [{namespaces: [a], externalId: 'a b'}]", "rules[0]: externalId must have 2 to 1224"),
        ("default: {namespaces: [a]}", "default: it applies to the namespaces without a rule"),
    ] {
        let file = RulesFile::new(text);
        let line = refused(Operator::builder(BINARY).arg("--rules-file").arg(file.path())).await;
        assert!(line.contains(says) && line.contains("rules.yaml is invalid"), "{text}: {line}");
    }
}

#[tokio::test]
async fn a_selector_needs_an_operator_that_watches_the_whole_cluster() {
    let file = RulesFile::new("rules: [{namespaceSelector: {matchLabels: {team: pay}}}]");
    let builder = Operator::builder(BINARY).arg("--rules-file").arg(file.path());
    let line = refused(builder.env("CCR_NAMESPACES", "payments")).await;
    for word in ["namespaceSelector", "--namespaces", "list the namespaces in `namespaces`"] {
        assert!(line.contains(word), "{word} is not in: {line}");
    }
}
