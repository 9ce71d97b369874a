//! What every [`Gateway`] owes its callers. Each function is one test, for any gateway in a [`World`].

pub mod account;
mod trouble;
mod worlds;

use std::collections::BTreeMap;

use client_certificate_operator::aws::gateway::{
    AcmCertificate, AcmStatus, ClientCertificate, Gateway, GatewayError, Outage, PAGE_SIZE, Page, Place, Source, Stage,
};

pub use self::trouble::Trouble;
pub use self::worlds::{EmulatorWorld, MemoryWorld};
use crate::certificates::NewCertificate;
use crate::private_ca::{Chain, Leaf, NewLeaf, PrivateCa};
use crate::script::Operation;

/// A gateway together with the power over what it talks to.
pub trait World {
    /// The gateway under test.
    type Gateway: Gateway;

    /// The gateway.
    fn gateway(&self) -> &Self::Gateway;

    /// Where certificates and stages are made.
    fn region(&self) -> &str {
        "us-east-1"
    }

    /// Makes a certificate; under the id that it is to have, where the world can choose.
    fn generate(&self, region: &str, new: NewCertificate) -> impl Future<Output = ClientCertificate>;

    /// Deletes one.
    fn delete(&self, source: &Source) -> impl Future<Output = ()>;

    /// A REST API; in a world that can, a new one without stages.
    fn create_api(&self) -> impl Future<Output = String>;

    /// Has a stage present this certificate, or none. Makes the stage where it is missing.
    fn present(&self, rest_api_id: &str, stage: &str, certificate: Option<&str>) -> impl Future<Output = ()>;

    /// Deletes a stage.
    fn delete_stage(&self, rest_api_id: &str, stage: &str) -> impl Future<Output = ()>;

    /// Deletes a REST API with its stages.
    fn delete_api(&self, rest_api_id: &str) -> impl Future<Output = ()>;
}

/// A world with certificates of ACM.
pub trait AcmWorld: World {
    /// An ARN of the world's account in a region, which no certificate has.
    fn new_arn(&self, region: &str) -> String;

    /// Imports a certificate under an ARN, in the place of what was there.
    fn import(&self, arn: &str, leaf: &Leaf);

    /// Has ACM give a certificate another status.
    fn set_status(&self, arn: &str, status: AcmStatus);

    /// Deletes one.
    fn delete_imported(&self, arn: &str);
}

/// A world in which calls can be made to go wrong.
pub trait Troubled: AcmWorld {
    /// Has the next calls of an operation meet this trouble.
    fn trouble(&self, operation: Operation, trouble: Trouble, times: u32);
}

/// A region that is another one than the world's.
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

/// An outcome without what only a real connection has: the host, and the cause.
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

/// Nothing is lost or added on the way, dates included.
pub async fn a_certificate_comes_with_all_six_elements(world: &impl World) {
    let new = NewCertificate::new().id("9ao60f").description("orders").tag("team", "shop").tag("empty", "");
    let (source, made) = generate(world, new).await;
    let got = get(world, &source).await.unwrap();
    assert_eq!(got, made);
    assert_eq!((&got.id, got.description.as_str()), (&source.id, "orders"));
    assert_eq!((&got.tags["team"], &got.tags["empty"]), (&"shop".to_owned(), &String::new()));
    let (created, expires) = (got.created.unwrap(), got.expires.unwrap());
    assert_eq!(expires.duration_since(created).as_hours(), 365 * 24);
}

/// Judging and mending the PEM is for others.
pub async fn the_pem_is_untouched(world: &impl World) {
    let (source, _) = generate(world, NewCertificate::new()).await;
    let pem = get(world, &source).await.unwrap().pem;
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----\r\n"), "{pem:?}");
    assert!(pem.ends_with("\r\n-----END CERTIFICATE-----"), "{pem:?}");
    assert_eq!(pem.matches('\n').count(), pem.matches("\r\n").count());
}

