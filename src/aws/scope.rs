//! One scope is one region as one identity sees it. A scope holds the subscribers, the last answers, the calls that are due,
//! and the resources that an answer concerns. Pure: time, jitter and answers are arguments.
//!
//! Each certificate, the list with its tags, and the stages of each API have an [`Entry`] as long as a resource subscribes to
//! them. Certificates that are due within a few milliseconds are read together: by the list, or by id if that takes no more
//! calls or AWS refuses the list. The stages of an API take one call.

mod entry;
mod tags;

pub use entry::Snapshot;
pub use tags::{Listing, Tags};

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use entry::{Entry, Kind, transient_backoff};
use jiff::Timestamp;

use crate::api::ResourceName;
use crate::aws::answer::Answer;
use crate::aws::gateway::{ClientCertificate, GatewayError, Outage, Place, Source, Stage};
use crate::backoff::Backoff;
use crate::error::{FailureClass, ReadFailure};
use crate::settings::Tick;

/// How long to wait for other certificates that become due, so that one call serves all.
pub const GATHER: Duration = Duration::from_millis(4);
/// A list that is denied or invalid is not requested again for this long.
pub const LIST_OFF: Duration = Duration::from_secs(10 * 60);
/// The most reads of one scope and one service at the same time, besides the list.
const READS_AT_ONCE: usize = 8;

/// The id or ARN that each stage of an API presents, by the name of the stage; `None` for a stage without a certificate.
pub type Stages = BTreeMap<String, Option<String>>;

/// The inputs of a decision that differ from call to call.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The time of the steady clock.
    pub now: Tick,
    /// The time of the wall clock.
    pub wall: Timestamp,
    /// A random number from 0 to 1.
    pub jitter: f64,
}

/// The next step of the poller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The scope has no subscriber, so the poller ends.
    End,
    /// Wait until this time; without a time, until the scope changes.
    Wait(Option<Tick>),
    /// Make these calls. The time is when each was due.
    Read(Vec<(Topic, Tick)>),
    /// Read the list.
    List,
}

/// A value of AWS to which resources subscribe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topic {
    /// The certificate with this id.
    Certificate(String),
    /// The tags of all certificates.
    Tags,
    /// The stages of the API with this id.
    Stages(String),
    /// The certificate of ACM with this ARN.
    Acm(String),
}

impl Topic {
    /// The topic of a certificate.
    pub fn of(source: &Source) -> Self {
        if source.is_of_acm() { Topic::Acm(source.id.clone()) } else { Topic::Certificate(source.id.clone()) }
    }
}

/// The requirements of one subscriber.
#[derive(Clone, Copy, Debug)]
pub struct Interest {
    /// The greatest age of an answer.
    pub interval: Duration,
    /// Whether only a read that starts after this moment is an answer.
    pub force: bool,
}

/// The change that a subscription made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscribed {
    /// The resource did not subscribe to this certificate before.
    New,
    /// The subscriber has another interval, or forces a read.
    Changed,
    /// The subscription is as before.
    Unchanged,
}

/// A response about a certificate after the checks.
#[derive(Clone, Debug)]
pub struct Checked {
    digest: u64,
    outcome: Result<Arc<Answer>, ReadFailure>,
}

/// A certificate in a list.
#[derive(Clone, Debug)]
pub enum Listed {
    /// A certificate with a subscriber.
    Checked(String, Checked),
    /// A certificate that had no subscriber when its page arrived.
    Unclaimed(ClientCertificate),
}

/// One region as one identity sees it.
#[derive(Debug)]
pub struct Scope {
    place: Place,
    certificates: HashMap<String, Certificate>,
    /// The list, for resources that select by tags.
    list: Option<Entry<Listing>>,
    /// By the id of the API.
    stages: HashMap<String, Entry<Stages>>,
    /// By the ARN.
    acm: HashMap<String, Entry<Answer>>,
    /// The certificates of the last list that have no subscriber.
    unclaimed: HashMap<String, ClientCertificate>,
    unclaimed_started: Tick,
    /// The calls that the last list took.
    pages: usize,
    list_off_until: Tick,
    is_listing: bool,
    gather_until: Option<Tick>,
    /// The backoff after a list that failed as every call of the scope would.
    backoff: Backoff,
}

#[derive(Debug)]
struct Certificate {
    entry: Entry<Answer>,
    /// The digest of the response behind the good outcome: the same response needs no second check.
    digest: Option<u64>,
    /// The list lacks the certificate, so it is read by id.
    is_omitted: bool,
}

