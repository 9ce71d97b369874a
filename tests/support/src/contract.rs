//! The contract of every [`Gateway`]. Each function is one test, for any gateway in a [`World`].

pub mod account;
mod failure;
mod worlds;

use std::collections::BTreeMap;

use client_certificate_operator::aws::gateway::{
    AcmCertificate, AcmStatus, ClientCertificate, Gateway, GatewayError, Outage, PAGE_SIZE, Page, Place, Source, Stage,
};

pub use self::failure::AwsFailure;
pub use self::worlds::{EmulatorWorld, MemoryWorld};
use crate::certificates::NewCertificate;
use crate::private_ca::{Chain, KeyType, Leaf, NewLeaf, PrivateCa};
use crate::script::Operation;

/// A gateway, with control of the service that it calls.
pub trait World {
    /// The gateway under test.
    type Gateway: Gateway;

    fn gateway(&self) -> &Self::Gateway;

    /// The region in which certificates and stages are made.
    fn region(&self) -> &str {
        "us-east-1"
    }

    /// Makes a certificate, with the requested id if the world can choose ids.
    fn generate(&self, region: &str, new: NewCertificate) -> impl Future<Output = ClientCertificate>;

    /// Deletes a certificate.
    fn delete(&self, source: &Source) -> impl Future<Output = ()>;

    /// Returns a REST API: a new one without stages, if the world can create APIs.
    fn create_api(&self) -> impl Future<Output = String>;

    /// Makes a stage present this certificate, or none. Creates the stage if it does not exist.
    fn present(&self, rest_api_id: &str, stage: &str, certificate: Option<&str>) -> impl Future<Output = ()>;

    /// Deletes a stage.
    fn delete_stage(&self, rest_api_id: &str, stage: &str) -> impl Future<Output = ()>;

    /// Deletes a REST API with its stages.
    fn delete_api(&self, rest_api_id: &str) -> impl Future<Output = ()>;
}

/// A world that imports certificates into ACM as users do.
pub trait ImportingWorld: World {
    /// Calls ImportCertificate in the world's region, for a new certificate, or for a re-import under this ARN. Returns
    /// the ARN, or the name of ACM's error.
    fn import(&self, arn: Option<&str>, leaf: &Leaf) -> impl Future<Output = Result<String, String>>;
}

/// A world with ACM certificates.
pub trait AcmWorld: World {
    /// An unused ARN of the world's account in a region.
    fn new_arn(&self, region: &str) -> String;

    /// Puts a certificate under an ARN, in place of an existing one, even if ACM would not import it.
    fn put(&self, arn: &str, leaf: &Leaf);

    /// Sets the status of a certificate in ACM.
    fn set_status(&self, arn: &str, status: AcmStatus);

    /// Deletes an ACM certificate.
    fn delete_imported(&self, arn: &str);
}

/// A world in which a test can make calls fail.
pub trait FailingWorld: AcmWorld {
    /// Makes the next calls of an operation fail like this.
    fn fail(&self, operation: Operation, failure: AwsFailure, times: u32);
}

/// A region other than the world's.
fn other_region(world: &impl World) -> &'static str {
    if world.region() == "eu-central-1" { "us-east-1" } else { "eu-central-1" }
}

async fn generate(world: &impl World, new: NewCertificate) -> (Source, ClientCertificate) {
    let certificate = world.generate(world.region(), new.shared_key()).await;
    (Source::own(world.region(), &certificate.id), certificate)
}

async fn get(world: &impl World, source: &Source) -> Result<ClientCertificate, GatewayError> {
    world.gateway().get_client_certificate(source).await
}

async fn set(world: &impl World, source: &Source, text: &str) -> Result<ClientCertificate, GatewayError> {
    world.gateway().set_description(source, text).await
}

