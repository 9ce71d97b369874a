//! What API Gateway said about a resource's certificate, how old that is, and when to ask again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::api::{CertificateStatus, ClientCertificateRef};
use crate::certificate::Certificate;
use crate::conditions::whole_seconds;
use crate::error::{ReadFailure, refresh_delay};
use crate::gateway::{ClientCertificate, GatewayError, Outage, Place, Source};
use crate::rules::{Refusal, Rules, Wanted};
use crate::settings::{Settings, Tick};

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
    account: Option<String>,
    created: Option<Timestamp>,
    expires: Option<Timestamp>,
    tags: BTreeMap<String, String>,
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
        let certificate = Certificate::parse(&came.pem)?;
        if certificate.is_expired(now) {
            return Err(ReadFailure::Expired);
        }
        Ok(Answer {
            source: source.clone(),
            certificate,
            description: came.description,
            account: account.map(str::to_owned),
            created: came.created,
            expires: came.expires,
            tags: came.tags,
        })
    }

    /// SHA-256 of the certificate's DER, as the status shows it.
    pub fn fingerprint(&self) -> String {
        self.certificate.main().fingerprint.to_string()
    }

    /// The answer as the status shows it.
    pub fn to_status(&self) -> CertificateStatus {
        let main = self.certificate.main();
        let cut = |text: &str, length: usize| text.chars().take(length).collect::<String>();
        CertificateStatus {
            id: self.source.id.clone(),
            region: Some(self.source.place.region.clone()),
            account_id: self.account.clone(),
            description: Some(cut(&self.description, 8192)).filter(|text| !text.is_empty()),
            created_date: self.created.map(whole_seconds),
            expiration_date: Some(whole_seconds(self.expires.unwrap_or(main.not_after))),
            tags: self.tags.iter().take(64).map(|(key, value)| (key.clone(), cut(value, 1024))).collect(),
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

/// Why API Gateway is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The resource is seen for the first time, or since a restart.
    New,
    /// Its spec has changed, or whose the description is.
    Changed,
    /// The refresh annotation has a new value.
    Forced,
    /// A suspension was lifted.
    Lifted,
    /// The last answer has grown old, or an update of the description failed.
    Due,
}

/// How new an answer has to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Demand {
    /// Why it is asked for.
    pub why: Why,
    /// A good answer is of a call that began at this time or later.
    pub not_before: Tick,
    /// A failure is of a call that began at this time or later.
    pub failure_not_before: Tick,
    /// The resource's refresh interval.
    pub interval: Duration,
    /// When it was asked for first.
    pub since: Tick,
    /// Whether it was asked for before, and is asked for again because there is no answer yet, or is one now.
    pub again: bool,
}

/// A new resource and a changed spec take an answer of this age, as long as it is no older than their interval.
pub const LATELY: Duration = Duration::from_secs(30);

impl Demand {
    /// What is demanded now, where the resource's last answer is of a call that began at `last`, and the demand arose at
    /// `wanted`: a new resource may have waited for its turn.
    pub fn new(why: Why, interval: Duration, last: Option<Tick>, wanted: Tick, now: Tick) -> Self {
        let lately = wanted.saturating_sub(LATELY.min(interval));
        // Any news will do, as long as it is not due itself: so whoever asks first asks for all, and the others, whose
        // last answer is about as old, find that they need not.
        let news =
            last.map_or(Tick::ZERO, |last| last + Tick::from_nanos(1)).max(now.saturating_sub(interval.mul_f64(0.9)));
        let (not_before, failure_not_before) = match why {
            Why::New => (lately, lately),
            Why::Changed => (lately, now.saturating_sub(FORCED_READS_APART)),
            Why::Forced | Why::Lifted => (now, now),
            Why::Due => (news, news),
        };
        Demand { why, not_before, failure_not_before, interval, since: now, again: false }
    }

    /// Whether somebody asks who may have mended what failed before.
    pub fn insists(&self) -> bool {
        matches!(self.why, Why::Changed | Why::Forced | Why::Lifted)
    }
}

/// What a read brought. The answer may be shared with others who asked for the same certificate.
#[derive(Clone, Debug, PartialEq)]
pub struct Came {
    /// The answer, checked.
    pub outcome: Result<Arc<Answer>, ReadFailure>,
    /// When the call began that brought it.
    pub at: Tick,
}

/// What is remembered of API Gateway's answers for one resource.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    latest: Option<Latest>,
    last_good: Option<Arc<Answer>>,
    next: Tick,
}

#[derive(Clone, Debug)]
struct Latest {
    at: Tick,
    /// None where it was good, and is the last good one.
    failed: Option<Box<(Result<Source, ReadFailure>, ReadFailure)>>,
}

impl Reading {
    /// What the last read of this source gave. An answer grows old: past its end it is a failure.
    pub fn outcome(
        &self,
        source: &Result<Source, ReadFailure>,
        now: Timestamp,
    ) -> Option<Result<&Arc<Answer>, ReadFailure>> {
        match &self.latest.as_ref()?.failed {
            Some(failed) => (failed.0 == *source).then(|| Err(failed.1.clone())),
            None => {
                let answer = self.last_good.as_ref().filter(|answer| source.as_ref() == Ok(&answer.source))?;
                Some(if answer.certificate.is_expired(now) { Err(ReadFailure::Expired) } else { Ok(answer) })
            }
        }
    }

