//! Which events wake which resource, how many passes run at once, and how it all ends.
//!
//! ```text
//! resources ──► changed spec, annotation, deletion ──►┐
//!           └─► claims: another owner of a description ──►├─► one queue a scope ──► reconcile
//! targets   ──► a version that we did not write ──►────┤        (one pass a resource, 32 in all)
//! the Lease ──► this replica leads: all of them ──►────┤
//! timers    ──► the time that its last pass named ──►──┘
//! ```

mod access;
mod changes;
mod election;
mod explain;
mod fenced;
mod timers;
mod watches;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt, future, stream};
use kube::Client;
use kube::runtime::controller::{self, Config as ControllerConfig, ReconcileRequest};
use kube::runtime::reflector::{Store, store::Writer};
use kube::runtime::{applier, reflector};
use thiserror::Error;
use tokio::sync::{oneshot, watch};
use tracing::{debug, error, info};

use crate::access::AccessControl;
use crate::clock::Clock;
use crate::gateway::Gateway;
use crate::aws::cache::Cache;
use crate::controllers::description::Descriptions;
use crate::controllers::mirror::{Context, Counters, reconcile};
use crate::controllers::publish::Publisher;
use crate::aws::rate_limit::Limits;
use crate::index::{Index, Scope, Wakes};
use crate::leader::{Fence, LOOK_EVERY, Standing};
use crate::metrics::Metrics;
use crate::reconcile::Watched;
use crate::settings::Settings;

use self::timers::Timers;

pub use access::{RulesFile, UnusableRules};
pub use election::Election;
pub use watches::Unreachable;

/// What is under way when the process is asked to stop has this long to end.
const DRAIN: Duration = Duration::from_secs(8);
/// A pass that panicked has told so on standard error; the others go on, and it gets another chance.
const AFTER_A_PANIC: Duration = Duration::from_secs(60);

/// What the controller is made of.
pub struct Parts<G> {
    /// How to reach the Kubernetes API.
    pub config: kube::Config,
    /// API Gateway.
    pub gateway: G,
    /// How many calls it may get.
    pub limits: Limits,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Configuration that decisions depend on.
    pub settings: Settings,
    /// The election that decides whether this replica works; it does, where there is none.
    pub election: Option<Election>,
    /// What each namespace may ask for.
    pub rules: RulesFile,
    /// Namespaces to watch; all, where empty.
    pub namespaces: Vec<String>,
    /// Passes that run at the same time.
    pub concurrency: u16,
    /// Told when the caches have synced.
    pub synced: watch::Sender<bool>,
    /// Turns true when the process is asked to stop.
    pub stopping: watch::Receiver<bool>,
}

/// Why the controller could not run.
#[derive(Debug, Error)]
pub enum Error {
    /// The cluster could not be reached at the start.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// The configuration makes no client.
    #[error("the Kubernetes configuration cannot be used: {0}")]
    Configuration(#[from] kube::Error),
    /// Passes were still under way when the time to end them was over.
    #[error("some passes did not end within {} s", DRAIN.as_secs())]
    NotDrained,
}

/// Runs until asked to stop, and until what is under way then has ended.
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
        synced,
        mut stopping,
    } = parts;
    let clock = Clock::start();
    let (standing, followed) = watch::channel(if election.is_some() { Standing::StandingBy } else { Standing::Alone });
    let fence = Fence::new(clock, followed);
    // The Lease is taken and given back without it.
    let lease_client = Client::try_from(config.clone())?;
    let client = fenced::client(config, fence.clone())?;
    let scopes: Vec<Scope> = match namespaces.is_empty() {
        true => vec![Scope::All],
        false => namespaces.into_iter().map(Scope::Namespace).collect(),
    };
    tokio::select! {
        reachable = watches::wait_for_crd(&client, &scopes) => reachable?,
        _ = stopping.wait_for(|stopping| *stopping) => return Ok(()),
    }

    let (readers, writers): (Vec<Store<Watched>>, Vec<Writer<Watched>>) =
        scopes.iter().map(|_| reflector::store()).unzip();
    let (index, wakes) = Index::new(scopes.iter().cloned().zip(readers.iter().cloned()).collect());
    let index = Arc::new(index);
    let cached = Arc::clone(&index);
    metrics.follow(Box::new(move || cached.all_resources().collect()));
    let wake = |index: &Arc<Index>| -> crate::aws::cache::Wake {
        let index = Arc::clone(index);
        Box::new(move |resources| index.wake(resources))
    };
    let publisher = Arc::new(Publisher::new(client.clone()));
    let aws = Cache::new(gateway, limits, clock, fence.clone(), Arc::clone(&metrics), wake(&index));
    let manages = settings.manage_descriptions;
    let descriptions = Descriptions::new(aws.clone(), clock, Arc::clone(&publisher), wake(&index), manages);
    let context = Arc::new(Context {
        publisher,
        client,
        aws,
        descriptions,
        access: AccessControl::new(settings.clone(), rules.rules.clone()),
        index,
        settings,
        metrics,
        synced: synced.subscribe(),
        stopping: stopping.clone(),
        fence,
        clock,
        counters: Counters::default(),
    });

    let timers = Arc::new(Timers::new(clock));
    let (going, woken) = (Arc::clone(&timers), Arc::clone(&context.index));
    tokio::spawn(async move { going.run(|resources| woken.wake(resources)).await });

    let targets_of = scopes.clone();
    let kinds = || context.settings.target_kinds.iter();
    let watched = scopes.iter().flat_map(|scope| kinds().map(move |kind| (scope.clone(), kind)));
    let targets_synced: Vec<_> =
        watched.map(|(scope, kind)| watches::watch_targets(scope, kind, Arc::clone(&context))).collect();
    // Not the caches' own `wait_until_ready`: of several who wait there, only the last is woken, and that is the queue.
    let (known, resources_known): (Vec<_>, Vec<_>) = scopes.iter().map(|_| oneshot::channel()).unzip();
    let controllers = scopes.into_iter().zip(readers).zip(writers).zip(wakes).zip(known).map(
        |((((scope, reader), writer), wakes), known)| {
            let timers = Arc::clone(&timers);
            let queue = Queue { scope, reader, writer, wakes, known, timers, concurrency };
            tokio::spawn(control(queue, Arc::clone(&context)))
        },
    );
    let controllers = future::join_all(controllers);

    let account_known = access::learn_own_account(Arc::clone(&context));
    let rules_apply = access::follow_rules(rules, Arc::clone(&context));
    let all_synced = async {
        rules_apply.await;
        future::join_all(resources_known).await;
        future::join_all(targets_synced).await;
        account_known.await;
        // What the caches told before that was told without the account, and without the labels of namespaces.
        access::apply(&context);
        info!("the caches have synced");
        let _ = synced.send(true);
    };
    let mut joined = None;
    let work = async {
        all_synced.await;
        match election {
            // Only now: who leads must be able to work at once.
            Some(election) => {
                let following = standing.subscribe();
                joined = Some(election::join(election, lease_client, clock, standing, Arc::clone(&context.metrics)));
                follow(following, &targets_of, &context).await;
            }
            None => context.metrics.leads(true),
        }
        future::pending::<()>().await;
    };
    tokio::select! {
        () = work => {}
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
    info!("asked to stop: ending what is under way");
    let descriptions = context.descriptions.clone();
    let drained = async { (controllers.await, descriptions.drain().await) };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        // The Lease is left to end by itself: what is under way may still write.
        return Err(Error::NotDrained);
    }
    if let Some(joined) = joined {
        joined.resign().await;
    }
    Ok(())
}