/// An outcome without the parts that only a real connection has: the host and the cause.
fn of_kind<T>(outcome: Result<T, GatewayError>) -> Result<T, GatewayError> {
    outcome.map_err(|error| match error {
        GatewayError::Unavailable { outage: Outage::Unreachable { host, cause }, retry_after } => {
            assert!(!host.is_empty() && !cause.is_empty(), "{host:?}, {cause:?}");
            GatewayError::Unavailable { outage: Outage::Connection, retry_after }
        }
        GatewayError::Unavailable { outage: Outage::NoAnswer { host }, retry_after } => {
            assert!(!host.is_empty());
            GatewayError::Unavailable { outage: Outage::TimedOut, retry_after }
        }
        error => error,
    })
}

/// The gateway neither loses nor adds an element, including the dates.
pub async fn a_certificate_has_all_six_elements(world: &impl World) {
    let new = NewCertificate::new().id("9ao60f").description("orders").tag("team", "shop").tag("empty", "");
    let (source, made) = generate(world, new).await;
    let got = get(world, &source).await.unwrap();
    assert_eq!(got, made);
    assert_eq!((&got.id, got.description.as_str()), (&source.id, "orders"));
    assert_eq!((&got.tags["team"], &got.tags["empty"]), (&"shop".to_owned(), &String::new()));
    let (created, expires) = (got.created.unwrap(), got.expires.unwrap());
    assert_eq!(expires.duration_since(created).as_hours(), 365 * 24);
}

/// The gateway neither checks nor repairs the PEM.
pub async fn the_pem_is_untouched(world: &impl World) {
    let (source, _) = generate(world, NewCertificate::new()).await;
    let pem = get(world, &source).await.unwrap().pem;
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----\r\n"), "{pem:?}");
    assert!(pem.ends_with("\r\n-----END CERTIFICATE-----"), "{pem:?}");
    assert_eq!(pem.matches('\n').count(), pem.matches("\r\n").count());
}

/// API Gateway omits an empty description.
pub async fn a_missing_description_is_read_as_empty(world: &impl World) {
    let (source, _) = generate(world, NewCertificate::new()).await;
    assert_eq!(get(world, &source).await.unwrap().description, "");
}

/// Neither the read nor the update invents a certificate.
pub async fn an_unknown_certificate_is_not_found(world: &impl World) {
    let source = Source::own(world.region(), "nosuch");
    assert_eq!(of_kind(get(world, &source).await), Err(GatewayError::NotFound));
    assert_eq!(set(world, &source, "x").await, Err(GatewayError::NotFound));
    let (source, _) = generate(world, NewCertificate::new()).await;
    world.delete(&source).await;
    assert_eq!(of_kind(get(world, &source).await), Err(GatewayError::NotFound));
}

/// An id is valid only in its region.
pub async fn regions_are_apart(world: &impl World) {
    let (here, made) = generate(world, NewCertificate::new().id("twice1")).await;
    let there = Source::own(other_region(world), &here.id);
    assert_eq!(get(world, &there).await, Err(GatewayError::NotFound));
    let other = world.generate(&there.place.region, NewCertificate::new().id("twice1").shared_key()).await;
    assert_eq!(get(world, &there).await.unwrap().pem, other.pem);
    assert_eq!(get(world, &here).await.unwrap().pem, made.pem);
}

/// The response to an update contains the description that API Gateway then holds.
pub async fn a_description_is_set_and_echoed(world: &impl World) {
    let (source, made) = generate(world, NewCertificate::new().description("before").tag("a", "b")).await;
    let answer = set(world, &source, "after").await.unwrap();
    assert_eq!(answer, ClientCertificate { description: "after".into(), ..made });
    assert_eq!(get(world, &source).await.unwrap(), answer);
}

/// An update to the empty text clears the description.
pub async fn a_description_is_cleared(world: &impl World) {
    let (source, _) = generate(world, NewCertificate::new().description("before")).await;
    assert_eq!(set(world, &source, "").await.unwrap().description, "");
    assert_eq!(get(world, &source).await.unwrap().description, "");
}

