//! The bridge between the abstract world and the real functions: it builds their arguments, calls them, and reads their
//! results. The functions are pure, so each set of facts is computed once.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use client_certificate_operator::api::{
    CertificateStatus, ClientCertificateRef, ClientCertificateRefStatus, MANAGED_LABEL, OBJECT_ANNOTATION,
    OWNER_ANNOTATION, ResourceName,
};
use client_certificate_operator::aws::answer::Answer;
use client_certificate_operator::aws::gateway::{
    CertificateKey, ClientCertificate, Denial, GatewayError, Outage, Source,
};
use client_certificate_operator::aws::scope::Snapshot as CacheSnapshot;
use client_certificate_operator::certificate::Certificate;
use client_certificate_operator::conditions::{ConditionType, Reason, find, is_false, is_true};
use client_certificate_operator::controllers::description::plan::{MaySend, Outcome, Update, Updates};
use client_certificate_operator::controllers::description::{Claim, Claims};
use client_certificate_operator::controllers::mirror::{
    Action, Effect, Hold, Marked, Named, Plan, Snapshot, TargetPlan, WriteBackoff, Written, plan, status, written,
};
use client_certificate_operator::error::{ClusterFailure, ReadFailure};
use client_certificate_operator::settings::{Now, Settings};
use client_certificate_operator::target::{Desired, Target, TargetObject};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use operator_testing::certificates::{NewCertificate, issue};

use super::pool::{Memo, Pool};

pub const IDS: [&str; 3] = ["9ao60f", "k2c0qe", "q4w8zt"];
/// The names of the older and the younger resource.
pub const NAMES: [&str; 2] = ["payments", "orders"];
/// Texts of descriptions: none, the older resource's, the younger one's, another writer's.
pub const TEXTS: [&str; 4] = ["", "old", "young", "outside"];
const NAMESPACE: &str = "backends";
const TARGET: &str = "backend-ca";
const REGION: &str = "us-east-1";
/// The uid and the version of the existing object, and the uid of a former one.
const LIFE: &str = "this life";
const FORMER_LIFE: &str = "former life";
const VERSION: &str = "20";
const FORMER_VERSION: &str = "10";

/// A guard of the core that the model can remove, to show that a property detects its absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guard {
    /// The operator writes a foreign object only if the spec adopts it and no data is lost.
    Adoption,
    /// A replacement has the uid and the version that were read.
    Precondition,
    /// A write of a status has the version that was read.
    StatusVersion,
    /// The oldest claim to a description wins.
    ClaimAge,
    /// An additional certificate that AWS does not have is no longer trusted.
    EndsTrust,
    /// The operator writes no target without a certificate.
    NeverBlank,
    /// The operator does not change the object of another resource.
    OwnedByAnother,
    /// The operator compares the content of the target, whatever the status contains.
    Comparison,
    /// The operator writes a target only if its content differs.
    Difference,
    /// At most one update of a description is in progress.
    OneUpdate,
    /// An update that waited for a token is sent only if its owner still wants it.
    Withdrawal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Spec {
    pub generation: u8,
    pub main: u8,
    pub additional: Option<u8>,
    pub adopt: bool,
    pub text: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    NotFound,
    Denied,
    Down,
}

/// The read of a certificate in the cache of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Read {
    Pending,
    Good,
    Failed { why: Why, was_good: bool },
}

/// The version of the target that a replica has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    Current,
    Older,
    FormerLife,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seen {
    pub secret: u32,
    pub version: Version,
}

/// The input of a decision about one resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Facts {
    pub resource: u8,
    pub spec: Spec,
    pub status: u32,
    pub target: Option<Seen>,
    pub reads: [Read; 3],
    /// The description of the first certificate in the cache.
    pub text: u8,
    pub description: u32,
    pub hold: Option<(u16, bool)>,
    pub tick: u16,
}

/// The result of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Done {
    Written,
    Exists,
    Conflict,
    NoAnswer,
}

/// A write of the target in the API server.
#[derive(Clone, Debug)]
pub struct Write {
    pub secret: u32,
    pub is_create: bool,
    pub meets_precondition: bool,
}

