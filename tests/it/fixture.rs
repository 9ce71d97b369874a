//! One test's own world: a namespace, an emulator of API Gateway, and an operator with exactly the rights of
//! `deploy/rbac.yaml`, which sees no other namespace.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use client_certificate_operator::api::{ClientCertificateRef, crd};
use client_certificate_operator::gateway::{ClientCertificate, Source};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use operator_testing::certificates::NewCertificate;
use operator_testing::control_plane::audit::AuditEntry;
use operator_testing::control_plane::{ControlPlane, service_account_user};
use operator_testing::emulator::{DEFAULT_REGION, Emulator};
use operator_testing::operator::Operator;
use operator_testing::script::Operation;
use operator_testing::wait::eventually;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// Ample for whatever the operator does at once.
pub const SOON: Duration = Duration::from_secs(30);
/// Ample for garbage collection, which learns of a new kind late, and for what is looked at once a minute.
pub const MINUTES: Duration = Duration::from_secs(150);
/// How long a test watches that nothing more happens.
pub const A_WHILE: Duration = Duration::from_secs(2);
/// The id that tests use where it does not matter.
pub const ID: &str = "9ao60f";

const ACCOUNT: &str = "client-certificate-operator";
const RBAC: &str = include_str!("../../deploy/rbac.yaml");

/// The world of one test. Everything in it ends when it is dropped.
pub struct World<'a> {
    pub control_plane: &'a ControlPlane,
    /// A client as administrator.
    pub client: Client,
    pub namespace: String,
    pub emulator: Emulator,
    /// The running operator, if there is one.
    pub operator: Option<Operator>,
    kubeconfig: PathBuf,
}

impl World<'static> {
    /// A world on the shared control plane with the certificate [`ID`] and a running operator.
    pub async fn start(prefix: &str) -> Self {
        let mut world = Self::without_operator(prefix).await;
        world.start_operator().await;
        world
    }

    /// The same, before the operator starts.
    pub async fn without_operator(prefix: &str) -> Self {
        static PREPARED: OnceCell<()> = OnceCell::const_new();
        let control_plane = ControlPlane::shared().await.unwrap();
        PREPARED.get_or_init(async || install(control_plane).await).await;
        World::on(control_plane, prefix).await
    }
}

/// Applies the CRD, and the ClusterRole of the operator.
pub async fn install(control_plane: &ControlPlane) {
    let role = RBAC.split("---\n").find(|document| document.contains("kind: ClusterRole\n")).unwrap();
    let crd = serde_json::to_string(&crd()).unwrap();
    control_plane.apply_yaml(&format!("{crd}\n---\n{role}")).await.unwrap();
}

impl<'a> World<'a> {
    /// A world on a control plane that is prepared already, with the certificate [`ID`].
    pub async fn on(control_plane: &'a ControlPlane, prefix: &str) -> Self {
        let namespace = control_plane.namespace(prefix).await.unwrap();
        let kubeconfig = control_plane.service_account_kubeconfig(&namespace, ACCOUNT).await.unwrap();
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": { "name": ACCOUNT, "namespace": namespace },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ACCOUNT },
            "subjects": [{ "kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace }],
        });
        control_plane.apply_yaml(&binding.to_string()).await.unwrap();
        let client = control_plane.client().await.unwrap();
        let emulator = Emulator::start().await.unwrap();
        let world = World { control_plane, client, namespace, emulator, operator: None, kubeconfig };
        world.generate(NewCertificate::new().id(ID));
        world
    }

    /// Starts an operator (another one, where there was one) and waits until it is ready.
    pub async fn start_operator(&mut self) {
        self.start_operator_with(&[]).await;
    }

    /// The same, with arguments.
    pub async fn start_operator_with(&mut self, args: &[&str]) {
        let mut builder = Operator::builder(env!("CARGO_BIN_EXE_client-certificate-operator"))
            .kubeconfig(&self.kubeconfig)
            .arg("--namespaces")
            .arg(&self.namespace);
        for (name, value) in self.emulator.environment() {
            builder = builder.env(name, value);
        }
        builder = args.iter().fold(builder, |builder, arg| builder.arg(arg));
        let mut operator = builder.spawn().unwrap();
        operator.wait_ready().await.unwrap();
        self.operator = Some(operator);
    }

    /// Ends the operator as a node would, and checks that it ends well.
    pub async fn stop_operator(&mut self) {
        let mut operator = self.operator.take().expect("an operator runs");
        assert_eq!(operator.terminate(SOON).await.unwrap().code, Some(0));
    }

    /// Makes a certificate, with a key that many share.
    pub fn generate(&self, new: NewCertificate) -> ClientCertificate {
        self.emulator.generate(DEFAULT_REGION, new.shared_key())
    }

    pub fn source(&self, id: &str) -> Source {
        Source { region: DEFAULT_REGION.to_owned(), id: id.to_owned() }
    }

    /// What the target of a certificate should hold, by other means than the operator's.
    pub fn pem(&self, id: &str) -> String {
        format!("{}\n", self.emulator.certificate(&self.source(id)).unwrap().pem.replace("\r\n", "\n"))
    }

