//! The client that behaves like API Gateway presents what the stage does: shown by a real server that trusts one certificate.

use std::collections::BTreeMap;
use std::time::Duration;

use operator_testing::certificates::NewCertificate;
use operator_testing::emulator::{DEFAULT_REGION as REGION, Emulator, Presented, Presenter};
use operator_testing::servers::{Answer, Caller, Mount, Server, Setup};

use super::world::{NEW, OLD};
use crate::ground::source;

const API: &str = "a1b2c3d4e5";
const REQUESTS: usize = 40;
const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(300);

/// A stage that presents [`OLD`], and a server that trusts nothing else.
async fn world() -> (Emulator, Mount, Server) {
    let emulator = Emulator::start().await.unwrap();
    for id in [OLD, NEW] {
        emulator.generate(REGION, NewCertificate::new().id(id));
    }
    emulator.present(REGION, API, "prod", Some(OLD));
    let pem = emulator.certificate(&source(OLD)).unwrap().pem;
    let mount = Mount::new(&BTreeMap::from([("ca.crt".to_owned(), format!("{pem}\n").into_bytes())])).unwrap();
    let server = Server::start(Setup::Go, &mount).await.unwrap();
    (emulator, mount, server)
}

/// How many of some requests were let in.
async fn let_in(presenter: &Presenter) -> usize {
    let mut let_in = 0;
    for _ in 0..REQUESTS {
        let answer = presenter.call().await;
        assert!(answer.is_let_in() || answer.is_refused(), "{answer}");
        let_in += usize::from(answer.is_let_in());
    }
    let_in
}

#[tokio::test]
async fn both_are_presented_at_random_while_a_switch_propagates() {
    let (emulator, _mount, server) = world().await;
    let presenter = emulator.presenter(REGION, API, "prod", &server, LONG);
    assert_eq!(let_in(&presenter).await, REQUESTS);
    assert_eq!(presenter.presented_of(OLD), Presented { requests: REQUESTS, propagating: 0 });

    emulator.present(REGION, API, "prod", Some(NEW));
    let mixed = let_in(&presenter).await;
    assert!((REQUESTS / 4..REQUESTS * 3 / 4).contains(&mixed), "{mixed} of {REQUESTS} presented the former one");
    assert_eq!(presenter.presented_of(OLD), Presented { requests: REQUESTS + mixed, propagating: mixed });
    let new = REQUESTS - mixed;
    assert_eq!(presenter.presented_of(NEW), Presented { requests: new, propagating: new });
    let figures = format!(
        "{NEW} {new} times, {new} of them while propagating; {OLD} {} times, {mixed} of them while propagating",
        REQUESTS + mixed
    );
    assert_eq!(presenter.to_string(), figures);

    // The fleet does not forget a certificate because it was deleted.
    emulator.delete(&source(OLD));
    assert!(let_in(&presenter).await > 0);
    emulator.delete_stage(REGION, API, "prod");
    assert!(matches!(presenter.call().await, Answer::Failed(_)));
}

#[tokio::test]
async fn a_switch_that_has_propagated_is_complete() {
    let (emulator, _mount, server) = world().await;
    let presenter = emulator.presenter(REGION, API, "prod", &server, SHORT);
    let after = async |certificate: Option<&str>| {
        emulator.present(REGION, API, "prod", certificate);
        tokio::time::sleep(SHORT).await;
        let_in(&presenter).await
    };
    assert_eq!(after(Some(NEW)).await, 0);
    assert_eq!(presenter.presented_of(NEW), Presented { requests: REQUESTS, propagating: 0 });
    assert_eq!(after(None).await, 0, "a stage without a certificate presents none");
    assert_eq!(presenter.presented_of(Presenter::NOTHING).requests, REQUESTS);
    assert_eq!(after(Some(OLD)).await, REQUESTS);
}
