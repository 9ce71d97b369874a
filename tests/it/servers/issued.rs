//! Certificates of ACM before real servers: whom a chain and a pin let in, and what a re-import costs.

use std::time::{Duration, Instant};

use client_certificate_operator::api::VerifierClass;
use operator_testing::emulator::{DEFAULT_REGION as REGION, Presented, Presenter};
use operator_testing::private_ca::{Chain, Leaf, NewLeaf, PrivateCa};
use operator_testing::servers::{Client, Identity, Server, Setup};
use operator_testing::wait::eventually;
use serde_json::{Value, json};

use super::load::Load;
use super::stories::answers;
use super::world::{Mirrored, NAME, OLD, turn, until_let_in, until_refused};
use crate::fixture::SOON;

const API: &str = "a1b2c3d4e5";
const STAGE: &str = "/restapis/a1b2c3d4e5/stages/prod";
const REQUESTS: usize = 2_000;
/// How long the fleet presents both.
const PROPAGATION: Duration = Duration::from_secs(30);
/// So that ten servers share a machine with the other tests: 40 requests a second each at most.
const PAUSE: Duration = Duration::from_millis(100);
/// Requests that are under way at once are answered once so many more were.
const ANSWERED: usize = 8;

/// The right certificate is let in by its chain or its pin. So is another one of its CA, unless there are pins: what every server of
/// a target with a chain has to know. A CA of the same names, and nobody, are refused.
pub async fn one_certificate(setup: Setup) {
    let _turn = turn().await;
    let mut world = Mirrored::start("servers-issued", &[setup]).await;
    let ca = issuing();
    let (leaf, sibling, stranger) = (ca.issue(payments()), ca.issue(payments()), issuing().issue(payments()));
    let arn = world.emulator.import_acm(REGION, leaf.clone());
    world.patch(NAME, json!({ "spec": { "clientCertificateId": null, "acmCertificateArn": arn } })).await;
    world.until_held(&[&arn]).await;
    // Whatever the server does with two of API Gateway's own.
    let told = world.resource(NAME).await.status.unwrap().verifier_class;
    assert_eq!(told, Some(VerifierClass::OverlapSafe));
    world.swap().await;
    let server = Server::start(setup, &world.mount).await.unwrap();

    let generated = world.identity(OLD);
    let [leaf, sibling, stranger] = [&leaf, &sibling, &stranger].map(identity);
    let said = answers(&server, &[Some(&leaf), Some(&sibling), Some(&stranger), Some(&generated), None]).await;
    assert!(said[0].is_let_in(), "the right certificate: {}", said[0]);
    match setup.has_pins() {
        true => assert!(said[1].is_refused(), "another one of its CA, beside the pins: {}", said[1]),
        false => assert!(said[1].is_let_in(), "another one of its CA: {}", said[1]),
    }
    assert!(said[2].is_refused(), "one of a CA of the same names: {}", said[2]);
    assert!(said[3].is_refused(), "the generated one, which the target held: {}", said[3]);
    assert!(said[4].is_refused(), "no certificate: {}", said[4]);
}

/// ACM may have been given the chain without its root. OpenSSL wants the root; all others take the word of the CA below it.
#[tokio::test]
async fn a_chain_without_its_root_is_refused_where_openssl_asks() {
    let _turn = turn().await;
    let setups: Vec<Setup> = Setup::ALL.into_iter().filter(|setup| !setup.has_pins()).collect();
    let ca = issuing();
    let [leaf, whole] = [Chain::WithoutRoot, Chain::Full].map(|chain| ca.issue(payments().chain(chain)));
    let mut world = Mirrored::start("servers-issued-rootless", &setups).await;
    let arn = world.emulator.import_acm(REGION, leaf.clone());
    world.patch(NAME, json!({ "spec": { "clientCertificateId": null, "acmCertificateArn": arn } })).await;
    world.until_held(&[&arn]).await;
    let mut servers = started(&mut world, &setups).await;
    for server in &servers {
        let (setup, said) = (server.setup(), answers(server, &[Some(&identity(&leaf))]).await.remove(0));
        match setup {
            Setup::NginxCa | Setup::HaproxyCa => assert!(said.is_refused(), "{} lets it in: {said}", setup.name()),
            _ => assert!(said.is_let_in(), "{} refuses it: {said}", setup.name()),
        }
    }

    // The same certificate, once its chain was imported as a whole.
    world.emulator.put_acm(&arn, Leaf { chain: whole.chain, ..leaf.clone() });
    world.refresh("whole").await;
    world.until_status("the chain is whole", "/certificates/0/chain/1", Value::is_string).await;
    world.until_held(&[&arn]).await;
    world.follow(&mut servers).await;
    for server in &servers {
        until_let_in(&client(server, &leaf), server.setup().name()).await;
    }
}