/// Makes what another replica left behind this one's own, whenever it begins to lead.
async fn follow<G: Gateway>(mut standing: watch::Receiver<Standing>, scopes: &[Scope], context: &Arc<Context<G>>) {
    loop {
        let began = context.clock.now();
        if standing.wait_for(|standing| standing.leads()).await.is_err() {
            return;
        }
        // Another has worked meanwhile, and what is remembered from before that is not to be trusted.
        if context.clock.now().saturating_sub(began) > LOOK_EVERY {
            context.counters.clear();
            // The other one's writes are known by their versions alone: one list is less than a look at each.
            if let Err(error) = watches::read_again(scopes, context).await {
                debug!("the targets could not be read again, so each is looked at by itself: {error}");
            }
        }
        access::apply(context);
        if standing.wait_for(|standing| !standing.leads()).await.is_err() {
            return;
        }
        context.aws.unsubscribe_all();
    }
}

/// What one scope's queue is made of.
struct Queue {
    scope: Scope,
    reader: Store<Watched>,
    writer: Writer<Watched>,
    wakes: Wakes,
    known: oneshot::Sender<()>,
    timers: Arc<Timers>,
    concurrency: u16,
}

/// Runs one scope's queue.
async fn control<G: Gateway>(queue: Queue, context: Arc<Context<G>>) {
    let Queue { scope, reader, writer, wakes, known, timers, concurrency } = queue;
    let changed = watches::resources(scope, reader.clone(), writer, known, Arc::clone(&timers), Arc::clone(&context));
    let mut stopping = context.stopping.clone();
    let stop = async move {
        let _ = stopping.wait_for(|stopping| *stopping).await;
    };
    let queue = stream::select(changed, wakes).map(|resource| Ok::<_, Infallible>(ReconcileRequest::from(resource)));
    let queue = queue.take_until(stop);
    let config = ControllerConfig::default().concurrency(concurrency);
    let pass = move |resource, context| pass(resource, Arc::clone(&timers), context).boxed();
    applier(pass, |_, never: &Infallible, _| match *never {}, context, reader, queue, config)
        .for_each(|result| {
            match result {
                Ok(_) => {}
                // Deleted between the event and its turn.
                Err(controller::Error::ObjectNotFound(object)) => debug!(%object, "it is gone"),
                Err(error) => error!("the controller's queue failed: {error}"),
            }
            future::ready(())
        })
        .await;
}

/// Runs one pass, and sets the timer for the next.
async fn pass<G: Gateway>(
    resource: Arc<Watched>,
    timers: Arc<Timers>,
    context: Arc<Context<G>>,
) -> Result<controller::Action, Infallible> {
    let name = changes::name_of(&resource);
    timers.cancel(&name);
    // A task for each pass, so that they share the processors.
    let ended = tokio::spawn(reconcile(resource, context)).await;
    if let Some(wait) = ended.unwrap_or(Some(AFTER_A_PANIC)) {
        timers.set(name, wait);
    }
    Ok(controller::Action::await_change())
}
