//! The description belongs to the certificate that the stage presents.

use super::*;

#[tokio::test]
async fn the_description_goes_to_the_current_certificate_of_the_stage() {
    let world = world("description").await;
    let source = crate::ground::source;
    world.emulator.set_description(&source(NEW), "from outside");
    world.following("payments", json!({ "description": "payments, prod" })).await;
    world.until("payments", "DescriptionSynced", "True", "Synced").await;
    let description = |id: &str| world.emulator.certificate(&source(id)).unwrap().description;
    assert_eq!((description(ID).as_str(), description(NEW).as_str()), ("payments, prod", "from outside"));
    present(&world, Some(NEW));
    world.ask_now("payments").await;
    world.until_it("payments", "it follows", |resource| held(resource)[0].0 == NEW).await;
    eventually(SOON, "the new one is described", async || {
        let found = description(NEW);
        if found == "payments, prod" { Ok(()) } else { Err(found) }
    })
    .await;
    world.until("payments", "DescriptionSynced", "True", "Synced").await;
    assert_eq!(description(ID), "payments, prod", "the former one is left as it is");
    // No other writer has undone an update: the new certificate had no description before.
    let events = eventually(SOON, "both updates have an event", async || {
        let events = world.events("payments").await;
        let of_description = events.iter().filter(|(key, _)| key.starts_with("Normal Description"));
        if of_description.map(|(_, count)| count).sum::<i32>() == 2 { Ok(events) } else { Err(format!("{events:?}")) }
    })
    .await;
    assert_eq!(events.get("Normal DescriptionRestored"), None, "{events:?}");
    // No resource describes the former certificate any more, so a resource that names it by id may.
    world.create_ready("former", json!({ "description": "retired" })).await;
    world.until("former", "DescriptionSynced", "True", "Synced").await;
    assert_eq!((description(ID).as_str(), description(NEW).as_str()), ("retired", "payments, prod"));
}

#[tokio::test]
async fn a_former_certificate_of_the_stage_receives_no_description() {
    let world = world("undescribed").await;
    let id = crate::ground::source(ID);
    world.following("payments", json!({ "description": "payments, prod" })).await;
    world.until("payments", "DescriptionSynced", "True", "Synced").await;
    present(&world, None);
    world.emulator.set_description(&id, "retired");
    world.ask_now("payments").await;
    world.until("payments", READ, "False", "StageHasNoCertificate").await;
    world.refresh("payments").await;
    tokio::time::sleep(crate::fixture::A_WHILE).await;
    assert_eq!(world.emulator.certificate(&id).unwrap().description, "retired");
    // A younger resource that names the certificate by id may describe it now.
    world.create_ready("named", json!({ "description": "of another" })).await;
    world.until("named", "DescriptionSynced", "True", "Synced").await;
    assert_eq!(world.emulator.certificate(&id).unwrap().description, "of another");
}

#[tokio::test]
async fn before_the_first_read_of_the_stage_no_description_is_sent() {
    let mut world = world("unread-description").await;
    let id = crate::ground::source(ID);
    world.following("payments", json!({ "description": "payments, prod" })).await;
    world.until("payments", "DescriptionSynced", "True", "Synced").await;
    world.stop_operator().await;
    present(&world, Some(NEW));
    world.emulator.set_description(&id, "retired");
    let fault =
        operator_testing::emulator::Fault::error(503, "", "no").on(operator_testing::script::Operation::GetStages);
    world.emulator.inject(fault);
    world.start_operator().await;
    tokio::time::sleep(crate::fixture::A_WHILE * 2).await;
    assert!(world.emulator.count(operator_testing::script::Operation::GetStages) > 0);
    assert_eq!(world.emulator.certificate(&id).unwrap().description, "retired");
    world.emulator.clear_faults();
    world.until_it("payments", "it follows", |resource| held(resource)[0].0 == NEW).await;
    world.until("payments", "DescriptionSynced", "True", "Synced").await;
    assert_eq!(world.emulator.certificate(&id).unwrap().description, "retired");
}
