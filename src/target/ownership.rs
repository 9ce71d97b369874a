//! The owner of an object, and whether the operator may adopt an object without an owner.

use super::{Desired, Target, TargetMeta, is_our_kind};
use crate::api::ClientCertificateRef;

/// The owner of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// This resource owns the object.
    Ours,
    /// The owner was deleted. This resource can adopt the object, if no data can be lost.
    Free,
    /// Another resource owns the object.
    OwnedBy(String),
    /// The object belongs to another writer.
    Foreign,
}

/// The owner of an object. `owner_exists` is whether the resource in its annotation exists.
///
/// The label, the owner annotation and the object annotation together mean ownership. If one of them was removed, the
/// controller reference, or the status that names the object, replaces it. A copy under another name is never ours.
pub fn ownership(meta: &TargetMeta, resource: &ClientCertificateRef, owner_exists: bool) -> Ownership {
    if meta.is_copy() {
        return Ownership::Foreign;
    }
    let is_marked = meta.object_mark().is_some();
    let was_written = resource.status.as_ref().and_then(|status| status.target.as_ref()) == Some(&meta.target);
    let is_named = was_written || resource.target_ref() == meta.target;
    let is_referenced =
        meta.owner_references.iter().any(|r| r.controller == Some(true) && is_our_kind(r) && r.uid == resource.uid());
    if is_referenced && (is_marked || is_named) {
        return Ownership::Ours;
    }
    match meta.owner_name() {
        Some(owner) if owner == resource.name() => {
            let is_ours = was_written || (meta.is_labelled() && (is_marked || is_named));
            if is_ours { Ownership::Ours } else { Ownership::Foreign }
        }
        Some(_) if !meta.is_labelled() => Ownership::Foreign,
        Some(owner) if owner_exists => Ownership::OwnedBy(owner.to_owned()),
        Some(_) => Ownership::Free,
        None if meta.is_labelled() && was_written => Ownership::Ours,
        None => Ownership::Foreign,
    }
}

/// Whether the controller of an object is another resource. The annotation does not matter: an edit of it does not
/// change the owner.
pub fn is_controlled_by_another(meta: &TargetMeta, resource: &ClientCertificateRef) -> bool {
    // The same name with another uid is this resource before it was deleted and created again.
    meta.owner_references
        .iter()
        .any(|r| r.controller == Some(true) && is_our_kind(r) && r.uid != resource.uid() && r.name != resource.name())
}

/// The labels and annotations by which tools mark the objects that they manage: the key, its value if that matters, and
/// the tool.
const MANAGERS: [(&str, Option<&str>, &str); 9] = [
    ("app.kubernetes.io/managed-by", Some("Helm"), "Helm"),
    ("meta.helm.sh/release-name", None, "Helm"),
    ("cert-manager.io/certificate-name", None, "cert-manager"),
    ("cert-manager.io/issuer-name", None, "cert-manager"),
    ("controller.cert-manager.io/fao", None, "cert-manager"),
    ("trust.cert-manager.io/bundle", None, "trust-manager"),
    ("argocd.argoproj.io/tracking-id", None, "Argo CD"),
    ("kustomize.toolkit.fluxcd.io/name", None, "Flux"),
    ("reconcile.external-secrets.io/managed", None, "External Secrets"),
];

/// The reason for which an adoption of a foreign object would lose data, as part of a message.
pub fn obstacle_to_adoption(target: &Target, desired: &Desired) -> Option<String> {
    let Target { meta, content } = target;
    let foreign_keys: Vec<&str> =
        content.keys.iter().filter(|key| !desired.data.contains_key(*key)).map(String::as_str).collect();
    if !foreign_keys.is_empty() {
        return Some(format!("it has other keys, which would be lost: {}", foreign_keys.join(", ")));
    }
    if let (Some(type_), Some(needed)) = (&content.type_, desired.type_)
        && type_ != needed
    {
        return Some(format!("its type is {type_}, not {needed}"));
    }
    if content.immutable {
        return Some("it is immutable".to_owned());
    }
    if let Some(controller) = foreign_controller(meta) {
        return Some(format!("it is controlled by {controller}"));
    }
    MANAGERS.iter().find_map(|(key, wanted, tool)| {
        let value = meta.labels.get(*key).or_else(|| meta.annotations.get(*key))?;
        wanted.is_none_or(|wanted| wanted == value).then(|| format!("it is managed by {tool} ({key})"))
    })
}

