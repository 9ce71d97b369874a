//! Watches. A watch reports applied and removed objects, also across lists and failures. A failed watch starts again. A
//! failure is logged once.

use std::collections::HashSet;
use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, DefaultBackoff, Event, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::client::DEADLINE;
use super::explain::{explain, explain_watch};
use super::log_once::LogOnce;

/// The API server ends a watch after so many seconds. kube's watcher ends it 5 s later by itself, so that a silent
/// watch is noticed.
const WATCH_SECONDS: u32 = 50;
/// A failed watch counts as recovered after this time without a failure, which is longer than one attempt.
const RECOVERED_AFTER: Duration = Duration::from_secs(DEADLINE.as_secs() + 2);
/// The longest wait between two attempts. With the jitter of [`DefaultBackoff`], it is less than a minute.
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

/// The part of the cluster that one watch covers: one namespace or all namespaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Every namespace.
    All,
    /// One namespace.
    Namespace(String),
}

impl Scope {
    /// Whether the scope covers a namespace.
    pub fn covers(&self, namespace: &str) -> bool {
        match self {
            Scope::All => true,
            Scope::Namespace(own) => own == namespace,
        }
    }

    /// The objects of one kind in the scope.
    pub fn api<K>(&self, client: &Client) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match self {
            Scope::All => Api::all(client.clone()),
            Scope::Namespace(namespace) => Api::namespaced(client.clone(), namespace),
        }
    }

    pub(super) fn describe(&self) -> String {
        match self {
            Scope::All => "in the whole cluster".to_owned(),
            Scope::Namespace(namespace) => format!("in the namespace {namespace}"),
        }
    }
}

/// A report of a watch.
pub enum Change<K: Resource> {
    /// An object exists in this state.
    Applied(K),
    /// An object was removed. The reference contains its last version, if that is known.
    Removed(ObjectRef<K>),
    /// A list has ended, and all its objects were reported.
    Listed,
    /// RBAC does not allow the operator to list or watch.
    Refused,
    /// RBAC allows the operator to list and watch again.
    Recovered,
}

/// Lists and watches as long as the process runs. `held` returns the caller's objects within the scope of the watch: a list
/// removes those that it does not contain.
pub async fn watch<K>(
    api: Api<K>,
    config: watcher::Config,
    scope: &Scope,
    held: impl Fn() -> Vec<ObjectRef<K>>,
    mut report: impl FnMut(Change<K>),
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let plural = K::plural(&());
    let mut attempts = Attempts::new(&plural, scope);
    let mut relist = Relist::default();
    let mut events = watcher(api, config.timeout(WATCH_SECONDS)).boxed();
    loop {
        match tokio::time::timeout(RECOVERED_AFTER, events.next()).await {
            Ok(Some(Ok(event))) => {
                if !matches!(event, Event::Init) && attempts.succeeded() {
                    report(Change::Recovered);
                }
                relist.changes(event, &held).into_iter().for_each(&mut report);
            }
            Ok(Some(Err(error))) => {
                if attempts.failed(explain_watch(&error, &plural, scope), is_refused(&error)) {
                    report(Change::Refused);
                }
                if is_outdated(&error) {
                    attempts.outdated();
                }
                attempts.back_off().await;
            }
            // kube's watcher never ends. If it did, the process has to end too, because nothing else would notice.
            Ok(None) => return,
            Err(_) => {
                if attempts.succeeded() {
                    report(Change::Recovered);
                }
            }
        }
    }
}

/// Repeats a request that has to succeed before a watch starts.
pub async fn retry<T, F: Future<Output = kube::Result<T>>>(
    plural: &str,
    scope: &Scope,
    request: impl Fn() -> F,
    mut tell_refused: impl FnMut(),
) -> T {
    let mut attempts = Attempts::new(plural, scope);
    loop {
        match request().await {
            Ok(answer) => {
                attempts.succeeded();
                return answer;
            }
            Err(error) => {
                if attempts.failed(explain(&error, plural, scope), is_forbidden(&error)) {
                    tell_refused();
                }
                attempts.back_off().await;
            }
        }
    }
}

fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403)
}

fn is_refused(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => is_forbidden(error),
        watcher::Error::WatchError(status) => status.code == 403,
        watcher::Error::NoResourceVersion => false,
    }
}

/// Whether the API server no longer has the version from which the watch continues.
fn is_outdated(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchError(status) if status.code == 410)
}

/// The attempts of one watch.
struct Attempts {
    log: LogOnce,
    backoff: DefaultBackoff,
    outdated_at: Option<Instant>,
    refused: bool,
}

