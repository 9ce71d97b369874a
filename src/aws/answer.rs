//! Checks the responses about a certificate.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::api::{CertificateRole, CertificateStatus};
use crate::aws::gateway::{AcmCertificate, AcmStatus, ClientCertificate, GatewayError, Outage, Source};
use crate::certificate::{Certificate, MAX_PEM};
use crate::conditions::whole_seconds;
use crate::error::ReadFailure;

/// The least time between two forced reads of one certificate.
pub const FORCED_READS_APART: Duration = Duration::from_secs(10);

/// A response of API Gateway or ACM that passed every check.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The certificate's place and id.
    pub source: Source,
    /// The certificate in the response.
    pub certificate: Certificate,
    /// The description in the response; empty for a certificate of ACM.
    pub description: String,
    pub(crate) account: Option<String>,
    pub(crate) created: Option<Timestamp>,
}

impl Answer {
    /// Checks a response of API Gateway: the id is the requested one, the PEM holds a certificate and nothing else, and
    /// the certificate has not expired.
    pub fn check(
        source: &Source,
        account: Option<&str>,
        came: ClientCertificate,
        now: Timestamp,
    ) -> Result<Self, ReadFailure> {
        if came.id != source.id {
            return Err(GatewayError::Unavailable { outage: Outage::NotUnderstood, retry_after: None }.into());
        }
        // The response has an expiration date too. The earlier of the two dates counts everywhere.
        let certificate = Certificate::parse(&came.pem)?.ending_by(came.expires);
        let answer = Answer {
            source: source.clone(),
            certificate,
            description: came.description,
            account: account.map(str::to_owned),
            created: came.created,
        };
        // A certificate that is not valid yet becomes valid while it is cached.
        match answer.valid_at(now) {
            Ok(()) | Err(ReadFailure::NotYetValid { .. }) => Ok(answer),
            Err(failure) => Err(failure),
        }
    }

    /// Checks a response of ACM: the ARN is the requested one, the certificate is issued, the chain leads to it, and it
    /// has not expired.
    pub fn check_acm(
        source: &Source,
        account: Option<&str>,
        came: AcmCertificate,
        now: Timestamp,
    ) -> Result<Self, ReadFailure> {
        // The expiration date comes from an earlier call than the PEM. After a re-import between the two calls, it may
        // be the date of the former certificate.
        let AcmCertificate { arn, status, expires: _, leaf, chain } = came;
        if arn != source.id {
            return Err(GatewayError::Unavailable { outage: Outage::NotUnderstood, retry_after: None }.into());
        }
        match status {
            AcmStatus::Issued => {}
            AcmStatus::Expired => return Err(ReadFailure::Expired),
            AcmStatus::Pending => return Err(ReadFailure::NotIssued { arn, status: "PENDING_VALIDATION" }),
            AcmStatus::Failed => return Err(ReadFailure::NotIssued { arn, status: "FAILED" }),
            AcmStatus::Revoked => return Err(ReadFailure::Revoked { arn, status: "REVOKED" }),
            AcmStatus::Inactive => return Err(ReadFailure::Revoked { arn, status: "INACTIVE" }),
        }
        let Some(leaf) = leaf else { return Err(ReadFailure::NotIssued { arn, status: "PENDING_VALIDATION" }) };
        let certificate = Certificate::issued(&leaf, chain.as_deref().unwrap_or_default())?;
        let account = account.map(str::to_owned);
        let answer = Answer { source: source.clone(), certificate, description: String::new(), account, created: None };
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

    /// The certificate as the status shows it.
    pub fn to_status(&self, role: CertificateRole) -> CertificateStatus {
        let main = self.certificate.main();
        let cut = |text: &str, length: usize| text.chars().take(length).collect::<String>();
        CertificateStatus {
            id: self.source.id.clone(),
            role: Some(role),
            trusted_since: None,
            safe_to_switch: None,
            former_since: None,
            pem: self.certificate.single_pem().filter(|pem| pem.len() <= MAX_PEM).map(str::to_owned),
            // The target and the status leave out the authorities that have expired meanwhile.
            chain: Vec::new(),
            region: Some(self.source.place.region.clone()),
            account_id: self.account.clone(),
            description: Some(cut(&self.description, 1024)).filter(|text| !text.is_empty()),
            created_date: self.created.map(whole_seconds),
            expiration_date: Some(whole_seconds(self.end())),
            // The tags come from the list.
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
    fn an_answer_is_checked_before_it_is_used() {
        let now = at("2026-11-24T00:00:00Z");
        let check = |came: ClientCertificate, now| Answer::check(&source("9ao60f"), None, came, now).map(|_| ());
        assert_eq!(check(certificate("9ao60f", PEM), now), Ok(()));
        assert_eq!(check(certificate("9ao60f", ""), now), Err(CertificateError::Empty.into()));
        assert_eq!(check(certificate("9ao60f", PEM), at(PEM_NOT_AFTER)), Err(ReadFailure::Expired));
        assert!(matches!(check(certificate("other1", PEM), now), Err(ReadFailure::Gateway(_))));
    }

    #[test]
    fn a_certificate_expires_at_the_earlier_of_two_dates() {
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
    fn a_certificate_of_acm_is_checked_by_its_status_first() {
        use crate::fixtures::issued::{ISSUING_PEM, LEAF_PEM};
        const ARN: &str = "arn:aws:acm:us-east-1:111122223333:certificate/1";
        let now = at("2026-11-24T00:00:00Z");
        let check = |status, leaf: Option<&str>| {
            let came = AcmCertificate {
                arn: ARN.into(),
                status,
                expires: None,
                leaf: leaf.map(str::to_owned),
                chain: Some(ISSUING_PEM.into()),
            };
            Answer::check_acm(&source(ARN), Some("111122223333"), came, now)
        };
        let answer = check(AcmStatus::Issued, Some(LEAF_PEM)).unwrap();
        let status = answer.to_status(CertificateRole::Main);
        assert_eq!((status.id.as_str(), status.pem.as_deref()), (ARN, Some(LEAF_PEM)));
        assert_eq!(
            answer.certificate.chain().iter().map(|block| block.pem.as_str()).collect::<Vec<_>>(),
            [ISSUING_PEM]
        );
        assert_eq!(status.account_id.as_deref(), Some("111122223333"));
        for (status, reason) in [
            (AcmStatus::Pending, "NotIssued"),
            (AcmStatus::Failed, "NotIssued"),
            (AcmStatus::Revoked, "Revoked"),
            (AcmStatus::Inactive, "Revoked"),
            (AcmStatus::Expired, "Expired"),
        ] {
            assert_eq!(check(status, None).unwrap_err().reason().to_string(), reason);
        }
        assert_eq!(check(AcmStatus::Issued, None).unwrap_err().reason().to_string(), "NotIssued");
    }
}