/// No text has a special meaning.
pub async fn descriptions_of_every_kind_survive(world: &impl World) {
    let (source, _) = generate(world, NewCertificate::new()).await;
    let long = "x".repeat(300);
    for text in ["🔐 clé naïve", "two\nlines\ttab", r#"{"op":"replace","value":"\"\\"}"#, " spaces ", long.as_str()]
    {
        assert_eq!(set(world, &source, text).await.unwrap().description, text);
        assert_eq!(get(world, &source).await.unwrap().description, text);
    }
}

/// The whole list, page by page.
async fn list(world: &impl World, place: &Place) -> Result<Vec<Page>, GatewayError> {
    let mut pages: Vec<Page> = Vec::new();
    loop {
        let position = pages.last().and_then(|page| page.next.as_deref());
        let page = world.gateway().list_client_certificates(place, position).await?;
        let is_last = page.next.is_none();
        pages.push(page);
        if is_last {
            return Ok(pages);
        }
    }
}

fn ids(pages: &[Page]) -> Vec<&str> {
    let certificates = pages.iter().flat_map(|page| &page.certificates);
    certificates.map(|certificate| certificate.id.as_str()).collect()
}

/// The list contains the same elements of a certificate as a read, each certificate once, and none of another region.
pub async fn the_list_and_a_read_return_the_same(world: &impl World) {
    let (one, _) = generate(world, NewCertificate::new().id("9ao60f").description("orders").tag("team", "shop")).await;
    let (other, _) = generate(world, NewCertificate::new().id("k2c0qe")).await;
    let listed = async |region: &str, id: &str| {
        let pages = list(world, &Place::own(region)).await.unwrap();
        let all = pages.into_iter().flat_map(|page| page.certificates);
        all.filter(|listed| listed.id == id).collect::<Vec<_>>()
    };
    for source in [one, other] {
        assert_eq!(listed(world.region(), &source.id).await, [get(world, &source).await.unwrap()]);
        assert_eq!(listed(other_region(world), &source.id).await, []);
    }
}

/// The list takes as few calls as possible, and contains no certificate twice.
pub async fn a_long_list_has_full_pages(world: &impl World) {
    let mut made = Vec::new();
    for n in 0..=2 * PAGE_SIZE {
        made.push(generate(world, NewCertificate::new().id(format!("id{n:05}"))).await.1.id);
    }
    let pages = list(world, &Place::own(world.region())).await.unwrap();
    assert_eq!(pages.iter().map(|page| page.certificates.len()).collect::<Vec<_>>(), [PAGE_SIZE, PAGE_SIZE, 1]);
    assert_eq!(ids(&pages), made);
}

/// The list contains a certificate that exists from the first page to the last once, whatever other certificates are
/// made or deleted meanwhile.
pub async fn a_list_survives_changes_between_its_pages(world: &impl World) {
    let place = Place::own(world.region());
    let mut made = Vec::new();
    for n in 0..PAGE_SIZE + 10 {
        made.push(generate(world, NewCertificate::new().id(format!("id{n:05}"))).await.0);
    }
    let first = world.gateway().list_client_certificates(&place, None).await.unwrap();
    world.delete(&made[3]).await;
    world.delete(&made[PAGE_SIZE - 1]).await;
    world.delete(&made[PAGE_SIZE + 3]).await;
    generate(world, NewCertificate::new().id("id00000a")).await;
    generate(world, NewCertificate::new().id("id99999")).await;
    let position = first.next.clone().unwrap();
    let second = world.gateway().list_client_certificates(&place, Some(&position)).await.unwrap();
    assert_eq!(second.next, None);
    let mut expected: Vec<_> = made[PAGE_SIZE..].iter().map(|source| source.id.as_str()).collect();
    expected.remove(3);
    expected.push("id99999");
    assert_eq!(ids(&[second]), expected);
}

/// The certificates that the stages of an API present, by name.
async fn stages(
    world: &impl World,
    region: &str,
    rest_api_id: &str,
) -> Result<BTreeMap<String, Option<String>>, GatewayError> {
    let stages = world.gateway().get_stages(&Place::own(region), rest_api_id).await?;
    let count = stages.len();
    let stages: BTreeMap<_, _> = stages.into_iter().map(|Stage { name, certificate }| (name, certificate)).collect();
    assert_eq!(stages.len(), count, "no stage comes twice");
    Ok(stages)
}

/// The certificate that one stage presents; `None` if the stage does not exist.
async fn stage(world: &impl World, api: &str, name: &str) -> Option<Option<String>> {
    stages(world, world.region(), api).await.unwrap().remove(name)
}

/// Each stage of each API shows the id of its certificate, or none.
pub async fn the_stages_of_an_api_have_their_certificates(world: &impl World) {
    let api = world.create_api().await;
    let (source, _) = generate(world, NewCertificate::new()).await;
    world.present(&api, "with", Some(&source.id)).await;
    world.present(&api, "without", None).await;
    assert_eq!(stage(world, &api, "with").await, Some(Some(source.id)));
    assert_eq!(stage(world, &api, "without").await, Some(None));
    assert_eq!(stage(world, &api, "nosuch").await, None);
}

/// An ARN is unchanged, and an empty id is no certificate. API Gateway checks whether a certificate exists, so this
/// test needs a world that does not.
pub async fn an_arn_is_presented_and_an_empty_id_is_not(world: &impl World) {
    const ARN: &str = "arn:aws:acm:us-east-1:111122223333:certificate/12345678-1234-1234-1234-123456789012";
    let (api, other) = (world.create_api().await, world.create_api().await);
    world.present(&api, "mine", Some(ARN)).await;
    world.present(&api, "empty", Some("")).await;
    world.present(&other, "other", Some(ARN)).await;
    let expected = BTreeMap::from([("empty".to_owned(), None), ("mine".to_owned(), Some(ARN.to_owned()))]);
    assert_eq!(stages(world, world.region(), &api).await, Ok(expected));
}

/// The next read shows a switch, a stage that lost its certificate, and a deleted stage.
pub async fn stages_change_between_reads(world: &impl World) {
    let api = world.create_api().await;
    let (old, new) =
        (generate(world, NewCertificate::new()).await.0.id, generate(world, NewCertificate::new()).await.0.id);
    world.present(&api, "switched", Some(&old)).await;
    world.present(&api, "cleared", Some(&old)).await;
    assert_eq!(stage(world, &api, "switched").await, Some(Some(old)));
    world.present(&api, "switched", Some(&new)).await;
    world.present(&api, "cleared", None).await;
    assert_eq!(stage(world, &api, "switched").await, Some(Some(new)));
    assert_eq!(stage(world, &api, "cleared").await, Some(None));
    world.delete_stage(&api, "switched").await;
    assert_eq!(stage(world, &api, "switched").await, None);
}

/// An API without stages is no error. A missing API is an error, also in every region but its own.
pub async fn an_api_without_stages_is_not_a_missing_one(world: &impl World) {
    let api = world.create_api().await;
    assert_eq!(stages(world, world.region(), &api).await, Ok(BTreeMap::new()));
    assert_eq!(of_kind(stages(world, other_region(world), &api).await), Err(GatewayError::NotFound));
    world.delete_api(&api).await;
    assert_eq!(of_kind(stages(world, world.region(), &api).await), Err(GatewayError::NotFound));
}

/// An id that no API has is NotFound.
pub async fn an_unknown_api_is_not_found(world: &impl World) {
    assert_eq!(of_kind(stages(world, world.region(), "nosuchapi0").await), Err(GatewayError::NotFound));
}

async fn acm(world: &impl World, arn: &str) -> Result<AcmCertificate, GatewayError> {
    world.gateway().get_acm_certificate(&Place::own(world.region()), arn).await
}

fn put(world: &impl AcmWorld, leaf: &Leaf) -> String {
    let arn = world.new_arn(world.region());
    world.put(&arn, leaf);
    arn
}

/// An ordinary certificate for an import: the leaf and the CA have RSA keys, and the leaf has a host name.
fn importable(ca: &PrivateCa) -> Leaf {
    ca.issue(NewLeaf::new("payments.example.com").key(KeyType::Rsa2048))
}

fn importable_ca() -> PrivateCa {
    PrivateCa::root_with_key("Payments Root", KeyType::Rsa2048)
}

/// ACM chooses the ARN of a new certificate, and returns the certificate as it was imported.
pub async fn an_imported_certificate_has_its_chain(world: &impl ImportingWorld) {
    let ca = importable_ca();
    let (first, second) = (importable(&ca), importable(&ca));
    let arn = world.import(None, &first).await.unwrap();
    assert_eq!(acm(world, &arn).await, Ok(first.to_acm(&arn)));
    let other = world.import(None, &second).await.unwrap();
    assert_ne!(other, arn);
    assert_eq!(acm(world, &other).await, Ok(second.to_acm(&other)));
    assert_eq!(acm(world, &arn).await, Ok(first.to_acm(&arn)));
}

/// Re-imports of the same CA with the same key, of the same CA with another key, and of another CA.
pub async fn a_re_import_keeps_the_arn(world: &impl ImportingWorld) {
    let (ca, other) = (importable_ca(), importable_ca());
    let first = importable(&ca);
    let arn = world.import(None, &first).await.unwrap();
    let renewed = ca.issue(NewLeaf::new("payments.example.com").key_of(&first));
    for leaf in [renewed, importable(&ca), importable(&other)] {
        assert_eq!(world.import(Some(&arn), &leaf).await.as_ref(), Ok(&arn));
        assert_eq!(acm(world, &arn).await, Ok(leaf.to_acm(&arn)));
    }
}

/// After the refusals, ACM still has the former certificate.
pub async fn acm_imports_nothing_that_it_cannot_use(world: &impl ImportingWorld) {
    let (ca, other) = (importable_ca(), importable_ca());
    let (good, another) = (importable(&ca), importable(&other));
    let arn = world.import(None, &good).await.unwrap();
    let of_another_type = ca.issue(NewLeaf::new("payments.example.com"));
    let ended = ca.issue(NewLeaf::new("payments.example.com").key_of(&good).expires_in_seconds(-60));
    for (what, leaf) in [
        ("another's key", Leaf { private_key: another.private_key.clone(), ..good.clone() }),
        ("no key", Leaf { private_key: good.certificate.clone(), ..good.clone() }),
        ("no PEM", Leaf { certificate: "MIIB".to_owned(), ..good.clone() }),
        ("two certificates", Leaf { certificate: good.certificate.clone() + ca.certificate(), ..good.clone() }),
        ("another's chain", good.clone().with_chain(&[other.certificate()])),
        ("no PEM in the chain", good.clone().with_chain(&["MIIB"])),
        ("an end in the past", ended),
        ("a key of another type", of_another_type),
    ] {
        let refused = world.import(Some(&arn), &leaf).await;
        // AWS documents both names, and does not document when ACM returns which.
        let is_refused = matches!(
            refused.as_ref().map_err(String::as_str),
            Err("ValidationException" | "InvalidParameterException")
        );
        assert!(is_refused, "{what}: {refused:?}");
    }
    let unknown = format!("{}0000", &arn[..arn.len() - 4]);
    let refused = world.import(Some(&unknown), &good).await;
    assert_eq!(refused, Err("ResourceNotFoundException".to_owned()), "an ARN that nothing has");
    assert_eq!(acm(world, &arn).await, Ok(good.to_acm(&arn)));
}

/// A stage presents the certificate by its ARN, before and after a re-import.
pub async fn a_stage_presents_a_certificate_of_acm(world: &impl ImportingWorld) {
    let (ca, api) = (importable_ca(), world.create_api().await);
    let first = importable(&ca);
    let arn = world.import(None, &first).await.unwrap();
    world.present(&api, "acm", Some(&arn)).await;
    assert_eq!(stage(world, &api, "acm").await, Some(Some(arn.clone())));
    let renewed = ca.issue(NewLeaf::new("payments.example.com").key_of(&first));
    world.import(Some(&arn), &renewed).await.unwrap();
    assert_eq!(stage(world, &api, "acm").await, Some(Some(arn.clone())));
    assert_eq!(acm(world, &arn).await, Ok(renewed.to_acm(&arn)));
    world.present(&api, "acm", None).await;
    assert_eq!(stage(world, &api, "acm").await, Some(None));
}

/// The gateway returns the leaf, the chain, the status and the date. The PEM is unchanged: LF, and a final newline.
pub async fn an_acm_certificate_has_its_chain(world: &impl AcmWorld) {
    let ca = PrivateCa::root("root").intermediate("intermediate");
    let leaf = ca.issue(NewLeaf::new("payments"));
    let arn = put(world, &leaf);
    let got = acm(world, &arn).await.unwrap();
    assert_eq!(got, leaf.to_acm(&arn));
    assert_eq!((got.status, got.expires), (AcmStatus::Issued, Some(leaf.not_after)));
    assert_eq!(got.leaf.as_deref(), Some(leaf.certificate.as_str()));
    let chain = got.chain.unwrap();
    assert_eq!(chain, [ca.certificate(), ca.root_certificate()].concat());
    for pem in [leaf.certificate, chain] {
        assert!(pem.ends_with("-----END CERTIFICATE-----\n") && !pem.contains('\r'), "{pem:?}");
    }
}

/// The gateway does not repair a chain: it may be absent, lack its root, or be in the wrong order.
pub async fn a_chain_is_returned_as_it_was_imported(world: &impl AcmWorld) {
    let root = PrivateCa::root("root");
    let ca = root.intermediate("intermediate");
    for (chain, expected) in [
        (Chain::None, None),
        (Chain::WithoutRoot, Some(ca.certificate().to_owned())),
        (Chain::WrongOrder, Some([root.certificate(), ca.certificate()].concat())),
    ] {
        let arn = put(world, &ca.issue(NewLeaf::new("payments").chain(chain)));
        assert_eq!(acm(world, &arn).await.unwrap().chain, expected, "{chain:?}");
    }
}

/// ACM keeps no former certificate.
pub async fn a_reimport_returns_only_the_new_certificate(world: &impl AcmWorld) {
    let (old, new) = (PrivateCa::root("old"), PrivateCa::root("new"));
    let arn = put(world, &old.issue(NewLeaf::new("payments")));
    acm(world, &arn).await.unwrap();
    let leaf = new.issue(NewLeaf::new("payments"));
    world.put(&arn, &leaf);
    assert_eq!(acm(world, &arn).await, Ok(leaf.to_acm(&arn)));
}

/// The gateway returns the PEM only for an issued or expired certificate.
pub async fn every_status_of_acm_is_returned(world: &impl AcmWorld) {
    let ca = PrivateCa::root("root");
    let leaf = ca.issue(NewLeaf::new("payments"));
    let arn = put(world, &leaf);
    for status in [AcmStatus::Pending, AcmStatus::Failed, AcmStatus::Revoked, AcmStatus::Inactive] {
        world.set_status(&arn, status);
        let got = acm(world, &arn).await.unwrap();
        assert_eq!((got.status, got.leaf, got.chain), (status, None, None));
    }
    world.set_status(&arn, AcmStatus::Issued);
    assert_eq!(acm(world, &arn).await, Ok(leaf.to_acm(&arn)));
    let ended = ca.issue(NewLeaf::new("payments").expires_in_seconds(-60));
    world.put(&arn, &ended);
    let got = acm(world, &arn).await.unwrap();
    assert_eq!((got.status, got.leaf), (AcmStatus::Expired, Some(ended.certificate)));
}

/// An ARN of another region, account or partition, or of a deleted certificate, is NotFound.
pub async fn an_arn_of_another_account_or_region_is_not_found(world: &impl AcmWorld) {
    let leaf = PrivateCa::root("root").issue(NewLeaf::new("payments"));
    let elsewhere = world.new_arn(other_region(world));
    world.put(&elsewhere, &leaf);
    let gone = put(world, &leaf);
    let [of_account, of_partition] =
        [("111122223333", "444455556666"), ("arn:aws:", "arn:aws-cn:")].map(|(is, other)| {
            let arn = gone.replace(is, other);
            assert_ne!(arn, gone);
            arn
        });
    acm(world, &gone).await.unwrap();
    world.delete_imported(&gone);
    for arn in [elsewhere, of_account, of_partition, gone, world.new_arn(world.region())] {
        assert_eq!(acm(world, &arn).await, Err(GatewayError::NotFound), "{arn}");
    }
}

/// A retry does not help.
pub async fn an_invalid_acm_arn_is_refused(world: &impl AcmWorld) {
    for arn in [
        "",
        "9ao60f",
        "arn:aws:acm:us-east-1:111122223333",
        "arn:aws:acm:us-east-1:111122223333:certificate/",
        "arn:aws:acm:us-east-1:111122223333:certificate/a b",
        "arn:aws:iam::111122223333:server-certificate/x",
        "arn:aws:acm:us-east-1:1111:certificate/12345678-1234-1234-1234-123456789012",
    ] {
        let refused = acm(world, arn).await;
        assert!(matches!(refused, Err(GatewayError::BadRequest { .. })), "{arn}: {refused:?}");
    }
}

/// Each failure has its error class, in reads, lists, stages, ACM certificates and updates.
pub async fn every_failure_has_its_error(world: &impl FailingWorld) {
    let leaf = PrivateCa::root("root").issue(NewLeaf::new("payments"));
    let arn = put(world, &leaf);
    let (source, _) = generate(world, NewCertificate::new().description("kept")).await;
    let api = world.create_api().await;
    world.present(&api, "prod", Some(&source.id)).await;
    for failure in AwsFailure::ALL {
        world.fail(Operation::Get, failure, 1);
        assert_eq!(of_kind(get(world, &source).await), Err(failure.error()), "get, {failure:?}");
        world.fail(Operation::List, failure, 1);
        let listed = world.gateway().list_client_certificates(&source.place, None).await;
        assert_eq!(of_kind(listed), Err(failure.error()), "list, {failure:?}");
        world.fail(Operation::GetStages, failure, 1);
        assert_eq!(of_kind(stages(world, world.region(), &api).await), Err(failure.error()), "stages, {failure:?}");
        for operation in [Operation::DescribeCertificate, Operation::GetCertificate] {
            world.fail(operation, failure, 1);
            assert_eq!(of_kind(acm(world, &arn).await), Err(failure.error()), "{operation:?}, {failure:?}");
        }
        world.fail(Operation::Update, failure, 1);
        assert_eq!(of_kind(set(world, &source, "new").await), Err(failure.error()), "set, {failure:?}");
    }
    assert_eq!(get(world, &source).await.unwrap().description, "kept");
    assert_eq!(stage(world, &api, "prod").await, Some(Some(source.id)));
    assert_eq!(acm(world, &arn).await, Ok(leaf.to_acm(&arn)));
}

/// Equal errors give an equal status, which is not written again.
pub async fn the_same_fault_has_the_same_error_every_time(world: &impl FailingWorld) {
    let (source, _) = generate(world, NewCertificate::new()).await;
    for failure in AwsFailure::ALL.into_iter().filter(|failure| *failure != AwsFailure::Stall) {
        world.fail(Operation::Get, failure, 3);
        let mut texts = Vec::new();
        for _ in 0..3 {
            texts.push(get(world, &source).await.unwrap_err().to_string());
        }
        texts.dedup();
        assert_eq!(texts.len(), 1, "{texts:?}");
    }
}

/// No failure changes the result of later calls.
pub async fn a_fault_does_not_affect_the_next_one(world: &impl FailingWorld) {
    let (source, made) = generate(world, NewCertificate::new()).await;
    let others = AwsFailure::ALL.into_iter().rev();
    for (first, second) in AwsFailure::ALL.into_iter().zip(others).filter(|(first, _)| *first != AwsFailure::Stall) {
        world.fail(Operation::Get, first, 1);
        world.fail(Operation::Get, second, 1);
        assert_eq!(of_kind(get(world, &source).await), Err(first.error()));
        assert_eq!(of_kind(get(world, &source).await), Err(second.error()), "after {first:?}");
        assert_eq!(get(world, &source).await.unwrap(), made, "after {first:?} and {second:?}");
    }
}
