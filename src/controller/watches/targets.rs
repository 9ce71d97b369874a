//! The watches on targets: one for each kind and scope, of metadata alone, after one full read.

use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::ListParams;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use tokio::sync::oneshot;

use super::{PAGE, RETRY};
use crate::api::{MANAGED_LABEL, TargetKind};
use crate::controller::explain::{explain, explain_watch};
use crate::gateway::Gateway;
use crate::index::Scope;
use crate::controllers::mirror::Context;
use crate::target::{TargetMeta, TargetObject};
use crate::trouble::Trouble;

/// Watches the targets of one kind in a scope in a task of its own. The future ends when they are all known for the first
/// time.
pub fn watch_targets<G: Gateway>(scope: Scope, kind: TargetKind, context: Arc<Context<G>>) -> BoxFuture<'static, ()> {
    let (known, is_known) = oneshot::channel();
    match kind {
        TargetKind::Secret => drop(tokio::spawn(watch::<Secret, G>(scope, context, known))),
        TargetKind::ConfigMap => drop(tokio::spawn(watch::<ConfigMap, G>(scope, context, known))),
    }
    Box::pin(async {
        let _ = is_known.await;
    })
}

async fn watch<K: TargetObject, G: Gateway>(scope: Scope, context: Arc<Context<G>>, known: oneshot::Sender<()>) {
    let plural = K::TARGET_KIND.plural();
    let trouble = Trouble::default();
    while let Err(error) = read_targets::<K, G>(&scope, &context).await {
        trouble.tell(explain(&error, plural, &scope));
        tokio::time::sleep(RETRY).await;
    }
    let mut known = Some(known);
    let api: Api<PartialObjectMeta<K>> = scope.api(&context.client);
    let selected = watcher::Config::default().labels(&selector());
    let mut events = watcher(api, selected).default_backoff().boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                trouble.is_over();
                let done = matches!(event, Event::InitDone);
                note_target(event, &scope, &context);
                if let Some(known) = known.take_if(|_| done) {
                    let _ = known.send(());
                }
            }
            Err(error) => trouble.tell(explain_watch(&error, plural, &scope)),
        }
    }
}

/// Reads every target of every kind anew.
pub async fn read_again<G>(scopes: &[Scope], context: &Context<G>) -> Result<(), kube::Error> {
    for scope in scopes {
        for kind in context.settings.target_kinds.iter() {
            match kind {
                TargetKind::Secret => read_targets::<Secret, G>(scope, context).await?,
                TargetKind::ConfigMap => read_targets::<ConfigMap, G>(scope, context).await?,
            }
        }
    }
    Ok(())
}

/// Reads every target of a kind whole, once: what was changed while nobody looked is found by that.
async fn read_targets<K: TargetObject, G>(scope: &Scope, context: &Context<G>) -> Result<(), kube::Error> {
    let objects: Api<K> = scope.api(&context.client);
    let mut page = ListParams::default().labels(&selector()).limit(PAGE);
    loop {
        let list = objects.list(&page).await?;
        let next = list.metadata.continue_.clone().filter(|token| !token.is_empty());
        for object in list {
            context.index.targets().learn(object.into_target());
        }
        match next {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(()),
        }
    }
}

fn note_target<K: TargetObject, G>(event: Event<PartialObjectMeta<K>>, scope: &Scope, context: &Context<G>) {
    let meta = |object: PartialObjectMeta<K>| TargetMeta::from_meta(K::TARGET_KIND, object.metadata);
    let woken = {
        let mut targets = context.index.targets();
        match event {
            Event::Init => {
                targets.begin_list(scope, K::TARGET_KIND);
                Vec::new()
            }
            Event::InitApply(object) | Event::Apply(object) => targets.apply(meta(object)),
            Event::Delete(object) => targets.remove(&meta(object)),
            Event::InitDone => targets.end_list(scope, K::TARGET_KIND),
        }
    };
    context.index.wake(woken);
}

fn selector() -> String {
    format!("{MANAGED_LABEL}=true")
}
