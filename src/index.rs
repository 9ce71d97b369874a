//! What the watches tell, arranged for the questions that a pass asks. Plain and synchronous: events in, names of the
//! resources to wake out.

mod targets;

pub use targets::{Known, Targets};

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use kube::runtime::reflector::{ObjectRef, Store};

use crate::api::ResourceName;
use crate::reconcile::Watched;

/// The part of the cluster that one watch covers: a namespace, or all of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
}

/// Everything that the watches told.
pub struct Index {
    targets: Mutex<Targets>,
    resources: Vec<(Scope, Store<Watched>)>,
    wakes: HashMap<Scope, UnboundedSender<ObjectRef<Watched>>>,
}

/// The resources of one scope that an index wants to be looked at again.
pub type Wakes = UnboundedReceiver<ObjectRef<Watched>>;

impl Index {
    /// An empty index over the caches of the scopes, and for each scope the stream of what it wakes.
    pub fn new(resources: Vec<(Scope, Store<Watched>)>) -> (Self, Vec<Wakes>) {
        let mut wakes = HashMap::new();
        let mut streams = Vec::new();
        for (scope, _) in &resources {
            let (sender, receiver) = unbounded();
            wakes.insert(scope.clone(), sender);
            streams.push(receiver);
        }
        (Index { targets: Mutex::default(), resources, wakes }, streams)
    }

    /// The targets.
    pub fn targets(&self) -> MutexGuard<'_, Targets> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a resource is there, as far as the caches know.
    pub fn has_resource(&self, namespace: &str, name: &str) -> bool {
        let reference = ObjectRef::new(name).within(namespace);
        self.resources.iter().any(|(scope, store)| scope.covers(namespace) && store.get(&reference).is_some())
    }

    /// Every resource that the caches hold.
    pub fn all_resources(&self) -> impl Iterator<Item = Arc<Watched>> {
        self.resources.iter().flat_map(|(_, store)| store.state())
    }

    /// Asks for another look at resources.
    pub fn wake(&self, resources: impl IntoIterator<Item = ResourceName>) {
        for resource in resources {
            let reference = ObjectRef::new(&resource.name).within(&resource.namespace);
            for (scope, sender) in &self.wakes {
                if scope.covers(&resource.namespace) {
                    // A closed channel means that the controller is stopping.
                    let _ = sender.unbounded_send(reference.clone());
                }
            }
        }
    }
}
