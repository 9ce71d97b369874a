//! Which certificates have the tags that resources ask for, as the last whole list says.
//!
//! The list is due as a certificate is: without an answer, where a subscriber asks for a newer one, in the last tenth of the
//! shortest interval of the subscribers, and after a backoff after a failure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{FORCED_READS_APART, Interest, Kind, Moment, Subscribed, retry_at, wait_after};
use crate::api::ResourceName;
use crate::aws::gateway::ClientCertificate;
use crate::backoff::Backoff;
use crate::error::{ReadFailure, refresh_delay};
use crate::settings::Tick;

/// Tags, by key.
pub type Tags = BTreeMap<String, String>;

/// A whole list, as far as it is about tags.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing(BTreeMap<String, Item>);

#[derive(Clone, Debug, PartialEq)]
struct Item {
    created: Option<Timestamp>,
    expires: Option<Timestamp>,
    tags: Tags,
}

impl Listing {
    /// Adds a certificate of the list.
    pub fn add(&mut self, certificate: &ClientCertificate) {
        let ClientCertificate { created, expires, tags, .. } = certificate;
        let item = Item { created: *created, expires: *expires, tags: tags.clone() };
        self.0.insert(certificate.id.clone(), item);
    }

    /// Whether any certificate has any tag. A list that carries none says nothing about tags: whether AWS fills them in is
    /// not documented.
    pub fn carries_tags(&self) -> bool {
        self.0.values().any(|item| !item.tags.is_empty())
    }

    /// The tags of a certificate; none where the list does not have it.
    pub fn tags_of(&self, id: &str) -> Option<&Tags> {
        self.0.get(id).map(|item| &item.tags)
    }

    /// Whether the list has this certificate, with all of these tags.
    pub fn has_tags(&self, id: &str, tags: &Tags) -> bool {
        self.0.get(id).is_some_and(|item| item.has(tags))
    }

    /// The certificates that have all of these tags and have not ended, newest first.
    pub fn having(&self, tags: &Tags, now: Timestamp) -> Vec<&str> {
        let is_over = |item: &Item| item.expires.is_some_and(|end| end <= now);
        let mut having: Vec<_> = self.0.iter().filter(|(_, item)| item.has(tags) && !is_over(item)).collect();
        // Those of one moment are in the order of their ids.
        having.sort_by_key(|(_, item)| std::cmp::Reverse(item.created));
        having.into_iter().map(|(id, _)| id.as_str()).collect()
    }

    /// What a resource with these tags sees of the list.
    fn seen_by(&self, tags: &Tags) -> (bool, Vec<(&str, &Item)>) {
        let having = self.0.iter().filter(|(_, item)| item.has(tags));
        (self.carries_tags(), having.map(|(id, item)| (id.as_str(), item)).collect())
    }
}

impl Item {
    fn has(&self, tags: &Tags) -> bool {
        tags.iter().all(|(key, value)| self.tags.get(key) == Some(value))
    }
}

/// What is known of the tags of a scope's certificates.
#[derive(Clone, Debug)]
pub struct TagSnapshot {
    /// When the first call of the list started.
    pub started: Tick,
    /// The list, or why there is none.
    pub outcome: Result<Arc<Listing>, ReadFailure>,
    /// When the first of the failures in a row was known that the outcome is the last of.
    pub failing_since: Option<Tick>,
}

/// The resources that ask for tags, and what they know.
#[derive(Debug, Default)]
pub(super) struct TagList {
    subscribers: HashMap<ResourceName, Subscriber>,
    interval: Duration,
    snapshot: Option<TagSnapshot>,
    wanted_from: Tick,
    is_forced: bool,
    jitter: f64,
    retry_at: Tick,
    backoff: Option<(Kind, Backoff)>,
}

#[derive(Debug)]
struct Subscriber {
    tags: Tags,
    interval: Duration,
    wants_from: Tick,
}

impl TagList {
    pub(super) fn is_empty(&self) -> bool {
        self.subscribers.is_empty()
    }

    pub(super) fn snapshot(&self) -> Option<&TagSnapshot> {
        self.snapshot.as_ref()
    }

    /// Whether the snapshot is as new as this subscriber wants it.
    pub(super) fn has_answered(&self, resource: &ResourceName) -> bool {
        let wanted = self.subscribers.get(resource).map(|subscriber| subscriber.wants_from);
        self.snapshot.as_ref().zip(wanted).is_some_and(|(snapshot, wanted)| snapshot.started >= wanted)
    }

