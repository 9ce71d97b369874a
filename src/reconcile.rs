//! One pass over one resource, in five steps: observe, decide, act, conclude, publish.

mod act;
mod conclude;
mod decide;
mod observe;
mod plan;
mod publish;
mod watched;

pub use conclude::{Conclusion, Event, Events, conclude, suspended as conclude_suspended};
pub use decide::decide;
pub use plan::{Action, Cause, DescriptionVerdict, Done, Observation, Outcome, Plan, TargetVerdict};
pub use publish::Publisher;
pub use watched::Watched;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::Client;
use kube::runtime::controller;
use tokio::sync::watch;
use tracing::warn;

use crate::api::{ClientCertificateRef, ResourceName};
use crate::gateway::Gateway;
use crate::index::Index;
use crate::memory::{Memories, Memory};
use crate::metrics::{Metrics, ReconcileResult};
use crate::settings::{Now, Settings};

/// Who writes, as `managedFields` and events name it.
pub const FIELD_MANAGER: &str = "client-certificate-operator";

/// What every pass works with.
pub struct Context<G> {
    /// The Kubernetes API.
    pub client: Client,
    /// API Gateway.
    pub gateway: G,
    /// What the watches tell.
    pub index: Index,
    /// What is remembered of each resource.
    pub memories: Memories,
    /// Status and events.
    pub publisher: Publisher,
    /// Configuration that decisions depend on.
    pub settings: Settings,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Turns true when the caches have synced: nothing is written, and nothing is sent, before.
    pub synced: watch::Receiver<bool>,
    /// Turns true when the process is asked to stop.
    pub stopping: watch::Receiver<bool>,
    /// The start of the steady clock.
    pub started: Instant,
}

impl<G> Context<G> {
    fn now(&self) -> Now {
        Now { wall: Timestamp::now(), tick: self.started.elapsed() }
    }
}

/// Brings one resource to where it should be, as far as that is possible now, and says when to look again.
pub async fn reconcile<G: Gateway>(
    resource: Arc<Watched>,
    context: Arc<Context<G>>,
) -> Result<controller::Action, Infallible> {
    let mut synced = context.synced.clone();
    if synced.wait_for(|synced| *synced).await.is_err() || *context.stopping.borrow() {
        return Ok(controller::Action::await_change());
    }
    let started = Instant::now();
    let (next_look, result) = match resource.unfold() {
        Ok(resource) => pass(&resource, &context).await,
        Err(invalid) => match context.publisher.report_invalid(&invalid).await {
            Ok(()) => (None, ReconcileResult::Invalid),
            Err(error) => {
                warn!("{error}");
                (Some(Duration::from_secs(60)), ReconcileResult::Error)
            }
        },
    };
    context.metrics.reconciled(result, started.elapsed());
    Ok(next_look.map_or_else(controller::Action::await_change, controller::Action::requeue))
}

async fn pass<G: Gateway>(cached: &ClientCertificateRef, context: &Context<G>) -> (Option<Duration>, ReconcileResult) {
    if cached.is_being_deleted() {
        // Garbage collection has the word now: no write, no PATCH, no repair.
        return (None, ReconcileResult::Success);
    }
    let mut memory = context.memories.take(cached);
    let resource = memory.with_published_status(cached);
    let conclusion = conclude_from_four_steps(&resource, context, &mut memory).await;
    let mut next_look = None;
    let mut result = ReconcileResult::Success;
    if let Some(Conclusion { status, events, next_look: next }) = conclusion {
        next_look = next;
        match context.publisher.publish(&resource, status, events, &mut memory).await {
            Ok(()) => memory.publish_streak.reset(),
            Err(error) => {
                warn!(namespace = resource.namespace(), name = resource.name(), "{error}");
                let retry = publish::retry_delay(&mut memory, fastrand::f64());
                next_look = Some(next_look.map_or(retry, |next| next.min(retry)));
                result = ReconcileResult::Error;
            }
        }
    }
    let published = memory.published.as_ref().map(|published| published.resource_version.clone());
    context.memories.put(cached, memory);
    // The watch may have told of the write while the memory was out. Looked at only now, so that it cannot be missed.
    if let Some(version) = published
        && context.index.has_caught_up(cached.namespace(), cached.name(), &version)
    {
        context.memories.caught_up(&ResourceName::new(cached.namespace(), cached.name()), &version);
    }
    (next_look, result)
}

/// Everything but publishing. `None` where the process was asked to stop, or the resource is on its way out.
async fn conclude_from_four_steps<G: Gateway>(
    resource: &ClientCertificateRef,
    context: &Context<G>,
    memory: &mut Memory,
) -> Option<Conclusion> {
    if resource.spec.suspend {
        return Some(conclude_suspended(resource, memory, context.now().wall));
    }
    let mut observation = observe::observe(resource, context, memory).await?;
    let mut plan = decide(resource, &observation, memory, &context.settings, context.now());
    let mut outcomes = act::act(&plan.actions, context).await;
    if act::somebody_came_first(&outcomes) {
        // Look again, once: what is there now decides, not what the cache believed.
        observation.target = observe::fetch_target(resource, context).await;
        observation.owner_exists = observe::owner_exists(resource, &observation.target, context);
        let again = decide(resource, &observation, memory, &context.settings, context.now());
        plan.target = again.target;
        outcomes = act::again(outcomes, &again.actions, context).await;
    }
    let (now, jitter) = (context.now(), fastrand::f64());
    Some(conclude(resource, &observation, &plan, &outcomes, memory, &context.settings, now, jitter))
}