/// Whether a failure concerns the list alone, and says nothing about any certificate. Every call of the scope would meet
/// the other failures.
pub fn refuses_the_list(failure: &GatewayError) -> bool {
    match failure.class() {
        FailureClass::Settled | FailureClass::Conflict => true,
        FailureClass::Denied => !failure.is_of_credentials(),
        FailureClass::Throttled { .. } => false,
        FailureClass::Unavailable { .. } => failure.is_an_odd_answer() || is_status_404(failure),
    }
}

fn is_status_404(failure: &GatewayError) -> bool {
    matches!(failure, GatewayError::Unavailable { outage: Outage::Status(404), .. })
}

impl Checked {
    /// Checks a response. The response that `known` comes from is not checked again, apart from its expiry, unless the
    /// account has become known.
    pub fn new(
        source: &Source,
        account: Option<&str>,
        came: ClientCertificate,
        known: Option<&(u64, Arc<Answer>)>,
        wall: Timestamp,
    ) -> Self {
        let mut hasher = DefaultHasher::new();
        came.hash(&mut hasher);
        let digest = hasher.finish();
        let is_same = |(known, answer): &&(u64, Arc<Answer>)| *known == digest && answer.account.as_deref() == account;
        let outcome = match known.filter(is_same) {
            Some((_, answer)) if answer.certificate.is_expired(wall) => Err(ReadFailure::Expired),
            Some((_, answer)) => Ok(Arc::clone(answer)),
            None => Answer::check(source, account, came, wall).map(Arc::new),
        };
        Checked { digest, outcome }
    }
}

impl Scope {
    /// A scope without subscribers.
    pub fn new(place: Place) -> Self {
        Scope {
            place,
            certificates: HashMap::new(),
            list: None,
            stages: HashMap::new(),
            acm: HashMap::new(),
            unclaimed: HashMap::new(),
            unclaimed_started: Tick::ZERO,
            pages: 1,
            list_off_until: Tick::ZERO,
            is_listing: false,
            gather_until: None,
            backoff: transient_backoff(),
        }
    }