impl Attempts {
    fn new(plural: &str, scope: &Scope) -> Self {
        let place = match scope {
            Scope::All => String::new(),
            Scope::Namespace(_) => format!(" {}", scope.describe()),
        };
        let log = LogOnce::new(format!("watch on {plural}{place} recovered"));
        Attempts { log, backoff: DefaultBackoff::default(), outdated_at: None, refused: false }
    }

    /// Records a failure. Returns whether the API server refuses the operator now and did not before.
    fn failed(&mut self, explanation: String, refused: bool) -> bool {
        self.log.warn(explanation);
        refused && !std::mem::replace(&mut self.refused, refused)
    }

    /// Records a success. Returns whether the API server refused the operator before.
    fn succeeded(&mut self) -> bool {
        self.log.recovered();
        std::mem::take(&mut self.refused)
    }

    /// The API server has responded, so an outage is over, and a list follows. An API server that responds like this to
    /// every watch gets its lists at the pace of the backoff.
    fn outdated(&mut self) {
        let last = self.outdated_at.replace(Instant::now());
        if last.is_none_or(|last| last.elapsed() > RECOVERED_AFTER) {
            self.backoff.reset();
        }
    }

    async fn back_off(&mut self) {
        tokio::time::sleep(self.backoff.next().unwrap_or(LONGEST_BACKOFF)).await;
    }
}

/// Converts the events of a watch to changes. Held objects that a list does not contain are removed.
struct Relist<K: Resource> {
    /// The objects that the caller held when the list began, with their versions, and that the list has not contained
    /// so far.
    unseen: HashSet<ObjectRef<K>>,
}

impl<K: Resource<DynamicType = ()>> Default for Relist<K> {
    fn default() -> Self {
        Relist { unseen: HashSet::new() }
    }
}

impl<K: Resource<DynamicType = ()>> Relist<K> {
    fn changes(&mut self, event: Event<K>, held: impl Fn() -> Vec<ObjectRef<K>>) -> Vec<Change<K>> {
        match event {
            Event::Init => {
                self.unseen = held().into_iter().collect();
                Vec::new()
            }
            Event::InitApply(object) => {
                self.unseen.remove(&ObjectRef::from_obj(&object));
                vec![Change::Applied(object)]
            }
            Event::InitDone => {
                let removed = std::mem::take(&mut self.unseen).into_iter().map(Change::Removed);
                removed.chain([Change::Listed]).collect()
            }
            Event::Apply(object) => vec![Change::Applied(object)],
            Event::Delete(object) => vec![Change::Removed(ObjectRef::from_obj(&object))],
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn object(name: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.name = Some(name.to_owned());
        object.metadata.namespace = Some("backends".to_owned());
        object.metadata.resource_version = Some("7".to_owned());
        object
    }

    fn words(changes: Vec<Change<ConfigMap>>) -> Vec<String> {
        let mut words: Vec<_> = changes
            .into_iter()
            .map(|change| match change {
                Change::Applied(object) => format!("applied {}", object.metadata.name.unwrap()),
                Change::Removed(object) => {
                    format!("removed {}/{} {:?}", object.namespace.unwrap(), object.name, object.extra.resource_version)
                }
                Change::Listed => "listed".to_owned(),
                Change::Refused | Change::Recovered => unreachable!(),
            })
            .collect();
        words.sort();
        words
    }

    fn held() -> Vec<ObjectRef<ConfigMap>> {
        ["a", "b", "c"].iter().map(|name| ObjectRef::new(name).within("backends")).collect()
    }

    #[test]
    fn a_list_applies_its_objects_and_removes_the_others() {
        let mut relist = Relist::default();
        for lists in 0..2 {
            assert_eq!(words(relist.changes(Event::Init, held)), [""; 0]);
            assert_eq!(words(relist.changes(Event::InitApply(object("a")), held)), ["applied a"], "{lists}");
            // An interrupted list removes nothing, and the next list begins from the start.
        }
        assert_eq!(words(relist.changes(Event::InitApply(object("new")), held)), ["applied new"]);
        let gone = ["listed", "removed backends/b None", "removed backends/c None"];
        assert_eq!(words(relist.changes(Event::InitDone, held)), gone);
    }

    #[test]
    fn a_deletion_has_the_resource_version() {
        let mut relist = Relist::default();
        assert_eq!(words(relist.changes(Event::Apply(object("a")), held)), ["applied a"]);
        let gone = ["removed backends/a Some(\"7\")"];
        assert_eq!(words(relist.changes(Event::Delete(object("a")), held)), gone);
    }
}
