//! The mirror: a controller whose key is a resource. It keeps the target equal to the certificates in AWS and the spec.
//!
//! ```text
//!  stores, caches ──► Snapshot ──► plan ──► Plan ──► apply ──► Effects ──► status ──► Outcome ──► publish
//!                     (reads)     (pure)            (writes)              (pure)                 (one write)
//! ```
//!
//! A reconcile never waits for AWS: it subscribes, uses the snapshots in the cache, and runs again when a snapshot
//! changes.

mod apply;
mod backoff;
mod events;
mod installation;
mod password;
mod plan;
mod refusal;
mod snapshot;
mod status;
mod trust;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::core::{ObjectMeta, PartialObjectMeta};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Client, Resource};
use parking_lot::Mutex;
use tracing::{Instrument, Span, field, info_span, warn};

pub use self::backoff::{Hold, WriteBackoff, Written};
pub use self::events::Events;
pub use self::installation::{Mark, Marked};
pub use self::plan::{Action, Cause, Plan, TargetPlan, plan};
pub use self::refusal::classify;
pub use self::snapshot::{HeldBack, Look, Named, Presented, Snapshot, StageRead, TagRead};
pub use self::status::{Effect, Outcome, status, suspended, written};
pub use self::trust::{Entry, Trust};
use crate::access::{self, Access, AccessControl, Found};
use crate::api::{Cached, ClientCertificateRef, Main, ResourceName};
use crate::aws::cache::{Cache, Listing, Snapshot as Read, Stages, Subscription, View};
use crate::aws::gateway::{CertificateKey, Gateway, Source};
use crate::clock::Clock;
use crate::conditions::{ConditionType, is_false, is_true};
use crate::controllers::description::Descriptions;
use crate::controllers::publish::{Published, Publisher};
use crate::error::ClusterFailure;
use crate::kubernetes::stores::{Known, Stores};
use crate::leader::Fence;
use crate::metrics::{Metrics, ReconcileResult};
use crate::settings::{Now, Settings};
use crate::target::{Password, Target, is_controlled_by_another};

/// The time for which the status of a new spec waits for AWS's first answer. Most answers are faster.
pub const FIRST_ANSWER: Duration = Duration::from_secs(2);
/// The wait before the retry of a failed write of a status.
const STATUS_RETRY: Duration = Duration::from_secs(5);
/// The wait before the retry of a failed report about an invalid resource. Also the wait for an out-of-date store, in
/// case its watch has failed.
const LATE_RETRY: Duration = Duration::from_secs(60);

/// The dependencies of every reconcile.
pub struct Context<G> {
    /// The Kubernetes API.
    pub client: Client,
    /// The snapshots of AWS.
    pub aws: Cache<G>,
    /// The descriptions of certificates.
    pub descriptions: Descriptions<G>,
    /// The access of each namespace.
    pub access: AccessControl,
    /// The stores of the watches.
    pub stores: Arc<Stores>,
    /// The writer of status and events.
    pub publisher: Arc<Publisher>,
    /// The configuration for decisions.
    pub settings: Settings,
    pub metrics: Arc<Metrics>,
    /// True after the stores have synced. The operator writes nothing before.
    pub synced: tokio::sync::watch::Receiver<bool>,
    /// True after the process has received a signal to stop.
    pub stopping: tokio::sync::watch::Receiver<bool>,
    /// Whether this process leads and may write.
    pub fence: Fence,
    /// The steady clock.
    pub clock: Clock,
    /// The counters and backoffs of each resource.
    pub counters: Counters,
}

/// The counters and backoffs of each resource. A restart loses them, without effect on decisions: the new process may
/// try once more.
#[derive(Debug, Default)]
pub struct Counters(Mutex<HashMap<ResourceName, Counter>>);

#[derive(Debug, Default)]
struct Counter {
    writes: Option<WriteBackoff>,
    mark: Mark,
    /// The resourceVersion of the last written status. The store has to reach it before the next decision.
    written: Option<String>,
    /// Whether a reconcile waits for that version.
    was_put_off: bool,
    /// The last password of a truststore that this process generated and wrote.
    password: Option<Password>,
    /// The time of the last repair of the target, until a status with the new `trustedSince` is written.
    repaired: Option<Timestamp>,
}

