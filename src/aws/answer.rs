//! What API Gateway says of a certificate, checked.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::api::{CertificateRole, CertificateStatus};
use crate::aws::gateway::{ClientCertificate, GatewayError, Outage, Source};
use crate::certificate::Certificate;
use crate::conditions::whole_seconds;
use crate::error::ReadFailure;

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
    /// Checks a response: the right id, a certificate and nothing else, not past its end.
    pub fn check(
        source: &Source,
        account: Option<&str>,
        came: ClientCertificate,
        now: Timestamp,
    ) -> Result<Self, ReadFailure> {
        if came.id != source.id {
            return Err(GatewayError::Unavailable { outage: Outage::NotUnderstood, retry_after: None }.into());
        }
        // API Gateway has an expiration date too. The earlier one counts everywhere.
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
            trusted_since: None,
            safe_to_switch: None,
            former_since: None,
            pem: self.certificate.single_pem().filter(|pem| pem.len() <= 8192).map(str::to_owned),
            region: Some(self.source.place.region.clone()),
            account_id: self.account.clone(),
            description: Some(cut(&self.description, 1024)).filter(|text| !text.is_empty()),
            created_date: self.created.map(whole_seconds),
            expiration_date: Some(whole_seconds(self.end())),
            // The list says which tags it has.
            tags: BTreeMap::new(),
            serial_number: Some(cut(&main.serial_number, 64)),
            sha256_fingerprint: Some(self.fingerprint()),
            subject: Some(cut(&main.subject, 1024)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::CertificateError;
    use crate::fixtures::{PEM, PEM_NOT_AFTER, certificate};

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
}
