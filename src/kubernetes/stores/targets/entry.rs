//! A target in the index: small, because there is one for every resource, and parsed once in a reconcile.

use crate::target::{Target, TargetContent, TargetMeta};

/// The known data of one object.
#[derive(Debug)]
pub(super) struct Entry {
    /// The metadata as JSON, which takes a fraction of the memory of parsed maps and lists.
    meta: Box<str>,
    version: Box<str>,
    owner: Option<Box<str>>,
    content: Option<Box<TargetContent>>,
}

impl Entry {
    /// Serializes the metadata of an object, and keeps its content.
    pub(super) fn new(meta: &TargetMeta, content: Option<TargetContent>) -> Self {
        Entry {
            // The serialization of maps of text cannot fail. An object with an empty text would count as not read.
            meta: serde_json::to_string(meta).unwrap_or_default().into(),
            version: meta.resource_version.as_str().into(),
            owner: meta.owner_name().map(Into::into),
            content: content.map(Box::new),
        }
    }

    /// The whole object, if its content is known.
    pub(super) fn target(&self) -> Option<Target> {
        Some(Target { content: TargetContent::clone(self.content.as_ref()?), meta: self.meta()? })
    }

    /// Drops the content, so that the next read goes to the API server.
    pub(super) fn forget_content(&mut self) {
        self.content = None;
    }

    /// The metadata.
    pub(super) fn meta(&self) -> Option<TargetMeta> {
        serde_json::from_str(&self.meta).ok()
    }

    /// The resourceVersion of the known data.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// The resource in the owner annotation of the object.
    pub(super) fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }
}