/// API Gateway leaves an empty description out.
pub async fn a_missing_description_reads_as_empty(world: &impl World) {
    let (source, _) = generate(world, NewCertificate::new()).await;
    assert_eq!(get(world, &source).await.unwrap().description, "");
}

/// Neither call makes up a certificate.
pub async fn an_unknown_certificate_is_not_found(world: &impl World) {
    let source = Source::own(world.region(), "nosuch");
    assert_eq!(of_kind(get(world, &source).await), Err(GatewayError::NotFound));
    assert_eq!(set(world, &source, "x").await, Err(GatewayError::NotFound));
    let (source, _) = generate(world, NewCertificate::new()).await;
    world.delete(&source).await;
    assert_eq!(of_kind(get(world, &source).await), Err(GatewayError::NotFound));
}

/// An id means something in its region only.
pub async fn regions_are_apart(world: &impl World) {
    let (here, made) = generate(world, NewCertificate::new().id("twice1")).await;
    let there = Source::own(other_region(world), &here.id);
    assert_eq!(get(world, &there).await, Err(GatewayError::NotFound));
    let other = world.generate(&there.place.region, NewCertificate::new().id("twice1").shared_key()).await;
    assert_eq!(get(world, &there).await.unwrap().pem, other.pem);
    assert_eq!(get(world, &here).await.unwrap().pem, made.pem);
}

/// The answer to an update is what API Gateway then holds.
pub async fn a_description_is_set_and_echoed(world: &impl World) {
    let (source, made) = generate(world, NewCertificate::new().description("before").tag("a", "b")).await;
    let answer = set(world, &source, "after").await.unwrap();
    assert_eq!(answer, ClientCertificate { description: "after".into(), ..made });
    assert_eq!(get(world, &source).await.unwrap(), answer);
}

/// Setting the empty text clears.
pub async fn a_description_is_cleared(world: &impl World) {
    let (source, _) = generate(world, NewCertificate::new().description("before")).await;
    assert_eq!(set(world, &source, "").await.unwrap().description, "");
    assert_eq!(get(world, &source).await.unwrap().description, "");
}

/// No text is special.
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

