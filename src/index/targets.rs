//! The targets that carry our label: their metadata from a watch, and what is known of their content.
//!
//! The watch brings no content. A version that we wrote, or have looked at, has known content; any other version means
//! that somebody else wrote, and has to be looked at.

mod entry;

use std::collections::{BTreeSet, HashMap, VecDeque};

use self::entry::Entry;
use super::Scope;
use crate::api::ResourceName;
use crate::api::{TargetKind, TargetRef};
use crate::memory::is_older;
use crate::target::{Target, TargetContent, TargetMeta};

/// What is known of one object.
#[derive(Clone, Debug, PartialEq)]
pub enum Known {
    /// The watch has told of no such object.
    Nothing,
    /// It is there, but this version of it has not been looked at.
    Metadata,
    /// All of it.
    All(Box<Target>),
}

type Key = (String, TargetRef);

/// The targets that carry our label.
#[derive(Debug, Default)]
pub struct Targets {
    entries: HashMap<Key, Entry>,
    by_owner: BTreeSet<(ResourceName, TargetRef)>,
    gone: Gone,
}

/// The objects that went last. The watch can tell of a deletion before the answer to an earlier request is there, and
/// what that answer tells must not be taken for an object that is there.
#[derive(Debug, Default)]
struct Gone {
    versions: HashMap<Key, String>,
    order: VecDeque<Key>,
}

impl Gone {
    /// Far more than there are requests under way.
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

    /// Whether an object of this version is known to be gone.
    fn covers(&self, key: &Key, version: &str) -> bool {
        self.versions.get(key).is_some_and(|gone| version == gone || is_older(Some(version), gone))
    }
}

impl Targets {
    /// What is known of an object.
    pub fn get(&self, namespace: &str, target: &TargetRef) -> Known {
        match self.entries.get(&(namespace.to_owned(), target.clone())) {
            None => Known::Nothing,
            Some(entry) => entry.target().map_or(Known::Metadata, |target| Known::All(Box::new(target))),
        }
    }

    /// The objects that say they belong to a resource, other than `except`.
    pub fn others_of(&self, resource: &ResourceName, except: &TargetRef) -> Vec<TargetMeta> {
        // No object has less of a name, nor a kind before the first.
        let first = TargetRef { kind: TargetKind::default(), name: String::new() };
        let owned = self.by_owner.range((resource.clone(), first)..);
        let targets = owned.take_while(|(owner, _)| owner == resource).map(|(_, target)| target);
        targets
            .filter(|target| *target != except)
            .filter_map(|target| self.entries.get(&(resource.namespace.clone(), target.clone())))
            .filter_map(Entry::meta)
            .collect()
    }

