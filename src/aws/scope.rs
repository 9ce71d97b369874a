//! What is known of one scope, that is of one region as one identity sees it: who subscribes to which certificate, what
//! the last answers were, what is due, and which resources an answer concerns. Pure: time, jitter and answers are arguments.
//!
//! Each certificate has an entry as long as a resource subscribes to it. The entry is due when it has no snapshot, when a
//! subscriber asks for a newer one, in the last tenth of the shortest interval of its subscribers after a good answer, and
//! after a backoff after a failure. What is due within a few milliseconds is asked for together: by the list, or by name
//! where that takes no more calls, and where the list is refused.

mod tags;

pub use tags::{Listing, TagSnapshot, Tags};

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tags::TagList;

use crate::api::ResourceName;
use crate::aws::answer::{Answer, FORCED_READS_APART};
use crate::aws::gateway::{ClientCertificate, GatewayError, Outage, Place, Source};
use crate::backoff::Backoff;
use crate::error::{FailureClass, ReadFailure, refresh_delay, retry_after_asked};
use crate::settings::Tick;

/// How long to wait for other certificates that become due, so that one call serves all.
pub const GATHER: Duration = Duration::from_millis(4);
/// A list that is denied or invalid is not requested again for this long.
pub const LIST_OFF: Duration = Duration::from_secs(10 * 60);
/// What a list brought of certificates without a subscriber answers a new subscription for this long: resources
/// are often created one after the other.
pub const UNCLAIMED_KEPT: Duration = Duration::from_secs(60);
/// The most single reads of one scope at the same time.
const GETS_AT_ONCE: usize = 8;
/// The longest wait before a certificate that API Gateway does not know is asked for again.
const NOT_FOUND_MOST: Duration = Duration::from_secs(60 * 60);

/// What is known of a certificate.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When the call started that brought the outcome.
    pub started: Tick,
    /// The result.
    pub outcome: Result<Arc<Answer>, ReadFailure>,
    /// The last answer that passed every check; the outcome, where that is good.
    pub last_good: Option<Arc<Answer>>,
    /// When the current series of failures began.
    pub failing_since: Option<Tick>,
}

/// The time, and what else a decision needs.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// By the steady clock.
    pub now: Tick,
    /// By the wall clock.
    pub wall: Timestamp,
    /// A random number from 0 to 1.
    pub jitter: f64,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is no subscriber: no call is made any more.
    End,
    /// Wait until then, or until something changes where no time is given.
    Wait(Option<Tick>),
    /// Ask for these certificates, each by name; with the time at which each was due.
    Get(Vec<(String, Tick)>),
    /// Ask for the list.
    List,
}

/// The requirements of one subscriber.
#[derive(Clone, Copy, Debug)]
pub struct Interest {
    /// How old an answer may be.
    pub interval: Duration,
    /// Whether a read has to start from now on.
    pub force: bool,
}

/// What a subscription has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscribed {
    /// The resource did not subscribe to this certificate before.
    New,
    /// What it wants is another interval, or a read that starts from now on.
    Changed,
    /// Nothing.
    Unchanged,
}

/// An answer about a certificate after the checks.
#[derive(Clone, Debug)]
pub struct Checked {
    digest: u64,
    outcome: Result<Arc<Answer>, ReadFailure>,
}

/// A certificate in a list.
#[derive(Clone, Debug)]
pub enum Listed {
    /// One that has a subscriber.
    Checked(String, Checked),
    /// One that had no subscriber when its page came.
    Unclaimed(ClientCertificate),
}

/// One region as one identity sees it.
#[derive(Debug)]
pub struct Scope {
    place: Place,
    entries: HashMap<String, Entry>,
    /// Who asks for tags, which the list tells of all certificates.
    tags: TagList,
    /// What the last list brought beside the entries.
    unclaimed: HashMap<String, ClientCertificate>,
    unclaimed_started: Tick,
    /// Calls that a list takes, as far as is known.
    pages: usize,
    list_off_until: Tick,
    is_listing: bool,
    gather_until: Option<Tick>,
    /// The backoff of lists that fail as every call of the scope does.
    backoff: Backoff,
}

