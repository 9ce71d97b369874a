//! Snapshots of certificates, kept up to date by one poller for each scope: resources subscribe, read what is known
//! without waiting, and are woken when it changes.
//!
//! [`Scope`] decides, and the poller makes the calls; this file holds the lock. A poller starts with the first subscription of its scope
//! and ends with the last one. No call is made for a scope without subscriptions.

mod poller;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio::time::timeout;

use self::poller::Poller;
use super::rate_limit::{Account, Limits, Paused, Priority, RateLimiter};
pub use super::scope::Snapshot;
use super::scope::{Interest, Moment, Scope, Subscribed};
pub use super::scope::{Listing, TagSnapshot, Tags};
use crate::api::ResourceName;
use crate::aws::gateway::{CertificateKey, Gateway, GatewayError, Identity, Outage, Place, Source};
use crate::clock::Clock;
use crate::leader::{Fence, LONGEST_WRITE};
use crate::metrics::Metrics;
use crate::settings::Tick;
use crate::tasks::Tasks;

/// Receives the resources to reconcile.
pub type Wake = Box<dyn Fn(Vec<ResourceName>) + Send + Sync>;

/// What a resource wants from AWS, in place of what it wanted before.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// The certificates.
    pub sources: Vec<Source>,
    /// Where to look for certificates with which tags.
    pub tags: Option<(Place, Tags)>,
    /// How old an answer may be.
    pub interval: Duration,
    /// A new value asks for a read that starts from now on: for a refresh annotation, an end of suspension, or a spec that
    /// changed after a failure. None does not force a read.
    pub force: Option<String>,
}

/// What the cache knows for one subscriber.
#[derive(Clone, Debug)]
pub struct View {
    /// In the order of the subscription's sources.
    pub reads: Vec<Option<Snapshot>>,
    /// What the list says of tags, where the subscription asks for some.
    pub tags: Option<TagSnapshot>,
    /// Whether every source has an answer, and the tags, as new as the subscription asks for.
    pub answered: bool,
    /// Since when the subscriber has been waiting for that: the time of its first subscription, of a new source, or of the
    /// last new force. Meaningful while not `answered`.
    pub asked: Tick,
}

/// The certificates of all scopes. Clones are the same cache.
pub struct Cache<G> {
    shared: Arc<Shared<G>>,
}

impl<G> Clone for Cache<G> {
    fn clone(&self) -> Self {
        Cache { shared: Arc::clone(&self.shared) }
    }
}

struct Shared<G> {
    gateway: G,
    limiter: RateLimiter,
    clock: Clock,
    fence: Fence,
    metrics: Arc<Metrics>,
    wake: Wake,
    own_account: RwLock<Option<String>>,
    state: Mutex<State>,
    tasks: Tasks,
}

#[derive(Default)]
struct State {
    subscribers: HashMap<ResourceName, Subscriber>,
    scopes: HashMap<Place, Polled>,
    next_generation: u64,
}

struct Subscriber {
    sources: Vec<Source>,
    tags: Option<Place>,
    force: Option<String>,
    asked: Tick,
}

/// A scope and the poller that serves it.
struct Polled {
    scope: Scope,
    /// A poller serves one generation: the scope may have been emptied and made again.
    generation: u64,
    notify: Arc<Notify>,
}

impl<G: Gateway> Cache<G> {
    /// A cache without subscriptions, which makes its calls through this gateway within these limits, writes only where
    /// the fence is open, gives the resources that an answer concerns to `wake`, and starts its pollers among `tasks`.
    pub fn new(
        gateway: G,
        limits: Limits,
        clock: Clock,
        fence: Fence,
        metrics: Arc<Metrics>,
        wake: Wake,
        tasks: Tasks,
    ) -> Self {
        let shared = Shared {
            gateway,
            limiter: RateLimiter::new(limits, clock, Arc::clone(&metrics)),
            clock,
            fence,
            metrics,
            wake,
            own_account: RwLock::default(),
            state: Mutex::default(),
            tasks,
        };
        Cache { shared: Arc::new(shared) }
    }

