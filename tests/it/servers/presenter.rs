//! The client that behaves like API Gateway presents the certificate of the stage. A real server that trusts one
//! certificate shows it.

use std::collections::BTreeMap;
use std::time::Duration;

use operator_testing::certificates::NewCertificate;
use operator_testing::emulator::{DEFAULT_REGION as REGION, Emulator, Presented, Presenter};
use operator_testing::private_ca::{NewLeaf, PrivateCa};
use operator_testing::servers::{Answer, Caller, Mount, Server, Setup};

use super::world::{NEW, OLD};
use crate::ground::source;

const API: &str = "a1b2c3d4e5";
const REQUESTS: usize = 40;
const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(300);

/// A stage that presents [`OLD`], and a server that trusts only [`OLD`].
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

/// The number of requests that were let in.
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
async fn both_certificates_are_presented_at_random_while_a_switch_propagates() {
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

    // API Gateway keeps presenting a deleted certificate.
    emulator.delete(&source(OLD));
    assert!(let_in(&presenter).await > 0);
    emulator.delete_stage(REGION, API, "prod");
    assert!(matches!(presenter.call().await, Answer::Failed(_)));
}

#[tokio::test]
async fn a_propagated_switch_is_complete() {
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

/// The server trusts only the root of the old certificate, so it lets in only clients that present the intermediate
/// too.
#[tokio::test]
async fn a_reimport_into_acm_propagates_like_a_switch() {
    let emulator = Emulator::start().await.unwrap();
    emulator.generate(REGION, NewCertificate::new().id(OLD).shared_key());
    let roots = ["old", "new"].map(PrivateCa::root);
    let [old, new] = [0, 1].map(|n| roots[n].intermediate("intermediate").issue(NewLeaf::new("payments")));
    let trusted = roots[0].certificate().as_bytes().to_vec();
    let mount = Mount::new(&BTreeMap::from([("ca.crt".to_owned(), trusted)])).unwrap();
    let server = Server::start(Setup::Go, &mount).await.unwrap();
    let arn = emulator.import_acm(REGION, old.clone());
    emulator.present(REGION, "acm0000000", "prod", Some(&arn));
    let presenter = emulator.presenter(REGION, "acm0000000", "prod", &server, LONG);
    assert_eq!(let_in(&presenter).await, REQUESTS);
    assert_eq!(presenter.presented_of(&old.serial_number), Presented { requests: REQUESTS, propagating: 0 });

    emulator.put_acm(&arn, new.clone());
    let mixed = let_in(&presenter).await;
    assert!((REQUESTS / 4..REQUESTS * 3 / 4).contains(&mixed), "{mixed} of {REQUESTS} presented the former one");
    let left = REQUESTS - mixed;
    assert_eq!(presenter.presented_of(&new.serial_number), Presented { requests: left, propagating: left });

    // After a switch between the kinds of certificates, the former one is presented for a while too.
    emulator.present(REGION, "acm0000000", "prod", Some(OLD));
    let_in(&presenter).await;
    let names: Vec<_> = [OLD, &old.serial_number, &new.serial_number].map(|name| presenter.presented_of(name)).into();
    assert!(names[0].propagating > 0 && names[1].propagating > mixed && names[2].propagating > left, "{presenter}");
    tokio::time::sleep(SHORT).await;
    let later = emulator.presenter(REGION, "acm0000000", "prod", &server, SHORT);
    emulator.present(REGION, "acm0000000", "prod", Some(&arn));
    tokio::time::sleep(SHORT).await;
    assert_eq!(let_in(&later).await, 0, "the new one alone");
    assert_eq!(later.presented_of(&new.serial_number), Presented { requests: REQUESTS, propagating: 0 });
}