pub struct Decided {
    pub plan: Plan,
    pub writes: Vec<Write>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concluded {
    pub status: u32,
    pub is_write_held: bool,
}

static SECRETS: LazyLock<Pool<Secret>> = LazyLock::new(Pool::default);
static STATUSES: LazyLock<Pool<Option<ClientCertificateRefStatus>>> = LazyLock::new(Pool::default);
static OUTCOMES: LazyLock<Pool<Option<Outcome>>> = LazyLock::new(Pool::default);
static UPDATES: LazyLock<Pool<Updates>> = LazyLock::new(Pool::default);
/// The updates of a description that are in progress.
static SENDING: LazyLock<Pool<Update>> = LazyLock::new(Pool::default);
static BACKOFFS: LazyLock<Pool<Option<WriteBackoff>>> = LazyLock::new(Pool::default);

/// The time of every decision. Certificates do not expire in this world.
static WALL: LazyLock<Timestamp> = LazyLock::new(|| Timestamp::from_second(Timestamp::now().as_second()).unwrap());

static CERTIFICATES: LazyLock<[ClientCertificate; 3]> = LazyLock::new(|| {
    // Valid from the time of the model: otherwise a certificate that is issued in the next second is not valid yet.
    let new = |id| NewCertificate { not_before: Some(*WALL), ..NewCertificate::new().id(id).shared_key() };
    IDS.map(|id| issue(new(id)).certificate)
});

static ANSWERS: LazyLock<Vec<Vec<Arc<Answer>>>> = LazyLock::new(|| {
    let answer = |at: usize, text: &str| {
        let came = ClientCertificate { description: text.to_owned(), ..CERTIFICATES[at].clone() };
        Arc::new(Answer::check(&source(at as u8), None, came, *WALL).unwrap())
    };
    (0..3).map(|at| TEXTS.iter().map(|text| answer(at, text)).collect()).collect()
});

/// The PEM of each certificate in a target.
static PEMS: LazyLock<[String; 3]> =
    LazyLock::new(|| [0, 1, 2].map(|at| Certificate::parse(&CERTIFICATES[at].pem).unwrap().main().pem.clone()));

fn settings() -> Settings {
    Settings {
        default_region: Some(REGION.to_owned()),
        expiring_within: Duration::from_secs(30 * 24 * 3600),
        installation: "operators/ours".to_owned(),
        manage_descriptions: true,
        target_kinds: Default::default(),
    }
}

pub fn source(certificate: u8) -> Source {
    Source::own(REGION, IDS[usize::from(certificate)])
}

fn key(certificate: u8) -> CertificateKey {
    CertificateKey { account: None, region: REGION.to_owned(), id: IDS[usize::from(certificate)].to_owned() }
}

fn tick(minutes: u16) -> Duration {
    Duration::from_secs(60 * u64::from(minutes))
}

pub fn no_status() -> u32 {
    STATUSES.number(None)
}

pub fn no_outcome() -> u32 {
    OUTCOMES.number(None)
}

pub fn no_updates() -> u32 {
    UPDATES.number(Updates::default())
}

pub fn no_backoff() -> u32 {
    BACKOFFS.number(None)
}

pub fn secret(number: u32) -> Arc<Secret> {
    SECRETS.get(number)
}

/// Stores a Secret without uid and version, which the model keeps.
pub fn stored(mut secret: Secret) -> u32 {
    secret.metadata.uid = None;
    secret.metadata.resource_version = None;
    SECRETS.number(secret)
}

/// A Secret of another writer. With more keys, it can never be adopted.
pub fn foreign_secret(with_more_keys: bool) -> u32 {
    let mut secret = Secret { type_: Some("Opaque".to_owned()), ..Secret::default() };
    secret.metadata.name = Some(TARGET.to_owned());
    secret.metadata.namespace = Some(NAMESPACE.to_owned());
    let data = secret.data.get_or_insert_default();
    data.insert("ca.crt".to_owned(), ByteString(b"theirs".to_vec()));
    if with_more_keys {
        data.insert("more".to_owned(), ByteString(b"theirs".to_vec()));
    }
    stored(secret)
}

/// Another writer changes the data.
pub fn edited(number: u32) -> u32 {
    let mut secret = Secret::clone(&secret(number));
    secret.data.get_or_insert_default().insert("ca.crt".to_owned(), ByteString(b"edited".to_vec()));
    stored(secret)
}

/// Another writer removes the operator's label, annotations and owner reference.
pub fn unmarked(number: u32) -> u32 {
    let mut secret = Secret::clone(&secret(number));
    secret.metadata.labels = None;
    secret.metadata.annotations = None;
    secret.metadata.owner_references = None;
    stored(secret)
}

/// The relevant properties of a Secret.
pub struct Holds {
    pub is_labelled: bool,
    pub has_more_keys: bool,
    pub is_blank: bool,
    /// The certificates, if the Secret holds nothing else.
    pub certificates: Option<Vec<u8>>,
    pub owner: Option<u8>,
}

pub fn holds(number: u32) -> Arc<Holds> {
    static KNOWN: LazyLock<Memo<u32, Holds>> = LazyLock::new(Memo::default);
    KNOWN.of(&number, || {
        let secret = secret(number);
        let data = secret.data.clone().unwrap_or_default();
        let text = data.get("ca.crt").map(|value| String::from_utf8_lossy(&value.0).into_owned()).unwrap_or_default();
        let meta = Secret::clone(&secret).into_target().meta;
        let (mut rest, mut certificates) = (text.as_str(), Some(Vec::new()));
        while !rest.is_empty() {
            let next = (0..3).find_map(|at| Some((at, rest.strip_prefix(PEMS[at].as_str())?)));
            let (Some((at, after)), Some(list)) = (next, &mut certificates) else {
                certificates = None;
                break;
            };
            list.push(at as u8);
            rest = after;
        }
        Holds {
            is_labelled: meta.is_labelled(),
            has_more_keys: data.len() > 1,
            is_blank: data.values().all(|value| value.0.is_empty()),
            certificates,
            owner: meta.owner_name().and_then(|name| NAMES.iter().position(|it| *it == name)).map(|at| at as u8),
        }
    })
}

/// The relevant content of a status.
#[derive(Debug)]
pub struct Reported {
    pub names_target: bool,
    pub is_written: bool,
    pub is_not_written: bool,
    pub reason: Option<Reason>,
    pub certificates: Vec<u8>,
    pub generation: i64,
    pub is_ready: bool,
}

pub fn reported(number: u32) -> Arc<Reported> {
    static KNOWN: LazyLock<Memo<u32, Reported>> = LazyLock::new(Memo::default);
    KNOWN.of(&number, || {
        let status = STATUSES.get(number).as_ref().clone().unwrap_or_default();
        let number_of = |held: &CertificateStatus| IDS.iter().position(|id| *id == held.id).unwrap() as u8;
        Reported {
            names_target: status.target.is_some(),
            is_written: is_true(&status.conditions, ConditionType::TargetWritten),
            is_not_written: is_false(&status.conditions, ConditionType::TargetWritten),
            reason: find(&status.conditions, ConditionType::TargetWritten).and_then(|it| Reason::parse(&it.reason)),
            certificates: status.certificates.iter().map(number_of).collect(),
            generation: status.observed_generation.unwrap_or_default(),
            is_ready: is_true(&status.conditions, ConditionType::Ready),
        }
    })
}

pub fn explain(number: u32) -> String {
    let status = STATUSES.get(number).as_ref().clone().unwrap_or_default();
    let condition = |c: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
        format!("{}={}/{} ({})", c.type_, c.status, c.reason, c.message)
    };
    let conditions: Vec<_> = status.conditions.iter().map(condition).collect();
    format!("{:?} {}", reported(number), conditions.join("; "))
}

