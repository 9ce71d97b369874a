//! Which certificates belong into the target: the answers of AWS, and the entries of the status where there is none. Pure.

use jiff::Timestamp;

use super::snapshot::{Look, Named, Snapshot};
use crate::api::{CertificateRole, CertificateStatus, ClientCertificateRef, MAX_CERTIFICATES};
use crate::aws::gateway::{Source, is_of_acm};
use crate::aws::scope::Tags;
use crate::certificate::Certificate;
use crate::conditions::whole_seconds;
use crate::target::Trusted;

/// A certificate for the target, and its entry in the status.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The parsed PEM.
    pub certificate: Certificate,
    /// The entry of the status, PEM included.
    pub status: CertificateStatus,
}

/// The certificates for the target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trust {
    /// The main one first, no two with one fingerprint.
    pub entries: Vec<Entry>,
    /// Whether the spec is newer than the status and AWS has not answered yet: the target may be newer than the status.
    pub is_pending: bool,
    /// Whether the status names a certificate without its PEM, as an earlier version wrote it, and AWS does not answer.
    pub is_unknown: bool,
}

impl Trust {
    /// What belongs into the target now.
    pub fn of(resource: &ClientCertificateRef, snapshot: &Snapshot) -> Self {
        let is_current = resource.status.as_ref().is_some_and(|s| s.observed_generation == resource.generation());
        let is_there = matches!(snapshot.target, Ok(Some(_)));
        let mut trust = Trust::default();
        match snapshot.main_look() {
            Look::Good(answer) => trust.push(Entry::from_answer(answer, resource, CertificateRole::Main)),
            // A target of a certificate that is gone is kept, but not created again.
            Look::Failed { failure, .. } if failure.ends_trust() && !is_there => {}
            Look::Failed { last_good: Some(answer), .. } => {
                trust.push(Entry::from_answer(answer, resource, CertificateRole::Main));
            }
            look @ (Look::Failed { last_good: None, .. } | Look::Pending) => {
                trust.is_pending = matches!(look, Look::Pending) && !is_current;
                trust.keep_main(resource, snapshot);
            }
        }
        // A target without its main certificate is none, unless that has ended.
        if trust.entries.is_empty() && !trust.is_unknown && !snapshot.main_has_ended() {
            return trust;
        }
        trust.keep_former_of_acm(resource, snapshot);
        let unnamed: Vec<_> =
            snapshot.unnamed.iter().filter_map(|named| Some((named, standing(resource, snapshot, named)?))).collect();
        for (named, standing) in &unnamed {
            if let Standing::Former { since } = standing {
                trust.add(resource, snapshot, named, CertificateRole::Former, Some(*since));
            }
        }
        // The memory of what the stage presented outlives a certificate's other role.
        let presented = |named| former_since(resource, snapshot, named).filter(|_| resource.stage_status().is_some());
        for named in &snapshot.additional {
            trust.add(resource, snapshot, named, CertificateRole::Additional, presented(named));
        }
        for (named, standing) in &unnamed {
            if *standing == Standing::Tagged {
                trust.add(resource, snapshot, named, CertificateRole::Tagged, presented(named));
            }
        }
        let is_list_awaited = snapshot.tags.as_ref().is_some_and(|tags| tags.read.is_none());
        trust.is_pending |= is_list_awaited && !is_current;
        for entry in &mut trust.entries {
            entry.status.tags = tags_of(resource, snapshot, &entry.status.id);
        }
        // A main certificate that the target does not hold yet waits for no other.
        trust.is_unknown &= trust.entries.first().is_none_or(|first| is_held(resource, first));
        trust
    }

