//! The input of a decision, apart from the resource: plain data that is gathered before the decision.

use std::sync::Arc;

use jiff::Timestamp;

use crate::access::is_trusted;
use crate::api::{AcmTrust, ClientCertificateRef, Main};
use crate::aws::answer::Answer;
use crate::aws::gateway::{GatewayError, Place, RestApi, Source};
use crate::aws::scope::{Listing, Snapshot as Read, Stages};
use crate::controllers::description::plan::Outcome as DescriptionOutcome;
use crate::error::{ClusterFailure, ReadFailure, Subject};
use crate::rules::Refusal;
use crate::settings::{Now, Tick};
use crate::target::{NoPassword, Password, Target, TargetMeta};

use super::backoff::Hold;
use super::installation::Marked;

/// The data from stores, caches, and one or two requests. A failed read is data too.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The time of this reconcile.
    pub now: Now,
    /// A random number from 0 to 1, which spreads waits.
    pub jitter: f64,
    /// The main certificate. `None` if a stage presents it and the stage was not read yet.
    pub main: Option<Named>,
    /// The stage that presents the main certificate, if the spec names a stage.
    pub stage: Option<StageRead>,
    /// The certificates of `spec.additionalClientCertificateIds`, in the order of the spec.
    pub additional: Vec<Named>,
    /// The certificates that the spec does not name by id: first those with the tags of the spec, newest first, then
    /// those of the status.
    pub unnamed: Vec<Named>,
    /// The account of the operator's own credentials; `None` while it is unknown.
    pub own_account: Option<String>,
    /// The ACM certificates of the status that the resource may read.
    pub acm: Vec<Source>,
    /// The read of the list with its tags, if the spec has tags.
    pub tags: Option<TagRead>,
    /// The time of this process's last repair of the target, if the status does not contain the repair yet.
    pub repaired: Option<Timestamp>,
    /// Whether AWS has answered the whole subscription of the resource, including a forced read.
    pub answered: bool,
    /// When the resource began to wait for the answers.
    pub asked: Tick,
    /// Whether the resource may own the description of its certificate.
    pub may_describe: Result<(), HeldBack>,
    /// The outcome of the description controller, if there is one yet.
    pub description: Option<DescriptionOutcome>,
    /// The object that the spec names.
    pub target: Result<Option<Target>, ClusterFailure>,
    /// Whether the resource in the target's owner annotation exists.
    pub owner_exists: bool,
    /// Other objects with this resource's label and annotations.
    pub former_targets: Vec<TargetMeta>,
    /// The password in the Secret that the spec names, or a new password. `None` without a truststore.
    pub password: Option<Result<Password, NoPassword>>,
    /// The password that this process generated and wrote last. The status must not hold it, because it is a secret. A
    /// new process uses the password in the target.
    pub written_password: Option<Password>,
    /// The wait of the next write of the target, if there is one.
    pub hold: Option<Hold>,
    /// The installation to write into the status.
    pub installation: Marked,
}

/// A certificate of the resource.
#[derive(Clone, Debug)]
pub struct Named {
    /// API Gateway's id, or the ARN of an ACM certificate.
    pub id: String,
    /// The source, or the reason for which the resource may not read the certificate.
    pub source: Result<Source, ReadFailure>,
    /// The read in the cache, if there is one.
    pub read: Option<Read<Answer>>,
}

/// The stage that presents the main certificate.
#[derive(Clone, Debug)]
pub struct StageRead {
    pub api: RestApi,
    /// The name of the stage.
    pub name: String,
    /// Whether the spec trusts an ACM certificate.
    pub acm: AcmTrust,
    /// The read of the API's stages in the cache, if there is one.
    pub read: Option<Read<Stages>>,
}

/// The certificate that a stage presents.
#[derive(Clone, Debug, PartialEq)]
pub enum Presented<'a> {
    /// This process has no answer yet.
    Pending,
    /// The stage presents this certificate: an id, or the ARN of an ACM certificate.
    Certificate(&'a str),
    /// The stage cannot be read, or presents no certificate that the operator can use.
    Failed {
        /// Why.
        failure: ReadFailure,
        /// When the current series of failures began in this process.
        since: Option<Tick>,
    },
}

