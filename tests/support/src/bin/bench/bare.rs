//! The floor: a bare client that sends the operator's writes for a resource, and no other request.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use client_certificate_operator::api::{ClientCertificateRef, ClientCertificateRefStatus};
use futures::stream::{self, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams, ObjectMeta, PostParams};
use kube::{Client, Resource};

use crate::watching::Watching;
use crate::world::World;

/// The operator's writes for one resource.
pub struct Writes {
    pub secret: Secret,
    pub status: ClientCertificateRefStatus,
    pub event: Event,
}

impl Writes {
    /// Runs the operator for one resource, and records its writes as a pattern.
    pub async fn learn(world: &World) -> Result<Self> {
        let namespace = world.control_plane.namespace("pattern").await?;
        let _operator = world.operator(Some(&namespace), 1).await?;
        let mut ready = Watching::ready_resources(&world.author, &namespace).await?;
        let resource = world.resource(&namespace, 0, "24h")?;
        world.create_all(vec![resource.clone()], 1).await?;
        ready.one(resource.name()).await?;
        let secrets: Api<Secret> = Api::namespaced(world.author.clone(), &namespace);
        let resources: Api<ClientCertificateRef> = Api::namespaced(world.author.clone(), &namespace);
        let events: Api<Event> = Api::namespaced(world.author.clone(), &namespace);
        let event = operator_testing::wait::eventually(std::time::Duration::from_secs(30), "the event", async || {
            let events = events.list(&ListParams::default()).await.ok()?;
            events.into_iter().find(|event| event.reason.as_deref() == Some("TargetCreated"))
        });
        Ok(Self {
            event: event.await,
            secret: secrets.get(resource.name()).await?,
            status: resources.get(resource.name()).await?.status.context("a Ready resource without a status")?,
        })
    }

    /// The Secret of the pattern, for another resource.
    pub fn secret(&self, owner: &ClientCertificateRef) -> Secret {
        let name = owner.name().to_owned();
        let metadata = &self.secret.metadata;
        let mut annotations: BTreeMap<_, _> = metadata.annotations.clone().unwrap_or_default();
        if let Some(mark) = annotations.get_mut("apigateway.clientcert.dev/owner") {
            *mark = format!("{}/{name}", owner.namespace());
        }
        if let Some(mark) = annotations.get_mut("apigateway.clientcert.dev/object") {
            *mark = format!("Secret/{name}");
        }
        Secret {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: Some(owner.namespace().to_owned()),
                labels: metadata.labels.clone(),
                annotations: Some(annotations),
                owner_references: metadata
                    .owner_references
                    .as_ref()
                    .map(|_| Vec::from_iter(owner.controller_owner_ref(&()))),
                ..ObjectMeta::default()
            },
            ..self.secret.clone()
        }
    }

    fn event(&self, about: &ClientCertificateRef) -> Event {
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{}.{:x}", about.name(), fastrand::u64(..))),
                namespace: Some(about.namespace().to_owned()),
                ..ObjectMeta::default()
            },
            regarding: Some(about.object_ref(&())),
            ..self.event.clone()
        }
    }

    /// Sends all the operator's writes for a resource, one after the other.
    pub async fn write(&self, client: &Client, resource: &ClientCertificateRef) -> Result<()> {
        let (namespace, name) = (resource.namespace(), resource.name());
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        secrets.create(&PostParams::default(), &self.secret(resource)).await?;
        let resources: Api<ClientCertificateRef> = Api::namespaced(client.clone(), namespace);
        let with_status = ClientCertificateRef { status: Some(self.status.clone()), ..resource.clone() };
        resources.replace_status(name, &PostParams::default(), &with_status).await?;
        let events: Api<Event> = Api::namespaced(client.clone(), namespace);
        events.create(&PostParams::default(), &self.event(resource)).await?;
        Ok(())
    }
}

/// Creates resources and sends the operator's writes for each, several resources at a time.
pub async fn create_and_write(
    world: &World,
    writes: &Writes,
    resources: Vec<ClientCertificateRef>,
    concurrency: usize,
) -> Result<()> {
    stream::iter(resources)
        .map(|resource| async move {
            let resources: Api<ClientCertificateRef> = Api::namespaced(world.author.clone(), resource.namespace());
            let created = resources.create(&PostParams::default(), &resource).await?;
            writes.write(&world.account, &created).await
        })
        .buffer_unordered(concurrency)
        .try_for_each(|()| async { Ok(()) })
        .await
}
