//! Certificates of ACM before real servers: whom a chain and a pin let in, and what a re-import costs.

use std::time::{Duration, Instant};

use client_certificate_operator::api::VerifierClass;
use operator_testing::emulator::{DEFAULT_REGION as REGION, Presented, Presenter};
use operator_testing::private_ca::{Chain, Leaf, NewLeaf, PrivateCa};
use operator_testing::servers::{Answer, Client, Identity, Server, Setup};
use operator_testing::wait::eventually;
use serde_json::{Value, json};

use super::load::{Figures, Load, Part};
use super::stories::answers;
use super::world::{Mirrored, NAME, OLD, permit, until_let_in, until_refused};
use crate::fixture::SOON;
use crate::show::show;

const API: &str = "a1b2c3d4e5";
const STAGE: &str = "/restapis/a1b2c3d4e5/stages/prod";
const REQUESTS: usize = 2_000;
/// The number of requests in stories that other tests tell with all REQUESTS.
pub const SOME: usize = 500;
/// The propagation time of the fleet, in tests that wait for its end. Until then, the fleet presents both certificates.
const PROPAGATION: Duration = Duration::from_secs(30);
/// The propagation time of the fleet, in tests during which the fleet presents both certificates until the end.
const LONG: Duration = Duration::from_secs(3600);
/// So that ten servers share a machine with the other tests: 40 requests a second each at most.
const PAUSE: Duration = Duration::from_millis(100);
/// Requests that are under way at once are answered once so many more were.
const ANSWERED: usize = 8;

/// The right certificate is let in by its chain or its pin. So is another one of its CA, unless there are pins: what every server of
/// a target with a chain has to know. A CA of the same names, and nobody, are refused.
pub async fn one_certificate(setup: Setup) {
    let _permit = permit().await;
    let mut world = Mirrored::start("servers-issued", &[setup]).await;
    let ca = issuing();
    let leaf = ca.issue(payments());
    world.import(&leaf).await;
    // Whatever the server does with two of API Gateway's own.
    let reported = world.resource(NAME).await.status.unwrap().verifier_class;
    assert_eq!(reported, Some(VerifierClass::OverlapSafe));
    world.swap().await;
    let server = Server::start(setup, &world.mount).await.unwrap();
    let said = said_to_another(&world, &server, &leaf, &ca, payments()).await;
    match setup.has_pins() {
        true => assert!(said.is_refused(), "another one of its CA, beside the pins: {said}"),
        false => assert!(said.is_let_in(), "another one of its CA: {said}"),
    }
}

/// The answer of a server to another certificate of the same CA and name. Asserts that the server accepts the
/// certificate in its target and refuses certificates of other CAs.
pub async fn said_to_another(world: &Mirrored, server: &Server, leaf: &Leaf, ca: &PrivateCa, new: NewLeaf) -> Answer {
    let [leaf, another, stranger] = [leaf, &ca.issue(new.clone()), &issuing().issue(new)].map(identity);
    let generated = world.identity(OLD);
    let mut said = answers(server, &[Some(&another), Some(&leaf), Some(&stranger), Some(&generated), None]).await;
    assert!(said[1].is_let_in(), "the right certificate: {}", said[1]);
    assert!(said[2].is_refused(), "one of the same name, of a CA of the same names: {}", said[2]);
    assert!(said[3].is_refused(), "the generated one, which the target held: {}", said[3]);
    assert!(said[4].is_refused(), "no certificate: {}", said[4]);
    said.remove(0)
}

/// The target also holds the root, so a server accepts a client that sends the other intermediate CA with its
/// certificate.
#[tokio::test]
async fn a_certificate_of_another_ca_below_the_same_root_is_accepted_unless_there_are_pins() {
    let _permit = permit().await;
    let root = PrivateCa::root("Company Root");
    let [leaf, other] = ["Payments Issuing", "Orders Issuing"].map(|name| root.intermediate(name).issue(payments()));
    let mut world = Mirrored::start("servers-issued-root", &Setup::ALL).await;
    world.import(&leaf).await;
    for server in started(&mut world, &Setup::ALL).await {
        let (setup, said) = (server.setup(), answers(&server, &[Some(&identity(&other))]).await.remove(0));
        assert_eq!(
            [said.is_let_in(), said.is_refused()],
            [!setup.has_pins(), setup.has_pins()],
            "{}: {said}",
            setup.name()
        );
    }
}

