//! The index of targets with our label: their metadata from a watch, and their content if it is known.
//!
//! The watch delivers no content. The content of a version that the operator wrote or read is known. Any other version
//! comes from another writer and has to be read.

mod entry;

use std::collections::{BTreeSet, HashMap, VecDeque};

use self::entry::Entry;
use crate::api::{ResourceName, TargetKind, TargetRef};
use crate::kubernetes::resource_version::is_older;
use crate::kubernetes::watch::Scope;
use crate::target::{Target, TargetContent, TargetMeta};

/// The known data of one object.
#[derive(Clone, Debug, PartialEq)]
pub enum Known {
    /// The watch has not delivered the object.
    Nothing,
    /// The object exists, but the content of this version was not read.
    Metadata,
    /// The metadata and the content.
    All(Box<Target>),
}

/// The key of an object. It takes little memory, because the index holds a few keys for every resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    namespace: Box<str>,
    name: Box<str>,
    kind: TargetKind,
}

impl Key {
    fn new(namespace: &str, target: &TargetRef) -> Self {
        Key { namespace: namespace.into(), name: target.name.as_str().into(), kind: target.kind }
    }
}

/// An object with its owner. In this order, the objects of one owner are neighbours.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Owned {
    namespace: Box<str>,
    owner: Box<str>,
    kind: TargetKind,
    name: Box<str>,
}

impl Owned {
    fn new(key: &Key, owner: &str) -> Self {
        Owned { namespace: key.namespace.clone(), owner: owner.into(), kind: key.kind, name: key.name.clone() }
    }
}

/// The targets with our label.
#[derive(Debug, Default)]
pub struct Targets {
    entries: HashMap<Key, Entry>,
    by_owner: BTreeSet<Owned>,
    gone: Gone,
}

/// The last deleted objects. The watch can report a deletion before the response to an earlier request arrives, and
/// that response must not add the object again.
#[derive(Debug, Default)]
struct Gone {
    versions: HashMap<Key, String>,
    order: VecDeque<Key>,
}

impl Gone {
    /// Far more than the number of requests in progress.
    const MOST: usize = 1024;

    fn note(&mut self, key: Key, version: String) {
        if self.versions.insert(key.clone(), version).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > Self::MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.versions.remove(&oldest);
        }
    }

    /// Whether an object was deleted at this version or a later one.
    fn covers(&self, key: &Key, version: &str) -> bool {
        self.versions.get(key).is_some_and(|gone| version == gone || is_older(Some(version), gone))
    }
}

impl Targets {
    /// The known data of an object.
    pub fn get(&self, namespace: &str, target: &TargetRef) -> Known {
        match self.entries.get(&Key::new(namespace, target)) {
            None => Known::Nothing,
            Some(entry) => entry.target().map_or(Known::Metadata, |target| Known::All(Box::new(target))),
        }
    }

    /// The objects with this resource as their owner, other than `except`.
    pub fn others_of(&self, resource: &ResourceName, except: &TargetRef) -> Vec<TargetMeta> {
        // The least possible object: the empty name and the first kind.
        let first = Key::new(&resource.namespace, &TargetRef { kind: TargetKind::default(), name: String::new() });
        let owned = self.by_owner.range(Owned::new(&first, &resource.name)..);
        let owned = owned.take_while(|it| *it.namespace == *resource.namespace && *it.owner == *resource.name);
        owned
            .map(|it| Key { namespace: it.namespace.clone(), name: it.name.clone(), kind: it.kind })
            .filter(|key| *key != Key::new(&resource.namespace, except))
            .filter_map(|key| self.entries.get(&key))
            .filter_map(Entry::meta)
            .collect()
    }

    /// Records an object that the watch reports. Returns the resources to wake: none, if this version is known already.
    pub fn apply(&mut self, meta: TargetMeta) -> Vec<ResourceName> {
        let key = key(&meta);
        if let Some(entry) = self.entries.get(&key) {
            let version = meta.resource_version.as_str();
            // The watch repeats our own write, or an earlier one.
            if version == entry.version() || is_older(Some(version), entry.version()) {
                return Vec::new();
            }
        }
        let mut woken: Vec<_> = self.take(&key).into_iter().collect();
        woken.extend(owner(&meta));
        woken.dedup();
        self.insert(&meta, None);
        woken
    }

