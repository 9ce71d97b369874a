//! The stores that the watches fill: resources, and targets by owner. Plain and synchronous: they take events, and
//! return the names of the resources to wake.

mod targets;

pub use targets::{Known, Targets};

use std::sync::Arc;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::watcher::Event;
use parking_lot::{Mutex, MutexGuard};

use crate::api::{Cached, ResourceName};
use crate::kubernetes::watch::Scope;

/// The last reported state of resources and targets.
pub struct Stores {
    targets: Mutex<Targets>,
    resources: Store<Cached>,
    writer: Mutex<Writer<Cached>>,
    wakes: UnboundedSender<ObjectRef<Cached>>,
}

/// The resources to reconcile.
pub type Wakes = UnboundedReceiver<ObjectRef<Cached>>;

impl Stores {
    /// Empty stores, and the stream of the resources that they wake.
    pub fn new() -> (Self, Wakes) {
        let (resources, mut writer) = store();
        // The store counts as ready at once. `Availability` decides whether it is, because several watches fill it.
        writer.apply_watcher_event(&Event::Init);
        writer.apply_watcher_event(&Event::InitDone);
        let (wakes, woken) = unbounded();
        (Stores { targets: Mutex::default(), resources, writer: Mutex::new(writer), wakes }, woken)
    }

    pub fn targets(&self) -> MutexGuard<'_, Targets> {
        self.targets.lock()
    }

    pub fn resources(&self) -> &Store<Cached> {
        &self.resources
    }

    /// Changes the store of resources.
    pub fn store(&self, event: &Event<Cached>) {
        self.writer.lock().apply_watcher_event(event);
    }

    /// Whether the store holds a resource.
    pub fn has_resource(&self, namespace: &str, name: &str) -> bool {
        self.resources.get(&ObjectRef::new(name).within(namespace)).is_some()
    }

    /// Every resource that the store holds.
    pub fn all_resources(&self) -> impl Iterator<Item = Arc<Cached>> {
        self.resources.state().into_iter()
    }

    /// The resources of a scope that the store holds.
    pub fn resources_in(&self, scope: &Scope) -> Vec<ObjectRef<Cached>> {
        let names = self.all_resources().map(|resource| ResourceName::of(&resource));
        let covered = names.filter(|name| scope.covers(&name.namespace));
        covered.map(|name| ObjectRef::new(&name.name).within(&name.namespace)).collect()
    }

    /// Queues resources for reconciliation.
    pub fn wake(&self, resources: impl IntoIterator<Item = ResourceName>) {
        for resource in resources {
            // A closed channel means that the controller is stopping.
            let _ = self.wakes.unbounded_send(ObjectRef::new(&resource.name).within(&resource.namespace));
        }
    }
}
