//! Who owns the description of a certificate: the oldest resource that asks for one and may read the certificate.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use crate::api::ClientCertificateRef;
use crate::api::ResourceName;
use crate::conditions::{ConditionType, Reason, find, has_reason, is_true};
use crate::description::Claim;
use crate::gateway::CertificateKey;

/// The order among claims: the oldest first, then by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claimant {
    created: Timestamp,
    resource: ResourceName,
}

impl Claimant {
    fn of(resource: &ClientCertificateRef) -> Self {
        Claimant {
            created: resource.metadata.creation_timestamp.as_ref().map(|time| time.0).unwrap_or_default(),
            resource: ResourceName::new(resource.namespace(), resource.name()),
        }
    }
}

/// All claims to descriptions.
#[derive(Debug, Default)]
pub struct Claims {
    by_certificate: HashMap<CertificateKey, BTreeMap<Claimant, String>>,
    by_resource: HashMap<ResourceName, (CertificateKey, Claimant)>,
}

impl Claims {
    /// A resource is there, in this state. Answers whose claims are decided differently now.
    pub fn apply(
        &mut self,
        resource: &ClientCertificateRef,
        certificate: Option<&CertificateKey>,
    ) -> Vec<ResourceName> {
        let claimant = Claimant::of(resource);
        let entry =
            certificate.filter(|certificate| is_claim(resource, certificate)).zip(resource.spec.description.clone());
        let mut woken = Vec::new();
        if let Some((old_certificate, old)) = self.by_resource.get(&claimant.resource).cloned()
            && entry.as_ref().is_none_or(|(certificate, _)| **certificate != old_certificate || old != claimant)
        {
            woken.extend(self.take(&claimant.resource));
        }
        if let Some((certificate, text)) = entry {
            woken.extend(self.change(certificate, |claims| drop(claims.insert(claimant.clone(), text))));
            self.by_resource.insert(claimant.resource.clone(), (certificate.clone(), claimant.clone()));
        }
        woken.retain(|name| *name != claimant.resource);
        woken
    }

    /// A resource is gone. Answers whose claims are decided differently now.
    pub fn remove(&mut self, resource: &ResourceName) -> Vec<ResourceName> {
        self.take(resource)
    }

    /// Whose the description is, as this resource has to see it once it has read the certificate.
    pub fn decide(&self, resource: &ClientCertificateRef, certificate: &CertificateKey) -> Claim {
        let me = Claimant::of(resource);
        let first = self.by_certificate.get(certificate).and_then(|claims| claims.first_key_value());
        match first.filter(|(first, _)| **first < me) {
            None => Claim::Mine,
            Some((owner, text)) => Claim::Theirs {
                owner: format!("{}/{}", owner.resource.namespace, owner.resource.name),
                same_text: Some(text) == resource.spec.description.as_ref(),
            },
        }
    }

    fn take(&mut self, resource: &ResourceName) -> Vec<ResourceName> {
        match self.by_resource.remove(resource) {
            Some((certificate, claimant)) => self.change(&certificate, |claims| drop(claims.remove(&claimant))),
            None => Vec::new(),
        }
    }

    /// Changes the claims to one description; everybody with a claim is told if the first among them, or its text,
    /// changed by that.
    fn change(
        &mut self,
        certificate: &CertificateKey,
        change: impl FnOnce(&mut BTreeMap<Claimant, String>),
    ) -> Vec<ResourceName> {
        let claims = self.by_certificate.entry(certificate.clone()).or_default();
        let first =
            |claims: &BTreeMap<Claimant, String>| claims.first_key_value().map(|(c, text)| (c.clone(), text.clone()));
        let before = first(claims);
        change(claims);
        let changed = before != first(claims);
        let woken = if changed { claims.keys().map(|c| c.resource.clone()).collect() } else { Vec::new() };
        if claims.is_empty() {
            self.by_certificate.remove(certificate);
        }
        woken
    }
}

