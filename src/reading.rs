//! What API Gateway said about a resource's certificate, how old that is, and when to ask again.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::api::{CertificateStatus, ClientCertificateRef};
use crate::certificate::Certificate;
use crate::conditions::whole_seconds;
use crate::error::{ReadFailure, Streak, refresh_delay};
use crate::gateway::{ClientCertificate, GatewayError, Outage, Source};
use crate::settings::{Settings, Tick};

/// Forced reads of one certificate are at least this far apart.
const FORCED_READS_APART: Duration = Duration::from_secs(10);

/// An answer of API Gateway that passed every check.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Where it was read.
    pub source: Source,
    /// The certificate in it.
    pub certificate: Certificate,
    /// The description in it.
    pub description: String,
    created: Option<Timestamp>,
    expires: Option<Timestamp>,
    tags: std::collections::BTreeMap<String, String>,
}

impl Answer {
    /// Checks what came: the right id, a certificate and nothing else, not past its end.
    pub fn check(source: &Source, came: ClientCertificate, now: Timestamp) -> Result<Self, ReadFailure> {
        if came.id != source.id {
            return Err(GatewayError::Unavailable { outage: Outage::NotUnderstood, retry_after: None }.into());
        }
        let certificate = Certificate::parse(&came.pem)?;
        if certificate.is_expired(now) {
            return Err(ReadFailure::Expired);
        }
        Ok(Answer {
            source: source.clone(),
            certificate,
            description: came.description,
            created: came.created,
            expires: came.expires,
            tags: came.tags,
        })
    }

    /// The answer as the status shows it.
    pub fn to_status(&self) -> CertificateStatus {
        let main = self.certificate.main();
        let cut = |text: &str, length: usize| text.chars().take(length).collect::<String>();
        CertificateStatus {
            id: self.source.id.clone(),
            region: Some(self.source.region.clone()),
            account_id: None,
            description: Some(cut(&self.description, 8192)).filter(|text| !text.is_empty()),
            created_date: self.created.map(whole_seconds),
            expiration_date: Some(whole_seconds(self.expires.unwrap_or(main.not_after))),
            tags: self.tags.iter().take(64).map(|(key, value)| (key.clone(), cut(value, 1024))).collect(),
            serial_number: Some(cut(&main.serial_number, 64)),
            sha256_fingerprint: Some(main.fingerprint.to_string()),
            subject: Some(cut(&main.subject, 1024)),
        }
    }
}

/// The source that a resource names.
pub fn source_of(resource: &ClientCertificateRef, settings: &Settings) -> Result<Source, ReadFailure> {
    let region = resource.spec.region.as_ref().or(settings.default_region.as_ref()).ok_or(ReadFailure::NoRegion)?;
    Ok(Source { region: region.clone(), id: resource.spec.client_certificate_id.clone() })
}

/// What is remembered of API Gateway's answers for one resource.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    latest: Option<Latest>,
    last_good: Option<Arc<Answer>>,
    streak: Streak,
    next: Tick,
}

#[derive(Clone, Debug)]
struct Latest {
    source: Result<Source, ReadFailure>,
    outcome: Result<Arc<Answer>, ReadFailure>,
    at: Tick,
}

impl Reading {
    /// What the last read of this source gave. An answer grows old: past its end it is a failure.
    pub fn outcome(
        &self,
        source: &Result<Source, ReadFailure>,
        now: Timestamp,
    ) -> Option<Result<&Arc<Answer>, ReadFailure>> {
        let latest = self.latest.as_ref().filter(|latest| latest.source == *source)?;
        Some(match &latest.outcome {
            Ok(answer) if answer.certificate.is_expired(now) => Err(ReadFailure::Expired),
            Ok(answer) => Ok(answer),
            Err(failure) => Err(failure.clone()),
        })
    }

    /// The last answer that passed every check, of whatever source.
    pub fn last_good(&self) -> Option<&Arc<Answer>> {
        self.last_good.as_ref()
    }

    /// When to ask this source next: now, where it was never asked.
    pub fn next(&self, source: &Result<Source, ReadFailure>) -> Tick {
        self.latest.as_ref().filter(|latest| latest.source == *source).map_or(Tick::ZERO, |_| self.next)
    }

    /// When a forced read may happen: at once, or some seconds after the last.
    pub fn next_forced(&self) -> Tick {
        self.latest.as_ref().map_or(Tick::ZERO, |latest| latest.at + FORCED_READS_APART)
    }

    /// Whether this source gave a good answer so lately that a forced read would not be due.
    pub fn is_fresh(&self, source: &Result<Source, ReadFailure>, now: Tick) -> bool {
        self.next(source) > now
            && self.next_forced() > now
            && self.latest.as_ref().is_some_and(|latest| latest.outcome.is_ok())
    }

