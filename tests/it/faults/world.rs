//! One test's world: a namespace, an emulator, an operator process with the operator's own rights, and questions to ask.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use client_certificate_operator::api::{ClientCertificateRef, REFRESH_ANNOTATION};
use client_certificate_operator::gateway::Source;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use operator_testing::certificates::NewCertificate;
use operator_testing::control_plane::audit::AuditEntry;
use operator_testing::control_plane::{ControlPlane, service_account_user};
use operator_testing::emulator::{DEFAULT_REGION, Emulator};
use operator_testing::operator::{Builder, Operator};
use operator_testing::proxy::FaultProxy;
use operator_testing::wait::eventually;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// Ample, for a machine that is busy with other tests.
pub const SOON: Duration = Duration::from_secs(40);
const ACCOUNT: &str = "operator";
const BINARY: &str = env!("CARGO_BIN_EXE_client-certificate-operator");

pub struct World<'a> {
    pub control_plane: &'a ControlPlane,
    pub namespace: String,
    pub emulator: Emulator,
    pub client: Client,
    kubeconfig: PathBuf,
}

/// The source of a certificate of the default region.
pub fn source(id: &str) -> Source {
    Source { region: DEFAULT_REGION.into(), id: id.into() }
}

/// Installs the CRD and the rights of deploy/rbac.yaml, which tests bind in their own namespaces.
pub async fn install(control_plane: &ControlPlane) {
    control_plane.apply_yaml(&crd()).await.unwrap();
    control_plane.apply_yaml(role()).await.unwrap();
}

/// What `client-certificate-operator crd` prints.
pub fn crd() -> String {
    let output = std::process::Command::new(BINARY).arg("crd").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The ClusterRole of deploy/rbac.yaml.
pub fn role() -> &'static str {
    let documents = include_str!("../../../deploy/rbac.yaml").split("\n---\n");
    documents.into_iter().find(|document| document.contains("\nkind: ClusterRole\n")).unwrap()
}

impl World<'static> {
    /// A world on the shared control plane.
    pub async fn new(prefix: &str) -> Self {
        static INSTALLED: OnceCell<()> = OnceCell::const_new();
        let control_plane = ControlPlane::shared().await.unwrap();
        INSTALLED.get_or_init(async || install(control_plane).await).await;
        World::on(control_plane, prefix).await
    }
}

impl<'a> World<'a> {
    /// A world on a control plane in which everything is installed.
    pub async fn on(control_plane: &'a ControlPlane, prefix: &str) -> Self {
        let client = control_plane.client().await.unwrap();
        let namespace = control_plane.namespace(prefix).await.unwrap();
        let kubeconfig = control_plane.service_account_kubeconfig(&namespace, ACCOUNT).await.unwrap();
        let emulator = Emulator::start().await.unwrap();
        let world = World { control_plane, namespace, emulator, client, kubeconfig };
        world.grant().await;
        world
    }

    /// Gives the operator its rights in the namespace.
    pub async fn grant(&self) {
        let namespace = &self.namespace;
        let yaml = format!(
            r#"apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: operator, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: client-certificate-operator}}
subjects: [{{kind: ServiceAccount, name: {ACCOUNT}, namespace: {namespace}}}]
"#
        );
        self.control_plane.apply_yaml(&yaml).await.unwrap();
    }

    /// An operator that is not started yet: its requests go straight to the API server and the emulator.
    pub fn builder(&self) -> Builder {
        let mut builder = Operator::builder(BINARY).kubeconfig(&self.kubeconfig).env("CCR_NAMESPACES", &self.namespace);
        for (name, value) in self.emulator.environment() {
            builder = builder.env(name, value);
        }
        builder
    }

    /// The same, with a proxy before the API server.
    pub async fn builder_through(&self, proxy: &FaultProxy) -> Builder {
        let path = self.control_plane.service_account_kubeconfig_through(proxy, &self.namespace, ACCOUNT).await;
        self.builder().kubeconfig(path.unwrap())
    }

    /// An operator that is ready.
    pub async fn operator(&self) -> Operator {
        started(&self.builder()).await
    }

    /// Makes a certificate in API Gateway.
    pub fn certificate(&self, id: &str) {
        self.emulator.generate(DEFAULT_REGION, NewCertificate::new().id(id).shared_key());
    }