#[derive(Debug)]
struct Entry {
    subscribers: HashMap<ResourceName, Subscriber>,
    /// The shortest of the subscribers' intervals.
    interval: Duration,
    snapshot: Option<Snapshot>,
    /// Of the answer as it came that the good outcome was made of: the same need not be checked again.
    digest: Option<u64>,
    /// An answer of a call that started before this does not count: the description was written meanwhile.
    outdated_before: Tick,
    /// An answer of a call that started before this is not new enough.
    wanted_from: Tick,
    /// When that was asked for.
    asked: Tick,
    is_forced: bool,
    /// Every subscriber is woken by an answer of a call that started at this time or later.
    wake_all_from: Option<Tick>,
    /// The list does not have it, so it is asked for by name.
    is_omitted: bool,
    is_under_way: bool,
    jitter: f64,
    retry_at: Tick,
    backoff: Option<(Kind, Backoff)>,
}

#[derive(Debug)]
struct Subscriber {
    interval: Duration,
    /// What the subscriber waits for is an answer of a call that started at this time or later.
    wants_from: Tick,
}

/// Failures with the same backoff.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Transient,
    Denied,
    NotFound,
    Settled,
}

impl Kind {
    fn of(failure: &ReadFailure) -> Self {
        if *failure == ReadFailure::Gateway(GatewayError::NotFound) {
            return Kind::NotFound;
        }
        match failure.class() {
            FailureClass::Settled => Kind::Settled,
            FailureClass::Denied => Kind::Denied,
            FailureClass::Conflict | FailureClass::Throttled { .. } | FailureClass::Unavailable { .. } => {
                Kind::Transient
            }
        }
    }

    fn backoff(self, interval: Duration) -> Backoff {
        match self {
            Kind::Transient => transient_backoff(),
            Kind::Denied => Backoff::new(Duration::from_secs(30), Duration::from_secs(10 * 60)),
            Kind::NotFound => Backoff::new(interval, NOT_FOUND_MOST),
            Kind::Settled => Backoff::new(interval, interval),
        }
    }
}

/// Counts one more failure of a kind and returns how long to wait. Another kind begins with a backoff of its own.
fn wait_after(backoff: &mut Option<(Kind, Backoff)>, kind: Kind, interval: Duration, jitter: f64) -> Duration {
    let (_, backoff) = match backoff {
        Some(current) if current.0 == kind => current,
        other => other.insert((kind, kind.backoff(interval))),
    };
    let wait = backoff.fail(jitter);
    match kind {
        Kind::NotFound => wait,
        Kind::Settled => refresh_delay(interval, jitter),
        Kind::Transient | Kind::Denied => wait.min(interval),
    }
}

/// When to call again: after this wait, and neither before the time that the failure names nor before `not_before`, the end
/// of a pause, which has its jitter already.
fn retry_at(failure: &ReadFailure, wait: Duration, not_before: Option<Tick>, moment: Moment) -> Tick {
    let jitter = if not_before.is_some() { 0.0 } else { moment.jitter };
    let asked = failure.class().retry_after().map_or(Duration::ZERO, |asked| retry_after_asked(asked, jitter));
    (moment.now + wait.max(asked)).max(not_before.unwrap_or_default())
}

fn transient_backoff() -> Backoff {
    Backoff::new(Duration::from_secs(1), Duration::from_secs(60))
}

