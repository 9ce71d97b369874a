//! The events that wake a resource, the queue of reconciles, and their end.
//!
//! ```text
//! resources ──► changed spec, annotation, deletion ──►┐
//!           └─► claims: another owner of a description ──►├─► one queue ──► reconcile
//! targets   ──► a version that we did not write ──►────┤     (one a resource, 32 in all)
//! the Lease ──► this replica leads: all of them ──►────┤
//! requeue   ──► the time that its last reconcile set ──►──┘
//! ```

mod access;
mod availability;
mod queue;
mod watches;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use kube::runtime::reflector::ObjectRef;
use thiserror::Error;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::access::AccessControl;
use crate::api::{Cached, ResourceName, TargetKind};
use crate::aws::cache::{Cache, Wake};
use crate::aws::gateway::Gateway;
use crate::aws::rate_limit::Limits;
use crate::clock::Clock;
use crate::controllers::description::Descriptions;
use crate::controllers::mirror::{self, Context, Counters, reconcile};
use crate::controllers::publish::Publisher;
use crate::health::{Health, QUEUE_IDLE};
use crate::kubernetes::client::{self, client};
use crate::kubernetes::lease;
use crate::kubernetes::stores::{Stores, Wakes};
use crate::kubernetes::watch::Scope;
use crate::leader::{Fence, LOOK_EVERY, Leadership};
use crate::metrics::{Metrics, ReconcileResult};
use crate::settings::Settings;
use crate::tasks::Tasks;

use self::availability::Availability;

pub use crate::kubernetes::lease::Election;
pub use access::{RulesFile, UnusableRules};

/// The time for running reconciles to end after SIGTERM: longer than a write takes.
const DRAIN: Duration = Duration::from_secs(12);
/// By then the last write has ended.
const LAST_WRITE: Duration = Duration::from_secs(11);
/// The time limit of a reconcile. The next one recovers from one that was cancelled, as it does from a crash.
const PASS: Duration = Duration::from_secs(60);
/// A reconcile that panicked is on standard error. The others continue, and this one is retried after this time.
const AFTER_A_FAILURE: Duration = Duration::from_secs(60);

/// The parts of the controller.
pub struct Parts<G> {
    /// The client configuration of the Kubernetes API.
    pub config: kube::Config,
    /// API Gateway.
    pub gateway: G,
    /// The rate limit of its calls.
    pub limits: Limits,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Configuration that decisions depend on.
    pub settings: Settings,
    /// The leader election; without one, this replica leads.
    pub election: Option<Election>,
    /// The rules for each namespace.
    pub rules: RulesFile,
    /// Namespaces to watch; all, where empty.
    pub namespaces: Vec<String>,
    /// Reconciles that run at the same time.
    pub concurrency: u16,
    /// The health of the process.
    pub health: Health,
    /// Background tasks.
    pub tasks: Tasks,
    /// Notified when the caches have synced.
    pub synced: watch::Sender<bool>,
    /// Turns true when the process is asked to stop.
    pub stopping: watch::Receiver<bool>,
}

