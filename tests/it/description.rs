//! The description in API Gateway: which resource writes it, when, and when none does.

use std::time::Duration;

use futures::future::join;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch};
use operator_testing::certificates::NewCertificate;
use operator_testing::emulator::{DEFAULT_REGION, Fault};
use operator_testing::script::Operation::{Get, Update};
use operator_testing::wait::{eventually, never};
use serde_json::json;

use crate::faults::{SOON, World, source, started};

/// The time in which a forbidden call would have come.
const A_WHILE: Duration = Duration::from_secs(2);

impl World<'_> {
    fn description(&self, id: &str) -> String {
        self.emulator.certificate(&source(id)).unwrap().description
    }

    fn updates(&self, id: &str) -> usize {
        self.emulator.count_of(Update, id)
    }

    async fn no_update_beyond(&self, id: &str, count: usize) {
        never(A_WHILE, "one update more", async || (self.updates(id) != count).then(|| self.updates(id))).await;
    }

    /// Waits until the next second, because the API server stores creation times in seconds.
    async fn next_second(&self, older: &str) {
        let created = self.resources().get(older).await.unwrap().creation_timestamp().unwrap().0;
        eventually(SOON, "a younger resource", async || jiff::Timestamp::now().as_second() > created.as_second()).await;
    }
}

#[tokio::test]
async fn without_a_description_in_the_spec_no_description_is_sent() {
    let world = World::new("undescribed").await;
    let _operator = world.operator().await;
    world.emulator.generate(DEFAULT_REGION, NewCertificate::new().id("plain").shared_key().description("theirs"));
    world.create("plain", json!({ "clientCertificateId": "plain" })).await;
    let conditions = world.wait_ready("plain", 1).await;
    assert!(!conditions.contains_key("DescriptionSynced"));
    world.emulator.set_description(&source("plain"), "theirs, changed");
    let generation = world.hasten("plain").await;
    world.wait_ready("plain", generation).await;
    world.no_update_beyond("plain", 0).await;
    assert_eq!(world.description("plain"), "theirs, changed");
}

#[tokio::test]
async fn a_description_is_set_changed_cleared_and_then_left_unchanged_without_a_description_in_the_spec() {
    let world = World::new("described").await;
    let _operator = world.operator().await;
    world.certificate("one");
    world.create("one", json!({ "clientCertificateId": "one", "description": "first" })).await;
    world.wait_for("one", "DescriptionSynced", "True Synced", 1).await;
    assert_eq!((world.description("one").as_str(), world.updates("one")), ("first", 1));
    let note = world.wait_for_event("one", "DescriptionUpdated").await;
    assert!(note.contains("\"first\""), "{note}");

    for (count, text) in [(2, "second"), (3, "")] {
        let generation = world.change("one", json!({ "description": text })).await;
        world.wait_for("one", "DescriptionSynced", "True Synced", generation).await;
        assert_eq!((world.description("one").as_str(), world.updates("one")), (text, count));
        let shown = world.resources().get("one").await.unwrap().status.unwrap().certificates[0].description.clone();
        assert_eq!(shown.unwrap_or_default(), text);
    }
    world.emulator.set_description(&source("one"), "by hand");
    let generation = world.change("one", json!({ "description": null })).await;
    let conditions = world.wait_ready("one", generation).await;
    assert!(!conditions.contains_key("DescriptionSynced"));
    world.no_update_beyond("one", 3).await;
    assert_eq!(world.description("one"), "by hand");
}

#[tokio::test]
async fn an_equal_description_is_not_sent() {
    let world = World::new("already").await;
    let _operator = world.operator().await;
    world.emulator.generate(DEFAULT_REGION, NewCertificate::new().id("same").shared_key().description("text"));
    world.certificate("empty");
    for (id, text) in [("same", "text"), ("empty", "")] {
        world.create(id, json!({ "clientCertificateId": id, "description": text })).await;
        world.wait_for(id, "DescriptionSynced", "True Synced", 1).await;
        world.no_update_beyond(id, 0).await;
    }
}

