//! Watches that record when an object appeared. They run for the floor and for the operator alike.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use client_certificate_operator::api::{ClientCertificateRef, ClientCertificateRefStatus};
use client_certificate_operator::conditions::{ConditionType, is_true};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// The time limit of each measurement.
const LIMIT: Duration = Duration::from_secs(300);

/// The names that fulfil a condition, with the time of the first fulfilment.
#[derive(Debug, Default)]
struct Seen(HashMap<String, Instant>);

/// A watch that runs until it is dropped.
pub struct Watching {
    seen: watch::Receiver<Seen>,
    task: JoinHandle<()>,
}

impl Watching {
    /// Records when the Secrets of a namespace appear.
    pub async fn secrets(client: &Client, namespace: &str) -> Result<Self> {
        let secrets: Api<PartialObjectMeta<Secret>> = Api::namespaced(client.clone(), namespace);
        Self::start(secrets, |_| true).await
    }

    /// Records when the resources of a namespace become Ready.
    pub async fn ready_resources(client: &Client, namespace: &str) -> Result<Self> {
        let resources: Api<ClientCertificateRef> = Api::namespaced(client.clone(), namespace);
        let is_ready = |status: &ClientCertificateRefStatus| is_true(&status.conditions, ConditionType::Ready);
        Self::start(resources, move |resource| resource.status.as_ref().is_some_and(is_ready)).await
    }

    /// Records when the operator has observed this interval for the resources of a namespace.
    pub async fn refreshed_every(client: &Client, namespace: &str, interval: &str) -> Result<Self> {
        let resources: Api<ClientCertificateRef> = Api::namespaced(client.clone(), namespace);
        let interval = interval.to_owned();
        Self::start(resources, move |resource| {
            let observed = resource.status.as_ref().and_then(|status| status.observed_generation);
            resource.spec.refresh_interval == interval && observed == resource.generation()
        })
        .await
    }

    /// Returns when the watch runs.
    async fn start<K>(api: Api<K>, counts: impl Fn(&K) -> bool + Send + 'static) -> Result<Self>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let (sender, seen) = watch::channel(Seen::default());
        let (runs, is_running) = oneshot::channel();
        let mut runs = Some(runs);
        let mut events = watcher(api, Config::default()).boxed();
        let task = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                match event {
                    Ok(Event::InitApply(object) | Event::Apply(object)) if counts(&object) => {
                        sender.send_modify(|seen| {
                            seen.0.entry(object.name_any()).or_insert_with(Instant::now);
                        });
                    }
                    Ok(Event::InitDone) => drop(runs.take().map(|runs| runs.send(()))),
                    Ok(_) => {}
                    Err(error) => eprintln!("a watch of the benchmark failed and starts again: {error}"),
                }
            }
        });
        is_running.await?;
        Ok(Self { seen, task })
    }

    /// Waits for one name, and returns the time at which it was first seen.
    pub async fn one(&mut self, name: &str) -> Result<Instant> {
        let seen = tokio::time::timeout(LIMIT, self.seen.wait_for(|seen| seen.0.contains_key(name))).await;
        let seen = seen.with_context(|| format!("{name} did not appear within {LIMIT:?}"))??;
        Ok(seen.0[name])
    }

    /// Waits for all these names, and returns the time at which the last was first seen.
    pub async fn all(&mut self, names: &HashSet<String>) -> Result<Instant> {
        // The count comes first, because a comparison at each event would cost more than the measured work.
        let all = |seen: &Seen| seen.0.len() >= names.len() && names.iter().all(|name| seen.0.contains_key(name));
        if let Ok(seen) = tokio::time::timeout(LIMIT, self.seen.wait_for(all)).await {
            let seen = seen?;
            return names.iter().map(|name| seen.0[name]).max().context("there is no name to wait for");
        }
        let seen = self.seen.borrow().0.len();
        bail!("of {} names, {seen} appeared within {LIMIT:?}", names.len())
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}
