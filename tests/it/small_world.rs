//! The liveness of the real functions: after any faults at any place have ended, the system reaches the goal, and then
//! makes no further write.
//!
//! The stories are random, while the model check (`model.rs`) checks every state of a smaller world. The AWS cache and
//! the description controller are real, with the in-memory gateway and a clock that advances when there is no work.
//! `plan`, `status` and the backoffs run as in the program's reconcile, with a model of the API server that passes the
//! same contract as the real one (`objects.rs`). Between any two effects, a fault can occur, and the process can crash:
//! the cache, the backoffs and the counters are lost, and the status and the target stay. The CRD's schema accepts
//! every status.

mod objects;
mod schema;

use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use client_certificate_operator::access::{Access, Found};
use client_certificate_operator::api::{
    CertificateRole, ClientCertificateRef, ClientCertificateRefStatus, DeletionPolicy, ResourceName, Stage, TargetKind,
    TargetRef,
};
use client_certificate_operator::aws::cache::{Cache, Tags, View};
use client_certificate_operator::aws::gateway::{ClientCertificate, GatewayError, Outage, Place, RestApi, Source};
use client_certificate_operator::aws::rate_limit::Limits;
use client_certificate_operator::clock::Clock;
use client_certificate_operator::conditions::{ConditionType, is_true};
use client_certificate_operator::controllers::description::Descriptions;
use client_certificate_operator::controllers::mirror::{
    Action, Effect, FIRST_ANSWER, Mark, Named, Outcome, Snapshot, StageRead, TagRead, WriteBackoff, found, plan,
    status, subscription, suspended, written,
};
use client_certificate_operator::controllers::publish::Publisher;
use client_certificate_operator::error::ClusterFailure;
use client_certificate_operator::leader::Fence;
use client_certificate_operator::rules::Rules;
use client_certificate_operator::settings::{Now, Settings};
use client_certificate_operator::target::TargetMeta;
use client_certificate_operator::tasks::Tasks;
use jiff::{SignedDuration, Timestamp};
use kube::client::Body;
use objects::{Model, Object, Objects, Refusal};
use operator_testing::certificates::{NewCertificate, issue};
use operator_testing::memory_gateway::{Failure, MemoryGateway};
use operator_testing::script::{Fault, Operation};
use proptest::prelude::*;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::time::timeout;

const REGION: &str = "us-east-1";
const IDS: [&str; 3] = ["9ao60f", "k2c0qe", "q4w8zt"];
const TAG: (&str, &str) = ("app", "payments");
const API: &str = "a1b2c3d4e5";
const STAGE: &str = "prod";

fn stage() -> Stage {
    Stage { rest_api_id: API.into(), stage_name: STAGE.into(), ..Stage::default() }
}

fn api() -> RestApi {
    RestApi { place: Place::own(REGION), id: API.into() }
}

fn tag() -> Tags {
    [(TAG.0.to_owned(), TAG.1.to_owned())].into()
}

/// The faults of a write to the cluster, or of a write of a status.
#[derive(Clone, Copy, Debug)]
enum WriteFault {
    /// The write is refused.
    Refused,
    /// The write succeeds, and the answer is lost.
    Lost,
    /// The process crashes right after the write.
    Crash,
}

/// The events outside the operator.
#[derive(Clone, Debug)]
enum Step {
    Pass,
    Wait(u64),
    /// The wall clock is changed by a number of hours.
    SetClock(i64),
    Crash,
    DeleteTarget,
    EditTarget,
    TakeLabel,
    Rename(Option<usize>),
    Kind(TargetKind),
    Id(usize),
    /// The spec names the stage instead of an id.
    Follow,
    /// The stage presents another certificate.
    Present(usize),
    /// The additional certificates are this number of certificates from this one on, without the main one.
    Additional(usize, usize),
    /// Whether the spec has the tag.
    AskForTag(bool),
    /// Whether a certificate has the tag.
    Tag(usize, bool),
    Describe(Option<usize>),
    Policy(DeletionPolicy),
    Suspend(bool),
    DescribeOutside(usize),
    Gateway(GatewayError, u32),
    GatewayLosesAnswer,
    Cluster(usize, WriteFault),
    Publish(WriteFault),
}