/// ACM may have been given the chain without its root. OpenSSL wants the root; all others take the word of the CA below it.
#[tokio::test]
async fn a_chain_without_its_root_is_refused_by_servers_with_openssl() {
    let _permit = permit().await;
    let setups: Vec<Setup> = Setup::ALL.into_iter().filter(|setup| !setup.has_pins()).collect();
    let ca = issuing();
    let [leaf, whole] = [Chain::WithoutRoot, Chain::Full].map(|chain| ca.issue(payments().chain(chain)));
    let mut world = Mirrored::start("servers-issued-rootless", &setups).await;
    let arn = world.import(&leaf).await;
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

/// A server that verifies the chain loses no request during a re-import, without preparation. A server that pins the
/// leaf or the key of the leaf refuses the new certificate until the server has followed. From then on, no request is
/// lost, however long API Gateway presents both certificates.
#[tokio::test]
async fn a_re_import_under_load_loses_no_call_with_a_chain_and_loses_calls_with_former_pins() {
    let _permit = permit().await;
    let ca = issuing();
    let leaves = [(); 2].map(|()| ca.issue(payments()));
    let story =
        ReImport { what: "a re-import into ACM under load", leaves, requests: REQUESTS, surprises: Setup::has_pins };
    let (mut world, arn) = story.begin("servers-issued-import", &Setup::ALL).await;
    let servers = started(&mut world, &Setup::ALL).await;
    story.tell(world, &arn, servers).await;
}

/// No server trusts the other CA before the operator has read its certificate. From then on, the servers also trust the
/// former CA, for the overlap.
#[tokio::test]
async fn an_arn_that_moves_to_another_ca_under_load_loses_the_calls_until_servers_have_the_new_chain() {
    let _permit = permit().await;
    let other = PrivateCa::root("Other Root").intermediate("Other Issuing");
    let leaves = [issuing(), other].map(|ca| ca.issue(payments()));
    let story =
        ReImport { what: "an ARN that moves to another CA under load", leaves, requests: SOME, surprises: |_| true };
    let (mut world, arn) = story.begin("servers-issued-moved", &Setup::ALL).await;
    let servers = started(&mut world, &Setup::ALL).await;
    story.tell(world, &arn, servers).await;
}

/// The two CAs differ in their key identifiers, not in their names. AWS Private CA and most other CAs write key
/// identifiers.
#[tokio::test]
async fn a_new_ca_with_the_same_names_is_trusted_in_addition_to_the_former_one() {
    a_ca_is_created_again("servers-issued-anew", issuing, &[]).await;
}

/// OpenSSL and BoringSSL then use the first root of the name as the issuer. HAProxy checks the authorities in addition
/// to the pins.
#[tokio::test]
async fn a_new_ca_without_key_identifiers_replaces_the_former_one_if_the_first_wins() {
    let refusing = [Setup::NginxCa, Setup::HaproxyCa, Setup::HaproxyPins, Setup::EnvoyCa];
    let unidentified = || PrivateCa::root("Payments Root").intermediate_without_key_identifier("Payments Issuing");
    a_ca_is_created_again("servers-issued-unidentified", unidentified, &refusing).await;
}

/// An ARN moves from a CA to another CA of the same names. From then on, the set-ups in `refusing` refuse the
/// certificate of the former CA.
async fn a_ca_is_created_again(prefix: &str, issuing: fn() -> PrivateCa, refusing: &[Setup]) {
    let _permit = permit().await;
    let [first, second] = [(); 2].map(|()| issuing().issue(payments()));
    let mut world = Mirrored::start(prefix, &Setup::ALL).await;
    let arn = world.import(&first).await;
    let mut servers = started(&mut world, &Setup::ALL).await;
    for server in &servers {
        until_let_in(&client(server, &first), server.setup().name()).await;
    }
    world.emulator.put_acm(&arn, second.clone());
    imported(&mut world, &arn, &mut servers).await;
    let mut refused = Vec::new();
    for server in &servers {
        until_let_in(&client(server, &second), server.setup().name()).await;
        let said = client(server, &first).get().await;
        assert!(said.is_let_in() || said.is_refused(), "{said}");
        refused.extend(Some(server.setup()).filter(|_| said.is_refused()));
    }
    assert_eq!(refused, refusing);
}

/// From a generated certificate to one of ACM, and through two renewals with the key that it has: no server loses a request that asks
/// for a chain, or for the key.
#[tokio::test]
async fn a_stage_moves_from_a_generated_certificate_to_acm_and_through_two_re_imports_without_a_lost_call() {
    let _permit = permit().await;
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
    let loads = loads(&world, &servers, PROPAGATION);

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
        let line = stopped("from generated to ACM and two re-imports", load, &presenter, server.setup()).await;
        let serials = [&first, &renewed[0], &renewed[1]].map(|leaf| presenter.presented_of(&leaf.serial_number));
        are_both_presented(presenter.presented_of(OLD), serials[0], &line);
        are_both_presented(serials[0], serials[1], &line);
        are_both_presented(serials[1], serials[2], &line);
    }
}

