//! The liveness sentence over the pure core: whatever fault comes, and wherever, once faults stop the system reaches the
//! goal and then makes no further write.
//!
//! A world without I/O: the in-memory gateway behind the real certificate reader and budget, a clock that runs ahead when
//! nothing is to be done, and a model of the API server that passes the same contract as the real one (`objects.rs`).
//! Passes run exactly as the program's do: ask if due, look, decide, act, conclude, publish. Between any two of their
//! effects something can go wrong, and the process can die.

mod objects;

use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use client_certificate_operator::api::{ClientCertificateRef, DeletionPolicy, ResourceName, TargetKind, TargetRef};
use client_certificate_operator::clock::Clock;
use client_certificate_operator::conditions::{ConditionType, is_true};
use client_certificate_operator::description::Claim;
use client_certificate_operator::error::{ClusterFailure, ReadFailure};
use client_certificate_operator::gateway::budget::{Budget, Limits};
use client_certificate_operator::gateway::reader::{Described, Reader};
use client_certificate_operator::gateway::{ClientCertificate, GatewayError, Outage, Source};
use client_certificate_operator::leader::Fence;
use client_certificate_operator::memory::{Memory, Which};
use client_certificate_operator::metrics::Metrics;
use client_certificate_operator::reading::Additional;
use client_certificate_operator::reconcile::{
    Action, Done, Observation, Outcome, conclude, conclude_suspended, decide,
};
use client_certificate_operator::settings::{Now, Settings};
use jiff::{SignedDuration, Timestamp};
use objects::{Model, Object, Objects, Refusal};
use operator_testing::certificates::{NewCertificate, issue};
use operator_testing::memory_gateway::{Failure, MemoryGateway};
use operator_testing::script::Fault;
use proptest::prelude::*;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::time::timeout;

const REGION: &str = "us-east-1";
const IDS: [&str; 3] = ["9ao60f", "k2c0qe", "q4w8zt"];

/// What can happen to a write to the cluster, or to the publishing of a status.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// It is refused.
    Refused,
    /// It is done, and the answer is lost.
    Lost,
    /// The process dies right after it.
    Crash,
}

/// What can happen from outside.
#[derive(Clone, Debug)]
enum Step {
    Pass,
    Wait(u64),
    /// Somebody sets the wall clock, by so many hours.
    SetClock(i64),
    Crash,
    DeleteTarget,
    EditTarget,
    TakeLabel,
    Rename(Option<usize>),
    Kind(TargetKind),
    Id(usize),
    /// So many certificates, beginning with this one, are the additional ones, but for the main one.
    Additional(usize, usize),
    Describe(Option<usize>),
    Policy(DeletionPolicy),
    Suspend(bool),
    DescribeOutside(usize),
    Gateway(GatewayError, u32),
    GatewayLosesAnswer,
    Cluster(usize, Trouble),
    Publish(Trouble),
}

fn step() -> impl Strategy<Value = Step> {
    let trouble = || prop_oneof![Just(Trouble::Refused), Just(Trouble::Lost), Just(Trouble::Crash)];
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
        2 => (0_usize..3, 0_usize..4).prop_map(|(first, count)| Step::Additional(first, count)),
        1 => proptest::option::of(0_usize..3).prop_map(Step::Describe),
        1 => prop_oneof![Just(DeletionPolicy::Delete), Just(DeletionPolicy::Retain)].prop_map(Step::Policy),
        1 => any::<bool>().prop_map(Step::Suspend),
        1 => (0_usize..3).prop_map(Step::DescribeOutside),
        2 => (error, 1_u32..4).prop_map(|(error, times)| Step::Gateway(error, times)),
        1 => Just(Step::GatewayLosesAnswer),
        2 => (0_usize..3, trouble()).prop_map(|(nth, trouble)| Step::Cluster(nth, trouble)),
        1 => trouble().prop_map(Step::Publish),
    ]
}

/// What a pass came to.
struct Pass {
    actions: Vec<Action>,
    wrote_status: bool,
    next_look: Option<Duration>,
}

struct World {
    resource: ClientCertificateRef,
    memory: Memory,
    cluster: Model,
    gateway: MemoryGateway,
    reader: Reader<MemoryGateway>,
    woken: Arc<Notify>,
    clock: Clock,
    started: Timestamp,
    /// How far the wall clock was set away from the right time.
    jumped: SignedDuration,
    /// Whether API Gateway ever said of a certificate that it is not there, or that the question is wrong.
    was_denied: bool,
    next_write: Option<(usize, Trouble)>,
    next_publish: Option<Trouble>,
    runtime: Runtime,
}