    /// The PEM of a certificate as a target has to hold it.
    pub fn pem(&self, id: &str) -> String {
        let pem = self.emulator.certificate(&source(id)).unwrap().pem;
        format!("{}\n", pem.replace("\r\n", "\n"))
    }

    pub fn refs(&self) -> Api<ClientCertificateRef> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates a resource; answers its generation.
    pub async fn create(&self, name: &str, spec: Value) -> i64 {
        let resource = json!({
            "apiVersion": "apigateway.clientcert.dev/v1alpha1",
            "kind": "ClientCertificateRef",
            "metadata": { "name": name },
            "spec": spec,
        });
        let resource = serde_json::from_value(resource).unwrap();
        self.refs().create(&PostParams::default(), &resource).await.unwrap().metadata.generation.unwrap()
    }

    /// A resource for the certificate of the same name, mirrored.
    pub async fn mirrored(&self, id: &str, operator_runs: bool) {
        self.certificate(id);
        self.create(id, json!({ "clientCertificateId": id })).await;
        if operator_runs {
            self.wait_ready(id, 1).await;
        }
    }

    /// Merges a change into a spec; answers the new generation.
    pub async fn change(&self, name: &str, spec: Value) -> i64 {
        let patch = Patch::Merge(json!({ "spec": spec }));
        let changed = self.refs().patch(name, &PatchParams::default(), &patch).await.unwrap();
        changed.metadata.generation.unwrap()
    }

    /// Changes something in the spec that asks for nothing but another look; answers the generation.
    pub async fn touch(&self, name: &str) -> i64 {
        let resource = self.refs().get(name).await.unwrap();
        let minutes = 60 + resource.metadata.generation.unwrap();
        self.change(name, json!({ "refreshInterval": format!("{minutes}m") })).await
    }

    /// Makes the operator ask API Gateway at once, whatever it waits for: by lifting a suspension. Answers the generation.
    pub async fn hasten(&self, name: &str) -> i64 {
        let generation = self.change(name, json!({ "suspend": true })).await;
        self.wait_for(name, "Suspended", "True", generation).await;
        self.change(name, json!({ "suspend": false })).await
    }

    /// Asks for a read by the annotation, without waiting for it.
    pub async fn refresh(&self, name: &str, value: &str) {
        let patch = Patch::Merge(json!({ "metadata": { "annotations": { REFRESH_ANNOTATION: value } } }));
        self.refs().patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Asks for a read by the annotation and waits until it is done.
    pub async fn refreshed(&self, name: &str, value: &str) {
        self.refresh(name, value).await;
        eventually(SOON, &format!("the refresh {value} of {name} is done"), async || {
            let resource = self.refs().get(name).await.unwrap();
            let handled = resource.status.and_then(|status| status.last_handled_refresh);
            if handled.as_deref() == Some(value) { Ok(()) } else { Err(format!("handled: {handled:?}")) }
        })
        .await;
    }

    pub async fn conditions(&self, name: &str) -> BTreeMap<String, Condition> {
        let resource = self.refs().get_status(name).await.unwrap();
        let conditions = resource.status.unwrap_or_default().conditions;
        conditions.into_iter().map(|condition| (condition.type_.clone(), condition)).collect()
    }

    /// Waits for a condition of at least this generation, as `True`, `False Reason` and so on; answers all conditions.
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

    /// What the operator wrote, events left out.
    pub fn writes(&self) -> Vec<AuditEntry> {
        let user = service_account_user(&self.namespace, ACCOUNT);
        let mut writes = self.control_plane.writes_by(&user, Some(&self.namespace)).unwrap();
        writes.retain(|write| write.resource != "events");
        writes
    }

    /// How often the operator wrote the status of a resource.
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

    /// Waits for an event about a resource; answers its note.
    pub async fn wait_for_event(&self, name: &str, reason: &str) -> String {
        eventually(SOON, &format!("an event {reason} about {name}"), async || {
            let events = self.events(name).await;
            let note = events.iter().find(|event| event.0 == reason).map(|event| event.1.clone());
            note.ok_or_else(|| format!("{events:?}"))
        })
        .await
    }
}

/// Starts an operator and waits until it is ready.
pub async fn started(builder: &Builder) -> Operator {
    let mut operator = builder.spawn().unwrap();
    operator.wait_ready().await.unwrap();
    operator
}
