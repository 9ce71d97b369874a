//! Secrets and ConfigMaps as targets: writing and reading. All other code treats the two alike.

use std::collections::BTreeMap;
use std::fmt::Debug;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{ByteString, Metadata, NamespaceResourceScope, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::{Desired, MergedMeta, Password, Target, TargetMeta, contents};
use crate::api::{ClientCertificateRef, DIGEST_ANNOTATION, TargetKind};
use crate::certificate::{Fingerprint, fingerprints};

/// A kind of object that can be a target.
pub trait TargetObject:
    Resource<Scope = NamespaceResourceScope>
    + Metadata<Ty = ObjectMeta>
    + Serialize
    + DeserializeOwned
    + Clone
    + Debug
    + Send
    + Sync
    + 'static
{
    const TARGET_KIND: TargetKind;

    /// An object with the desired content.
    fn with(desired: &Desired, metadata: ObjectMeta, immutable: Option<bool>) -> Self;

    /// The content of the object.
    fn content(&self) -> TargetContent;

    /// The object to write. `current` is the object that it replaces.
    fn of_desired(desired: &Desired, meta: MergedMeta, current: Option<&TargetMeta>, immutable: bool) -> Self {
        let metadata = ObjectMeta {
            name: Some(desired.target.name.clone()),
            namespace: Some(desired.namespace.clone()),
            uid: current.map(|current| current.uid.clone()),
            resource_version: current.map(|current| current.resource_version.clone()),
            finalizers: current.map(|current| current.finalizers.clone()).filter(|finalizers| !finalizers.is_empty()),
            labels: Some(meta.labels),
            annotations: Some(meta.annotations),
            owner_references: Some(meta.owner_references),
            ..ObjectMeta::default()
        };
        Self::with(desired, metadata, immutable.then_some(true))
    }

    /// Converts an existing object.
    fn into_target(mut self) -> Target {
        let content = self.content();
        Target { meta: TargetMeta::from_meta(Self::TARGET_KIND, std::mem::take(self.metadata_mut())), content }
    }
}

impl TargetObject for Secret {
    const TARGET_KIND: TargetKind = TargetKind::Secret;

    fn with(desired: &Desired, metadata: ObjectMeta, immutable: Option<bool>) -> Self {
        let data = desired.data.iter().map(|(key, value)| (key.clone(), ByteString(value.clone()))).collect();
        let type_ = desired.type_.map(str::to_owned);
        Secret { metadata, data: Some(data), type_, immutable, ..Secret::default() }
    }

    fn content(&self) -> TargetContent {
        let data = || self.data.iter().flatten();
        TargetContent {
            type_: Some(self.type_.clone().unwrap_or_else(|| "Opaque".to_owned())),
            immutable: self.immutable.unwrap_or_default(),
            keys: data().map(|(key, _)| key.clone()).collect(),
            certificates: data().map(|(_, value)| fingerprints(&value.0)).collect(),
            digest: digest(data().map(|(key, value)| (Place::Data, key.as_str(), value.0.as_slice()))),
            more: More::of(&self.metadata, data().map(|(key, value)| (key.as_str(), value.0.as_slice()))),
        }
    }
}

impl TargetObject for ConfigMap {
    const TARGET_KIND: TargetKind = TargetKind::ConfigMap;

    fn with(desired: &Desired, metadata: ObjectMeta, immutable: Option<bool>) -> Self {
        let mut map = ConfigMap { metadata, immutable, ..ConfigMap::default() };
        for (key, value) in &desired.data {
            match str::from_utf8(value) {
                Ok(text) => drop(map.data.get_or_insert_default().insert(key.clone(), text.to_owned())),
                Err(_) => {
                    let binary = map.binary_data.get_or_insert_default();
                    binary.insert(key.clone(), ByteString(value.clone()));
                }
            }
        }
        map
    }

    fn content(&self) -> TargetContent {
        let data = || self.data.iter().flatten();
        let binary = || self.binary_data.iter().flatten();
        let of_data = data().map(|(key, value)| (Place::Data, key.as_str(), value.as_bytes()));
        let of_binary = binary().map(|(key, value)| (Place::BinaryData, key.as_str(), value.0.as_slice()));
        TargetContent {
            type_: None,
            immutable: self.immutable.unwrap_or_default(),
            keys: data().map(|(key, _)| key).chain(binary().map(|(key, _)| key)).cloned().collect(),
            // PEM is text. A server that reads `data` does not find a certificate in `binaryData`.
            certificates: data()
                .map(|(_, value)| fingerprints(value.as_bytes()))
                .chain(binary().map(|_| Box::default()))
                .collect(),
            digest: digest(of_data.chain(of_binary)),
            more: More::of(&self.metadata, data().map(|(key, value)| (key.as_str(), value.as_bytes()))),
        }
    }
}

/// The content of an object, as far as comparisons need it. It does not contain the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetContent {
    /// The type of a Secret; `None` for a ConfigMap.
    pub type_: Option<String>,
    /// Whether the object is immutable.
    pub immutable: bool,
    /// The keys of all data.
    pub keys: Box<[String]>,
    /// The certificates in the value of each key, in the order of the keys; empty if the value holds anything else.
    pub certificates: Box<[Box<[Fingerprint]>]>,
    digest: [u8; 32],
    more: Option<Box<More>>,
}