/// Why the controller could not run.
#[derive(Debug, Error)]
#[error("the Kubernetes configuration cannot be used: {0}")]
pub struct Error(#[from] kube::Error);

/// Runs until asked to stop, and until the running reconciles have ended.
pub async fn run<G: Gateway>(parts: Parts<G>) -> Result<(), Error> {
    let Parts {
        config,
        gateway,
        limits,
        metrics,
        settings,
        election,
        rules,
        namespaces,
        concurrency,
        health,
        tasks,
        synced,
        mut stopping,
    } = parts;
    let clock = Clock::start();
    let (leadership, followed) =
        watch::channel(if election.is_some() { Leadership::StandingBy } else { Leadership::Alone });
    let fence = Fence::new(clock, followed);
    // The Lease is taken and given back without the guard.
    let of_lease = client::Limits { deadline: lease::DEADLINE, guard: None, health: health.clone() };
    let lease_client = client(config.clone(), of_lease)?;
    let of_work = client::Limits { deadline: client::DEADLINE, guard: Some(fence.clone()), health: health.clone() };
    let client = client(config, of_work)?;
    let scopes: Vec<Scope> = match namespaces.is_empty() {
        true => vec![Scope::All],
        false => namespaces.into_iter().map(Scope::Namespace).collect(),
    };

    let (stores, wakes) = Stores::new();
    let stores = Arc::new(stores);
    let cached = Arc::clone(&stores);
    metrics.follow(Box::new(move || cached.all_resources().collect()));
    let wake = |stores: &Arc<Stores>| -> Wake {
        let stores = Arc::clone(stores);
        Box::new(move |resources| stores.wake(resources))
    };
    let publisher = Arc::new(Publisher::new(client.clone()));
    let counted = Arc::clone(&metrics);
    let aws = Cache::new(gateway, limits, clock, fence.clone(), counted, wake(&stores), tasks.clone());
    let manages = settings.manage_descriptions;
    let descriptions =
        Descriptions::new(aws.clone(), clock, Arc::clone(&publisher), wake(&stores), manages, tasks.clone());
    let context = Arc::new(Context {
        publisher,
        client,
        aws,
        descriptions,
        access: AccessControl::new(settings.clone(), rules.rules.clone()),
        stores,
        settings,
        metrics,
        synced: synced.subscribe(),
        stopping: stopping.clone(),
        fence: fence.clone(),
        clock,
        counters: Counters::default(),
    });

    let kinds: Vec<TargetKind> = context.settings.target_kinds.iter().collect();
    let availability = Availability::new(watches::of(&scopes, &kinds), Arc::clone(&context.metrics));
    for scope in &scopes {
        watches::begin(scope, &tasks, &availability, &context);
    }
    let rules_apply = access::follow_rules(rules, &tasks, Arc::clone(&context));
    let all_synced = async {
        // No call to AWS before the operator can read the cluster.
        availability.wait_any_listed().await;
        let account_known = access::learn_own_account(&tasks, Arc::clone(&context));
        rules_apply.await;
        availability.wait_ready().await;
        account_known.await;
        // Claims that were decided before lacked the account and the labels of namespaces.
        access::apply(&context);
        info!("caches synced");
        let _ = synced.send(true);
    };
    let (mut joined, mut queue) = (None, None);
    let work = async {
        all_synced.await;
        let reconciles = work_through(wakes, concurrency, health, Arc::clone(&context));
        queue = Some(tasks.spawn_finite("queue", reconciles));
        match election {
            // Only now: a leader must be able to work at once.
            Some(election) => {
                let (following, metrics) = (leadership.subscribe(), Arc::clone(&context.metrics));
                joined = Some(lease::join(election, lease_client, &tasks, clock, leadership, metrics));
                follow(following, &scopes, &context).await;
            }
            None => context.metrics.leads(true),
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = work => {}
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
    info!("shutting down; waiting for running reconciles");
    fence.end_within(LAST_WRITE);
    let descriptions = context.descriptions.clone();
    let ending = Arc::clone(&context);
    let drained = async move {
        let concerned = descriptions.drain().await;
        if let Some(queue) = queue {
            let _ = queue.await;
        }
        // The statuses must contain the results of the last updates.
        for name in concerned {
            let reference = ObjectRef::new(&name.name).within(&name.namespace);
            if let Some(cached) = ending.stores.resources().get(&reference) {
                let _ = mirror::conclude(cached, Arc::clone(&ending)).await;
            }
        }
    };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        warn!("some reconciles did not finish within {} s and were cancelled", DRAIN.as_secs());
    }
    // No write is under way any more.
    if let Some(joined) = joined {
        joined.resign().await;
    }
    Ok(())
}

/// Rereads what another replica has written, whenever this one begins to lead.
async fn follow<G: Gateway>(mut leadership: watch::Receiver<Leadership>, scopes: &[Scope], context: &Arc<Context<G>>) {
    loop {
        let began = context.clock.now();
        if leadership.wait_for(|leadership| leadership.leads()).await.is_err() {
            return;
        }
        // Another replica has led meanwhile, so counters from before that are out of date.
        if context.clock.now().saturating_sub(began) > LOOK_EVERY {
            context.counters.clear();
            context.descriptions.forget_attempts();
            // The content of the other replica's writes is unknown: one list costs less than a read of each.
            for scope in scopes {
                if let Err(error) = watches::read_again(scope, context).await {
                    debug!("could not list the targets, so each reconcile reads its own target: {error}");
                }
            }
        }
        access::apply(context);
        if leadership.wait_for(|leadership| !leadership.leads()).await.is_err() {
            return;
        }
        context.aws.unsubscribe_all();
    }
}

/// Reconciles the resources that are woken until asked to stop; then ends the running reconciles.
async fn work_through<G: Gateway>(wakes: Wakes, concurrency: u16, health: Health, context: Arc<Context<G>>) {
    let mut stopping = context.stopping.clone();
    let stop = async move {
        let _ = stopping.wait_for(|stopping| *stopping).await;
    };
    let runs = || health.queue_runs();
    let reconcile = |resource: &ObjectRef<Cached>| match context.stores.resources().get(resource) {
        Some(cached) => pass(cached, Arc::clone(&context), health.clone()).left_future(),
        None => {
            debug!(%resource, "the resource was deleted");
            std::future::ready(None).right_future()
        }
    };
    queue::work_through(wakes, concurrency, QUEUE_IDLE, runs, stop, reconcile).await;
}

/// Runs one reconcile, and returns when the next is due.
async fn pass<G: Gateway>(resource: Arc<Cached>, context: Arc<Context<G>>, health: Health) -> Option<Duration> {
    let (started, metrics) = (Instant::now(), Arc::clone(&context.metrics));
    let ResourceName { namespace, name } = ResourceName::of(&resource);
    let failed = |how: &str| {
        warn!(namespace, name, "the reconcile {how}; retrying");
        metrics.reconciled(ReconcileResult::Error, started.elapsed());
        Some(AFTER_A_FAILURE)
    };
    let _attempt = health.attempt(PASS);
    // A task for each reconcile, so that they share the processors.
    match tokio::spawn(tokio::time::timeout(PASS, reconcile(resource, context))).await {
        Ok(Ok(next)) => next,
        Ok(Err(_)) => failed(&format!("did not finish within {} s and was cancelled", PASS.as_secs())),
        Err(_) => failed("panicked"),
    }
}
