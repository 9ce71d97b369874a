//! A model of the API server's Secrets and ConfigMaps, as far as the small world uses them, and its contract with the
//! real API server.

use std::collections::BTreeMap;

use client_certificate_operator::api::{TargetKind, TargetRef};
use client_certificate_operator::target::{Desired, Target, TargetMeta, TargetObject};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{DeleteParams, PostParams, Preconditions};
use operator_testing::control_plane::ControlPlane;
use tokio::runtime::Runtime;

/// The reason for which a write is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    AlreadyExists,
    Conflict,
    NotFound,
}

/// Secrets and ConfigMaps of one namespace.
pub trait Objects {
    fn get(&self, target: &TargetRef) -> Option<Object>;
    fn create(&mut self, object: Object) -> Result<(), Refusal>;
    /// Replaces the object only if uid and version are those of the existing object.
    fn replace(&mut self, object: Object) -> Result<(), Refusal>;
    /// Deletes the object only if uid and version are those of the existing object.
    fn delete(&mut self, target: &TargetRef, uid: &str, version: &str) -> Result<(), Refusal>;
}

/// A Secret or a ConfigMap.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    Secret(Secret),
    ConfigMap(ConfigMap),
}

impl Object {
    /// The object of a write of the operator.
    pub fn of(desired: &Desired, current: Option<&TargetMeta>) -> Self {
        let meta = desired.merge(current);
        match desired.target.kind {
            TargetKind::Secret => Object::Secret(Secret::of_desired(desired, meta, current, false)),
            TargetKind::ConfigMap => Object::ConfigMap(ConfigMap::of_desired(desired, meta, current, false)),
        }
    }

    fn named(target: &TargetRef) -> Self {
        let metadata = ObjectMeta { name: Some(target.name.clone()), ..ObjectMeta::default() };
        match target.kind {
            TargetKind::Secret => Object::Secret(Secret { metadata, ..Secret::default() }),
            TargetKind::ConfigMap => Object::ConfigMap(ConfigMap { metadata, ..ConfigMap::default() }),
        }
    }

    pub fn meta(&self) -> &ObjectMeta {
        match self {
            Object::Secret(secret) => &secret.metadata,
            Object::ConfigMap(map) => &map.metadata,
        }
    }

    pub fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Object::Secret(secret) => &mut secret.metadata,
            Object::ConfigMap(map) => &mut map.metadata,
        }
    }

    /// The value of a key.
    pub fn value(&self, key: &str) -> Option<&[u8]> {
        match self {
            Object::Secret(secret) => secret.data.as_ref()?.get(key).map(|value| value.0.as_slice()),
            Object::ConfigMap(map) => map.data.as_ref()?.get(key).map(String::as_bytes),
        }
    }

    /// Replaces the data, like another writer.
    pub fn set_data(&mut self, data: BTreeMap<String, String>) {
        match self {
            Object::Secret(secret) => {
                secret.data = Some(data.into_iter().map(|(key, value)| (key, ByteString(value.into_bytes()))).collect())
            }
            Object::ConfigMap(map) => map.data = Some(data),
        }
    }

    pub fn into_target(self) -> Target {
        match self {
            Object::Secret(secret) => secret.into_target(),
            Object::ConfigMap(map) => map.into_target(),
        }
    }

    fn target(&self) -> TargetRef {
        let kind = match self {
            Object::Secret(_) => TargetKind::Secret,
            Object::ConfigMap(_) => TargetKind::ConfigMap,
        };
        TargetRef { kind, name: self.meta().name.clone().unwrap() }
    }
}

/// The model. Every write gets the next version, and every object a new uid.
#[derive(Default)]
pub struct Model {
    objects: BTreeMap<TargetRef, Object>,
    version: u64,
}

impl Model {
    pub fn all(&self) -> impl Iterator<Item = Object> {
        self.objects.values().cloned()
    }

    /// Deletes an object, like another writer.
    pub fn remove(&mut self, target: &TargetRef) {
        self.objects.remove(target);
    }

    /// Changes an object, like another writer.
    pub fn edit(&mut self, target: &TargetRef, change: impl FnOnce(&mut Object)) {
        self.version += 1;
        if let Some(object) = self.objects.get_mut(target) {
            change(object);
            object.meta_mut().resource_version = Some(self.version.to_string());
        }
    }

    fn store(&mut self, mut object: Object) {
        self.version += 1;
        object.meta_mut().resource_version = Some(self.version.to_string());
        object.meta_mut().uid.get_or_insert_with(|| format!("uid-{}", self.version));
        self.objects.insert(object.target(), object);
    }

    fn check(&self, target: &TargetRef, uid: Option<&str>, version: Option<&str>) -> Result<(), Refusal> {
        let current = self.objects.get(target).ok_or(Refusal::NotFound)?.meta();
        let same = current.uid.as_deref() == uid && current.resource_version.as_deref() == version;
        if same { Ok(()) } else { Err(Refusal::Conflict) }
    }
}

impl Objects for Model {
    fn get(&self, target: &TargetRef) -> Option<Object> {
        self.objects.get(target).cloned()
    }

    fn create(&mut self, object: Object) -> Result<(), Refusal> {
        if self.objects.contains_key(&object.target()) {
            return Err(Refusal::AlreadyExists);
        }
        self.store(object);
        Ok(())
    }

