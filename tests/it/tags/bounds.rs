//! More certificates than a target may hold, and certificates that expire soon or have expired.

use client_certificate_operator::api::CertificateRole::{Main, Tagged};
use serde_json::json;

use super::*;
use crate::ground::source;

#[tokio::test]
async fn the_newest_sixty_four_of_seventy_certificates_fit() {
    let world = World::start("seventy").await;
    let now = jiff::Timestamp::now();
    for n in 0..70 {
        let start = now - jiff::SignedDuration::from_hours(n);
        let new = NewCertificate { not_before: Some(start), ..tagged(&format!("t{n:02}")) };
        world.generate(new);
    }
    let resource = world.create_ready("payments", pins(json!({}))).await;
    let ids: Vec<_> = held(&resource).into_iter().map(|(id, _)| id.to_owned()).collect();
    let expected: Vec<_> = std::iter::once(ID.to_owned()).chain((0..63).map(|n| format!("t{n:02}"))).collect();
    assert_eq!(ids, expected);
    let words = "63 certificates with the tag app=payments are in the target; 7 more exceed the limit of 64 certificates in a target";
    assert!(message(&resource, OTHERS).starts_with(words), "{}", message(&resource, OTHERS));
    assert_eq!(condition(&resource, OTHERS).unwrap().reason, "Read");
    assert_eq!(pin_lines(&world, "payments").await, 64);
}

#[tokio::test]
async fn an_expired_certificate_is_omitted_and_an_invalid_one_is_named() {
    let world = world("tag-ends").await;
    world.generate(tagged("hour00").expires_in_seconds(3600));
    world.generate(tagged("past00").expires_in_seconds(-3600));
    world.generate(tagged("soon00").expires_in_seconds(20));
    world.create("payments", pins(json!({ "soak": "0s" }))).await;
    world.until_it("payments", "those that are valid are in", |resource| certificates(resource).len() == 3).await;
    let resource =
        world.until_it("payments", "one ends", |resource| held(resource) == [(ID, Main), ("hour00", Tagged)]).await;
    assert_eq!(condition(&resource, OTHERS).unwrap().status, "True", "{:?}", conditions(&resource));
    world.until("payments", SWITCH, "True", "Soaked").await;
    world.generate(tagged("waste0"));
    world.emulator.set_pem(&source("waste0"), "testcert-123");
    let resource = world.refresh("payments").await;
    assert_eq!(held(&resource), [(ID, Main), ("hour00", Tagged)]);
    let resource = world.until("payments", OTHERS, "False", "InvalidCertificate").await;
    assert!(message(&resource, OTHERS).starts_with("waste0: "), "{:?}", conditions(&resource));
}

#[tokio::test]
async fn tags_may_be_long_and_have_any_letters() {
    let world = World::start("tag-texts").await;
    let long = "v".repeat(256);
    let texts = [("Größe des Dienstes", "zwei Wörter"), ("team", "支付"), ("long", long.as_str()), ("empty", "")];
    let tags: serde_json::Map<_, _> = texts.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    let new = texts.iter().fold(NewCertificate::new().id(NEW), |new, (key, value)| new.tag(*key, *value));
    world.generate(new);
    world.generate(NewCertificate::new().id(NEWER).tag("team", "支付"));
    let resource = world.create_ready("payments", pins(json!({ "additionalClientCertificateTags": tags }))).await;
    assert_eq!(held(&resource), [(ID, Main), (NEW, Tagged)], "all of the tags, not some");
    assert_eq!(entry(&resource, NEW).unwrap().tags.len(), 4);
    assert!(message(&resource, OTHERS).chars().count() <= 1024);
}