/// A re-import: the certificate under an ARN is replaced while clients call the stage that presents the ARN without a
/// pause.
pub struct ReImport {
    pub what: &'static str,
    /// The former certificate, and the certificate that replaces it.
    pub leaves: [Leaf; 2],
    /// The number of requests after every server has followed.
    pub requests: usize,
    /// Whether a server refuses the new certificate until the server has followed. Such a server refuses the former
    /// certificate after the overlap.
    pub surprises: fn(Setup) -> bool,
}

impl ReImport {
    /// A world whose target follows the stage and has the keys of these set-ups, and the ARN that the stage presents.
    pub async fn begin(&self, prefix: &str, setups: &[Setup]) -> (Mirrored, String) {
        let world = Mirrored::start(prefix, setups).await;
        let arn = world.emulator.import_acm(REGION, self.leaves[0].clone());
        world.emulator.present(REGION, API, "prod", Some(&arn));
        let spec = json!({ "clientCertificateId": null, "stage": stage(), "overlap": "1h" });
        world.patch(NAME, json!({ "spec": spec })).await;
        world.until_held(&[&arn]).await;
        (world, arn)
    }

    /// Imports the new certificate without preparation, and checks the requests before and after.
    pub async fn tell(&self, mut world: Mirrored, arn: &str, mut servers: Vec<Server>) {
        let [first, second] = &self.leaves;
        let surprised = |server: &Server| (self.surprises)(server.setup());
        let loads = loads(&world, &servers, LONG);
        for (load, _) in &loads {
            load.in_all(self.requests / 10).await;
            assert_eq!(load.lost(), Vec::<String>::new(), "nothing has changed yet");
        }
        world.emulator.put_acm(arn, second.clone());
        for ((load, _), server) in loads.iter().zip(&servers).filter(|(_, server)| surprised(server)) {
            let what = format!("{} refuses the new one", server.setup().name());
            eventually(SOON, &what, async || if !load.lost().is_empty() { Ok(()) } else { Err("it does not") }).await;
        }
        imported(&mut world, arn, &mut servers).await;

        // From here on, both certificates are accepted: a request may present either of them.
        let mut before = Vec::new();
        for ((load, presenter), server) in loads.iter().zip(&servers) {
            until_let_in(&client(server, second), server.setup().name()).await;
            load.begin_part();
            before.push(self.presented(presenter));
        }
        for (load, _) in &loads {
            load.in_this_part(self.requests).await;
        }
        world.until_held(&[arn, arn]).await;
        for (((load, presenter), server), before) in loads.into_iter().zip(&servers).zip(before) {
            let figures = load.stop().await;
            self.check(&figures, &presenter, before, server.setup());
        }

        // A shorter overlap ends the former certificate early.
        world.patch(NAME, json!({ "spec": { "overlap": "1s" } })).await;
        world.until_held(&[arn]).await;
        world.follow(&mut servers).await;
        for server in &servers {
            until_let_in(&client(server, second), server.setup().name()).await;
            match surprised(server) {
                true => until_refused(&client(server, first), server.setup().name()).await,
                false => until_let_in(&client(server, first), server.setup().name()).await,
            }
        }
    }

