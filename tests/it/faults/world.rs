//! The world of one test: its ground, operators that the test starts and ends itself, and waits by generation.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use client_certificate_operator::api::REFRESH_ANNOTATION;
use client_certificate_operator::aws::gateway::Source;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use operator_testing::certificates::NewCertificate;
use operator_testing::control_plane::ControlPlane;
use operator_testing::control_plane::audit::AuditEntry;
use operator_testing::operator::Operator;
use operator_testing::wait::eventually;
use serde_json::{Value, json};

use crate::ground::{Ground, source, started};

/// A generous limit, for a machine that is busy with other tests.
pub const SOON: Duration = Duration::from_secs(40);

/// The world of one test. All its parts end when it is dropped.
pub struct World<'a> {
    ground: Ground<'a>,
    /// Whether each certificate is in another region.
    is_apart: bool,
}

impl<'a> Deref for World<'a> {
    type Target = Ground<'a>;

    fn deref(&self) -> &Ground<'a> {
        &self.ground
    }
}

impl DerefMut for World<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.ground
    }
}

impl World<'static> {
    /// A world on the shared control plane.
    pub async fn new(prefix: &str) -> Self {
        World { ground: Ground::shared(prefix).await, is_apart: false }
    }

    /// A world with another region for each certificate: the operator reads each separately, and a failure of one does
    /// not affect the others.
    pub async fn apart(prefix: &str) -> Self {
        World { is_apart: true, ..World::new(prefix).await }
    }
}

impl<'a> World<'a> {
    /// A world on a control plane with the installation.
    pub async fn on(control_plane: &'a ControlPlane, prefix: &str) -> Self {
        World { ground: Ground::on(control_plane, prefix).await, is_apart: false }
    }

    /// Starts an operator and waits until it is ready.
    pub async fn operator(&self) -> Operator {
        started(&self.builder()).await
    }

    /// Makes a certificate in API Gateway.
    pub fn certificate(&self, id: &str) {
        self.certificate_like(id, NewCertificate::new());
    }

    /// Makes a certificate with these properties in API Gateway.
    pub fn certificate_like(&self, id: &str, new: NewCertificate) {
        self.emulator.generate(&self.source(id).place.region, new.id(id).shared_key());
    }

    /// The source of a certificate.
    pub fn source(&self, id: &str) -> Source {
        match self.is_apart {
            true => Source::own(format!("xx-{}-1", id.replace(|c: char| c.is_ascii_digit(), "x")), id),
            false => source(id),
        }
    }

    /// The PEM that a target has to hold for a certificate, without the operator's code.
    pub fn pem(&self, id: &str) -> String {
        format!("{}\n", self.emulator.certificate(&self.source(id)).unwrap().pem.replace("\r\n", "\n"))
    }

    /// Creates a resource; returns its generation.
    pub async fn create(&self, name: &str, mut spec: Value) -> i64 {
        if self.is_apart {
            let id = spec["clientCertificateId"].as_str().unwrap();
            spec["region"] = json!(self.source(id).place.region);
        }
        self.create_resource(name, spec).await.metadata.generation.unwrap()
    }

    /// Creates a resource for the certificate of the same name, and waits until it is mirrored, if an operator runs.
    pub async fn mirrored(&self, id: &str, operator_runs: bool) {
        self.certificate(id);
        self.create(id, json!({ "clientCertificateId": id })).await;
        if operator_runs {
            self.wait_ready(id, 1).await;
        }
    }

    /// Merges a change into a spec; returns the new generation.
    pub async fn change(&self, name: &str, spec: Value) -> i64 {
        let patch = Patch::Merge(json!({ "spec": spec }));
        let changed = self.resources().patch(name, &PatchParams::default(), &patch).await.unwrap();
        changed.metadata.generation.unwrap()
    }

    /// Changes a field of the spec that causes only a reconcile; returns the generation.
    pub async fn touch(&self, name: &str) -> i64 {
        let resource = self.resources().get(name).await.unwrap();
        let minutes = 60 + resource.metadata.generation.unwrap();
        self.change(name, json!({ "refreshInterval": format!("{minutes}m") })).await
    }

    /// Makes the operator read API Gateway at once, by the end of a suspension. Returns the generation.
    pub async fn hasten(&self, name: &str) -> i64 {
        let generation = self.change(name, json!({ "suspend": true })).await;
        self.wait_for(name, "Suspended", "True", generation).await;
        self.change(name, json!({ "suspend": false })).await
    }

