//! The tags of all certificates, from the last whole list.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::aws::gateway::ClientCertificate;

/// Tags, by key.
pub type Tags = BTreeMap<String, String>;

/// The tags in a whole list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing(BTreeMap<String, Item>);

#[derive(Clone, Debug, PartialEq)]
struct Item {
    created: Option<Timestamp>,
    expires: Option<Timestamp>,
    tags: Tags,
}

impl Listing {
    /// Adds a certificate of the list.
    pub fn add(&mut self, certificate: &ClientCertificate) {
        let ClientCertificate { created, expires, tags, .. } = certificate;
        let item = Item { created: *created, expires: *expires, tags: tags.clone() };
        self.0.insert(certificate.id.clone(), item);
    }

    /// Whether any certificate has any tag. A list without tags proves nothing: AWS does not document whether the list
    /// contains tags.
    pub fn carries_tags(&self) -> bool {
        self.0.values().any(|item| !item.tags.is_empty())
    }

    /// The tags of a certificate; `None` if the list lacks the certificate.
    pub fn tags_of(&self, id: &str) -> Option<&Tags> {
        self.0.get(id).map(|item| &item.tags)
    }

    /// Whether the list has this certificate, with all of these tags.
    pub fn has_tags(&self, id: &str, tags: &Tags) -> bool {
        self.0.get(id).is_some_and(|item| item.has(tags))
    }

    /// The certificates that have all of these tags and have not ended, newest first.
    pub fn having(&self, tags: &Tags, now: Timestamp) -> Vec<&str> {
        let is_over = |item: &Item| item.expires.is_some_and(|end| end <= now);
        let mut having: Vec<_> = self.0.iter().filter(|(_, item)| item.has(tags) && !is_over(item)).collect();
        // Certificates of the same moment are in the order of their ids.
        having.sort_by_key(|(_, item)| std::cmp::Reverse(item.created));
        having.into_iter().map(|(id, _)| id.as_str()).collect()
    }
}

impl Item {
    fn has(&self, tags: &Tags) -> bool {
        tags.iter().all(|(key, value)| self.tags.get(key) == Some(value))
    }
}
