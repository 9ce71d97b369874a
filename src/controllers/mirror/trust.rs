//! Decides which certificates belong in the target: those of AWS's answers, and those of the status if there is no
//! answer. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::snapshot::{Look, Named, Snapshot, StageRead};
use crate::api::{
    CertificateRole, CertificateStatus, ClientCertificateRef, ClientCertificateRefStatus, MAX_CERTIFICATES,
};
use crate::aws::gateway::Source;
use crate::aws::scope::Tags;
use crate::certificate::Certificate;
use crate::conditions::{ConditionType, Reason, find, whole_seconds};
use crate::target::Trusted;

/// A certificate for the target, and its entry in the status.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The parsed PEM.
    pub certificate: Certificate,
    /// The entry of the status, with its PEM.
    pub status: CertificateStatus,
}

/// The certificates for the target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trust {
    /// The entries, the main certificate first. No entry covers a later one.
    pub entries: Vec<Entry>,
    /// Whether the spec is newer than the status and AWS has not answered yet. Then the target may be newer than the
    /// status.
    pub is_pending: bool,
    /// Whether the status has a certificate without its PEM, from an earlier version of the operator, and AWS has not
    /// answered.
    pub is_unknown: bool,
}

impl Trust {
    /// The certificates that belong in the target now.
    pub fn of(resource: &ClientCertificateRef, snapshot: &Snapshot) -> Self {
        let is_current = resource.status.as_ref().is_some_and(|s| s.observed_generation == resource.generation());
        let is_there = matches!(snapshot.target, Ok(Some(_)));
        let now = snapshot.now.wall;
        let mut trust = Trust::default();
        match snapshot.main_look() {
            Look::Good(answer) => trust.push(Entry::from_answer(answer, resource, CertificateRole::Main, now)),
            // If the certificate no longer exists, an existing target stays, but a missing target is not created.
            Look::Failed { failure, .. } if failure.ends_trust() && !is_there => {}
            Look::Pending | Look::Failed { last_good: None, .. }
                if !is_there && (is_recorded_as_gone(resource, snapshot) || snapshot.main_has_ended(resource)) => {}
            Look::Failed { last_good: Some(answer), .. } => {
                trust.push(Entry::from_answer(answer, resource, CertificateRole::Main, now));
            }
            look @ (Look::Failed { last_good: None, .. } | Look::Pending) => {
                trust.is_pending = matches!(look, Look::Pending) && !is_current;
                trust.keep_main(resource, snapshot);
            }
        }
        // A target needs its main certificate, unless that has expired.
        if trust.entries.is_empty() && !trust.is_unknown && !snapshot.main_has_ended(resource) {
            return trust;
        }
        trust.keep_former_of_acm(resource, snapshot);
        let unnamed: Vec<_> = snapshot
            .unnamed
            .iter()
            .filter_map(|named| Some((named, trust_reason(resource, snapshot, named)?)))
            .collect();
        for (named, reason) in &unnamed {
            if let TrustReason::Former { since } = reason {
                trust.add(resource, snapshot, named, CertificateRole::Former, Some(*since));
            }
        }
        // An Additional or Tagged certificate also keeps the time until which the stage presented it.
        let presented = |named| former_since(resource, snapshot, named).filter(|_| resource.stage_status().is_some());
        for named in &snapshot.additional {
            trust.add(resource, snapshot, named, CertificateRole::Additional, presented(named));
        }
        for (named, reason) in &unnamed {
            if *reason == TrustReason::Tagged {
                trust.add(resource, snapshot, named, CertificateRole::Tagged, presented(named));
            }
        }
        let is_list_awaited = snapshot.tags.as_ref().is_some_and(|tags| tags.read.is_none());
        trust.is_pending |= is_list_awaited && !is_current;
        for entry in &mut trust.entries {
            entry.status.tags = tags_of(resource, snapshot, &entry.status.id);
        }
        // A main certificate that the target does not hold yet does not wait for an unknown certificate.
        trust.is_unknown &= trust.entries.first().is_none_or(|first| is_held(resource, first));
        trust
    }

