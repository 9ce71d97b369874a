//! The world of one test: its ground, a running operator, and functions for resources, targets and events.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::Deref;
use std::process::Output;
use std::time::Duration;

use client_certificate_operator::api::{ClientCertificateRef, REFRESH_ANNOTATION, TargetKind};
use client_certificate_operator::target::TargetObject;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use operator_testing::certificates::NewCertificate;
use operator_testing::control_plane::ControlPlane;
use operator_testing::operator::Operator;
use operator_testing::script::Operation;
use operator_testing::wait::eventually;
use serde_json::{Value, json};

use crate::ground::{Ground, started};

/// A generous limit for actions without a wait.
pub const SOON: Duration = Duration::from_secs(30);
/// A generous limit for garbage collection, which discovers a new kind late, and for checks once a minute.
pub const MINUTES: Duration = Duration::from_secs(150);
/// The time for which a test checks that nothing happens.
pub const A_WHILE: Duration = Duration::from_secs(2);
/// The id for tests in which the id does not matter.
pub const ID: &str = "9ao60f";

/// A kind of target, for tests.
pub trait TestedKind: TargetObject + PartialEq {
    /// The name of the field for text, which tests call `text`.
    const TEXT: &str;

    /// The value of a key, as text.
    fn text(&self, key: &str) -> Option<&str>;

    /// All keys.
    fn keys(&self) -> Vec<&str>;
}

impl TestedKind for Secret {
    const TEXT: &str = "stringData";

    fn text(&self, key: &str) -> Option<&str> {
        self.data.as_ref()?.get(key).map(|value| std::str::from_utf8(&value.0).unwrap())
    }

    fn keys(&self) -> Vec<&str> {
        self.data.iter().flatten().map(|(key, _)| key.as_str()).collect()
    }
}

impl TestedKind for ConfigMap {
    const TEXT: &str = "data";

    fn text(&self, key: &str) -> Option<&str> {
        self.data.as_ref()?.get(key).map(String::as_str)
    }

    fn keys(&self) -> Vec<&str> {
        let binary = self.binary_data.iter().flatten().map(|(key, _)| key.as_str());
        self.data.iter().flatten().map(|(key, _)| key.as_str()).chain(binary).collect()
    }
}

/// The world of a test with Secrets as targets.
pub type World<'a> = WorldOf<'a, Secret>;

/// The world of a test with targets of one kind. All its parts end when it is dropped.
pub struct WorldOf<'a, K> {
    ground: Ground<'a>,
    /// The running operator, if there is one.
    pub operator: Option<Operator>,
    kind: PhantomData<K>,
}

impl<'a, K> Deref for WorldOf<'a, K> {
    type Target = Ground<'a>;

    fn deref(&self) -> &Ground<'a> {
        &self.ground
    }
}

impl<K: TestedKind> WorldOf<'static, K> {
    /// A world on the shared control plane with the certificate [`ID`] and a running operator.
    pub async fn start(prefix: &str) -> Self {
        let mut world = Self::without_operator(prefix).await;
        world.start_operator().await;
        world
    }

    /// A world on the shared control plane with the certificate [`ID`], without an operator.
    pub async fn without_operator(prefix: &str) -> Self {
        WorldOf::with_certificate(Ground::shared(prefix).await)
    }
}

impl<'a, K: TestedKind> WorldOf<'a, K> {
    /// A world on a control plane with the installation, with the certificate [`ID`] and without an operator.
    pub async fn on(control_plane: &'a ControlPlane, prefix: &str) -> Self {
        WorldOf::with_certificate(Ground::on(control_plane, prefix).await)
    }

    fn with_certificate(ground: Ground<'a>) -> Self {
        ground.generate(NewCertificate::new().id(ID));
        WorldOf { ground, operator: None, kind: PhantomData }
    }

    /// Starts an operator, in place of a running one, and waits until it is ready.
    pub async fn start_operator(&mut self) {
        self.start_operator_with(&[]).await;
    }