impl Counters {
    fn of<R>(&self, name: &ResourceName, what: impl FnOnce(&mut Counter) -> R) -> R {
        what(self.0.lock().entry(name.clone()).or_default())
    }

    /// Whether a version of a resource is the last written status. Then it needs no reconcile, unless a reconcile was
    /// put off until this version.
    pub fn is_own_write(&self, name: &ResourceName, meta: &ObjectMeta) -> bool {
        let written = |counter: &&Counter| counter.written.is_some() && counter.written == meta.resource_version;
        self.0.lock().get(name).filter(written).is_some_and(|counter| !counter.was_put_off)
    }

    /// Drops the counters of a deleted resource.
    pub fn forget(&self, name: &ResourceName) {
        self.0.lock().remove(name);
    }

    /// Drops all counters, because another replica has led meanwhile.
    pub fn clear(&self) {
        self.0.lock().clear();
    }
}

impl<G: Gateway> Context<G> {
    fn now(&self) -> Now {
        Now { wall: Timestamp::now(), tick: self.clock.now() }
    }

    /// The certificate whose description a resource may own, with its source.
    pub fn may_describe(&self, resource: &ClientCertificateRef) -> Option<(CertificateKey, Source)> {
        let access = self.access.of(resource)?;
        let presented = match resource.main() {
            Some(Main::Stage(_)) => {
                let stages = access.stages.as_ref().and_then(|api| self.aws.stages(api));
                Some(match stages.filter(|stages| stages.outcome.is_ok()) {
                    // If the stage presents no certificate now, the resource may not describe the one that the stage
                    // presented before.
                    Some(stages) => snapshot::presented(resource, Some(&stages))?.to_owned(),
                    // Neither a restart nor a failed read of the stage moves the claim.
                    None => resource.stage_status()?.client_certificate_id.clone()?,
                })
            }
            _ => None,
        };
        match self.access.with_found(resource, &Found { presented, tagged: Vec::new() })? {
            Access { main: Some(access::Named { source: Ok(source), .. }), description: Ok(()), .. }
                if !source.is_of_acm() =>
            {
                Some((self.aws.key_of(&source), source))
            }
            _ => None,
        }
    }
}

/// The result of a reconcile.
struct Done {
    requeue: Option<Duration>,
    /// `None` if the reconcile only waits.
    result: Option<ReconcileResult>,
}

impl Done {
    fn success(requeue: Option<Duration>) -> Self {
        Done { requeue, result: Some(ReconcileResult::Success) }
    }

    fn waits(requeue: Option<Duration>) -> Self {
        Done { requeue, result: None }
    }
}

/// Reconciles one resource, if this replica leads, and returns the time until the next reconcile.
pub async fn reconcile<G: Gateway>(cached: Arc<Cached>, context: Arc<Context<G>>) -> Option<Duration> {
    let mut synced = context.synced.clone();
    if synced.wait_for(|synced| *synced).await.is_err() || *context.stopping.borrow() {
        return None;
    }
    let mut stopping = context.stopping.clone();
    let leads = tokio::select! {
        leads = context.fence.wait() => leads,
        // During shutdown, the reconcile does not wait for a late renewal of the Lease.
        _ = stopping.wait_for(|stopping| *stopping) => false,
    };
    // A replica that starts to lead reconciles every resource, so this reconcile needs no retry.
    if !leads {
        return None;
    }
    conclude(cached, context).await
}

/// Reconciles one resource, also during shutdown, so that the status contains the finished writes.
pub async fn conclude<G: Gateway>(cached: Arc<Cached>, context: Arc<Context<G>>) -> Option<Duration> {
    let (meta, result) = (cached.meta(), field::Empty);
    let span = info_span!("reconcile", namespace = meta.namespace, name = meta.name, result, otel.status_code = result);
    measured(&cached, &context).instrument(span).await
}

