//! Which certificates a resource may read, and whether it may own a description.

mod control;

pub use control::AccessControl;

use std::collections::BTreeMap;

use crate::api::{AcmTrust, CertificateRole, CertificateStatus, ClientCertificateRef, Main, Stage};
use crate::aws::gateway::{Place, RestApi, Source, is_of_acm, region_of_acm};
use crate::error::ReadFailure;
use crate::rules::{Refusal, Rules, Wanted, What};
use crate::settings::Settings;

/// The certificates of a resource, and whether the rules allow each of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Access {
    /// The main certificate. `None` if a stage presents it and the stage was not read yet.
    pub main: Option<Named>,
    /// The API of the stage that presents the main certificate.
    pub stages: Option<RestApi>,
    /// The certificates of `spec.additionalClientCertificateIds`.
    pub additional: Vec<Named>,
    /// The certificates that the spec does not name by id: certificates with the tags of the spec, and the tagged and
    /// formerly presented certificates of the status.
    pub unnamed: Vec<Named>,
    /// The ACM certificates of the status that the rules allow. The operator does not read a former one again: the status
    /// has it.
    pub acm: Vec<Source>,
    /// The place to look for certificates with the tags of the spec: the place of the main certificate.
    pub tags: Option<Place>,
    /// Whether the resource may own the description.
    pub description: Result<(), Refusal>,
}

/// A certificate by its id, with its source.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// The id, or the ARN of an ACM certificate.
    pub id: String,
    /// The source, if the rules allow the resource to read it.
    pub source: Result<Source, ReadFailure>,
}

/// The certificates that AWS names for a stage or for tags of the spec.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The certificate that the stage presents.
    pub presented: Option<String>,
    /// The certificates with the tags of the spec.
    pub tagged: Vec<String>,
}

impl Access {
    /// The access of a resource, by the certificates that AWS names, the rules, and the labels of the namespace.
    pub fn of(
        resource: &ClientCertificateRef,
        found: &Found,
        settings: &Settings,
        rules: &Rules,
        labels: &BTreeMap<String, String>,
    ) -> Self {
        let region = match resource.main() {
            // The tagged and additional certificates are in the region of the ARN too.
            Some(Main::Acm(arn)) => region_of_acm(arn),
            _ => resource.spec.region.as_deref().or(settings.default_region.as_deref()),
        };
        let role = resource.spec.assume_role.as_ref();
        let permit_in = |region: Option<&str>, what: What<'_>| -> Result<(Place, Result<(), Refusal>), ReadFailure> {
            let region = region.ok_or(ReadFailure::NoRegion)?;
            let wanted = Wanted {
                namespace: resource.namespace(),
                labels,
                role: role.map(|role| (role.role_arn.as_str(), role.external_id.as_deref())),
                region,
                what,
            };
            let permit = rules.permit(wanted)?;
            Ok((Place { identity: permit.identity, region: region.to_owned() }, permit.description))
        };
        let permit = |what: What<'_>| permit_in(region, what);
        let of_id = |id: &str| permit(What::Certificate(id));
        let named = |id: &str, place: Result<Place, ReadFailure>| Named {
            id: id.to_owned(),
            source: place.map(|place| Source { place, id: id.to_owned() }),
        };
        // An ACM certificate is read in the region of its ARN, so the rules must allow that region.
        let of_arn = |arn: &str| permit_in(region_of_acm(arn).or(region), What::Acm(arn));
        let (allowed, stages, id) = match resource.main() {
            Some(Main::Acm(arn)) => (of_arn(arn), None, Some(arn)),
            Some(Main::Stage(stage)) => {
                let allowed = permit(What::RestApi(&stage.rest_api_id));
                let place = allowed.as_ref().ok().map(|(place, _)| place.clone());
                let api = place.map(|place| RestApi { place, id: stage.rest_api_id.clone() });
                let id = found.presented.as_deref().or_else(|| presented_before(resource, stage, region));
                (allowed, api, id)
            }
            Some(Main::Certificate(id)) => (of_id(id), None, Some(id)),
            None => (of_id(""), None, None),
        };
        let place = allowed.as_ref().map(|(place, _)| place.clone()).map_err(Clone::clone);
        let main = match (id, &place) {
            (None, Ok(_)) => None,
            // Backends trust the CA of an ACM certificate, so the rule for the API is not enough.
            (Some(arn), Ok(_)) if is_of_acm(arn) => Some(named(arn, of_arn(arn).map(|(place, _)| place))),
            (id, _) => Some(named(id.unwrap_or_default(), place.clone())),
        };
        // A certificate that the stage presented before needs only the rule for the API.
        let recorded = || resource.status.iter().flat_map(|status| &status.certificates);
        let presented: Vec<&str> = match resource.stage_status() {
            Some(_) => recorded().filter(|held| may_be_presented(held)).map(|held| held.id.as_str()).collect(),
            None => Vec::new(),
        };
        let beside = |id: &str| match &place {
            Ok(place) if presented.contains(&id) => named(id, Ok(place.clone())),
            _ => named(id, of_id(id).map(|(place, _)| place)),
        };
        let mut unnamed: Vec<Named> = Vec::new();
        let others = recorded().filter(|held| may_be_unnamed(held)).map(|held| held.id.as_str());
        let all = found.tagged.iter().map(String::as_str).chain(presented.iter().copied()).chain(others);
        for id in all.filter(|id| !is_of_acm(id)) {
            let is_main = main.as_ref().is_some_and(|main| main.id == id);
            if !is_main && !resource.names(id) && unnamed.iter().all(|named| named.id != id) {
                unnamed.push(beside(id));
            }
        }
        let allowed_acm = |held: &CertificateStatus| {
            let (place, _) = permit(What::Acm(&held.id)).ok()?;
            Some(Source { place, id: held.id.clone() })
        };
        Access {
            additional: resource.additional_ids().map(beside).collect(),
            unnamed,
            acm: recorded().filter(|held| is_of_acm(&held.id)).filter_map(allowed_acm).collect(),
            tags: place.clone().ok().filter(|_| !resource.spec.additional_client_certificate_tags.is_empty()),
            description: allowed.map_or(Ok(()), |(_, description)| description),
            main,
            stages,
        }
    }

    /// The certificates that the resource may read.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        let named = self.main.iter().chain(&self.additional).chain(&self.unnamed);
        named.filter_map(|named| named.source.as_ref().ok())
    }

    /// The places that the resource reads.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.sources().map(|source| &source.place).chain(self.stages.as_ref().map(|api| &api.place))
    }
}

