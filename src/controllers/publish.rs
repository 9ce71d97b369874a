//! The only writer of status and events.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{ApiResource, DynamicObject, ObjectMeta, Patch, PatchParams};
use kube::core::error_boundary::InvalidObject;
use kube::{Api, Client};
use serde_json::json;
use thiserror::Error;
use tracing::{info, warn};

use super::event::Event;
use super::recorder::Recorder;
use crate::api::{ClientCertificateRef, ClientCertificateRefStatus, ResourceName};
use crate::conditions::{ConditionType, Finding, Reason, set};
use crate::kubernetes::{FIELD_MANAGER, write_params};
use crate::kubernetes::{LogOnce, explain_refusal};

/// The cause for which a status could not be written.
#[derive(Debug, Error)]
#[error("could not write the status: {}", explain_refusal(source, verb, "clientcertificaterefs/status"))]
pub struct Error {
    verb: &'static str,
    #[source]
    source: kube::Error,
}

/// The result of writing a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// The resource has this status already.
    Unchanged,
    /// The status was written. The string is the new resourceVersion of the resource.
    Written(String),
    /// The resource has changed since it was read. The store has to receive the new version first.
    Conflict,
    /// The resource does not exist any more.
    Gone,
}

/// Writes status and events.
pub struct Publisher {
    client: Client,
    recorder: Recorder,
    log: LogOnce,
}

impl Publisher {
    pub fn new(client: Client) -> Self {
        Publisher {
            recorder: Recorder::new(client.clone()),
            log: LogOnce::new("recording of events recovered"),
            client,
        }
    }

    /// Writes the status, if it differs from the status that was read, and if the resource still has the version that
    /// was read.
    pub async fn status(
        &self,
        resource: &ClientCertificateRef,
        status: ClientCertificateRefStatus,
    ) -> Result<Published, Error> {
        if resource.status.as_ref() == Some(&status) {
            return Ok(Published::Unchanged);
        }
        let resources: Api<ClientCertificateRef> = Api::namespaced(self.client.clone(), resource.namespace());
        // A PUT of the status changes only the status. The uid protects a later resource of the same name. The version
        // protects a status that another replica has written.
        let metadata = ObjectMeta {
            name: resource.metadata.name.clone(),
            namespace: resource.metadata.namespace.clone(),
            uid: resource.metadata.uid.clone(),
            resource_version: resource.metadata.resource_version.clone(),
            ..ObjectMeta::default()
        };
        let new = ClientCertificateRef { metadata, spec: resource.spec.clone(), status: Some(status) };
        match resources.replace_status(resource.name(), &write_params(), &new).await {
            Ok(written) => Ok(Published::Written(written.metadata.resource_version.unwrap_or_default())),
            Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(Published::Gone),
            Err(kube::Error::Api(answer)) if answer.code == 409 => Ok(Published::Conflict),
            Err(source) => Err(Error { verb: "update", source }),
        }
    }

    /// Logs and records events.
    pub async fn record(&self, events: &[Event], about: &ObjectReference) {
        for event in events {
            let (namespace, name) = (about.namespace.as_deref(), about.name.as_deref());
            if event.is_warning {
                warn!(namespace, name, reason = event.reason, "{}", event.note);
            } else {
                info!(namespace, name, reason = event.reason, "{}", event.note);
            }
            match self.recorder.record(event, about).await {
                Ok(()) => self.log.recovered(),
                // The failure is logged once. The event itself is in the log.
                Err(error) => self.log.warn(format!(
                    "could not record events: {}",
                    explain_refusal(&error, "create and patch", "events.events.k8s.io")
                )),
            }
        }
    }

    /// Reports a resource that does not parse, for example because it was stored before a change of the schema. Its
    /// target stays unchanged.
    pub async fn report_invalid(&self, invalid: &InvalidObject) -> Result<Published, Error> {
        let meta = &invalid.metadata;
        let (namespace, name) =
            (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
        let message = format!(
            "the resource does not match the schema of the CRD: {}; correct the resource and apply it again",
            invalid.error
        );
        warn!(namespace, name, "{message}");

        let kind = ApiResource::erase::<ClientCertificateRef>(&());
        let resources: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &kind);
        let found = resources.get_opt(name).await.map_err(|source| Error { verb: "get", source })?;
        let Some(found) = found else { return Ok(Published::Gone) };
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
            return Ok(Published::Unchanged);
        }
        // A merge patch leaves the other fields of the resource unchanged, although the operator cannot parse them.
        let version = found.metadata.resource_version;
        let patch = json!({ "metadata": { "uid": meta.uid, "resourceVersion": version }, "status": status });
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let published = match resources.patch_status(name, &params, &Patch::Merge(&patch)).await {
            Ok(written) => Published::Written(written.metadata.resource_version.unwrap_or_default()),
            Err(kube::Error::Api(answer)) if answer.code == 404 => return Ok(Published::Gone),
            Err(kube::Error::Api(answer)) if answer.code == 409 => return Ok(Published::Conflict),
            // Kubernetes before 1.30 refuses every status while the stored spec breaks a rule: the event alone reports it.
            Err(kube::Error::Api(answer)) if answer.code == 422 => Published::Unchanged,
            Err(source) => return Err(Error { verb: "patch", source }),
        };
        let event = Event { is_warning: true, reason: Reason::InvalidSpec.to_string(), action: "Read", note: message };
        let reference = ResourceName::new(namespace, name).reference(meta.uid.clone());
        self.record(&[event], &reference).await;
        Ok(published)
    }
}
