//! The renewal by tag, with the steps of its guide: no edit of a resource before the switch, and the switch waits for
//! `safeToSwitch`.

use client_certificate_operator::api::{ClientCertificateRef, VerifierClass};
use operator_testing::servers::{Server, Setup};
use operator_testing::wait::eventually;
use serde_json::json;

use super::load::Load;
use super::world::{Mirrored, NAME, NEW, OLD, permit, until_refused};
use crate::fixture::{SOON, conditions};
use crate::ground::source;

const REQUESTS: usize = 2_000;
const STEPS: usize = 4;
const TAG: (&str, &str) = ("app", "payments");

pub async fn under_load(setup: Setup) {
    let _permit = permit().await;
    let mut world = Mirrored::start("servers-tagged", &[setup]).await;
    let mut server = Server::start(setup, &world.mount).await.unwrap();
    let (old, new) = (world.client(&server, OLD), world.client(&server, NEW));
    // The spec sets the verifier class, because the keys do not determine it: some readers of PEM accept every
    // certificate.
    let class = Some(setup.class()).filter(|class| *class == VerifierClass::OverlapSafe);
    let tags = json!({ "app": "payments" });
    let spec = json!({ "additionalClientCertificateTags": tags, "soak": "1h", "target": { "verifierClass": class } });
    world.emulator.set_tags(&source(OLD), &[TAG]);
    world.patch(NAME, json!({ "spec": spec })).await;
    world.until(NAME, "AdditionalCertificatesRead", "True", "Read").await;
    let load = Load::start(old.clone());
    load.more(REQUESTS / STEPS).await;

    // The new certificate is made, and the server loads it within the soak.
    world.emulator.set_tags(&source(NEW), &[TAG]);
    world.refresh("made").await;
    world.until_held(&[OLD, NEW]).await;
    world.swap().await;
    server.reload().await.unwrap();
    assert_eq!(is_safe(&world.resource(NAME).await), Some(false), "the server has followed before that");
    load.more(REQUESTS / STEPS).await;
    // The soak ends.
    world.patch(NAME, json!({ "spec": { "soak": "1s" } })).await;
    if setup.class() == VerifierClass::FirstWins {
        let resource = world.until(NAME, "SafeToSwitch", "False", "FirstWins").await;
        assert_eq!(is_safe(&resource), Some(false));
        assert_eq!(load.stop().await.lost, Vec::<String>::new(), "nobody has switched");
        return;
    }

    // The client changes its certificate when the status allows it, and for no other reason.
    until(&world, "a stage may be switched", |resource| is_safe(resource) == Some(true)).await;
    load.change_over(new);
    load.more(REQUESTS / STEPS).await;
    world.patch(NAME, json!({ "spec": { "clientCertificateId": NEW } })).await;
    world.until_held(&[NEW, OLD]).await;
    world.swap().await;
    server.reload().await.unwrap();

    // The former certificate is deleted.
    world.emulator.delete(&source(OLD));
    world.refresh("deleted").await;
    world.until_held(&[NEW]).await;
    world.swap().await;
    server.reload().await.unwrap();
    until_refused(&old, OLD).await;
    load.more(REQUESTS / STEPS).await;
    let figures = load.stop().await;
    let line = figures.print(&format!("servers: renewal by tag under load: {}", setup.name()));
    assert!(figures.sent >= REQUESTS, "{line}");
    assert_eq!(figures.lost, Vec::<String>::new(), "{line}");
}

fn is_safe(resource: &ClientCertificateRef) -> Option<bool> {
    let held = resource.status.iter().flat_map(|status| &status.certificates).find(|held| held.id == NEW);
    held.and_then(|held| held.safe_to_switch)
}

async fn until(world: &Mirrored, what: &str, is: impl Fn(&ClientCertificateRef) -> bool) {
    eventually(SOON, what, async || {
        let resource = world.resource(NAME).await;
        if is(&resource) { Ok(()) } else { Err(conditions(&resource).join("; ")) }
    })
    .await;
}