async fn measured<G: Gateway>(cached: &Cached, context: &Context<G>) -> Option<Duration> {
    let started = Instant::now();
    let Done { requeue, result } = match &cached.0 {
        Ok(resource) => of(resource, context).await,
        Err(invalid) => match context.publisher.report_invalid(invalid).await {
            // The watch delivers the changed resource and wakes it. The timer is for a watch that has failed.
            Ok(Published::Conflict) => Done { requeue: Some(STATUS_RETRY), result: Some(ReconcileResult::Invalid) },
            Ok(_) => Done { requeue: None, result: Some(ReconcileResult::Invalid) },
            Err(error) => {
                warn!(namespace = cached.meta().namespace, name = cached.meta().name, "{error}");
                Done { requeue: Some(LATE_RETRY), result: Some(ReconcileResult::Error) }
            }
        },
    };
    let stored = context.stores.resources().get(&ObjectRef::from_obj(cached));
    if stored.is_none_or(|stored| stored.0.is_err()) {
        // The resource was deleted or stopped parsing. If that happened during the reconcile, the reconcile may have
        // subscribed the resource again.
        forget(&ResourceName::of(cached), context);
    }
    // Another replica may have taken over during the reconcile, after the end of all subscriptions.
    if !context.fence.leads() {
        context.aws.unsubscribe(&ResourceName::of(cached));
    }
    let span = Span::current();
    span.record("result", result.map_or("waiting", ReconcileResult::as_str));
    if let Some(result) = result {
        context.metrics.reconciled(result, started.elapsed());
        if result == ReconcileResult::Error {
            span.record("otel.status_code", "ERROR");
        }
    }
    requeue
}

/// Drops what the operator holds in memory for a resource that does not exist or does not parse any more: its counters, its
/// subscriptions and its claim.
pub fn forget<G: Gateway>(name: &ResourceName, context: &Context<G>) {
    context.counters.forget(name);
    context.aws.unsubscribe(name);
    context.stores.wake(context.descriptions.remove(name));
}

async fn of<G: Gateway>(resource: &ClientCertificateRef, context: &Context<G>) -> Done {
    let name = ResourceName::new(resource.namespace(), resource.name());
    if resource.is_being_deleted() {
        // The garbage collector deletes the target. The operator writes and repairs nothing, and sends no PATCH.
        context.aws.unsubscribe(&name);
        return Done::success(None);
    }
    if context.counters.of(&name, |counter| counter.is_ahead_of(resource)) {
        // The watch delivers the written status and wakes the resource. It may have done so just now, so the code reads
        // the store again.
        let stored = context.stores.resources().get(&ObjectRef::new(&name.name).within(&name.namespace));
        return match stored.as_ref().map(|stored| &stored.0) {
            Some(Ok(stored)) if !context.counters.of(&name, |counter| counter.is_ahead_of(stored)) => {
                Box::pin(of(stored, context)).await
            }
            _ => Done::waits(Some(LATE_RETRY)),
        };
    }
    if resource.spec.suspend {
        context.aws.unsubscribe(&name);
        return publish(resource, &name, suspended(resource, context.now().wall), context).await;
    }
    let Some(access) = context.access.of(resource) else {
        // The labels of the namespace are unknown, so the rules cannot decide. The first labels wake the resource.
        context.aws.unsubscribe(&name);
        return Done::waits(None);
    };
    let now = context.now();
    let Some((access, view)) = subscribe(resource, &name, access, now, context) else { return Done::waits(None) };
    if access.stages.is_some() {
        // The stage may present another certificate than when the resource was stored.
        let reads = context.may_describe(resource);
        let reads = reads.as_ref().map(|(key, source)| (key, source));
        context.stores.wake(context.descriptions.apply(resource, reads));
    }
    // A status of an earlier version of the operator is not current: it is written once, with the answer.
    let is_current = resource.status.as_ref().is_some_and(|status| {
        let names_main = status.client_certificate_id.is_some() || access.stages.is_some();
        status.observed_generation == resource.generation() && names_main
    });
    // Neither is a status from before a switch of the stage, while the new certificate is unread. The first read is
    // that of the main certificate.
    let presented = snapshot::presented(resource, view.stages.as_ref());
    let named = resource.status.as_ref().and_then(|status| status.client_certificate_id.as_deref());
    let is_unread = view.reads.first().is_some_and(Option::is_none);
    let is_current = is_current && !(is_unread && presented.is_some() && presented != named);
    // Before the stage is read, it may present another certificate than the one of the description.
    let may_send = access.stages.is_none() || presented.is_some();
    let patience = (view.asked + FIRST_ANSWER).saturating_sub(now.tick);
    if !view.answered && !is_current && !patience.is_zero() {
        return Done::waits(Some(patience));
    }
    let Some(mut snapshot) = gather(resource, &name, access, view, may_send, context).await else {
        return Done::success(None);
    };
    let mut plan = plan(resource, &snapshot);
    let mut effects = apply::apply(plan.actions.clone(), context).await;
    if apply::lost_a_race(&effects) {
        // The object in the API server decides, not the one in the store.
        snapshot.target = apply::fetch(resource.namespace(), &resource.target_ref(), context).await;
        snapshot.owner_exists = owner_exists(resource, &snapshot.target, context);
        plan = self::plan(resource, &snapshot);
        effects = apply::apply(plan.actions.clone(), context).await;
    }
    snapshot.now = context.now();
    let (generation, tick) = (resource.generation(), snapshot.now.tick);
    let hold = context.counters.of(&name, |counter| {
        let writes = counter.writes.get_or_insert_with(|| WriteBackoff::new(generation));
        writes.note(generation, written(&plan, &effects), tick, snapshot.jitter);
        let hold = writes.hold(generation, tick);
        if effects.iter().any(Effect::is_repair) {
            counter.repaired = Some(snapshot.now.wall);
        }
        if let Some(password) = effects.iter().find_map(Effect::written_password) {
            counter.password = Some(password.clone());
        }
        counter.writes.take_if(|writes| writes.is_idle(tick));
        hold
    });
    let outcome = status(resource, &snapshot, &plan, &effects, hold, &context.settings);
    publish(resource, &name, outcome, context).await
}