    /// Whether there is no subscriber.
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty() && self.list.is_none() && self.stages.is_empty() && self.acm.is_empty()
    }

    /// Whether a certificate has a subscriber.
    pub fn has(&self, id: &str) -> bool {
        self.certificates.contains_key(id)
    }

    /// Whether a topic has a subscriber.
    pub fn is_wanted(&self, topic: &Topic) -> bool {
        match topic {
            Topic::Certificate(id) => self.has(id),
            Topic::Tags => self.list.is_some(),
            Topic::Stages(api) => self.stages.contains_key(api),
            Topic::Acm(arn) => self.acm.contains_key(arn),
        }
    }

    /// The snapshot of a certificate with a subscriber.
    pub fn certificate(&self, id: &str) -> Option<&Snapshot<Answer>> {
        match self.certificates.get(id) {
            Some(certificate) => certificate.entry.snapshot(),
            None => self.acm.get(id)?.snapshot(),
        }
    }

    /// The snapshot of the list, if any resource selects by tags.
    pub fn list(&self) -> Option<&Snapshot<Listing>> {
        self.list.as_ref()?.snapshot()
    }

    /// The snapshot of the stages of an API with a subscriber.
    pub fn stages(&self, api: &str) -> Option<&Snapshot<Stages>> {
        self.stages.get(api)?.snapshot()
    }

    /// Whether the snapshot is as new as this subscriber wants it.
    pub fn has_answered(&self, topic: &Topic, resource: &ResourceName) -> bool {
        match topic {
            Topic::Certificate(id) => self.certificates.get(id).is_some_and(|it| it.entry.has_answered(resource)),
            Topic::Tags => self.list.as_ref().is_some_and(|list| list.has_answered(resource)),
            Topic::Stages(api) => self.stages.get(api).is_some_and(|stages| stages.has_answered(resource)),
            Topic::Acm(arn) => self.acm.get(arn).is_some_and(|entry| entry.has_answered(resource)),
        }
    }

    /// Subscribes a resource, or changes its interest.
    pub fn subscribe(
        &mut self,
        topic: &Topic,
        resource: &ResourceName,
        interest: Interest,
        account: Option<&str>,
        moment: Moment,
    ) -> Subscribed {
        match topic {
            Topic::Certificate(id) => self.subscribe_to_certificate(id, resource, interest, account, moment),
            Topic::Tags => {
                self.list.get_or_insert_with(|| Entry::new(moment)).subscribe(resource, interest, moment.now)
            }
            Topic::Stages(api) => {
                let stages = self.stages.entry(api.clone()).or_insert_with(|| Entry::new(moment));
                stages.subscribe(resource, interest, moment.now)
            }
            Topic::Acm(arn) => {
                let entry = self.acm.entry(arn.clone()).or_insert_with(|| Entry::new(moment));
                entry.subscribe(resource, interest, moment.now)
            }
        }
    }

    fn subscribe_to_certificate(
        &mut self,
        id: &str,
        resource: &ResourceName,
        interest: Interest,
        account: Option<&str>,
        moment: Moment,
    ) -> Subscribed {
        if let Some(certificate) = self.certificates.get_mut(id) {
            return certificate.entry.subscribe(resource, interest, moment.now);
        }
        let mut certificate = Certificate { entry: Entry::new(moment), digest: None, is_omitted: false };
        let subscribed = certificate.entry.subscribe(resource, interest, moment.now);
        let is_new_enough = moment.now.saturating_sub(self.unclaimed_started) <= interest.interval;
        if let Some(came) = self.unclaimed.remove(id).filter(|_| is_new_enough) {
            let source = Source { place: self.place.clone(), id: id.to_owned() };
            let checked = Checked::new(&source, account, came, None, moment.wall);
            // The only subscriber reads the answer in this reconcile.
            let _ = certificate.record(self.unclaimed_started, checked, None, moment);
            if self.unclaimed.is_empty() {
                // After a start, the map held every certificate.
                self.unclaimed.shrink_to_fit();
            }
        }
        self.certificates.insert(id.to_owned(), certificate);
        subscribed
    }

    /// Ends a subscription. The last one of a topic drops the topic's snapshot.
    pub fn unsubscribe(&mut self, topic: &Topic, resource: &ResourceName) {
        match topic {
            Topic::Certificate(id) => {
                if self.certificates.get_mut(id).is_some_and(|certificate| certificate.entry.unsubscribe(resource)) {
                    self.certificates.remove(id);
                }
            }
            Topic::Tags => drop(self.list.take_if(|list| list.unsubscribe(resource))),
            Topic::Stages(api) => {
                if self.stages.get_mut(api).is_some_and(|stages| stages.unsubscribe(resource)) {
                    self.stages.remove(api);
                }
            }
            Topic::Acm(arn) => {
                if self.acm.get_mut(arn).is_some_and(|entry| entry.unsubscribe(resource)) {
                    self.acm.remove(arn);
                }
            }
        }
    }

    /// Forces a read of a certificate. Its answer wakes every subscriber.
    pub fn refresh(&mut self, id: &str, now: Tick) {
        if let Some(certificate) = self.certificates.get_mut(id) {
            certificate.entry.refresh(now);
        }
    }

    /// The next step of the poller at this time.
    pub fn plan(&mut self, now: Tick) -> Step {
        if self.is_empty() {
            return Step::End;
        }
        let mut next = Next { now, at: None };
        let stages = self.stages.iter().filter_map(|(api, entry)| next.call(entry, || Topic::Stages(api.clone())));
        let mut calls: Vec<_> = stages.collect();
        calls.extend(self.acm.iter().filter_map(|(arn, entry)| next.call(entry, || Topic::Acm(arn.clone()))));
        if self.is_listing {
            return self.read(calls, next.at);
        }
        let due: Vec<_> =
            self.certificates.iter().filter(|(_, certificate)| next.is_due(certificate.due_at())).collect();
        let is_list_due = self.list.as_ref().is_some_and(|list| next.is_due(list.due_at()));
        // Reads by id take turns with the stages: there may be more stages than the rate limit allows.
        let is_list_off = !is_list_due && now < self.list_off_until;
        let is_any_omitted = due.iter().any(|(_, certificate)| certificate.is_omitted);
        if !calls.is_empty() || is_any_omitted {
            let by_name = |(_, certificate): &&(_, &Certificate)| certificate.is_omitted || is_list_off;
            calls.extend(due.iter().filter(by_name).map(call_of));
            let room = self.room();
            if is_any_omitted || calls.iter().any(|(topic, _)| room[service_of(topic)] > 0) {
                return self.read(calls, next.at);
            }
        }
        if due.is_empty() && !is_list_due {
            self.gather_until = None;
            return Step::Wait(next.at);
        }
        let until = *self.gather_until.get_or_insert(now + GATHER);
        if now < until {
            return Step::Wait(Some(until));
        }
        if is_list_off || (!is_list_due && !self.is_list_worth(&due)) {
            let calls = due.iter().map(call_of).collect();
            return self.read(calls, next.at);
        }
        self.gather_until = None;
        self.is_listing = true;
        Step::List
    }

    /// Whether the list takes fewer calls than reads by id. Reads that are under way count: the certificates of resources
    /// that are created together become due one after the other, and more may follow. The certificates that stages present
    /// do so at every read, and the list brings all of them: with stages, the list may take as many calls.
    fn is_list_worth(&self, due: &[(&String, &Certificate)]) -> bool {
        let by_name = self.calls_by_name(due) + self.certificates_under_way();
        by_name > self.pages || (by_name == self.pages && !self.stages.is_empty())
    }

    /// The number of calls without a list. With a good answer that has grown old, the count includes every certificate that
    /// will be due before this one is due again: the list brings them into step.
    fn calls_by_name(&self, due: &[(&String, &Certificate)]) -> usize {
        let refreshed = due.iter().filter(|(_, certificate)| certificate.grows_old());
        let soon = refreshed.filter_map(|(_, certificate)| Some(certificate.due_at()? + certificate.entry.interval()));
        let Some(soon) = soon.min() else { return due.len() };
        let is_soon = |certificate: &&Certificate| certificate.grows_old() && certificate.is_due(soon);
        let refreshes = self.certificates.values().filter(is_soon);
        refreshes.count() + due.iter().filter(|(_, certificate)| !certificate.grows_old()).count()
    }

    /// The number of calls to each service that may start now. A silent ACM must not hold up API Gateway, so each service
    /// has a limit of its own.
    fn room(&self) -> [usize; 2] {
        let stages = self.stages.values().filter(|stages| stages.is_under_way());
        let acm = self.acm.values().filter(|entry| entry.is_under_way());
        let under_way = [self.certificates_under_way() + stages.count(), acm.count()];
        under_way.map(|calls| READS_AT_ONCE.saturating_sub(calls))
    }

    /// The number of certificates that are being read by id.
    fn certificates_under_way(&self) -> usize {
        self.certificates.values().filter(|certificate| certificate.entry.is_under_way()).count()
    }

    /// Starts the calls that may start now, the longest due first. Without any, the end of a running call makes room, and
    /// others become due at `next`.
    fn read(&mut self, mut calls: Vec<(Topic, Tick)>, next: Option<Tick>) -> Step {
        self.gather_until = None;
        let mut room = self.room();
        calls.sort_by_key(|(_, due)| *due);
        calls.retain(|(topic, _)| {
            let room = &mut room[service_of(topic)];
            let has_room = *room > 0;
            *room = room.saturating_sub(1);
            has_room
        });
        if calls.is_empty() {
            return Step::Wait(next);
        }
        for (topic, _) in &calls {
            match topic {
                Topic::Certificate(id) => self.certificates.get_mut(id).into_iter().for_each(|it| it.entry.begin()),
                Topic::Tags => {}
                Topic::Stages(api) => self.stages.get_mut(api).into_iter().for_each(Entry::begin),
                Topic::Acm(arn) => self.acm.get_mut(arn).into_iter().for_each(Entry::begin),
            }
        }
        Step::Read(calls)
    }

    /// The last good answer about a certificate, with the digest of its response.
    pub fn known(&self, id: &str) -> Option<(u64, Arc<Answer>)> {
        let certificate = self.certificates.get(id)?;
        Some((certificate.digest?, Arc::clone(certificate.entry.snapshot()?.last_good.as_ref()?)))
    }

    /// Records the outcome of a call about one certificate. Calls may not start before `not_before`. Returns the resources
    /// to wake.
    pub fn got(
        &mut self,
        id: &str,
        started: Tick,
        came: Result<Checked, GatewayError>,
        not_before: Option<Tick>,
        moment: Moment,
    ) -> Vec<ResourceName> {
        let Some(certificate) = self.certificates.get_mut(id) else { return Vec::new() };
        certificate.entry.end();
        certificate.is_omitted = false;
        match came {
            Ok(checked) => {
                // AWS answers again.
                self.backoff.reset();
                certificate.record(started, checked, not_before, moment)
            }
            Err(failure) => certificate.entry.fail(started, failure.into(), not_before, None, moment),
        }
    }

    /// Records the outcome of a call about the stages of an API. Returns the resources to wake.
    pub fn got_stages(
        &mut self,
        api: &str,
        started: Tick,
        came: Result<Vec<Stage>, GatewayError>,
        not_before: Option<Tick>,
        moment: Moment,
    ) -> Vec<ResourceName> {
        let Some(entry) = self.stages.get_mut(api) else { return Vec::new() };
        entry.end();
        match came {
            Ok(came) => {
                self.backoff.reset();
                let stages: Stages = came.into_iter().map(|stage| (stage.name, stage.certificate)).collect();
                entry.succeed(started, Arc::new(stages), moment.jitter)
            }
            Err(failure) => entry.fail(started, failure.into(), not_before, None, moment),
        }
    }

    /// Records the outcome of the calls about an ACM certificate. Returns the resources to wake.
    pub fn got_acm(
        &mut self,
        arn: &str,
        started: Tick,
        came: Result<Arc<Answer>, ReadFailure>,
        not_before: Option<Tick>,
        moment: Moment,
    ) -> Vec<ResourceName> {
        let Some(entry) = self.acm.get_mut(arn) else { return Vec::new() };
        entry.end();
        match came {
            Ok(answer) => entry.succeed(started, answer, moment.jitter),
            Err(failure) => entry.fail(started, failure, not_before, None, moment),
        }
    }

    /// A call was not made, because calls may not start before `until`. Returns the resources to wake.
    pub fn paused(&mut self, topic: &Topic, until: Tick, moment: Moment) -> Vec<ResourceName> {
        match topic {
            Topic::Certificate(id) => {
                let Some(certificate) = self.certificates.get_mut(id) else { return Vec::new() };
                certificate.is_omitted = false;
                certificate.entry.end();
                certificate.entry.pause(until, moment)
            }
            Topic::Tags => {
                self.is_listing = false;
                let due = self.certificates.values_mut().filter(|certificate| certificate.is_due(moment.now));
                let mut woken: Vec<_> = due.flat_map(|certificate| certificate.entry.pause(until, moment)).collect();
                woken.extend(self.list.iter_mut().flat_map(|list| list.pause(until, moment)));
                woken
            }
            Topic::Stages(api) => {
                let Some(stages) = self.stages.get_mut(api) else { return Vec::new() };
                stages.end();
                stages.pause(until, moment)
            }
            Topic::Acm(arn) => {
                let Some(entry) = self.acm.get_mut(arn) else { return Vec::new() };
                entry.end();
                entry.pause(until, moment)
            }
        }
    }

    /// Records a whole list of `pages` pages; `listing` holds its tags. Returns the resources to wake.
    pub fn listed(
        &mut self,
        started: Tick,
        pages: usize,
        list: Vec<Listed>,
        listing: Listing,
        account: Option<&str>,
        moment: Moment,
    ) -> Vec<ResourceName> {
        self.is_listing = false;
        self.pages = pages.max(1);
        self.list_off_until = Tick::ZERO;
        self.backoff.reset();
        self.unclaimed.clear();
        self.unclaimed_started = started;
        let of_tags = self.list.as_mut().map(|list| list.succeed(started, Arc::new(listing), moment.jitter));
        let mut woken = of_tags.unwrap_or_default();
        for certificate in self.certificates.values_mut() {
            certificate.is_omitted = true;
        }
        for listed in list {
            let (id, checked) = match listed {
                Listed::Checked(id, checked) => (id, checked),
                Listed::Unclaimed(came) if self.certificates.contains_key(&came.id) => {
                    let source = Source { place: self.place.clone(), id: came.id.clone() };
                    (source.id.clone(), Checked::new(&source, account, came, None, moment.wall))
                }
                Listed::Unclaimed(came) => {
                    self.unclaimed.insert(came.id.clone(), came);
                    continue;
                }
            };
            if let Some(certificate) = self.certificates.get_mut(&id) {
                certificate.is_omitted = false;
                woken.extend(certificate.record(started, checked, None, moment));
            }
        }
        for certificate in self.certificates.values_mut().filter(|certificate| certificate.is_omitted) {
            certificate.is_omitted = false;
            // No read by id for a certificate that is known to be missing, or was read after the list started.
            certificate.is_omitted = match certificate.entry.snapshot() {
                Some(snapshot) if snapshot.started >= started => false,
                Some(Snapshot { outcome: Err(failure), .. }) if Kind::of(failure) == Kind::NotFound => {
                    certificate.is_due(moment.now)
                }
                _ => true,
            };
        }
        woken
    }

    /// The list failed. A failure that every call of the scope would meet answers every certificate that is due or fails in
    /// the same way. Returns the resources to wake.
    pub fn list_failed(
        &mut self,
        started: Tick,
        failure: &GatewayError,
        not_before: Option<Tick>,
        moment: Moment,
    ) -> Vec<ResourceName> {
        self.is_listing = false;
        let failure_of_all = ReadFailure::from(failure.clone());
        let mut fail_list = |not_before, together| {
            let failed =
                self.list.as_mut().map(|list| list.fail(started, failure_of_all.clone(), not_before, together, moment));
            failed.unwrap_or_default()
        };
        if refuses_the_list(failure) {
            self.list_off_until = moment.now + LIST_OFF;
            return fail_list(None, None);
        }
        let kind = Kind::of(&failure_of_all);
        let together = (kind == Kind::Transient).then(|| self.backoff.fail(moment.jitter));
        let mut woken = fail_list(not_before, together);
        for certificate in self.certificates.values_mut() {
            if certificate.is_due(moment.now) || certificate.is_failing_like(kind) {
                certificate.is_omitted = false;
                woken.extend(certificate.entry.fail(started, failure_of_all.clone(), not_before, together, moment));
            }
        }
        woken
    }

    /// The operator wrote the description, and AWS returned this one; `None` if the outcome is unknown. Responses to calls
    /// that started before `now` no longer count. Returns the resources to wake.
    pub fn described(&mut self, id: &str, description: Option<&str>, now: Tick) -> Vec<ResourceName> {
        self.unclaimed.remove(id);
        let Some(certificate) = self.certificates.get_mut(id) else { return Vec::new() };
        let last_good = certificate.entry.snapshot().and_then(|snapshot| snapshot.last_good.as_ref());
        let changed = last_good.zip(description).filter(|(answer, description)| answer.description != *description);
        let changed = changed.map(|(answer, description)| {
            let mut answer = Arc::clone(answer);
            Arc::make_mut(&mut answer).description = description.to_owned();
            answer
        });
        if changed.is_some() {
            certificate.digest = None;
        }
        certificate.entry.written(changed, now)
    }
}

