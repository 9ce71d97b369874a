//! The input of a decision, beside the resource itself: plain data, gathered before anything is decided.

use std::sync::Arc;

use jiff::Timestamp;

use crate::api::{AcmTrust, ClientCertificateRef, Main};
use crate::aws::answer::Answer;
use crate::aws::cache::{Listing, Snapshot as Read, Stages};
use crate::aws::gateway::{GatewayError, Place, RestApi, Source, is_of_acm};
use crate::controllers::description::Outcome as DescriptionOutcome;
use crate::error::{ClusterFailure, ReadFailure, Subject};
use crate::rules::Refusal;
use crate::settings::{Now, Tick};
use crate::target::{NoPassword, Password, Target, TargetMeta};

use super::backoff::Hold;
use super::installation::Marked;

/// The content of stores and caches, and of one or two requests. A failed read is data here.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The time of this reconcile.
    pub now: Now,
    /// A random number from 0 to 1, which spreads waits.
    pub jitter: f64,
    /// The main certificate. None where a stage names it that was not read yet.
    pub main: Option<Named>,
    /// The stage that names it.
    pub stage: Option<StageRead>,
    /// The additional ones, in the order of the spec.
    pub additional: Vec<Named>,
    /// Those that the spec does not name: first the ones with its tags, newest first, then what the status has of such.
    pub unnamed: Vec<Named>,
    /// What the list says of tags, where the spec has some.
    pub tags: Option<TagRead>,
    /// When this process last repaired the target without writing it into the status since.
    pub repaired: Option<Timestamp>,
    /// Whether AWS has answered all that the resource asks for, a forced read included.
    pub answered: bool,
    /// Since when the resource waits for that.
    pub asked: Tick,
    /// Whether the resource may own the description of its certificate.
    pub may_describe: Result<(), HeldBack>,
    /// What the description controller found, if anything yet.
    pub description: Option<DescriptionOutcome>,
    /// The object that the spec names.
    pub target: Result<Option<Target>, ClusterFailure>,
    /// Whether the resource exists that the target's owner annotation names.
    pub owner_exists: bool,
    /// Other objects with this resource's label and annotations.
    pub former_targets: Vec<TargetMeta>,
    /// The password of the spec, or a new one. None without a truststore.
    pub password: Option<Result<Password, NoPassword>>,
    /// The password that this process made and wrote last. It is a secret, so the status cannot keep it: a new process takes
    /// what the target holds.
    pub written_password: Option<Password>,
    /// Until when writes of the target wait.
    pub hold: Option<Hold>,
    /// Which installation the status names from now on.
    pub installation: Marked,
}

/// A certificate that the spec names.
#[derive(Clone, Debug)]
pub struct Named {
    /// API Gateway's id.
    pub id: String,
    /// Where it is read, or why the resource may not read it.
    pub source: Result<Source, ReadFailure>,
    /// What the cache holds.
    pub read: Option<Read<Answer>>,
}

/// A stage that names the main certificate.
#[derive(Clone, Debug)]
pub struct StageRead {
    /// The API.
    pub api: RestApi,
    /// The name of the stage.
    pub name: String,
    /// Whether to trust a certificate of ACM.
    pub acm: AcmTrust,
    /// What the cache holds of the stages of the API.
    pub read: Option<Read<Stages>>,
}

/// What a stage presents.
#[derive(Clone, Debug, PartialEq)]
pub enum Presented<'a> {
    /// This process has no answer yet.
    Pending,
    /// This certificate: an id, or the ARN of one of ACM.
    Certificate(&'a str),
    /// Nothing that the operator can read.
    Failed {
        /// Why.
        failure: ReadFailure,
        /// When the current series of failures began in this process.
        since: Option<Tick>,
    },
}

impl StageRead {
    /// What the stage presents.
    pub fn presented(&self) -> Presented<'_> {
        let (api, stage) = (|| self.api.id.clone(), || self.name.clone());
        let failure = match &self.read {
            None => return Presented::Pending,
            Some(Read { outcome: Err(ReadFailure::Gateway(GatewayError::NotFound)), .. }) => {
                ReadFailure::ApiNotFound { api: api(), region: self.api.place.region.clone() }
            }
            Some(Read { outcome: Err(failure), failing_since, .. }) => {
                return Presented::Failed { failure: failure.clone(), since: *failing_since };
            }
            Some(Read { outcome: Ok(stages), .. }) => match stages.get(&self.name) {
                None => {
                    let region = self.api.place.region.clone();
                    ReadFailure::StageNotFound { api: api(), region, stage: stage() }
                }
                Some(None) => ReadFailure::StageHasNoCertificate { api: api(), stage: stage() },
                Some(Some(arn)) if is_of_acm(arn) && self.acm == AcmTrust::Refuse => {
                    ReadFailure::AcmNotAllowed { api: api(), stage: stage(), arn: arn.clone() }
                }
                Some(Some(id)) => return Presented::Certificate(id),
            },
        };
        Presented::Failed { failure, since: None }
    }

    /// The id or ARN that the stage presents. None where that is not known, Some(None) where the stage has no certificate.
    pub fn names(&self) -> Option<Option<&str>> {
        let stages = self.read.as_ref()?.outcome.as_ref().ok()?;
        Some(stages.get(&self.name)?.as_deref())
    }
}

