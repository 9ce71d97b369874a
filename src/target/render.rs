//! Renders the desired object from a resource and its certificates.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::contents::{self, PasswordWanted, password_wanted};
use super::object::digest_of;
use super::{Applied, MergedMeta, Target, TargetMeta, Truststore, TruststoreInput, is_our_kind, object_mark};
use crate::api::{
    APPLIED_ANNOTATION, ClientCertificateRef, DIGEST_ANNOTATION, DeletionPolicy, GROUP, MANAGED_LABEL,
    OBJECT_ANNOTATION, OWNER_ANNOTATION, TargetRef,
};
use crate::certificate::{Block, Certificate};

/// The desired target.
#[derive(Clone, PartialEq)]
pub struct Desired {
    /// The kind and name.
    pub target: TargetRef,
    /// The namespace: always the resource's own.
    pub namespace: String,
    /// The type of a Secret; `None` for a ConfigMap.
    pub type_: Option<&'static str>,
    /// All of the data.
    pub data: BTreeMap<String, Vec<u8>>,
    /// The labels that the object must have.
    pub labels: BTreeMap<String, String>,
    /// The annotations that the object must have.
    pub annotations: BTreeMap<String, String>,
    /// The owner reference, absent with Retain.
    pub owner: Option<OwnerReference>,
    /// The truststore in the data.
    pub truststore: Option<Arc<Truststore>>,
}

/// The data may hold a password, so only the size of its values is printed.
impl fmt::Debug for Desired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes: Vec<_> = self.data.iter().map(|(key, value)| format!("{key}: {} bytes", value.len())).collect();
        f.debug_struct("Desired")
            .field("target", &self.target)
            .field("namespace", &self.namespace)
            .field("type_", &self.type_)
            .field("data", &sizes)
            .field("labels", &self.labels)
            .field("annotations", &self.annotations)
            .field("owner", &self.owner)
            .finish()
    }
}

/// The known certificates for a target.
#[derive(Clone, Debug, Default)]
pub struct Trusted<'a> {
    /// The main certificate. If it has expired since it was read, `Active` still holds it, and every other content
    /// leaves it out.
    pub main: Option<&'a Certificate>,
    /// The other certificates, in the order of the target.
    pub additional: Vec<&'a Certificate>,
}

impl<'a> Trusted<'a> {
    /// Every certificate once, in order, without the expired ones.
    fn valid(&self, now: Timestamp) -> Valid<'a> {
        let (mut seen, mut seen_anchors) = (HashSet::new(), HashSet::new());
        let all = || self.main.iter().chain(&self.additional);
        let certificates = all().flat_map(|certificate| certificate.blocks());
        let anchors = all().filter(|certificate| !certificate.is_expired(now)).flat_map(|it| it.anchors());
        Valid {
            certificates: certificates.filter(|it| !it.is_expired(now) && seen.insert(it.fingerprint)).collect(),
            anchors: anchors.filter(|it| !it.is_expired(now) && seen_anchors.insert(it.fingerprint)).collect(),
        }
    }
}

/// The certificates that are valid now.
pub(super) struct Valid<'a> {
    /// The client certificates, which pins refer to.
    pub(super) certificates: Vec<&'a Block>,
    /// The certificates that verify them: authorities, or the client certificates themselves.
    pub(super) anchors: Vec<&'a Block>,
}

/// The desired target of a resource. `None` if no certificate is valid now, because an empty file makes some servers
/// skip verification, or if a truststore has no password.
pub fn render(
    resource: &ClientCertificateRef,
    trusted: &Trusted<'_>,
    input: &TruststoreInput<'_>,
    now: Timestamp,
) -> Option<Desired> {
    let valid = trusted.valid(now);
    if valid.certificates.is_empty() {
        return None;
    }
    let password = password_wanted(resource);
    let truststore = if password.is_some() { Some(input.truststore(&valid.anchors)?) } else { None };
    let mut data = BTreeMap::new();
    for (key, content) in contents::keys(resource) {
        data.insert(key, contents::value(content, trusted.main, &valid, truststore.as_deref())?);
    }
    if let (Some(PasswordWanted::Made(key)), Some(truststore)) = (password, &truststore) {
        data.insert(key.to_owned(), truststore.password().expose().as_bytes().to_vec());
    }
    let spec = &resource.spec.target;
    let mut labels = spec.labels.clone();
    labels.insert(MANAGED_LABEL.to_owned(), "true".to_owned());
    let mut annotations = spec.annotations.clone();
    annotations.insert(OWNER_ANNOTATION.to_owned(), format!("{}/{}", resource.namespace(), resource.name()));
    annotations.insert(OBJECT_ANNOTATION.to_owned(), object_mark(&resource.target_ref()));
    let applied = Applied {
        labels: spec.labels.keys().cloned().collect(),
        annotations: spec.annotations.keys().cloned().collect(),
    };
    if !(applied.labels.is_empty() && applied.annotations.is_empty()) {
        annotations.insert(APPLIED_ANNOTATION.to_owned(), serde_json::to_string(&applied).unwrap_or_default());
    }
    let target = resource.target_ref();
    if let Some(mark) = contents::mark(resource, &digest_of(target.kind, &data)) {
        annotations.insert(DIGEST_ANNOTATION.to_owned(), mark);
    }
    Some(Desired {
        target,
        namespace: resource.namespace().to_owned(),
        type_: contents::secret_type(resource),
        data,
        labels,
        annotations,
        owner: (spec.deletion_policy == DeletionPolicy::Delete).then(|| owner_reference(resource)),
        truststore,
    })
}