    /// The last answer that passed every check, of whatever source.
    pub fn last_good(&self) -> Option<&Arc<Answer>> {
        self.last_good.as_ref()
    }

    /// When the call began that brought the last answer of this source.
    pub fn at(&self, source: &Result<Source, ReadFailure>) -> Option<Tick> {
        let latest = self.latest.as_ref()?;
        let is_of_source = match &latest.failed {
            Some(failed) => failed.0 == *source,
            None => self.last_good.as_ref().is_some_and(|answer| source.as_ref() == Ok(&answer.source)),
        };
        is_of_source.then_some(latest.at)
    }

    /// When to ask this source next: now, where it was never asked.
    pub fn next(&self, source: &Result<Source, ReadFailure>) -> Tick {
        self.at(source).map_or(Tick::ZERO, |_| self.next)
    }

    /// When a forced read may happen: at once, or some seconds after the last.
    pub fn next_forced(&self) -> Tick {
        self.latest.as_ref().map_or(Tick::ZERO, |latest| latest.at + FORCED_READS_APART)
    }

    /// Whether the last read failed. Then there may be news at any time.
    pub fn has_failed(&self) -> bool {
        self.latest.as_ref().is_some_and(|latest| latest.failed.is_some())
    }

    /// Asks for a read no later than `at`.
    pub fn hasten(&mut self, at: Tick) {
        self.next = self.next.min(at);
    }

    /// Takes note of a read. Whoever brought a failure tries again by itself where that may help, and tells when it has
    /// news; so the next look is at the usual time. For a good answer it is reckoned from the call and not from its arrival.
    pub fn record(
        &mut self,
        source: Result<Source, ReadFailure>,
        came: Came,
        refresh: Duration,
        now: Tick,
        jitter: f64,
    ) {
        let failed = match came.outcome {
            Ok(answer) => {
                self.next = came.at + refresh_delay(refresh, jitter);
                self.last_good = Some(answer);
                None
            }
            Err(failure) => {
                self.next = now + refresh_delay(refresh, jitter);
                Some(Box::new((source, failure)))
            }
        };
        self.latest = Some(Latest { at: came.at, failed });
    }

    /// Takes note of the description that an update answered with.
    pub fn record_description(&mut self, description: String) {
        if let (Some(Latest { failed: None, .. }), Some(answer)) = (&self.latest, &mut self.last_good) {
            Arc::make_mut(answer).description = description;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::CertificateError;
    use crate::fixtures::{PEM, PEM_NOT_AFTER, certificate, resource};

    const REFRESH: Duration = Duration::from_secs(300);

    fn source(id: &str) -> Source {
        Source::own("us-east-1", id)
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn good(at_: Tick) -> Came {
        let now = at("2026-11-24T00:00:00Z");
        let answer = Answer::check(&source("9ao60f"), None, certificate("9ao60f", PEM), now);
        Came { outcome: Ok(Arc::new(answer.unwrap())), at: at_ }
    }

    fn failed(failure: &ReadFailure, at: Tick) -> Came {
        Came { outcome: Err(failure.clone()), at }
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
    fn the_last_good_answer_outlives_failures_and_a_change_of_source() {
        let mut reading = Reading::default();
        reading.record(Ok(source("9ao60f")), good(Tick::ZERO), REFRESH, Tick::ZERO, 0.5);
        let failure = ReadFailure::Gateway(GatewayError::NotFound);
        reading.record(Ok(source("k2c0qe")), failed(&failure, Tick::from_secs(1)), REFRESH, Tick::from_secs(1), 0.5);
        let now = at("2026-11-24T00:00:00Z");
        assert_eq!(reading.outcome(&Ok(source("k2c0qe")), now), Some(Err(failure)));
        assert_eq!(reading.outcome(&Ok(source("9ao60f")), now), None, "an old source has to be read again");
        assert_eq!(reading.last_good().unwrap().source, source("9ao60f"));
    }

    #[test]
    fn a_certificate_expires_between_two_reads() {
        let mut reading = Reading::default();
        reading.record(Ok(source("9ao60f")), good(Tick::ZERO), REFRESH, Tick::ZERO, 0.5);
        let outcome = reading.outcome(&Ok(source("9ao60f")), at(PEM_NOT_AFTER));
        assert_eq!(outcome, Some(Err(ReadFailure::Expired)));
    }

    #[test]
    fn the_next_read_is_due_in_the_last_tenth_of_the_interval_counted_from_the_answer() {
        let mut reading = Reading::default();
        let source = Ok(source("9ao60f"));
        assert_eq!(reading.next(&source), Tick::ZERO);
        reading.record(source.clone(), good(Tick::from_secs(100)), REFRESH, Tick::from_secs(110), 0.0);
        assert_eq!(reading.next(&source), Tick::from_secs(370));
        assert_eq!(reading.next_forced(), Tick::from_secs(110));
        let down = GatewayError::Unavailable { outage: Outage::TimedOut, retry_after: None };
        reading.record(source.clone(), failed(&down.into(), Tick::from_secs(360)), REFRESH, Tick::from_secs(370), 1.0);
        assert_eq!(reading.next(&source), Tick::from_secs(670), "whoever reads tells if there is news before");
        reading.hasten(Tick::from_secs(400));
        assert_eq!(reading.next(&source), Tick::from_secs(400));
    }

    #[test]
    fn what_a_resource_names_is_what_the_rules_allow_it() {
        let settings = Settings {
            default_region: None,
            expiring_within: REFRESH,
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
