//! One value of AWS in the cache: who subscribes to it, the last answer, and when the next call is due.
//!
//! The call is due without an answer, where a subscriber asks for a newer one, in the last tenth of the shortest interval
//! of the subscribers after a good answer, and after a backoff after a failure.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Interest, Moment, Subscribed};
use crate::api::ResourceName;
use crate::aws::answer::FORCED_READS_APART;
use crate::aws::gateway::GatewayError;
use crate::backoff::Backoff;
use crate::error::{FailureClass, ReadFailure, refresh_delay, retry_after_asked};
use crate::settings::Tick;

/// The longest wait before a value that API Gateway does not know is asked for again.
const NOT_FOUND_MOST: Duration = Duration::from_secs(60 * 60);

/// What is known of a value.
#[derive(Debug)]
pub struct Snapshot<T> {
    /// When the call started that brought the outcome.
    pub started: Tick,
    pub outcome: Result<Arc<T>, ReadFailure>,
    /// The last answer that passed every check, since AWS last answered that the value does not exist.
    pub last_good: Option<Arc<T>>,
    /// When the current series of failures began.
    pub failing_since: Option<Tick>,
}

impl<T> Clone for Snapshot<T> {
    fn clone(&self) -> Self {
        Snapshot {
            started: self.started,
            outcome: self.outcome.clone(),
            last_good: self.last_good.clone(),
            failing_since: self.failing_since,
        }
    }
}