/// Whether a failure of the list means that the list cannot be used, which says nothing of any certificate. Other failures
/// would meet every call of the scope.
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
    /// Checks an answer. One that is as it was when `known` was made of it is not checked again, but for its end.
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
        let outcome = match known.filter(|(known, _)| *known == digest) {
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
            entries: HashMap::new(),
            tags: TagList::default(),
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
        self.entries.is_empty() && self.tags.is_empty()
    }

    /// Whether this certificate has a subscriber.
    pub fn has(&self, id: &str) -> bool {
        self.entries.contains_key(id)
    }

    /// What is known of a certificate that has a subscriber.
    pub fn snapshot(&self, id: &str) -> Option<&Snapshot> {
        self.entries.get(id)?.snapshot.as_ref()
    }

    /// Whether the snapshot is as new as this subscriber wants it.
    pub fn has_answered(&self, id: &str, resource: &ResourceName) -> bool {
        let Some(entry) = self.entries.get(id) else { return false };
        let Some(subscriber) = entry.subscribers.get(resource) else { return false };
        entry.snapshot.as_ref().is_some_and(|snapshot| snapshot.started >= subscriber.wants_from)
    }

    /// What is known of tags, where any resource asks for some.
    pub fn tag_snapshot(&self) -> Option<&TagSnapshot> {
        self.tags.snapshot()
    }

    /// Whether what is known of tags is as new as this subscriber wants it.
    pub fn has_answered_tags(&self, resource: &ResourceName) -> bool {
        self.tags.has_answered(resource)
    }

    /// Subscribes a resource to the certificates that have these tags, or changes what it wants.
    pub fn subscribe_tags(
        &mut self,
        resource: &ResourceName,
        tags: &Tags,
        interest: Interest,
        now: Tick,
    ) -> Subscribed {
        self.tags.subscribe(resource, tags, interest, now)
    }

    /// Ends a subscription to tags.
    pub fn unsubscribe_tags(&mut self, resource: &ResourceName) {
        self.tags.unsubscribe(resource);
    }

    /// Subscribes a resource to a certificate, or changes what it wants.
    pub fn subscribe(
        &mut self,
        id: &str,
        resource: &ResourceName,
        interest: Interest,
        account: Option<&str>,
        moment: Moment,
    ) -> Subscribed {
        let Moment { now, .. } = moment;
        if !self.entries.contains_key(id) {
            let entry = self.new_entry(id, interest.interval, account, moment);
            self.entries.insert(id.to_owned(), entry);
        }
        let Some(entry) = self.entries.get_mut(id) else { return Subscribed::Unchanged };
        let mut subscribed = match entry.subscribers.get_mut(resource) {
            Some(subscriber) => {
                let before = std::mem::replace(&mut subscriber.interval, interest.interval);
                if before == interest.interval {
                    Subscribed::Unchanged
                } else {
                    entry.find_interval();
                    Subscribed::Changed
                }
            }
            None => {
                let subscriber =
                    Subscriber { interval: interest.interval, wants_from: now.saturating_sub(interest.interval) };
                entry.interval = entry.interval.min(interest.interval);
                entry.want_from(subscriber.wants_from, now);
                entry.subscribers.insert(resource.clone(), subscriber);
                Subscribed::New
            }
        };
        if interest.force {
            entry.force(now);
            if let Some(subscriber) = entry.subscribers.get_mut(resource) {
                subscriber.wants_from = now;
            }
            if subscribed == Subscribed::Unchanged {
                subscribed = Subscribed::Changed;
            }
        }
        subscribed
    }

    fn new_entry(&mut self, id: &str, interval: Duration, account: Option<&str>, moment: Moment) -> Entry {
        let mut entry = Entry::new(interval, moment);
        let oldest = moment.now.saturating_sub(interval.min(UNCLAIMED_KEPT));
        if self.unclaimed_started < oldest {
            self.unclaimed = HashMap::new();
        }
        if let Some(came) = self.unclaimed.remove(id) {
            let source = Source { place: self.place.clone(), id: id.to_owned() };
            let checked = Checked::new(&source, account, came, None, moment.wall);
            entry.record(self.unclaimed_started, checked, None, moment);
        }
        entry
    }

    /// Ends a subscription. What is known of a certificate is forgotten with its last subscriber.
    pub fn unsubscribe(&mut self, id: &str, resource: &ResourceName) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        if let Some(gone) = entry.subscribers.remove(resource) {
            if entry.subscribers.is_empty() {
                self.entries.remove(id);
            } else if gone.interval <= entry.interval {
                entry.find_interval();
            }
        }
    }

    /// Asks for a read that starts from now on, at whose end every subscriber is woken.
    pub fn refresh(&mut self, id: &str, now: Tick) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.force(now);
            entry.wake_all_from = Some(now);
        }
    }

    /// What to do next. Where calls may not start before `paused_until`, what is due is answered by
    /// [`paused`](Self::paused) in place of a call.
    pub fn plan(&mut self, now: Tick) -> Step {
        if self.is_empty() {
            return Step::End;
        }
        if self.is_listing {
            return Step::Wait(None);
        }
        let mut due = Vec::new();
        let mut next: Option<Tick> = None;
        for (id, entry) in &self.entries {
            match entry.due_at() {
                Some(at) if at <= now => due.push((id, entry)),
                Some(at) => next = Some(next.map_or(at, |next| next.min(at))),
                None => {}
            }
        }
        let is_list_due = match self.tags.due_at() {
            Some(at) if at <= now => true,
            Some(at) => {
                next = Some(next.map_or(at, |next| next.min(at)));
                false
            }
            None => false,
        };
        if due.is_empty() && !is_list_due {
            self.gather_until = None;
            return Step::Wait(next);
        }
        let omitted: Vec<_> = due.iter().filter(|(_, entry)| entry.is_omitted).map(call_of).collect();
        if !omitted.is_empty() {
            return self.get(omitted);
        }
        let until = *self.gather_until.get_or_insert(now + GATHER);
        if now < until {
            return Step::Wait(Some(until));
        }
        let calls: Vec<_> = due.iter().map(call_of).collect();
        if !is_list_due && (now < self.list_off_until || self.calls_by_name(&due) <= self.pages) {
            return self.get(calls);
        }
        self.gather_until = None;
        self.is_listing = true;
        Step::List
    }

    /// How many calls it takes to do without a list. Where a good answer has grown old, those count that are to be
    /// refreshed before it is due again: the list brings them into step.
    fn calls_by_name(&self, due: &[(&String, &Entry)]) -> usize {
        let refreshed = due.iter().filter(|(_, entry)| entry.grows_old());
        let soon = refreshed.filter_map(|(_, entry)| Some(entry.due_at()? + entry.interval)).min();
        let Some(soon) = soon else { return due.len() };
        let refreshes = self.entries.values().filter(|entry| entry.grows_old() && entry.is_due(soon));
        refreshes.count() + due.iter().filter(|(_, entry)| !entry.grows_old()).count()
    }

    fn get(&mut self, mut calls: Vec<(String, Tick)>) -> Step {
        self.gather_until = None;
        calls.sort_by_key(|(_, due)| *due);
        let under_way = self.entries.values().filter(|entry| entry.is_under_way).count();
        calls.truncate(GETS_AT_ONCE.saturating_sub(under_way));
        if calls.is_empty() {
            // The next call that ends makes room.
            return Step::Wait(None);
        }
        for (id, _) in &calls {
            if let Some(entry) = self.entries.get_mut(id) {
                entry.is_under_way = true;
            }
        }
        Step::Get(calls)
    }

    /// What a certificate's last good answer was made of, so that the same is not checked again.
    pub fn known(&self, id: &str) -> Option<(u64, Arc<Answer>)> {
        let entry = self.entries.get(id)?;
        Some((entry.digest?, Arc::clone(entry.snapshot.as_ref()?.last_good.as_ref()?)))
    }

    /// Records what a call about one certificate brought. Calls may not start before `not_before`. Returns the resources
    /// to wake.
    pub fn got(
        &mut self,
        id: &str,
        started: Tick,
        came: Result<Checked, GatewayError>,
        not_before: Option<Tick>,
        moment: Moment,
    ) -> Vec<ResourceName> {
        let Some(entry) = self.entries.get_mut(id) else { return Vec::new() };
        entry.is_under_way = false;
        entry.note_forced(started);
        match came {
            Ok(checked) => {
                // An outage is over.
                self.backoff.reset();
                entry.record(started, checked, not_before, moment)
            }
            Err(failure) => entry.fail(started, failure.into(), not_before, None, moment),
        }
    }

    /// A call about one certificate was not made, because calls may not start before `until`. Returns the resources to wake.
    pub fn paused(&mut self, id: &str, until: Tick, moment: Moment) -> Vec<ResourceName> {
        let Some(entry) = self.entries.get_mut(id) else { return Vec::new() };
        entry.is_under_way = false;
        entry.is_forced = false;
        let failure = GatewayError::Throttled { retry_after: Some(until.saturating_sub(moment.now)) };
        entry.fail(moment.now, failure.into(), Some(until), None, moment)
    }

    /// The same of a list.
    pub fn list_paused(&mut self, until: Tick, moment: Moment) -> Vec<ResourceName> {
        self.is_listing = false;
        let due: Vec<_> = self.entries.iter().filter(|(_, entry)| entry.is_due(moment.now)).map(call_of_id).collect();
        let mut woken: Vec<_> = due.iter().flat_map(|id| self.paused(id, until, moment)).collect();
        let failure = GatewayError::Throttled { retry_after: Some(until.saturating_sub(moment.now)) };
        woken.extend(self.tags.fail(moment.now, failure.into(), Some(until), None, moment));
        woken
    }

    /// Records a whole list, after so many pages; `listing` is what it says of tags. Returns the resources to wake.
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
        let mut woken = self.tags.listed(started, listing, moment.jitter);
        for entry in self.entries.values_mut() {
            entry.is_omitted = true;
        }
        for listed in list {
            let (id, checked) = match listed {
                Listed::Checked(id, checked) => (id, checked),
                Listed::Unclaimed(came) if self.entries.contains_key(&came.id) => {
                    let source = Source { place: self.place.clone(), id: came.id.clone() };
                    (source.id.clone(), Checked::new(&source, account, came, None, moment.wall))
                }
                Listed::Unclaimed(came) => {
                    self.unclaimed.insert(came.id.clone(), came);
                    continue;
                }
            };
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.is_omitted = false;
                entry.note_forced(started);
                woken.extend(entry.record(started, checked, None, moment));
            }
        }
        for entry in self.entries.values_mut().filter(|entry| entry.is_omitted) {
            entry.is_omitted = false;
            // A certificate that is known to be missing, or was read since, need not be read by name.
            entry.is_omitted = match &entry.snapshot {
                Some(snapshot) if snapshot.started >= started => false,
                Some(Snapshot { outcome: Err(failure), .. }) if Kind::of(failure) == Kind::NotFound => {
                    entry.is_due(moment.now)
                }
                _ => true,
            };
        }
        woken
    }

    /// The list is unavailable. Where that would meet every call, it is an answer to all that is due or failing in the same
    /// way. Returns the resources to wake.
    pub fn list_failed(
        &mut self,
        started: Tick,
        failure: &GatewayError,
        not_before: Option<Tick>,
        moment: Moment,
    ) -> Vec<ResourceName> {
        self.is_listing = false;
        if refuses_the_list(failure) {
            self.list_off_until = moment.now + LIST_OFF;
            return self.tags.fail(started, failure.clone().into(), None, None, moment);
        }
        let failure = ReadFailure::from(failure.clone());
        let kind = Kind::of(&failure);
        let together = (kind == Kind::Transient).then(|| self.backoff.fail(moment.jitter));
        let concerned =
            self.entries.values_mut().filter(|entry| entry.is_due(moment.now) || entry.is_failing_like(kind));
        let mut woken = self.tags.fail(started, failure.clone(), not_before, together, moment);
        for entry in concerned {
            entry.note_forced(started);
            woken.extend(entry.fail(started, failure.clone(), not_before, together, moment));
        }
        woken
    }

    /// The description was written, and AWS answered with this one; none where the outcome is not known. Returns of calls
    /// that started before `now` do not count any more. Returns the resources to wake.
    pub fn described(&mut self, id: &str, description: Option<&str>, now: Tick) -> Vec<ResourceName> {
        self.unclaimed.remove(id);
        let Some(entry) = self.entries.get_mut(id) else { return Vec::new() };
        entry.outdated_before = now;
        let Some(description) = description else { return Vec::new() };
        let Some(snapshot) = &mut entry.snapshot else { return Vec::new() };
        let Some(answer) = snapshot.last_good.as_ref().filter(|answer| answer.description != description) else {
            return Vec::new();
        };
        let mut answer = Arc::clone(answer);
        Arc::make_mut(&mut answer).description = description.to_owned();
        entry.digest = None;
        snapshot.last_good = Some(Arc::clone(&answer));
        if snapshot.outcome.is_ok() {
            snapshot.outcome = Ok(answer);
        }
        entry.all()
    }
}