fn step() -> impl Strategy<Value = Step> {
    let fault = || prop_oneof![Just(WriteFault::Refused), Just(WriteFault::Lost), Just(WriteFault::Crash)];
    let error = prop_oneof![
        Just(GatewayError::Throttled { retry_after: Some(Duration::from_secs(3)) }),
        Just(GatewayError::Unavailable { outage: Outage::TimedOut, retry_after: None }),
        Just(GatewayError::NotFound),
        Just(GatewayError::Conflict),
        Just(GatewayError::BadRequest { message: "no".into() }),
    ];
    prop_oneof![
        6 => Just(Step::Pass),
        2 => (1_u64..4000).prop_map(Step::Wait),
        1 => (-4000_i64..4000).prop_map(Step::SetClock),
        1 => Just(Step::Crash),
        1 => Just(Step::DeleteTarget),
        1 => Just(Step::EditTarget),
        1 => Just(Step::TakeLabel),
        1 => proptest::option::of(0_usize..3).prop_map(Step::Rename),
        1 => prop_oneof![Just(TargetKind::Secret), Just(TargetKind::ConfigMap)].prop_map(Step::Kind),
        1 => (0_usize..3).prop_map(Step::Id),
        2 => Just(Step::Follow),
        3 => (0_usize..3).prop_map(Step::Present),
        2 => (0_usize..3, 0_usize..4).prop_map(|(first, count)| Step::Additional(first, count)),
        1 => any::<bool>().prop_map(Step::AskForTag),
        2 => (0_usize..3, any::<bool>()).prop_map(|(id, has_tag)| Step::Tag(id, has_tag)),
        1 => proptest::option::of(0_usize..3).prop_map(Step::Describe),
        1 => prop_oneof![Just(DeletionPolicy::Delete), Just(DeletionPolicy::Retain)].prop_map(Step::Policy),
        1 => any::<bool>().prop_map(Step::Suspend),
        1 => (0_usize..3).prop_map(Step::DescribeOutside),
        2 => (error, 1_u32..4).prop_map(|(error, times)| Step::Gateway(error, times)),
        1 => Just(Step::GatewayLosesAnswer),
        2 => (0_usize..3, fault()).prop_map(|(nth, fault)| Step::Cluster(nth, fault)),
        1 => fault().prop_map(Step::Publish),
    ]
}

/// The result of a reconcile.
#[derive(Debug)]
struct Pass {
    actions: Vec<Action>,
    wrote_status: bool,
    next_look: Option<Duration>,
}

/// The state that is lost with the process.
struct Process {
    runtime: Runtime,
    clock: Clock,
    cache: Cache<MemoryGateway>,
    descriptions: Descriptions<MemoryGateway>,
    woken: Arc<Notify>,
    backoff: Option<WriteBackoff>,
    mark: Mark,
}

struct World {
    resource: ClientCertificateRef,
    cluster: Model,
    gateway: MemoryGateway,
    process: Process,
    started: Timestamp,
    /// The difference of the wall clock from the right time.
    jumped: SignedDuration,
    /// Whether API Gateway has ever answered NotFound or BadRequest for a certificate.
    was_denied: bool,
    next_write: Option<(usize, WriteFault)>,
    next_publish: Option<WriteFault>,
}

fn certificates() -> &'static [ClientCertificate; 3] {
    static MADE: OnceLock<[ClientCertificate; 3]> = OnceLock::new();
    // Every certificate has a tag, because a list without any tag counts as a list without information about tags.
    let made = |id: &&str| issue(NewCertificate::new().id(*id).tag("kind", "client").shared_key()).certificate;
    MADE.get_or_init(|| IDS.each_ref().map(made))
}

/// The PEM of a certificate in a target.
fn pem(id: &str) -> String {
    certificates().iter().find(|certificate| certificate.id == id).unwrap().pem.replace("\r\n", "\n") + "\n"
}

fn source(id: &str) -> Source {
    Source::own(REGION, id)
}

fn settings() -> Settings {
    Settings {
        installation: "operators/ours".into(),
        default_region: Some(REGION.into()),
        expiring_within: Duration::from_secs(30 * 24 * 3600),
        manage_descriptions: true,
        target_kinds: Default::default(),
    }
}