impl StageRead {
    /// The certificate that the stage presents.
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
                Some(Some(arn)) if !is_trusted(arn, self.acm) => {
                    ReadFailure::AcmNotAllowed { api: api(), stage: stage(), arn: arn.clone() }
                }
                Some(Some(id)) => return Presented::Certificate(id),
            },
        };
        Presented::Failed { failure, since: None }
    }

    /// The id or ARN that the stage presents. `None` if it is unknown, `Some(None)` if the stage has no certificate.
    pub fn names(&self) -> Option<Option<&str>> {
        let stages = self.read.as_ref()?.outcome.as_ref().ok()?;
        Some(stages.get(&self.name)?.as_deref())
    }
}

/// The certificate that the stage of a resource presents, if the spec trusts it.
pub fn presented<'s>(resource: &ClientCertificateRef, stages: Option<&'s Read<Stages>>) -> Option<&'s str> {
    let Some(Main::Stage(stage)) = resource.main() else { return None };
    let id = stages?.outcome.as_ref().ok()?.get(&stage.stage_name)?.as_deref()?;
    is_trusted(id, stage.acm).then_some(id)
}

/// The read of the list of client certificates, which contains their tags.
#[derive(Clone, Debug)]
pub struct TagRead {
    /// The place of the list.
    pub place: Place,
    /// The read in the cache, if there is one.
    pub read: Option<Read<Listing>>,
}

impl Snapshot {
    /// The result of the last reads of the main certificate. It is pending or failed if the read of the stage is.
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

    /// The source of the main certificate.
    pub fn main_source(&self) -> Option<&Source> {
        self.main.as_ref()?.source.as_ref().ok()
    }

    /// The subject of a failure to read the main certificate: the stages, or the certificate.
    pub fn main_subject(&self) -> Option<Subject<'_>> {
        match &self.stage {
            Some(stage) if matches!(stage.presented(), Presented::Failed { .. }) => Some(Subject::Stages(&stage.api)),
            _ => self.main_source().map(Subject::Certificate),
        }
    }

    /// The list of certificates with their tags. `None` if the list was not read, or if it contains no tags at all.
    pub fn listing(&self) -> Option<&Listing> {
        let read = self.tags.as_ref()?.read.as_ref()?;
        read.outcome.as_ref().ok().filter(|listing| listing.carries_tags()).map(Arc::as_ref)
    }
}

/// The reason for which a resource may not own the description of its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeldBack {
    /// The rules do not allow the resource to own it.
    Refused(Refusal),
    /// The operator's own account is unknown, so another resource may name the same certificate through a role of that
    /// account.
    AccountUnknown,
}

/// The result of the last reads of a certificate.
#[derive(Clone, Debug)]
pub enum Look<'a> {
    /// This process has no answer yet.
    Pending,
    /// A valid certificate.
    Good(&'a Arc<Answer>),
    /// The certificate cannot be read, or has expired.
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
    /// The result of the last reads at this time. An answer is no longer good when its certificate expires.
    pub fn look(&self, now: Now) -> Look<'_> {
        let failed =
            |failure: &ReadFailure, last_good, since| Look::Failed { failure: failure.clone(), last_good, since };
        let Read { outcome, last_good, failing_since, .. } = match (&self.source, &self.read) {
            (Err(failure), _) => return failed(failure, None, None),
            (Ok(_), None) => return Look::Pending,
            (Ok(_), Some(read)) => read,
        };
        let known = outcome.as_ref().ok().or(last_good.as_ref());
        let invalid = known.and_then(|answer| answer.valid_at(now.wall).err());
        let last_good = known.filter(|_| !matches!(invalid, Some(ReadFailure::NotYetValid { .. })));
        let (failure, since) = match (outcome, &invalid) {
            (Ok(answer), None) => return Look::Good(answer),
            (Ok(_), Some(invalid)) => (invalid, None),
            // Time decides about a known certificate, unless AWS has said more.
            (Err(failure), Some(invalid)) if failure.is_transient() => (invalid, None),
            (Err(failure), _) => (failure, *failing_since),
        };
        failed(failure, last_good, since)
    }
}

impl Look<'_> {
    /// Whether the look is a transient failure that has lasted less than `interval`.
    pub fn is_short_failure(&self, interval: std::time::Duration, now: Now) -> bool {
        match self {
            Look::Failed { failure, since, .. } => {
                failure.is_transient() && since.is_none_or(|since| now.tick.saturating_sub(since) < interval)
            }
            Look::Pending | Look::Good(_) => false,
        }
    }
}
