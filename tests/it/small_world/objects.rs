//! A model of the API server's Secrets, as far as the small world uses them, and the contract that it shares with the
//! real one.

use std::collections::BTreeMap;

use client_certificate_operator::api::{TargetKind, TargetRef};
use client_certificate_operator::target::{Desired, TargetMeta};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{DeleteParams, PostParams, Preconditions};
use operator_testing::control_plane::ControlPlane;
use tokio::runtime::Runtime;

/// Why a write is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    AlreadyExists,
    Conflict,
    NotFound,
}

/// Secrets of one namespace.
pub trait Objects {
    fn get(&self, target: &TargetRef) -> Option<Secret>;
    fn create(&mut self, secret: Secret) -> Result<(), Refusal>;
    /// Only if uid and version are those of the object that is there.
    fn replace(&mut self, secret: Secret) -> Result<(), Refusal>;
    /// Only if uid and version are those of the object that is there.
    fn delete(&mut self, target: &TargetRef, uid: &str, version: &str) -> Result<(), Refusal>;
}

/// The Secret that a write of the operator carries.
pub fn secret(desired: &Desired, current: Option<&TargetMeta>) -> Secret {
    let marks = desired.merge(current);
    Secret {
        metadata: ObjectMeta {
            name: Some(desired.target.name.clone()),
            namespace: Some(desired.namespace.clone()),
            uid: current.map(|current| current.uid.clone()),
            resource_version: current.map(|current| current.resource_version.clone()),
            labels: Some(marks.labels),
            annotations: Some(marks.annotations),
            owner_references: Some(marks.owner_references),
            ..ObjectMeta::default()
        },
        data: Some(desired.data.iter().map(|(key, value)| (key.clone(), ByteString(value.clone()))).collect()),
        type_: Some(desired.type_.to_owned()),
        ..Secret::default()
    }
}

fn named(name: &str) -> TargetRef {
    TargetRef { kind: TargetKind::Secret, name: name.to_owned() }
}

/// The model: every write gets the next version, every object its own uid.
#[derive(Default)]
pub struct Model {
    objects: BTreeMap<TargetRef, Secret>,
    version: u64,
}

impl Model {
    pub fn all(&self) -> impl Iterator<Item = Secret> {
        self.objects.values().cloned()
    }

    /// Somebody else deletes it.
    pub fn remove(&mut self, target: &TargetRef) {
        self.objects.remove(target);
    }

    /// Somebody else changes it.
    pub fn edit(&mut self, target: &TargetRef, change: impl FnOnce(&mut Secret)) {
        self.version += 1;
        if let Some(secret) = self.objects.get_mut(target) {
            change(secret);
            secret.metadata.resource_version = Some(self.version.to_string());
        }
    }

    fn store(&mut self, mut secret: Secret) {
        self.version += 1;
        secret.metadata.resource_version = Some(self.version.to_string());
        secret.metadata.uid.get_or_insert_with(|| format!("uid-{}", self.version));
        self.objects.insert(named(secret.metadata.name.as_deref().unwrap()), secret);
    }

    fn check(&self, target: &TargetRef, uid: Option<&str>, version: Option<&str>) -> Result<(), Refusal> {
        let current = &self.objects.get(target).ok_or(Refusal::NotFound)?.metadata;
        let same = current.uid.as_deref() == uid && current.resource_version.as_deref() == version;
        if same { Ok(()) } else { Err(Refusal::Conflict) }
    }
}

impl Objects for Model {
    fn get(&self, target: &TargetRef) -> Option<Secret> {
        self.objects.get(target).cloned()
    }

    fn create(&mut self, secret: Secret) -> Result<(), Refusal> {
        if self.objects.contains_key(&named(secret.metadata.name.as_deref().unwrap())) {
            return Err(Refusal::AlreadyExists);
        }
        self.store(secret);
        Ok(())
    }

    fn replace(&mut self, secret: Secret) -> Result<(), Refusal> {
        let meta = &secret.metadata;
        self.check(&named(meta.name.as_deref().unwrap()), meta.uid.as_deref(), meta.resource_version.as_deref())?;
        self.store(secret);
        Ok(())
    }