/// An API server that refuses events, which other tests check.
#[derive(Clone)]
struct Nowhere;

impl tower::Service<http::Request<Body>> for Nowhere {
    type Response = http::Response<Body>;
    type Error = std::io::Error;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        std::future::ready(Err(std::io::Error::other("there is no API server")))
    }
}

impl Process {
    fn start(gateway: &MemoryGateway) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let woken = Arc::new(Notify::new());
        let (clock, cache, descriptions) = {
            let _within = runtime.enter();
            let clock = Clock::start();
            let limits = Limits { rate: 5.0, burst: NonZeroU32::new(20).unwrap() };
            let wake = || {
                let woken = Arc::clone(&woken);
                Box::new(move |_| woken.notify_one())
            };
            let (fence, tasks) = (Fence::open(clock), Tasks::new().0);
            let cache = Cache::new(gateway.clone(), limits, clock, fence, Arc::default(), wake(), tasks.clone());
            let publisher = Arc::new(Publisher::new(kube::Client::new(Nowhere, "backends")));
            let descriptions = Descriptions::new(cache.clone(), clock, publisher, wake(), true, tasks);
            (clock, cache, descriptions)
        };
        Process { runtime, clock, cache, descriptions, woken, backoff: None, mark: Mark::default() }
    }
}

impl World {
    fn new() -> Self {
        let gateway = MemoryGateway::new();
        for certificate in certificates() {
            gateway.put(&source(&certificate.id), certificate.clone());
        }
        gateway.present(&Place::own(REGION), API, STAGE, Some(IDS[0]));
        let mut resource = ClientCertificateRef::default();
        resource.metadata.name = Some("payments".into());
        resource.metadata.namespace = Some("backends".into());
        resource.metadata.uid = Some("1".into());
        resource.metadata.generation = Some(1);
        resource.spec.client_certificate_id = Some(IDS[0].into());
        resource.spec.refresh_interval = "5m".into();
        resource.spec.target.adopt = true;
        let world = World {
            resource,
            cluster: Model::default(),
            process: Process::start(&gateway),
            gateway,
            started: Timestamp::now(),
            jumped: SignedDuration::ZERO,
            was_denied: false,
            next_write: None,
            next_publish: None,
        };
        world.watch();
        world
    }

    fn now(&self) -> Now {
        let tick = self.process.runtime.block_on(async { self.process.clock.now() });
        Now { wall: self.started + self.jumped + SignedDuration::try_from(tick).unwrap(), tick }
    }

    /// Waits without real time: the paused clock advances to the next timer.
    fn wait(&self, time: Duration) {
        self.process.runtime.block_on(async { tokio::time::sleep(time).await });
    }

    /// Starts the next process at the same time, without the former state.
    fn crash(&mut self) {
        self.started = self.now().wall - self.jumped;
        self.process = Process::start(&self.gateway);
        self.watch();
    }

    fn change_spec(&mut self, change: impl FnOnce(&mut ClientCertificateRef)) {
        let before = self.resource.spec.clone();
        change(&mut self.resource);
        if self.resource.spec != before {
            self.resource.metadata.generation = self.resource.metadata.generation.map(|generation| generation + 1);
            self.watch();
        }
    }

