//! The behaviour of every set-up, as the guide documents it.

use client_certificate_operator::api::{Content, REFRESH_ANNOTATION, VerifierClass};
use operator_testing::certificates::NewCertificate;
use operator_testing::emulator::DEFAULT_REGION;
use operator_testing::servers::{Answer, Client, Identity, Server, Setup};
use operator_testing::wait::eventually;
use serde_json::json;

use super::world::{Mirrored, NAME, NEW, OLD, permit, stranger, until_let_in, until_refused};
use crate::fixture::SOON;
use crate::ground::source;

/// The server lets the right certificate in, and refuses no certificate and a stranger's. The swap of `..data` brings
/// another certificate. API Gateway's CRLF, its missing final newline, and invalid PEMs do not reach the server.
pub async fn one_certificate(setup: Setup) {
    let _permit = permit().await;
    let mut world = Mirrored::start("servers-one", &[setup]).await;
    let mut server = Server::start(setup, &world.mount).await.unwrap();
    let (old, new, stranger) = (world.identity(OLD), world.identity(NEW), stranger());
    let said = answers(&server, &[Some(&old), None, Some(&stranger), Some(&new)]).await;
    assert!(said[0].is_let_in(), "the right certificate: {}", said[0]);
    assert!(said[1].is_refused(), "no certificate: {}", said[1]);
    assert!(said[2].is_refused(), "a stranger's certificate of the same name: {}", said[2]);
    assert!(said[3].is_refused(), "another one of ours, which is not in the target: {}", said[3]);

    world.ask_for(&[NEW]).await;
    world.swap().await;
    if matches!(setup, Setup::NginxCa | Setup::NginxPins | Setup::HaproxyCa | Setup::HaproxyPins) {
        let said = answers(&server, &[Some(&old), Some(&new)]).await;
        assert!(said[0].is_let_in() && said[1].is_refused(), "before the reload: {}, {}", said[0], said[1]);
    }
    server.reload().await.unwrap();
    until_let_in(&world.client(&server, NEW), NEW).await;
    until_refused(&world.client(&server, OLD), OLD).await;

    let reported = world.emulator.certificate(&source(NEW)).unwrap().pem;
    assert!(reported.contains("\r\n") && !reported.ends_with('\n'), "API Gateway's own form: {reported:?}");
    let mounted = world.mount.data().unwrap();
    for (key, text) in mounted.iter().filter(|(key, _)| !key.starts_with("truststore")) {
        assert!(!text.contains(&b'\r') && text.ends_with(b"\n"), "{key}: {:?}", String::from_utf8_lossy(text));
    }
    // For any line length of API Gateway's PEM, the target has the one form that every server can load, and the server
    // lets the client in.
    let body: String = reported.lines().filter(|line| !line.starts_with('-')).collect();
    let of_columns = |columns: usize, end: &str| {
        let lines: Vec<&str> = body.as_bytes().chunks(columns).map(|line| std::str::from_utf8(line).unwrap()).collect();
        ["-----BEGIN CERTIFICATE-----", &lines.join(end), "-----END CERTIFICATE-----"].join(end)
    };
    for (n, form) in [of_columns(76, "\n"), of_columns(body.len(), "\r\n"), of_columns(64, "\r")].iter().enumerate() {
        assert!(world.emulator.set_pem(&source(NEW), form));
        let value = format!("form{n}");
        world.patch(NAME, json!({ "metadata": { "annotations": { REFRESH_ANNOTATION: value } } })).await;
        eventually(SOON, "it is read anew", async || {
            let handled = world.resource(NAME).await.status.and_then(|status| status.last_handled_refresh);
            if handled.as_ref() == Some(&value) { Ok(()) } else { Err(format!("{handled:?}")) }
        })
        .await;
        world.until_ready(NAME).await;
        assert_eq!(world.data().await, mounted, "after {form:?}");
    }
    until_let_in(&world.client(&server, NEW), NEW).await;
    assert!(world.emulator.set_pem(&source(NEW), &reported));
    let garbled = [reported.replace("MII", "MI!"), reported[..reported.len() / 2].to_owned(), String::new()];
    for (number, garbled) in garbled.iter().enumerate() {
        let id = format!("bad{number}");
        world.emulator.generate(DEFAULT_REGION, NewCertificate::new().id(&id));
        assert!(world.emulator.set_pem(&source(&id), garbled));
        world.patch(NAME, json!({ "spec": { "clientCertificateId": id } })).await;
        world.until(NAME, "CertificateRead", "False", "InvalidCertificate").await;
        assert_eq!(world.data().await, mounted, "after {garbled:?}");
    }
}

/// With two certificates in the target, in either order, the server lets those in that its verifier class implies. The
/// status shows the class, if the keys determine it.
pub async fn two_certificates(setup: Setup) {
    let _permit = permit().await;
    let mut world = Mirrored::start("servers-two", &[setup]).await;
    let mut server = Server::start(setup, &world.mount).await.unwrap();
    let stranger = stranger();
    let reported = world.resource(NAME).await.status.unwrap().verifier_class;
    // Servers of both classes read PEM, and HAProxy's target has a PEM key in addition to its pins.
    let of_pem = setup.keys().iter().any(|(_, content)| *content == Content::Bundle);
    assert_eq!(reported, Some(setup.class()).filter(|_| !of_pem));
    for (first, second) in [(OLD, NEW), (NEW, OLD)] {
        world.ask_for(&[first, second]).await;
        world.swap().await;
        server.reload().await.unwrap();
        until_let_in(&world.client(&server, first), first).await;
        let (one, two) = (world.identity(first), world.identity(second));
        if setup.class() == VerifierClass::OverlapSafe {
            until_let_in(&world.client(&server, second), second).await;
        }
        let said = answers(&server, &[Some(&one), Some(&two), Some(&stranger), None]).await;
        assert!(said[0].is_let_in(), "{first}, then {second}: the first: {}", said[0]);
        match setup.class() {
            VerifierClass::OverlapSafe => {
                assert!(said[1].is_let_in(), "{first}, then {second}: the second: {}", said[1])
            }
            VerifierClass::FirstWins => {
                assert!(said[1].is_refused(), "{first}, then {second}: the second: {}", said[1])
            }
        }
        assert!(said[2].is_refused() && said[3].is_refused(), "a stranger: {}; none: {}", said[2], said[3]);
    }
}

/// The server's answer to each identity, which has to be the same under TLS 1.2 and TLS 1.3.
pub async fn answers(server: &Server, identities: &[Option<&Identity>]) -> Vec<Answer> {
    let mut all = Vec::new();
    for identity in identities {
        let answer = Client::new(server, *identity).unwrap().get().await;
        let before = Client::of_tls12(server, *identity).unwrap().get().await;
        assert_eq!(answer.is_let_in(), before.is_let_in(), "TLS 1.3: {answer}; TLS 1.2: {before}");
        assert_eq!(answer.is_refused(), before.is_refused(), "TLS 1.3: {answer}; TLS 1.2: {before}");
        all.push(answer);
    }
    all
}