#[derive(Debug)]
pub(super) struct Entry<T> {
    subscribers: HashMap<ResourceName, Subscriber>,
    /// The shortest of the subscribers' intervals.
    interval: Duration,
    snapshot: Option<Snapshot<T>>,
    /// An answer of a call that started before this does not count: the value was written meanwhile.
    outdated_before: Tick,
    /// An answer of a call that started before this is not new enough.
    wanted_from: Tick,
    /// When that was asked for.
    asked: Tick,
    is_forced: bool,
    /// Every subscriber is woken by an answer of a call that started at this time or later.
    wake_all_from: Option<Tick>,
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
pub(super) enum Kind {
    Transient,
    Denied,
    NotFound,
    Settled,
}

impl Kind {
    pub(super) fn of(failure: &ReadFailure) -> Self {
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

pub(super) fn transient_backoff() -> Backoff {
    Backoff::new(Duration::from_secs(1), Duration::from_secs(60))
}

impl<T: PartialEq> Entry<T> {
    pub(super) fn new(moment: Moment) -> Self {
        Entry {
            subscribers: HashMap::new(),
            interval: Duration::MAX,
            snapshot: None,
            outdated_before: Tick::ZERO,
            wanted_from: Tick::ZERO,
            asked: moment.now,
            is_forced: false,
            wake_all_from: None,
            is_under_way: false,
            jitter: moment.jitter,
            retry_at: Tick::ZERO,
            backoff: None,
        }
    }

    /// Whether there is no subscriber.
    pub(super) fn is_empty(&self) -> bool {
        self.subscribers.is_empty()
    }

    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    pub(super) fn snapshot(&self) -> Option<&Snapshot<T>> {
        self.snapshot.as_ref()
    }

    /// Whether the snapshot is as new as this subscriber wants it.
    pub(super) fn has_answered(&self, resource: &ResourceName) -> bool {
        let wanted = self.subscribers.get(resource).map(|subscriber| subscriber.wants_from);
        self.snapshot.as_ref().zip(wanted).is_some_and(|(snapshot, wanted)| snapshot.started >= wanted)
    }

    /// Subscribes a resource, or changes what it wants.
    pub(super) fn subscribe(&mut self, resource: &ResourceName, interest: Interest, now: Tick) -> Subscribed {
        let mut subscribed = match self.subscribers.get_mut(resource) {
            Some(subscriber) => {
                let before = std::mem::replace(&mut subscriber.interval, interest.interval);
                if before == interest.interval {
                    Subscribed::Unchanged
                } else {
                    self.find_interval();
                    Subscribed::Changed
                }
            }
            None => {
                let wants_from = now.saturating_sub(interest.interval);
                self.interval = self.interval.min(interest.interval);
                self.want_from(wants_from, now);
                self.subscribers.insert(resource.clone(), Subscriber { interval: interest.interval, wants_from });
                Subscribed::New
            }
        };
        if interest.force {
            self.force(now);
            if let Some(subscriber) = self.subscribers.get_mut(resource) {
                subscriber.wants_from = now;
            }
            if subscribed == Subscribed::Unchanged {
                subscribed = Subscribed::Changed;
            }
        }
        subscribed
    }

    /// Ends a subscription. Returns whether it was the last one.
    pub(super) fn unsubscribe(&mut self, resource: &ResourceName) -> bool {
        if let Some(gone) = self.subscribers.remove(resource)
            && gone.interval <= self.interval
        {
            self.find_interval();
        }
        self.is_empty()
    }

    /// Asks for a read that starts from now on, at whose end every subscriber is woken.
    pub(super) fn refresh(&mut self, now: Tick) {
        self.force(now);
        self.wake_all_from = Some(now);
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

    /// A call has started.
    pub(super) fn begin(&mut self) {
        self.is_under_way = true;
    }

    /// The call has ended.
    pub(super) fn end(&mut self) {
        self.is_under_way = false;
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.is_under_way
    }

    /// When the next call is due; none without a subscriber, and while one is under way.
    pub(super) fn due_at(&self) -> Option<Tick> {
        if self.is_under_way || self.is_empty() {
            return None;
        }
        let Some(snapshot) = &self.snapshot else { return Some(Tick::ZERO) };
        Some(if snapshot.started < self.wanted_from {
            // A forced read is not made within some seconds of the last one, forced or not.
            if self.is_forced { snapshot.started + FORCED_READS_APART } else { Tick::ZERO }
        } else if snapshot.outcome.is_ok() {
            snapshot.started + refresh_delay(self.interval, self.jitter)
        } else {
            self.retry_at
        })
    }

    /// When a call that is due at `due` came into the queue.
    pub(super) fn queued_at(&self, due: Option<Tick>) -> Tick {
        due.map_or(self.asked, |due| due.max(self.asked))
    }

    /// Whether there is a good answer, as new as every subscriber has asked for, which is to be refreshed in time.
    pub(super) fn grows_old(&self) -> bool {
        let is_good = |snapshot: &Snapshot<T>| snapshot.outcome.is_ok() && snapshot.started >= self.wanted_from;
        self.snapshot.as_ref().is_some_and(is_good)
    }

    pub(super) fn is_failing_like(&self, kind: Kind) -> bool {
        let failure = self.snapshot.as_ref().and_then(|snapshot| snapshot.outcome.as_ref().err());
        !self.is_under_way && failure.is_some_and(|failure| Kind::of(failure) == kind)
    }

    /// Records a good answer. Returns the resources to wake.
    pub(super) fn succeed(&mut self, started: Tick, answer: Arc<T>, jitter: f64) -> Vec<ResourceName> {
        self.note_forced(started);
        if !self.may_replace(started) {
            return Vec::new();
        }
        self.jitter = jitter;
        self.backoff = None;
        let last_good = Some(Arc::clone(&answer));
        self.replace(Snapshot { started, outcome: Ok(answer), last_good, failing_since: None })
    }

    /// Records a failure. The wait before the next call is the entry's own, or one `together` with others, and not before
    /// `not_before`. Returns the resources to wake.
    pub(super) fn fail(
        &mut self,
        started: Tick,
        failure: ReadFailure,
        not_before: Option<Tick>,
        together: Option<Duration>,
        moment: Moment,
    ) -> Vec<ResourceName> {
        self.note_forced(started);
        if !self.may_replace(started) {
            return Vec::new();
        }
        let own = self.wait_after(Kind::of(&failure), moment.jitter);
        let wait = together.map_or(own, |wait| wait.min(self.interval));
        self.retry_at = retry_at(&failure, wait, not_before, moment);
        let before = self.snapshot.as_ref();
        let failing_since = before.and_then(|before| before.failing_since).or(Some(moment.now));
        // A transient failure says nothing about the value, so it does not replace an answer of AWS that does.
        let known = before.and_then(|before| before.outcome.as_ref().err()).filter(|known| !known.is_transient());
        let failure = known.filter(|_| failure.is_transient()).cloned().unwrap_or(failure);
        // After AWS answered that the value does not exist, no later failure brings the former answer back.
        let last_good = before.filter(|_| !failure.ends_trust()).and_then(|before| before.last_good.clone());
        self.replace(Snapshot { started, outcome: Err(failure), last_good, failing_since })
    }

    /// No call was made, because calls may not start before `until`. Returns the resources to wake.
    pub(super) fn pause(&mut self, until: Tick, moment: Moment) -> Vec<ResourceName> {
        self.is_forced = false;
        let failure = GatewayError::Throttled { retry_after: Some(until.saturating_sub(moment.now)) };
        self.fail(moment.now, failure.into(), Some(until), None, moment)
    }

    /// The value was written, and is `changed` from now on where that is known. Answers of calls that started before `now`
    /// do not count any more. Returns the resources to wake.
    pub(super) fn written(&mut self, changed: Option<Arc<T>>, now: Tick) -> Vec<ResourceName> {
        self.outdated_before = now;
        let Some((snapshot, changed)) = self.snapshot.as_mut().zip(changed) else { return Vec::new() };
        snapshot.last_good = Some(Arc::clone(&changed));
        if snapshot.outcome.is_ok() {
            snapshot.outcome = Ok(changed);
        }
        self.all()
    }

    /// Counts one more failure of a kind and returns how long to wait. Another kind begins with a backoff of its own.
    fn wait_after(&mut self, kind: Kind, jitter: f64) -> Duration {
        let (_, backoff) = match &mut self.backoff {
            Some(current) if current.0 == kind => current,
            other => other.insert((kind, kind.backoff(self.interval))),
        };
        let wait = backoff.fail(jitter);
        match kind {
            Kind::NotFound => wait,
            Kind::Settled => refresh_delay(self.interval, jitter),
            Kind::Transient | Kind::Denied => wait.min(self.interval),
        }
    }

    /// A call has started that may be the one that was forced.
    fn note_forced(&mut self, started: Tick) {
        if self.is_forced && started >= self.wanted_from {
            self.is_forced = false;
        }
    }

    /// A snapshot is never replaced by what an earlier call brought.
    fn may_replace(&self, started: Tick) -> bool {
        let current = self.snapshot.as_ref().map_or(Tick::ZERO, |snapshot| snapshot.started);
        started >= current.max(self.outdated_before)
    }

    fn replace(&mut self, snapshot: Snapshot<T>) -> Vec<ResourceName> {
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

/// When to call again: after this wait, and neither before the time that the failure names nor before `not_before`, the end
/// of a pause, which has its jitter already.
fn retry_at(failure: &ReadFailure, wait: Duration, not_before: Option<Tick>, moment: Moment) -> Tick {
    let jitter = if not_before.is_some() { 0.0 } else { moment.jitter };
    let asked = failure.class().retry_after().map_or(Duration::ZERO, |asked| retry_after_asked(asked, jitter));
    (moment.now + wait.max(asked)).max(not_before.unwrap_or_default())
}

/// Whether two outcomes look the same to a resource. How long AWS asks to wait is not seen.
fn is_same<T: PartialEq>(one: &Result<Arc<T>, ReadFailure>, other: &Result<Arc<T>, ReadFailure>) -> bool {
    match (one, other) {
        (Ok(one), Ok(other)) => Arc::ptr_eq(one, other) || one == other,
        (Err(one), Err(other)) => one.reason() == other.reason() && one.to_string() == other.to_string(),
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
    }
}
