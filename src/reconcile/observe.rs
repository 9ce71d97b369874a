//! First step: gather what is. The certificate, where a read is due, and the target. A failure to look is data.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::core::PartialObjectMeta;
use tracing::{debug, warn};

use super::{Context, Observation, act};
use crate::api::{ClientCertificateRef, ResourceName};
use crate::conditions::{ConditionType, is_false};
use crate::description::Claim;
use crate::error::{ClusterFailure, ReadFailure};
use crate::gateway::{Gateway, Source};
use crate::index::Known;
use crate::memory::Memory;
use crate::reading::{Answer, source_of};
use crate::target::{Target, is_controlled_by_another};

/// Gathers what is. `None` where the process was asked to stop, or the resource is on its way out.
pub async fn observe<G: Gateway>(
    resource: &ClientCertificateRef,
    context: &Context<G>,
    memory: &mut Memory,
) -> Option<Observation> {
    let source = source_of(resource, &context.settings);
    let claim_before = claim(resource, &source, context);
    let read = read_if_due(resource, &source, &claim_before, context, memory);
    let (read, target) = tokio::join!(read, look_at_target(resource, context));
    let Read::Done { description_undone } = read else { return None };
    if was_deleted(resource, &target) && is_on_its_way_out(resource, context).await {
        return None;
    }
    let name = ResourceName::new(resource.namespace(), resource.name());
    let mut leftovers = context.index.targets().others_of(&name, &resource.target_ref());
    leftovers.retain(|leftover| !is_controlled_by_another(leftover, resource));
    let claim = claim(resource, &source, context);
    let owner_exists = owner_exists(resource, &target, context);
    Some(Observation { source, target, owner_exists, leftovers, claim, description_undone })
}

fn claim<G>(resource: &ClientCertificateRef, source: &Result<Source, ReadFailure>, context: &Context<G>) -> Claim {
    match source {
        Ok(source) => context.index.claims().decide(resource, source),
        Err(_) => Claim::Mine,
    }
}

enum Read {
    Done { description_undone: bool },
    AskedToStop,
}

async fn read_if_due<G: Gateway>(
    resource: &ClientCertificateRef,
    source: &Result<Source, ReadFailure>,
    claim: &Claim,
    context: &Context<G>,
    memory: &mut Memory,
) -> Read {
    if !memory.begin_read(resource, source, claim, context.now().tick) {
        return Read::Done { description_undone: false };
    }
    let came = match source {
        Err(failure) => Err(failure.clone()),
        Ok(source) => {
            let mut stopping = context.stopping.clone();
            tokio::select! {
                came = context.gateway.get_client_certificate(source) => {
                    came.map_err(ReadFailure::from).and_then(|came| Answer::check(source, came, context.now().wall))
                }
                // Nothing is lost by giving up a read: the next process does it.
                _ = stopping.wait_for(|stopping| *stopping) => return Read::AskedToStop,
            }
        }
    };
    log_read(resource, source, &came);
    let description_undone = memory.end_read(resource, source, came, context.now().tick, fastrand::f64());
    Read::Done { description_undone }
}

fn log_read(resource: &ClientCertificateRef, source: &Result<Source, ReadFailure>, came: &Result<Answer, ReadFailure>) {
    let (namespace, name) = (resource.namespace(), resource.name());
    match came {
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
    let target = resource.target_ref();
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), resource.namespace());
    let found = secrets.get_opt(&target.name).await.map_err(|error| act::classify(&error, "get"))?;
    let found = found.map(Target::of_secret);
    match &found {
        Some(found) => context.index.targets().learn(found.clone()),
        None => context.index.targets().forget(resource.namespace(), &target),
    }
    Ok(found)
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