    /// Subscribes a resource, in place of what it subscribed to before, and returns what is known. Never waits. Has to be
    /// called within a tokio runtime, which the pollers run on.
    pub fn subscribe(&self, resource: &ResourceName, subscription: Subscription) -> View {
        let shared = &self.shared;
        let moment = shared.moment();
        let mut state = shared.state.lock();
        let before = state.subscribers.remove(resource);
        let last_force = before.as_ref().and_then(|before| before.force.clone());
        let is_forced = subscription.force.is_some() && subscription.force != last_force;
        let interest = Interest { interval: subscription.interval, force: is_forced };
        let mut asked = before.as_ref().map_or(moment.now, |before| before.asked);
        for source in &subscription.sources {
            let polled = shared.polled(&mut state, &source.place);
            let account = shared.account_of(&source.place);
            let subscribed = polled.scope.subscribe(&source.id, resource, interest, account.as_deref(), moment);
            if subscribed == Subscribed::New || is_forced {
                asked = moment.now;
            }
            if subscribed == Subscribed::New && polled.scope.snapshot(&source.id).is_some() {
                shared.metrics.answer_shared();
            }
            if subscribed != Subscribed::Unchanged {
                polled.notify.notify_one();
            }
        }
        if let Some((place, tags)) = &subscription.tags {
            let polled = shared.polled(&mut state, place);
            let subscribed = polled.scope.subscribe_tags(resource, tags, interest, moment.now);
            if subscribed == Subscribed::New {
                asked = moment.now;
            }
            if subscribed != Subscribed::Unchanged {
                polled.notify.notify_one();
            }
        }
        // Only now, so that a scope that is left and entered keeps its session and its poller.
        for source in before.iter().flat_map(|before| &before.sources) {
            if !subscription.sources.contains(source) {
                shared.leave(&mut state, &source.place, |scope| scope.unsubscribe(&source.id, resource));
            }
        }
        let tags_at = subscription.tags.map(|(place, _)| place);
        if let Some(left) = before.and_then(|before| before.tags).filter(|left| Some(left) != tags_at.as_ref()) {
            shared.leave(&mut state, &left, |scope| scope.unsubscribe_tags(resource));
        }
        let scope_of = |place: &Place| state.scopes.get(place).map(|polled| &polled.scope);
        let tags = tags_at.as_ref().and_then(scope_of).and_then(Scope::tag_snapshot).cloned();
        let scope = |source: &Source| scope_of(&source.place);
        let reads = subscription.sources.iter().map(|source| scope(source)?.snapshot(&source.id).cloned()).collect();
        let has_answered =
            |source: &Source| scope(source).is_some_and(|scope| scope.has_answered(&source.id, resource));
        let has_answered_tags = |place: &Place| scope_of(place).is_some_and(|scope| scope.has_answered_tags(resource));
        let answered = subscription.sources.iter().all(has_answered) && tags_at.iter().all(has_answered_tags);
        let force = subscription.force.or(last_force);
        let subscriber = Subscriber { sources: subscription.sources, tags: tags_at, force, asked };
        state.subscribers.insert(resource.clone(), subscriber);
        View { reads, tags, answered, asked }
    }

    /// Ends a resource's subscription.
    pub fn unsubscribe(&self, resource: &ResourceName) {
        let mut state = self.shared.state.lock();
        if let Some(gone) = state.subscribers.remove(resource) {
            for source in &gone.sources {
                self.shared.leave(&mut state, &source.place, |scope| scope.unsubscribe(&source.id, resource));
            }
            if let Some(place) = &gone.tags {
                self.shared.leave(&mut state, place, |scope| scope.unsubscribe_tags(resource));
            }
        }
    }

    /// Ends every subscription: another replica leads now. The answer of a call that is under way is dropped.
    pub fn unsubscribe_all(&self) {
        let mut state = self.shared.state.lock();
        state.subscribers.clear();
        for (place, polled) in std::mem::take(&mut state.scopes) {
            self.shared.end(&place, &polled);
        }
    }

    /// What is known of a certificate that has a subscriber.
    pub fn get(&self, source: &Source) -> Option<Snapshot> {
        self.shared.state.lock().scopes.get(&source.place)?.scope.snapshot(&source.id).cloned()
    }

    /// What is known of the tags of a place, where any resource asks for some.
    pub fn tags(&self, place: &Place) -> Option<TagSnapshot> {
        self.shared.state.lock().scopes.get(place)?.scope.tag_snapshot().cloned()
    }

    /// Asks for a read of a certificate that starts from now on. Its subscribers are woken when the read ends, even where
    /// nothing has changed. At most one forced read of a certificate starts within 10 s.
    pub fn refresh(&self, source: &Source) {
        let now = self.shared.clock.now();
        if let Some(polled) = self.shared.state.lock().scopes.get_mut(&source.place) {
            polled.scope.refresh(&source.id, now);
            polled.notify.notify_one();
        }
    }