    /// Records that an object was deleted or lost our label, as the watch reports; `version` is its last version.
    /// Returns the resources to wake.
    pub fn remove(&mut self, namespace: &str, target: &TargetRef, version: &str) -> Vec<ResourceName> {
        let key = Key::new(namespace, target);
        match self.entries.get(&key) {
            // The operator has created the object again since.
            Some(entry) if is_older(Some(version), entry.version()) => Vec::new(),
            _ => {
                let woken = self.take(&key);
                self.gone.note(key, version.to_owned());
                woken.into_iter().collect()
            }
        }
    }

    /// The known objects of one kind in a scope: namespace, name and version.
    pub fn held(&self, kind: TargetKind, scope: &Scope) -> impl Iterator<Item = (&str, &str, &str)> {
        let covered = self.entries.iter().filter(move |(key, _)| key.kind == kind && scope.covers(&key.namespace));
        covered.map(|(key, entry)| (&*key.namespace, &*key.name, entry.version()))
    }

    /// Records an object that was written or read.
    pub fn learn(&mut self, target: Target) {
        let key = key(&target.meta);
        if !target.meta.is_labelled() {
            self.take(&key);
            return;
        }
        let known = self.entries.get(&key).map(Entry::version);
        if known.is_some_and(|known| is_older(Some(&target.meta.resource_version), known))
            || self.gone.covers(&key, &target.meta.resource_version)
        {
            return;
        }
        self.take(&key);
        self.insert(&target.meta, Some(target.content));
    }

    /// Removes an object that the operator deleted or did not find.
    pub fn forget(&mut self, namespace: &str, target: &TargetRef) {
        self.take(&Key::new(namespace, target));
    }

    /// Drops the content of an object after a refused write.
    pub fn distrust(&mut self, namespace: &str, target: &TargetRef) {
        if let Some(entry) = self.entries.get_mut(&Key::new(namespace, target)) {
            entry.forget_content();
        }
    }

    fn insert(&mut self, meta: &TargetMeta, content: Option<TargetContent>) {
        let key = key(meta);
        if let Some(owner) = meta.owner_name() {
            self.by_owner.insert(Owned::new(&key, owner));
        }
        self.entries.insert(key, Entry::new(meta, content));
    }

    /// Removes an object and returns its owner.
    fn take(&mut self, key: &Key) -> Option<ResourceName> {
        let entry = self.entries.remove(key)?;
        let owner = entry.owner()?;
        self.by_owner.remove(&Owned::new(key, owner));
        Some(ResourceName::new(&key.namespace, owner))
    }
}

fn key(meta: &TargetMeta) -> Key {
    Key::new(&meta.namespace, &meta.target)
}

