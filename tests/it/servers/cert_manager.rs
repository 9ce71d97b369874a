//! Runs the guide `acm-cert-manager.md` by its commands and YAML, with the controllers of cert-manager and in front of
//! real servers. The kubectl and openssl commands run unchanged. The AWS SDK replaces the `aws` commands, and a patch
//! replaces `cmctl renew`.

use std::collections::BTreeMap;

use aws_sdk_acm::primitives::Blob;
use client_certificate_operator::api::Content;
use operator_testing::cert_manager::CertManager;
use operator_testing::control_plane::ControlPlane;
use operator_testing::emulator::DEFAULT_REGION as REGION;
use operator_testing::private_ca::{KeyType, NewLeaf, PrivateCa};
use operator_testing::program::Scratch;
use operator_testing::servers::{Server, Setup};
use serde_json::json;
use tokio::sync::OnceCell;
use x509_parser::pem::parse_x509_pem;

use super::issued::{client, identity, started};
use super::stories::answers;
use super::world::{Mirrored, permit, until_let_in};
use crate::docs::page::Page;
use crate::fixture::World;
use crate::ground::install;
use crate::tags::guide::{apply, argument, commands, page, run, update_stage};

const IMPORT: &str = "2. Import it into ACM";
const RENEWAL: &str = "4. After every renewal: import it again";
const TARGET: &str = "payments-client-ca";

/// A control plane with the CustomResourceDefinitions of cert-manager, which no other test needs.
async fn control_plane() -> &'static ControlPlane {
    static CONTROL_PLANE: OnceCell<ControlPlane> = OnceCell::const_new();
    let start = async || {
        let control_plane = ControlPlane::start().await.unwrap();
        install(&control_plane).await;
        CertManager::install(&control_plane).await.unwrap();
        control_plane
    };
    CONTROL_PLANE.get_or_init(start).await
}

/// The guide in a world, with the variables of the commands and the folder in which the commands run.
struct Acted {
    page: Page,
    variables: BTreeMap<String, String>,
    folder: Scratch,
}

impl Acted {
    async fn section(&mut self, world: &World<'_>, heading: &str) {
        for command in commands(&self.page, heading) {
            self.act(world, &command).await;
        }
    }

    /// Runs a command. `NAME=$(…)` sets a variable to the output of the command.
    async fn act(&mut self, world: &World<'_>, line: &str) {
        let assigned = line.strip_suffix(')').and_then(|line| line.split_once("=$("));
        let (name, command) = assigned.map_or((None, line), |(name, command)| (Some(name), command));
        let said = if command.starts_with("aws acm import-certificate ") {
            self.import(world, command).await
        } else if command.starts_with("aws apigateway update-stage ") {
            let aws = aws_sdk_apigateway::Client::new(&world.emulator.sdk_config());
            update_stage(&aws, command, "$ARN", self.arn()).await;
            String::new()
        } else if command.starts_with("cmctl renew ") {
            renew(world, argument(command, "cmctl renew ")).await;
            String::new()
        } else {
            let variables = self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            run(world, self.folder.path(), variables, command).await
        };
        if let Some(name) = name {
            self.variables.insert(name.to_owned(), said.trim_end().to_owned());
        }
    }

    fn arn(&self) -> &str {
        &self.variables["ARN"]
    }

    async fn import(&self, world: &World<'_>, command: &str) -> String {
        let file = |option: &str| {
            let path = self.folder.path().join(argument(command, &format!("{option} fileb://")));
            Blob::new(std::fs::read(path).unwrap())
        };
        let again = command.contains("--certificate-arn \"$ARN\"").then(|| self.arn().to_owned());
        let acm = aws_sdk_acm::Client::new(&world.emulator.sdk_config());
        let request = acm.import_certificate().set_certificate_arn(again).certificate(file("--certificate"));
        let request = request.private_key(file("--private-key")).certificate_chain(file("--certificate-chain"));
        request.send().await.unwrap().certificate_arn.unwrap()
    }
}

/// Makes the patch that `cmctl renew` makes.
async fn renew(world: &World<'_>, certificate: &str) {
    let condition = json!({
        "type": "Issuing",
        "status": "True",
        "reason": "ManuallyTriggered",
        "message": "Certificate re-issuance manually triggered",
        "lastTransitionTime": jiff::Timestamp::now().to_string(),
    });
    let patch = json!([{ "op": "add", "path": "/status/conditions/-", "value": condition }]).to_string();
    let args = ["patch", "certificate", certificate, "--subresource=status", "--type=json", "--patch", &patch];
    let output = world.kubectl(&args).await;
    assert!(output.status.success(), "{output:?}");
}

fn public_key(pem: &str) -> Vec<u8> {
    parse_x509_pem(pem.as_bytes()).unwrap().1.parse_x509().unwrap().public_key().raw.to_vec()
}

