//! First step: gather what is. The certificate, where a read is due, and the target. A failure to look is data.

mod password;

use std::sync::Arc;

use kube::Api;
use kube::core::PartialObjectMeta;
use tracing::{debug, warn};

use super::{Context, HeldBack, NoConclusion, Observation, PATIENCE, act};
use crate::api::{ClientCertificateRef, ResourceName};
use crate::conditions::{ConditionType, is_false};
use crate::description::Claim;
use crate::error::{ClusterFailure, ReadFailure};
use crate::gateway::{CertificateKey, Gateway, Source};
use crate::index::Known;
use crate::memory::{Memory, Which};
use crate::reading::{Access, Answer, Came, Why};
use crate::rules::Refusal;
use crate::target::{Target, is_controlled_by_another};

/// Gathers what is. None where API Gateway was asked something, and the pass goes on when it has answered; or where the
/// resource is on its way out.
pub async fn observe<G: Gateway>(
    resource: &ClientCertificateRef,
    context: &Context<G>,
    memory: &mut Memory,
) -> Result<Observation, NoConclusion> {
    let access = context.access.of(resource).ok_or(NoConclusion::Undecided)?;
    let key = access.source.as_ref().ok().map(|source| context.reader.key_of(source));
    read_what_is_due(resource, &access, &claim(resource, key.as_ref(), context), context, memory)?;
    let target = look_at_target(resource, context).await;
    if was_deleted(resource, &target) && is_on_its_way_out(resource, context).await {
        return Err(NoConclusion::Superfluous);
    }
    let name = ResourceName::new(resource.namespace(), resource.name());
    let mut leftovers = context.index.targets().others_of(&name, &resource.target_ref());
    leftovers.retain(|leftover| !is_controlled_by_another(leftover, resource));
    Ok(Observation {
        claim: claim(resource, key.as_ref(), context),
        owner_exists: owner_exists(resource, &target, context),
        may_describe: may_describe(access.description, key.as_ref(), context),
        source: access.source,
        additional: access.additional,
        target,
        leftovers,
        description_undone: std::mem::take(&mut memory.description_undone),
        password: password::look_for_password(resource, context).await,
    })
}

fn claim<G: Gateway>(resource: &ClientCertificateRef, key: Option<&CertificateKey>, context: &Context<G>) -> Claim {
    key.map_or(Claim::Mine, |key| context.index.claims().decide(resource, key))
}

/// As long as the operator's own account is not known, a resource that comes by a role may mean the same certificate.
fn may_describe<G: Gateway>(
    by_the_rules: Result<(), Refusal>,
    key: Option<&CertificateKey>,
    context: &Context<G>,
) -> Result<(), HeldBack> {
    by_the_rules.map_err(HeldBack::Refused)?;
    let is_unknown = key.is_some_and(|key| key.account.is_none());
    if is_unknown && context.access.rules().allow_roles() { Err(HeldBack::AccountUnknown) } else { Ok(()) }
}

/// Asks API Gateway for every certificate where that is due, for all at once.
fn read_what_is_due<G: Gateway>(
    resource: &ClientCertificateRef,
    access: &Access,
    claim: &Claim,
    context: &Context<G>,
    memory: &mut Memory,
) -> Result<(), NoConclusion> {
    memory.arrange(&resource.spec.client_certificate_id, &access.additional);
    let mut is_complete = read_if_due(Which::Main, resource, &access.source, claim, context, memory);
    for (at, named) in access.additional.iter().enumerate() {
        is_complete &= read_if_due(Which::Additional(at), resource, &named.source, claim, context, memory);
    }
    if is_complete { Ok(()) } else { Err(NoConclusion::Unanswered) }
}