fn certificates() -> &'static [ClientCertificate; 3] {
    static MADE: OnceLock<[ClientCertificate; 3]> = OnceLock::new();
    MADE.get_or_init(|| IDS.map(|id| issue(NewCertificate::new().id(id).shared_key()).certificate))
}

/// The certificate as it stands in a target.
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

fn start(gateway: &MemoryGateway, woken: &Arc<Notify>) -> (Clock, Reader<MemoryGateway>) {
    let (clock, metrics) = (Clock::start(), Arc::new(Metrics::default()));
    let budget = Budget::new(Limits { rate: 5.0, burst: NonZeroU32::new(20).unwrap() }, clock, Arc::clone(&metrics));
    let woken = Arc::clone(woken);
    (
        clock,
        Reader::new(gateway.clone(), budget, clock, Fence::open(clock), metrics, Box::new(move |_| woken.notify_one())),
    )
}

impl World {
    fn new() -> Self {
        let gateway = MemoryGateway::new();
        for certificate in certificates() {
            gateway.put(&source(&certificate.id), certificate.clone());
        }
        let mut resource = ClientCertificateRef::default();
        resource.metadata.name = Some("payments".into());
        resource.metadata.namespace = Some("backends".into());
        resource.metadata.uid = Some("1".into());
        resource.metadata.generation = Some(1);
        resource.spec.client_certificate_id = IDS[0].into();
        resource.spec.refresh_interval = "5m".into();
        resource.spec.target.adopt = true;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let woken = Arc::new(Notify::new());
        let (clock, reader) = runtime.block_on(async { start(&gateway, &woken) });
        World {
            memory: Memory::new(&resource),
            resource,
            cluster: Model::default(),
            gateway,
            reader,
            woken,
            clock,
            started: Timestamp::now(),
            jumped: SignedDuration::ZERO,
            was_denied: false,
            next_write: None,
            next_publish: None,
            runtime,
        }
    }

    fn now(&self) -> Now {
        let tick = self.runtime.block_on(async { self.clock.now() });
        Now { wall: self.started + self.jumped + SignedDuration::try_from(tick).unwrap(), tick }
    }

    /// Nothing is waited for really: the clock runs ahead to what comes next.
    fn wait(&self, time: Duration) {
        self.runtime.block_on(async { tokio::time::sleep(time).await });
    }

    /// The next process starts where this one ended, and knows nothing.
    fn crash(&mut self) {
        self.memory = Memory::new(&self.resource);
        let gateway = self.gateway.clone();
        self.woken = Arc::new(Notify::new());
        self.started = self.now().wall - self.jumped;
        (self.clock, self.reader) = self.runtime.block_on(async { start(&gateway, &self.woken) });
    }