/// Where a chain is asked, a re-import costs nothing, and nobody has to prepare it. Where the leaf or its key is pinned, the new one is
/// refused until the pins have followed, and both are let in from then on.
#[tokio::test]
async fn a_re_import_under_load_costs_nothing_before_a_chain_and_before_pins_until_they_follow() {
    let _turn = turn().await;
    let ca = issuing();
    let (first, second) = (ca.issue(payments()), ca.issue(payments()));
    let mut world = Mirrored::start("servers-issued-import", &Setup::ALL).await;
    let arn = world.emulator.import_acm(REGION, first.clone());
    world.emulator.present(REGION, API, "prod", Some(&arn));
    let spec = json!({ "clientCertificateId": null, "stage": stage(), "overlap": "40s" });
    world.patch(NAME, json!({ "spec": spec })).await;
    world.until_held(&[&arn]).await;
    let mut servers = started(&mut world, &Setup::ALL).await;
    let loads = loads(&world, &servers);
    for (load, _) in &loads {
        load.more(REQUESTS / 10).await;
        assert_eq!(load.lost(), 0);
    }

    // Imported: nobody was told before.
    world.emulator.put_acm(&arn, second.clone());
    let imported = Instant::now();
    for ((load, _), server) in loads.iter().zip(&servers).filter(|(_, server)| server.setup().has_pins()) {
        let what = format!("{} refuses the new one", server.setup().name());
        eventually(SOON, &what, async || if load.lost() > 0 { Ok(()) } else { Err("it does not") }).await;
    }
    world.refresh("imported").await;
    world.until_held(&[&arn, &arn]).await;
    world.until_status("the first one is a former one", "/certificates/1/role", |role| role == "Former").await;
    world.follow(&mut servers).await;
    let mut lost = Vec::new();
    for ((load, _), server) in loads.iter().zip(&servers) {
        until_let_in(&client(server, &second), server.setup().name()).await;
        load.more(ANSWERED).await;
        lost.push(load.lost());
    }
    let followed = imported.elapsed();
    assert!(followed < PROPAGATION, "both are still presented, to servers that know both: {followed:?}");
    tokio::time::sleep(PROPAGATION.saturating_sub(imported.elapsed())).await;

    // Dropped from the pins once its overlap is over. It stays a certificate of the CA.
    world.until_held(&[&arn]).await;
    world.follow(&mut servers).await;
    for server in &servers {
        match server.setup().has_pins() {
            true => until_refused(&client(server, &first), server.setup().name()).await,
            false => until_let_in(&client(server, &first), server.setup().name()).await,
        }
    }
    for (((load, presenter), server), lost) in loads.into_iter().zip(&servers).zip(lost) {
        let setup = server.setup();
        let line = stopped("a re-import into ACM under load", load, &presenter, setup, lost).await;
        assert_eq!(lost > 0, setup.has_pins(), "{line}");
        let [old, new] = [&first, &second].map(|leaf| presenter.presented_of(&leaf.serial_number));
        assert!(lost <= new.propagating, "only the new one was refused: {line}");
        are_both_presented(old, new, &line);
    }
}

