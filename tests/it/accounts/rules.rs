//! The current rules file decides what a namespace may use.

use std::time::Duration;

use kube::ResourceExt;
use operator_testing::emulator::{DEFAULT_REGION, Fault, HOME_ACCOUNT, NewRole};
use operator_testing::script::Operation::{AssumeRole, Update};
use operator_testing::wait::{eventually, never};
use serde_json::json;

use super::{ALLOWED, OTHER_REGION, ROLE, Ruled, THERE, by, by_role, message};
use crate::fixture::{A_WHILE, ID, SOON, World};
use crate::ground::source;

#[tokio::test]
async fn without_rules_no_role_is_assumed() {
    let world = World::start("no-rules").await;
    world.emulator.add_role(NewRole::new(ROLE));
    world.generate_there(DEFAULT_REGION, ID);
    world.create("one", by(ROLE)).await;
    let resource = world.until("one", "Ready", "False", "RoleNotAllowed").await;
    let reported = message(&resource, "CertificateRead");
    for word in [world.namespace.as_str(), ROLE, "roles of a rule for the namespace", "rules file"] {
        assert!(reported.contains(word), "{word} is not in: {reported}");
    }
    assert_eq!(message(&resource, "Stalled"), reported);
    world.until("one", "Stalled", "True", "RoleNotAllowed").await;
    world.until_events("one", &[("Warning RoleNotAllowed", 1)]).await;
    assert_eq!(world.emulator.count(AssumeRole), 0);
    assert!(world.secrets().get_opt("one").await.unwrap().is_none());
    // All other requests are allowed.
    world.create_ready("own", json!({ "description": "ours" })).await;
    world.until("own", "DescriptionSynced", "True", "Synced").await;
}

#[tokio::test]
async fn each_refusal_names_the_missing_rule_and_no_call_is_made() {
    let ruled = Ruled::start(
        "refusals",
        "rules: [{name: narrow, namespaces: [NAMESPACE], regions: [us-east-1], certificateIds: [9ao60f, pay-*]}, \
         {name: by-role, namespaces: [NAMESPACE], ownCredentials: false, regions: ['*'], roles: ['arn:aws:iam::444455556666:role/*']}]",
    )
    .await;
    let elsewhere = "arn:aws:iam::777788889999:role/certificates";
    for (name, spec, reason, words) in [
        ("role", by(elsewhere), "RoleNotAllowed", ["narrow, by-role", elsewhere, "roles"]),
        ("region", json!({ "region": OTHER_REGION }), "RegionNotAllowed", ["narrow", OTHER_REGION, "regions"]),
        (
            "certificate",
            json!({ "clientCertificateId": "other1" }),
            "CertificateNotAllowed",
            ["narrow", "other1", "certificateIds"],
        ),
    ] {
        ruled.create(name, spec).await;
        let resource = ruled.until(name, "Ready", "False", reason).await;
        let reported = message(&resource, "CertificateRead");
        words.iter().for_each(|word| assert!(reported.contains(word), "{name}: {word} is not in: {reported}"));
        ruled.until(name, "Stalled", "True", reason).await;
    }
    let calls = ruled.emulator.calls();
    assert!(calls.iter().all(|call| call.operation.service() == operator_testing::script::Service::Sts), "{calls:?}");
    assert_eq!(ruled.emulator.count(AssumeRole), 0);
    ruled.create_ready("allowed", json!({})).await;
    // A refused resource becomes ready after a change of its spec.
    ruled.patch("region", json!({ "spec": { "region": null } })).await;
    ruled.until_ready("region").await;
}

#[tokio::test]
async fn a_rule_without_own_credentials_requires_a_role() {
    let mut ruled =
        Ruled::start("no-own", "rules: [{name: roles-only, namespaces: [NAMESPACE], ownCredentials: false}]").await;
    ruled.create("one", json!({})).await;
    let resource = ruled.until("one", "Ready", "False", "RoleNotAllowed").await;
    let reported = message(&resource, "CertificateRead");
    assert!(
        reported.contains("roles-only") && reported.contains("own credentials") && reported.contains("spec.assumeRole"),
        "{reported}"
    );
    assert_eq!(ruled.reads(ID), 0);
    ruled.change_rules("default: {}").await;
    ruled.until_ready("one").await;
}