    /// Starts an operator with arguments, and waits until it is ready.
    pub async fn start_operator_with(&mut self, args: &[&str]) {
        let builder = args.iter().fold(self.builder(), |builder, arg| builder.arg(arg));
        self.operator = Some(started(&builder).await);
    }

    /// Sends SIGTERM to the operator, like a kubelet, and checks that it exits with 0.
    pub async fn stop_operator(&mut self) {
        let mut operator = self.operator.take().expect("an operator runs");
        assert_eq!(operator.terminate(SOON).await.unwrap().code, Some(0));
    }

    /// Creates a resource of the certificate [`ID`], with a few more fields of the spec.
    pub async fn create(&self, name: &str, spec: Value) -> ClientCertificateRef {
        let mut whole = json!({ "clientCertificateId": ID });
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        if K::TARGET_KIND != TargetKind::default() && whole["target"]["kind"].is_null() {
            whole["target"]["kind"] = K::TARGET_KIND.as_str().into();
        }
        self.create_resource(name, whole).await
    }

    /// [`Self::create`], and waits until it is ready.
    pub async fn create_ready(&self, name: &str, spec: Value) -> ClientCertificateRef {
        self.create(name, spec).await;
        self.until_ready(name).await
    }

    /// Applies a merge patch to the resource.
    pub async fn patch(&self, name: &str, patch: Value) -> ClientCertificateRef {
        self.resources().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap()
    }

