//! Decides which resource owns the description of a certificate: the oldest one that has `spec.description` and may
//! read the certificate. Pure.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use super::attempts::{Recorded, Wish};
use crate::api::{ClientCertificateRef, ResourceName};
use crate::aws::gateway::{CertificateKey, Source};
use crate::conditions::{ConditionType, Reason, find};

/// The order of claims: by age, the oldest first, then by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Age {
    created: Timestamp,
    resource: ResourceName,
}

/// A resource with `spec.description`.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    pub resource: ResourceName,
    /// The uid of the resource.
    pub uid: String,
    /// The text of `spec.description`.
    pub text: String,
    /// The certificate, with the place where the resource reads it.
    pub source: Source,
    /// A change of the wish causes a retry at once.
    pub wish: Wish,
    /// Whether the resource is suspended: then the operator sends no description for it.
    pub is_suspended: bool,
    /// The result of the description in the status of the resource.
    pub recorded: Recorded,
    /// Whether the status has a read failure that a retry does not cure. The status may be out of date.
    pub has_failed: bool,
}

/// The claims to every description.
#[derive(Debug, Default)]
pub struct Claims {
    by_certificate: HashMap<CertificateKey, BTreeMap<Age, Claim>>,
    by_resource: HashMap<ResourceName, (CertificateKey, Age)>,
}

impl Claims {
    /// Updates the claim of a resource. `reads` is the certificate that the resource may describe, if any. Returns the
    /// other resources whose ownership of a description may change.
    pub fn apply(
        &mut self,
        resource: &ClientCertificateRef,
        reads: Option<(&CertificateKey, &Source)>,
    ) -> Vec<ResourceName> {
        let name = ResourceName::new(resource.namespace(), resource.name());
        let age = Age {
            created: resource.metadata.creation_timestamp.as_ref().map(|time| time.0).unwrap_or_default(),
            resource: name.clone(),
        };
        let claim = reads.and_then(|(key, source)| Some((key, claim(resource, source)?)));
        let mut changed = Vec::new();
        let is_elsewhere =
            |(key, old): &(CertificateKey, Age)| claim.as_ref().is_none_or(|(new, _)| *new != key || *old != age);
        if self.by_resource.get(&name).is_some_and(is_elsewhere) {
            changed.extend(self.remove(&name));
        }
        if let Some((key, claim)) = claim {
            changed.extend(self.change(key, |claims| drop(claims.insert(age.clone(), claim))));
            self.by_resource.insert(name.clone(), (key.clone(), age));
        }
        changed.retain(|changed| *changed != name);
        changed
    }

    /// Removes the claim of a resource. Returns the resources whose ownership of a description may change.
    pub fn remove(&mut self, resource: &ResourceName) -> Vec<ResourceName> {
        match self.by_resource.remove(resource) {
            Some((key, age)) => self.change(&key, |claims| drop(claims.remove(&age))),
            None => Vec::new(),
        }
    }

    /// The owner of a description: the oldest claim whose read has not failed for good. `is_read` returns whether a
    /// certificate is readable now, whatever an older status contains.
    pub fn owner(&self, key: &CertificateKey, is_read: impl Fn(&Source) -> bool) -> Option<&Claim> {
        let mut claims = self.by_certificate.get(key)?.values();
        claims.find(|claim| !claim.has_failed || is_read(&claim.source))
    }

    /// Every resource with a claim to the description of this certificate.
    pub fn of(&self, key: &CertificateKey) -> Vec<ResourceName> {
        self.by_certificate.get(key).into_iter().flat_map(BTreeMap::values).map(|c| c.resource.clone()).collect()
    }

    fn change(&mut self, key: &CertificateKey, change: impl FnOnce(&mut BTreeMap<Age, Claim>)) -> Vec<ResourceName> {
        let claims = self.by_certificate.entry(key.clone()).or_default();
        let first = |claims: &BTreeMap<Age, Claim>| {
            let first = claims.iter().find(|(_, claim)| !claim.has_failed);
            first.map(|(age, claim)| (age.clone(), claim.text.clone(), claim.wish.clone()))
        };
        let before = first(claims);
        change(claims);
        let woken = if before == first(claims) {
            Vec::new()
        } else {
            claims.values().map(|claim| claim.resource.clone()).collect()
        };
        if claims.is_empty() {
            self.by_certificate.remove(key);
        }
        woken
    }
}