#[tokio::test]
async fn a_description_that_the_rules_deny_is_not_changed_and_the_mirror_continues() {
    let silent = "rules: [{name: readers, namespaces: [NAMESPACE], descriptions: false}]";
    let mut ruled = Ruled::start("no-description", silent).await;
    ruled.create_ready("one", json!({ "description": "ours" })).await;
    let resource = ruled.until("one", "DescriptionSynced", "False", "DescriptionNotAllowed").await;
    let reported = message(&resource, "DescriptionSynced");
    assert!(reported.contains("readers") && reported.contains("set descriptions in a rule"), "{reported}");
    ruled.until_holds("one", HOME_ACCOUNT, DEFAULT_REGION, ID).await;
    never(A_WHILE, "an update", async || (ruled.emulator.count(Update) > 0).then_some(())).await;

    ruled.change_rules("rules: [{name: owners, namespaces: [NAMESPACE]}]").await;
    ruled.until("one", "DescriptionSynced", "True", "Synced").await;
    assert_eq!(ruled.emulator.certificate(&source(ID)).unwrap().description, "ours");

    // After the change back, the text stays, and the operator does not undo another writer's text.
    ruled.change_rules(silent).await;
    ruled.emulator.set_description(&source(ID), "theirs");
    ruled.ask_and_hear("one", "look").await;
    ruled.until("one", "DescriptionSynced", "False", "DescriptionNotAllowed").await;
    assert_eq!(ruled.emulator.certificate(&source(ID)).unwrap().description, "theirs");
    ruled.until_ready("one").await;
}

#[tokio::test]
async fn a_role_can_be_granted_and_revoked_while_the_operator_runs() {
    let mut ruled = Ruled::start("taken", "default: {}").await;
    ruled.emulator.add_role(NewRole::new(ROLE));
    ruled.generate_there(DEFAULT_REGION, ID);
    ruled.create("one", by(ROLE)).await;
    ruled.until("one", "Ready", "False", "RoleNotAllowed").await;

    ruled.change_rules(ALLOWED).await;
    let resource = ruled.until_ready("one").await;
    assert!(super::condition(&resource, "Stalled").is_none());
    let before = ruled.target("one").await;
    let first = ruled.emulator.sessions()[0].access_key.id.clone();

    ruled.change_rules("default: {}").await;
    ruled.until("one", "Ready", "False", "RoleNotAllowed").await;
    ruled.until("one", "Stalled", "True", "RoleNotAllowed").await;
    ruled.until("one", "TargetWritten", "True", "Written").await;
    let calls = ruled.calls_with(&first).len();
    // No event causes a read: neither the annotation, nor another resource, nor a changed spec.
    ruled.ask("one", "please").await;
    ruled.create("two", by_role("second", ROLE)).await;
    ruled.until("two", "Ready", "False", "RoleNotAllowed").await;
    ruled.patch("one", json!({ "spec": { "refreshInterval": "30s" } })).await;
    ruled.until("one", "Ready", "False", "RoleNotAllowed").await;
    never(A_WHILE, "a call of the session that was dropped", async || {
        (ruled.calls_with(&first).len() != calls).then(|| ruled.calls_with(&first))
    })
    .await;
    assert_eq!(ruled.emulator.count(AssumeRole), 1);
    assert_eq!(ruled.target("one").await.resource_version(), before.resource_version(), "the last good target is kept");

    ruled.change_rules(ALLOWED).await;
    ruled.until_ready("one").await;
    ruled.generate_there(DEFAULT_REGION, "second");
    ruled.ask_and_hear("two", "now").await;
    ruled.until_ready("two").await;
    assert_eq!(ruled.emulator.sessions().len(), 2, "a new session, not the old one");
    assert_eq!(ruled.calls_with(&first).len(), calls);
    ruled.until_holds("one", THERE, DEFAULT_REGION, ID).await;
}