    /// The objects of the kind.
    pub fn targets(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Applies a merge patch to an object of the kind, like another writer.
    pub async fn patch_target(&self, name: &str, patch: Value) -> K {
        let patch = Patch::Merge(with_text::<K>(patch));
        self.targets().patch(name, &PatchParams::default(), &patch).await.unwrap()
    }

    /// Creates an object of the kind, like another writer.
    pub async fn create_object(&self, name: &str, fields: Value) -> K {
        let mut object: K = serde_json::from_value(with_text::<K>(fields)).unwrap();
        object.metadata_mut().name = Some(name.to_owned());
        self.targets().create(&PostParams::default(), &object).await.unwrap()
    }

    pub async fn delete(&self, name: &str) {
        self.resources().delete(name, &DeleteParams::default()).await.unwrap();
    }

    pub async fn resource(&self, name: &str) -> ClientCertificateRef {
        self.resources().get(name).await.unwrap()
    }

    /// Waits until a condition has this status and reason for the resource's current spec.
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

    /// Waits until the resource fulfils the condition `is`.
    pub async fn until_it(
        &self,
        name: &str,
        what: &str,
        is: impl Fn(&ClientCertificateRef) -> bool,
    ) -> ClientCertificateRef {
        eventually(SOON, &format!("{name}: {what}"), async || {
            let resource = self.resource(name).await;
            if is(&resource) { Ok(resource) } else { Err(described(&resource)) }
        })
        .await
    }

    /// Requests a read by a value of the annotation, without waiting for it.
    pub async fn ask(&self, name: &str, value: &str) {
        self.patch(name, json!({ "metadata": { "annotations": { REFRESH_ANNOTATION: value } } })).await;
    }

    /// Requests a read by a new value of the annotation, without waiting for it.
    pub async fn ask_now(&self, name: &str) -> String {
        let value = format!("{:016x}", fastrand::u64(..));
        self.ask(name, &value).await;
        value
    }

    /// Requests a read by a value of the annotation, and waits until the operator has handled it. Forced reads are 10 s
    /// apart.
    pub async fn ask_and_hear(&self, name: &str, value: &str) -> ClientCertificateRef {
        self.ask(name, value).await;
        self.until_it(name, "the refresh is acted on", |resource| {
            let status = resource.status.as_ref();
            status.and_then(|status| status.last_handled_refresh.as_deref()) == Some(value)
        })
        .await
    }

    /// Requests a read by a new value of the annotation, and waits until the operator has handled it.
    pub async fn refresh(&self, name: &str) -> ClientCertificateRef {
        self.ask_and_hear(name, &format!("{:016x}", fastrand::u64(..))).await
    }

    pub async fn until_ready(&self, name: &str) -> ClientCertificateRef {
        self.until(name, "Ready", "True", "Mirrored").await
    }

    /// Waits until the target exists and fulfils the condition `is`.
    pub async fn until_target(&self, limit: Duration, name: &str, what: &str, is: impl Fn(&K) -> bool) -> K {
        eventually(limit, &format!("the {} {name}: {what}", K::TARGET_KIND), async || {
            let found = self.targets().get_opt(name).await.unwrap();
            found.filter(&is).ok_or("it does not")
        })
        .await
    }

    pub async fn target(&self, name: &str) -> K {
        self.targets().get(name).await.unwrap()
    }

    /// The number of the operator's reads of a certificate so far.
    pub fn reads(&self, id: &str) -> usize {
        self.emulator.count_of(Operation::Get, id)
    }

    /// The accepted writes of this kind, in the form `verb name`.
    pub fn writes_of(&self, resource: &str) -> Vec<String> {
        let of_kind = self.all_writes().into_iter().filter(|entry| entry.resource == resource && entry.code < 300);
        of_kind.map(|entry| format!("{} {}", entry.verb, entry.name)).collect()
    }

    /// [`Self::writes_of`] the kind of the world's targets.
    pub fn target_writes(&self) -> Vec<String> {
        self.writes_of(K::TARGET_KIND.plural())
    }

    /// The number of each event about a resource, by `Type Reason`. A series counts with its own count.
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

    /// Waits until a resource has exactly these events.
    pub async fn until_events(&self, name: &str, expected: &[(&str, i32)]) {
        let expected: BTreeMap<String, i32> = expected.iter().map(|(key, count)| ((*key).to_owned(), *count)).collect();
        eventually(SOON, &format!("the events of {name} are {expected:?}"), async || {
            let found = self.events(name).await;
            if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
    }

    /// Runs kubectl in the namespace, without blocking the emulator meanwhile.
    pub async fn kubectl(&self, args: &[&str]) -> Output {
        let mut command = self.control_plane.kubectl();
        command.arg("--namespace").arg(&self.namespace).args(args);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }
}

pub fn condition<'r>(resource: &'r ClientCertificateRef, type_: &str) -> Option<&'r Condition> {
    resource.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == type_)
}

/// All conditions, in the form `Type=Status Reason: message`.
pub fn conditions(resource: &ClientCertificateRef) -> Vec<String> {
    let conditions = resource.status.iter().flat_map(|status| &status.conditions);
    conditions.map(|c| format!("{}={} {}: {}", c.type_, c.status, c.reason, c.message)).collect()
}

/// The text about a resource for a failed test: each certificate with its role, and the conditions.
fn described(resource: &ClientCertificateRef) -> String {
    let held = resource.status.iter().flat_map(|status| &status.certificates);
    let held: Vec<_> = held.map(|held| (held.id.as_str(), held.role, held.chain.len())).collect();
    format!("{held:?} {:?}", conditions(resource))
}

/// The fields of an object, with `text` under the kind's name for it.
fn with_text<K: TestedKind>(mut fields: Value) -> Value {
    if let Some(text) = fields.as_object_mut().unwrap().remove("text") {
        fields[K::TEXT] = text;
    }
    fields
}

/// The value of a key of a target, as text.
pub fn data<'o>(object: &'o impl TestedKind, key: &str) -> Option<&'o str> {
    object.text(key)
}

/// The uids of the owners, in order.
pub fn owners(object: &impl TestedKind) -> Vec<String> {
    object.owner_references().iter().map(|owner| owner.uid.clone()).collect()
}