#[tokio::test]
async fn a_description_changed_in_aws_is_restored_at_the_next_refresh_with_an_event() {
    let world = World::new("undone").await;
    let _operator = world.operator().await;
    world.certificate("one");
    world.create("one", json!({ "clientCertificateId": "one", "description": "ours" })).await;
    world.wait_for("one", "DescriptionSynced", "True", 1).await;
    world.emulator.set_description(&source("one"), "theirs");
    world.refreshed("one", "again").await;
    eventually(SOON, "the description is put back", async || world.description("one") == "ours").await;
    let note = world.wait_for_event("one", "DescriptionRestored").await;
    assert!(note.contains("\"ours\"") && note.contains("\"theirs\""), "{note}");
    world.wait_for("one", "DescriptionSynced", "True Synced", 1).await;
    assert_eq!((world.updates("one"), world.emulator.count_of(Get, "one")), (2, 2));
}

#[tokio::test]
async fn an_update_that_waits_for_a_token_is_not_sent_once_its_owner_is_gone_suspended_or_changed() {
    let world = World::apart("waiting").await;
    // One token in 5 s for each region: the read takes the first, and the update waits for the second.
    let _operator = started(&world.builder().arg("--rate=0.2").arg("--burst=1")).await;
    let ids = ["deleted", "suspended", "changed"];
    for id in ids {
        world.certificate(id);
        world.create(id, json!({ "clientCertificateId": id, "description": "first" })).await;
    }
    for id in ids {
        world.wait_for_target(id, id).await;
        assert_eq!(world.updates(id), 0, "the update of {id} waits");
    }
    world.resources().delete("deleted", &DeleteParams::default()).await.unwrap();
    world.change("suspended", json!({ "suspend": true })).await;
    let generation = world.change("changed", json!({ "description": "second" })).await;
    world.wait_for("changed", "DescriptionSynced", "True Synced", generation).await;
    never(Duration::from_secs(7), "a withdrawn update", async || {
        let updates = ids.map(|id| world.updates(id));
        (updates != [0, 0, 1]).then_some(updates)
    })
    .await;
    assert_eq!(world.emulator.certificate(&world.source("changed")).unwrap().description, "second");
}