fn resource(index: u8, spec: &Spec, status: u32) -> ClientCertificateRef {
    let at = usize::from(index);
    let mut resource = ClientCertificateRef::default();
    resource.metadata.name = Some(NAMES[at].to_owned());
    resource.metadata.namespace = Some(NAMESPACE.to_owned());
    resource.metadata.uid = Some(format!("uid-{}", NAMES[at]));
    resource.metadata.generation = Some(spec.generation.into());
    resource.metadata.resource_version = Some("1".to_owned());
    let age = SignedDuration::from_hours(2 - i64::from(index));
    resource.metadata.creation_timestamp = Some(Time(*WALL - age));
    resource.spec.client_certificate_id = Some(IDS[usize::from(spec.main)].to_owned());
    let additional = spec.additional.iter().map(|at| IDS[usize::from(*at)].to_owned());
    resource.spec.additional_client_certificate_ids = additional.collect();
    resource.spec.refresh_interval = "5m".to_owned();
    resource.spec.description = spec.text.map(|text| TEXTS[usize::from(text)].to_owned());
    resource.spec.target.name = Some(TARGET.to_owned());
    resource.spec.target.adopt = spec.adopt;
    resource.status = STATUSES.get(status).as_ref().clone();
    resource
}

fn read(certificate: u8, read: Read, text: u8) -> Option<CacheSnapshot<Answer>> {
    let text = if certificate == 0 { usize::from(text) } else { 0 };
    let answer = || Arc::clone(&ANSWERS[usize::from(certificate)][text]);
    match read {
        Read::Pending => None,
        Read::Good => Some(CacheSnapshot {
            started: Duration::ZERO,
            outcome: Ok(answer()),
            last_good: Some(answer()),
            failing_since: None,
        }),
        Read::Failed { why, was_good } => Some(CacheSnapshot {
            started: Duration::ZERO,
            outcome: Err(ReadFailure::Gateway(failure(why))),
            last_good: was_good.then(answer),
            failing_since: Some(Duration::ZERO),
        }),
    }
}

