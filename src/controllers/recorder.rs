//! Records events in the cluster. An event that repeats within some minutes becomes a series of the first event, not
//! another object.
//!
//! kube's recorder has three faults: it keeps the first note if a later event of the same reason has another note, it
//! repeats the same patch after the first event was deleted, and it makes names that are too long for objects with long
//! names.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event as KubeEvent;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::events::Reporter;
use kube::{Api, Client};
use parking_lot::{Mutex, MutexGuard};
use serde_json::json;

use super::event::Event;
use crate::kubernetes::FIELD_MANAGER;

/// An event that repeats after a longer time is a new event.
const SERIES: SignedDuration = SignedDuration::from_mins(6);
const NAME_LENGTH: usize = 253;

pub(crate) struct Recorder {
    client: Client,
    instance: String,
    recent: Mutex<HashMap<u64, Series>>,
}

/// An event of the last minutes.
#[derive(Clone, Copy)]
struct Series {
    /// When the event was first recorded. The name of the event contains this time.
    first: Timestamp,
    count: i32,
    last: Timestamp,
}

impl Recorder {
    /// A recorder. Its events contain the host name, which in a pod is the name of the pod.
    pub(crate) fn new(client: Client) -> Self {
        let instance = Reporter::from(FIELD_MANAGER).instance.unwrap_or_else(|| FIELD_MANAGER.to_owned());
        Recorder { client, instance, recent: Mutex::default() }
    }

    /// Records an event about an object.
    pub(crate) async fn record(&self, event: &Event, regarding: &ObjectReference) -> Result<(), kube::Error> {
        let now = Timestamp::now();
        let namespace = regarding.namespace.as_deref().unwrap_or("default");
        let events: Api<KubeEvent> = Api::namespaced(self.client.clone(), namespace);
        let key = key_of(event, regarding);
        let earlier = self.recent(now).get(&key).copied();
        if let Some(Series { first, count, .. }) = earlier {
            let count = count.saturating_add(1);
            let patch = json!({ "series": { "count": count, "lastObservedTime": MicroTime(now) } });
            match events.patch(&name_of(regarding, first), &PatchParams::default(), &Patch::Merge(&patch)).await {
                Ok(_) => {
                    self.recent(now).insert(key, Series { first, count, last: now });
                    return Ok(());
                }
                // The event was deleted. The code below creates it again.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        events.create(&PostParams::default(), &self.first(event, regarding, now)).await?;
        self.recent(now).insert(key, Series { first: now, count: 1, last: now });
        Ok(())
    }

    fn first(&self, event: &Event, regarding: &ObjectReference, now: Timestamp) -> KubeEvent {
        KubeEvent {
            metadata: ObjectMeta {
                name: Some(name_of(regarding, now)),
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

    /// The events of the last minutes. Drops all older events.
    fn recent(&self, now: Timestamp) -> MutexGuard<'_, HashMap<u64, Series>> {
        let mut recent = self.recent.lock();
        recent.retain(|_, series| now.duration_since(series.last) < SERIES);
        recent
    }
}

/// The hash of the fields that are equal in all events of a series. A hash, because there can be an event for every
/// resource.
fn key_of(event: &Event, regarding: &ObjectReference) -> u64 {
    let mut hash = DefaultHasher::new();
    (&regarding.uid, &event.reason, event.action, event.is_warning, &event.note).hash(&mut hash);
    hash.finish()
}

/// A unique name of valid length, even for an object with a long name.
fn name_of(regarding: &ObjectReference, now: Timestamp) -> String {
    let suffix = format!(".{:x}", now.as_nanosecond());
    let about: String =
        regarding.name.as_deref().unwrap_or(FIELD_MANAGER).chars().take(NAME_LENGTH - suffix.len()).collect();
    format!("{}{suffix}", about.trim_end_matches(['.', '-']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + 60 * minute).unwrap()
    }

    #[test]
    fn another_reason_or_note_is_another_series() {
        let key = |reason: &str, note: &str| {
            let event = Event { is_warning: true, reason: reason.into(), action: "Read", note: note.into() };
            key_of(&event, &ObjectReference { uid: Some("1".into()), ..ObjectReference::default() })
        };
        assert_eq!(key("NotFound", "a"), key("NotFound", "a"));
        assert_ne!(key("NotFound", "a"), key("NotFound", "b"));
        assert_ne!(key("NotFound", "a"), key("Throttled", "a"));
    }

    #[tokio::test]
    async fn finished_series_are_removed() {
        let config = kube::Config::new("http://localhost".parse().unwrap());
        let recorder = Recorder::new(Client::try_from(config).unwrap());
        recorder.recent(at(0)).insert(1, Series { first: at(0), count: 1, last: at(0) });
        assert_eq!(recorder.recent(at(5)).len(), 1);
        assert_eq!(recorder.recent(at(6)).len(), 0);
    }

    #[test]
    fn a_name_is_no_longer_than_kubernetes_allows() {
        let about = |name: String| ObjectReference { name: Some(name), ..ObjectReference::default() };
        assert_eq!(name_of(&about("payments".into()), at(0)), "payments.18fae27693b40000");
        let long = name_of(&about(format!("{}-{}", "a".repeat(235), "b".repeat(17))), at(0));
        assert_eq!(long, format!("{}.18fae27693b40000", "a".repeat(235)));
    }
}
