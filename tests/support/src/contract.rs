//! What every [`Gateway`] owes its callers. Each function is one test, for any gateway in a [`World`].

mod trouble;
mod worlds;

use client_certificate_operator::aws::gateway::{
    ClientCertificate, Gateway, GatewayError, Outage, PAGE_SIZE, Page, Place, Source, Stage,
};

pub use self::trouble::Trouble;
pub use self::worlds::{EmulatorWorld, MemoryWorld};
use crate::certificates::NewCertificate;
use crate::script::Operation;

/// A gateway together with the power over what it talks to.
pub trait World {
    /// The gateway under test.
    type Gateway: Gateway;

    /// The gateway.
    fn gateway(&self) -> &Self::Gateway;

    /// Makes a certificate.
    fn generate(&self, region: &str, new: NewCertificate) -> ClientCertificate;

    /// Deletes one.
    fn delete(&self, source: &Source);

    /// Makes a REST API without stages.
    fn create_api(&self, region: &str, rest_api_id: &str);

    /// Has a stage present this certificate, or none. Makes the API and the stage where they are missing.
    fn present(&self, region: &str, rest_api_id: &str, stage: &str, certificate: Option<&str>);

    /// Deletes a stage.
    fn delete_stage(&self, region: &str, rest_api_id: &str, stage: &str);

    /// Deletes a REST API with its stages.
    fn delete_api(&self, region: &str, rest_api_id: &str);

    /// Has the next calls of an operation meet this trouble.
    fn trouble(&self, operation: Operation, trouble: Trouble, times: u32);
}

const REGION: &str = "us-east-1";

fn generate(world: &impl World, new: NewCertificate) -> (Source, ClientCertificate) {
    let certificate = world.generate(REGION, new.shared_key());
    (Source::own(REGION, &certificate.id), certificate)
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
    let (source, made) = generate(world, new);
    let got = get(world, &source).await.unwrap();
    assert_eq!(got, made);
    assert_eq!((got.id.as_str(), got.description.as_str(), got.tags.len()), ("9ao60f", "orders", 2));
    let (created, expires) = (got.created.unwrap(), got.expires.unwrap());
    assert_eq!(expires.duration_since(created).as_hours(), 365 * 24);
}

/// Judging and mending the PEM is for others.
pub async fn the_pem_is_untouched(world: &impl World) {
    let (source, _) = generate(world, NewCertificate::new());
    let pem = get(world, &source).await.unwrap().pem;
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----\r\n"), "{pem:?}");
    assert!(pem.ends_with("\r\n-----END CERTIFICATE-----"), "{pem:?}");
    assert_eq!(pem.matches('\n').count(), pem.matches("\r\n").count());
}

/// API Gateway leaves an empty description out.
pub async fn a_missing_description_reads_as_empty(world: &impl World) {
    let (source, _) = generate(world, NewCertificate::new());
    assert_eq!(get(world, &source).await.unwrap().description, "");
}

/// Neither call makes up a certificate.
pub async fn an_unknown_certificate_is_not_found(world: &impl World) {
    let source = Source::own(REGION, "nosuch");
    assert_eq!(of_kind(get(world, &source).await), Err(GatewayError::NotFound));
    assert_eq!(set(world, &source, "x").await, Err(GatewayError::NotFound));
    let (source, _) = generate(world, NewCertificate::new());
    world.delete(&source);
    assert_eq!(of_kind(get(world, &source).await), Err(GatewayError::NotFound));
}

/// An id means something in its region only.
pub async fn regions_are_apart(world: &impl World) {
    let (here, made) = generate(world, NewCertificate::new().id("twice1"));
    let there = Source::own("eu-central-1", &here.id);
    assert_eq!(get(world, &there).await, Err(GatewayError::NotFound));
    let other = world.generate(&there.place.region, NewCertificate::new().id("twice1").shared_key());
    assert_eq!(get(world, &there).await.unwrap().pem, other.pem);
    assert_eq!(get(world, &here).await.unwrap().pem, made.pem);
}