pub fn failure(why: Why) -> GatewayError {
    match why {
        Why::NotFound => GatewayError::NotFound,
        Why::Denied => GatewayError::AccessDenied(Denial::NotAuthorized),
        Why::Down => GatewayError::Unavailable { outage: Outage::TimedOut, retry_after: None },
    }
}

fn target(seen: Seen) -> Target {
    let mut secret = Secret::clone(&secret(seen.secret));
    let (uid, version) = match seen.version {
        Version::Current => (LIFE, VERSION),
        Version::Older => (LIFE, FORMER_VERSION),
        Version::FormerLife => (FORMER_LIFE, FORMER_VERSION),
    };
    secret.metadata.uid = Some(uid.to_owned());
    secret.metadata.resource_version = Some(version.to_owned());
    secret.into_target()
}

fn snapshot(facts: &Facts, without: Option<Guard>) -> Snapshot {
    let named = |certificate: u8, is_additional: bool| {
        let state = match facts.reads[usize::from(certificate)] {
            Read::Failed { why: Why::NotFound, was_good } if is_additional && without == Some(Guard::EndsTrust) => {
                Read::Failed { why: Why::Down, was_good }
            }
            state => state,
        };
        Named {
            id: IDS[usize::from(certificate)].to_owned(),
            source: Ok(source(certificate)),
            read: read(certificate, state, facts.text),
        }
    };
    let is_read = |certificate: &u8| facts.reads[usize::from(*certificate)] != Read::Pending;
    let target = facts.target.map(target);
    let has_owner = target.as_ref().is_some_and(|target| target.meta.owner_name().is_some());
    Snapshot {
        now: Now { wall: *WALL, tick: tick(facts.tick) },
        jitter: 0.5,
        main: Some(named(facts.spec.main, false)),
        stage: None,
        additional: facts.spec.additional.iter().map(|at| named(*at, true)).collect(),
        unnamed: Vec::new(),
        own_account: None,
        acm: Vec::new(),
        tags: None,
        repaired: None,
        answered: is_read(&facts.spec.main) && facts.spec.additional.iter().all(is_read),
        asked: Duration::ZERO,
        may_describe: Ok(()),
        description: OUTCOMES.get(facts.description).as_ref().clone(),
        target: Ok(target),
        owner_exists: has_owner && without != Some(Guard::OwnedByAnother),
        former_targets: Vec::new(),
        password: None,
        written_password: None,
        hold: facts.hold.map(|(until, is_contested)| Hold { until: tick(until), is_contested }),
        installation: Marked { name: "operators/ours".to_owned(), rival: None },
    }
}