/// The controller of an object, if it is not a ClientCertificateRef. An object can have only one controller.
pub fn foreign_controller(meta: &TargetMeta) -> Option<String> {
    meta.owner_references
        .iter()
        .find(|r| r.controller == Some(true) && !is_our_kind(r))
        .map(|r| format!("{} {}", r.kind, r.name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::api::{ClientCertificateRefStatus, MANAGED_LABEL, OWNER_ANNOTATION};
    use crate::fixtures::{PEM, rendered, resource, secret_of};
    use crate::target::TargetObject;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

    fn desired(resource: &ClientCertificateRef) -> Desired {
        rendered(resource, PEM, "2026-11-24T00:00:00Z".parse().unwrap())
    }

    fn target(resource: &ClientCertificateRef) -> Target {
        secret_of(&desired(resource)).into_target()
    }

    #[test]
    fn label_and_annotation_together_are_the_mark() {
        let ours = resource("payments");
        let mut meta = target(&ours).meta;
        meta.owner_references.clear();
        assert_eq!(ownership(&meta, &ours, true), Ownership::Ours);
        meta.labels.remove(MANAGED_LABEL);
        assert_eq!(ownership(&meta, &ours, true), Ownership::Foreign, "an annotation alone is no proof");
    }

    #[test]
    fn a_target_without_its_label_and_annotations_is_recognized_by_the_owner_reference_or_the_status() {
        let mut ours = resource("payments");
        let mut meta = target(&ours).meta;
        meta.labels.clear();
        meta.annotations.clear();
        assert_eq!(ownership(&meta, &ours, false), Ownership::Ours, "by owner reference");

        let mut meta = target(&ours).meta;
        meta.owner_references.clear();
        ours.status = Some(ClientCertificateRefStatus { target: Some(ours.target_ref()), ..Default::default() });
        meta.labels.clear();
        assert_eq!(ownership(&meta, &ours, true), Ownership::Ours, "by annotation and status");
        meta.annotations.clear();
        assert_eq!(ownership(&meta, &ours, true), Ownership::Foreign, "nothing on it says so any more");
    }

    #[test]
    fn the_mark_of_another_resource_counts_while_that_resource_exists() {
        let ours = resource("payments");
        let mut meta = target(&resource("orders")).meta;
        assert_eq!(ownership(&meta, &ours, true), Ownership::OwnedBy("orders".into()));
        assert_eq!(ownership(&meta, &ours, false), Ownership::Free);
        meta.labels.remove(MANAGED_LABEL);
        assert_eq!(ownership(&meta, &ours, false), Ownership::Foreign);
    }

    #[test]
    fn an_edited_annotation_does_not_change_the_owner() {
        let (payments, orders) = (resource("payments"), resource("orders"));
        let mut meta = target(&payments).meta;
        meta.annotations.insert(OWNER_ANNOTATION.into(), "orders".into());
        assert!(is_controlled_by_another(&meta, &orders));
        assert!(!is_controlled_by_another(&meta, &payments));
        let mut restored = payments.clone();
        restored.metadata.uid = Some("another".into());
        assert!(!is_controlled_by_another(&meta, &restored), "an earlier life");
    }

    #[test]
    fn adoption_requires_that_nothing_can_be_lost() {
        let ours = resource("payments");
        let desired = desired(&ours);
        let plain = || {
            let mut target = target(&ours);
            target.meta.labels = BTreeMap::new();
            target.meta.annotations = BTreeMap::new();
            target.meta.owner_references = vec![];
            target
        };
        assert_eq!(obstacle_to_adoption(&plain(), &desired), None);

        type Change = Box<dyn Fn(&mut Target)>;
        let annotate = |key: &'static str, value: &'static str| -> Change {
            Box::new(move |t| drop(t.meta.annotations.insert(key.into(), value.into())))
        };
        let cases: [(Change, &str); 7] = [
            (Box::new(|t| t.content.keys = ["ca.crt".to_owned(), "tls.key".to_owned()].into()), "tls.key"),
            (Box::new(|t| t.content.type_ = Some("kubernetes.io/tls".into())), "kubernetes.io/tls"),
            (Box::new(|t| t.content.immutable = true), "immutable"),
            (
                Box::new(|t| {
                    t.meta.owner_references = vec![OwnerReference {
                        kind: "Certificate".into(),
                        name: "web".into(),
                        controller: Some(true),
                        ..OwnerReference::default()
                    }];
                }),
                "Certificate web",
            ),
            (Box::new(|t| drop(t.meta.labels.insert("app.kubernetes.io/managed-by".into(), "Helm".into()))), "Helm"),
            (annotate("meta.helm.sh/release-name", "web"), "Helm"),
            (annotate("cert-manager.io/certificate-name", "web"), "cert-manager"),
        ];
        for (change, named) in cases {
            let mut target = plain();
            change(&mut target);
            let obstacle = obstacle_to_adoption(&target, &desired).unwrap();
            assert!(obstacle.contains(named), "{obstacle}");
        }
        let mut map = plain();
        map.content.type_ = None;
        assert_eq!(obstacle_to_adoption(&map, &Desired { type_: None, ..desired.clone() }), None, "it has no type");
        let mut target = plain();
        target.meta.annotations.insert(OWNER_ANNOTATION.into(), "payments".into());
        assert_eq!(obstacle_to_adoption(&target, &desired), None);
    }
}
