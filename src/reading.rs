//! What API Gateway says of a certificate, checked; and which certificates a resource may read.

use std::collections::BTreeMap;

use std::time::Duration;

use jiff::Timestamp;

use crate::api::{CertificateRole, CertificateStatus, ClientCertificateRef};
use crate::certificate::Certificate;
use crate::conditions::whole_seconds;
use crate::error::ReadFailure;
use crate::gateway::{ClientCertificate, GatewayError, Outage, Place, Source};
use crate::rules::{Refusal, Rules, Wanted};
use crate::settings::Settings;

/// Forced reads of one certificate are at least this far apart.
pub const FORCED_READS_APART: Duration = Duration::from_secs(10);

/// An answer of API Gateway that passed every check.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Where it was read.
    pub source: Source,
    /// The certificate in it.
    pub certificate: Certificate,
    /// The description in it.
    pub description: String,
    pub(crate) account: Option<String>,
    pub(crate) created: Option<Timestamp>,
}

impl Answer {
    /// Checks what came: the right id, a certificate and nothing else, not past its end.
    pub fn check(
        source: &Source,
        account: Option<&str>,
        came: ClientCertificate,
        now: Timestamp,
    ) -> Result<Self, ReadFailure> {
        if came.id != source.id {
            return Err(GatewayError::Unavailable { outage: Outage::NotUnderstood, retry_after: None }.into());
        }
        // API Gateway gives an expiration date too. The earlier one counts everywhere.
        let certificate = Certificate::parse(&came.pem)?.ending_by(came.expires);
        let answer = Answer {
            source: source.clone(),
            certificate,
            description: came.description,
            account: account.map(str::to_owned),
            created: came.created,
        };
        // One that is not valid yet becomes valid while it is cached.
        match answer.valid_at(now) {
            Ok(()) | Err(ReadFailure::NotYetValid { .. }) => Ok(answer),
            Err(failure) => Err(failure),
        }
    }

    /// SHA-256 of the certificate's DER, as the status shows it.
    pub fn fingerprint(&self) -> String {
        self.certificate.main().fingerprint.to_string()
    }

    /// Whether the certificate is valid at this time.
    pub fn valid_at(&self, now: Timestamp) -> Result<(), ReadFailure> {
        let main = self.certificate.main();
        if main.is_not_yet_valid(now) {
            Err(ReadFailure::NotYetValid { from: main.not_before })
        } else if main.is_expired(now) {
            Err(ReadFailure::Expired)
        } else {
            Ok(())
        }
    }

    /// When the certificate ends: the earlier of API Gateway's date and its own.
    pub fn end(&self) -> Timestamp {
        self.certificate.main().not_after
    }

    /// The answer as the status shows it.
    pub fn to_status(&self, role: CertificateRole) -> CertificateStatus {
        let main = self.certificate.main();
        let cut = |text: &str, length: usize| text.chars().take(length).collect::<String>();
        CertificateStatus {
            id: self.source.id.clone(),
            role: Some(role),
            pem: self.certificate.single_pem().filter(|pem| pem.len() <= 8192).map(str::to_owned),
            region: Some(self.source.place.region.clone()),
            account_id: self.account.clone(),
            description: Some(cut(&self.description, 1024)).filter(|text| !text.is_empty()),
            created_date: self.created.map(whole_seconds),
            expiration_date: Some(whole_seconds(self.end())),
            // No spec selects by tags yet.
            tags: BTreeMap::new(),
            serial_number: Some(cut(&main.serial_number, 64)),
            sha256_fingerprint: Some(self.fingerprint()),
            subject: Some(cut(&main.subject, 1024)),
        }
    }
}

/// What a resource may have of AWS, as it names it and as the rules allow it.
#[derive(Clone, Debug, PartialEq)]
pub struct Access {
    /// The main certificate.
    pub source: Result<Source, ReadFailure>,
    /// The additional ones.
    pub additional: Vec<Additional>,
    /// Whether it may own the description.
    pub description: Result<(), Refusal>,
}

impl Access {
    /// What a resource has, given the rules and the labels of its namespace.
    pub fn of(
        resource: &ClientCertificateRef,
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
        let additional = resource.additional_ids();
        Access {
            additional: additional
                .map(|id| Additional { id: id.to_owned(), source: access(id).map(|(source, _)| source) })
                .collect(),
            description: main.as_ref().map_or(Ok(()), |(_, description)| description.clone()),
            source: main.map(|(source, _)| source),
        }
    }

    /// The certificates that it may read.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        let additional = self.additional.iter().map(|named| &named.source);
        std::iter::once(&self.source).chain(additional).filter_map(|source| source.as_ref().ok())
    }
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
    use super::*;
    use crate::certificate::CertificateError;
    use crate::fixtures::{PEM, PEM_NOT_AFTER, certificate, resource};

    fn source(id: &str) -> Source {
        Source::own("us-east-1", id)
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn an_answer_is_checked_before_anybody_sees_it() {
        let now = at("2026-11-24T00:00:00Z");
        let check = |came: ClientCertificate, now| Answer::check(&source("9ao60f"), None, came, now).map(|_| ());
        assert_eq!(check(certificate("9ao60f", PEM), now), Ok(()));
        assert_eq!(check(certificate("9ao60f", ""), now), Err(CertificateError::Empty.into()));
        assert_eq!(check(certificate("9ao60f", PEM), at(PEM_NOT_AFTER)), Err(ReadFailure::Expired));
        assert!(matches!(check(certificate("other1", PEM), now), Err(ReadFailure::Gateway(_))));
    }

    #[test]
    fn a_certificate_ends_at_the_earlier_of_two_dates() {
        let now = at("2026-11-24T00:00:00Z");
        let check = |expires: &str| {
            let came = ClientCertificate { expires: Some(at(expires)), ..certificate("9ao60f", PEM) };
            Answer::check(&source("9ao60f"), None, came, now)
        };
        for (date, end) in [("2027-01-01T00:00:00Z", "2027-01-01T00:00:00Z"), ("2199-01-01T00:00:00Z", PEM_NOT_AFTER)] {
            let answer = check(date).unwrap();
            assert_eq!(answer.end(), at(end));
            assert_eq!(answer.to_status(CertificateRole::Main).expiration_date, Some(at(end)));
        }
        assert_eq!(check("2026-11-23T00:00:00Z"), Err(ReadFailure::Expired));
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
            Access::of(resource, &settings, &Rules::parse(rules).unwrap(), &BTreeMap::new())
        };
        assert_eq!(access(&resource, "{}").source, Err(ReadFailure::NoRegion));
        resource.spec.region = Some("us-east-1".into());
        assert_eq!(
            access(&resource, "{}"),
            Access { source: Ok(source("9ao60f")), additional: vec![], description: Ok(()) }
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
