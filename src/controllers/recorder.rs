//! Records events in the cluster. One that repeats within some minutes makes the first a series, not another object.
//!
//! kube's recorder does the same, but keeps every event whole, looks through all of them each time, and tells the first
//! note again when another has come: what is kept here is what tells a repetition, and another note is another event.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event as KubeEvent;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::events::Reporter;
use kube::{Api, Client};
use serde_json::json;

use super::FIELD_MANAGER;
use super::mirror::Event;

/// What comes back later than this is a new event.
const SERIES: SignedDuration = SignedDuration::from_mins(6);
const NAME_LENGTH: usize = 253;

/// Records events.
pub(crate) struct Recorder {
    client: Client,
    instance: String,
    recent: Mutex<Recent>,
}

impl Recorder {
    /// A recorder; events name the host, which in a pod is the pod.
    pub(crate) fn new(client: Client) -> Self {
        let instance = Reporter::from(FIELD_MANAGER).instance.unwrap_or_else(|| FIELD_MANAGER.to_owned());
        Recorder { client, instance, recent: Mutex::default() }
    }

    /// Records an event about an object.
    pub(crate) async fn record(&self, event: &Event, regarding: &ObjectReference) -> Result<(), kube::Error> {
        let now = Timestamp::now();
        let namespace = regarding.namespace.as_deref().unwrap_or("default");
        let events: Api<KubeEvent> = Api::namespaced(self.client.clone(), namespace);
        let key = Key::of(event, regarding);
        let earlier = self.recent().find(&key, now);
        if let Some(Series { first, count, .. }) = earlier {
            let (name, count) = (name_of(regarding, first), count.saturating_add(1));
            let patch = json!({ "series": { "count": count, "lastObservedTime": MicroTime(now) } });
            match events.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await {
                Ok(_) => {
                    self.recent().keep(key, Series { first, count, last: now });
                    return Ok(());
                }
                // Somebody cleaned up. What follows makes it anew.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        let name = name_of(regarding, now);
        events.create(&PostParams::default(), &self.first(event, regarding, &name, now)).await?;
        self.recent().keep(key, Series { first: now, count: 1, last: now });
        Ok(())
    }

    fn first(&self, event: &Event, regarding: &ObjectReference, name: &str, now: Timestamp) -> KubeEvent {
        KubeEvent {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: regarding.namespace.clone(),
                ..ObjectMeta::default()
            },
            action: Some(event.action.to_owned()),
            event_time: Some(MicroTime(now)),
            note: Some(event.note.clone()),
            reason: Some(event.reason.clone()),
            regarding: Some(regarding.clone()),
            reporting_controller: Some(FIELD_MANAGER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            type_: Some(if event.is_warning { "Warning" } else { "Normal" }.to_owned()),
            ..KubeEvent::default()
        }
    }

    fn recent(&self) -> std::sync::MutexGuard<'_, Recent> {
        // A panic elsewhere leaves the map whole: every change of it is a single call.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name that no other event has, and that is not too long, however long the object's is.
fn name_of(regarding: &ObjectReference, now: Timestamp) -> String {
    let suffix = format!(".{:x}", now.as_nanosecond());
    let about: String =
        regarding.name.as_deref().unwrap_or(FIELD_MANAGER).chars().take(NAME_LENGTH - suffix.len()).collect();
    format!("{}{suffix}", about.trim_end_matches(['.', '-']))
}

/// What makes two events one series, as a hash: there can be an event for every resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key(u64);

impl Key {
    fn of(event: &Event, regarding: &ObjectReference) -> Self {
        let mut hash = DefaultHasher::new();
        (&regarding.uid, &event.reason, event.action, event.is_warning, &event.note).hash(&mut hash);
        Key(hash.finish())
    }
}

/// An event that was recorded.
#[derive(Clone, Debug, PartialEq)]
struct Series {
    /// When it was recorded first, which its name holds.
    first: Timestamp,
    count: i32,
    last: Timestamp,
}

/// The events of the last minutes.
#[derive(Debug, Default)]
struct Recent {
    by_key: HashMap<Key, Series>,
    swept: Timestamp,
}

impl Recent {
    fn find(&self, key: &Key, now: Timestamp) -> Option<Series> {
        self.by_key.get(key).filter(|series| is_recent(series.last, now)).cloned()
    }

    fn keep(&mut self, key: Key, series: Series) {
        let now = series.last;
        // Not each time: that would cost as much as there are events.
        if !is_recent(self.swept, now) {
            self.by_key.retain(|_, series| is_recent(series.last, now));
            self.by_key.shrink_to_fit();
            self.swept = now;
        }
        self.by_key.insert(key, series);
    }
}

fn is_recent(then: Timestamp, now: Timestamp) -> bool {
    now.duration_since(then) < SERIES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(reason: &str) -> Key {
        let event = Event { is_warning: true, reason: reason.into(), action: "Read", note: String::new() };
        Key::of(&event, &ObjectReference { uid: Some("1".into()), ..ObjectReference::default() })
    }

    fn series(minute: i64) -> Series {
        Series { first: at(minute), count: 1, last: at(minute) }
    }

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + 60 * minute).unwrap()
    }

    #[test]
    fn an_event_that_comes_back_soon_is_the_same_series() {
        let mut recent = Recent::default();
        recent.keep(key("NotFound"), series(0));
        assert_eq!(recent.find(&key("NotFound"), at(5)), Some(series(0)));
        assert_eq!(recent.find(&key("NotFound"), at(6)), None);
        assert_eq!(recent.find(&key("Throttled"), at(5)), None);
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let mut recent = Recent::default();
        recent.keep(key("NotFound"), series(0));
        recent.keep(key("Throttled"), series(3));
        recent.keep(key("Expired"), series(7));
        assert_eq!(recent.by_key.len(), 2, "{recent:?}");
    }

    #[test]
    fn a_name_is_no_longer_than_the_cluster_takes() {
        let about = |name: String| ObjectReference { name: Some(name), ..ObjectReference::default() };
        assert_eq!(name_of(&about("payments".into()), at(0)), "payments.18fae27693b40000");
        let long = name_of(&about(format!("{}-{}", "a".repeat(235), "b".repeat(17))), at(0));
        assert_eq!(long, format!("{}.18fae27693b40000", "a".repeat(235)));
    }
}