/// The real `plan`, or the plan of a core without one of its guards.
pub fn decide(facts: &Facts, without: Option<Guard>) -> Arc<Decided> {
    static KNOWN: LazyLock<Memo<(Facts, Option<Guard>), Decided>> = LazyLock::new(Memo::default);
    KNOWN.of(&(facts.clone(), without), || {
        let resource = resource(facts.resource, &facts.spec, facts.status);
        let mut snapshot = snapshot(facts, without);
        let mut decided = plan(&resource, &snapshot);
        match (&decided.target, without) {
            (
                TargetPlan::Blocked { reason: Reason::TargetExists | Reason::NotAdoptable, .. },
                Some(Guard::Adoption),
            ) => {
                let target = snapshot.target.as_mut().unwrap().as_mut().unwrap();
                let name = format!("{NAMESPACE}/{}", NAMES[usize::from(facts.resource)]);
                target.meta.labels.insert(MANAGED_LABEL.to_owned(), "true".to_owned());
                target.meta.annotations.insert(OWNER_ANNOTATION.to_owned(), name);
                target.meta.annotations.insert(OBJECT_ANNOTATION.to_owned(), format!("Secret/{TARGET}"));
                decided = plan(&resource, &snapshot);
            }
            (TargetPlan::NoCertificate, Some(Guard::NeverBlank)) if facts.target.is_none() => {
                let good = Facts { reads: [Read::Good; 3], ..facts.clone() };
                decided = plan(&resource, &self::snapshot(&good, None));
                if let Some(Action::Create { desired, .. }) = decided.actions.first_mut() {
                    desired.data.values_mut().for_each(Vec::clear);
                }
            }
            (_, Some(Guard::Comparison)) if facts.target.is_some() => {
                let said = reported(facts.status);
                if said.is_written && said.generation == i64::from(facts.spec.generation) {
                    decided.actions.clear();
                }
            }
            (TargetPlan::Holds(_), Some(Guard::Difference)) if decided.actions.is_empty() => {
                let target = facts.target.map(|seen| Seen { secret: edited(seen.secret), ..seen });
                decided = plan(&resource, &self::snapshot(&Facts { target, ..facts.clone() }, None));
            }
            _ => {}
        }
        let writes = decided.actions.iter().map(write).collect();
        Decided { plan: decided, writes }
    })
}

fn write(action: &Action) -> Write {
    let of = |desired: &Desired, meta, current, immutable| Secret::of_desired(desired, meta, current, immutable);
    let (secret, is_create) = match action {
        Action::Create { desired, .. } => (of(desired, desired.merge(None), None, false), true),
        Action::Replace { current, desired, meta, immutable, .. } => {
            (of(desired, meta.clone(), Some(current), *immutable), false)
        }
        Action::Delete { .. } | Action::Release { .. } => panic!("there are no former targets in this world"),
    };
    let (uid, version) = (secret.metadata.uid.as_deref(), secret.metadata.resource_version.as_deref());
    let meets_precondition = (uid, version) == (Some(LIFE), Some(VERSION));
    Write { secret: stored(secret), is_create, meets_precondition }
}

fn effects(decided: &Decided, done: &[Done]) -> Vec<Effect> {
    let result = |done: &Done| match done {
        Done::Written => Ok(()),
        Done::Exists => Err(ClusterFailure::AlreadyExists),
        Done::Conflict => Err(ClusterFailure::Conflict),
        Done::NoAnswer => Err(ClusterFailure::Unavailable { cause: "no connection".to_owned() }),
    };
    let actions = decided.plan.actions.iter().zip(done);
    actions.map(|(action, done)| Effect { action: action.clone(), result: Some(result(done)) }).collect()
}

/// The real `written`, `WriteBackoff` and `status`. Returns the status and the new backoff.
pub fn conclude(facts: &Facts, done: &[Done], backoff: u32, without: Option<Guard>) -> (Arc<Concluded>, u32) {
    type Key = (Facts, Vec<Done>, u32, Option<Guard>);
    static KNOWN: LazyLock<Memo<Key, (Arc<Concluded>, u32)>> = LazyLock::new(Memo::default);
    let known = KNOWN.of(&(facts.clone(), done.to_vec(), backoff, without), || {
        let resource = resource(facts.resource, &facts.spec, facts.status);
        let snapshot = snapshot(facts, without);
        let decided = decide(facts, without);
        let effects = effects(&decided, done);
        let (generation, now) = (resource.generation(), snapshot.now.tick);
        let mut backoff = BACKOFFS.get(backoff).as_ref().clone().unwrap_or_else(|| WriteBackoff::new(generation));
        let came = written(&decided.plan, &effects);
        assert!(done.is_empty() || came != Written::Nothing);
        backoff.note(generation, came, now, snapshot.jitter);
        let hold = backoff.hold(generation, now);
        let backoff = Some(backoff).filter(|backoff| !backoff.is_idle(now));
        let outcome = status(&resource, &snapshot, &decided.plan, &effects, hold, &settings());
        let is_write_held = matches!(decided.plan.target, TargetPlan::Waits(_)) || hold.is_some();
        let concluded = Concluded { status: STATUSES.number(Some(outcome.status)), is_write_held };
        (Arc::new(concluded), BACKOFFS.number(backoff))
    });
    (Arc::clone(&known.0), known.1)
}

/// The wait of the next write of a resource, in whole minutes.
pub fn hold(backoff: u32, spec: &Spec, now: u16) -> Option<(u16, bool)> {
    let backoff = BACKOFFS.get(backoff);
    let hold = backoff.as_ref().as_ref()?.hold(Some(spec.generation.into()), tick(now))?;
    let until = u16::try_from(hold.until.as_secs().div_ceil(60)).unwrap();
    Some((until, hold.is_contested))
}

