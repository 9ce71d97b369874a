//! Runs the actions of a plan. The client limits the time of each. The action on a former target runs only if the write
//! of the target succeeded.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use kube::core::PartialObjectMeta;

use super::Context;
use super::plan::Action;
use super::refusal::classify;
use super::status::Effect;
use crate::api::{TargetKind, TargetRef};
use crate::error::ClusterFailure;
use crate::kubernetes::write_params;
use crate::target::{Desired, MergedMeta, Target, TargetMeta, TargetObject};

/// Runs the actions in order.
pub async fn apply<G>(actions: Vec<Action>, context: &Context<G>) -> Vec<Effect> {
    let mut effects: Vec<Effect> = Vec::with_capacity(actions.len());
    for action in actions {
        let failed = effects.iter().any(|effect| effect.result != Some(Ok(())));
        let result = if failed && !action.is_of_target() { None } else { Some(write(&action, context).await) };
        effects.push(Effect { action, result });
    }
    effects
}

/// Whether a write failed because the target existed or had changed, and the store was out of date.
pub fn lost_a_race(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| {
        effect.action.is_of_target()
            && matches!(effect.result, Some(Err(ClusterFailure::AlreadyExists | ClusterFailure::Conflict)))
    })
}

/// Reads an object from the API server.
pub async fn fetch<G>(
    namespace: &str,
    target: &TargetRef,
    context: &Context<G>,
) -> Result<Option<Target>, ClusterFailure> {
    match target.kind {
        TargetKind::Secret => fetch_as::<Secret, G>(namespace, target, context).await,
        TargetKind::ConfigMap => fetch_as::<ConfigMap, G>(namespace, target, context).await,
    }
}

async fn write<G>(action: &Action, context: &Context<G>) -> Result<(), ClusterFailure> {
    match action.target().kind {
        TargetKind::Secret => write_as::<Secret, G>(action, context).await,
        TargetKind::ConfigMap => write_as::<ConfigMap, G>(action, context).await,
    }
}

async fn write_as<K: TargetObject, G>(action: &Action, context: &Context<G>) -> Result<(), ClusterFailure> {
    match action {
        Action::Create { desired, .. } => create::<K, G>(desired, context).await,
        Action::Replace { current, desired, meta, immutable, .. } => {
            let object = K::of_desired(desired, meta.clone(), Some(current), *immutable);
            replace(object, current, desired, meta, context).await
        }
        Action::Delete { current } => delete::<K, G>(current, context).await,
        Action::Release { current } => release::<K, G>(current, context).await,
    }
}

async fn fetch_as<K: TargetObject, G>(
    namespace: &str,
    target: &TargetRef,
    context: &Context<G>,
) -> Result<Option<Target>, ClusterFailure> {
    let found = api::<K, G>(namespace, context).get_opt(&target.name).await;
    let found = found.map_err(|error| classify(&error, "get", K::TARGET_KIND))?.map(K::into_target);
    match &found {
        Some(found) => context.stores.targets().learn(found.clone()),
        None => context.stores.targets().forget(namespace, target),
    }
    Ok(found)
}

async fn create<K: TargetObject, G>(desired: &Desired, context: &Context<G>) -> Result<(), ClusterFailure> {
    let meta = desired.merge(None);
    let object = K::of_desired(desired, meta.clone(), None, false);
    let created = api::<K, G>(&desired.namespace, context).create(&write_params(), &object).await;
    let created = created.map_err(|error| classify(&error, "create", K::TARGET_KIND))?.into_target();
    context.stores.targets().learn(created.clone());
    unchanged(&created, desired, &meta)
}

async fn replace<K: TargetObject, G>(
    object: K,
    current: &TargetMeta,
    desired: &Desired,
    meta: &MergedMeta,
    context: &Context<G>,
) -> Result<(), ClusterFailure> {
    let objects = api::<K, G>(&current.namespace, context);
    let replaced = objects.replace(&current.target.name, &write_params(), &object).await;
    match replaced.map_err(|error| classify(&error, "update", K::TARGET_KIND)) {
        Ok(replaced) => {
            let replaced = replaced.into_target();
            context.stores.targets().learn(replaced.clone());
            unchanged(&replaced, desired, meta)
        }
        Err(failure) => {
            // The store may be out of date. It keeps the metadata, so that a former target is still found.
            context.stores.targets().distrust(&current.namespace, &current.target);
            Err(failure)
        }
    }
}

/// Compares the stored object with the sent one, which an admission policy may have changed. Additions of the policy in
/// other fields are no failure.
fn unchanged(stored: &Target, desired: &Desired, meta: &MergedMeta) -> Result<(), ClusterFailure> {
    match desired.difference(stored, meta) {
        Some(field) => Err(ClusterFailure::Mutated { field }),
        None => Ok(()),
    }
}

async fn delete<K: TargetObject, G>(current: &TargetMeta, context: &Context<G>) -> Result<(), ClusterFailure> {
    let objects: Api<PartialObjectMeta<K>> = Api::namespaced(context.client.clone(), &current.namespace);
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(current.uid.clone()),
            resource_version: Some(current.resource_version.clone()),
        }),
        ..DeleteParams::default()
    };
    match objects.delete(&current.target.name, &params).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => return Err(classify(&error, "delete", K::TARGET_KIND)),
    }
    context.stores.targets().forget(&current.namespace, &current.target);
    Ok(())
}

/// Removes the operator's metadata. The content comes from a new read, and the resourceVersion ensures that it is
/// current.
async fn release<K: TargetObject, G>(current: &TargetMeta, context: &Context<G>) -> Result<(), ClusterFailure> {
    let objects = api::<K, G>(&current.namespace, context);
    let name = &current.target.name;
    let found = objects.get_opt(name).await.map_err(|error| classify(&error, "get", K::TARGET_KIND))?;
    let found = found.map(|object| (TargetMeta::from_meta(K::TARGET_KIND, object.metadata().clone()), object));
    let is_it = |(found, _): &(TargetMeta, K)| found.uid == current.uid && found.owner_name() == current.owner_name();
    let Some((found, mut object)) = found.filter(is_it) else {
        context.stores.targets().forget(&current.namespace, &current.target);
        return Ok(());
    };
    let meta = found.released();
    let metadata = object.metadata_mut();
    metadata.labels = Some(meta.labels);
    metadata.annotations = Some(meta.annotations);
    metadata.owner_references = Some(meta.owner_references);
    metadata.managed_fields = None;
    let replaced = objects.replace(name, &write_params(), &object).await;
    learn(replaced.map_err(|error| classify(&error, "update", K::TARGET_KIND))?, context);
    Ok(())
}

fn api<K: TargetObject, G>(namespace: &str, context: &Context<G>) -> Api<K> {
    Api::namespaced(context.client.clone(), namespace)
}

fn learn<K: TargetObject, G>(object: K, context: &Context<G>) {
    context.stores.targets().learn(object.into_target());
}
