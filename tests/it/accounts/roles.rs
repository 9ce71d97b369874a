//! The operator assumes a role by the resource and the rules, once for all resources of a namespace.

use std::time::Duration;

use operator_testing::emulator::{DEFAULT_REGION, HOME_ACCOUNT, HOME_USER, NewRole};
use operator_testing::script::Operation::{AssumeRole, Get, List};
use operator_testing::wait::never;
use serde_json::json;

use super::{ALLOWED, OTHER_REGION, ROLE, Ruled, THERE, account_of, by, by_role, message};
use crate::fixture::{A_WHILE, ID, World};
use crate::ground::started;

#[tokio::test]
async fn a_role_is_assumed_in_the_name_of_the_namespace_and_sees_its_own_account() {
    let ruled = Ruled::start("role", ALLOWED).await;
    ruled.emulator.add_role(NewRole::new(ROLE).external_id("shop:1"));
    // Both accounts have the same id. The mirrored certificate shows which account was read.
    ruled.generate_there(DEFAULT_REGION, ID);
    let there = ruled.create_ready("there", json!({ "assumeRole": { "roleArn": ROLE, "externalId": "shop:1" } })).await;
    let home = ruled.create_ready("home", json!({})).await;
    assert_eq!((account_of(&there), account_of(&home)), (Some(THERE), Some(HOME_ACCOUNT)));
    ruled.until_holds("there", THERE, DEFAULT_REGION, ID).await;
    ruled.until_holds("home", HOME_ACCOUNT, DEFAULT_REGION, ID).await;
    assert!(message(&there, "CertificateRead").contains(ROLE), "{}", message(&there, "CertificateRead"));

    let sessions = ruled.emulator.sessions();
    let [session] = sessions.as_slice() else { panic!("{sessions:?}") };
    assert_eq!((session.request.role.as_str(), session.by.as_str()), (ROLE, HOME_USER));
    assert_eq!(session.request.session_name, format!("ccr-{}", ruled.namespace));
    assert_eq!(session.request.external_id.as_deref(), Some("shop:1"));
    assert!(session.request.tags.is_empty(), "{:?}", session.request.tags);
    for account in [THERE, HOME_ACCOUNT] {
        assert_eq!(ruled.emulator.count_in(Get, account, DEFAULT_REGION), 1, "{account}");
    }
}

#[tokio::test]
async fn without_its_former_role_a_resource_waits_for_the_certificate_of_the_own_account() {
    let ruled = Ruled::start("unassumed", ALLOWED).await;
    ruled.emulator.add_role(NewRole::new(ROLE));
    ruled.generate_there(DEFAULT_REGION, "shared");
    ruled.create_ready("payments", by_role("shared", ROLE)).await;
    // AWS does not respond to the operator's own credentials.
    ruled.emulator.set_latency(Duration::from_secs(600));
    ruled.patch("payments", json!({ "spec": { "assumeRole": null } })).await;
    ruled.until("payments", "CertificateRead", "Unknown", "NotRead").await;
    ruled.until("payments", "Ready", "False", "NotRead").await;
    ruled.until_holds("payments", THERE, DEFAULT_REGION, "shared").await;
}

#[tokio::test]
async fn thirty_resources_of_one_role_and_region_share_a_session() {
    let ruled = Ruled::start("thirty", ALLOWED).await;
    ruled.emulator.add_role(NewRole::new(ROLE));
    let names: Vec<String> = (0..30).map(|number| format!("id{number}")).collect();
    for name in &names {
        ruled.generate_there(DEFAULT_REGION, name);
    }
    for name in &names {
        ruled.create(name, by_role(name, ROLE)).await;
    }
    for name in &names {
        let resource = ruled.until_ready(name).await;
        assert_eq!(account_of(&resource), Some(THERE));
    }
    assert_eq!(ruled.emulator.sessions().len(), 1, "{:?}", ruled.emulator.sessions());
    assert_eq!(ruled.emulator.count(AssumeRole), 1);
    assert!(ruled.emulator.count(List) + ruled.emulator.count(Get) < 30, "{:?}", ruled.emulator.calls());

    // Another region has another session, from the STS of that region.
    ruled.generate_there(OTHER_REGION, "far");
    let mut spec = by_role("far", ROLE);
    spec["region"] = json!(OTHER_REGION);
    ruled.create_ready("far", spec).await;
    assert_eq!(ruled.emulator.sessions().len(), 2);
    let asked: Vec<_> = ruled.emulator.calls().into_iter().filter(|call| call.operation == AssumeRole).collect();
    let regions: Vec<_> = asked.iter().map(|call| call.region.as_deref()).collect();
    assert_eq!(regions, [Some(DEFAULT_REGION), Some(OTHER_REGION)]);
}