/// The list tells the same of a certificate as a read of it does, each once, and nothing of another region.
pub async fn the_list_shows_what_a_read_shows(world: &impl World) {
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

/// As few calls as can be, and nothing twice.
pub async fn a_long_list_comes_in_full_pages(world: &impl World) {
    let mut made = Vec::new();
    for n in 0..=2 * PAGE_SIZE {
        made.push(generate(world, NewCertificate::new().id(format!("id{n:05}"))).await.1.id);
    }
    let pages = list(world, &Place::own(world.region())).await.unwrap();
    assert_eq!(pages.iter().map(|page| page.certificates.len()).collect::<Vec<_>>(), [PAGE_SIZE, PAGE_SIZE, 1]);
    assert_eq!(ids(&pages), made);
}

/// What is there from the first page to the last is shown once, whatever comes and goes meanwhile.
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

/// What the stages of an API present, by name.
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

/// What one stage presents; none, where there is no such stage.
async fn stage(world: &impl World, api: &str, name: &str) -> Option<Option<String>> {
    stages(world, world.region(), api).await.unwrap().remove(name)
}

/// The id of a certificate, or nothing, each stage for itself and in its own API.
pub async fn the_stages_of_an_api_show_what_they_present(world: &impl World) {
    let api = world.create_api().await;
    let (source, _) = generate(world, NewCertificate::new()).await;
    world.present(&api, "with", Some(&source.id)).await;
    world.present(&api, "without", None).await;
    assert_eq!(stage(world, &api, "with").await, Some(Some(source.id)));
    assert_eq!(stage(world, &api, "without").await, Some(None));
    assert_eq!(stage(world, &api, "nosuch").await, None);
}

/// An ARN comes as it is, and an empty id is none. API Gateway asks whether there is such a certificate, so this needs a world
/// that does not.
pub async fn an_arn_is_presented_and_an_empty_id_is_not(world: &impl World) {
    const ARN: &str = "arn:aws:acm:us-east-1:111122223333:certificate/12345678-1234-1234-1234-123456789012";
    let (api, other) = (world.create_api().await, world.create_api().await);
    world.present(&api, "mine", Some(ARN)).await;
    world.present(&api, "empty", Some("")).await;
    world.present(&other, "other", Some(ARN)).await;
    let expected = BTreeMap::from([("empty".to_owned(), None), ("mine".to_owned(), Some(ARN.to_owned()))]);
    assert_eq!(stages(world, world.region(), &api).await, Ok(expected));
}

/// The next read shows a switch, a stage that lost its certificate, and one that is gone.
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

/// No stages are no error; no API is one, in every region but its own.
pub async fn an_api_without_stages_is_not_a_missing_one(world: &impl World) {
    let api = world.create_api().await;
    assert_eq!(stages(world, world.region(), &api).await, Ok(BTreeMap::new()));
    assert_eq!(of_kind(stages(world, other_region(world), &api).await), Err(GatewayError::NotFound));
    world.delete_api(&api).await;
    assert_eq!(of_kind(stages(world, world.region(), &api).await), Err(GatewayError::NotFound));
}

/// An id that nobody has.
pub async fn an_unknown_api_is_not_found(world: &impl World) {
    assert_eq!(of_kind(stages(world, world.region(), "nosuchapi0").await), Err(GatewayError::NotFound));
}

async fn acm(world: &impl World, arn: &str) -> Result<AcmCertificate, GatewayError> {
    world.gateway().get_acm_certificate(&Place::own(world.region()), arn).await
}

fn import(world: &impl AcmWorld, leaf: &Leaf) -> String {
    let arn = world.new_arn(world.region());
    world.import(&arn, leaf);
    arn
}

/// Leaf, chain, status and date, and nothing is added to the PEM on the way or taken from it: LF, and a final newline.
pub async fn an_acm_certificate_comes_with_its_chain(world: &impl AcmWorld) {
    let ca = PrivateCa::root("root").intermediate("intermediate");
    let leaf = ca.issue(NewLeaf::new("payments"));
    let arn = import(world, &leaf);
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

/// Without a chain, without its root, in the wrong order: mending it is for others.
pub async fn a_chain_comes_as_it_was_imported(world: &impl AcmWorld) {
    let root = PrivateCa::root("root");
    let ca = root.intermediate("intermediate");
    for (chain, expected) in [
        (Chain::None, None),
        (Chain::WithoutRoot, Some(ca.certificate().to_owned())),
        (Chain::WrongOrder, Some([root.certificate(), ca.certificate()].concat())),
    ] {
        let arn = import(world, &ca.issue(NewLeaf::new("payments").chain(chain)));
        assert_eq!(acm(world, &arn).await.unwrap().chain, expected, "{chain:?}");
    }
}

/// ACM remembers no former one.
pub async fn a_reimport_shows_the_new_certificate_alone(world: &impl AcmWorld) {
    let (old, new) = (PrivateCa::root("old"), PrivateCa::root("new"));
    let arn = import(world, &old.issue(NewLeaf::new("payments")));
    acm(world, &arn).await.unwrap();
    let leaf = new.issue(NewLeaf::new("payments"));
    world.import(&arn, &leaf);
    assert_eq!(acm(world, &arn).await, Ok(leaf.to_acm(&arn)));
}

/// The certificate comes where ACM stands by it, and where it has merely ended.
pub async fn every_status_of_acm_is_told(world: &impl AcmWorld) {
    let ca = PrivateCa::root("root");
    let leaf = ca.issue(NewLeaf::new("payments"));
    let arn = import(world, &leaf);
    for status in [AcmStatus::Pending, AcmStatus::Failed, AcmStatus::Revoked, AcmStatus::Inactive] {
        world.set_status(&arn, status);
        let got = acm(world, &arn).await.unwrap();
        assert_eq!((got.status, got.leaf, got.chain), (status, None, None));
    }
    world.set_status(&arn, AcmStatus::Issued);
    assert_eq!(acm(world, &arn).await, Ok(leaf.to_acm(&arn)));
    let ended = ca.issue(NewLeaf::new("payments").expires_in_seconds(-60));
    world.import(&arn, &ended);
    let got = acm(world, &arn).await.unwrap();
    assert_eq!((got.status, got.leaf), (AcmStatus::Expired, Some(ended.certificate)));
}

/// Of another region, account or partition, or gone.
pub async fn an_arn_of_elsewhere_is_not_found(world: &impl AcmWorld) {
    let leaf = PrivateCa::root("root").issue(NewLeaf::new("payments"));
    let elsewhere = world.new_arn(other_region(world));
    world.import(&elsewhere, &leaf);
    let gone = import(world, &leaf);
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

/// Asking again does not help.
pub async fn what_is_no_acm_arn_is_refused(world: &impl AcmWorld) {
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

/// One error class for each way to fail, on reads, lists, stages, certificates of ACM and updates.
pub async fn every_trouble_has_its_error(world: &impl Troubled) {
    let leaf = PrivateCa::root("root").issue(NewLeaf::new("payments"));
    let arn = import(world, &leaf);
    let (source, _) = generate(world, NewCertificate::new().description("kept")).await;
    let api = world.create_api().await;
    world.present(&api, "prod", Some(&source.id)).await;
    for trouble in Trouble::ALL {
        world.trouble(Operation::Get, trouble, 1);
        assert_eq!(of_kind(get(world, &source).await), Err(trouble.error()), "get, {trouble:?}");
        world.trouble(Operation::List, trouble, 1);
        let listed = world.gateway().list_client_certificates(&source.place, None).await;
        assert_eq!(of_kind(listed), Err(trouble.error()), "list, {trouble:?}");
        world.trouble(Operation::GetStages, trouble, 1);
        assert_eq!(of_kind(stages(world, world.region(), &api).await), Err(trouble.error()), "stages, {trouble:?}");
        for operation in [Operation::DescribeCertificate, Operation::GetCertificate] {
            world.trouble(operation, trouble, 1);
            assert_eq!(of_kind(acm(world, &arn).await), Err(trouble.error()), "{operation:?}, {trouble:?}");
        }
        world.trouble(Operation::Update, trouble, 1);
        assert_eq!(of_kind(set(world, &source, "new").await), Err(trouble.error()), "set, {trouble:?}");
    }
    assert_eq!(get(world, &source).await.unwrap().description, "kept");
    assert_eq!(stage(world, &api, "prod").await, Some(Some(source.id)));
    assert_eq!(acm(world, &arn).await, Ok(leaf.to_acm(&arn)));
}

/// Equal errors are what keeps an unchanged status from being written again.
pub async fn the_same_trouble_reads_the_same_every_time(world: &impl Troubled) {
    let (source, _) = generate(world, NewCertificate::new()).await;
    for trouble in Trouble::ALL.into_iter().filter(|trouble| *trouble != Trouble::Stall) {
        world.trouble(Operation::Get, trouble, 3);
        let mut texts = Vec::new();
        for _ in 0..3 {
            texts.push(get(world, &source).await.unwrap_err().to_string());
        }
        texts.dedup();
        assert_eq!(texts.len(), 1, "{texts:?}");
    }
}

/// No trouble leaves anything behind that spoils the calls after it.
pub async fn trouble_of_one_kind_does_not_colour_the_next(world: &impl Troubled) {
    let (source, made) = generate(world, NewCertificate::new()).await;
    let others = Trouble::ALL.into_iter().rev();
    for (first, second) in Trouble::ALL.into_iter().zip(others).filter(|(first, _)| *first != Trouble::Stall) {
        world.trouble(Operation::Get, first, 1);
        world.trouble(Operation::Get, second, 1);
        assert_eq!(of_kind(get(world, &source).await), Err(first.error()));
        assert_eq!(of_kind(get(world, &source).await), Err(second.error()), "after {first:?}");
        assert_eq!(get(world, &source).await.unwrap(), made, "after {first:?} and {second:?}");
    }
}
