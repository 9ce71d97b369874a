//! The target: the desired object, the existing object, and the differences. Pure; the writes are in
//! [`crate::controllers::mirror`].

mod contents;
mod object;
mod ownership;
mod password;
mod render;
mod truststore;

pub use contents::{PasswordWanted, holds_active, holds_certificate, is_made_of, password_wanted, verifier_class};
pub use object::{TargetContent, TargetObject};
pub use ownership::{Ownership, is_controlled_by_another, obstacle_to_adoption, ownership};
pub use password::{NoPassword, Password, settle as settle_password};
pub use render::{Desired, Trusted, render};
pub use truststore::{Truststore, TruststoreInput};

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::api::{
    APPLIED_ANNOTATION, DIGEST_ANNOTATION, GROUP, MANAGED_LABEL, OBJECT_ANNOTATION, OWNER_ANNOTATION, TargetKind,
    TargetRef,
};

/// The metadata of an object, as the watch reports it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TargetMeta {
    /// The kind and name.
    pub target: TargetRef,
    /// The namespace.
    pub namespace: String,
    /// `metadata.uid`
    pub uid: String,
    /// `metadata.resourceVersion`
    pub resource_version: String,
    /// `metadata.labels`
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`
    pub annotations: BTreeMap<String, String>,
    /// `metadata.ownerReferences`
    pub owner_references: Vec<OwnerReference>,
    /// `metadata.finalizers`. A replacement must keep them.
    pub finalizers: Vec<String>,
    /// Whether deletion has begun.
    pub is_being_deleted: bool,
}

impl TargetMeta {
    /// Converts the metadata of an object.
    pub fn from_meta(kind: TargetKind, meta: ObjectMeta) -> Self {
        TargetMeta {
            target: TargetRef { kind, name: meta.name.unwrap_or_default() },
            namespace: meta.namespace.unwrap_or_default(),
            uid: meta.uid.unwrap_or_default(),
            resource_version: meta.resource_version.unwrap_or_default(),
            labels: meta.labels.unwrap_or_default(),
            annotations: meta.annotations.unwrap_or_default(),
            owner_references: meta.owner_references.unwrap_or_default(),
            finalizers: meta.finalizers.unwrap_or_default(),
            is_being_deleted: meta.deletion_timestamp.is_some(),
        }
    }

    /// The resource in the owner annotation, if it is in the same namespace. Earlier versions of the operator wrote no
    /// namespace.
    pub fn owner_name(&self) -> Option<&str> {
        let owner = self.annotations.get(OWNER_ANNOTATION)?;
        match owner.split_once('/') {
            Some((namespace, name)) => (namespace == self.namespace).then_some(name),
            None => Some(owner),
        }
    }

    /// The value of the object annotation: the object that the operator wrote it on. Earlier versions of the operator
    /// wrote none.
    pub fn object_mark(&self) -> Option<&str> {
        self.annotations.get(OBJECT_ANNOTATION).map(String::as_str)
    }

    /// Whether an earlier version of the operator wrote the object's annotations.
    pub fn is_of_earlier_version(&self) -> bool {
        self.object_mark().is_none() && self.annotations.get(OWNER_ANNOTATION).is_some_and(|owner| !owner.contains('/'))
    }

    /// Whether the object is a copy of a target: under another name, of another kind, or in another namespace.
    pub fn is_copy(&self) -> bool {
        let is_elsewhere =
            |owner: &String| owner.split_once('/').is_some_and(|(namespace, _)| namespace != self.namespace);
        self.object_mark().is_some_and(|object| object != object_mark(&self.target))
            || self.annotations.get(OWNER_ANNOTATION).is_some_and(is_elsewhere)
    }

    /// Whether the object has the label that the watch selects by.
    pub fn is_labelled(&self) -> bool {
        self.labels.get(MANAGED_LABEL).is_some_and(|value| value == "true")
    }

    /// The metadata without the operator's label, annotations and owner reference, and without the labels and
    /// annotations of the spec.
    pub fn released(&self) -> MergedMeta {
        let applied = Applied::of(&self.annotations);
        let mut meta = MergedMeta {
            labels: self.labels.clone(),
            annotations: self.annotations.clone(),
            owner_references: self.owner_references.iter().filter(|r| !is_our_kind(r)).cloned().collect(),
        };
        meta.labels.remove(MANAGED_LABEL);
        meta.annotations.remove(OWNER_ANNOTATION);
        meta.annotations.remove(OBJECT_ANNOTATION);
        meta.annotations.remove(APPLIED_ANNOTATION);
        meta.annotations.remove(DIGEST_ANNOTATION);
        applied.labels.iter().for_each(|key| drop(meta.labels.remove(key)));
        applied.annotations.iter().for_each(|key| drop(meta.annotations.remove(key)));
        meta
    }
}

/// The metadata of a target: the operator's metadata merged with that of other writers.
#[derive(Clone, Debug, PartialEq)]
pub struct MergedMeta {
    /// All labels.
    pub labels: BTreeMap<String, String>,
    /// All annotations.
    pub annotations: BTreeMap<String, String>,
    /// All owner references.
    pub owner_references: Vec<OwnerReference>,
}

impl MergedMeta {
    /// Whether an object has exactly this metadata.
    pub fn match_meta(&self, meta: &TargetMeta) -> bool {
        self.labels == meta.labels
            && self.annotations == meta.annotations
            && self.owner_references == meta.owner_references
    }
}

/// An existing object.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The metadata.
    pub meta: TargetMeta,
    /// The content.
    pub content: TargetContent,
}

/// The keys of the labels and annotations from `spec.target`, so that the operator can remove them later.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Applied {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    labels: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    annotations: Vec<String>,
}

impl Applied {
    /// The keys in the annotation of the object; none if the annotation is absent or invalid.
    fn of(annotations: &BTreeMap<String, String>) -> Self {
        annotations.get(APPLIED_ANNOTATION).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }
}

/// The value of the object annotation, which distinguishes the object from a copy.
fn object_mark(target: &TargetRef) -> String {
    format!("{}/{}", target.kind, target.name)
}

/// Whether an owner reference is to a ClientCertificateRef, in any version of the API.
fn is_our_kind(reference: &OwnerReference) -> bool {
    reference.kind == "ClientCertificateRef"
        && reference.api_version.split_once('/').is_some_and(|(group, _)| group == GROUP)
}