    fn take(&mut self, step: Step) {
        let target = self.resource.target_ref();
        match step {
            Step::Pass => drop(self.pass()),
            Step::Wait(seconds) => self.wait(Duration::from_secs(seconds)),
            Step::SetClock(hours) => self.jumped = SignedDuration::from_hours(hours),
            Step::Crash => self.crash(),
            Step::DeleteTarget => self.cluster.remove(&target),
            Step::EditTarget => self.cluster.edit(&target, |object| object.set_data(Default::default())),
            Step::TakeLabel => self.cluster.edit(&target, |object| object.meta_mut().labels = None),
            Step::Rename(name) => {
                self.change_spec(|r| r.spec.target.name = name.map(|name| format!("target-{name}")));
            }
            Step::Kind(kind) => self.change_spec(|r| r.spec.target.kind = kind),
            Step::Id(id) => self.change_spec(|r| {
                (r.spec.client_certificate_id, r.spec.stage) = (Some(IDS[id].into()), None);
            }),
            Step::Follow => self.change_spec(|r| {
                (r.spec.client_certificate_id, r.spec.stage) = (None, Some(stage()));
            }),
            Step::Present(id) => self.gateway.present(&Place::own(REGION), API, STAGE, Some(IDS[id])),
            Step::Additional(first, count) => {
                let ids = (first..first + count).map(|at| IDS[at % IDS.len()].to_owned());
                self.change_spec(|r| r.spec.additional_client_certificate_ids = ids.collect());
            }
            Step::AskForTag(asks) => self.change_spec(|r| {
                r.spec.additional_client_certificate_tags = if asks { tag() } else { Default::default() };
            }),
            Step::Tag(id, has_tag) => {
                self.gateway.change(&source(IDS[id]), |certificate| match has_tag {
                    true => certificate.tags.extend(tag()),
                    false => drop(certificate.tags.remove(TAG.0)),
                });
            }
            Step::Describe(text) => self.change_spec(|r| r.spec.description = text.map(|text| format!("text {text}"))),
            Step::Policy(policy) => self.change_spec(|r| r.spec.target.deletion_policy = policy),
            Step::Suspend(suspend) => self.change_spec(|r| r.spec.suspend = suspend),
            Step::DescribeOutside(text) => {
                let source = source(&self.main());
                self.gateway.change(&source, |certificate| certificate.description = format!("outside {text}"));
            }
            Step::Gateway(error, times) => {
                self.was_denied |= matches!(error, GatewayError::NotFound | GatewayError::BadRequest { .. });
                self.gateway.inject(Fault::new(Failure::Error(error)).times(times));
            }
            Step::GatewayLosesAnswer => {
                let lost = GatewayError::Unavailable { outage: Outage::Connection, retry_after: None };
                self.gateway.inject(Fault::new(Failure::AnswerLost(lost)).once());
            }
            Step::Cluster(nth, fault) => self.next_write = Some((nth, fault)),
            Step::Publish(fault) => self.next_publish = Some(fault),
        }
    }

    /// Delivers the resource as the watch would, and updates the claims. Wakes the resource if the claims require it.
    fn watch(&self) {
        let stages = self.process.cache.stages(&api());
        self.claim(&self.access(&found(&self.resource, None, stages.as_ref(), self.now())));
    }

    fn claim(&self, access: &Access) {
        let main = access.main.as_ref().map(|main| main.source.clone().unwrap());
        let main = main.map(|main| (self.process.cache.key_of(&main), main));
        let reads = main.as_ref().map(|(key, source)| (key, source));
        if !self.process.descriptions.apply(&self.resource, reads).is_empty() {
            self.process.woken.notify_one();
        }
    }

    fn access(&self, found: &Found) -> Access {
        Access::of(&self.resource, found, &settings(), &Rules::default(), &Default::default())
    }

    /// The id of the main certificate: that of the spec, or the one that the stage presents.
    fn main(&self) -> String {
        let presented = || self.gateway.presented(&Place::own(REGION), API, STAGE).unwrap();
        self.resource.spec.client_certificate_id.clone().unwrap_or_else(presented)
    }