    /// The input for rendering a target.
    pub fn trusted(&self) -> Trusted<'_> {
        let is_main = |entry: &&Entry| entry.status.role == Some(CertificateRole::Main);
        Trusted {
            main: self.entries.iter().find(is_main).map(|entry| &entry.certificate),
            additional: self.entries.iter().filter(|entry| !is_main(entry)).map(|entry| &entry.certificate).collect(),
        }
    }

    /// Drops the oldest former certificates while the status is too large to list the certificates in the target: a
    /// former certificate must not block a new one. Returns whether the status can list them.
    pub fn fit(&mut self, holds_active: bool, now: Timestamp) -> bool {
        loop {
            let certificates = self.held(holds_active, now);
            if !(ClientCertificateRefStatus { certificates, ..Default::default() }).is_too_large() {
                return true;
            }
            let former =
                self.entries.iter().enumerate().filter(|(_, it)| it.status.role == Some(CertificateRole::Former));
            let Some((oldest, _)) = former.min_by_key(|(_, it)| it.status.former_since) else { return false };
            self.entries.remove(oldest);
        }
    }

    /// The certificates in a target that was rendered from this trust, as the status lists them. A target with `Active`
    /// content holds the main certificate even after it has expired.
    pub fn held(&self, holds_active: bool, now: Timestamp) -> Vec<CertificateStatus> {
        let is_held = |entry: &&Entry| {
            !entry.certificate.is_expired(now) || (holds_active && entry.status.role == Some(CertificateRole::Main))
        };
        self.entries.iter().filter(is_held).map(|entry| entry.status.clone()).collect()
    }

    /// Adds a certificate other than the main one, if an answer or the status has it.
    fn add(
        &mut self,
        resource: &ClientCertificateRef,
        snapshot: &Snapshot,
        named: &Named,
        role: CertificateRole,
        former_since: Option<Timestamp>,
    ) {
        let is_current = resource.status.as_ref().is_some_and(|s| s.observed_generation == resource.generation());
        let before = self.entries.len();
        let now = snapshot.now.wall;
        match named.look(snapshot.now) {
            Look::Good(answer) => self.push(Entry::from_answer(answer, resource, role, now)),
            Look::Failed { failure, .. } if failure.ends_trust() => {}
            Look::Failed { last_good: Some(answer), .. } => self.push(Entry::from_answer(answer, resource, role, now)),
            look @ (Look::Failed { last_good: None, .. } | Look::Pending) => {
                self.is_pending |= matches!(look, Look::Pending) && !is_current;
                self.keep(resource, snapshot, named, role);
            }
        }
        for entry in &mut self.entries[before..] {
            entry.status.former_since = former_since;
        }
    }

    /// Adds an entry. A certificate that another entry covers keeps the place of that entry and gets the first of both
    /// roles. A certificate beyond the limit is left out.
    fn push(&mut self, entry: Entry) {
        if let Some(other) = self.entries.iter_mut().find(|other| other.status.covers(&entry.status)) {
            if entry.status.role < other.status.role {
                *other = entry;
                other.status.former_since = None;
            }
        } else if self.entries.len() < MAX_CERTIFICATES {
            self.entries.push(entry);
        }
    }

    /// Adds the entry of the status for a certificate without an answer from AWS.
    fn keep(&mut self, resource: &ClientCertificateRef, snapshot: &Snapshot, named: &Named, role: CertificateRole) {
        let now = snapshot.now.wall;
        let Ok(source) = &named.source else { return };
        // A former certificate of ACM has the ARN of its successor, and is not the certificate of the ARN any more.
        let is_it = |held: &&CertificateStatus| {
            snapshot.is_of(held, source) && !(source.is_of_acm() && held.role == Some(CertificateRole::Former))
        };
        let Some(recorded) = recorded(resource).find(is_it) else { return };
        match Entry::from_status(recorded, role, now) {
            Some(entry) if role == CertificateRole::Main || !entry.certificate.is_expired(now) => self.push(entry),
            Some(_) => {}
            // An earlier version of the operator wrote no PEM, and the certificate has not been read since.
            None => self.is_unknown |= recorded.pem.is_none() && recorded.expiration_date.is_none_or(|end| end > now),
        }
    }

    /// Adds the former main certificates of ACM that the resource may still read. ACM returns only the current certificate
    /// of an ARN, so only the status has a former one.
    fn keep_former_of_acm(&mut self, resource: &ClientCertificateRef, snapshot: &Snapshot) {
        let now = snapshot.now.wall;
        let main = snapshot.main.as_ref().map(|main| main.id.as_str());
        let is_allowed = |held: &&CertificateStatus| snapshot.acm.iter().any(|source| snapshot.is_of(held, source));
        for held in recorded(resource).filter(is_allowed) {
            let since = match held.role {
                // The same ARN, or the same stage: the spec names no other source.
                Some(CertificateRole::Main) if main == Some(&held.id) || resource.stage_status().is_some() => now,
                Some(CertificateRole::Former) => held.former_since.unwrap_or(now),
                _ => continue,
            };
            let Some(since) = within_overlap(resource, snapshot, since) else { continue };
            if let Some(mut entry) = Entry::from_status(held, CertificateRole::Former, now)
                && !entry.certificate.is_expired(now)
            {
                entry.status.former_since = Some(since);
                self.push(entry);
            }
        }
    }

    /// Adds the main certificate of the status: the one that the spec names, or else the former one, which stays in the
    /// target until the new one is read.
    fn keep_main(&mut self, resource: &ClientCertificateRef, snapshot: &Snapshot) {
        let now = snapshot.now.wall;
        if let Some(main) = &snapshot.main {
            self.keep(resource, snapshot, main, CertificateRole::Main);
        }
        if !self.entries.is_empty() || self.is_unknown {
            return;
        }
        let was_here = resource.status.as_ref().and_then(|s| s.target.as_ref()) == Some(&resource.target_ref());
        let Some(former) = recorded_main(resource).filter(|_| was_here) else { return };
        // The former certificate only restores a missing target. `is_pending` keeps an existing target unchanged,
        // because it may hold more certificates than the status lists.
        self.is_pending = true;
        match Entry::from_status(former, CertificateRole::Main, now) {
            Some(entry) if !entry.certificate.is_expired(now) => self.push(entry),
            Some(_) => {}
            None => self.is_unknown = true,
        }
    }
}