/// From a generated certificate to one of ACM, and through two renewals with the key that it has: no server loses a request that asks
/// for a chain, or for the key.
#[tokio::test]
async fn a_stage_goes_from_a_generated_certificate_to_acm_and_through_two_re_imports_without_a_lost_call() {
    let _turn = turn().await;
    let setups: Vec<Setup> =
        Setup::ALL.into_iter().filter(|setup| !setup.has_pins() || *setup == Setup::EnvoySpki).collect();
    let ca = issuing();
    let first = ca.issue(payments());
    let renewed = [(); 2].map(|()| ca.issue(payments().key_of(&first)));
    let mut world = Mirrored::start("servers-issued-story", &setups).await;
    world.emulator.present(REGION, API, "prod", Some(OLD));
    let spec = json!({ "clientCertificateId": null, "stage": stage(), "overlap": "10m" });
    world.patch(NAME, json!({ "spec": spec })).await;
    world.until_status("the stage presents a generated one", "/stage/clientCertificateId", |id| id == OLD).await;
    world.until_held(&[OLD]).await;
    let mut servers = started(&mut world, &setups).await;
    let loads = loads(&world, &servers);

    // Prepared: the target holds the chain and the generated one. They have different names, so every server takes both.
    let arn = world.emulator.import_acm(REGION, first.clone());
    let spec = json!({ "stage": null, "acmCertificateArn": arn, "additionalClientCertificateIds": [OLD] });
    world.patch(NAME, json!({ "spec": spec })).await;
    world.until_held(&[&arn, OLD]).await;
    world.follow(&mut servers).await;
    for server in &servers {
        until_let_in(&client(server, &first), server.setup().name()).await;
        until_let_in(&world.client(server, OLD), server.setup().name()).await;
    }

    // Switched, and followed from here on.
    let patch = json!({ "patchOperations": [{ "op": "replace", "path": "/clientCertificateId", "value": arn }] });
    let answer = world.emulator.signed(REGION, "PATCH", STAGE, &patch.to_string()).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let switched = Instant::now();
    world.patch(NAME, json!({ "spec": { "stage": stage(), "acmCertificateArn": null } })).await;
    world.until_status("the stage presents it", "/stage/clientCertificateId", |id| *id == arn).await;
    world.until_held(&[&arn, OLD]).await;
    world.follow(&mut servers).await;
    tokio::time::sleep(PROPAGATION.saturating_sub(switched.elapsed())).await;
    world.patch(NAME, json!({ "spec": { "additionalClientCertificateIds": null } })).await;
    world.until_held(&[&arn]).await;
    world.follow(&mut servers).await;
    for server in &servers {
        until_refused(&world.client(server, OLD), OLD).await;
    }

    // Renewed twice: nobody edits the resource.
    for (number, leaf) in (1..).zip(&renewed) {
        world.emulator.put_acm(&arn, leaf.clone());
        let imported = Instant::now();
        world.refresh(&format!("import {number}")).await;
        world.until_held(&vec![arn.as_str(); number + 1]).await;
        world.follow(&mut servers).await;
        tokio::time::sleep(PROPAGATION.saturating_sub(imported.elapsed())).await;
    }
    for ((load, presenter), server) in loads.into_iter().zip(&servers) {
        load.more(ANSWERED).await;
        let line = stopped("from generated to ACM and two re-imports", load, &presenter, server.setup(), 0).await;
        let serials = [&first, &renewed[0], &renewed[1]].map(|leaf| presenter.presented_of(&leaf.serial_number));
        are_both_presented(presenter.presented_of(OLD), serials[0], &line);
        are_both_presented(serials[0], serials[1], &line);
        are_both_presented(serials[1], serials[2], &line);
    }
}

/// A CA below a root, always of the same names.
fn issuing() -> PrivateCa {
    PrivateCa::root("Payments Root").intermediate("Payments Issuing")
}

fn payments() -> NewLeaf {
    NewLeaf::new("payments")
}

/// A stage whose certificate of ACM is trusted.
fn stage() -> Value {
    json!({ "restApiId": API, "stageName": "prod", "acm": "Trust" })
}

/// What API Gateway presents: the certificate with its chain.
fn identity(leaf: &Leaf) -> Identity {
    let chain = leaf.chain.clone().unwrap_or_default();
    Identity::new(&format!("{}{chain}", leaf.certificate), &leaf.private_key).unwrap()
}

fn client(server: &Server, leaf: &Leaf) -> Client {
    Client::new(server, Some(&identity(leaf))).unwrap()
}

async fn started(world: &mut Mirrored, setups: &[Setup]) -> Vec<Server> {
    world.swap().await;
    let mut servers = Vec::new();
    for setup in setups {
        servers.push(Server::start(*setup, &world.mount).await.unwrap());
    }
    servers
}

fn loads(world: &Mirrored, servers: &[Server]) -> Vec<(Load<Presenter>, Presenter)> {
    let presenters = servers.iter().map(|server| world.emulator.presenter(REGION, API, "prod", server, PROPAGATION));
    presenters.map(|presenter| (Load::pausing(presenter.clone(), PAUSE), presenter)).collect()
}

/// Ends a load once it has made all of its requests; answers its figures. No more than these were lost.
async fn stopped(what: &str, load: Load<Presenter>, presenter: &Presenter, setup: Setup, lost: usize) -> String {
    load.in_all(REQUESTS).await;
    let figures = load.stop().await;
    let line = figures.print(&format!("servers: {what}: {}", setup.name()));
    let line = format!("{line}: {presenter}");
    eprintln!("  presented {presenter}");
    assert!(figures.sent >= REQUESTS, "{line}");
    assert_eq!(figures.lost.len(), lost, "{line}: {:?}", figures.lost);
    assert!(!figures.lost.iter().any(|lost| lost.starts_with("failed")), "refused, not failed: {:?}", figures.lost);
    line
}

/// Before, after and, at random, while the change propagated.
fn are_both_presented(old: Presented, new: Presented, line: &str) {
    // Not a number for speed: each of them is presented half of the time.
    assert!(old.propagating.min(new.propagating) >= 10, "both were presented: {line}");
    assert!(old.requests + new.requests > old.propagating + new.propagating, "and one alone, too: {line}");
}