    fn pass(&mut self) -> Pass {
        let name = ResourceName::new(self.resource.namespace(), self.resource.name());
        if self.resource.spec.suspend {
            self.process.cache.unsubscribe(&name);
            let outcome = suspended(&self.resource, self.now().wall);
            return self.publish(outcome, vec![]);
        }
        let now = self.now();
        let (list, stages) = (self.process.cache.tags(&source(IDS[0]).place), self.process.cache.stages(&api()));
        let known = found(&self.resource, list.as_ref(), stages.as_ref(), now);
        let (mut access, mut view) = self.subscribe(&name, &known);
        let known_since = found(&self.resource, view.tags.as_ref(), view.stages.as_ref(), now);
        if known_since != known {
            (access, view) = self.subscribe(&name, &known_since);
        }
        if self.resource.spec.stage.is_some() {
            self.claim(&access);
        }
        let is_current =
            self.resource.status.as_ref().is_some_and(|s| s.observed_generation == self.resource.generation());
        let patience = (view.asked + FIRST_ANSWER).saturating_sub(self.now().tick);
        if !view.answered && !is_current && !patience.is_zero() {
            return Pass { actions: vec![], wrote_status: false, next_look: Some(patience) };
        }
        let main = access.main.as_ref().map(|main| main.source.clone().unwrap());
        let key =
            main.map(|main| self.process.cache.key_of(&main)).filter(|_| self.resource.spec.description.is_some());
        let descriptions = &self.process.descriptions;
        let description = self.process.runtime.block_on(async { descriptions.reconcile(&key?, &name, true) });
        let mut reads = view.reads.into_iter();
        let mut named = |id: &str| Named { id: id.to_owned(), source: Ok(source(id)), read: reads.next().flatten() };
        let first = access.main.as_ref().map(|main| named(&main.id));
        let additional = access.additional.iter().map(|additional| named(&additional.id)).collect();
        let unnamed = access.unnamed.iter().map(|unnamed| named(&unnamed.id)).collect();
        let (target, now) = (self.resource.target_ref(), self.now());
        let installation = self.resource.status.as_ref().and_then(|status| status.installation.as_deref());
        let installation = self.process.mark.found(installation, &settings().installation, now.tick);
        let hold = self.process.backoff.as_ref().and_then(|it| it.hold(self.resource.generation(), now.tick));
        let mut snapshot = Snapshot {
            own_account: None,
            now,
            jitter: 0.5,
            main: first,
            stage: access.stages.map(|api| StageRead { api, name: STAGE.into(), acm: stage().acm, read: view.stages }),
            additional,
            unnamed,
            acm: access.acm,
            tags: access.tags.map(|place| TagRead { place, read: view.tags }),
            repaired: None,
            answered: view.answered,
            asked: view.asked,
            may_describe: Ok(()),
            description,
            target: Ok(self.cluster.get(&target).map(Object::into_target)),
            owner_exists: true,
            former_targets: self.former_targets(&target),
            password: None,
            written_password: None,
            hold,
            installation,
        };
        let plan = plan(&self.resource, &snapshot);
        self.check_that_nothing_is_lost(&plan.actions);
        let mut effects: Vec<Effect> = Vec::new();
        for action in plan.actions.clone() {
            let failed = effects.iter().any(|effect| effect.result != Some(Ok(())));
            let result = if failed && !action.is_of_target() {
                None
            } else {
                let Some(result) = self.act(&action) else {
                    self.crash();
                    return Pass { actions: plan.actions, wrote_status: false, next_look: None };
                };
                Some(result)
            };
            effects.push(Effect { action, result });
        }
        snapshot.now = self.now();
        let (generation, tick) = (self.resource.generation(), snapshot.now.tick);
        let backoff = self.process.backoff.get_or_insert_with(|| WriteBackoff::new(generation));
        backoff.note(generation, written(&plan, &effects), tick, snapshot.jitter);
        let hold = backoff.hold(generation, tick);
        let outcome = status(&self.resource, &snapshot, &plan, &effects, hold, &settings());
        self.publish(outcome, plan.actions)
    }

    fn subscribe(&self, name: &ResourceName, found: &Found) -> (Access, View) {
        let access = self.access(found);
        let stages = self.process.cache.stages(&api());
        let wanted = subscription(&self.resource, &access, stages.as_ref());
        let view = self.process.runtime.block_on(async { self.process.cache.subscribe(name, wanted) });
        (access, view)
    }

    /// The certificates that the target has to hold at the end: those in the spec, and those with the tag.
    fn goal(&self) -> Vec<String> {
        let resource = &self.resource;
        let mut goal = vec![self.main()];
        goal.extend(resource.additional_ids().filter(|id| *id != goal[0]).map(str::to_owned).collect::<Vec<_>>());
        let wanted = &resource.spec.additional_client_certificate_tags;
        let has_tag = |certificate: &ClientCertificate| certificate.tags.contains_key(TAG.0) && !wanted.is_empty();
        let mut tagged: Vec<_> =
            IDS.iter().filter_map(|id| self.gateway.certificate(&source(id))).filter(has_tag).collect();
        tagged.sort_by_key(|certificate| (std::cmp::Reverse(certificate.created), certificate.id.clone()));
        let more: Vec<_> = tagged.into_iter().map(|it| it.id).filter(|id| !goal.contains(id)).collect();
        goal.extend(more);
        goal
    }