/// Whether a server compares the certificate itself, which every renewal changes.
fn compares_the_certificate(server: &Server) -> bool {
    server.setup().has_pins() && server.setup() != Setup::EnvoySpki
}

#[tokio::test]
async fn a_certificate_of_cert_manager_is_accepted_from_its_import_through_its_renewal() {
    let _permit = permit().await;
    let mut world = World::on(control_plane().await, "servers-cert-manager").await;
    world.start_operator().await;
    let _cert_manager = CertManager::start(world.control_plane, &world.namespace).await.unwrap();
    let (variables, folder) = (BTreeMap::new(), Scratch::new("guide-").unwrap());
    let mut acted = Acted { page: page("acm-cert-manager.md"), variables, folder };
    let yaml = acted.page.blocks(None, "yaml");
    let [issuing, resource, cron_job] = &yaml[..] else { panic!("{yaml:#?}") };

    // cert-manager issues the certificate, ACM imports it, and the stage presents it.
    apply(&world, issuing);
    acted.section(&world, IMPORT).await;
    let (api, stage) = ("a1b2c3d4e5", "prod");
    world.emulator.present(REGION, api, stage, None);
    let presenting = commands(&acted.page, "3. Present it, and trust it");
    let [update_stage, wait] = &presenting[..] else { panic!("{presenting:#?}") };
    acted.act(&world, update_stage).await;
    assert_eq!(world.emulator.presented(REGION, api, stage).as_deref(), Some(acted.arn()));

    // The servers trust the certificate, through a target with the keys of every server.
    let keys: BTreeMap<&str, Content> = Setup::ALL.iter().flat_map(|setup| setup.keys()).copied().collect();
    let target = format!("target: {{name: {TARGET}, keys: {}}}", serde_json::to_string(&keys).unwrap());
    let with_keys = resource.replace(&format!("target: {{name: {TARGET}}}"), &target);
    assert_ne!(with_keys, *resource);
    apply(&world, &with_keys);
    acted.act(&world, wait).await;
    let arn = acted.arn().to_owned();
    let mut mirrored = Mirrored::of(world, ["payments", TARGET]).await;
    let mut servers = started(&mut mirrored, &Setup::ALL).await;
    let first = mirrored.emulator.acm_leaf(&arn).unwrap();
    assert!(first.private_key.starts_with("-----BEGIN RSA PRIVATE KEY-----"), "as cert-manager writes it");
    let stranger = NewLeaf::new("payments.example.com").key(KeyType::Rsa2048);
    let stranger = identity(&PrivateCa::root_with_key("Payments CA", KeyType::Rsa2048).issue(stranger));
    for server in &servers {
        let said = answers(server, &[Some(&identity(&first)), Some(&stranger), None]).await;
        let name = server.setup().name();
        assert!(said[0].is_let_in(), "{name}: {}", said[0]);
        assert!(said[1].is_refused() && said[2].is_refused(), "{name}: {}, {}", said[1], said[2]);
    }

    // cert-manager renews the certificate with the same key. ACM and the stage keep the former certificate.
    let renewal = commands(&acted.page, RENEWAL);
    let again = renewal.iter().position(|command| command.starts_with("aws acm import-certificate ")).unwrap();
    for command in &renewal[..again] {
        acted.act(&mirrored, command).await;
    }
    assert_eq!(mirrored.emulator.acm_leaf(&arn).as_ref(), Some(&first));
    for command in commands(&acted.page, IMPORT).iter().filter(|command| !command.starts_with("ARN=")) {
        acted.act(&mirrored, command).await;
    }
    acted.act(&mirrored, &renewal[again]).await;
    let second = mirrored.emulator.acm_leaf(&arn).unwrap();
    assert_ne!(second.serial_number, first.serial_number);
    assert_eq!(public_key(&second.certificate), public_key(&first.certificate));
    assert_eq!((&second.private_key, &second.chain), (&first.private_key, &first.chain));
    for server in &servers {
        let said = answers(server, &[Some(&identity(&second))]).await.remove(0);
        match compares_the_certificate(server) {
            true => assert!(said.is_refused(), "{} lets it in: {said}", server.setup().name()),
            false => assert!(said.is_let_in(), "{} refuses it: {said}", server.setup().name()),
        }
    }

    // The operator reads the new certificate at once. From then on, the servers accept both certificates.
    for command in &renewal[again + 1..] {
        acted.act(&mirrored, command).await;
    }
    mirrored.until_held(&[&arn, &arn]).await;
    mirrored.follow(&mut servers).await;
    for server in &servers {
        let name = server.setup().name();
        until_let_in(&client(server, &second), name).await;
        let said = answers(server, &[Some(&identity(&first)), Some(&stranger), None]).await;
        assert!(said[0].is_let_in(), "{name}: {}", said[0]);
        assert!(said[1].is_refused() && said[2].is_refused(), "{name}: {}, {}", said[1], said[2]);
    }
    apply(&mirrored, cron_job);
}