    /// Asks for a read no later than `at`.
    pub fn hasten(&mut self, at: Tick) {
        self.next = self.next.min(at);
    }

    /// Forgets earlier failures, because somebody changed something.
    pub fn reset_failures(&mut self) {
        self.streak.reset();
    }

    /// Takes note of a read.
    pub fn record(
        &mut self,
        source: Result<Source, ReadFailure>,
        outcome: Result<Answer, ReadFailure>,
        refresh: Duration,
        now: Tick,
        jitter: f64,
    ) {
        let outcome = outcome.map(Arc::new);
        let wait = match &outcome {
            Ok(answer) => {
                self.last_good = Some(Arc::clone(answer));
                self.streak.reset();
                refresh_delay(refresh, jitter)
            }
            Err(failure) => self.streak.fail(failure.class(), refresh, jitter),
        };
        self.next = now + wait;
        self.latest = Some(Latest { source, outcome, at: now });
    }

    /// Takes note of the description that an update answered with.
    pub fn record_description(&mut self, description: String) {
        if let Some(Latest { outcome: Ok(answer), .. }) = &mut self.latest {
            Arc::make_mut(answer).description = description;
            self.last_good = Some(Arc::clone(answer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::CertificateError;
    use crate::fixtures::{PEM, PEM_NOT_AFTER, certificate};

    const REFRESH: Duration = Duration::from_secs(300);

    fn source(id: &str) -> Source {
        Source { region: "us-east-1".into(), id: id.into() }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn good() -> Result<Answer, ReadFailure> {
        Answer::check(&source("9ao60f"), certificate("9ao60f", PEM), at("2026-11-24T00:00:00Z"))
    }

    #[test]
    fn an_answer_is_checked_before_anybody_sees_it() {
        let now = at("2026-11-24T00:00:00Z");
        let check = |came: ClientCertificate, now| Answer::check(&source("9ao60f"), came, now).map(|_| ());
        assert_eq!(check(certificate("9ao60f", PEM), now), Ok(()));
        assert_eq!(check(certificate("9ao60f", ""), now), Err(CertificateError::Empty.into()));
        assert_eq!(check(certificate("9ao60f", PEM), at(PEM_NOT_AFTER)), Err(ReadFailure::Expired));
        assert!(matches!(check(certificate("other1", PEM), now), Err(ReadFailure::Gateway(_))));
    }

    #[test]
    fn the_last_good_answer_outlives_failures_and_a_change_of_source() {
        let mut reading = Reading::default();
        reading.record(Ok(source("9ao60f")), good(), REFRESH, Tick::ZERO, 0.5);
        let failure = ReadFailure::Gateway(GatewayError::NotFound);
        reading.record(Ok(source("k2c0qe")), Err(failure.clone()), REFRESH, Tick::from_secs(1), 0.5);
        let now = at("2026-11-24T00:00:00Z");
        assert_eq!(reading.outcome(&Ok(source("k2c0qe")), now), Some(Err(failure)));
        assert_eq!(reading.outcome(&Ok(source("9ao60f")), now), None, "an old source has to be read again");
        assert_eq!(reading.last_good().unwrap().source, source("9ao60f"));
    }

    #[test]
    fn a_certificate_expires_between_two_reads() {
        let mut reading = Reading::default();
        reading.record(Ok(source("9ao60f")), good(), REFRESH, Tick::ZERO, 0.5);
        let outcome = reading.outcome(&Ok(source("9ao60f")), at(PEM_NOT_AFTER));
        assert_eq!(outcome, Some(Err(ReadFailure::Expired)));
    }

    #[test]
    fn the_next_read_is_due_in_the_last_tenth_of_the_interval_or_after_a_backoff() {
        let mut reading = Reading::default();
        let source = Ok(source("9ao60f"));
        assert_eq!(reading.next(&source), Tick::ZERO);
        reading.record(source.clone(), good(), REFRESH, Tick::from_secs(100), 0.0);
        assert_eq!(reading.next(&source), Tick::from_secs(370));
        assert_eq!(reading.next_forced(), Tick::from_secs(110));
        assert!(reading.is_fresh(&source, Tick::from_secs(109)) && !reading.is_fresh(&source, Tick::from_secs(110)));
        let down = GatewayError::Unavailable { outage: Outage::TimedOut, retry_after: None };
        reading.record(source.clone(), Err(down.into()), REFRESH, Tick::from_secs(370), 0.5);
        assert_eq!(reading.next(&source), Tick::from_secs(371));
    }
}