/// The certificate that the stage of a resource presents, as far as the spec trusts it.
pub fn presented<'s>(resource: &ClientCertificateRef, stages: Option<&'s Read<Stages>>) -> Option<&'s str> {
    let Some(Main::Stage(stage)) = resource.main() else { return None };
    let id = stages?.outcome.as_ref().ok()?.get(&stage.stage_name)?.as_deref()?;
    (!is_of_acm(id) || stage.acm == AcmTrust::Trust).then_some(id)
}

/// What the list of client certificates says of their tags.
#[derive(Clone, Debug)]
pub struct TagRead {
    /// Where the list is read.
    pub place: Place,
    /// What the cache holds.
    pub read: Option<Read<Listing>>,
}

impl Snapshot {
    /// What is known of the main certificate: it is as well known as the stage that names it.
    pub fn main_look(&self) -> Look<'_> {
        let certificate = self.main.as_ref().map_or(Look::Pending, |main| main.look(self.now));
        match self.stage.as_ref().map(StageRead::presented) {
            None | Some(Presented::Certificate(_)) => certificate,
            Some(Presented::Pending) => Look::Pending,
            Some(Presented::Failed { failure, since }) => {
                let last_good = match certificate {
                    Look::Good(answer) => Some(answer),
                    Look::Failed { last_good, .. } => last_good,
                    Look::Pending => None,
                };
                Look::Failed { failure, last_good, since }
            }
        }
    }

    /// Where the main certificate is read.
    pub fn main_source(&self) -> Option<&Source> {
        self.main.as_ref()?.source.as_ref().ok()
    }

    /// What a failure of the main certificate is about.
    pub fn main_subject(&self) -> Option<Subject<'_>> {
        match &self.stage {
            Some(stage) if matches!(stage.presented(), Presented::Failed { .. }) => Some(Subject::Stages(&stage.api)),
            _ => self.main_source().map(Subject::Certificate),
        }
    }

    /// The list that says which certificates have which tags. None where there is no whole list, or where it carries no tags
    /// at all.
    pub fn listing(&self) -> Option<&Listing> {
        let read = self.tags.as_ref()?.read.as_ref()?;
        read.outcome.as_ref().ok().filter(|listing| listing.carries_tags()).map(Arc::as_ref)
    }
}

/// Why a resource may not own the description of its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeldBack {
    /// The rules do not allow it.
    Refused(Refusal),
    /// Another resource may name the same certificate through a role of the operator's own account, which is not known.
    AccountUnknown,
}

/// What is known of a certificate now.
#[derive(Clone, Debug)]
pub enum Look<'a> {
    /// This process has no answer yet.
    Pending,
    /// A valid certificate.
    Good(&'a Arc<Answer>),
    /// It cannot be read, or has ended.
    Failed {
        /// Why.
        failure: ReadFailure,
        /// The last valid answer of this process.
        last_good: Option<&'a Arc<Answer>>,
        /// When the current series of failures began in this process.
        since: Option<Tick>,
    },
}

impl Named {
    /// What is known of the certificate at this time. An answer ends with its certificate.
    pub fn look(&self, now: Now) -> Look<'_> {
        let failed =
            |failure: &ReadFailure, last_good, since| Look::Failed { failure: failure.clone(), last_good, since };
        match (&self.source, &self.read) {
            (Err(failure), _) => failed(failure, None, None),
            (Ok(_), None) => Look::Pending,
            (Ok(_), Some(Read { outcome: Ok(answer), .. })) => match answer.valid_at(now.wall) {
                Ok(()) => Look::Good(answer),
                Err(failure @ ReadFailure::NotYetValid { .. }) => failed(&failure, None, None),
                Err(failure) => failed(&failure, Some(answer), None),
            },
            (Ok(_), Some(Read { outcome: Err(failure), last_good, failing_since, .. })) => {
                failed(failure, last_good.as_ref(), *failing_since)
            }
        }
    }
}

impl Look<'_> {
    /// A transient failure that has not lasted longer than `interval`.
    pub fn is_short_failure(&self, interval: std::time::Duration, now: Now) -> bool {
        match self {
            Look::Failed { failure, since, .. } => {
                failure.is_transient() && since.is_none_or(|since| now.tick.saturating_sub(since) < interval)
            }
            Look::Pending | Look::Good(_) => false,
        }
    }
}
