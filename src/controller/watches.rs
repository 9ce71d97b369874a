//! The watches: on resources and on targets. What they tell goes into the index; what goes wrong is told once.

mod targets;

pub use targets::{read_again, watch_targets};

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::access;
use super::changes::{Changes, name_of};
use super::explain::{explain, explain_watch};
use super::timers::Timers;
use crate::trouble::{Trouble, innermost};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use k8s_openapi::NamespaceResourceScope;
use kube::api::ListParams;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource};
use thiserror::Error;
use tokio::sync::oneshot;

use crate::api::ClientCertificateRef;
use crate::gateway::Gateway;
use crate::index::Scope;
use crate::controllers::mirror::Context;
use crate::reconcile::Watched;

/// How long an API server that does not answer is waited for at the start, before the process gives up.
const PATIENCE: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_secs(2);
/// Objects that are read at a time where they are read whole: what a page takes in memory is not given back entirely.
const PAGE: u32 = 100;

/// The API server did not answer at the start.
#[derive(Debug, Error)]
#[error("the Kubernetes API server cannot be reached: {0}; check KUBECONFIG, the network, and that the server runs")]
pub struct Unreachable(String);

impl Scope {
    fn api<K>(&self, client: &Client) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match self {
            Scope::All => Api::all(client.clone()),
            Scope::Namespace(namespace) => Api::namespaced(client.clone(), namespace),
        }
    }

    pub(super) fn describe(&self) -> String {
        match self {
            Scope::All => "in the whole cluster".to_owned(),
            Scope::Namespace(namespace) => format!("in the namespace {namespace}"),
        }
    }
}

/// Waits until resources can be listed: a CRD or a right that is not there yet may still come. An API server that is
/// not there is waited for only so long.
pub async fn wait_for_crd(client: &Client, scopes: &[Scope]) -> Result<(), Unreachable> {
    let trouble = Trouble::default();
    let started = Instant::now();
    for scope in scopes {
        let resources: Api<PartialObjectMeta<ClientCertificateRef>> = scope.api(client);
        loop {
            let Err(error) = resources.list(&ListParams::default().limit(1)).await else { break };
            if !matches!(error, kube::Error::Api(_)) && started.elapsed() > PATIENCE {
                return Err(Unreachable(innermost(&error)));
            }
            trouble.tell(explain(&error, "clientcertificaterefs", scope));
            tokio::time::sleep(RETRY).await;
        }
    }
    Ok(())
}

/// The stream of the resources of a scope that changed, in the cache and in the index by the time they come out. `known`
/// is told when all are known for the first time.
pub fn resources<G: Gateway>(
    scope: Scope,
    reader: Store<Watched>,
    writer: Writer<Watched>,
    known: oneshot::Sender<()>,
    timers: Arc<Timers>,
    context: Arc<Context<G>>,
) -> impl Stream<Item = ObjectRef<Watched>> + Send {
    let api: Api<DeserializeGuard<ClientCertificateRef>> = scope.api(&context.client);
    let trouble = Trouble::default();
    let mut known = Some(known);
    let mut changes = Changes::default();
    watcher(api, watcher::Config::default().page_size(PAGE))
        .modify(|resource| strip(resource.meta_mut()))
        .default_backoff()
        .map_ok(folded)
        .reflect(writer)
        .flat_map(move |event| {
            let changed = match event {
                Ok(event) => {
                    trouble.is_over();
                    note_resource(&event, &scope, &reader, &timers, &context);
                    if let Some(known) = known.take_if(|_| matches!(event, Event::InitDone)) {
                        let _ = known.send(());
                    }
                    changes.note(&event)
                }
                Err(error) => {
                    trouble.tell(explain_watch(&error, "clientcertificaterefs", &scope));
                    Vec::new()
                }
            };
            stream::iter(changed).map(|resource| ObjectRef::new(&resource.name).within(&resource.namespace))
        })
}

/// The event as the cache takes it.
fn folded(event: Event<DeserializeGuard<ClientCertificateRef>>) -> Event<Watched> {
    match event {
        Event::Apply(resource) => Event::Apply(resource.into()),
        Event::Delete(resource) => Event::Delete(resource.into()),
        Event::Init => Event::Init,
        Event::InitApply(resource) => Event::InitApply(resource.into()),
        Event::InitDone => Event::InitDone,
    }
}

fn note_resource<G: Gateway>(
    event: &Event<Watched>,
    scope: &Scope,
    reader: &Store<Watched>,
    timers: &Timers,
    context: &Context<G>,
) {
    let woken = match event {
        Event::Init | Event::InitDone => Vec::new(),
        Event::InitApply(resource) | Event::Apply(resource) => match resource.unfold() {
            Ok(resource) => access::claim(&resource, context),
            Err(_) => context.descriptions.remove(&name_of(resource)),
        },
        Event::Delete(resource) => {
            let name = name_of(resource);
            timers.cancel(&name);
            context.counters.forget(&name);
            context.aws.unsubscribe(&name);
            context.descriptions.remove(&name)
        }
    };
    let _ = (scope, reader);
    context.index.wake(woken);
}

/// Drops what is large and never looked at.
fn strip(meta: &mut kube::core::ObjectMeta) {
    meta.managed_fields = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}
