//! The description belongs to the certificate that the stage presents.

use super::*;

#[tokio::test]
async fn the_description_goes_to_what_the_stage_presents_now() {
    let world = world("description").await;
    let source = crate::ground::source;
    world.emulator.set_description(&source(NEW), "from outside");
    world.following("payments", json!({ "description": "payments, prod" })).await;
    world.until("payments", "DescriptionSynced", "True", "Synced").await;
    let description = |id: &str| world.emulator.certificate(&source(id)).unwrap().description;
    assert_eq!((description(ID).as_str(), description(NEW).as_str()), ("payments, prod", "from outside"));
    present(&world, Some(NEW));
    ask(&world, "payments").await;
    until(&world, "payments", "it follows", |resource| held(resource)[0].0 == NEW).await;
    eventually(SOON, "the new one is described", async || {
        let found = description(NEW);
        if found == "payments, prod" { Ok(()) } else { Err(found) }
    })
    .await;
    world.until("payments", "DescriptionSynced", "True", "Synced").await;
    assert_eq!(description(ID), "payments, prod", "the former one is left as it is");
    // Nobody describes the former one any more: who names it by its id may.
    world.create_ready("former", json!({ "description": "retired" })).await;
    world.until("former", "DescriptionSynced", "True", "Synced").await;
    assert_eq!((description(ID).as_str(), description(NEW).as_str()), ("retired", "payments, prod"));
}
