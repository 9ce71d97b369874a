//! A certificate that loses its tag, and the order of the certificates in a target.

use client_certificate_operator::api::CertificateRole::{Additional, Former, Main, Tagged};
use serde_json::json;

use super::*;
use crate::fixture::A_WHILE;
use crate::ground::source;

#[tokio::test]
async fn a_certificate_that_loses_its_tag_stays_for_the_overlap() {
    let world = world("loses").await;
    for id in [NEW, NEWER] {
        world.generate(tagged(id));
    }
    world.generate(NewCertificate::new().id("byid00"));
    let spec = pins(json!({ "additionalClientCertificateIds": ["byid00"], "overlap": "6s", "soak": "0s" }));
    let resource = world.create_ready("payments", spec).await;
    // The two were made in the same second, or nearly so, in either order.
    let mut roles = held(&resource);
    roles[2..].sort_by_key(|(id, _)| *id);
    assert_eq!(roles, [(ID, Main), ("byid00", Additional), (NEW, Tagged), (NEWER, Tagged)]);

    world.emulator.set_tags(&source(NEW), &[("app", "orders")]);
    let resource = world.refresh("payments").await;
    assert_eq!(held(&resource), [(ID, Main), (NEW, Former), ("byid00", Additional), (NEWER, Tagged)]);
    let new = entry(&resource, NEW).unwrap();
    assert!(new.former_since.is_some() && new.safe_to_switch == Some(false) && new.tags.is_empty());
    assert_eq!(pin_lines(&world, "payments").await, 4);
    let resource = world
        .until_it("payments", "it leaves when the overlap has passed", |resource| {
            held(resource) == [(ID, Main), ("byid00", Additional), (NEWER, Tagged)]
        })
        .await;
    assert_eq!(pin_lines(&world, "payments").await, 3);
    assert_eq!(condition(&resource, OTHERS).unwrap().status, "True");
    assert_eq!(world.events("payments").await.get("Normal TagsLost"), Some(&1));

    // With the tag again, the certificate is Tagged again.
    world.emulator.set_tags(&source(NEW), &[TAG]);
    let resource = world.refresh("payments").await;
    let new = entry(&resource, NEW).unwrap();
    assert_eq!((new.role, new.former_since), (Some(Tagged), None));
}

#[tokio::test]
async fn the_overlap_continues_after_a_restart_and_a_zero_overlap_ends_at_once() {
    let mut world = world("loses-restart").await;
    world.generate(tagged(NEW));
    world.create_ready("long", pins(json!({ "overlap": "168h" }))).await;
    world.create_ready("none", pins(json!({ "overlap": "0s" }))).await;
    world.emulator.set_tags(&source(NEW), &[]);
    let resource = world.refresh("none").await;
    assert_eq!(held(&resource), [(ID, Main)]);
    let resource =
        world.until_it("long", "one list is for both", |resource| held(resource) == [(ID, Main), (NEW, Former)]).await;
    let since = entry(&resource, NEW).unwrap().former_since;
    world.stop_operator().await;
    world.start_operator().await;
    tokio::time::sleep(A_WHILE).await;
    let resource = world.resource("long").await;
    assert_eq!(entry(&resource, NEW).unwrap().former_since, since);

    // A certificate that other tags in the spec do not select leaves at once: it has not lost its tags. A deleted
    // former certificate leaves at once too.
    world.generate(tagged(NEWER));
    let resource = world.refresh("long").await;
    assert_eq!(held(&resource), [(ID, Main), (NEW, Former), (NEWER, Tagged)]);
    world.emulator.delete(&source(NEW));
    let tags = json!({ "spec": { "additionalClientCertificateTags": { "app": "orders" } } });
    world.patch("long", tags).await;
    world.until_it("long", "it leaves", |resource| held(resource) == [(ID, Main), (NEW, Former)]).await;
    let resource = world.refresh("long").await;
    assert_eq!(held(&resource), [(ID, Main)]);
    assert!(message(&resource, OTHERS).contains("no certificate in us-east-1 has the tag app=orders"));
}

#[tokio::test]
async fn a_named_certificate_needs_no_tag() {
    let world = world("named").await;
    world.generate(tagged(NEW));
    let spec = pins(json!({ "additionalClientCertificateIds": [NEW], "overlap": "0s" }));
    let resource = world.create_ready("payments", spec).await;
    assert_eq!(held(&resource), [(ID, Main), (NEW, Additional)], "the first role that fits");
    world.generate(tagged(NEWER));
    for id in [ID, NEW] {
        world.emulator.set_tags(&source(id), &[]);
    }
    let resource = world.refresh("payments").await;
    assert_eq!(held(&resource), [(ID, Main), (NEW, Additional), (NEWER, Tagged)]);

    // Of the certificates that are removed from the spec, the one with the tag stays, and the one without it leaves.
    world.emulator.set_tags(&source(ID), &[TAG]);
    world.refresh("payments").await;
    let end = json!({ "spec": { "clientCertificateId": NEWER, "additionalClientCertificateIds": null } });
    world.patch("payments", end).await;
    world.until_it("payments", "the spec decides", |resource| held(resource) == [(NEWER, Main), (ID, Tagged)]).await;
    world.patch("payments", json!({ "spec": { "additionalClientCertificateTags": null } })).await;
    let resource = world
        .until_it("payments", "the main one is alone", |resource| {
            held(resource) == [(NEWER, Main)] && condition(resource, OTHERS).is_none()
        })
        .await;
    assert!(condition(&resource, SWITCH).is_none());
}
