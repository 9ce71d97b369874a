//! The renewal, step by step as the guide has it, while a client sends requests without pause.

use client_certificate_operator::api::VerifierClass;
use operator_testing::servers::{Server, Setup};

use super::load::Load;
use super::world::{Mirrored, NEW, OLD, turn, until_let_in, until_refused};

/// Requests before, between and after the steps: what is claimed is claimed of all of them together.
const REQUESTS: usize = 2_000;
const STEPS: usize = 4;

pub async fn under_load(setup: Setup) {
    let _turn = turn().await;
    let mut world = Mirrored::start("servers-renewal", &[setup]).await;
    let mut server = Server::start(setup, &world.mount).await.unwrap();
    let new = world.client(&server, NEW);
    let load = Load::start(world.client(&server, OLD));
    load.more(REQUESTS / STEPS).await;

    // The new one is made known.
    world.ask_for(&[OLD, NEW]).await;
    world.swap().await;
    server.reload().await.unwrap();
    if setup.class() == VerifierClass::OverlapSafe {
        until_let_in(&new, NEW).await;
    }
    load.more(REQUESTS / STEPS).await;
    assert_eq!(load.lost(), 0, "nothing has changed for the old one yet");

    // The client changes over: at any time where both are let in, and with the order of the two where the first wins.
    if setup.class() == VerifierClass::FirstWins {
        world.ask_for(&[NEW, OLD]).await;
        world.swap().await;
        server.reload().await.unwrap();
        until_let_in(&new, NEW).await;
    }
    load.change_over(new);
    // What was under way with the old one is answered.
    load.more(REQUESTS / STEPS).await;
    let lost = load.lost();

    // The old one goes.
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