    pub(super) fn subscribe(
        &mut self,
        resource: &ResourceName,
        tags: &Tags,
        interest: Interest,
        now: Tick,
    ) -> Subscribed {
        let Interest { interval, force } = interest;
        let before = self.subscribers.get(resource);
        let mut subscribed = match before {
            None => Subscribed::New,
            Some(before) if before.interval != interval => Subscribed::Changed,
            Some(_) => Subscribed::Unchanged,
        };
        let mut wants_from = before.map_or(now.saturating_sub(interval), |before| before.wants_from);
        if force {
            wants_from = now;
            self.is_forced = true;
            self.backoff = None;
            if subscribed == Subscribed::Unchanged {
                subscribed = Subscribed::Changed;
            }
        }
        self.wanted_from = self.wanted_from.max(wants_from);
        self.subscribers.insert(resource.clone(), Subscriber { tags: tags.clone(), interval, wants_from });
        self.find_interval();
        subscribed
    }

    /// What is known is forgotten with the last subscriber.
    pub(super) fn unsubscribe(&mut self, resource: &ResourceName) {
        self.subscribers.remove(resource);
        if self.is_empty() {
            *self = TagList::default();
        }
        self.find_interval();
    }

    fn find_interval(&mut self) {
        self.interval = self.subscribers.values().map(|subscriber| subscriber.interval).min().unwrap_or_default();
    }

    /// When the next list is due; none without a subscriber.
    pub(super) fn due_at(&self) -> Option<Tick> {
        if self.is_empty() {
            return None;
        }
        let Some(snapshot) = &self.snapshot else { return Some(Tick::ZERO) };
        Some(if snapshot.started < self.wanted_from {
            if self.is_forced { snapshot.started + FORCED_READS_APART } else { Tick::ZERO }
        } else if snapshot.outcome.is_ok() {
            snapshot.started + refresh_delay(self.interval, self.jitter)
        } else {
            self.retry_at
        })
    }

    /// Records a whole list. Returns the resources to wake: those that see another list than before, or waited for it.
    pub(super) fn listed(&mut self, started: Tick, listing: Listing, jitter: f64) -> Vec<ResourceName> {
        if self.is_empty() {
            return Vec::new();
        }
        self.backoff = None;
        self.jitter = jitter;
        self.replace(TagSnapshot { started, outcome: Ok(Arc::new(listing)), failing_since: None })
    }

    /// Records that there is no whole list. The wait before the next is the list's own, or one `together` with others.
    pub(super) fn fail(
        &mut self,
        started: Tick,
        failure: ReadFailure,
        not_before: Option<Tick>,
        together: Option<Duration>,
        moment: Moment,
    ) -> Vec<ResourceName> {
        if self.is_empty() {
            return Vec::new();
        }
        let kind = match Kind::of(&failure) {
            // A list that is not found is an answer like any other that makes no sense.
            Kind::NotFound => Kind::Settled,
            kind => kind,
        };
        let own = wait_after(&mut self.backoff, kind, self.interval, moment.jitter);
        let wait = together.unwrap_or(own).min(self.interval);
        self.retry_at = retry_at(&failure, wait, not_before, moment);
        let failing_since = self.snapshot.as_ref().and_then(|before| before.failing_since).or(Some(moment.now));
        self.replace(TagSnapshot { started, outcome: Err(failure), failing_since })
    }

    fn replace(&mut self, snapshot: TagSnapshot) -> Vec<ResourceName> {
        let started = snapshot.started;
        if started >= self.wanted_from {
            self.is_forced = false;
        }
        let before = self.snapshot.replace(snapshot);
        let last = before.as_ref().map_or(Tick::ZERO, |before| before.started);
        let concerns = |subscriber: &Subscriber| {
            let has_waited = subscriber.wants_from > last && subscriber.wants_from <= started;
            let looks_the_same = match (&before, &self.snapshot) {
                (Some(before), Some(now)) => match (&before.outcome, &now.outcome) {
                    (Ok(before), Ok(now)) => before.seen_by(&subscriber.tags) == now.seen_by(&subscriber.tags),
                    (Err(before), Err(now)) => before.to_string() == now.to_string(),
                    (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
                },
                _ => false,
            };
            has_waited || !looks_the_same
        };
        let woken = self.subscribers.iter().filter(|(_, subscriber)| concerns(subscriber));
        woken.map(|(resource, _)| resource.clone()).collect()
    }
}
