//! The controller of the descriptions in API Gateway. Its key is a certificate.
//!
//! The oldest resource with `spec.description` owns the description. The controller compares the owner's text with the
//! description in the AWS cache, and sends the text if the two differ. At most one update of a certificate is in
//! progress. The mirror reads the outcome and writes it into the status.

mod attempts;
mod claims;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span};

pub use self::attempts::{Attempts, Recorded, Verdict, Wish};
pub use self::claims::{Claim, Claims};
use crate::api::{ClientCertificateRef, ResourceName};
use crate::aws::cache::{Cache, Wake};
use crate::aws::gateway::{CertificateKey, Gateway, GatewayError, Source};
use crate::clock::Clock;
use crate::controllers::mirror::Event;
use crate::controllers::publish::Publisher;
use crate::settings::Tick;

/// The state of the description of a certificate.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The resource that owns the description.
    pub owner: ResourceName,
    /// The owner's text.
    pub text: String,
    /// The certificate, with the place where the owner reads it.
    pub source: Source,
    /// The state of the description in API Gateway; `None` while it is unknown.
    pub state: Option<State>,
    /// The time of the retry, if there is one.
    pub retry_at: Option<Tick>,
}

/// The description that API Gateway holds, compared with the owner's text.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// The owner's text.
    Synced,
    /// Another text, and the operator may not change it.
    NotManaged,
    /// Another text, which API Gateway stored in response to the owner's text.
    NotApplied,
    /// Another text, because another writer keeps changing the description.
    Contested,
    /// Another text, because the update failed.
    Failed(GatewayError),
}

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
    updates: TaskTracker,
}

#[derive(Default)]
struct Descriptive {
    claims: Claims,
    by_certificate: HashMap<CertificateKey, Work>,
}

#[derive(Default)]
struct Work {
    attempts: Option<Attempts>,
    is_under_way: bool,
}

impl<G> Clone for Descriptions<G> {
    fn clone(&self) -> Self {
        Descriptions { shared: Arc::clone(&self.shared) }
    }
}

impl<G: Gateway> Descriptions<G> {
    /// Descriptions without claims. If `manages` is false, the controller never sends an update.
    pub fn new(cache: Cache<G>, clock: Clock, publisher: Arc<Publisher>, wake: Wake, manages: bool) -> Self {
        let shared =
            Shared { cache, clock, publisher, wake, manages, state: Mutex::default(), updates: TaskTracker::new() };
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

    /// Compares the owner's text with the description in the cache, and returns the current outcome. `None` if no
    /// resource owns the description. Starts an update if one is due, `by` is the owner, and `may_send` is true: only the
    /// reconcile of the owner knows whether its stage still presents the certificate.
    pub fn reconcile(&self, key: &CertificateKey, by: &ResourceName, may_send: bool) -> Option<Outcome> {
        let shared = &self.shared;
        let now = shared.clock.now();
        let mut locked = shared.state.lock();
        let read = |source: &Source| shared.cache.get(source).and_then(|snapshot| snapshot.outcome.ok());
        let Some(owner) = locked.claims.owner(key, |source| read(source).is_some()).cloned() else {
            locked.by_certificate.retain(|other, work| other != key || work.is_under_way);
            return None;
        };
        let Claim { resource, text, source, .. } = &owner;
        let outcome = |state, retry_at| {
            Some(Outcome { owner: resource.clone(), text: text.clone(), source: source.clone(), state, retry_at })
        };
        let work = locked.by_certificate.entry(key.clone()).or_default();
        let Some(answer) = read(source).filter(|_| !work.is_under_way) else { return outcome(None, None) };
        let found = answer.description.as_str();
        let is_new = work.attempts.as_ref().is_none_or(|attempts| !attempts.are_at(text, source));
        if is_new {
            work.attempts = None;
        }
        let attempts = work
            .attempts
            .get_or_insert_with(|| Attempts::new(text, source, owner.wish.clone(), owner.recorded, found, now));
        match attempts.look(found, &owner.wish, now) {
            Verdict::Rest(state, retry_at) => outcome(Some(state), retry_at),
            Verdict::Send { .. } if !shared.manages => outcome(Some(State::NotManaged), None),
            Verdict::Send { .. } if owner.is_suspended || resource != by || !may_send || shared.updates.is_closed() => {
                outcome(None, None)
            }
            Verdict::Send { restores } => {
                work.is_under_way = true;
                let update = update(Arc::clone(shared), key.clone(), owner.clone(), found.to_owned(), restores);
                // The update belongs to the trace of the reconcile that starts it.
                shared.updates.spawn(update.instrument(Span::current()));
                outcome(None, None)
            }
        }
    }

    /// Waits until no update is in progress, and returns the resources whose status has to contain the results.
    pub async fn drain(&self) -> Vec<ResourceName> {
        let concerned = {
            let locked = self.shared.state.lock();
            let under_way = locked.by_certificate.iter().filter(|(_, work)| work.is_under_way);
            under_way.flat_map(|(key, _)| locked.claims.of(key)).collect()
        };
        self.shared.updates.close();
        self.shared.updates.wait().await;
        concerned
    }
}

async fn update<G: Gateway>(shared: Arc<Shared<G>>, key: CertificateKey, owner: Claim, from: String, restores: bool) {
    // The guard clears `is_under_way` even after a panic.
    let end = End { shared: Arc::clone(&shared), key: key.clone() };
    let result = shared.cache.set_description(&owner.source, &owner.text).await;
    let claimants = {
        let mut locked = shared.state.lock();
        if let Some(attempts) = locked.by_certificate.get_mut(&key).and_then(|work| work.attempts.as_mut()) {
            attempts.sent(result.as_ref().map(String::as_str), shared.clock.now(), fastrand::f64());
        }
        locked.claims.of(&key)
    };
    drop(end);
    (shared.wake)(claimants);
    if result.is_ok_and(|holds| holds == owner.text) {
        let event = Event::description(&from, &owner.text, restores);
        shared.publisher.record(&[event], &owner.resource.reference(Some(owner.uid.clone()))).await;
    }
}

struct End<G> {
    shared: Arc<Shared<G>>,
    key: CertificateKey,
}

impl<G> Drop for End<G> {
    fn drop(&mut self) {
        if let Some(work) = self.shared.state.lock().by_certificate.get_mut(&self.key) {
            work.is_under_way = false;
        }
    }
}