    /// Checks that a certificate of the spec that the target holds according to the status stays there during read
    /// failures, unless API Gateway does not have it, and that a new main certificate does not wait for others. The
    /// certificate that the stage presented until now stays too.
    fn check_that_nothing_is_lost(&self, actions: &[Action]) {
        for action in actions {
            let Action::Replace { current, desired, .. } = action else { continue };
            let before = self.cluster.get(&current.target).unwrap();
            let holds = |data: Option<&[u8]>, id: &str| {
                data.is_some_and(|data| String::from_utf8_lossy(data).contains(pem(id).as_str()))
            };
            if self.was_denied || current.target != desired.target {
                continue;
            }
            let after = desired.data.get("ca.crt").map(Vec::as_slice);
            let is_followed = self.resource.stage_status().is_some();
            let status = self.resource.status.as_ref().filter(|_| is_followed);
            for held in status.iter().flat_map(|status| &status.certificates) {
                let was_presented = held.role == Some(CertificateRole::Main) && holds(before.value("ca.crt"), &held.id);
                assert!(!was_presented || holds(after, &held.id), "{} is lost: {status:#?}", held.id);
            }
            let Some(main) = self.resource.spec.client_certificate_id.as_deref() else { continue };
            if !holds(before.value("ca.crt"), main) {
                continue;
            }
            let reported =
                self.resource.status.iter().flat_map(|status| &status.certificates).map(|held| held.id.as_str());
            let reported: Vec<_> = reported.filter(|id| holds(before.value("ca.crt"), id)).collect();
            for id in self.resource.additional_ids().filter(|id| reported.contains(id)) {
                assert!(holds(after, id) && holds(after, main), "{id} or {main} is lost: {:#?}", self.resource.status);
            }
        }
    }

    fn former_targets(&self, except: &TargetRef) -> Vec<TargetMeta> {
        let me = ResourceName::new(self.resource.namespace(), self.resource.name());
        let targets = self.cluster.all().map(|object| object.into_target().meta);
        targets
            .filter(|meta| meta.is_labelled() && meta.owner_name() == Some(&me.name) && meta.target != *except)
            .collect()
    }

    /// Carries out an action. `None` if the process crashes after it.
    fn act(&mut self, action: &Action) -> Option<Result<(), ClusterFailure>> {
        let fault = match &mut self.next_write {
            Some((0, fault)) => Some(*fault),
            Some((nth, _)) => {
                *nth -= 1;
                None
            }
            None => None,
        };
        if fault.is_some() {
            self.next_write = None;
        }
        let down = ClusterFailure::Unavailable { cause: "no connection".into() };
        if matches!(fault, Some(WriteFault::Refused)) {
            return Some(Err(down));
        }
        let result = match action {
            Action::Create { desired, .. } => self.cluster.create(Object::of(desired, None)),
            Action::Replace { current, desired, .. } => self.cluster.replace(Object::of(desired, Some(current))),
            Action::Delete { current } => self.cluster.delete(&current.target, &current.uid, &current.resource_version),
            Action::Release { current } => {
                self.cluster.edit(&current.target, |object| {
                    let released = current.released();
                    let meta = object.meta_mut();
                    meta.labels = Some(released.labels);
                    meta.annotations = Some(released.annotations);
                    meta.owner_references = Some(released.owner_references);
                });
                Ok(())
            }
        };
        match fault {
            Some(WriteFault::Crash) => None,
            Some(WriteFault::Lost) => Some(Err(down)),
            _ => Some(match result {
                Ok(()) => Ok(()),
                Err(Refusal::AlreadyExists) => Err(ClusterFailure::AlreadyExists),
                Err(Refusal::Conflict | Refusal::NotFound) => Err(ClusterFailure::Conflict),
            }),
        }
    }

    /// Writes the status, if it differs. Checks that the schema accepts it, even if the write fails.
    fn publish(&mut self, outcome: Outcome, actions: Vec<Action>) -> Pass {
        let Outcome { status, requeue, .. } = outcome;
        schema::check(&status);
        let differs = self.resource.status.as_ref() != Some(&status);
        let fault = if differs { self.next_publish.take() } else { None };
        if !matches!(fault, Some(WriteFault::Refused)) {
            self.store(status);
        }
        if matches!(fault, Some(WriteFault::Crash)) {
            self.crash();
        }
        Pass { actions, wrote_status: differs, next_look: requeue }
    }