fn owner_reference(resource: &ClientCertificateRef) -> OwnerReference {
    OwnerReference {
        api_version: format!("{GROUP}/v1alpha1"),
        kind: "ClientCertificateRef".to_owned(),
        name: resource.name().to_owned(),
        uid: resource.uid().to_owned(),
        controller: Some(true),
        // blockOwnerDeletion would need a permission on finalizers, and no writer waits for the deletion of the target.
        block_owner_deletion: None,
    }
}

impl Desired {
    /// The desired metadata, merged with the current metadata of the object. Labels and annotations that the operator
    /// set earlier and that are no longer desired are removed. Those of other writers stay.
    pub fn merge(&self, current: Option<&TargetMeta>) -> MergedMeta {
        let Some(current) = current else {
            return MergedMeta {
                labels: self.labels.clone(),
                annotations: self.annotations.clone(),
                owner_references: self.owner.iter().cloned().collect(),
            };
        };
        let mut merged =
            MergedMeta { owner_references: self.merge_owners(&current.owner_references), ..current.released() };
        merged.labels.extend(self.labels.clone());
        merged.annotations.extend(self.annotations.clone());
        merged
    }

    /// The first field in which a stored object differs from the sent one. The result does not contain the value, which
    /// may be a password.
    pub fn difference(&self, stored: &Target, sent: &MergedMeta) -> Option<String> {
        let changed = |kind: &str, sent: &BTreeMap<String, String>, stored: &BTreeMap<String, String>| {
            sent.iter()
                .find(|(key, value)| stored.get(*key) != Some(value))
                .map(|(key, _)| format!("metadata.{kind}[{key}]"))
        };
        if !stored.content.holds(self) {
            return Some("data".to_owned());
        }
        if stored.content.type_.as_deref() != self.type_ {
            return Some("type".to_owned());
        }
        changed("labels", &sent.labels, &stored.meta.labels)
            .or_else(|| changed("annotations", &sent.annotations, &stored.meta.annotations))
            .or_else(|| {
                let owner = self.owner.as_ref()?;
                let is_there = stored.meta.owner_references.iter().any(|reference| reference.uid == owner.uid);
                (!is_there).then(|| "metadata.ownerReferences".to_owned())
            })
    }

    /// Replaces every reference to a ClientCertificateRef: it is to this resource before a restore, which gave it a new
    /// uid, or to the deleted owner of an adopted object.
    fn merge_owners(&self, current: &[OwnerReference]) -> Vec<OwnerReference> {
        let mut owners: Vec<OwnerReference> = Vec::with_capacity(current.len() + 1);
        let mut placed = false;
        for reference in current {
            match &self.owner {
                _ if !is_our_kind(reference) => owners.push(reference.clone()),
                Some(owner) if !placed => {
                    // Our reference keeps the fields that another writer may have set, such as blockOwnerDeletion.
                    let same = reference.uid == owner.uid && reference.controller == owner.controller;
                    owners.push(if same { reference.clone() } else { owner.clone() });
                    placed = true;
                }
                _ => {}
            }
        }
        if let Some(owner) = self.owner.as_ref().filter(|_| !placed) {
            owners.push(owner.clone());
        }
        owners
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Content, Preset, Target as TargetSpec, TargetKind};
    use crate::fixtures::{OTHER_PEM, PEM, PEM_NOT_AFTER, resource};

    fn now() -> Timestamp {
        "2026-11-24T07:16:00Z".parse().unwrap()
    }

    fn rendered(resource: &ClientCertificateRef) -> Desired {
        crate::fixtures::rendered(resource, PEM, now())
    }

    fn meta(desired: &Desired) -> TargetMeta {
        let merged = desired.merge(None);
        TargetMeta {
            target: desired.target.clone(),
            namespace: "backends".into(),
            uid: "t".into(),
            resource_version: "1".into(),
            labels: merged.labels,
            annotations: merged.annotations,
            owner_references: merged.owner_references,
            finalizers: vec![],
            is_being_deleted: false,
        }
    }