/// The reason for which a certificate that the spec does not name belongs in the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustReason {
    /// The certificate has the tags of the spec, or had them at the last successful read of the list.
    Tagged,
    /// The certificate has lost its tags, or the stage presents another certificate. It stays for the overlap.
    Former {
        /// The start of the overlap.
        since: Timestamp,
    },
}

/// The reason for which a certificate that the spec does not name belongs in the target, or `None` if it does not
/// belong there.
///
/// A certificate that is missing from the list has not lost its tags: the read by its id shows whether it still exists.
pub fn trust_reason(resource: &ClientCertificateRef, snapshot: &Snapshot, named: &Named) -> Option<TrustReason> {
    let source = named.source.as_ref().ok()?;
    let wanted = &resource.spec.additional_client_certificate_tags;
    let recorded = || recorded(resource).filter(|held| snapshot.is_of(held, source));
    let was_former = || former_since(resource, snapshot, named).map(|since| TrustReason::Former { since });
    if wanted.is_empty() {
        return was_former();
    }
    // A certificate that the spec named until now may have had the tags too.
    let was_tagged = recorded().find(|held| match held.role {
        Some(CertificateRole::Tagged) => true,
        Some(CertificateRole::Former) => false,
        Some(CertificateRole::Main | CertificateRole::Additional) | None => held.tags == *wanted,
    });
    let Some(listing) = snapshot.listing() else {
        return was_tagged.map(|_| TrustReason::Tagged).or_else(was_former);
    };
    match was_tagged {
        _ if listing.has_tags(&named.id, wanted) => Some(TrustReason::Tagged),
        // The tags of the spec have changed. The certificate has not lost its tags.
        Some(held) if held.tags != *wanted => was_former(),
        Some(_) if listing.tags_of(&named.id).is_none() => Some(TrustReason::Tagged),
        Some(_) => within_overlap(resource, snapshot, snapshot.now.wall).map(|since| TrustReason::Former { since }),
        None => was_former(),
    }
}

/// When a certificate became Former, or would have become Former without its other role: the stage presented it, or it
/// had the tags, until then. `None` after the overlap.
fn former_since(resource: &ClientCertificateRef, snapshot: &Snapshot, named: &Named) -> Option<Timestamp> {
    let source = named.source.as_ref().ok()?;
    // The status has a stage only after the stage's certificate became the main one.
    let was_presented =
        |held: &CertificateStatus| held.role == Some(CertificateRole::Main) && resource.stage_status().is_some();
    let since =
        recorded(resource).filter(|held| snapshot.is_of(held, source)).find_map(|held| match was_presented(held) {
            true => Some(snapshot.now.wall),
            false => held.former_since,
        });
    within_overlap(resource, snapshot, since?)
}

