//! The renewal, with the steps of the guide, while a client sends requests without a pause.

use client_certificate_operator::api::VerifierClass;
use operator_testing::servers::{Server, Setup};

use super::load::Load;
use super::world::{Mirrored, NEW, OLD, permit, until_let_in, until_refused};

/// The number of requests before, between and after the steps. The claim is about all of them.
const REQUESTS: usize = 2_000;
const STEPS: usize = 4;

pub async fn under_load(setup: Setup) {
    let _permit = permit().await;
    let mut world = Mirrored::start("servers-renewal", &[setup]).await;
    let mut server = Server::start(setup, &world.mount).await.unwrap();
    let new = world.client(&server, NEW);
    let load = Load::start(world.client(&server, OLD));
    load.more(REQUESTS / STEPS).await;

    // The new certificate is added to the target.
    world.ask_for(&[OLD, NEW]).await;
    world.swap().await;
    server.reload().await.unwrap();
    if setup.class() == VerifierClass::OverlapSafe {
        until_let_in(&new, NEW).await;
    }
    load.more(REQUESTS / STEPS).await;
    assert_eq!(load.lost(), Vec::<String>::new(), "the server still lets the old one in");

    // The client changes its certificate: at any time if the server accepts both, and together with the order of the
    // two if it accepts only the first.
    if setup.class() == VerifierClass::FirstWins {
        world.ask_for(&[NEW, OLD]).await;
        world.swap().await;
        server.reload().await.unwrap();
        until_let_in(&new, NEW).await;
    }
    load.change_over(new);
    // Requests in progress with the old certificate get an answer.
    load.more(REQUESTS / STEPS).await;
    let lost = load.lost().len();

    // The old certificate is removed from the target.
    world.ask_for(&[NEW]).await;
    world.swap().await;
    server.reload().await.unwrap();
    until_refused(&world.client(&server, OLD), OLD).await;
    load.more(REQUESTS / STEPS).await;
    let figures = load.stop().await;

    let line = figures.print(&format!("servers: renewal under load: {}", setup.name()));
    assert!(figures.sent >= REQUESTS, "{line}");
    assert_eq!(figures.lost.len(), lost, "the new one alone is presented, and let in: {:?}", figures.lost);
    if setup.class() == VerifierClass::OverlapSafe {
        assert_eq!(figures.lost, Vec::<String>::new(), "{line}");
    }
}