#[tokio::test]
async fn every_description_is_stored_as_in_the_spec() {
    let world = World::new("texts").await;
    let _operator = world.operator().await;
    let long = "x".repeat(300);
    let longest = "é".repeat(1024);
    for (id, text) in [
        ("long", long.as_str()),
        ("longest", &longest),
        ("emoji", "🔑 clé – 鍵 👩‍🚀"),
        ("quotes", r#"it's "quoted" \ and 'quoted'"#),
        ("lines", "one\ntwo\r\n\tthree\n"),
        ("json", r#"{"op":"replace","path":"/description","value":null}"#),
        ("yaml", "- a: &b [*c]\n# no comment"),
        ("blank", "  two  spaces  "),
    ] {
        world.certificate(id);
        world.create(id, json!({ "clientCertificateId": id, "description": text })).await;
        world.wait_for(id, "DescriptionSynced", "True Synced", 1).await;
        assert_eq!(world.description(id), text);
        assert_eq!(world.updates(id), 1, "{id}");
        let shown = world.resources().get(id).await.unwrap().status.unwrap().certificates[0].description.clone();
        assert_eq!(shown.as_deref(), Some(text));
    }
}

#[tokio::test]
async fn the_oldest_claim_wins_and_the_next_one_takes_over_when_it_ends() {
    let world = World::new("claims").await;
    let _operator = world.operator().await;
    world.certificate("shared");
    let claim = |text: &str| json!({ "clientCertificateId": "shared", "description": text });
    world.create("z-older", claim("older")).await;
    world.wait_for("z-older", "DescriptionSynced", "True Synced", 1).await;
    world.next_second("z-older").await;
    world.create("a-younger", claim("younger")).await;
    let conditions = world.wait_for("a-younger", "DescriptionSynced", "False OwnedByAnother", 1).await;
    let message = &conditions["DescriptionSynced"].message;
    assert!(message.contains(&format!("{}/z-older", world.namespace)), "{message}");
    assert_eq!(conditions["Ready"].status, "True", "its mirror is as good as any");
    assert!(!conditions.contains_key("Stalled"), "{conditions:?}");
    // The two resources do not overwrite each other after another read.
    let generation = world.hasten("a-younger").await;
    world.wait_for("a-younger", "DescriptionSynced", "False OwnedByAnother", generation).await;
    let generation = world.hasten("z-older").await;
    world.wait_for("z-older", "DescriptionSynced", "True Synced", generation).await;
    world.no_update_beyond("shared", 1).await;

    // The same text is no conflict.
    let generation = world.change("a-younger", json!({ "description": "older" })).await;
    world.wait_for("a-younger", "DescriptionSynced", "True SameAsOwner", generation).await;
    world.change("a-younger", json!({ "description": "younger" })).await;
    world.no_update_beyond("shared", 1).await;

    // The older resource drops its description.
    world.change("z-older", json!({ "description": null })).await;
    world.wait_for("a-younger", "DescriptionSynced", "True Synced", 1).await;
    eventually(SOON, "the younger takes over", async || world.description("shared") == "younger").await;
    assert_eq!(world.updates("shared"), 2);

    // The older resource sets its description again, and is deleted later.
    world.change("z-older", json!({ "description": "older" })).await;
    eventually(SOON, "the older takes over", async || world.description("shared") == "older").await;
    world.wait_for("a-younger", "DescriptionSynced", "False OwnedByAnother", 1).await;
    world.resources().delete("z-older", &DeleteParams::default()).await.unwrap();
    world.wait_for("a-younger", "DescriptionSynced", "True Synced", 1).await;
    assert_eq!(world.description("shared"), "younger");
    world.no_update_beyond("shared", 4).await;
}

#[tokio::test]
async fn only_one_of_two_resources_with_the_same_creation_time_sends() {
    let world = World::new("tie").await;
    let _operator = world.operator().await;
    // The answers are late enough that the operator has both resources by then, also on a busy machine.
    world.emulator.set_latency(Duration::from_millis(700));
    for round in 0..4 {
        let id = format!("tied{round}");
        world.certificate(&id);
        let names = [format!("b{round}"), format!("a{round}")];
        let spec = |name: &str| json!({ "clientCertificateId": id, "description": format!("text of {name}") });
        join(world.create(&names[0], spec(&names[0])), world.create(&names[1], spec(&names[1]))).await;
        // The order is the same for every replica, also for resources of the same age.
        let mut order = Vec::new();
        for name in &names {
            order.push((world.resources().get(name).await.unwrap().creation_timestamp().unwrap(), name));
        }
        order.sort();
        let (first, second) = (order[0].1, order[1].1);
        world.wait_for(first, "DescriptionSynced", "True Synced", 1).await;
        world.wait_for(second, "DescriptionSynced", "False OwnedByAnother", 1).await;
        world.no_update_beyond(&id, 1).await;
        assert_eq!(world.description(&id), format!("text of {first}"));
    }
}

#[tokio::test]
async fn claims_of_a_restarted_operator_are_settled_before_anything_is_sent() {
    let world = World::new("resumed").await;
    world.certificate("shared");
    let claim = |text: &str| json!({ "clientCertificateId": "shared", "description": text });
    world.create("z-older", claim("older")).await;
    world.next_second("z-older").await;
    world.create("a-younger", claim("younger")).await;
    for _ in 0..2 {
        let mut operator = world.operator().await;
        world.wait_for("z-older", "DescriptionSynced", "True Synced", 1).await;
        world.wait_for("a-younger", "DescriptionSynced", "False OwnedByAnother", 1).await;
        world.no_update_beyond("shared", 1).await;
        operator.kill().unwrap();
    }
    assert_eq!(world.description("shared"), "older");
}

#[tokio::test]
async fn a_description_that_is_reverted_three_times_is_contested_for_an_hour() {
    let world = World::new("contested").await;
    let _operator = world.operator().await;
    world.certificate("one");
    world.create("one", json!({ "clientCertificateId": "one", "description": "ours" })).await;
    world.wait_for("one", "DescriptionSynced", "True Synced", 1).await;
    for count in [2, 3] {
        world.emulator.set_description(&source("one"), "theirs");
        let generation = world.hasten("one").await;
        world.wait_for("one", "DescriptionSynced", "True Synced", generation).await;
        assert_eq!(world.updates("one"), count);
    }
    world.emulator.set_description(&source("one"), "theirs");
    let generation = world.hasten("one").await;
    let conditions = world.wait_for("one", "DescriptionSynced", "False Contested", generation).await;
    assert_eq!(conditions["Ready"].status, "True");
    assert!(conditions["DescriptionSynced"].message.contains("once an hour"), "{conditions:?}");
    world.wait_for_event("one", "Contested").await;
    let generation = world.hasten("one").await;
    world.wait_for("one", "DescriptionSynced", "False Contested", generation).await;
    world.no_update_beyond("one", 3).await;
    // Another text is a new start.
    let generation = world.change("one", json!({ "description": "ours, too" })).await;
    world.wait_for("one", "DescriptionSynced", "True Synced", generation).await;
    assert_eq!(world.updates("one"), 4);
}

#[tokio::test]
async fn a_description_that_api_gateway_alters_is_not_sent_again_until_one_of_both_changes() {
    let world = World::new("not-applied").await;
    let _operator = world.operator().await;
    world.certificate("one");
    world.emulator.inject(Fault::shorten().on(Update));
    world.create("one", json!({ "clientCertificateId": "one", "description": "text!" })).await;
    let conditions = world.wait_for("one", "DescriptionSynced", "False NotApplied", 1).await;
    assert_eq!(conditions["Ready"].status, "True");
    assert_eq!(world.description("one"), "text");
    // Neither another reconcile, nor a read, nor another change of the spec sends the text again.
    world.secrets().delete("one", &DeleteParams::default()).await.unwrap();
    world.wait_for_target("one", "one").await;
    let generation = world.hasten("one").await;
    world.wait_for("one", "DescriptionSynced", "False NotApplied", generation).await;
    world.refreshed("one", "again").await;
    world.no_update_beyond("one", 1).await;

    world.emulator.set_description(&source("one"), "by hand");
    let generation = world.hasten("one").await;
    world.wait_for("one", "DescriptionSynced", "False NotApplied", generation).await;
    assert_eq!((world.updates("one"), world.description("one").as_str()), (2, "text"));
    let generation = world.change("one", json!({ "description": "tex" })).await;
    world.wait_for("one", "DescriptionSynced", "False NotApplied", generation).await;
    assert_eq!((world.updates("one"), world.description("one").as_str()), (3, "te"));
    world.emulator.clear_faults();
    let generation = world.change("one", json!({ "description": "text" })).await;
    world.wait_for("one", "DescriptionSynced", "True Synced", generation).await;
}

#[tokio::test]
async fn an_operator_that_may_not_manage_descriptions_never_sends_one() {
    let world = World::new("unmanaged").await;
    let _operator = started(&world.builder().arg("--manage-descriptions=false")).await;
    world.certificate("differs");
    world.emulator.generate(DEFAULT_REGION, NewCertificate::new().id("same").shared_key().description("text"));
    for (id, expected) in [("differs", "False DescriptionNotAllowed"), ("same", "True Synced")] {
        world.create(id, json!({ "clientCertificateId": id, "description": "text" })).await;
        let conditions = world.wait_for(id, "DescriptionSynced", expected, 1).await;
        assert_eq!(conditions["Ready"].status, "True");
        let generation = world.hasten(id).await;
        world.wait_for(id, "DescriptionSynced", expected, generation).await;
    }
    never(A_WHILE, "an update", async || (world.emulator.count(Update) > 0).then_some(())).await;
}

#[tokio::test]
async fn a_description_is_sent_even_if_the_target_cannot_be_written() {
    let world = World::new("blocked").await;
    let _operator = world.operator().await;
    world.certificate("one");
    let foreign = json!({ "metadata": { "name": "one" }, "stringData": { "ca.crt": "somebody else's" } });
    let foreign = serde_json::from_value(foreign).unwrap();
    world.secrets().create(&Default::default(), &foreign).await.unwrap();
    world.create("one", json!({ "clientCertificateId": "one", "description": "text" })).await;
    let conditions = world.wait_for("one", "DescriptionSynced", "True Synced", 1).await;
    assert_eq!(conditions["TargetWritten"].reason, "TargetExists");
    assert_eq!(world.description("one"), "text");
}

#[tokio::test]
async fn a_resource_that_is_being_deleted_sends_nothing() {
    let world = World::new("leaving").await;
    let _operator = world.operator().await;
    world.certificate("one");
    world.create("one", json!({ "clientCertificateId": "one", "description": "text" })).await;
    world.wait_for("one", "DescriptionSynced", "True Synced", 1).await;
    let held = Patch::Merge(json!({ "metadata": { "finalizers": ["tests.example/held"] } }));
    let refs: Api<_> = world.resources();
    refs.patch("one", &Default::default(), &held).await.unwrap();
    refs.delete("one", &DeleteParams::default()).await.unwrap();
    world.emulator.set_description(&source("one"), "theirs");
    world.change("one", json!({ "description": "another" })).await;
    world.refresh("one", "again").await;
    world.no_update_beyond("one", 1).await;
    let let_go = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    refs.patch("one", &Default::default(), &let_go).await.unwrap();
}