impl Counter {
    /// Whether the resource from the store is older than the last written status.
    fn is_ahead_of(&mut self, resource: &ClientCertificateRef) -> bool {
        let stored = resource.metadata.resource_version.as_deref();
        let is_ahead = self
            .written
            .as_deref()
            .is_some_and(|written| crate::kubernetes::resource_version::is_older(stored, written));
        if !is_ahead {
            self.written = None;
        }
        self.was_put_off = is_ahead;
        is_ahead
    }
}

async fn publish<G: Gateway>(
    resource: &ClientCertificateRef,
    name: &ResourceName,
    outcome: Outcome,
    context: &Context<G>,
) -> Done {
    let Outcome { status, events, requeue } = outcome;
    let reference = resource.object_ref(&());
    let published = context.publisher.status(resource, status).await;
    // The events of finished writes are recorded even if the status cannot be written.
    context.publisher.record(&events.done, &reference).await;
    match published {
        Ok(Published::Unchanged | Published::Gone) => context.counters.of(name, |counter| counter.repaired = None),
        Ok(Published::Written(version)) => context.counters.of(name, |counter| {
            counter.written = Some(version);
            counter.repaired = None;
        }),
        // The watch delivers the changed resource and wakes it. The timer is for a watch that has failed.
        Ok(Published::Conflict) => return Done::success(Some(STATUS_RETRY)),
        Err(error) => {
            warn!(namespace = name.namespace, name = name.name, "{error}");
            let requeue = requeue.map_or(STATUS_RETRY, |requeue| requeue.min(STATUS_RETRY));
            return Done { requeue: Some(requeue), result: Some(ReconcileResult::Error) };
        }
    }
    context.publisher.record(&events.changed, &reference).await;
    Done::success(requeue)
}

/// The data that the resource needs from AWS. The refresh annotation, the end of a suspension, and a new spec force a
/// read; a new spec does so only after a failure, or if the last answer about the API lacks the stage.
pub fn subscription(resource: &ClientCertificateRef, access: &Access, stages: Option<&Read<Stages>>) -> Subscription {
    let status = resource.status.as_ref();
    let conditions = status.map(|status| status.conditions.as_slice()).unwrap_or_default();
    let handled = status.and_then(|status| status.last_handled_refresh.as_deref());
    let refresh = resource.refresh_requested().filter(|value| handled != Some(value));
    let is_resumed = is_true(conditions, ConditionType::Suspended);
    let is_new = status.is_none_or(|status| status.observed_generation != resource.generation());
    let has_failed = is_false(conditions, ConditionType::CertificateRead)
        || is_false(conditions, ConditionType::AdditionalCertificatesRead)
        || lacks_stage(resource, stages);
    let force = (refresh.is_some() || is_resumed || (is_new && has_failed))
        .then(|| format!("{} {}", resource.generation().unwrap_or_default(), refresh.unwrap_or_default()));
    Subscription {
        sources: access.sources().cloned().collect(),
        tags: access.tags.clone(),
        stages: access.stages.clone(),
        interval: resource.refresh_interval(),
        force,
    }
}