/// The claim of a resource. A read that has not ended, or that fails for a while, does not end the claim. Thus a
/// younger resource waits, instead of sending a text that the owner overwrites a moment later.
fn claim(resource: &ClientCertificateRef, source: &Source) -> Option<Claim> {
    let text = resource.spec.description.clone()?;
    let was_read = resource.status.iter().flat_map(|status| &status.certificates).any(|held| held.id == source.id);
    // A suspended resource that never read the certificate has no claim to it.
    if resource.is_being_deleted() || (resource.spec.suspend && !was_read) {
        return None;
    }
    let conditions = resource.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let of_generation =
        |type_| find(conditions, type_).filter(|condition| condition.observed_generation == resource.generation());
    // A condition about the certificate that the stage presented before is not about this certificate.
    let main = resource.status.as_ref().and_then(|status| status.main_certificate(resource.additional_ids()));
    let is_of_it = resource.spec.stage.is_none() || main.is_some_and(|main| main.id == source.id);
    let recorded =
        of_generation(ConditionType::DescriptionSynced).filter(|_| is_of_it).map_or(Recorded::Nothing, |condition| {
            match Reason::parse(&condition.reason) {
                Some(Reason::Synced) => Recorded::Synced,
                Some(Reason::NotApplied) => Recorded::NotApplied,
                Some(Reason::Contested) => Recorded::Contested,
                _ => Recorded::Nothing,
            }
        });
    Some(Claim {
        resource: ResourceName::new(resource.namespace(), resource.name()),
        uid: resource.uid().to_owned(),
        text,
        source: source.clone(),
        wish: Wish { generation: resource.generation(), refresh: resource.refresh_requested().map(str::to_owned) },
        is_suspended: resource.spec.suspend,
        recorded,
        has_failed: has_failed_for_good(resource, source, was_read),
    })
}

