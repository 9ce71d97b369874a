//! The controller of the descriptions in API Gateway. Its key is a certificate.
//!
//! The oldest resource with `spec.description` owns the description. The controller compares the owner's text with the
//! description in the AWS cache, and sends the text if the two differ. At most one update of a certificate is in
//! progress. The mirror reads the outcome and writes it into the status.

mod attempts;
mod claims;
pub mod plan;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span};

pub use self::attempts::{Recorded, Wish};
pub use self::claims::{Claim, Claims};
use self::plan::{MaySend, Outcome, Update, Updates};
use crate::api::{ClientCertificateRef, ResourceName};
use crate::aws::cache::{Cache, Wake};
use crate::aws::gateway::{CertificateKey, Gateway, Source};
use crate::clock::Clock;
use crate::controllers::event::Event;
use crate::controllers::publish::Publisher;
use crate::tasks::Tasks;

/// The descriptions of all certificates.
pub struct Descriptions<G> {
    shared: Arc<Shared<G>>,
}

struct Shared<G> {
    cache: Cache<G>,
    clock: Clock,
    publisher: Arc<Publisher>,
    wake: Wake,
    manages: bool,
    state: Mutex<Descriptive>,
    tasks: Tasks,
    in_progress: TaskTracker,
}

#[derive(Default)]
struct Descriptive {
    claims: Claims,
    updates: HashMap<CertificateKey, Updates>,
}

impl<G> Clone for Descriptions<G> {
    fn clone(&self) -> Self {
        Descriptions { shared: Arc::clone(&self.shared) }
    }
}

impl<G: Gateway> Descriptions<G> {
    /// Descriptions without claims, whose updates run in `tasks`. If `manages` is false, the controller never sends an
    /// update.
    pub fn new(
        cache: Cache<G>,
        clock: Clock,
        publisher: Arc<Publisher>,
        wake: Wake,
        manages: bool,
        tasks: Tasks,
    ) -> Self {
        let shared = Shared {
            cache,
            clock,
            publisher,
            wake,
            manages,
            state: Mutex::default(),
            tasks,
            in_progress: TaskTracker::new(),
        };
        Descriptions { shared: Arc::new(shared) }
    }

    /// Updates the claim of a resource. Returns the other resources to reconcile.
    pub fn apply(
        &self,
        resource: &ClientCertificateRef,
        reads: Option<(&CertificateKey, &Source)>,
    ) -> Vec<ResourceName> {
        self.shared.state.lock().claims.apply(resource, reads)
    }

    /// Removes the claim of a resource. Returns the other resources to reconcile.
    pub fn remove(&self, resource: &ResourceName) -> Vec<ResourceName> {
        self.shared.state.lock().claims.remove(resource)
    }

    /// Forgets the attempts of an earlier leadership, because another replica has led meanwhile. The statuses contain its
    /// results.
    pub fn forget_attempts(&self) {
        self.shared.state.lock().updates.values_mut().for_each(Updates::forget_attempts);
    }

    /// Compares the owner's text with the description in the cache, and returns the current outcome. `None` if no
    /// resource owns the description. Starts an update if one is due, `by` is the owner, and `may_send` is true: only the
    /// reconcile of the owner knows whether its stage still presents the certificate.
    pub fn reconcile(&self, key: &CertificateKey, by: &ResourceName, may_send: bool) -> Option<Outcome> {
        let shared = &self.shared;
        let now = shared.clock.now();
        let mut locked = shared.state.lock();
        let Descriptive { claims, updates } = &mut *locked;
        let Some(owner) = shared.owner(claims, key) else {
            updates.retain(|other, updates| other != key || updates.is_in_progress());
            return None;
        };
        let may_send = match may_send && !shared.in_progress.is_closed() {
            _ if !shared.manages => MaySend::Never,
            true => MaySend::Yes,
            false => MaySend::NotNow,
        };
        let answer = shared.cache.get(&owner.source).and_then(|snapshot| snapshot.outcome.ok());
        let found = answer.as_ref().map(|answer| answer.description.as_str());
        let (outcome, update) = updates.entry(key.clone()).or_default().plan(owner, found, by, may_send, now);
        if let Some(update) = update {
            // The update belongs to the trace of the reconcile that starts it.
            let send = send(Arc::clone(shared), key.clone(), update).instrument(Span::current());
            shared.tasks.spawn_finite("update of a description", shared.in_progress.track_future(send));
        }
        Some(outcome)
    }

    /// Waits until no update is in progress, and returns the resources whose status has to contain the results.
    pub async fn drain(&self) -> Vec<ResourceName> {
        let concerned = {
            let locked = self.shared.state.lock();
            let in_progress = locked.updates.iter().filter(|(_, updates)| updates.is_in_progress());
            in_progress.flat_map(|(key, _)| locked.claims.of(key)).collect()
        };
        self.shared.in_progress.close();
        self.shared.in_progress.wait().await;
        concerned
    }
}

impl<G: Gateway> Shared<G> {
    fn owner<'a>(&self, claims: &'a Claims, key: &CertificateKey) -> Option<&'a Claim> {
        claims.owner(key, |source| self.cache.get(source).is_some_and(|snapshot| snapshot.outcome.is_ok()))
    }
}

async fn send<G: Gateway>(shared: Arc<Shared<G>>, key: CertificateKey, update: Update) {
    // The guard ends the update even after a panic.
    let end = End { shared: Arc::clone(&shared), key: key.clone() };
    let Update { claim, from, restores } = &update;
    let is_wanted = || {
        let locked = shared.state.lock();
        let owner = shared.owner(&locked.claims, &key);
        locked.updates.get(&key).is_some_and(|updates| updates.still_want(&update, owner))
    };
    let result = shared.cache.set_description(&claim.source, &claim.text, is_wanted).await;
    let claimants = {
        let mut locked = shared.state.lock();
        if let (Some(result), Some(updates)) = (&result, locked.updates.get_mut(&key)) {
            updates.sent(result.as_ref().map(String::as_str), shared.clock.now(), fastrand::f64());
        }
        locked.claims.of(&key)
    };
    drop(end);
    (shared.wake)(claimants);
    if result.is_some_and(|result| result.is_ok_and(|holds| holds == claim.text)) {
        let event = Event::description(from, &claim.text, *restores);
        shared.publisher.record(&[event], &claim.resource.reference(Some(claim.uid.clone()))).await;
    }
}

struct End<G> {
    shared: Arc<Shared<G>>,
    key: CertificateKey,
}

impl<G> Drop for End<G> {
    fn drop(&mut self) {
        if let Some(updates) = self.shared.state.lock().updates.get_mut(&self.key) {
            updates.end();
        }
    }
}