/// Whether an answer about an API has no certificate for the stage of the spec.
fn lacks_stage(resource: &ClientCertificateRef, stages: Option<&Read<Stages>>) -> bool {
    let Some(Main::Stage(stage)) = resource.main() else { return false };
    let stages = stages.and_then(|read| read.outcome.as_ref().ok());
    stages.is_some_and(|stages| stages.get(&stage.stage_name).is_none_or(Option::is_none))
}

/// Subscribes to all data that the resource needs, including the certificate that the stage presents and the
/// certificates with the tags of the spec. The subscription to a certificate continues while its role changes. `None`
/// if the access is no longer decided.
fn subscribe<G: Gateway>(
    resource: &ClientCertificateRef,
    name: &ResourceName,
    access: Access,
    now: Now,
    context: &Context<G>,
) -> Option<(Access, View)> {
    let list = access.tags.as_ref().and_then(|place| context.aws.tags(place));
    let stages = access.stages.as_ref().and_then(|api| context.aws.stages(api));
    let known = found(resource, list.as_ref(), stages.as_ref(), now);
    let access = if known == Found::default() { access } else { context.access.with_found(resource, &known)? };
    let view = context.aws.subscribe(name, subscription(resource, &access, stages.as_ref()));
    // An answer may have come before the subscription, and did not wake the resource then.
    let known_since = found(resource, view.tags.as_ref(), view.stages.as_ref(), now);
    if known_since == known {
        return Some((access, view));
    }
    let access = context.access.with_found(resource, &known_since)?;
    let view = context.aws.subscribe(name, subscription(resource, &access, view.stages.as_ref()));
    Some((access, view))
}

/// The certificate that the stage presents, and the certificates with the tags of the spec, newest first, in AWS's last
/// answers.
pub fn found(
    resource: &ClientCertificateRef,
    list: Option<&Read<Listing>>,
    stages: Option<&Read<Stages>>,
    now: Now,
) -> Found {
    let listing = list.and_then(|read| read.outcome.as_ref().ok());
    let having = listing.map(|list| list.having(&resource.spec.additional_client_certificate_tags, now.wall));
    let presented = snapshot::presented(resource, stages).map(str::to_owned);
    Found { presented, tagged: having.unwrap_or_default().into_iter().map(str::to_owned).collect() }
}

/// Gathers the input of a decision. `may_send` allows to send a description. `None` if the resource is being deleted
/// and the store does not have the deletion yet.
async fn gather<G: Gateway>(
    resource: &ClientCertificateRef,
    name: &ResourceName,
    access: Access,
    view: View,
    may_send: bool,
    context: &Context<G>,
) -> Option<Snapshot> {
    let target = read_target(resource, context).await;
    if was_deleted(resource, &target) && is_terminating(resource, context).await {
        return None;
    }
    let mut former_targets = context.stores.targets().others_of(name, &resource.target_ref());
    let recorded = resource.status.as_ref().and_then(|status| status.target.as_ref());
    former_targets.retain(|former| {
        // A copy is not ours. An earlier version of the operator wrote no annotation that distinguishes a copy.
        let is_ours = !former.is_copy() && (former.object_mark().is_some() || recorded == Some(&former.target));
        is_ours && !is_controlled_by_another(former, resource)
    });
    let password = password::look_for_password(resource, context).await;
    let Access { main, stages, additional, unnamed, acm, tags, description } = access;
    let key = main.as_ref().and_then(|main| main.source.as_ref().ok()).map(|source| context.aws.key_of(source));
    let is_account_unknown =
        key.as_ref().is_some_and(|key| key.account.is_none()) && context.access.rules().allow_roles();
    let may_describe = match description {
        Err(refusal) => Err(HeldBack::Refused(refusal)),
        Ok(()) if is_account_unknown => Err(HeldBack::AccountUnknown),
        Ok(()) => Ok(()),
    };
    let description = key
        .filter(|_| resource.spec.description.is_some() && may_describe.is_ok())
        .and_then(|key| context.descriptions.reconcile(&key, name, may_send));
    let mut reads = view.reads.into_iter();
    let mut named = |access::Named { id, source }| {
        let read = if source.is_ok() { reads.next().flatten() } else { None };
        Named { id, source, read }
    };
    let main = main.map(&mut named);
    let additional = additional.into_iter().map(&mut named).collect();
    let unnamed = unnamed.into_iter().map(&mut named).collect();
    let tags = tags.map(|place| TagRead { place, read: view.tags });
    let stage = match (resource.main(), stages) {
        (Some(Main::Stage(stage)), Some(api)) => {
            Some(StageRead { api, name: stage.stage_name.clone(), acm: stage.acm, read: view.stages })
        }
        _ => None,
    };
    let now = context.now();
    let installation = resource.status.as_ref().and_then(|status| status.installation.as_deref());
    let (hold, installation, written_password, repaired) = context.counters.of(name, |counter| {
        let hold = counter.writes.as_ref().and_then(|writes| writes.hold(resource.generation(), now.tick));
        let installation = counter.mark.found(installation, &context.settings.installation, now.tick);
        (hold, installation, counter.password.clone(), counter.repaired)
    });
    Some(Snapshot {
        now,
        jitter: fastrand::f64(),
        main,
        stage,
        additional,
        unnamed,
        own_account: context.aws.own_account(),
        acm,
        tags,
        repaired,
        answered: view.answered,
        asked: view.asked,
        may_describe,
        description,
        owner_exists: owner_exists(resource, &target, context),
        target,
        former_targets,
        password,
        written_password,
        hold,
        installation,
    })
}