    /// The number of requests with each of the two certificates while the fleet presented both.
    fn presented(&self, presenter: &Presenter) -> [usize; 2] {
        [0, 1].map(|number| presenter.presented_of(&self.leaves[number].serial_number).propagating)
    }

    /// Asserts that no request was lost after the server had followed. Before that, requests are lost only if the
    /// server refuses the new certificate until it has followed.
    fn check(&self, figures: &Figures, presenter: &Presenter, before: [usize; 2], setup: Setup) {
        let line = figures.print(&format!("servers: {}: {}", self.what, setup.name()));
        let Part { sent, lost } = &figures.last_part;
        let [old, new] = self.presented(presenter);
        let [old, new] = [old - before[0], new - before[1]];
        let count = lost.len();
        show(&format!(
            "  since it has followed: {sent} requests, {count} lost; {old} with the former one, {new} with the new one"
        ));
        assert!(*sent >= self.requests, "{line}");
        assert_eq!(*lost, Vec::<String>::new(), "{line}");
        assert!(
            old.min(new) > self.requests / 4,
            "each of them is presented half of the time: {old} and {new}: {line}"
        );
        let lost_before = figures.lost.len();
        assert_eq!(lost_before > 0, (self.surprises)(setup), "{line}");
        assert!(lost_before <= before[1], "only the new one was refused: {line}: {presenter}");
        assert!(!figures.lost.iter().any(|lost| lost.starts_with("failed")), "refused, not failed: {:?}", figures.lost);
    }
}

/// A CA below a root, always of the same names.
pub fn issuing() -> PrivateCa {
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
pub fn identity(leaf: &Leaf) -> Identity {
    let chain = leaf.chain.clone().unwrap_or_default();
    Identity::new(&format!("{}{chain}", leaf.certificate), &leaf.private_key).unwrap()
}

pub fn client(server: &Server, leaf: &Leaf) -> Client {
    Client::new(server, Some(&identity(leaf))).unwrap()
}

pub async fn started(world: &mut Mirrored, setups: &[Setup]) -> Vec<Server> {
    world.swap().await;
    let mut servers = Vec::new();
    for setup in setups {
        servers.push(Server::start(*setup, &world.mount).await.unwrap());
    }
    servers
}

/// Waits until the operator has read the new certificate, and every server has read the target with both certificates.
async fn imported(world: &mut Mirrored, arn: &str, servers: &mut [Server]) {
    world.refresh("imported").await;
    world.until_held(&[arn, arn]).await;
    world.until_status("the first one is a former one", "/certificates/1/role", |role| role == "Former").await;
    world.follow(servers).await;
}

/// A load on each server through API Gateway, whose fleet has this propagation time.
fn loads(world: &Mirrored, servers: &[Server], propagation: Duration) -> Vec<(Load<Presenter>, Presenter)> {
    let presenters = servers.iter().map(|server| world.emulator.presenter(REGION, API, "prod", server, propagation));
    presenters.map(|presenter| (Load::pausing(presenter.clone(), PAUSE), presenter)).collect()
}

/// Ends a load after all of its requests, asserts that no request was lost, and returns the figures.
async fn stopped(what: &str, load: Load<Presenter>, presenter: &Presenter, setup: Setup) -> String {
    load.in_all(REQUESTS).await;
    let figures = load.stop().await;
    let line = figures.print(&format!("servers: {what}: {}", setup.name()));
    let line = format!("{line}: {presenter}");
    show(&format!("  presented {presenter}"));
    assert!(figures.sent >= REQUESTS, "{line}");
    assert_eq!(figures.lost, Vec::<String>::new(), "{line}");
    line
}

/// Before, after and, at random, while the change propagated.
fn are_both_presented(old: Presented, new: Presented, line: &str) {
    // Not a number for speed: each of them is presented half of the time.
    assert!(old.propagating.min(new.propagating) >= 10, "both were presented: {line}");
    assert!(old.requests + new.requests > old.propagating + new.propagating, "and one alone, too: {line}");
}