/// A resource in a store: its spec and the number of its status.
pub type Stored = (Spec, u32);

/// The real `Claims`: the resource that owns the description of a certificate, which may be readable or not.
pub fn owner(
    resources: [Stored; 2],
    certificate: u8,
    is_readable: bool,
    without: Option<Guard>,
) -> Arc<Option<(u8, Claim)>> {
    type Key = ([Stored; 2], u8, bool, Option<Guard>);
    static KNOWN: LazyLock<Memo<Key, Option<(u8, Claim)>>> = LazyLock::new(Memo::default);
    KNOWN.of(&(resources, certificate, is_readable, without), || {
        let mut claims = Claims::default();
        for (index, (spec, status)) in resources.iter().enumerate() {
            let mut resource = resource(index as u8, spec, *status);
            if without == Some(Guard::ClaimAge) {
                let age = SignedDuration::from_hours(1 + index as i64);
                resource.metadata.creation_timestamp = Some(Time(*WALL - age));
            }
            claims.apply(&resource, Some((&key(spec.main), &source(spec.main))));
        }
        let claim = claims.owner(&key(certificate), |_| is_readable)?;
        let index = NAMES.iter().position(|name| *name == claim.resource.name).unwrap();
        Some((index as u8, claim.clone()))
    })
}

/// The result of the description controller of a replica: the outcome, the new state of its updates, and the update to
/// send.
pub struct Described {
    pub outcome: u32,
    pub updates: u32,
    pub sends: Option<u32>,
}

/// The real `Claims` and `Updates`, in the reconcile of a resource.
pub fn describe(
    stores: [Stored; 2],
    by: u8,
    found: Option<u8>,
    updates: u32,
    now: u16,
    without: Option<Guard>,
) -> Arc<Described> {
    type Key = ([Stored; 2], u8, Option<u8>, u32, u16, Option<Guard>);
    static KNOWN: LazyLock<Memo<Key, Described>> = LazyLock::new(Memo::default);
    KNOWN.of(&(stores, by, found, updates, now, without), || {
        let mut updates = Updates::clone(&UPDATES.get(updates));
        if without == Some(Guard::OneUpdate) {
            updates.end();
        }
        let (spec, _) = stores[usize::from(by)];
        let owner = owner(stores, spec.main, found.is_some(), without);
        let Some((_, claim)) = owner.as_ref() else {
            let updates = if updates.is_in_progress() { updates } else { Updates::default() };
            return Described { outcome: no_outcome(), updates: UPDATES.number(updates), sends: None };
        };
        let found = found.map(|found| TEXTS[usize::from(found)]);
        let by = ResourceName::new(NAMESPACE, NAMES[usize::from(by)]);
        let (outcome, update) = updates.plan(claim, found, &by, MaySend::Yes, tick(now));
        Described {
            outcome: OUTCOMES.number(Some(outcome)),
            updates: UPDATES.number(updates),
            sends: update.map(|update| SENDING.number(update)),
        }
    })
}

/// The resource and the text of an update.
pub fn sender(update: u32) -> (u8, u8) {
    let Update { claim, .. } = SENDING.get(update).as_ref().clone();
    let at = |names: &[&str], name: &str| names.iter().position(|known| *known == name).unwrap() as u8;
    (at(&NAMES, &claim.resource.name), at(&TEXTS, &claim.text))
}

/// Whether an update is still right for the resources that a replica has seen.
pub fn is_wanted(updates: u32, update: u32, stores: [Stored; 2], is_readable: bool) -> bool {
    let owner = owner(stores, 0, is_readable, None);
    UPDATES.get(updates).still_want(&SENDING.get(update), owner.as_ref().as_ref().map(|(_, claim)| claim))
}

/// Ends an update. `None`: it was not sent.
pub fn sent(updates: u32, result: Option<Result<u8, Why>>, now: u16) -> u32 {
    let mut updates = Updates::clone(&UPDATES.get(updates));
    match result {
        Some(Ok(text)) => updates.sent(Ok(TEXTS[usize::from(text)]), tick(now), 0.5),
        Some(Err(why)) => updates.sent(Err(&failure(why)), tick(now), 0.5),
        None => {}
    }
    updates.end();
    UPDATES.number(updates)
}