/// Reads the target from the store if the store has its content, else from the API server.
///
/// A target that was never written, and that the watch has not delivered, counts as missing. This saves a request for
/// every new resource; if the object exists, its creation fails.
async fn read_target<G>(
    resource: &ClientCertificateRef,
    context: &Context<G>,
) -> Result<Option<Target>, ClusterFailure> {
    let target = resource.target_ref();
    if !context.settings.target_kinds.contains(target.kind) {
        return Err(ClusterFailure::KindNotAllowed { kind: target.kind });
    }
    match context.stores.targets().get(resource.namespace(), &target) {
        Known::All(known) => return Ok(Some(*known)),
        Known::Nothing if !was_read(resource) => return Ok(None),
        Known::Nothing | Known::Metadata => {}
    }
    apply::fetch(resource.namespace(), &target, context).await
}

/// Whether an earlier reconcile wrote this target, or found another object of the same name.
fn was_read(resource: &ClientCertificateRef) -> bool {
    let Some(status) = &resource.status else { return false };
    status.target.as_ref() == Some(&resource.target_ref()) || is_false(&status.conditions, ConditionType::TargetWritten)
}

fn was_deleted(resource: &ClientCertificateRef, target: &Result<Option<Target>, ClusterFailure>) -> bool {
    let recorded = resource.status.as_ref().and_then(|status| status.target.as_ref());
    matches!(target, Ok(None)) && recorded == Some(&resource.target_ref())
}

/// Whether the resource is being deleted or no longer exists. A missing target may have been deleted with its resource
/// before the store has that deletion, and the operator must not undo garbage collection.
async fn is_terminating<G>(resource: &ClientCertificateRef, context: &Context<G>) -> bool {
    let resources: Api<PartialObjectMeta<ClientCertificateRef>> =
        Api::namespaced(context.client.clone(), resource.namespace());
    match resources.get_opt(resource.name()).await {
        Ok(None) => true,
        Ok(Some(live)) => {
            live.metadata.deletion_timestamp.is_some() || live.metadata.uid.as_deref() != Some(resource.uid())
        }
        // An unnecessary repair does less harm than a missing target.
        Err(_) => false,
    }
}

/// Whether the resource in the target's owner annotation exists.
fn owner_exists<G>(
    resource: &ClientCertificateRef,
    target: &Result<Option<Target>, ClusterFailure>,
    context: &Context<G>,
) -> bool {
    match target {
        Ok(Some(target)) => {
            target.meta.owner_name().is_some_and(|owner| context.stores.has_resource(resource.namespace(), owner))
        }
        Ok(None) | Err(_) => false,
    }
}