/// The start of the overlap; `None` if the overlap has ended. It does not end before the stage is read, because the
/// stage may present the certificate again.
fn within_overlap(resource: &ClientCertificateRef, snapshot: &Snapshot, since: Timestamp) -> Option<Timestamp> {
    let now = snapshot.now.wall;
    // A start in the future, from a clock that was ahead or an edited status, must not extend the overlap.
    let since = since.min(now);
    let is_unread = snapshot.stage.as_ref().is_some_and(|stage| stage.names().is_none());
    let end = since.checked_add(resource.overlap()).ok()?;
    (is_unread || end > now).then_some(whole_seconds(since))
}

/// The tags of a certificate that are also tags of the spec: from the list, or else from the status.
fn tags_of(resource: &ClientCertificateRef, snapshot: &Snapshot, id: &str) -> Tags {
    let wanted = &resource.spec.additional_client_certificate_tags;
    if wanted.is_empty() {
        return Tags::new();
    }
    match snapshot.listing().and_then(|listing| listing.tags_of(id)) {
        Some(tags) => wanted
            .iter()
            .filter(|(key, value)| tags.get(*key) == Some(*value))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect(),
        None => recorded(resource).find(|held| held.id == id).map(|held| held.tags.clone()).unwrap_or_default(),
    }
}

impl Snapshot {
    /// Whether an entry of the status is of this certificate. An entry without a region or account matches any.
    pub fn is_of(&self, held: &CertificateStatus, source: &Source) -> bool {
        let account = source.place.account().or(self.own_account.as_deref());
        held.id == source.id
            && held.region.as_ref().is_none_or(|region| *region == source.place.region)
            && (account.is_none() || held.account_id.is_none() || held.account_id.as_deref() == account)
    }

    /// Whether the main certificate has expired, by the answer of AWS, or else by the status.
    fn main_has_ended(&self, resource: &ClientCertificateRef) -> bool {
        match self.main_look() {
            Look::Failed { failure, .. } if failure.has_ended() => true,
            Look::Good(_) | Look::Failed { last_good: Some(_), .. } => false,
            Look::Failed { last_good: None, .. } | Look::Pending => {
                let held = recorded_main(resource);
                let is_it =
                    |held: &&CertificateStatus| self.main_source().is_some_and(|source| self.is_of(held, source));
                let end = held.filter(is_it).and_then(|held| held.expiration_date);
                end.is_some_and(|end| end <= self.now.wall)
            }
        }
    }
}

impl Entry {
    /// Leaves out the expired certificates of the chain, in the entry of the status too.
    fn new(certificate: Certificate, status: CertificateStatus, now: Timestamp) -> Self {
        let certificate = certificate.without_ended_authorities(now);
        let chain = certificate.chain().iter().map(|block| block.pem.clone()).collect();
        Entry { certificate, status: CertificateStatus { chain, ..status } }
    }

    fn from_answer(
        answer: &crate::aws::answer::Answer,
        resource: &ClientCertificateRef,
        role: CertificateRole,
        now: Timestamp,
    ) -> Self {
        let mut status = answer.to_status(role);
        // A read without the account, for example because STS is unreachable, does not remove the account from the
        // status.
        if status.account_id.is_none() {
            let is_same = |held: &&CertificateStatus| {
                (&held.id, &held.region, &held.sha256_fingerprint)
                    == (&status.id, &status.region, &status.sha256_fingerprint)
            };
            status.account_id = recorded(resource).find(is_same).and_then(|held| held.account_id.clone());
        }
        Entry::new(answer.certificate.clone(), status, now)
    }

    /// Checks an entry of the status, because another writer may have changed it: the PEM must be a certificate with
    /// the recorded fingerprint.
    fn from_status(recorded: &CertificateStatus, role: CertificateRole, now: Timestamp) -> Option<Self> {
        let certificate = recorded.certificate()?;
        if recorded.sha256_fingerprint.as_deref() != Some(certificate.main().fingerprint.to_string().as_str()) {
            return None;
        }
        certificate.single_pem()?;
        let certificate = certificate.ending_by(recorded.expiration_date);
        let status = CertificateStatus { role: Some(role), former_since: None, ..recorded.clone() };
        Some(Entry::new(certificate, status, now))
    }
}

fn is_held(resource: &ClientCertificateRef, entry: &Entry) -> bool {
    recorded(resource).any(|held| held.sha256_fingerprint == entry.status.sha256_fingerprint)
}

fn recorded(resource: &ClientCertificateRef) -> impl Iterator<Item = &CertificateStatus> {
    resource.status.iter().flat_map(|status| &status.certificates)
}