/// Whether a resource has a claim: it wants a description and may read the certificate.
///
/// Where that is not known yet it counts too, so that a younger resource waits for it instead of writing a text that is
/// overwritten a moment later; and a read that fails for a while takes no claim away.
fn is_claim(resource: &ClientCertificateRef, certificate: &CertificateKey) -> bool {
    if resource.spec.description.is_none() || resource.is_being_deleted() {
        return false;
    }
    let conditions = resource.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let read = find(conditions, ConditionType::CertificateRead);
    if resource.spec.suspend {
        // Nothing is read now. What was read before it was suspended keeps its claim.
        let last = resource.status.as_ref().and_then(|status| status.certificates.first());
        return is_true(conditions, ConditionType::CertificateRead)
            && last.is_some_and(|last| last.id == certificate.id);
    }
    let undecided = read.is_none_or(|read| read.observed_generation != resource.generation());
    undecided
        || is_true(conditions, ConditionType::CertificateRead)
        || has_reason(conditions, ConditionType::CertificateRead, Reason::Throttled)
        || has_reason(conditions, ConditionType::CertificateRead, Reason::Unavailable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ClientCertificateRefStatus;
    use crate::conditions::{Finding, set};
    use crate::fixtures::resource;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn certificate() -> CertificateKey {
        CertificateKey { account: None, region: "us-east-1".into(), id: "9ao60f".into() }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn claimant(name: &str, created: i64, text: &str, read: Option<Finding>) -> ClientCertificateRef {
        let mut resource = resource(name);
        resource.metadata.creation_timestamp = Some(Time(at(created)));
        resource.spec.description = Some(text.to_owned());
        let mut status = ClientCertificateRefStatus::default();
        if let Some(read) = read {
            set(&mut status.conditions, ConditionType::CertificateRead, read, Some(1), at(created));
        }
        resource.status = Some(status);
        resource
    }

    fn good() -> Option<Finding> {
        Some(Finding::yes(Reason::Read, ""))
    }

    fn name(name: &str) -> ResourceName {
        ResourceName::new("backends", name)
    }

    fn theirs(owner: &str, same_text: bool) -> Claim {
        Claim::Theirs { owner: format!("backends/{owner}"), same_text }
    }

    #[test]
    fn the_oldest_wins_and_a_tie_is_decided_by_name() {
        let mut claims = Claims::default();
        let (old, young, tie) =
            (claimant("z-old", 1, "a", good()), claimant("b", 2, "b", good()), claimant("a", 2, "a", good()));
        for resource in [&young, &tie, &old] {
            claims.apply(resource, Some(&certificate()));
        }
        assert_eq!(claims.decide(&old, &certificate()), Claim::Mine);
        assert_eq!(claims.decide(&tie, &certificate()), theirs("z-old", true));
        assert_eq!(claims.decide(&young, &certificate()), theirs("z-old", false));
        assert_eq!(claims.remove(&name("z-old")), [name("a"), name("b")]);
        assert_eq!(claims.decide(&tie, &certificate()), Claim::Mine);
        assert_eq!(claims.decide(&young, &certificate()), theirs("a", false));
    }

    #[test]
    fn only_what_changes_the_decision_wakes_the_others() {
        let mut claims = Claims::default();
        assert_eq!(claims.apply(&claimant("old", 1, "a", good()), Some(&certificate())), []);
        assert_eq!(claims.apply(&claimant("young", 2, "b", good()), Some(&certificate())), []);
        assert_eq!(claims.apply(&claimant("young", 2, "c", good()), Some(&certificate())), []);
        assert_eq!(claims.apply(&claimant("old", 1, "c", good()), Some(&certificate())), [name("young")]);
        let mut without = claimant("old", 1, "c", good());
        without.spec.description = None;
        assert_eq!(claims.apply(&without, Some(&certificate())), [name("young")]);
    }

    #[test]
    fn a_resource_that_may_not_read_the_certificate_has_no_claim() {
        let mut claims = Claims::default();
        let young = claimant("young", 2, "b", good());
        for (read, claim) in [
            (Finding::no(Reason::AccessDenied, ""), Claim::Mine),
            (Finding::no(Reason::NotFound, ""), Claim::Mine),
            (Finding::no(Reason::Throttled, ""), theirs("old", false)),
            (Finding::no(Reason::Unavailable, ""), theirs("old", false)),
            (Finding::yes(Reason::Read, ""), theirs("old", false)),
        ] {
            claims.apply(&claimant("old", 1, "a", Some(read.clone())), Some(&certificate()));
            assert_eq!(claims.decide(&young, &certificate()), claim, "{read:?}");
        }
        claims.apply(&claimant("old", 1, "a", None), Some(&certificate()));
        assert_eq!(claims.decide(&young, &certificate()), theirs("old", false), "not read yet: the younger waits");
    }

    #[test]
    fn a_suspended_resource_keeps_a_claim_that_it_had() {
        let mut claims = Claims::default();
        let young = claimant("young", 2, "b", good());
        let mut old = claimant("old", 1, "a", good());
        old.spec.suspend = true;
        claims.apply(&old, Some(&certificate()));
        assert_eq!(claims.decide(&young, &certificate()), Claim::Mine, "it never held this certificate");
        let held = crate::api::CertificateStatus { id: "9ao60f".into(), ..Default::default() };
        if let Some(status) = &mut old.status {
            status.certificates = vec![held];
        }
        claims.apply(&old, Some(&certificate()));
        assert_eq!(claims.decide(&young, &certificate()), theirs("old", false));
    }
}
