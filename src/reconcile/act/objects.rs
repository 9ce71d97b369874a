//! The requests for targets: each once, for Secrets and ConfigMaps alike.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use kube::core::PartialObjectMeta;

use super::refusal::classify;
use crate::api::{TargetKind, TargetRef};
use crate::error::ClusterFailure;
use crate::reconcile::{Action, Context, write_params};
use crate::target::{Desired, Target, TargetMeta, TargetObject};

/// Looks at an object in the cluster.
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

/// Writes what an action on a target says. One on API Gateway has nothing to write here.
pub async fn write<G>(action: &Action, context: &Context<G>) -> Result<(), ClusterFailure> {
    match action.target().map(|target| target.kind) {
        Some(TargetKind::Secret) => write_as::<Secret, G>(action, context).await,
        Some(TargetKind::ConfigMap) => write_as::<ConfigMap, G>(action, context).await,
        None => Ok(()),
    }
}

async fn write_as<K: TargetObject, G>(action: &Action, context: &Context<G>) -> Result<(), ClusterFailure> {
    match action {
        Action::CreateTarget { desired, .. } => create::<K, G>(desired, context).await,
        Action::ReplaceTarget { current, desired, marks, immutable, .. } => {
            let object = K::of_desired(desired, marks.clone(), Some(current), *immutable);
            replace(object, current, context).await
        }
        Action::DeleteTarget { current } => delete::<K, G>(current, context).await,
        Action::ReleaseTarget { current } => release::<K, G>(current, context).await,
        Action::SetDescription { .. } => Ok(()),
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
        Some(found) => context.index.targets().learn(found.clone()),
        None => context.index.targets().forget(namespace, target),
    }
    Ok(found)
}

async fn create<K: TargetObject, G>(desired: &Desired, context: &Context<G>) -> Result<(), ClusterFailure> {
    let object = K::of_desired(desired, desired.merge(None), None, false);
    let created = api::<K, G>(&desired.namespace, context).create(&write_params(), &object).await;
    learn(created.map_err(|error| classify(&error, "create", K::TARGET_KIND))?, context);
    Ok(())
}

async fn replace<K: TargetObject, G>(
    object: K,
    current: &TargetMeta,
    context: &Context<G>,
) -> Result<(), ClusterFailure> {
    let objects = api::<K, G>(&current.namespace, context);
    let replaced = objects.replace(&current.target.name, &write_params(), &object).await;
    match replaced.map_err(|error| classify(&error, "update", K::TARGET_KIND)) {
        Ok(replaced) => learn(replaced, context),
        Err(failure) => {
            // What the index knew is not to be trusted for the next look.
            context.index.targets().forget(&current.namespace, &current.target);
            return Err(failure);
        }
    }
    Ok(())
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
    context.index.targets().forget(&current.namespace, &current.target);
    Ok(())
}

/// Takes our marks off. The content is carried over from a fresh look, and the version makes sure that it is that.
async fn release<K: TargetObject, G>(current: &TargetMeta, context: &Context<G>) -> Result<(), ClusterFailure> {
    let objects = api::<K, G>(&current.namespace, context);
    let name = &current.target.name;
    let found = objects.get_opt(name).await.map_err(|error| classify(&error, "get", K::TARGET_KIND))?;
    let found = found.map(|object| (TargetMeta::from_meta(K::TARGET_KIND, object.metadata().clone()), object));
    let is_it = |(found, _): &(TargetMeta, K)| found.uid == current.uid && found.owner_name() == current.owner_name();
    let Some((found, mut object)) = found.filter(is_it) else {
        context.index.targets().forget(&current.namespace, &current.target);
        return Ok(());
    };
    let marks = found.released();
    let metadata = object.metadata_mut();
    metadata.labels = Some(marks.labels);
    metadata.annotations = Some(marks.annotations);
    metadata.owner_references = Some(marks.owner_references);
    metadata.managed_fields = None;
    let replaced = objects.replace(name, &write_params(), &object).await;
    learn(replaced.map_err(|error| classify(&error, "update", K::TARGET_KIND))?, context);
    Ok(())
}

fn api<K: TargetObject, G>(namespace: &str, context: &Context<G>) -> Api<K> {
    Api::namespaced(context.client.clone(), namespace)
}

fn learn<K: TargetObject, G>(object: K, context: &Context<G>) {
    context.index.targets().learn(object.into_target());
}
