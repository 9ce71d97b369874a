//! One test's own world: its ground, a running operator, and questions to ask about resources, targets and events.

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

/// Ample for whatever the operator does at once.
pub const SOON: Duration = Duration::from_secs(30);
/// Ample for garbage collection, which learns of a new kind late, and for what is looked at once a minute.
pub const MINUTES: Duration = Duration::from_secs(150);
/// How long a test watches that nothing more happens.
pub const A_WHILE: Duration = Duration::from_secs(2);
/// The id that tests use where it does not matter.
pub const ID: &str = "9ao60f";

/// A kind of target, as tests look at it.
pub trait TestedKind: TargetObject + PartialEq {
    /// The field that takes text: tests name it `text`.
    const TEXT: &str;

    /// What a key holds, as text.
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

/// The world of one test whose targets are Secrets.
pub type World<'a> = WorldOf<'a, Secret>;

/// The world of one test whose targets are of one kind. Everything in it ends when it is dropped.
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

    /// The same, before the operator starts.
    pub async fn without_operator(prefix: &str) -> Self {
        WorldOf::with_certificate(Ground::shared(prefix).await)
    }
}

impl<'a, K: TestedKind> WorldOf<'a, K> {
    /// A world on a control plane that is prepared already, with the certificate [`ID`].
    pub async fn on(control_plane: &'a ControlPlane, prefix: &str) -> Self {
        WorldOf::with_certificate(Ground::on(control_plane, prefix).await)
    }

    fn with_certificate(ground: Ground<'a>) -> Self {
        ground.generate(NewCertificate::new().id(ID));
        WorldOf { ground, operator: None, kind: PhantomData }
    }

    /// Starts an operator (another one, where there was one) and waits until it is ready.
    pub async fn start_operator(&mut self) {
        self.start_operator_with(&[]).await;
    }

    /// The same, with arguments.
    pub async fn start_operator_with(&mut self, args: &[&str]) {
        let builder = args.iter().fold(self.builder(), |builder, arg| builder.arg(arg));
        self.operator = Some(started(&builder).await);
    }

    /// Ends the operator as a node would, and checks that it ends well.
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

    /// A merge patch of the resource.
    pub async fn patch(&self, name: &str, patch: Value) -> ClientCertificateRef {
        self.resources().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap()
    }

    /// The objects of the kind.
    pub fn targets(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// A merge patch of an object of the kind, as another writer would.
    pub async fn patch_target(&self, name: &str, patch: Value) -> K {
        let patch = Patch::Merge(with_text::<K>(patch));
        self.targets().patch(name, &PatchParams::default(), &patch).await.unwrap()
    }

    /// Creates an object of the kind, as another writer would.
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

    /// Waits until the resource looks like this.
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

    /// Asks for a read by a value of the annotation, without waiting for it.
    pub async fn ask(&self, name: &str, value: &str) {
        self.patch(name, json!({ "metadata": { "annotations": { REFRESH_ANNOTATION: value } } })).await;
    }

    /// Asks for a read by a new value, without waiting for it.
    pub async fn ask_now(&self, name: &str) -> String {
        let value = format!("{:016x}", fastrand::u64(..));
        self.ask(name, &value).await;
        value
    }

    /// Asks for a read by a value, and waits until the operator has acted on it: forced reads are 10 s apart.
    pub async fn ask_and_hear(&self, name: &str, value: &str) -> ClientCertificateRef {
        self.ask(name, value).await;
        self.until_it(name, "the refresh is acted on", |resource| {
            let status = resource.status.as_ref();
            status.and_then(|status| status.last_handled_refresh.as_deref()) == Some(value)
        })
        .await
    }

    /// The same by a new value.
    pub async fn refresh(&self, name: &str) -> ClientCertificateRef {
        self.ask_and_hear(name, &format!("{:016x}", fastrand::u64(..))).await
    }

    pub async fn until_ready(&self, name: &str) -> ClientCertificateRef {
        self.until(name, "Ready", "True", "Mirrored").await
    }

    /// Waits until the target is there and looks like this.
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

    /// What the operator asked API Gateway for the certificate so far.
    pub fn reads(&self, id: &str) -> usize {
        self.emulator.count_of(Operation::Get, id)
    }

    /// Those writes of this kind that the API server took, as `verb name`.
    pub fn writes_of(&self, resource: &str) -> Vec<String> {
        let of_kind = self.all_writes().into_iter().filter(|entry| entry.resource == resource && entry.code < 300);
        of_kind.map(|entry| format!("{} {}", entry.verb, entry.name)).collect()
    }

    /// [`Self::writes_of`] the kind of the world's targets.
    pub fn target_writes(&self) -> Vec<String> {
        self.writes_of(K::TARGET_KIND.plural())
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

/// What a test that fails shows of a resource: each certificate with its role, and the conditions.
fn described(resource: &ClientCertificateRef) -> String {
    let held = resource.status.iter().flat_map(|status| &status.certificates);
    let held: Vec<_> = held.map(|held| (held.id.as_str(), held.role, held.chain.len())).collect();
    format!("{held:?} {:?}", conditions(resource))
}

/// The fields of an object with `text` under the name that the kind has for it.
fn with_text<K: TestedKind>(mut fields: Value) -> Value {
    if let Some(text) = fields.as_object_mut().unwrap().remove("text") {
        fields[K::TEXT] = text;
    }
    fields
}

/// What a key of a target holds, as text.
pub fn data<'o>(object: &'o impl TestedKind, key: &str) -> Option<&'o str> {
    object.text(key)
}

/// The uids of the owners, in order.
pub fn owners(object: &impl TestedKind) -> Vec<String> {
    object.owner_references().iter().map(|owner| owner.uid.clone()).collect()
}
