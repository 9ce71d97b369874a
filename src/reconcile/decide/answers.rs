//! Which of API Gateway's answers belong into the target.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::Observation;
use crate::api::{CertificateRole, CertificateStatus, ClientCertificateRef};
use crate::error::ReadFailure;
use crate::gateway::Source;
use crate::memory::Memory;
use crate::reading::{Answer, Reading};
use crate::target::Trusted;

/// The answers whose certificates belong into the target now.
///
/// The last good one stands in for a failed read, so that a changed target is put back. A missing one is not made again of
/// a certificate that is known to be gone or over. One of an earlier id, region or role may be put back where it was, but
/// not into a target that was never meant for it.
pub(in crate::reconcile) struct Answers<'a> {
    main: Option<&'a Arc<Answer>>,
    additional: Vec<&'a Arc<Answer>>,
    /// Additional certificates that the target is said to hold and that are not known.
    unknown: Unknown,
}

/// Whether something that the target holds is not known, as after a restart in a bad moment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unknown {
    Nothing,
    /// It may stay so.
    Stuck,
    /// It will be known before long.
    Awaited,
}

impl<'a> Answers<'a> {
    pub fn to_mirror(
        resource: &ClientCertificateRef,
        observation: &Observation,
        memory: &'a Memory,
        now: Timestamp,
    ) -> Self {
        let is_there = matches!(observation.target, Ok(Some(_)));
        let status = resource.status.as_ref();
        let was_there = status.and_then(|status| status.target.as_ref()) == Some(&resource.target_ref());
        let choose = |reading: &'a Reading, source| choose(reading, source, is_there, was_there, now);
        let mut answers = Answers {
            main: choose(&memory.main.reading, &observation.source),
            additional: Vec::with_capacity(memory.additional.len()),
            unknown: Unknown::Nothing,
        };
        // A target without its main certificate is none, unless that is over.
        let is_over = || memory.main.reading.outcome(&observation.source, now) == Some(Err(ReadFailure::Expired));
        if answers.main.is_none() && !is_over() {
            return answers;
        }
        for (named, (_, inquiry)) in observation.additional.iter().zip(&memory.additional) {
            if let Some(answer) = choose(&inquiry.reading, &named.source) {
                answers.additional.push(answer);
            } else if recorded(resource).any(|held| held.id == named.id && held.expiration_date > Some(now)) {
                let unknown = match inquiry.reading.outcome(&named.source, now) {
                    Some(Err(failure)) if failure.ends_trust() => Unknown::Nothing,
                    Some(Err(failure)) if !failure.is_transient() => Unknown::Stuck,
                    _ => Unknown::Awaited,
                };
                answers.unknown = answers.unknown.max(unknown);
            }
        }
        answers
    }

    /// All of them with their roles, the main one first; a certificate that goes by several ids once.
    pub fn all(&self) -> impl Iterator<Item = (CertificateRole, &'a Answer)> {
        let main = self.main.iter().map(|answer| (CertificateRole::Main, &***answer));
        let additional = self.additional.iter().map(|answer| (CertificateRole::Additional, &***answer));
        let mut seen = HashSet::new();
        main.chain(additional).filter(move |(_, answer)| seen.insert(answer.certificate.main().fingerprint))
    }

    /// What the target is rendered of.
    pub fn trusted(&self) -> Trusted<'a> {
        Trusted {
            main: self.main.map(|answer| &answer.certificate),
            additional: self.additional.iter().map(|answer| &answer.certificate).collect(),
        }
    }

    /// Whether the target had better stay as it is: written now, it would lose an additional certificate that a stage may
    /// present. The main one does not wait for that, and nothing waits for what may never be known.
    pub fn wait_for_more(&self, resource: &ClientCertificateRef) -> bool {
        let is_held = |answer: &Answer| {
            recorded(resource).any(|held| held.sha256_fingerprint.as_ref() == Some(&answer.fingerprint()))
        };
        let main_is_held = || self.main.is_none_or(|main| is_held(main));
        match self.unknown {
            Unknown::Nothing => false,
            Unknown::Stuck => main_is_held() && self.additional.iter().all(|answer| is_held(answer)),
            Unknown::Awaited => main_is_held(),
        }
    }
}

fn recorded(resource: &ClientCertificateRef) -> impl Iterator<Item = &CertificateStatus> {
    resource.status.iter().flat_map(|status| &status.certificates)
}

fn choose<'a>(
    reading: &'a Reading,
    source: &Result<Source, ReadFailure>,
    is_there: bool,
    was_there: bool,
    now: Timestamp,
) -> Option<&'a Arc<Answer>> {
    match reading.outcome(source, now) {
        Some(Ok(answer)) => Some(answer),
        Some(Err(failure)) if failure.ends_trust() && !is_there => None,
        Some(Err(_)) | None => {
            let last_good = reading.last_good()?;
            (was_there || source.as_ref() == Ok(&last_good.source)).then_some(last_good)
        }
    }
}
