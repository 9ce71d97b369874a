//! A target as the index keeps it: small, because there is one for every resource, and parsed once a reconcile.

use crate::target::{Target, TargetContent, TargetMeta};

/// What is known of one object.
#[derive(Debug)]
pub(super) struct Entry {
    /// As JSON, which takes a fraction of what the parsed maps and lists take.
    meta: Box<str>,
    version: Box<str>,
    owner: Option<Box<str>>,
    content: Option<Box<TargetContent>>,
}

impl Entry {
    /// Serializes what is known of an object.
    pub(super) fn new(meta: &TargetMeta, content: Option<TargetContent>) -> Self {
        Entry {
            // Maps of text cannot fail to be written; should they, the object counts as not read.
            meta: serde_json::to_string(meta).unwrap_or_default().into(),
            version: meta.resource_version.as_str().into(),
            owner: meta.owner_name().map(Into::into),
            content: content.map(Box::new),
        }
    }

    /// All of the object, where its content is known.
    pub(super) fn target(&self) -> Option<Target> {
        Some(Target { content: TargetContent::clone(self.content.as_ref()?), meta: self.meta()? })
    }

    /// Forgets the content, so that the next read goes to the API server.
    pub(super) fn forget_content(&mut self) {
        self.content = None;
    }

    /// The metadata.
    pub(super) fn meta(&self) -> Option<TargetMeta> {
        serde_json::from_str(&self.meta).ok()
    }

    /// The version that this is known of.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// The resource that the object says it belongs to.
    pub(super) fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }
}