/// The further content of a target that holds more than certificates. It is absent in most targets, of which there may
/// be very many.
#[derive(Clone, Debug, PartialEq, Eq)]
struct More {
    /// The digest in the operator's annotation.
    mark: Option<Box<str>>,
    /// The values that may be the password of a truststore.
    passwords: Box<[(Box<str>, Password)]>,
}

impl More {
    fn of<'a>(meta: &ObjectMeta, data: impl Iterator<Item = (&'a str, &'a [u8])>) -> Option<Box<Self>> {
        let mark = meta.annotations.iter().flatten().find(|(key, _)| *key == DIGEST_ANNOTATION);
        let mark = mark.map(|(_, mark)| mark.as_str().into());
        let passwords: Box<_> = data.filter_map(|(key, value)| Some((key.into(), Password::made(value)?))).collect();
        (mark.is_some() || !passwords.is_empty()).then(|| Box::new(More { mark, passwords }))
    }
}

impl TargetContent {
    /// Whether the data equals the desired data.
    pub fn holds(&self, desired: &Desired) -> bool {
        self.digest == digest_of(desired.target.kind, &desired.data)
    }

    /// The value of a key, if it may be the password of a truststore.
    pub fn password(&self, key: &str) -> Option<&Password> {
        let passwords = self.more.iter().flat_map(|more| &more.passwords);
        passwords.filter(|(name, _)| **name == *key).map(|(_, password)| password).next()
    }

    /// Whether the data still has the digest in the operator's annotation; true if there is no annotation.
    pub(super) fn is_as_marked(&self, resource: &ClientCertificateRef) -> bool {
        let marked = self.more.as_ref().and_then(|more| more.mark.as_deref());
        contents::mark(resource, &self.digest).is_none_or(|mark| marked == Some(&mark))
    }
}

/// The digest of data in an object of this kind.
pub(super) fn digest_of(kind: TargetKind, data: &BTreeMap<String, Vec<u8>>) -> [u8; 32] {
    let placed = data.iter().map(|(key, value)| (Place::of(kind, value), key.as_str(), value.as_slice()));
    let mut placed: Vec<_> = placed.collect();
    placed.sort_by_key(|(place, ..)| *place);
    digest(placed.into_iter())
}

/// The field of an object that holds a value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Data,
    /// For binary values of a ConfigMap, whose `data` is text.
    BinaryData,
}

impl Place {
    fn of(kind: TargetKind, value: &[u8]) -> Self {
        match kind {
            TargetKind::ConfigMap if str::from_utf8(value).is_err() => Place::BinaryData,
            TargetKind::ConfigMap | TargetKind::Secret => Place::Data,
        }
    }
}