fn call_of((id, entry): &(&String, &Entry)) -> (String, Tick) {
    ((*id).clone(), entry.queued_at())
}

fn call_of_id((id, _): (&String, &Entry)) -> String {
    id.clone()
}

impl Entry {
    fn new(interval: Duration, moment: Moment) -> Self {
        Entry {
            subscribers: HashMap::new(),
            interval,
            snapshot: None,
            digest: None,
            outdated_before: Tick::ZERO,
            wanted_from: Tick::ZERO,
            asked: moment.now,
            is_forced: false,
            wake_all_from: None,
            is_omitted: false,
            is_under_way: false,
            jitter: moment.jitter,
            retry_at: Tick::ZERO,
            backoff: None,
        }
    }

    fn find_interval(&mut self) {
        let intervals = self.subscribers.values().map(|subscriber| subscriber.interval);
        self.interval = intervals.min().unwrap_or(self.interval);
    }

    fn want_from(&mut self, from: Tick, now: Tick) {
        if from > self.wanted_from {
            let is_enough = self.snapshot.as_ref().is_some_and(|snapshot| snapshot.started >= self.wanted_from);
            self.wanted_from = from;
            if is_enough {
                self.asked = now;
            }
        }
    }

    fn force(&mut self, now: Tick) {
        self.want_from(now, now);
        self.is_forced = true;
        self.backoff = None;
    }