    /// The watch tells of an object. Answers whom to wake: nobody, where it is known already.
    pub fn apply(&mut self, meta: TargetMeta) -> Vec<ResourceName> {
        let key = key(&meta);
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.unseen = false;
            let version = meta.resource_version.as_str();
            // An echo of our own write, or of one before it.
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

    /// The watch tells that an object is gone, or has lost our label. Answers whom to wake.
    pub fn remove(&mut self, meta: &TargetMeta) -> Vec<ResourceName> {
        let key = key(meta);
        match self.entries.get(&key) {
            // It was made anew since, by us.
            Some(entry) if is_older(Some(&meta.resource_version), entry.version()) => Vec::new(),
            _ => {
                let woken = self.take(&key);
                self.gone.note(key, meta.resource_version.clone());
                woken.into_iter().collect()
            }
        }
    }

    /// An object was written or looked at: all of it is known.
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

    /// An object was deleted by us, or is found to be gone.
    pub fn forget(&mut self, namespace: &str, target: &TargetRef) {
        self.take(&(namespace.to_owned(), target.clone()));
    }

    /// A list of a scope begins.
    pub fn begin_list(&mut self, scope: &Scope) {
        let covered = self.entries.iter_mut().filter(|((namespace, _), _)| scope.covers(namespace));
        covered.for_each(|(_, entry)| entry.unseen = true);
    }

    /// A list of a scope has ended: what it did not show is gone. Answers whom to wake.
    pub fn end_list(&mut self, scope: &Scope) -> Vec<ResourceName> {
        let gone = self.entries.iter().filter(|((namespace, _), entry)| entry.unseen && scope.covers(namespace));
        let keys: Vec<Key> = gone.map(|(key, _)| key.clone()).collect();
        keys.iter().filter_map(|key| self.take(key)).collect()
    }

    fn insert(&mut self, meta: &TargetMeta, content: Option<TargetContent>) {
        if let Some(owner) = owner(meta) {
            self.by_owner.insert((owner, meta.target.clone()));
        }
        self.entries.insert(key(meta), Entry::new(meta, content));
    }

    /// Forgets an object, and answers whose it was.
    fn take(&mut self, key: &Key) -> Option<ResourceName> {
        let (namespace, target) = key;
        let entry = self.entries.remove(key)?;
        let owner = ResourceName::new(namespace, entry.owner()?);
        self.by_owner.remove(&(owner.clone(), target.clone()));
        Some(owner)
    }
}

fn key(meta: &TargetMeta) -> Key {
    (meta.namespace.clone(), meta.target.clone())
}

fn owner(meta: &TargetMeta) -> Option<ResourceName> {
    meta.owner_name().map(|owner| ResourceName::new(&meta.namespace, owner))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::OWNER_ANNOTATION;
    use crate::certificate::Certificate;
    use crate::fixtures::{PEM, resource, secret_of};
    use crate::target::render;

    fn target(name: &str, version: &str) -> Target {
        let resource = resource(name);
        let now = "2026-11-24T00:00:00Z".parse().unwrap();
        let desired = render(&resource, &[&Certificate::parse(PEM).unwrap()], now).unwrap();
        let mut target = Target::of_secret(secret_of(&desired));
        target.meta.resource_version = version.to_owned();
        target
    }

    fn name(name: &str) -> ResourceName {
        ResourceName::new("backends", name)
    }

    #[test]
    fn our_own_write_wakes_nobody_and_somebody_elses_wakes_the_owner() {
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
    fn an_object_that_goes_wakes_its_owner_unless_we_made_it_anew() {
        let mut targets = Targets::default();
        targets.learn(target("payments", "5"));
        assert_eq!(targets.remove(&target("payments", "6").meta), [name("payments")]);
        assert_eq!(targets.get("backends", &target("payments", "5").meta.target), Known::Nothing);
        targets.learn(target("payments", "8"));
        assert_eq!(targets.remove(&target("payments", "7").meta), []);
    }

    #[test]
    fn an_answer_that_comes_after_the_deletion_is_not_taken_for_an_object() {
        let mut targets = Targets::default();
        let written = target("payments", "6");
        targets.apply(written.meta.clone());
        assert_eq!(targets.remove(&target("payments", "7").meta), [name("payments")]);
        targets.learn(written.clone());
        assert_eq!(targets.get("backends", &written.meta.target), Known::Nothing);
        targets.learn(target("payments", "8"));
        assert_ne!(targets.get("backends", &written.meta.target), Known::Nothing);

        let many = |n: usize| target(&format!("t{n}"), "7").meta;
        (0..3 * Gone::MOST).for_each(|n| drop(targets.remove(&many(n))));
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
    fn a_list_removes_what_it_does_not_show_but_not_what_was_written_meanwhile() {
        let mut targets = Targets::default();
        ["a", "b", "c"].iter().for_each(|name| targets.learn(target(name, "5")));
        let scope = Scope::Namespace("backends".into());
        targets.begin_list(&scope);
        assert_eq!(targets.apply(target("a", "5").meta), []);
        targets.learn(target("b", "9"));
        assert_eq!(targets.end_list(&scope), [name("c")]);
        targets.begin_list(&Scope::Namespace("elsewhere".into()));
        assert_eq!(targets.end_list(&Scope::Namespace("elsewhere".into())), []);
        assert_ne!(targets.get("backends", &target("b", "1").meta.target), Known::Nothing);
    }
}