/// The entry of the main certificate in the status.
pub fn recorded_main(resource: &ClientCertificateRef) -> Option<&CertificateStatus> {
    resource.status.as_ref()?.main_certificate(resource.additional_ids())
}

/// Whether a condition is of this generation, and of the certificate that the stage presents now if the spec names a
/// stage.
pub fn is_of_spec(resource: &ClientCertificateRef, snapshot: &Snapshot, condition: &Condition) -> bool {
    let named = resource.status.as_ref().and_then(|status| status.client_certificate_id.as_deref());
    let is_switched = snapshot.stage.as_ref().and_then(StageRead::names).is_some_and(|presents| presents != named);
    // The operator may have other credentials than before, or may have learned their account only now.
    let is_elsewhere = snapshot.main_source().is_some_and(|source| {
        recorded_main(resource).is_some_and(|held| held.id == source.id && !snapshot.is_of(held, source))
    });
    condition.observed_generation == resource.generation() && !is_switched && !is_elsewhere
}

/// The condition CertificateRead in the status, if it has an answer of AWS about the certificate of the spec: a failure
/// that a retry does not cure.
pub fn conclusive_failure<'r>(resource: &'r ClientCertificateRef, snapshot: &Snapshot) -> Option<&'r Condition> {
    let conditions = resource.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let is_stage_read = snapshot.stage.as_ref().is_some_and(|stage| stage.names().is_some());
    let is_conclusive = |reason: Reason| match reason {
        Reason::StageNotFound | Reason::StageHasNoCertificate => !is_stage_read,
        reason => reason.is_answer_of_aws(),
    };
    find(conditions, ConditionType::CertificateRead).filter(|condition| {
        condition.status == "False"
            && Reason::parse(&condition.reason).is_some_and(is_conclusive)
            && is_of_spec(resource, snapshot, condition)
    })
}

/// Whether AWS has answered that the main certificate does not exist, and has given no other answer since.
fn is_recorded_as_gone(resource: &ClientCertificateRef, snapshot: &Snapshot) -> bool {
    let recorded = conclusive_failure(resource, snapshot);
    recorded.is_some_and(|condition| Reason::parse(&condition.reason) == Some(Reason::NotFound))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::PEM;

    fn entry((number, id, role): (u8, u8, CertificateRole)) -> Entry {
        let status = CertificateStatus {
            id: format!("id{id}"),
            role: Some(role),
            sha256_fingerprint: Some(format!("{number:064x}")),
            ..CertificateStatus::default()
        };
        Entry { certificate: Certificate::parse(PEM).unwrap(), status }
    }

    fn role() -> impl Strategy<Value = CertificateRole> {
        use CertificateRole::{Additional, Former, Main, Tagged};
        prop_oneof![Just(Main), Just(Additional), Just(Tagged), Just(Former)]
    }

    fn listed(entries: &[Entry]) -> Vec<CertificateStatus> {
        let mut trust = Trust::default();
        entries.iter().cloned().for_each(|entry| trust.push(entry));
        trust.entries.into_iter().map(|entry| entry.status).collect()
    }

    proptest! {
        #[test]
        fn no_certificate_is_listed_twice_and_the_first_role_wins(
            drawn in prop::collection::vec((0..40_u8, 0..8_u8, role()), 0..90),
        ) {
            let entries: Vec<_> = drawn.into_iter().map(entry).collect();
            let held = listed(&entries);
            let all = || entries.iter().map(|entry| &entry.status);
            let mut seen = HashSet::new();
            let in_order: Vec<_> = all().map(|it| &it.sha256_fingerprint).filter(|it| seen.insert(*it)).collect();
            let fingerprints: Vec<_> = held.iter().map(|held| &held.sha256_fingerprint).collect();
            prop_assert_eq!(fingerprints, in_order, "each once, in the order of their first places");
            for held in &held {
                let same = || all().filter(|entry| entry.sha256_fingerprint == held.sha256_fingerprint);
                prop_assert_eq!(held.role, same().filter_map(|entry| entry.role).min());
                prop_assert!(same().any(|entry| entry == held), "an unchanged entry, not a mix of two");
            }
        }
    }

    #[test]
    fn certificates_beyond_the_limit_of_the_schema_are_left_out() {
        let many: Vec<_> = (0..200).map(|number| entry((number, number, CertificateRole::Additional))).collect();
        assert_eq!(listed(&many).len(), MAX_CERTIFICATES);
    }
}