fn digest<'a>(data: impl Iterator<Item = (Place, &'a str, &'a [u8])>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for (place, key, value) in data {
        // Each length comes before its bytes, so that different data never gives the same input.
        hash.update([place as u8]);
        hash.update((key.len() as u64).to_be_bytes());
        hash.update(key);
        hash.update((value.len() as u64).to_be_bytes());
        hash.update(value);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ClientCertificateRef;
    use crate::fixtures::{OTHER_PEM, PEM, PEM_FINGERPRINT, rendered, resource};
    use crate::target::is_made_of;

    fn of_kind(kind: TargetKind) -> (ClientCertificateRef, Desired) {
        let mut resource = resource("payments");
        resource.spec.target.kind = kind;
        let desired = rendered(&resource, PEM, "2026-11-24T00:00:00Z".parse().unwrap());
        (resource, desired)
    }

    fn secret(data: &[(&str, &str)]) -> Secret {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        Secret { data: Some(data.collect()), ..Secret::default() }
    }

    fn config_map(data: &[(&str, &str)], binary: &[(&str, &str)]) -> ConfigMap {
        let text = data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        ConfigMap { data: Some(text.collect()), binary_data: secret(binary).data, ..ConfigMap::default() }
    }

    #[test]
    fn content_is_compared_byte_by_byte_in_both_kinds() {
        let (of_secret, of_map) = (of_kind(TargetKind::Secret).1, of_kind(TargetKind::ConfigMap).1);
        assert!(secret(&[("ca.crt", PEM)]).content().holds(&of_secret));
        assert!(config_map(&[("ca.crt", PEM)], &[]).content().holds(&of_map));
        for data in [&[("ca.crt", OTHER_PEM)][..], &[("ca.crt", PEM), ("more", "")], &[("ca.cr", PEM)], &[]] {
            assert!(!secret(data).content().holds(&of_secret), "{data:?}");
            assert!(!config_map(data, &[]).content().holds(&of_map), "{data:?}");
        }
    }

    #[test]
    fn an_unknown_key_or_the_wrong_field_of_a_config_map_is_a_difference() {
        let (resource, desired) = of_kind(TargetKind::ConfigMap);
        for (data, binary) in [
            (&[("ca.crt", PEM)][..], &[("more", "x")][..]),
            (&[("ca.crt", PEM), ("more", "x")], &[]),
            (&[], &[("ca.crt", PEM)]),
        ] {
            let content = config_map(data, binary).content();
            assert!(!content.holds(&desired), "{data:?} {binary:?}");
            assert!(
                !is_made_of(&content, &resource, &[PEM_FINGERPRINT], &[PEM_FINGERPRINT.to_owned()]),
                "{data:?} {binary:?}"
            );
        }
        let content = config_map(&[("a", ""), ("c", "")], &[("b", "")]).content();
        assert_eq!((&*content.keys, content.certificates.len()), (&["a", "c", "b"].map(str::to_owned)[..], 3));
    }

    #[test]
    fn the_written_object_is_the_desired_one_in_both_kinds() {
        let mut desired = of_kind(TargetKind::Secret).1;
        let meta = desired.merge(None);
        let written = Secret::of_desired(&desired, meta.clone(), None, false);
        assert_eq!((written.type_.as_deref(), written.immutable), (Some("Opaque"), None));
        assert!(written.content().holds(&desired));

        desired = of_kind(TargetKind::ConfigMap).1;
        let written = ConfigMap::of_desired(&desired, meta.clone(), None, true);
        assert_eq!(written.data, Some(BTreeMap::from([("ca.crt".to_owned(), PEM.to_owned())])));
        assert_eq!((&written.binary_data, written.immutable), (&None, Some(true)));
        assert_eq!(written.content().type_, None);
        assert!(written.content().holds(&desired));

        // The binary key sorts before the text key, so that the order of the fields matters.
        desired.data.insert("a.bin".to_owned(), vec![0xff, 0x00]);
        let written = ConfigMap::of_desired(&desired, meta, None, false);
        assert_eq!(written.binary_data.as_ref().unwrap()["a.bin"].0, [0xff, 0x00]);
        assert!(written.content().holds(&desired));
    }

    #[test]
    fn a_target_has_only_the_named_certificates() {
        let made_of = |content: TargetContent, kind| {
            is_made_of(&content, &of_kind(kind).0, &[PEM_FINGERPRINT], &[PEM_FINGERPRINT.to_owned()])
        };
        let both = |data: &[(&str, &str)]| {
            let of_secret = made_of(secret(data).content(), TargetKind::Secret);
            assert_eq!(of_secret, made_of(config_map(data, &[]).content(), TargetKind::ConfigMap), "{data:?}");
            of_secret
        };
        assert!(both(&[("ca.crt", PEM)]));
        let appended = format!("{PEM}{OTHER_PEM}");
        for data in [
            &[("ca.crt", appended.as_str())][..],
            &[("ca.crt", OTHER_PEM)],
            &[("ca.crt", "")],
            &[("ca.crt", PEM), ("more", PEM)],
            &[("tls.crt", PEM)],
            &[],
        ] {
            assert!(!both(data), "{data:?}");
        }
    }
}