    /// Sends a description and returns what AWS then holds. The snapshot has it at once.
    pub async fn set_description(&self, source: &Source, text: &str) -> Result<String, GatewayError> {
        let shared = &self.shared;
        let account = shared.limited_by(&source.place);
        if let Err(Paused { until }) = shared.limiter.acquire(&account, Priority::Update).await {
            let left = until.saturating_sub(shared.clock.now());
            return Err(GatewayError::Throttled { retry_after: Some(left) });
        }
        // Checked only now: the wait for the token may have been long.
        if !shared.fence.may_write() {
            return Err(GatewayError::Unavailable { outage: Outage::NotLeading, retry_after: None });
        }
        let call = shared.gateway.set_description(source, text);
        let outcome = timeout(LONGEST_WRITE, call).await.unwrap_or_else(|_| Err(timed_out()));
        shared.note_throttling(&account, outcome.as_ref().err());
        let description = outcome.as_ref().ok().map(|answer| answer.description.as_str());
        let woken = {
            let now = shared.clock.now();
            let mut state = shared.state.lock();
            let scope = state.scopes.get_mut(&source.place).map(|polled| &mut polled.scope);
            // A call that failed may have been carried out all the same.
            scope.map(|scope| scope.described(&source.id, description, now)).unwrap_or_default()
        };
        shared.wake(woken);
        if matches!(outcome, Err(GatewayError::Conflict | GatewayError::Unavailable { .. })) {
            self.refresh(source);
        }
        outcome.map(|answer| answer.description)
    }

    /// The certificate of a source: two roles of one account name the same one.
    pub fn key_of(&self, source: &Source) -> CertificateKey {
        let Source { place, id } = source;
        CertificateKey { account: self.shared.account_of(place), region: place.region.clone(), id: id.clone() }
    }

    /// Asks AWS for the account of the operator's own credentials, and remembers it.
    pub async fn learn_own_account(&self) -> Result<String, GatewayError> {
        let account = self.shared.gateway.own_account().await?;
        *self.shared.own_account.write() = Some(account.clone());
        Ok(account)
    }

    /// Ends the scopes of places that may not be used any more, and their sessions.
    pub fn retain(&self, may_be_used: impl Fn(&Place) -> bool) {
        self.shared.state.lock().scopes.retain(|place, polled| {
            let stays = may_be_used(place);
            if !stays {
                self.shared.end(place, polled);
            }
            stays
        });
    }
}

impl<G: Gateway> Shared<G> {
    fn moment(&self) -> Moment {
        Moment { now: self.clock.now(), wall: Timestamp::now(), jitter: fastrand::f64() }
    }

    /// The account of a place; none, where it is the operator's own and not known yet.
    fn account_of(&self, place: &Place) -> Option<String> {
        let own = || self.own_account.read().clone();
        place.account().map(str::to_owned).or_else(own)
    }

    fn limited_by(&self, place: &Place) -> Account {
        Account { id: self.account_of(place), region: place.region.clone() }
    }

    /// The scope of a place, which is made, and polled from now on, where there is none.
    fn polled<'a>(self: &Arc<Self>, state: &'a mut State, place: &Place) -> &'a mut Polled {
        let State { scopes, next_generation, .. } = state;
        scopes.entry(place.clone()).or_insert_with(|| {
            *next_generation += 1;
            let (generation, notify) = (*next_generation, Arc::new(Notify::new()));
            let (shared, place) = (Arc::clone(self), place.clone());
            let poller = Poller { shared, place: place.clone(), generation, notify: Arc::clone(&notify) };
            self.tasks.spawn_finite("poller of AWS", poller.run());
            Polled { scope: Scope::new(place), generation, notify }
        })
    }

    fn leave(&self, state: &mut State, place: &Place, unsubscribe: impl FnOnce(&mut Scope)) {
        let Some(polled) = state.scopes.get_mut(place) else { return };
        unsubscribe(&mut polled.scope);
        polled.notify.notify_one();
        if polled.scope.is_empty()
            && let Some(polled) = state.scopes.remove(place)
        {
            self.end(place, &polled);
        }
    }

    fn end(&self, place: &Place, polled: &Polled) {
        if place.identity != Identity::Operator {
            self.gateway.end_session(place);
        }
        polled.notify.notify_one();
    }

    fn wake(&self, mut woken: Vec<ResourceName>) {
        if !woken.is_empty() {
            woken.sort();
            woken.dedup();
            self.metrics.batch_answered(woken.len());
            (self.wake)(woken);
        }
    }

    fn note_throttling(&self, account: &Account, failure: Option<&GatewayError>) {
        if let Some(GatewayError::Throttled { retry_after }) = failure {
            self.limiter.throttled(account, *retry_after);
        }
    }
}

fn timed_out() -> GatewayError {
    GatewayError::Unavailable { outage: Outage::TimedOut, retry_after: None }
}