    /// A call has started that may be the one that was forced.
    fn note_forced(&mut self, started: Tick) {
        if self.is_forced && started >= self.wanted_from {
            self.is_forced = false;
        }
    }

    /// When the next call is due; none while one is under way.
    fn due_at(&self) -> Option<Tick> {
        if self.is_under_way {
            return None;
        }
        let Some(snapshot) = self.snapshot.as_ref().filter(|_| !self.is_omitted) else { return Some(Tick::ZERO) };
        Some(if snapshot.started < self.wanted_from {
            // A forced read is not made within some seconds of the last one, forced or not.
            if self.is_forced { snapshot.started + FORCED_READS_APART } else { Tick::ZERO }
        } else if snapshot.outcome.is_ok() {
            snapshot.started + refresh_delay(self.interval, self.jitter)
        } else {
            self.retry_at
        })
    }

    /// Whether there is a good answer, as new as every subscriber has asked for, which is to be refreshed in time.
    fn grows_old(&self) -> bool {
        let is_good = |snapshot: &Snapshot| snapshot.outcome.is_ok() && snapshot.started >= self.wanted_from;
        !self.is_omitted && self.snapshot.as_ref().is_some_and(is_good)
    }

    fn is_due(&self, now: Tick) -> bool {
        self.due_at().is_some_and(|due| due <= now)
    }

