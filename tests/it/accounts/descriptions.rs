//! One resource owns the description of a certificate, whatever the roles by which resources read it.

use kube::ResourceExt;
use operator_testing::emulator::{DEFAULT_REGION, NewRole};
use operator_testing::script::Operation::Update;
use operator_testing::wait::{eventually, never};
use serde_json::{Value, json};

use super::{ROLE, Ruled, THERE, message};
use crate::fixture::{A_WHILE, ID, SOON, World};
use crate::ground::source;

const AT_HOME: &str = "arn:aws:iam::111122223333:role/certificates";
const BOTH: &str = "rules: [{name: ours, namespaces: [NAMESPACE], roles: ['arn:aws:iam::*:role/certificates']}]";

fn described(text: &str, role: Option<&str>) -> Value {
    match role {
        Some(role) => json!({ "description": text, "assumeRole": { "roleArn": role } }),
        None => json!({ "description": text }),
    }
}

/// Waits until the next second, because the API server stores creation times in seconds.
async fn next_second_after(world: &World<'_>, older: &str) {
    let created = world.resource(older).await.creation_timestamp().unwrap().0;
    eventually(SOON, "a younger resource", async || jiff::Timestamp::now().as_second() > created.as_second()).await;
}

async fn the_older_owns(prefix: &str, older: Option<&str>, younger: Option<&str>) {
    let ruled = Ruled::start(prefix, BOTH).await;
    ruled.emulator.add_role(NewRole::new(AT_HOME));
    ruled.create("older", described("of the older", older)).await;
    ruled.until("older", "DescriptionSynced", "True", "Synced").await;
    next_second_after(&ruled, "older").await;
    ruled.create("younger", described("of the younger", younger)).await;
    let refused = ruled.until("younger", "DescriptionSynced", "False", "OwnedByAnother").await;
    let reported = message(&refused, "DescriptionSynced");
    assert!(reported.contains(&format!("{}/older", ruled.namespace)), "{reported}");
    ruled.until_ready("younger").await;
    let sent = || ruled.emulator.count(Update);
    never(A_WHILE, "an update of the younger", async || (sent() != 1).then(sent)).await;
    assert_eq!(ruled.emulator.certificate(&source(ID)).unwrap().description, "of the older");

    ruled.delete("older").await;
    ruled.until("younger", "DescriptionSynced", "True", "Synced").await;
    assert_eq!(ruled.emulator.certificate(&source(ID)).unwrap().description, "of the younger");
}

#[tokio::test]
async fn a_role_of_the_home_account_means_the_same_certificate_as_the_operators_own_key() {
    the_older_owns("own-first", None, Some(AT_HOME)).await;
}

#[tokio::test]
async fn the_older_resource_owns_the_description_also_through_a_role() {
    the_older_owns("role-first", Some(AT_HOME), None).await;
}

#[tokio::test]
async fn the_same_id_in_two_accounts_is_two_descriptions() {
    let ruled = Ruled::start("two-accounts", BOTH).await;
    ruled.emulator.add_role(NewRole::new(ROLE));
    ruled.generate_there(DEFAULT_REGION, ID);
    ruled.create("home", described("at home", None)).await;
    ruled.create("there", described("there", Some(ROLE))).await;
    for name in ["home", "there"] {
        ruled.until(name, "DescriptionSynced", "True", "Synced").await;
        ruled.until_ready(name).await;
    }
    assert_eq!(ruled.emulator.certificate(&source(ID)).unwrap().description, "at home");
    let there = ruled.emulator.account(THERE).certificate(DEFAULT_REGION, ID).unwrap();
    assert_eq!(there.description, "there");
    assert_eq!(ruled.emulator.count(Update), 2);
}
