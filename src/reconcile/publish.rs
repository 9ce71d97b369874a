//! Last step: write the status if it differs, and tell the events. The only writer of status.

mod recorder;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::error_boundary::InvalidObject;
use kube::{Api, Client, Resource};
use serde_json::{Value, json};
use thiserror::Error;
use tracing::{info, warn};

use self::recorder::Recorder;
use super::FIELD_MANAGER;
use super::conclude::{Event, Events};
use crate::api::{ClientCertificateRef, ClientCertificateRefStatus};
use crate::conditions::{ConditionType, Finding, Reason, set};
use crate::kubernetes::{LogOnce, explain_refusal};
use crate::memory::{Memory, Published};

/// Why a status could not be written.
#[derive(Debug, Error)]
#[error("could not write the status: {}", explain_refusal(source, "patch", "clientcertificaterefs/status"))]
pub struct Error {
    #[source]
    source: kube::Error,
}

/// Writes status and events.
pub struct Publisher {
    client: Client,
    recorder: Recorder,
    log: LogOnce,
}

impl Publisher {
    /// A publisher.
    pub fn new(client: Client) -> Self {
        let log = LogOnce::new("recording of events recovered");
        Publisher { recorder: Recorder::new(client.clone()), log, client }
    }

    /// Writes the status if it differs from the one that the resource has, and tells the events.
    pub async fn publish(
        &self,
        resource: &ClientCertificateRef,
        status: ClientCertificateRefStatus,
        events: Events,
        memory: &mut Memory,
    ) -> Result<(), Error> {
        let reference = resource.object_ref(&());
        let write = self.write_if_different(resource, status, memory);
        // What was done is told even if the status cannot be written.
        let (written, ()) = tokio::join!(write, self.tell(&events.done, &reference));
        written?;
        self.tell(&events.changed, &reference).await;
        Ok(())
    }

    async fn write_if_different(
        &self,
        resource: &ClientCertificateRef,
        status: ClientCertificateRefStatus,
        memory: &mut Memory,
    ) -> Result<(), Error> {
        if resource.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let mut patch = json!({
            // Another life of the resource must not get the status of this one, and a status that another replica has
            // written meanwhile is not overwritten.
            "metadata": { "uid": resource.uid(), "resourceVersion": resource.metadata.resource_version },
            "status": &status,
        });
        // A merge patch keeps what it does not name.
        for field in ["certificates", "lastHandledRefresh", "target"] {
            if let Some(fields) = patch["status"].as_object_mut() {
                fields.entry(field).or_insert(Value::Null);
            }
        }
        let resources: Api<ClientCertificateRef> = Api::namespaced(self.client.clone(), resource.namespace());
        match resources.patch_status(resource.name(), &patch_params(), &Patch::Merge(&patch)).await {
            Ok(written) => {
                let resource_version = written.metadata.resource_version.unwrap_or_default();
                memory.published = Some(Box::new(Published { resource_version, status }));
                Ok(())
            }
            // It is gone, and with it the need.
            Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(()),
            Err(source) => Err(Error { source }),
        }
    }

    async fn tell(&self, events: &[Event], reference: &ObjectReference) {
        for event in events {
            let (namespace, name) = (reference.namespace.as_deref(), reference.name.as_deref());
            if event.is_warning {
                warn!(namespace, name, reason = event.reason, "{}", event.note);
            } else {
                info!(namespace, name, reason = event.reason, "{}", event.note);
            }
            match self.recorder.record(event, reference).await {
                Ok(()) => self.log.recovered(),
                // Told once: the event itself stands in the log.
                Err(error) => self.log.warn(format!(
                    "could not record events: {}",
                    explain_refusal(&error, "create and patch", "events.events.k8s.io")
                )),
            }
        }
    }

    /// Reports a resource that does not parse, as one stored before a change of the schema can be. Its target is left
    /// alone.
    pub async fn report_invalid(&self, invalid: &InvalidObject) -> Result<(), Error> {
        let meta = &invalid.metadata;
        let (namespace, name) =
            (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
        let message = format!("the resource does not parse: {}; apply it anew as the CRD describes it", invalid.error);
        warn!(namespace, name, "{message}");

        let kind = ApiResource::erase::<ClientCertificateRef>(&());
        let resources: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &kind);
        let Some(found) = resources.get_opt(name).await.map_err(|source| Error { source })? else { return Ok(()) };
        let before: ClientCertificateRefStatus =
            found.data.get("status").and_then(|status| serde_json::from_value(status.clone()).ok()).unwrap_or_default();
        let mut status = before.clone();
        for (type_, finding) in [
            (ConditionType::Ready, Finding::no(Reason::InvalidSpec, &message)),
            (ConditionType::Stalled, Finding::yes(Reason::InvalidSpec, &message)),
        ] {
            set(&mut status.conditions, type_, finding, meta.generation, Timestamp::now());
        }
        status.observed_generation = meta.generation;
        if status == before {
            return Ok(());
        }
        let patch = json!({ "metadata": { "uid": meta.uid }, "status": status });
        let written = resources.patch_status(name, &patch_params(), &Patch::Merge(&patch)).await;
        written.map_err(|source| Error { source })?;
        let event = Event { is_warning: true, reason: Reason::InvalidSpec.to_string(), action: "Read", note: message };
        let reference = ObjectReference {
            api_version: Some(kind.api_version.clone()),
            kind: Some(kind.kind.clone()),
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            uid: meta.uid.clone(),
            ..ObjectReference::default()
        };
        self.tell(&[event], &reference).await;
        Ok(())
    }
}

fn patch_params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

/// How long to wait after the status could not be written.
pub fn retry_delay(memory: &mut Memory, jitter: f64) -> Duration {
    memory.publish_streak.fail(crate::error::FailureClass::Conflict, Duration::from_secs(60), jitter)
}
