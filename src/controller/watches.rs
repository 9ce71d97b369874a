//! The watches on resources and on targets, which write their objects into the stores.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::ListParams;
use kube::core::{ObjectMeta, PartialObjectMeta};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Resource};

use super::access;
use super::availability::Availability;
use crate::api::{Cached, MANAGED_LABEL, ResourceName, TargetKind, TargetRef, checked};
use crate::aws::gateway::Gateway;
use crate::controllers::mirror::{self, Context};
use crate::kubernetes::watch::{Change, Scope, retry, watch};
use crate::target::{TargetMeta, TargetObject};
use crate::tasks::Tasks;

/// The page size of full reads. Pages are small, because the process does not return all memory of a page to the
/// system.
const PAGE: u32 = 100;
/// The plural of the resources, which names their watch.
const RESOURCES: &str = "clientcertificaterefs";

/// The key of each watch: a scope and a plural.
pub fn of<'a>(scopes: &'a [Scope], kinds: &'a [TargetKind]) -> impl Iterator<Item = (Scope, String)> + use<'a> {
    let plurals = || [RESOURCES].into_iter().chain(kinds.iter().map(|kind| kind.plural()));
    scopes.iter().flat_map(move |scope| plurals().map(move |plural| (scope.clone(), plural.to_owned())))
}

/// Starts the watches of a scope.
pub fn begin<G: Gateway>(scope: &Scope, tasks: &Tasks, availability: &Availability, context: &Arc<Context<G>>) {
    tasks.spawn("watch on clientcertificaterefs", resources(scope.clone(), availability.clone(), Arc::clone(context)));
    for kind in context.settings.target_kinds.iter() {
        let (scope, availability, context) = (scope.clone(), availability.clone(), Arc::clone(context));
        match kind {
            TargetKind::Secret => tasks.spawn("watch on secrets", targets::<Secret, G>(scope, availability, context)),
            TargetKind::ConfigMap => {
                tasks.spawn("watch on configmaps", targets::<ConfigMap, G>(scope, availability, context));
            }
        }
    }
}

/// Watches the resources of a scope.
async fn resources<G: Gateway>(scope: Scope, availability: Availability, context: Arc<Context<G>>) {
    let held = || context.stores.resources_in(&scope);
    let report = |change| match change {
        Change::Applied(resource) => resource_applied(resource, &context),
        Change::Removed(resource) => resource_removed(resource, &context),
        Change::Listed => availability.listed(&scope, RESOURCES),
        Change::Refused => availability.refused(&scope, RESOURCES, true),
        Change::Recovered => availability.refused(&scope, RESOURCES, false),
    };
    watch(scope.api(&context.client), watcher::Config::default().page_size(PAGE), &scope, held, report).await
}

fn resource_applied<G: Gateway>(resource: Cached, context: &Context<G>) {
    let mut resource = checked(resource);
    strip(resource.meta_mut());
    let name = ResourceName::of(&resource);
    let before = context.stores.resources().get(&ObjectRef::from_obj(&resource));
    let version = |meta: &ObjectMeta| meta.resource_version.clone();
    let is_known = before.is_some_and(|before| version(before.meta()) == version(resource.meta()));
    // The store gets the resource before the check of `counters`: a reconcile that was put off until the store has this
    // version has to be woken.
    let event = Event::Apply(resource);
    context.stores.store(&event);
    let Event::Apply(resource) = event else { return };
    let mut woken = Vec::new();
    if !is_known && !context.counters.is_own_write(&name, resource.meta()) {
        woken.push(name.clone());
    }
    match &resource.0 {
        Ok(resource) => woken.extend(access::claim(resource, context)),
        Err(_) => woken.extend(context.descriptions.remove(&name)),
    }
    context.stores.wake(woken);
}

fn resource_removed<G: Gateway>(reference: ObjectRef<Cached>, context: &Context<G>) {
    if let Some(resource) = context.stores.resources().get(&reference) {
        context.stores.store(&Event::Delete(Cached::clone(&resource)));
    }
    let name = ResourceName::new(&reference.namespace.unwrap_or_default(), &reference.name);
    mirror::forget(&name, context);
}

/// Drops large fields that the operator never reads.
fn strip(meta: &mut ObjectMeta) {
    meta.managed_fields = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}

/// Watches the metadata of the targets of one kind in a scope, after one full read. It waits for the list of the
/// scope's resources first, so that an unavailable scope gets requests from one watch only.
async fn targets<K: TargetObject, G: Gateway>(scope: Scope, availability: Availability, context: Arc<Context<G>>) {
    let (kind, plural) = (K::TARGET_KIND, K::TARGET_KIND.plural());
    availability.wait_listed(&scope, RESOURCES).await;
    let refused = || availability.refused(&scope, plural, true);
    let read = || {
        let (scope, context) = (scope.clone(), Arc::clone(&context));
        async move { read_targets::<K, G>(&scope, &context).await }
    };
    retry(plural, &scope, read, refused).await;
    let held = || {
        let targets = context.stores.targets();
        let reference = |(namespace, name, version): (&str, &str, &str)| {
            let mut reference = ObjectRef::new(name).within(namespace);
            reference.extra.resource_version = Some(version.to_owned());
            reference
        };
        targets.held(kind, &scope).map(reference).collect()
    };
    let report = |change: Change<PartialObjectMeta<K>>| match change {
        Change::Applied(object) => {
            let woken = context.stores.targets().apply(TargetMeta::from_meta(kind, object.metadata));
            context.stores.wake(woken);
        }
        Change::Removed(object) => {
            let target = TargetRef { kind, name: object.name };
            let version = object.extra.resource_version.unwrap_or_default();
            let woken = context.stores.targets().remove(&object.namespace.unwrap_or_default(), &target, &version);
            context.stores.wake(woken);
        }
        Change::Listed => availability.listed(&scope, plural),
        Change::Refused => availability.refused(&scope, plural, true),
        Change::Recovered => availability.refused(&scope, plural, false),
    };
    let api: Api<PartialObjectMeta<K>> = scope.api(&context.client);
    watch(api, watcher::Config::default().labels(&selector()), &scope, held, report).await
}

/// Reads every target of a scope again.
pub async fn read_again<G>(scope: &Scope, context: &Context<G>) -> Result<(), kube::Error> {
    for kind in context.settings.target_kinds.iter() {
        match kind {
            TargetKind::Secret => read_targets::<Secret, G>(scope, context).await?,
            TargetKind::ConfigMap => read_targets::<ConfigMap, G>(scope, context).await?,
        }
    }
    Ok(())
}

/// Reads every target of a kind with its content. At the start, this finds changes from before the start.
async fn read_targets<K: TargetObject, G>(scope: &Scope, context: &Context<G>) -> Result<(), kube::Error> {
    let objects: Api<K> = scope.api(&context.client);
    let mut page = ListParams::default().labels(&selector()).limit(PAGE);
    loop {
        let list = objects.list(&page).await?;
        let next = list.metadata.continue_.clone().filter(|token| !token.is_empty());
        for object in list {
            context.stores.targets().learn(object.into_target());
        }
        match next {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(()),
        }
    }
}

fn selector() -> String {
    format!("{MANAGED_LABEL}=true")
}