#[tokio::test]
async fn a_role_is_assumed_separately_for_each_namespace() {
    let ours = World::without_operator("first").await;
    let theirs = World::without_operator("second").await;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": { "name": "operator-of-another-namespace", "namespace": theirs.namespace },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": crate::ground::ACCOUNT },
        "subjects": [{ "kind": "ServiceAccount", "name": crate::ground::ACCOUNT, "namespace": ours.namespace }],
    });
    ours.control_plane.apply_yaml(&binding.to_string()).await.unwrap();
    ours.emulator.add_role(NewRole::new(ROLE));
    ours.generate_there(DEFAULT_REGION, ID);
    let ruled = Ruled::of(ours, &format!("default: {{roles: ['{ROLE}']}}"));
    let both = format!("{},{}", ruled.namespace, theirs.namespace);
    let builder = ruled.builder().env("CCR_NAMESPACES", both).env("CCR_RULES_FILE", ruled.file.path());
    let _operator = started(&builder).await;
    ruled.create_ready("one", by(ROLE)).await;
    theirs.create_ready("one", by(ROLE)).await;
    let names: Vec<_> = ruled.emulator.sessions().into_iter().map(|session| session.request.session_name).collect();
    assert_eq!(names, [format!("ccr-{}", ruled.namespace), format!("ccr-{}", theirs.namespace)]);
}

#[tokio::test]
async fn a_session_has_tags_if_the_rule_and_the_role_allow_them() {
    let tagging = "rules: [{namespaces: [NAMESPACE], sessionTags: true, roles: ['arn:aws:iam::444455556666:role/*']}]";
    let ruled = Ruled::start("tags", tagging).await;
    let strict = format!("{ROLE}-without-tags");
    ruled.emulator.add_role(NewRole::new(ROLE).may_tag());
    ruled.emulator.add_role(NewRole::new(&strict));
    ruled.generate_there(DEFAULT_REGION, ID);
    ruled.create_ready("tagged", by(ROLE)).await;
    let tags = ruled.emulator.sessions()[0].request.tags.clone();
    assert_eq!(tags, [("kubernetes-namespace".to_owned(), ruled.namespace.clone())].into());

    ruled.create("refused", by(&strict)).await;
    let refused = ruled.until("refused", "Ready", "False", "AccessDenied").await;
    let message = message(&refused, "CertificateRead");
    assert!(message.contains("sts:TagSession") && message.contains(&strict), "{message}");
}

#[tokio::test]
async fn an_external_id_that_the_rule_sets_is_the_only_one() {
    let forcing = "rules: [{name: forced, namespaces: [NAMESPACE], externalId: '{namespace}/ccr', roles: ['arn:aws:iam::444455556666:role/*']}]";
    let ruled = Ruled::start("forced", forcing).await;
    let external_id = format!("{}/ccr", ruled.namespace);
    ruled.emulator.add_role(NewRole::new(ROLE).external_id(&external_id));
    ruled.generate_there(DEFAULT_REGION, ID);
    ruled.create_ready("silent", by(ROLE)).await;
    ruled.create_ready("same", json!({ "assumeRole": { "roleArn": ROLE, "externalId": external_id } })).await;
    assert_eq!(ruled.emulator.sessions().len(), 1, "both are the same");
    assert_eq!(ruled.emulator.sessions()[0].request.external_id, Some(external_id));

    ruled.create("other", json!({ "assumeRole": { "roleArn": ROLE, "externalId": "of-another-team" } })).await;
    let other = ruled.until("other", "Ready", "False", "RoleNotAllowed").await;
    let message = message(&other, "CertificateRead");
    assert!(message.contains("forced") && message.contains("spec.assumeRole.externalId"), "{message}");
    ruled.until("other", "Stalled", "True", "RoleNotAllowed").await;
    never(A_WHILE, "a session more", async || (ruled.emulator.count(AssumeRole) != 1).then_some(())).await;
}