    /// Stores the status in the form that the API server returns later.
    fn store(&mut self, status: ClientCertificateRefStatus) {
        let stored = serde_json::from_value(serde_json::to_value(&status).unwrap()).unwrap();
        assert_eq!(status, stored, "what is read is what was written");
        self.resource.status = Some(stored);
        self.watch();
    }

    /// Reconciles at each requeue time and each wake by the cache or a claim, until there is none for longer than the
    /// longest wait: that for an update of a contested description, or for a read of a missing certificate.
    fn settle(&mut self) {
        const LONGEST_WAIT: Duration = Duration::from_secs(2 * 3600);
        for _ in 0..300 {
            let pass = self.pass();
            let next_look = pass.next_look.filter(|wait| *wait <= LONGEST_WAIT);
            let woken = self.process.woken.clone();
            let wait = next_look.unwrap_or(LONGEST_WAIT) + Duration::from_millis(1);
            let is_woken = self.process.runtime.block_on(async { timeout(wait, woken.notified()).await.is_ok() });
            if !is_woken && next_look.is_none() {
                let updates = self.gateway.count(Operation::Update);
                let last = self.pass();
                self.wait(Duration::from_secs(60));
                let is_quiet = last.actions.is_empty() && !last.wrote_status;
                assert!(is_quiet && updates == self.gateway.count(Operation::Update), "it was not at rest: {last:#?}");
                return;
            }
        }
        panic!("it never came to rest: {:#?}", self.resource.status);
    }
}

/// Ends the faults, and checks that the goal is reached.
fn reaches_the_goal(world: &mut World) -> Result<(), TestCaseError> {
    world.gateway.clear_faults();
    (world.next_write, world.next_publish, world.jumped) = (None, None, SignedDuration::ZERO);
    world.change_spec(|resource| resource.spec.suspend = false);
    world.settle();

    let resource = &world.resource;
    let status = resource.status.as_ref().unwrap();
    prop_assert!(is_true(&status.conditions, ConditionType::Ready), "{status:#?}");
    prop_assert_eq!(status.client_certificate_id.clone(), Some(world.main()));
    let presented = status.stage.as_ref().and_then(|stage| stage.client_certificate_id.clone());
    prop_assert_eq!(presented, resource.spec.stage.is_some().then(|| world.main()));
    let id = world.main();
    let goal = world.goal();
    let pem: String = goal.iter().map(|id| pem(id)).collect();
    let held: Vec<_> = status.certificates.iter().map(|held| held.id.clone()).collect();
    prop_assert_eq!(held, goal);
    for held in &status.certificates {
        prop_assert!(held.trusted_since.is_some_and(|since| since <= world.now().wall), "{:#?}", held);
    }
    let target = world.cluster.get(&resource.target_ref()).unwrap();
    prop_assert_eq!(target.value("ca.crt"), Some(pem.as_bytes()));
    let owners = target.meta().owner_references.clone().unwrap_or_default();
    prop_assert_eq!(owners.is_empty(), resource.spec.target.deletion_policy == DeletionPolicy::Retain);
    prop_assert_eq!(world.former_targets(&resource.target_ref()), vec![]);
    if let Some(text) = &resource.spec.description {
        prop_assert_eq!(&world.gateway.certificate(&source(&id)).unwrap().description, text);
        prop_assert!(is_true(&status.conditions, ConditionType::DescriptionSynced), "{status:#?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_story_reaches_the_goal_and_then_writes_nothing(steps in prop::collection::vec(step(), 0..40)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
        reaches_the_goal(&mut world)?;
    }
}

/// The status still has the read failure when the certificate is readable again, and its own write wakes no reconcile.
#[test]
fn a_description_that_had_to_wait_for_the_certificate_is_sent() {
    let mut world = World::new();
    let certificate = world.gateway.delete(&source(IDS[0])).unwrap();
    world.take(Step::Describe(Some(0)));
    world.pass();
    world.wait(Duration::from_secs(5));
    world.pass();
    world.gateway.put(&source(IDS[0]), certificate);
    reaches_the_goal(&mut world).unwrap();
}
