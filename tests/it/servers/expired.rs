//! A certificate that expires while it is in the target, before every server at once: there is one wait for all.

use std::time::Duration;

use jiff::Timestamp;
use operator_testing::certificates::NewCertificate;
use operator_testing::servers::{Server, Setup};

use super::world::{Mirrored, NEW, OLD, turn, until_let_in, until_refused};
use crate::ground::source;

/// From when the certificate is made until all servers have let it in.
const LIFE: i64 = 25;

#[tokio::test]
async fn an_expired_certificate_is_refused_where_the_guide_says_so_and_everywhere_once_it_is_dropped() {
    let _turn = turn().await;
    let mut world =
        Mirrored::start("servers-expired", &Setup::ALL, NewCertificate::new().expires_in_seconds(LIFE)).await;
    let mut servers = Vec::new();
    for setup in Setup::ALL {
        let server = Server::start(setup, &world.mount).await.unwrap();
        let said = world.client(&server, OLD).get().await;
        assert!(said.is_let_in(), "{} before it expires: {said}", setup.name());
        servers.push(server);
    }

    let end = world.emulator.certificate(&source(OLD)).unwrap().expires.unwrap();
    // Past the last second, in which it is good.
    let left = Timestamp::now().duration_until(end).as_secs_f64() + 1.5;
    assert!(left > 0.0, "the servers took longer to start than the certificate lives");
    tokio::time::sleep(Duration::from_secs_f64(left)).await;
    assert_eq!(world.data().await, world.mount.data().unwrap(), "nothing valid is left: the target stays as it is");
    for server in &servers {
        let (setup, said) = (server.setup(), world.client(server, OLD).get().await);
        match setup.refuses_expired() {
            true => assert!(said.is_refused(), "{} lets an expired one in: {said}", setup.name()),
            false => assert!(said.is_let_in(), "{} does not look at dates: {said}", setup.name()),
        }
    }

    world.ask_for(&[NEW]).await;
    world.swap().await;
    for server in &mut servers {
        server.reload().await.unwrap();
        until_let_in(&world.client(server, NEW), server.setup().name()).await;
        until_refused(&world.client(server, OLD), server.setup().name()).await;
    }
}