    /// The form that a target is rendered from.
    pub fn trusted(&self) -> Trusted<'_> {
        let is_main = |entry: &&Entry| entry.status.role == Some(CertificateRole::Main);
        Trusted {
            main: self.entries.iter().find(is_main).map(|entry| &entry.certificate),
            additional: self.entries.iter().filter(|entry| !is_main(entry)).map(|entry| &entry.certificate).collect(),
        }
    }

    /// What a target that was rendered from this holds, as the status lists it. `Active` holds the main certificate also
    /// past its end.
    pub fn held(&self, holds_active: bool, now: Timestamp) -> Vec<CertificateStatus> {
        let is_held = |entry: &&Entry| {
            !entry.certificate.is_expired(now) || (holds_active && entry.status.role == Some(CertificateRole::Main))
        };
        self.entries.iter().filter(is_held).map(|entry| entry.status.clone()).collect()
    }

    /// Adds a certificate beside the main one, as far as it is known.
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
        match named.look(snapshot.now) {
            Look::Good(answer) => self.push(Entry::from_answer(answer, resource, role)),
            Look::Failed { failure, .. } if failure.ends_trust() => {}
            Look::Failed { last_good: Some(answer), .. } => self.push(Entry::from_answer(answer, resource, role)),
            look @ (Look::Failed { last_good: None, .. } | Look::Pending) => {
                self.is_pending |= matches!(look, Look::Pending) && !is_current;
                self.keep(resource, named, role, snapshot.now.wall);
            }
        }
        for entry in &mut self.entries[before..] {
            entry.status.former_since = former_since;
        }
    }

    /// A certificate that is there already keeps its place, and has the first of its roles. What does not fit is left out.
    fn push(&mut self, entry: Entry) {
        let fingerprint = entry.certificate.main().fingerprint;
        let is_it = |other: &&mut Entry| other.certificate.main().fingerprint == fingerprint;
        if let Some(other) = self.entries.iter_mut().find(is_it) {
            if entry.status.role < other.status.role {
                *other = entry;
                other.status.former_since = None;
            }
        } else if self.entries.len() < MAX_CERTIFICATES {
            self.entries.push(entry);
        }
    }

    /// The entry of the status for a certificate that AWS has not answered for.
    fn keep(&mut self, resource: &ClientCertificateRef, named: &Named, role: CertificateRole, now: Timestamp) {
        let Ok(source) = &named.source else { return };
        let Some(recorded) = recorded(resource).find(|held| is_of(held, source)) else { return };
        match Entry::from_status(recorded, role) {
            Some(entry) if role == CertificateRole::Main || !entry.certificate.is_expired(now) => self.push(entry),
            Some(_) => {}
            // An earlier version wrote no PEM: the certificate is not read yet.
            None => self.is_unknown |= recorded.pem.is_none() && recorded.expiration_date.is_none_or(|end| end > now),
        }
    }

    /// Certificates of ACM that were the main one: ACM gives the present one of an ARN alone, so only the status has them.
    fn keep_former_of_acm(&mut self, resource: &ClientCertificateRef, snapshot: &Snapshot) {
        let now = snapshot.now.wall;
        let main = snapshot.main.as_ref().map(|main| main.id.as_str());
        let place = snapshot.main_source().map(|source| &source.place);
        for held in recorded(resource).filter(|held| is_of_acm(&held.id)) {
            let since = match held.role {
                // The same ARN, or the same stage: the spec names no other source.
                Some(CertificateRole::Main) if main == Some(&held.id) || resource.stage_status().is_some() => now,
                Some(CertificateRole::Former) => held.former_since.unwrap_or(now),
                _ => continue,
            };
            let Some(since) = within_overlap(resource, snapshot, since) else { continue };
            let is_here = place.is_none_or(|place| is_of(held, &Source { place: place.clone(), id: held.id.clone() }));
            if let Some(mut entry) = Entry::from_status(held, CertificateRole::Former).filter(|_| is_here)
                && !entry.certificate.is_expired(now)
            {
                entry.status.former_since = Some(since);
                self.push(entry);
            }
        }
    }

    /// The main certificate of the status: the one that the spec names, else the former one, which stays where it is
    /// until the new one was read.
    fn keep_main(&mut self, resource: &ClientCertificateRef, snapshot: &Snapshot) {
        let now = snapshot.now.wall;
        if let Some(main) = &snapshot.main {
            self.keep(resource, main, CertificateRole::Main, now);
        }
        if !self.entries.is_empty() || self.is_unknown {
            return;
        }
        let was_here = resource.status.as_ref().and_then(|s| s.target.as_ref()) == Some(&resource.target_ref());
        let Some(former) = recorded_main(resource).filter(|_| was_here) else { return };
        // Only to put the target back: where it is there, it may hold more than the status knows.
        self.is_pending = true;
        match Entry::from_status(former, CertificateRole::Main) {
            Some(entry) if !entry.certificate.is_expired(now) => self.push(entry),
            Some(_) => {}
            None => self.is_unknown = true,
        }
    }
}

/// Why a certificate that the spec does not name belongs into the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has the tags of the spec, or had them when they could last be read.
    Tagged,
    /// It has lost its tags, or the stage presents another one, and stays for a while.
    Former {
        /// Since when.
        since: Timestamp,
    },
}

/// Why a certificate that the spec does not name belongs into the target, if it does.
///
/// One that the list lacks has lost nothing: the read by its id finds out what became of it.
pub fn standing(resource: &ClientCertificateRef, snapshot: &Snapshot, named: &Named) -> Option<Standing> {
    let source = named.source.as_ref().ok()?;
    let wanted = &resource.spec.additional_client_certificate_tags;
    let recorded = || recorded(resource).filter(|held| is_of(held, source));
    let was_former = || former_since(resource, snapshot, named).map(|since| Standing::Former { since });
    if wanted.is_empty() {
        return was_former();
    }
    // One that the spec named until now may have had the tags as well.
    let was_tagged = recorded().find(|held| match held.role {
        Some(CertificateRole::Tagged) => true,
        Some(CertificateRole::Former) => false,
        Some(CertificateRole::Main | CertificateRole::Additional) | None => held.tags == *wanted,
    });
    let Some(listing) = snapshot.listing() else {
        return was_tagged.map(|_| Standing::Tagged).or_else(was_former);
    };
    match was_tagged {
        _ if listing.has_tags(&named.id, wanted) => Some(Standing::Tagged),
        // Other tags of the spec are no loss of the certificate's.
        Some(held) if held.tags != *wanted => was_former(),
        Some(_) if listing.tags_of(&named.id).is_none() => Some(Standing::Tagged),
        Some(_) => within_overlap(resource, snapshot, snapshot.now.wall).map(|since| Standing::Former { since }),
        None => was_former(),
    }
}