    fn replace(&mut self, object: Object) -> Result<(), Refusal> {
        let meta = object.meta();
        self.check(&object.target(), meta.uid.as_deref(), meta.resource_version.as_deref())?;
        self.store(object);
        Ok(())
    }

    fn delete(&mut self, target: &TargetRef, uid: &str, version: &str) -> Result<(), Refusal> {
        self.check(target, Some(uid), Some(version))?;
        self.objects.remove(target);
        Ok(())
    }
}

/// The real API server.
struct Server {
    runtime: Runtime,
    secrets: Api<Secret>,
    config_maps: Api<ConfigMap>,
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
    fn get(&self, target: &TargetRef) -> Option<Object> {
        let name = target.name.as_str();
        self.runtime.block_on(async {
            match target.kind {
                TargetKind::Secret => self.secrets.get_opt(name).await.unwrap().map(Object::Secret),
                TargetKind::ConfigMap => self.config_maps.get_opt(name).await.unwrap().map(Object::ConfigMap),
            }
        })
    }

    fn create(&mut self, object: Object) -> Result<(), Refusal> {
        let params = PostParams::default();
        self.runtime.block_on(async {
            match &object {
                Object::Secret(secret) => self.secrets.create(&params, secret).await.map(drop).map_err(refusal),
                Object::ConfigMap(map) => self.config_maps.create(&params, map).await.map(drop).map_err(refusal),
            }
        })
    }

    fn replace(&mut self, object: Object) -> Result<(), Refusal> {
        let (name, params) = (object.target().name, PostParams::default());
        self.runtime.block_on(async {
            match &object {
                Object::Secret(secret) => self.secrets.replace(&name, &params, secret).await.map(drop).map_err(refusal),
                Object::ConfigMap(map) => {
                    self.config_maps.replace(&name, &params, map).await.map(drop).map_err(refusal)
                }
            }
        })
    }

    fn delete(&mut self, target: &TargetRef, uid: &str, version: &str) -> Result<(), Refusal> {
        let preconditions = Preconditions { uid: Some(uid.into()), resource_version: Some(version.into()) };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let name = target.name.as_str();
        self.runtime.block_on(async {
            match target.kind {
                TargetKind::Secret => self.secrets.delete(name, &params).await.map(drop).map_err(refusal),
                TargetKind::ConfigMap => self.config_maps.delete(name, &params).await.map(drop).map_err(refusal),
            }
        })
    }
}

/// The assumptions of the small world about the API server.
fn contract(objects: &mut impl Objects) {
    let other = |kind| TargetRef { kind, name: "object".to_owned() };
    contract_of(objects, &other(TargetKind::Secret));
    let secret = objects.get(&other(TargetKind::Secret));
    assert!(secret.is_some());
    contract_of(objects, &other(TargetKind::ConfigMap));
    assert_eq!(objects.get(&other(TargetKind::Secret)), secret, "another kind of the same name is another object");
}

fn contract_of(objects: &mut impl Objects, target: &TargetRef) {
    let new = Object::named(target);
    let meta = |object: &Object| (object.meta().uid.clone().unwrap(), object.meta().resource_version.clone().unwrap());

    assert!(objects.get(target).is_none());
    objects.create(new.clone()).unwrap();
    assert_eq!(objects.create(new.clone()), Err(Refusal::AlreadyExists), "a second create");
    let first = objects.get(target).unwrap();
    let mut changed = first.clone();
    changed.set_data(BTreeMap::from([("ca.crt".into(), "x".into())]));
    objects.replace(changed.clone()).unwrap();
    assert_eq!(objects.replace(changed), Err(Refusal::Conflict), "an old version");
    let second = objects.get(target).unwrap();
    assert_eq!(meta(&second).0, meta(&first).0, "a replacement keeps the uid");
    assert_ne!(meta(&second).1, meta(&first).1, "and changes the version");
    assert_eq!(second.value("ca.crt"), Some(&b"x"[..]));
    assert_eq!(objects.delete(target, &meta(&first).0, &meta(&first).1), Err(Refusal::Conflict), "an old version");
    objects.delete(target, &meta(&second).0, &meta(&second).1).unwrap();
    assert_eq!(objects.delete(target, &meta(&second).0, &meta(&second).1), Err(Refusal::NotFound), "it is gone");
    objects.create(new).unwrap();
    let another = objects.get(target).unwrap();
    assert_ne!(meta(&another).0, meta(&first).0, "another life has another uid");
    let mut of_old_life = second;
    of_old_life.meta_mut().resource_version = another.meta().resource_version.clone();
    assert_eq!(objects.replace(of_old_life), Err(Refusal::Conflict), "another life's uid");
}

#[test]
fn the_model_keeps_the_contract() {
    contract(&mut Model::default());
}

#[test]
fn the_api_server_keeps_the_contract() {
    let runtime = Runtime::new().unwrap();
    let (client, namespace) = runtime.block_on(async {
        let control_plane = ControlPlane::shared().await.unwrap();
        (control_plane.client().await.unwrap(), control_plane.namespace("contract").await.unwrap())
    });
    let secrets = Api::namespaced(client.clone(), &namespace);
    let config_maps = Api::namespaced(client, &namespace);
    contract(&mut Server { runtime, secrets, config_maps });
}
