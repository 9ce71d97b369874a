//! A switch of a stage during calls, with every set-up that accepts two certificates: prepared by tag, and switched
//! when the status allows it. For half a minute, API Gateway presents the former certificate or the new one at random.

use std::time::{Duration, Instant};

use client_certificate_operator::api::VerifierClass;
use operator_testing::emulator::{DEFAULT_REGION as REGION, Presenter};
use operator_testing::servers::{Server, Setup};
use serde_json::json;

use super::load::Load;
use super::world::{Mirrored, NAME, NEW, OLD, permit, until_let_in, until_refused};
use crate::ground::source;

const API: &str = "a1b2c3d4e5";
const STAGE: &str = "/restapis/a1b2c3d4e5/stages/prod";
const TAG: (&str, &str) = ("app", "payments");
const REQUESTS: usize = 2_000;
/// The time for which API Gateway presents both.
const PROPAGATION: Duration = Duration::from_secs(30);
/// The pause limits each server to 40 requests a second, because seven servers share a machine with the other tests.
const PAUSE: Duration = Duration::from_millis(100);

#[tokio::test]
async fn no_call_is_lost_while_a_switch_propagates() {
    let _permit = permit().await;
    let setups: Vec<Setup> =
        Setup::ALL.into_iter().filter(|setup| setup.class() == VerifierClass::OverlapSafe).collect();
    let mut world = Mirrored::start("servers-staged", &setups).await;
    let mut servers = Vec::new();
    for setup in setups {
        servers.push(Server::start(setup, &world.mount).await.unwrap());
    }

    // The resource has named a certificate so far. Now it follows the stage that presents this certificate.
    world.emulator.present(REGION, API, "prod", Some(OLD));
    let spec = json!({
        "clientCertificateId": null,
        "stage": { "restApiId": API, "stageName": "prod" },
        "additionalClientCertificateTags": { "app": "payments" },
        "soak": "10s",
        "overlap": "10m",
        "target": { "verifierClass": VerifierClass::OverlapSafe },
    });
    world.patch(NAME, json!({ "spec": spec })).await;
    world.until_status("the stage presents the old one", "/stage/clientCertificateId", |id| id == OLD).await;
    world.until_held(&[OLD]).await;
    let loads: Vec<(Load<Presenter>, Presenter)> = servers
        .iter()
        .map(|server| world.emulator.presenter(REGION, API, "prod", server, PROPAGATION))
        .map(|presenter| (Load::pausing(presenter.clone(), PAUSE), presenter))
        .collect();

    // Prepared: every server has loaded the new target before `safeToSwitch` is true.
    world.emulator.set_tags(&source(NEW), &[TAG]);
    world.refresh("made").await;
    world.until_held(&[OLD, NEW]).await;
    world.follow(&mut servers).await;
    for server in &servers {
        until_let_in(&world.client(server, NEW), server.setup().name()).await;
    }
    world.until_status("the new one is safe", "/certificates/1/safeToSwitch", |safe| *safe == true).await;

    // Switched, without an edit of the resource.
    let patch = json!({ "patchOperations": [{ "op": "replace", "path": "/clientCertificateId", "value": NEW }] });
    let answer = world.emulator.signed(REGION, "PATCH", STAGE, &patch.to_string()).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let switched = Instant::now();
    world.refresh("switched").await;
    world.until_held(&[NEW, OLD]).await;
    world.until_status("the old one is a former one", "/certificates/1/role", |role| role == "Former").await;
    world.follow(&mut servers).await;
    tokio::time::sleep(PROPAGATION.saturating_sub(switched.elapsed())).await;

    // A shorter overlap ends the former certificate early.
    world.patch(NAME, json!({ "spec": { "overlap": "1s" } })).await;
    world.until_held(&[NEW]).await;
    world.follow(&mut servers).await;
    for server in &servers {
        until_refused(&world.client(server, OLD), OLD).await;
    }
    for ((load, presenter), server) in loads.into_iter().zip(&servers) {
        load.in_all(REQUESTS).await;
        let figures = load.stop().await;
        let line = figures.print(&format!("servers: a stage switch under load: {}", server.setup().name()));
        let line = format!("{line}: {presenter}");
        eprintln!("  presented {presenter}");
        assert!(figures.sent >= REQUESTS, "{line}");
        assert_eq!(figures.lost, Vec::<String>::new(), "{line}");
        let (old, new) = (presenter.presented_of(OLD), presenter.presented_of(NEW));
        // This is not a limit of speed: each certificate is presented half of the time.
        assert!(old.propagating.min(new.propagating) >= 10, "both were presented: {line}");
        assert!(old.requests > old.propagating && new.requests > new.propagating, "before and after, too: {line}");
    }
}