#[tokio::test]
async fn the_answer_of_a_dropped_session_is_not_used() {
    let mut ruled = Ruled::start("mid-flight", ALLOWED).await;
    ruled.emulator.add_role(NewRole::new(ROLE));
    ruled.generate_there(DEFAULT_REGION, ID);
    // The delay is longer than the interval of checks of the file, and shorter than the timeout of a call.
    ruled.emulator.inject(Fault::stall(Duration::from_secs(9)).in_account(THERE));
    ruled.create("one", by(ROLE)).await;
    eventually(SOON, "the call is under way", async || ruled.reads(ID) == 1).await;
    ruled.change_rules("default: {}").await;
    ruled.until("one", "Ready", "False", "RoleNotAllowed").await;
    // By then, the call would have an answer.
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    never(A_WHILE, "a target", async || ruled.secrets().get_opt("one").await.unwrap()).await;
    ruled.until("one", "Ready", "False", "RoleNotAllowed").await;
    assert_eq!(ruled.reads(ID), 1);
}

#[tokio::test]
async fn a_wrong_file_changes_nothing_while_the_operator_runs_and_is_reported() {
    let mut ruled = Ruled::start("wrong-file", ALLOWED).await;
    ruled.emulator.add_role(NewRole::new(ROLE));
    ruled.generate_there(DEFAULT_REGION, ID);
    ruled.generate_there(DEFAULT_REGION, "second");
    ruled.create_ready("one", by(ROLE)).await;
    let wrong = [
        ("rules: [{namespaces: [NAMESPACE], roles: [admin]}]", "rules[0]: roles must be ARNs of roles"),
        ("rules: [{name: nobody, roles: []}]", "nobody: the rule selects no namespace"),
        ("rules: [{namespaces: [x], rolls: []}]", "does not parse"),
        ("rules: {", "does not parse"),
        ("", "the file is empty"),
        ("rules: [{namespaceSelector: {}}]", "does not watch the labels of namespaces"),
    ];
    for (index, (text, says)) in wrong.into_iter().enumerate() {
        ruled.file.replace(&text.replace("NAMESPACE", &ruled.world.namespace));
        let count = index as f64 + 1.0;
        eventually(SOON, text, async || ruled.rules_loaded("error").await == count).await;
        let line = ruled.operator.as_mut().unwrap().wait_for_log(says).await.unwrap();
        assert!(
            line.contains("ERROR") && line.contains("rules.yaml") && line.contains("keeping the previous rules"),
            "{line}"
        );
    }
    std::fs::remove_file(ruled.file.path()).unwrap();
    let line = ruled.operator.as_mut().unwrap().wait_for_log("cannot read the rules file").await.unwrap();
    assert!(line.contains("ERROR") && line.contains("keeping the previous rules"), "{line}");
    ruled.create_ready("two", by_role("second", ROLE)).await;
    assert_eq!(ruled.emulator.sessions().len(), 1, "the session lives on too");
    // The operator checks the file every 5 s, and logs the failure once.
    let reported = || {
        let lines = ruled.operator.as_ref().unwrap().logs();
        lines.into_iter().filter(|line| line.contains("keeping the previous rules")).collect::<Vec<_>>()
    };
    never(Duration::from_secs(11), "the same report twice", async || (reported().len() > 7).then(&reported)).await;
    assert_eq!(reported().len(), 7);
}

#[tokio::test]
async fn with_default_deny_only_namespaces_with_a_rule_may_use_anything() {
    let mut ruled = Ruled::start("deny", "default: deny").await;
    ruled.create("one", json!({})).await;
    let resource = ruled.until("one", "Ready", "False", "RoleNotAllowed").await;
    assert!(message(&resource, "CertificateRead").contains("add a rule for the namespace"));
    assert_eq!(ruled.reads(ID), 0);
    ruled.change_rules("{default: deny, rules: [{namespaces: [NAMESPACE]}]}").await;
    ruled.until_ready("one").await;
}