/// Since when a certificate is Former, or would be without its other role: the stage presented it until then, or it had the
/// tags. None once the overlap has passed.
fn former_since(resource: &ClientCertificateRef, snapshot: &Snapshot, named: &Named) -> Option<Timestamp> {
    let source = named.source.as_ref().ok()?;
    // The status has a stage only once the stage's certificate was the main one.
    let was_presented =
        |held: &CertificateStatus| held.role == Some(CertificateRole::Main) && resource.stage_status().is_some();
    let since = recorded(resource).filter(|held| is_of(held, source)).find_map(|held| match was_presented(held) {
        true => Some(snapshot.now.wall),
        false => held.former_since,
    });
    within_overlap(resource, snapshot, since?)
}

/// The time from which the overlap counts, unless it has passed. Before a stage was read, it has not: the stage may present
/// the certificate again.
fn within_overlap(resource: &ClientCertificateRef, snapshot: &Snapshot, since: Timestamp) -> Option<Timestamp> {
    let now = snapshot.now.wall;
    // A clock that was ahead, or a status that was edited, makes none stay for ever.
    let since = since.min(now);
    let is_unread = snapshot.stage.as_ref().is_some_and(|stage| stage.names().is_none());
    let end = since.checked_add(resource.overlap()).ok()?;
    (is_unread || end > now).then_some(whole_seconds(since))
}

/// Of the tags of a certificate those that the spec selects by, as the list says or as the status did.
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
    /// Whether the main certificate is past its end.
    fn main_has_ended(&self) -> bool {
        matches!(self.main_look(), Look::Failed { failure, .. } if failure.has_ended())
    }
}

impl Entry {
    fn from_answer(
        answer: &crate::aws::answer::Answer,
        resource: &ClientCertificateRef,
        role: CertificateRole,
    ) -> Self {
        let mut status = answer.to_status(role);
        // The account does not change with a read that does not know it, as when STS cannot be reached.
        if status.account_id.is_none() {
            let is_same = |held: &&CertificateStatus| {
                (&held.id, &held.region, &held.sha256_fingerprint)
                    == (&status.id, &status.region, &status.sha256_fingerprint)
            };
            status.account_id = recorded(resource).find(is_same).and_then(|held| held.account_id.clone());
        }
        Entry { certificate: answer.certificate.clone(), status }
    }

    /// An entry of the status, checked, because another writer may have changed it: its PEM is a certificate, and the fingerprint
    /// is that of the PEM.
    fn from_status(recorded: &CertificateStatus, role: CertificateRole) -> Option<Self> {
        let pem = recorded.pem.as_deref()?;
        let certificate = match recorded.chain.is_empty() {
            true => Certificate::parse(pem).ok()?,
            false => Certificate::issued(pem, &recorded.chain.concat()).ok()?,
        };
        if recorded.sha256_fingerprint.as_deref() != Some(certificate.main().fingerprint.to_string().as_str()) {
            return None;
        }
        certificate.single_pem()?;
        let certificate = certificate.ending_by(recorded.expiration_date);
        let status = CertificateStatus { role: Some(role), former_since: None, ..recorded.clone() };
        Some(Entry { certificate, status })
    }
}

fn is_held(resource: &ClientCertificateRef, entry: &Entry) -> bool {
    recorded(resource).any(|held| held.sha256_fingerprint == entry.status.sha256_fingerprint)
}

fn recorded(resource: &ClientCertificateRef) -> impl Iterator<Item = &CertificateStatus> {
    resource.status.iter().flat_map(|status| &status.certificates)
}

/// The entry of the main certificate.
pub fn recorded_main(resource: &ClientCertificateRef) -> Option<&CertificateStatus> {
    resource.status.as_ref()?.main_certificate(resource.additional_ids())
}

/// Whether an entry of the status is of this certificate. An entry without a region or account matches any.
pub fn is_of(held: &CertificateStatus, source: &Source) -> bool {
    let account = source.place.account();
    held.id == source.id
        && held.region.as_ref().is_none_or(|region| *region == source.place.region)
        && (account.is_none() || held.account_id.is_none() || held.account_id.as_deref() == account)
}
