//! Which events of the watch on resources are news. A status is not: that is our own writing.
//!
//! What a list shows is held back until the list has ended, because only then the cache holds it: a resource that was
//! made while the watch was down would be looked up in vain, and one that was changed would be taken for its old self.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};

use crate::api::{REFRESH_ANNOTATION, ResourceName};
use crate::reconcile::Watched;

/// The resources of a scope, each as it was when it was last told of.
#[derive(Debug, Default)]
pub struct Changes {
    seen: HashMap<ResourceName, u64>,
    listing: HashMap<ResourceName, u64>,
}

impl Changes {
    /// Takes note of an event, and answers which resources to look at because of it.
    pub fn note(&mut self, event: &Event<Watched>) -> Vec<ResourceName> {
        match event {
            Event::Apply(resource) => {
                let (name, state) = (name_of(resource), state_of(resource));
                let is_news = self.seen.insert(name.clone(), state) != Some(state);
                if is_news { vec![name] } else { Vec::new() }
            }
            Event::Delete(resource) => {
                self.seen.remove(&name_of(resource));
                Vec::new()
            }
            Event::Init => {
                self.listing.clear();
                Vec::new()
            }
            Event::InitApply(resource) => {
                self.listing.insert(name_of(resource), state_of(resource));
                Vec::new()
            }
            Event::InitDone => {
                let before = std::mem::replace(&mut self.seen, std::mem::take(&mut self.listing));
                let news = self.seen.iter().filter(|(name, state)| before.get(*name) != Some(*state));
                news.map(|(name, _)| name.clone()).collect()
            }
        }
    }
}

/// The name of a resource, of one that does not parse too.
pub fn name_of(resource: &Watched) -> ResourceName {
    ResourceName::new(&resource.namespace().unwrap_or_default(), &resource.name_any())
}

/// What of a resource matters: which life of it, which spec, whether a refresh is asked for, whether it is going.
fn state_of(resource: &Watched) -> u64 {
    let meta = resource.meta();
    let refresh = meta.annotations.as_ref().and_then(|annotations| annotations.get(REFRESH_ANNOTATION));
    let mut hash = DefaultHasher::new();
    (&meta.uid, &meta.resource_version, meta.generation, refresh, meta.deletion_timestamp.is_some()).hash(&mut hash);
    hash.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ClientCertificateRefStatus;
    use crate::fixtures::resource;

    fn watched(name: &str, generation: i64) -> Watched {
        let mut resource = resource(name);
        resource.metadata.generation = Some(generation);
        resource.into()
    }

    fn names(mut woken: Vec<ResourceName>) -> Vec<String> {
        woken.sort();
        woken.into_iter().map(|resource| resource.name).collect()
    }

    #[test]
    fn a_changed_spec_is_news_and_a_changed_status_is_not() {
        let mut changes = Changes::default();
        assert_eq!(names(changes.note(&Event::Apply(watched("a", 1)))), ["a"]);
        let mut with_status = resource("a");
        with_status.status = Some(ClientCertificateRefStatus::default());
        assert_eq!(names(changes.note(&Event::Apply(with_status.into()))), [""; 0]);
        assert_eq!(names(changes.note(&Event::Apply(watched("a", 2)))), ["a"]);
    }

    #[test]
    fn an_annotation_a_deletion_and_another_life_are_news() {
        let mut changes = Changes::default();
        let mut a = resource("a");
        let mut note = |resource: &crate::api::ClientCertificateRef| {
            !changes.note(&Event::Apply(resource.clone().into())).is_empty()
        };
        assert!(note(&a) && !note(&a));
        a.metadata.annotations = Some([(REFRESH_ANNOTATION.to_owned(), "1".to_owned())].into());
        assert!(note(&a) && !note(&a));
        a.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH));
        assert!(note(&a) && !note(&a));
        a.metadata.uid = Some("another".into());
        assert!(note(&a) && !note(&a));
    }

    #[test]
    fn a_list_tells_at_its_end_what_is_new_in_it() {
        let mut changes = Changes::default();
        for name in ["a", "b", "c"] {
            changes.note(&Event::Apply(watched(name, 1)));
        }
        for event in [Event::Init, Event::InitApply(watched("a", 1)), Event::InitApply(watched("b", 2))] {
            assert_eq!(names(changes.note(&event)), [""; 0]);
        }
        assert_eq!(names(changes.note(&Event::InitApply(watched("d", 1)))), [""; 0]);
        assert_eq!(names(changes.note(&Event::InitDone)), ["b", "d"]);
        assert_eq!(names(changes.note(&Event::Apply(watched("c", 1)))), ["c"], "it was gone");
    }
}
