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
    let calls = || world.emulator.count(operator_testing::script::Operation::GetStages);
    let before = calls();
    eventually(SOON, "the operator asks twice", async || calls() > before + 1).await;
    tokio::time::sleep(crate::fixture::A_WHILE).await;
    assert_eq!(world.emulator.certificate(&id).unwrap().description, "retired");
    world.emulator.clear_faults();
    world.until_it("payments", "it follows", |resource| held(resource)[0].0 == NEW).await;
    world.until("payments", "DescriptionSynced", "True", "Synced").await;
    assert_eq!(world.emulator.certificate(&id).unwrap().description, "retired");
}

#[tokio::test]
async fn no_younger_resource_sends_a_description_while_the_stage_of_the_owner_is_unread() {
    use operator_testing::emulator::Fault;
    use operator_testing::script::Operation::{Get, GetStages, List};
    let mut world = quiet_world("younger-description").await;
    let source = crate::ground::source;
    let description = |world: &World<'_>, id: &str| world.emulator.certificate(&source(id)).unwrap().description;
    let fail = |operation| Fault::error(503, "", "no").on(operation);
    // A list would bring the new certificate before any resource names it.
    let denied_list = || Fault::error(403, "AccessDeniedException", "no").on(List);
    let by_id =
        |name: &str, id: &str| json!({ "clientCertificateId": id, "description": name, "refreshInterval": "30s" });
    world.emulator.inject(denied_list());
    world.start_operator().await;
    world.following("first", json!({ "description": "of the first" })).await;
    world.until("first", "DescriptionSynced", "True", "Synced").await;
    world.create_resource("of-former", by_id("of-former", ID)).await;
    world.until("of-former", "DescriptionSynced", "False", "OwnedByAnother").await;

    // The stage is switched while the operator is away, and the operator cannot read the stage at first.
    world.stop_operator().await;
    present(&world, Some(NEW));
    world.emulator.set_description(&source(ID), "from outside");
    world.emulator.inject(fail(GetStages));
    world.start_operator().await;
    world.refresh("of-former").await;
    tokio::time::sleep(crate::fixture::A_WHILE).await;
    assert_eq!(description(&world, ID), "from outside");

    // The operator reads the stage, but not the new certificate.
    world.emulator.clear_faults();
    world.emulator.inject(denied_list());
    world.emulator.inject(fail(Get).of(NEW));
    let is_switched = |resource: &ClientCertificateRef| {
        let presents = stage(resource).and_then(|stage| stage.client_certificate_id.as_deref());
        presents == Some(NEW) && held(resource)[0].0 == ID
    };
    world.until_it("first", "the new certificate is unread", is_switched).await;
    world.until("of-former", "DescriptionSynced", "True", "Synced").await;
    assert_eq!(description(&world, ID), "of-former");
    world.create_resource("of-new", by_id("of-new", NEW)).await;

    // After a restart, the operator reads the new certificate, but not the stage.
    world.stop_operator().await;
    world.emulator.clear_faults();
    world.emulator.set_description(&source(NEW), "from outside");
    world.emulator.inject(fail(GetStages));
    world.start_operator().await;
    world.until_ready("of-new").await;
    world.refresh("of-new").await;
    tokio::time::sleep(crate::fixture::A_WHILE).await;
    assert_eq!(description(&world, NEW), "from outside");

    world.emulator.clear_faults();
    world.ask_now("first").await;
    eventually(SOON, "the owner describes the new certificate", async || {
        let found = description(&world, NEW);
        if found == "of the first" { Ok(()) } else { Err(found) }
    })
    .await;
    world.until("of-new", "DescriptionSynced", "False", "OwnedByAnother").await;
    assert_eq!(description(&world, ID), "of-former");
}