    /// Requests a read by the annotation, without waiting for it.
    pub async fn refresh(&self, name: &str, value: &str) {
        let patch = Patch::Merge(json!({ "metadata": { "annotations": { REFRESH_ANNOTATION: value } } }));
        self.resources().patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Requests a read by the annotation, and waits for its end.
    pub async fn refreshed(&self, name: &str, value: &str) {
        self.refresh(name, value).await;
        eventually(SOON, &format!("the refresh {value} of {name} is done"), async || {
            let resource = self.resources().get(name).await.unwrap();
            let handled = resource.status.and_then(|status| status.last_handled_refresh);
            if handled.as_deref() == Some(value) { Ok(()) } else { Err(format!("handled: {handled:?}")) }
        })
        .await;
    }

    pub async fn conditions(&self, name: &str) -> BTreeMap<String, Condition> {
        let resource = self.resources().get_status(name).await.unwrap();
        let conditions = resource.status.unwrap_or_default().conditions;
        conditions.into_iter().map(|condition| (condition.type_.clone(), condition)).collect()
    }

    /// Waits for a condition of at least this generation, in the form `True`, `False Reason` and so on; returns all
    /// conditions.
    pub async fn wait_for(
        &self,
        name: &str,
        type_: &str,
        expected: &str,
        generation: i64,
    ) -> BTreeMap<String, Condition> {
        eventually(SOON, &format!("{name} has {type_} {expected} of generation {generation}"), async || {
            let conditions = self.conditions(name).await;
            let Some(condition) = conditions.get(type_) else { return Err(format!("only {conditions:?}")) };
            let is = format!("{} {}", condition.status, condition.reason);
            let fits = is == expected || condition.status == expected;
            if fits && condition.observed_generation >= Some(generation) {
                Ok(conditions)
            } else {
                Err(format!("{is}: {} of {:?}", condition.message, condition.observed_generation))
            }
        })
        .await
    }

    pub async fn wait_ready(&self, name: &str, generation: i64) -> BTreeMap<String, Condition> {
        self.wait_for(name, "Ready", "True", generation).await
    }

    /// The text of a key of a Secret, and its version.
    pub async fn target(&self, name: &str) -> Option<(String, String)> {
        let secret = self.secrets().get_opt(name).await.unwrap()?;
        let text = secret.data.clone().unwrap_or_default().remove("ca.crt").map(|value| value.0).unwrap_or_default();
        Some((String::from_utf8(text).unwrap(), secret.resource_version().unwrap()))
    }

    /// Waits until the target of a resource holds this certificate.
    pub async fn wait_for_target(&self, name: &str, id: &str) -> (String, String) {
        let pem = self.pem(id);
        eventually(SOON, &format!("the Secret {name} holds {id}"), async || match self.target(name).await {
            Some(target) if target.0 == pem => Ok(target),
            other => Err(format!("{other:?}")),
        })
        .await
    }

    /// The operator's writes, without events.
    pub fn writes(&self) -> Vec<AuditEntry> {
        let mut writes = self.all_writes();
        writes.retain(|write| write.resource != "events");
        writes
    }

    /// The number of the operator's writes of the status of a resource.
    pub fn status_writes(&self, name: &str) -> usize {
        self.writes().iter().filter(|write| write.subresource == "status" && write.name == name).count()
    }

    /// The events about a resource: reason and note.
    pub async fn events(&self, name: &str) -> Vec<(String, String)> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let about =
            |event: &Event| event.regarding.as_ref().and_then(|regarding| regarding.name.as_deref()) == Some(name);
        let events = events.list(&ListParams::default()).await.unwrap().items;
        let events = events.into_iter().filter(about);
        events.map(|event| (event.reason.unwrap_or_default(), event.note.unwrap_or_default())).collect()
    }

    /// Waits for an event about a resource; returns its note.
    pub async fn wait_for_event(&self, name: &str, reason: &str) -> String {
        eventually(SOON, &format!("an event {reason} about {name}"), async || {
            let events = self.events(name).await;
            let note = events.iter().find(|event| event.0 == reason).map(|event| event.1.clone());
            note.ok_or_else(|| format!("{events:?}"))
        })
        .await
    }
}