/// Whether the status has a failure to read this certificate that a retry does not cure. A revoked permission does not
/// end the claim to a certificate that was read before.
fn has_failed_for_good(resource: &ClientCertificateRef, source: &Source, was_read: bool) -> bool {
    let Some(status) = &resource.status else { return false };
    // The failure may be about the certificate that the stage presented before.
    if status.client_certificate_id.as_ref().is_some_and(|id| *id != source.id) {
        return false;
    }
    let read = find(&status.conditions, ConditionType::CertificateRead)
        .filter(|read| read.status == "False" && read.observed_generation == resource.generation());
    match read.and_then(|read| Reason::parse(&read.reason)) {
        Some(Reason::NotFound | Reason::BadRequest | Reason::InvalidCertificate) => true,
        Some(Reason::AccessDenied) => !was_read,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::api::{CertificateStatus, ClientCertificateRefStatus};
    use crate::conditions::{Finding, set};
    use crate::fixtures::{resource, source_of};

    fn key() -> CertificateKey {
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

    fn apply(claims: &mut Claims, resource: &ClientCertificateRef) -> Vec<ResourceName> {
        claims.apply(resource, Some((&key(), &source_of(resource).unwrap())))
    }

    fn owner(claims: &Claims) -> Option<(&str, &str)> {
        claims.owner(&key(), |_| false).map(|claim| (claim.resource.name.as_str(), claim.text.as_str()))
    }

    fn name(name: &str) -> ResourceName {
        ResourceName::new("backends", name)
    }

    fn good() -> Option<Finding> {
        Some(Finding::yes(Reason::Read, ""))
    }

    #[test]
    fn the_oldest_claim_wins_and_names_decide_a_tie() {
        let mut claims = Claims::default();
        for resource in [claimant("b", 2, "b", good()), claimant("a", 2, "a", good()), claimant("z", 1, "z", good())] {
            apply(&mut claims, &resource);
        }
        assert_eq!(owner(&claims), Some(("z", "z")));
        assert_eq!(claims.remove(&name("z")), [name("a"), name("b")]);
        assert_eq!(owner(&claims), Some(("a", "a")));
        claims.remove(&name("a"));
        claims.remove(&name("b"));
        assert_eq!((owner(&claims), claims.by_certificate.len(), claims.by_resource.len()), (None, 0, 0));
    }

    #[test]
    fn only_a_change_of_the_owner_or_its_text_wakes_the_others() {
        let mut claims = Claims::default();
        assert_eq!(apply(&mut claims, &claimant("old", 1, "a", good())), []);
        assert_eq!(apply(&mut claims, &claimant("young", 2, "b", good())), []);
        assert_eq!(apply(&mut claims, &claimant("young", 2, "c", good())), []);
        assert_eq!(apply(&mut claims, &claimant("old", 1, "c", good())), [name("young")]);
        let mut without = claimant("old", 1, "c", good());
        without.spec.description = None;
        assert_eq!(apply(&mut claims, &without), [name("young")]);
    }

    #[test]
    fn only_a_final_failure_loses_the_claim() {
        let mut claims = Claims::default();
        apply(&mut claims, &claimant("young", 2, "b", good()));
        for (reason, wins) in [
            (Reason::AccessDenied, false),
            (Reason::NotFound, false),
            (Reason::BadRequest, false),
            (Reason::InvalidCertificate, false),
            (Reason::Throttled, true),
            (Reason::Unavailable, true),
            (Reason::Expired, true),
        ] {
            apply(&mut claims, &claimant("old", 1, "a", Some(Finding::no(reason, ""))));
            assert_eq!(owner(&claims).unwrap().0 == "old", wins, "{reason:?}");
        }
        apply(&mut claims, &claimant("old", 1, "a", None));
        assert_eq!(owner(&claims).unwrap().0, "old", "not read yet: the younger waits");
        let mut read_before = claimant("old", 1, "a", Some(Finding::no(Reason::AccessDenied, "")));
        let held = CertificateStatus { id: "9ao60f".into(), ..Default::default() };
        read_before.status.as_mut().unwrap().certificates = vec![held];
        apply(&mut claims, &read_before);
        assert_eq!(owner(&claims).unwrap().0, "old", "a right that was taken away");
    }

    #[test]
    fn a_status_that_is_older_than_aws_loses_no_claim() {
        let mut claims = Claims::default();
        apply(&mut claims, &claimant("young", 2, "b", good()));
        apply(&mut claims, &claimant("old", 1, "a", Some(Finding::no(Reason::AccessDenied, ""))));
        let owner = |is_read: bool| claims.owner(&key(), |_| is_read).unwrap().resource.name.as_str();
        assert_eq!((owner(false), owner(true)), ("young", "old"));
    }

    #[test]
    fn a_failure_of_the_certificate_that_a_stage_presented_before_loses_no_claim() {
        let mut claims = Claims::default();
        apply(&mut claims, &claimant("young", 2, "b", good()));
        let mut old = claimant("old", 1, "a", Some(Finding::no(Reason::NotFound, "")));
        for (about, wins) in [(None, "young"), (Some("9ao60f"), "young"), (Some("k2c0qe"), "old")] {
            old.status.as_mut().unwrap().client_certificate_id = about.map(str::to_owned);
            apply(&mut claims, &old);
            assert_eq!(owner(&claims).unwrap().0, wins, "{about:?}");
        }
    }

    #[test]
    fn a_suspended_resource_keeps_a_claim_that_it_had() {
        let mut claims = Claims::default();
        apply(&mut claims, &claimant("young", 2, "b", good()));
        let mut old = claimant("old", 1, "a", good());
        old.spec.suspend = true;
        apply(&mut claims, &old);
        assert_eq!(owner(&claims).unwrap().0, "young", "it never held this certificate");
        let held = CertificateStatus { id: "9ao60f".into(), ..Default::default() };
        old.status.as_mut().unwrap().certificates = vec![held];
        apply(&mut claims, &old);
        assert_eq!(owner(&claims).unwrap().0, "old");
        assert!(claims.owner(&key(), |_| false).unwrap().is_suspended);
    }
}