    #[test]
    fn the_default_is_a_bundle_in_ca_crt_of_a_secret_named_like_the_resource() {
        let desired = rendered(&resource("payments"));
        assert_eq!((desired.target.name.as_str(), desired.type_), ("payments", Some("Opaque")));
        assert_eq!(desired.data, BTreeMap::from([("ca.crt".to_owned(), PEM.as_bytes().to_vec())]));
        assert_eq!(desired.labels, BTreeMap::from([(MANAGED_LABEL.to_owned(), "true".to_owned())]));
        let annotations = [(OBJECT_ANNOTATION, "Secret/payments"), (OWNER_ANNOTATION, "backends/payments")];
        let annotations = annotations.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(desired.annotations, BTreeMap::from(annotations));
        let owner = desired.owner.unwrap();
        assert_eq!((owner.uid.as_str(), owner.controller), ("uid-payments", Some(true)));
    }

    #[test]
    fn a_config_map_has_the_same_data_and_no_type() {
        let mut resource = resource("payments");
        let secret = rendered(&resource);
        resource.spec.target.kind = TargetKind::ConfigMap;
        let map = rendered(&resource);
        assert_eq!((map.target.to_string().as_str(), map.type_), ("ConfigMap payments", None));
        assert_eq!((map.data, map.labels, map.owner), (secret.data, secret.labels, secret.owner));
    }

    #[test]
    fn a_preset_and_a_map_of_keys_name_the_keys() {
        let mut resource = resource("payments");
        resource.spec.target.preset = Some(Preset::TlsCrt);
        assert!(rendered(&resource).data.contains_key("tls.crt"));
        resource.spec.target = TargetSpec {
            keys: Some(BTreeMap::from([("all.pem".into(), Content::Bundle), ("one.pem".into(), Content::Active)])),
            ..TargetSpec::default()
        };
        let two = Certificate::parse(&format!("{PEM}{OTHER_PEM}")).unwrap();
        let one = Certificate::parse(PEM).unwrap();
        let desired = render(
            &resource,
            &Trusted { main: Some(&two), additional: vec![&one] },
            &TruststoreInput::default(),
            now(),
        )
        .unwrap();
        assert_eq!(desired.data["all.pem"], format!("{PEM}{OTHER_PEM}").into_bytes(), "each once");
        assert_eq!(desired.data["one.pem"], PEM.as_bytes());
    }

    #[test]
    fn no_target_is_rendered_without_a_valid_certificate() {
        let certificate = Certificate::parse(PEM).unwrap();
        let trusted = Trusted { main: Some(&certificate), additional: vec![&certificate] };
        assert_eq!(
            render(&resource("payments"), &trusted, &TruststoreInput::default(), PEM_NOT_AFTER.parse().unwrap()),
            None
        );
        assert_eq!(render(&resource("payments"), &Trusted::default(), &TruststoreInput::default(), now()), None);
    }

    #[test]
    fn retain_has_no_owner_reference_and_removes_a_former_one() {
        let mut resource = resource("payments");
        let before = meta(&rendered(&resource));
        resource.spec.target.deletion_policy = DeletionPolicy::Retain;
        let desired = rendered(&resource);
        assert_eq!(desired.owner, None);
        assert_eq!(desired.merge(Some(&before)).owner_references, []);
    }

    #[test]
    fn metadata_of_other_writers_stays_and_removed_metadata_of_the_spec_goes() {
        let mut resource = resource("payments");
        resource.spec.target.labels = BTreeMap::from([("team".into(), "a".into())]);
        resource.spec.target.annotations = BTreeMap::from([("note".into(), "b".into())]);
        let mut current = meta(&rendered(&resource));
        current.labels.insert("foreign".into(), "stays".into());
        current.annotations.insert("foreign".into(), "stays".into());
        assert!(rendered(&resource).merge(Some(&current)).match_meta(&current), "nothing to do");

        resource.spec.target.labels = BTreeMap::from([("stage".into(), "prod".into())]);
        resource.spec.target.annotations.clear();
        let merged = rendered(&resource).merge(Some(&current));
        assert_eq!(merged.labels.keys().collect::<Vec<_>>(), [MANAGED_LABEL, "foreign", "stage"]);
        assert!(!merged.annotations.contains_key("note") && merged.annotations["foreign"] == "stays");
    }

    #[test]
    fn a_restored_resource_renews_its_owner_reference_and_leaves_others() {
        let mut resource = resource("payments");
        let mut current = meta(&rendered(&resource));
        let foreign =
            OwnerReference { kind: "Deployment".into(), api_version: "apps/v1".into(), ..OwnerReference::default() };
        current.owner_references.insert(0, foreign.clone());
        resource.metadata.uid = Some("new-uid".into());
        let owners = rendered(&resource).merge(Some(&current)).owner_references;
        assert_eq!(owners.len(), 2);
        assert_eq!((&owners[0], owners[1].uid.as_str()), (&foreign, "new-uid"));
    }
}
