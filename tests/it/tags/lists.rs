//! Lists that fail, are incomplete, or have no tags: no certificate leaves the target because of them.

use client_certificate_operator::api::CertificateRole::{Main, Tagged};
use operator_testing::emulator::{DEFAULT_REGION, Fault};
use operator_testing::script::Operation;
use serde_json::json;

use super::*;
use crate::ground::source;

const BOTH: [(&str, CertificateRole); 2] = [(ID, Main), (NEW, Tagged)];

async fn with_new(prefix: &str) -> World<'static> {
    let world = world(prefix).await;
    world.generate(tagged(NEW));
    let resource = world.create_ready("payments", pins(json!({}))).await;
    assert_eq!(held(&resource), BOTH);
    world
}

#[tokio::test]
async fn a_denied_list_removes_nothing_even_after_a_restart() {
    let mut world = with_new("denied").await;
    world.emulator.inject(Fault::error(403, "AccessDeniedException", "no").on(Operation::List));
    let resource = world.refresh("payments").await;
    let resource = match condition(&resource, OTHERS).unwrap().status.as_str() {
        "False" => resource,
        _ => world.until("payments", OTHERS, "False", "AccessDenied").await,
    };
    let words = "IAM does not allow apigateway:GET on arn:aws:apigateway:us-east-1::/clientcertificates; add it";
    assert!(message(&resource, OTHERS).contains(words), "{:?}", conditions(&resource));
    assert_eq!((held(&resource), condition(&resource, "Ready").unwrap().status.as_str()), (BOTH.to_vec(), "True"));
    // The operator does not notice the loss of the tag either.
    world.emulator.set_tags(&source(NEW), &[]);
    world.stop_operator().await;
    world.start_operator().await;
    let resource = world.refresh("payments").await;
    assert_eq!(held(&resource), BOTH);
    world.until("payments", OTHERS, "False", "AccessDenied").await;
    // A deleted certificate leaves the target.
    world.emulator.delete(&source(NEW));
    world.until_it("payments", "the read by its id tells", |resource| held(resource) == [(ID, Main)]).await;
    world.emulator.clear_faults();
    world.refresh("payments").await;
    world.until("payments", OTHERS, "True", "Read").await;
}

#[tokio::test]
async fn an_incomplete_list_removes_nothing() {
    let world = with_new("partial").await;
    world.emulator.set_tags(&source(NEW), &[]);
    world.emulator.inject(Fault::repeated_position().on(Operation::List));
    let resource = world.refresh("payments").await;
    assert_eq!(held(&resource), BOTH);
    world.emulator.clear_faults();

    // The second page fails.
    for n in 0..500 {
        world.generate(NewCertificate::new().id(format!("a{n:05}")));
    }
    world.emulator.inject_all([
        Fault::pass().on(Operation::List).once(),
        Fault::error(500, "InternalFailure", "down").on(Operation::List),
    ]);
    let resource = world.refresh("payments").await;
    assert_eq!(held(&resource), BOTH);
    world.emulator.clear_faults();
    world.until_it("payments", "a whole list counts", |resource| held(resource) != BOTH).await;
}

#[tokio::test]
async fn a_list_without_tags_does_not_count_as_lost_tags() {
    let world = with_new("tagless").await;
    world.emulator.inject(Fault::without_tags().on(Operation::List));
    world.refresh("payments").await;
    let resource = world.until("payments", OTHERS, "Unknown", "NotRead").await;
    assert!(message(&resource, OTHERS).contains("contains no tags"), "{:?}", conditions(&resource));
    assert_eq!(held(&resource), BOTH);
    world.emulator.clear_faults();
    world.refresh("payments").await;
    world.until("payments", OTHERS, "True", "Read").await;
}

#[tokio::test]
async fn one_list_serves_all_tags_and_no_other_region_or_account() {
    let world = world("one-list").await;
    world.generate(tagged(NEW));
    world.emulator.generate("eu-west-1", tagged("region").shared_key());
    world.emulator.account("444455556666").generate(DEFAULT_REGION, tagged("account").shared_key());
    for n in 0..10 {
        world.create(&format!("r{n}"), pins(json!({}))).await;
    }
    for n in 0..10 {
        let resource = world.until_ready(&format!("r{n}")).await;
        assert_eq!(held(&resource), BOTH);
    }
    let lists = world.emulator.count(Operation::List);
    assert!(lists <= 3, "{lists} lists for ten resources");
    assert!(world.emulator.count(Operation::Get) <= 3);
}

#[tokio::test]
async fn a_resource_without_tags_causes_no_list() {
    let world = world("no-list").await;
    world.generate(tagged(NEW));
    world.create_ready("payments", json!({})).await;
    assert_eq!(world.emulator.count(Operation::List), 0);
}

#[tokio::test]
async fn the_ids_of_the_rules_apply() {
    let mut world = World::without_operator("tag-rules").await;
    world.emulator.set_tags(&source(ID), &[TAG]);
    for id in [NEW, NEWER] {
        world.generate(tagged(id));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.yaml");
    std::fs::write(&path, format!("default: {{certificateIds: [{ID}, {NEW}]}}\n")).unwrap();
    world.start_operator_with(&["--rules-file", path.to_str().unwrap()]).await;
    let resource = world.create_ready("payments", pins(json!({}))).await;
    assert_eq!(held(&resource), BOTH);
    assert!(message(&resource, OTHERS).contains("the operator's rules (certificateIds) do not allow 1 more"));
}