    fn change_spec(&mut self, change: impl FnOnce(&mut ClientCertificateRef)) {
        let before = self.resource.spec.clone();
        change(&mut self.resource);
        if self.resource.spec != before {
            self.resource.metadata.generation = self.resource.metadata.generation.map(|generation| generation + 1);
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
            Step::Id(id) => self.change_spec(|r| r.spec.client_certificate_id = IDS[id].into()),
            Step::Additional(first, count) => {
                let ids = (first..first + count).map(|at| IDS[at % IDS.len()].to_owned());
                self.change_spec(|r| r.spec.additional_client_certificate_ids = ids.collect());
            }
            Step::Describe(text) => self.change_spec(|r| r.spec.description = text.map(|text| format!("text {text}"))),
            Step::Policy(policy) => self.change_spec(|r| r.spec.target.deletion_policy = policy),
            Step::Suspend(suspend) => self.change_spec(|r| r.spec.suspend = suspend),
            Step::DescribeOutside(text) => {
                let source = source(&self.resource.spec.client_certificate_id);
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
            Step::Cluster(nth, trouble) => self.next_write = Some((nth, trouble)),
            Step::Publish(trouble) => self.next_publish = Some(trouble),
        }
    }

    fn pass(&mut self) -> Pass {
        if self.resource.spec.suspend {
            let now = self.now().wall;
            let conclusion = conclude_suspended(&self.resource, &mut self.memory, now);
            let wrote_status = self.publish(conclusion.status);
            return Pass { actions: vec![], wrote_status, next_look: None };
        }
        let named = |id: &str| Ok(source(id));
        let main = named(&self.resource.spec.client_certificate_id);
        let additional: Vec<_> =
            self.resource.additional_ids().map(|id| Additional { id: id.to_owned(), source: named(id) }).collect();
        self.ask(&main, &additional);
        let target_ref = self.resource.target_ref();
        let observation = Observation {
            source: main,
            additional,
            target: Ok(self.cluster.get(&target_ref).map(Object::into_target)),
            owner_exists: true,
            leftovers: self.leftovers(&target_ref),
            may_describe: Ok(()),
            claim: Claim::Mine,
            description_undone: std::mem::take(&mut self.memory.description_undone),
            password: None,
        };
        let plan = decide(&self.resource, &observation, &self.memory, &settings(), self.now());
        self.check_that_nothing_is_lost(&plan.actions);
        let mut outcomes: Vec<Outcome> = Vec::new();
        for action in plan.actions.clone() {
            let of_earlier = matches!(action, Action::DeleteTarget { .. } | Action::ReleaseTarget { .. });
            let failed = outcomes.iter().any(|outcome| matches!(outcome.done, Done::NotWritten(_)));
            let done = if of_earlier && failed { Some(Done::Skipped) } else { self.act(&action) };
            let Some(done) = done else {
                self.crash();
                return Pass { actions: plan.actions, wrote_status: false, next_look: None };
            };
            outcomes.push(Outcome { action, done });
        }
        let now = self.now();
        let conclusion =
            conclude(&self.resource, &observation, &plan, &outcomes, &mut self.memory, &settings(), now, 0.5);
        let wrote_status = self.publish(conclusion.status);
        Pass { actions: plan.actions, wrote_status, next_look: conclusion.next_look }
    }

    /// Asks for the certificates, where that is due, and waits for the answers as long as the program does.
    fn ask(&mut self, main: &Result<Source, ReadFailure>, additional: &[Additional]) {
        self.memory.arrange(&self.resource.spec.client_certificate_id, additional);
        let others = additional.iter().enumerate().map(|(at, named)| (Which::Additional(at), &named.source));
        let all: Vec<_> = std::iter::once((Which::Main, main)).chain(others).collect();
        for is_last in [false, true] {
            let mut is_complete = true;
            for (which, source) in &all {
                is_complete &= self.ask_for(*which, source);
            }
            if is_complete || is_last {
                return;
            }
            let answered = async { timeout(Duration::from_secs(2), self.woken.notified()).await };
            let _ = self.runtime.block_on(answered);
        }
    }

    /// Answers whether nothing more is to be heard.
    fn ask_for(&mut self, which: Which, source: &Result<Source, ReadFailure>) -> bool {
        let me = ResourceName::new(self.resource.namespace(), self.resource.name());
        let now = self.now().tick;
        let Some(demand) = self.memory.demand(which, &self.resource, source, &Claim::Mine, now) else { return true };
        let named = source.as_ref().unwrap();
        let came = self.runtime.block_on(async { self.reader.ask(named, &demand, &me) });
        let is_answered = came.is_some();
        if let Some(came) = came {
            self.memory.answered(which, &self.resource, source, came, self.now().tick, 0.5);
        }
        is_answered
    }

    /// A certificate that the spec names, and that the target holds as the status says, stays in it whatever cannot be read,
    /// but for one that API Gateway says is none of its own; and the main one, which is on its way in, waits for nobody.
    fn check_that_nothing_is_lost(&self, actions: &[Action]) {
        for action in actions {
            let Action::ReplaceTarget { current, desired, .. } = action else { continue };
            let before = self.cluster.get(&current.target).unwrap();
            let holds = |data: Option<&[u8]>, id: &str| {
                data.is_some_and(|data| String::from_utf8_lossy(data).contains(pem(id).as_str()))
            };
            let main = self.resource.spec.client_certificate_id.as_str();
            if self.was_denied || current.target != desired.target || !holds(before.value("ca.crt"), main) {
                continue;
            }
            let told = self.resource.status.iter().flat_map(|status| &status.certificates).map(|held| held.id.as_str());
            let told: Vec<_> = told.filter(|id| holds(before.value("ca.crt"), id)).collect();
            for id in self.resource.additional_ids().filter(|id| told.contains(id)) {
                let after = desired.data.get("ca.crt").map(Vec::as_slice);
                assert!(holds(after, id) && holds(after, main), "{id} or {main} is lost: {:#?}", self.memory);
            }
        }
    }

    fn leftovers(&self, except: &TargetRef) -> Vec<client_certificate_operator::target::TargetMeta> {
        let me = ResourceName::new(self.resource.namespace(), self.resource.name());
        let targets = self.cluster.all().map(|object| object.into_target().meta);
        targets
            .filter(|meta| meta.is_labelled() && meta.owner_name() == Some(&me.name) && meta.target != *except)
            .collect()
    }

    /// Carries an action out. `None` where the process dies after it.
    fn act(&mut self, action: &Action) -> Option<Done> {
        if let Action::SetDescription { source, to, .. } = action {
            return Some(match self.runtime.block_on(self.reader.set_description(source, to, "backends")) {
                Described::Done(Ok(answer)) => Done::Described(answer.description),
                Described::Done(Err(error)) => Done::NotDescribed(error),
                Described::Later(at) => Done::Later(at),
            });
        }
        let trouble = match &mut self.next_write {
            Some((0, trouble)) => Some(*trouble),
            Some((nth, _)) => {
                *nth -= 1;
                None
            }
            None => None,
        };
        if trouble.is_some() {
            self.next_write = None;
        }
        let down = ClusterFailure::Unavailable { cause: "no connection".into() };
        if matches!(trouble, Some(Trouble::Refused)) {
            return Some(Done::NotWritten(down));
        }
        let result = match action {
            Action::CreateTarget { desired, .. } => self.cluster.create(Object::of(desired, None)),
            Action::ReplaceTarget { current, desired, .. } => self.cluster.replace(Object::of(desired, Some(current))),
            Action::DeleteTarget { current } => {
                self.cluster.delete(&current.target, &current.uid, &current.resource_version)
            }
            Action::ReleaseTarget { current } => {
                self.cluster.edit(&current.target, |object| {
                    let marks = current.released();
                    let meta = object.meta_mut();
                    meta.labels = Some(marks.labels);
                    meta.annotations = Some(marks.annotations);
                    meta.owner_references = Some(marks.owner_references);
                });
                Ok(())
            }
            Action::SetDescription { .. } => unreachable!("done above"),
        };
        match trouble {
            Some(Trouble::Crash) => None,
            Some(Trouble::Lost) => Some(Done::NotWritten(down)),
            _ => Some(match result {
                Ok(()) => Done::Written,
                Err(Refusal::AlreadyExists) => Done::NotWritten(ClusterFailure::AlreadyExists),
                Err(Refusal::Conflict | Refusal::NotFound) => Done::NotWritten(ClusterFailure::Conflict),
            }),
        }
    }

    /// Writes the status, where it differs.
    fn publish(&mut self, status: client_certificate_operator::api::ClientCertificateRefStatus) -> bool {
        let differs = self.resource.status.as_ref() != Some(&status);
        let trouble = if differs { self.next_publish.take() } else { None };
        if !matches!(trouble, Some(Trouble::Refused)) {
            self.resource.status = Some(status);
        }
        if matches!(trouble, Some(Trouble::Crash)) {
            self.crash();
        }
        differs
    }

    /// Passes, each when the one before said to look again or when there is news, until none does anything for so long that
    /// every certificate was read once more.
    fn settle(&mut self) {
        let mut quiet_since = None;
        for _ in 0..200 {
            let now = self.now().tick;
            let pass = self.pass();
            let is_quiet = pass.actions.is_empty() && !pass.wrote_status;
            let since = *quiet_since.get_or_insert(now);
            quiet_since = quiet_since.filter(|_| is_quiet);
            if is_quiet && now - since > Duration::from_secs(310) {
                return;
            }
            let next_look = pass.next_look.unwrap_or(Duration::from_secs(1)) + Duration::from_millis(1);
            let news = async { timeout(next_look, self.woken.notified()).await };
            // Only what time alone does not change is at rest.
            if self.runtime.block_on(news).is_ok() {
                quiet_since = None;
            }
        }
        panic!("it never came to rest: {:#?}", self.resource.status);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_goal_is_reached_and_then_nothing_is_written(steps in prop::collection::vec(step(), 0..40)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
        world.gateway.clear_faults();
        (world.next_write, world.next_publish, world.jumped) = (None, None, SignedDuration::ZERO);
        world.change_spec(|resource| resource.spec.suspend = false);
        world.settle();

        let resource = &world.resource;
        let status = resource.status.as_ref().unwrap();
        prop_assert!(is_true(&status.conditions, ConditionType::Ready), "{status:#?}");
        let id = resource.spec.client_certificate_id.as_str();
        let pem: String = std::iter::once(id).chain(resource.additional_ids()).map(pem).collect();
        let held: Vec<_> = status.certificates.iter().map(|held| held.id.as_str()).collect();
        prop_assert_eq!(held, std::iter::once(id).chain(resource.additional_ids()).collect::<Vec<_>>());
        let target = world.cluster.get(&resource.target_ref()).unwrap();
        prop_assert_eq!(target.value("ca.crt"), Some(pem.as_bytes()));
        let owners = target.meta().owner_references.clone().unwrap_or_default();
        prop_assert_eq!(owners.is_empty(), resource.spec.target.deletion_policy == DeletionPolicy::Retain);
        prop_assert_eq!(world.leftovers(&resource.target_ref()), vec![]);
        if let Some(text) = &resource.spec.description {
            prop_assert_eq!(&world.gateway.certificate(&source(id)).unwrap().description, text);
        }
    }
}