    fn delete(&mut self, target: &TargetRef, uid: &str, version: &str) -> Result<(), Refusal> {
        self.check(target, Some(uid), Some(version))?;
        self.objects.remove(target);
        Ok(())
    }
}

/// The real thing.
struct Server {
    runtime: Runtime,
    secrets: Api<Secret>,
}

fn refusal(error: kube::Error) -> Refusal {
    match error {
        kube::Error::Api(status) if status.code == 404 => Refusal::NotFound,
        kube::Error::Api(status) if status.reason == "AlreadyExists" => Refusal::AlreadyExists,
        kube::Error::Api(status) if status.code == 409 => Refusal::Conflict,
        other => panic!("{other}"),
    }
}

impl Objects for Server {
    fn get(&self, target: &TargetRef) -> Option<Secret> {
        self.runtime.block_on(self.secrets.get_opt(&target.name)).unwrap()
    }

    fn create(&mut self, secret: Secret) -> Result<(), Refusal> {
        let created = self.runtime.block_on(self.secrets.create(&PostParams::default(), &secret));
        created.map(drop).map_err(refusal)
    }

    fn replace(&mut self, secret: Secret) -> Result<(), Refusal> {
        let name = secret.metadata.name.clone().unwrap();
        let replaced = self.runtime.block_on(self.secrets.replace(&name, &PostParams::default(), &secret));
        replaced.map(drop).map_err(refusal)
    }

    fn delete(&mut self, target: &TargetRef, uid: &str, version: &str) -> Result<(), Refusal> {
        let preconditions = Preconditions { uid: Some(uid.into()), resource_version: Some(version.into()) };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        self.runtime.block_on(self.secrets.delete(&target.name, &params)).map(drop).map_err(refusal)
    }
}

/// What the small world believes of the API server.
fn contract(objects: &mut impl Objects) {
    let target = named("object");
    let new = Secret {
        metadata: ObjectMeta { name: Some(target.name.clone()), ..ObjectMeta::default() },
        ..Secret::default()
    };
    let meta =
        |secret: &Secret| (secret.metadata.uid.clone().unwrap(), secret.metadata.resource_version.clone().unwrap());

    assert!(objects.get(&target).is_none());
    objects.create(new.clone()).unwrap();
    assert_eq!(objects.create(new.clone()), Err(Refusal::AlreadyExists), "a second create");
    let first = objects.get(&target).unwrap();
    let mut changed = first.clone();
    changed.data = Some(BTreeMap::from([("ca.crt".into(), ByteString(b"x".to_vec()))]));
    objects.replace(changed.clone()).unwrap();
    assert_eq!(objects.replace(changed), Err(Refusal::Conflict), "an old version");
    let second = objects.get(&target).unwrap();
    assert_eq!(meta(&second).0, meta(&first).0, "a replacement keeps the uid");
    assert_ne!(meta(&second).1, meta(&first).1, "and changes the version");
    assert_eq!(second.data.as_ref().unwrap()["ca.crt"].0, b"x");
    assert_eq!(objects.delete(&target, &meta(&first).0, &meta(&first).1), Err(Refusal::Conflict), "an old version");
    objects.delete(&target, &meta(&second).0, &meta(&second).1).unwrap();
    assert_eq!(objects.delete(&target, &meta(&second).0, &meta(&second).1), Err(Refusal::NotFound), "it is gone");
    objects.create(new).unwrap();
    let another = objects.get(&target).unwrap();
    assert_ne!(meta(&another).0, meta(&first).0, "another life has another uid");
    let mut of_old_life = second;
    of_old_life.metadata.resource_version = another.metadata.resource_version;
    assert_eq!(objects.replace(of_old_life), Err(Refusal::Conflict), "another life's uid");
}

#[test]
fn the_model_keeps_the_contract() {
    contract(&mut Model::default());
}

#[test]
fn the_api_server_keeps_the_contract() {
    let runtime = Runtime::new().unwrap();
    let secrets = runtime.block_on(async {
        let control_plane = ControlPlane::shared().await.unwrap();
        let namespace = control_plane.namespace("contract").await.unwrap();
        Api::namespaced(control_plane.client().await.unwrap(), &namespace)
    });
    contract(&mut Server { runtime, secrets });
}