fn owner(meta: &TargetMeta) -> Option<ResourceName> {
    meta.owner_name().map(|owner| ResourceName::new(&meta.namespace, owner))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::OWNER_ANNOTATION;
    use crate::fixtures::{PEM, rendered, resource, stored};
    use crate::target::TargetObject;
    use k8s_openapi::api::core::v1::{ConfigMap, Secret};

    fn target(name: &str, version: &str) -> Target {
        of_kind(TargetKind::Secret, name, version)
    }

    fn of_kind(kind: TargetKind, name: &str, version: &str) -> Target {
        let mut resource = resource(name);
        resource.spec.target.kind = kind;
        let now = "2026-11-24T00:00:00Z".parse().unwrap();
        let desired = rendered(&resource, PEM, now);
        let mut target = match kind {
            TargetKind::Secret => stored::<Secret>(&desired).into_target(),
            TargetKind::ConfigMap => stored::<ConfigMap>(&desired).into_target(),
        };
        target.meta.resource_version = version.to_owned();
        target
    }

    fn remove(targets: &mut Targets, name: &str, version: &str) -> Vec<ResourceName> {
        let target = TargetRef { kind: TargetKind::Secret, name: name.to_owned() };
        targets.remove("backends", &target, version)
    }

    fn name(name: &str) -> ResourceName {
        ResourceName::new("backends", name)
    }

    #[test]
    fn only_a_write_of_another_writer_wakes_the_owner() {
        let mut targets = Targets::default();
        let written = target("payments", "5");
        targets.learn(written.clone());
        assert_eq!(targets.apply(written.meta.clone()), []);
        assert_eq!(targets.apply(target("payments", "4").meta), [], "an echo from before");
        assert_eq!(targets.get("backends", &written.meta.target), Known::All(Box::new(written.clone())));

        assert_eq!(targets.apply(target("payments", "6").meta), [name("payments")]);
        assert_eq!(targets.get("backends", &written.meta.target), Known::Metadata);
    }

    #[test]
    fn a_deletion_wakes_the_owner_unless_the_object_was_created_again() {
        let mut targets = Targets::default();
        targets.learn(target("payments", "5"));
        assert_eq!(remove(&mut targets, "payments", "6"), [name("payments")]);
        assert_eq!(targets.get("backends", &target("payments", "5").meta.target), Known::Nothing);
        targets.learn(target("payments", "8"));
        assert_eq!(remove(&mut targets, "payments", "7"), []);
    }

    #[test]
    fn an_answer_after_the_deletion_is_not_an_object() {
        let mut targets = Targets::default();
        let written = target("payments", "6");
        targets.apply(written.meta.clone());
        assert_eq!(remove(&mut targets, "payments", "7"), [name("payments")]);
        targets.learn(written.clone());
        assert_eq!(targets.get("backends", &written.meta.target), Known::Nothing);
        targets.learn(target("payments", "8"));
        assert_ne!(targets.get("backends", &written.meta.target), Known::Nothing);

        (0..3 * Gone::MOST).for_each(|n| drop(remove(&mut targets, &format!("t{n}"), "7")));
        assert!(targets.gone.order.len() == Gone::MOST && targets.gone.versions.len() == Gone::MOST);
    }

    #[test]
    fn a_changed_owner_wakes_the_old_one_and_the_new_one() {
        let mut targets = Targets::default();
        targets.learn(target("payments", "5"));
        let mut meta = target("payments", "6").meta;
        meta.annotations.insert(OWNER_ANNOTATION.into(), "orders".into());
        assert_eq!(targets.apply(meta.clone()), [name("payments"), name("orders")]);
        assert_eq!(targets.others_of(&name("payments"), &target("x", "1").meta.target), []);
        assert_eq!(targets.others_of(&name("orders"), &target("x", "1").meta.target), [meta.clone()]);
        assert_eq!(targets.others_of(&name("orders"), &meta.target), []);
    }

    #[test]
    fn a_removal_of_an_older_version_does_not_remove_the_object() {
        let mut targets = Targets::default();
        ["a", "b"].iter().for_each(|name| targets.learn(target(name, "5")));
        let held = |targets: &Targets, namespace: &str| {
            let scope = Scope::Namespace(namespace.to_owned());
            let held = targets.held(TargetKind::Secret, &scope);
            let mut held: Vec<_> = held.map(|(of, name, version)| format!("{of}/{name} {version}")).collect();
            held.sort();
            held
        };
        assert_eq!(held(&targets, "backends"), ["backends/a 5", "backends/b 5"]);
        assert_eq!(held(&targets, "elsewhere"), [""; 0]);
        targets.learn(target("b", "9"));
        assert_eq!(remove(&mut targets, "a", "5"), [name("a")]);
        assert_eq!(remove(&mut targets, "b", "5"), []);
        assert_ne!(targets.get("backends", &target("b", "1").meta.target), Known::Nothing);
    }

    #[test]
    fn a_secret_and_a_config_map_with_one_name_are_two_objects() {
        let mut targets = Targets::default();
        let (secret, map) = (target("payments", "5"), of_kind(TargetKind::ConfigMap, "payments", "6"));
        targets.learn(secret.clone());
        assert_eq!(targets.get("backends", &map.meta.target), Known::Nothing);
        targets.learn(map.clone());
        assert_eq!(targets.get("backends", &secret.meta.target), Known::All(Box::new(secret.clone())));
        assert_eq!(targets.others_of(&name("payments"), &map.meta.target), std::slice::from_ref(&secret.meta));
        assert_eq!(targets.others_of(&name("payments"), &secret.meta.target), std::slice::from_ref(&map.meta));

        assert_eq!(targets.held(TargetKind::ConfigMap, &Scope::All).count(), 1);
        assert_eq!(targets.remove("backends", &map.meta.target, "6"), [name("payments")]);
        assert_eq!(targets.get("backends", &map.meta.target), Known::Nothing);
        assert_eq!(targets.get("backends", &secret.meta.target), Known::All(Box::new(secret)));
    }

    #[test]
    fn the_kind_of_an_object_takes_no_memory() {
        assert!(size_of::<Key>() <= 2 * size_of::<String>(), "{}", size_of::<Key>());
        assert!(size_of::<Owned>() <= 3 * size_of::<String>(), "{}", size_of::<Owned>());
    }
}