/// The earliest due time after now.
struct Next {
    now: Tick,
    at: Option<Tick>,
}

impl Next {
    fn is_due(&mut self, due: Option<Tick>) -> bool {
        let Some(due) = due else { return false };
        if due > self.now {
            self.at = Some(self.at.map_or(due, |at| at.min(due)));
        }
        due <= self.now
    }

    /// The call of an entry, if it is due.
    fn call<T: PartialEq>(&mut self, entry: &Entry<T>, topic: impl FnOnce() -> Topic) -> Option<(Topic, Tick)> {
        let due = entry.due_at();
        self.is_due(due).then(|| (topic(), entry.queued_at(due)))
    }
}

/// The position of the service of a call in [`Scope::room`].
fn service_of(topic: &Topic) -> usize {
    usize::from(matches!(topic, Topic::Acm(_)))
}

fn call_of((id, certificate): &(&String, &Certificate)) -> (Topic, Tick) {
    (Topic::Certificate((*id).clone()), certificate.entry.queued_at(certificate.due_at()))
}

impl Certificate {
    fn due_at(&self) -> Option<Tick> {
        let is_omitted = self.is_omitted && !self.entry.is_under_way();
        if is_omitted { Some(Tick::ZERO) } else { self.entry.due_at() }
    }

    fn is_due(&self, now: Tick) -> bool {
        self.due_at().is_some_and(|due| due <= now)
    }

    fn grows_old(&self) -> bool {
        !self.is_omitted && self.entry.grows_old()
    }

    fn is_failing_like(&self, kind: Kind) -> bool {
        self.entry.is_failing_like(kind)
    }

    /// Records an answer, good or bad. Returns the resources to wake.
    fn record(
        &mut self,
        started: Tick,
        checked: Checked,
        not_before: Option<Tick>,
        moment: Moment,
    ) -> Vec<ResourceName> {
        let answer = match checked.outcome {
            Ok(answer) => answer,
            Err(failure) => return self.entry.fail(started, failure, not_before, None, moment),
        };
        let woken = self.entry.succeed(started, Arc::clone(&answer), moment.jitter);
        let holds = self.entry.snapshot().and_then(|snapshot| snapshot.last_good.as_ref());
        if holds.is_some_and(|held| Arc::ptr_eq(held, &answer)) {
            self.digest = Some(checked.digest);
        }
        woken
    }
}

#[cfg(test)]
mod tests;