    fn queued_at(&self) -> Tick {
        self.due_at().map_or(self.asked, |due| due.max(self.asked))
    }

    fn is_failing_like(&self, kind: Kind) -> bool {
        let failure = self.snapshot.as_ref().and_then(|snapshot| snapshot.outcome.as_ref().err());
        !self.is_under_way && failure.is_some_and(|failure| Kind::of(failure) == kind)
    }

    /// Records an answer, good or bad. Returns the resources to wake.
    fn record(
        &mut self,
        started: Tick,
        checked: Checked,
        not_before: Option<Tick>,
        moment: Moment,
    ) -> Vec<ResourceName> {
        match checked.outcome {
            Ok(answer) => {
                if !self.may_replace(started) {
                    return Vec::new();
                }
                self.digest = Some(checked.digest);
                self.jitter = moment.jitter;
                self.backoff = None;
                let last_good = Some(Arc::clone(&answer));
                self.replace(Snapshot { started, outcome: Ok(answer), last_good, failing_since: None })
            }
            Err(failure) => self.fail(started, failure, not_before, None, moment),
        }
    }

    /// Records a failure. The wait before the next call is the entry's own, or one `together` with others.
    fn fail(
        &mut self,
        started: Tick,
        failure: ReadFailure,
        not_before: Option<Tick>,
        together: Option<Duration>,
        moment: Moment,
    ) -> Vec<ResourceName> {
        if !self.may_replace(started) {
            return Vec::new();
        }
        let own = wait_after(&mut self.backoff, Kind::of(&failure), self.interval, moment.jitter);
        let wait = together.map_or(own, |wait| wait.min(self.interval));
        self.retry_at = retry_at(&failure, wait, not_before, moment);
        let before = self.snapshot.as_ref();
        let failing_since = before.and_then(|before| before.failing_since).or(Some(moment.now));
        let last_good = before.and_then(|before| before.last_good.clone());
        self.replace(Snapshot { started, outcome: Err(failure), last_good, failing_since })
    }

