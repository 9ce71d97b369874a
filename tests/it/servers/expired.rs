//! A certificate that expires while servers have it. All servers are tested at once, with a single wait.

use std::time::Duration;

use jiff::Timestamp;
use operator_testing::certificates::NewCertificate;
use operator_testing::emulator::DEFAULT_REGION;
use operator_testing::servers::{Answer, Server, Setup};

use super::world::{Mirrored, NEW, permit, until_let_in, until_refused};

/// A certificate that expires soon, and its validity in seconds: many times the time that all servers need to let it
/// in.
const SHORT: &str = "short1";
const LIFE: i64 = 20;

#[tokio::test]
async fn an_expired_certificate_is_refused_as_in_the_guide_and_by_all_after_its_removal() {
    let (mut world, mut servers) = with_short_lived("servers-expired", &Setup::ALL, &[]).await;
    assert_eq!(world.data().await, world.mount.data().unwrap(), "nothing valid is left: the target stays as it is");
    for server in &servers {
        let (setup, said) = (server.setup(), world.client(server, SHORT).get().await);
        match setup {
            // nginx refuses the expired certificate before it compares pins.
            Setup::NginxPins => assert_eq!(said, Answer::Status(400), "{}", setup.name()),
            _ if setup.refuses_expired() => assert!(said.is_refused(), "{} lets it in: {said}", setup.name()),
            _ => assert!(said.is_let_in(), "{} looks at no date: {said}", setup.name()),
        }
    }

    world.ask_for(&[NEW]).await;
    follow(&mut world, &mut servers).await;
}

/// The effect of an expired certificate in a target, which the operator prevents by leaving it out.
#[tokio::test]
async fn an_expired_first_certificate_blocks_the_valid_one_only_in_envoy_until_its_removal() {
    let setups = [Setup::NginxCa, Setup::HaproxyCa, Setup::EnvoyCa, Setup::Go, Setup::JavaPem];
    let (mut world, mut servers) = with_short_lived("servers-expired-first", &setups, &[NEW]).await;
    for server in &servers {
        let (setup, said) = (server.setup(), world.client(server, NEW).get().await);
        match setup {
            Setup::EnvoyCa => assert!(said.is_refused(), "{} lets the valid one in: {said}", setup.name()),
            _ => assert!(said.is_let_in(), "{} refuses the valid one: {said}", setup.name()),
        }
    }

    // The resource has not changed.
    world.until_held(&[NEW]).await;
    follow(&mut world, &mut servers).await;
}

/// Servers that have let in the first certificate of the target, which has expired since.
async fn with_short_lived(prefix: &str, setups: &[Setup], others: &[&str]) -> (Mirrored, Vec<Server>) {
    let permit = permit().await;
    let mut world = Mirrored::start(prefix, setups).await;
    let mut servers = Vec::new();
    for setup in setups {
        servers.push(Server::start(*setup, &world.mount).await.unwrap());
    }

    let made = world.emulator.generate(DEFAULT_REGION, NewCertificate::new().id(SHORT).expires_in_seconds(LIFE));
    world.ask_for(&[&[SHORT], others].concat()).await;
    world.swap().await;
    for server in &mut servers {
        server.reload().await.unwrap();
        until_let_in(&world.client(server, SHORT), server.setup().name()).await;
    }
    drop(permit);

    // The wait ends after the last second of the validity.
    let left = Timestamp::now().duration_until(made.expires.unwrap()).as_secs_f64() + 1.5;
    assert!(left > 0.0, "the servers took longer to follow than the certificate lives");
    tokio::time::sleep(Duration::from_secs_f64(left)).await;
    (world, servers)
}

/// Waits until all servers let in the valid certificate and refuse the expired one.
async fn follow(world: &mut Mirrored, servers: &mut [Server]) {
    world.swap().await;
    for server in servers {
        server.reload().await.unwrap();
        until_let_in(&world.client(server, NEW), server.setup().name()).await;
        until_refused(&world.client(server, SHORT), server.setup().name()).await;
    }
}