/// Asks API Gateway for one certificate, where that is due. Answers whether the pass can go on without hearing more.
fn read_if_due<G: Gateway>(
    which: Which,
    resource: &ClientCertificateRef,
    source: &Result<Source, ReadFailure>,
    claim: &Claim,
    context: &Context<G>,
    memory: &mut Memory,
) -> bool {
    let now = context.now();
    let Some(demand) = memory.demand(which, resource, source, claim, now.tick) else { return true };
    let came = match source {
        Err(failure) => Some(Came { outcome: Err(failure.clone()), at: now.tick }),
        Ok(source) => context.reader.ask(source, &demand, &ResourceName::new(resource.namespace(), resource.name())),
    };
    match came {
        Some(came) => {
            log_read(resource, source, &came.outcome);
            memory.answered(which, resource, source, came, context.now().tick, fastrand::f64());
            true
        }
        // Everything else goes on with the last answer, however long the next takes.
        None => (demand.why == Why::Due && memory.was_read(which, source)) || now.tick >= demand.since + PATIENCE,
    }
}

fn log_read(
    resource: &ClientCertificateRef,
    source: &Result<Source, ReadFailure>,
    outcome: &Result<Arc<Answer>, ReadFailure>,
) {
    let (namespace, name) = (resource.namespace(), resource.name());
    match outcome {
        Ok(answer) => debug!(namespace, name, certificate = %answer.source, "read the certificate"),
        Err(failure) => {
            warn!(namespace, name, "could not read the certificate: {}", failure.explain(source.as_ref().ok()));
        }
    }
}

/// Looks at the target: in the index where its content is known, else in the cluster.
///
/// A target that was never written and that no watch has told of is taken to be missing: creating it finds out whether
/// that is true, and saves a request for every new resource.
pub async fn look_at_target<G>(
    resource: &ClientCertificateRef,
    context: &Context<G>,
) -> Result<Option<Target>, ClusterFailure> {
    let target = resource.target_ref();
    if !context.settings.target_kinds.contains(target.kind) {
        return Err(ClusterFailure::KindNotAllowed { kind: target.kind });
    }
    match context.index.targets().get(resource.namespace(), &target) {
        Known::All(known) => return Ok(Some(*known)),
        Known::Nothing if !was_looked_at(resource) => return Ok(None),
        Known::Nothing | Known::Metadata => {}
    }
    fetch_target(resource, context).await
}

/// Looks at the target in the cluster.
pub async fn fetch_target<G>(
    resource: &ClientCertificateRef,
    context: &Context<G>,
) -> Result<Option<Target>, ClusterFailure> {
    act::fetch(resource.namespace(), &resource.target_ref(), context).await
}

/// Whether an earlier pass has written this target, or met something in its place.
fn was_looked_at(resource: &ClientCertificateRef) -> bool {
    let Some(status) = &resource.status else { return false };
    status.target.as_ref() == Some(&resource.target_ref()) || is_false(&status.conditions, ConditionType::TargetWritten)
}

fn was_deleted(resource: &ClientCertificateRef, target: &Result<Option<Target>, ClusterFailure>) -> bool {
    let recorded = resource.status.as_ref().and_then(|status| status.target.as_ref());
    matches!(target, Ok(None)) && recorded == Some(&resource.target_ref())
}

/// A target that goes missing may have gone with its resource, whose deletion the cache has not heard of yet. Asked
/// only then, so that garbage collection is never fought.
async fn is_on_its_way_out<G>(resource: &ClientCertificateRef, context: &Context<G>) -> bool {
    let resources: Api<PartialObjectMeta<ClientCertificateRef>> =
        Api::namespaced(context.client.clone(), resource.namespace());
    match resources.get_opt(resource.name()).await {
        Ok(None) => true,
        Ok(Some(live)) => {
            live.metadata.deletion_timestamp.is_some() || live.metadata.uid.as_deref() != Some(resource.uid())
        }
        // A repair that turns out to be in vain does less harm than a target that stays away.
        Err(_) => false,
    }
}

/// Whether the resource that the target's annotation names is there.
pub fn owner_exists<G>(
    resource: &ClientCertificateRef,
    target: &Result<Option<Target>, ClusterFailure>,
    context: &Context<G>,
) -> bool {
    match target {
        Ok(Some(target)) => {
            target.meta.owner_name().is_some_and(|owner| context.index.has_resource(resource.namespace(), owner))
        }
        Ok(None) | Err(_) => false,
    }
}