    /// A snapshot is never replaced by what an earlier call brought.
    fn may_replace(&self, started: Tick) -> bool {
        let current = self.snapshot.as_ref().map_or(Tick::ZERO, |snapshot| snapshot.started);
        started >= current.max(self.outdated_before)
    }

    fn replace(&mut self, snapshot: Snapshot) -> Vec<ResourceName> {
        self.is_omitted = false;
        let started = snapshot.started;
        let before = self.snapshot.replace(snapshot);
        let wakes_all = self.wake_all_from.take_if(|from| started >= *from).is_some();
        let has_changed = match (&before, &self.snapshot) {
            (Some(before), Some(now)) => !is_same(&before.outcome, &now.outcome),
            _ => true,
        };
        if wakes_all || has_changed {
            return self.all();
        }
        let last = before.map_or(Tick::ZERO, |before| before.started);
        let has_waited = |subscriber: &Subscriber| subscriber.wants_from > last && subscriber.wants_from <= started;
        let waiting = self.subscribers.iter().filter(|(_, subscriber)| has_waited(subscriber));
        waiting.map(|(resource, _)| resource.clone()).collect()
    }

    fn all(&self) -> Vec<ResourceName> {
        self.subscribers.keys().cloned().collect()
    }
}

/// Whether two outcomes look the same to a resource. How long AWS asks to wait is not seen.
fn is_same(one: &Result<Arc<Answer>, ReadFailure>, other: &Result<Arc<Answer>, ReadFailure>) -> bool {
    match (one, other) {
        (Ok(one), Ok(other)) => Arc::ptr_eq(one, other) || one == other,
        (Err(one), Err(other)) => one.reason() == other.reason() && one.to_string() == other.to_string(),
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
    }
}

#[cfg(test)]
mod tests;