/// The answer to an update is what API Gateway then holds.
pub async fn a_description_is_set_and_echoed(world: &impl World) {
    let (source, made) = generate(world, NewCertificate::new().description("before").tag("a", "b"));
    let answer = set(world, &source, "after").await.unwrap();
    assert_eq!(answer, ClientCertificate { description: "after".into(), ..made });
    assert_eq!(get(world, &source).await.unwrap(), answer);
}

/// Setting the empty text clears.
pub async fn a_description_is_cleared(world: &impl World) {
    let (source, _) = generate(world, NewCertificate::new().description("before"));
    assert_eq!(set(world, &source, "").await.unwrap().description, "");
    assert_eq!(get(world, &source).await.unwrap().description, "");
}

/// No text is special.
pub async fn descriptions_of_every_kind_survive(world: &impl World) {
    let (source, _) = generate(world, NewCertificate::new());
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

/// The list tells the same of a certificate as a read of it does.
pub async fn the_list_shows_what_a_read_shows(world: &impl World) {
    let (source, _) = generate(world, NewCertificate::new().id("9ao60f").description("orders").tag("team", "shop"));
    generate(world, NewCertificate::new().id("k2c0qe"));
    let pages = list(world, &source.place).await.unwrap();
    assert_eq!(ids(&pages), ["9ao60f", "k2c0qe"]);
    assert_eq!(pages[0].certificates[0], get(world, &source).await.unwrap());
    assert_eq!(list(world, &Place::own("eu-central-1")).await.unwrap(), [Page::default()], "another region's is empty");
}

/// As few calls as can be, and nothing twice.
pub async fn a_long_list_comes_in_full_pages(world: &impl World) {
    let made: Vec<_> =
        (0..=2 * PAGE_SIZE).map(|n| generate(world, NewCertificate::new().id(format!("id{n:05}"))).1.id).collect();
    let pages = list(world, &Place::own(REGION)).await.unwrap();
    assert_eq!(pages.iter().map(|page| page.certificates.len()).collect::<Vec<_>>(), [PAGE_SIZE, PAGE_SIZE, 1]);
    assert_eq!(ids(&pages), made);
}

/// What is there from the first page to the last is shown once, whatever comes and goes meanwhile.
pub async fn a_list_survives_changes_between_its_pages(world: &impl World) {
    let place = Place::own(REGION);
    let made: Vec<_> =
        (0..PAGE_SIZE + 10).map(|n| generate(world, NewCertificate::new().id(format!("id{n:05}"))).0).collect();
    let first = world.gateway().list_client_certificates(&place, None).await.unwrap();
    world.delete(&made[3]);
    world.delete(&made[PAGE_SIZE - 1]);
    world.delete(&made[PAGE_SIZE + 3]);
    generate(world, NewCertificate::new().id("id00000a"));
    generate(world, NewCertificate::new().id("id99999"));
    let position = first.next.clone().unwrap();
    let second = world.gateway().list_client_certificates(&place, Some(&position)).await.unwrap();
    assert_eq!(second.next, None);
    let mut expected: Vec<_> = made[PAGE_SIZE..].iter().map(|source| source.id.as_str()).collect();
    expected.remove(3);
    expected.push("id99999");
    assert_eq!(ids(&[second]), expected);
}

const API: &str = "a1b2c3d4e5";

/// What the stages of the API present, by name.
async fn stages(world: &impl World, region: &str) -> Result<Vec<(String, Option<String>)>, GatewayError> {
    let stages = world.gateway().get_stages(&Place::own(region), API).await?;
    let mut stages: Vec<_> = stages.into_iter().map(|Stage { name, certificate }| (name, certificate)).collect();
    stages.sort();
    Ok(stages)
}

fn stage(name: &str, certificate: Option<&str>) -> (String, Option<String>) {
    (name.to_owned(), certificate.map(str::to_owned))
}

/// An id, an ARN, or nothing. An empty id is nothing too.
pub async fn the_stages_of_an_api_show_what_they_present(world: &impl World) {
    const ARN: &str = "arn:aws:acm:us-east-1:111122223333:certificate/12345678-1234-1234-1234-123456789012";
    let (source, _) = generate(world, NewCertificate::new());
    world.present(REGION, API, "prod", Some(&source.id));
    world.present(REGION, API, "mine", Some(ARN));
    world.present(REGION, API, "bare", None);
    world.present(REGION, API, "empty", Some(""));
    world.present(REGION, "f6g7h8i9j0", "other", Some(&source.id));
    let expected =
        [stage("bare", None), stage("empty", None), stage("mine", Some(ARN)), stage("prod", Some(&source.id))];
    assert_eq!(stages(world, REGION).await.unwrap(), expected);
}

/// The next read shows a switch, a stage that lost its certificate, and one that is gone.
pub async fn stages_change_between_reads(world: &impl World) {
    world.present(REGION, API, "prod", Some("9ao60f"));
    world.present(REGION, API, "test", Some("9ao60f"));
    assert_eq!(stages(world, REGION).await.unwrap().len(), 2);
    world.present(REGION, API, "prod", Some("k2c0qe"));
    world.present(REGION, API, "test", None);
    assert_eq!(stages(world, REGION).await.unwrap(), [stage("prod", Some("k2c0qe")), stage("test", None)]);
    world.delete_stage(REGION, API, "prod");
    assert_eq!(stages(world, REGION).await.unwrap(), [stage("test", None)]);
}

/// No stages are no error; no API is one, in every region but its own.
pub async fn an_api_without_stages_is_not_a_missing_one(world: &impl World) {
    assert_eq!(of_kind(stages(world, REGION).await), Err(GatewayError::NotFound));
    world.create_api(REGION, API);
    assert_eq!(stages(world, REGION).await, Ok(Vec::new()));
    assert_eq!(of_kind(stages(world, "eu-central-1").await), Err(GatewayError::NotFound));
    world.delete_api(REGION, API);
    assert_eq!(of_kind(stages(world, REGION).await), Err(GatewayError::NotFound));
}

/// One error class for each way to fail, on reads, lists, stages and updates.
pub async fn every_trouble_has_its_error(world: &impl World) {
    let (source, _) = generate(world, NewCertificate::new().description("kept"));
    world.present(REGION, API, "prod", Some(&source.id));
    for trouble in Trouble::ALL {
        world.trouble(Operation::Get, trouble, 1);
        assert_eq!(of_kind(get(world, &source).await), Err(trouble.error()), "get, {trouble:?}");
        world.trouble(Operation::List, trouble, 1);
        let listed = world.gateway().list_client_certificates(&source.place, None).await;
        assert_eq!(of_kind(listed), Err(trouble.error()), "list, {trouble:?}");
        world.trouble(Operation::GetStages, trouble, 1);
        assert_eq!(of_kind(stages(world, REGION).await), Err(trouble.error()), "stages, {trouble:?}");
        world.trouble(Operation::Update, trouble, 1);
        assert_eq!(of_kind(set(world, &source, "new").await), Err(trouble.error()), "set, {trouble:?}");
    }
    assert_eq!(get(world, &source).await.unwrap().description, "kept");
    assert_eq!(stages(world, REGION).await.unwrap(), [stage("prod", Some(&source.id))]);
}

/// Equal errors are what keeps an unchanged status from being written again.
pub async fn the_same_trouble_reads_the_same_every_time(world: &impl World) {
    let (source, _) = generate(world, NewCertificate::new());
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
pub async fn trouble_of_one_kind_does_not_colour_the_next(world: &impl World) {
    let (source, made) = generate(world, NewCertificate::new());
    let others = Trouble::ALL.into_iter().rev();
    for (first, second) in Trouble::ALL.into_iter().zip(others).filter(|(first, _)| *first != Trouble::Stall) {
        world.trouble(Operation::Get, first, 1);
        world.trouble(Operation::Get, second, 1);
        assert_eq!(of_kind(get(world, &source).await), Err(first.error()));
        assert_eq!(of_kind(get(world, &source).await), Err(second.error()), "after {first:?}");
        assert_eq!(get(world, &source).await.unwrap(), made, "after {first:?} and {second:?}");
    }
}
