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
pub use plan::{Action, Cause, DescriptionVerdict, Done, HeldBack, Observation, Outcome, Plan, TargetVerdict};
pub use publish::Publisher;
pub use watched::{Glimpse, GlimpsedCertificate, Watched};

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::api::PostParams;
use kube::{Client, Resource};
use tokio::sync::watch;
use tracing::{Instrument, Span, field, info_span, warn};

use crate::access::AccessControl;
use crate::api::{ClientCertificateRef, ResourceName};
use crate::clock::Clock;
use crate::gateway::Gateway;
use crate::gateway::reader::Reader;
use crate::index::Index;
use crate::leader::Fence;
use crate::memory::{Memories, Memory};
use crate::metrics::{Metrics, ReconcileResult};
use crate::settings::{Now, Settings};

/// Who writes, as `managedFields` and events name it.
pub const FIELD_MANAGER: &str = "client-certificate-operator";

/// How everything is created and replaced.
pub fn write_params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

/// What every pass works with.
pub struct Context<G> {
    /// The Kubernetes API.
    pub client: Client,
    /// API Gateway.
    pub reader: Reader<G>,
    /// Who may ask for what.
    pub access: AccessControl,
    /// What the watches tell.
    pub index: Arc<Index>,
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
    /// Whether this process works, and may write.
    pub fence: Fence,
    /// The steady clock.
    pub clock: Clock,
}

impl<G> Context<G> {
    fn now(&self) -> Now {
        Now { wall: Timestamp::now(), tick: self.clock.now() }
    }
}

/// Brings one resource to where it should be, as far as that is possible now, and says in what time to look again.
pub async fn reconcile<G: Gateway>(resource: Arc<Watched>, context: Arc<Context<G>>) -> Option<Duration> {
    let mut synced = context.synced.clone();
    if synced.wait_for(|synced| *synced).await.is_err() || *context.stopping.borrow() {
        return None;
    }
    let mut stopping = context.stopping.clone();
    let may_begin = tokio::select! {
        may_write = context.fence.wait() => may_write,
        // A renewal that is late is not waited for then.
        _ = stopping.wait_for(|stopping| *stopping) => false,
    };
    // Whoever begins to lead looks at everything.
    if !may_begin {
        return None;
    }
    let (meta, result) = (resource.meta(), field::Empty);
    let span = info_span!("reconcile", namespace = meta.namespace, name = meta.name, result, otel.status_code = result);
    whole_pass(&resource, &context).instrument(span).await
}

async fn whole_pass<G: Gateway>(resource: &Watched, context: &Context<G>) -> Option<Duration> {
    let started = Instant::now();
    let Pass { next_look, result } = match resource.unfold() {
        Ok(resource) => pass(&resource, context).await,
        Err(invalid) => match context.publisher.report_invalid(&invalid).await {
            Ok(()) => Pass { next_look: None, result: Some(ReconcileResult::Invalid) },
            Err(error) => {
                warn!(namespace = resource.meta().namespace, name = resource.meta().name, "{error}");
                Pass { next_look: Some(Duration::from_secs(60)), result: Some(ReconcileResult::Error) }
            }
        },
    };
    let span = Span::current();
    span.record("result", result.map_or("waiting", ReconcileResult::as_str));
    if let Some(result) = result {
        context.metrics.reconciled(result, started.elapsed());
        if result == ReconcileResult::Error {
            span.record("otel.status_code", "ERROR");
        }
    }
    next_look
}

/// How a pass ended.
struct Pass {
    next_look: Option<Duration>,
    /// None where it only asked a question, and goes on when the answer is there.
    result: Option<ReconcileResult>,
}

async fn pass<G: Gateway>(cached: &ClientCertificateRef, context: &Context<G>) -> Pass {
    if cached.is_being_deleted() {
        // Garbage collection has the word now: no write, no PATCH, no repair.
        return Pass { next_look: None, result: Some(ReconcileResult::Success) };
    }
    let mut memory = context.memories.take(cached);
    let resource = memory.with_published_status(cached);
    let pass = match conclude_from_four_steps(&resource, context, &mut memory).await {
        Ok(conclusion) => publish(&resource, conclusion, context, &mut memory).await,
        Err(NoConclusion::Unanswered) => Pass { next_look: Some(PATIENCE), result: None },
        Err(NoConclusion::Undecided) => Pass { next_look: None, result: None },
        Err(NoConclusion::Superfluous) => Pass { next_look: None, result: Some(ReconcileResult::Success) },
    };
    let published = memory.published.as_ref().map(|published| published.resource_version.clone());
    context.memories.put(cached, memory);
    // The watch may have told of the write while the memory was out. Looked at only now, so that it cannot be missed.
    if let Some(version) = published
        && context.index.has_caught_up(cached.namespace(), cached.name(), &version)
    {
        context.memories.caught_up(&ResourceName::new(cached.namespace(), cached.name()), &version);
    }
    pass
}

async fn publish<G: Gateway>(
    resource: &ClientCertificateRef,
    conclusion: Conclusion,
    context: &Context<G>,
    memory: &mut Memory,
) -> Pass {
    let Conclusion { status, events, next_look } = conclusion;
    match context.publisher.publish(resource, status, events, memory).await {
        Ok(()) => {
            memory.publish_streak.reset();
            Pass { next_look, result: Some(ReconcileResult::Success) }
        }
        Err(error) => {
            warn!(namespace = resource.namespace(), name = resource.name(), "{error}");
            let retry = publish::retry_delay(memory, fastrand::f64());
            let next_look = Some(next_look.map_or(retry, |next| next.min(retry)));
            Pass { next_look, result: Some(ReconcileResult::Error) }
        }
    }
}

/// A pass that has asked API Gateway something ends, and the answer begins the next. When none has come for this long,
/// the pass goes on without it, so that the status says so.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why a pass ends without a word.
enum NoConclusion {
    /// API Gateway was asked, and the resource is woken when it has answered.
    Unanswered,
    /// The rules decide by labels of the namespace that are not known yet. They wake the resource.
    Undecided,
    /// The resource is on its way out.
    Superfluous,
}

/// Everything but publishing.
async fn conclude_from_four_steps<G: Gateway>(
    resource: &ClientCertificateRef,
    context: &Context<G>,
    memory: &mut Memory,
) -> Result<Conclusion, NoConclusion> {
    if resource.spec.suspend {
        return Ok(conclude_suspended(resource, memory, context.now().wall));
    }
    let mut observation = observe::observe(resource, context, memory).await?;
    let mut plan = decide(resource, &observation, memory, &context.settings, context.now());
    let mut outcomes = act::act(resource.namespace(), &plan.actions, context).await;
    if act::somebody_came_first(&outcomes) {
        // Look again, once: what is there now decides, not what the cache believed.
        observation.target = observe::fetch_target(resource, context).await;
        observation.owner_exists = observe::owner_exists(resource, &observation.target, context);
        let again = decide(resource, &observation, memory, &context.settings, context.now());
        plan.target = again.target;
        outcomes = act::again(outcomes, resource.namespace(), &again.actions, context).await;
    }
    let (now, jitter) = (context.now(), fastrand::f64());
    Ok(conclude(resource, &observation, &plan, &outcomes, memory, &context.settings, now, jitter))
}