    pub fn resources(&self) -> Api<ClientCertificateRef> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates a resource of the certificate [`ID`], with a few more fields of the spec.
    pub async fn create(&self, name: &str, spec: Value) -> ClientCertificateRef {
        let mut resource = json!({
            "apiVersion": "apigateway.clientcert.dev/v1alpha1",
            "kind": "ClientCertificateRef",
            "metadata": { "name": name },
            "spec": { "clientCertificateId": ID },
        });
        resource["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let resource: ClientCertificateRef = serde_json::from_value(resource).unwrap();
        self.resources().create(&PostParams::default(), &resource).await.unwrap()
    }

    /// [`Self::create`], and waits until it is ready.
    pub async fn create_ready(&self, name: &str, spec: Value) -> ClientCertificateRef {
        self.create(name, spec).await;
        self.until_ready(name).await
    }

    /// A merge patch of the resource.
    pub async fn patch(&self, name: &str, patch: Value) -> ClientCertificateRef {
        self.resources().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap()
    }

    /// A merge patch of the Secret, as somebody else would.
    pub async fn patch_secret(&self, name: &str, patch: Value) -> Secret {
        self.secrets().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap()
    }

    /// Creates a Secret, as somebody else would.
    pub async fn create_secret(&self, name: &str, fields: Value) -> Secret {
        let mut secret: Secret = serde_json::from_value(fields).unwrap();
        secret.metadata.name = Some(name.to_owned());
        self.secrets().create(&PostParams::default(), &secret).await.unwrap()
    }

    pub async fn delete(&self, name: &str) {
        self.resources().delete(name, &DeleteParams::default()).await.unwrap();
    }

    pub async fn resource(&self, name: &str) -> ClientCertificateRef {
        self.resources().get(name).await.unwrap()
    }

    /// Waits until a condition says this of the resource's present spec.
    pub async fn until(&self, name: &str, type_: &str, status: &str, reason: &str) -> ClientCertificateRef {
        eventually(SOON, &format!("{name} has {type_}={status} {reason}"), async || {
            let resource = self.resource(name).await;
            let generation = resource.metadata.generation;
            let found = condition(&resource, type_).is_some_and(|condition| {
                (condition.status.as_str(), condition.reason.as_str()) == (status, reason)
                    && condition.observed_generation == generation
            });
            if found { Ok(resource) } else { Err(format!("{:?}", conditions(&resource))) }
        })
        .await
    }

    pub async fn until_ready(&self, name: &str) -> ClientCertificateRef {
        self.until(name, "Ready", "True", "Mirrored").await
    }

    /// Waits until the Secret is there and looks like this.
    pub async fn until_secret(&self, limit: Duration, name: &str, what: &str, is: impl Fn(&Secret) -> bool) -> Secret {
        eventually(limit, &format!("the Secret {name}: {what}"), async || {
            let found = self.secrets().get_opt(name).await.unwrap();
            found.filter(&is).ok_or("it does not")
        })
        .await
    }

    pub async fn secret(&self, name: &str) -> Secret {
        self.secrets().get(name).await.unwrap()
    }

    /// What the operator asked API Gateway for the certificate so far.
    pub fn reads(&self, id: &str) -> usize {
        self.emulator.count_of(Operation::Get, id)
    }

    /// What the operator tried to write so far.
    pub fn writes(&self) -> Vec<AuditEntry> {
        let user = service_account_user(&self.namespace, ACCOUNT);
        self.control_plane.writes_by(&user, Some(&self.namespace)).unwrap()
    }

    /// Those writes of this kind that the API server took, as `verb name`.
    pub fn writes_of(&self, resource: &str) -> Vec<String> {
        let of_kind = self.writes().into_iter().filter(|entry| entry.resource == resource && entry.code < 300);
        of_kind.map(|entry| format!("{} {}", entry.verb, entry.name)).collect()
    }

    /// How often each event was told of a resource, as `Type Reason`: a series counts as often as it says.
    pub async fn events(&self, name: &str) -> BTreeMap<String, i32> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut counts = BTreeMap::new();
        for event in events.list(&ListParams::default()).await.unwrap() {
            if event.regarding.as_ref().and_then(|regarding| regarding.name.as_deref()) == Some(name) {
                let key = format!("{} {}", event.type_.unwrap_or_default(), event.reason.unwrap_or_default());
                *counts.entry(key).or_default() += event.series.map_or(1, |series| series.count);
            }
        }
        counts
    }

    /// Waits until exactly these events were told of a resource.
    pub async fn until_events(&self, name: &str, expected: &[(&str, i32)]) {
        let expected: BTreeMap<String, i32> = expected.iter().map(|(key, count)| ((*key).to_owned(), *count)).collect();
        eventually(SOON, &format!("the events of {name} are {expected:?}"), async || {
            let found = self.events(name).await;
            if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
    }

    /// Runs kubectl in the namespace, without holding up the emulator meanwhile.
    pub async fn kubectl(&self, args: &[&str]) -> Output {
        let mut command = self.control_plane.kubectl();
        command.arg("--namespace").arg(&self.namespace).args(args);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }
}

pub fn condition<'r>(resource: &'r ClientCertificateRef, type_: &str) -> Option<&'r Condition> {
    resource.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == type_)
}

/// All conditions, as `Type=Status Reason: message`.
pub fn conditions(resource: &ClientCertificateRef) -> Vec<String> {
    let conditions = resource.status.iter().flat_map(|status| &status.conditions);
    conditions.map(|c| format!("{}={} {}: {}", c.type_, c.status, c.reason, c.message)).collect()
}

/// What a key of a Secret holds, as text.
pub fn data<'s>(secret: &'s Secret, key: &str) -> Option<&'s str> {
    secret.data.as_ref()?.get(key).map(|value| std::str::from_utf8(&value.0).unwrap())
}

/// The uids of the owners, in order.
pub fn owners(secret: &Secret) -> Vec<String> {
    secret.owner_references().iter().map(|owner| owner.uid.clone()).collect()
}