/// The certificate in the status that the stage presented at the last read.
///
/// An ACM certificate counts only while the spec trusts ACM: a re-import could bring another CA into the target.
fn presented_before<'a>(resource: &'a ClientCertificateRef, stage: &Stage, region: Option<&str>) -> Option<&'a str> {
    resource.stage_status()?;
    let main = resource.status.as_ref()?.main_certificate(resource.additional_ids())?;
    (is_trusted(&main.id, stage.acm) && main.region.as_deref() == region).then_some(&main.id)
}

/// Whether the spec trusts a certificate that its stage presents.
pub fn is_trusted(id: &str, acm: AcmTrust) -> bool {
    acm == AcmTrust::Trust || !is_of_acm(id)
}

/// Whether an entry of the status may be a certificate that the stage presents or presented.
fn may_be_presented(held: &CertificateStatus) -> bool {
    matches!(held.role, Some(CertificateRole::Main | CertificateRole::Former)) || held.former_since.is_some()
}

/// Whether an entry of the status may belong in the target although the spec does not name the certificate.
fn may_be_unnamed(held: &CertificateStatus) -> bool {
    matches!(held.role, Some(CertificateRole::Tagged | CertificateRole::Former)) || !held.tags.is_empty()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fixtures::resource;

    fn source(id: &str) -> Source {
        Source::own("us-east-1", id)
    }

    fn settings(default_region: Option<&str>) -> Settings {
        Settings {
            default_region: default_region.map(str::to_owned),
            expiring_within: Duration::from_secs(300),
            installation: "operators/ours".into(),
            manage_descriptions: true,
            target_kinds: Default::default(),
        }
    }

    #[test]
    fn a_resource_may_name_only_what_the_rules_allow() {
        let settings = settings(None);
        let mut resource = resource("payments");
        let access = |resource: &ClientCertificateRef, rules: &str| {
            Access::of(resource, &Found::default(), &settings, &Rules::parse(rules).unwrap(), &BTreeMap::new())
        };
        assert_eq!(access(&resource, "{}").main.unwrap().source, Err(ReadFailure::NoRegion));
        resource.spec.region = Some("us-east-1".into());
        assert_eq!(
            access(&resource, "{}"),
            Access {
                main: Some(Named { id: "9ao60f".into(), source: Ok(source("9ao60f")) }),
                stages: None,
                additional: vec![],
                unnamed: vec![],
                acm: vec![],
                tags: None,
                description: Ok(())
            }
        );
        let refused = access(&resource, "default: {regions: [eu-west-1]}");
        assert!(matches!(refused.main.unwrap().source, Err(ReadFailure::NotAllowed(Refusal::Region { .. }))));
        assert!(access(&resource, "default: {descriptions: false}").description.is_err());
        resource.spec.additional_client_certificate_ids =
            ["k2c0qe", "k2c0qe", "9ao60f", "x7d31m"].map(Into::into).into();
        let Access { main, additional, .. } = access(&resource, "default: {certificateIds: [9ao60f, x7d31m]}");
        let ids: Vec<_> = additional.iter().map(|named| (named.id.as_str(), named.source.is_ok())).collect();
        assert_eq!((main.unwrap().source, ids), (Ok(source("9ao60f")), vec![("k2c0qe", false), ("x7d31m", true)]));
    }

    #[test]
    fn certificates_beside_an_arn_are_in_its_region_which_the_rules_must_allow() {
        const ARN: &str = "arn:aws:acm:eu-west-1:111122223333:certificate/12345678-1234-1234-1234-123456789012";
        let mut resource = resource("payments");
        resource.spec.client_certificate_id = None;
        resource.spec.acm_certificate_arn = Some(ARN.into());
        resource.spec.additional_client_certificate_ids = vec!["k2c0qe".into()];
        resource.spec.additional_client_certificate_tags = [("app".into(), "payments".into())].into();
        let access = |default_region: Option<&str>, rules: &str| {
            let (rules, settings) = (Rules::parse(rules).unwrap(), settings(default_region));
            Access::of(&resource, &Found::default(), &settings, &rules, &BTreeMap::new())
        };
        for default_region in [None, Some("us-east-1")] {
            for rules in ["{}", "default: {regions: [eu-west-1]}"] {
                let access = access(default_region, rules);
                assert!(access.main.as_ref().unwrap().source.is_ok(), "{rules}");
                assert_eq!(access.tags.as_ref().unwrap().region, "eu-west-1");
                assert_eq!(access.sources().filter(|source| source.place.region == "eu-west-1").count(), 2);
            }
            let access = access(default_region, "default: {regions: [us-east-1]}");
            assert!(matches!(access.main.unwrap().source, Err(ReadFailure::NotAllowed(Refusal::Region { .. }))));
            assert_eq!(access.tags, None);
        }
    }
}
