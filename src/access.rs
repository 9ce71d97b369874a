//! Which certificates a resource may read, and whether it may own a description.

mod control;

pub use control::AccessControl;

use std::collections::BTreeMap;

use crate::api::{CertificateRole, CertificateStatus, ClientCertificateRef};
use crate::aws::gateway::{Place, Source};
use crate::error::ReadFailure;
use crate::rules::{Refusal, Rules, Wanted};
use crate::settings::Settings;

/// The certificates that a resource names, as the rules allow them.
#[derive(Clone, Debug, PartialEq)]
pub struct Access {
    /// The main certificate.
    pub source: Result<Source, ReadFailure>,
    /// The additional ones.
    pub additional: Vec<Additional>,
    /// Those that the spec does not name: they have its tags, or had them when the status was written.
    pub unnamed: Vec<Additional>,
    /// Where to look for certificates with the tags of the spec: where the main one is.
    pub tags: Option<Place>,
    /// Whether it may own the description.
    pub description: Result<(), Refusal>,
}

impl Access {
    /// The access of a resource, given the rules and the labels of its namespace; `tagged` are the certificates that were
    /// found by tags.
    pub fn of(
        resource: &ClientCertificateRef,
        tagged: &[String],
        settings: &Settings,
        rules: &Rules,
        labels: &BTreeMap<String, String>,
    ) -> Self {
        let region = resource.spec.region.as_ref().or(settings.default_region.as_ref());
        let role = resource.spec.assume_role.as_ref();
        let access = |id: &str| -> Result<(Source, Result<(), Refusal>), ReadFailure> {
            let region = region.ok_or(ReadFailure::NoRegion)?;
            let wanted = Wanted {
                namespace: resource.namespace(),
                labels,
                role: role.map(|role| (role.role_arn.as_str(), role.external_id.as_deref())),
                region,
                id,
            };
            let permit = rules.permit(wanted)?;
            let place = Place { identity: permit.identity, region: region.clone() };
            Ok((Source { place, id: id.to_owned() }, permit.description))
        };
        let main = access(&resource.spec.client_certificate_id);
        let additional = |id: &str| Additional { id: id.to_owned(), source: access(id).map(|(source, _)| source) };
        let mut unnamed: Vec<&str> = Vec::new();
        let recorded =
            resource.status.iter().flat_map(|status| &status.certificates).filter(|held| may_be_unnamed(held));
        for id in tagged.iter().chain(recorded.map(|held| &held.id)) {
            if !unnamed.contains(&id.as_str()) && !resource.names(id) {
                unnamed.push(id);
            }
        }
        let tags = main.as_ref().ok().map(|(source, _)| &source.place);
        Access {
            additional: resource.additional_ids().map(additional).collect(),
            unnamed: unnamed.into_iter().map(additional).collect(),
            tags: tags.filter(|_| !resource.spec.additional_client_certificate_tags.is_empty()).cloned(),
            description: main.as_ref().map_or(Ok(()), |(_, description)| description.clone()),
            source: main.map(|(source, _)| source),
        }
    }

    /// The certificates that it may read.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        let additional = self.additional.iter().chain(&self.unnamed).map(|named| &named.source);
        std::iter::once(&self.source).chain(additional).filter_map(|source| source.as_ref().ok())
    }
}

/// Whether an entry of the status may belong into the target though the spec does not name it.
fn may_be_unnamed(held: &CertificateStatus) -> bool {
    matches!(held.role, Some(CertificateRole::Tagged | CertificateRole::Former)) || !held.tags.is_empty()
}

/// An additional certificate, as the resource names it and as the rules allow it.
#[derive(Clone, Debug, PartialEq)]
pub struct Additional {
    /// Its id.
    pub id: String,
    /// Where to read it.
    pub source: Result<Source, ReadFailure>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fixtures::resource;

    fn source(id: &str) -> Source {
        Source::own("us-east-1", id)
    }

    #[test]
    fn what_a_resource_names_is_what_the_rules_allow_it() {
        let settings = Settings {
            default_region: None,
            expiring_within: Duration::from_secs(300),
            installation: "operators/ours".into(),
            manage_descriptions: true,
            target_kinds: Default::default(),
        };
        let mut resource = resource("payments");
        let access = |resource: &ClientCertificateRef, rules: &str| {
            Access::of(resource, &[], &settings, &Rules::parse(rules).unwrap(), &BTreeMap::new())
        };
        assert_eq!(access(&resource, "{}").source, Err(ReadFailure::NoRegion));
        resource.spec.region = Some("us-east-1".into());
        assert_eq!(
            access(&resource, "{}"),
            Access {
                source: Ok(source("9ao60f")),
                additional: vec![],
                unnamed: vec![],
                tags: None,
                description: Ok(())
            }
        );
        let refused = access(&resource, "default: {regions: [eu-west-1]}");
        assert!(matches!(refused.source, Err(ReadFailure::NotAllowed(Refusal::Region { .. }))));
        assert!(access(&resource, "default: {descriptions: false}").description.is_err());
        resource.spec.additional_client_certificate_ids =
            ["k2c0qe", "k2c0qe", "9ao60f", "x7d31m"].map(Into::into).into();
        let Access { source: main, additional, .. } = access(&resource, "default: {certificateIds: [9ao60f, x7d31m]}");
        let ids: Vec<_> = additional.iter().map(|named| (named.id.as_str(), named.source.is_ok())).collect();
        assert_eq!((main, ids), (Ok(source("9ao60f")), vec![("k2c0qe", false), ("x7d31m", true)]));
    }
}
